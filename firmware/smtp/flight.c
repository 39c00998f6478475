/* Mails in flight: what replies, and the connection's end, mean for each. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "smtp/client_internal.h"
#include "smtp/step.h"
#include "smtp/wire.h"

bool flight_together(const struct smtp *s)
{
	return s->caps.pipelining && (s->quirks & SMTP_QUIRK_NO_PIPELINING) == 0;
}

bool flight_deep(const struct smtp *s)
{
	return flight_together(s) && s->config.depth > 1 && (s->quirks & SMTP_QUIRK_NO_DEPTH) == 0;
}

bool flight_chunks(const struct smtp *s)
{
	return s->caps.chunking && (s->quirks & SMTP_QUIRK_NO_CHUNKING) == 0;
}

bool flight_may_hurry(const struct smtp *s, const struct smtp_flight *f)
{
	/* With a server that drops what comes behind the end of a mail, content that has left is a mail of which
	 * nobody knows. */
	bool shown = s->proven || (s->depth_known && step_tells(s)) || !flight_deep(s);

	return s->bdat_known && s->flight_known && shown && f->mail->size > 0 &&
	       f->mail->size <= SMTP_EAGER_BYTES;
}

struct smtp_flight *flight_at(struct smtp *s, size_t i)
{
	return &s->flights[(s->flight_first + i) % SMTP_DEPTH_MAX];
}

static struct smtp_flight *first_open(struct smtp *s)
{
	for (size_t i = 0; i < s->flight_count; i++)
		if (!flight_at(s, i)->settled) return flight_at(s, i);
	return NULL;
}

/* True when nothing was said for the one behind it. */
static bool is_last(struct smtp *s, const struct smtp_flight *f)
{
	for (size_t i = s->flight_count; i-- > 0;) {
		if (flight_at(s, i) == f) return true;
		if (flight_at(s, i)->commands > 0) return false;
	}
	return true;
}

/* ---- ends of a mail ---- */

static bool rcpt_is_open(const struct smtp_rcpt *r)
{
	return !r->skip && r->verdict.class == SMTP_NONE;
}

void flight_read_done(struct smtp *s, struct smtp_flight *f)
{
	if (!f->read_done && s->supply->written != NULL) s->supply->written(s->supply->arg, f->mail);
	f->read_done = true;
}

void flight_settle(struct smtp *s, struct smtp_flight *f, struct smtp_verdict v)
{
	struct smtp_mail *mail = f->mail;

	for (size_t i = 0; i < mail->rcpt_count; i++)
		if (rcpt_is_open(&mail->rcpts[i])) mail->rcpts[i].verdict = v;
	mail->verdict = v;
	f->settled = f->ended = true;
	if (f->commands > 0) s->used = true;
	if (s->writing == f) s->writing = NULL;
}

void flight_stop(struct smtp_flight *f, struct smtp_verdict v)
{
	f->stop = true;
	f->mail->verdict = v;
}

void flight_end(struct smtp *s, struct smtp_flight *f)
{
	f->ended = true;
	if (s->writing == f) s->writing = NULL;
	client_enter(s, SMTP_DOT);
	if (f->due == 0 && !f->settled) flight_settle(s, f, f->mail->verdict);
}

void flights_retire(struct smtp *s)
{
	while (s->flight_count > 0 && flight_at(s, 0)->settled) {
		struct smtp_flight *f = flight_at(s, 0);
		struct smtp_mail *mail = f->mail;

		flight_read_done(s, f);
		s->flight_first = (s->flight_first + 1) % SMTP_DEPTH_MAX;
		s->flight_count--;
		s->supply->done(s->supply->arg, mail);
	}
	if (s->flight_count == 0 && s->state != SMTP_BROKEN) client_enter(s, SMTP_READY);
}

/* True when the mail's outcome is clear although replies are still due: refused before its content counted. */
static bool is_decided(const struct smtp_flight *f)
{
	if (f->distrusted) return false;
	return f->stop || (f->content_said && f->rcpts_due == 0 && f->accepted == 0);
}

