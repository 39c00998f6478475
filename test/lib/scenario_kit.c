#include "scenario_kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "net/net.h"

#define LAST_LINE "the last line"
/* RFC 5321 section 4.5.3.1.6, without the line end. */
#define LINE_BYTES_MAX 998
/* RFC 5321 section 4.5.3.2.6 for the reply, and CONTRACT "the promise": not before 10 minutes after that. */
#define SILENT_MS (10 * 60 * 1000)

struct scenario_ledger *scenario_ledger;
const char *(*scenario_mood)(enum scenario_at at);
const char *scenario_ehlo;

void scenario_begin(void)
{
	scenario_ledger = sim_shared(sizeof(*scenario_ledger));
	memset(scenario_ledger, 0, sizeof(*scenario_ledger));
	scenario_mood = NULL;
	scenario_ehlo = "250 ok\r\n";
}

void scenario_violate(const char *format, ...)
{
	struct scenario_ledger *l = scenario_ledger;
	char text[sizeof(l->violation)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	sim_note("VIOLATION: %s", text);
	if (l->violations++ == 0) memcpy(l->violation, text, sizeof(text));
}

/* ---- jobs ---- */

/* Some lines begin with a dot, some are nothing but one. */
static void line_text(unsigned n, unsigned i, char *text, size_t cap)
{
	if (i % 7 == 3)
		snprintf(text, cap, ".");
	else
		snprintf(text, cap, "%sline %u of job %u", i % 5 == 2 ? "." : "", i, n);
}

void scenario_job_text(unsigned n, bool variant, struct buf *b)
{
	const struct scenario_job *j = &scenario_ledger->jobs[n];
	char line[64];

	buf_printf(b, "{\"%s\":[", j->format1 ? "to" : "recipients");
	for (unsigned r = 0; r < j->rcpts; r++)
		buf_printf(b, "%s\"r%u.j%u@example.com\"", r ? "," : "", r, n);
	buf_puts(b, "]");
	if (!j->unnamed) buf_printf(b, ",\"message_id\":\"job-%u\"", n);
	if (j->provider) buf_printf(b, ",\"provider_id\":\"%s\"", j->provider);
	if (j->own_from) buf_printf(b, ",\"from\":\"from.j%u@example.com\"", n);
	buf_printf(b, ",\"subject\":\"job %u%s\",\"%s\":\"", n, variant ? " otherwise" : "",
		   j->format1 ? "body_content" : "plain_body");
	for (unsigned i = 0; i < j->lines; i++) {
		line_text(n, i, line, sizeof(line));
		buf_printf(b, "%s\\n", line);
	}
	buf_puts(b, LAST_LINE "\"}");
	CHECK(!b->cut);
}

/* ---- a mail, read again ---- */

void scenario_read_begin(struct scenario_reader *r, unsigned job)
{
	*r = (struct scenario_reader){.job = job};
}

static uint64_t hash(const char *text, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return h;
}

static void read_header(struct scenario_reader *r, const char *text, size_t len)
{
	char subject[64];

	snprintf(subject, sizeof(subject), "Subject: job %u", r->job);
	if (len == 0)
		r->body = true;
	else if (len > 12 && strncasecmp(text, "Message-ID: ", 12) == 0)
		r->mail_id = hash(text, len);
	else if (len == 43 && strncasecmp(text, "Content-Transfer-Encoding: quoted-printable", 43) == 0)
		r->quoted = true;
	else if (len > 9 && strncasecmp(text, "Subject: ", 9) == 0)
		r->wrong = r->wrong || len != strlen(subject) || memcmp(text, subject, len) != 0;
}

/* "=2E" is a dot, in quoted-printable (RFC 2045 section 6.7). Our lines are too short for soft breaks. */
static size_t unquote(const char *text, size_t len, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < cap; i++) {
		char hex[3] = "";

		if (text[i] != '=' || i + 2 >= len) {
			out[n++] = text[i];
			continue;
		}
		memcpy(hex, text + i + 1, 2);
		out[n++] = (char)strtol(hex, NULL, 16);
		i += 2;
	}
	return n;
}

