/* hal_race: several attempts to connect at the same time, of which the first that succeeds is wanted.
 *
 * Which addresses, in which order and with which pauses is the business of net/ (RFC 8305). A race belongs to
 * one thread; its waiting has one deadline for all attempts, and ends when *cancel is set. Storage is the
 * caller's and must not move; nothing is allocated here.
 */
#ifndef POSTERN_HAL_RACE_H
#define POSTERN_HAL_RACE_H

#include "hal_cancel.h"
#include "hal_stream.h"

#define HAL_RACE_LANES 8 /* attempts under way at a time */

struct hal_race {
	uint64_t opaque[48];
};

/* cancel outlives the race; never NULL. */
void hal_race_init(struct hal_race *r, struct hal_cancel *cancel);

/* Begins an attempt in a lane in which none is under way, and does not wait.
 * Errors: those of hal_stream_connect that are known at once; then none is under way in that lane. */
int hal_race_begin(struct hal_race *r, unsigned lane, const struct hal_addr *to);

/* Waits until one attempt has ended, and returns its lane, which is free then. *err is 0: s is its connection, or
 * says why it failed (as hal_stream_connect). When several have ended, one that succeeded is told first.
 * Errors: ERR_TIMEOUT (all are still under way, or there are none), ERR_STOPPING, ERR_NO_MEMORY. */
int hal_race_wait(struct hal_race *r, struct hal_socket *s, int *err, int64_t deadline_ms);

/* Gives up what is under way. The race may then be used again or forgotten. */
void hal_race_close(struct hal_race *r);

#endif
