#include "smtp_peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/err.h"
#include "hal_clock.h"

#define WAIT_MS (3600 * 1000)

/* The connection without its close: that belongs to whoever gave it. */
struct lent {
	struct hal_stream stream;
	struct hal_stream *to;
};

struct session {
	struct smtp_peer *p;
	struct hal_stream *s;
	struct lent lent;
	struct net_tls tls;
	bool tls_on, greeted, mail, over;
	bool chunking; /* in the middle of a mail by BDAT: no other command but RSET and QUIT */
	bool unclear;  /* a BDAT was refused: RSET must come before MAIL */
	unsigned rcpts, accepted;
	char buf[2048];
	size_t have, at;
};

static struct hal_stream *lent_to(struct hal_stream *s)
{
	return ((struct lent *)(void *)s)->to;
}
static int lent_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	return hal_stream_send(lent_to(s), bytes, len, deadline_ms);
}
static int lent_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	return hal_stream_recv(lent_to(s), bytes, cap, deadline_ms);
}
static int lent_poll(struct hal_stream *s, int64_t deadline_ms)
{
	return hal_stream_poll(lent_to(s), deadline_ms);
}
static void lent_abort(struct hal_stream *s)
{
	hal_stream_abort(lent_to(s));
}
static void lent_close(struct hal_stream *s)
{
	(void)s;
}
static const struct hal_stream_ops lent_ops = {lent_send, lent_recv, lent_poll, lent_abort, lent_close};

static void violate(struct session *c, const char *format, ...)
{
	va_list args;

	if (c->p->violations++ > 0) return;
	va_start(args, format);
	vsnprintf(c->p->violation, sizeof(c->p->violation), format, args);
	va_end(args);
}

/* The next byte, -1 at the end of the connection. */
static int next(struct session *c)
{
	if (c->at == c->have) {
		int rc = hal_stream_recv(c->s, c->buf, sizeof(c->buf), hal_clock_in(WAIT_MS));

		if (rc < 0) {
			c->over = true;
			return -1;
		}
		c->at = 0;
		c->have = (size_t)rc;
	}
	return (unsigned char)c->buf[c->at++];
}

/* A line ended by CRLF, without it; anything else is a violation. */
static bool read_line(struct session *c, char *line, size_t cap)
{
	size_t len = 0;
	int b;

	while ((b = next(c)) >= 0) {
		if (b == '\r') {
			if ((b = next(c)) != '\n') {
				if (b >= 0) violate(c, "bare CR in a command");
				return false;
			}
			line[len] = '\0';
			return true;
		}
		if (b == '\n' || b == 0) violate(c, "byte %d in a command", b);
		if (len + 1 < cap) line[len++] = (char)b;
	}
	return false;
}

static void put(struct session *c, char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] == PEER_NUL[0]) text[i] = '\0';
	if (net_send_all(c->s, text, len, hal_clock_in(WAIT_MS), NULL) < 0) c->over = true;
}

static const char *scripted(const struct smtp_peer *p, enum smtp_peer_at at)
{
	bool ours = at < PEER_MAIL || p->only_mail == 0 || p->only_mail == p->mails_begun;

	for (size_t i = 0; i < PEER_SCRIPTS_MAX; i++)
		if (p->scripts[i].reply != NULL && p->scripts[i].at == at &&
		    p->scripts[i].mail == p->mails_begun)
			return p->scripts[i].reply;
	return ours ? p->replies[at] : NULL;
}

/* The mail is taken: said comes true when the reply is in the connection. */
static struct smtp_peer_taken *take(struct session *c, bool by_bdat)
{
	static struct smtp_peer_taken over;
	struct smtp_peer *p = c->p;
	struct smtp_peer_taken *t = p->taken_count < PEER_TAKEN_MAX ? &p->taken[p->taken_count++] : &over;
	size_t begin = p->content_len < sizeof(t->begin) ? p->content_len : sizeof(t->begin) - 1;

	memset(t, 0, sizeof(*t));
	snprintf(t->from, sizeof(t->from), "%.*s", (int)strcspn(p->mail_line + 11, ">"), p->mail_line + 11);
	t->rcpts = c->accepted;
	t->by_bdat = by_bdat;
	t->len = p->content_len;
	memcpy(t->begin, p->content, begin);
	return t;
}

/* Forgets what has come. */
static void discard(struct session *c)
{
	c->at = c->have;
	while (hal_stream_poll(c->s, hal_clock_mono_ms()) == 0)
		if (hal_stream_recv(c->s, c->buf, sizeof(c->buf), hal_clock_mono_ms()) < 0) break;
}

