/* The workers in a simulated world: real store, real client, scripted servers. Each test is one boot. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "certs.h"
#include "hal_clock.h"
#include "hal_thread.h"
#include "provider_kit.h"
#include "sim/sim.h"
#include "smtp_peer.h"

#define ONE "[provider.one]\ntype=smtp\nhost=192.0.2.1\nport=25\ntls=none\nfrom=Gateway <gw@example.org>\n"
#define TWO "[provider.two]\ntype=smtp\nhost=192.0.2.2\nport=25\ntls=none\nfrom=gw@example.org\n"

static struct provider_kit kit;
static struct smtp_peer peer_one, peer_two;

static void peers(void)
{
	memset(&peer_one, 0, sizeof peer_one);
	memset(&peer_two, 0, sizeof peer_two);
	peer_one.caps = peer_two.caps = "PIPELINING";
	sim_peer_listen("192.0.2.1", 25, smtp_peer_serve, &peer_one);
	sim_peer_listen("192.0.2.2", 25, smtp_peer_serve, &peer_two);
}

/* ---- success ---- */

static void sent_boot(void *arg)
{
	struct store_job job;
	int64_t id;

	(void)arg;
	peers();
	peer_one.replies[PEER_DOT] = "250 2.0.0 Ok: queued as ABC123";
	provider_kit_start(&kit, ONE);
	id = provider_kit_mail(&kit, "m1", NULL);
	job = provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 5000);
	assert_int_equal(job.retry_count, 0);
	assert_string_equal(job.provider_message_id, "ABC123");
	assert_int_equal(peer_one.mails, 1);
	assert_int_equal(peer_one.violations, 0);
	provider_kit_expect_in(peer_one.content, "From: Gateway <gw@example.org>\r\n");
	provider_kit_expect_in(peer_one.content, "Subject: Subject of m1\r\n");
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"success\":true");
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"provider_message_id\":\"ABC123\"");
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"provider_name\":\"one\"");
	assert_string_equal(provider_kit_event(&kit, id, 1), "");
	assert_int_equal(provider_kit_status(&kit, "one").sent, 1);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(sent)

static void reuse_boot(void *arg)
{
	struct provider_status st;
	int64_t id = 0;
	char name[16];

	(void)arg;
	peers();
	provider_kit_start(&kit, "[worker]\nmax=1\n" ONE "messages_per_connection=4\n");
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "m%d", i);
		id = provider_kit_mail(&kit, name, NULL);
	}
	for (int64_t i = 1; i <= id; i++)
		(void)provider_kit_await(&kit, i, JOB_COMPLETED, JOB_REASON_NONE, 10000);
	assert_int_equal(peer_one.mails, 10);
	assert_int_equal(peer_one.connections, 3);
	st = provider_kit_status(&kit, "one");
	assert_int_equal(st.connects, 3);
	assert_int_equal(st.reused, 7);
	assert_int_equal(st.connections, 1);
	/* Idle for long, it is closed in order. */
	hal_clock_sleep_until(hal_clock_in(60000));
	assert_int_equal(provider_kit_status(&kit, "one").connections, 0);
	assert_int_equal(peer_one.quits, 3);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(reuse)

static void stale_boot(void *arg)
{
	int64_t id;

	(void)arg;
	peers();
	peer_one.hang_up_after = 1;
	provider_kit_start(&kit, "[worker]\nmax=1\n" ONE);
	for (int i = 0; i < 3; i++) {
		id = provider_kit_mail(&kit, i == 0 ? "a" : i == 1 ? "b" : "c", NULL);
		assert_int_equal(
			provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 900).retry_count, 0);
	}
	assert_int_equal(peer_one.mails, 3);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(stale)

