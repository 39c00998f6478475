/* A job on its way in (accept) and to a worker (claim, the original's bytes, release). */
#include <string.h>

#include "store/store_internal.h"

int store_missing(struct store *s)
{
	/* Once: if a salvage does not help, the next one will not either. */
	if (!s->missed) s->trouble = STORE_TROUBLE_CORRUPT;
	s->missed = true;
	return ERR_CORRUPT;
}

/* ---- accept ---- */

static struct str cut(struct str v, size_t max)
{
	if (v.len <= max) return v;
	v.len = max;
	while (v.len && ((unsigned char)v.ptr[v.len] & 0xc0) == 0x80)
		v.len--;
	return v;
}

/* The first recipients as a line. Blind copies are nobody's business, not even a list's. */
static void to_text(struct buf *b, const struct job *job)
{
	buf_reset(b);
	for (size_t i = 0; i < job->rcpt_count && !b->cut; i++) {
		if (job->rcpts[i].kind != JOB_RCPT_TO) continue;
		size_t len = b->len;
		if (len) buf_puts(b, ", ");
		buf_str(b, job->rcpts[i].address.addr);
		if (b->cut) b->ptr[b->len = len] = '\0';
	}
}

/* One recipient is told by the job's row alone; more have a row each. */
static int rcpts_put(struct store *s, int64_t id, const struct job *job)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && job->rcpt_count > 1 && i < job->rcpt_count; i++)
		rc = store_write(s, SQL_RCPT_PUT, "iiiisn", STORE_RCPT_KEY(id, i), I64(job->rcpts[i].kind),
				 I64(0), I64(0), job->rcpts[i].address.addr);
	return rc;
}

static int job_put(struct store *s, const struct store_accept *a, int64_t id, int64_t now)
{
	const struct job *job = a->job;
	bool one = job->rcpt_count == 1;
	char to[256];
	struct buf b;
	int64_t due = job->send_at_ms > now ? job->send_at_ms : now;
	int64_t expires = job->expires_at_ms ? job->expires_at_ms : now + a->expire_ms;
	int64_t clock = (due > now ? STORE_DUE_FIXED : 0) | (job->expires_at_ms ? STORE_EXPIRES_FIXED : 0);

	/* What is to be sent later waits for that moment first. */
	if (!job->expires_at_ms && due > now) expires = due + a->expire_ms;
	if (!job->expires_at_ms && a->expire_ms <= 0) expires = INT64_MAX;
	buf_init(&b, to, sizeof to);
	if (!one || job->rcpts[0].kind == JOB_RCPT_TO) to_text(&b, job);
	int rc = store_write(s, SQL_JOB_PUT, "iisiiiiiiiiissbsssssssss", id, I64(job->priority), a->provider,
			     due, expires, clock, I64(job->rcpt_count), I64(job->rcpts[0].kind), now,
			     s->tally.last_seq, I64(a->src.len),
			     I64(store_sum(STORE_SUM_START, a->src.ptr, a->src.len)), job->tenant_id,
			     a->message_id, (const void *)job->digest, (size_t)DIGEST_SHA256_BYTES,
			     one ? job->rcpts[0].address.addr : STR(""), one ? STR("") : buf_view(&b),
			     cut(job->subject, 255), job->user_id, job->template_id, job->campaign_id,
			     job->email_type, job->source_app, job->related_model_id);
	if (rc < 0) return rc;
	if (expires < s->tally.next_expiry_ms) s->tally.next_expiry_ms = expires;
	store_job_due(s, due);
	return rc;
}

static int accept_new(struct store *s, struct store_accept *a)
{
	int64_t now = hal_clock_wall_ms(NULL), id = s->tally.last_id + 1;
	int rc = store_space_admit(s, (int64_t)a->src.len + 128 * (int64_t)a->job->rcpt_count);

	if (rc >= 0) rc = job_put(s, a, id, now);
	if (rc >= 0) rc = rcpts_put(s, id, a->job);
	if (rc >= 0) rc = store_src_put(s, id, a->src);
	if (rc >= 0)
		rc = store_write(s, SQL_IDENT_PUT, "ssibii", a->job->tenant_id, a->message_id, id,
				 (const void *)a->job->digest, (size_t)DIGEST_SHA256_BYTES, I64(0), I64(0));
	if (rc < 0) return rc;
	a->id = s->tally.last_id = id;
	a->known = false;
	a->state = JOB_PENDING;
	s->tally.count[JOB_PENDING]++;
	if (s->tally.oldest_id < 0) s->tally.oldest_id = 0;
	return 0;
}

