/* AUTH as a whole conversation, with servers that do it right and with those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/digest.h"
#include "base/err.h"
#include "hal_clock.h"
#include "sim/sim.h"
#include "smtp_kit.h"

#define PASSWORD "open,sesame=\xc3\xa4!"
#define USERNAME "u,s=er@example.com"
#define SALT     "0123456789abcdef"

/* ---- a server that answers AUTH by a script ---- */

#define REPLIES_MAX 8

/* Replies that are computed: the right SCRAM messages, the latter also with a wrong signature. */
#define SCRAM_FIRST "@first"
#define SCRAM_FINAL "@final"
#define SCRAM_WRONG "@wrong"
/* A refusal that repeats what the client said, or what that means. */
#define ECHO      "@echo"
#define ECHO_TEXT "@text"

static struct {
	const char *caps; /* the line of AUTH */
	const char *replies
		[REPLIES_MAX];  /* to the AUTH command and each line after it; after the last it hangs up */
	const char *iterations; /* NULL: 4096 */
	/* what happened */
	unsigned auths, lines, connections, mails;
	char said[REPLIES_MAX][1024]; /* the lines of the exchange */
	bool proof_is_right;
	char bare[300], first[300]; /* SCRAM: client-first-message-bare, server-first-message */
	unsigned char salted[DIGEST_SHA256_BYTES];
} server;

static bool read_line(struct hal_stream *s, char *line, size_t cap)
{
	size_t len = 0;
	char c;

	while (hal_stream_recv(s, &c, 1, HAL_FOREVER) == 1) {
		if (c == '\n') {
			line[len > 0 && line[len - 1] == '\r' ? len - 1 : len] = '\0';
			return true;
		}
		if (len + 1 < cap) line[len++] = c;
	}
	return false;
}

static void put(struct hal_stream *s, const char *text)
{
	net_send_all(s, text, strlen(text), HAL_FOREVER, NULL);
	net_send_all(s, "\r\n", 2, HAL_FOREVER, NULL);
}

static void put_challenge(struct hal_stream *s, const char *text)
{
	char line[600];
	struct buf b;

	buf_init(&b, line, sizeof(line));
	buf_puts(&b, "334 ");
	buf_base64(&b, text, strlen(text));
	put(s, line);
}

static void decode(const char *base64, char *out, size_t cap)
{
	int len = base64_decode(str_from(base64), out, cap - 1);

	out[len < 0 ? 0 : len] = '\0';
}

/* The server's side of RFC 5802 section 3, from the password. */
static void scram_first(struct hal_stream *s, const char *auth_line)
{
	char text[400];
	struct digest_pbkdf2 p;

	decode(auth_line + strlen("AUTH SCRAM-SHA-256 "), text, sizeof(text));
	assert_memory_equal(text, "n,,n=u=2Cs=3Der@example.com,r=", 30);
	snprintf(server.bare, sizeof(server.bare), "%.290s", text + 3);
	const char *salt = "MDEyMzQ1Njc4OWFiY2RlZg==";
	snprintf(server.first, sizeof(server.first), "r=%.100sserver,s=%s,i=%s", text + 30, salt,
		 server.iterations != NULL ? server.iterations : "4096");
	digest_pbkdf2_init(&p, STR(PASSWORD), STR(SALT), 4096);
	while (!digest_pbkdf2_run(&p, 5000))
		;
	digest_pbkdf2_finish(&p, server.salted);
	put_challenge(s, server.first);
}

static void hmac(const unsigned char *key, const char *text, unsigned char out[DIGEST_SHA256_BYTES])
{
	struct digest_hmac h;

	digest_hmac_init(&h, key, DIGEST_SHA256_BYTES);
	digest_hmac_add(&h, text, strlen(text));
	digest_hmac_finish(&h, out);
}

