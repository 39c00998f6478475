/* Finished messages as jobs: what is refused, and what is read from their header. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "job/job.h"

static char memory[1 << 20], text[1 << 18], base64[1 << 18], message[1 << 17];
static struct job job;
static struct job_problem problem;

static const struct job_limits limits = {.job_bytes = sizeof(text),
					 .recipients = 4,
					 .envelope_bytes = 60000,
					 .message_bytes = 80000};

static int decode_in(size_t arena_bytes, const char *members, const char *bytes, size_t len)
{
	struct arena a;
	struct buf b;
	int n;

	buf_init(&b, base64, sizeof(base64));
	buf_base64(&b, bytes, len);
	assert_false(b.cut);
	n = snprintf(text, sizeof(text), "{%s\"raw\":\"%s\"}", members, base64);
	assert_true(n > 0 && (size_t)n < sizeof(text) - JSON_PADDING);
	arena_init(&a, memory, arena_bytes);
	return job_decode(&a, text, (size_t)n, &limits, &job, &problem);
}

static int decode(const char *members, const char *bytes, size_t len)
{
	return decode_in(sizeof(memory), members, bytes, len);
}

static void assert_str(struct str s, const char *expected)
{
	if (!str_eq(s, str_from(expected))) fail_msg("'%.*s' instead of '%s'", STR_ARG(s), expected);
}

/* ---- refusals ---- */

static void check_refusal(const char *bytes, size_t len, int rc, const char *reason)
{
	int got = decode("", bytes, len);

	if (got != rc || strcmp(problem.pointer, "/raw") != 0 || strcmp(problem.reason, reason) != 0)
		fail_msg("%.60s: %d %s: '%s' instead of %d '%s'", bytes, got, problem.pointer, problem.reason,
			 rc, reason);
}

#define HEAD     "From: a@b.c\nTo: d@e.f\n"
#define NO_FIELD ": neither a field of the header nor the empty line behind it"

