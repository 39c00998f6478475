/* The pool: which provider is next, how many workers, start, stop, reload, status. */
#include "provider/pool.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_entropy.h"
#include "log/log.h"

static struct provider_pool the_pool;

uint32_t pool_random(void)
{
	uint32_t random = 0;

	/* Without entropy there is no chance in the waits, which is no reason not to wait. */
	(void)hal_entropy_fill(&random, sizeof random);
	return random;
}

/* ---- providers ---- */

static void provider_free(struct provider *p)
{
	if (p->tls_ready) net_tls_config_close(&p->tls);
	hal_mutex_close(&p->ready_lock);
	/* The password, among others. */
	explicit_bzero(&p->spec, sizeof p->spec);
	p->slot = PROVIDER_SLOT_FREE;
}

void pool_unref(struct provider_pool *pool, struct provider *p)
{
	(void)pool;
	CHECK(p->refs > 0);
	if (--p->refs == 0 && p->slot == PROVIDER_SLOT_LEAVING) provider_free(p);
}

static void provider_begin(struct provider *p, const struct spec *spec)
{
	int64_t now_ms = hal_clock_mono_ms();
	struct arena a;

	memset(p, 0, sizeof *p);
	p->slot = PROVIDER_SLOT_NEW;
	p->spec = *spec;
	arena_init(&a, p->from_memory, sizeof p->from_memory);
	p->has_from = spec->from[0] && job_address_parse(&a, str_from(p->spec.from), &p->from, NULL) == 0 &&
		      p->from.domain.len > 0;
	breaker_init(&p->breaker);
	retry_rate_init(&p->rate, spec->rate.count, spec->rate.per_ms, now_ms);
	hal_mutex_init(&p->ready_lock);
	p->due = true;
	/* What one of the same name held may be tried with the new settings at once. */
	p->show_up = true;
}

/* ---- taking turns ---- */

/* Other providers that nobody works for: each of them is to find a worker when its mail comes. */
static unsigned count_unserved(const struct provider_pool *pool, const struct provider *p)
{
	unsigned n = 0;

	for (size_t i = 0; i < pool->live_count; i++)
		n += pool->live[i] != p && pool->live[i]->status.in_flight == 0;
	return n;
}

static void lower(int64_t *until_ms, int64_t now_ms, int64_t wait_ms)
{
	if (wait_ms < *until_ms - now_ms) *until_ms = now_ms + wait_ms;
}

/* Whether its mail may be due: 0, or how long until it is worth asking the store. */
static int64_t due_wait_ms(const struct provider *p, int64_t now_ms, int64_t wall_ms)
{
	int64_t wait = p->looked_ms + POOL_POLL_MS - now_ms;

	if (p->due || wait <= 0) return 0;
	if (p->next_due_ms > 0 && p->next_due_ms - wall_ms < wait) wait = p->next_due_ms - wall_ms;
	return wait > 0 ? wait : 0;
}

/* The last worker that is free is not for a provider that may hold it for minutes while another one's mail goes
 * quickly. */
static bool is_last_for_others(const struct provider_pool *pool, const struct provider *p, unsigned left)
{
	if (!p->suspect || left > 1 || pool->worker_max == 1) return false;
	for (size_t i = 0; i < pool->live_count; i++)
		if (!pool->live[i]->suspect) return true;
	return false;
}

/* How long until a worker may begin a mail of p: 0 now, HAL_FOREVER: not by time alone. */
static int64_t usable_wait_ms(struct provider_pool *pool, struct provider *p, int64_t now_ms, int64_t wall_ms)
{
	unsigned left = pool->worker_max > pool->busy ? pool->worker_max - pool->busy : 0;
	int64_t wait = due_wait_ms(p, now_ms, wall_ms);
	int64_t more;

	if (p->status.in_flight >= p->spec.connections) return HAL_FOREVER;
	if (p->status.in_flight > 0 && left <= count_unserved(pool, p)) return HAL_FOREVER;
	if (is_last_for_others(pool, p, left)) return HAL_FOREVER;
	more = breaker_wait_ms(&p->breaker, now_ms);
	wait = more > wait ? more : wait;
	more = p->pause_until_ms - now_ms;
	return more > wait ? more : wait;
}

