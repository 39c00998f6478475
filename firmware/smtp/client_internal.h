/* What the files of the client share: the one function that changes the state, and the ways in which a
 * connection ends. Of this room only.
 *
 * client.c has the states and the switch over replies, open.c begin and end of a connection, login.c AUTH.
 */
#ifndef POSTERN_SMTP_CLIENT_INTERNAL_H
#define POSTERN_SMTP_CLIENT_INTERNAL_H

#include "smtp/smtp.h"

/* A verdict without a reply: text is our own sentence. */
struct smtp_verdict client_verdict_own(enum smtp_class class, int err, const char *text);
/* A verdict that s->reply decides. */
struct smtp_verdict client_verdict_of_reply(const struct smtp *s, enum smtp_class class, int err);

/* Failures on this side of the connection: no fault of the server, none of the mail. */
bool client_is_ours(int err);

/* Changes the state, and sends what belongs to its entry. The only place that sets it. */
void client_enter(struct smtp *s, enum smtp_state state);

/* Reads the reply that is due next and hands it to what it answers. */
void client_take_reply(struct smtp *s);

/* The connection is of no more use; each leaves SMTP_BROKEN. v: its verdict, and of the mail in work as far
 * as that has none. */
void client_break_off(struct smtp *s, struct smtp_verdict v);
/* Sending or receiving failed: what that means depends on how far we were. */
void client_lost(struct smtp *s, int err);
/* The server (by s->reply), or we (in our own words), will not have it; no mail has suffered. */
void client_refused(struct smtp *s, int err);
void client_refuse(struct smtp *s, int err, const char *text);

/* open.c: TLS over the stream in use; on failure SMTP_BROKEN. */
void client_start_tls(struct smtp *s);

/* login.c: begins AUTH with the mechanism that is configured, or the best that is offered; and takes the
 * replies to it, up to SMTP_READY. */
void client_auth_begin(struct smtp *s);
void client_on_auth(struct smtp *s);

#endif
