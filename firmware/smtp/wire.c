#include "smtp/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "smtp/parts.h"

#define MINUTE_MS 60000
#define NOT_SHOWN "(repeats our credentials; not shown)"
#define BLOCK_MS  180000 /* RFC 5321 section 4.5.3.2.5 */

void wire_use(struct smtp *s, struct hal_stream *stream)
{
	s->stream = stream;
	s->out_len = 0;
	s->send_err = 0;
	net_line_init(&s->line, stream, s->in, sizeof(s->in));
}

void wire_note_of(struct smtp *s, const struct smtp_flight *f, enum smtp_note kind, enum smtp_command command,
		  struct str text)
{
	if (s->config.note != NULL)
		s->config.note(s->config.note_arg, f != NULL ? f->mail : NULL, kind, command, text);
}

void wire_note(struct smtp *s, enum smtp_note kind, const char *format, ...)
{
	char text[WIRE_COMMAND_MAX];
	va_list args;

	if (s->config.note == NULL) return;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* What is sent in this way is a step of AUTH. */
	if (len > 0)
		wire_note_of(s, NULL, kind, kind == SMTP_NOTE_STEP ? SMTP_CMD_GREETING : SMTP_CMD_AUTH,
			     (struct str){text, strlen(text)});
}

bool wire_has_room(const struct smtp *s)
{
	return s->due_count < SMTP_DUE_MAX;
}

int wire_make_room(struct smtp *s, size_t bytes)
{
	CHECK(bytes <= sizeof(s->out));
	return s->out_len + bytes <= sizeof(s->out) ? 0 : wire_flush(s, BLOCK_MS, NULL);
}

uint64_t wire_next_at(const struct smtp *s)
{
	return s->out_base + s->out_len + 1;
}

bool wire_has_left(const struct smtp *s, uint64_t at)
{
	return at <= s->out_base;
}

void wire_expect(struct smtp *s, enum smtp_command command, struct smtp_flight *f, size_t rcpt)
{
	CHECK(s->due_count < SMTP_DUE_MAX);
	s->due[(s->due_first + s->due_count) % SMTP_DUE_MAX] =
		(struct smtp_due){command, (uint16_t)rcpt, f, s->out_base + s->out_len};
	s->due_count++;
	if (f != NULL) f->due++;
}

void wire_begin(struct smtp *s, struct buf *line)
{
	CHECK(s->out_len + WIRE_COMMAND_MAX <= sizeof(s->out));
	buf_init(line, s->out + s->out_len, WIRE_COMMAND_MAX - 2);
}

void wire_end(struct smtp *s, const struct buf *line, enum smtp_command command, struct smtp_flight *f,
	      size_t rcpt)
{
	/* Arguments were judged before they came here; this is the last door. */
	CHECK(line->len > 0 && !line->cut && !str_has_ctl(buf_view(line)));
	wire_note_of(s, f, SMTP_NOTE_SENT, command, buf_view(line));
	memcpy(line->ptr + line->len, "\r\n", 2);
	s->out_len += line->len + 2;
	wire_expect(s, command, f, rcpt);
}

void wire_command(struct smtp *s, enum smtp_command command, struct smtp_flight *f, const char *text)
{
	struct buf line;

	wire_begin(s, &line);
	buf_puts(&line, text);
	wire_end(s, &line, command, f, 0);
}

int64_t wire_limit(const struct smtp *s, int64_t ms)
{
	unsigned percent = s->config.wait_percent;

	return percent == 0 ? ms : ms * percent / 100 + 1;
}

static int64_t deadline_in(const struct smtp *s, int64_t limit_ms)
{
	int64_t own = hal_clock_in(wire_limit(s, limit_ms));

	return own < s->deadline ? own : s->deadline;
}

/* True when more replies are here than commands have left: what leaves next must not be taken for answered. */
static bool has_extra_reply(const struct smtp *s)
{
	const char *at = s->line.ptr + s->line.at, *end = s->line.ptr + s->line.have, *lf;
	size_t replies = 0, left = 0;

	if (at == end || s->flight_count == 0) return false;
	for (; (lf = memchr(at, '\n', (size_t)(end - at))) != NULL; at = lf + 1)
		replies += lf - at < 4 || at[3] != '-';
	while (left < s->due_count && wire_has_left(s, s->due[(s->due_first + left) % SMTP_DUE_MAX].end_at))
		left++;
	return replies > left;
}

int wire_flush(struct smtp *s, int64_t limit_ms, bool *whole)
{
	size_t sent = 0;

	if (s->send_err == 0 && has_extra_reply(s)) s->send_err = ERR_PROTOCOL;
	if (s->out_len > 0 && s->send_err == 0) {
		int rc = net_send_all(s->stream, s->out, s->out_len, deadline_in(s, limit_ms), &sent);
		if (rc < 0) s->send_err = rc;
	}
	if (whole != NULL) *whole = sent == s->out_len;
	s->out_base += sent;
	s->out_len = 0;
	return s->send_err;
}

