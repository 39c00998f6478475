/* The simulated disk can lose, keep, reorder and tear; SQLite with the right settings stands it, and
 * with the wrong ones is caught. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/err.h"
#include "hal_storage.h"
#include "sim/sim.h"

static int setup(void **state)
{
	(void)state;
	sim_reset();
	return 0;
}

static int open_root(void)
{
	return hal_storage_open("data");
}

static void put(const char *path, const void *bytes, size_t len, bool sync)
{
	struct hal_file f;

	assert_int_equal(hal_file_open(&f, path, HAL_FILE_CREATE), 0);
	assert_int_equal(hal_file_write(&f, bytes, len), 0);
	if (sync) assert_int_equal(hal_file_sync(&f), 0);
	hal_file_close(&f);
}

/* ---- the kinds of damage ---- */

static void damage_main(void *arg)
{
	static unsigned char block[4096];
	struct hal_file f;

	(void)arg;
	assert_int_equal(open_root(), 0);
	put("safe", "safe", 4, true);
	assert_int_equal(hal_storage_sync_dir(""), 0);
	put("unsynced", "u", 1, false);
	put("synced-no-name", "s", 1, true);
	hal_file_open(&f, "big", HAL_FILE_CREATE);
	hal_storage_sync_dir("");
	for (int i = 0; i < 16; i++) {
		memset(block, 'A' + i, sizeof block);
		hal_file_write(&f, block, sizeof block);
	}
	sim_power_cut();
}

static void run_damage(enum sim_damage damage, uint64_t seed)
{
	struct sim_config c = sim_config_default(seed);

	sim_reset();
	c.faults.disk.damage = damage;
	assert_int_equal(sim_run(&c, damage_main, NULL).end, SIM_POWER_CUT);
	assert_int_equal(sim_disk_size("safe"), 4);
}

static void test_drop(void **state)
{
	(void)state;
	run_damage(SIM_DAMAGE_DROP, 1);
	assert_int_equal(sim_disk_size("unsynced"), 0);
	assert_int_equal(sim_disk_size("synced-no-name"), 1);
	assert_int_equal(sim_disk_size("big"), 0);
}

static void test_keep(void **state)
{
	(void)state;
	run_damage(SIM_DAMAGE_KEEP, 1);
	assert_int_equal(sim_disk_size("unsynced"), 1);
	assert_int_equal(sim_disk_size("big"), 16 * 4096);
}

/* A hole: a later write is there, an earlier one is not. */
static bool big_has_hole(void)
{
	unsigned char b[4096];
	bool gap = false;

	for (int64_t at = 0; sim_disk_read("big", at, b, sizeof b) > 0; at += 4096) {
		if (b[0] == 0)
			gap = true;
		else if (gap)
			return true;
	}
	return false;
}

/* A block of which only a part is there. */
static bool big_is_torn(void)
{
	unsigned char b[4096];

	for (int64_t at = 0; sim_disk_read("big", at, b, sizeof b) == sizeof b; at += 4096)
		for (size_t i = 512; i < sizeof b; i += 512)
			if (b[i] != b[0]) return true;
	return false;
}

static void test_reorder(void **state)
{
	int holes = 0, torn = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		run_damage(SIM_DAMAGE_REORDER, seed);
		holes += big_has_hole();
		torn += big_is_torn();
	}
	assert_true(holes >= 8);
	assert_int_equal(torn, 0);
}

static void test_tear(void **state)
{
	int torn = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		run_damage(SIM_DAMAGE_TEAR, seed);
		torn += big_is_torn();
	}
	assert_true(torn >= 8);
}

static void names_main(void *arg)
{
	(void)arg;
	assert_int_equal(open_root(), 0);
	hal_storage_mkdir("d");
	hal_storage_sync_dir("");
	put("d/new.tmp", "new", 3, true);
	put("d/old", "old!", 4, true);
	hal_storage_sync_dir("d");
	put("d/lost", "x", 1, true);
	hal_storage_rename("d/new.tmp", "d/old");
	sim_power_cut();
}

