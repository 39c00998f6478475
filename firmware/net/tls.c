/* TLS as a stream over a stream. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS /* the code of the alert that ended a handshake */
#include <mbedtls/platform.h>
#include <mbedtls/platform_time.h>
#include <mbedtls/platform_util.h>
#include <psa/crypto.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "hal_entropy.h"
#include "hal_thread.h"
#include "net/tls_internal.h"

_Static_assert(sizeof(struct config) <= sizeof(((struct net_tls_config *)0)->opaque),
	       "net_tls_config is too small");
_Static_assert(sizeof(struct session) <= sizeof(((struct net_tls *)0)->opaque), "net_tls is too small");

#define TICKET_LIFE_S 86400 /* of those that a server gives out */

static struct hal_mutex ca_lock; /* one bundle is made at a time */
static bool ready;

static struct config *config_of(struct net_tls_config *c)
{
	return (struct config *)(void *)c->opaque;
}

static struct session *session_of(struct hal_stream *s)
{
	return (struct session *)(void *)((struct net_tls *)(void *)s)->opaque;
}

/* ---- what mbedTLS takes from the system comes from the HAL ---- */

mbedtls_ms_time_t mbedtls_ms_time(void)
{
	return hal_clock_mono_ms();
}

static mbedtls_time_t wall_seconds(mbedtls_time_t *out)
{
	mbedtls_time_t now = (mbedtls_time_t)(hal_clock_wall_ms(NULL) / 1000);

	if (out != NULL) *out = now;
	return now;
}

static int random_bytes(void *arg, unsigned char *out, size_t len)
{
	(void)arg;
	return hal_entropy_fill(out, len) < 0 ? MBEDTLS_ERR_SSL_NO_RNG : 0;
}

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context, uint8_t *out,
					     size_t size, size_t *len)
{
	(void)context;
	*len = size;
	return hal_entropy_fill(out, size) < 0 ? PSA_ERROR_INSUFFICIENT_ENTROPY : PSA_SUCCESS;
}

int net_init(void)
{
	unsigned char probe[16];
	int rc = hal_entropy_fill(probe, sizeof(probe));

	if (rc < 0) return rc;
	if (ready) return 0;
	if (mbedtls_platform_set_time(wall_seconds) != 0 || psa_crypto_init() != PSA_SUCCESS)
		return ERR_INTERNAL;
	hal_mutex_init(&ca_lock);
	ready = true;
	return 0;
}

void net_close(void)
{
	if (!ready) return;
	hal_mutex_close(&ca_lock);
	mbedtls_psa_crypto_free();
	ready = false;
}

/* ---- configuration ---- */

static bool is_set(const char *s)
{
	return s != NULL && *s != '\0';
}

/* Takes certificates (key false) or the key (key true) out of a file. */
static int load(struct config *c, const char *path, bool key, struct buf *why)
{
	unsigned char der[CA_DER_MAX];
	char label[32];
	struct hal_map map;
	int len, found = 0, rc = hal_map_open(&map, path);

	if (rc < 0) {
		buf_printf(why, "%s: %s", path, err_text(rc));
		return rc;
	}
	struct ca_reader r = {{(const char *)map.bytes, map.len}, 0};
	while ((len = ca_read(&r, label, der, sizeof(der))) != 0 && rc == 0) {
		bool is_key = strstr(label, "PRIVATE KEY") != NULL;

		if (label[0] != '\0' && is_key != key) continue;
		if (len > 0 && key && found == 0)
			rc = mbedtls_pk_parse_key(&c->key, der, (size_t)len, NULL, 0, random_bytes, NULL);
		else if (len > 0 && !key)
			rc = mbedtls_x509_crt_parse_der(&c->own, der, (size_t)len);
		else if (len < 0)
			rc = len;
		found++;
	}
	mbedtls_platform_zeroize(der, sizeof(der));
	hal_map_close(&map);
	if (rc == 0 && found > 0) return 0;
	buf_printf(why, "%s: no %s that can be read", path,
		   key ? "private key (unencrypted)" : "certificate");
	return ERR_INVALID;
}

