/* The root is held open and locked; relative paths go from there, absolute ones where they say. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "common/common.h"
#include "hal_storage.h"
#include "linux/linux.h"

#define FILE_MODE 0600
#define DIR_MODE  0700

static char root[HAL_PATH_MAX];
static int root_fd = -1, lock_fd = -1;
static pthread_mutex_t count_mutex = PTHREAD_MUTEX_INITIALIZER;
static int64_t written_bytes, syncs;

void linux_storage_count(int64_t bytes, int64_t sync_calls)
{
	/* 64-bit atomics are calls into a library on some of the targets. */
	pthread_mutex_lock(&count_mutex);
	written_bytes += bytes;
	syncs += sync_calls;
	pthread_mutex_unlock(&count_mutex);
}

/* The path for openat() and its kin; NULL when it is not valid. */
static const char *file_path(const char *path)
{
	return common_path_valid(path) ? path : NULL;
}

static const char *dir_path(const char *path)
{
	if (strcmp(path, "/") == 0) return path;
	return common_path_is_root(path) ? "." : file_path(path);
}

/* ---- the root ---- */

static int root_lock(void)
{
	lock_fd = openat(root_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
	if (lock_fd < 0) return linux_err_file(errno);
	if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0) return linux_err_file(errno);
	return 0;
}

int hal_storage_open(const char *path)
{
	char whole[PATH_MAX];
	int rc = 0;

	if (root_fd >= 0) return ERR_BUSY;
	if (mkdir(path, DIR_MODE) < 0 && errno != EEXIST) return linux_err_file(errno);
	/* SQLite keeps whole names, and so do we: the working directory may change. */
	if (realpath(path, whole) == NULL) return linux_err_file(errno);
	if (strlen(whole) > HAL_PATH_MAX / 2) return ERR_INVALID;
	strcpy(root, whole);
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0) return linux_err_file(errno);
	rc = root_lock();
	if (rc == 0) rc = linux_vfs_register();
	if (rc < 0) hal_storage_close();
	return rc;
}

void hal_storage_close(void)
{
	linux_vfs_unregister();
	if (lock_fd >= 0) close(lock_fd);
	if (root_fd >= 0) close(root_fd);
	lock_fd = root_fd = -1;
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
	struct statvfs v;

	if (fstatvfs(root_fd, &v) < 0) return linux_err_file(errno);
	out->free_bytes = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
	pthread_mutex_lock(&count_mutex);
	out->written_bytes = written_bytes;
	out->syncs = syncs;
	pthread_mutex_unlock(&count_mutex);
	return 0;
}

/* ---- files: [0] is the descriptor ---- */

static int fd_of(const struct hal_file *f)
{
	return (int)f->opaque[0];
}

int hal_file_open(struct hal_file *f, const char *path, enum hal_file_mode mode)
{
	const char *p = file_path(path);
	int flags = mode == HAL_FILE_CREATE ? O_RDWR | O_CREAT | O_EXCL | O_APPEND : O_RDONLY;
	struct stat st;

	memset(f, 0, sizeof *f);
	if (p == NULL) return ERR_INVALID;
	/* A FIFO would wait for its other end. */
	int fd = openat(root_fd, p, flags | O_NONBLOCK | O_CLOEXEC, FILE_MODE);
	if (fd < 0) return linux_err_file(errno);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return ERR_INVALID;
	}
	f->opaque[0] = (uint64_t)fd;
	return 0;
}

int hal_file_read(struct hal_file *f, int64_t at, void *bytes, size_t cap)
{
	ssize_t n;

	if (cap > INT_MAX) cap = INT_MAX;
	do
		n = pread(fd_of(f), bytes, cap, (off_t)at);
	while (n < 0 && errno == EINTR);
	return n < 0 ? linux_err_file(errno) : (int)n;
}

int hal_file_write(struct hal_file *f, const void *bytes, size_t len)
{
	const char *p = bytes;

	linux_storage_count((int64_t)len, 0);
	while (len > 0) {
		ssize_t n = write(fd_of(f), p, len);

		if (n >= 0) {
			p += n;
			len -= (size_t)n;
		} else if (errno == EBADF) {
			return ERR_INVALID; /* open for reading */
		} else if (errno != EINTR) {
			return linux_err_file(errno);
		}
	}
	return 0;
}

int hal_file_sync(struct hal_file *f)
{
	linux_storage_count(0, 1);
	return fdatasync(fd_of(f)) < 0 ? linux_err_file(errno) : 0;
}

int64_t hal_file_size(struct hal_file *f)
{
	struct stat st;

	return fstat(fd_of(f), &st) < 0 ? linux_err_file(errno) : (int64_t)st.st_size;
}

