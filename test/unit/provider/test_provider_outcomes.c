/* The table of outcomes (job_outcomes.def), row by row: a fresh gateway's middle, one job, one attempt. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "hal_clock.h"
#include "provider_kit.h"
#include "sim/sim.h"
#include "smtp_peer.h"

enum { NET = PEER_AT_COUNT };
enum hold { NONE, LINK, PROVIDER, ANY };
#define GREETING PEER_GREETING
#define EHLO     PEER_EHLO
#define AUTH     PEER_AUTH
#define MAIL     PEER_MAIL
#define RCPT     PEER_RCPT
#define DATA     PEER_DATA
#define DOT      PEER_DOT

struct row {
	int at;
	const char *at_name, *reply;
	enum hold hold;
	enum job_state state;
	enum job_reason reason;
	unsigned retries;
	int64_t waits_s;
};

static const struct row rows[] = {
#define ROW(at, reply, hold, state, reason, retries, waits_s)                                                \
	{at, #at, reply, hold, JOB_##state, JOB_REASON_##reason, retries, waits_s},
#include "job_outcomes.def"
#undef ROW
};

/* What one boot runs. */
struct run {
	const struct row *row;
	enum hold hold;
	const char *caps;
};

static const char *const hold_names[] = {"none", "link", "provider"};
static struct provider_kit kit;
static struct smtp_peer peer;

static void network(const char *what)
{
	struct sim_net_rule rule = {.ip = NULL};

	if (strcmp(what, "no link") == 0) sim_link_set(false, false);
	if (strcmp(what, "no DNS") == 0) sim_faults()->dns.mode = SIM_DNS_FAIL;
	rule.refuse = strcmp(what, "refused") == 0;
	rule.black_hole = strcmp(what, "black hole") == 0;
	rule.unreachable = strcmp(what, "unreachable") == 0;
	if (rule.refuse || rule.black_hole || rule.unreachable) sim_net_rule_add(&rule);
}

static void start(const struct run *r)
{
	const struct row *row = r->row;
	bool named = row->at == NET && strncmp(row->reply, "no ", 3) == 0;
	char ini[512];

	memset(&peer, 0, sizeof peer);
	peer.caps = r->caps;
	if (row->at != NET) peer.replies[row->at] = row->reply;
	/* Content that is refused is, with CHUNKING, its last chunk. */
	if (row->at == PEER_DOT) peer.replies[PEER_LAST] = row->reply;
	sim_peer_listen("127.0.0.1", 25, smtp_peer_serve, &peer);
	snprintf(ini, sizeof ini,
		 "[retry]\nhold=%s\n[provider.one]\ntype=smtp\nhost=%s\nport=25\ntls=none\nfrom=gw@example."
		 "org\n%s",
		 hold_names[r->hold], named ? "mx.example.org" : "127.0.0.1",
		 row->at == AUTH ? "auth=plain\nusername=u\npassword=secret\n" : "");
	provider_kit_start(&kit, ini);
	if (row->at == NET) network(row->reply);
}

/* Until the first attempt has ended, however it did. */
static struct store_job first_end(int64_t id)
{
	int64_t until_ms = hal_clock_in(3600 * 1000);

	for (;;) {
		struct store_job job = provider_kit_job(&kit, id);
		bool waits = job.state == JOB_PENDING && job.reason != JOB_REASON_NONE;

		if (waits || job.state == JOB_COMPLETED || job.state == JOB_FAILED) return job;
		if (hal_clock_mono_ms() > until_ms) return job;
		hal_clock_sleep_until(hal_clock_in(50));
	}
}

static void run_boot(void *arg)
{
	const struct run *r = arg;
	const struct row *row = r->row;
	struct store_job job;

	start(r);
	job = first_end(provider_kit_mail(&kit, "m1", NULL));
	if (job.state != row->state || job.reason != row->reason || job.retry_count != row->retries)
		print_message("%s \"%s\" hold=%s caps=%s: %s (%s) retries %u: %s\n", row->at_name, row->reply,
			      hold_names[r->hold], r->caps, job_state_name(job.state),
			      job_reason_name(job.reason), job.retry_count, job.error);
	assert_int_equal(job.state, row->state);
	assert_int_equal(job.reason, row->reason);
	assert_int_equal(job.retry_count, row->retries);
	if (row->waits_s > 0) {
		int64_t wait_ms = job.due_ms - job.updated_ms;

		/* 10 % of chance, and what passed between the look at the clock and the end. */
		assert_true(wait_ms >= row->waits_s * 900 && wait_ms <= row->waits_s * 2000 + 2000);
	}
	if (row->state == JOB_COMPLETED) assert_int_equal(peer.mails, 1);
	assert_int_equal(peer.violations, 0);
	provider_kit_stop(&kit, 1000);
}

static void run(const struct row *row, enum hold hold, const char *caps)
{
	const struct run r = {row, hold, caps};
	struct sim_config c = sim_config_default(1);
	struct sim_result result;

	c.time_ms_max = 48 * 3600 * INT64_C(1000);
	sim_reset();
	result = sim_run(&c, run_boot, (void *)(uintptr_t)&r);
	if (result.end != SIM_FINISHED)
		print_message("%s \"%s\" hold=%s caps=%s: %s\n%.4000s\n", row->at_name, row->reply,
			      hold_names[hold], caps, sim_end_text(result.end), sim_log_text());
	assert_int_equal(result.end, SIM_FINISHED);
}

static void every_row(const char *caps)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (rows[i].at == DATA && strstr(caps, "CHUNKING")) continue; /* is not said then */
		for (int hold = NONE; hold <= PROVIDER; hold++)
			if (rows[i].hold == ANY || rows[i].hold == (enum hold)hold)
				run(&rows[i], (enum hold)hold, caps);
	}
}

static void with_pipelining(void **state)
{
	(void)state;
	every_row("PIPELINING,AUTH PLAIN");
}

static void with_chunking(void **state)
{
	(void)state;
	every_row("PIPELINING,CHUNKING,AUTH PLAIN");
}

static void one_by_one(void **state)
{
	(void)state;
	every_row("AUTH PLAIN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_pipelining),
		cmocka_unit_test(with_chunking),
		cmocka_unit_test(one_by_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