static void large_boot(void *arg)
{
	struct job_problem problem;
	int64_t id;

	(void)arg;
	peers();
	provider_kit_start(&kit, ONE);
	/* Larger than a worker's memory: decoded in the large one, streamed from the store. */
	id = provider_kit_submit(&kit, "big", NULL, "\"to\":[\"r@example.com\"]", 300000, &problem);
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	assert_int_equal(peer_one.mails, 1);
	assert_int_equal(peer_one.violations, 0);
	id = provider_kit_submit(&kit, "mid", NULL, "\"to\":[\"r@example.com\"]", 60000, &problem);
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(large)

/* ---- failures of the mail ---- */

static void refused_boot(void *arg)
{
	struct store_job job;
	int64_t id;

	(void)arg;
	peers();
	peer_one.rcpt_replies[0] = "550 5.1.1 no such user";
	provider_kit_start(&kit, ONE);
	id = provider_kit_mail(&kit, "m1", NULL);
	job = provider_kit_await(&kit, id, JOB_FAILED, JOB_REASON_REFUSED, 2000);
	provider_kit_expect_in(job.error, "550 5.1.1 no such user");
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"success\":false");
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"next_retry_at\":null");
	/* It is the mail's fault: the provider is well. */
	assert_int_equal(provider_kit_status(&kit, "one").state, PROVIDER_CLOSED);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(refused)

static void partial_boot(void *arg)
{
	struct job_problem problem;
	struct store_job job;
	int64_t id;

	(void)arg;
	peers();
	peer_one.rcpt_replies[1] = "550 5.1.1 no such user";
	peer_one.rcpt_replies[2] = "450 4.2.0 greylisted";
	provider_kit_start(&kit, ONE);
	id = provider_kit_submit(&kit, "m1", NULL,
				 "\"to\":[\"a@x.org\",\"b@x.org\"],\"bcc\":[\"c@x.org\",\"d@x.org\"]", 10,
				 &problem);
	job = provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_RETRY, 900);
	assert_int_equal(peer_one.mails, 1);
	assert_int_equal(peer_one.rcpt_count, 2);
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"next_retry_at\":\"");
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"recipients\":[");
	/* Only c is sent to again; that one was refused for good keeps the job from success. */
	memset(peer_one.rcpt_replies, 0, sizeof peer_one.rcpt_replies);
	job = provider_kit_await(&kit, id, JOB_FAILED, JOB_REASON_REFUSED, 5000);
	assert_int_equal(job.retry_count, 1);
	assert_int_equal(peer_one.mails, 2);
	assert_int_equal(peer_one.rcpt_count, 1);
	assert_string_equal(peer_one.rcpts[0], "<c@x.org>");
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(partial)

static void split_boot(void *arg)
{
	struct job_problem problem;
	struct store_job job;
	int64_t id;

	(void)arg;
	peers();
	/* Two recipients a mail: five take three mails in one attempt, and nothing is counted. */
	peer_one.rcpt_replies[2] = peer_one.rcpt_replies[3] = peer_one.rcpt_replies[4] =
		"452 4.5.3 too many recipients";
	provider_kit_start(&kit, ONE);
	id = provider_kit_submit(&kit, "m1", NULL,
				 "\"to\":[\"a@x.org\",\"b@x.org\",\"c@x.org\",\"d@x.org\",\"e@x.org\"]", 10,
				 &problem);
	job = provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 900);
	assert_int_equal(job.retry_count, 0);
	assert_int_equal(peer_one.mails, 3);
	assert_int_equal(peer_one.connections, 1);
	assert_string_equal(peer_one.rcpts[0], "<e@x.org>");
	assert_string_equal(provider_kit_event(&kit, id, 1), "");
	assert_int_equal(provider_kit_status(&kit, "one").rcpts_sent, 5);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(split)

