/* The whole firmware, unmodified from app/ down, hands mails to a scripted server; the power goes at every single
 * write, sync, create, rename and remove of that run, with each kind of damage to what was not synced. After it the
 * next boot must have every job either never accepted, or waiting, or ended; and it sends what waits.
 *
 * The ledger and the server stand outside of the device: in memory that lives through power cuts.
 *
 *   GATEWAY_CUT_STEP=n    every n-th point only (default 1: all)
 *   GATEWAY_CUT_SEEDS=n   so many seeds (default 1)
 *   GATEWAY_CUT=seed:op:damage   replays that one, with the gateway's log
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway_kit.h"
#include "hal_clock.h"
#include "hal_lifecycle.h"
#include "scenario_kit.h"

#define CLIENTS   2
#define JOBS_EACH 6
#define JOBS      (CLIENTS * JOBS_EACH)
#define RCPTS     3
#define BOOTS     3

#define INI                                                                                                  \
	"[gateway]\ndata_dir = data\nlog_level = debug\n[worker]\nmin = 2\nmax = 3\n"                        \
	"[retry]\ndelays = 1s,1s,1s\njitter = 0\n"                                                           \
	"[provider.mx]\ntype = smtp\nhost = 192.0.2.25\nport = 25\ntls = none\nfrom = gw@example.com\n"

/* Outside of the device, beside the kit's ledger. */
struct outside {
	unsigned checked;
};
static struct outside *outside;

/* What kind of job the n-th is. */
static void plan(unsigned n)
{
	struct scenario_job *j = &scenario_ledger->jobs[n];

	j->format1 = n % 2 == 0;
	j->rcpts = n % 3 == 2 ? RCPTS : 1;
	/* Every fifth is larger than a page. */
	j->lines = n % 5 == 0 ? 300 : 3;
	j->deferred = n % 4 == 1;
	j->hopeless = n % 6 == 5;
}

/* ---- the clients ---- */

static int ask(unsigned n)
{
	static char text[CLIENTS + 1][16384], reply[CLIENTS + 1][4096];
	unsigned me = n / JOBS_EACH;
	struct buf b;

	buf_init(&b, text[me], sizeof text[me]);
	scenario_job_text(n, false, &b);
	return sim_http("POST", "/api/emails", text[me], reply[me], sizeof reply[me]);
}

static void client_two(void *done)
{
	for (unsigned n = JOBS_EACH; n < JOBS; n++) {
		scenario_ledger->jobs[n].asked = true;
		if (ask(n) == 202) scenario_ledger->jobs[n].accepted = true;
	}
	*(bool *)done = true;
}

static void await_none(const char *path)
{
	for (int i = 0;
	     gateway_kit_http("GET", path, NULL) != 200 || !strstr(gateway_kit_reply, "\"items\":[]"); i++) {
		if (i > 3000) fail_msg("still there: %s", gateway_kit_reply);
		hal_clock_sleep_until(hal_clock_in(20));
	}
}

static void await_ended(void)
{
	await_none("/api/emails?state=pending");
	await_none("/api/emails?state=processing");
	await_none("/api/emails?state=pending");
}

static void client_work(void *arg)
{
	static bool done;

	(void)arg;
	sim_script_start("client2", client_two, &done);
	for (unsigned n = 0; n < JOBS_EACH; n++) {
		scenario_ledger->jobs[n].asked = true;
		if (ask(n) == 202) scenario_ledger->jobs[n].accepted = true;
	}
	while (!done)
		hal_clock_sleep_until(hal_clock_in(10));
	await_ended();
}

/* The job's item in the list of all, NULL when it is not there. */
static const char *item_of(unsigned n)
{
	char id[48];

	snprintf(id, sizeof id, "\"message_id\":\"job-%u\"", n);
	return strstr(gateway_kit_reply, id);
}

static void check_one(unsigned n)
{
	const struct scenario_job *e = &scenario_ledger->jobs[n];
	const char *item = item_of(n);

	if (e->accepted && !item) fail_msg("job %u was accepted and is lost", n);
	if (!e->asked && item) fail_msg("job %u is there and nobody asked for it", n);
	if (!item) {
		assert_int_equal(e->rcpt[0].total, 0);
		return;
	}
	const char *state = strstr(item, "\"state\":\"");
	bool failed = e->hopeless;
	if (!state || strncmp(state + 9, failed ? "failed" : "completed", failed ? 6 : 9) != 0)
		fail_msg("job %u is not %s: %.200s", n, failed ? "failed" : "completed", item);
	for (unsigned r = 0; r < e->rcpts; r++) {
		unsigned total = e->rcpt[r].total;

		for (unsigned b = 0; b < BOOTS; b++) {
			if (e->rcpt[r].copies[b] > 1)
				fail_msg("job %u went to recipient %u twice between two power cuts", n, r);
		}
		if (failed && r + 1 == e->rcpts)
			assert_int_equal(total, 0);
		else if (total == 0)
			fail_msg("job %u says it was sent and recipient %u has nothing", n, r);
	}
}

