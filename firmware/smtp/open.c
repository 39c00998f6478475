/* Where a connection begins and ends: dialing, TLS, good-bye. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "smtp/client_internal.h"
#include "smtp/wire.h"

#define CONNECT_MS 60000
#define TLS_MS     60000

void client_start_tls(struct smtp *s)
{
	char why_text[SMTP_TEXT_MAX];
	struct buf why, text;
	int64_t deadline = hal_clock_in(wire_limit(s, TLS_MS));

	buf_init(&why, why_text, sizeof(why_text));
	s->tls_tried = true;
	int rc = net_tls_start(&s->tls, s->config.tls_config, s->stream, s->config.host,
			       deadline < s->deadline ? deadline : s->deadline, &why);
	if (rc < 0) {
		client_refuse(s, rc, why.len > 0 ? why_text : err_text(rc));
		return;
	}
	s->tls_on = true;
	wire_use(s, &s->tls.stream);
	buf_init(&text, why_text, sizeof(why_text));
	net_tls_text(&s->tls, &text);
	wire_note(s, SMTP_NOTE_STEP, "%s", why_text);
}

void smtp_init(struct smtp *s, const struct smtp_config *config)
{
	memset(s, 0, sizeof(*s));
	s->config = *config;
	s->proven = config->proven;
	hal_mutex_init(&s->lock);
}

/* What was tried so far, for the verdict, when there were several addresses. */
struct tries {
	int64_t deadline;
	struct net_dialer *dialer; /* NULL: there is only this one stream */
	struct buf why;
	int err;    /* the most telling */
	bool again; /* an address was tried once more, without a session */
	unsigned count;
	char why_text[SMTP_TEXT_MAX];
};

static void tries_init(struct tries *t, struct net_dialer *dialer, int64_t deadline_ms)
{
	memset(t, 0, sizeof(*t));
	t->deadline = deadline_ms;
	t->dialer = dialer;
	buf_init(&t->why, t->why_text, sizeof(t->why_text));
}

static void tries_err(struct tries *t, int err)
{
	if (err == ERR_STOPPING || net_telling(err) > net_telling(t->err)) t->err = err;
}

/* Whether the server is one that we want to talk to: greeted, and with TLS when there is to be TLS. */
static bool is_met(const struct smtp *s)
{
	return s->state != SMTP_CLOSED && s->state != SMTP_GREETING &&
	       (s->config.tls == SMTP_TLS_NONE || s->tls_on);
}

/* While other addresses are left, a server that says nothing gets half of the time that is left. */
static int64_t deadline_of(const struct smtp *s, const struct tries *t, int64_t begun_ms)
{
	if (t->dialer == NULL || !net_dialer_more(t->dialer) || is_met(s)) return t->deadline;
	if (t->deadline == HAL_FOREVER || t->deadline <= begun_ms) return t->deadline;
	return begun_ms + (t->deadline - begun_ms) / 2;
}

/* TLS that the server gave up after the handshake: in its words, when it had any. */
static void explain(struct smtp *s)
{
	char text[SMTP_TEXT_MAX];
	struct buf why;

	if (s->state != SMTP_BROKEN || !s->tls_on || s->verdict.err != ERR_TLS || s->verdict.reply.code != 0)
		return;
	buf_init(&why, text, sizeof(text));
	net_tls_why(&s->tls, &why);
	if (why.len == 0) return;
	memcpy(s->verdict.reply.text, text, why.len + 1);
	wire_note(s, SMTP_NOTE_STEP, "%s", text);
}

/* Over a stream that is connected. *before is the state in which it failed. */
static int open_over(struct smtp *s, struct hal_stream *base, const struct tries *t, enum smtp_state *before)
{
	int64_t begun = hal_clock_mono_ms();

	s->deadline = deadline_of(s, t, begun);
	s->loopback = hal_addr_is_loopback(&s->peer.addr) != 0;
	hal_mutex_lock(&s->lock);
	s->base = base;
	bool aborted = s->aborted;
	hal_mutex_unlock(&s->lock);
	wire_use(s, base);
	wire_note(s, SMTP_NOTE_STEP, "connected to %s", s->peer.text);
	*before = SMTP_GREETING;
	if (aborted)
		client_refuse(s, ERR_STOPPING, err_text(ERR_STOPPING));
	else if (s->config.tls != SMTP_TLS_NONE && s->config.tls_config == NULL)
		client_refuse(s, ERR_CONFIG, "TLS is not configured");
	else if (s->config.tls == SMTP_TLS_IMPLICIT)
		client_start_tls(s);
	if (s->state != SMTP_BROKEN) client_enter(s, SMTP_GREETING);
	while (s->state != SMTP_READY && s->state != SMTP_BROKEN) {
		s->deadline = deadline_of(s, t, begun);
		*before = s->state;
		client_take_reply(s);
	}
	s->deadline = t->deadline;
	explain(s);
	return s->state == SMTP_READY ? 0 : s->verdict.err;
}

int smtp_open_on(struct smtp *s, struct hal_stream *stream, const struct net_peer *peer, int64_t deadline_ms)
{
	struct tries t;
	enum smtp_state before;

	CHECK(s->state == SMTP_CLOSED && s->base == NULL);
	tries_init(&t, NULL, deadline_ms);
	s->peer = *peer;
	return open_over(s, stream, &t, &before);
}

