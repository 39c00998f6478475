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

#define BOTH       "PIPELINING,CHUNKING"
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
		assert_memory_equal(t->begin, one->body.bytes, t->len < 90 ? t->len : 90);
	}
	assert_int_equal(kit.peer.taken_count, kit.many_count);
	assert_int_equal(kit.peer.connections, 1);
}

/* How many round trips a run of n mails takes, by the clock of the world. */
static int64_t trips(const char *caps, unsigned depth, bool proven, unsigned n)
{
	begin(caps, depth);
	kit.config.proven = proven;
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
	assert_int_equal(trips("", 8, false, 20), 80);
	/* Without depth: the envelope, the content. */
	assert_int_equal(trips("PIPELINING", 1, false, 20), 40);
	/* The dot with the next mail's envelope. */
	assert_int_equal(trips("PIPELINING", 2, false, 20), 21);
	assert_int_equal(trips("PIPELINING", 8, false, 20), 21);
	/* The first with the question before it, then the second, each its envelope and its content; the third with
	 * the proof that there can be two; then eight at a time. What an earlier connection proved needs no proof. */
	assert_int_equal(trips("PIPELINING,CHUNKING", 8, false, 32), 8);
	assert_int_equal(trips("PIPELINING,CHUNKING", 8, true, 32), 5);
	/* More at a time is more than the window of this network holds. */
	assert_int_equal(trips("PIPELINING,CHUNKING", 16, true, 32), 4);
	/* CHUNKING alone saves the wait for 354. */
	assert_int_equal(trips("CHUNKING", 8, false, 20), 62);
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
	kit_many(3, 1, 0);
	assert_int_equal(kit_run(), 0);
	assert_all_sent();
	assert_string_equal(kit.peer.log,
			    "EHLO gw.example.net\n"
			    "BDAT 1\nRSET\nMAIL FROM:<s1@example.com>\nRCPT TO:<r1@example.org>\n"
			    "BDAT 14 LAST\n"
			    "MAIL FROM:<s2@example.com>\nRCPT TO:<r2@example.org>\nBDAT 14 LAST\nRSET\n"
			    "MAIL FROM:<s3@example.com>\nRCPT TO:<r3@example.org>\nBDAT 14 LAST\n");
	/* Another run: the end of the last is known, so nothing needs clearing. */
	kit_many(1, 1, 0);
	assert_int_equal(kit_run(), 0);
	assert_int_equal(kit.peer.rsets, 2);
	assert_in(kit.notes, "C BDAT 14 LAST\nC (14 bytes of content)\n");
	kit_end();
}

/* ---- one that is alone ---- */

static void test_alone(void **state)
{
	static const char *const caps[] = {"PIPELINING", "PIPELINING,CHUNKING"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		begin(caps[i], 8);
		assert_int_equal(kit_open(), 0);
		kit_many(6, 1, 0);
		kit.many[3].mail.alone = true;
		/* What the one that is alone does to the server touches no other mail. */
		kit.peer.scripts[0] = (struct smtp_peer_script){4, PEER_MAIL, PEER_HANG_UP};
		assert_int_equal(kit_run(), ERR_CLOSED);
		assert_null(kit_many_wrong());
		assert_int_equal(kit.many_given, 4);
		for (unsigned n = 0; n < 3; n++)
			assert_int_equal(kit.many[n].mail.verdict.class, SMTP_SENT);
		assert_int_equal(kit.many[3].mail.verdict.class, i == 0 ? SMTP_AGAIN : SMTP_UNCERTAIN);
		kit_end();
	}
	/* Nothing goes behind it until it is answered, nor with it. */
	begin("PIPELINING,CHUNKING", 8);
	assert_int_equal(kit_open(), 0);
	kit_many(3, 1, 0);
	kit.many[1].mail.alone = true;
	int64_t began = hal_clock_mono_ms();
	assert_int_equal(kit_run(), 0);
	assert_all_sent();
	/* The first with the question before it, the one alone, the third: each its envelope and its content. */
	assert_int_equal((hal_clock_mono_ms() - began) / (2 * LATENCY_MS), 6);
	assert_int_equal(kit.peer.rsets, 1);
	kit_end();
}

/* ---- servers that are not what they offer ---- */

/* Sends three mails over as many connections as it takes, each with the quirks found on the ones before. Returns
 * how many connections that took. */
