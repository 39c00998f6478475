/* platform/sim: a deterministic world around the firmware: its threads, clock, network, disk and power.
 *
 * For tests only; it implements every header of hal/ and adds this one. Threads are real, but a baton lets
 * one run at a time. Each HAL call that can wait hands the baton to a scheduler driven by the seed; when
 * all threads wait, virtual time jumps to the next deadline. Computing takes no virtual time. Same seed,
 * same configuration, same code: the same run, event by event (compare sim_result.trace_hash). What breaks
 * this: the host's clock, addresses printed or hashed, uninitialised memory, waiting by other means than
 * hal/.
 *
 * A boot. sim_run() forks: the child is the device from power-on, and main_fn is its first thread. However
 * that boot ends, not one more instruction of the firmware runs, and the next sim_run() starts with fresh
 * globals. What lasts from boot to boot is outside of the device: the disk's surviving content, the true
 * time, sim_shared() memory, sim_note() lines. All else that main_fn changes is lost with the child;
 * results come back through sim_shared(). Call sim_run() from a process with one thread.
 *
 * The boot ends when main_fn returns, also for scripts and peers in mid-sentence: a test that wants to see
 * their last word sleeps a little first.
 *
 * cmocka's assertions work inside a boot, on any thread: the boot then ends as SIM_CRASHED with the message
 * printed.
 *
 * Without sim_run. A unit test may call HAL functions directly: the calling thread is then the first thread
 * of a world with the default configuration, in this process, until sim_reset(). A power cut is not
 * possible there, and a deadlock aborts. That world's disk is its own; sim_run() does not see it.
 *
 * Scripted peers, scripts and the code under test are all simulated threads; each may call hal/ and this
 * header, as may the test between boots where said.
 *
 * Environment: SIM_LOG=1 prints the firmware's log lines, SIM_TRACE=1 each event.
 */
#ifndef POSTERN_PLATFORM_SIM_H
#define POSTERN_PLATFORM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hal_clock.h"
#include "hal_led.h"
#include "hal_stream.h"

/* ---- faults: how the world's devices are configured ---- */

enum sim_cut_mode {
	SIM_CUT_RESET,  /* both ends read what had arrived, then ERR_RESET */
	SIM_CUT_CLOSE,  /* likewise, then ERR_CLOSED: an orderly end at a bad moment */
	SIM_CUT_SILENCE /* nothing arrives any more, nobody is told */
};

/* What happens to connections made to one address. The first rule that matches is taken. */
struct sim_net_rule {
	const char *ip; /* NULL: any */
	uint16_t port;  /* 0: any */
	unsigned first; /* the rule is for count connections from number first on, counted from 1 per rule;
			   ... */
	unsigned count; /* ... 0: for all */

	bool refuse, black_hole, unreachable;
	int64_t latency_ms; /* one way */
	int64_t jitter_ms;  /* up to so much more, seeded; order is kept */
	/* The connection is cut when so many bytes went from the connecting side to the listening one (or
	 * back). Counted from 1: value 1 cuts before the first byte, 2 after one byte. 0: never. */
	uint64_t cut_out_plus1, cut_in_plus1;
	enum sim_cut_mode cut_mode;
};

#define SIM_NET_RULES_MAX 16

struct sim_net_faults {
	struct sim_net_rule rules[SIM_NET_RULES_MAX];
	unsigned rule_count;
	unsigned split_percent; /* how many sends and receives take only a seeded part of the bytes */
};

enum sim_dns_mode { SIM_DNS_OK, SIM_DNS_FAIL /* ERR_DNS */, SIM_DNS_HANG /* no answer ever */ };

struct sim_dns_faults {
	enum sim_dns_mode mode;
	int64_t latency_ms;
};

/* What a power cut does to writes that were not synced. */
enum sim_damage {
	SIM_DAMAGE_DROP,    /* all are lost */
	SIM_DAMAGE_KEEP,    /* all had reached the medium */
	SIM_DAMAGE_REORDER, /* a seeded subset had: what was written later may be there without what was
			       before */
	SIM_DAMAGE_TEAR, /* as REORDER, and of each write a seeded subset of its 512-byte granules; a granule
			  * that a write covers in part may be spoilt as a whole (no powersafe overwrite) */
	SIM_DAMAGE_ANY   /* one of these, seeded */
};

