/* Any bytes as an SMTP server, against the whole client: never a crash, nothing but whole lines goes out, and
 * no mail is called sent unless its final dot left and a 2yz came behind it.
 *
 * The first byte: TLS mode, pieces, how the stream ends. The rest is what the server says, in turns that
 * begin with byte 0xff: the next turn is heard when the client has spoken again. Some bytes stand for whole
 * replies, so that the fuzzer comes far without knowing the protocol. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "smtp/smtp.h"

struct server {
	struct hal_stream stream;
	const uint8_t *at, *end;
	size_t piece;
	int last;        /* what comes behind the last byte */
	bool dot_out;    /* the final dot has left ... */
	bool yes_behind; /* ... and behind it there was a '2' to be read */
	char tail[5];    /* the last bytes that the client sent */
	bool tls;        /* bytes are records from here */
};

static size_t expand(const uint8_t *data, size_t size, uint8_t *out, size_t cap)
{
	static const char *const words[] = {
		"220 hello\r\n",
		"250 ok\r\n",
		"354 go on\r\n",
		"250-peer\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-SIZE 100\r\n250 AUTH PLAIN LOGIN\r\n",
		"250-SMTPUTF8\r\n",
		"235 welcome\r\n",
		"550 5.1.1 no\r\n",
		"452 4.5.3 too many\r\n",
		"421 bye\r\n",
		"250 2.0.0 Ok: queued as 12345\r\n",
		"334 VXNlcm5hbWU6\r\n",
	};
	size_t n = 0;

	for (size_t i = 0; i < size && n + 128 < cap; i++) {
		if (data[i] >= 0xf0 && data[i] - 0xf0u < sizeof(words) / sizeof(words[0])) {
			memcpy(out + n, words[data[i] - 0xf0], strlen(words[data[i] - 0xf0]));
			n += strlen(words[data[i] - 0xf0]);
		} else {
			out[n++] = data[i];
		}
	}
	return n;
}

static bool has_byte(const struct server *v)
{
	return v->at < v->end && *v->at != 0xff;
}

static int server_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	struct server *v = (struct server *)(void *)s;
	const char *p = bytes;

	(void)deadline_ms;
	if (len > v->piece * 64) len = v->piece * 64;
	for (size_t i = 0; i < len; i++) {
		/* Whole lines only: a CR has its LF, an LF its CR. */
		if (!v->tls && (p[i] == '\n') != (v->tail[4] == '\r')) abort();
		memmove(v->tail, v->tail + 1, 4);
		v->tail[4] = p[i];
		if (memcmp(v->tail, "\r\n.\r\n", 5) == 0) v->dot_out = true;
		if (!v->tls && memcmp(v->tail, "TLS\r\n", 5) == 0) v->tls = true;
	}
	if (!has_byte(v) && v->at < v->end) v->at++;
	return (int)len;
}

static int server_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	struct server *v = (struct server *)(void *)s;
	size_t n = 0;

	(void)deadline_ms;
	while (n < cap && n < v->piece && has_byte(v)) {
		v->yes_behind |= v->dot_out && *v->at == '2';
		((uint8_t *)bytes)[n++] = *v->at++;
	}
	return n > 0 ? (int)n : v->last;
}

static int server_poll(struct hal_stream *s, int64_t deadline_ms)
{
	(void)deadline_ms;
	return has_byte((struct server *)(void *)s) ? 0 : ERR_TIMEOUT;
}

static void server_nothing(struct hal_stream *s)
{
	(void)s;
}

static const struct hal_stream_ops ops = {server_send, server_recv, server_poll, server_nothing,
					  server_nothing};

static int body_read(void *arg, char *bytes, size_t cap)
{
	static const char text[] = "Subject: x\n\n.\n..\r.\r\n.";
	size_t *at = arg, len = sizeof(text) - 1 - *at;

	len = len > cap ? cap : len;
	memcpy(bytes, text + *at, len);
	*at += len;
	return (int)len;
}

static int body_rewind(void *arg)
{
	*(size_t *)arg = 0;
	return 0;
}

static void note(void *arg, const struct smtp_mail *mail, enum smtp_note kind, enum smtp_command command,
		 struct str text)
{
	(void)mail;
	(void)kind;
	if (smtp_command_name(command)[0] == '\0') abort();
	for (size_t i = 0; i < text.len; i++)
		*(unsigned *)arg += (unsigned char)text.ptr[i];
}

static void send_one(struct smtp *s, struct server *v)
{
	struct smtp_rcpt rcpts[3] = {{.addr = STR("a@example.org")},
				     {.addr = STR("b\xc3\xa4@example.org")},
				     {.addr = STR("c@example.org"), .skip = true}};
	size_t at = 0;
	struct smtp_mail mail = {.from = STR("s@example.com"),
				 .rcpts = rcpts,
				 .rcpt_count = 3,
				 .size = 30,
				 .body_8bit = true,
				 .body = {body_read, body_rewind, &at}};

	v->dot_out = v->yes_behind = false;
	smtp_send(s, &mail, hal_clock_in(1000));
	for (int i = 0; i < 2; i++) {
		if (rcpts[i].verdict.class == SMTP_NONE) abort();
		if (!v->tls && rcpts[i].verdict.class == SMTP_SENT && !(v->dot_out && v->yes_behind)) abort();
		if (!v->tls && rcpts[i].verdict.class == SMTP_UNCERTAIN && !v->dot_out) abort();
		if (strlen(rcpts[i].verdict.reply.text) >= SMTP_TEXT_MAX) abort();
	}
	if (rcpts[2].verdict.class != SMTP_NONE) abort();
	(void)smtp_queue_id(&mail.verdict.reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct net_tls_config tls;
	static bool tls_made;
	static struct smtp s;
	static uint8_t said[65536];
	struct net_tls_settings settings = {.insecure = true};
	char why_text[200];
	struct buf why;
	unsigned sum = 0;

	buf_init(&why, why_text, sizeof(why_text));
	if (!tls_made && (net_init() < 0 || net_tls_config_init(&tls, &settings, &why) < 0)) abort();
	tls_made = true;
	if (size < 1) return 0;
	struct smtp_config config = {
		.host = "mail.example.com",
		.tls = data[0] % 64 == 0   ? SMTP_TLS_STARTTLS
		       : data[0] % 64 == 1 ? SMTP_TLS_IMPLICIT
					   : SMTP_TLS_NONE,
		.tls_config = &tls,
		.username = (data[0] & 8) != 0 ? "user" : NULL,
		.password = "password",
		.helo = "gw",
		.note = note,
		.note_arg = &sum,
	};
	size_t len = expand(data + 1, size - 1, said, sizeof(said));
	struct server v = {.stream = {&ops},
			   .at = said,
			   .end = said + len,
			   .piece = (data[0] & 16) != 0 ? 1 : 700,
			   .last = (data[0] & 32) != 0 ? ERR_CLOSED : ERR_TIMEOUT,
			   .tls = config.tls == SMTP_TLS_IMPLICIT};
	struct net_peer peer = {.addr = {.family = HAL_FAMILY_IP4, .bytes = {127, 0, 0, 1}}};

	hal_clock_sleep_until(hal_clock_in(1));
	smtp_init(&s, &config);
	if (smtp_open_on(&s, &v.stream, &peer, hal_clock_in(1000)) == 0)
		for (int i = 0; i < 3 && smtp_ready(&s); i++)
			send_one(&s, &v);
	smtp_close(&s);
	return 0;
}
