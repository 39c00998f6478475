/* The drop directory: what a command leaves behind, synced, is taken in once; what is refused is kept with
 * its reason. */
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
#include "store/store.h"

static char names[4][128];
static char buffer[1000];
static char taken[512];
static int answer;
static struct store_drop_count count;

static int setup(void **state)
{
	(void)state;
	sim_reset();
	taken[0] = '\0';
	answer = 0;
	return hal_storage_open("data");
}

static int teardown(void **state)
{
	(void)state;
	hal_storage_close();
	return 0;
}

static int take(void *arg, struct str name, char *text, size_t len, char *reason, size_t cap)
{
	(void)arg;
	(void)name;
	text[len] = '\0';
	strcat(taken, text);
	strcat(taken, ";");
	if (strstr(text, "bad")) {
		snprintf(reason, cap, "/to/0: not an address");
		return ERR_INVALID;
	}
	return answer;
}

static void put(int i, const char *text)
{
	assert_int_equal(store_drop_put(str_from(text), names[i], sizeof names[i]), 0);
	hal_clock_sleep_until(hal_clock_in(2));
}

static void test_in_order_and_once(void **state)
{
	(void)state;

	assert_int_equal(store_drop_take(buffer, sizeof buffer, take, NULL, &count), 0);
	assert_int_equal(count.taken + count.refused + count.left, 0);
	put(0, "first");
	put(1, "bad one");
	put(2, "third");
	answer = ERR_FULL;
	assert_int_equal(store_drop_take(buffer, sizeof buffer, take, NULL, &count), 0);
	assert_int_equal(count.taken, 0);
	assert_int_equal(count.refused, 1);
	assert_int_equal(count.left, 2);
	assert_int_equal(count.left_rc, ERR_FULL);
	assert_string_equal(count.left_name, names[0]);
	assert_string_equal(count.left_reason, err_text(ERR_FULL));
	answer = 0;
	taken[0] = '\0';
	assert_int_equal(store_drop_take(buffer, sizeof buffer, take, NULL, &count), 0);
	assert_int_equal(count.taken, 2);
	assert_int_equal(count.refused, 0);
	assert_int_equal(count.left, 0);
	assert_string_equal(taken, "first;third;");
	assert_int_equal(store_drop_take(buffer, sizeof buffer, take, NULL, &count), 0);
	assert_int_equal(count.taken, 0);
	char path[256], text[64] = "";
	snprintf(path, sizeof path, "drop/refused/%s", names[1]);
	assert_int_equal(hal_storage_size(path), 7);
	strcat(path, ".reason");
	assert_int_equal(sim_disk_read(path, 0, text, sizeof text - 1), 21);
	assert_string_equal(text, "/to/0: not an address");
	assert_int_equal(sim_disk_unsynced(), 0);
}

static void test_too_large_and_strangers(void **state)
{
	(void)state;
	static char large[2000];
	char path[256];

	memset(large, 'x', sizeof large - 1);
	put(0, large);
	sim_disk_write("drop/.unfinished.json", 0, "x", 1);
	sim_disk_write("drop/readme.txt", 0, "x", 1);
	assert_int_equal(store_drop_take(buffer, sizeof buffer, take, NULL, &count), 0);
	assert_int_equal(count.refused, 1);
	assert_string_equal(taken, "");
	snprintf(path, sizeof path, "drop/refused/%s", names[0]);
	assert_int_equal(hal_storage_size(path), 1999);
	assert_int_equal(hal_storage_size("drop/readme.txt"), 1);
}

/* One was taken in, the rest has no room: that is said, not hidden behind the first. */
static int take_first(void *arg, struct str name, char *text, size_t len, char *reason, size_t cap)
{
	(void)arg;
	(void)name;
	(void)text;
	(void)len;
	if (answer++ == 0) return 0;
	snprintf(reason, cap, "no room for it");
	return ERR_FULL;
}

static void test_some_stay(void **state)
{
	(void)state;
	put(0, "first");
	put(1, "second");
	put(2, "third");
	assert_int_equal(store_drop_take(buffer, sizeof buffer, take_first, NULL, &count), 0);
	assert_int_equal(count.taken, 1);
	assert_int_equal(count.left, 2);
	assert_int_equal(count.left_rc, ERR_FULL);
	assert_string_equal(count.left_name, names[1]);
	assert_string_equal(count.left_reason, "no room for it");
}

/* A power cut anywhere: what put answered is taken in by a later boot, whole. */
static bool *answered;

static void put_boot(void *arg)
{
	(void)arg;
	if (hal_storage_open("data") == 0 && store_drop_put(STR("the job"), names[0], sizeof names[0]) == 0)
		*answered = true;
}

static void take_boot(void *arg)
{
	(void)arg;
	taken[0] = '\0';
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_drop_take(buffer, sizeof buffer, take, NULL, &count), 0);
	assert_true(count.taken >= (*answered ? 1 : 0) && count.refused == 0 && count.left == 0);
	if (count.taken == 1) assert_string_equal(taken, "the job;");
}

static void test_power_cut(void **state)
{
	(void)state;
	for (uint64_t op = 1; op < 40; op++) {
		for (int damage = SIM_DAMAGE_DROP; damage <= SIM_DAMAGE_TEAR; damage++) {
			struct sim_config c = sim_config_default(op);
			sim_reset();
			answered = sim_shared(sizeof *answered);
			*answered = false;
			c.quiet = true;
			c.faults.disk.cut_at_op = op;
			c.faults.disk.cut_at_end = true;
			c.faults.disk.damage = (enum sim_damage)damage;
			sim_run(&c, put_boot, NULL);
			c.faults.disk.cut_at_op = 0;
			c.faults.disk.cut_at_end = false;
			assert_int_equal(sim_run(&c, take_boot, NULL).end, SIM_FINISHED);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_order_and_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large_and_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_some_stay, setup, teardown),
		cmocka_unit_test(test_power_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