/* The server can have taken the mail: its content left to the last byte. */
static bool has_left(const struct smtp *s, const struct smtp_flight *f)
{
	return f->end_at > 0 && wire_has_left(s, f->end_at);
}

/* ---- ends of the connection ---- */

void client_break_off(struct smtp *s, struct smtp_verdict v)
{
	bool first = true;

	s->verdict = v;
	for (size_t i = 0; i < s->flight_count; i++) {
		struct smtp_flight *f = flight_at(s, i);

		if (f->settled) continue;
		if (is_decided(f))
			flight_settle(s, f, f->mail->verdict);
		else if (first)
			flight_settle(s, f, v);
		else if (has_left(s, f))
			flight_settle(s, f, client_verdict_own(SMTP_UNCERTAIN, v.err, err_text(v.err)));
		else
			flight_settle(s, f,
				      client_verdict_own(client_is_ours(v.err) ? SMTP_HOLD : SMTP_AGAIN,
							 v.err, err_text(v.err)));
		first = false;
	}
	s->due_count = 0;
	s->out_len = 0;
	if (v.reply.code == 0) wire_note(s, SMTP_NOTE_STEP, "%s", v.reply.text);
	client_enter(s, SMTP_BROKEN);
}

static bool is_probe(const struct smtp_due *due)
{
	return due->command == SMTP_CMD_PROBE_BDAT || due->command == SMTP_CMD_PROBE_RSET;
}

/* The server offers PIPELINING, or CHUNKING, and may not be up to it: commands left together, and no such flight
 * was answered in step before on this connection. in_step: what came did answer what was due. Returns the quirk
 * to remember, 0: it is not that. */
static unsigned quirk_of(const struct smtp *s, const struct smtp_flight *f, int err, bool in_step)
{
	const struct smtp_due *next = s->due_count > 0 ? &s->due[s->due_first] : NULL;

	/* Asked about chunks, and that was too much for it. */
	if (next != NULL && is_probe(next) && !client_is_ours(err)) return SMTP_QUIRK_NO_CHUNKING;
	if (!flight_together(s) || client_is_ours(err)) return 0;
	if (f->behind && !s->depth_known && (!f->answered || !in_step))
		return err == ERR_TIMEOUT || !in_step ? SMTP_QUIRK_NO_DEPTH : 0;
	if (s->flight_known || f->behind || f->commands < 2) return 0;
	if (!in_step) return SMTP_QUIRK_NO_PIPELINING;
	/* With one reply missing, it is that command's own. */
	if (s->due_count < 2 || err == ERR_PROTOCOL) return 0;
	if (err == ERR_TIMEOUT && !f->answered && s->proven) return 0;
	return SMTP_QUIRK_NO_PIPELINING;
}

/* A mail is lost whose content left on the strength of what an earlier connection had proved. */
static void doubt(struct smtp *s, const struct smtp_flight *f, int err, bool in_step)
{
	if (!s->proven || s->depth_known || !f->behind || client_is_ours(err)) return;
	s->proven = false;
	s->quirks |= quirk_of(s, f, err, in_step);
}

static enum smtp_class class_of_loss(struct smtp *s, const struct smtp_flight *f, int err, bool in_step)
{
	if (f == NULL) return SMTP_HOLD;
	if (has_left(s, f)) {
		doubt(s, f, err, in_step);
		return SMTP_UNCERTAIN;
	}
	if (client_is_ours(err)) return SMTP_HOLD;
	unsigned quirk = quirk_of(s, f, err, in_step);
	bool begun = f->answered || (f->content_at > 0 && wire_has_left(s, f->content_at));
	if (s->used && !begun && err != ERR_TIMEOUT && in_step) return SMTP_AGAIN;
	s->quirks |= quirk;
	return quirk != 0 ? SMTP_AGAIN : SMTP_TRY;
}

static void lost(struct smtp *s, int err, bool in_step)
{
	enum smtp_class class = class_of_loss(s, first_open(s), err, in_step);

	client_break_off(s, client_verdict_own(class, err, err_text(err)));
}

