#include "provider/retry.h"

int64_t retry_jitter_ms(int64_t ms, unsigned percent, uint32_t random)
{
	/* Chance as millionths, -1000000 to 1000000; hundreds and rest of ms apart, so that days do not
	 * overflow. */
	int64_t share = (int64_t)((uint64_t)random * 2000001u >> 32) - 1000000;

	if (ms <= 0) return 0;
	return ms + ms / 100 * percent * share / 1000000 + ms % 100 * percent * share / 100000000;
}

int64_t retry_delay_ms(const struct retry_policy *p, unsigned retries_made, uint32_t random)
{
	size_t n = retries_made;

	if (p->delay_count == 0) return 0;
	if (n >= p->delay_count) n = p->delay_count - 1;
	return retry_jitter_ms(p->delay_ms[n], p->jitter_percent, random);
}

void retry_rate_init(struct retry_rate *r, unsigned mails, int64_t per_ms, int64_t now_ms)
{
	*r = (struct retry_rate){.mails = per_ms > 0 ? mails : 0};
	r->slice_ms = (per_ms + RETRY_RATE_SLICES - 1) / RETRY_RATE_SLICES;
	r->slice = r->mails ? now_ms / r->slice_ms : 0;
}

static unsigned *rate_slice(struct retry_rate *r, int64_t slice)
{
	return &r->taken[(uint64_t)slice % (RETRY_RATE_SLICES + 1)];
}

static void rate_move(struct retry_rate *r, int64_t now_ms)
{
	int64_t slice = now_ms / r->slice_ms;

	if (slice - r->slice > RETRY_RATE_SLICES) r->slice = slice - RETRY_RATE_SLICES - 1;
	while (r->slice < slice)
		*rate_slice(r, ++r->slice) = 0;
}

int64_t retry_rate_wait_ms(struct retry_rate *r, int64_t now_ms)
{
	uint64_t sum = 0;
	int64_t oldest = 0;

	if (r->mails == 0) return 0;
	rate_move(r, now_ms);
	for (int64_t i = r->slice; i >= 0 && i >= r->slice - RETRY_RATE_SLICES; i--) {
		if (*rate_slice(r, i) > 0) oldest = i;
		sum += *rate_slice(r, i);
	}
	if (sum < r->mails) return 0;
	return (oldest + RETRY_RATE_SLICES + 1) * r->slice_ms - now_ms;
}

void retry_rate_take(struct retry_rate *r)
{
	if (r->mails > 0) ++*rate_slice(r, r->slice);
}

void retry_rate_give(struct retry_rate *r)
{
	if (r->mails > 0 && *rate_slice(r, r->slice) > 0) --*rate_slice(r, r->slice);
}