static int load_own(struct config *c, const struct net_tls_settings *settings, struct buf *why)
{
	if (!is_set(settings->cert_path)) {
		if (settings->side == NET_TLS_CLIENT) return 0;
		buf_puts(why, "a TLS server needs a certificate");
		return ERR_INVALID;
	}
	int rc = load(c, settings->cert_path, false, why);
	if (rc < 0) return rc;
	rc = load(c, is_set(settings->key_path) ? settings->key_path : settings->cert_path, true, why);
	if (rc < 0) return rc;
	if (mbedtls_pk_check_pair(&c->own.pk, &c->key, random_bytes, NULL) != 0) {
		buf_printf(why, "%s: the key belongs to another certificate", settings->cert_path);
		return ERR_INVALID;
	}
	return mbedtls_ssl_conf_own_cert(&c->ssl, &c->own, &c->key) == 0 ? 0 : ERR_NO_MEMORY;
}

static int give_tickets(struct config *c)
{
	if (mbedtls_ssl_ticket_setup(&c->tickets, random_bytes, NULL, MBEDTLS_CIPHER_AES_256_GCM,
				     TICKET_LIFE_S) != 0)
		return ERR_NO_MEMORY;
	mbedtls_ssl_conf_session_tickets_cb(&c->ssl, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse,
					    &c->tickets);
	return 0;
}

