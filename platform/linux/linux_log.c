/* stderr: one write a line. syslog: one datagram a line (RFC 3164 as /dev/log takes it), without libc's
 * lock and format. Neither waits: a pipe without a reader or a full socket loses the line. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "hal_log.h"

#define WAIT_MS_MAX     100
#define FACILITY_DAEMON (3 << 3)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static enum hal_log_target target = HAL_LOG_STDERR;
static char ident[32] = "postern";
static int syslog_fd = -1;

void hal_log_open(enum hal_log_target to, const char *name)
{
	pthread_mutex_lock(&mutex);
	target = to;
	snprintf(ident, sizeof ident, "%s", name);
	if (syslog_fd >= 0) close(syslog_fd);
	syslog_fd = -1;
	pthread_mutex_unlock(&mutex);
}

static void stderr_line(const char *line, size_t len)
{
	struct iovec parts[2] = {{(void *)(uintptr_t)line, len}, {(void *)(uintptr_t) "\n", 1}};
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	/* A pipe that is ready takes at least PIPE_BUF bytes. */
	if (poll(&p, 1, WAIT_MS_MAX) <= 0) return;
	while (writev(STDERR_FILENO, parts, 2) < 0 && errno == EINTR)
		;
}

static void syslog_connect(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};

	syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (syslog_fd >= 0 && connect(syslog_fd, (const struct sockaddr *)&un, sizeof un) < 0) {
		close(syslog_fd);
		syslog_fd = -1;
	}
}

static void syslog_line(int level, const char *line, size_t len)
{
	static const int severities[] = {3, 4, 6, 7};
	char head[64];
	int n = snprintf(head, sizeof head, "<%d>%s[%ld]: ", FACILITY_DAEMON | severities[level & 3], ident,
			 (long)getpid());
	struct iovec parts[2] = {{head, (size_t)n}, {(void *)(uintptr_t)line, len}};
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};

	/* Twice: the log daemon may have been restarted since. */
	for (int i = 0; i < 2; i++) {
		if (syslog_fd < 0) syslog_connect();
		if (syslog_fd < 0 || sendmsg(syslog_fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ||
		    errno == EAGAIN)
			return;
		close(syslog_fd);
		syslog_fd = -1;
	}
}

void hal_log_line(int level, const char *line, size_t len)
{
	pthread_mutex_lock(&mutex);
	if (target == HAL_LOG_SYSLOG)
		syslog_line(level, line, len);
	else
		stderr_line(line, len);
	pthread_mutex_unlock(&mutex);
}
