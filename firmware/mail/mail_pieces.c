/* Content cut into runs, and quoted-printable over such runs (RFC 2045 section 6.7). */
#include <string.h>

#include "base/check.h"
#include "mail/mail_internal.h"

/* ---- reading ---- */

void mail_pieces_begin(struct mail *m)
{
	m->in_len = m->in_at = 0;
	m->in_end = m->line_open = false;
	m->column = 0;
	m->written = 0;
	m->pending_len = 0;
}

/* From in_at on there are MAIL_AHEAD bytes in memory, or all that are left. */
static int fill(struct mail *m, const struct mail_source *source)
{
	size_t left = m->in_len - m->in_at;

	if (left >= MAIL_AHEAD || m->in_end) return 0;
	memmove(m->in, m->in + m->in_at, left);
	m->in_at = 0;
	m->in_len = left;
	while (m->in_len < MAIL_AHEAD && !m->in_end) {
		int rc = source->read(source->arg, m->in + m->in_len, sizeof(m->in) - m->in_len);

		if (rc < 0) return rc;
		CHECK((size_t)rc <= sizeof(m->in) - m->in_len);
		m->in_len += (size_t)rc;
		m->in_end = rc == 0;
	}
	return 0;
}

static bool stops(unsigned char c, enum mail_run run)
{
	if (run == MAIL_RUN_LINE) return c == '\r' || c == '\n';
	return c < ' ' || c >= 0x7f || (c == '=' && run == MAIL_RUN_PLAIN);
}

#define BYTES(c) (UINT64_MAX / 255 * (c)) /* eight times the byte */

static uint64_t has(uint64_t word, uint64_t c)
{
	word ^= BYTES(c);
	return (word - BYTES(1)) & ~word & BYTES(0x80);
}

/* Whether one of eight bytes ends the run. */
static bool word_stops(uint64_t word, enum mail_run run)
{
	if (run == MAIL_RUN_LINE) return has(word, '\r') | has(word, '\n');
	return (word & BYTES(0x80)) | ((word - BYTES(' ')) & ~word & BYTES(0x80)) | has(word, 0x7f) |
	       (run == MAIL_RUN_PLAIN ? has(word, '=') : 0);
}

static size_t run_len(const char *p, size_t max, enum mail_run run)
{
	size_t len = 0;
	uint64_t word;

	for (; len + sizeof(word) <= max; len += sizeof(word)) {
		memcpy(&word, p + len, sizeof(word));
		if (word_stops(word, run)) break;
	}
	while (len < max && !stops((unsigned char)p[len], run))
		len++;
	return len;
}

/* Bytes that end a run and are no line end. A tab is text, but none that runs contain. */
static size_t others_len(const char *p, size_t max, enum mail_run run)
{
	size_t len = 1;

	while (len < max && stops((unsigned char)p[len], run) && !strchr("\r\n\t", p[len] ? p[len] : 'x'))
		len++;
	return len;
}

int mail_piece_next(struct mail *m, const struct mail_source *source, enum mail_run run, size_t max,
		    struct mail_piece *p)
{
	int rc = fill(m, source);
	size_t usable;

	if (rc < 0) return rc;
	p->at = m->in + m->in_at;
	p->end = m->in + m->in_len;
	usable = m->in_len - m->in_at;
	p->len = 0;
	if (usable == 0) {
		p->kind = m->line_open ? MAIL_PIECE_EOL : MAIL_PIECE_END;
		m->line_open = false;
		return 0;
	}
	if (!m->in_end) usable -= MAIL_AHEAD - 1;
	if (usable > max) usable = max;
	m->line_open = true;
	if (*p->at == '\r' || *p->at == '\n') {
		p->kind = MAIL_PIECE_EOL;
		p->len = *p->at == '\r' && p->at + 1 < p->end && p->at[1] == '\n' ? 2 : 1;
		m->line_open = false;
	} else if (*p->at == '\t') {
		p->kind = MAIL_PIECE_TEXT;
		p->len = 1;
	} else {
		p->len = run_len(p->at, usable, run);
		p->kind = p->len > 0 ? MAIL_PIECE_TEXT : MAIL_PIECE_OTHERS;
		if (p->len == 0) p->len = others_len(p->at, usable, run);
	}
	m->in_at += p->len;
	return 0;
}

int mail_bytes_next(struct mail *m, const struct mail_source *source, size_t max, struct str *out)
{
	int rc = fill(m, source);
	size_t len = m->in_len - m->in_at;

	if (rc < 0) return rc;
	*out = (struct str){m->in + m->in_at, len < max ? len : max};
	m->in_at += out->len;
	return 0;
}

bool mail_piece_ends_line(const struct mail_piece *p)
{
	const char *next = p->at + p->len;

	return next == p->end || *next == '\r' || *next == '\n';
}

bool mail_piece_begins(const struct mail_piece *p, const char *with)
{
	size_t len = strlen(with);

	return (size_t)(p->end - p->at) >= len && memcmp(p->at, with, len) == 0;
}

/* ---- quoted-printable ---- */

static void add(struct mail_quoted *q, const char *bytes, size_t len)
{
	if (q->to) memcpy(q->to + q->len, bytes, len);
	q->len += len;
	q->column += len;
}

static void soft_line_end(struct mail_quoted *q)
{
	add(q, "=\r\n", 3);
	q->column = 0;
}

static void escapes(struct mail_quoted *q, const char *bytes, size_t len)
{
	static const char digits[] = "0123456789ABCDEF";

	while (len > 0) {
		size_t n = (MAIL_FOLD_AT - 1 - q->column) / 3;

		if (n == 0) {
			soft_line_end(q);
			continue;
		}
		n = n < len ? n : len;
		for (size_t i = 0; q->to && i < n; i++) {
			unsigned char c = (unsigned char)bytes[i];
			const char text[3] = {'=', digits[c >> 4], digits[c & 15]};

			memcpy(q->to + q->len + 3 * i, text, 3);
		}
		q->len += 3 * n;
		q->column += 3 * n;
		bytes += n;
		len -= n;
	}
}

/* Text, line by line of the output, so that what stands at the beginning of each is seen. */
static void text(struct mail_quoted *q, struct mail_piece p)
{
	while (p.len > 0) {
		size_t n = MAIL_FOLD_AT - 1 - q->column;

		if (n == 0) {
			soft_line_end(q);
			continue;
		}
		/* whatever becomes of dots at the beginning of lines; mbox files */
		if (q->column == 0 && (*p.at == '.' || mail_piece_begins(&p, "From "))) {
			escapes(q, p.at, 1);
			n = 1;
		} else {
			n = n < p.len ? n : p.len;
			add(q, p.at, n);
		}
		p.at += n;
		p.len -= n;
	}
}

void mail_quoted_add(struct mail_quoted *q, const struct mail_piece *p)
{
	struct mail_piece most = *p;

	switch (p->kind) {
	case MAIL_PIECE_TEXT:
		/* a space at the end of a line is lost on the way */
		most.len -= mail_piece_ends_line(p) && (p->at[p->len - 1] == ' ' || *p->at == '\t');
		text(q, most);
		if (most.len < p->len) escapes(q, p->at + most.len, 1);
		break;
	case MAIL_PIECE_OTHERS: escapes(q, p->at, p->len); break;
	case MAIL_PIECE_EOL:
		add(q, "\r\n", 2);
		q->column = 0;
		break;
	case MAIL_PIECE_END: break;
	}
}
