/* provider/retry: when a job is tried again, and how fast a provider may be used. Pure: time and chance
 * are arguments. */
#ifndef POSTERN_PROVIDER_RETRY_H
#define POSTERN_PROVIDER_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RETRY_DELAYS_MAX 8

/* [retry] hold: whose faults spend no try. */
enum retry_hold { RETRY_HOLD_NONE, RETRY_HOLD_LINK, RETRY_HOLD_PROVIDER };

struct retry_policy {
	unsigned max; /* retries after the first attempt */
	int64_t delay_ms[RETRY_DELAYS_MAX];
	size_t delay_count; /* the last one repeats; 0: no delay */
	unsigned jitter_percent;
	enum retry_hold hold;
};

/* ms with chance added: longer or shorter by up to percent of it. random: any 32 bits. */
int64_t retry_jitter_ms(int64_t ms, unsigned percent, uint32_t random);

/* How long to wait before retry number `retries_made` + 1. */
int64_t retry_delay_ms(const struct retry_policy *p, unsigned retries_made, uint32_t random);

/* At most `mails` in any span of per_ms, kept in as many slices as fit: strict, with a span that is at
 * most one slice longer than asked for. mails 0: no limit. */
#define RETRY_RATE_SLICES 16
struct retry_rate {
	unsigned mails;
	int64_t slice_ms;
	int64_t slice; /* the one that now is in: monotonic ms / slice_ms */
	unsigned taken[RETRY_RATE_SLICES + 1];
};
void retry_rate_init(struct retry_rate *r, unsigned mails, int64_t per_ms, int64_t now_ms);
/* 0 when a mail may go now, else how long to wait before asking again. Takes nothing. */
int64_t retry_rate_wait_ms(struct retry_rate *r, int64_t now_ms);
/* Takes one; only after retry_rate_wait_ms said 0. */
void retry_rate_take(struct retry_rate *r);
/* Gives one back: no mail went after all. */
void retry_rate_give(struct retry_rate *r);

#endif
