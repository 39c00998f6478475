/* gateway_kit: the whole firmware, from app down, in a boot of the simulator, with HTTP clients beside it. */
#ifndef POSTERN_TEST_GATEWAY_KIT_H
#define POSTERN_TEST_GATEWAY_KIT_H

#include "sim/sim.h"
#include "sim/sim_front.h"

/* Maildir in the storage root, fast retries. */
#define GATEWAY_KIT_INI                                                                                      \
	"[gateway]\ndata_dir = data\n[provider.default]\ntype = maildir\npath = /mail\nfrom = "              \
	"gw@example.com\n"

/* Boots, runs app_run with this INI on the first thread and client(arg) on another as soon as the gateway is
 * ready, stops the gateway when client returns. Asserts that the boot ends well and app_run with `exit_code`.
 */
void gateway_kit_run(const char *ini, void (*client)(void *arg), void *arg, int exit_code);

/* The same in a world of the test's own making; says how the boot ended instead of asserting that it ended
 * well. */
struct sim_result gateway_kit_boot(const struct sim_config *config, const char *ini,
				   void (*client)(void *arg), void *arg, int exit_code);

/* When app_run of the last boot returned, in that boot's monotonic ms. */
int64_t gateway_kit_ended_ms(void);

/* From a client: the INI that the next reload reads. */
void gateway_kit_ini(const char *ini);

/* sim_http with a static reply; the status. */
int gateway_kit_http(const char *method, const char *path, const char *body);
extern char gateway_kit_reply[1 << 20];

/* Posts a job, asserts that it is taken; its id. */
int64_t gateway_kit_post(const char *job);
/* Waits until the job is in that state; asserts that it comes within ms. The reply is left in
 * gateway_kit_reply. */
void gateway_kit_await(int64_t id, const char *state, int64_t ms);

#endif
