/* The end of an attempt: what the store, the client, the log and the breaker are told. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_link.h"
#include "log/log.h"
#include "provider/pool.h"

bool worker_is_done(const struct worker *w, size_t i)
{
	return (w->claimed.rcpt_done[i / 64] >> (i % 64) & 1) != 0;
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
static const char *text_keep(struct finish *f, const struct smtp_verdict *v, const char *last)
{
	char text[SMTP_TEXT_MAX + SMTP_ENHANCED_MAX + 8];
	struct buf b;
	char *kept;

	buf_init(&b, text, sizeof text);
	verdict_text(&b, v);
	if (last && strcmp(last, text) == 0) return last;
	if (b.len + 1 > sizeof f->texts - f->texts_used) return NULL;
	kept = f->texts + f->texts_used;
	memcpy(kept, text, b.len + 1);
	f->texts_used += b.len + 1;
	return kept;
}

static bool link_is_up(void)
{
	struct hal_link_state link;

	hal_link_get(&link);
	return link.up;
}

/* Each recipient's state for the store, and all of them counted. */
static void tally(struct worker *w, struct finish *f, struct outcome_tally *t, bool link_up)
{
	const char *last = NULL;

	*t = (struct outcome_tally){.sent = 0};
	for (size_t i = 0; i < w->job.rcpt_count; i++) {
		const struct smtp_verdict *v = &w->rcpts[i].verdict;
		struct store_rcpt_outcome *o = &f->rcpts[i];
		enum outcome_fault fault;

		*o = (struct store_rcpt_outcome){.state = STORE_RCPT_WAITING};
		if (worker_is_done(w, i)) {
			o->state = w->before[i];
			t->sent += w->before[i] == STORE_RCPT_SENT;
			t->failed += w->before[i] == STORE_RCPT_FAILED;
			continue;
		}
		fault = outcome_fault(v->class, v->err, w->pool->policy.hold, link_up);
		outcome_count(t, fault);
		o->code = v->reply.code;
		o->text = last = text_keep(f, v, last);
		if (fault == OUTCOME_SENT) o->state = STORE_RCPT_SENT;
		if (fault == OUTCOME_FAIL) o->state = STORE_RCPT_FAILED;
	}
	/* Not even its recipients could be read. */
	if (w->job.rcpt_count == 0)
		outcome_count(t, outcome_fault(w->envelope.verdict.class, w->envelope.verdict.err,
					       w->pool->policy.hold, link_up));
}

/* The verdict that people are shown: of the worst recipient, or of the last acceptance. *at: the
 * recipient. */
static const struct smtp_verdict *worst(const struct worker *w, const struct finish *f, size_t *at)
{
	const struct smtp_verdict *v = &w->envelope.verdict;
	bool waiting = false;

	*at = SIZE_MAX;
	for (size_t i = 0; i < w->job.rcpt_count; i++) {
		if (worker_is_done(w, i) || f->rcpts[i].state == STORE_RCPT_SENT) continue;
		if (f->rcpts[i].state == STORE_RCPT_FAILED) {
			*at = i;
			return &w->rcpts[i].verdict;
		}
		if (!waiting) {
			waiting = true;
			*at = i;
			v = &w->rcpts[i].verdict;
		}
	}
	return v;
}

/* The job ends as failed although all went well this time: what people need to know is who was refused before. */
static void add_refused_before(const struct worker *w, struct buf *b)
{
	for (size_t i = 0; i < w->job.rcpt_count; i++) {
		if (!worker_is_done(w, i) || w->before[i] != STORE_RCPT_FAILED) continue;
		buf_escaped(b, w->job.rcpts[i].address.addr, 200);
		buf_puts(b, ": refused in an earlier attempt; this time: ");
		return;
	}
}

