/* Both formats, good and bad: every refusal with its exact pointer and reason. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"
#include "job/job.h"

static char memory[1 << 20], text[1 << 18];
static struct job job;
static struct job_problem problem;

static const struct job_limits all = {.job_bytes = 200000,
				      .recipients = 3,
				      .envelope_bytes = 30000,
				      .attachments = true,
				      .templates = true};
static const struct job_limits first = {.job_bytes = 200000, .recipients = 3, .envelope_bytes = 30000};

static int decode_with(const char *json, size_t len, const struct job_limits *limits)
{
	struct arena a;

	assert_true(len + JSON_PADDING <= sizeof(text));
	memcpy(text, json, len);
	arena_init(&a, memory, sizeof(memory));
	return job_decode(&a, text, len, limits, &job, &problem);
}

static int decode(const char *json)
{
	return decode_with(json, strlen(json), &all);
}

static void assert_str(struct str s, const char *expected)
{
	if (!str_eq(s, str_from(expected))) fail_msg("'%.*s' instead of '%s'", STR_ARG(s), expected);
}

/* ---- refusals ---- */

struct bad {
	const char *json;
	int rc;
	const char *pointer, *reason;
};

#define ADDRESS         "not an address: "
#define QUOTES          " wants quotes)"
#define TO(address)     "{\"to\":[\"" address "\"],\"body_content\":\"x\"}"
#define WITH(members)   "{\"to\":[\"a@b.c\"],\"body_content\":\"x\"," members "}"
#define ZERO(members)   "{\"recipients\":[\"a@b.c\"]," members "}"
#define HEADER(member)  WITH("\"headers\":{" member "}")
#define ATTACH(members) WITH("\"attachments\":[{" members "}]")
#define TEN             "aaaaaaaaaa"
#define SIXTY           TEN TEN TEN TEN TEN TEN

