/* The text reader, cut everywhere; the digest's table; names, ids and result events. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"
#include "job/job.h"

static char memory[1 << 18], text[1 << 16];

static const struct job_limits limits = {.job_bytes = 60000,
					 .recipients = 100,
					 .envelope_bytes = 60000,
					 .attachments = true,
					 .templates = true};

static int decode(const char *json, struct job *job)
{
	struct job_problem problem;
	struct arena a;
	int rc;

	memcpy(text, json, strlen(json));
	arena_init(&a, memory, sizeof(memory));
	rc = job_decode(&a, text, strlen(json), &limits, job, &problem);
	if (rc < 0) print_error("%s\n  %s: %s\n", json, problem.pointer, problem.reason);
	return rc;
}

/* ---- text reader ---- */

struct original {
	const char *bytes;
	size_t len, chunk;
	int rc; /* not 0: what fetch answers behind `len` */
};

static int fetch(void *arg, size_t at, char *bytes, size_t cap)
{
	struct original *o = arg;
	size_t len = at < o->len ? o->len - at : 0;

	if (len == 0) return o->rc;
	len = len < o->chunk ? len : o->chunk;
	len = len < cap ? len : cap;
	memcpy(bytes, o->bytes + at, len);
	return (int)len;
}

static const char original[] =
	"{\"to\":[\"a@b.c\"],\"body_content\":\"plain \\\" \\\\ \\/ \\b\\f\\n\\r\\t "
	"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00 "
	"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \\u0000 \\uFFFF\\\\\\u005c \\ud83d\\ude00\\ud83d\\ude00 end\"}";

static void reads_text_cut_anywhere(void **state)
{
	char expected[512], got[600];
	struct job_text_reader r;
	struct original o = {original, strlen(original), 0, 0};
	struct job job;
	size_t len, read_at;
	int rc = 0;

	(void)state;
	assert_int_equal(decode(original, &job), 0);
	len = job.text.utf8.len;
	memcpy(expected, job.text.utf8.ptr, len);
	for (o.chunk = 1; o.chunk <= 64; o.chunk++)
		for (size_t cap = 1; cap <= 64; cap++) {
			job_text_reader_init(&r, fetch, &o, job.text.src_at);
			for (int pass = 0; pass < 2; pass++) {
				read_at = 0;
				while ((rc = job_text_reader_read(&r, got + read_at, cap)) > 0) {
					assert_true((size_t)rc <= cap);
					read_at += (size_t)rc;
					assert_true(read_at <= len);
				}
				assert_int_equal(rc, 0);
				assert_int_equal(read_at, len);
				assert_memory_equal(got, expected, len);
				assert_int_equal(job_text_reader_read(&r, got, cap), 0);
				job_text_reader_rewind(&r);
			}
		}
}

static int read_all(const char *bytes, int fetch_rc)
{
	struct original o = {bytes, strlen(bytes), 3, fetch_rc};
	struct job_text_reader r;
	char got[100];
	int rc;

	job_text_reader_init(&r, fetch, &o, 0);
	while ((rc = job_text_reader_read(&r, got, sizeof(got))) > 0)
		;
	return rc;
}

