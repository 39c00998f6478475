/* Headers of the job's own: which names, and what their values must be. */
#include <string.h>

#include "base/err.h"
#include "job/job_internal.h"

/* ---- what a header is ---- */

enum job_header_kind job_header_kind(struct str name)
{
	static const struct {
		const char *name;
		enum job_header_kind kind;
	} known[] = {
		/* RFC 5322 sections 3.6.2 and 3.6.6, RFC 8098, and what is in use besides */
		{"Reply-To", JOB_HEADER_ADDRESSES},
		{"Sender", JOB_HEADER_ADDRESSES},
		{"Resent-From", JOB_HEADER_ADDRESSES},
		{"Resent-Sender", JOB_HEADER_ADDRESSES},
		{"Resent-To", JOB_HEADER_ADDRESSES},
		{"Resent-Cc", JOB_HEADER_ADDRESSES},
		{"Disposition-Notification-To", JOB_HEADER_ADDRESSES},
		{"Return-Receipt-To", JOB_HEADER_ADDRESSES},
		{"Mail-Followup-To", JOB_HEADER_ADDRESSES},
		{"Mail-Reply-To", JOB_HEADER_ADDRESSES},
		/* RFC 5322 section 3.6.5, RFC 2919 */
		{"Keywords", JOB_HEADER_PHRASES},
		{"List-ID", JOB_HEADER_PHRASES},
		/* RFC 5322 section 3.6.4, RFC 5536, RFC 2369, RFC 8058, RFC 3834, RFC 5064 */
		{"In-Reply-To", JOB_HEADER_VERBATIM},
		{"References", JOB_HEADER_VERBATIM},
		{"Resent-Message-ID", JOB_HEADER_VERBATIM},
		{"Resent-Date", JOB_HEADER_VERBATIM},
		{"Original-Message-ID", JOB_HEADER_VERBATIM},
		{"Supersedes", JOB_HEADER_VERBATIM},
		{"List-Unsubscribe", JOB_HEADER_VERBATIM},
		{"List-Unsubscribe-Post", JOB_HEADER_VERBATIM},
		{"List-Subscribe", JOB_HEADER_VERBATIM},
		{"List-Help", JOB_HEADER_VERBATIM},
		{"List-Post", JOB_HEADER_VERBATIM},
		{"List-Owner", JOB_HEADER_VERBATIM},
		{"List-Archive", JOB_HEADER_VERBATIM},
		{"Archived-At", JOB_HEADER_VERBATIM},
		{"Auto-Submitted", JOB_HEADER_VERBATIM},
	};

	if (str_starts_nocase(name, STR("X-"))) return JOB_HEADER_TEXT;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_eq_nocase(name, str_from(known[i].name))) return known[i].kind;
	return JOB_HEADER_TEXT;
}

static const char *check_verbatim(struct str value)
{
	size_t word = 0;
	bool inside = false;

	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];

		if ((unsigned char)c >= 0x80) return "must be ASCII here";
		if (c == '<' ? inside : c == '>' && !inside) return "a bracket in the wrong place";
		inside = c == '<' || (inside && c != '>');
		word = !inside && (c == ' ' || c == '\t') ? 0 : word + 1;
		if (word > JOB_HEADER_WORD_MAX) return "more than 900 bytes without a space to fold at";
	}
	if (inside) return "a bracket is not closed";
	return str_trim(value).len == 0 ? "empty (null leaves it out)" : NULL;
}

/* Nothing that a phrase encodes; what stands in brackets is not encoded. */
static const char *check_phrases(struct str value)
{
	const char *open = value.len ? memchr(value.ptr, '<', value.len) : NULL;
	size_t at = open ? (size_t)(open - value.ptr) : value.len;

	if (at == value.len && str_trim(value).len == 0) return "empty (null leaves it out)";
	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.ptr[i] >= 0x80)
			return at < value.len ? check_verbatim((struct str){value.ptr + at, value.len - at})
					      : NULL;
	return check_verbatim(value);
}

int job_header_check(enum job_header_kind kind, struct str value, const char **why)
{
	*why = NULL;
	switch (kind) {
	case JOB_HEADER_TEXT: break;
	case JOB_HEADER_ADDRESSES: return job_list_check(value, why);
	case JOB_HEADER_PHRASES: *why = check_phrases(value); break;
	case JOB_HEADER_VERBATIM: *why = check_verbatim(value); break;
	}
	return *why ? ERR_INVALID : 0;
}

