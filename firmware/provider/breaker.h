/* provider/breaker: the circuit breaker of one provider. Pure: time and chance are arguments; the pool's
 * mutex guards it.
 *
 *           DOWN, AUTH                 time                  DOWN, AUTH (of the probe): wait doubled
 *   CLOSED ────────────► OPEN ────────────────► PROBING ────────────────────────────► OPEN
 *      ▲                  │ OK (of a late mail)    │ OK, or the probe met no fault of the provider
 *      └──────────────────┴────────────────────────┘
 */
#ifndef POSTERN_PROVIDER_BREAKER_H
#define POSTERN_PROVIDER_BREAKER_H

#include "provider/provider.h"

#define BREAKER_PROBE_MS_FIRST 1000
#define BREAKER_PROBE_MS_MAX   (5 * 60 * 1000)
/* A refused AUTH: often enough that a mended password is found, seldom enough that no account is locked by
 * us. */
#define BREAKER_AUTH_MS_FIRST  (5 * 60 * 1000)
#define BREAKER_AUTH_MS_MAX    (30 * 60 * 1000)
#define BREAKER_JITTER_PERCENT 20

/* What an attempt showed about the provider. */
enum breaker_event {
	BREAKER_SILENT, /* nothing: it ended before the provider was asked */
	BREAKER_OK,     /* it takes mail (even if it refused this one) */
	BREAKER_DOWN,   /* it, or the way to it, is not there */
	BREAKER_AUTH    /* it does not know us */
};

struct breaker {
	enum provider_state state;
	bool auth;
	unsigned failures;   /* in a row */
	int64_t probe_at_ms; /* monotonic; of OPEN */
};

void breaker_init(struct breaker *b);

/* How long until the next mail may be tried: 0 now (closed, or its probe is due), HAL_FOREVER while a
 * probe runs. */
int64_t breaker_wait_ms(const struct breaker *b, int64_t now_ms);

/* A worker begins: true when it is the probe. Only after breaker_wait_ms said 0. */
bool breaker_begin(struct breaker *b);

/* An attempt ended. probe: what breaker_begin said. Returns true when this opened (DOWN, AUTH) or closed
 * (OK) it. */
bool breaker_end(struct breaker *b, bool probe, enum breaker_event event, int64_t now_ms, uint32_t random);

/* The cause may have gone: probe now, unless AUTH was refused. */
void breaker_hurry(struct breaker *b, int64_t now_ms);

#endif
