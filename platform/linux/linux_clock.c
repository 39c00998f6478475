#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "build_info.h"
#include "hal_clock.h"
#include "linux/linux.h"

/* A sleeper looks at the clock so often, whatever the kernel thinks of long timeouts. */
#define SLICE_MS (60 * 60 * 1000)

static pthread_mutex_t floor_mutex = PTHREAD_MUTEX_INITIALIZER;
static int64_t floor_ms = POSTERN_BUILD_TIME * 1000;
static int64_t floor_at_ms; /* monotonic time when it was raised: from then on it runs */

int64_t hal_clock_mono_ms(void)
{
	struct timespec ts;

	/* BOOTTIME goes on while the device is suspended. */
	if (clock_gettime(CLOCK_BOOTTIME, &ts) != 0) clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + 1;
}

int64_t hal_clock_in(int64_t ms)
{
	int64_t now = hal_clock_mono_ms();

	return ms > HAL_FOREVER - now ? HAL_FOREVER : now + ms;
}

int64_t hal_clock_wall_ms(bool *set)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	int64_t device = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	pthread_mutex_lock(&floor_mutex);
	int64_t floor = floor_ms, running = floor_ms + hal_clock_mono_ms() - floor_at_ms;
	pthread_mutex_unlock(&floor_mutex);
	if (set != NULL) *set = device >= floor;
	return device >= floor ? device : running;
}

void hal_clock_floor_raise(int64_t unix_ms)
{
	pthread_mutex_lock(&floor_mutex);
	if (unix_ms > floor_ms) {
		floor_ms = unix_ms;
		floor_at_ms = hal_clock_mono_ms();
	}
	pthread_mutex_unlock(&floor_mutex);
}

int64_t linux_left_ms(int64_t deadline_ms)
{
	int64_t now = hal_clock_mono_ms();

	return deadline_ms <= now ? 0 : deadline_ms - now;
}

void hal_clock_sleep_until(int64_t mono_ms)
{
	for (;;) {
		int64_t left = linux_left_ms(mono_ms);

		if (left == 0) return;
		if (left > SLICE_MS) left = SLICE_MS;
		struct timespec ts = {(time_t)(left / 1000), (long)(left % 1000) * 1000000};
		clock_nanosleep(CLOCK_BOOTTIME, 0, &ts, NULL);
	}
}
