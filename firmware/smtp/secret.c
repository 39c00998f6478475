/* Finds our credentials in what a server says. Pure. */
#include <string.h>

#include "smtp/parts.h"

#define FORM_MAX 6400 /* base64 of the longest response */
#define CORE_MIN 8    /* base64 characters of a password that do not stand in a line by chance */

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
	       c == '/';
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

/* Base64 of something that has the password in it, whatever stands around it: for each place in a group of three
 * bytes that it may begin at, the characters that depend on nothing but the password. */
static bool has_core(struct str line, struct str password, struct buf *b)
{
	for (size_t skip = 0; skip < 3 && skip < password.len; skip++) {
		size_t len = (password.len - skip) / 3 * 3;

		buf_reset(b);
		buf_base64(b, password.ptr + skip, len);
		if (b->len >= CORE_MIN && has(line, buf_view(b))) return true;
	}
	return false;
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

bool smtp_tells_secret(struct str line, const char *username, const char *password)
{
	char form[FORM_MAX];
	struct str secret = str_from(password);
	struct buf b;

	if (secret.len == 0 || line.len < 4) return false;
	if (has(line, secret)) return true;
	/* The usual reply has no run of base64 as long as the shortest of the password's cores. */
	size_t core = (secret.len - (secret.len > 2 ? 2 : 0)) / 3 * 4;
	bool is_short = core < CORE_MIN;
	if (longest_base64(line) < (is_short ? 4 : core)) return false;
	buf_init(&b, form, sizeof(form));
	bool found = has_core(line, secret, &b) ||
		     (is_short && has_whole(line, username == NULL ? "" : username, secret, &b));
	explicit_bzero(form, sizeof(form));
	return found;
}
