/* Batches: jobs claimed together, and their ends on the way to the store. While one batch is sent, the next one is
 * asked for and the ends of the last one are stored, so that neither the network nor the flash waits for the other. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "log/log.h"
#include "provider/pool.h"

/* ---- claims ---- */

/* On the store's thread. */
static void claim_done(struct store_op *op)
{
	struct batch *b = op->arg;
	struct provider_pool *pool = b->worker->pool;

	hal_mutex_lock(&pool->lock);
	b->claiming = false;
	b->answered = true;
	hal_cond_signal(&b->worker->answered);
	hal_mutex_unlock(&pool->lock);
}

/* Every attempt of it has ended, or was given back; its ends may still be on their way: the memory that they are
 * read from is not touched before they have arrived. */
static bool is_spent(const struct batch *b)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->attempts[i].state == ATTEMPT_WAITING || b->attempts[i].state == ATTEMPT_FLYING)
			return false;
	return true;
}

static unsigned take_rate(struct provider *p, unsigned want)
{
	int64_t now_ms = hal_clock_mono_ms();
	unsigned n = 0;

	while (n < want && retry_rate_wait_ms(&p->rate, now_ms) == 0) {
		retry_rate_take(&p->rate);
		n++;
	}
	return n;
}

static void give_rate(struct provider *p, unsigned count)
{
	while (count-- > 0)
		retry_rate_give(&p->rate);
}

static void claim_submit(struct worker *w, struct batch *b)
{
	unsigned max = w->pool->pipeline_depth < BATCH_JOBS ? w->pool->pipeline_depth : BATCH_JOBS;
	unsigned want = w->probe ? 1 : w->want < max ? w->want : max;

	b->asked = take_rate(w->provider, want);
	if (b->asked == 0) return;
	if (w->want < max) w->want *= 2;
	b->generation = w->pool->work_generation;
	store_claim_init(&b->claim);
	b->claim.provider = str_from(w->provider->spec.name);
	b->claim.jobs = b->claimed;
	b->claim.cap = b->asked;
	b->claim.src = b->src;
	b->claim.src_cap = sizeof b->src;
	b->claim.op.done = claim_done;
	b->claim.op.arg = b;
	b->claiming = true;
	w->begun = true;
	/* The store never calls back on this thread while it runs, and takes its own lock only. */
	store_submit(w->pool->store, &b->claim.op);
}

static bool is_asked(const struct batch *b)
{
	return b->claiming || b->answered;
}

void batch_refill(struct worker *w)
{
	if (!w->more || is_asked(&w->batches[0]) || is_asked(&w->batches[1]) || !pool_may_claim(w->pool, w))
		return;
	for (size_t i = 0; i < 2; i++) {
		struct batch *b = &w->batches[i];

		if (!is_spent(b)) continue;
		claim_submit(w, b);
		return;
	}
}

/* Nothing was to be had; the probe gets back what was taken for it. */
static void claim_failed(struct worker *w, const struct batch *b)
{
	struct provider_pool *pool = w->pool;
	struct provider *p = w->provider;
	int64_t now_ms = hal_clock_mono_ms();
	int rc = b->claim.op.rc;

	(void)breaker_end(&p->breaker, w->probe, BREAKER_SILENT, now_ms, 0);
	w->probe = false;
	if (rc < 0) {
		p->pause_until_ms = now_ms + POOL_PAUSE_MS;
		if (rc != ERR_STOPPING)
			log_warn("provider", "store gave no work -> asking again",
				 LOG_TEXT("provider", p->spec.name), LOG_ERR(rc));
		p->due = true;
		return;
	}
	p->hot = false;
	p->due = b->generation != pool->work_generation;
	p->next_due_ms = b->claim.next_due_ms;
	p->looked_ms = now_ms;
	/* This worker may go elsewhere now: somebody who waits should know until when. */
	hal_cond_signal(&pool->wake);
}

/* There were jobs, so there may be more, and somebody else may look. */
static void claim_found(struct worker *w)
{
	struct provider *p = w->provider;

	p->hot = true;
	p->due = true;
	hal_cond_signal(&w->pool->wake);
	pool_grow(w->pool);
}

