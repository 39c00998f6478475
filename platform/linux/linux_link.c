/* The kernel tells of changes on a netlink socket; only then the interfaces are looked at again. Where
 * there is no such socket they are looked at once a second. Whether anything changed is decided by a
 * fingerprint: routers repeat themselves, and each repetition is an event. */
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hal_clock.h"
#include "hal_link.h"
#include "linux/linux.h"

#define LOOK_MS 1000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hal_link_state current;
static uint64_t fingerprint;
static int events_fd = -1;
static bool events_tried;
static int64_t looked_ms;

static void mix(uint64_t *h, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		*h = (*h ^ p[i]) * UINT64_C(0x100000001b3);
}

static void events_open(void)
{
	struct sockaddr_nl at = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
	                     RTMGRP_IPV6_ROUTE,
	};

	events_tried = true;
	events_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (events_fd >= 0 && bind(events_fd, (const struct sockaddr *)&at, sizeof at) < 0) {
		close(events_fd);
		events_fd = -1;
	}
}

/* Empties the socket: were there any events? An overflow (ENOBUFS) is one. */
static bool events_take(void)
{
	char bytes[4096];
	bool any = false;

	while (recv(events_fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		any = true;
	int e = 0;
	socklen_t len = sizeof e;
	if (getsockopt(events_fd, SOL_SOCKET, SO_ERROR, &e, &len) == 0 && e != 0)
		any = true;
	return any;
}

/* IPv4 default routes: interface and gateway. Those of IPv6 come and go with their addresses. */
static void mix_routes(uint64_t *h)
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[256], name[32], to[16], gateway[16];

	if (f == NULL)
		return;
	while (fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "%31s %15s %15s", name, to, gateway) != 3 || strcmp(to, "00000000") != 0)
			continue;
		mix(h, name, strlen(name));
		mix(h, gateway, strlen(gateway));
	}
	fclose(f);
}

/* An address that something beyond the cable can be reached from. */
static bool addr_counts(const struct sockaddr *a, uint64_t *h)
{
	if (a == NULL)
		return false;
	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *ip4 = (const void *)a;
		mix(h, &ip4->sin_addr, sizeof ip4->sin_addr);
		return true;
	}
	if (a->sa_family == AF_INET6) {
		const struct sockaddr_in6 *ip6 = (const void *)a;
		if (IN6_IS_ADDR_LINKLOCAL(&ip6->sin6_addr))
			return false;
		mix(h, &ip6->sin6_addr, sizeof ip6->sin6_addr);
		return true;
	}
	return false;
}

static void look(void)
{
	struct ifaddrs *list = NULL;
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	bool up = false, others = false;

	looked_ms = hal_clock_mono_ms();
	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		bool running = (i->ifa_flags & IFF_UP) && (i->ifa_flags & IFF_RUNNING);

		if (i->ifa_flags & IFF_LOOPBACK)
			continue;
		others = true;
		if (!running)
			continue;
		mix(&h, i->ifa_name, strlen(i->ifa_name));
		if (addr_counts(i->ifa_addr, &h))
			up = true;
	}
	freeifaddrs(list);
	mix_routes(&h);
	current.up = up || !others;
	if (h != fingerprint)
		current.generation++;
	fingerprint = h;
}

void hal_link_get(struct hal_link_state *out)
{
	pthread_mutex_lock(&mutex);
	if (!events_tried) {
		events_open();
		look();
	} else if (events_fd >= 0 ? events_take() : hal_clock_mono_ms() >= looked_ms + LOOK_MS) {
		look();
	}
	*out = current;
	pthread_mutex_unlock(&mutex);
}
