/* provider/pool: the inside of the room: what the pool, its workers and their connections are made of.
 *
 * One mutex (pool.lock) guards everything that more than one thread sees: providers, connections' owners,
 * counters, finishes' states. It is held for a look and a note only, never over a wait, the store, or the
 * network. A worker's own memory needs no lock.
 *
 * References: a provider that is replaced stays (PROVIDER_SLOT_LEAVING) until no worker, connection or
 * finish points to it.
 */
#ifndef POSTERN_PROVIDER_POOL_H
#define POSTERN_PROVIDER_POOL_H

#include "base/digest.h"
#include "base/json.h"
#include "hal_clock.h"
#include "hal_thread.h"
#include "mail/mail.h"
#include "provider/breaker.h"
#include "provider/outcome.h"
#include "provider/provider.h"
#include "provider/retry.h"
#include "settings/settings.h"
#include "store/store.h"

#define POOL_SLOTS            (LIMIT_providers + 8) /* providers, and replaced ones that still send */
#define POOL_TOLD             64                    /* jobs whose hold was published, per provider */
#define POOL_POLL_MS          15000 /* the longest time without looking whether something is due */
#define POOL_PAUSE_MS         1000  /* after the store refused a claim */
#define WORKER_SRC_BYTES      LIMIT_worker_src
#define COMPOSER_ARENA_BYTES  LIMIT_job_header_bytes
#define COMPOSER_WINDOW_BYTES 32768 /* as much as the store keeps in a piece */
#define BATCH_JOBS            LIMIT_worker_batch
#define BATCH_ARENA_BYTES     LIMIT_worker_batch_arena
#define WORKER_STACK_BYTES    LIMIT_worker_stack
#define WORKER_IDLE_MS        30000 /* then a worker too many ends */
#define STOP_QUIT_MS          1000  /* for the answers to all the QUITs of the stop */
#define QUIRKS_MS             (6 * 3600 * INT64_C(1000))
#define CONN_IDLE_MS          15000 /* then a connection is closed */
/* From dialing to where a mail may be sent: greeting and EHLO have five minutes each (RFC 5321 section 4.5.3.2). */
#define CONN_OPEN_MS (15 * 60 * INT64_C(1000))
/* The same while every worker is busy and there are other providers: those minutes are theirs too. */
#define CONN_OPEN_BUSY_MS 30000
/* A server that answers, but only just, would hold a connection for days: no mail is begun on one that is older
 * than this, */
#define CONN_AGE_MS (30 * 60 * INT64_C(1000))
/* and what is in flight has so much longer, whatever RFC 5321 allows for each of its commands. */
#define CONN_RUN_MS (60 * 60 * INT64_C(1000))

/* ---- providers ---- */

/* The settings of a provider, all of them copied: two are the same when their bytes are. */
struct spec {
	char name[PROVIDER_NAME_CAP];
	char tenant_id[128];
	char provider_id[128];
	char display_name[128];
	enum settings_provider_type type;
	char host[LIMIT_host + 1];
	char helo[LIMIT_host + 1];
	uint16_t port;
	enum smtp_tls tls;
	bool tls_verify;
	char tls_ca[LIMIT_path + 1];
	char tls_cert[LIMIT_path + 1];
	char tls_key[LIMIT_path + 1];
	unsigned char tls_files[DIGEST_SHA256_BYTES]; /* of what is in them, see spec_tls_files */
	enum smtp_auth auth;
	char username[256];
	char password[1025];
	char from[321];
	bool from_override;
	unsigned connections;
	unsigned messages_per_connection;
	struct settings_rate rate;
	char path[LIMIT_path + 1];
};

enum provider_slot { PROVIDER_SLOT_FREE, PROVIDER_SLOT_NEW, PROVIDER_SLOT_LIVE, PROVIDER_SLOT_LEAVING };

struct provider {
	enum provider_slot slot;
	unsigned refs;
	struct spec spec;
	bool has_from;
	struct job_address from; /* in from_memory */
	char from_memory[1024];

