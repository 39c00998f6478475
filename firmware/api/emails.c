/* /api/emails and /api/results: jobs in, jobs shown, jobs requeued and cancelled. */
#include <stdio.h>
#include <string.h>

#include "api/routes.h"
#include "base/err.h"
#include "base/json.h"
#include "queue/queue.h"

#define LIST_LIMIT_DEFAULT 50
#define LIST_LIMIT_MAX     1000
/* Of a longer answer's end: room for one more entry and what closes it. An entry's texts may grow by
 * escaping, so that this is a likely size and not a sure one: what does not fit marks the reply as cut, and
 * more memory is asked for. */
#define REPLY_SPARE 4096

static bool reply_is_nearly_full(const struct api_request *r)
{
	return r->reply.cut || r->reply.cap - r->reply.len < REPLY_SPARE;
}

/* A refusal that names the job of the path. in_state: what would have to be. */
static int refuse_id(struct api_request *r, int err, const char *in_state)
{
	char text[160];

	if (err != ERR_NOT_FOUND && err != ERR_STATE) return api_refuse_err(r, err);
	snprintf(text, sizeof(text), "job %lld: %s", (long long)api_path_id(r),
		 err == ERR_NOT_FOUND ? err_text(err) : in_state);
	return api_refuse(r, err == ERR_NOT_FOUND ? 404 : 409, text);
}

/* ---- a job as JSON ---- */

static void put_job(struct buf *b, const struct store_job *j)
{
	api_put_int(b, "id", j->id);
	api_put_str(b, "message_id", str_from(j->message_id));
	api_put_str(b, "tenant_id", str_from(j->tenant_id));
	api_put_text(b, "state", job_state_name(j->state));
	api_put_text(b, "reason", job_reason_name(j->reason));
	api_put_str(b, "subject", str_from(j->subject));
	api_put_str(b, "to", str_from(j->to));
	api_put_int(b, "recipient_count", j->rcpt_count);
	api_put_time(b, "created_at", j->created_ms);
	api_put_time(b, "updated_at", j->updated_ms);
	api_put_time(b, "due_at", j->state == JOB_PENDING ? j->due_ms : 0);
	api_put_time(b, "expires_at", j->expires_ms);
	api_put_text(b, "error", j->error);
	api_put_int(b, "retry_count", j->retry_count);
	api_put_str(b, "provider", str_from(j->provider));
	api_put_text(b, "provider_message_id", j->provider_message_id);
	api_put_text(b, "priority", job_priority_name(j->priority));
	api_put_int(b, "size", (int64_t)j->src_len);
	api_put_text(b, "user_id", j->user_id);
	api_put_text(b, "template_id", j->template_id);
	api_put_text(b, "campaign_id", j->campaign_id);
	api_put_text(b, "email_type", j->email_type);
	api_put_text(b, "source_app", j->source_app);
	api_put_text(b, "related_model_id", j->related_model_id);
}

/* ---- GET /api/emails ---- */

#define LIST_PAGE 4

struct listing {
	struct store_job_list list;
	struct store_job jobs[LIST_PAGE];
	uint64_t left; /* of the limit */
};

static int list_end(struct api_request *r, int64_t next)
{
	api_put_close(&r->reply, ']');
	if (next > 0)
		api_put_int(&r->reply, "next", next);
	else
		api_put_raw(&r->reply, "next", STR("null"));
	api_put_close(&r->reply, '}');
	return API_DONE;
}

static int list_answered(struct api_request *r)
{
	struct listing *l = r->state;

	if (l->list.op.rc < 0) return api_refuse_err(r, l->list.op.rc);
	for (size_t i = 0; i < l->list.count; i++) {
		if (reply_is_nearly_full(r)) return r->large ? list_end(r, l->list.cursor) : API_MORE_MEMORY;
		api_put_open(&r->reply, NULL, '{');
		put_job(&r->reply, &l->jobs[i]);
		api_put_close(&r->reply, '}');
		l->list.cursor = l->jobs[i].id;
	}
	l->left -= l->list.count;
	if (!l->list.more || l->left == 0) return list_end(r, l->list.more ? l->list.cursor : 0);
	l->list.cap = l->left < LIST_PAGE ? (size_t)l->left : LIST_PAGE;
	return api_store(r, &l->list.op, list_answered);
}

