/* job: the nouns of postern, and the two JSON formats in which applications hand jobs in.
 *
 * Pure: bytes in, struct out; no clock, no storage, no threads; nothing is allocated but from the arena
 * given. Called by the intakes (api, cli's drop files, later AMQP) to judge a job, and by the workers,
 * which decode the stored original again when they send it: the original text is the only copy of a job on
 * flash.
 *
 * Source of the formats: the integration guide (format 1) and the setup guide (format 0), see CONTRACT in
 * README. Never: strips or repairs anything. What is not exactly right is refused with a JSON pointer and a
 * reason.
 */
#ifndef POSTERN_JOB_JOB_H
#define POSTERN_JOB_JOB_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/str.h"

/* Sizes in bytes and numbers that a job may not exceed, beyond the limits that are configured. */
#define JOB_MESSAGE_ID_MAX   LIMIT_job_message_id
#define JOB_LABEL_MAX        LIMIT_job_label /* tenant_id, user_id, template_id … */
#define JOB_PROVIDER_MAX     63
#define JOB_SUBJECT_MAX      LIMIT_job_subject
#define JOB_NAME_MAX         256 /* a display name */
#define JOB_ADDRESS_MAX      254 /* RFC 5321 erratum 1690 */
#define JOB_LOCAL_MAX        64  /* RFC 5321 section 4.5.3.1.1 */
#define JOB_GROUPS_MAX       32
#define JOB_HEADERS_MAX      LIMIT_job_headers
#define JOB_HEADER_NAME_MAX  76
#define JOB_HEADER_VALUE_MAX LIMIT_job_header_value
#define JOB_ATTACHMENTS_MAX  LIMIT_job_attachments
#define JOB_RAW_HEADER_MAX   LIMIT_job_raw_header
#define JOB_RAW_LINE_MAX     998 /* RFC 5322 section 2.1.1, without the line end */

enum job_format { JOB_FORMAT_0, JOB_FORMAT_1 };

enum job_state { JOB_PENDING, JOB_PROCESSING, JOB_COMPLETED, JOB_FAILED };
#define JOB_STATE_COUNT 4

/* Why a job is where it is, beyond its state. */
enum job_reason {
	JOB_REASON_NONE,
	JOB_REASON_HELD,      /* pending: not the mail's fault, see its error text */
	JOB_REASON_RETRY,     /* pending: waits for its next try */
	JOB_REASON_UNCERTAIN, /* pending: the end was not confirmed; waits out the safe time */
	JOB_REASON_REFUSED,   /* failed: 5yz */
	JOB_REASON_RETRIES,   /* failed: the retries are used up */
	JOB_REASON_CANCELLED, /* failed */
	JOB_REASON_EXPIRED,   /* failed */
	JOB_REASON_BAD        /* failed: cannot be composed (template, attachment) */
};

enum job_priority { JOB_PRIORITY_HIGH, JOB_PRIORITY_NORMAL, JOB_PRIORITY_LOW };
#define JOB_PRIORITY_COUNT 3

enum job_rcpt_kind { JOB_RCPT_TO, JOB_RCPT_CC, JOB_RCPT_BCC };

/* An address as it was given: "a@b", "Name <a@b>". Bare local names ("root") are left to the alias table:
 * domain is absent then. All parts are free of CR, LF, NUL and control bytes. */
struct job_address {
	struct str text;   /* the whole as given */
	struct str name;   /* display name, unquoted, UTF-8; may be empty */
	struct str addr;   /* addr-spec for RCPT TO: local@domain, the domain in A-labels (RFC 5890) */
	struct str domain; /* points into addr; absent for a bare local name */
};

struct job_rcpt {
	enum job_rcpt_kind kind;
	struct job_address address;
};

/* A group of to or cc as the header shows it ("Team: a@b, c@d;"). Its members are recipients like others. */
struct job_group {
	enum job_rcpt_kind kind;
	struct str name;     /* unquoted, UTF-8 */
	size_t first, count; /* its members in job->rcpts; what was named before it is not among them */
};

/* A text that may be long: decoded, and where its JSON string begins in the original (offset of the byte
 * behind the opening quote), so that a sender can stream it from there with job_text_reader. */
struct job_text {
	struct str utf8; /* .ptr NULL: absent. After job_copy_envelope: .ptr NULL but len kept */
	size_t src_at;
	bool present;
};

struct job_attachment {
	struct str filename;
	struct str mime_type;
	struct str content_id;
	struct str url; /* one of url, path, content */
	struct str path;
	struct job_text content; /* base64, checked */
};

