/* Private to the room cli: `sendmail` as other programs call it, its words and its message; the two pure halves of
 * sendmail.c, for tests.
 */
#ifndef POSTERN_CLI_SENDMAIL_H
#define POSTERN_CLI_SENDMAIL_H

#include "cli/room.h"

/* <sysexits.h>, which programs that call sendmail know. */
enum sendmail_exit {
	SENDMAIL_OK = 0,
	SENDMAIL_USAGE = 64,
	SENDMAIL_DATA = 65,        /* the message or an address is refused */
	SENDMAIL_UNAVAILABLE = 69, /* something that this sendmail does not do */
	SENDMAIL_OS = 71,
	SENDMAIL_CANNOT_WRITE = 73,
	SENDMAIL_TRY_LATER = 75,
	SENDMAIL_NO_PERMISSION = 77,
	SENDMAIL_CONFIG = 78
};

/* What the words said. */
struct sendmail {
	bool from_header; /* -t: recipients from the message */
	bool dot_is_text; /* -i, -oi: a line of one dot does not end the message */
	bool verbose;     /* -v */
	bool nothing;     /* -q: work the queue, which the gateway does by itself */
	const char *from; /* -f, -r; NULL: not given */
	const char *name; /* -F */
	const char *file; /* -C */
	const char *rcpts[CLI_GIVEN_MAX];
	int rcpt_count;
};

/* Options may stand together (-ti), their values with them or apart; what only changes how other sendmails work is
 * passed over. own: called as `postern sendmail`, where -c FILE is the configuration.
 * Returns 0, or SENDMAIL_USAGE or SENDMAIL_UNAVAILABLE with a sentence in why. Pure. */
int sendmail_parse(const char *const *words, int count, bool own, struct sendmail *out, struct buf *why);

/* What the header of the message has. */
struct sendmail_header {
	bool from; /* a From with an address that has a domain */
};

/* The message as the gateway takes it: in is what was read, to its end or to the lone dot, which is looked for here
 * unless dot_is_text. Line ends are LF. What local programs get away with is mended: a message without a header gets
 * an empty one, a missing empty line behind the header is put there, lines of the body over 998 bytes are broken, the
 * rest of them indented by a space. All else stays. Pure. */
void sendmail_message(struct str in, bool dot_is_text, struct buf *out, struct sendmail_header *header);

#endif
