/* hal_addr: an IP address and a port, without the OS's structures. Plain data. */
#ifndef POSTERN_HAL_ADDR_H
#define POSTERN_HAL_ADDR_H

#include <stdint.h>

enum hal_family { HAL_FAMILY_NONE, HAL_FAMILY_IP4, HAL_FAMILY_IP6 };

struct hal_addr {
	enum hal_family family;
	unsigned char bytes[16]; /* network order; 4 used for IP4 */
	uint32_t scope;          /* interface index of a link-local IP6 address, else 0 */
	uint16_t port;           /* host order */
};

/* "192.0.2.1", "2001:db8::1": no names, no brackets, no port. Errors: ERR_INVALID. */
int hal_addr_parse(const char *text, uint16_t port, struct hal_addr *out);

/* "192.0.2.1:25", "[2001:db8::1]:25"; needs 64 bytes. Returns text. */
const char *hal_addr_text(const struct hal_addr *a, char *text, unsigned cap);

/* True for 127.0.0.0/8 and ::1 (and ::ffff:127.0.0.0/104). */
int hal_addr_is_loopback(const struct hal_addr *a);

#endif
