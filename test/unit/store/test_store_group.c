/* Many at once share a commit, and one that fails does so alone; what a full, read-only or newer storage
 * means. */
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
#include "hal_thread.h"
#include "sim/sim.h"
#include "sim/sim_world.h"
#include "store_kit.h"

#define SUBMITTERS 64

static struct store *s;
static struct kit_job job;
static struct store_claimed claimed;
static struct store_job seen;
static struct store_config config;

static int setup(void **state)
{
	(void)state;
	sim_reset();
	config = kit_config();
	memset(&claimed, 0, sizeof claimed);
	kit_store_open(&config, &s);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_store_close(&s);
	return 0;
}

static void hinted(void *arg)
{
	++*(int *)arg;
}

static void pass_time(int64_t ms)
{
	hal_clock_sleep_until(hal_clock_in(ms));
}

/* ---- groups ---- */

static struct kit_job many[SUBMITTERS];
static int answers[SUBMITTERS];

static void submitter(void *arg)
{
	size_t me = (size_t)((struct kit_job *)arg - many);

	answers[me] = kit_accept_job(s, arg, "p", NULL, NULL);
}

static void submit_all(size_t src_len)
{
	static struct hal_thread t[SUBMITTERS];
	char name[32];

	for (size_t i = 0; i < SUBMITTERS; i++) {
		sprintf(name, "mail-%zu", i);
		kit_job_make(&many[i], name, 1, src_len);
		assert_int_equal(hal_thread_start(&t[i], "submitter", 65536, submitter, &many[i]), 0);
	}
	for (size_t i = 0; i < SUBMITTERS; i++)
		hal_thread_join(&t[i]);
}

static void test_many_share_a_sync(void **state)
{
	(void)state;
	sim_faults()->disk.sync_ms = 5;
	int64_t syncs = kit_status(s).syncs, groups = kit_status(s).groups;
	submit_all(700);
	for (size_t i = 0; i < SUBMITTERS; i++)
		assert_int_equal(answers[i], 0);
	syncs = kit_status(s).syncs - syncs;
	groups = kit_status(s).groups - groups;
	print_message("%d mails: %d groups, %d syncs\n", SUBMITTERS, (int)groups, (int)syncs);
	assert_true(groups <= 8);
	assert_true(syncs <= 12);
	assert_int_equal(kit_status(s).count[JOB_PENDING], SUBMITTERS);
}

/* Handed in together, so that they are one group: the second of three cannot be written. */
static struct store_accept ops[3];
static struct kit_job three[3];

static void submit_three(void)
{
	char name[32];

	for (int i = 0; i < 3; i++) {
		sprintf(name, "three-%d", i);
		kit_job_make(&three[i], name, 1, i == 1 ? 60000 : 500);
		store_accept_init(&ops[i]);
		ops[i].job = &three[i].job;
		ops[i].src = (struct str){three[i].src, three[i].src_len};
		ops[i].message_id = three[i].job.message_id;
		ops[i].provider = STR("p");
		ops[i].expire_ms = KIT_DAY_MS;
		ops[i].op.rc = 12345;
	}
}

static void noted(struct store_op *op)
{
	++*(int *)op->arg;
}

static void test_one_fails_alone(void **state)
{
	(void)state;
	int done = 0;

	submit_three();
	/* too many bytes for the budget, but not for a row: only the middle one is refused, after it was
	 * begun */
	ops[1].with = &ops[2];
	ops[2].message_id = STR("three-0");
	three[2].job.digest[3] ^= 1;
	for (int i = 0; i < 2; i++) {
		ops[i].op.done = noted;
		ops[i].op.arg = &done;
		store_submit(s, &ops[i].op);
	}
	while (done < 2)
		pass_time(10);
	assert_int_equal(ops[0].op.rc, 0);
	assert_int_equal(ops[1].op.rc, ERR_CONFLICT);
	assert_int_equal(ops[1].failed_index, 1);
	assert_int_equal(kit_status(s).count[JOB_PENDING], 1);
	/* nothing of the refused one is left */
	struct store_job_get g;
	store_job_get_init(&g);
	g.tenant_id = STR("t");
	g.message_id = STR("three-1");
	assert_int_equal(store_do(s, &g.op), ERR_NOT_FOUND);
}

