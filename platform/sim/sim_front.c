#include "sim/sim_front.h"

#include <string.h>

#include "api/api_front.h"
#include "base/check.h"
#include "base/err.h"
#include "hal_clock.h"
#include "hal_thread.h"

#define CLIENTS 32

enum stage { STAGE_FREE, STAGE_NEW, STAGE_STORE, STAGE_READY, STAGE_LARGE, STAGE_DONE };

struct client {
	struct api_request request;
	struct sim_http_request *asked;
	enum stage stage;
	int large; /* index, or -1 */
	int status;
};

static struct {
	bool up, stop;
	struct hal_thread thread;
	struct hal_mutex mutex;
	struct hal_cond changed;
	struct client clients[CLIENTS];
	char *small_memory, *large_memory;
	size_t large_bytes;
	bool large_taken[API_LARGE_COUNT];
} front;

static struct str opt(const char *s)
{
	return str_from(s);
}

static enum api_method method_of(const char *m)
{
	if (strcmp(m, "GET") == 0 || strcmp(m, "HEAD") == 0) return API_GET;
	return strcmp(m, "POST") == 0     ? API_POST
	       : strcmp(m, "PUT") == 0    ? API_PUT
	       : strcmp(m, "DELETE") == 0 ? API_DELETE
					  : API_METHOD_OTHER;
}

static bool large_take(struct client *c)
{
	struct api_request *r = &c->request;

	for (int i = 0; i < API_LARGE_COUNT; i++) {
		if (front.large_taken[i]) continue;
		front.large_taken[i] = true;
		c->large = i;
		memcpy(front.large_memory + (size_t)i * front.large_bytes, r->memory, r->body_len);
		r->memory = front.large_memory + (size_t)i * front.large_bytes;
		r->memory_bytes = front.large_bytes;
		r->large = true;
		return true;
	}
	return false;
}

/* The head, then the body in one piece. Returns as api_handle. */
static int begin(struct client *c)
{
	struct api_request *r = &c->request;
	const struct sim_http_request *q = c->asked;
	const char *mark = strchr(q->path, '?');

	memset(r, 0, sizeof(*r));
	r->memory = front.small_memory + (size_t)(c - front.clients) * API_MEMORY_SMALL;
	r->memory_bytes = API_MEMORY_SMALL;
	r->front = c;
	c->large = -1;
	r->peer = (enum api_peer)q->peer;
	r->method = method_of(q->method);
	r->path = str_from(q->path);
	if (mark) {
		r->path.len = (size_t)(mark - q->path);
		r->query = str_from(mark + 1);
	}
	r->content_type = opt(q->content_type);
	r->host = opt(q->host);
	r->origin = opt(q->origin);
	r->fetch_site = opt(q->fetch_site);
	if (api_begin(r) == API_DONE) return API_DONE;
	if (q->body_len > r->body_max) return api_refuse(r, 413, "the body is larger than allowed");
	return API_PENDING;
}

static int read_body(struct client *c)
{
	const struct sim_http_request *q = c->asked;
	struct api_request *r = &c->request;

	if (q->body_len > API_BODY_SMALL && !r->large && !large_take(c)) return API_MORE_MEMORY;
	if (q->body_len > 0) memcpy(r->memory, q->body, q->body_len);
	r->body_len = q->body_len;
	return API_PENDING;
}

/* One turn of a request, without the mutex. */
static int turn(struct client *c, enum stage stage)
{
	int rc = API_PENDING;

	if (stage == STAGE_NEW) {
		rc = begin(c);
		if (rc == API_DONE) return rc;
	}
	if (stage == STAGE_NEW || (stage == STAGE_LARGE && c->request.body_len < c->asked->body_len)) {
		rc = read_body(c);
		if (rc == API_MORE_MEMORY) return rc;
	}
	for (;;) {
		rc = api_handle(&c->request);
		if (rc != API_MORE_MEMORY || !large_take(c)) return rc;
	}
}

static void handle(struct client *c)
{
	enum stage stage = c->stage;
	int rc;

	c->stage = STAGE_STORE;
	hal_mutex_unlock(&front.mutex);
	rc = turn(c, stage);
	hal_mutex_lock(&front.mutex);
	if (rc == API_DONE) {
		c->status = c->request.status;
		c->stage = STAGE_DONE;
	} else if (rc == API_MORE_MEMORY) {
		c->stage = STAGE_LARGE;
	}
	hal_cond_broadcast(&front.changed);
}

static struct client *next_client(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &front.clients[i];

		if (c->stage == STAGE_NEW || c->stage == STAGE_READY) return c;
		if (c->stage == STAGE_LARGE)
			for (int k = 0; k < API_LARGE_COUNT; k++)
				if (!front.large_taken[k]) return c;
	}
	return NULL;
}

