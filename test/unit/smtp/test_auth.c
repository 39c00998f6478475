/* Capabilities, mechanisms, and what each says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/err.h"
#include "smtp/parts.h"

/* What the server says without base64, to what is sent without base64. */
static struct {
	struct smtp_exchange x;
	char line[8192], why[200], said[6200];
	size_t shown;
} t;

static void begin(enum smtp_auth mechanism, const char *nonce)
{
	memset(&t, 0, sizeof(t));
	t.x.mechanism = mechanism;
	strcpy(t.x.nonce, nonce);
}

/* One step; challenge as it stands behind 334. The decoded response is in t.said, its length is returned. */
static int step_raw(const struct smtp_login *login, struct str challenge)
{
	struct smtp_auth_line out;
	struct buf why;

	buf_init(&out.line, t.line, sizeof(t.line));
	buf_init(&why, t.why, sizeof(t.why));
	out.why = &why;
	int rc = smtp_auth_next(&t.x, login, challenge, &out);
	if (rc < 0) return rc;
	t.shown = out.shown;
	const char *response = strrchr(t.line, ' ') != NULL ? strrchr(t.line, ' ') + 1 : t.line;
	if (strncmp(t.line, "AUTH ", 5) == 0 && strchr(t.line + 5, ' ') == NULL) response = "";
	int len = base64_decode(str_from(response), t.said, sizeof(t.said) - 1);
	assert_int_in_range(len, 0, sizeof(t.said) - 1);
	t.said[len] = '\0';
	return len;
}

static int step(const struct smtp_login *login, const char *challenge)
{
	char text[2048];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	buf_base64(&b, challenge, strlen(challenge));
	return step_raw(login, buf_view(&b));
}

/* ---- capabilities and choice ---- */

#define BIT(m) (1u << SMTP_AUTH_##m)

static unsigned auth_of(const char *line)
{
	struct smtp_caps caps = {0};

	smtp_caps_line(&caps, str_from(line));
	return caps.auth;
}

static void test_offers(void **state)
{
	(void)state;
	assert_int_equal(auth_of("AUTH PLAIN LOGIN"), BIT(PLAIN) | BIT(LOGIN));
	assert_int_equal(auth_of("auth\tscram-sha-256  Cram-MD5 "), BIT(SCRAM_SHA_256) | BIT(CRAM_MD5));
	assert_int_equal(auth_of("AUTH=LOGIN XOAUTH2"), BIT(LOGIN) | BIT(XOAUTH2));
	assert_int_equal(auth_of("AUTH= PLAIN"), BIT(PLAIN));
	assert_int_equal(auth_of("AUTH SCRAM-SHA-1 SCRAM-SHA-256-PLUS PLAINS NTLM GSSAPI"), 0);
	assert_int_equal(auth_of("AUTH"), 0);
	assert_int_equal(auth_of("AUTHPLAIN PLAIN"), 0);
	assert_int_equal(auth_of("X-AUTH PLAIN"), 0);
}

