/* Replies: bytes in, struct out. Pure. */
#include <string.h>

#include "base/err.h"
#include "smtp/smtp.h"

#define REPLY_LINES_MAX 1000000

const char *smtp_class_name(enum smtp_class c)
{
	static const char *const names[] = {"none", "sent", "again", "try", "fail", "hold", "uncertain"};

	return (size_t)c < sizeof(names) / sizeof(names[0]) ? names[c] : "none";
}

const char *smtp_command_name(enum smtp_command command)
{
	static const char *const names[] = {"greeting", "EHLO", "HELO", "STARTTLS", "AUTH",
					    "RSET",     "MAIL", "RCPT", "DATA",     ".",
					    "BDAT",     "BDAT", "QUIT", "BDAT",     "RSET"};

	return (size_t)command < sizeof(names) / sizeof(names[0]) ? names[command] : "";
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 3463 section 2: class "." subject "." detail, each of the latter 1 to 3 digits; RFC 2034 section 4: the
 * class is the reply code's first digit. Returns its length, 0 when s does not begin with one. */
static size_t enhanced_len(struct str s, char class)
{
	size_t at = 1;

	if (s.len < 5 || s.ptr[0] != class) return 0;
	for (int part = 0; part < 2; part++) {
		size_t from = at + 1;

		if (at >= s.len || s.ptr[at] != '.') return 0;
		for (at = from; at < s.len && at < from + 3 && is_digit(s.ptr[at]); at++)
			;
		if (at == from) return 0;
	}
	return at == s.len || s.ptr[at] == ' ' ? at : 0;
}

static void text_add(struct smtp_reply *r, struct str s)
{
	size_t len = strlen(r->text);

	if (len > 0 && s.len > 0 && len + 1 < sizeof(r->text)) r->text[len++] = ' ';
	for (size_t i = 0; i < s.len && len + 1 < sizeof(r->text); i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		r->text[len++] = c == '\t' ? ' ' : c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	/* A character that was cut in half is no character. */
	while (len > 0 && len + 4 > sizeof(r->text) && !str_is_utf8((struct str){r->text, len}) &&
	       ((unsigned char)r->text[len - 1] & 0x80) != 0)
		len--;
	r->text[len] = '\0';
}

int smtp_reply_line(struct smtp_reply *r, struct str line)
{
	/* RFC 5321 section 4.2: Reply-code = %x32-35 %x30-35 %x30-39. The second digit is taken as it comes.
	 */
	if (line.len < 3 || line.ptr[0] < '2' || line.ptr[0] > '5' || !is_digit(line.ptr[1]) ||
	    !is_digit(line.ptr[2]))
		return ERR_PROTOCOL;
	if (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-') return ERR_PROTOCOL;
	if (++r->lines > REPLY_LINES_MAX) return ERR_PROTOCOL;
	/* Section 4.2.1: the code of every line must be the same. A server that mixes within a class means
	 * the last; one that says yes and no in one reply says nothing. */
	if (r->lines > 1 && r->code / 100 != line.ptr[0] - '0') return ERR_PROTOCOL;
	r->code = (line.ptr[0] - '0') * 100 + (line.ptr[1] - '0') * 10 + (line.ptr[2] - '0');

	struct str text = line.len > 4 ? (struct str){line.ptr + 4, line.len - 4} : (struct str){line.ptr, 0};
	size_t enhanced = enhanced_len(text, line.ptr[0]);
	if (enhanced > 0 && enhanced < sizeof(r->enhanced)) {
		memcpy(r->enhanced, text.ptr, enhanced);
		r->enhanced[enhanced] = '\0';
		text.ptr += enhanced;
		text.len -= enhanced;
	}
	text_add(r, str_trim(text));
	return line.len == 3 || line.ptr[3] == ' ';
}

/* ---- the server's queue id ---- */

static bool is_id(char c)
{
	return (unsigned char)c > ' ' && c != ';' && c != ',' && c != '(' && c != ')' && c != '[' &&
	       c != ']' && c != '<' && c != '>' && c != '"' && c != '?';
}

static struct str word_at(const char *s)
{
	size_t len = 0;

	while (*s == ' ' || *s == '<' || *s == '[' || *s == '(')
		s++;
	while (s[len] != '\0' && is_id(s[len]))
		len++;
	while (len > 0 && (s[len - 1] == '.' || s[len - 1] == ':'))
		len--;
	return (struct str){s, len};
}

/* The word in front of `end`. */
static struct str word_before(const char *start, const char *end)
{
	const char *at;

	while (end > start && end[-1] == ' ')
		end--;
	for (at = end; at > start && is_id(at[-1]); at--)
		;
	return (struct str){at, (size_t)(end - at)};
}

struct str smtp_queue_id(const struct smtp_reply *r)
{
	static const char *const marks[] = {
		"queued as ",  /* Postfix, Haraka, SendGrid, MailHog */
		"InternalId=", /* Exchange */
		" id=",        /* Exim */
		" qp ",        /* qmail */
	};
	struct str all = str_from(r->text), id;

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		const char *at = strcasestr(r->text, marks[i]);

		if (at != NULL && (id = word_at(at + strlen(marks[i]))).len > 0) return id;
	}
	/* sendmail, OpenSMTPD: "2.0.0 54ABC Message accepted for delivery" */
	const char *at = strcasestr(r->text, " message accepted");
	if (at != NULL && (id = word_before(r->text, at)).len > 0) return id;
	/* Amazon SES, Gmail: "Ok 0100017f...", "OK  1699999999 x-20020a... - gsmtp" */
	if (str_starts_nocase(all, STR("ok "))) {
		id = word_at(r->text + 3);
		if (strstr(r->text, "gsmtp") != NULL) id = word_at(id.ptr + id.len);
		if (id.len >= 6 && strcspn(id.ptr, "0123456789") < id.len) return id;
	}
	return all;
}
