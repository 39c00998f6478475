/* The header: RFC 5322 fields, folded; text beyond ASCII in encoded words (RFC 2047). */
#include <string.h>

#include "base/check.h"
#include "base/timefmt.h"
#include "mail/mail_internal.h"

enum field {
	FIELD_FRONT,
	FIELD_DATE,
	FIELD_FROM,
	FIELD_REPLY_TO,
	FIELD_TO,
	FIELD_CC,
	FIELD_SUBJECT,
	FIELD_MESSAGE_ID,
	FIELD_CUSTOM,
	FIELD_MIME_VERSION,
	FIELD_END
};

#define SPACES_MAX       60
#define SUBJECT_WORD_MAX 64
#define CUSTOM_WORD_MAX  900

static bool next_field(struct mail *m)
{
	m->field++;
	m->item = m->at = m->group = 0;
	m->begun = m->comma = m->in_group = false;
	return true;
}

static bool end_field(struct mail *m)
{
	mail_line_end(m);
	return next_field(m);
}

static bool put_mailbox(struct mail *m, const char *field, struct str name, struct str addr)
{
	mail_puts(m, field);
	mail_put_address(m, name, addr, true);
	return end_field(m);
}

static bool has_kind(const struct job *job, enum job_rcpt_kind kind)
{
	for (size_t i = 0; i < job->rcpt_count; i++)
		if (job->rcpts[i].kind == kind) return true;
	for (size_t i = 0; i < job->group_count; i++)
		if (job->groups[i].kind == kind) return true;
	return false;
}

static bool put_rcpts(struct mail *m, const char *field, enum job_rcpt_kind kind)
{
	if (mail_put_rcpts(m, field, kind)) return true;
	return m->begun ? end_field(m) : next_field(m);
}

static bool put_to(struct mail *m)
{
	const struct job *job = m->input->job;

	/* a header without any recipient is taken for spam by some, filled in by others */
	if (!has_kind(job, JOB_RCPT_TO) && !has_kind(job, JOB_RCPT_CC)) {
		mail_puts(m, "To: undisclosed-recipients:;");
		return end_field(m);
	}
	return put_rcpts(m, "To:", JOB_RCPT_TO);
}

/* ---- text ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Plain when folding at its spaces keeps every byte of it and every line short. `literal`: what looks like
 * an encoded word is text of the user's and must stay so. */
static enum mail_form text_form(struct str s, size_t word_max, bool literal)
{
	size_t run = 0;

	if (s.len > 0 && (is_space(s.ptr[0]) || is_space(s.ptr[s.len - 1]))) return mail_words_form(s);
	if (literal && mail_has_encoded_word(s)) return mail_words_form(s);
	for (size_t i = 0; i < s.len; i++) {
		if ((s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] >= 0x7f) return mail_words_form(s);
		run = i > 0 && is_space(s.ptr[i]) == is_space(s.ptr[i - 1]) ? run + 1 : 1;
		if (run > (is_space(s.ptr[i]) ? SPACES_MAX : word_max)) return mail_words_form(s);
	}
	return MAIL_PLAIN;
}

/* Spaces and a word; the line is folded before them when they do not fit. */
static void put_plain_word(struct mail *m, struct str s)
{
	size_t begin = m->at, word;

	while (m->at < s.len && is_space(s.ptr[m->at]))
		m->at++;
	word = m->at;
	while (m->at < s.len && !is_space(s.ptr[m->at]))
		m->at++;
	if (begin == 0)
		mail_puts(m, " ");
	else if (word > begin && m->column + (m->at - begin) > MAIL_FOLD_AT)
		mail_line_end(m);
	mail_put(m, s.ptr + begin, m->at - begin);
}

/* The next piece of a text; false: it is complete. */
static bool put_text(struct mail *m, struct str s)
{
	if (m->at == s.len) return false;
	if (m->form == MAIL_PLAIN)
		put_plain_word(m, s);
	else
		/* a fold right behind the field's name would read as a space of the text's to some */
		mail_put_word(m, s, &m->at, (enum mail_form)m->form, m->at > 0, 0);
	return true;
}

static bool put_subject(struct mail *m)
{
	struct str s = m->input->job->subject;

	if (!s.ptr) return next_field(m);
	if (!m->begun) {
		mail_puts(m, "Subject:");
		m->begun = true;
		m->form = (uint8_t)text_form(s, SUBJECT_WORD_MAX, true);
	}
	return put_text(m, s) ? true : end_field(m);
}

/* ---- headers of the job's own ---- */

/* A word that is never split: spaces do not end it inside of <>, a comma does outside. */
static struct str next_unit(struct mail *m, struct str s)
{
	bool inside = false;
	size_t begin;

	while (m->at < s.len && is_space(s.ptr[m->at]))
		m->at++;
	begin = m->at;
	while (m->at < s.len && (inside || !is_space(s.ptr[m->at]))) {
		char c = s.ptr[m->at++];

		inside = c == '<' || (inside && c != '>');
		if (c == ',' && !inside) break;
	}
	return (struct str){s.ptr + begin, m->at - begin};
}

