/* Arguments taken apart, and what a terminal gets to see. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cli/room.h"

static struct cli c;
static char why_text[256];

/* Takes "postern" and the words apart. */
static int parse(const char *first, ...)
{
	static char words[16][64];
	char *argv[17];
	struct buf why;
	va_list ap;
	int argc = 0;

	snprintf(words[argc++], sizeof(words[0]), "postern");
	va_start(ap, first);
	for (const char *w = first; w; w = va_arg(ap, const char *))
		snprintf(words[argc++], sizeof(words[0]), "%s", w);
	va_end(ap);
	for (int i = 0; i < argc; i++)
		argv[i] = words[i];
	argv[argc] = NULL;
	buf_init(&why, why_text, sizeof(why_text));
	return cli_parse(argc, argv, &c, &why);
}

static void test_common_options_anywhere(void **state)
{
	(void)state;
	assert_int_equal(parse("-c", "a.ini", "status", "--json", NULL), 0);
	assert_string_equal(c.file, "a.ini");
	assert_true(c.json);
	assert_string_equal(c.command->name, "status");
	assert_int_equal(parse("status", "-c", "b.ini", NULL), 0);
	assert_string_equal(c.file, "b.ini");
	assert_false(c.json);
	assert_int_equal(parse("show", "--json", "7", "-c", "c.ini", NULL), 0);
	assert_string_equal(c.operands[0], "7");
	assert_int_equal(parse("send", "--help", NULL), 0);
	assert_true(c.help);
	assert_int_equal(parse("--help", NULL), 0);
	assert_null(c.command);
}

static void test_options(void **state)
{
	int at = 0;

	(void)state;
	assert_int_equal(parse("send", "--to", "a@b.c", "--text=x=y", "--to", "-", "--wait", NULL), 0);
	assert_string_equal(cli_option(&c, "--to", &at), "a@b.c");
	assert_string_equal(cli_option(&c, "--to", &at), "-");
	assert_null(cli_option(&c, "--to", &at));
	assert_string_equal(cli_option(&c, "--text", NULL), "x=y");
	assert_null(cli_option(&c, "--html", NULL));
	assert_true(cli_flag(&c, "--wait"));
	assert_int_equal(parse("send", "-", NULL), 0);
	assert_string_equal(c.operands[0], "-");
	assert_int_equal(parse("send", "--", "--to", NULL), 0);
	assert_string_equal(c.operands[0], "--to");
	assert_int_equal(parse("requeue", "1", "2", "3", NULL), 0);
	assert_int_equal(c.operand_count, 3);
}

static void test_usage_errors(void **state)
{
	(void)state;
	assert_int_equal(parse(NULL), CLI_USAGE);
	assert_int_equal(parse("nonsense", NULL), CLI_USAGE);
	assert_string_equal(why_text, "unknown command nonsense");
	assert_int_equal(parse("send", "--nonsense", NULL), CLI_USAGE);
	assert_int_equal(parse("--nonsense", NULL), CLI_USAGE);
	assert_int_equal(parse("send", "--to", NULL), CLI_USAGE);
	assert_string_equal(why_text, "--to wants a value: ADDRESS");
	assert_int_equal(parse("send", "--wait=yes", NULL), CLI_USAGE);
	assert_int_equal(parse("status", "x", NULL), CLI_USAGE);
	assert_int_equal(parse("show", NULL), CLI_USAGE);
	assert_int_equal(parse("cancel", "1", "2", NULL), CLI_USAGE);
	assert_int_equal(parse("status", "-c", NULL), CLI_USAGE);
	assert_int_equal(parse("version", "--to", "x", NULL), CLI_USAGE);
}

/* What is not built yet takes any words, so that it can say so. */
static void test_not_built(void **state)
{
	(void)state;
	assert_int_equal(parse("provider", "add", "--whatever", NULL), 0);
	assert_null(c.command->act);
}

static int run_never(const char *file)
{
	(void)file;
	fail();
	return 0;
}

static int run_seen(const char *file)
{
	assert_string_equal(file, "x.ini");
	return 42;
}

static void test_main(void **state)
{
	char *unbuilt[] = {"postern", "sync", NULL}, *run[] = {"postern", "run", "-c", "x.ini", NULL};

	(void)state;
	assert_int_equal(cli_main(2, unbuilt, run_never), CLI_USAGE);
	assert_int_equal(cli_main(4, run, run_seen), 42);
}

static void escaped(const char *in, const char *out)
{
	char text[256];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	cli_escape(&b, str_from(in));
	assert_string_equal(text, out);
}

static void test_escape(void **state)
{
	(void)state;
	escaped("plain, Grüße, 日本語 🙂", "plain, Grüße, 日本語 🙂");
	escaped("", "");
	escaped("a\033[2Jb", "a\\x1b[2Jb");
	escaped("a\r\nb\tc\177", "a\\x0d\\x0ab\\x09c\\x7f");
	escaped("\302\233"
		"31m",
		"\\xc2\\x9b31m");                                 /* CSI as one C1 character */
	escaped("\302\240", "\302\240");                          /* a no-break space is harmless */
	escaped("\342\200\256gpj.exe", "\\xe2\\x80\\xaegpj.exe"); /* right-to-left override */
	escaped("\342\201\246x", "\\xe2\\x81\\xa6x");
	escaped("\342\200\230x", "\342\200\230x"); /* a quotation mark */
	escaped("\377\300\200", "\\xff\\xc0\\x80");
	escaped("cut \342\200", "cut \\xe2\\x80");
}

static void test_table(void **state)
{
	(void)state;
	for (const struct cli_command *k = cli_commands; k->name; k++) {
		assert_true(strlen(k->help) > 0);
		assert_true(strlen(k->name) + strlen(k->operands) < 24);
		for (const struct cli_option *o = k->options; o && o->name; o++)
			assert_memory_equal(o->name, "--", 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_common_options_anywhere),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_usage_errors),
		cmocka_unit_test(test_not_built),
		cmocka_unit_test(test_main),
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
