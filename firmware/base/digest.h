/* base/digest: SHA-256, and identifiers made from it or from chance.
 *
 * The only place besides net/ that knows mbedTLS (its sha256.h): identities are needed far below TLS. Any
 * thread.
 */
#ifndef POSTERN_BASE_DIGEST_H
#define POSTERN_BASE_DIGEST_H

#include "base/buf.h"

#define DIGEST_SHA256_BYTES 32

struct digest {
	uint64_t opaque[16]; /* room for mbedtls_sha256_context */
};

void digest_init(struct digest *d);
void digest_add(struct digest *d, const void *bytes, size_t len);
/* Adds the length first, so that ("ab","c") and ("a","bc") differ. */
void digest_add_field(struct digest *d, struct str s);
void digest_finish(struct digest *d, unsigned char out[DIGEST_SHA256_BYTES]);

/* A fresh UUIDv7 (RFC 9562) in its 36-byte text form; wall_ms 0 is allowed (clock unset).
 * Errors: ERR_ENTROPY. */
int digest_uuid7(struct buf *b, int64_t wall_ms);

void digest_hex(struct buf *b, const void *bytes, size_t len);

#endif
