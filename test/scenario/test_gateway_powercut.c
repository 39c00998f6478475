/* The whole firmware, unmodified from app/ down, hands mails to a scripted server; the power goes at every single write,
 * sync, create, rename and remove of that run, with each kind of damage to what was not synced. After it the next boot must
 * have every job either never accepted, or waiting, or ended; and it sends what waits.
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
#include "net/net.h"

#define CLIENTS 2
#define JOBS_EACH 6
#define JOBS (CLIENTS * JOBS_EACH)
#define RCPTS 3
#define BOOTS 3

#define INI \
	"[gateway]\ndata_dir = data\nlog_level = debug\n[worker]\nmin = 2\nmax = 3\n" \
	"[retry]\ndelays = 1s,1s,1s\njitter = 0\n" \
	"[provider.mx]\ntype = smtp\nhost = 192.0.2.25\nport = 25\ntls = none\nfrom = gw@example.com\n"

/* Written by the clients before they ask and after they were answered, and by the server before it says 250. */
struct ledger {
	struct entry {
		bool asked, accepted;
		unsigned arrived[BOOTS][RCPTS];
	} jobs[JOBS];
	unsigned boot, refused_once[JOBS], checked, violations;
	char violation[128];
};
static struct ledger *ledger;

/* What kind of job the n-th is. */
static unsigned rcpts_of(unsigned n)
{
	return n % 3 == 2 ? RCPTS : 1;
}
/* The server says 451 to its first RCPT, once. */
static bool is_deferred(unsigned n)
{
	return n % 4 == 1;
}
/* The server never takes its last recipient. */
static bool is_refused(unsigned n)
{
	return n % 6 == 5;
}

/* ---- the server ---- */

static void violate(const char *what)
{
	if (ledger->violations++ == 0) snprintf(ledger->violation, sizeof ledger->violation, "%.120s", what);
}

struct session {
	struct hal_stream *s;
	struct net_line line;
	unsigned rcpt_job[RCPTS], rcpt_index[RCPTS], rcpts;
	bool mail;
	char memory[4096];
};

static void put(struct session *c, const char *text)
{
	net_send_all(c->s, text, strlen(text), HAL_FOREVER, NULL);
}

static void on_rcpt(struct session *c, const char *line)
{
	unsigned n, r;

	if (sscanf(line, "RCPT TO:<r%u.j%u@example.com>", &r, &n) != 2 || n >= JOBS || r >= RCPTS || !c->mail) {
		violate(line);
		put(c, "550 what\r\n");
	} else if (is_deferred(n) && r == 0 && ledger->refused_once[n]++ == 0) {
		put(c, "451 4.7.1 later\r\n");
	} else if (is_refused(n) && r + 1 == rcpts_of(n)) {
		put(c, "550 5.1.1 nobody\r\n");
	} else {
		c->rcpt_job[c->rcpts] = n;
		c->rcpt_index[c->rcpts++] = r;
		put(c, "250 ok\r\n");
	}
}

static bool on_data(struct session *c)
{
	struct str line;
	bool cut, whole = false;

	put(c, c->rcpts ? "354 go\r\n" : "554 nobody\r\n");
	while (c->rcpts) {
		if (net_line_read(&c->line, &line, &cut, HAL_FOREVER) < 0) return false;
		if (str_eq(line, STR("."))) break;
		whole = whole || str_eq(line, STR("the last line"));
	}
	if (c->rcpts && !whole) violate("a mail without its last line");
	for (unsigned i = 0; i < c->rcpts; i++) ledger->jobs[c->rcpt_job[i]].arrived[ledger->boot][c->rcpt_index[i]]++;
	if (c->rcpts) put(c, "250 2.0.0 Ok: queued as Q1\r\n");
	c->mail = false;
	c->rcpts = 0;
	return true;
}

static void serve(struct hal_stream *s, void *arg)
{
	static const char *const fine[] = { "EHLO ", "RSET", "NOOP" };
	struct session c = { .s = s };
	struct str line;
	bool cut;

	(void)arg;
	net_line_init(&c.line, s, c.memory, sizeof c.memory);
	put(&c, "220 mx.example.com ESMTP\r\n");
	while (net_line_read(&c.line, &line, &cut, HAL_FOREVER) == 0) {
		char text[512];
		bool known = false;

		str_copy(text, sizeof text, line);
		for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) known = known || strncmp(text, fine[i], strlen(fine[i])) == 0;
		if (known) {
			c.mail = false;
			c.rcpts = 0;
			put(&c, "250 ok\r\n");
		} else if (strncmp(text, "MAIL FROM:<gw@example.com>", 26) == 0 && !c.mail) {
			c.mail = true;
			put(&c, "250 ok\r\n");
		} else if (strncmp(text, "RCPT TO:<", 9) == 0) {
			on_rcpt(&c, text);
		} else if (strcmp(text, "DATA") == 0) {
			if (!on_data(&c)) return;
		} else if (strcmp(text, "QUIT") == 0) {
			put(&c, "221 bye\r\n");
			return;
		} else {
			violate(text);
			put(&c, "500 what\r\n");
		}
	}
}