/* Known, with this content. */
static int accept_known(struct store *s, struct store_accept *a, bool gone, enum job_state gone_state)
{
	int64_t state = gone_state;
	int rc = 0;

	a->known = true;
	if (!gone) {
		sqlite3_stmt *st;
		rc = store_row(s, SQL_END_JOB, &st, "i", a->id);
		if (rc == 1) state = sqlite3_column_int64(st, 0);
		store_end(st);
		if (rc < 0) return rc;
		if (rc == 0) return store_missing(s);
	}
	if (gone && state != JOB_COMPLETED) return accept_new(s, a);
	a->state = (enum job_state)state;
	if (state == JOB_COMPLETED) rc = store_event_again(s, a->id, a->message_id, a->state);
	if (state == JOB_FAILED) {
		rc = store_job_requeue(s, a->id);
		/* The one there was lost its original to damage; here it comes again. */
		if (rc == ERR_STATE) return accept_new(s, a);
		a->state = JOB_PENDING;
	}
	if (state == JOB_PENDING && store_claim_find(s, a->id)) a->state = JOB_PROCESSING;
	return rc < 0 ? rc : 0;
}

static int accept_one(struct store *s, struct store_accept *a)
{
	sqlite3_stmt *st;

	if (a->job->rcpt_count < 1 || !a->message_id.len || !a->provider.len || !a->src.len)
		return ERR_INVALID;
	if (a->job->rcpt_count > STORE_RCPT_MAX || a->src.len > (size_t)STORE_SRC_KEYS * STORE_SRC_CHUNK ||
	    a->message_id.len > JOB_MESSAGE_ID_MAX || a->provider.len > JOB_PROVIDER_MAX)
		return ERR_TOO_LARGE;
	if (s->read_only) return ERR_READ_ONLY;
	int rc = store_row(s, SQL_IDENT_GET, &st, "ss", a->job->tenant_id, a->message_id);
	if (rc < 0) return rc;
	if (rc == 0) return accept_new(s, a);
	a->id = sqlite3_column_int64(st, 0);
	const void *digest = sqlite3_column_blob(st, 1);
	bool same = sqlite3_column_bytes(st, 1) == DIGEST_SHA256_BYTES && digest &&
		    memcmp(digest, a->job->digest, DIGEST_SHA256_BYTES) == 0;
	bool gone = sqlite3_column_int64(st, 2) != 0;
	enum job_state state = (enum job_state)sqlite3_column_int(st, 3);
	store_end(st);
	return same ? accept_known(s, a, gone, state) : ERR_CONFLICT;
}

int store_op_accept(struct store *s, struct store_accept *first)
{
	int index = 0;

	for (struct store_accept *a = first; a; a = a->with, index++) {
		int rc = accept_one(s, a);

		a->op.rc = rc;
		if (rc < 0) {
			first->failed_index = index;
			return rc;
		}
	}
	return 0;
}

/* ---- claim ---- */

static int rcpts_settled(struct store *s, struct store_claimed *c)
{
	sqlite3_stmt *st;
	int rc = store_query(s, SQL_RCPT_SETTLED, &st, "i", STORE_RCPT_KEY(c->id, 0));

	while (rc >= 0 && (rc = store_step(s, st)) == 1) {
		unsigned n = (unsigned)sqlite3_column_int(st, 0);
		c->rcpt_done[n / 64] |= (uint64_t)1 << (n % 64);
	}
	return rc;
}

static int claimed_row(struct store *s, struct store_claimed *c, uint64_t *sum, struct store_try *row)
{
	sqlite3_stmt *st;
	int rc = store_row(s, SQL_CLAIM_JOB, &st, "i", c->id);

	if (rc != 1) return rc;
	c->retry_count = (unsigned)sqlite3_column_int(st, 0);
	c->created_ms = sqlite3_column_int64(st, 1);
	c->expires_ms = sqlite3_column_int64(st, 2);
	c->first_failure_ms = sqlite3_column_int64(st, 3);
	c->priority = (enum job_priority)sqlite3_column_int(st, 4);
	store_column(st, 5, c->message_id, sizeof c->message_id);
	c->src_len = (size_t)sqlite3_column_int64(st, 6);
	*sum = (uint64_t)sqlite3_column_int64(st, 7);
	*row = (struct store_try){.state = JOB_PENDING,
				  .rcpt_count = sqlite3_column_int64(st, 9),
				  .first_failure_ms = c->first_failure_ms,
				  .try_n = sqlite3_column_int64(st, 10),
				  .try_started_ms = sqlite3_column_int64(st, 11),
				  .settled = sqlite3_column_int64(st, 8)};
	store_end(st);
	return 1;
}

