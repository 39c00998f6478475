#include "log/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "hal_clock.h"
#include "hal_thread.h"

#define VALUE_BYTES_MAX 512 /* of one field */
#define ROOM_FOR_END    32  /* kept free for what must stand at the end of a line */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* level and format are read without the lock by every line; a reload may change them meanwhile. */
static atomic_int log_level = LOG_LEVEL_INFO;
static atomic_int log_format = LOG_FORMAT_TEXT;
static bool opened;
static struct hal_mutex lock; /* guards all sites and the list of those that ever held lines back */
static struct log_site *sites;

void log_open(enum log_level level, enum log_format format, enum hal_log_target target)
{
	atomic_store(&log_level, (int)level);
	atomic_store(&log_format, (int)format);
	hal_log_open(target, "postern");
	if (!opened) hal_mutex_init(&lock);
	opened = true;
}

bool log_is_on(enum log_level level)
{
	return (int)level <= atomic_load(&log_level);
}

/* ---- one line ---- */

struct line {
	struct buf b;
	bool json;
	bool cut; /* something did not fit */
	char text[LIMIT_log_line];
};

/* Only what needs no quotes in key=value. */
static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') return false;
	}
	return s.len > 0;
}

static void add_quoted(struct buf *b, struct str s)
{
	size_t start = 0;

	buf_puts(b, "\"");
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] != '"' && s.ptr[i] != '\\') continue;
		buf_escaped(b, (struct str){s.ptr + start, i - start}, SIZE_MAX);
		buf_printf(b, "\\%c", s.ptr[i]);
		start = i + 1;
	}
	buf_escaped(b, (struct str){s.ptr + start, s.len - start}, SIZE_MAX);
	buf_puts(b, "\"");
}

static void add_value(struct line *l, struct str s)
{
	if (s.len > VALUE_BYTES_MAX) {
		s.len = VALUE_BYTES_MAX;
		/* Not in the middle of a character: its first byte would look like rubbish sent by the peer.
		 * */
		while (s.len > VALUE_BYTES_MAX - 4 && ((unsigned char)s.ptr[s.len] & 0xC0) == 0x80)
			s.len--;
		l->cut = true;
	}
	if (l->json) {
		buf_puts(&l->b, "\"");
		buf_json(&l->b, s);
		buf_puts(&l->b, "\"");
	} else if (is_plain(s)) {
		buf_str(&l->b, s);
	} else {
		add_quoted(&l->b, s);
	}
}

static void add_field(struct line *l, const struct log_field *f)
{
	size_t mark = l->b.len;
	char text[32];
	struct buf b;

	if (l->b.cut) return;
	buf_printf(&l->b, l->json ? ",\"%s\":" : " %s=", f->key);
	switch (f->kind) {
	case LOG_FIELD_STR: add_value(l, f->s); break;
	case LOG_FIELD_INT: buf_printf(&l->b, "%lld", (long long)f->n); break;
	case LOG_FIELD_BOOL:
		buf_puts(&l->b, l->json ? (f->n ? "true" : "false") : (f->n ? "yes" : "no"));
		break;
	case LOG_FIELD_DURATION:
		buf_init(&b, text, sizeof(text));
		timefmt_duration(&b, f->n);
		add_value(l, buf_view(&b));
		break;
	case LOG_FIELD_ERR: add_value(l, str_from(err_name((int)f->n))); break;
	}
	/* A field stands whole or not at all, so that JSON stays JSON. */
	if (l->b.cut) {
		l->b.len = mark;
		l->b.ptr[mark] = '\0';
		l->cut = true;
	}
}

static void add_head(struct line *l, enum log_level level, const char *room, const char *text)
{
	int64_t mono = hal_clock_mono_ms();
	bool set = false;
	int64_t wall = hal_clock_wall_ms(&set);
	char time[40] = "";
	struct buf t;

	buf_init(&t, time, sizeof(time));
	if (set) timefmt_rfc3339(&t, wall, true);
	if (l->json) {
		if (set)
			buf_printf(&l->b, "{\"time\":\"%s\"", time);
		else
			buf_puts(&l->b, "{\"time\":null");
		buf_printf(&l->b, ",\"mono_ms\":%lld,\"level\":\"%s\"", (long long)mono, level_names[level]);
		buf_printf(&l->b, ",\"room\":\"%s\",\"text\":\"", room);
		buf_json(&l->b, str_from(text));
		buf_puts(&l->b, "\"");
		return;
	}
	if (!set) buf_printf(&t, "+%lld.%03lld", (long long)(mono / 1000), (long long)(mono % 1000));
	buf_printf(&l->b, "%s %s %s: ", time, level_names[level], room);
	buf_escaped(&l->b, str_from(text), LIMIT_log_line / 2);
}

static void line_begin(struct line *l, enum log_level level, const char *room, const char *text)
{
	buf_init(&l->b, l->text, sizeof(l->text) - ROOM_FOR_END);
	l->json = atomic_load(&log_format) == LOG_FORMAT_JSON;
	l->cut = false;
	add_head(l, level, room, text);
}

static void line_end(struct line *l, enum log_level level)
{
	l->b.cap = sizeof(l->text);
	l->b.cut = false;
	if (l->cut) buf_puts(&l->b, l->json ? ",\"cut\":true" : " cut=yes");
	if (l->json) buf_puts(&l->b, "}");
	hal_log_line((int)level, l->b.ptr, l->b.len);
}

/* ---- the rate of one site ---- */

/* Whether this line may be written; *held gets the number of lines held back before it. */
static bool site_admits(struct log_site *site, unsigned *held)
{
	int64_t now = hal_clock_mono_ms();
	bool admitted;

	*held = 0;
	if (!opened) return true;
	hal_mutex_lock(&lock);
	if (site->lines == 0 || now - site->window_ms >= LOG_SITE_MS) {
		site->window_ms = now;
		site->lines = 0;
	}
	admitted = site->lines < LOG_SITE_LINES;
	if (admitted) {
		site->lines++;
		*held = site->held;
		site->held = 0;
	} else {
		site->held++;
		if (!site->listed) {
			site->listed = true;
			site->next = sites;
			sites = site;
		}
	}
	hal_mutex_unlock(&lock);
	return admitted;
}

void log_write(struct log_site *site, enum log_level level, const char *room, const char *text, ...)
{
	unsigned held = 0;
	struct line l;
	va_list args;

	if (level != LOG_LEVEL_DEBUG && !site_admits(site, &held)) return;
	line_begin(&l, level, room, text);
	va_start(args, text);
	for (;;) {
		struct log_field f = va_arg(args, struct log_field);

		if (!f.key) break;
		add_field(&l, &f);
	}
	va_end(args);
	if (held > 0) add_field(&l, &LOG_INT("suppressed", held));
	line_end(&l, level);
}

/* The next listed site that holds lines back; its count is taken over. */
static struct log_site *take_held(unsigned *held)
{
	struct log_site *s;

	hal_mutex_lock(&lock);
	for (s = sites; s && s->held == 0; s = s->next)
		;
	if (s) {
		*held = s->held;
		s->held = 0;
	}
	hal_mutex_unlock(&lock);
	return s;
}

void log_tick(void)
{
	struct log_site *s;
	unsigned held;
	struct line l;

	while (opened && (s = take_held(&held))) {
		line_begin(&l, LOG_LEVEL_WARN, "log", "too many lines from one place -> only counted");
		add_field(&l, &LOG_TEXT("place", s->file));
		add_field(&l, &LOG_INT("line", s->line));
		add_field(&l, &LOG_INT("suppressed", held));
		line_end(&l, LOG_LEVEL_WARN);
	}
}
