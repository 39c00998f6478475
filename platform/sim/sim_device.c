/* The small devices: entropy, light, watchdog, identity, wishes, log. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_entropy.h"
#include "hal_ident.h"
#include "hal_lifecycle.h"
#include "hal_log.h"
#include "hal_watchdog.h"
#include "sim_world.h"

int hal_entropy_fill(void *bytes, size_t len)
{
	unsigned char *p = bytes;

	sim_enter();
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(sim_rng_next(&sim_world.rng_entropy) >> 32);
	return 0;
}

/* ---- identity: fixed, for the same run each time ---- */

const char *hal_ident_host(void)
{
	return "device.example";
}

int64_t hal_ident_rss_bytes(void)
{
	return 8 << 20;
}

int64_t hal_ident_rss_peak_bytes(void)
{
	return 9 << 20;
}

/* ---- light ---- */

int hal_led_open(const char *name)
{
	return strcmp(name, "sim") == 0 || strcmp(name, "none") == 0 ? 0 : ERR_NOT_FOUND;
}

void hal_led_set(enum hal_led_state state)
{
	sim_enter();
	if (state != sim_world.led || sim_world.led_changes == 0) sim_world.led_changes++;
	sim_world.led = state;
	sim_trace("led", state, 0);
}

void hal_led_close(void)
{
}

enum hal_led_state sim_led(void)
{
	return sim_world.led;
}

uint64_t sim_led_changes(void)
{
	return sim_world.led_changes;
}

/* ---- watchdog: the scheduler ends the boot when it is late ---- */

int hal_watchdog_open(const char *device)
{
	sim_enter();
	if (strcmp(device, "none") == 0) return 0;
	if (strcmp(device, "sim") != 0 || sim_world.faults.watchdog_ms == 0) return ERR_NOT_FOUND;
	sim_world.watchdog_on = true;
	hal_watchdog_kick();
	return 0;
}

int64_t hal_watchdog_period_ms(void)
{
	return sim_world.watchdog_on ? sim_world.faults.watchdog_ms : HAL_FOREVER;
}

void hal_watchdog_kick(void)
{
	sim_enter();
	sim_world.watchdog_kicks++;
	sim_world.watchdog_due_ms = sim_world.now_ms + sim_world.faults.watchdog_ms;
}

void hal_watchdog_close(void)
{
	sim_world.watchdog_on = false;
}

uint64_t sim_watchdog_kicks(void)
{
	return sim_world.watchdog_kicks;
}

/* ---- wishes ---- */

void hal_lifecycle_init(void)
{
	sim_enter();
}

enum hal_wish hal_lifecycle_wait(int64_t deadline_ms)
{
	sim_preempt();
	for (;;) {
		if (sim_world.wish_stop) return HAL_WISH_STOP;
		if (sim_world.wish_reload) {
			sim_world.wish_reload = false;
			return HAL_WISH_RELOAD;
		}
		if (sim_world.now_ms >= deadline_ms) return HAL_WISH_NONE;
		sim_wait(&sim_world.wish_stop, deadline_ms, "a wish");
	}
}

void hal_lifecycle_wish(enum hal_wish wish)
{
	sim_enter();
	if (wish == HAL_WISH_STOP) sim_world.wish_stop = true;
	if (wish == HAL_WISH_RELOAD) sim_world.wish_reload = true;
	sim_trace("wish", wish, 0);
	sim_wake_all(&sim_world.wish_stop);
}

void hal_lifecycle_ready(void)
{
	sim_trace("ready", 0, 0);
}

void hal_lifecycle_stopping(void)
{
	sim_trace("stopping", 0, 0);
}

/* ---- log ---- */

void hal_log_open(enum hal_log_target target, const char *ident)
{
	(void)target;
	(void)ident;
}

void hal_log_line(int level, const char *line, size_t len)
{
	struct sim_lasting *l = sim_lasting();

	/* Outside of a boot nobody reads the log: a failed CHECK must be seen all the same. */
	if (sim_world.print_log || (level == 0 && !sim_world.up))
		fprintf(stderr, "%8lld %-15s %d %.*s\n", (long long)sim_world.now_ms, sim_self_name(), level,
			(int)len, line);
	if (l->log_len + len + 4 > SIM_LOG_BYTES) return;
	l->log[l->log_len++] = (char)('0' + level);
	l->log[l->log_len++] = ' ';
	memcpy(l->log + l->log_len, line, len);
	l->log_len += len;
	l->log[l->log_len++] = '\n';
	l->log[l->log_len] = '\0';
}