static unsigned persevere(unsigned quirks)
{
	unsigned connections = 0;

	kit_many(3, 2, 500);
	while (kit.many_done < 3) {
		unsigned from = kit.many_done;

		assert_true(++connections < 10);
		assert_int_equal(kit_open(), 0);
		(void)kit_run();
		const char *wrong = kit_many_wrong();
		if (wrong != NULL) fail_msg("%s\n%s", wrong, kit.notes);
		kit.config.quirks |= kit.smtp.quirks;
		/* What is to go again does. */
		for (unsigned i = from; i < kit.many_given; i++)
			if (kit.many[i].mail.verdict.class == SMTP_AGAIN) {
				kit.many_given = kit.many_done = i;
				for (unsigned n = i; n < 3; n++) {
					kit.many[n].done = kit.many[n].written = 0;
					for (size_t r = 0; r < 2; r++)
						kit.many[n].rcpts[r].verdict = (struct smtp_verdict){0};
				}
			} else if (kit.many[i].mail.verdict.class != SMTP_SENT) {
				fail_msg("mail %u: %s\n%s", i + 1,
					 smtp_class_name(kit.many[i].mail.verdict.class), kit.notes);
			}
		kit_close();
	}
	if (kit.config.quirks != quirks) fail_msg("quirks %u\n%s", kit.config.quirks, kit.notes);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(kit_taken(i)->len, kit.many[i].body.len);
	if (kit.peer.taken_count != 3) fail_msg("%u taken\n%s", kit.peer.taken_count, kit.notes);
	return connections;
}

