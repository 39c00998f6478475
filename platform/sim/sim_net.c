/* The network of the world: connections, listeners, scripted peers, names, the link.
 *
 * A connection is two pipes of bounded size, each a row of segments that arrive at their time. Like TCP:
 * what arrived before a reset can be read, a send into a closed connection succeeds once, closing with
 * unread bytes resets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hal_link.h"
#include "hal_race.h"
#include "sim_world.h"

#define WINDOW_BYTES        16384
#define SEGMENTS_MAX        64
#define LISTENERS_MAX       16
#define PEERS_MAX           32
#define BACKLOG_MAX         16
#define LOOPBACK_PORT_FIRST 49152
/* How long a kernel tries to connect to a black hole. */
#define CONNECT_MS_MAX (127 * 1000)
/* When it tries again at a listener whose backlog is full. */
#define SYN_AGAIN_MS 10

struct segment {
	int64_t at_ms;
	size_t len;
};

enum pipe_end { PIPE_OPEN, PIPE_CLOSED, PIPE_RESET };

struct pipe {
	unsigned char data[WINDOW_BYTES];
	size_t head, len;
	struct segment segments[SEGMENTS_MAX];
	size_t segment_count;
	uint64_t total;
	uint64_t cut_plus1; /* 0: never */
	int64_t last_ms;    /* arrival of the last byte, and of the end */
	enum pipe_end end;  /* behind the bytes */
};

struct conn {
	struct conn *next, **link; /* in the list of all */
	unsigned id;
	struct pipe pipes[2];              /* [0] from the connecting side */
	bool gone[2], aborted[2], told[2]; /* told: a send after the other's end was swallowed */
	bool loopback;
	bool silent; /* nothing moves any more */
	int64_t latency_ms, jitter_ms;
	enum sim_cut_mode cut_mode;
	uint32_t address; /* which of the device's addresses, one after the other, it was made from */
};

struct listener {
	bool used, aborted;
	struct hal_addr at;
	struct conn *backlog[BACKLOG_MAX];
	struct hal_addr from[BACKLOG_MAX];
	size_t backlog_count;
};

struct peer {
	bool used;
	struct hal_addr at;
	void (*handler)(struct hal_stream *s, void *arg);
	void *arg;
};

struct peer_run {
	struct hal_socket socket;
	const struct peer *peer;
};

/* Set up by tests; lasts from boot to boot. */
static struct peer peers[PEERS_MAX];

static struct listener listeners[LISTENERS_MAX];
static unsigned rule_hits[SIM_NET_RULES_MAX];
static struct conn *conns;
static unsigned conns_made;
static uint32_t address_now;
static uint16_t port_next;

void sim_net_boot(void)
{
	memset(listeners, 0, sizeof listeners);
	memset(rule_hits, 0, sizeof rule_hits);
	conns = NULL;
	conns_made = 0;
	address_now = 0;
	port_next = LOOPBACK_PORT_FIRST;
	sim_world.link_generation = 1;
}

void sim_net_reset(void)
{
	memset(peers, 0, sizeof peers);
	sim_dns_reset();
	sim_net_boot();
}

/* ---- addresses and rules ---- */

static bool addr_same(const struct hal_addr *a, const struct hal_addr *b)
{
	size_t n = a->family == HAL_FAMILY_IP4 ? 4 : 16;

	return a->family == b->family && a->port == b->port && memcmp(a->bytes, b->bytes, n) == 0;
}

static bool addr_is_any(const struct hal_addr *a)
{
	static const unsigned char zero[16];

	return memcmp(a->bytes, zero, 16) == 0;
}

static struct hal_addr addr_must(const char *ip, uint16_t port)
{
	struct hal_addr a;

	if (hal_addr_parse(ip, port, &a) < 0) sim_misuse("not an address");
	return a;
}

static const struct sim_net_rule *rule_for(const struct hal_addr *to)
{
	const struct sim_net_faults *f = &sim_world.faults.net;

	for (unsigned i = 0; i < f->rule_count; i++) {
		const struct sim_net_rule *r = &f->rules[i];
		struct hal_addr at;

		if (r->port != 0 && r->port != to->port) continue;
		if (r->ip != NULL) {
			at = addr_must(r->ip, to->port);
			if (!addr_same(&at, to)) continue;
		}
		rule_hits[i]++;
		if (r->count != 0 && (rule_hits[i] < r->first || rule_hits[i] >= r->first + r->count))
			continue;
		return r;
	}
	return NULL;
}

