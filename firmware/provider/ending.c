/* The end of an attempt: what the store, the client, the log and the breaker are told. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_link.h"
#include "log/log.h"
#include "provider/pool.h"

bool attempt_is_done(const struct attempt *a, size_t i)
{
	return (a->claimed->rcpt_done[i / 64] >> (i % 64) & 1) != 0;
}

/* ---- what came back ---- */

/* "550 5.1.1 User unknown", or our own sentence. */
static void verdict_text(struct buf *b, const struct smtp_verdict *v)
{
	const struct smtp_reply *r = &v->reply;

	if (r->code) buf_printf(b, "%d ", r->code);
	if (r->enhanced[0]) buf_printf(b, "%s ", r->enhanced);
	buf_puts(b, r->text[0] || v->err == 0 ? r->text : err_text(v->err));
}

/* A copy in the finish, shared with the recipient before when it is the same. NULL when there is no more
 * room. */
static const char *text_keep(struct attempt_memory *m, const struct smtp_verdict *v, const char *last)
{
	char text[SMTP_TEXT_MAX + SMTP_ENHANCED_MAX + 8];
	struct buf b;
	char *kept;

	buf_init(&b, text, sizeof text);
	verdict_text(&b, v);
	if (last && strcmp(last, text) == 0) return last;
	if (b.len + 1 > m->texts_cap - m->texts_used) return NULL;
	kept = m->texts + m->texts_used;
	memcpy(kept, text, b.len + 1);
	m->texts_used += b.len + 1;
	return kept;
}

static bool link_is_up(void)
{
	struct hal_link_state link;

	hal_link_get(&link);
	return link.up;
}

/* Each recipient's state for the store, and all of them counted. */
static void tally(struct attempt *a, struct outcome_tally *t, enum retry_hold hold, bool link_up)
{
	const struct smtp_mail *e = &a->envelope;
	const char *last = NULL;

	*t = (struct outcome_tally){.sent = 0};
	for (size_t i = 0; i < e->rcpt_count; i++) {
		const struct smtp_verdict *v = &e->rcpts[i].verdict;
		struct store_rcpt_outcome *o = &a->memory->outcomes[i];
		enum outcome_fault fault;

		*o = (struct store_rcpt_outcome){.state = STORE_RCPT_WAITING};
		if (attempt_is_done(a, i)) {
			o->state = a->before[i];
			t->sent += a->before[i] == STORE_RCPT_SENT;
			t->failed += a->before[i] == STORE_RCPT_FAILED;
			continue;
		}
		fault = outcome_fault(v->class, v->err, hold, link_up);
		outcome_count(t, fault);
		o->code = v->reply.code;
		o->text = last = text_keep(a->memory, v, last);
		if (fault == OUTCOME_SENT) o->state = STORE_RCPT_SENT;
		if (fault == OUTCOME_FAIL) o->state = STORE_RCPT_FAILED;
	}
	/* Not even its recipients could be read. */
	if (e->rcpt_count == 0)
		outcome_count(t, outcome_fault(e->verdict.class, e->verdict.err, hold, link_up));
}

/* The verdict that people are shown: of the worst recipient, or of the last acceptance. *at: the
 * recipient. */
static const struct smtp_verdict *worst(const struct attempt *a, size_t *at)
{
	const struct smtp_verdict *v = &a->envelope.verdict;
	bool waiting = false;

	*at = SIZE_MAX;
	for (size_t i = 0; i < a->envelope.rcpt_count; i++) {
		if (attempt_is_done(a, i) || a->memory->outcomes[i].state == STORE_RCPT_SENT) continue;
		if (a->memory->outcomes[i].state == STORE_RCPT_FAILED) {
			*at = i;
			return &a->envelope.rcpts[i].verdict;
		}
		if (!waiting) {
			waiting = true;
			*at = i;
			v = &a->envelope.rcpts[i].verdict;
		}
	}
	return v;
}

/* The job ends as failed although all went well this time: what people need to know is who was refused before. */
static void add_refused_before(const struct attempt *a, struct buf *b)
{
	for (size_t i = 0; i < a->envelope.rcpt_count; i++) {
		if (!attempt_is_done(a, i) || a->before[i] != STORE_RCPT_FAILED) continue;
		buf_escaped(b, a->envelope.rcpts[i].addr, 200);
		buf_puts(b, ": refused in an earlier attempt; this time: ");
		return;
	}
}