static void retries_boot(void *arg)
{
	struct store_job job;
	int64_t id, began;

	(void)arg;
	peers();
	peer_one.replies[PEER_DOT] = "451 4.3.0 not now";
	provider_kit_start(&kit, ONE);
	id = provider_kit_mail(&kit, "m1", NULL);
	began = hal_clock_mono_ms();
	while (peer_one.dots < 3)
		hal_clock_sleep_until(hal_clock_in(10));
	assert_true(hal_clock_mono_ms() - began >= 5400 && hal_clock_mono_ms() - began < 7500);
	peer_one.replies[PEER_DOT] = NULL;
	job = provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 20000);
	assert_int_equal(job.retry_count, 3);
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"retry_count\":0");
	provider_kit_expect_in(provider_kit_event(&kit, id, 1), "\"retry_count\":1");
	provider_kit_expect_in(provider_kit_event(&kit, id, 2), "\"retry_count\":2");
	provider_kit_expect_in(provider_kit_event(&kit, id, 3), "\"success\":true");

	peer_one.replies[PEER_MAIL] = "451 4.3.0 not now";
	id = provider_kit_mail(&kit, "m2", NULL);
	job = provider_kit_await(&kit, id, JOB_FAILED, JOB_REASON_RETRIES, 30000);
	assert_int_equal(job.retry_count, 3);
	provider_kit_expect_in(provider_kit_event(&kit, id, 3),
			       "\"retry_count\":3,\"max_retries\":3,\"next_retry_at\":null");
	assert_string_equal(provider_kit_event(&kit, id, 4), "");
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(retries)

static void uncertain_boot(void *arg)
{
	char first[4096];
	const char *id_line;
	int64_t id, began;

	(void)arg;
	peers();
	peer_one.replies[PEER_DOT] = PEER_SILENT;
	provider_kit_start(&kit, ONE);
	id = provider_kit_mail(&kit, "m1", NULL);
	(void)provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_UNCERTAIN, 3600000);
	began = hal_clock_mono_ms();
	id_line = strstr(peer_one.content, "Message-ID:");
	assert_non_null(id_line);
	snprintf(first, sizeof first, "%.*s", (int)strcspn(id_line, "\r"), id_line);
	peer_one.replies[PEER_DOT] = NULL;
	assert_int_equal(provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 3600000).retry_count,
			 1);
	assert_true(hal_clock_mono_ms() - began >= 10 * 60 * 1000 - 1000);
	provider_kit_expect_in(peer_one.content, first);

	peer_one.replies[PEER_DOT] = PEER_HANG_UP;
	id = provider_kit_mail(&kit, "m2", NULL);
	(void)provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_UNCERTAIN, 5000);
	peer_one.replies[PEER_DOT] = NULL;
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 5000);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(uncertain)

/* ---- holds ---- */

static void down_boot(void *arg)
{
	struct store_job job;
	int64_t id, id2;

	(void)arg;
	peers();
	sim_peer_close("192.0.2.1", 25);
	provider_kit_start(&kit, ONE);
	id = provider_kit_mail(&kit, "m1", NULL);
	job = provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_HELD, 2000);
	assert_int_equal(job.retry_count, 0);
	provider_kit_expect_in(provider_kit_event(&kit, id, 0), "\"status\":\"held\"");
	hal_clock_sleep_until(hal_clock_in(3 * 3600 * 1000));
	id2 = provider_kit_mail(&kit, "m2", NULL);
	assert_string_equal(provider_kit_event(&kit, id, 1), "");
	hal_clock_sleep_until(hal_clock_in(1000));
	/* One that was not even tried shows why it waits. */
	assert_true(provider_kit_job(&kit, id2).error[0] != '\0');
	assert_int_not_equal(provider_kit_status(&kit, "one").state, PROVIDER_CLOSED);
	sim_peer_listen("192.0.2.1", 25, smtp_peer_serve, &peer_one);
	assert_int_equal(provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 400000).retry_count, 0);
	(void)provider_kit_await(&kit, id2, JOB_COMPLETED, JOB_REASON_NONE, 2000);
	assert_int_equal(provider_kit_status(&kit, "one").state, PROVIDER_CLOSED);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(down)