static void test_stopping(void **state)
{
	(void)state;
	int done = 0;

	submit_three();
	for (int i = 0; i < 3; i++) {
		ops[i].op.done = noted;
		ops[i].op.arg = &done;
		store_submit(s, &ops[i].op);
	}
	store_close(s);
	s = NULL;
	assert_int_equal(done, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ops[i].op.rc, 0);
}

/* ---- space ---- */

static int fill(const char *what, int max, int *last)
{
	char name[32];
	int rc = 0, n = 0;

	for (; n < max && rc == 0; n++) {
		sprintf(name, "%s-%d", what, n);
		kit_job_make(&job, name, 1, 20000);
		rc = kit_accept_job(s, &job, "p", NULL, NULL);
	}
	*last = rc;
	return rc == 0 ? n : n - 1;
}

static int64_t disk_used(void)
{
	struct hal_storage_info before;

	assert_int_equal(hal_storage_info(&before), 0);
	int64_t capacity = sim_faults()->disk.capacity_bytes;

	return (capacity ? capacity : 64 << 20) - before.free_bytes;
}

static void test_full(void **state)
{
	(void)state;
	int rc;

	store_close(s);
	config.max_bytes = 8 << 20;
	config.reserve_bytes = 1 << 20;
	assert_int_equal(store_open(&config, &s), 0);
	int n = fill("a", 2000, &rc);
	assert_int_equal(rc, ERR_FULL);
	assert_true(n > 100);
	assert_true(kit_status(s).full);
	/* all of them can be tried three times and failed: that needs room */
	for (int round = 0; round < 4; round++) {
		while (kit_claim(s, "p", &claimed) == 1)
			assert_int_equal(kit_finish(s, claimed.id, round < 3 ? JOB_PENDING : JOB_FAILED,
						    JOB_REASON_RETRY, hal_clock_wall_ms(NULL) + 1000),
					 0);
		pass_time(2000);
		kit_tick(s, 50);
	}
	assert_int_equal(kit_status(s).count[JOB_FAILED], n);
	assert_true(disk_used() <= config.max_bytes);
	fill("b", 1, &rc);
	assert_int_equal(rc, ERR_FULL);
	/* failed ones stay; purging makes room */
	struct store_purge p;
	store_purge_init(&p);
	p.state = JOB_FAILED;
	p.older_than_ms = hal_clock_wall_ms(NULL) + 1;
	p.batch = 50;
	int purged = 0;
	do {
		assert_int_equal(store_do(s, &p.op), 0);
		purged += (int)p.count;
	} while (p.count);
	assert_int_equal(purged, n);
	fill("b", 50, &rc);
	assert_int_equal(rc, 0);
}