static void scram_final(struct hal_stream *s, const char *line, bool right)
{
	unsigned char key[DIGEST_SHA256_BYTES], stored[DIGEST_SHA256_BYTES], signature[DIGEST_SHA256_BYTES];
	unsigned char proof[DIGEST_SHA256_BYTES];
	char text[500], message[1200], final[100];
	struct digest d;
	struct buf b;

	decode(line, text, sizeof(text));
	char *p = strstr(text, ",p=");
	assert_non_null(p);
	*p = '\0';
	snprintf(message, sizeof(message), "%s,%s,%s", server.bare, server.first, text);
	assert_int_equal(base64_decode(str_from(p + 3), proof, sizeof(proof)), sizeof(proof));
	hmac(server.salted, "Client Key", key);
	digest_init(&d);
	digest_add(&d, key, sizeof(key));
	digest_finish(&d, stored);
	hmac(stored, message, signature);
	server.proof_is_right = true;
	for (size_t i = 0; i < sizeof(proof); i++)
		server.proof_is_right &= (proof[i] ^ signature[i]) == key[i];
	hmac(server.salted, "Server Key", key);
	hmac(key, message, signature);
	if (!right) signature[31] ^= 1;
	buf_init(&b, final, sizeof(final));
	buf_puts(&b, "v=");
	buf_base64(&b, signature, sizeof(signature));
	put_challenge(s, final);
}

static void put_echo(struct hal_stream *s, const char *line, bool in_base64)
{
	char text[500], reply[1100];

	decode(line, text, sizeof(text));
	snprintf(reply, sizeof(reply), "535 5.7.8 '%.1000s' is wrong", in_base64 ? line : text);
	put(s, reply);
}

/* False: hangs up. */
static bool exchange(struct hal_stream *s, const char *line)
{
	const char *reply = server.lines < REPLIES_MAX ? server.replies[server.lines] : NULL;

	if (reply == NULL) return false;
	snprintf(server.said[server.lines++], sizeof(server.said[0]), "%.1000s", line);
	if (strcmp(reply, SCRAM_FIRST) == 0)
		scram_first(s, line);
	else if (strcmp(reply, SCRAM_FINAL) == 0 || strcmp(reply, SCRAM_WRONG) == 0)
		scram_final(s, line, strcmp(reply, SCRAM_FINAL) == 0);
	else if (strcmp(reply, ECHO) == 0 || strcmp(reply, ECHO_TEXT) == 0)
		put_echo(s, line, strcmp(reply, ECHO) == 0);
	else
		put(s, reply);
	return true;
}

static void serve(struct hal_stream *s, void *arg)
{
	char line[8192], caps[256];
	bool in_auth = false;

	(void)arg;
	server.connections++;
	put(s, "220 hello");
	while (read_line(s, line, sizeof(line))) {
		bool is_auth = strncmp(line, "AUTH ", 5) == 0;

		server.auths += is_auth;
		if (strncmp(line, "EHLO ", 5) == 0) {
			snprintf(caps, sizeof(caps), "250-peer.example\r\n250 %s", server.caps);
			put(s, caps);
		} else if (is_auth ||
			   (in_auth && strncmp(line, "MAIL", 4) != 0 && strcmp(line, "QUIT") != 0)) {
			if (!exchange(s, line)) return;
			const char *reply = server.replies[server.lines - 1];
			in_auth = reply[0] == '@' || reply[0] == '3';
		} else if (strcmp(line, "DATA") == 0) {
			put(s, "354 go");
			while (read_line(s, line, sizeof(line)) && strcmp(line, ".") != 0)
				;
			server.mails++;
			put(s, "250 taken");
		} else {
			put(s, "250 fine");
		}
	}
}

