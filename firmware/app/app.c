#include "app/app.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/err.h"
#include "build_info.h"
#include "cli/cli.h"
#include "hal_clock.h"
#include "hal_led.h"
#include "hal_lifecycle.h"
#include "hal_link.h"
#include "hal_process.h"
#include "hal_storage.h"
#include "hal_thread.h"
#include "hal_watchdog.h"
#include "health/health.h"
#include "log/log.h"
#include "net/net.h"
#include "provider/provider.h"
#include "queue/queue.h"
#include "store/store.h"

#define TICK_MS           1000
#define STORE_RETRY_MS    5000
#define STOP_MS           8000 /* of the 10 s that are promised */
#define CLOCK_STEP_MS     2000 /* a smaller change of the wall clock is drift */
#define LOG_TICKS         60   /* ticks between two log_tick */
#define WATCH_MS          500  /* how often the main thread looks whether the store gets on */
#define HOUSEKEEPING_ROWS 50   /* a tick: little enough to keep no submission waiting */

/* How far the boot came: what has to be taken down again. */
enum stage { STAGE_NONE, STAGE_STORAGE, STAGE_NET, STAGE_STORE, STAGE_WORKERS, STAGE_API };

static struct {
	struct settings settings[2];
	unsigned current;
	enum stage stage;
	struct store *store;
	struct provider_pool *pool;
	void *api_memory;
	size_t api_memory_bytes;
	size_t job_bytes; /* that the memory was made for */
	int64_t wall_minus_mono;
	bool clock_set, link_up;
	bool clock_stepped; /* the store has not yet taken this step in: */
	struct store_clock_stepped clock_step;
	uint32_t link_generation;
	unsigned ticks;
	struct provider_status providers[PROVIDER_MAX];
	bool reload_wanted; /* seen while waiting for something else */
	int64_t kick_again_ms;
	struct hal_mutex lock; /* of what follows but the atomics */
	struct hal_cond answered_cond;
	bool answered;
	atomic_uint store_beats; /* the store's thread got on */
	atomic_bool store_runs, stopping;
} app;

static struct settings *now(void)
{
	return &app.settings[app.current];
}

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- waiting for the store with the watchdog on ---- */

static bool asked_to_stop(void)
{
	enum hal_wish wish = hal_lifecycle_wait(hal_clock_mono_ms());

	app.reload_wanted |= wish == HAL_WISH_RELOAD;
	return wish == HAL_WISH_STOP;
}

/* A salvage or a clock that was set can keep the store busy for longer than the watchdog waits. As long as it gets
 * on the device must not reboot: it would begin anew, for ever. While it opens this is the main thread. */
static int on_progress(void *arg)
{
	(void)arg;
	if (atomic_load(&app.store_runs)) {
		atomic_fetch_add(&app.store_beats, 1);
		return atomic_load(&app.stopping) ? ERR_STOPPING : 0;
	}
	if (hal_clock_mono_ms() >= app.kick_again_ms) {
		app.kick_again_ms = hal_clock_in(WATCH_MS);
		hal_watchdog_kick();
		if (asked_to_stop()) atomic_store(&app.stopping, true);
	}
	return atomic_load(&app.stopping) ? ERR_STOPPING : 0;
}

static void on_answer(struct store_op *op)
{
	(void)op;
	hal_mutex_lock(&app.lock);
	app.answered = true;
	hal_cond_signal(&app.answered_cond);
	hal_mutex_unlock(&app.lock);
}

/* store_do of the main thread: the watchdog is kicked only for a store that gets on, one that hangs is its case. */
static int ask_store(struct store_op *op)
{
	unsigned beats = atomic_load(&app.store_beats);

	app.answered = false;
	op->done = on_answer;
	store_submit(app.store, op);
	hal_mutex_lock(&app.lock);
	while (!app.answered) {
		hal_cond_wait(&app.answered_cond, &app.lock, hal_clock_in(WATCH_MS));
		if (app.answered || beats == atomic_load(&app.store_beats)) continue;
		beats = atomic_load(&app.store_beats);
		hal_mutex_unlock(&app.lock);
		hal_watchdog_kick();
		if (asked_to_stop()) atomic_store(&app.stopping, true);
		hal_mutex_lock(&app.lock);
	}
	hal_mutex_unlock(&app.lock);
	return op->rc;
}

