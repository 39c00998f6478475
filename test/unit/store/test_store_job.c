/* A job's life in the store: in, claimed, finished, tried again, cancelled, queued again, listed. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_storage.h"
#include "sim/sim.h"
#include "store_kit.h"

static struct store *s;
static struct store_claimed claimed;
static char src[1 << 20];
static struct store_job seen;

static int setup(void **state)
{
	(void)state;
	sim_reset();
	struct store_config c = kit_config();
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_open(&c, &s), 0);
	claimed.src_buf = src;
	claimed.src_cap = sizeof src;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_close(s);
	hal_storage_close();
	return 0;
}


static void test_in_and_out(void **state)
{
	(void)state;
	int64_t id;

	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	assert_int_equal(id, 1);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.state, JOB_PENDING);
	assert_string_equal(seen.to, "r0@example.com");
	assert_string_equal(seen.error, "");
	assert_int_equal(kit_claim(s, "other", &claimed), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.id, id);
	assert_int_equal(claimed.src_have, 700);
	assert_true(kit_src_is("m1", src, 700));
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.state, JOB_PROCESSING);
	assert_int_equal(kit_claim(s, "p", &claimed), 0);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), ERR_NOT_FOUND);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.state, JOB_COMPLETED);
	assert_string_equal(seen.provider_message_id, "4711");
	assert_string_equal(seen.error, "");
	struct store_status st = kit_status(s);
	assert_int_equal(st.count[JOB_COMPLETED], 1);
	assert_int_equal(st.count[JOB_PENDING], 0);
	assert_int_equal(st.events_waiting, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_and_out, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