/* Calls of the disk, as bits. */
#define SIM_DISK_OPEN     0x001u
#define SIM_DISK_READ     0x002u
#define SIM_DISK_WRITE    0x004u
#define SIM_DISK_TRUNCATE 0x008u
#define SIM_DISK_SYNC     0x010u
#define SIM_DISK_SIZE     0x020u
#define SIM_DISK_LOCK     0x040u
#define SIM_DISK_CREATE   0x080u
#define SIM_DISK_REMOVE   0x100u
#define SIM_DISK_RENAME   0x200u
#define SIM_DISK_MKDIR    0x400u
#define SIM_DISK_SYNC_DIR 0x800u
#define SIM_DISK_ANY      0xfffu

struct sim_disk_faults {
	/* Power. Ops are writes, truncates, syncs, creates, removes, renames, mkdirs, directory syncs;
	 * numbered from 1 in each boot, through hal_storage and SQLite together. The power goes while op N
	 * is under way: a sync has done nothing yet, any other op is one more un-synced change. 0: never. */
	uint64_t cut_at_op;
	bool cut_at_end; /* the power goes right after main_fn returned: un-synced changes are damaged then
			    too */
	enum sim_damage damage;

	/* Errors. Of the calls in fail_calls the fail_at-th (from 1; 0: none) fails with fail_err, or, with
	 * fail_on, that and each later one. A failed sync loses the un-synced writes of the file as Linux
	 * does: reads still show them, a later good sync does not make them safe. */
	unsigned fail_calls;
	uint64_t fail_at;
	bool fail_on;
	int fail_err;

	int64_t capacity_bytes; /* 0: 64 MB; files count in blocks of 4096 */
	bool read_only;
	int64_t sync_ms;       /* virtual time that a sync takes */
	unsigned sector_bytes; /* told to SQLite; 512 or 4096 */
};

struct sim_clock_faults {
	int64_t true_ms;  /* Unix time of the world at the first boot; later boots go on from there */
	int64_t off_ms;   /* time without power before this boot, when it is not the first */
	bool no_rtc;      /* the device's clock starts in 1970 at each boot, until sim_clock_set() */
	int64_t wrong_ms; /* the device's clock is so much ahead of the true time */
};

/* SQLite's allocations: the fail_at-th of a boot (from 1; 0: none) gives NULL, with fail_on each later
 * one too. */
struct sim_alloc_faults {
	uint64_t fail_at;
	bool fail_on;
};

struct sim_faults {
	struct sim_net_faults net;
	struct sim_dns_faults dns;
	struct sim_disk_faults disk;
	struct sim_clock_faults clock;
	struct sim_alloc_faults alloc;
	int64_t watchdog_ms; /* period of the watchdog "sim"; 0: there is none */
};

/* The faults of the running boot; changes count at once. */
struct sim_faults *sim_faults(void);

/* ---- a boot ---- */

struct sim_config {
	uint64_t seed;
	unsigned preempt_percent; /* how many HAL calls that need not wait hand over the baton nevertheless */
	unsigned spurious_percent; /* how many waits for a condition end without a signal */
	int64_t time_ms_max;       /* limits: virtual time, ... */
	uint64_t steps_max;        /* ... hand-overs of the baton, ... */
	unsigned real_s_max;       /* ... and true time: code that hangs outside of hal/ */
	int64_t cut_at_ms;         /* a power cut at that time after the boot; 0: none */
	bool quiet; /* nothing is printed about boots that end badly: such an end is expected */
	struct sim_faults faults;
};

/* Some preemption, no faults, one hour of virtual time. */
struct sim_config sim_config_default(uint64_t seed);

enum sim_end {
	SIM_FINISHED,  /* main_fn returned */
	SIM_POWER_CUT, /* as configured, or sim_power_cut() */
	SIM_KILLED,    /* sim_kill(): the process is gone, the disk lost nothing */
	SIM_WATCHDOG,  /* not kicked in time: like a power cut */
	SIM_DEADLOCK,  /* all threads wait and none has a deadline; who waits for what was printed */
	SIM_TIME_LIMIT,
	SIM_STEP_LIMIT,
	SIM_HUNG,   /* real_s_max */
	SIM_CRASHED /* a signal, CHECK, a failed assertion, exit() */
};

