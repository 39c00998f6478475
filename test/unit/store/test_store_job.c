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
static struct kit_job job;
static struct store_claimed claimed;
static struct store_job seen;

static int setup(void **state)
{
	(void)state;
	sim_reset();
	struct store_config c = kit_config();
	kit_store_open(&c, &s);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_store_close(&s);
	return 0;
}

static void reopen(void)
{
	struct store_config c = kit_config();

	kit_store_reopen(&c, &s);
}

static int64_t now(void)
{
	return hal_clock_wall_ms(NULL);
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
	assert_true(kit_src_is("m1", claimed.src, 700));
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

static void test_identity(void **state)
{
	(void)state;
	int64_t id, again;
	bool known;

	kit_job_make(&job, "m1", 1, 700);
	assert_int_equal(kit_accept_job(s, &job, "p", &id, &known), 0);
	assert_false(known);
	/* the same again, also over a restart */
	assert_int_equal(kit_accept_job(s, &job, "p", &again, &known), 0);
	assert_true(known);
	assert_int_equal(again, id);
	reopen();
	assert_int_equal(kit_accept_job(s, &job, "p", &again, &known), 0);
	assert_true(known);
	/* other content */
	job.job.digest[0] ^= 1;
	assert_int_equal(kit_accept_job(s, &job, "p", &again, &known), ERR_CONFLICT);
	job.job.digest[0] ^= 1;
	/* another tenant's is another job */
	job.job.tenant_id = STR("u");
	assert_int_equal(kit_accept_job(s, &job, "p", &again, &known), 0);
	assert_false(known);
	assert_int_not_equal(again, id);
	job.job.tenant_id = STR("t");
	/* completed: nothing but the result again */
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	assert_int_equal(kit_accept_job(s, &job, "p", &again, &known), 0);
	assert_true(known);
	assert_int_equal(kit_status(s).count[JOB_COMPLETED], 1);
	assert_int_equal(kit_status(s).events_waiting, 2);
	struct store_event events[4];
	struct store_event_list l;
	store_event_list_init(&l);
	l.events = events;
	l.cap = 4;
	assert_int_equal(store_do(s, &l.op), 0);
	assert_int_equal(l.count, 2);
	assert_string_equal(events[0].json, events[1].json);
	assert_true(events[1].seq > events[0].seq);
	assert_int_equal(events[1].job_id, id);
}

static void test_failed_comes_again(void **state)
{
	(void)state;
	int64_t id, again;
	bool known;

	kit_job_make(&job, "m1", 1, 700);
	assert_int_equal(kit_accept_job(s, &job, "p", &id, NULL), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, id, JOB_FAILED, JOB_REASON_REFUSED, 0), 0);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.state, JOB_FAILED);
	assert_string_equal(seen.error, "4.2.0 try later");
	assert_int_equal(kit_accept_job(s, &job, "p", &again, &known), 0);
	assert_true(known);
	assert_int_equal(again, id);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.state, JOB_PENDING);
	assert_int_equal(seen.retry_count, 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
}

static void test_claim_order(void **state)
{
	(void)state;
	static const struct {
		const char *id;
		enum job_priority p;
	} jobs[] = {
		{"n1", JOB_PRIORITY_NORMAL}, {"l1", JOB_PRIORITY_LOW},  {"h1", JOB_PRIORITY_HIGH},
		{"n2", JOB_PRIORITY_NORMAL}, {"h2", JOB_PRIORITY_HIGH},
	};
	static const char *const order[] = {"h1", "h2", "n1", "n2", "l1"};

	for (size_t i = 0; i < 5; i++) {
		kit_job_make(&job, jobs[i].id, 1, 100);
		job.job.priority = jobs[i].p;
		assert_int_equal(kit_accept_job(s, &job, "p", NULL, NULL), 0);
		hal_clock_sleep_until(hal_clock_in(5));
	}
	/* not due yet */
	kit_job_make(&job, "later", 1, 100);
	job.job.priority = JOB_PRIORITY_HIGH;
	job.job.send_at_ms = now() + 60000;
	int64_t due = job.job.send_at_ms;
	assert_int_equal(kit_accept_job(s, &job, "p", NULL, NULL), 0);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(kit_claim(s, "p", &claimed), 1);
		assert_string_equal(claimed.message_id, order[i]);
	}
	struct store_claim op;
	store_claim_init(&op);
	op.provider = STR("p");
	op.jobs = &claimed;
	op.cap = 1;
	assert_int_equal(store_do(s, &op.op), 0);
	assert_int_equal(op.count, 0);
	assert_int_equal(op.next_due_ms, due);
	hal_clock_sleep_until(hal_clock_in(60001));
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_string_equal(claimed.message_id, "later");
}

