/* From a host name to a connection: which addresses are tried, when, and what is said about those that failed. */
#include "contract/contract.h"

#include "net/net.h"
#include "sim/sim.h"

#define HOST "mail.example.com"

static struct net_dialer dialer;
static struct hal_socket sock;
static struct net_peer peer;
static struct buf why;
static char why_text[1000];
static int64_t began;

static void serve(struct hal_stream *s, void *arg)
{
	char c;

	(void)arg;
	while (hal_stream_recv(s, &c, 1, HAL_FOREVER) > 0)
		;
}

static void begin(void)
{
	buf_init(&why, why_text, sizeof(why_text));
	net_dialer_init(&dialer, HOST, 25);
	began = hal_clock_mono_ms();
}

/* An address of the host where somebody listens, after that latency one way. */
static void up(const char *ip, int64_t latency_ms)
{
	sim_dns_add(HOST, ip);
	sim_peer_listen(ip, 25, serve, NULL);
	sim_net_rule_add(&(struct sim_net_rule){.ip = ip, .latency_ms = latency_ms});
}

/* One where nobody answers, or somebody refuses. */
static void dead(const char *ip)
{
	sim_dns_add(HOST, ip);
	sim_net_rule_add(&(struct sim_net_rule){.ip = ip, .black_hole = true});
}

static void refusing(const char *ip)
{
	sim_dns_add(HOST, ip);
}

static int dial(int64_t wait_ms)
{
	return net_dialer_next(&dialer, &sock, hal_clock_in(wait_ms), &peer, &why);
}

static int64_t passed(void)
{
	return hal_clock_mono_ms() - began;
}

static void assert_peer(const char *text)
{
	assert_string_equal(peer.text, text);
	hal_stream_close(&sock.stream);
}

TEST(the_first_answers)
{
	begin();
	up("2001:db8::1", 50);
	up("10.0.0.1", 1);
	assert_int_equal(dial(10000), 0);
	/* IPv6 was put first by the resolver: a connection within 250 ms is not even rivalled. */
	assert_peer(HOST " [2001:db8::1]:25");
	assert_int_equal(passed(), 100);
	assert_int_equal(why.len, 0);
	assert_true(net_dialer_more(&dialer));
}

TEST(a_dead_aaaa_costs_250_ms)
{
	begin();
	dead("2001:db8::1");
	up("10.0.0.1", 10);
	assert_int_equal(dial(60000), 0);
	assert_peer(HOST " [10.0.0.1]:25");
	assert_int_equal(passed(), NET_DIAL_DELAY_MS + 20);
}

TEST(the_slow_one_may_win)
{
	begin();
	up("2001:db8::1", 150); /* connected after 300 ms */
	up("10.0.0.1", 200);    /* after 250 + 400 */
	assert_int_equal(dial(60000), 0);
	assert_peer(HOST " [2001:db8::1]:25");
	assert_int_equal(passed(), 300);
	/* The other one only lost: it is there for the next. */
	assert_true(net_dialer_more(&dialer));
	assert_int_equal(dial(60000), 0);
	assert_peer(HOST " [10.0.0.1]:25");
	assert_false(net_dialer_more(&dialer));
	assert_int_equal(dial(60000), ERR_UNREACHABLE);
}

TEST(families_in_turn)
{
	begin();
	dead("2001:db8::1");
	dead("2001:db8::2");
	dead("2001:db8::3");
	dead("10.0.0.1");
	up("10.0.0.2", 0);
	assert_int_equal(dial(60000), 0);
	/* ::1, .1, ::2, .2: the fourth begins after 750 ms. */
	assert_peer(HOST " [10.0.0.2]:25");
	assert_int_equal(passed(), 3 * NET_DIAL_DELAY_MS);
}

TEST(a_refusal_makes_way_at_once)
{
	begin();
	refusing("2001:db8::1");
	refusing("10.0.0.1");
	up("10.0.0.2", 0);
	assert_int_equal(dial(60000), 0);
	assert_int_equal(passed(), 0);
	assert_peer(HOST " [10.0.0.2]:25");
	assert_string_equal(
		why_text, HOST
		" [2001:db8::1]:25: the connection was refused; [10.0.0.1]:25: the connection was refused");
}

TEST(all_fail)
{
	begin();
	dead("10.0.0.1");
	refusing("10.0.0.2");
	sim_dns_add(HOST, "10.0.0.3");
	sim_net_rule_add(&(struct sim_net_rule){.ip = "10.0.0.3", .unreachable = true});
	/* The deadline is for all together, and the refusal says most. */
	assert_int_equal(dial(20000), ERR_REFUSED);
	assert_int_equal(passed(), 20000);
	assert_non_null(strstr(why_text, "[10.0.0.2]:25: the connection was refused; [10.0.0.3]:25: "));
	assert_non_null(strstr(why_text, "[10.0.0.1]:25: timed out"));
	assert_false(net_dialer_more(&dialer));
	assert_int_equal(dial(20000), ERR_UNREACHABLE);
}

