/* The SMTP client and TLS: modes, certificates, what is done to STARTTLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "sim/sim.h"
#include "smtp_kit.h"

#define CONTENT "Subject: hello\r\n\r\nHello.\r\n"

static void assert_in(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void test_modes(void **state)
{
	static const enum smtp_tls modes[] = {SMTP_TLS_STARTTLS, SMTP_TLS_IMPLICIT};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		kit_tls("good", "ca.pem", modes[i]);
		kit.config.username = "user";
		kit.config.password = "secret";
		kit_mail(2, CONTENT);
		assert_int_equal(kit_open(), 0);
		assert_true(kit.smtp.tls_on);
		for (int n = 0; n < 3; n++) {
			kit_mail(2, CONTENT);
			kit_send();
			assert_int_equal(kit.mail.verdict.class, SMTP_SENT);
			assert_string_equal(kit.peer.content, CONTENT);
		}
		assert_int_equal(kit.peer.violations, 0);
		assert_int_equal(kit.peer.auths, 1);
		assert_int_equal(kit.peer.tls_started, 1);
		assert_string_equal(kit.peer.password, "secret");
		assert_in(kit.notes, "- TLSv1.3 TLS1-3-");
		/* What was offered before TLS does not count: SIZE was offered only after it. */
		assert_in(kit.peer.mail_line, " SIZE=26");
		kit_end();
	}
}

/* A large mail over TLS: several records, both ways in parts. */
static void test_large(void **state)
{
	static char content[50001];

	(void)state;
	for (size_t i = 0; i < sizeof(content) - 1; i++)
		content[i] = i % 80 == 78 ? '\r' : i % 80 == 79 ? '\n' : (char)('a' + i % 26);
	kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	sim_faults()->net.split_percent = 50;
	kit_mail(1, content);
	assert_int_equal(kit_all(), SMTP_SENT);
	assert_int_equal(kit.peer.content_len, sizeof(content) - 1);
	assert_memory_equal(kit.peer.content, content, sizeof(content) - 1);
	kit_end();
}

static const struct {
	const char *server, *ca, *host;
	int err;
	const char *why;
} certs[] = {
	{"good", "ca.pem", NULL, 0, NULL},
	{"good", "ca.der", NULL, 0, NULL},
	{"good", "bundle.pem", NULL, 0, NULL},
	{"mid", "ca.pem", NULL, 0, NULL},
	{"mid", "bundle.pem", NULL, 0, NULL},
	{"self", "self.crt", NULL, 0, NULL},
	{"good", "good.crt", NULL, 0, NULL}, /* pinned */
	{"wrong", "good.crt", NULL, ERR_TLS_CERT, "unknown issuer O=Postern Tests, CN=Tests Root"},
	{"address", "ca.pem", "10.0.0.1", 0, NULL},
	{"good", "ca.pem", "10.0.0.1", ERR_TLS_CERT, "it is for mail.example.com, expected 10.0.0.1"},
	{"wrong", "ca.pem", NULL, ERR_TLS_CERT, "it is for other.example.com, expected mail.example.com"},
	{"expired", "ca.pem", NULL, ERR_TLS_CERT, "it expired on 2024-05-01"},
	{"future", "ca.pem", NULL, ERR_TLS_CERT, "it is not valid before 2030-01-01"},
	{"unknown", "ca.pem", NULL, ERR_TLS_CERT, "unknown issuer O=Postern Tests, CN=Nobody's Root"},
	{"self", "ca.pem", NULL, ERR_TLS_CERT, "unknown issuer CN=mail.example.com"},
	{"good", "other.pem", NULL, ERR_TLS_CERT, "unknown issuer O=Postern Tests, CN=Tests Root"},
	/* The issuer's name is right, its signature is not. */
	{"imposter", "ca.pem", NULL, ERR_TLS_CERT, "unknown issuer O=Postern Tests, CN=Tests Root"},
	/* Issued by a server's certificate, which is no CA, whether that is in the chain or trusted. */
	{"leaf", "ca.pem", NULL, ERR_TLS_CERT, "unknown issuer CN=mail.example.com"},
	{"leaf", "good.crt", NULL, ERR_TLS_CERT, "unknown issuer CN=mail.example.com"},
	{"weak", "ca.pem", NULL, ERR_TLS_CERT, "its key or signature is too weak"},
	{"sha1", "ca.pem", NULL, ERR_TLS_CERT, "its key or signature is too weak"},
	{"oldmid", "ca.pem", NULL, ERR_TLS_CERT, "it expired on 2024-05-01"},
};

