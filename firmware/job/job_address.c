/* One mailbox: RFC 5322 section 3.4 with UTF-8 (RFC 6532), within the bounds of RFC 5321. */
#include <string.h>

#include "base/err.h"
#include "hal_addr.h"
#include "job/job_internal.h"

#define TEXT_BYTES_MAX 1000 /* a display name, an address, and comments */

struct scan {
	const char *at, *end;
	const char *why;    /* the first thing that is wrong; NULL: nothing so far */
	struct str comment; /* the inside of the last one passed */
};

static bool wrong(struct scan *s, const char *why)
{
	if (!s->why) s->why = why;
	return false;
}

static bool is_atext(char c)
{
	return (unsigned char)c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z') || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool skip_comment(struct scan *s)
{
	const char *begin = s->at + 1;
	unsigned depth = 0;

	for (; s->at < s->end; s->at++) {
		if (*s->at == '\\' && s->at + 1 < s->end)
			s->at++;
		else if (*s->at == '(')
			depth++;
		else if (*s->at == ')' && --depth == 0)
			break;
	}
	if (s->at == s->end) return wrong(s, "a comment is not closed");
	s->comment = (struct str){begin, (size_t)(s->at - begin)};
	s->at++;
	return true;
}

/* Comments and spaces; control characters, and with them folding, were refused before. */
static void skip_cfws(struct scan *s)
{
	while (s->at < s->end && !s->why) {
		if (*s->at == '(')
			skip_comment(s);
		else if (*s->at == ' ')
			s->at++;
		else
			return;
	}
}

/* A quoted string; its content goes unquoted to `plain` when that is given. */
static bool take_quoted(struct scan *s, struct buf *plain)
{
	for (s->at++; s->at < s->end && *s->at != '"'; s->at++) {
		if (*s->at == '\\' && ++s->at == s->end) break;
		if (plain) buf_add(plain, s->at, 1);
	}
	if (s->at == s->end) return wrong(s, "a quote is not closed");
	s->at++;
	return true;
}

/* Whether an angle bracket opens somewhere outside of quotes and comments. */
static bool has_angle(struct scan s)
{
	while (s.at < s.end && !s.why) {
		if (*s.at == '"')
			take_quoted(&s, NULL);
		else if (*s.at == '(')
			skip_comment(&s);
		else if (*s.at == '<')
			return true;
		else
			s.at++;
	}
	return false;
}

static const char *misplaced(char c)
{
	switch (c) {
	case ',':
	case ';': return "one address only, not a list (a name with a comma or semicolon wants quotes)";
	case ':': return "groups are not supported (a name with a colon wants quotes)";
	case '@': return "an @ too many (a name with an @ wants quotes)";
	case '<':
	case '>': return "a bracket in the wrong place";
	default: return "a character in the wrong place (a name with special characters wants quotes)";
	}
}

/* phrase, up to the opening bracket: words, their quotes undone, one space between. Dots may stand unquoted
 * (obs-phrase: "John Q. Public"). */
static bool take_name(struct scan *s, struct buf *name)
{
	for (skip_cfws(s); !s->why && s->at < s->end && *s->at != '<'; skip_cfws(s)) {
		if (name->len > 0) buf_puts(name, " ");
		if (*s->at == '"') {
			take_quoted(s, name);
			continue;
		}
		if (!is_atext(*s->at) && *s->at != '.') return wrong(s, misplaced(*s->at));
		for (; s->at < s->end && (is_atext(*s->at) || *s->at == '.'); s->at++)
			buf_add(name, s->at, 1);
	}
	if (!s->why && name->len > JOB_NAME_MAX) return wrong(s, "the display name is longer than 256 bytes");
	return !s->why;
}

static bool take_local(struct scan *s, struct str *local)
{
	const char *begin = s->at;

	if (s->at < s->end && *s->at == '"') {
		if (!take_quoted(s, NULL)) return false;
	} else {
		for (; s->at < s->end && (is_atext(*s->at) || *s->at == '.'); s->at++)
			if (*s->at == '.' && (s->at == begin || s->at[-1] == '.'))
				return wrong(s, "a dot at the beginning, or two in a row, before the @");
		if (s->at > begin && s->at[-1] == '.') return wrong(s, "a dot right before the @");
	}
	*local = (struct str){begin, (size_t)(s->at - begin)};
	if (local->len > JOB_LOCAL_MAX) return wrong(s, "the part before the @ is longer than 64 bytes");
	return true;
}

/* RFC 5321 section 4.1.3: "[192.0.2.1]", "[IPv6:2001:db8::1]" */
static bool take_literal(struct scan *s, struct buf *addr)
{
	const char *begin = s->at, *close = memchr(s->at, ']', (size_t)(s->end - s->at));
	enum hal_family family = HAL_FAMILY_IP4;
	struct hal_addr ip;
	char text[64];
	struct str in;

	if (!close) return wrong(s, "an address in brackets is not closed");
	in = (struct str){begin + 1, (size_t)(close - begin - 1)};
	if (str_starts_nocase(in, STR("IPv6:"))) {
		family = HAL_FAMILY_IP6;
		in = (struct str){in.ptr + 5, in.len - 5};
	}
	if (str_copy(text, sizeof(text), in) < 0 || strchr(text, '%') || hal_addr_parse(text, 0, &ip) < 0 ||
	    ip.family != family)
		return wrong(s, "not an IP address in the brackets");
	s->at = close + 1;
	buf_add(addr, begin, (size_t)(s->at - begin));
	return true;
}

static bool take_domain(struct scan *s, struct buf *addr)
{
	const char *begin = s->at;
	struct str domain;
	size_t digits = 0;

	if (s->at < s->end && *s->at == '[') return take_literal(s, addr);
	while (s->at < s->end && (is_atext(*s->at) || *s->at == '.') && !strchr("!#$%&'*+/=?^_`{|}~", *s->at))
		s->at++;
	domain = (struct str){begin, (size_t)(s->at - begin)};
	if (s->at < s->end && !strchr(" (>", *s->at))
		return wrong(s, strchr("@,;:<", *s->at) ? misplaced(*s->at)
							: "a character that a domain cannot have");
	if (domain.len == 0) return wrong(s, "nothing behind the @");
	if (job_domain_to_ascii(domain, addr, &s->why) < 0) return false;
	for (size_t i = domain.len; i > 0 && domain.ptr[i - 1] >= '0' && domain.ptr[i - 1] <= '9'; i--)
		digits++;
	if (digits > 0 && (digits == domain.len || domain.ptr[domain.len - digits - 1] == '.'))
		return wrong(s, "the domain ends in a number (an IP address wants brackets)");
	return true;
}

/* What is wrong with a local part that no @ follows: `s` stands behind it. */
static const char *without_domain(const struct scan *s)
{
	const char *sign = memchr(s->at, '@', (size_t)(s->end - s->at));

	if (s->at == s->end || !sign || strchr(",;:", *s->at))
		return s->at < s->end && !is_atext(*s->at) ? misplaced(*s->at) : "no @ in it";
	return sign == s->at ? "a space or comment before the @"
			     : "a name before the address wants it in brackets: <a@b>";
}

static bool is_bare_name(struct str local)
{
	for (size_t i = 0; i < local.len; i++)
		if ((unsigned char)local.ptr[i] >= 0x80 || local.ptr[i] == '"') return false;
	return true;
}

/* addr-spec, or a bare local name; what follows must be the end or the closing bracket. */
static bool take_addr(struct scan *s, bool angle, struct buf *addr, size_t *local_len)
{
	struct str local;

	skip_cfws(s);
	if (s->why || !take_local(s, &local)) return false;
	if (local.len == 0)
		return wrong(s, s->at == s->end || *s->at == '>' ? "empty"
				: *s->at == '@'                  ? "nothing before the @"
								 : misplaced(*s->at));
	buf_str(addr, local);
	*local_len = local.len;
	if (s->at < s->end && *s->at == '@') {
		s->at++;
		buf_puts(addr, "@");
		if (!take_domain(s, addr)) return false;
		if (addr->len > JOB_ADDRESS_MAX) return wrong(s, "longer than 254 bytes");
	}
	skip_cfws(s);
	if (s->why) return false;
	if (angle && s->at == s->end) return wrong(s, "a bracket is not closed");
	if (s->at < s->end && !(angle && *s->at == '>'))
		return wrong(s, *local_len < addr->len ? misplaced(*s->at) : without_domain(s));
	if (*local_len == addr->len && !is_bare_name(local)) return wrong(s, "no @ in it");
	return true;
}

const char *job_text_unfit(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c == '\r' || c == '\n') return "a line break in it";
		if (c == '\0') return "a NUL in it";
		if (c < 0x20 || c == 0x7f) return "a control character in it";
	}
	return str_is_utf8(text) ? NULL : "not UTF-8";
}

