/* A part's own header (RFC 2045, 2183, 2392), file names in RFC 2231. */
#include <string.h>

#include "mail/mail_internal.h"

enum field {
	FIELD_TYPE,
	FIELD_NAME,
	FIELD_ENCODING,
	FIELD_ID,
	FIELD_DISPOSITION,
	FIELD_FILENAME,
	FIELD_EMPTY
};

static struct str type_of(const struct mail_part *part)
{
	if (!part->type || part->found.opaque) return STR("application/octet-stream");
	return str_from(part->type);
}

bool mail_is_text(const struct mail_part *part)
{
	return str_starts_nocase(type_of(part), STR("text/"));
}

bool mail_is_message(const struct mail_part *part)
{
	return str_eq_nocase(type_of(part), STR("message/rfc822"));
}

static void put_type(struct mail *m, const struct mail_part *part)
{
	static const char *const charsets[] = {[MAIL_US_ASCII] = "us-ascii", [MAIL_UTF8] = "utf-8"};

	mail_puts(m, "Content-Type: ");
	mail_put_str(m, type_of(part));
	if (part->found.charset == MAIL_US_ASCII || part->found.charset == MAIL_UTF8) {
		mail_puts(m, "; charset=");
		mail_puts(m, charsets[part->found.charset]);
	}
}

static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < ' ' || s.ptr[i] >= 0x7f) return false;
	return !mail_has_encoded_word(s);
}

/* A quoted string, or RFC 2047 words in one: no standard has them there, but readers too old for RFC 2231 look
 * nowhere else, and the others look at the disposition first. */
static void put_name(struct mail *m, struct str name)
{
	enum mail_form form = mail_words_form(name);
	size_t at = 0;

	mail_puts(m, ";");
	mail_line_end(m);
	if (is_plain(name)) {
		mail_puts(m, " name=");
		mail_put_quoted(m, name);
		return;
	}
	mail_puts(m, " name=\"");
	while (at < name.len) {
		if (at > 0) {
			mail_line_end(m);
			mail_puts(m, " ");
		}
		mail_put_word_here(m, name, &at, form, 1);
	}
	mail_puts(m, "\"");
}

/* RFC 2231 section 7: attribute-char, a little narrower. */
static size_t percent_len(char c)
{
	return mail_is_alnum(c) || (c && strchr("-._~", c)) ? 1 : 3;
}

static void put_percent(struct mail *m, char c)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char u = (unsigned char)c;
	const char text[3] = {'%', digits[u >> 4], digits[u & 15]};

	if (percent_len(c) == 1)
		mail_put(m, &c, 1);
	else
		mail_put(m, text, 3);
}

/* RFC 2231 sections 3 and 4: filename*0*=UTF-8''...; a line each. */
static void put_extended(struct mail *m, struct str name)
{
	enum { LINE = 60 };
	char text[24];
	struct buf b;
	size_t len = 0, section = 0, line;

	for (size_t i = 0; i < name.len; i++)
		len += percent_len(name.ptr[i]);
	line = len > LINE ? LINE - 12 : LINE;
	for (size_t at = 0, used = 0; at < name.len; section++, used = 0) {
		buf_init(&b, text, sizeof(text));
		buf_printf(&b, len > LINE ? " filename*%zu*=" : " filename*=", section);
		if (section > 0) mail_puts(m, ";");
		if (section > 0) mail_line_end(m);
		mail_put(m, b.ptr, b.len);
		if (section == 0) mail_puts(m, "UTF-8''");
		/* whole characters only, for readers that decode line by line */
		while (at < name.len && used < line) {
			do {
				used += percent_len(name.ptr[at]);
				put_percent(m, name.ptr[at]);
				at++;
			} while (at < name.len && ((unsigned char)name.ptr[at] & 0xC0) == 0x80);
		}
	}
}

static void put_filename(struct mail *m, struct str name)
{
	mail_puts(m, ";");
	mail_line_end(m);
	if (is_plain(name) && name.len <= 60) {
		mail_puts(m, " filename=");
		mail_put_quoted(m, name);
	} else {
		put_extended(m, name);
	}
}

static void put_encoding(struct mail *m, const struct mail_part *part)
{
	static const char *const names[] = {[MAIL_7BIT] = "7bit",
					    [MAIL_8BIT] = "8bit",
					    [MAIL_QUOTED] = "quoted-printable",
					    [MAIL_BASE64] = "base64"};

	mail_line_end(m);
	mail_puts(m, "Content-Transfer-Encoding: ");
	mail_puts(m, names[part->found.encoding]);
	mail_line_end(m);
}

bool mail_part_piece(struct mail *m, const struct mail_part *part)
{
	bool named = part->name.len > 0 && part->role != MAIL_BODY;

	switch ((enum field)m->field++) {
	case FIELD_TYPE: put_type(m, part); return true;
	case FIELD_NAME:
		if (named) put_name(m, part->name);
		return true;
	case FIELD_ENCODING: put_encoding(m, part); return true;
	case FIELD_ID:
		if (part->content_id.len == 0 || part->role == MAIL_BODY) return true;
		mail_puts(m, "Content-ID: <");
		mail_put_str(m, part->content_id);
		mail_puts(m, ">");
		mail_line_end(m);
		return true;
	case FIELD_DISPOSITION:
		if (part->role != MAIL_BODY)
			mail_puts(m, part->role == MAIL_INLINE ? "Content-Disposition: inline"
							       : "Content-Disposition: attachment");
		return true;
	case FIELD_FILENAME:
		if (named) put_filename(m, part->name);
		if (part->role != MAIL_BODY) mail_line_end(m);
		return true;
	case FIELD_EMPTY: mail_line_end(m); break;
	}
	return false;
}
