/* What waits for the store's thread, in the order it came, and what of it makes a group. All of it under the lock. */
#include <string.h>

#include "store/store_internal.h"

void store_queue_append(struct store *s, struct store_op *op)
{
	op->next = NULL;
	op->joined = false;
	if (s->tail)
		s->tail->next = op;
	else
		s->head = op;
	s->tail = op;
}

/* Nobody waits for the answer: the end of an attempt that was handed in to be called back. */
static bool is_end(const struct store_op *op)
{
	return op->verb == STORE_FINISH && op->done;
}

/* Few ends wait, and nothing else. */
static bool only_ends(const struct store *s)
{
	size_t count = 0;

	for (const struct store_op *op = s->head; op; op = op->next) {
		if (!is_end(op) || ++count >= STORE_GATHER_OPS) return false;
	}
	return count > 0 && !s->stopping;
}

void store_queue_gather(struct store *s)
{
	int64_t until_ms = hal_clock_in(STORE_GATHER_MS);

	while (only_ends(s) && hal_cond_wait(&s->more, &s->lock, until_ms) == 0) {
	}
}

/* ---- a group ---- */

static size_t op_bytes(const struct store_op *op)
{
	size_t bytes = 0;

	if (op->verb != STORE_ACCEPT) return 0;
	for (const struct store_accept *a = (const struct store_accept *)(const void *)op; a; a = a->with)
		bytes += a->src.len;
	return bytes;
}

/* How many were handed in together, beginning with this one. */
static size_t batch_of(const struct store_op *op, size_t *bytes)
{
	size_t count = 0;

	*bytes = 0;
	do {
		*bytes += op_bytes(op);
		count++;
		op = op->next;
	} while (op && op->joined);
	return count;
}

/* What is read before the first write is answered without waiting for the commit. What the group makes due is
 * seen by the next claim: the hint of it comes after the commit. */
static void claims_first(struct store_group *g)
{
	size_t first = 0;

	for (size_t i = 0; i < g->count; i++) {
		struct store_op *op = g->ops[i];

		if (op->verb != STORE_CLAIM) continue;
		memmove(&g->ops[first + 1], &g->ops[first], (i - first) * sizeof g->ops[0]);
		g->ops[first++] = op;
	}
}

void store_queue_take(struct store *s, struct store_group *g)
{
	size_t bytes = 0, more;

	g->count = 0;
	while (s->head && g->count < STORE_GROUP_OPS) {
		struct store_op *op = s->head;
		/* It commits by itself, in pieces: the others must not be in its transaction. */
		bool alone = op->verb == STORE_CLOCK_STEPPED;

		if (g->count && alone) break;
		if (g->count && !op->joined &&
		    (batch_of(op, &more) > STORE_GROUP_OPS - g->count || bytes + more > STORE_GROUP_BYTES))
			break;
		bytes += op_bytes(op);
		if (g->count && bytes > STORE_GROUP_BYTES) break;
		g->ops[g->count++] = op;
		s->head = op->next;
		if (alone) break;
	}
	if (!s->head) s->tail = NULL;
	claims_first(g);
	if (s->reconfigured) s->config = s->config_next;
}