/* Whether a worker may begin a mail of p now. If only time is in the way, *until_ms is lowered. */
static bool is_usable(struct provider_pool *pool, struct provider *p, int64_t now_ms, int64_t wall_ms,
		      int64_t *until_ms)
{
	int64_t wait = usable_wait_ms(pool, p, now_ms, wall_ms);

	if (wait <= 0) {
		wait = retry_rate_wait_ms(&p->rate, now_ms);
		p->status.rate_waits += wait > 0;
	}
	if (wait > 0 && wait != HAL_FOREVER) lower(until_ms, now_ms, wait);
	return wait <= 0;
}

static struct provider *next_in_turn(struct provider_pool *pool, int64_t *until_ms)
{
	int64_t now_ms = hal_clock_mono_ms();
	int64_t wall_ms = hal_clock_wall_ms(NULL);

	for (size_t i = 0; i < pool->live_count; i++) {
		size_t at = (pool->turn + i) % pool->live_count;

		if (is_usable(pool, pool->live[at], now_ms, wall_ms, until_ms)) {
			pool->turn = at + 1;
			return pool->live[at];
		}
	}
	return NULL;
}

struct provider *pool_take(struct provider_pool *pool, struct worker *w, int64_t *until_ms)
{
	struct provider *p = next_in_turn(pool, until_ms);

	if (!p) return NULL;
	if (!p->hot) {
		p->due = false;
		p->next_due_ms = 0;
		p->looked_ms = hal_clock_mono_ms();
	}
	w->probe = breaker_begin(&p->breaker);
	p->refs++;
	p->status.in_flight++;
	pool->busy++;
	return p;
}

bool pool_is_over(const struct provider_pool *pool, const struct worker *w)
{
	const struct provider *p = w->provider;

	return pool->stopping || p->slot != PROVIDER_SLOT_LIVE ||
	       (p->breaker.state != PROVIDER_CLOSED && !w->probe);
}

bool pool_may_claim(struct provider_pool *pool, const struct worker *w)
{
	int64_t now_ms = hal_clock_mono_ms(), wall_ms = hal_clock_wall_ms(NULL);

	if (pool_is_over(pool, w) || (w->probe && w->begun)) return false;
	if (!w->begun || pool->busy < pool->worker_max) return true;
	if (pool->running - pool->leaving > pool->worker_max) return false;
	for (size_t i = 0; i < pool->live_count; i++) {
		struct provider *p = pool->live[i];

		if (p != w->provider && usable_wait_ms(pool, p, now_ms, wall_ms) <= 0 &&
		    retry_rate_wait_ms(&p->rate, now_ms) == 0)
			return false;
	}
	return true;
}

void pool_give(struct provider_pool *pool, struct worker *w)
{
	struct provider *p = w->provider;

	w->provider = NULL;
	p->status.in_flight--;
	pool->busy--;
	pool_unref(pool, p);
}

/* ---- workers ---- */

static int worker_start(struct provider_pool *pool, struct worker *w)
{
	char name[16];
	int rc;

	if (w->state == WORKER_ENDED) hal_thread_join(&w->thread);
	w->pool = pool;
	w->state = WORKER_RUNNING;
	w->provider = NULL;
	w->conn = NULL;
	w->worked_ms = hal_clock_mono_ms();
	/* Not by memset: most of it is buffers whose pages should not be touched before they are needed. */
	for (size_t i = 0; i < 2; i++) {
		struct batch *b = &w->batches[i];

		b->worker = w;
		b->claiming = b->answered = false;
		b->stored = b->count = 0;
		w->composers[i].attempt = NULL;
	}
	snprintf(name, sizeof name, "worker-%u", (unsigned)(w - pool->workers) + 1);
	rc = hal_thread_start(&w->thread, name, WORKER_STACK_BYTES, worker_main, w);
	if (rc < 0) {
		w->state = WORKER_NONE;
		return rc;
	}
	pool->running++;
	pool->started++;
	return 0;
}

/* Under the lock. Joining one that has ended waits for its last instructions only: it gave the lock away
 * before. */
