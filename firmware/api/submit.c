/* POST /api/emails: jobs in, one or an array of them, all or nothing. */
#include <stdio.h>
#include <string.h>

#include "api/routes.h"
#include "base/err.h"
#include "queue/queue.h"

/* Most jobs in one array. */
#define BATCH_MAX 1000

struct submission {
	struct intake judged; /* the last one */
	struct store_accept **jobs;
	size_t count;
	bool array;
};

/* Bodies are JSON, whatever a client that cannot be told calls them; what would be read another way is
 * refused. */
static bool content_type_is_json(struct str type)
{
	const char *end = type.len > 0 ? memchr(type.ptr, ';', type.len) : NULL;

	if (end) type.len = (size_t)(end - type.ptr);
	type = str_trim(type);
	return type.len == 0 || str_eq_nocase(type, STR("application/json")) ||
	       str_eq_nocase(type, STR("text/json")) ||
	       str_eq_nocase(type, STR("application/x-www-form-urlencoded")) ||
	       (type.len > 5 && str_eq_nocase((struct str){type.ptr + type.len - 5, 5}, STR("+json")));
}

static int too_much(struct api_request *r, const struct submission *s, size_t index)
{
	char pointer[24];

	if (!r->large) return API_MORE_MEMORY;
	if (!s->array) return api_refuse_at(r, 413, "the job is larger than this gateway has memory for", "");
	snprintf(pointer, sizeof(pointer), "/%zu", index);
	return api_refuse_at(
		r, 413, "more in one array than this gateway has memory for: hand in fewer jobs at a time",
		pointer);
}

static int refuse_job(struct api_request *r, const struct submission *s, size_t index, int err)
{
	/* A copy: the refusal is written over the memory that the intake lies in. */
	struct job_problem problem = s->judged.problem;
	char pointer[sizeof(problem.pointer) + 24];

	if (problem.excess == JOB_EXCESS_MEMORY) return too_much(r, s, index);
	if (err == ERR_ENTROPY) return api_refuse_err(r, err);
	if (!problem.reason[0]) snprintf(problem.reason, sizeof(problem.reason), "%s", err_text(err));
	if (s->array)
		snprintf(pointer, sizeof(pointer), "/%zu%s", index, problem.pointer);
	else
		snprintf(pointer, sizeof(pointer), "%s", problem.pointer);
	return api_refuse_at(r, problem.excess == JOB_EXCESS_SIZE ? 413 : 400, problem.reason, pointer);
}

static void put_accepted(struct buf *b, const struct store_accept *a)
{
	api_put_int(b, "id", a->id);
	api_put_str(b, "message_id", a->message_id);
	api_put_text(b, "status", job_state_name(a->state));
}

static int submit_answered(struct api_request *r)
{
	struct submission *s = r->state;
	struct store_accept *head = s->jobs[0];
	bool all_known = true;
	char pointer[24];

	if (head->op.rc < 0) {
		snprintf(pointer, sizeof(pointer), "/%d", head->failed_index);
		if (s->array && head->op.rc == ERR_CONFLICT)
			return api_refuse_at(r, 409, err_text(head->op.rc), pointer);
		return api_refuse_err(r, head->op.rc);
	}
	for (size_t i = 0; i < s->count; i++)
		all_known &= s->jobs[i]->known;
	r->status = all_known ? 200 : 202;
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", true);
	if (!s->array) {
		put_accepted(&r->reply, head);
	} else {
		api_put_open(&r->reply, "items", '[');
		for (size_t i = 0; i < s->count; i++) {
			api_put_open(&r->reply, NULL, '{');
			put_accepted(&r->reply, s->jobs[i]);
			api_put_close(&r->reply, '}');
		}
		api_put_close(&r->reply, ']');
	}
	api_put_close(&r->reply, '}');
	if (r->reply.cut) {
		/* Stored all the same: that is what the client must know. */
		buf_reset(&r->reply);
		buf_printf(&r->reply, "{\"success\":true,\"count\":%zu}", s->count);
	}
	return API_DONE;
}

static int submit_to_store(struct api_request *r, struct submission *s)
{
	size_t answer = 256;

	for (size_t i = 0; i + 1 < s->count; i++)
		s->jobs[i]->with = s->jobs[i + 1];
	/* What is left holds the answer: the members of each job and its Message-ID, escaped (no control
	 * bytes in it). */
	for (size_t i = 0; i < s->count; i++)
		answer += 96 + 2 * s->jobs[i]->message_id.len;
	r->state = s;
	if (r->arena.cap - r->arena.used < answer) return too_much(r, s, s->count - 1);
	api_reply_begin(r, 202);
	return api_store(r, &s->jobs[0]->op, submit_answered);
}

/* Counts the elements of an array. Returns -1, with the refusal in r, when it is none. */
static int count_elements(struct api_request *r, struct str body, size_t *count)
{
	struct str element;
	size_t at = 0;
	int rc;

	for (*count = 0; (rc = intake_array_next(body, &at, &element)) == 1; (*count)++) {
		if (*count == BATCH_MAX) {
			api_refuse_at(r, 413, "more than 1000 jobs in one array: send fewer at a time", "");
			return -1;
		}
	}
	if (rc < 0)
		api_refuse_at(r, 400, "the array of jobs is not JSON", "");
	else if (*count == 0)
		api_refuse_at(r, 400, "the array holds no job", "");
	return rc < 0 || *count == 0 ? -1 : 0;
}

static struct submission *submission_begin(struct api_request *r, size_t count)
{
	struct submission *s = api_take(r, sizeof(*s));

	if (s) {
		s->jobs = api_take(r, count * sizeof(*s->jobs));
		s->count = count;
	}
	return s && s->jobs ? s : NULL;
}

/* Of the memory that it took only what the store needs stays taken. */
static int judge_one(struct api_request *r, struct submission *s, size_t index, struct str src)
{
	size_t used = r->arena.used;
	int rc = intake_job(&s->judged, &r->arena, src);

	if (rc < 0) return refuse_job(r, s, index, rc);
	s->jobs[index] = intake_keep(&s->judged, &r->arena);
	if (!s->jobs[index]) return too_much(r, s, index);
	r->arena.used = used;
	return API_PENDING;
}

static int submit_array(struct api_request *r, struct str body)
{
	struct submission *s;
	struct str element;
	size_t at = 0, count;
	int rc;

	if (count_elements(r, body, &count) < 0) return API_DONE;
	s = submission_begin(r, count);
	if (!s) return api_no_memory(r);
	s->array = true;
	for (size_t i = 0; intake_array_next(body, &at, &element) == 1; i++) {
		rc = judge_one(r, s, i, element);
		if (rc != API_PENDING) return rc;
	}
	return submit_to_store(r, s);
}

int api_emails_submit(struct api_request *r)
{
	struct submission *s;
	struct str body;
	int rc;

	if (api_is_message(r->content_type)) {
		rc = api_message_to_job(r);
		if (rc != API_PENDING) return rc;
	}
	if (!content_type_is_json(r->content_type))
		return api_refuse(r, 415, "jobs are application/json, finished messages message/rfc822");
	body = (struct str){r->memory, r->body_len};
	if (intake_is_array(body)) return submit_array(r, body);
	s = submission_begin(r, 1);
	if (!s) return api_no_memory(r);
	rc = judge_one(r, s, 0, body);
	return rc == API_PENDING ? submit_to_store(r, s) : rc;
}
