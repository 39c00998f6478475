#include "gateway_kit.h"

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

char gateway_kit_reply[1 << 20];

static const char *ini_text;
static void (*client_fn)(void *arg);
static void *client_arg;
static int wanted_code;
static int64_t *ended_ms;

static int read_ini(const char *path, void *bytes, size_t cap, unsigned *mode)
{
	size_t len = strlen(ini_text);

	if (strcmp(path, "postern.ini") != 0) return ERR_NOT_FOUND;
	*mode = 0600;
	if (cap == 0) return 0;
	assert_true(len <= cap);
	memcpy(bytes, ini_text, len);
	return (int)len;
}

static void client_main(void *arg)
{
	(void)arg;
	for (int i = 0; gateway_kit_http("GET", "/readyz", NULL) != 200; i++) {
		assert_true(i < 60000);
		hal_clock_sleep_until(hal_clock_in(10));
	}
	client_fn(client_arg);
	hal_lifecycle_wish(HAL_WISH_STOP);
}

static void boot(void *arg)
{
	static struct settings_source source;

	(void)arg;
	source = (struct settings_source){"postern.ini", NULL, read_ini};
	if (client_fn) sim_script_start("client", client_main, NULL);
	assert_int_equal(app_run(&source), wanted_code);
	*ended_ms = hal_clock_mono_ms();
}

struct sim_result gateway_kit_boot(const struct sim_config *config, const char *ini,
				   void (*client)(void *arg), void *arg, int exit_code)
{
	ended_ms = sim_shared(sizeof(*ended_ms));
	ini_text = ini;
	client_fn = client;
	client_arg = arg;
	wanted_code = exit_code;
	return sim_run(config, boot, NULL);
}

void gateway_kit_run(const char *ini, void (*client)(void *arg), void *arg, int exit_code)
{
	struct sim_config config = sim_config_default(7);

	config.faults.watchdog_ms = 10000;
	struct sim_result result = gateway_kit_boot(&config, ini, client, arg, exit_code);
	if (result.end != SIM_FINISHED) fail_msg("the boot ended as %s", sim_end_text(result.end));
}

int64_t gateway_kit_ended_ms(void)
{
	return *ended_ms;
}

void gateway_kit_ini(const char *ini)
{
	ini_text = ini;
}

int gateway_kit_http(const char *method, const char *path, const char *body)
{
	return sim_http(method, path, body, gateway_kit_reply, sizeof(gateway_kit_reply));
}

int64_t gateway_kit_post(const char *job)
{
	const char *id;
	int status = gateway_kit_http("POST", "/api/emails", job);

	if (status != 202) fail_msg("%d %s", status, gateway_kit_reply);
	id = strstr(gateway_kit_reply, "\"id\":");
	assert_non_null(id);
	return strtoll(id + 5, NULL, 10);
}

void gateway_kit_await(int64_t id, const char *state, int64_t ms)
{
	int64_t end = hal_clock_in(ms);
	char path[64], wanted[64];

	snprintf(path, sizeof(path), "/api/emails/%lld", (long long)id);
	snprintf(wanted, sizeof(wanted), "\"state\":\"%s\"", state);
	for (;;) {
		assert_int_equal(gateway_kit_http("GET", path, NULL), 200);
		if (strstr(gateway_kit_reply, wanted)) return;
		if (hal_clock_mono_ms() >= end)
			fail_msg("not %s after %lld ms: %s", state, (long long)ms, gateway_kit_reply);
		hal_clock_sleep_until(hal_clock_in(10));
	}
}
