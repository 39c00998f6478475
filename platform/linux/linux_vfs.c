/* SQLite's VFS "postern": its own "unix" VFS underneath, and a count of what is written.
 *
 * It promises SQLite less than "unix" does: no powersafe overwrite. Flash without a capacitor may spoil the
 * rest of a block whose write was cut; told so, SQLite pads each WAL commit to a sector and never rewrites
 * a committed one. And no shared memory: the store is the only connection, in exclusive locking mode.
 */
#include <sqlite3.h>

#include "base/err.h"
#include "linux/linux.h"

struct vfs_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *under;
static sqlite3_vfs vfs;

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct vfs_file *)(void *)f)->real;
}

static int file_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int file_read(sqlite3_file *f, void *bytes, int len, sqlite3_int64 at)
{
	return real_of(f)->pMethods->xRead(real_of(f), bytes, len, at);
}

static int file_write(sqlite3_file *f, const void *bytes, int len, sqlite3_int64 at)
{
	linux_storage_count(len, 0);
	return real_of(f)->pMethods->xWrite(real_of(f), bytes, len, at);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 len)
{
	return real_of(f)->pMethods->xTruncate(real_of(f), len);
}

static int file_sync(sqlite3_file *f, int flags)
{
	linux_storage_count(0, 1);
	return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *len)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), len);
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
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
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
	struct vfs_file *file = (struct vfs_file *)(void *)f;

	(void)v;
	file->real = (sqlite3_file *)(void *)&file[1];
	int rc = under->xOpen(under, name, file->real, flags, out_flags);
	file->base.pMethods = file->real->pMethods != NULL ? &file_methods : NULL;
	return rc;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
	(void)v;
	linux_storage_count(0, sync_dir ? 1 : 0);
	return under->xDelete(under, name, sync_dir);
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
