/* hal_clock: the two clocks of a device and the wait on one of them.
 *
 * Monotonic time orders and measures; every deadline in postern is a monotonic time. Wall time is for people,
 * mail headers and certificates; a device without a battery boots in 1970, so wall time comes with a state.
 * Callable from any thread, at any time after start. Never fails.
 */
#ifndef POSTERN_HAL_CLOCK_H
#define POSTERN_HAL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* No deadline. */
#define HAL_FOREVER INT64_MAX

/* Milliseconds since some fixed moment before the process started; never goes back; at least 1.
 * Counts time the device was suspended where the kernel can tell. */
int64_t hal_clock_mono_ms(void);

/* hal_clock_mono_ms() + ms, HAL_FOREVER when ms is HAL_FOREVER or the sum overflows. */
int64_t hal_clock_in(int64_t ms);

/* Unix time in ms. *set (may be NULL) says whether it can be believed: false while the device's clock lies
 * before the floor. While unset the value returned is the floor, which runs on from when it was raised (waits
 * must end also on a device that is never told the time): good enough to refuse certificates that ended
 * before it, not good enough for a Date header. */
int64_t hal_clock_wall_ms(bool *set);

/* Raises the floor (it never goes down). At start it is the build time; the store adds the last time it saw.
 */
void hal_clock_floor_raise(int64_t unix_ms);

/* Waits until that monotonic time; returns at once when it has passed. */
void hal_clock_sleep_until(int64_t mono_ms);

#endif
