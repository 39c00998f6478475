/* platform/sim/sim_front: HTTP without sockets: the API's front for the simulator.
 *
 * Implements the front half of api/api_front.h, so a test that links it before the rooms has the whole
 * firmware but libmicrohttpd. A simulated client calls sim_http on its own thread; any number may do so at
 * once (a few dozen). The routes run on a thread of this front, one request after the other, as in the real
 * one; a request that waits for the store does not keep the others.
 */
#ifndef POSTERN_PLATFORM_SIM_FRONT_H
#define POSTERN_PLATFORM_SIM_FRONT_H

#include <stddef.h>

/* One request over the Unix socket: returns the status (200, ...), the body in reply, NUL-terminated. body
 * may be NULL. Errors: ERR_NO_GATEWAY (not started, or stopped meanwhile), ERR_TOO_LARGE (reply_cap). */
int sim_http(const char *method, const char *path, const char *body, char *reply, size_t reply_cap);

/* The same with all that a front can tell. NULL: absent. */
struct sim_http_request {
	const char *method, *path, *content_type, *host, *origin, *fetch_site;
	const char *fields; /* further ones: "Name: value\nName: value" */
	const char *body;
	size_t body_len;
	int peer; /* enum api_peer */
	/* answers */
	const char *allow;
	unsigned retry_after_s;
};
int sim_http_full(struct sim_http_request *request, char *reply, size_t reply_cap);

#endif