struct job_header {
	struct str name;
	struct str value;
};

struct job {
	enum job_format format;
	/* identity and labels; all may be empty */
	struct str tenant_id;
	struct str provider_id;
	struct str user_id;
	struct str message_id; /* as given; absent also when given as "" */
	struct str template_id;
	struct str template_path;
	struct str campaign_id;
	struct str email_type;
	struct str source_app;
	struct str related_model_id; /* a number is kept in its decimal form */
	/* envelope and header */
	struct job_address from; /* .addr absent: the provider's */
	struct job_address reply_to;
	struct str envelope_from; /* absent: From's; there but empty: the null sender ("<>") */
	struct job_rcpt
		*rcpts; /* to, then cc, then bcc, as given (those of a message: in its order); each once */
	size_t rcpt_count;
	struct job_group *groups; /* by kind, then as given; none of bcc */
	size_t group_count;
	struct str subject;
	struct job_header *headers;
	size_t header_count;
	/* content */
	struct job_text text;
	struct job_text html;
	struct job_text raw; /* base64 of a finished RFC 5322 message */
	struct str context;  /* the JSON text of context{}, compact; absent when absent or empty */
	struct job_attachment *attachments;
	size_t attachment_count;
	/* policy */
	enum job_priority priority;
	int64_t send_at_ms;    /* unix; 0: at once */
	int64_t expires_at_ms; /* unix; 0: by [retry] expire */
	/* SHA-256 over all of the above but nothing else: not over the timestamp, unknown members, white
	 * space, the order of members. Two submissions with the same identity and the same digest are the
	 * same job. */
	unsigned char digest[DIGEST_SHA256_BYTES];
};

struct job_limits {
	size_t job_bytes; /* the JSON text */
	size_t recipients;
	size_t envelope_bytes; /* all that job_copy_envelope keeps */
	bool attachments;      /* false: this version cannot send attachments: refuse them */
	bool templates;        /* likewise template_path, and template_id without a body */
	size_t message_bytes;  /* of raw, as it will be on the wire; 0: any */
};

/* With ERR_TOO_LARGE: what the job is too much for. */
enum job_excess {
	JOB_EXCESS_NONE,  /* what one of its members may be: a mistake of form */
	JOB_EXCESS_SIZE,  /* [limits] job_bytes or message_bytes */
	JOB_EXCESS_MEMORY /* the arena: it may pass with a larger one */
};

/* The first problem of a job. */
struct job_problem {
	char pointer[128]; /* RFC 6901, "" for the whole document */
	char reason[256];  /* one sentence without a full stop */
	enum job_excess excess;
};

/* Where the formats leave it open:
 *   - a known member, header or attachment member that stands there twice is refused; unknown ones are
 * ignored
 *   - body_format absent is TEXT; it and priority are read without case
 *   - the members of identity, sender, headers and policy count in both formats, those of content in their
 * own
 *   - with html_body, template_path is a label, as template_id is with body_content
 *   - a string of to, cc, bcc or recipients may be a group, "Team: a@b, c@d;" (RFC 5322 section 3.4): its members
 * become recipients, and the header shows it
 *   - headers of addresses (Reply-To, Sender ...) must be such, names in UTF-8; headers of message ids, URIs and
 * tokens (References, List-Unsubscribe ...) must be ASCII that can be folded
 *   - an empty label ("") is none; an empty address is refused; envelope_from "<>" is the null sender
 *   - a header's value may be a number, or an array for a header that occurs several times; null is none
 *   - raw goes alone: not beside bodies, headers, attachments and reply_to. Its base64 is RFC 4648's: no white
 * space, padding there, left-over bits 0
 *   - with raw, what the job does not name itself is read from the message: recipients from its To, Cc and Bcc
 * (from the Resent- ones when there are any, RFC 5322 section 3.6.6), from from From, envelope_from from Sender,
 * subject (for lists) from Subject. from beside raw counts for the envelope, and for a message without From
 *   - a finished message is refused for what no mail can carry: NUL, lines over 998 bytes, a header that is not
 * UTF-8, a line of the header that is none, two From fields
 *   - control characters are refused in everything but bodies; a tab is refused in addresses alone
 */

/* Decodes one job. text needs JSON_PADDING writable bytes behind len and is changed in place; the job's
 * strings point into it and into the arena. A copy of the original must be taken before, if it is to be
 * stored.
 * Errors: ERR_SYNTAX (not JSON), ERR_INVALID (JSON, but not a job), ERR_TOO_LARGE (a limit),
 * ERR_UNSUPPORTED (a member that this version cannot honour). *problem is filled in for each. */