static void test_flaws(void **state)
{
	static const struct {
		const char *caps;
		enum smtp_peer_flaw flaw;
		enum smtp_peer_at at;
		const char *reply;
		unsigned mail; /* whose reply it is; 0: to the question before the first */
		bool keeps_chunks;
		unsigned quirks, connections;
	} cases[] = {
		{"PIPELINING", PEER_DROPS, 0, NULL, 0, false, SMTP_QUIRK_NO_PIPELINING, 2},
		{"PIPELINING", PEER_CLOSES, 0, NULL, 0, false, SMTP_QUIRK_NO_PIPELINING, 2},
		{"PIPELINING", PEER_DROPS_BEHIND, 0, NULL, 0, false, SMTP_QUIRK_NO_DEPTH, 2},
		{BOTH, PEER_DROPS_BEHIND, 0, NULL, 0, false, SMTP_QUIRK_NO_DEPTH, 2},
		/* The question is answered, then what came with it is forgotten; or nothing is answered at all. */
		{BOTH, PEER_DISCARDS, 0, NULL, 0, false, SMTP_QUIRK_NO_PIPELINING, 2},
		{"PIPELINING", PEER_DISCARDS, 0, NULL, 0, false, SMTP_QUIRK_NO_PIPELINING, 2},
		{"PIPELINING", PEER_IGNORES, 0, NULL, 0, false, SMTP_QUIRK_NO_PIPELINING, 2},
		{"PIPELINING", PEER_SOUND, PEER_RCPT, "503 5.5.1 MAIL first", 1, false,
		 SMTP_QUIRK_NO_PIPELINING, 2},
		{"PIPELINING", PEER_SOUND, PEER_DATA, "503 5.5.1 RCPT first", 1, false,
		 SMTP_QUIRK_NO_PIPELINING, 2},
		{BOTH, PEER_DROPS, 0, NULL, 0, false, SMTP_QUIRK_NO_CHUNKING | SMTP_QUIRK_NO_PIPELINING, 3},
		{BOTH, PEER_CLOSES, 0, NULL, 0, false, SMTP_QUIRK_NO_CHUNKING | SMTP_QUIRK_NO_PIPELINING, 3},
		/* Not known at all: the byte stays, and RSET is misunderstood. */
		{BOTH, PEER_SOUND, PEER_BDAT, "500 5.5.2 what?", 0, true, SMTP_QUIRK_NO_CHUNKING, 1},
		{BOTH, PEER_SOUND, PEER_BDAT, "502 5.5.1 not here", 0, false, SMTP_QUIRK_NO_CHUNKING, 1},
		{BOTH, PEER_SOUND, PEER_BDAT, PEER_HANG_UP, 0, false, SMTP_QUIRK_NO_CHUNKING, 2},
		/* Known, but a refused chunk is not discarded. */
		{BOTH, PEER_SOUND, 0, NULL, 0, true, SMTP_QUIRK_NO_CHUNKING, 1},
		/* Broken later. */
		{BOTH, PEER_SOUND, PEER_LAST, "502 5.5.1 not here", 3, false, SMTP_QUIRK_NO_CHUNKING, 2},
		{"CHUNKING", PEER_SOUND, PEER_BDAT, "502 5.5.1 not here", 0, false, SMTP_QUIRK_NO_CHUNKING,
		 1},
		{"CHUNKING", PEER_SOUND, 0, NULL, 0, true, SMTP_QUIRK_NO_CHUNKING, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(cases[i].caps, 8);
		kit.peer.flaw = cases[i].flaw;
		kit.peer.flaw_every = 1;
		kit.peer.keeps_chunks = cases[i].keeps_chunks;
		kit.peer.scripts[0] = (struct smtp_peer_script){cases[i].mail, cases[i].at, cases[i].reply};
		unsigned connections = persevere(cases[i].quirks);
		if (connections != cases[i].connections) fail_msg("case %zu: %u connections", i, connections);
		kit_end();
	}
}

/* A server that takes a refused chunk's content for commands (some do): it gets none, whatever the content is. */
static void test_chunk_as_commands(void **state)
{
	(void)state;
	begin(BOTH, 8);
	kit.peer.keeps_chunks = true;
	kit.peer.scripts[0] = (struct smtp_peer_script){2, PEER_RCPT, "550 5.1.1 nobody"};
	kit_many(3, 1, 0);
	kit.many[1].body.bytes =
		"MAIL FROM:<evil@example.com>\r\nRCPT TO:<x@example.org>\r\nBDAT 2 LAST\r\nhi";
	kit.many[1].body.len = strlen(kit.many[1].body.bytes);
	assert_int_equal(kit_open(), 0);
	assert_int_equal(kit_run(), 0);
	assert_null(kit_many_wrong());
	assert_int_equal(kit.many[1].mail.verdict.class, SMTP_FAIL);
	assert_int_equal(kit.many[2].mail.verdict.class, SMTP_SENT);
	assert_int_equal(kit.peer.taken_count, 2);
	assert_null(strstr(kit.peer.log, "evil"));
	kit_end();
}

/* What an earlier connection has shown is not waited for again. Where it does not hold any more, that is
 * forgotten, and costs the mails of this one connection only. */
static void test_proven(void **state)
{
	static const struct {
		const char *caps;
		bool proven; /* afterwards */
	} sound[] = {{"", false}, {"PIPELINING", false}, {"CHUNKING", false}, {BOTH, true}};

	(void)state;
	for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++) {
		begin(sound[i].caps, 8);
		kit_many(3, 1, 0);
		assert_int_equal(kit_open(), 0);
		assert_int_equal(kit_run(), 0);
		if (kit.smtp.proven != sound[i].proven) fail_msg("%s: %d", sound[i].caps, kit.smtp.proven);
		kit_end();
	}
	begin(BOTH, 8);
	kit.config.proven = true;
	kit.peer.flaw = PEER_DROPS_BEHIND;
	kit_many(3, 1, 0);
	assert_int_equal(kit_open(), 0);
	assert_true(kit.smtp.proven);
	assert_int_equal(kit_run(), ERR_TIMEOUT);
	assert_null(kit_many_wrong());
	assert_int_equal(kit.many[0].mail.verdict.class, SMTP_SENT);
	assert_int_equal(kit.many[1].mail.verdict.class, SMTP_UNCERTAIN);
	assert_int_equal(kit.many[2].mail.verdict.class, SMTP_UNCERTAIN);
	assert_int_equal(kit.smtp.quirks, SMTP_QUIRK_NO_DEPTH);
	assert_false(kit.smtp.proven);
	kit_end();
	/* A connection that ends says nothing about the server: only the proof is asked for again. */
	begin(BOTH, 8);
	kit.config.proven = true;
	kit.peer.hang_up_after = 1;
	kit_many(3, 1, 0);
	assert_int_equal(kit_open(), 0);
	assert_true(kit_run() < 0);
	assert_int_equal(kit.many[1].mail.verdict.class, SMTP_UNCERTAIN);
	assert_int_equal(kit.smtp.quirks, 0);
	assert_false(kit.smtp.proven);
	kit_end();
	/* Seen on this very connection: then it is the server that is slow. */
	begin(BOTH, 8);
	kit.config.proven = true;
	kit.peer.scripts[0] = (struct smtp_peer_script){3, PEER_MAIL, PEER_SILENT};
	kit_many(3, 1, 0);
	assert_int_equal(kit_open(), 0);
	assert_int_equal(kit_run(), ERR_TIMEOUT);
	assert_int_equal(kit.many[2].mail.verdict.class, SMTP_UNCERTAIN);
	assert_int_equal(kit.smtp.quirks, 0);
	assert_true(kit.smtp.proven);
	kit_end();
}

