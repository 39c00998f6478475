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

#define BLOCK_MS 180000 /* RFC 5321 section 4.5.3.2.5 */

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
static struct smtp_verdict verdict_refused(const struct smtp *s)
{
	return s->reply.code >= 500 ? client_verdict_of_reply(s, SMTP_FAIL, ERR_REMOTE_PERM)
				    : client_verdict_of_reply(s, SMTP_TRY, ERR_REMOTE_TEMP);
}

static bool rcpt_is_open(const struct smtp_rcpt *r)
{
	return !r->skip && r->verdict.class == SMTP_NONE;
}

/* The mail in work ends: v for every recipient that has no verdict of its own. */
static void settle(struct smtp *s, struct smtp_verdict v)
{
	struct smtp_mail *mail = s->work.mail;

	for (size_t i = 0; i < mail->rcpt_count; i++)
		if (rcpt_is_open(&mail->rcpts[i])) mail->rcpts[i].verdict = v;
	mail->verdict = v;
	s->work.mail = NULL;
	s->used = true;
}

/* True when the mail's outcome is clear although replies are still due: refused before its content was asked
 * for. */
static bool is_decided(const struct smtp *s)
{
	return s->work.stop || (s->work.data_sent && s->work.rcpts_due == 0 && s->work.accepted == 0);
}

/* ---- ends ---- */

/* The connection is of no more use. v is its verdict, and of the mail in work as far as that has none. */
void client_break_off(struct smtp *s, struct smtp_verdict v)
{
	s->verdict = v;
	s->due_count = 0;
	s->out_len = 0;
	if (s->work.mail != NULL) settle(s, is_decided(s) ? s->work.verdict : v);
	if (v.reply.code == 0) wire_note(s, SMTP_NOTE_STEP, "%s", v.reply.text);
	client_enter(s, SMTP_BROKEN);
}

/* Failures on this side of the connection: no fault of the server, none of the mail. */
bool client_is_ours(int err)
{
	return err == ERR_STOPPING || err == ERR_LINK_DOWN || err == ERR_UNREACHABLE || err == ERR_NO_MEMORY;
}

