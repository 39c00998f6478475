/* hal_watchdog for a device without one. */
#include "hal_watchdog.h"

#include <string.h>

#include "base/err.h"
#include "hal_clock.h"

int hal_watchdog_open(const char *device)
{
	return strcmp(device, "none") == 0 ? 0 : ERR_UNSUPPORTED;
}

int64_t hal_watchdog_period_ms(void)
{
	return HAL_FOREVER;
}

void hal_watchdog_kick(void)
{
}

void hal_watchdog_close(void)
{
}
