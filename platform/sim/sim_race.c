/* hal_race: attempts to connect that run beside each other. Their ends are known beforehand, so waiting is for the
 * next of them, or for the wish to stop. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hal_race.h"
#include "sim_world.h"

struct race {
	struct hal_cancel *cancel;
	struct sim_connect lanes[HAL_RACE_LANES];
};

static struct race *race_of(struct hal_race *r)
{
	return (struct race *)(uintptr_t)r->opaque[0];
}

void hal_race_init(struct hal_race *out, struct hal_cancel *cancel)
{
	sim_enter();
	out->opaque[0] = 0;
	out->opaque[1] = (uint64_t)(uintptr_t)cancel;
}

int hal_race_begin(struct hal_race *out, unsigned lane, const struct hal_addr *to)
{
	struct race *r = race_of(out);

	if (r == NULL) {
		r = calloc(1, sizeof *r);
		if (r == NULL) sim_misuse("the host has no memory");
		r->cancel = (struct hal_cancel *)(uintptr_t)out->opaque[1];
		out->opaque[0] = (uint64_t)(uintptr_t)r;
	}
	if (lane >= HAL_RACE_LANES || r->lanes[lane].on) return ERR_INVALID;
	return sim_connect_begin(&r->lanes[lane], to);
}

/* A lane whose attempt has ended, one that succeeded if there is one; HAL_RACE_LANES: none has.
 * *next is when the next one will. */
static unsigned ended(struct race *r, struct hal_socket *s, int *err, int64_t *next)
{
	unsigned failed = HAL_RACE_LANES;

	*next = HAL_FOREVER;
	for (unsigned i = 0; i < HAL_RACE_LANES; i++) {
		struct sim_connect *k = &r->lanes[i];

		if (!k->on) continue;
		if (k->ended_err == 0) {
			int rc = sim_connect_end(k, s);

			if (rc == 0) {
				*err = 0;
				return i;
			}
			if (rc == ERR_BUSY) {
				if (k->due_ms < *next) *next = k->due_ms;
				continue;
			}
			k->on = true;
			k->ended_err = rc;
		}
		if (failed == HAL_RACE_LANES) failed = i;
	}
	if (failed < HAL_RACE_LANES) {
		*err = r->lanes[failed].ended_err;
		r->lanes[failed].on = false;
	}
	return failed;
}

int hal_race_wait(struct hal_race *race, struct hal_socket *s, int *err, int64_t deadline_ms)
{
	struct race none = {.cancel = (struct hal_cancel *)(uintptr_t)race->opaque[1]};
	struct race *r = race_of(race) != NULL ? race_of(race) : &none;
	int64_t next;

	sim_preempt();
	for (;;) {
		if (hal_cancel_is_set(r->cancel)) return ERR_STOPPING;
		unsigned lane = ended(r, s, err, &next);
		if (lane < HAL_RACE_LANES) return (int)lane;
		if (sim_world.now_ms >= deadline_ms) return ERR_TIMEOUT;
		sim_wait(r->cancel, next < deadline_ms ? next : deadline_ms, "an attempt to connect");
	}
}

void hal_race_close(struct hal_race *r)
{
	sim_enter();
	free(race_of(r));
	r->opaque[0] = 0;
}
