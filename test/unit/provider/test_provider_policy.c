/* The policy of provider/ as tables: whose fault a verdict is, what becomes of the job, when it is tried
 * again, when a provider is asked again, how fast it may be used. Pure functions; no world. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "provider/breaker.h"
#include "provider/outcome.h"
#include "provider/retry.h"

#define NOW  INT64_C(1700000000000)
#define EVEN 0x80000000u /* chance in the middle: no jitter */

static const struct retry_policy policy = {
	.max = 3,
	.delay_ms = {1000, 5000, 15000},
	.delay_count = 3,
	.jitter_percent = 10,
	.hold = RETRY_HOLD_PROVIDER,
};

/* ---- whose fault ---- */

static const struct {
	enum smtp_class cls;
	int err;
	enum outcome_fault none, link, provider; /* by [retry] hold */
} faults[] = {
	{SMTP_SENT, 0, OUTCOME_SENT, OUTCOME_SENT, OUTCOME_SENT},
	{SMTP_AGAIN, 0, OUTCOME_AGAIN, OUTCOME_AGAIN, OUTCOME_AGAIN},
	{SMTP_FAIL, ERR_REMOTE_PERM, OUTCOME_FAIL, OUTCOME_FAIL, OUTCOME_FAIL},
	{SMTP_TRY, ERR_REMOTE_TEMP, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_TRY},
	{SMTP_TRY, ERR_RESET, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_TRY},
	{SMTP_TRY, ERR_STOPPING, OUTCOME_STOPPED, OUTCOME_STOPPED, OUTCOME_STOPPED},
	{SMTP_UNCERTAIN, ERR_RESET, OUTCOME_UNCERTAIN, OUTCOME_UNCERTAIN, OUTCOME_UNCERTAIN},
	{SMTP_UNCERTAIN, ERR_TIMEOUT, OUTCOME_LATE, OUTCOME_LATE, OUTCOME_LATE},
	{SMTP_UNCERTAIN, ERR_STOPPING, OUTCOME_STOPPED_LATE, OUTCOME_STOPPED_LATE, OUTCOME_STOPPED_LATE},
	{SMTP_HOLD, ERR_LINK_DOWN, OUTCOME_TRY, OUTCOME_HELD_LINK, OUTCOME_HELD_LINK},
	{SMTP_HOLD, ERR_UNREACHABLE, OUTCOME_TRY, OUTCOME_HELD_LINK, OUTCOME_HELD_LINK},
	{SMTP_HOLD, ERR_DNS, OUTCOME_TRY, OUTCOME_HELD_LINK, OUTCOME_HELD_LINK},
	{SMTP_HOLD, ERR_DNS_NO_NAME, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_HELD_DOWN},
	{SMTP_HOLD, ERR_REFUSED, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_HELD_DOWN},
	{SMTP_HOLD, ERR_TIMEOUT, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_HELD_DOWN},
	{SMTP_HOLD, ERR_TLS, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_HELD_DOWN},
	{SMTP_HOLD, ERR_TLS_CERT, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_HELD_DOWN},
	{SMTP_HOLD, ERR_REMOTE_BUSY, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_HELD_DOWN},
	{SMTP_HOLD, ERR_AUTH, OUTCOME_TRY, OUTCOME_TRY, OUTCOME_HELD_AUTH},
	{SMTP_HOLD, ERR_IO, OUTCOME_HELD_LOCAL, OUTCOME_HELD_LOCAL, OUTCOME_HELD_LOCAL},
	{SMTP_HOLD, ERR_NO_SPACE, OUTCOME_HELD_LOCAL, OUTCOME_HELD_LOCAL, OUTCOME_HELD_LOCAL},
	{SMTP_HOLD, ERR_STOPPING, OUTCOME_STOPPED, OUTCOME_STOPPED, OUTCOME_STOPPED},
};