static int list_filters(struct api_request *r, struct store_job_list *list, uint64_t *limit)
{
	static const char *const names[] = {"state",
					    "tenant_id",
					    "to",
					    "q",
					    "limit",
					    "cursor",
					    "provider",
					    "user_id",
					    "template_id",
					    "campaign_id",
					    "email_type",
					    "source_app",
					    "related_model_id",
					    NULL};
	struct str *const exact[] = {&list->provider,        &list->user_id,    &list->template_id,
				     &list->campaign_id,     &list->email_type, &list->source_app,
				     &list->related_model_id};
	struct str state;
	uint64_t cursor = 0;

	if (api_query_check(r, names) < 0) return -1;
	state = api_query_get(r, "state");
	if (state.len > 0) {
		if (job_state_parse(state, &list->state) < 0) {
			api_refuse(r, 400, "state is one of pending, processing, completed, failed");
			return -1;
		}
		list->by_state = true;
	}
	list->tenant_id = api_query_get(r, "tenant_id");
	list->to = api_query_get(r, "to");
	list->q = api_query_get(r, "q");
	for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
		*exact[i] = api_query_get(r, names[6 + i]);
	if (api_query_number(r, "cursor", INT64_MAX, &cursor) < 0 ||
	    api_query_number(r, "limit", LIST_LIMIT_MAX, limit) < 0)
		return -1;
	list->cursor = (int64_t)cursor;
	return 0;
}

int api_emails_list(struct api_request *r)
{
	struct listing *l = api_take(r, sizeof(*l));

	if (!l) return api_no_memory(r);
	store_job_list_init(&l->list);
	l->left = LIST_LIMIT_DEFAULT;
	if (list_filters(r, &l->list, &l->left) < 0) return API_DONE;
	if (l->left == 0) return api_refuse(r, 400, "limit is at least 1");
	l->list.jobs = l->jobs;
	l->list.cap = l->left < LIST_PAGE ? (size_t)l->left : LIST_PAGE;
	r->state = l;
	api_reply_begin(r, 200);
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", true);
	api_put_open(&r->reply, "items", '[');
	return api_store(r, &l->list.op, list_answered);
}

/* ---- GET /api/emails/{id} ---- */

#define SHOW_PAGE     8
#define SHOW_ATTEMPTS 3

struct showing {
	struct store_job_get get;
	struct store_rcpt_list rcpts;
	struct store_rcpt rcpt[SHOW_PAGE];
	struct store_attempt_list attempts;
	struct store_attempt attempt[SHOW_ATTEMPTS];
};

static int show_attempts(struct api_request *r)
{
	struct showing *s = r->state;
	struct buf *b = &r->reply;

	if (s->attempts.op.rc < 0) return api_refuse_err(r, s->attempts.op.rc);
	for (size_t i = 0; i < s->attempts.count; i++) {
		const struct store_attempt *a = &s->attempt[i];

		api_put_open(b, NULL, '{');
		api_put_int(b, "n", a->n);
		api_put_time(b, "started_at", a->started_ms);
		api_put_time(b, "ended_at", a->ended_ms);
		api_put_text(b, "host", a->host);
		api_put_int(b, "code", a->code);
		api_put_text(b, "text", a->text);
		api_put_bool(b, "counted", a->counted);
		api_put_time(b, "next_try_at", a->next_ms);
		api_put_text(b, "transcript", a->log);
		api_put_close(b, '}');
		s->attempts.after = a->n;
	}
	if (s->attempts.count == s->attempts.cap) {
		if (!reply_is_nearly_full(r)) return api_store(r, &s->attempts.op, show_attempts);
		if (!r->large) return API_MORE_MEMORY;
	}
	api_put_close(b, ']');
	api_put_close(b, '}');
	return API_DONE;
}

static const char *rcpt_state_name(enum store_rcpt_state s)
{
	static const char *const names[] = {"waiting", "sent", "failed"};

	return names[s];
}

static const char *rcpt_kind_name(enum job_rcpt_kind k)
{
	static const char *const names[] = {"to", "cc", "bcc"};

	return names[k];
}

