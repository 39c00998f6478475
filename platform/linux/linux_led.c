/* /sys/class/leds/NAME: the kernel blinks it, so it goes on blinking when we hang; that is the
 * watchdog's business. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "hal_led.h"
#include "linux/linux.h"

static char led[96]; /* the directory; empty: none */
static bool led_known;
static enum hal_led_state led_state;

/* One value into one file of it. */
static int put(const char *file, const char *value)
{
	char path[160];

	snprintf(path, sizeof path, "%s/%s", led, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) return linux_err_file(errno);
	int rc = write(fd, value, strlen(value)) < 0 ? linux_err_file(errno) : 0;
	close(fd);
	return rc;
}

int hal_led_open(const char *name)
{
	if (strcmp(name, "none") == 0) return 0;
	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL || strlen(name) > 64)
		return ERR_NOT_FOUND;
	snprintf(led, sizeof led, "/sys/class/leds/%s", name);
	int rc = put("brightness", "0");
	if (rc < 0) led[0] = '\0';
	led_known = false;
	return rc;
}

/* on_ms 0: steady light. A kernel without the timer trigger shows all states as light. */
static void show(const char *on_ms, const char *off_ms)
{
	if (on_ms == NULL || put("trigger", "timer") < 0) {
		put("trigger", "none");
		put("brightness", "255");
		return;
	}
	put("delay_on", on_ms);
	put("delay_off", off_ms);
}

void hal_led_set(enum hal_led_state state)
{
	if (led[0] == '\0' || (led_known && state == led_state)) return;
	led_known = true;
	led_state = state;
	switch (state) {
	case HAL_LED_OK: show(NULL, NULL); break;
	case HAL_LED_BUSY: show("900", "100"); break;
	case HAL_LED_DEGRADED: show("500", "500"); break;
	case HAL_LED_FAULT: show("100", "100"); break;
	}
}

void hal_led_close(void)
{
	if (led[0] == '\0') return;
	put("trigger", "none");
	put("brightness", "0");
	led[0] = '\0';
}
