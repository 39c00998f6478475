/* hal_log: where finished log lines go. The sink only: levels, format and rate limits are firmware/log's. */
#ifndef POSTERN_HAL_LOG_H
#define POSTERN_HAL_LOG_H

#include <stddef.h>

enum hal_log_target { HAL_LOG_STDERR, HAL_LOG_SYSLOG };

void hal_log_open(enum hal_log_target target, const char *ident);

/* One line without its line feed. level is 0 error, 1 warn, 2 info, 3 debug. Any thread; lines do not mix;
 * never waits for long and never fails: a sink that is full loses the line. */
void hal_log_line(int level, const char *line, size_t len);

#endif
