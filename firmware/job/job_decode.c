/* Both formats: the members, their types, and what they need of one another. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/timefmt.h"
#include "job/job_internal.h"

/* Arena bytes that do not grow with the text; JOB_RCPTS is the most that [limits] recipients can be. */
#define JOB_RCPTS 256
#define ARENA_FIXED                                                                                          \
	(JOB_RCPTS * (sizeof(struct job_rcpt) + JOB_ADDRESS_MAX + 4) +                                       \
	 JOB_GROUPS_MAX * sizeof(struct job_group) + JOB_HEADERS_MAX * sizeof(struct job_header) +           \
	 JOB_ATTACHMENTS_MAX * sizeof(struct job_attachment) + 4096)

static const char *const names[] = {
#define X(name) #name,
	JOB_MEMBERS(X)
#undef X
};

void job_point(struct job_decode *d, const char *member)
{
	buf_reset(&d->pointer);
	job_point_key(d, str_from(member));
}

void job_point_key(struct job_decode *d, struct str key)
{
	buf_puts(&d->pointer, "/");
	for (size_t i = 0; i < key.len && !d->pointer.cut; i++) {
		/* RFC 6901 section 3; control characters have no place on a screen */
		if (key.ptr[i] == '~')
			buf_puts(&d->pointer, "~0");
		else if (key.ptr[i] == '/')
			buf_puts(&d->pointer, "~1");
		else if ((unsigned char)key.ptr[i] < 0x20 || key.ptr[i] == 0x7f)
			buf_puts(&d->pointer, "?");
		else
			buf_add(&d->pointer, key.ptr + i, 1);
	}
	/* what did not fit may have left half a character */
	while (d->pointer.cut && !str_is_utf8(buf_view(&d->pointer)))
		d->pointer.ptr[--d->pointer.len] = '\0';
}

void job_point_index(struct job_decode *d, size_t index)
{
	buf_printf(&d->pointer, "/%zu", index);
}

int job_refuse(struct job_decode *d, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(d->problem->reason, sizeof(d->problem->reason), format, args);
	va_end(args);
	return rc;
}

int job_refuse_memory(struct job_decode *d)
{
	d->problem->excess = JOB_EXCESS_MEMORY;
	return job_refuse(d, ERR_TOO_LARGE, "too large for the memory there is");
}

int job_refuse_size(struct job_decode *d, const char *reason)
{
	d->problem->excess = JOB_EXCESS_SIZE;
	return job_refuse(d, ERR_TOO_LARGE, "%s", reason);
}

static int refuse_type(struct job_decode *d, const char *wanted, const struct json *v)
{
	static const char *const types[] = {
		[JSON_NULL] = "null",       [JSON_BOOL] = "a boolean", [JSON_NUMBER] = "a number",
		[JSON_STRING] = "a string", [JSON_ARRAY] = "an array", [JSON_OBJECT] = "an object",
	};

	return job_refuse(d, ERR_INVALID, "must be %s, is %s", wanted, types[json_type(v)]);
}

int job_take_string(struct job_decode *d, const struct json *v, size_t max, struct str *out)
{
	if (json_type(v) != JSON_STRING) return refuse_type(d, "a string", v);
	*out = json_str(v);
	for (size_t i = 0; i < out->len; i++) {
		unsigned char c = (unsigned char)out->ptr[i];

		if (c == '\r' || c == '\n') return job_refuse(d, ERR_INVALID, "a line break in it");
		if (c == '\0') return job_refuse(d, ERR_INVALID, "a NUL in it");
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return job_refuse(d, ERR_INVALID, "a control character in it");
	}
	if (out->len > max) return job_refuse(d, ERR_TOO_LARGE, "longer than %zu bytes", max);
	return 0;
}

static int take_text(struct job_decode *d, enum job_member m, struct job_text *out)
{
	const struct json *v = d->members[m];

	if (!v) return 0;
	job_point(d, names[m]);
	if (json_type(v) != JSON_STRING) return refuse_type(d, "a string", v);
	*out = (struct job_text){json_str(v), (size_t)(json_str(v).ptr - d->text), true};
	return 0;
}

int job_take_base64(struct job_decode *d, const struct json *v, struct job_text *out)
{
	struct str s;
	size_t pad = 0;

	if (json_type(v) != JSON_STRING) return refuse_type(d, "a string of base64", v);
	s = json_str(v);
	while (pad < 2 && pad < s.len && s.ptr[s.len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i + pad < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		      c == '+' || c == '/'))
			return job_refuse(d, ERR_INVALID, "not base64: a wrong character at %zu", i);
	}
	if (s.len % 4 != 0)
		return job_refuse(d, ERR_INVALID, "not base64: cut off, or its padding is missing");
	*out = (struct job_text){s, (size_t)(s.ptr - d->text), true};
	return 0;
}

