#include <string.h>
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/timefmt.h"

static char text[64];

static const char *rfc3339(int64_t ms, bool with_ms)
{
	struct buf b;

	buf_init(&b, text, sizeof(text));
	timefmt_rfc3339(&b, ms, with_ms);
	return text;
}

static const char *rfc5322(int64_t ms)
{
	struct buf b;

	buf_init(&b, text, sizeof(text));
	timefmt_rfc5322(&b, ms);
	return text;
}

static void known_times(void **state)
{
	(void)state;
	assert_string_equal(rfc3339(0, true), "1970-01-01T00:00:00Z");
	assert_string_equal(rfc3339(INT64_C(1758277805000), true), "2025-09-19T10:30:05Z");
	assert_string_equal(rfc3339(INT64_C(1758277805007), true), "2025-09-19T10:30:05.007Z");
	assert_string_equal(rfc3339(INT64_C(1758277805007), false), "2025-09-19T10:30:05Z");
	assert_string_equal(rfc5322(INT64_C(1758277805007)), "Fri, 19 Sep 2025 10:30:05 +0000");
	assert_string_equal(rfc5322(0), "Thu, 1 Jan 1970 00:00:00 +0000");
	/* Leap years: 2000 is one, 2100 is not; 2038 is no end. */
	assert_string_equal(rfc3339(INT64_C(951782400000), true), "2000-02-29T00:00:00Z");
	assert_string_equal(rfc3339(INT64_C(4107542400000), true), "2100-03-01T00:00:00Z");
	assert_string_equal(rfc3339(INT64_C(4107542399999), true), "2100-02-28T23:59:59.999Z");
	assert_string_equal(rfc3339(INT64_C(2147483648000), true), "2038-01-19T03:14:08Z");
	/* Outside the years that have four digits: the nearest that has. */
	assert_string_equal(rfc3339(-1, true), "1970-01-01T00:00:00Z");
	assert_string_equal(rfc3339(INT64_MAX, true), "9999-12-31T23:59:59.999Z");
}

static void agrees_with_libc_and_reads_back(void **state)
{
	(void)state;
	for (int64_t s = 0; s < INT64_C(253402300800); s += INT64_C(86399) * 97) {
		time_t t = (time_t)s;
		struct tm tm;
		char want[64];
		int64_t back;

		assert_non_null(gmtime_r(&t, &tm));
		strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_string_equal(rfc3339(s * 1000, true), want);
		assert_int_equal(timefmt_parse_rfc3339(str_from(want), &back), 0);
		assert_true(back == s * 1000);
		strftime(want, sizeof(want), "%a, %e %b %Y %H:%M:%S +0000", &tm);
		if (want[5] == ' ') memmove(want + 5, want + 6, strlen(want + 5));
		assert_string_equal(rfc5322(s * 1000), want);
	}
}

