/* Any bytes as an SMTP server, against the whole client: never a crash, nothing but whole lines goes out, and
 * no mail is called sent unless its content left to the end and a 2yz came behind that, or uncertain unless it
 * left; each mail given is written and done once, in order.
 *
 * The first byte: TLS mode, pieces, how the stream ends, how many mails may be in flight. The rest is what the
 * server says, in turns that begin with byte 0xff: the next turn is heard when the client has spoken again. Some
 * bytes stand for whole replies, so that the fuzzer comes far without knowing the protocol. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "smtp/smtp.h"

#define MAILS 4

struct server {
	struct hal_stream stream;
	const uint8_t *at, *end;
	size_t piece;
	int last;      /* what comes behind the last byte */
	char line[64]; /* that the client is sending */
	size_t line_len;
	bool by_bdat;           /* the content that comes next is a last chunk */
	unsigned content;       /* the mail whose last line was seen, from 1; 0: none */
	bool end_out[MAILS];    /* its content has left to the end ... */
	bool yes_behind[MAILS]; /* ... and behind it there was a '2' to be read */
	bool tls;               /* bytes are records from here */
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
		"250-peer\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-DSN\r\n250 SIZE\r\n",
		"503 5.5.1 MAIL first\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		"250 ok\r\n250 ok\r\n250 ok\r\n354 go on\r\n",
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

/* A whole line from the client: which mail's content has come to its end by it. Each has a last line of its own. */
static void heard(struct server *v)
{
	const char *line = v->line;

	if (v->line_len >= 4 && memcmp(line, "DATA", 4) == 0) v->by_bdat = false;
	if (v->line_len >= 4 && memcmp(line, "BDAT", 4) == 0) v->by_bdat = true;
	if (v->line_len == 6 && memcmp(line, "end ", 4) == 0) {
		v->content = (unsigned)(line[4] - '0');
		if (v->by_bdat) v->end_out[v->content - 1] = true;
	} else if (v->line_len == 2 && line[0] == '.' && !v->by_bdat && v->content > 0) {
		v->end_out[v->content - 1] = true;
	}
	v->line_len = 0;
}

static int server_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	struct server *v = (struct server *)(void *)s;
	const char *p = bytes;

	(void)deadline_ms;
	if (len > v->piece * 64) len = v->piece * 64;
	for (size_t i = 0; i < len && !v->tls; i++) {
		bool cr = v->line_len > 0 && v->line[v->line_len - 1] == '\r';

		/* Whole lines only: a CR has its LF, an LF its CR. */
		if ((p[i] == '\n') != cr) abort();
		if (p[i] == '\n') {
			if (v->line_len == 9 && memcmp(v->line, "STARTTLS", 8) == 0) v->tls = true;
			heard(v);
		} else if (v->line_len < sizeof(v->line)) {
			v->line[v->line_len++] = p[i];
		} else {
			v->line[sizeof(v->line) - 1] = p[i];
		}
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
		for (unsigned i = 0; i < MAILS; i++)
			v->yes_behind[i] |= v->end_out[i] && *v->at == '2';
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

struct one {
	struct smtp_mail mail;
	struct smtp_rcpt rcpts[3];
	char text[48];
	size_t at;
	bool written, done;
};

struct run {
	struct one mails[MAILS];
	unsigned given, done;
	bool large; /* the second is more than a chunk */
};

static int body_read(void *arg, char *bytes, size_t cap)
{
	struct one *one = arg;
	size_t len = strlen(one->text) - one->at;

	if (one->written) abort();
	len = len > cap ? cap : len;
	memcpy(bytes, one->text + one->at, len);
	one->at += len;
	return (int)len;
}

static int body_rewind(void *arg)
{
	((struct one *)arg)->at = 0;
	return 0;
}

/* So many times "x\n" before the text. */
static int large_read(void *arg, char *bytes, size_t cap)
{
	struct one *one = arg;

	if (one->mail.size <= 0 || cap < 2) return body_read(arg, bytes, cap);
	one->mail.size -= 2;
	memcpy(bytes, "x\n", 2);
	return 2;
}

static struct smtp_mail *next_mail(void *arg)
{
	struct run *run = arg;

	if (run->given == MAILS) return NULL;
	struct one *one = &run->mails[run->given];
	snprintf(one->text, sizeof(one->text), "Subject: x\n\n.\n..\r.\r\n.end\nend %u", ++run->given);
	one->rcpts[0].addr = STR("a@example.org");
	one->rcpts[1].addr = STR("b\xc3\xa4@example.org");
	one->rcpts[2] = (struct smtp_rcpt){.addr = STR("c@example.org"), .skip = true};
	one->mail = (struct smtp_mail){.from = STR("s@example.com"),
				       .rcpts = one->rcpts,
				       .rcpt_count = 3,
				       .size = 30,
				       .body_8bit = true,
				       .body = {body_read, body_rewind, one},
				       .alone = run->given == 3,
				       .owner = one};
	if (run->given == 2 && run->large) {
		one->mail.size = 30000;
		one->mail.body.read = large_read;
	}
	return &one->mail;
}

static void mail_written(void *arg, struct smtp_mail *mail)
{
	struct one *one = mail->owner;

	(void)arg;
	if (one->written || one->done) abort();
	one->written = true;
}

static void mail_done(void *arg, struct smtp_mail *mail)
{
	struct run *run = arg;
	struct one *one = mail->owner;

	if (!one->written || one->done || one != &run->mails[run->done]) abort();
	one->done = true;
	run->done++;
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

static void send_run(struct smtp *s, struct server *v, bool large)
{
	static struct run run;
	struct smtp_supply supply = {next_mail, mail_done, mail_written, &run};

	memset(&run, 0, sizeof(run));
	run.large = large;
	memset(v->end_out, 0, sizeof(v->end_out));
	memset(v->yes_behind, 0, sizeof(v->yes_behind));
	v->content = 0;
	int rc = smtp_run(s, &supply, hal_clock_in(1000));
	if (run.done != run.given || (rc == 0) != smtp_ready(s) || (rc == 0 && run.given < MAILS)) abort();
	for (unsigned m = 0; m < run.given; m++) {
		const struct one *one = &run.mails[m];

		for (int i = 0; i < 2; i++) {
			enum smtp_class class = one->rcpts[i].verdict.class;

			if (class == SMTP_NONE) abort();
			if (!v->tls && class == SMTP_SENT && !(v->end_out[m] && v->yes_behind[m])) abort();
			if (!v->tls && class == SMTP_UNCERTAIN && !v->end_out[m]) abort();
			if (strlen(one->rcpts[i].verdict.reply.text) >= SMTP_TEXT_MAX) abort();
		}
		if (one->rcpts[2].verdict.class != SMTP_NONE) abort();
		(void)smtp_queue_id(&one->mail.verdict.reply);
	}
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
		.depth = data[0] / 64 * 2, /* 0, 2, 4, 6 */
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
		for (int i = 0; i < 2 && smtp_ready(&s); i++)
			send_run(&s, &v, (data[0] & 4) != 0);
	smtp_close(&s);
	return 0;
}
