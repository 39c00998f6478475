/* store_pages: rows out of a damaged database, by its file format alone (sqlite.org/fileformat2.html),
 * without SQLite.
 *
 * Every page is looked at by itself, so that a lost root, header or interior page costs only the rows on it.
 * The WAL's frames count as in SQLite, up to the first damaged one; a damaged WAL header costs nothing.
 * Nothing is written. */
#ifndef POSTERN_STORE_PAGES_H
#define POSTERN_STORE_PAGES_H

#include "hal_storage.h"
#include "store/store_internal.h"

#define PAGES_COLUMNS_MAX 40

struct pages_value {
	enum { PAGES_NULL, PAGES_INT, PAGES_REAL, PAGES_TEXT, PAGES_BLOB } type;
	int64_t n;
	const unsigned char *bytes;
	size_t len;
};

struct pages_row {
	bool is_index; /* of a WITHOUT ROWID table or an index; else of a table, with rowid */
	bool doubtful; /* on a page that the pointer map calls free: probably an old version */
	int64_t rowid;
	size_t columns;
	struct pages_value values[PAGES_COLUMNS_MAX];
};

struct pages {
	struct hal_file db, wal;
	bool have_db, have_wal;
	uint32_t count;   /* pages */
	uint32_t *frames; /* page number of each frame */
	uint32_t frame_count;
	uint32_t map_at;              /* the pointer map page in map */
	int64_t bad_cells, bad_pages; /* seen by the walk */
	unsigned char map[STORE_PAGE], page[STORE_PAGE], more[STORE_PAGE];
	unsigned char payload[STORE_SRC_CHUNK + STORE_PAGE];
};

/* Errors: of hal_storage; a WAL that cannot be read is left out. */
int pages_open(struct pages *p, const char *name);
void pages_close(struct pages *p);
/* False when it cannot be read. */
bool pages_read(struct pages *p, uint32_t number, unsigned char *out);
/* Calls fn for each row of each leaf: first the pages in use, then (doubtful) all others. fn's error ends the
 * walk. */
int pages_walk(struct pages *p, int (*fn)(void *arg, const struct pages_row *row), void *arg);

#endif
