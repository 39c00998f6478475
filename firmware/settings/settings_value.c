#include <limits.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/timefmt.h"
#include "settings/room.h"

/* All readers of one kind of value: text in, member out, the reason into why. */
#define SHOWN_MAX 80 /* bytes of a bad value that a message repeats */

static int bad(struct buf *why, struct str text, const char *reason)
{
	buf_puts(why, "\"");
	buf_escaped(why, text, SHOWN_MAX);
	buf_printf(why, "%s\" %s", text.len > SHOWN_MAX ? "..." : "", reason);
	return ERR_INVALID;
}

static int no_memory(struct buf *why)
{
	buf_puts(why, "there is no room for it: the values of this configuration are too long in all");
	return ERR_NO_MEMORY;
}

/* A number, a duration or a size, as people write it. */
static void put_number(struct buf *b, enum kind kind, int64_t n)
{
	if (kind == KIND_DURATION || kind == KIND_DURATIONS || kind == KIND_FIRST)
		timefmt_duration(b, n);
	else if (kind == KIND_SIZE)
		timefmt_size(b, n);
	else
		buf_printf(b, "%lld", (long long)n);
}

static int check_range(const struct key_row *k, struct str text, int64_t n, struct buf *why)
{
	if (n >= k->min && n <= k->max) return 0;
	bad(why, text, "is not between ");
	put_number(why, k->kind, k->min);
	buf_puts(why, " and ");
	put_number(why, k->kind, k->max);
	return ERR_INVALID;
}

/* The next word of a list by comma or white space; false at its end. */
static bool next_word(struct str *rest, struct str *word)
{
	static const char between[] = ", \t";
	size_t n = 0;

	while (rest->len > 0 && strchr(between, *rest->ptr)) {
		rest->ptr++;
		rest->len--;
	}
	while (n < rest->len && !strchr(between, rest->ptr[n]))
		n++;
	*word = (struct str){rest->ptr, n};
	rest->ptr += n;
	rest->len -= n;
	return n > 0;
}

/* ---- numbers and choices ---- */

static int parse_bool(struct str text, bool *out, struct buf *why)
{
	static const char *const names[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (str_eq_nocase(text, str_from(names[i]))) {
			*out = i % 2;
			return 0;
		}
	}
	return bad(why, text, "is neither yes nor no");
}

static int parse_int(const struct key_row *k, struct str text, int *out, struct buf *why)
{
	struct str digits = text;
	uint64_t n;
	int rc;

	if (k->kind == KIND_PERCENT && digits.len > 0 && digits.ptr[digits.len - 1] == '%')
		digits = str_trim((struct str){digits.ptr, digits.len - 1});
	rc = str_to_u64(digits, INT_MAX, &n);
	if (rc == ERR_INVALID)
		return bad(why, text, k->kind == KIND_PERCENT ? "is not a percentage" : "is not a number");
	rc = check_range(k, text, rc < 0 ? INT64_MAX : (int64_t)n, why);
	if (rc == 0) *out = (int)n;
	return rc;
}

static int parse_amount(const struct key_row *k, struct str text, int64_t *out, struct buf *why)
{
	bool size = k->kind == KIND_SIZE;
	int64_t n;
	int rc = size ? timefmt_parse_size(text, &n) : timefmt_parse_duration(text, &n);

	if (rc < 0)
		return bad(why, text,
			   size ? "is not a size such as 64K, 8M or 1G"
				: "is not a duration such as 5s, 10m, 2h or 30d");
	rc = check_range(k, text, n, why);
	if (rc == 0) *out = n;
	return rc;
}

static int parse_first(const struct key_row *k, struct str text, int64_t *out, struct buf *why)
{
	if (str_eq(text, STR("all"))) {
		*out = SETTINGS_FIRST_ALL;
		return 0;
	}
	if (str_eq(text, STR("new"))) {
		*out = SETTINGS_FIRST_NEW;
		return 0;
	}
	if (timefmt_parse_duration(text, out) < 0)
		return bad(why, text, "is none of all, new and a duration such as 30d");
	return check_range(k, text, *out, why);
}

static int parse_time(struct str text, int64_t *out, struct buf *why)
{
	*out = 0;
	if (text.len > 0 && timefmt_parse_rfc3339(text, out) < 0)
		return bad(why, text, "is not a time such as 2025-09-19T10:30:00Z");
	return 0;
}

static int parse_enum(const struct key_row *k, struct str text, void *member, struct buf *why)
{
	/* An enum whose constants are all >= 0 may be unsigned: both have the size and the bits of an int. */
	_Static_assert(sizeof(enum settings_tls) == sizeof(int), "enums are not ints here");

	for (int i = 0; k->values[i]; i++) {
		if (str_eq_nocase(text, str_from(k->values[i]))) {
			memcpy(member, &i, sizeof(i));
			return 0;
		}
	}
	bad(why, text, "is none of ");
	for (int i = 0; k->values[i]; i++)
		buf_printf(why, "%s%s", i ? ", " : "", k->values[i]);
	return ERR_INVALID;
}

