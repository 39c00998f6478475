/* The stored original: decoded again, in the worker's memory if it fits there, else streamed. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "provider/pool.h"

/* It was judged when it was accepted: only what this version is unable to send is refused here. */
static int decode(struct arena *a, char *text, size_t len, struct job *job, struct composer *c)
{
	const struct job_limits limits = {
		.job_bytes = SIZE_MAX,
		.recipients = STORE_RCPT_MAX,
		.envelope_bytes = SIZE_MAX,
		.attachments = false,
		.templates = false,
	};
	struct job_problem problem = {.reason = ""};
	int rc = job_decode(a, text, len, &limits, job, &problem);

	if (rc < 0) snprintf(c->why, sizeof c->why, "%.100s: %.140s", problem.pointer, problem.reason);
	return rc;
}

static int src_read(const struct attempt *a, size_t at, char *bytes, size_t cap)
{
	struct store_src_read r;
	int rc;

	store_src_read_init(&r);
	r.id = a->claimed->id;
	r.at = at;
	r.bytes = bytes;
	r.cap = cap;
	rc = store_do(a->worker->pool->store, &r.op);
	return rc < 0 ? rc : (int)r.len;
}

/* len bytes of it from the beginning. */
static int src_read_all(const struct attempt *a, char *bytes, size_t len)
{
	size_t have = 0;

	while (have < len) {
		size_t want = len - have < WORKER_SRC_BYTES ? len - have : WORKER_SRC_BYTES;
		int rc = src_read(a, have, bytes + have, want);

		if (rc <= 0) return rc < 0 ? rc : ERR_CORRUPT;
		have += (size_t)rc;
	}
	return 0;
}

static int large_decode(struct composer *c)
{
	struct provider_pool *pool = c->attempt->worker->pool;
	size_t len = c->attempt->claimed->src_len;
	struct arena a;
	struct job job;
	int rc;

	if (len + JSON_PADDING > pool->large_src_cap) {
		snprintf(c->why, sizeof c->why, "larger than [limits] job_bytes allowed at start");
		return ERR_TOO_LARGE;
	}
	rc = src_read_all(c->attempt, pool->large_src, len);
	if (rc < 0) return rc;
	arena_init(&a, pool->large_arena, pool->large_arena_cap);
	rc = decode(&a, pool->large_src, len, &job, c);
	if (rc < 0) return rc;
	arena_reset(&c->arena);
	rc = job_copy_envelope(&c->arena, &job, &c->job);
	if (rc < 0) snprintf(c->why, sizeof c->why, "its addresses and headers are too large");
	return rc;
}

/* In place: where it lies among the originals of its batch. */
static int small_decode(struct composer *c)
{
	struct attempt *a = c->attempt;
	int rc = 0;

	if (a->spoiled) rc = src_read_all(a, a->claimed->src, a->claimed->src_len);
	if (rc < 0) return rc;
	a->spoiled = true;
	return decode(&c->arena, a->claimed->src, a->claimed->src_len, &c->job, c);
}

int original_fetch(void *arg, size_t at, char *bytes, size_t cap)
{
	struct composer *c = arg;
	char *window = c->window;
	size_t n;

	if (at < c->src_at || at >= c->src_at + c->src_len) {
		int rc = src_read(c->attempt, at, window, COMPOSER_WINDOW_BYTES);

		c->src_at = at;
		c->src_len = rc > 0 ? (size_t)rc : 0;
		if (rc <= 0) return rc;
	}
	n = c->src_at + c->src_len - at;
	if (n > cap) n = cap;
	memcpy(bytes, window + (at - c->src_at), n);
	return (int)n;
}

int original_open(struct composer *c)
{
	struct provider_pool *pool = c->attempt->worker->pool;
	int rc = ERR_TOO_LARGE;

	arena_init(&c->arena, c->arena_memory, sizeof c->arena_memory);
	c->streamed = false;
	c->src_at = c->src_len = 0;
	if (c->attempt->claimed->src) rc = small_decode(c);
	if (rc != ERR_TOO_LARGE) return rc;
	/* It, or what it decodes to, needs more than this worker has: one at a time may use the large
	 * memory. */
	c->streamed = true;
	hal_mutex_lock(&pool->large_lock);
	rc = large_decode(c);
	hal_mutex_unlock(&pool->large_lock);
	return rc;
}
