#include "base/str.h"

#include <string.h>

#include "base/err.h"

struct str str_from(const char *nul_terminated)
{
	return (struct str){nul_terminated, nul_terminated ? strlen(nul_terminated) : 0};
}

bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_eq_nocase(struct str a, struct str b)
{
	return a.len == b.len && str_starts_nocase(a, b);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
	if (s.len < prefix.len) return false;
	for (size_t i = 0; i < prefix.len; i++)
		if (lower(s.ptr[i]) != lower(prefix.ptr[i])) return false;
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
	while (s.len > 0 && is_space(s.ptr[s.len - 1]))
		s.len--;
	while (s.len > 0 && is_space(*s.ptr)) {
		s.ptr++;
		s.len--;
	}
	return s;
}

bool str_has_ctl(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f) return true;
	}
	return false;
}

int str_copy(char *dst, size_t cap, struct str s)
{
	if (s.len >= cap) {
		if (cap > 0) dst[0] = '\0';
		return ERR_TOO_LARGE;
	}
	if (s.len > 0) memcpy(dst, s.ptr, s.len);
	dst[s.len] = '\0';
	return 0;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	bool over = false;

	if (s.len == 0) return ERR_INVALID;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)(unsigned char)s.ptr[i] - '0';

		if (digit > 9) return ERR_INVALID;
		over = over || v > (UINT64_MAX - digit) / 10;
		v = v * 10 + digit;
	}
	if (over || v > max) return ERR_TOO_LARGE;
	*out = v;
	return 0;
}

bool str_is_utf8(struct str s)
{
	for (size_t i = 0; i < s.len;) {
		size_t n = str_utf8_len((struct str){s.ptr + i, s.len - i});

		if (n == 0) return false;
		i += n;
	}
	return true;
}

size_t str_utf8_len(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	unsigned char low = 0x80, high = 0xBF; /* what the second byte may be: RFC 3629 section 4 */
	size_t n;

	if (s.len == 0) return 0;
	if (p[0] < 0x80) return 1;
	if (p[0] < 0xC2 || p[0] > 0xF4) return 0;
	n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
	if (p[0] == 0xE0)
		low = 0xA0;
	else if (p[0] == 0xED)
		high = 0x9F;
	else if (p[0] == 0xF0)
		low = 0x90;
	else if (p[0] == 0xF4)
		high = 0x8F;
	if (s.len < n || p[1] < low || p[1] > high) return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xBF) return 0;
	return n;
}