static void test_claims_are_not_written(void **state)
{
	(void)state;
	int64_t id;
	struct store_release r;

	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	int64_t written = kit_status(s).written_bytes;
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_status(s).count[JOB_PROCESSING], 1);
	assert_int_equal(kit_status(s).count[JOB_PENDING], 0);
	store_release_init(&r);
	r.id = id;
	assert_int_equal(store_do(s, &r.op), 0);
	assert_int_equal(kit_status(s).written_bytes, written);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	/* a restart is the end of every claim */
	reopen();
	assert_int_equal(kit_status(s).count[JOB_PENDING], 1);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
}

static void test_retries(void **state)
{
	(void)state;
	int64_t id;
	struct store_attempt attempts[4];
	struct store_attempt_list l;

	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kit_claim(s, "p", &claimed), 1);
		assert_int_equal(kit_finish(s, id, JOB_PENDING, JOB_REASON_RETRY, now() + 1000), 0);
		assert_int_equal(kit_claim(s, "p", &claimed), 0);
		hal_clock_sleep_until(hal_clock_in(1001));
	}
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.retry_count, 1);
	assert_true(claimed.first_failure_ms > 0);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	reopen();
	store_attempt_list_init(&l);
	l.id = id;
	l.attempts = attempts;
	l.cap = 4;
	assert_int_equal(store_do(s, &l.op), 0);
	assert_int_equal(l.count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(attempts[i].n, i + 1);
	assert_int_equal(attempts[2].code, 450);
	assert_true(attempts[2].next_ms == attempts[2].ended_ms + 1000);
	assert_int_equal(attempts[3].code, 250);
	assert_int_equal(attempts[3].next_ms, 0);
	assert_string_equal(attempts[3].host, "mx.example.com [192.0.2.1]:25");
	l.after = 2;
	l.cap = 1;
	assert_int_equal(store_do(s, &l.op), 0);
	assert_int_equal(attempts[0].n, 3);
	assert_int_equal(kit_status(s).events_waiting, 4);
}

static struct store_rcpt rcpts[8];

static size_t list_rcpts(int64_t id)
{
	struct store_rcpt_list l;

	store_rcpt_list_init(&l);
	l.id = id;
	l.rcpts = rcpts;
	l.cap = 8;
	assert_int_equal(store_do(s, &l.op), 0);
	return l.count;
}

static void test_some_recipients(void **state)
{
	(void)state;
	int64_t id;
	struct store_finish f;
	struct store_rcpt_outcome o[3] = {{STORE_RCPT_SENT, 250, "ok"},
					  {STORE_RCPT_WAITING, 451, "later"},
					  {STORE_RCPT_FAILED, 550, "no such user"}};

	kit_job_make(&job, "m1", 3, 700);
	job.rcpts[2].kind = JOB_RCPT_BCC;
	assert_int_equal(kit_accept_job(s, &job, "p", &id, NULL), 0);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_string_equal(seen.to, "r0@example.com, r1@example.com");
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.rcpt_done[0], 0);
	store_finish_init(&f);
	f.id = id;
	f.state = JOB_PENDING;
	f.reason = JOB_REASON_RETRY;
	f.counted = true;
	f.rcpts = o;
	f.rcpt_count = 3;
	f.due_ms = now();
	f.retry_count = 1;
	assert_int_equal(store_do(s, &f.op), 0);
	reopen();
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.rcpt_done[0], 5);
	assert_int_equal(list_rcpts(id), 3);
	assert_int_equal(rcpts[0].state, STORE_RCPT_SENT);
	assert_int_equal(rcpts[1].state, STORE_RCPT_WAITING);
	assert_string_equal(rcpts[1].text, "later");
	assert_int_equal(rcpts[2].state, STORE_RCPT_FAILED);
	assert_int_equal(rcpts[2].code, 550);
	/* what is settled stays so, whatever a later outcome says */
	o[0] = (struct store_rcpt_outcome){STORE_RCPT_FAILED, 500, "wrong"};
	o[1] = (struct store_rcpt_outcome){STORE_RCPT_SENT, 250, "ok"};
	f.state = JOB_FAILED;
	f.reason = JOB_REASON_REFUSED;
	assert_int_equal(store_do(s, &f.op), 0);
	assert_int_equal(list_rcpts(id), 3);
	assert_int_equal(rcpts[0].state, STORE_RCPT_SENT);
	assert_int_equal(rcpts[1].state, STORE_RCPT_SENT);
	/* queued again: only the failed one is tried */
	struct store_requeue r;
	store_requeue_init(&r);
	r.id = id;
	assert_int_equal(store_do(s, &r.op), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.rcpt_done[0], 3);
	assert_int_equal(claimed.retry_count, 0);
	/* all sent needs no rows of their own */
	f.state = JOB_COMPLETED;
	f.reason = JOB_REASON_NONE;
	f.text = "2.0.0 queued";
	f.code = 250;
	assert_int_equal(store_do(s, &f.op), 0);
	list_rcpts(id);
	assert_int_equal(rcpts[2].state, STORE_RCPT_SENT);
}