static void test_certificates(void **state)
{
	static const enum smtp_tls modes[] = {SMTP_TLS_STARTTLS, SMTP_TLS_IMPLICIT};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(certs) / sizeof(certs[0]); i++) {
		kit_tls(certs[i / 2].server, certs[i / 2].ca, modes[i % 2]);
		if (certs[i / 2].host != NULL) kit.config.host = certs[i / 2].host;
		int rc = kit_open();
		if (rc != certs[i / 2].err)
			fail_msg("%s with %s: %s, %s", certs[i / 2].server, certs[i / 2].ca, err_name(rc),
				 kit.notes);
		if (rc < 0) {
			assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
			assert_in(kit.smtp.verdict.reply.text, certs[i / 2].why);
		}
		kit_end();
	}
}

static void test_unverified(void **state)
{
	struct net_tls_settings settings = {.side = NET_TLS_CLIENT, .insecure = true};
	char text[200];
	struct buf why;

	(void)state;
	for (size_t i = 0; i < sizeof(certs) / sizeof(certs[0]); i++) {
		/* 1024 bits are too few for RSA-PSS over SHA-512, which mbedTLS wants to use as a server. */
		if (strcmp(certs[i].server, "weak") == 0) continue;
		kit_tls(certs[i].server, "ca.pem", SMTP_TLS_STARTTLS);
		net_tls_config_close(&kit.client_tls);
		buf_init(&why, text, sizeof(text));
		assert_int_equal(net_tls_config_init(&kit.client_tls, &settings, &why), 0);
		kit_mail(1, CONTENT);
		if (kit_all() != SMTP_SENT) fail_msg("%s: %s", certs[i].server, kit.notes);
		kit_end();
	}
}

/* The device has no clock: the end is judged against the floor, the begin is not judged, the rest is. */
static void test_clock_unset(void **state)
{
	static const struct {
		const char *server;
		int err;
	} cases[] = {{"good", 0},
		     {"future", 0},
		     {"expired", ERR_TLS_CERT},
		     {"wrong", ERR_TLS_CERT},
		     {"unknown", ERR_TLS_CERT}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_tls(cases[i].server, "ca.pem", SMTP_TLS_STARTTLS);
		sim_clock_jump(-INT64_C(50) * 365 * 86400 * 1000);
		assert_int_equal(kit_open(), cases[i].err);
		kit_end();
	}
}

static void test_starttls_attacks(void **state)
{
	(void)state;
	/* Taken out of the offer. */
	kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	kit.peer.caps = "PIPELINING,AUTH PLAIN";
	kit.config.username = "u";
	kit.config.password = "p";
	assert_int_equal(kit_open(), ERR_TLS);
	assert_string_equal(kit.smtp.verdict.reply.text, "the server does not offer STARTTLS");
	kit_close();
	assert_null(strstr(kit.peer.log, "AUTH"));
	kit_end();
	/* EHLO refused, so that nothing is offered. */
	kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	kit.peer.replies[PEER_EHLO] = "502 what";
	assert_int_equal(kit_open(), ERR_TLS);
	kit_end();
	/* Refused. */
	static const char *const refusals[] = {"454 4.7.0 not now", "502 5.5.1 no", "421 bye", "354 what"};
	for (size_t i = 0; i < 4; i++) {
		kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
		kit.peer.replies[PEER_STARTTLS] = refusals[i];
		assert_int_equal(kit_open(), ERR_TLS);
		assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
		kit_end();
	}
	/* Something behind the 220, in the clear. */
	static const char *const behind[] = {"250 2.0.0 queued as EVIL\r\n", "2", "\r\n"};
	for (size_t i = 0; i < 3; i++) {
		kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
		kit.peer.behind_starttls = behind[i];
		assert_int_equal(kit_open(), ERR_TLS);
		assert_in(kit.smtp.verdict.reply.text, "injection");
		assert_int_equal(kit.peer.tls_started, 0);
		kit_end();
	}
}

static void test_no_tls_there(void **state)
{
	(void)state;
	/* Implicit TLS to a port that speaks in the clear, and the other way round. */
	kit_tls("good", "ca.pem", SMTP_TLS_IMPLICIT);
	kit.peer.implicit_tls = false;
	assert_int_equal(kit_open(), ERR_TLS);
	assert_in(kit.smtp.verdict.reply.text, "no TLS comes from the other side");
	kit_end();
	kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	kit.peer.implicit_tls = true;
	assert_true(kit_open() < 0);
	assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
	kit_end();
}

