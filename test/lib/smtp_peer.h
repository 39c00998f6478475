/* smtp_peer: a strict SMTP server for tests, over any hal_stream, with replies that a test may replace.
 *
 * Strict: a bare CR or LF anywhere, a command out of order, a line over 998 bytes in a command, an unstuffed
 * dot are violations, which it counts and keeps the first of. It pipelines as it comes: lines are answered
 * one by one. BDAT is known when CHUNKING is offered: what is refused is read and discarded, and only RSET may
 * come behind it (RFC 3030 section 2).
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
	PEER_BDAT, /* a chunk that is not the last */
	PEER_LAST, /* BDAT n LAST */
	PEER_QUIT,
	PEER_AT_COUNT
};

/* Special replies. */
#define PEER_HANG_UP "!"    /* closes the connection instead */
#define PEER_SILENT  "?"    /* says nothing any more, and reads on */
#define PEER_NUL     "\x1a" /* stands for NUL within a reply. A reply that ends in LF gets no CRLF */

/* A reply in place of the usual one, to one mail only. */
struct smtp_peer_script {
	unsigned mail; /* the n-th MAIL, from 1; a RSET before it is the mail's before */
	enum smtp_peer_at at;
	const char *reply;
};

/* How PIPELINING is broken although it is offered. */
enum smtp_peer_flaw {
	PEER_SOUND,
	PEER_DROPS,        /* forgets what came together with a command */
	PEER_CLOSES,       /* hangs up when something came together with a command */
	PEER_IGNORES,      /* forgets a command and what came together with it */
	PEER_DROPS_BEHIND, /* forgets what came together with the end of a mail */
	/* Replies that are not as many as commands: */
	PEER_SWALLOWS, /* every flaw_every-th command, with its content, is neither obeyed nor answered */
	PEER_MUTE,     /* ... is obeyed, not answered */
	PEER_DISCARDS, /* at every flaw_every-th reply to RSET, MAIL, RCPT or DATA, forgets what has come so far */
	PEER_FINAL_EACH /* as LMTP: a final reply for each recipient */
};

/* A mail for which the peer decided to say its final 2yz. */
struct smtp_peer_taken {
	char from[64];
	unsigned rcpts;
	bool said; /* the reply went into the connection */
	bool by_bdat;
	size_t len;
	char begin[96]; /* of the content */
};

#define PEER_SCRIPTS_MAX 8
#define PEER_TAKEN_MAX   512
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
	struct smtp_peer_script scripts[PEER_SCRIPTS_MAX]; /* these come first */
	enum smtp_peer_flaw flaw;
	unsigned flaw_every;
	unsigned final_lag_ms;       /* PEER_FINAL_EACH: before each but the first */
	unsigned refuses_every;      /* every n-th mail is refused at its end */
	const char *words;           /* all its 2yz but EHLO's say this; NULL: each its own */
	bool keeps_chunks;           /* a chunk that it refuses it does not read: content is commands then */
	const char *behind_starttls; /* sent in one piece with the 220 */
	unsigned hang_up_after;      /* closes after that many mails; 0: never */
	/* what happened, over all connections */
	unsigned connections, tls_started, mails, violations, unknown_commands;
	unsigned auths, mails_begun, datas, dots, finals_sent, quits, rsets;
	unsigned chunks; /* BDAT commands */
	unsigned commands, replies_said;
	struct smtp_peer_taken taken[PEER_TAKEN_MAX];
	unsigned taken_count;
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
