/* The reply parser and the queue id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "smtp/parts.h"

#define MORE (-1000)

static const struct {
	const char *lines; /* apart by '|' */
	int rc;            /* of the last one: 1, 0 or an error */
	int code;
	const char *enhanced, *text;
} replies[] = {
	{"250 ok", 1, 250, "", "ok"},
	{"250", 1, 250, "", ""},
	{"250 ", 1, 250, "", ""},
	{"250-", 0, 250, "", ""},
	{"250-a|250-b|250 c", 1, 250, "", "a b c"},
	{"250-a|250", 1, 250, "", "a"},
	{"250-a|251 b", 1, 251, "", "a b"},
	{"250-a|550 b", ERR_PROTOCOL, 0, NULL, NULL},
	{"550-a|250 b", ERR_PROTOCOL, 0, NULL, NULL},
	{"550 5.1.1 no such user", 1, 550, "5.1.1", "no such user"},
	{"550-5.1.1 no|550 5.1.1 such", 1, 550, "5.1.1", "no such"},
	{"550 5.1.1", 1, 550, "5.1.1", ""},
	{"450 4.123.456 x", 1, 450, "4.123.456", "x"},
	{"450 4.1234.5 x", 1, 450, "", "4.1234.5 x"},
	{"450 5.1.1 other class", 1, 450, "", "5.1.1 other class"},
	{"450 4.1. x", 1, 450, "", "4.1. x"},
	{"450 4.1.1x y", 1, 450, "", "4.1.1x y"},
	{"250 192.0.2.1 hello", 1, 250, "", "192.0.2.1 hello"},
	{"250 2.0.0 a\tb\x01"
	 "c\x7f",
	 1, 250, "2.0.0", "a b?c?"},
	{"250 \xc3\xa4\xff", 1, 250, "", "\xc3\xa4\xff"},
	{"", ERR_PROTOCOL, 0, NULL, NULL},
	{"2", ERR_PROTOCOL, 0, NULL, NULL},
	{"25", ERR_PROTOCOL, 0, NULL, NULL},
	{"25 x", ERR_PROTOCOL, 0, NULL, NULL},
	{"2500 x", ERR_PROTOCOL, 0, NULL, NULL},
	{"250x", ERR_PROTOCOL, 0, NULL, NULL},
	{"250\tx", ERR_PROTOCOL, 0, NULL, NULL},
	{" 250 x", ERR_PROTOCOL, 0, NULL, NULL},
	{"150 x", ERR_PROTOCOL, 0, NULL, NULL},
	{"650 x", ERR_PROTOCOL, 0, NULL, NULL},
	{"25O x", ERR_PROTOCOL, 0, NULL, NULL},
	{"+OK POP3", ERR_PROTOCOL, 0, NULL, NULL},
};

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		struct smtp_reply r = {0};
		int rc = MORE;

		for (const char *at = replies[i].lines; at != NULL;) {
			rc = smtp_reply_line(&r, (struct str){at, strcspn(at, "|")});
			at = strchr(at, '|');
			at = at == NULL ? NULL : at + 1;
		}
		if (rc != replies[i].rc)
			fail_msg("\"%s\": %d instead of %d", replies[i].lines, rc, replies[i].rc);
		if (rc < 0) continue;
		assert_int_equal(r.code, replies[i].code);
		assert_string_equal(r.enhanced, replies[i].enhanced);
		assert_string_equal(r.text, replies[i].text);
	}
}

static void test_nul_and_length(void **state)
{
	struct smtp_reply r = {0};
	char line[1000] = "250 a";

	(void)state;
	assert_int_equal(smtp_reply_line(&r, (struct str){"250 a\0b", 7}), 1);
	assert_string_equal(r.text, "a?b");
	memset(&r, 0, sizeof(r));
	memset(line + 4, 'x', sizeof(line) - 4);
	assert_int_equal(smtp_reply_line(&r, (struct str){line, sizeof(line)}), 1);
	assert_int_equal(strlen(r.text), SMTP_TEXT_MAX - 1);
	/* Cut at the border of a character. */
	for (size_t shift = 0; shift < 4; shift++) {
		memset(&r, 0, sizeof(r));
		memset(line + 4, 'x', sizeof(line) - 4);
		for (size_t i = 4 + shift; i + 4 <= sizeof(line); i += 4)
			memcpy(line + i, "\xf0\x9f\x93\xa7", 4);
		assert_int_equal(smtp_reply_line(&r, (struct str){line, sizeof(line)}), 1);
		assert_true(str_is_utf8(str_from(r.text)));
		assert_true(strlen(r.text) > SMTP_TEXT_MAX - 5);
	}
	/* Without end. */
	memset(&r, 0, sizeof(r));
	for (int i = 0; i < 1000000; i++)
		assert_int_equal(smtp_reply_line(&r, STR("250-")), 0);
	assert_int_equal(smtp_reply_line(&r, STR("250-")), ERR_PROTOCOL);
}

