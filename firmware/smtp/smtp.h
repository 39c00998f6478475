/* smtp: the SMTP client (RFC 5321): one connection to one server, over which mails are sent, several of them
 * in flight when the server can.
 *
 * Called by provider's workers and by `provider test`. A struct smtp belongs to one thread (smtp_abort
 * excepted), holds all its buffers, must not move while open, and takes no heap but TLS's. Blocking; every
 * wait ends at the deadline of its state (RFC 5321 section 4.5.3.2) or at the caller's, whichever comes first.
 *
 * Never: decides about retries, logs, keeps secrets longer than a command, sends credentials in the clear
 * (without TLS only to a loopback address), changes a mail's content beyond line ends and dot-stuffing, or
 * calls a recipient SENT unless the server's final 2yz to our own final dot was read.
 *
 * Extensions: STARTTLS, SIZE, 8BITMIME, SMTPUTF8, PIPELINING and CHUNKING (within a mail and across mails),
 * DSN, AUTH, ENHANCEDSTATUSCODES.
 *
 *	smtp_init(&s, &config);
 *	if (smtp_open(&s, deadline) < 0)	-> s.verdict says why: HOLD
 *	while (there is mail && smtp_ready(&s))
 *		smtp_run(&s, &supply, deadline)	-> each mail's verdict, and each recipient's
 *	smtp_close(&s);				always, also after failures
 *
 * What leaves together, with config.depth over 1:
 * - PIPELINING (RFC 2920): the final dot of a mail with MAIL, RCPT and DATA of the next. DATA is the last of a
 *   flight, content waits for its 354: one round trip a mail.
 * - PIPELINING and CHUNKING (RFC 3030): MAIL, RCPT, BDAT and the content itself, mail behind mail, up to depth
 *   of them unanswered. RSET stands before a MAIL whose predecessor's end is not known: what a refused BDAT
 *   leaves behind is indeterminate (section 2). Content over SMTP_EAGER_BYTES waits for the replies to its
 *   envelope; so does that behind a mail not yet answered, until this server (config.proven, or this connection)
 *   has answered commands that came with the end of another mail: one that drops them would leave it open
 *   whether it took the mail.
 * - Before its first BDAT a connection is asked whether the server discards a chunk that it refuses: there are
 *   some that take it for commands. With them, and with those that do not know BDAT at all, DATA is used.
 * - A reply too many, or too few, would make one mail's end another's. So where mails share the connection, replies
 *   must be worded as the server words them (step.h), and nothing may be pending behind the last. Where they are
 *   not, no mail that is not settled yet is SENT: UNCERTAIN when its end has left, else AGAIN, with NO_DEPTH. A server
 *   whose final replies are worded like those to RCPT gets DATA.
 * At most SMTP_DUE_MAX replies are due at any time, so that they fit into any socket buffer and neither side
 * waits for the other to read.
 */
#ifndef POSTERN_SMTP_SMTP_H
#define POSTERN_SMTP_SMTP_H

#include "hal_thread.h"
#include "net/net.h"

/* ---- outcomes
 * ----------------------------------------------------------------------------------------------- */

/* What a failure, or a success, means for the job (CONTRACT "jobs out"). */
enum smtp_class {
	/* No outcome: recipient skipped, or nothing was done yet. */
	SMTP_NONE,
	/* Final 2yz to our final dot. */
	SMTP_SENT,
	/* Not tried, nobody's fault, counts nothing: send again at once. The server takes fewer recipients in
	 * one mail (another of them was accepted in this one); a connection kept from an earlier mail had died
	 * before this one began, or died by a mail before it in flight (then smtp_ready is false); the server
	 * breaks an extension that it offers (then s->quirks has one more). */
	SMTP_AGAIN,
	/* Counts as a try: 4yz, or the connection broke in the middle of the mail. */
	SMTP_TRY,
	/* 5yz to MAIL, RCPT, DATA or the content; a mail that this server cannot be given. */
	SMTP_FAIL,
	/* Not the mail's fault: connect, greeting, EHLO, TLS, AUTH (also 530 to anything); a body that cannot be
	 * read now; smtp_abort, no link, no memory. */
	SMTP_HOLD,
	/* The final dot (or the last chunk) left completely, its reply did not come: sent, or not. .err is
	 * ERR_TIMEOUT when the reply timed out, else the connection was lost or what came was no reply. */
	SMTP_UNCERTAIN
};

#define SMTP_TEXT_MAX     200
#define SMTP_ENHANCED_MAX 12 /* "5.123.123" */

