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
		cmocka_unit_test(uuid7_has_the_time_in_front),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