/* A map; PHP writes an empty one as []. *out is NULL for an empty one. */
static int take_map(struct job_decode *d, enum job_member m, const struct json **out)
{
	const struct json *v = d->members[m];

	*out = NULL;
	if (!v) return 0;
	job_point(d, names[m]);
	if (json_type(v) != JSON_OBJECT && !(json_type(v) == JSON_ARRAY && json_count(v) == 0))
		return refuse_type(d, "an object", v);
	if (json_count(v) > 0) *out = v;
	return 0;
}

/* Finds the members. A known one that stands there twice is refused: readers differ on which counts. */
static int collect(struct job_decode *d, const struct json *root)
{
	bool seen[JOB_MEMBER_COUNT] = {false};
	struct json_iter it;
	const struct json *v;
	struct str key;

	if (json_type(root) != JSON_OBJECT) return refuse_type(d, "an object", root);
	json_iter_init(&it, root);
	while (json_iter_next(&it, &key, &v)) {
		size_t m = 0;

		while (m < JOB_MEMBER_COUNT && !str_eq(key, str_from(names[m])))
			m++;
		if (m == JOB_MEMBER_COUNT) continue;
		job_point(d, names[m]);
		if (seen[m]) return job_refuse(d, ERR_INVALID, "given twice");
		seen[m] = true;
		if (json_type(v) != JSON_NULL) d->members[m] = v;
	}
	return 0;
}

static int take_format(struct job_decode *d)
{
	bool one = d->members[JOB_M_to] || d->members[JOB_M_cc] || d->members[JOB_M_bcc];

	buf_reset(&d->pointer);
	if (!one && !d->members[JOB_M_recipients] && !d->members[JOB_M_raw])
		return job_refuse(d, ERR_INVALID, "no recipient: needs to, cc, bcc or recipients");
	job_point(d, "recipients");
	if (one && d->members[JOB_M_recipients])
		return job_refuse(d, ERR_INVALID, "not beside to, cc or bcc: a job is of one format");
	d->job->format = d->members[JOB_M_recipients] ? JOB_FORMAT_0 : JOB_FORMAT_1;
	return 0;
}

static int take_labels(struct job_decode *d)
{
	const struct {
		enum job_member m;
		size_t max;
		struct str *out;
	} labels[] = {
		{JOB_M_tenant_id, JOB_LABEL_MAX, &d->job->tenant_id},
		{JOB_M_provider_id, JOB_PROVIDER_MAX, &d->job->provider_id},
		{JOB_M_user_id, JOB_LABEL_MAX, &d->job->user_id},
		{JOB_M_message_id, JOB_MESSAGE_ID_MAX, &d->job->message_id},
		{JOB_M_template_id, JOB_LABEL_MAX, &d->job->template_id},
		{JOB_M_template_path, JOB_MESSAGE_ID_MAX, &d->job->template_path},
		{JOB_M_campaign_id, JOB_LABEL_MAX, &d->job->campaign_id},
		{JOB_M_email_type, JOB_LABEL_MAX, &d->job->email_type},
		{JOB_M_source_app, JOB_LABEL_MAX, &d->job->source_app},
		{JOB_M_subject, JOB_SUBJECT_MAX, &d->job->subject},
	};

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		const struct json *v = d->members[labels[i].m];
		int rc;

		if (!v || (labels[i].m == JOB_M_template_path && d->job->format == JOB_FORMAT_1)) continue;
		job_point(d, names[labels[i].m]);
		rc = job_take_string(d, v, labels[i].max, labels[i].out);
		if (rc < 0) return rc;
		/* an empty label says as little as none */
		if (labels[i].out->len == 0 && labels[i].m != JOB_M_subject)
			*labels[i].out = (struct str){NULL, 0};
	}
	return 0;
}

/* Django hands over whatever the primary key is. */
static int take_related_id(struct job_decode *d)
{
	const struct json *v = d->members[JOB_M_related_model_id];
	char digits[JOB_LABEL_MAX + 1];
	struct buf b;

	if (!v) return 0;
	job_point(d, "related_model_id");
	if (json_type(v) == JSON_STRING)
		return job_take_string(d, v, JOB_LABEL_MAX, &d->job->related_model_id);
	if (json_type(v) != JSON_NUMBER) return refuse_type(d, "a string or a number", v);
	buf_init(&b, digits, sizeof(digits));
	json_write(&b, v);
	if (b.cut) return job_refuse(d, ERR_TOO_LARGE, "longer than %d bytes", JOB_LABEL_MAX);
	d->job->related_model_id = arena_str(d->arena, buf_view(&b));
	if (!d->job->related_model_id.ptr) return job_refuse_memory(d);
	return 0;
}

