/* provider_kit: a gateway's middle - storage, store, settings, workers - inside a boot of the simulator, for
 * the tests of provider/ and of what stands on it. One at a time. */
#ifndef POSTERN_TEST_PROVIDER_KIT_H
#define POSTERN_TEST_PROVIDER_KIT_H

#include "provider/provider.h"
#include "settings/settings.h"
#include "store/store.h"

struct provider_kit {
	struct store *store;
	struct provider_pool *pool;
	struct settings settings;
};

/* ini: the text of a configuration; asserts that all goes well. */
void provider_kit_start(struct provider_kit *k, const char *ini);
/* The settings only. */
void provider_kit_load(struct provider_kit *k, const char *ini);
void provider_kit_reload(struct provider_kit *k, const char *ini);
/* Stops the workers within ms, then the store. */
void provider_kit_stop(struct provider_kit *k, int64_t ms);

/* Hands in a job as the intake does; provider NULL: none named. to: JSON of the recipients' members. Returns
 * its id, or the error of provider_judge with *problem. */
int64_t provider_kit_submit(struct provider_kit *k, const char *message_id, const char *provider,
			    const char *to, size_t body_bytes, struct job_problem *problem);
/* The usual: one recipient "r@example.com", a short body. */
int64_t provider_kit_mail(struct provider_kit *k, const char *message_id, const char *provider);

struct store_job provider_kit_job(struct provider_kit *k, int64_t id);
/* Waits in virtual time until the job has that state (and, when reason is not NONE, that reason); asserts
 * that it comes within ms. */
struct store_job provider_kit_await(struct provider_kit *k, int64_t id, enum job_state state,
				    enum job_reason reason, int64_t ms);
struct provider_status provider_kit_status(struct provider_kit *k, const char *name);
/* The n-th event (from 0) of a job as JSON; "" when there is none. */
const char *provider_kit_event(struct provider_kit *k, int64_t id, unsigned n);

/* Runs fn as a boot of five seeded worlds, from hardly to often preempted, each within two days of virtual time;
 * asserts that it finishes, and prints the log when not. */
void provider_kit_boot(void (*fn)(void *arg));
/* A test of that name: NAME_boot in each of those worlds. */
#define PROVIDER_KIT_BOOT(name)                                                                              \
	static void name(void **state)                                                                       \
	{                                                                                                    \
		(void)state;                                                                                 \
		provider_kit_boot(name##_boot);                                                              \
	}

/* Asserts that text has that part. */
void provider_kit_expect_in(const char *text, const char *part);

#endif
