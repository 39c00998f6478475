/* The baton: one thread runs, the seed says which. hal_thread is built on it. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hal_thread.h"
#include "sim_world.h"

#define THREADS_MAX 128
/* Tests print and assert on these threads: more than the firmware asks for. */
#define STACK_BYTES_MIN (512u << 10)
#define SPINS_MAX       10000000u

enum thread_state { THREAD_FREE, THREAD_READY, THREAD_WAITING, THREAD_DONE };

struct thread {
	enum thread_state state;
	unsigned id;
	char name[16];
	const void *on;
	const char *what;
	int64_t deadline_ms;
	bool woken;
	bool detached;
	sem_t go;
	pthread_t real;
	void (*fn)(void *arg);
	void *arg;
};

static struct thread threads[THREADS_MAX];
static unsigned threads_started;
static _Thread_local struct thread *self;

void sim_enter(void)
{
	if (!sim_world.up) sim_world_implicit();
	if (self == NULL) sim_misuse("a thread that hal_thread did not start");
}

unsigned sim_self_id(void)
{
	return self == NULL ? 0 : self->id;
}

const char *sim_self_name(void)
{
	return self == NULL ? "outside" : self->name;
}

void sim_sched_start(void)
{
	memset(threads, 0, sizeof threads);
	threads_started = 0;
	self = &threads[0];
	self->state = THREAD_READY;
	strcpy(self->name, "main");
	sem_init(&self->go, 0, 0);
}

void sim_dump(void)
{
	fprintf(stderr, "sim: seed %llu, time %lld\n", (unsigned long long)sim_world.config.seed,
		(long long)sim_world.now_ms);
	for (size_t i = 0; i < THREADS_MAX; i++) {
		const struct thread *t = &threads[i];

		if (t->state == THREAD_WAITING && t->deadline_ms == HAL_FOREVER)
			fprintf(stderr, "sim: %-15s waits for %s\n", t->name, t->what);
		else if (t->state == THREAD_WAITING)
			fprintf(stderr, "sim: %-15s waits for %s until %lld\n", t->name, t->what,
				(long long)t->deadline_ms);
		else if (t->state == THREAD_READY)
			fprintf(stderr, "sim: %-15s runs\n", t->name);
	}
}

/* Time moves to the next deadline, or the boot ends. */
static void time_move(void)
{
	struct sim_world *w = &sim_world;
	int64_t next = HAL_FOREVER;

	for (size_t i = 0; i < THREADS_MAX; i++)
		if (threads[i].state == THREAD_WAITING && threads[i].deadline_ms < next)
			next = threads[i].deadline_ms;

	int64_t cut = w->config.cut_at_ms > 0 ? SIM_START_MS + w->config.cut_at_ms : HAL_FOREVER;
	int64_t limit =
		w->config.time_ms_max == HAL_FOREVER ? HAL_FOREVER : SIM_START_MS + w->config.time_ms_max;
	int64_t dog = w->watchdog_on ? w->watchdog_due_ms : HAL_FOREVER;

	if (next == HAL_FOREVER && cut == HAL_FOREVER && dog == HAL_FOREVER) {
		if (!w->config.quiet || !w->forked) sim_dump();
		sim_stop(SIM_DEADLOCK);
	}
	if (cut <= next && cut <= dog && cut <= limit) {
		w->now_ms = cut;
		sim_stop(SIM_POWER_CUT);
	}
	if (dog < next && dog <= limit) {
		w->now_ms = dog;
		sim_stop(SIM_WATCHDOG);
	}
	if (next > limit) {
		w->now_ms = limit;
		if (!w->config.quiet) sim_dump();
		sim_stop(SIM_TIME_LIMIT);
	}
	if (next > w->now_ms) {
		w->now_ms = next;
		w->spins = 0;
	}
	for (size_t i = 0; i < THREADS_MAX; i++) {
		struct thread *t = &threads[i];

		if (t->state == THREAD_WAITING && t->deadline_ms <= w->now_ms) {
			t->state = THREAD_READY;
			t->woken = false;
		}
	}
}