	struct breaker breaker;
	struct retry_rate rate;
	bool due;                /* work may be there */
	bool hot;                /* the last look found some: any worker may look; else one at a time */
	int64_t next_due_ms;     /* wall: then there will be; 0: none known */
	int64_t looked_ms;       /* monotonic: the last look while not hot */
	int64_t pause_until_ms;  /* monotonic */
	int64_t told[POOL_TOLD]; /* jobs whose hold was published since the breaker opened */
	unsigned told_count;
	bool show_down, show_up; /* the store is to be told (STORE_HOLD) */
	bool showing;            /* a worker is at it */

	/* One thread at a time gets TLS or the Maildir ready, and the next ones find it so. */
	struct hal_mutex ready_lock;
	bool tls_ready;
	struct net_tls_config tls;
	bool maildir_made;

	bool suspect;            /* what became of its last mail was a time-out */
	bool proven;             /* smtp_config.proven, */
	int64_t proven_until_ms; /* until then */
	unsigned quirks;         /* of its servers, as smtp found them */
	int64_t quirks_until_ms; /* monotonic: then they are forgotten, for a line that broke looks the same */
	struct provider_status status; /* what is counted; the rest is filled in when asked for */
};

/* ---- connections ---- */

enum conn_state { CONN_FREE, CONN_IDLE, CONN_BUSY };

#define CONN_LOG_BYTES 1000 /* of what was said before the first mail */

struct conn {
	enum conn_state state;
	bool open; /* between smtp_init and smtp_close: may be aborted */
	struct provider *provider;
	uint32_t link_generation;
	unsigned mails;
	int64_t idle_since_ms, opened_ms;
	bool reused; /* it has carried a mail of an earlier session */
	size_t log_len;
	char log[CONN_LOG_BYTES]; /* the transcript of its opening, until a mail's attempt has taken it */
	struct smtp smtp;
};

/* ---- jobs in a worker's hands ---- */

enum attempt_state {
	ATTEMPT_WAITING,   /* claimed; no recipient has got an outcome that the store does not have */
	ATTEMPT_FLYING,    /* given to the provider */
	ATTEMPT_SUBMITTED, /* its end is on its way to the store */
	ATTEMPT_REFUSED,   /* the store would not have it: handed in again at again_at_ms */
	ATTEMPT_DONE       /* stored, or the claim given back */
};

/* What the end of an attempt is written into. One block of the batch's arena, taken before the mail is begun, so
 * that an end never fails for memory. The store reads it until it has answered. */
struct attempt_memory {
	char host[128];
	char text[512];
	char provider_message_id[128];
	struct store_rcpt_outcome *outcomes;
	char *event;
	size_t event_cap;
	char *texts; /* of the outcomes */
	size_t texts_cap, texts_used;
	char *log; /* the transcript */
	size_t log_cap, log_len;
	bool log_cut;
};

/* One claimed job, from claim to finish. Its mail's content is made by a composer, which is only borrowed while
 * the content is written. */
struct attempt {
	struct store_finish op; /* first: found from it */
	struct worker *worker;
	struct batch *batch;
	struct provider *provider; /* with a reference while SUBMITTED or REFUSED */
	struct store_claimed *claimed;
	enum attempt_state state;
	int64_t again_at_ms; /* REFUSED: monotonic */
	struct composer *composer;
	bool spoiled;    /* its original was parsed in place: fetched anew when wanted again */
	bool bad;        /* what failed could not be composed */
	bool reused;     /* over a connection that was there */
	unsigned rounds; /* how often it was given to the provider */
	struct smtp_mail envelope;
	enum store_rcpt_state *before; /* of recipients that were settled earlier */
	struct smtp_reply sent_reply;  /* the last one that accepted recipients */
	struct attempt_memory *memory;
};

/* Jobs claimed together: they share the memory of their originals and of their ends. */
struct batch {
	struct worker *worker;
	/* under the pool's lock */
	bool claiming;   /* its claim is with the store */
	bool answered;   /* the claim's answer is here and not yet looked at */
	unsigned stored; /* attempts SUBMITTED or REFUSED */
	/* the worker's */
	uint32_t generation; /* of the pool's work when it was asked for */
	unsigned asked;      /* jobs */
	unsigned count;      /* attempts */
	bool begun;          /* one of them was taken */
	bool full;           /* its arena has no room for another until those that have some of it are done */
	struct store_claim claim;
	struct store_claimed claimed[BATCH_JOBS];
	struct attempt attempts[BATCH_JOBS];
	struct arena arena;
	_Alignas(16) unsigned char arena_memory[BATCH_ARENA_BYTES];
	char src[WORKER_SRC_BYTES + STORE_SRC_PAD];
};