static int take_time(struct job_decode *d, enum job_member m, int64_t *out)
{
	const struct json *v = d->members[m];

	if (!v) return 0;
	job_point(d, names[m]);
	if (json_type(v) != JSON_STRING) return refuse_type(d, "a string", v);
	if (timefmt_parse_rfc3339(json_str(v), out) < 0)
		return job_refuse(d, ERR_INVALID, "not a time like 2025-09-19T10:30:00Z (RFC 3339)");
	return 0;
}

static int take_policy(struct job_decode *d)
{
	const struct json *v = d->members[JOB_M_priority];
	int rc;

	d->job->priority = JOB_PRIORITY_NORMAL;
	if (v) {
		unsigned p = 0;

		job_point(d, "priority");
		if (json_type(v) != JSON_STRING) return refuse_type(d, "a string", v);
		while (p < JOB_PRIORITY_COUNT &&
		       !str_eq_nocase(json_str(v), str_from(job_priority_name((enum job_priority)p))))
			p++;
		if (p == JOB_PRIORITY_COUNT) return job_refuse(d, ERR_INVALID, "must be high, normal or low");
		d->job->priority = (enum job_priority)p;
	}
	if ((rc = take_time(d, JOB_M_send_at, &d->job->send_at_ms)) < 0 ||
	    (rc = take_time(d, JOB_M_expires_at, &d->job->expires_at_ms)) < 0)
		return rc;
	if (d->members[JOB_M_expires_at] && d->job->expires_at_ms <= d->job->send_at_ms)
		return job_refuse(d, ERR_INVALID, "not after send_at");
	v = d->members[JOB_M_timestamp];
	job_point(d, "timestamp");
	return v && json_type(v) != JSON_STRING ? refuse_type(d, "a string", v) : 0;
}

int job_take_address(struct job_decode *d, const struct json *v, bool bare, struct job_address *out)
{
	const char *why = NULL;
	int rc;

	if (json_type(v) != JSON_STRING) return refuse_type(d, "a string", v);
	rc = job_address_parse(d->arena, json_str(v), out, &why);
	if (rc == ERR_INVALID) return job_refuse(d, rc, "not an address: %s", why);
	if (rc < 0) return job_refuse_memory(d);
	if (!bare && !out->domain.ptr) return job_refuse(d, ERR_INVALID, "not an address: no @ in it");
	return 0;
}

static int take_senders(struct job_decode *d)
{
	const struct json *from = d->members[JOB_M_from], *reply_to = d->members[JOB_M_reply_to];
	const struct json *envelope = d->members[JOB_M_envelope_from];
	struct job_address a;
	int rc;

	job_point(d, "from");
	if (from && (rc = job_take_address(d, from, false, &d->job->from)) < 0) return rc;
	job_point(d, "reply_to");
	if (reply_to && (rc = job_take_address(d, reply_to, false, &d->job->reply_to)) < 0) return rc;
	if (!envelope) return 0;
	job_point(d, "envelope_from");
	if (json_type(envelope) == JSON_STRING && str_eq(json_str(envelope), STR("<>"))) {
		d->job->envelope_from = STR(""); /* RFC 5321 section 4.5.5 */
		return 0;
	}
	if ((rc = job_take_address(d, envelope, false, &a)) < 0) return rc;
	d->job->envelope_from = a.addr;
	return 0;
}

static int take_body_1(struct job_decode *d)
{
	const struct json *format = d->members[JOB_M_body_format];
	bool html = false;

	if (format) {
		job_point(d, "body_format");
		if (json_type(format) != JSON_STRING) return refuse_type(d, "a string", format);
		html = str_eq_nocase(json_str(format), STR("HTML"));
		if (!html && !str_eq_nocase(json_str(format), STR("TEXT")))
			return job_refuse(d, ERR_INVALID, "must be HTML or TEXT");
	}
	if (d->members[JOB_M_text_content] && d->members[JOB_M_body_content] && !html) {
		job_point(d, "text_content");
		return job_refuse(d, ERR_INVALID, "only beside an HTML body: body_content is text already");
	}
	int rc = take_text(d, JOB_M_text_content, &d->job->text);

	return rc < 0 ? rc : take_text(d, JOB_M_body_content, html ? &d->job->html : &d->job->text);
}

static int take_raw(struct job_decode *d)
{
	static const enum job_member alone[] = {JOB_M_body_content, JOB_M_text_content, JOB_M_headers,
						JOB_M_attachments,  JOB_M_html_body,    JOB_M_plain_body,
						JOB_M_reply_to};
	int rc;

	if (!d->members[JOB_M_raw]) return 0;
	for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
		if (d->members[alone[i]]) {
			job_point(d, names[alone[i]]);
			return job_refuse(d, ERR_INVALID, "not beside raw, which is a finished message");
		}
	job_point(d, "raw");
	rc = job_take_base64(d, d->members[JOB_M_raw], &d->job->raw);
	if (rc == 0 && d->job->raw.utf8.len == 0) rc = job_refuse(d, ERR_INVALID, "empty");
	return rc < 0 ? rc : job_take_message(d);
}