static int configure(struct config *c, const struct net_tls_settings *settings, struct buf *why)
{
	bool client = settings->side == NET_TLS_CLIENT;

	if (mbedtls_ssl_config_defaults(&c->ssl, client ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
					MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		return ERR_NO_MEMORY;
	mbedtls_ssl_conf_rng(&c->ssl, random_bytes, NULL);
	if (settings->no_tls13) mbedtls_ssl_conf_max_tls_version(&c->ssl, MBEDTLS_SSL_VERSION_TLS1_2);
	/* A client takes tickets, and hears of those of TLS 1.3 while it reads. */
	mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
		&c->ssl, client ? MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED
				: MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_DISABLED);
	if (!client && settings->tickets && give_tickets(c) < 0) return ERR_NO_MEMORY;
	c->verify = client ? !settings->insecure : is_set(settings->ca_path);
	mbedtls_ssl_conf_authmode(&c->ssl, c->verify ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
	int rc = load_own(c, settings, why);
	if (rc < 0 || !c->verify) return rc;
	hal_mutex_lock(&ca_lock);
	rc = ca_open(&c->ca, settings->ca_path, why);
	hal_mutex_unlock(&ca_lock);
	if (rc < 0) return rc;
	mbedtls_ssl_conf_ca_cb(&c->ssl, judge_issuers, c);
	return 0;
}

int net_tls_config_init(struct net_tls_config *config, const struct net_tls_settings *settings,
			struct buf *why)
{
	struct config *c = config_of(config);

	CHECK(ready);
	memset(config, 0, sizeof(*config));
	mbedtls_ssl_config_init(&c->ssl);
	mbedtls_x509_crt_init(&c->own);
	mbedtls_pk_init(&c->key);
	mbedtls_ssl_ticket_init(&c->tickets);
	sessions_init(&c->sessions);
	int rc = configure(c, settings, why);
	if (rc < 0) {
		if (why->len == 0) buf_printf(why, "TLS: %s", err_text(rc));
		net_tls_config_close(config);
	}
	return rc;
}

static void digest_file(struct digest *d, const char *path)
{
	struct hal_map map;
	int rc = is_set(path) ? hal_map_open(&map, path) : ERR_NOT_FOUND;

	digest_add_field(d, rc < 0 ? str_from(err_text(rc)) : (struct str){(const char *)map.bytes, map.len});
	if (rc >= 0) hal_map_close(&map);
}

void net_tls_files_digest(const struct net_tls_settings *settings, unsigned char out[DIGEST_SHA256_BYTES])
{
	struct digest d;

	digest_init(&d);
	digest_file(&d, settings->cert_path);
	digest_file(&d, settings->key_path);
	if (settings->side == NET_TLS_CLIENT ? !settings->insecure : is_set(settings->ca_path))
		ca_digest(&d, settings->ca_path);
	digest_finish(&d, out);
}

void net_tls_config_close(struct net_tls_config *config)
{
	struct config *c = config_of(config);

	mbedtls_ssl_config_free(&c->ssl);
	mbedtls_x509_crt_free(&c->own);
	mbedtls_pk_free(&c->key);
	mbedtls_ssl_ticket_free(&c->tickets);
	sessions_close(&c->sessions);
	ca_close(&c->ca);
}

/* ---- the stream below, as mbedTLS sees it ---- */

#define BELOW_FAILED (-0x004c) /* any error that mbedTLS passes on as it is */

static int below_send(void *arg, const unsigned char *bytes, size_t len)
{
	struct session *t = arg;
	int rc = t->lost < 0 ? t->lost : hal_stream_send(t->below, bytes, len, t->deadline);

	if (rc > 0) return rc;
	/* Who refuses us in the middle of the handshake says why and hangs up, while we still send: mbedTLS comes to
	 * read that when it believes that all was sent. */
	if (t->why != NULL && (rc == ERR_RESET || rc == ERR_CLOSED)) {
		t->lost = rc;
		return (int)len;
	}
	t->below_err = rc;
	return rc == ERR_TIMEOUT ? MBEDTLS_ERR_SSL_WANT_WRITE : BELOW_FAILED;
}

static int below_recv(void *arg, unsigned char *bytes, size_t cap)
{
	struct session *t = arg;
	int rc = hal_stream_recv(t->below, bytes, cap, t->deadline);

	if (rc > 0) return rc;
	t->below_err = rc;
	return rc == ERR_TIMEOUT ? MBEDTLS_ERR_SSL_WANT_READ : BELOW_FAILED;
}

/* What a return value of mbedTLS means. 0: nothing has failed, call again. */
static int tls_err(struct session *t, int rc)
{
	switch (rc) {
	case MBEDTLS_ERR_SSL_WANT_READ:
	case MBEDTLS_ERR_SSL_WANT_WRITE:
		/* Without a timeout below: a record that meant nothing to us. A flood of those ends at the
		 * deadline. */
		if (t->below_err == 0 && t->deadline != HAL_FOREVER && hal_clock_mono_ms() > t->deadline)
			return ERR_TIMEOUT;
		return t->below_err;
	case MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET:
		/* TLS 1.3 tickets arrive as "errors" of a read. */
		sessions_keep(t);
		return 0;
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
	case MBEDTLS_ERR_SSL_CONN_EOF: return ERR_CLOSED;
	case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED: return ERR_TLS_CERT;
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
	case MBEDTLS_ERR_X509_ALLOC_FAILED: return ERR_NO_MEMORY;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE: t->alert = t->ssl.in_msg[1]; return ERR_TLS;
	/* What mbedTLS found wrong by itself it tries to tell the other side, and that may fail too. */
	default: return rc == BELOW_FAILED && t->below_err < 0 ? t->below_err : ERR_TLS;
	}
}

/* Who refuses us in TLS 1.3 says so after our side of the handshake, and hangs up: the next thing that we send
 * fails, and the reason lies there to be read. */
static int last_word(struct session *t, int err)
{
	unsigned char none[1];

	if (err != ERR_RESET && err != ERR_CLOSED) return err;
	t->deadline = hal_clock_mono_ms();
	t->below_err = 0;
	int rc = mbedtls_ssl_read(&t->ssl, none, 0);
	return rc == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE ? tls_err(t, rc) : err;
}

static int tls_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	struct session *t = session_of(s);
	int rc, err;

	if (t->send_err < 0) return t->send_err;
	t->deadline = deadline_ms;
	do {
		t->below_err = 0;
		rc = mbedtls_ssl_write(&t->ssl, bytes, len);
		if (rc > 0) return rc;
		err = tls_err(t, rc);
	} while (err == 0);
	return t->send_err = last_word(t, err);
}

/* Reads up to cap bytes; with cap 0 until there is something to read. */
static int tls_read(struct session *t, void *bytes, size_t cap, int64_t deadline_ms)
{
	int rc, err;

	t->deadline = deadline_ms;
	do {
		t->below_err = 0;
		rc = mbedtls_ssl_read(&t->ssl, bytes, cap);
		if (rc > 0 || (rc == 0 && cap == 0 && mbedtls_ssl_get_bytes_avail(&t->ssl) > 0)) return rc;
		err = rc == 0 ? ERR_CLOSED : tls_err(t, rc);
	} while (err == 0);
	return err;
}

static int tls_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	return tls_read(session_of(s), bytes, cap, deadline_ms);
}