/* Sending or receiving failed: what that means depends on how far we were. */
void client_lost(struct smtp *s, int err)
{
	enum smtp_class class = SMTP_HOLD;

	if (s->work.mail != NULL && s->state == SMTP_DOT)
		class = SMTP_UNCERTAIN;
	else if (s->work.mail != NULL && s->used && !s->work.mail_answered && !client_is_ours(err) &&
		 err != ERR_TIMEOUT)
		class = SMTP_AGAIN;
	else if (s->work.mail != NULL && !client_is_ours(err))
		class = SMTP_TRY;
	client_break_off(s, client_verdict_own(class, err, err_text(err)));
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
		wire_command(s, SMTP_CMD_EHLO, NULL, 0, "EHLO %s", helo_name(s));
		break;
	case SMTP_STARTTLS: wire_command(s, SMTP_CMD_STARTTLS, NULL, 0, "STARTTLS"); break;
	case SMTP_AUTH: client_auth_begin(s); break;
	case SMTP_DOT: wire_expect(s, SMTP_CMD_DOT, s->work.mail, 0); break;
	case SMTP_QUIT: wire_command(s, SMTP_CMD_QUIT, NULL, 0, "QUIT"); break;
	case SMTP_CLOSED:
	case SMTP_READY:
	case SMTP_ENVELOPE:
	case SMTP_CONTENT:
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
		wire_command(s, SMTP_CMD_HELO, NULL, 0, "HELO %s", helo_name(s));
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

/* ---- a mail ---- */

/* Ends the envelope without content: v for who has no verdict yet. */
static void stop_mail(struct smtp *s, struct smtp_verdict v)
{
	s->work.stop = true;
	s->work.verdict = v;
}

static void on_mail(struct smtp *s)
{
	int class = s->reply.code / 100;

	s->work.mail_answered = true;
	if (class == 2) {
		s->needs_rset = true;
	} else if (class == 3) {
		client_lost(s, ERR_PROTOCOL);
	} else if (s->reply.code == 530) {
		/* RFC 4954 section 6, RFC 3207 section 4: "Authentication required", "Must issue STARTTLS
		 * first": the provider's configuration is refused, not this mail. */
		stop_mail(s, client_verdict_of_reply(s, SMTP_HOLD, ERR_AUTH));
	} else {
		stop_mail(s, verdict_refused(s));
	}
}

/* RFC 5321 section 4.5.3.1.10: 452, and 552 of older servers, when others of this mail were taken: the rest
 * goes into another mail. With an enhanced code that names another reason (mailbox full, disk full) it is
 * what it says. */
static bool too_many(const struct smtp *s)
{
	const char *detail = s->reply.enhanced[0] != '\0' ? s->reply.enhanced + 1 : ".5.3";

	return (s->reply.code == 452 || s->reply.code == 552) && s->work.accepted > 0 &&
	       strcmp(detail, ".5.3") == 0;
}

static void on_rcpt(struct smtp *s, struct smtp_rcpt *rcpt)
{
	s->work.rcpts_due--;
	if (s->reply.code / 100 == 2) {
		rcpt->verdict.reply = s->reply;
		s->work.accepted++;
	} else if (s->reply.code / 100 == 3) {
		client_lost(s, ERR_PROTOCOL);
	} else if (!s->work.stop) {
		/* After a refused MAIL the RCPTs behind it say nothing of their own. */
		rcpt->verdict = too_many(s) ? client_verdict_of_reply(s, SMTP_AGAIN, ERR_REMOTE_TEMP)
					    : verdict_refused(s);
		s->work.verdict = rcpt->verdict;
	}
}

static void on_data(struct smtp *s)
{
	int class = s->reply.code / 100;
	bool wanted = s->work.accepted > 0 && !s->work.stop;

	if (class == 2 || (class == 3 && s->work.stop && s->work.accepted > 0)) {
		client_lost(s, ERR_PROTOCOL);
	} else if (class == 3 && !wanted) {
		/* RFC 2920 section 3.1: 354 although nobody takes the mail. A lone dot gets out of it, and
		 * whatever is said to that completes nothing. */
		wire_command(s, SMTP_CMD_DOT, NULL, 0, ".");
	} else if (class == 3 && net_line_pending(&s->line) > 0) {
		/* A reply too many: the next one would be taken for the answer to our dot. */
		client_lost(s, ERR_PROTOCOL);
	} else if (class == 3) {
		client_enter(s, SMTP_CONTENT);
	} else if (wanted) {
		stop_mail(s, verdict_refused(s));
	}
}

static void on_dot(struct smtp *s, struct smtp_mail *mail)
{
	int class = s->reply.code / 100;

	if (mail == NULL) return;
	if (class == 3) {
		client_lost(s, ERR_PROTOCOL);
		return;
	}
	/* The transaction is over either way (RFC 5321 section 4.1.1.4). */
	s->needs_rset = false;
	if (class == 2) {
		s->mails_sent++;
		settle(s, client_verdict_of_reply(s, SMTP_SENT, 0));
	} else {
		settle(s, verdict_refused(s));
	}
	client_enter(s, SMTP_READY);
}

/* RFC 5321 section 3.8: 421 may answer any command, and the server hangs up behind it. */
static void on_421(struct smtp *s, const struct smtp_due *due)
{
	bool stale = s->used && s->work.mail != NULL && !s->work.mail_answered;

	if (s->work.mail == NULL)
		client_refused(s, due->command == SMTP_CMD_STARTTLS ? ERR_TLS : ERR_REMOTE_BUSY);
	else
		client_break_off(s,
				 client_verdict_of_reply(s, stale ? SMTP_AGAIN : SMTP_TRY, ERR_REMOTE_TEMP));
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
	if (s->reply.code == 421) {
		on_421(s, &due);
		return;
	}
	switch (due.command) {
	case SMTP_CMD_GREETING: on_greeting(s); break;
	case SMTP_CMD_EHLO:
	case SMTP_CMD_HELO: on_hello(s, due.command); break;
	case SMTP_CMD_STARTTLS: on_starttls(s); break;
	case SMTP_CMD_AUTH: client_on_auth(s); break;
	case SMTP_CMD_RSET:
		if (s->reply.code / 100 != 2) client_lost(s, ERR_PROTOCOL);
		break;
	case SMTP_CMD_MAIL: on_mail(s); break;
	case SMTP_CMD_RCPT: on_rcpt(s, &due.mail->rcpts[due.rcpt]); break;
	case SMTP_CMD_DATA: on_data(s); break;
	case SMTP_CMD_DOT: on_dot(s, due.mail); break;
	case SMTP_CMD_QUIT: client_enter(s, SMTP_CLOSED); break;
	}
}

static void command_mail(struct smtp *s)
{
	const struct smtp_mail *mail = s->work.mail;
	char params[64];
	struct buf b;

	buf_init(&b, params, sizeof(params));
	if (s->caps.size && mail->size > 0) buf_printf(&b, " SIZE=%lld", (long long)mail->size);
	if (s->caps.eightbit && (mail->body_8bit || s->work.utf8)) buf_puts(&b, " BODY=8BITMIME");
	if (s->work.utf8) buf_puts(&b, " SMTPUTF8");
	wire_command(s, SMTP_CMD_MAIL, s->work.mail, 0, "MAIL FROM:<" STR_FMT ">%s", STR_ARG(mail->from),
		     params);
	s->work.mail_sent = true;
}

static void command_rcpt(struct smtp *s, size_t index)
{
	const struct smtp_rcpt *r = &s->work.mail->rcpts[index];

	wire_command(s, SMTP_CMD_RCPT, s->work.mail, index, "RCPT TO:<" STR_FMT ">", STR_ARG(r->addr));
	s->work.rcpts_due++;
}

/* Puts the envelope's commands in flight: one by one, or with PIPELINING (RFC 2920) as many as there is room
 * for. */
static void feed(struct smtp *s)
{
	struct smtp_mail *mail = s->work.mail;

	while (wire_has_room(s) && (s->due_count == 0 || s->caps.pipelining) && !s->work.stop &&
	       !s->work.data_sent) {
		if (s->needs_rset && !s->work.mail_sent) {
			wire_command(s, SMTP_CMD_RSET, NULL, 0, "RSET");
			s->needs_rset = false;
		} else if (!s->work.mail_sent) {
			command_mail(s);
		} else if (s->work.next_rcpt < mail->rcpt_count) {
			if (rcpt_is_open(&mail->rcpts[s->work.next_rcpt])) command_rcpt(s, s->work.next_rcpt);
			s->work.next_rcpt++;
		} else if (s->work.rcpts_due == 0 && s->work.accepted == 0) {
			s->work.stop = true; /* all were refused, one by one */
		} else {
			wire_command(s, SMTP_CMD_DATA, mail, 0, "DATA");
			s->work.data_sent = true;
		}
	}
}

/* Sending the content failed, or the server spoke before its end: it has not taken the mail. */
static void content_stopped(struct smtp *s, int err)
{
	int early = wire_early(s);

	if (early == 1 && s->reply.code >= 400)
		client_break_off(s, verdict_refused(s));
	else
		client_lost(s, err);
}

/* Ends the content. Until the last byte of the final dot has left, the server cannot have taken the mail;
 * from then on only its reply tells. */
static void content_end(struct smtp *s, const struct smtp_stuffer *stuffer, int64_t bytes)
{
	bool whole;
	int early = wire_early(s);

	if (early < 0) {
		client_lost(s, early);
	} else if (early == 1 && s->reply.code >= 400) {
		client_break_off(s, verdict_refused(s));
	} else if (early == 1) {
		client_lost(s, ERR_PROTOCOL);
	} else {
		s->out_len += smtp_stuff_end(stuffer, s->out + s->out_len);
		int rc = wire_flush(s, BLOCK_MS, &whole);
		if (rc < 0 && !whole) {
			content_stopped(s, rc);
			return;
		}
		wire_note(s, SMTP_NOTE_SENT, "(%lld bytes of content) .", (long long)bytes);
		client_enter(s, SMTP_DOT);
	}
}

/* The content cannot be read: the connection ends before the final dot, so nothing was sent. */
static void content_unreadable(struct smtp *s, int err)
{
	enum smtp_class class = SMTP_HOLD;

	if (err_class(err) == ERR_CLASS_GIVE_UP)
		class = SMTP_FAIL;
	else if (err_class(err) == ERR_CLASS_RETRY)
		class = SMTP_TRY;
	client_break_off(s, client_verdict_own(class, err, err_text(err)));
}

static void send_content(struct smtp *s)
{
	const struct smtp_body *body = &s->work.mail->body;
	struct smtp_stuffer stuffer = {false, false};
	int64_t bytes = 0;
	char chunk[1024];
	int rc = body->rewind(body->arg);

	while (rc >= 0 && (rc = body->read(body->arg, chunk, sizeof(chunk))) > 0) {
		size_t len = (size_t)rc, at = 0;

		CHECK(len <= sizeof(chunk));
		while (at < len) {
			size_t taken;

			s->out_len += smtp_stuff(&stuffer, chunk + at, len - at, &taken, s->out + s->out_len,
						 sizeof(s->out) - s->out_len);
			at += taken;
			if (s->out_len + SMTP_STUFF_END_MAX <= sizeof(s->out)) continue;
			bytes += (int64_t)s->out_len;
			int sent = wire_flush(s, BLOCK_MS, NULL);
			if (sent < 0) {
				content_stopped(s, sent);
				return;
			}
		}
	}
	if (rc < 0)
		content_unreadable(s, rc);
	else
		content_end(s, &stuffer, bytes + (int64_t)s->out_len);
}

/* ---- what can be said without asking the server ---- */

static void judge_rcpts(struct smtp *s, struct smtp_mail *mail)
{
	for (size_t i = 0; i < mail->rcpt_count; i++) {
		struct smtp_rcpt *r = &mail->rcpts[i];

		if (r->skip) continue;
		memset(&r->verdict, 0, sizeof(r->verdict));
		if (!smtp_path_ok(r->addr))
			r->verdict = client_verdict_own(SMTP_FAIL, ERR_INVALID, "not an address");
		else if (!smtp_is_ascii(r->addr) && !s->caps.smtputf8)
			r->verdict =
				client_verdict_own(SMTP_FAIL, ERR_UNSUPPORTED,
						   "the server does not take internationalized addresses");
		else
			s->work.open++;
		s->work.utf8 |= !smtp_is_ascii(r->addr);
		if (r->verdict.class != SMTP_NONE) s->work.verdict = r->verdict;
	}
}

/* Fills in the verdicts that are clear from the start. */
static void judge(struct smtp *s, struct smtp_mail *mail)
{
	s->work.utf8 = mail->smtputf8 || !smtp_is_ascii(mail->from);
	bool needed = s->work.utf8;
	judge_rcpts(s, mail);
	s->work.utf8 &= s->caps.smtputf8;
	/* RFC 1870 section 6.1: no need to ask when the limit is known. */
	if (mail->from.len > 0 && !smtp_path_ok(mail->from))
		stop_mail(s, client_verdict_own(SMTP_FAIL, ERR_INVALID, "the sender is not an address"));
	else if (needed && !s->caps.smtputf8)
		stop_mail(s, client_verdict_own(SMTP_FAIL, ERR_UNSUPPORTED,
						"the server does not take internationalized mail"));
	else if (s->caps.size_max > 0 && mail->size > s->caps.size_max)
		stop_mail(s, client_verdict_own(SMTP_FAIL, ERR_TOO_LARGE, "larger than the server takes"));
	else if (s->work.open == 0)
		s->work.stop = true;
}

/* A server may have hung up, or said why it will, since the last mail. Whatever it said is not to be taken
 * for the answer to what we say next. */
static bool still_there(struct smtp *s)
{
	int rc = wire_early(s);

	if (rc == 0) return true;
	if (rc < 0)
		client_break_off(s,
				 client_verdict_own(s->used && !client_is_ours(rc) ? SMTP_AGAIN : SMTP_HOLD,
						    rc, err_text(rc)));
	else
		client_break_off(
			s, client_verdict_of_reply(s, s->used ? SMTP_AGAIN : SMTP_HOLD, ERR_REMOTE_BUSY));
	return false;
}

int smtp_send(struct smtp *s, struct smtp_mail *mail, int64_t deadline_ms)
{
	CHECK(mail->rcpt_count <= UINT16_MAX);
	if (!smtp_ready(s)) return ERR_STATE;
	s->deadline = deadline_ms;
	memset(&s->work, 0, sizeof(s->work));
	memset(&mail->verdict, 0, sizeof(mail->verdict));
	s->work.mail = mail;
	judge(s, mail);
	if (s->work.stop) {
		bool used = s->used;

		settle(s, s->work.verdict);
		s->used = used; /* nothing went over the wire */
		return mail->verdict.err;
	}
	if (!still_there(s)) return mail->verdict.err;
	client_enter(s, SMTP_ENVELOPE);
	while (s->state == SMTP_ENVELOPE || s->state == SMTP_CONTENT || s->state == SMTP_DOT) {
		if (s->state == SMTP_CONTENT) {
			send_content(s);
			continue;
		}
		if (s->state == SMTP_ENVELOPE) feed(s);
		if (s->due_count > 0) {
			client_take_reply(s);
		} else {
			settle(s, s->work.verdict);
			client_enter(s, SMTP_READY);
		}
	}
	return mail->verdict.err;
}
