#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/digest.h"

static char text[80];

static const char *hex_of(struct digest *d)
{
	unsigned char out[DIGEST_SHA256_BYTES];
	struct buf b;

	digest_finish(d, out);
	buf_init(&b, text, sizeof(text));
	digest_hex(&b, out, sizeof(out));
	return text;
}

/* FIPS 180-4 examples. */
static void known_digests(void **state)
{
	struct digest d;

	(void)state;
	digest_init(&d);
	assert_string_equal(hex_of(&d), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_init(&d);
	digest_add(&d, "a", 1);
	digest_add(&d, NULL, 0);
	digest_add(&d, "bc", 2);
	assert_string_equal(hex_of(&d), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void fields_cannot_run_together(void **state)
{
	char first[80];
	struct digest d;

	(void)state;
	digest_init(&d);
	digest_add_field(&d, STR("ab"));
	digest_add_field(&d, STR("c"));
	strcpy(first, hex_of(&d));
	digest_init(&d);
	digest_add_field(&d, STR("a"));
	digest_add_field(&d, STR("bc"));
	assert_string_not_equal(hex_of(&d), first);
	/* The length is 8 bytes, most significant first, on every machine. */
	digest_init(&d);
	digest_add(&d, "\0\0\0\0\0\0\0\2ab\0\0\0\0\0\0\0\1c", 19);
	assert_string_equal(hex_of(&d), first);
	/* An absent field is an empty one. */
	digest_init(&d);
	digest_add_field(&d, str_from(NULL));
	strcpy(first, hex_of(&d));
	digest_init(&d);
	digest_add_field(&d, STR(""));
	assert_string_equal(hex_of(&d), first);
}

static const char *hex_of_bytes(const unsigned char *bytes, size_t len)
{
	struct buf b;

	buf_init(&b, text, sizeof(text));
	digest_hex(&b, bytes, len);
	return text;
}

static const char *hmac(struct str key, struct str data)
{
	unsigned char out[DIGEST_SHA256_BYTES];
	struct digest_hmac h;

	digest_hmac_init(&h, key.ptr, key.len);
	digest_hmac_add(&h, data.ptr, data.len / 2);
	digest_hmac_add(&h, data.ptr + data.len / 2, data.len - data.len / 2);
	digest_hmac_finish(&h, out);
	for (size_t i = 0; i < sizeof(h); i++)
		assert_int_equal(((unsigned char *)&h)[i], 0);
	return hex_of_bytes(out, sizeof(out));
}

static const char *hmac_md5(struct str key, struct str data)
{
	unsigned char out[DIGEST_MD5_BYTES];

	digest_hmac_md5(key, data, out);
	return hex_of_bytes(out, sizeof(out));
}

/* RFC 4231 and RFC 2202: test cases 1, 2 and 6 of each. */
static void known_hmacs(void **state)
{
	char long_key[131];

	(void)state;
	memset(long_key, 0x0b, 20);
	assert_string_equal(hmac((struct str){long_key, 20}, STR("Hi There")),
			    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	assert_string_equal(hmac_md5((struct str){long_key, 16}, STR("Hi There")),
			    "9294727a3638bb1c13f48ef8158bfc9d");
	assert_string_equal(hmac(STR("Jefe"), STR("what do ya want for nothing?")),
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	assert_string_equal(hmac_md5(STR("Jefe"), STR("what do ya want for nothing?")),
			    "750c783e6ab0b503eaa86e310a5db738");
	memset(long_key, 0xaa, sizeof(long_key));
	struct str data = STR("Test Using Larger Than Block-Size Key - Hash Key First");
	assert_string_equal(hmac((struct str){long_key, 131}, data),
			    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	assert_string_equal(hmac_md5((struct str){long_key, 80}, data), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
}

static const char *pbkdf2(struct str password, struct str salt, uint32_t iterations, uint32_t piece)
{
	unsigned char out[DIGEST_SHA256_BYTES];
	struct digest_pbkdf2 p;
	uint32_t pieces = 0;

	digest_pbkdf2_init(&p, password, salt, iterations);
	while (!digest_pbkdf2_run(&p, piece))
		pieces++;
	assert_int_equal(pieces, (iterations - 1) / piece);
	digest_pbkdf2_finish(&p, out);
	for (size_t i = 0; i < sizeof(p); i++)
		assert_int_equal(((unsigned char *)&p)[i], 0);
	return hex_of_bytes(out, sizeof(out));
}

/* RFC 7914 section 11, the first 32 bytes of each. */
static void known_pbkdf2(void **state)
{
	(void)state;
	assert_string_equal(pbkdf2(STR("passwd"), STR("salt"), 1, 7),
			    "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
	assert_string_equal(pbkdf2(STR("Password"), STR("NaCl"), 80000, 333),
			    "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
}

static void uuid7_has_the_time_in_front(void **state)
{
	char a[40], b[40];
	struct buf ba, bb;

	(void)state;
	buf_init(&ba, a, sizeof(a));
	buf_init(&bb, b, sizeof(b));
	assert_int_equal(digest_uuid7(&ba, INT64_C(0x017F22E279B0)),
			 0); /* the time of RFC 9562 appendix A.6 */
	assert_int_equal(digest_uuid7(&bb, INT64_C(0x017F22E279B0)), 0);
	assert_int_equal(ba.len, 36);
	assert_memory_equal(a, "017f22e2-79b0-7", 15);
	assert_non_null(memchr("89ab", a[19], 4));
	assert_int_equal(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-', 1);
	assert_string_not_equal(a, b);
	buf_reset(&ba);
	assert_int_equal(digest_uuid7(&ba, 0), 0);
	assert_memory_equal(a, "00000000-0000-7", 15);
	buf_reset(&ba);
	assert_int_equal(digest_uuid7(&ba, -5), 0);
	assert_memory_equal(a, "00000000-0000-7", 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_digests),
		cmocka_unit_test(fields_cannot_run_together),
		cmocka_unit_test(known_hmacs),
		cmocka_unit_test(known_pbkdf2),
		cmocka_unit_test(uuid7_has_the_time_in_front),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
