/* store: the truth. Every job, recipient, attempt, result event and identity, in SQLite on flash; SQLite only
 * here.
 *
 * One thread, the store's own, owns the one connection. Everybody else hands it operations (struct store_op,
 * memory of the caller) and either waits (store_do) or is called back (store_submit). The thread takes all
 * operations that are waiting, runs them in one transaction, commits once (one sync with durability full),
 * and only then answers: many submissions and finishes share one sync. Reads are answered as soon as they
 * ran. Ends of attempts that are to be called back wait for others for at most 10 ms, as long as nothing else is
 * asked for. An operation that fails alone fails alone: the group is rolled back and its members run again one by
 * one.
 *
 * States on flash are pending, completed, failed. `processing` is a claim, held in memory with the worker
 * that has it: after a crash there is none, so the job is pending again without any write. Lists and counts
 * show claims.
 *
 * Space: [store] max_bytes bounds database, WAL and files. A submission that would come closer than
 * reserve_bytes to it is refused with ERR_FULL; finishing a job never fails for space: it may use the
 * reserve, and when the file system itself is full the reserve file is given up to make room (and made again
 * when there is room).
 *
 * Completed jobs are kept for people to look at: when space is short the oldest of them go before
 * keep_completed is over (logged); failed ones and identities stay. Databases that were set aside count in
 * max_bytes, together for at most a quarter of it; when space is short all but the newest of them go.
 *
 * A database that is damaged is set aside (postern.db.corrupt-N), what can be read of it is copied row by row
 * into a fresh one, and the store goes on and says so (log, store_status). A newer schema is not damage:
 * ERR_NEWER.
 *
 * Times: *_ms of rows are wall time as hal_clock gives it; when that is set, due times and what was written
 * while it was wrong move with it (store_clock_stepped).
 *
 * Files below the storage root: postern.db(-wal), reserve, drop/, drop/refused/.
 */
#ifndef POSTERN_STORE_STORE_H
#define POSTERN_STORE_STORE_H

#include "base/json.h"
#include "base/limits.h"
#include "hal_thread.h"
#include "job/job.h"

struct store;

struct store_config {
	bool durability_full; /* false: sync at checkpoints only ([store] durability = normal) */
	int64_t max_bytes;
	int64_t reserve_bytes;
	int64_t keep_completed_ms, keep_failed_ms, keep_ids_ms, keep_results_ms;
	int64_t heap_bytes; /* SQLite's hard heap limit; 0: 1.5 MB */
	/* Called again and again while the store gets on, also in the midst of long work: on the caller's thread
	 * within store_open, later on the store's. Never waits, never calls the store. An error (ERR_STOPPING)
	 * breaks off a salvage or the moving of times: both go on or begin anew the next time. NULL: nobody looks. */
	int (*progress)(void *arg);
	void *progress_arg;
};

/* Opens or creates, migrates, salvages when needed, starts the thread. hal_storage_open was called.
 * The one store of the process; *out is valid until store_close.
 * Errors: ERR_NEWER, ERR_BUSY, ERR_NO_SPACE, ERR_READ_ONLY, ERR_IO, ERR_NO_MEMORY, what progress answered. */
int store_open(const struct store_config *config, struct store **out);

/* Ends the thread after all operations handed in were answered (new ones get ERR_STOPPING), checkpoints,
 * closes. */
void store_close(struct store *s);

/* New values from a reload; takes effect with the next group. */
void store_reconfigure(struct store *s, const struct store_config *config);

/* ---- operations ---- */

enum store_verb {
	STORE_ACCEPT,
	STORE_CLAIM,
	STORE_FINISH,
	STORE_RELEASE,
	STORE_SRC_READ,
	STORE_JOB_GET,
	STORE_JOB_LIST,
	STORE_ATTEMPT_LIST,
	STORE_RCPT_LIST,
	STORE_EVENT_LIST,
	STORE_REQUEUE,
	STORE_CANCEL,
	STORE_STATUS,
	STORE_HOLD,
	STORE_TICK,
	STORE_CLOCK_STEPPED,
	STORE_PURGE
};

/* First member of every operation below. Filled in by the store_*_init of that operation. */
struct store_op {
	enum store_verb verb;
	int rc; /* the answer, valid when done */
	void (*done)(
		struct store_op *op); /* on the store's thread: short, never waits, never calls the store */
	void *arg;                    /* the caller's */
	struct store_op *next;        /* the store's */
	bool joined;                  /* the store's: handed in together with the one before it */
	bool finished;                /* the store's, for store_do */
};

