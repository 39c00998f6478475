/* The content of a mail on its way into the connection: behind DATA's 354, dot-stuffed, or in BDAT's chunks. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "smtp/client_internal.h"
#include "smtp/parts.h"
#include "smtp/wire.h"

#define BLOCK_MS         180000 /* RFC 5321 section 4.5.3.2.5 */
#define READ_BYTES       4096
#define CHUNK_HEAD_BYTES 24 /* "BDAT 12288 LAST" with its line end */

bool content_by_bdat(const struct smtp *s, const struct smtp_mail *mail)
{
	if (!flight_chunks(s) || (s->quirks & SMTP_QUIRK_NO_DEPTH) != 0) return false;
	/* Without PIPELINING each chunk is waited for: more than one is no better than DATA. */
	return flight_together(s) ||
	       (mail->size > 0 && mail->size + CHUNK_HEAD_BYTES + SMTP_STUFF_END_MAX <= SMTP_OUT_BYTES);
}

/* What a mail comes to whose content cannot be read. */
static struct smtp_verdict unreadable(int err)
{
	enum smtp_class class = SMTP_HOLD;

	if (err_class(err) == ERR_CLASS_GIVE_UP)
		class = SMTP_FAIL;
	else if (err_class(err) == ERR_CLASS_RETRY)
		class = SMTP_TRY;
	return client_verdict_own(class, err, err_text(err));
}

static int read_body(const struct smtp_body *body, char *bytes)
{
	int rc = body->read(body->arg, bytes, READ_BYTES);

	CHECK(rc <= READ_BYTES);
	return rc;
}

static void note_content(struct smtp *s, const struct smtp_flight *f, enum smtp_command command,
			 uint64_t bytes)
{
	char text[64];
	struct buf b;

	if (s->config.note == NULL) return;
	buf_init(&b, text, sizeof(text));
	buf_printf(&b, "(%llu bytes of content)%s", (unsigned long long)bytes,
		   command == SMTP_CMD_DOT ? " ." : "");
	wire_note_of(s, f, SMTP_NOTE_SENT, command, buf_view(&b));
}

static void content_written(struct smtp *s, struct smtp_flight *f)
{
	f->end_at = wire_next_at(s) - 1;
	flight_read_done(s, f);
	flight_end(s, f);
}

/* ---- DATA ---- */

/* Sending the content failed, or the server spoke before its end: it has not taken the mail. */
static void data_stopped(struct smtp *s, int err)
{
	int early = wire_early(s);

	if (early == 1 && s->reply.code >= 400)
		client_break_off(s, client_verdict_refused(s));
	else
		client_lost(s, err);
}

/* Ends the content. Until the last byte of the final dot has left, the server cannot have taken the mail;
 * from then on only its reply tells. The dot leaves with what the next mail begins with. */
static void data_end(struct smtp *s, struct smtp_flight *f, const struct smtp_stuffer *stuffer)
{
	int early = wire_early(s);

	if (early < 0) {
		client_lost(s, early);
	} else if (early == 1 && s->reply.code >= 400) {
		client_break_off(s, client_verdict_refused(s));
	} else if (early == 1) {
		client_lost(s, ERR_PROTOCOL);
	} else {
		note_content(s, f, SMTP_CMD_DOT, wire_next_at(s) - f->content_at);
		s->out_len += smtp_stuff_end(stuffer, s->out + s->out_len);
		wire_expect(s, SMTP_CMD_DOT, f, 0);
		/* The transaction is over, however the dot is answered (RFC 5321 section 4.1.1.4). */
		s->needs_rset = false;
		content_written(s, f);
	}
}

static void write_data(struct smtp *s, struct smtp_flight *f)
{
	const struct smtp_body *body = &f->mail->body;
	struct smtp_stuffer stuffer = {0};
	char bytes[READ_BYTES];
	int rc = body->rewind(body->arg);

	f->content_at = wire_next_at(s);
	while (rc >= 0 && (rc = read_body(body, bytes)) > 0) {
		size_t len = (size_t)rc, at = 0;

		while (at < len) {
			size_t taken;

			s->out_len += smtp_stuff(&stuffer, bytes + at, len - at, &taken, s->out + s->out_len,
						 sizeof(s->out) - s->out_len);
			at += taken;
			if (s->out_len + SMTP_STUFF_END_MAX <= sizeof(s->out)) continue;
			int sent = wire_flush(s, BLOCK_MS, NULL);
			if (sent < 0) {
				data_stopped(s, sent);
				return;
			}
		}
	}
	if (rc < 0)
		client_break_off(s, unreadable(rc)); /* before the final dot: nothing was sent */
	else
		data_end(s, f, &stuffer);
}

