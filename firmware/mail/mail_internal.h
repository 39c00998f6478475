/* What the files of this room share and nobody else sees. */
#ifndef POSTERN_MAIL_MAIL_INTERNAL_H
#define POSTERN_MAIL_MAIL_INTERNAL_H

#include "base/buf.h"
#include "mail/mail.h"

/* A piece of output that is written in one go has at most so many bytes. */
#define MAIL_PIECE_MAX 1200
#define MAIL_LINE_MAX  998 /* RFC 5322 section 2.1.1 */
#define MAIL_FOLD_AT   76  /* RFC 2047 section 2, RFC 2045 section 6.7 */

/* The output; there is room, by MAIL_PIECE_MAX. */
void mail_put(struct mail *m, const void *bytes, size_t len);
void mail_puts(struct mail *m, const char *s);

/* Writes the next piece of the header; false: there is no more. */
bool mail_header_piece(struct mail *m);

/* Finds out how a part can travel. Errors: of the source. */
int mail_body_scan(struct mail *m, size_t part);

/* From the part's first byte again. Errors: of the source. */
int mail_body_begin(struct mail *m, size_t part);

/* Writes the next piece of the part's content; 0: there is no more. Errors: of the source; ERR_CORRUPT. */
int mail_body_piece(struct mail *m, size_t part);

#endif
