/* base/base64: strict decoding (RFC 4648 section 4), in chunks. Encoding is buf_base64. Pure. */
#ifndef POSTERN_BASE_BASE64_H
#define POSTERN_BASE_BASE64_H

#include "base/str.h"

/* Decodes the whole of s (white space not allowed, padding required) into out; returns the bytes written.
 * Errors: ERR_INVALID, ERR_TOO_LARGE when out_cap is too small. */
int base64_decode(struct str s, void *out, size_t out_cap);

#endif
