/* api: the HTTP API, on loopback TCP and on the Unix sockets; the CLI speaks it too.
 *
 * Two halves. The routes (routes.c, emails.c, status.c) know requests and the store, not sockets. The front
 * (front_mhd.c, the sole includer of libmicrohttpd; platform/sim has another) knows sockets, not routes.
 * api_front.h is the seam.
 *
 * One HTTP thread serves all connections. A request that needs the store hands it an operation and is
 * suspended; the store's thread resumes it. So any number of submissions share one commit, and no thread
 * waits for the flash.
 *
 * Who may what: on the Unix socket its file mode is the key to everything; on the submit socket only POST
 * /api/emails is answered. TCP is loopback only in this version and asks for no token: whoever can run
 * programs on the device can use it. A browser on the device is not trusted with that: a request with an
 * Origin or Sec-Fetch-Site of another site, or whose Host is not a loopback name (DNS rebinding), is refused
 * with 403.
 *
 * Called by app only: start after the store and the workers, stop before them.
 */
#ifndef POSTERN_API_API_H
#define POSTERN_API_API_H

#include "hal_addr.h"
#include "provider/provider.h"
#include "store/store.h"

#define API_LISTEN_MAX 4

struct api_config {
	struct store *store;
	struct provider_pool *pool;
	char name[256];     /* [gateway] name */
	bool broker_amqp;   /* [broker] mode */
	size_t job_bytes;   /* [limits] job_bytes: longest body; a reload may lower it, memory is as it was at
			       start */
	void *memory;       /* api_memory_bytes of it, untouched by others until api_stop returned */
	unsigned retry_max; /* [retry] max, shown */
	int64_t rss_limit_bytes;                /* 0: none */
	const char *socket_path;                /* full path */
	const char *submit_socket_path;         /* full path; NULL: none */
	unsigned submit_socket_mode;            /* 0600, 0660 or 0666 */
	struct hal_addr listen[API_LISTEN_MAX]; /* port 0: any, see api_port */
	size_t listen_count;
};

/* Bytes for the requests under way: most of it stays untouched until large jobs come in. */
size_t api_memory_bytes(size_t job_bytes);

/* Starts to listen and to answer.
 * Errors: ERR_BUSY (a live gateway on a socket, or the port is taken), ERR_DENIED, ERR_INVALID (an address
 * that is not loopback), ERR_NO_MEMORY. *what (may be NULL) gets the socket or address that failed. */
int api_start(const struct api_config *config, char *what, size_t what_cap);

/* From now on every new request gets 503 and /readyz says so. */
void api_stopping(void);

/* Stops listening, answers what was begun, ends the thread. The store must still answer. */
void api_stop(void);

/* Port of the first TCP listener, 0 if none (tests listen on port 0). */
uint16_t api_port(void);

/* New values after a reload; sockets and addresses stay as they were at start. */
void api_reconfigure(const struct api_config *config);

#endif
