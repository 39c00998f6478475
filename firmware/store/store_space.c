/* The budget: what lies on flash stays below max_bytes, submissions stay away from the last reserve_bytes of
 * it, and a real file keeps as much free of others' data, to be given up when the file system itself is full.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_internal.h"

#define ROW_BYTES                                                                                            \
	1024 /* beyond its original: its row, index entries, identity, and pages that are not full */
#define FINISH_BYTES                                                                                         \
	384 /* set aside for each waiting job: its tries and results; more than that is in the reserve */
#define FINISH_ROOM_BYTES (128 * 1024) /* a group of ends in the WAL */
#define EVICT_AT_ONCE     8

void store_space_limit(struct store *s)
{
	char sql[64];
	int64_t pages = (s->config.max_bytes - STORE_WAL_BYTES) / STORE_PAGE;

	/* Only a backstop; SQLite raises it to what is in use already. */
	snprintf(sql, sizeof sql, "PRAGMA max_page_count=%lld", (long long)(pages > 64 ? pages : 64));
	sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	s->over = false;
}

static int64_t pages_used(struct store *s, int64_t *free_pages)
{
	int64_t pages = 0;

	*free_pages = 0;
	store_number(s, SQL_PAGES, &pages, "");
	store_number(s, SQL_FREE_PAGES, free_pages, "");
	return pages - *free_pages;
}

int64_t store_space_pages(struct store *s)
{
	int64_t free_pages;

	return pages_used(s, &free_pages);
}

void store_space_measure(struct store *s)
{
	s->tally.used_bytes = store_space_pages(s) * STORE_PAGE;
}

/* What the database may hold when submissions stop. The reserve counts once: it is the file, or what the
 * database has grown into. A set-aside database counts for at most a quarter, so that one damage does not
 * fill the store for good. */
static int64_t budget(const struct store *s)
{
	int64_t quarantine = s->quarantine_bytes, quarter = s->config.max_bytes / 4;

	if (quarantine > quarter) quarantine = quarter;
	return s->config.max_bytes - s->config.reserve_bytes - STORE_WAL_BYTES - quarantine;
}

/* Completed jobs are kept to be looked at; they make room for mail that is not sent yet. Failed ones stay. */
static int evict(struct store *s, unsigned batch, unsigned *removed)
{
	int64_t id;
	int rc = 0;

	*removed = 0;
	while (*removed < batch) {
		rc = store_number(s, SQL_ENDED_WALK, &id, "iii", I64(JOB_COMPLETED), I64(0), I64(1));
		if (rc != 1) break;
		rc = store_job_remove(s, id, JOB_COMPLETED);
		if (rc < 0) break;
		++*removed;
	}
	if (rc >= 0 && *removed) {
		store_space_measure(s);
		log_warn("store", "space is short -> oldest completed jobs removed",
			 LOG_INT("jobs", *removed));
	}
	return rc < 0 ? rc : 0;
}

int store_space_admit(struct store *s, int64_t bytes)
{
	unsigned removed;

	bytes += ROW_BYTES + FINISH_BYTES * s->tally.count[JOB_PENDING];
	if (!s->reserve_there && s->config.reserve_bytes > 0) {
		s->full = true;
		return ERR_NO_SPACE;
	}
	/* The estimates of a full second may have been too high. */
	if (s->tally.used_bytes + bytes > budget(s)) store_space_measure(s);
	while (s->tally.used_bytes + bytes > budget(s)) {
		int rc = evict(s, EVICT_AT_ONCE, &removed);

		if (rc < 0) return rc;
		if (removed) continue;
		s->full = true;
		return ERR_FULL;
	}
	s->full = false;
	s->tally.used_bytes += bytes - FINISH_BYTES * s->tally.count[JOB_PENDING];
	return 0;
}

bool store_space_is_ample(const struct store *s)
{
	return !s->over && !s->stuck && (s->reserve_there || s->config.reserve_bytes <= 0) &&
	       s->tally.used_bytes <= budget(s);
}

bool store_space_can_finish(const struct store *s)
{
	struct hal_storage_info info;

	if (s->stuck) return false;
	if (s->reserve_there || s->config.reserve_bytes <= 0) return true;
	/* The reserve is spent (perhaps by an earlier start): what is left now is all there is. */
	return hal_storage_info(&info) < 0 || info.free_bytes >= FINISH_ROOM_BYTES;
}

