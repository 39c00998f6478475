/* The connection under the client: commands out, replies in, transcript, time limits. Of this room only.
 *
 * Nothing here decides what a reply means. Errors are returned; client.c and flight.c act on them.
 */
#ifndef POSTERN_SMTP_WIRE_H
#define POSTERN_SMTP_WIRE_H

#include "smtp/smtp.h"

/* The longest command but AUTH's: RCPT TO:<254> with NOTIFY and ORCPT, whose xtext has 500 bytes at most. */
#define WIRE_COMMAND_MAX 1024

/* Speaks over stream from now on; whatever was buffered is forgotten. */
void wire_use(struct smtp *s, struct hal_stream *stream);

/* A note of the connection's. */
void wire_note(struct smtp *s, enum smtp_note kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A note of a flight's (NULL: the connection's). */
void wire_note_of(struct smtp *s, const struct smtp_flight *f, enum smtp_note kind, enum smtp_command command,
		  struct str text);

/* True when one more command may be put in flight. */
bool wire_has_room(const struct smtp *s);
/* Makes room for so many bytes, at most SMTP_OUT_BYTES, behind those not yet sent: by sending these if need be.
 * Errors: of hal_stream. */
int wire_make_room(struct smtp *s, size_t bytes);

/* Puts a command behind those not yet sent, and its reply behind those due: begin, append, end. There must be
 * room for it, and for WIRE_COMMAND_MAX bytes. */
void wire_begin(struct smtp *s, struct buf *line);
void wire_end(struct smtp *s, const struct buf *line, enum smtp_command command, struct smtp_flight *f,
	      size_t rcpt);
/* One without arguments. */
void wire_command(struct smtp *s, enum smtp_command command, struct smtp_flight *f, const char *line);
/* A reply is due to what is in the buffer up to its end (greeting, AUTH's next step, content). */
void wire_expect(struct smtp *s, enum smtp_command command, struct smtp_flight *f, size_t rcpt);

/* Where the next byte stands among all of the connection, from 1. */
uint64_t wire_next_at(const struct smtp *s);
/* True when the byte at that place has left. */
bool wire_has_left(const struct smtp *s, uint64_t at);

/* Sends what waits. *whole (may be NULL): all of it left, to the last byte. After a failure nothing more is
 * sent over this connection. Errors: of hal_stream; ERR_PROTOCOL: there is a reply too many. */
int wire_flush(struct smtp *s, int64_t limit_ms, bool *whole);

/* Takes the reply that is due next off the queue; it is in s->reply. Before it waits, it sends what waits.
 * 1: there was one although what is due next has not left: nothing is taken off the queue, *due is what would
 * have been next. When sending has failed, what had been answered before is still read, then that error is
 * returned. Errors: of hal_stream, ERR_PROTOCOL. */
int wire_reply(struct smtp *s, struct smtp_due *due);

/* True when something has come behind the last reply that was due. A 421 is good-bye, and none too many. */
bool wire_has_more(const struct smtp *s);

/* True when something can be read without waiting, if only the end of the connection. */
bool wire_can_read(struct smtp *s);

/* A reply that nobody waits for, when one is there without waiting. 1: it is in s->reply; 0: nothing there.
 * Errors: of hal_stream: the connection is gone. */
int wire_early(struct smtp *s);

/* The time limit, of the RFC's and ours in ms, scaled by the configuration. */
int64_t wire_limit(const struct smtp *s, int64_t ms);

#endif