static void check_bad(const struct bad *cases, size_t count, const struct job_limits *limits)
{
	int wrong = 0;

	for (size_t i = 0; i < count; i++) {
		const struct bad *c = &cases[i];
		int rc = decode_with(c->json, strlen(c->json), limits);

		if (rc == c->rc && strcmp(problem.pointer, c->pointer) == 0 &&
		    strcmp(problem.reason, c->reason) == 0)
			continue;
		print_error("%s\n  expected %s %s: %s\n  got      %s %s: %s\n", c->json, err_name(c->rc),
			    c->pointer, c->reason, err_name(rc), problem.pointer, problem.reason);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}
#define CHECK_BAD(cases, limits) check_bad(cases, sizeof(cases) / sizeof((cases)[0]), limits)

static void refuses_documents(void **state)
{
	static const struct bad cases[] = {
		{"", ERR_SYNTAX, "", "not JSON: empty at byte 0"},
		{"[]", ERR_INVALID, "", "must be an object, is an array"},
		{"\"x\"", ERR_INVALID, "", "must be an object, is a string"},
		{"1", ERR_INVALID, "", "must be an object, is a number"},
		{"true", ERR_INVALID, "", "must be an object, is a boolean"},
		{"null", ERR_INVALID, "", "must be an object, is null"},
		{"{}", ERR_INVALID, "", "no recipient: needs to, cc, bcc or recipients"},
		{"{\"to\":null,\"recipients\":null}", ERR_INVALID, "",
		 "no recipient: needs to, cc, bcc or recipients"},
		{"{\"to\":[\"a@b.c\"],\"recipients\":[\"a@b.c\"]}", ERR_INVALID, "/recipients",
		 "not beside to, cc or bcc: a job is of one format"},
		{"{\"bcc\":[],\"recipients\":[]}", ERR_INVALID, "/recipients",
		 "not beside to, cc or bcc: a job is of one format"},
		{"{\"to\":[\"a@b.c\"],\"to\":[\"a@b.c\"],\"body_content\":\"\"}", ERR_INVALID, "/to",
		 "given twice"},
		{"{\"subject\":null,\"subject\":null}", ERR_INVALID, "/subject", "given twice"},
		{WITH("\"timestamp\":1"), ERR_INVALID, "/timestamp", "must be a string, is a number"},
	};

	(void)state;
	CHECK_BAD(cases, &all);
	assert_int_equal(decode("{\"to\":[\"a@b.c\"],}"), ERR_SYNTAX);
	assert_int_equal(decode("{\"to\":[\"a@b.c\"]"), ERR_SYNTAX);
	assert_int_equal(decode("{'to':1}"), ERR_SYNTAX);
	assert_int_equal(decode(WITH("\"subject\":\"\xff\"")), ERR_SYNTAX);
	assert_int_equal(decode(WITH("\"subject\":\"\\ud800\"")), ERR_SYNTAX);
	assert_int_equal(decode(WITH("\"subject\":\"a\nb\"")), ERR_SYNTAX);
	assert_int_equal(decode("\xef\xbb\xbf{}"), ERR_SYNTAX);
	assert_int_equal(decode_with("{}\0", 3, &all), ERR_SYNTAX);
	assert_true(strncmp(problem.reason, "not JSON: ", 10) == 0);
	assert_string_equal(problem.pointer, "");
}

static void refuses_recipients(void **state)
{
	static const struct bad cases[] = {
		{"{\"to\":\"a@b.c\",\"body_content\":\"\"}", ERR_INVALID, "/to",
		 "must be an array of addresses"},
		{"{\"to\":{},\"body_content\":\"\"}", ERR_INVALID, "/to", "must be an array of addresses"},
		{"{\"to\":[]}", ERR_INVALID, "/to", "no recipient in it"},
		{"{\"cc\":[],\"bcc\":[]}", ERR_INVALID, "/cc", "no recipient in it"},
		{"{\"recipients\":[]}", ERR_INVALID, "/recipients", "no recipient in it"},
		{"{\"to\":[1]}", ERR_INVALID, "/to/0", "must be a string, is a number"},
		{"{\"to\":[\"a@b.c\",null]}", ERR_INVALID, "/to/1", "must be a string, is null"},
		{"{\"to\":[\"a@b.c\"],\"cc\":[\"a@b.c\",\"x\",\"@\"]}", ERR_INVALID, "/cc/2",
		 ADDRESS "nothing before the @"},
		{"{\"to\":[\"a@b.c\",\"b@b.c\"],\"bcc\":[\"c@b.c\",\"A@b.c\"]}", ERR_TOO_LARGE, "/bcc/1",
		 "too many recipients: at most 3"},
		{"{\"recipients\":[\"a@b.c\",\"a@b\\n.c\"]}", ERR_INVALID, "/recipients/1",
		 ADDRESS "a line break in it"},
	};

	(void)state;
	CHECK_BAD(cases, &all);
}

static void refuses_addresses(void **state)
{
	static const struct bad cases[] = {
		{TO(""), ERR_INVALID, "/to/0", ADDRESS "empty"},
		{TO(" "), ERR_INVALID, "/to/0", ADDRESS "empty"},
		{TO("<>"), ERR_INVALID, "/to/0", ADDRESS "empty"},
		{TO("(a comment)"), ERR_INVALID, "/to/0", ADDRESS "empty"},
		{TO("John Doe"), ERR_INVALID, "/to/0", ADDRESS "no @ in it"},
		{TO("\\\"John Doe\\\""), ERR_INVALID, "/to/0", ADDRESS "no @ in it"},
		{TO("j\xc3\xb6rg"), ERR_INVALID, "/to/0", ADDRESS "no @ in it"},
		{TO("John a@b.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a name before the address wants it in brackets: <a@b>"},
		{TO("a @b.c"), ERR_INVALID, "/to/0", ADDRESS "a space or comment before the @"},
		{TO("a@ b.c"), ERR_INVALID, "/to/0", ADDRESS "nothing behind the @"},
		{TO("a@"), ERR_INVALID, "/to/0", ADDRESS "nothing behind the @"},
		{TO("@b.c"), ERR_INVALID, "/to/0", ADDRESS "nothing before the @"},
		{TO("a@b@c.d"), ERR_INVALID, "/to/0", ADDRESS "an @ too many (a name with an @" QUOTES},
		{TO("a@b.c <a@b.c>"), ERR_INVALID, "/to/0", ADDRESS "an @ too many (a name with an @" QUOTES},
		{TO("a@b.c, d@e.f"), ERR_INVALID, "/to/0",
		 ADDRESS "one address only, not a list (a name with a comma or semicolon" QUOTES},
		{TO("Doe, John <a@b.c>"), ERR_INVALID, "/to/0",
		 ADDRESS "one address only, not a list (a name with a comma or semicolon" QUOTES},
		{TO("<a@b.c>, <d@e.f>"), ERR_INVALID, "/to/0",
		 ADDRESS "one address only, not a list (a name with a comma or semicolon" QUOTES},
		{TO("Friends: a@b.c, d@e.f"), ERR_INVALID, "/to/0",
		 "not a group: a group is not closed by ; (a name with a colon" QUOTES},
		{TO("undisclosed-recipients:;"), ERR_INVALID, "/to", "no recipient in it"},
		{TO("[Acme] <a@b.c>"), ERR_INVALID, "/to/0",
		 ADDRESS "a character in the wrong place (a name with special characters" QUOTES},
		{TO("<@relay:a@b.c>"), ERR_INVALID, "/to/0", ADDRESS "nothing before the @"},
		{TO("<a@b.c"), ERR_INVALID, "/to/0", ADDRESS "a bracket is not closed"},
		{TO("a@b.c>"), ERR_INVALID, "/to/0", ADDRESS "a bracket in the wrong place"},
		{TO("<a@b.c> x"), ERR_INVALID, "/to/0",
		 ADDRESS "a character in the wrong place (a name with special characters" QUOTES},
		{TO("\\\"Doe <a@b.c>"), ERR_INVALID, "/to/0", ADDRESS "a quote is not closed"},
		{TO("\\\"a@b.c"), ERR_INVALID, "/to/0", ADDRESS "a quote is not closed"},
		{TO("a@b.c (x"), ERR_INVALID, "/to/0", ADDRESS "a comment is not closed"},
		{TO("a@b.c (x(y)"), ERR_INVALID, "/to/0", ADDRESS "a comment is not closed"},
		{TO(".a@b.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a dot at the beginning, or two in a row, before the @"},
		{TO("a..b@b.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a dot at the beginning, or two in a row, before the @"},
		{TO("a.@b.c"), ERR_INVALID, "/to/0", ADDRESS "a dot right before the @"},
		{TO("a@b..c"), ERR_INVALID, "/to/0", ADDRESS "the domain has an empty label"},
		{TO("a@.b.c"), ERR_INVALID, "/to/0", ADDRESS "the domain has an empty label"},
		{TO("a@b.c."), ERR_INVALID, "/to/0", ADDRESS "the domain has an empty label"},
		{TO("a@-b.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a label of the domain begins or ends with a hyphen"},
		{TO("a@b-.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a label of the domain begins or ends with a hyphen"},
		{TO("a@b_c.d"), ERR_INVALID, "/to/0", ADDRESS "a character that a domain cannot have"},
		{TO("a@b!c"), ERR_INVALID, "/to/0", ADDRESS "a character that a domain cannot have"},
		{TO("a@" SIXTY "aaaa.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a label of the domain is longer than 63 bytes"},
		{TO("a@" SIXTY "\xc3\xbc.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a label of the domain is longer than 63 bytes"},
		{TO(SIXTY "aaaaa@b.c"), ERR_INVALID, "/to/0",
		 ADDRESS "the part before the @ is longer than 64 bytes"},
		{TO("a@" SIXTY "." SIXTY "." SIXTY "." SIXTY "." TEN), ERR_INVALID, "/to/0",
		 ADDRESS "longer than 254 bytes"},
		{TO("a@192.0.2.1"), ERR_INVALID, "/to/0",
		 ADDRESS "the domain ends in a number (an IP address wants brackets)"},
		{TO("a@[192.0.2.256]"), ERR_INVALID, "/to/0", ADDRESS "not an IP address in the brackets"},
		{TO("a@[2001:db8::1]"), ERR_INVALID, "/to/0", ADDRESS "not an IP address in the brackets"},
		{TO("a@[IPv6:192.0.2.1]"), ERR_INVALID, "/to/0", ADDRESS "not an IP address in the brackets"},
		{TO("a@[IPv6:fe80::1%eth0]"), ERR_INVALID, "/to/0",
		 ADDRESS "not an IP address in the brackets"},
		{TO("a@[x:y]"), ERR_INVALID, "/to/0", ADDRESS "not an IP address in the brackets"},
		{TO("a@[192.0.2.1"), ERR_INVALID, "/to/0", ADDRESS "an address in brackets is not closed"},
		{TO("a@b\xe3\x80\x82"
		    "c"),
		 ERR_INVALID, "/to/0",
		 ADDRESS "a character that a domain cannot have (write it in its xn-- form)"},
		{TO("a@q\xcc\x88.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a character that a domain cannot have (write it in its xn-- form)"},
		{TO("a@\xe2\x80\x8d.c"), ERR_INVALID, "/to/0",
		 ADDRESS "a character where a domain cannot have it"},
		{TO("a@b.c\\r\\nRCPT TO:<d@e.f>"), ERR_INVALID, "/to/0", ADDRESS "a line break in it"},
		{TO("\\\"a\\nb\\\" <a@b.c>"), ERR_INVALID, "/to/0", ADDRESS "a line break in it"},
		{TO("a@b.c\\u0000"), ERR_INVALID, "/to/0", ADDRESS "a NUL in it"},
		{TO("a\\u0000@b.c"), ERR_INVALID, "/to/0", ADDRESS "a NUL in it"},
		{TO("a\\t@b.c"), ERR_INVALID, "/to/0", ADDRESS "a control character in it"},
		{TO("\\\"a\\u007f\\\"@b.c"), ERR_INVALID, "/to/0", ADDRESS "a control character in it"},
		{WITH("\"from\":\"root\""), ERR_INVALID, "/from", ADDRESS "no @ in it"},
		{WITH("\"from\":\"\""), ERR_INVALID, "/from", ADDRESS "empty"},
		{WITH("\"from\":[\"a@b.c\"]"), ERR_INVALID, "/from", "must be a string, is an array"},
		{WITH("\"from\":\"a@b.c\\rX: y\""), ERR_INVALID, "/from", ADDRESS "a line break in it"},
		{WITH("\"reply_to\":\"a@b.c, d@e.f\""), ERR_INVALID, "/reply_to",
		 ADDRESS "one address only, not a list (a name with a comma or semicolon" QUOTES},
		{WITH("\"reply_to\":false"), ERR_INVALID, "/reply_to", "must be a string, is a boolean"},
		{WITH("\"envelope_from\":\"postmaster\""), ERR_INVALID, "/envelope_from",
		 ADDRESS "no @ in it"},
		{WITH("\"envelope_from\":\"\""), ERR_INVALID, "/envelope_from", ADDRESS "empty"},
		{WITH("\"envelope_from\":{}"), ERR_INVALID, "/envelope_from",
		 "must be a string, is an object"},
	};

	(void)state;
	CHECK_BAD(cases, &all);
}

static void refuses_labels_and_policy(void **state)
{
	static const struct bad cases[] = {
		{WITH("\"tenant_id\":1"), ERR_INVALID, "/tenant_id", "must be a string, is a number"},
		{WITH("\"tenant_id\":\"" SIXTY SIXTY TEN "\""), ERR_TOO_LARGE, "/tenant_id",
		 "longer than 127 bytes"},
		{WITH("\"provider_id\":\"" SIXTY TEN "\""), ERR_TOO_LARGE, "/provider_id",
		 "longer than 63 bytes"},
		{WITH("\"user_id\":{}"), ERR_INVALID, "/user_id", "must be a string, is an object"},
		{WITH("\"message_id\":\"a\\nb\""), ERR_INVALID, "/message_id", "a line break in it"},
		{WITH("\"message_id\":\"a\\u0000b\""), ERR_INVALID, "/message_id", "a NUL in it"},
		{WITH("\"campaign_id\":true"), ERR_INVALID, "/campaign_id", "must be a string, is a boolean"},
		{WITH("\"template_id\":7"), ERR_INVALID, "/template_id", "must be a string, is a number"},
		{WITH("\"email_type\":[]"), ERR_INVALID, "/email_type", "must be a string, is an array"},
		{WITH("\"source_app\":\"\\u0001\""), ERR_INVALID, "/source_app", "a control character in it"},
		{WITH("\"related_model_id\":[1]"), ERR_INVALID, "/related_model_id",
		 "must be a string or a number, is an array"},
		{WITH("\"related_model_id\":"
		      "1"
		      "111111111111111111111111111111111111111111111111111111111111"
		      "1111111111111111111111111111111111111111111111111111111111111111111"),
		 ERR_TOO_LARGE, "/related_model_id", "longer than 127 bytes"},
		{WITH("\"subject\":1"), ERR_INVALID, "/subject", "must be a string, is a number"},
		{WITH("\"subject\":\"Hi\\r\\nBcc: x@y.z\""), ERR_INVALID, "/subject", "a line break in it"},
		{WITH("\"subject\":\"Hi\\nthere\""), ERR_INVALID, "/subject", "a line break in it"},
		{WITH("\"subject\":\"\\u0000\""), ERR_INVALID, "/subject", "a NUL in it"},
		{WITH("\"subject\":\"\\u001b[1m\""), ERR_INVALID, "/subject", "a control character in it"},
		{WITH("\"priority\":\"urgent\""), ERR_INVALID, "/priority", "must be high, normal or low"},
		{WITH("\"priority\":1"), ERR_INVALID, "/priority", "must be a string, is a number"},
		{WITH("\"send_at\":\"tomorrow\""), ERR_INVALID, "/send_at",
		 "not a time like 2025-09-19T10:30:00Z (RFC 3339)"},
		{WITH("\"send_at\":\"2025-02-29T10:30:00Z\""), ERR_INVALID, "/send_at",
		 "not a time like 2025-09-19T10:30:00Z (RFC 3339)"},
		{WITH("\"send_at\":1758277800"), ERR_INVALID, "/send_at", "must be a string, is a number"},
		{WITH("\"expires_at\":\"2025-09-19\""), ERR_INVALID, "/expires_at",
		 "not a time like 2025-09-19T10:30:00Z (RFC 3339)"},
		{WITH("\"send_at\":\"2025-09-19T10:30:00Z\",\"expires_at\":\"2025-09-19T12:30:00+02:00\""),
		 ERR_INVALID, "/expires_at", "not after send_at"},
	};

	(void)state;
	CHECK_BAD(cases, &all);
}

static void refuses_content(void **state)
{
	static const struct bad cases[] = {
		{"{\"to\":[\"a@b.c\"]}", ERR_INVALID, "",
		 "no content: needs body_content, template_id or raw"},
		{"{\"to\":[\"a@b.c\"],\"body_content\":null}", ERR_INVALID, "",
		 "no content: needs body_content, template_id or raw"},
		{"{\"to\":[\"a@b.c\"],\"text_content\":\"x\"}", ERR_INVALID, "",
		 "no content: needs body_content, template_id or raw"},
		{"{\"to\":[\"a@b.c\"],\"html_body\":\"x\"}", ERR_INVALID, "",
		 "no content: html_body, plain_body and template_path go with recipients; with to, cc or "
		 "bcc it is "
		 "body_content"},
		{ZERO("\"subject\":\"x\""), ERR_INVALID, "",
		 "no content: needs html_body, plain_body or template_path"},
		{ZERO("\"body_content\":\"x\""), ERR_INVALID, "",
		 "no content: needs html_body, plain_body or template_path"},
		{ZERO("\"html_body\":1"), ERR_INVALID, "/html_body", "must be a string, is a number"},
		{ZERO("\"html_body\":\"x\",\"plain_body\":{}"), ERR_INVALID, "/plain_body",
		 "must be a string, is an object"},
		{ZERO("\"template_path\":1"), ERR_INVALID, "/template_path", "must be a string, is a number"},
		{"{\"to\":[\"a@b.c\"],\"body_content\":[]}", ERR_INVALID, "/body_content",
		 "must be a string, is an array"},
		{WITH("\"body_format\":\"MARKDOWN\""), ERR_INVALID, "/body_format", "must be HTML or TEXT"},
		{WITH("\"body_format\":0"), ERR_INVALID, "/body_format", "must be a string, is a number"},
		{WITH("\"text_content\":\"y\""), ERR_INVALID, "/text_content",
		 "only beside an HTML body: body_content is text already"},
		{WITH("\"body_format\":\"TEXT\",\"text_content\":\"y\""), ERR_INVALID, "/text_content",
		 "only beside an HTML body: body_content is text already"},
		{WITH("\"body_format\":\"HTML\",\"text_content\":1"), ERR_INVALID, "/text_content",
		 "must be a string, is a number"},
		{WITH("\"raw\":\"QQ==\""), ERR_INVALID, "/body_content",
		 "not beside raw, which is a finished message"},
		{"{\"to\":[\"a@b.c\"],\"raw\":\"QQ==\",\"headers\":{\"X-A\":\"1\"}}", ERR_INVALID, "/headers",
		 "not beside raw, which is a finished message"},
		{"{\"to\":[\"a@b.c\"],\"raw\":\"Q\"}", ERR_INVALID, "/raw",
		 "not base64: cut off, or its padding is missing"},
		{"{\"to\":[\"a@b.c\"],\"raw\":\"QQ=\\n\"}", ERR_INVALID, "/raw",
		 "not base64: a wrong character at 2"},
		{"{\"to\":[\"a@b.c\"],\"raw\":\"\"}", ERR_INVALID, "/raw", "empty"},
		{"{\"to\":[\"a@b.c\"],\"raw\":\"QR==\"}", ERR_INVALID, "/raw", "not base64"},
		{"{\"to\":[\"a@b.c\"],\"raw\":\"QTpi\",\"reply_to\":\"d@e.f\"}", ERR_INVALID, "/reply_to",
		 "not beside raw, which is a finished message"},
		{"{\"to\":[\"a@b.c\"],\"raw\":1}", ERR_INVALID, "/raw",
		 "must be a string of base64, is a number"},
		{WITH("\"context\":[1]"), ERR_INVALID, "/context", "must be an object, is an array"},
		{WITH("\"context\":\"x\""), ERR_INVALID, "/context", "must be an object, is a string"},
	};

	(void)state;
	CHECK_BAD(cases, &all);
}

static void refuses_headers(void **state)
{
	static const struct bad cases[] = {
		{WITH("\"headers\":\"X: y\""), ERR_INVALID, "/headers",
		 "must be an object of names and values"},
		{WITH("\"headers\":[1]"), ERR_INVALID, "/headers", "must be an object of names and values"},
		{HEADER("\"\":\"x\""), ERR_INVALID, "/headers/", "a header without a name"},
		{HEADER("\"X A\":\"x\""), ERR_INVALID, "/headers/X A",
		 "not a header's name: no space, colon or UTF-8 in it"},
		{HEADER("\"X:\":\"x\""), ERR_INVALID,
		 "/headers/X:", "not a header's name: no space, colon or UTF-8 in it"},
		{HEADER("\"X-\xc3\xbc\":\"x\""), ERR_INVALID, "/headers/X-\xc3\xbc",
		 "not a header's name: no space, colon or UTF-8 in it"},
		{HEADER("\"X\\r\\nBcc\":\"x\""), ERR_INVALID, "/headers/X??Bcc",
		 "not a header's name: no space, colon or UTF-8 in it"},
		{HEADER("\"X\\u0000\":\"x\""), ERR_INVALID, "/headers/X?",
		 "not a header's name: no space, colon or UTF-8 in it"},
		{HEADER("\"" SIXTY TEN TEN "\":\"x\""), ERR_TOO_LARGE, "/headers/" SIXTY TEN TEN,
		 "a name of more than 76 bytes"},
		{HEADER("\"From\":\"x@y.z\""), ERR_INVALID, "/headers/From",
		 "the gateway writes this header itself"},
		{HEADER("\"to\":\"x@y.z\""), ERR_INVALID, "/headers/to",
		 "the gateway writes this header itself"},
		{HEADER("\"CC\":\"x@y.z\""), ERR_INVALID, "/headers/CC",
		 "the gateway writes this header itself"},
		{HEADER("\"bCC\":\"x@y.z\""), ERR_INVALID, "/headers/bCC",
		 "the gateway writes this header itself"},
		{HEADER("\"Subject\":\"x\""), ERR_INVALID, "/headers/Subject",
		 "the gateway writes this header itself"},
		{HEADER("\"date\":\"x\""), ERR_INVALID, "/headers/date",
		 "the gateway writes this header itself"},
		{HEADER("\"Message-Id\":\"x\""), ERR_INVALID, "/headers/Message-Id",
		 "the gateway writes this header itself"},
		{HEADER("\"MIME-Version\":\"x\""), ERR_INVALID, "/headers/MIME-Version",
		 "the gateway writes this header itself"},
		{HEADER("\"Content-Type\":\"x\""), ERR_INVALID, "/headers/Content-Type",
		 "the gateway writes this header itself"},
		{HEADER("\"content-foo\":\"x\""), ERR_INVALID, "/headers/content-foo",
		 "the gateway writes this header itself"},
		{HEADER("\"Return-Path\":\"x\""), ERR_INVALID, "/headers/Return-Path",
		 "the gateway writes this header itself"},
		{HEADER("\"DKIM-Signature\":\"x\""), ERR_INVALID, "/headers/DKIM-Signature",
		 "the gateway writes this header itself"},
		{HEADER("\"Subject\":null"), ERR_INVALID, "/headers/Subject",
		 "the gateway writes this header itself"},
		{HEADER("\"X-A\":\"1\\r\\nBcc: x@y.z\""), ERR_INVALID, "/headers/X-A", "a line break in it"},
		{HEADER("\"X-A\":\"1\\r\\n folded\""), ERR_INVALID, "/headers/X-A", "a line break in it"},
		{HEADER("\"X-A\":\"\\u0000\""), ERR_INVALID, "/headers/X-A", "a NUL in it"},
		{HEADER("\"X-A\":\"\\u0007\""), ERR_INVALID, "/headers/X-A", "a control character in it"},
		{HEADER("\"X-A\":true"), ERR_INVALID, "/headers/X-A",
		 "must be a string, a number or an array of strings"},
		{HEADER("\"X-A\":{}"), ERR_INVALID, "/headers/X-A",
		 "must be a string, a number or an array of strings"},
		{HEADER("\"X-A\":[\"1\",[]]"), ERR_INVALID, "/headers/X-A/1",
		 "must be a string, a number or an array of strings"},
		{HEADER("\"X-A\":[\"1\",\"a\\nb\"]"), ERR_INVALID, "/headers/X-A/1", "a line break in it"},
		{HEADER("\"X-A\":\"1\",\"x-a\":\"2\""), ERR_INVALID, "/headers/x-a",
		 "given twice (give its values as an array)"},
		{HEADER("\"X/~A\":false"), ERR_INVALID, "/headers/X~1~0A",
		 "must be a string, a number or an array of strings"},
		{HEADER("\"Reply-To\":\"J\xc3\xbcrgen <j@b.c\""), ERR_INVALID, "/headers/Reply-To",
		 "a quote, bracket or comment is not closed"},
		{WITH("\"reply_to\":\"a@b.c\",\"headers\":{\"reply-to\":\"d@e.f\"}"), ERR_INVALID,
		 "/headers/reply-to", "given twice: here and as reply_to"},
	};

	(void)state;
	CHECK_BAD(cases, &all);
}

static void refuses_attachments(void **state)
{
	static const struct bad cases[] = {
		{WITH("\"attachments\":{}"), ERR_INVALID, "/attachments", "must be an array"},
		{WITH("\"attachments\":[\"/tmp/a\"]"), ERR_INVALID, "/attachments/0", "must be an object"},
		{ZERO("\"html_body\":\"x\",\"attachments\":[\"/a\",1]"), ERR_INVALID, "/attachments/1",
		 "must be a path"},
		{ZERO("\"html_body\":\"x\",\"attachments\":[\"/a\\n\"]"), ERR_INVALID, "/attachments/0",
		 "a line break in it"},
		{ATTACH("\"filename\":\"a\""), ERR_INVALID, "/attachments/0",
		 "needs one of url, path and content"},
		{ATTACH("\"url\":\"https://a/\",\"path\":\"b\""), ERR_INVALID, "/attachments/0",
		 "needs one of url, path and content"},
		{ATTACH("\"content\":\"QQ==\""), ERR_INVALID, "/attachments/0",
		 "needs a filename or a content_id beside content"},
		{ATTACH("\"filename\":\"a\",\"content\":\"Q===\""), ERR_INVALID, "/attachments/0/content",
		 "not base64: a wrong character at 1"},
		{ATTACH("\"filename\":\"a\",\"content\":\"QQ\""), ERR_INVALID, "/attachments/0/content",
		 "not base64: cut off, or its padding is missing"},
		{ATTACH("\"filename\":\"a\",\"content\":\"Q-_=\""), ERR_INVALID, "/attachments/0/content",
		 "not base64: a wrong character at 1"},
		{ATTACH("\"filename\":\"a\\\"\\r\\nX: \",\"path\":\"b\""), ERR_INVALID,
		 "/attachments/0/filename", "a line break in it"},
		{ATTACH("\"filename\":\"\",\"path\":\"b\""), ERR_INVALID, "/attachments/0/filename", "empty"},
		{ATTACH("\"path\":\"b\",\"path\":\"c\""), ERR_INVALID, "/attachments/0/path", "given twice"},
		{ATTACH("\"url\":\"file:///etc/passwd\""), ERR_INVALID, "/attachments/0/url",
		 "not an http or https URL"},
		{ATTACH("\"url\":\"https://a b\""), ERR_INVALID, "/attachments/0/url",
		 "not an http or https URL"},
		{ATTACH("\"url\":1"), ERR_INVALID, "/attachments/0/url", "must be a string, is a number"},
		{ATTACH("\"path\":\"b\",\"mime_type\":\"pdf\""), ERR_INVALID, "/attachments/0/mime_type",
		 "not a type like application/pdf"},
		{ATTACH("\"path\":\"b\",\"mime_type\":\"text/html; charset=x\""), ERR_INVALID,
		 "/attachments/0/mime_type", "not a type like application/pdf"},
		{ATTACH("\"path\":\"b\",\"content_id\":\"<logo>\""), ERR_INVALID, "/attachments/0/content_id",
		 "not an id like logo@example.com"},
	};

	(void)state;
	CHECK_BAD(cases, &all);
}

static void refuses_what_this_version_cannot_do(void **state)
{
	static const struct bad cases[] = {
		{ATTACH("\"path\":\"b\""), ERR_UNSUPPORTED, "/attachments",
		 "this version cannot send attachments yet"},
		{ZERO("\"html_body\":\"x\",\"attachments\":[\"/a\"]"), ERR_UNSUPPORTED, "/attachments",
		 "this version cannot send attachments yet"},
		{"{\"to\":[\"a@b.c\"],\"template_id\":\"t\"}", ERR_UNSUPPORTED, "/template_id",
		 "this version cannot send templates yet"},
		{ZERO("\"template_path\":\"t.html\""), ERR_UNSUPPORTED, "/template_path",
		 "this version cannot send templates yet"},
		{ZERO("\"template_path\":\"t.html\",\"plain_body\":\"x\""), ERR_UNSUPPORTED, "/template_path",
		 "this version cannot send templates yet"},
	};

	(void)state;
	CHECK_BAD(cases, &first);
	assert_int_equal(decode("{\"to\":[\"a@b.c\"],\"raw\":\"QTpi\"}"), 0);
	assert_true(job.raw.present);
	assert_int_equal(decode(ZERO("\"template_path\":\"t.html\",\"context\":{\"a\":1}")), 0);
	assert_str(job.context, "{\"a\":1}");
	assert_int_equal(decode("{\"to\":[\"a@b.c\"],\"template_id\":\"t\"}"), 0);
}

static void refuses_what_is_too_large(void **state)
{
	static char big[200100];
	struct arena a;
	size_t len;

	(void)state;
	memset(big, 'x', sizeof(big));
	len = (size_t)snprintf(big, sizeof(big), "{\"to\":[\"a@b.c\"],\"body_content\":\"");
	big[len] = 'x';
	assert_int_equal(decode_with(big, sizeof(big), &all), ERR_TOO_LARGE);
	assert_string_equal(problem.reason, "longer than 200000 bytes");
	/* a body fills no envelope, a context does */
	memcpy(big + 100000, "\"}", 2);
	assert_int_equal(decode_with(big, 100002, &all), 0);
	len = (size_t)snprintf(big, sizeof(big),
			       "{\"recipients\":[\"a@b.c\"],\"html_body\":\"\",\"context\":{\"a\":\"");
	big[len] = 'x';
	memcpy(big + 30000, "\"}}", 3);
	assert_int_equal(decode_with(big, 30003, &all), ERR_TOO_LARGE);
	assert_string_equal(problem.pointer, "");
	assert_string_equal(problem.reason, "all but bodies and attachments is longer than 30000 bytes");
	/* a header's value, a subject */
	len = (size_t)snprintf(big, sizeof(big), "{\"to\":[\"a@b.c\"],\"body_content\":\"\",\"subject\":\"");
	memset(big + len, 'x', 3000);
	memcpy(big + len + 2001, "\"}", 2);
	assert_int_equal(decode_with(big, len + 2003, &all), ERR_TOO_LARGE);
	assert_string_equal(problem.pointer, "/subject");
	assert_string_equal(problem.reason, "longer than 2000 bytes");
	/* an arena too small is an answer, not a crash, whatever it is too small for */
	static const char json[] = HEADER("\"X-A\":[1,2,\"3\"]");
	static const char more[] = "{\"to\":[\"J "
				   "<a@b.c>\",\"d@e.f\"],\"template_id\":\"t\",\"context\":{\"a\":[1,2]},"
				   "\"related_model_id\":7,\"attachments\":[{\"path\":\"b\"}]}";
	for (size_t cap = 0; cap < 24000; cap++) {
		arena_init(&a, memory, cap);
		memcpy(text, cap % 2 ? json : more, cap % 2 ? sizeof(json) : sizeof(more));
		int rc = job_decode(&a, text, strlen(text), &all, &job, &problem);

		if (rc < 0) assert_int_equal(rc, ERR_TOO_LARGE);
		if (rc < 0)
			assert_true(problem.reason[0] != '\0');
		else
			assert_true(cap > 100);
	}
	assert_int_equal(problem.reason[0], '\0');
}

static void keeps_the_pointer_whole(void **state)
{
	char json[1000], name[400] = "";

	(void)state;
	for (int i = 0; i < 60; i++)
		strcat(name, i % 2 ? "\xe2\x82\xac" : "\xc3\xa4");
	snprintf(json, sizeof(json), "{\"to\":[\"a@b.c\"],\"body_content\":\"\",\"headers\":{\"%s\":1}}",
		 name);
	assert_int_equal(decode(json), ERR_TOO_LARGE);
	assert_true(strlen(problem.pointer) > 120 && strlen(problem.pointer) < 128);
	assert_true(str_is_utf8(str_from(problem.pointer)));
}

/* ---- what passes ---- */

/* The integration guide's message. */
static const char guide[] = "{\n"
			    "    \"tenant_id\": \"01996243-2d8c-726d-a5c2-81b7005ce9a2\",\n"
			    "    \"provider_id\": \"0198a819-e5d3-703a-a39a-1b77e3ece687\",\n"
			    "    \"user_id\": \"user-123\",\n"
			    "    \"message_id\": \"unique-message-id\",\n"
			    "    \"from\": \"noreply@company.com\",\n"
			    "    \"to\": [\"user@example.com\"],\n"
			    "    \"cc\": [\"cc@example.com\"],\n"
			    "    \"bcc\": [\"bcc@example.com\"],\n"
			    "    \"subject\": \"Test Email\",\n"
			    "    \"body_format\": \"HTML\",\n"
			    "    \"body_content\": \"<p>Hello World</p>\",\n"
			    "    \"attachments\": [\n"
			    "        {\n"
			    "            \"filename\": \"document.pdf\",\n"
			    "            \"url\": \"https://example.com/files/document.pdf\",\n"
			    "            \"mime_type\": \"application/pdf\"\n"
			    "        }\n"
			    "    ],\n"
			    "    \"headers\": {\n"
			    "        \"X-Custom-Header\": \"Custom Value\",\n"
			    "        \"X-Priority\": \"1\"\n"
			    "    },\n"
			    "    \"template_id\": \"template-123\",\n"
			    "    \"campaign_id\": \"campaign-456\",\n"
			    "    \"timestamp\": \"2025-09-19T10:30:00Z\"\n"
			    "}\n";

static void takes_the_guides_example(void **state)
{
	char without[sizeof(guide)];
	const char *from = strstr(guide, "    \"attachments\""), *to = strstr(guide, "    \"headers\"");

	(void)state;
	assert_int_equal(decode(guide), 0);
	assert_int_equal(job.format, JOB_FORMAT_1);
	assert_str(job.tenant_id, "01996243-2d8c-726d-a5c2-81b7005ce9a2");
	assert_str(job.provider_id, "0198a819-e5d3-703a-a39a-1b77e3ece687");
	assert_str(job.user_id, "user-123");
	assert_str(job.message_id, "unique-message-id");
	assert_str(job.from.addr, "noreply@company.com");
	assert_str(job.from.domain, "company.com");
	assert_int_equal(job.rcpt_count, 3);
	assert_str(job.rcpts[0].address.addr, "user@example.com");
	assert_int_equal(job.rcpts[1].kind, JOB_RCPT_CC);
	assert_int_equal(job.rcpts[2].kind, JOB_RCPT_BCC);
	assert_str(job.subject, "Test Email");
	assert_true(job.html.present && !job.text.present && !job.raw.present);
	assert_str(job.html.utf8, "<p>Hello World</p>");
	assert_memory_equal(guide + job.html.src_at, "<p>Hello World</p>\"", 19);
	assert_int_equal(job.attachment_count, 1);
	assert_str(job.attachments[0].filename, "document.pdf");
	assert_str(job.attachments[0].url, "https://example.com/files/document.pdf");
	assert_str(job.attachments[0].mime_type, "application/pdf");
	assert_int_equal(job.header_count, 2);
	assert_str(job.headers[1].name, "X-Priority");
	assert_str(job.headers[1].value, "1");
	assert_str(job.template_id, "template-123");
	assert_str(job.campaign_id, "campaign-456");
	assert_int_equal(job.priority, JOB_PRIORITY_NORMAL);
	assert_string_equal(problem.pointer, "");
	assert_string_equal(problem.reason, "");
	/* as it stands it needs attachments; without them it needs nothing but this version */
	assert_int_equal(decode_with(guide, strlen(guide), &first), ERR_UNSUPPORTED);
	snprintf(without, sizeof(without), "%.*s%s", (int)(from - guide), guide, to);
	assert_int_equal(decode_with(without, strlen(without), &first), 0);
}

/* The setup guide's call, as json.dumps writes it. */
static void takes_the_setup_guides_example(void **state)
{
	(void)state;
	assert_int_equal(decode("{\"email_type\": \"your_type\", \"subject\": \"Your Subject\", "
				"\"recipients\": "
				"[\"recipient@example.com\"], \"context\": {\"key\": \"value\"}, "
				"\"template_path\": "
				"\"app/template.html\", \"html_body\": \"<html>...</html>\", "
				"\"plain_body\": \"Plain text\", "
				"\"attachments\": [\"/path/to/file.pdf\"], \"source_app\": "
				"\"your_app_name\", "
				"\"related_model_id\": 42}"),
			 0);
	assert_int_equal(job.format, JOB_FORMAT_0);
	assert_str(job.email_type, "your_type");
	assert_str(job.rcpts[0].address.addr, "recipient@example.com");
	assert_str(job.context, "{\"key\":\"value\"}");
	assert_str(job.template_path, "app/template.html");
	assert_str(job.html.utf8, "<html>...</html>");
	assert_str(job.text.utf8, "Plain text");
	assert_str(job.attachments[0].path, "/path/to/file.pdf");
	assert_str(job.source_app, "your_app_name");
	assert_str(job.related_model_id, "42");
	assert_null(job.from.addr.ptr);
	/* the optional ones as Python's None, and the uuid keys of some models */
	static const char least[] =
		"{\"email_type\":\"t\",\"subject\":\"s\",\"recipients\":[\"a@b.c\"],\"context\":{},"
		"\"template_path\":null,"
		"\"html_body\":null,\"plain_body\":\"x\",\"attachments\":[],\"source_app\":\"s\","
		"\"related_model_id\":\"6f1c\"}";
	assert_int_equal(decode_with(least, strlen(least), &first), 0);
	assert_str(job.related_model_id, "6f1c");
	assert_null(job.context.ptr);
	assert_false(job.html.present);
}

static void takes_the_unusual(void **state)
{
	static const char *const good[] = {
		WITH("\"headers\":[],\"context\":[],\"attachments\":[]"), /* PHP's empty maps */
		WITH("\"headers\":{},\"context\":{},\"tenant_id\":null,\"from\":null,\"headers2\":{\"a\":["
		     "true]}"),
		WITH("\"unknown\":1,\"unknown\":2"),
		WITH("\"body_format\":\"html\",\"text_content\":\"\""),
		WITH("\"template_id\":\"a label beside a body\""),
		WITH("\"tenant_id\":\"\",\"message_id\":\"\",\"subject\":\"\""),
		WITH("\"subject\":\"tab\\tand \\u20ac \\ud83d\\ude00\""),
		WITH("\"priority\":\"High\",\"send_at\":\"2020-01-01T00:00:00+01:00\","
		     "\"expires_at\":\"2030-01-01T00:00:00Z\""),
		WITH("\"timestamp\":\"whenever\""),
		HEADER("\"X-A\":[\"1\",2],\"X-B\":null,\"X-C\":[],\"X-D\":-1.50,\"X-E\":\"\xc3\xbc\""),
		HEADER("\"Reply-To\":\"a@b.c, "
		       "d@e.f\",\"List-Unsubscribe\":\"<mailto:x@y.z>\",\"Sender\":\"s@b.c\""),
		"{\"bcc\":[\"a@b.c\"],\"body_content\":\"\"}",
		"{\"to\":[],\"cc\":[\"root\"],\"body_content\":\"\\u0000\"}",
		ZERO("\"plain_body\":\"\",\"from\":\"J <j@b.c>\",\"message_id\":\"m\",\"priority\":\"low\""),
		ATTACH("\"filename\":\"\xc3\xbc.txt\",\"content\":\"\",\"mime_type\":\"text/plain\","
		       "\"content_id\":\"a@b\""),
		ATTACH("\"path\":\"b\",\"url\":null,\"colour\":\"red\""),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (decode(good[i]) != 0) fail_msg("%s\n  %s: %s", good[i], problem.pointer, problem.reason);
	assert_int_equal(decode(good[5]), 0);
	assert_null(job.message_id.ptr);
	assert_non_null(job.subject.ptr);
	assert_int_equal(decode(good[7]), 0);
	assert_int_equal(job.priority, JOB_PRIORITY_HIGH);
	assert_true(job.send_at_ms == 1577833200000 && job.expires_at_ms == 1893456000000);
	assert_int_equal(decode(good[9]), 0);
	assert_int_equal(job.header_count, 4);
	assert_str(job.headers[1].name, "X-A");
	assert_str(job.headers[1].value, "2");
	assert_str(job.headers[2].value, "-1.50");
}

struct good {
	const char *given, *name, *addr, *domain;
};

static void takes_addresses(void **state)
{
	static const struct good cases[] = {
		{"a@b.c", "", "a@b.c", "b.c"},
		{" a@b.c ", "", "a@b.c", "b.c"},
		{"<a@b.c>", "", "a@b.c", "b.c"},
		{"root", "", "root", NULL},
		{"The Admin <root>", "The Admin", "root", NULL},
		{"a@localhost", "", "a@localhost", "localhost"},
		{"a+tag@Example.COM", "", "a+tag@Example.COM", "Example.COM"},
		{"!#$%&'*+-/=?^_`{|}~@b.c", "", "!#$%&'*+-/=?^_`{|}~@b.c", "b.c"},
		{"\"john doe\"@b.c", "", "\"john doe\"@b.c", "b.c"},
		{"\"a\\\"@\\\\b\"@b.c", "", "\"a\\\"@\\\\b\"@b.c", "b.c"},
		{"\"\"@b.c", "", "\"\"@b.c", "b.c"},
		{"John Doe <a@b.c>", "John Doe", "a@b.c", "b.c"},
		{"John  \"Q.\" Public<a@b.c>", "John Q. Public", "a@b.c", "b.c"},
		{"John Q. Public <a@b.c>", "John Q. Public", "a@b.c", "b.c"},
		{"\"Doe, John\" <a@b.c>", "Doe, John", "a@b.c", "b.c"},
		{"\"a \\\"b\\\" \\\\\" <a@b.c>", "a \"b\" \\", "a@b.c", "b.c"},
		{"\"a@b.c\" <a@b.c>", "a@b.c", "a@b.c", "b.c"},
		{"a@b.c (John (Jack) Doe)", "John (Jack) Doe", "a@b.c", "b.c"},
		{"(x) John (y) Doe (z) < a@b.c (w) > (v)", "John Doe", "a@b.c", "b.c"},
		{"a@b.c ()", "", "a@b.c", "b.c"},
		{"J\xc3\xb6rg <a@b.c>", "J\xc3\xb6rg", "a@b.c", "b.c"},
		{"\xe6\x97\xa5\xe6\x9c\xac <\xe6\x97\xa5@b.c>", "\xe6\x97\xa5\xe6\x9c\xac",
		 "\xe6\x97\xa5@b.c", "b.c"},
		{"a@b\xc3\xbc"
		 "cher.example",
		 "", "a@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a@B\xc3\x9c"
		 "CHER.example",
		 "", "a@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a@\xe4\xbe\x8b\xe3\x81\x88.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88", "",
		 "a@xn--r8jz45g.xn--zckzah", "xn--r8jz45g.xn--zckzah"},
		{"a@\xd0\xa0\xd0\xa4.\xd1\x80\xd1\x84", "", "a@xn--p1ai.xn--p1ai", "xn--p1ai.xn--p1ai"},
		{"a@stra\xc3\x9f"
		 "e.de",
		 "", "a@xn--strae-oqa.de", "xn--strae-oqa.de"},
		{"a@xn--bcher-kva.example", "", "a@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a@[192.0.2.1]", "", "a@[192.0.2.1]", "[192.0.2.1]"},
		{"a@[IPv6:2001:db8::1]", "", "a@[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
		{"a@1.com", "", "a@1.com", "1.com"},
		{"a@b.c4", "", "a@b.c4", "b.c4"},
		{SIXTY "aaaa@" SIXTY "aaa.c", "", SIXTY "aaaa@" SIXTY "aaa.c", SIXTY "aaa.c"},
	};
	struct job_address out;
	const char *why;
	struct arena a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		arena_init(&a, memory, sizeof(memory));
		if (job_address_parse(&a, str_from(cases[i].given), &out, &why) < 0)
			fail_msg("%s: %s", cases[i].given, why);
		assert_str(out.text, cases[i].given);
		assert_str(out.name, cases[i].name);
		assert_str(out.addr, cases[i].addr);
		if (!cases[i].domain)
			assert_null(out.domain.ptr);
		else
			assert_str(out.domain, cases[i].domain);
	}
}

static void keeps_an_address_once(void **state)
{
	(void)state;
	assert_int_equal(decode("{\"bcc\":[\"a@b.c\",\"x@b.c\"],\"cc\":[\"J "
				"<a@B.C>\",\"A@b.c\"],\"to\":[\"a@b.c\","
				"\"a@b.c\"],\"body_content\":\"\"}"),
			 0);
	assert_int_equal(job.rcpt_count, 3);
	assert_int_equal(job.rcpts[0].kind, JOB_RCPT_TO);
	assert_str(job.rcpts[1].address.addr, "A@b.c");
	assert_int_equal(job.rcpts[1].kind, JOB_RCPT_CC);
	assert_str(job.rcpts[2].address.addr, "x@b.c");
}

static void takes_the_null_sender(void **state)
{
	(void)state;
	assert_int_equal(decode(WITH("\"envelope_from\":\"<>\"")), 0);
	assert_true(job.envelope_from.ptr && job.envelope_from.len == 0);
	assert_int_equal(decode(WITH("\"envelope_from\":\"Bounces <b@c.d>\"")), 0);
	assert_str(job.envelope_from, "b@c.d");
	assert_int_equal(decode(WITH("\"envelope_from\":null")), 0);
	assert_null(job.envelope_from.ptr);
}

/* ---- the arena's bound, the copy ---- */

static void fits_into_its_bound(void **state)
{
	static char many[20000];
	size_t len;
	struct arena a;
	struct job_limits limits = all;

	(void)state;
	limits.recipients = 256;
	limits.envelope_bytes = 200000;
	len = (size_t)snprintf(many, sizeof(many),
			       "{\"to\":[\"a@b\"],\"body_content\":\"\",\"context\":{\"a\":[0");
	while (len < 15000) {
		memcpy(many + len, ",0", 2);
		len += 2;
	}
	memcpy(many + len, "]}}", 4);
	len += 3;
	memcpy(text, many, len);
	arena_init(&a, memory, job_decode_arena_bytes(len));
	assert_int_equal(job_decode(&a, text, len, &limits, &job, &problem), 0);
	len = (size_t)snprintf(many, sizeof(many), "{\"body_content\":\"\",\"to\":[");
	for (int i = 0; i < 256; i++)
		len += (size_t)snprintf(many + len, sizeof(many) - len, "%c%s\"%c%d@\xc3\xbc\"",
					i ? ',' : ' ', i ? "\"a\"," : "", 'a' + i % 26, i);
	len += (size_t)snprintf(many + len, sizeof(many) - len, "]}");
	limits.recipients = 257;
	memcpy(text, many, len);
	arena_init(&a, memory, job_decode_arena_bytes(len));
	assert_int_equal(job_decode(&a, text, len, &limits, &job, &problem), 0);
	assert_int_equal(job.rcpt_count, 257);
}

static void copies_the_envelope(void **state)
{
	static char place[8192];
	struct arena a;
	struct job copy;
	size_t need = sizeof(place);

	(void)state;
	assert_int_equal(decode(guide), 0);
	arena_init(&a, place, sizeof(place));
	assert_int_equal(job_copy_envelope(&a, &job, &copy), 0);
	memset(text, 'Z', sizeof(text));
	memset(memory, 'Z', sizeof(memory));
	assert_str(copy.tenant_id, "01996243-2d8c-726d-a5c2-81b7005ce9a2");
	assert_str(copy.from.domain, "company.com");
	assert_str(copy.rcpts[2].address.addr, "bcc@example.com");
	assert_str(copy.rcpts[2].address.domain, "example.com");
	assert_str(copy.headers[0].name, "X-Custom-Header");
	assert_str(copy.headers[0].value, "Custom Value");
	assert_str(copy.attachments[0].url, "https://example.com/files/document.pdf");
	assert_null(copy.html.utf8.ptr);
	assert_int_equal(copy.html.utf8.len, 18);
	assert_memory_equal(guide + copy.html.src_at, "<p>", 3);
	/* in less memory: an error, never a broken copy */
	assert_int_equal(decode(guide), 0);
	while (need > 0) {
		arena_init(&a, place, --need);
		if (job_copy_envelope(&a, &job, &copy) < 0) break;
	}
	assert_true(need > 500 && need < 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_documents),
		cmocka_unit_test(refuses_recipients),
		cmocka_unit_test(refuses_addresses),
		cmocka_unit_test(refuses_labels_and_policy),
		cmocka_unit_test(refuses_content),
		cmocka_unit_test(refuses_headers),
		cmocka_unit_test(refuses_attachments),
		cmocka_unit_test(refuses_what_this_version_cannot_do),
		cmocka_unit_test(refuses_what_is_too_large),
		cmocka_unit_test(keeps_the_pointer_whole),
		cmocka_unit_test(takes_the_guides_example),
		cmocka_unit_test(takes_the_setup_guides_example),
		cmocka_unit_test(takes_the_unusual),
		cmocka_unit_test(takes_addresses),
		cmocka_unit_test(keeps_an_address_once),
		cmocka_unit_test(takes_the_null_sender),
		cmocka_unit_test(fits_into_its_bound),
		cmocka_unit_test(copies_the_envelope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