static void test_names_need_their_directory(void **state)
{
	struct sim_config c = sim_config_default(1);

	(void)state;
	assert_int_equal(sim_run(&c, names_main, NULL).end, SIM_POWER_CUT);
	assert_int_equal(sim_disk_size("d/lost"), -1);
	assert_int_equal(sim_disk_size("d/new.tmp"), 3);
	assert_int_equal(sim_disk_size("d/old"), 4);
}

/* Whatever of it reaches the medium: the one or the other is there, whole. */
static void test_rename_is_atomic(void **state)
{
	unsigned before = 0, after = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 64; seed++) {
		struct sim_config c = sim_config_default(seed);

		sim_reset();
		c.faults.disk.damage = seed % 2 ? SIM_DAMAGE_REORDER : SIM_DAMAGE_TEAR;
		assert_int_equal(sim_run(&c, names_main, NULL).end, SIM_POWER_CUT);
		int64_t size = sim_disk_size("d/old"), fresh = sim_disk_size("d/new.tmp");
		before += size == 4 && fresh == 3;
		after += size == 3 && fresh == -1;
		assert_int_equal(before + after, seed);
	}
	assert_true(before > 0 && after > 0);
}

/* ---- errors ---- */

static void error_main(void *arg)
{
	struct sim_disk_faults *f = &sim_faults()->disk;
	struct hal_file file;
	char b[8];

	(void)arg;
	assert_int_equal(open_root(), 0);
	put("a", "abc", 3, true);
	assert_int_equal(hal_file_open(&file, "b", HAL_FILE_CREATE), 0);
	f->fail_calls = SIM_DISK_WRITE;
	f->fail_at = 2;
	f->fail_err = ERR_IO;
	assert_int_equal(hal_file_write(&file, "1", 1), 0);
	assert_int_equal(hal_file_write(&file, "2", 1), ERR_IO);
	assert_int_equal(hal_file_write(&file, "3", 1), 0);
	f->fail_on = true;
	f->fail_err = ERR_NO_SPACE;
	assert_int_equal(hal_file_write(&file, "4", 1), ERR_NO_SPACE);
	assert_int_equal(hal_file_write(&file, "5", 1), ERR_NO_SPACE);
	f->fail_calls = SIM_DISK_OPEN | SIM_DISK_READ;
	assert_int_equal(hal_file_read(&file, 0, b, sizeof b), ERR_NO_SPACE);
	f->fail_at = 0;
	assert_int_equal(hal_file_read(&file, 0, b, sizeof b), 2);
	assert_memory_equal(b, "13", 2);
	f->read_only = true;
	assert_int_equal(hal_file_write(&file, "6", 1), ERR_READ_ONLY);
	f->read_only = false;
	f->capacity_bytes = 8192;
	assert_int_equal(hal_file_write(&file, "7", 1), 0);
	assert_int_equal(hal_storage_reserve("r", 1), ERR_NO_SPACE);
	hal_file_close(&file);
}

static void test_errors(void **state)
{
	struct sim_config c = sim_config_default(1);

	(void)state;
	assert_int_equal(sim_run(&c, error_main, NULL).end, SIM_FINISHED);
}

static void failed_sync_main(void *arg)
{
	struct hal_file file;

	(void)arg;
	assert_int_equal(open_root(), 0);
	assert_int_equal(hal_file_open(&file, "f", HAL_FILE_CREATE), 0);
	hal_storage_sync_dir("");
	for (int i = 0; i < 20; i++)
		hal_file_write(&file, "x", 1);
	sim_faults()->disk.fail_calls = SIM_DISK_SYNC;
	sim_faults()->disk.fail_at = 1;
	sim_faults()->disk.fail_err = ERR_IO;
	assert_int_equal(hal_file_sync(&file), ERR_IO);
	assert_int_equal(hal_file_sync(&file), 0);
	assert_int_equal(hal_file_size(&file), 20);
	sim_power_cut();
}