static void test_completed_make_room(void **state)
{
	(void)state;
	int rc;

	store_close(s);
	config.max_bytes = 8 << 20;
	assert_int_equal(store_open(&config, &s), 0);
	fill("a", 2000, &rc);
	assert_int_equal(rc, ERR_FULL);
	while (kit_claim(s, "p", &claimed) == 1)
		assert_int_equal(kit_finish(s, claimed.id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	assert_int_equal(fill("b", 60, &rc), 60);
	assert_int_equal(rc, 0);
	/* their identities stay */
	bool known;
	kit_job_make(&job, "a-0", 1, 20000);
	assert_int_equal(kit_accept_job(s, &job, "p", NULL, &known), 0);
	assert_true(known);
	assert_true(disk_used() <= config.max_bytes);
}

/* The end of an attempt that takes room: a result of 3 KB. */
static int end_with_a_tale(int64_t id)
{
	static char tale[3000];
	struct store_finish f;

	memset(tale, 'x', sizeof tale);
	store_finish_init(&f);
	f.id = id;
	f.state = JOB_COMPLETED;
	f.counted = f.publish = true;
	f.started_ms = f.ended_ms = hal_clock_wall_ms(NULL);
	f.event = (struct str){tale, sizeof tale};
	return store_do(s, &f.op);
}

static void test_file_system_full(void **state)
{
	(void)state;
	int rc;

	/* others have written the rest of the disk */
	int n = fill("a", 1200, &rc);
	assert_int_equal(n, 1200);
	sim_faults()->disk.capacity_bytes = disk_used() + 8192;
	fill("b", 100, &rc);
	assert_true(rc == ERR_NO_SPACE || rc == ERR_FULL);
	/* a submission that finds no room leaves the reserve to those who end */
	assert_false(kit_status(s).reserve_used);
	sim_faults()->disk.capacity_bytes = disk_used();
	while (kit_claim(s, "p", &claimed) == 1) {
		assert_int_equal(kit_finish(s, claimed.id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
		n--;
	}
	assert_true(n <= 0);
	assert_true(kit_status(s).reserve_used);
	fill("c", 1, &rc);
	assert_int_equal(rc, ERR_NO_SPACE);
	sim_faults()->disk.capacity_bytes = 0;
	kit_tick(s, 10);
	assert_false(kit_status(s).reserve_used);
	fill("c", 1, &rc);
	assert_int_equal(rc, 0);
}

/* The disk is so full that no end can be written, reserve and all: nothing more is handed out to be sent, before
 * and after a start, until there is room. */
static void test_no_room_for_an_end(void **state)
{
	(void)state;
	int rc, n = 0;

	assert_int_equal(fill("a", 1200, &rc), 1200);
	hal_storage_remove("reserve");
	while (n < 1200 && kit_claim(s, "p", &claimed) == 1) {
		sim_faults()->disk.capacity_bytes = disk_used();
		rc = end_with_a_tale(claimed.id);
		if (rc < 0) break;
		n++;
	}
	assert_int_equal(rc, ERR_NO_SPACE);
	int64_t in_hand = claimed.id;
	assert_int_equal(kit_claim(s, "p", &claimed), ERR_NO_SPACE);
	store_close(s);
	assert_int_equal(store_open(&config, &s), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), ERR_NO_SPACE);
	sim_faults()->disk.capacity_bytes = 0;
	kit_tick(s, 10);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.id, in_hand);
	assert_int_equal(end_with_a_tale(claimed.id), 0);
}

static void test_read_only(void **state)
{
	(void)state;
	int64_t id;

	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	store_close(s);
	s = NULL;
	sim_faults()->disk.read_only = true;
	assert_int_equal(store_open(&config, &s), 0);
	assert_true(kit_status(s).read_only);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_string_equal(seen.message_id, "m1");
	assert_int_equal(kit_accept(s, "m2", "p", NULL), ERR_READ_ONLY);
	/* mounted read-write again: noticed without a start */
	sim_faults()->disk.read_only = false;
	pass_time(60000);
	kit_accept(s, "m2", "p", NULL);
	assert_int_equal(kit_accept(s, "m2", "p", NULL), 0);
	assert_false(kit_status(s).read_only);
	/* under a running store */
	sim_faults()->disk.fail_calls = SIM_DISK_WRITE | SIM_DISK_CREATE;
	sim_faults()->disk.fail_at = 1;
	sim_faults()->disk.fail_on = true;
	sim_faults()->disk.fail_err = ERR_READ_ONLY;
	assert_true(kit_accept(s, "m3", "p", NULL) < 0);
	sim_faults()->disk.fail_at = 0;
	pass_time(60000);
	assert_int_equal(kit_accept(s, "m4", "p", NULL), 0);
}

/* ---- time ---- */

static void test_retention(void **state)
{
	(void)state;
	char name[32];
	bool known;

	for (int i = 0; i < 30; i++) {
		sprintf(name, "m%d", i);
		assert_int_equal(kit_accept(s, name, "p", NULL), 0);
	}
	for (int i = 0; i < 20; i++) {
		assert_int_equal(kit_claim(s, "p", &claimed), 1);
		assert_int_equal(
			kit_finish(s, claimed.id, i % 2 ? JOB_COMPLETED : JOB_FAILED, JOB_REASON_REFUSED, 0),
			0);
	}
	assert_int_equal(kit_tick(s, 100), 0);
	pass_time(4 * KIT_DAY_MS);
	assert_int_equal(kit_tick(s, 100), 0);
	pass_time(2 * KIT_DAY_MS); /* those that still wait expire */
	assert_int_equal(kit_tick(s, 4), 4);
	assert_int_equal(kit_tick(s, 100), 6);
	assert_int_equal(kit_status(s).count[JOB_FAILED], 20);
	assert_int_equal(kit_get(s, 25, &seen), 0);
	assert_int_equal(seen.reason, JOB_REASON_EXPIRED);
	assert_true(seen.error[0] != '\0');
	pass_time(2 * KIT_DAY_MS); /* results */
	assert_int_equal(kit_tick(s, 100), 20);
	assert_int_equal(kit_status(s).events_waiting, 10);
	pass_time(23 * KIT_DAY_MS); /* completed ones, and the results of those that expired */
	assert_int_equal(kit_tick(s, 100), 20);
	assert_int_equal(kit_status(s).count[JOB_COMPLETED], 0);
	assert_int_equal(kit_status(s).count[JOB_FAILED], 20);
	kit_job_make(&job, "m1", 1, 700);
	assert_int_equal(kit_accept_job(s, &job, "p", NULL, &known), 0);
	assert_true(known);
	pass_time(65 * KIT_DAY_MS); /* failed ones */
	for (int i = 0; i < 10; i++)
		kit_tick(s, 100);
	assert_int_equal(kit_status(s).count[JOB_FAILED], 0);
	pass_time(100 * KIT_DAY_MS); /* identities */
	for (int i = 0; i < 10; i++)
		kit_tick(s, 100);
	assert_int_equal(kit_accept_job(s, &job, "p", NULL, &known), 0);
	assert_false(known);
}

static void step_clock(int64_t ms)
{
	struct store_clock_stepped c;

	sim_clock_jump(ms);
	store_clock_stepped_init(&c);
	c.delta_ms = ms;
	assert_int_equal(store_do(s, &c.op), 0);
}

static void test_clock_stepped(void **state)
{
	(void)state;
	int64_t retry, fixed, now = hal_clock_wall_ms(NULL);

	assert_int_equal(kit_accept(s, "retry", "p", &retry), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, retry, JOB_PENDING, JOB_REASON_RETRY, now + 5000), 0);
	kit_job_make(&job, "fixed", 1, 100);
	job.job.send_at_ms = now + 3 * KIT_DAY_MS;
	assert_int_equal(kit_accept_job(s, &job, "p", &fixed, NULL), 0);
	/* a year ahead: the retry still waits its five seconds, nothing expires, the fixed one is due */
	step_clock(365 * KIT_DAY_MS);
	kit_tick(s, 10);
	assert_int_equal(kit_get(s, retry, &seen), 0);
	assert_int_equal(seen.state, JOB_PENDING);
	assert_int_equal(seen.due_ms, now + 5000 + 365 * KIT_DAY_MS);
	assert_int_equal(kit_get(s, fixed, &seen), 0);
	assert_int_equal(seen.due_ms, now + 3 * KIT_DAY_MS);
	/* and back */
	step_clock(-365 * KIT_DAY_MS);
	assert_int_equal(kit_get(s, retry, &seen), 0);
	assert_int_equal(seen.due_ms, now + 5000);
	assert_int_equal(kit_get(s, fixed, &seen), 0);
	assert_int_equal(seen.due_ms, now + 3 * KIT_DAY_MS);
	assert_int_equal(kit_claim(s, "p", &claimed), 0);
	pass_time(5001);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.id, retry);
}

