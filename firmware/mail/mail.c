/* The way through the MIME tree, and what is decided before it begins. */
#include "mail/mail.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "mail/mail_internal.h"

enum step_kind {
	STEP_HEADER,    /* the message's own */
	STEP_MULTIPART, /* Content-Type with the boundary */
	STEP_DELIMITER,
	STEP_PART, /* a part's own header */
	STEP_BODY,
	STEP_CLOSE
};

/* ---- sources ---- */

static int memory_read(void *arg, char *bytes, size_t cap)
{
	struct mail_memory *m = arg;
	size_t len = m->text.len - m->at < cap ? m->text.len - m->at : cap;

	if (len > 0) memcpy(bytes, m->text.ptr + m->at, len);
	m->at += len;
	return (int)len;
}

static int memory_rewind(void *arg)
{
	((struct mail_memory *)arg)->at = 0;
	return 0;
}

struct mail_source mail_source_memory(struct mail_memory *m, struct str text)
{
	*m = (struct mail_memory){text, 0};
	return (struct mail_source){memory_read, memory_rewind, m};
}

static int job_text_read(void *arg, char *bytes, size_t cap)
{
	return job_text_reader_read(arg, bytes, cap);
}

static int job_text_rewind(void *arg)
{
	job_text_reader_rewind(arg);
	return 0;
}

struct mail_source mail_source_job_text(struct job_text_reader *r)
{
	return (struct mail_source){job_text_read, job_text_rewind, r};
}

/* ---- who sends ---- */

static bool has_header(const struct job *job, struct str name)
{
	for (size_t i = 0; i < job->header_count; i++)
		if (str_eq_nocase(job->headers[i].name, name)) return true;
	return false;
}

int mail_sender_choose(const struct job *job, const struct job_address *provider_from,
		       const struct job_address *from_override, struct mail_sender *out)
{
	const struct job_address *own = job->from.addr.ptr ? &job->from : NULL;

	*out = (struct mail_sender){0};
	out->header = from_override ? from_override : own ? own : provider_from;
	if (!out->header || !out->header->addr.ptr) return ERR_CONFIG;
	out->name = out->header->name;
	if (job->reply_to.addr.ptr) out->reply_to = &job->reply_to;
	if (from_override && own) {
		if (out->name.len == 0) out->name = own->name;
		if (!out->reply_to && !has_header(job, STR("Reply-To")) &&
		    !str_eq(own->addr, from_override->addr))
			out->reply_to = own;
	}
	out->envelope = job->envelope_from.ptr ? job->envelope_from : out->header->addr;
	out->domain = out->header->domain;
	return 0;
}

/* ---- getting ready ---- */

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80) return false;
	return true;
}

static int invalid(struct mail *m, const char *why)
{
	m->why = why;
	return ERR_INVALID;
}

/* in_header: it is written there, and not only into the envelope. */
static int check_address(struct mail *m, const struct job_address *a, bool in_header)
{
	if (!a->domain.ptr) return invalid(m, "an address without a domain, and no alias of that name");
	if (!is_ascii(a->addr)) {
		m->info.smtputf8 = true;
		m->info.eight_bit = m->info.eight_bit || in_header;
	}
	return 0;
}

static int check_addresses(struct mail *m)
{
	const struct job *job = m->input->job;
	int rc;

	rc = mail_sender_choose(job, m->input->provider_from, m->input->from_override, &m->sender);
	if (rc < 0) {
		m->why = "neither the job nor its provider has a from";
		return rc;
	}
	rc = check_address(m, m->sender.header, true);
	if (rc == 0 && m->sender.reply_to) rc = check_address(m, m->sender.reply_to, true);
	for (size_t i = 0; rc == 0 && i < job->rcpt_count; i++)
		rc = check_address(m, &job->rcpts[i].address, job->rcpts[i].kind != JOB_RCPT_BCC);
	m->info.smtputf8 = m->info.smtputf8 || !is_ascii(m->sender.envelope);
	return rc;
}

static int check_message_id(struct mail *m)
{
	struct str id = m->input->message_id;

	if (id.len == 0 || id.len > MAIL_MESSAGE_ID_BYTES_MAX)
		return invalid(m, "no Message-ID, or too long a one");
	for (size_t i = 0; i < id.len; i++)
		if (id.ptr[i] <= ' ' || id.ptr[i] >= 0x7f || id.ptr[i] == '<' || id.ptr[i] == '>')
			return invalid(m, "a character that a Message-ID cannot have");
	return 0;
}

/* No line of a body can begin with it: quoted-printable and base64 never have "=_", and the scan keeps a
 * body that has it from going as 7bit. That it differs from mail to mail is for mails inside of mails. */
static void make_boundary(struct mail *m)
{
	unsigned char hash[DIGEST_SHA256_BYTES];
	struct digest d;
	struct buf b;

	digest_init(&d);
	digest_add_field(&d, m->input->message_id);
	digest_add(&d, m->input->job->digest, sizeof(m->input->job->digest));
	digest_finish(&d, hash);
	buf_init(&b, m->boundary, sizeof(m->boundary));
	buf_puts(&b, "=_");
	digest_hex(&b, hash, 16);
}