static void hold_none_boot(void *arg)
{
	int64_t id;

	(void)arg;
	peers();
	sim_peer_close("192.0.2.1", 25);
	provider_kit_start(&kit, "[retry]\nhold=none\n" ONE);
	id = provider_kit_mail(&kit, "m1", NULL);
	assert_int_equal(provider_kit_await(&kit, id, JOB_FAILED, JOB_REASON_RETRIES, 40000).retry_count, 3);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(hold_none)

static void auth_boot(void *arg)
{
	int64_t id;

	(void)arg;
	memset(&peer_one, 0, sizeof peer_one);
	peer_one.caps = "PIPELINING,AUTH PLAIN LOGIN";
	peer_one.replies[PEER_AUTH] = "535 5.7.8 bad credentials";
	sim_peer_listen("127.0.0.1", 25, smtp_peer_serve, &peer_one);
	provider_kit_start(
		&kit, "[provider.one]\ntype=smtp\nhost=127.0.0.1\nport=25\ntls=none\nfrom=gw@example.org\n"
		      "username=u\npassword=p\n");
	id = provider_kit_mail(&kit, "m1", NULL);
	(void)provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_HELD, 2000);
	assert_true(provider_kit_status(&kit, "one").auth_refused);
	(void)provider_kit_mail(&kit, "m2", NULL);
	hal_clock_sleep_until(hal_clock_in(200 * 1000));
	assert_int_equal(peer_one.connections, 1);
	hal_clock_sleep_until(hal_clock_in(170 * 1000));
	assert_int_equal(peer_one.connections, 2);
	/* The password is mended: a reload tries at once. */
	peer_one.replies[PEER_AUTH] = NULL;
	provider_kit_reload(
		&kit, "[provider.one]\ntype=smtp\nhost=127.0.0.1\nport=25\ntls=none\nfrom=gw@example.org\n"
		      "username=u\npassword=q\n");
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 2000);
	assert_string_equal(peer_one.password, "q");
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(auth)

static void expiry_boot(void *arg)
{
	int64_t id;

	(void)arg;
	peers();
	sim_peer_close("192.0.2.1", 25);
	provider_kit_start(&kit, "[retry]\nexpire=10m\n" ONE);
	id = provider_kit_mail(&kit, "m1", NULL);
	for (int i = 0; i < 11 * 60; i++) {
		struct store_tick t;

		store_tick_init(&t);
		t.batch = 10;
		assert_int_equal(store_do(kit.store, &t.op), 0);
		hal_clock_sleep_until(hal_clock_in(1000));
	}
	assert_int_equal(provider_kit_job(&kit, id).state, JOB_FAILED);
	assert_int_equal(provider_kit_job(&kit, id).reason, JOB_REASON_EXPIRED);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(expiry)

/* ---- fairness, workers, stop, reload ---- */

static void tarpit(struct hal_stream *s, void *arg)
{
	char c;

	(void)arg;
	while (hal_stream_recv(s, &c, 1, hal_clock_in(3600 * 1000)) > 0)
		;
}

static void fair_boot(void *arg)
{
	struct provider_workers workers;
	int64_t id, began;
	char name[16];

	(void)arg;
	peers();
	sim_peer_close("192.0.2.1", 25);
	sim_peer_listen("192.0.2.1", 25, tarpit, NULL);
	provider_kit_start(&kit, "[worker]\nmax=4\n" ONE "connections=8\n" TWO);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "slow%d", i);
		(void)provider_kit_mail(&kit, name, "one");
	}
	hal_clock_sleep_until(hal_clock_in(100));
	provider_workers_get(kit.pool, &workers);
	assert_int_equal(workers.running, 4);
	assert_int_equal(provider_kit_status(&kit, "one").in_flight, 3);
	began = hal_clock_mono_ms();
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "fast%d", i);
		id = provider_kit_mail(&kit, name, "two");
		(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 1000);
	}
	assert_true(hal_clock_mono_ms() - began < 5000);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(fair)

