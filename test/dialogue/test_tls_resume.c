/* TLS sessions: kept, offered again, never where they do not belong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "hal_thread.h"
#include "sim/sim.h"
#include "smtp_kit.h"

#define CONTENT "Subject: hello\r\n\r\nHello.\r\n"

static void assert_in(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void config_init(struct net_tls_config *c, struct net_tls_settings settings)
{
	char text[200];
	struct buf why;

	buf_init(&why, text, sizeof(text));
	if (net_tls_config_init(c, &settings, &why) < 0) fail_msg("%s", text);
}

/* The server gives tickets out, with keys of its own, or (give false) none. */
static void server(const char *cert, bool no_tls13, bool give)
{
	struct net_tls_settings settings = {.side = NET_TLS_SERVER, .no_tls13 = no_tls13, .tickets = give};
	char path[64];

	net_tls_config_close(&kit.server_tls);
	snprintf(path, sizeof(path), "/certs/%s.pem", cert);
	settings.cert_path = path;
	config_init(&kit.server_tls, settings);
}

static void client(const char *ca, bool insecure)
{
	struct net_tls_settings settings = {.side = NET_TLS_CLIENT, .insecure = insecure, .ca_path = ca};

	net_tls_config_close(&kit.client_tls);
	config_init(&kit.client_tls, settings);
}

static void begin(bool no_tls13)
{
	kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	server("good", no_tls13, true);
}

/* A mail over a new connection: whether it was resumed. */
static bool resumed(void)
{
	kit_mail(1, CONTENT);
	int rc = kit_open();
	if (rc != 0) fail_msg("%s: %s", err_name(rc), kit.smtp.verdict.reply.text);
	bool yes = net_tls_resumed(&kit.smtp.tls);
	kit_send();
	assert_int_equal(kit.mail.verdict.class, SMTP_SENT);
	kit_close();
	/* The peer's thread has let go of its configuration. */
	hal_clock_sleep_until(hal_clock_in(1000));
	return yes;
}

static void test_a_second_connection_resumes(void **state)
{
	(void)state;
	for (int old = 0; old < 2; old++) {
		begin(old);
		assert_false(resumed());
		assert_null(strstr(kit.notes, "resumed"));
		for (int i = 0; i < 5; i++)
			assert_true(resumed());
		assert_in(kit.notes, old ? "- TLSv1.2 TLS-ECDHE-" : "- TLSv1.3 TLS1-3-");
		assert_in(kit.notes, ", resumed\n");
		assert_int_equal(kit.peer.tls_started, 6);
		kit_end();
	}
}

/* Implicit TLS reads the ticket of TLS 1.3 with the greeting. */
static void test_implicit(void **state)
{
	(void)state;
	kit_tls("good", "ca.pem", SMTP_TLS_IMPLICIT);
	server("good", false, true);
	assert_false(resumed());
	assert_true(resumed());
	kit_end();
}

static void test_no_tickets_no_sessions(void **state)
{
	(void)state;
	for (int old = 0; old < 2; old++) {
		begin(old);
		server("good", old, false);
		assert_false(resumed());
		assert_false(resumed());
		kit_end();
	}
}

/* The server has forgotten its keys: a whole handshake, and nobody notices. */
static void test_a_refused_ticket(void **state)
{
	(void)state;
	for (int old = 0; old < 2; old++) {
		begin(old);
		assert_false(resumed());
		server("good", old, true);
		assert_false(resumed());
		assert_true(resumed());
		/* It is judged anew, then. */
		server("expired", old, true);
		assert_int_equal(kit_open(), ERR_TLS_CERT);
		kit_end();
	}
}

static void test_only_to_the_same_host(void **state)
{
	(void)state;
	for (int old = 0; old < 2; old++) {
		begin(old);
		sim_dns_add("other.example.com", KIT_IP);
		assert_false(resumed());
		kit.config.host = "other.example.com";
		assert_int_equal(kit_open(), ERR_TLS_CERT);
		assert_false(net_tls_resumed(&kit.smtp.tls));
		kit_close();
		kit.config.host = KIT_HOST;
		assert_true(resumed());
		kit_end();
	}
}

/* What an unverifying configuration was given is not offered by a verifying one, nor the other way round. */
static void test_only_by_the_same_configuration(void **state)
{
	(void)state;
	for (int old = 0; old < 2; old++) {
		begin(old);
		client(NULL, true);
		server("unknown", old, true);
		assert_false(resumed());
		assert_true(resumed());
		client("/certs/ca.pem", false);
		assert_int_equal(kit_open(), ERR_TLS_CERT);
		kit_close();
		assert_int_equal(kit_open(), ERR_TLS_CERT);
		kit_close();
		/* A server that was refused left nothing behind. */
		client("/certs/ca.pem", false);
		server("good", old, true);
		assert_false(resumed());
		client("/certs/ca.pem", false);
		assert_false(resumed());
		kit_end();
	}
}

static void test_not_for_ever(void **state)
{
	(void)state;
	for (int old = 0; old < 2; old++) {
		begin(old);
		assert_false(resumed());
		hal_clock_sleep_until(hal_clock_in(3590 * 1000));
		assert_true(resumed());
		hal_clock_sleep_until(hal_clock_in(3601 * 1000));
		assert_false(resumed());
		assert_true(resumed());
		kit_end();
	}
}

