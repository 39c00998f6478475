/* A finished RFC 5322 message, line by line out of its base64. */
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/err.h"
#include "job/job_internal.h"

/* ---- the reader ---- */

static void begin(struct job_raw_reader *r)
{
	r->why = NULL;
	r->line_no = 0;
	r->in_header = r->eight_bit = false;
	r->memory_at = 0;
	r->len = r->at = 0;
	r->last = r->head_over = false;
	r->header_bytes = r->line_len = r->owed = 0;
}

void job_raw_reader_memory(struct job_raw_reader *r, struct str base64)
{
	r->text = NULL;
	r->memory = base64;
	begin(r);
}

void job_raw_reader_stream(struct job_raw_reader *r, struct job_text_reader *text)
{
	r->text = text;
	r->memory = (struct str){NULL, 0};
	job_text_reader_rewind(text);
	begin(r);
}

void job_raw_reader_rewind(struct job_raw_reader *r)
{
	if (r->text) job_text_reader_rewind(r->text);
	begin(r);
}

/* The next characters of base64, whole groups of four unless they end. */
static int next_base64(struct job_raw_reader *r, struct str *s)
{
	if (r->text) {
		int rc = job_text_reader_read(r->text, r->in, sizeof(r->in));

		if (rc < 0) return rc;
		*s = (struct str){r->in, (size_t)rc};
		return 0;
	}
	*s = (struct str){r->memory.ptr + r->memory_at, r->memory.len - r->memory_at};
	if (s->len > sizeof(r->in)) s->len = sizeof(r->in);
	r->memory_at += s->len;
	return 0;
}

/* More bytes of the message; r->len stays 0 at its end. */
static int refill(struct job_raw_reader *r)
{
	struct str s;
	int rc = next_base64(r, &s);

	r->len = r->at = 0;
	if (rc < 0 || s.len == 0) return rc;
	if (r->last) return ERR_CORRUPT; /* something behind the padding */
	rc = base64_decode(s, r->bytes, sizeof(r->bytes));
	if (rc < 0) return ERR_CORRUPT;
	r->last = s.len < sizeof(r->in) || s.ptr[s.len - 1] == '=';
	r->len = (size_t)rc;
	return 0;
}

static int invalid(struct job_raw_reader *r, const char *why)
{
	r->why = why;
	return ERR_INVALID;
}

static bool is_stop(char c)
{
	return c == '\n' || c == '\r' || c == '\0';
}

/* Behind a CR that ends a line. Text modes that write CRLF for LF turn CRLF into CRCRLF: any run of CR in front of
 * an LF is one end, or the header would end after its first line and show a Bcc in the body. Without an LF behind
 * them each CR is one. */
static int take_rest_of_end(struct job_raw_reader *r)
{
	size_t run = 0;

	for (;; run++, r->at++) {
		if (r->at == r->len) {
			int rc = refill(r);

			if (rc < 0) return rc;
			if (r->len == 0) break;
		}
		if (r->bytes[r->at] == '\n') {
			r->at++;
			return 1;
		}
		if (r->bytes[r->at] != '\r') break;
	}
	r->owed = run;
	return 1;
}

/* Moves what belongs to the line out of the bytes at hand. 1: its end was among them. */
static int take_piece(struct job_raw_reader *r)
{
	const char *from = r->bytes + r->at, *end = r->bytes + r->len, *p = from;
	unsigned char high = 0;
	size_t n;

	for (; p < end && !is_stop(*p); p++)
		high |= (unsigned char)*p;
	n = (size_t)(p - from);
	r->eight_bit = r->eight_bit || high >= 0x80;
	if (n > JOB_RAW_LINE_MAX - r->line_len)
		return invalid(r, "a line of more than 998 bytes (encode it as quoted-printable or base64)");
	memcpy(r->line + r->line_len, from, n);
	r->line_len += n;
	r->at += n;
	if (p == end) return 0;
	if (*p == '\0') return invalid(r, "a NUL in it (encode it as base64)");
	r->at++;
	return *p == '\r' ? take_rest_of_end(r) : 1;
}

