/* Encoded words (RFC 2047), and the lines they stand on. */
#include <string.h>

#include "base/check.h"
#include "mail/mail_internal.h"

void mail_put(struct mail *m, const void *bytes, size_t len)
{
	CHECK(len <= sizeof(m->out) - m->out_len);
	if (len > 0) memcpy(m->out + m->out_len, bytes, len);
	m->out_len += len;
	m->column += len;
}

void mail_puts(struct mail *m, const char *s)
{
	mail_put(m, s, strlen(s));
}

void mail_put_str(struct mail *m, struct str s)
{
	mail_put(m, s.ptr, s.len);
}

void mail_line_end(struct mail *m)
{
	mail_put(m, "\r\n", 2);
	m->column = 0;
}

void mail_gap(struct mail *m, size_t len)
{
	if (m->column + 1 + len > MAIL_FOLD_AT) mail_line_end(m);
	mail_put(m, " ", 1);
}

bool mail_is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool mail_is_ascii(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80) return false;
	return true;
}

bool mail_has_encoded_word(struct str s)
{
	for (size_t i = 0; i + 1 < s.len; i++)
		if (s.ptr[i] == '=' && s.ptr[i + 1] == '?') return true;
	return false;
}

/* RFC 2047 section 5 (3): what may stand for itself in a phrase, and so everywhere. */
static size_t q_len(char c)
{
	return c == ' ' || mail_is_alnum(c) || (c && strchr("!*+-/", c)) ? 1 : 3;
}

static size_t words_len(struct str s, enum mail_form form)
{
	size_t len = 0;

	if (form == MAIL_WORDS_B) return (s.len + 2) / 3 * 4;
	for (size_t i = 0; i < s.len; i++)
		len += q_len(s.ptr[i]);
	return len;
}

enum mail_form mail_words_form(struct str s)
{
	return words_len(s, MAIL_WORDS_Q) <= words_len(s, MAIL_WORDS_B) ? MAIL_WORDS_Q : MAIL_WORDS_B;
}

/* A character is never split between two words (RFC 2047 section 5). */
static size_t char_len(struct str s, size_t at)
{
	size_t len = 1;

	while (at + len < s.len && ((unsigned char)s.ptr[at + len] & 0xC0) == 0x80 && len < 4)
		len++;
	return len;
}

/* As many whole characters from `at` on as the encoded text's bytes can hold. */
static struct str take_chars(struct str s, size_t at, enum mail_form form, size_t room)
{
	size_t len = 0, used = 0;

	while (at + len < s.len) {
		size_t more = char_len(s, at + len);

		used = form == MAIL_WORDS_B ? (len + more + 2) / 3 * 4
					    : used + words_len((struct str){s.ptr + at + len, more}, form);
		if (used > room) break;
		len += more;
	}
	return (struct str){s.ptr + at, len};
}

static void put_q(struct mail *m, struct str s)
{
	static const char digits[] = "0123456789ABCDEF";
	char text[MAIL_FOLD_AT];
	size_t len = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (q_len(s.ptr[i]) == 1) {
			text[len++] = c == ' ' ? '_' : (char)c;
		} else {
			text[len++] = '=';
			text[len++] = digits[c >> 4];
			text[len++] = digits[c & 15];
		}
	}
	mail_put(m, text, len);
}

enum { AROUND = 12, LONGEST = 12 }; /* "=?UTF-8?Q?" "?="; a character of four bytes */

void mail_put_word_here(struct mail *m, struct str s, size_t *at, enum mail_form form, size_t behind)
{
	struct str part = take_chars(s, *at, form, MAIL_FOLD_AT - m->column - AROUND - behind);
	char text[MAIL_FOLD_AT + 4];
	struct buf b;

	CHECK(part.len > 0);
	*at += part.len;
	mail_puts(m, form == MAIL_WORDS_B ? "=?UTF-8?B?" : "=?UTF-8?Q?");
	if (form == MAIL_WORDS_B) {
		buf_init(&b, text, sizeof(text));
		buf_base64(&b, part.ptr, part.len);
		mail_put(m, b.ptr, b.len);
	} else {
		put_q(m, part);
	}
	mail_puts(m, "?=");
}

void mail_put_word(struct mail *m, struct str s, size_t *at, enum mail_form form, bool whole, size_t behind)
{
	struct str part = {s.ptr + *at, s.len - *at};
	size_t rest = part.len < MAIL_FOLD_AT ? AROUND + words_len(part, form) + behind : MAIL_FOLD_AT;

	/* column is at least 1 behind it, so that a word has at most 75 bytes (RFC 2047 section 2) */
	mail_gap(m, whole && rest < MAIL_FOLD_AT ? rest : AROUND + LONGEST + behind);
	mail_put_word_here(m, s, at, form, behind);
}

void mail_put_quoted(struct mail *m, struct str s)
{
	mail_put(m, "\"", 1);
	for (size_t i = 0, from = 0; i <= s.len; i++)
		if (i == s.len || s.ptr[i] == '"' || s.ptr[i] == '\\') {
			mail_put(m, s.ptr + from, i - from);
			if (i < s.len) mail_put(m, "\\", 1);
			from = i;
		}
	mail_put(m, "\"", 1);
}
