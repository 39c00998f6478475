/* A finished message of any bytes: it is refused with a reason, or goes out in two equal passes that keep every rule
 * of the wire, without Bcc, and as long as was said. */
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "mail/mail.h"

#define MESSAGE_MAX 40000

static char memory[1 << 20], text[1 << 16], passes[2][1 << 17];

static const struct job_limits limits = {.job_bytes = sizeof(text),
					 .recipients = 20,
					 .envelope_bytes = 30000};

static int make_job(const uint8_t *data, size_t len, struct job *job)
{
	struct job_problem problem;
	struct arena a;
	struct buf b;
	int rc;

	buf_init(&b, text, sizeof(text) - JSON_PADDING);
	/* an odd first byte names the recipient, so that the header need not */
	buf_puts(&b, len > 0 && data[0] & 1 ? "{\"to\":[\"a@b.c\"],\"raw\":\"" : "{\"raw\":\"");
	buf_base64(&b, data, len);
	buf_puts(&b, "\"}");
	CHECK(!b.cut);
	arena_init(&a, memory, sizeof(memory));
	rc = job_decode(&a, text, b.len, &limits, job, &problem);
	CHECK((rc < 0) == (problem.reason[0] != '\0'));
	CHECK(!str_has_ctl(str_from(problem.reason)) && !str_has_ctl(job->subject) &&
	      str_is_utf8(job->subject));
	return rc;
}

static size_t read_all(struct mail_raw *m, char *out, size_t piece)
{
	size_t len = 0;
	int rc;

	while ((rc = mail_raw_read(m, out + len, piece)) > 0) {
		len += (size_t)rc;
		CHECK(len + piece <= sizeof(passes[0]));
	}
	CHECK(rc == 0);
	return len;
}

/* The lines: CRLF, their length, what the header must not show, and the bytes that the flags speak of. */
static void check_wire(const struct mail_raw *m, const char *p, size_t len)
{
	unsigned message_ids = 0, froms = 0;
	bool in_header = true, eight_bit = false;
	struct str value;

	for (const char *end = p + len; p < end;) {
		const char *stop = memchr(p, '\r', (size_t)(end - p));
		struct str line = {p, stop ? (size_t)(stop - p) : 0};

		CHECK(stop && stop + 1 < end && stop[1] == '\n' && line.len <= JOB_RAW_LINE_MAX);
		for (size_t i = 0; i < line.len; i++) {
			CHECK(p[i] != '\0' && p[i] != '\n');
			if ((unsigned char)p[i] < 0x80) continue;
			eight_bit = true;
			CHECK(!in_header || m->info.smtputf8);
		}
		p = stop + 2;
		if (line.len == 0) in_header = false;
		if (!in_header) continue;
		CHECK(str_is_utf8(line));
		switch (job_raw_field(line, &value)) {
		case JOB_RAW_BCC:
		case JOB_RAW_RESENT_BCC:
		case JOB_RAW_RETURN_PATH:
		case JOB_RAW_MBOX: CHECK(false); break;
		case JOB_RAW_MESSAGE_ID: message_ids++; break;
		case JOB_RAW_FROM: froms++; break;
		default: break;
		}
	}
	CHECK(eight_bit == m->info.eight_bit);
	CHECK(message_ids > 0 && froms == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct mail_raw m;
	static const struct job_address from = {
		.text = {"gw@b.c", 6}, .addr = {"gw@b.c", 6}, .domain = {"b.c", 3}};
	struct mail_input input = {.provider_from = &from, .date_known = true, .message_id = {"x@b.c", 5}};
	struct job job;
	size_t n;

	if (len > MESSAGE_MAX || make_job(data, len, &job) < 0) return 0;
	input.job = &job;
	CHECK(job.rcpt_count > 0);
	if (mail_raw_open(&m, &input, NULL) < 0) {
		CHECK(m.why); /* a local name */
		return 0;
	}
	n = read_all(&m, passes[0], 4096);
	CHECK(m.info.bytes == (int64_t)n);
	CHECK(mail_raw_rewind(&m) == 0 && read_all(&m, passes[1], len % 61 + 1) == n);
	CHECK(memcmp(passes[0], passes[1], n) == 0);
	check_wire(&m, passes[0], n);
	return 0;
}
