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
	hal_mutex_init(&s->lock);
}

static int open_over(struct smtp *s, struct hal_stream *base, int64_t deadline_ms)
{
	s->deadline = deadline_ms;
	s->loopback = hal_addr_is_loopback(&s->peer.addr) != 0;
	hal_mutex_lock(&s->lock);
	s->base = base;
	bool aborted = s->aborted;
	hal_mutex_unlock(&s->lock);
	wire_use(s, base);
	wire_note(s, SMTP_NOTE_STEP, "connected to %s", s->peer.text);
	if (aborted)
		client_refuse(s, ERR_STOPPING, err_text(ERR_STOPPING));
	else if (s->config.tls != SMTP_TLS_NONE && s->config.tls_config == NULL)
		client_refuse(s, ERR_CONFIG, "TLS is not configured");
	else if (s->config.tls == SMTP_TLS_IMPLICIT)
		client_start_tls(s);
	if (s->state != SMTP_BROKEN) client_enter(s, SMTP_GREETING);
	while (s->state != SMTP_READY && s->state != SMTP_BROKEN)
		client_take_reply(s);
	return s->state == SMTP_READY ? 0 : s->verdict.err;
}

int smtp_open_on(struct smtp *s, struct hal_stream *stream, const struct net_peer *peer, int64_t deadline_ms)
{
	CHECK(s->state == SMTP_CLOSED && s->base == NULL);
	s->peer = *peer;
	return open_over(s, stream, deadline_ms);
}

int smtp_open(struct smtp *s, int64_t deadline_ms)
{
	char why_text[SMTP_TEXT_MAX];
	struct buf why;
	int64_t connect = hal_clock_in(wire_limit(s, CONNECT_MS));

	CHECK(s->state == SMTP_CLOSED && s->base == NULL);
	hal_mutex_lock(&s->lock);
	bool aborted = s->aborted;
	hal_mutex_unlock(&s->lock);
	if (aborted) {
		client_refuse(s, ERR_STOPPING, err_text(ERR_STOPPING));
		return ERR_STOPPING;
	}
	buf_init(&why, why_text, sizeof(why_text));
	int rc = net_dial(&s->socket, s->config.host, s->config.port,
			  connect < deadline_ms ? connect : deadline_ms, &s->peer, &why);
	if (rc < 0) {
		client_refuse(s, rc, why.len > 0 ? why_text : err_text(rc));
		return rc;
	}
	return open_over(s, &s->socket.stream, deadline_ms);
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
	hal_mutex_lock(&s->lock);
	bool open = s->base != NULL;
	s->base = NULL;
	hal_mutex_unlock(&s->lock);
	if (open) hal_stream_close(s->stream);
	hal_mutex_close(&s->lock);
	s->stream = NULL;
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
	if (s->base != NULL) hal_stream_abort(s->base);
	hal_mutex_unlock(&s->lock);
}