static void shrink_boot(void *arg)
{
	struct provider_workers workers;
	int64_t id = 0;
	char name[16];

	(void)arg;
	peers();
	provider_kit_start(&kit, "[worker]\nmin=1\nmax=6\n" ONE);
	provider_workers_get(kit.pool, &workers);
	assert_int_equal(workers.running, 1);
	sim_faults()->net.rule_count = 1;
	sim_faults()->net.rules[0] = (struct sim_net_rule){.latency_ms = 100};
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof name, "m%d", i);
		id = provider_kit_mail(&kit, name, NULL);
	}
	hal_clock_sleep_until(hal_clock_in(300));
	provider_workers_get(kit.pool, &workers);
	/* 4 connections, and one that waits. */
	assert_int_equal(workers.running, 5);
	assert_int_equal(workers.busy, 4);
	for (int64_t i = 1; i <= id; i++)
		(void)provider_kit_await(&kit, i, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	assert_true(peer_one.connections <= 4);
	hal_clock_sleep_until(hal_clock_in(120 * 1000));
	provider_workers_get(kit.pool, &workers);
	assert_int_equal(workers.running, 1);
	id = provider_kit_mail(&kit, "again", NULL);
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 5000);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(shrink)

static void stops_boot(void *arg)
{
	int64_t id, id2, began;

	(void)arg;
	peers();
	sim_peer_close("192.0.2.1", 25);
	sim_peer_listen("192.0.2.1", 25, tarpit, NULL);
	peer_two.replies[PEER_DOT] = PEER_SILENT;
	provider_kit_start(&kit, ONE TWO);
	id = provider_kit_mail(&kit, "m1", "one");
	id2 = provider_kit_mail(&kit, "m2", "two");
	hal_clock_sleep_until(hal_clock_in(500));
	assert_int_equal(provider_kit_job(&kit, id).state, JOB_PROCESSING);
	began = hal_clock_mono_ms();
	provider_stop(kit.pool, hal_clock_in(3000));
	assert_true(hal_clock_mono_ms() - began <= 6000);
	assert_int_equal(provider_kit_job(&kit, id).state, JOB_PENDING);
	assert_int_equal(provider_kit_job(&kit, id).retry_count, 0);
	assert_int_equal(provider_kit_job(&kit, id2).state, JOB_PENDING);
	assert_int_equal(provider_kit_job(&kit, id2).reason, JOB_REASON_UNCERTAIN);
	assert_int_equal(provider_kit_job(&kit, id2).retry_count, 0);
	store_close(kit.store);
}
PROVIDER_KIT_BOOT(stops)

/* Eight idle connections whose server has gone silent: they are left, each with a QUIT, at once. */
static void stops_idle_boot(void *arg)
{
	int64_t id = 0, began;
	char name[16];

	(void)arg;
	peers();
	provider_kit_start(&kit, "[worker]\nmax=8\n" ONE "connections=8\n");
	sim_faults()->net.rule_count = 1;
	sim_faults()->net.rules[0] = (struct sim_net_rule){.latency_ms = 100};
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof name, "m%d", i);
		id = provider_kit_mail(&kit, name, NULL);
	}
	for (int64_t i = 1; i <= id; i++)
		(void)provider_kit_await(&kit, i, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	hal_clock_sleep_until(hal_clock_in(100));
	assert_int_equal(provider_kit_status(&kit, "one").connections, 8);
	peer_one.replies[PEER_QUIT] = PEER_SILENT;
	began = hal_clock_mono_ms();
	provider_stop(kit.pool, hal_clock_in(3000));
	assert_true(hal_clock_mono_ms() - began <= 1500);
	hal_clock_sleep_until(hal_clock_in(1000));
	assert_int_equal(peer_one.quits, 8);
	store_close(kit.store);
}
PROVIDER_KIT_BOOT(stops_idle)

