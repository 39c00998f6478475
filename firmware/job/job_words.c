/* Encoded-words (RFC 2047) of a finished message's Subject made readable, for lists and screens. */
#include <string.h>

#include "base/base64.h"
#include "job/job_internal.h"

#define WORD_MAX 512 /* RFC 2047 section 2 allows 75; more is seen, and left as it is */

struct word {
	struct str charset, text, rest;
	char encoding; /* 'q' or 'b' */
};

/* "=?charset?encoding?text?=" at the beginning of s. */
static bool take_word(struct str s, struct word *w)
{
	const char *end = s.ptr + s.len, *mark[3], *p = s.ptr + 2;

	if (s.len < 8 || memcmp(s.ptr, "=?", 2) != 0) return false;
	for (int i = 0; i < 3; i++) {
		mark[i] = memchr(p, '?', (size_t)(end - p));
		if (!mark[i]) return false;
		p = mark[i] + 1;
	}
	if (p == end || *p != '=' || mark[1] - mark[0] != 2 || p - s.ptr > WORD_MAX) return false;
	w->charset = (struct str){s.ptr + 2, (size_t)(mark[0] - s.ptr) - 2};
	w->encoding = (char)(mark[0][1] | 0x20);
	w->text = (struct str){mark[1] + 1, (size_t)(mark[2] - mark[1]) - 1};
	w->rest = (struct str){p + 1, (size_t)(end - p) - 1};
	return !memchr(w->text.ptr, ' ', w->text.len);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes of a word's text, -1 when it is none. */
static int word_bytes(const struct word *w, char *out)
{
	int n = 0;

	if (w->encoding == 'b') return base64_decode(w->text, out, WORD_MAX);
	if (w->encoding != 'q') return -1;
	for (size_t i = 0; i < w->text.len; i++) {
		char c = w->text.ptr[i];

		if (c == '=') {
			if (i + 2 >= w->text.len || hex(w->text.ptr[i + 1]) < 0 ||
			    hex(w->text.ptr[i + 2]) < 0)
				return -1;
			c = (char)(hex(w->text.ptr[i + 1]) << 4 | hex(w->text.ptr[i + 2]));
			i += 2;
		} else if (c == '_') {
			c = ' ';
		}
		out[n++] = c;
	}
	return n;
}

/* Appends a word as UTF-8; false when it is in a charset or shape that is not known. */
static bool put_word(struct buf *b, const struct word *w)
{
	char bytes[WORD_MAX];
	int n = word_bytes(w, bytes);

	if (n < 0) return false;
	if (str_eq_nocase(w->charset, STR("utf-8")) || str_eq_nocase(w->charset, STR("us-ascii"))) {
		buf_add(b, bytes, (size_t)n); /* maybe half a character: the next word has the rest */
		return true;
	}
	if (!str_eq_nocase(w->charset, STR("iso-8859-1"))) return false;
	for (int i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];
		char two[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};

		if (c < 0x80)
			buf_add(b, bytes + i, 1);
		else
			buf_add(b, two, 2);
	}
	return true;
}

static bool is_white(char c)
{
	return c == ' ' || c == '\t';
}

static void put_text(struct buf *b, struct str s)
{
	struct word w;
	bool behind_word = false;

	while (s.len > 0) {
		size_t white = 0;

		while (white < s.len && is_white(s.ptr[white]))
			white++;
		/* white space between two words is not part of the text (RFC 2047 section 6.2) */
		if (take_word((struct str){s.ptr + white, s.len - white}, &w)) {
			if (!behind_word) buf_add(b, s.ptr, white);
			if (put_word(b, &w)) {
				s = w.rest;
				behind_word = true;
				continue;
			}
			if (behind_word) buf_add(b, s.ptr, white);
			s = (struct str){s.ptr + white, s.len - white};
			white = 0;
		}
		behind_word = false;
		white = white > 0 ? white : 1;
		buf_add(b, s.ptr, white);
		s = (struct str){s.ptr + white, s.len - white};
	}
}

void job_words_decode(struct buf *b, struct str s)
{
	put_text(b, s);
	if (!str_is_utf8(buf_view(b)) && !b->cut) {
		buf_reset(b);
		buf_str(b, s);
	}
	/* what was cut may end in half a character */
	while (b->len > 0 && !str_is_utf8(buf_view(b)))
		b->ptr[--b->len] = '\0';
	for (size_t i = 0; i < b->len; i++)
		if ((unsigned char)b->ptr[i] < 0x20 || b->ptr[i] == 0x7f) b->ptr[i] = ' ';
}
