/* TCP. Every socket is non-blocking; waiting is poll() with what is left of the deadline. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_link.h"
#include "linux/linux.h"

#define BACKLOG         16
#define CHUNK_BYTES_MAX (1u << 20)
#define SLICE_MS        (60 * 1000)

/* may_alias: it lives in storage that hal/ declares as uint64_t. */
struct __attribute__((may_alias)) sock {
	int fd;
	atomic_int aborted;
};

_Static_assert(sizeof(struct sock) <= sizeof(((struct hal_socket *)0)->opaque), "hal_socket is too small");
_Static_assert(sizeof(struct sock) <= sizeof(struct hal_listener), "hal_listener is too small");

union sock_addr {
	struct sockaddr any;
	struct sockaddr_in ip4;
	struct sockaddr_in6 ip6;
};

static struct sock *sock_of(struct hal_stream *s)
{
	return (struct sock *)(void *)((struct hal_socket *)(void *)s)->opaque;
}

static struct sock *sock_of_listener(struct hal_listener *l)
{
	return (struct sock *)(void *)l->opaque;
}

int linux_poll(int fd, short events, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		int64_t left = linux_left_ms(deadline_ms);

		int n = poll(&p, 1, left > SLICE_MS ? SLICE_MS : (int)left);
		if (n > 0) return 0;
		if (n == 0 && left == 0) return ERR_TIMEOUT;
	}
}

/* ---- addresses ---- */

static socklen_t addr_to_os(const struct hal_addr *a, union sock_addr *out)
{
	memset(out, 0, sizeof *out);
	if (a->family == HAL_FAMILY_IP4) {
		out->ip4.sin_family = AF_INET;
		out->ip4.sin_port = htons(a->port);
		memcpy(&out->ip4.sin_addr, a->bytes, 4);
		return sizeof out->ip4;
	}
	if (a->family == HAL_FAMILY_IP6) {
		out->ip6.sin6_family = AF_INET6;
		out->ip6.sin6_port = htons(a->port);
		out->ip6.sin6_scope_id = a->scope;
		memcpy(&out->ip6.sin6_addr, a->bytes, 16);
		return sizeof out->ip6;
	}
	return 0;
}

static void addr_from_os(const union sock_addr *a, struct hal_addr *out)
{
	memset(out, 0, sizeof *out);
	if (a->any.sa_family == AF_INET) {
		out->family = HAL_FAMILY_IP4;
		out->port = ntohs(a->ip4.sin_port);
		memcpy(out->bytes, &a->ip4.sin_addr, 4);
	} else if (a->any.sa_family == AF_INET6) {
		out->family = HAL_FAMILY_IP6;
		out->port = ntohs(a->ip6.sin6_port);
		out->scope = a->ip6.sin6_scope_id;
		memcpy(out->bytes, &a->ip6.sin6_addr, 16);
	}
}

/* ---- the stream ---- */

/* What an error means for the one who called: an abort looks like an end to the kernel. */
static int result(const struct sock *k, int err)
{
	return atomic_load(&k->aborted) ? ERR_STOPPING : err;
}

static int socket_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	struct sock *k = sock_of(s);

	if (len > CHUNK_BYTES_MAX) len = CHUNK_BYTES_MAX;
	for (;;) {
		if (atomic_load(&k->aborted)) return ERR_STOPPING;
		ssize_t n = send(k->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) return (int)n;
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return result(k, linux_err_net(errno));
		if (linux_poll(k->fd, POLLOUT, deadline_ms) < 0) return result(k, ERR_TIMEOUT);
	}
}

/* flags: 0 or MSG_PEEK */
static int receive(struct sock *k, void *bytes, size_t cap, int flags, int64_t deadline_ms)
{
	if (cap > CHUNK_BYTES_MAX) cap = CHUNK_BYTES_MAX;
	for (;;) {
		if (atomic_load(&k->aborted)) return ERR_STOPPING;
		ssize_t n = recv(k->fd, bytes, cap, flags | MSG_DONTWAIT);
		if (n > 0) return (int)n;
		if (n == 0) return result(k, ERR_CLOSED);
		if (errno == EINTR) continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK) return result(k, linux_err_net(errno));
		if (linux_poll(k->fd, POLLIN, deadline_ms) < 0) return result(k, ERR_TIMEOUT);
	}
}

static int socket_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	return receive(sock_of(s), bytes, cap, 0, deadline_ms);
}

static int socket_poll(struct hal_stream *s, int64_t deadline_ms)
{
	char byte;
	int rc = receive(sock_of(s), &byte, 1, MSG_PEEK, deadline_ms);

	return rc < 0 ? rc : 0;
}

static void socket_abort(struct hal_stream *s)
{
	struct sock *k = sock_of(s);

	atomic_store(&k->aborted, 1);
	shutdown(k->fd, SHUT_RDWR);
}

static void socket_close(struct hal_stream *s)
{
	struct sock *k = sock_of(s);

	close(k->fd);
	k->fd = -1;
}