static const char *unfit(struct str text)
{
	const char *why = job_text_unfit(text);

	return why ? why : text.len > TEXT_BYTES_MAX ? "too long" : NULL;
}

/* All of it, into the caller's buffers. */
static const char *parse(struct str text, struct buf *name, struct buf *addr, size_t *local_len)
{
	struct scan s = {.at = text.ptr, .end = text.ptr + text.len, .why = unfit(text)};
	bool angle;

	if (s.why) return s.why;
	angle = has_angle(s);
	if (angle) {
		if (!take_name(&s, name)) return s.why;
		s.at++;
	}
	if (!take_addr(&s, angle, addr, local_len)) return s.why;
	if (angle) {
		s.at++;
		skip_cfws(&s);
		if (s.at < s.end) wrong(&s, misplaced(*s.at));
	} else if (s.comment.len > 0) {
		/* "a@b (John Doe)": the older way to give a name */
		s.comment = str_trim(s.comment);
		for (size_t i = 0; i < s.comment.len; i++) {
			if (s.comment.ptr[i] == '\\' && i + 1 < s.comment.len) i++;
			buf_add(name, s.comment.ptr + i, 1);
		}
		if (name->len > JOB_NAME_MAX) wrong(&s, "the display name is longer than 256 bytes");
	}
	return s.why;
}

