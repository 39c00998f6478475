/* Lines out of a stream. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "net/net.h"

void net_line_init(struct net_line *r, struct hal_stream *stream, void *memory, size_t cap)
{
	CHECK(cap >= 64);
	*r = (struct net_line){.stream = stream, .ptr = memory, .cap = cap};
}

size_t net_line_pending(const struct net_line *r)
{
	return r->have - r->at;
}

/* Receives more behind what is there. */
static int fill(struct net_line *r, int64_t deadline_ms)
{
	int rc = hal_stream_recv(r->stream, r->ptr + r->have, r->cap - r->have, deadline_ms);

	if (rc < 0) return rc;
	CHECK(rc > 0 && (size_t)rc <= r->cap - r->have);
	r->have += (size_t)rc;
	return 0;
}

/* The buffer is full and holds no LF: keeps its first half as the line, reads on to the LF through the other
 * half. */
static int read_cut(struct net_line *r, struct str *line, int64_t deadline_ms)
{
	size_t keep = r->cap / 2;
	size_t dropped = r->have - keep;

	for (;;) {
		r->have = keep;
		int rc = fill(r, deadline_ms);
		if (rc < 0) {
			r->at = 0;
			return rc;
		}
		const char *lf = memchr(r->ptr + keep, '\n', r->have - keep);
		if (lf != NULL) {
			r->at = (size_t)(lf - r->ptr) + 1;
			*line = (struct str){r->ptr, keep};
			return 0;
		}
		dropped += r->have - keep;
		if (dropped > NET_LINE_BYTES_MAX) return ERR_PROTOCOL;
	}
}

int net_line_read(struct net_line *r, struct str *line, bool *cut, int64_t deadline_ms)
{
	size_t searched = r->at;

	for (;;) {
		const char *lf = memchr(r->ptr + searched, '\n', r->have - searched);
		if (lf != NULL) {
			size_t len = (size_t)(lf - r->ptr) - r->at;

			*line = (struct str){r->ptr + r->at, len};
			if (len > 0 && line->ptr[len - 1] == '\r') line->len--;
			r->at += len + 1;
			*cut = false;
			return 0;
		}
		if (r->at > 0) {
			memmove(r->ptr, r->ptr + r->at, r->have - r->at);
			r->have -= r->at;
			r->at = 0;
		}
		searched = r->have;
		if (r->have == r->cap) {
			*cut = true;
			return read_cut(r, line, deadline_ms);
		}
		int rc = fill(r, deadline_ms);
		if (rc < 0) return rc;
	}
}
