/* Content and the wire: whatever bytes a mail has, a strict server gets one mail, in its canonical form: by DATA, and
 * by BDAT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "smtp_kit.h"

static char content[32768], canonical[65536];

/* The canonical form, written down apart from the client's: CRLF, CR and LF are each one line end. */
static size_t canon(const char *in, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (in[i] == '\r' && i + 1 < len && in[i + 1] == '\n') continue;
		if (in[i] == '\r' || in[i] == '\n') {
			canonical[n++] = '\r';
			canonical[n++] = '\n';
		} else {
			canonical[n++] = in[i];
		}
	}
	if (n > 0 && canonical[n - 1] != '\n') {
		canonical[n++] = '\r';
		canonical[n++] = '\n';
	}
	return n;
}

static void send_and_compare(size_t len, size_t chunk)
{
	unsigned before = kit.peer.mails;
	size_t want = canon(content, len);

	content[len] = '\0';
	kit_mail(1, "");
	kit.body.bytes = content;
	kit.body.len = len;
	kit.body.chunk = chunk;
	kit_send();
	if (kit.mail.verdict.class != SMTP_SENT || kit.peer.mails != before + 1 || kit.peer.violations > 0 ||
	    kit.peer.unknown_commands > 0 || kit.peer.content_len != want ||
	    memcmp(kit.peer.content, canonical, want) != 0)
		fail_msg("length %zu, chunks of %zu: %s, %u mails more, %s, %zu bytes of %zu", len, chunk,
			 smtp_class_name(kit.mail.verdict.class), kit.peer.mails - before, kit.peer.violation,
			 kit.peer.content_len, want);
}

static const char *const caps[] = {"", "PIPELINING,CHUNKING"};

static void begin(int by_bdat)
{
	kit_plain();
	kit.peer.caps = caps[by_bdat];
	assert_int_equal(kit_open(), 0);
}

static void end(int by_bdat)
{
	assert_true(kit.peer.taken_count > 0);
	for (unsigned i = 0; i < kit.peer.taken_count; i++)
		assert_int_equal(kit.peer.taken[i].by_bdat, by_bdat);
	kit_end();
}

static void combination(unsigned n, unsigned count, char *out)
{
	for (unsigned i = 0; i < count; i++, n /= 4)
		out[i] = "\r\n.a"[n % 4];
}

/* All combinations of up to 5 bytes alone, in chunks of every size. */
static void short_as(int by_bdat)
{
	begin(by_bdat);
	for (unsigned count = 0; count <= 5; count++)
		for (unsigned n = 0; n < 1u << 2 * count; n++) {
			combination(n, count, content);
			for (size_t chunk = 0; chunk <= (count < 3 ? count : 3); chunk++)
				send_and_compare(count, chunk);
		}
	end(by_bdat);
}

static void test_short(void **state)
{
	(void)state;
	short_as(0);
	short_as(1);
}

/* All combinations of 3 bytes across the borders of the chunk that is read and of the buffer that is sent,
 * with something behind that would be commands if the mail ended there. */
static void borders_as(int by_bdat)
{
	static const char behind[] = "b\r\n.\nMAIL FROM:<evil@example.com>\r\n.\r\r\nRSET\n.\r\n\n.\n";
	/* Of what is read, of a chunk, of the buffer, and of two. */
	static const size_t borders[] = {4096, SMTP_OUT_BYTES - 29, SMTP_OUT_BYTES, 2 * SMTP_OUT_BYTES - 58,
					 2 * SMTP_OUT_BYTES};

	begin(by_bdat);
	for (size_t b = 0; b < 5; b++)
		for (size_t at = borders[b] - 8; at <= borders[b] + 1; at++)
			for (unsigned n = 0; n < 64; n++) {
				memset(content, 'x', at);
				combination(n, 3, content + at);
				memcpy(content + at + 3, behind, sizeof(behind) - 1);
				send_and_compare(at + 3 + sizeof(behind) - 1, 0);
				send_and_compare(at + 3, 0);
			}
	end(by_bdat);
}

static void test_borders(void **state)
{
	(void)state;
	borders_as(0);
	borders_as(1);
}

/* Every byte value, and content that is all dots or all line ends: the most that stuffing adds. */
static void bytes_as(int by_bdat)
{
	begin(by_bdat);
	for (size_t i = 0; i < 2048; i++)
		content[i] = (char)i;
	send_and_compare(2048, 0);
	for (size_t i = 0; i < 3; i++) {
		memset(content, "\r\n."[i], 10000);
		send_and_compare(10000, 0);
		send_and_compare(9999, 7);
	}
	for (size_t i = 0; i < 12000; i++)
		content[i] = i % 2 == 0 ? '\n' : '.';
	send_and_compare(12000, 0);
	end(by_bdat);
}

static void test_bytes(void **state)
{
	(void)state;
	bytes_as(0);
	bytes_as(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_borders),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests_name("smtp body", tests, NULL, NULL);
}
