/* Several mails in flight over one connection: what leaves together, and what becomes of each. */
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

#define LATENCY_MS 100 /* one way */

static void assert_in(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void begin(const char *caps, unsigned depth)
{
	kit_plain();
	kit.peer.caps = caps;
	kit.config.depth = depth;
	sim_net_rule_add(&(struct sim_net_rule){.ip = KIT_IP, .latency_ms = LATENCY_MS});
}

static void assert_all_sent(void)
{
	const char *wrong = kit_many_wrong();

	if (wrong != NULL) fail_msg("%s\n%s", wrong, kit.notes);
	if (kit.peer.violations > 0) fail_msg("%s\n%s", kit.peer.violation, kit.peer.log);
	for (unsigned i = 0; i < kit.many_count; i++) {
		const struct smtp_peer_taken *t = kit_taken(i);
		const struct kit_one *one = &kit.many[i];

		if (one->mail.verdict.class != SMTP_SENT || t == NULL)
			fail_msg("mail %u: %s %s\n%s", i + 1, smtp_class_name(one->mail.verdict.class),
				 one->mail.verdict.reply.text, kit.notes);
		assert_int_equal(t->len, one->body.len);
		assert_int_equal(t->rcpts, one->mail.rcpt_count);
		assert_memory_equal(t->begin, one->content, t->len < 90 ? t->len : 90);
	}
	assert_int_equal(kit.peer.taken_count, kit.many_count);
	assert_int_equal(kit.peer.connections, 1);
}

/* How many round trips a run of n mails takes, by the clock of the world. */
static int64_t trips(const char *caps, unsigned depth, unsigned n)
{
	begin(caps, depth);
	assert_int_equal(kit_open(), 0);
	kit_many(n, 1, 2000);
	int64_t began = hal_clock_mono_ms();
	assert_int_equal(kit_run(), 0);
	int64_t took = hal_clock_mono_ms() - began;
	assert_all_sent();
	assert_true(smtp_ready(&kit.smtp));
	assert_true(kit.many_at_once <= (depth > 1 ? depth : 1));
	kit_close();
	kit_end();
	return took / (2 * LATENCY_MS);
}

static void test_round_trips(void **state)
{
	(void)state;
	/* MAIL, RCPT, DATA and the content, one by one. */
	assert_int_equal(trips("", 8, 20), 80);
	/* Without depth: the envelope, the content. */
	assert_int_equal(trips("PIPELINING", 1, 20), 40);
	/* The dot with the next mail's envelope. */
	assert_int_equal(trips("PIPELINING", 2, 20), 21);
	assert_int_equal(trips("PIPELINING", 8, 20), 21);
	/* The first with its one byte first, then eight at a time. */
	assert_int_equal(trips("PIPELINING,CHUNKING", 8, 32), 5);
	/* More at a time is more than the window of this network holds. */
	assert_int_equal(trips("PIPELINING,CHUNKING", 16, 32), 4);
	/* CHUNKING alone saves the wait for 354. */
	assert_int_equal(trips("CHUNKING", 8, 20), 61);
}

static void test_flight_log(void **state)
{
	(void)state;
	begin("PIPELINING", 8);
	assert_int_equal(kit_open(), 0);
	kit_many(2, 2, 0);
	assert_int_equal(kit_run(), 0);
	assert_all_sent();
	assert_string_equal(
		kit.peer.log,
		"EHLO gw.example.net\n"
		"MAIL FROM:<s1@example.com>\nRCPT TO:<r1@example.org>\nRCPT TO:<r2-1@example.org>\nDATA\n"
		"MAIL FROM:<s2@example.com>\nRCPT TO:<r2@example.org>\nRCPT TO:<r2-2@example.org>\nDATA\n");
	kit_end();
	begin("PIPELINING,CHUNKING", 8);
	assert_int_equal(kit_open(), 0);
	kit_many(2, 1, 0);
	assert_int_equal(kit_run(), 0);
	assert_all_sent();
	assert_string_equal(kit.peer.log,
			    "EHLO gw.example.net\n"
			    "MAIL FROM:<s1@example.com>\nRCPT TO:<r1@example.org>\nBDAT 1\n"
			    "BDAT 13 LAST\nRSET\n"
			    "MAIL FROM:<s2@example.com>\nRCPT TO:<r2@example.org>\nBDAT 14 LAST\n");
	/* Another run: the end of the last is known, so nothing needs clearing. */
	kit_many(1, 1, 0);
	assert_int_equal(kit_run(), 0);
	assert_int_equal(kit.peer.rsets, 1);
	assert_in(kit.notes, "C BDAT 14 LAST\nC (14 bytes of content)\n");
	kit_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_flight_log),
	};

	return cmocka_run_group_tests_name("smtp flight", tests, NULL, NULL);
}