/* ---- settings for the rooms ---- */

static struct store_config store_config(const struct settings *s)
{
	return (struct store_config){
		.durability_full = s->store.durability == SETTINGS_DURABILITY_FULL,
		.max_bytes = s->store.max_bytes,
		.reserve_bytes = s->store.reserve_bytes,
		.keep_completed_ms = s->store.keep_completed,
		.keep_failed_ms = s->store.keep_failed,
		.keep_ids_ms = s->store.keep_ids,
		.keep_results_ms = s->store.keep_results,
		.progress = on_progress,
	};
}

static struct intake_config intake_config(const struct settings *s)
{
	return (struct intake_config){
		.pool = app.pool,
		/* Memory was made for the size at start. */
		.limits = {.job_bytes = (size_t)min_i64(s->limits.job_bytes, (int64_t)app.job_bytes),
			   .recipients = (size_t)s->limits.recipients,
			   .envelope_bytes = LIMIT_job_header_bytes,
			   .message_bytes = (size_t)s->limits.message_bytes},
		.expire_ms = s->retry.expire,
	};
}

static struct api_config api_config(const struct settings *s)
{
	static const unsigned modes[] = {
		[SETTINGS_SOCKET_0600] = 0600, [SETTINGS_SOCKET_0660] = 0660, [SETTINGS_SOCKET_0666] = 0666};
	struct api_config config = {
		.store = app.store,
		.pool = app.pool,
		.broker_amqp = s->broker.mode == SETTINGS_BROKER_AMQP,
		.job_bytes = (size_t)s->limits.job_bytes,
		.memory = app.api_memory,
		.retry_max = (unsigned)s->retry.max,
		.socket_path = s->api.socket,
		.submit_socket_path = s->api.submit_socket,
		.submit_socket_mode = modes[s->api.submit_socket_mode],
		.listen_count = s->api.listen.count,
	};

	snprintf(config.name, sizeof(config.name), "%s", s->gateway.name);
	for (size_t i = 0; i < s->api.listen.count && i < API_LISTEN_MAX; i++)
		config.listen[i] = s->api.listen.addr[i];
	return config;
}

static void open_log(const struct settings *s)
{
	static const enum hal_log_target targets[] = {
		[SETTINGS_LOG_STDERR] = HAL_LOG_STDERR, [SETTINGS_LOG_SYSLOG] = HAL_LOG_SYSLOG};

	log_open((enum log_level)s->gateway.log_level,
		 s->gateway.log_format == SETTINGS_LOG_JSON ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT,
		 targets[s->gateway.log_target]);
}

/* Problems and notes as they are, for who reads the log to find the line. */
static void report_line(void *arg, const char *text)
{
	bool note = strstr(text, ": note: ") != NULL;

	(void)arg;
	hal_log_line(note ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, text, strlen(text));
}

static int load(struct settings *s, const struct settings_source *source)
{
	struct settings_report report = {report_line, NULL, 0, 0};
	int rc = settings_load(s, source, &report);

	return rc < 0 ? rc : settings_check_built(s, &report);
}

/* ---- boot ---- */

static void log_limits(void)
{
	static const struct {
		const char *name;
		long long value;
	} limits[] = {
#define LIMIT(name, value, unit, cost_bytes, text) {#name, (value)},
#include "limits.def"
#undef LIMIT
	};
	char line[480]; /* a log line cuts a text that is longer */
	struct buf b;

	buf_init(&b, line, sizeof(line));
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		buf_printf(&b, "%s%s:%lld", b.len > 0 ? " " : "", limits[i].name, limits[i].value);
		if (b.len > sizeof(line) - 64 || i + 1 == sizeof(limits) / sizeof(limits[0])) {
			log_info("app", "limits of this build", LOG_TEXT("limits", line));
			buf_reset(&b);
		}
	}
}

