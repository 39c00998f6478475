#include "base/timefmt.h"

#include <string.h>

#include "base/err.h"

#define MS_SECOND     INT64_C(1000)
#define MS_MINUTE     (60 * MS_SECOND)
#define MS_HOUR       (60 * MS_MINUTE)
#define MS_DAY        (24 * MS_HOUR)
#define MS_YEAR_10000 INT64_C(253402300800000)

struct civil {
	int year, month, day; /* month and day from 1 */
	int hour, minute, second, ms;
	int weekday; /* 0 is Sunday */
};

/* Days since 1970-01-01. The year is taken to begin in March, so that a leap day is its last. */
static int64_t days_from_civil(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400; /* years are never negative here */
	int64_t in_era = y - era * 400;
	int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static void civil_from_ms(int64_t unix_ms, struct civil *c)
{
	int64_t ms = unix_ms < 0 ? 0 : unix_ms < MS_YEAR_10000 ? unix_ms : MS_YEAR_10000 - 1;
	int64_t days = ms / MS_DAY, in_day = ms % MS_DAY;
	int64_t z = days + 719468;
	int64_t era = z / 146097, doe = z % 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	c->day = (int)(doy - (153 * mp + 2) / 5 + 1);
	c->month = (int)(mp < 10 ? mp + 3 : mp - 9);
	c->year = (int)(yoe + era * 400 + (c->month <= 2));
	c->hour = (int)(in_day / MS_HOUR);
	c->minute = (int)(in_day / MS_MINUTE % 60);
	c->second = (int)(in_day / MS_SECOND % 60);
	c->ms = (int)(in_day % MS_SECOND);
	c->weekday = (int)((days + 4) % 7);
}

void timefmt_rfc3339(struct buf *b, int64_t unix_ms, bool ms)
{
	struct civil c;

	civil_from_ms(unix_ms, &c);
	buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d", c.year, c.month, c.day, c.hour, c.minute, c.second);
	if (ms && c.ms) buf_printf(b, ".%03d", c.ms);
	buf_puts(b, "Z");
}

void timefmt_rfc5322(struct buf *b, int64_t unix_ms)
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct civil c;

	civil_from_ms(unix_ms, &c);
	buf_printf(b, "%s, %d %s %04d %02d:%02d:%02d +0000", days[c.weekday], c.day, months[c.month - 1],
		   c.year, c.hour, c.minute, c.second);
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* Takes exactly n digits off the front of s: their value, or -1. */
static int take_digits(struct str *s, size_t n)
{
	uint64_t v = 0;

	if (s->len < n || str_to_u64((struct str){s->ptr, n}, 9999, &v) < 0) return -1;
	s->ptr += n;
	s->len -= n;
	return (int)v;
}

static bool take_char(struct str *s, const char *any_of)
{
	if (s->len == 0 || !*s->ptr || !strchr(any_of, *s->ptr)) return false;
	s->ptr++;
	s->len--;
	return true;
}

static bool take_date(struct str *s, struct civil *c)
{
	c->year = take_digits(s, 4);
	if (c->year < 0 || !take_char(s, "-")) return false;
	c->month = take_digits(s, 2);
	if (c->month < 1 || c->month > 12 || !take_char(s, "-")) return false;
	c->day = take_digits(s, 2);
	return c->day >= 1 && c->day <= days_in_month(c->year, c->month);
}

static bool take_time(struct str *s, struct civil *c)
{
	int scale = 100;

	c->hour = take_digits(s, 2);
	if (c->hour < 0 || c->hour > 23 || !take_char(s, ":")) return false;
	c->minute = take_digits(s, 2);
	if (c->minute < 0 || c->minute > 59 || !take_char(s, ":")) return false;
	c->second = take_digits(s, 2); /* 60: a leap second, counted as the next one */
	if (c->second < 0 || c->second > 60) return false;
	c->ms = 0;
	if (!take_char(s, ".")) return true;
	if (s->len == 0 || *s->ptr < '0' || *s->ptr > '9') return false;
	while (s->len > 0 && *s->ptr >= '0' && *s->ptr <= '9') {
		c->ms += (*s->ptr - '0') * scale;
		scale /= 10;
		s->ptr++;
		s->len--;
	}
	return true;
}

/* "Z" or "+01:00", the whole rest of s. */
static bool take_offset(struct str *s, int64_t *ms)
{
	int sign, hours, minutes;

	*ms = 0;
	if (take_char(s, "Zz")) return s->len == 0;
	sign = s->len > 0 && *s->ptr == '-' ? -1 : 1;
	if (!take_char(s, "+-")) return false;
	hours = take_digits(s, 2);
	if (hours < 0 || hours > 23 || !take_char(s, ":")) return false;
	minutes = take_digits(s, 2);
	*ms = sign * (hours * MS_HOUR + minutes * MS_MINUTE);
	return minutes >= 0 && minutes <= 59 && s->len == 0;
}

int timefmt_parse_rfc3339(struct str s, int64_t *unix_ms)
{
	struct civil c;
	int64_t offset, ms;

	/* RFC 3339 section 5.6 allows a space for the T, and lower case. */
	if (!take_date(&s, &c) || !take_char(&s, "Tt ") || !take_time(&s, &c) || !take_offset(&s, &offset))
		return ERR_INVALID;
	ms = days_from_civil(c.year, c.month, c.day) * MS_DAY + c.hour * MS_HOUR + c.minute * MS_MINUTE +
	     c.second * MS_SECOND + c.ms - offset;
	if (ms < 0 || ms >= MS_YEAR_10000) return ERR_INVALID;
	*unix_ms = ms;
	return 0;
}

struct unit {
	const char *name;
	int64_t factor;
};

/* From large to small, so that the first that divides a value gives its shortest text. */
static const struct unit durations[] = {
	{"d", MS_DAY}, {"h", MS_HOUR}, {"m", MS_MINUTE}, {"s", MS_SECOND}, {"ms", 1},
};
static const struct unit sizes[] = {
	{"G", INT64_C(1) << 30},
	{"M", INT64_C(1) << 20},
	{"K", INT64_C(1) << 10},
	{"", 1},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int parse_unit(struct str s, const struct unit *units, size_t count, int64_t *out)
{
	size_t n = 0;
	uint64_t v;

	while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9')
		n++;
	for (size_t i = 0; i < count; i++) {
		if (!str_eq_nocase((struct str){s.ptr + n, s.len - n}, str_from(units[i].name))) continue;
		if (str_to_u64((struct str){s.ptr, n}, (uint64_t)(INT64_MAX / units[i].factor), &v) < 0)
			return ERR_INVALID;
		*out = (int64_t)v * units[i].factor;
		return 0;
	}
	return ERR_INVALID;
}

int timefmt_parse_duration(struct str s, int64_t *ms)
{
	return parse_unit(s, durations, COUNT(durations), ms);
}

int timefmt_parse_size(struct str s, int64_t *bytes)
{
	return parse_unit(s, sizes, COUNT(sizes), bytes);
}

static void format_unit(struct buf *b, int64_t v, const struct unit *units, size_t count)
{
	size_t i = 0;

	while (i < count - 1 && v % units[i].factor != 0)
		i++;
	buf_printf(b, "%lld%s", (long long)(v / units[i].factor), units[i].name);
}

void timefmt_duration(struct buf *b, int64_t ms)
{
	if (ms == 0)
		buf_puts(b, "0s");
	else
		format_unit(b, ms, durations, COUNT(durations));
}

void timefmt_size(struct buf *b, int64_t bytes)
{
	if (bytes == 0)
		buf_puts(b, "0");
	else
		format_unit(b, bytes, sizes, COUNT(sizes));
}
