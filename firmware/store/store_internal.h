/* store, inside: what its files share. Everything here runs on the store's thread, or before it was started.
 */
#ifndef POSTERN_STORE_INTERNAL_H
#define POSTERN_STORE_INTERNAL_H

#include <sqlite3.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "log/log.h"
#include "store/store.h"

#define STORE_DB      "postern.db"
#define STORE_DB_NEW  "postern.db.new"
#define STORE_CORRUPT "postern.db.corrupt-"
#define STORE_RESERVE "reserve"

#define STORE_VERSION     2 /* PRAGMA user_version of the schema this program writes */
#define STORE_PAGE        4096
#define STORE_HEAP_BYTES  LIMIT_store_heap
#define STORE_STACK_BYTES (128 * 1024)
#define STORE_GROUP_OPS   STORE_GROUP_OPS_MAX
#define STORE_GROUP_BYTES LIMIT_store_group_bytes
#define STORE_GATHER_MS   10 /* so long ends wait for others, unless there are so many or somebody waits */
#define STORE_GATHER_OPS  16
#define STORE_CLAIMS      LIMIT_store_claims
#define STORE_HOLDS       LIMIT_store_holds
#define STORE_WAL_PAGES   256 /* checkpoint when the WAL has so many */
#define STORE_WAL_BYTES                                                                                      \
	LIMIT_store_wal_bytes /* what the WAL can grow to: those, a full group, a job of 1 MB */
/* An original is kept in rows of so many bytes. The first may be shorter: then it fills up the page on which the
 * original before it ends. */
#define STORE_SRC_CHUNK 32768

/* Rows of a job in other tables have the job's id in the upper bits of their rowid: they lie together, in the
 * order of jobs, without an index of their own. */
#define STORE_SRC_KEY(id, n)     ((int64_t)(id) << 12 | (int64_t)(n))
#define STORE_RCPT_KEY(id, n)    ((int64_t)(id) << 8 | (int64_t)(n))
#define STORE_ATTEMPT_KEY(id, n) ((int64_t)(id) << 10 | (int64_t)(n))
#define STORE_SRC_KEYS           4096
#define STORE_ATTEMPT_KEYS       1024

/* job.clock: which times are the sender's own and do not move when the clock is set. */
#define STORE_DUE_FIXED     1
#define STORE_EXPIRES_FIXED 2

/* Every statement, once; the texts are in store_sql.c. */
enum store_sql {
#define SQL(name, text) SQL_##name,
#include "store_sql.def"
#undef SQL
	SQL_COUNT
};

/* What went wrong in SQLite, by what must be done about it. */
enum store_trouble {
	STORE_TROUBLE_NONE,
	STORE_TROUBLE_FULL,   /* of the file system or of max_page_count */
	STORE_TROUBLE_IO,     /* reopen, verify */
	STORE_TROUBLE_CORRUPT /* salvage */
};

/* Of a job's row: what its end depends on, and only its end changes while it is claimed. */
struct store_try {
	enum job_state state;
	int64_t rcpt_count, first_failure_ms, try_n, try_started_ms, settled;
};

struct store_claim_slot {
	int64_t id;     /* 0: free */
	bool known;     /* row is as it stands in the database */
	bool fresh;     /* made in the group that is running: undone with it */
	bool ending;    /* a finish in the group that is running: freed when it is committed */
	bool unsure;    /* a finish of it failed in a way that may have reached flash nevertheless */
	int64_t due_ms; /* of the job once this is freed */
	struct store_try row;
};

/* Where a provider's next claim begins: no job is due before, of this priority, that is not claimed already. */
struct store_floor {
	char provider[64];
	int64_t due_ms[JOB_PRIORITY_COUNT];
};

struct store_hold_slot {
	char provider[64];
	char text[192];
};

/* What is known without asking the database; restored when a group is rolled back. */
struct store_tally {
	int64_t count[JOB_STATE_COUNT]; /* PROCESSING is not counted here: it is the claims */
	int64_t last_id, last_seq, first_seq;
	int64_t next_expiry_ms; /* no pending job expires before */
	int64_t last_success_ms;
	int64_t oldest_id, oldest_ms; /* oldest_id 0: not known, -1: none */
	int64_t used_bytes;           /* pages in use, with an estimate of what this group adds */
	int64_t src_room;             /* bytes free on the last page of src; -1: not known */
};

struct store {
	/* shared with the callers, under lock */
	struct hal_mutex lock;
	struct hal_cond more, answered;
	struct store_op *head, *tail;
	bool stopping, reconfigured;
	struct store_config config_next;

