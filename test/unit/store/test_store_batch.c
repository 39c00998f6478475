/* Many at a time: claims of several jobs into one buffer, and operations handed in together. */
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

#define CAP 16

static struct store *s;
static struct kit_job job;
static struct store_claimed claimed[CAP];
static struct store_claim claim;
static char src[65536];

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

static void accept_sized(const char *name, size_t src_len)
{
	kit_job_make(&job, name, 1, src_len);
	assert_int_equal(kit_accept_job(s, &job, "p", NULL, NULL), 0);
}

/* The number of jobs claimed. */
static int claim_some(size_t cap, size_t src_cap)
{
	memset(src, 'x', sizeof src);
	memset(claimed, 0xee, sizeof claimed);
	store_claim_init(&claim);
	claim.provider = STR("p");
	claim.jobs = claimed;
	claim.cap = cap;
	claim.src = src;
	claim.src_cap = src_cap;
	assert_int_equal(store_do(s, &claim.op), 0);
	return (int)claim.count;
}

/* ---- claims ---- */

static void test_originals_are_packed(void **state)
{
	static const char zero[STORE_SRC_PAD];
	char name[16];
	size_t at = 0;

	(void)state;
	for (int i = 0; i < 5; i++) {
		sprintf(name, "m%d", i);
		accept_sized(name, 100 + (size_t)i * 10);
	}
	assert_int_equal(claim_some(CAP, sizeof src), 5);
	for (int i = 0; i < 5; i++) {
		sprintf(name, "m%d", i);
		assert_string_equal(claimed[i].message_id, name);
		assert_int_equal(claimed[i].src_len, 100 + i * 10);
		assert_int_equal(claimed[i].src_have, claimed[i].src_len);
		assert_ptr_equal(claimed[i].src, src + at);
		assert_true(kit_src_is(name, claimed[i].src, claimed[i].src_len));
		assert_memory_equal(claimed[i].src + claimed[i].src_len, zero, sizeof zero);
		at += claimed[i].src_len + STORE_SRC_PAD;
	}
	assert_int_equal(claim.src_used, at);
	assert_int_equal(src[at], 'x');
	assert_int_equal(claim_some(CAP, sizeof src), 0);
}

static void test_cap_is_kept_over_priorities(void **state)
{
	(void)state;
	accept_sized("low", 100);
	kit_job_make(&job, "high", 1, 100);
	job.job.priority = JOB_PRIORITY_HIGH;
	assert_int_equal(kit_accept_job(s, &job, "p", NULL, NULL), 0);
	accept_sized("last", 100);
	assert_int_equal(claim_some(2, sizeof src), 2);
	assert_string_equal(claimed[0].message_id, "high");
	assert_string_equal(claimed[1].message_id, "low");
	assert_int_equal(claim_some(2, sizeof src), 1);
	assert_string_equal(claimed[0].message_id, "last");
}

static void test_what_does_not_fit_is_left(void **state)
{
	(void)state;
	accept_sized("a", 1000);
	accept_sized("b", 1000);
	accept_sized("c", 5000);
	accept_sized("d", 100);
	/* the padding of the second counts */
	assert_int_equal(claim_some(CAP, 2000 + 2 * STORE_SRC_PAD - 1), 1);
	assert_string_equal(claimed[0].message_id, "a");
	/* c is too large behind b: it is not overtaken */
	assert_int_equal(claim_some(CAP, 5500), 1);
	assert_string_equal(claimed[0].message_id, "b");
	/* too large for any claim of this size: alone, without its original */
	assert_int_equal(claim_some(CAP, 5000), 1);
	assert_string_equal(claimed[0].message_id, "c");
	assert_int_equal(claimed[0].src_have, 0);
	assert_int_equal(claimed[0].src_len, 5000);
	assert_null(claimed[0].src);
	assert_int_equal(claim.src_used, 0);
	assert_int_equal(claim_some(CAP, 0), 1);
	assert_string_equal(claimed[0].message_id, "d");
	assert_null(claimed[0].src);
}

