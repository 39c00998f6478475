/* Bodies written: 7bit, 8bit, quoted-printable or base64 (RFC 2045 section 6). */
#include <string.h>

#include "base/err.h"
#include "mail/mail_internal.h"

int mail_body_begin(struct mail *m, const struct mail_part *part)
{
	mail_pieces_begin(m);
	return part->source.rewind(part->source.arg);
}

static size_t room(const struct mail *m)
{
	return sizeof(m->out) - m->out_len;
}

static void put(struct mail *m, const void *bytes, size_t len)
{
	memcpy(m->out + m->out_len, bytes, len);
	m->out_len += len;
}

/* ---- as it is ---- */

/* The scan saw only what may stand here. */
static bool is_fit(const struct mail *m, const struct mail_piece *p, bool eight_bit)
{
	if (m->column + p->len > MAIL_LINE_MAX || memchr(p->at, '\0', p->len)) return false;
	for (size_t i = 0; p->kind == MAIL_PIECE_OTHERS && !eight_bit && i < p->len; i++)
		if ((unsigned char)p->at[i] >= 0x80) return false;
	return true;
}

static int put_plain(struct mail *m, const struct mail_part *part, bool eight_bit, bool *end)
{
	while (room(m) >= MAIL_FOLD_AT && !*end) {
		struct mail_piece p;
		int rc = mail_piece_next(m, &part->source, eight_bit ? MAIL_RUN_LINE : MAIL_RUN_ASCII,
					 room(m) - 2, &p);

		if (rc < 0) return rc;
		*end = p.kind == MAIL_PIECE_END;
		if (p.kind == MAIL_PIECE_EOL) {
			put(m, "\r\n", 2);
			m->column = 0;
		} else if (!*end) {
			if (!is_fit(m, &p, eight_bit)) return ERR_CORRUPT;
			put(m, p.at, p.len);
			m->column += p.len;
		}
	}
	return 0;
}

/* ---- quoted-printable ---- */

static int put_quoted(struct mail *m, const struct mail_part *part, bool *end)
{
	/* a piece of so many bytes becomes at most 3 times that and two soft line ends */
	enum { PIECE = 75, MAX = 3 * PIECE + 3 * 4 };

	while (room(m) >= MAX && !*end) {
		struct mail_quoted q = {.to = m->out + m->out_len, .column = m->column};
		struct mail_piece p;
		int rc = mail_piece_next(m, &part->source, MAIL_RUN_PLAIN, PIECE, &p);

		if (rc < 0) return rc;
		mail_quoted_add(&q, &p);
		m->column = q.column;
		m->out_len += q.len;
		*end = p.kind == MAIL_PIECE_END;
	}
	return 0;
}

/* ---- base64 ---- */

/* A line of it, or what there is. */
static void put_group(struct mail *m)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = m->pending;
	size_t pad = (3 - m->pending_len % 3) % 3;
	char *to = m->out + m->out_len;

	if (m->pending_len == 0) return;
	memset(m->pending + m->pending_len, 0, pad);
	for (; p < m->pending + m->pending_len; p += 3) {
		unsigned v = (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];

		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = digits[v >> 6 & 63];
		*to++ = digits[v & 63];
	}
	memset(to - pad, '=', pad);
	m->out_len = (size_t)(to - m->out);
	put(m, "\r\n", 2);
	m->pending_len = 0;
}

/* Bytes for the group, at most what it still takes. Errors: of the source. */
static int next_bytes(struct mail *m, const struct mail_part *part, struct str *s, bool *end)
{
	size_t max = sizeof(m->pending) - m->pending_len;
	struct mail_piece p;
	int rc;

	if (!part->found.canonical) {
		rc = mail_bytes_next(m, &part->source, max, s);
		*end = s->len == 0;
		return rc;
	}
	rc = mail_piece_next(m, &part->source, MAIL_RUN_LINE, max, &p);
	if (rc < 0) return rc;
	*s = p.kind == MAIL_PIECE_EOL ? STR("\r\n") : (struct str){p.at, p.len};
	*end = p.kind == MAIL_PIECE_END;
	return 0;
}

static int put_base64(struct mail *m, const struct mail_part *part, bool *end)
{
	while (room(m) >= 2 * (MAIL_FOLD_AT + 2) && !*end) {
		struct str s = {NULL, 0};
		size_t now;
		int rc = next_bytes(m, part, &s, end);

		if (rc < 0) return rc;
		/* a line end may need one byte more than the group takes */
		for (; s.len > 0; s.ptr += now, s.len -= now) {
			now = sizeof(m->pending) - m->pending_len;
			now = now < s.len ? now : s.len;
			memcpy(m->pending + m->pending_len, s.ptr, now);
			m->pending_len += now;
			if (m->pending_len == sizeof(m->pending)) put_group(m);
		}
		if (*end) put_group(m);
	}
	return 0;
}

int mail_body_piece(struct mail *m, const struct mail_part *part)
{
	size_t before = m->out_len;
	bool end = false;
	int rc = 0;

	switch ((enum mail_encoding)part->found.encoding) {
	case MAIL_7BIT: rc = put_plain(m, part, false, &end); break;
	case MAIL_8BIT: rc = put_plain(m, part, true, &end); break;
	case MAIL_QUOTED: rc = put_quoted(m, part, &end); break;
	case MAIL_BASE64: rc = put_base64(m, part, &end); break;
	}
	m->written += (int64_t)(m->out_len - before);
	if (rc < 0) return rc;
	/* the size that was promised is the size that comes */
	if (m->written > part->found.bytes || (end && m->written != part->found.bytes)) return ERR_CORRUPT;
	return end ? 0 : 1;
}