/* What needs root goes first, then root goes. */
static int drop_rights(const struct settings *s)
{
	int rc = hal_watchdog_open(s->device.watchdog);

	if (rc < 0)
		log_warn("app", "watchdog cannot be opened -> going on without",
			 LOG_TEXT("device", s->device.watchdog), LOG_ERR(rc));
	rc = hal_led_open(s->device.led);
	if (rc < 0)
		log_warn("app", "led cannot be opened -> going on without", LOG_TEXT("led", s->device.led),
			 LOG_ERR(rc));
	if (!*s->gateway.user) return 0;
	rc = hal_process_own_dir(s->gateway.data_dir, s->gateway.user);
	if (rc == 0) rc = hal_process_become(s->gateway.user);
	if (rc < 0)
		log_error("app", "cannot go on as this user -> not started",
			  LOG_TEXT("user", s->gateway.user), LOG_ERR(rc));
	return rc;
}

static int open_storage(const struct settings *s)
{
	int rc = hal_storage_open(s->gateway.data_dir);

	if (rc < 0) {
		log_error("app",
			  rc == ERR_BUSY ? "data_dir is in use by another gateway -> not started"
					 : "data_dir cannot be opened -> not started",
			  LOG_TEXT("data_dir", s->gateway.data_dir), LOG_ERR(rc));
		return rc;
	}
	app.stage = STAGE_STORAGE;
	if (s->device.clock_floor > 0) hal_clock_floor_raise(s->device.clock_floor);
	rc = net_init();
	if (rc < 0)
		log_error("app", "TLS cannot be set up -> not started", LOG_ERR(rc));
	else
		app.stage = STAGE_NET;
	return rc;
}

/* A disk that is full, gone or read-only may come back: the device stays up and says so. */
static int open_store(const struct settings *s)
{
	struct store_config config = store_config(s);

	for (;;) {
		int rc = store_open(&config, &app.store);
		int64_t end = hal_clock_in(STORE_RETRY_MS);

		if (rc == 0) {
			app.stage = STAGE_STORE;
			atomic_store(&app.store_runs, true);
			/* From here on a clock that is set is noticed. */
			app.wall_minus_mono = hal_clock_wall_ms(&app.clock_set) - hal_clock_mono_ms();
			app.clock_stepped = false;
			return 0;
		}
		if (rc == ERR_STOPPING) return rc;
		if (rc == ERR_NEWER || rc == ERR_BUSY) {
			log_error("app", "the database cannot be used -> not started", LOG_ERR(rc),
				  LOG_TEXT("reason", err_text(rc)));
			return rc;
		}
		log_error("app", "the database cannot be opened -> trying again", LOG_ERR(rc),
			  LOG_MS("in", STORE_RETRY_MS));
		hal_led_set(HAL_LED_FAULT);
		while (hal_clock_mono_ms() < end) {
			hal_watchdog_kick();
			if (hal_lifecycle_wait(hal_clock_in(TICK_MS)) == HAL_WISH_STOP) return rc;
		}
	}
}

static int start_workers(const struct settings *s)
{
	size_t bytes = provider_memory_bytes(s);
	void *memory = hal_process_memory(bytes);
	struct intake_config intake;
	int rc;

	app.job_bytes = (size_t)s->limits.job_bytes;
	app.api_memory_bytes = api_memory_bytes(app.job_bytes);
	app.api_memory = hal_process_memory(app.api_memory_bytes);
	rc = memory && app.api_memory ? provider_start(app.store, s, memory, bytes, &app.pool)
				      : ERR_NO_MEMORY;
	if (rc < 0) {
		log_error("app", "the workers cannot be started -> not started", LOG_ERR(rc));
		return rc;
	}
	app.stage = STAGE_WORKERS;
	intake = intake_config(s);
	intake_configure(&intake);
	return 0;
}

