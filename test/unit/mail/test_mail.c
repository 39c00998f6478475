/* Composed mails byte by byte, and what every mail must keep, over many random ones. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"
#include "unit/mail/mail_kit.h"

static char again[RULES_BYTES_MAX];

static const char *content(const char *body)
{
	char json[4000];

	snprintf(json, sizeof(json), "{\"to\":[\"a@b.c\"],\"body_content\":\"%s\"}", body);
	return strstr(compose(json, "gw@example.com", NULL), "Content-Transfer-Encoding: ") + 27;
}

/* The integration guide's example, but for its attachment. */
static void composes_the_guides_example(void **state)
{
	(void)state;
	assert_string_equal(
		compose("{\"tenant_id\":\"01996243-2d8c-726d-a5c2-81b7005ce9a2\",\"from\":\"noreply@company."
			"com\","
			"\"to\":[\"user@example.com\"],\"cc\":[\"cc@example.com\"],\"bcc\":[\"bcc@example."
			"com\"],"
			"\"subject\":\"Test Email\",\"body_format\":\"HTML\",\"body_content\":\"<p>Hello "
			"World</p>\","
			"\"headers\":{\"X-Custom-Header\":\"Custom Value\",\"X-Priority\":\"1\"}}",
			NULL, NULL),
		"Date: Fri, 19 Sep 2025 10:30:05 +0000\r\n"
		"From: noreply@company.com\r\n"
		"To: user@example.com\r\n"
		"Cc: cc@example.com\r\n"
		"Subject: Test Email\r\n"
		"Message-ID: <id@example.com>\r\n"
		"X-Custom-Header: Custom Value\r\n"
		"X-Priority: 1\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: text/html; charset=us-ascii\r\n"
		"Content-Transfer-Encoding: 7bit\r\n"
		"\r\n"
		"<p>Hello World</p>\r\n");
	assert_false(mail.info.smtputf8 || mail.info.eight_bit);
	assert_true(str_eq(mail.sender.envelope, STR("noreply@company.com")));
}

static void composes_alternatives(void **state)
{
	(void)state;
	compose("{\"recipients\":[\"J\xc3\xb6rg <a@b\xc3\xbc"
		"cher.example>\",\"\\\"Doe, J.\\\" <j@b.c>\",\"x@y.z\"],\"subject\":"
		"\"Gr\xc3\xbc\xc3\x9f"
		"e\",\"html_body\":\"<p>\xc3\xa4 "
		"\\n</p>\",\"plain_body\":\"one\\r.\\ntwo\"}",
		"The Gateway <gw@example.com>", NULL);
	for (char *at = bytes; (at = strstr(at, "=_")) != NULL; at += 2)
		memset(at + 2, 'b', 33);
	assert_string_equal(bytes,
			    "Date: Fri, 19 Sep 2025 10:30:05 +0000\r\n"
			    "From: The Gateway <gw@example.com>\r\n"
			    "To: =?UTF-8?B?SsO2cmc=?= <a@xn--bcher-kva.example>, \"Doe, J.\" <j@b.c>,\r\n"
			    " x@y.z\r\n"
			    "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"
			    "Message-ID: <id@example.com>\r\n"
			    "MIME-Version: 1.0\r\n"
			    "Content-Type: multipart/alternative;\r\n"
			    " boundary=\"=_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"\r\n"
			    "\r\n"
			    "--=_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n"
			    "Content-Type: text/plain; charset=us-ascii\r\n"
			    "Content-Transfer-Encoding: quoted-printable\r\n"
			    "\r\n"
			    "one\r\n"
			    "=2E\r\n"
			    "two\r\n"
			    "\r\n"
			    "--=_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n"
			    "Content-Type: text/html; charset=utf-8\r\n"
			    "Content-Transfer-Encoding: quoted-printable\r\n"
			    "\r\n"
			    "<p>=C3=A4=20\r\n"
			    "</p>\r\n"
			    "\r\n"
			    "--=_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb--\r\n");
}