static void test_cancel_and_requeue(void **state)
{
	(void)state;
	int64_t id;
	struct store_cancel c;
	struct store_requeue r;

	store_cancel_init(&c);
	store_requeue_init(&r);
	c.id = r.id = 77;
	assert_int_equal(store_do(s, &c.op), ERR_NOT_FOUND);
	assert_int_equal(store_do(s, &r.op), ERR_NOT_FOUND);
	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	c.id = r.id = id;
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(store_do(s, &c.op), ERR_BUSY);
	assert_int_equal(store_do(s, &r.op), ERR_STATE);
	/* waiting for a retry: due at once */
	assert_int_equal(kit_finish(s, id, JOB_PENDING, JOB_REASON_RETRY, now() + 3600000), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 0);
	assert_int_equal(store_do(s, &r.op), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, id, JOB_PENDING, JOB_REASON_RETRY, now() + 3600000), 0);
	assert_int_equal(store_do(s, &c.op), 0);
	assert_int_equal(store_do(s, &c.op), ERR_STATE);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.state, JOB_FAILED);
	assert_int_equal(seen.reason, JOB_REASON_CANCELLED);
	assert_string_equal(seen.error, "cancelled");
	assert_int_equal(list_rcpts(id), 1);
	assert_int_equal(rcpts[0].state, STORE_RCPT_FAILED);
	struct store_event events[4];
	struct store_event_list l;
	store_event_list_init(&l);
	l.events = events;
	l.cap = 4;
	assert_int_equal(store_do(s, &l.op), 0);
	assert_int_equal(l.count, 3);
	assert_non_null(strstr(events[2].json, "\"success\":false"));
	assert_non_null(strstr(events[2].json, "\"message_id\":\"m1\""));
	assert_int_equal(store_do(s, &r.op), 0);
	assert_int_equal(kit_status(s).count[JOB_PENDING], 1);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	assert_int_equal(store_do(s, &r.op), ERR_STATE);
	assert_int_equal(store_do(s, &c.op), ERR_STATE);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.state, JOB_COMPLETED);
	assert_int_equal(kit_status(s).count[JOB_COMPLETED], 1);
}

static void test_requeue_all(void **state)
{
	(void)state;
	int64_t ids[10];
	char name[32];
	unsigned sum = 0;
	struct store_requeue r;

	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "m%d", i);
		assert_int_equal(kit_accept(s, name, "p", &ids[i]), 0);
	}
	while (kit_claim(s, "p", &claimed) == 1)
		assert_int_equal(kit_finish(s, claimed.id, JOB_FAILED, JOB_REASON_REFUSED, 0), 0);
	store_requeue_init(&r);
	r.batch = 4;
	do {
		assert_int_equal(store_do(s, &r.op), 0);
		sum += r.count;
		/* those that fail again at once are not taken again */
		while (kit_claim(s, "p", &claimed) == 1)
			assert_int_equal(kit_finish(s, claimed.id, JOB_FAILED, JOB_REASON_REFUSED, 0), 0);
	} while (r.count);
	assert_int_equal(sum, 10);
	assert_int_equal(kit_status(s).count[JOB_FAILED], 10);
}

