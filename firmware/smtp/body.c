/* The content on its way to the wire. Pure. */
#include "smtp/parts.h"

size_t smtp_stuff(struct smtp_stuffer *t, const char *in, size_t len, size_t *taken, char *out, size_t cap)
{
	size_t n = 0, i;

	/* One byte in is at most two out. */
	for (i = 0; i < len && n + 2 <= cap; i++) {
		char c = in[i];

		if (c == '\n' && t->after_cr) {
			t->after_cr = false;
			continue;
		}
		t->after_cr = c == '\r';
		if (c == '\r' || c == '\n') {
			out[n++] = '\r';
			out[n++] = '\n';
			t->in_line = false;
			continue;
		}
		if (c == '.' && !t->in_line) out[n++] = '.';
		out[n++] = c;
		t->in_line = true;
	}
	*taken = i;
	return n;
}

size_t smtp_stuff_end(const struct smtp_stuffer *t, char *out)
{
	size_t n = 0;

	if (t->in_line) {
		out[n++] = '\r';
		out[n++] = '\n';
	}
	out[n++] = '.';
	out[n++] = '\r';
	out[n++] = '\n';
	return n;
}