/* What turns one job into a mail. Two a worker: while the content of one is written, the next one's size must be
 * known. */
struct composer {
	struct attempt *attempt; /* NULL: free */
	struct arena arena;
	struct job job;
	bool streamed;          /* the texts are read from the store, through the window */
	size_t src_at, src_len; /* what of the original the window holds then */
	struct job_text_reader reader[2];
	struct mail_memory text[2];
	struct mail_part parts[2];
	struct mail_input input;
	union {
		struct mail mail;
		struct mail_raw raw; /* job.raw.present */
	};
	char message_id[256];
	char why[256];
	_Alignas(16) unsigned char arena_memory[COMPOSER_ARENA_BYTES];
	char window[COMPOSER_WINDOW_BYTES];
};

/* ---- workers ---- */

enum worker_state { WORKER_NONE, WORKER_RUNNING, WORKER_ENDED };

struct worker {
	struct provider_pool *pool;
	enum worker_state state;
	struct hal_thread thread;
	struct hal_cond answered; /* a claim or an end of its has been answered */
	int64_t worked_ms;        /* monotonic: its start, or its last job */

	/* the session: one provider, one connection at a time, until nothing more is due */
	struct provider *provider;
	bool probe;
	bool begun; /* something was claimed */
	bool more;  /* the last claim found something: there may be more */
	/* Jobs to claim next: begins with 1 and doubles, so that little work is shared out among the workers. */
	unsigned want;
	struct conn *conn;
	struct job_result_rcpt results[STORE_RCPT_MAX]; /* scratch of an ending */
	struct batch batches[2];
	struct composer composers[2];
};

/* ---- the pool ---- */

struct alias {
	char name[65];
	char address[321];
};

struct provider_pool {
	struct store *store;
	struct hal_mutex lock;
	struct hal_cond wake;  /* work, a change, or the stop */
	struct hal_cond ended; /* a worker has ended */
	struct hal_mutex reload_lock;
	struct reload { /* under reload_lock: too large for a small stack */
		struct spec spec;
		unsigned char tls_files[PROVIDER_MAX][DIGEST_SHA256_BYTES];
		unsigned char system_files[DIGEST_SHA256_BYTES];
	} reload;

	struct retry_policy policy;
	size_t message_bytes_max;
	unsigned pipeline_depth;
	struct alias alias[LIMIT_aliases];
	size_t alias_count;
	struct provider providers[POOL_SLOTS];
	struct provider *live[PROVIDER_MAX]; /* in the order of the settings */
	size_t live_count;
	size_t turn;
	uint32_t work_generation; /* goes on with each hint that something became due */

	struct conn *conns; /* worker_cap of them */
	struct worker *workers;
	unsigned worker_cap, worker_min, worker_max;
	unsigned running, idle, busy,
		leaving; /* leaving: running ones that only wait for what they have handed in */
	uint64_t started, ended_count;
	bool stopping, aborting;
	int64_t quit_until_ms; /* when stopping: answers to QUIT are waited for until then, all together */

	/* One original at a time that is too large for a worker. */
	struct hal_mutex large_lock;
	char *large_src;
	size_t large_src_cap;
	unsigned char *large_arena;
	size_t large_arena_cap;
};

/* pool.c */
uint32_t pool_random(void);
void pool_unref(struct provider_pool *pool, struct provider *p);
/* Takes the next provider that may be used now, and counts the worker busy on it. NULL: none; *until_ms is
 * then lowered to when to look again. */
struct provider *pool_take(struct provider_pool *pool, struct worker *w, int64_t *until_ms);
/* Gives it back. */
void pool_give(struct provider_pool *pool, struct worker *w);
/* Whether w's session is at its end: what it has not begun is to be given back. */
bool pool_is_over(const struct provider_pool *pool, const struct worker *w);
/* Whether w may claim more for its provider: the session is not over, and nobody else's mail waits for a worker. */
bool pool_may_claim(struct provider_pool *pool, const struct worker *w);
/* One worker more when nobody is left to wait. */
void pool_grow(struct provider_pool *pool);

