/* hal_storage: the one directory on flash that postern owns.
 *
 * Two views of the same storage. SQLite's VFS is the storage HAL for the database: the platform registers one
 * under hal_storage_vfs() (linux: a shim that counts over "unix"; sim: memory with power cuts). Beside it,
 * this small interface serves what is a file of its own: drop directory, reserve, Maildir, bodies. It is no
 * general file API.
 *
 * Paths are relative to the root, '/' separated, without "." or ".."; every hal_file and hal_storage call
 * that takes a path, but hal_storage_path, also takes an absolute one (a '/' first): a Maildir may lie
 * elsewhere. What was written is on stable storage only after hal_file_sync (the bytes) and
 * hal_storage_sync_dir (the name); a rename is atomic: after a power cut the old or the new file is there,
 * each whole if it was synced before. Any thread; a struct hal_file belongs to one.
 *
 * Errors of all calls, besides those named: ERR_NO_SPACE, ERR_READ_ONLY, ERR_IO, ERR_DENIED, ERR_NO_MEMORY
 * (no descriptor), ERR_INVALID (path). After ERR_IO from a sync the content of that file is unknown: write it
 * anew.
 */
#ifndef POSTERN_HAL_STORAGE_H
#define POSTERN_HAL_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAL_PATH_MAX 256

/* Sets the root (absolute or relative to the working directory; created, mode 0700, when missing) and
 * registers the VFS. Once, before everything else here. Errors: ERR_BUSY when another process owns the root.
 */
int hal_storage_open(const char *root);
/* Gives the root back. After the database was closed. */
void hal_storage_close(void);

const char *hal_storage_root(void);
/* Name for sqlite3_open_v2. A database's file name there is hal_storage_path(). */
const char *hal_storage_vfs(void);
/* The full path of a file below the root. Errors: ERR_TOO_LARGE. */
int hal_storage_path(const char *path, char *out, size_t cap);

struct hal_storage_info {
	int64_t free_bytes;    /* for us, on that file system */
	int64_t written_bytes; /* by us through this HAL and its VFS since start */
	int64_t syncs;         /* likewise */
};
int hal_storage_info(struct hal_storage_info *out);

/* Storage of one open file. */
struct hal_file {
	uint64_t opaque[8];
};

enum hal_file_mode {
	HAL_FILE_READ,  /* Errors: ERR_NOT_FOUND */
	HAL_FILE_CREATE /* new, to be appended to; Errors: ERR_EXISTS, ERR_NOT_FOUND (no such directory) */
};
int hal_file_open(struct hal_file *f, const char *path, enum hal_file_mode mode);
/* Up to cap bytes at that offset; 0 at the end. */
int hal_file_read(struct hal_file *f, int64_t at, void *bytes, size_t cap);
/* Appends all of it. */
int hal_file_write(struct hal_file *f, const void *bytes, size_t len);
int hal_file_sync(struct hal_file *f);
int64_t hal_file_size(struct hal_file *f);
void hal_file_close(struct hal_file *f);

/* Makes a directory (not its parents); fine when it is there. */
int hal_storage_mkdir(const char *path);
/* Replaces `to` if it exists. Errors: ERR_NOT_FOUND. */
int hal_storage_rename(const char *from, const char *to);
/* Errors: ERR_NOT_FOUND. */
int hal_storage_remove(const char *path);
int hal_storage_sync_dir(const char *path);
/* Size in bytes. Errors: ERR_NOT_FOUND. */
int64_t hal_storage_size(const char *path);
/* Reserves real blocks for a file of that size (created or grown; never a hole); synced. */
int hal_storage_reserve(const char *path, int64_t bytes);

/* Calls fn for each entry (files and directories, not "." and ".."), in no order; fn returns 0 to go on,
 * anything else ends the walk and is returned. fn may remove the entry it is called with. Errors:
 * ERR_NOT_FOUND. */
int hal_storage_list(const char *path, int (*fn)(void *arg, const char *name), void *arg);

#endif