/* Results, ended jobs and identities that got the time of a clock that was not set are as old as they are. */
static void end_two(const char *one, const char *two)
{
	int64_t id;

	assert_int_equal(kit_accept(s, one, "p", &id), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	assert_int_equal(kit_accept(s, two, "p", &id), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, id, JOB_FAILED, JOB_REASON_REFUSED, 0), 0);
}

static void purge_completed(void)
{
	struct store_purge p;

	store_purge_init(&p);
	p.state = JOB_COMPLETED;
	p.older_than_ms = hal_clock_wall_ms(NULL) + 1;
	p.batch = 10;
	assert_int_equal(store_do(s, &p.op), 0);
	assert_int_equal(p.count, 2);
}

static void test_clock_stepped_ended(void **state)
{
	(void)state;
	bool known;

	end_two("old-1", "old-2"); /* with the right time, by a start before */
	store_close(s);
	pass_time(KIT_DAY_MS);
	assert_int_equal(store_open(&config, &s), 0);
	end_two("m1", "m2");
	purge_completed();
	end_two("m3", "m4");
	pass_time(60000);
	step_clock(20000 * KIT_DAY_MS);
	for (int i = 0; i < 10; i++)
		kit_tick(s, 100);
	assert_int_equal(kit_status(s).count[JOB_COMPLETED], 1);
	assert_int_equal(kit_status(s).count[JOB_FAILED], 2);
	assert_int_equal(kit_status(s).events_waiting, 4);
	assert_true(kit_status(s).last_success_ms > hal_clock_wall_ms(NULL) - 100000);
	kit_job_make(&job, "m1", 1, 700);
	assert_int_equal(kit_accept_job(s, &job, "p", NULL, &known), 0);
	assert_true(known);
	pass_time(8 * KIT_DAY_MS);
	kit_tick(s, 100);
	assert_int_equal(kit_status(s).events_waiting, 0);
	pass_time(83 * KIT_DAY_MS);
	for (int i = 0; i < 10; i++)
		kit_tick(s, 100);
	assert_int_equal(kit_status(s).count[JOB_FAILED], 0);
}

