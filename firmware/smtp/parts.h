/* The pure parts of the client: bytes in, bytes out; no stream, no clock. Of this room only, and of its
 * tests. */
#ifndef POSTERN_SMTP_PARTS_H
#define POSTERN_SMTP_PARTS_H

#include "smtp/smtp.h"

/* True when addr may stand between the brackets of MAIL FROM:<> and RCPT TO:<> (RFC 5321 section 4.1.2, local
 * part as it came): at most 254 bytes, an '@', no control byte, nothing that could end the path early. Bytes
 * over 127 must be UTF-8 (RFC 6531 section 3.3). */
bool smtp_path_ok(struct str addr);
bool smtp_is_ascii(struct str s);
/* True when name may stand behind EHLO: letters, digits, '.', '-', '_', ':', brackets. */
bool smtp_helo_ok(const char *name);

/* Takes one line of EHLO's reply (RFC 5321 section 4.1.1.1), without its code. */
void smtp_caps_line(struct smtp_caps *caps, struct str line);

/* The mechanism to use, given what was offered. Errors: ERR_AUTH (nothing that we could use is offered),
 * ERR_UNSUPPORTED (configured, but not built). *wanted has a username. */
int smtp_auth_choose(const struct smtp_caps *caps, enum smtp_auth wanted, enum smtp_auth *chosen);

/* Appends what is sent at that step (0: the AUTH command) of the exchange, without line end. *shown is how
 * much of it may be seen. Errors: ERR_TOO_LARGE (credentials), ERR_PROTOCOL (the server wants more than the
 * mechanism has). */
int smtp_auth_line(struct buf *out, enum smtp_auth mechanism, unsigned step, const char *username,
		   const char *password, size_t *shown);

/* True when a server's line repeats the password, as it is or in the forms in which it was sent. Such a line is
 * shown to nobody. Passwords under 4 bytes are not looked for as they are: they would be found everywhere. */
bool smtp_tells_secret(struct str line, const char *username, const char *password);

/* Content to wire: every CRLF, LF and CR becomes one CRLF; a dot that begins a line is doubled (RFC 5321
 * sections 2.3.8 and 4.5.2). */
struct smtp_stuffer {
	bool in_line;  /* the last line has no end yet */
	bool after_cr; /* an LF now belongs to the CR before it */
};
/* Takes from in what fits into out; returns the bytes written, *taken of in are done. */
size_t smtp_stuff(struct smtp_stuffer *t, const char *in, size_t len, size_t *taken, char *out, size_t cap);
/* The last line's end if it has none, and the final dot: at most SMTP_STUFF_END_MAX bytes. */
#define SMTP_STUFF_END_MAX 5
size_t smtp_stuff_end(const struct smtp_stuffer *t, char *out);

#endif
