/* hal_map: mmap. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "hal_map.h"
#include "hal_storage.h"
#include "linux/linux.h"

#define MAP_BYTES_MAX (64 << 20)

static int map_fd(struct hal_map *m, int fd)
{
	static const unsigned char nothing[1];
	struct stat st;

	if (fstat(fd, &st) < 0) return ERR_IO;
	if (!S_ISREG(st.st_mode)) return ERR_INVALID;
	if (st.st_size > MAP_BYTES_MAX) return ERR_TOO_LARGE;
	m->len = (size_t)st.st_size;
	m->bytes = nothing;
	if (m->len == 0) return 0;
	void *at = mmap(NULL, m->len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED) return linux_err_file(errno);
	m->bytes = at;
	return 0;
}

int hal_map_open(struct hal_map *m, const char *path)
{
	char full[2 * HAL_PATH_MAX];

	*m = (struct hal_map){0};
	if (path[0] != '/') {
		if (hal_storage_path(path, full, sizeof(full)) < 0) return ERR_INVALID;
		path = full;
	}
	/* O_NONBLOCK: a FIFO must not hold us up; it is refused when it is known for one. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) return linux_err_file(errno);
	int rc = map_fd(m, fd);
	close(fd);
	return rc;
}

void hal_map_close(struct hal_map *m)
{
	if (m->len > 0) munmap((void *)(uintptr_t)m->bytes, m->len);
	*m = (struct hal_map){0};
}
