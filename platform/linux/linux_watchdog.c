/* /dev/watchdog, or the supervisor's watchdog ("systemd"; procd kicks the hardware itself). */
#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_watchdog.h"
#include "linux/linux.h"

/* Where the driver does not say: the shortest that is common. */
#define PERIOD_S_DEFAULT 10

static enum { KIND_NONE, KIND_DEVICE, KIND_SUPERVISOR } kind;
static int device_fd = -1;
static int64_t period_ms = HAL_FOREVER;

static int supervisor_open(void)
{
	const char *us = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	long long value = us == NULL ? 0 : strtoll(us, NULL, 10);

	if (value < 1000 || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid())) return ERR_NOT_FOUND;
	period_ms = value / 1000;
	kind = KIND_SUPERVISOR;
	return 0;
}

int hal_watchdog_open(const char *device)
{
	int seconds = PERIOD_S_DEFAULT;

	if (strcmp(device, "none") == 0) return 0;
	if (strcmp(device, "systemd") == 0) return supervisor_open();
	device_fd = open(device, O_WRONLY | O_CLOEXEC);
	if (device_fd < 0) return linux_err_file(errno);
	/* The call itself: the C libraries do not agree on the sign of a request, the kernel does. */
	if (syscall(SYS_ioctl, device_fd, WDIOC_GETTIMEOUT, &seconds) < 0) {
		int e = errno;
		/* Some drivers cannot tell; what is no watchdog at all does not know the call. */
		if (e == ENOTTY) {
			close(device_fd);
			device_fd = -1;
			return ERR_UNSUPPORTED;
		}
		seconds = PERIOD_S_DEFAULT;
	}
	period_ms = (int64_t)seconds * 1000;
	kind = KIND_DEVICE;
	return 0;
}

int64_t hal_watchdog_period_ms(void)
{
	return period_ms;
}

void hal_watchdog_kick(void)
{
	if (kind == KIND_SUPERVISOR) linux_notify("WATCHDOG=1");
	/* Any byte but 'V' is a kick (Documentation/watchdog/watchdog-api.rst). What fails is seen by the
	 * reboot. */
	if (kind == KIND_DEVICE && write(device_fd, "k", 1) < 0) return;
}

void hal_watchdog_close(void)
{
	if (kind == KIND_DEVICE) {
		/* The "magic close": without it the timer goes on and the device reboots. */
		if (write(device_fd, "V", 1) < 0) period_ms = HAL_FOREVER;
		close(device_fd);
		device_fd = -1;
	}
	kind = KIND_NONE;
	period_ms = HAL_FOREVER;
}