static void batch_begin(struct worker *w, struct batch *b)
{
	b->count = b->claim.op.rc < 0 ? 0 : (unsigned)b->claim.count;
	b->begun = b->full = false;
	give_rate(w->provider, b->asked - b->count);
	arena_init(&b->arena, b->arena_memory, sizeof b->arena_memory);
	for (unsigned i = 0; i < b->count; i++) {
		struct attempt *a = &b->attempts[i];

		memset(a, 0, sizeof *a);
		a->worker = w;
		a->batch = b;
		a->claimed = &b->claimed[i];
	}
	/* The first that did not fit into the memory of originals ends a claim too. */
	w->more = b->count > 0;
	if (b->count > 0)
		claim_found(w);
	else
		claim_failed(w, b);
}

/* At what the store has answered since. */
static void look(struct worker *w)
{
	for (size_t i = 0; i < 2; i++) {
		struct batch *b = &w->batches[i];

		if (!b->answered || b->stored > 0) continue;
		b->answered = false;
		batch_begin(w, b);
	}
}

/* ---- attempts in turn ---- */

/* Whether some attempt of it has memory of the arena, which it will give back. */
static bool is_shared(const struct batch *b)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->attempts[i].memory && b->attempts[i].state != ATTEMPT_DONE) return true;
	return false;
}

bool batch_wants_room(struct batch *b)
{
	hal_mutex_lock(&b->worker->pool->lock);
	b->full = is_shared(b);
	bool full = b->full;
	hal_mutex_unlock(&b->worker->pool->lock);
	return full;
}

/* What has been begun has memory that the others may wait for, and goes first. */
static struct attempt *first_waiting(struct batch *b)
{
	struct attempt *first = NULL;

	if (is_asked(b)) return NULL;
	for (unsigned i = 0; i < b->count; i++) {
		struct attempt *a = &b->attempts[i];

		if (a->state != ATTEMPT_WAITING) continue;
		if (a->memory) return a;
		if (!first) first = a;
	}
	if (first && b->full && is_shared(b)) return NULL;
	b->full = false;
	return first;
}

struct attempt *batch_next(struct worker *w)
{
	struct attempt *a = NULL;

	look(w);
	for (size_t i = 0; i < 2 && !a; i++)
		if (w->batches[i].begun) a = first_waiting(&w->batches[i]);
	for (size_t i = 0; i < 2 && !a; i++)
		a = first_waiting(&w->batches[i]);
	if (a) a->batch->begun = true;
	return a;
}

bool batch_waits(const struct worker *w)
{
	for (size_t i = 0; i < 2; i++) {
		const struct batch *b = &w->batches[i];

		if (is_asked(b)) return true;
		for (unsigned n = 0; n < b->count; n++)
			if (b->attempts[n].state == ATTEMPT_WAITING) return true;
	}
	return false;
}

/* Under the lock, which is given away. */
static void release_one(struct worker *w, int64_t id)
{
	struct store_release r;

	store_release_init(&r);
	r.id = id;
	hal_mutex_unlock(&w->pool->lock);
	(void)store_do(w->pool->store, &r.op);
	hal_mutex_lock(&w->pool->lock);
	give_rate(w->provider, 1);
}

/* Claimed into a batch whose last ends the store has not taken yet. */
static void release_unread(struct worker *w, struct batch *b)
{
	unsigned count = b->claim.op.rc < 0 ? 0 : (unsigned)b->claim.count;

	b->answered = false;
	give_rate(w->provider, b->asked - count);
	for (unsigned n = 0; n < count; n++)
		release_one(w, b->claimed[n].id);
}

void batch_release(struct worker *w)
{
	for (size_t i = 0; i < 2; i++) {
		struct batch *b = &w->batches[i];

		if (b->claiming) continue;
		if (b->answered) release_unread(w, b);
		for (unsigned n = 0; n < b->count; n++) {
			if (b->attempts[n].state != ATTEMPT_WAITING) continue;
			b->attempts[n].state = ATTEMPT_DONE;
			release_one(w, b->attempts[n].claimed->id);
		}
	}
}

/* ---- ends ---- */

