/* A damaged database is set aside and a fresh one made of what can be read of it. Steps, so that a power cut
 * between any two of them loses nothing:
 *   1. postern.db.new is filled, checkpointed, closed   (cut: the next boot finds the damage again and begins
 * anew)
 *   2. postern.db -> postern.db.corrupt-N               (cut: store_salvage_resume does 3 and 4)
 *   3. postern.db-wal -> postern.db.corrupt-N-wal
 *   4. postern.db.new -> postern.db
 */
#include <stdio.h>
#include <string.h>

#include "store/store_pages.h"

#define BATCH_ROWS  500
#define ID_MAX      ((int64_t)1 << 48)
#define ID_MARGIN   1000 /* ids and seqs lost with their rows are not given again */
#define JOB_COLUMNS 40
#define WHY_SRC     "the stored original was lost when the database was damaged"
#define WHY_ROW     "the database was damaged: whether this was sent is not known"

static struct pages the_pages;

struct salvage {
	struct store *s;
	int64_t rows, lost;
	int64_t in_batch;
};

/* ---- step 1: rows ---- */

/* Now and then what there is so far is written down: the WAL stays small, and its checkpoint short. */
static int batch_end(struct salvage *v)
{
	struct store *s = v->s;
	int rc = store_progress(s);

	if (rc < 0 || ++v->in_batch % BATCH_ROWS != 0) return rc;
	rc = store_commit(s);
	if (rc < 0 || s->wal_frames < STORE_WAL_PAGES) return rc;
	s->wal_frames = 0;
	return store_err(s, sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
}

static bool is_int(const struct pages_value *v, int64_t min, int64_t max)
{
	int64_t n = v->type == PAGES_INT ? v->n : 0;

	return (v->type == PAGES_INT || v->type == PAGES_NULL) && n >= min && n <= max;
}

static bool is_text(const struct pages_value *v, size_t min, size_t max)
{
	return (v->type == PAGES_TEXT && v->len >= min && v->len <= max) ||
	       (min == 0 && v->type == PAGES_NULL);
}

/* The columns as schema_1 has them; what cannot be is taken for damage. */
static bool job_plausible(const struct pages_row *r)
{
	const struct pages_value *v = r->values;

	if (r->rowid < 1 || r->rowid > ID_MAX) return false;
	if (!is_int(&v[1], 0, JOB_FAILED) || v[1].n == JOB_PROCESSING || !is_int(&v[2], 0, JOB_REASON_BAD))
		return false;
	if (!is_int(&v[3], 0, JOB_PRIORITY_COUNT - 1) || !is_text(&v[4], 1, JOB_PROVIDER_MAX)) return false;
	for (int i = 5; i <= 21; i++) {
		if (!is_int(&v[i], i == 9 ? 1 : INT64_MIN, i == 9 ? STORE_RCPT_MAX : INT64_MAX)) return false;
	}
	for (int i = 22; i <= 25; i++) {
		if (!is_text(&v[i], 0, 4096)) return false;
	}
	if (!is_int(&v[26], 0, INT64_MAX) || v[27].type != PAGES_INT || v[30].type != PAGES_BLOB)
		return false;
	for (int i = 28; i < JOB_COLUMNS; i++) {
		if (i != 30 && !is_text(&v[i], i == 29, 4096)) return false;
	}
	return true;
}

/* Binds the row as it stands; a table's first column is its rowid. */
static int row_put(struct salvage *v, enum store_sql which, const struct pages_row *r)
{
	sqlite3_stmt *st;
	int rc = store_begin(v->s);

	if (rc == 0) rc = store_query(v->s, which, &st, "");
	if (rc < 0) return rc;
	for (int i = 0; i < (int)r->columns; i++) {
		const struct pages_value *c = &r->values[i];

		if (i == 0 && !r->is_index)
			sqlite3_bind_int64(st, 1, r->rowid);
		else if (c->type == PAGES_INT)
			sqlite3_bind_int64(st, i + 1, c->n);
		else if (c->type == PAGES_TEXT)
			sqlite3_bind_text(st, i + 1, (const char *)c->bytes, (int)c->len, SQLITE_STATIC);
		else if (c->type == PAGES_BLOB)
			sqlite3_bind_blob(st, i + 1, c->bytes, (int)c->len, SQLITE_STATIC);
		else
			sqlite3_bind_null(st, i + 1);
	}
	do {
		rc = store_step(v->s, st);
	} while (rc == 1);
	store_end(st);
	if (rc < 0) return rc;
	v->rows += sqlite3_changes(v->s->db) > 0;
	return batch_end(v);
}

static struct str text_of(const struct pages_value *v)
{
	return (struct str){(const char *)v->bytes, v->type == PAGES_TEXT ? v->len : 0};
}

/* A free page holds rows as they once were: a job on it is believed only while its identity says that it
 * lives. */
static int job_put(struct salvage *v, const struct pages_row *r)
{
	int64_t live;
	int rc = 1;

	if (!job_plausible(r)) {
		v->lost += !r->doubtful;
		return 0;
	}
	if (r->doubtful) {
		rc = store_number(v->s, SQL_SALVAGE_LIVE, &live, "ssi", text_of(&r->values[28]),
				  text_of(&r->values[29]), r->rowid);
		if (rc == 1) rc = store_number(v->s, SQL_CREATED, &live, "i", r->rowid) == 0;
	}
	return rc == 1 ? row_put(v, SQL_SALVAGE_JOB, r) : rc;
}

static bool key_plausible(const struct pages_row *r, int shift)
{
	return r->rowid >> shift >= 1 && r->rowid >> shift <= ID_MAX;
}

/* Which table a row is of shows in its number of columns; they were chosen to differ. */
static int row_found(void *arg, const struct pages_row *r)
{
	struct salvage *v = arg;
	const struct pages_value *c = r->values;

	if (r->is_index) {
		if (r->columns == 6 && is_text(&c[0], 0, 4096) && is_text(&c[1], 1, 4096) &&
		    is_int(&c[2], 1, ID_MAX) && c[3].type == PAGES_BLOB && is_int(&c[4], 0, INT64_MAX) &&
		    is_int(&c[5], 0, JOB_FAILED))
			return row_put(v, SQL_SALVAGE_IDENT, r);
		if (r->columns == 2 && !r->doubtful && is_text(&c[0], 1, 64) &&
		    is_int(&c[1], INT64_MIN, INT64_MAX))
			return row_put(v, SQL_META_PUT, r);
		return 0;
	}
	switch (r->columns) {
	case JOB_COLUMNS: return job_put(v, r);
	case 2: return key_plausible(r, 12) && c[1].type == PAGES_BLOB ? row_put(v, SQL_SALVAGE_SRC, r) : 0;
	case 3:
		return key_plausible(r, 10) && is_int(&c[1], 0, INT64_MAX) && is_text(&c[2], 1, STORE_LOG_MAX)
			       ? row_put(v, SQL_SALVAGE_LOG, r)
			       : 0;
	case 4:
		return !r->doubtful && r->rowid > 0 && r->rowid < ID_MAX && is_int(&c[1], 1, ID_MAX) &&
				       is_text(&c[3], 1, 4096)
			       ? row_put(v, SQL_SALVAGE_EVENT, r)
			       : 0;
	case 6:
		return key_plausible(r, 8) && is_int(&c[1], 0, JOB_RCPT_BCC) &&
				       is_int(&c[2], 0, STORE_RCPT_FAILED) && is_text(&c[4], 0, 4096) &&
				       is_text(&c[5], 0, 65536)
			       ? row_put(v, SQL_SALVAGE_RCPT, r)
			       : 0;
	case 7:
		return key_plausible(r, 10) && is_text(&c[5], 0, 4096) && is_text(&c[6], 0, 65536)
			       ? row_put(v, SQL_SALVAGE_ATTEMPT, r)
			       : 0;
	default: return 0;
	}
}

/* ---- step 1: what belongs together ---- */

static int src_sum(struct store *s, int64_t id, int64_t *len, uint64_t *sum, uint64_t *old)
{
	size_t n;

	*len = 0;
	*sum = *old = STORE_SUM_START;
	do {
		int rc = store_src_get(s, id, (size_t)*len, s->text, sizeof s->text, &n);

		if (rc < 0) return rc;
		*sum = store_sum(*sum, s->text, n);
		*old = store_sum_old(*old, s->text, n);
		*len += (int64_t)n;
	} while (n);
	return 0;
}

static int fill_rcpts(struct store *s, int64_t id, int64_t count)
{
	int64_t there;
	int rc = store_number(s, SQL_SALVAGE_RCPTS, &there, "i", STORE_RCPT_KEY(id, 0));

	for (int64_t i = 0; rc >= 0 && there < count && i < count; i++)
		rc = store_write(s, SQL_SALVAGE_RCPT_FILL, "i", STORE_RCPT_KEY(id, i));
	return rc < 0 ? rc : store_write(s, SQL_SALVAGE_SETTLED, "i", id);
}

/* Every job: its original whole, its recipients all there. One that cannot be sent any more is failed, and
 * says why. */
static int check_jobs(struct salvage *v)
{
	struct store *s = v->s;
	sqlite3_stmt *st;
	int64_t id = 0, len;
	uint64_t sum, old;
	int rc;

	while ((rc = store_row(s, SQL_SALVAGE_WALK, &st, "i", id)) == 1) {
		id = sqlite3_column_int64(st, 0);
		bool pending = sqlite3_column_int(st, 1) == JOB_PENDING;
		int64_t want_len = sqlite3_column_int64(st, 2), rcpts = sqlite3_column_int64(st, 4);
		uint64_t want_sum = (uint64_t)sqlite3_column_int64(st, 3);
		store_end(st);
		if (rcpts > 1) rc = fill_rcpts(s, id, rcpts);
		if (rc >= 0) rc = src_sum(s, id, &len, &sum, &old);
		if (rc >= 0 && (len != want_len || (sum != want_sum && old != want_sum))) {
			if (pending)
				rc = store_job_give_up(s, id, JOB_REASON_BAD, WHY_SRC, (struct str){NULL, 0});
			if (rc >= 0) rc = store_write(s, SQL_SALVAGE_NO_SRC, "i", id);
			if (rc >= 0) rc = store_write(s, SQL_REMOVE_SRC, "i", STORE_SRC_KEY(id, 0));
			v->lost++;
		}
		if (rc >= 0) rc = batch_end(v);
		if (rc < 0) return rc;
	}
	return rc;
}

/* A live identity without its job: what was accepted is shown again as a failed job, with its original if
 * that is there, so that somebody can decide; as completed when a result says so. */
static int add_stub(struct salvage *v, int64_t id, const char *tenant, const char *message,
		    const unsigned char *digest)
{
	struct store *s = v->s;
	int64_t now = hal_clock_wall_ms(NULL), len, rcpts, yes;
	char provider[64] = "default";
	uint64_t sum, old;
	sqlite3_stmt *st;
	int rc = store_row(s, SQL_SALVAGE_PROVIDER, &st, "");

	if (rc == 1) store_column(st, 0, provider, sizeof provider);
	if (st) store_end(st);
	if (rc >= 0) rc = src_sum(s, id, &len, &sum, &old);
	if (rc >= 0) rc = store_number(s, SQL_SALVAGE_RCPTS, &rcpts, "i", STORE_RCPT_KEY(id, 0));
	if (rc < 0) return rc;
	int sent = store_number(s, SQL_SALVAGE_SENT, &yes, "i", id);
	if (sent < 0) return sent;
	rc = store_write(s, SQL_SALVAGE_STUB, "iiiziiiziizzb", id, I64(sent ? JOB_COMPLETED : JOB_FAILED),
			 I64(sent ? JOB_REASON_NONE : JOB_REASON_BAD), provider, now + 5 * INT64_C(86400000),
			 rcpts > 1 ? rcpts : I64(1), now,
			 sent  ? NULL
			 : len ? WHY_ROW
			       : WHY_SRC,
			 len, I64(sum), tenant, message, (const void *)digest, (size_t)DIGEST_SHA256_BYTES);
	return rc < 0 ? rc : 0;
}

static int add_stubs(struct salvage *v)
{
	char tenant[128], message[256];
	unsigned char digest[DIGEST_SHA256_BYTES];
	sqlite3_stmt *st;
	int64_t id = 0;
	int rc;

	while ((rc = store_row(v->s, SQL_SALVAGE_LOST, &st, "i", id)) == 1) {
		id = sqlite3_column_int64(st, 0);
		store_column(st, 1, tenant, sizeof tenant);
		store_column(st, 2, message, sizeof message);
		memset(digest, 0, sizeof digest);
		if (sqlite3_column_bytes(st, 3) == sizeof digest)
			memcpy(digest, sqlite3_column_blob(st, 3), sizeof digest);
		store_end(st);
		v->lost++;
		rc = add_stub(v, id, tenant, message, digest);
		if (rc >= 0) rc = batch_end(v);
		if (rc < 0) return rc;
	}
	return rc;
}

static int put_in_order(struct salvage *v)
{
	struct store *s = v->s;
	int64_t last;
	int rc = add_stubs(v);

	if (rc >= 0) rc = store_write(s, SQL_SALVAGE_IDENTS, "");
	if (rc >= 0) rc = store_write(s, SQL_SALVAGE_ORPHANS, "");
	if (rc >= 0) rc = store_write(s, SQL_SALVAGE_ORPHANS_2, "");
	if (rc >= 0) rc = store_write(s, SQL_SALVAGE_ORPHANS_3, "");
	if (rc >= 0) rc = store_write(s, SQL_SALVAGE_ORPHANS_4, "");
	if (rc >= 0) rc = store_count(s);
	if (rc >= 0) rc = store_number(s, SQL_SALVAGE_LAST, &last, "");
	if (rc < 0) return rc;
	if (s->answered_id > last) last = s->answered_id;
	if (s->tally.last_id > last) last = s->tally.last_id;
	if (s->answered_seq > s->tally.last_seq) s->tally.last_seq = s->answered_seq;
	s->tally.last_seq += ID_MARGIN;
	rc = check_jobs(v);
	if (rc >= 0) rc = store_meta_set(s, "last_id", last + ID_MARGIN);
	if (rc >= 0) rc = store_meta_set(s, "last_seq", s->tally.last_seq);
	return rc < 0 ? rc : store_commit(s);
}

/* ---- the steps ---- */

static int remove_file(const char *name, const char *suffix)
{
	char path[64];

	snprintf(path, sizeof path, "%s%s", name, suffix);
	/* Looked for first: on a read-only file system even removing nothing is an error. */
	int64_t size = hal_storage_size(path);
	if (size < 0) return size == ERR_NOT_FOUND ? 0 : (int)size;
	return hal_storage_remove(path);
}

static int remove_new(void)
{
	int rc = remove_file(STORE_DB_NEW, "-wal");

	if (rc == 0) rc = remove_file(STORE_DB_NEW, "-journal");
	return rc < 0 ? rc : remove_file(STORE_DB_NEW, "");
}

/* Renames what is there; a file that is not there was renamed before. */
static int move(const char *from, const char *to)
{
	int rc = hal_storage_rename(from, to);

	if (rc < 0 && rc != ERR_NOT_FOUND) return rc;
	return hal_storage_sync_dir("");
}

static int set_aside(unsigned n)
{
	char to[64], to_wal[64];

	snprintf(to, sizeof to, STORE_CORRUPT "%u", n);
	snprintf(to_wal, sizeof to_wal, STORE_CORRUPT "%u-wal", n);
	int rc = move(STORE_DB, to);
	if (rc == 0) rc = move(STORE_DB "-wal", to_wal);
	if (rc == 0) rc = remove_file(STORE_DB, "-journal");
	return rc < 0 ? rc : move(STORE_DB_NEW, STORE_DB);
}

int store_salvage_resume(struct store *s)
{
	int64_t db = hal_storage_size(STORE_DB), fresh;

	store_space_quarantine(s);
	if (db >= 0) return remove_new();
	if (db != ERR_NOT_FOUND) return (int)db;
	fresh = hal_storage_size(STORE_DB_NEW);
	if (fresh == ERR_NOT_FOUND) return 0;
	if (fresh < 0) return (int)fresh;
	log_warn("store", "salvage was cut off -> finished now");
	return set_aside(s->quarantined);
}

/* A newer program's database is not ours to take apart, as far as its header can be read. */
static bool is_newer(struct pages *p)
{
	if (!pages_read(p, 1, p->page) || memcmp(p->page, "SQLite format 3", 16) != 0) return false;
	uint32_t version = (uint32_t)p->page[60] << 24 | (uint32_t)p->page[61] << 16 |
			   (uint32_t)p->page[62] << 8 | p->page[63];
	return version > STORE_VERSION && version < 1000;
}

static int fill_new(struct salvage *v)
{
	struct store *s = v->s;
	int rc = remove_new();

	if (rc == 0) rc = pages_open(&the_pages, STORE_DB);
	if (rc < 0) return rc;
	if (is_newer(&the_pages)) rc = ERR_NEWER;
	if (rc == 0) rc = store_db_open(s, STORE_DB_NEW);
	if (rc == 0) {
		/* All of it was in max_bytes before. */
		sqlite3_exec(s->db, "PRAGMA max_page_count=1073741823", NULL, NULL, NULL);
		rc = pages_walk(&the_pages, row_found, v);
	}
	pages_close(&the_pages);
	if (rc >= 0) rc = put_in_order(v);
	if (rc >= 0)
		rc = store_err(
			s, sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
	store_db_close(s, rc >= 0);
	if (rc >= 0) rc = remove_file(STORE_DB_NEW, "-wal");
	return rc < 0 ? rc : hal_storage_sync_dir("");
}

int store_salvage(struct store *s)
{
	struct salvage v = {.s = s};
	char name[64];

	log_error("store", "database damaged -> salvage begins");
	store_space_quarantine(s);
	int rc = fill_new(&v);
	if (rc == ERR_NO_SPACE) {
		store_space_clear(s);
		store_space_quarantine(s);
		v = (struct salvage){.s = s};
		rc = fill_new(&v);
	}
	snprintf(name, sizeof name, STORE_CORRUPT "%u", s->quarantined + 1);
	if (rc == 0) rc = store_progress(s);
	if (rc == 0) rc = set_aside(s->quarantined + 1);
	if (rc == 0) rc = store_db_open(s, STORE_DB);
	s->trouble = STORE_TROUBLE_NONE;
	if (rc < 0) {
		log_error("store", "salvage failed -> tried again later", LOG_ERR(rc));
		return rc;
	}
	store_space_quarantine(s);
	s->salvaged_rows = v.rows;
	s->lost_rows = v.lost + the_pages.bad_cells;
	log_error("store", "database damaged -> set aside, rows saved", LOG_TEXT("as", name),
		  LOG_INT("saved", v.rows), LOG_INT("lost", s->lost_rows));
	return 0;
}