/* Several connections at once each have a session of their own, up to the number kept. */
static void test_several_at_once(void **state)
{
	enum { COUNT = NET_TLS_SESSIONS + 2 };
	static struct smtp many[COUNT];

	(void)state;
	begin(false);
	for (int round = 0; round < 2; round++) {
		int count = 0;

		for (int i = 0; i < COUNT; i++) {
			smtp_init(&many[i], &kit.config);
			assert_int_equal(smtp_open(&many[i], HAL_FOREVER), 0);
			count += net_tls_resumed(&many[i].tls);
		}
		/* In the second round those kept are used, and each connection brings one more. */
		assert_int_equal(count, round == 0 ? COUNT - 1 : COUNT);
		for (int i = 0; i < COUNT; i++)
			smtp_close(&many[i]);
	}
	kit_end();
}

/* The ticket's connection is cut at each byte: what is kept is whole or nothing. */
static void test_cut(void **state)
{
	(void)state;
	for (uint64_t at = 1500; at < 2600; at += 13) {
		begin(false);
		sim_net_rule_add(&(struct sim_net_rule){
			.ip = KIT_IP, .first = 1, .count = 1, .cut_in_plus1 = at, .cut_mode = SIM_CUT_RESET});
		kit_mail(1, CONTENT);
		(void)kit_all();
		(void)resumed();
		assert_true(resumed());
		kit_end();
	}
}

/* ---- a server that cannot bear sessions ---- */

/* A stream whose first bytes were read already. */
struct read_already {
	struct hal_stream stream;
	struct hal_stream *to;
	unsigned char bytes[2048];
	size_t len, at;
};

static struct read_already *already(struct hal_stream *s)
{
	return (struct read_already *)(void *)s;
}

static int already_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	return hal_stream_send(already(s)->to, bytes, len, deadline_ms);
}

static int already_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	struct read_already *r = already(s);
	size_t len = r->len - r->at < cap ? r->len - r->at : cap;

	if (len == 0) return hal_stream_recv(r->to, bytes, cap, deadline_ms);
	memcpy(bytes, r->bytes + r->at, len);
	r->at += len;
	return (int)len;
}

static void already_close(struct hal_stream *s)
{
	(void)s;
}

static const struct hal_stream_ops already_ops = {.send = already_send,
						  .recv = already_recv,
						  .close = already_close};

static unsigned sessions_seen;

/* Whether the hello comes with a session of TLS 1.2 (a ticket that is not empty) or 1.3 (pre_shared_key). */
static bool has_session(const unsigned char *hello, size_t len)
{
	size_t at = 5 + 4 + 2 + 32;

	at += 1 + hello[at];
	at += 2 + (size_t)(hello[at] << 8 | hello[at + 1]);
	at += 1 + hello[at];
	for (at += 2; at + 4 <= len; at += 4 + (size_t)(hello[at + 2] << 8 | hello[at + 3])) {
		unsigned type = (unsigned)(hello[at] << 8 | hello[at + 1]);

		if (type == 41 || (type == 35 && (hello[at + 2] | hello[at + 3]) != 0)) return true;
	}
	return false;
}

/* Implicit TLS; hangs up when it sees a session. */
static void intolerant(struct hal_stream *s, void *arg)
{
	struct read_already r = {.stream = {&already_ops}, .to = s};

	do {
		int n = hal_stream_recv(s, r.bytes + r.len, sizeof(r.bytes) - r.len, HAL_FOREVER);
		if (n <= 0) return;
		r.len += (size_t)n;
	} while (r.len < 5 || r.len < 5 + (size_t)(r.bytes[3] << 8 | r.bytes[4]));
	if (has_session(r.bytes, r.len))
		sessions_seen++;
	else
		smtp_peer_serve(&r.stream, arg);
}

static void open_one(void *arg)
{
	struct smtp *s = arg;

	smtp_init(s, &kit.config);
	assert_int_equal(smtp_open(s, HAL_FOREVER), 0);
	assert_false(net_tls_resumed(&s->tls));
}

static void test_a_server_that_fails_over_sessions(void **state)
{
	(void)state;
	for (int old = 0; old < 2; old++) {
		sessions_seen = 0;
		kit_tls("good", "ca.pem", SMTP_TLS_IMPLICIT);
		server("good", old, true);
		sim_peer_listen(KIT_IP, KIT_PORT, intolerant, &kit.peer);
		assert_false(resumed());
		/* Each later connection brings one: it fails, and is made again without. */
		assert_false(resumed());
		assert_false(resumed());
		assert_int_equal(sessions_seen, 2);
		/* Also when several are kept, from better days: of two connections that were made at once. */
		static struct smtp two[2];
		struct hal_thread t;
		client("/certs/ca.pem", false);
		sim_peer_listen(KIT_IP, KIT_PORT, smtp_peer_serve, &kit.peer);
		sim_net_rule_add(&(struct sim_net_rule){.ip = KIT_IP, .latency_ms = 10});
		hal_thread_start(&t, "opens", 128 * 1024, open_one, &two[0]);
		open_one(&two[1]);
		hal_thread_join(&t);
		for (int i = 0; i < 2; i++)
			smtp_close(&two[i]);
		hal_clock_sleep_until(hal_clock_in(1000));
		sim_peer_listen(KIT_IP, KIT_PORT, intolerant, &kit.peer);
		sessions_seen = 0;
		assert_false(resumed());
		assert_int_equal(sessions_seen, 1);
		kit_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_second_connection_resumes),
		cmocka_unit_test(test_implicit),
		cmocka_unit_test(test_no_tickets_no_sessions),
		cmocka_unit_test(test_a_refused_ticket),
		cmocka_unit_test(test_only_to_the_same_host),
		cmocka_unit_test(test_only_by_the_same_configuration),
		cmocka_unit_test(test_not_for_ever),
		cmocka_unit_test(test_several_at_once),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_a_server_that_fails_over_sessions),
	};

	return cmocka_run_group_tests_name("tls resume", tests, NULL, NULL);
}
