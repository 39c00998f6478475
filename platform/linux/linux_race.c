/* Attempts to connect, all in one poll(). */
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_race.h"
#include "linux/linux.h"

#define SLICE_MS (60 * 1000)

/* may_alias: it lives in storage that hal/ declares as uint64_t. */
struct __attribute__((may_alias)) race {
	struct hal_cancel *cancel;
	struct {
		int fd_plus1; /* 0: none is under way */
		struct hal_addr to;
	} lanes[HAL_RACE_LANES];
};

_Static_assert(sizeof(struct race) <= sizeof(struct hal_race), "hal_race is too small");

static struct race *race_of(struct hal_race *r)
{
	return (struct race *)(void *)r->opaque;
}

void hal_race_init(struct hal_race *out, struct hal_cancel *cancel)
{
	memset(out, 0, sizeof *out);
	race_of(out)->cancel = cancel;
}

int hal_race_begin(struct hal_race *race, unsigned lane, const struct hal_addr *to)
{
	struct race *r = race_of(race);
	int fd;

	if (lane >= HAL_RACE_LANES || r->lanes[lane].fd_plus1 != 0) return ERR_INVALID;
	int rc = linux_connect_begin(&fd, to);
	if (rc < 0) return rc;
	r->lanes[lane].fd_plus1 = fd + 1;
	r->lanes[lane].to = *to;
	return 0;
}

/* The first lane of those that are ready whose attempt has ended, HAL_RACE_LANES when none has. No further one is
 * asked: connect() tells an error only once. */
static unsigned look(struct race *r, const bool *ready, int *err)
{
	for (unsigned i = 0; i < HAL_RACE_LANES; i++) {
		if (!ready[i]) continue;
		*err = linux_connect_end(r->lanes[i].fd_plus1 - 1, &r->lanes[i].to);
		if (*err != ERR_BUSY) return i;
	}
	return HAL_RACE_LANES;
}

static int take(struct race *r, unsigned lane, struct hal_socket *s, int *err)
{
	int fd = r->lanes[lane].fd_plus1 - 1;

	r->lanes[lane].fd_plus1 = 0;
	if (*err == 0) *err = linux_socket_adopt(s, fd);
	if (*err < 0) close(fd);
	return (int)lane;
}

/* One poll() over the attempts and the wish: which attempts have ended, well or badly. */
static void poll_all(const struct race *r, int cancel_fd, int left_ms, bool *good, bool *bad)
{
	struct pollfd p[HAL_RACE_LANES + 1] = {{.fd = cancel_fd, .events = POLLIN}};

	for (unsigned i = 0; i < HAL_RACE_LANES; i++)
		p[i + 1] = (struct pollfd){.fd = r->lanes[i].fd_plus1 - 1, .events = POLLOUT};
	int n = poll(p, HAL_RACE_LANES + 1, left_ms);
	for (unsigned i = 0; i < HAL_RACE_LANES; i++) {
		bad[i] = n > 0 && (p[i + 1].revents & (POLLERR | POLLHUP)) != 0;
		good[i] = n > 0 && !bad[i] && (p[i + 1].revents & POLLOUT) != 0;
	}
}

int hal_race_wait(struct hal_race *race, struct hal_socket *s, int *err, int64_t deadline_ms)
{
	struct race *r = race_of(race);
	int cancel_fd = linux_cancel_fd(r->cancel);

	if (cancel_fd < 0) return cancel_fd;
	for (;;) {
		bool good[HAL_RACE_LANES], bad[HAL_RACE_LANES];
		int64_t left = linux_left_ms(deadline_ms);

		if (hal_cancel_is_set(r->cancel)) return ERR_STOPPING;
		poll_all(r, cancel_fd, left > SLICE_MS ? SLICE_MS : (int)left, good, bad);
		if (hal_cancel_is_set(r->cancel)) return ERR_STOPPING;
		unsigned lane = look(r, good, err);
		if (lane == HAL_RACE_LANES) lane = look(r, bad, err);
		if (lane < HAL_RACE_LANES) return take(r, lane, s, err);
		if (left == 0) return ERR_TIMEOUT;
	}
}

void hal_race_close(struct hal_race *race)
{
	struct race *r = race_of(race);

	for (unsigned i = 0; i < HAL_RACE_LANES; i++) {
		if (r->lanes[i].fd_plus1 != 0) close(r->lanes[i].fd_plus1 - 1);
		r->lanes[i].fd_plus1 = 0;
	}
}