/* The tick judges by the time that its caller knows of: what it was not told about expires nothing. */
static void test_tick_of_the_caller(void **state)
{
	struct store_tick t;
	int64_t now = hal_clock_wall_ms(NULL);

	(void)state;
	assert_int_equal(kit_accept(s, "m1", "p", NULL), 0);
	sim_clock_jump(365 * KIT_DAY_MS);
	store_tick_init(&t);
	t.batch = 10;
	t.now_ms = now;
	t.clock_set = true;
	assert_int_equal(store_do(s, &t.op), 0);
	assert_int_equal(t.expired, 0);
	step_clock(0);
	t.now_ms = 0;
	assert_int_equal(store_do(s, &t.op), 0);
	assert_int_equal(t.expired, 1);
}

/* Moved once, whatever failed on the way. */
static void test_clock_step_fails(void **state)
{
	enum { MANY = 1200, DUE_MS = 7200000 };
	int64_t now = hal_clock_wall_ms(NULL), id[MANY], moved = 0;
	char name[16];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		sprintf(name, "m%d", i);
		assert_int_equal(kit_accept(s, name, "p", &id[i]), 0);
		assert_int_equal(kit_claim(s, "p", &claimed), 1);
		assert_int_equal(kit_finish(s, id[i], JOB_PENDING, JOB_REASON_RETRY, now + DUE_MS), 0);
	}
	for (int at = 1; at <= 6; at++) {
		struct store_clock_stepped c;

		sim_clock_jump(3600000);
		moved += 3600000;
		store_clock_stepped_init(&c);
		c.delta_ms = 3600000;
		sim_faults()->disk.fail_calls = SIM_DISK_SYNC;
		sim_faults()->disk.fail_err = ERR_IO;
		sim_faults()->disk.fail_at = (uint64_t)at + sim_world.disk_calls;
		while (store_do(s, &c.op) < 0)
			pass_time(500);
		sim_faults()->disk.fail_at = 0;
		for (int i = 0; i < MANY; i++) {
			assert_int_equal(kit_get(s, id[i], &seen), 0);
			if (seen.due_ms != now + DUE_MS + moved)
				fail_msg("sync %d, job %d: %lld ms off", at, i,
					 (long long)(seen.due_ms - now - DUE_MS - moved));
		}
	}
}