/* One file of the drop directory. */
static int take_dropped(void *arg, struct str name, char *text, size_t len, char *reason, size_t reason_cap)
{
	struct arena *a = arg;
	struct intake *in;
	int rc;

	hal_watchdog_kick();
	/* There may be thousands; what is not taken in now waits for the next start. */
	if (asked_to_stop()) atomic_store(&app.stopping, true);
	if (atomic_load(&app.stopping)) return ERR_STOPPING;
	arena_reset(a);
	in = arena_take(a, sizeof(*in));
	if (!in) return ERR_NO_MEMORY;
	rc = intake_job(in, a, (struct str){text, len});
	if (rc < 0) {
		snprintf(reason, reason_cap, "%s: %s", in->problem.pointer,
			 in->problem.reason[0] ? in->problem.reason : err_text(rc));
		return rc;
	}
	/* Taken in once more after a power cut it is still the same job. */
	if (in->job.message_id.len == 0) in->accept.message_id = name;
	rc = ask_store(&in->accept.op);
	if (rc < 0) snprintf(reason, reason_cap, "%s", err_text(rc));
	return rc;
}

/* Jobs handed in while no gateway ran. The API's memory serves, the API does not run yet. */
static void take_drops(void)
{
	size_t cap = app.job_bytes + 1;
	struct arena a;
	struct store_drop_count count;
	int rc;

	arena_init(&a, (char *)app.api_memory + ((cap + 15) & ~(size_t)15),
		   app.api_memory_bytes - ((cap + 15) & ~(size_t)15));
	rc = store_drop_take(app.api_memory, cap, take_dropped, &a, &count);
	if (count.taken > 0 || count.refused > 0)
		log_info("app", "jobs found in the drop directory -> taken in", LOG_INT("taken", count.taken),
			 LOG_INT("refused", count.refused));
	if (count.left > 0)
		log_warn("app",
			 "jobs of the drop directory cannot be taken in -> they stay for the next start",
			 LOG_INT("left", count.left), LOG_TEXT("first", count.left_name),
			 LOG_TEXT("reason", count.left_reason), LOG_ERR(count.left_rc));
	if (rc < 0) log_warn("app", "drop directory cannot be read -> its jobs wait there", LOG_ERR(rc));
}

static int start_api(const struct settings *s)
{
	struct api_config config = api_config(s);
	char what[128] = "";
	size_t dir = strlen(s->gateway.data_dir);
	int rc;

	/* A submit socket for others is of no use in a directory that only we may enter; the files there stay
	 * ours. */
	if (config.submit_socket_mode != 0600 &&
	    strncmp(s->gateway.data_dir, config.submit_socket_path, dir) == 0 &&
	    hal_process_let_pass(s->gateway.data_dir) < 0)
		log_warn("app", "data_dir cannot be opened for others -> the submit socket is ours only");
	rc = api_start(&config, what, sizeof(what));

	if (rc < 0) {
		log_error("app", "cannot listen -> not started", LOG_TEXT("on", what), LOG_ERR(rc),
			  LOG_TEXT("reason", err_text(rc)));
		return rc;
	}
	app.stage = STAGE_API;
	return 0;
}

static int boot(const struct settings *s)
{
	int rc = drop_rights(s);

	if (rc == 0) rc = open_storage(s);
	if (rc == 0) rc = open_store(s);
	if (rc == 0) rc = start_workers(s);
	if (rc < 0) return rc;
	take_drops();
	return start_api(s);
}

