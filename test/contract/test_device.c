/* hal_addr, hal_dns, hal_link, hal_entropy, hal_ident, hal_lifecycle, hal_log, hal_led, hal_watchdog. */
#include "contract.h"

#include "hal_dns.h"
#include "hal_entropy.h"
#include "hal_ident.h"
#include "hal_led.h"
#include "hal_lifecycle.h"
#include "hal_link.h"
#include "hal_log.h"
#include "hal_watchdog.h"

#define SOON hal_clock_in(10000)

/* ---- addresses ---- */

static void same(const char *ip, uint16_t port, const char *text)
{
	struct hal_addr a;
	char got[64];

	assert_int_equal(hal_addr_parse(ip, port, &a), 0);
	assert_int_equal(a.port, port);
	assert_string_equal(hal_addr_text(&a, got, sizeof got), text);
}

TEST(addresses_to_text_and_back)
{
	struct hal_addr a;
	static const char *const bad[] = {"",          "example.org", "1.2.3",      "1.2.3.4.5",
					  "1.2.3.256", "[::1]",       "1.2.3.4:25", "::1%lo",
					  " 1.2.3.4",  ":::",         "1.2.3.04x"};

	same("192.0.2.1", 25, "192.0.2.1:25");
	same("2001:db8::1", 465, "[2001:db8::1]:465");
	same("::ffff:192.0.2.1", 1, "[::ffff:192.0.2.1]:1");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(hal_addr_parse(bad[i], 1, &a), ERR_INVALID);
}

static bool loopback(const char *ip)
{
	struct hal_addr a;

	assert_int_equal(hal_addr_parse(ip, 1, &a), 0);
	return hal_addr_is_loopback(&a) != 0;
}

TEST(loopback_is_known)
{
	assert_true(loopback("127.0.0.1") && loopback("127.255.255.255") && loopback("::1"));
	assert_true(loopback("::ffff:127.0.0.1"));
	assert_false(loopback("128.0.0.1") || loopback("::2") || loopback("::ffff:10.0.0.1") ||
		     loopback("::"));
}

/* ---- names ---- */

TEST(literals_are_answered_without_asking)
{
	struct hal_dns_answer a;

	/* A deadline in the past: nobody can be asked. */
	assert_int_equal(hal_dns_resolve("192.0.2.7", 25, &a, NULL, 1), 0);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.total, 1);
	assert_int_equal(a.addrs[0].family, HAL_FAMILY_IP4);
	assert_int_equal(a.addrs[0].port, 25);
	assert_int_equal(hal_dns_resolve("2001:db8::7", 25, &a, NULL, 1), 0);
	assert_int_equal(a.addrs[0].family, HAL_FAMILY_IP6);
}

TEST(localhost_works)
{
	struct hal_dns_answer a;

	assert_int_equal(hal_dns_resolve("localhost", 5672, &a, NULL, SOON), 0);
	assert_true(a.count >= 1);
	assert_int_equal(a.total, a.count);
	for (unsigned i = 0; i < a.count; i++) {
		assert_true(hal_addr_is_loopback(&a.addrs[i]));
		assert_int_equal(a.addrs[i].port, 5672);
	}
}

TEST(what_is_no_host_name)
{
	static const char *const bad[] = {"",           ".",   "a..b", ".a",    "a b",  "-a.example",
					  "a-.example", "a/b", "a:25", "[::1]", "a\nb", "\xc3\xa4.example"};
	char longest[300];
	struct hal_dns_answer a;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(hal_dns_resolve(bad[i], 1, &a, NULL, SOON), ERR_INVALID);
	memset(longest, 'a', sizeof longest);
	longest[64] = '\0';
	assert_int_equal(hal_dns_resolve(longest, 1, &a, NULL, SOON), ERR_INVALID);
	memset(longest, 'a', sizeof longest);
	for (size_t i = 10; i < sizeof longest; i += 10)
		longest[i] = '.';
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(hal_dns_resolve(longest, 1, &a, NULL, SOON), ERR_INVALID);
}

TEST(no_such_name)
{
	struct hal_dns_answer a;
	int64_t deadline = hal_clock_in(2000);
	/* RFC 6761 section 6.4. A device without a resolver cannot know, and says that. */
	int rc = hal_dns_resolve("nothing.invalid", 25, &a, NULL, deadline);

	assert_true(rc == ERR_DNS_NO_NAME || rc == ERR_DNS || rc == ERR_TIMEOUT);
	assert_true(hal_clock_mono_ms() < deadline + 1000);
}

