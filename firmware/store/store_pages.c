#include "store/store_pages.h"

#include <stdio.h>
#include <string.h>

#define WAL_HEADER   32
#define FRAME_HEADER 24
#define FRAME        (FRAME_HEADER + STORE_PAGE)
#define MAP_ENTRIES  820 /* usable / 5 + 1: pages from one pointer map page to the next */

#define LEAF_TABLE  0x0d
#define LEAF_INDEX  0x0a
#define INNER_INDEX 0x02

static uint32_t be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static unsigned be16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* ---- the WAL ---- */

static uint32_t word(const unsigned char *p, bool big)
{
	return big ? be32(p) : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void checksum(const unsigned char *bytes, size_t len, bool big, uint32_t sum[2])
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		sum[0] += word(bytes + i, big) + sum[1];
		sum[1] += word(bytes + i + 4, big) + sum[0];
	}
}

static bool read_exactly(struct hal_file *f, int64_t at, unsigned char *out, size_t len)
{
	for (size_t got = 0; got < len;) {
		int rc = hal_file_read(f, at + (int64_t)got, out + got, len - got);

		if (rc <= 0) return false;
		got += (size_t)rc;
	}
	return true;
}

/* Each frame's checksum goes on from that of the frame before. */
static bool frame_good(struct pages *p, uint32_t i, const unsigned char *salts, bool big,
		       unsigned char *before, unsigned char *header)
{
	uint32_t sum[2] = {be32(before), be32(before + 4)};
	int64_t at = WAL_HEADER + (int64_t)i * FRAME;

	if (!read_exactly(&p->wal, at, header, FRAME_HEADER)) return false;
	memcpy(before, header + 16, 8);
	if (memcmp(header + 8, salts, 8) != 0 ||
	    !read_exactly(&p->wal, at + FRAME_HEADER, p->page, STORE_PAGE))
		return false;
	checksum(header, 8, big, sum);
	checksum(p->page, STORE_PAGE, big, sum);
	return sum[0] == be32(header + 16) && sum[1] == be32(header + 20) && be32(header) != 0;
}

static bool host_is_big(void)
{
	const uint16_t one = 1;

	return *(const unsigned char *)&one == 0;
}

static int wal_index(struct pages *p)
{
	unsigned char header[WAL_HEADER], frame[FRAME_HEADER], before[8];
	int64_t size = hal_file_size(&p->wal);
	uint32_t frames = size > WAL_HEADER ? (uint32_t)((size - WAL_HEADER) / FRAME) : 0, commit = 0;

	if (!frames || !read_exactly(&p->wal, 0, header, sizeof header)) return 0;
	bool good = (be32(header) & 0xfffffffe) == 0x377f0682 && be32(header + 8) == STORE_PAGE;
	bool big = good ? be32(header) & 1 : host_is_big();
	memcpy(before, header + 24, 8);
	p->frames = sqlite3_malloc64((sqlite3_uint64)frames * sizeof *p->frames);
	if (!p->frames) return ERR_NO_MEMORY;
	uint32_t i = 0;
	if (!good) {
		/* A lost header costs nothing: the first frame repeats its salts and begins the chain. */
		if (!read_exactly(&p->wal, WAL_HEADER, frame, sizeof frame)) return 0;
		memcpy(header + 16, frame + 8, 8);
		memcpy(before, frame + 16, 8);
		p->frames[i++] = be32(frame);
	}
	/* As in SQLite the first bad frame ends it: what lies behind may be left from before a power cut,
	 * older than the pages it would replace, and never answered. */
	for (; i < frames && frame_good(p, i, header + 16, big, before, frame); i++) {
		p->frames[i] = be32(frame);
		if (be32(frame + 4)) commit = i + 1;
	}
	for (i = 0; i < commit; i++) {
		if (p->frames[i] > p->count && p->frames[i] < 1u << 24) p->count = p->frames[i];
	}
	p->frame_count = commit;
	return 0;
}

/* ---- pages ---- */