static void take_down(void)
{
	int64_t end = hal_clock_in(STOP_MS);

	hal_lifecycle_stopping();
	atomic_store(&app.stopping, true);
	hal_watchdog_kick();
	if (app.stage >= STAGE_API) api_stop();
	if (app.stage >= STAGE_WORKERS) provider_stop(app.pool, end);
	hal_watchdog_kick();
	if (app.stage >= STAGE_STORE) store_close(app.store);
	if (app.stage >= STAGE_NET) net_close();
	if (app.stage >= STAGE_STORAGE) hal_storage_close();
	hal_watchdog_close();
	hal_led_close();
	app.stage = STAGE_NONE;
}

/* ---- the main loop ---- */

/* What the clock shows. False: it was set and the store does not know it yet. */
static bool watch_clock(int64_t *wall, bool *set)
{
	*wall = hal_clock_wall_ms(set);
	int64_t offset = *wall - hal_clock_mono_ms(), step = offset - app.wall_minus_mono;

	if (!app.clock_stepped && step <= CLOCK_STEP_MS && step >= -CLOCK_STEP_MS && *set == app.clock_set) {
		app.wall_minus_mono = offset;
		return true;
	}
	/* The same one until it is done: a step that failed half way must not be made twice. */
	if (!app.clock_stepped) {
		log_info("app", "the clock was set -> due times move with it", LOG_INT("by_ms", step),
			 LOG_BOOL("set", *set));
		store_clock_stepped_init(&app.clock_step);
		app.clock_step.delta_ms = step;
		app.clock_step.now_ms = *wall;
		app.clock_stepped = true;
		app.clock_set = *set;
	}
	if (ask_store(&app.clock_step.op) < 0) return false;
	app.clock_stepped = false;
	app.wall_minus_mono += app.clock_step.delta_ms;
	/* It may have been set once more meanwhile: that is for the next time. */
	*wall = app.wall_minus_mono + hal_clock_mono_ms();
	provider_wake(app.pool, false);
	return true;
}

static void watch_link(void)
{
	struct hal_link_state link;

	hal_link_get(&link);
	if (link.up != app.link_up)
		log_info("app",
			 link.up ? "the link is up -> sending goes on" : "the link is down -> mail waits");
	if (link.up && (!app.link_up || link.generation != app.link_generation))
		provider_wake(app.pool, true);
	app.link_up = link.up;
	app.link_generation = link.generation;
}

static void show_health(void)
{
	static const enum hal_led_state lights[] = {[HEALTH_OK] = HAL_LED_OK,
						    [HEALTH_DEGRADED] = HAL_LED_DEGRADED,
						    [HEALTH_DOWN] = HAL_LED_FAULT};
	static struct store_status status;
	static struct health_facts facts;
	static struct health health;

	store_status_init(&status);
	if (ask_store(&status.op) < 0) {
		hal_led_set(HAL_LED_FAULT);
		return;
	}
	health_gather(&facts, app.pool, app.providers);
	facts.store = &status;
	health_judge(&facts, &health);
	hal_led_set(health.overall == HEALTH_OK && facts.workers.busy > 0 ? HAL_LED_BUSY
									  : lights[health.overall]);
}

/* Once a second. The watchdog is kicked behind the rest: when the store does not answer and does not get on, or a
 * lock of the workers is held for ever, this thread hangs here and the device reboots. */
static void tick(void)
{
	struct store_tick op;

	/* First: a clock that was set would else expire everything that waits. */
	store_tick_init(&op);
	op.batch = HOUSEKEEPING_ROWS;
	if (watch_clock(&op.now_ms, &op.clock_set)) ask_store(&op.op);
	watch_link();
	show_health();
	if (++app.ticks % LOG_TICKS == 0) log_tick();
	hal_watchdog_kick();
}

