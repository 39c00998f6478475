/* hal_stream: two ends on the loopback interface, one thread each. */
#include "contract.h"

#include "hal_race.h"
#include "hal_stream.h"

#define SOON hal_clock_in(10000)

static struct hal_listener listener;
static struct hal_addr at;

static void listen_here(void)
{
	struct hal_addr any;

	assert_int_equal(hal_addr_parse("127.0.0.1", 0, &any), 0);
	assert_int_equal(hal_stream_listen(&listener, &any, &at), 0);
	assert_int_equal(at.family, HAL_FAMILY_IP4);
	assert_true(at.port != 0);
}

/* Both ends on this thread: connecting needs no accept, the backlog takes it. */
static void pair(struct hal_socket *a, struct hal_socket *b)
{
	struct hal_addr from;

	listen_here();
	assert_int_equal(hal_stream_connect(a, &at, SOON), 0);
	assert_int_equal(hal_stream_accept(&listener, b, &from, SOON), 0);
	assert_true(hal_addr_is_loopback(&from));
	assert_true(from.port != 0);
}

static void send_all(struct hal_stream *s, const char *bytes, size_t len)
{
	while (len > 0) {
		int n = hal_stream_send(s, bytes, len, SOON);
		assert_true(n > 0 && (size_t)n <= len);
		bytes += n;
		len -= (size_t)n;
	}
}