/* A refused MAIL begins no transaction, but its chunk was refused behind it: that is to be cleared. */
static void test_rset_behind_refused_bdat(void **state)
{
	(void)state;
	begin(BOTH, 8);
	kit.peer.scripts[0] = (struct smtp_peer_script){3, PEER_MAIL, "550 5.7.1 not you"};
	kit_many(4, 1, 0);
	kit.many[3].mail.alone = true;
	assert_int_equal(kit_open(), 0);
	assert_int_equal(kit_run(), 0);
	if (kit.peer.violations > 0) fail_msg("%s\n%s", kit.peer.violation, kit.notes);
	assert_null(kit_many_wrong());
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(kit.many[i].mail.verdict.class, i == 2 ? SMTP_FAIL : SMTP_SENT);
	kit_end();
}

static char large[200000];

static void fill_large(void)
{
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = "a line of text.\r\n"[i % 17];
}

/* A reply too many, or too early, is never taken for a final one. */
static void test_extra_reply(void **state)
{
	static const struct {
		const char *caps;
		enum smtp_peer_at at;
		const char *reply;
		enum smtp_class class; /* of the second */
	} cases[] = {
		{"PIPELINING", PEER_DATA, "354 go on\r\n250 2.0.0 Ok: queued", SMTP_TRY},
		{"PIPELINING", PEER_MAIL, "250 fine\r\n250 fine", SMTP_AGAIN},
		{"PIPELINING", PEER_RCPT, "250 fine\r\n250 fine", SMTP_AGAIN},
		{"PIPELINING", PEER_DOT, "554 5.6.0 no\r\n250 2.0.0 Ok: queued", SMTP_FAIL},
		{"PIPELINING,CHUNKING", PEER_LAST, "554 5.6.0 no\r\n354 go on", SMTP_FAIL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(cases[i].caps, 8);
		kit.peer.scripts[0] = (struct smtp_peer_script){2, cases[i].at, cases[i].reply};
		kit_many(3, 1, 0);
		assert_int_equal(kit_open(), 0);
		assert_true(kit_run() < 0);
		assert_null(kit_many_wrong());
		if (kit.many[1].mail.verdict.class != cases[i].class)
			fail_msg("%s: %s\n%s", cases[i].reply,
				 smtp_class_name(kit.many[1].mail.verdict.class), kit.notes);
		if (kit.many_given > 2) assert_int_not_equal(kit.many[2].mail.verdict.class, SMTP_SENT);
		kit_end();
	}
	/* They are here before the content has left: they are not for it. */
	begin(BOTH, 8);
	kit.peer.scripts[0] = (struct smtp_peer_script){
		0, PEER_RSET, "250 a\r\n250 b\r\n250 c\r\n250 d\r\n250 e\r\n250 f\r\n250 g"};
	fill_large();
	kit_many(2, 1, 0);
	for (unsigned i = 0; i < 2; i++) {
		kit.many[i].body.bytes = large;
		kit.many[i].body.len = 30000;
		kit.many[i].mail.size = 30000;
	}
	assert_int_equal(kit_open(), 0);
	assert_int_equal(kit_run(), ERR_PROTOCOL);
	assert_int_equal(kit.many[0].mail.verdict.class, SMTP_TRY);
	assert_int_equal(kit.peer.taken_count, 0);
}

/* ---- content by BDAT ---- */

static void test_chunks(void **state)
{
	static const char *const caps[] = {"PIPELINING,CHUNKING", "CHUNKING"};

	(void)state;
	fill_large();
	for (size_t i = 0; i < 2; i++) {
		/* Longer than the buffer, and than what is sent before the envelope is answered. */
		begin(caps[i], 4);
		assert_int_equal(kit_open(), 0);
		kit_many(4, 1, 0);
		for (unsigned n = 0; n < 4; n++) {
			kit.many[n].body.bytes = large;
			kit.many[n].body.len = 17 * (n == 0 ? 2000 : n == 1 ? 400 : 3500);
			kit.many[n].mail.size = n == 3 ? 0 : (int64_t)kit.many[n].body.len;
			kit.many[n].body.chunk = n == 2 ? 333 : 0;
		}
		assert_int_equal(kit_run(), 0);
		assert_all_sent();
		for (unsigned n = 0; n < 4; n++)
			assert_int_equal(kit_taken(n)->by_bdat, i == 0 || n == 1);
		kit_end();
	}
	/* Whatever the line ends, the sizes are right. */
	begin("PIPELINING,CHUNKING", 4);
	assert_int_equal(kit_open(), 0);
	kit_many(2, 1, 0);
	kit.many[0].body.bytes = kit.many[1].body.bytes = "\na\rb\n\n.c\r\nd";
	kit.many[0].body.len = kit.many[1].body.len = 11;
	assert_int_equal(kit_run(), 0);
	assert_int_equal(kit.peer.violations, 0);
	assert_int_equal(kit.peer.content_len, 17);
	assert_memory_equal(kit.peer.content, "\r\na\r\nb\r\n\r\n.c\r\nd\r\n", 17);
	kit_end();
}

/* What nobody takes is not sent: large content waits for the replies to its envelope. */
static void test_refused_large(void **state)
{
	(void)state;
	fill_large();
	begin("PIPELINING,CHUNKING", 8);
	assert_int_equal(kit_open(), 0);
	kit_many(3, 1, 0);
	kit.many[1].body.bytes = large;
	kit.many[1].body.len = sizeof(large) - 1;
	kit.many[1].mail.size = sizeof(large) - 1;
	kit.peer.scripts[0] = (struct smtp_peer_script){2, PEER_RCPT, "550 5.1.1 nobody"};
	assert_int_equal(kit_run(), 0);
	assert_int_equal(kit.many[1].mail.verdict.class, SMTP_FAIL);
	assert_int_equal(kit.many[2].mail.verdict.class, SMTP_SENT);
	assert_int_equal(kit.peer.chunks, 3); /* the question, the first, the third */
	assert_int_equal(kit.many[1].body.at, 0);
	kit_end();
}

static void test_body_error(void **state)
{
	static const struct {
		int err;
		enum smtp_class class;
	} cases[] = {{ERR_IO, SMTP_HOLD}, {ERR_NOT_FOUND, SMTP_FAIL}, {ERR_TIMEOUT, SMTP_TRY}};

	(void)state;
	fill_large();
	for (size_t i = 0; i < 3; i++)
		for (size_t at = 0; at < 60000; at += 20000) {
			begin("PIPELINING,CHUNKING", 8);
			assert_int_equal(kit_open(), 0);
			kit_many(3, 1, 0);
			kit.many[1].body = (struct kit_body){large, 60000, 0, 0, cases[i].err, at};
			kit.many[1].mail.size = 60000;
			/* The connection goes on: RSET takes back what was sent. */
			assert_int_equal(kit_run(), 0);
			assert_null(kit_many_wrong());
			assert_int_equal(kit.many[1].mail.verdict.class, cases[i].class);
			assert_int_equal(kit.many[2].mail.verdict.class, SMTP_SENT);
			assert_int_equal(kit.peer.violations, 0);
			assert_int_equal(kit.peer.taken_count, 2);
			kit_end();
		}
}

/* ---- time limits ---- */

/* RFC 5321 section 4.5.3.2, by the clock of the world: of the second mail, alone in flight. */
static void test_limits(void **state)
{
	static const struct {
		enum smtp_peer_at at;
		const char *caps;
		int minutes;
	} cases[] = {{PEER_MAIL, "", 5},   {PEER_RCPT, "", 5},           {PEER_DATA, "", 2},
		     {PEER_DOT, "", 10},   {PEER_DOT, "PIPELINING", 10}, {PEER_BDAT, BOTH, 3},
		     {PEER_LAST, BOTH, 10}};

	(void)state;
	fill_large();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(cases[i].caps, 1);
		kit.peer.scripts[0] = (struct smtp_peer_script){2, cases[i].at, PEER_SILENT};
		assert_int_equal(kit_open(), 0);
		kit_many(1, 1, 0);
		assert_int_equal(kit_run(), 0);
		kit_many(1, 1, 0);
		kit.many[0].body.bytes = large;
		kit.many[0].body.len = 17 * 800;
		kit.many[0].mail.size = 17 * 800;
		int64_t began = hal_clock_mono_ms();
		assert_int_equal(kit_run(), ERR_TIMEOUT);
		/* And some round trips before. */
		int64_t over = hal_clock_mono_ms() - began - (int64_t)cases[i].minutes * 60000;
		if (over < 0 || over > 10 * 2 * LATENCY_MS)
			fail_msg("case %zu: %lld ms over", i, (long long)over);
		kit_end();
	}
}

