#include "mail/mail_raw.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/timefmt.h"

#define WORD_BYTES 42 /* of UTF-8 in one encoded-word: 56 of base64, 12 around them, 75 allowed */

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80) return false;
	return true;
}

static int invalid(struct mail_raw *m, const char *why)
{
	m->why = why;
	return ERR_INVALID;
}

/* ---- the message's own lines ---- */

/* Which field the header's line belongs to. */
static void follow(struct mail_raw *m, struct str line, struct str *value)
{
	enum job_raw_field field = job_raw_field(line, value);

	/* the empty line behind the header belongs to none */
	if (field != JOB_RAW_MORE || line.len == 0) m->field = line.len == 0 ? JOB_RAW_OTHER : field;
}

/* Whether the line just followed does not go out. */
static bool is_left_out(const struct mail_raw *m)
{
	switch (m->field) {
	case JOB_RAW_BCC:
	case JOB_RAW_RESENT_BCC:
	case JOB_RAW_RETURN_PATH:
	case JOB_RAW_MBOX: return true;
	/* there, but empty or without an address: ours stands in front */
	case JOB_RAW_FROM: return !m->has_from;
	case JOB_RAW_DATE: return !m->has_date;
	case JOB_RAW_MESSAGE_ID: return !m->has_message_id;
	default: return false;
	}
}

static void note_from(struct mail_raw *m, struct str value)
{
	m->has_from = m->has_from || memchr(value.ptr, '@', value.len);
	if (m->local_name[0] || str_has_ctl(value) || memchr(value.ptr, '\t', value.len)) return;
	str_copy(m->local_name, sizeof m->local_name, value);
}

static void note_field(struct mail_raw *m, struct str line)
{
	struct str value;

	follow(m, line, &value);
	if (m->field == JOB_RAW_FROM) note_from(m, value);
	if (value.len == 0) return;
	m->has_date = m->has_date || m->field == JOB_RAW_DATE;
	m->has_message_id = m->has_message_id || m->field == JOB_RAW_MESSAGE_ID;
}

static int line_failed(struct mail_raw *m, int rc)
{
	if (rc == ERR_INVALID) m->why = m->reader.why;
	return rc;
}

/* What the header lacks, and what it takes to send the rest. */
static int scan_header(struct mail_raw *m)
{
	struct str line;
	int rc;

	while ((rc = job_raw_line(&m->reader, &line)) > 0 && m->reader.in_header)
		note_field(m, line);
	return rc < 0 ? line_failed(m, rc) : 0;
}

static int scan(struct mail_raw *m)
{
	struct str line, value;
	int rc = scan_header(m);

	if (rc < 0) return rc;
	job_raw_reader_rewind(&m->reader);
	m->info.bytes = 0;
	m->field = JOB_RAW_OTHER;
	while ((rc = job_raw_line(&m->reader, &line)) > 0) {
		if (m->reader.in_header) {
			follow(m, line, &value);
			if (is_left_out(m)) continue;
			m->info.smtputf8 = m->info.smtputf8 || m->reader.eight_bit;
		}
		m->info.eight_bit = m->info.eight_bit || m->reader.eight_bit;
		m->info.bytes += (int64_t)line.len + 2;
	}
	return rc < 0 ? line_failed(m, rc) : 0;
}

/* ---- the fields in front ---- */

static void put_encoded(struct buf *b, struct str name)
{
	while (name.len > 0) {
		size_t n = 0, next;

		while ((next = str_utf8_len((struct str){name.ptr + n, name.len - n})) > 0 &&
		       n + next <= WORD_BYTES)
			n += next;
		if (n == 0) return; /* not UTF-8: addresses are checked to be */
		buf_puts(b, "=?utf-8?b?");
		buf_base64(b, name.ptr, n);
		buf_puts(b, "?=\r\n ");
		name = (struct str){name.ptr + n, name.len - n};
	}
}

static void put_quoted(struct buf *b, struct str name)
{
	buf_puts(b, "\"");
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '"' || name.ptr[i] == '\\') buf_puts(b, "\\");
		buf_add(b, name.ptr + i, 1);
	}
	/* a line is 78 columns at best, and 998 with the longest name and address */
	buf_puts(b, name.len > 30 ? "\"\r\n " : "\" ");
}

static void put_from(struct mail_raw *m, struct buf *b)
{
	struct str name = str_from(m->local_name), addr = m->sender.header->addr;

	if (name.len == 0 || m->input->job->from.name.len > 0) name = m->sender.name;
	buf_puts(b, "From: ");
	if (name.len > 0) {
		if (is_ascii(name))
			put_quoted(b, name);
		else
			put_encoded(b, name);
		buf_puts(b, "<");
	}
	buf_str(b, addr);
	buf_puts(b, name.len > 0 ? ">\r\n" : "\r\n");
	if (!is_ascii(addr)) m->info.smtputf8 = m->info.eight_bit = true;
}

