/* It does what SQLite's unix VFS (os_unix.c) does with a disk, and no more:
 *
 * - a rollback journal or WAL that xOpen created gets its directory synced at its first xSync; a main
 *   database does not, so a new database's name is safe only by that or by hal_storage_sync_dir;
 * - xDelete syncs the directory when SQLite asks for it;
 * - no shared memory (io methods version 1), so WAL wants locking_mode=EXCLUSIVE, as with linux/'s shim;
 * - no device characteristics: neither atomic nor sequential nor safe-append writes, and no powersafe
 *   overwrite. A torn write may spoil the rest of its granule (SIM_DAMAGE_TEAR does), so SQLite pads each
 *   WAL commit to a sector.
 *
 * Every write, truncate, sync, create and delete is one op of the disk, hence a crash point.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_entropy.h"
#include "hal_storage.h"
#include "common/common.h"
#include "sim_fs.h"
#include "sim_vfs.h"

#define FLAGS_JOURNAL (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL | SQLITE_OPEN_SUPER_JOURNAL)

struct vfs_file {
	sqlite3_file base;
	struct sim_node *node;
	char path[HAL_PATH_MAX]; /* "" for a file without a name */
	int level;               /* SQLITE_LOCK_ */
	bool sync_dir;           /* the name is not safe yet */
	bool delete_on_close;
	bool persist_wal;
};

static struct vfs_file *of(sqlite3_file *f)
{
	return (struct vfs_file *)(void *)f;
}

static int code_of(int err, int io)
{
	switch (err) {
	case ERR_NO_SPACE: return SQLITE_FULL;
	case ERR_NO_MEMORY: return SQLITE_NOMEM;
	case ERR_BUSY: return SQLITE_BUSY;
	default: return io;
	}
}

/* ---- files ---- */

static void unlock_to(struct vfs_file *f, int level)
{
	struct sim_locks *l = sim_fs_locks(f->node);

	if (f->level > SQLITE_LOCK_SHARED && level <= SQLITE_LOCK_SHARED) {
		l->exclusive = l->pending = l->reserved = false;
		f->level = SQLITE_LOCK_SHARED;
	}
	if (f->level == SQLITE_LOCK_SHARED && level == SQLITE_LOCK_NONE) {
		l->shared--;
		f->level = SQLITE_LOCK_NONE;
	}
}

static int file_close(sqlite3_file *base)
{
	struct vfs_file *f = of(base);
	char dir[HAL_PATH_MAX];

	unlock_to(f, SQLITE_LOCK_NONE);
	if (f->delete_on_close && f->path[0] != '\0') {
		common_path_dir(f->path, dir);
		if (sim_fs_find(f->path) == f->node) sim_fs_remove(f->path);
	}
	sim_fs_drop(f->node);
	f->node = NULL;
	return SQLITE_OK;
}