static void test_fault(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		int err = faults[i].err;

		enum smtp_class cls = faults[i].cls;

		assert_int_equal(outcome_fault(cls, err, RETRY_HOLD_NONE, true), faults[i].none);
		assert_int_equal(outcome_fault(cls, err, RETRY_HOLD_LINK, true), faults[i].link);
		assert_int_equal(outcome_fault(cls, err, RETRY_HOLD_PROVIDER, true), faults[i].provider);
	}
	/* While the link is down, whatever went wrong before the mail is the link's. */
	assert_int_equal(outcome_fault(SMTP_HOLD, ERR_TIMEOUT, RETRY_HOLD_LINK, false), OUTCOME_HELD_LINK);
	assert_int_equal(outcome_fault(SMTP_TRY, ERR_RESET, RETRY_HOLD_LINK, false), OUTCOME_TRY);
}

static const struct {
	enum outcome_fault fault;
	int code;
	enum breaker_event event;
} breaker_events[] = {
	{OUTCOME_SENT, 250, BREAKER_OK},        {OUTCOME_FAIL, 550, BREAKER_OK},
	{OUTCOME_FAIL, 0, BREAKER_SILENT},      {OUTCOME_TRY, 451, BREAKER_OK},
	{OUTCOME_TRY, 0, BREAKER_SILENT},       {OUTCOME_AGAIN, 452, BREAKER_SILENT},
	{OUTCOME_UNCERTAIN, 0, BREAKER_SILENT}, {OUTCOME_LATE, 0, BREAKER_SILENT},
	{OUTCOME_HELD_LINK, 0, BREAKER_DOWN},   {OUTCOME_HELD_DOWN, 554, BREAKER_DOWN},
	{OUTCOME_HELD_AUTH, 535, BREAKER_AUTH}, {OUTCOME_HELD_LOCAL, 0, BREAKER_SILENT},
	{OUTCOME_STOPPED, 0, BREAKER_SILENT},   {OUTCOME_STOPPED_LATE, 0, BREAKER_SILENT},
};

static void test_breaker_events(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof breaker_events / sizeof *breaker_events; i++)
		assert_int_equal(outcome_breaker(breaker_events[i].fault, breaker_events[i].code),
				 breaker_events[i].event);
}

/* ---- what becomes of the job ---- */

#define S           OUTCOME_SENT
#define F           OUTCOME_FAIL
#define T           OUTCOME_TRY
#define U           OUTCOME_UNCERTAIN
#define L           OUTCOME_LATE
#define H           OUTCOME_HELD_DOWN
#define D           OUTCOME_HELD_LOCAL
#define X           OUTCOME_STOPPED
#define Y           OUTCOME_STOPPED_LATE
#define PENDING     JOB_PENDING
#define COMPLETED   JOB_COMPLETED
#define FAILED      JOB_FAILED
#define R_NONE      JOB_REASON_NONE
#define R_REFUSED   JOB_REASON_REFUSED
#define R_BAD       JOB_REASON_BAD
#define R_RETRY     JOB_REASON_RETRY
#define R_RETRIES   JOB_REASON_RETRIES
#define R_UNCERTAIN JOB_REASON_UNCERTAIN
#define R_HELD      JOB_REASON_HELD
#define E_SENT      JOB_RESULT_SENT
#define E_FAILED    JOB_RESULT_FAILED
#define E_HELD      JOB_RESULT_HELD
#define LONG        OUTCOME_UNCERTAIN_MS
#define LOCAL       OUTCOME_LOCAL_MS

