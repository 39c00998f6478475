/* base/json: strict JSON reading (RFC 8259) in memory that the caller gives; the sole includer of yyjson.
 *
 * In-situ: the text is changed while it is parsed, and strings point into it, at the place where they stood.
 * So json_str(v).ptr - text is the offset of the string's first byte in the original text; that is what lets
 * a body be streamed later from the stored original. Duplicate members: the last wins nowhere; a duplicate is
 * an error of the reader's caller (json_get_unique). Depth is limited before parsing. Not shared between
 * threads.
 */
#ifndef POSTERN_BASE_JSON_H
#define POSTERN_BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"

#define JSON_DEPTH_MAX 32

struct json; /* a value; borrowed from the arena it was parsed into */

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_error {
	size_t at;       /* byte offset in the text */
	const char *why; /* static text */
	bool memory;     /* ERR_TOO_LARGE, for the arena: it may pass with a larger one */
};

/* Takes 16 bytes of arena for each value and each member name in the text, and 128 more, whatever the text's
 * length: a long body is one value. At worst ("[0,0,0...") that is 8 times len; when the arena is too small
 * for this text json_parse fails cleanly with ERR_TOO_LARGE, and the arena is as before. text must have len +
 * JSON_PADDING writable bytes. The whole text must be one value. Errors: ERR_SYNTAX (error filled in),
 * ERR_TOO_LARGE (arena, or deeper than JSON_DEPTH_MAX; error filled in). */
#define JSON_PADDING 4
int json_parse(struct arena *a, char *text, size_t len, const struct json **root, struct json_error *error);

enum json_type json_type(const struct json *v);
bool json_bool(const struct json *v);
struct str json_str(const struct json *v); /* NUL-terminated behind len; may contain NUL inside: check */
bool json_int(const struct json *v, int64_t *out); /* false for 1.0, 1e3 and what int64_t cannot hold */
double json_number(const struct json *v);          /* may be infinite (1e999); 0 when v is no number */

/* Arrays and objects: iterate. For objects *key is filled in; for arrays pass NULL. */
struct json_iter {
	const void *next;
	size_t left;
	bool object;
};
void json_iter_init(struct json_iter *it, const struct json *container);
bool json_iter_next(struct json_iter *it, struct str *key, const struct json **value);
size_t json_count(const struct json *container);

/* The member of that name, NULL when absent. */
const struct json *json_get(const struct json *object, const char *name);

/* v written back compactly (for context{} and headers kept as they came); numbers digit by digit as they
 * stood. */
void json_write(struct buf *b, const struct json *v);

#endif