static int parse_durations(const struct key_row *k, struct str text, struct settings_durations *out,
			   struct buf *why)
{
	struct str rest = text, word;

	out->count = 0;
	while (next_word(&rest, &word)) {
		if (out->count == LIMIT_retry_delays) {
			bad(why, text, "has too many durations: at most ");
			buf_printf(why, "%d", LIMIT_retry_delays);
			return ERR_INVALID;
		}
		int rc = parse_amount(k, word, &out->ms[out->count], why);

		if (rc < 0) return rc;
		out->count++;
	}
	return out->count > 0 ? 0 : bad(why, text, "has no duration");
}

static int parse_rate(const struct key_row *k, struct str text, struct settings_rate *out, struct buf *why)
{
	const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
	size_t n = slash ? (size_t)(slash - text.ptr) : 0;
	char unit[16] = "1";
	struct buf b;
	uint64_t count;

	*out = (struct settings_rate){0, 0};
	if (text.len == 0) return 0;
	if (!slash || str_to_u64((struct str){text.ptr, n}, (uint64_t)k->max, &count) < 0 || count == 0)
		return bad(why, text, "is not a rate such as 30/1m");
	/* "30/m" means "30/1m". */
	buf_init(&b, unit, sizeof(unit));
	if (n + 1 < text.len && (text.ptr[n + 1] < '0' || text.ptr[n + 1] > '9')) buf_puts(&b, "1");
	buf_add(&b, slash + 1, text.len - n - 1);
	if (b.cut || timefmt_parse_duration(buf_view(&b), &out->per_ms) < 0 || out->per_ms == 0)
		return bad(why, text, "is not a rate such as 30/1m");
	out->count = (unsigned)count;
	return 0;
}

/* ---- texts ---- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters, digits, hyphens and underscores in labels of 1 to 63 (RFC 1123 section 2.1); or an IP address. */
bool settings_is_host(struct str s)
{
	char text[LIMIT_host + 1];
	struct hal_addr addr;
	size_t label = 0;

	if (str_copy(text, sizeof(text), s) < 0 || s.len == 0) return false;
	if (hal_addr_parse(text, 0, &addr) == 0) return true;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '.') {
			if (label == 0) return false;
			label = 0;
		} else if (!is_alnum(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '_') {
			return false;
		} else if (++label > 63) {
			return false;
		}
	}
	return true; /* a dot at the end is fine: a name from the root */
}

bool settings_host_is_loopback(const char *host)
{
	struct hal_addr addr;

	if (str_eq_nocase(str_from(host), STR("localhost"))) return true;
	return hal_addr_parse(host, 0, &addr) == 0 && hal_addr_is_loopback(&addr);
}

static struct str without_brackets(struct str s)
{
	if (s.len > 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']')
		return (struct str){s.ptr + 1, s.len - 2};
	return s;
}

static const char *check_url(struct str s)
{
	static const char problem[] = "is not an address such as https://host/path";
	struct str rest;
	size_t n = 0;

	if (str_starts_nocase(s, STR("https://")))
		rest = (struct str){s.ptr + 8, s.len - 8};
	else if (str_starts_nocase(s, STR("http://")))
		rest = (struct str){s.ptr + 7, s.len - 7};
	else
		return problem;
	while (n < rest.len && !strchr("/?#", rest.ptr[n]))
		n++;
	if (n == 0 || memchr(s.ptr, ' ', s.len) || memchr(s.ptr, '"', s.len)) return problem;
	return NULL;
}

/* Coarse: what is surely no address. The mail room reads it for good when it is used. */
static const char *check_address(struct str s)
{
	static const char problem[] = "is not a mail address";
	const char *open = NULL, *at = NULL;

	if (s.len > 0 && s.ptr[s.len - 1] == '>') {
		for (size_t i = 0; i < s.len; i++)
			open = s.ptr[i] == '<' ? s.ptr + i : open;
		if (!open) return problem;
		s = (struct str){open + 1, (size_t)(s.ptr + s.len - 1 - open - 1)};
	}
	for (size_t i = 0; i < s.len; i++) {
		if (strchr(" \t<>,;", s.ptr[i])) return problem;
		at = s.ptr[i] == '@' ? s.ptr + i : at;
	}
	if (!at || at == s.ptr || s.len > LIMIT_address) return problem;
	return settings_is_host((struct str){at + 1, (size_t)(s.ptr + s.len - at - 1)}) ? NULL : problem;
}

