/* The whole firmware, from app/ down, lives through a random world: boot after boot with clients, servers, a
 * network, a clock, a disk and a power supply that fail as the seed says, and at last one boot in which nothing
 * fails. Then every job must have ended in a way that can be justified from outside.
 *
 *   GATEWAY_SEEDS=n   so many seeds (default 1000)
 *   GATEWAY_FIRST=n   from this one on (default 1)
 *   GATEWAY_SEED=n    replays that one, with the gateway's log and the outside's diary
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "base/err.h"
#include "hal_clock.h"
#include "hal_lifecycle.h"
#include "hal_storage.h"
#include "scenario_kit.h"
#include "sim/sim_front.h"
#include "store/store.h"

#define CLIENTS_MAX   4
#define BOOTS_MAX     4 /* with faults; the last one comes on top */
#define EVENTS_MAX    6
#define IDS_MAX       512
#define TEXT_BYTES    (256 * 1024)
#define READY_MS      60000
#define STOP_SLACK_MS 1000  /* slow syncs at the very end */
#define STOP_MS       10000 /* CONTRACT section 2 */
#define LAST_BOOT_MS  (24 * 3600 * 1000)
#define PATIENCE_MS   (12 * 3600 * 1000)
#define RETRIES_MAX   3
#define SEEDS_DEFAULT 1000
/* From so many seeds on, each kind of fault must have occurred. */
#define SEEDS_FOR_ALL 300
#define DISK_BYTES    (64 << 20)
/* Below the root, whose own name is safe. */
#define MAILDIR "/sim/data/mail"

/* ---- what can happen, counted by seeds in which it did ---- */

#define KINDS(X)                                                                                             \
	X(CUT_RESET, "connections reset after N bytes")                                                      \
	X(CUT_CLOSE, "connections closed after N bytes")                                                     \
	X(CUT_SILENCE, "connections silent after N bytes")                                                   \
	X(REFUSE, "connections refused")                                                                     \
	X(BLACK_HOLE, "connections into a black hole")                                                       \
	X(SPLIT, "split sends and receives")                                                                 \
	X(DNS_FAIL, "names that fail")                                                                       \
	X(DNS_HANG, "names that hang")                                                                       \
	X(LINK_DOWN, "link down")                                                                            \
	X(NEW_ADDRESS, "new address")                                                                        \
	X(CLOCK_UNSET, "clock unset at boot")                                                                \
	X(CLOCK_SET, "clock set")                                                                            \
	X(CLOCK_AHEAD, "clock jumps ahead")                                                                  \
	X(CLOCK_BACK, "clock jumps back")                                                                    \
	X(DISK_FULL, "disk full")                                                                            \
	X(REFUSED_FULL, "submissions refused for space")                                                     \
	X(READ_ONLY, "disk read-only")                                                                       \
	X(WRITE_ERROR, "write errors")                                                                       \
	X(SYNC_ERROR, "sync errors")                                                                         \
	X(NO_MEMORY, "SQLite without memory")                                                                \
	X(SAYS_4YZ, "4yz replies")                                                                           \
	X(SAYS_5YZ, "5yz replies")                                                                           \
	X(SAYS_421, "421 replies")                                                                           \
	X(HANGS_UP, "server hangs up")                                                                       \
	X(SILENT, "server falls silent")                                                                     \
	X(REPLY_LOST, "final reply lost")                                                                    \
	X(TARPIT, "tarpits")                                                                                 \
	X(POWER_CUT_OP, "power cuts at a disk op")                                                           \
	X(POWER_CUT_TIME, "power cuts at a time")                                                            \
	X(KILL, "kills")                                                                                     \
	X(RESTART, "restarts")                                                                               \
	X(RELOAD, "reloads")                                                                                 \
	X(DROP, "jobs dropped as files")                                                                     \
	X(DROP_CUT, "power cuts while dropping")                                                             \
	X(LARGE, "originals over 64 KB")                                                                     \
	X(MAILDIR, "jobs into the maildir")                                                                  \
	X(RESUBMITTED, "jobs submitted again")                                                               \
	X(CONFLICT, "jobs with a known id and other content")                                                \
	X(CANCELLED, "jobs cancelled")                                                                       \
	X(REQUEUED, "jobs requeued")                                                                         \
	X(DUPLICATE, "duplicates")

enum kind {
#define X(name, text) KIND_##name,
	KINDS(X)
#undef X
		KIND_COUNT
};
static const char *const kind_texts[] = {
#define X(name, text) text,
	KINDS(X)
#undef X
};

/* ---- the world of a seed, drawn before its first boot ---- */

enum event_kind {
	EVENT_LINK_DOWN,
	EVENT_LINK_UP,
	EVENT_NEW_ADDRESS,
	EVENT_DNS_FAIL,
	EVENT_DNS_HANG,
	EVENT_DNS_OK,
	EVENT_CLOCK_SET,
	EVENT_CLOCK_JUMP,
	EVENT_DISK_FULL,
	EVENT_DISK_ROOM,
	EVENT_READ_ONLY,
	EVENT_READ_WRITE,
	EVENT_RELOAD
};

struct event {
	int64_t at_ms;
	enum event_kind kind;
	int64_t value;
};

enum end { END_STOP, END_POWER_OP, END_POWER_TIME, END_KILL };

struct boot_plan {
	struct sim_config config;
	struct event events[EVENTS_MAX * 2];
	unsigned event_count;
	enum end end;
	int64_t end_ms;
	unsigned mood_percent;
	bool drops, disk_faults, alloc_fault;
	uint64_t drop_cut_op;
};

struct extra {
	bool drop; /* handed in as a file, while the gateway is down */
	bool resubmit, conflict, cancel, requeue;
	unsigned client;
	int64_t pause_ms;
};

