/* Lines out of a stream: any split of the bytes gives the same lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "net/net.h"

/* A stream that gives its text in pieces, then err. */
struct canned {
	struct hal_stream stream;
	const char *text;
	size_t len, at, piece;
	bool repeat; /* the text again and again */
	int err;
};

static int canned_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	struct canned *c = (struct canned *)(void *)s;
	size_t len = c->len - c->at;

	(void)deadline_ms;
	if (len == 0 && c->repeat) {
		c->at = 0;
		len = c->len;
	}
	if (len == 0) return c->err;
	len = len > cap ? cap : len;
	len = len > c->piece ? c->piece : len;
	memcpy(bytes, c->text + c->at, len);
	c->at += len;
	return (int)len;
}

static const struct hal_stream_ops ops = {.recv = canned_recv};

static struct canned canned(const char *text, size_t len, size_t piece)
{
	return (struct canned){{&ops}, text, len, 0, piece, false, ERR_CLOSED};
}

static void test_splits(void **state)
{
	static const char text[] = "one\r\n\r\ntwo\n\nthr\ree\r\r\nfo\0ur\r\nrest";
	static const struct str want[] = {{"one", 3}, {"", 0},          {"two", 3},
					  {"", 0},    {"thr\ree\r", 7}, {"fo\0ur", 5}};
	char memory[64];

	(void)state;
	for (size_t piece = 1; piece < sizeof(text); piece++) {
		struct canned c = canned(text, sizeof(text) - 1, piece);
		struct net_line r;
		struct str line;
		bool cut;

		net_line_init(&r, &c.stream, memory, sizeof(memory));
		for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
			assert_int_equal(net_line_read(&r, &line, &cut, 0), 0);
			assert_int_equal(line.len, want[i].len);
			assert_memory_equal(line.ptr, want[i].ptr, line.len);
			assert_false(cut);
		}
		/* The end in the middle of a line is no line; the bytes are kept. */
		assert_int_equal(net_line_read(&r, &line, &cut, 0), ERR_CLOSED);
		assert_int_equal(net_line_pending(&r), 4);
		c.err = ERR_TIMEOUT;
		assert_int_equal(net_line_read(&r, &line, &cut, 0), ERR_TIMEOUT);
		c = canned("\n", 1, 1);
		assert_int_equal(net_line_read(&r, &line, &cut, 0), 0);
		assert_int_equal(line.len, 4);
	}
}

static void test_long(void **state)
{
	char memory[64], text[400];

	(void)state;
	for (size_t len = 60; len < 300; len++)
		for (size_t piece = 1; piece < 80; piece += 13) {
			memset(text, 'x', len);
			memcpy(text + len, "\r\nnext\r\n", 8);
			struct canned c = canned(text, len + 8, piece);
			struct net_line r;
			struct str line;
			bool cut;

			net_line_init(&r, &c.stream, memory, sizeof(memory));
			assert_int_equal(net_line_read(&r, &line, &cut, 0), 0);
			assert_int_equal(cut, len + 2 > sizeof(memory));
			assert_int_equal(line.len, cut ? 32 : len);
			assert_int_equal(net_line_read(&r, &line, &cut, 0), 0);
			assert_int_equal(line.len, 4);
			assert_memory_equal(line.ptr, "next", 4);
		}
}

static void test_endless(void **state)
{
	char memory[64];
	struct canned c = canned("abcdefgh", 8, 8);
	struct net_line r;
	struct str line;
	bool cut;

	(void)state;
	c.repeat = true;
	net_line_init(&r, &c.stream, memory, sizeof(memory));
	assert_int_equal(net_line_read(&r, &line, &cut, 0), ERR_PROTOCOL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_endless),
	};

	return cmocka_run_group_tests_name("net line", tests, NULL, NULL);
}
