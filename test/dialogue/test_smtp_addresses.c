/* The SMTP client and a host with several addresses: which failures make it try the next, and what it says then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_thread.h"
#include "sim/sim.h"
#include "smtp_kit.h"

#define SECOND_IP "10.0.0.2"
#define CONTENT   "Subject: hello\r\n\r\nHello.\r\n"
#define OPEN_MS   120000

static struct smtp_peer second;
static struct net_tls_config second_tls;
static int64_t began;

static void assert_in(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in:\n%s", part, text);
}

/* The first address has one certificate, the second another. */
static void two(const char *first_cert, const char *second_cert, enum smtp_tls mode)
{
	struct net_tls_settings settings = {.side = NET_TLS_SERVER};
	char path[64], text[200];
	struct buf why;

	kit_tls(first_cert, "ca.pem", mode);
	snprintf(path, sizeof(path), "/certs/%s.pem", second_cert);
	settings.cert_path = path;
	buf_init(&why, text, sizeof(text));
	assert_int_equal(net_tls_config_init(&second_tls, &settings, &why), 0);
	memset(&second, 0, sizeof(second));
	second.tls = &second_tls;
	second.caps = kit.peer.caps;
	second.caps_tls = kit.peer.caps_tls;
	second.implicit_tls = kit.peer.implicit_tls;
	sim_peer_listen(SECOND_IP, KIT_PORT, smtp_peer_serve, &second);
	sim_dns_add(KIT_HOST, SECOND_IP);
}

static int open_now(void)
{
	began = hal_clock_mono_ms();
	smtp_init(&kit.smtp, &kit.config);
	kit.smtp_open = true;
	return smtp_open(&kit.smtp, hal_clock_in(OPEN_MS));
}

static int64_t passed(void)
{
	return hal_clock_mono_ms() - began;
}

static void end(void)
{
	kit_end();
	net_tls_config_close(&second_tls);
}

/* The second address is good: the mail goes there. */
static void assert_second_takes_it(const char *why)
{
	kit_mail(1, CONTENT);
	int rc = open_now();
	if (rc != 0) fail_msg("%s:\n%s", err_name(rc), kit.notes);
	assert_string_equal(kit.smtp.peer.text, KIT_HOST " [" SECOND_IP "]:2525");
	assert_true(kit.smtp.tls_on);
	assert_in(kit.notes, why);
	kit_send();
	assert_int_equal(kit.mail.verdict.class, SMTP_SENT);
	assert_int_equal(kit.peer.mails, 0);
	assert_int_equal(second.mails, 1);
	assert_int_equal(second.violations, 0);
	end();
}

static void test_tls_fails_at_the_first(void **state)
{
	static const enum smtp_tls modes[] = {SMTP_TLS_STARTTLS, SMTP_TLS_IMPLICIT};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		two("wrong", "good", modes[i]);
		assert_second_takes_it("it is for other.example.com, expected mail.example.com");
		two("expired", "good", modes[i]);
		assert_second_takes_it("it expired on 2024-05-01");
		/* The connection is lost in TLS, at several places: the hello, the certificate, the end. */
		for (uint64_t at = 1; at < 900; at += 149) {
			two("good", "good", modes[i]);
			struct sim_net_rule rule = {
				.ip = KIT_IP, .cut_in_plus1 = at, .cut_mode = SIM_CUT_RESET};
			sim_net_rule_add(&rule);
			assert_second_takes_it("reset");
		}
	}
}

static void test_the_first_is_dead(void **state)
{
	struct sim_net_rule dead = {.ip = KIT_IP, .black_hole = true};
	struct sim_net_rule refuses = {.ip = KIT_IP, .refuse = true};

	(void)state;
	two("good", "good", SMTP_TLS_STARTTLS);
	sim_net_rule_add(&dead);
	kit_mail(1, CONTENT);
	assert_int_equal(open_now(), 0);
	assert_int_equal(passed(), NET_DIAL_DELAY_MS);
	end();
	two("good", "good", SMTP_TLS_STARTTLS);
	sim_net_rule_add(&refuses);
	assert_second_takes_it("- mail.example.com [10.0.0.1]:2525: the connection was refused\n");
}

static void test_the_first_hangs_up(void **state)
{
	(void)state;
	two("good", "good", SMTP_TLS_STARTTLS);
	kit.peer.replies[PEER_GREETING] = PEER_HANG_UP;
	assert_second_takes_it("closed");
	two("good", "good", SMTP_TLS_STARTTLS);
	kit.peer.caps = "PIPELINING"; /* somebody on the way to this one takes STARTTLS out */
	assert_second_takes_it("the server does not offer STARTTLS");
}

static void mute(struct hal_stream *s, void *arg)
{
	char c;

	(void)arg;
	while (hal_stream_recv(s, &c, 1, HAL_FOREVER) > 0)
		;
}

