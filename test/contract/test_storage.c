/* hal_storage, hal_file and the VFS. */
#include "contract.h"

#include <sqlite3.h>

#include "hal_map.h"
#include "hal_storage.h"

static void open_root(void)
{
	assert_int_equal(hal_storage_open("root"), 0);
}

static void put(const char *path, const char *text)
{
	struct hal_file f;

	assert_int_equal(hal_file_open(&f, path, HAL_FILE_CREATE), 0);
	assert_int_equal(hal_file_write(&f, text, strlen(text)), 0);
	assert_int_equal(hal_file_sync(&f), 0);
	hal_file_close(&f);
}

static void expect(const char *path, const char *text)
{
	struct hal_file f;
	char got[64] = "";

	assert_int_equal(hal_file_open(&f, path, HAL_FILE_READ), 0);
	assert_int_equal(hal_file_read(&f, 0, got, sizeof got - 1), (int)strlen(text));
	assert_string_equal(got, text);
	hal_file_close(&f);
}

TEST(root_is_made_and_known)
{
	char path[HAL_PATH_MAX], small[8];

	open_root();
	assert_true(hal_storage_root()[0] == '/');
	assert_int_equal(hal_storage_path("a/b", path, sizeof path), 0);
	assert_memory_equal(path, hal_storage_root(), strlen(hal_storage_root()));
	assert_string_equal(path + strlen(hal_storage_root()), "/a/b");
	assert_int_equal(hal_storage_path("a/b", small, sizeof small), ERR_TOO_LARGE);
	hal_storage_close();
	open_root();
}

TEST(root_belongs_to_one)
{
	open_root();
	assert_int_equal(hal_storage_open("root"), ERR_BUSY);
}

TEST(create_makes_new_files_only)
{
	struct hal_file f;

	open_root();
	put("a", "one");
	assert_int_equal(hal_file_open(&f, "a", HAL_FILE_CREATE), ERR_EXISTS);
	assert_int_equal(hal_file_open(&f, "no/a", HAL_FILE_CREATE), ERR_NOT_FOUND);
	assert_int_equal(hal_file_open(&f, "b", HAL_FILE_READ), ERR_NOT_FOUND);
	expect("a", "one");
}

TEST(write_appends_and_read_reads_anywhere)
{
	struct hal_file f;
	char got[8] = "";

	open_root();
	assert_int_equal(hal_file_open(&f, "a", HAL_FILE_CREATE), 0);
	assert_true(hal_file_size(&f) == 0);
	assert_int_equal(hal_file_write(&f, "abc", 3), 0);
	assert_int_equal(hal_file_write(&f, "def", 3), 0);
	assert_true(hal_file_size(&f) == 6);
	assert_int_equal(hal_file_sync(&f), 0);
	hal_file_close(&f);
	assert_true(hal_storage_size("a") == 6);
	assert_int_equal(hal_file_open(&f, "a", HAL_FILE_READ), 0);
	assert_int_equal(hal_file_read(&f, 4, got, sizeof got), 2);
	assert_memory_equal(got, "ef", 2);
	assert_int_equal(hal_file_read(&f, 6, got, sizeof got), 0);
	assert_int_equal(hal_file_read(&f, 100, got, sizeof got), 0);
	assert_int_equal(hal_file_write(&f, "x", 1), ERR_INVALID);
	assert_true(hal_file_size(&f) == 6);
	hal_file_close(&f);
}

TEST(a_file_lives_as_long_as_it_is_open)
{
	struct hal_file f;
	char got[8] = "";

	open_root();
	put("a", "abc");
	assert_int_equal(hal_file_open(&f, "a", HAL_FILE_READ), 0);
	assert_int_equal(hal_storage_remove("a"), 0);
	put("a", "new");
	assert_int_equal(hal_file_read(&f, 0, got, 3), 3);
	assert_string_equal(got, "abc");
	hal_file_close(&f);
	expect("a", "new");
}

TEST(rename_replaces)
{
	open_root();
	put("a", "new");
	put("b", "old");
	assert_int_equal(hal_storage_rename("a", "b"), 0);
	assert_int_equal(hal_storage_sync_dir(""), 0);
	expect("b", "new");
	assert_true(hal_storage_size("a") == ERR_NOT_FOUND);
	assert_int_equal(hal_storage_rename("a", "b"), ERR_NOT_FOUND);
	assert_int_equal(hal_storage_rename("b", "no/b"), ERR_NOT_FOUND);
	expect("b", "new");
}

static void look_for_name(void *arg)
{
	bool *done = arg;
	struct hal_file f;

	while (!__atomic_load_n(done, __ATOMIC_ACQUIRE)) {
		assert_int_equal(hal_file_open(&f, "name", HAL_FILE_READ), 0);
		assert_true(hal_file_size(&f) == 5);
		hal_file_close(&f);
		/* In the simulator this lets others go on. */
		hal_clock_sleep_until(hal_clock_mono_ms() + contract_is_sim());
	}
}