int job_address_parse(struct arena *a, struct str text, struct job_address *out, const char **why)
{
	char name_bytes[TEXT_BYTES_MAX + 2], addr_bytes[TEXT_BYTES_MAX * 4];
	struct buf name, addr;
	size_t local_len = 0;
	const char *reason;

	buf_init(&name, name_bytes, sizeof(name_bytes));
	buf_init(&addr, addr_bytes, sizeof(addr_bytes));
	*out = (struct job_address){0};
	reason = parse(text, &name, &addr, &local_len);
	if (why) *why = reason;
	if (reason) return ERR_INVALID;
	out->text = text;
	out->name = arena_str(a, buf_view(&name));
	out->addr = arena_str(a, buf_view(&addr));
	if (!out->name.ptr || !out->addr.ptr) {
		if (why) *why = "too long for the memory there is";
		return ERR_TOO_LARGE;
	}
	if (local_len < out->addr.len)
		out->domain = (struct str){out->addr.ptr + local_len + 1, out->addr.len - local_len - 1};
	return 0;
}

int job_phrase_parse(struct arena *a, struct str text, struct str *out, const char **why)
{
	struct scan s = {.at = text.ptr, .end = text.ptr + text.len, .why = unfit(text)};
	char bytes[TEXT_BYTES_MAX + 2];
	struct buf b;

	buf_init(&b, bytes, sizeof(bytes));
	if (!s.why && take_name(&s, &b) && s.at < s.end) wrong(&s, misplaced(*s.at));
	if (!s.why && b.len == 0) s.why = "empty";
	*why = s.why;
	if (s.why) return ERR_INVALID;
	*out = arena_str(a, buf_view(&b));
	if (out->ptr) return 0;
	*why = "too long for the memory there is";
	return ERR_TOO_LARGE;
}