static void make_front(struct mail_raw *m)
{
	const struct mail_input *in = m->input;
	struct buf b;

	buf_init(&b, m->front, sizeof m->front);
	if (!m->has_message_id) {
		buf_puts(&b, "Message-ID: <");
		buf_str(&b, in->message_id);
		buf_puts(&b, ">\r\n");
	}
	if (!m->has_date && in->date_known) {
		buf_puts(&b, "Date: ");
		timefmt_rfc5322(&b, in->date_ms);
		buf_puts(&b, "\r\n");
	}
	if (!m->has_from) put_from(m, &b);
	CHECK(!b.cut);
	m->front_len = b.len;
	m->info.bytes += (int64_t)b.len;
}

/* ---- the interface ---- */

_Static_assert(MAIL_RAW_FRONT_MAX <= sizeof(((struct mail_raw *)0)->out), "the front is put out at once");

static int check(struct mail_raw *m)
{
	const struct job *job = m->input->job;
	struct str id = m->input->message_id;
	int rc = mail_sender_choose(job, m->input->provider_from, m->input->from_override, &m->sender);

	if (rc < 0) {
		m->why = "neither the message nor its provider has a from";
		return rc;
	}
	m->info.smtputf8 = !is_ascii(m->sender.envelope);
	if (!m->sender.header->domain.ptr)
		return invalid(m, "an address without a domain, and no alias of that name");
	for (size_t i = 0; i < job->rcpt_count; i++) {
		const struct job_address *a = &job->rcpts[i].address;

		if (!a->domain.ptr)
			return invalid(m, "an address without a domain, and no alias of that name");
		m->info.smtputf8 = m->info.smtputf8 || !is_ascii(a->addr);
	}
	if (id.len == 0 || id.len > MAIL_MESSAGE_ID_BYTES_MAX)
		return invalid(m, "no Message-ID, or too long a one");
	for (size_t i = 0; i < id.len; i++)
		if (id.ptr[i] <= ' ' || id.ptr[i] >= 0x7f || id.ptr[i] == '<' || id.ptr[i] == '>')
			return invalid(m, "a character that a Message-ID cannot have");
	return 0;
}

int mail_raw_open(struct mail_raw *m, const struct mail_input *input, struct job_text_reader *streamed)
{
	int rc;

	memset(m, 0, offsetof(struct mail_raw, front));
	m->input = input;
	m->info.bytes = -1;
	rc = check(m);
	if (rc < 0) return rc;
	if (streamed)
		job_raw_reader_stream(&m->reader, streamed);
	else
		job_raw_reader_memory(&m->reader, input->job->raw.utf8);
	rc = scan(m);
	if (rc < 0) return rc;
	make_front(m);
	return mail_raw_rewind(m);
}

int mail_raw_rewind(struct mail_raw *m)
{
	job_raw_reader_rewind(&m->reader);
	m->field = JOB_RAW_OTHER;
	m->ended = false;
	/* the fields in front are the first bytes of each pass */
	memcpy(m->out, m->front, m->front_len);
	m->out_len = m->front_len;
	m->out_at = 0;
	return 0;
}

/* Fills the empty output with whole lines; leaves it empty at the end. */
static int fill(struct mail_raw *m)
{
	struct str line, value;
	int rc;

	m->out_len = m->out_at = 0;
	while (!m->ended && sizeof m->out - m->out_len >= JOB_RAW_LINE_MAX + 2) {
		rc = job_raw_line(&m->reader, &line);
		if (rc < 0) return ERR_CORRUPT == rc || ERR_INVALID == rc ? ERR_CORRUPT : rc;
		m->ended = rc == 0;
		if (m->ended) return 0;
		if (m->reader.in_header) {
			follow(m, line, &value);
			if (is_left_out(m)) continue;
		}
		memcpy(m->out + m->out_len, line.ptr, line.len);
		memcpy(m->out + m->out_len + line.len, "\r\n", 2);
		m->out_len += line.len + 2;
	}
	return 0;
}

int mail_raw_read(struct mail_raw *m, char *bytes, size_t cap)
{
	size_t len;

	CHECK(cap > 0);
	if (m->out_at == m->out_len) {
		int rc = fill(m);

		if (rc < 0) return rc;
	}
	len = m->out_len - m->out_at < cap ? m->out_len - m->out_at : cap;
	memcpy(bytes, m->out + m->out_at, len);
	m->out_at += len;
	return (int)len;
}
