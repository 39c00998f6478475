/* The stored original: decoded again, in the worker's memory if it fits there, else streamed. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "provider/pool.h"

/* It was judged when it was accepted: only what this version is unable to send is refused here. */
static int decode(struct arena *a, char *text, size_t len, struct job *job, struct worker *w)
{
	const struct job_limits limits = {
		.job_bytes = SIZE_MAX,
		.recipients = STORE_RCPT_MAX,
		.envelope_bytes = SIZE_MAX,
		.attachments = false,
		.templates = false,
		.raw = false,
	};
	struct job_problem problem = {.reason = ""};
	int rc = job_decode(a, text, len, &limits, job, &problem);

	if (rc < 0) snprintf(w->why, sizeof w->why, "%.100s: %.140s", problem.pointer, problem.reason);
	return rc;
}

static int src_read(struct worker *w, size_t at, char *bytes, size_t cap)
{
	struct store_src_read r;
	int rc;

	store_src_read_init(&r);
	r.id = w->claimed.id;
	r.at = at;
	r.bytes = bytes;
	r.cap = cap;
	rc = store_do(w->pool->store, &r.op);
	return rc < 0 ? rc : (int)r.len;
}

static int large_decode(struct worker *w)
{
	struct provider_pool *pool = w->pool;
	struct arena a;
	struct job job;
	size_t len = 0;
	int rc;

	if (w->claimed.src_len + JSON_PADDING > pool->large_src_cap) {
		snprintf(w->why, sizeof w->why, "larger than [limits] job_bytes allowed at start");
		return ERR_TOO_LARGE;
	}
	while (len < w->claimed.src_len) {
		size_t want = w->claimed.src_len - len;

		want = want < WORKER_SRC_BYTES ? want : WORKER_SRC_BYTES;
		rc = src_read(w, len, pool->large_src + len, want);
		if (rc <= 0) return rc < 0 ? rc : ERR_CORRUPT;
		len += (size_t)rc;
	}
	arena_init(&a, pool->large_arena, pool->large_arena_cap);
	rc = decode(&a, pool->large_src, len, &job, w);
	if (rc < 0) return rc;
	arena_reset(&w->arena);
	rc = job_copy_envelope(&w->arena, &job, &w->job);
	if (rc < 0) snprintf(w->why, sizeof w->why, "its addresses and headers are too large");
	return rc;
}

/* Bytes of the original for job_text_reader, through src: a chunk is much smaller than a trip to the store
 * is worth. */
int original_fetch(void *arg, size_t at, char *bytes, size_t cap)
{
	struct worker *w = arg;
	size_t n;

	if (at < w->src_at || at >= w->src_at + w->src_len) {
		int rc = src_read(w, at, w->src, WORKER_SRC_BYTES);

		w->src_at = at;
		w->src_len = rc > 0 ? (size_t)rc : 0;
		if (rc <= 0) return rc;
	}
	n = w->src_at + w->src_len - at;
	if (n > cap) n = cap;
	memcpy(bytes, w->src + (at - w->src_at), n);
	return (int)n;
}

int original_open(struct worker *w)
{
	int rc = ERR_TOO_LARGE;

	arena_init(&w->arena, w->arena_memory, sizeof w->arena_memory);
	w->streamed = false;
	w->src_at = w->src_len = 0;
	if (w->claimed.src_have > 0) rc = decode(&w->arena, w->src, w->claimed.src_have, &w->job, w);
	if (rc != ERR_TOO_LARGE) return rc;
	/* It, or what it decodes to, needs more than this worker has: one at a time may use the large
	 * memory. */
	w->streamed = true;
	hal_mutex_lock(&w->pool->large_lock);
	rc = large_decode(w);
	hal_mutex_unlock(&w->pool->large_lock);
	return rc;
}