/* The original of c behind those of the jobs before. 1: all of it; 0: it is damaged, and the job failed for it. */
static int claim_src(struct store *s, struct store_claim *claim, struct store_claimed *c, uint64_t sum)
{
	char *src = claim->src + claim->src_used;
	size_t len;
	int rc = store_src_get(s, c->id, 0, src, c->src_len, &len);

	if (rc < 0) return rc;
	if (len == c->src_len && (store_sum(STORE_SUM_START, src, len) == sum ||
				  store_sum_old(STORE_SUM_START, src, len) == sum)) {
		memset(src + len, 0, STORE_SRC_PAD);
		claim->src_used += len + STORE_SRC_PAD;
		c->src = src;
		c->src_have = len;
		return 1;
	}
	if (len != c->src_len) return store_missing(s);
	log_error("store", "original damaged -> job failed", LOG_INT("id", c->id));
	rc = store_job_give_up(s, c->id, JOB_REASON_BAD, "the stored original is damaged",
			       (struct str){NULL, 0});
	return rc < 0 ? rc : 0;
}

/* 1: filled in; 0: not this one. *full: it does not fit; unless it is the first it was left. */
static int claim_one(struct store *s, int64_t id, struct store_claim *claim, struct store_claim_slot *slot,
		     bool *full)
{
	struct store_claimed *c = &claim->jobs[claim->count];
	uint64_t sum;

	c->id = id;
	c->src = NULL;
	c->src_have = 0;
	memset(c->rcpt_done, 0, sizeof c->rcpt_done);
	*slot = (struct store_claim_slot){.id = id, .known = true, .fresh = true};
	int rc = claimed_row(s, c, &sum, &slot->row);
	if (rc != 1) return rc;
	*full = c->src_len > SIZE_MAX / 2 || claim->src_cap - claim->src_used < c->src_len + STORE_SRC_PAD;
	if (*full && claim->count) return 0;
	if (slot->row.settled) rc = rcpts_settled(s, c);
	if (rc >= 0) rc = *full ? 1 : claim_src(s, claim, c, sum);
	return rc;
}

static struct store_floor *floor_of(struct store *s, struct str provider)
{
	for (size_t i = 0; i < STORE_HOLDS; i++) {
		if (str_eq(str_from(s->floors[i].provider), provider)) return &s->floors[i];
	}
	struct store_floor *f = &s->floors[s->floor_turn++ % STORE_HOLDS];
	memset(f, 0, sizeof *f);
	str_copy(f->provider, sizeof f->provider, provider);
	return f;
}

static int claim_priority(struct store *s, struct store_claim *c, enum job_priority p, int64_t now,
			  bool *full)
{
	int64_t *floor = &floor_of(s, c->provider)->due_ms[p];
	sqlite3_stmt *st;
	int rc = store_query(s, SQL_CLAIM, &st, "siii", c->provider, I64(p), now, *floor);

	while (rc >= 0 && !*full && c->count < c->cap && s->claims_used < STORE_CLAIMS &&
	       (rc = store_step(s, st)) == 1) {
		int64_t id = sqlite3_column_int64(st, 0);

		*floor = sqlite3_column_int64(st, 1);
		if (store_claim_find(s, id)) continue;
		rc = claim_one(s, id, c, &s->claims[s->claims_used], full);
		if (rc != 1) continue;
		s->claims_used++;
		c->count++;
	}
	store_end(st);
	return rc < 0 ? rc : 0;
}

int store_op_claim(struct store *s, struct store_claim *c)
{
	int64_t now = hal_clock_wall_ms(NULL), due;
	size_t used = s->claims_used;
	bool full = false;
	int rc = 0;

	c->count = c->src_used = 0;
	c->next_due_ms = 0;
	if (!store_space_can_finish(s)) return ERR_NO_SPACE;
	for (int p = 0; rc >= 0 && !full && p < JOB_PRIORITY_COUNT && c->count < c->cap; p++)
		rc = claim_priority(s, c, (enum job_priority)p, now, &full);
	if (rc < 0) {
		/* All or none. */
		while (s->claims_used > used)
			store_claim_free(s, &s->claims[s->claims_used - 1]);
		return rc;
	}
	for (int p = 0; p < JOB_PRIORITY_COUNT && c->count == 0; p++) {
		rc = store_number(s, SQL_CLAIM_NEXT, &due, "sii", c->provider, I64(p), now);
		if (rc < 0) return rc;
		if (rc == 1 && (c->next_due_ms == 0 || due < c->next_due_ms)) c->next_due_ms = due;
	}
	return 0;
}

int store_op_release(struct store *s, struct store_release *r)
{
	struct store_claim_slot *c = store_claim_find(s, r->id);

	if (c) store_claim_free(s, c);
	return 0;
}

int store_op_src_read(struct store *s, struct store_src_read *r)
{
	int64_t there;
	int rc = store_src_get(s, r->id, r->at, r->bytes, r->cap, &r->len);

	if (rc < 0 || r->len || r->at) return rc;
	rc = store_number(s, SQL_SRC_LEN, &there, "i", r->id);
	return rc == 0 ? ERR_NOT_FOUND : rc < 0 ? rc : there ? store_missing(s) : 0;
}
