#include "queue/queue.h"

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

static int too_large(struct intake *in, const char *reason)
{
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
	if (src.len > config.limits.job_bytes) return too_large(in, "larger than [limits] job_bytes");
	text = arena_take(a, src.len + JSON_PADDING);
	if (!text) return too_large(in, "too many values for the memory there is");
	if (src.len > 0) memcpy(text, src.ptr, src.len);
	rc = job_decode(a, text, src.len, &config.limits, &in->job, &in->problem);
	if (rc < 0) return rc;
	rc = provider_judge(config.pool, &in->job, &in->provider, &in->problem);
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