/* Hands it in; op and all it points to stay untouched until done was called. Never waits. Once store_close
 * has begun, done is called at once, on the caller's thread, with ERR_STOPPING. */
void store_submit(struct store *s, struct store_op *op);

/* Hands in all of them, in this order, with one wake-up. They stand in one group as long as they fit into one
 * (STORE_GROUP_OPS_MAX of them, 256 KB of originals); otherwise as store_submit for each. */
void store_submit_all(struct store *s, struct store_op *const ops[], size_t count);
#define STORE_GROUP_OPS_MAX LIMIT_store_group_ops

/* Hands it in and waits for the answer. Returns op->rc. */
int store_do(struct store *s, struct store_op *op);

/* A job in. A known identity (tenant, message_id):
 *   same digest:   known = true, id/state as they are; a failed job (also cancelled, expired) is queued again
 *   other digest:  ERR_CONFLICT, nothing changes
 * Several jobs of one submission succeed or fail together: chain them with `with`.
 * Errors: ERR_CONFLICT, ERR_FULL, ERR_NO_SPACE, ERR_IO, ERR_READ_ONLY, ERR_STOPPING. */
struct store_accept {
	struct store_op op;
	const struct job *job;
	struct str src;        /* the job as it came */
	struct str message_id; /* the job's, or the fresh one made for it */
	struct str provider;   /* the provider chosen: its name, never empty */
	int64_t expire_ms;     /* how long it may wait, from now; used when the job has no expires_at */
	struct store_accept *with;
	/* answers */
	int64_t id;
	bool known;
	enum job_state state;
	int failed_index; /* with a chain: which one was refused (0: this) */
};
void store_accept_init(struct store_accept *a);

/* One job to work on. */
struct store_claimed {
	int64_t id;
	unsigned retry_count; /* retries made so far */
	int64_t created_ms, expires_ms, first_failure_ms;
	enum job_priority priority;
	char message_id[256];
	size_t src_len;  /* of the whole original */
	size_t src_have; /* of src in use: all of it, or 0 when it does not fit: read it with STORE_SRC_READ */
	char *src; /* in the claim's src, with STORE_SRC_PAD zero bytes behind it; NULL when it does not fit */
	uint64_t rcpt_done[4]; /* bit n: recipient n (order of job.rcpts) is settled already, do not send to
				  it */
};
#define STORE_RCPT_MAX 256
#define STORE_SRC_PAD  JSON_PADDING

/* Claims 1 to cap jobs of one provider that are due, high priority first, then oldest due time. Their originals
 * are put into src, one behind the other. The first that does not fit any more ends the claim and is left for
 * the next one; when it is the very first it is claimed alone, without its original. 0 jobs is no error: then
 * next_due_ms says when the next one will be due (wall ms; 0: none known). A claim ends with STORE_FINISH or
 * STORE_RELEASE. In its group it comes before all else, and is answered without waiting for the commit.
 * Errors: ERR_NO_SPACE (there is no room to write down how it would end). */
struct store_claim {
	struct store_op op;
	struct str provider;
	struct store_claimed *jobs;
	size_t cap;
	char *src; /* the caller's */
	size_t src_cap;
	/* answers */
	size_t count;
	size_t src_used; /* of src, with the padding */
	int64_t next_due_ms;
};
void store_claim_init(struct store_claim *c);

/* What became of one recipient in an attempt. */
enum store_rcpt_state { STORE_RCPT_WAITING, STORE_RCPT_SENT, STORE_RCPT_FAILED };
struct store_rcpt_outcome {
	enum store_rcpt_state state;
	int code;         /* SMTP reply code, 0 when there was none */
	const char *text; /* reply text or reason; NULL: none */
};

/* The end of an attempt: one transaction writes the job's new state, its recipients, the attempt row and the
 * event row. Never fails for space. Errors: ERR_NOT_FOUND (no claim on it), ERR_IO, ERR_STOPPING. After an
 * error the claim stays with the caller: hand the same operation in again with the same started_ms, by which
 * a commit that was on flash after all is known; nothing is written twice. An event that does not fit its
 * field is made anew here, without recipients. */
struct store_finish {
	struct store_op op;
	int64_t id;
	enum job_state state; /* PENDING (retry, hold, uncertain), COMPLETED, FAILED */
	enum job_reason reason;
	bool counted;         /* an attempt that counts: retry_count follows, an attempt row is written */
	bool publish;         /* write an event row with `event` */
	unsigned retry_count; /* new value */
	int64_t due_ms;       /* wall; for PENDING */
	const struct store_rcpt_outcome *rcpts; /* one per recipient of the job, NULL: none changed */
	size_t rcpt_count;
	const char *host; /* "mx.example.com [192.0.2.1]:25", may be NULL */
	int code;
	const char *text;                /* reply or reason, shown; NULL: none */
	const char *provider_message_id; /* NULL: none */
	struct str event;                /* JSON of the result, see CONTRACT 5 */
	struct str log;                  /* the transcript: UTF-8 in lines, of which STORE_LOG_MAX bytes are
					    kept, whole lines; none while space is short */
	int64_t started_ms, ended_ms;    /* wall */
};
void store_finish_init(struct store_finish *f);
#define STORE_LOG_MAX 2000