static int worker_start_one(struct provider_pool *pool)
{
	for (unsigned i = 0; i < pool->worker_cap; i++)
		if (pool->workers[i].state != WORKER_RUNNING) return worker_start(pool, &pool->workers[i]);
	return ERR_NO_MEMORY;
}

void pool_grow(struct provider_pool *pool)
{
	/* One is always left to wait for what comes next: timers and new mail of others find it while the
	 * busy ones are held up. */
	if (pool->stopping || pool->running > pool->busy || pool->running >= pool->worker_max) return;
	if (worker_start_one(pool) < 0)
		log_warn("provider", "no thread to be had -> going on with fewer workers",
			 LOG_INT("workers", pool->running));
}

static void on_work(void *arg)
{
	struct provider_pool *pool = arg;

	/* Also called after provider_stop, until the store is closed: the lock and an empty list stay
	 * behind. */
	hal_mutex_lock(&pool->lock);
	for (size_t i = 0; i < pool->live_count; i++)
		pool->live[i]->due = true;
	pool->work_generation++;
	if (!pool->stopping) hal_cond_signal(&pool->wake);
	hal_mutex_unlock(&pool->lock);
}

void provider_wake(struct provider_pool *pool, bool link_back)
{
	hal_mutex_lock(&pool->lock);
	for (size_t i = 0; link_back && i < pool->live_count; i++) {
		struct provider *p = pool->live[i];

		if (p->breaker.state != PROVIDER_OPEN || p->breaker.auth) continue;
		breaker_hurry(&p->breaker, hal_clock_mono_ms());
		p->show_up = true; /* makes due what waits for the probe */
	}
	hal_mutex_unlock(&pool->lock);
	on_work(pool);
}

/* ---- reload ---- */

static struct provider *slot_find(struct provider_pool *pool)
{
	for (size_t i = 0; i < POOL_SLOTS; i++)
		if (pool->providers[i].slot == PROVIDER_SLOT_FREE) return &pool->providers[i];
	return NULL;
}

/* The provider that runs with just these settings. */
static struct provider *find_same(struct provider_pool *pool, const struct spec *spec)
{
	for (size_t i = 0; i < pool->live_count; i++)
		if (memcmp(&pool->live[i]->spec, spec, sizeof *spec) == 0) return pool->live[i];
	return NULL;
}

/* Under the lock: gives back what a list that is not to be has of its own. */
static void list_drop(struct provider *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i]->slot == PROVIDER_SLOT_NEW) provider_free(list[i]);
}

static bool uses_system_only(const struct spec *s)
{
	return s->type == SETTINGS_PROVIDER_SMTP && s->tls != SMTP_TLS_NONE && s->tls_verify &&
	       !s->tls_ca[0] && !s->tls_cert[0] && !s->tls_key[0];
}

/* What only waits and reads, before the lock is taken: the digests of all TLS files. */
static int files_look(struct provider_pool *pool, const struct settings *settings)
{
	struct reload *l = &pool->reload;
	int rc = settings->provider_count > PROVIDER_MAX ? ERR_TOO_LARGE : 0;
	bool system_known = false;

	for (size_t i = 0; rc == 0 && i < settings->provider_count; i++) {
		rc = spec_make(&l->spec, settings, &settings->provider[i]);
		if (rc < 0) break;
		/* The system's bundle is large, and the same for all. */
		if (!uses_system_only(&l->spec)) {
			spec_tls_files(&l->spec, l->tls_files[i]);
			continue;
		}
		if (!system_known) spec_tls_files(&l->spec, l->system_files);
		system_known = true;
		memcpy(l->tls_files[i], l->system_files, sizeof l->tls_files[i]);
	}
	return rc;
}

/* Under the lock: what the one of the same name has sent counts, or every reload would allow as much again. */
static void rate_take_over(const struct provider_pool *pool, struct provider *p)
{
	for (size_t i = 0; i < pool->live_count; i++) {
		const struct provider *old = pool->live[i];

		if (strcmp(old->spec.name, p->spec.name) == 0 &&
		    memcmp(&old->spec.rate, &p->spec.rate, sizeof p->spec.rate) == 0)
			p->rate = old->rate;
	}
}

