/* hal_thread: threads with a fixed stack, mutexes, conditions with absolute deadlines.
 *
 * All threads and all waits of our code go through here; that is what lets the simulator run the whole
 * firmware under one seeded scheduler. The objects are storage of the caller, initialised once, and must not
 * move. A mutex is not recursive. Nothing here may be called from a signal handler.
 */
#ifndef POSTERN_HAL_THREAD_H
#define POSTERN_HAL_THREAD_H

#include <stddef.h>
#include <stdint.h>

struct hal_thread {
	uint64_t opaque[8];
};
struct hal_mutex {
	uint64_t opaque[8];
};
struct hal_cond {
	uint64_t opaque[8];
};

/* Starts fn(arg). name: at most 15 bytes, shown by the OS and the simulator's traces. stack_bytes is rounded
 * up to the platform's minimum. Errors: ERR_NO_MEMORY. */
int hal_thread_start(struct hal_thread *t, const char *name, size_t stack_bytes, void (*fn)(void *arg),
		     void *arg);

/* Waits until fn returned, and releases the thread. Once for every thread started. */
void hal_thread_join(struct hal_thread *t);

void hal_mutex_init(struct hal_mutex *m);
void hal_mutex_lock(struct hal_mutex *m);
void hal_mutex_unlock(struct hal_mutex *m);
void hal_mutex_close(struct hal_mutex *m);

void hal_cond_init(struct hal_cond *c);
/* Releases m, waits for a signal or the deadline, takes m again. Spurious wake-ups happen: test in a loop.
 * Returns 0, or ERR_TIMEOUT when the deadline (monotonic ms; HAL_FOREVER for none) passed. */
int hal_cond_wait(struct hal_cond *c, struct hal_mutex *m, int64_t deadline_ms);
void hal_cond_signal(struct hal_cond *c);
void hal_cond_broadcast(struct hal_cond *c);
void hal_cond_close(struct hal_cond *c);

#endif