static void client_check(void *arg)
{
	(void)arg;
	await_ended();
	assert_int_equal(gateway_kit_http("GET", "/api/emails?limit=100", NULL), 200);
	for (unsigned n = 0; n < JOBS; n++)
		check_one(n);
	/* The same jobs once more: known ones stay what they are, the others are new. */
	for (unsigned n = 0; n < JOBS; n += 4) {
		scenario_ledger->jobs[n].asked = true;
		int status = ask(n);
		assert_true(status == 200 || (status == 202 && !scenario_ledger->jobs[n].accepted));
	}
	if (scenario_ledger->violations)
		fail_msg("%u violations:\n%s", scenario_ledger->violations, sim_notes());
	outside->checked++;
}

/* ---- the loop ---- */

static const char *ini = INI;

static struct sim_config config_of(uint64_t seed)
{
	struct sim_config c = sim_config_default(seed);

	c.faults.disk.sync_ms = 2;
	c.quiet = true;
	return c;
}

static void start_over(void)
{
	sim_reset();
	scenario_begin();
	outside = sim_shared(sizeof *outside);
	memset(outside, 0, sizeof *outside);
	scenario_ledger->job_count = JOBS;
	for (unsigned n = 0; n < JOBS; n++)
		plan(n);
	sim_peer_listen("192.0.2.25", 25, scenario_serve, NULL);
}

static uint64_t points_of(uint64_t seed)
{
	struct sim_config c = config_of(seed);

	start_over();
	struct sim_result r = gateway_kit_boot(&c, ini, client_work, NULL, 0);
	if (r.end != SIM_FINISHED) fail_msg("the run without a cut ended as %s", sim_end_text(r.end));
	return r.disk_ops;
}

/* One cut, and the boot after it. False: the check found something. */
static bool survives(uint64_t seed, uint64_t op, enum sim_damage damage, bool quiet)
{
	struct sim_config c = config_of(seed);

	start_over();
	c.faults.disk.cut_at_op = op;
	c.faults.disk.damage = damage;
	enum sim_end end = gateway_kit_boot(&c, ini, client_work, NULL, 0).end;
	assert_true(end == SIM_POWER_CUT);
	scenario_ledger->boot++;
	c.faults.disk.cut_at_op = 0;
	c.quiet = quiet;
	end = gateway_kit_boot(&c, ini, client_check, NULL, 0).end;
	return end == SIM_FINISHED && outside->checked == 1;
}

static unsigned env_number(const char *name, unsigned fallback)
{
	const char *text = getenv(name);
	unsigned n = text ? (unsigned)strtoul(text, NULL, 10) : 0;

	return n ? n : fallback;
}

static void test_every_point(void **state)
{
	unsigned step = env_number("GATEWAY_CUT_STEP", 1), seeds = env_number("GATEWAY_CUT_SEEDS", 1),
		 runs = 0;
	unsigned long long seed, op, kind, points = 0;
	const char *one = getenv("GATEWAY_CUT");

	(void)state;
	if (one && sscanf(one, "%llu:%llu:%llu", &seed, &op, &kind) == 3) {
		assert_true(survives(seed, op, (enum sim_damage)kind, false));
		return;
	}
	for (seed = 1; seed <= seeds; seed++) {
		points = points_of(seed);
		for (int damage = SIM_DAMAGE_DROP; damage <= SIM_DAMAGE_TEAR; damage++) {
			for (op = 1 + (unsigned long long)damage % step; op <= points; op += step, runs++) {
				if (!survives(seed, op, (enum sim_damage)damage, false))
					fail_msg("replay: GATEWAY_CUT=%llu:%llu:%d SIM_LOG=1 "
						 "(seed:op:damage), then this program",
						 seed, op, damage);
			}
		}
	}
	print_message("%u power cuts, %llu crash points in the run\n", runs, points);
}

/* The test of the test: a store that answers before its sync must be found out. */
static void test_answer_before_sync_is_found(void **state)
{
	unsigned found = 0;

	(void)state;
	ini = INI "[store]\ndurability = normal\n";
	uint64_t points = points_of(1);
	for (uint64_t op = points / 8; op <= points && !found; op += 3)
		found += !survives(1, op, SIM_DAMAGE_DROP, true);
	ini = INI;
	/* The failed check of the boot has printed its message without a line end. */
	printf("\n");
	fflush(stdout);
	if (!found)
		fail_msg("no cut of %llu lost anything although nothing was synced",
			 (unsigned long long)points);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_point),
		cmocka_unit_test(test_answer_before_sync_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