static const struct {
	const char *name;
	unsigned retry_count;
	bool bad, told;
	size_t sent_before, failed_before;
	enum outcome_fault rcpts[3];
	size_t count;
	/* expected */
	bool release;
	enum job_state state;
	enum job_reason reason;
	bool counted, publish;
	enum job_result_kind kind;
	unsigned retry_count_new, retries_made;
	int64_t due_in_ms; /* -1: never */
	bool fail_waiting;
} decisions[] = {
	/* clang-format off */
	{"sent", 0, 0, 0, 0, 0, {S}, 1, 0, COMPLETED, R_NONE, 1, 1, E_SENT, 0, 0, -1, 0},
	{"sent by a retry", 2, 0, 0, 0, 0, {S}, 1, 0, COMPLETED, R_NONE, 1, 1, E_SENT, 2, 2, -1, 0},
	{"sent, others before", 1, 0, 0, 2, 0, {S}, 1, 0, COMPLETED, R_NONE, 1, 1, E_SENT, 1, 1, -1, 0},
	{"sent, one failed before", 1, 0, 0, 0, 1, {S}, 1, 0, FAILED, R_REFUSED, 1, 1, E_FAILED, 1, 1, -1, 0},
	{"refused", 0, 0, 0, 0, 0, {F}, 1, 0, FAILED, R_REFUSED, 1, 1, E_FAILED, 0, 0, -1, 0},
	{"bad", 0, 1, 0, 0, 0, {F}, 1, 0, FAILED, R_BAD, 1, 1, E_FAILED, 0, 0, -1, 0},
	{"one of two refused", 0, 0, 0, 0, 0, {S, F}, 2, 0, FAILED, R_REFUSED, 1, 1, E_FAILED, 0, 0, -1, 0},
	{"try 1", 0, 0, 0, 0, 0, {T}, 1, 0, PENDING, R_RETRY, 1, 1, E_FAILED, 1, 0, 1000, 0},
	{"try 2", 1, 0, 0, 0, 0, {T}, 1, 0, PENDING, R_RETRY, 1, 1, E_FAILED, 2, 1, 5000, 0},
	{"try 3", 2, 0, 0, 0, 0, {T}, 1, 0, PENDING, R_RETRY, 1, 1, E_FAILED, 3, 2, 15000, 0},
	{"try 4", 3, 0, 0, 0, 0, {T}, 1, 0, FAILED, R_RETRIES, 1, 1, E_FAILED, 3, 3, -1, 1},
	{"one of each", 0, 0, 0, 0, 0, {S, F, T}, 3, 0, PENDING, R_RETRY, 1, 1, E_FAILED, 1, 0, 1000, 0},
	{"sent and try, last", 3, 0, 0, 0, 0, {S, T}, 2, 0, FAILED, R_RETRIES, 1, 1, E_FAILED, 3, 3, -1, 1},
	{"lost after the dot", 0, 0, 0, 0, 0, {U}, 1, 0, PENDING, R_UNCERTAIN, 1, 1, E_FAILED, 1, 0, 1000, 0},
	{"late", 0, 0, 0, 0, 0, {L}, 1, 0, PENDING, R_UNCERTAIN, 1, 1, E_FAILED, 1, 0, LONG, 0},
	{"late and try", 1, 0, 0, 0, 0, {L, T}, 2, 0, PENDING, R_UNCERTAIN, 1, 1, E_FAILED, 2, 1, LONG, 0},
	{"late, last", 3, 0, 0, 0, 0, {L}, 1, 0, FAILED, R_RETRIES, 1, 1, E_FAILED, 3, 3, -1, 1},
	{"held", 0, 0, 0, 0, 0, {H}, 1, 0, PENDING, R_HELD, 0, 1, E_HELD, 0, 0, 7777, 0},
	{"held again", 2, 0, 1, 0, 0, {H}, 1, 0, PENDING, R_HELD, 0, 0, E_HELD, 2, 2, 7777, 0},
	{"held by our storage", 0, 0, 0, 0, 0, {D}, 1, 0, PENDING, R_HELD, 0, 1, E_HELD, 0, 0, LOCAL, 0},
	{"half sent, then held", 0, 0, 0, 0, 0, {S, H}, 2, 0, PENDING, R_HELD, 0, 1, E_HELD, 0, 0, 7777, 0},
	{"try and held", 0, 0, 0, 0, 0, {T, H}, 2, 0, PENDING, R_RETRY, 1, 1, E_FAILED, 1, 0, 1000, 0},
	{"stopped", 1, 0, 0, 0, 0, {X}, 1, 1, PENDING, R_NONE, 0, 0, E_HELD, 1, 1, 0, 0},
	{"half sent, then stopped", 1, 0, 0, 0, 0, {S, X}, 2, 0, PENDING, R_NONE, 0, 0, E_HELD, 1, 1, 0, 0},
	{"stopped after dot", 1, 0, 0, 0, 0, {Y}, 1, 0, PENDING, R_UNCERTAIN, 0, 0, E_HELD, 1, 1, LONG, 0},
	/* clang-format on */
};