static const char *check_text(enum kind kind, struct str s)
{
	if (s.len == 0) return NULL;
	switch (kind) {
	case KIND_HOST: return settings_is_host(s) ? NULL : "is neither a host name nor an IP address";
	case KIND_URL: return check_url(s);
	case KIND_ADDRESS: return check_address(s);
	default: return NULL;
	}
}

static int parse_text(struct arena *a, const struct key_row *k, struct str text, const char **out,
		      struct buf *why)
{
	const char *problem;
	struct str copy;

	if (k->kind == KIND_HOST) text = without_brackets(text);
	if ((int64_t)text.len < k->min) {
		buf_puts(why, "needs a value");
		return ERR_INVALID;
	}
	if ((int64_t)text.len > k->max) {
		buf_printf(why, "is longer than %lld bytes", (long long)k->max);
		return ERR_INVALID;
	}
	/* The file was checked line by line; the environment was not. */
	if (str_has_ctl(text) || !str_is_utf8(text))
		return bad(why, text, "has control characters in it or is not UTF-8");
	problem = check_text(k->kind, text);
	if (problem) return bad(why, text, problem);
	copy = arena_str(a, text);
	if (!copy.ptr) return no_memory(why);
	*out = copy.ptr;
	return 0;
}

static int parse_words(struct arena *a, const struct key_row *k, struct str text, struct settings_words *out,
		       struct buf *why)
{
	const char **words;
	struct str rest = text, word;
	size_t count = 0;

	while (next_word(&rest, &word)) {
		const char *problem = k->kind == KIND_ADDRESSES ? check_address(word) : NULL;

		if (problem) return bad(why, word, problem);
		count++;
	}
	words = arena_take(a, count * sizeof(*words));
	if (!words) return no_memory(why);
	rest = text;
	for (size_t i = 0; i < count && next_word(&rest, &word); i++) {
		words[i] = arena_str(a, word).ptr;
		if (!words[i]) return no_memory(why);
	}
	*out = (struct settings_words){count, words};
	return 0;
}

static int parse_listen(struct str text, struct settings_listen *out, struct buf *why)
{
	struct str rest = text, word;

	out->count = 0;
	while (next_word(&rest, &word)) {
		struct str host = word;
		char name[64];
		uint64_t port;

		if (out->count == LIMIT_listen) {
			bad(why, text, "has too many addresses: at most ");
			buf_printf(why, "%d", LIMIT_listen);
			return ERR_INVALID;
		}
		while (host.len > 0 && host.ptr[host.len - 1] != ':')
			host.len--;
		if (host.len < 2 ||
		    str_to_u64((struct str){word.ptr + host.len, word.len - host.len}, 65535, &port) < 0 ||
		    port == 0)
			return bad(why, word,
				   "is not an address with a port such as 127.0.0.1:8000 or [::1]:8000");
		host.len--;
		if (str_eq_nocase(host, STR("localhost"))) host = STR("127.0.0.1");
		/* An IP6 address needs its brackets: without them nobody can tell where the port begins. */
		if ((memchr(host.ptr, ':', host.len) && *host.ptr != '[') ||
		    str_copy(name, sizeof(name), without_brackets(host)) < 0 ||
		    hal_addr_parse(name, (uint16_t)port, &out->addr[out->count]) < 0)
			return bad(why, word,
				   "is not an address with a port such as 127.0.0.1:8000 or [::1]:8000");
		out->count++;
	}
	return 0;
}

static int parse_secret(struct arena *a, const struct key_row *k, struct str text, struct secret *out,
			struct buf *why)
{
	struct str copy;

	if ((int64_t)text.len > k->max) {
		buf_printf(why, "is longer than %lld bytes", (long long)k->max);
		return ERR_INVALID;
	}
	if (str_has_ctl(text) || !str_is_utf8(text)) {
		buf_puts(why, "has control characters in it or is not UTF-8");
		return ERR_INVALID;
	}
	copy = arena_str(a, text);
	if (!copy.ptr) return no_memory(why);
	*out = settings_secret_of(copy);
	return 0;
}

int settings_value_parse(struct arena *a, const struct key_row *k, struct str text, void *member,
			 struct buf *why)
{
	switch (k->kind) {
	case KIND_BOOL: return parse_bool(text, member, why);
	case KIND_INT:
	case KIND_PORT:
	case KIND_PERCENT: return parse_int(k, text, member, why);
	case KIND_SIZE:
	case KIND_DURATION: return parse_amount(k, text, member, why);
	case KIND_FIRST: return parse_first(k, text, member, why);
	case KIND_TIME: return parse_time(text, member, why);
	case KIND_ENUM: return parse_enum(k, text, member, why);
	case KIND_DURATIONS: return parse_durations(k, text, member, why);
	case KIND_RATE: return parse_rate(k, text, member, why);
	case KIND_LISTEN: return parse_listen(text, member, why);
	case KIND_WORDS:
	case KIND_ADDRESSES: return parse_words(a, k, text, member, why);
	case KIND_SECRET: return parse_secret(a, k, text, member, why);
	default: return parse_text(a, k, text, member, why);
	}
}

