/* The SMTP client against scripted servers: what is said, what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_clock.h"
#include "sim/sim.h"
#include "smtp_kit.h"

#define CONTENT "Subject: hello\r\n\r\nHello.\r\n"

static void assert_in(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void assert_not_in(const char *text, const char *part)
{
	if (strstr(text, part) != NULL) fail_msg("\"%s\" is in:\n%s", part, text);
}

static void assert_strict(void)
{
	if (kit.peer.violations > 0)
		fail_msg("%u violations: %s\n%s", kit.peer.violations, kit.peer.violation, kit.peer.log);
	assert_int_equal(kit.peer.unknown_commands, 0);
}

static void assert_sent(void)
{
	if (kit.mail.verdict.class != SMTP_SENT)
		fail_msg("not sent: %s %d %s\n%s", smtp_class_name(kit.mail.verdict.class),
			 kit.mail.verdict.reply.code, kit.mail.verdict.reply.text, kit.notes);
	assert_strict();
	assert_string_equal(kit.peer.content, CONTENT);
}

static void test_plain(void **state)
{
	(void)state;
	kit_plain();
	kit_mail(2, CONTENT);
	assert_int_equal(kit_all(), SMTP_SENT);
	assert_sent();
	assert_int_equal(kit.rcpts[1].verdict.class, SMTP_SENT);
	assert_int_equal(kit.peer.mails, 1);
	assert_string_equal(kit.peer.rcpts[1], "<r2@example.org>");
	assert_string_equal(kit.peer.log,
			    "EHLO gw.example.net\nMAIL FROM:<s@example.com>\nRCPT TO:<r1@example.org>\n"
			    "RCPT TO:<r2@example.org>\nDATA\nQUIT\n");
	struct str id = smtp_queue_id(&kit.rcpts[0].verdict.reply);
	assert_int_equal(id.len, 6);
	assert_memory_equal(id.ptr, "4XYZ12", 6);
	assert_in(kit.notes,
		  "- connected to mail.example.com [10.0.0.1]:2525\nS 220 peer.example ESMTP\nC EHLO");
	assert_int_equal(kit.peer.quits, 1);
	kit_end();
}

static void test_extensions(void **state)
{
	(void)state;
	kit_plain();
	kit.peer.caps = "PIPELINING,SIZE 1000,8BITMIME,SMTPUTF8";
	kit_mail(3, CONTENT);
	kit.mail.body_8bit = true;
	assert_int_equal(kit_all(), SMTP_SENT);
	assert_sent();
	assert_string_equal(kit.peer.mail_line, "MAIL FROM:<s@example.com> SIZE=26 BODY=8BITMIME");

	kit.rcpts[1].addr = STR("j\xc3\xbcrg@example.org");
	kit_all();
	assert_sent();
	assert_string_equal(kit.peer.mail_line, "MAIL FROM:<s@example.com> SIZE=26 BODY=8BITMIME SMTPUTF8");

	/* Larger than the server takes: it is not even asked. */
	unsigned before = kit.peer.mails_begun;
	kit.mail.size = 1001;
	assert_int_equal(kit_all(), SMTP_FAIL);
	assert_int_equal(kit.mail.verdict.err, ERR_TOO_LARGE);
	assert_int_equal(kit.peer.mails_begun, before);
	kit_end();
}

static void test_utf8_not_offered(void **state)
{
	(void)state;
	kit_plain();
	kit_mail(2, CONTENT);
	kit.rcpts[0].addr = STR("j\xc3\xbcrg@example.org");
	assert_int_equal(kit_all(), SMTP_FAIL);
	assert_int_equal(kit.rcpts[1].verdict.class, SMTP_SENT);
	assert_string_equal(kit.peer.mail_line, "MAIL FROM:<s@example.com>");
	kit.mail.smtputf8 = true;
	kit_all();
	assert_int_equal(kit.rcpts[1].verdict.class, SMTP_FAIL);
	assert_int_equal(kit.mail.verdict.err, ERR_UNSUPPORTED);
	kit_end();
}

