/* hal_storage over the world's disk. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_storage.h"
#include "common/common.h"
#include "sim_fs.h"
#include "sim_vfs.h"

static bool opened;
static char root[HAL_PATH_MAX];

/* may_alias: it lives in storage that hal/ declares as uint64_t. */
struct __attribute__((may_alias)) file {
	struct sim_node *node;
	bool writable;
};

_Static_assert(sizeof(struct file) <= sizeof(struct hal_file), "hal_file is too small");

static struct file *file_of(struct hal_file *f)
{
	return (struct file *)(void *)f->opaque;
}

/* The disk's path for a path of the HAL ("" and "." are the root). */
static int path_of(const char *path, char out[HAL_PATH_MAX])
{
	if (!opened) sim_misuse("hal_storage before hal_storage_open");
	if (common_path_is_root(path)) {
		out[0] = '\0';
		return 0;
	}
	if (!common_path_valid(path)) return ERR_INVALID;
	if (strcmp(path, root) == 0)
		out[0] = '\0';
	else
		sim_fs_path(path, out);
	return 0;
}

int hal_storage_open(const char *path)
{
	sim_enter();
	if (opened) return ERR_BUSY;
	if (path[0] == '\0') return ERR_INVALID;
	if (path[0] == '/' && snprintf(root, sizeof root, "%s", path) >= (int)sizeof root) return ERR_INVALID;
	if (path[0] != '/' && snprintf(root, sizeof root, "/sim/%s", path) >= (int)sizeof root)
		return ERR_INVALID;
	if (strlen(root) > HAL_PATH_MAX / 2) return ERR_INVALID;
	sim_alloc_install();
	if (sim_vfs_register() < 0) return ERR_NO_MEMORY;
	opened = true;
	return 0;
}

void hal_storage_close(void)
{
	if (!opened) return;
	sim_vfs_unregister();
	opened = false;
}

void sim_storage_forget(void)
{
	hal_storage_close();
}

const char *hal_storage_root(void)
{
	return root;
}

const char *hal_storage_vfs(void)
{
	return "postern";
}

int hal_storage_path(const char *path, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%s/%s", root, path);

	return n < 0 || (size_t)n >= cap ? ERR_TOO_LARGE : 0;
}

int hal_storage_info(struct hal_storage_info *out)
{
	sim_enter();
	out->free_bytes = sim_fs_free_bytes();
	out->written_bytes = (int64_t)sim_fs_written_bytes;
	out->syncs = (int64_t)sim_fs_syncs;
	return 0;
}

int hal_file_open(struct hal_file *f, const char *path, enum hal_file_mode mode)
{
	char p[HAL_PATH_MAX];
	struct file *file = file_of(f);
	int rc = path_of(path, p);

	file->node = NULL;
	if (rc == 0) rc = sim_fs_begin(SIM_DISK_OPEN);
	if (rc < 0) return rc;
	file->writable = mode == HAL_FILE_CREATE;
	if (mode == HAL_FILE_CREATE) {
		rc = sim_fs_create(p, false, &file->node);
		if (rc < 0) return rc;
	} else {
		file->node = sim_fs_find(p);
		if (file->node == NULL) return ERR_NOT_FOUND;
		if (sim_fs_is_dir(file->node)) return ERR_INVALID;
	}
	sim_fs_hold(file->node);
	return 0;
}

int hal_file_read(struct hal_file *f, int64_t at, void *bytes, size_t cap)
{
	int rc = sim_fs_begin(SIM_DISK_READ);

	if (rc < 0) return rc;
	return (int)sim_fs_read(file_of(f)->node, at, bytes, cap);
}

int hal_file_write(struct hal_file *f, const void *bytes, size_t len)
{
	struct file *file = file_of(f);

	if (!file->writable) return ERR_INVALID;
	return sim_fs_write(file->node, sim_fs_size(file->node), bytes, len);
}

int hal_file_sync(struct hal_file *f)
{
	return sim_fs_sync(file_of(f)->node);
}

int64_t hal_file_size(struct hal_file *f)
{
	int rc = sim_fs_begin(SIM_DISK_SIZE);

	return rc < 0 ? rc : sim_fs_size(file_of(f)->node);
}

