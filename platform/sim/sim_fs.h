/* The disk of the world: files and directories in memory, twice: as they look now, and as they are safe on
 * the medium.
 *
 * The difference is a list of un-synced changes in the order they were made. Syncing a file makes its bytes
 * and its size safe; its name becomes safe when its directory is synced. That is POSIX; ext4 and UBIFS give
 * more, and nothing here relies on it. A rename is one change: there or not, never half. At a power cut a
 * subset of the changes is applied in their order: "any order" of two changes to one byte looks on the
 * medium like the earlier one alone.
 *
 * Paths are relative to the root, which is "", or absolute when they lie elsewhere; "/" and "/tmp" are
 * there from the start. hal_storage and the SQLite VFS are two views of this.
 */
#ifndef POSTERN_PLATFORM_SIM_FS_H
#define POSTERN_PLATFORM_SIM_FS_H

#include "hal_storage.h"
#include "sim_world.h"

struct sim_node;

/* The disk's name for a path of hal_storage or SQLite: relative to the root when it lies below it. */
void sim_fs_path(const char *path, char out[HAL_PATH_MAX]);

/* The file or directory of that name; NULL when there is none. */
struct sim_node *sim_fs_find(const char *path);
bool sim_fs_is_dir(const struct sim_node *n);

/* Open handles keep a file's content alive without a name. */
void sim_fs_hold(struct sim_node *n);
void sim_fs_drop(struct sim_node *n);

/* A call begins: faults are asked (0 or the error to give). Call with one SIM_DISK_ bit. */
int sim_fs_begin(unsigned call);

/* Each: sim_fs_begin first (done by the callee), the change, then the power may go. All return 0 or an
 * error. */
int sim_fs_create(const char *path, bool dir, struct sim_node **out);
int sim_fs_write(struct sim_node *n, int64_t at, const void *bytes, size_t len);
int sim_fs_truncate(struct sim_node *n, int64_t len);
int sim_fs_sync(struct sim_node *n);
int sim_fs_remove(const char *path);
int sim_fs_rename(const char *from, const char *to);
int sim_fs_sync_dir(const char *path);

size_t sim_fs_read(const struct sim_node *n, int64_t at, void *bytes, size_t cap);
int64_t sim_fs_size(const struct sim_node *n);
int64_t sim_fs_free_bytes(void);

/* The i-th name of now, in any order; NULL behind the last. */
const char *sim_fs_name(size_t i);

/* SQLite's file locks of that file (sim_vfs.c). */
struct sim_locks {
	unsigned shared;
	bool reserved, pending, exclusive;
};
struct sim_locks *sim_fs_locks(struct sim_node *n);

extern uint64_t sim_fs_written_bytes, sim_fs_syncs;

#endif
