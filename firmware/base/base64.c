#include "base/base64.h"

#include <limits.h>

#include "base/err.h"

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four characters, n of them digits (the rest is padding). */
static int decode_group(const char *p, size_t n, unsigned char out[3])
{
	unsigned v = 0;

	for (size_t i = 0; i < 4; i++) {
		int d = i < n ? digit(p[i]) : 0;

		if (d < 0) return ERR_INVALID;
		v = v << 6 | (unsigned)d;
	}
	/* RFC 4648 section 3.5: left-over bits that are not 0 would let two texts mean the same bytes. */
	if ((n == 2 && (v & 0xFFFF)) || (n == 3 && (v & 0xFF))) return ERR_INVALID;
	out[0] = (unsigned char)(v >> 16);
	out[1] = (unsigned char)(v >> 8);
	out[2] = (unsigned char)v;
	return 0;
}

int base64_decode(struct str s, void *out, size_t out_cap)
{
	unsigned char *to = out;
	size_t done = 0;

	if (s.len % 4) return ERR_INVALID;
	for (size_t i = 0; i < s.len; i += 4) {
		const char *p = s.ptr + i;
		bool last = i + 4 == s.len;
		size_t digits = !last || p[3] != '=' ? 4 : p[2] != '=' ? 3 : 2;
		unsigned char group[3];
		int rc = decode_group(p, digits, group);

		if (rc < 0) return rc;
		for (size_t k = 0; k + 1 < digits; k++) {
			if (done == out_cap || done == INT_MAX) return ERR_TOO_LARGE;
			to[done++] = group[k];
		}
	}
	return (int)done;
}
