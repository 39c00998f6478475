/* hal_local: sockets for the API: descriptors for a library that must have them, and the Unix sockets.
 *
 * hal_stream hides its connections; an HTTP library polls real descriptors. So this header gives it listening
 * and accepted descriptors, and one wait on several of them: int values that mean something to that library
 * only. A platform whose front does not use them (sim) need not have this part. All on one thread, but
 * hal_local_connect on any.
 */
#ifndef POSTERN_HAL_LOCAL_H
#define POSTERN_HAL_LOCAL_H

#include <stdbool.h>

#include "hal_stream.h"

/* Connects to the Unix socket at path (longer ones than a socket address takes: ERR_INVALID).
 * Errors: ERR_NO_GATEWAY (no socket there, or nobody listens), ERR_DENIED, ERR_TIMEOUT, ERR_INVALID. */
int hal_local_connect(struct hal_socket *s, const char *path, int64_t deadline_ms);

/* A listening descriptor, >= 0. Accepting from it never waits.
 * TCP: errors as of hal_stream_listen. */
int hal_local_listen_tcp(const struct hal_addr *at, struct hal_addr *bound);
/* Unix: the file gets exactly this mode. One that nobody listens on is replaced, a live one refused.
 * Errors: ERR_BUSY (live), ERR_EXISTS (the path is no socket), ERR_DENIED, ERR_INVALID (path too long). */
int hal_local_listen(const char *path, unsigned mode);

/* Waits until one of count (at most 32) descriptors is readable, or the deadline. Returns a bit set, 0 at the
 * deadline. */
uint32_t hal_local_wait(const int *descriptors, unsigned count, int64_t deadline_ms);

/* A connection, non-blocking; an error when there is none (any more). Errors: ERR_TIMEOUT (none waits),
 * ERR_NO_MEMORY. */
int hal_local_accept(int listener);

/* Ends a connection without closing its descriptor, which stays its owner's: whoever reads it finds the end. */
void hal_local_shut(int connection);

/* Closes a listener; removes the file of a Unix one (path NULL for TCP). */
void hal_local_close(int listener, const char *path);

#endif