void scenario_read_line(struct scenario_reader *r, const char *text, size_t len)
{
	char wanted[64], plain[128];
	unsigned lines = scenario_ledger->jobs[r->job].lines;

	if (!r->body) {
		read_header(r, text, len);
		return;
	}
	if (r->quoted) {
		len = unquote(text, len, plain, sizeof(plain));
		text = plain;
	}
	if (r->line < lines)
		line_text(r->job, r->line, wanted, sizeof(wanted));
	else
		snprintf(wanted, sizeof(wanted), r->line == lines ? LAST_LINE : "");
	if (!r->wrong && (len != strlen(wanted) || memcmp(text, wanted, len) != 0)) {
		r->wrong = true;
		sim_note("job %u: line %u is \"%.*s\" for \"%s\"", r->job, r->line, len < 80 ? (int)len : 80,
			 text, wanted);
	}
	r->whole = r->whole || r->line == lines;
	r->line++;
}

void scenario_read_end(const struct scenario_reader *r)
{
	struct scenario_job *j = &scenario_ledger->jobs[r->job];

	if (!r->whole || r->wrong)
		scenario_violate("job %u: its mail is %s", r->job,
				 r->wrong ? "not what was asked for" : "not whole");
	if (r->mail_id == 0)
		scenario_violate("job %u: its mail has no Message-ID", r->job);
	else if (j->mail_id != 0 && j->mail_id != r->mail_id)
		scenario_violate("job %u: a second copy has another Message-ID", r->job);
	j->mail_id = r->mail_id;
}

/* ---- the server ---- */

struct session {
	struct hal_stream *s;
	struct net_line line;
	unsigned id;
	bool over; /* nothing more is said */
	bool quit, pipelining;
	/* the mail under way */
	bool mail;
	int code;        /* of MAIL; 0: none yet */
	unsigned sender; /* the job that MAIL names */
	int64_t mail_ms;
	struct scenario_rcpt *rcpts[SCENARIO_RCPTS_MAX];
	unsigned job, rcpt_count;
	/* of the mail before, until the client goes on */
	struct scenario_rcpt *unsure[SCENARIO_RCPTS_MAX];
	unsigned unsure_count;
	char memory[4096];
};

static void put(struct session *c, const char *text)
{
	if (net_send_all(c->s, text, strlen(text), HAL_FOREVER, NULL) < 0) c->over = true;
}

/* Reads on, says nothing, until the client has had enough. */
static void be_silent(struct session *c)
{
	char bytes[256];

	while (hal_stream_recv(c->s, bytes, sizeof(bytes), HAL_FOREVER) > 0) {
	}
	c->over = true;
}

static void leave(struct session *c, const char *how)
{
	if (*how == '?') be_silent(c);
	c->over = true;
}

/* Says what the mood is for, or fine. Returns the code that was said, 0 for none. */
static int say_or(struct session *c, const char *other, const char *fine)
{
	char text[128];
	bool early = net_line_pending(&c->line) > 0 || hal_stream_poll(c->s, hal_clock_mono_ms()) == 0;

	if (early && !c->pipelining) scenario_violate("the client did not wait for the reply");
	if (!other) {
		put(c, fine);
		return atoi(fine);
	}
	sim_note("connection %u is told: %s", c->id, other);
	if (*other == '!' || *other == '?') {
		leave(c, other);
		return 0;
	}
	snprintf(text, sizeof(text), "%s\r\n", other);
	put(c, text);
	c->over = c->over || strncmp(text, "421", 3) == 0;
	return atoi(text);
}

static const char *mood(enum scenario_at at)
{
	return scenario_mood ? scenario_mood(at) : NULL;
}

static int say(struct session *c, enum scenario_at at, const char *fine)
{
	return say_or(c, mood(at), fine);
}

/* A refusal that is meant for this recipient. */
static void count_refusal(unsigned n, struct scenario_rcpt *r, int code)
{
	if (code >= 500)
		r->refusals++;
	else if (code == 0 || code >= 400)
		scenario_ledger->jobs[n].deferrals++;
}

static void mail_forget(struct session *c)
{
	c->mail = false;
	c->code = 0;
	c->rcpt_count = 0;
	c->job = SCENARIO_NOBODY;
}

static void on_mail(struct session *c, const char *line)
{
	unsigned n = SCENARIO_NOBODY;
	const char *other;

	if (c->mail) scenario_violate("MAIL within a mail");
	if (strncmp(line, "MAIL FROM:<gw@example.com>", 26) != 0 &&
	    (sscanf(line, "MAIL FROM:<from.j%u@example.com>", &n) != 1 || n >= scenario_ledger->job_count))
		scenario_violate("unknown sender: %.100s", line);
	mail_forget(c);
	c->mail_ms = sim_true_ms();
	c->sender = n;
	other = mood(SCENARIO_MAIL);
	/* A refusal for good must have an owner. */
	if (other && *other == '5' && n == SCENARIO_NOBODY) other = "451 4.3.0 not this one";
	c->code = say_or(c, other, "250 2.1.0 ok\r\n");
	c->mail = c->code == 250;
	if (n == SCENARIO_NOBODY)
		scenario_ledger->nameless += !c->mail;
	else
		for (unsigned r = 0; !c->mail && r < scenario_ledger->jobs[n].rcpts; r++)
			count_refusal(n, &scenario_ledger->jobs[n].rcpt[r], c->code);
}