static int tls_poll(struct hal_stream *s, int64_t deadline_ms)
{
	struct session *t = session_of(s);
	char none[1];

	return mbedtls_ssl_get_bytes_avail(&t->ssl) > 0 ? 0 : tls_read(t, none, 0, deadline_ms);
}

static void tls_abort(struct hal_stream *s)
{
	hal_stream_abort(session_of(s)->below);
}

static void tls_close(struct hal_stream *s)
{
	struct session *t = session_of(s);

	/* After a record that left in part nothing may follow: close_notify would push out its rest first,
	 * and with it perhaps the end of a mail that was given up. */
	t->deadline = hal_clock_mono_ms();
	if (t->send_err == 0) (void)mbedtls_ssl_close_notify(&t->ssl);
	hal_stream_close(t->below);
	mbedtls_ssl_free(&t->ssl);
}

static const struct hal_stream_ops tls_ops = {tls_send, tls_recv, tls_poll, tls_abort, tls_close};

/* ---- handshake ---- */

static const char *alert_text(int code)
{
	switch (code) {
	case 40: return "no common parameters";
	case 42:
	case 43:
	case 46: return "our certificate was not accepted";
	case 45: return "our certificate has expired";
	case 48: return "our certificate's issuer is unknown";
	case 70: return "no common TLS version";
	case 71: return "insufficient security";
	case 80: return "internal error";
	case 112: return "unknown host name";
	case 116: return "a client certificate is required";
	default: return "refused";
	}
}

static void say_alert(const struct session *t, struct buf *out)
{
	buf_printf(out, "TLS refused by the other side: %s (alert %d)", alert_text(t->alert), t->alert);
}

static void say_failure(struct session *t, int rc, int err)
{
	if (t->why->len > 0) return;
	if (t->alert != 0)
		say_alert(t, t->why);
	else if (rc == MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION)
		buf_puts(t->why, "the server speaks no TLS version that is safe (1.2 or 1.3)");
	else if (err == ERR_TLS && t->ssl.in_hslen > MBEDTLS_SSL_IN_CONTENT_LEN)
		buf_puts(t->why, "the server's certificates are more than 16 KB");
	else if (rc == MBEDTLS_ERR_SSL_INVALID_RECORD)
		buf_puts(t->why, "no TLS comes from the other side (is the port one for STARTTLS?)");
	else if (err == ERR_TLS)
		buf_printf(t->why, "TLS failed (-0x%04x)", (unsigned)-rc);
	else
		buf_printf(t->why, "TLS handshake: %s", err_text(err));
}

static int handshake(struct session *t)
{
	int rc, err;

	do {
		t->below_err = 0;
		rc = mbedtls_ssl_handshake(&t->ssl);
		err = rc == 0 ? 0 : tls_err(t, rc);
	} while (rc != 0 && err == 0);
	if (err == 0 && t->lost < 0) err = last_word(t, t->lost);
	if (err < 0) say_failure(t, rc, err);
	return err;
}

