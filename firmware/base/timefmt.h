/* base/timefmt: times, durations and sizes as text. Pure; the time zone is always UTC; years 1970 to 9999. */
#ifndef POSTERN_BASE_TIMEFMT_H
#define POSTERN_BASE_TIMEFMT_H

#include "base/buf.h"

/* "2025-09-19T10:30:05Z" (RFC 3339), with ".123" when the milliseconds are not 0 and ms is true. */
void timefmt_rfc3339(struct buf *b, int64_t unix_ms, bool ms);

/* "Fri, 19 Sep 2025 10:30:05 +0000" (RFC 5322 section 3.3). */
void timefmt_rfc5322(struct buf *b, int64_t unix_ms);

/* RFC 3339 with any offset, fractions cut to ms. Errors: ERR_INVALID. */
int timefmt_parse_rfc3339(struct str s, int64_t *unix_ms);

/* "500ms" "5s" "10m" "2h" "30d", one number one unit, to milliseconds. Errors: ERR_INVALID. */
int timefmt_parse_duration(struct str s, int64_t *ms);

/* "64K" "8M" "1G" or plain bytes. Errors: ERR_INVALID. */
int timefmt_parse_size(struct str s, int64_t *bytes);

/* The longest exact form of the two above: "30d", "90s" as "90s", 65536 as "64K". */
void timefmt_duration(struct buf *b, int64_t ms);
void timefmt_size(struct buf *b, int64_t bytes);

#endif