/* What must not be asked for any more, or never was. */
static void judge_rcpt(const struct session *c, unsigned n, unsigned r)
{
	const struct scenario_job *j = &scenario_ledger->jobs[n];
	const struct scenario_rcpt *p = &j->rcpt[r];
	int64_t at_ms = c->mail_ms - SCENARIO_SLACK_MS;

	if (!j->asked) scenario_violate("job %u is sent and nobody asked for it", n);
	if (c->sender != (j->own_from ? n : SCENARIO_NOBODY))
		scenario_violate("job %u has the wrong sender", n);
	if (c->job != SCENARIO_NOBODY && c->job != n)
		scenario_violate("job %u is in the mail of job %u", n, c->job);
	if (j->cancelled_ms != 0 && at_ms > j->cancelled_ms && !j->again)
		scenario_violate("job %u is sent although it was cancelled", n);
	if (j->sent_ms != 0 && at_ms > j->sent_ms)
		scenario_violate("job %u is sent again although its success was told", n);
	if (p->total > 0 && p->silent && p->boot == scenario_ledger->boot && !j->again &&
	    c->mail_ms - p->at_ms < SILENT_MS)
		scenario_violate("job %u is sent again too soon after a reply that was late", n);
}

static void on_rcpt(struct session *c, const char *line)
{
	const char *fine = "250 2.1.5 ok\r\n";
	struct scenario_job *j;
	unsigned n, r;
	int code;

	if (sscanf(line, "RCPT TO:<r%u.j%u@example.com>", &r, &n) != 2 || n >= scenario_ledger->job_count ||
	    r >= scenario_ledger->jobs[n].rcpts) {
		scenario_violate("unknown recipient: %.100s", line);
		put(c, "550 what\r\n");
		return;
	}
	j = &scenario_ledger->jobs[n];
	if (!c->mail) {
		if (c->code == 0) scenario_violate("RCPT without MAIL");
		count_refusal(n, &j->rcpt[r], c->code);
		put(c, "503 5.5.1 no mail\r\n");
		return;
	}
	judge_rcpt(c, n, r);
	if (c->rcpt_count == SCENARIO_RCPTS_MAX) {
		scenario_violate("job %u: more recipients than it has", n);
		return;
	}
	c->job = n;
	if (j->deferred && r == 0 && j->refused_once++ == 0)
		fine = "451 4.7.1 later\r\n";
	else if (j->hopeless && r + 1 == j->rcpts)
		fine = "550 5.1.1 nobody\r\n";
	code = say(c, SCENARIO_RCPT, fine);
	if (code == 250)
		c->rcpts[c->rcpt_count++] = &j->rcpt[r];
	else
		count_refusal(n, &j->rcpt[r], code);
}

/* One more copy for this recipient. */
static void take(struct session *c, struct scenario_rcpt *r)
{
	struct scenario_ledger *l = scenario_ledger;

	if (r->total > 0) {
		l->duplicates++;
		sim_note("connection %u takes job %u once more", c->id, c->job);
		if (r->boot == l->boot && (r->known || (!r->lost && l->stalls == 0)))
			scenario_violate("job %u comes twice and the first reply was %s", c->job,
					 r->known ? "read" : "not lost");
	}
	r->total++;
	r->copies[l->boot % SCENARIO_BOOTS_MAX]++;
	r->boot = l->boot;
	r->at_ms = sim_true_ms();
	r->known = r->lost = r->silent = false;
}

/* The dot was read. */
static void on_dot(struct session *c)
{
	const char *other = mood(SCENARIO_DOT);
	bool taken = !other || *other == '+';
	int code;

	if (other && *other == '+') other++;
	for (unsigned i = 0; taken && i < c->rcpt_count; i++) {
		take(c, c->rcpts[i]);
		c->unsure[i] = c->rcpts[i];
		c->rcpts[i]->lost = other != NULL;
		c->rcpts[i]->silent = other && *other == '?';
	}
	scenario_ledger->mails += taken;
	c->unsure_count = taken && !other ? c->rcpt_count : 0;
	code = say_or(c, other, "250 2.0.0 Ok: queued as Q1\r\n");
	for (unsigned i = 0; !taken && i < c->rcpt_count; i++)
		count_refusal(c->job, c->rcpts[i], code);
	mail_forget(c);
}

