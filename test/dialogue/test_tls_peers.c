/* TLS with servers that are odd, old, hostile, or particular about their clients; bytes one at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_clock.h"
#include "sim/sim.h"
#include "smtp_kit.h"

#define CONTENT "Subject: hello\r\n\r\nHello.\r\n"

static void assert_in(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void config_init(struct net_tls_config *c, struct net_tls_settings settings)
{
	char text[200];
	struct buf why;

	buf_init(&why, text, sizeof(text));
	if (net_tls_config_init(c, &settings, &why) < 0) fail_msg("%s", text);
}

/* ---- client certificates ---- */

/* The server demands a certificate that ca issued; cert: what we have, NULL for none. */
static void demanding(const char *cert, enum smtp_tls mode, bool old)
{
	struct net_tls_settings server = {.side = NET_TLS_SERVER,
					  .cert_path = "/certs/good.pem",
					  .ca_path = "/certs/ca.pem",
					  .no_tls13 = old,
					  .tickets = true};
	struct net_tls_settings client = {.side = NET_TLS_CLIENT, .ca_path = "/certs/ca.pem"};
	char crt[64], key[64];

	kit_tls("good", "ca.pem", mode);
	net_tls_config_close(&kit.server_tls);
	config_init(&kit.server_tls, server);
	net_tls_config_close(&kit.client_tls);
	if (cert != NULL) {
		snprintf(crt, sizeof(crt), "/certs/%s.crt", cert);
		snprintf(key, sizeof(key), "/certs/%s.key", cert);
		client.cert_path = crt;
		client.key_path = key;
	}
	config_init(&kit.client_tls, client);
	kit_mail(1, CONTENT);
}

static void test_client_certificate(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		enum smtp_tls mode = i % 2 == 0 ? SMTP_TLS_STARTTLS : SMTP_TLS_IMPLICIT;
		bool old = i / 2 == 1;

		demanding("client", mode, old);
		assert_int_equal(kit_all(), SMTP_SENT);
		assert_int_equal(kit.peer.violations, 0);
		/* Resumed: the server knows us from the session. */
		kit_mail(1, CONTENT);
		assert_int_equal(kit_all(), SMTP_SENT);
		assert_in(kit.notes, ", resumed");
		assert_int_equal(kit.peer.mails, 2);
		kit_end();
		/* None, and one from elsewhere. In TLS 1.3 the refusal comes after our side of the handshake. As a
		 * server mbedTLS says nothing at all when it gets none in TLS 1.2, and protects its alert with the
		 * wrong keys in TLS 1.3; a real server's words are in test/integration. */
		demanding(NULL, mode, old);
		assert_int_equal(kit_open(), old ? ERR_RESET : ERR_TLS);
		assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
		assert_int_equal(kit.peer.mails_begun, 0);
		kit_end();
		demanding("stray", mode, old);
		assert_int_equal(kit_open(), ERR_TLS);
		if (old) assert_in(kit.smtp.verdict.reply.text, "our certificate's issuer is unknown");
		kit_end();
	}
}

/* ---- what the hello says ---- */

static unsigned char hello[2048];
static size_t hello_len;

/* Keeps the ClientHello and hangs up. */
static void listen_only(struct hal_stream *s, void *arg)
{
	(void)arg;
	hello_len = 0;
	do {
		int n = hal_stream_recv(s, hello + hello_len, sizeof(hello) - hello_len, HAL_FOREVER);
		if (n <= 0) return;
		hello_len += (size_t)n;
	} while (hello_len < 5 || hello_len < 5 + (size_t)(hello[3] << 8 | hello[4]));
}

/* The place of an extension in the hello, 0 when it is not there (RFC 8446 section 4.1.2). */
static size_t extension(unsigned type)
{
	size_t at = 5 + 4 + 2 + 32;

	at += 1 + hello[at];
	at += 2 + (size_t)(hello[at] << 8 | hello[at + 1]);
	at += 1 + hello[at];
	for (at += 2; at + 4 <= hello_len; at += 4 + (size_t)(hello[at + 2] << 8 | hello[at + 3]))
		if ((unsigned)(hello[at] << 8 | hello[at + 1]) == type) return at;
	return 0;
}

static void test_server_name(void **state)
{
	(void)state;
	kit_tls("good", "ca.pem", SMTP_TLS_IMPLICIT);
	sim_peer_listen(KIT_IP, KIT_PORT, listen_only, NULL);
	assert_int_equal(kit_open(), ERR_CLOSED);
	size_t at = extension(0);
	assert_true(at > 0);
	assert_memory_equal(hello + at + 9, KIT_HOST, strlen(KIT_HOST));
	kit_close();
	kit.config.host = KIT_IP;
	assert_int_equal(kit_open(), ERR_CLOSED);
	assert_int_equal(extension(0), 0);
	assert_true(extension(43) > 0); /* supported_versions: we looked in the right place */
	kit_end();
}

/* ---- scripted servers ---- */