/* RFC 5321 section 4.5.3.2. TLS and AUTH are not in it; EHLO has the greeting's. */
static int64_t limit_of(enum smtp_command command)
{
	switch (command) {
	case SMTP_CMD_DATA: return 2 * MINUTE_MS;
	case SMTP_CMD_DOT:
	case SMTP_CMD_LAST: return 10 * MINUTE_MS;
	case SMTP_CMD_BDAT:
	case SMTP_CMD_PROBE_BDAT: return 3 * MINUTE_MS;
	case SMTP_CMD_QUIT: return 2000;
	default: return 5 * MINUTE_MS;
	}
}

/* What a server says is logged, stored and shown. Some repeat what they were given. */
static struct str without_secret(const struct smtp *s, struct str line, char *instead, size_t cap)
{
	bool of_several = s->reply.lines > 0 || (line.len > 3 && line.ptr[3] == '-');

	if (!smtp_tells_secret(line, s->config.username, s->config.password, of_several) &&
	    !smtp_tells_digest(line, &s->exchange))
		return line;
	int code_len = line.len < 4 ? 0 : 4;
	int len = snprintf(instead, cap, "%.*s" NOT_SHOWN, code_len, line.ptr);
	return (struct str){instead, (size_t)len};
}

/* Said over several lines, it is whole again where they are joined. */
static void judge_joined(struct smtp *s)
{
	struct str text = str_from(s->reply.text);

	if (s->reply.lines > 1 && smtp_tells_secret(text, s->config.username, s->config.password, false))
		str_copy(s->reply.text, sizeof(s->reply.text), STR(NOT_SHOWN));
}

static int read_reply(struct smtp *s, enum smtp_command command, const struct smtp_flight *f,
		      int64_t deadline_ms)
{
	char instead[64];
	int rc;

	memset(&s->reply, 0, sizeof(s->reply));
	do {
		struct str line;
		bool cut;

		rc = net_line_read(&s->line, &line, &cut, deadline_ms);
		if (rc < 0) return rc;
		s->reply_text = line.len > 4 ? (struct str){line.ptr + 4, line.len - 4} : STR("");
		line = without_secret(s, line, instead, sizeof(instead));
		wire_note_of(s, f, SMTP_NOTE_RECEIVED, command, line);
		rc = smtp_reply_line(&s->reply, line);
		if (rc >= 0 && command == SMTP_CMD_EHLO && s->reply.lines > 1 && line.len > 4)
			smtp_caps_line(&s->caps, s->reply_text);
	} while (rc == 0);
	judge_joined(s);
	return rc < 0 ? rc : 0;
}

static bool has_line(const struct smtp *s)
{
	size_t pending = net_line_pending(&s->line);

	return pending > 0 && memchr(s->line.ptr + s->line.at, '\n', pending) != NULL;
}

/* It has begun to come, or never will: not to be waited for long. */
static int64_t soon(const struct smtp *s)
{
	int64_t own = hal_clock_in(1000);

	return own < s->deadline ? own : s->deadline;
}

int wire_reply(struct smtp *s, struct smtp_due *due)
{
	CHECK(s->due_count > 0);
	*due = s->due[s->due_first];
	/* Before the first mail, impatient servers are let be. */
	if (!has_line(s) || due->flight == NULL) (void)wire_flush(s, limit_of(due->command), NULL);
	bool has_left = wire_has_left(s, due->end_at);
	int rc = read_reply(s, has_left ? due->command : SMTP_CMD_GREETING, due->flight,
			    s->send_err != 0 ? soon(s) : deadline_in(s, limit_of(due->command)));
	if (rc < 0) return s->send_err != 0 ? s->send_err : rc;
	if (!has_left) return 1;
	s->due_first = (s->due_first + 1) % SMTP_DUE_MAX;
	s->due_count--;
	if (due->flight != NULL) due->flight->due--;
	return 0;
}

bool wire_has_more(const struct smtp *s)
{
	size_t pending = net_line_pending(&s->line);

	return s->due_count == 0 && pending > 0 &&
	       memcmp(s->line.ptr + s->line.at, "421", pending < 3 ? pending : 3) != 0;
}

bool wire_can_read(struct smtp *s)
{
	return net_line_pending(&s->line) > 0 ||
	       hal_stream_poll(s->stream, hal_clock_mono_ms()) != ERR_TIMEOUT;
}

int wire_early(struct smtp *s)
{
	if (net_line_pending(&s->line) == 0) {
		int rc = hal_stream_poll(s->stream, hal_clock_mono_ms());
		if (rc == ERR_TIMEOUT) return 0;
		if (rc < 0) return rc;
	}
	int rc = read_reply(s, SMTP_CMD_GREETING, s->writing, soon(s));
	return rc < 0 ? rc : 1;
}