static bool read_strictly(struct session *c, struct str *line, int64_t deadline_ms)
{
	bool cut;

	if (net_line_read(&c->line, line, &cut, deadline_ms) < 0) {
		c->over = true;
		return false;
	}
	if (cut || line->len > LINE_BYTES_MAX)
		scenario_violate("a line of more than %d bytes", LINE_BYTES_MAX);
	else if (line->ptr[line->len] != '\r' || (line->len > 0 && memchr(line->ptr, '\r', line->len)))
		scenario_violate("CR or LF alone");
	return true;
}

static void on_content(struct session *c)
{
	unsigned stop_at = scenario_ledger->jobs[c->job].lines / 2;
	struct scenario_reader r;
	struct str line;
	unsigned read = 0;

	scenario_read_begin(&r, c->job);
	while (read_strictly(c, &line, HAL_FOREVER)) {
		if (str_eq(line, STR("."))) {
			scenario_read_end(&r);
			on_dot(c);
			return;
		}
		if (line.len > 0 && line.ptr[0] == '.') line = (struct str){line.ptr + 1, line.len - 1};
		scenario_read_line(&r, line.ptr, line.len);
		if (read++ == stop_at) {
			const char *other = mood(SCENARIO_CONTENT);

			if (other) {
				sim_note("connection %u ends within the content", c->id);
				leave(c, other);
				return;
			}
		}
	}
}

static void on_data(struct session *c)
{
	int code;

	if (c->rcpt_count == 0) {
		if (c->code == 0) scenario_violate("DATA without MAIL");
		put(c, "554 5.5.1 nobody\r\n");
		mail_forget(c);
		return;
	}
	code = say(c, SCENARIO_DATA, "354 go\r\n");
	if (code == 354) {
		on_content(c);
		return;
	}
	for (unsigned i = 0; i < c->rcpt_count; i++)
		count_refusal(c->job, c->rcpts[i], code);
	mail_forget(c);
}

static void on_command(struct session *c, const char *line)
{
	if (strncmp(line, "EHLO ", 5) == 0) {
		mail_forget(c);
		if (say(c, SCENARIO_EHLO, scenario_ehlo) == 250)
			c->pipelining = strstr(scenario_ehlo, "PIPELINING") != NULL;
	} else if (strncmp(line, "HELO ", 5) == 0) {
		mail_forget(c);
		say(c, SCENARIO_EHLO, "250 ok\r\n");
	} else if (strcmp(line, "RSET") == 0) {
		mail_forget(c);
		say(c, SCENARIO_RSET, "250 2.0.0 ok\r\n");
	} else if (strncmp(line, "MAIL ", 5) == 0) {
		on_mail(c, line);
	} else if (strncmp(line, "RCPT ", 5) == 0) {
		on_rcpt(c, line);
	} else if (strcmp(line, "DATA") == 0) {
		on_data(c);
	} else if (strcmp(line, "QUIT") == 0) {
		c->quit = true;
		say(c, SCENARIO_QUIT, "221 2.0.0 bye\r\n");
		c->over = true;
	} else {
		scenario_violate("unknown command: %.100s", line);
		put(c, "500 5.5.2 what\r\n");
	}
}

/* Whether the client has read the final reply is known when it goes on, and in doubt when it does not. */
static void settle_unsure(struct session *c, bool known)
{
	for (unsigned i = 0; i < c->unsure_count; i++) {
		c->unsure[i]->known = known;
		c->unsure[i]->lost = !known;
	}
	c->unsure_count = 0;
}

void scenario_serve(struct hal_stream *s, void *arg)
{
	struct session c = {.s = s, .id = ++scenario_ledger->connections};
	struct str line;
	char text[512];

	(void)arg;
	mail_forget(&c);
	net_line_init(&c.line, s, c.memory, sizeof(c.memory));
	if (say(&c, SCENARIO_GREETING, "220 mx.example.com ESMTP\r\n") / 100 == 5) c.over = true;
	while (!c.over && read_strictly(&c, &line, HAL_FOREVER)) {
		settle_unsure(&c, true);
		str_copy(text, sizeof(text), line);
		on_command(&c, text);
	}
	settle_unsure(&c, false);
	scenario_ledger->broken += !c.quit;
}