static void test_decide(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof decisions / sizeof *decisions; i++) {
		struct outcome_in in = {
			.policy = &policy,
			.retry_count = decisions[i].retry_count,
			.bad = decisions[i].bad,
			.told = decisions[i].told,
			.tally = {.sent = decisions[i].sent_before, .failed = decisions[i].failed_before},
			.now_ms = NOW,
			.hold_ms = 7777,
			.random = EVEN,
		};
		struct outcome o;

		print_message("%s\n", decisions[i].name);
		for (size_t n = 0; n < decisions[i].count; n++)
			outcome_count(&in.tally, decisions[i].rcpts[n]);
		outcome_decide(&in, &o);
		assert_int_equal(o.release, decisions[i].release);
		assert_int_equal(o.state, decisions[i].state);
		assert_int_equal(o.reason, decisions[i].reason);
		assert_int_equal(o.counted, decisions[i].counted);
		assert_int_equal(o.publish, decisions[i].publish);
		assert_int_equal(o.kind, decisions[i].kind);
		assert_int_equal(o.retry_count, decisions[i].retry_count_new);
		assert_int_equal(o.retries_made, decisions[i].retries_made);
		assert_int_equal(o.fail_waiting, decisions[i].fail_waiting);
		assert_int_equal(o.due_ms, decisions[i].due_in_ms < 0 ? 0 : NOW + decisions[i].due_in_ms);
	}
}

/* ---- when again ---- */

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed;
}

static void test_delays(void **state)
{
	static const int64_t expected[] = {1000, 5000, 15000, 15000, 15000};
	uint32_t seed = 4711;

	(void)state;
	for (unsigned made = 0; made < 5; made++) {
		int64_t low = INT64_MAX, high = 0;

		assert_int_equal(retry_delay_ms(&policy, made, EVEN), expected[made]);
		assert_int_equal(retry_delay_ms(&policy, made, 0), expected[made] * 9 / 10);
		assert_int_equal(retry_delay_ms(&policy, made, UINT32_MAX), expected[made] * 11 / 10);
		for (int i = 0; i < 10000; i++) {
			int64_t ms = retry_delay_ms(&policy, made, next_random(&seed));

			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		assert_true(low >= expected[made] * 9 / 10 && low < expected[made] * 91 / 100);
		assert_true(high <= expected[made] * 11 / 10 && high > expected[made] * 109 / 100);
	}
	assert_int_equal(retry_jitter_ms(30 * INT64_C(86400000), 100, UINT32_MAX), 60 * INT64_C(86400000));
	assert_int_equal(retry_jitter_ms(30 * INT64_C(86400000), 100, 0), 0);
	assert_int_equal(retry_jitter_ms(0, 100, UINT32_MAX), 0);
	assert_int_equal(retry_delay_ms(&(struct retry_policy){.max = 1}, 0, EVEN), 0);
}

/* ---- the breaker ---- */

static void test_breaker_probes(void **state)
{
	static const int64_t waits[] = {1000,  2000,   4000,   8000,   16000, 32000,
					64000, 128000, 256000, 300000, 300000};
	struct breaker b;
	int64_t now = 5000;

	(void)state;
	breaker_init(&b);
	assert_int_equal(breaker_wait_ms(&b, now), 0);
	assert_false(breaker_begin(&b));
	assert_true(breaker_end(&b, false, BREAKER_DOWN, now, EVEN));
	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
		assert_int_equal(b.state, PROVIDER_OPEN);
		assert_int_equal(breaker_wait_ms(&b, now), waits[i]);
		now += waits[i];
		assert_int_equal(breaker_wait_ms(&b, now), 0);
		assert_true(breaker_begin(&b));
		assert_int_equal(breaker_wait_ms(&b, now), HAL_FOREVER);
		/* A mail from before it opened ends: no news. */
		assert_false(breaker_end(&b, false, BREAKER_DOWN, now, EVEN));
		assert_int_equal(b.state, PROVIDER_PROBING);
		assert_false(breaker_end(&b, true, BREAKER_DOWN, now, EVEN));
	}
	now += 300000;
	assert_true(breaker_begin(&b));
	assert_true(breaker_end(&b, true, BREAKER_OK, now, EVEN));
	assert_int_equal(b.state, PROVIDER_CLOSED);
	/* The next outage begins anew. */
	assert_true(breaker_end(&b, false, BREAKER_DOWN, now, EVEN));
	assert_int_equal(breaker_wait_ms(&b, now), 1000);
}

