/* The header: RFC 5322 fields, folded; text beyond ASCII in encoded words (RFC 2047). */
#include <string.h>

#include "base/check.h"
#include "base/timefmt.h"
#include "mail/mail_internal.h"

enum field {
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

/* How a value is written. */
enum form { FORM_PLAIN, FORM_QUOTED, FORM_WORDS_B, FORM_WORDS_Q };

#define NAME_ON_ONE_LINE 60 /* a longer display name is written as encoded words, which fold */
#define SPACES_MAX       60
#define SUBJECT_WORD_MAX 64
#define CUSTOM_WORD_MAX  900

static bool next_field(struct mail *m)
{
	m->field++;
	m->item = m->at = 0;
	m->begun = false;
	return true;
}

static bool end_field(struct mail *m)
{
	mail_puts(m, "\r\n");
	return next_field(m);
}

/* A space, or a fold when `len` bytes more would pass the line's end. */
static void put_gap(struct mail *m, size_t len)
{
	mail_puts(m, m->column + 1 + len > MAIL_FOLD_AT ? "\r\n " : " ");
}

/* ---- encoded words ---- */

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* RFC 2047 section 5 (3): what may stand for itself in a phrase, and so everywhere. */
static size_t q_len(char c)
{
	return c == ' ' || is_alnum(c) || (c && strchr("!*+-/", c)) ? 1 : 3;
}

static size_t words_len(struct str s, enum form form)
{
	size_t len = 0;

	if (form == FORM_WORDS_B) return (s.len + 2) / 3 * 4;
	for (size_t i = 0; i < s.len; i++)
		len += q_len(s.ptr[i]);
	return len;
}

static enum form words_form(struct str s)
{
	return words_len(s, FORM_WORDS_Q) <= words_len(s, FORM_WORDS_B) ? FORM_WORDS_Q : FORM_WORDS_B;
}

static size_t char_len(struct str s, size_t at)
{
	size_t len = 1;

	while (at + len < s.len && ((unsigned char)s.ptr[at + len] & 0xC0) == 0x80 && len < 4)
		len++;
	return len;
}

/* As many whole characters from `at` on as the encoded text's bytes can hold. */
static struct str take_chars(struct str s, size_t at, enum form form, size_t room)
{
	size_t len = 0;

	while (at + len < s.len) {
		size_t more = len + char_len(s, at + len);

		if (words_len((struct str){s.ptr + at, more}, form) > room) break;
		len = more;
	}
	return (struct str){s.ptr + at, len};
}

static void put_q(struct mail *m, struct str s)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		const char text[3] = {'=', digits[c >> 4], digits[c & 15]};

		if (c == ' ')
			mail_puts(m, "_");
		else if (q_len(s.ptr[i]) == 1)
			mail_put(m, s.ptr + i, 1);
		else
			mail_put(m, text, 3);
	}
}

/* One encoded word behind a space or fold; *at goes on behind its text. `whole`: rather fold than split
 * what fits into one word, as not all readers join words well. */
static void put_word(struct mail *m, struct str s, size_t *at, enum form form, bool whole)
{
	enum { AROUND = 12, WORTH = 12 }; /* "=?UTF-8?Q?" "?="; the longest character */
	size_t rest = AROUND + words_len((struct str){s.ptr + *at, s.len - *at}, form);
	char text[MAIL_FOLD_AT + 4];
	struct str part;
	struct buf b;

	put_gap(m, whole && rest < MAIL_FOLD_AT ? rest : AROUND + WORTH);
	/* column is at least 1 here, so that a word has at most 75 bytes (RFC 2047 section 2) */
	part = take_chars(s, *at, form, MAIL_FOLD_AT - m->column - AROUND);
	CHECK(part.len > 0);
	*at += part.len;
	mail_puts(m, form == FORM_WORDS_B ? "=?UTF-8?B?" : "=?UTF-8?Q?");
	if (form == FORM_WORDS_B) {
		buf_init(&b, text, sizeof(text));
		buf_base64(&b, part.ptr, part.len);
		mail_put(m, b.ptr, b.len);
	} else {
		put_q(m, part);
	}
	mail_puts(m, "?=");
}

/* ---- addresses ---- */

static bool has_encoded_word(struct str s)
{
	for (size_t i = 0; i + 1 < s.len; i++)
		if (s.ptr[i] == '=' && s.ptr[i + 1] == '?') return true;
	return false;
}

static enum form name_form(struct str name)
{
	enum form form = FORM_PLAIN;