static void test_queue_id(void **state)
{
	static const char *const cases[][2] = {
		{"250 2.0.0 Ok: queued as 4XYZ12AbC", "4XYZ12AbC"},
		{"250 2.0.0 Ok: queued as <4XYZ@host>", "4XYZ@host"},
		{"250 OK id=1rABCD-000123-4E", "1rABCD-000123-4E"},
		{"250 2.0.0 38F1Zx012345 Message accepted for delivery", "38F1Zx012345"},
		{"250 2.0.0 7f00aa12 Message accepted for delivery", "7f00aa12"},
		{"250 ok 1700000000 qp 12345", "12345"},
		{"250 Ok 0100017f1234-5678-abcd-000000", "0100017f1234-5678-abcd-000000"},
		{"250 2.0.0 OK  1699999999 a1-20020a05sm12345 - gsmtp", "a1-20020a05sm12345"},
		{"250 2.6.0 <x@y> [InternalId=1234567, Hostname=h] Queued mail for delivery", "1234567"},
		{"250 Ok: queued as ABC.", "ABC"},
		{"250 2.0.0 Great success", "Great success"},
		{"250 ok thanks a lot", "ok thanks a lot"},
		{"250 queued as ", "queued as"},
		{"250", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_reply r = {0};
		char id[256];

		assert_int_equal(smtp_reply_line(&r, str_from(cases[i][0])), 1);
		assert_int_equal(str_copy(id, sizeof(id), smtp_queue_id(&r)), 0);
		assert_string_equal(id, cases[i][1]);
	}
}

static void test_caps(void **state)
{
	struct smtp_caps c = {0};

	(void)state;
	smtp_caps_line(&c, STR("size 35882577"));
	assert_int_equal(c.size_max, 35882577);
	smtp_caps_line(&c, STR("SIZE"));
	assert_int_equal(c.size_max, 0);
	smtp_caps_line(&c, STR("SIZE 99999999999999999999999"));
	assert_int_equal(c.size_max, 0);
	smtp_caps_line(&c, STR("SIZE -1"));
	assert_int_equal(c.size_max, 0);
	smtp_caps_line(&c, STR("8bitmime"));
	smtp_caps_line(&c, STR(" PIPELINING "));
	smtp_caps_line(&c, STR("STARTTLSX"));
	smtp_caps_line(&c, STR(""));
	assert_true(c.eightbit && c.pipelining && !c.starttls);
	smtp_caps_line(&c, STR("CHUNKINGS"));
	assert_true(!c.chunking && !c.dsn);
	smtp_caps_line(&c, STR("chunking"));
	smtp_caps_line(&c, STR("DSN"));
	assert_true(c.chunking && c.dsn);
	smtp_caps_line(&c, STR("AUTH\tPLAIN  XOAUTH2 PLAINX"));
	assert_int_equal(c.auth, 1u << SMTP_AUTH_PLAIN | 1u << SMTP_AUTH_XOAUTH2);
	smtp_caps_line(&c, STR("AUTH=LOGIN SCRAM-SHA-256"));
	assert_int_equal(c.auth, 1u << SMTP_AUTH_PLAIN | 1u << SMTP_AUTH_XOAUTH2 | 1u << SMTP_AUTH_LOGIN |
					 1u << SMTP_AUTH_SCRAM_SHA_256);
}

static void test_command_names(void **state)
{
	(void)state;
	assert_string_equal(smtp_command_name(SMTP_CMD_EHLO), "EHLO");
	assert_string_equal(smtp_command_name(SMTP_CMD_DOT), ".");
	assert_string_equal(smtp_command_name(SMTP_CMD_BDAT), "BDAT");
	assert_string_equal(smtp_command_name(SMTP_CMD_LAST), "BDAT");
	assert_string_equal(smtp_command_name(SMTP_CMD_QUIT), "QUIT");
	assert_string_equal(smtp_command_name(SMTP_CMD_PROBE_BDAT), "BDAT");
	assert_string_equal(smtp_command_name(SMTP_CMD_PROBE_RSET), "RSET");
}

static void test_xtext(void **state)
{
	char text[32];
	struct buf b;

	(void)state;
	buf_init(&b, text, sizeof(text));
	smtp_xtext(&b, STR("a+b=c d~\x7f"));
	assert_string_equal(text, "a+2Bb+3Dc+20d~+7F");
	assert_false(b.cut);
	buf_reset(&b);
	smtp_xtext(&b, STR("\xc3!"));
	assert_string_equal(text, "+C3!");
}

/* In and out in pieces of every size: what comes out does not depend on them. */
static void test_stuff(void **state)
{
	static const char in[] = ".a\r\n..b\n\r.\r\r\n.\n\n.c\r\r.";
	static const char *const want[] = {"..a\r\n...b\r\n\r\n..\r\n\r\n..\r\n\r\n..c\r\n\r\n..\r\n.\r\n",
					   ".a\r\n..b\r\n\r\n.\r\n\r\n.\r\n\r\n.c\r\n\r\n.\r\n"};
	size_t len = sizeof(in) - 1;

	(void)state;
	for (int plain = 0; plain < 2; plain++)
		for (size_t piece = 1; piece <= len; piece++)
			for (size_t cap = 2; cap < 12; cap++) {
				struct smtp_stuffer t = {.plain = plain != 0};
				char out[128];
				size_t n = 0;

				for (size_t at = 0; at < len;) {
					size_t taken, most = len - at < piece ? len - at : piece;

					n += smtp_stuff(&t, in + at, most, &taken, out + n, cap);
					assert_true(taken > 0);
					at += taken;
				}
				n += smtp_stuff_end(&t, out + n);
				assert_int_equal(n, strlen(want[plain]));
				assert_memory_equal(out, want[plain], n);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),         cmocka_unit_test(test_nul_and_length),
		cmocka_unit_test(test_queue_id),      cmocka_unit_test(test_caps),
		cmocka_unit_test(test_command_names), cmocka_unit_test(test_xtext),
		cmocka_unit_test(test_stuff),
	};

	return cmocka_run_group_tests_name("smtp reply", tests, NULL, NULL);
}