static void test_breaker_auth(void **state)
{
	static const int64_t waits[] = {300000, 600000, 1200000, 1800000, 1800000};
	struct breaker b;
	int64_t now = 5000;

	(void)state;
	breaker_init(&b);
	assert_true(breaker_end(&b, false, BREAKER_AUTH, now, EVEN));
	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
		/* A link that comes back changes nothing about the password. */
		breaker_hurry(&b, now);
		assert_int_equal(breaker_wait_ms(&b, now), waits[i]);
		now += waits[i];
		assert_true(breaker_begin(&b));
		assert_false(breaker_end(&b, true, BREAKER_AUTH, now, EVEN));
	}
	now += 1800000;
	assert_true(breaker_begin(&b));
	assert_false(breaker_end(&b, true, BREAKER_DOWN, now, EVEN));
	assert_int_equal(breaker_wait_ms(&b, now), 1000);
}

static void test_breaker_other(void **state)
{
	struct breaker b;

	(void)state;
	breaker_init(&b);
	assert_false(breaker_end(&b, false, BREAKER_SILENT, 1, EVEN));
	assert_int_equal(b.state, PROVIDER_CLOSED);
	assert_true(breaker_end(&b, false, BREAKER_DOWN, 1, 0));
	assert_int_equal(breaker_wait_ms(&b, 1), 800);
	breaker_hurry(&b, 2);
	assert_int_equal(breaker_wait_ms(&b, 2), 0);
	/* A probe that met nobody is made again at once. */
	assert_true(breaker_begin(&b));
	assert_false(breaker_end(&b, true, BREAKER_SILENT, 3, EVEN));
	assert_int_equal(breaker_wait_ms(&b, 3), 0);
	/* A mail that was under way gets through: it is well. */
	assert_true(breaker_end(&b, false, BREAKER_OK, 4, EVEN));
	assert_int_equal(b.state, PROVIDER_CLOSED);
}

/* ---- rate ---- */

static void test_rate(void **state)
{
	struct retry_rate r;
	int64_t sent[2000];
	size_t n = 0;
	uint32_t seed = 7;

	(void)state;
	retry_rate_init(&r, 0, 60000, 1);
	assert_int_equal(retry_rate_wait_ms(&r, 1), 0);

	/* 30/1m asked at random times: never more than 30 in any minute, and not many fewer when all is
	 * wanted. */
	retry_rate_init(&r, 30, 60000, 1000);
	for (int64_t now = 1000; now < 1000 + 600000 && n < 2000;) {
		int64_t wait = retry_rate_wait_ms(&r, now);

		if (wait == 0) {
			retry_rate_take(&r);
			sent[n++] = now;
			now += next_random(&seed) % 300;
		} else {
			assert_true(wait <= 64000);
			now += wait;
		}
	}
	for (size_t i = 30; i < n; i++)
		assert_true(sent[i] - sent[i - 30] >= 60000);
	assert_true(n >= 270 && n <= 330);
}

static void test_rate_give(void **state)
{
	struct retry_rate r;

	(void)state;
	retry_rate_init(&r, 1, 1000, 50);
	assert_int_equal(retry_rate_wait_ms(&r, 50), 0);
	retry_rate_take(&r);
	assert_true(retry_rate_wait_ms(&r, 50) >= 1000);
	retry_rate_give(&r);
	assert_int_equal(retry_rate_wait_ms(&r, 50), 0);
	retry_rate_take(&r);
	assert_int_equal(retry_rate_wait_ms(&r, 50 + 3600000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fault),          cmocka_unit_test(test_breaker_events),
		cmocka_unit_test(test_decide),         cmocka_unit_test(test_delays),
		cmocka_unit_test(test_breaker_probes), cmocka_unit_test(test_breaker_auth),
		cmocka_unit_test(test_breaker_other),  cmocka_unit_test(test_rate),
		cmocka_unit_test(test_rate_give),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