int job_decode(struct arena *a, char *text, size_t len, const struct job_limits *limits, struct job *out,
	       struct job_problem *problem);

/* Arena bytes that job_decode needs at most for a text of len bytes (worst case: an array of one-byte
 * numbers). */
size_t job_decode_arena_bytes(size_t len);

/* Copies everything but the long texts (text, html, raw, attachments' content keep len and src_at only).
 * Errors: ERR_TOO_LARGE. */
int job_copy_envelope(struct arena *a, const struct job *from, struct job *to);
/* Arena bytes that it takes at most. */
size_t job_envelope_bytes(const struct job *job);

/* Names of the enums, for JSON and screens. */
const char *job_state_name(enum job_state s);           /* "pending" … */
int job_state_parse(struct str s, enum job_state *out); /* Errors: ERR_INVALID */
const char *job_reason_name(enum job_reason r);         /* "held" …, "" for none */
const char *job_priority_name(enum job_priority p);

/* One address by itself (CLI flags, provider's from). A bare local name passes: callers that need a domain
 * look at .domain. Domains beyond ASCII become A-labels; capital letters become small ones and
 * letters with marks are composed (job_idna.c); any other form that would have to be normalised first is refused.
 * why (may be NULL) gets a static sentence. Errors: ERR_INVALID, ERR_TOO_LARGE (the arena). */
int job_address_parse(struct arena *a, struct str text, struct job_address *out, const char **why);

/* The name of a group, or in front of an address: words and quoted strings, unquoted. Errors: as above. */
int job_phrase_parse(struct arena *a, struct str text, struct str *out, const char **why);

/* A list of addresses taken apart, one by one. */
struct job_list {
	struct str text;
	size_t at;     /* in text; with in_group all there is to know to go on later */
	bool in_group; /* the next mailbox is a member */
	bool behind_group, after_comma;
	const char *why; /* after ERR_INVALID: a static sentence */
};
enum { JOB_LIST_END, JOB_LIST_MAILBOX, JOB_LIST_GROUP, JOB_LIST_GROUP_END };
void job_list_init(struct job_list *l, struct str text);
/* One of the above. *item is a mailbox for job_address_parse, or a group's name for job_phrase_parse.
 * Errors: ERR_INVALID (why). */
int job_list_next(struct job_list *l, struct str *item);
/* Whether all of it is good, every address with a domain, and at least one item. Errors: ERR_INVALID. */
int job_list_check(struct str text, const char **why);

/* How the value of a header of the job's own reads, and so may be written. */
enum job_header_kind {
	JOB_HEADER_TEXT,      /* unstructured */
	JOB_HEADER_ADDRESSES, /* a list of addresses */
	JOB_HEADER_PHRASES,   /* phrases between commas (Keywords), the last with <...> behind it (List-ID) */
	JOB_HEADER_VERBATIM /* message ids, URIs, tokens: never encoded, folded at white space outside of <> */
};
enum job_header_kind job_header_kind(struct str name);
#define JOB_HEADER_WORD_MAX 900 /* of a verbatim value: so much may stand without a place to fold */
/* Whether the value suits the header's kind. why gets a static sentence. Errors: ERR_INVALID. */
int job_header_check(enum job_header_kind kind, struct str value, const char **why);

/* The same for lists that others have written (RFC 5322 section 4.4), unfolded: only the mailboxes; the names
 * of groups and empty places are passed over. *at is 0 at first and moves on; false at the end. */
bool job_mailbox_next(struct str list, size_t *at, struct str *mailbox);

/* The stored message's Message-ID without brackets, made from tenant, job id and From domain only (never
 * from the gateway), so that a job sent twice carries the same: "<hash>.<id part>@domain". Needs
 * 256 bytes; the first labels of a domain over 180 bytes are left out. */
void job_message_id(struct buf *b, struct str tenant_id, struct str message_id, struct str from_domain);

/* Reads a long text out of the stored original, chunk by chunk, undoing the JSON escapes; fixed memory.
 * fetch gives bytes of the original from an offset (0 at its end, or an error, which is passed on). */
