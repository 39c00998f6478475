/* Private to the room api: what the route files share. */
#ifndef POSTERN_API_ROUTES_H
#define POSTERN_API_ROUTES_H

#include "api/api_front.h"
#include "health/health.h"

/* ---- what the routes know of the gateway ---- */

struct api_config api_config_now(void);
bool api_is_stopping(void);
int64_t api_started_ms(void); /* wall */

/* ---- one request ---- */

/* Hands an operation to the store and goes on with `step` when it was answered. Returns API_PENDING. */
int api_store(struct api_request *r, struct store_op *op, int (*step)(struct api_request *r));

/* Memory for the request's state, zeroed. NULL when there is none: return api_no_memory(r). */
void *api_take(struct api_request *r, size_t bytes);
int api_no_memory(struct api_request *r);

/* The request's memory behind its body is given out anew. */
void api_memory_begin(struct api_request *r);

/* Whether a body of this Content-Type is a finished message. */
bool api_is_message(struct str content_type);
/* Makes the body that is one a job in JSON, see rfc822.c; that is also what it is when the request is handled
 * again in larger memory. Returns API_PENDING (go on), API_DONE (refused) or API_MORE_MEMORY. */
int api_message_to_job(struct api_request *r);

/* The reply gets all memory that is left. Take everything else before. */
void api_reply_begin(struct api_request *r, int status);

/* Error replies. Each returns API_DONE. */
int api_refuse_at(struct api_request *r, int status, const char *error, const char *pointer);
int api_refuse_err(struct api_request *r, int err); /* of the store */

/* The number in a path such as /api/emails/{id}/requeue; api_begin has checked it. */
int64_t api_path_id(const struct api_request *r);

/* One decoded parameter of the query; absent: ptr NULL. Decoding and names were checked by api_query_check.
 */
struct str api_query_get(struct api_request *r, const char *name);
/* Refuses names that are not in the list (NULL-terminated), doubles, and what does not decode. 0, or
 * API_DONE's refusal in r and -1. */
int api_query_check(struct api_request *r, const char *const *names);
/* A number from the query; *out stays when absent. 0, or -1 with the refusal in r. */
int api_query_number(struct api_request *r, const char *name, uint64_t max, uint64_t *out);

/* ---- JSON into a buffer; a comma is put where one is due; name NULL: an element of an array ---- */

void api_put_open(struct buf *b, const char *name, char bracket);
void api_put_close(struct buf *b, char bracket);
void api_put_str(struct buf *b, const char *name, struct str s);
void api_put_text(struct buf *b, const char *name, const char *s); /* null when empty or NULL */
void api_put_int(struct buf *b, const char *name, int64_t v);
void api_put_bool(struct buf *b, const char *name, bool v);
void api_put_time(struct buf *b, const char *name, int64_t unix_ms); /* null for 0 */
void api_put_raw(struct buf *b, const char *name, struct str json);

/* ---- the handlers ---- */

int api_emails_submit(struct api_request *r);
int api_emails_list(struct api_request *r);
int api_emails_show(struct api_request *r);
int api_emails_requeue(struct api_request *r);
int api_emails_requeue_many(struct api_request *r);
int api_emails_cancel(struct api_request *r);
int api_results(struct api_request *r);
int api_status(struct api_request *r);
int api_health(struct api_request *r);
int api_alive(struct api_request *r);
int api_ready(struct api_request *r);
int api_broker_status(struct api_request *r);

#endif
