#include "smtp/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "smtp/parts.h"

#define MINUTE_MS 60000

void wire_use(struct smtp *s, struct hal_stream *stream)
{
	s->stream = stream;
	s->out_len = 0;
	net_line_init(&s->line, stream, s->in, sizeof(s->in));
}

static void note_text(struct smtp *s, enum smtp_note kind, struct str text)
{
	if (s->config.note != NULL) s->config.note(s->config.note_arg, kind, text);
}

void wire_note(struct smtp *s, enum smtp_note kind, const char *format, ...)
{
	char text[WIRE_COMMAND_MAX];
	va_list args;

	if (s->config.note == NULL) return;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len > 0) note_text(s, kind, (struct str){text, strlen(text)});
}

bool wire_has_room(const struct smtp *s)
{
	return s->due_count < SMTP_DUE_MAX && s->out_len + WIRE_COMMAND_MAX <= sizeof(s->out);
}

void wire_expect(struct smtp *s, enum smtp_command command, struct smtp_mail *mail, size_t rcpt)
{
	CHECK(s->due_count < SMTP_DUE_MAX);
	s->due[(s->due_first + s->due_count) % SMTP_DUE_MAX] =
		(struct smtp_due){.command = command, .rcpt = (uint16_t)rcpt, .mail = mail};
	s->due_count++;
}

void wire_command(struct smtp *s, enum smtp_command command, struct smtp_mail *mail, size_t rcpt,
		  const char *format, ...)
{
	char *at = s->out + s->out_len;
	va_list args;

	CHECK(wire_has_room(s));
	va_start(args, format);
	int len = vsnprintf(at, WIRE_COMMAND_MAX - 2, format, args);
	va_end(args);
	/* Arguments were judged before they came here; this is the last door. */
	CHECK(len > 0 && len < WIRE_COMMAND_MAX - 2 && !str_has_ctl((struct str){at, (size_t)len}));
	note_text(s, SMTP_NOTE_SENT, (struct str){at, (size_t)len});
	memcpy(at + len, "\r\n", 2);
	s->out_len += (size_t)len + 2;
	wire_expect(s, command, mail, rcpt);
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

int wire_flush(struct smtp *s, int64_t limit_ms, bool *whole)
{
	size_t sent = 0;
	int rc = 0;

	if (s->out_len > 0) rc = net_send_all(s->stream, s->out, s->out_len, deadline_in(s, limit_ms), &sent);
	if (whole != NULL) *whole = sent == s->out_len;
	s->out_len = 0;
	return rc;
}

/* RFC 5321 section 4.5.3.2. TLS and AUTH are not in it; EHLO has the greeting's. */
static int64_t limit_of(enum smtp_command command)
{
	switch (command) {
	case SMTP_CMD_DATA: return 2 * MINUTE_MS;
	case SMTP_CMD_DOT: return 10 * MINUTE_MS;
	case SMTP_CMD_QUIT: return 2000;
	default: return 5 * MINUTE_MS;
	}
}

/* What a server says is logged, stored and shown. Some repeat what they were given. */
static struct str without_secret(const struct smtp *s, struct str line, char *instead, size_t cap)
{
	if (!smtp_tells_secret(line, s->config.username, s->config.password)) return line;
	int code_len = line.len < 4 ? 0 : 4;
	int len = snprintf(instead, cap, "%.*s(repeats our credentials; not shown)", code_len, line.ptr);
	return (struct str){instead, (size_t)len};
}

static int read_reply(struct smtp *s, bool ehlo, int64_t deadline_ms)
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
		note_text(s, SMTP_NOTE_RECEIVED, line);
		rc = smtp_reply_line(&s->reply, line);
		if (rc >= 0 && ehlo && s->reply.lines > 1 && line.len > 4)
			smtp_caps_line(&s->caps, (struct str){line.ptr + 4, line.len - 4});
	} while (rc == 0);
	return rc < 0 ? rc : 0;
}

int wire_reply(struct smtp *s, struct smtp_due *due)
{
	CHECK(s->due_count > 0);
	*due = s->due[s->due_first];
	int rc = wire_flush(s, limit_of(due->command), NULL);
	if (rc < 0) return rc;
	rc = read_reply(s, due->command == SMTP_CMD_EHLO, deadline_in(s, limit_of(due->command)));
	if (rc < 0) return rc;
	s->due_first = (s->due_first + 1) % SMTP_DUE_MAX;
	s->due_count--;
	return 0;
}

int wire_early(struct smtp *s)
{
	int64_t now = hal_clock_mono_ms();

	if (net_line_pending(&s->line) == 0) {
		int rc = hal_stream_poll(s->stream, now);
		if (rc == ERR_TIMEOUT) return 0;
		if (rc < 0) return rc;
	}
	/* It has begun to come: it may take a moment to be whole. */
	int64_t deadline = hal_clock_in(1000);
	int rc = read_reply(s, false, deadline < s->deadline ? deadline : s->deadline);
	return rc < 0 ? rc : 1;
}