#define TO         "{\"to\":[\"a@b.c\"],\"body_content\":\"\","
#define SUBJECT(s) field(TO "\"subject\":\"" s "\"}", "Subject")
#define CUSTOM(s)  field(TO "\"headers\":{\"X-A\":\"" s "\"}}", "X-A")
#define TEN        "aaaaaaaaaa"
#define EURO       "\xe2\x82\xac"
#define HUNDRED    TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void writes_subjects(void **state)
{
	(void)state;
	assert_string_equal(field("{\"to\":[\"a@b.c\"],\"body_content\":\"\"}", "Subject"), "");
	assert_string_equal(SUBJECT(""), "Subject:");
	assert_string_equal(SUBJECT("a  b\\tc"), "Subject: a  b\tc");
	assert_string_equal(SUBJECT(" a"), "Subject: =?UTF-8?Q?_a?=");
	assert_string_equal(SUBJECT("a "), "Subject: =?UTF-8?Q?a_?=");
	/* text that looks like an encoded word stays text */
	assert_string_equal(SUBJECT("=?UTF-8?Q?a?="), "Subject: =?UTF-8?B?PT9VVEYtOD9RP2E/PQ==?=");
	assert_string_equal(SUBJECT("\xe6\x97\xa5\xe6\x9c\xac"), "Subject: =?UTF-8?B?5pel5pys?=");
	/* folded at spaces, which stay */
	assert_string_equal(SUBJECT(TEN " " TEN " " TEN " " TEN " " TEN "  " TEN TEN " b"),
			    "Subject: " TEN " " TEN " " TEN " " TEN " " TEN "\r\n  " TEN TEN " b");
	/* what cannot be folded is split into encoded words, at characters */
	assert_string_equal(SUBJECT(HUNDRED),
			    "Subject: =?UTF-8?Q?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?=\r\n"
			    " =?UTF-8?Q?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?=");
	assert_string_equal(SUBJECT(EURO EURO EURO EURO EURO EURO EURO EURO EURO EURO EURO EURO EURO EURO),
			    "Subject: =?UTF-8?B?4oKs4oKs4oKs4oKs4oKs4oKs4oKs4oKs4oKs4oKs4oKs4oKs4oKs?=\r\n"
			    " =?UTF-8?B?4oKs?=");
}

static void writes_custom_headers(void **state)
{
	(void)state;
	assert_string_equal(CUSTOM(""), "X-A:");
	assert_string_equal(CUSTOM("1"), "X-A: 1");
	assert_string_equal(CUSTOM("<mailto:x@y.z>"), "X-A: <mailto:x@y.z>");
	/* one that is encoded already is left as it is, unlike a subject */
	assert_string_equal(CUSTOM("=?UTF-8?Q?a?="), "X-A: =?UTF-8?Q?a?=");
	assert_string_equal(CUSTOM("\xc3\xbc"), "X-A: =?UTF-8?B?w7w=?=");
	assert_string_equal(CUSTOM(HUNDRED " " HUNDRED), "X-A: " HUNDRED "\r\n " HUNDRED);
	assert_string_equal(field(TO "\"headers\":{\"X-A\":[\"1\",2],\"X-B\":\"3\"}}", "X-B"), "X-B: 3");
	assert_non_null(strstr(bytes, "\r\nX-A: 1\r\nX-A: 2\r\nX-B: 3\r\n"));
}

static void writes_addresses(void **state)
{
	char json[30000];
	size_t len;

	(void)state;
	assert_string_equal(field("{\"bcc\":[\"a@b.c\"],\"body_content\":\"\"}", "To"),
			    "To: undisclosed-recipients:;");
	assert_string_equal(field("{\"bcc\":[\"a@b.c\"],\"body_content\":\"\"}", "Bcc"), "");
	assert_string_equal(field("{\"cc\":[\"a@b.c\"],\"body_content\":\"\"}", "To"), "");
	assert_string_equal(field("{\"cc\":[\"a@b.c\"],\"body_content\":\"\"}", "Cc"), "Cc: a@b.c");
	assert_string_equal(field("{\"to\":[\"O'Neil & Sons <a@b.c>\"],\"body_content\":\"\"}", "To"),
			    "To: O'Neil & Sons <a@b.c>");
	assert_string_equal(field("{\"to\":[\"\\\"a \\\\\\\"b\\\\\\\" \\\\\\\\\\\" "
				  "<a@b.c>\"],\"body_content\":\"\"}",
				  "To"),
			    "To: \"a \\\"b\\\" \\\\\" <a@b.c>");
	assert_string_equal(field("{\"to\":[\"=?UTF-8?Q?a?= <a@b.c>\"],\"body_content\":\"\"}", "To"),
			    "To: =?UTF-8?B?PT9VVEYtOD9RP2E/PQ==?= <a@b.c>");
	assert_string_equal(field("{\"to\":[\"\\\"a b\\\"@b.c\"],\"body_content\":\"\"}", "To"),
			    "To: \"a b\"@b.c");
	assert_string_equal(field(TO "\"reply_to\":\"J\xc3\xb6rg <r@b.c>\"}", "Reply-To"),
			    "Reply-To: =?UTF-8?B?SsO2cmc=?= <r@b.c>");
	/* a hundred recipients fold within 78 columns */
	len = (size_t)snprintf(json, sizeof(json), "{\"body_content\":\"\",\"to\":[");
	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(json + len, sizeof(json) - len,
					"%s\"N\xc3\xa4me %d <person%d@example.com>\"", i ? "," : "", i, i);
	snprintf(json + len, sizeof(json) - len, "]}");
	for (const char *at = field(json, "To"), *end; (end = strstr(at, "\r\n")) != NULL; at = end + 2)
		assert_true(end - at <= 78 && end - at > 30);
}

