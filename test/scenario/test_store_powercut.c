/* The power goes at every write, sync, create, remove of a script, with every kind of damage to what was not
 * synced; the ledger stands outside of the device. What was answered must be there at the next boot, and what
 * is there must be whole.
 *
 * STORE_CUT_STEP=n takes every n-th point only, for runs under a sanitizer; STORE_CUT_SEEDS=n so many seeds
 * (default 1). */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "hal_thread.h"
#include "sim/sim.h"
#include "store_kit.h"

#define SUBMITTERS 3
#define JOBS_EACH  6
#define JOBS       (SUBMITTERS * JOBS_EACH)

/* Written before the store is asked and after it answered; lives through power cuts. */
struct ledger {
	struct entry {
		bool asked, accepted;
		int64_t id;
		bool finishing, finished;
		bool cancelled;
	} jobs[JOBS];
	bool opened; /* a boot came so far that it could check */
	unsigned checked;
};
static struct ledger *ledger;
static struct store *the;

static void name_of(unsigned n, char *name)
{
	sprintf(name, "mail-%02u", n);
}

static size_t size_of(unsigned n)
{
	return n % 7 == 3 ? 40000 : 300 + n * 37;
}

static void submitter(void *arg)
{
	static struct kit_job kits[SUBMITTERS];
	unsigned me = *(unsigned *)arg;
	char name[32];

	for (unsigned i = 0; i < JOBS_EACH; i++) {
		unsigned n = me * JOBS_EACH + i;
		struct entry *e = &ledger->jobs[n];
		bool known;

		name_of(n, name);
		kit_job_make(&kits[me], name, n % 4 == 1 ? 3 : 1, size_of(n));
		e->asked = true;
		if (kit_accept_job(the, &kits[me], "p", &e->id, &known) == 0) e->accepted = true;
	}
}

static void worker(void *arg)
{
	struct store_claimed c;

	(void)arg;
	for (unsigned idle = 0; idle < 5;) {
		if (kit_claim(the, "p", &c) != 1) {
			idle++;
			hal_clock_sleep_until(hal_clock_in(10));
			continue;
		}
		unsigned n = (unsigned)strtoul(c.message_id + 5, NULL, 10);
		struct entry *e = &ledger->jobs[n];
		if (n % 5 == 4 && c.retry_count == 0) {
			kit_finish(the, c.id, JOB_PENDING, JOB_REASON_RETRY, hal_clock_wall_ms(NULL) + 20);
			continue;
		}
		e->finishing = true;
		if (kit_finish(the, c.id, JOB_COMPLETED, JOB_REASON_NONE, 0) == 0) e->finished = true;
		if (n % 6 == 0) kit_tick(the, 20);
	}
}

static int open_world(void)
{
	struct store_config c = kit_config();

	c.max_bytes = 8 << 20;
	c.reserve_bytes = 65536;
	if (hal_storage_open("data") < 0) return -1;
	return store_open(&c, &the);
}

static void work_boot(void *arg)
{
	struct hal_thread t[SUBMITTERS + 1];
	unsigned numbers[SUBMITTERS];

	(void)arg;
	assert_int_equal(open_world(), 0);
	for (unsigned i = 0; i < SUBMITTERS; i++) {
		numbers[i] = i;
		assert_int_equal(hal_thread_start(&t[i], "submitter", 65536, submitter, &numbers[i]), 0);
	}
	assert_int_equal(hal_thread_start(&t[SUBMITTERS], "worker", 65536, worker, NULL), 0);
	for (unsigned i = 0; i <= SUBMITTERS; i++)
		hal_thread_join(&t[i]);
	store_close(the);
	hal_storage_close();
}

static bool src_is_whole(int64_t id, unsigned n)
{
	static char bytes[65536];
	char name[32];
	struct store_src_read r;

	name_of(n, name);
	store_src_read_init(&r);
	r.id = id;
	r.bytes = bytes;
	r.cap = sizeof bytes;
	return store_do(the, &r.op) == 0 && r.len == size_of(n) && kit_src_is(name, bytes, r.len);
}

static void check_boot(void *arg)
{
	struct store_job_get g;
	int64_t pending = 0, completed = 0;
	char name[32];

	(void)arg;
	assert_int_equal(open_world(), 0);
	for (unsigned n = 0; n < JOBS; n++) {
		struct entry *e = &ledger->jobs[n];

		name_of(n, name);
		store_job_get_init(&g);
		g.tenant_id = STR("t");
		g.message_id = str_from(name);
		int rc = store_do(the, &g.op);
		if (!e->asked) assert_int_equal(rc, ERR_NOT_FOUND);
		if (e->accepted && rc != 0)
			fail_msg("%s was accepted as %d and is lost: %s", name, (int)e->id, err_text(rc));
		if (e->accepted) assert_int_equal(g.job.id, e->id);
		if (e->finished && g.job.state != JOB_COMPLETED)
			fail_msg("%s was finished and is %d", name, (int)g.job.state);
		if (rc != 0) continue;
		if (!e->finishing) assert_int_equal(g.job.state, JOB_PENDING);
		pending += g.job.state == JOB_PENDING;
		completed += g.job.state == JOB_COMPLETED;
		assert_true(src_is_whole(g.job.id, n));
	}
	struct store_status st = kit_status(the);
	assert_int_equal(st.count[JOB_PENDING], pending);
	assert_int_equal(st.count[JOB_COMPLETED], completed);
	assert_int_equal(st.quarantined, 0);
	assert_true(st.events_waiting >= completed);
	/* and it goes on: all is taken in and sent */
	struct hal_thread t[2];
	unsigned zero = 0;
	assert_int_equal(hal_thread_start(&t[0], "submitter", 65536, submitter, &zero), 0);
	assert_int_equal(hal_thread_start(&t[1], "worker", 65536, worker, NULL), 0);
	hal_thread_join(&t[0]);
	hal_thread_join(&t[1]);
	assert_int_equal(kit_status(the).count[JOB_PENDING], 0);
	store_close(the);
	hal_storage_close();
	ledger->checked++;
}