void client_lost(struct smtp *s, int err)
{
	lost(s, err, true);
}

/* What the server seemed to say to it may have been for another. */
static void distrust(struct smtp_flight *f)
{
	struct smtp_mail *mail = f->mail;

	f->distrusted = true;
	for (size_t i = 0; i < mail->rcpt_count; i++)
		if (!mail->rcpts[i].skip && mail->rcpts[i].verdict.reply.code != 0)
			memset(&mail->rcpts[i].verdict, 0, sizeof(mail->rcpts[i].verdict));
}

/* A reply that cannot be the answer to what is due: one before it is missing, or was one too many. */
static void out_of_step(struct smtp *s)
{
	struct smtp_flight *f = first_open(s);

	for (size_t i = 0; i < s->flight_count; i++)
		if (!flight_at(s, i)->settled && (s->used || flight_at(s, i)->behind))
			distrust(flight_at(s, i));
	if (!s->company || f == NULL) {
		lost(s, ERR_PROTOCOL, false);
		return;
	}
	/* In company, or by a quirk that is new: it is not this mail's fault. */
	enum smtp_class class = f->behind || (s->quirks & SMTP_QUIRK_NO_DEPTH) == 0 ? SMTP_AGAIN : SMTP_TRY;
	s->quirks |= SMTP_QUIRK_NO_DEPTH;
	s->proven = false;
	client_break_off(s, client_verdict_own(has_left(s, f) ? SMTP_UNCERTAIN : class, ERR_PROTOCOL,
					       "the server's replies are out of step"));
}

/* Whether what was read can be the reply to that command. False: it cannot, and the connection is broken off. */
static bool in_step(struct smtp *s, const struct smtp_flight *f, enum smtp_command command)
{
	enum step_sign sign = STEP_FITS;

	if (s->reply.code / 100 == 2)
		sign = step_judge(s, f, command);
	else if (s->doubted && f->behind && s->reply.code >= 400)
		sign = STEP_WRONG;
	if (sign == STEP_DOUBT) {
		s->doubted = true;
		s->quirks |= SMTP_QUIRK_NO_DEPTH;
		s->proven = false;
	}
	if (sign == STEP_WRONG) out_of_step(s);
	return sign != STEP_WRONG;
}

/* The mail's final 2yz. */
static void taken(struct smtp *s, struct smtp_flight *f, enum smtp_command command)
{
	if (!in_step(s, f, command)) return;
	if (f->behind && wire_has_more(s)) {
		out_of_step(s);
		return;
	}
	if (command == SMTP_CMD_LAST && s->config.depth > 1 && !step_tells(s))
		s->quirks |= SMTP_QUIRK_NO_CHUNKING;
	s->mails_sent++;
	flight_settle(s, f, client_verdict_of_reply(s, SMTP_SENT, 0));
}

/* ---- replies ---- */

static void on_mail(struct smtp *s, struct smtp_flight *f)
{
	int class = s->reply.code / 100;

	if (class == 2) {
		if (f->behind) s->depth_known = true;
		s->proven |= s->depth_known && s->bdat_known;
		return;
	}
	/* No transaction was begun. */
	if (is_last(s, f) && !f->content_said) s->needs_rset = false;
	if (class == 3 || (s->reply.code == 503 && f->behind))
		out_of_step(s);
	else
		flight_stop(f, client_verdict_refused(s));
}

/* RFC 5321 section 4.5.3.1.10: 452, and 552 of older servers, when others of this mail were taken: the rest
 * goes into another mail. With an enhanced code that names another reason (mailbox full, disk full) it is
 * what it says. */
static bool too_many(const struct smtp *s, const struct smtp_flight *f)
{
	const char *detail = s->reply.enhanced[0] != '\0' ? s->reply.enhanced + 1 : ".5.3";

	return (s->reply.code == 452 || s->reply.code == 552) && f->accepted > 0 &&
	       strcmp(detail, ".5.3") == 0;
}

