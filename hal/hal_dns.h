/* hal_dns: host names to addresses.
 *
 * A and AAAA of one name, in the order the device's resolver gives; re-reads the resolver configuration when
 * it changed (gateways change networks). An address literal is answered without asking anyone. Which address
 * to try first is net/'s business. Any thread; waits at most until the deadline, even when the resolver
 * hangs, or until *cancel is set.
 */
#ifndef POSTERN_HAL_DNS_H
#define POSTERN_HAL_DNS_H

#include <stddef.h>

#include "hal_addr.h"
#include "hal_cancel.h"

#define HAL_DNS_FAMILY_MAX 8 /* addresses kept of each family */

struct hal_dns_answer {
	struct hal_addr addrs[2 * HAL_DNS_FAMILY_MAX]; /* the first of each family, in the order they came */
	unsigned count;                                /* in addrs: at least 1 */
	unsigned total;                                /* how many the resolver gave */
};

/* Each address has the port. cancel may be NULL. Errors: ERR_DNS (no answer, server failure, no link),
 * ERR_DNS_NO_NAME (authoritative: no such name, or a name without addresses), ERR_TIMEOUT, ERR_STOPPING,
 * ERR_INVALID (not a host name), ERR_NO_MEMORY. */
int hal_dns_resolve(const char *host, uint16_t port, struct hal_dns_answer *out, struct hal_cancel *cancel,
		    int64_t deadline_ms);

#endif