static unsigned env_number(const char *name, unsigned fallback)
{
	const char *text = getenv(name);
	unsigned n = text ? (unsigned)strtoul(text, NULL, 10) : 0;

	return n ? n : fallback;
}

static struct sim_config boot_config(uint64_t seed)
{
	struct sim_config c = sim_config_default(seed);

	c.faults.disk.sync_ms = 2;
	c.quiet = true;
	return c;
}

static void start_over(void)
{
	sim_reset();
	ledger = sim_shared(sizeof *ledger);
	memset(ledger, 0, sizeof *ledger);
}

static uint64_t points_of(uint64_t seed)
{
	start_over();
	struct sim_config c = boot_config(seed);
	struct sim_result r = sim_run(&c, work_boot, NULL);
	assert_int_equal(r.end, SIM_FINISHED);
	return r.disk_ops;
}

/* One cut, then a boot that is cut itself while it recovers (second > 0), then one that checks. */
static void one_cut(uint64_t seed, uint64_t point, enum sim_damage damage, uint64_t second)
{
	start_over();
	struct sim_config c = boot_config(seed);
	c.faults.disk.cut_at_op = point;
	c.faults.disk.damage = damage;
	assert_int_equal(sim_run(&c, work_boot, NULL).end, SIM_POWER_CUT);
	if (second) {
		c.faults.disk.cut_at_op = second;
		sim_run(&c, work_boot, NULL);
	}
	c.faults.disk.cut_at_op = 0;
	c.quiet = false;
	struct sim_result r = sim_run(&c, check_boot, NULL);
	if (r.end != SIM_FINISHED)
		fail_msg("seed %llu cut at op %llu (then %llu) damage %d: %s", (unsigned long long)seed,
			 (unsigned long long)point, (unsigned long long)second, (int)damage,
			 sim_end_text(r.end));
}

static void test_every_point(void **state)
{
	unsigned step = env_number("STORE_CUT_STEP", 1), seeds = env_number("STORE_CUT_SEEDS", 1), runs = 0;
	uint64_t points = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		points = points_of(seed);
		for (int damage = SIM_DAMAGE_DROP; damage <= SIM_DAMAGE_TEAR; damage++) {
			for (uint64_t p = 1 + ((uint64_t)damage + seed) % step; p <= points;
			     p += step, runs++)
				one_cut(seed, p, (enum sim_damage)damage, 0);
		}
	}
	print_message("%u power cuts, %llu points in the script\n", runs, (unsigned long long)points);
}

static void test_cut_while_recovering(void **state)
{
	unsigned step = env_number("STORE_CUT_STEP", 1), runs = 0;
	uint64_t points = points_of(1);

	(void)state;
	for (uint64_t p = 5; p <= points; p += 7 * step) {
		for (uint64_t second = 1; second < 12; second += step, runs++)
			one_cut(1, p, SIM_DAMAGE_ANY, second);
	}
	print_message("%u power cuts in a row of two\n", runs);
}

/* ---- a database of version 1 ---- */

static void downgrade_boot(void *arg)
{
	char path[512];
	sqlite3 *db;

	(void)arg;
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(hal_storage_path("postern.db", path, sizeof path), 0);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, hal_storage_vfs()), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL;"
				      "DROP TABLE log; PRAGMA user_version=1",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	hal_storage_close();
}

static void migrate_boot(void *arg)
{
	(void)arg;
	assert_int_equal(open_world(), 0);
	store_close(the);
	hal_storage_close();
}

/* Its ledger is full of jobs, and it waits to be migrated. */
static void make_version_1(void)
{
	struct sim_config c = boot_config(1);

	start_over();
	assert_int_equal(sim_run(&c, work_boot, NULL).end, SIM_FINISHED);
	assert_int_equal(sim_run(&c, downgrade_boot, NULL).end, SIM_FINISHED);
}

static void test_cut_while_migrating(void **state)
{
	struct sim_config c = boot_config(1);
	unsigned runs = 0;

	(void)state;
	make_version_1();
	uint64_t points = sim_run(&c, migrate_boot, NULL).disk_ops;
	assert_true(points > 3);
	for (int damage = SIM_DAMAGE_DROP; damage <= SIM_DAMAGE_TEAR; damage++) {
		for (uint64_t p = 1; p <= points; p++, runs++) {
			make_version_1();
			c.faults.disk.cut_at_op = p;
			c.faults.disk.damage = (enum sim_damage)damage;
			assert_int_equal(sim_run(&c, migrate_boot, NULL).end, SIM_POWER_CUT);
			c.faults.disk.cut_at_op = 0;
			struct sim_result r = sim_run(&c, check_boot, NULL);
			if (r.end != SIM_FINISHED)
				fail_msg("cut at op %llu damage %d: %s", (unsigned long long)p, damage,
					 sim_end_text(r.end));
			assert_int_equal(ledger->checked, 1);
		}
	}
	print_message("%u power cuts while it migrates\n", runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_point),
		cmocka_unit_test(test_cut_while_recovering),
		cmocka_unit_test(test_cut_while_migrating),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
