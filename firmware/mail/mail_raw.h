/* mail_raw: a finished RFC 5322 message (job.raw) on its way out, in fixed memory. A part of mail.h, which
 * includes this.
 *
 * The same pull interface as struct mail: open looks through the whole message once and knows size and flags
 * then; read gives the bytes, rewind starts over, every pass is the same. The message goes as it is, signatures
 * stay valid, but for:
 *
 *   line ends      CR, LF and CRLF all become CRLF; the last line is ended
 *   Bcc            removed with all its lines, and Resent-Bcc; so is Return-Path (it is the last server's to
 *                  write, RFC 5321 section 4.4), and an mbox's "From " line in front
 *   Message-ID     put in front when there is none (RFC 6409 section 8.3): input.message_id
 *   Date           likewise, when the clock is set (section 8.2)
 *   From           likewise, and in place of one without any address (as local programs write: "From: root"),
 *                  whose text becomes the display name: as mail_sender_choose says, which also makes the envelope
 *
 * from_override changes the envelope (and an added From), never a From that is there. No body is encoded anew:
 * what cannot be sent as it stands (see job_raw_reader) is refused. One struct a mail, never shared between
 * threads.
 */
#ifndef POSTERN_MAIL_MAIL_RAW_H
#define POSTERN_MAIL_MAIL_RAW_H

#include "mail/mail.h"

#define MAIL_RAW_FRONT_MAX 2000
#define MAIL_RAW_NAME_MAX  100

/* Fields are the room's own but for info, why and sender. About 7 KB. */
struct mail_raw {
	const struct mail_input *input;
	struct mail_info info; /* eight_bit: in header or body; bytes: known after mail_raw_open */
	const char *why;       /* after an error of our own: a static sentence for people; else NULL */
	struct mail_sender sender;

	struct job_raw_reader reader;
	bool has_from, has_date, has_message_id;
	enum job_raw_field field; /* that the header's line belongs to */
	bool ended;
	char local_name[MAIL_RAW_NAME_MAX + 1]; /* of a From without an address */
	size_t front_len;
	size_t out_len, out_at;
	char front[MAIL_RAW_FRONT_MAX]; /* the fields that are added */
	char out[2 * (JOB_RAW_LINE_MAX + 2)];
};

/* input as for mail_open, but for its parts, which do not count. streamed: NULL when job.raw.utf8 is in memory,
 * else set up with job_text_reader_init at job.raw.src_at. All must stay.
 * Errors: ERR_CONFIG (no from), ERR_INVALID (why says what), ERR_CORRUPT (not base64), those of the stream. */
int mail_raw_open(struct mail_raw *m, const struct mail_input *input, struct job_text_reader *streamed);

/* > 0 bytes, 0 at the end. Errors: those of the stream; ERR_CORRUPT when it gives other bytes than it gave
 * mail_raw_open. */
int mail_raw_read(struct mail_raw *m, char *bytes, size_t cap);

/* Starts a new pass. */
int mail_raw_rewind(struct mail_raw *m);

#endif
