/* What the files of the client share. Of this room only.
 *
 * client.c: the states and the switch over replies; open.c: begin and end of a connection; login.c: AUTH;
 * run.c: which mail is written next, and its commands; content.c: its content; flight.c: what replies, and the
 * connection's end, mean for the mails in flight.
 */
#ifndef POSTERN_SMTP_CLIENT_INTERNAL_H
#define POSTERN_SMTP_CLIENT_INTERNAL_H

#include "smtp/smtp.h"

/* ---- client.c ---- */

/* A verdict without a reply: text is our own sentence. */
struct smtp_verdict client_verdict_own(enum smtp_class class, int err, const char *text);
/* A verdict that s->reply decides; and what a refusal of a mail means: 4yz is a try, 5yz a failure. */
struct smtp_verdict client_verdict_of_reply(const struct smtp *s, enum smtp_class class, int err);
struct smtp_verdict client_verdict_refused(const struct smtp *s);

/* Failures on this side of the connection: no fault of the server, none of the mail. */
bool client_is_ours(int err);

/* Changes the state, and sends what belongs to its entry. The only place that sets it. */
void client_enter(struct smtp *s, enum smtp_state state);

/* Reads the reply that is due next and hands it to what it answers. */
void client_take_reply(struct smtp *s);

/* The connection is of no more use; each leaves SMTP_BROKEN. v: its verdict, and of the first mail that has
 * none yet; those behind it are UNCERTAIN or AGAIN, see smtp_run. */
void client_break_off(struct smtp *s, struct smtp_verdict v);
/* The server (by s->reply), or we (in our own words), will not have it; no mail has suffered. */
void client_refused(struct smtp *s, int err);
void client_refuse(struct smtp *s, int err, const char *text);

/* ---- open.c: TLS over the stream in use; on failure SMTP_BROKEN ---- */

void client_start_tls(struct smtp *s);

/* ---- login.c: begins AUTH with the mechanism that is configured, or the best that is offered; and takes the
 * replies to it, up to SMTP_READY ---- */

void client_auth_begin(struct smtp *s);
void client_on_auth(struct smtp *s);

/* ---- flight.c ---- */

/* Sending or receiving failed: what that means depends on how far we were. */
void client_lost(struct smtp *s, int err);

/* True when commands may leave together; when several mails may be in flight; when CHUNKING may be used. */
bool flight_together(const struct smtp *s);
bool flight_deep(const struct smtp *s);
bool flight_chunks(const struct smtp *s);
/* True when its content may leave before its envelope is answered. */
bool flight_may_hurry(const struct smtp *s, const struct smtp_flight *f);

/* The i-th in flight, in the order given. */
struct smtp_flight *flight_at(struct smtp *s, size_t i);
/* Ends its commands: v for who has no verdict when its replies are in. */
void flight_stop(struct smtp_flight *f, struct smtp_verdict v);
/* All verdicts are final: v for every recipient that has none of its own. */
void flight_settle(struct smtp *s, struct smtp_flight *f, struct smtp_verdict v);
/* Nothing of it will be written any more; settled when nothing is due either. */
void flight_end(struct smtp *s, struct smtp_flight *f);
/* Its content will not be read any more. */
void flight_read_done(struct smtp *s, struct smtp_flight *f);
/* Those at the front that are settled leave; READY behind the last. */
void flights_retire(struct smtp *s);

/* The replies to a mail's commands. */
void flight_on_reply(struct smtp *s, const struct smtp_due *due);
/* 421, to any command (RFC 5321 section 3.8): the server hangs up behind it. */
void flight_on_421(struct smtp *s, const struct smtp_due *due);
/* A reply although the command that is due next has not left. */
void flight_on_unasked(struct smtp *s, const struct smtp_due *due);

/* ---- content.c: what is written from SMTP_CONTENT to SMTP_DOT ---- */

/* True when it goes by BDAT. */
bool content_by_bdat(const struct smtp *s, const struct smtp_mail *mail);
void content_write(struct smtp *s, struct smtp_flight *f);

#endif