/* spec.c */
int spec_make(struct spec *out, const struct settings *settings, const struct settings_provider *from);
void spec_tls_settings(const struct spec *s, struct net_tls_settings *out);
/* The digest of the files that its TLS is made from: renewed ones make it another spec. Reads them. */
void spec_tls_files(const struct spec *s, unsigned char out[DIGEST_SHA256_BYTES]);
struct provider *spec_choose(struct provider_pool *pool, struct str tenant_id, struct str provider_id,
			     char *why, size_t why_cap);
const char *spec_alias(const struct provider_pool *pool, struct str name);

/* conn.c; under the lock but where it says otherwise */
struct conn *conn_take(struct provider_pool *pool, struct provider *p);
void conn_give(struct provider_pool *pool, struct conn *c);
/* An idle connection that has to be closed: taken out, for conn_close. *until_ms is lowered to when the
 * next one has. */
struct conn *conn_expired(struct provider_pool *pool, int64_t now_ms, int64_t *until_ms);
/* Closes and frees; gives the lock away meanwhile. */
void conn_close(struct provider_pool *pool, struct conn *c);
void conn_abort_all(struct provider_pool *pool);
/* Whether one more mail may be begun on it. */
bool conn_may_go_on(const struct conn *c);
/* Without the lock: makes w->conn ready for a mail, connecting when it is not. On failure *v says why. */
int conn_ready(struct worker *w, struct smtp_verdict *v);

/* worker.c */
void worker_main(void *arg);

/* batch.c; under the lock but where it says otherwise */
/* Asks for more jobs where there is a free batch and reason to hope for some. */
void batch_refill(struct worker *w);
/* The next attempt to be begun: NULL: none at present. */
struct attempt *batch_next(struct worker *w);
/* Whether an answer of the store may change that. */
bool batch_waits(const struct worker *w);
/* Gives back all that was not begun; gives the lock away. */
void batch_release(struct worker *w);
/* Hands in again what the store refused, when its time has come; gives the lock away. True when there was one;
 * *until_ms is lowered to when it has. */
bool batch_repeat(struct worker *w, int64_t now_ms, int64_t *until_ms);
/* At the worker's end: waits until everything on its way has arrived, or never will. */
void batch_drain(struct worker *w);
/* Without the lock: its arena has no room for another. True: it will have, when those that are under way are done;
 * until then batch_next gives none that needs any. */
bool batch_wants_room(struct batch *b);
/* Without the lock: a is given to the provider; or it comes back with nothing done, to be given again. */
void batch_fly(struct attempt *a);
void batch_again(struct attempt *a);
/* Without the lock: a's end goes to the store, or (release) its claim is given back. */
void batch_submit(struct attempt *a, bool release);

/* original.c */
/* The attempt's original to c->job. Errors: those of job_decode and the store; c->why may say more. */
int original_open(struct composer *c);
/* Bytes of it, for job_text_reader; arg is the composer. */
int original_fetch(void *arg, size_t at, char *bytes, size_t cap);

/* attempt.c; without the lock */
/* Makes a's mail ready in a free composer of its worker. 0; ATTEMPT_NOT_NOW: memory is in use by others of its
 * batch; an error: the mail cannot be made, and its verdicts say so. */
#define ATTEMPT_NOT_NOW 1
int attempt_prepare(struct attempt *a);
/* Its content is not wanted any more. */
void attempt_composed(struct attempt *a);
bool attempt_has_composer(const struct worker *w);
/* v for every recipient that has no outcome yet. */
void attempt_fail(struct attempt *a, const struct smtp_verdict *v);
/* Appends a line to its transcript. */
void attempt_note(struct attempt *a, struct str text);

/* ending.c */
/* Whether that recipient was settled by an earlier attempt. */
bool attempt_is_done(const struct attempt *a, size_t i);
/* What the verdicts in a->envelope come to, in a->op. False: nothing happened, the claim is to be given back. */
bool ending_make(struct attempt *a);

#endif
