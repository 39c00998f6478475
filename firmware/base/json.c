#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "base/check.h"
#include "base/err.h"

_Static_assert(JSON_PADDING >= YYJSON_PADDING_SIZE, "the parser reads further behind the text");

static const yyjson_val *val(const struct json *v)
{
	return (const yyjson_val *)(const void *)v;
}

static const struct json *json(const yyjson_val *v)
{
	return (const struct json *)(const void *)v;
}

/* yyjson's accessors take pointers to non-const but change nothing. */
static yyjson_val *mut(const struct json *v)
{
	return (yyjson_val *)(uintptr_t)v;
}

struct scan {
	size_t values; /* at most so many values and keys are in the text, or in any beginning of it */
	size_t depth_max;
	size_t too_deep_at;
};

/* Every value but the root stands behind one of these characters: counting them bounds the values, also of a
 * text that turns out to be malformed, because up to the first error parser and scan agree on what is a
 * string. */
static void scan_text(const char *text, size_t len, struct scan *out)
{
	size_t depth = 0;
	bool quoted = false;

	*out = (struct scan){.values = 1};
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '"')
			quoted = !quoted;
		else if (quoted && c == '\\')
			i++;
		if (quoted) continue;
		if (c == '[' || c == '{' || c == ',' || c == ':') out->values++;
		if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && depth > 0)
			depth--;
		if (depth > out->depth_max) {
			out->depth_max = depth;
			if (depth == JSON_DEPTH_MAX + 1) out->too_deep_at = i;
		}
	}
}

/* yyjson asks for one block, sized by a guess from the length of the text (a body of 1 MB in one string would
 * ask for 2.7 MB), grows it by halves, and writes values into it one behind the other. The scan knows what it
 * can need at most: it gets a block of that size, whatever it asks for, and the same again when it grows. */
static void *pool_malloc(void *block, size_t bytes)
{
	(void)bytes;
	return block;
}

static void *pool_realloc(void *block, void *ptr, size_t old_bytes, size_t bytes)
{
	(void)old_bytes;
	(void)bytes;
	CHECK(ptr == block);
	return ptr;
}

static void pool_free(void *block, void *ptr)
{
	(void)block;
	(void)ptr;
}

static int fail(struct json_error *error, size_t at, const char *why, int rc)
{
	*error = (struct json_error){.at = at, .why = why};
	return rc;
}

int json_parse(struct arena *a, char *text, size_t len, const struct json **root, struct json_error *error)
{
	/* Numbers stay text: exact when written back, and no float conversion for values that are never
	 * looked at. */
	const yyjson_read_flag flags = YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW;
	size_t used = a->used, spare = sizeof(yyjson_doc) / sizeof(yyjson_val) + 3;
	yyjson_alc pool = {pool_malloc, pool_realloc, pool_free, NULL};
	yyjson_read_err e = {0};
	struct scan scan;
	yyjson_doc *doc;

	scan_text(text, len, &scan);
	if (scan.depth_max > JSON_DEPTH_MAX)
		return fail(error, scan.too_deep_at, "nested too deeply", ERR_TOO_LARGE);
	pool.ctx = arena_take(a, (scan.values + spare) * sizeof(yyjson_val));
	if (!pool.ctx) {
		fail(error, 0, "too many values for the memory there is", ERR_TOO_LARGE);
		error->memory = true;
		return ERR_TOO_LARGE;
	}
	memset(text + len, 0, JSON_PADDING);
	doc = yyjson_read_opts(text, len, flags, &pool, &e);
	if (!doc) {
		a->used = used;
		return fail(error, e.pos, len == 0 ? "empty" : e.msg, ERR_SYNTAX);
	}
	CHECK(yyjson_doc_get_val_count(doc) <= scan.values);
	*root = json(yyjson_doc_get_root(doc));
	return 0;
}

