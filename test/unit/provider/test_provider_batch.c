/* Several mails in one worker's hands: claimed together, in flight together, ended one by one. Each test is one
 * boot. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_thread.h"
#include "provider_kit.h"
#include "sim/sim.h"
#include "smtp_peer.h"

#define ONE "[provider.one]\ntype=smtp\nhost=192.0.2.1\nport=25\ntls=none\nfrom=gw@example.org\n"

static struct provider_kit kit;
static struct smtp_peer peer;

static void start(const char *caps, const char *ini)
{
	memset(&peer, 0, sizeof peer);
	peer.caps = caps;
	sim_peer_listen("192.0.2.1", 25, smtp_peer_serve, &peer);
	provider_kit_start(&kit, ini);
}

static int64_t hand_in(int count, const char *prefix)
{
	char name[32];
	int64_t id = 0;

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof name, "%s%d", prefix, i);
		id = provider_kit_mail(&kit, name, NULL);
	}
	return id;
}

static unsigned count_in(int64_t last, enum job_state state)
{
	unsigned n = 0;

	for (int64_t id = 1; id <= last; id++)
		n += provider_kit_job(&kit, id).state == state;
	return n;
}

/* ---- in flight ---- */

static void each_once_boot(void *arg)
{
	int64_t last;

	(void)arg;
	start("PIPELINING", "[worker]\nmax=2\n" ONE);
	sim_faults()->net.rule_count = 1;
	sim_faults()->net.rules[0] = (struct sim_net_rule){.latency_ms = 10};
	last = hand_in(70, "m");
	for (int64_t id = 1; id <= last; id++)
		assert_int_equal(
			provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 20000).retry_count, 0);
	assert_int_equal(peer.mails, 70);
	assert_int_equal(peer.violations, 0);
	assert_true(peer.connections <= 2);
	assert_int_equal(provider_kit_status(&kit, "one").sent, 70);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(each_once)

/* The server hangs up on one of them: that one is tried again, the others lose nothing by it. */
static void hangs_up_boot(void *arg)
{
	unsigned retries = 0;
	int64_t last;

	(void)arg;
	start("PIPELINING", "[worker]\nmax=1\n" ONE);
	peer.only_mail = 4;
	peer.replies[PEER_DATA] = PEER_HANG_UP;
	last = hand_in(12, "m");
	for (int64_t id = 1; id <= last; id++)
		retries += provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 20000).retry_count;
	assert_int_equal(peer.mails, 12);
	assert_int_equal(retries, 1);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(hangs_up)

