#include "base/digest.h"

#include <mbedtls/sha256.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_entropy.h"

_Static_assert(sizeof(mbedtls_sha256_context) <= sizeof(struct digest), "struct digest is too small");

static mbedtls_sha256_context *context(struct digest *d)
{
	return (mbedtls_sha256_context *)(void *)d->opaque;
}

/* The software SHA-256 that we build cannot fail; an accelerator that can would be a porting mistake. */
void digest_init(struct digest *d)
{
	mbedtls_sha256_init(context(d));
	CHECK(mbedtls_sha256_starts(context(d), 0) == 0);
}

void digest_add(struct digest *d, const void *bytes, size_t len)
{
	if (len > 0) CHECK(mbedtls_sha256_update(context(d), bytes, len) == 0);
}

void digest_add_field(struct digest *d, struct str s)
{
	unsigned char len[8];

	for (size_t i = 0; i < sizeof(len); i++)
		len[i] = (unsigned char)((uint64_t)s.len >> (56 - 8 * i));
	digest_add(d, len, sizeof(len));
	digest_add(d, s.ptr, s.len);
}

void digest_finish(struct digest *d, unsigned char out[DIGEST_SHA256_BYTES])
{
	CHECK(mbedtls_sha256_finish(context(d), out) == 0);
	mbedtls_sha256_free(context(d));
}

int digest_uuid7(struct buf *b, int64_t wall_ms)
{
	unsigned char u[16];
	uint64_t ms = wall_ms > 0 ? (uint64_t)wall_ms : 0;
	int rc = hal_entropy_fill(u + 6, sizeof(u) - 6);

	if (rc < 0) return rc;
	/* RFC 9562 section 5.7: 48 bits of Unix time in ms, version 7, variant 10; the rest is chance. */
	for (size_t i = 0; i < 6; i++)
		u[i] = (unsigned char)(ms >> (40 - 8 * i));
	u[6] = (unsigned char)(0x70 | (u[6] & 0x0F));
	u[8] = (unsigned char)(0x80 | (u[8] & 0x3F));
	for (size_t i = 0; i < sizeof(u); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10) buf_puts(b, "-");
		digest_hex(b, u + i, 1);
	}
	return 0;
}

void digest_hex(struct buf *b, const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++) {
		char pair[2] = {digits[p[i] >> 4], digits[p[i] & 15]};

		buf_add(b, pair, sizeof(pair));
	}
}