static void test_failed_sync_loses(void **state)
{
	struct sim_config c = sim_config_default(5);
	char b[20] = "";

	(void)state;
	assert_int_equal(sim_run(&c, failed_sync_main, NULL).end, SIM_POWER_CUT);
	int64_t n = sim_disk_read("f", 0, b, sizeof b);
	assert_true(n < 20 || memchr(b, 0, sizeof b) != NULL);
}

/* ---- SQLite: a counter, committed one by one; the ledger outside knows what it was told ---- */

struct ledger {
	int promised; /* the highest number whose commit was confirmed */
	int tried;
	bool damaged;
	const char *sync, *journal;
};

static int sql(sqlite3 *db, const char *text)
{
	return sqlite3_exec(db, text, NULL, NULL, NULL);
}

static int number(sqlite3 *db, const char *text, int *out)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, text, -1, &st, NULL);

	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		*out = sqlite3_column_int(st, 0);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(st);
	return rc;
}

static bool whole(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	bool ok = false;

	if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		ok = strcmp((const char *)sqlite3_column_text(st, 0), "ok") == 0;
	sqlite3_finalize(st);
	return ok;
}

static sqlite3 *db_open(const struct ledger *l)
{
	char path[HAL_PATH_MAX], pragmas[256];
	sqlite3 *db = NULL;

	if (open_root() < 0) return NULL;
	hal_storage_path("counter.db", path, sizeof path);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	if (sqlite3_open_v2(path, &db, flags, hal_storage_vfs()) != SQLITE_OK) {
		sqlite3_close(db);
		return NULL;
	}
	snprintf(pragmas, sizeof pragmas,
		 "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=%s; PRAGMA synchronous=%s", l->journal,
		 l->sync);
	sql(db, pragmas);
	return db;
}

static void count_main(void *arg)
{
	struct ledger *l = arg;
	sqlite3 *db = db_open(l);
	char text[160];
	const char *create = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, pad BLOB)";

	if (db == NULL || sql(db, create) != SQLITE_OK) {
		l->damaged = true;
		return;
	}
	/* The database's name is ours to make safe: SQLite does not do it. */
	assert_int_equal(hal_storage_sync_dir(""), 0);
	for (int i = 0; i < 4; i++) {
		l->tried++;
		snprintf(text, sizeof text, "INSERT INTO t VALUES (%d, randomblob(700))", l->tried);
		if (sql(db, text) != SQLITE_OK) {
			l->damaged = true;
			return;
		}
		l->promised = l->tried;
	}
	sqlite3_close(db);
	hal_storage_close();
}

static void verify_main(void *arg)
{
	struct ledger *l = arg;
	sqlite3 *db = db_open(l);
	int count = 0, max = 0;

	if (db == NULL || !whole(db)) {
		l->damaged = true;
		return;
	}
	if (number(db, "SELECT count(*) FROM sqlite_schema", &count) != SQLITE_OK ||
	    (count > 0 && (number(db, "SELECT count(*) FROM t", &count) != SQLITE_OK ||
			   number(db, "SELECT coalesce(max(n), 0) FROM t", &max) != SQLITE_OK)) ||
	    count != max || max < l->promised || max > l->tried)
		l->damaged = true;
	sqlite3_close(db);
	hal_storage_close();
}

/* Cuts at every op of one run, with each damage; returns how often a promise was broken, at most `enough`. */
static int broken_promises(const char *journal, const char *sync, int enough, int *cuts)
{
	struct ledger *l = NULL;
	int broken = 0;

	for (enum sim_damage damage = SIM_DAMAGE_DROP; damage <= SIM_DAMAGE_TEAR; damage++) {
		for (uint64_t op = 1;; op++) {
			struct sim_config c = sim_config_default(op);

			sim_reset();
			l = sim_shared(sizeof *l);
			l->journal = journal;
			l->sync = sync;
			c.faults.disk.damage = damage;
			c.faults.disk.cut_at_op = op;
			struct sim_result r = sim_run(&c, count_main, l);
			assert_true(r.end == SIM_POWER_CUT || r.end == SIM_FINISHED);
			assert_false(l->damaged);
			c.faults.disk.cut_at_op = 0;
			assert_int_equal(sim_run(&c, verify_main, l).end, SIM_FINISHED);
			broken += l->damaged;
			if (broken == enough) return broken;
			if (r.end == SIM_FINISHED) break;
			(*cuts)++;
		}
	}
	return broken;
}

