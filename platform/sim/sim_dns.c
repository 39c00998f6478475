/* The names of the world, and wishes to stop waiting (hal_cancel). */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "common/common.h"
#include "hal_dns.h"
#include "sim_world.h"

#define NAMES_MAX 1200

struct dns_name {
	char name[256];
	struct hal_addr addr;
};

/* Set up by tests; lasts from boot to boot. */
static struct dns_name dns_names[NAMES_MAX];
static size_t dns_count;

void sim_dns_reset(void)
{
	dns_count = 0;
}

void sim_dns_add(const char *name, const char *ip)
{
	struct dns_name *n = &dns_names[dns_count];

	if (dns_count == NAMES_MAX || strlen(name) >= sizeof n->name) sim_misuse("too many names");
	strcpy(n->name, name);
	if (hal_addr_parse(ip, 0, &n->addr) < 0) sim_misuse("not an address");
	dns_count++;
}

/* Until then, unless the asker is called off or his deadline comes first. */
static int wait_until(int64_t until_ms, const struct hal_cancel *cancel, int64_t deadline_ms)
{
	int64_t end = until_ms < deadline_ms ? until_ms : deadline_ms;

	for (;;) {
		if (cancel != NULL && hal_cancel_is_set(cancel)) return ERR_STOPPING;
		if (sim_world.now_ms >= end) return until_ms > deadline_ms ? ERR_TIMEOUT : 0;
		sim_wait(cancel != NULL ? (const void *)cancel : &end, end, "an answer from DNS");
	}
}

int hal_dns_resolve(const char *host, uint16_t port, struct hal_dns_answer *out, struct hal_cancel *cancel,
		    int64_t deadline_ms)
{
	sim_preempt();
	int rc = common_dns_local(host, port, out);
	if (rc != 0) return rc < 0 ? rc : 0;
	if (cancel != NULL && hal_cancel_is_set(cancel)) return ERR_STOPPING;
	const struct sim_dns_faults *f = &sim_world.faults.dns;
	sim_trace("dns", strlen(host), f->mode);
	if (sim_world.link_down) return ERR_DNS;
	int64_t until = f->mode == SIM_DNS_HANG ? HAL_FOREVER : hal_clock_in(f->latency_ms);
	if (f->mode == SIM_DNS_HANG || f->latency_ms > 0) {
		rc = wait_until(until, cancel, deadline_ms);
		if (rc < 0 || f->mode == SIM_DNS_HANG) return rc < 0 ? rc : ERR_TIMEOUT;
	}
	if (f->mode == SIM_DNS_FAIL) return ERR_DNS;
	for (size_t i = 0; i < dns_count; i++)
		if (strcasecmp(dns_names[i].name, host) == 0) common_dns_add(out, &dns_names[i].addr);
	for (unsigned i = 0; i < out->count; i++)
		out->addrs[i].port = port;
	return out->count > 0 ? 0 : ERR_DNS_NO_NAME;
}

/* ---- hal_cancel ---- */

void hal_cancel_init(struct hal_cancel *c)
{
	sim_enter();
	memset(c, 0, sizeof *c);
}

void hal_cancel_set(struct hal_cancel *c)
{
	sim_enter();
	c->opaque[0] = 1;
	sim_wake_all(c);
}

bool hal_cancel_is_set(const struct hal_cancel *c)
{
	return c->opaque[0] != 0;
}

void hal_cancel_close(struct hal_cancel *c)
{
	sim_enter();
	memset(c, 0, sizeof *c);
}
