/* How a part can travel: one look through its content, which also tells how long it becomes. */
#include <string.h>

#include "base/err.h"
#include "mail/mail_internal.h"

struct scan {
	int64_t raw;       /* bytes as they came */
	int64_t canonical; /* with line ends of two, the last one ended */
	struct mail_quoted quoted;
	size_t line_len;
	bool fragile; /* 7bit would not survive everywhere, or not mean the same */
	bool high;    /* 8-bit bytes */
	bool broken;  /* NUL, or a line over 998 bytes: nothing but base64 is allowed to have it */
	bool changed; /* a line end that was not CRLF: text does not keep it */
	bool other;   /* not UTF-8 */
	bool delimiter;
	unsigned more;          /* UTF-8: continuation bytes to come, */
	unsigned char low, top; /* and what the next may be */
};

/* RFC 3629 section 4, byte by byte. */
static void scan_utf8(struct scan *s, const struct mail_piece *p)
{
	for (size_t i = 0; i < p->len; i++) {
		unsigned char c = (unsigned char)p->at[i];

		if (s->more > 0) {
			s->other = s->other || c < s->low || c > s->top;
			s->more--;
		} else if (c >= 0x80) {
			s->other = s->other || c < 0xC2 || c > 0xF4;
			s->more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
			s->low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
			s->top = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
			continue;
		}
		s->low = 0x80;
		s->top = 0xBF;
	}
}

static void scan_others(struct scan *s, const struct mail_piece *p)
{
	for (size_t i = 0; i < p->len; i++) {
		s->high = s->high || (unsigned char)p->at[i] >= 0x80;
		s->fragile = s->fragile || p->at[i] != '=';
		s->broken = s->broken || p->at[i] == '\0';
	}
}

/* mbox quoting, a lone dot, and what could be taken for our own boundary. */
static bool is_fragile_line(const struct mail_piece *p)
{
	return (*p->at == '.' && (p->at + 1 == p->end || p->at[1] == '\r' || p->at[1] == '\n')) ||
	       mail_piece_begins(p, "From ") || mail_piece_begins(p, "--=_");
}

/* Our own, whatever the level (mail.c). */
static bool is_delimiter(const struct mail *m, const struct mail_piece *p)
{
	const struct mail_piece behind = {.at = p->at + 5, .end = p->end};

	return p->end - p->at > 5 && mail_piece_begins(p, "--=_") && mail_piece_begins(&behind, m->boundary);
}

static void scan_piece(const struct mail *m, struct scan *s, const struct mail_piece *p)
{
	if (p->kind == MAIL_PIECE_END) return;
	s->raw += (int64_t)p->len;
	if (p->kind == MAIL_PIECE_EOL) {
		s->canonical += 2;
		s->changed = s->changed || p->len != 2;
		s->line_len = 0;
	} else {
		if (s->line_len == 0 && is_fragile_line(p)) {
			s->fragile = true;
			s->delimiter = s->delimiter || is_delimiter(m, p);
		}
		s->canonical += (int64_t)p->len;
		s->line_len += p->len;
		s->broken = s->broken || s->line_len > MAIL_LINE_MAX;
	}
	if (p->kind == MAIL_PIECE_OTHERS) {
		scan_others(s, p);
		scan_utf8(s, p);
	} else {
		s->other = s->other || s->more > 0;
	}
	/* trailing space is lost on the way (RFC 2045 section 6.7 (3)) */
	if (p->kind == MAIL_PIECE_TEXT && (*p->at == '\t' || p->at[p->len - 1] == ' ') &&
	    mail_piece_ends_line(p))
		s->fragile = true;
	mail_quoted_add(&s->quoted, p);
}

static int64_t base64_bytes(int64_t len)
{
	int64_t rest = len % MAIL_BASE64_LINE;

	return len / MAIL_BASE64_LINE * (MAIL_BASE64_LINE / 3 * 4 + 2) + (rest ? (rest + 2) / 3 * 4 + 2 : 0);
}

static int found(struct mail_found *f, enum mail_encoding encoding, bool canonical, int64_t bytes)
{
	f->encoding = (uint8_t)encoding;
	f->canonical = canonical;
	f->bytes = bytes;
	return 0;
}

/* Text: the fewest bytes that keep it; `exact`: also its line ends, as in a file that is attached. */
static int choose_text(const struct scan *s, bool exact, struct mail_found *f)
{
	int64_t quoted = (int64_t)s->quoted.len, base64 = base64_bytes(exact ? s->raw : s->canonical);

	f->charset = !s->high ? MAIL_US_ASCII : s->other || s->more > 0 ? MAIL_UNKNOWN_CHARSET : MAIL_UTF8;
	if (exact && s->changed) return found(f, MAIL_BASE64, false, base64);
	if (!s->fragile && !s->broken) return found(f, MAIL_7BIT, true, s->canonical);
	if (quoted <= base64) return found(f, MAIL_QUOTED, true, quoted);
	return found(f, MAIL_BASE64, !exact, base64);
}

/* RFC 2046 section 5.2.1: a message inside is not encoded. One that needs it travels as a file. */
static int choose_message(struct mail *m, const struct scan *s, struct mail_found *f)
{
	f->opaque = s->broken || s->delimiter;
	if (f->opaque) return found(f, MAIL_BASE64, false, base64_bytes(s->raw));
	m->info.eight_bit = m->info.eight_bit || s->high;
	return found(f, s->high ? MAIL_8BIT : MAIL_7BIT, true, s->canonical);
}

static int count_bytes(struct mail *m, const struct mail_source *source, int64_t *bytes)
{
	struct str s;
	int rc;

	while ((rc = mail_bytes_next(m, source, SIZE_MAX, &s)) >= 0 && s.len > 0)
		*bytes += (int64_t)s.len;
	return rc;
}

int mail_body_scan(struct mail *m, struct mail_part *part)
{
	struct scan s = {.top = 0xBF, .low = 0x80};
	struct mail_piece p = {.kind = MAIL_PIECE_EOL};
	int rc = part->source.rewind(part->source.arg);
	bool message;

	part->found = (struct mail_found){0}; /* the table may have been used before */
	message = mail_is_message(part);
	mail_pieces_begin(m);
	if (rc < 0) return rc;
	if (!message && !mail_is_text(part)) {
		rc = count_bytes(m, &part->source, &s.raw);
		return rc < 0 ? rc : found(&part->found, MAIL_BASE64, false, base64_bytes(s.raw));
	}
	while (p.kind != MAIL_PIECE_END) {
		rc = mail_piece_next(m, &part->source, MAIL_RUN_PLAIN, SIZE_MAX, &p);
		if (rc < 0) return rc;
		scan_piece(m, &s, &p);
	}
	return message ? choose_message(m, &s, &part->found)
		       : choose_text(&s, part->role != MAIL_BODY, &part->found);
}