struct job_text_reader {
	int (*fetch)(void *arg, size_t at, char *bytes, size_t cap);
	void *arg;
	size_t src_at; /* as in job_text */
	size_t at;     /* next byte of the original */
	char chunk[512];
	size_t chunk_len, chunk_at;
	unsigned high_surrogate;
	unsigned escape; /* 0 none, 1 after the backslash, 2 to 5 the digits of \u */
	unsigned unit;   /* the UTF-16 unit those digits make */
	char ready[4];   /* UTF-8 of an escape that did not fit into the caller's bytes */
	unsigned ready_len, ready_at;
	bool end;
};
void job_text_reader_init(struct job_text_reader *r, int (*fetch)(void *, size_t, char *, size_t), void *arg,
			  size_t src_at);
void job_text_reader_rewind(struct job_text_reader *r);
/* > 0 bytes of UTF-8, 0 at the end of the string. Errors: of fetch; ERR_CORRUPT when the text is no JSON
 * string. */
int job_text_reader_read(struct job_text_reader *r, char *bytes, size_t cap);

/* A finished message (raw), line by line: base64 undone; CR, LF, CRLF and any run of CR before an LF are one line end
 * each, the last line is ended. Fixed memory; every pass is the same. Fields are the room's own but for the four
 * named. */
struct job_raw_reader {
	const char *why; /* after ERR_INVALID: a static sentence without a full stop */
	size_t line_no;  /* of the line given last, or of the one that is wrong; from 1 */
	bool in_header;  /* the line given last is of the header, its fields or the empty line behind them */
	bool eight_bit;  /* it has bytes beyond ASCII */

	struct job_text_reader *text; /* NULL: from memory */
	struct str memory;
	size_t memory_at;
	char in[512];
	char bytes[384];
	size_t len, at;
	bool last, head_over;
	size_t header_bytes, line_len;
	size_t owed; /* empty lines, of CRs that are behind us already */
	char line[JOB_RAW_LINE_MAX + 2];
};

/* base64 as in job.raw.utf8, or streamed: *text was set up with job_text_reader_init at job.raw.src_at. Both must
 * stay. */
void job_raw_reader_memory(struct job_raw_reader *r, struct str base64);
void job_raw_reader_stream(struct job_raw_reader *r, struct job_text_reader *text);
void job_raw_reader_rewind(struct job_raw_reader *r);

/* 1: *line is the next one, without its end, and stays until the next call; 0: there are no more.
 * Errors: ERR_INVALID (why: a NUL, a line too long, a header that is too long, not UTF-8 or no header),
 * ERR_CORRUPT (not base64), those of the stream. */
int job_raw_line(struct job_raw_reader *r, struct str *line);

/* What a line of the header begins. */
enum job_raw_field {
	JOB_RAW_MORE, /* nothing: it continues the field before it, or is the empty line */
	JOB_RAW_FROM,
	JOB_RAW_SENDER,
	JOB_RAW_TO,
	JOB_RAW_CC,
	JOB_RAW_BCC,
	JOB_RAW_RESENT_TO,
	JOB_RAW_RESENT_CC,
	JOB_RAW_RESENT_BCC,
	JOB_RAW_SUBJECT,
	JOB_RAW_DATE,
	JOB_RAW_MESSAGE_ID,
	JOB_RAW_RETURN_PATH,
	JOB_RAW_MBOX, /* the "From " line that an mbox has in front of each message: first line only */
	JOB_RAW_OTHER
};
/* *value gets what stands behind the colon in this line, trimmed. */
enum job_raw_field job_raw_field(struct str line, struct str *value);

/* How an attempt ended, for everybody who asked to know (queue, API, CLI). */
enum job_result_kind {
	JOB_RESULT_SENT,   /* "status":"sent" */
	JOB_RESULT_FAILED, /* one try failed; next_retry_at_ms 0: it was the last */
	JOB_RESULT_HELD    /* "status":"held": waits, no try was spent */
};

struct job_result_rcpt {
	enum job_result_kind kind; /* HELD: still waits */
	struct str address;
	struct str text; /* reply or reason; may be empty */
};

struct job_result {
	enum job_result_kind kind;
	struct str message_id;
	/* sent */
	struct str provider_name;
	struct str provider_message_id;
	int64_t sent_at_ms;
	/* failed, held */
	struct str error;
	unsigned retry_count, max_retries;
	int64_t next_retry_at_ms;
	/* written when there are at least two */
	const struct job_result_rcpt *rcpts;
	size_t rcpt_count;
};

/* The result event of CONTRACT section 5, one JSON object. With more recipients than b has room for, those
 * that were not sent to come first, texts are left out, and "recipients_left_out" says how many are
 * missing: b is cut only when it has not even room for the rest. */
void job_result_json(struct buf *b, const struct job_result *r);

#endif
