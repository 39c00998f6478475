/* The front on libmicrohttpd: one thread that accepts, reads, calls the routes and answers, and sleeps
 * otherwise.
 *
 * libmicrohttpd is driven from outside (no thread of its own): our thread waits for its epoll descriptor and
 * for all our listening ones at once. A connection has a slot with small memory from its first byte; there
 * are as many slots as connections, so a request never waits for one. The few large ones are waited for, in
 * order of arrival.
 *
 * A request that waits for the store is a suspended connection. The store may answer before it is suspended:
 * `turn` says under the mutex who is ahead.
 *
 * The library's timeout begins anew with each byte. So that nobody holds what others wait for by sending, or
 * reading, a byte now and then, each connection has a line with its own time: for a request's head, for what
 * comes behind it, and for taking the answer; shorter while it holds large memory. When that is over the
 * connection is shut, which the library finds as its end. And whoever is let in by fewer takes no connection
 * from whoever is let in by more: the last ones are kept for the Unix sockets.
 */
#include <microhttpd.h>
#include <string.h>

#include "api/api_front.h"
#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "hal_local.h"
#include "hal_thread.h"
#include "log/log.h"

#define LISTENERS_MAX  (API_LISTEN_MAX + 2)
#define DESCRIPTORS    4096 /* of the process; connections with a higher one are closed */
#define THREAD_STACK   (96 * 1024)
#define IDLE_TIMEOUT_S 20
#define CONNECTION_MEMORY                                                                                    \
	(12 * 1024) /* request line and header fields; the library answers 414 or 431 beyond */
/* More than this of a refused body is not read: the connection is closed. */
#define DRAIN_MAX (UINT64_C(64) * 1024 * 1024)
#define STOP_MS   2000
/* For a head, from the connection's begin or the last answer's end; for a body, or taking an answer, by as much
 * more as the bytes that did go take at the slowest rate. */
#define LINE_MS       60000
#define LINE_HEAD_MS  15000
#define LINE_LARGE_MS 20000
#define BYTES_PER_MS  64
#define IDLE_WAIT_MS                                                                                         \
	3000 /* whatever there is to do wakes the thread before, unless somebody removed our socket */
#define SOCKET_PATH_MAX 128
/* Without descriptors nothing is accepted for so long: what waits keeps the listener ready all the time. */
#define ACCEPT_PAUSE_MS 500

enum turn {
	TURN_FREE,    /* no store operation under way */
	TURN_HANDED,  /* handed in, connection not yet suspended */
	TURN_WAITING, /* suspended */
	TURN_READY    /* answered: the routes may go on */
};

struct slot {
	struct api_request request;
	struct MHD_Connection *connection;
	struct slot *next; /* free list, or queue for large memory */
	struct line *line; /* its connection's; NULL: none was to be had */
	enum turn turn;
	bool begun, refused;
	int large; /* index, or -1 */
	uint64_t drained;
	char uri[API_URI_MAX + 1];
	bool uri_too_long;
};

/* A connection and its time. */
struct line {
	struct MHD_Connection *connection; /* NULL: free */
	enum api_peer peer;
	int descriptor;
	bool timed;        /* the client is to do something: not while the store or memory is waited for */
	int64_t since_ms;  /* monotonic: when it was to begin with that */
	struct slot *slot; /* NULL: the head has not come */
	bool answering, shut;
};

static struct {
	struct MHD_Daemon *daemon;
	struct hal_thread thread;
	struct hal_mutex mutex;
	bool running, stop;
	unsigned
		at_store; /* suspended until the store answers; those that wait for memory are in the queue */
	bool refuses_large; /* the front's thread only: the stop does not wait for memory */
	struct line lines[API_CONNECTIONS];
	unsigned fresh[API_PEER_TCP + 1]; /* accepted: they get their lines when the library runs */
	int listeners[LISTENERS_MAX + 1]; /* and behind them the library's */
	enum api_peer peers[LISTENERS_MAX];
	const char *paths[LISTENERS_MAX];
	int64_t accept_ms;    /* not before */
	bool accepts_nothing; /* and the log says so */
	char path_text[2][SOCKET_PATH_MAX];
	unsigned listener_count;
	uint16_t port;
	unsigned char peer_of[DESCRIPTORS];
	struct slot slots[API_CONNECTIONS];
	struct slot *free_slots;
	char *small_memory, *large_memory;
	size_t large_bytes;
	bool large_taken[API_LARGE_COUNT];
	struct slot *large_first, *large_last; /* the queue */
} front;