/* On the store's thread. */
static void finish_done(struct store_op *op)
{
	struct attempt *a = op->arg;
	struct provider_pool *pool = a->worker->pool;
	struct provider *p = a->provider;

	hal_mutex_lock(&pool->lock);
	if (op->rc < 0 && op->rc != ERR_NOT_FOUND) {
		a->state = ATTEMPT_REFUSED;
		a->again_at_ms = hal_clock_in(POOL_PAUSE_MS);
		hal_cond_signal(&a->worker->answered);
		/* It may be waiting for work instead, among others. */
		hal_cond_broadcast(&pool->wake);
	} else {
		a->state = ATTEMPT_DONE;
		/* The store hints at what is due now; what will be due later we know ourselves. */
		if (a->op.state == JOB_PENDING && (p->next_due_ms == 0 || a->op.due_ms < p->next_due_ms)) {
			p->next_due_ms = a->op.due_ms;
			pool->work_generation++;
			hal_cond_signal(&pool->wake);
		}
		pool_unref(pool, p);
		if (--a->batch->stored == 0) hal_cond_signal(&a->worker->answered);
	}
	hal_mutex_unlock(&pool->lock);
}

static void finish_submit(struct attempt *a)
{
	a->op.op.done = finish_done;
	a->op.op.arg = a;
	store_submit(a->worker->pool->store, &a->op.op);
}

static void enter(struct attempt *a, enum attempt_state state)
{
	hal_mutex_lock(&a->worker->pool->lock);
	a->state = state;
	hal_mutex_unlock(&a->worker->pool->lock);
}

void batch_fly(struct attempt *a)
{
	a->rounds++;
	enter(a, ATTEMPT_FLYING);
}

void batch_again(struct attempt *a)
{
	enter(a, ATTEMPT_WAITING);
}

void batch_submit(struct attempt *a, bool release)
{
	struct worker *w = a->worker;
	struct provider_pool *pool = w->pool;

	hal_mutex_lock(&pool->lock);
	w->worked_ms = hal_clock_mono_ms();
	if (release) {
		a->state = ATTEMPT_DONE;
		release_one(w, a->claimed->id);
	} else {
		a->state = ATTEMPT_SUBMITTED;
		a->provider = w->provider;
		a->provider->refs++;
		a->batch->stored++;
		/* The store calls back on its own thread, and only ever takes its own lock here. */
		finish_submit(a);
	}
	batch_refill(w);
	hal_mutex_unlock(&pool->lock);
}

static struct attempt *find_refused(struct worker *w)
{
	for (size_t i = 0; i < 2; i++)
		for (unsigned n = 0; n < w->batches[i].count; n++)
			if (w->batches[i].attempts[n].state == ATTEMPT_REFUSED)
				return &w->batches[i].attempts[n];
	return NULL;
}

bool batch_repeat(struct worker *w, int64_t now_ms, int64_t *until_ms)
{
	struct attempt *a = find_refused(w);

	if (!a) return false;
	if (now_ms < a->again_at_ms) {
		if (a->again_at_ms < *until_ms) *until_ms = a->again_at_ms;
		return false;
	}
	log_warn("provider", "store refused the end of an attempt -> handing it in again",
		 LOG_ERR(a->op.op.rc), LOG_INT("job", a->op.id));
	a->state = ATTEMPT_SUBMITTED;
	finish_submit(a);
	return true;
}

static void give_up_refused(struct worker *w)
{
	struct attempt *a;

	while ((a = find_refused(w)) != NULL) {
		log_error("provider", "end of an attempt lost -> the mail may go twice", LOG_ERR(a->op.op.rc),
			  LOG_INT("job", a->op.id));
		a->state = ATTEMPT_DONE;
		a->batch->stored--;
		pool_unref(w->pool, a->provider);
	}
}

void batch_drain(struct worker *w)
{
	struct provider_pool *pool = w->pool;

	while (w->batches[0].stored > 0 || w->batches[1].stored > 0) {
		int64_t until_ms = HAL_FOREVER;

		if (pool->aborting) {
			give_up_refused(w);
			if (w->batches[0].stored == 0 && w->batches[1].stored == 0) return;
		}
		if (!batch_repeat(w, hal_clock_mono_ms(), &until_ms))
			(void)hal_cond_wait(&w->answered, &pool->lock, until_ms);
	}
}
