/* What every composed mail must keep, whatever went in: for the unit test and the fuzz target. CHECKs. */
#ifndef POSTERN_TEST_MAIL_RULES_H
#define POSTERN_TEST_MAIL_RULES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "mail/mail.h"

#define RULES_BYTES_MAX (1 << 20)

/* A whole pass, read in pieces of `cap`; returns the length. */
static inline size_t rules_read(struct mail *m, char *bytes, size_t cap)
{
	size_t len = 0;
	int rc;

	while ((rc = mail_read(m, bytes + len, cap)) > 0) {
		CHECK((size_t)rc <= cap && len + (size_t)rc + cap <= RULES_BYTES_MAX);
		len += (size_t)rc;
	}
	CHECK(rc == 0 && mail_read(m, bytes + len, cap) == 0);
	return len;
}

/* The line at `at`, without its end; *at goes on behind it. */
static inline struct str rules_line(struct str s, size_t *at)
{
	const char *begin = s.ptr + *at, *end = memchr(begin, '\r', s.len - *at);

	CHECK(end && end[1] == '\n');
	*at += (size_t)(end + 2 - begin);
	return (struct str){begin, (size_t)(end - begin)};
}

/* messages: there are some inside, which go as they are. */
static inline void rules_shape(struct str mail, const struct mail_info *info, bool messages)
{
	bool header = true;
	size_t at = 0;

	while (at < mail.len) {
		struct str line = rules_line(mail, &at);

		CHECK(line.len <= 998);
		CHECK(line.len == 0 || line.ptr[line.len - 1] != ' ' || header || messages);
		header = header && line.len > 0;
		for (size_t i = 0; i < line.len; i++) {
			unsigned char c = (unsigned char)line.ptr[i];

			CHECK(c != 0 && c != '\n');
			CHECK(c < 0x80 || (info->eight_bit && (header ? info->smtputf8 : messages)));
		}
	}
	CHECK(!header && info->bytes == (int64_t)mail.len);
}

static inline size_t rules_count(const struct job *job, enum job_rcpt_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < job->rcpt_count; i++)
		count += job->rcpts[i].kind == kind;
	for (size_t i = 0; i < job->group_count; i++)
		count += job->groups[i].kind == kind;
	return count;
}

static inline bool rules_is(struct str line, const char *name)
{
	return str_starts_nocase(line, str_from(name)) && line.ptr[strlen(name)] == ':';
}

/* One field of each name that we write up to MIME-Version, the custom ones in their order, nothing else. Returns
 * where the fields of the content begin. */
static inline size_t rules_header(struct str mail, const struct mail *m)
{
	static const char *const names[] = {"Date", "From",    "Reply-To",   "To",
					    "Cc",   "Subject", "Message-ID", "MIME-Version"};
	enum { NAMES = sizeof(names) / sizeof(names[0]) };
	const struct job *job = m->input->job;
	bool cc = rules_count(job, JOB_RCPT_CC) > 0, to = rules_count(job, JOB_RCPT_TO) > 0 || !cc;
	const bool expected[NAMES] = {
		m->input->date_known, true, m->sender.reply_to, to, cc, job->subject.ptr, true, true};
	size_t at = 0, custom = 0, next = 0;

	while (next < NAMES) {
		struct str line = rules_line(mail, &at);

		CHECK(line.len > 0);
		if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
			CHECK(str_trim(line).len > 0);
			continue;
		}
		while (next < NAMES && !expected[next])
			next++;
		if (next == NAMES - 1 && custom < job->header_count) {
			CHECK(str_starts_nocase(line, job->headers[custom].name) &&
			      line.ptr[job->headers[custom].name.len] == ':');
			custom++;
			continue;
		}
		CHECK(rules_is(line, names[next]));
		next++;
	}
	CHECK(custom == job->header_count);
	return at;
}

/* Undoes a part's encoding; content is what stands between its header and the line end of the next
 * delimiter. */
static inline size_t rules_decode(struct str content, char encoding, char *out)
{
	size_t len = 0, at = 0;
	char *compact;
	int rc;

	if (encoding == '7' || encoding == '8') {
		memcpy(out, content.ptr, content.len);
		return content.len;
	}
	while (encoding == 'q' && at < content.len) {
		struct str line = rules_line(content, &at);
		bool soft = line.len > 0 && line.ptr[line.len - 1] == '=';

		CHECK(line.len <= 76);
		CHECK(line.len == 0 || (line.ptr[line.len - 1] != ' ' && line.ptr[0] != '.'));
		CHECK(line.len < 5 || memcmp(line.ptr, "From ", 5) != 0);
		CHECK(line.len < 4 || memcmp(line.ptr, "--=_", 4) != 0);
		for (size_t i = 0; i < line.len - soft; i++) {
			char hex[3] = {0};

			if (line.ptr[i] == '=') {
				CHECK(i + 2 < line.len);
				memcpy(hex, line.ptr + i + 1, 2);
				i += 2;
			}
			out[len++] = hex[0] ? (char)strtol(hex, NULL, 16) : line.ptr[i];
		}
		if (!soft) {
			out[len++] = '\r';
			out[len++] = '\n';
		}
	}
	if (encoding == 'q') return len;
	compact = malloc(content.len + 1);
	while (at < content.len) {
		struct str line = rules_line(content, &at);

		CHECK(line.len <= 76 && (line.len == 76 || at == content.len));
		memcpy(compact + len, line.ptr, line.len);
		len += line.len;
	}
	rc = base64_decode((struct str){compact, len}, out, RULES_BYTES_MAX);
	CHECK(rc >= 0);
	free(compact);
	return (size_t)rc;
}

