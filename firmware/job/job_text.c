/* A JSON string read from storage in pieces, undoing the escapes of RFC 8259 section 7. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "job/job.h"

enum { PLAIN, BACKSLASH, DIGITS_FIRST, DIGITS_LAST = DIGITS_FIRST + 3 };

void job_text_reader_init(struct job_text_reader *r, int (*fetch)(void *, size_t, char *, size_t), void *arg,
			  size_t src_at)
{
	r->fetch = fetch;
	r->arg = arg;
	r->src_at = src_at;
	job_text_reader_rewind(r);
}

void job_text_reader_rewind(struct job_text_reader *r)
{
	r->at = r->src_at;
	r->chunk_len = r->chunk_at = 0;
	r->high_surrogate = 0;
	r->escape = PLAIN;
	r->unit = 0;
	r->ready_len = r->ready_at = 0;
	r->end = false;
}

static void ready_utf8(struct job_text_reader *r, uint32_t c)
{
	unsigned len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (unsigned i = len; i-- > 1; c >>= 6)
		r->ready[i] = (char)(0x80 | (c & 0x3F));
	r->ready[0] = (char)(len == 1 ? c : (0xF00u >> len & 0xFF) | c);
	r->ready_len = len;
	r->ready_at = 0;
}

/* A whole \uXXXX was read. */
static int take_unit(struct job_text_reader *r, uint32_t unit)
{
	bool high = unit >= 0xD800 && unit < 0xDC00, low = unit >= 0xDC00 && unit < 0xE000;

	if (low != (r->high_surrogate != 0)) return ERR_CORRUPT;
	if (high)
		r->high_surrogate = unit;
	else if (low)
		ready_utf8(r, 0x10000 + ((r->high_surrogate - 0xD800) << 10) + (unit - 0xDC00));
	else
		ready_utf8(r, unit);
	if (low) r->high_surrogate = 0;
	return 0;
}

static int take_escape(struct job_text_reader *r, char c)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";

	if (r->escape == BACKSLASH) {
		if (c == 'u') {
			r->escape = DIGITS_FIRST;
			r->unit = 0;
			return 0;
		}
		r->escape = PLAIN;
		for (unsigned i = 0; names[i]; i++)
			if (names[i] == c && !r->high_surrogate) {
				ready_utf8(r, (unsigned char)values[i]);
				return 0;
			}
		return ERR_CORRUPT;
	}
	if (c >= '0' && c <= '9')
		r->unit = r->unit << 4 | (unsigned)(c - '0');
	else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		r->unit = r->unit << 4 | (unsigned)((c | 0x20) - 'a' + 10);
	else
		return ERR_CORRUPT;
	if (r->escape != DIGITS_LAST) {
		r->escape++;
		return 0;
	}
	r->escape = PLAIN;
	return take_unit(r, r->unit);
}

/* One byte of the original; 1 when it is a byte of the text as it stands, 0 when not (yet). */
static int take_byte(struct job_text_reader *r, char c)
{
	if (r->escape != PLAIN) return take_escape(r, c);
	if (c == '\\') {
		r->escape = BACKSLASH;
		return 0;
	}
	if (r->high_surrogate || (unsigned char)c < 0x20) return ERR_CORRUPT;
	if (c != '"') return 1;
	r->end = true;
	return 0;
}

static int refill(struct job_text_reader *r)
{
	int rc = r->fetch(r->arg, r->at, r->chunk, sizeof(r->chunk));

	if (rc < 0) return rc;
	if (rc == 0) return ERR_CORRUPT; /* the original ends inside of the string */
	CHECK((size_t)rc <= sizeof(r->chunk));
	r->at += (size_t)rc;
	r->chunk_len = (size_t)rc;
	r->chunk_at = 0;
	return 0;
}

/* Bytes that stand for themselves, as many as there are at once. */
static size_t copy_run(struct job_text_reader *r, char *bytes, size_t cap)
{
	const char *from = r->chunk + r->chunk_at;
	size_t most = r->chunk_len - r->chunk_at, n = 0;

	if (r->escape != PLAIN || r->high_surrogate) return 0;
	if (most > cap) most = cap;
	while (n < most && from[n] != '"' && from[n] != '\\' && (unsigned char)from[n] >= 0x20)
		n++;
	memcpy(bytes, from, n);
	r->chunk_at += n;
	return n;
}

int job_text_reader_read(struct job_text_reader *r, char *bytes, size_t cap)
{
	size_t len = 0;
	int rc;

	CHECK(cap > 0 && cap <= INT32_MAX);
	while (len < cap) {
		if (r->ready_at < r->ready_len) {
			bytes[len++] = r->ready[r->ready_at++];
			continue;
		}
		if (r->end) break;
		if (r->chunk_at == r->chunk_len && (rc = refill(r)) < 0) return rc;
		len += copy_run(r, bytes + len, cap - len);
		if (r->chunk_at == r->chunk_len || len == cap) continue;
		rc = take_byte(r, r->chunk[r->chunk_at]);
		if (rc < 0) return rc;
		if (rc == 1) bytes[len++] = r->chunk[r->chunk_at];
		r->chunk_at++;
	}
	return (int)len;
}
