/* A job made of any bytes, composed: no field that was not asked for, no line end that is not ours, and
 * every body decodes to what it was, the same in every pass. */
#include <string.h>

#include "base/err.h"
#include "unit/mail/mail_rules.h"

static char memory[1 << 16], again[RULES_BYTES_MAX], whole[RULES_BYTES_MAX];

struct input {
	const uint8_t *at, *end;
};

static unsigned take_byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* Up to the next 0xFF. */
static struct str take_str(struct input *in)
{
	const uint8_t *begin = in->at, *end = memchr(begin, 0xFF, (size_t)(in->end - begin));

	end = end ? end : in->end;
	in->at = end < in->end ? end + 1 : end;
	return (struct str){(const char *)begin, (size_t)(end - begin)};
}

/* What decoding lets through: UTF-8 without control characters. */
static struct str take_text(struct input *in, size_t max)
{
	struct str s = take_str(in);

	return str_is_utf8(s) && !str_has_ctl(s) && s.len <= max ? s : STR("\xc3\xbc");
}

static bool take_address(struct arena *a, struct input *in, struct job_address *out)
{
	return job_address_parse(a, take_str(in), out, NULL) == 0 && out->domain.ptr;
}

static struct job_header take_header(struct input *in)
{
	struct job_header h = {take_text(in, JOB_HEADER_NAME_MAX), {NULL, 0}};

	for (size_t i = 0; i < h.name.len; i++)
		if (h.name.ptr[i] <= ' ' || h.name.ptr[i] == ':' || h.name.ptr[i] == 0x7f) h.name.len = 0;
	if (h.name.len == 0) h.name = STR("X-Custom");
	h.value = take_text(in, JOB_HEADER_VALUE_MAX);
	return h;
}

static void fill_job(struct arena *a, struct input *in, struct job *job, unsigned flags)
{
	static struct job_rcpt rcpts[16];
	static struct job_header headers[8];

	job->rcpts = rcpts;
	job->headers = headers;
	for (unsigned n = take_byte(in) % 16; n > 0; n--) {
		struct job_rcpt *r = &rcpts[job->rcpt_count];

		r->kind = (enum job_rcpt_kind)(take_byte(in) % 3);
		job->rcpt_count += take_address(a, in, &r->address);
	}
	for (unsigned n = take_byte(in) % 8; n > 0; n--)
		headers[job->header_count++] = take_header(in);
	if (!take_address(a, in, &job->from) || !(flags & 8)) job->from = (struct job_address){0};
	if (!take_address(a, in, &job->reply_to) || !(flags & 16)) job->reply_to = (struct job_address){0};
	if (flags & 32) job->subject = take_text(in, JOB_SUBJECT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct mail m;
	struct input in = {data, data + len};
	struct mail_memory contents[2];
	struct mail_part parts[2];
	struct job_address provider;
	struct str bodies[2];
	struct job job = {0};
	size_t cap, at = 0;
	struct arena a;
	unsigned flags;
	int rc;

	if (len > 100000) return 0;
	arena_init(&a, memory, sizeof(memory));
	flags = take_byte(&in);
	cap = take_byte(&in) + 1;
	CHECK(job_address_parse(&a, STR("The Gateway <gateway@example.com>"), &provider, NULL) == 0);
	fill_job(&a, &in, &job, flags);
	bodies[0] = take_str(&in);
	bodies[1] = (struct str){(const char *)in.at, (size_t)(in.end - in.at)};
	for (size_t i = 0; i < 2; i++)
		parts[i] = (struct mail_part){.role = MAIL_BODY,
					      .type = i ? "text/html" : "text/plain",
					      .source = mail_source_memory(&contents[i], bodies[i])};
	/* the second one may be a file, or a message inside */
	if (flags & 64) {
		parts[1].role = MAIL_ATTACHED;
		parts[1].type = flags & 128 ? "message/rfc822" : "text/plain";
		parts[1].name = take_text(&in, MAIL_NAME_BYTES_MAX);
		if (parts[1].name.len && memchr(parts[1].name.ptr, '\t', parts[1].name.len))
			parts[1].name = STR("\xc3\xbc.txt");
		bodies[1] = (struct str){(const char *)in.at, (size_t)(in.end - in.at)};
		parts[1].source = mail_source_memory(&contents[1], bodies[1]);
	}
	struct mail_input input = {.job = &job,
				   .provider_from = &provider,
				   .from_override = flags & 4 ? &provider : NULL,
				   .date_known = flags & 2,
				   .date_ms = 1758277800000,
				   .message_id = STR("id@example.com"),
				   .parts = parts,
				   .part_count = flags & 1 ? 2 : 1};

	rc = mail_open(&m, &input);
	/* a header of addresses or message ids that decoding refuses */
	if (rc == ERR_INVALID && job.header_count > 0) return 0;
	CHECK(rc == 0);
	rules_check(&m, bodies);
	CHECK(mail_rewind(&m) == 0);
	len = rules_read(&m, whole, 8192);
	CHECK(mail_rewind(&m) == 0);
	while ((rc = mail_read(&m, again + at, cap)) > 0)
		at += (size_t)rc;
	CHECK(rc == 0 && at == len && memcmp(whole, again, len) == 0);
	return 0;
}
