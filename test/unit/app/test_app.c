/* The whole firmware in the simulator: boot, a mail through SMTP and through a Maildir, reload, bad
 * configurations, the drop directory, clock and link, shutdown while sending. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "app/app.h"
#include "gateway_kit.h"
#include "hal_clock.h"
#include "hal_lifecycle.h"
#include "hal_storage.h"
#include "smtp_peer.h"
#include "store/store.h"
#include "store_kit.h"

#define JOB "{\"to\":[\"user@example.com\"],\"subject\":\"s\",\"body_content\":\"x\"}"
#define SMTP_INI(ip)                                                                                         \
	"[gateway]\ndata_dir = data\n[provider.default]\ntype = smtp\nhost = " ip                            \
	"\nport = 25\ntls = none\nfrom = gw@example.com\n"

static struct smtp_peer *one, *two;

static int setup(void **state)
{
	(void)state;
	sim_reset();
	one = sim_shared(sizeof(*one));
	two = sim_shared(sizeof(*two));
	one->caps = two->caps = "PIPELINING,8BITMIME";
	sim_peer_listen("192.0.2.1", 25, smtp_peer_serve, one);
	sim_peer_listen("192.0.2.2", 25, smtp_peer_serve, two);
	return 0;
}

static void pause_ms(int64_t ms)
{
	hal_clock_sleep_until(hal_clock_in(ms));
}

static bool logged(const char *piece)
{
	return strstr(sim_log_text(), piece) != NULL;
}

/* ---- sending ---- */

static void send_one(void *arg)
{
	(void)arg;
	gateway_kit_await(gateway_kit_post(JOB), "completed", 10000);
}

static void test_maildir(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, send_one, NULL, 0);
	assert_true(logged("ready"));
	assert_true(logged("limits of this build"));
	assert_true(logged("stopped"));
}

static void test_smtp(void **state)
{
	(void)state;
	gateway_kit_run(SMTP_INI("192.0.2.1"), send_one, NULL, 0);
	assert_int_equal(one->mails, 1);
	assert_int_equal(one->violations, 0);
}

static void burst(void *arg)
{
	int64_t last = 0;

	(void)arg;
	for (int i = 0; i < 40; i++)
		last = gateway_kit_post(JOB);
	assert_int_equal(last, 40);
	for (int64_t id = 1; id <= 40; id++)
		gateway_kit_await(id, "completed", 60000);
}

static void test_burst_and_restart(void **state)
{
	(void)state;
	gateway_kit_run(SMTP_INI("192.0.2.1"), burst, NULL, 0);
	assert_int_equal(one->mails, 40);
	gateway_kit_run(SMTP_INI("192.0.2.1"), send_one, NULL, 0);
	assert_int_equal(one->mails, 41);
}

/* ---- reload ---- */

static void reload_bad_then_good(void *arg)
{
	(void)arg;
	send_one(NULL);
	gateway_kit_ini(SMTP_INI("192.0.2.2") "nonsense = 1\n");
	hal_lifecycle_wish(HAL_WISH_RELOAD);
	pause_ms(2000);
	send_one(NULL);
	assert_int_equal(one->mails, 2);
	gateway_kit_ini(SMTP_INI("192.0.2.2"));
	hal_lifecycle_wish(HAL_WISH_RELOAD);
	pause_ms(2000);
	send_one(NULL);
	assert_int_equal(one->mails, 2);
	assert_int_equal(two->mails, 1);
}

static void test_reload(void **state)
{
	(void)state;
	gateway_kit_run(SMTP_INI("192.0.2.1"), reload_bad_then_good, NULL, 0);
	assert_true(logged("nonsense"));
	assert_true(logged("the new configuration is refused -> the running one stays"));
	assert_true(logged("configuration read again -> in effect"));
}

static void test_bad_configuration(void **state)
{
	(void)state;
	gateway_kit_run("[gateway]\ndata_dir = data\nnonsense = 1\n", NULL, NULL, 2);
	gateway_kit_run("[broker]\nmode = amqp\n", NULL, NULL, 2);
}

/* ---- the drop directory ---- */

static void drop_then_run(void *arg)
{
	char name[HAL_PATH_MAX];

	(void)arg;
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_drop_put(STR(JOB), name, sizeof(name)), 0);
	assert_int_equal(store_drop_put(STR("{\"to\":[\"bad\"],\"body_content\":\"x\"}"), name, sizeof(name)),
			 0);
	hal_storage_close();
}

