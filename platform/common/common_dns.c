#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "common.h"

#define NAME_BYTES_MAX  253
#define LABEL_BYTES_MAX 63

/* RFC 1123 section 2.1; the underscore is no host name, but operators use it; a dot at the end is allowed. */
static bool name_valid(const char *host)
{
	size_t len = strlen(host), label = 0;

	if (len == 0 || len > NAME_BYTES_MAX + 1) return false;
	for (size_t i = 0; i < len; i++) {
		char c = host[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			      c == '_';

		if (c == '.') {
			if (label == 0 || host[i - 1] == '-') return false;
			label = 0;
			continue;
		}
		if (!letter && (c != '-' || label == 0)) return false;
		if (++label > LABEL_BYTES_MAX) return false;
	}
	return host[len - 1] != '-';
}

void common_dns_add(struct hal_dns_answer *answer, const struct hal_addr *addr)
{
	unsigned same = 0;

	answer->total++;
	for (unsigned i = 0; i < answer->count; i++)
		same += answer->addrs[i].family == addr->family;
	if (same < HAL_DNS_FAMILY_MAX) answer->addrs[answer->count++] = *addr;
}

static void add_literal(struct hal_dns_answer *out, const char *ip, uint16_t port)
{
	struct hal_addr addr;

	if (hal_addr_parse(ip, port, &addr) == 0) common_dns_add(out, &addr);
}

int common_dns_local(const char *host, uint16_t port, struct hal_dns_answer *out)
{
	memset(out, 0, sizeof *out);
	add_literal(out, host, port);
	if (out->count > 0) return 1;
	if (!name_valid(host)) return ERR_INVALID;
	/* RFC 6761 section 6.3: never asked of a server. */
	if (strcasecmp(host, "localhost") != 0 && strcasecmp(host, "localhost.") != 0) return 0;
	add_literal(out, "127.0.0.1", port);
	add_literal(out, "::1", port);
	return (int)out->count;
}
