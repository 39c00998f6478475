/* The kernel tells of changes on a netlink socket; only then the interfaces are looked at again, through
 * ioctl and /proc, which need no memory and work under qemu's user mode, where getifaddrs() can hang.
 * Where there is no such socket they are looked at once a second. Whether anything changed is decided by
 * a fingerprint: routers repeat themselves, and each repetition is an event. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hal_clock.h"
#include "hal_link.h"
#include "linux/linux.h"

#define LOOK_MS          1000
#define IP6_SCOPE_GLOBAL 0 /* as /proc/net/if_inet6 has it */

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
	if (getsockopt(events_fd, SOL_SOCKET, SO_ERROR, &e, &len) == 0 && e != 0) any = true;
	return any;
}

/* IPv4 default routes: interface and gateway. Those of IPv6 come and go with their addresses. */
static void mix_routes(uint64_t *h)
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[256], name[32], to[16], gateway[16];

	if (f == NULL) return;
	while (fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "%31s %15s %15s", name, to, gateway) != 3 || strcmp(to, "00000000") != 0)
			continue;
		mix(h, name, strlen(name));
		mix(h, gateway, strlen(gateway));
	}
	fclose(f);
}

/* IPv4: every interface by its name. Returns whether one that runs has an address. */
static bool look_ip4(uint64_t *h, bool *others)
{
	FILE *f = fopen("/proc/net/dev", "re");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char line[512];
	bool up = false;

	while (f != NULL && fd >= 0 && fgets(line, sizeof line, f) != NULL) {
		struct ifreq r;
		char *name = line + strspn(line, " "), *colon = strchr(name, ':');

		if (colon == NULL || colon - name >= (int)sizeof r.ifr_name) continue;
		*colon = '\0';
		memset(&r, 0, sizeof r);
		strcpy(r.ifr_name, name);
		if (ioctl(fd, SIOCGIFFLAGS, &r) < 0 || (r.ifr_flags & IFF_LOOPBACK)) continue;
		*others = true;
		if (!(r.ifr_flags & IFF_UP) || !(r.ifr_flags & IFF_RUNNING)) continue;
		mix(h, name, strlen(name));
		if (ioctl(fd, SIOCGIFADDR, &r) == 0) {
			mix(h, &r.ifr_addr, sizeof r.ifr_addr);
			up = true;
		}
	}
	if (fd >= 0) close(fd);
	if (f != NULL) fclose(f);
	return up;
}

/* IPv6: addresses that something beyond the cable can be reached from. They go when their interface goes
 * down. */
static bool look_ip6(uint64_t *h)
{
	FILE *f = fopen("/proc/net/if_inet6", "re");
	char line[128], address[40];
	unsigned scope, flags;
	bool up = false;

	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "%39s %*s %*s %x %x", address, &scope, &flags) != 3) continue;
		if (scope != IP6_SCOPE_GLOBAL || (flags & IFA_F_TENTATIVE)) continue;
		mix(h, address, strlen(address));
		up = true;
	}
	if (f != NULL) fclose(f);
	return up;
}

static void look(void)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	bool others = false;

	looked_ms = hal_clock_mono_ms();
	bool ip4 = look_ip4(&h, &others);
	bool ip6 = look_ip6(&h);
	mix_routes(&h);
	current.up = ip4 || ip6 || !others;
	if (h != fingerprint) current.generation++;
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