static void says_when_utf8_is_needed(void **state)
{
	(void)state;
	assert_string_equal(field("{\"to\":[\"j\xc3\xb6@b.c\"],\"body_content\":\"\"}", "To"),
			    "To: j\xc3\xb6@b.c");
	assert_true(mail.info.smtputf8 && mail.info.eight_bit);
	compose("{\"to\":[\"a@b.c\"],\"bcc\":[\"j\xc3\xb6@b.c\"],\"body_content\":\"\"}", "gw@example.com",
		NULL);
	assert_true(mail.info.smtputf8 && !mail.info.eight_bit);
	compose("{\"to\":[\"a@b.c\"],\"envelope_from\":\"j\xc3\xb6@b.c\",\"body_content\":\"\"}",
		"gw@example.com", NULL);
	assert_true(mail.info.smtputf8 && !mail.info.eight_bit);
	compose("{\"to\":[\"J\xc3\xb6 <a@\xc3\xb6.c>\"],\"body_content\":\"\xc3\xb6\"}", "gw@example.com",
		NULL);
	assert_false(mail.info.smtputf8 || mail.info.eight_bit);
}

static void chooses_the_sender(void **state)
{
	static const char own[] = "{\"to\":[\"a@b.c\"],\"from\":\"Shop "
				  "<s@shop.example>\",\"body_content\":\"\"}";
	const char *got;

	(void)state;
	got = compose(own, "gw@example.com", NULL);
	assert_non_null(strstr(got, "From: Shop <s@shop.example>\r\nTo: "));
	got = compose(own, "gw@example.com", "mailer@relay.example");
	assert_non_null(strstr(got, "From: Shop <mailer@relay.example>\r\nReply-To: Shop "
				    "<s@shop.example>\r\nTo: "));
	assert_true(str_eq(mail.sender.domain, STR("relay.example")));
	assert_true(str_eq(mail.sender.envelope, STR("mailer@relay.example")));
	got = compose(own, "gw@example.com", "Relay <mailer@relay.example>");
	assert_non_null(strstr(got, "From: Relay <mailer@relay.example>\r\nReply-To: Shop "
				    "<s@shop.example>\r\nTo: "));
	got = compose(own, "gw@example.com", "s@shop.example");
	assert_non_null(strstr(got, "From: Shop <s@shop.example>\r\nTo: "));
	got = compose("{\"to\":[\"a@b.c\"],\"from\":\"s@shop.example\",\"headers\":{\"Reply-To\":\"r@b.c\"},"
		      "\"envelope_from\":\"<>\",\"body_content\":\"\"}",
		      NULL, "mailer@relay.example");
	assert_non_null(strstr(got, "From: mailer@relay.example\r\nTo: "));
	assert_true(mail.sender.envelope.ptr && mail.sender.envelope.len == 0);
	assert_int_equal(open_job(TO "\"subject\":\"x\"}", NULL, NULL), ERR_CONFIG);
	assert_string_equal(mail.why, "neither the job nor its provider has a from");
	assert_int_equal(open_job("{\"to\":[\"root\"],\"body_content\":\"\"}", "gw@example.com", NULL),
			 ERR_INVALID);
	assert_string_equal(mail.why, "an address without a domain, and no alias of that name");
	assert_int_equal(open_job("{\"to\":[\"a@b.c\"],\"body_content\":\"\"}", "gw", NULL), ERR_INVALID);
	input.message_id = STR("a\r\nb");
	input.provider_from = &job.rcpts[0].address;
	assert_int_equal(mail_open(&mail, &input), ERR_INVALID);
	input.message_id = STR("a@b");
	input.date_known = false;
	assert_int_equal(mail_open(&mail, &input), 0);
	rules_check(&mail, bodies);
	input.part_count = 0;
	assert_int_equal(mail_open(&mail, &input), ERR_INVALID);
}

