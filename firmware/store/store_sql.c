/* SQLite in the words of this room: every statement is prepared once, bound by a short format, and reset by
 * the end of the operation that used it, so that none is open when a group is committed. */
#include <stdarg.h>
#include <string.h>

#include "store/store_internal.h"

static const char *const sql_text[SQL_COUNT] = {
#define SQL(name, text) [SQL_##name] = text,
#include "store_sql.def"
#undef SQL
};

int store_err(struct store *s, int sqlite_rc)
{
	switch (sqlite_rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE: return 0;
	case SQLITE_FULL: s->trouble = STORE_TROUBLE_FULL; return ERR_NO_SPACE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: s->trouble = STORE_TROUBLE_CORRUPT; return ERR_CORRUPT;
	case SQLITE_NOMEM: return ERR_NO_MEMORY;
	case SQLITE_IOERR:
		if (sqlite_rc == SQLITE_IOERR_NOMEM) return ERR_NO_MEMORY;
		if (sqlite_rc == SQLITE_IOERR_CORRUPTFS) {
			s->trouble = STORE_TROUBLE_CORRUPT;
			return ERR_CORRUPT;
		}
		s->trouble = STORE_TROUBLE_IO;
		return ERR_IO;
	case SQLITE_BUSY:
	case SQLITE_LOCKED: return ERR_BUSY;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		s->trouble = STORE_TROUBLE_IO; /* reopening finds out what is still possible */
		return ERR_READ_ONLY;
	case SQLITE_TOOBIG: return ERR_TOO_LARGE;
	default: /* CANTOPEN, PROTOCOL, and what only a bug can cause: a fresh connection is the cure for all
		  */
		s->trouble = STORE_TROUBLE_IO;
		return ERR_IO;
	}
}

static void bind_str(sqlite3_stmt *st, int i, struct str v, int *rc)
{
	*rc |= sqlite3_bind_text(st, i, v.ptr ? v.ptr : "", (int)v.len, SQLITE_STATIC);
}

static int bind_all(sqlite3_stmt *st, const char *format, va_list ap)
{
	int rc = SQLITE_OK;

	for (int i = 1; *format; format++, i++) {
		const void *bytes;

		switch (*format) {
		case 'i': rc |= sqlite3_bind_int64(st, i, va_arg(ap, int64_t)); break;
		case 's': bind_str(st, i, va_arg(ap, struct str), &rc); break;
		case 'z': rc |= sqlite3_bind_text(st, i, va_arg(ap, const char *), -1, SQLITE_STATIC); break;
		case 'b':
			bytes = va_arg(ap, const void *);
			rc |= sqlite3_bind_blob(st, i, bytes, (int)va_arg(ap, size_t), SQLITE_STATIC);
			break;
		case 'n': rc |= sqlite3_bind_null(st, i); break;
		default: CHECK(false);
		}
	}
	return rc;
}

static int query(struct store *s, enum store_sql which, sqlite3_stmt **out, const char *format, va_list ap)
{
	int rc;

	*out = NULL;
	if (!s->statements[which]) {
		rc = sqlite3_prepare_v3(s->db, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT,
					&s->statements[which], NULL);
		if (rc) return store_err(s, rc);
	}
	sqlite3_reset(s->statements[which]);
	rc = bind_all(s->statements[which], format, ap);
	if (rc) return rc == SQLITE_NOMEM ? ERR_NO_MEMORY : store_err(s, rc);
	*out = s->statements[which];
	return 0;
}

int store_query(struct store *s, enum store_sql which, sqlite3_stmt **out, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	int rc = query(s, which, out, format, ap);
	va_end(ap);
	return rc;
}

int store_step(struct store *s, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW) return 1;
	/* The extended code comes from step (prepare_v3); reset would only say it again. */
	sqlite3_reset(st);
	return store_err(s, rc);
}

int store_row(struct store *s, enum store_sql which, sqlite3_stmt **out, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	int rc = query(s, which, out, format, ap);
	va_end(ap);
	return rc < 0 ? rc : store_step(s, *out);
}

int store_write(struct store *s, enum store_sql which, const char *format, ...)
{
	sqlite3_stmt *st;
	va_list ap;
	int rc = store_begin(s);

	if (rc < 0) return rc;
	va_start(ap, format);
	rc = query(s, which, &st, format, ap);
	va_end(ap);
	if (rc < 0) return rc;
	do {
		rc = store_step(s, st);
	} while (rc == 1);
	/* What was bound belongs to the caller and does not outlive this call. */
	sqlite3_clear_bindings(st);
	return rc < 0 ? rc : sqlite3_changes(s->db);
}

int store_number(struct store *s, enum store_sql which, int64_t *out, const char *format, ...)
{
	sqlite3_stmt *st;
	va_list ap;

	*out = 0;
	va_start(ap, format);
	int rc = query(s, which, &st, format, ap);
	va_end(ap);
	if (rc < 0) return rc;
	rc = store_step(s, st);
	if (rc != 1) return rc;
	*out = sqlite3_column_int64(st, 0);
	store_end(st);
	return 1;
}

void store_end(sqlite3_stmt *st)
{
	if (!st) return;
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

struct str store_column_str(sqlite3_stmt *st, int column)
{
	const char *text = (const char *)sqlite3_column_text(st, column);

	return (struct str){text, text ? (size_t)sqlite3_column_bytes(st, column) : 0};
}

void store_column(sqlite3_stmt *st, int column, char *out, size_t cap)
{
	struct str v = store_column_str(st, column);

	if (v.len >= cap) {
		v.len = cap - 1;
		while (v.len && ((unsigned char)v.ptr[v.len] & 0xc0) == 0x80)
			v.len--;
	}
	if (v.len) memcpy(out, v.ptr, v.len);
	out[v.len] = '\0';
}

int store_exec(struct store *s, const char *sql)
{
	return store_err(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

int store_begin(struct store *s)
{
	if (s->in_tx) return 0;
	if (s->read_only) return ERR_READ_ONLY;
	int rc = store_exec(s, "BEGIN IMMEDIATE");
	if (rc == 0) s->in_tx = true;
	return rc;
}

int store_commit(struct store *s)
{
	if (!s->in_tx) return 0;
	int rc = store_exec(s, "COMMIT");
	if (rc == 0) s->in_tx = false;
	return rc;
}

void store_rollback(struct store *s)
{
	for (int i = 0; i < SQL_COUNT; i++)
		store_end(s->statements[i]);
	/* After some errors SQLite has rolled back by itself; then there is nothing to do and nothing to
	 * report. */
	if (s->db && !sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	s->in_tx = false;
}

void store_finalize_all(struct store *s)
{
	for (int i = 0; i < SQL_COUNT; i++) {
		sqlite3_finalize(s->statements[i]);
		s->statements[i] = NULL;
	}
}