static void test_exactly_full(void **state)
{
	(void)state;
	accept_sized("a", 1000);
	accept_sized("b", 1000);
	assert_int_equal(claim_some(CAP, 2000 + 2 * STORE_SRC_PAD), 2);
	assert_int_equal(claim.src_used, 2000 + 2 * STORE_SRC_PAD);
	assert_int_equal(src[claim.src_used], 'x');
}

/* ---- whatever happens, a claim takes what is first ---- */

#define MODEL_JOBS 60

static struct model {
	enum { GONE, WAITING, CLAIMED, FAILED } state;
	int64_t id, due_ms;
	int priority;
} model[MODEL_JOBS];

static uint32_t dice(uint32_t sides)
{
	static uint32_t x = 1;

	x = x * 1664525u + 1013904223u;
	return (x >> 8) % sides;
}

static bool model_before(const struct model *a, const struct model *b)
{
	return a->priority < b->priority || (a->priority == b->priority && a->due_ms < b->due_ms);
}

static bool model_is_due(const struct model *m)
{
	return m->state == WAITING && m->due_ms <= hal_clock_wall_ms(NULL);
}

/* This one may be claimed now: it is due, and none that is due comes before it. */
static void model_claimed(int64_t id)
{
	struct model *c = NULL;

	for (struct model *m = model; m < model + MODEL_JOBS; m++) {
		if (m->state != GONE && m->id == id) c = m;
	}
	assert_non_null(c);
	assert_true(model_is_due(c));
	for (struct model *m = model; m < model + MODEL_JOBS; m++) {
		if (model_is_due(m) && model_before(m, c))
			fail_msg("job %d was claimed before job %d", (int)id, (int)m->id);
	}
	c->state = CLAIMED;
}

static void model_claim(void)
{
	size_t cap = 1 + dice(5);

	claim_some(cap, sizeof src);
	for (size_t i = 0; i < claim.count; i++)
		model_claimed(claimed[i].id);
	for (struct model *m = model; claim.count < cap && m < model + MODEL_JOBS; m++) {
		if (model_is_due(m)) fail_msg("job %d was not claimed", (int)m->id);
	}
}

static int64_t due_of(int64_t id)
{
	struct store_job seen;

	assert_int_equal(kit_get(s, id, &seen), 0);
	return seen.due_ms;
}

static void model_accept(struct model *m)
{
	char name[32];
	static int count;

	sprintf(name, "model-%d", count++);
	kit_job_make(&job, name, 1, 50);
	job.job.priority = (enum job_priority)dice(JOB_PRIORITY_COUNT);
	m->state = WAITING;
	m->priority = job.job.priority;
	if (dice(4) == 0) job.job.send_at_ms = hal_clock_wall_ms(NULL) + dice(100);
	assert_int_equal(kit_accept_job(s, &job, "p", &m->id, NULL), 0);
	m->due_ms = due_of(m->id);
}