/* ---- the clients ---- */

static void job_text(unsigned n, char *text, size_t cap)
{
	struct buf b;

	buf_init(&b, text, cap);
	/* Both formats; every fifth is larger than a page. */
	buf_printf(&b, "{\"%s\":[", n % 2 ? "recipients" : "to");
	for (unsigned r = 0; r < rcpts_of(n); r++) buf_printf(&b, "%s\"r%u.j%u@example.com\"", r ? "," : "", r, n);
	buf_printf(&b, "],\"message_id\":\"job-%u\",\"subject\":\"job %u\",\"%s\":\"", n, n, n % 2 ? "plain_body" : "body_content");
	for (unsigned i = 0; i < (n % 5 == 0 ? 300u : 3u); i++) buf_printf(&b, "line %u of the body\\n", i);
	buf_puts(&b, "the last line\"}");
	assert_false(b.cut);
}

static int ask(unsigned n)
{
	static char text[CLIENTS + 1][16384], reply[CLIENTS + 1][4096];
	unsigned me = n / JOBS_EACH;

	job_text(n, text[me], sizeof text[me]);
	return sim_http("POST", "/api/emails", text[me], reply[me], sizeof reply[me]);
}

static void client_two(void *done)
{
	for (unsigned n = JOBS_EACH; n < JOBS; n++) {
		ledger->jobs[n].asked = true;
		if (ask(n) == 202) ledger->jobs[n].accepted = true;
	}
	*(bool *)done = true;
}

static void await_none(const char *path)
{
	for (int i = 0; gateway_kit_http("GET", path, NULL) != 200 || !strstr(gateway_kit_reply, "\"items\":[]"); i++) {
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
		ledger->jobs[n].asked = true;
		if (ask(n) == 202) ledger->jobs[n].accepted = true;
	}
	while (!done) hal_clock_sleep_until(hal_clock_in(10));
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
	const struct entry *e = &ledger->jobs[n];
	const char *item = item_of(n);

	if (e->accepted && !item) fail_msg("job %u was accepted and is lost", n);
	if (!e->asked && item) fail_msg("job %u is there and nobody asked for it", n);
	if (!item) {
		for (unsigned b = 0; b < BOOTS; b++) assert_int_equal(e->arrived[b][0], 0);
		return;
	}
	const char *state = strstr(item, "\"state\":\"");
	bool failed = is_refused(n);
	if (!state || strncmp(state + 9, failed ? "failed" : "completed", failed ? 6 : 9) != 0)
		fail_msg("job %u is not %s: %.200s", n, failed ? "failed" : "completed", item);
	for (unsigned r = 0; r < rcpts_of(n); r++) {
		unsigned total = 0;

		for (unsigned b = 0; b < BOOTS; b++) {
			total += e->arrived[b][r];
			if (e->arrived[b][r] > 1) fail_msg("job %u went to recipient %u twice between two power cuts", n, r);
		}
		if (failed && r + 1 == rcpts_of(n)) assert_int_equal(total, 0);
		else if (total == 0) fail_msg("job %u says it was sent and recipient %u has nothing", n, r);
	}
}

static void client_check(void *arg)
{
	(void)arg;
	await_ended();
	assert_int_equal(gateway_kit_http("GET", "/api/emails?limit=100", NULL), 200);
	for (unsigned n = 0; n < JOBS; n++) check_one(n);
	/* The same jobs once more: known ones stay what they are, the others are new. */
	for (unsigned n = 0; n < JOBS; n += 4) {
		int status = ask(n);
		assert_true(status == 200 || (status == 202 && !ledger->jobs[n].accepted));
	}
	if (ledger->violations) fail_msg("the server saw %u violations, first: %s", ledger->violations, ledger->violation);
	ledger->checked++;
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
	ledger = sim_shared(sizeof *ledger);
	memset(ledger, 0, sizeof *ledger);
	sim_peer_listen("192.0.2.25", 25, serve, NULL);
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
	ledger->boot++;
	c.faults.disk.cut_at_op = 0;
	c.quiet = quiet;
	end = gateway_kit_boot(&c, ini, client_check, NULL, 0).end;
	return end == SIM_FINISHED && ledger->checked == 1;
}

static unsigned env_number(const char *name, unsigned fallback)
{
	const char *text = getenv(name);
	unsigned n = text ? (unsigned)strtoul(text, NULL, 10) : 0;

	return n ? n : fallback;
}

static void test_every_point(void **state)
{
	unsigned step = env_number("GATEWAY_CUT_STEP", 1), seeds = env_number("GATEWAY_CUT_SEEDS", 1), runs = 0;
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
					fail_msg("replay: GATEWAY_CUT=%llu:%llu:%d SIM_LOG=1 (seed:op:damage), then this program", seed, op,
						 damage);
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
	for (uint64_t op = points / 8; op <= points && !found; op += 3) found += !survives(1, op, SIM_DAMAGE_DROP, true);
	ini = INI;
	if (!found) fail_msg("no cut of %llu lost anything although nothing was synced", (unsigned long long)points);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_point),
		cmocka_unit_test(test_answer_before_sync_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