static void test_null_sender_and_helo(void **state)
{
	(void)state;
	kit_plain();
	kit.peer.replies[PEER_EHLO] = "502 5.5.1 never heard of it";
	kit_mail(1, CONTENT);
	kit.mail.from = (struct str){NULL, 0};
	assert_int_equal(kit_all(), SMTP_SENT);
	assert_sent();
	assert_string_equal(kit.peer.mail_line, "MAIL FROM:<>");
	assert_in(kit.peer.log, "HELO gw.example.net\n");
	kit_end();
}

static void test_many_recipients(void **state)
{
	(void)state;
	for (int pipelining = 0; pipelining < 2; pipelining++) {
		kit_plain();
		kit.peer.caps = pipelining ? "PIPELINING" : "";
		kit_mail(KIT_RCPTS_MAX, CONTENT);
		kit.rcpts[3].skip = true;
		kit.rcpts[3].verdict.class = SMTP_SENT;
		kit.peer.rcpt_replies[0] = "550 5.1.1 nobody";
		kit.peer.rcpt_replies[20] = "450 4.2.1 later"; /* r22, as r4 is skipped */
		assert_int_equal(kit_all(), SMTP_FAIL);
		assert_sent();
		assert_int_equal(kit.rcpts[0].verdict.reply.code, 550);
		assert_string_equal(kit.rcpts[0].verdict.reply.enhanced, "5.1.1");
		assert_string_equal(kit.rcpts[0].verdict.reply.text, "nobody");
		assert_int_equal(kit.rcpts[21].verdict.class, SMTP_TRY);
		assert_int_equal(kit.rcpts[3].verdict.class, SMTP_SENT);
		assert_int_equal(kit.peer.rcpts_seen, KIT_RCPTS_MAX - 1);
		assert_int_equal(kit.peer.rcpt_count, KIT_RCPTS_MAX - 3);
		kit_end();
	}
}

