/* A worker: waits for work, claims a job, has it sent, hands the end to the store, and looks again. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "log/log.h"
#include "provider/pool.h"

/* ---- ends on their way to the store ---- */

/* On the store's thread. */
static void finish_done(struct store_op *op)
{
	struct finish *f = op->arg;
	struct provider_pool *pool = f->worker->pool;
	struct provider *p = f->provider;

	hal_mutex_lock(&pool->lock);
	if (op->rc < 0 && op->rc != ERR_NOT_FOUND) {
		f->state = FINISH_REFUSED;
		f->again_at_ms = hal_clock_in(POOL_PAUSE_MS);
	} else {
		f->state = FINISH_FREE;
		/* The store hints at what is due now; what will be due later we know ourselves. */
		if (f->op.state == JOB_PENDING && (p->next_due_ms == 0 || f->op.due_ms < p->next_due_ms)) {
			p->next_due_ms = f->op.due_ms;
			pool->work_generation++;
			hal_cond_signal(&pool->wake);
		}
		pool_unref(pool, p);
	}
	hal_cond_signal(&f->worker->finished);
	hal_mutex_unlock(&pool->lock);
}

/* Without the lock. The store's thread may answer, and the finish be used again, before this returns. */
static void finish_submit(struct finish *f)
{
	struct store *store = f->worker->pool->store;

	f->op.op.done = finish_done;
	f->op.op.arg = f;
	store_submit(store, &f->op.op);
}

/* Under the lock, which is given away: what the store refused is handed in again when its time has come.
 * Returns true when there was one. */
static bool finish_repeat(struct worker *w, int64_t now_ms, int64_t *until_ms)
{
	for (size_t i = 0; i < WORKER_FINISHES; i++) {
		struct finish *f = &w->finishes[i];

		if (f->state != FINISH_REFUSED) continue;
		if (now_ms < f->again_at_ms) {
			if (f->again_at_ms < *until_ms) *until_ms = f->again_at_ms;
			continue;
		}
		log_warn("provider", "store refused the end of an attempt -> handing it in again",
			 LOG_ERR(f->op.op.rc), LOG_INT("job", f->op.id));
		f->state = FINISH_SUBMITTED;
		hal_mutex_unlock(&w->pool->lock);
		finish_submit(f);
		hal_mutex_lock(&w->pool->lock);
		return true;
	}
	return false;
}

/* Under the lock: one that is free; waits until there is one. NULL: the stop cannot wait any longer. */
static struct finish *finish_take(struct worker *w)
{
	struct provider_pool *pool = w->pool;

	for (;;) {
		int64_t until_ms = HAL_FOREVER;

		for (size_t i = 0; i < WORKER_FINISHES; i++) {
			if (w->finishes[i].state == FINISH_FREE) {
				w->finishes[i].state = FINISH_TAKEN;
				return &w->finishes[i];
			}
		}
		if (finish_repeat(w, hal_clock_mono_ms(), &until_ms)) continue;
		if (pool->aborting) return NULL;
		(void)hal_cond_wait(&w->finished, &pool->lock, until_ms);
	}
}

/* Under the lock, at the worker's end: everything on its way has arrived, or never will. */
static void finish_drain(struct worker *w)
{
	struct provider_pool *pool = w->pool;

	for (;;) {
		int64_t until_ms = HAL_FOREVER;
		bool left = false;

		for (size_t i = 0; i < WORKER_FINISHES; i++) {
			struct finish *f = &w->finishes[i];

			if (f->state == FINISH_REFUSED && pool->aborting) {
				log_error("provider", "end of an attempt lost -> the mail may go twice",
					  LOG_ERR(f->op.op.rc), LOG_INT("job", f->op.id));
				f->state = FINISH_FREE;
				pool_unref(pool, f->provider);
			}
			left = left || f->state != FINISH_FREE;
		}
		if (!left) return;
		if (!finish_repeat(w, hal_clock_mono_ms(), &until_ms))
			(void)hal_cond_wait(&w->finished, &pool->lock, until_ms);
	}
}

/* ---- claims ---- */

/* Without the lock. 1: a job, 0: none is due, or an error. *next_due_ms as of store_claim. */
static int claim(struct worker *w, int64_t *next_due_ms)
{
	struct store_claim c;
	int rc;

	memset(&w->claimed, 0, sizeof w->claimed);
	store_claim_init(&c);
	c.src = w->src;
	c.src_cap = sizeof w->src;
	c.provider = str_from(w->provider->spec.name);
	c.jobs = &w->claimed;
	c.cap = 1;
	rc = store_do(w->pool->store, &c.op);
	*next_due_ms = c.next_due_ms;
	return rc < 0 ? rc : (int)c.count;
}

static void release(struct worker *w)
{
	struct store_release r;

	store_release_init(&r);
	r.id = w->claimed.id;
	(void)store_do(w->pool->store, &r.op);
}

