/* hal_led for a device without a light. */
#include "hal_led.h"

#include <string.h>

#include "base/err.h"

int hal_led_open(const char *name)
{
	return strcmp(name, "none") == 0 ? 0 : ERR_UNSUPPORTED;
}

void hal_led_set(enum hal_led_state state)
{
	(void)state;
}

void hal_led_close(void)
{
}