/* "Bad sequence of commands", where the sequence is right but for what left together. */
static bool is_bad_sequence(const struct smtp *s, const struct smtp_flight *f)
{
	return s->reply.code == 503 && flight_together(s) && (!s->flight_known || f->behind) && !f->stop &&
	       f->commands > 1;
}

static void on_rcpt(struct smtp *s, struct smtp_flight *f, struct smtp_rcpt *rcpt)
{
	/* Taken behind a MAIL that was not: the refusal was another's. */
	bool crossed = s->reply.code / 100 == 2 && s->used && f->stop && f->mail->verdict.reply.code >= 400;

	if (s->reply.code / 100 == 3 || crossed || is_bad_sequence(s, f)) {
		out_of_step(s); /* it is still due: nothing is decided */
		return;
	}
	f->rcpts_due--;
	if (s->reply.code / 100 == 2) {
		rcpt->verdict.reply = s->reply;
		f->accepted++;
	} else if (!f->stop) {
		/* After a refused MAIL the RCPTs behind it say nothing of their own. */
		rcpt->verdict = too_many(s, f) ? client_verdict_of_reply(s, SMTP_AGAIN, ERR_REMOTE_TEMP)
					       : client_verdict_refused(s);
		f->mail->verdict = rcpt->verdict;
	}
	/* A whole envelope with what was asked before it: now content may leave before such is answered. */
	if (f->rcpts_due == 0 && s->bdat_known) s->flight_known = true;
}

static void on_data(struct smtp *s, struct smtp_flight *f)
{
	int class = s->reply.code / 100;
	bool wanted = f->accepted > 0 && !f->stop;

	f->waits = false;
	if (class == 2 || (class == 3 && f->stop && f->accepted > 0) ||
	    (wanted && class != 3 && is_bad_sequence(s, f))) {
		out_of_step(s);
	} else if (class == 3 && !wanted) {
		/* RFC 2920 section 3.1: 354 although nobody takes the mail. A lone dot gets out of it, and
		 * whatever is said to that completes nothing. */
		f->waits = f->lone = true;
		wire_command(s, SMTP_CMD_DOT, f, ".");
	} else if (class == 3 && net_line_pending(&s->line) > 0) {
		/* A reply too many: the next one would be taken for the answer to our dot. */
		client_lost(s, ERR_PROTOCOL);
	} else if (class == 3) {
		s->flight_known = true;
		client_enter(s, SMTP_CONTENT);
	} else {
		s->flight_known = true;
		flight_stop(f, wanted ? client_verdict_refused(s) : f->mail->verdict);
	}
}

static void on_dot(struct smtp *s, struct smtp_flight *f)
{
	f->waits = false;
	if (f->lone) {
		f->stop = true;
	} else if (s->reply.code / 100 == 3) {
		client_lost(s, ERR_PROTOCOL);
	} else if (s->reply.code / 100 == 2) {
		taken(s, f, SMTP_CMD_DOT);
	} else {
		flight_settle(s, f, client_verdict_refused(s));
	}
}

/* A refused BDAT: "unknown", "not implemented", "bad sequence" to a server that offers CHUNKING is no refusal of
 * the mail. */
static void bdat_refused(struct smtp *s, struct smtp_flight *f)
{
	int code = s->reply.code;

	if (f->stop || f->accepted == 0) {
		f->stop = true;
	} else if (code >= 500 && code <= 504) {
		s->quirks |= SMTP_QUIRK_NO_CHUNKING;
		flight_stop(f, client_verdict_of_reply(s, SMTP_AGAIN, ERR_PROTOCOL));
	} else {
		flight_stop(f, client_verdict_refused(s));
	}
}

static void on_bdat(struct smtp *s, struct smtp_flight *f)
{
	int class = s->reply.code / 100;

	if (class == 3)
		out_of_step(s);
	else if (class > 3)
		bdat_refused(s, f);
}