/* A world with that server on loopback, or beyond it. */
static void stage(const char *caps, enum smtp_auth auth, const char *const *replies, size_t count)
{
	kit_plain();
	memset(&server, 0, sizeof(server));
	server.caps = caps;
	memcpy(server.replies, replies, count * sizeof(replies[0]));
	sim_peer_close(KIT_LOOPBACK, KIT_PORT);
	sim_peer_listen(KIT_LOOPBACK, KIT_PORT, serve, NULL);
	kit.config.host = KIT_LOOPBACK;
	kit.config.auth = auth;
	kit.config.username = USERNAME;
	kit.config.password = PASSWORD;
}

#define STAGE(caps, auth, ...)                                                                               \
	stage(caps, auth, (const char *const[]){__VA_ARGS__},                                                \
	      sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void assert_notes(const char *text)
{
	if (strstr(kit.notes, text) == NULL) fail_msg("\"%s\" is not in:\n%s", text, kit.notes);
}

/* ---- as it should be ---- */

static void test_scram(void **state)
{
	char text[200];

	(void)state;
	STAGE("AUTH PLAIN SCRAM-SHA-256 CRAM-MD5", SMTP_AUTH_AUTO, SCRAM_FIRST, SCRAM_FINAL,
	      "235 2.7.0 welcome");
	kit_mail(1, "x\r\n");
	assert_int_equal(kit_all(), SMTP_SENT);
	assert_true(server.proof_is_right);
	assert_int_equal(server.mails, 1);
	assert_string_equal(server.said[2], "");
	assert_notes("C AUTH SCRAM-SHA-256 ***\n");
	assert_notes("C ***\n");
	char *nonce = strstr(server.bare, "r=") + 2;
	assert_int_equal(strlen(nonce), SMTP_NONCE_MAX);
	strcpy(text, nonce);
	/* A nonce is used once. */
	server.lines = 0;
	assert_int_equal(kit_open(), 0);
	assert_string_not_equal(strstr(server.bare, "r=") + 2, text);
	kit_end();
}

static void test_cram_md5(void **state)
{
	char text[200], expected[200];
	unsigned char digest[DIGEST_MD5_BYTES];
	struct buf b;

	(void)state;
	STAGE("AUTH CRAM-MD5 PLAIN", SMTP_AUTH_AUTO, "334 PDEyM0BtYWlsLmV4YW1wbGU+", "235 welcome");
	assert_int_equal(kit_open(), 0);
	assert_string_equal(server.said[0], "AUTH CRAM-MD5");
	decode(server.said[1], text, sizeof(text));
	digest_hmac_md5(STR(PASSWORD), STR("<123@mail.example>"), digest);
	buf_init(&b, expected, sizeof(expected));
	buf_puts(&b, USERNAME " ");
	digest_hex(&b, digest, sizeof(digest));
	assert_string_equal(text, expected);
	assert_notes("C AUTH CRAM-MD5\nS 334 PDEyM0BtYWlsLmV4YW1wbGU+\nC ***\nS 235 welcome\n");
	kit_end();
}

static void test_xoauth2(void **state)
{
	char text[200];

	(void)state;
	STAGE("AUTH PLAIN XOAUTH2", SMTP_AUTH_XOAUTH2, "235 welcome");
	assert_int_equal(kit_open(), 0);
	assert_memory_equal(server.said[0], "AUTH XOAUTH2 ", 13);
	decode(server.said[0] + 13, text, sizeof(text));
	assert_string_equal(text, "user=" USERNAME "\001auth=Bearer " PASSWORD "\001\001");
	assert_notes("C AUTH XOAUTH2 ***\n");
	kit_end();

	/* {"status":"401","schemes":"bearer"}: answered by an empty line, and told. */
	STAGE("AUTH XOAUTH2", SMTP_AUTH_XOAUTH2,
	      "334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=", "535 5.7.8 not accepted");
	assert_int_equal(kit_open(), ERR_AUTH);
	assert_int_equal(server.lines, 2);
	assert_string_equal(server.said[1], "");
	assert_int_equal(kit.smtp.verdict.reply.code, 535);
	assert_string_equal(kit.smtp.verdict.reply.text, "not accepted (token refused: status 401)");
	kit_end();
}

/* ---- mechanisms refused, credentials refused ---- */

static void test_next_mechanism(void **state)
{
	static const struct {
		const char *caps;
		const char *replies[REPLIES_MAX];
		int rc;
		unsigned auths;
		const char *last; /* how the last AUTH begins */
	} cases[] = {
		{"AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN",
		 {"504 5.5.4 no such mechanism", "334 PDE+", "235 ok"},
		 0,
		 2,
		 "AUTH CRAM-MD5"},
		{"AUTH SCRAM-SHA-256 PLAIN", {"534 5.7.9 too weak", "235 ok"}, 0, 2, "AUTH PLAIN "},
		{"AUTH SCRAM-SHA-256 PLAIN",
		 {SCRAM_FIRST, "432 4.7.12 transition needed", "235 ok"},
		 0,
		 2,
		 "AUTH PLAIN "},
		{"AUTH CRAM-MD5 PLAIN", {"538 5.7.11 encryption required", "235 ok"}, 0, 2, "AUTH PLAIN "},
		/* once only */
		{"AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN",
		 {"504 no", "504 no", "235 ok"},
		 ERR_AUTH,
		 2,
		 "AUTH CRAM-MD5"},
		/* and only where there is another */
		{"AUTH PLAIN", {"504 no", "235 ok"}, ERR_AUTH, 1, "AUTH PLAIN "},
		{"AUTH PLAIN XOAUTH2", {"504 no", "235 ok"}, ERR_AUTH, 1, "AUTH PLAIN "},
		/* Credentials that are refused are not said again. */
		{"AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN",
		 {"535 5.7.8 no", "235 ok"},
		 ERR_AUTH,
		 1,
		 "AUTH SCRAM-SHA-256 "},
		{"AUTH CRAM-MD5 PLAIN", {"334 PDE+", "535 5.7.8 no", "235 ok"}, ERR_AUTH, 1, "AUTH CRAM-MD5"},
		{"AUTH CRAM-MD5 PLAIN", {"530 5.7.0 no", "235 ok"}, ERR_AUTH, 1, "AUTH CRAM-MD5"},
		{"AUTH CRAM-MD5 PLAIN", {"501 5.5.4 no", "235 ok"}, ERR_AUTH, 1, "AUTH CRAM-MD5"},
		{"AUTH CRAM-MD5 PLAIN", {"454 4.7.0 later", "235 ok"}, ERR_REMOTE_BUSY, 1, "AUTH CRAM-MD5"},
		{"AUTH CRAM-MD5 PLAIN",
		 {"334 PDE+", "454 4.7.0 later", "235 ok"},
		 ERR_REMOTE_BUSY,
		 1,
		 "AUTH CRAM-MD5"},
		{"AUTH CRAM-MD5 PLAIN", {"421 4.3.2 bye", "235 ok"}, ERR_REMOTE_BUSY, 1, "AUTH CRAM-MD5"},
		{"AUTH CRAM-MD5 PLAIN", {"354 what", "235 ok"}, ERR_PROTOCOL, 1, "AUTH CRAM-MD5"},
		{"AUTH CRAM-MD5 PLAIN", {"334 PDE+"}, ERR_CLOSED, 1, "AUTH CRAM-MD5"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stage(cases[i].caps, SMTP_AUTH_AUTO, cases[i].replies, REPLIES_MAX);
		int rc = kit_open();
		const char *last = "";
		for (unsigned n = 0; n < server.lines; n++)
			if (strncmp(server.said[n], "AUTH ", 5) == 0) last = server.said[n];
		if (rc != cases[i].rc || server.auths != cases[i].auths ||
		    strncmp(last, cases[i].last, strlen(cases[i].last)))
			fail_msg("row %zu: %s, %u AUTH, the last %s\n%s", i, err_name(rc), server.auths, last,
				 kit.notes);
		if (rc < 0) assert_int_equal(kit.smtp.verdict.class, SMTP_HOLD);
		kit_end();
	}
	/* What is configured is not left for another. */
	STAGE("AUTH SCRAM-SHA-256 PLAIN", SMTP_AUTH_SCRAM_SHA_256, "504 5.5.4 no", "235 ok");
	assert_int_equal(kit_open(), ERR_AUTH);
	assert_int_equal(server.auths, 1);
	kit_end();
}

/* ---- servers that do it wrong ---- */

static void test_bad_servers(void **state)
{
	static const struct {
		enum smtp_auth auth;
		const char *replies[REPLIES_MAX];
		const char *iterations;
		int rc;
		unsigned lines; /* said by us */
		const char *text;
	} cases[] = {
		/* exchanges that do not end */
		{SMTP_AUTH_PLAIN, {"334 ", "334 ", "334 "}, NULL, ERR_AUTH, 1, "does not end"},
		{SMTP_AUTH_LOGIN, {"334 ", "334 ", "334 ", "334 "}, NULL, ERR_AUTH, 3, "does not end"},
		{SMTP_AUTH_CRAM_MD5, {"334 PDE+", "334 PDE+", "334 PDE+"}, NULL, ERR_AUTH, 2, "does not end"},
		{SMTP_AUTH_XOAUTH2, {"334 e30=", "334 e30=", "334 e30="}, NULL, ERR_AUTH, 2, "does not end"},
		{SMTP_AUTH_SCRAM_SHA_256,
		 {SCRAM_FIRST, SCRAM_FINAL, "334 ", "334 "},
		 NULL,
		 ERR_AUTH,
		 3,
		 "does not end"},
		/* 235 before the credentials */
		{SMTP_AUTH_LOGIN, {"235 ok"}, NULL, ERR_AUTH, 1, "before the credentials"},
		{SMTP_AUTH_LOGIN, {"334 ", "235 ok"}, NULL, ERR_AUTH, 2, "before the credentials"},
		{SMTP_AUTH_CRAM_MD5, {"235 ok"}, NULL, ERR_AUTH, 1, "before the credentials"},
		{SMTP_AUTH_SCRAM_SHA_256, {"235 ok"}, NULL, ERR_AUTH, 1, "without a proof"},
		{SMTP_AUTH_SCRAM_SHA_256, {SCRAM_FIRST, "235 ok"}, NULL, ERR_AUTH, 2, "without a proof"},
		/* challenges */
		{SMTP_AUTH_CRAM_MD5, {"334 "}, NULL, ERR_AUTH, 1, "challenge is empty"},
		{SMTP_AUTH_CRAM_MD5, {"334"}, NULL, ERR_AUTH, 1, "challenge is empty"},
		{SMTP_AUTH_CRAM_MD5, {"334 <no@base64>"}, NULL, ERR_AUTH, 1, "not base64"},
		{SMTP_AUTH_CRAM_MD5, {"334 AGFi"}, NULL, ERR_AUTH, 1, "no text"},
		{SMTP_AUTH_SCRAM_SHA_256, {"334 "}, NULL, ERR_AUTH, 1, "is missing"},
		{SMTP_AUTH_SCRAM_SHA_256, {"334 !!"}, NULL, ERR_AUTH, 1, "not base64"},
		{SMTP_AUTH_SCRAM_SHA_256,
		 {"334 cj14LHM9QUFBQSxpPTQwOTY="},
		 NULL,
		 ERR_AUTH,
		 1,
		 "nonce"}, /* r=x,s=AAAA,i=4096 */
		{SMTP_AUTH_SCRAM_SHA_256,
		 {"334 ZT1vdGhlci1lcnJvchtbMko="},
		 NULL,
		 ERR_AUTH,
		 1,
		 "other-error\\x1B[2J"},
		/* SCRAM's numbers */
		{SMTP_AUTH_SCRAM_SHA_256, {SCRAM_FIRST}, "0", ERR_AUTH, 1, "fewer than 4096"},
		{SMTP_AUTH_SCRAM_SHA_256, {SCRAM_FIRST}, "1", ERR_AUTH, 1, "fewer than 4096"},
		{SMTP_AUTH_SCRAM_SHA_256, {SCRAM_FIRST}, "2147483648", ERR_AUTH, 1, "more than 600000"},
		/* SCRAM's end */
		{SMTP_AUTH_SCRAM_SHA_256, {SCRAM_FIRST, SCRAM_WRONG}, NULL, ERR_AUTH, 2, "proof is wrong"},
		{SMTP_AUTH_SCRAM_SHA_256, {SCRAM_FIRST, "334 "}, NULL, ERR_AUTH, 2, "does not prove"},
		{SMTP_AUTH_SCRAM_SHA_256,
		 {SCRAM_FIRST, "334 ZT1pbnZhbGlkLXByb29m"},
		 NULL,
		 ERR_AUTH,
		 2,
		 "invalid-proof"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stage("AUTH=PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2", cases[i].auth, cases[i].replies,
		      REPLIES_MAX);
		server.iterations = cases[i].iterations;
		int rc = kit_open();
		const char *text = kit.smtp.verdict.reply.text;
		if (rc != cases[i].rc || kit.smtp.verdict.class != SMTP_HOLD ||
		    server.lines != cases[i].lines || strstr(text, cases[i].text) == NULL)
			fail_msg("row %zu: %s after %u lines: %s\n%s", i, err_name(rc), server.lines, text,
				 kit.notes);
		kit_end();
	}
}

/* A challenge of any length costs us no more than reading it. */
static void test_huge_challenge(void **state)
{
	static char reply[1300000];
	static const struct {
		size_t len;
		int rc;
	} cases[] = {{1400, ERR_AUTH}, {5000, ERR_AUTH}, {1000000, ERR_AUTH}, {1200000, ERR_PROTOCOL}};
	static const enum smtp_auth readers[] = {SMTP_AUTH_CRAM_MD5, SMTP_AUTH_SCRAM_SHA_256};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		memset(reply, 'A', sizeof(reply));
		memcpy(reply, "334 ", 4);
		reply[4 + cases[i / 2].len] = '\0';
		STAGE("AUTH CRAM-MD5 SCRAM-SHA-256", readers[i % 2], reply);
		kit.config.note = NULL;
		int rc = kit_open();
		if (rc != cases[i / 2].rc) fail_msg("%zu bytes: %s", cases[i / 2].len, err_name(rc));
		if (rc == ERR_AUTH)
			assert_non_null(strstr(kit.smtp.verdict.reply.text, "challenge is too long"));
		assert_int_equal(server.lines, 1);
		kit_end();
	}
}

/* 334 behind 235: it is no reply to what comes next, and no mail suffers. */
static void test_challenge_after_success(void **state)
{
	(void)state;
	STAGE("AUTH CRAM-MD5", SMTP_AUTH_AUTO, "334 PDE+", "235 ok\r\n334 PDE+");
	kit_mail(1, "x\r\n");
	enum smtp_class class = kit_all();
	assert_true(class == SMTP_TRY || class == SMTP_AGAIN || class == SMTP_HOLD);
	assert_int_equal(server.lines, 2);
	assert_int_equal(server.mails, 0);
	kit_end();
}

/* RFC 3207 section 4.2: what was offered in the clear does not count. */
static void test_offer_changes_with_tls(void **state)
{
	static const struct {
		const char *before, *after;
		int rc;
		const char *said;
	} cases[] = {
		{"STARTTLS,AUTH SCRAM-SHA-256 CRAM-MD5", "AUTH PLAIN", 0, "C AUTH PLAIN ***\n"},
		{"STARTTLS,AUTH PLAIN", "AUTH LOGIN CRAM-MD5", 0, "C AUTH LOGIN\n"},
		{"STARTTLS,AUTH PLAIN LOGIN", "SIZE 1000", ERR_AUTH, NULL},
		{"STARTTLS", "AUTH=LOGIN", 0, "C AUTH LOGIN\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
		kit.peer.caps = cases[i].before;
		kit.peer.caps_tls = cases[i].after;
		kit.config.username = USERNAME;
		kit.config.password = PASSWORD;
		int rc = kit_open();
		if (rc != cases[i].rc) fail_msg("row %zu: %s\n%s", i, err_name(rc), kit.notes);
		if (cases[i].said != NULL) {
			assert_notes(cases[i].said);
			assert_string_equal(kit.peer.password, PASSWORD);
		} else {
			assert_null(strstr(kit.peer.log, "AUTH"));
		}
		kit_end();
	}
}

/* Nothing that could be computed back to the password is in the transcript or the verdict, whatever comes. */
static void test_transcript(void **state)
{
	static const enum smtp_auth all[] = {SMTP_AUTH_PLAIN, SMTP_AUTH_LOGIN, SMTP_AUTH_CRAM_MD5,
					     SMTP_AUTH_SCRAM_SHA_256, SMTP_AUTH_XOAUTH2};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char first[1024];

		if (all[i] == SMTP_AUTH_SCRAM_SHA_256)
			STAGE("AUTH SCRAM-SHA-256", all[i], SCRAM_FIRST, "535 5.7.8 no");
		else
			STAGE("AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2", all[i], "334 PDE+", "334 PDE+",
			      "535 5.7.8 no");
		assert_int_equal(kit_open(), ERR_AUTH);
		assert_true(server.lines > 0);
		for (unsigned n = 0; n < server.lines; n++) {
			snprintf(first, sizeof(first), "%s", server.said[n]);
			char *response = strncmp(first, "AUTH ", 5) != 0  ? first
					 : strchr(first + 5, ' ') != NULL ? strchr(first + 5, ' ') + 1
									  : first + strlen(first);
			if (*response != '\0' && strstr(kit.notes, response) != NULL)
				fail_msg("%s is in:\n%s", response, kit.notes);
		}
		assert_null(strstr(kit.notes, "sesame"));
		for (size_t at = 0; at < sizeof(kit.smtp.out); at++)
			assert_int_equal(kit.smtp.out[at], 0);
		kit_end();
	}
}

static void test_echo(void **state)
{
	static const char *const echos[] = {ECHO, ECHO_TEXT};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		char response[500];

		if (i < 2)
			STAGE("AUTH CRAM-MD5", SMTP_AUTH_AUTO, "334 PDE+", echos[i]);
		else
			STAGE("AUTH SCRAM-SHA-256", SMTP_AUTH_AUTO, SCRAM_FIRST, echos[i - 2]);
		assert_int_equal(kit_open(), ERR_AUTH);
		assert_int_equal(server.lines, 2);
		assert_string_equal(kit.smtp.verdict.reply.text, "(repeats our credentials; not shown)");
		decode(server.said[1], response, sizeof(response));
		assert_null(strstr(kit.notes, server.said[1]));
		assert_null(strstr(kit.notes, response + strlen(response) - 20));
		kit_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scram),
		cmocka_unit_test(test_cram_md5),
		cmocka_unit_test(test_xoauth2),
		cmocka_unit_test(test_next_mechanism),
		cmocka_unit_test(test_bad_servers),
		cmocka_unit_test(test_huge_challenge),
		cmocka_unit_test(test_challenge_after_success),
		cmocka_unit_test(test_offer_changes_with_tls),
		cmocka_unit_test(test_transcript),
		cmocka_unit_test(test_echo),
	};

	return cmocka_run_group_tests_name("smtp auth dialogue", tests, NULL, NULL);
}
