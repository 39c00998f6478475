/* The ceiling of a store: a bare program with the same SQLite, the same settings, and no mail at all.
 *
 *   ceiling FILE JOBS BYTES [BATCH]
 *
 * Jobs of BYTES bytes are stored in transactions of BATCH (64), each batch then gets its status in one more. The status
 * has a table of its own: as a column of the job it would write the job's bytes a second time.
 * Every commit is synced (WAL, synchronous=FULL). Prints one line of JSON: the seconds, and of them those for storing
 * and those for the status. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static sqlite3 *db;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW) return;
	fprintf(stderr, "ceiling: %s\n", sqlite3_errmsg(db));
	exit(1);
}

static void run(const char *sql)
{
	must(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static sqlite3_stmt *prepare(const char *sql)
{
	sqlite3_stmt *st;

	must(sqlite3_prepare_v2(db, sql, -1, &st, NULL));
	return st;
}

static void step(sqlite3_stmt *st)
{
	must(sqlite3_step(st));
	must(sqlite3_reset(st));
}

static void open_db(const char *file)
{
	must(sqlite3_open(file, &db));
	/* As the store has it: page size, cache, and a checkpoint when the WAL is at 3 MB. */
	run("PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA locking_mode=EXCLUSIVE; PRAGMA "
	    "journal_mode=WAL;"
	    "PRAGMA synchronous=FULL; PRAGMA cache_size=-200; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;"
	    "PRAGMA wal_autocheckpoint=768; PRAGMA journal_size_limit=3145728");
	run("CREATE TABLE job(id INTEGER PRIMARY KEY, src BLOB NOT NULL);"
	    "CREATE TABLE status(job INTEGER PRIMARY KEY, status INTEGER NOT NULL)");
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "ceiling FILE JOBS BYTES [BATCH]\n");
		return 2;
	}
	long jobs = atol(argv[2]), bytes = atol(argv[3]), batch = argc > 4 ? atol(argv[4]) : 64;
	char *text = malloc((size_t)bytes + 1);
	double storing = 0, status = 0;

	if (!text || batch < 1) return 2;
	memset(text, 'x', (size_t)bytes);
	open_db(argv[1]);
	sqlite3_stmt *begin = prepare("BEGIN IMMEDIATE"), *commit = prepare("COMMIT");
	sqlite3_stmt *insert = prepare("INSERT INTO job(id, src) VALUES(?1, ?2)");
	sqlite3_stmt *note = prepare("INSERT INTO status(job, status) VALUES(?1, 1)");

	for (long first = 0; first < jobs; first += batch) {
		long end = first + batch < jobs ? first + batch : jobs;
		double began = now_s();

		step(begin);
		for (long n = first; n < end; n++) {
			must(sqlite3_bind_int64(insert, 1, n + 1));
			must(sqlite3_bind_blob(insert, 2, text, (int)bytes, SQLITE_STATIC));
			step(insert);
		}
		step(commit);
		double stored = now_s();

		step(begin);
		for (long n = first; n < end; n++) {
			must(sqlite3_bind_int64(note, 1, n + 1));
			step(note);
		}
		step(commit);
		storing += stored - began;
		status += now_s() - stored;
	}
	printf("{\"jobs\":%ld,\"seconds\":%.6f,\"storing\":%.6f,\"status\":%.6f}\n", jobs, storing + status,
	       storing, status);
	fflush(stdout);
	/* Its counters in /proc are read before it ends. */
	getchar();
	return 0;
}