static struct store_job jobs[8];

static size_t list(struct store_job_list *l)
{
	l->jobs = jobs;
	assert_int_equal(store_do(s, &l->op), 0);
	return l->count;
}

static void test_list(void **state)
{
	(void)state;
	char name[32];
	struct store_job_list l;

	for (int i = 1; i <= 20; i++) {
		snprintf(name, sizeof name, "mail-%02d", i);
		kit_job_make(&job, name, i % 5 == 0 ? 2 : 1, 100);
		job.job.campaign_id = i % 2 ? STR("odd") : STR("even");
		assert_int_equal(kit_accept_job(s, &job, "p", NULL, NULL), 0);
	}
	for (int i = 0; i < 6; i++) {
		assert_int_equal(kit_claim(s, "p", &claimed), 1);
		if (i < 4)
			assert_int_equal(kit_finish(s, claimed.id, i < 3 ? JOB_COMPLETED : JOB_FAILED,
						    JOB_REASON_NONE, 0),
					 0);
	}
	store_job_list_init(&l);
	l.cap = 8;
	assert_int_equal(list(&l), 8);
	assert_true(l.more);
	assert_int_equal(jobs[0].id, 20);
	assert_int_equal(jobs[7].id, 13);
	l.cursor = 13;
	assert_int_equal(list(&l), 8);
	assert_int_equal(jobs[0].id, 12);
	l.cursor = 5;
	assert_int_equal(list(&l), 4);
	assert_false(l.more);
	l.cursor = 0;
	l.by_state = true;
	l.state = JOB_COMPLETED;
	assert_int_equal(list(&l), 3);
	l.state = JOB_FAILED;
	assert_int_equal(list(&l), 1);
	assert_int_equal(jobs[0].id, 4);
	l.state = JOB_PROCESSING;
	assert_int_equal(list(&l), 2);
	assert_int_equal(jobs[0].id, 6);
	assert_int_equal(jobs[0].state, JOB_PROCESSING);
	l.state = JOB_PENDING;
	assert_int_equal(list(&l), 8);
	assert_true(l.more);
	l.cursor = jobs[7].id;
	assert_int_equal(list(&l), 6);
	assert_int_equal(jobs[5].id, 7);
	assert_false(l.more);
	l.cursor = 0;
	l.by_state = false;
	l.to = STR("R1@example.com");
	assert_int_equal(list(&l), 4);
	assert_int_equal(jobs[3].id, 5);
	l.to = STR("r1@example.co");
	assert_int_equal(list(&l), 0);
	l.to = (struct str){NULL, 0};
	l.q = STR("MAIL-1");
	assert_int_equal(list(&l), 8);
	assert_true(l.more);
	l.campaign_id = STR("odd");
	assert_int_equal(list(&l), 5);
	l.q = STR("r1@");
	assert_int_equal(list(&l), 2);
	l.tenant_id = STR("none");
	assert_int_equal(list(&l), 0);
}

static void test_get_by_message_id(void **state)
{
	(void)state;
	struct store_job_get g;
	int64_t id;

	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	store_job_get_init(&g);
	g.tenant_id = STR("t");
	g.message_id = STR("m1");
	assert_int_equal(store_do(s, &g.op), 0);
	assert_int_equal(g.job.id, id);
	g.tenant_id = STR("");
	assert_int_equal(store_do(s, &g.op), ERR_NOT_FOUND);
}

static void test_large_original(void **state)
{
	(void)state;
	static char part[5000];
	struct store_src_read r;
	int64_t id;
	size_t at = 0;

	kit_job_make(&job, "big", 1, sizeof job.src);
	assert_int_equal(kit_accept_job(s, &job, "p", &id, NULL), 0);
	reopen();
	store_src_read_init(&r);
	r.id = id;
	r.bytes = part;
	r.cap = sizeof part;
	do {
		r.at = at;
		assert_int_equal(store_do(s, &r.op), 0);
		assert_memory_equal(part, job.src + at, r.len);
		at += r.len;
	} while (r.len);
	assert_int_equal(at, sizeof job.src);
	r.id = 99;
	r.at = 0;
	assert_int_equal(store_do(s, &r.op), ERR_NOT_FOUND);
	/* it does not fit: the claim says so and gives nothing */
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(claimed.src_have, 0);
	assert_null(claimed.src);
	assert_int_equal(claimed.src_len, sizeof job.src);
}

