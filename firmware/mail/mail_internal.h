/* What the files of this room share and nobody else sees. */
#ifndef POSTERN_MAIL_MAIL_INTERNAL_H
#define POSTERN_MAIL_MAIL_INTERNAL_H

#include "base/buf.h"
#include "mail/mail.h"

/* A piece of the header that is written in one go has at most so many bytes. */
#define MAIL_PIECE_MAX   1400
#define MAIL_LINE_MAX    998 /* RFC 5322 section 2.1.1 */
#define MAIL_FOLD_AT     76  /* RFC 2047 section 2, RFC 2045 section 6.7 */
#define MAIL_BASE64_LINE 57  /* bytes that become a line of 76 */
#define MAIL_AHEAD       64  /* a piece sees so many bytes behind its first: line ends, "From ", delimiters */

enum mail_encoding { MAIL_7BIT, MAIL_8BIT, MAIL_QUOTED, MAIL_BASE64 };
enum mail_charset { MAIL_NO_CHARSET, MAIL_US_ASCII, MAIL_UTF8, MAIL_UNKNOWN_CHARSET };

/* ---- output; there is room, by MAIL_PIECE_MAX ---- */

/* Text without a line end. */
void mail_put(struct mail *m, const void *bytes, size_t len);
void mail_puts(struct mail *m, const char *s);
void mail_put_str(struct mail *m, struct str s);
void mail_line_end(struct mail *m);
/* A space, or a fold when `len` bytes more would pass the line's end. */
void mail_gap(struct mail *m, size_t len);

/* How a value is written. */
enum mail_form {
	MAIL_PLAIN, /* folded at its spaces */
	MAIL_QUOTED_STRING,
	MAIL_WORDS_B, /* encoded words */
	MAIL_WORDS_Q,
	MAIL_LIST,   /* addresses */
	MAIL_UNITS,  /* JOB_HEADER_VERBATIM */
	MAIL_PHRASES /* encoded words between commas */
};

bool mail_is_alnum(char c);
bool mail_is_ascii(struct str s);
bool mail_has_encoded_word(struct str s);

/* The shorter of the two encodings. */
enum mail_form mail_words_form(struct str s);

/* One encoded word behind a space or fold; *at goes on behind its text. `whole`: rather fold than split what
 * fits into one word, as not all readers join words well. Room is left on the line for `behind` bytes. */
void mail_put_word(struct mail *m, struct str s, size_t *at, enum mail_form form, bool whole, size_t behind);
/* The same where we are. */
void mail_put_word_here(struct mail *m, struct str s, size_t *at, enum mail_form form, size_t behind);

/* A quoted string. */
void mail_put_quoted(struct mail *m, struct str s);

/* ---- content, piece by piece (mail_pieces.c) ---- */

/* What a run may contain besides: a tab is a piece of its own in all but the last. */
enum mail_run {
	MAIL_RUN_PLAIN, /* printable ASCII without "=" */
	MAIL_RUN_ASCII, /* printable ASCII */
	MAIL_RUN_LINE   /* all but CR and LF */
};

enum mail_piece_kind {
	MAIL_PIECE_TEXT,   /* of the run, or one tab */
	MAIL_PIECE_OTHERS, /* bytes that are not, and no line end */
	MAIL_PIECE_EOL,    /* CR, LF or CRLF; of len 0 behind a last line that is not ended */
	MAIL_PIECE_END
};

struct mail_piece {
	enum mail_piece_kind kind;
	const char *at; /* in m->in, until the next piece */
	size_t len;
	const char *
		end; /* so far one may look: MAIL_AHEAD bytes from each of the piece's, or to the end of all */
};

/* Forgets what was read: the source was, or is about to be, rewound. */
void mail_pieces_begin(struct mail *m);

/* The next piece, of at most max bytes (but a line end). How a content is cut depends on max and the source; what is
 * made of the pieces must not. Errors: of the source. */
int mail_piece_next(struct mail *m, const struct mail_source *source, enum mail_run run, size_t max,
		    struct mail_piece *p);

/* The next bytes as they are; of len 0 at the end. Errors: of the source. */
int mail_bytes_next(struct mail *m, const struct mail_source *source, size_t max, struct str *out);

bool mail_piece_ends_line(const struct mail_piece *p);
bool mail_piece_begins(const struct mail_piece *p, const char *with);

/* Pieces of MAIL_RUN_PLAIN as quoted-printable. */
struct mail_quoted {
	char *to; /* NULL: only counts */
	size_t len;
	size_t column;
};
void mail_quoted_add(struct mail_quoted *q, const struct mail_piece *p);

/* ---- parts ---- */

bool mail_is_text(const struct mail_part *part);
bool mail_is_message(const struct mail_part *part);

/* Finds out how a part travels and how long it becomes. Errors: of the source. */
int mail_body_scan(struct mail *m, struct mail_part *part);

/* From the part's first byte again. Errors: of the source. */
int mail_body_begin(struct mail *m, const struct mail_part *part);

/* Writes what there is room for; 0: that was all. Errors: of the source; ERR_CORRUPT. */
int mail_body_piece(struct mail *m, const struct mail_part *part);

/* Writes the next piece of a part's header; false: there is no more. */
bool mail_part_piece(struct mail *m, const struct mail_part *part);

/* ---- the header ---- */

/* " Name <a@b>"; folds where it must, but never right behind the field's name (`first`). */
void mail_put_address(struct mail *m, struct str name, struct str addr, bool first);

/* The field's name with the first recipient or group of this kind, then one more each time; false: there are no
 * more, or none at all. */
bool mail_put_rcpts(struct mail *m, const char *field, enum job_rcpt_kind kind);

/* The next address, group or group's end of m->list; false: there are no more. */
bool mail_put_list_item(struct mail *m);

/* Writes the next piece of the header; false: there is no more. */
bool mail_header_piece(struct mail *m);

#endif