static void drop_one(void *arg)
{
	char name[HAL_PATH_MAX];

	(void)arg;
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_drop_put(STR(JOB), name, sizeof(name)), 0);
	hal_storage_close();
}

static void drop_foreign(void *arg)
{
	(void)arg;
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(hal_storage_mkdir("drop"), 0);
	assert_int_equal(hal_storage_sync_dir(""), 0);
	sim_disk_write("drop/order.json", 0, JOB, strlen(JOB));
	hal_storage_close();
}

static void sent_is(void *arg)
{
	gateway_kit_await(*(int64_t *)arg, "completed", 10000);
}

static void dropped(void *arg)
{
	(void)arg;
	gateway_kit_await(1, "completed", 10000);
	assert_int_equal(gateway_kit_http("GET", "/api/emails/2", NULL), 404);
}

static void test_drop(void **state)
{
	struct sim_config config = sim_config_default(1);

	(void)state;
	assert_int_equal(sim_run(&config, drop_then_run, NULL).end, SIM_FINISHED);
	gateway_kit_run(GATEWAY_KIT_INI, dropped, NULL, 0);
	assert_true(logged("taken=1"));
	assert_true(logged("refused=1"));
}

/* A power cut anywhere while a job without message_id is taken in: it is one job, and one mail, all the same. */
static void start_and_stop(void *arg)
{
	(void)arg;
}

static void only_one(void *arg)
{
	(void)arg;
	gateway_kit_await(1, "completed", 60000);
	assert_int_equal(gateway_kit_http("GET", "/api/emails/2", NULL), 404);
	assert_int_equal(gateway_kit_http("GET", "/api/emails?limit=10", NULL), 200);
	assert_non_null(strstr(gateway_kit_reply, "\"next\":null"));
}

static void drop_cut(uint64_t op, void (*drop)(void *arg))
{
	struct sim_config config = sim_config_default(op);
	struct sim_result result = {.end = SIM_POWER_CUT};

	for (config.faults.disk.cut_at_op = op; result.end == SIM_POWER_CUT;
	     config.faults.disk.cut_at_op += 3) {
		struct sim_config calm = sim_config_default(1);

		sim_reset();
		assert_int_equal(gateway_kit_boot(&calm, GATEWAY_KIT_INI, start_and_stop, NULL, 0).end,
				 SIM_FINISHED);
		assert_int_equal(sim_run(&calm, drop, NULL).end, SIM_FINISHED);
		config.quiet = true;
		config.faults.disk.damage = SIM_DAMAGE_ANY;
		result = gateway_kit_boot(&config, GATEWAY_KIT_INI, start_and_stop, NULL, 0);
		gateway_kit_run(GATEWAY_KIT_INI, only_one, NULL, 0);
	}
	assert_int_equal(result.end, SIM_FINISHED);
}

static void test_drop_cut(void **state)
{
	(void)state;
	for (uint64_t op = 1; op <= 3; op++)
		drop_cut(op, drop_one);
}

static void test_drop_cut_foreign(void **state)
{
	(void)state;
	for (uint64_t op = 1; op <= 3; op++)
		drop_cut(op, drop_foreign);
}

/* A name that somebody gives again and again is no identity. */
static void test_drop_foreign_again(void **state)
{
	struct sim_config calm = sim_config_default(1);

	(void)state;
	for (int64_t id = 1; id <= 2; id++) {
		assert_int_equal(sim_run(&calm, drop_foreign, NULL).end, SIM_FINISHED);
		gateway_kit_run(GATEWAY_KIT_INI, sent_is, &id, 0);
	}
}

/* ---- clock, link, end ---- */

static void link_away(void *arg)
{
	int64_t id;

	(void)arg;
	sim_link_set(false, false);
	id = gateway_kit_post(JOB);
	pause_ms(30000);
	assert_int_equal(one->mails, 0);
	sim_link_set(true, true);
	pause_ms(2000);
	gateway_kit_await(id, "completed", 10000);
}

static void test_link(void **state)
{
	(void)state;
	gateway_kit_run(SMTP_INI("192.0.2.1"), link_away, NULL, 0);
	assert_true(logged("the link is down"));
	assert_true(logged("the link is up"));
}

static void clock_jumps(void *arg)
{
	int64_t id;

	(void)arg;
	one->replies[PEER_MAIL] = "451 later";
	one->only_mail = 1;
	id = gateway_kit_post(JOB);
	pause_ms(500);
	sim_clock_jump(-24 * 3600 * 1000);
	gateway_kit_await(id, "completed", 60000);
}

