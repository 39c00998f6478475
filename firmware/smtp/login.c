/* Authentication: the exchange behind AUTH (RFC 4954). */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "smtp/client_internal.h"
#include "smtp/parts.h"
#include "smtp/wire.h"

#define COMMAND_MS 300000

static void auth_step(struct smtp *s)
{
	struct buf line;
	size_t shown;

	/* Nothing else is in flight, so the whole buffer is free. */
	CHECK(s->out_len == 0);
	buf_init(&line, s->out, sizeof(s->out) - 2);
	int rc = smtp_auth_line(&line, s->auth_mechanism, s->auth_step++, s->config.username,
				s->config.password != NULL ? s->config.password : "", &shown);
	if (rc < 0) {
		explicit_bzero(s->out, sizeof(s->out));
		client_refuse(s, rc == ERR_PROTOCOL ? ERR_AUTH : rc,
			      "the authentication exchange does not end");
		return;
	}
	wire_note(s, SMTP_NOTE_SENT, "%.*s%s", (int)shown, line.ptr,
		  line.len == shown ? ""
		  : shown == 0      ? "***"
				    : " ***");
	memcpy(s->out + line.len, "\r\n", 2);
	s->out_len = line.len + 2;
	wire_expect(s, SMTP_CMD_AUTH, NULL, 0);
	rc = wire_flush(s, COMMAND_MS, NULL);
	explicit_bzero(s->out, sizeof(s->out));
	if (rc < 0) client_lost(s, rc);
}

/* No credentials in the clear: whatever the configuration says, without TLS they go to this machine only. */
void client_auth_begin(struct smtp *s)
{
	int rc = smtp_auth_choose(&s->caps, s->config.auth, &s->auth_mechanism);

	s->auth_step = 0;
	if (!s->tls_on && !s->loopback)
		client_refuse(s, ERR_AUTH, "AUTH without TLS is only done on loopback");
	else if (s->config.username == NULL || s->config.username[0] == '\0')
		client_refuse(s, ERR_AUTH, "AUTH is configured without a username");
	else if (rc == ERR_UNSUPPORTED)
		client_refuse(s, rc, "this AUTH mechanism is not supported");
	else if (rc < 0)
		client_refuse(s, rc, "the server offers no AUTH mechanism that could be used");
	else
		auth_step(s);
}

/* RFC 4954 section 6: 454 is temporary; what else begins with 4 or 5 refuses the credentials or the
 * mechanism. */
void client_on_auth(struct smtp *s)
{
	if (s->reply.code / 100 == 2)
		client_enter(s, SMTP_READY);
	else if (s->reply.code == 334)
		auth_step(s);
	else if (s->reply.code / 100 == 5)
		client_refused(s, ERR_AUTH);
	else
		client_refused(s, s->reply.code / 100 == 4 ? ERR_REMOTE_BUSY : ERR_PROTOCOL);
}