/* The end was on flash although its sync failed, and is handed in again after others were claimed: the job is due
 * and claimed once more, and whoever waits for work hears of it. */
static void test_end_that_was_there(void **state)
{
	int64_t x, y, now = hal_clock_wall_ms(NULL);
	struct store_finish f;
	int hints = 0;

	(void)state;
	assert_int_equal(kit_accept(s, "x", "p", &x), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	store_finish_init(&f);
	f.id = x;
	f.state = JOB_PENDING;
	f.reason = JOB_REASON_RETRY;
	f.counted = f.publish = true;
	f.retry_count = 1;
	f.started_ms = f.ended_ms = now;
	f.due_ms = now + 500;
	f.text = "later";
	f.event = STR("{}");
	sim_faults()->disk.fail_calls = SIM_DISK_SYNC;
	sim_faults()->disk.fail_err = ERR_IO;
	sim_faults()->disk.fail_at = 1 + sim_world.disk_calls;
	assert_int_equal(store_do(s, &f.op), ERR_IO);
	sim_faults()->disk.fail_at = 0;
	pass_time(1000);
	assert_int_equal(kit_accept(s, "y", "p", &y), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.id, y);
	assert_int_equal(kit_status(s).count[JOB_PROCESSING], 2);
	store_on_work(s, hinted, &hints);
	assert_int_equal(store_do(s, &f.op), 0);
	assert_int_equal(kit_status(s).count[JOB_PROCESSING], 1);
	assert_int_equal(hints, 1);
	assert_int_equal(kit_get(s, x, &seen), 0);
	assert_int_equal(seen.due_ms, now + 500);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.id, x);
	store_on_work(s, NULL, NULL);
}

/* ---- schema ---- */

static void test_newer_schema(void **state)
{
	(void)state;
	static char before[1 << 20], after[1 << 20];

	assert_int_equal(kit_accept(s, "m1", "p", NULL), 0);
	store_close(s);
	s = NULL;
	kit_store_sql("PRAGMA user_version=99");
	int64_t len = sim_disk_read("postern.db", 0, before, sizeof before);
	struct store *none;
	assert_int_equal(store_open(&config, &none), ERR_NEWER);
	assert_int_equal(sim_disk_read("postern.db", 0, after, sizeof after), len);
	assert_memory_equal(before, after, (size_t)len);
	assert_true(sim_disk_size("postern.db.corrupt-1") < 0);
	/* damaged besides: still not ours */
	memset(after, 0xaa, 4096);
	sim_disk_write("postern.db", 3 * 4096, after, 4096);
	assert_int_equal(store_open(&config, &none), ERR_NEWER);
	kit_store_sql("PRAGMA user_version=1");
}

static void test_migration(void **state)
{
	(void)state;
	store_close(s);
	s = NULL;
	sim_disk_remove("postern.db");
	kit_store_sql("PRAGMA user_version=0; CREATE TABLE of_before(x); INSERT INTO of_before VALUES(42)");
	assert_int_equal(store_open(&config, &s), 0);
	assert_int_equal(kit_accept(s, "m1", "p", NULL), 0);
	store_close(s);
	s = NULL;
	kit_store_sql("UPDATE of_before SET x=x+1");
	assert_int_equal(store_open(&config, &s), 0);
	assert_int_equal(kit_status(s).count[JOB_PENDING], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many_share_a_sync, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_fails_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopping, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_completed_make_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_system_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room_for_an_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retention, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock_stepped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock_stepped_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tick_of_the_caller, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock_step_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_that_was_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newer_schema, setup, teardown),
		cmocka_unit_test_setup_teardown(test_migration, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
