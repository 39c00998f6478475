/* The seam between the routes (api_begin, api_handle: routes.c) and a front, which knows the transport
 * (api_front_*).
 *
 * A request's life, all of it on the front's thread: the front reads the head, calls api_begin, reads the
 * body into the memory of the request, calls api_handle, and sends the reply when that returns API_DONE. When
 * api_handle returns API_PENDING the front leaves the request alone until api_front_complete(r) was called,
 * on whatever thread, and then calls api_handle again. With API_MORE_MEMORY it calls api_handle again when it
 * has given the request larger memory and moved the body there.
 */
#ifndef POSTERN_API_API_FRONT_H
#define POSTERN_API_API_FRONT_H

#include "api/api.h"
#include "base/arena.h"
#include "base/limits.h"

enum api_method { API_GET, API_POST, API_PUT, API_DELETE, API_METHOD_OTHER }; /* a HEAD comes as GET */

/* Each may less than the one before. */
enum api_peer {
	API_PEER_SOCKET, /* the Unix socket: everything */
	API_PEER_SUBMIT, /* the submit socket: submission only */
	API_PEER_TCP     /* loopback */
};

enum { API_DONE = 0, API_PENDING = 1, API_MORE_MEMORY = 2 };

/* Memory of a request: body, then what the routes need. One small for each connection, a few large. */
#define API_MEMORY_SMALL            LIMIT_api_request_bytes
#define API_MEMORY_LARGE(job_bytes) (2 * (job_bytes) + 512 * 1024)
#define API_CONNECTIONS             LIMIT_api_connections
#define API_LARGE_COUNT             LIMIT_api_large_requests
#define API_BODY_SMALL              (12 * 1024) /* a longer body goes into large memory at once */
#define API_URI_MAX                 2048
#define API_FIELD_MAX               256

struct api_route;

struct api_request {
	/* by the front, before api_begin; strings stay until the reply was sent */
	enum api_peer peer;
	enum api_method method;
	struct str path;                                   /* as it came, still %-encoded, begins with '/' */
	struct str query;                                  /* behind the '?', as it came; absent: none */
	struct str content_type, host, origin, fetch_site; /* absent: no such field */
	struct str authority; /* of an address that came with one, http://authority/path; else absent */
	/* by the front, before api_handle */
	char *memory;
	size_t memory_bytes;
	size_t body_len; /* body is memory[0 .. body_len) */
	bool large;      /* memory is large: API_MORE_MEMORY will not be granted */
	void *front;     /* the front's own */
	/* by api_begin */
	size_t body_max; /* a longer one is drained and answered with 413 */
	/* the routes' own */
	const struct api_route *route;
	struct arena arena; /* of what memory there is behind the body */
	int (*step)(struct api_request *r);
	void *state;
	/* the reply */
	int status;
	const char *type;
	const char *allow;      /* field of a 405, else NULL */
	unsigned retry_after_s; /* field, when not 0 */
	struct buf reply;
};

/* ---- the routes ---- */

/* Looks at the head: finds the route, judges rights. API_DONE: the reply is ready (a refusal) and lies in
 * static or in the request's own memory; the front drains the body before it sends it. API_PENDING: go on
 * with the body. Needs memory already (small will do). */
int api_begin(struct api_request *r);

/* See above. */
int api_handle(struct api_request *r);

/* Fills in an error reply: {"success":false,"error":...}. Returns API_DONE. */
int api_refuse(struct api_request *r, int status, const char *error);

/* ---- the front ---- */

int api_front_start(const struct api_config *config, char *what, size_t what_cap);
void api_front_stop(void);
uint16_t api_front_port(void);
void api_front_complete(struct api_request *r);
/* The nth field of that name in the request's head, from 0; absent when there are fewer. On the front's thread; stays
 * until the reply was sent. */
struct str api_front_field(struct api_request *r, const char *name, unsigned n);

#endif