/* A server's reply (RFC 5321 section 4.2), or what we have of it. */
struct smtp_reply {
	int code;                         /* 200 to 599; 0: there was none */
	char enhanced[SMTP_ENHANCED_MAX]; /* "4.7.1" (RFC 3463), "" when absent */
	char text[SMTP_TEXT_MAX]; /* its lines, joined by a space, without codes; control bytes are '?'; cut
				   */
	uint32_t lines;           /* of it, so far */
};

struct smtp_verdict {
	enum smtp_class class;
	int err;                 /* 0 when SENT, else ERR_x: AUTH and TLS_CERT are worth an alert */
	struct smtp_reply reply; /* the reply that decided; without one (.code 0) .text is our own sentence */
};

/* "sent" "again" "try" "fail" "hold" "uncertain" "none". */
const char *smtp_class_name(enum smtp_class c);

/* Feeds one line of a reply (without its line end). A reply is begun by a zeroed struct.
 * Returns 1 when it was the last line, 0 when more must follow. Tolerated: a code alone, text of any bytes,
 * codes that differ within the same class (the last counts). Errors: ERR_PROTOCOL: no reply code (2 to 5
 * first), neither space nor hyphen behind it, lines of different classes, more than 1e6 lines. */
int smtp_reply_line(struct smtp_reply *r, struct str line);

/* The id under which the server queued the mail, out of its final reply ("queued as X", "id=X", ...), or the
 * reply's whole text when it names none known. */
struct str smtp_queue_id(const struct smtp_reply *r);

/* ---- configuration
 * ------------------------------------------------------------------------------------------ */

struct smtp_mail;

enum smtp_tls { SMTP_TLS_STARTTLS, SMTP_TLS_IMPLICIT, SMTP_TLS_NONE };

enum smtp_auth {
	/* With a username: the best that is offered and can carry the credentials; without: none. When the server
	 * will not have that mechanism (not: these credentials), one other is tried. Never XOAUTH2. */
	SMTP_AUTH_AUTO,
	SMTP_AUTH_NONE,
	SMTP_AUTH_PLAIN, /* RFC 4616 */
	SMTP_AUTH_LOGIN,
	SMTP_AUTH_CRAM_MD5,      /* RFC 2195 */
	SMTP_AUTH_SCRAM_SHA_256, /* RFC 7677; the server must prove that it knows the password */
	SMTP_AUTH_XOAUTH2        /* password is the access token */
};

/* What the transcript shows. */
enum smtp_note {
	SMTP_NOTE_STEP, /* "connected to mail.example.com [192.0.2.1]:587", "TLSv1.3 ...", our own sentences
			 */
	SMTP_NOTE_SENT, /* a command, secrets as "***"; of the body only its size */
	SMTP_NOTE_RECEIVED /* a line of a reply, as it came: to be escaped by whoever shows it */
};

enum smtp_command {
	SMTP_CMD_GREETING, /* no command: the server speaks unasked */
	SMTP_CMD_EHLO,
	SMTP_CMD_HELO,
	SMTP_CMD_STARTTLS,
	SMTP_CMD_AUTH,
	SMTP_CMD_RSET,
	SMTP_CMD_MAIL,
	SMTP_CMD_RCPT,
	SMTP_CMD_DATA,
	SMTP_CMD_DOT,
	SMTP_CMD_BDAT, /* a chunk that is not the last */
	SMTP_CMD_LAST, /* BDAT n LAST */
	SMTP_CMD_QUIT,
	SMTP_CMD_PROBE_BDAT, /* before the first BDAT of a connection: what does the server do with a chunk */
	SMTP_CMD_PROBE_RSET  /* that it must refuse? */
};

/* "MAIL" "RCPT" "DATA" "." "BDAT" (all) "RSET" (both) "EHLO" ...; "greeting" for none. */
const char *smtp_command_name(enum smtp_command command);

/* What a server was found to break although it offers it: bits. Not used again on this connection; to be given
 * to the next ones in config.quirks, or mails are sent again and again. A line that breaks at a bad moment
 * looks the same: forget them after some hours. */
enum smtp_quirk {
	SMTP_QUIRK_NO_CHUNKING = 1,
	SMTP_QUIRK_NO_PIPELINING = 2,
	/* A mail may begin only when the one before is answered; and DATA is used, whose 354 shows a reply too many. */
	SMTP_QUIRK_NO_DEPTH = 4
};

