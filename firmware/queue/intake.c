#include "queue/queue.h"

#include <stdalign.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "hal_clock.h"
#include "hal_thread.h"

static struct {
	struct hal_mutex mutex;
	bool ready;
	struct intake_config config;
} intake;

void intake_configure(const struct intake_config *config)
{
	if (!intake.ready) {
		hal_mutex_init(&intake.mutex);
		intake.ready = true;
	}
	hal_mutex_lock(&intake.mutex);
	intake.config = *config;
	hal_mutex_unlock(&intake.mutex);
}

static struct intake_config config_now(void)
{
	struct intake_config config;

	hal_mutex_lock(&intake.mutex);
	config = intake.config;
	hal_mutex_unlock(&intake.mutex);
	return config;
}

static int too_large(struct intake *in, enum job_excess excess, const char *reason)
{
	in->problem.excess = excess;
	in->problem.pointer[0] = '\0';
	str_copy(in->problem.reason, sizeof(in->problem.reason), str_from(reason));
	return ERR_TOO_LARGE;
}

/* The identity of a job that came without one. */
static int make_message_id(struct intake *in)
{
	struct buf b;

	buf_init(&b, in->fresh_id, sizeof(in->fresh_id));
	return digest_uuid7(&b, hal_clock_wall_ms(NULL));
}

int intake_job(struct intake *in, struct arena *a, struct str src)
{
	struct intake_config config = config_now();
	char *text;
	int rc;

	memset(in, 0, sizeof(*in));
	if (src.len > config.limits.job_bytes)
		return too_large(in, JOB_EXCESS_SIZE, "larger than [limits] job_bytes");
	text = arena_take(a, src.len + JSON_PADDING);
	if (!text) return too_large(in, JOB_EXCESS_MEMORY, "too large for the memory there is");
	if (src.len > 0) memcpy(text, src.ptr, src.len);
	rc = job_decode(a, text, src.len, &config.limits, &in->job, &in->problem);
	if (rc < 0) return rc;
	rc = provider_judge(config.pool, &in->job, &in->provider, &in->problem);
	/* Of recipients there may be too many, else it is the mail. */
	if (rc == ERR_TOO_LARGE && in->job.rcpt_count <= STORE_RCPT_MAX) in->problem.excess = JOB_EXCESS_SIZE;
	if (rc < 0) return rc;
	store_accept_init(&in->accept);
	in->accept.job = &in->job;
	in->accept.src = src;
	in->accept.message_id = in->job.message_id;
	if (in->job.message_id.len == 0) {
		rc = make_message_id(in);
		if (rc < 0) return rc;
		in->accept.message_id = str_from(in->fresh_id);
	}
	in->accept.provider = str_from(in->provider.name);
	in->accept.expire_ms = config.expire_ms;
	return 0;
}

/* What the store reads of a job, and the strings in it: no headers, no names, no texts. */
static void make_slim(struct job *job)
{
	job->from = job->reply_to = (struct job_address){0};
	job->template_path = job->envelope_from = job->context = (struct str){NULL, 0};
	job->group_count = job->header_count = job->attachment_count = 0;
	for (size_t i = 0; i < job->rcpt_count; i++)
		job->rcpts[i].address.text = job->rcpts[i].address.name = (struct str){NULL, 0};
}

struct kept {
	struct store_accept accept;
	struct job job;
	char provider[sizeof(((struct provider_choice *)0)->name)];
	char fresh_id[sizeof(((struct intake *)0)->fresh_id)];
};

struct store_accept *intake_keep(struct intake *in, struct arena *a)
{
	size_t bytes;
	struct arena end;
	struct kept *k;

	make_slim(&in->job);
	bytes = sizeof(*k) + 2 * alignof(max_align_t) + job_envelope_bytes(&in->job);
	if (bytes > a->cap - a->used) return NULL;
	a->cap -= bytes;
	arena_init(&end, a->ptr + a->cap, bytes);
	k = arena_take(&end, sizeof(*k));
	if (!k || job_copy_envelope(&end, &in->job, &k->job) < 0) return NULL;
	memcpy(k->provider, in->provider.name, sizeof(k->provider));
	memcpy(k->fresh_id, in->fresh_id, sizeof(k->fresh_id));
	k->accept = in->accept;
	k->accept.job = &k->job;
	k->accept.message_id = k->job.message_id.len > 0 ? k->job.message_id : str_from(k->fresh_id);
	k->accept.provider = str_from(k->provider);
	return &k->accept;
}

static bool is_white(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_white(struct str text, size_t at)
{
	while (at < text.len && is_white(text.ptr[at]))
		at++;
	return at;
}

bool intake_is_array(struct str text)
{
	size_t at = skip_white(text, 0);

	return at < text.len && text.ptr[at] == '[';
}

/* The end of the value that begins at `at`: where a comma or bracket of its own level follows. Looks at
 * nothing but strings and nesting; whether it is JSON is for job_decode to say. */
static size_t value_end(struct str text, size_t at)
{
	unsigned depth = 0;
	bool quoted = false;

	for (; at < text.len; at++) {
		char c = text.ptr[at];

		if (quoted) {
			if (c == '\\')
				at++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			if (depth == 0) break;
			depth--;
		} else if (c == ',' && depth == 0) {
			break;
		}
	}
	return at < text.len ? at : text.len;
}

int intake_array_next(struct str text, size_t *at, struct str *element)
{
	bool first = *at == 0;
	size_t i = skip_white(text, *at);

	if (i >= text.len || text.ptr[i] != (first ? '[' : ',')) goto end;
	i = skip_white(text, i + 1);
	if (first && i < text.len && text.ptr[i] == ']') goto end;
	*at = value_end(text, i);
	*element = str_trim((struct str){text.ptr + i, *at - i});
	if (element->len == 0 || *at >= text.len) {
		*at = i;
		return ERR_SYNTAX;
	}
	return 1;
end:
	/* The closing bracket, and nothing behind it. */
	*at = i;
	if (i >= text.len || text.ptr[i] != ']') return ERR_SYNTAX;
	*at = skip_white(text, i + 1);
	return *at == text.len ? 0 : ERR_SYNTAX;
}