/* ---- DSN ---- */

static void test_dsn(void **state)
{
	char orcpt[501];

	(void)state;
	for (int offered = 0; offered < 2; offered++) {
		begin(offered ? "DSN,PIPELINING" : "PIPELINING", 1);
		assert_int_equal(kit_open(), 0);
		kit_many(1, 3, 0);
		kit.many[0].mail.ret = SMTP_RET_HDRS;
		kit.many[0].mail.envid = STR("a+b=c");
		kit.many[0].rcpts[0].notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY;
		kit.many[0].rcpts[0].orcpt = STR("first=x@example.org");
		kit.many[0].rcpts[1].notify = SMTP_NOTIFY_NEVER;
		assert_int_equal(kit_run(), 0);
		assert_in(kit.peer.log,
			  offered ? "MAIL FROM:<s1@example.com> RET=HDRS ENVID=a+2Bb+3Dc\n"
				    "RCPT TO:<r1@example.org> NOTIFY=SUCCESS,DELAY "
				    "ORCPT=rfc822;first+3Dx@example.org\n"
				    "RCPT TO:<r2-1@example.org> NOTIFY=NEVER\nRCPT TO:<r3-1@example.org>\n"
				  : "MAIL FROM:<s1@example.com>\nRCPT TO:<r1@example.org>\n"
				    "RCPT TO:<r2-1@example.org>\nRCPT TO:<r3-1@example.org>\n");
		kit_end();
	}
	/* What is too long, or cannot be said, is not said. */
	memset(orcpt, '+', sizeof(orcpt) - 1);
	orcpt[sizeof(orcpt) - 1] = '\0';
	begin("DSN", 1);
	assert_int_equal(kit_open(), 0);
	kit_many(1, 2, 0);
	kit.many[0].mail.ret = SMTP_RET_FULL;
	kit.many[0].mail.envid = (struct str){orcpt, 34};
	kit.many[0].rcpts[0].orcpt = (struct str){orcpt, 165};
	kit.many[0].rcpts[1].orcpt = STR("\xc3\xa4@example.org");
	assert_int_equal(kit_run(), 0);
	assert_in(kit.peer.log, "MAIL FROM:<s1@example.com> RET=FULL\nRCPT TO:<r1@example.org>\nRCPT");
	kit_many(1, 1, 0);
	kit.many[0].mail.envid = (struct str){orcpt, 33};
	kit.many[0].rcpts[0].orcpt = (struct str){orcpt, 164};
	assert_int_equal(kit_run(), 0);
	assert_in(kit.peer.log, "ENVID=+2B+2B");
	assert_in(kit.peer.log, "ORCPT=rfc822;+2B+2B");
	assert_int_equal(kit.peer.violations, 0);
	kit_end();
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
		cmocka_unit_test_teardown(test_alone, end),
		cmocka_unit_test_teardown(test_flaws, end),
		cmocka_unit_test_teardown(test_chunk_as_commands, end),
		cmocka_unit_test_teardown(test_proven, end),
		cmocka_unit_test_teardown(test_rset_behind_refused_bdat, end),
		cmocka_unit_test_teardown(test_extra_reply, end),
		cmocka_unit_test_teardown(test_chunks, end),
		cmocka_unit_test_teardown(test_refused_large, end),
		cmocka_unit_test_teardown(test_body_error, end),
		cmocka_unit_test_teardown(test_limits, end),
		cmocka_unit_test_teardown(test_dsn, end),
		cmocka_unit_test_teardown(test_round_trips, end),
		cmocka_unit_test_teardown(test_flight_log, end),
	};

	return cmocka_run_group_tests_name("smtp flight", tests, NULL, NULL);
}
