/* job: the nouns of postern, and the two JSON formats in which applications hand jobs in.
 *
 * Pure: bytes in, struct out; no clock, no storage, no threads; nothing is allocated but from the arena given.
 * Called by the intakes (api, cli's drop files, later AMQP) to judge a job, and by the workers, which decode the stored original
 * again when they send it: the original text is the only copy of a job on flash.
 *
 * Source of the formats: the integration guide (format 1) and the setup guide (format 0), see CONTRACT in README.
 * Never: strips or repairs anything. What is not exactly right is refused with a JSON pointer and a reason.
 */
#ifndef POSTERN_JOB_JOB_H
#define POSTERN_JOB_JOB_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/str.h"

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

/* An address as it was given: "a@b", "Name <a@b>". Bare local names ("root") are left to the alias table: domain
 * is absent then. All parts are free of CR, LF, NUL and control bytes. */
struct job_address {
	struct str text;   /* the whole as given */
	struct str name;   /* display name, unquoted, UTF-8; may be empty */
	struct str addr;   /* addr-spec as it goes into RCPT TO: local@domain */
	struct str domain; /* points into addr; absent for a bare local name */
};

struct job_rcpt {
	enum job_rcpt_kind kind;
	struct job_address address;
};

/* A text that may be long: decoded, and where its JSON string begins in the original (offset of the byte behind the
 * opening quote), so that a sender can stream it from there with job_text_reader. */
struct job_text {
	struct str utf8; /* .ptr NULL: absent. After job_copy_envelope: .ptr NULL but len kept */
	size_t src_at;
	bool present;
};

struct job_attachment {
	struct str filename;
	struct str mime_type;
	struct str content_id;
	struct str url;          /* one of url, path, content */
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
	struct str message_id; /* as given; empty when absent */
	struct str template_id;
	struct str template_path;
	struct str campaign_id;
	struct str email_type;
	struct str source_app;
	struct str related_model_id; /* a number is kept in its decimal form */
	/* envelope and header */
	struct job_address from; /* .addr absent: the provider's */
	struct job_address reply_to;
	struct str envelope_from;
	struct job_rcpt *rcpts; /* to, then cc, then bcc, in the order given; duplicates by address are kept once */
	size_t rcpt_count;
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
	/* SHA-256 over all of the above but nothing else: not over the timestamp, unknown members, white space, the
	 * order of members. Two submissions with the same identity and the same digest are the same job. */
	unsigned char digest[DIGEST_SHA256_BYTES];
};

struct job_limits {
	size_t job_bytes;     /* the JSON text */
	size_t recipients;
	size_t envelope_bytes; /* all that job_copy_envelope keeps */
	bool attachments;     /* false: this version cannot send attachments: refuse them */
	bool templates;       /* likewise template_path, and template_id without a body */
	bool raw;             /* likewise */
};

/* The first problem of a job. */
struct job_problem {
	char pointer[128]; /* RFC 6901, "" for the whole document */
	char reason[256];  /* one sentence without a full stop */
};

/* Decodes one job. text needs JSON_PADDING writable bytes behind len and is changed in place; the job's strings point
 * into it and into the arena. A copy of the original must be taken before, if it is to be stored.
 * Errors: ERR_SYNTAX (not JSON), ERR_INVALID (JSON, but not a job), ERR_TOO_LARGE (a limit), ERR_UNSUPPORTED (a
 * member that this version cannot honour). *problem is filled in for each. */
int job_decode(struct arena *a, char *text, size_t len, const struct job_limits *limits, struct job *out,
	       struct job_problem *problem);

/* Arena bytes that job_decode needs at most for a text of len bytes (worst case: an array of one-byte numbers). */
size_t job_decode_arena_bytes(size_t len);

/* Copies everything but the long texts (text, html, raw, attachments' content keep len and src_at only).
 * Errors: ERR_TOO_LARGE. */
int job_copy_envelope(struct arena *a, const struct job *from, struct job *to);

/* "SUBJECT to ADDRESS[, n more]" and so on is for the rooms that show; names of enums for JSON and screens: */
const char *job_state_name(enum job_state s);   /* "pending" … */
int job_state_parse(struct str s, enum job_state *out); /* Errors: ERR_INVALID */
const char *job_reason_name(enum job_reason r); /* "held" …, "" for none */
const char *job_priority_name(enum job_priority p);

/* One address by itself (CLI flags, provider's from). why (may be NULL) gets a static sentence.
 * Errors: ERR_INVALID. */
int job_address_parse(struct arena *a, struct str text, struct job_address *out, const char **why);

/* The stored message's Message-ID without brackets, made from tenant, job id and From domain only (never from the
 * gateway), so that a job sent twice carries the same: "<hash>.<id part>@domain". Needs LIMIT of 256 bytes. */
void job_message_id(struct buf *b, struct str tenant_id, struct str message_id, struct str from_domain);

/* Reads a long text out of the stored original, chunk by chunk, undoing the JSON escapes; fixed memory.
 * fetch gives bytes of the original from an offset (0 at its end, or an error, which is passed on). */
struct job_text_reader {
	int (*fetch)(void *arg, size_t at, char *bytes, size_t cap);
	void *arg;
	size_t src_at;  /* as in job_text */
	size_t at;      /* next byte of the original */
	char chunk[512];
	size_t chunk_len, chunk_at;
	unsigned high_surrogate;
	bool end;
};
void job_text_reader_init(struct job_text_reader *r, int (*fetch)(void *, size_t, char *, size_t), void *arg,
			  size_t src_at);
void job_text_reader_rewind(struct job_text_reader *r);
/* > 0 bytes of UTF-8, 0 at the end of the string. Errors: of fetch; ERR_CORRUPT when the text is no JSON string. */
int job_text_reader_read(struct job_text_reader *r, char *bytes, size_t cap);

#endif