static unsigned char script[80000];
static size_t script_len;

static void record(unsigned type, const void *bytes, size_t len)
{
	unsigned char *at = script + script_len;

	at[0] = (unsigned char)type;
	at[1] = 3;
	at[2] = 3;
	at[3] = (unsigned char)(len >> 8);
	at[4] = (unsigned char)len;
	memcpy(at + 5, bytes, len);
	script_len += 5 + len;
}

/* A ServerHello without extensions (RFC 5246 section 7.4.1.3). */
static void server_hello(unsigned minor)
{
	unsigned char m[42] = {2, 0, 0, 38, 3, (unsigned char)minor};

	m[39] = 0xc0; /* TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 */
	m[40] = 0x2b;
	script_len = 0;
	record(22, m, sizeof(m));
}

static void play(struct hal_stream *s, void *arg)
{
	(void)arg;
	listen_only(s, NULL);
	net_send_all(s, script, script_len, HAL_FOREVER, NULL);
	listen_only(s, NULL);
}

static void play_to(int err, const char *why)
{
	kit_tls("good", "ca.pem", SMTP_TLS_IMPLICIT);
	sim_peer_listen(KIT_IP, KIT_PORT, play, NULL);
	int rc = kit_open();
	if (rc != err) fail_msg("%s: %s", err_name(rc), kit.notes);
	assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
	assert_in(kit.smtp.verdict.reply.text, why);
	kit_end();
}

static void test_old_versions(void **state)
{
	(void)state;
	/* SSL 3.0, TLS 1.0, TLS 1.1: what such a server answers to our hello, and the alert of one that is polite. */
	for (unsigned minor = 0; minor < 3; minor++) {
		server_hello(minor);
		play_to(ERR_TLS, "the server speaks no TLS version that is safe (1.2 or 1.3)");
	}
	script_len = 0;
	record(21, "\x02\x46", 2);
	play_to(ERR_TLS, "no common TLS version (alert 70)");
}

/* A certificate message of 70 KB: more than is ever taken. */
static void test_a_long_chain(void **state)
{
	static unsigned char piece[16000];

	(void)state;
	server_hello(3);
	piece[0] = 11;
	piece[1] = 70000 >> 16;
	piece[2] = (70000 >> 8) & 255;
	piece[3] = 70000 & 255;
	for (int i = 0; i < 4; i++) {
		record(22, piece, sizeof(piece));
		memset(piece, 0, sizeof(piece));
	}
	play_to(ERR_TLS, "the server's certificates are more than 16 KB");
}

static void test_garbage_records(void **state)
{
	static const struct {
		unsigned type;
		const char *bytes;
		size_t len;
	} cases[] = {{22, "\x02\x00\x00\x00", 4},
		     {22, "\x02\xff\xff\xff", 4},
		     {23, "x", 1},
		     {20, "\x01", 1},
		     {22, "", 0},
		     {21, "\x02", 1},
		     {99, "x", 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script_len = 0;
		record(cases[i].type, cases[i].bytes, cases[i].len);
		kit_tls("good", "ca.pem", SMTP_TLS_IMPLICIT);
		sim_peer_listen(KIT_IP, KIT_PORT, play, NULL);
		smtp_init(&kit.smtp, &kit.config);
		kit.smtp_open = true;
		int rc = smtp_open(&kit.smtp, hal_clock_in(10000));
		/* Two cases are the beginning of something, whose end does not come. */
		if (rc != ERR_TLS && rc != ERR_TIMEOUT)
			fail_msg("case %zu: %s: %s", i, err_name(rc), kit.notes);
		kit_end();
	}
}

/* ---- one byte at a time ---- */

/* A stream that takes and gives one byte a call; records = true: the plain handshake records that come are also cut
 * into records of one byte, but for the message's head, which mbedTLS wants whole. */
struct drip {
	struct hal_stream stream;
	struct hal_socket socket;
	bool records;
	unsigned char head[5], out[8];
	size_t head_len, left, out_at, out_len;
};

static struct drip *drip_of(struct hal_stream *s)
{
	return (struct drip *)(void *)s;
}

static int drip_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	(void)len;
	return hal_stream_send(&drip_of(s)->socket.stream, bytes, 1, deadline_ms);
}

/* The next byte of the records as they come; of a handshake record each byte gets a head of its own. */
static int drip_fill(struct drip *d, int64_t deadline_ms)
{
	unsigned char byte;
	int rc = hal_stream_recv(&d->socket.stream, &byte, 1, deadline_ms);

	if (rc <= 0) return rc;
	d->out_at = 0;
	d->out_len = 0;
	if (d->left > 0 || d->head_len < 5) {
		if (d->left == 0) {
			d->head[d->head_len++] = byte;
			if (d->head_len < 5) return 0;
			d->left = (size_t)(d->head[3] << 8 | d->head[4]);
			if (d->head[0] != 22) {
				memcpy(d->out, d->head, d->out_len = 5);
				/* From here on handshake records are encrypted. */
				d->records = d->records && d->head[0] != 20;
			} else if (!d->records) {
				memcpy(d->out, d->head, d->out_len = 5);
			}
			return 0;
		}
		if (d->head[0] == 22 && d->records) {
			size_t at = (size_t)(d->head[3] << 8 | d->head[4]) - d->left;
			const unsigned char head[5] = {22, 3, 3, 0, at == 0 ? 4 : 1};

			if (at == 0 || at >= 4) memcpy(d->out, head, d->out_len = 5);
		}
		d->out[d->out_len++] = byte;
		if (--d->left == 0) d->head_len = 0;
	}
	return 0;
}

