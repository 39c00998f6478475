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
 * The mail is a list of parts in the order in which they stand; the MIME tree follows from their roles:
 *
 *     mixed( alternative( text, related( html, inline... ) ), attached... )
 *
 * and what would hold one part only is left out.
 */
#ifndef POSTERN_MAIL_MAIL_H
#define POSTERN_MAIL_MAIL_H

#include "job/job.h"

#define MAIL_PARTS_MAX            2   /* what a job makes: its text and its HTML. For callers' tables */
#define MAIL_PARTS_LIMIT          255 /* what mail_open takes */
#define MAIL_NAME_BYTES_MAX       255
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
	MAIL_BODY,    /* text, UTF-8; several bodies are alternatives, the plainest first */
	MAIL_INLINE,  /* what the last body refers to by content_id (multipart/related, RFC 2387) */
	MAIL_ATTACHED /* a file beside them (RFC 2183) */
};

/* What mail_open finds out about a part. The room's own. */
struct mail_found {
	int64_t bytes; /* as it is written */
	uint8_t encoding, charset;
	bool canonical; /* its line ends are written as CRLF */
	bool opaque;    /* a message that cannot be one inside of this mail: application/octet-stream */
};

/* Text travels as text, with CRLF line ends. In a file that is attached they are content: text with any other
 * line end travels as base64 and comes out byte by byte, like everything that is not text. message/rfc822 is
 * never encoded (RFC 2046 section 5.2.1); its line ends become CRLF, and with a NUL or a line over 998 bytes
 * it goes as a file of unknown type. */
struct mail_part {
	enum mail_role role;
	const char *type; /* "text/plain", without parameters; NULL: "application/octet-stream" */
	struct mail_source source;
	struct str name;       /* file name in UTF-8, to MAIL_NAME_BYTES_MAX; may be empty; not for bodies */
	struct str content_id; /* without brackets; may be empty */
	struct mail_found found;
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
	bool date_known;         /* false: no Date line, for the server to add */
	int64_t date_ms;         /* unix */
	struct str message_id;   /* without brackets, as of job_message_id */
	struct str front;        /* finished fields, each with its CRLF, in front of all others: for a
	                          * signature that is computed over a pass. It may be set after mail_open
	                          * and changed between passes, then mail_measure is to be called again */
	struct mail_part *parts; /* 1 to MAIL_PARTS_LIMIT: bodies, then inline, then attached ones; `found`
	                          * is written to, so that a table belongs to one mail at a time */
	size_t part_count;
};

struct mail_info {
	bool smtputf8;  /* an address has a local part beyond ASCII: SMTPUTF8 (RFC 6531) is needed */
	bool eight_bit; /* there are 8-bit bytes: in such an address, or in a message inside */
	int64_t bytes;  /* the size of the whole; -1 until mail_measure */
};

/* Fields are the room's own but for info and why. About 4 KB. input, and all it points to, must live as
 * long. */
struct mail {
	const struct mail_input *input;
	struct mail_info info;
	const char *why; /* after an error of our own: a static sentence for people; else NULL */

	struct mail_sender sender;
	char boundary[36]; /* what all boundaries have in common */
	size_t bodies, inlines;

	bool measuring; /* only the header is written, and counted */
	bool header_done;
	size_t part;    /* where we are: on the way to this part, */
	unsigned phase; /* and how far; */
	unsigned field; /* in a header: its field, */
	size_t item;    /* the field's recipient or custom line, */
	size_t at;      /* the byte of its value, */
	size_t group;   /* the group, */
	bool in_group;
	bool comma; /* whether one goes in front of the next item */
	struct job_list list;
	bool begun;    /* whether something of it was written, */
	uint8_t form;  /* how its value is written, */
	size_t column; /* and the column of the output line */

	size_t in_len, in_at; /* the content's bytes read and not yet written */
	bool in_end;
	bool line_open;     /* the content's line is not ended yet */
	int64_t written;    /* bytes of the content */
	size_t pending_len; /* base64: bytes of an unfinished line */
	unsigned char pending[57];

	size_t out_len, out_at;
	char in[1024];
	char out[2560];
};

/* Looks through the parts and gets ready for the first pass. *input must stay.
 * Errors: ERR_CONFIG (no from), ERR_INVALID (why says what: an address without domain, no part, what no
 * header may have), those of the sources. */
int mail_open(struct mail *m, const struct mail_input *input);

/* > 0 bytes, 0 at the end. Errors: those of the sources; ERR_CORRUPT when a source gives other bytes than
 * it gave mail_open. */
int mail_read(struct mail *m, char *bytes, size_t cap);

/* Starts a new pass. Errors: none but for CHECKs. */
int mail_rewind(struct mail *m);

/* Fills in info.bytes, then rewinds. The header is composed for it; the contents were measured by mail_open and
 * are not read. Errors: none. */
int mail_measure(struct mail *m);

/* Finished messages. */
#include "mail/mail_raw.h"

#endif