static struct world {
	uint64_t seed;
	unsigned boots, clients;
	bool no_rtc;
	struct boot_plan boot[BOOTS_MAX + 1];
	struct extra extra[SCENARIO_JOBS_MAX];
	char ini[1024];
} world;

/* What must live through power cuts, beside the kit's ledger. */
static struct outside {
	bool kind[KIND_COUNT];
	bool calm; /* the last boot: nothing fails any more */
	/* by the clients */
	enum stage { STAGE_NEW, STAGE_TAKEN, STAGE_DONE } stage[SCENARIO_JOBS_MAX];
	bool doubtful[SCENARIO_JOBS_MAX]; /* asked for, and not answered with a clear no */
	int64_t id[SCENARIO_JOBS_MAX];
	unsigned refusals;
	bool client_done[CLIENTS_MAX];
	/* by who reads the results */
	int64_t last_seq;
	bool success[IDS_MAX], failure[IDS_MAX];
	int64_t wrong_ms; /* how much ahead the device's clock is */
	/* of the running boot */
	bool ready, wished;
	int64_t wished_ms, ended_ms;
	int code;
	bool app_ended;
} * outside;

static uint64_t chance;

static uint64_t draw(uint64_t limit)
{
	uint64_t z = (chance += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return limit == 0 ? z : z % limit;
}

static bool percent(unsigned p)
{
	return draw(100) < p;
}

static void happened(enum kind kind)
{
	outside->kind[kind] = true;
}

static void draw_job(unsigned n)
{
	struct scenario_job *j = &scenario_ledger->jobs[n];
	struct extra *e = &world.extra[n];

	*e = (struct extra){.client = n % world.clients, .pause_ms = (int64_t)draw(percent(30) ? 8000 : 300)};
	j->format1 = percent(50);
	j->rcpts = percent(60) ? 1 : 1 + (unsigned)draw(SCENARIO_RCPTS_MAX);
	j->lines = percent(70) ? (unsigned)draw(12) : (unsigned)draw(500);
	if (percent(5)) j->lines = 3600 + (unsigned)draw(1500);
	j->unnamed = percent(15);
	j->own_from = j->format1 && percent(50);
	j->deferred = percent(15);
	j->hopeless = percent(10);
	if (j->format1 && percent(30)) {
		j->maildir = percent(60);
		j->provider = j->maildir ? "box" : "relay";
		j->deferred = j->deferred && !j->maildir;
		j->hopeless = j->hopeless && !j->maildir;
	}
	e->drop = percent(15);
	if (j->unnamed || e->drop) return;
	e->resubmit = percent(20);
	e->conflict = percent(8);
	e->cancel = percent(10);
	e->requeue = percent(15);
}

static void add_event(struct boot_plan *b, int64_t at_ms, enum event_kind kind, int64_t value)
{
	unsigned i = b->event_count++;

	for (; i > 0 && b->events[i - 1].at_ms > at_ms; i--)
		b->events[i] = b->events[i - 1];
	b->events[i] = (struct event){at_ms, kind, value};
}

/* Something begins, and mostly ends again. */
static void add_span(struct boot_plan *b, enum event_kind begin, enum event_kind end, int64_t value)
{
	int64_t at_ms = (int64_t)draw((uint64_t)b->end_ms);

	add_event(b, at_ms, begin, value);
	if (percent(80)) add_event(b, at_ms + (int64_t)draw(20000), end, 0);
}

static void draw_event(struct boot_plan *b)
{
	int64_t jump = (int64_t)draw(percent(50) ? 30000 : 7200000);

	switch (draw(8)) {
	case 0: add_span(b, EVENT_LINK_DOWN, EVENT_LINK_UP, 0); return;
	case 1: add_event(b, (int64_t)draw((uint64_t)b->end_ms), EVENT_NEW_ADDRESS, 0); return;
	case 2: add_span(b, EVENT_DNS_FAIL, EVENT_DNS_OK, 0); return;
	case 3: add_span(b, EVENT_DNS_HANG, EVENT_DNS_OK, 0); return;
	case 4:
		add_event(b, (int64_t)draw((uint64_t)b->end_ms), EVENT_CLOCK_JUMP,
			  percent(50) ? jump : -jump);
		return;
	case 5:
		b->disk_faults = true;
		add_span(b, EVENT_DISK_FULL, EVENT_DISK_ROOM, (int64_t)draw(60) * 4096);
		return;
	case 6:
		b->disk_faults = true;
		add_span(b, EVENT_READ_ONLY, EVENT_READ_WRITE, 0);
		return;
	case 7: add_event(b, (int64_t)draw((uint64_t)b->end_ms), EVENT_RELOAD, 0); return;
	}
}

static void draw_rule(struct sim_net_faults *f)
{
	struct sim_net_rule *r = &f->rules[f->rule_count++];
	uint64_t at = 1 + draw(percent(70) ? 900 : percent(70) ? 6000 : 60000);

	*r = (struct sim_net_rule){.first = 1 + (unsigned)draw(6), .count = 1 + (unsigned)draw(3)};
	r->latency_ms = (int64_t)draw(50);
	r->cut_mode = (enum sim_cut_mode)draw(3);
	switch (draw(7)) {
	case 0: r->refuse = true; return;
	case 1: r->black_hole = true; return;
	case 2: r->unreachable = true; return;
	case 3:
	case 4:
	case 5: r->cut_out_plus1 = at; return;
	case 6: r->cut_in_plus1 = at % 700 + 1; return;
	}
}

static void draw_net(struct sim_net_faults *f)
{
	unsigned rules = percent(60) ? 1 + (unsigned)draw(5) : 0;

	f->split_percent = percent(50) ? 0 : (unsigned)draw(60);
	for (unsigned i = 0; i < rules; i++)
		draw_rule(f);
	f->rules[f->rule_count++] = (struct sim_net_rule){
		.latency_ms = (int64_t)draw(percent(80) ? 30 : 1500), .jitter_ms = (int64_t)draw(60)};
}

static void draw_disk(struct boot_plan *b)
{
	struct sim_faults *f = &b->config.faults;
	static const unsigned calls[] = {SIM_DISK_WRITE, SIM_DISK_SYNC, SIM_DISK_ANY};

	f->disk.sync_ms = (int64_t)draw(percent(80) ? 8 : 100);
	f->disk.sector_bytes = percent(50) ? 512 : 4096;
	if (percent(15)) {
		f->disk.fail_calls = calls[draw(3)];
		f->disk.fail_at = 1 + draw(percent(50) ? 40 : 400);
		f->disk.fail_err = ERR_IO;
		b->disk_faults = true;
	}
	if (percent(10)) {
		f->alloc.fail_at = 1 + draw(percent(50) ? 300 : 20000);
		b->alloc_fault = true;
	}
}

static void draw_boot(unsigned i)
{
	struct boot_plan *b = &world.boot[i];
	unsigned events = (unsigned)draw(EVENTS_MAX);

	memset(b, 0, sizeof(*b));
	b->config = sim_config_default(world.seed * 16 + i);
	b->config.preempt_percent = (unsigned)draw(30);
	b->config.spurious_percent = (unsigned)draw(4);
	b->config.faults.clock.no_rtc = world.no_rtc;
	b->config.faults.clock.off_ms = (int64_t)draw(60000);
	b->config.quiet = true;
	b->drops = percent(40);
	if (i == world.boots) {
		b->config.time_ms_max = LAST_BOOT_MS;
		b->end_ms = LAST_BOOT_MS;
		add_event(b, (int64_t)draw(20000), EVENT_CLOCK_SET, 0);
		return;
	}
	b->end = percent(25)   ? END_STOP
		 : percent(50) ? END_POWER_OP
		 : percent(50) ? END_POWER_TIME
			       : END_KILL;
	b->end_ms = 500 + (int64_t)draw(percent(70) ? 15000 : 120000);
	b->config.faults.disk.damage = (enum sim_damage)draw(SIM_DAMAGE_ANY + 1);
	if (b->end == END_POWER_OP) b->config.faults.disk.cut_at_op = 1 + draw(percent(50) ? 80 : 600);
	if (b->drops && percent(20)) b->drop_cut_op = 1 + draw(12);
	b->mood_percent = percent(30) ? 0 : (unsigned)draw(25);
	draw_net(&b->config.faults.net);
	draw_disk(b);
	for (unsigned k = 0; k < events; k++)
		draw_event(b);
	if (percent(world.no_rtc ? 70 : 10))
		add_event(b, 1 + (int64_t)draw((uint64_t)b->end_ms), EVENT_CLOCK_SET, 0);
}

static void draw_ini(void)
{
	unsigned min = 1 + (unsigned)draw(2), max = min + (unsigned)draw(4);

	snprintf(world.ini, sizeof(world.ini),
		 "[gateway]\ndata_dir = data\nlog_level = debug\n[worker]\nmin = %u\nmax = %u\n"
		 "[store]\nreserve_bytes = 128K\n%s[retry]\ndelays = 1s,2s,4s\nmax = %d\njitter = %u\n"
		 "[provider.default]\ntype = smtp\nhost = mx.example.com\nport = 25\ntls = none\n"
		 "from = gw@example.com\nconnections = %u\nmessages_per_connection = %u\n%s"
		 "[provider.relay]\ntype = smtp\nhost = 192.0.2.80\nport = 587\ntls = none\nfrom = "
		 "gw@example.com\n"
		 "[provider.box]\ntype = maildir\npath = " MAILDIR "\nfrom = gw@example.com\n",
		 min, max,
		 /* Likewise: what ended before the clock was set is old at once. */
		 world.no_rtc ? "keep_completed = 400d\nkeep_failed = 400d\nkeep_results = 400d\n" : "",
		 RETRIES_MAX, (unsigned)draw(30), 1 + (unsigned)draw(4), 1 + (unsigned)draw(6),
		 percent(10) ? "rate = 20/10s\n" : "");
}

static void draw_world(uint64_t seed)
{
	static const char *const ehlos[] = {"250 mx.example.com\r\n",
					    "250-mx.example.com\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
					    "250-mx.example.com\r\n250-SIZE "
					    "10000000\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
					    "250 ENHANCEDSTATUSCODES\r\n"};

	memset(&world, 0, sizeof(world));
	chance = seed * UINT64_C(0x2545f4914f6cdd1d);
	world.seed = seed;
	world.boots = 1 + (unsigned)draw(BOOTS_MAX);
	world.clients = 2 + (unsigned)draw(CLIENTS_MAX - 1);
	world.no_rtc = percent(20);
	scenario_ledger->job_count = 6 + (unsigned)draw(14);
	scenario_ehlo = ehlos[draw(3)];
	for (unsigned n = 0; n < scenario_ledger->job_count; n++)
		draw_job(n);
	for (unsigned i = 0; i <= world.boots; i++)
		draw_boot(i);
	draw_ini();
}

static struct boot_plan *plan_now(void)
{
	return &world.boot[scenario_ledger->boot];
}

/* ---- the server's moods ---- */

static const char *at_dot(void)
{
	switch (sim_random(4)) {
	case 0: happened(KIND_REPLY_LOST); return "+!";
	case 1: happened(KIND_REPLY_LOST); return sim_random(4) ? "+!" : "+?";
	case 2: return "554 5.7.1 not this";
	default: return "!";
	}
}

static const char *other_reply(enum scenario_at at)
{
	switch (sim_random(10)) {
	case 0:
	case 1:
	case 2: happened(KIND_SAYS_4YZ); return at == SCENARIO_DOT ? "451 4.3.0 later" : "450 4.2.1 later";
	case 3: happened(KIND_SAYS_421); return "421 4.3.2 closing";
	case 4: happened(KIND_SAYS_5YZ); return "554 5.7.1 no";
	case 5: happened(KIND_HANGS_UP); return "!";
	case 6:
		if (sim_random(4)) return NULL;
		happened(KIND_SILENT);
		return "?";
	default:
		happened(KIND_TARPIT);
		hal_clock_sleep_until(hal_clock_in((int64_t)sim_random(20000)));
		return NULL;
	}
}

static const char *mood(enum scenario_at at)
{
	/* The dot is what matters most, and comes least often. */
	unsigned limit = at == SCENARIO_DOT ? plan_now()->mood_percent * 3 : plan_now()->mood_percent;

	if (outside->calm || sim_random(100) >= limit) return NULL;
	return at == SCENARIO_DOT && sim_random(2) ? at_dot() : other_reply(at);
}

/* ---- what happens to the device ---- */

static void disk_full(int64_t left)
{
	struct hal_storage_info info;

	if (hal_storage_info(&info) < 0) return;
	happened(KIND_DISK_FULL);
	sim_faults()->disk.capacity_bytes = DISK_BYTES - info.free_bytes + left;
}

static void clock_set(void)
{
	happened(KIND_CLOCK_SET);
	sim_clock_set();
	outside->wrong_ms = 0;
}

static void clock_jump(int64_t ms)
{
	happened(ms > 0 ? KIND_CLOCK_AHEAD : KIND_CLOCK_BACK);
	sim_clock_jump(ms);
	outside->wrong_ms += ms;
}

static void happen(const struct event *e)
{
	struct sim_faults *f = sim_faults();

	sim_note("%lld: event %d %lld", (long long)hal_clock_mono_ms(), e->kind, (long long)e->value);
	switch (e->kind) {
	case EVENT_LINK_DOWN:
		happened(KIND_LINK_DOWN);
		sim_link_set(false, false);
		break;
	case EVENT_LINK_UP: sim_link_set(true, false); break;
	case EVENT_NEW_ADDRESS:
		happened(KIND_NEW_ADDRESS);
		sim_link_set(true, true);
		break;
	case EVENT_DNS_FAIL:
		happened(KIND_DNS_FAIL);
		f->dns.mode = SIM_DNS_FAIL;
		break;
	case EVENT_DNS_HANG:
		happened(KIND_DNS_HANG);
		f->dns.mode = SIM_DNS_HANG;
		break;
	case EVENT_DNS_OK: f->dns.mode = SIM_DNS_OK; break;
	case EVENT_CLOCK_SET: clock_set(); break;
	case EVENT_CLOCK_JUMP: clock_jump(e->value); break;
	case EVENT_DISK_FULL: disk_full(e->value); break;
	case EVENT_DISK_ROOM: f->disk.capacity_bytes = 0; break;
	case EVENT_READ_ONLY:
		happened(KIND_READ_ONLY);
		f->disk.read_only = true;
		break;
	case EVENT_READ_WRITE: f->disk.read_only = false; break;
	case EVENT_RELOAD:
		happened(KIND_RELOAD);
		hal_lifecycle_wish(HAL_WISH_RELOAD);
		break;
	}
	if (e->kind == EVENT_LINK_DOWN || e->kind == EVENT_NEW_ADDRESS) scenario_ledger->stalls++;
}

static void wish_stop(void)
{
	outside->wished = true;
	outside->wished_ms = hal_clock_mono_ms();
	hal_lifecycle_wish(HAL_WISH_STOP);
}

static void director(void *arg)
{
	const struct boot_plan *b = plan_now();
	int64_t began = hal_clock_mono_ms();

	(void)arg;
	for (unsigned i = 0; i < b->event_count && b->events[i].at_ms < b->end_ms; i++) {
		hal_clock_sleep_until(began + b->events[i].at_ms);
		/* A clock that is set before the gateway knows what it showed ages what was stamped before. That
		 * is known, and not judged here. */
		if (b->events[i].kind == EVENT_CLOCK_SET && world.no_rtc && !outside->ready) continue;
		happen(&b->events[i]);
	}
	hal_clock_sleep_until(began + b->end_ms);
	if (outside->calm) return;
	if (b->end == END_POWER_TIME) sim_power_cut();
	if (b->end == END_KILL) sim_kill();
	wish_stop();
}

/* ---- clients ---- */

static char texts[CLIENTS_MAX + 2][TEXT_BYTES], replies[CLIENTS_MAX + 2][1 << 20];

static int post(unsigned n, bool variant)
{
	unsigned me = world.extra[n].client;
	struct buf b;
	int status;

	buf_init(&b, texts[me], TEXT_BYTES);
	scenario_job_text(n, variant, &b);
	if (b.len > 65536) happened(KIND_LARGE);
	status = sim_http("POST", "/api/emails", texts[me], replies[me], sizeof(replies[me]));
	sim_note("%lld: job %u%s is answered %d", (long long)hal_clock_mono_ms(), n,
		 variant ? " otherwise" : "", status);
	return status;
}

static void pause_ms(int64_t ms)
{
	hal_clock_sleep_until(hal_clock_in(ms));
}

/* Asks until the answer is clear, or the boot is not worth waiting for. */
static bool submit(unsigned n)
{
	struct scenario_job *j = &scenario_ledger->jobs[n];
	unsigned me = world.extra[n].client;
	const char *id;
	int status;

	/* Without an id it must not be asked for twice, if the answer may have been yes. */
	if (j->unnamed && outside->doubtful[n]) return true;
	for (unsigned tries = 0; tries < (outside->calm ? 30u : 6u); tries++) {
		j->asked = true;
		outside->doubtful[n] = true;
		status = post(n, false);
		if (status == 202 || status == 200) {
			j->accepted = true;
			id = strstr(replies[me], "\"id\":");
			outside->id[n] = id ? strtoll(id + 5, NULL, 10) : 0;
			return true;
		}
		if (status == 507) happened(KIND_REFUSED_FULL);
		if (status >= 0) outside->refusals++;
		if (status >= 400 && status < 500)
			scenario_violate("job %u is refused: %.150s", n, replies[me]);
		if (status == ERR_NO_GATEWAY || status == 507)
			outside->doubtful[n] = false;
		else if (j->unnamed)
			return true;
		pause_ms(500 + (int64_t)sim_random(1500));
	}
	if (outside->calm)
		scenario_violate("job %u is not taken although nothing fails any more: %.100s", n,
				 replies[me]);
	return false;
}

static int post_to(unsigned n, const char *what)
{
	unsigned me = world.extra[n].client;
	char path[64];
	int status;

	snprintf(path, sizeof(path), "/api/emails/%lld/%s", (long long)outside->id[n], what);
	status = sim_http("POST", path, NULL, replies[me], sizeof(replies[me]));
	sim_note("%lld: job %u %s is answered %d", (long long)hal_clock_mono_ms(), n, what, status);
	return status;
}

static void do_extras(unsigned n)
{
	struct scenario_job *j = &scenario_ledger->jobs[n];
	const struct extra *e = &world.extra[n];
	int status;

	if (e->cancel) {
		j->cancel_asked = true;
		status = post_to(n, "cancel");
		if (status == 200) {
			j->cancelled_ms = sim_true_ms();
			happened(KIND_CANCELLED);
		}
	}
	if (e->conflict) {
		status = post(n, true);
		if (status == 202 || status == 200) scenario_violate("job %u is taken with other content", n);
		if (status == 409) happened(KIND_CONFLICT);
	}
	if (e->resubmit || e->requeue) {
		pause_ms((int64_t)sim_random(10000));
		j->again = true;
		status = e->requeue ? post_to(n, "requeue") : post(n, false);
		if (status == 200 || status == 202) happened(e->requeue ? KIND_REQUEUED : KIND_RESUBMITTED);
	}
}

static void client(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	for (unsigned n = me; n < scenario_ledger->job_count; n += world.clients) {
		if (outside->stage[n] == STAGE_DONE || world.extra[n].drop) continue;
		pause_ms(world.extra[n].pause_ms);
		if (outside->stage[n] == STAGE_NEW && !submit(n)) continue;
		if (scenario_ledger->jobs[n].accepted && outside->stage[n] == STAGE_NEW) {
			outside->stage[n] = STAGE_TAKEN;
			do_extras(n);
		}
		outside->stage[n] = STAGE_DONE;
	}
	outside->client_done[me] = true;
}

/* ---- who reads the results ---- */

static void read_result(const char *at)
{
	long long seq, id;
	const char *message = strstr(at, "\"message\":");
	const char *end = strstr(at + 1, "{\"seq\":");
	const char *next = strstr(at, "\"next_retry_at\":");
	unsigned n;

	if (sscanf(at, "{\"seq\":%lld,\"job_id\":%lld", &seq, &id) != 2 || id < 1 || id >= IDS_MAX ||
	    !message) {
		scenario_violate("a result that cannot be read: %.100s", at);
		return;
	}
	if (seq <= outside->last_seq)
		scenario_violate("result %lld comes after result %lld", seq, (long long)outside->last_seq);
	outside->last_seq = seq;
	sim_note("%lld: result %lld of id %lld: %.60s", (long long)hal_clock_mono_ms(), seq, id,
		 message + 10);
	if (strncmp(message + 10, "{\"success\":true", 15) != 0) {
		bool last = next && (!end || next < end) && strncmp(next + 16, "null", 4) == 0;

		outside->failure[id] =
			outside->failure[id] ||
			(last && strncmp(message + 10, "{\"success\":false,\"status\":\"held\"", 32) != 0);
		return;
	}
	outside->success[id] = true;
	message = strstr(message, "\"message_id\":\"job-");
	if (message && (!end || message < end) && sscanf(message, "\"message_id\":\"job-%u\"", &n) == 1 &&
	    n < scenario_ledger->job_count && scenario_ledger->jobs[n].sent_ms == 0)
		scenario_ledger->jobs[n].sent_ms = sim_true_ms();
}

/* False: that was all, or nobody answers. */
static bool read_results(void)
{
	char path[64], *reply = replies[CLIENTS_MAX];
	unsigned count = 0;

	snprintf(path, sizeof(path), "/api/results?after=%lld&limit=50", (long long)outside->last_seq);
	if (sim_http("GET", path, NULL, reply, sizeof(replies[0])) != 200) return false;
	for (const char *at = reply; (at = strstr(at, "{\"seq\":")) != NULL; at++, count++)
		read_result(at);
	return count > 0;
}

static void reader(void *arg)
{
	(void)arg;
	while (!outside->wished) {
		pause_ms(1000 + (int64_t)sim_random(4000));
		if (!outside->calm) read_results();
	}
}

/* ---- the check at the end ---- */

static bool all_sent(unsigned n)
{
	const struct scenario_job *j = &scenario_ledger->jobs[n];

	for (unsigned r = 0; r < j->rcpts; r++)
		if (j->rcpt[r].total == 0) return false;
	return true;
}

/* Why a job may have failed, as seen from outside. */
static void check_failed(unsigned n, const char *reason)
{
	const struct scenario_ledger *l = scenario_ledger;
	const struct scenario_job *j = &l->jobs[n];
	unsigned refusals = 0;

	for (unsigned r = 0; r < j->rcpts; r++)
		refusals += j->rcpt[r].refusals;
	if (strncmp(reason, "\"cancelled\"", 11) == 0) {
		if (!j->cancel_asked) scenario_violate("job %u is cancelled and nobody asked for that", n);
	} else if (strncmp(reason, "\"refused\"", 9) == 0) {
		if (refusals == 0) scenario_violate("job %u is refused and the server did not refuse it", n);
	} else if (strncmp(reason, "\"retries\"", 9) == 0) {
		if (j->deferrals + l->nameless + l->broken <= RETRIES_MAX)
			scenario_violate("job %u has used up its retries in %u tries", n,
					 j->deferrals + l->nameless + l->broken);
	} else {
		scenario_violate("job %u failed for no reason: %.20s", n, reason);
	}
}

static void check_item(const char *item, unsigned *seen)
{
	const char *state = strstr(item, "\"state\":\""), *reason = strstr(item, "\"reason\":");
	const char *subject = strstr(item, "\"subject\":\"job ");
	const struct scenario_job *j;
	long long id;
	unsigned n;

	if (sscanf(item, "{\"id\":%lld", &id) != 1 || !subject || sscanf(subject + 15, "%u", &n) != 1 ||
	    n >= scenario_ledger->job_count || id >= IDS_MAX || !state || !reason) {
		scenario_violate("a job that nobody knows: %.150s", item);
		return;
	}
	j = &scenario_ledger->jobs[n];
	if (!j->asked) scenario_violate("job %u is there and nobody asked for it", n);
	if (seen[n]++ > 0) scenario_violate("job %u is there twice", n);
	if (strncmp(state + 9, "completed\"", 10) == 0) {
		if (!all_sent(n)) scenario_violate("job %u says it was sent and not everybody has it", n);
		if (!outside->success[id]) scenario_violate("job %u was sent and no result told of it", n);
	} else if (strncmp(state + 9, "failed\"", 7) == 0) {
		check_failed(n, reason + 9);
		if (!outside->failure[id]) scenario_violate("job %u failed and no result told of it", n);
	} else {
		scenario_violate("job %u has not ended: %.150s", n, state);
	}
	if (outside->success[id] && !all_sent(n))
		scenario_violate("job %u has a result of success and not everybody has it", n);
}

static void check_jobs(void)
{
	unsigned seen[SCENARIO_JOBS_MAX] = {0};
	char *reply = replies[CLIENTS_MAX + 1];

	if (sim_http("GET", "/api/emails?limit=1000", NULL, reply, sizeof(replies[0])) != 200) {
		scenario_violate("the list of jobs: %.150s", reply);
		return;
	}
	for (const char *at = reply; (at = strstr(at, "{\"id\":")) != NULL; at++)
		check_item(at, seen);
	for (unsigned n = 0; n < scenario_ledger->job_count; n++)
		if (scenario_ledger->jobs[n].accepted && !seen[n])
			scenario_violate("job %u was accepted and is lost", n);
}

/* ---- the maildir ---- */

/* One file of it; its name is of its Message-ID, so that a second copy replaces the first. */
static int check_file(void *arg, const char *name)
{
	static char text[TEXT_BYTES];
	char path[128];
	struct scenario_reader reading;
	unsigned n = SCENARIO_NOBODY, r;
	int64_t len;

	(void)arg;
	snprintf(path, sizeof(path), "mail/new/%s", name);
	len = sim_disk_read(path, 0, text, sizeof(text) - 1);
	text[len > 0 ? len : 0] = '\0';
	for (char *at = text; (at = strstr(at, "Delivered-To: ")) != NULL; at++) {
		if (sscanf(at, "Delivered-To: r%u.j%u@example.com", &r, &n) != 2 ||
		    n >= scenario_ledger->job_count || r >= scenario_ledger->jobs[n].rcpts ||
		    !scenario_ledger->jobs[n].maildir) {
			scenario_violate("a strange mail in the maildir: %.100s", at);
			return 0;
		}
		if (scenario_ledger->jobs[n].rcpt[r].total++ > 0)
			scenario_violate("job %u is in the maildir twice", n);
	}
	if (n == SCENARIO_NOBODY) {
		scenario_violate("a mail in the maildir for nobody: %s", name);
		return 0;
	}
	scenario_read_begin(&reading, n);
	for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
		scenario_read_line(&reading, line, (size_t)(end - line));
	scenario_read_end(&reading);
	happened(KIND_MAILDIR);
	return 0;
}

/* ---- the last boot ---- */

static bool is_empty(const char *path)
{
	char *reply = replies[CLIENTS_MAX + 1];

	return sim_http("GET", path, NULL, reply, sizeof(replies[0])) == 200 && strstr(reply, "\"items\":[]");
}

static bool all_ended(void)
{
	for (unsigned c = 0; c < world.clients; c++)
		if (!outside->client_done[c]) return false;
	/* What is pending may begin, and end as pending, between two questions. */
	return is_empty("/api/emails?state=pending") && is_empty("/api/emails?state=processing") &&
	       is_empty("/api/emails?state=pending");
}

static void closer(void *arg)
{
	int64_t end = hal_clock_in(PATIENCE_MS);
	int rc;

	(void)arg;
	for (int64_t wait = 100; !all_ended(); wait = wait < 10000 ? wait * 2 : wait) {
		if (hal_clock_mono_ms() > end) {

			scenario_violate("it does not end: %.200s", replies[CLIENTS_MAX + 1]);
			break;
		}
		pause_ms(wait);
		/* They are told of before they are too many for one answer. */
		while (read_results()) {
		}
	}
	while (read_results()) {
	}
	rc = hal_storage_list(MAILDIR "/new", check_file, NULL);
	if (rc < 0 && rc != ERR_NOT_FOUND) scenario_violate("the maildir cannot be listed: %s", err_text(rc));
	check_jobs();
	wish_stop();
}

static struct totals {
	unsigned seeds, jobs, accepted, refusals, mails, duplicates, power_cuts, kills;
	unsigned kinds[KIND_COUNT];
} totals;

/* ---- boots ---- */

static int read_ini(const char *path, void *bytes, size_t cap, unsigned *mode)
{
	size_t len = strlen(world.ini);

	if (strcmp(path, "postern.ini") != 0) return ERR_NOT_FOUND;
	*mode = 0600;
	if (cap > 0) memcpy(bytes, world.ini, len < cap ? len : cap);
	return cap > 0 ? (int)len : 0;
}

/* When nothing is wrong with the disk, the gateway has to be there in time. */
static void watch_ready(void *arg)
{
	const struct boot_plan *b = plan_now();
	static char reply[4096];
	int64_t end = hal_clock_in(READY_MS);

	(void)arg;
	while (!outside->wished && !outside->ready) {
		outside->ready = sim_http("GET", "/readyz", NULL, reply, sizeof(reply)) == 200;
		if (!outside->ready && hal_clock_mono_ms() > end && !b->disk_faults && !b->alloc_fault) {
			scenario_violate("not ready after %d ms: %.100s", READY_MS, reply);
			return;
		}
		pause_ms(100);
	}
}

static void boot(void *arg)
{
	static struct settings_source source;

	(void)arg;
	source = (struct settings_source){"postern.ini", NULL, read_ini};
	sim_script_start("director", director, NULL);
	sim_script_start("ready", watch_ready, NULL);
	for (unsigned c = 0; c < world.clients; c++)
		sim_script_start("client", client, (void *)(uintptr_t)c);
	sim_script_start("reader", reader, NULL);
	if (outside->calm) sim_script_start("closer", closer, NULL);
	outside->code = app_run(&source);
	outside->ended_ms = hal_clock_mono_ms();
	outside->app_ended = true;
}

/* Between two boots of the gateway: a command without a gateway. */
static void drop(void *arg)
{
	char name[64];
	struct buf b;

	(void)arg;
	assert_int_equal(hal_storage_open("data"), 0);
	for (unsigned n = 0; n < scenario_ledger->job_count; n++) {
		struct scenario_job *j = &scenario_ledger->jobs[n];

		if (!world.extra[n].drop || outside->stage[n] != STAGE_NEW || draw(2)) continue;
		buf_init(&b, texts[0], TEXT_BYTES);
		scenario_job_text(n, false, &b);
		j->asked = true;
		outside->stage[n] = STAGE_DONE;
		j->accepted = store_drop_put(buf_view(&b), name, sizeof(name)) >= 0;
		sim_note("job %u is dropped: %s", n, j->accepted ? name : "failed");
		happened(KIND_DROP);
	}
	hal_storage_close();
}

static void run_drop(const struct boot_plan *b)
{
	struct sim_config c = sim_config_default(world.seed * 16 + 8 + (uint64_t)(b - world.boot));
	struct sim_result r;

	c.faults.clock = b->config.faults.clock;
	c.faults.clock.wrong_ms = outside->wrong_ms;
	c.faults.disk.cut_at_op = b->drop_cut_op;
	c.faults.disk.damage = SIM_DAMAGE_ANY;
	c.quiet = true;
	r = sim_run(&c, drop, NULL);
	if (r.end == SIM_POWER_CUT)
		happened(KIND_DROP_CUT);
	else if (r.end != SIM_FINISHED)
		scenario_violate("dropping ended as %s", sim_end_text(r.end));
}

static void judge_end(const struct boot_plan *b, const struct sim_result *r)
{
	bool cut = r->end == SIM_POWER_CUT, killed = r->end == SIM_KILLED;

	if (r->end != SIM_FINISHED && !cut && !killed) {
		scenario_violate("boot %u ended as %s (%d)", scenario_ledger->boot, sim_end_text(r->end),
				 r->signal_or_status);
		return;
	}
	totals.power_cuts += cut;
	totals.kills += killed;
	if (cut) happened(b->end == END_POWER_OP ? KIND_POWER_CUT_OP : KIND_POWER_CUT_TIME);
	if (killed) happened(KIND_KILL);
	if (r->end != SIM_FINISHED) return;
	happened(KIND_RESTART);
	/* Without the memory for its first steps it does not start: a supervisor's business. */
	if (!outside->wished && b->alloc_fault && r->time_ms == 0) return;
	if (!outside->wished)
		scenario_violate("boot %u: the gateway ended by itself with %d", scenario_ledger->boot,
				 outside->code);
	else if (outside->ended_ms > outside->wished_ms + STOP_MS + STOP_SLACK_MS)
		scenario_violate("boot %u: stopping took %lld ms", scenario_ledger->boot,
				 (long long)(outside->ended_ms - outside->wished_ms));
	if (outside->code != 0 && !b->disk_faults && !b->alloc_fault)
		scenario_violate("boot %u ended with exit code %d", scenario_ledger->boot, outside->code);
	if (!outside->ready && outside->calm) scenario_violate("the last boot was never ready");
}

static void note_faults(const struct boot_plan *b, const struct sim_result *r)
{
	const struct sim_faults *f = &b->config.faults;
	const char *log = sim_log_text();

	if (f->disk.fail_at != 0 && r->disk_calls >= f->disk.fail_at)
		happened(f->disk.fail_calls == SIM_DISK_SYNC ? KIND_SYNC_ERROR : KIND_WRITE_ERROR);
	if (f->alloc.fail_at != 0 && r->allocs >= f->alloc.fail_at) happened(KIND_NO_MEMORY);
	if (world.no_rtc) happened(KIND_CLOCK_UNSET);
	if (f->net.split_percent > 0 && !outside->calm) happened(KIND_SPLIT);
	for (unsigned i = 0; i < f->net.rule_count; i++) {
		const struct sim_net_rule *rule = &f->net.rules[i];

		if (rule->refuse && strstr(log, err_text(ERR_REFUSED))) happened(KIND_REFUSE);
		if (rule->black_hole && strstr(log, err_text(ERR_TIMEOUT))) happened(KIND_BLACK_HOLE);
		if (rule->cut_out_plus1 == 0 && rule->cut_in_plus1 == 0) continue;
		if (rule->cut_mode == SIM_CUT_RESET && strstr(log, err_text(ERR_RESET)))
			happened(KIND_CUT_RESET);
		if (rule->cut_mode == SIM_CUT_CLOSE && strstr(log, err_text(ERR_CLOSED)))
			happened(KIND_CUT_CLOSE);
		if (rule->cut_mode == SIM_CUT_SILENCE && strstr(log, err_text(ERR_TIMEOUT)))
			happened(KIND_CUT_SILENCE);
	}
	if (strstr(log, "CHECK")) scenario_violate("a CHECK in the log");
}

static void run_boot(unsigned i)
{
	struct boot_plan *b = &world.boot[i];
	struct sim_result r;

	if (b->drops || i == world.boots) run_drop(b);
	scenario_ledger->boot = i;
	scenario_ledger->stalls = 0;
	for (unsigned k = 0; k < b->config.faults.net.rule_count; k++)
		scenario_ledger->stalls += b->config.faults.net.rules[k].cut_mode == SIM_CUT_SILENCE &&
					   (b->config.faults.net.rules[k].cut_out_plus1 ||
					    b->config.faults.net.rules[k].cut_in_plus1);
	outside->calm = i == world.boots;
	outside->wished = outside->ready = outside->app_ended = false;
	memset(outside->client_done, 0, sizeof(outside->client_done));
	b->config.faults.clock.wrong_ms = outside->wrong_ms;
	sim_note("---- boot %u, to end by %d at %lld ms or op %llu", i, b->end, (long long)b->end_ms,
		 (unsigned long long)b->config.faults.disk.cut_at_op);
	r = sim_run(&b->config, boot, NULL);
	sim_note("---- ended as %s after %lld ms, %llu steps, %llu ops, %llu allocations",
		 sim_end_text(r.end), (long long)r.time_ms, (unsigned long long)r.steps,
		 (unsigned long long)r.disk_ops, (unsigned long long)r.allocs);
	judge_end(b, &r);
	note_faults(b, &r);
}

/* ---- seeds ---- */

static void add_totals(void)
{
	totals.seeds++;
	totals.jobs += scenario_ledger->job_count;
	for (unsigned n = 0; n < scenario_ledger->job_count; n++)
		totals.accepted += scenario_ledger->jobs[n].accepted;
	totals.refusals += outside->refusals;
	totals.mails += scenario_ledger->mails;
	totals.duplicates += scenario_ledger->duplicates;
	if (scenario_ledger->duplicates > 0) happened(KIND_DUPLICATE);
	for (unsigned k = 0; k < KIND_COUNT; k++)
		totals.kinds[k] += outside->kind[k];
}

static void run_seed(uint64_t seed)
{
	sim_reset();
	scenario_begin();
	outside = sim_shared(sizeof(*outside));
	memset(outside, 0, sizeof(*outside));
	draw_world(seed);
	scenario_mood = mood;
	sim_dns_add("mx.example.com", "192.0.2.25");
	sim_dns_add("mx.example.com", "192.0.2.26");
	sim_peer_listen("192.0.2.25", 25, scenario_serve, NULL);
	sim_peer_listen("192.0.2.26", 25, scenario_serve, NULL);
	sim_peer_listen("192.0.2.80", 587, scenario_serve, NULL);
	for (unsigned i = 0; i <= world.boots; i++)
		run_boot(i);
	add_totals();
}

static uint64_t env_number(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);
	uint64_t n = text ? strtoull(text, NULL, 10) : 0;

	return n ? n : fallback;
}

