/* queue: the ways in. Here the intake: from a job's bytes to what the store accepts, the same on every way
 * in.
 *
 * Called by the HTTP routes (on the HTTP thread), by the drop directory at start (main thread) and by the
 * AMQP consumers. The intake judges (decodes, makes a Message-ID where none was given, chooses the provider)
 * and fills in a struct store_accept; handing that to the store is the caller's, who knows how to wait.
 *
 * Never: waits, allocates, stores. What it refuses it refuses with a pointer and a reason.
 */
#ifndef POSTERN_QUEUE_QUEUE_H
#define POSTERN_QUEUE_QUEUE_H

#include "provider/provider.h"
#include "store/store.h"

/* What every submission is judged by. */
struct intake_config {
	struct provider_pool *pool;
	struct job_limits limits;
	int64_t expire_ms; /* [retry] expire */
};

/* Sets it, at start and at each reload; before the first intake_job. Any thread. */
void intake_configure(const struct intake_config *config);

/* One submission under way. It lives in the arena of its caller until the store has answered. */
struct intake {
	struct job job;
	struct store_accept accept; /* ready for store_submit when intake_job returned 0 */
	struct job_problem problem; /* when it did not */
	struct provider_choice provider;
	char fresh_id[40];
};

/* Judges one job. src is the job as it came and must stay until the store has answered; it is copied once
 * more into the arena, because decoding changes the text. `in` is filled in, its strings point into the arena
 * and into src. Errors: of job_decode and provider_judge, with in->problem (ERR_TOO_LARGE also when the arena
 * is too small for this text: it may pass in a larger one); ERR_ENTROPY. */
int intake_job(struct intake *in, struct arena *a, struct str src);

/* Copies what the store needs of a judged job to the arena's end, which comes nearer: `in`, and what the arena was
 * used for to judge it, may be given up then; src must stay. So an array takes the memory to judge one job, and for
 * each of its jobs some 900 bytes, 80 a recipient, and its labels and addresses. NULL: there is no room for it.
 * accept.job has no more than the store reads. */
struct store_accept *intake_keep(struct intake *in, struct arena *a);

/* Splits a JSON array into its elements' texts without parsing them: *at is 0 at first, moves on; 1: *element
 * is the next one, 0: the array ended. Each element is judged by itself with intake_job. Errors: ERR_SYNTAX
 * (*at is the offending byte). */
int intake_array_next(struct str text, size_t *at, struct str *element);

/* True when text is (begins as) an array rather than one job. */
bool intake_is_array(struct str text);

#endif
