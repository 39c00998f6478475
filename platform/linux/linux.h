/* platform/linux: what its files share. Not for other rooms. */
#ifndef POSTERN_PLATFORM_LINUX_H
#define POSTERN_PLATFORM_LINUX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hal_cancel.h"
#include "hal_stream.h"

/* errno as an error of ours, for files / for connections. The only place that knows errno's names. */
int linux_err_file(int e);
int linux_err_net(int e);

/* Time left, never negative; HAL_FOREVER stays about that. */
int64_t linux_left_ms(int64_t deadline_ms);

/* Waits until the descriptor is ready for these poll events: 0, or ERR_TIMEOUT. Interruptions are not
 * seen. */
int linux_poll(int fd, short events, int64_t deadline_ms);

/* As hal_cond_wait, for a condition made by linux_cond_init. */
void linux_cond_init(pthread_cond_t *c);
int linux_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_ms);

/* Makes a stream of a connected socket, which then belongs to it. Errors: ERR_NO_MEMORY; fd then stays
 * the caller's. */
int linux_socket_adopt(struct hal_socket *s, int fd);

/* Connecting in two steps: begin gives a descriptor that is connecting; end is 0 (connected), ERR_BUSY (not
 * yet) or why it failed. Errors of both: as hal_stream_connect. The descriptor is the caller's to close. */
int linux_connect_begin(int *fd, const struct hal_addr *to);
int linux_connect_end(int fd, const struct hal_addr *to);

/* A descriptor that is readable once the wish was made, made at the first call. Errors: ERR_NO_MEMORY. */
int linux_cancel_fd(struct hal_cancel *c);
/* Those who wait for names look again whether they still should. */
void linux_dns_wake(void);

/* One message to the supervisor (sd_notify's protocol); nothing where nobody asks. */
void linux_notify(const char *text);

/* Memory shared by all threads: adds to the counters of hal_storage_info. */
void linux_storage_count(int64_t bytes, int64_t syncs);

/* The VFS "postern". Errors: ERR_NO_MEMORY. */
int linux_vfs_register(void);
void linux_vfs_unregister(void);

#endif