static void stops_in_dns_boot(void *arg)
{
	int64_t id, began;

	(void)arg;
	peers();
	sim_faults()->dns.mode = SIM_DNS_HANG;
	provider_kit_start(
		&kit, "[provider.one]\ntype=smtp\nhost=mx.example.org\nport=25\ntls=none\nfrom=gw@x.org\n");
	id = provider_kit_mail(&kit, "m1", "one");
	hal_clock_sleep_until(hal_clock_in(500));
	began = hal_clock_mono_ms();
	provider_stop(kit.pool, hal_clock_in(1000));
	assert_true(hal_clock_mono_ms() - began <= 4000);
	assert_int_equal(provider_kit_job(&kit, id).state, JOB_PENDING);
	store_close(kit.store);
}
PROVIDER_KIT_BOOT(stops_in_dns)

static void no_link_boot(void *arg)
{
	int64_t id;

	(void)arg;
	peers();
	provider_kit_start(&kit, "[retry]\nhold=link\n" ONE);
	sim_link_set(false, false);
	id = provider_kit_mail(&kit, "m1", NULL);
	(void)provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_HELD, 200000);
	hal_clock_sleep_until(hal_clock_in(3600 * 1000));
	assert_int_equal(provider_kit_job(&kit, id).state, JOB_PENDING);
	sim_link_set(true, true);
	provider_wake(kit.pool, true);
	assert_int_equal(provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 2000).retry_count, 0);
	/* The link is there, but nobody listens: that is not covered by hold = link. */
	sim_peer_close("192.0.2.1", 25);
	hal_clock_sleep_until(hal_clock_in(60000));
	id = provider_kit_mail(&kit, "m2", NULL);
	assert_int_equal(provider_kit_await(&kit, id, JOB_FAILED, JOB_REASON_RETRIES, 40000).retry_count, 3);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(no_link)

static void reload_boot(void *arg)
{
	int64_t id;

	(void)arg;
	peers();
	provider_kit_start(&kit, ONE);
	id = provider_kit_mail(&kit, "m1", NULL);
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 2000);
	/* one is as it was and keeps its numbers; two is new. */
	provider_kit_reload(&kit, ONE TWO);
	assert_int_equal(provider_kit_status(&kit, "one").sent, 1);
	id = provider_kit_mail(&kit, "m2", "two");
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 2000);
	assert_int_equal(peer_two.mails, 1);
	for (int i = 0; i < 20; i++) {
		provider_kit_reload(&kit, i % 2 ? ONE "rate=1000/1m\n" : ONE);
		(void)provider_kit_mail(&kit, (char[]){'x', (char)('A' + i), '\0'}, NULL);
	}
	for (int64_t i = 3; i <= 22; i++)
		(void)provider_kit_await(&kit, i, JOB_COMPLETED, JOB_REASON_NONE, 5000);
	assert_int_equal(peer_one.mails, 21);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(reload)

#define SECURE                                                                                               \
	"[provider.one]\ntype=smtp\nhost=10.0.0.1\nport=25\ntls=starttls\nfrom=gw@example.org\n"             \
	"tls_ca=/certs/trusted.pem\n"

static void copy_file(const char *from, const char *to)
{
	static char bytes[64 * 1024];
	int64_t len = sim_disk_read(from, 0, bytes, sizeof bytes);

	assert_true(len > 0);
	sim_disk_remove(to);
	sim_disk_write(to, 0, bytes, (size_t)len);
}