/* ---- a connection's time ---- */

static struct line *line_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* From now on it is the client's turn; or, with timed false, ours. */
static void line_begin(struct line *l, bool timed)
{
	if (!l) return;
	l->timed = timed;
	l->since_ms = hal_clock_mono_ms();
}

/* When that must be over. */
static int64_t line_end_ms(const struct line *l)
{
	const struct slot *s = l->slot;
	size_t bytes = 0;

	if (!s || !s->begun) return l->since_ms + LINE_HEAD_MS;
	bytes = l->answering ? s->request.reply.len : s->request.body_len + (size_t)s->drained;
	return l->since_ms + (s->large >= 0 ? LINE_LARGE_MS : LINE_MS) + (int64_t)(bytes / BYTES_PER_MS);
}

static void lines_watch(void)
{
	int64_t now_ms = hal_clock_mono_ms();

	for (unsigned i = 0; i < API_CONNECTIONS; i++) {
		struct line *l = &front.lines[i];

		if (!l->connection || !l->timed || l->shut || now_ms < line_end_ms(l)) continue;
		l->shut = true;
		hal_local_shut(l->descriptor);
	}
}

/* ---- slots and memory ---- */

static struct slot *slot_take(void)
{
	struct slot *s = front.free_slots;

	if (s) {
		front.free_slots = s->next;
		memset(&s->request, 0, sizeof(s->request));
		s->request.memory = front.small_memory + (size_t)(s - front.slots) * API_MEMORY_SMALL;
		s->request.memory_bytes = API_MEMORY_SMALL;
		s->request.front = s;
		s->next = NULL;
		s->turn = TURN_FREE;
		s->line = NULL;
		s->begun = s->refused = s->uri_too_long = false;
		s->large = -1;
		s->drained = 0;
	}
	return s;
}

/* Gives the slot a large memory when one is free, with what it has read so far. */
static bool large_take(struct slot *s)
{
	struct api_request *r = &s->request;

	for (int i = 0; i < API_LARGE_COUNT; i++) {
		char *memory = front.large_memory + (size_t)i * front.large_bytes;

		if (front.large_taken[i]) continue;
		front.large_taken[i] = true;
		memcpy(memory, r->memory, r->body_len);
		r->memory = memory;
		r->memory_bytes = front.large_bytes;
		r->large = true;
		s->large = i;
		line_begin(s->line, true);
		return true;
	}
	return false;
}

/* Suspends until large memory is free. The caller returns to the library, which calls again then. */
static void large_wait(struct slot *s)
{
	line_begin(s->line, false);
	s->next = NULL;
	if (front.large_last)
		front.large_last->next = s;
	else
		front.large_first = s;
	front.large_last = s;
	MHD_suspend_connection(s->connection);
}

/* The first of those that wait goes on. */
static void large_wake(void)
{
	struct slot *s = front.large_first;

	front.large_first = s->next;
	if (!s->next) front.large_last = NULL;
	s->next = NULL;
	line_begin(s->line, true);
	MHD_resume_connection(s->connection);
}

static void large_give_back(struct slot *s)
{
	if (s->large < 0) return;
	front.large_taken[s->large] = false;
	s->large = -1;
	if (front.large_first) large_wake();
}

/* Instead of waiting, when the gateway stops: who has the memory may take longer than the stop. */
static void refuse_stopping(struct slot *s)
{
	struct api_request *r = &s->request;

	r->body_len = 0;
	r->retry_after_s = 5;
	api_refuse(r, 503, "the gateway is stopping");
	s->refused = true;
}

static void large_refuse_all(void)
{
	front.refuses_large = true;
	while (front.large_first) {
		refuse_stopping(front.large_first);
		large_wake();
	}
}

static void slot_give_back(struct slot *s)
{
	large_give_back(s);
	s->next = front.free_slots;
	front.free_slots = s;
}

/* ---- one request ---- */

