/* hal_lifecycle: what the outside wants of the process. Signals end here; nothing else in postern knows them.
 */
#ifndef POSTERN_HAL_LIFECYCLE_H
#define POSTERN_HAL_LIFECYCLE_H

#include <stdint.h>

enum hal_wish { HAL_WISH_NONE, HAL_WISH_RELOAD, HAL_WISH_STOP };

/* Starts listening for wishes (linux: SIGHUP, SIGTERM, SIGINT; SIGPIPE is ignored). Before any thread starts.
 */
void hal_lifecycle_init(void);

/* Waits for the next wish or the deadline (monotonic ms): HAL_WISH_NONE at the deadline. HAL_WISH_STOP is
 * answered again at each later call. Main thread only. */
enum hal_wish hal_lifecycle_wait(int64_t deadline_ms);

/* From any thread: as if that wish had come from outside. */
void hal_lifecycle_wish(enum hal_wish wish);

/* Tells the supervisor: started and ready / about to stop. Nothing happens where nobody asks. */
void hal_lifecycle_ready(void);
void hal_lifecycle_stopping(void);

#endif
