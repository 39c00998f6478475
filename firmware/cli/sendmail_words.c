/* The words of a sendmail command line, as Sendmail, Postfix and Exim take them. */
#include <string.h>

#include "cli/sendmail.h"

/* Letters that take a value (in the same word or the next), and those that stand alone. */
#define WITH_VALUE "ABCDFLNORVXbdefhopr"
#define ALONE      "GUimnstvxcE"

struct words {
	const char *const *words;
	int count, at;
	struct sendmail *out;
	struct buf *why;
	bool own;
};

static int unsupported(struct words *w, const char *what)
{
	buf_puts(w->why, what);
	return SENDMAIL_UNAVAILABLE;
}

/* -b: what kind of program to be. */
static int take_mode(struct words *w, const char *value)
{
	switch (value[0]) {
	case 'm': return 0;
	case 's': return unsupported(w, "-bs: SMTP on the standard input is not supported");
	case 'd':
	case 'D': return unsupported(w, "-bd: start the gateway with `postern run`");
	case 'p': return unsupported(w, "-bp: `postern list` shows the queue");
	case 'i': return unsupported(w, "-bi: local names are in [alias] of the configuration");
	case 'v': return unsupported(w, "-bv: addresses are not verified by themselves");
	default: buf_printf(w->why, "-b%s is not supported", value); return SENDMAIL_UNAVAILABLE;
	}
}

static int take_value(struct words *w, char letter, const char *value)
{
	struct sendmail *s = w->out;

	switch (letter) {
	case 'b': return take_mode(w, value);
	case 'f':
	case 'r': s->from = value; return 0;
	case 'F': s->name = value; return 0;
	case 'C':
	case 'c': s->file = value; return 0;
	case 'o':
		if (value[0] == 'i') s->dot_is_text = true;
		return 0;
	case 'O':
		if (strcmp(value, "IgnoreDots=True") == 0 || strcmp(value, "IgnoreDots") == 0)
			s->dot_is_text = true;
		return 0;
	default: return 0;
	}
}

static int take_flag(struct words *w, char letter)
{
	switch (letter) {
	case 't': w->out->from_header = true; break;
	case 'i': w->out->dot_is_text = true; break;
	case 'v': w->out->verbose = true; break;
	default: break;
	}
	return 0;
}

/* One word that begins with a dash: letters, then perhaps a value. */
static int take_options(struct words *w)
{
	const char *p = w->words[w->at] + 1;
	int rc = 0;

	for (; *p && rc == 0; p++) {
		if (*p == 'q') {
			w->out->nothing = true;
			return 0; /* an interval or a kind of queue may stand behind it */
		}
		if (strchr(WITH_VALUE, *p) || (*p == 'c' && w->own)) {
			const char *value = p[1] ? p + 1 : w->at + 1 < w->count ? w->words[++w->at] : NULL;

			if (!value) {
				buf_printf(w->why, "-%c wants a value", *p);
				return SENDMAIL_USAGE;
			}
			return take_value(w, *p, value);
		}
		if (*p == 'I') return unsupported(w, "-I: local names are in [alias] of the configuration");
		if (!strchr(ALONE, *p)) {
			buf_printf(w->why, "unknown option -%c", *p);
			return SENDMAIL_USAGE;
		}
		rc = take_flag(w, *p);
	}
	return rc;
}

int sendmail_parse(const char *const *words, int count, bool own, struct sendmail *out, struct buf *why)
{
	struct words w = {words, count, 0, out, why, own};
	bool only_rcpts = false;

	memset(out, 0, sizeof(*out));
	for (; w.at < count; w.at++) {
		const char *word = words[w.at];
		int rc = 0;

		if (!only_rcpts && strcmp(word, "--") == 0)
			only_rcpts = true;
		else if (!only_rcpts && word[0] == '-' && word[1])
			rc = take_options(&w);
		else
			out->rcpts[out->rcpt_count++] = word;
		if (rc != 0) return rc;
	}
	if (out->rcpt_count > 0 || out->from_header || out->nothing) return 0;
	buf_puts(why, "no recipient: name one, or take them from the message with -t");
	return SENDMAIL_USAGE;
}