/* ---- BDAT ---- */

/* The chunk in work: its content lies in the buffer from here on, its command is put before it when its size is
 * known. */
struct chunk {
	size_t at;
};

static void chunk_begin(struct smtp *s, struct chunk *c)
{
	c->at = s->out_len;
}

/* Room for content, without what must stay for the command and for the last line's end. */
static size_t chunk_room(const struct smtp *s)
{
	size_t kept = s->out_len + CHUNK_HEAD_BYTES + SMTP_STUFF_END_MAX;

	return kept >= sizeof(s->out) ? 0 : sizeof(s->out) - kept;
}

static void chunk_end(struct smtp *s, struct smtp_flight *f, const struct chunk *c, bool last)
{
	enum smtp_command command = last ? SMTP_CMD_LAST : SMTP_CMD_BDAT;
	size_t size = s->out_len - c->at;
	char head[CHUNK_HEAD_BYTES + 8];
	struct buf b;

	buf_init(&b, head, sizeof(head));
	buf_printf(&b, "BDAT %zu%s", size, last ? " LAST" : "");
	wire_note_of(s, f, SMTP_NOTE_SENT, command, buf_view(&b));
	note_content(s, f, command, size);
	buf_puts(&b, "\r\n");
	CHECK(!b.cut && b.len <= CHUNK_HEAD_BYTES);
	memmove(s->out + c->at + b.len, s->out + c->at, size);
	memcpy(s->out + c->at, head, b.len);
	s->out_len += b.len;
	wire_expect(s, command, f, 0);
	f->content_said = true;
}

/* Hears what the server has said to the chunks and mails before, as far as is needed to send on. */
static void hear(struct smtp *s)
{
	while (s->state != SMTP_BROKEN && s->due_count > 0 &&
	       (!flight_together(s) || !wire_has_room(s) || wire_can_read(s)))
		client_take_reply(s);
}

/* Sends a full buffer as a chunk. False: the mail does not go on. */
static bool chunk_send(struct smtp *s, struct smtp_flight *f, struct chunk *c)
{
	chunk_end(s, f, c, false);
	(void)wire_flush(s, BLOCK_MS, NULL);
	hear(s);
	if (s->state == SMTP_BROKEN || f->stop) return false;
	if (s->send_err != 0) {
		client_lost(s, s->send_err);
		return false;
	}
	chunk_begin(s, c);
	return true;
}

/* Of content, len bytes behind those in the buffer, in as many chunks as it takes. */
static bool chunk_fill(struct smtp *s, struct smtp_flight *f, struct chunk *c, struct smtp_stuffer *t,
		       const char *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t room = chunk_room(s), taken;

		if (room < 2) {
			if (!chunk_send(s, f, c)) return false;
			continue;
		}
		s->out_len += smtp_stuff(t, bytes + at, len - at, &taken, s->out + s->out_len, room);
		at += taken;
	}
	return true;
}

static void write_bdat(struct smtp *s, struct smtp_flight *f)
{
	const struct smtp_body *body = &f->mail->body;
	struct smtp_stuffer stuffer = {.plain = true};
	char bytes[READ_BYTES];
	struct chunk c;

	/* Small content is one chunk: it begins with what is waiting, or with an empty buffer. */
	if (f->mail->size > (int64_t)chunk_room(s) && wire_flush(s, BLOCK_MS, NULL) < 0) return;
	chunk_begin(s, &c);
	f->content_at = wire_next_at(s);
	int rc = body->rewind(body->arg);
	while (rc >= 0 && (rc = read_body(body, bytes)) > 0)
		if (!chunk_fill(s, f, &c, &stuffer, bytes, (size_t)rc)) return;
	if (rc < 0) {
		/* What was not announced is not sent, and RSET clears the rest. */
		s->out_len = c.at;
		flight_stop(f, unreadable(rc));
		return;
	}
	s->out_len += smtp_stuff_end(&stuffer, s->out + s->out_len);
	chunk_end(s, f, &c, true);
	content_written(s, f);
}

void content_write(struct smtp *s, struct smtp_flight *f)
{
	if (content_by_bdat(s, f->mail))
		write_bdat(s, f);
	else
		write_data(s, f);
}
