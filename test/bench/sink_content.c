/* What comes by of a mail's content: its lines are checked, its Message-ID is remembered, nothing is kept. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sink.h"

#define LINE_BYTES 998 /* RFC 5322 section 2.1.1, without CR LF */

/* Message-IDs seen, as 64-bit hashes, open addressing. */
struct seen {
	uint64_t id;
	uint32_t times;
};
static struct seen *seen;
static size_t seen_size, seen_used;

static struct seen *seen_slot(uint64_t id)
{
	size_t i = id & (seen_size - 1);

	while (seen[i].times > 0 && seen[i].id != id)
		i = (i + 1) & (seen_size - 1);
	return &seen[i];
}

static void seen_grow(void)
{
	struct seen *old = seen;
	size_t old_size = seen_size;

	seen_size = old_size > 0 ? old_size * 2 : 65536;
	seen = calloc(seen_size, sizeof(*seen));
	if (!seen) die("memory");
	for (size_t i = 0; i < old_size; i++)
		if (old[i].times > 0) *seen_slot(old[i].id) = old[i];
	free(old);
}

static void seen_add(uint64_t id)
{
	struct seen *s;

	if (2 * seen_used >= seen_size) seen_grow();
	s = seen_slot(id);
	if (s->times == 0) {
		s->id = id;
		seen_used++;
		stats.distinct++;
	} else {
		stats.doubled++;
	}
	if (++s->times > stats.most_of_one) stats.most_of_one = s->times;
}

static uint64_t hash(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
	h ^= h >> 29;
	return h ? h : 1;
}

void content_forget(void)
{
	if (seen) memset(seen, 0, seen_size * sizeof(*seen));
	seen_used = 0;
}

/* ---- Lines ---- */

void content_begin(struct content *t)
{
	memset(t, 0, sizeof(*t));
	t->bol = t->header = true;
}

static void take_id(struct content *t, const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (end > p && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
		end--;
	if (p < end) t->id = hash(p, (size_t)(end - p));
	t->id_folds = p == end;
}

static void header_line(struct content *t)
{
	static const char name[] = "message-id:";
	const char *end = t->head + t->head_len;

	if (t->head_len <= 2) {
		t->header = false;
	} else if (t->id_folds && (t->head[0] == ' ' || t->head[0] == '\t')) {
		take_id(t, t->head, end);
	} else {
		t->id_folds = false;
		if (t->head_len > sizeof(name) && strncasecmp(t->head, name, sizeof(name) - 1) == 0)
			take_id(t, t->head + sizeof(name) - 1, end);
	}
	t->head_len = 0;
}

void content_piece(struct content *t, const char *p, size_t n, bool ends)
{
	size_t text = n;

	if (t->cr && p[0] != '\n') violate(BARE_CR);
	if (ends) {
		if (n > 1 ? p[n - 2] != '\r' : !t->cr) violate(BARE_LF);
		text = n > 1 ? n - 2 : 0;
		t->cr = false;
	} else {
		t->cr = p[n - 1] == '\r';
		text = n - (t->cr ? 1 : 0);
	}
	if (text > 0 && memchr(p, '\r', text)) violate(BARE_CR);
	t->line += n;
	t->size += n;
	if (ends && t->line > LINE_BYTES + 2) violate(LONG_LINE);
	if (t->header) {
		size_t fits = sizeof(t->head) - t->head_len;

		memcpy(t->head + t->head_len, p, n < fits ? n : fits);
		t->head_len += (unsigned)(n < fits ? n : fits);
		if (ends) header_line(t);
	}
	t->bol = ends;
	if (ends) t->line = 0;
}

void content_take(struct content *t, const char *p, size_t n)
{
	while (n > 0) {
		const char *lf = memchr(p, '\n', n);
		size_t len = lf ? (size_t)(lf - p) + 1 : n;

		content_piece(t, p, len, lf != NULL);
		p += len;
		n -= len;
	}
}

void content_end(struct content *t)
{
	if (!t->bol) violate(BARE_LF); /* the last line has no end */
	if (t->id == 0)
		violate(NO_MESSAGE_ID);
	else
		seen_add(t->id);
	stats.mails++;
	stats.bytes += t->size;
	if (stats.smallest == 0 || t->size < stats.smallest) stats.smallest = t->size;
	if (t->size > stats.largest) stats.largest = t->size;
}