static void test_sqlite_wal_survives_every_cut(void **state)
{
	int cuts = 0;

	(void)state;
	assert_int_equal(broken_promises("WAL", "FULL", 1, &cuts), 0);
	assert_true(cuts > 100);
}

static void test_sqlite_journal_survives_every_cut(void **state)
{
	int cuts = 0;

	(void)state;
	assert_int_equal(broken_promises("DELETE", "EXTRA", 1, &cuts), 0);
	assert_true(cuts > 100);
}

static void test_sqlite_without_sync_is_caught(void **state)
{
	int cuts = 0;

	(void)state;
	assert_int_equal(broken_promises("WAL", "OFF", 10, &cuts), 10);
	assert_int_equal(broken_promises("DELETE", "OFF", 10, &cuts), 10);
}

static void test_sqlite_runs_the_same_again(void **state)
{
	struct sim_config c = sim_config_default(7);
	uint64_t hash = 0;

	(void)state;
	c.faults.disk.damage = SIM_DAMAGE_TEAR;
	c.faults.disk.cut_at_op = 20;
	for (int i = 0; i < 3; i++) {
		sim_reset();
		struct ledger *l = sim_shared(sizeof *l);
		l->journal = "WAL";
		l->sync = "FULL";
		struct sim_result r = sim_run(&c, count_main, l);
		assert_int_equal(r.end, SIM_POWER_CUT);
		assert_true(i == 0 || r.trace_hash == hash);
		hash = r.trace_hash;
	}
}

/* ---- SQLite's memory ---- */

static void test_sqlite_without_memory(void **state)
{
	struct sim_config c = sim_config_default(1);
	int failed = 0;

	(void)state;
	struct ledger *l = sim_shared(sizeof *l);
	l->journal = "WAL";
	l->sync = "FULL";
	uint64_t allocs = sim_run(&c, count_main, l).allocs;
	assert_true(allocs > 50);
	for (uint64_t n = 1; n <= allocs; n += 23) {
		sim_reset();
		l = sim_shared(sizeof *l);
		l->journal = "WAL";
		l->sync = "FULL";
		c.faults.alloc.fail_at = n;
		assert_int_equal(sim_run(&c, count_main, l).end, SIM_FINISHED);
		failed += l->damaged;
		l->damaged = false;
		c.faults.alloc.fail_at = 0;
		assert_int_equal(sim_run(&c, verify_main, l).end, SIM_FINISHED);
		assert_false(l->damaged);
	}
	assert_true(failed > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_drop, setup),
		cmocka_unit_test_setup(test_keep, setup),
		cmocka_unit_test_setup(test_reorder, setup),
		cmocka_unit_test_setup(test_tear, setup),
		cmocka_unit_test_setup(test_names_need_their_directory, setup),
		cmocka_unit_test_setup(test_rename_is_atomic, setup),
		cmocka_unit_test_setup(test_errors, setup),
		cmocka_unit_test_setup(test_failed_sync_loses, setup),
		cmocka_unit_test_setup(test_sqlite_wal_survives_every_cut, setup),
		cmocka_unit_test_setup(test_sqlite_journal_survives_every_cut, setup),
		cmocka_unit_test_setup(test_sqlite_without_sync_is_caught, setup),
		cmocka_unit_test_setup(test_sqlite_runs_the_same_again, setup),
		cmocka_unit_test_setup(test_sqlite_without_memory, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
