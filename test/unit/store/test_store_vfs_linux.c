/* The VFS of the device puts writes together: nobody can tell, whoever reads, measures, cuts, syncs or is killed. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "hal_storage.h"
#include "store_kit.h"

#define FRAME_HEADER 24
#define PAGE         4096

static char dir[64];
static sqlite3_file *file;
static unsigned char bytes[PAGE], want[64 * PAGE], got[64 * PAGE];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/store-vfs-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(hal_storage_open(dir), 0);
	return 0;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	hal_storage_close();
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

/* A WAL; its mode is that of the database beside it. */
static void open_file(void)
{
	static char path[512];
	sqlite3_vfs *vfs = sqlite3_vfs_find(hal_storage_vfs());
	struct hal_file db;
	int out;

	if (hal_file_open(&db, "some.db", HAL_FILE_CREATE) == 0) hal_file_close(&db);
	assert_int_equal(hal_storage_path("some.db-wal", path, sizeof path), 0);
	file = calloc(1, (size_t)vfs->szOsFile);
	assert_non_null(file);
	assert_int_equal(vfs->xOpen(vfs, path, file,
				    SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &out),
			 SQLITE_OK);
}

static void close_file(void)
{
	assert_int_equal(file->pMethods->xClose(file), SQLITE_OK);
	free(file);
}

static int put(size_t len, int64_t at)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(rand() & 0xff);
	memcpy(want + at, bytes, len);
	return file->pMethods->xWrite(file, bytes, (int)len, at);
}

static int get(size_t len, int64_t at)
{
	return file->pMethods->xRead(file, got, (int)len, at);
}

/* What the file itself holds now, past this VFS. */
static long on_disk(void)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof path, "%s/some.db-wal", dir);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	long size = ftell(f);
	fclose(f);
	return size;
}

static int put_frame(int64_t at, bool commit)
{
	unsigned char header[FRAME_HEADER] = {0};

	header[7] = commit ? 5 : 0;
	assert_int_equal(file->pMethods->xWrite(file, header, FRAME_HEADER, at), SQLITE_OK);
	return put(PAGE, at + FRAME_HEADER);
}

/* Writes of all sizes, most of them behind the last one, and looks in between: as if each had gone to the file. */
static void test_nobody_can_tell(void **state)
{
	sqlite3_int64 size = 0, at = 0, seen;

	(void)state;
	srand(1);
	open_file();
	for (int i = 0; i < 5000; i++) {
		size_t len = rand() % 3 ? 1 + (size_t)rand() % PAGE : FRAME_HEADER;

		if (rand() % 8 == 0) at = rand() % (size + 1);
		if (at + (int64_t)len > (int64_t)sizeof want) at = 0;
		assert_int_equal(put(len, at), SQLITE_OK);
		at += (int64_t)len;
		if (at > size) size = at;
		switch (rand() % 12) {
		case 0:
			assert_int_equal(file->pMethods->xFileSize(file, &seen), SQLITE_OK);
			assert_int_equal(seen, size);
			break;
		case 1:
			seen = rand() % size;
			len = (size_t)(size - seen) < sizeof got ? (size_t)(size - seen) : sizeof got;
			assert_int_equal(get(len, seen), SQLITE_OK);
			assert_memory_equal(got, want + seen, len);
			break;
		case 2: assert_int_equal(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK); break;
		case 3:
			if (rand() % 10) break;
			size = size / 2;
			at = size;
			assert_int_equal(file->pMethods->xTruncate(file, size), SQLITE_OK);
			break;
		}
	}
	assert_int_equal(file->pMethods->xTruncate(file, 1000), SQLITE_OK);
	assert_int_equal(put_frame(1000, false), SQLITE_OK);
	memset(want + 1000, 0, FRAME_HEADER);
	size = 1000 + FRAME_HEADER + PAGE;
	close_file();
	assert_int_equal(on_disk(), size);
	open_file();
	assert_int_equal(get((size_t)size, 0), SQLITE_OK);
	assert_memory_equal(got, want, (size_t)size);
	close_file();
}

static void test_put_together_until_the_commit(void **state)
{
	(void)state;
	open_file();
	assert_int_equal(put(32, 0), SQLITE_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(put_frame(32 + i * (FRAME_HEADER + PAGE), false), SQLITE_OK);
	assert_int_equal(on_disk(), 0);
	assert_int_equal(put_frame(32 + 3 * (FRAME_HEADER + PAGE), true), SQLITE_OK);
	assert_int_equal(on_disk(), 32 + 4 * (FRAME_HEADER + PAGE));
	close_file();
}

/* The last write before a commit cannot be told later that it failed. */
static void test_an_error_comes_with_the_commit(void **state)
{
	struct rlimit before, small;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){.rlim_cur = 2 * PAGE, .rlim_max = before.rlim_max};
	open_file();
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(put_frame(32 + i * (FRAME_HEADER + PAGE), false), SQLITE_OK);
	assert_int_not_equal(put_frame(32 + 3 * (FRAME_HEADER + PAGE), true), SQLITE_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(put_frame(32 + i * (FRAME_HEADER + PAGE), false), SQLITE_OK);
	assert_int_not_equal(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	close_file();
}

/* Without a sync for each commit: killed at once, and all that was answered is there. */
static void test_killed_after_the_answer(void **state)
{
	struct store_config config = kit_config();
	struct store *s;
	char name[32];
	int status;

	(void)state;
	config.durability_full = false;
	hal_storage_close();
	pid_t child = fork();
	if (child == 0) {
		if (hal_storage_open(dir) < 0 || store_open(&config, &s) < 0) _exit(1);
		for (int i = 0; i < 20; i++) {
			sprintf(name, "mail-%d", i);
			if (kit_accept(s, name, "p", NULL) < 0) _exit(2);
		}
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(hal_storage_open(dir), 0);
	assert_int_equal(store_open(&config, &s), 0);
	assert_int_equal(kit_status(s).count[JOB_PENDING], 20);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody_can_tell, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_together_until_the_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_error_comes_with_the_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_after_the_answer, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
