/* POST /api/emails with a finished message as its body (Content-Type message/rfc822, or message/global of RFC
 * 6532): the request's body becomes the JSON of a job with `raw`, in its own memory, and goes the way of every
 * other job from there.
 *
 * Fields of the request that count: X-Envelope-From (an address; <> or nothing is the null sender) and
 * X-Envelope-To (addresses with commas between; several such fields add up) make the envelope, which else is read
 * from the message's header; X-Message-Id, X-Provider-Id and X-Tenant-Id are the job's members of that name. A
 * refusal points to /envelope_from, to /to/N (the Nth address), or to /raw. */
#include <string.h>

#include "api/routes.h"
#include "base/err.h"

#define LINES_MAX 1000
/* A whole number of base64's groups. */
#define PIECE 384

static const struct {
	const char *field, *pointer; /* the member's */
} labels[] = {
	{"X-Message-Id", "/message_id"},
	{"X-Provider-Id", "/provider_id"},
	{"X-Tenant-Id", "/tenant_id"},
};
#define LABELS (sizeof(labels) / sizeof(labels[0]))

bool api_is_message(struct str type)
{
	const char *end = type.len > 0 ? memchr(type.ptr, ';', type.len) : NULL;

	if (end) type.len = (size_t)(end - type.ptr);
	type = str_trim(type);
	return str_eq_nocase(type, STR("message/rfc822")) || str_eq_nocase(type, STR("message/global"));
}

/* ---- the fields ---- */

/* A field that may be there once; *value absent: it is not. */
static int single(struct api_request *r, const char *field, const char *pointer, struct str *value)
{
	*value = api_front_field(r, field, 0);
	if (api_front_field(r, field, 1).ptr)
		return api_refuse_at(r, 400, "a field that may be there once came twice", pointer), -1;
	if (!str_is_utf8(*value)) return api_refuse_at(r, 400, "not UTF-8", pointer), -1;
	return 0;
}

/* Refuses what JSON could not say; *bytes gets how long the fields are together. */
static int check_fields(struct api_request *r, size_t *bytes)
{
	struct str s;

	if (single(r, "X-Envelope-From", "/envelope_from", &s) < 0) return -1;
	*bytes = s.len;
	for (size_t i = 0; i < LABELS; i++) {
		if (single(r, labels[i].field, labels[i].pointer, &s) < 0) return -1;
		*bytes += s.len;
	}
	for (unsigned n = 0; (s = api_front_field(r, "X-Envelope-To", n)).ptr; n++) {
		if (n == LINES_MAX) return api_refuse_at(r, 400, "too many X-Envelope-To fields", "/to"), -1;
		if (!str_is_utf8(s)) return api_refuse_at(r, 400, "not UTF-8", "/to"), -1;
		*bytes += s.len + 1;
	}
	return 0;
}

static void put_envelope(struct api_request *r, struct buf *b)
{
	struct str s = api_front_field(r, "X-Envelope-From", 0), one;
	size_t at;

	if (s.ptr) api_put_str(b, "envelope_from", str_trim(s).len > 0 ? str_trim(s) : STR("<>"));
	if (!api_front_field(r, "X-Envelope-To", 0).ptr) return;
	api_put_open(b, "to", '[');
	for (unsigned n = 0; (s = api_front_field(r, "X-Envelope-To", n)).ptr; n++)
		for (at = 0; job_mailbox_next(s, &at, &one);)
			api_put_str(b, NULL, one);
	api_put_close(b, ']');
}

static void put_labels(struct api_request *r, struct buf *b)
{
	for (size_t i = 0; i < LABELS; i++) {
		struct str s = api_front_field(r, labels[i].field, 0);

		if (s.ptr) api_put_str(b, labels[i].pointer + 1, str_trim(s));
	}
}

/* ---- the body ---- */

/* Writes the job from the memory's beginning, while the message, moved to its end, is used up: there is room for
 * the whole job, so what is written never reaches what is still to be read. */
static size_t convert(struct api_request *r)
{
	size_t left = r->body_len;
	char piece[PIECE];
	struct buf b;

	memmove(r->memory + r->memory_bytes - left, r->memory, left);
	buf_init(&b, r->memory, r->memory_bytes - left);
	api_put_open(&b, NULL, '{');
	put_envelope(r, &b);
	put_labels(r, &b);
	api_put_raw(&b, "raw", STR("\""));
	while (left > 0) {
		size_t n = left < sizeof(piece) ? left : sizeof(piece);

		memcpy(piece, r->memory + r->memory_bytes - left, n);
		left -= n;
		b.cap = r->memory_bytes - left;
		buf_base64(&b, piece, n);
	}
	buf_puts(&b, "\"}");
	return b.cut ? 0 : b.len;
}

static int too_large(struct api_request *r)
{
	return api_refuse(
		r, 413,
		"the message is larger than [limits] job_bytes allows, which counts it in base64 (a third "
		"more)");
}

int api_message_to_job(struct api_request *r)
{
	size_t job_bytes = api_config_now().job_bytes;
	size_t fields, len, base64 = (r->body_len + 2) / 3 * 4;

	if (check_fields(r, &fields) < 0) return API_DONE;
	if (base64 > job_bytes) return too_large(r);
	/* Every byte of the fields may need an escape. */
	if (512 + 6 * fields + base64 > r->memory_bytes) return r->large ? too_large(r) : API_MORE_MEMORY;
	len = convert(r);
	if (len == 0 || len > job_bytes) return too_large(r);
	r->body_len = len;
	r->content_type = STR("application/json");
	api_memory_begin(r);
	return API_PENDING;
}
