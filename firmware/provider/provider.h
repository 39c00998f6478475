/* provider: the way out. Takes due jobs from the store, sends each through its provider, writes what
 * became of it.
 *
 * One pool a process. The app starts it behind the store and stops it before the store; the API and the
 * health room ask it from their threads; the workers are threads of this room. A worker takes the next
 * provider in turn that has due work and may be used now (breaker, connections, rate), and serves it until
 * nothing more is due or somebody else's mail waits for a worker: it claims jobs a few at a time, composes them as
 * streams, keeps up to [worker] pipeline_depth of them in flight over its connection, and hands each outcome to the
 * store without waiting for the commit. No heap: all memory of the workers is given at start; the providers are
 * static.
 *
 * Never: sends a recipient again that was accepted; sends a job through another provider than the one it
 * was accepted for; counts a try for what is not the message's fault while [retry] hold covers it; talks
 * to the publisher (it reads the store's events).
 *
 * What a reply or an error means for a job is decided by pure functions (retry.h, outcome.h, breaker.h);
 * what a job may demand of a provider is judged here at submission (provider_judge), so that the workers
 * find no surprises.
 */
#ifndef POSTERN_PROVIDER_PROVIDER_H
#define POSTERN_PROVIDER_PROVIDER_H

#include "base/limits.h"
#include "job/job.h"

struct provider_pool;
struct settings;
struct store;

#define PROVIDER_MAX      LIMIT_providers
#define PROVIDER_NAME_CAP (LIMIT_name + 1) /* with the NUL; as store_job.provider */

/* ---- life ---- */

/* Bytes that provider_start needs: [worker] max workers, and one original of [limits] job_bytes with all that
 * it can decode to. Zeroed pages that are given untouched (bss, mmap) mostly stay so. */
size_t provider_memory_bytes(const struct settings *settings);

/* Takes over the settings' providers (all is copied), registers with store_on_work, starts [worker] min
 * workers.
 * memory: provider_memory_bytes of it, untouched by others until provider_stop returned. The one pool of
 * the process.
 * Errors: ERR_NO_MEMORY (a thread; memory too small), ERR_TOO_LARGE (more than PROVIDER_MAX, a name or a
 * text too long), ERR_CONFIG (a provider of a type that this version cannot serve). */
int provider_start(struct store *store, const struct settings *settings, void *memory, size_t memory_bytes,
		   struct provider_pool **out);

/* Ends the workers: no new claims; what is being sent may end until the deadline (monotonic ms), then its
 * connection is aborted and its job is given back as after a cut. Returns when no thread runs and every
 * claim has ended; about a second after the deadline at the latest, as the store answers. The pool is gone
 * then. */
void provider_stop(struct provider_pool *pool, int64_t deadline_ms);

/* Swaps providers and values while the workers run. A provider whose settings did not change keeps its
 * connections, breaker and counters; a changed or removed one ends what it is sending, with the settings
 * it began with. The number of workers cannot exceed what the memory given at start was made for.
 * Errors: as provider_start, and ERR_BUSY (too many replaced providers still send: try again later); the
 * old ones stay. */
int provider_reload(struct provider_pool *pool, const struct settings *settings);

/* Something may be due now, or a cause of holding may have gone (link up, clock set). Any thread, never
 * waits. The pool calls this itself after each commit of the store; the app does after link and clock
 * changes (with `link_back`, providers that wait for their probe probe at once, but not those whose AUTH
 * was refused). */
void provider_wake(struct provider_pool *pool, bool link_back);

/* ---- at submission: any thread, never waits for the network ---- */

/* The provider for a job: name is what store_accept.provider wants. By provider_id within what the tenant
 * may use (its own before those of any tenant); with none given: the tenant's only one, else the one
 * called `default`, else the only one there is. why gets a sentence that names the id. Errors:
 * ERR_NOT_FOUND. */
int provider_choose(struct provider_pool *pool, struct str tenant_id, struct str provider_id,
		    char name[PROVIDER_NAME_CAP], char *why, size_t why_cap);

/* What provider_judge answers. */
struct provider_choice {
	char name[PROVIDER_NAME_CAP]; /* for store_accept.provider */
	char from[256];               /* addr-spec of the From header: its domain goes into job_message_id */
};

/* Whether a decoded job can be sent at all: chooses the provider (pointer /provider_id), finds its From
 * (/from: none given and the provider has none), resolves every bare local name by [alias] (/to/0: no
 * alias of that name), looks at the size.
 * Errors: ERR_NOT_FOUND, ERR_INVALID, ERR_TOO_LARGE; *problem is filled in for each. */
int provider_judge(struct provider_pool *pool, const struct job *job, struct provider_choice *choice,
		   struct job_problem *problem);

/* ---- status: any thread ---- */

enum provider_state {
	PROVIDER_CLOSED, /* the breaker is: all well */
	PROVIDER_OPEN,   /* held: waits for probe_at_ms */
	PROVIDER_PROBING /* one worker tries it */
};

/* "closed" "open" "probing" */
const char *provider_state_name(enum provider_state s);

struct provider_status {
	char name[PROVIDER_NAME_CAP];
	char tenant_id[128]; /* empty: any */
	char provider_id[128];
	char display_name[128];
	char type[16];     /* "smtp", "maildir" */
	char address[256]; /* "host:port" or the path */
	enum provider_state state;
	char reason[256];        /* why it is or was last held; empty when never */
	bool auth_refused;       /* held because of that: raises an alert */
	int64_t held_since_ms;   /* wall; 0 when closed */
	int64_t probe_at_ms;     /* wall, when open */
	int64_t last_success_ms; /* wall; 0: none since start */
	int64_t last_failure_ms;
	unsigned in_flight;   /* workers on it */
	unsigned connections; /* open now, idle ones too */
	/* since start (or since its settings changed) */
	uint64_t sent, retried, failed, held, uncertain; /* attempts by their end */
	uint64_t rcpts_sent, rcpts_failed;
	uint64_t connects, reused; /* connections made; mails sent on one that was there */
	uint64_t rate_waits;
};

/* Fills at most cap, in the order of the settings; returns how many there are. */
size_t provider_status_list(struct provider_pool *pool, struct provider_status *out, size_t cap);

struct provider_workers {
	unsigned min, max, running, busy;
	uint64_t started, ended; /* threads, since start */
};
void provider_workers_get(struct provider_pool *pool, struct provider_workers *out);

#endif
