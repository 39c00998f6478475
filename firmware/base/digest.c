#include "base/digest.h"

#include <string.h>

#include <mbedtls/md5.h>
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

/* ---- HMAC and PBKDF2 ---- */

#define BLOCK_BYTES 64 /* of SHA-256 and of MD5 alike */
#define INNER_PAD   0x36
#define OUTER_PAD   0x5c

static void pad_key(unsigned char block[BLOCK_BYTES], const unsigned char *key, size_t len, unsigned char pad)
{
	for (size_t i = 0; i < BLOCK_BYTES; i++)
		block[i] = (unsigned char)((i < len ? key[i] : 0) ^ pad);
}

void digest_hmac_init(struct digest_hmac *h, const void *key, size_t len)
{
	unsigned char block[BLOCK_BYTES], hashed[DIGEST_SHA256_BYTES];

	if (len > BLOCK_BYTES) {
		digest_init(&h->inner);
		digest_add(&h->inner, key, len);
		digest_finish(&h->inner, hashed);
		key = hashed;
		len = sizeof(hashed);
	}
	digest_init(&h->inner);
	pad_key(block, key, len, INNER_PAD);
	digest_add(&h->inner, block, sizeof(block));
	digest_init(&h->outer);
	pad_key(block, key, len, OUTER_PAD);
	digest_add(&h->outer, block, sizeof(block));
	explicit_bzero(block, sizeof(block));
	explicit_bzero(hashed, sizeof(hashed));
}

void digest_hmac_add(struct digest_hmac *h, const void *bytes, size_t len)
{
	digest_add(&h->inner, bytes, len);
}

void digest_hmac_finish(struct digest_hmac *h, unsigned char out[DIGEST_SHA256_BYTES])
{
	unsigned char inner[DIGEST_SHA256_BYTES];

	digest_finish(&h->inner, inner);
	digest_add(&h->outer, inner, sizeof(inner));
	digest_finish(&h->outer, out);
	explicit_bzero(inner, sizeof(inner));
	explicit_bzero(h, sizeof(*h));
}

static void md5_of(struct str first, struct str then, unsigned char out[DIGEST_MD5_BYTES])
{
	mbedtls_md5_context c;

	mbedtls_md5_init(&c);
	CHECK(mbedtls_md5_starts(&c) == 0);
	if (first.len > 0) CHECK(mbedtls_md5_update(&c, (const unsigned char *)first.ptr, first.len) == 0);
	if (then.len > 0) CHECK(mbedtls_md5_update(&c, (const unsigned char *)then.ptr, then.len) == 0);
	CHECK(mbedtls_md5_finish(&c, out) == 0);
	mbedtls_md5_free(&c);
}

void digest_hmac_md5(struct str key, struct str text, unsigned char out[DIGEST_MD5_BYTES])
{
	unsigned char block[BLOCK_BYTES], hashed[DIGEST_MD5_BYTES], inner[DIGEST_MD5_BYTES];
	const struct str padded = {(const char *)block, sizeof(block)};

	if (key.len > BLOCK_BYTES) {
		md5_of(key, STR(""), hashed);
		key = (struct str){(const char *)hashed, sizeof(hashed)};
	}
	pad_key(block, (const unsigned char *)key.ptr, key.len, INNER_PAD);
	md5_of(padded, text, inner);
	pad_key(block, (const unsigned char *)key.ptr, key.len, OUTER_PAD);
	md5_of(padded, (struct str){(const char *)inner, sizeof(inner)}, out);
	explicit_bzero(block, sizeof(block));
	explicit_bzero(hashed, sizeof(hashed));
	explicit_bzero(inner, sizeof(inner));
}

void digest_pbkdf2_init(struct digest_pbkdf2 *p, struct str password, struct str salt, uint32_t iterations)
{
	static const unsigned char first_block[4] = {0, 0, 0, 1};
	struct digest_hmac h;

	CHECK(iterations > 0);
	digest_hmac_init(&p->key, password.ptr, password.len);
	h = p->key;
	digest_hmac_add(&h, salt.ptr, salt.len);
	digest_hmac_add(&h, first_block, sizeof(first_block));
	digest_hmac_finish(&h, p->last);
	memcpy(p->sum, p->last, sizeof(p->sum));
	p->left = iterations - 1;
}

bool digest_pbkdf2_run(struct digest_pbkdf2 *p, uint32_t at_most)
{
	struct digest d;

	for (; at_most > 0 && p->left > 0; at_most--, p->left--) {
		/* The key's two blocks are hashed once for all: half of the time of an HMAC from its key. */
		d = p->key.inner;
		digest_add(&d, p->last, sizeof(p->last));
		CHECK(mbedtls_sha256_finish(context(&d), p->last) == 0);
		d = p->key.outer;
		digest_add(&d, p->last, sizeof(p->last));
		CHECK(mbedtls_sha256_finish(context(&d), p->last) == 0);
		for (size_t i = 0; i < sizeof(p->sum); i++)
			p->sum[i] ^= p->last[i];
	}
	explicit_bzero(&d, sizeof(d));
	return p->left == 0;
}

void digest_pbkdf2_finish(struct digest_pbkdf2 *p, unsigned char out[DIGEST_SHA256_BYTES])
{
	memcpy(out, p->sum, DIGEST_SHA256_BYTES);
	explicit_bzero(p, sizeof(*p));
}

/* ---- identifiers ---- */

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
