/* smtp_peer: a strict SMTP server for tests, over any hal_stream, with replies that a test may replace.
 *
 * Strict: a bare CR or LF anywhere, a command out of order, a line over 998 bytes in a command, an unstuffed
 * dot are violations, which it counts and keeps the first of. It pipelines as it comes: lines are answered
 * one by one.
 */
#ifndef POSTERN_TEST_SMTP_PEER_H
#define POSTERN_TEST_SMTP_PEER_H

#include "net/net.h"

enum smtp_peer_at {
	PEER_GREETING,
	PEER_EHLO,
	PEER_HELO,
	PEER_STARTTLS,
	PEER_AUTH,  /* the AUTH command */
	PEER_AUTH2, /* its next line */
	PEER_AUTH3,
	PEER_RSET,
	PEER_MAIL,
	PEER_RCPT, /* rcpt_reply has precedence */
	PEER_DATA,
	PEER_CONTENT, /* spoken in the middle of the content, at its first bytes */
	PEER_DOT,
	PEER_QUIT,
	PEER_AT_COUNT
};

/* Special replies. */
#define PEER_HANG_UP "!" /* closes the connection instead */
#define PEER_SILENT  "?" /* says nothing any more, and reads on */

#define PEER_RCPTS_MAX   64
#define PEER_CONTENT_MAX (64 * 1024)

struct smtp_peer {
	/* the script; zero: offers nothing, accepts all, no TLS */
	bool implicit_tls;
	struct net_tls_config *tls; /* for STARTTLS or implicit */
	const char *caps;           /* before TLS, words apart by ',': "PIPELINING,SIZE 1000"; "" is none */
	const char *caps_tls;       /* after TLS */
	const char *replies[PEER_AT_COUNT];
	unsigned only_mail; /* replies[PEER_MAIL ...] are for the only_mail-th mail (from 1); 0: all */
	const char *rcpt_replies[PEER_RCPTS_MAX];
	const char *behind_starttls; /* sent in one piece with the 220 */
	unsigned hang_up_after;      /* closes after that many mails; 0: never */
	/* what happened, over all connections */
	unsigned connections, tls_started, mails, violations, unknown_commands;
	unsigned auths, mails_begun, datas, dots, finals_sent, quits, rsets;
	char violation[128];
	char user[128], password[128];
	char mail_line[512];
	char rcpts[PEER_RCPTS_MAX][256]; /* of the last mail, accepted */
	unsigned rcpt_count, rcpts_seen;
	char content[PEER_CONTENT_MAX]; /* of the last mail, unstuffed, CRLF */
	size_t content_len;
	char log[8192]; /* the commands as they came, one a line */
	size_t log_len;
};

/* A handler for sim_peer_listen; arg is the struct smtp_peer. */
void smtp_peer_serve(struct hal_stream *s, void *arg);

#endif