static const struct hal_stream_ops socket_ops = {
	.send = socket_send,
	.recv = socket_recv,
	.poll = socket_poll,
	.abort = socket_abort,
	.close = socket_close,
};

int linux_socket_adopt(struct hal_socket *s, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	int on = 1;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return ERR_NO_MEMORY;
	/* Not all are TCP; those that are send small commands. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	memset(s, 0, sizeof *s);
	s->stream.ops = &socket_ops;
	struct sock *k = sock_of(&s->stream);
	k->fd = fd;
	atomic_init(&k->aborted, 0);
	return 0;
}

/* ---- connecting ---- */

static int connect_err(int e)
{
	int rc = e == ECONNRESET ? ERR_REFUSED : linux_err_net(e);
	struct hal_link_state link;

	if (rc == ERR_UNREACHABLE && e == ENETUNREACH) {
		hal_link_get(&link);
		if (!link.up) rc = ERR_LINK_DOWN;
	}
	return rc;
}

int linux_connect_end(int fd, const struct hal_addr *to)
{
	union sock_addr os;
	socklen_t len = addr_to_os(to, &os);

	/* Linux tells how it ended by another connect(), and qemu's user mode translates that errno, not
	 * SO_ERROR's. */
	for (;;) {
		if (connect(fd, &os.any, len) == 0 || errno == EISCONN) return 0;
		if (errno == EINPROGRESS || errno == EALREADY) return ERR_BUSY;
		if (errno != EINTR) return connect_err(errno);
	}
}

int linux_connect_begin(int *fd, const struct hal_addr *to)
{
	union sock_addr os;

	if (addr_to_os(to, &os) == 0) return ERR_UNREACHABLE;
	*fd = socket(os.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0) return linux_err_net(errno);
	int rc = linux_connect_end(*fd, to);
	if (rc == 0 || rc == ERR_BUSY) return 0;
	close(*fd);
	return rc;
}

int hal_stream_connect(struct hal_socket *s, const struct hal_addr *to, int64_t deadline_ms)
{
	int fd, rc = linux_connect_begin(&fd, to);

	if (rc < 0) return rc;
	while ((rc = linux_connect_end(fd, to)) == ERR_BUSY) {
		rc = linux_poll(fd, POLLOUT, deadline_ms);
		if (rc < 0) break;
	}
	if (rc == 0) rc = linux_socket_adopt(s, fd);
	if (rc < 0) close(fd);
	return rc;
}

/* ---- listening ---- */

static int listen_err(int e)
{
	switch (e) {
	case EADDRINUSE: return ERR_BUSY;
	case EACCES:
	case EPERM: return ERR_DENIED;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS: return ERR_NO_MEMORY;
	default: return ERR_INVALID;
	}
}

int hal_stream_listen(struct hal_listener *l, const struct hal_addr *at, struct hal_addr *bound)
{
	union sock_addr os;
	socklen_t len = addr_to_os(at, &os);
	int on = 1;

	if (len == 0) return ERR_INVALID;
	int fd = socket(os.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) return listen_err(errno);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* "::" is for IPv6 alone, so that "0.0.0.0" can be listened on beside it. */
	if (os.any.sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, &os.any, len) < 0 || listen(fd, BACKLOG) < 0 || getsockname(fd, &os.any, &len) < 0) {
		int rc = listen_err(errno);
		close(fd);
		return rc;
	}
	memset(l, 0, sizeof *l);
	struct sock *k = sock_of_listener(l);
	k->fd = fd;
	atomic_init(&k->aborted, 0);
	if (bound != NULL) addr_from_os(&os, bound);
	return 0;
}

int hal_stream_accept(struct hal_listener *l, struct hal_socket *s, struct hal_addr *from,
		      int64_t deadline_ms)
{
	struct sock *k = sock_of_listener(l);

	for (;;) {
		union sock_addr os;
		socklen_t len = sizeof os;

		if (atomic_load(&k->aborted)) return ERR_STOPPING;
		int fd = accept4(k->fd, &os.any, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			int rc = linux_socket_adopt(s, fd);
			if (rc < 0)
				close(fd);
			else if (from != NULL)
				addr_from_os(&os, from);
			return rc;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK) {
			if (linux_poll(k->fd, POLLIN, deadline_ms) < 0) return result(k, ERR_TIMEOUT);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			return ERR_NO_MEMORY;
		} else if (errno == EINVAL || errno == EBADF) {
			return ERR_STOPPING;
		}
		/* Anything else is the trouble of a connection that is gone already (accept(2)). */
	}
}

void hal_stream_listen_abort(struct hal_listener *l)
{
	struct sock *k = sock_of_listener(l);

	atomic_store(&k->aborted, 1);
	shutdown(k->fd, SHUT_RDWR);
}

void hal_stream_listen_close(struct hal_listener *l)
{
	struct sock *k = sock_of_listener(l);

	close(k->fd);
	k->fd = -1;
}