void sim_net_rule_add(const struct sim_net_rule *rule)
{
	struct sim_net_faults *f = &sim_faults()->net;

	if (f->rule_count == SIM_NET_RULES_MAX) sim_misuse("too many network rules");
	memmove(&f->rules[1], &f->rules[0], f->rule_count * sizeof f->rules[0]);
	memmove(&rule_hits[1], &rule_hits[0], f->rule_count * sizeof rule_hits[0]);
	f->rules[0] = *rule;
	rule_hits[0] = 0;
	f->rule_count++;
}

/* ---- a connection ---- */

static bool conn_stalled(const struct conn *c)
{
	return c->silent || (!c->loopback && (sim_world.link_down || c->address != address_now));
}

static void conn_wake(const struct conn *c)
{
	sim_wake_all(&c->pipes[0]);
	sim_wake_all(&c->pipes[1]);
}

static void pipe_end_set(struct conn *c, int side, enum pipe_end end)
{
	struct pipe *p = &c->pipes[side];

	if (p->end != PIPE_OPEN) return;
	p->end = end;
	if (p->last_ms < sim_world.now_ms + c->latency_ms) p->last_ms = sim_world.now_ms + c->latency_ms;
	sim_wake_all(p);
}

static void conn_cut(struct conn *c)
{
	sim_trace("cut", c->id, c->cut_mode);
	if (c->cut_mode == SIM_CUT_SILENCE) {
		c->silent = true;
	} else {
		enum pipe_end end = c->cut_mode == SIM_CUT_RESET ? PIPE_RESET : PIPE_CLOSED;
		pipe_end_set(c, 0, end);
		pipe_end_set(c, 1, end);
	}
	conn_wake(c);
}

static struct conn *conn_new(bool loopback, const struct sim_net_rule *rule)
{
	struct conn *c = calloc(1, sizeof *c);

	if (c == NULL) sim_misuse("the host has no memory");
	c->id = ++conns_made;
	c->loopback = loopback;
	c->address = address_now;
	c->next = conns;
	c->link = &conns;
	if (conns != NULL) conns->link = &c->next;
	conns = c;
	c->latency_ms = rule->latency_ms;
	c->jitter_ms = rule->jitter_ms;
	c->cut_mode = rule->cut_mode;
	c->pipes[0].cut_plus1 = rule->cut_out_plus1;
	c->pipes[1].cut_plus1 = rule->cut_in_plus1;
	return c;
}

static void conn_close(struct conn *c, int side)
{
	enum pipe_end end = c->pipes[1 - side].len > 0 ? PIPE_RESET : PIPE_CLOSED;

	if (c->gone[1 - side]) {
		*c->link = c->next;
		if (c->next != NULL) c->next->link = c->link;
		free(c);
		return;
	}
	sim_trace("close", c->id, (uint64_t)side);
	c->gone[side] = true;
	pipe_end_set(c, side, end);
	conn_wake(c);
}

static size_t split(size_t n)
{
	if (n > 1 && sim_rng_percent(&sim_world.rng_net, sim_world.faults.net.split_percent))
		return 1 + (size_t)sim_rng_below(&sim_world.rng_net, n - 1);
	return n;
}

static void pipe_put(struct conn *c, struct pipe *p, const unsigned char *bytes, size_t n)
{
	int64_t at = sim_world.now_ms + c->latency_ms;

	if (c->jitter_ms > 0) at += (int64_t)sim_rng_below(&sim_world.rng_net, (uint64_t)c->jitter_ms + 1);
	if (at < p->last_ms) at = p->last_ms;
	for (size_t i = 0; i < n; i++)
		p->data[(p->head + p->len + i) % WINDOW_BYTES] = bytes[i];
	p->len += n;
	p->total += n;
	p->last_ms = at;
	if (p->segment_count > 0 && p->segments[p->segment_count - 1].at_ms == at)
		p->segments[p->segment_count - 1].len += n;
	else
		p->segments[p->segment_count++] = (struct segment){at, n};
	sim_wake_all(p);
}

/* Bytes that have arrived; *next is when more (or the end) will. */
static size_t pipe_arrived(const struct pipe *p, int64_t *next)
{
	size_t n = 0;

	*next = p->end != PIPE_OPEN ? p->last_ms : HAL_FOREVER;
	for (size_t i = 0; i < p->segment_count; i++) {
		if (p->segments[i].at_ms > sim_world.now_ms) {
			*next = p->segments[i].at_ms;
			break;
		}
		n += p->segments[i].len;
	}
	return n;
}