struct sim_result {
	enum sim_end end;
	uint64_t trace_hash;
	uint64_t steps;
	uint64_t disk_ops;    /* the crash points of this boot: 1 to disk_ops can be given as cut_at_op */
	uint64_t disk_calls;  /* calls that fail_calls of this boot selected */
	uint64_t allocs;      /* SQLite's allocations */
	int64_t time_ms;      /* virtual time of the boot */
	int signal_or_status; /* SIM_CRASHED: the signal, or minus the exit status */
};

/* Boots, runs main_fn(arg) as the first thread, returns when the boot has ended. After SIM_FINISHED and
 * SIM_KILLED the disk keeps all that was written, synced or not. */
struct sim_result sim_run(const struct sim_config *config, void (*main_fn)(void *arg), void *arg);

/* The name of an end ("deadlock"). */
const char *sim_end_text(enum sim_end end);

/* Forgets everything that lasts: disk, shared memory, notes, true time, peers, names. For a test's setup. */
void sim_reset(void);

/* From a thread of a boot: the power goes now / the process is killed now. */
_Noreturn void sim_power_cut(void);
_Noreturn void sim_kill(void);

/* ---- outside of the device ---- */

/* Zeroed memory that every boot and the test between boots see at the same place; until sim_reset().
 * Call it before sim_run(). For the ledger and what the strict peer received. At most 16 MB together. */
void *sim_shared(size_t bytes);

/* A line of the outside's diary, kept through power cuts. sim_notes() is all of them, each with a line
 * feed. */
void sim_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *sim_notes(void);

/* The firmware's log lines of the running or the last boot, "level line\n" each; at most 1 MB. */
const char *sim_log_text(void);

/* Adds an event to the trace and its hash. */
void sim_trace(const char *event, uint64_t a, uint64_t b);
uint64_t sim_trace_hash(void);

/* The next number of the scripts' own seeded stream; under limit if that is not 0. */
uint64_t sim_random(uint64_t limit);

/* Starts a thread of the world that nobody joins; it ends with its function or with the boot. */
void sim_script_start(const char *name, void (*fn)(void *arg), void *arg);

/* ---- network ---- */

/* A scripted peer: each connection to ip:port runs handler in a thread of its own, as ordinary blocking code;
 * the stream is closed when handler returns. Before sim_run (then for all boots) or inside a boot. */
void sim_peer_listen(const char *ip, uint16_t port, void (*handler)(struct hal_stream *s, void *arg),
		     void *arg);
/* No longer: connecting is refused. Connections that are open stay. */
void sim_peer_close(const char *ip, uint16_t port);

/* name resolves to this address (one more at each call). Names without one do not exist. */
void sim_dns_add(const char *name, const char *ip);

/* The link goes down or comes up. While it is down nothing but loopback moves. With new_address all
 * connections from before are dead, silently. */
void sim_link_set(bool up, bool new_address);

/* A rule put before those there are. Errors: aborts when there are too many. */
void sim_net_rule_add(const struct sim_net_rule *rule);

/* ---- clock ---- */

/* The world's time, whatever the device believes. Also between boots. */
int64_t sim_true_ms(void);
/* Somebody (NTP) sets the device's clock right / it jumps by so much. */
void sim_clock_set(void);
void sim_clock_jump(int64_t ms);

/* ---- disk: looking at it and spoiling it, also between boots; nothing here is an op or fails by faults
 * ---- */

/* Bytes read, -1 when there is no such file. */
int64_t sim_disk_read(const char *path, int64_t at, void *bytes, size_t cap);
/* Overwrites, extends or creates; at once safe. */
void sim_disk_write(const char *path, int64_t at, const void *bytes, size_t len);
/* -1 when there is no such file. */
int64_t sim_disk_size(const char *path);
void sim_disk_remove(const char *path);
/* Un-synced changes at present. */
size_t sim_disk_unsynced(void);

/* ---- small devices ---- */

enum hal_led_state sim_led(void);
uint64_t sim_led_changes(void);
uint64_t sim_watchdog_kicks(void);

#endif
