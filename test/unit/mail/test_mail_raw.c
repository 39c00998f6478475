/* Finished messages on their way out: what is added, removed and left alone, cut everywhere, the same twice. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "mail/mail.h"

static char memory[1 << 20], text[1 << 18], original[1 << 18], memory_out[1 << 18], base64[1 << 18];
static struct job job;
static struct job_address provider_from;
static struct mail_input input;
static struct mail_raw raw;

/* ---- a job out of a message ---- */

static const struct job_limits limits = {.job_bytes = sizeof(text),
					 .recipients = 10,
					 .envelope_bytes = 60000};

static void make_job(const char *members, const char *message, size_t len)
{
	struct job_problem problem;
	struct arena a;
	struct buf b;
	int rc;

	buf_init(&b, base64, sizeof(base64));
	buf_base64(&b, message, len);
	assert_false(b.cut);
	rc = snprintf(text, sizeof(text), "{%s\"raw\":\"%s\"}", members, base64);
	assert_true(rc > 0 && (size_t)rc < sizeof(text) - JSON_PADDING);
	memcpy(original, text, (size_t)rc + 1);
	arena_init(&a, memory, sizeof(memory));
	rc = job_decode(&a, text, (size_t)rc, &limits, &job, &problem);
	if (rc < 0) fail_msg("%s: %s", problem.pointer, problem.reason);
	assert_int_equal(job_address_parse(&a, STR("Gate <gate@provider.example>"), &provider_from, NULL), 0);
	input = (struct mail_input){.job = &job,
				    .provider_from = &provider_from,
				    .date_known = true,
				    .date_ms = 1758277805000,
				    .message_id = STR("id@example.com")};
}

static size_t read_all(char *out, size_t cap, size_t piece)
{
	size_t len = 0;
	int rc;

	while ((rc = mail_raw_read(&raw, out + len, piece < cap - len ? piece : cap - len)) > 0)
		len += (size_t)rc;
	assert_int_equal(rc, 0);
	return len;
}

/* Two passes with different pieces give `expected`, and info says its size. */
static void check_passes(const char *expected, size_t len)
{
	static const size_t pieces[] = {sizeof(memory_out), 1, 7};

	for (size_t i = 0; i < 3; i++) {
		size_t n = read_all(memory_out, sizeof(memory_out), pieces[i]);

		if (n != len || memcmp(memory_out, expected, len) != 0)
			fail_msg("'%.*s' instead of '%s'", (int)n, memory_out, expected);
		assert_int_equal(raw.info.bytes, n);
		assert_int_equal(mail_raw_rewind(&raw), 0);
	}
}

static void expect_of(const char *members, const char *message, const char *expected)
{
	make_job(members, message, strlen(message));
	if (mail_raw_open(&raw, &input, NULL) != 0) fail_msg("%s: %s", message, raw.why);
	check_passes(expected, strlen(expected));
}

#define ID       "Message-ID: <id@example.com>\r\n"
#define DATE     "Date: Fri, 19 Sep 2025 10:30:05 +0000\r\n"
#define COMPLETE "From: a@b.c\r\nTo: d@e.f\r\nDate: x\r\nMessage-ID: <m@b.c>\r\n"

static void complete_message_is_left_alone(void **state)
{
	static const char message[] = COMPLETE
		"Subject:  two  spaces \r\n\tfolded\r\nDKIM-Signature: v=1; b=\r\n  abc\r\nX-Odd :y\r\n\r\n"
		"body\r\n\r\n.\r\n..\r\nFrom here\r\ntrailing \t\r\n--b\r\nBcc: in@the.body\r\n\r\n\r\n";

	(void)state;
	expect_of("", message, message);
	assert_false(raw.info.eight_bit || raw.info.smtputf8);
	assert_true(str_eq(raw.sender.envelope, STR("a@b.c")));
}

static void line_ends_become_crlf(void **state)
{
	(void)state;
	expect_of("", "From: a@b.c\nTo: d@e.f\nDate: x\nMessage-ID: <m@b.c>\n\na\n\n\nb",
		  COMPLETE "\r\na\r\n\r\n\r\nb\r\n");
	expect_of("", "From: a@b.c\rTo: d@e.f\rDate: x\rMessage-ID: <m@b.c>\r\ra\r\rb\r",
		  COMPLETE "\r\na\r\n\r\nb\r\n");
	expect_of("", COMPLETE "\r\na\r\n\rb\n\rc\r\r\n", COMPLETE "\r\na\r\n\r\nb\r\n\r\nc\r\n");
	expect_of("", COMPLETE "\r\na\r\r\rb\r\r\r\nc\r\r", COMPLETE "\r\na\r\n\r\n\r\nb\r\nc\r\n\r\n");
	expect_of("", COMPLETE, COMPLETE);
	expect_of("", "From: a@b.c\nTo: d@e.f\nDate: x\nMessage-ID: <m@b.c>", COMPLETE);
}