static enum MHD_Result send_reply(struct slot *s)
{
	struct api_request *r = &s->request;
	struct MHD_Response *response =
		MHD_create_response_from_buffer(r->reply.len, r->reply.ptr, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;
	char seconds[16];
	struct buf b;

	if (!response) return MHD_NO;
	line_begin(s->line, true);
	if (s->line) s->line->answering = true;
	MHD_add_response_header(response, "Content-Type", r->type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (r->allow) MHD_add_response_header(response, "Allow", r->allow);
	if (r->retry_after_s > 0) {
		buf_init(&b, seconds, sizeof(seconds));
		buf_printf(&b, "%u", r->retry_after_s);
		MHD_add_response_header(response, "Retry-After", seconds);
	}
	result = MHD_queue_response(s->connection, (unsigned)r->status, response);
	MHD_destroy_response(response);
	return result;
}

static struct str field(struct MHD_Connection *c, const char *name)
{
	return str_from(MHD_lookup_connection_value(c, MHD_HEADER_KIND, name));
}

struct nth_field {
	struct str name, value;
	unsigned left; /* so many before it */
};

static enum MHD_Result find_field(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct nth_field *f = arg;

	(void)kind;
	if (!str_eq_nocase(str_from(name), f->name) || f->left-- > 0) return MHD_YES;
	f->value = value ? str_from(value) : STR("");
	return MHD_NO;
}

struct str api_front_field(struct api_request *r, const char *name, unsigned n)
{
	struct nth_field f = {.name = str_from(name), .left = n};

	MHD_get_connection_values(((struct slot *)r->front)->connection, MHD_HEADER_KIND, find_field, &f);
	return f.value;
}

static enum api_method method_of(const char *method)
{
	static const struct {
		const char *name;
		enum api_method method;
	} methods[] = {{"GET", API_GET},
		       {"HEAD", API_GET},
		       {"POST", API_POST},
		       {"PUT", API_PUT},
		       {"DELETE", API_DELETE}};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(method, methods[i].name) == 0) return methods[i].method;
	return API_METHOD_OTHER;
}

static enum api_peer peer_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

	CHECK(info && info->connect_fd >= 0 && info->connect_fd < DESCRIPTORS);
	return (enum api_peer)front.peer_of[info->connect_fd];
}

/* An address comes as a path, or in full, as to a proxy (RFC 9112 section 3.2.2). */
static void split_uri(struct slot *s)
{
	struct api_request *r = &s->request;
	struct str uri = str_from(s->uri);
	const char *mark;

	if (str_starts_nocase(uri, STR("http://"))) {
		r->authority = (struct str){uri.ptr + 7, strcspn(uri.ptr + 7, "/?")};
		uri = str_from(r->authority.ptr + r->authority.len);
	}
	mark = strchr(uri.ptr, '?');
	if (mark) {
		r->query = str_from(mark + 1);
		uri.len = (size_t)(mark - uri.ptr);
	}
	r->path = uri.len > 0 ? uri : STR("/");
}

/* Of these fields one is read, and who stands between us and the client may read another one: where the next
 * request begins (RFC 9112 section 6.3), and who asks. The library refuses other shapes of that trick, but not
 * these. */
static const char *const single_fields[] = {"Content-Length", "Transfer-Encoding", "Host", "Origin",
					    "Sec-Fetch-Site"};
#define SINGLE_FIELDS (sizeof(single_fields) / sizeof(single_fields[0]))

static enum MHD_Result count_field(void *counts, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind, (void)value;
	for (size_t i = 0; i < SINGLE_FIELDS; i++)
		if (str_eq_nocase(str_from(name), str_from(single_fields[i]))) ((unsigned *)counts)[i]++;
	return MHD_YES;
}

static bool has_doubled_field(struct MHD_Connection *c)
{
	unsigned counts[SINGLE_FIELDS] = {0};

	MHD_get_connection_values(c, MHD_HEADER_KIND, count_field, counts);
	for (size_t i = 0; i < SINGLE_FIELDS; i++)
		if (counts[i] > 1) return true;
	return false;
}

/* The head has come. Decides whether the body is wanted. */
static enum MHD_Result head_arrived(struct slot *s, const char *method)
{
	struct api_request *r = &s->request;
	struct str length = field(s->connection, "Content-Length");
	uint64_t bytes = 0;

	s->begun = true;
	line_begin(s->line, true);
	r->peer = peer_of(s->connection);
	r->method = method_of(method);
	r->content_type = field(s->connection, "Content-Type");
	r->host = field(s->connection, "Host");
	r->origin = field(s->connection, "Origin");
	r->fetch_site = field(s->connection, "Sec-Fetch-Site");
	split_uri(s);
	s->refused = api_begin(r) == API_DONE;
	if (has_doubled_field(s->connection)) {
		/* Answered before the body is read: the library closes the connection then. */
		api_refuse(r, 400, "a field that may be there once came twice");
		return send_reply(s);
	}
	if (s->uri_too_long) {
		api_refuse(r, 414, "the address is too long");
		s->refused = true;
	}
	if (length.ptr && str_to_u64(length, UINT64_MAX, &bytes) < 0) bytes = UINT64_MAX;
	if (!s->refused && bytes > r->body_max) {
		api_refuse(r, 413, "the body is larger than allowed");
		s->refused = true;
	}
	/* A client that asks first (Expect: 100-continue), or would send without end, is answered at once. */
	if (s->refused && (bytes > DRAIN_MAX || field(s->connection, "Expect").ptr)) return send_reply(s);
	return MHD_YES;
}