/* ---- decoding ---- */

/* What the gateway writes itself, or must not send out. */
static bool is_reserved(struct str name)
{
	static const char *const reserved[] = {
		"From",      "To",         "Cc",           "Bcc",         "Subject",
		"Date",      "Message-ID", "MIME-Version", "Return-Path", "DKIM-Signature",
		"Resent-Bcc"};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (str_eq_nocase(name, str_from(reserved[i]))) return true;
	return str_starts_nocase(name, STR("Content-"));
}

static int check_name(struct job_decode *d, struct str name)
{
	if (name.len == 0) return job_refuse(d, ERR_INVALID, "a header without a name");
	if (name.len > JOB_HEADER_NAME_MAX)
		return job_refuse(d, ERR_TOO_LARGE, "a name of more than %d bytes", JOB_HEADER_NAME_MAX);
	/* RFC 5322 section 3.6.8: ftext */
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] == ':' || name.ptr[i] >= 0x7f)
			return job_refuse(d, ERR_INVALID,
					  "not a header's name: no space, colon or UTF-8 in it");
	if (is_reserved(name)) return job_refuse(d, ERR_INVALID, "the gateway writes this header itself");
	if (str_eq_nocase(name, STR("Reply-To")) && d->members[JOB_M_reply_to])
		return job_refuse(d, ERR_INVALID, "given twice: here and as reply_to");
	for (size_t i = 0; i < d->job->header_count; i++)
		if (str_eq_nocase(d->job->headers[i].name, name))
			return job_refuse(d, ERR_INVALID, "given twice (give its values as an array)");
	return 0;
}

static int add_header(struct job_decode *d, struct str name, const struct json *v)
{
	struct job_header *h = &d->job->headers[d->job->header_count];
	const char *why;
	char bytes[128];
	struct buf b;
	int rc;

	if (d->job->header_count == JOB_HEADERS_MAX)
		return job_refuse(d, ERR_TOO_LARGE, "too many headers: at most %d", JOB_HEADERS_MAX);
	*h = (struct job_header){.name = name};
	if (json_type(v) == JSON_NUMBER) {
		buf_init(&b, bytes, sizeof(bytes));
		json_write(&b, v);
		if (b.cut) return job_refuse(d, ERR_TOO_LARGE, "a number of more than 127 digits");
		h->value = arena_str(d->arena, buf_view(&b));
		if (!h->value.ptr) return job_refuse_memory(d);
	} else if (json_type(v) == JSON_STRING) {
		rc = job_take_string(d, v, JOB_HEADER_VALUE_MAX, &h->value);
		if (rc < 0) return rc;
	} else {
		return job_refuse(d, ERR_INVALID, "must be a string, a number or an array of strings");
	}
	if (job_header_check(job_header_kind(name), h->value, &why) < 0)
		return job_refuse(d, ERR_INVALID, "%s", why);
	d->job->header_count++;
	return 0;
}

static int take_header(struct job_decode *d, struct str name, const struct json *v)
{
	struct json_iter it;
	const struct json *item;
	int rc;

	job_point(d, "headers");
	job_point_key(d, name);
	rc = check_name(d, name);
	if (rc < 0 || json_type(v) == JSON_NULL) return rc;
	if (json_type(v) != JSON_ARRAY) return add_header(d, name, v);
	json_iter_init(&it, v);
	for (size_t i = 0; json_iter_next(&it, NULL, &item); i++) {
		job_point(d, "headers");
		job_point_key(d, name);
		job_point_index(d, i);
		rc = add_header(d, name, item);
		if (rc < 0) return rc;
	}
	return 0;
}

int job_take_headers(struct job_decode *d)
{
	const struct json *map = d->members[JOB_M_headers], *v;
	struct json_iter it;
	struct str name;

	if (!map) return 0;
	job_point(d, "headers");
	if (json_type(map) != JSON_OBJECT && !(json_type(map) == JSON_ARRAY && json_count(map) == 0))
		return job_refuse(d, ERR_INVALID, "must be an object of names and values");
	if (json_count(map) == 0) return 0;
	d->job->headers = arena_take(d->arena, (JOB_HEADERS_MAX + 1) * sizeof(*d->job->headers));
	if (!d->job->headers) return job_refuse_memory(d);
	json_iter_init(&it, map);
	while (json_iter_next(&it, &name, &v)) {
		int rc = take_header(d, name, v);

		if (rc < 0) return rc;
	}
	return 0;
}
