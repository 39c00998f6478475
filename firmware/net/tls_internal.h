/* What the files of TLS share: tls.c (configuration, handshake, stream), judge.c (the peer's certificate), resume.c
 * (sessions kept for later connections). Of this room only.
 */
#ifndef POSTERN_NET_TLS_INTERNAL_H
#define POSTERN_NET_TLS_INTERNAL_H

#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>

#include "hal_thread.h"
#include "net/ca.h"
#include "net/net.h"

/* Sessions of one configuration, for later connections. Any thread. */
struct sessions {
	struct hal_mutex lock;
	struct kept {
		mbedtls_ssl_session *session; /* NULL: free */
		unsigned char host[DIGEST_SHA256_BYTES];
		int64_t since_ms, until_ms;
	} kept[NET_TLS_SESSIONS];
};

struct config {
	mbedtls_ssl_config ssl;
	mbedtls_x509_crt own;
	mbedtls_pk_context key;
	mbedtls_ssl_ticket_context tickets; /* server: what protects those that it gives out */
	struct ca_bundle ca;
	struct sessions sessions; /* client */
	bool verify;
};

struct session {
	mbedtls_ssl_context ssl;
	struct config *config;
	struct hal_stream *below;
	int64_t deadline; /* of the call under way */
	int below_err;    /* why `below` did not do what mbedTLS wanted */
	int send_err;     /* a record went out in part, or not at all: nothing may follow it */
	int lost;         /* handshake: sending has failed with this */
	int alert;        /* the fatal alert (RFC 8446 section 6.2) that came, 0: none */
	bool offered, resumed;
	unsigned char host_digest[DIGEST_SHA256_BYTES]; /* client: whom a session would be for */
	bool clock_set;                                 /* handshake: the certificate's begin can be judged */
	const char *host;        /* handshake: whom we want to talk to; NULL: we are the server */
	struct hal_addr address; /* handshake: host, when that is an address, else of no family */
	struct buf *why;         /* handshake: what is wrong with the certificate */
};

/* judge.c: callbacks of mbedTLS. judge_issuers takes a struct config, judge_certificate a struct session. */
int judge_issuers(void *arg, const mbedtls_x509_crt *child, mbedtls_x509_crt **out);
int judge_certificate(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags);

/* resume.c */
void sessions_init(struct sessions *all);
void sessions_close(struct sessions *all);
/* Before the handshake: a session with that host, if there is one, goes into ssl and is no longer kept. */
void sessions_offer(struct session *t);
/* A handshake with an offered session has failed: none with that host is to be offered. */
void sessions_forget(struct session *t);
/* Keeps the session that ssl has to give. */
void sessions_keep(struct session *t);

#endif
