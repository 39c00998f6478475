/* base/str: a string that knows its length, and the few operations on it.
 *
 * A struct str borrows its bytes: who made it says how long they live. It need not end in NUL, may be empty
 * (len 0) and may be absent (ptr NULL, len 0). Pure; any thread; never allocates.
 */
#ifndef POSTERN_BASE_STR_H
#define POSTERN_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
	const char *ptr;
	size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT      "%.*s"
#define STR_ARG(s)   (int)(s).len, (s).ptr

struct str str_from(const char *nul_terminated); /* NULL gives the absent string */
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII only */
bool str_starts_nocase(struct str s, struct str prefix);
struct str str_trim(struct str s); /* without leading and trailing SP HT CR LF */
bool str_has_ctl(struct str s);    /* any byte below 0x20 but HT, or 0x7f */

/* Copies s with a NUL behind it. Errors: ERR_TOO_LARGE when s.len >= cap (dst is then the empty string). */
int str_copy(char *dst, size_t cap, struct str s);

/* Decimal digits only, the whole of s. Errors: ERR_INVALID, ERR_TOO_LARGE above max. */
int str_to_u64(struct str s, uint64_t max, uint64_t *out);

/* True when s is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool str_is_utf8(struct str s);

/* Bytes (1 to 4) of the well-formed UTF-8 character that s begins with; 0 when it begins with none. */
size_t str_utf8_len(struct str s);

#endif
