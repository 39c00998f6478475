/* A run: which mail is written next, and its commands. What is written is held back until a reply is waited for,
 * so that all that can go together leaves together. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "smtp/client_internal.h"
#include "smtp/parts.h"
#include "smtp/step.h"
#include "smtp/wire.h"

#define ENVID_BYTES_MAX 100 /* RFC 3461 section 4.4 */
#define ORCPT_BYTES_MAX 500 /* section 4.2 */

/* ---- what can be said without asking the server ---- */

static struct smtp_verdict judge_rcpt(const struct smtp *s, const struct smtp_rcpt *r, bool ascii)
{
	if (!smtp_path_ok(r->addr)) return client_verdict_own(SMTP_FAIL, ERR_INVALID, "not an address");
	if (!ascii && !s->caps.smtputf8)
		return client_verdict_own(SMTP_FAIL, ERR_UNSUPPORTED,
					  "the server does not take internationalized addresses");
	return (struct smtp_verdict){0};
}

static void judge_rcpts(struct smtp *s, struct smtp_flight *f)
{
	struct smtp_mail *mail = f->mail;

	for (size_t i = 0; i < mail->rcpt_count; i++) {
		struct smtp_rcpt *r = &mail->rcpts[i];

		if (r->skip) continue;
		bool ascii = smtp_is_ascii(r->addr);
		r->verdict = judge_rcpt(s, r, ascii);
		f->utf8 |= !ascii;
		if (r->verdict.class == SMTP_NONE)
			f->open++;
		else
			mail->verdict = r->verdict;
	}
}

/* Fills in the verdicts that are clear from the start. */
static void judge(struct smtp *s, struct smtp_flight *f)
{
	struct smtp_mail *mail = f->mail;
	bool needed = mail->smtputf8 || !smtp_is_ascii(mail->from);

	memset(&mail->verdict, 0, sizeof(mail->verdict));
	judge_rcpts(s, f);
	f->utf8 = (f->utf8 || needed) && s->caps.smtputf8;
	/* RFC 1870 section 6.1: no need to ask when the limit is known. */
	if (mail->from.len > 0 && !smtp_path_ok(mail->from))
		flight_stop(f, client_verdict_own(SMTP_FAIL, ERR_INVALID, "the sender is not an address"));
	else if (needed && !s->caps.smtputf8)
		flight_stop(f, client_verdict_own(SMTP_FAIL, ERR_UNSUPPORTED,
						  "the server does not take internationalized mail"));
	else if (s->caps.size_max > 0 && mail->size > s->caps.size_max)
		flight_stop(f, client_verdict_own(SMTP_FAIL, ERR_TOO_LARGE, "larger than the server takes"));
	else if (f->open == 0)
		f->stop = true;
}

/* ---- commands ---- */

static void add_number(struct buf *b, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	buf_add(b, digits + at, sizeof(digits) - at);
}

/* RFC 3461: ENVID is xtext of printable ASCII. */
static void add_envid(struct buf *b, struct str envid)
{
	char coded[ENVID_BYTES_MAX + 1];
	struct buf x;

	buf_init(&x, coded, sizeof(coded));
	smtp_xtext(&x, envid);
	if (x.cut || envid.len == 0 || !smtp_is_ascii(envid) || str_has_ctl(envid)) return;
	buf_puts(b, " ENVID=");
	buf_str(b, buf_view(&x));
}

static void add_orcpt(struct buf *b, struct str orcpt)
{
	char coded[ORCPT_BYTES_MAX - 6];
	struct buf x;

	buf_init(&x, coded, sizeof(coded));
	smtp_xtext(&x, orcpt);
	if (x.cut || orcpt.len == 0 || !smtp_is_ascii(orcpt)) return;
	buf_puts(b, " ORCPT=rfc822;");
	buf_str(b, buf_view(&x));
}

static void add_notify(struct buf *b, unsigned notify)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {{SMTP_NOTIFY_SUCCESS, "SUCCESS"},
		     {SMTP_NOTIFY_FAILURE, "FAILURE"},
		     {SMTP_NOTIFY_DELAY, "DELAY"}};
	const char *apart = " NOTIFY=";

	if ((notify & SMTP_NOTIFY_NEVER) != 0) {
		buf_puts(b, " NOTIFY=NEVER");
		return;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if ((notify & names[i].bit) == 0) continue;
		buf_puts(b, apart);
		buf_puts(b, names[i].name);
		apart = ",";
	}
}