TEST(asking_is_called_off)
{
	struct hal_dns_answer a;
	struct hal_cancel cancel;

	hal_cancel_init(&cancel);
	assert_false(hal_cancel_is_set(&cancel));
	hal_cancel_set(&cancel);
	assert_true(hal_cancel_is_set(&cancel));
	assert_int_equal(hal_dns_resolve("nothing.invalid", 25, &a, &cancel, HAL_FOREVER), ERR_STOPPING);
	/* What needs no asking is no waiting. */
	assert_int_equal(hal_dns_resolve("127.0.0.1", 25, &a, &cancel, SOON), 0);
	hal_cancel_set(&cancel);
	hal_cancel_close(&cancel);
}

/* ---- the rest ---- */

TEST(link_does_not_change_by_looking)
{
	struct hal_link_state a, b;

	hal_link_get(&a);
	for (int i = 0; i < 10; i++) {
		hal_link_get(&b);
		assert_true(a.up == b.up && a.generation == b.generation);
	}
}

TEST(entropy_fills_all_and_differs)
{
	unsigned char a[1000], b[1000];
	unsigned seen[256] = {0};
	int kinds = 0;

	memset(a, 0, sizeof a);
	assert_int_equal(hal_entropy_fill(a, sizeof a), 0);
	assert_int_equal(hal_entropy_fill(b, sizeof b), 0);
	assert_memory_not_equal(a, b, sizeof a);
	for (size_t i = 0; i < sizeof a; i++)
		kinds += seen[a[i]]++ == 0;
	assert_true(kinds > 200);
	assert_memory_not_equal(a + 984, a, 16);
	assert_int_equal(hal_entropy_fill(a, 0), 0);
}

TEST(identity)
{
	assert_true(hal_ident_host()[0] != '\0');
	assert_ptr_equal(hal_ident_host(), hal_ident_host());
	/* The kernel counts in batches: the two may be some pages apart. */
	int64_t now = hal_ident_rss_bytes();
	int64_t peak = hal_ident_rss_peak_bytes();
	assert_true(now >= 0);
	assert_true(peak == 0 || peak > now - (1 << 20));
}

static void wish_stop(void *arg)
{
	(void)arg;
	hal_clock_sleep_until(hal_clock_in(20));
	hal_lifecycle_wish(HAL_WISH_STOP);
}

TEST(wishes)
{
	struct hal_thread t;
	int64_t deadline = hal_clock_in(20);

	hal_lifecycle_init();
	assert_int_equal(hal_lifecycle_wait(deadline), HAL_WISH_NONE);
	assert_true(hal_clock_mono_ms() >= deadline);
	assert_int_equal(hal_lifecycle_wait(1), HAL_WISH_NONE);
	hal_lifecycle_ready();
	hal_lifecycle_wish(HAL_WISH_RELOAD);
	assert_int_equal(hal_lifecycle_wait(SOON), HAL_WISH_RELOAD);
	assert_int_equal(hal_lifecycle_wait(1), HAL_WISH_NONE);
	hal_thread_start(&t, "stops", 16384, wish_stop, NULL);
	assert_int_equal(hal_lifecycle_wait(HAL_FOREVER), HAL_WISH_STOP);
	assert_int_equal(hal_lifecycle_wait(1), HAL_WISH_STOP);
	assert_int_equal(hal_lifecycle_wait(HAL_FOREVER), HAL_WISH_STOP);
	hal_thread_join(&t);
	hal_lifecycle_stopping();
}

TEST(log_takes_lines)
{
	hal_log_line(3, "before it is opened", 19);
	hal_log_open(HAL_LOG_STDERR, "postern");
	hal_log_line(2, "a line", 6);
	hal_log_line(2, "", 0);
	hal_log_open(HAL_LOG_SYSLOG, "postern");
	hal_log_line(0, "an error, or nobody listens", 27);
}

TEST(a_device_without_light_and_watchdog)
{
	assert_int_equal(hal_led_open("none"), 0);
	hal_led_set(HAL_LED_BUSY);
	hal_led_close();
	assert_int_equal(hal_led_open("no-such-light"), ERR_NOT_FOUND);
	assert_int_equal(hal_watchdog_open("none"), 0);
	assert_true(hal_watchdog_period_ms() == HAL_FOREVER);
	hal_watchdog_kick();
	hal_watchdog_close();
	assert_int_equal(hal_watchdog_open("/dev/no-such-watchdog"), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_to_text_and_back),
		cmocka_unit_test(test_loopback_is_known),
		cmocka_unit_test(test_literals_are_answered_without_asking),
		cmocka_unit_test(test_localhost_works),
		cmocka_unit_test(test_what_is_no_host_name),
		cmocka_unit_test(test_no_such_name),
		cmocka_unit_test(test_asking_is_called_off),
		cmocka_unit_test(test_link_does_not_change_by_looking),
		cmocka_unit_test(test_entropy_fills_all_and_differs),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_wishes),
		cmocka_unit_test(test_log_takes_lines),
		cmocka_unit_test(test_a_device_without_light_and_watchdog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