static void test_too_many(void **state)
{
	static const struct {
		const char *reply;
		enum smtp_class class;
	} cases[] = {
		{"452 4.5.3 too many recipients", SMTP_AGAIN},
		{"452 too many", SMTP_AGAIN},
		{"552 too many recipients", SMTP_AGAIN},
		{"552 5.5.3 too many", SMTP_AGAIN},
		{"452 4.2.2 mailbox full", SMTP_TRY},
		{"552 5.2.2 mailbox full", SMTP_FAIL},
		{"452 4.3.1 disk full", SMTP_TRY},
		{"450 4.5.3 strange", SMTP_TRY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_plain();
		kit.peer.caps = i % 2 == 0 ? "PIPELINING" : "";
		kit_mail(3, CONTENT);
		kit.peer.rcpt_replies[2] = cases[i].reply;
		assert_int_equal(kit_all(), SMTP_SENT);
		assert_int_equal(kit.rcpts[2].verdict.class, cases[i].class);
		/* None accepted: nothing was gained, so it is no reason to go on at once. */
		kit.peer.rcpt_replies[0] = kit.peer.rcpt_replies[1] = cases[i].reply;
		kit_all();
		assert_int_equal(kit.rcpts[2].verdict.class, cases[i].reply[0] == '4' ? SMTP_TRY : SMTP_FAIL);
		kit_end();
	}
}

static void test_none_accepted(void **state)
{
	/* 354 although nobody takes it: a lone dot, and its 250 completes nothing. */
	static const char *const data_replies[] = {NULL, "354 go on", "503 no"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		kit_plain();
		kit.peer.caps = "PIPELINING";
		kit.peer.only_mail = 1;
		kit.peer.replies[PEER_RCPT] = "550 5.1.1 nobody";
		kit.peer.replies[PEER_DATA] = data_replies[i];
		kit_mail(2, CONTENT);
		assert_int_equal(kit_open(), 0);
		kit_send();
		assert_int_equal(kit.rcpts[0].verdict.class, SMTP_FAIL);
		assert_int_equal(kit.mail.verdict.class, SMTP_FAIL);
		assert_int_equal(kit.peer.dots, i == 1);
		assert_int_equal(kit.peer.content_len, 0);
		/* The connection goes on. */
		kit_mail(2, CONTENT);
		assert_int_equal(kit_send(), 0);
		assert_sent();
		assert_int_equal(kit.peer.rsets, 1);
		assert_int_equal(kit.peer.connections, 1);
		kit_end();
	}
}

static void test_mail_refused_rcpt_accepted(void **state)
{
	(void)state;
	/* A server gone mad: sender refused, recipients accepted, 354. A lone dot could deliver an empty
	 * mail. */
	kit_plain();
	kit.peer.caps = "PIPELINING";
	kit.peer.replies[PEER_MAIL] = "550 5.7.1 not you";
	kit.peer.replies[PEER_RCPT] = "250 fine";
	kit.peer.replies[PEER_DATA] = "354 go on";
	kit_mail(1, CONTENT);
	assert_int_equal(kit_all(), SMTP_FAIL);
	assert_int_equal(kit.mail.verdict.reply.code, 550);
	assert_int_equal(kit.peer.dots, 0);
	kit_end();
}

/* ---- reuse ---- */

static void test_reuse(void **state)
{
	(void)state;
	kit_plain();
	assert_int_equal(kit_open(), 0);
	for (unsigned i = 1; i <= 5; i++) {
		kit_mail(1, CONTENT);
		assert_int_equal(kit_send(), 0);
		assert_sent();
		assert_int_equal(kit.smtp.mails_sent, i);
	}
	assert_int_equal(kit.peer.connections, 1);
	assert_int_equal(kit.peer.rsets, 0);
	kit_end();
}

static void test_stale(void **state)
{
	(void)state;
	/* Hung up between two mails: not this mail's fault, and no try. */
	kit_plain();
	kit.peer.hang_up_after = 1;
	assert_int_equal(kit_open(), 0);
	kit_mail(1, CONTENT);
	assert_int_equal(kit_send(), 0);
	hal_clock_sleep_until(hal_clock_in(1000));
	kit_mail(1, CONTENT);
	kit_send();
	assert_int_equal(kit.mail.verdict.class, SMTP_AGAIN);
	assert_false(smtp_ready(&kit.smtp));
	assert_int_equal(kit_send(), ERR_STATE);
	kit_end();

	/* 421 to the second MAIL. */
	kit_plain();
	kit.peer.only_mail = 2;
	kit.peer.replies[PEER_MAIL] = "421 4.7.0 enough";
	assert_int_equal(kit_open(), 0);
	kit_mail(1, CONTENT);
	assert_int_equal(kit_send(), 0);
	kit_mail(1, CONTENT);
	kit_send();
	assert_int_equal(kit.mail.verdict.class, SMTP_AGAIN);
	kit_end();
}

/* ---- refusals: state x reply -> outcome ---- */

static const struct refusal {
	enum smtp_peer_at at;
	const char *reply;
	enum smtp_class class;
	int err;
} refusals[] = {
	{PEER_GREETING, "421 4.3.2 not now", SMTP_HOLD, ERR_REMOTE_BUSY},
	{PEER_GREETING, "450 not now", SMTP_HOLD, ERR_REMOTE_BUSY},
	{PEER_GREETING, "554 5.7.1 never", SMTP_HOLD, ERR_REMOTE_BUSY},
	{PEER_GREETING, "250 hello", SMTP_HOLD, ERR_PROTOCOL},
	{PEER_GREETING, "354 hello", SMTP_HOLD, ERR_PROTOCOL},
	{PEER_GREETING, "SSH-2.0-OpenSSH_9.6", SMTP_HOLD, ERR_PROTOCOL},
	{PEER_GREETING, PEER_HANG_UP, SMTP_HOLD, ERR_CLOSED},
	{PEER_GREETING, PEER_SILENT, SMTP_HOLD, ERR_TIMEOUT},
	{PEER_EHLO, "421 busy", SMTP_HOLD, ERR_REMOTE_BUSY},
	{PEER_EHLO, "450 busy", SMTP_HOLD, ERR_REMOTE_BUSY},
	{PEER_EHLO, "354 what", SMTP_HOLD, ERR_PROTOCOL},
	{PEER_EHLO, PEER_HANG_UP, SMTP_HOLD, ERR_CLOSED},
	{PEER_EHLO, PEER_SILENT, SMTP_HOLD, ERR_TIMEOUT},
	{PEER_MAIL, "421 4.3.2 bye", SMTP_TRY, ERR_REMOTE_TEMP},
	{PEER_MAIL, "451 4.3.0 later", SMTP_TRY, ERR_REMOTE_TEMP},
	{PEER_MAIL, "550 5.7.1 not you", SMTP_FAIL, ERR_REMOTE_PERM},
	{PEER_MAIL, "530 5.7.0 authentication required", SMTP_HOLD, ERR_AUTH},
	{PEER_MAIL, "354 what", SMTP_TRY, ERR_PROTOCOL},
	{PEER_MAIL, "999 what", SMTP_TRY, ERR_PROTOCOL},
	{PEER_MAIL, PEER_HANG_UP, SMTP_TRY, ERR_CLOSED},
	{PEER_MAIL, PEER_SILENT, SMTP_TRY, ERR_TIMEOUT},
	{PEER_RCPT, "421 4.3.2 bye", SMTP_TRY, ERR_REMOTE_TEMP},
	{PEER_RCPT, "450 4.2.0 greylisted", SMTP_TRY, ERR_REMOTE_TEMP},
	{PEER_RCPT, "550 5.1.1 nobody", SMTP_FAIL, ERR_REMOTE_PERM},
	{PEER_RCPT, "354 what", SMTP_TRY, ERR_PROTOCOL},
	{PEER_RCPT, "25O typo", SMTP_TRY, ERR_PROTOCOL},
	{PEER_RCPT, PEER_HANG_UP, SMTP_TRY, ERR_CLOSED},
	{PEER_RCPT, PEER_SILENT, SMTP_TRY, ERR_TIMEOUT},
	{PEER_DATA, "421 4.3.2 bye", SMTP_TRY, ERR_REMOTE_TEMP},
	{PEER_DATA, "451 4.3.0 later", SMTP_TRY, ERR_REMOTE_TEMP},
	{PEER_DATA, "554 5.7.1 no", SMTP_FAIL, ERR_REMOTE_PERM},
	{PEER_DATA, "250 done already", SMTP_TRY, ERR_PROTOCOL},
	{PEER_DATA, PEER_HANG_UP, SMTP_TRY, ERR_CLOSED},
	{PEER_DATA, PEER_SILENT, SMTP_TRY, ERR_TIMEOUT},
	{PEER_DOT, "421 4.3.2 bye", SMTP_TRY, ERR_REMOTE_TEMP},
	{PEER_DOT, "451 4.3.0 later", SMTP_TRY, ERR_REMOTE_TEMP},
	{PEER_DOT, "554 5.6.0 spam", SMTP_FAIL, ERR_REMOTE_PERM},
	{PEER_DOT, "250 fine", SMTP_SENT, 0},
	{PEER_DOT, "251 fine", SMTP_SENT, 0},
	{PEER_DOT, "250-one\r\n250 two", SMTP_SENT, 0},
	{PEER_DOT, "250-one\r\n251 two", SMTP_SENT, 0},
	{PEER_DOT, "250-one\r\n554 two", SMTP_UNCERTAIN, ERR_PROTOCOL},
	{PEER_DOT, "554-one\r\n250 two", SMTP_UNCERTAIN, ERR_PROTOCOL},
	{PEER_DOT, "354 what", SMTP_UNCERTAIN, ERR_PROTOCOL},
	{PEER_DOT, "queued", SMTP_UNCERTAIN, ERR_PROTOCOL},
	{PEER_DOT, PEER_HANG_UP, SMTP_UNCERTAIN, ERR_CLOSED},
	{PEER_DOT, PEER_SILENT, SMTP_UNCERTAIN, ERR_TIMEOUT},
	{PEER_QUIT, "554 stay", SMTP_SENT, 0},
	{PEER_QUIT, PEER_HANG_UP, SMTP_SENT, 0},
	{PEER_QUIT, PEER_SILENT, SMTP_SENT, 0},
};

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct refusal *r = &refusals[i / 2];

		kit_plain();
		kit.peer.caps = i % 2 == 0 ? "" : "PIPELINING";
		kit.peer.replies[r->at] = r->reply;
		kit_mail(2, CONTENT);
		enum smtp_class class = kit_all();
		int err = r->at < PEER_MAIL ? kit.smtp.verdict.err : kit.rcpts[1].verdict.err;
		enum smtp_class want = r->class;
		/* Once, it may be the server that is not up to PIPELINING. */
		if ((kit.smtp.quirks & SMTP_QUIRK_NO_PIPELINING) != 0 && want == SMTP_TRY) want = SMTP_AGAIN;
		if (class != want || err != r->err)
			fail_msg("%s: %s %s instead of %s %s\n%s", r->reply, smtp_class_name(class),
				 err_name(err), smtp_class_name(r->class), err_name(r->err), kit.notes);
		assert_strict();
		kit_end();
	}
}

