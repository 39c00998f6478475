#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

static const char hex_digits[] = "0123456789ABCDEF";

void buf_init(struct buf *b, void *memory, size_t cap)
{
	CHECK(memory && cap > 0);
	b->ptr = memory;
	b->cap = cap;
	buf_reset(b);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->ptr[0] = '\0';
	b->cut = false;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
	size_t left = b->cap - 1 - b->len;

	if (b->cut) return;
	if (len > left) {
		b->cut = true;
		len = left;
	}
	if (len > 0) memcpy(b->ptr + b->len, bytes, len);
	b->len += len;
	b->ptr[b->len] = '\0';
}

/* All of it or, when it does not fit, nothing: a character or an escape is never split. */
static void buf_add_whole(struct buf *b, const void *bytes, size_t len)
{
	if (len > b->cap - 1 - b->len) b->cut = true;
	buf_add(b, bytes, len);
}

void buf_str(struct buf *b, struct str s)
{
	buf_add(b, s.ptr, s.len);
}

void buf_puts(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *format, ...)
{
	size_t left = b->cap - b->len;
	va_list args;
	int n;

	if (b->cut) return;
	va_start(args, format);
	n = vsnprintf(b->ptr + b->len, left, format, args);
	va_end(args);
	CHECK(n >= 0);
	b->cut = (size_t)n >= left;
	b->len = b->cut ? b->cap - 1 : b->len + (size_t)n;
}

/* C1 controls are well-formed UTF-8, yet some terminals obey them (U+009B is CSI). */
static bool is_printable(const char *p, size_t n)
{
	unsigned char c = (unsigned char)p[0];

	if (n == 1) return c >= 0x20 && c != 0x7f;
	return !(n == 2 && c == 0xC2 && (unsigned char)p[1] < 0xA0);
}

void buf_escaped(struct buf *b, struct str s, size_t max)
{
	for (size_t i = 0; i < s.len && !b->cut;) {
		size_t n = str_utf8_len((struct str){s.ptr + i, s.len - i});
		unsigned char c = (unsigned char)s.ptr[i];
		char esc[4] = {'\\', 'x', hex_digits[c >> 4], hex_digits[c & 15]};
		bool plain = n > 0 && is_printable(s.ptr + i, n);
		size_t out = plain ? n : sizeof(esc);

		if (out > max) return;
		max -= out;
		buf_add_whole(b, plain ? s.ptr + i : esc, out);
		i += plain ? n : 1;
	}
}

/* The short escape for c in a JSON string, or 0 (RFC 8259 section 7). */
static char json_short_escape(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\': return (char)c;
	case '\b': return 'b';
	case '\f': return 'f';
	case '\n': return 'n';
	case '\r': return 'r';
	case '\t': return 't';
	default: return 0;
	}
}

static void json_char(struct buf *b, const char *p, size_t n)
{
	unsigned char c = (unsigned char)p[0];
	char brief[2] = {'\\', json_short_escape(c)};
	char esc[6] = {'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};

	if (n == 0)
		buf_add_whole(b, "\xEF\xBF\xBD", 3);
	else if (n == 1 && brief[1])
		buf_add_whole(b, brief, 2);
	else if (n == 1 && (c < 0x20 || c == 0x7f))
		buf_add_whole(b, esc, 6);
	else
		buf_add_whole(b, p, n);
}

void buf_json(struct buf *b, struct str s)
{
	size_t run = 0; /* plain ASCII goes over in one piece: bodies pass through here */

	for (size_t i = 0; i < s.len && !b->cut;) {
		unsigned char c = (unsigned char)s.ptr[i];
		size_t n;

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
			run++;
			i++;
			continue;
		}
		buf_add(b, s.ptr + i - run, run);
		run = 0;
		n = str_utf8_len((struct str){s.ptr + i, s.len - i});
		json_char(b, s.ptr + i, n);
		i += n ? n : 1;
	}
	if (run > 0) buf_add(b, s.ptr + s.len - run, run);
}

void buf_base64(struct buf *b, const void *bytes, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len && !b->cut; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		unsigned v = (unsigned)p[i] << 16;
		char out[4];

		v |= n > 1 ? (unsigned)p[i + 1] << 8 : 0;
		v |= n > 2 ? (unsigned)p[i + 2] : 0;
		out[0] = digits[v >> 18];
		out[1] = digits[(v >> 12) & 63];
		out[2] = digits[(v >> 6) & 63];
		out[3] = digits[v & 63];
		if (n < 3) out[3] = '=';
		if (n < 2) out[2] = '=';
		buf_add(b, out, 4);
	}
}

struct str buf_view(const struct buf *b)
{
	return (struct str){b->ptr, b->len};
}
