/* TLS sessions, kept for later connections.
 *
 * A session is offered once: what is kept leaves its place when it is offered (RFC 8446 appendix C.4 wants that of
 * TLS 1.3 tickets, so that nobody can link connections), and a connection of TLS 1.2 keeps its own anew. A server that
 * cannot bear an old session sees it once; then all with it are forgotten. What the certificate was worth when it was
 * judged stands for as long as the session may be offered; a configuration is one way to judge, and its sessions end
 * with it.
 */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS /* a session's ticket and certificate */
#include <mbedtls/platform.h>
#include <string.h>

#include "hal_clock.h"
#include "net/tls_internal.h"

#define KEPT_MS_MAX      (3600 * 1000) /* a certificate may expire meanwhile: not for long */
#define TICKET_BYTES_MAX 4096

void sessions_init(struct sessions *all)
{
	memset(all, 0, sizeof(*all));
	hal_mutex_init(&all->lock);
}

static void release(mbedtls_ssl_session *session)
{
	if (session == NULL) return;
	mbedtls_ssl_session_free(session);
	mbedtls_free(session);
}

void sessions_close(struct sessions *all)
{
	for (size_t i = 0; i < NET_TLS_SESSIONS; i++)
		release(all->kept[i].session);
	hal_mutex_close(&all->lock);
	memset(all, 0, sizeof(*all));
}

/* Takes the one with that host that was kept last; those that are too old go. */
static mbedtls_ssl_session *take(struct sessions *all, const unsigned char *host)
{
	int64_t now = hal_clock_mono_ms();
	mbedtls_ssl_session *found = NULL;
	struct kept *best = NULL;

	hal_mutex_lock(&all->lock);
	for (size_t i = 0; i < NET_TLS_SESSIONS; i++) {
		struct kept *k = &all->kept[i];

		if (k->session != NULL && now >= k->until_ms) {
			release(k->session);
			k->session = NULL;
		}
		if (k->session == NULL || memcmp(k->host, host, sizeof(k->host)) != 0) continue;
		if (best == NULL || k->since_ms > best->since_ms) best = k;
	}
	if (best != NULL) {
		found = best->session;
		best->session = NULL;
	}
	hal_mutex_unlock(&all->lock);
	return found;
}

void sessions_offer(struct session *t)
{
	mbedtls_ssl_session *session = take(&t->config->sessions, t->host_digest);

	/* When it cannot be had after all, the handshake is a whole one. */
	t->offered = session != NULL && mbedtls_ssl_set_session(&t->ssl, session) == 0;
	release(session);
}

void sessions_forget(struct session *t)
{
	mbedtls_ssl_session *session;

	while ((session = take(&t->config->sessions, t->host_digest)) != NULL)
		release(session);
}

/* The session without what a later handshake does not need: the peer's certificate is most of it. */
static mbedtls_ssl_session *export(const struct session *t)
{
	mbedtls_ssl_session *s = mbedtls_calloc(1, sizeof(*s));

	if (s == NULL) return NULL;
	mbedtls_ssl_session_init(s);
	if (mbedtls_ssl_get_session(&t->ssl, s) != 0 || s->ticket_len > TICKET_BYTES_MAX ||
	    (s->ticket_len == 0 && s->id_len == 0)) {
		release(s);
		return NULL;
	}
	if (s->peer_cert != NULL) {
		mbedtls_x509_crt_free(s->peer_cert);
		mbedtls_free(s->peer_cert);
		s->peer_cert = NULL;
	}
	return s;
}

void sessions_keep(struct session *t)
{
	struct sessions *all = &t->config->sessions;

	/* Only of a server that was judged and found good, where servers are judged. */
	if (t->config->verify && mbedtls_ssl_get_verify_result(&t->ssl) != 0) return;
	mbedtls_ssl_session *s = export(t);
	if (s == NULL) return;
	int64_t now = hal_clock_mono_ms(), life = (int64_t)s->ticket_lifetime * 1000;
	if (s->ticket_lifetime == 0 || life > KEPT_MS_MAX) life = KEPT_MS_MAX;

	hal_mutex_lock(&all->lock);
	struct kept *place = &all->kept[0];
	for (size_t i = 0; i < NET_TLS_SESSIONS && place->session != NULL; i++)
		if (all->kept[i].session == NULL || all->kept[i].since_ms < place->since_ms)
			place = &all->kept[i];
	release(place->session);
	place->session = s;
	place->since_ms = now;
	place->until_ms = now + life;
	memcpy(place->host, t->host_digest, sizeof(place->host));
	hal_mutex_unlock(&all->lock);
}
