/* hal_stream: a byte stream to a peer. TCP here; TLS (net/tls) is the same interface over it.
 *
 * A stream belongs to one thread at a time, except hal_stream_abort, which any thread may call. Deadlines are
 * monotonic ms, absolute; a call whose deadline has passed still does what it can without waiting.
 * Storage is the caller's; nothing is allocated here.
 */
#ifndef POSTERN_HAL_STREAM_H
#define POSTERN_HAL_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "hal_addr.h"

struct hal_stream;

struct hal_stream_ops {
	/* Sends some of it: > 0 bytes taken, or an error; never 0 (len is at least 1).
	 * Errors: ERR_TIMEOUT, ERR_CLOSED, ERR_RESET, ERR_UNREACHABLE, ERR_STOPPING (aborted), for TLS also
	 * ERR_TLS. */
	int (*send)(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms);
	/* Receives some: > 0 bytes, or an error; never 0. The peer's orderly end is ERR_CLOSED. Errors as for
	 * send. */
	int (*recv)(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms);
	/* Waits until recv would not wait: 0, or ERR_TIMEOUT and the errors of recv. */
	int (*poll)(struct hal_stream *s, int64_t deadline_ms);
	/* Makes a waiting call in another thread return ERR_STOPPING, and every later one too. */
	void (*abort)(struct hal_stream *s);
	/* Releases it (TLS: tries close_notify without waiting, then closes the stream below). Exactly once.
	 */
	void (*close)(struct hal_stream *s);
};

struct hal_stream {
	const struct hal_stream_ops *ops;
};

/* Storage of one TCP connection. */
struct hal_socket {
	struct hal_stream stream;
	uint64_t opaque[8];
};

/* Storage of one listening socket. */
struct hal_listener {
	uint64_t opaque[8];
};

/* Connects to one address (trying several is the business of net/).
 * Errors: ERR_TIMEOUT, ERR_REFUSED, ERR_UNREACHABLE, ERR_LINK_DOWN, ERR_NO_MEMORY (no descriptor). */
int hal_stream_connect(struct hal_socket *s, const struct hal_addr *to, int64_t deadline_ms);

/* Listens; port 0 takes any free one, *bound (may be NULL) says which. Errors: ERR_BUSY (address in use),
 * ERR_DENIED, ERR_INVALID. */
int hal_stream_listen(struct hal_listener *l, const struct hal_addr *at, struct hal_addr *bound);
/* Errors: ERR_TIMEOUT, ERR_STOPPING, ERR_NO_MEMORY. *from may be NULL. */
int hal_stream_accept(struct hal_listener *l, struct hal_socket *s, struct hal_addr *from,
		      int64_t deadline_ms);
/* From any thread: makes a waiting hal_stream_accept return ERR_STOPPING, and every later one too. */
void hal_stream_listen_abort(struct hal_listener *l);
void hal_stream_listen_close(struct hal_listener *l);

/* The operations, by their short names. */
static inline int hal_stream_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	return s->ops->send(s, bytes, len, deadline_ms);
}
static inline int hal_stream_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	return s->ops->recv(s, bytes, cap, deadline_ms);
}
static inline int hal_stream_poll(struct hal_stream *s, int64_t deadline_ms)
{
	return s->ops->poll(s, deadline_ms);
}
static inline void hal_stream_abort(struct hal_stream *s)
{
	s->ops->abort(s);
}
static inline void hal_stream_close(struct hal_stream *s)
{
	s->ops->close(s);
}

#endif