int pages_open(struct pages *p, const char *name)
{
	char wal[64];
	int rc;

	memset(p, 0, sizeof *p);
	rc = hal_file_open(&p->db, name, HAL_FILE_READ);
	if (rc < 0) return rc;
	p->have_db = true;
	int64_t size = hal_file_size(&p->db);
	if (size > 0) p->count = (uint32_t)((size + STORE_PAGE - 1) / STORE_PAGE);
	snprintf(wal, sizeof wal, "%s-wal", name);
	p->have_wal = hal_file_open(&p->wal, wal, HAL_FILE_READ) == 0;
	rc = p->have_wal ? wal_index(p) : 0;
	if (rc < 0) pages_close(p);
	return rc;
}

void pages_close(struct pages *p)
{
	if (p->have_db) hal_file_close(&p->db);
	if (p->have_wal) hal_file_close(&p->wal);
	sqlite3_free(p->frames);
	p->have_db = p->have_wal = false;
	p->frames = NULL;
}

bool pages_read(struct pages *p, uint32_t number, unsigned char *out)
{
	if (number == 0 || number > p->count) return false;
	for (uint32_t i = p->frame_count; i-- > 0;) {
		if (p->frames[i] == number)
			return read_exactly(&p->wal, WAL_HEADER + (int64_t)i * FRAME + FRAME_HEADER, out,
					    STORE_PAGE);
	}
	/* The last page of a file that was cut may be there in part. */
	memset(out, 0, STORE_PAGE);
	int64_t at = (int64_t)(number - 1) * STORE_PAGE;
	for (size_t got = 0; got < STORE_PAGE;) {
		int rc = hal_file_read(&p->db, at + (int64_t)got, out + got, STORE_PAGE - got);

		if (rc < 0) return false;
		if (rc == 0) break;
		got += (size_t)rc;
	}
	return true;
}

/* What the pointer map says of a page: 1 a root, 2 free, 3 and 4 overflow, 5 of a tree; 0 when it says
 * nothing. */
static unsigned map_type(struct pages *p, uint32_t number)
{
	uint32_t map = (number - 2) / MAP_ENTRIES * MAP_ENTRIES + 2;
	unsigned type;

	if (number < 3 || number == map) return 0;
	if (p->map_at != map) {
		p->map_at = map;
		if (!pages_read(p, map, p->map)) memset(p->map, 0, sizeof p->map);
	}
	type = p->map[5 * (number - map - 1)];
	return type <= 5 ? type : 0;
}

/* ---- rows ---- */

/* Bytes used, 0 when it does not end. */
static size_t varint(const unsigned char *p, const unsigned char *end, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < 9 && p + i < end; i++) {
		if (i == 8) {
			*out = *out << 8 | p[i];
			return 9;
		}
		*out = *out << 7 | (p[i] & 0x7f);
		if (!(p[i] & 0x80)) return i + 1;
	}
	return 0;
}

static size_t value_size(uint64_t serial)
{
	static const unsigned char sizes[12] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};

	return serial < 12 ? sizes[serial] : (size_t)((serial - 12) / 2);
}

static void value_read(struct pages_value *v, uint64_t serial, const unsigned char *bytes, size_t len)
{
	uint64_t n = len && (bytes[0] & 0x80) ? UINT64_MAX : 0;

	*v = (struct pages_value){.type = PAGES_INT, .bytes = bytes, .len = len};
	if (serial == 0 || serial == 10 || serial == 11)
		v->type = PAGES_NULL;
	else if (serial == 7)
		v->type = PAGES_REAL;
	else if (serial == 8 || serial == 9)
		v->n = (int64_t)serial - 8;
	else if (serial >= 12)
		v->type = serial & 1 ? PAGES_TEXT : PAGES_BLOB;
	if (serial < 1 || serial > 6) return;
	for (size_t i = 0; i < len; i++)
		n = n << 8 | bytes[i];
	v->n = (int64_t)n;
}

