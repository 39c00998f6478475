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

#define POOL_SLOTS         (LIMIT_providers + 8) /* providers, and replaced ones that still send */
#define POOL_TOLD          64                    /* jobs whose hold was published, per provider */
#define POOL_POLL_MS       15000 /* the longest time without looking whether something is due */
#define POOL_PAUSE_MS      1000  /* after the store refused a claim */
#define WORKER_SRC_BYTES   LIMIT_worker_src
#define WORKER_ARENA_BYTES LIMIT_job_header_bytes
#define WORKER_FINISHES    LIMIT_worker_finishes /* outcomes on their way to the store, per worker */
#define WORKER_STACK_BYTES LIMIT_worker_stack
#define WORKER_IDLE_MS     30000  /* then a worker too many ends */
#define STOP_GRACE_MS      1000   /* from breaking off to leaving behind */
#define STOP_QUIT_MS       1000   /* for the answers to all the QUITs of the stop */
#define CONN_IDLE_MS       15000  /* then a connection is closed */
#define CONN_OPEN_MS       120000 /* from dialing to where a mail may be sent */

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

	struct provider_status status; /* what is counted; the rest is filled in when asked for */
};

/* ---- connections ---- */

enum conn_state { CONN_FREE, CONN_IDLE, CONN_BUSY };

struct conn {
	enum conn_state state;
	bool open; /* between smtp_init and smtp_close: may be aborted */
	struct provider *provider;
	uint32_t link_generation;
	unsigned mails;
	int64_t idle_since_ms;
	struct smtp smtp;
};

/* ---- workers ---- */

enum finish_state { FINISH_FREE, FINISH_TAKEN, FINISH_SUBMITTED, FINISH_REFUSED };

/* The end of an attempt on its way to the store; everything it points to is in here. */
struct finish {
	struct store_finish op;
	enum finish_state state;
	struct worker *worker;
	struct provider *provider;
	int64_t again_at_ms; /* REFUSED: monotonic */
	struct store_rcpt_outcome rcpts[STORE_RCPT_MAX];
	char host[128];
	char text[512];
	char provider_message_id[128];
	char event[4096]; /* no larger than store_event.json */
	size_t texts_used;
	char texts[8192]; /* of rcpts */
};

enum worker_state { WORKER_NONE, WORKER_RUNNING, WORKER_ENDED };

struct worker {
	struct provider_pool *pool;
	enum worker_state state;
	struct hal_thread thread;
	struct hal_cond finished; /* one of its finishes has been answered */
	struct finish finishes[WORKER_FINISHES];
	bool dialing;      /* in smtp_open, of which the first part cannot be aborted */
	bool abandoned;    /* the stop went on without it */
	int64_t worked_ms; /* monotonic: its start, or its last job */

	/* the job in work */
	struct provider *provider;
	bool probe;
	struct store_claimed claimed;
	struct job job;
	struct arena arena;
	bool streamed;          /* the texts are read from the store through src */
	size_t src_at, src_len; /* what of the original src holds then */
	struct job_text_reader reader[MAIL_PARTS_MAX];
	struct mail_memory memory[MAIL_PARTS_MAX];
	struct mail_part parts[MAIL_PARTS_MAX];
	struct mail_input input;
	struct mail mail;
	char message_id[256];
	struct smtp_mail envelope;
	struct smtp_rcpt rcpts[STORE_RCPT_MAX];
	enum store_rcpt_state before[STORE_RCPT_MAX]; /* of recipients that were settled earlier */
	struct job_result_rcpt results[STORE_RCPT_MAX];
	char why[256];
	char host[NET_HOST_MAX + 64];
	struct smtp_reply sent_reply; /* the last one that accepted recipients */
	bool bad, reused;
	char src[WORKER_SRC_BYTES + JSON_PADDING];
	_Alignas(16) unsigned char arena_memory[WORKER_ARENA_BYTES];
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
	unsigned running, idle, busy;
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

/* conn.c; all but conn_send under the lock */
struct conn *conn_take(struct provider_pool *pool, struct provider *p);
void conn_give(struct provider_pool *pool, struct conn *c);
/* An idle connection that has to be closed: taken out, for conn_close. *until_ms is lowered to when the
 * next one has. */
struct conn *conn_expired(struct provider_pool *pool, int64_t now_ms, int64_t *until_ms);
/* Closes and frees; gives the lock away meanwhile. */
void conn_close(struct provider_pool *pool, struct conn *c);
void conn_abort_all(struct provider_pool *pool);
/* Without the lock: sends w's envelope over c, connecting as often as needed; every recipient gets its
 * verdict. */
void conn_send(struct worker *w, struct conn *c);

/* worker.c */
void worker_main(void *arg);

/* original.c */
/* w->claimed's original to w->job. Errors: those of job_decode and the store; w->why may say more. */
int original_open(struct worker *w);
/* Bytes of it, for job_text_reader. */
int original_fetch(void *arg, size_t at, char *bytes, size_t cap);

/* attempt.c */
/* All of an attempt between claim and commit: f is filled in; *release says that the claim is to be given
 * back instead. */
void attempt_run(struct worker *w, struct finish *f, bool *release);

/* ending.c */
/* Whether that recipient was settled by an earlier attempt. */
bool worker_is_done(const struct worker *w, size_t i);
/* What the verdicts in w->envelope come to. False: nothing happened, the claim is to be given back. */
bool ending_make(struct worker *w, struct finish *f);

#endif