static void test_clock(void **state)
{
	(void)state;
	gateway_kit_run(SMTP_INI("192.0.2.1"), clock_jumps, NULL, 0);
	assert_true(logged("the clock was set"));
}

/* A device that boots in 1970 and is told the time later: retries end nevertheless, and nothing moves into
 * the future. */
static void no_clock(void *arg)
{
	int64_t id;

	(void)arg;
	sim_clock_jump(-50LL * 365 * 24 * 3600 * 1000);
	pause_ms(2500);
	gateway_kit_await(gateway_kit_post(JOB), "completed", 10000);
	one->replies[PEER_MAIL] = "451 later";
	one->only_mail = 2;
	id = gateway_kit_post(JOB);
	pause_ms(500);
	sim_clock_set();
	gateway_kit_await(id, "completed", 60000);
	/* What was done before is not 50 years old. */
	pause_ms(5000);
	assert_int_equal(gateway_kit_http("GET", "/api/emails/1", NULL), 200);
	assert_int_equal(gateway_kit_http("GET", "/api/results?after=0", NULL), 200);
	assert_non_null(strstr(gateway_kit_reply, "\"seq\":1,"));
}

static void test_no_clock(void **state)
{
	(void)state;
	gateway_kit_run(SMTP_INI("192.0.2.1"), no_clock, NULL, 0);
	assert_true(logged("the clock was set"));
}

static void stop_while_sending(void *arg)
{
	int64_t *began = arg;

	one->replies[PEER_DATA] = PEER_SILENT;
	gateway_kit_post(JOB);
	pause_ms(1000);
	*began = hal_clock_mono_ms();
}

static void test_stop(void **state)
{
	int64_t *began = sim_shared(sizeof(*began));

	(void)state;
	gateway_kit_run(SMTP_INI("192.0.2.1"), stop_while_sending, began, 0);
	assert_true(gateway_kit_ended_ms() - *began <= 10000);
}

static void watch(void *arg)
{
	uint64_t kicks = sim_watchdog_kicks();

	(void)arg;
	sim_led();
	pause_ms(20000);
	assert_true(sim_watchdog_kicks() > kicks);
	gateway_kit_http("GET", "/api/health", NULL);
	if (sim_led() != HAL_LED_OK) fail_msg("%s", gateway_kit_reply);
}

static void test_watchdog(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI "[device]\nwatchdog = sim\nled = sim\n", watch, NULL, 0);
}

/* ---- a long salvage, with the watchdog on ---- */

#define WATCHED    GATEWAY_KIT_INI "[device]\nwatchdog = sim\n"
#define OLD_JOBS   6000
#define PAGE_BYTES 4096

static void fill_store(void *arg)
{
	struct store_config config = kit_config();
	struct store *s;
	char name[32];

	(void)arg;
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_open(&config, &s), 0);
	for (int i = 0; i < OLD_JOBS; i++) {
		snprintf(name, sizeof(name), "old-%d", i);
		assert_int_equal(kit_accept(s, name, "of-old", NULL), 0);
	}
	store_close(s);
	hal_storage_close();
}

static void spoil(int64_t first, int64_t count)
{
	static const char zeros[PAGE_BYTES];

	for (int64_t i = first; i < first + count; i++)
		sim_disk_write("postern.db", i * PAGE_BYTES, zeros, sizeof(zeros));
}

/* A world where a salvage takes longer than the watchdog waits. */
static struct sim_config slow_storage(void)
{
	struct sim_config config = sim_config_default(3);

	assert_int_equal(sim_run(&config, fill_store, NULL).end, SIM_FINISHED);
	config.faults.watchdog_ms = 10000;
	config.faults.disk.sync_ms = 500;
	return config;
}

static void test_watchdog_salvage_at_start(void **state)
{
	struct sim_config config = slow_storage();

	(void)state;
	spoil(0, 1);
	struct sim_result r = gateway_kit_boot(&config, WATCHED, send_one, NULL, 0);
	if (r.end != SIM_FINISHED) fail_msg("%s", sim_end_text(r.end));
	assert_true(logged("rows saved"));
	assert_true(r.time_ms > 20000);
}