static bool record_read(const unsigned char *bytes, size_t len, struct pages_row *row)
{
	const unsigned char *end = bytes + len, *head = bytes, *head_end, *body;
	uint64_t head_len, serial;
	size_t n = varint(bytes, end, &head_len);

	row->columns = 0;
	if (n == 0 || head_len < n || head_len > len) return false;
	head_end = body = bytes + head_len;
	head += n;
	while (head < head_end) {
		n = varint(head, head_end, &serial);
		if (n == 0 || serial == 10 || serial == 11 || row->columns == PAGES_COLUMNS_MAX) return false;
		head += n;
		size_t size = value_size(serial);
		if (size > (size_t)(end - body)) return false;
		value_read(&row->values[row->columns++], serial, body, size);
		body += size;
	}
	return body == end;
}

/* Collects a payload that goes on in overflow pages. */
static bool payload_read(struct pages *p, const unsigned char *local, size_t local_len, size_t len)
{
	uint32_t next = be32(local + local_len);

	memcpy(p->payload, local, local_len);
	for (size_t got = local_len; got < len;) {
		if (!pages_read(p, next, p->more)) return false;
		size_t n = len - got < STORE_PAGE - 4 ? len - got : STORE_PAGE - 4;
		memcpy(p->payload + got, p->more + 4, n);
		got += n;
		next = be32(p->more);
	}
	return true;
}

static bool cell_read(struct pages *p, unsigned kind, const unsigned char *cell, struct pages_row *row)
{
	const unsigned char *end = p->page + STORE_PAGE;
	uint64_t len, rowid = 0;
	size_t n, max = kind == LEAF_TABLE ? STORE_PAGE - 35 : (STORE_PAGE - 12) * 64 / 255 - 23;

	if (kind == INNER_INDEX) cell += 4; /* the child to its left */
	if (cell >= end || (n = varint(cell, end, &len)) == 0) return false;
	cell += n;
	if (kind == LEAF_TABLE) {
		if ((n = varint(cell, end, &rowid)) == 0) return false;
		cell += n;
	}
	if (len > sizeof p->payload) return false;
	row->is_index = kind != LEAF_TABLE;
	row->rowid = (int64_t)rowid;
	if (len <= max) return len <= (size_t)(end - cell) && record_read(cell, (size_t)len, row);
	size_t min = (STORE_PAGE - 12) * 32 / 255 - 23, local = min + ((size_t)len - min) % (STORE_PAGE - 4);
	if (local > max) local = min;
	if (local + 4 > (size_t)(end - cell)) return false;
	return payload_read(p, cell, local, (size_t)len) && record_read(p->payload, (size_t)len, row);
}

static int page_walk(struct pages *p, bool doubtful, int (*fn)(void *arg, const struct pages_row *row),
		     void *arg)
{
	struct pages_row row;
	unsigned kind = p->page[0];
	size_t head = kind == INNER_INDEX ? 12 : 8;

	if (kind != LEAF_TABLE && kind != LEAF_INDEX && kind != INNER_INDEX) return 0;
	unsigned cells = be16(p->page + 3);
	if (head + 2 * (size_t)cells > STORE_PAGE) {
		p->bad_pages++;
		cells = (unsigned)(STORE_PAGE - head) / 2;
	}
	for (unsigned i = 0; i < cells; i++) {
		unsigned at = be16(p->page + head + 2 * i);

		row.doubtful = doubtful;
		if (at < head || at >= STORE_PAGE || !cell_read(p, kind, p->page + at, &row)) {
			p->bad_cells++;
			continue;
		}
		int rc = fn(arg, &row);
		if (rc < 0) return rc;
	}
	return 0;
}

int pages_walk(struct pages *p, int (*fn)(void *arg, const struct pages_row *row), void *arg)
{
	for (int pass = 0; pass < 2; pass++) {
		/* Page 1 holds only the schema, which is ours to know. */
		for (uint32_t n = 3; n <= p->count; n++) {
			unsigned type = map_type(p, n);
			bool doubtful = type != 1 && type != 5;

			if (doubtful != (pass == 1)) continue;
			if (!pages_read(p, n, p->page)) {
				p->bad_pages++;
				continue;
			}
			int rc = page_walk(p, doubtful, fn, arg);
			if (rc < 0) return rc;
		}
	}
	return 0;
}
