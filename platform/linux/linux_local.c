/* hal_local for Linux. */
#include "hal_local.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "hal_clock.h"
#include "linux/linux.h"

#define BACKLOG 128

/* True when path fits. */
static bool fill(struct sockaddr_un *un, const char *path)
{
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(un->sun_path)) return false;
	strcpy(un->sun_path, path);
	return true;
}

/* A Unix socket connects at once or not at all, unless the other side's backlog is full. */
static int connect_until(int fd, const struct sockaddr_un *un, int64_t deadline_ms)
{
	for (;;) {
		if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0) return 0;
		if (errno != EAGAIN && errno != EINTR) break;
		if (hal_clock_mono_ms() >= deadline_ms) return ERR_TIMEOUT;
		hal_clock_sleep_until(hal_clock_in(10));
	}
	return errno == ENOENT || errno == ECONNREFUSED ? ERR_NO_GATEWAY
	       : errno == EACCES                        ? ERR_DENIED
							: ERR_INVALID;
}

int hal_local_connect(struct hal_socket *s, const char *path, int64_t deadline_ms)
{
	struct sockaddr_un un;
	int fd, rc;

	if (!fill(&un, path)) return ERR_INVALID;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) return ERR_NO_MEMORY;
	rc = connect_until(fd, &un, deadline_ms);
	if (rc == 0) rc = linux_socket_adopt(s, fd);
	if (rc < 0) close(fd);
	return rc;
}

static int listen_error(int error)
{
	switch (error) {
	case EADDRINUSE: return ERR_BUSY;
	case EACCES:
	case EPERM: return ERR_DENIED;
	case EMFILE:
	case ENFILE:
	case ENOMEM: return ERR_NO_MEMORY;
	default: return ERR_INVALID;
	}
}

static socklen_t to_sockaddr(const struct hal_addr *at, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (at->family == HAL_FAMILY_IP4) {
		struct sockaddr_in *in = (struct sockaddr_in *)ss;

		in->sin_family = AF_INET;
		in->sin_port = htons(at->port);
		memcpy(&in->sin_addr, at->bytes, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(at->port);
	in6->sin6_scope_id = at->scope;
	memcpy(&in6->sin6_addr, at->bytes, 16);
	return sizeof(*in6);
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0) return 0;
	return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
					     : ((struct sockaddr_in6 *)&ss)->sin6_port);
}

int hal_local_listen_tcp(const struct hal_addr *at, struct hal_addr *bound)
{
	struct sockaddr_storage ss;
	socklen_t len = to_sockaddr(at, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0) return listen_error(errno);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ss.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0) {
		int rc = listen_error(errno);

		close(fd);
		return rc;
	}
	if (bound) {
		*bound = *at;
		bound->port = bound_port(fd);
	}
	return fd;
}

/* Makes way for a new socket: 0 when the path is free now. */
static int replace_stale(const char *path)
{
	struct hal_socket probe;
	struct stat st;

	if (lstat(path, &st) < 0) return errno == ENOENT ? 0 : ERR_DENIED;
	if (!S_ISSOCK(st.st_mode)) return ERR_EXISTS;
	if (hal_local_connect(&probe, path, hal_clock_in(1000)) == 0) {
		hal_stream_close(&probe.stream);
		return ERR_BUSY;
	}
	return unlink(path) == 0 ? 0 : ERR_DENIED;
}

int hal_local_listen(const char *path, unsigned mode)
{
	struct sockaddr_un un;
	mode_t mask;
	int fd, rc;

	if (!fill(&un, path)) return ERR_INVALID;
	rc = replace_stale(path);
	if (rc < 0) return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) return listen_error(errno);
	/* Never more open than it shall be, not for a moment. */
	mask = umask(0177);
	rc = bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ? listen_error(errno) : 0;
	umask(mask);
	if (rc == 0 && (chmod(path, (mode_t)mode) < 0 || listen(fd, BACKLOG) < 0)) rc = listen_error(errno);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

uint32_t hal_local_wait(const int *descriptors, unsigned count, int64_t deadline_ms)
{
	struct pollfd fds[32];
	int64_t left = deadline_ms == HAL_FOREVER ? -1 : deadline_ms - hal_clock_mono_ms();
	uint32_t ready = 0;

	for (unsigned i = 0; i < count; i++)
		fds[i] = (struct pollfd){descriptors[i], POLLIN, 0};
	if (left < 0 && deadline_ms != HAL_FOREVER) left = 0;
	if (poll(fds, count, left > 60000 ? 60000 : (int)left) <= 0) return 0;
	for (unsigned i = 0; i < count; i++)
		if (fds[i].revents) ready |= UINT32_C(1) << i;
	return ready;
}

int hal_local_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) return fd;
	return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS ? ERR_NO_MEMORY
											 : ERR_TIMEOUT;
}

void hal_local_shut(int connection)
{
	(void)shutdown(connection, SHUT_RDWR);
}

void hal_local_close(int listener, const char *path)
{
	if (path) unlink(path);
	close(listener);
}
