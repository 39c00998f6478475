#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

static void equality_knows_absent_and_empty(void **state)
{
	(void)state;
	assert_true(str_eq(str_from(NULL), STR("")));
	assert_true(str_eq(STR("ab"), STR("ab")));
	assert_false(str_eq(STR("ab"), STR("abc")));
	assert_true(str_eq_nocase(STR("Content-TYPE"), STR("content-type")));
	assert_false(str_eq_nocase(STR("a["), STR("a{"))); /* 0x20 apart, but not letters */
	assert_true(str_starts_nocase(STR("HTTPS://x"), STR("https://")));
	assert_false(str_starts_nocase(STR("http"), STR("https://")));
}

static void trim_takes_white_space_only(void **state)
{
	(void)state;
	assert_true(str_eq(str_trim(STR(" \t\r\n a b \n")), STR("a b")));
	assert_int_equal(str_trim(STR(" \r\n\t")).len, 0);
	assert_null(str_trim(str_from(NULL)).ptr);
	assert_int_equal(str_trim((struct str){"\0 ", 2}).len, 1);
}

static void control_bytes_are_found(void **state)
{
	(void)state;
	assert_false(str_has_ctl(STR("a\tb\xC3\xA4")));
	assert_true(str_has_ctl(STR("a\rb")));
	assert_true(str_has_ctl(STR("a\nb")));
	assert_true(str_has_ctl((struct str){"a\0b", 3}));
	assert_true(str_has_ctl(STR("\x7f")));
	assert_false(str_has_ctl(STR("")));
}

static void copy_needs_room_for_the_nul(void **state)
{
	char dst[4] = "xyz";

	(void)state;
	assert_int_equal(str_copy(dst, sizeof(dst), STR("abc")), 0);
	assert_string_equal(dst, "abc");
	assert_int_equal(str_copy(dst, sizeof(dst), STR("abcd")), ERR_TOO_LARGE);
	assert_string_equal(dst, "");
	assert_int_equal(str_copy(dst, 0, STR("")), ERR_TOO_LARGE);
	assert_int_equal(str_copy(dst, sizeof(dst), str_from(NULL)), 0);
}

static void numbers_are_exact(void **state)
{
	uint64_t n = 7;

	(void)state;
	assert_int_equal(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &n), ERR_TOO_LARGE);
	assert_int_equal(str_to_u64(STR("99999999999999999999999999"), UINT64_MAX, &n), ERR_TOO_LARGE);
	assert_int_equal(str_to_u64(STR("256"), 255, &n), ERR_TOO_LARGE);
	assert_int_equal(str_to_u64(STR("000255"), 255, &n), 0);
	assert_true(n == 255);
	for (const char **bad = (const char *[]){"", " 1", "1 ", "-1", "+1", "0x1", "1.0", "\xC2\xB2", NULL};
	     *bad; bad++)
		assert_int_equal(str_to_u64(str_from(*bad), UINT64_MAX, &n), ERR_INVALID);
	/* What is no number at all is not "too large", however long it is. */
	assert_int_equal(str_to_u64(STR("99999999999999999999999999x"), 5, &n), ERR_INVALID);
}

static void utf8_is_rfc3629(void **state)
{
	static const char *const good[] = {
		"",
		"a",
		"\xC2\x80",
		"\xDF\xBF",
		"\xE0\xA0\x80",
		"\xED\x9F\xBF",
		"\xEE\x80\x80",
		"\xEF\xBF\xBF",
		"\xF0\x90\x80\x80",
		"\xF4\x8F\xBF\xBF",
		"a\xE2\x82\xAC\xF0\x9F\x93\xA7z",
	};
	static const char *const bad[] = {
		"\x80",
		"\xBF",
		"\xC0\x80",
		"\xC1\xBF",
		"\xC2",
		"\xC2\x41",
		"\xC2\xC2", /* lone, overlong, cut */
		"\xE0\x80\x80",
		"\xE0\x9F\xBF",
		"\xE2\x82",
		"\xE2\x28\xA1",
		"\xE2\x82\x28", /* overlong, cut */
		"\xED\xA0\x80",
		"\xED\xBF\xBF", /* surrogates */
		"\xF0\x80\x80\x80",
		"\xF0\x8F\xBF\xBF",
		"\xF0\x9F\x93",
		"\xF0\x9F\x93\x41", /* overlong, cut */
		"\xF4\x90\x80\x80",
		"\xF5\x80\x80\x80",
		"\xFE",
		"\xFF",
		"ok\xF8\x88\x80\x80\x80",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(str_is_utf8(str_from(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(str_is_utf8(str_from(bad[i])));
	assert_true(str_is_utf8((struct str){"a\0b", 3}));
	/* Never looks behind the end. */
	assert_int_equal(str_utf8_len((struct str){"\xE2\x82\xAC", 2}), 0);
	assert_int_equal(str_utf8_len((struct str){"\xE2\x82\xAC", 3}), 3);
}

/* Every code point, encoded by hand, is accepted exactly when it is a scalar value. */
static void utf8_accepts_every_scalar_value(void **state)
{
	(void)state;
	for (uint32_t c = 0x80; c < 0x110100; c++) {
		char b[4];
		size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		uint32_t v = c;

		for (size_t i = n; i-- > 1; v >>= 6)
			b[i] = (char)(0x80 | (v & 0x3F));
		b[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | v);
		assert_int_equal(str_is_utf8((struct str){b, n}),
				 !(c >= 0xD800 && c <= 0xDFFF) && c <= 0x10FFFF);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equality_knows_absent_and_empty),
		cmocka_unit_test(trim_takes_white_space_only),
		cmocka_unit_test(control_bytes_are_found),
		cmocka_unit_test(copy_needs_room_for_the_nul),
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(utf8_is_rfc3629),
		cmocka_unit_test(utf8_accepts_every_scalar_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
