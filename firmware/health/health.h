/* health: what the parts say of themselves -> one state a part, and one for the whole.
 *
 * Pure: facts in, judgement out. The API calls it for GET /api/health, /readyz and the status screen, the app
 * for the LED and the watchdog. Whoever calls gathers the facts (health_gather takes those that need no
 * waiting).
 *
 * degraded: mail is safe and is or will be sent, but somebody should look. down: no mail can be taken or none
 * can be sent.
 */
#ifndef POSTERN_HEALTH_HEALTH_H
#define POSTERN_HEALTH_HEALTH_H

#include "provider/provider.h"
#include "store/store.h"

enum health_state { HEALTH_OK, HEALTH_DEGRADED, HEALTH_DOWN };

enum health_part {
	HEALTH_QUEUE,
	HEALTH_CONNECTION,
	HEALTH_WORKER,
	HEALTH_STORE,
	HEALTH_CLOCK,
	HEALTH_LINK,
	HEALTH_MEMORY
};
#define HEALTH_PART_COUNT 7

/* "ok" "degraded" "down"; "queue" "connection" … */
const char *health_state_name(enum health_state s);
const char *health_part_name(enum health_part p);

struct health_facts {
	/* by health_gather */
	int64_t now_ms; /* wall */
	bool clock_set;
	bool link_up;
	int64_t rss_bytes, rss_peak_bytes;
	struct provider_workers workers;
	unsigned provider_count, providers_held;
	bool auth_refused;
	char held_reason[PROVIDER_NAME_CAP + 256 + 2]; /* "NAME: reason" of the first one held */
	/* by the caller */
	const struct store_status *store;
	int64_t rss_limit_bytes; /* 0: none */
	bool stopping;
};

/* Never waits. scratch: PROVIDER_MAX of them; what the providers say is left there. */
void health_gather(struct health_facts *f, struct provider_pool *pool, struct provider_status *scratch);

struct health {
	enum health_state overall;
	struct {
		enum health_state state;
		char reason[384]; /* empty when ok */
	} part[HEALTH_PART_COUNT];
	int64_t oldest_waiting_ms_age; /* 0: none waits */
	bool ready;                    /* can take and send mail */
};

void health_judge(const struct health_facts *f, struct health *h);

#endif