TEST(a_thousand_addresses)
{
	char ip[40];

	begin();
	for (int i = 0; i < 999; i++) {
		snprintf(ip, sizeof(ip), "2001:db8::%x", i + 1);
		refusing(ip);
	}
	refusing("10.0.0.9");
	assert_int_equal(dial(20000), ERR_REFUSED);
	assert_int_equal(dialer.count, NET_ADDRS_MAX);
	assert_non_null(strstr(why_text, "; 8 of 1000 addresses were tried"));
	/* The other family is among them, and second. */
	assert_non_null(strstr(
		why_text,
		"[2001:db8::1]:25: the connection was refused; [10.0.0.9]:25: the connection was refused;"));
	assert_null(strstr(why_text, "2001:db8::8]"));
}

TEST(no_name)
{
	begin();
	assert_int_equal(dial(5000), ERR_DNS_NO_NAME);
	sim_faults()->dns.mode = SIM_DNS_FAIL;
	assert_int_equal(dial(5000), ERR_DNS);
	/* No answer ever: within the deadline, and it is the name server's failure. */
	sim_faults()->dns.mode = SIM_DNS_HANG;
	int64_t before = hal_clock_mono_ms();
	buf_reset(&why);
	assert_int_equal(dial(5000), ERR_DNS);
	assert_int_equal(hal_clock_mono_ms(), before + 5000);
	assert_non_null(strstr(why_text, HOST ": "));
	/* The names can be had again. */
	sim_faults()->dns.mode = SIM_DNS_OK;
	up("10.0.0.1", 0);
	assert_true(net_dialer_more(&dialer));
	assert_int_equal(dial(5000), 0);
	assert_peer(HOST " [10.0.0.1]:25");
}

TEST(no_link)
{
	begin();
	up("10.0.0.1", 0);
	net_dialer_close(&dialer);
	net_dialer_init(&dialer, "10.0.0.1", 25);
	sim_link_set(false, false);
	assert_int_equal(dial(5000), ERR_LINK_DOWN);
	assert_int_equal(passed(), 0);
}

static void abort_main(void *arg)
{
	(void)arg;
	hal_clock_sleep_until(hal_clock_in(700));
	net_dialer_abort(&dialer);
}

static void aborted_after_700(void)
{
	struct hal_thread t;

	hal_thread_start(&t, "aborts", 32768, abort_main, NULL);
	assert_int_equal(net_dialer_next(&dialer, &sock, HAL_FOREVER, &peer, &why), ERR_STOPPING);
	hal_thread_join(&t);
	assert_int_equal(passed(), 700);
	assert_int_equal(net_dialer_next(&dialer, &sock, HAL_FOREVER, &peer, &why), ERR_STOPPING);
}

TEST(abort_while_connecting)
{
	begin();
	dead("10.0.0.1");
	dead("10.0.0.2");
	aborted_after_700();
}

TEST(abort_while_resolving)
{
	begin();
	up("10.0.0.1", 0);
	sim_faults()->dns.mode = SIM_DNS_HANG;
	aborted_after_700();
}

static void test_telling(void **state)
{
	static const int order[] = {0, ERR_CLOSED, ERR_TIMEOUT, ERR_REFUSED, ERR_TLS, ERR_TLS_CERT};

	(void)state;
	for (size_t i = 1; i < sizeof(order) / sizeof(order[0]); i++)
		assert_true(net_telling(order[i - 1]) < net_telling(order[i]));
	assert_int_equal(net_telling(ERR_RESET), net_telling(ERR_CLOSED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_answers),
		cmocka_unit_test(test_telling),
		cmocka_unit_test(test_a_dead_aaaa_costs_250_ms),
		cmocka_unit_test(test_the_slow_one_may_win),
		cmocka_unit_test(test_families_in_turn),
		cmocka_unit_test(test_a_refusal_makes_way_at_once),
		cmocka_unit_test(test_all_fail),
		cmocka_unit_test(test_a_thousand_addresses),
		cmocka_unit_test(test_no_name),
		cmocka_unit_test(test_no_link),
		cmocka_unit_test(test_abort_while_connecting),
		cmocka_unit_test(test_abort_while_resolving),
	};

	return cmocka_run_group_tests_name("net dial", tests, NULL, NULL);
}
