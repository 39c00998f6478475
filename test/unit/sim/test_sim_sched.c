/* The simulator's own promises: one seed one run, time that jumps, ends that are told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_lifecycle.h"
#include "hal_log.h"
#include "hal_thread.h"
#include "hal_watchdog.h"
#include "sim/sim.h"

static int setup(void **state)
{
	(void)state;
	sim_reset();
	return 0;
}

static struct sim_config quiet(uint64_t seed)
{
	struct sim_config c = sim_config_default(seed);

	c.quiet = true;
	return c;
}

/* ---- some threads that compete ---- */

struct race {
	struct hal_mutex mutex;
	char *order; /* shared memory: who came when */
	size_t len;
};

struct runner {
	struct race *race;
	char letter;
};

static void runner_main(void *arg)
{
	struct runner *r = arg;

	for (int i = 0; i < 8; i++) {
		hal_mutex_lock(&r->race->mutex);
		r->race->order[r->race->len++] = r->letter;
		hal_mutex_unlock(&r->race->mutex);
		if (i % 3 == 0) hal_clock_sleep_until(hal_clock_in(5));
	}
}

static void race_main(void *arg)
{
	struct race race = {.order = arg};
	struct runner runners[4];
	struct hal_thread threads[4];

	hal_mutex_init(&race.mutex);
	for (int i = 0; i < 4; i++) {
		runners[i] = (struct runner){&race, (char)('a' + i)};
		assert_int_equal(hal_thread_start(&threads[i], "runner", 16384, runner_main, &runners[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		hal_thread_join(&threads[i]);
	hal_mutex_close(&race.mutex);
}

static void test_same_seed_same_run(void **state)
{
	char first[33] = "";
	char *order = sim_shared(64);
	uint64_t hash = 0;

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct sim_config c = sim_config_default(42);
		memset(order, 0, 64);
		struct sim_result r = sim_run(&c, race_main, order);

		assert_int_equal(r.end, SIM_FINISHED);
		assert_int_equal(strlen(order), 32);
		if (i == 0) {
			strcpy(first, order);
			hash = r.trace_hash;
		}
		assert_string_equal(order, first);
		assert_true(r.trace_hash == hash);
	}
}

static void test_other_seed_other_order(void **state)
{
	char *order = sim_shared(64);
	char first[33] = "";
	int other = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct sim_config c = sim_config_default(seed);
		memset(order, 0, 64);
		assert_int_equal(sim_run(&c, race_main, order).end, SIM_FINISHED);
		if (seed == 1) strcpy(first, order);
		other += strcmp(first, order) != 0;
	}
	assert_true(other >= 15);
}

/* ---- ends ---- */

static void lock_other_way(void *arg)
{
	struct hal_mutex *m = arg;

	hal_mutex_lock(&m[1]);
	hal_clock_sleep_until(hal_clock_in(10));
	hal_mutex_lock(&m[0]);
}

static void deadlock_main(void *arg)
{
	struct hal_mutex m[2];
	struct hal_thread t;

	(void)arg;
	hal_mutex_init(&m[0]);
	hal_mutex_init(&m[1]);
	hal_thread_start(&t, "other", 16384, lock_other_way, m);
	hal_mutex_lock(&m[0]);
	hal_clock_sleep_until(hal_clock_in(10));
	hal_mutex_lock(&m[1]);
	hal_thread_join(&t);
}

static void test_deadlock_is_found(void **state)
{
	struct sim_config c = quiet(3);

	(void)state;
	assert_int_equal(sim_run(&c, deadlock_main, NULL).end, SIM_DEADLOCK);
}

static void sleep_main(void *arg)
{
	hal_clock_sleep_until(hal_clock_in(*(int64_t *)arg));
}

static void test_time_jumps(void **state)
{
	int64_t ms = 50 * 60 * 1000;
	struct sim_config c = sim_config_default(1);
	struct sim_result r = sim_run(&c, sleep_main, &ms);

	(void)state;
	assert_int_equal(r.end, SIM_FINISHED);
	assert_true(r.time_ms == ms);
	assert_true(r.steps < 10);
}

static void test_time_limit(void **state)
{
	int64_t ms = 2 * 3600 * 1000;
	struct sim_config c = quiet(1);

	(void)state;
	assert_int_equal(sim_run(&c, sleep_main, &ms).end, SIM_TIME_LIMIT);
}

static void spin_main(void *arg)
{
	(void)arg;
	for (;;)
		hal_clock_sleep_until(0);
}

static void test_step_limit(void **state)
{
	struct sim_config c = quiet(1);

	(void)state;
	c.steps_max = 1000;
	assert_int_equal(sim_run(&c, spin_main, NULL).end, SIM_STEP_LIMIT);
}

static void hang_main(void *arg)
{
	volatile unsigned *p = arg;

	for (;;)
		(*p)++;
}

static void test_hang_is_ended(void **state)
{
	struct sim_config c = quiet(1);

	(void)state;
	c.real_s_max = 1;
	assert_int_equal(sim_run(&c, hang_main, sim_shared(sizeof(unsigned))).end, SIM_HUNG);
}

static void crash_main(void *arg)
{
	(void)arg;
	abort();
}

static void test_crash_is_told(void **state)
{
	struct sim_config c = quiet(1);

	(void)state;
	assert_int_equal(sim_run(&c, crash_main, NULL).end, SIM_CRASHED);
}

/* ---- the power ---- */

static int global_of_firmware;

static void cut_main(void *arg)
{
	int *seen = arg;

	*seen = global_of_firmware++;
	hal_clock_sleep_until(hal_clock_in(1000));
	*seen = -1;
}

static void test_cut_at_a_time_and_fresh_globals(void **state)
{
	int *seen = sim_shared(sizeof *seen);
	struct sim_config c = sim_config_default(1);

	(void)state;
	c.cut_at_ms = 500;
	for (int i = 0; i < 2; i++) {
		*seen = 99;
		struct sim_result r = sim_run(&c, cut_main, seen);
		assert_int_equal(r.end, SIM_POWER_CUT);
		assert_true(r.time_ms == 500);
		assert_int_equal(*seen, 0);
	}
}

static void kill_main(void *arg)
{
	(void)arg;
	sim_note("before");
	sim_kill();
}

static void test_kill_and_diary(void **state)
{
	struct sim_config c = sim_config_default(1);

	(void)state;
	assert_int_equal(sim_run(&c, kill_main, NULL).end, SIM_KILLED);
	sim_note("after %d", 1);
	assert_string_equal(sim_notes(), "before\nafter 1\n");
}

static void watchdog_main(void *arg)
{
	(void)arg;
	assert_int_equal(hal_watchdog_open("sim"), 0);
	assert_true(hal_watchdog_period_ms() == 1000);
	for (int i = 0; i < 5; i++) {
		hal_clock_sleep_until(hal_clock_in(900));
		hal_watchdog_kick();
	}
	hal_clock_sleep_until(hal_clock_in(5000));
}

static void test_watchdog_reboots(void **state)
{
	struct sim_config c = quiet(1);

	(void)state;
	c.faults.watchdog_ms = 1000;
	struct sim_result r = sim_run(&c, watchdog_main, NULL);
	assert_int_equal(r.end, SIM_WATCHDOG);
	assert_true(r.time_ms == 5 * 900 + 1000);
}

/* ---- clocks ---- */

static void clock_main(void *arg)
{
	int64_t *out = arg;
	bool set;

	out[0] = hal_clock_wall_ms(&set);
	out[1] = set;
	sim_clock_set();
	out[2] = hal_clock_wall_ms(&set);
	out[3] = set;
	hal_clock_sleep_until(hal_clock_in(60000));
	sim_clock_jump(-5000);
	out[4] = hal_clock_wall_ms(NULL) - out[2];
}

static void test_device_without_clock(void **state)
{
	int64_t *out = sim_shared(5 * sizeof *out);
	struct sim_config c = sim_config_default(1);

	(void)state;
	c.faults.clock.no_rtc = true;
	c.faults.clock.off_ms = 1000;
	assert_int_equal(sim_run(&c, clock_main, out).end, SIM_FINISHED);
	assert_true(out[1] == 0 && out[3] == 1);
	assert_true(out[0] < out[2]);
	assert_true(out[2] == c.faults.clock.true_ms);
	assert_true(out[4] == 55000);
	/* The next boot: the world's time went on, the device is back in 1970. */
	assert_int_equal(sim_run(&c, clock_main, out).end, SIM_FINISHED);
	assert_true(out[1] == 0);
	assert_true(out[2] == c.faults.clock.true_ms + 60000 + 1000);
}

/* ---- without sim_run ---- */

static void test_unit_tests_need_no_boot(void **state)
{
	struct race race = {.order = test_calloc(1, 64)};
	struct runner runner = {&race, 'x'};
	struct hal_thread t;
	int64_t before = hal_clock_mono_ms();

	(void)state;
	hal_mutex_init(&race.mutex);
	hal_thread_start(&t, "runner", 0, runner_main, &runner);
	hal_thread_join(&t);
	assert_string_equal(race.order, "xxxxxxxx");
	assert_true(hal_clock_mono_ms() - before == 15);
	test_free(race.order);
}

static void log_main(void *arg)
{
	(void)arg;
	hal_log_line(1, "store: full -> refusing", 23);
	hal_lifecycle_wish(HAL_WISH_RELOAD);
	hal_lifecycle_wish(HAL_WISH_STOP);
	assert_int_equal(hal_lifecycle_wait(0), HAL_WISH_STOP);
}

static void test_log_is_kept(void **state)
{
	struct sim_config c = sim_config_default(1);

	(void)state;
	assert_int_equal(sim_run(&c, log_main, NULL).end, SIM_FINISHED);
	assert_string_equal(sim_log_text(), "1 store: full -> refusing\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_same_seed_same_run, setup),
		cmocka_unit_test_setup(test_other_seed_other_order, setup),
		cmocka_unit_test_setup(test_deadlock_is_found, setup),
		cmocka_unit_test_setup(test_time_jumps, setup),
		cmocka_unit_test_setup(test_time_limit, setup),
		cmocka_unit_test_setup(test_step_limit, setup),
		cmocka_unit_test_setup(test_hang_is_ended, setup),
		cmocka_unit_test_setup(test_crash_is_told, setup),
		cmocka_unit_test_setup(test_cut_at_a_time_and_fresh_globals, setup),
		cmocka_unit_test_setup(test_kill_and_diary, setup),
		cmocka_unit_test_setup(test_watchdog_reboots, setup),
		cmocka_unit_test_setup(test_device_without_clock, setup),
		cmocka_unit_test_setup(test_unit_tests_need_no_boot, setup),
		cmocka_unit_test_setup(test_log_is_kept, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