/* One that accepts and says nothing gets half of the time. */
static void test_the_first_says_nothing(void **state)
{
	static const enum smtp_tls modes[] = {SMTP_TLS_STARTTLS, SMTP_TLS_IMPLICIT};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		two("good", "good", modes[i]);
		sim_peer_listen(KIT_IP, KIT_PORT, mute, NULL);
		assert_second_takes_it("timed out");
		/* All say nothing: the deadline is kept. */
		two("good", "good", modes[i]);
		sim_peer_listen(KIT_IP, KIT_PORT, mute, NULL);
		sim_peer_listen(SECOND_IP, KIT_PORT, mute, NULL);
		assert_int_equal(open_now(), ERR_TIMEOUT);
		assert_int_equal(passed(), OPEN_MS);
		assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
		assert_in(kit.smtp.verdict.reply.text, "[10.0.0.1]:2525: ");
		assert_in(kit.smtp.verdict.reply.text, "; [10.0.0.2]:2525: ");
		end();
	}
}

static void test_all_fail(void **state)
{
	(void)state;
	two("wrong", "expired", SMTP_TLS_STARTTLS);
	assert_int_equal(open_now(), ERR_TLS_CERT);
	assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
	assert_in(kit.smtp.verdict.reply.text,
		  KIT_HOST " [10.0.0.1]:2525: the server's certificate was refused");
	assert_in(kit.smtp.verdict.reply.text, "; [10.0.0.2]:2525: the server's certificate was refused");
	assert_false(smtp_ready(&kit.smtp));
	end();
	/* A certificate says more than a refused connection that came after it. */
	two("wrong", "good", SMTP_TLS_STARTTLS);
	sim_peer_close(SECOND_IP, KIT_PORT);
	assert_int_equal(open_now(), ERR_TLS_CERT);
	assert_in(kit.smtp.verdict.reply.text, "; [10.0.0.2]:2525: the connection was refused");
	end();
}

/* Who answers has answered: another address of the same host is not asked the same. */
static void test_a_reply_is_an_answer(void **state)
{
	static const struct {
		enum smtp_peer_at at;
		const char *reply;
		int err;
	} cases[] = {{PEER_GREETING, "554 5.7.1 not you", ERR_REMOTE_BUSY},
		     {PEER_STARTTLS, "454 4.7.0 no entropy", ERR_TLS},
		     {PEER_AUTH, "535 5.7.8 wrong", ERR_AUTH},
		     {PEER_AUTH, PEER_HANG_UP, ERR_CLOSED}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		two("good", "good", SMTP_TLS_STARTTLS);
		kit.config.username = "u";
		kit.config.password = "p";
		kit.peer.replies[cases[i].at] = cases[i].reply;
		assert_int_equal(open_now(), cases[i].err);
		assert_int_equal(second.connections, 0);
		end();
	}
}

static void abort_main(void *arg)
{
	(void)arg;
	hal_clock_sleep_until(hal_clock_in(5000));
	smtp_abort(&kit.smtp);
}

/* A stop ends the waiting for names, for connections, for TLS. */
static void test_abort(void **state)
{
	struct sim_net_rule dead = {.black_hole = true};

	(void)state;
	for (int what = 0; what < 3; what++) {
		struct hal_thread t;

		two("good", "good", SMTP_TLS_IMPLICIT);
		if (what == 0) sim_faults()->dns.mode = SIM_DNS_HANG;
		if (what == 1) sim_net_rule_add(&dead);
		if (what == 2) sim_peer_listen(KIT_IP, KIT_PORT, mute, NULL);
		hal_thread_start(&t, "aborts", 32768, abort_main, NULL);
		assert_int_equal(open_now(), ERR_STOPPING);
		assert_int_equal(passed(), 5000);
		assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
		assert_int_equal(second.connections, 0);
		hal_thread_join(&t);
		end();
	}
	/* Aborted before it began. */
	two("good", "good", SMTP_TLS_IMPLICIT);
	smtp_init(&kit.smtp, &kit.config);
	kit.smtp_open = true;
	smtp_abort(&kit.smtp);
	assert_int_equal(smtp_open(&kit.smtp, HAL_FOREVER), ERR_STOPPING);
	assert_int_equal(kit.peer.connections, 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tls_fails_at_the_first),
		cmocka_unit_test(test_the_first_is_dead),
		cmocka_unit_test(test_the_first_hangs_up),
		cmocka_unit_test(test_the_first_says_nothing),
		cmocka_unit_test(test_all_fail),
		cmocka_unit_test(test_a_reply_is_an_answer),
		cmocka_unit_test(test_abort),
	};

	return cmocka_run_group_tests_name("smtp addresses", tests, NULL, NULL);
}
