/* From a host name to a connected stream. */
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_dns.h"
#include "hal_race.h"
#include "net/net.h"

/* Puts the families in turn, the first one's family first, each in the order it came (RFC 8305 section 4). */
static void order(struct net_dialer *d, const struct hal_dns_answer *answer)
{
	bool taken[2 * HAL_DNS_FAMILY_MAX] = {false};
	enum hal_family want = answer->addrs[0].family;

	d->count = answer->count < NET_ADDRS_MAX ? answer->count : NET_ADDRS_MAX;
	d->total = answer->total;
	for (unsigned n = 0; n < d->count; n++) {
		unsigned pick = answer->count;

		for (unsigned i = 0; i < answer->count && pick == answer->count; i++)
			if (!taken[i] && answer->addrs[i].family == want) pick = i;
		for (unsigned i = 0; i < answer->count && pick == answer->count; i++)
			if (!taken[i]) pick = i;
		taken[pick] = true;
		d->addrs[n] = answer->addrs[pick];
		d->states[n] = NET_ADDR_FRESH;
		want = d->addrs[n].family == HAL_FAMILY_IP6 ? HAL_FAMILY_IP4 : HAL_FAMILY_IP6;
	}
}

int net_telling(int err)
{
	switch (err) {
	case 0: return 0;
	case ERR_TLS_CERT: return 5;
	case ERR_TLS: return 4;
	case ERR_REFUSED: return 3;
	case ERR_TIMEOUT: return 2;
	default: return 1;
	}
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

/* ---- the race ---- */

/* One call of net_dialer_next. */
struct dialing {
	struct net_dialer *d;
	struct hal_race race;
	struct net_peer *peer;
	struct buf *why;
	int err; /* the most telling so far */
};

static void failed(struct dialing *g, unsigned i, int err)
{
	const char *at;

	g->d->states[i] = NET_ADDR_DONE;
	peer_name(g->peer, g->d->host, &g->d->addrs[i]);
	/* The host once, then addresses: the text has little room. */
	at = g->why->len > 0 ? strchr(g->peer->text, '[') : g->peer->text;
	buf_printf(g->why, "%s%s: %s", g->why->len > 0 ? "; " : "", at, err_text(err));
	if (net_telling(err) > net_telling(g->err)) g->err = err;
}

/* The next address to begin with: one that was not begun before, else one that lost an earlier race. */
static unsigned pick(const struct net_dialer *d)
{
	for (unsigned i = 0; i < d->count; i++)
		if (d->states[i] == NET_ADDR_FRESH) return i;
	for (unsigned i = 0; i < d->count; i++)
		if (d->states[i] == NET_ADDR_LATE) return i;
	return d->count;
}

static bool under_way(const struct net_dialer *d)
{
	for (unsigned i = 0; i < d->count; i++)
		if (d->states[i] == NET_ADDR_UNDER_WAY) return true;
	return false;
}

/* Begins with the next address; one that cannot even be begun makes way for the next. False: there is none. */
static bool begin_one(struct dialing *g)
{
	for (;;) {
		unsigned i = pick(g->d);

		if (i == g->d->count) return false;
		int rc = hal_race_begin(&g->race, i, &g->d->addrs[i]);
		if (rc == 0) {
			g->d->states[i] = NET_ADDR_UNDER_WAY;
			return true;
		}
		failed(g, i, rc);
	}
}

/* The deadline came: what is under way has failed with it. */
static int out_of_time(struct dialing *g)
{
	for (unsigned i = 0; i < g->d->count; i++)
		if (g->d->states[i] == NET_ADDR_UNDER_WAY) failed(g, i, ERR_TIMEOUT);
	return g->err;
}

/* 0: lane *won is connected. */
static int race(struct dialing *g, struct hal_socket *s, unsigned *won, int64_t deadline_ms)
{
	struct net_dialer *d = g->d;
	int64_t next_ms = hal_clock_mono_ms();

	for (;;) {
		int err = 0;

		if (hal_clock_mono_ms() >= next_ms) {
			(void)begin_one(g);
			next_ms = hal_clock_in(NET_DIAL_DELAY_MS);
		}
		if (!under_way(d)) return g->err < 0 ? g->err : ERR_UNREACHABLE;
		bool wait_for_next = pick(d) < d->count && next_ms < deadline_ms;
		int lane = hal_race_wait(&g->race, s, &err, wait_for_next ? next_ms : deadline_ms);
		if (lane == ERR_TIMEOUT && wait_for_next) continue;
		if (lane == ERR_TIMEOUT) return out_of_time(g);
		if (lane < 0) return lane;
		*won = (unsigned)lane;
		if (err == 0) return 0;
		failed(g, *won, err);
		if (!under_way(d)) next_ms = hal_clock_mono_ms();
	}
}

/* ---- the dialer ---- */

void net_dialer_init(struct net_dialer *d, const char *host, uint16_t port)
{
	memset(d, 0, sizeof(*d));
	d->host = host;
	d->port = port;
	hal_cancel_init(&d->cancel);
}

static int resolve(struct net_dialer *d, int64_t deadline_ms, struct buf *why)
{
	struct hal_dns_answer answer;

	if (d->host == NULL || d->host[0] == '\0' || strlen(d->host) >= NET_HOST_MAX) {
		buf_puts(why, "no host name");
		return ERR_INVALID;
	}
	int rc = hal_dns_resolve(d->host, d->port, &answer, &d->cancel, deadline_ms);
	/* No answer is no answer, whoever did not give it. */
	if (rc == ERR_TIMEOUT) rc = ERR_DNS;
	if (rc < 0) {
		buf_printf(why, "%s: %s", d->host, err_text(rc));
		return rc;
	}
	order(d, &answer);
	d->resolved = true;
	return 0;
}

int net_dialer_next(struct net_dialer *d, struct hal_socket *s, int64_t deadline_ms, struct net_peer *peer,
		    struct buf *why)
{
	struct dialing g = {.d = d, .peer = peer, .why = why};
	unsigned won = 0;

	memset(peer, 0, sizeof(*peer));
	int rc = d->resolved ? 0 : resolve(d, deadline_ms, why);
	if (rc < 0) return rc;
	hal_race_init(&g.race, &d->cancel);
	rc = race(&g, s, &won, deadline_ms);
	hal_race_close(&g.race);
	for (unsigned i = 0; i < d->count; i++)
		if (d->states[i] == NET_ADDR_UNDER_WAY) d->states[i] = NET_ADDR_LATE;
	if (rc == 0) {
		d->states[won] = NET_ADDR_DONE;
		d->won = won;
		peer_name(peer, d->host, &d->addrs[won]);
	} else if (d->total > d->count) {
		buf_printf(why, "; %u of %u addresses were tried", d->count, d->total);
	}
	return rc;
}

bool net_dialer_more(const struct net_dialer *d)
{
	return !d->resolved || pick(d) < d->count;
}

void net_dialer_again(struct net_dialer *d)
{
	if (d->count > 0 && d->states[d->won] == NET_ADDR_DONE) d->states[d->won] = NET_ADDR_LATE;
}

void net_dialer_abort(struct net_dialer *d)
{
	hal_cancel_set(&d->cancel);
}

void net_dialer_close(struct net_dialer *d)
{
	hal_cancel_close(&d->cancel);
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
