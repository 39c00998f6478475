/* SQLite's VFS "postern": its own "unix" VFS underneath, a count of what is written, and writes put together.
 *
 * SQLite writes a frame of the WAL in two pieces, a commit of 32 pages in 64. What follows on in one file is put
 * together here, as long as nobody can tell: it goes to the file before that is read there, measured, cut, synced
 * or closed, before any other file is written, and with the last frame of a commit, so that a process that is
 * killed leaves behind what it had committed. A write that fails then is told to whoever caused it, which is in
 * time: of a commit, within it; of pages of a checkpoint, before their sync.
 *
 * It promises SQLite less than "unix" does: no powersafe overwrite (sqlite.org/psow.html: a write that is cut
 * changes no byte beside those written). Flash without a capacitor may spoil the rest of a block whose write was
 * cut; told so, SQLite pads each WAL commit to a sector and never rewrites a committed one. With the promise the
 * frame that ends a commit would share its block with the next one: a cut there spoils what was answered, of which
 * there is no other copy, for the WAL is read up to its first bad frame. It costs a frame a commit, however many
 * mails share that. And no shared memory: the store is the only connection, in exclusive locking mode.
 */
#include <sqlite3.h>
#include <string.h>

#include "base/err.h"
#include "linux/linux.h"

struct vfs_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
	bool together;      /* the database and its WAL; a journal's size is looked at by its name */
	bool wal;
	bool commit; /* the frame that is being written ends a transaction */
};

#define WAL_FRAME_HEADER 24

/* What was written and is not in the file yet. */
static struct {
	struct vfs_file *file;
	sqlite3_int64 at;
	int len;
	unsigned char bytes[8 * (WAL_FRAME_HEADER + 4096)];
} pending;

static sqlite3_vfs *under;
static sqlite3_vfs vfs;

static struct vfs_file *file_of(sqlite3_file *f)
{
	return (struct vfs_file *)(void *)f;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
	return file_of(f)->real;
}

static int flush(void)
{
	sqlite3_file *real = pending.len > 0 ? pending.file->real : NULL;
	int len = pending.len;

	pending.len = 0;
	return len > 0 ? real->pMethods->xWrite(real, pending.bytes, len, pending.at) : SQLITE_OK;
}

static int flush_of(sqlite3_file *f)
{
	return pending.file == file_of(f) ? flush() : SQLITE_OK;
}

static int file_close(sqlite3_file *f)
{
	int rc = flush_of(f);
	int closed = real_of(f)->pMethods->xClose(real_of(f));

	return rc != SQLITE_OK ? rc : closed;
}

static int file_read(sqlite3_file *f, void *bytes, int len, sqlite3_int64 at)
{
	int rc = at < pending.at + pending.len && pending.at < at + len ? flush_of(f) : SQLITE_OK;

	return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xRead(real_of(f), bytes, len, at);
}

static int file_write(sqlite3_file *f, const void *bytes, int len, sqlite3_int64 at)
{
	struct vfs_file *file = file_of(f);
	const unsigned char *head = bytes;
	int rc = SQLITE_OK;

	linux_storage_count(len, 0);
	if (pending.file != file || at != pending.at + pending.len ||
	    len > (int)sizeof pending.bytes - pending.len) {
		rc = flush();
		pending.file = file;
		pending.at = at;
	}
	if (rc != SQLITE_OK) return rc;
	if (len > (int)sizeof pending.bytes || !file->together)
		return file->real->pMethods->xWrite(file->real, bytes, len, at);
	memcpy(pending.bytes + pending.len, bytes, (size_t)len);
	pending.len += len;
	if (!file->wal) return SQLITE_OK;
	/* The size of the database after the transaction, in the header of its last frame; else 0. */
	if (len == WAL_FRAME_HEADER)
		file->commit = (head[4] | head[5] | head[6] | head[7]) != 0;
	else if (file->commit)
		return flush();
	return SQLITE_OK;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 len)
{
	int rc = flush_of(f);

	return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xTruncate(real_of(f), len);
}

static int file_sync(sqlite3_file *f, int flags)
{
	int rc = flush_of(f);

	linux_storage_count(0, 1);
	return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *len)
{
	int rc = flush_of(f);

	return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xFileSize(real_of(f), len);
}

static int file_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int file_check_reserved(sqlite3_file *f, int *out)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	if (op == SQLITE_FCNTL_VFSNAME) {
		*(char **)arg = sqlite3_mprintf("postern/unix");
		return SQLITE_OK;
	}
	int rc = flush_of(f);

	return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int file_sector_size(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int file_characteristics(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f)) & ~SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods file_methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
	struct vfs_file *file = file_of(f);

	(void)v;
	file->together = (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0;
	file->wal = (flags & SQLITE_OPEN_WAL) != 0;
	file->commit = false;
	file->real = (sqlite3_file *)(void *)&file[1];
	int rc = under->xOpen(under, name, file->real, flags, out_flags);
	file->base.pMethods = file->real->pMethods != NULL ? &file_methods : NULL;
	return rc;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
	int rc = flush();

	(void)v;
	linux_storage_count(0, sync_dir ? 1 : 0);
	return rc != SQLITE_OK ? rc : under->xDelete(under, name, sync_dir);
}

int linux_vfs_register(void)
{
	under = sqlite3_vfs_find("unix");
	if (under == NULL) return ERR_NO_MEMORY;
	vfs = *under;
	vfs.zName = "postern";
	vfs.pNext = NULL;
	vfs.szOsFile = (int)sizeof(struct vfs_file) + under->szOsFile;
	vfs.xOpen = vfs_open;
	vfs.xDelete = vfs_delete;
	return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? 0 : ERR_NO_MEMORY;
}

void linux_vfs_unregister(void)
{
	if (under != NULL) sqlite3_vfs_unregister(&vfs);
	under = NULL;
}