/* The server speaks before the content's end: that is no answer to the dot. */
static void test_early_reply(void **state)
{
	static const struct {
		const char *reply;
		enum smtp_class class;
	} cases[] = {{"250 2.0.0 Ok: queued", SMTP_TRY},
		     {"552 5.3.4 too big", SMTP_FAIL},
		     {"451 4.3.0 disk", SMTP_TRY},
		     {"421 bye", SMTP_TRY}};
	static char content[300000];

	(void)state;
	memset(content, 'x', sizeof(content) - 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_plain();
		kit.peer.replies[PEER_CONTENT] = cases[i].reply;
		kit.peer.replies[PEER_DOT] = PEER_SILENT;
		kit_mail(1, content);
		assert_int_equal(kit_all(), cases[i].class);
		kit_end();
	}
	/* One reply too many before the content. */
	kit_plain();
	kit.peer.replies[PEER_DATA] = "354 go on\r\n250 2.0.0 Ok: queued";
	kit_mail(1, CONTENT);
	assert_int_equal(kit_all(), SMTP_TRY);
	assert_int_equal(kit.peer.dots, 0);
	kit_end();
}

static void test_body_error(void **state)
{
	static const struct {
		int err;
		enum smtp_class class;
	} cases[] = {{ERR_CORRUPT, SMTP_HOLD},
		     {ERR_IO, SMTP_HOLD},
		     {ERR_NOT_FOUND, SMTP_FAIL},
		     {ERR_TIMEOUT, SMTP_TRY}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_plain();
		kit_mail(1, CONTENT);
		kit.body.fail = cases[i].err;
		kit.body.fail_at = i * 5;
		assert_int_equal(kit_all(), cases[i].class);
		assert_int_equal(kit.mail.verdict.err, cases[i].err);
		assert_int_equal(kit.peer.dots, 0);
		kit_end();
	}
}

