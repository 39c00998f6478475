#include "api/routes.h"

#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/timefmt.h"
#include "hal_clock.h"
#include "hal_thread.h"

/* Bodies of requests that carry no job. */
#define BODY_MAX_OTHER (64 * 1024)

struct api_route {
	enum api_method method;
	const char *path; /* "{}" stands for a number */
	int (*handle)(struct api_request *r);
	bool submit; /* also on the submit socket */
	bool job;    /* the body is as long as jobs may be */
};

static const struct api_route routes[] = {
	{API_POST, "/api/emails", api_emails_submit, true, true},
	{API_GET, "/api/emails", api_emails_list, false, false},
	{API_POST, "/api/emails/requeue", api_emails_requeue_many, false, false},
	{API_GET, "/api/emails/{}", api_emails_show, false, false},
	{API_POST, "/api/emails/{}/requeue", api_emails_requeue, false, false},
	{API_POST, "/api/emails/{}/cancel", api_emails_cancel, false, false},
	{API_GET, "/api/results", api_results, false, false},
	{API_GET, "/api/status", api_status, false, false},
	{API_GET, "/api/health", api_health, false, false},
	{API_GET, "/api/rabbitmq/status", api_broker_status, false, false},
	{API_GET, "/healthz", api_alive, true, false},
	{API_GET, "/readyz", api_ready, true, false},
};

static struct {
	struct hal_mutex mutex;
	struct api_config config;
	int64_t started_ms;
	bool stopping;
} api;

/* ---- life ---- */

size_t api_memory_bytes(size_t job_bytes)
{
	return (size_t)API_CONNECTIONS * API_MEMORY_SMALL +
	       API_LARGE_COUNT * (size_t)API_MEMORY_LARGE(job_bytes);
}

int api_start(const struct api_config *config, char *what, size_t what_cap)
{
	hal_mutex_init(&api.mutex);
	api.config = *config;
	api.started_ms = hal_clock_wall_ms(NULL);
	api.stopping = false;
	for (size_t i = 0; i < config->listen_count; i++) {
		if (!hal_addr_is_loopback(&config->listen[i])) {
			char text[64];

			str_copy(what, what_cap,
				 str_from(hal_addr_text(&config->listen[i], text, sizeof(text))));
			return ERR_INVALID;
		}
	}
	return api_front_start(config, what, what_cap);
}

void api_stopping(void)
{
	hal_mutex_lock(&api.mutex);
	api.stopping = true;
	hal_mutex_unlock(&api.mutex);
}

void api_stop(void)
{
	api_stopping();
	api_front_stop();
	hal_mutex_close(&api.mutex);
}

uint16_t api_port(void)
{
	return api_front_port();
}

void api_reconfigure(const struct api_config *config)
{
	hal_mutex_lock(&api.mutex);
	memcpy(api.config.name, config->name, sizeof(api.config.name));
	if (config->job_bytes < api.config.job_bytes) api.config.job_bytes = config->job_bytes;
	api.config.retry_max = config->retry_max;
	api.config.rss_limit_bytes = config->rss_limit_bytes;
	hal_mutex_unlock(&api.mutex);
}

struct api_config api_config_now(void)
{
	struct api_config config;

	hal_mutex_lock(&api.mutex);
	config = api.config;
	hal_mutex_unlock(&api.mutex);
	return config;
}

bool api_is_stopping(void)
{
	bool stopping;

	hal_mutex_lock(&api.mutex);
	stopping = api.stopping;
	hal_mutex_unlock(&api.mutex);
	return stopping;
}

int64_t api_started_ms(void)
{
	return api.started_ms;
}

/* ---- one request ---- */

static void op_done(struct store_op *op)
{
	api_front_complete(op->arg);
}

int api_store(struct api_request *r, struct store_op *op, int (*step)(struct api_request *r))
{
	r->step = step;
	op->arg = r;
	op->done = op_done;
	store_submit(api.config.store, op);
	return API_PENDING;
}

/* The body stays where it is; what lies behind it is given out. */
void api_memory_begin(struct api_request *r)
{
	size_t used = (r->body_len + 15) & ~(size_t)15;

	arena_init(&r->arena, r->memory + used, r->memory_bytes - used);
	r->state = NULL;
	r->retry_after_s = 0;
	r->type = "application/json";
}

void *api_take(struct api_request *r, size_t bytes)
{
	return arena_take(&r->arena, bytes);
}

int api_no_memory(struct api_request *r)
{
	if (!r->large) return API_MORE_MEMORY;
	r->retry_after_s = 1;
	return api_refuse(r, 503, "no memory for this request");
}