static void fill_texts(struct worker *w, struct finish *f, enum job_result_kind kind)
{
	const struct smtp_verdict *v;
	struct smtp_verdict sent = {.class = SMTP_SENT};
	struct buf b;
	size_t at;

	v = worst(w, f, &at);
	if (kind == JOB_RESULT_SENT && w->sent_reply.text[0]) {
		sent.reply = w->sent_reply;
		v = &sent;
	}
	buf_init(&b, f->text, sizeof f->text);
	if (at != SIZE_MAX && w->job.rcpt_count > 1) {
		buf_escaped(&b, w->job.rcpts[at].address.addr, 200);
		buf_puts(&b, ": ");
	}
	if (at == SIZE_MAX && kind == JOB_RESULT_FAILED) add_refused_before(w, &b);
	verdict_text(&b, v);
	f->op.text = f->text;
	f->op.code = v->reply.code;
	snprintf(f->host, sizeof f->host, "%.127s", w->host);
	f->op.host = f->host[0] ? f->host : NULL;
	if (w->sent_reply.text[0]) {
		struct str id = smtp_queue_id(&w->sent_reply);

		buf_init(&b, f->provider_message_id, sizeof f->provider_message_id);
		buf_str(&b, id);
		f->op.provider_message_id = f->provider_message_id;
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

static void fill_event(struct worker *w, struct finish *f, const struct outcome *o)
{
	struct job_result r = {
		.kind = o->kind,
		.message_id = str_from(w->claimed.message_id),
		.provider_name = str_from(w->provider->spec.display_name),
		.provider_message_id = str_from(f->op.provider_message_id ? f->op.provider_message_id : ""),
		.sent_at_ms = f->op.ended_ms,
		.error = str_from(f->text),
		.retry_count = o->retries_made,
		.max_retries = w->pool->policy.max,
		.next_retry_at_ms = o->due_ms,
		.rcpts = w->results,
		.rcpt_count = w->job.rcpt_count,
	};
	struct buf b;

	for (size_t i = 0; i < w->job.rcpt_count; i++)
		w->results[i] = (struct job_result_rcpt){
			.kind = rcpt_kind(f->rcpts[i].state),
			.address = w->job.rcpts[i].address.addr,
			.text = f->rcpts[i].text ? str_from(f->rcpts[i].text) : (struct str){"", 0},
		};
	buf_init(&b, f->event, sizeof f->event);
	job_result_json(&b, &r);
	f->op.event = buf_view(&b);
}

static void fill(struct worker *w, struct finish *f, const struct outcome *o, const struct outcome_tally *t)
{
	f->op.id = w->claimed.id;
	f->op.state = o->state;
	f->op.reason = o->reason;
	f->op.counted = o->counted;
	f->op.publish = o->publish;
	f->op.retry_count = o->retry_count;
	f->op.due_ms = o->due_ms;
	if (o->fail_waiting)
		for (size_t i = 0; i < w->job.rcpt_count; i++)
			if (f->rcpts[i].state == STORE_RCPT_WAITING) f->rcpts[i].state = STORE_RCPT_FAILED;
	if (t->changed || o->fail_waiting || o->counted) {
		f->op.rcpts = w->job.rcpt_count > 0 ? f->rcpts : NULL;
		f->op.rcpt_count = w->job.rcpt_count;
	}
	f->op.ended_ms = hal_clock_wall_ms(NULL);
	fill_texts(w, f, o->kind);
	if (o->publish) fill_event(w, f, o);
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
	bool turned = breaker_end(&p->breaker, w->probe, event, now_ms, pool_random());
	int64_t wait;

	w->probe = false;
	if (event == BREAKER_DOWN || event == BREAKER_AUTH) {
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

static void count(struct worker *w, const struct finish *f, const struct outcome *o,
		  const struct outcome_tally *t)
{
	struct provider_status *s = &w->provider->status;

	for (size_t i = 0; i < w->job.rcpt_count; i++) {
		if (worker_is_done(w, i)) continue;
		s->rcpts_sent += f->rcpts[i].state == STORE_RCPT_SENT;
		s->rcpts_failed += f->rcpts[i].state == STORE_RCPT_FAILED;
	}
	s->reused += w->reused;
	s->uncertain += t->uncertain;
	s->sent += o->state == JOB_COMPLETED;
	s->failed += o->state == JOB_FAILED;
	s->retried += o->state == JOB_PENDING && o->counted;
	s->held += o->state == JOB_PENDING && o->reason == JOB_REASON_HELD;
	if (o->state == JOB_COMPLETED)
		s->last_success_ms = f->op.ended_ms;
	else
		s->last_failure_ms = f->op.ended_ms;
}

static void log_end(const struct worker *w, const struct finish *f, const struct outcome *o)
{
	struct str id = str_from(w->claimed.message_id);
	const char *name = w->provider->spec.name;

	if (o->state == JOB_COMPLETED)
		log_info("provider", "sent", LOG_STR("message_id", id), LOG_TEXT("provider", name),
			 LOG_TEXT("host", f->host), LOG_TEXT("reply", f->text));
	else if (o->state == JOB_FAILED)
		log_warn("provider", "failed -> given up", LOG_STR("message_id", id),
			 LOG_TEXT("provider", name), LOG_TEXT("host", f->host), LOG_TEXT("reply", f->text),
			 LOG_INT("retries", o->retries_made));
	else if (o->reason == JOB_REASON_HELD && !o->publish)
		log_debug("provider", "still held -> waits", LOG_STR("message_id", id),
			  LOG_TEXT("provider", name), LOG_TEXT("reason", f->text));
	else if (o->reason == JOB_REASON_HELD)
		log_info("provider", "held -> waits", LOG_STR("message_id", id), LOG_TEXT("provider", name),
			 LOG_TEXT("reason", f->text));
	else
		log_info("provider", "failed -> tried again", LOG_STR("message_id", id),
			 LOG_TEXT("provider", name), LOG_TEXT("host", f->host), LOG_TEXT("reply", f->text),
			 LOG_INT("retries", o->retries_made), LOG_MS("in", o->due_ms - f->op.ended_ms));
}

bool ending_make(struct worker *w, struct finish *f)
{
	const struct smtp_verdict *v = &w->envelope.verdict;
	struct provider_pool *pool = w->pool;
	struct outcome_in in = {.policy = &pool->policy, .bad = w->bad};
	enum outcome_fault fault;
	struct outcome o;
	char reason[SMTP_TEXT_MAX + 32];
	struct buf b;
	bool link_up = link_is_up();

	buf_init(&b, reason, sizeof reason);
	verdict_text(&b, v);
	hal_mutex_lock(&pool->lock);
	tally(w, f, &in.tally, link_up);
	fault = outcome_fault(v->class, v->err, pool->policy.hold, link_up);
	feed(w, outcome_breaker(fault, v->reply.code), reason, &in.hold_ms);
	in.retry_count = w->claimed.retry_count;
	in.now_ms = hal_clock_wall_ms(NULL);
	in.random = pool_random();
	if (in.tally.waiting > 0 && !in.tally.counts && !in.tally.stopped)
		in.told = was_told(w->provider, w->claimed.id);
	outcome_decide(&in, &o);
	if (!o.release) {
		fill(w, f, &o, &in.tally);
		count(w, f, &o, &in.tally);
	}
	hal_mutex_unlock(&pool->lock);
	if (!o.release) log_end(w, f, &o);
	return !o.release;
}
