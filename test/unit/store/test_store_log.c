/* Transcripts of attempts, and the schema's second version: what the first one left is taken over. */
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
#include "store_kit.h"

static struct store *s;
static struct store_config config;
static struct kit_job job;
static struct store_claimed claimed;
static struct store_attempt attempts[8];

static int setup(void **state)
{
	(void)state;
	sim_reset();
	config = kit_config();
	kit_store_open(&config, &s);
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
	kit_store_reopen(&config, &s);
}

/* One attempt from claim to finish. */
static void attempt(enum job_state state, bool counted, const char *text, const char *log)
{
	struct store_finish f;

	assert_int_equal(kit_claim(s, "p", &claimed), 1);
	store_finish_init(&f);
	f.id = claimed.id;
	f.state = state;
	f.reason = state == JOB_COMPLETED ? JOB_REASON_NONE : counted ? JOB_REASON_RETRY : JOB_REASON_HELD;
	f.counted = counted;
	f.due_ms = hal_clock_wall_ms(NULL) + 10;
	f.text = text;
	f.log = str_from(log);
	f.started_ms = f.ended_ms = hal_clock_wall_ms(NULL);
	assert_int_equal(store_do(s, &f.op), 0);
	hal_clock_sleep_until(hal_clock_in(10));
}

static int list(int64_t id, unsigned after, size_t cap)
{
	struct store_attempt_list l;

	memset(attempts, 0xee, sizeof attempts);
	store_attempt_list_init(&l);
	l.id = id;
	l.after = after;
	l.attempts = attempts;
	l.cap = cap;
	int rc = store_do(s, &l.op);
	return rc < 0 ? rc : (int)l.count;
}

/* ---- transcripts ---- */

static void test_each_attempt_has_its_own(void **state)
{
	int64_t id;

	(void)state;
	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	attempt(JOB_PENDING, true, "450 later", "S: 450 first\n");
	attempt(JOB_PENDING, true, "450 later", "");
	attempt(JOB_COMPLETED, true, "250 ok", "S: 250 third\n");
	reopen();
	assert_int_equal(list(id, 0, 8), 3);
	assert_string_equal(attempts[0].log, "S: 450 first\n");
	assert_string_equal(attempts[1].log, "");
	assert_string_equal(attempts[2].log, "S: 250 third\n");
	/* in pages, as the API asks */
	assert_int_equal(list(id, 0, 2), 2);
	assert_int_equal(attempts[1].n, 2);
	assert_int_equal(list(id, 2, 2), 1);
	assert_int_equal(attempts[0].n, 3);
	assert_string_equal(attempts[0].log, "S: 250 third\n");
	assert_int_equal(list(id, 3, 2), 0);
	assert_int_equal(list(99, 0, 2), ERR_NOT_FOUND);
}

static void test_a_hold_shows_the_last_one(void **state)
{
	int64_t id;

	(void)state;
	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	attempt(JOB_PENDING, false, "535 no", "S: 535 first hold\n");
	assert_int_equal(list(id, 0, 8), 1);
	assert_int_equal(attempts[0].n, 1);
	assert_false(attempts[0].counted);
	assert_string_equal(attempts[0].text, "535 no");
	assert_string_equal(attempts[0].log, "S: 535 first hold\n");
	attempt(JOB_PENDING, true, "450 later", "S: 450\n");
	assert_int_equal(list(id, 0, 8), 1);
	assert_true(attempts[0].counted);
	attempt(JOB_PENDING, false, "535 again", "S: 535 second hold\n");
	attempt(JOB_PENDING, false, "535 again", "S: 535 third hold\n");
	assert_int_equal(list(id, 0, 8), 2);
	assert_string_equal(attempts[0].log, "S: 450\n");
	assert_int_equal(attempts[1].n, 2);
	assert_false(attempts[1].counted);
	assert_string_equal(attempts[1].log, "S: 535 third hold\n");
	assert_int_equal(attempts[1].next_ms, attempts[1].ended_ms + 10);
	assert_int_equal(list(id, 1, 8), 1);
	assert_int_equal(list(id, 2, 8), 0);
}