/* A CA file was renewed in its place: the settings are as they were, a reload reads it all the same. */
static void renewed_boot(void *arg)
{
	static struct net_tls_config server;
	const struct net_tls_settings tls = {.side = NET_TLS_SERVER, .cert_path = "/certs/address.pem"};
	char text[200];
	struct buf why;
	int64_t id;

	(void)arg;
	peers();
	certs_install();
	copy_file("/certs/other.pem", "/certs/trusted.pem");
	provider_kit_start(&kit, SECURE);
	buf_init(&why, text, sizeof text);
	assert_int_equal(net_tls_config_init(&server, &tls, &why), 0);
	peer_one.tls = &server;
	peer_one.caps = peer_one.caps_tls = "STARTTLS";
	sim_peer_listen("10.0.0.1", 25, smtp_peer_serve, &peer_one);
	id = provider_kit_mail(&kit, "m1", NULL);
	(void)provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_HELD, 5000);
	provider_kit_reload(&kit, SECURE);
	hal_clock_sleep_until(hal_clock_in(1000));
	assert_int_equal(provider_kit_job(&kit, id).state, JOB_PENDING);
	copy_file("/certs/ca.crt", "/certs/trusted.pem");
	provider_kit_reload(&kit, SECURE);
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 5000);
	/* What has not changed keeps its connections and numbers. */
	provider_kit_reload(&kit, SECURE);
	assert_int_equal(provider_kit_status(&kit, "one").sent, 1);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(renewed)

/* Where a Maildir lies does not depend on how data_dir is written: a relative path counts from the working
 * directory, one below data_dir is found again below it. */
static void paths_boot(void *arg)
{
	static const char *const dirs[] = {"data", "./data/", "/sim/data"};
	static const struct {
		const char *path, *want;
	} cases[] = {{"box", "/sim/box"}, {"./box//in", "/sim/box/in"},
		     {"data/box", "box"}, {"/sim/data/box", "box"},
		     {"/box", "/box"},    {"/sim/database", "/sim/database"}};
	char ini[300];

	(void)arg;
	provider_kit_start(&kit, ONE);
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
			snprintf(ini, sizeof ini,
				 "[gateway]\ndata_dir=%s\n[provider.one]\ntype=maildir\npath=%s\nfrom=a@b."
				 "cd\n",
				 dirs[i], cases[k].path);
			provider_kit_reload(&kit, ini);
			assert_string_equal(provider_kit_status(&kit, "one").address, cases[k].want);
		}
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(paths)

static void wait_thread(void *arg)
{
	(void)arg;
	hal_clock_sleep_until(hal_clock_in(10000));
}