/* Closes what there is of a connection. */
static void hang_up(struct smtp *s)
{
	hal_mutex_lock(&s->lock);
	bool open = s->base != NULL;
	s->base = NULL;
	hal_mutex_unlock(&s->lock);
	if (open) hal_stream_close(s->stream);
	s->stream = NULL;
	s->tls_on = false;
}

/* Another address may do better when the one that we are connected to did not get as far as to refuse us: no TLS
 * with it, or the connection went before there was anything to talk about. */
static bool is_worth_another(const struct smtp *s, const struct tries *t, enum smtp_state before)
{
	int err = s->verdict.err;

	if (before != SMTP_GREETING && before != SMTP_HELLO && before != SMTP_STARTTLS) return false;
	if (s->verdict.reply.code != 0 || err == ERR_STOPPING || err == ERR_CONFIG || err == ERR_NO_MEMORY)
		return false;
	return net_dialer_more(t->dialer) && hal_clock_mono_ms() < t->deadline;
}

/* A connection to the next address. False: there is none any more, and the verdict says so. */
static bool connect_one(struct smtp *s, struct tries *t)
{
	int64_t connect = hal_clock_in(wire_limit(s, CONNECT_MS));
	size_t told = t->why.len;
	int rc = net_dialer_next(t->dialer, &s->socket, connect < t->deadline ? connect : t->deadline,
				 &s->peer, &t->why);

	if (rc < 0) {
		tries_err(t, rc);
		client_refuse(s, t->err, t->why.len > 0 ? t->why_text : err_text(rc));
		return false;
	}
	if (t->why.len > told) wire_note(s, SMTP_NOTE_STEP, "%s", t->why_text + told + (told > 0 ? 2 : 0));
	t->count++;
	s->tls_tried = false;
	return true;
}

/* Adds why this address did not do, behind the others. */
static void add_reason(const struct smtp *s, struct tries *t)
{
	const char *name = t->why.len > 0 ? strchr(s->peer.text, '[') : s->peer.text;

	buf_printf(&t->why, "%s%s: %s", t->why.len > 0 ? "; " : "", name, s->verdict.reply.text);
	tries_err(t, s->verdict.err);
}

/* Back to where the next address begins. */
static void start_over(struct smtp *s)
{
	hang_up(s);
	memset(&s->verdict, 0, sizeof(s->verdict));
	client_enter(s, SMTP_CLOSED);
}

/* One connection and how far it gets. True: another address is worth it. */
static bool try_one(struct smtp *s, struct tries *t)
{
	enum smtp_state before;

	if (!connect_one(s, t) || open_over(s, &s->socket.stream, t, &before) == 0) return false;
	/* It may have been the session of an earlier connection that TLS failed over. */
	if (s->tls_tried && !s->tls_on && net_tls_offered(&s->tls) && !t->again) {
		t->again = true;
		net_dialer_again(t->dialer);
	}
	bool another = is_worth_another(s, t, before);
	if (t->count == 1 && t->why.len == 0 && !another) return false;
	add_reason(s, t);
	if (another) {
		start_over(s);
	} else if (s->verdict.reply.code == 0 && s->verdict.err != ERR_STOPPING) {
		/* No reply decided: then all the reasons do. */
		s->verdict.err = t->err;
		memcpy(s->verdict.reply.text, t->why_text, sizeof(s->verdict.reply.text));
	}
	return another;
}

int smtp_open(struct smtp *s, int64_t deadline_ms)
{
	struct net_dialer dialer;
	struct tries t;

	CHECK(s->state == SMTP_CLOSED && s->base == NULL);
	net_dialer_init(&dialer, s->config.host, s->config.port);
	tries_init(&t, &dialer, deadline_ms);
	hal_mutex_lock(&s->lock);
	s->dialer = &dialer;
	if (s->aborted) net_dialer_abort(&dialer);
	hal_mutex_unlock(&s->lock);
	while (try_one(s, &t))
		;
	hal_mutex_lock(&s->lock);
	s->dialer = NULL;
	hal_mutex_unlock(&s->lock);
	net_dialer_close(&dialer);
	return s->state == SMTP_READY ? 0 : s->verdict.err;
}

bool smtp_ready(const struct smtp *s)
{
	return s->state == SMTP_READY;
}

void smtp_close_by(struct smtp *s, int64_t deadline_ms)
{
	if (s->state == SMTP_READY) {
		int64_t own = hal_clock_in(2000);

		s->deadline = own < deadline_ms ? own : deadline_ms;
		client_enter(s, SMTP_QUIT);
		client_take_reply(s);
	}
	hang_up(s);
	hal_mutex_close(&s->lock);
	client_enter(s, SMTP_CLOSED);
}

void smtp_close(struct smtp *s)
{
	smtp_close_by(s, HAL_FOREVER);
}

void smtp_abort(struct smtp *s)
{
	hal_mutex_lock(&s->lock);
	s->aborted = true;
	if (s->dialer != NULL) net_dialer_abort(s->dialer);
	if (s->base != NULL) hal_stream_abort(s->base);
	hal_mutex_unlock(&s->lock);
}