/* Under the lock: the list to be. What is new in it is SLOT_NEW; on failure nothing has changed. */
static int list_make(struct provider_pool *pool, const struct settings *settings, struct provider **list)
{
	struct spec *spec = &pool->reload.spec;
	int rc = 0;
	size_t n;

	for (n = 0; n < settings->provider_count; n++) {
		rc = spec_make(spec, settings, &settings->provider[n]);
		if (rc < 0) break;
		memcpy(spec->tls_files, pool->reload.tls_files[n], sizeof spec->tls_files);
		list[n] = find_same(pool, spec);
		if (list[n]) continue;
		list[n] = slot_find(pool);
		if (!list[n]) {
			rc = ERR_BUSY;
			break;
		}
		provider_begin(list[n], spec);
		rate_take_over(pool, list[n]);
	}
	if (rc < 0) list_drop(list, n);
	return rc;
}

static bool list_has(struct provider *const *list, size_t count, const struct provider *p)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == p) return true;
	return false;
}

/* Under the lock. */
static void list_swap(struct provider_pool *pool, struct provider *const *list, size_t count)
{
	for (size_t i = 0; i < pool->live_count; i++) {
		struct provider *p = pool->live[i];

		if (list_has(list, count, p)) continue;
		p->slot = PROVIDER_SLOT_LEAVING;
		if (p->refs == 0) provider_free(p);
	}
	for (size_t i = 0; i < count; i++) {
		pool->live[i] = list[i];
		list[i]->slot = PROVIDER_SLOT_LIVE;
	}
	pool->live_count = count;
	pool->turn = 0;
}

static enum retry_hold hold_of(enum settings_hold hold)
{
	switch (hold) {
	case SETTINGS_HOLD_NONE: return RETRY_HOLD_NONE;
	case SETTINGS_HOLD_LINK: return RETRY_HOLD_LINK;
	case SETTINGS_HOLD_PROVIDER: return RETRY_HOLD_PROVIDER;
	}
	return RETRY_HOLD_PROVIDER;
}

static unsigned at_most(int64_t value, unsigned max)
{
	return value < (int64_t)max ? (unsigned)value : max;
}

/* Under the lock: the workers that the settings want at least. Those started before one failed are too many
 * and end by themselves. */
static int workers_start(struct provider_pool *pool, const struct settings *settings)
{
	unsigned max = at_most(settings->worker.max, pool->worker_cap);
	unsigned min = at_most(settings->worker.min, max);
	int rc = 0;

	while (pool->running < min && !pool->stopping && rc == 0)
		rc = worker_start_one(pool);
	return rc;
}

static void values_set(struct provider_pool *pool, const struct settings *settings)
{
	const struct settings_retry *r = &settings->retry;

	pool->policy.max = (unsigned)r->max;
	pool->policy.jitter_percent = (unsigned)r->jitter;
	pool->policy.hold = hold_of(r->hold);
	pool->policy.delay_count = r->delays.count < RETRY_DELAYS_MAX ? r->delays.count : RETRY_DELAYS_MAX;
	memcpy(pool->policy.delay_ms, r->delays.ms, pool->policy.delay_count * sizeof *pool->policy.delay_ms);
	pool->pipeline_depth = at_most(settings->worker.pipeline_depth, 2 * BATCH_JOBS);
	pool->message_bytes_max = (size_t)settings->limits.message_bytes;
	pool->worker_max = at_most(settings->worker.max, pool->worker_cap);
	pool->worker_min = at_most(settings->worker.min, pool->worker_max);
	pool->alias_count = settings->alias_count;
	for (size_t i = 0; i < pool->alias_count; i++) {
		snprintf(pool->alias[i].name, sizeof pool->alias[i].name, "%s", settings->alias[i].name);
		snprintf(pool->alias[i].address, sizeof pool->alias[i].address, "%s",
			 settings->alias[i].address);
	}
}