/* Gives a claim back untouched (shutdown, provider went away before the mail was begun). Never fails. */
struct store_release {
	struct store_op op;
	int64_t id;
};
void store_release_init(struct store_release *r);

/* Bytes of a stored original. Answers: len (0 at the end). Errors: ERR_NOT_FOUND. */
struct store_src_read {
	struct store_op op;
	int64_t id;
	size_t at;
	char *bytes;
	size_t cap;
	size_t len;
};
void store_src_read_init(struct store_src_read *r);

/* A job as people see it. Strings are cut to their fields ("…" is not added). */
struct store_job {
	int64_t id;
	enum job_state state; /* PROCESSING when claimed */
	enum job_reason reason;
	enum job_priority priority;
	unsigned retry_count;
	unsigned rcpt_count;
	int64_t created_ms, updated_ms, due_ms, expires_ms;
	size_t src_len;
	char message_id[256];
	char tenant_id[128];
	char provider[64];
	char subject[256];
	char to[256];    /* the first recipients, ", " between */
	char error[512]; /* last one, empty when none */
	char provider_message_id[128];
	char user_id[128], template_id[128], campaign_id[128], email_type[128], source_app[128],
		related_model_id[128];
};

struct store_job_get {
	struct store_op op;
	int64_t id; /* or, when 0: */
	struct str tenant_id, message_id;
	struct store_job job;
};
void store_job_get_init(struct store_job_get *g);

/* Newest first; cursor: give the last id of the page before, 0 for the first page. Empty filters match all.
 */
struct store_job_list {
	struct store_op op;
	bool by_state;
	enum job_state state;
	struct str tenant_id;
	struct str to; /* exact recipient address */
	struct str q;  /* text in subject, recipient or message id, ASCII case aside */
	struct str provider, user_id, template_id, campaign_id, email_type, source_app,
		related_model_id; /* exact */
	int64_t cursor;
	struct store_job *jobs;
	size_t cap;
	/* answers */
	size_t count;
	bool more;
	int64_t at; /* the store's: a long search goes on in pieces, so that others get their turn */
};
void store_job_list_init(struct store_job_list *l);

/* Those that counted. The last hold, when it left a transcript and none that counted came after it, is the last
 * of the list, with counted false and the number that the next one will have. */
struct store_attempt {
	unsigned n; /* 1, 2, … */
	int64_t started_ms, ended_ms, next_ms;
	bool counted;
	int code;
	char host[128];
	char text[512];
	char log[STORE_LOG_MAX + 1];
};
struct store_attempt_list {
	struct store_op op;
	int64_t id;
	unsigned after; /* attempts with n > after */
	struct store_attempt *attempts;
	size_t cap, count;
};
void store_attempt_list_init(struct store_attempt_list *l);

struct store_rcpt {
	unsigned n;
	enum job_rcpt_kind kind;
	enum store_rcpt_state state;
	int code;
	char address[256];
	char text[256];
};
struct store_rcpt_list {
	struct store_op op;
	int64_t id;
	unsigned from; /* first n wanted */
	struct store_rcpt *rcpts;
	size_t cap, count;
};
void store_rcpt_list_init(struct store_rcpt_list *l);

/* Result events in order, for clients without a broker and (later) the publisher. */
struct store_event {
	int64_t seq;
	int64_t job_id;
	int64_t at_ms;
	size_t len; /* of json in use; an event never exceeds its field */
	char json[4096];
};
struct store_event_list {
	struct store_op op;
	int64_t after;
	struct store_event *events;
	size_t cap, count;
};
void store_event_list_init(struct store_event_list *l);

/* Back to pending with retry_count 0: one failed job, or (id 0) at most `batch` failed ones a call: call
 * until count is 0. Errors: ERR_NOT_FOUND, ERR_STATE (only failed ones; a pending one that waits is made due
 * at once). */
struct store_requeue {
	struct store_op op;
	int64_t id;
	unsigned batch;
	unsigned count;
	int64_t at, at_next; /* the store's: with id 0 each failed job is taken once, however soon it fails
				again */
};
void store_requeue_init(struct store_requeue *r);