static int show_rcpts(struct api_request *r)
{
	struct showing *s = r->state;
	struct buf *b = &r->reply;

	if (s->rcpts.op.rc < 0) return api_refuse_err(r, s->rcpts.op.rc);
	for (size_t i = 0; i < s->rcpts.count; i++) {
		const struct store_rcpt *p = &s->rcpt[i];

		api_put_open(b, NULL, '{');
		api_put_str(b, "address", str_from(p->address));
		api_put_text(b, "kind", rcpt_kind_name(p->kind));
		api_put_text(b, "state", rcpt_state_name(p->state));
		api_put_int(b, "code", p->code);
		api_put_text(b, "text", p->text);
		api_put_close(b, '}');
		s->rcpts.from = p->n + 1;
	}
	if (s->rcpts.count == s->rcpts.cap) return api_store(r, &s->rcpts.op, show_rcpts);
	api_put_close(b, ']');
	api_put_open(b, "attempts", '[');
	return api_store(r, &s->attempts.op, show_attempts);
}

static int show_job(struct api_request *r)
{
	struct showing *s = r->state;

	if (s->get.op.rc < 0) return refuse_id(r, s->get.op.rc, "");
	api_reply_begin(r, 200);
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", true);
	put_job(&r->reply, &s->get.job);
	api_put_open(&r->reply, "recipients", '[');
	return api_store(r, &s->rcpts.op, show_rcpts);
}

int api_emails_show(struct api_request *r)
{
	static const char *const names[] = {NULL};
	struct showing *s = api_take(r, sizeof(*s));

	if (!s) return api_no_memory(r);
	if (api_query_check(r, names) < 0) return API_DONE;
	if (api_path_id(r) == 0) return refuse_id(r, ERR_NOT_FOUND, "");
	store_job_get_init(&s->get);
	store_rcpt_list_init(&s->rcpts);
	store_attempt_list_init(&s->attempts);
	s->get.id = s->rcpts.id = s->attempts.id = api_path_id(r);
	s->rcpts.rcpts = s->rcpt;
	s->attempts.attempts = s->attempt;
	s->rcpts.cap = SHOW_PAGE;
	s->attempts.cap = SHOW_ATTEMPTS;
	r->state = s;
	return api_store(r, &s->get.op, show_job);
}

/* ---- requeue and cancel ---- */

static int changed(struct api_request *r, enum job_state state)
{
	api_reply_begin(r, 200);
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", true);
	api_put_int(&r->reply, "id", api_path_id(r));
	api_put_text(&r->reply, "status", job_state_name(state));
	api_put_close(&r->reply, '}');
	return API_DONE;
}

static int requeue_answered(struct api_request *r)
{
	struct store_requeue *q = r->state;

	return q->op.rc < 0 ? refuse_id(r, q->op.rc, "only a failed one can be queued again")
			    : changed(r, JOB_PENDING);
}

int api_emails_requeue(struct api_request *r)
{
	struct store_requeue *q = api_take(r, sizeof(*q));

	if (!q) return api_no_memory(r);
	if (api_path_id(r) == 0) return refuse_id(r, ERR_NOT_FOUND, "");
	store_requeue_init(q);
	q->id = api_path_id(r);
	r->state = q;
	return api_store(r, &q->op, requeue_answered);
}

struct cancelling {
	struct store_job_get get;
	struct store_cancel cancel;
	char event[2048];
};

static int cancel_answered(struct api_request *r)
{
	struct cancelling *c = r->state;

	return c->cancel.op.rc < 0 ? refuse_id(r, c->cancel.op.rc, "only a waiting one can be cancelled")
				   : changed(r, JOB_FAILED);
}

/* The result that clients will see for this end. */
static void cancel_event(struct cancelling *c)
{
	struct api_config config = api_config_now();
	struct job_result result = {.kind = JOB_RESULT_FAILED,
				    .message_id = str_from(c->get.job.message_id),
				    .error = STR("cancelled"),
				    .retry_count = c->get.job.retry_count,
				    .max_retries = config.retry_max};
	struct buf b;

	buf_init(&b, c->event, sizeof(c->event));
	job_result_json(&b, &result);
	c->cancel.event = buf_view(&b);
}

static int cancel_found(struct api_request *r)
{
	struct cancelling *c = r->state;

	if (c->get.op.rc < 0) return refuse_id(r, c->get.op.rc, "");
	store_cancel_init(&c->cancel);
	c->cancel.id = c->get.job.id;
	cancel_event(c);
	return api_store(r, &c->cancel.op, cancel_answered);
}

