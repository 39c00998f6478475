/* store_kit: jobs, and the store's operations as one call each, for the tests of the store and of what stands
 * on it. */
#ifndef POSTERN_TEST_STORE_KIT_H
#define POSTERN_TEST_STORE_KIT_H

#include "store/store.h"

#define KIT_DAY_MS (INT64_C(86400000))

/* Generous and without surprises. */
struct store_config kit_config(void);

/* The storage of a test and the store on it, and their end; *s may be NULL there, for a test that has closed it
 * itself. */
void kit_store_open(const struct store_config *config, struct store **s);
void kit_store_close(struct store **s);
void kit_store_reopen(const struct store_config *config, struct store **s);
/* What another program would do to the database: the store is closed. */
void kit_store_sql(const char *sql);

/* A job to n recipients r0@example.com ... of tenant "t"; its original is src_len bytes made from the message
 * id. */
struct kit_job {
	struct job job;
	struct job_rcpt rcpts[STORE_RCPT_MAX];
	char addresses[STORE_RCPT_MAX][40];
	char message_id[64];
	char src[1 << 20];
	size_t src_len;
};
void kit_job_make(struct kit_job *k, const char *message_id, size_t rcpts, size_t src_len);
/* True when these bytes are what kit_job_make makes for that id. */
bool kit_src_is(const char *message_id, const char *bytes, size_t len);

/* The kit's own job: not for two threads at once. */
int kit_accept(struct store *s, const char *message_id, const char *provider, int64_t *id);
int kit_accept_job(struct store *s, struct kit_job *k, const char *provider, int64_t *id, bool *known);
/* One job: 1 and *c filled in, 0 none. Its original is in the kit's own memory: not for two threads at once. */
int kit_claim(struct store *s, const char *provider, struct store_claimed *c);
int kit_finish(struct store *s, int64_t id, enum job_state state, enum job_reason reason, int64_t due_ms);
int kit_get(struct store *s, int64_t id, struct store_job *job);
struct store_status kit_status(struct store *s);
int kit_tick(struct store *s, unsigned batch);

#endif
