/* The parts of the sink (see sink.c for what it is): connections and the delay line in sink.c, SMTP in sink_smtp.c,
 * content and what is counted of it in sink_content.c. One thread; nothing here is called by more than one. */
#ifndef SINK_H
#define SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IN_BYTES (256 * 1024) /* read of a connection at a time; a command line is shorter */

enum extension { PIPELINING, CHUNKING, EIGHTBIT, SMTPUTF8, SIZE, CODES, DSN, EXTENSIONS };
extern const char *const extension_word[EXTENSIONS];
extern bool offered[EXTENSIONS];

enum violation {
	BARE_CR,
	BARE_LF,
	LONG_LINE,
	BAD_ORDER,
	NOT_OFFERED,
	NOT_PIPELINED,
	EARLY_CONTENT,
	UNKNOWN_COMMAND,
	NO_MESSAGE_ID,
	CUT_SHORT,
	VIOLATIONS,
};
extern const char *const violation_word[VIOLATIONS];

struct stats {
	uint64_t mails, bytes, wire_bytes, connections, commands, trips, reads, writes, chunks, refused,
		recipients;
	uint64_t violations[VIOLATIONS];
	uint64_t distinct, doubled,
		most_of_one;        /* Message-IDs: different ones, mails too many, of the worst */
	uint64_t smallest, largest; /* bytes of a mail */
	unsigned open, most_open;
	double first, last; /* the first MAIL, the last final reply */
	double all;         /* the final reply that made it as many as expected */
};
extern struct stats stats;
extern double delay_s;
extern uint64_t expected;

/* The content of one mail as it goes by. */
struct content {
	bool bol, cr, header,
		id_folds; /* at a line's begin; its last byte is a CR; in the header; the id is on the next line */
	size_t line, size; /* bytes of the line, of the mail, without stuffed dots */
	unsigned head_len;
	char head[512]; /* the header line so far */
	uint64_t id;    /* 0: none seen */
};

struct conn {
	int fd;
	uint32_t life; /* tells a reply on the delay line that its connection has gone */
	bool used, waits_go, closing, writing;
	bool ehlo, mail, data; /* greeted, in a mail, in its lines up to the dot */
	bool chunk, last;      /* in a BDAT chunk, in the last one */
	bool refused;          /* in a chunk that comes without a recipient */
	size_t left;           /* bytes of the chunk that are still to come */
	unsigned rcpts;
	size_t in_len, in_at; /* bytes read, and of them used up */
	size_t out_len, out_at;
	size_t waiting; /* replies on the delay line */
	bool answered;  /* something was sent since the last trip was counted */
	struct content content;
	char *in, *out;
};

double now_s(void); /* CLOCK_MONOTONIC */
void die(const char *what);
void violate(enum violation v);
/* At once, or onto the delay line; text of at most 240 bytes. The connection may be gone after it. */
void reply(struct conn *c, const char *text);

/* All that the buffer holds; what it leaves is an unfinished line. */
void smtp_work(struct conn *c);

void content_begin(struct content *t);
/* A piece of one line (n > 0); ends: the LF is its last byte. */
void content_piece(struct content *t, const char *p, size_t n, bool ends);
/* Lines as they are. */
void content_take(struct content *t, const char *p, size_t n);
/* The mail is whole: it is counted. */
void content_end(struct content *t);
void content_forget(void); /* the Message-IDs */

#endif