static void meet_damage(void *arg)
{
	(void)arg;
	spoil(sim_disk_size("postern.db") / PAGE_BYTES / 2, 20);
	for (int i = 0; i < OLD_JOBS && !logged("rows saved"); i += 5) {
		char path[64];

		snprintf(path, sizeof(path), "/api/emails/%d", i + 1);
		gateway_kit_http("GET", path, NULL);
	}
	send_one(NULL);
}

static void test_watchdog_salvage_running(void **state)
{
	struct sim_config config = slow_storage();

	(void)state;
	struct sim_result r = gateway_kit_boot(&config, WATCHED, meet_damage, NULL, 0);
	if (r.end != SIM_FINISHED) fail_msg("%s", sim_end_text(r.end));
	assert_true(logged("rows saved"));
	assert_true(r.time_ms > 20000);
}

/* Being told to stop counts in the midst of it, too. */
static void stop_soon(void *arg)
{
	(void)arg;
	pause_ms(5000);
	hal_lifecycle_wish(HAL_WISH_STOP);
}

static int read_watched(const char *path, void *bytes, size_t cap, unsigned *mode)
{
	(void)path;
	*mode = 0600;
	if (cap == 0) return 0;
	memcpy(bytes, WATCHED, sizeof(WATCHED) - 1);
	return sizeof(WATCHED) - 1;
}

static void stopped_boot(void *arg)
{
	static struct settings_source source = {"postern.ini", NULL, read_watched};

	(void)arg;
	sim_script_start("stopper", stop_soon, NULL);
	assert_int_equal(app_run(&source), 0);
	assert_true(hal_clock_mono_ms() < 15000);
}

static void test_stop_in_salvage(void **state)
{
	struct sim_config config = slow_storage();

	(void)state;
	spoil(0, 1);
	assert_int_equal(sim_run(&config, stopped_boot, NULL).end, SIM_FINISHED);
	assert_false(logged("rows saved"));
	struct sim_result r = gateway_kit_boot(&config, WATCHED, send_one, NULL, 0);
	if (r.end != SIM_FINISHED) fail_msg("%s", sim_end_text(r.end));
	assert_true(logged("rows saved"));
}

/* ---- the storage is gone ---- */

static void storage_gone(void *arg)
{
	(void)arg;
	gateway_kit_post(JOB);
	pause_ms(2000);
	sim_faults()->disk.fail_calls = SIM_DISK_ANY;
	sim_faults()->disk.fail_err = ERR_IO;
	sim_faults()->disk.fail_on = true;
	sim_faults()->disk.fail_at = 1;
	assert_true(gateway_kit_http("POST", "/api/emails", JOB) >= 500);
	assert_int_equal(gateway_kit_http("GET", "/readyz", NULL), 503);
	gateway_kit_http("GET", "/api/health", NULL);
	assert_non_null(strstr(gateway_kit_reply, "the database is closed: input"));
	pause_ms(2000);
	assert_int_equal(sim_led(), HAL_LED_FAULT);
	sim_faults()->disk.fail_at = 0;
	pause_ms(35000);
	assert_int_equal(gateway_kit_http("GET", "/readyz", NULL), 200);
	assert_int_equal(sim_led(), HAL_LED_OK);
	send_one(NULL);
}

static void test_storage_gone(void **state)
{
	(void)state;
	gateway_kit_run(SMTP_INI("192.0.2.1") "[device]\nled = sim\n", storage_gone, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_maildir, setup),
		cmocka_unit_test_setup(test_smtp, setup),
		cmocka_unit_test_setup(test_burst_and_restart, setup),
		cmocka_unit_test_setup(test_reload, setup),
		cmocka_unit_test_setup(test_bad_configuration, setup),
		cmocka_unit_test_setup(test_drop, setup),
		cmocka_unit_test_setup(test_drop_cut, setup),
		cmocka_unit_test_setup(test_drop_cut_foreign, setup),
		cmocka_unit_test_setup(test_drop_foreign_again, setup),
		cmocka_unit_test_setup(test_link, setup),
		cmocka_unit_test_setup(test_clock, setup),
		cmocka_unit_test_setup(test_stop, setup),
		cmocka_unit_test_setup(test_watchdog, setup),
		cmocka_unit_test_setup(test_no_clock, setup),
		cmocka_unit_test_setup(test_storage_gone, setup),
		cmocka_unit_test_setup(test_watchdog_salvage_at_start, setup),
		cmocka_unit_test_setup(test_watchdog_salvage_running, setup),
		cmocka_unit_test_setup(test_stop_in_salvage, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
