/* Any text as subject, and as the value of headers of every kind: lines stay lines, and a reader of its own (encoded
 * words undone, lists taken apart) finds what went in. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "job/job_internal.h"
#include "unit/mail/mail_rules.h"

static char memory[1 << 16], whole[RULES_BYTES_MAX], value[1 << 17], decoded[1 << 17];

/* Encoded words have at most 75 bytes, on lines of at most 76 (RFC 2047 section 2). */
static void check_words(struct str mail)
{
	size_t at = 0;

	for (;;) {
		struct str line = rules_line(mail, &at);

		if (line.len == 0) return;
		for (size_t i = 0; i + 10 < line.len; i++) {
			if (memcmp(line.ptr + i, "=?UTF-8?", 8) != 0) continue;
			CHECK(line.len <= 76 || line.ptr[0] != ' '); /* a custom field's name may take more */
		}
	}
}

/* The field's value, unfolded: CRLF in front of white space goes, and the space behind the colon. */
static struct str unfolded(struct str mail, const char *name)
{
	size_t at = 0, len = 0;
	bool inside = false;

	for (;;) {
		struct str line = rules_line(mail, &at);

		if (line.len == 0) break;
		if (line.ptr[0] != ' ' && line.ptr[0] != '\t') {
			if (inside) break;
			inside = rules_is(line, name);
			if (!inside) continue;
			line.ptr += strlen(name) + 1;
			line.len -= strlen(name) + 1;
		}
		if (!inside) continue;
		memcpy(value + len, line.ptr, line.len);
		len += line.len;
	}
	CHECK(inside);
	return len > 0 && value[0] == ' ' ? (struct str){value + 1, len - 1} : (struct str){value, len};
}

static bool holds(struct str s, const char *what)
{
	for (size_t i = 0; i + strlen(what) <= s.len; i++)
		if (memcmp(s.ptr + i, what, strlen(what)) == 0) return true;
	return false;
}

static void check_text(struct str mail, const char *name, struct str given)
{
	struct str got = unfolded(mail, name);
	struct buf b;

	buf_init(&b, decoded, sizeof(decoded));
	job_words_decode(&b, got);
	CHECK(b.len == given.len);
	for (size_t i = 0; i < given.len; i++)
		CHECK(b.ptr[i] == (given.ptr[i] == '\t' ? ' ' : given.ptr[i]));
}

/* The same but for white space. */
static void check_verbatim(struct str mail, const char *name, struct str given)
{
	struct str got = unfolded(mail, name);
	size_t k = 0;

	for (size_t i = 0; i < given.len; i++) {
		if (given.ptr[i] == ' ' || given.ptr[i] == '\t') continue;
		while (k < got.len && (got.ptr[k] == ' ' || got.ptr[k] == '\t'))
			k++;
		CHECK(k < got.len && got.ptr[k++] == given.ptr[i]);
	}
	CHECK(str_trim((struct str){got.ptr + k, got.len - k}).len == 0);
}

static void check_list(struct str mail, const char *name, struct str given)
{
	static unsigned char one[1 << 12], other[1 << 12];
	struct job_list l, k;
	struct str item, again;
	int kind;

	job_list_init(&l, given);
	job_list_init(&k, unfolded(mail, name));
	do {
		struct job_address a = {0}, b = {0};
		struct arena x, y;
		const char *why;
		struct buf name_of;
		char bytes[2000];

		arena_init(&x, one, sizeof(one));
		arena_init(&y, other, sizeof(other));
		kind = job_list_next(&l, &item);
		CHECK(kind >= 0 && job_list_next(&k, &again) == kind);
		if (kind == JOB_LIST_MAILBOX) CHECK(job_address_parse(&x, item, &a, NULL) == 0);
		if (kind == JOB_LIST_GROUP) CHECK(job_phrase_parse(&x, item, &a.name, &why) == 0);
		/* encoded it may be longer than a name that a job may give */
		if (a.name.len > 80) continue;
		if (kind == JOB_LIST_MAILBOX)
			CHECK(job_address_parse(&y, again, &b, NULL) == 0 && str_eq(a.addr, b.addr));
		if (kind == JOB_LIST_GROUP) CHECK(job_phrase_parse(&y, again, &b.name, &why) == 0);
		buf_init(&name_of, bytes, sizeof(bytes));
		job_words_decode(&name_of, b.name);
		CHECK(str_eq(a.name, buf_view(&name_of)) || holds(a.name, "\t"));
	} while (kind != JOB_LIST_END);
}

static void check(struct str mail, const struct job *job)
{
	if (!holds(job->headers[0].value, "=?")) check_words(mail);
	if (job->subject.ptr) check_text(mail, "Subject", job->subject);
	for (size_t i = 0; i < job->header_count; i++) {
		struct job_header h = job->headers[i];

		if (job_header_kind(h.name) == JOB_HEADER_ADDRESSES) check_list(mail, h.name.ptr, h.value);
		if (job_header_kind(h.name) == JOB_HEADER_VERBATIM) check_verbatim(mail, h.name.ptr, h.value);
		/* an encoded word that was given is left as it is */
		if (job_header_kind(h.name) == JOB_HEADER_TEXT && !holds(h.value, "=?"))
			check_text(mail, h.name.ptr, h.value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const names[] = {
		"X-A",        "Reply-To",
		"References", "Keywords",
		"List-ID",    "X-Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	struct job_header headers[6];
	struct job job = {.headers = headers};
	struct job_address from;
	struct mail_memory content;
	struct mail_part part = {.type = "text/plain",
				 .source = mail_source_memory(&content, STR("text\r\n"))};
	struct mail_input input = {.job = &job,
				   .provider_from = &from,
				   .message_id = STR("id@example.com"),
				   .parts = &part,
				   .part_count = 1};
	struct str text = {(const char *)data, len}, body = STR("text\r\n");
	static struct mail m;
	const char *why;
	struct arena a;

	if (len > JOB_HEADER_VALUE_MAX) return 0;
	arena_init(&a, memory, sizeof(memory));
	CHECK(job_address_parse(&a, STR("gw@example.com"), &from, NULL) == 0);
	if (!str_is_utf8(text) || str_has_ctl(text)) {
		/* refused here too, should decoding be passed by; but a tab in a subject is none */
		job.subject = text;
		CHECK(mail_open(&m, &input) == ERR_INVALID || !str_is_utf8(text));
		return 0;
	}
	text = arena_str(&a, text);
	if (len <= JOB_SUBJECT_MAX) job.subject = text;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct job_header h = {str_from(names[i]), text};

		if (job_header_check(job_header_kind(h.name), text, &why) == 0)
			headers[job.header_count++] = h;
		else
			CHECK(why && why[0]);
	}
	CHECK(mail_open(&m, &input) == 0);
	rules_check(&m, &body);
	CHECK(mail_rewind(&m) == 0);
	len = rules_read(&m, whole, 1000);
	check((struct str){whole, len}, &job);
	return 0;
}
