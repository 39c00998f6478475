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

static inline void rules_shape(struct str mail, const struct mail_info *info)
{
	bool header = true;
	size_t at = 0;

	while (at < mail.len) {
		struct str line = rules_line(mail, &at);

		CHECK(line.len <= 998);
		CHECK(line.len == 0 || line.ptr[line.len - 1] != ' ' || header);
		header = header && line.len > 0;
		for (size_t i = 0; i < line.len; i++) {
			unsigned char c = (unsigned char)line.ptr[i];

			CHECK(c != 0 && c != '\n');
			CHECK(c < 0x80 || (header && info->eight_bit && info->smtputf8));
		}
	}
	CHECK(!header && info->bytes == (int64_t)mail.len);
}

static inline size_t rules_count(const struct job *job, enum job_rcpt_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < job->rcpt_count; i++)
		count += job->rcpts[i].kind == kind;
	return count;
}

static inline bool rules_is(struct str line, const char *name)
{
	return str_starts_nocase(line, str_from(name)) && line.ptr[strlen(name)] == ':';
}

/* One field of each name that we write, the custom ones in their order, nothing else. Returns where the
 * body is. */
static inline size_t rules_header(struct str mail, const struct mail *m)
{
	static const char *const names[] = {
		"Date",    "From",       "Reply-To",     "To",           "Cc",
		"Subject", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"};
	enum { NAMES = sizeof(names) / sizeof(names[0]) };
	const struct job *job = m->input->job;
	bool cc = rules_count(job, JOB_RCPT_CC) > 0, to = rules_count(job, JOB_RCPT_TO) > 0 || !cc;
	const bool expected[NAMES] = {m->input->date_known,
				      true,
				      m->sender.reply_to,
				      to,
				      cc,
				      job->subject.ptr,
				      true,
				      true,
				      true,
				      m->input->part_count == 1};
	size_t at = 0, custom = 0, next = 0;

	for (;;) {
		struct str line = rules_line(mail, &at);

		if (line.len == 0) break;
		if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
			CHECK(str_trim(line).len > 0);
			continue;
		}
		while (next < NAMES && !expected[next])
			next++;
		if (next == 7 && custom < job->header_count) {
			CHECK(str_starts_nocase(line, job->headers[custom].name) &&
			      line.ptr[job->headers[custom].name.len] == ':');
			custom++;
			continue;
		}
		CHECK(next < NAMES && rules_is(line, names[next]));
		next++;
	}
	while (next < NAMES && !expected[next])
		next++;
	CHECK(next == NAMES && custom == job->header_count);
	return at;
}

/* Undoes a part's encoding; content is what stands between its header and the line end of the next
 * delimiter. */
static inline size_t rules_decode(struct str content, enum mail_encoding encoding, char *out)
{
	size_t len = 0, at = 0;
	char *compact;
	int rc;

	if (encoding == MAIL_7BIT) {
		memcpy(out, content.ptr, content.len);
		return content.len;
	}
	while (encoding == MAIL_QUOTED && at < content.len) {
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
	if (encoding == MAIL_QUOTED) return len;
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

static inline void rules_content(struct str content, const struct mail *m, size_t part, struct str body)
{
	static char got[RULES_BYTES_MAX], expected[RULES_BYTES_MAX];
	size_t got_len = rules_decode(content, m->encodings[part], got);
	size_t len = rules_canonical(body, expected);

	CHECK(got_len == len && memcmp(got, expected, len) == 0);
}

static inline void rules_bodies(struct str mail, size_t at, const struct mail *m, const struct str *bodies)
{
	char delimiter[64];
	size_t part = 0;

	if (m->input->part_count == 1) {
		rules_content((struct str){mail.ptr + at, mail.len - at}, m, 0, bodies[0]);
		return;
	}
	snprintf(delimiter, sizeof(delimiter), "--%s", m->boundary);
	CHECK(str_eq(rules_line(mail, &at), str_from(delimiter)));
	for (; part < m->input->part_count; part++) {
		size_t begin, end;
		struct str line;

		while (rules_line(mail, &at).len > 0)
			;
		begin = end = at;
		while (line = rules_line(mail, &at), !str_starts_nocase(line, str_from(delimiter)))
			end = at;
		/* the empty line before a delimiter is its line end */
		CHECK(end >= begin + 2);
		rules_content((struct str){mail.ptr + begin, end - begin - 2}, m, part, bodies[part]);
	}
	CHECK(at == mail.len && mail.ptr[at - 3] == '-' && mail.ptr[at - 4] == '-');
}

/* All of it: m was opened; bodies are the parts' contents. */
static inline void rules_check(struct mail *m, const struct str *bodies)
{
	static char bytes[RULES_BYTES_MAX];
	struct str mail = {bytes, 0};

	CHECK(mail_measure(m) == 0);
	mail.len = rules_read(m, bytes, 4096);
	rules_shape(mail, &m->info);
	rules_bodies(mail, rules_header(mail, m), m, bodies);
}

#endif