static void refuses_text_that_is_no_string(void **state)
{
	static const char *const bad[] = {
		"",
		"abc",
		"abc\\",
		"abc\\u12",
		"\\x\"",
		"\\u12g4\"",
		"a\nb\"",
		"\\ud83d\"",
		"\\ud83dx\"",
		"\\ud83dx\\ude00\"",
		"\\ud83d\\n\"",
		"\\ud83d\\u0041\"",
		"\\ude00\"",
		"\\ud83d\\ud83d\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (read_all(bad[i], 0) != ERR_CORRUPT) fail_msg("'%s' passes", bad[i]);
	assert_int_equal(read_all("abc", ERR_IO), ERR_IO);
	assert_int_equal(read_all("abc\"", ERR_IO), 0);
	assert_int_equal(read_all("\"", 0), 0);
}

/* ---- digest ---- */

static const char base[] =
	"{\"tenant_id\":\"t\",\"message_id\":\"m\",\"to\":[\"a@b.c\",\"d@e.f\"],\"subject\":\"s\","
	"\"body_content\":\"x\",\"headers\":{\"X-A\":[\"1\",\"2\"],\"X-B\":\"3\"},"
	"\"context\":{\"a\":{\"b\":1,\"c\":[1,2]},\"d\":null}}";

static const char *const same[] = {
	base,
	"{\"context\":{\"d\":null,\"a\":{\"c\":[1,2],\"b\":1}},\"headers\":{\"X-B\":\"3\",\"X-A\":[\"1\","
	"\"2\"]},"
	"\"body_content\":\"x\",\"subject\":\"s\",\"to\":[\"a@b.c\",\"d@e.f\"],\"message_id\":\"m\","
	"\"tenant_id\":\"t\"}",
	" { \"tenant_id\" : \"t\", \"message_id\" : \"\\u006d\", \"to\" : [ \"a@b.c\", \"d@e.f\" ], "
	"\"subject\" : \"s\" , "
	"\"body_content\":\"x\",\"headers\":{\"X-A\":[1,2],\"X-B\":3},\"context\":{\"a\":{\"b\":1,"
	"\"c\":[1,2]},\"d\":null},"
	"\"timestamp\":\"2025-09-19T10:30:00Z\",\"unknown\":[1],\"cc\":null,\"attachments\":[],\"user_id\":"
	"null}",
	"{\"tenant_id\":\"t\",\"message_id\":\"m\",\"to\":[\" "
	"a@b.c\",\"<d@e.f>\",\"a@b.c\"],\"subject\":\"s\","
	"\"body_content\":\"x\",\"body_format\":\"TEXT\",\"priority\":\"normal\",\"headers\":{\"X-A\":[\"1\","
	"\"2\"],"
	"\"X-B\":\"3\"},\"timestamp\":\"later\",\"context\":{\"a\":{\"b\":1,\"c\":[1,2]},\"d\":null}}",
};

#define OTHER(tenant, to, content, headers, context)                                                         \
	"{\"tenant_id\":\"" tenant "\",\"message_id\":\"m\"," to ",\"subject\":\"s\"," content               \
	",\"headers\":{" headers "},\"context\":{" context "}}"
#define TO2     "\"to\":[\"a@b.c\",\"d@e.f\"]"
#define BODY    "\"body_content\":\"x\""
#define HEADERS "\"X-A\":[\"1\",\"2\"],\"X-B\":\"3\""
#define CONTEXT "\"a\":{\"b\":1,\"c\":[1,2]},\"d\":null"

static const char *const other[] = {
	OTHER("u", TO2, BODY, HEADERS, CONTEXT),
	OTHER("t", "\"to\":[\"d@e.f\",\"a@b.c\"]", BODY, HEADERS, CONTEXT),
	OTHER("t", "\"to\":[\"a@b.c\"]", BODY, HEADERS, CONTEXT),
	OTHER("t", "\"to\":[\"a@b.c\"],\"cc\":[\"d@e.f\"]", BODY, HEADERS, CONTEXT),
	OTHER("t", "\"to\":[\"a@b.c\"],\"bcc\":[\"d@e.f\"]", BODY, HEADERS, CONTEXT),
	OTHER("t", "\"to\":[\"A <a@b.c>\",\"d@e.f\"]", BODY, HEADERS, CONTEXT),
	OTHER("t", TO2, "\"body_content\":\"x \"", HEADERS, CONTEXT),
	OTHER("t", TO2, "\"body_content\":\"\"", HEADERS, CONTEXT),
	OTHER("t", TO2, "\"body_content\":\"x\",\"body_format\":\"HTML\"", HEADERS, CONTEXT),
	OTHER("t", TO2, "\"body_content\":\"x\",\"body_format\":\"HTML\",\"text_content\":\"\"", HEADERS,
	      CONTEXT),
	OTHER("t", TO2, "\"template_id\":\"x\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"campaign_id\":\"x\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"user_id\":\"x\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"provider_id\":\"x\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"email_type\":\"x\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"source_app\":\"x\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"related_model_id\":1", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"from\":\"x@y.z\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"reply_to\":\"x@y.z\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"envelope_from\":\"x@y.z\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"envelope_from\":\"<>\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"priority\":\"high\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"send_at\":\"2025-09-19T10:30:00Z\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"expires_at\":\"2025-09-19T10:30:00Z\"", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"attachments\":[{\"path\":\"x\"}]", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"attachments\":[{\"url\":\"http://x\"}]", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"attachments\":[{\"path\":\"x\",\"content_id\":\"x\"}]", HEADERS, CONTEXT),
	OTHER("t", TO2, BODY ",\"attachments\":[{\"filename\":\"x\",\"content\":\"QQ==\"}]", HEADERS,
	      CONTEXT),
	OTHER("t", TO2, BODY, "\"X-A\":[\"2\",\"1\"],\"X-B\":\"3\"", CONTEXT),
	OTHER("t", TO2, BODY, "\"X-A\":[\"1\"],\"X-B\":[\"3\",\"2\"]", CONTEXT),
	OTHER("t", TO2, BODY, "\"X-A\":[\"1\",\"2\"]", CONTEXT),
	OTHER("t", TO2, BODY, HEADERS, "\"a\":{\"b\":1,\"c\":[2,1]},\"d\":null"),
	OTHER("t", TO2, BODY, HEADERS, "\"a\":{\"b\":\"1\",\"c\":[1,2]},\"d\":null"),
	OTHER("t", TO2, BODY, HEADERS, "\"a\":{\"b\":1,\"c\":[1,2]}"),
	OTHER("t", TO2, BODY, HEADERS, "\"a\":{\"b\":1},\"c\":[1,2],\"d\":null"),
	OTHER("t", TO2, BODY, HEADERS, ""),
	"{\"tenant_id\":\"t\",\"message_id\":\"m\",\"recipients\":[\"a@b.c\",\"d@e.f\"],\"subject\":\"s\","
	"\"plain_body\":\"x\","
	"\"headers\":{\"X-A\":[\"1\",\"2\"],\"X-B\":\"3\"},\"context\":{\"a\":{\"b\":1,\"c\":[1,2]},\"d\":"
	"null}}",
};

static void tells_jobs_apart(void **state)
{
	enum { SAME = sizeof(same) / sizeof(same[0]), OTHERS = sizeof(other) / sizeof(other[0]) };
	static unsigned char digests[OTHERS + 1][DIGEST_SHA256_BYTES];
	struct job job;

	(void)state;
	for (size_t i = 0; i < SAME; i++) {
		assert_int_equal(decode(same[i], &job), 0);
		if (i == 0) memcpy(digests[OTHERS], job.digest, sizeof(job.digest));
		if (memcmp(digests[OTHERS], job.digest, sizeof(job.digest)) != 0) fail_msg("%zu differs", i);
	}
	for (size_t i = 0; i < OTHERS; i++) {
		assert_int_equal(decode(other[i], &job), 0);
		memcpy(digests[i], job.digest, sizeof(job.digest));
	}
	for (size_t i = 0; i <= OTHERS; i++)
		for (size_t k = 0; k < i; k++)
			if (memcmp(digests[i], digests[k], DIGEST_SHA256_BYTES) == 0)
				fail_msg("%zu is as %zu", i, k);
}

/* ---- names, ids, results ---- */

static void names_round_trip(void **state)
{
	enum job_state s;

	(void)state;
	for (unsigned i = 0; i < JOB_STATE_COUNT; i++) {
		assert_int_equal(job_state_parse(str_from(job_state_name((enum job_state)i)), &s), 0);
		assert_int_equal(s, i);
	}
	assert_int_equal(job_state_parse(STR("Pending"), &s), ERR_INVALID);
	assert_string_equal(job_reason_name(JOB_REASON_NONE), "");
	assert_string_equal(job_reason_name(JOB_REASON_HELD), "held");
	assert_string_equal(job_reason_name(JOB_REASON_BAD), "bad");
	assert_string_equal(job_priority_name(JOB_PRIORITY_LOW), "low");
}

static const char *message_id(const char *tenant, const char *id, const char *domain)
{
	static char bytes[4][256];
	static unsigned turn;
	struct buf b;

	buf_init(&b, bytes[++turn % 4], sizeof(bytes[0]));
	job_message_id(&b, str_from(tenant), str_from(id), str_from(domain));
	assert_false(b.cut);
	return b.ptr;
}

static void makes_message_ids(void **state)
{
	char longest[254], id[256];
	const char *got;

	(void)state;
	got = message_id("t", "unique-message-id", "company.com");
	assert_int_equal(strlen(got), 20 + 1 + 17 + 1 + 11);
	assert_string_equal(got + 20, ".unique-message-id@company.com");
	assert_string_equal(got, message_id("t", "unique-message-id", "company.com"));
	assert_string_not_equal(got, message_id("u", "unique-message-id", "company.com"));
	/* what cannot stand in an id is replaced, and still told apart */
	got = message_id("t", "a <b> \xc3\xbc@c", "x.y");
	assert_string_equal(got + 20, ".a--b-----c@x.y");
	assert_string_not_equal(got, message_id("t", "a (b) \xc3\xbc@c", "x.y"));
	assert_string_equal(message_id("", "", "x.y") + 20, "@x.y");
	memset(id, 'i', sizeof(id));
	id[255] = '\0';
	/* the longest domain there is: its end */
	memset(longest, 'd', sizeof(longest));
	for (size_t i = 60; i < sizeof(longest); i += 60)
		longest[i] = '.';
	longest[252] = '\0';
	got = message_id("t", id, longest);
	assert_true(strlen(got) < 255);
	assert_string_equal(strchr(got, '@') + 1, longest + 121);
}

static struct job_result_rcpt rcpts[100];

static const char *result(const struct job_result *r, size_t cap)
{
	static char bytes[40000];
	static char copy[40000];
	const struct json *root;
	struct json_error error;
	struct arena a;
	struct buf b;

	buf_init(&b, bytes, cap);
	job_result_json(&b, r);
	assert_false(b.cut);
	memcpy(copy, bytes, b.len);
	arena_init(&a, memory, sizeof(memory));
	assert_int_equal(json_parse(&a, copy, b.len, &root, &error), 0);
	return bytes;
}

static void writes_results(void **state)
{
	struct job_result r = {.kind = JOB_RESULT_SENT,
			       .message_id = STR("unique-message-id"),
			       .provider_name = STR("Gmail"),
			       .provider_message_id = STR("gmail-12345"),
			       .sent_at_ms = 1758277805123};

	(void)state;
	assert_string_equal(result(&r, 4096),
			    "{\"success\":true,\"message_id\":\"unique-message-id\",\"status\":\"sent\","
			    "\"provider_response\":"
			    "{\"provider_name\":\"Gmail\",\"provider_message_id\":\"gmail-12345\","
			    "\"sent_at\":\"2025-09-19T10:30:05Z\"}}");
	r = (struct job_result){.kind = JOB_RESULT_FAILED,
				.message_id = STR("m\"1"),
				.error = STR("550 \"no\"\r\n"),
				.retry_count = 2,
				.max_retries = 3,
				.next_retry_at_ms = 1758278100000};
	assert_string_equal(result(&r, 4096),
			    "{\"success\":false,\"error\":\"550 "
			    "\\\"no\\\"\\r\\n\",\"retry_count\":2,\"max_retries\":3,"
			    "\"next_retry_at\":\"2025-09-19T10:35:00Z\",\"message_id\":\"m\\\"1\"}");
	r.next_retry_at_ms = 0;
	rcpts[0] = (struct job_result_rcpt){JOB_RESULT_FAILED, STR("a@b.c"), STR("550 no")};
	r.rcpts = rcpts;
	r.rcpt_count = 1;
	assert_string_equal(result(&r, 4096), "{\"success\":false,\"error\":\"550 "
					      "\\\"no\\\"\\r\\n\",\"retry_count\":2,\"max_retries\":3,"
					      "\"next_retry_at\":null,\"message_id\":\"m\\\"1\"}");
	r = (struct job_result){.kind = JOB_RESULT_HELD,
				.message_id = STR("m"),
				.error = STR("no link"),
				.max_retries = 3,
				.rcpts = rcpts,
				.rcpt_count = 3};
	rcpts[1] = (struct job_result_rcpt){JOB_RESULT_HELD, STR("d@e.f"), STR("")};
	rcpts[2] = (struct job_result_rcpt){JOB_RESULT_SENT, STR("g@h.i"), STR("250 ok")};
	assert_string_equal(result(&r, 4096),
			    "{\"success\":false,\"status\":\"held\",\"error\":\"no "
			    "link\",\"retry_count\":0,\"max_retries\":3,"
			    "\"next_retry_at\":null,\"message_id\":\"m\",\"recipients\":["
			    "{\"address\":\"a@b.c\",\"status\":\"failed\",\"error\":\"550 no\"},"
			    "{\"address\":\"d@e.f\",\"status\":\"pending\"},"
			    "{\"address\":\"g@h.i\",\"status\":\"sent\",\"response\":\"250 ok\"}]}");
}

static void leaves_recipients_out_when_it_must(void **state)
{
	struct job_result r = {.kind = JOB_RESULT_FAILED,
			       .message_id = STR("m"),
			       .error = STR("e"),
			       .rcpts = rcpts,
			       .rcpt_count = 100};
	static char text_of_rcpt[200];
	size_t listed;

	(void)state;
	memset(text_of_rcpt, 't', sizeof(text_of_rcpt));
	for (size_t i = 0; i < 100; i++)
		rcpts[i] = (struct job_result_rcpt){i == 70 ? JOB_RESULT_FAILED : JOB_RESULT_SENT,
						    i == 70 ? STR("bad@example.com")
							    : STR("someone@example.com"),
						    {text_of_rcpt, sizeof(text_of_rcpt)}};
	for (size_t cap = 300; cap < 32000; cap += 7) {
		const char *json = result(&r, cap), *at = json, *left = strstr(json, "left_out\":");

		for (listed = 0; (at = strstr(at, "{\"address\"")) != NULL; at++)
			listed++;
		assert_int_equal(listed + (left ? strtoul(left + 10, NULL, 10) : 0), 100);
		assert_non_null(strstr(json, "\"bad@example.com\",\"status\":\"failed\""));
		if (cap == 300) assert_non_null(left);
	}
	assert_non_null(strstr(result(&r, 32000), "\"response\":\"ttt"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_text_cut_anywhere),
		cmocka_unit_test(refuses_text_that_is_no_string),
		cmocka_unit_test(tells_jobs_apart),
		cmocka_unit_test(names_round_trip),
		cmocka_unit_test(makes_message_ids),
		cmocka_unit_test(writes_results),
		cmocka_unit_test(leaves_recipients_out_when_it_must),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