void api_reply_begin(struct api_request *r, int status)
{
	r->status = status;
	buf_init(&r->reply, r->arena.ptr + r->arena.used, r->arena.cap - r->arena.used);
	r->arena.used = r->arena.cap;
}

int api_refuse_at(struct api_request *r, int status, const char *error, const char *pointer)
{
	/* What the request had taken before is of no use any more; not so the body, which error may point
	 * into. */
	arena_reset(&r->arena);
	api_reply_begin(r, status);
	api_put_open(&r->reply, NULL, '{');
	api_put_bool(&r->reply, "success", false);
	api_put_str(&r->reply, "error", str_from(error));
	if (pointer) api_put_str(&r->reply, "pointer", str_from(pointer));
	api_put_close(&r->reply, '}');
	return API_DONE;
}

int api_refuse(struct api_request *r, int status, const char *error)
{
	return api_refuse_at(r, status, error, NULL);
}

int api_refuse_err(struct api_request *r, int err)
{
	int status = 500;

	switch (err) {
	case ERR_NOT_FOUND: status = 404; break;
	case ERR_CONFLICT:
	case ERR_STATE: status = 409; break;
	case ERR_TOO_LARGE: status = 413; break;
	case ERR_FULL:
	case ERR_NO_SPACE: status = 507; break;
	default:
		if (err == ERR_BUSY || err_class(err) == ERR_CLASS_WAIT) {
			status = 503;
			r->retry_after_s = 1;
		}
	}
	return api_refuse(r, status, err_text(err));
}

/* ---- finding the route ---- */

/* Whether a path has the shape of a route's: "{}" matches a positive number of at most 18 digits. */
static bool path_matches(struct str path, const char *pattern)
{
	size_t i = 0;

	while (*pattern) {
		if (pattern[0] == '{') {
			size_t digits = 0;

			while (i + digits < path.len && path.ptr[i + digits] >= '0' &&
			       path.ptr[i + digits] <= '9')
				digits++;
			if (digits == 0 || digits > 18) return false;
			i += digits;
			pattern += 2;
		} else if (i >= path.len || path.ptr[i++] != *pattern++) {
			return false;
		}
	}
	return i == path.len;
}

int64_t api_path_id(const struct api_request *r)
{
	int64_t id = 0;

	for (size_t i = 0; i < r->path.len; i++)
		if (r->path.ptr[i] >= '0' && r->path.ptr[i] <= '9') id = id * 10 + (r->path.ptr[i] - '0');
	return id;
}

static const char *allow_of(struct str path)
{
	bool get = false, post = false;

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!path_matches(path, routes[i].path)) continue;
		get |= routes[i].method == API_GET;
		post |= routes[i].method == API_POST;
	}
	return get && post ? "GET, HEAD, POST" : get ? "GET, HEAD" : post ? "POST" : NULL;
}

static int find_route(struct api_request *r)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (routes[i].method == r->method && path_matches(r->path, routes[i].path)) {
			r->route = &routes[i];
			return 0;
		}
	}
	r->allow = allow_of(r->path);
	if (r->allow)
		api_refuse(r, 405, "this path knows other methods only, see Allow");
	else
		api_refuse(r, 404, "there is nothing at this path");
	return -1;
}

/* ---- who may ---- */

/* Nothing, or a colon and a port. */
static bool is_port(struct str s)
{
	uint64_t port;

	return s.len == 0 || (s.ptr[0] == ':' && s.len <= 6 &&
			      str_to_u64((struct str){s.ptr + 1, s.len - 1}, UINT16_MAX, &port) == 0);
}

/* Of "host", "host:port", "[address]" and "[address]:port" the host; empty when it is none of them. */
static struct str host_of(struct str authority)
{
	bool bracket = authority.len > 0 && authority.ptr[0] == '[';
	const char *end = memchr(authority.ptr, bracket ? ']' : ':', authority.len);
	struct str host = authority, port = {0};

	if (bracket) {
		if (!end) return STR("");
		host = (struct str){authority.ptr + 1, (size_t)(end - authority.ptr) - 1};
		/* Only an IPv6 address stands in brackets. */
		if (!memchr(host.ptr, ':', host.len)) return STR("");
		end++;
	} else if (end) {
		host.len = (size_t)(end - authority.ptr);
	}
	if (end) port = (struct str){end, authority.len - (size_t)(end - authority.ptr)};
	return is_port(port) ? host : STR("");
}