/* All borrowed: must outlive the connection. NULL and "" both mean "not set". */
struct smtp_config {
	const char *host; /* dialed, and the name its certificate must carry */
	uint16_t port;
	enum smtp_tls tls;
	struct net_tls_config *tls_config; /* client side; NULL only with SMTP_TLS_NONE */
	enum smtp_auth auth;
	const char *username;
	const char *password;
	const char *helo;      /* what we call ourselves; not set: the device's host name */
	unsigned wait_percent; /* of the RFC's time limits; 0 means 100 */
	unsigned depth;        /* mails in flight, at most SMTP_DEPTH_MAX; 0 and 1: one after the other */
	unsigned quirks;       /* enum smtp_quirk, found on earlier connections */
	/* An earlier connection to this provider answered the question before its first BDAT, and flights of two mails,
	 * in step (struct smtp's proven): the content of the second mail need not wait for that proof again. To be
	 * forgotten together with quirks. */
	bool proven;
	/* The transcript; may be NULL: then no note is even made. mail: the one it belongs to, NULL: none but
	 * the connection. command: which one is sent, or answered; GREETING with SMTP_NOTE_STEP. */
	void (*note)(void *arg, const struct smtp_mail *mail, enum smtp_note kind, enum smtp_command command,
		     struct str text);
	void *note_arg;
};

/* ---- a mail
 * ------------------------------------------------------------------------------------------------- */

/* Where the content comes from, as one RFC 5322 message; any line ends (CRLF, LF, CR), not dot-stuffed. */
struct smtp_body {
	/* > 0 bytes, 0 at the end, or an error: the mail is then broken off, class by err_class of it. */
	int (*read)(void *arg, char *bytes, size_t cap);
	/* Back to the first byte; called before each first read. 0 or an error. */
	int (*rewind)(void *arg);
	void *arg;
};

/* RFC 3461 section 4.1: when the sender wants to be told; bits. */
enum smtp_notify {
	SMTP_NOTIFY_NEVER = 1, /* alone: the others are not said then */
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8
};

/* RFC 3461 section 4.3: how much of the mail a notification contains. */
enum smtp_ret { SMTP_RET_DEFAULT, SMTP_RET_HDRS, SMTP_RET_FULL };

struct smtp_rcpt {
	struct str addr; /* local@domain, without brackets */
	bool skip;       /* has its outcome already: neither sent to nor changed */
	/* Said when DSN is offered: enum smtp_notify, 0: not said; and the address as it was first given (said as
	 * rfc822;xtext), empty: not said. One that is not ASCII, or over 500 bytes encoded, is not said. */
	unsigned notify;
	struct str orcpt;
	struct smtp_verdict verdict; /* out */
};

struct smtp_mail {
	struct str from; /* envelope sender; empty: the null sender <> */
	struct smtp_rcpt *rcpts;
	size_t rcpt_count; /* at most 65535 */
	int64_t size;   /* of the content as it goes over the wire, 0: unknown. Used when SIZE is offered */
	bool body_8bit; /* the content has bytes over 127. BODY=8BITMIME when offered; sent as it is otherwise
			 */
	bool smtputf8;  /* an address or header needs SMTPUTF8. A FAIL when not offered */
	/* Nothing else is in flight with it: it waits for all before it, and nothing is sent behind it until it
	 * is answered. For mails that were tried before: one that makes a server hang up then does not take its
	 * neighbours with it. */
	bool alone;
	/* Said when DSN is offered (RFC 3461 sections 4.3 and 4.4). envid: plain, we encode it; not said when
	 * empty, over 100 bytes encoded, or not printable ASCII. */
	enum smtp_ret ret;
	struct str envid;
	struct smtp_body body;
	void *owner; /* the caller's */
	/* out: the mail as a whole. SENT when at least one recipient was; else what ended it */
	struct smtp_verdict verdict;
};

/* ---- the client
 * --------------------------------------------------------------------------------------------- */

/* With mails in flight: of the last one that was begun. */
enum smtp_state {
	SMTP_CLOSED,
	SMTP_GREETING, /* waiting for 220 */
	SMTP_HELLO,    /* EHLO or HELO out */
	SMTP_STARTTLS,
	SMTP_AUTH,
	SMTP_READY,    /* nothing in flight: a mail may begin */
	SMTP_ENVELOPE, /* RSET, MAIL, RCPT, DATA go out */
	SMTP_CONTENT,  /* 354 read, or CHUNKING: the content goes out */
	SMTP_DOT,      /* all of it is out, the final reply is not in */
	SMTP_QUIT,
	SMTP_BROKEN /* of no more use but for smtp_close */
};