/* The system has no thread left for what the new settings want: the old ones stay, all of them. */
static void reload_fails_boot(void *arg)
{
	static struct hal_thread threads[256];
	struct provider_workers workers;
	unsigned n = 0;

	(void)arg;
	peers();
	provider_kit_start(&kit, "[worker]\nmin=1\nmax=4\n" ONE);
	while (hal_thread_start(&threads[n], "other", 0, wait_thread, NULL) == 0)
		n++;
	provider_kit_load(&kit, "[worker]\nmin=4\nmax=4\n" ONE "rate=5/10s\n" TWO);
	assert_int_equal(provider_reload(kit.pool, &kit.settings), ERR_NO_MEMORY);
	assert_int_equal(provider_status_list(kit.pool, NULL, 0), 1);
	provider_workers_get(kit.pool, &workers);
	assert_int_equal(workers.min, 1);
	while (n > 0)
		hal_thread_join(&threads[--n]);
	(void)provider_kit_await(&kit, provider_kit_mail(&kit, "m1", NULL), JOB_COMPLETED, JOB_REASON_NONE,
				 2000);
	assert_int_equal(provider_reload(kit.pool, &kit.settings), 0);
	assert_int_equal(provider_status_list(kit.pool, NULL, 0), 2);
	provider_workers_get(kit.pool, &workers);
	assert_int_equal(workers.running, 4);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(reload_fails)

static void rate_boot(void *arg)
{
	int64_t began, id = 0;

	(void)arg;
	peers();
	provider_kit_start(&kit, ONE "rate=5/10s\n");
	began = hal_clock_mono_ms();
	for (int i = 0; i < 12; i++)
		id = provider_kit_mail(&kit, (char[]){'x', (char)('A' + i), '\0'}, NULL);
	hal_clock_sleep_until(began + 9000);
	assert_int_equal(peer_one.mails, 5);
	for (int64_t i = 1; i <= id; i++)
		(void)provider_kit_await(&kit, i, JOB_COMPLETED, JOB_REASON_NONE, 40000);
	assert_true(hal_clock_mono_ms() - began >= 20000 && hal_clock_mono_ms() - began < 26000);
	assert_true(provider_kit_status(&kit, "one").rate_waits > 0);
	assert_int_equal(provider_kit_status(&kit, "one").state, PROVIDER_CLOSED);
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(rate)

/* ---- at submission ---- */

static void judge_boot(void *arg)
{
	struct job_problem p;
	char name[PROVIDER_NAME_CAP], why[200];

	(void)arg;
	peers();
	provider_kit_start(&kit, "[alias]\nroot=ops@example.com\n" ONE
				 "[provider.acme]\ntenant_id=acme\nprovider_id=mail\n"
				 "type=smtp\nhost=192.0.2.2\nport=25\ntls=none\n");
	assert_int_equal(provider_choose(kit.pool, STR("acme"), STR(""), name, why, sizeof why), 0);
	assert_string_equal(name, "acme");
	assert_int_equal(provider_choose(kit.pool, STR("acme"), STR("one"), name, why, sizeof why), 0);
	assert_string_equal(name, "one");
	assert_int_equal(provider_choose(kit.pool, STR("else"), STR("mail"), name, why, sizeof why),
			 ERR_NOT_FOUND);
	provider_kit_expect_in(why, "mail");
	assert_int_equal(provider_choose(kit.pool, STR(""), STR(""), name, why, sizeof why), 0);
	assert_string_equal(name, "one");
	/* Another tenant's provider is no choice, even when it is the only one left. */
	assert_true(provider_kit_submit(&kit, "a", "nope", "\"to\":[\"r@x.org\"]", 5, &p) < 0);
	assert_string_equal(p.pointer, "/provider_id");
	provider_kit_expect_in(p.reason, "nope");
	assert_true(provider_kit_submit(&kit, "b", NULL, "\"tenant_id\":\"acme\",\"to\":[\"r@x.org\"]", 5,
					&p) < 0);
	assert_string_equal(p.pointer, "/from");
	assert_true(provider_kit_submit(&kit, "c", NULL, "\"to\":[\"nobody\"]", 5, &p) < 0);
	assert_string_equal(p.pointer, "/to/0");
	assert_true(provider_kit_submit(&kit, "d", NULL, "\"to\":[\"Root\"]", 5, &p) > 0);
	(void)provider_kit_await(&kit, 1, JOB_COMPLETED, JOB_REASON_NONE, 2000);
	assert_string_equal(peer_one.rcpts[0], "<ops@example.com>");
	provider_kit_stop(&kit, 1000);
}
PROVIDER_KIT_BOOT(judge)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sent),       cmocka_unit_test(reuse),        cmocka_unit_test(stale),
		cmocka_unit_test(large),      cmocka_unit_test(refused),      cmocka_unit_test(partial),
		cmocka_unit_test(retries),    cmocka_unit_test(uncertain),    cmocka_unit_test(down),
		cmocka_unit_test(hold_none),  cmocka_unit_test(auth),         cmocka_unit_test(expiry),
		cmocka_unit_test(fair),       cmocka_unit_test(shrink),       cmocka_unit_test(stops),
		cmocka_unit_test(reload),     cmocka_unit_test(rate),         cmocka_unit_test(judge),
		cmocka_unit_test(split),      cmocka_unit_test(stops_in_dns), cmocka_unit_test(no_link),
		cmocka_unit_test(stops_idle), cmocka_unit_test(reload_fails), cmocka_unit_test(renewed),
		cmocka_unit_test(paths),
	};

	/* A name pattern picks tests: for looking at one. */
	if (argc > 1) cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
