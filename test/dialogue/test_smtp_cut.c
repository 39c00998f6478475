/* The connection cut after every byte, both ways, in three manners: never a mail that is called sent and is
 * not, never one that was taken and is called unsent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "sim/sim.h"
#include "smtp_kit.h"

#define CONTENT "Subject: hello\r\n\r\n.Hello.\r\n.\r\nbye\r\n"

enum direction { OUT, IN };

struct shape {
	const char *server, *ca; /* NULL: no TLS */
	enum smtp_tls tls;
	const char *caps; /* with TLS: then */
	bool proven;      /* by an earlier connection: contents leave together at once */
};

static void begin(const struct shape *shape, const struct sim_net_rule *rule)
{
	if (shape->server == NULL) {
		kit_plain();
		kit.peer.caps = shape->caps;
	} else {
		kit_tls(shape->server, shape->ca, shape->tls);
		kit.config.username = "u";
		kit.config.password = "p";
	}
	if (rule != NULL) sim_net_rule_add(rule);
	kit_mail(2, CONTENT);
	kit.peer.rcpt_replies[1] = "550 5.1.1 nobody";
}

static void judge(const struct sim_net_rule *rule)
{
	enum smtp_class class = kit.rcpts[0].verdict.class;
	const char *what = NULL;

	if (class == SMTP_SENT && (kit.peer.mails != 1 || kit.peer.finals_sent != 1))
		what = "called sent, but was not";
	else if (class != SMTP_SENT && class != SMTP_UNCERTAIN && kit.peer.mails > 0)
		what = "was taken, but is called unsent";
	else if (class == SMTP_UNCERTAIN && strstr(kit.notes, "of content) .\n") == NULL)
		what = "called uncertain before the final dot left";
	else if (class == SMTP_UNCERTAIN && kit.peer.datas == 0)
		what = "called uncertain before 354";
	else if (class == SMTP_AGAIN && kit.smtp.quirks == 0)
		what = "nothing may be free of charge here";
	else if (kit.mail.rcpt_count == 2 && kit.rcpts[1].verdict.class == SMTP_SENT)
		what = "a refused recipient is called sent";
	else if (kit.peer.violations > 0)
		what = kit.peer.violation;
	if (what != NULL)
		fail_msg("cut out %llu in %llu mode %d: %s (%s)\n%s", (unsigned long long)rule->cut_out_plus1,
			 (unsigned long long)rule->cut_in_plus1, rule->cut_mode, what, smtp_class_name(class),
			 kit.notes);
}

/* Cuts at every step-th byte, from the first-th on, until a run comes through whole; returns how many runs there
 * were. */
static unsigned sweep(const struct shape *shape, enum direction way, enum sim_cut_mode mode, unsigned first,
		      unsigned step)
{
	unsigned runs = 0, seen[7] = {0};

	for (uint64_t at = first;; at += step) {
		struct sim_net_rule rule = {.cut_mode = mode};

		*(way == OUT ? &rule.cut_out_plus1 : &rule.cut_in_plus1) = at + 1;
		begin(shape, &rule);
		int opened = kit_open();
		if (opened == 0) {
			kit_send();
			judge(&rule);
			seen[kit.rcpts[0].verdict.class]++;
		} else {
			assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
			assert_int_equal(kit.peer.mails, 0);
			seen[SMTP_HOLD]++;
		}
		kit_close();
		bool whole = kit.peer.quits == 1 && strstr(kit.notes, "S 221") != NULL;
		kit_end();
		runs++;
		if (whole) break;
		assert_true(at < 100000);
	}
	/* Each kind of end was met on the way. */
	assert_true(seen[SMTP_HOLD] > 0 && seen[SMTP_TRY] + seen[SMTP_AGAIN] > 0 && seen[SMTP_SENT] > 0);
	if (way == IN && step == 1) assert_true(seen[SMTP_UNCERTAIN] > 0);
	return runs;
}

/* In TLS every byte is cut once, in the three manners by turns; a slow build looks at some of them only. */
static unsigned tls_step(void)
{
	const char *text = getenv("SMTP_CUT_STEP");

	return text != NULL && atoi(text) > 0 ? (unsigned)atoi(text) : 1;
}

static const enum sim_cut_mode modes[] = {SIM_CUT_RESET, SIM_CUT_CLOSE, SIM_CUT_SILENCE};

static void test_plain(void **state)
{
	static const struct shape shapes[] = {{.tls = SMTP_TLS_NONE, .caps = ""},
					      {.tls = SMTP_TLS_NONE, .caps = "PIPELINING,SIZE 1000"}};
	unsigned runs = 0;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (unsigned m = 0; m < 3; m++)
			runs += sweep(&shapes[i], OUT, modes[m], 0, 1) +
				sweep(&shapes[i], IN, modes[m], 0, 1);
	print_message("%u cuts\n", runs);
}

static void test_tls(void **state)
{
	static const struct shape shapes[] = {{"self", "self.crt", SMTP_TLS_STARTTLS, NULL, false},
					      {"self", "self.crt", SMTP_TLS_IMPLICIT, NULL, false}};
	unsigned runs = 0;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (unsigned m = 0; m < 3; m++)
			runs += sweep(&shapes[i], OUT, modes[m], m, 3 * tls_step()) +
				sweep(&shapes[i], IN, modes[m], m, 3 * tls_step());
	print_message("%u cuts\n", runs);
}