static void add_step(struct mail *m, enum step_kind kind, size_t part)
{
	CHECK(m->step_count < MAIL_STEPS_MAX);
	m->steps[m->step_count++] = (struct mail_step){(uint8_t)kind, (uint8_t)part};
}

/* The tree from the roles of the parts: one body, or alternatives. */
static void plan(struct mail *m)
{
	bool alternatives = m->input->part_count > 1;

	add_step(m, STEP_HEADER, 0);
	if (alternatives) add_step(m, STEP_MULTIPART, 0);
	for (size_t i = 0; i < m->input->part_count; i++) {
		if (alternatives) add_step(m, STEP_DELIMITER, i);
		add_step(m, STEP_PART, i);
		add_step(m, STEP_BODY, i);
	}
	if (alternatives) add_step(m, STEP_CLOSE, 0);
}

static void restart(struct mail *m)
{
	m->step = 0;
	m->field = 0;
	m->item = m->at = 0;
	m->begun = false;
	m->column = 0;
	m->out_len = m->out_at = 0;
}

int mail_open(struct mail *m, const struct mail_input *input)
{
	int rc;

	memset(m, 0, offsetof(struct mail, in));
	m->input = input;
	m->info.bytes = -1;
	if (input->part_count == 0 || input->part_count > MAIL_PARTS_MAX) return invalid(m, "no content");
	if ((rc = check_addresses(m)) < 0 || (rc = check_message_id(m)) < 0) return rc;
	for (size_t i = 0; i < input->part_count; i++)
		if ((rc = mail_body_scan(m, i)) < 0) return rc;
	make_boundary(m);
	plan(m);
	restart(m);
	return 0;
}

/* ---- the way ---- */

void mail_put(struct mail *m, const void *bytes, size_t len)
{
	const char *p = bytes;

	CHECK(len <= sizeof(m->out) - m->out_len);
	if (len > 0) memcpy(m->out + m->out_len, p, len);
	m->out_len += len;
	for (size_t i = 0; i < len; i++)
		m->column = p[i] == '\n' ? 0 : m->column + 1;
}

void mail_puts(struct mail *m, const char *s)
{
	mail_put(m, s, strlen(s));
}

static void put_part_header(struct mail *m, size_t part)
{
	static const char *const encodings[] = {
		[MAIL_7BIT] = "7bit", [MAIL_QUOTED] = "quoted-printable", [MAIL_BASE64] = "base64"};

	mail_puts(m, "Content-Type: ");
	mail_puts(m, m->input->parts[part].type);
	mail_puts(m, "; charset=utf-8\r\nContent-Transfer-Encoding: ");
	mail_puts(m, encodings[m->encodings[part]]);
	mail_puts(m, "\r\n\r\n");
}

/* Appends something to the output or goes on to the next step. */
static int produce(struct mail *m)
{
	const struct mail_step *s = &m->steps[m->step];
	int rc;

	switch ((enum step_kind)s->kind) {
	case STEP_HEADER:
		if (mail_header_piece(m)) return 0;
		break;
	case STEP_MULTIPART:
		mail_puts(m, "Content-Type: multipart/alternative;\r\n boundary=\"");
		mail_puts(m, m->boundary);
		mail_puts(m, "\"\r\n\r\n");
		break;
	case STEP_DELIMITER:
	case STEP_CLOSE:
		/* the line end before a delimiter belongs to it, not to the content (RFC 2046 section
		 * 5.1.1) */
		if (s->kind == STEP_CLOSE || s->part > 0) mail_puts(m, "\r\n");
		mail_puts(m, "--");
		mail_puts(m, m->boundary);
		mail_puts(m, s->kind == STEP_CLOSE ? "--\r\n" : "\r\n");
		break;
	case STEP_PART: put_part_header(m, s->part); break;
	case STEP_BODY:
		if (!m->begun) {
			m->begun = true;
			return mail_body_begin(m, s->part);
		}
		rc = mail_body_piece(m, s->part);
		if (rc != 0) return rc;
		break;
	}
	m->step++;
	m->begun = false;
	return 0;
}

int mail_read(struct mail *m, char *bytes, size_t cap)
{
	size_t len;

	CHECK(cap > 0);
	if (m->out_at == m->out_len) {
		m->out_at = m->out_len = 0;
		while (m->step < m->step_count && sizeof(m->out) - m->out_len >= MAIL_PIECE_MAX) {
			int rc = produce(m);

			if (rc < 0) return rc;
		}
	}
	len = m->out_len - m->out_at < cap ? m->out_len - m->out_at : cap;
	memcpy(bytes, m->out + m->out_at, len);
	m->out_at += len;
	return (int)len;
}

int mail_rewind(struct mail *m)
{
	/* the sources are rewound when their turn comes */
	restart(m);
	return 0;
}

int mail_measure(struct mail *m)
{
	int64_t bytes = 0;
	char skipped[512];
	int rc = mail_rewind(m);

	if (rc < 0) return rc;
	while ((rc = mail_read(m, skipped, sizeof(skipped))) > 0)
		bytes += rc;
	if (rc < 0) return rc;
	m->info.bytes = bytes;
	return mail_rewind(m);
}
