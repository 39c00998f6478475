/* Bodies: line ends made canonical, then 7bit, quoted-printable or base64 (RFC 2045 section 6). */
#include <string.h>

#include "base/err.h"
#include "mail/mail_internal.h"

/* What a body consists of, besides its bytes. */
enum { TOKEN_EOL = 256, TOKEN_END = 257 };

/* The next byte, line end or end. CR, LF and CRLF are one line end each; the last line is ended. */
static int next_token(struct mail *m, const struct mail_source *source)
{
	for (;;) {
		unsigned char c;
		bool second;

		if (m->in_at == m->in_len && !m->in_end) {
			int rc = source->read(source->arg, m->in, sizeof(m->in));

			if (rc < 0) return rc;
			m->in_len = (size_t)rc;
			m->in_at = 0;
			m->in_end = rc == 0;
		}
		if (m->in_end) {
			bool open = m->line_open;

			m->line_open = false;
			return open ? TOKEN_EOL : TOKEN_END;
		}
		c = (unsigned char)m->in[m->in_at++];
		second = c == '\n' && m->after_cr;
		m->after_cr = c == '\r';
		if (second) continue;
		m->line_open = c != '\r' && c != '\n';
		return m->line_open ? c : TOKEN_EOL;
	}
}

int mail_body_begin(struct mail *m, size_t part)
{
	const struct mail_source *source = &m->input->parts[part].source;

	m->in_len = m->in_at = 0;
	m->in_end = m->after_cr = m->line_open = false;
	m->group_len = 0;
	m->held_space = 0;
	m->from_len = 0;
	m->column = 0;
	return source->rewind(source->arg);
}

/* ---- the choice ---- */

struct scan {
	int64_t bytes;   /* with line ends of two */
	int64_t escapes; /* bytes that quoted-printable writes as three */
	size_t line_len;
	char line[8]; /* how it begins */
	int last;
	bool fragile; /* 7bit would not survive everywhere, or not mean the same */
};

static bool line_begins(const struct scan *s, const char *with)
{
	size_t len = strlen(with);

	return s->line_len >= len && memcmp(s->line, with, len) == 0;
}

static void scan_line_end(struct scan *s)
{
	s->bytes += 2;
	if (s->line_len > 0 && (s->last == ' ' || s->last == '\t')) {
		s->escapes++;
		s->fragile = true; /* trailing space is lost on the way (RFC 2045 section 6.7 (3)) */
	}
	/* mbox quoting, a lone dot, and what could be taken for our own boundary */
	if (line_begins(s, "From ") || (s->line_len == 1 && s->line[0] == '.') || line_begins(s, "--=_"))
		s->fragile = true;
	if (s->line_len > MAIL_LINE_MAX) s->fragile = true;
	s->line_len = 0;
}

static void scan_byte(struct scan *s, int c)
{
	if (s->line_len < sizeof(s->line)) s->line[s->line_len] = (char)c;
	s->line_len++;
	s->bytes++;
	s->last = c;
	if ((c < ' ' && c != '\t') || c >= 0x7f) {
		s->escapes++;
		s->fragile = true;
	} else if (c == '=') {
		s->escapes++;
	}
}

int mail_body_scan(struct mail *m, size_t part)
{
	int64_t quoted, base64;
	struct scan s = {0};
	int token, rc = mail_body_begin(m, part);

	if (rc < 0) return rc;
	while ((token = next_token(m, &m->input->parts[part].source)) != TOKEN_END) {
		if (token < 0) return token;
		if (token == TOKEN_EOL)
			scan_line_end(&s);
		else
			scan_byte(&s, token);
	}
	quoted = s.bytes + 2 * s.escapes;
	base64 = (s.bytes + 2) / 3 * 4;
	/* with their own line ends */
	quoted += quoted / 75 * 3;
	base64 += base64 / 76 * 2;
	m->encodings[part] = !s.fragile ? MAIL_7BIT : quoted <= base64 ? MAIL_QUOTED : MAIL_BASE64;
	return 0;
}

/* ---- 7bit ---- */

static int put_7bit(struct mail *m, int token)
{
	if (token == TOKEN_EOL) {
		mail_puts(m, "\r\n");
	} else if (token != TOKEN_END) {
		if (m->column >= MAIL_LINE_MAX || token == 0 || token >= 0x80) return ERR_CORRUPT;
		mail_put(m, &(char){(char)token}, 1);
	}
	return 0;
}

/* ---- quoted-printable ---- */

static void put_quoted(struct mail *m, char c, bool escape)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char u = (unsigned char)c;
	const char text[3] = {'=', digits[u >> 4], digits[u & 15]};

	if (m->column + (escape ? 3 : 1) > MAIL_FOLD_AT - 1) mail_puts(m, "=\r\n");
	if (m->column == 0) {
		m->from_len = 0;
		escape = escape || c == '.'; /* whatever becomes of dots at the beginning of lines */
	}
	if (c == "From"[m->from_len] && m->column == m->from_len && !escape)
		m->from_len++;
	else if (c == ' ' && m->from_len == 4 && m->column == 4)
		escape = true;
	if (escape)
		mail_put(m, text, 3);
	else
		mail_put(m, &c, 1);
}

static void put_quoted_token(struct mail *m, int token)
{
	/* a space is written as such only when something follows on its line */
	if (m->held_space) put_quoted(m, m->held_space, token == TOKEN_EOL || token == TOKEN_END);
	m->held_space = 0;
	if (token == ' ' || token == '\t')
		m->held_space = (char)token;
	else if (token == TOKEN_EOL)
		mail_puts(m, "\r\n");
	else if (token != TOKEN_END)
		put_quoted(m, (char)token, token < ' ' || token >= 0x7f || token == '=');
}

/* ---- base64 ---- */

static void put_group(struct mail *m)
{
	char text[8];
	struct buf b;

	if (m->group_len == 0) return;
	if (m->column >= MAIL_FOLD_AT) mail_puts(m, "\r\n");
	buf_init(&b, text, sizeof(text));
	buf_base64(&b, m->group, m->group_len);
	mail_put(m, b.ptr, b.len);
	m->group_len = 0;
}

static void put_base64_byte(struct mail *m, int c)
{
	m->group[m->group_len++] = (unsigned char)c;
	if (m->group_len == sizeof(m->group)) put_group(m);
}

static void put_base64_token(struct mail *m, int token)
{
	if (token == TOKEN_EOL) {
		put_base64_byte(m, '\r');
		put_base64_byte(m, '\n');
	} else if (token != TOKEN_END) {
		put_base64_byte(m, token);
	} else {
		put_group(m);
		if (m->column > 0) mail_puts(m, "\r\n");
	}
}

int mail_body_piece(struct mail *m, size_t part)
{
	size_t from = m->out_len;

	/* one token writes at most a held space and an escape, each with a soft line end */
	while (m->out_len - from + 16 < MAIL_PIECE_MAX) {
		int rc = 0, token = next_token(m, &m->input->parts[part].source);

		if (token < 0) return token;
		switch (m->encodings[part]) {
		case MAIL_7BIT: rc = put_7bit(m, token); break;
		case MAIL_QUOTED: put_quoted_token(m, token); break;
		case MAIL_BASE64: put_base64_token(m, token); break;
		}
		if (rc < 0) return rc;
		if (token == TOKEN_END) return 0;
	}
	return 1;
}
