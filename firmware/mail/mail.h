/* mail: an e-mail composed from a job, byte by byte, in fixed memory.
 *
 * Called by the workers (rooms provider and smtp), one struct mail a mail, never shared between threads. A
 * pull interface: mail_open looks through the bodies once and decides everything that depends on them
 * (transfer encodings, flags); mail_read gives the bytes; mail_rewind starts over. The bytes depend on the
 * input alone: every pass is the same, so one pass may measure (SIZE), another sign, another send. Nothing
 * is taken from the heap and no body is ever held whole.
 *
 * What comes out: RFC 5322 and MIME; CRLF line ends only; no line over 998 bytes (76 but for long words and
 * addresses); no NUL; ASCII only, unless info.smtputf8 says that an address needs UTF-8 in the header (RFC
 * 6532). Bodies are 7bit, quoted-printable or base64, whichever carries them unharmed in the fewest bytes;
 * CR, LF and CRLF in them all are line ends, and the last line is ended. Never: Bcc, dot-stuffing (smtp
 * does that), anything of the gateway's own identity, time or chance.
 *
 * The mail is a list of parts; the MIME tree is made from their roles and walked as a flat list of steps,
 * so that later kinds of parts (inline, attached, finished messages) are more roles and steps, not another
 * interface.
 */
#ifndef POSTERN_MAIL_MAIL_H
#define POSTERN_MAIL_MAIL_H

#include "job/job.h"

#define MAIL_PARTS_MAX            2
#define MAIL_STEPS_MAX            (2 + 3 * MAIL_PARTS_MAX + 2)
#define MAIL_MESSAGE_ID_BYTES_MAX 300

/* Where a part's content comes from. read: > 0 bytes, 0 at the end, or an error, which is passed on.
 * rewind: from the first byte again, which must then come out the same. */
struct mail_source {
	int (*read)(void *arg, char *bytes, size_t cap);
	int (*rewind)(void *arg);
	void *arg;
};

/* Content that lies in memory; *m must live as long as the source. */
struct mail_memory {
	struct str text;
	size_t at;
};
struct mail_source mail_source_memory(struct mail_memory *m, struct str text);

/* Content streamed from the stored job; *r was set up with job_text_reader_init. */
struct mail_source mail_source_job_text(struct job_text_reader *r);

enum mail_role {
	MAIL_BODY /* text, UTF-8; several bodies are alternatives, the plainest first */
};

struct mail_part {
	enum mail_role role;
	const char *type; /* "text/plain", "text/html" */
	struct mail_source source;
};

/* Under whose name a mail goes out. header, name, reply_to and envelope point into the job or the
 * provider's addresses. */
struct mail_sender {
	const struct job_address *header;   /* From: */
	struct str name;                    /* its display name; may be empty */
	const struct job_address *reply_to; /* Reply-To:, NULL for none */
	struct str envelope;                /* MAIL FROM, without brackets; empty: the null sender <> */
	struct str domain;                  /* of From, for job_message_id */
};

/* provider_from and from_override are the provider's addresses, parsed by job_address_parse; NULL: none.
 * From is from_override, else the job's from, else provider_from. An override without a display name
 * borrows the job's, and the job's own from becomes the Reply-To when the job names no other. The envelope
 * is the job's envelope_from, else From's address.
 * Errors: ERR_CONFIG (no from anywhere). */
int mail_sender_choose(const struct job *job, const struct job_address *provider_from,
		       const struct job_address *from_override, struct mail_sender *out);

struct mail_input {
	const struct job *job; /* its envelope is enough; aliases resolved: every address has a domain */
	const struct job_address *provider_from;
	const struct job_address *from_override;
	bool date_known;               /* false: no Date line, for the server to add */
	int64_t date_ms;               /* unix */
	struct str message_id;         /* without brackets, as of job_message_id */
	const struct mail_part *parts; /* 1 to MAIL_PARTS_MAX */
	size_t part_count;
};

struct mail_info {
	bool smtputf8;  /* an address has a local part beyond ASCII: SMTPUTF8 (RFC 6531) is needed */
	bool eight_bit; /* there are 8-bit bytes (then only in the header) */
	int64_t bytes;  /* the size of the whole; -1 until mail_measure */
};

enum mail_encoding { MAIL_7BIT, MAIL_QUOTED, MAIL_BASE64 };

/* One step of the way through the MIME tree. */
struct mail_step {
	uint8_t kind;
	uint8_t part;
};

/* Fields are the room's own but for info and why. About 4 KB. input, and all it points to, must live as
 * long. */
struct mail {
	const struct mail_input *input;
	struct mail_info info;
	const char *why; /* after an error of our own: a static sentence for people; else NULL */

	struct mail_sender sender;
	enum mail_encoding encodings[MAIL_PARTS_MAX];
	char boundary[48];
	struct mail_step steps[MAIL_STEPS_MAX];
	size_t step_count;

	size_t step;    /* where we are: the step, */
	unsigned field; /* in the header: its field, */
	size_t item;    /* the field's recipient or custom line, */
	size_t at;      /* the byte of its value, */
	bool begun;     /* whether something of the field or body was written, */
	uint8_t form;   /* how its value is written, */
	size_t column;  /* and the column of the output line */

	size_t in_len, in_at; /* the body's bytes read and not yet encoded */
	bool in_end;
	bool after_cr;          /* the last byte was CR: an LF belongs to it */
	bool line_open;         /* the body's line is not ended yet */
	unsigned char group[3]; /* base64: bytes of an unfinished group */
	size_t group_len;
	char held_space; /* quoted-printable: a space or tab whose successor is not known yet; 0: none */
	size_t from_len; /* quoted-printable: so much of "From" the line consists of */

	size_t out_len, out_at;
	char in[1024];
	char out[2560];
};

/* Looks through the parts and gets ready for the first pass. *input must stay.
 * Errors: ERR_CONFIG (no from), ERR_INVALID (why says what: an address without domain, no part), those of
 * the sources. */
int mail_open(struct mail *m, const struct mail_input *input);

/* > 0 bytes, 0 at the end. Errors: those of the sources; ERR_CORRUPT when a source gives other bytes than
 * it gave mail_open. */
int mail_read(struct mail *m, char *bytes, size_t cap);

/* Starts a new pass. Errors: those of the sources. */
int mail_rewind(struct mail *m);

/* One whole pass that fills in info.bytes, then rewinds. Errors: as mail_read. */
int mail_measure(struct mail *m);

/* Finished messages. */
#include "mail/mail_raw.h"

#endif