/* What text mode has made of CRLF: one line end, wherever the reader's pieces end, so that no empty line ends the
 * header before a Bcc. */
static void runs_of_cr_before_lf_are_one_end(void **state)
{
	static char in[1 << 12], out[1 << 12];

	(void)state;
	for (int fill = 0; fill < 800; fill++) {
		const char *cr = "\r\r\r\r" + fill % 4;

		snprintf(in, sizeof in,
			 "From: a@b.c%s\nTo: d@e.f%s\nDate: x%s\nMessage-ID: <m@b.c>%s\nX: %0*d%s\n"
			 "Bcc: hidden@e.f%s\n%s\nx%s\n%s\ny%s\n",
			 cr, cr, cr, cr, fill + 1, 0, cr, cr, cr, cr, cr, cr);
		snprintf(out, sizeof out, COMPLETE "X: %0*d\r\n\r\nx\r\n\r\ny\r\n", fill + 1, 0);
		expect_of("", in, out);
	}
}

static void missing_fields_stand_in_front(void **state)
{
	(void)state;
	expect_of("", "From: a@b.c\nTo: d@e.f\n\nx\n", ID DATE "From: a@b.c\r\nTo: d@e.f\r\n\r\nx\r\n");
	expect_of("", "From: a@b.c\nTo: d@e.f\nDATE: x\nMessage-Id: \n \n\nx\n",
		  ID "From: a@b.c\r\nTo: d@e.f\r\nDATE: x\r\n\r\nx\r\n");
	expect_of("", "From: a@b.c\nTo: d@e.f\nDate:\n Fri\nMessage-ID:\n <a@b>\n\nx\n",
		  "From: a@b.c\r\nTo: d@e.f\r\nDate:\r\n Fri\r\nMessage-ID:\r\n <a@b>\r\n\r\nx\r\n");
	make_job("", "From: a@b.c\nTo: d@e.f\n", sizeof("From: a@b.c\nTo: d@e.f\n") - 1);
	input.date_known = false;
	assert_int_equal(mail_raw_open(&raw, &input, NULL), 0);
	check_passes(ID "From: a@b.c\r\nTo: d@e.f\r\n", sizeof(ID "From: a@b.c\r\nTo: d@e.f\r\n") - 1);
}

#define REST "To: d@e.f\r\nDate: x\r\nMessage-ID: <m@b.c>\r\n\r\nx\r\n"

static void from_is_made_when_there_is_none(void **state)
{
	(void)state;
	expect_of("", REST, "From: \"Gate\" <gate@provider.example>\r\n" REST);
	expect_of("\"from\":\"J\xc3\xb6rg <j@b.c>\",", REST,
		  "From: =?utf-8?b?SsO2cmc=?=\r\n <j@b.c>\r\n" REST);
	expect_of("\"from\":\"j@b.c\",", REST, "From: j@b.c\r\n" REST);
	expect_of("", "From: root (Cron \"Daemon\")\r\n" REST,
		  "From: \"root (Cron \\\"Daemon\\\")\" <gate@provider.example>\r\n" REST);
	expect_of("\"from\":\"Backup <j@b.c>\",", "From: root\r\n" REST, "From: \"Backup\" <j@b.c>\r\n" REST);
	expect_of("\"from\":\"j@b.c\",", "From: other@b.c\r\n" REST, "From: other@b.c\r\n" REST);
	assert_true(str_eq(raw.sender.envelope, STR("j@b.c")));
	make_job("", REST, strlen(REST));
	input.provider_from = NULL;
	assert_int_equal(mail_raw_open(&raw, &input, NULL), ERR_CONFIG);
	assert_non_null(raw.why);
}

static void override_counts_for_the_envelope(void **state)
{
	(void)state;
	make_job("", COMPLETE "\r\nx\r\n", strlen(COMPLETE "\r\nx\r\n"));
	input.from_override = &provider_from;
	assert_int_equal(mail_raw_open(&raw, &input, NULL), 0);
	check_passes(COMPLETE "\r\nx\r\n", strlen(COMPLETE "\r\nx\r\n"));
	assert_true(str_eq(raw.sender.envelope, STR("gate@provider.example")));
}

static void secrets_and_traces_are_removed(void **state)
{
	(void)state;
	expect_of("",
		  "From user Mon Jan  1 00:00:00 2025\n" COMPLETE
		  "bcc: s@e.f,\n t@e.f,\n\tu@e.f\nX-Kept: 1\nReturn-Path: <x@y.z>\nBCC :v@e.f\nResent-Bcc: "
		  "w@e.f\n\n"
		  "From here\nBcc: body@e.f\n",
		  COMPLETE "X-Kept: 1\r\n\r\nFrom here\r\nBcc: body@e.f\r\n");
	expect_of("\"to\":[\"d@e.f\"],", COMPLETE "Bcc:\n\nx\n", COMPLETE "\r\nx\r\n");
}