bool store_space_yield(struct store *s)
{
	if (s->reserve_there) {
		s->reserve_there = false;
		if (hal_storage_remove(STORE_RESERVE) == 0) {
			log_warn("store", "file system full -> reserve given up");
			return true;
		}
	}
	if (!s->over) {
		/* max_bytes was reached in spite of the reserve: what is accepted must be finished all the
		 * same. */
		s->over = true;
		return sqlite3_exec(s->db, "PRAGMA max_page_count=1073741823", NULL, NULL, NULL) == SQLITE_OK;
	}
	return false;
}

/* The file is there while the database leaves room for it. The two limits are apart, so that it is not
 * written again and again. */
static void keep_reserve(struct store *s)
{
	int64_t over = s->tally.used_bytes - budget(s);

	if (s->config.reserve_bytes <= 0) return;
	if (s->reserve_there && over > s->config.reserve_bytes / 2) {
		s->reserve_there = hal_storage_remove(STORE_RESERVE) != 0;
		return;
	}
	if (s->reserve_there || over > 0) return;
	int rc = hal_storage_reserve(STORE_RESERVE, s->config.reserve_bytes);
	s->reserve_there = rc == 0;
	if (rc == 0)
		s->full = s->stuck = false;
	else
		hal_storage_remove(STORE_RESERVE);
}

/* ---- databases that were set aside ---- */

struct quarantine {
	long newest, oldest;
	unsigned count;
	int64_t bytes;
};

static int look_at_one(void *arg, const char *name)
{
	struct quarantine *q = arg;
	size_t prefix = sizeof STORE_CORRUPT - 1;

	if (strncmp(name, STORE_CORRUPT, prefix) != 0) return 0;
	int64_t size = hal_storage_size(name);
	if (size > 0) q->bytes += size;
	char *end;
	long n = strtol(name + prefix, &end, 10);
	if (*end) return 0;
	q->count++;
	if (n > q->newest) q->newest = n;
	if (!q->oldest || n < q->oldest) q->oldest = n;
	return 0;
}

void store_space_quarantine(struct store *s)
{
	struct quarantine q = {0};

	hal_storage_list("", look_at_one, &q);
	s->quarantined = (unsigned)q.newest;
	s->quarantine_bytes = q.bytes;
}

/* When space is short the oldest goes, as long as `keep` are left. */
static bool drop_quarantine(struct store *s, unsigned keep)
{
	struct quarantine q = {0};
	char name[64];

	hal_storage_list("", look_at_one, &q);
	s->quarantine_bytes = q.bytes;
	if (q.count <= keep) return false;
	snprintf(name, sizeof name, STORE_CORRUPT "%ld-wal", q.oldest);
	hal_storage_remove(name);
	snprintf(name, sizeof name, STORE_CORRUPT "%ld", q.oldest);
	if (hal_storage_remove(name) < 0) return false;
	log_warn("store", "space is short -> set-aside database removed", LOG_TEXT("name", name));
	return true;
}

void store_space_clear(struct store *s)
{
	hal_storage_remove(STORE_RESERVE);
	s->reserve_there = false;
	while (drop_quarantine(s, 0)) {
	}
}

/* Free pages are used again anyway; they go back to the file system only when they are many. */
static int shrink(struct store *s)
{
	int64_t free_pages, used = pages_used(s, &free_pages);
	int rc = 0;

	s->tally.used_bytes = used * STORE_PAGE;
	if (free_pages > 256 && free_pages > used / 4) {
		rc = store_write(s, SQL_VACUUM, "");
		if (rc < 0) return rc;
	}
	return 0;
}

int store_space_tick(struct store *s, unsigned batch)
{
	unsigned removed = 0;
	int rc = 0;

	if (batch) rc = shrink(s);
	if (rc >= 0 && batch && s->tally.used_bytes > budget(s) - s->config.max_bytes / 32) {
		if (s->quarantine_bytes) drop_quarantine(s, 1);
		rc = evict(s, batch, &removed);
	}
	if (rc < 0) return rc;
	if (s->over && s->tally.used_bytes < budget(s)) store_space_limit(s);
	keep_reserve(s);
	return 0;
}
