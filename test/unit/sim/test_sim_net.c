/* The simulated network: peers, faults, link, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_dns.h"
#include "hal_link.h"
#include "sim/sim.h"

#define IP   "192.0.2.25"
#define SOON hal_clock_in(30000)

static int setup(void **state)
{
	(void)state;
	sim_reset();
	return 0;
}

/* Answers each line with "250 ok"; what it heard goes to shared memory. */
static void server(struct hal_stream *s, void *arg)
{
	char *heard = arg;
	char c;

	while (hal_stream_recv(s, &c, 1, HAL_FOREVER) == 1) {
		heard[strlen(heard)] = c;
		if (c != '\n') continue;
		const char *p = "250 ok\r\n";
		while (*p != '\0') {
			int n = hal_stream_send(s, p, strlen(p), HAL_FOREVER);
			if (n < 0) return;
			p += n;
		}
	}
}

static int connect_to(struct hal_socket *s, uint16_t port)
{
	struct hal_addr to;

	assert_int_equal(hal_addr_parse(IP, port, &to), 0);
	return hal_stream_connect(s, &to, SOON);
}

/* One line there, one line back: 0, or what went wrong. */
static int talk(struct hal_socket *s)
{
	const char *p = "EHLO\r\n";
	char c = 0;

	while (*p != '\0') {
		int n = hal_stream_send(&s->stream, p, strlen(p), SOON);
		if (n < 0) return n;
		p += n;
	}
	while (c != '\n') {
		int n = hal_stream_recv(&s->stream, &c, 1, SOON);
		if (n < 0) return n;
	}
	return 0;
}

static void talk_main(void *arg)
{
	struct hal_socket s;
	int *result = arg;

	*result = connect_to(&s, 25);
	if (*result == 0) {
		*result = talk(&s);
		hal_stream_close(&s.stream);
		/* The boot ends with this function: let the peer read what it got. */
		hal_clock_sleep_until(hal_clock_in(1));
	}
}

static int *result;
static char *heard;

static struct sim_result run(const struct sim_net_rule *rule, void (*fn)(void *arg))
{
	struct sim_config c = sim_config_default(11);

	sim_reset();
	result = sim_shared(sizeof *result);
	heard = sim_shared(256);
	sim_peer_listen(IP, 25, server, heard);
	sim_dns_add("mail.example", IP);
	if (rule != NULL) {
		c.faults.net.rules[0] = *rule;
		c.faults.net.rule_count = 1;
	}
	struct sim_result r = sim_run(&c, fn, result);
	assert_int_equal(r.end, SIM_FINISHED);
	return r;
}

static void test_a_peer_answers(void **state)
{
	(void)state;
	run(NULL, talk_main);
	assert_int_equal(*result, 0);
	assert_string_equal(heard, "EHLO\r\n");
}

static void test_latency_takes_time(void **state)
{
	struct sim_net_rule rule = {.latency_ms = 50};

	(void)state;
	struct sim_result r = run(&rule, talk_main);
	assert_int_equal(*result, 0);
	assert_true(r.time_ms >= 200); /* the handshake's round trip and the talk's */
	rule.jitter_ms = 100;
	assert_true(run(&rule, talk_main).time_ms > r.time_ms);
}

static void test_refuse_unreachable_black_hole(void **state)
{
	struct sim_net_rule refuse = {.ip = IP, .refuse = true};
	struct sim_net_rule unreachable = {.port = 25, .unreachable = true};
	struct sim_net_rule hole = {.black_hole = true};

	(void)state;
	run(&refuse, talk_main);
	assert_int_equal(*result, ERR_REFUSED);
	run(&unreachable, talk_main);
	assert_int_equal(*result, ERR_UNREACHABLE);
	assert_true(run(&hole, talk_main).time_ms == 30000);
	assert_int_equal(*result, ERR_TIMEOUT);
}

