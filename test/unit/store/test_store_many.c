/* Figures, not limits: 100,000 waiting jobs, and what a mail costs the flash. STORE_MANY=n changes the
 * number. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hal_clock.h"
#include "hal_storage.h"
#include "sim/sim.h"
#include "store_kit.h"

#define CHAIN 100

static struct store *s;
static struct store_config config;
static struct kit_job kits[CHAIN];
static struct store_accept ops[CHAIN];
static char src[CHAIN * 2048];

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int setup(void **state)
{
	(void)state;
	sim_reset();
	config = kit_config();
	config.max_bytes = 400 << 20;
	sim_faults()->disk.capacity_bytes = 512 << 20;
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_open(&config, &s), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_close(s);
	hal_storage_close();
	return 0;
}

static void accept_many(int from, int count, size_t src_len)
{
	char name[48];

	for (int i = 0; i < count; i++) {
		sprintf(name, "01990000-0000-7000-8000-%012d", from + i);
		kit_job_make(&kits[i], name, 1, src_len);
		store_accept_init(&ops[i]);
		ops[i].job = &kits[i].job;
		ops[i].src = (struct str){kits[i].src, src_len};
		ops[i].message_id = kits[i].job.message_id;
		ops[i].provider = STR("p");
		ops[i].expire_ms = 5 * KIT_DAY_MS;
		ops[i].with = i + 1 < count ? &ops[i + 1] : NULL;
	}
	assert_int_equal(store_do(s, &ops[0].op), 0);
}

static void test_many_waiting(void **state)
{
	const char *text = getenv("STORE_MANY");
	int count = text ? atoi(text) : 100000;

	(void)state;
	double start = seconds();
	for (int i = 0; i < count; i += CHAIN)
		accept_many(i, CHAIN, 300);
	double filled = seconds();
	int64_t used = kit_status(s).used_bytes;
	store_close(s);
	double closed = seconds();
	assert_int_equal(store_open(&config, &s), 0);
	double opened = seconds();
	assert_int_equal(kit_status(s).count[JOB_PENDING], count);
	double told = seconds();
	struct store_claimed c[8];
	struct store_claim op;
	store_claim_init(&op);
	op.provider = STR("p");
	op.jobs = c;
	op.cap = 8;
	op.src = src;
	op.src_cap = sizeof src;
	assert_int_equal(store_do(s, &op.op), 0);
	assert_int_equal(op.count, 8);
	double got = seconds();
	print_message(
		"%d waiting: %.1f MB, %.0f/s in; open %.0f ms, first status %.1f ms, claim of 8 %.2f ms\n",
		count, (double)used / 1e6, count / (filled - start), (opened - closed) * 1e3,
		(told - opened) * 1e3, (got - told) * 1e3);
}

/* accept and finish of one mail of 1 KB, in groups of so many */
static void cost(int group)
{
	struct store_claimed c[CHAIN];
	static struct store_finish f[CHAIN];
	static int base;
	struct store_status before = kit_status(s);
	int mails = 2000;

	double start = seconds();
	for (int at = 0; at < mails; at += group) {
		accept_many(1000000 + base + at, group, 1000);
		struct store_claim op;
		store_claim_init(&op);
		op.provider = STR("p");
		op.jobs = c;
		op.cap = (size_t)group;
		op.src = src;
		op.src_cap = sizeof src;
		assert_int_equal(store_do(s, &op.op), 0);
		assert_int_equal(op.count, group);
		for (int i = 0; i < group; i++) {
			store_finish_init(&f[i]);
			f[i].id = c[i].id;
			f[i].state = JOB_COMPLETED;
			f[i].counted = f[i].publish = true;
			f[i].host = "mx.example.com [192.0.2.1]:25";
			f[i].code = 250;
			f[i].text = "2.0.0 Ok: queued as 4711";
			f[i].event = STR("{\"success\":true,\"message_id\":\"01990000-0000-7000-8000-"
					 "000000000000\",\"status\":"
					 "\"sent\",\"provider_response\":{\"provider_name\":\"Example\","
					 "\"provider_message_id\":"
					 "\"4711\",\"sent_at\":\"2025-09-19T10:30:05Z\"}}");
			f[i].started_ms = f[i].ended_ms = hal_clock_wall_ms(NULL);
			if (i + 1 < group) store_submit(s, &f[i].op);
		}
		assert_int_equal(store_do(s, &f[group - 1].op), 0);
	}
	double took = seconds() - start;
	struct store_status after = kit_status(s);
	base += mails;
	print_message("groups of %3d: %6.0f bytes written, %.2f syncs a mail, %.0f mails/s without waiting "
		      "for the disk\n",
		      group, (double)(after.written_bytes - before.written_bytes) / mails,
		      (double)(after.syncs - before.syncs) / mails, mails / took);
}

static void test_cost_of_a_mail(void **state)
{
	(void)state;
	cost(1);
	cost(10);
	cost(100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cost_of_a_mail, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
