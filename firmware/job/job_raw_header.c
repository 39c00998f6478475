/* What a job takes from the header of its finished message, and whether that message can be sent at all. */
#include <string.h>

#include "base/err.h"
#include "job/job_internal.h"

#define WIRE_LINE_END 2

/* What the first look at the message has found. */
struct look {
	size_t bytes; /* as they will be on the wire, but for what is added */
	size_t from_fields;
	size_t commas; /* in fields that name recipients, and one more for each field */
	bool resent;   /* there are Resent- fields that do */
};

/* JOB_RCPT_TO, JOB_RCPT_CC, JOB_RCPT_BCC, or -1; *resent: of the Resent- fields. */
static int kind_of(enum job_raw_field field, bool *resent)
{
	*resent = field == JOB_RAW_RESENT_TO || field == JOB_RAW_RESENT_CC || field == JOB_RAW_RESENT_BCC;
	switch (field) {
	case JOB_RAW_TO:
	case JOB_RAW_RESENT_TO: return JOB_RCPT_TO;
	case JOB_RAW_CC:
	case JOB_RAW_RESENT_CC: return JOB_RCPT_CC;
	case JOB_RAW_BCC:
	case JOB_RAW_RESENT_BCC: return JOB_RCPT_BCC;
	default: return -1;
	}
}

/* ---- the first look: all of the message ---- */

static int refuse_line(struct job_decode *d, const struct job_raw_reader *r, int rc)
{
	if (rc == ERR_CORRUPT) return job_refuse(d, ERR_INVALID, "not base64");
	return job_refuse(d, rc, "line %zu of the message: %s", r->line_no, r->why);
}

static void count_rcpts(struct look *l, enum job_raw_field field, struct str line)
{
	bool resent;

	if (kind_of(field, &resent) < 0) return;
	l->resent = l->resent || resent;
	l->commas++;
	for (size_t i = 0; i < line.len; i++)
		if (line.ptr[i] == ',' || line.ptr[i] == ';') l->commas++;
}

static int look_through(struct job_decode *d, struct job_raw_reader *r, struct look *l)
{
	enum job_raw_field field = JOB_RAW_OTHER, this;
	struct str line, value;
	int rc;

	while ((rc = job_raw_line(r, &line)) > 0) {
		l->bytes += line.len + WIRE_LINE_END;
		if (!r->in_header) continue;
		this = job_raw_field(line, &value);
		if (this != JOB_RAW_MORE) field = this;
		if (this == JOB_RAW_FROM) l->from_fields++;
		count_rcpts(l, field, line);
	}
	if (rc < 0) return refuse_line(d, r, rc);
	if (l->from_fields > 1) return job_refuse(d, ERR_INVALID, "the message has more than one From field");
	if (d->limits->message_bytes > 0 && l->bytes > d->limits->message_bytes)
		return job_refuse_size(d, "the mail is larger than [limits] message_bytes");
	return 0;
}

/* ---- the second: its header, field by field ---- */

struct fields {
	struct job_raw_reader *r;
	struct str line; /* read ahead: the next field's first */
	bool have;
};

/* A whole field, unfolded, in the arena. 0: the header has ended. */
static int next_field(struct job_decode *d, struct fields *f, enum job_raw_field *field, struct str *value)
{
	struct arena *a = d->arena;
	struct str part;
	struct buf b;
	int rc = f->have ? 1 : job_raw_line(f->r, &f->line);

	f->have = false;
	if (rc <= 0) return rc;
	if (!f->r->in_header || f->line.len == 0) return 0;
	*field = job_raw_field(f->line, &part);
	if (a->used >= a->cap) return ERR_TOO_LARGE;
	buf_init(&b, a->ptr + a->used, a->cap - a->used);
	buf_str(&b, part);
	while ((rc = job_raw_line(f->r, &f->line)) > 0 && f->r->in_header && f->line.len > 0 &&
	       job_raw_field(f->line, &part) == JOB_RAW_MORE) {
		buf_puts(&b, " ");
		buf_str(&b, part);
	}
	if (rc < 0 || b.cut) return rc < 0 ? rc : ERR_TOO_LARGE;
	f->have = rc > 0;
	a->used += b.len + 1;
	for (size_t i = 0; i < b.len; i++)
		if (b.ptr[i] == '\t') b.ptr[i] = ' '; /* white space is white space in every field */
	*value = str_trim(buf_view(&b));
	return 1;
}

