/* hal_clock and hal_thread. */
#include "contract.h"

/* ---- clock ---- */

TEST(mono_is_positive_and_never_goes_back)
{
	int64_t before = hal_clock_mono_ms();

	assert_true(before >= 1);
	for (int i = 0; i < 1000; i++) {
		int64_t now = hal_clock_mono_ms();
		assert_true(now >= before);
		before = now;
	}
}

TEST(deadlines_do_not_overflow)
{
	assert_true(hal_clock_in(HAL_FOREVER) == HAL_FOREVER);
	assert_true(hal_clock_in(HAL_FOREVER - 1) == HAL_FOREVER);
	assert_true(hal_clock_in(1000) > hal_clock_mono_ms());
	assert_true(hal_clock_in(1000) <= hal_clock_mono_ms() + 1000);
}

TEST(sleep_lasts_until_its_time)
{
	int64_t until = hal_clock_in(30);

	hal_clock_sleep_until(until);
	assert_true(hal_clock_mono_ms() >= until);
	hal_clock_sleep_until(until - 10);
	hal_clock_sleep_until(INT64_MIN);
}

TEST(floor_only_rises)
{
	bool set = false;
	int64_t now = hal_clock_wall_ms(&set);
	int64_t floor = now + INT64_C(1000000000);

	assert_true(set);
	assert_true(now > INT64_C(1735689600000)); /* 2025 */
	hal_clock_floor_raise(1);
	assert_true(hal_clock_wall_ms(NULL) >= now);
	hal_clock_floor_raise(floor);
	assert_int_in_range(hal_clock_wall_ms(&set) - floor, 0, 10000); /* it runs on */
	assert_false(set);
	hal_clock_floor_raise(floor - 1000);
	assert_int_in_range(hal_clock_wall_ms(&set) - floor, 0, 10000);
	assert_false(set);
}

/* ---- threads ---- */

struct counter {
	struct hal_mutex mutex;
	struct hal_cond changed;
	int value, waiting;
	bool inside, overlap;
	int result;
};

static struct counter counter;

static void count_up(void *arg)
{
	struct counter *c = arg;

	for (int i = 0; i < 200; i++) {
		hal_mutex_lock(&c->mutex);
		if (c->inside) c->overlap = true;
		c->inside = true;
		int value = c->value;
		if (i % 50 == 0) hal_clock_sleep_until(hal_clock_in(1));
		c->value = value + 1;
		c->inside = false;
		hal_mutex_unlock(&c->mutex);
	}
}

static void counter_init(void)
{
	memset(&counter, 0, sizeof counter);
	hal_mutex_init(&counter.mutex);
	hal_cond_init(&counter.changed);
}

TEST(mutex_excludes)
{
	struct hal_thread t[4];

	counter_init();
	for (int i = 0; i < 4; i++)
		assert_int_equal(hal_thread_start(&t[i], "count", 16384, count_up, &counter), 0);
	for (int i = 0; i < 4; i++)
		hal_thread_join(&t[i]);
	assert_int_equal(counter.value, 800);
	assert_false(counter.overlap);
	hal_cond_close(&counter.changed);
	hal_mutex_close(&counter.mutex);
}

static void set_arg(void *arg)
{
	*(int *)arg = 7;
}

TEST(join_waits_for_the_end)
{
	struct hal_thread t;
	int value = 0;

	assert_int_equal(hal_thread_start(&t, "a-name-longer-than-15", 1, set_arg, &value), 0);
	hal_thread_join(&t);
	assert_int_equal(value, 7);
}

TEST(threads_can_be_started_again_and_again)
{
	int value = 0;

	for (int i = 0; i < 300; i++) {
		struct hal_thread t;
		assert_int_equal(hal_thread_start(&t, "again", 16384, set_arg, &value), 0);
		hal_thread_join(&t);
	}
}

static void use_stack(void *arg)
{
	volatile char big[24000];

	memset((char *)(uintptr_t)big, 1, sizeof big);
	*(int *)arg = big[100];
}

TEST(stack_is_as_large_as_asked)
{
	struct hal_thread t;
	int value = 0;

	assert_int_equal(hal_thread_start(&t, "stack", 49152, use_stack, &value), 0);
	hal_thread_join(&t);
	assert_int_equal(value, 1);
}

