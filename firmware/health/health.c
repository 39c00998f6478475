#include "health/health.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "hal_clock.h"
#include "hal_ident.h"
#include "hal_link.h"

/* A job that has waited this long, due or held, is worth a look. */
#define WAITING_LONG_MS (60 * 60 * 1000)

const char *health_state_name(enum health_state s)
{
	static const char *const names[] = {"ok", "degraded", "down"};

	return names[s];
}

const char *health_part_name(enum health_part p)
{
	static const char *const names[] = {"queue", "connection", "worker", "store",
					    "clock", "link",       "memory"};

	return names[p];
}

static void gather_providers(struct health_facts *f, struct provider_pool *pool, struct provider_status *all)
{
	size_t n = provider_status_list(pool, all, PROVIDER_MAX);

	f->provider_count = (unsigned)n;
	for (size_t i = 0; i < n && i < PROVIDER_MAX; i++) {
		if (all[i].state == PROVIDER_CLOSED) continue;
		if (f->providers_held++ == 0)
			snprintf(f->held_reason, sizeof(f->held_reason), "%s: %s", all[i].name,
				 all[i].reason);
		f->auth_refused |= all[i].auth_refused;
	}
}

void health_gather(struct health_facts *f, struct provider_pool *pool, struct provider_status *scratch)
{
	struct hal_link_state link;

	memset(f, 0, sizeof(*f));
	f->now_ms = hal_clock_wall_ms(&f->clock_set);
	hal_link_get(&link);
	f->link_up = link.up;
	f->rss_bytes = hal_ident_rss_bytes();
	f->rss_peak_bytes = hal_ident_rss_peak_bytes();
	provider_workers_get(pool, &f->workers);
	gather_providers(f, pool, scratch);
}

__attribute__((format(printf, 4, 5))) static void set(struct health *h, enum health_part p,
						      enum health_state s, const char *format, ...)
{
	va_list ap;

	if (s <= h->part[p].state) return;
	h->part[p].state = s;
	va_start(ap, format);
	vsnprintf(h->part[p].reason, sizeof(h->part[p].reason), format, ap);
	va_end(ap);
}

static void judge_store(const struct health_facts *f, struct health *h)
{
	const struct store_status *s = f->store;

	if (s->broken) set(h, HEALTH_STORE, HEALTH_DOWN, "the database is closed: %s", err_text(s->broken));
	if (s->read_only) set(h, HEALTH_STORE, HEALTH_DOWN, "the storage is read-only");
	if (s->full) set(h, HEALTH_STORE, HEALTH_DOWN, "the store is full: new jobs are refused");
	if (s->reserve_used) set(h, HEALTH_STORE, HEALTH_DEGRADED, "the reserve is in use");
	if (s->max_bytes > 0 && s->used_bytes > s->max_bytes / 10 * 9)
		set(h, HEALTH_STORE, HEALTH_DEGRADED, "more than nine tenths of max_bytes are used");
	if (s->lost_rows > 0)
		set(h, HEALTH_STORE, HEALTH_DEGRADED,
		    "a damaged database was set aside, %lld rows could not be read", (long long)s->lost_rows);
}

static void judge_queue(const struct health_facts *f, struct health *h)
{
	if (f->store->oldest_waiting_ms > 0 && f->now_ms > f->store->oldest_waiting_ms)
		h->oldest_waiting_ms_age = f->now_ms - f->store->oldest_waiting_ms;
	if (h->oldest_waiting_ms_age > WAITING_LONG_MS)
		set(h, HEALTH_QUEUE, HEALTH_DEGRADED, "a job has waited %lld minutes",
		    (long long)(h->oldest_waiting_ms_age / 60000));
}

static void judge_way_out(const struct health_facts *f, struct health *h)
{
	if (f->provider_count == 0)
		set(h, HEALTH_CONNECTION, HEALTH_DOWN, "no provider is configured");
	else if (f->providers_held == f->provider_count)
		set(h, HEALTH_CONNECTION, HEALTH_DOWN, "%s", f->held_reason);
	else if (f->providers_held > 0)
		set(h, HEALTH_CONNECTION, HEALTH_DEGRADED, "%s", f->held_reason);
	if (f->workers.running == 0)
		set(h, HEALTH_WORKER, f->stopping ? HEALTH_DEGRADED : HEALTH_DOWN, "no worker runs");
}

void health_judge(const struct health_facts *f, struct health *h)
{
	memset(h, 0, sizeof(*h));
	judge_store(f, h);
	judge_queue(f, h);
	judge_way_out(f, h);
	if (!f->clock_set) set(h, HEALTH_CLOCK, HEALTH_DEGRADED, "the clock is not set");
	if (!f->link_up) set(h, HEALTH_LINK, HEALTH_DOWN, "no network link");
	if (f->rss_limit_bytes > 0 && f->rss_bytes > f->rss_limit_bytes)
		set(h, HEALTH_MEMORY, HEALTH_DEGRADED, "more than %lld bytes are in use",
		    (long long)f->rss_limit_bytes);
	for (int p = 0; p < HEALTH_PART_COUNT; p++)
		if (h->part[p].state > h->overall) h->overall = h->part[p].state;
	h->ready = h->part[HEALTH_STORE].state != HEALTH_DOWN && h->part[HEALTH_WORKER].state == HEALTH_OK &&
		   f->provider_count > 0 && !f->stopping;
}