void hal_file_close(struct hal_file *f)
{
	sim_fs_drop(file_of(f)->node);
	file_of(f)->node = NULL;
}

int hal_storage_mkdir(const char *path)
{
	char p[HAL_PATH_MAX];
	int rc = path_of(path, p);

	if (rc < 0) return rc;
	const struct sim_node *n = sim_fs_find(p);
	if (p[0] == '\0' || (n != NULL && sim_fs_is_dir(n))) return 0;
	rc = sim_fs_create(p, true, NULL);
	/* The call takes time: somebody else may have made it meanwhile. */
	if (rc == ERR_EXISTS && (n = sim_fs_find(p)) != NULL && sim_fs_is_dir(n)) return 0;
	return rc;
}

int hal_storage_rename(const char *from, const char *to)
{
	char a[HAL_PATH_MAX], b[HAL_PATH_MAX];

	if (path_of(from, a) < 0 || path_of(to, b) < 0 || a[0] == '\0' || b[0] == '\0') return ERR_INVALID;
	return sim_fs_rename(a, b);
}

/* Is there anything below this directory? */
static bool dir_used(const char *dir)
{
	size_t n = strlen(dir);
	const char *name;

	for (size_t i = 0; (name = sim_fs_name(i)) != NULL; i++)
		if (strncmp(name, dir, n) == 0 && name[n] == '/') return true;
	return false;
}

int hal_storage_remove(const char *path)
{
	char p[HAL_PATH_MAX];
	int rc = path_of(path, p);

	if (rc < 0) return rc;
	if (p[0] == '\0' || dir_used(p)) return ERR_INVALID;
	return sim_fs_remove(p);
}

int hal_storage_sync_dir(const char *path)
{
	char p[HAL_PATH_MAX];
	int rc = path_of(path, p);

	return rc < 0 ? rc : sim_fs_sync_dir(p);
}

int64_t hal_storage_size(const char *path)
{
	char p[HAL_PATH_MAX];
	int rc = path_of(path, p);

	if (rc == 0) rc = sim_fs_begin(SIM_DISK_SIZE);
	if (rc < 0) return rc;
	const struct sim_node *n = sim_fs_find(p);
	return n == NULL ? ERR_NOT_FOUND : sim_fs_size(n);
}

int hal_storage_reserve(const char *path, int64_t bytes)
{
	char p[HAL_PATH_MAX], dir[HAL_PATH_MAX];
	int rc = path_of(path, p);

	if (rc < 0) return rc;
	if (bytes < 0 || p[0] == '\0') return ERR_INVALID;
	struct sim_node *n = sim_fs_find(p);
	if (n == NULL) rc = sim_fs_create(p, false, &n);
	if (rc == 0 && sim_fs_size(n) < bytes) rc = sim_fs_truncate(n, bytes);
	if (rc == 0) rc = sim_fs_sync(n);
	common_path_dir(p, dir);
	if (rc == 0) rc = sim_fs_sync_dir(dir);
	return rc;
}

int hal_storage_list(const char *path, int (*fn)(void *arg, const char *name), void *arg)
{
	char p[HAL_PATH_MAX], dir[HAL_PATH_MAX], name[HAL_PATH_MAX];
	int rc = path_of(path, p);

	if (rc == 0) rc = sim_fs_begin(SIM_DISK_OPEN);
	if (rc < 0) return rc;
	const struct sim_node *d = sim_fs_find(p);
	if (p[0] != '\0' && strcmp(p, "/") != 0 && (d == NULL || !sim_fs_is_dir(d))) return ERR_NOT_FOUND;
	/* Backwards: an entry that fn removes is replaced by the last one, which was seen. */
	size_t count = 0;
	while (sim_fs_name(count) != NULL)
		count++;
	while (count-- > 0) {
		const char *full = sim_fs_name(count);
		const char *rest;

		if (full == NULL) continue;
		common_path_dir(full, dir);
		if (strcmp(dir, p) != 0) continue;
		rest = strrchr(full, '/');
		strcpy(name, rest == NULL ? full : rest + 1);
		rc = fn(arg, name);
		if (rc != 0) return rc;
	}
	return 0;
}
