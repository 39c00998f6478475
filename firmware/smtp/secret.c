/* Finds our credentials in what a server says. Pure. */
#include <stddef.h>
#include <string.h>

#include "smtp/parts.h"

#define FORM_MAX 6400 /* base64 of the longest response */
#define CORE_MIN 8    /* characters of a password in base64 or hex that do not stand in a line by chance */
/* Of a line, what a connection can hold; of a password, so much is proof enough. */
#define LINE_MAX_BYTES SMTP_IN_BYTES
#define WANTED_MAX     512

static bool has(struct str line, struct str part)
{
	return part.len >= 4 && line.len >= part.len &&
	       memmem(line.ptr, line.len, part.ptr, part.len) != NULL;
}

bool smtp_tells_digest(struct str line, const struct smtp_exchange *x)
{
	return has(line, str_from(x->echo[0])) || has(line, str_from(x->echo[1]));
}

static bool is_base64(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
	       c == '/' || c == '-' || c == '_';
}

static size_t longest_base64(struct str line)
{
	size_t longest = 0, run = 0;

	for (size_t i = 0; i < line.len; i++) {
		run = is_base64(line.ptr[i]) ? run + 1 : 0;
		if (run > longest) longest = run;
	}
	return longest;
}

static char small(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c == '-' ? '+' : c == '_' ? '/' : c;
}

static int hex_digit(char c)
{
	c = small(c);
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What is left of a text when %HH is undone, and white space, control bytes and capitals make no difference. */
static struct str plain_form(struct str s, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len && n < cap; i++) {
		char c = s.ptr[i];

		if (c == '%' && s.len - i > 2 && hex_digit(s.ptr[i + 1]) >= 0 &&
		    hex_digit(s.ptr[i + 2]) >= 0) {
			c = (char)(hex_digit(s.ptr[i + 1]) * 16 + hex_digit(s.ptr[i + 2]));
			i += 2;
		}
		if ((unsigned char)c > ' ' && c != 0x7f) out[n++] = small(c);
	}
	return (struct str){out, n};
}

/* True when CORE_MIN characters of the line, the four at `at` among them, stand together in form (small letters). */
static bool shares_run(struct str line, size_t at, struct str form)
{
	char group[4];
	const char *p = form.ptr, *end = form.ptr + form.len;

	for (size_t i = 0; i < 4; i++)
		group[i] = small(line.ptr[at + i]);
	while ((p = memmem(p, (size_t)(end - p), group, 4)) != NULL) {
		size_t back = 0, on = 4;

		while (back < at && p - form.ptr > (ptrdiff_t)back &&
		       small(line.ptr[at - back - 1]) == p[-1 - (ptrdiff_t)back])
			back++;
		while (at + on < line.len && p + on < end && small(line.ptr[at + on]) == p[on])
			on++;
		if (back + on >= CORE_MIN) return true;
		p++;
	}
	return false;
}

/* Any run of CORE_MIN has a group of four that begins at a multiple of four. */
static bool has_run(struct str line, struct buf *form)
{
	for (size_t i = 0; i < form->len; i++)
		form->ptr[i] = small(form->ptr[i]);
	for (size_t at = 0; at + 4 <= line.len; at += 4)
		if (shares_run(line, at, buf_view(form))) return true;
	return false;
}

/* A part of base64 of something that has the password in it, whatever stands around it: for each place in a group of
 * three bytes that it may begin at, the characters that depend on nothing but the password. Or a part of it in hex. */
static bool has_core(struct str line, struct str password, struct buf *b)
{
	for (size_t skip = 0; skip < 3 && skip < password.len; skip++) {
		buf_reset(b);
		buf_base64(b, password.ptr + skip, (password.len - skip) / 3 * 3);
		if (b->len >= CORE_MIN && has_run(line, b)) return true;
	}
	buf_reset(b);
	for (size_t i = 0; i < password.len && !b->cut; i++)
		buf_printf(b, "%02x", (unsigned char)password.ptr[i]);
	return b->len >= CORE_MIN && has_run(line, b);
}

/* Of short passwords: the whole of what PLAIN and LOGIN send. Without the last four bytes: how the end is encoded
 * depends on what a server put behind it. */
static bool has_whole(struct str line, const char *username, struct str password, struct buf *b)
{
	char raw[512];
	struct buf plain;

	buf_init(&plain, raw, sizeof(raw));
	buf_add(&plain, "", 1);
	buf_puts(&plain, username);
	buf_add(&plain, "", 1);
	buf_str(&plain, password);
	bool found = false;
	for (int login = 0; login < 2 && !found; login++) {
		buf_reset(b);
		buf_base64(b, login ? password.ptr : plain.ptr, login ? password.len : plain.len);
		struct str sent = buf_view(b);
		found = has(line, sent.len > 8 ? (struct str){sent.ptr, sent.len - 4} : sent);
	}
	explicit_bzero(raw, sizeof(raw));
	return found;
}

static bool tells_plain(struct str line, struct str secret, bool halves)
{
	char text[LINE_MAX_BYTES], wanted[WANTED_MAX];
	struct str said = plain_form(line, text, sizeof(text));
	struct str pw = plain_form(secret, wanted, sizeof(wanted));
	size_t half = (pw.len + 1) / 2;
	/* A long half does not stand there by chance either. */
	halves = halves || half >= CORE_MIN;
	bool found = has(said, pw) || (halves && (has(said, (struct str){pw.ptr, half}) ||
						  has(said, (struct str){pw.ptr + pw.len - half, half})));

	explicit_bzero(wanted, pw.len);
	return found;
}

bool smtp_tells_secret(struct str line, const char *username, const char *password, bool halves)
{
	char form[FORM_MAX];
	struct str secret = str_from(password);
	struct buf b;

	if (secret.len == 0 || line.len < 4) return false;
	if (tells_plain(line, secret, halves)) return true;
	/* The usual reply has no long words. */
	size_t core = (secret.len - (secret.len > 2 ? 2 : 0)) / 3 * 4;
	bool is_short = core < CORE_MIN;
	if (longest_base64(line) < (is_short ? 4 : CORE_MIN)) return false;
	buf_init(&b, form, sizeof(form));
	bool found = has_core(line, secret, &b) ||
		     (is_short && has_whole(line, username == NULL ? "" : username, secret, &b));
	explicit_bzero(form, sizeof(form));
	return found;
}