/* Keys that were read at start only. */
static void log_unchanged(const struct settings *old, const struct settings *new)
{
	bool same = strcmp(old->gateway.data_dir, new->gateway.data_dir) == 0 &&
		    strcmp(old->gateway.user, new->gateway.user) == 0 &&
		    strcmp(old->api.socket, new->api.socket) == 0 &&
		    strcmp(old->api.submit_socket, new->api.submit_socket) == 0 &&
		    strcmp(old->device.watchdog, new->device.watchdog) == 0 &&
		    strcmp(old->device.led, new->device.led) == 0 &&
		    old->api.listen.count ==
			    new->api.listen.count &&memcmp(old->api.listen.addr, new->api.listen.addr,
							   new->api.listen.count *
								   sizeof(new->api.listen.addr[0])) == 0 &&
		    new->limits.job_bytes <= (int64_t)app.job_bytes && old->worker.max >= new->worker.max;

	if (!same)
		log_warn("app", "data_dir, user, sockets, listen, device or larger limits changed -> count "
				"from the next start");
}

static void reload(const struct settings_source *source)
{
	struct settings *old = now(), *new = &app.settings[!app.current];
	struct store_config store;
	struct intake_config intake;
	struct api_config api;
	int rc = load(new, source);

	if (rc == 0) rc = provider_reload(app.pool, new);
	if (rc < 0) {
		log_error("app", "the new configuration is refused -> the running one stays", LOG_ERR(rc));
		settings_wipe(new);
		return;
	}
	app.current = !app.current;
	open_log(new);
	store = store_config(new);
	intake = intake_config(new);
	api = api_config(new);
	store_reconfigure(app.store, &store);
	intake_configure(&intake);
	api_reconfigure(&api);
	log_unchanged(old, new);
	settings_wipe(old);
	log_info("app", "configuration read again -> in effect", LOG_TEXT("file", new->file));
}

static void serve(const struct settings_source *source)
{
	int64_t next = hal_clock_in(TICK_MS);
	struct hal_link_state link;

	hal_link_get(&link);
	app.link_up = link.up;
	app.link_generation = link.generation;
	for (;;) {
		enum hal_wish wish = hal_lifecycle_wait(next);

		if (wish == HAL_WISH_STOP) return;
		if (wish == HAL_WISH_RELOAD || app.reload_wanted) {
			app.reload_wanted = false;
			reload(source);
		}
		if (hal_clock_mono_ms() >= next) {
			tick();
			next = hal_clock_in(TICK_MS);
		}
	}
}

int app_run(const struct settings_source *source)
{
	int64_t began = hal_clock_mono_ms();
	int rc;

	hal_process_harden();
	hal_lifecycle_init();
	app.current = 0;
	app.reload_wanted = false;
	atomic_store(&app.store_runs, false);
	atomic_store(&app.stopping, false);
	hal_mutex_init(&app.lock);
	hal_cond_init(&app.answered_cond);
	if (load(now(), source) < 0) return CLI_USAGE;
	open_log(now());
	log_info("app", "starting", LOG_TEXT("version", POSTERN_VERSION),
		 LOG_TEXT("name", now()->gateway.name),
		 LOG_TEXT("file", *now()->file ? now()->file : "built-in settings"),
		 LOG_TEXT("data_dir", now()->gateway.data_dir));
	log_limits();
	rc = boot(now());
	if (rc < 0) {
		take_down();
		if (rc == ERR_STOPPING) return CLI_DONE;
		return rc == ERR_CONFIG || rc == ERR_UNSUPPORTED ? CLI_USAGE : CLI_FAILED;
	}
	hal_lifecycle_ready();
	log_info("app", "ready", LOG_INT("after_ms", hal_clock_mono_ms() - began),
		 LOG_INT("port", api_port()));
	serve(source);
	log_info("app", "asked to stop -> stopping");
	take_down();
	log_info("app", "stopped");
	log_tick();
	return CLI_DONE;
}

/* ---- the program ---- */

static int run_command(const char *file)
{
	static struct settings_source source;

	source = (struct settings_source){file, hal_process_env, settings_read_file};
	return app_run(&source);
}

int app_main(int argc, char **argv)
{
	return cli_main(argc, argv, run_command);
}