/* Much more for the ends than a batch has memory for: its jobs wait for each other's. */
static void many_recipients_boot(void *arg)
{
	static char to[8192];
	struct job_problem problem;
	int64_t ids[8];
	size_t at;
	char name[16];

	(void)arg;
	start("PIPELINING", "[worker]\nmax=1\n" ONE);
	at = (size_t)snprintf(to, sizeof to, "\"to\":[");
	for (int i = 0; i < 100; i++)
		at += (size_t)snprintf(to + at, sizeof to - at, "%s\"recipient-number-%03d@example.com\"",
				       i > 0 ? "," : "", i);
	snprintf(to + at, sizeof to - at, "]");
	for (size_t i = 0; i < 8; i++) {
		snprintf(name, sizeof name, "m%zu", i);
		ids[i] = provider_kit_submit(&kit, name, NULL, to, 100, &problem);
		assert_true(ids[i] > 0);
	}
	for (size_t i = 0; i < 8; i++)
		(void)provider_kit_await(&kit, ids[i], JOB_COMPLETED, JOB_REASON_NONE, 20000);
	assert_int_equal(peer.mails, 8);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(many_recipients)

/* Jobs of which several fit into a claim, and one that does not. */
static void sizes_boot(void *arg)
{
	static const size_t bytes[] = {100, 30000, 30000, 30000, 200000, 10, 60000, 60000, 5};
	struct job_problem problem;
	int64_t ids[sizeof bytes / sizeof *bytes];
	char name[16];

	(void)arg;
	start("PIPELINING", "[worker]\nmax=1\n" ONE);
	for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
		snprintf(name, sizeof name, "m%zu", i);
		ids[i] = provider_kit_submit(&kit, name, NULL, "\"to\":[\"r@example.com\"]", bytes[i],
					     &problem);
		assert_true(ids[i] > 0);
	}
	for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
		(void)provider_kit_await(&kit, ids[i], JOB_COMPLETED, JOB_REASON_NONE, 20000);
	assert_int_equal(peer.mails, sizeof bytes / sizeof *bytes);
	assert_int_equal(peer.violations, 0);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(sizes)

/* ---- transcripts ---- */

static const char *transcript(int64_t id)
{
	static struct store_attempt attempts[2];
	struct store_attempt_list l;

	store_attempt_list_init(&l);
	l.id = id;
	l.attempts = attempts;
	l.cap = 2;
	assert_int_equal(store_do(kit.store, &l.op), 0);
	assert_int_equal(l.count, 1);
	return attempts[0].log;
}

/* The first mail's says how the connection began, each mail's what was answered to it. */
static void transcripts_boot(void *arg)
{
	int64_t last;

	(void)arg;
	start("PIPELINING", "[worker]\nmax=1\n" ONE);
	peer.replies[PEER_GREETING] = "220 \xff mx.example.com\t\x01";
	peer.replies[PEER_DOT] = "250-2.0.0 Ok:\r\n250 2.0.0 queued as ABC";
	last = hand_in(3, "m");
	for (int64_t id = 1; id <= last; id++)
		(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 20000);
	assert_string_equal(transcript(1), "connected to 192.0.2.1 [192.0.2.1]:25\n"
					   "greeting: 220 \\xFF mx.example.com\\x09\\x01\n"
					   "EHLO: 250-peer.example greets you\n"
					   "EHLO: 250-PIPELINING\n"
					   "EHLO: 250 HELP\n"
					   "MAIL: 250 2.1.0 sender fine\n"
					   "RCPT: 250 2.1.5 recipient fine\n"
					   "DATA: 354 go on\n"
					   ".: 250-2.0.0 Ok:\n"
					   ".: 250 2.0.0 queued as ABC\n");
	assert_string_equal(transcript(3), "MAIL: 250 2.1.0 sender fine\n"
					   "RCPT: 250 2.1.5 recipient fine\n"
					   "DATA: 354 go on\n"
					   ".: 250-2.0.0 Ok:\n"
					   ".: 250 2.0.0 queued as ABC\n");
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(transcripts)

/* A reply that does not end. */
static void long_transcript_boot(void *arg)
{
	static char reply[6000];
	size_t at = 0;
	int64_t id;

	(void)arg;
	start("PIPELINING", "[worker]\nmax=1\n" ONE);
	for (int i = 0; i < 24; i++)
		at += (size_t)snprintf(reply + at, sizeof reply - at,
				       "550-line %d of a reply that says the same\r\n", i);
	snprintf(reply + at, sizeof reply - at, "550 no");
	peer.replies[PEER_RCPT] = reply;
	id = hand_in(1, "m");
	(void)provider_kit_await(&kit, id, JOB_FAILED, JOB_REASON_NONE, 20000);
	provider_kit_expect_in(transcript(id), "RCPT: 550-line 0 of");
	assert_true(strlen(transcript(id)) <= STORE_LOG_MAX);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(long_transcript)

/* ---- time ---- */

/* Answers each command just within its time. */
static void dribble(struct hal_stream *s, void *arg)
{
	unsigned *commands = arg;
	char c;

	(void)net_send_all(s, "220 slow\r\n", 10, hal_clock_in(1000), NULL);
	while (hal_stream_recv(s, &c, 1, hal_clock_in(3600 * 1000)) > 0) {
		if (c != '\n') continue;
		++*commands;
		hal_clock_sleep_until(hal_clock_in(4 * 60 * 1000));
		if (net_send_all(s, "250 ok\r\n", 8, hal_clock_in(1000), NULL) < 0) return;
	}
}

/* Within the RFC's limits a mail to a hundred recipients could hold its worker for seven hours. */
static void slow_session_boot(void *arg)
{
	static char to[4096];
	struct job_problem problem;
	unsigned commands = 0;
	size_t at;

	(void)arg;
	at = (size_t)snprintf(to, sizeof to, "\"to\":[");
	for (int i = 0; i < 100; i++)
		at += (size_t)snprintf(to + at, sizeof to - at, "%s\"r%d@example.com\"", i > 0 ? "," : "", i);
	snprintf(to + at, sizeof to - at, "]");
	sim_peer_listen("192.0.2.1", 25, dribble, &commands);
	provider_kit_start(&kit, ONE);
	int64_t id = provider_kit_submit(&kit, "m", NULL, to, 100, &problem);
	hal_clock_sleep_until(hal_clock_in(85 * 60 * 1000));
	assert_int_equal(provider_kit_job(&kit, id).state, JOB_PROCESSING);
	struct store_job job = provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_RETRY, 10 * 60 * 1000);
	assert_int_equal(job.retry_count, 1);
	assert_uint_in_range(commands, 20, 24);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(slow_session)

/* ---- claims ---- */

/* One mail asks whether the provider is back, however many wait. */
static void one_probes_boot(void *arg)
{
	int64_t last;

	(void)arg;
	start("PIPELINING", "[worker]\nmax=4\n" ONE);
	peer.replies[PEER_GREETING] = "554 closed for today";
	last = hand_in(40, "m");
	hal_clock_sleep_until(hal_clock_in(60000));
	/* 1, 2, 4 ... s apart, each a little more or less, after at most one for each worker at first. */
	assert_uint_in_range(peer.connections, 4, 12);
	assert_int_equal(count_in(last, JOB_PENDING), 40);
	assert_string_equal(provider_kit_job(&kit, 30).error, "554 closed for today");
	peer.replies[PEER_GREETING] = NULL;
	for (int64_t id = 1; id <= last; id++)
		assert_int_equal(
			provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 400000).retry_count, 0);
	assert_int_equal(peer.mails, 40);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(one_probes)

/* What was claimed and not begun is given back at the stop, untouched. */
static void gives_back_boot(void *arg)
{
	int64_t last;

	(void)arg;
	start("PIPELINING", "[worker]\nmax=1\n" ONE);
	sim_faults()->net.rule_count = 1;
	sim_faults()->net.rules[0] = (struct sim_net_rule){.latency_ms = 50};
	last = hand_in(40, "m");
	hal_clock_sleep_until(hal_clock_in(1500));
	provider_stop(kit.pool, hal_clock_in(5000));
	assert_uint_in_range(peer.mails, 3, 39);
	assert_int_equal(count_in(last, JOB_COMPLETED), peer.mails);
	assert_int_equal(count_in(last, JOB_PENDING), 40 - peer.mails);
	for (int64_t id = 1; id <= last; id++)
		assert_int_equal(provider_kit_job(&kit, id).retry_count, 0);
	store_close(kit.store);
}
PROVIDER_KIT_BOOT(gives_back)

/* An urgent mail waits only for what is in flight already. */
static void urgent_boot(void *arg)
{
	struct job_problem problem;
	int64_t last, id;

	(void)arg;
	start("PIPELINING", "[worker]\nmax=1\n" ONE);
	sim_faults()->net.rule_count = 1;
	sim_faults()->net.rules[0] = (struct sim_net_rule){.latency_ms = 20};
	last = hand_in(100, "m");
	hal_clock_sleep_until(hal_clock_in(800));
	id = provider_kit_submit(&kit, "urgent", NULL, "\"to\":[\"r@example.com\"],\"priority\":\"high\"",
				 100, &problem);
	assert_true(id > 0);
	assert_true(count_in(last, JOB_COMPLETED) < 60);
	unsigned before = peer.mails;
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 20000);
	assert_uint_in_range(peer.mails - before, 1, 20);
	provider_kit_stop(&kit, 5000);
}
PROVIDER_KIT_BOOT(urgent)

/* Little work is shared out among the workers, not taken by the first. */
static void shared_out_boot(void *arg)
{
	int64_t last;

	(void)arg;
	start("PIPELINING", "[worker]\nmin=4\nmax=4\n" ONE);
	sim_faults()->net.rule_count = 1;
	sim_faults()->net.rules[0] = (struct sim_net_rule){.latency_ms = 500};
	last = hand_in(8, "m");
	for (int64_t id = 1; id <= last; id++)
		(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	assert_uint_in_range(peer.connections, 3, 4);
	provider_kit_stop(&kit, 5000);
}
PROVIDER_KIT_BOOT(shared_out)

/* ---- recipients apart ---- */

static unsigned count_of(const char *text, const char *part)
{
	unsigned n = 0;

	for (text = strstr(text, part); text; text = strstr(text + 1, part))
		n++;
	return n;
}

static int64_t hand_in_two(const char *name)
{
	struct job_problem problem;

	return provider_kit_submit(&kit, name, NULL, "\"to\":[\"a@example.com\",\"b@example.com\"]", 100,
				   &problem);
}

static void start_slow(const char *ini)
{
	start("PIPELINING", ini);
	sim_faults()->net.rule_count = 1;
	sim_faults()->net.rules[0] = (struct sim_net_rule){.latency_ms = 50};
	/* One recipient a mail: the second goes in another. */
	peer.rcpt_replies[1] = "452 4.5.3 too many recipients";
}

static enum store_rcpt_state rcpt_state(int64_t id, size_t n)
{
	static struct store_rcpt rcpts[2];
	struct store_rcpt_list l;

	store_rcpt_list_init(&l);
	l.id = id;
	l.rcpts = rcpts;
	l.cap = 2;
	assert_int_equal(store_do(kit.store, &l.op), 0);
	return rcpts[n].state;
}

/* What one mail of several brought about is stored before the next is sent: whatever ends the session between the
 * two, nobody gets the mail twice. */
static void apart_stop_boot(void *arg)
{
	int64_t id;

	(void)arg;
	start_slow("[worker]\nmax=1\n" ONE);
	id = hand_in_two("m");
	while (peer.mails < 1)
		hal_clock_sleep_until(hal_clock_in(1));
	provider_stop(kit.pool, hal_clock_in(5000));
	assert_int_equal(rcpt_state(id, 0), STORE_RCPT_SENT);
	store_close(kit.store);
}
PROVIDER_KIT_BOOT(apart_stop)

static void apart_reload_boot(void *arg)
{
	int64_t id;

	(void)arg;
	start_slow("[worker]\nmax=1\n" ONE);
	id = hand_in_two("m");
	while (peer.mails < 1)
		hal_clock_sleep_until(hal_clock_in(1));
	provider_kit_reload(&kit, "[worker]\nmax=1\n" ONE "display_name=another\n");
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	assert_int_equal(count_of(peer.log, "RCPT TO:<a@"), 1);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(apart_reload)

static void apart_down_boot(void *arg)
{
	int64_t ids[2];

	(void)arg;
	start_slow("[worker]\nmax=1\n" ONE);
	peer.hang_up_after = 3;
	(void)hand_in(1, "first");
	ids[0] = hand_in_two("m");
	ids[1] = hand_in_two("n");
	while (peer.mails < 3)
		hal_clock_sleep_until(hal_clock_in(1));
	peer.replies[PEER_GREETING] = "421 down for a while";
	hal_clock_sleep_until(hal_clock_in(20000));
	peer.replies[PEER_GREETING] = NULL;
	peer.hang_up_after = 0;
	for (int i = 0; i < 2; i++)
		(void)provider_kit_await(&kit, ids[i], JOB_COMPLETED, JOB_REASON_NONE, 600000);
	assert_int_equal(count_of(peer.log, "RCPT TO:<a@"), 2);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(apart_down)

/* ---- slow servers ---- */

static void mute(struct hal_stream *s, void *arg)
{
	char c;

	(void)arg;
	while (hal_stream_recv(s, &c, 1, hal_clock_in(3600 * 1000)) > 0)
		;
}

#define MUTE(n)                                                                                              \
	"[provider.mute" #n "]\ntype=smtp\nhost=192.0.2.1" #n "\nport=25\ntls=none\nfrom=gw@example.org\n"

/* As many servers that do not even greet as there are workers: the others' mail goes nevertheless. */
static void mute_servers_boot(void *arg)
{
	static const char *const names[] = {"mute0", "mute1", "mute2", "mute3"};
	char name[32];

	(void)arg;
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "192.0.2.1%d", i);
		sim_peer_listen(name, 25, mute, NULL);
	}
	start("PIPELINING", "[worker]\nmax=4\n" ONE MUTE(0) MUTE(1) MUTE(2) MUTE(3));
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof name, "slow%d", i);
		(void)provider_kit_mail(&kit, name, names[i % 4]);
	}
	hal_clock_sleep_until(hal_clock_in(1000));
	int64_t id = provider_kit_mail(&kit, "first", "one");
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 40000);
	/* Known by then: there is always a worker for who answers. */
	hal_clock_sleep_until(hal_clock_in(400 * 1000));
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "later%d", i);
		id = provider_kit_mail(&kit, name, "one");
		(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 2000);
		hal_clock_sleep_until(hal_clock_in(7000));
	}
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(mute_servers)