static int drip_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	struct drip *d = drip_of(s);

	(void)cap;
	while (d->out_at == d->out_len) {
		int rc = drip_fill(d, deadline_ms);
		if (rc < 0) return rc;
	}
	memcpy(bytes, &d->out[d->out_at++], 1);
	return 1;
}

static int drip_poll(struct hal_stream *s, int64_t deadline_ms)
{
	struct drip *d = drip_of(s);

	return d->out_at < d->out_len ? 0 : hal_stream_poll(&d->socket.stream, deadline_ms);
}

static void drip_abort(struct hal_stream *s)
{
	hal_stream_abort(&drip_of(s)->socket.stream);
}

static void drip_close(struct hal_stream *s)
{
	hal_stream_close(&drip_of(s)->socket.stream);
}

static const struct hal_stream_ops drip_ops = {drip_send, drip_recv, drip_poll, drip_abort, drip_close};

static void test_one_byte_at_a_time(void **state)
{
	static struct drip drip;
	struct net_tls_settings server = {.side = NET_TLS_SERVER, .cert_path = "/certs/mid.pem"};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct net_peer peer = {.text = "drip"};

		kit_tls("good", "ca.pem", SMTP_TLS_IMPLICIT);
		net_tls_config_close(&kit.server_tls);
		server.no_tls13 = i % 2 == 1;
		config_init(&kit.server_tls, server);
		memset(&drip, 0, sizeof(drip));
		drip.stream.ops = &drip_ops;
		drip.records = i / 2 == 1;
		assert_int_equal(hal_addr_parse(KIT_IP, KIT_PORT, &peer.addr), 0);
		assert_int_equal(hal_stream_connect(&drip.socket, &peer.addr, HAL_FOREVER), 0);
		smtp_init(&kit.smtp, &kit.config);
		kit.smtp_open = true;
		if (smtp_open_on(&kit.smtp, &drip.stream, &peer, hal_clock_in(60000)) < 0)
			fail_msg("%d: %s", i, kit.notes);
		kit_mail(2, CONTENT);
		kit_send();
		assert_int_equal(kit.mail.verdict.class, SMTP_SENT);
		assert_string_equal(kit.peer.content, CONTENT);
		kit_end();
	}
}

/* ---- capabilities that differ after TLS ---- */

static void test_capabilities_differ(void **state)
{
	(void)state;
	/* Offered before TLS only: not there. */
	kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	kit.peer.caps = "STARTTLS,AUTH PLAIN,SIZE 10,SMTPUTF8,8BITMIME,PIPELINING";
	kit.peer.caps_tls = "";
	kit_mail(1, CONTENT);
	assert_int_equal(kit_open(), 0);
	assert_false(kit.smtp.caps.pipelining || kit.smtp.caps.smtputf8 || kit.smtp.caps.eightbit ||
		     kit.smtp.caps.size);
	assert_int_equal(kit.smtp.caps.auth, 0);
	kit_send();
	assert_int_equal(kit.mail.verdict.class, SMTP_SENT);
	assert_null(strstr(kit.peer.mail_line, "SIZE"));
	kit_end();
	/* AUTH disappears with TLS: there is nothing to log in with. */
	kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	kit.peer.caps = "STARTTLS,AUTH PLAIN";
	kit.peer.caps_tls = "PIPELINING";
	kit.config.username = "u";
	kit.config.password = "p";
	assert_int_equal(kit_open(), ERR_AUTH);
	assert_null(strstr(kit.peer.log, "AUTH"));
	kit_end();
	/* STARTTLS once more: it is not done twice. */
	kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	kit.peer.caps_tls = "STARTTLS,SIZE 100000";
	kit_mail(1, CONTENT);
	assert_int_equal(kit_all(), SMTP_SENT);
	assert_int_equal(kit.peer.tls_started, 1);
	assert_in(kit.peer.mail_line, " SIZE=26");
	kit_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_certificate),  cmocka_unit_test(test_server_name),
		cmocka_unit_test(test_old_versions),        cmocka_unit_test(test_a_long_chain),
		cmocka_unit_test(test_garbage_records),     cmocka_unit_test(test_one_byte_at_a_time),
		cmocka_unit_test(test_capabilities_differ),
	};

	return cmocka_run_group_tests_name("tls peers", tests, NULL, NULL);
}
