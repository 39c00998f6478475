/* The way through the MIME tree, and what is decided before it begins. */
#include "mail/mail.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "mail/mail_internal.h"

/* The multiparts a part may stand in, from the outside in. */
enum level { MIXED, ALTERNATIVE, RELATED, LEVELS };

/* The way to and past each part: a phase opens each level, and one closes it. */
enum phase { PHASE_OPEN, PHASE_DELIMITER = PHASE_OPEN + LEVELS, PHASE_PART, PHASE_BODY, PHASE_CLOSE };

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

static int invalid(struct mail *m, const char *why)
{
	m->why = why;
	return ERR_INVALID;
}

/* Decoding has refused it; this is the last place before the wire. */
static const char broken[] = "a line break or control character in an address or header";

/* in_header: it is written there, and not only into the envelope. */
static int check_address(struct mail *m, const struct job_address *a, bool in_header)
{
	if (!a->domain.ptr) return invalid(m, "an address without a domain, and no alias of that name");
	if (str_has_ctl(a->addr) || str_has_ctl(a->name)) return invalid(m, broken);
	if (!mail_is_ascii(a->addr)) {
		m->info.smtputf8 = true;
		m->info.eight_bit = m->info.eight_bit || in_header;
	}
	return 0;
}

static bool list_needs_utf8(struct str value)
{
	unsigned char memory[2048];
	struct job_address address;
	struct job_list l;
	struct arena a;
	struct str item;
	int kind;

	if (mail_is_ascii(value)) return false;
	job_list_init(&l, value);
	while ((kind = job_list_next(&l, &item)) > JOB_LIST_END) {
		arena_init(&a, memory, sizeof(memory));
		if (kind == JOB_LIST_MAILBOX && job_address_parse(&a, item, &address, NULL) == 0 &&
		    !mail_is_ascii(address.addr))
			return true;
	}
	return false;
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
	m->info.smtputf8 = m->info.smtputf8 || !mail_is_ascii(m->sender.envelope);
	return rc;
}

static int check_headers(struct mail *m)
{
	const struct job *job = m->input->job;

	if (str_has_ctl(job->subject)) return invalid(m, broken);
	for (size_t i = 0; i < job->group_count; i++)
		if (str_has_ctl(job->groups[i].name)) return invalid(m, broken);
	for (size_t i = 0; i < job->header_count; i++) {
		const struct job_header *h = &job->headers[i];
		enum job_header_kind kind = job_header_kind(h->name);

		if (str_has_ctl(h->name) || str_has_ctl(h->value)) return invalid(m, broken);
		if (job_header_check(kind, h->value, &m->why) < 0) return ERR_INVALID;
		/* what is left of it beyond ASCII will be local parts */
		if (kind == JOB_HEADER_ADDRESSES && list_needs_utf8(h->value))
			m->info.smtputf8 = m->info.eight_bit = true;
	}
	return 0;
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

/* No line of ours can begin with "--=_": quoted-printable and base64 never have "=_", and the scan keeps a body
 * that has it from going as 7bit. That the rest differs from mail to mail is for mails inside of mails. */
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
	digest_hex(&b, hash, 16);
}

/* ---- the tree ---- */

static size_t attached(const struct mail *m)
{
	return m->input->part_count - m->bodies - m->inlines;
}

/* Whether there is a multipart of this level; from part *first to *last. Without a body to refer to them, inline
 * parts are files among others. */
static bool level_is(const struct mail *m, unsigned level, size_t *first, size_t *last)
{
	size_t content = m->bodies + m->inlines;

	*first = 0;
	*last = content - 1;
	switch ((enum level)level) {
	case MIXED:
		*last = m->input->part_count - 1;
		return (m->bodies > 0 ? 1 : m->inlines) + attached(m) > 1;
	case ALTERNATIVE: return m->bodies > 1;
	case RELATED: *first = m->bodies - 1; return m->bodies > 0 && m->inlines > 0;
	case LEVELS: break;
	}
	return false;
}

static bool is_token(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?=", s[i])) return false;
	return len > 0;
}

static int check_part(struct mail *m, const struct mail_part *p)
{
	const char *slash = p->type ? strchr(p->type, '/') : NULL;

	if (p->type && (!slash || strlen(p->type) > 127 || !is_token(p->type, (size_t)(slash - p->type)) ||
			!is_token(slash + 1, strlen(slash + 1))))
		return invalid(m, "a part's type that is none");
	if (p->role == MAIL_BODY && !mail_is_text(p)) return invalid(m, "a body that is not text");
	if (p->name.len > MAIL_NAME_BYTES_MAX) return invalid(m, "a file name of more than 255 bytes");
	if (!str_is_utf8(p->name) || str_has_ctl(p->name) ||
	    (p->name.len && memchr(p->name.ptr, '\t', p->name.len)))
		return invalid(m, "a character that a file name cannot have");
	if (p->content_id.len > MAIL_NAME_BYTES_MAX) return invalid(m, "a Content-ID of more than 255 bytes");
	for (size_t i = 0; i < p->content_id.len; i++)
		if (p->content_id.ptr[i] <= ' ' || p->content_id.ptr[i] >= 0x7f ||
		    strchr("<>", p->content_id.ptr[i]))
			return invalid(m, "a character that a Content-ID cannot have");
	return 0;
}

