/* platform/linux: what a send and a receive cost when nobody has to be waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <cmocka.h>

#include "hal_clock.h"
#include "hal_stream.h"

#define SOON hal_clock_in(10000)

static int polls, sends, recvs;

/* In the place of libc's: counted, and passed to the kernel. */
int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec t = {timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};

	polls++;
	return ppoll(fds, count, timeout_ms < 0 ? NULL : &t, NULL);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	sends++;
	return sendto(fd, bytes, len, flags, NULL, 0);
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
	recvs++;
	return recvfrom(fd, bytes, len, flags, NULL, NULL);
}

static void test_one_call_each(void **state)
{
	static char bytes[16384], got[16384];
	struct hal_listener l;
	struct hal_addr at;
	struct hal_socket a, b;

	(void)state;
	assert_int_equal(hal_addr_parse("127.0.0.1", 0, &at), 0);
	assert_int_equal(hal_stream_listen(&l, &at, &at), 0);
	assert_int_equal(hal_stream_connect(&a, &at, SOON), 0);
	assert_int_equal(hal_stream_accept(&l, &b, NULL, SOON), 0);
	polls = sends = recvs = 0;
	/* Loopback delivers before send returns. */
	for (int i = 1; i <= 10; i++) {
		assert_int_equal(hal_stream_send(&a.stream, bytes, sizeof(bytes), SOON), sizeof(bytes));
		assert_int_equal(hal_stream_recv(&b.stream, got, sizeof(got), SOON), sizeof(got));
		assert_int_equal(sends, i);
		assert_int_equal(recvs, i);
		assert_int_equal(polls, 0);
	}
	/* Only who has to wait is told by poll, and asks twice. */
	assert_true(hal_stream_recv(&b.stream, got, 1, hal_clock_in(5)) < 0);
	assert_true(polls >= 1);
	hal_stream_close(&a.stream);
	hal_stream_close(&b.stream);
	hal_stream_listen_close(&l);
}

/* Commands are small and wait for nobody's acknowledgement (Nagle's algorithm is off), on both sides. */
static void test_no_delay(void **state)
{
	struct hal_listener l;
	struct hal_addr at;
	struct hal_socket s[2];

	(void)state;
	assert_int_equal(hal_addr_parse("127.0.0.1", 0, &at), 0);
	assert_int_equal(hal_stream_listen(&l, &at, &at), 0);
	assert_int_equal(hal_stream_connect(&s[0], &at, SOON), 0);
	assert_int_equal(hal_stream_accept(&l, &s[1], NULL, SOON), 0);
	for (int i = 0; i < 2; i++) {
		int fd, on = 0;
		socklen_t len = sizeof(on);

		memcpy(&fd, s[i].opaque, sizeof(fd)); /* linux_stream.c: the descriptor is the first member */
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
		assert_true(on != 0);
		hal_stream_close(&s[i].stream);
	}
	hal_stream_listen_close(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_call_each),
		cmocka_unit_test(test_no_delay),
	};

	return cmocka_run_group_tests_name("linux stream", tests, NULL, NULL);
}