/* A line without its end, in r->line. 0: there is none. */
static int take_line(struct job_raw_reader *r)
{
	bool begun = false;
	int rc = 0;

	r->line_len = 0;
	r->eight_bit = false;
	r->line_no++;
	if (r->owed > 0) {
		r->owed--;
		return 1;
	}
	while (rc == 0) {
		if (r->at == r->len) {
			rc = refill(r);
			if (rc < 0) return rc;
			if (r->len == 0) return begun ? 1 : 0;
		}
		begun = true;
		rc = take_piece(r);
	}
	return rc;
}

/* ---- the header ---- */

static bool is_white(char c)
{
	return c == ' ' || c == '\t';
}

/* The bytes of the field's name in front of the colon; 0: it is no field. White space before the colon is
 * obsolete and still seen (RFC 5322 section 4.5). */
static size_t name_len(struct str line, size_t *colon)
{
	size_t n = 0;

	while (n < line.len && line.ptr[n] > ' ' && line.ptr[n] < 0x7f && line.ptr[n] != ':')
		n++;
	*colon = n;
	while (*colon < line.len && is_white(line.ptr[*colon]))
		++*colon;
	return *colon < line.len && line.ptr[*colon] == ':' ? n : 0;
}

enum job_raw_field job_raw_field(struct str line, struct str *value)
{
	static const struct {
		const char *name;
		enum job_raw_field field;
	} fields[] = {
		{"From", JOB_RAW_FROM},
		{"Sender", JOB_RAW_SENDER},
		{"To", JOB_RAW_TO},
		{"Cc", JOB_RAW_CC},
		{"Bcc", JOB_RAW_BCC},
		{"Resent-To", JOB_RAW_RESENT_TO},
		{"Resent-Cc", JOB_RAW_RESENT_CC},
		{"Resent-Bcc", JOB_RAW_RESENT_BCC},
		{"Subject", JOB_RAW_SUBJECT},
		{"Date", JOB_RAW_DATE},
		{"Message-ID", JOB_RAW_MESSAGE_ID},
		{"Return-Path", JOB_RAW_RETURN_PATH},
	};
	size_t colon, n = name_len(line, &colon);

	*value = str_trim(line);
	if (line.len == 0 || is_white(line.ptr[0])) return JOB_RAW_MORE;
	if (n == 0) return JOB_RAW_MBOX;
	*value = str_trim((struct str){line.ptr + colon + 1, line.len - colon - 1});
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (str_eq_nocase((struct str){line.ptr, n}, str_from(fields[i].name)))
			return fields[i].field;
	return JOB_RAW_OTHER;
}

/* Whether the line may stand here in the header. */
static int judge_header(struct job_raw_reader *r, struct str line)
{
	size_t colon;

	r->header_bytes += line.len + 2;
	if (r->header_bytes > JOB_RAW_HEADER_MAX) return invalid(r, "the header is too long");
	if (r->eight_bit && !str_is_utf8(line)) return invalid(r, "the header is not UTF-8");
	if (line.len == 0) {
		r->head_over = true;
		return 0;
	}
	if (r->line_no == 1 && name_len(line, &colon) == 0 && str_starts_nocase(line, STR("From "))) return 0;
	if (is_white(line.ptr[0]) ? r->line_no == 1 : name_len(line, &colon) == 0)
		return invalid(r, "neither a field of the header nor the empty line behind it");
	return 0;
}

int job_raw_line(struct job_raw_reader *r, struct str *line)
{
	int rc;

	r->in_header = !r->head_over;
	rc = take_line(r);
	if (rc <= 0) return rc;
	*line = (struct str){r->line, r->line_len};
	rc = r->in_header ? judge_header(r, *line) : 0;
	return rc < 0 ? rc : 1;
}
