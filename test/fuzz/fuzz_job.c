/* A job of any bytes: decoding ends in a job or a pointer and reason, and what decodes keeps its promises. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "job/job.h"

static char memory[1 << 20], text[1 << 16], place[1 << 16];
static const char *original;
static size_t original_len;

static const struct job_limits limits = {.job_bytes = 60000,
					 .recipients = 20,
					 .envelope_bytes = 30000,
					 .attachments = true,
					 .templates = true};

static int decode(struct job *job)
{
	struct job_problem problem;
	struct arena a;
	int rc;

	memcpy(text, original, original_len);
	arena_init(&a, memory,
		   job_decode_arena_bytes(original_len) < sizeof(memory)
			   ? job_decode_arena_bytes(original_len)
			   : sizeof(memory));
	rc = job_decode(&a, text, original_len, &limits, job, &problem);
	CHECK(memchr(problem.pointer, 0, sizeof(problem.pointer)) && str_is_utf8(str_from(problem.pointer)));
	CHECK(!str_has_ctl(str_from(problem.pointer)) && !str_has_ctl(str_from(problem.reason)));
	CHECK((rc < 0) == (problem.reason[0] != '\0'));
	return rc;
}

static int fetch(void *arg, size_t at, char *bytes, size_t cap)
{
	size_t len = at < original_len ? original_len - at : 0;

	/* chunks of changing size, the same ones in every run */
	len = len < at % 61 + 1 ? len : at % 61 + 1;
	len = len < cap ? len : cap;
	memcpy(bytes, original + at, len);
	(void)arg;
	return (int)len;
}

static void check_text(const struct job_text *t)
{
	struct job_text_reader r;
	char bytes[64];
	size_t at = 0;
	int rc;

	if (!t->present) return;
	job_text_reader_init(&r, fetch, NULL, t->src_at);
	while ((rc = job_text_reader_read(&r, bytes, at % sizeof(bytes) + 1)) > 0) {
		CHECK(at + (size_t)rc <= t->utf8.len && memcmp(t->utf8.ptr + at, bytes, (size_t)rc) == 0);
		at += (size_t)rc;
	}
	CHECK(rc == 0 && at == t->utf8.len);
}

static void check_address(const struct job_address *a)
{
	if (!a->addr.ptr) return;
	CHECK(!str_has_ctl(a->addr) && !str_has_ctl(a->name) && a->addr.len <= JOB_ADDRESS_MAX);
	CHECK(!a->domain.ptr || a->domain.ptr + a->domain.len == a->addr.ptr + a->addr.len);
	for (size_t i = 0; i < a->domain.len; i++)
		CHECK(a->domain.ptr[i] > ' ' && (unsigned char)a->domain.ptr[i] < 0x7f);
}

static void check_job(const struct job *job)
{
	check_text(&job->text);
	check_text(&job->html);
	check_text(&job->raw);
	check_address(&job->from);
	check_address(&job->reply_to);
	CHECK(job->rcpt_count > 0 && job->rcpt_count <= limits.recipients);
	for (size_t i = 0; i < job->rcpt_count; i++)
		check_address(&job->rcpts[i].address);
	for (size_t i = 0; i < job->header_count; i++)
		CHECK(!str_has_ctl(job->headers[i].name) && !str_has_ctl(job->headers[i].value));
	for (size_t i = 0; i < job->attachment_count; i++)
		check_text(&job->attachments[i].content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	unsigned char digest[DIGEST_SHA256_BYTES];
	struct job job, copy;
	struct arena a;

	if (len > sizeof(text) - JSON_PADDING) return 0;
	original = (const char *)data;
	original_len = len;
	if (decode(&job) < 0) return 0;
	check_job(&job);
	arena_init(&a, place, limits.envelope_bytes);
	CHECK(job_copy_envelope(&a, &job, &copy) == 0);
	memcpy(digest, job.digest, sizeof(digest));
	CHECK(decode(&job) == 0 && memcmp(digest, job.digest, sizeof(digest)) == 0);
	return 0;
}