static void pipe_take(struct pipe *p, unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] = p->data[(p->head + i) % WINDOW_BYTES];
	p->head = (p->head + n) % WINDOW_BYTES;
	p->len -= n;
	while (n > 0) {
		size_t first = p->segments[0].len < n ? p->segments[0].len : n;

		p->segments[0].len -= first;
		n -= first;
		if (p->segments[0].len == 0)
			memmove(&p->segments[0], &p->segments[1], --p->segment_count * sizeof p->segments[0]);
	}
	sim_wake_all(p);
}

/* ---- hal_stream ---- */

static struct conn *conn_of(struct hal_stream *s, int *side)
{
	struct hal_socket *k = (struct hal_socket *)(void *)s;
	struct conn *c = (struct conn *)(uintptr_t)k->opaque[0];

	if (c == NULL) sim_misuse("a stream that is closed");
	*side = (int)k->opaque[1];
	return c;
}

/* Waits for bytes: 0, or the error. */
static int wait_in(struct conn *c, int side, size_t *have, int64_t deadline_ms)
{
	struct pipe *p = &c->pipes[1 - side];

	for (;;) {
		int64_t next;

		if (c->aborted[side]) return ERR_STOPPING;
		*have = pipe_arrived(p, &next);
		if (conn_stalled(c)) {
			*have = 0;
			next = HAL_FOREVER;
		}
		if (*have > 0) return 0;
		if (next <= sim_world.now_ms) return p->end == PIPE_RESET ? ERR_RESET : ERR_CLOSED;
		if (sim_world.now_ms >= deadline_ms) return ERR_TIMEOUT;
		sim_wait(p, next < deadline_ms ? next : deadline_ms, "bytes to receive");
	}
}

static int socket_recv(struct hal_stream *s, void *bytes, size_t cap, int64_t deadline_ms)
{
	int side;
	size_t have;
	struct conn *c = conn_of(s, &side);

	sim_preempt();
	int rc = wait_in(c, side, &have, deadline_ms);
	if (rc < 0) return rc;
	if (have > cap) have = cap;
	have = split(have);
	pipe_take(&c->pipes[1 - side], bytes, have);
	sim_trace("recv", c->id, have);
	return (int)have;
}

static int socket_poll(struct hal_stream *s, int64_t deadline_ms)
{
	int side;
	size_t have;
	struct conn *c = conn_of(s, &side);

	sim_preempt();
	int rc = wait_in(c, side, &have, deadline_ms);
	/* recv would not wait for the end either, but says it itself. */
	return rc;
}

static int socket_send(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms)
{
	int side;
	struct conn *c = conn_of(s, &side);
	struct pipe *out = &c->pipes[side], *in = &c->pipes[1 - side];
	int64_t next;

	sim_preempt();
	for (;;) {
		if (c->aborted[side]) return ERR_STOPPING;
		bool stalled = conn_stalled(c);
		/* The other side's end is known when it has arrived. */
		if (!stalled && in->end != PIPE_OPEN && in->last_ms <= sim_world.now_ms) {
			if (in->end == PIPE_RESET) return ERR_RESET;
			if (c->told[side] || !c->gone[1 - side]) return ERR_CLOSED;
			c->told[side] = true;
			in->end = PIPE_RESET;
			return (int)len;
		}
		if (out->len < WINDOW_BYTES && out->segment_count < SEGMENTS_MAX) break;
		if (sim_world.now_ms >= deadline_ms) return ERR_TIMEOUT;
		next = !stalled && in->end != PIPE_OPEN ? in->last_ms : HAL_FOREVER;
		sim_wait(out, next < deadline_ms ? next : deadline_ms, "room to send");
	}
	if (out->end != PIPE_OPEN) return out->end == PIPE_RESET ? ERR_RESET : ERR_CLOSED;
	if (len > WINDOW_BYTES - out->len) len = WINDOW_BYTES - out->len;
	len = split(len);
	bool cut = out->cut_plus1 != 0 && out->total + len >= out->cut_plus1 - 1;
	if (cut) len = (size_t)(out->cut_plus1 - 1 - out->total);
	if (len > 0) pipe_put(c, out, bytes, len);
	sim_trace("send", c->id, len);
	if (cut) {
		out->cut_plus1 = 0;
		conn_cut(c);
	}
	if (len == 0)
		return c->cut_mode == SIM_CUT_SILENCE ? ERR_TIMEOUT
		       : out->end == PIPE_RESET       ? ERR_RESET
						      : ERR_CLOSED;
	return (int)len;
}

