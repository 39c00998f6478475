#include "provider/breaker.h"

#include "base/check.h"
#include "hal_clock.h"
#include "provider/retry.h"

void breaker_init(struct breaker *b)
{
	*b = (struct breaker){.state = PROVIDER_CLOSED};
}

int64_t breaker_wait_ms(const struct breaker *b, int64_t now_ms)
{
	switch (b->state) {
	case PROVIDER_CLOSED: return 0;
	case PROVIDER_OPEN: return now_ms >= b->probe_at_ms ? 0 : b->probe_at_ms - now_ms;
	case PROVIDER_PROBING: return HAL_FOREVER;
	}
	return HAL_FOREVER;
}

bool breaker_begin(struct breaker *b)
{
	CHECK(b->state != PROVIDER_PROBING);
	if (b->state == PROVIDER_CLOSED) return false;
	b->state = PROVIDER_PROBING;
	return true;
}

static int64_t probe_delay_ms(const struct breaker *b)
{
	int64_t ms = b->auth ? BREAKER_AUTH_MS_FIRST : BREAKER_PROBE_MS_FIRST;
	int64_t max = b->auth ? BREAKER_AUTH_MS_MAX : BREAKER_PROBE_MS_MAX;

	for (unsigned i = 1; i < b->failures && ms < max; i++)
		ms *= 2;
	return ms < max ? ms : max;
}

static void breaker_open(struct breaker *b, bool auth, int64_t now_ms, uint32_t random)
{
	/* Another cause begins its own series of waits. */
	b->failures = b->auth == auth ? b->failures + 1 : 1;
	b->auth = auth;
	b->state = PROVIDER_OPEN;
	b->probe_at_ms = now_ms + retry_jitter_ms(probe_delay_ms(b), BREAKER_JITTER_PERCENT, random);
}

bool breaker_end(struct breaker *b, bool probe, enum breaker_event event, int64_t now_ms, uint32_t random)
{
	bool was_closed = b->state == PROVIDER_CLOSED;

	switch (event) {
	case BREAKER_SILENT:
		/* The probe learned nothing: the next one may go at once. */
		if (probe && b->state == PROVIDER_PROBING) {
			b->state = PROVIDER_OPEN;
			b->probe_at_ms = now_ms;
		}
		return false;
	case BREAKER_OK: breaker_init(b); return !was_closed;
	case BREAKER_DOWN:
	case BREAKER_AUTH:
		/* Mails that were under way when it opened tell nothing new, or every one would double the
		 * wait. */
		if (!probe && !was_closed) return false;
		breaker_open(b, event == BREAKER_AUTH, now_ms, random);
		return was_closed;
	}
	return false;
}

void breaker_hurry(struct breaker *b, int64_t now_ms)
{
	if (b->state == PROVIDER_OPEN && !b->auth) b->probe_at_ms = now_ms;
}