static void model_end(struct model *m)
{
	struct store_release r;

	switch (dice(4)) {
	case 0:
		store_release_init(&r);
		r.id = m->id;
		assert_int_equal(store_do(s, &r.op), 0);
		m->state = WAITING;
		break;
	case 1:
		m->due_ms = hal_clock_wall_ms(NULL) + dice(100) - 20;
		assert_int_equal(kit_finish(s, m->id, JOB_PENDING, JOB_REASON_RETRY, m->due_ms), 0);
		m->state = WAITING;
		break;
	case 2:
		assert_int_equal(kit_finish(s, m->id, JOB_FAILED, JOB_REASON_REFUSED, 0), 0);
		m->state = FAILED;
		break;
	default:
		assert_int_equal(kit_finish(s, m->id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
		m->state = GONE;
	}
}

static void model_requeue(struct model *m)
{
	struct store_requeue r;

	store_requeue_init(&r);
	r.id = m->id;
	assert_int_equal(store_do(s, &r.op), 0);
	m->state = WAITING;
	m->due_ms = due_of(m->id);
}

static void test_claims_miss_nothing(void **state)
{
	(void)state;
	memset(model, 0, sizeof model);
	for (int i = 0; i < 6000; i++) {
		struct model *m = &model[dice(MODEL_JOBS)];

		if (dice(3) == 0) model_claim();
		if (dice(5) == 0) hal_clock_sleep_until(hal_clock_in(dice(30)));
		switch (m->state) {
		case GONE: model_accept(m); break;
		case CLAIMED: model_end(m); break;
		case FAILED: model_requeue(m); break;
		case WAITING: break;
		}
	}
}

/* The clock is set back, and nobody has told the store yet: what comes in now is due before all that was. */
static void test_claims_when_the_clock_goes_back(void **state)
{
	struct store_requeue r;

	(void)state;
	hal_clock_sleep_until(hal_clock_in(10000));
	accept_sized("a", 100);
	accept_sized("b", 100);
	assert_int_equal(claim_some(1, sizeof src), 1);
	assert_int_equal(kit_finish(s, claimed[0].id, JOB_FAILED, JOB_REASON_REFUSED, 0), 0);
	assert_int_equal(claim_some(1, sizeof src), 1);
	sim_world.wall_offset_ms -= 5000;
	accept_sized("c", 100);
	assert_int_equal(claim_some(CAP, sizeof src), 1);
	assert_string_equal(claimed[0].message_id, "c");
	sim_world.wall_offset_ms -= 1000;
	store_requeue_init(&r);
	r.id = 1;
	assert_int_equal(store_do(s, &r.op), 0);
	assert_int_equal(claim_some(CAP, sizeof src), 1);
	assert_string_equal(claimed[0].message_id, "a");
}

/* The second of two damaged originals finds no room to be failed: the first waits again too, and is not passed. */
static void test_rolled_back_jobs_are_claimed_again(void **state)
{
	struct store_config c = kit_config();
	struct store_job seen;

	(void)state;
	accept_sized("a", 100);
	hal_clock_sleep_until(hal_clock_in(10));
	accept_sized("b", 100);
	store_close(s);
	kit_store_sql("UPDATE src SET bytes=zeroblob(100)");
	assert_int_equal(store_open(&c, &s), 0);
	sim_faults()->disk.fail_calls = SIM_DISK_WRITE;
	sim_faults()->disk.fail_err = ERR_NO_SPACE;
	sim_faults()->disk.fail_at = 1 + sim_world.disk_calls;
	assert_int_equal(claim_some(CAP, sizeof src), 0);
	sim_faults()->disk.fail_at = 0;
	claim_some(CAP, sizeof src);
	for (int64_t id = 1; id <= 2; id++) {
		assert_int_equal(kit_get(s, id, &seen), 0);
		assert_int_equal(seen.state, JOB_FAILED);
		assert_int_equal(seen.reason, JOB_REASON_BAD);
	}
}

/* An end that could not be written is not handed in again: its job is given back, after others were claimed. */
static void test_given_back_after_a_failed_end(void **state)
{
	struct store_release r;

	(void)state;
	accept_sized("a", 100);
	assert_int_equal(claim_some(1, sizeof src), 1);
	int64_t a = claimed[0].id;
	sim_faults()->disk.fail_calls = SIM_DISK_WRITE;
	sim_faults()->disk.fail_err = ERR_IO;
	sim_faults()->disk.fail_on = true;
	sim_faults()->disk.fail_at = 1;
	assert_int_equal(kit_finish(s, a, JOB_COMPLETED, JOB_REASON_NONE, 0), ERR_IO);
	sim_faults()->disk.fail_at = 0;
	hal_clock_sleep_until(hal_clock_in(1000));
	accept_sized("b", 100);
	assert_int_equal(claim_some(CAP, sizeof src), 1);
	assert_string_equal(claimed[0].message_id, "b");
	store_release_init(&r);
	r.id = a;
	assert_int_equal(store_do(s, &r.op), 0);
	assert_int_equal(claim_some(CAP, sizeof src), 1);
	assert_int_equal(claimed[0].id, a);
}

/* What a worker has in hand nobody else ends, queues again or removes, each of a batch, until it is given back. */
static void test_claimed_jobs_are_busy(void **state)
{
	struct store_release release;
	struct store_requeue again;
	struct store_cancel cancel;
	struct store_purge purge;

	(void)state;
	for (int i = 0; i < 4; i++)
		accept_sized((const char *[]){"a", "b", "c", "d"}[i], 100);
	assert_int_equal(claim_some(3, sizeof src), 3);
	for (int i = 0; i < 3; i++) {
		store_cancel_init(&cancel);
		cancel.id = claimed[i].id;
		assert_int_equal(store_do(s, &cancel.op), ERR_BUSY);
		store_requeue_init(&again);
		again.id = claimed[i].id;
		assert_int_equal(store_do(s, &again.op), ERR_STATE);
	}
	store_purge_init(&purge);
	purge.recipient = STR("r0@example.com");
	purge.batch = 10;
	assert_int_equal(store_do(s, &purge.op), 0);
	assert_int_equal(purge.count, 1); /* the one that nobody has */
	assert_int_equal(purge.busy, 3);
	assert_int_equal(kit_status(s).count[JOB_PROCESSING], 3);
	/* the one in the middle is given back, the others are as they were */
	store_release_init(&release);
	release.id = claimed[1].id;
	assert_int_equal(store_do(s, &release.op), 0);
	for (int i = 0; i < 3; i++) {
		store_cancel_init(&cancel);
		cancel.id = claimed[i].id;
		assert_int_equal(store_do(s, &cancel.op), i == 1 ? 0 : ERR_BUSY);
	}
}

/* ---- handed in together ---- */

#define SINGLES  250
#define TOGETHER 10

static struct kit_job jobs[TOGETHER];
static struct store_accept accepts[TOGETHER];
static struct store_status singles[SINGLES];
static int64_t syncs_at[CAP];
static size_t answered;

static void noted(struct store_op *op)
{
	struct hal_storage_info info;

	hal_storage_info(&info);
	syncs_at[answered++] = info.syncs;
	assert_int_equal(op->rc, 0);
}

static void ignored(struct store_op *op)
{
	(void)op;
}

static struct store_accept busy;

/* The store's thread is in a sync when this returns: what is handed in now waits. */
static void keep_busy(void)
{
	sim_faults()->disk.sync_ms = 50;
	kit_job_make(&job, "busy", 1, 100);
	store_accept_init(&busy);
	busy.job = &job.job;
	busy.src = (struct str){job.src, job.src_len};
	busy.message_id = job.job.message_id;
	busy.provider = STR("other");
	busy.op.done = ignored;
	store_submit(s, &busy.op);
	hal_clock_sleep_until(hal_clock_in(10));
}

/* Some wait already, so that the border of a group would fall into the midst of them. */
static void test_one_group(void **state)
{
	struct store_op *ops[TOGETHER];
	char name[16];

	(void)state;
	answered = 0;
	for (int i = 0; i < TOGETHER; i++) {
		sprintf(name, "m%d", i);
		kit_job_make(&jobs[i], name, 1, 100);
		store_accept_init(&accepts[i]);
		accepts[i].job = &jobs[i].job;
		accepts[i].src = (struct str){jobs[i].src, jobs[i].src_len};
		accepts[i].message_id = jobs[i].job.message_id;
		accepts[i].provider = STR("p");
		accepts[i].expire_ms = KIT_DAY_MS;
		accepts[i].op.done = noted;
		ops[i] = &accepts[i].op;
	}
	keep_busy();
	for (int i = 0; i < SINGLES; i++) {
		store_status_init(&singles[i]);
		singles[i].op.done = ignored;
		store_submit(s, &singles[i].op);
	}
	store_submit_all(s, ops, TOGETHER);
	assert_int_equal(kit_status(s).count[JOB_PENDING], TOGETHER + 1);
	assert_int_equal(answered, TOGETHER);
	for (int i = 1; i < TOGETHER; i++)
		assert_int_equal(syncs_at[i], syncs_at[0]);
}

/* More than fit into a group: all of them all the same. */
static void test_more_than_a_group(void **state)
{
	static struct store_status many[600];
	struct store_op *ops[600];

	(void)state;
	for (int i = 0; i < 600; i++) {
		store_status_init(&many[i]);
		many[i].op.done = ignored;
		many[i].op.rc = 1;
		ops[i] = &many[i].op;
	}
	keep_busy();
	store_submit_all(s, ops, 600);
	store_submit_all(s, ops, 0);
	kit_status(s);
	for (int i = 0; i < 600; i++)
		assert_int_equal(many[i].op.rc, 0);
}

/* The ends of some jobs and the claim of the next: it is answered before they are committed. */
static int64_t claim_syncs;

static void claim_noted(struct store_op *op)
{
	struct hal_storage_info info;

	(void)op;
	hal_storage_info(&info);
	claim_syncs = info.syncs;
}

static void test_claim_does_not_wait_for_the_commit(void **state)
{
	struct store_finish f;
	struct store_op *ops[2] = {&f.op, &claim.op};

	(void)state;
	accept_sized("a", 100);
	accept_sized("b", 100);
	assert_int_equal(claim_some(1, sizeof src), 1);
	store_finish_init(&f);
	f.id = claimed[0].id;
	f.state = JOB_COMPLETED;
	f.counted = true;
	f.started_ms = f.ended_ms = hal_clock_wall_ms(NULL);
	f.op.done = noted;
	answered = 0;
	store_claim_init(&claim);
	claim.provider = STR("p");
	claim.jobs = claimed;
	claim.cap = CAP;
	claim.src = src;
	claim.src_cap = sizeof src;
	claim.op.done = claim_noted;
	store_submit_all(s, ops, 2);
	assert_int_equal(kit_status(s).count[JOB_COMPLETED], 1);
	assert_int_equal(answered, 1);
	assert_int_equal(claim.count, 1);
	assert_string_equal(claimed[0].message_id, "b");
	assert_int_equal(claim_syncs + 1, syncs_at[0]);
}

/* ---- the stop ---- */

static void closer(void *arg)
{
	store_close(arg);
}

static void test_stopping(void **state)
{
	struct store_status st[2];
	struct store_op *ops[2] = {&st[0].op, &st[1].op};
	struct hal_thread t;

	(void)state;
	keep_busy();
	assert_int_equal(hal_thread_start(&t, "closer", 65536, closer, s), 0);
	hal_clock_sleep_until(hal_clock_in(10));
	for (int i = 0; i < 2; i++) {
		store_status_init(&st[i]);
		st[i].op.done = ignored;
	}
	store_submit_all(s, ops, 2);
	assert_int_equal(st[0].op.rc, ERR_STOPPING);
	assert_int_equal(st[1].op.rc, ERR_STOPPING);
	hal_thread_join(&t);
	s = NULL;
	assert_int_equal(busy.op.rc, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_originals_are_packed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cap_is_kept_over_priorities, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_does_not_fit_is_left, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exactly_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claims_miss_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claims_when_the_clock_goes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rolled_back_jobs_are_claimed_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_given_back_after_a_failed_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claimed_jobs_are_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_than_a_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claim_does_not_wait_for_the_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopping, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
