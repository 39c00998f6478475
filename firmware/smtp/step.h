/* Whether replies are in step with commands. Of this room only.
 *
 * A reply names no command: with several mails in flight, one too many or one too few moves the final reply of a
 * mail under another. DATA's 354 is a mark in the stream; BDAT has none. There the wording has to do: what a server
 * says to RCPT it does not say to the end of a mail. It is learned on each connection from replies that are
 * certain; nothing is presumed but that an address's enhanced code (RFC 3463 section 3.2) ends no mail.
 */
#ifndef POSTERN_SMTP_STEP_H
#define POSTERN_SMTP_STEP_H

#include "smtp/smtp.h"

enum step_sign {
	STEP_FITS,
	/* Worded as the reply to another command is: a server may be careless, but nothing is built on it. */
	STEP_DOUBT,
	/* The final reply is worded as one to another command, or one to another command as a final one. */
	STEP_WRONG
};

/* Of the 2yz in s->reply, to a command of f's. What fits is learned. A flight that nothing shared the connection with
 * is not judged: its replies are what is learned from. */
enum step_sign step_judge(struct smtp *s, const struct smtp_flight *f, enum smtp_command command);

/* True when a final 2yz was heard: before, by BDAT, a mail goes without company. */
bool step_knows_finals(const struct smtp *s);
/* After a final 2yz: true when it is told from the reply to a recipient. */
bool step_tells(const struct smtp *s);

#endif