/* A Host field names the loopback when it does so without asking DNS: an address or localhost. */
static bool host_is_loopback(struct str authority)
{
	struct str host = host_of(authority);
	struct hal_addr addr;
	char text[64];

	if (str_eq_nocase(host, STR("localhost"))) return true;
	return str_copy(text, sizeof(text), host) == 0 && hal_addr_parse(text, 0, &addr) == 0 &&
	       hal_addr_is_loopback(&addr);
}

/* Browsers name the page that a request comes from: only a page that came from here itself may ask. */
static bool origin_is_own(const struct api_request *r)
{
	struct str origin = r->origin;

	if (r->fetch_site.ptr && !str_eq(r->fetch_site, STR("same-origin")) &&
	    !str_eq(r->fetch_site, STR("none")))
		return false;
	if (!origin.ptr) return true;
	if (!str_starts_nocase(origin, STR("http://"))) return false;
	origin.ptr += 7;
	origin.len -= 7;
	return str_eq_nocase(origin, r->authority.ptr ? r->authority : r->host);
}

static int judge_peer(struct api_request *r)
{
	switch (r->peer) {
	case API_PEER_SOCKET: return 0;
	case API_PEER_SUBMIT:
		if (r->route->submit) return 0;
		api_refuse(r, 403, "this socket takes submissions only");
		return -1;
	case API_PEER_TCP: break;
	}
	if ((r->host.ptr && !host_is_loopback(r->host)) ||
	    (r->authority.ptr && !host_is_loopback(r->authority))) {
		api_refuse(r, 403, "the Host field, or the address, does not name a loopback address");
		return -1;
	}
	if (!origin_is_own(r)) {
		api_refuse(r, 403, "a page of another site may not ask");
		return -1;
	}
	return 0;
}

/* ---- the two calls of the front ---- */

int api_begin(struct api_request *r)
{
	struct api_config config = api_config_now();

	r->body_len = 0;
	r->body_max = 0;
	r->step = NULL;
	r->route = NULL;
	r->allow = NULL;
	api_memory_begin(r);
	if (find_route(r) < 0 || judge_peer(r) < 0) return API_DONE;
	if (r->route->method == API_POST) r->body_max = r->route->job ? config.job_bytes : BODY_MAX_OTHER;
	if (api_is_stopping() && r->route->handle != api_alive && r->route->handle != api_ready) {
		r->retry_after_s = 5;
		return api_refuse(r, 503, "the gateway is stopping");
	}
	return API_PENDING;
}

int api_handle(struct api_request *r)
{
	int rc;

	if (!r->step) {
		api_memory_begin(r);
		rc = r->route->handle(r);
	} else {
		rc = r->step(r);
	}
	if (rc == API_DONE && r->reply.cut) {
		if (r->method == API_GET && !r->large)
			rc = API_MORE_MEMORY;
		else
			rc = api_refuse(r, 500, "the answer is too long");
	}
	if (rc == API_MORE_MEMORY) r->step = NULL;
	return rc;
}

/* ---- JSON ---- */

static void put_name(struct buf *b, const char *name)
{
	/* A structure's bracket is the only thing that ends in one of these: strings end in a quote. */
	if (b->len > 0 && b->ptr[b->len - 1] != '{' && b->ptr[b->len - 1] != '[') buf_puts(b, ",");
	if (name) {
		buf_puts(b, "\"");
		buf_puts(b, name);
		buf_puts(b, "\":");
	}
}

void api_put_open(struct buf *b, const char *name, char bracket)
{
	put_name(b, name);
	buf_add(b, &bracket, 1);
}

void api_put_close(struct buf *b, char bracket)
{
	buf_add(b, &bracket, 1);
}

void api_put_str(struct buf *b, const char *name, struct str s)
{
	put_name(b, name);
	buf_puts(b, "\"");
	buf_json(b, s);
	buf_puts(b, "\"");
}

void api_put_text(struct buf *b, const char *name, const char *s)
{
	if (s && *s)
		api_put_str(b, name, str_from(s));
	else
		api_put_raw(b, name, STR("null"));
}

void api_put_int(struct buf *b, const char *name, int64_t v)
{
	put_name(b, name);
	buf_printf(b, "%lld", (long long)v);
}

void api_put_bool(struct buf *b, const char *name, bool v)
{
	api_put_raw(b, name, v ? STR("true") : STR("false"));
}

void api_put_time(struct buf *b, const char *name, int64_t unix_ms)
{
	if (unix_ms <= 0) {
		api_put_raw(b, name, STR("null"));
		return;
	}
	put_name(b, name);
	buf_puts(b, "\"");
	timefmt_rfc3339(b, unix_ms, true);
	buf_puts(b, "\"");
}

void api_put_raw(struct buf *b, const char *name, struct str json)
{
	put_name(b, name);
	buf_str(b, json);
}