/* Under the lock: nothing was sent; the probe and the rate get back what was taken for it. */
static void claim_failed(struct worker *w, int rc, uint32_t generation, int64_t next_due_ms)
{
	struct provider *p = w->provider;
	int64_t now_ms = hal_clock_mono_ms();

	(void)breaker_end(&p->breaker, w->probe, BREAKER_SILENT, now_ms, 0);
	w->probe = false;
	retry_rate_give(&p->rate);
	if (rc < 0) {
		p->pause_until_ms = now_ms + POOL_PAUSE_MS;
		if (rc != ERR_STOPPING)
			log_warn("provider", "store gave no work -> asking again",
				 LOG_TEXT("provider", p->spec.name), LOG_ERR(rc));
		p->due = true;
		return;
	}
	p->hot = false;
	p->due = generation != w->pool->work_generation;
	p->next_due_ms = next_due_ms;
	p->looked_ms = now_ms;
	/* This worker may go elsewhere now: somebody who waits should know until when. */
	hal_cond_signal(&w->pool->wake);
}

/* Under the lock: there was a job, so there may be more, and somebody else may look. */
static void claim_found(struct worker *w)
{
	struct provider *p = w->provider;

	p->hot = true;
	p->due = true;
	hal_cond_signal(&w->pool->wake);
	pool_grow(w->pool);
}

/* Under the lock, which is given away: one job, from claim to finish. */
static void work(struct worker *w)
{
	struct provider_pool *pool = w->pool;
	struct finish *f = finish_take(w);
	uint32_t generation = pool->work_generation;
	int64_t next_due_ms = 0;
	bool released = false;
	int rc = ERR_STOPPING;

	hal_mutex_unlock(&pool->lock);
	if (f) rc = claim(w, &next_due_ms);
	if (rc > 0) {
		hal_mutex_lock(&pool->lock);
		claim_found(w);
		hal_mutex_unlock(&pool->lock);
		attempt_run(w, f, &released);
	}
	if (rc > 0 && released) release(w);
	hal_mutex_lock(&pool->lock);
	if (rc > 0) w->worked_ms = hal_clock_mono_ms();
	if (rc <= 0) claim_failed(w, rc, generation, next_due_ms);
	if (!f) return;
	if (rc <= 0 || released) {
		f->state = FINISH_FREE;
		return;
	}
	f->state = FINISH_SUBMITTED;
	f->worker = w;
	f->provider = w->provider;
	f->provider->refs++;
	hal_mutex_unlock(&pool->lock);
	finish_submit(f);
	hal_mutex_lock(&pool->lock);
}

/* ---- telling the jobs that wait ---- */

/* Under the lock, which is given away: what a hold of p means for the jobs that wait for it is written to
 * them. */
static void show(struct provider_pool *pool, struct provider *p)
{
	char reason[sizeof p->status.reason];
	bool down = p->show_down;
	struct store_hold h;
	int rc;

	p->show_down = p->show_up = false;
	p->showing = true;
	p->refs++;
	memcpy(reason, p->status.reason, sizeof reason);
	hal_mutex_unlock(&pool->lock);
	do {
		store_hold_init(&h);
		h.provider = str_from(p->spec.name);
		h.down = down;
		h.text = reason;
		h.batch = 100;
		rc = store_do(pool->store, &h.op);
	} while (rc >= 0 && h.count > 0);
	hal_mutex_lock(&pool->lock);
	p->showing = false;
	p->due = true;
	pool->work_generation++;
	pool_unref(pool, p);
}

static bool show_next(struct provider_pool *pool)
{
	for (size_t i = 0; i < pool->live_count; i++) {
		struct provider *p = pool->live[i];

		if (!p->showing && (p->show_down || p->show_up)) {
			show(pool, p);
			return true;
		}
	}
	return false;
}

/* ---- the thread ---- */

/* Under the lock: whether one worker less would do. */
static bool is_spare(const struct provider_pool *pool)
{
	return pool->running > pool->worker_max || (pool->running > pool->worker_min && pool->idle > 0);
}

/* Under the lock, which is given away while it waits: until there is work (w->provider) or the end
 * (false). */
static bool wait_for_work(struct worker *w)
{
	struct provider_pool *pool = w->pool;
	for (;;) {
		int64_t now_ms = hal_clock_mono_ms();
		int64_t until_ms = now_ms + POOL_POLL_MS;
		struct conn *c;

		if (pool->stopping || pool->running > pool->worker_max) return false;
		if (finish_repeat(w, now_ms, &until_ms) || show_next(pool)) continue;
		w->provider = pool_take(pool, w, &until_ms);
		if (w->provider) return true;
		c = conn_expired(pool, now_ms, &until_ms);
		if (c) {
			conn_close(pool, c);
			continue;
		}
		if (is_spare(pool)) {
			if (now_ms >= w->worked_ms + WORKER_IDLE_MS) return false;
			if (w->worked_ms + WORKER_IDLE_MS < until_ms)
				until_ms = w->worked_ms + WORKER_IDLE_MS;
		}
		pool->idle++;
		(void)hal_cond_wait(&pool->wake, &pool->lock, until_ms);
		pool->idle--;
	}
}

void worker_main(void *arg)
{
	struct worker *w = arg;
	struct provider_pool *pool = w->pool;

	hal_mutex_lock(&pool->lock);
	while (wait_for_work(w)) {
		work(w);
		pool_give(pool, w);
	}
	finish_drain(w);
	w->state = WORKER_ENDED;
	pool->running--;
	pool->ended_count++;
	/* The time that it was waiting for is another's now. */
	hal_cond_signal(&pool->wake);
	hal_cond_broadcast(&pool->ended);
	hal_mutex_unlock(&pool->lock);
}