/* A template is what there is to send, not a label beside a body. */
static int refuse_template(struct job_decode *d, const char *member)
{
	job_point(d, member);
	return job_refuse(d, ERR_UNSUPPORTED, "this version cannot send templates yet");
}

static int take_content_1(struct job_decode *d)
{
	int rc = take_body_1(d);

	if (rc < 0 || (rc = take_raw(d)) < 0 || d->members[JOB_M_body_content] || d->job->raw.present)
		return rc;
	if (d->job->template_id.ptr) return d->limits->templates ? 0 : refuse_template(d, "template_id");
	buf_reset(&d->pointer);
	if (d->members[JOB_M_html_body] || d->members[JOB_M_plain_body] || d->members[JOB_M_template_path])
		return job_refuse(d, ERR_INVALID,
				  "no content: html_body, plain_body and template_path go with "
				  "recipients; with to, cc or bcc it is body_content");
	return job_refuse(d, ERR_INVALID, "no content: needs body_content, template_id or raw");
}

static int take_content_0(struct job_decode *d)
{
	int rc;

	if ((rc = take_text(d, JOB_M_html_body, &d->job->html)) < 0 ||
	    (rc = take_text(d, JOB_M_plain_body, &d->job->text)) < 0 || (rc = take_raw(d)) < 0)
		return rc;
	if (d->job->template_path.ptr && !d->job->html.present && !d->limits->templates)
		return refuse_template(d, "template_path");
	buf_reset(&d->pointer);
	if (!d->job->html.present && !d->job->text.present && !d->job->raw.present &&
	    !d->job->template_path.ptr)
		return job_refuse(d, ERR_INVALID, "no content: needs html_body, plain_body or template_path");
	return 0;
}

static int take_context(struct job_decode *d, const struct json **context)
{
	struct arena *a = d->arena;
	struct buf b;
	int rc = take_map(d, JOB_M_context, context);

	if (rc < 0 || !*context) return rc;
	/* written into what is left of the arena: its length is not known before */
	if (a->used >= a->cap) return job_refuse_memory(d);
	buf_init(&b, a->ptr + a->used, a->cap - a->used);
	json_write(&b, *context);
	if (b.cut) return job_refuse_memory(d);
	d->job->context = buf_view(&b);
	a->used += b.len + 1;
	return 0;
}

static int decode(struct job_decode *d, char *text, size_t len)
{
	const struct json *root, *context;
	struct json_error error;
	int rc;

	if (len > d->limits->job_bytes) {
		d->problem->excess = JOB_EXCESS_SIZE;
		return job_refuse(d, ERR_TOO_LARGE, "longer than %zu bytes", d->limits->job_bytes);
	}
	rc = json_parse(d->arena, text, len, &root, &error);
	if (rc < 0 && error.memory) return job_refuse_memory(d);
	if (rc < 0) return job_refuse(d, rc, "not JSON: %s at byte %zu", error.why, error.at);
	if ((rc = collect(d, root)) < 0 || (rc = take_format(d)) < 0 || (rc = take_labels(d)) < 0 ||
	    (rc = take_related_id(d)) < 0 || (rc = take_senders(d)) < 0 || (rc = job_take_rcpts(d)) < 0 ||
	    (rc = job_take_headers(d)) < 0 || (rc = take_policy(d)) < 0)
		return rc;
	rc = d->job->format == JOB_FORMAT_1 ? take_content_1(d) : take_content_0(d);
	if (rc < 0 || (rc = job_take_attachments(d)) < 0 || (rc = take_context(d, &context)) < 0) return rc;
	buf_reset(&d->pointer);
	if (job_envelope_bytes(d->job) > d->limits->envelope_bytes)
		return job_refuse(d, ERR_TOO_LARGE, "all but bodies and attachments is longer than %zu bytes",
				  d->limits->envelope_bytes);
	job_digest(d->job, context);
	return 0;
}

int job_decode(struct arena *a, char *text, size_t len, const struct job_limits *limits, struct job *out,
	       struct job_problem *problem)
{
	struct job_decode d = {.arena = a, .text = text, .limits = limits, .job = out, .problem = problem};

	*out = (struct job){0};
	problem->reason[0] = '\0';
	problem->excess = JOB_EXCESS_NONE;
	buf_init(&d.pointer, problem->pointer, sizeof(problem->pointer));
	return decode(&d, text, len);
}

size_t job_decode_arena_bytes(size_t len)
{
	/* 16 bytes a JSON value, and every two bytes may be one; strings once more, unquoted; context{} */
	return 8 * len + 3 * len + ARENA_FIXED;
}
