/* log: what the gateway says about itself, line by line, to the sink of hal_log.
 *
 * For every room above base, on any thread, at any time after log_open (before it: text, info and above, no
 * rate limit). A line is a fixed text `cause -> effect` and fields; what varies goes into fields, so that
 * lines stay stable and tests and people can search for them:
 *
 *   log_warn("smtp", "connection refused -> trying the next address", LOG_TEXT("host", host), LOG_INT("port",
 *   port)); 2025-09-19T10:30:05.123Z warn smtp: connection refused -> trying the next address
 *   host=mx.example.com port=25
 *
 * The time is wall time, or +12.345 (seconds since the process started, or any fixed moment) while the clock
 * is unset. As JSON: {"time":...,"mono_ms":...,"level":...,"room":...,"text":...,FIELDS}.
 *
 * Field values come from anywhere: control bytes and bytes that are not UTF-8 are escaped, long values and
 * long lines are cut and marked with cut=yes. Each call site may write LOG_SITE_LINES lines in LOG_SITE_MS;
 * then its lines are counted instead, and the count is said in its next line (suppressed=N), or by log_tick.
 * Debug lines are not limited.
 *
 * Never: allocates, waits (but for a short lock), fails, or takes a struct secret: no field type does.
 */
#ifndef POSTERN_LOG_LOG_H
#define POSTERN_LOG_LOG_H

#include "base/str.h"
#include "hal_log.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

#define LOG_SITE_LINES 20
#define LOG_SITE_MS    10000

/* At boot before any thread starts, and again on reload from the same thread. */
void log_open(enum log_level level, enum log_format format, enum hal_log_target target);

/* Says for each call site that is still holding lines back how many there were. Every minute or so; at
 * shutdown. */
void log_tick(void);

/* Whether lines of that level are written: for fields that cost something to make. */
bool log_is_on(enum log_level level);

/* ---- fields ---- */

enum log_field_kind { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_BOOL, LOG_FIELD_DURATION, LOG_FIELD_ERR };

struct log_field {
	const char *key; /* static; NULL ends the list */
	enum log_field_kind kind;
	struct str s;
	int64_t n;
};

#define LOG_STR(key, str)   ((struct log_field){(key), LOG_FIELD_STR, (str), 0})
#define LOG_TEXT(key, text) ((struct log_field){(key), LOG_FIELD_STR, str_from(text), 0})
#define LOG_INT(key, n)     ((struct log_field){(key), LOG_FIELD_INT, {NULL, 0}, (int64_t)(n)})
#define LOG_BOOL(key, yes)  ((struct log_field){(key), LOG_FIELD_BOOL, {NULL, 0}, (yes)})
#define LOG_MS(key, ms)     ((struct log_field){(key), LOG_FIELD_DURATION, {NULL, 0}, (ms)}) /* "5s" */
#define LOG_ERR(err)        ((struct log_field){"error", LOG_FIELD_ERR, {NULL, 0}, (err)})   /* "TIMEOUT" */
#define LOG_END             ((struct log_field){NULL, LOG_FIELD_STR, {NULL, 0}, 0})

/* ---- lines ---- */

/* One per place that logs. Static, all zero at first; guarded by the room's lock. */
struct log_site {
	const char *file;
	int line;
	bool listed;
	int64_t window_ms; /* when the present window began */
	unsigned lines;    /* written in it */
	unsigned held;     /* held back since the last line */
	struct log_site *next;
};

/* Fields follow text, the last one is LOG_END. Use the macros below. */
void log_write(struct log_site *site, enum log_level level, const char *room, const char *text, ...);

#define LOG_AT(level, room, ...)                                                                             \
	do {                                                                                                 \
		static struct log_site log_site_here = {.file = __FILE__, .line = __LINE__};                 \
		if (log_is_on(level)) log_write(&log_site_here, level, room, __VA_ARGS__, LOG_END);          \
	} while (0)

/* (room, text, fields...) */
#define log_error(room, ...) LOG_AT(LOG_LEVEL_ERROR, room, __VA_ARGS__)
#define log_warn(room, ...)  LOG_AT(LOG_LEVEL_WARN, room, __VA_ARGS__)
#define log_info(room, ...)  LOG_AT(LOG_LEVEL_INFO, room, __VA_ARGS__)
#define log_debug(room, ...) LOG_AT(LOG_LEVEL_DEBUG, room, __VA_ARGS__)

#endif
