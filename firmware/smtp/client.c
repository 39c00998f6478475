/* The client: one state enum, one function that changes the state (enter), one switch over replies
 * (take_reply). */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "hal_ident.h"
#include "smtp/client_internal.h"
#include "smtp/parts.h"
#include "smtp/wire.h"

/* ---- verdicts ---- */

struct smtp_verdict client_verdict_own(enum smtp_class class, int err, const char *text)
{
	struct smtp_verdict v = {.class = class, .err = err};
	size_t len = strlen(text);

	if (len >= sizeof(v.reply.text)) len = sizeof(v.reply.text) - 1;
	memcpy(v.reply.text, text, len);
	return v;
}

struct smtp_verdict client_verdict_of_reply(const struct smtp *s, enum smtp_class class, int err)
{
	return (struct smtp_verdict){.class = class, .err = err, .reply = s->reply};
}

/* What a refusal within a mail means: 4yz is a try, 5yz a failure. */
struct smtp_verdict client_verdict_refused(const struct smtp *s)
{
	/* RFC 4954 section 6, RFC 3207 section 4: "Authentication required", "Must issue STARTTLS first", to
	 * any command: the provider's configuration is refused, not this mail. */
	if (s->reply.code == 530) return client_verdict_of_reply(s, SMTP_HOLD, ERR_AUTH);
	return s->reply.code >= 500 ? client_verdict_of_reply(s, SMTP_FAIL, ERR_REMOTE_PERM)
				    : client_verdict_of_reply(s, SMTP_TRY, ERR_REMOTE_TEMP);
}

/* Failures on this side of the connection: no fault of the server, none of the mail. */
bool client_is_ours(int err)
{
	return err == ERR_STOPPING || err == ERR_LINK_DOWN || err == ERR_UNREACHABLE || err == ERR_NO_MEMORY;
}

/* The server, or we, will not have it; no mail has suffered. */
void client_refused(struct smtp *s, int err)
{
	client_break_off(s, client_verdict_of_reply(s, SMTP_HOLD, err));
}

void client_refuse(struct smtp *s, int err, const char *text)
{
	client_break_off(s, client_verdict_own(SMTP_HOLD, err, text));
}

/* ---- up to ready ---- */

static const char *helo_name(const struct smtp *s)
{
	const char *name = s->config.helo;

	if (name == NULL || name[0] == '\0') name = hal_ident_host();
	return smtp_helo_ok(name) ? name : "localhost";
}

static void command_hello(struct smtp *s, enum smtp_command command)
{
	struct buf line;

	wire_begin(s, &line);
	buf_puts(&line, command == SMTP_CMD_EHLO ? "EHLO " : "HELO ");
	buf_puts(&line, helo_name(s));
	wire_end(s, &line, command, NULL, 0);
}

/* Each state's entry sends what belongs to it. The only place that sets the state. */
void client_enter(struct smtp *s, enum smtp_state state)
{
	s->state = state;
	switch (state) {
	case SMTP_GREETING: wire_expect(s, SMTP_CMD_GREETING, NULL, 0); break;
	case SMTP_HELLO:
		/* RFC 3207 section 4.2: what was offered before TLS does not count after it. */
		memset(&s->caps, 0, sizeof(s->caps));
		s->caps.esmtp = true;
		s->quirks |= s->config.quirks;
		command_hello(s, SMTP_CMD_EHLO);
		break;
	case SMTP_STARTTLS: wire_command(s, SMTP_CMD_STARTTLS, NULL, "STARTTLS"); break;
	case SMTP_AUTH: client_auth_begin(s); break;
	case SMTP_QUIT: wire_command(s, SMTP_CMD_QUIT, NULL, "QUIT"); break;
	case SMTP_CLOSED:
	case SMTP_READY:
	case SMTP_ENVELOPE:
	case SMTP_CONTENT:
	case SMTP_DOT:
	case SMTP_BROKEN: break;
	}
}

/* Greeted: what is still missing before a mail? */
static void after_hello(struct smtp *s)
{
	bool named = s->config.username != NULL && s->config.username[0] != '\0';

	if (s->config.tls == SMTP_TLS_STARTTLS && !s->tls_on) {
		/* No STARTTLS where it was configured: somebody in between may have taken it out. */
		if (!s->caps.starttls)
			client_refuse(s, ERR_TLS, "the server does not offer STARTTLS");
		else
			client_enter(s, SMTP_STARTTLS);
	} else if (s->config.auth != SMTP_AUTH_NONE && (s->config.auth != SMTP_AUTH_AUTO || named)) {
		client_enter(s, SMTP_AUTH);
	} else {
		client_enter(s, SMTP_READY);
	}
}

static void on_greeting(struct smtp *s)
{
	if (s->reply.code == 220)
		client_enter(s, SMTP_HELLO);
	else if (s->reply.code / 100 == 2 || s->reply.code / 100 == 3)
		client_lost(s, ERR_PROTOCOL);
	else
		client_refused(s, ERR_REMOTE_BUSY);
}

static void on_hello(struct smtp *s, enum smtp_command command)
{
	if (s->reply.code / 100 == 2) {
		after_hello(s);
	} else if (s->reply.code / 100 == 5 && command == SMTP_CMD_EHLO) {
		/* RFC 5321 section 3.2: a server that knows no EHLO is greeted with HELO. */
		memset(&s->caps, 0, sizeof(s->caps));
		command_hello(s, SMTP_CMD_HELO);
	} else if (s->reply.code / 100 == 3) {
		client_lost(s, ERR_PROTOCOL);
	} else {
		client_refused(s, ERR_REMOTE_BUSY);
	}
}

static void on_starttls(struct smtp *s)
{
	if (s->reply.code / 100 != 2) {
		client_refused(s, ERR_TLS);
		return;
	}
	/* Bytes behind this reply came in the clear: from whoever wants them to count as heard under TLS. */
	if (net_line_pending(&s->line) > 0) {
		client_refuse(s, ERR_TLS,
			      "the server sent more behind its reply to STARTTLS: taken for an injection");
		return;
	}
	client_start_tls(s);
	if (s->state != SMTP_BROKEN) client_enter(s, SMTP_HELLO);
}

/* The switch over replies: reads one and hands it to what it answers. */
void client_take_reply(struct smtp *s)
{
	struct smtp_due due;
	int rc = wire_reply(s, &due);

	if (rc < 0) {
		client_lost(s, rc);
		return;
	}
	if (rc > 0) {
		flight_on_unasked(s, &due);
		return;
	}
	if (s->reply.code == 421) {
		flight_on_421(s, &due);
		return;
	}
	switch (due.command) {
	case SMTP_CMD_GREETING: on_greeting(s); break;
	case SMTP_CMD_EHLO:
	case SMTP_CMD_HELO: on_hello(s, due.command); break;
	case SMTP_CMD_STARTTLS: on_starttls(s); break;
	case SMTP_CMD_AUTH: client_on_auth(s); break;
	case SMTP_CMD_QUIT: client_enter(s, SMTP_CLOSED); break;
	case SMTP_CMD_RSET:
	case SMTP_CMD_MAIL:
	case SMTP_CMD_RCPT:
	case SMTP_CMD_DATA:
	case SMTP_CMD_DOT:
	case SMTP_CMD_BDAT:
	case SMTP_CMD_LAST:
	case SMTP_CMD_PROBE_BDAT:
	case SMTP_CMD_PROBE_RSET: flight_on_reply(s, &due); break;
	}
}
