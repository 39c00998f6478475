/* The life of a world: memory that lasts, boots, ends, chance, the trace. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim_world.h"

/* 2025-09-19T10:30:00Z: any fixed moment after the build time. */
#define SIM_TRUE_MS_DEFAULT INT64_C(1758277800000)

struct sim_world sim_world;

struct sim_lasting *sim_lasting(void)
{
	static struct sim_lasting *lasting;

	if (lasting == NULL) {
		void *p = mmap(NULL, sizeof *lasting, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED) sim_misuse("no memory for the world");
		lasting = p;
	}
	return lasting;
}

/* ---- chance: splitmix64 ---- */

uint64_t sim_rng_next(struct sim_rng *r)
{
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t sim_rng_below(struct sim_rng *r, uint64_t limit)
{
	return limit <= 1 ? 0 : sim_rng_next(r) % limit;
}

bool sim_rng_percent(struct sim_rng *r, unsigned percent)
{
	return percent > 0 && sim_rng_below(r, 100) < percent;
}

static struct sim_rng rng_from(uint64_t seed, uint64_t which)
{
	struct sim_rng r = {seed * UINT64_C(0x2545f4914f6cdd1d) + which};

	sim_rng_next(&r);
	return r;
}

uint64_t sim_random(uint64_t limit)
{
	sim_enter();
	return limit == 0 ? sim_rng_next(&sim_world.rng_script) : sim_rng_below(&sim_world.rng_script, limit);
}

/* ---- trace: FNV-1a over every event ---- */

static void hash_bytes(const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		sim_world.hash = (sim_world.hash ^ p[i]) * UINT64_C(0x100000001b3);
}

static void hash_u64(uint64_t v)
{
	/* Byte by byte, so that big-endian targets give the same hash. */
	for (int i = 0; i < 8; i++) {
		unsigned char b = (unsigned char)(v >> (8 * i));
		hash_bytes(&b, 1);
	}
}

void sim_trace(const char *event, uint64_t a, uint64_t b)
{
	if (!sim_world.up) return;
	hash_bytes(event, strlen(event));
	hash_u64(a);
	hash_u64(b);
	hash_u64((uint64_t)sim_world.now_ms);
	if (sim_world.print_trace)
		fprintf(stderr, "sim: %8lld %-15s %s %llu %llu\n", (long long)sim_world.now_ms,
			sim_self_name(), event, (unsigned long long)a, (unsigned long long)b);
}

uint64_t sim_trace_hash(void)
{
	return sim_world.hash;
}

/* ---- outside ---- */

void *sim_shared(size_t bytes)
{
	struct sim_lasting *l = sim_lasting();
	size_t take = (bytes + 63) & ~(size_t)63;

	if (take < bytes || take > SIM_SHARED_BYTES - l->shared_used)
		sim_misuse("sim_shared: more than there is");
	void *p = l->shared + l->shared_used;
	l->shared_used += take;
	return p;
}

void sim_note(const char *format, ...)
{
	struct sim_lasting *l = sim_lasting();
	size_t room = SIM_NOTES_BYTES - l->notes_len;
	va_list args;

	va_start(args, format);
	int n = vsnprintf(l->notes + l->notes_len, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n + 2 > room) sim_misuse("sim_note: the diary is full");
	l->notes_len += (size_t)n;
	l->notes[l->notes_len++] = '\n';
	l->notes[l->notes_len] = '\0';
}

const char *sim_notes(void)
{
	return sim_lasting()->notes;
}

const char *sim_log_text(void)
{
	return sim_lasting()->log;
}

struct sim_faults *sim_faults(void)
{
	sim_enter();
	return &sim_world.faults;
}

void sim_reset(void)
{
	struct sim_lasting *l = sim_lasting();

	memset(l->shared, 0, l->shared_used);
	memset(l->notes, 0, l->notes_len);
	memset(l->log, 0, l->log_len);
	l->shared_used = l->notes_len = l->log_len = l->image_len = 0;
	l->boots = 0;
	l->true_ms = 0;
	sim_fs_forget();
	sim_storage_forget();
	sim_net_reset();
	memset(&sim_world, 0, sizeof sim_world);
}

/* ---- boot and end ---- */

struct sim_config sim_config_default(uint64_t seed)
{
	struct sim_config c;

	memset(&c, 0, sizeof c);
	c.seed = seed;
	c.preempt_percent = 20;
	c.spurious_percent = 2;
	c.time_ms_max = 3600 * 1000;
	c.steps_max = 5000000;
	c.real_s_max = 60;
	c.faults.net.split_percent = 25;
	c.faults.disk.sync_ms = 1;
	c.faults.disk.sector_bytes = 4096;
	c.faults.clock.true_ms = SIM_TRUE_MS_DEFAULT;
	return c;
}

static void world_boot(const struct sim_config *config, bool forked)
{
	struct sim_lasting *l = sim_lasting();
	struct sim_world *w = &sim_world;
	const char *log = getenv("SIM_LOG");
	const char *trace = getenv("SIM_TRACE");

	memset(w, 0, sizeof *w);
	w->config = *config;
	w->faults = config->faults;
	w->forked = forked;
	w->now_ms = SIM_START_MS;
	w->hash = UINT64_C(0xcbf29ce484222325);
	w->print_log = log != NULL && log[0] == '1';
	w->print_trace = trace != NULL && trace[0] == '1';
	w->rng_sched = rng_from(config->seed, 1);
	w->rng_net = rng_from(config->seed, 2);
	w->rng_disk = rng_from(config->seed, 3);
	w->rng_entropy = rng_from(config->seed, 4);
	w->rng_script = rng_from(config->seed, 5);

	if (l->boots == 0)
		l->true_ms = config->faults.clock.true_ms;
	else
		l->true_ms += config->faults.clock.off_ms;
	l->boots++;
	w->true_base_ms = l->true_ms - w->now_ms;
	w->wall_offset_ms = config->faults.clock.no_rtc ? -l->true_ms : config->faults.clock.wrong_ms;
	memset(l->log, 0, l->log_len);
	l->log_len = 0;
	l->ended = false;
	memset(&l->result, 0, sizeof l->result);

	w->up = true;
	sim_sched_start();
	sim_net_boot();
	sim_fs_load();
}

void sim_world_implicit(void)
{
	struct sim_config c = sim_config_default(1);

	c.time_ms_max = HAL_FOREVER;
	c.steps_max = UINT64_MAX;
	world_boot(&c, false);
}

static void result_fill(enum sim_end end)
{
	struct sim_lasting *l = sim_lasting();

	l->true_ms = sim_world.true_base_ms + sim_world.now_ms;
	l->result.end = end;
	l->result.trace_hash = sim_world.hash;
	l->result.steps = sim_world.steps;
	l->result.disk_ops = sim_world.disk_ops;
	l->result.disk_calls = sim_world.disk_calls;
	l->result.allocs = sim_world.allocs;
	l->result.time_ms = sim_world.now_ms - SIM_START_MS;
}

_Noreturn void sim_stop(enum sim_end end)
{
	sim_trace("end", end, 0);
	if (!sim_world.forked) {
		fprintf(stderr, "sim: %s outside of sim_run\n", sim_end_text(end));
		abort();
	}
	bool power = end == SIM_POWER_CUT || end == SIM_WATCHDOG ||
		     (end == SIM_FINISHED && sim_world.faults.disk.cut_at_end);
	result_fill(end);
	if (power) sim_fs_damage(sim_world.faults.disk.damage);
	sim_fs_save();
	sim_lasting()->ended = true;
	fflush(NULL);
	_exit(0);
}

_Noreturn void sim_misuse(const char *what)
{
	fprintf(stderr, "sim: misuse by %s: %s\n", sim_self_name(), what);
	abort();
}

_Noreturn void sim_power_cut(void)
{
	sim_enter();
	sim_stop(SIM_POWER_CUT);
}

_Noreturn void sim_kill(void)
{
	sim_enter();
	sim_stop(SIM_KILLED);
}

const char *sim_end_text(enum sim_end end)
{
	static const char *const texts[] = {"finished",   "power cut",  "killed", "watchdog", "deadlock",
					    "time limit", "step limit", "hung",   "crashed"};

	return (size_t)end < sizeof texts / sizeof texts[0] ? texts[end] : "?";
}

static _Noreturn void child_main(const struct sim_config *config, void (*main_fn)(void *), void *arg)
{
	static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGALRM};

	/* The test's framework has handlers that would go on with its next test, here in the child. */
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		signal(signals[i], SIG_DFL);
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	alarm(config->real_s_max);
	world_boot(config, true);
	main_fn(arg);
	sim_stop(SIM_FINISHED);
}

struct sim_result sim_run(const struct sim_config *config, void (*main_fn)(void *arg), void *arg)
{
	struct sim_lasting *l = sim_lasting();
	int status = 0;

	if (sim_world.up && sim_world.forked) sim_misuse("sim_run inside a boot");
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0) sim_misuse("fork failed");
	if (pid == 0) child_main(config, main_fn, arg);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;

	struct sim_result r = l->result;
	bool known = WIFEXITED(status) && WEXITSTATUS(status) == 0 && l->ended;
	if (!known) {
		r.end = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? SIM_HUNG : SIM_CRASHED;
		r.signal_or_status = WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
	}
	if (r.end > SIM_KILLED && !config->quiet)
		fprintf(stderr, "sim: seed %llu: %s (%d) after %lld ms, %llu steps, %llu disk ops\n",
			(unsigned long long)config->seed, sim_end_text(r.end), r.signal_or_status,
			(long long)r.time_ms, (unsigned long long)r.steps, (unsigned long long)r.disk_ops);
	return r;
}