static bool put_unit(struct mail *m, struct str s)
{
	bool first = m->at == 0;
	struct str unit = next_unit(m, s);

	if (unit.len == 0) return false;
	mail_gap(m, first ? 0 : unit.len);
	mail_put_str(m, unit);
	return true;
}

/* The next encoded word of a phrase, or what stands between two: "a, b" (Keywords), "a <id>" (List-ID). */
static bool put_phrase(struct mail *m, struct str s)
{
	size_t begin = m->at, end, at = 0;
	struct str phrase;

	if (begin == s.len) return false;
	if (s.ptr[begin] == '<') return put_unit(m, s);
	for (end = begin; end < s.len && s.ptr[end] != ',' && s.ptr[end] != '<'; end++)
		;
	phrase = str_trim((struct str){s.ptr + begin, end - begin});
	if (phrase.len >= 2 && phrase.ptr[0] == '"' && phrase.ptr[phrase.len - 1] == '"')
		phrase = (struct str){phrase.ptr + 1, phrase.len - 2};
	/* RFC 2047 section 5 (3): an encoded word is apart from every special character */
	if (phrase.len > 0) mail_put_word(m, phrase, &at, mail_words_form(phrase), begin > 0, 2);
	if (at < phrase.len) {
		m->at = (size_t)(phrase.ptr - s.ptr) + at;
		return true;
	}
	m->at = end;
	if (end < s.len && s.ptr[end] == ',') {
		mail_gap(m, 1);
		mail_puts(m, ",");
		m->at++;
	}
	return true;
}

static enum mail_form custom_form(enum job_header_kind kind, struct str value)
{
	switch (kind) {
	case JOB_HEADER_ADDRESSES: return MAIL_LIST;
	case JOB_HEADER_VERBATIM: return MAIL_UNITS;
	case JOB_HEADER_PHRASES: return mail_is_ascii(value) ? MAIL_UNITS : MAIL_PHRASES;
	case JOB_HEADER_TEXT: break;
	}
	return text_form(value, CUSTOM_WORD_MAX, false);
}

static bool put_value(struct mail *m, struct str value)
{
	switch ((enum mail_form)m->form) {
	case MAIL_LIST: return mail_put_list_item(m);
	case MAIL_UNITS: return put_unit(m, value);
	case MAIL_PHRASES: return put_phrase(m, value);
	default: return put_text(m, value);
	}
}

static bool put_custom(struct mail *m)
{
	const struct job *job = m->input->job;
	const struct job_header *h;

	if (m->item == job->header_count) return next_field(m);
	h = &job->headers[m->item];
	if (!m->begun) {
		mail_put_str(m, h->name);
		mail_puts(m, ":");
		m->begun = true;
		m->comma = false;
		m->form = (uint8_t)custom_form(job_header_kind(h->name), h->value);
		job_list_init(&m->list, h->value);
	}
	if (put_value(m, h->value)) return true;
	mail_line_end(m);
	m->item++;
	m->at = 0;
	m->begun = false;
	return true;
}

/* Finished fields; their line ends are among them. */
static bool put_front(struct mail *m)
{
	struct str s = m->input->front;
	size_t len = s.len - m->at < MAIL_PIECE_MAX / 2 ? s.len - m->at : MAIL_PIECE_MAX / 2;

	if (len == 0) {
		m->column = 0;
		return next_field(m);
	}
	mail_put(m, s.ptr + m->at, len);
	m->at += len;
	return true;
}

static bool put_date(struct mail *m)
{
	char text[64];
	struct buf b;

	if (!m->input->date_known) return next_field(m);
	buf_init(&b, text, sizeof(text));
	timefmt_rfc5322(&b, m->input->date_ms);
	mail_puts(m, "Date: ");
	mail_put(m, b.ptr, b.len);
	return end_field(m);
}

bool mail_header_piece(struct mail *m)
{
	const struct mail_sender *sender = &m->sender;

	switch ((enum field)m->field) {
	case FIELD_FRONT: return put_front(m);
	case FIELD_DATE: return put_date(m);
	case FIELD_FROM: return put_mailbox(m, "From:", sender->name, sender->header->addr);
	case FIELD_REPLY_TO:
		if (!sender->reply_to) return next_field(m);
		return put_mailbox(m, "Reply-To:", sender->reply_to->name, sender->reply_to->addr);
	case FIELD_TO: return put_to(m);
	case FIELD_CC: return put_rcpts(m, "Cc:", JOB_RCPT_CC);
	case FIELD_SUBJECT: return put_subject(m);
	case FIELD_MESSAGE_ID:
		mail_puts(m, "Message-ID: <");
		mail_put(m, m->input->message_id.ptr, m->input->message_id.len);
		mail_puts(m, ">");
		return end_field(m);
	case FIELD_CUSTOM: return put_custom(m);
	case FIELD_MIME_VERSION: mail_puts(m, "MIME-Version: 1.0"); return end_field(m);
	case FIELD_END: break;
	}
	return false;
}
