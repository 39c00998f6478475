/* sendmail's words, as programs write them, and the messages that they write. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cli/sendmail.h"

static struct sendmail s;
static char why_text[256];

/* Takes a line apart at its spaces; ~ stands for an empty word. */
static int parse_as(bool own, const char *line)
{
	static char text[300];
	const char *words[40];
	struct buf why;
	int count = 0;

	buf_init(&why, why_text, sizeof(why_text));
	snprintf(text, sizeof(text), "%s", line);
	for (char *w = strtok(text, " "); w; w = strtok(NULL, " "))
		words[count++] = strcmp(w, "~") == 0 ? "" : w;
	return sendmail_parse(words, count, own, &s, &why);
}

static void check_words(const char *line, const char *expected)
{
	char all[300];
	struct buf b;
	int rc = parse_as(false, line);

	buf_init(&b, all, sizeof(all));
	if (rc != 0) buf_printf(&b, "%d %s", rc, why_text);
	if (rc == 0) {
		buf_printf(&b, "%s%s%s%s", s.from_header ? "t" : "", s.dot_is_text ? "i" : "",
			   s.verbose ? "v" : "", s.nothing ? "q" : "");
		if (s.from) buf_printf(&b, " f=%s", s.from);
		if (s.name) buf_printf(&b, " F=%s", s.name);
		if (s.file) buf_printf(&b, " C=%s", s.file);
		for (int i = 0; i < s.rcpt_count; i++)
			buf_printf(&b, " %s", s.rcpts[i]);
	}
	if (strcmp(all, expected) != 0) fail_msg("%s: '%s' instead of '%s'", line, all, expected);
}

static void takes_what_programs_write(void **state)
{
	(void)state;
	/* cron, smartd and mail, PHP, git, Python, mdadm, logcheck */
	check_words("-i -FCronDaemon -B8BITMIME -oem root", "i F=CronDaemon root");
	check_words("-FCronDaemon -odi -oem -oi -t", "ti F=CronDaemon");
	check_words("-oi -oem -f root@host -- a@b.c", "i f=root@host a@b.c");
	check_words("-t -i", "ti");
	check_words("-ti", "ti");
	check_words("-i -f x@y.z a@b.c d@e.f", "i f=x@y.z a@b.c d@e.f");
	check_words("-bm -odq -oeq -em -m -n -G -U -s a", " a");
	check_words("-fx@y.z -F Name -r ~ a -v", "v f= F=Name a");
	check_words("-tvfx@y.z", "tv f=x@y.z");
	check_words(
		"-o i -O IgnoreDots=True -O DeliveryMode=b -N never -R hdrs -V id -h 5 -X log -L tag -p x a",
		"i a");
	check_words("-C /x.ini -t -d0.1", "t C=/x.ini");
	check_words("-c a", " a");
	check_words("-- -f -t", " -f -t");
	check_words("- a", " - a");
	check_words("-q30m", "q");
	check_words("-q", "q");
	assert_int_equal(parse_as(true, "-c x.ini a"), 0);
	assert_string_equal(s.file, "x.ini");
	assert_int_equal(s.rcpt_count, 1);
}

static void refuses_the_rest(void **state)
{
	(void)state;
	check_words("", "64 no recipient: name one, or take them from the message with -t");
	check_words("-i", "64 no recipient: name one, or take them from the message with -t");
	check_words("-t -f", "64 -f wants a value");
	check_words("-t -Z", "64 unknown option -Z");
	check_words("-t --help", "64 unknown option --");
	check_words("-bs", "69 -bs: SMTP on the standard input is not supported");
	check_words("-bd -q30m", "69 -bd: start the gateway with `postern run`");
	check_words("-bp", "69 -bp: `postern list` shows the queue");
	check_words("-bi", "69 -bi: local names are in [alias] of the configuration");
	check_words("-bv a", "69 -bv: addresses are not verified by themselves");
	check_words("-bt", "69 -bt is not supported");
	check_words("-I", "69 -I: local names are in [alias] of the configuration");
}

/* ---- the command's name ---- */

static void is_found_by_its_name(void **state)
{
	char *link[] = {"/usr/sbin/sendmail", "-h", "5", "--json", "-c", "--", "-x", NULL};
	char *command[] = {"postern", "-c", "x.ini", "sendmail", "--json", "-h", NULL};
	char *help[] = {"postern", "sendmail", "--help", NULL};
	static struct cli c;
	struct buf why;

	(void)state;
	buf_init(&why, why_text, sizeof(why_text));
	assert_int_equal(cli_parse(7, link, &c, &why), 0);
	assert_ptr_equal(c.command->act, cli_sendmail);
	assert_true(c.called_sendmail && !c.json && !c.help && !c.file);
	assert_int_equal(c.operand_count, 6);
	assert_int_equal(cli_parse(6, command, &c, &why), 0);
	assert_ptr_equal(c.command->act, cli_sendmail);
	assert_true(!c.called_sendmail && !c.json && !c.help);
	assert_string_equal(c.file, "x.ini");
	assert_int_equal(c.operand_count, 2);
	assert_int_equal(cli_parse(3, help, &c, &why), 0);
	assert_true(c.help);
}