/* ---- three mails in flight ---- */

static void begin_three(const struct shape *shape, const struct sim_net_rule *rule)
{
	if (shape->server == NULL) {
		kit_plain();
		kit.peer.caps = shape->caps;
	} else {
		kit_tls(shape->server, shape->ca, shape->tls);
		kit.peer.caps_tls = shape->caps;
	}
	kit.config.depth = 8;
	kit.config.proven = shape->proven;
	sim_net_rule_add(rule);
	kit_many(3, 2, 200);
}

static unsigned count_of(const char *text, const char *part)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
		n++;
	return n;
}

/* What came of the mails against what the peer did: SENT only when its final 2yz left; what it took is SENT or
 * UNCERTAIN. */
static const char *judge_three(unsigned seen[7])
{
	/* How many contents were written to their end. */
	unsigned ends = count_of(kit.notes, "of content) .\n") + count_of(kit.notes, " LAST\n");
	unsigned left = 0, tries = 0;
	const char *what = kit_many_wrong();

	for (unsigned i = 0; i < kit.many_given && what == NULL; i++) {
		enum smtp_class class = kit.many[i].mail.verdict.class;
		const struct smtp_peer_taken *t = kit_taken(i);

		seen[class]++;
		left += class == SMTP_SENT || class == SMTP_UNCERTAIN;
		tries += class == SMTP_TRY;
		if (class == SMTP_SENT && (t == NULL || !t->said))
			what = "called sent, but was not";
		else if (class == SMTP_SENT && left != i + 1)
			what = "called sent behind one that was not";
		else if (class != SMTP_SENT && class != SMTP_UNCERTAIN && t != NULL)
			what = "was taken, but is called unsent";
		else if (class == SMTP_AGAIN && i == 0 && kit.smtp.quirks == 0)
			what = "nothing may be free of charge here";
		else if (class == SMTP_FAIL || (class == SMTP_HOLD && strstr(kit.notes, "C MAIL") != NULL))
			what = "blamed for a cut connection";
	}
	if (what == NULL && left > ends) what = "called uncertain before its end was written";
	if (what == NULL && tries > 1) what = "one cut counts against two mails";
	if (what == NULL && kit.peer.taken_count > kit.many_given) what = "taken twice";
	if (what == NULL && kit.peer.violations > 0) what = kit.peer.violation;
	return what;
}

static unsigned sweep_three(const struct shape *shape, enum direction way, enum sim_cut_mode mode,
			    unsigned first, unsigned step)
{
	unsigned runs = 0, seen[7] = {0};

	for (uint64_t at = first;; at += step) {
		struct sim_net_rule rule = {.cut_mode = mode};
		const char *what = NULL;

		*(way == OUT ? &rule.cut_out_plus1 : &rule.cut_in_plus1) = at + 1;
		begin_three(shape, &rule);
		if (kit_open() == 0) {
			(void)kit_run();
			what = judge_three(seen);
		} else {
			assert_int_equal(kit.peer.taken_count, 0);
		}
		kit_close();
		if (what != NULL)
			fail_msg("%s: cut %s at %llu, mode %d: %s %s %s: %s\n%s", shape->caps,
				 way == OUT ? "out" : "in", (unsigned long long)at, mode,
				 smtp_class_name(kit.many[0].mail.verdict.class),
				 smtp_class_name(kit.many[1].mail.verdict.class),
				 smtp_class_name(kit.many[2].mail.verdict.class), what, kit.notes);
		bool whole = kit.peer.quits == 1 && strstr(kit.notes, "S 221") != NULL;
		kit_end();
		runs++;
		if (whole) break;
		assert_true(at < 100000);
	}
	assert_true(seen[SMTP_TRY] + seen[SMTP_AGAIN] > 0 && seen[SMTP_SENT] > 0);
	if (way == IN) assert_true(seen[SMTP_UNCERTAIN] > 0);
	return runs;
}

static void test_three(void **state)
{
	static const struct shape shapes[] = {
		{.tls = SMTP_TLS_NONE, .caps = "PIPELINING"},
		{.tls = SMTP_TLS_NONE, .caps = "PIPELINING,CHUNKING"},
		{.tls = SMTP_TLS_NONE, .caps = "PIPELINING,CHUNKING", .proven = true},
		{.tls = SMTP_TLS_NONE, .caps = "CHUNKING"},
	};
	unsigned runs = 0;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t m = 0; m < 3; m++)
			runs += sweep_three(&shapes[i], OUT, modes[m], 0, 1) +
				sweep_three(&shapes[i], IN, modes[m], 0, 1);
	print_message("%u cuts\n", runs);
}

static void test_three_tls(void **state)
{
	static const struct shape shapes[] = {
		{"self", "self.crt", SMTP_TLS_STARTTLS, "PIPELINING", false},
		{"self", "self.crt", SMTP_TLS_IMPLICIT, "PIPELINING,CHUNKING", true},
	};
	unsigned runs = 0;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (unsigned m = 0; m < 3; m++)
			runs += sweep_three(&shapes[i], OUT, modes[m], m, 3 * tls_step()) +
				sweep_three(&shapes[i], IN, modes[m], m, 3 * tls_step());
	print_message("%u cuts\n", runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_three),
		cmocka_unit_test(test_three_tls),
	};

	return cmocka_run_group_tests_name("smtp cut", tests, NULL, NULL);
}
