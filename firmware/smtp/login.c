/* Authentication: the exchange behind AUTH (RFC 4954). */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "hal_entropy.h"
#include "smtp/client_internal.h"
#include "smtp/parts.h"
#include "smtp/wire.h"

#define COMMAND_MS 300000

/* A long computation goes on until the caller's deadline, or smtp_abort. */
static bool may_go_on(void *arg)
{
	struct smtp *s = arg;

	hal_mutex_lock(&s->lock);
	bool aborted = s->aborted;
	hal_mutex_unlock(&s->lock);
	return !aborted && hal_clock_mono_ms() < s->deadline;
}

static struct smtp_login login_of(struct smtp *s)
{
	return (struct smtp_login){.username = s->config.username,
				   .password = s->config.password != NULL ? s->config.password : "",
				   .go_on = may_go_on,
				   .arg = s};
}

static void auth_step(struct smtp *s)
{
	char why_text[SMTP_TEXT_MAX];
	struct smtp_login login = login_of(s);
	struct smtp_auth_line step;
	struct buf why;

	/* Nothing else is in flight, so the whole buffer is free. */
	CHECK(s->out_len == 0);
	buf_init(&step.line, s->out, sizeof(s->out) - 2);
	buf_init(&why, why_text, sizeof(why_text));
	step.why = &why;
	int rc = smtp_auth_next(&s->exchange, &login, s->reply_text, &step);
	if (rc < 0) {
		explicit_bzero(s->out, sizeof(s->out));
		if (rc == ERR_TIMEOUT && hal_clock_mono_ms() < s->deadline) rc = ERR_STOPPING;
		client_refuse(s, rc, why.len > 0 ? why_text : err_text(rc));
		return;
	}
	wire_note(s, SMTP_NOTE_SENT, "%.*s%s", (int)step.shown, step.line.ptr,
		  step.line.len == step.shown ? ""
		  : step.shown == 0           ? "***"
					      : " ***");
	memcpy(s->out + step.line.len, "\r\n", 2);
	s->out_len = step.line.len + 2;
	wire_expect(s, SMTP_CMD_AUTH, NULL, 0);
	rc = wire_flush(s, COMMAND_MS, NULL);
	explicit_bzero(s->out, sizeof(s->out));
	if (rc < 0) client_lost(s, rc);
}

/* 18 random bytes, in base64: no comma among them. */
static int fill_nonce(char nonce[SMTP_NONCE_MAX + 1])
{
	unsigned char random[SMTP_NONCE_MAX / 4 * 3];
	struct buf b;
	int rc = hal_entropy_fill(random, sizeof(random));

	buf_init(&b, nonce, SMTP_NONCE_MAX + 1);
	if (rc == 0) buf_base64(&b, random, sizeof(random));
	return rc;
}

/* The exchange with the best mechanism that is left. False: there is none. */
static bool auth_with_best(struct smtp *s)
{
	struct smtp_login login = login_of(s);
	enum smtp_auth mechanism;

	if (smtp_auth_choose(&s->caps, s->config.auth, s->tls_on, s->auth_refused, &login, &mechanism) < 0)
		return false;
	memset(&s->exchange, 0, sizeof(s->exchange));
	s->exchange.mechanism = mechanism;
	int rc = mechanism == SMTP_AUTH_SCRAM_SHA_256 ? fill_nonce(s->exchange.nonce) : 0;
	if (rc < 0)
		client_refuse(s, rc, err_text(rc));
	else
		auth_step(s);
	return true;
}

/* No credentials in the clear: whatever the configuration says, without TLS they go to this machine only. */
void client_auth_begin(struct smtp *s)
{
	s->auth_refused = 0;
	if (!s->tls_on && !s->loopback)
		client_refuse(s, ERR_AUTH, "AUTH without TLS is only done on loopback");
	else if (s->config.username == NULL || s->config.username[0] == '\0')
		client_refuse(s, ERR_AUTH, "AUTH is configured without a username");
	else if (!auth_with_best(s))
		client_refuse(s, ERR_AUTH, "the server offers no AUTH mechanism that could be used");
}

/* RFC 4954 section 6: the server offers the mechanism and will not have it: 504 not implemented, 534 too weak, 538
 * only with encryption, 432 this account's password is not stored for it yet. */
static bool is_refused_for_itself(int code)
{
	return code == 504 || code == 534 || code == 538 || code == 432;
}

/* A refusal, in the server's words; of a token with the reason that came before them. */
static void auth_refused(struct smtp *s, int err)
{
	struct buf text;
	size_t len = strlen(s->reply.text);

	buf_init(&text, s->reply.text + len, sizeof(s->reply.text) - len);
	if (s->exchange.status[0] != '\0')
		buf_printf(&text, " (token refused: status %s)", s->exchange.status);
	client_refused(s, err);
}

/* RFC 4954 section 6. What begins with 4 is temporary; what else begins with 5 refuses the credentials: no other
 * mechanism is tried with them, since servers count failures and lock accounts. */
void client_on_auth(struct smtp *s)
{
	int code = s->reply.code;
	bool again = s->auth_refused == 0 && is_refused_for_itself(code);

	if (code / 100 == 2 && s->exchange.complete) {
		explicit_bzero(&s->exchange, sizeof(s->exchange));
		client_enter(s, SMTP_READY);
	} else if (code / 100 == 2) {
		client_refuse(s, ERR_AUTH,
			      s->exchange.mechanism == SMTP_AUTH_SCRAM_SHA_256
				      ? "SCRAM: the server accepts without a proof that it knows the password"
				      : "the server accepts before the credentials were sent");
	} else if (code == 334) {
		auth_step(s);
	} else if (again) {
		s->auth_refused |= 1u << s->exchange.mechanism;
		if (!auth_with_best(s)) auth_refused(s, ERR_AUTH);
	} else if (code / 100 == 5) {
		auth_refused(s, ERR_AUTH);
	} else {
		auth_refused(s, code / 100 == 4 ? ERR_REMOTE_BUSY : ERR_PROTOCOL);
	}
}
