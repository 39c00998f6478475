#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"

static void appends_and_cuts(void **state)
{
	char memory[8];
	struct buf b;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	buf_puts(&b, "abc");
	buf_printf(&b, "%d", 42);
	assert_string_equal(memory, "abc42");
	assert_false(b.cut);
	buf_puts(&b, "xyz");
	assert_true(b.cut);
	assert_string_equal(memory, "abc42xy");
	buf_puts(&b, "more");
	buf_printf(&b, "%s", "more");
	assert_string_equal(memory, "abc42xy");
	buf_reset(&b);
	assert_false(b.cut);
	buf_puts(&b, "1234567");
	assert_false(b.cut);
	buf_add(&b, "", 0);
	assert_false(b.cut);
	assert_int_equal(buf_view(&b).len, 7);
}

static void printf_cuts_at_the_edge(void **state)
{
	char memory[8];
	struct buf b;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	buf_printf(&b, "%s", "1234567");
	assert_false(b.cut);
	buf_printf(&b, "%s", "");
	assert_false(b.cut);
	buf_reset(&b);
	buf_printf(&b, "%s", "12345678");
	assert_true(b.cut);
	assert_int_equal(b.len, 7);
	assert_string_equal(memory, "1234567");
	buf_init(&b, memory, 1);
	buf_puts(&b, "x");
	assert_true(b.cut);
	assert_int_equal(b.len, 0);
}

static void escaping_keeps_text_and_shows_the_rest(void **state)
{
	char memory[64];
	struct buf b;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	buf_escaped(&b, STR("a\r\n\x1b[2J\xC3\xA4\xFF\xC2\x9B\x7f"), SIZE_MAX);
	assert_string_equal(memory, "a\\x0D\\x0A\\x1B[2J\xC3\xA4\\xFF\\xC2\\x9B\\x7F");
	/* Neither a character nor an escape is split, by max or by the buffer. */
	buf_reset(&b);
	buf_escaped(&b, STR("ab\xE2\x82\xACz"), 4);
	assert_string_equal(memory, "ab");
	buf_init(&b, memory, 6);
	buf_escaped(&b, STR("abc\nz"), SIZE_MAX);
	assert_string_equal(memory, "abc");
	assert_true(b.cut);
}

static void json_strings(void **state)
{
	char memory[128];
	struct buf b;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	buf_json(&b, (struct str){"\"\\/\b\f\n\r\t\0\x1f\xE2\x82\xAC\xED\xA0\x80.", 17});
	assert_string_equal(memory, "\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001F\xE2\x82\xAC"
				    "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD.");
	buf_reset(&b);
	buf_json(&b, STR("plain"));
	buf_json(&b, STR(""));
	buf_json(&b, str_from(NULL));
	assert_string_equal(memory, "plain");
}

/* RFC 4648 section 10. */
static const struct {
	const char *plain, *coded;
} vectors[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
};

static void base64_vectors(void **state)
{
	char coded[32], plain[32];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		size_t len = strlen(vectors[i].plain);

		buf_init(&b, coded, sizeof(coded));
		buf_base64(&b, vectors[i].plain, len);
		assert_string_equal(coded, vectors[i].coded);
		assert_int_equal(base64_decode(buf_view(&b), plain, sizeof(plain)), len);
		assert_memory_equal(plain, vectors[i].plain, len);
		assert_int_equal(base64_decode(buf_view(&b), plain, len), len);
		if (len > 0) assert_int_equal(base64_decode(buf_view(&b), plain, len - 1), ERR_TOO_LARGE);
		/* In place: what is read is always in front of what is written. */
		assert_int_equal(base64_decode(buf_view(&b), coded, sizeof(coded)), len);
		assert_memory_equal(coded, vectors[i].plain, len);
	}
}

static void base64_every_byte(void **state)
{
	unsigned char all[256], back[256];
	char coded[400];
	struct buf b;

	(void)state;
	for (unsigned i = 0; i < 256; i++)
		all[i] = (unsigned char)i;
	for (size_t len = 253; len <= 256; len++) {
		buf_init(&b, coded, sizeof(coded));
		buf_base64(&b, all, len);
		assert_int_equal(base64_decode(buf_view(&b), back, sizeof(back)), len);
		assert_memory_equal(back, all, len);
	}
}

static void base64_is_strict(void **state)
{
	static const char *const bad[] = {
		"Z",        "Zg",     "Zg=",  "Zg===", "Zh==", "Zm9=", "=",    "====",       "Z===",
		"Zg==Zg==", "Zm9v\n", "Zm 9", " Zm9",  "Zm9-", "Zm9_", "Zg=a", "Z\xC3\xA4=",
	};
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(base64_decode(str_from(bad[i]), out, sizeof(out)), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_and_cuts),
		cmocka_unit_test(printf_cuts_at_the_edge),
		cmocka_unit_test(escaping_keeps_text_and_shows_the_rest),
		cmocka_unit_test(json_strings),
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(base64_every_byte),
		cmocka_unit_test(base64_is_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
