/* The connection under the client: commands out, replies in, transcript, time limits. Of this room only.
 *
 * Nothing here decides what a reply means. Errors are returned; the state machine in client.c acts on them.
 */
#ifndef POSTERN_SMTP_WIRE_H
#define POSTERN_SMTP_WIRE_H

#include "smtp/smtp.h"

/* The longest command but AUTH's: MAIL FROM:<254> SIZE=19 BODY=8BITMIME SMTPUTF8. */
#define WIRE_COMMAND_MAX 512

/* Speaks over stream from now on; whatever was buffered is forgotten. */
void wire_use(struct smtp *s, struct hal_stream *stream);

void wire_note(struct smtp *s, enum smtp_note kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* True when one more command may be put in flight. */
bool wire_has_room(const struct smtp *s);
/* Puts a command behind those not yet sent, and its reply behind those due. */
void wire_command(struct smtp *s, enum smtp_command command, struct smtp_mail *mail, size_t rcpt,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* A reply is due although nothing is sent (greeting, AUTH's next step, the dot). */
void wire_expect(struct smtp *s, enum smtp_command command, struct smtp_mail *mail, size_t rcpt);

/* Sends what waits. *whole (may be NULL): all of it left, to the last byte. Errors: of hal_stream. */
int wire_flush(struct smtp *s, int64_t limit_ms, bool *whole);

/* Takes the reply that is due next off the queue; it is in s->reply. Sends first what waits. Errors: of
 * hal_stream, ERR_PROTOCOL. */
int wire_reply(struct smtp *s, struct smtp_due *due);

/* A reply that nobody waits for, when one is there without waiting. 1: it is in s->reply; 0: nothing there.
 * Errors: of hal_stream: the connection is gone. */
int wire_early(struct smtp *s);

/* The time limit, of the RFC's and ours in ms, scaled by the configuration. */
int64_t wire_limit(const struct smtp *s, int64_t ms);

#endif
