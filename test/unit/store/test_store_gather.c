/* Ends of attempts wait for each other, and for nobody else: who waits for an answer, and the stop, are not kept. Times
 * are those of the simulated world. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "sim/sim.h"
#include "sim/sim_world.h"
#include "store_kit.h"

#define CAP     16
#define SYNC_MS 5

static struct store *s;
static struct store_claimed claimed[CAP];
static int64_t syncs_at[CAP];
static size_t answered;

static int setup(void **state)
{
	struct store_config c = kit_config();

	(void)state;
	sim_reset();
	kit_store_open(&c, &s);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_store_close(&s);
	return 0;
}

static struct store_finish ends[CAP];
static int64_t ended_at[CAP];

static void end_noted(struct store_op *op)
{
	size_t i = (size_t)((struct store_finish *)(void *)op - ends);
	struct hal_storage_info info;

	assert_int_equal(op->rc, 0);
	ended_at[i] = hal_clock_mono_ms();
	hal_storage_info(&info);
	syncs_at[answered++] = info.syncs;
}

static void make_ends(size_t count)
{
	char name[16];

	answered = 0;
	for (size_t i = 0; i < count; i++) {
		sprintf(name, "end-%zu", i);
		assert_int_equal(kit_accept(s, name, "p", NULL), 0);
		assert_int_equal(kit_claim(s, "p", &claimed[i]), 1);
	}
	for (size_t i = 0; i < count; i++) {
		store_finish_init(&ends[i]);
		ends[i].id = claimed[i].id;
		ends[i].state = JOB_COMPLETED;
		ends[i].counted = true;
		ends[i].started_ms = ends[i].ended_ms = hal_clock_wall_ms(NULL);
		ends[i].op.done = end_noted;
	}
}

static void await_ends(size_t count)
{
	while (answered < count)
		hal_clock_sleep_until(hal_clock_in(1));
}

static void test_ends_wait_for_each_other(void **state)
{
	(void)state;
	make_ends(3);
	int64_t start = hal_clock_mono_ms();
	for (size_t i = 0; i < 3; i++) {
		store_submit(s, &ends[i].op);
		hal_clock_sleep_until(hal_clock_in(3));
	}
	await_ends(3);
	assert_int_equal(syncs_at[1], syncs_at[0]);
	assert_int_equal(syncs_at[2], syncs_at[0]);
	/* and not for ever */
	assert_true(ended_at[0] >= start + 5 && ended_at[2] <= start + 20);
}

static void test_ends_do_not_wait_when_somebody_asks(void **state)
{
	(void)state;
	make_ends(1);
	int64_t start = hal_clock_mono_ms();
	store_submit(s, &ends[0].op);
	assert_int_equal(kit_status(s).count[JOB_COMPLETED], 1);
	assert_int_equal(answered, 1);
	assert_true(ended_at[0] < start + 3);
}

static void test_enough_ends_do_not_wait(void **state)
{
	(void)state;
	make_ends(CAP);
	int64_t start = hal_clock_mono_ms();
	for (size_t i = 0; i < CAP; i++)
		store_submit(s, &ends[i].op);
	await_ends(CAP);
	for (size_t i = 0; i < CAP; i++)
		assert_true(ended_at[i] < start + 3);
}

static void test_ends_do_not_wait_at_the_stop(void **state)
{
	(void)state;
	make_ends(2);
	int64_t start = hal_clock_mono_ms();
	store_submit(s, &ends[0].op);
	store_submit(s, &ends[1].op);
	store_close(s);
	s = NULL;
	assert_int_equal(answered, 2);
	assert_true(ended_at[1] < start + 3);
}

/* The store is in the midst of waiting when the stop comes. */
static void test_the_stop_ends_the_wait(void **state)
{
	(void)state;
	make_ends(1);
	sim_faults()->disk.sync_ms = SYNC_MS;
	store_submit(s, &ends[0].op);
	hal_clock_sleep_until(hal_clock_in(2));
	assert_int_equal(answered, 0);
	int64_t start = hal_clock_mono_ms();
	store_close(s);
	s = NULL;
	assert_int_equal(answered, 1);
	assert_int_equal(ended_at[0], start + SYNC_MS);
}

/* One that does one thing after the other and waits for each: a commit's time for each that writes, no more. */
static void test_a_lone_caller_is_not_kept(void **state)
{
	int64_t id;

	(void)state;
	sim_faults()->disk.sync_ms = SYNC_MS;
	int64_t start = hal_clock_mono_ms();
	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	assert_int_equal(hal_clock_mono_ms(), start + SYNC_MS);
	assert_int_equal(kit_claim(s, "p", &claimed[0]), 1);
	assert_int_equal(hal_clock_mono_ms(), start + SYNC_MS);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	assert_int_equal(hal_clock_mono_ms(), start + 2 * SYNC_MS);
}

/* A submission that comes while ends are gathered takes as long as one alone: the one sync that it needs anyway, which
 * is theirs too. So does a claim, that needs none. */
static void test_a_submission_is_not_kept_by_ends(void **state)
{
	struct hal_storage_info before, after;

	(void)state;
	make_ends(3);
	assert_int_equal(kit_accept(s, "m1", "p", NULL), 0);
	sim_faults()->disk.sync_ms = SYNC_MS;
	for (size_t i = 0; i < 2; i++)
		store_submit(s, &ends[i].op);
	hal_clock_sleep_until(hal_clock_in(2));
	assert_int_equal(answered, 0);
	hal_storage_info(&before);
	int64_t start = hal_clock_mono_ms();
	assert_int_equal(kit_accept(s, "m2", "p", NULL), 0);
	assert_int_equal(hal_clock_mono_ms(), start + SYNC_MS);
	hal_storage_info(&after);
	await_ends(2);
	assert_int_equal(syncs_at[1], before.syncs + 1);
	assert_int_equal(after.syncs, before.syncs + 1);
	store_submit(s, &ends[2].op);
	hal_clock_sleep_until(hal_clock_in(2));
	start = hal_clock_mono_ms();
	assert_int_equal(kit_claim(s, "p", &claimed[0]), 1);
	assert_true(hal_clock_mono_ms() <= start + SYNC_MS);
	await_ends(3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ends_wait_for_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends_do_not_wait_when_somebody_asks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_enough_ends_do_not_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends_do_not_wait_at_the_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_stop_ends_the_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_lone_caller_is_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_submission_is_not_kept_by_ends, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