/* ---- messages ---- */

static char made[1 << 16];

static bool message(const char *in, bool dot_is_text)
{
	struct sendmail_header header;
	struct buf b;

	buf_init(&b, made, sizeof(made));
	sendmail_message(str_from(in), dot_is_text, &b, &header);
	assert_false(b.cut);
	return header.from;
}

static void check_message(const char *in, const char *expected, bool from)
{
	bool has_from = message(in, false);

	if (strcmp(made, expected) != 0 || has_from != from)
		fail_msg("'%s': '%s' %d instead of '%s' %d", in, made, has_from, expected, from);
}

static void mends_what_is_missing(void **state)
{
	(void)state;
	check_message("From: a@b.c\nSubject: x\n\nbody\n", "From: a@b.c\nSubject: x\n\nbody\n", true);
	check_message("From: \"x\"\n <a@b.c>\n\n", "From: \"x\"\n <a@b.c>\n\n", true);
	check_message("", "\n", false);
	check_message("\n\nbody", "\n\nbody\n", false);
	check_message("hello\nFrom: a@b.c\n\n", "\nhello\nFrom: a@b.c\n\n", false);
	check_message(" hello\n", "\n hello\n", false);
	check_message("Subject: x\nhello\n\nworld", "Subject: x\n\nhello\n\nworld\n", false);
	check_message("Subject: x\n folded\n", "Subject: x\n folded\n", false);
	check_message("From root Mon\nSubject: x\n\n", "From root Mon\nSubject: x\n\n", false);
	check_message("Subject: x\nFrom root Mon\n", "Subject: x\n\nFrom root Mon\n", false);
	check_message("From: root (Cron Daemon)\nTo: a@b.c\n\n", "From: root (Cron Daemon)\nTo: a@b.c\n\n",
		      false);
	check_message("Subject: x\r\n\r\na\rb\r\n\r", "Subject: x\n\na\nb\n\n", false);
	check_message("Subject: x\r\r\nBcc: h@b.c\r\r\n\r\r\na\r\rb\r\r\r\n\r\r",
		      "Subject: x\nBcc: h@b.c\n\na\n\nb\n\n\n", false);
}

static void ends_at_a_lone_dot(void **state)
{
	(void)state;
	check_message("Subject: x\n\na\n.\nb\n", "Subject: x\n\na\n", false);
	check_message("Subject: x\n\na\r\n.\r\nb\n", "Subject: x\n\na\n", false);
	check_message("Subject: x\n\na\n.", "Subject: x\n\na\n", false);
	check_message("Subject: x\n.\nb\n", "Subject: x\n", false);
	check_message(".\n", "\n", false);
	check_message("Subject: x\n\n..\n. \n .\n", "Subject: x\n\n..\n. \n .\n", false);
	assert_false(message("Subject: x\n\na\n.\nb\n", true));
	assert_string_equal(made, "Subject: x\n\na\n.\nb\n");
}

/* Lines of 997 to 2100 columns: every piece fits, no character is cut, and the pieces are the line again. */
static void breaks_long_lines(void **state)
{
	static char in[5000], joined[5000];

	(void)state;
	for (size_t n = 990; n < 2100; n++) {
		size_t at = (size_t)sprintf(in, "\n"), out = 0;
		const char *p;

		while (at < n)
			at += (size_t)sprintf(in + at, "%s",
					      at % 7 == 0 ? "\xf0\x9f\x98\x80"
					      : at % 3    ? "x"
							  : "\xc3\xa4");
		message(in, false);
		for (p = made; *p;) {
			size_t len = strcspn(p, "\n");

			assert_true(len <= 998 && str_is_utf8((struct str){p, len}));
			if (p > made + 1) {
				assert_int_equal(*p, ' ');
				p++, len--;
			}
			memcpy(joined + out, p, len);
			out += len;
			p += len + 1;
			if (out == 0) {
				len = strcspn(p, "\n");
				memcpy(joined, p, len);
				out = len;
				p += len + 1;
			}
		}
		assert_int_equal(out, at - 1);
		assert_memory_equal(joined, in + 1, out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_programs_write), cmocka_unit_test(refuses_the_rest),
		cmocka_unit_test(is_found_by_its_name),      cmocka_unit_test(mends_what_is_missing),
		cmocka_unit_test(ends_at_a_lone_dot),        cmocka_unit_test(breaks_long_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