bool settings_value_empty(const struct key_row *k, const void *member)
{
	switch (k->kind) {
	case KIND_STRING:
	case KIND_PATH:
	case KIND_FILE:
	case KIND_KEYFILE:
	case KIND_HOST:
	case KIND_URL:
	case KIND_ADDRESS: return **(const char *const *)member == '\0';
	case KIND_SECRET: return settings_secret(member).len == 0;
	case KIND_WORDS:
	case KIND_ADDRESSES: return ((const struct settings_words *)member)->count == 0;
	case KIND_LISTEN: return ((const struct settings_listen *)member)->count == 0;
	case KIND_RATE: return ((const struct settings_rate *)member)->count == 0;
	default: return false;
	}
}

/* ---- back to text ---- */

/* What stands before the @ and behind the ? of a web address is often a secret. */
static void format_url(struct buf *b, const char *url)
{
	struct str s = str_from(url);
	const char *query = s.len > 0 ? memchr(s.ptr, '?', s.len) : NULL;
	const char *scheme = strstr(url, "://");
	const char *at = scheme ? memchr(scheme + 3, '@', s.len - (size_t)(scheme + 3 - url)) : NULL;

	if (query && (!at || query > at)) s.len = (size_t)(query - s.ptr);
	if (at) {
		buf_add(b, url, (size_t)(scheme + 3 - url));
		buf_puts(b, "...");
		s = (struct str){at, s.len - (size_t)(at - url)};
	}
	buf_str(b, s);
	if (query) buf_puts(b, "?...");
}

static void format_listen(struct buf *b, const struct settings_listen *listen)
{
	char text[64];

	for (size_t i = 0; i < listen->count; i++)
		buf_printf(b, "%s%s", i ? " " : "", hal_addr_text(&listen->addr[i], text, sizeof(text)));
}

static void format_list(struct buf *b, const struct key_row *k, const void *member)
{
	const struct settings_durations *d = member;
	const struct settings_words *w = member;

	if (k->kind != KIND_DURATIONS) {
		for (size_t i = 0; i < w->count; i++)
			buf_printf(b, "%s%s", i ? " " : "", w->word[i]);
		return;
	}
	for (size_t i = 0; i < d->count; i++) {
		buf_puts(b, i ? "," : "");
		timefmt_duration(b, d->ms[i]);
	}
}

static void format_rate(struct buf *b, const struct settings_rate *rate)
{
	if (rate->count == 0) return;
	buf_printf(b, "%u/", rate->count);
	timefmt_duration(b, rate->per_ms);
}

static void format_first(struct buf *b, int64_t first)
{
	if (first == SETTINGS_FIRST_ALL)
		buf_puts(b, "all");
	else if (first == SETTINGS_FIRST_NEW)
		buf_puts(b, "new");
	else
		timefmt_duration(b, first);
}

void settings_value_format(struct buf *b, const struct key_row *k, const void *member)
{
	int choice;

	switch (k->kind) {
	case KIND_BOOL: buf_puts(b, *(const bool *)member ? "yes" : "no"); break;
	case KIND_INT:
	case KIND_PORT:
	case KIND_PERCENT:
		buf_printf(b, "%d%s", *(const int *)member, k->kind == KIND_PERCENT ? "%" : "");
		break;
	case KIND_SIZE:
	case KIND_DURATION: put_number(b, k->kind, *(const int64_t *)member); break;
	case KIND_FIRST: format_first(b, *(const int64_t *)member); break;
	case KIND_TIME:
		if (*(const int64_t *)member > 0) timefmt_rfc3339(b, *(const int64_t *)member, true);
		break;
	case KIND_ENUM:
		memcpy(&choice, member, sizeof(choice));
		buf_puts(b, k->values[choice]);
		break;
	case KIND_DURATIONS:
	case KIND_WORDS:
	case KIND_ADDRESSES: format_list(b, k, member); break;
	case KIND_RATE: format_rate(b, member); break;
	case KIND_LISTEN: format_listen(b, member); break;
	case KIND_URL: format_url(b, *(const char *const *)member); break;
	case KIND_SECRET: buf_puts(b, settings_value_empty(k, member) ? "" : "(set)"); break;
	default: buf_puts(b, *(const char *const *)member); break;
	}
}