int provider_reload(struct provider_pool *pool, const struct settings *settings)
{
	struct provider *list[PROVIDER_MAX];
	int rc;

	hal_mutex_lock(&pool->reload_lock);
	rc = files_look(pool, settings);
	hal_mutex_lock(&pool->lock);
	if (rc == 0) rc = list_make(pool, settings, list);
	if (rc == 0) {
		/* The last that can fail: behind it everything is new, before it everything is old. */
		rc = workers_start(pool, settings);
		if (rc < 0) list_drop(list, settings->provider_count);
	}
	if (rc == 0) {
		list_swap(pool, list, settings->provider_count);
		values_set(pool, settings);
		hal_cond_broadcast(&pool->wake);
	}
	hal_mutex_unlock(&pool->lock);
	explicit_bzero(&pool->reload.spec, sizeof pool->reload.spec);
	hal_mutex_unlock(&pool->reload_lock);
	if (rc == 0) on_work(pool);
	return rc;
}

/* ---- start and stop ---- */

/* Blocks of the memory given at start, one behind the other. */
struct layout {
	size_t workers_at, conns_at, src_at, arena_at, end;
	size_t src_bytes, arena_bytes;
};

static size_t layout_add(size_t *end, size_t bytes)
{
	size_t at = (*end + 63) & ~(size_t)63;

	*end = at + bytes;
	return at;
}

static struct layout layout_make(const struct settings *settings)
{
	size_t workers = (size_t)settings->worker.max;
	struct layout l = {.src_bytes = (size_t)settings->limits.job_bytes + JSON_PADDING};

	/* Whatever was accepted must decode again. Pages that no job has needed are never touched. */
	l.arena_bytes = job_decode_arena_bytes((size_t)settings->limits.job_bytes);
	l.workers_at = layout_add(&l.end, workers * sizeof(struct worker));
	l.conns_at = layout_add(&l.end, workers * sizeof(struct conn));
	l.src_at = layout_add(&l.end, l.src_bytes);
	l.arena_at = layout_add(&l.end, l.arena_bytes);
	l.end += 64; /* the block itself may start anywhere */
	return l;
}

size_t provider_memory_bytes(const struct settings *settings)
{
	return layout_make(settings).end;
}

static void pool_init(struct provider_pool *pool, struct store *store, const struct settings *settings,
		      void *memory)
{
	struct layout l = layout_make(settings);
	unsigned char *base = (unsigned char *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);

	memset(pool, 0, sizeof *pool);
	pool->store = store;
	pool->workers = (struct worker *)(void *)(base + l.workers_at);
	pool->conns = (struct conn *)(void *)(base + l.conns_at);
	pool->large_src = (char *)base + l.src_at;
	pool->large_src_cap = l.src_bytes;
	pool->large_arena = base + l.arena_at;
	pool->large_arena_cap = l.arena_bytes;
	pool->worker_cap = (unsigned)settings->worker.max;
	hal_mutex_init(&pool->lock);
	hal_mutex_init(&pool->reload_lock);
	hal_mutex_init(&pool->large_lock);
	hal_cond_init(&pool->wake);
	hal_cond_init(&pool->ended);
	/* Not by memset: most of a worker is buffers whose pages should not be touched before they are
	 * needed. */
	for (unsigned i = 0; i < pool->worker_cap; i++) {
		pool->workers[i].state = WORKER_NONE;
		hal_cond_init(&pool->workers[i].answered);
		pool->conns[i].state = CONN_FREE;
		pool->conns[i].open = false;
		pool->conns[i].provider = NULL;
	}
}

static void pool_close(struct provider_pool *pool)
{
	hal_mutex_lock(&pool->lock);
	list_swap(pool, NULL, 0);
	hal_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->worker_cap; i++)
		hal_cond_close(&pool->workers[i].answered);
	hal_cond_close(&pool->ended);
	hal_cond_close(&pool->wake);
	hal_mutex_close(&pool->large_lock);
	hal_mutex_close(&pool->reload_lock);
}

int provider_start(struct store *store, const struct settings *settings, void *memory, size_t memory_bytes,
		   struct provider_pool **out)
{
	struct provider_pool *pool = &the_pool;
	int rc;

	if (memory_bytes < provider_memory_bytes(settings)) return ERR_NO_MEMORY;
	pool_init(pool, store, settings, memory);
	store_on_work(store, on_work, pool);
	rc = provider_reload(pool, settings);
	if (rc < 0) {
		provider_stop(pool, hal_clock_mono_ms());
		return rc;
	}
	*out = pool;
	return 0;
}