	/* the thread's own */
	struct hal_thread thread;
	struct store_config config;
	sqlite3 *db;
	sqlite3_stmt *statements[SQL_COUNT];
	enum store_trouble trouble;
	bool in_tx;
	bool missed;    /* store_missing() has led to a salvage */
	int wal_frames; /* in the WAL after the last commit */
	bool full;      /* the last submission was refused for space */
	bool read_only;
	bool reserve_there;
	bool stuck; /* the last end of an attempt could not be written for lack of space */
	bool over;  /* max_page_count was lifted to let a finish through */
	bool wake;  /* jobs became due: set by store_job_due */
	int broken; /* why db is NULL */
	int64_t retry_at_ms, retry_delay_ms; /* monotonic */
	struct store_tally tally, before;
	struct store_claim_slot claims[STORE_CLAIMS];
	size_t claims_used;
	struct store_hold_slot holds[STORE_HOLDS];
	struct store_floor floors[STORE_HOLDS];
	size_t floor_turn; /* which is given up for another provider */
	void (*work_fn)(void *arg);
	void *work_arg;

	/* numbers */
	int64_t answered_id, answered_seq; /* the last that were promised: looked for after a reopen */
	int64_t groups, grouped_ops;
	unsigned quarantined;
	int64_t salvaged_rows, lost_rows;
	int64_t quarantine_bytes;

	/* where the slow walks of housekeeping stand */
	int64_t ended_at[JOB_STATE_COUNT];
	char ident_tenant[128], ident_message[256];
	int64_t ident_again_ms, expiry_again_ms; /* monotonic */
	int64_t seen_mono_ms, seen_ms;
	int64_t opened_ms; /* monotonic */

	/* work space, so that nothing large is on the stack */
	char event[4096];
	char text[4096];
	struct store_job job;
	unsigned char page[STORE_PAGE];
};

/* ---- store.c ---- */
struct store_claim_slot *store_claim_find(struct store *s, int64_t id);
/* A job that is not claimed is due from then on: claims see it, and who waits for work hears of it. The only place
 * that lowers floors or sets wake. */
#define STORE_DUE_ANY   0
#define STORE_DUE_NEVER INT64_MAX /* of a claim: the job has ended */
void store_job_due(struct store *s, int64_t due_ms);
/* Moves the last slot into its place. The job is anybody's again, from the slot's due_ms on. */
void store_claim_free(struct store *s, struct store_claim_slot *c);
/* The store gets on. An error: what takes long breaks off. */
int store_progress(struct store *s);
/* Puts an operation that is not done yet behind all others. */
#define STORE_AGAIN 1

struct store_group {
	struct store_op *ops[STORE_GROUP_OPS]; /* NULL: answered */
	size_t count;
};

/* ---- store_queue.c: what waits; under the lock ---- */
void store_queue_append(struct store *s, struct store_op *op);
/* Gives the lock away: ends that come one by one, from servers far away, share a commit. */
void store_queue_gather(struct store *s);
void store_queue_take(struct store *s, struct store_group *g);

/* ---- store_sql.c: SQLite in the words of this room ---- */

/* For parameters of format i: a plain int would be read as eight bytes. */
#define I64(x) ((int64_t)(x))

/* SQLite's code to ours; notes the trouble. 0 for success. */
int store_err(struct store *s, int sqlite_rc);
/* The statement, ready, with its parameters bound by format: i int64_t, s struct str, z char * (NULL: null),
 * b pointer and size_t as blob, n null. Errors: of store_err. */
int store_query(struct store *s, enum store_sql which, sqlite3_stmt **out, const char *format, ...);
/* 1 a row, 0 the end (the statement is reset), or an error (likewise). */
int store_step(struct store *s, sqlite3_stmt *st);
/* store_query and its first step. */
int store_row(struct store *s, enum store_sql which, sqlite3_stmt **out, const char *format, ...);
/* Runs it to its end; the number of rows changed. Begins the transaction if there is none. */
int store_write(struct store *s, enum store_sql which, const char *format, ...);
/* One number out of one row; 0 when there is none or it is null. */
int store_number(struct store *s, enum store_sql which, int64_t *out, const char *format, ...);
void store_end(sqlite3_stmt *st);
void store_column(sqlite3_stmt *st, int column, char *out, size_t cap);
struct str store_column_str(sqlite3_stmt *st, int column);
int store_begin(struct store *s);
int store_commit(struct store *s);
void store_rollback(struct store *s);
int store_exec(struct store *s, const char *sql);
void store_finalize_all(struct store *s);

/* ---- store_schema.c ---- */