int api_emails_cancel(struct api_request *r)
{
	struct cancelling *c = api_take(r, sizeof(*c));

	if (!c) return api_no_memory(r);
	if (api_path_id(r) == 0) return refuse_id(r, ERR_NOT_FOUND, "");
	store_job_get_init(&c->get);
	c->get.id = api_path_id(r);
	r->state = c;
	return api_store(r, &c->get.op, cancel_found);
}

/* ---- POST /api/emails/requeue ---- */

#define REQUEUE_BATCH 100

struct requeueing {
	struct store_requeue op;
	struct json_iter ids;
	size_t left; /* of ids; with a state: of what may be requeued */
	bool all;
	uint64_t requeued, refused;
};

static int requeue_next(struct api_request *r);

/* What was done. next: behind which job to go on, or how many ids were left; 0 when all is done. */
static int requeue_end(struct api_request *r, int64_t next)
{
	struct requeueing *q = r->state;
	const char *name = q->all ? "next" : "left";

	api_put_close(&r->reply, ']');
	if (!q->all) api_put_int(&r->reply, "refused_count", (int64_t)q->refused);
	api_put_int(&r->reply, "requeued", (int64_t)q->requeued);
	if (next > 0)
		api_put_int(&r->reply, name, next);
	else if (q->all)
		api_put_raw(&r->reply, name, STR("null"));
	api_put_close(&r->reply, '}');
	return API_DONE;
}

static int requeue_many_answered(struct api_request *r)
{
	struct requeueing *q = r->state;
	int rc = q->op.op.rc;

	if (q->all) {
		if (rc < 0) return api_refuse_err(r, rc);
		q->requeued += q->op.count;
		q->left -= q->op.count;
		if (q->op.count == 0) return requeue_end(r, 0); /* there are no more */
	} else if (rc == 0) {
		q->requeued++;
	} else if (err_class(rc) == ERR_CLASS_GIVE_UP || rc == ERR_BUSY) {
		q->refused++;
		if (reply_is_nearly_full(r)) return requeue_next(r); /* counted, not listed */
		api_put_open(&r->reply, NULL, '{');
		api_put_int(&r->reply, "id", q->op.id);
		api_put_text(&r->reply, "error", err_text(rc));
		api_put_close(&r->reply, '}');
	} else {
		return api_refuse_err(r, rc);
	}
	return requeue_next(r);
}

static int requeue_next(struct api_request *r)
{
	struct requeueing *q = r->state;
	const struct json *v;

	/* A stop waits for what the store was asked, not for all that is still to be asked. */
	if (q->left > 0 && q->requeued == 0 && q->refused == 0 && api_is_stopping()) {
		r->retry_after_s = 5;
		return api_refuse(r, 503, "the gateway is stopping");
	}
	if (q->left == 0 || api_is_stopping()) return requeue_end(r, q->all ? q->op.at : (int64_t)q->left);
	if (q->all) {
		q->op.batch = q->left < REQUEUE_BATCH ? (unsigned)q->left : REQUEUE_BATCH;
	} else {
		store_requeue_init(&q->op);
		json_iter_next(&q->ids, NULL, &v);
		json_int(v, &q->op.id);
		q->left--;
	}
	return api_store(r, &q->op.op, requeue_many_answered);
}

/* A number that may be absent. */
static bool requeue_number(const struct json *body, const char *name, int64_t min, int64_t *out)
{
	const struct json *v = json_get(body, name);

	return !v || (json_type(v) == JSON_NUMBER && json_int(v, out) && *out >= min);
}

/* The members beside "state". With "limit" an answer comes after so many at most, and says in "next" what
 * "after" of the next request is to be. */
static const char *requeue_read_all(struct requeueing *q, const struct json *body)
{
	int64_t limit = INT64_MAX, after = 0;
	const struct json *state = json_get(body, "state");

	if (json_type(state) != JSON_STRING || !str_eq(json_str(state), STR("failed")))
		return "state can only be failed";
	if (!requeue_number(body, "limit", 1, &limit)) return "limit is a number from 1 on";
	if (!requeue_number(body, "after", 0, &after)) return "after is a number, the next of an answer";
	q->all = true;
	q->left = (uint64_t)limit < SIZE_MAX ? (size_t)limit : SIZE_MAX;
	q->op.at = after;
	return NULL;
}