static int file_read(sqlite3_file *base, void *bytes, int len, sqlite3_int64 at)
{
	int rc = sim_fs_begin(SIM_DISK_READ);

	if (rc < 0) return code_of(rc, SQLITE_IOERR_READ);
	size_t got = sim_fs_read(of(base)->node, at, bytes, (size_t)len);
	if (got == (size_t)len) return SQLITE_OK;
	memset((char *)bytes + got, 0, (size_t)len - got);
	return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 at)
{
	int rc = sim_fs_write(of(base)->node, at, bytes, (size_t)len);

	return rc < 0 ? code_of(rc, SQLITE_IOERR_WRITE) : SQLITE_OK;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 len)
{
	int rc = sim_fs_truncate(of(base)->node, len);

	return rc < 0 ? code_of(rc, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

static int file_sync(sqlite3_file *base, int flags)
{
	struct vfs_file *f = of(base);
	char dir[HAL_PATH_MAX];
	int rc = sim_fs_sync(f->node);

	(void)flags;
	if (rc < 0) return code_of(rc, SQLITE_IOERR_FSYNC);
	if (f->sync_dir) {
		common_path_dir(f->path, dir);
		rc = sim_fs_sync_dir(dir);
		f->sync_dir = false;
		if (rc < 0) return code_of(rc, SQLITE_IOERR_DIR_FSYNC);
	}
	return SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *len)
{
	int rc = sim_fs_begin(SIM_DISK_SIZE);

	if (rc < 0) return code_of(rc, SQLITE_IOERR_FSTAT);
	*len = sim_fs_size(of(base)->node);
	return SQLITE_OK;
}

static int file_lock(sqlite3_file *base, int level)
{
	struct vfs_file *f = of(base);
	struct sim_locks *l = sim_fs_locks(f->node);
	int rc = sim_fs_begin(SIM_DISK_LOCK);

	if (rc < 0) return code_of(rc, SQLITE_IOERR_LOCK);
	if (f->level >= level) return SQLITE_OK;
	if (f->level == SQLITE_LOCK_NONE) {
		if (l->pending || l->exclusive) return SQLITE_BUSY;
		l->shared++;
		f->level = SQLITE_LOCK_SHARED;
	}
	if (level >= SQLITE_LOCK_RESERVED && f->level < SQLITE_LOCK_RESERVED) {
		if (l->reserved) return SQLITE_BUSY;
		l->reserved = true;
		f->level = SQLITE_LOCK_RESERVED;
	}
	if (level == SQLITE_LOCK_EXCLUSIVE) {
		l->pending = true;
		f->level = SQLITE_LOCK_PENDING;
		if (l->shared > 1) return SQLITE_BUSY;
		l->exclusive = true;
		f->level = SQLITE_LOCK_EXCLUSIVE;
	}
	return SQLITE_OK;
}

static int file_unlock(sqlite3_file *base, int level)
{
	unlock_to(of(base), level);
	return SQLITE_OK;
}

static int file_check_reserved(sqlite3_file *base, int *out)
{
	int rc = sim_fs_begin(SIM_DISK_LOCK);

	if (rc < 0) return SQLITE_IOERR_CHECKRESERVEDLOCK;
	*out = sim_fs_locks(of(base)->node)->reserved;
	return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int op, void *arg)
{
	struct vfs_file *f = of(base);
	int *flag = arg;

	switch (op) {
	case SQLITE_FCNTL_PERSIST_WAL:
		if (*flag < 0)
			*flag = f->persist_wal;
		else
			f->persist_wal = *flag != 0;
		return SQLITE_OK;
	case SQLITE_FCNTL_LOCKSTATE: *flag = f->level; return SQLITE_OK;
	case SQLITE_FCNTL_HAS_MOVED:
		*flag = f->path[0] != '\0' && sim_fs_find(f->path) != f->node;
		return SQLITE_OK;
	case SQLITE_FCNTL_VFSNAME: *(char **)arg = sqlite3_mprintf("postern/sim"); return SQLITE_OK;
	case SQLITE_FCNTL_SIZE_HINT:
	case SQLITE_FCNTL_CHUNK_SIZE: return SQLITE_OK;
	default: return SQLITE_NOTFOUND;
	}
}

static int file_sector_size(sqlite3_file *base)
{
	unsigned bytes = sim_world.faults.disk.sector_bytes;

	(void)base;
	return bytes == 0 ? 4096 : (int)bytes;
}

static int file_characteristics(sqlite3_file *base)
{
	(void)base;
	return 0;
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

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *full, sqlite3_file *base, int flags, int *out_flags)
{
	static unsigned nameless;
	struct vfs_file *f = of(base);
	int rc = sim_fs_begin(SIM_DISK_OPEN);

	(void)vfs;
	memset(f, 0, sizeof *f);
	if (rc < 0) return code_of(rc, SQLITE_CANTOPEN);
	if (full != NULL)
		sim_fs_path(full, f->path);
	else
		snprintf(f->path, sizeof f->path, "/sqlite-temp-%u", nameless++);
	f->node = sim_fs_find(f->path);
	f->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0 || full == NULL;
	if (f->node != NULL && ((flags & SQLITE_OPEN_EXCLUSIVE) != 0 || sim_fs_is_dir(f->node)))
		return SQLITE_CANTOPEN;
	if (f->node == NULL) {
		if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
		rc = sim_fs_create(f->path, false, &f->node);
		if (rc < 0) return code_of(rc, SQLITE_CANTOPEN);
		f->sync_dir = (flags & FLAGS_JOURNAL) != 0;
	}
	sim_fs_hold(f->node);
	if (sim_world.faults.disk.read_only && (flags & SQLITE_OPEN_READWRITE))
		flags = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
	if (out_flags != NULL) *out_flags = flags;
	f->base.pMethods = &file_methods;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *full, int sync_dir)
{
	char path[HAL_PATH_MAX], dir[HAL_PATH_MAX];

	(void)vfs;
	sim_fs_path(full, path);
	int rc = sim_fs_remove(path);
	if (rc == ERR_NOT_FOUND) return SQLITE_IOERR_DELETE_NOENT;
	if (rc < 0) return code_of(rc, SQLITE_IOERR_DELETE);
	common_path_dir(path, dir);
	if (sync_dir && sim_fs_sync_dir(dir) < 0) return SQLITE_IOERR_DIR_FSYNC;
	return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *full, int flags, int *out)
{
	char path[HAL_PATH_MAX];
	const struct sim_node *n;
	int rc = sim_fs_begin(SIM_DISK_SIZE);

	(void)vfs;
	if (rc < 0) return SQLITE_IOERR_ACCESS;
	sim_fs_path(full, path);
	n = sim_fs_find(path);
	/* As unix: an empty file does not exist for SQLITE_ACCESS_EXISTS. */
	if (flags == SQLITE_ACCESS_EXISTS)
		*out = n != NULL && (sim_fs_is_dir(n) || sim_fs_size(n) > 0);
	else
		*out = n != NULL && !(flags == SQLITE_ACCESS_READWRITE && sim_world.faults.disk.read_only);
	return SQLITE_OK;
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *path, int cap, char *out)
{
	(void)vfs;
	int n = path[0] == '/' ? snprintf(out, (size_t)cap, "%s", path)
			       : snprintf(out, (size_t)cap, "%s/%s", hal_storage_root(), path);
	return n < 0 || n >= cap ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int len, char *out)
{
	(void)vfs;
	return hal_entropy_fill(out, (size_t)len) < 0 ? 0 : len;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	hal_clock_sleep_until(hal_clock_in((us + 999) / 1000));
	return us;
}

/* Julian day, in ms. */
static int vfs_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
	(void)vfs;
	*out = INT64_C(210866760000000) + hal_clock_wall_ms(NULL);
	return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *out)
{
	sqlite3_int64 ms;

	vfs_time_ms(vfs, &ms);
	*out = (double)ms / 86400000.0;
	return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int cap, char *out)
{
	(void)vfs;
	(void)cap;
	(void)out;
	return 0;
}

static sqlite3_vfs vfs = {
	.iVersion = 2,
	.szOsFile = sizeof(struct vfs_file),
	.mxPathname = HAL_PATH_MAX - 16,
	.zName = "postern",
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_full_pathname,
	.xRandomness = vfs_randomness,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_time,
	.xGetLastError = vfs_last_error,
	.xCurrentTimeInt64 = vfs_time_ms,
};

int sim_vfs_register(void)
{
	/* SQLite seeds its generator from the VFS once a process: begin anew, or runs would depend on those
	 * before. */
	int rc = sqlite3_vfs_register(&vfs, 1);

	sqlite3_randomness(0, NULL);
	return rc == SQLITE_OK ? 0 : ERR_NO_MEMORY;
}

void sim_vfs_unregister(void)
{
	sqlite3_vfs_unregister(&vfs);
}