/* Some of the body has come. Leaves *len as it is when memory must be waited for. */
static enum MHD_Result body_arrived(struct slot *s, const char *bytes, size_t *len)
{
	struct api_request *r = &s->request;

	if (!s->refused && r->body_len + *len > r->body_max) {
		r->body_len = 0;
		api_refuse(r, 413, "the body is larger than allowed");
		s->refused = true;
	}
	if (!s->refused && !r->large && r->body_len + *len > API_BODY_SMALL && !large_take(s)) {
		if (!front.refuses_large) {
			large_wait(s);
			return MHD_YES;
		}
		refuse_stopping(s);
	}
	if (s->refused) {
		s->drained += *len;
		*len = 0;
		return s->drained > DRAIN_MAX ? MHD_NO : MHD_YES;
	}
	CHECK(r->body_len + *len <= r->memory_bytes);
	memcpy(r->memory + r->body_len, bytes, *len);
	r->body_len += *len;
	*len = 0;
	return MHD_YES;
}

/* Suspends unless the store has answered already; then false. */
static bool wait_for_store(struct slot *s)
{
	bool wait;

	hal_mutex_lock(&front.mutex);
	wait = s->turn == TURN_HANDED;
	if (wait) {
		s->turn = TURN_WAITING;
		front.at_store++;
		MHD_suspend_connection(s->connection);
	} else {
		s->turn = TURN_FREE;
	}
	hal_mutex_unlock(&front.mutex);
	return wait;
}

static void set_turn(struct slot *s, enum turn turn)
{
	hal_mutex_lock(&front.mutex);
	s->turn = turn;
	hal_mutex_unlock(&front.mutex);
}

static enum MHD_Result go_on(struct slot *s)
{
	for (;;) {
		line_begin(s->line, false);
		/* Under the mutex also because whoever resumed us may still be in api_front_complete. */
		set_turn(s, TURN_HANDED);
		switch (api_handle(&s->request)) {
		case API_PENDING:
			if (wait_for_store(s)) return MHD_YES;
			break;
		case API_MORE_MEMORY:
			if (large_take(s)) break;
			set_turn(s, TURN_FREE);
			if (!front.refuses_large) {
				large_wait(s);
				return MHD_YES;
			}
			refuse_stopping(s);
			return send_reply(s);
		default: set_turn(s, TURN_FREE); return send_reply(s);
		}
	}
}

void api_front_complete(struct api_request *r)
{
	struct slot *s = r->front;
	bool waits;

	hal_mutex_lock(&front.mutex);
	waits = s->turn == TURN_WAITING;
	s->turn = TURN_READY;
	if (waits) {
		front.at_store--;
		MHD_resume_connection(s->connection);
	}
	hal_mutex_unlock(&front.mutex);
}

/* ---- what the library calls ---- */

/* First of all calls for a request: the address as it came, before the library decodes it. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *c)
{
	struct slot *s = slot_take();

	(void)arg;
	/* There are as many slots as connections, and a connection has one request at a time. */
	CHECK(s);
	s->connection = c;
	s->line = line_of(c);
	if (s->line) s->line->slot = s;
	if (str_copy(s->uri, sizeof(s->uri), str_from(uri)) < 0) s->uri_too_long = true;
	return s;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *data_len, void **state)
{
	struct slot *s = *state;

	(void)arg, (void)c, (void)url, (void)version;
	if (!s->begun) return head_arrived(s, method);
	if (*data_len > 0) return body_arrived(s, data, data_len);
	if (s->refused) return send_reply(s);
	return go_on(s);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode how)
{
	struct line *l = line_of(c);

	(void)arg, (void)how;
	if (*state) slot_give_back(*state);
	*state = NULL;
	if (!l) return;
	l->slot = NULL;
	l->answering = false;
	line_begin(l, true);
}