static void print_totals(void)
{
	print_message("%u seeds: %u jobs, %u accepted, %u submissions refused, %u mails taken, %u power "
		      "cuts, %u kills, "
		      "%u duplicates\n",
		      totals.seeds, totals.jobs, totals.accepted, totals.refusals, totals.mails,
		      totals.power_cuts, totals.kills, totals.duplicates);
	for (unsigned k = 0; k < KIND_COUNT; k++)
		print_message("%6u seeds with %s\n", totals.kinds[k], kind_texts[k]);
}

static void test_seeds(void **state)
{
	uint64_t one = env_number("GATEWAY_SEED", 0), first = env_number("GATEWAY_FIRST", 1);
	uint64_t count = env_number("GATEWAY_SEEDS", SEEDS_DEFAULT), failed = 0, worst = 0;

	(void)state;
	if (one) {
		setenv("SIM_LOG", "1", 1);
		run_seed(one);
		print_message("%s", sim_notes());
		if (scenario_ledger->violations)
			fail_msg("seed %llu: %s", (unsigned long long)one, scenario_ledger->violation);
		return;
	}
	for (uint64_t seed = first; seed < first + count; seed++) {
		run_seed(seed);
		if (scenario_ledger->violations == 0) continue;
		print_message("seed %llu: %s\n  replay: GATEWAY_SEED=%llu "
			      "build/host/test/scenario/test_gateway_seeds\n",
			      (unsigned long long)seed, scenario_ledger->violation, (unsigned long long)seed);
		worst = worst ? worst : seed;
		if (++failed >= 20) break;
	}
	print_totals();
	if (failed)
		fail_msg("%llu seeds failed, the first is %llu (GATEWAY_SEED=%llu replays it)",
			 (unsigned long long)failed, (unsigned long long)worst, (unsigned long long)worst);
	for (unsigned k = 0; k < KIND_COUNT && count >= SEEDS_FOR_ALL; k++)
		if (totals.kinds[k] == 0) fail_msg("no seed had %s", kind_texts[k]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seeds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
