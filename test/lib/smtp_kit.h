/* smtp_kit: what the SMTP tests share: a world with one peer, a client for it, mails to send. */
#ifndef POSTERN_TEST_SMTP_KIT_H
#define POSTERN_TEST_SMTP_KIT_H

#include "smtp/smtp.h"
#include "smtp_peer.h"

#define KIT_IP        "10.0.0.1"
#define KIT_LOOPBACK  "127.0.0.1"
#define KIT_HOST      "mail.example.com"
#define KIT_PORT      2525
#define KIT_RCPTS_MAX 40

struct kit_body {
	const char *bytes;
	size_t len, at;
	size_t chunk;   /* bytes given at once; 0: all that fit */
	int fail;       /* error to return ... */
	size_t fail_at; /* ... after so many bytes */
};

#define KIT_MAILS_MAX 32

/* One of several mails: from sI@example.com to rI@example.org (and r2I ...), content "Subject: I" and filler. */
struct kit_one {
	struct smtp_mail mail;
	struct smtp_rcpt rcpts[3];
	struct kit_body body;
	char from[24], to[3][24];
	char content[2400];
	unsigned done, written; /* how often called */
	unsigned order;         /* the how-many-th that was done, from 1 */
};

struct kit {
	struct smtp_peer peer;
	struct smtp_config config;
	struct smtp smtp;
	bool smtp_open;
	struct net_tls_config client_tls, server_tls;
	bool client_tls_set, server_tls_set;
	struct kit_body body;
	struct smtp_mail mail;
	struct smtp_rcpt rcpts[KIT_RCPTS_MAX];
	struct kit_one many[KIT_MAILS_MAX];
	unsigned many_count, many_given, many_done;
	unsigned many_at_once; /* most that were given and not done */
	char why[256];
	char notes[16384]; /* the transcript: "C ", "S ", "- " and the line */
	size_t notes_len;
};
extern struct kit kit;

/* A fresh world: the peer listens at KIT_IP and on loopback, KIT_HOST is KIT_IP. Nothing is split or delayed.
 */
void kit_world(void);
/* Without TLS / with: certificate of /certs/SERVER.pem, trust in /certs/CA. */
void kit_plain(void);
void kit_tls(const char *server, const char *ca, enum smtp_tls mode);
/* A mail from s@example.com to that many recipients r1@example.org ... */
void kit_mail(size_t rcpts, const char *content);
int kit_open(void);
int kit_send(void);
void kit_close(void);
/* Sets up n mails, of 1 to 3 recipients, of about len bytes; and sends them in one run over the open connection. */
void kit_many(unsigned n, unsigned rcpts, size_t len);
int kit_run(void);
/* What the run must have kept to, whatever came of it: NULL, or what it has not. */
const char *kit_many_wrong(void);
/* How the peer took the i-th mail (from 0); NULL: it did not. */
const struct smtp_peer_taken *kit_taken(unsigned i);
/* kit_open, kit_send, kit_close; returns the first recipient's class, or HOLD when opening failed. */
enum smtp_class kit_all(void);
/* Forgets the world and all that kit_ functions made. */
void kit_end(void);

#endif