/* ---- configurations ---- */

static char why_text[200];

static int config(struct net_tls_settings settings)
{
	struct net_tls_config c;
	struct buf why;

	buf_init(&why, why_text, sizeof(why_text));
	int rc = net_tls_config_init(&c, &settings, &why);
	if (rc == 0) net_tls_config_close(&c);
	return rc;
}

static int config_client(const char *ca)
{
	return config((struct net_tls_settings){.side = NET_TLS_CLIENT, .ca_path = ca});
}

static int config_server(const char *cert, const char *key)
{
	return config((struct net_tls_settings){.side = NET_TLS_SERVER, .cert_path = cert, .key_path = key});
}

static void test_configurations(void **state)
{
	(void)state;
	kit_tls("good", "bundle.pem", SMTP_TLS_STARTTLS);
	assert_int_equal(config_client("/nowhere"), ERR_NOT_FOUND);
	assert_string_equal(why_text, "CA file /nowhere: not found");
	assert_int_equal(config_client("/certs/good.key"), ERR_INVALID);
	assert_string_equal(why_text, "CA file /certs/good.key: no certificate in it");
	assert_int_equal(config_server(NULL, NULL), ERR_INVALID);
	assert_int_equal(config_server("/certs/badkey.pem", NULL), ERR_INVALID);
	assert_in(why_text, "the key belongs to another certificate");
	assert_int_equal(config_server("/certs/good.crt", NULL), ERR_INVALID);
	assert_in(why_text, "no private key");
	assert_int_equal(config_server("/certs/good.crt", "/certs/good.key"), 0);
	/* The system's bundle, none there and there. */
	assert_int_equal(config_client(NULL), ERR_NOT_FOUND);
	sim_disk_write("/etc/ssl/cert.pem", 0, "-----BEGIN CERTIFICATE-----\n", 28);
	assert_int_equal(config_client(NULL), ERR_INVALID);
	kit_end();
}

static int count_name(void *arg, const char *name)
{
	(void)name;
	++*(int *)arg;
	return 0;
}

/* The bundle is made once, and anew when its source has changed or it was damaged. */
static void test_bundle_kept(void **state)
{
	struct hal_storage_info before, after;
	int files = 0;

	(void)state;
	kit_tls("good", "bundle.pem", SMTP_TLS_STARTTLS);
	hal_storage_info(&before);
	assert_int_equal(config_client("/certs/bundle.pem"), 0);
	hal_storage_info(&after);
	assert_int_equal(before.written_bytes, after.written_bytes);
	sim_disk_write("/certs/bundle.pem", sim_disk_size("/certs/bundle.pem"), "\n", 1);
	assert_int_equal(config_client("/certs/bundle.pem"), 0);
	hal_storage_info(&after);
	assert_true(after.written_bytes > before.written_bytes + 20000);
	assert_int_equal(hal_storage_list("ca", count_name, &files), 0);
	assert_int_equal(files, 1);
	kit_mail(1, CONTENT);
	assert_int_equal(kit_all(), SMTP_SENT);
	/* No space for it: said, and nothing half made is left. */
	sim_disk_write("/certs/bundle.pem", sim_disk_size("/certs/bundle.pem"), "\n", 1);
	for (unsigned at = 1; at < 8; at++) {
		sim_faults()->disk.fail_calls =
			SIM_DISK_WRITE | SIM_DISK_SYNC | SIM_DISK_RENAME | SIM_DISK_CREATE;
		sim_faults()->disk.fail_at = at;
		sim_faults()->disk.fail_on = true;
		sim_faults()->disk.fail_err = ERR_NO_SPACE;
		assert_int_equal(config_client("/certs/bundle.pem"), ERR_NO_SPACE);
		sim_faults()->disk.fail_calls = 0;
		files = 0;
		assert_int_equal(hal_storage_list("ca", count_name, &files), 0);
		assert_int_equal(files, 1);
	}
	assert_int_equal(config_client("/certs/bundle.pem"), 0);
	kit_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),        cmocka_unit_test(test_large),
		cmocka_unit_test(test_certificates), cmocka_unit_test(test_unverified),
		cmocka_unit_test(test_clock_unset),  cmocka_unit_test(test_starttls_attacks),
		cmocka_unit_test(test_no_tls_there), cmocka_unit_test(test_configurations),
		cmocka_unit_test(test_bundle_kept),
	};

	return cmocka_run_group_tests_name("smtp tls", tests, NULL, NULL);
}
