#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "hal_clock.h"
#include "log/log.h"
#include "sim/sim.h"

static size_t seen; /* bytes of the log that earlier assertions looked at */

/* What was logged since the last look. */
static const char *news(void)
{
	const char *text = sim_log_text() + seen;

	seen += strlen(text);
	return text;
}

/* Behind "level time ", of one line. */
static const char *without_time(const char *line)
{
	return strchr(line + 2, ' ') + 1;
}

static int begin(void **state)
{
	(void)state;
	log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, HAL_LOG_STDERR);
	hal_clock_sleep_until(hal_clock_mono_ms() + 60000);
	log_tick();
	news();
	return 0;
}

static void a_line_has_its_fields(void **state)
{
	const char *line;

	(void)state;
	log_warn("smtp", "connection refused -> trying the next address", LOG_TEXT("host", "mx.example.com"),
		 LOG_INT("port", 25), LOG_ERR(ERR_REFUSED), LOG_MS("wait", 90000), LOG_BOOL("tls", true));
	line = news();
	assert_int_equal(line[0], '1');
	assert_int_equal(line[2 + 10], 'T'); /* wall time */
	assert_string_equal(without_time(line),
			    "warn smtp: connection refused -> trying the next address host=mx.example.com "
			    "port=25 error=REFUSED wait=90s tls=yes\n");
	log_info("x", "plain");
	assert_string_equal(without_time(news()), "info x: plain\n");
}

static void levels_are_kept_apart(void **state)
{
	(void)state;
	log_debug("x", "not seen");
	assert_string_equal(news(), "");
	assert_false(log_is_on(LOG_LEVEL_DEBUG));
	log_open(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, HAL_LOG_STDERR);
	log_debug("x", "seen");
	assert_string_equal(without_time(news()), "debug x: seen\n");
	log_open(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, HAL_LOG_STDERR);
	log_warn("x", "not seen");
	log_error("x", "seen");
	assert_string_equal(without_time(news()), "error x: seen\n");
}

static void remote_text_stays_on_its_line(void **state)
{
	(void)state;
	log_info("x", "t", LOG_TEXT("a", "250 ok\r\n2025 error store: forged"),
		 LOG_STR("b", ((struct str){"\x1b[2J\0\xFF", 6})), LOG_TEXT("c", "a\"b\\c=d"),
		 LOG_TEXT("d", ""), LOG_TEXT("e", NULL), LOG_TEXT("f", "k=v"), LOG_TEXT("g", "\xC3\xA4"));
	assert_string_equal(without_time(news()),
			    "info x: t a=\"250 ok\\x0D\\x0A2025 error store: forged\" "
			    "b=\"\\x1B[2J\\x00\\xFF\" c=\"a\\\"b\\\\c=d\" d=\"\" e=\"\" f=\"k=v\" "
			    "g=\"\xC3\xA4\"\n");
}

/* Each logged line is one whole JSON object. */
static void check_json(const char *line, const char *member, const char *want)
{
	static unsigned char memory[65536];
	static char text[LIMIT_log_line + JSON_PADDING];
	struct json_error error;
	const struct json *root;
	struct arena a;
	size_t len = strlen(line) - 3;

	assert_true(len <= LIMIT_log_line);
	memcpy(text, line + 2, len);
	arena_init(&a, memory, sizeof(memory));
	assert_int_equal(json_parse(&a, text, len, &root, &error), 0);
	assert_non_null(json_get(root, "time"));
	assert_non_null(json_get(root, member));
	if (want) assert_true(str_eq(json_str(json_get(root, member)), str_from(want)));
}

static void json_lines_are_json(void **state)
{
	char long_text[3000];
	const char *line;

	(void)state;
	log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, HAL_LOG_STDERR);
	log_info("smtp", "a \"quoted\" text", LOG_TEXT("reply", "x\r\n\"\\\x01\xFF"), LOG_INT("n", -5),
		 LOG_BOOL("b", false));
	line = news();
	assert_non_null(strstr(
		line, "\"level\":\"info\",\"room\":\"smtp\",\"text\":\"a \\\"quoted\\\" text\",\"reply\":"
		      "\"x\\r\\n\\\"\\\\\\u0001\xEF\xBF\xBD\",\"n\":-5,\"b\":false}\n"));
	check_json(line, "reply", "x\r\n\"\\\x01\xEF\xBF\xBD");
	memset(long_text, '"', sizeof(long_text));
	for (size_t len = 400; len < sizeof(long_text); len += 37) {
		hal_clock_sleep_until(hal_clock_mono_ms() + LOG_SITE_MS);
		log_info("x", "long", LOG_STR("a", ((struct str){long_text, len})),
			 LOG_STR("b", ((struct str){long_text, len})), LOG_INT("c", 1));
		check_json(news(), "text", "long");
	}
}

static void long_lines_are_cut_and_say_so(void **state)
{
	char long_text[3000];
	const char *line;

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	log_info("x", "long", LOG_STR("a", ((struct str){long_text, 600})),
		 LOG_STR("b", ((struct str){long_text, 600})), LOG_INT("c", 1));
	line = news();
	assert_true(strlen(line) - 3 <= LIMIT_log_line);
	assert_non_null(strstr(line, " a=xxx"));
	assert_null(strstr(line, " b="));
	assert_non_null(strstr(line, " cut=yes\n"));
	/* Never in the middle of a character. */
	for (size_t i = 0; i + 3 <= sizeof(long_text); i += 3)
		memcpy(long_text + i, "\xE2\x82\xAC", 3);
	log_info("x", "long", LOG_STR("a", ((struct str){long_text, 3000})));
	assert_null(strstr(news(), "\\x"));
}

static void one_place(int i)
{
	log_warn("x", "again", LOG_INT("i", i));
}

static unsigned count_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void one_place_cannot_flood(void **state)
{
	const char *line;

	(void)state;
	for (int i = 0; i < 100; i++)
		one_place(i);
	assert_int_equal(count_lines(news()), LOG_SITE_LINES);
	log_warn("x", "another place");
	assert_int_equal(count_lines(news()), 1);
	hal_clock_sleep_until(hal_clock_mono_ms() + LOG_SITE_MS);
	one_place(100);
	assert_string_equal(without_time(news()), "warn x: again i=100 suppressed=80\n");
	one_place(101);
	assert_string_equal(without_time(news()), "warn x: again i=101\n");
	/* A place that falls silent: the count is said by the tick, once. */
	for (int i = 0; i < 100; i++)
		one_place(i);
	news();
	log_tick();
	line = news();
	assert_non_null(strstr(line, "warn log: too many lines from one place -> only counted place="));
	assert_non_null(strstr(line, " suppressed=82\n"));
	log_tick();
	assert_string_equal(news(), "");
}

static void an_unset_clock_is_not_believed(void **state)
{
	const char *line;

	(void)state;
	sim_clock_jump(-INT64_C(50) * 365 * 86400000);
	log_info("x", "early");
	line = news();
	assert_int_equal(line[2], '+');
	assert_string_equal(without_time(line), "info x: early\n");
	log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, HAL_LOG_STDERR);
	log_info("x", "early");
	assert_memory_equal(news(), "2 {\"time\":null,\"mono_ms\":", 25);
	sim_clock_set();
	log_info("x", "late");
	assert_memory_equal(news(), "2 {\"time\":\"20", 13);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_its_fields),          TEST(levels_are_kept_apart),
		TEST(remote_text_stays_on_its_line),  TEST(json_lines_are_json),
		TEST(long_lines_are_cut_and_say_so),  TEST(one_place_cannot_flood),
		TEST(an_unset_clock_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
