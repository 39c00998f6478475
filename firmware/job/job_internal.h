/* What the files of this room share and nobody else sees. */
#ifndef POSTERN_JOB_JOB_INTERNAL_H
#define POSTERN_JOB_JOB_INTERNAL_H

#include "base/buf.h"
#include "base/json.h"
#include "job/job.h"

/* Appends the domain with its labels beyond ASCII as A-labels. Errors: ERR_INVALID (*why says what). */
int job_domain_to_ascii(struct str domain, struct buf *out, const char **why);

/* What neither an address nor a list of them may have: control characters, anything but UTF-8. NULL: nothing. */
const char *job_text_unfit(struct str text);

/* The next character of well-formed UTF-8, which s begins with. */
uint32_t job_next_char(struct str *s);

/* Two characters that NFC writes as one; 0: it does not. For small letters. */
uint32_t job_compose(uint32_t a, uint32_t b);

/* Fills in job->digest; context is the member of that name, NULL when absent. */
void job_digest(struct job *job, const struct json *context);

/* ---- decoding ---- */

/* Every member of either format that this version knows. */
#define JOB_MEMBERS(X)                                                                                       \
	X(tenant_id)                                                                                         \
	X(provider_id)                                                                                       \
	X(user_id)                                                                                           \
	X(message_id)                                                                                        \
	X(template_id)                                                                                       \
	X(template_path)                                                                                     \
	X(campaign_id)                                                                                       \
	X(email_type)                                                                                        \
	X(source_app)                                                                                        \
	X(related_model_id) X(from) X(reply_to) X(envelope_from) X(to) X(cc) X(bcc) X(recipients) X(subject) \
		X(headers) X(body_format) X(body_content) X(text_content) X(html_body) X(plain_body) X(raw)  \
			X(context) X(attachments) X(priority) X(send_at) X(expires_at) X(timestamp)

enum job_member {
#define X(name) JOB_M_##name,
	JOB_MEMBERS(X)
#undef X
		JOB_MEMBER_COUNT
};

struct job_decode {
	struct arena *arena;
	const char *text; /* the whole, for offsets */
	const struct job_limits *limits;
	struct job *job;
	struct job_problem *problem;
	struct buf pointer;                           /* over problem->pointer: what is looked at now */
	const struct json *members[JOB_MEMBER_COUNT]; /* NULL: absent or null */
};

/* What is looked at now: a member of the job, then deeper by name or index. */
void job_point(struct job_decode *d, const char *member);
void job_point_key(struct job_decode *d, struct str key);
void job_point_index(struct job_decode *d, size_t index);

/* Writes the reason and returns rc. */
int job_refuse(struct job_decode *d, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for ERR_TOO_LARGE that is no mistake of form. */
int job_refuse_memory(struct job_decode *d);
int job_refuse_size(struct job_decode *d, const char *reason);

/* A string of at most max bytes without control characters. */
int job_take_string(struct job_decode *d, const struct json *v, size_t max, struct str *out);

/* Base64 that is checked, not decoded. */
int job_take_base64(struct job_decode *d, const struct json *v, struct job_text *out);

int job_take_address(struct job_decode *d, const struct json *v, bool bare, struct job_address *out);
int job_take_rcpts(struct job_decode *d);
/* Adds one, unless it is known already; the list has room for [limits] recipients or for all there can be. */
int job_add_rcpt(struct job_decode *d, const struct job_rcpt *rcpt);
int job_take_headers(struct job_decode *d);
int job_take_attachments(struct job_decode *d);

/* job->raw is there: judges the message, and takes from its header what the job does not name itself. */
int job_take_message(struct job_decode *d);

/* Appends s with its encoded-words as UTF-8 as far as their charset is known; never control characters. */
void job_words_decode(struct buf *b, struct str s);

#endif