static void chooses_the_encoding(void **state)
{
	char long_line[1100];

	(void)state;
	assert_string_equal(content(""), "7bit\r\n\r\n");
	assert_string_equal(content("\\n"), "7bit\r\n\r\n\r\n");
	assert_string_equal(content("a\\rb\\nc\\r\\nd\\n\\re\\r\\r\\nf"),
			    "7bit\r\n\r\na\r\nb\r\nc\r\nd\r\n\r\ne\r\n\r\nf\r\n");
	assert_string_equal(content("a\\n.b\\n=\\tc"), "7bit\r\n\r\na\r\n.b\r\n=\tc\r\n");
	assert_string_equal(content("a \\nb\\t"), "quoted-printable\r\n\r\na=20\r\nb=09\r\n");
	assert_string_equal(content("a\\n.\\n=b .\\n.c"),
			    "quoted-printable\r\n\r\na\r\n=2E\r\n=3Db .\r\n=2Ec\r\n");
	assert_string_equal(content("From me\\nFromage\\n From \\n"),
			    "quoted-printable\r\n\r\n=46rom me\r\nFromage\r\n From=20\r\n");
	assert_string_equal(content("--=_a"), "quoted-printable\r\n\r\n--=3D_a\r\n");
	assert_string_equal(content("a\\u0000b\\u001b some more text"),
			    "quoted-printable\r\n\r\na=00b=1B some more text\r\n");
	assert_string_equal(
		content("\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac"),
		"base64\r\n\r\n5pel5pys5pel5pys5pel5pysDQo=\r\n");
	/* 998 bytes in a line are the most that 7bit takes */
	memset(long_line, 'x', sizeof(long_line));
	long_line[998] = '\0';
	assert_non_null(strstr(content(long_line), "7bit\r\n\r\nxxx"));
	long_line[998] = 'x';
	long_line[999] = '\0';
	assert_non_null(strstr(content(long_line), "quoted-printable\r\n\r\nxxx"));
}

/* ---- every pass is the same, however it is read, whatever the sources do ---- */

static uint32_t seed;

static uint32_t dice(uint32_t sides)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % sides;
}

static void add_random(struct buf *b, unsigned pieces, bool body)
{
	static const char *const words[] = {
		"a", "bc ", "  ", ".", "=", "=?", "\xc3\xbc", "\xe6\x97\xa5", "\xf0\x9f\x98\x80", ",", "\\\"",
		"\\\\", "<", "From ", "--", "Wort ", TEN TEN TEN, "x@y",
		/* bodies only */
		"\\n", "\\r\\n", "\\r", "\\n.\\n", "\\n.", " \\n", "\\u0000", "\\n--=_", "\\nFrom "};
	const uint32_t count = body ? sizeof(words) / sizeof(words[0]) : 18;

	/* most texts of a part of the words only, so that all encodings come up */
	uint32_t from = dice(2) ? 0 : dice(count), span = 1 + dice(count - from);

	for (unsigned n = dice(pieces); n > 0; n--)
		buf_puts(b, words[from + dice(span)]);
}

static const char *random_job(void)
{
	static char json[50000];
	struct buf b;

	buf_init(&b, json, sizeof(json));
	buf_puts(&b, "{\"to\":[\"first@example.com\"");
	for (unsigned n = dice(6); n > 0; n--) {
		char name_bytes[2000];
		struct buf name;

		buf_init(&name, name_bytes, sizeof(name_bytes));
		add_random(&name, 8, false);
		buf_puts(&b, ",\"\\\"");
		for (size_t i = 0; i < name.len; i++) {
			/* once more quoted: \" and \\ of JSON become \\\" and \\\\ */
			if (name.ptr[i] == '\\') {
				buf_puts(&b, "\\\\");
				buf_add(&b, name.ptr + i++, 1);
			}
			buf_add(&b, name.ptr + i, 1);
		}
		buf_printf(&b, "\\\" <p%u@%s>\"", dice(1000),
			   dice(2) ? "example.com"
				   : "b\xc3\xbc"
				     "cher.example");
	}
	buf_puts(&b, "],\"body_format\":\"HTML\",\"subject\":\"");
	add_random(&b, 30, false);
	buf_puts(&b, "\",\"headers\":{\"X-A\":\"");
	add_random(&b, 60, false);
	buf_puts(&b, "\",\"X-B\":[\"1\",\"");
	add_random(&b, 10, false);
	buf_puts(&b, "\"]},\"body_content\":\"");
	add_random(&b, 500, true);
	if (dice(2)) {
		buf_puts(&b, "\",\"text_content\":\"");
		add_random(&b, 500, true);
	}
	buf_puts(&b, "\"}");
	assert_false(b.cut);
	return json;
}

