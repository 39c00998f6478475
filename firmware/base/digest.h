/* base/digest: SHA-256, what is built on it, HMAC-MD5, and identifiers made from digests or from chance.
 *
 * The only place besides net/ that knows mbedTLS (its sha256.h and md5.h): identities are needed far below TLS.
 * HMAC and PBKDF2 are made here of these, not taken from mbedTLS' md.h and pkcs5.h, which take from the heap for
 * each digest and do not let go until they are done. Any thread.
 */
#ifndef POSTERN_BASE_DIGEST_H
#define POSTERN_BASE_DIGEST_H

#include "base/buf.h"

#define DIGEST_SHA256_BYTES 32
#define DIGEST_MD5_BYTES    16

struct digest {
	uint64_t opaque[16]; /* room for mbedtls_sha256_context */
};

void digest_init(struct digest *d);
void digest_add(struct digest *d, const void *bytes, size_t len);
/* Adds the length first, so that ("ab","c") and ("a","bc") differ. */
void digest_add_field(struct digest *d, struct str s);
void digest_finish(struct digest *d, unsigned char out[DIGEST_SHA256_BYTES]);

/* HMAC-SHA-256 (RFC 2104). finish leaves nothing of the key behind. */
struct digest_hmac {
	struct digest inner, outer;
};
void digest_hmac_init(struct digest_hmac *h, const void *key, size_t len);
void digest_hmac_add(struct digest_hmac *h, const void *bytes, size_t len);
void digest_hmac_finish(struct digest_hmac *h, unsigned char out[DIGEST_SHA256_BYTES]);

/* HMAC-MD5 (RFC 2104), for CRAM-MD5 and nothing else: MD5 is broken, HMAC-MD5 of a random challenge is not yet. */
void digest_hmac_md5(struct str key, struct str text, unsigned char out[DIGEST_MD5_BYTES]);

/* PBKDF2 (RFC 8018 section 5.2) with HMAC-SHA-256, its first 32 bytes: slow on purpose, so it is done in pieces
 * between which the caller can look at the clock. iterations: at least 1. */
struct digest_pbkdf2 {
	struct digest_hmac key;
	unsigned char last[DIGEST_SHA256_BYTES], sum[DIGEST_SHA256_BYTES];
	uint32_t left;
};
void digest_pbkdf2_init(struct digest_pbkdf2 *p, struct str password, struct str salt, uint32_t iterations);
/* At most so many more iterations. True when there are none left. */
bool digest_pbkdf2_run(struct digest_pbkdf2 *p, uint32_t at_most);
/* Copies the result (of use only when run said true) and forgets everything. */
void digest_pbkdf2_finish(struct digest_pbkdf2 *p, unsigned char out[DIGEST_SHA256_BYTES]);

/* A fresh UUIDv7 (RFC 9562) in its 36-byte text form; wall_ms 0 is allowed (clock unset).
 * Errors: ERR_ENTROPY. */
int digest_uuid7(struct buf *b, int64_t wall_ms);

void digest_hex(struct buf *b, const void *bytes, size_t len);

#endif