TEST(rename_replaces_at_once)
{
	static bool done;
	struct hal_thread reader;

	done = false;
	open_root();
	put("name", "first");
	assert_int_equal(hal_thread_start(&reader, "reader", 65536, look_for_name, &done), 0);
	for (int i = 0; i < (contract_is_sim() ? 100 : 300); i++) {
		put("fresh", "other");
		assert_int_equal(hal_storage_rename("fresh", "name"), 0);
	}
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	hal_thread_join(&reader);
}

TEST(directories)
{
	open_root();
	assert_int_equal(hal_storage_mkdir("d"), 0);
	assert_int_equal(hal_storage_mkdir("d"), 0);
	assert_int_equal(hal_storage_mkdir("e/f"), ERR_NOT_FOUND);
	put("d/a", "x");
	assert_int_equal(hal_storage_mkdir("d/a"), ERR_EXISTS);
	assert_int_equal(hal_storage_sync_dir("d"), 0);
	assert_int_equal(hal_storage_sync_dir("e"), ERR_NOT_FOUND);
	assert_int_equal(hal_storage_rename("d/a", "b"), 0);
	expect("b", "x");
	assert_int_equal(hal_storage_remove("d"), 0);
	assert_int_equal(hal_storage_remove("d"), ERR_NOT_FOUND);
}

TEST(paths_stay_below_the_root)
{
	static const char *const bad[] = {"..", "../x", "a/../x", "a/./x", "a//x", "a/", "/../x"};
	char longest[HAL_PATH_MAX + 1];
	struct hal_file f;

	open_root();
	memset(longest, 'x', sizeof longest);
	longest[HAL_PATH_MAX] = '\0';
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(hal_file_open(&f, bad[i], HAL_FILE_CREATE), ERR_INVALID);
		assert_int_equal(hal_storage_mkdir(bad[i]), ERR_INVALID);
		assert_int_equal(hal_storage_remove(bad[i]), ERR_INVALID);
		assert_int_equal(hal_storage_rename(bad[i], "x"), ERR_INVALID);
	}
	assert_int_equal(hal_file_open(&f, longest, HAL_FILE_CREATE), ERR_INVALID);
}

TEST(absolute_paths_are_taken)
{
	char path[HAL_PATH_MAX];

	open_root();
	hal_storage_path("m", path, sizeof path);
	assert_int_equal(hal_storage_mkdir(path), 0);
	strcat(path, "/x");
	put(path, "mail");
	expect("m/x", "mail");
	assert_true(hal_storage_size(path) == 4);
}

struct walk {
	int seen;
	bool remove;
};

