/* hal_cancel: a wish, made by another thread, that waiting may end.
 *
 * Whoever waits in hal_dns_resolve or hal_race_wait was given a struct hal_cancel; once it is set, those calls
 * return ERR_STOPPING at once, and every later one too. There is no way back: make another.
 */
#ifndef POSTERN_HAL_CANCEL_H
#define POSTERN_HAL_CANCEL_H

#include <stdbool.h>
#include <stdint.h>

/* Storage of one; must not move. May take a descriptor, from the first waiting to hal_cancel_close. */
struct hal_cancel {
	uint64_t opaque[2];
};

void hal_cancel_init(struct hal_cancel *c);

/* From any thread, between init and close; any number of times. Never waits for what it ends. */
void hal_cancel_set(struct hal_cancel *c);
bool hal_cancel_is_set(const struct hal_cancel *c);

/* When nobody waits with it or sets it any more. */
void hal_cancel_close(struct hal_cancel *c);

#endif