static void test_cut_at_a_line(void **state)
{
	static char text[STORE_LOG_MAX + 500];
	int64_t id;
	size_t n = 0;

	(void)state;
	while (n < STORE_LOG_MAX + 400)
		n += (size_t)sprintf(text + n, "S: 250 line %zu\n", n);
	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	attempt(JOB_PENDING, true, "x", text);
	memset(text, 'x', sizeof text - 1);
	attempt(JOB_PENDING, true, "x", text);
	memset(text, 'y', sizeof text - 1);
	text[STORE_LOG_MAX - 1] = '\n';
	attempt(JOB_PENDING, true, "x", text);
	assert_int_equal(list(id, 0, 8), 3);
	n = strlen(attempts[0].log);
	assert_true(n > STORE_LOG_MAX - 30 && n <= STORE_LOG_MAX);
	assert_int_equal(attempts[0].log[n - 1], '\n');
	assert_string_equal(attempts[1].log, "");
	assert_int_equal(strlen(attempts[2].log), STORE_LOG_MAX);
}

/* An erased person's words are not in the file any more. */
static void test_removed_with_the_job(void **state)
{
	static unsigned char db[4 << 20];
	struct store_purge p;

	(void)state;
	assert_int_equal(kit_accept(s, "m1", "p", NULL), 0);
	attempt(JOB_PENDING, false, "x", "S: 535 held-words\n");
	attempt(JOB_PENDING, true, "x", "S: 450 first-words\n");
	attempt(JOB_COMPLETED, true, "x", "S: 250 last-words\n");
	assert_int_equal(kit_accept(s, "m2", "p", NULL), 0);
	store_purge_init(&p);
	p.recipient = STR("r0@example.com");
	p.batch = 10;
	do {
		assert_int_equal(store_do(s, &p.op), 0);
	} while (p.count);
	reopen();
	store_close(s);
	s = NULL;
	int64_t len = sim_disk_read("postern.db", 0, db, sizeof db);
	assert_true(len > 0 && len < (int64_t)sizeof db);
	assert_null(memmem(db, (size_t)len, "-words", 6));
}

/* The reserve is for ends, not for what is good to know. */
static void test_none_while_space_is_short(void **state)
{
	char name[32];
	int64_t id;
	int n = 0;

	(void)state;
	store_close(s);
	config.max_bytes = 6 << 20;
	assert_int_equal(store_open(&config, &s), 0);
	assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
	attempt(JOB_PENDING, true, "x", "S: 450 there is room\n");
	do {
		sprintf(name, "fill-%d", n++);
		kit_job_make(&job, name, 1, 20000);
	} while (kit_accept_job(s, &job, "other", NULL, NULL) == 0);
	config.max_bytes -= 1 << 20;
	store_reconfigure(s, &config);
	kit_tick(s, 10);
	attempt(JOB_PENDING, true, "x", "S: 450 there is none\n");
	assert_int_equal(list(id, 0, 8), 2);
	assert_string_equal(attempts[0].log, "S: 450 there is room\n");
	assert_string_equal(attempts[1].log, "");
	assert_string_equal(attempts[1].text, "x");
}

/* ---- from version 1 ---- */

/* As version 1 summed originals up. */
static uint64_t fnv(const char *bytes, size_t len)
{
	uint64_t sum = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ (unsigned char)bytes[i]) * 1099511628211u;
	return sum;
}

static void test_version_1_is_taken_over(void **state)
{
	char sql[200];
	int64_t id, old;

	(void)state;
	assert_int_equal(kit_accept(s, "old", "p", &old), 0);
	attempt(JOB_PENDING, true, "450 later", "");
	kit_job_make(&job, "old", 1, 700);
	snprintf(sql, sizeof sql, "DROP TABLE log; UPDATE job SET src_sum=%lld; PRAGMA user_version=1",
		 (long long)fnv(job.src, job.src_len));
	store_close(s);
	s = NULL;
	kit_store_sql(sql);
	assert_int_equal(store_open(&config, &s), 0);
	assert_int_equal(list(old, 0, 8), 1);
	assert_string_equal(attempts[0].log, "");
	attempt(JOB_COMPLETED, true, "250 ok", "S: 250\n");
	assert_int_equal(claimed.id, old);
	assert_true(kit_src_is("old", claimed.src, 700));
	assert_int_equal(list(old, 0, 8), 2);
	assert_string_equal(attempts[1].log, "S: 250\n");
	assert_int_equal(kit_accept(s, "new", "p", &id), 0);
	store_close(s);
	s = NULL;
	/* bytes that neither sum fits */
	kit_store_sql("UPDATE src SET bytes=zeroblob(700) WHERE id>>12=2");
	assert_int_equal(store_open(&config, &s), 0);
	assert_int_equal(kit_claim(s, "p", &claimed), 0);
	struct store_job seen;
	assert_int_equal(kit_get(s, id, &seen), 0);
	assert_int_equal(seen.reason, JOB_REASON_BAD);
}

