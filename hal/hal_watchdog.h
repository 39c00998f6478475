/* hal_watchdog: the hardware timer that reboots a device whose software hangs. Main thread only. */
#ifndef POSTERN_HAL_WATCHDOG_H
#define POSTERN_HAL_WATCHDOG_H

#include <stdint.h>

/* device: a path such as /dev/watchdog, or "none". Errors: ERR_NOT_FOUND, ERR_BUSY, ERR_DENIED,
 * ERR_UNSUPPORTED. */
int hal_watchdog_open(const char *device);
/* The longest time between two kicks, in ms; HAL_FOREVER with none. */
int64_t hal_watchdog_period_ms(void);
void hal_watchdog_kick(void);
/* Orderly end: the timer stops and the device stays up. */
void hal_watchdog_close(void);

#endif