/* {"ids":[1,2]} or {"state":"failed"}. Returns why not, NULL when it is one of them. */
static const char *requeue_read(struct requeueing *q, const struct json *body)
{
	const struct json *ids, *state, *v;
	struct json_iter it;
	int64_t id;

	if (json_type(body) != JSON_OBJECT) return "an object with ids or state is needed";
	ids = json_get(body, "ids");
	state = json_get(body, "state");
	if (!ids == !state) return "one of ids and state is needed";
	if (state) return requeue_read_all(q, body);
	if (json_get(body, "limit") || json_get(body, "after")) return "limit and after go with state only";
	if (json_type(ids) != JSON_ARRAY || json_count(ids) > LIST_LIMIT_MAX)
		return "ids is an array of at most 1000 numbers";
	json_iter_init(&it, ids);
	while (json_iter_next(&it, NULL, &v))
		if (!json_int(v, &id) || id < 1) return "ids is an array of at most 1000 numbers";
	json_iter_init(&q->ids, ids);
	q->left = json_count(ids);
	return NULL;
}

int api_emails_requeue_many(struct api_request *r)
{
	struct requeueing *q = api_take(r, sizeof(*q));
	char *text = api_take(r, r->body_len + JSON_PADDING);
	const struct json *body;
	struct json_error error;
	const char *why;

	if (!q || !text) return api_no_memory(r);
	if (r->body_len > 0) memcpy(text, r->memory, r->body_len);
	if (json_parse(&r->arena, text, r->body_len, &body, &error) < 0) return api_refuse(r, 400, error.why);
	/* With a state it is one operation, handed in again and again: the store knows from it how far it
	 * came. */
	store_requeue_init(&q->op);
	why = requeue_read(q, body);
	if (why) return api_refuse(r, 400, why);
	/* Room for the end of the answer, however many refusals come before it. */
	if (r->arena.cap - r->arena.used < (size_t)2 * REPLY_SPARE) return api_no_memory(r);
	r->state = q;
	api_reply_begin(r, 200);
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", true);
	api_put_open(&r->reply, "refused", '[');
	return requeue_next(r);
}

/* ---- GET /api/results ---- */

struct resulting {
	struct store_event_list list;
	struct store_event events[2];
	uint64_t left;
};

static int results_answered(struct api_request *r)
{
	struct resulting *e = r->state;

	if (e->list.op.rc < 0) return api_refuse_err(r, e->list.op.rc);
	for (size_t i = 0; i < e->list.count; i++) {
		if (e->left == 0 || reply_is_nearly_full(r) ||
		    r->reply.cap - r->reply.len < e->events[i].len + REPLY_SPARE) {
			if (e->left > 0 && !r->large) return API_MORE_MEMORY;
			return list_end(r, e->list.after);
		}
		api_put_open(&r->reply, NULL, '{');
		api_put_int(&r->reply, "seq", e->events[i].seq);
		api_put_int(&r->reply, "job_id", e->events[i].job_id);
		api_put_time(&r->reply, "at", e->events[i].at_ms);
		api_put_raw(&r->reply, "message", (struct str){e->events[i].json, e->events[i].len});
		api_put_close(&r->reply, '}');
		e->list.after = e->events[i].seq;
		e->left--;
	}
	if (e->list.count < e->list.cap) return list_end(r, 0);
	return api_store(r, &e->list.op, results_answered);
}

int api_results(struct api_request *r)
{
	static const char *const names[] = {"after", "limit", NULL};
	struct resulting *e = api_take(r, sizeof(*e));
	uint64_t after = 0;

	if (!e) return api_no_memory(r);
	e->left = 100;
	if (api_query_check(r, names) < 0 || api_query_number(r, "after", INT64_MAX, &after) < 0 ||
	    api_query_number(r, "limit", LIST_LIMIT_MAX, &e->left) < 0)
		return API_DONE;
	if (e->left == 0) return api_refuse(r, 400, "limit is at least 1");
	store_event_list_init(&e->list);
	e->list.after = (int64_t)after;
	e->list.events = e->events;
	e->list.cap = sizeof(e->events) / sizeof(e->events[0]);
	r->state = e;
	api_reply_begin(r, 200);
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", true);
	api_put_open(&r->reply, "items", '[');
	return api_store(r, &e->list.op, results_answered);
}