	if (name.len > NAME_ON_ONE_LINE || has_encoded_word(name)) return words_form(name);
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (c < ' ' || c >= 0x7f) return words_form(name);
		/* RFC 5322 section 3.2.3: a phrase of atoms with single spaces needs no quotes */
		if (c == ' ' ? i == 0 || i + 1 == name.len || name.ptr[i - 1] == ' '
			     : !is_alnum(c) && !strchr("!#$%&'*+-/=?^_`{|}~", c))
			form = FORM_QUOTED;
	}
	return form;
}

static void put_quoted(struct mail *m, struct str s)
{
	mail_puts(m, "\"");
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\') mail_puts(m, "\\");
		mail_put(m, s.ptr + i, 1);
	}
	mail_puts(m, "\"");
}

static void put_name(struct mail *m, struct str name)
{
	enum form form = name_form(name);
	size_t at = 0;

	switch (form) {
	case FORM_PLAIN:
		put_gap(m, name.len);
		mail_put(m, name.ptr, name.len);
		break;
	case FORM_QUOTED:
		put_gap(m, name.len + 2);
		put_quoted(m, name);
		break;
	default:
		while (at < name.len)
			put_word(m, name, &at, form, true);
	}
}

/* " Name <a@b>"; folds where it must, but never right behind the field's name. */
static void put_address(struct mail *m, struct str name, struct str addr, bool first)
{
	if (name.len > 0) {
		put_name(m, name);
		put_gap(m, addr.len + 3);
		mail_puts(m, "<");
		mail_put(m, addr.ptr, addr.len);
		mail_puts(m, ">");
		return;
	}
	if (first)
		mail_puts(m, " ");
	else
		put_gap(m, addr.len + 1);
	mail_put(m, addr.ptr, addr.len);
}

static bool put_mailbox(struct mail *m, const char *field, struct str name, struct str addr)
{
	mail_puts(m, field);
	put_address(m, name, addr, true);
	return end_field(m);
}

static bool has_kind(const struct job *job, enum job_rcpt_kind kind)
{
	for (size_t i = 0; i < job->rcpt_count; i++)
		if (job->rcpts[i].kind == kind) return true;
	return false;
}

/* One recipient at a time. */
static bool put_rcpts(struct mail *m, const char *field, enum job_rcpt_kind kind)
{
	const struct job *job = m->input->job;

	while (m->item < job->rcpt_count && job->rcpts[m->item].kind != kind)
		m->item++;
	if (m->item == job->rcpt_count) return m->begun ? end_field(m) : next_field(m);
	mail_puts(m, m->begun ? "," : field);
	put_address(m, job->rcpts[m->item].address.name, job->rcpts[m->item].address.addr, !m->begun);
	m->begun = true;
	m->item++;
	return true;
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
static enum form text_form(struct str s, size_t word_max, bool literal)
{
	size_t run = 0;

	if (s.len > 0 && (is_space(s.ptr[0]) || is_space(s.ptr[s.len - 1]))) return words_form(s);
	if (literal && has_encoded_word(s)) return words_form(s);
	for (size_t i = 0; i < s.len; i++) {
		if ((s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] >= 0x7f) return words_form(s);
		run = i > 0 && is_space(s.ptr[i]) == is_space(s.ptr[i - 1]) ? run + 1 : 1;
		if (run > (is_space(s.ptr[i]) ? SPACES_MAX : word_max)) return words_form(s);
	}
	return FORM_PLAIN;
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
		mail_puts(m, "\r\n");
	mail_put(m, s.ptr + begin, m->at - begin);
}

/* The next piece of a text; false: it is complete. */
static bool put_text(struct mail *m, struct str s)
{
	if (m->at == s.len) return false;
	if (m->form == FORM_PLAIN)
		put_plain_word(m, s);
	else
		/* a fold right behind the field's name would read as a space of the text's to some */
		put_word(m, s, &m->at, (enum form)m->form, m->at > 0);
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

static bool put_custom(struct mail *m)
{
	const struct job *job = m->input->job;
	const struct job_header *h;

	if (m->item == job->header_count) return next_field(m);
	h = &job->headers[m->item];
	if (!m->begun) {
		mail_put(m, h->name.ptr, h->name.len);
		mail_puts(m, ":");
		m->begun = true;
		m->form = (uint8_t)text_form(h->value, CUSTOM_WORD_MAX, false);
	}
	if (put_text(m, h->value)) return true;
	mail_puts(m, "\r\n");
	m->item++;
	m->at = 0;
	m->begun = false;
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