static int walk_entry(void *arg, const char *name)
{
	struct walk *w = arg;
	char path[HAL_PATH_MAX];

	assert_true(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	assert_null(strchr(name, '/'));
	w->seen++;
	if (!w->remove) return w->seen == 3 ? 77 : 0;
	snprintf(path, sizeof path, "d/%s", name);
	assert_int_equal(hal_storage_remove(path), 0);
	return 0;
}

TEST(list_sees_each_entry_once_also_while_removing)
{
	struct walk w = {0};
	char path[16];

	open_root();
	hal_storage_mkdir("d");
	for (int i = 0; i < 40; i++) {
		snprintf(path, sizeof path, "d/%d", i);
		put(path, "x");
	}
	hal_storage_mkdir("d/sub");
	assert_int_equal(hal_storage_list("d", walk_entry, &w), 77);
	w = (struct walk){.remove = true};
	assert_int_equal(hal_storage_list("d", walk_entry, &w), 0);
	assert_int_equal(w.seen, 41);
	w.seen = 0;
	assert_int_equal(hal_storage_list("d", walk_entry, &w), 0);
	assert_int_equal(w.seen, 0);
	assert_int_equal(hal_storage_list("no", walk_entry, &w), ERR_NOT_FOUND);
}

TEST(reserve_takes_space_and_grows)
{
	struct hal_storage_info before, after;

	open_root();
	assert_int_equal(hal_storage_info(&before), 0);
	assert_int_equal(hal_storage_reserve("r", 200000), 0);
	assert_true(hal_storage_size("r") == 200000);
	assert_int_equal(hal_storage_reserve("r", 100), 0);
	assert_true(hal_storage_size("r") == 200000);
	assert_int_equal(hal_storage_reserve("r", 300000), 0);
	assert_true(hal_storage_size("r") == 300000);
	assert_int_equal(hal_storage_info(&after), 0);
	assert_true(after.syncs > before.syncs);
}

TEST(info_counts)
{
	struct hal_storage_info before, after;

	open_root();
	assert_int_equal(hal_storage_info(&before), 0);
	assert_true(before.free_bytes > 0);
	put("a", "12345");
	assert_int_equal(hal_storage_sync_dir(""), 0);
	assert_int_equal(hal_storage_info(&after), 0);
	assert_true(after.written_bytes - before.written_bytes == 5);
	assert_true(after.syncs - before.syncs == 2);
}

TEST(map_shows_a_file)
{
	struct hal_map m;

	open_root();
	put("a", "certificates");
	put("empty", "");
	hal_storage_mkdir("d");
	assert_int_equal(hal_map_open(&m, "a"), 0);
	assert_int_equal(m.len, 12);
	assert_memory_equal(m.bytes, "certificates", 12);
	put("b", "others");
	assert_int_equal(hal_storage_rename("b", "a"), 0);
	assert_memory_equal(m.bytes, "certificates", 12);
	hal_map_close(&m);
	assert_int_equal(hal_map_open(&m, "empty"), 0);
	assert_int_equal(m.len, 0);
	assert_non_null(m.bytes);
	hal_map_close(&m);
	assert_int_equal(hal_map_open(&m, "none"), ERR_NOT_FOUND);
	assert_int_equal(hal_map_open(&m, "d"), ERR_INVALID);
}

/* ---- the VFS ---- */

static int first_column(void *arg, int n, char **values, char **names)
{
	(void)n;
	(void)names;
	snprintf(arg, 32, "%s", values[0]);
	return 0;
}

static void sql(sqlite3 *db, const char *text, const char *answer)
{
	char got[32] = "";

	assert_int_equal(sqlite3_exec(db, text, first_column, got, NULL), SQLITE_OK);
	if (answer != NULL) assert_string_equal(got, answer);
}

static sqlite3 *db_open(void)
{
	char path[HAL_PATH_MAX];
	sqlite3 *db = NULL;

	hal_storage_path("t.db", path, sizeof path);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	assert_int_equal(sqlite3_open_v2(path, &db, flags, hal_storage_vfs()), SQLITE_OK);
	return db;
}

TEST(sqlite_works_in_wal_mode_and_is_counted)
{
	struct hal_storage_info before, after;

	open_root();
	hal_storage_info(&before);
	sqlite3 *db = db_open();
	sql(db, "PRAGMA locking_mode=EXCLUSIVE", "exclusive");
	sql(db, "PRAGMA journal_mode=WAL", "wal");
	sql(db, "CREATE TABLE t (x)", NULL);
	for (int i = 0; i < 100; i++)
		sql(db, "INSERT INTO t VALUES (randomblob(500))", NULL);
	sql(db, "PRAGMA wal_checkpoint(TRUNCATE)", "0");
	sqlite3_close(db);
	hal_storage_info(&after);
	assert_true(after.written_bytes - before.written_bytes > 100 * 4096);
	assert_true(after.syncs - before.syncs >= 100);
	assert_true(hal_storage_size("t.db") > 50000);
	assert_true(hal_storage_size("t.db-wal") == ERR_NOT_FOUND);
	/* Without shared memory a WAL database opens in exclusive mode only. */
	db = db_open();
	sql(db, "PRAGMA locking_mode=EXCLUSIVE", "exclusive");
	sql(db, "SELECT count(*) FROM t", "100");
	sql(db, "PRAGMA integrity_check", "ok");
	sqlite3_close(db);
	hal_storage_close();
}

TEST(sqlite_locks_out_a_second_connection)
{
	open_root();
	sqlite3 *a = db_open(), *b = db_open();
	sql(a, "CREATE TABLE t (x)", NULL);
	sql(a, "BEGIN EXCLUSIVE", NULL);
	assert_int_equal(sqlite3_exec(b, "SELECT * FROM t", NULL, NULL, NULL), SQLITE_BUSY);
	sql(a, "COMMIT", NULL);
	sql(b, "INSERT INTO t VALUES (1)", NULL);
	sql(a, "SELECT count(*) FROM t", "1");
	sqlite3_close(a);
	sqlite3_close(b);
}

TEST(sqlite_rolls_back)
{
	open_root();
	sqlite3 *db = db_open();
	sql(db, "CREATE TABLE t (x)", NULL);
	sql(db, "BEGIN", NULL);
	sql(db, "INSERT INTO t VALUES (1)", NULL);
	sql(db, "ROLLBACK", NULL);
	sql(db, "SELECT count(*) FROM t", "0");
	sqlite3_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root_is_made_and_known),
		cmocka_unit_test(test_root_belongs_to_one),
		cmocka_unit_test(test_create_makes_new_files_only),
		cmocka_unit_test(test_write_appends_and_read_reads_anywhere),
		cmocka_unit_test(test_a_file_lives_as_long_as_it_is_open),
		cmocka_unit_test(test_rename_replaces),
		cmocka_unit_test(test_rename_replaces_at_once),
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_paths_stay_below_the_root),
		cmocka_unit_test(test_absolute_paths_are_taken),
		cmocka_unit_test(test_list_sees_each_entry_once_also_while_removing),
		cmocka_unit_test(test_reserve_takes_space_and_grows),
		cmocka_unit_test(test_info_counts),
		cmocka_unit_test(test_map_shows_a_file),
		cmocka_unit_test(test_sqlite_works_in_wal_mode_and_is_counted),
		cmocka_unit_test(test_sqlite_locks_out_a_second_connection),
		cmocka_unit_test(test_sqlite_rolls_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
