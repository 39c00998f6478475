#include <stdalign.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"

static void blocks_are_aligned_and_zero(void **state)
{
	static unsigned char memory[256];
	struct arena a;

	(void)state;
	memset(memory, 0xA5, sizeof(memory));
	arena_init(&a, memory + 1, sizeof(memory) - 1); /* the block itself may lie anywhere */
	for (size_t n = 1; n <= 5; n++) {
		unsigned char *p = arena_take(&a, n);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
	}
}

static void full_is_null_and_changes_nothing(void **state)
{
	static alignas(max_align_t) unsigned char memory[64];
	struct arena a;
	size_t used;

	(void)state;
	arena_init(&a, memory, sizeof(memory));
	assert_non_null(arena_take(&a, 33));
	used = a.used;
	assert_null(arena_take(&a, 33));
	assert_null(arena_take(&a, SIZE_MAX));
	assert_null(arena_take(&a, SIZE_MAX - 15));
	assert_int_equal(a.used, used);
	/* What is left behind the padding, which the processor decides. */
	used = (used + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	assert_non_null(arena_take(&a, sizeof(memory) - used));
	assert_null(arena_take(&a, 1));
	arena_reset(&a);
	assert_non_null(arena_take(&a, 64));
	arena_init(&a, NULL, 0);
	assert_null(arena_take(&a, 0));
	assert_null(arena_str(&a, STR("")).ptr);
}

static void strings_are_copied_with_a_nul(void **state)
{
	char memory[8];
	struct arena a;
	struct str s;

	(void)state;
	arena_init(&a, memory, sizeof(memory));
	s = arena_str(&a, STR("abc"));
	assert_string_equal(s.ptr, "abc");
	s = arena_str(&a, STR(""));
	assert_non_null(s.ptr);
	assert_string_equal(s.ptr, "");
	assert_null(arena_str(&a, STR("abc")).ptr); /* three left, four needed */
	s = arena_str(&a, STR("ab"));
	assert_string_equal(s.ptr, "ab");
	assert_null(arena_str(&a, STR("")).ptr);
}

static void the_table_of_errors_is_whole(void **state)
{
	(void)state;
	assert_string_equal(err_name(0), "OK");
	assert_string_equal(err_name(17), "OK");
	assert_int_equal(err_class(5), ERR_CLASS_NONE);
	assert_string_equal(err_name(ERR_TIMEOUT), "TIMEOUT");
	assert_string_equal(err_text(ERR_TIMEOUT), "timed out");
	assert_int_equal(err_class(ERR_TIMEOUT), ERR_CLASS_RETRY);
	assert_int_equal(err_class(ERR_INVALID), ERR_CLASS_GIVE_UP);
	assert_string_equal(err_name(ERR_INTERNAL), "INTERNAL");
	assert_string_equal(err_name(-ERR_INDEX_COUNT), "UNKNOWN");
	assert_string_equal(err_name(INT32_MIN), "UNKNOWN");
	for (int e = -1; e > -ERR_INDEX_COUNT; e--) {
		assert_true(strlen(err_name(e)) > 0);
		assert_true(err_text(e)[0] >= 'a' || strncmp(err_text(e), "TLS", 3) == 0);
		assert_true(err_text(e)[strlen(err_text(e)) - 1] != '.');
		assert_int_not_equal(err_class(e), ERR_CLASS_NONE);
		for (int f = e + 1; f < 0; f++)
			assert_string_not_equal(err_name(e), err_name(f));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_aligned_and_zero),
		cmocka_unit_test(full_is_null_and_changes_nothing),
		cmocka_unit_test(strings_are_copied_with_a_nul),
		cmocka_unit_test(the_table_of_errors_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
