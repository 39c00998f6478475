/* Replies that are not as many as commands, with several mails in flight: who is SENT was taken, and a clean server's
 * words, whatever they are, cost nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_clock.h"
#include "sim/sim.h"
#include "smtp_kit.h"

#define BOTH       "PIPELINING,CHUNKING"
#define LATENCY_MS 5
#define MAILS      24
#define ROUNDS_MAX 60

static unsigned queue[MAILS], queued, given;
static char what[160];

static void begin(const char *caps)
{
	kit_plain();
	kit.peer.caps = caps;
	kit.config.depth = 8;
	sim_net_rule_add(&(struct sim_net_rule){.ip = KIT_IP, .latency_ms = LATENCY_MS});
	kit_many(MAILS, 1, 0);
	for (unsigned i = 0; i < MAILS; i++)
		kit.many[i].mail.rcpt_count = 1;
}

/* Every second mail has two recipients. */
static void begin_lists(const char *caps)
{
	begin(caps);
	kit_many(MAILS, 2, 0);
	for (unsigned i = 0; i < MAILS; i += 2)
		kit.many[i].mail.rcpt_count = 1;
}

static struct smtp_mail *next(void *arg)
{
	(void)arg;
	return given < queued ? &kit.many[queue[given++]].mail : NULL;
}

static void done(void *arg, struct smtp_mail *mail)
{
	(void)arg;
	assert_int_not_equal(mail->verdict.class, SMTP_NONE);
}

/* What is to go again, or was a try, does. Returns how many connections it took. */
static unsigned deliver(void)
{
	static const struct smtp_supply supply = {next, done, NULL, NULL};
	unsigned rounds = 0;

	for (queued = 0; queued < MAILS; queued++)
		queue[queued] = queued;
	while (queued > 0 && ++rounds < ROUNDS_MAX) {
		unsigned left = 0;

		given = 0;
		if (kit_open() == 0) (void)smtp_run(&kit.smtp, &supply, HAL_FOREVER);
		kit.config.quirks |= kit.smtp.quirks;
		kit.config.proven = kit.smtp.proven;
		for (unsigned i = 0; i < queued; i++) {
			struct kit_one *one = &kit.many[queue[i]];
			enum smtp_class class = one->mail.verdict.class;

			if (i < given && class != SMTP_AGAIN && class != SMTP_TRY && class != SMTP_HOLD)
				continue;
			for (size_t r = 0; r < one->mail.rcpt_count; r++)
				one->rcpts[r].verdict = (struct smtp_verdict){0};
			queue[left++] = queue[i];
		}
		queued = left;
		kit_close();
	}
	return rounds;
}

/* Of all that was said: nobody is SENT who was not taken, nobody FAILs who was. */
static void assert_true_ends(void)
{
	for (unsigned i = 0; i < MAILS; i++) {
		enum smtp_class class = kit.many[i].mail.verdict.class;

		if (class == SMTP_SENT && kit_taken(i) == NULL)
			fail_msg("%s: mail %u is sent and was not taken\n%s", what, i + 1, kit.notes);
		if (class == SMTP_FAIL && kit_taken(i) != NULL)
			fail_msg("%s: mail %u has failed and was taken\n%s", what, i + 1, kit.notes);
	}
}

static unsigned count(enum smtp_class class)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MAILS; i++)
		n += kit.many[i].mail.verdict.class == class;
	return n;
}

static const char *const both_ways[] = {BOTH, "PIPELINING"};
static const char *const wordings[] = {NULL, "250 ok", "250", "250 2.0.0 OK"};

static void test_final_each(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2 * 4 * 3; n++) {
		begin_lists(both_ways[n % 2]);
		kit.peer.flaw = PEER_FINAL_EACH;
		kit.peer.words = wordings[n / 2 % 4];
		kit.peer.refuses_every = 3;
		kit.peer.final_lag_ms = n / 8 * 7;
		snprintf(what, sizeof(what), "%s, \"%s\", %u ms", kit.peer.caps,
			 kit.peer.words != NULL ? kit.peer.words : "", kit.peer.final_lag_ms);
		unsigned rounds = deliver();
		assert_true_ends();
		if (queued > 0) fail_msg("%s: %u left\n%s", what, queued, kit.notes);
		if ((kit.config.quirks & SMTP_QUIRK_NO_DEPTH) == 0)
			fail_msg("%s: not noticed in %u rounds", what, rounds);
		kit_end();
	}
}