static void test_many_together(void **state)
{
	(void)state;
	static struct kit_job k[3];
	struct store_accept a[3];

	for (int i = 0; i < 3; i++) {
		char name[32];
		snprintf(name, sizeof name, "c%d", i);
		kit_job_make(&k[i], name, 1, 100);
		store_accept_init(&a[i]);
		a[i].job = &k[i].job;
		a[i].src = (struct str){k[i].src, k[i].src_len};
		a[i].message_id = k[i].job.message_id;
		a[i].provider = STR("p");
		a[i].expire_ms = 1000000;
		if (i) a[i - 1].with = &a[i];
	}
	kit_job_make(&job, "c2", 1, 100);
	job.job.digest[5] ^= 1;
	assert_int_equal(kit_accept_job(s, &job, "p", NULL, NULL), 0);
	assert_int_equal(store_do(s, &a[0].op), ERR_CONFLICT);
	assert_int_equal(a[0].failed_index, 2);
	assert_int_equal(kit_status(s).count[JOB_PENDING], 1);
	k[2].job.digest[5] ^= 1;
	assert_int_equal(store_do(s, &a[0].op), 0);
	assert_true(a[2].known);
	assert_false(a[1].known);
	assert_int_equal(kit_status(s).count[JOB_PENDING], 3);
}

static void test_hold(void **state)
{
	(void)state;
	struct store_hold h;
	struct store_finish f;
	int64_t id;

	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	store_finish_init(&f);
	f.id = id;
	f.state = JOB_PENDING;
	f.reason = JOB_REASON_HELD;
	f.text = "connect refused";
	f.due_ms = now() + 300000;
	assert_int_equal(store_do(s, &f.op), 0);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.reason, JOB_REASON_HELD);
	assert_string_equal(seen.error, "connect refused");
	store_hold_init(&h);
	h.provider = STR("p");
	h.down = true;
	h.text = "down since noon";
	h.batch = 100;
	int64_t written = kit_status(s).written_bytes;
	assert_int_equal(store_do(s, &h.op), 0);
	assert_int_equal(kit_status(s).written_bytes, written);
	assert_int_equal(kit_accept(s, "m2", "p", &id), 0);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.reason, JOB_REASON_HELD);
	assert_string_equal(seen.error, "down since noon");
	h.down = false;
	assert_int_equal(store_do(s, &h.op), 0);
	assert_int_equal(h.count, 1);
	assert_int_equal(store_do(s, &h.op), 0);
	assert_int_equal(h.count, 0);
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.reason, JOB_REASON_NONE);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
}

static void test_ids_never_again(void **state)
{
	(void)state;
	struct store_purge p;
	int64_t id, seq = 0;

	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	seq = kit_status(s).last_event_seq;
	store_purge_init(&p);
	p.recipient = STR("r0@example.com");
	p.batch = 10;
	assert_int_equal(store_do(s, &p.op), 0);
	assert_int_equal(p.count, 1);
	assert_int_equal(kit_get(s, id, &seen), ERR_NOT_FOUND);
	assert_int_equal(kit_status(s).events_waiting, 0);
	reopen();
	int64_t next;
	assert_int_equal(kit_accept(s, "m1", "p", &next), 0);
	assert_true(next > id);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, next, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	assert_int_equal(kit_status(s).last_event_seq, seq + 1);
}

static unsigned works;
static void on_work(void *arg)
{
	(void)arg;
	works++;
}

static void test_hint(void **state)
{
	(void)state;
	int64_t id;

	works = 0;
	store_on_work(s, on_work, NULL);
	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	kit_status(s);
	assert_int_equal(works, 1);
	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	kit_status(s);
	assert_int_equal(works, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_and_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_comes_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claim_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claims_are_not_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_some_recipients, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_and_requeue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_requeue_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_get_by_message_id, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_original, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_together, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids_never_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hint, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