static void fill_texts(struct attempt *a, enum job_result_kind kind, bool uncertain)
{
	struct attempt_memory *m = a->memory;
	const struct smtp_verdict *v;
	struct smtp_verdict sent = {.class = SMTP_SENT};
	struct buf b;
	size_t at;

	v = worst(a, &at);
	if (kind == JOB_RESULT_SENT && a->sent_reply.text[0]) {
		sent.reply = a->sent_reply;
		v = &sent;
	}
	buf_init(&b, m->text, sizeof m->text);
	if (at != SIZE_MAX && a->envelope.rcpt_count > 1) {
		buf_escaped(&b, a->envelope.rcpts[at].addr, 200);
		buf_puts(&b, ": ");
	}
	if (at == SIZE_MAX && kind == JOB_RESULT_FAILED) add_refused_before(a, &b);
	verdict_text(&b, v);
	if (uncertain) buf_puts(&b, " (behind the end of the mail: it may have arrived)");
	a->op.text = m->text;
	a->op.code = v->reply.code;
	a->op.host = m->host[0] ? m->host : NULL;
	if (a->sent_reply.text[0]) {
		struct str id = smtp_queue_id(&a->sent_reply);

		buf_init(&b, m->provider_message_id, sizeof m->provider_message_id);
		buf_str(&b, id);
		a->op.provider_message_id = m->provider_message_id;
	}
}

static enum job_result_kind rcpt_kind(enum store_rcpt_state state)
{
	switch (state) {
	case STORE_RCPT_SENT: return JOB_RESULT_SENT;
	case STORE_RCPT_FAILED: return JOB_RESULT_FAILED;
	case STORE_RCPT_WAITING: return JOB_RESULT_HELD;
	}
	return JOB_RESULT_HELD;
}

static void fill_event(struct attempt *a, const struct outcome *o, unsigned max_retries)
{
	const struct attempt_memory *m = a->memory;
	struct job_result r = {
		.kind = o->kind,
		.message_id = str_from(a->claimed->message_id),
		.provider_name = str_from(a->worker->provider->spec.display_name),
		.provider_message_id = str_from(a->op.provider_message_id ? a->op.provider_message_id : ""),
		.sent_at_ms = a->op.ended_ms,
		.error = str_from(m->text),
		.retry_count = o->retries_made,
		.max_retries = max_retries,
		.next_retry_at_ms = o->due_ms,
		.rcpts = a->worker->results,
		.rcpt_count = a->envelope.rcpt_count,
	};
	struct buf b;

	for (size_t i = 0; i < a->envelope.rcpt_count; i++)
		a->worker->results[i] = (struct job_result_rcpt){
			.kind = rcpt_kind(m->outcomes[i].state),
			.address = a->envelope.rcpts[i].addr,
			.text = m->outcomes[i].text ? str_from(m->outcomes[i].text) : (struct str){"", 0},
		};
	buf_init(&b, m->event, m->event_cap);
	job_result_json(&b, &r);
	a->op.event = buf_view(&b);
}

static void fill(struct attempt *a, const struct outcome *o, const struct outcome_tally *t,
		 unsigned max_retries)
{
	struct attempt_memory *m = a->memory;

	a->op.id = a->claimed->id;
	a->op.state = o->state;
	a->op.reason = o->reason;
	a->op.counted = o->counted;
	a->op.publish = o->publish;
	a->op.retry_count = o->retry_count;
	a->op.due_ms = o->due_ms;
	if (o->fail_waiting)
		for (size_t i = 0; i < a->envelope.rcpt_count; i++)
			if (m->outcomes[i].state == STORE_RCPT_WAITING)
				m->outcomes[i].state = STORE_RCPT_FAILED;
	if (t->changed || o->fail_waiting || o->counted) {
		a->op.rcpts = a->envelope.rcpt_count > 0 ? m->outcomes : NULL;
		a->op.rcpt_count = a->envelope.rcpt_count;
	}
	a->op.ended_ms = hal_clock_wall_ms(NULL);
	fill_texts(a, o->kind, t->uncertain);
	a->op.log = (struct str){m->log, m->log_len};
	if (o->publish) fill_event(a, o, max_retries);
}

/* ---- what it says about the provider ---- */

static bool was_told(struct provider *p, int64_t id)
{
	for (unsigned i = 0; i < p->told_count && i < POOL_TOLD; i++)
		if (p->told[i] == id) return true;
	p->told[p->told_count++ % POOL_TOLD] = id;
	return false;
}

static void log_breaker(const struct worker *w, enum breaker_event event, const char *reason)
{
	const char *name = w->provider->spec.name;

	if (event == BREAKER_OK)
		log_info("provider", "takes mail again -> sending what waited", LOG_TEXT("provider", name));
	else if (event == BREAKER_AUTH)
		log_error("provider", "authentication refused -> holding its mail",
			  LOG_TEXT("provider", name), LOG_TEXT("reason", reason));
	else
		log_warn("provider", "does not take mail -> holding its mail", LOG_TEXT("provider", name),
			 LOG_TEXT("reason", reason));
}

/* Under the lock. Feeds the breaker; *hold_ms is how long it stays open. */
static void feed(struct worker *w, enum breaker_event event, const char *reason, int64_t *hold_ms)
{
	struct provider *p = w->provider;
	int64_t now_ms = hal_clock_mono_ms();
	int64_t wall_ms = hal_clock_wall_ms(NULL);
	bool bad = event == BREAKER_DOWN || event == BREAKER_AUTH;
	bool turned = breaker_end(&p->breaker, w->probe, event, now_ms, bad ? pool_random() : 0);
	int64_t wait;

	w->probe = false;
	if (bad) {
		snprintf(p->status.reason, sizeof p->status.reason, "%s", reason);
		p->show_down = true;
	}
	if (event == BREAKER_OK) p->told_count = 0;
	if (turned && event == BREAKER_OK) {
		p->status.held_since_ms = 0;
		p->show_down = false;
		p->show_up = true;
	} else if (turned) {
		p->status.held_since_ms = wall_ms;
	}
	if (turned) log_breaker(w, event, reason);
	wait = breaker_wait_ms(&p->breaker, now_ms);
	*hold_ms = wait == HAL_FOREVER ? BREAKER_PROBE_MS_FIRST : wait;
}