static void test_missing(void **state)
{
	static const enum smtp_peer_flaw flaws[] = {PEER_SWALLOWS, PEER_MUTE, PEER_DISCARDS};

	(void)state;
	for (unsigned n = 0; n < 2 * 3 * 3; n++)
		for (unsigned every = 5; every < 60; every += 3) {
			begin(both_ways[n % 2]);
			kit.peer.flaw = flaws[n / 2 % 3];
			kit.peer.flaw_every = every;
			kit.peer.words = wordings[n / 6];
			kit.peer.refuses_every = 3;
			snprintf(what, sizeof(what), "%s, \"%s\", flaw %d at every %u", kit.peer.caps,
				 kit.peer.words != NULL ? kit.peer.words : "", (int)kit.peer.flaw, every);
			(void)deliver();
			assert_true_ends();
			kit_end();
		}
}

/* Whatever a server's words are, when it is in step nothing is uncertain, and one connection does it all. */
static void test_clean(void **state)
{
	static const char *const words[] = {NULL,           "250 ok",       "250",
					    "250 2.0.0 OK", "250 2.1.0 Ok", "250 2.1.5 done"};

	(void)state;
	for (unsigned n = 0; n < 2 * 6 * 2; n++) {
		begin(both_ways[n % 2]);
		kit.peer.words = words[n / 2 % 6];
		kit.peer.refuses_every = n < 12 ? 0 : 3;
		assert_int_equal(deliver(), 1);
		assert_true_ends();
		assert_int_equal(count(SMTP_SENT), kit.peer.refuses_every > 0 ? MAILS - MAILS / 3 : MAILS);
		assert_int_equal(count(SMTP_UNCERTAIN), 0);
		/* Its final replies do not tell: a mark is needed, but no more than that. */
		if (n % 2 == 1 || kit.peer.words == NULL)
			assert_int_equal(kit.config.quirks, 0);
		else
			assert_int_equal(kit.config.quirks, SMTP_QUIRK_NO_CHUNKING);
		kit_end();
	}
}

/* A word out of place is a doubt: fewer in flight, and no end is made uncertain by it. */
static void test_careless(void **state)
{
	(void)state;
	begin(BOTH);
	kit.peer.scripts[0] = (struct smtp_peer_script){9, PEER_RCPT, "250 2.1.0 sender fine"};
	assert_int_equal(deliver(), 1);
	assert_int_equal(count(SMTP_SENT), MAILS);
	assert_int_equal(kit.config.quirks, SMTP_QUIRK_NO_DEPTH);
	kit_end();
}

/* Behind the last of a flight: a reply too many, or good-bye. */
static void test_behind_the_last(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2; n++) {
		begin(both_ways[n]);
		kit.peer.scripts[0] =
			(struct smtp_peer_script){MAILS, n == 0 ? PEER_LAST : PEER_DOT,
						  "250 2.0.0 Ok: queued as 5A\r\n250 2.0.0 Ok: queued as 5B"};
		assert_int_equal(deliver(), 1);
		assert_int_equal(kit.many[MAILS - 1].mail.verdict.class, SMTP_UNCERTAIN);
		assert_int_equal(count(SMTP_SENT), MAILS - 1);
		assert_int_equal(kit.config.quirks, SMTP_QUIRK_NO_DEPTH);
		assert_false(kit.config.proven);
		kit_end();
		begin(both_ways[n]);
		kit.peer.scripts[0] =
			(struct smtp_peer_script){MAILS, n == 0 ? PEER_LAST : PEER_DOT,
						  "250 2.0.0 Ok: queued as 5A\r\n421 4.3.2 enough"};
		assert_int_equal(deliver(), 1);
		assert_int_equal(count(SMTP_SENT), MAILS);
		assert_int_equal(kit.config.quirks, 0);
		kit_end();
	}
}

/* Also after a failure. */
static int end(void **state)
{
	(void)state;
	kit_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_final_each, end),
		cmocka_unit_test_teardown(test_missing, end),
		cmocka_unit_test_teardown(test_clean, end),
		cmocka_unit_test_teardown(test_careless, end),
		cmocka_unit_test_teardown(test_behind_the_last, end),
	};

	return cmocka_run_group_tests_name("smtp step", tests, NULL, NULL);
}