static struct thread *thread_pick(void)
{
	for (;;) {
		struct thread *ready[THREADS_MAX];
		size_t n = 0;

		for (size_t i = 0; i < THREADS_MAX; i++)
			if (threads[i].state == THREAD_READY) ready[n++] = &threads[i];
		if (n > 0) return ready[sim_rng_below(&sim_world.rng_sched, n)];
		time_move();
	}
}

/* Hands the baton on; returns when the caller has it again (at once when it ended). */
static void baton_pass(void)
{
	struct thread *me = self;
	bool ended = me->state == THREAD_DONE || me->state == THREAD_FREE;
	struct thread *next = thread_pick();

	if (++sim_world.steps > sim_world.config.steps_max) {
		if (!sim_world.config.quiet) sim_dump();
		sim_stop(SIM_STEP_LIMIT);
	}
	sim_trace("run", next->id, 0);
	if (next == me) return;
	sem_post(&next->go);
	if (ended) return;
	while (sem_wait(&me->go) < 0 && errno == EINTR)
		;
}

void sim_preempt(void)
{
	sim_enter();
	if (sim_rng_percent(&sim_world.rng_sched, sim_world.config.preempt_percent)) baton_pass();
}

bool sim_wait(const void *on, int64_t deadline_ms, const char *what)
{
	sim_enter();
	self->state = THREAD_WAITING;
	self->on = on;
	self->what = what;
	self->deadline_ms = deadline_ms;
	self->woken = false;
	baton_pass();
	self->on = NULL;
	return self->woken;
}

static void thread_wake(struct thread *t)
{
	t->state = THREAD_READY;
	t->woken = true;
	t->on = NULL;
}

void sim_wake_all(const void *on)
{
	for (size_t i = 0; i < THREADS_MAX; i++)
		if (threads[i].state == THREAD_WAITING && threads[i].on == on) thread_wake(&threads[i]);
}

void sim_wake_one(const void *on)
{
	struct thread *waiting[THREADS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < THREADS_MAX; i++)
		if (threads[i].state == THREAD_WAITING && threads[i].on == on) waiting[n++] = &threads[i];
	if (n > 0) thread_wake(waiting[sim_rng_below(&sim_world.rng_sched, n)]);
}

/* ---- threads ---- */

static void *thread_main(void *arg)
{
	self = arg;
	while (sem_wait(&self->go) < 0 && errno == EINTR)
		;
	self->fn(self->arg);
	sim_trace("thread-end", self->id, 0);
	if (self->detached) {
		self->state = THREAD_FREE;
	} else {
		self->state = THREAD_DONE;
		sim_wake_all(self);
	}
	baton_pass();
	return NULL;
}

static struct thread *thread_create(const char *name, size_t stack_bytes, bool detached, void (*fn)(void *),
				    void *arg)
{
	struct thread *t = NULL;
	pthread_attr_t attr;

	for (size_t i = 0; i < THREADS_MAX && t == NULL; i++)
		if (threads[i].state == THREAD_FREE) t = &threads[i];
	if (t == NULL) return NULL;
	memset(t, 0, sizeof *t);
	t->id = ++threads_started;
	snprintf(t->name, sizeof t->name, "%s", name);
	t->detached = detached;
	t->fn = fn;
	t->arg = arg;
	sem_init(&t->go, 0, 0);
	pthread_attr_init(&attr);
	if (stack_bytes < STACK_BYTES_MIN) stack_bytes = STACK_BYTES_MIN;
	pthread_attr_setstacksize(&attr, (stack_bytes + 65535) / 65536 * 65536);
	if (detached) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	t->state = THREAD_READY;
	int rc = pthread_create(&t->real, &attr, thread_main, t);
	pthread_attr_destroy(&attr);
	if (rc != 0) {
		t->state = THREAD_FREE;
		return NULL;
	}
	sim_trace("thread-start", t->id, 0);
	return t;
}

int hal_thread_start(struct hal_thread *t, const char *name, size_t stack_bytes, void (*fn)(void *arg),
		     void *arg)
{
	sim_enter();
	struct thread *made = thread_create(name, stack_bytes, false, fn, arg);

	if (made == NULL) return ERR_NO_MEMORY;
	t->opaque[0] = (uint64_t)(uintptr_t)made;
	sim_preempt();
	return 0;
}