static void expect(struct hal_stream *s, const char *text)
{
	char got[64] = "";
	size_t len = 0;

	while (len < strlen(text)) {
		int n = hal_stream_recv(s, got + len, strlen(text) - len, SOON);
		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_string_equal(got, text);
}

TEST(bytes_go_both_ways)
{
	struct hal_socket a, b;

	pair(&a, &b);
	send_all(&a.stream, "EHLO x\r\n", 8);
	expect(&b.stream, "EHLO x\r\n");
	send_all(&b.stream, "250 ok\r\n", 8);
	assert_int_equal(hal_stream_poll(&a.stream, SOON), 0);
	expect(&a.stream, "250 ok\r\n");
	hal_stream_close(&a.stream);
	hal_stream_close(&b.stream);
	hal_stream_listen_close(&listener);
}

TEST(recv_and_poll_time_out)
{
	struct hal_socket a, b;
	char byte;

	pair(&a, &b);
	int64_t deadline = hal_clock_in(20);
	assert_int_equal(hal_stream_recv(&a.stream, &byte, 1, deadline), ERR_TIMEOUT);
	assert_true(hal_clock_mono_ms() >= deadline);
	assert_int_equal(hal_stream_poll(&a.stream, hal_clock_in(5)), ERR_TIMEOUT);
	hal_stream_close(&a.stream);
	hal_stream_close(&b.stream);
}

TEST(a_passed_deadline_still_moves_what_there_is)
{
	struct hal_socket a, b;
	char got[4];

	pair(&a, &b);
	assert_true(hal_stream_send(&a.stream, "abc", 3, 1) > 0);
	assert_int_equal(hal_stream_poll(&b.stream, SOON), 0);
	assert_true(hal_stream_recv(&b.stream, got, 3, 1) > 0);
	assert_int_equal(got[0], 'a');
	hal_stream_close(&a.stream);
	hal_stream_close(&b.stream);
}

TEST(poll_takes_nothing)
{
	struct hal_socket a, b;

	pair(&a, &b);
	send_all(&a.stream, "x", 1);
	assert_int_equal(hal_stream_poll(&b.stream, SOON), 0);
	assert_int_equal(hal_stream_poll(&b.stream, SOON), 0);
	expect(&b.stream, "x");
	hal_stream_close(&a.stream);
	hal_stream_close(&b.stream);
}

TEST(an_orderly_end_comes_after_the_bytes)
{
	struct hal_socket a, b;
	char byte;

	pair(&a, &b);
	send_all(&a.stream, "221 bye", 7);
	hal_stream_close(&a.stream);
	expect(&b.stream, "221 bye");
	assert_int_equal(hal_stream_recv(&b.stream, &byte, 1, SOON), ERR_CLOSED);
	assert_int_equal(hal_stream_recv(&b.stream, &byte, 1, SOON), ERR_CLOSED);
	assert_int_equal(hal_stream_poll(&b.stream, SOON), ERR_CLOSED);
	hal_stream_close(&b.stream);
}

TEST(sending_to_a_closed_end_fails_soon)
{
	struct hal_socket a, b;
	int n = 1;

	pair(&a, &b);
	hal_stream_close(&b.stream);
	for (int i = 0; i < 100 && n > 0; i++) {
		n = hal_stream_send(&a.stream, "x", 1, SOON);
		hal_clock_sleep_until(hal_clock_in(1));
	}
	assert_true(n == ERR_CLOSED || n == ERR_RESET);
	assert_true(hal_stream_send(&a.stream, "x", 1, SOON) < 0);
	hal_stream_close(&a.stream);
}

TEST(closing_with_unread_bytes_resets)
{
	struct hal_socket a, b;
	char byte;

	pair(&a, &b);
	send_all(&a.stream, "x", 1);
	assert_int_equal(hal_stream_poll(&b.stream, SOON), 0);
	hal_stream_close(&b.stream);
	assert_int_equal(hal_stream_recv(&a.stream, &byte, 1, SOON), ERR_RESET);
	hal_stream_close(&a.stream);
}

TEST(a_full_stream_times_out_and_goes_on)
{
	static char big[65536];
	struct hal_socket a, b;
	size_t sent = 0, got = 0;
	int n;

	pair(&a, &b);
	while ((n = hal_stream_send(&a.stream, big, sizeof big, hal_clock_in(20))) > 0) {
		sent += (size_t)n;
		assert_true(sent < 512u << 20);
	}
	assert_int_equal(n, ERR_TIMEOUT);
	while (got < sent) {
		n = hal_stream_recv(&b.stream, big, sizeof big, SOON);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_int_equal(got, sent);
	assert_true(hal_stream_send(&a.stream, "x", 1, SOON) == 1);
	expect(&b.stream, "");
	hal_stream_close(&a.stream);
	hal_stream_close(&b.stream);
}

/* ---- two threads ---- */

static struct hal_socket echo_socket;
static int echo_end;

static void echo(void *arg)
{
	char bytes[1000];

	(void)arg;
	for (;;) {
		int n = hal_stream_recv(&echo_socket.stream, bytes, sizeof bytes, HAL_FOREVER);
		if (n < 0) {
			echo_end = n;
			break;
		}
		for (int done = 0; done < n;) {
			int m = hal_stream_send(&echo_socket.stream, bytes + done, (size_t)(n - done),
						HAL_FOREVER);
			if (m < 0) return;
			done += m;
		}
	}
	hal_stream_close(&echo_socket.stream);
}

TEST(many_bytes_arrive_whole_and_in_order)
{
	static unsigned char out[40000], in[40000];
	struct hal_thread t;
	struct hal_socket a;
	size_t sent = 0, got = 0;

	pair(&a, &echo_socket);
	hal_thread_start(&t, "echo", 32768, echo, NULL);
	for (size_t i = 0; i < sizeof out; i++)
		out[i] = (unsigned char)(i * 7 + i / 256);
	while (got < sizeof in) {
		if (sent < sizeof out && sent - got < 5000) {
			int n = hal_stream_send(&a.stream, out + sent, sizeof out - sent, SOON);
			assert_true(n > 0);
			sent += (size_t)n;
		}
		int n = hal_stream_recv(&a.stream, in + got, sizeof in - got, SOON);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(in, out, sizeof in);
	hal_stream_close(&a.stream);
	hal_thread_join(&t);
	assert_int_equal(echo_end, ERR_CLOSED);
}

TEST(abort_ends_a_waiting_call_and_later_ones)
{
	struct hal_thread t;
	struct hal_socket a;
	char byte;

	pair(&a, &echo_socket);
	/* The echo thread must not close what is aborted under it: it is joined first. */
	hal_thread_start(&t, "echo", 32768, echo, NULL);
	hal_clock_sleep_until(hal_clock_in(20));
	hal_stream_abort(&a.stream);
	assert_int_equal(hal_stream_recv(&a.stream, &byte, 1, SOON), ERR_STOPPING);
	assert_int_equal(hal_stream_send(&a.stream, "x", 1, SOON), ERR_STOPPING);
	assert_int_equal(hal_stream_poll(&a.stream, SOON), ERR_STOPPING);
	hal_stream_close(&a.stream);
	hal_thread_join(&t);
	assert_true(echo_end == ERR_CLOSED || echo_end == ERR_RESET);
}

static struct hal_socket waiting;
static int waiting_end;

static void wait_bytes(void *arg)
{
	char byte;

	(void)arg;
	waiting_end = hal_stream_recv(&waiting.stream, &byte, 1, HAL_FOREVER);
}

TEST(abort_from_another_thread)
{
	struct hal_thread t;
	struct hal_socket a;

	pair(&a, &waiting);
	hal_thread_start(&t, "waits", 32768, wait_bytes, NULL);
	hal_clock_sleep_until(hal_clock_in(20));
	hal_stream_abort(&waiting.stream);
	hal_thread_join(&t);
	assert_int_equal(waiting_end, ERR_STOPPING);
	hal_stream_close(&waiting.stream);
	hal_stream_close(&a.stream);
}

/* ---- connecting and listening ---- */

TEST(nobody_listens)
{
	struct hal_socket a;

	listen_here();
	hal_stream_listen_close(&listener);
	assert_int_equal(hal_stream_connect(&a, &at, SOON), ERR_REFUSED);
}

TEST(no_address_is_no_address)
{
	struct hal_addr none = {.family = HAL_FAMILY_NONE};
	struct hal_listener l;

	assert_int_equal(hal_stream_listen(&l, &none, NULL), ERR_INVALID);
}

TEST(an_address_is_listened_on_once)
{
	struct hal_listener other;

	listen_here();
	assert_int_equal(hal_stream_listen(&other, &at, NULL), ERR_BUSY);
	hal_stream_listen_close(&listener);
	assert_int_equal(hal_stream_listen(&other, &at, NULL), 0);
	hal_stream_listen_close(&other);
}

TEST(accept_times_out)
{
	struct hal_socket b;
	int64_t deadline = hal_clock_in(20);

	listen_here();
	assert_int_equal(hal_stream_accept(&listener, &b, NULL, deadline), ERR_TIMEOUT);
	assert_true(hal_clock_mono_ms() >= deadline);
	hal_stream_listen_close(&listener);
}

static void wait_connection(void *arg)
{
	(void)arg;
	waiting_end = hal_stream_accept(&listener, &waiting, NULL, HAL_FOREVER);
}

TEST(accept_is_aborted)
{
	struct hal_thread t;
	struct hal_socket b;

	listen_here();
	hal_thread_start(&t, "accepts", 32768, wait_connection, NULL);
	hal_clock_sleep_until(hal_clock_in(20));
	hal_stream_listen_abort(&listener);
	hal_thread_join(&t);
	assert_int_equal(waiting_end, ERR_STOPPING);
	assert_int_equal(hal_stream_accept(&listener, &b, NULL, SOON), ERR_STOPPING);
	hal_stream_listen_close(&listener);
}

TEST(any_address_takes_connections)
{
	struct hal_addr any;
	struct hal_socket a, b;

	hal_addr_parse("0.0.0.0", 0, &any);
	assert_int_equal(hal_stream_listen(&listener, &any, &at), 0);
	hal_addr_parse("127.0.0.1", at.port, &any);
	assert_int_equal(hal_stream_connect(&a, &any, SOON), 0);
	assert_int_equal(hal_stream_accept(&listener, &b, NULL, SOON), 0);
	hal_stream_close(&a.stream);
	hal_stream_close(&b.stream);
	hal_stream_listen_close(&listener);
}

/* ---- races ---- */

static struct hal_cancel cancel;
static struct hal_race race;

TEST(a_race_of_one)
{
	struct hal_socket a, b;
	int err = 1;

	listen_here();
	hal_cancel_init(&cancel);
	hal_race_init(&race, &cancel);
	assert_int_equal(hal_race_begin(&race, 3, &at), 0);
	assert_int_equal(hal_race_wait(&race, &a, &err, SOON), 3);
	assert_int_equal(err, 0);
	assert_int_equal(hal_race_wait(&race, &b, &err, 1), ERR_TIMEOUT);
	hal_race_close(&race);
	hal_cancel_close(&cancel);
	assert_int_equal(hal_stream_accept(&listener, &b, NULL, SOON), 0);
	send_all(&a.stream, "x", 1);
	expect(&b.stream, "x");
	hal_stream_close(&a.stream);
	hal_stream_close(&b.stream);
	hal_stream_listen_close(&listener);
}

/* Each attempt is told once, with its lane; a lane that has ended can be used again. */
TEST(attempts_end_each_for_itself)
{
	struct hal_addr none = {.family = HAL_FAMILY_NONE}, nobody;
	struct hal_socket a, b;
	int err = 1, won = 0, refused = 0, begun = 0;

	listen_here();
	nobody = at;
	hal_stream_listen_close(&listener);
	listen_here();
	hal_cancel_init(&cancel);
	hal_race_init(&race, &cancel);
	assert_int_equal(hal_race_begin(&race, 0, &at), 0);
	assert_int_equal(hal_race_begin(&race, 0, &at), ERR_INVALID);
	assert_int_equal(hal_race_begin(&race, HAL_RACE_LANES, &at), ERR_INVALID);
	assert_int_equal(hal_race_begin(&race, 1, &none), ERR_UNREACHABLE);
	for (unsigned lane = 2; lane < HAL_RACE_LANES; lane++) {
		/* A refusal may be known at once. */
		int rc = hal_race_begin(&race, lane, &nobody);
		assert_true(rc == 0 || rc == ERR_REFUSED);
		begun += rc == 0;
	}
	for (int lane; (lane = hal_race_wait(&race, &a, &err, hal_clock_in(50))) != ERR_TIMEOUT;) {
		assert_true(lane >= 0 && lane < HAL_RACE_LANES);
		assert_int_equal(err, lane == 0 ? 0 : ERR_REFUSED);
		won += lane == 0;
		refused += lane != 0;
		if (err == 0) hal_stream_close(&a.stream);
	}
	assert_int_equal(won, 1);
	assert_int_equal(refused, begun);
	assert_int_equal(hal_race_begin(&race, 0, &at), 0);
	assert_int_equal(hal_race_wait(&race, &b, &err, SOON), 0);
	hal_stream_close(&b.stream);
	hal_race_close(&race);
	hal_cancel_close(&cancel);
	hal_stream_listen_close(&listener);
}

TEST(what_is_given_up_is_closed)
{
	struct hal_socket b;
	char byte;

	listen_here();
	hal_cancel_init(&cancel);
	hal_race_init(&race, &cancel);
	assert_int_equal(hal_race_begin(&race, 0, &at), 0);
	hal_race_close(&race);
	hal_race_close(&race);
	hal_cancel_close(&cancel);
	/* The other side sees nothing of it, or the end. */
	if (hal_stream_accept(&listener, &b, NULL, hal_clock_in(20)) == 0) {
		int rc = hal_stream_recv(&b.stream, &byte, 1, SOON);
		assert_true(rc == ERR_CLOSED || rc == ERR_RESET);
		hal_stream_close(&b.stream);
	}
	hal_stream_listen_close(&listener);
}

static void wait_race(void *arg)
{
	int err;

	(void)arg;
	waiting_end = hal_race_wait(&race, &waiting, &err, HAL_FOREVER);
}

TEST(a_race_is_called_off)
{
	struct hal_thread t;
	int err;

	hal_cancel_init(&cancel);
	hal_race_init(&race, &cancel);
	hal_thread_start(&t, "races", 32768, wait_race, NULL);
	hal_clock_sleep_until(hal_clock_in(20));
	hal_cancel_set(&cancel);
	hal_thread_join(&t);
	assert_int_equal(waiting_end, ERR_STOPPING);
	assert_int_equal(hal_race_wait(&race, &waiting, &err, SOON), ERR_STOPPING);
	hal_race_close(&race);
	hal_cancel_close(&cancel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_go_both_ways),
		cmocka_unit_test(test_recv_and_poll_time_out),
		cmocka_unit_test(test_a_passed_deadline_still_moves_what_there_is),
		cmocka_unit_test(test_poll_takes_nothing),
		cmocka_unit_test(test_an_orderly_end_comes_after_the_bytes),
		cmocka_unit_test(test_sending_to_a_closed_end_fails_soon),
		cmocka_unit_test(test_closing_with_unread_bytes_resets),
		cmocka_unit_test(test_a_full_stream_times_out_and_goes_on),
		cmocka_unit_test(test_many_bytes_arrive_whole_and_in_order),
		cmocka_unit_test(test_abort_ends_a_waiting_call_and_later_ones),
		cmocka_unit_test(test_abort_from_another_thread),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_no_address_is_no_address),
		cmocka_unit_test(test_an_address_is_listened_on_once),
		cmocka_unit_test(test_accept_times_out),
		cmocka_unit_test(test_accept_is_aborted),
		cmocka_unit_test(test_any_address_takes_connections),
		cmocka_unit_test(test_a_race_of_one),
		cmocka_unit_test(test_attempts_end_each_for_itself),
		cmocka_unit_test(test_what_is_given_up_is_closed),
		cmocka_unit_test(test_a_race_is_called_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