/* Whom we want, for mbedTLS' check of the certificate and for the server. A session from before saves most of it. */
static int aim(struct session *t, const char *host)
{
	struct digest d;

	CHECK(host != NULL);
	t->host = host;
	digest_init(&d);
	digest_add(&d, host, strlen(host));
	digest_finish(&d, t->host_digest);
	/* RFC 6066 section 3: literal addresses are not permitted in SNI. mbedTLS would send them, so it does not get
	 * them; judge_certificate looks for them. */
	bool literal = hal_addr_parse(host, 0, &t->address) == 0;
	if (!literal) t->address.family = HAL_FAMILY_NONE;
	if (mbedtls_ssl_set_hostname(&t->ssl, literal ? NULL : host) != 0) return ERR_NO_MEMORY;
	sessions_offer(t);
	return 0;
}

/* A kept session has no certificate of the peer, so a connection that has one has seen a whole handshake. */
static void shake_ended(struct session *t)
{
	t->resumed = mbedtls_ssl_get_peer_cert(&t->ssl) == NULL;
	/* TLS 1.2 gives its ticket in the handshake, TLS 1.3 later. */
	if (mbedtls_ssl_get_version_number(&t->ssl) == MBEDTLS_SSL_VERSION_TLS1_2) sessions_keep(t);
}

int net_tls_start(struct net_tls *tls, struct net_tls_config *config, struct hal_stream *below,
		  const char *host, int64_t deadline_ms, struct buf *why)
{
	struct session *t = session_of(&tls->stream);
	struct config *c = config_of(config);
	char why_text[256];
	struct buf own_why;

	memset(tls, 0, sizeof(*tls));
	buf_init(&own_why, why_text, sizeof(why_text));
	tls->stream.ops = &tls_ops;
	t->config = c;
	t->below = below;
	t->deadline = deadline_ms;
	t->why = &own_why;
	(void)hal_clock_wall_ms(&t->clock_set);
	mbedtls_ssl_init(&t->ssl);
	int rc = mbedtls_ssl_setup(&t->ssl, &c->ssl) == 0 ? 0 : ERR_NO_MEMORY;
	if (rc == 0 && c->ssl.endpoint == MBEDTLS_SSL_IS_CLIENT) rc = aim(t, host);
	if (rc == 0) {
		mbedtls_ssl_set_verify(&t->ssl, judge_certificate, t);
		mbedtls_ssl_set_bio(&t->ssl, t, below_send, below_recv, NULL);
		rc = handshake(t);
	}
	if (rc == 0 && c->ssl.endpoint == MBEDTLS_SSL_IS_CLIENT) shake_ended(t);
	buf_puts(why, own_why.len > 0 || rc == 0 ? own_why.ptr : err_text(rc));
	t->why = NULL;
	t->host = NULL;
	if (rc < 0 && t->offered) sessions_forget(t);
	if (rc < 0) mbedtls_ssl_free(&t->ssl);
	return rc;
}

void net_tls_text(const struct net_tls *tls, struct buf *out)
{
	const struct session *t = (const struct session *)(const void *)tls->opaque;

	buf_printf(out, "%s %s%s", mbedtls_ssl_get_version(&t->ssl), mbedtls_ssl_get_ciphersuite(&t->ssl),
		   t->resumed ? ", resumed" : "");
}

bool net_tls_offered(const struct net_tls *tls)
{
	return ((const struct session *)(const void *)tls->opaque)->offered;
}

void net_tls_why(const struct net_tls *tls, struct buf *out)
{
	const struct session *t = (const struct session *)(const void *)tls->opaque;

	if (t->alert != 0) say_alert(t, out);
}

bool net_tls_resumed(const struct net_tls *tls)
{
	return ((const struct session *)(const void *)tls->opaque)->resumed;
}