/* What a body must come out as: CRLF line ends, the last line ended. */
static inline size_t rules_canonical(struct str body, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < body.len; i++) {
		if (body.ptr[i] == '\n' && i > 0 && body.ptr[i - 1] == '\r') continue;
		if (body.ptr[i] == '\n' || body.ptr[i] == '\r') {
			out[len++] = '\r';
			out[len++] = '\n';
		} else {
			out[len++] = body.ptr[i];
		}
	}
	if (body.len > 0 && body.ptr[body.len - 1] != '\n' && body.ptr[body.len - 1] != '\r') {
		out[len++] = '\r';
		out[len++] = '\n';
	}
	return len;
}

static inline void rules_content(struct str content, char encoding, bool canonical, struct str body)
{
	static char got[RULES_BYTES_MAX], expected[RULES_BYTES_MAX];
	size_t got_len = rules_decode(content, encoding, got), len = body.len;

	if (canonical)
		len = rules_canonical(body, expected);
	else if (len > 0)
		memcpy(expected, body.ptr, len);
	CHECK(got_len == len && memcmp(got, expected, len) == 0);
}

/* The fields of one content; *encoding stays 0 for a multipart. Returns the byte behind the empty line. */
static inline size_t rules_fields(struct str mail, size_t at, char *encoding, bool *multipart)
{
	struct str line;

	*encoding = 0;
	*multipart = false;
	while ((line = rules_line(mail, &at)).len > 0) {
		if (line.ptr[0] == ' ') continue;
		CHECK(str_starts_nocase(line, STR("Content-")));
		*multipart = *multipart || str_starts_nocase(line, STR("Content-Type: multipart/"));
		if (rules_is(line, "Content-Transfer-Encoding")) *encoding = line.ptr[27];
	}
	CHECK(*multipart == !*encoding);
	return at;
}

/* "--=_", the level's letter, the boundary: 1 for a delimiter, 2 for one that closes. */
static inline int rules_delimiter(struct str line, const struct mail *m)
{
	size_t len = 5 + strlen(m->boundary);

	if (line.len < len || memcmp(line.ptr, "--=_", 4) != 0 || !strchr("mar", line.ptr[4])) return 0;
	if (memcmp(line.ptr + 5, m->boundary, len - 5) != 0) return 0;
	return line.len == len ? 1 : line.len == len + 2 ? 2 : 0;
}

static inline bool rules_is_message(const struct mail_part *p)
{
	return p->type && str_eq_nocase(str_from(p->type), STR("message/rfc822"));
}

/* Whether text with these roles keeps its line ends as they were. */
static inline bool rules_is_canonical(const struct mail_part *p, char encoding)
{
	return p->role == MAIL_BODY || encoding != 'b';
}

static inline void rules_bodies(struct str mail, size_t at, const struct mail *m, const struct str *bodies)
{
	size_t opened = 0, closed = 0, part = 0;

	while (part < m->input->part_count) {
		const struct mail_part *p = &m->input->parts[part];
		size_t begin, end;
		char encoding;
		bool multipart;
		int kind = 0;

		begin = end = at = rules_fields(mail, at, &encoding, &multipart);
		if (multipart) {
			opened++;
			CHECK(rules_delimiter(rules_line(mail, &at), m) == 1);
			continue;
		}
		while (at < mail.len && (kind = rules_delimiter(rules_line(mail, &at), m)) == 0)
			end = at;
		/* the empty line before a delimiter is its line end */
		CHECK(!opened || end >= begin + 2);
		rules_content((struct str){mail.ptr + begin, end - begin - (opened ? 2 : 0)}, encoding,
			      rules_is_canonical(p, encoding), bodies[part]);
		part++;
		while (kind == 2) {
			closed++;
			if (at == mail.len) break;
			CHECK(rules_line(mail, &at).len == 0);
			kind = rules_delimiter(rules_line(mail, &at), m);
			CHECK(kind > 0);
		}
	}
	CHECK(at == mail.len && opened == closed);
}

/* All of it: m was opened; bodies are the parts' contents. */
static inline void rules_check(struct mail *m, const struct str *bodies)
{
	static char bytes[RULES_BYTES_MAX];
	struct str mail = {bytes, 0};
	bool messages = false;

	CHECK(mail_measure(m) == 0);
	mail.len = rules_read(m, bytes, 4096);
	for (size_t i = 0; i < m->input->part_count; i++)
		messages = messages || rules_is_message(&m->input->parts[i]);
	rules_shape(mail, &m->info, messages);
	rules_bodies(mail, rules_header(mail, m), m, bodies);
}

#endif