void hal_thread_join(struct hal_thread *t)
{
	sim_enter();
	struct thread *other = (struct thread *)(uintptr_t)t->opaque[0];

	while (other->state != THREAD_DONE)
		sim_wait(other, HAL_FOREVER, "the end of a thread");
	pthread_join(other->real, NULL);
	sem_destroy(&other->go);
	other->state = THREAD_FREE;
	t->opaque[0] = 0;
}

void sim_script_start(const char *name, void (*fn)(void *arg), void *arg)
{
	sim_enter();
	if (thread_create(name, 0, true, fn, arg) == NULL) sim_misuse("too many threads");
}

/* ---- mutexes: [0] owner's thread or 0, [1] mark of an initialised one ---- */

#define MUTEX_MARK UINT64_C(0x6d75746578)
#define COND_MARK  UINT64_C(0x636f6e64)

static void mutex_checked(const struct hal_mutex *m)
{
	sim_enter();
	if (m->opaque[1] != MUTEX_MARK) sim_misuse("a mutex that is not initialised");
}

void hal_mutex_init(struct hal_mutex *m)
{
	m->opaque[0] = 0;
	m->opaque[1] = MUTEX_MARK;
}

static void mutex_take(struct hal_mutex *m)
{
	if (m->opaque[0] == (uint64_t)(uintptr_t)self) sim_misuse("a mutex locked twice by one thread");
	while (m->opaque[0] != 0)
		sim_wait(m, HAL_FOREVER, "a mutex");
	m->opaque[0] = (uint64_t)(uintptr_t)self;
}

static void mutex_give(struct hal_mutex *m)
{
	if (m->opaque[0] != (uint64_t)(uintptr_t)self)
		sim_misuse("a mutex unlocked by a thread that does not hold it");
	m->opaque[0] = 0;
	sim_wake_all(m);
}

void hal_mutex_lock(struct hal_mutex *m)
{
	mutex_checked(m);
	sim_preempt();
	mutex_take(m);
}

void hal_mutex_unlock(struct hal_mutex *m)
{
	mutex_checked(m);
	mutex_give(m);
	sim_preempt();
}

void hal_mutex_close(struct hal_mutex *m)
{
	mutex_checked(m);
	if (m->opaque[0] != 0) sim_misuse("a mutex closed while locked");
	m->opaque[1] = 0;
}

static void cond_checked(const struct hal_cond *c)
{
	sim_enter();
	if (c->opaque[1] != COND_MARK) sim_misuse("a condition that is not initialised");
}

void hal_cond_init(struct hal_cond *c)
{
	c->opaque[0] = 0;
	c->opaque[1] = COND_MARK;
}

int hal_cond_wait(struct hal_cond *c, struct hal_mutex *m, int64_t deadline_ms)
{
	bool woken = true;

	cond_checked(c);
	mutex_checked(m);
	mutex_give(m);
	if (sim_rng_percent(&sim_world.rng_sched, sim_world.config.spurious_percent))
		baton_pass();
	else
		woken = sim_wait(c, deadline_ms, "a condition");
	mutex_take(m);
	return woken ? 0 : ERR_TIMEOUT;
}

void hal_cond_signal(struct hal_cond *c)
{
	cond_checked(c);
	sim_wake_one(c);
	sim_preempt();
}

void hal_cond_broadcast(struct hal_cond *c)
{
	cond_checked(c);
	sim_wake_all(c);
	sim_preempt();
}

void hal_cond_close(struct hal_cond *c)
{
	cond_checked(c);
	c->opaque[1] = 0;
}

/* ---- clock ---- */

int64_t hal_clock_mono_ms(void)
{
	sim_enter();
	/* A loop that looks at the clock and never waits would run for ever: time stands still for it. */
	if (++sim_world.spins > SPINS_MAX) {
		sim_dump();
		sim_stop(SIM_STEP_LIMIT);
	}
	return sim_world.now_ms;
}

void hal_clock_sleep_until(int64_t mono_ms)
{
	static const char on_nothing;

	sim_enter();
	while (sim_world.now_ms < mono_ms)
		sim_wait(&on_nothing, mono_ms, "time");
	sim_preempt();
}