#define SMTP_DUE_MAX     64 /* commands in flight */
#define SMTP_DEPTH_MAX   16 /* mails in flight */
#define SMTP_IN_BYTES    4096
#define SMTP_OUT_BYTES   12288 /* a flight of small mails is one write */
#define SMTP_EAGER_BYTES 65536 /* content up to this size is sent behind an envelope not yet answered */

/* A mail in flight. */
struct smtp_flight {
	struct smtp_mail *mail; /* its verdict is the one for who has none, should it end now */
	/* The first and last byte of its content in all bytes of the connection (struct smtp's out_base), from 1;
	 * 0: not yet in the buffer. */
	uint64_t content_at, end_at;
	size_t next_rcpt;         /* to be sent */
	unsigned due, rcpts_due;  /* commands out, not answered */
	size_t open, accepted;    /* recipients worth asking for; answered with 2yz */
	unsigned commands;        /* said for it */
	bool utf8;                /* SMTPUTF8 is said */
	bool behind;              /* begun while one before it was not answered */
	bool distrusted;          /* replies were found out of step: what it was told is not believed */
	bool mail_said, answered; /* MAIL is out; something of it was answered */
	bool content_said;        /* DATA or BDAT with content is out */
	bool waits;               /* DATA's or the lone dot's reply decides how it goes on */
	bool lone;                /* a dot without content is out: its reply completes nothing */
	bool stop;                /* no more commands: the mail ends when all replies are in */
	bool ended;               /* nothing of it will be written any more */
	bool read_done;           /* supply.written was called */
	bool settled;             /* all verdicts are final */
};

/* A command in flight: which reply is due. */
struct smtp_due {
	enum smtp_command command;
	uint16_t rcpt;              /* SMTP_CMD_RCPT: which, else 0 */
	struct smtp_flight *flight; /* NULL: of the connection */
	uint64_t end_at; /* its last byte (a chunk: with its content), counted as in struct smtp_flight */
};

/* What the server offered since TLS was on. */
struct smtp_caps {
	bool esmtp, starttls, pipelining, chunking, eightbit, smtputf8, dsn, size, enhanced;
	int64_t size_max; /* 0: no limit told */
	unsigned auth;    /* 1u << enum smtp_auth */
};

/* A wording of 2yz replies, and after which commands it was heard (step.h). */
struct smtp_wording {
	uint32_t hash;
	unsigned char kinds;
};

#define SMTP_WORDINGS_MAX 24

#define SMTP_NONCE_MAX 24
#define SMTP_ECHO_MAX  24

/* An AUTH exchange under way. */
struct smtp_exchange {
	enum smtp_auth mechanism;
	bool begun;      /* the AUTH command was said */
	unsigned said;   /* responses of the mechanism, so far */
	bool complete;   /* 235 may come: all is said, and the server has proved itself where it has to */
	char status[32]; /* XOAUTH2: why the token was refused; "" when nothing was said */
	/* SCRAM: ours, printable without comma; what the server's signature must be */
	char nonce[SMTP_NONCE_MAX + 1];
	unsigned char signature[32];
	/* The end of the last digest or proof, with and without base64, by which it is known when it comes back. */
	char echo[2][SMTP_ECHO_MAX + 1];
};

/* Where mails come from and go to. Called from within smtp_run, on its thread; the calls must not use the
 * connection. */
struct smtp_supply {
	/* The next mail: its MAIL may go out now. NULL: none at present; asked again after replies and when
	 * nothing is in flight; NULL then ends the run. Never waits. The mail and all it points to stay
	 * untouched by the caller until done was called for it; its body is read only while its content is
	 * written. */
	struct smtp_mail *(*next)(void *arg);
	/* The verdict of the mail and of all its recipients is final; called once for each mail given, in the
	 * order given. */
	void (*done)(void *arg, struct smtp_mail *mail);
	/* The content of the mail was read to its end, or will not be read any more in this run: what feeds its
	 * body may be used for another. Called once for each mail given, before done. May be NULL. */
	void (*written)(void *arg, struct smtp_mail *mail);
	void *arg;
};