/* ---- reload, and what a connection leaves behind ---- */

/* Settings that change do not give away as much again. */
static void rate_stays_boot(void *arg)
{
	(void)arg;
	start("PIPELINING", "[worker]\nmax=2\n" ONE "rate=10/1m\n");
	(void)hand_in(40, "m");
	hal_clock_sleep_until(hal_clock_in(5000));
	assert_int_equal(peer.mails, 10);
	provider_kit_reload(&kit, "[worker]\nmax=2\n" ONE "rate=10/1m\nconnections=3\n");
	hal_clock_sleep_until(hal_clock_in(40000));
	assert_int_equal(peer.mails, 10);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(rate_stays)

static void fewer_workers_boot(void *arg)
{
	struct provider_workers workers;

	(void)arg;
	start("", "[worker]\nmin=1\nmax=4\n" ONE);
	sim_faults()->net.rule_count = 1;
	sim_faults()->net.rules[0] = (struct sim_net_rule){.latency_ms = 50};
	(void)hand_in(400, "m");
	hal_clock_sleep_until(hal_clock_in(2000));
	provider_workers_get(kit.pool, &workers);
	assert_int_equal(workers.running, 4);
	provider_kit_reload(&kit, "[worker]\nmin=1\nmax=1\n" ONE);
	hal_clock_sleep_until(hal_clock_in(15000));
	provider_workers_get(kit.pool, &workers);
	assert_int_equal(workers.running, 1);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(fewer_workers)

/* It fails before there is a connection: nothing of the last one, to somebody else, is told of it. */
static void nothing_stale_boot(void *arg)
{
	static struct store_attempt attempts[4];
	struct store_attempt_list l;
	int64_t id;

	(void)arg;
	start("", "[worker]\nmax=1\n[retry]\nhold=none\n" ONE
		  "[provider.two]\ntype=smtp\nhost=192.0.2.2\nport=25\ntls=starttls\ntls_ca=/nonexistent\n"
		  "from=gw@example.org\n");
	id = provider_kit_mail(&kit, "a", "one");
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 20000);
	hal_clock_sleep_until(hal_clock_in(60000));
	id = provider_kit_mail(&kit, "b", "two");
	(void)provider_kit_await(&kit, id, JOB_FAILED, JOB_REASON_NONE, 200000);
	store_attempt_list_init(&l);
	l.id = id;
	l.attempts = attempts;
	l.cap = 4;
	assert_int_equal(store_do(kit.store, &l.op), 0);
	assert_string_equal(attempts[0].host, "");
	assert_string_equal(attempts[0].log, "");
	provider_kit_expect_in(attempts[0].text, "/nonexistent");
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(nothing_stale)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_once),       cmocka_unit_test(hangs_up),
		cmocka_unit_test(many_recipients), cmocka_unit_test(sizes),
		cmocka_unit_test(one_probes),      cmocka_unit_test(gives_back),
		cmocka_unit_test(urgent),          cmocka_unit_test(shared_out),
		cmocka_unit_test(transcripts),     cmocka_unit_test(long_transcript),
		cmocka_unit_test(slow_session),    cmocka_unit_test(apart_stop),
		cmocka_unit_test(apart_reload),    cmocka_unit_test(apart_down),
		cmocka_unit_test(fewer_workers),   cmocka_unit_test(nothing_stale),
		cmocka_unit_test(mute_servers),    cmocka_unit_test(rate_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
