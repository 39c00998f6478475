/* Finished messages over HTTP: their envelope from the request's fields or the message, refusals, sizes. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_front.h"
#include "gateway_kit.h"

#define MESSAGE                                                                                              \
	"From: A <a@b.c>\r\nTo: d@e.f, g@h.i\r\nBcc: j@k.l\r\nSubject: =?utf-8?q?=C3=A4?=\r\n\r\nx\r\n"

static int post(const char *fields, const char *body, size_t len)
{
	struct sim_http_request q = {.method = "POST",
				     .path = "/api/emails",
				     .content_type = "message/rfc822",
				     .fields = fields,
				     .body = body,
				     .body_len = len};

	return sim_http_full(&q, gateway_kit_reply, sizeof(gateway_kit_reply));
}

struct want {
	const char *fields, *body;
	int status;
	const char *piece;
};

static void check(const struct want *w)
{
	int status = post(w->fields, w->body, strlen(w->body));

	if (status != w->status || !strstr(gateway_kit_reply, w->piece))
		fail_msg("%s %.60s: %d %s, wanted %d %s", w->fields ? w->fields : "", w->body, status,
			 gateway_kit_reply, w->status, w->piece);
}

/* The newest job's item has these members. */
static void check_listed(const char *piece)
{
	assert_int_equal(gateway_kit_http("GET", "/api/emails?limit=1", NULL), 200);
	if (!strstr(gateway_kit_reply, piece)) fail_msg("%s, wanted %s", gateway_kit_reply, piece);
}

static void accepts(void *arg)
{
	(void)arg;
	check(&(struct want){NULL, MESSAGE, 202, "\"success\":true"});
	check_listed("\"subject\":\"\xc3\xa4\",\"to\":\"d@e.f, g@h.i\",\"recipient_count\":3");
	check(&(struct want){
		"X-Envelope-From: <>\nX-Envelope-To: r@b.c, \"S, T\" <s@b.c>\nx-envelope-to:,t@b.c\n"
		"X-Message-Id: my\\\"id",
		MESSAGE, 202, "\"message_id\":\"my\\\\\\\"id\""});
	check_listed("\"to\":\"r@b.c, s@b.c, t@b.c\",\"recipient_count\":3");
	check(&(struct want){"X-Envelope-To: r@b.c, s@b.c, t@b.c\nX-Envelope-From: \nX-Message-Id: my\\\"id",
			     MESSAGE, 409, "known under this id"});
	check(&(struct want){"X-Envelope-To: r@b.c, \"S, T\" <s@b.c>, t@b.c\nX-Envelope-From: \n"
			     "X-Message-Id: my\\\"id",
			     MESSAGE, 200, "\"message_id\":\"my\\\\\\\"id\""});
	check(&(struct want){"X-Provider-Id: default", MESSAGE, 202, ""});
}

static void test_accepts(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, accepts, NULL, 0);
}

static void refuses(void *arg)
{
	static const struct want wants[] = {
		{NULL, "", 400, "\"error\":\"empty\",\"pointer\":\"/raw\""},
		{NULL, "From: a@b.c\n\nx", 400, "\"pointer\":\"/raw\""},
		{NULL, "hello", 400, "line 1 of the message"},
		{NULL, "{\"to\":[\"a@b.c\"],\"body_content\":\"x\"}", 400, "\"pointer\":\"/raw\""},
		{"X-Envelope-To: r@b.c,, nobody@, x", MESSAGE, 400, "\"pointer\":\"/to/1\""},
		{"X-Envelope-To: ", MESSAGE, 400, "\"pointer\":\"/to\""},
		{"X-Envelope-To: \xff@b.c", MESSAGE, 400, "\"error\":\"not UTF-8\",\"pointer\":\"/to\""},
		{"X-Envelope-From: nobody", MESSAGE, 400, "\"pointer\":\"/envelope_from\""},
		{"X-Envelope-From: \xff@b.c", MESSAGE, 400, "\"pointer\":\"/envelope_from\""},
		{"X-Envelope-From: a@b.c\nX-Envelope-From: a@b.c", MESSAGE, 400, "twice"},
		{"X-Message-Id: a\nX-Message-Id: a", MESSAGE, 400, "\"pointer\":\"/message_id\""},
		{"X-Provider-Id: other", MESSAGE, 400, "\"pointer\":\"/provider_id\""},
		{"X-Tenant-Id: \xff", MESSAGE, 400, "\"pointer\":\"/tenant_id\""},
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++)
		check(&wants[i]);
	assert_int_equal(gateway_kit_http("GET", "/api/emails", NULL), 200);
	assert_non_null(strstr(gateway_kit_reply, "\"items\":[]"));
}