static void count(const struct attempt *a, const struct outcome *o, const struct outcome_tally *t)
{
	struct provider_status *s = &a->worker->provider->status;

	for (size_t i = 0; i < a->envelope.rcpt_count; i++) {
		if (attempt_is_done(a, i)) continue;
		s->rcpts_sent += a->memory->outcomes[i].state == STORE_RCPT_SENT;
		s->rcpts_failed += a->memory->outcomes[i].state == STORE_RCPT_FAILED;
	}
	s->reused += a->reused;
	s->uncertain += t->uncertain;
	s->sent += o->state == JOB_COMPLETED;
	s->failed += o->state == JOB_FAILED;
	s->retried += o->state == JOB_PENDING && o->counted;
	s->held += o->state == JOB_PENDING && o->reason == JOB_REASON_HELD;
	if (o->state == JOB_COMPLETED)
		s->last_success_ms = a->op.ended_ms;
	else if (!o->shared)
		s->last_failure_ms = a->op.ended_ms;
}

static void log_end(const struct attempt *a, const struct outcome *o)
{
	const struct attempt_memory *m = a->memory;
	struct str id = str_from(a->claimed->message_id);
	const char *name = a->worker->provider->spec.name;

	if (o->state == JOB_COMPLETED)
		log_info("provider", "sent", LOG_STR("message_id", id), LOG_TEXT("provider", name),
			 LOG_TEXT("host", m->host), LOG_TEXT("reply", m->text));
	else if (o->state == JOB_FAILED)
		log_warn("provider", "failed -> given up", LOG_STR("message_id", id),
			 LOG_TEXT("provider", name), LOG_TEXT("host", m->host), LOG_TEXT("reply", m->text),
			 LOG_INT("retries", o->retries_made));
	else if (o->shared)
		log_debug("provider", "sent in part -> the other recipients at once",
			  LOG_STR("message_id", id), LOG_TEXT("provider", name), LOG_TEXT("reason", m->text));
	else if (o->reason == JOB_REASON_HELD && !o->publish)
		log_debug("provider", "still held -> waits", LOG_STR("message_id", id),
			  LOG_TEXT("provider", name), LOG_TEXT("reason", m->text));
	else if (o->reason == JOB_REASON_HELD)
		log_info("provider", "held -> waits", LOG_STR("message_id", id), LOG_TEXT("provider", name),
			 LOG_TEXT("reason", m->text));
	else
		log_info("provider", "failed -> tried again", LOG_STR("message_id", id),
			 LOG_TEXT("provider", name), LOG_TEXT("host", m->host), LOG_TEXT("reply", m->text),
			 LOG_INT("retries", o->retries_made), LOG_MS("in", o->due_ms - a->op.ended_ms));
}

bool ending_make(struct attempt *a)
{
	const struct smtp_verdict *v = &a->envelope.verdict;
	struct worker *w = a->worker;
	struct provider_pool *pool = w->pool;
	struct retry_policy policy;
	struct outcome_in in = {.policy = &policy, .bad = a->bad, .retry_count = a->claimed->retry_count};
	enum outcome_fault fault;
	struct outcome o;
	char reason[SMTP_TEXT_MAX + 32];
	struct buf b;
	bool link_up = link_is_up();

	hal_mutex_lock(&pool->lock);
	policy = pool->policy;
	hal_mutex_unlock(&pool->lock);
	buf_init(&b, reason, sizeof reason);
	verdict_text(&b, v);
	tally(a, &in.tally, policy.hold, link_up);
	fault = outcome_fault(v->class, v->err, policy.hold, link_up);
	in.now_ms = hal_clock_wall_ms(NULL);
	if (in.tally.waiting > 0) in.random = pool_random();
	hal_mutex_lock(&pool->lock);
	if (v->err == ERR_TIMEOUT) w->provider->suspect = true;
	if (fault == OUTCOME_SENT) w->provider->suspect = false;
	feed(w, outcome_breaker(fault, v->reply.code), reason, &in.hold_ms);
	if (in.tally.waiting > 0 && !in.tally.counts && !in.tally.stopped && !in.tally.again)
		in.told = was_told(w->provider, a->claimed->id);
	hal_mutex_unlock(&pool->lock);
	outcome_decide(&in, &o);
	if (o.release) return false;
	fill(a, &o, &in.tally, policy.max);
	hal_mutex_lock(&pool->lock);
	count(a, &o, &in.tally);
	hal_mutex_unlock(&pool->lock);
	log_end(a, &o);
	return true;
}