TEST(wait_times_out_with_the_mutex_held)
{
	int64_t deadline = hal_clock_in(30);
	int rc;

	counter_init();
	hal_mutex_lock(&counter.mutex);
	while ((rc = hal_cond_wait(&counter.changed, &counter.mutex, deadline)) == 0)
		;
	assert_int_equal(rc, ERR_TIMEOUT);
	assert_true(hal_clock_mono_ms() >= deadline);
	/* In the past: at once, but not without giving way. */
	while ((rc = hal_cond_wait(&counter.changed, &counter.mutex, 1)) == 0)
		;
	assert_int_equal(rc, ERR_TIMEOUT);
	hal_mutex_unlock(&counter.mutex);
}

static void wait_for_value(void *arg)
{
	struct counter *c = arg;
	int64_t deadline = hal_clock_in(10000);

	hal_mutex_lock(&c->mutex);
	c->waiting++;
	while (c->value == 0 && c->result == 0)
		c->result = hal_cond_wait(&c->changed, &c->mutex, deadline);
	c->waiting--;
	hal_mutex_unlock(&c->mutex);
}

static int waiting(void)
{
	hal_mutex_lock(&counter.mutex);
	int n = counter.waiting;
	hal_mutex_unlock(&counter.mutex);
	return n;
}

TEST(broadcast_wakes_all)
{
	struct hal_thread t[5];

	counter_init();
	for (int i = 0; i < 5; i++)
		hal_thread_start(&t[i], "wait", 16384, wait_for_value, &counter);
	while (waiting() < 5)
		hal_clock_sleep_until(hal_clock_in(1));
	hal_mutex_lock(&counter.mutex);
	counter.value = 1;
	hal_cond_broadcast(&counter.changed);
	hal_mutex_unlock(&counter.mutex);
	for (int i = 0; i < 5; i++)
		hal_thread_join(&t[i]);
	assert_int_equal(counter.result, 0);
	assert_int_equal(counter.waiting, 0);
}

TEST(signal_wakes_one)
{
	struct hal_thread t[3];

	counter_init();
	for (int i = 0; i < 3; i++)
		hal_thread_start(&t[i], "wait", 16384, wait_for_value, &counter);
	while (waiting() < 3)
		hal_clock_sleep_until(hal_clock_in(1));
	hal_mutex_lock(&counter.mutex);
	counter.value = 1;
	hal_cond_signal(&counter.changed);
	hal_mutex_unlock(&counter.mutex);
	while (waiting() == 3)
		hal_clock_sleep_until(hal_clock_in(1));
	for (int i = 0; i < 2; i++)
		hal_cond_signal(&counter.changed);
	for (int i = 0; i < 3; i++)
		hal_thread_join(&t[i]);
	assert_int_equal(counter.result, 0);
}

TEST(wait_without_a_deadline_ends_by_a_signal)
{
	struct hal_thread t;

	counter_init();
	hal_thread_start(&t, "count", 16384, count_up, &counter);
	hal_mutex_lock(&counter.mutex);
	counter.waiting = 1;
	hal_mutex_unlock(&counter.mutex);
	hal_thread_join(&t);
	hal_thread_start(&t, "wait", 16384, wait_for_value, &counter);
	hal_mutex_lock(&counter.mutex);
	hal_cond_broadcast(&counter.changed);
	hal_mutex_unlock(&counter.mutex);
	hal_thread_join(&t);
	assert_int_equal(counter.result, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mono_is_positive_and_never_goes_back),
		cmocka_unit_test(test_deadlines_do_not_overflow),
		cmocka_unit_test(test_sleep_lasts_until_its_time),
		cmocka_unit_test(test_floor_only_rises),
		cmocka_unit_test(test_mutex_excludes),
		cmocka_unit_test(test_join_waits_for_the_end),
		cmocka_unit_test(test_threads_can_be_started_again_and_again),
		cmocka_unit_test(test_stack_is_as_large_as_asked),
		cmocka_unit_test(test_wait_times_out_with_the_mutex_held),
		cmocka_unit_test(test_broadcast_wakes_all),
		cmocka_unit_test(test_signal_wakes_one),
		cmocka_unit_test(test_wait_without_a_deadline_ends_by_a_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