static void offsets_and_fractions(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{"2025-09-19T10:30:05Z", INT64_C(1758277805000)},
		{"2025-09-19t10:30:05z", INT64_C(1758277805000)},
		{"2025-09-19 10:30:05Z", INT64_C(1758277805000)},
		{"2025-09-19T12:30:05+02:00", INT64_C(1758277805000)},
		{"2025-09-18T22:45:05-11:45", INT64_C(1758277805000)},
		{"2025-09-19T10:30:05-00:00", INT64_C(1758277805000)},
		{"2025-09-19T10:30:05.1Z", INT64_C(1758277805100)},
		{"2025-09-19T10:30:05.12345678901234567890Z", INT64_C(1758277805123)},
		{"1970-01-01T01:00:00+01:00", 0},
		{"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
		{"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
		{"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t ms = -1;

		assert_int_equal(timefmt_parse_rfc3339(str_from(good[i].text), &ms), 0);
		assert_true(ms == good[i].ms);
	}
}

static void bad_times(void **state)
{
	static const char *const bad[] = {
		"",
		"2025",
		"2025-09-19",
		"2025-09-19T10:30:05",
		"2025-09-19T10:30Z",
		"2025-13-01T00:00:00Z",
		"2025-00-01T00:00:00Z",
		"2025-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2025-04-31T00:00:00Z",
		"2025-01-00T00:00:00Z",
		"2025-01-01T24:00:00Z",
		"2025-01-01T00:60:00Z",
		"2025-01-01T00:00:61Z",
		"2025-01-01T00:00:00.Z",
		"2025-01-01T00:00:00+0100",
		"2025-01-01T00:00:00+24:00",
		"2025-01-01T00:00:00+01:60",
		"2025-01-01T00:00:00Zx",
		"2025-1-1T00:00:00Z",
		"25-01-01T00:00:00Z",
		"1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+00:01",
		"9999-12-31T23:59:59-00:01",
		" 2025-01-01T00:00:00Z",
		"2025-01-01T00:00:00Z ",
		"+025-01-01T00:00:00Z",
		"2025-01-01T-1:00:00Z",
		"0000-00-00T00:00:00Z",
	};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(timefmt_parse_rfc3339(str_from(bad[i]), &ms), ERR_INVALID);
	/* No read behind the end: every cut of a good one is bad or shorter, never a crash. */
	for (size_t n = 0; n < 20; n++)
		assert_int_equal(timefmt_parse_rfc3339((struct str){"2025-09-19T10:30:05Z", n}, &ms),
				 ERR_INVALID);
	assert_int_equal(timefmt_parse_rfc3339((struct str){"2025-09-19T10:30:05\0", 20}, &ms), ERR_INVALID);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
		const char *back;
	} good[] = {
		{"500ms", 500, "500ms"},
		{"5s", 5000, "5s"},
		{"10m", 600000, "10m"},
		{"2h", 7200000, "2h"},
		{"30d", INT64_C(2592000000), "30d"},
		{"90s", 90000, "90s"},
		{"120s", 120000, "2m"},
		{"24h", 86400000, "1d"},
		{"1500ms", 1500, "1500ms"},
		{"0s", 0, "0s"},
		{"0ms", 0, "0s"},
		{"0d", 0, "0s"},
		{"106751991167d", INT64_C(106751991167) * 86400000, "106751991167d"},
	};
	static const char *const bad[] = {"",
					  "5",
					  "s",
					  "5x",
					  "5 s",
					  " 5s",
					  "5s ",
					  "-5s",
					  "1h30m",
					  "1.5h",
					  "5sec",
					  "106751991168d",
					  "9223372036854775808ms",
					  "99999999999999999999s",
					  "m5"};
	struct buf b;
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(timefmt_parse_duration(str_from(good[i].text), &ms), 0);
		assert_true(ms == good[i].ms);
		buf_init(&b, text, sizeof(text));
		timefmt_duration(&b, ms);
		assert_string_equal(text, good[i].back);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(timefmt_parse_duration(str_from(bad[i]), &ms), ERR_INVALID);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes;
		const char *back;
	} good[] = {
		{"64K", 65536, "64K"},
		{"8M", 8388608, "8M"},
		{"1G", 1073741824, "1G"},
		{"65536", 65536, "64K"},
		{"1000", 1000, "1000"},
		{"0", 0, "0"},
		{"1024k", 1048576, "1M"},
		{"1025", 1025, "1025"},
		{"9223372036854775807", INT64_MAX, "9223372036854775807"},
		{"8589934591G", INT64_C(8589934591) << 30, "8589934591G"},
	};
	static const char *const bad[] = {
		"", "K", "64KB", "64 K", "-1", "1.5M", "9223372036854775808", "8589934592G", "1T"};
	struct buf b;
	int64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(timefmt_parse_size(str_from(good[i].text), &bytes), 0);
		assert_true(bytes == good[i].bytes);
		buf_init(&b, text, sizeof(text));
		timefmt_size(&b, bytes);
		assert_string_equal(text, good[i].back);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(timefmt_parse_size(str_from(bad[i]), &bytes), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_times),
		cmocka_unit_test(agrees_with_libc_and_reads_back),
		cmocka_unit_test(offsets_and_fractions),
		cmocka_unit_test(bad_times),
		cmocka_unit_test(durations),
		cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
