/* hal_dns: host names to addresses.
 *
 * A and AAAA of one name, in the order the device's resolver gives; re-reads the resolver configuration when
 * it changed (gateways change networks). An address literal is answered without asking anyone. Which address
 * to try first is net/'s business. Any thread; waits at most until the deadline, even when the resolver
 * hangs.
 */
#ifndef POSTERN_HAL_DNS_H
#define POSTERN_HAL_DNS_H

#include <stddef.h>

#include "hal_addr.h"

/* Fills at most cap addresses, each with the port; returns how many (> 0).
 * Errors: ERR_DNS (no answer, server failure, no link), ERR_DNS_NO_NAME (authoritative: no such name, or a
 * name without addresses), ERR_TIMEOUT, ERR_INVALID (not a host name), ERR_NO_MEMORY. */
int hal_dns_resolve(const char *host, uint16_t port, struct hal_addr *out, size_t cap, int64_t deadline_ms);

#endif