static void command_mail(struct smtp *s, struct smtp_flight *f)
{
	const struct smtp_mail *mail = f->mail;
	struct buf b;

	wire_begin(s, &b);
	buf_puts(&b, "MAIL FROM:<");
	buf_str(&b, mail->from);
	buf_puts(&b, ">");
	if (s->caps.size && mail->size > 0) {
		buf_puts(&b, " SIZE=");
		add_number(&b, (uint64_t)mail->size);
	}
	if (s->caps.eightbit && (mail->body_8bit || f->utf8)) buf_puts(&b, " BODY=8BITMIME");
	if (f->utf8) buf_puts(&b, " SMTPUTF8");
	if (s->caps.dsn) {
		if (mail->ret != SMTP_RET_DEFAULT)
			buf_puts(&b, mail->ret == SMTP_RET_HDRS ? " RET=HDRS" : " RET=FULL");
		add_envid(&b, mail->envid);
	}
	wire_end(s, &b, SMTP_CMD_MAIL, f, 0);
	f->mail_said = true;
	s->needs_rset = true;
}

static void command_rcpt(struct smtp *s, struct smtp_flight *f, size_t index)
{
	const struct smtp_rcpt *r = &f->mail->rcpts[index];
	struct buf b;

	wire_begin(s, &b);
	buf_puts(&b, "RCPT TO:<");
	buf_str(&b, r->addr);
	buf_puts(&b, ">");
	if (s->caps.dsn) {
		add_notify(&b, r->notify);
		add_orcpt(&b, r->orcpt);
	}
	wire_end(s, &b, SMTP_CMD_RCPT, f, index);
	f->rcpts_due++;
}

/* Asks, once a connection and before its first mail by BDAT, whether the server knows BDAT, and whether it discards
 * a chunk that it refuses (RFC 3030 section 2), as it would those behind a refused recipient. Where it does not,
 * content would be commands. A chunk of one byte that is no line stands where BDAT must be refused, then RSET: what
 * was not discarded makes that another, unknown word. Costs no round trip with PIPELINING. */
static void command_probe(struct smtp *s, struct smtp_flight *f)
{
	struct buf line;

	bool rset = s->bdat_asked++ > 0;
	wire_begin(s, &line);
	buf_puts(&line, rset ? "RSET" : "BDAT 1");
	wire_end(s, &line, rset ? SMTP_CMD_PROBE_RSET : SMTP_CMD_PROBE_BDAT, f, 0);
	if (!rset) s->out[s->out_len++] = 'X';
	s->needs_rset = false;
}

/* What comes behind the recipients. False: first their replies. */
static bool command_content(struct smtp *s, struct smtp_flight *f)
{
	const struct smtp_mail *mail = f->mail;

	if (!content_by_bdat(s, mail)) {
		wire_command(s, SMTP_CMD_DATA, f, "DATA");
		f->waits = f->content_said = true;
	} else if (f->due > 0 && !flight_may_hurry(s, f)) {
		return false;
	} else {
		client_enter(s, SMTP_CONTENT);
	}
	return true;
}

/* The next command of the envelope, or what stands before it. False: first a reply. */
static bool command(struct smtp *s, struct smtp_flight *f)
{
	const struct smtp_mail *mail = f->mail;

	while (f->next_rcpt < mail->rcpt_count && f->mail_said &&
	       (mail->rcpts[f->next_rcpt].skip || mail->rcpts[f->next_rcpt].verdict.class != SMTP_NONE))
		f->next_rcpt++;
	if (f->commands == 0) f->behind = s->due_count > 0;
	s->company |= f->behind;
	if (!f->mail_said && s->bdat_asked < 2 && (s->bdat_asked == 1 || content_by_bdat(s, mail))) {
		command_probe(s, f);
	} else if (!f->mail_said && s->needs_rset) {
		s->needs_rset = false;
		wire_command(s, SMTP_CMD_RSET, f, "RSET");
	} else if (!f->mail_said) {
		command_mail(s, f);
	} else if (f->next_rcpt < mail->rcpt_count) {
		command_rcpt(s, f, f->next_rcpt++);
	} else if (f->rcpts_due == 0 && f->accepted == 0) {
		f->stop = true; /* all were refused, before anything else was said */
		return true;
	} else if (!command_content(s, f)) {
		return false;
	}
	f->commands++;
	return true;
}