struct smtp {
	/* to be read by the owner */
	struct smtp_config config;
	enum smtp_state state;
	struct smtp_verdict verdict; /* why smtp_open failed, or why the connection ended */
	struct smtp_caps caps;
	struct net_peer peer;
	uint32_t mails_sent; /* over this connection: final 2yz */
	unsigned quirks;     /* of config, and what was found on this connection */
	/* For config.proven of the next connections. Of config; comes true when it was shown on this connection, and
	 * false when a mail was lost that would have waited without: true in config and false here is to be taken
	 * back, false in both says nothing. */
	bool proven;
	bool tls_on;
	/* its own */
	bool loopback, used;
	struct smtp_exchange exchange;
	unsigned auth_refused;     /* 1u << mechanism: offered, and refused for itself */
	int64_t deadline;          /* the caller's */
	struct hal_stream *stream; /* what is spoken over: base, or TLS over it; NULL: none */
	struct hal_mutex lock;     /* over base, dialer and aborted, for smtp_abort */
	struct hal_stream *base;
	struct net_dialer *dialer; /* while smtp_open looks for a connection */
	bool tls_tried;            /* over this connection */
	bool aborted;
	struct smtp_reply reply; /* being read */
	/* Its last line behind the code, as it came; until the next is read. */
	struct str reply_text;
	struct smtp_due due[SMTP_DUE_MAX];
	size_t due_first, due_count;
	/* the run, and its mails in flight, in the order given */
	const struct smtp_supply *supply;
	struct smtp_flight flights[SMTP_DEPTH_MAX];
	size_t flight_first, flight_count;
	struct smtp_flight *writing; /* the last one, while something of it is still to be written */
	bool looked;                 /* in this run it was seen that the server has not hung up before it */
	bool dry;                    /* supply.next had none while nothing was in flight */
	bool needs_rset;             /* before the next MAIL */
	unsigned bdat_asked;         /* how much was said to ask whether the server is fit for BDAT */
	bool bdat_known;             /* it is */
	bool flight_known;           /* commands that left together were answered in step: of one mail, */
	bool depth_known;            /* and of two */
	bool company;                /* mails have been in flight together */
	bool doubted;                /* ... and a reply looked like one to another command */
	/* What its replies are worded like; of which commands that is known; that a final one is told from RCPT's. */
	struct smtp_wording wordings[SMTP_WORDINGS_MAX];
	size_t wording_count;
	unsigned char worded;
	bool finals_tell;
	int send_err; /* sending failed: what had been answered before is still heard */
	struct hal_socket socket;
	struct net_tls tls;
	struct net_line line;
	char in[SMTP_IN_BYTES];
	uint64_t out_base; /* bytes of the connection that have left */
	size_t out_len;
	char out[SMTP_OUT_BYTES];
};

void smtp_init(struct smtp *s, const struct smtp_config *config);

/* Dials, reads the greeting, greets, turns TLS on, authenticates: up to where a mail can be sent.
 * 0, or the error that is also in s->verdict (class HOLD). When TLS fails with a server, or the connection is lost
 * before there is TLS, the host's other addresses are tried, within the deadline; while there are such, a server
 * that says nothing gets half of the time that is left. The verdict has each address's reason then. */
int smtp_open(struct smtp *s, int64_t deadline_ms);

/* The same over a stream that is connected already (through a proxy, or in a test); it belongs to s from now
 * on, also on failure. peer says to whom; config.host stays the name for TLS. */
int smtp_open_on(struct smtp *s, struct hal_stream *stream, const struct net_peer *peer, int64_t deadline_ms);

/* True when smtp_run and smtp_send may be called. A server that has hung up since is noticed there (SMTP_AGAIN). */
bool smtp_ready(const struct smtp *s);

/* Sends the mails that the supply gives, each with a verdict, and one for every recipient without skip. A
 * recipient or sender with CR, LF, NUL or anything that is no address is a FAIL by itself and never reaches the
 * wire. 0: the supply ran dry, all is answered, the connection is ready for more. Else the error that is also
 * in s->verdict: the connection is of no more use; every mail given is done. ERR_STATE when not ready: none was
 * asked for. When a connection dies, of the mails not finally answered are UNCERTAIN those whose content left to
 * its end; of the others the first is a TRY (or what the error says), those behind it AGAIN. */
int smtp_run(struct smtp *s, const struct smtp_supply *supply, int64_t deadline_ms);

/* The run of one mail. Returns mail->verdict.err (0 when SENT), or ERR_STATE when not ready. */
int smtp_send(struct smtp *s, struct smtp_mail *mail, int64_t deadline_ms);

/* Says QUIT when in order (waits at most 2 s for the answer, and not beyond the deadline; after it QUIT is said
 * without waiting) and releases everything: once for each smtp_init. */
void smtp_close_by(struct smtp *s, int64_t deadline_ms);
/* The same without a deadline of the caller's. */
void smtp_close(struct smtp *s);

/* From any thread, while the owner is between smtp_init and smtp_close: ends its waiting, while it dials too. */
void smtp_abort(struct smtp *s);

#endif
