/* hal_addr for platforms whose libc has inet_pton. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_addr.h"

int hal_addr_parse(const char *text, uint16_t port, struct hal_addr *out)
{
	memset(out, 0, sizeof *out);
	out->port = port;
	if (inet_pton(AF_INET, text, out->bytes) == 1)
		out->family = HAL_FAMILY_IP4;
	else if (inet_pton(AF_INET6, text, out->bytes) == 1)
		out->family = HAL_FAMILY_IP6;
	else
		return ERR_INVALID;
	return 0;
}

const char *hal_addr_text(const struct hal_addr *a, char *text, unsigned cap)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	switch (a->family) {
	case HAL_FAMILY_IP4:
		inet_ntop(AF_INET, a->bytes, ip, sizeof ip);
		snprintf(text, cap, "%s:%u", ip, a->port);
		break;
	case HAL_FAMILY_IP6:
		inet_ntop(AF_INET6, a->bytes, ip, sizeof ip);
		snprintf(text, cap, "[%s]:%u", ip, a->port);
		break;
	case HAL_FAMILY_NONE: snprintf(text, cap, "?:%u", a->port); break;
	}
	return text;
}

int hal_addr_is_loopback(const struct hal_addr *a)
{
	static const unsigned char one[16] = {[15] = 1};
	static const unsigned char mapped[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};

	if (a->family == HAL_FAMILY_IP4) return a->bytes[0] == 127;
	if (a->family == HAL_FAMILY_IP6)
		return memcmp(a->bytes, one, 16) == 0 || memcmp(a->bytes, mapped, 13) == 0;
	return 0;
}