static void refuses_what_no_mail_can_carry(void **state)
{
	static const struct {
		const char *bytes;
		size_t len; /* 0: to the NUL */
		int rc;
		const char *reason;
	} cases[] = {
		{HEAD "\nx\0y\n", 28, ERR_INVALID,
		 "line 4 of the message: a NUL in it (encode it as base64)"},
		{HEAD "X: \0\n\n", 27, ERR_INVALID,
		 "line 3 of the message: a NUL in it (encode it as base64)"},
		{"hello\n", 0, ERR_INVALID, "line 1 of the message" NO_FIELD},
		{HEAD "hello\n", 0, ERR_INVALID, "line 3 of the message" NO_FIELD},
		{HEAD "From here\n\n", 0, ERR_INVALID, "line 3 of the message" NO_FIELD},
		{HEAD ": x\n\n", 0, ERR_INVALID, "line 3 of the message" NO_FIELD},
		{HEAD "S\xc3\xa4: x\n\n", 0, ERR_INVALID, "line 3 of the message" NO_FIELD},
		{" folded: x\n" HEAD, 0, ERR_INVALID, "line 1 of the message" NO_FIELD},
		{HEAD "Subject: \xe4\n\n", 0, ERR_INVALID, "line 3 of the message: the header is not UTF-8"},
		{HEAD "FROM : x@y.z\n\n", 0, ERR_INVALID, "the message has more than one From field"},
		{"From: a@b.c\n\nx", 0, ERR_INVALID,
		 "no recipient: neither the job nor the message's To, Cc and Bcc name one"},
		{"From: a@b.c\nTo: undisclosed-recipients:;\n\nx", 0, ERR_INVALID,
		 "no recipient: neither the job nor the message's To, Cc and Bcc name one"},
		{"From: a@b.c\nTo: d@e.f g@h.i\n", 0, ERR_INVALID,
		 "To of the message: not an address: a character in the wrong place (a name with special "
		 "characters wants quotes)"},
		{"From: a b@c.d\nTo: d@e.f\n", 0, ERR_INVALID,
		 "From of the message: not an address: a name before the address wants it in brackets: "
		 "<a@b>"},
		{"To: a@b.c,b@b.c,c@b.c\nCc: d@b.c, e@b.c\n", 0, ERR_TOO_LARGE,
		 "too many recipients: at most 4"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_refusal(cases[i].bytes, cases[i].len ? cases[i].len : strlen(cases[i].bytes),
			      cases[i].rc, cases[i].reason);
}

/* HEAD, an empty line and a body line of n bytes, or a header line. */
static size_t with_line(const char *before, size_t n, const char *after)
{
	size_t len = (size_t)sprintf(message, "%s", before);

	memset(message + len, 'x', n);
	return len + n + (size_t)sprintf(message + len + n, "%s", after);
}

static void refuses_what_is_too_long(void **state)
{
	static const char reason[] = "line 4 of the message: a line of more than 998 bytes (encode it as "
				     "quoted-printable or base64)";
	size_t len;

	(void)state;
	assert_int_equal(decode("", message, with_line(HEAD "\n", 998, "\r\n")), 0);
	check_refusal(message, with_line(HEAD "\n", 999, ""), ERR_INVALID, reason);
	check_refusal(message, with_line(HEAD "\n", 50000, "\r\n"), ERR_INVALID, reason);
	assert_int_equal(decode("", message, with_line(HEAD "X: ", 995, "\r\n")), 0);
	len = (size_t)sprintf(message, HEAD);
	for (int i = 0; i < 80; i++)
		len += (size_t)sprintf(message + len, "X: %900s\n", "x");
	check_refusal(message, len, ERR_INVALID, "line 75 of the message: the header is too long");
	len = (size_t)sprintf(message, HEAD "\n");
	memset(message + len, '\n', 40000);
	check_refusal(message, len + 40000, ERR_TOO_LARGE, "the mail is larger than [limits] message_bytes");
	assert_int_equal(decode("", message, len + 39900), 0);
}

/* ---- what is read from the header ---- */

static void check_rcpts(const char *expected)
{
	static const char kinds[] = "tcb";
	char all[512];
	struct buf b;

	buf_init(&b, all, sizeof(all));
	for (size_t i = 0; i < job.rcpt_count; i++)
		buf_printf(&b, "%s%c:" STR_FMT, i ? " " : "", kinds[job.rcpts[i].kind],
			   STR_ARG(job.rcpts[i].address.addr));
	assert_string_equal(all, expected);
}

static void takes_recipients_from_the_header(void **state)
{
	static const struct {
		const char *bytes, *rcpts;
	} cases[] = {
		{"To: a@b.c\nCc: \"D, E\" <d@e.f>,\n\tG <g@e.f> (x, y)\nBcc: h@e.f\n\nTo: body@e.f",
		 "t:a@b.c c:d@e.f c:g@e.f b:h@e.f"},
		{"bcc:h@e.f\nTo:,, a@b.c , ,A@B.C,a@B.C\n", "b:h@e.f t:a@b.c t:A@B.C"},
		{"To: Team: a@b.c, \"x:;,\" <d@e.f>; , g@e.f\n", "t:a@b.c t:d@e.f t:g@e.f"},
		{"To: root\nTo: a@[IPv6:2001:db8::1]\n", "t:root t:a@[IPv6:2001:db8::1]"},
		{"To: a@b.c\nResent-To: r@b.c\nResent-Bcc: s@b.c\n\n", "t:r@b.c b:s@b.c"},
		{"From x Mon\nTo: a@b\xc3\xbc.c\n\n", "t:a@xn--b-eha.c"},
		{"To: a@b.c\r\r\nBcc: h@e.f\r\r\n\r\r\nCc: body@e.f\r\r\n", "t:a@b.c b:h@e.f"},
		{"Subject: x\n To: no@b.c\nTo\t:\n a@b.c\n\n", "t:a@b.c"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (decode("", cases[i].bytes, strlen(cases[i].bytes)) < 0)
			fail_msg("%s: %s", cases[i].bytes, problem.reason);
		check_rcpts(cases[i].rcpts);
	}
	assert_int_equal(decode("\"to\":[\"x@y.z\"],", "To: not an address\n\n", 20), 0);
	check_rcpts("t:x@y.z");
	assert_int_equal(job.format, JOB_FORMAT_1);
	assert_int_equal(decode("\"recipients\":[\"x@y.z\"],", "Cc: a@b.c\n\n", 11), 0);
	check_rcpts("t:x@y.z");
	assert_int_equal(job.format, JOB_FORMAT_0);
}

static void takes_senders_from_the_header(void **state)
{
	static const struct {
		const char *members, *bytes, *from, *envelope;
	} cases[] = {
		{"", "From: A <a@b.c>, x@b.c\n", "a@b.c", NULL},
		{"", "From: A <a@b.c>, x@b.c\nSender: x@b.c\n", "a@b.c", "x@b.c"},
		{"", "From: root (Cron Daemon)\nSender: root\n", NULL, NULL},
		{"", "From: \n", NULL, NULL},
		{"", "X: \n", NULL, NULL},
		{"\"from\":\"j@b.c\",", "From: a@b.c\nSender: x@b.c\n", "j@b.c", NULL},
		{"\"envelope_from\":\"<>\",", "From: a@b.c\nSender: x@b.c\n", "a@b.c", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char all[200], members[200];

		snprintf(all, sizeof(all), "%s\n", cases[i].bytes);
		snprintf(members, sizeof(members), "\"to\":[\"d@e.f\"],%s", cases[i].members);
		if (decode(members, all, strlen(all)) < 0) fail_msg("%s: %s", all, problem.reason);
		assert_str(job.from.addr, cases[i].from);
		assert_str(job.envelope_from, cases[i].envelope);
		assert_int_equal(job.envelope_from.ptr != NULL, cases[i].envelope != NULL);
	}
}

static void takes_the_subject_readable(void **state)
{
	static const char *const cases[][2] = {
		{"Subject: plain\n", "plain"},
		{"Subject: two\n\tlines  of\n  it\n", "two lines  of it"},
		{"SUBJECT:=?utf-8?Q?Gr=C3=BC=C3=9Fe_?=\n =?UTF-8?b?8J+YgA==?= end\n",
		 "Gr\xc3\xbc\xc3\x9f"
		 "e \xf0\x9f\x98\x80 end"},
		{"Subject: =?iso-8859-1?q?J=F6rg?= =?utf-8?q?=C3?= =?utf-8?q?=A4?=\n", "J\xc3\xb6rg\xc3\xa4"},
		{"Subject: =?koi8-r?q?=F6?= =?utf-8?q?x?=\n", "=?koi8-r?q?=F6?= x"},
		{"Subject: =?utf-8?q?=C3?=\n", "=?utf-8?q?=C3?="},
		{"Subject: =?utf-8?q?a=00=0A=1Bb?= =?utf-8?x?a?= =?utf-8?b?!?= =?\?=\n",
		 "a   b =?utf-8?x?a?= =?utf-8?b?!?= =?\?="},
		{"Subject: \xc3\xa4\n", "\xc3\xa4"},
		{"X: y\n", NULL},
	};
	char all[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(all, sizeof(all), "To: a@b.c\n%s\nSubject: body\n", cases[i][0]);
		if (decode("", all, strlen(all)) < 0) fail_msg("%s: %s", all, problem.reason);
		assert_str(job.subject, cases[i][1]);
	}
	assert_int_equal(decode("\"subject\":\"own\",", all, strlen(all)), 0);
	assert_str(job.subject, "own");
	memset(message, 'x', 6000);
	memcpy(message, "To: a@b.c\nSubject: ", 19);
	for (size_t at = 226; at < 6000; at += 200)
		memcpy(message + at, "\n \xc3\xa4", 4);
	assert_true(decode("", message, 6000) == 0);
	assert_int_equal(job.subject.len, JOB_SUBJECT_MAX - 1);
}

static void digest_covers_the_message(void **state)
{
	unsigned char digest[DIGEST_SHA256_BYTES];

	(void)state;
	assert_int_equal(decode("", HEAD "\nx", strlen(HEAD) + 2), 0);
	memcpy(digest, job.digest, sizeof(digest));
	assert_int_equal(decode("\"timestamp\":\"now\",", HEAD "\nx", strlen(HEAD) + 2), 0);
	assert_memory_equal(digest, job.digest, sizeof(digest));
	assert_int_equal(decode("", HEAD "\ny", strlen(HEAD) + 2), 0);
	assert_memory_not_equal(digest, job.digest, sizeof(digest));
}

/* Any arena is enough or is refused as too small, never overrun. */
static void small_memory_is_an_error(void **state)
{
	static const char bytes[] =
		"From: \"A\" <a@b.c>\nTo: a@b.c, d@e.f\nCc: g@h.i\nSubject: =?utf-8?q?x?=\n\nx\n";
	bool done = false;

	(void)state;
	for (size_t n = 0; n < 8000; n += 8) {
		int rc = decode_in(n, "", bytes, sizeof(bytes) - 1);

		assert_true(rc == 0 || (rc == ERR_TOO_LARGE && problem.reason[0] && !done));
		done = rc == 0;
	}
	assert_true(done);
	assert_int_equal(job.rcpt_count, 3);
	assert_true(job_decode_arena_bytes(strlen(text)) >= 8000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_no_mail_can_carry),
		cmocka_unit_test(refuses_what_is_too_long),
		cmocka_unit_test(takes_recipients_from_the_header),
		cmocka_unit_test(takes_senders_from_the_header),
		cmocka_unit_test(takes_the_subject_readable),
		cmocka_unit_test(digest_covers_the_message),
		cmocka_unit_test(small_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