static void socket_abort(struct hal_stream *s)
{
	int side;
	struct conn *c = conn_of(s, &side);

	sim_enter();
	c->aborted[side] = true;
	conn_wake(c);
}

static void socket_close(struct hal_stream *s)
{
	int side;
	struct conn *c = conn_of(s, &side);

	sim_preempt();
	((struct hal_socket *)(void *)s)->opaque[0] = 0;
	conn_close(c, side);
}

static const struct hal_stream_ops socket_ops = {
	.send = socket_send,
	.recv = socket_recv,
	.poll = socket_poll,
	.abort = socket_abort,
	.close = socket_close,
};

static void socket_set(struct hal_socket *s, struct conn *c, int side)
{
	memset(s, 0, sizeof *s);
	s->stream.ops = &socket_ops;
	s->opaque[0] = (uint64_t)(uintptr_t)c;
	s->opaque[1] = (uint64_t)side;
}

/* ---- connecting ---- */

static struct listener *listener_for(const struct hal_addr *to)
{
	for (size_t i = 0; i < LISTENERS_MAX; i++) {
		struct listener *l = &listeners[i];

		if (!l->used || l->aborted) continue;
		if (addr_same(&l->at, to) || (addr_is_any(&l->at) && l->at.port == to->port)) return l;
	}
	return NULL;
}

static struct peer *peer_for(const struct hal_addr *to)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (peers[i].used && addr_same(&peers[i].at, to)) return &peers[i];
	return NULL;
}

static void peer_main(void *arg)
{
	struct peer_run run = *(struct peer_run *)arg;

	free(arg);
	run.peer->handler(&run.socket.stream, run.peer->arg);
	hal_stream_close(&run.socket.stream);
}

static void peer_start(const struct peer *p, struct conn *c)
{
	struct peer_run *run = calloc(1, sizeof *run);
	char name[24];

	if (run == NULL) sim_misuse("the host has no memory");
	run->peer = p;
	socket_set(&run->socket, c, 1);
	snprintf(name, sizeof name, "peer:%u#%u", p->at.port, c->id);
	sim_script_start(name, peer_main, run);
}

/* Where an attempt arrives: 0, or why not; ERR_BUSY: the backlog is full, try again. */
static int arrive(struct hal_socket *s, const struct hal_addr *to, const struct sim_net_rule *rule)
{
	if (rule->unreachable) return ERR_UNREACHABLE;
	struct listener *l = listener_for(to);
	const struct peer *p = peer_for(to);
	if (rule->refuse || (l == NULL && p == NULL)) return ERR_REFUSED;
	if (l != NULL && l->backlog_count == BACKLOG_MAX) return ERR_BUSY;
	struct conn *c = conn_new(hal_addr_is_loopback(to) != 0, rule);
	socket_set(s, c, 0);
	if (l != NULL) {
		struct hal_addr from =
			addr_must(to->family == HAL_FAMILY_IP6 ? "::1" : "127.0.0.1", port_next++);

		l->from[l->backlog_count] = from;
		l->backlog[l->backlog_count++] = c;
		sim_wake_all(l);
	} else {
		peer_start(p, c);
	}
	if (c->pipes[0].cut_plus1 == 1 || c->pipes[1].cut_plus1 == 1) conn_cut(c);
	return 0;
}

int sim_connect_begin(struct sim_connect *k, const struct hal_addr *to)
{
	sim_preempt();
	if (to->family == HAL_FAMILY_NONE) return ERR_UNREACHABLE;
	if (sim_world.link_down && !hal_addr_is_loopback(to)) return ERR_LINK_DOWN;
	const struct sim_net_rule *rule = rule_for(to);

	*k = (struct sim_connect){.on = true, .to = *to};
	if (rule != NULL) k->rule = *rule;
	sim_trace("connect", to->port, 0);
	k->due_ms = hal_clock_in(k->rule.black_hole ? CONNECT_MS_MAX : 2 * k->rule.latency_ms);
	return 0;
}

int sim_connect_end(struct sim_connect *k, struct hal_socket *s)
{
	if (sim_world.now_ms < k->due_ms) return ERR_BUSY;
	memset(s, 0, sizeof *s);
	int rc = k->rule.black_hole ? ERR_TIMEOUT : arrive(s, &k->to, &k->rule);
	if (rc == ERR_BUSY)
		k->due_ms = hal_clock_in(SYN_AGAIN_MS);
	else
		k->on = false;
	return rc;
}