/* Opens the database named, sets it up, creates or migrates. s->db is NULL after an error.
 * Errors: ERR_NEWER, ERR_CORRUPT, ERR_BUSY, ERR_NO_SPACE, ERR_READ_ONLY, ERR_IO, ERR_NO_MEMORY. */
int store_db_open(struct store *s, const char *name);
/* Whether the file system takes a file now. */
bool store_is_writable(void);
/* gently: with a checkpoint. Otherwise the files stay as they are. */
void store_db_close(struct store *s, bool gently);
/* Counts what is kept in memory. */
int store_count(struct store *s);
int store_meta_set(struct store *s, const char *name, int64_t value);

/* ---- the operations: rc of the answer, or STORE_AGAIN ---- */
int store_op_accept(struct store *s, struct store_accept *a);
int store_op_claim(struct store *s, struct store_claim *c);
int store_op_finish(struct store *s, struct store_finish *f);
int store_op_release(struct store *s, struct store_release *r);
int store_op_src_read(struct store *s, struct store_src_read *r);
int store_op_job_get(struct store *s, struct store_job_get *g);
int store_op_job_list(struct store *s, struct store_job_list *l);
int store_op_attempt_list(struct store *s, struct store_attempt_list *l);
int store_op_rcpt_list(struct store *s, struct store_rcpt_list *l);
int store_op_event_list(struct store *s, struct store_event_list *l);
int store_op_requeue(struct store *s, struct store_requeue *r);
int store_op_cancel(struct store *s, struct store_cancel *c);
int store_op_status(struct store *s, struct store_status *st);
int store_op_hold(struct store *s, struct store_hold *h);
int store_op_tick(struct store *s, struct store_tick *t);
int store_op_clock_stepped(struct store *s, struct store_clock_stepped *c);
int store_op_purge(struct store *s, struct store_purge *p);

/* ---- between them ---- */

/* Any recipient of the job: is it this address, or (part) has it this text in it. 1: yes. */
int store_rcpt_matches(struct store *s, int64_t id, struct str wanted, bool part);
/* Rows that belong together are not: damage that SQLite cannot see. Answers ERR_CORRUPT. */
int store_missing(struct store *s);
/* The job's row into *j, as people see it. 1, 0 when there is none. */
int store_job_read(struct store *s, int64_t id, struct store_job *j);
int store_job_requeue(struct store *s, int64_t id);
/* A pending job ends without being sent; event empty: made here. */
int store_job_give_up(struct store *s, int64_t id, enum job_reason reason, const char *why, struct str event);
/* Its rows are removed; its identity stays. */
int store_job_remove(struct store *s, int64_t id, enum job_state state);
/* Adds an event, at most what fits; answers its seq. */
int store_event_add(struct store *s, int64_t job_id, int64_t now_ms, struct str json, int64_t *seq);
/* The result of a job that has ended, once more. */
int store_event_again(struct store *s, int64_t job_id, struct str message_id, enum job_state state);
int store_src_put(struct store *s, int64_t id, struct str src);
/* Bytes of an original from an offset; *len 0 at its end. */
int store_src_get(struct store *s, int64_t id, size_t at, char *bytes, size_t cap, size_t *len);
/* The sum of an original, also in pieces of a multiple of 8 bytes; and as version 1 made it. */
#define STORE_SUM_START 14695981039346656037u
uint64_t store_sum(uint64_t sum, const void *bytes, size_t len);
uint64_t store_sum_old(uint64_t sum, const void *bytes, size_t len);
int store_continue_clock_step(struct store *s);

/* ---- store_space.c ---- */
void store_space_measure(struct store *s);
int64_t store_space_pages(struct store *s);
/* Room for a submission of so many bytes? Errors: ERR_FULL, ERR_NO_SPACE. */
int store_space_admit(struct store *s, int64_t bytes);
/* Room for what is good to know, but not needed? */
bool store_space_is_ample(const struct store *s);
/* Is there room to write down how an attempt ends? Without it nothing may be sent: it would be sent again and
 * again. */
bool store_space_can_finish(const struct store *s);
/* After SQLITE_FULL: makes room in every way there is; true when it is worth another try. */
bool store_space_yield(struct store *s);
/* batch 0: only looks after the reserve. */
int store_space_tick(struct store *s, unsigned batch);
void store_space_limit(struct store *s);
void store_space_quarantine(struct store *s);
/* Room for a salvage: the reserve, and all databases set aside before. */
void store_space_clear(struct store *s);

/* ---- store_salvage.c ---- */

/* Finishes what a salvage that was cut off left behind. */
int store_salvage_resume(struct store *s);
/* The database was found damaged and is closed: a fresh one with all that can be read takes its place. */
int store_salvage(struct store *s);

#endif
