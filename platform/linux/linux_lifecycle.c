/* A signal handler writes one byte into a pipe; everything else reads it there. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/check.h"
#include "hal_clock.h"
#include "hal_lifecycle.h"
#include "linux/linux.h"

static int pipe_fds[2] = {-1, -1};
static bool stopped;

static void wish_send(char letter)
{
	int e = errno;

	/* A full pipe has enough wishes in it. */
	if (write(pipe_fds[1], &letter, 1) < 0) errno = e;
	errno = e;
}

static void on_signal(int number)
{
	wish_send(number == SIGHUP ? 'r' : 's');
}

void hal_lifecycle_init(void)
{
	static const int signals[] = {SIGHUP, SIGTERM, SIGINT};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	if (pipe_fds[0] < 0) CHECK(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0);
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		sigaction(signals[i], &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
}

enum hal_wish hal_lifecycle_wait(int64_t deadline_ms)
{
	char letter;

	while (!stopped) {
		ssize_t n = read(pipe_fds[0], &letter, 1);

		if (n == 1 && letter == 's')
			stopped = true;
		else if (n == 1)
			return HAL_WISH_RELOAD;
		else if (linux_poll(pipe_fds[0], POLLIN, deadline_ms) < 0)
			return HAL_WISH_NONE;
	}
	return HAL_WISH_STOP;
}

void hal_lifecycle_wish(enum hal_wish wish)
{
	if (wish != HAL_WISH_NONE) wish_send(wish == HAL_WISH_RELOAD ? 'r' : 's');
}

void hal_lifecycle_ready(void)
{
	linux_notify("READY=1");
}

void hal_lifecycle_stopping(void)
{
	linux_notify("STOPPING=1");
}
