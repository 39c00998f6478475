/* Any bytes as a server's offers and challenges, against every mechanism: never a crash; each line that goes out is
 * an AUTH command or base64; no exchange is longer than its mechanism; SCRAM is never complete, since no chance makes
 * the server's proof; what cannot go on is told in words.
 *
 * The first byte: mechanism, and whether challenges come as they are or are put into base64. The rest is challenges,
 * ended by 0xff, with bytes that stand for what SCRAM wants; the first of them is also read as an offer, and as a line
 * that might tell the password. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "smtp/parts.h"

static unsigned looks;

/* 4096 iterations are enough of a fuzzer's time. */
static bool not_long(void *arg)
{
	(void)arg;
	return ++looks < 3;
}

static const struct smtp_login login = {.username = "us,er", .password = "pass word", .go_on = not_long};

static void check_line(const struct smtp_auth_line *out, bool first)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
	const char *at = out->line.ptr;

	if (strlen(at) != out->line.len || out->shown > out->line.len) abort();
	if (first) {
		if (strncmp(at, "AUTH ", 5) != 0) abort();
		at += 5 + strcspn(at + 5, " ");
		at += *at == ' ';
	} else if (out->shown != 0) {
		abort();
	}
	if (strspn(at, base64) != strlen(at)) abort();
}

/* The next challenge. */
static struct str next(const uint8_t **at, const uint8_t *end)
{
	static const char *const words[] = {"r=Nx,s=QUFB,i=4096",
					    "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "r=Nx",
					    ",s=QUFB", ",i=4096"};
	static char text[6000];
	size_t len = 0;

	for (; *at < end && **at != 0xff; ++*at) {
		if (**at >= 0xf0 && **at < 0xf0 + sizeof(words) / sizeof(words[0]) &&
		    len + 64 < sizeof(text)) {
			strcpy(text + len, words[**at - 0xf0]);
			len += strlen(words[**at - 0xf0]);
		} else if (len + 64 < sizeof(text)) {
			text[len++] = (char)**at;
		}
	}
	*at += *at < end;
	return (struct str){text, len};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[8192], encoded[4096];
	char why_text[200];
	struct smtp_exchange x = {.nonce = "N"};
	const uint8_t *at = data + 1, *end = data + size;
	struct buf why, b;

	if (size < 1) return 0;
	looks = 0;
	x.mechanism = (enum smtp_auth)(SMTP_AUTH_PLAIN + data[0] % 5);
	buf_init(&why, why_text, sizeof(why_text));
	for (unsigned lines = 0;; lines++) {
		struct smtp_auth_line out = {.why = &why};
		struct str challenge = lines == 0 ? STR("") : next(&at, end);

		if (lines == 1) {
			struct smtp_caps caps = {0};

			smtp_caps_line(&caps, challenge);
			(void)smtp_tells_secret(challenge, login.username, login.password, false);
		}
		if ((data[0] & 128) != 0 && challenge.len < 3000) {
			buf_init(&b, encoded, sizeof(encoded));
			buf_base64(&b, challenge.ptr, challenge.len);
			challenge = buf_view(&b);
		}
		buf_init(&out.line, line, sizeof(line));
		int rc = smtp_auth_next(&x, &login, challenge, &out);
		if (x.mechanism == SMTP_AUTH_SCRAM_SHA_256 && x.complete) abort();
		if (rc == ERR_AUTH && (why.len == 0 || why.cut)) abort();
		if (rc < 0 && rc != ERR_AUTH && rc != ERR_TIMEOUT) abort();
		if (rc < 0) return 0;
		if (lines > 3) abort();
		check_line(&out, lines == 0);
	}
}