/* Pending -> failed (cancelled), with its event. Errors: ERR_NOT_FOUND, ERR_STATE (processing: ERR_BUSY). */
struct store_cancel {
	struct store_op op;
	int64_t id;
	struct str event;
};
void store_cancel_init(struct store_cancel *c);

/* Numbers for people and health. Cheap: kept in memory, counted once at open. */
struct store_status {
	struct store_op op;
	int64_t count[JOB_STATE_COUNT];
	int64_t oldest_waiting_ms; /* created_ms of the oldest pending job, 0: none */
	int64_t last_success_ms;
	int64_t events_waiting, first_event_seq, last_event_seq;
	int64_t used_bytes, max_bytes, free_bytes;
	bool full, reserve_used, read_only;
	int broken; /* why the database is closed: nothing can be stored until it opens again; 0: it is open */
	unsigned quarantined;                              /* databases set aside so far, ever */
	int64_t salvaged_rows, lost_rows;                  /* of the last time */
	int64_t groups, grouped_ops, syncs, written_bytes; /* since start */
};
void store_status_init(struct store_status *st);

/* Every job of a provider that waits because of it becomes due now (the provider is back), or gets this
 * reason shown (the provider is down): changes at most `batch` rows a call. Answers: count. */
struct store_hold {
	struct store_op op;
	struct str provider;
	bool down;
	const char *text;
	unsigned batch;
	unsigned count;
};
void store_hold_init(struct store_hold *h);

/* Housekeeping, in small steps: expires jobs (each failed with its event), retention, incremental vacuum,
 * checkpoint, the reserve file. Called by the main thread about once a second; does at most `batch` rows. */
struct store_tick {
	struct store_op op;
	unsigned batch;
	int64_t now_ms; /* wall, as the caller last saw it; it has handed in every step before. 0: as it is now */
	bool clock_set;            /* with now_ms */
	unsigned expired, removed; /* answers */
};
void store_tick_init(struct store_tick *t);

/* The wall clock was set: due times move by delta_ms. What ended since the clock was last known, its result and
 * its identity are as old as they are: their times move too when the clock was set ahead. After an error hand in
 * the same operation again: it goes on where it stands. */
struct store_clock_stepped {
	struct store_op op;
	int64_t delta_ms;
	int64_t now_ms; /* wall when that was seen; 0: as it is now */
	int64_t serial; /* the store's */
};
void store_clock_stepped_init(struct store_clock_stepped *c);

/* Removes jobs for good, at most `batch` a call: call with the same operation until count is 0. Either those
 * of one final state (COMPLETED, FAILED) that ended before older_than_ms (wall), identities staying for
 * keep_ids; or, with a recipient, every job that has this address, whatever its state, with its events and
 * identity: the erasure of a person's data. A claimed job is left (answer busy): ask again later. Errors:
 * ERR_INVALID. */
struct store_purge {
	struct store_op op;
	enum job_state state;
	int64_t older_than_ms;
	struct str recipient;
	unsigned batch;
	unsigned count, busy; /* answers */
	int64_t at, at_next;  /* the store's */
};
void store_purge_init(struct store_purge *p);

/* ---- hints ---- */

/* Called on the store's thread after each commit that made jobs due: wakes the workers. One listener; set
 * before use. */
void store_on_work(struct store *s, void (*fn)(void *arg), void *arg);

/* ---- the drop directory ---- */

/* Writes a job, synced, into drop/ for a gateway that is not running (no store is open: only hal_storage).
 * name gets the file's name, which is never given twice. Errors: of hal_storage. */
int store_drop_put(struct str src, char *name, size_t name_cap);

/* Takes in what lies in drop/: fn judges one file's text (decodes, chooses the provider, store_do's it): 0 =
 * stored (the file is removed, synced), ERR of class GIVE_UP = refused (moved to drop/refused/, with reason
 * beside it as NAME.reason), anything else = stays for the next time. name is the file's, without ".json": when
 * the power went between storing and removing, the same text comes again under the same name, which therefore
 * is the identity of a job that has none of its own. A file that was put there by hand gets such a name first.
 * buffer is for one file; larger ones are refused. Returns 0 when all was read, else the error of the
 * directory; *count says what became of the files. */
struct store_drop_count {
	unsigned taken, refused, left;
	int left_rc; /* of the first that stays: why */
	char left_name[64], left_reason[256];
};
int store_drop_take(char *buffer, size_t cap,
		    int (*fn)(void *arg, struct str name, char *text, size_t len, char *reason,
			      size_t reason_cap),
		    void *arg, struct store_drop_count *count);

#endif
