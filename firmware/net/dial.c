/* From a host name to a connected stream. */
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_dns.h"
#include "net/net.h"

#define ADDRS_MAX 8

/* Puts the families in turn, the first one's family first, each in the order it came (after RFC 8305 section
 * 4). */
static void interleave(struct hal_addr *addrs, size_t count)
{
	struct hal_addr out[ADDRS_MAX];
	bool taken[ADDRS_MAX] = {false};
	enum hal_family want = addrs[0].family;

	for (size_t n = 0; n < count; n++) {
		size_t pick = count;

		for (size_t i = 0; i < count && pick == count; i++)
			if (!taken[i] && addrs[i].family == want) pick = i;
		for (size_t i = 0; i < count && pick == count; i++)
			if (!taken[i]) pick = i;
		taken[pick] = true;
		out[n] = addrs[pick];
		want = want == HAL_FAMILY_IP6 ? HAL_FAMILY_IP4 : HAL_FAMILY_IP6;
	}
	memcpy(addrs, out, count * sizeof(*addrs));
}

/* How much an error says about the host: the higher one is reported. */
static int telling(int err)
{
	switch (err) {
	case 0: return 0;
	case ERR_REFUSED: return 3;
	case ERR_TIMEOUT: return 2;
	default: return 1;
	}
}

static int64_t share_of(int64_t deadline_ms, size_t tries)
{
	int64_t now = hal_clock_mono_ms();

	if (deadline_ms == HAL_FOREVER || deadline_ms <= now) return deadline_ms;
	return now + (deadline_ms - now) / (int64_t)tries;
}

static void peer_name(struct net_peer *peer, const char *host, const struct hal_addr *addr)
{
	char text[64];
	struct buf b;

	/* "192.0.2.1:25" and "[2001:db8::1]:25" both become "host [address]:port". */
	hal_addr_text(addr, text, sizeof(text));
	char *colon = strrchr(text, ':');
	size_t len = colon == NULL ? strlen(text) : (size_t)(colon - text);
	bool brackets = text[0] == '[';

	peer->addr = *addr;
	buf_init(&b, peer->text, sizeof(peer->text));
	buf_printf(&b, "%s %s%.*s%s:%u", host, brackets ? "" : "[", (int)len, text, brackets ? "" : "]",
		   (unsigned)addr->port);
}

int net_dial(struct hal_socket *s, const char *host, uint16_t port, int64_t deadline_ms,
	     struct net_peer *peer, struct buf *why)
{
	struct hal_addr addrs[ADDRS_MAX];
	int err = 0;

	memset(peer, 0, sizeof(*peer));
	if (host == NULL || host[0] == '\0' || strlen(host) >= NET_HOST_MAX) {
		buf_puts(why, "no host name");
		return ERR_INVALID;
	}
	int found = hal_dns_resolve(host, port, addrs, ADDRS_MAX, deadline_ms);
	if (found < 0) {
		buf_printf(why, "%s: %s", host, err_text(found));
		return found;
	}
	size_t count = (size_t)found < ADDRS_MAX ? (size_t)found : ADDRS_MAX;
	interleave(addrs, count);
	for (size_t i = 0; i < count; i++) {
		int rc = hal_stream_connect(s, &addrs[i], share_of(deadline_ms, count - i));

		peer_name(peer, host, &addrs[i]);
		if (rc == 0) return 0;
		buf_printf(why, "%s%s: %s", i > 0 ? "; " : "", peer->text, err_text(rc));
		if (telling(rc) > telling(err)) err = rc;
	}
	return err;
}

int net_send_all(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms, size_t *sent)
{
	const char *at = bytes;
	size_t done = 0;
	int rc = 0;

	while (done < len) {
		rc = hal_stream_send(s, at + done, len - done, deadline_ms);
		if (rc < 0) break;
		done += (size_t)rc;
	}
	if (sent != NULL) *sent = done;
	return rc < 0 ? rc : 0;
}