/* Says the scripted reply for that place, or the usual one. Returns the code said; 0: none. */
static int say(struct session *c, enum smtp_peer_at at, const char *usual)
{
	const char *r = scripted(c->p, at);
	struct smtp_peer_taken *taken = NULL;
	char line[1100], refusal[] = "550 5.7.1 refused as spam";
	bool final = at == PEER_DOT || at == PEER_LAST;

	if (final && c->accepted > 0 && c->p->refuses_every > 0 &&
	    c->p->mails_begun % c->p->refuses_every == 0)
		r = refusal;
	if (at == PEER_RCPT && c->rcpts <= PEER_RCPTS_MAX && c->p->rcpt_replies[c->rcpts - 1] != NULL)
		r = c->p->rcpt_replies[c->rcpts - 1];
	if (r == NULL) r = c->p->words != NULL && usual[0] == '2' && at >= PEER_RSET ? c->p->words : usual;
	if (strcmp(r, PEER_SILENT) == 0) {
		while (next(c) >= 0)
			;
		return 0;
	}
	if (strcmp(r, PEER_HANG_UP) == 0) {
		c->over = true;
		return 0;
	}
	int code = 0;
	sscanf(r, "%3d", &code);
	if (final && code / 100 == 2) {
		c->p->finals_sent++;
		if (c->accepted > 0) taken = take(c, at == PEER_LAST);
	}
	bool ended = r[0] != '\0' && r[strlen(r) - 1] == '\n';
	snprintf(line, sizeof(line), "%s%s%s", r, ended ? "" : "\r\n",
		 at == PEER_STARTTLS && c->p->behind_starttls != NULL ? c->p->behind_starttls : "");
	if (c->p->flaw == PEER_DISCARDS && at >= PEER_RSET && at <= PEER_DATA &&
	    ++c->p->replies_said % c->p->flaw_every == 0)
		discard(c);
	if (c->p->flaw != PEER_MUTE || at < PEER_RSET || ++c->p->replies_said % c->p->flaw_every != 0)
		put(c, line);
	if (taken != NULL) taken->said = !c->over;
	for (unsigned i = 1; final && c->p->flaw == PEER_FINAL_EACH && i < c->accepted; i++) {
		if (c->p->final_lag_ms > 0) hal_clock_sleep_until(hal_clock_in(c->p->final_lag_ms));
		put(c, line);
	}
	if (code == 421) c->over = true;
	return code;
}

static void say_caps(struct session *c)
{
	const char *caps = c->tls_on ? c->p->caps_tls : c->p->caps;
	char text[1024] = "250-peer.example greets you\r\n";
	size_t n = strlen(text);

	for (const char *at = caps == NULL ? "" : caps; *at != '\0';) {
		size_t len = strcspn(at, ",");

		n += (size_t)snprintf(text + n, sizeof(text) - n, "250-%.*s\r\n", (int)len, at);
		at += len + (at[len] == ',');
	}
	snprintf(text + n, sizeof(text) - n, "250 HELP\r\n");
	put(c, text);
}

static bool go_tls(struct session *c)
{
	char why_text[200];
	struct buf why;

	c->lent = (struct lent){{&lent_ops}, c->s};
	buf_init(&why, why_text, sizeof(why_text));
	if (net_tls_start(&c->tls, c->p->tls, &c->lent.stream, NULL, hal_clock_in(WAIT_MS), &why) < 0) {
		c->over = true;
		return false;
	}
	c->s = &c->tls.stream;
	c->have = c->at = 0;
	c->tls_on = true;
	c->greeted = false;
	c->p->tls_started++;
	return true;
}

static void decode(char *out, size_t cap, const char *text)
{
	int rc = base64_decode(str_from(text), out, cap - 1);

	out[rc > 0 ? rc : 0] = '\0';
}

static void auth_plain(struct session *c, const char *text)
{
	char raw[256] = "";
	int len = base64_decode(str_from(text), raw, sizeof(raw) - 2);

	if (len < 3 || raw[0] != '\0') {
		violate(c, "PLAIN without NUL");
		return;
	}
	raw[len] = raw[len + 1] = '\0';
	snprintf(c->p->user, sizeof(c->p->user), "%.100s", raw + 1);
	snprintf(c->p->password, sizeof(c->p->password), "%.100s", raw + 2 + strlen(raw + 1));
}