static void on_connection(void *arg, struct MHD_Connection *c, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct line *l = *context;

	(void)arg;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (l) l->connection = NULL;
		*context = NULL;
		return;
	}
	for (unsigned i = 0; i < API_CONNECTIONS; i++) {
		l = &front.lines[i];
		if (l->connection || !info) continue;
		*l = (struct line){.connection = c, .peer = peer_of(c), .descriptor = info->connect_fd};
		line_begin(l, true);
		*context = l;
		return;
	}
}

/* ---- the thread ---- */

/* Whether one more connection of such a peer is let in. The port is anybody's on this device, and so may be the
 * submit socket: what is open of them must leave some for the socket that the administrator uses. And whoever fills
 * one way in, leaves some for the others. */
static bool has_room(enum api_peer peer)
{
	/* So many of the peer and of those that may less. */
	static const unsigned most[] = {[API_PEER_SOCKET] = API_CONNECTIONS,
					[API_PEER_SUBMIT] = API_CONNECTIONS - API_CONNECTIONS / 8,
					[API_PEER_TCP] = API_CONNECTIONS - API_CONNECTIONS / 4};
	/* So many of the peer alone. */
	static const unsigned own[] = {[API_PEER_SOCKET] = API_CONNECTIONS - API_CONNECTIONS / 4,
				       [API_PEER_SUBMIT] = API_CONNECTIONS / 2,
				       [API_PEER_TCP] = API_CONNECTIONS - API_CONNECTIONS / 4};
	unsigned count[API_PEER_TCP + 1], sum = 0;

	memcpy(count, front.fresh, sizeof(count));
	for (unsigned i = 0; i < API_CONNECTIONS; i++)
		if (front.lines[i].connection) count[front.lines[i].peer]++;
	if (count[peer] >= own[peer]) return false;
	for (unsigned p = API_PEER_TCP + 1; p-- > 0;) {
		sum += count[p];
		if (p <= peer && sum >= most[p]) return false;
	}
	return true;
}

static void accept_pause(void)
{
	front.accept_ms = hal_clock_in(ACCEPT_PAUSE_MS);
	if (!front.accepts_nothing)
		log_warn("api", "out of descriptors or memory -> connections wait until others end");
	front.accepts_nothing = true;
}

static void accept_all(unsigned listener)
{
	enum api_peer peer = front.peers[listener];

	for (;;) {
		int fd = hal_local_accept(front.listeners[listener]);

		if (fd == ERR_NO_MEMORY) accept_pause();
		if (fd < 0) return;
		if (fd >= DESCRIPTORS || !has_room(peer)) {
			hal_local_close(fd, NULL);
			continue;
		}
		front.fresh[peer]++;
		front.peer_of[fd] = (unsigned char)peer;
		MHD_add_connection(front.daemon, fd, NULL, 0);
	}
}

static void close_listeners(void)
{
	for (unsigned i = 0; i < front.listener_count; i++)
		hal_local_close(front.listeners[i], front.paths[i]);
	front.listener_count = 0;
}

static bool should_stop(unsigned *busy)
{
	bool stop;

	hal_mutex_lock(&front.mutex);
	stop = front.stop;
	*busy = front.at_store;
	hal_mutex_unlock(&front.mutex);
	return stop;
}

static void accept_ready(uint32_t ready)
{
	front.accept_ms = 0;
	for (unsigned i = 0; i < front.listener_count; i++)
		if (ready & UINT32_C(1) << i) accept_all(i);
	if (ready && front.accept_ms == 0) front.accepts_nothing = false;
}