/* Damage to either version: what it left is in a database of this one, with the transcripts. */
static void test_salvage(void **state)
{
	static const unsigned char zero[4096];
	int64_t id;

	(void)state;
	for (int version = 2; version >= 1; version--) {
		sim_disk_remove("postern.db");
		reopen();
		assert_int_equal(kit_accept(s, "m1", "p", &id), 0);
		attempt(JOB_PENDING, true, "450 later", "S: 450 first\n");
		attempt(JOB_PENDING, false, "535 held", "S: 535 held\n");
		store_close(s);
		s = NULL;
		if (version == 1) kit_store_sql("DROP TABLE log; PRAGMA user_version=1; VACUUM");
		sim_disk_write("postern.db", 0, zero, sizeof zero);
		assert_int_equal(store_open(&config, &s), 0);
		assert_true(kit_status(s).quarantined > 0);
		assert_int_equal(list(id, 0, 8), version);
		assert_string_equal(attempts[0].text, "450 later");
		assert_string_equal(attempts[0].log, version == 2 ? "S: 450 first\n" : "");
		if (version == 2) assert_string_equal(attempts[1].log, "S: 535 held\n");
		attempt(JOB_COMPLETED, true, "250 ok", "S: 250\n");
		assert_int_equal(list(id, 0, 8), 2);
		assert_string_equal(attempts[1].log, "S: 250\n");
	}
}

/* ---- originals lie close together ---- */

/* Two of a little over half a page: each would have a page for itself. */
static void test_pages_are_filled(void **state)
{
	char name[32];
	int count = 400;
	size_t len = 2060;

	(void)state;
	int64_t used = kit_status(s).used_bytes;
	for (int i = 0; i < count; i++) {
		sprintf(name, "mail-%d", i);
		kit_job_make(&job, name, 1, len);
		assert_int_equal(kit_accept_job(s, &job, "p", NULL, NULL), 0);
	}
	used = kit_status(s).used_bytes - used;
	print_message("%lld bytes a job of %zu\n", (long long)used / count, len);
	assert_true(used / count < 2060 * 13 / 10);
	for (int i = 0; i < count; i++) {
		assert_int_equal(kit_claim(s, "p", &claimed), 1);
		assert_int_equal(claimed.src_have, len);
		assert_true(kit_src_is(claimed.message_id, claimed.src, len));
	}
}

/* Of every size around what is left of a page, whole and in pieces. */
static void test_every_cut(void **state)
{
	static char part[777];
	struct store_src_read r;
	char name[32];

	(void)state;
	for (int i = 0; i < 1200; i++) {
		size_t len = 1 + ((size_t)i * 397) % 9000, at = 0;
		int64_t id;

		sprintf(name, "mail-%d", i);
		kit_job_make(&job, name, 1, len);
		assert_int_equal(kit_accept_job(s, &job, "p", &id, NULL), 0);
		assert_int_equal(kit_claim(s, "p", &claimed), 1);
		assert_int_equal(claimed.src_have, len);
		assert_true(kit_src_is(name, claimed.src, len));
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
		assert_int_equal(at, len);
		assert_int_equal(kit_finish(s, id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_attempt_has_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_hold_shows_the_last_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_at_a_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_with_the_job, setup, teardown),
		cmocka_unit_test_setup_teardown(test_none_while_space_is_short, setup, teardown),
		cmocka_unit_test_setup_teardown(test_version_1_is_taken_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_salvage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages_are_filled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_cut, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