/* The connection is cut after every byte, both ways. */
static void test_cut_after_every_byte(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= 7; n++) {
		struct sim_net_rule rule = {.cut_out_plus1 = n, .cut_mode = SIM_CUT_RESET};
		run(&rule, talk_main);
		assert_int_equal(*result, ERR_RESET);
		assert_int_equal(strlen(heard), n - 1);
	}
	for (uint64_t n = 1; n <= 8; n++) {
		struct sim_net_rule rule = {.cut_in_plus1 = n, .cut_mode = SIM_CUT_CLOSE};
		run(&rule, talk_main);
		assert_int_equal(*result, ERR_CLOSED);
	}
	struct sim_net_rule silence = {.cut_in_plus1 = 4, .cut_mode = SIM_CUT_SILENCE};
	run(&silence, talk_main);
	assert_int_equal(*result, ERR_TIMEOUT);
}

static void three_main(void *arg)
{
	struct hal_socket s;

	(void)arg;
	for (int i = 1; i <= 3; i++) {
		int rc = connect_to(&s, 25);
		assert_int_equal(rc, i == 2 ? ERR_REFUSED : 0);
		if (rc == 0) hal_stream_close(&s.stream);
	}
	sim_peer_close(IP, 25);
	assert_int_equal(connect_to(&s, 25), ERR_REFUSED);
	assert_int_equal(connect_to(&s, 26), ERR_REFUSED);
}

static void test_a_rule_for_one_connection(void **state)
{
	struct sim_net_rule second = {.refuse = true, .first = 2, .count = 1};

	(void)state;
	run(&second, three_main);
}

static void link_main(void *arg)
{
	struct hal_link_state before, after;
	struct hal_socket s, other;
	char c;

	(void)arg;
	hal_link_get(&before);
	assert_true(before.up);
	assert_int_equal(connect_to(&s, 25), 0);
	sim_link_set(false, false);
	hal_link_get(&after);
	assert_false(after.up);
	assert_true(after.generation != before.generation);
	assert_int_equal(connect_to(&other, 25), ERR_LINK_DOWN);
	/* Bytes wait for the link. */
	assert_int_equal(hal_stream_send(&s.stream, "\n", 1, SOON), 1);
	assert_int_equal(hal_stream_recv(&s.stream, &c, 1, hal_clock_in(100)), ERR_TIMEOUT);
	sim_link_set(true, false);
	assert_int_equal(hal_stream_recv(&s.stream, &c, 1, SOON), 1);
	/* With a new address the connection is dead. */
	sim_link_set(true, true);
	assert_int_equal(talk(&s), ERR_TIMEOUT);
	hal_stream_close(&s.stream);
	assert_int_equal(connect_to(&s, 25), 0);
	assert_int_equal(talk(&s), 0);
	hal_stream_close(&s.stream);
}

static void test_link(void **state)
{
	(void)state;
	run(NULL, link_main);
}

static void dns_main(void *arg)
{
	struct sim_dns_faults *f = &sim_faults()->dns;
	struct hal_dns_answer a;

	(void)arg;
	assert_int_equal(hal_dns_resolve("MAIL.example", 25, &a, NULL, SOON), 0);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.addrs[0].port, 25);
	assert_int_equal(hal_dns_resolve("other.example", 25, &a, NULL, SOON), ERR_DNS_NO_NAME);
	f->mode = SIM_DNS_FAIL;
	assert_int_equal(hal_dns_resolve("mail.example", 25, &a, NULL, SOON), ERR_DNS);
	f->mode = SIM_DNS_HANG;
	int64_t deadline = hal_clock_in(5000);
	assert_int_equal(hal_dns_resolve("mail.example", 25, &a, NULL, deadline), ERR_TIMEOUT);
	assert_true(hal_clock_mono_ms() == deadline);
	assert_int_equal(hal_dns_resolve(IP, 25, &a, NULL, 1), 0);
	f->mode = SIM_DNS_OK;
	sim_link_set(false, false);
	assert_int_equal(hal_dns_resolve("mail.example", 25, &a, NULL, SOON), ERR_DNS);
}

static void test_names(void **state)
{
	(void)state;
	run(NULL, dns_main);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_peer_answers, setup),
		cmocka_unit_test_setup(test_latency_takes_time, setup),
		cmocka_unit_test_setup(test_refuse_unreachable_black_hole, setup),
		cmocka_unit_test_setup(test_cut_after_every_byte, setup),
		cmocka_unit_test_setup(test_a_rule_for_one_connection, setup),
		cmocka_unit_test_setup(test_link, setup),
		cmocka_unit_test_setup(test_names, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