static bool is_busy(void)
{
	for (int i = 0; i < CLIENTS; i++)
		if (front.clients[i].stage != STAGE_FREE && front.clients[i].stage != STAGE_DONE) return true;
	return false;
}

static void front_thread(void *arg)
{
	(void)arg;
	hal_mutex_lock(&front.mutex);
	for (;;) {
		struct client *c = next_client();

		if (c)
			handle(c);
		else if (front.stop && !is_busy())
			break;
		else
			hal_cond_wait(&front.changed, &front.mutex, HAL_FOREVER);
	}
	hal_mutex_unlock(&front.mutex);
}

void api_front_complete(struct api_request *r)
{
	struct client *c = r->front;

	hal_mutex_lock(&front.mutex);
	c->stage = STAGE_READY;
	hal_cond_broadcast(&front.changed);
	hal_mutex_unlock(&front.mutex);
}

int api_front_start(const struct api_config *config, char *what, size_t what_cap)
{
	int rc;

	(void)what;
	(void)what_cap;
	memset(&front, 0, sizeof(front));
	hal_mutex_init(&front.mutex);
	hal_cond_init(&front.changed);
	front.small_memory = config->memory;
	front.large_memory = front.small_memory + (size_t)API_CONNECTIONS * API_MEMORY_SMALL;
	front.large_bytes = API_MEMORY_LARGE(config->job_bytes);
	rc = hal_thread_start(&front.thread, "http", 64 * 1024, front_thread, NULL);
	front.up = rc == 0;
	return rc;
}

void api_front_stop(void)
{
	hal_mutex_lock(&front.mutex);
	front.stop = true;
	hal_cond_broadcast(&front.changed);
	hal_mutex_unlock(&front.mutex);
	hal_thread_join(&front.thread);
	hal_mutex_lock(&front.mutex);
	front.up = false;
	hal_mutex_unlock(&front.mutex);
}

struct str api_front_field(struct api_request *r, const char *name, unsigned n)
{
	const char *line = ((struct client *)r->front)->asked->fields, *end;
	size_t len = strlen(name);

	for (; line && *line; line = *end ? end + 1 : end) {
		end = line + strcspn(line, "\n");
		if ((size_t)(end - line) <= len || line[len] != ':' ||
		    !str_eq_nocase((struct str){line, len}, str_from(name)) || n-- > 0)
			continue;
		return str_trim((struct str){line + len + 1, (size_t)(end - line) - len - 1});
	}
	return (struct str){0};
}

uint16_t api_front_port(void)
{
	return 0;
}

/* ---- the clients' side ---- */

static struct client *client_take(void)
{
	for (;;) {
		for (int i = 0; i < CLIENTS; i++)
			if (front.clients[i].stage == STAGE_FREE) return &front.clients[i];
		hal_cond_wait(&front.changed, &front.mutex, HAL_FOREVER);
	}
}

static int copy_reply(struct client *c, char *reply, size_t reply_cap)
{
	const struct api_request *r = &c->request;

	c->asked->allow = r->allow;
	c->asked->retry_after_s = r->retry_after_s;
	CHECK(!r->reply.cut);
	if (str_copy(reply, reply_cap, buf_view(&r->reply)) < 0) return ERR_TOO_LARGE;
	return c->status;
}

int sim_http_full(struct sim_http_request *request, char *reply, size_t reply_cap)
{
	struct client *c;
	int rc;

	reply[0] = '\0';
	if (!front.up) return ERR_NO_GATEWAY;
	hal_mutex_lock(&front.mutex);
	if (front.stop) {
		hal_mutex_unlock(&front.mutex);
		return ERR_NO_GATEWAY;
	}
	c = client_take();
	c->asked = request;
	c->stage = STAGE_NEW;
	hal_cond_broadcast(&front.changed);
	while (c->stage != STAGE_DONE)
		hal_cond_wait(&front.changed, &front.mutex, HAL_FOREVER);
	rc = copy_reply(c, reply, reply_cap);
	if (c->large >= 0) front.large_taken[c->large] = false;
	c->stage = STAGE_FREE;
	hal_cond_broadcast(&front.changed);
	hal_mutex_unlock(&front.mutex);
	return rc;
}

int sim_http(const char *method, const char *path, const char *body, char *reply, size_t reply_cap)
{
	struct sim_http_request request = {.method = method,
					   .path = path,
					   .body = body,
					   .body_len = body ? strlen(body) : 0,
					   .peer = API_PEER_SOCKET};

	return sim_http_full(&request, reply, reply_cap);
}