static int take_mailbox(struct job_decode *d, const char *name, struct str text, struct job_address *out)
{
	const char *why = NULL;
	int rc = job_address_parse(d->arena, text, out, &why);

	if (rc == ERR_TOO_LARGE) return job_refuse_memory(d);
	return rc < 0 ? job_refuse(d, rc, "%s of the message: not an address: %s", name, why) : 0;
}

static int take_rcpts(struct job_decode *d, int kind, struct str list)
{
	static const char *const names[] = {"To", "Cc", "Bcc"};
	struct job_rcpt rcpt = {.kind = (enum job_rcpt_kind)kind};
	struct str text;
	size_t at = 0;

	while (job_mailbox_next(list, &at, &text)) {
		int rc = take_mailbox(d, names[kind], text, &rcpt.address);

		if (rc == 0) rc = job_add_rcpt(d, &rcpt);
		if (rc < 0) return rc;
	}
	return 0;
}

/* The first mailbox. One without a domain names nobody outside of this device: it is passed over, and what the
 * provider has takes its place. */
static int take_sender(struct job_decode *d, enum job_raw_field field, struct str list)
{
	struct job_address a;
	struct str text;
	size_t at = 0;
	int rc;

	if (!job_mailbox_next(list, &at, &text) || !memchr(text.ptr, '@', text.len)) return 0;
	rc = take_mailbox(d, field == JOB_RAW_FROM ? "From" : "Sender", text, &a);
	if (rc < 0 || !a.domain.ptr) return rc;
	if (field == JOB_RAW_FROM)
		d->job->from = a;
	else
		d->job->envelope_from = a.addr;
	return 0;
}

static int take_subject(struct job_decode *d, struct str value)
{
	char bytes[JOB_SUBJECT_MAX + 1];
	struct buf b;

	buf_init(&b, bytes, sizeof(bytes));
	job_words_decode(&b, value);
	d->job->subject = arena_str(d->arena, buf_view(&b));
	return d->job->subject.ptr ? 0 : ERR_TOO_LARGE;
}

/* Which of the fields the job wants from its message. */
struct wanted {
	bool rcpts, resent, from, envelope, subject;
};

static int take_field(struct job_decode *d, struct wanted *w, enum job_raw_field field, struct str value)
{
	bool resent;
	int kind = kind_of(field, &resent);

	if (kind >= 0) return w->rcpts && resent == w->resent ? take_rcpts(d, kind, value) : 0;
	switch (field) {
	case JOB_RAW_FROM: return w->from ? take_sender(d, field, value) : 0;
	case JOB_RAW_SENDER: return w->envelope ? take_sender(d, field, value) : 0;
	case JOB_RAW_SUBJECT: return w->subject ? take_subject(d, value) : 0;
	default: return 0;
	}
}

static int take_fields(struct job_decode *d, struct job_raw_reader *r, struct wanted *w)
{
	struct fields f = {.r = r};
	enum job_raw_field field;
	struct str value;
	int rc;

	job_raw_reader_rewind(r);
	while ((rc = next_field(d, &f, &field, &value)) > 0) {
		rc = take_field(d, w, field, value);
		if (rc < 0) break;
	}
	if (rc < 0 && !d->problem->reason[0]) return job_refuse_memory(d);
	return rc;
}

int job_take_message(struct job_decode *d)
{
	struct job *job = d->job;
	struct wanted w = {.rcpts = job->rcpt_count == 0,
			   .from = !job->from.addr.ptr,
			   .envelope = !job->envelope_from.ptr && !job->from.addr.ptr,
			   .subject = !job->subject.ptr};
	struct job_raw_reader r;
	struct look l = {0};
	int rc;

	job_raw_reader_memory(&r, job->raw.utf8);
	rc = look_through(d, &r, &l);
	if (rc < 0) return rc;
	w.resent = l.resent;
	if (w.rcpts) {
		size_t most = l.commas < d->limits->recipients ? l.commas : d->limits->recipients;

		job->rcpts = arena_take(d->arena, (most + 1) * sizeof(*job->rcpts));
		if (!job->rcpts) return job_refuse_memory(d);
	}
	rc = take_fields(d, &r, &w);
	if (rc < 0) return rc;
	if (job->rcpt_count == 0)
		return job_refuse(d, ERR_INVALID,
				  "no recipient: neither the job nor the message's To, Cc and Bcc name one");
	return 0;
}
