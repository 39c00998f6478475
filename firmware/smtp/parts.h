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

/* ---- authentication (RFC 4954) ---- */

/* Who logs in. */
struct smtp_login {
	const char *username, *password; /* of XOAUTH2 the password is the access token */
	/* Asked after each piece of a long computation; false ends it. NULL: goes on to the end. */
	bool (*go_on)(void *arg);
	void *arg;
};

/* The mechanism to use. private: what is said can be read by nobody in between, so a password itself may be said
 * before its digest: servers then need not store it. With SMTP_AUTH_AUTO the first that is offered, has not been
 * refused (1u << mechanism) and can carry these credentials of
 *	SCRAM-SHA-256, PLAIN, LOGIN, CRAM-MD5 where private, else SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN.
 * Errors: ERR_AUTH: there is none. */
int smtp_auth_choose(const struct smtp_caps *caps, enum smtp_auth wanted, bool private, unsigned refused,
		     const struct smtp_login *login, enum smtp_auth *chosen);

/* As in EHLO's reply. */
const char *smtp_auth_name(enum smtp_auth mechanism);

/* What is to be sent. */
struct smtp_auth_line {
	struct buf line; /* without line end; init it over memory */
	size_t shown;    /* so much of its beginning may be seen */
	struct buf *why; /* our own sentence about an error */
};

/* The longest challenge that is read, in base64. */
#define SMTP_CHALLENGE_MAX 1368

/* Appends the next line of the exchange. x: zeroed but for mechanism and, with SCRAM, nonce. challenge: what stood
 * behind 334, as it came (not read with the first line, of PLAIN and of LOGIN); it is from outside: what cannot be
 * right is refused. Whether a 235 may follow is said by x->complete.
 * Errors: ERR_AUTH (this server cannot be authenticated to, or is not who it should be; *why says it), ERR_TOO_LARGE
 * (credentials, for the line's memory), ERR_TIMEOUT (go_on said so). */
int smtp_auth_next(struct smtp_exchange *x, const struct smtp_login *login, struct str challenge,
		   struct smtp_auth_line *out);

/* SCRAM-SHA-256 (RFC 5802, RFC 7677), messages in and out without base64. Without channel binding and authzid. Of
 * SASLprep (RFC 4013) only what concerns ASCII is done: control bytes are refused. Beyond ASCII names and passwords
 * go as they are in UTF-8: whoever uses compatibility forms in them must write them as the server stores them. */
/* RFC 7677 section 4: fewer would make a proof that was stolen cheap to try passwords on. */
#define SMTP_SCRAM_ITERATIONS_MIN 4096
/* Some seconds of a small processor, which any server could ask for. */
#define SMTP_SCRAM_ITERATIONS_MAX 600000
bool smtp_scram_can(const struct smtp_login *login);
void smtp_scram_first(struct buf *out, const struct smtp_exchange *x, const struct smtp_login *login);
/* Reads the server's first message, appends the client's final one, keeps in x what the server must prove. */
int smtp_scram_final(struct buf *out, struct smtp_exchange *x, const struct smtp_login *login,
		     struct str server_first, struct buf *why);
/* Judges the server's final message. Errors: ERR_AUTH. */
int smtp_scram_verify(const struct smtp_exchange *x, struct str server_final, struct buf *why);

/* True when a server's line repeats the last digest or proof: beside its challenge one can guess passwords with it
 * at leisure, so it is not shown either. */
bool smtp_tells_digest(struct str line, const struct smtp_exchange *x);

/* True when a server's text repeats the password, as it is or in a form in which it could have been sent: whatever
 * white space, control bytes, capitals and %HH make of it; eight characters together of its base64 (either alphabet)
 * or hex. halves: either half of it is enough, as when the text is
 * one line of several; it is with eight characters in any case. Such a text is shown to
 * nobody. Passwords under 4 bytes are not looked for as they are: they would be found everywhere. Cheap for the usual
 * reply, and free without a password. */
bool smtp_tells_secret(struct str line, const char *username, const char *password, bool halves);

/* ---- content ---- */

/* Appends s as xtext (RFC 3461 section 4): '+', '=' and what is not printable ASCII as +HH. */
void smtp_xtext(struct buf *out, struct str s);

/* Content to wire: every CRLF, LF and CR becomes one CRLF; a dot that begins a line is doubled (RFC 5321
 * sections 2.3.8 and 4.5.2). */
struct smtp_stuffer {
	bool plain;    /* for BDAT: dots are not doubled */
	bool in_line;  /* the last line has no end yet */
	bool after_cr; /* an LF now belongs to the CR before it */
};
/* Takes from in what fits into out, at least one byte if cap is 2 or more; returns the bytes written, *taken of
 * in are done. */
size_t smtp_stuff(struct smtp_stuffer *t, const char *in, size_t len, size_t *taken, char *out, size_t cap);
/* The last line's end if it has none, and the final dot unless plain: at most SMTP_STUFF_END_MAX bytes. */
#define SMTP_STUFF_END_MAX 5
size_t smtp_stuff_end(const struct smtp_stuffer *t, char *out);

#endif