static void test_choice(void **state)
{
	static const struct {
		const char *offer;
		enum smtp_auth wanted;
		bool private;
		unsigned refused;
		const char *password;
		int rc;
		enum smtp_auth chosen;
	} cases[] = {
		{"AUTH LOGIN PLAIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2", SMTP_AUTH_AUTO, true, 0, "p", 0,
		 SMTP_AUTH_SCRAM_SHA_256},
		{"AUTH LOGIN CRAM-MD5 PLAIN XOAUTH2", SMTP_AUTH_AUTO, true, 0, "p", 0, SMTP_AUTH_PLAIN},
		{"AUTH CRAM-MD5 LOGIN", SMTP_AUTH_AUTO, true, 0, "p", 0, SMTP_AUTH_LOGIN},
		{"AUTH CRAM-MD5", SMTP_AUTH_AUTO, true, 0, "p", 0, SMTP_AUTH_CRAM_MD5},
		{"AUTH XOAUTH2", SMTP_AUTH_AUTO, true, 0, "p", ERR_AUTH, 0},
		{"AUTH LOGIN PLAIN CRAM-MD5 SCRAM-SHA-256", SMTP_AUTH_AUTO, false, 0, "p", 0,
		 SMTP_AUTH_SCRAM_SHA_256},
		{"AUTH LOGIN PLAIN CRAM-MD5", SMTP_AUTH_AUTO, false, 0, "p", 0, SMTP_AUTH_CRAM_MD5},
		{"AUTH LOGIN PLAIN", SMTP_AUTH_AUTO, false, 0, "p", 0, SMTP_AUTH_PLAIN},
		/* what SCRAM cannot carry */
		{"AUTH LOGIN SCRAM-SHA-256", SMTP_AUTH_AUTO, true, 0, "p\x01", 0, SMTP_AUTH_LOGIN},
		{"AUTH LOGIN SCRAM-SHA-256", SMTP_AUTH_AUTO, true, 0, "\xff", 0, SMTP_AUTH_LOGIN},
		{"AUTH LOGIN SCRAM-SHA-256", SMTP_AUTH_AUTO, true, 0, "\xc3\xa4", 0, SMTP_AUTH_SCRAM_SHA_256},
		/* refused for itself */
		{"AUTH PLAIN SCRAM-SHA-256", SMTP_AUTH_AUTO, true, BIT(SCRAM_SHA_256), "p", 0,
		 SMTP_AUTH_PLAIN},
		{"AUTH PLAIN", SMTP_AUTH_AUTO, true, BIT(PLAIN), "p", ERR_AUTH, 0},
		/* configured */
		{"AUTH XOAUTH2 PLAIN", SMTP_AUTH_XOAUTH2, true, 0, "p", 0, SMTP_AUTH_XOAUTH2},
		{"AUTH PLAIN CRAM-MD5", SMTP_AUTH_CRAM_MD5, true, 0, "p", 0, SMTP_AUTH_CRAM_MD5},
		{"AUTH PLAIN", SMTP_AUTH_SCRAM_SHA_256, true, 0, "p", ERR_AUTH, 0},
		{"SIZE 100", SMTP_AUTH_PLAIN, true, 0, "p", ERR_AUTH, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct smtp_login login = {.username = "u", .password = cases[i].password};
		struct smtp_caps caps = {0};
		enum smtp_auth chosen;

		smtp_caps_line(&caps, str_from(cases[i].offer));
		int rc = smtp_auth_choose(&caps, cases[i].wanted, cases[i].private, cases[i].refused, &login,
					  &chosen);
		if (rc != cases[i].rc || (rc == 0 && chosen != cases[i].chosen))
			fail_msg("row %zu, %s: %d %s", i, cases[i].offer, rc, smtp_auth_name(chosen));
	}
}

/* ---- mechanisms of one or two words ---- */

static const struct smtp_login tim = {.username = "tim", .password = "tanstaaftanstaaf"};

static void test_plain_and_login(void **state)
{
	static char password[400];
	const struct smtp_login long_login = {.username = "tim", .password = password};

	(void)state;
	begin(SMTP_AUTH_PLAIN, "");
	assert_int_equal(step_raw(&tim, STR("")), 21); /* the example of RFC 4616 section 4 */
	assert_memory_equal(t.said, "\0tim\0tanstaaftanstaaf", 21);
	assert_string_equal(t.line, "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
	assert_int_equal(t.shown, strlen("AUTH PLAIN"));
	assert_true(t.x.complete);
	assert_int_equal(step_raw(&tim, STR("")), ERR_AUTH);
	assert_string_equal(t.why, "the server's AUTH exchange does not end");

	/* Of 510 bytes, and of 514: those go behind an empty 334. */
	for (size_t extra = 0; extra < 2; extra++) {
		size_t len = (510 - strlen("AUTH PLAIN ")) / 4 * 3 - 5 + extra;

		memset(password, 0, sizeof(password));
		memset(password, 'p', len);
		begin(SMTP_AUTH_PLAIN, "");
		int said = step_raw(&long_login, STR(""));
		assert_int_in_range(strlen(t.line), 10, 510);
		if (extra == 1) {
			assert_string_equal(t.line, "AUTH PLAIN");
			assert_false(t.x.complete);
			said = step_raw(&long_login, STR("bm90IGVtcHR5"));
			assert_int_equal(t.shown, 0);
		}
		assert_int_equal(said, 5 + len);
		assert_true(t.x.complete);
		assert_string_equal(t.said + 5, password);
	}

	begin(SMTP_AUTH_LOGIN, "");
	step_raw(&tim, STR(""));
	assert_string_equal(t.line, "AUTH LOGIN");
	assert_int_equal(t.shown, strlen(t.line));
	step_raw(&tim, STR("whatever this is"));
	assert_string_equal(t.said, "tim");
	assert_int_equal(t.shown, 0);
	assert_false(t.x.complete);
	step_raw(&tim, STR(""));
	assert_string_equal(t.said, "tanstaaftanstaaf");
	assert_true(t.x.complete);
	assert_int_equal(step_raw(&tim, STR("")), ERR_AUTH);
}

/* RFC 2195 section 2. */
static void test_cram_md5(void **state)
{
	static const struct {
		struct str challenge;
		const char *why;
	} bad[] = {
		{{"", 0}, "the server's CRAM-MD5 challenge is empty"},
		{{"   ", 3}, "the server's CRAM-MD5 challenge is empty"},
		{{"<not@base64>", 12}, "the server's AUTH challenge is not base64"},
		{{"YWJj\0ZWZ", 8}, "the server's AUTH challenge is not base64"},
		{{"YWI", 3}, "the server's AUTH challenge is not base64"},
		{{"AGFi", 4}, "the server's CRAM-MD5 challenge is no text"}, /* a NUL inside */
	};
	static char huge[SMTP_CHALLENGE_MAX + 4];

	(void)state;
	begin(SMTP_AUTH_CRAM_MD5, "");
	step_raw(&tim, STR(""));
	assert_string_equal(t.line, "AUTH CRAM-MD5");
	assert_false(t.x.complete);
	step_raw(&tim, STR("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"));
	assert_string_equal(t.said, "tim b913a602c7eda7a495b4e6e7334d3890");
	assert_string_equal(t.line, "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
	assert_int_equal(t.shown, 0);
	assert_true(t.x.complete);
	assert_int_equal(step_raw(&tim, STR("PDE+")), ERR_AUTH);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(SMTP_AUTH_CRAM_MD5, "");
		step_raw(&tim, STR(""));
		assert_int_equal(step_raw(&tim, bad[i].challenge), ERR_AUTH);
		assert_string_equal(t.why, bad[i].why);
		assert_string_equal(t.line, "");
	}
	memset(huge, 'A', sizeof(huge));
	memset(huge, 'Y', 4);
	begin(SMTP_AUTH_CRAM_MD5, "");
	step_raw(&tim, STR(""));
	assert_int_equal(step_raw(&tim, (struct str){huge, sizeof(huge)}), ERR_AUTH);
	assert_string_equal(t.why, "the server's AUTH challenge is too long");
}

static void test_xoauth2(void **state)
{
	static const struct {
		const char *challenge, *status;
	} errors[] = {
		{"{\"status\":\"401\",\"schemes\":\"bearer mac\",\"scope\":\"https://mail.google.com/\"}",
		 "401"},
		{"{ \"scope\": [1, 2], \"status\": \"invalid_token\" }", "invalid_token"},
		{"{\"status\":401}", ""},
		{"{\"status\":\"a b\"}", ""},
		{"{\"status\":\"\\u0007\"}", ""},
		{"{\"status\":\"0123456789012345678901234567890123456789\"}", ""},
		{"[\"status\"]", ""},
		{"{\"status\":", ""},
		{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", ""},
		{"", ""},
		{"no JSON", ""},
	};
	static char token[4097];
	const struct smtp_login long_login = {.username = "someuser@example.com", .password = token};
	/* Google's own example. */
	const struct smtp_login login = {.username = "someuser@example.com",
					 .password = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"};

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		begin(SMTP_AUTH_XOAUTH2, "");
		step_raw(&login, STR(""));
		assert_string_equal(
			t.line,
			"AUTH XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxb"
			"VRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==");
		assert_int_equal(t.shown, strlen("AUTH XOAUTH2"));
		assert_true(t.x.complete);
		assert_int_equal(step(&login, errors[i].challenge), 0);
		assert_string_equal(t.line, "");
		assert_string_equal(t.x.status, errors[i].status);
		assert_int_equal(step(&login, errors[i].challenge), ERR_AUTH);
	}
	begin(SMTP_AUTH_XOAUTH2, "");
	step_raw(&login, STR(""));
	assert_int_equal(step_raw(&login, STR("!no base64!")), 0);
	assert_string_equal(t.x.status, "");

	/* The longest token that can be configured. */
	memset(token, 't', sizeof(token) - 1);
	begin(SMTP_AUTH_XOAUTH2, "");
	step_raw(&long_login, STR(""));
	assert_string_equal(t.line, "AUTH XOAUTH2");
	assert_int_equal(step_raw(&long_login, STR("")), 4096 + 20 + 5 + 13 + 2);
	/* A line that does not hold it. */
	char small[200];
	struct smtp_auth_line out = {.why = NULL};
	begin(SMTP_AUTH_XOAUTH2, "");
	step_raw(&long_login, STR(""));
	buf_init(&out.line, small, sizeof(small));
	assert_int_equal(smtp_auth_next(&t.x, &long_login, STR(""), &out), ERR_TOO_LARGE);
}

/* ---- SCRAM-SHA-256 ---- */

/* RFC 7677 section 3. */
#define NONCE        "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SALT         "s=W22ZaJ0SNY7soEsUEjb6gQ=="
#define SERVER_FIRST "r=" SERVER_NONCE "," SALT ",i=4096"
static const struct smtp_login user = {.username = "user", .password = "pencil"};

static void test_scram(void **state)
{
	(void)state;
	begin(SMTP_AUTH_SCRAM_SHA_256, NONCE);
	step_raw(&user, STR(""));
	assert_string_equal(t.said, "n,,n=user,r=" NONCE);
	assert_memory_equal(t.line, "AUTH SCRAM-SHA-256 biws", 23);
	assert_int_equal(t.shown, strlen("AUTH SCRAM-SHA-256"));
	step(&user, SERVER_FIRST);
	assert_string_equal(t.said,
			    "c=biws,r=" SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
	assert_int_equal(t.shown, 0);
	assert_false(t.x.complete);
	assert_int_equal(step(&user, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), 0);
	assert_string_equal(t.line, "");
	assert_true(t.x.complete);
	assert_int_equal(step(&user, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), ERR_AUTH);

	/* Extensions behind what is known are for whoever knows them. */
	begin(SMTP_AUTH_SCRAM_SHA_256, NONCE);
	step_raw(&user, STR(""));
	assert_true(step(&user, SERVER_FIRST ",x=y,z=") > 0);
}

static void test_scram_names(void **state)
{
	static const struct {
		const char *name, *said;
	} names[] = {
		{"a,b=c", "n,,n=a=2Cb=3Dc,r=N"},
		{",,==", "n,,n==2C=2C=3D=3D,r=N"},
		{"j\xc3\xb6rg@example.com", "n,,n=j\xc3\xb6rg@example.com,r=N"},
		{"a b", "n,,n=a b,r=N"},
	};
	static const char *const bad[] = {"", "a\x01", "a\nb", "a\tb", "a\x7f", "\xff", "\xc3"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct smtp_login login = {.username = names[i].name, .password = "p"};

		begin(SMTP_AUTH_SCRAM_SHA_256, "N");
		step_raw(&login, STR(""));
		assert_string_equal(t.said, names[i].said);
	}
	for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
		const struct smtp_login login = {.username = i % 2 ? "u" : bad[i / 2],
						 .password = i % 2 ? bad[i / 2] : "p"};

		begin(SMTP_AUTH_SCRAM_SHA_256, "N");
		assert_false(smtp_scram_can(&login));
		assert_int_equal(step_raw(&login, STR("")), ERR_AUTH);
		assert_non_null(strstr(t.why, "control bytes"));
	}
}

static void test_scram_server_first(void **state)
{
	static const struct {
		const char *first, *why;
	} bad[] = {
		{"", "is missing"},
		{"r=" SERVER_NONCE, "is missing"},
		{"r=" SERVER_NONCE "," SALT, "is missing"},
		{"r=" SERVER_NONCE ",i=4096", "is missing"},
		{SALT ",i=4096", "is missing"},
		{SALT ",r=" SERVER_NONCE ",i=4096", "is missing"},
		{" r=" SERVER_NONCE "," SALT ",i=4096", "is missing"},
		{"r=," SALT ",i=4096", "does not go on from ours"},
		{"r=" NONCE "," SALT ",i=4096", "does not go on from ours"},
		{"r=x" SERVER_NONCE "," SALT ",i=4096", "does not go on from ours"},
		{"r=rOprNGfwEbeRWgbNEkqP123456," SALT ",i=4096", "does not go on from ours"},
		{"r=rOprNGfwEbeRWgbN," SALT ",i=4096", "does not go on from ours"},
		{"r=" NONCE "a b," SALT ",i=4096", "does not go on from ours"},
		{"r=" NONCE "a\x7f," SALT ",i=4096", "does not go on from ours"},
		{"r=" NONCE "a\xc3\xa4," SALT ",i=4096", "does not go on from ours"},
		{"r=" SERVER_NONCE ",s=,i=4096", "salt is empty"},
		{"r=" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ,i=4096", "not base64"},
		{"r=" SERVER_NONCE ",s=!!!!,i=4096", "not base64"},
		{"r=" SERVER_NONCE "," SALT ",i=", "is no number"},
		{"r=" SERVER_NONCE "," SALT ",i=-1", "is no number"},
		{"r=" SERVER_NONCE "," SALT ",i=4096x", "is no number"},
		{"r=" SERVER_NONCE "," SALT ",i= 4096", "is no number"},
		{"r=" SERVER_NONCE "," SALT ",i=0", "fewer than 4096"},
		{"r=" SERVER_NONCE "," SALT ",i=1", "fewer than 4096"},
		{"r=" SERVER_NONCE "," SALT ",i=4095", "fewer than 4096"},
		{"r=" SERVER_NONCE "," SALT ",i=600001", "more than 600000"},
		{"r=" SERVER_NONCE "," SALT ",i=2147483648", "more than 600000"},
		{"r=" SERVER_NONCE "," SALT ",i=4294971392", "more than 600000"},
		{"r=" SERVER_NONCE "," SALT ",i=18446744073709555712", "more than 600000"},
		{"m=ext,r=" SERVER_NONCE "," SALT ",i=4096", "extension"},
		{"e=unknown-user", "the server refuses: unknown-user"},
		{"e=\x1b[2J", "the server refuses: \\x1B[2J"},
	};
	static char long_salt[900];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(SMTP_AUTH_SCRAM_SHA_256, NONCE);
		step_raw(&user, STR(""));
		int rc = step(&user, bad[i].first);
		if (rc != ERR_AUTH || strstr(t.why, bad[i].why) == NULL)
			fail_msg("%s: %d %s", bad[i].first, rc, t.why);
		assert_string_equal(t.line, "");
		assert_false(t.x.complete);
	}
	int len = sprintf(long_salt, "r=%s,s=", SERVER_NONCE);
	memset(long_salt + len, 'A', 400);
	strcpy(long_salt + len + 400, ",i=4096");
	begin(SMTP_AUTH_SCRAM_SHA_256, NONCE);
	step_raw(&user, STR(""));
	assert_int_equal(step(&user, long_salt), ERR_AUTH);
	assert_non_null(strstr(t.why, "salt is empty, too long"));
}

static void test_scram_server_final(void **state)
{
	static const struct {
		const char *final, *why;
	} bad[] = {
		{"", "does not prove"},
		{"v=", "does not prove"},
		{"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4", "does not prove"},
		{"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl9", "does not prove"},
		{"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4AAAA=", "does not prove"},
		{"x=1,v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "does not prove"},
		{"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "proof is wrong"},
		{"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=", "proof is wrong"},
		{"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "proof is wrong"},
		{"e=invalid-proof", "the server refuses: invalid-proof"},
		{"e=a\r\nb,v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
		 "the server refuses: a\\x0D\\x0Ab"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(SMTP_AUTH_SCRAM_SHA_256, NONCE);
		step_raw(&user, STR(""));
		step(&user, SERVER_FIRST);
		int rc = step(&user, bad[i].final);
		if (rc != ERR_AUTH || strstr(t.why, bad[i].why) == NULL)
			fail_msg("%s: %d %s", bad[i].final, rc, t.why);
		assert_false(t.x.complete);
	}
}

static unsigned looks;

static bool three_looks(void *arg)
{
	(void)arg;
	return ++looks < 3;
}

/* However many iterations a server asks for, the clock is looked at in between. */
static void test_scram_stops(void **state)
{
	const struct smtp_login login = {.username = "user", .password = "pencil", .go_on = three_looks};

	(void)state;
	looks = 0;
	begin(SMTP_AUTH_SCRAM_SHA_256, NONCE);
	step_raw(&login, STR(""));
	assert_int_equal(step(&login, "r=" SERVER_NONCE "," SALT ",i=600000"), ERR_TIMEOUT);
	assert_int_equal(looks, 3);
	assert_string_equal(t.line, "");
}

/* ---- what a server repeats ---- */

static void test_secrets(void **state)
{
	static const struct {
		const char *user, *password, *line;
		bool tells;
	} cases[] = {
		{"u", "open-sesame!", "535 not with open-sesame!", true},
		{"u", "open-sesame!", "535 not with open-sesame", false},
		{"u", "open-sesame!", "535 AHUAb3Blbi1zZXNhbWUh", true}, /* PLAIN */
		{"u", "open-sesame!", "334 b3Blbi1zZXNhbWUh", true},     /* LOGIN */
		{"u", "open-sesame!", "334 b3Blbi1zZXNhbWUhCg==", true}, /* with a line end */
		{"u", "open-sesame!", "535 bad: \"AHV1AG9wZW4tc2VzYW1lIQ==\"", true},
		{"u", "open-sesame!", "535 dXNlcj11AWF1dGg9QmVhcmVyIG9wZW4tc2VzYW1lIQEB", true}, /* XOAUTH2 */
		{"u", "open-sesame!", "535 dXNlcj11dQFhdXRoPUJlYXJlciBvcGVuLXNlc2FtZSEBAQ==", true},
		{"u", "open-sesame!", "250 2.0.0 Ok: queued as 4XYZ12AbCdEfGh", false},
		{"u", "open-sesame!", "", false},
		{"u", "p", "535 p", false},
		{"u", "p", "535 AHUAcA==", true},
		{"u", "", "535 AHUA", false},
		{"u", NULL, "535 AHUA", false},
		{NULL, "secret12", "535 c2VjcmV0MTI=", true},
		{"user", "secret", "535 AHVzZXIAc2VjcmV0", true},
		{"user", "secret", "535 c2VjcmV0", true},
		{"u", "open sesame!", "535 OPEN\tSesame! it was", true},
		{"u", "open sesame!", "535 o p e n s e s a m e !", true},
		{"u", "open sesame!", "535 bad open%20sesame%21", true},
		{"u", "open sesame!", "535 6F70656E2073 is hex", true},
		{"u", "open sesame!", "535 6F7065 is few", false},
		{"u", "open-sesame!", "535 AHUAb3Blbi1zZXN", true}, /* cut */
		{"u", "open-sesame!", "535 1zZXNhbWUh", true},
		{"u", "open-sesame!", "535 b3Blbi1", false},
		{"u", "op??sesame>>", "535 AHUAb3A_P3Nlc2FtZT4-", true}, /* base64url */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (smtp_tells_secret(str_from(cases[i].line), cases[i].user, cases[i].password, false) !=
		    cases[i].tells)
			fail_msg("row %zu: %s", i, cases[i].line);
	assert_true(smtp_tells_secret(STR("535-not with open-s"), "u", "open-sesame!", true));
	assert_true(smtp_tells_secret(STR("535 esame! it was"), "u", "open-sesame!", true));
	assert_false(smtp_tells_secret(STR("535-not with open-"), "u", "open-sesame!", true));
	assert_true(smtp_tells_secret(STR("535 the end is r&amp;open-sesame!"), "u",
				      "correcthor&open-sesame!", false));
	assert_false(
		smtp_tells_secret(STR("535 the end is n-sesame!"), "u", "correcthor&open-sesame!", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_plain_and_login),
		cmocka_unit_test(test_cram_md5),
		cmocka_unit_test(test_xoauth2),
		cmocka_unit_test(test_scram),
		cmocka_unit_test(test_scram_names),
		cmocka_unit_test(test_scram_server_first),
		cmocka_unit_test(test_scram_server_final),
		cmocka_unit_test(test_scram_stops),
		cmocka_unit_test(test_secrets),
	};

	return cmocka_run_group_tests_name("smtp auth", tests, NULL, NULL);
}