static int check_parts(struct mail *m)
{
	const struct mail_input *in = m->input;
	int rc = 0;

	if (in->part_count == 0 || in->part_count > MAIL_PARTS_LIMIT)
		return invalid(m, in->part_count ? "too many parts" : "no content");
	for (size_t i = 0; rc == 0 && i < in->part_count; i++) {
		if (i > 0 && in->parts[i].role < in->parts[i - 1].role)
			return invalid(m, "parts in another order than bodies, inline, attached");
		m->bodies += in->parts[i].role == MAIL_BODY;
		m->inlines += in->parts[i].role == MAIL_INLINE;
		rc = check_part(m, &in->parts[i]);
	}
	return rc;
}

static void restart(struct mail *m)
{
	m->part = 0;
	m->phase = PHASE_OPEN;
	m->field = 0;
	m->item = m->at = m->group = 0;
	m->begun = m->comma = m->in_group = m->header_done = m->measuring = false;
	m->column = 0;
	m->out_len = m->out_at = 0;
}

int mail_open(struct mail *m, const struct mail_input *input)
{
	int rc;

	memset(m, 0, offsetof(struct mail, in));
	m->input = input;
	m->info.bytes = -1;
	if ((rc = check_parts(m)) < 0 || (rc = check_addresses(m)) < 0 || (rc = check_headers(m)) < 0 ||
	    (rc = check_message_id(m)) < 0)
		return rc;
	make_boundary(m);
	for (size_t i = 0; i < input->part_count; i++)
		if ((rc = mail_body_scan(m, &input->parts[i])) < 0) return rc;
	restart(m);
	return 0;
}

/* ---- the way ---- */

static void put_delimiter(struct mail *m, unsigned level, bool first, bool close)
{
	/* the line end before a delimiter belongs to it, not to the content (RFC 2046 section 5.1.1) */
	if (!first) mail_line_end(m);
	mail_puts(m, "--=_");
	mail_put(m, &"mar"[level], 1);
	mail_puts(m, m->boundary);
	if (close) mail_puts(m, "--");
	mail_line_end(m);
}

/* In front of what part `begin` begins with on a level further in than `level`. */
static void delimit(struct mail *m, unsigned level, size_t begin)
{
	size_t first, last;

	while (level-- > 0)
		if (level_is(m, level, &first, &last) && begin >= first && begin <= last) {
			put_delimiter(m, level, begin == first, false);
			return;
		}
}

static void open_level(struct mail *m, unsigned level)
{
	static const char *const names[] = {"mixed", "alternative", "related"};
	const struct mail_part *parts = m->input->parts;
	size_t first, last;

	if (!level_is(m, level, &first, &last) || m->part != first) return;
	delimit(m, level, first);
	mail_puts(m, "Content-Type: multipart/");
	mail_puts(m, names[level]);
	mail_puts(m, ";");
	mail_line_end(m);
	if (level == RELATED) { /* RFC 2387 section 3.1 */
		mail_puts(m, " type=\"");
		mail_puts(m, parts[first].type);
		mail_puts(m, "\";");
		mail_line_end(m);
	}
	mail_puts(m, " boundary=\"=_");
	mail_put(m, &"mar"[level], 1);
	mail_puts(m, m->boundary);
	mail_puts(m, "\"");
	mail_line_end(m);
	mail_line_end(m);
}

static void close_level(struct mail *m, unsigned level)
{
	size_t first, last;

	if (level_is(m, level, &first, &last) && m->part == last) put_delimiter(m, level, false, true);
}

static void next_phase(struct mail *m)
{
	m->phase++;
	m->field = 0;
	if (m->phase < PHASE_CLOSE + LEVELS) return;
	m->phase = PHASE_OPEN;
	m->part++;
}

/* Appends something to the output or goes on to the next phase. The header of the whole belongs to the first
 * part's way. */
static int produce(struct mail *m)
{
	struct mail_part *part = &m->input->parts[m->part];
	int rc;

	if (!m->header_done) {
		m->header_done = !mail_header_piece(m);
		if (m->header_done) m->field = 0;
		return 0;
	}
	switch (m->phase) {
	case PHASE_DELIMITER: delimit(m, LEVELS, m->part); break;
	case PHASE_PART:
		if (mail_part_piece(m, part)) return 0;
		if (!m->measuring && (rc = mail_body_begin(m, part)) < 0) return rc;
		break;
	case PHASE_BODY:
		if (m->measuring) {
			m->info.bytes += part->found.bytes;
			break;
		}
		rc = mail_body_piece(m, part);
		if (rc != 0) return rc < 0 ? rc : 0;
		m->column = 0;
		break;
	default:
		if (m->phase < PHASE_DELIMITER)
			open_level(m, m->phase);
		else
			close_level(m, LEVELS - 1 - (m->phase - PHASE_CLOSE));
	}
	next_phase(m);
	return 0;
}

int mail_read(struct mail *m, char *bytes, size_t cap)
{
	size_t len;

	CHECK(cap > 0);
	if (m->out_at == m->out_len) {
		m->out_at = m->out_len = 0;
		while (m->part < m->input->part_count && sizeof(m->out) - m->out_len >= MAIL_PIECE_MAX) {
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
	restart(m);
	m->info.bytes = 0;
	m->measuring = true;
	while (m->part < m->input->part_count) {
		int rc = produce(m);

		CHECK(rc == 0); /* no source was asked */
		m->info.bytes += (int64_t)m->out_len;
		m->out_len = 0;
	}
	restart(m);
	return 0;
}
