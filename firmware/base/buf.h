/* base/buf: a text buffer over memory that the caller gives; it cuts, says so, and never allocates.
 *
 * Used for log lines, SMTP commands, JSON answers. When something does not fit, what fits is kept, `cut` is
 * set, and every later append does nothing: test `cut` once at the end. The content is always NUL-terminated.
 * Not shared between threads.
 */
#ifndef POSTERN_BASE_BUF_H
#define POSTERN_BASE_BUF_H

#include "base/str.h"

struct buf {
	char *ptr;
	size_t len; /* bytes in use, without the NUL */
	size_t cap; /* bytes of memory, with the NUL; at least 1 */
	bool cut;
};

void buf_init(struct buf *b, void *memory, size_t cap);
void buf_reset(struct buf *b);
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_str(struct buf *b, struct str s);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Text from outside, safe for one log line: control bytes and bytes that are not UTF-8 as \xHH. At most max
 * bytes. */
void buf_escaped(struct buf *b, struct str s, size_t max);

/* s as the inside of a JSON string, without the quotes; bytes that are not UTF-8 become U+FFFD. */
void buf_json(struct buf *b, struct str s);

/* Base64 with padding, no line breaks (RFC 4648 section 4). */
void buf_base64(struct buf *b, const void *bytes, size_t len);

struct str buf_view(const struct buf *b);

#endif