static void on_auth(struct session *c, const char *rest)
{
	char line[1024];

	if (strncmp(rest, "PLAIN ", 6) == 0) {
		auth_plain(c, rest + 6);
	} else if (strcmp(rest, "PLAIN") == 0) {
		if (say(c, PEER_AUTH2, "334 ") != 334 || !read_line(c, line, sizeof(line))) return;
		auth_plain(c, line);
	} else if (strcmp(rest, "LOGIN") == 0) {
		if (say(c, PEER_AUTH2, "334 VXNlcm5hbWU6") != 334 || !read_line(c, line, sizeof(line)))
			return;
		decode(c->p->user, sizeof(c->p->user), line);
		if (say(c, PEER_AUTH3, "334 UGFzc3dvcmQ6") != 334 || !read_line(c, line, sizeof(line)))
			return;
		decode(c->p->password, sizeof(c->p->password), line);
	} else {
		violate(c, "AUTH %.50s", rest);
	}
	c->p->auths += say(c, PEER_AUTH, "235 2.7.0 welcome") == 235;
}

/* The content up to the dot; false when the connection ended before it. */
static bool read_content(struct session *c)
{
	struct smtp_peer *p = c->p;
	bool bol = true, spoken = scripted(p, PEER_CONTENT) == NULL;
	int b;

	p->content_len = 0;
	while ((b = next(c)) >= 0) {
		if (!spoken) {
			spoken = true;
			say(c, PEER_CONTENT, "");
			if (c->over) return false;
		}
		if (bol && b == '.') {
			b = next(c);
			if (b == '\r') {
				if ((b = next(c)) == '\n') return true;
				if (b >= 0) violate(c, "dot, CR and no LF");
				return false;
			}
			if (b < 0) return false;
			if (b != '.') violate(c, "a dot that was not doubled");
		}
		bol = false;
		if (b == '\n') violate(c, "bare LF in the content");
		if (b == '\r') {
			if (next(c) != '\n' && !c->over) violate(c, "bare CR in the content");
			if (c->over) return false;
			bol = true;
		}
		if (p->content_len + 2 < sizeof(p->content)) {
			p->content[p->content_len++] = (char)b;
			if (bol) p->content[p->content_len++] = '\n';
		}
	}
	return false;
}

static void end_mail(struct session *c)
{
	c->mail = false;
	c->rcpts = c->accepted = 0;
}

static void on_data(struct session *c)
{
	struct smtp_peer *p = c->p;
	int code = say(c, PEER_DATA, c->accepted > 0 ? "354 go on" : "554 5.5.1 no valid recipients");

	if (code != 354) return;
	p->datas++;
	if (!read_content(c)) return;
	p->dots++;
	if (c->accepted > 0) p->mails++;
	say(c, PEER_DOT, "250 2.0.0 Ok: queued as 4XYZ12");
	end_mail(c);
	if (p->flaw == PEER_DROPS_BEHIND) c->at = c->have;
	if (p->hang_up_after > 0 && p->mails >= p->hang_up_after) c->over = true;
}

/* A chunk's content; false when the connection ended in it. */
static bool read_chunk(struct session *c, size_t len, bool keep)
{
	struct smtp_peer *p = c->p;
	bool cr = false;

	for (size_t i = 0; i < len; i++) {
		int b = next(c);

		if (b < 0) return false;
		/* A CR at the border of two chunks has its LF in the next one. */
		if (i > 0 && (b == '\n') != cr) violate(c, "a bare CR or LF in a chunk");
		cr = b == '\r';
		if (keep && p->content_len < sizeof(p->content)) p->content[p->content_len++] = (char)b;
	}
	return true;
}

static void on_bdat(struct session *c, const char *rest)
{
	struct smtp_peer *p = c->p;
	char *end;
	size_t len = strtoul(rest, &end, 10);
	bool last = strcmp(end, " LAST") == 0, wanted = c->mail && c->accepted > 0 && !c->unclear;
	enum smtp_peer_at at = last ? PEER_LAST : PEER_BDAT;
	const char *script = scripted(p, at);

	p->chunks++;
	if (end == rest || (!last && *end != '\0')) violate(c, "BDAT %.50s", rest);
	if (!c->chunking) p->content_len = 0;
	/* As Postfix does. */
	if (len == 0 && !last) violate(c, "a chunk of nothing");
	c->chunking = true;
	if ((script != NULL && script[0] >= '4') || !wanted) {
		c->unclear = true;
		if (!p->keeps_chunks && !read_chunk(c, len, false)) return;
	} else if (!read_chunk(c, len, true)) {
		return;
	}
	if (last && wanted) p->mails++;
	say(c, at,
	    !wanted ? "503 5.5.1 no valid recipients"
	    : last  ? "250 2.0.0 Ok: queued as 4XYZ12"
		    : "250 chunk");
	if (last) {
		c->chunking = false;
		end_mail(c);
	}
	if (last && p->flaw == PEER_DROPS_BEHIND) c->at = c->have;
	if (last && p->hang_up_after > 0 && p->mails >= p->hang_up_after) c->over = true;
}

