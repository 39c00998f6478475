/* Originals: their rows, and the sums that tell damage. */
#include <string.h>

#include "store/store_internal.h"

/* ---- sums ---- */

/* Little end first, on every machine. */
static uint64_t load(const unsigned char *p)
{
	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
	       (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Finds damage by chance, not by intent. */
uint64_t store_sum(uint64_t sum, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	unsigned char last[8] = {0};

	for (; len >= 8; p += 8, len -= 8) {
		sum = (sum ^ load(p)) * 0x9e3779b97f4a7c15u;
		sum ^= sum >> 32;
	}
	if (!len) return sum;
	memcpy(last, p, len);
	last[7] = (unsigned char)len;
	return (sum ^ load(last)) * 0x9e3779b97f4a7c15u;
}

uint64_t store_sum_old(uint64_t sum, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	/* FNV-1a */
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * 1099511628211u;
	return sum;
}

/* ---- rows ---- */

#define PAGE_ROOM   (STORE_PAGE - 8) /* of a leaf, behind its header */
#define LOCAL_MAX   (STORE_PAGE - 35)
#define LOCAL_MIN   ((STORE_PAGE - 12) * 32 / 255 - 23)
#define SRC_CUT_MIN 256 /* fewer bytes are not worth a row */

static size_t varint_len(uint64_t n)
{
	size_t len = 1;

	for (; n >= 128 && len < 9; n >>= 7)
		len++;
	return len;
}

/* What a row of src takes of its leaf (sqlite.org/fileformat2.html, 1.6 and 2.1). */
static size_t src_cell(int64_t key, size_t len)
{
	size_t payload = 2 + varint_len(len * 2 + 12) + len, local = payload;

	if (payload > LOCAL_MAX) {
		local = LOCAL_MIN + (payload - LOCAL_MIN) % (STORE_PAGE - 4);
		local = (local > LOCAL_MAX ? LOCAL_MIN : local) + 4;
	}
	return 2 + varint_len(payload) + varint_len((uint64_t)key) + local;
}

/* One row, behind all others. What it leaves of the last page is a guess that costs space only when it is wrong;
 * at first it is known from the next page on. */
static int src_row_put(struct store *s, int64_t key, const char *bytes, size_t len)
{
	int64_t *room = &s->tally.src_room, cell = (int64_t)src_cell(key, len);
	int64_t pages = *room < 0 ? store_space_pages(s) : 0;
	int rc = store_write(s, SQL_SRC_PUT, "ib", key, (const void *)bytes, len);

	if (rc < 0) return rc;
	if (*room >= cell)
		*room -= cell;
	else if (*room >= 0 || (len + 8 <= LOCAL_MAX && store_space_pages(s) > pages))
		*room = PAGE_ROOM - cell;
	return 0;
}

/* How much of an original its first row holds. Two of a little more than half a page would need a page each: so it
 * is cut to what is left of the page where the one before ends. */
static size_t src_first(const struct store *s, int64_t id, size_t len)
{
	int64_t key = STORE_SRC_KEY(id, 0), room = s->tally.src_room;

	if (len < 2 * SRC_CUT_MIN || len > STORE_SRC_CHUNK || room >= (int64_t)src_cell(key, len) ||
	    room < (int64_t)src_cell(key, SRC_CUT_MIN))
		return STORE_SRC_CHUNK;
	size_t first = SRC_CUT_MIN + (size_t)room - src_cell(key, SRC_CUT_MIN);
	return first < len - SRC_CUT_MIN ? first : len - SRC_CUT_MIN;
}

int store_src_put(struct store *s, int64_t id, struct str src)
{
	size_t at = 0, len = src_first(s, id, src.len);
	int rc = 0;

	for (int64_t n = 0; rc >= 0 && at < src.len; n++, len = STORE_SRC_CHUNK) {
		if (len > src.len - at) len = src.len - at;
		rc = src_row_put(s, STORE_SRC_KEY(id, n), src.ptr + at, len);
		at += len;
	}
	return rc;
}

/* A piece of row n from an offset; *have is its length, 0 when there is none. */
static int src_row_get(struct store *s, int64_t key, size_t from, char *bytes, size_t cap, size_t *have,
		       size_t *len)
{
	sqlite3_stmt *st;
	int rc = store_row(s, SQL_SRC_GET, &st, "i", key);

	*have = *len = 0;
	if (rc != 1) return rc;
	const char *chunk = sqlite3_column_blob(st, 0);
	*have = (size_t)sqlite3_column_bytes(st, 0);
	*len = from < *have ? *have - from : 0;
	if (*len > cap) *len = cap;
	if (*len) memcpy(bytes, chunk + from, *len);
	store_end(st);
	return 1;
}

int store_src_get(struct store *s, int64_t id, size_t at, char *bytes, size_t cap, size_t *len)
{
	size_t have, n, first = STORE_SRC_CHUNK;
	int64_t there;
	int rc = 1;

	*len = 0;
	if (at > 0) {
		rc = store_number(s, SQL_SRC_FIRST, &there, "i", STORE_SRC_KEY(id, 0));
		if (rc == 1) first = (size_t)there;
	}
	while (rc == 1 && *len < cap) {
		size_t pos = at + *len, row = pos < first ? 0 : 1 + (pos - first) / STORE_SRC_CHUNK;
		size_t from = row == 0 ? pos : (pos - first) % STORE_SRC_CHUNK;

		rc = src_row_get(s, STORE_SRC_KEY(id, row), from, bytes + *len, cap - *len, &have, &n);
		if (rc != 1) break;
		*len += n;
		if (row == 0) first = have;
		if (n == 0 || (row > 0 && have < STORE_SRC_CHUNK)) break;
	}
	return rc < 0 ? rc : 0;
}