static void flags_are_what_the_bytes_need(void **state)
{
	(void)state;
	expect_of("", COMPLETE "\r\n\xe4\r\n", COMPLETE "\r\n\xe4\r\n");
	assert_true(raw.info.eight_bit && !raw.info.smtputf8);
	expect_of("", COMPLETE "Subject: \xc3\xa4\r\n\r\nx\r\n", COMPLETE "Subject: \xc3\xa4\r\n\r\nx\r\n");
	assert_true(raw.info.eight_bit && raw.info.smtputf8);
	/* a Bcc that is not sent needs nothing of the header, but its address does of the envelope */
	expect_of("\"to\":[\"d@e.f\"],", COMPLETE "Bcc: \"\xc3\xa4\" <g@e.f>\r\n\r\nx\r\n",
		  COMPLETE "\r\nx\r\n");
	assert_true(!raw.info.eight_bit && !raw.info.smtputf8);
	expect_of("\"to\":[\"\xc3\xa4@e.f\"],", COMPLETE "\r\nx\r\n", COMPLETE "\r\nx\r\n");
	assert_true(!raw.info.eight_bit && raw.info.smtputf8);
}

static void local_names_must_be_resolved(void **state)
{
	(void)state;
	make_job("\"to\":[\"root\"],", COMPLETE, strlen(COMPLETE));
	assert_int_equal(mail_raw_open(&raw, &input, NULL), ERR_INVALID);
	assert_non_null(strstr(raw.why, "alias"));
}

/* ---- streamed ---- */

struct stored {
	size_t len, chunk;
	bool other; /* gives another byte at the end */
};

static int fetch(void *arg, size_t at, char *bytes, size_t cap)
{
	struct stored *s = arg;
	size_t n = at < s->len ? s->len - at : 0;

	n = n < s->chunk ? n : s->chunk;
	n = n < cap ? n : cap;
	memcpy(bytes, original + at, n);
	if (s->other && n > 0 && at + n > s->len / 2) bytes[0] = '!';
	return (int)n;
}

/* PHP escapes the slashes of base64. */
static size_t escape_slashes(void)
{
	static char escaped[sizeof(original)];
	size_t n = 0;

	for (size_t i = 0; original[i]; i++) {
		if (original[i] == '/') escaped[n++] = '\\';
		escaped[n++] = original[i];
	}
	escaped[n] = '\0';
	memcpy(original, escaped, n + 1);
	return n;
}

static void streams_what_memory_gives(void **state)
{
	static char message[100000], whole[120000];
	struct job_text_reader reader;
	size_t at = (size_t)sprintf(message, "%s\r\n", COMPLETE), n;

	(void)state;
	for (unsigned line = 0; at < sizeof(message) - 1000; line++) {
		for (unsigned i = 0; i < line % 998; i++)
			message[at++] = (char)(0x20 + (line * 31 + i * 7) % 0xdf);
		message[at++] = '\r';
		message[at++] = '\n';
	}
	for (size_t i = 0; i < at; i++)
		if (message[i] == 0x7f) message[i] = 'x';
	make_job("", message, at);
	assert_int_equal(mail_raw_open(&raw, &input, NULL), 0);
	n = read_all(whole, sizeof(whole), 4096);
	assert_int_equal(n, at);
	assert_memory_equal(whole, message, at);
	for (size_t chunk = 1; chunk < 700; chunk += 41) {
		struct stored s = {.chunk = chunk, .len = escape_slashes()};

		job_text_reader_init(&reader, fetch, &s, job.raw.src_at);
		assert_int_equal(mail_raw_open(&raw, &input, &reader), 0);
		check_passes(message, at);
		make_job("", message, at);
	}
}

static void another_message_than_before_is_an_error(void **state)
{
	struct stored s = {.chunk = 100};
	struct job_text_reader reader;
	char bytes[100];
	int rc;

	(void)state;
	make_job("", COMPLETE "\r\nxxxxxxxxxxxxxxxxxxxxxxx\r\n", strlen(COMPLETE) + 27);
	s.len = strlen(original);
	job_text_reader_init(&reader, fetch, &s, job.raw.src_at);
	assert_int_equal(mail_raw_open(&raw, &input, &reader), 0);
	s.other = true;
	do
		rc = mail_raw_read(&raw, bytes, sizeof(bytes));
	while (rc > 0);
	assert_int_equal(rc, ERR_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(complete_message_is_left_alone),
		cmocka_unit_test(line_ends_become_crlf),
		cmocka_unit_test(runs_of_cr_before_lf_are_one_end),
		cmocka_unit_test(missing_fields_stand_in_front),
		cmocka_unit_test(from_is_made_when_there_is_none),
		cmocka_unit_test(override_counts_for_the_envelope),
		cmocka_unit_test(secrets_and_traces_are_removed),
		cmocka_unit_test(flags_are_what_the_bytes_need),
		cmocka_unit_test(local_names_must_be_resolved),
		cmocka_unit_test(streams_what_memory_gives),
		cmocka_unit_test(another_message_than_before_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
