#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "hal_thread.h"
#include "linux/linux.h"

/* A wait is cut into slices: the condition's clock stands still while the device is suspended, a
 * deadline does not. */
#define SLICE_MS (60 * 1000)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STACK_BYTES_EXTRA (512u << 10) /* instrumented frames are larger */
#else
#define STACK_BYTES_EXTRA 0u
#endif

/* may_alias: it lives in storage that hal/ declares as uint64_t. */
struct __attribute__((may_alias)) thread {
	pthread_t real;
	void (*fn)(void *arg);
	void *arg;
	char name[16];
};

_Static_assert(sizeof(struct thread) <= sizeof(struct hal_thread), "hal_thread is too small");
_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct hal_mutex), "hal_mutex is too small");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(struct hal_cond), "hal_cond is too small");

static struct thread *thread_of(struct hal_thread *t)
{
	return (struct thread *)(void *)t->opaque;
}

static pthread_mutex_t *mutex_of(struct hal_mutex *m)
{
	return (pthread_mutex_t *)(void *)m->opaque;
}

static pthread_cond_t *cond_of(struct hal_cond *c)
{
	return (pthread_cond_t *)(void *)c->opaque;
}

static void *thread_main(void *arg)
{
	const struct thread *t = arg;

	prctl(PR_SET_NAME, t->name);
	t->fn(t->arg);
	return NULL;
}

static size_t stack_bytes_of(size_t wanted)
{
	size_t min = (size_t)sysconf(_SC_THREAD_STACK_MIN);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (min == 0 || min > (1u << 20)) min = (size_t)PTHREAD_STACK_MIN;
	if (wanted < min) wanted = min;
	return (wanted + STACK_BYTES_EXTRA + page - 1) / page * page;
}

int hal_thread_start(struct hal_thread *out, const char *name, size_t stack_bytes, void (*fn)(void *arg),
		     void *arg)
{
	struct thread *t = thread_of(out);
	pthread_attr_t attr;
	sigset_t all, before;

	t->fn = fn;
	t->arg = arg;
	snprintf(t->name, sizeof t->name, "%s", name);
	if (pthread_attr_init(&attr) != 0) return ERR_NO_MEMORY;
	pthread_attr_setstacksize(&attr, stack_bytes_of(stack_bytes));
	/* Signals are the main thread's: a thread starts with all of them blocked. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&t->real, &attr, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return rc == 0 ? 0 : ERR_NO_MEMORY;
}

void hal_thread_join(struct hal_thread *t)
{
	CHECK(pthread_join(thread_of(t)->real, NULL) == 0);
}

void hal_mutex_init(struct hal_mutex *m)
{
	CHECK(pthread_mutex_init(mutex_of(m), NULL) == 0);
}

void hal_mutex_lock(struct hal_mutex *m)
{
	CHECK(pthread_mutex_lock(mutex_of(m)) == 0);
}

void hal_mutex_unlock(struct hal_mutex *m)
{
	CHECK(pthread_mutex_unlock(mutex_of(m)) == 0);
}

void hal_mutex_close(struct hal_mutex *m)
{
	CHECK(pthread_mutex_destroy(mutex_of(m)) == 0);
}

void linux_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(c, &attr) == 0);
	pthread_condattr_destroy(&attr);
}

int linux_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_ms)
{
	if (deadline_ms == HAL_FOREVER) {
		CHECK(pthread_cond_wait(c, m) == 0);
		return 0;
	}
	for (;;) {
		int64_t left = linux_left_ms(deadline_ms);
		struct timespec ts;

		if (left == 0) return ERR_TIMEOUT;
		if (left > SLICE_MS) left = SLICE_MS;
		clock_gettime(CLOCK_MONOTONIC, &ts);
		int64_t ns = ts.tv_nsec + (left % 1000) * 1000000;
		ts.tv_sec += (time_t)(left / 1000 + ns / 1000000000);
		ts.tv_nsec = (long)(ns % 1000000000);
		int rc = pthread_cond_timedwait(c, m, &ts);
		if (rc == 0) return 0;
		CHECK(rc == ETIMEDOUT);
	}
}

void hal_cond_init(struct hal_cond *c)
{
	linux_cond_init(cond_of(c));
}

int hal_cond_wait(struct hal_cond *c, struct hal_mutex *m, int64_t deadline_ms)
{
	return linux_cond_wait(cond_of(c), mutex_of(m), deadline_ms);
}

void hal_cond_signal(struct hal_cond *c)
{
	CHECK(pthread_cond_signal(cond_of(c)) == 0);
}

void hal_cond_broadcast(struct hal_cond *c)
{
	CHECK(pthread_cond_broadcast(cond_of(c)) == 0);
}

void hal_cond_close(struct hal_cond *c)
{
	CHECK(pthread_cond_destroy(cond_of(c)) == 0);
}
