/* The message that a local program wrote, made one that the gateway takes. */
#include <string.h>

#include "cli/sendmail.h"
#include "job/job.h"

#define LINE_MAX_BYTES JOB_RAW_LINE_MAX

struct lines {
	struct str in;
	size_t at;
	size_t lone; /* CRs in front of this place have no LF behind them */
};

/* The place behind the line end at `at`: CR, LF, CRLF, or any run of CR before an LF (as job_raw_line takes it). */
static size_t behind_end(struct lines *l, size_t at)
{
	size_t run = at;

	if (l->in.ptr[at] == '\n' || at < l->lone) return at + 1;
	while (run < l->in.len && l->in.ptr[run] == '\r')
		run++;
	if (run < l->in.len && l->in.ptr[run] == '\n') return run + 1;
	l->lone = run;
	return at + 1;
}

/* The next line, without its end; false: there is none. */
static bool next_line(struct lines *l, struct str *line)
{
	size_t n = l->at;

	if (n == l->in.len) return false;
	while (n < l->in.len && l->in.ptr[n] != '\n' && l->in.ptr[n] != '\r')
		n++;
	*line = (struct str){l->in.ptr + l->at, n - l->at};
	l->at = n < l->in.len ? behind_end(l, n) : n;
	return true;
}

/* So much of the text as goes on one line without cutting a character of UTF-8. */
static size_t fitting(struct str s, size_t most)
{
	size_t n = most;

	if (s.len <= most) return s.len;
	while (n > most - 4 && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
		n--;
	return n > most - 4 ? n : most;
}

static void put_body_line(struct buf *out, struct str line)
{
	size_t most = LINE_MAX_BYTES;

	for (;;) {
		size_t n = fitting(line, most);

		buf_add(out, line.ptr, n);
		buf_puts(out, "\n");
		line = (struct str){line.ptr + n, line.len - n};
		if (line.len == 0) return;
		buf_puts(out, " ");
		most = LINE_MAX_BYTES - 1;
	}
}

void sendmail_message(struct str in, bool dot_is_text, struct buf *out, struct sendmail_header *header)
{
	enum job_raw_field field = JOB_RAW_OTHER, this;
	bool in_header = true, first = true;
	struct lines lines = {.in = in};
	struct str line, value;

	*header = (struct sendmail_header){0};
	for (; next_line(&lines, &line); first = false) {
		if (!dot_is_text && str_eq(line, STR("."))) break;
		if (!in_header) {
			put_body_line(out, line);
			continue;
		}
		this = job_raw_field(line, &value);
		/* behind no field at all, white space begins no header either */
		if (this == JOB_RAW_MORE && line.len > 0 && first) this = JOB_RAW_MBOX;
		if (this == JOB_RAW_MBOX && !(first && str_starts_nocase(line, STR("From ")))) {
			in_header = false;
			buf_puts(out, "\n");
			put_body_line(out, line);
			continue;
		}
		if (this != JOB_RAW_MORE) field = this;
		in_header = line.len > 0;
		if (in_header && field == JOB_RAW_FROM && memchr(value.ptr, '@', value.len))
			header->from = true;
		buf_str(out, line);
		buf_puts(out, "\n");
	}
	if (out->len == 0) buf_puts(out, "\n");
}