static void keeps_the_rules_over_random_jobs(void **state)
{
	size_t seen[3] = {0}, cap, len, at;
	int rc;

	(void)state;
	for (unsigned run = 0; run < 400; run++) {
		seed = run;
		if (open_job(random_job(), "gw@example.com", NULL) < 0) fail_msg("run %u: %s", run, mail.why);
		rules_check(&mail, bodies);
		seen[strstr(bytes, "\nContent-Transfer-Encoding: ")[28] == '7'   ? 0
		     : strstr(bytes, "\nContent-Transfer-Encoding: ")[28] == 'q' ? 1
										 : 2]++;
		assert_int_equal(mail_rewind(&mail), 0);
		len = rules_read(&mail, bytes, 4096);
		assert_true(mail.info.bytes == (int64_t)len);
		cap = 1 + run % 130;
		assert_int_equal(mail_rewind(&mail), 0);
		for (at = 0; (rc = mail_read(&mail, again + at, cap)) > 0; at += (size_t)rc)
			assert_true(at + (size_t)rc <= len);
		assert_int_equal(rc, 0);
		assert_int_equal(at, len);
		assert_memory_equal(bytes, again, len);
	}
	assert_true(seen[0] > 20 && seen[1] > 20 && seen[2] > 20);
}

struct original {
	const char *json;
	size_t fail_at; /* fetch n fails; 0: none */
	size_t fetches;
};

static int fetch(void *arg, size_t at, char *to, size_t cap)
{
	struct original *o = arg;
	size_t len = strlen(o->json) - at;

	if (++o->fetches == o->fail_at) return ERR_IO;
	len = len < 7 ? len : 7;
	len = len < cap ? len : cap;
	memcpy(to, o->json + at, len);
	return (int)len;
}

static void streams_from_the_stored_job(void **state)
{
	static struct job_text_reader readers[2];
	static struct job envelope;
	static char copy_memory[4096];
	struct original o = {
		.json = "{\"to\":[\"a@b.c\"],\"subject\":\"s\",\"body_format\":\"HTML\",\"body_content\":"
			"\"<p>\\u00fc\\ud83d\\ude00 "
			"\\n</p>\\n\",\"text_content\":\"plain\\ttext\\u20ac\"}"};
	struct arena a;
	size_t len, fetches;
	int rc;

	(void)state;
	compose(o.json, "gw@example.com", NULL);
	len = strlen(bytes);
	arena_init(&a, copy_memory, sizeof(copy_memory));
	assert_int_equal(job_copy_envelope(&a, &job, &envelope), 0);
	job_text_reader_init(&readers[0], fetch, &o, envelope.text.src_at);
	job_text_reader_init(&readers[1], fetch, &o, envelope.html.src_at);
	memset(text, 'Z', sizeof(text));
	input.job = &envelope;
	for (int i = 0; i < 2; i++)
		parts[i].source = mail_source_job_text(&readers[i]);
	assert_int_equal(mail_open(&mail, &input), 0);
	assert_int_equal(rules_read(&mail, again, 64), len);
	assert_memory_equal(again, bytes, len);
	/* every fetch fails once: the error comes out, and the next pass is whole again */
	fetches = o.fetches;
	for (o.fail_at = 1; o.fail_at <= fetches; o.fail_at++) {
		o.fetches = 0;
		rc = mail_open(&mail, &input);
		while (rc >= 0 && (rc = mail_read(&mail, again, 4096)) > 0)
			;
		assert_int_equal(rc, ERR_IO);
		assert_null(mail.why);
		assert_int_equal(mail_open(&mail, &input), 0);
		assert_int_equal(rules_read(&mail, again, 64), len);
	}
}

/* A source that changes behind our back must not break the lines that were promised. */
static void notices_another_content(void **state)
{
	struct mail_memory m;
	int rc;

	(void)state;
	compose("{\"to\":[\"a@b.c\"],\"body_content\":\"plain\"}", "gw@example.com", NULL);
	parts[0].source = mail_source_memory(&m, STR("plain"));
	assert_int_equal(mail_open(&mail, &input), 0);
	m.text = STR("pl\xc3\xa4in");
	while ((rc = mail_read(&mail, again, 4096)) > 0)
		;
	assert_int_equal(rc, ERR_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(composes_the_guides_example),
		cmocka_unit_test(composes_alternatives),
		cmocka_unit_test(writes_subjects),
		cmocka_unit_test(writes_custom_headers),
		cmocka_unit_test(writes_addresses),
		cmocka_unit_test(says_when_utf8_is_needed),
		cmocka_unit_test(chooses_the_sender),
		cmocka_unit_test(chooses_the_encoding),
		cmocka_unit_test(keeps_the_rules_over_random_jobs),
		cmocka_unit_test(streams_from_the_stored_job),
		cmocka_unit_test(notices_another_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
