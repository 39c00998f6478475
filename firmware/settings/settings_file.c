#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "settings/settings.h"

static int err_of(int os_error)
{
	switch (os_error) {
	case ENOENT:
	case ENOTDIR: return ERR_NOT_FOUND;
	case EACCES:
	case EPERM: return ERR_DENIED;
	default: return ERR_IO;
	}
}

/* Reads until the end or until the file turns out larger than cap. */
static int read_all(int fd, char *bytes, size_t cap)
{
	size_t len = 0;
	char one_more;

	for (;;) {
		ssize_t n = len < cap ? read(fd, bytes + len, cap - len) : read(fd, &one_more, 1);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_of(errno);
		if (n == 0) return (int)len;
		if (len == cap) return ERR_TOO_LARGE;
		len += (size_t)n;
	}
}

int settings_read_file(const char *path, void *bytes, size_t cap, unsigned *mode)
{
	/* O_NONBLOCK: opening a FIFO by mistake must not hang; it is refused below. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int rc = 0;

	if (fd < 0) return err_of(errno);
	if (fstat(fd, &st) < 0)
		rc = err_of(errno);
	else if (!S_ISREG(st.st_mode))
		rc = ERR_INVALID;
	else
		*mode = st.st_mode & 07777;
	if (rc == 0 && cap > 0) rc = read_all(fd, bytes, cap);
	close(fd);
	return rc;
}
