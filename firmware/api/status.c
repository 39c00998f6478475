/* How the gateway is: /api/status, /api/health, /healthz, /readyz, /api/rabbitmq/status. */
#include <string.h>

#include "api/routes.h"
#include "base/err.h"
#include "build_info.h"
#include "hal_clock.h"
#include "hal_storage.h"

struct facts {
	struct store_status store;
	struct health_facts facts;
	struct health health;
	struct provider_status providers[PROVIDER_MAX];
};

/* Every route here begins alike: the store's numbers, then the judgement. */
static int begin(struct api_request *r, int (*step)(struct api_request *r))
{
	static const char *const names[] = {NULL};
	struct facts *f = api_take(r, sizeof(*f));

	if (!f) return api_no_memory(r);
	if (api_query_check(r, names) < 0) return API_DONE;
	store_status_init(&f->store);
	r->state = f;
	return api_store(r, &f->store.op, step);
}

static struct facts *judge(struct api_request *r)
{
	struct facts *f = r->state;
	struct api_config config = api_config_now();

	health_gather(&f->facts, config.pool, f->providers);
	f->facts.store = &f->store;
	f->facts.rss_limit_bytes = config.rss_limit_bytes;
	f->facts.stopping = api_is_stopping();
	health_judge(&f->facts, &f->health);
	return f;
}

/* ---- health ---- */

static void put_health(struct buf *b, const struct facts *f)
{
	const struct health *h = &f->health;

	api_put_text(b, "status", health_state_name(h->overall));
	api_put_bool(b, "ready", h->ready);
	for (int p = 0; p < HEALTH_PART_COUNT; p++) {
		api_put_open(b, health_part_name((enum health_part)p), '{');
		api_put_text(b, "status", health_state_name(h->part[p].state));
		api_put_text(b, "reason", h->part[p].reason);
		api_put_close(b, '}');
	}
	api_put_int(b, "oldest_waiting_s", h->oldest_waiting_ms_age / 1000);
	api_put_time(b, "last_success_at", f->store.last_success_ms);
}

static int health_answered(struct api_request *r)
{
	struct facts *f = r->state;

	if (f->store.op.rc < 0) return api_refuse_err(r, f->store.op.rc);
	judge(r);
	api_reply_begin(r, f->health.overall == HEALTH_DOWN ? 503 : 200);
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", true);
	put_health(&r->reply, f);
	api_put_close(&r->reply, '}');
	return API_DONE;
}

int api_health(struct api_request *r)
{
	return begin(r, health_answered);
}

/* That this answer is given at all is the news. */
int api_alive(struct api_request *r)
{
	api_reply_begin(r, 200);
	buf_puts(&r->reply, "{\"success\":true,\"status\":\"alive\"}");
	return API_DONE;
}

static int ready_answered(struct api_request *r)
{
	struct facts *f = r->state;

	if (f->store.op.rc < 0) return api_refuse(r, 503, err_text(f->store.op.rc));
	judge(r);
	if (!f->health.ready) {
		for (int p = 0; p < HEALTH_PART_COUNT; p++)
			if (f->health.part[p].state == HEALTH_DOWN && p != HEALTH_LINK)
				return api_refuse(r, 503, f->health.part[p].reason);
		return api_refuse(r, 503, "not ready");
	}
	api_reply_begin(r, 200);
	buf_puts(&r->reply, "{\"success\":true,\"status\":\"ready\"}");
	return API_DONE;
}

int api_ready(struct api_request *r)
{
	if (api_is_stopping()) return api_refuse(r, 503, "the gateway is stopping");
	return begin(r, ready_answered);
}

/* ---- GET /api/rabbitmq/status ---- */

static void put_queue(struct buf *b, const char *name, int64_t messages, unsigned consumers,
		      const char *status)
{
	api_put_open(b, name, '{');
	api_put_int(b, "message_count", messages);
	api_put_int(b, "consumer_count", consumers);
	api_put_text(b, "status", status);
	api_put_close(b, '}');
}

/* Without a broker the queues are the store's: email.send holds what waits, its consumers are the workers. */
static int broker_answered(struct api_request *r)
{
	struct facts *f = r->state;
	unsigned workers;

	if (f->store.op.rc < 0) return api_refuse_err(r, f->store.op.rc);
	judge(r);
	workers = f->facts.workers.running;
	api_reply_begin(r, 200);
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", true);
	api_put_text(&r->reply, "connection_status", "embedded");
	api_put_open(&r->reply, "queues", '{');
	put_queue(&r->reply, "email.send", f->store.count[JOB_PENDING], workers,
		  workers > 0 ? "running" : "stopped");
	put_queue(&r->reply, "email.inbound", 0, 0, "idle");
	put_queue(&r->reply, "email.sync.user", 0, 0, "idle");
	api_put_close(&r->reply, '}');
	api_put_close(&r->reply, '}');
	return API_DONE;
}

int api_broker_status(struct api_request *r)
{
	return begin(r, broker_answered);
}

/* ---- GET /api/status ---- */