void hal_file_close(struct hal_file *f)
{
	close(fd_of(f));
}

/* ---- names ---- */

int hal_storage_mkdir(const char *path)
{
	const char *p = dir_path(path);
	struct stat st;

	if (p == NULL) return ERR_INVALID;
	if (mkdirat(root_fd, p, DIR_MODE) == 0) return 0;
	int e = errno;
	if (e == EEXIST && fstatat(root_fd, p, &st, 0) == 0 && S_ISDIR(st.st_mode)) return 0;
	return linux_err_file(e);
}

int hal_storage_rename(const char *from, const char *to)
{
	const char *a = file_path(from), *b = file_path(to);

	if (a == NULL || b == NULL) return ERR_INVALID;
	return renameat(root_fd, a, root_fd, b) < 0 ? linux_err_file(errno) : 0;
}

int hal_storage_remove(const char *path)
{
	const char *p = file_path(path);

	if (p == NULL) return ERR_INVALID;
	if (unlinkat(root_fd, p, 0) == 0) return 0;
	/* Linux says EISDIR, POSIX EPERM. */
	if ((errno == EISDIR || errno == EPERM) && unlinkat(root_fd, p, AT_REMOVEDIR) == 0) return 0;
	return linux_err_file(errno == EEXIST ? ENOTEMPTY : errno);
}

int hal_storage_sync_dir(const char *path)
{
	const char *p = dir_path(path);

	if (p == NULL) return ERR_INVALID;
	int fd = openat(root_fd, p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return linux_err_file(errno);
	linux_storage_count(0, 1);
	int rc = fsync(fd) < 0 ? linux_err_file(errno) : 0;
	close(fd);
	/* File systems that cannot sync a directory (vfat under FUSE) say EINVAL: there is nothing to do
	 * then. */
	return rc == ERR_INVALID ? 0 : rc;
}

int64_t hal_storage_size(const char *path)
{
	const char *p = file_path(path);
	struct stat st;

	if (p == NULL) return ERR_INVALID;
	return fstatat(root_fd, p, &st, 0) < 0 ? linux_err_file(errno) : (int64_t)st.st_size;
}

/* Where fallocate is not supported: bytes that no file system compresses or leaves out. */
static int fill(int fd, int64_t from, int64_t to)
{
	unsigned char block[4096];
	uint64_t x = UINT64_C(0x9e3779b97f4a7c15);

	while (from < to) {
		size_t n = to - from < (int64_t)sizeof block ? (size_t)(to - from) : sizeof block;

		for (size_t i = 0; i < n; i++) {
			x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			block[i] = (unsigned char)(x >> 56);
		}
		ssize_t done = pwrite(fd, block, n, (off_t)from);
		if (done < 0 && errno != EINTR) return linux_err_file(errno);
		if (done > 0) {
			from += done;
			linux_storage_count(done, 0);
		}
	}
	return 0;
}

static int reserve(int fd, int64_t bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0) return linux_err_file(errno);
	if (st.st_size < bytes && fallocate(fd, 0, 0, (off_t)bytes) < 0) {
		if (errno != EOPNOTSUPP && errno != ENOSYS) return linux_err_file(errno);
		int rc = fill(fd, st.st_size, bytes);
		if (rc < 0) return rc;
	}
	linux_storage_count(0, 1);
	return fsync(fd) < 0 ? linux_err_file(errno) : 0;
}

int hal_storage_reserve(const char *path, int64_t bytes)
{
	const char *p = file_path(path);
	char dir[HAL_PATH_MAX];

	if (p == NULL || bytes < 0) return ERR_INVALID;
	int fd = openat(root_fd, p, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, FILE_MODE);
	if (fd < 0) return linux_err_file(errno);
	int rc = reserve(fd, bytes);
	close(fd);
	common_path_dir(path, dir);
	return rc < 0 ? rc : hal_storage_sync_dir(dir);
}

int hal_storage_list(const char *path, int (*fn)(void *arg, const char *name), void *arg)
{
	const char *p = dir_path(path);
	int rc = 0;

	if (p == NULL) return ERR_INVALID;
	int fd = openat(root_fd, p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return linux_err_file(errno);
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		close(fd);
		return ERR_NO_MEMORY;
	}
	while (rc == 0) {
		errno = 0;
		const struct dirent *e = readdir(d);
		if (e == NULL) {
			rc = errno == 0 ? 0 : linux_err_file(errno);
			break;
		}
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) rc = fn(arg, e->d_name);
	}
	closedir(d);
	return rc;
}
