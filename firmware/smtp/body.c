/* The content on its way to the wire. Pure. */
#include <string.h>

#include "smtp/parts.h"

/* Bytes of in up to the first CR, or LF, or all. *lf is where the first LF at or behind in is known to be, or
 * NULL: not looked for yet; the end when there is none. */
static size_t run_len(const char *in, const char *end, const char **lf)
{
	if (*lf == NULL || *lf < in) {
		*lf = memchr(in, '\n', (size_t)(end - in));
		if (*lf == NULL) *lf = end;
	}
	const char *cr = memchr(in, '\r', (size_t)(*lf - in));
	return (size_t)((cr != NULL ? cr : *lf) - in);
}

size_t smtp_stuff(struct smtp_stuffer *t, const char *in, size_t len, size_t *taken, char *out, size_t cap)
{
	const char *at = in, *end = in + len, *lf = NULL;
	size_t n = 0;

	/* A line end is two bytes out, and so is a dot that begins a line. */
	while (at < end && n + 2 <= cap) {
		bool after_cr = t->after_cr;

		t->after_cr = *at == '\r';
		if (*at == '\r' || *at == '\n') {
			if (!(*at == '\n' && after_cr)) {
				out[n++] = '\r';
				out[n++] = '\n';
				t->in_line = false;
			}
			at++;
			continue;
		}
		if (*at == '.' && !t->in_line && !t->plain) out[n++] = '.';
		size_t run = run_len(at, end, &lf);
		if (run > cap - n) run = cap - n;
		memcpy(out + n, at, run);
		n += run;
		at += run;
		t->in_line = true;
	}
	*taken = (size_t)(at - in);
	return n;
}

size_t smtp_stuff_end(const struct smtp_stuffer *t, char *out)
{
	size_t n = 0;

	if (t->in_line) {
		out[n++] = '\r';
		out[n++] = '\n';
	}
	if (t->plain) return n;
	out[n++] = '.';
	out[n++] = '\r';
	out[n++] = '\n';
	return n;
}