/* ---- the run ---- */

/* A server may have hung up, or said why it will, since the last mail. Whatever it said is not to be taken
 * for the answer to what we say next. */
static bool still_there(struct smtp *s)
{
	int rc = s->looked && net_line_pending(&s->line) == 0 ? 0 : wire_early(s);

	s->looked = true;
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

static bool may_begin(struct smtp *s)
{
	size_t depth = flight_deep(s) ? s->config.depth : 1;

	if (depth > SMTP_DEPTH_MAX) depth = SMTP_DEPTH_MAX;
	/* Behind content by BDAT, only what is known of its words shows a reply that is not the mail's. */
	if (flight_chunks(s) && !step_knows_finals(s) && !s->proven) depth = 1;
	if (s->flight_count == 0) return true;
	return s->flight_count < depth && !flight_at(s, s->flight_count - 1)->mail->alone;
}

/* Takes the next mail from the supply. False: there is none, or it is not its turn. */
static bool begin(struct smtp *s)
{
	struct smtp_mail *mail;

	if (!may_begin(s)) return false;
	mail = s->supply->next(s->supply->arg);
	if (mail == NULL) {
		s->dry = s->flight_count == 0;
		return false;
	}
	CHECK(mail->rcpt_count <= UINT16_MAX);
	struct smtp_flight *f = flight_at(s, s->flight_count++);
	memset(f, 0, sizeof(*f));
	f->mail = mail;
	judge(s, f);
	if (f->stop) {
		flight_settle(s, f, mail->verdict); /* nothing goes over the wire */
		return true;
	}
	s->writing = f;
	if (s->due_count == 0 && !still_there(s)) return false;
	client_enter(s, SMTP_ENVELOPE);
	return true;
}

/* Writes on. False: nothing can be written now. */
static bool step(struct smtp *s)
{
	flights_retire(s);
	struct smtp_flight *f = s->writing;
	if (s->state == SMTP_BROKEN || s->send_err != 0) return false;
	if (f == NULL) return begin(s);
	if (f->waits || (f->mail->alone && f != flight_at(s, 0))) return false;
	if (f->stop) {
		flight_end(s, f);
		flight_read_done(s, f);
		return true;
	}
	if (!wire_has_room(s) || (s->due_count > 0 && !flight_together(s))) return false;
	if (s->state == SMTP_CONTENT) {
		content_write(s, f);
		return true;
	}
	return wire_make_room(s, WIRE_COMMAND_MAX + 1) == 0 && command(s, f);
}

int smtp_run(struct smtp *s, const struct smtp_supply *supply, int64_t deadline_ms)
{
	if (!smtp_ready(s)) return ERR_STATE;
	s->deadline = deadline_ms;
	s->supply = supply;
	s->looked = s->dry = false;
	while (s->state != SMTP_BROKEN) {
		while (step(s))
			;
		if (s->state == SMTP_BROKEN || s->dry) break;
		if (s->due_count > 0)
			client_take_reply(s);
		else if (s->send_err != 0)
			client_lost(s, s->send_err);
	}
	flights_retire(s);
	s->supply = NULL;
	return s->state == SMTP_BROKEN ? s->verdict.err : 0;
}

/* ---- one mail ---- */

static struct smtp_mail *next_one(void *arg)
{
	struct smtp_mail **mail = arg, *next = *mail;

	*mail = NULL;
	return next;
}

static void done_one(void *arg, struct smtp_mail *mail)
{
	(void)arg;
	(void)mail;
}

int smtp_send(struct smtp *s, struct smtp_mail *mail, int64_t deadline_ms)
{
	struct smtp_mail *next = mail;
	struct smtp_supply supply = {.next = next_one, .done = done_one, .arg = &next};

	if (!smtp_ready(s)) return ERR_STATE;
	(void)smtp_run(s, &supply, deadline_ms);
	return mail->verdict.err;
}