static void test_refuses(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, refuses, NULL, 0);
}

/* ---- sizes ---- */

#define JOB_BYTES 1048576

static char large[2 * JOB_BYTES];

/* A message of exactly n bytes. */
static const char *message_of(size_t n)
{
	size_t at = (size_t)sprintf(large, "%s", MESSAGE);

	while (at < n)
		large[at] = at % 80 == 79 ? '\n' : (char)('a' + at % 26), at++;
	return large;
}

static void sizes(void *arg)
{
	static const size_t small[] = {100, 12287, 12288, 12289, 16384, 49000, 65536, 100000, 500000};
	/* {"raw":"..."} of exactly job_bytes */
	size_t most = (JOB_BYTES - strlen("{\"raw\":\"\"}")) / 4 * 3;

	(void)arg;
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++)
		for (size_t n = small[i]; n < small[i] + 3; n++) {
			int status = post(NULL, message_of(n), n);

			if (status != 202) fail_msg("%zu bytes: %d %s", n, status, gateway_kit_reply);
		}
	assert_int_equal(post(NULL, message_of(most), most), 202);
	assert_int_equal(post(NULL, message_of(JOB_BYTES), most + 1), 413);
	assert_non_null(strstr(gateway_kit_reply, "job_bytes"));
	assert_int_equal(post(NULL, message_of(JOB_BYTES), JOB_BYTES / 4 * 3 + 1), 413);
	assert_int_equal(post(NULL, message_of(JOB_BYTES), JOB_BYTES), 413);
	assert_int_equal(post(NULL, message_of(JOB_BYTES + 1), JOB_BYTES + 1), 413);
}

static void test_sizes(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, sizes, NULL, 0);
}

static void over_limit(void *arg)
{
	(void)arg;
	assert_int_equal(post(NULL, message_of(20000), 20000), 202);
	assert_int_equal(post(NULL, message_of(20500), 20500), 413);
	assert_non_null(strstr(gateway_kit_reply, "[limits] message_bytes\",\"pointer\":\"/raw\""));
	memset(large + 60, 'x', 20400);
	memcpy(large, "{\"to\":[\"a@b.c\"],\"body_content\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 60);
	strcpy(large + 20600, "\"}");
	memset(large + 20460, 'x', 140);
	assert_int_equal(gateway_kit_http("POST", "/api/emails", large), 413);
	assert_non_null(strstr(gateway_kit_reply, "[limits] message_bytes"));
}

static void test_over_limit(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI "[limits]\nmessage_bytes = 20K\n", over_limit, NULL, 0);
}

/* Fields as long as a front takes them, with a message that just fits into small memory. */
static void long_fields(void *arg)
{
	static char fields[12000];
	size_t at = (size_t)sprintf(fields, "X-Envelope-To: ");

	(void)arg;
	while (at < sizeof(fields) - 20)
		at += (size_t)sprintf(fields + at, "\"\\\"\" <a@b.c>,");
	assert_int_equal(post(fields, message_of(12000), 12000), 202);
	check_listed("\"to\":\"a@b.c\",\"recipient_count\":1,");
	/* each byte takes six in JSON: more than small memory */
	memset(fields + 15, 1, sizeof(fields) - 16);
	assert_int_equal(post(fields, message_of(12000), 12000), 400);
	assert_non_null(strstr(gateway_kit_reply, "\"pointer\":\"/to/0\""));
}

static void test_long_fields(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, long_fields, NULL, 0);
}

static void submits(void *arg)
{
	struct sim_http_request q = {.method = "POST",
				     .path = "/api/emails",
				     .content_type = "Message/RFC822; charset=x",
				     .peer = API_PEER_SUBMIT,
				     .body = MESSAGE,
				     .body_len = strlen(MESSAGE)};

	(void)arg;
	assert_int_equal(sim_http_full(&q, gateway_kit_reply, sizeof(gateway_kit_reply)), 202);
}

static void test_submit_socket(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, submits, NULL, 0);
}

static int setup(void **state)
{
	(void)state;
	sim_reset();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_accepts, setup),
		cmocka_unit_test_setup(test_refuses, setup),
		cmocka_unit_test_setup(test_sizes, setup),
		cmocka_unit_test_setup(test_over_limit, setup),
		cmocka_unit_test_setup(test_long_fields, setup),
		cmocka_unit_test_setup(test_submit_socket, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