/* Under the lock, which is given away: until no worker runs (true), or the deadline. */
static bool wait_ended(struct provider_pool *pool, int64_t deadline_ms)
{
	while (pool->running > 0)
		if (hal_cond_wait(&pool->ended, &pool->lock, deadline_ms) < 0) return pool->running == 0;
	return true;
}

/* One time for all of them: a server that says nothing any more uses it up, and the others still get their
 * QUIT. */
static void conns_close_idle(struct provider_pool *pool)
{
	int64_t quit_ms = hal_clock_in(STOP_QUIT_MS);

	if (quit_ms < pool->quit_until_ms) pool->quit_until_ms = quit_ms;
	for (unsigned i = 0; i < pool->worker_cap; i++) {
		if (pool->conns[i].state != CONN_IDLE) continue;
		pool->conns[i].state = CONN_BUSY;
		conn_close(pool, &pool->conns[i]);
	}
}

void provider_stop(struct provider_pool *pool, int64_t deadline_ms)
{
	hal_mutex_lock(&pool->lock);
	pool->stopping = true;
	pool->quit_until_ms = deadline_ms;
	hal_cond_broadcast(&pool->wake);
	if (!wait_ended(pool, deadline_ms)) {
		log_warn("provider", "mails under way at the end of the time to stop -> breaking them off",
			 LOG_INT("workers", pool->running));
		pool->aborting = true;
		conn_abort_all(pool);
		for (unsigned i = 0; i < pool->worker_cap; i++)
			hal_cond_signal(&pool->workers[i].answered);
		(void)wait_ended(pool, HAL_FOREVER);
	}
	pool->aborting = true;
	conns_close_idle(pool);
	hal_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->worker_cap; i++)
		if (pool->workers[i].state == WORKER_ENDED) hal_thread_join(&pool->workers[i].thread);
	pool_close(pool);
}

/* ---- status ---- */

const char *provider_state_name(enum provider_state s)
{
	switch (s) {
	case PROVIDER_CLOSED: return "closed";
	case PROVIDER_OPEN: return "open";
	case PROVIDER_PROBING: return "probing";
	}
	return "closed";
}

static void status_fill(const struct provider *p, struct provider_status *out)
{
	const struct spec *s = &p->spec;
	bool smtp = s->type == SETTINGS_PROVIDER_SMTP;

	*out = p->status;
	snprintf(out->name, sizeof out->name, "%s", s->name);
	snprintf(out->tenant_id, sizeof out->tenant_id, "%s", s->tenant_id);
	snprintf(out->provider_id, sizeof out->provider_id, "%s", s->provider_id);
	snprintf(out->display_name, sizeof out->display_name, "%s", s->display_name);
	snprintf(out->type, sizeof out->type, "%s", smtp ? "smtp" : "maildir");
	if (smtp)
		snprintf(out->address, sizeof out->address, "%.240s:%u", s->host, s->port);
	else
		snprintf(out->address, sizeof out->address, "%s", s->path);
	out->state = p->breaker.state;
	out->auth_refused = p->breaker.state != PROVIDER_CLOSED && p->breaker.auth;
	if (p->breaker.state == PROVIDER_OPEN)
		out->probe_at_ms = hal_clock_wall_ms(NULL) + p->breaker.probe_at_ms - hal_clock_mono_ms();
}

size_t provider_status_list(struct provider_pool *pool, struct provider_status *out, size_t cap)
{
	size_t count;

	hal_mutex_lock(&pool->lock);
	count = pool->live_count;
	for (size_t i = 0; i < count && i < cap; i++)
		status_fill(pool->live[i], &out[i]);
	hal_mutex_unlock(&pool->lock);
	return count;
}

void provider_workers_get(struct provider_pool *pool, struct provider_workers *out)
{
	hal_mutex_lock(&pool->lock);
	*out = (struct provider_workers){
		.min = pool->worker_min,
		.max = pool->worker_max,
		.running = pool->running,
		.busy = pool->busy,
		.started = pool->started,
		.ended = pool->ended_count,
	};
	hal_mutex_unlock(&pool->lock);
}