int hal_stream_connect(struct hal_socket *s, const struct hal_addr *to, int64_t deadline_ms)
{
	struct sim_connect k;
	int rc = sim_connect_begin(&k, to);

	if (rc < 0) return rc;
	while ((rc = sim_connect_end(&k, s)) == ERR_BUSY) {
		if (sim_world.now_ms >= deadline_ms) return ERR_TIMEOUT;
		hal_clock_sleep_until(k.due_ms < deadline_ms ? k.due_ms : deadline_ms);
	}
	return rc;
}

/* ---- listening ---- */

int hal_stream_listen(struct hal_listener *out, const struct hal_addr *at, struct hal_addr *bound)
{
	struct listener *l = NULL;
	struct hal_addr here = *at;

	sim_enter();
	if (at->family == HAL_FAMILY_NONE) return ERR_INVALID;
	if (here.port == 0) here.port = port_next++;
	for (size_t i = 0; i < LISTENERS_MAX; i++) {
		if (listeners[i].used && addr_same(&listeners[i].at, &here)) return ERR_BUSY;
		if (!listeners[i].used && l == NULL) l = &listeners[i];
	}
	if (l == NULL) return ERR_NO_MEMORY;
	memset(l, 0, sizeof *l);
	l->used = true;
	l->at = here;
	out->opaque[0] = (uint64_t)(uintptr_t)l;
	if (bound != NULL) *bound = here;
	return 0;
}

int hal_stream_accept(struct hal_listener *in, struct hal_socket *s, struct hal_addr *from,
		      int64_t deadline_ms)
{
	struct listener *l = (struct listener *)(uintptr_t)in->opaque[0];

	sim_preempt();
	memset(s, 0, sizeof *s);
	while (l->backlog_count == 0 || l->aborted) {
		if (l->aborted) return ERR_STOPPING;
		if (sim_world.now_ms >= deadline_ms) return ERR_TIMEOUT;
		sim_wait(l, deadline_ms, "a connection to accept");
	}
	socket_set(s, l->backlog[0], 1);
	if (from != NULL) *from = l->from[0];
	l->backlog_count--;
	memmove(&l->backlog[0], &l->backlog[1], l->backlog_count * sizeof l->backlog[0]);
	memmove(&l->from[0], &l->from[1], l->backlog_count * sizeof l->from[0]);
	sim_wake_all(l);
	return 0;
}

void hal_stream_listen_abort(struct hal_listener *in)
{
	struct listener *l = (struct listener *)(uintptr_t)in->opaque[0];

	sim_enter();
	l->aborted = true;
	sim_wake_all(l);
}

void hal_stream_listen_close(struct hal_listener *in)
{
	struct listener *l = (struct listener *)(uintptr_t)in->opaque[0];

	sim_enter();
	for (size_t i = 0; i < l->backlog_count; i++) {
		pipe_end_set(l->backlog[i], 1, PIPE_RESET);
		conn_close(l->backlog[i], 1);
	}
	memset(l, 0, sizeof *l);
	in->opaque[0] = 0;
	sim_wake_all(l);
}

/* ---- scripts ---- */

void sim_peer_listen(const char *ip, uint16_t port, void (*handler)(struct hal_stream *s, void *arg),
		     void *arg)
{
	struct hal_addr at = addr_must(ip, port);
	struct peer *p = peer_for(&at);

	for (size_t i = 0; i < PEERS_MAX && p == NULL; i++)
		if (!peers[i].used) p = &peers[i];
	if (p == NULL) sim_misuse("too many peers");
	*p = (struct peer){true, at, handler, arg};
}

void sim_peer_close(const char *ip, uint16_t port)
{
	struct hal_addr at = addr_must(ip, port);
	struct peer *p = peer_for(&at);

	if (p != NULL) p->used = false;
}

void sim_link_set(bool up, bool new_address)
{
	sim_enter();
	sim_trace("link", up, new_address);
	sim_world.link_down = !up;
	sim_world.link_generation++;
	if (new_address) address_now++;
	for (const struct conn *c = conns; c != NULL; c = c->next)
		conn_wake(c);
}

void hal_link_get(struct hal_link_state *out)
{
	sim_enter();
	out->up = !sim_world.link_down;
	out->generation = sim_world.link_generation;
}
