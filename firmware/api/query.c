/* The query of a request: strict, because what is quietly misread lists or purges the wrong jobs. */
#include <string.h>

#include "api/routes.h"
#include "base/err.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

/* Decodes one value into the arena. ptr NULL: it does not decode, holds NUL or is not UTF-8, or there is no
 * memory. */
static struct str decode(struct api_request *r, struct str in)
{
	char *out = arena_take(&r->arena, in.len + 1);
	struct str none = {0}, s = {out, 0};

	if (!out) return none;
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];

		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			int high = i + 2 < in.len ? hex(in.ptr[i + 1]) : -1;
			int low = i + 2 < in.len ? hex(in.ptr[i + 2]) : -1;

			if (high < 0 || low < 0) return none;
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (c == '\0') return none;
		out[s.len++] = c;
	}
	return str_is_utf8(s) ? s : none;
}

/* Takes one "name=value" off the query. */
static bool next_pair(struct str *query, struct str *name, struct str *value)
{
	const char *end, *eq;
	struct str pair = *query;

	if (query->len == 0) return false;
	end = memchr(query->ptr, '&', query->len);
	if (end) {
		pair.len = (size_t)(end - query->ptr);
		query->len -= pair.len + 1;
		query->ptr = end + 1;
	} else {
		query->len = 0;
	}
	eq = pair.len > 0 ? memchr(pair.ptr, '=', pair.len) : NULL;
	*name = pair;
	*value = (struct str){pair.ptr + pair.len, 0};
	if (eq) {
		name->len = (size_t)(eq - pair.ptr);
		*value = (struct str){eq + 1, pair.len - name->len - 1};
	}
	return true;
}

struct str api_query_get(struct api_request *r, const char *name)
{
	struct str query = r->query, key, value, none = {0};

	while (next_pair(&query, &key, &value))
		if (str_eq(key, str_from(name))) return decode(r, value);
	return none;
}

static int refuse(struct api_request *r, const char *why, struct str name)
{
	char text[128];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	buf_puts(&b, why);
	buf_escaped(&b, name, 64);
	api_refuse(r, 400, text);
	return -1;
}

int api_query_check(struct api_request *r, const char *const *names)
{
	struct str query = r->query, key, value;
	unsigned seen = 0;

	while (next_pair(&query, &key, &value)) {
		unsigned n = 0;

		while (names[n] && !str_eq(key, str_from(names[n])))
			n++;
		if (!names[n]) return refuse(r, "unknown query parameter: ", key);
		if (seen & 1u << n) return refuse(r, "query parameter given twice: ", key);
		seen |= 1u << n;
		if (!decode(r, value).ptr) return refuse(r, "query parameter does not decode: ", key);
	}
	return 0;
}

int api_query_number(struct api_request *r, const char *name, uint64_t max, uint64_t *out)
{
	struct str text = api_query_get(r, name);

	if (!text.ptr || (text.len > 0 && str_to_u64(text, max, out) == 0)) return 0;
	return refuse(r, "not a number in range: ", str_from(name));
}