/* The replies to what was asked about chunks: refused because of its place, not as unknown; and RSET understood. */
static void on_probe(struct smtp *s, const struct smtp_flight *f, enum smtp_command command)
{
	int code = s->reply.code;
	/* Both as they must be: then what follows is in step, too. */
	bool fit =
		command == SMTP_CMD_PROBE_BDAT ? code >= 400 && code != 500 && code != 502 : code / 100 == 2;

	if (!fit)
		s->quirks |= SMTP_QUIRK_NO_CHUNKING;
	else if (command == SMTP_CMD_PROBE_RSET)
		(void)step_judge(s, f, command);
	s->bdat_known = command == SMTP_CMD_PROBE_RSET && flight_chunks(s);
}

static void on_last(struct smtp *s, struct smtp_flight *f)
{
	int class = s->reply.code / 100;

	if (class == 3 || (class == 2 && f->stop && f->accepted > 0)) {
		/* Taken, although it was refused before: nobody can say. */
		f->stop = false;
		if (f->behind)
			out_of_step(s);
		else
			client_lost(s, ERR_PROTOCOL);
	} else if (class == 2) {
		s->flight_known = true;
		if (is_last(s, f)) s->needs_rset = false;
		f->stop |= f->accepted == 0;
		if (!f->stop) taken(s, f, SMTP_CMD_LAST);
	} else {
		bdat_refused(s, f);
	}
}

/* RSET cannot fail (RFC 5321 section 4.1.1.5): what came answers something else. After a refused BDAT that is
 * its content, which a server that did not discard it took for commands. */
static void on_rset(struct smtp *s, const struct smtp_flight *f)
{
	if (s->reply.code / 100 == 2) return;
	if (s->bdat_known) s->quirks |= SMTP_QUIRK_NO_CHUNKING;
	if (f->behind)
		out_of_step(s);
	else
		client_lost(s, ERR_PROTOCOL);
}

void flight_on_reply(struct smtp *s, const struct smtp_due *due)
{
	struct smtp_flight *f = due->flight;

	if (is_probe(due)) {
		on_probe(s, f, due->command);
		return;
	}
	f->answered |= due->command != SMTP_CMD_RSET;
	/* A final one is judged when it is clear that there is something to take. */
	if (due->command != SMTP_CMD_DOT && due->command != SMTP_CMD_LAST && !in_step(s, f, due->command))
		return;
	switch (due->command) {
	case SMTP_CMD_RSET: on_rset(s, f); break;
	case SMTP_CMD_MAIL: on_mail(s, f); break;
	case SMTP_CMD_RCPT: on_rcpt(s, f, &f->mail->rcpts[due->rcpt]); break;
	case SMTP_CMD_DATA: on_data(s, f); break;
	case SMTP_CMD_DOT: on_dot(s, f); break;
	case SMTP_CMD_BDAT: on_bdat(s, f); break;
	case SMTP_CMD_LAST: on_last(s, f); break;
	default: CHECK(false);
	}
	if (s->state == SMTP_BROKEN) return;
	if (f->ended && f->due == 0 && !f->settled) flight_settle(s, f, f->mail->verdict);
}

void flight_on_421(struct smtp *s, const struct smtp_due *due)
{
	struct smtp_flight *f = first_open(s);

	if (f == NULL) {
		client_refused(s, due->command == SMTP_CMD_STARTTLS ? ERR_TLS : ERR_REMOTE_BUSY);
		return;
	}
	bool stale = s->used && !f->answered;
	client_break_off(s, client_verdict_of_reply(s, stale ? SMTP_AGAIN : SMTP_TRY, ERR_REMOTE_TEMP));
}

void flight_on_unasked(struct smtp *s, const struct smtp_due *due)
{
	struct smtp_flight *f = first_open(s);

	if (s->reply.code == 421)
		flight_on_421(s, due);
	else if (f != NULL && f->content_at != 0 && !has_left(s, f) && s->reply.code >= 400)
		/* In the middle of the content: it has not taken the mail. */
		client_break_off(s, client_verdict_refused(s));
	else
		client_lost(s, s->send_err != 0 ? s->send_err : ERR_PROTOCOL);
}
