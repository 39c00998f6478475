#include "base/base64.h"

#include <limits.h>

#include "base/err.h"

/* 64: no digit. */
static unsigned digit(char c)
{
	static const unsigned char digits[128] = {
#define NO4  64, 64, 64, 64
#define NO16 NO4, NO4, NO4, NO4
		NO16, NO16, NO4, NO4, 64, 64, 64, 62, 64, 64, 64, 63, 52, 53, 54, 55,  56, 57,
		58,   59,   60,  61,  64, 64, 64, 64, 64, 64, 64, 0,  1,  2,  3,  4,   5,  6,
		7,    8,    9,   10,  11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,  23, 24,
		25,   64,   64,  64,  64, 64, 64, 26, 27, 28, 29, 30, 31, 32, 33, 34,  35, 36,
		37,   38,   39,  40,  41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO4, 64};

	return (unsigned char)c < 128 ? digits[(unsigned char)c] : 64;
}

/* One group of four characters, n of them digits (the rest is padding). */
static int decode_group(const char *p, size_t n, unsigned char out[3])
{
	unsigned v = 0;

	for (size_t i = 0; i < 4; i++) {
		unsigned d = i < n ? digit(p[i]) : 0;

		if (d > 63) return ERR_INVALID;
		v = v << 6 | d;
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
