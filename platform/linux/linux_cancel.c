/* The wish is a flag for those who look, and an eventfd for those who sleep in poll(). The descriptor is made
 * when the first of those comes: he stores it and then looks at the flag, who wishes sets the flag and then looks
 * for the descriptor, so one of the two sees the other. */
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "hal_cancel.h"
#include "linux/linux.h"

/* may_alias: it lives in storage that hal/ declares as uint64_t. */
struct __attribute__((may_alias)) cancel {
	atomic_int set;
	atomic_int fd_plus1;
};

_Static_assert(sizeof(struct cancel) <= sizeof(struct hal_cancel), "hal_cancel is too small");

static struct cancel *cancel_of(struct hal_cancel *c)
{
	return (struct cancel *)(void *)c->opaque;
}

void hal_cancel_init(struct hal_cancel *c)
{
	memset(c, 0, sizeof *c);
	atomic_init(&cancel_of(c)->set, 0);
	atomic_init(&cancel_of(c)->fd_plus1, 0);
}

int linux_cancel_fd(struct hal_cancel *c)
{
	struct cancel *k = cancel_of(c);
	int fd = atomic_load(&k->fd_plus1) - 1;

	if (fd >= 0) return fd;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) return ERR_NO_MEMORY;
	atomic_store(&k->fd_plus1, fd + 1);
	return fd;
}

void hal_cancel_set(struct hal_cancel *c)
{
	struct cancel *k = cancel_of(c);
	const uint64_t one = 1;

	atomic_store(&k->set, 1);
	int fd = atomic_load(&k->fd_plus1) - 1;
	/* A write can fail only when it is readable already. */
	ssize_t n = fd >= 0 ? write(fd, &one, sizeof one) : 0;
	(void)n;
	linux_dns_wake();
}

bool hal_cancel_is_set(const struct hal_cancel *c)
{
	const struct cancel *k = (const struct cancel *)(const void *)c->opaque;

	return atomic_load(&k->set) != 0;
}

void hal_cancel_close(struct hal_cancel *c)
{
	struct cancel *k = cancel_of(c);
	int fd = atomic_exchange(&k->fd_plus1, 0) - 1;

	if (fd >= 0) close(fd);
}