static void on_mail(struct session *c, const char *line)
{
	if (c->mail || !c->greeted) violate(c, "MAIL out of order");
	if (c->unclear) violate(c, "no RSET behind a refused BDAT");
	c->p->mails_begun++;
	c->rcpts = c->accepted = 0;
	c->p->rcpt_count = c->p->rcpts_seen = 0;
	snprintf(c->p->mail_line, sizeof(c->p->mail_line), "%.500s", line);
	c->mail = say(c, PEER_MAIL, "250 2.1.0 sender fine") / 100 == 2;
}

static void on_rcpt(struct session *c, const char *line)
{
	struct smtp_peer *p = c->p;

	c->rcpts++;
	p->rcpts_seen++;
	const char *usual = c->mail ? "250 2.1.5 recipient fine" : "503 5.5.1 no MAIL";
	if (say(c, PEER_RCPT, usual) / 100 == 2) {
		c->accepted++;
		if (p->rcpt_count < PEER_RCPTS_MAX)
			snprintf(p->rcpts[p->rcpt_count++], 256, "%.250s", line + 8);
	}
}

static void on_line(struct session *c, char *line)
{
	struct smtp_peer *p = c->p;

	if (c->chunking && strncmp(line, "BDAT ", 5) != 0 && strcmp(line, "RSET") != 0 &&
	    strcmp(line, "QUIT") != 0)
		violate(c, "%.40s among chunks", line);
	if (p->log_len + strlen(line) + 2 < sizeof(p->log))
		p->log_len += (size_t)sprintf(p->log + p->log_len, "%s\n", line);
	if (strncmp(line, "EHLO ", 5) == 0 && p->replies[PEER_EHLO] == NULL) {
		c->greeted = true;
		say_caps(c);
	} else if (strncmp(line, "EHLO ", 5) == 0) {
		c->greeted = say(c, PEER_EHLO, "") / 100 == 2;
	} else if (strncmp(line, "HELO ", 5) == 0) {
		c->greeted = say(c, PEER_HELO, "250 peer.example") / 100 == 2;
	} else if (strcmp(line, "STARTTLS") == 0) {
		if (say(c, PEER_STARTTLS, p->tls != NULL && !c->tls_on ? "220 go" : "502 no") / 100 == 2)
			go_tls(c);
	} else if (strncmp(line, "AUTH ", 5) == 0) {
		on_auth(c, line + 5);
	} else if (strncmp(line, "MAIL FROM:<", 11) == 0) {
		on_mail(c, line);
	} else if (strncmp(line, "RCPT TO:<", 9) == 0) {
		on_rcpt(c, line);
	} else if (strcmp(line, "DATA") == 0) {
		on_data(c);
	} else if (strncmp(line, "BDAT ", 5) == 0 && p->caps != NULL &&
		   (strstr(p->caps, "CHUNKING") != NULL ||
		    (c->tls_on && strstr(p->caps_tls, "CHUNKING") != NULL))) {
		on_bdat(c, line + 5);
	} else if (strcmp(line, "RSET") == 0) {
		p->rsets++;
		c->chunking = c->unclear = false;
		end_mail(c);
		say(c, PEER_RSET, "250 2.0.0 forgotten");
	} else if (strcmp(line, "QUIT") == 0) {
		p->quits++;
		say(c, PEER_QUIT, "221 2.0.0 bye");
		c->over = true;
	} else {
		p->unknown_commands++;
		char what[] = "500 5.5.2 what?\r\n";
		put(c, what);
	}
}

/* Reads on as if the command had not come. */
static void swallow(struct session *c, const char *line)
{
	if (strncmp(line, "BDAT ", 5) == 0) (void)read_chunk(c, strtoul(line + 5, NULL, 10), false);
}

void smtp_peer_serve(struct hal_stream *s, void *arg)
{
	struct session c = {.p = arg, .s = s};
	char line[2048];

	c.p->connections++;
	if (c.p->implicit_tls && !go_tls(&c)) return;
	say(&c, PEER_GREETING, "220 peer.example ESMTP");
	while (!c.over && read_line(&c, line, sizeof(line))) {
		bool more = c.at < c.have;

		if (c.p->flaw == PEER_CLOSES && more) break;
		if (c.p->flaw == PEER_DROPS) c.at = c.have;
		if (c.p->flaw == PEER_IGNORES && more) {
			c.at = c.have;
			continue;
		}
		if (c.p->flaw == PEER_SWALLOWS && c.greeted && ++c.p->commands % c.p->flaw_every == 0)
			swallow(&c, line);
		else
			on_line(&c, line);
	}
	if (c.tls_on) hal_stream_close(&c.tls.stream);
}
