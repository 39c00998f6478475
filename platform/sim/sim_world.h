/* The simulator's inside: what its files share. Everything here is touched by the holder of the baton
 * only. */
#ifndef POSTERN_PLATFORM_SIM_WORLD_H
#define POSTERN_PLATFORM_SIM_WORLD_H

#include <stdatomic.h>

#include "sim/sim.h"

#define SIM_NOTES_BYTES  (1u << 20)
#define SIM_LOG_BYTES    (1u << 20)
#define SIM_SHARED_BYTES (16u << 20)
#define SIM_IMAGE_BYTES  (96u << 20)
#define SIM_START_MS     1000 /* monotonic time at boot */
#define SIM_DISK_BYTES   (64 << 20)

/* The memory that outlives boots: shared between the test's process and its children. */
struct sim_lasting {
	bool ended; /* the child came to an end that it knows of */
	struct sim_result result;
	uint64_t boots;
	int64_t true_ms;
	size_t notes_len, log_len, shared_used, image_len;
	char notes[SIM_NOTES_BYTES];
	char log[SIM_LOG_BYTES];
	_Alignas(64) unsigned char shared[SIM_SHARED_BYTES];
	_Alignas(64) unsigned char image[SIM_IMAGE_BYTES];
};
struct sim_lasting *sim_lasting(void);

struct sim_rng {
	uint64_t state;
};
uint64_t sim_rng_next(struct sim_rng *r);
uint64_t sim_rng_below(struct sim_rng *r, uint64_t limit);
bool sim_rng_percent(struct sim_rng *r, unsigned percent);

/* One boot. Streams of chance are apart, so that one more draw in one device does not change all others. */
struct sim_world {
	bool up;
	bool forked; /* under sim_run; else in the test's own process */
	struct sim_config config;
	struct sim_faults faults;
	int64_t now_ms;
	uint64_t steps;
	uint64_t hash;
	uint64_t spins; /* looks at the clock since time last moved */
	bool print_trace, print_log;
	struct sim_rng rng_sched, rng_net, rng_disk, rng_entropy, rng_script;

	int64_t wall_offset_ms; /* device's wall clock minus true time */
	int64_t true_base_ms;   /* true time minus now_ms */
	int64_t wall_floor_ms;
	int64_t wall_floor_at_ms; /* now_ms when it was raised */

	uint64_t disk_ops, disk_calls, allocs;

	bool link_down;
	uint32_t link_generation;

	bool watchdog_on;
	int64_t watchdog_due_ms;
	uint64_t watchdog_kicks;
	enum hal_led_state led;
	uint64_t led_changes;
	bool wish_stop, wish_reload;
};
extern struct sim_world sim_world;

/* First line of every HAL function: a world is there, and the caller is one of its threads. */
void sim_enter(void);
/* The world of a process that calls HAL functions without sim_run. */
void sim_world_implicit(void);

/* ---- scheduler ---- */
void sim_sched_start(void);
/* Gives others a chance, as the configuration says. */
void sim_preempt(void);
/* Waits for sim_wake(on) or the deadline: true when woken. what is for the deadlock report. */
bool sim_wait(const void *on, int64_t deadline_ms, const char *what);
void sim_wake_all(const void *on);
void sim_wake_one(const void *on);
unsigned sim_self_id(void);
const char *sim_self_name(void);
void sim_dump(void);

/* Ends the boot. Disk: as the end demands. */
_Noreturn void sim_stop(enum sim_end end);
/* A mistake in how the world is used. */
_Noreturn void sim_misuse(const char *what);

/* ---- connecting, in two steps ---- */

struct sim_connect {
	bool on;
	int ended_err; /* the race's: it has failed, and nobody was told yet */
	struct hal_addr to;
	struct sim_net_rule rule;
	int64_t due_ms; /* when it ends, or is to be looked at again */
};
/* Errors: ERR_LINK_DOWN. */
int sim_connect_begin(struct sim_connect *k, const struct hal_addr *to);
/* 0: s is connected; ERR_BUSY: not yet, see due_ms; else why it failed. */
int sim_connect_end(struct sim_connect *k, struct hal_socket *s);

/* ---- devices that are set up at boot ---- */
void sim_net_boot(void);
void sim_net_reset(void);
void sim_dns_reset(void);
void sim_alloc_install(void);
void sim_fs_load(void);
void sim_fs_save(void);
void sim_fs_damage(enum sim_damage damage);
void sim_fs_forget(void);
void sim_storage_forget(void);

#endif