enum json_type json_type(const struct json *v)
{
	switch (yyjson_get_type(mut(v))) {
	case YYJSON_TYPE_NULL: return JSON_NULL;
	case YYJSON_TYPE_BOOL: return JSON_BOOL;
	case YYJSON_TYPE_RAW: return JSON_NUMBER;
	case YYJSON_TYPE_STR: return JSON_STRING;
	case YYJSON_TYPE_ARR: return JSON_ARRAY;
	default: CHECK(yyjson_is_obj(mut(v))); return JSON_OBJECT;
	}
}

bool json_bool(const struct json *v)
{
	return yyjson_is_true(mut(v));
}

/* Of strings and numbers: both are kept as text. */
static struct str raw(const struct json *v)
{
	return (struct str){val(v)->uni.str, (size_t)(val(v)->tag >> YYJSON_TAG_BIT)};
}

struct str json_str(const struct json *v)
{
	return json_type(v) == JSON_STRING ? raw(v) : (struct str){NULL, 0};
}

bool json_int(const struct json *v, int64_t *out)
{
	const uint64_t max = INT64_MAX;
	struct str s;
	bool minus;
	uint64_t u;

	if (json_type(v) != JSON_NUMBER) return false;
	s = raw(v);
	minus = *s.ptr == '-';
	if (minus) {
		s.ptr++;
		s.len--;
	}
	if (str_to_u64(s, max + minus, &u) < 0) return false;
	*out = minus && u > max ? INT64_MIN : minus ? -(int64_t)u : (int64_t)u;
	return true;
}

double json_number(const struct json *v)
{
	return json_type(v) == JSON_NUMBER ? strtod(raw(v).ptr, NULL) : 0;
}

void json_iter_init(struct json_iter *it, const struct json *container)
{
	const yyjson_val *c = val(container);

	it->left = json_count(container);
	it->object = yyjson_is_obj(mut(container));
	it->next = it->left > 0 ? c + 1 : NULL;
}

bool json_iter_next(struct json_iter *it, struct str *key, const struct json **value)
{
	yyjson_val *at = (yyjson_val *)(uintptr_t)it->next;

	if (it->left == 0) return false;
	if (it->object) {
		if (key) *key = raw(json(at));
		at++;
	}
	*value = json(at);
	it->left--;
	it->next = unsafe_yyjson_get_next(at);
	return true;
}

size_t json_count(const struct json *container)
{
	return yyjson_is_ctn(mut(container)) ? (size_t)(val(container)->tag >> YYJSON_TAG_BIT) : 0;
}

const struct json *json_get(const struct json *object, const char *name)
{
	return json(yyjson_obj_get(mut(object), name));
}

static void write_container(struct buf *b, const struct json *v, bool object)
{
	struct json_iter it;
	const struct json *member;
	struct str key = {NULL, 0};
	const char *comma = "";

	buf_puts(b, object ? "{" : "[");
	json_iter_init(&it, v);
	while (!b->cut && json_iter_next(&it, &key, &member)) {
		buf_puts(b, comma);
		comma = ",";
		if (object) {
			buf_puts(b, "\"");
			buf_json(b, key);
			buf_puts(b, "\":");
		}
		json_write(b, member); /* at most JSON_DEPTH_MAX deep */
	}
	buf_puts(b, object ? "}" : "]");
}

void json_write(struct buf *b, const struct json *v)
{
	switch (json_type(v)) {
	case JSON_NULL: buf_puts(b, "null"); break;
	case JSON_BOOL: buf_puts(b, json_bool(v) ? "true" : "false"); break;
	case JSON_NUMBER: buf_str(b, raw(v)); break;
	case JSON_STRING:
		buf_puts(b, "\"");
		buf_json(b, json_str(v));
		buf_puts(b, "\"");
		break;
	case JSON_ARRAY:
	case JSON_OBJECT: write_container(b, v, json_type(v) == JSON_OBJECT); break;
	}
}
