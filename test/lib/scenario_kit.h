/* scenario_kit: what stands outside of the device in a scenario of the whole firmware: a plan of jobs, a ledger
 * of what became of them, and a strict SMTP server.
 *
 * The ledger lives in memory that survives power cuts. Who submits writes into it before he asks and after he
 * was answered; the server writes before it says 250. What must never happen is noted as a violation, with the
 * first one's text.
 *
 *	sim_reset(); scenario_begin();		an empty ledger, nothing said otherwise
 *	scenario_ledger->jobs[n] = plan		for each job
 *	sim_peer_listen(ip, 25, scenario_serve, NULL)
 *	boot after boot, scenario_ledger->boot one higher for each
 */
#ifndef POSTERN_TEST_SCENARIO_KIT_H
#define POSTERN_TEST_SCENARIO_KIT_H

#include "base/buf.h"
#include "sim/sim.h"

#define SCENARIO_JOBS_MAX  64
#define SCENARIO_RCPTS_MAX 4
#define SCENARIO_BOOTS_MAX 8
#define SCENARIO_NOBODY    UINT32_MAX
/* What was sent on its way is not stopped by what was told meanwhile. */
#define SCENARIO_SLACK_MS 10000

/* The server's view of one recipient of one job. */
struct scenario_rcpt {
	unsigned copies[SCENARIO_BOOTS_MAX]; /* taken, by boot */
	unsigned total;
	unsigned refusals; /* 5yz that were meant for it */
	/* the last copy */
	unsigned boot;
	int64_t at_ms;
	bool known;  /* the client went on over the connection, so it has read the 250 */
	bool lost;   /* the client may not have read it: the connection ended there */
	bool silent; /* the server kept it to itself: nothing but a timeout tells */
};

struct scenario_job {
	/* the plan, fixed before it is asked for */
	bool format1; /* of the integration guide; else the setup guide's */
	bool unnamed; /* has no message_id */
	bool maildir; /* through the provider of that kind */
	bool own_from;
	const char *provider; /* NULL: none named */
	unsigned rcpts, lines;
	bool deferred; /* the server says 451 to its first recipient, once */
	bool hopeless; /* the server never takes its last recipient */
	/* by who submits */
	bool asked, accepted;
	bool again; /* asked for once more after an end: requeued, or submitted again */
	bool cancel_asked;
	int64_t cancelled_ms; /* true time of the answer; 0: none */
	int64_t sent_ms;      /* when its success was told; 0: not yet */
	/* by the server */
	struct scenario_rcpt rcpt[SCENARIO_RCPTS_MAX];
	uint64_t mail_id; /* of its Message-ID; 0: none came */
	unsigned refused_once, deferrals;
};

struct scenario_ledger {
	struct scenario_job jobs[SCENARIO_JOBS_MAX];
	unsigned job_count;
	unsigned boot;
	unsigned connections, broken; /* broken: ended without QUIT, or without a reply of ours */
	unsigned nameless;            /* mails refused before it was known whose they were */
	unsigned stalls;              /* how often connections died with nobody told, in this boot */
	unsigned duplicates, mails;
	unsigned violations;
	char violation[256];
};
extern struct scenario_ledger *scenario_ledger;

/* A fresh ledger. After sim_reset. */
void scenario_begin(void);

/* Notes what must not happen. */
void scenario_violate(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The job's JSON; variant: with other content under the same identity. */
void scenario_job_text(unsigned n, bool variant, struct buf *b);

/* Compares a delivered mail with its job, line by line (without line ends, not stuffed). */
struct scenario_reader {
	unsigned job, line;
	bool quoted, body, whole, wrong;
	uint64_t mail_id;
};
void scenario_read_begin(struct scenario_reader *r, unsigned job);
void scenario_read_line(struct scenario_reader *r, const char *text, size_t len);
/* The mail ended: notes what is wrong with it. */
void scenario_read_end(const struct scenario_reader *r);

/* ---- the server ---- */

enum scenario_at {
	SCENARIO_GREETING,
	SCENARIO_EHLO,
	SCENARIO_RSET,
	SCENARIO_MAIL,
	SCENARIO_RCPT,
	SCENARIO_DATA,
	SCENARIO_CONTENT, /* in the middle of it */
	SCENARIO_DOT,
	SCENARIO_QUIT
};

/* Asked before each reply: NULL for the planned one, or another; "!": hangs up; "?": is silent from now on.
 * At the dot also "+!" and "+?": takes the mail before. A reply of 421 is followed by hanging up. It may
 * sleep. NULL: the server does what is planned. */
extern const char *(*scenario_mood)(enum scenario_at at);
/* The whole reply to EHLO, with line ends. */
extern const char *scenario_ehlo;

/* A handler for sim_peer_listen. */
void scenario_serve(struct hal_stream *s, void *arg);

#endif