/* ---- arguments from outside ---- */

static void test_injection(void **state)
{
	static const struct str bad[] = {
		{"a@b\r\nRSET", 9},
		{"a@b\nRSET", 8},
		{"a@b\rRSET", 8},
		{"a@b\0c", 5},
		{"a@b> SIZE=1", 11},
		{"a@b>\r\nDATA\r\n.", 13},
		{"a b@c", 5},
		{"a\tb@c", 5},
		{"<a@b>", 5},
		{"a", 1},
		{"@b", 2},
		{"a@", 2},
		{"", 0},
		{"a@b c", 5},
		{"\"a@b", 4},
		{"\"a\r\n\"@b", 7},
		{"\"a\"b@c", 6},
		{"a,b@c", 5},
		{"a@b\x7f", 4},
		{"a\xff@b", 4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kit_plain();
		kit.peer.caps = "SMTPUTF8";
		kit_mail(2, CONTENT);
		kit.rcpts[0].addr = bad[i];
		assert_int_equal(kit_all(), SMTP_FAIL);
		assert_int_equal(kit.rcpts[0].verdict.err, ERR_INVALID);
		assert_int_equal(kit.rcpts[1].verdict.class, SMTP_SENT);
		assert_sent();
		assert_int_equal(kit.peer.rcpts_seen, 1);
		if (bad[i].len > 0) {
			kit_mail(2, CONTENT);
			kit.mail.from = bad[i];
			assert_int_equal(kit_all(), SMTP_FAIL);
			assert_int_equal(kit.peer.mails, 1);
			assert_int_equal(kit.peer.mails_begun, 1);
		}
		kit_end();
	}
	kit_plain();
	kit.config.helo = "gw\r\nMAIL FROM:<x@y>";
	kit_mail(1, CONTENT);
	assert_int_equal(kit_all(), SMTP_SENT);
	assert_in(kit.peer.log, "EHLO localhost\n");
	kit_end();
}

static void test_good_addresses(void **state)
{
	static const char *const good[] = {
		"a@b",           "o'neil+x@example.com", "\"a b\"@c",  "\"a\\\"@b\"@c",
		"a@[192.0.2.1]", "a@[IPv6:::1]",         "=?#!$%@x.y", "a.b.@c"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char line[64];

		kit_plain();
		kit_mail(1, CONTENT);
		kit.rcpts[0].addr = str_from(good[i]);
		assert_int_equal(kit_all(), SMTP_SENT);
		snprintf(line, sizeof(line), "<%s>", good[i]);
		assert_string_equal(kit.peer.rcpts[0], line);
		kit_end();
	}
}

/* ---- AUTH ---- */

static void auth_case(const char *caps, enum smtp_auth auth, const char *loginline)
{
	kit_plain();
	kit.config.host = KIT_LOOPBACK;
	kit.config.auth = auth;
	kit.config.username = "user@example.com";
	kit.config.password = "p\xc3\xa4ss word";
	kit.peer.caps = caps;
	kit_mail(1, CONTENT);
	assert_int_equal(kit_all(), SMTP_SENT);
	assert_sent();
	assert_int_equal(kit.peer.auths, 1);
	assert_string_equal(kit.peer.user, "user@example.com");
	assert_string_equal(kit.peer.password, "p\xc3\xa4ss word");
	assert_in(kit.notes, loginline);
	/* base64 of either, or of a part, is nowhere in the transcript */
	assert_not_in(kit.notes, "dXNlckBleGFtcGxl");
	assert_not_in(kit.notes, "AHVzZXJA");
	assert_not_in(kit.notes, "cMOkc3Mgd29yZA");
	kit_end();
}

static void test_auth(void **state)
{
	(void)state;
	auth_case("AUTH PLAIN LOGIN", SMTP_AUTH_AUTO, "C AUTH PLAIN ***\n");
	auth_case("AUTH LOGIN", SMTP_AUTH_AUTO,
		  "C AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC ***\nS 334 UGFzc3dvcmQ6\nC ***\n");
	auth_case("AUTH LOGIN PLAIN", SMTP_AUTH_LOGIN, "C AUTH LOGIN\n");
	auth_case("AUTH=LOGIN", SMTP_AUTH_AUTO, "C AUTH LOGIN\n");
}

static void test_auth_long(void **state)
{
	static char password[500];

	(void)state;
	memset(password, 'p', sizeof(password) - 1);
	kit_plain();
	kit.config.host = KIT_LOOPBACK;
	kit.config.username = "u";
	kit.config.password = password;
	kit.peer.caps = "AUTH PLAIN";
	kit_mail(1, CONTENT);
	/* Too long for an initial response: only after 334. The peer keeps no more than 255 bytes: enough to
	 * see. */
	kit_all();
	assert_in(kit.notes, "C AUTH PLAIN\nS 334 \nC ***\n");
	kit_end();
}

/* A server that says what it was told: it reaches neither the verdict nor the transcript. */
static void test_secrets_come_back(void **state)
{
	static const char *const replies[] = {
		"535 5.7.8 not with open-sesame!",
		"535 5.7.8 you sent AHUAb3Blbi1zZXNhbWUh",
		"535 5.7.8 b3Blbi1zZXNhbWUh?",
		"535-5.7.8 first\r\n535 5.7.8 open-sesame!",
		"535-5.7.8 open-sesa\r\n535 5.7.8 me! it was",
		"535-5.7.8 it was op\r\n535 5.7.8 en-sesame!",
		"535-AHUAb3Blbi1z\r\n535 ZXNhbWUh",
		"535 5.7.8 OPEN-Sesame!",
		"535 5.7.8 open\t-sesame!",
		"535-it was op\r\n535-en-se\r\n535 same!",
		"334 b3Blbi1zZXNhbWUh",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		kit_plain();
		kit.config.host = KIT_LOOPBACK;
		kit.config.username = "u";
		kit.config.password = "open-sesame!";
		kit.peer.caps = "AUTH PLAIN";
		kit.peer.replies[PEER_AUTH] = replies[i];
		int rc = kit_open();
		if (rc != ERR_AUTH) fail_msg("%zu: %s: %s", i, err_name(rc), kit.notes);
		const char *text = kit.smtp.verdict.reply.text;
		if (strcasestr(text, "sesa") || strstr(text, "en-se") || strstr(text, "ZXNhb") ||
		    strstr(text, "b3Blb"))
			fail_msg("%s", text);
		if (strstr(kit.notes, "en-sesa") || strstr(kit.notes, "ZXNhb")) fail_msg("%s", kit.notes);
		if (replies[i][0] == '5') assert_non_null(strstr(text, "not shown"));
		assert_null(strstr(kit.notes, "open-sesame"));
		assert_null(strstr(kit.notes, "b3Blbi1zZXNhb"));
		kit_close();
		kit_end();
	}
}

static void test_auth_refusals(void **state)
{
	static const struct {
		const char *caps;
		enum smtp_auth auth;
		const char *reply;
		int err;
	} cases[] = {
		{"AUTH PLAIN", SMTP_AUTH_AUTO, "535 5.7.8 no", ERR_AUTH},
		{"AUTH PLAIN", SMTP_AUTH_AUTO, "454 4.7.0 later", ERR_REMOTE_BUSY},
		{"AUTH PLAIN", SMTP_AUTH_AUTO, "421 bye", ERR_REMOTE_BUSY},
		{"AUTH PLAIN", SMTP_AUTH_AUTO, "334 more", ERR_AUTH},
		{"AUTH PLAIN", SMTP_AUTH_AUTO, "354 more", ERR_PROTOCOL},
		{"AUTH PLAIN", SMTP_AUTH_AUTO, PEER_HANG_UP, ERR_CLOSED},
		{"AUTH PLAIN", SMTP_AUTH_LOGIN, NULL, ERR_AUTH},
		{"AUTH NTLM", SMTP_AUTH_AUTO, NULL, ERR_AUTH},
		{"", SMTP_AUTH_AUTO, NULL, ERR_AUTH},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_plain();
		kit.config.host = KIT_LOOPBACK;
		kit.config.auth = cases[i].auth;
		kit.config.username = "u";
		kit.config.password = "p";
		kit.peer.caps = cases[i].caps;
		kit.peer.replies[PEER_AUTH] = cases[i].reply;
		assert_int_equal(kit_open(), cases[i].err);
		assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
		kit_end();
	}
	/* Never in the clear beyond this machine. */
	kit_plain();
	kit.config.username = "u";
	kit.config.password = "p";
	kit.peer.caps = "AUTH PLAIN";
	assert_int_equal(kit_open(), ERR_AUTH);
	kit_close();
	assert_not_in(kit.peer.log, "AUTH");
	kit_end();
}

/* ---- lines of any kind ---- */

static void raw_serve(struct hal_stream *s, void *arg)
{
	const char *text = arg;

	net_send_all(s, text, strlen(text), HAL_FOREVER, NULL);
	hal_clock_sleep_until(hal_clock_in(60000));
}

static void endless_serve(struct hal_stream *s, void *arg)
{
	while (net_send_all(s, arg, strlen(arg), HAL_FOREVER, NULL) == 0)
		;
}

static void test_lines(void **state)
{
	static char text[60000];

	(void)state;
	/* A greeting of many long lines, some ended by LF alone, with 8-bit bytes: cut, and read on. */
	kit_plain();
	sim_peer_close(KIT_IP, KIT_PORT);
	text[0] = '\0';
	for (int i = 0; i < 5; i++)
		sprintf(text + strlen(text), "220-%*d\xff\x01%s", 10000, i, i % 2 == 0 ? "\r\n" : "\n");
	strcat(text, "220 ok\n250 hi\n250 sender\n250 rcpt\n");
	sim_peer_listen(KIT_IP, KIT_PORT, raw_serve, text);
	assert_int_equal(kit_open(), 0);
	kit_end();

	/* A line, and a reply, without end. */
	static char *const endless[] = {"220-abcdefghijklmnopqrstuvwxyz0123456789", "220-a\r\n"};
	for (size_t i = 0; i < 2; i++) {
		kit_plain();
		sim_peer_close(KIT_IP, KIT_PORT);
		sim_peer_listen(KIT_IP, KIT_PORT, endless_serve, endless[i]);
		kit.config.note = NULL;
		assert_int_equal(kit_open(), ERR_PROTOCOL);
		kit_end();
	}
}

static void test_deadline(void **state)
{
	(void)state;
	kit_plain();
	kit.peer.replies[PEER_GREETING] = PEER_SILENT;
	int64_t began = hal_clock_mono_ms();
	kit.config.wait_percent = 1;
	assert_int_equal(kit_open(), ERR_TIMEOUT);
	assert_int_in_range(hal_clock_mono_ms() - began, 3000, 3100);
	kit_close();
	smtp_init(&kit.smtp, &kit.config);
	kit.smtp_open = true;
	began = hal_clock_mono_ms();
	assert_int_equal(smtp_open(&kit.smtp, hal_clock_in(500)), ERR_TIMEOUT);
	assert_int_in_range(hal_clock_mono_ms() - began, 500, 501);
	kit_end();
}

static void abort_soon(void *arg)
{
	hal_clock_sleep_until(hal_clock_in(700));
	smtp_abort(arg);
}

static void test_abort(void **state)
{
	(void)state;
	kit_plain();
	kit.peer.replies[PEER_GREETING] = PEER_SILENT;
	sim_script_start("abort", abort_soon, &kit.smtp);
	int64_t began = hal_clock_mono_ms();
	assert_int_equal(kit_open(), ERR_STOPPING);
	assert_int_in_range(hal_clock_mono_ms() - began, 700, 710);
	assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
	kit_end();
	/* Waiting for the last reply: nobody knows. */
	kit_plain();
	kit.peer.replies[PEER_DOT] = PEER_SILENT;
	sim_script_start("abort", abort_soon, &kit.smtp);
	kit_mail(1, CONTENT);
	assert_int_equal(kit_all(), SMTP_UNCERTAIN);
	kit_end();
}

static void test_connect(void **state)
{
	(void)state;
	kit_plain();
	sim_peer_close(KIT_IP, KIT_PORT);
	assert_int_equal(kit_open(), ERR_REFUSED);
	assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
	assert_in(kit.smtp.verdict.reply.text,
		  "mail.example.com [10.0.0.1]:2525: the connection was refused");
	kit_close();
	kit.config.host = "nowhere.example.com";
	assert_int_equal(kit_open(), ERR_DNS_NO_NAME);
	kit_end();

	/* Two addresses, the first one does not answer. */
	kit_plain();
	sim_dns_add("two.example.com", "10.0.0.9");
	sim_dns_add("two.example.com", KIT_IP);
	kit.config.host = "two.example.com";
	sim_net_rule_add(&(struct sim_net_rule){.ip = "10.0.0.9", .black_hole = true});
	kit_mail(1, CONTENT);
	assert_int_equal(kit_all(), SMTP_SENT);
	kit_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_utf8_not_offered),
		cmocka_unit_test(test_null_sender_and_helo),
		cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_none_accepted),
		cmocka_unit_test(test_mail_refused_rcpt_accepted),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_early_reply),
		cmocka_unit_test(test_body_error),
		cmocka_unit_test(test_injection),
		cmocka_unit_test(test_good_addresses),
		cmocka_unit_test(test_auth),
		cmocka_unit_test(test_auth_long),
		cmocka_unit_test(test_auth_refusals),
		cmocka_unit_test(test_secrets_come_back),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_connect),
	};

	return cmocka_run_group_tests_name("smtp dialogue", tests, NULL, NULL);
}