static void put_provider(struct buf *b, const struct provider_status *p)
{
	api_put_open(b, NULL, '{');
	api_put_text(b, "name", p->name);
	api_put_text(b, "display_name", p->display_name);
	api_put_text(b, "type", p->type);
	api_put_text(b, "address", p->address);
	api_put_text(b, "state", provider_state_name(p->state));
	api_put_text(b, "reason", p->state == PROVIDER_CLOSED ? NULL : p->reason);
	api_put_time(b, "held_since", p->held_since_ms);
	api_put_time(b, "probe_at", p->probe_at_ms);
	api_put_time(b, "last_success_at", p->last_success_ms);
	api_put_int(b, "in_flight", p->in_flight);
	api_put_int(b, "connections", p->connections);
	api_put_int(b, "sent", (int64_t)p->sent);
	api_put_int(b, "retried", (int64_t)p->retried);
	api_put_int(b, "failed", (int64_t)p->failed);
	api_put_int(b, "held", (int64_t)p->held);
	api_put_close(b, '}');
}

static void put_store(struct buf *b, const struct store_status *s)
{
	struct hal_storage_info info;

	memset(&info, 0, sizeof(info));
	hal_storage_info(&info);
	api_put_open(b, "store", '{');
	api_put_int(b, "used_bytes", s->used_bytes);
	api_put_int(b, "max_bytes", s->max_bytes);
	api_put_int(b, "free_bytes", s->free_bytes);
	api_put_bool(b, "full", s->full);
	api_put_bool(b, "read_only", s->read_only);
	api_put_int(b, "quarantined", s->quarantined);
	api_put_int(b, "salvaged_rows", s->salvaged_rows);
	api_put_int(b, "lost_rows", s->lost_rows);
	api_put_int(b, "groups", s->groups);
	api_put_int(b, "grouped_ops", s->grouped_ops);
	api_put_close(b, '}');
	api_put_open(b, "flash", '{');
	api_put_int(b, "written_bytes", info.written_bytes);
	api_put_int(b, "syncs", info.syncs);
	api_put_close(b, '}');
}

static void put_jobs(struct buf *b, const struct facts *f)
{
	api_put_open(b, "jobs", '{');
	for (int s = 0; s < JOB_STATE_COUNT; s++)
		api_put_int(b, job_state_name((enum job_state)s), f->store.count[s]);
	api_put_close(b, '}');
	api_put_int(b, "results_waiting", f->store.events_waiting);
	api_put_time(b, "oldest_waiting_at", f->store.oldest_waiting_ms);
	api_put_int(b, "oldest_waiting_s", f->health.oldest_waiting_ms_age / 1000);
	api_put_time(b, "last_success_at", f->store.last_success_ms);
}

static void put_gateway(struct buf *b, const struct facts *f, const struct api_config *config)
{
	int64_t up = f->facts.now_ms - api_started_ms();

	api_put_text(b, "name", config->name);
	api_put_text(b, "version", POSTERN_VERSION);
	api_put_text(b, "mode", config->broker_amqp ? "amqp" : "none");
	api_put_time(b, "started_at", api_started_ms());
	api_put_int(b, "uptime_s", up > 0 ? up / 1000 : 0);
	api_put_open(b, "health", '{');
	put_health(b, f);
	api_put_close(b, '}');
	api_put_open(b, "link", '{');
	api_put_bool(b, "up", f->facts.link_up);
	api_put_close(b, '}');
	api_put_open(b, "clock", '{');
	api_put_bool(b, "set", f->facts.clock_set);
	api_put_time(b, "now", f->facts.now_ms);
	api_put_close(b, '}');
}

static int status_answered(struct api_request *r)
{
	struct api_config config = api_config_now();
	struct facts *f = r->state;
	struct buf *b = &r->reply;

	if (f->store.op.rc < 0) return api_refuse_err(r, f->store.op.rc);
	judge(r);
	api_reply_begin(r, 200);
	api_put_open(b, NULL, '{');
	api_put_bool(b, "success", true);
	put_gateway(b, f, &config);
	put_jobs(b, f);
	api_put_open(b, "workers", '{');
	api_put_int(b, "min", f->facts.workers.min);
	api_put_int(b, "max", f->facts.workers.max);
	api_put_int(b, "running", f->facts.workers.running);
	api_put_int(b, "busy", f->facts.workers.busy);
	api_put_close(b, '}');
	api_put_open(b, "providers", '[');
	for (unsigned i = 0; i < f->facts.provider_count && i < PROVIDER_MAX; i++)
		put_provider(b, &f->providers[i]);
	api_put_close(b, ']');
	put_store(b, &f->store);
	api_put_open(b, "memory", '{');
	api_put_int(b, "rss_bytes", f->facts.rss_bytes);
	api_put_int(b, "rss_peak_bytes", f->facts.rss_peak_bytes);
	api_put_close(b, '}');
	api_put_close(b, '}');
	return API_DONE;
}

int api_status(struct api_request *r)
{
	return begin(r, status_answered);
}