static void run_once(int64_t wait_ms)
{
	unsigned n = front.listener_count;
	int64_t pause_ms = front.accept_ms - hal_clock_mono_ms();
	unsigned first = pause_ms > 0 ? n : 0; /* in a pause the library only */
	uint64_t due;
	uint32_t ready;

	if (MHD_get_timeout64(front.daemon, &due) == MHD_YES && due < (uint64_t)wait_ms)
		wait_ms = (int64_t)due;
	if (first > 0 && pause_ms < wait_ms) wait_ms = pause_ms;
	front.listeners[n] = MHD_get_daemon_info(front.daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	ready = hal_local_wait(front.listeners + first, n + 1 - first, hal_clock_in(wait_ms));
	if (first == 0) accept_ready(ready & ((UINT32_C(1) << n) - 1));
	lines_watch();
	MHD_run(front.daemon);
	memset(front.fresh, 0, sizeof(front.fresh));
}

/* How many slots hold a request: all the others are free. */
static bool is_idle(void)
{
	unsigned n = 0;

	for (struct slot *s = front.free_slots; s; s = s->next)
		n++;
	return n == API_CONNECTIONS;
}

static void front_thread(void *arg)
{
	int64_t end = HAL_FOREVER;
	unsigned busy;

	(void)arg;
	while (!should_stop(&busy))
		run_once(IDLE_WAIT_MS);
	close_listeners();
	large_refuse_all();
	/* What was begun is answered. A suspended connection must not be closed: those that wait for memory
	 * were refused, and for the others there is no deadline, the store answers always. */
	end = hal_clock_in(STOP_MS);
	while (should_stop(&busy) && (busy > 0 || (!is_idle() && hal_clock_mono_ms() < end)))
		run_once(50);
	MHD_stop_daemon(front.daemon);
}

/* ---- start and stop ---- */

static int listen_local(const char *path, unsigned mode, enum api_peer peer)
{
	unsigned n = front.listener_count;
	char *kept = front.path_text[peer];
	int fd = str_copy(kept, sizeof(front.path_text[0]), str_from(path));

	if (fd == 0) fd = hal_local_listen(kept, mode);
	if (fd < 0) return fd;
	front.listeners[n] = fd;
	front.peers[n] = peer;
	front.paths[n] = kept;
	front.listener_count++;
	return 0;
}

static int listen_tcp(const struct hal_addr *at)
{
	unsigned n = front.listener_count;
	struct hal_addr bound;
	int fd = hal_local_listen_tcp(at, &bound);

	if (fd < 0) return fd;
	front.listeners[n] = fd;
	front.peers[n] = API_PEER_TCP;
	front.paths[n] = NULL;
	front.listener_count++;
	if (front.port == 0) front.port = bound.port;
	return 0;
}

static int listen_all(const struct api_config *config, char *what, size_t what_cap)
{
	char text[64];
	int rc;

	str_copy(what, what_cap, str_from(config->socket_path));
	rc = listen_local(config->socket_path, 0600, API_PEER_SOCKET);
	if (rc == 0 && config->submit_socket_path) {
		str_copy(what, what_cap, str_from(config->submit_socket_path));
		rc = listen_local(config->submit_socket_path, config->submit_socket_mode, API_PEER_SUBMIT);
	}
	for (size_t i = 0; rc == 0 && i < config->listen_count; i++) {
		str_copy(what, what_cap, str_from(hal_addr_text(&config->listen[i], text, sizeof(text))));
		rc = listen_tcp(&config->listen[i]);
	}
	return rc;
}

static struct MHD_Daemon *start_daemon(void)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL,
		NULL, on_request, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)API_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1, MHD_OPTION_END);
}

int api_front_start(const struct api_config *config, char *what, size_t what_cap)
{
	char ignored[SOCKET_PATH_MAX];
	int rc;

	memset(&front, 0, sizeof(front));
	hal_mutex_init(&front.mutex);
	front.small_memory = config->memory;
	front.large_memory = front.small_memory + (size_t)API_CONNECTIONS * API_MEMORY_SMALL;
	front.large_bytes = API_MEMORY_LARGE(config->job_bytes);
	for (unsigned i = API_CONNECTIONS; i-- > 0;) {
		front.slots[i].next = front.free_slots;
		front.free_slots = &front.slots[i];
	}
	rc = listen_all(config, what ? what : ignored, what ? what_cap : sizeof(ignored));
	if (rc == 0) {
		front.daemon = start_daemon();
		rc = front.daemon ? 0 : ERR_NO_MEMORY;
	}
	if (rc == 0) {
		rc = hal_thread_start(&front.thread, "http", THREAD_STACK, front_thread, NULL);
		if (rc < 0) MHD_stop_daemon(front.daemon);
	}
	if (rc < 0) close_listeners();
	front.running = rc == 0;
	return rc;
}

/* The thread sleeps until a descriptor is ready: a connection to ourselves is one. */
static void wake_thread(void)
{
	struct hal_socket s;

	if (hal_local_connect(&s, front.path_text[API_PEER_SOCKET], hal_clock_in(1000)) == 0)
		hal_stream_close(&s.stream);
}

void api_front_stop(void)
{
	if (!front.running) return;
	hal_mutex_lock(&front.mutex);
	front.stop = true;
	hal_mutex_unlock(&front.mutex);
	wake_thread();
	hal_thread_join(&front.thread);
	hal_mutex_close(&front.mutex);
	front.running = false;
}

uint16_t api_front_port(void)
{
	return front.port;
}
