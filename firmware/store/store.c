/* The store's thread: it takes what waits, runs it as one group in one transaction, commits, answers. What
 * fails is healed here: space is yielded, the connection reopened, the database salvaged. */
#include <string.h>

#include "store/store_internal.h"

/* How long a broken storage is left alone before the next try. */
#define RETRY_FIRST_MS 100
#define RETRY_LAST_MS  30000
#define TRIES_ALONE    4

static struct store the_store;
static struct store_group the_group;

int store_progress(struct store *s)
{
	return s->config.progress ? s->config.progress(s->config.progress_arg) : 0;
}

/* ---- claims ---- */

struct store_claim_slot *store_claim_find(struct store *s, int64_t id)
{
	for (size_t i = 0; i < s->claims_used; i++) {
		if (s->claims[i].id == id) return &s->claims[i];
	}
	return NULL;
}

void store_job_due(struct store *s, int64_t due_ms)
{
	s->wake = true;
	for (size_t i = 0; i < STORE_HOLDS; i++) {
		for (int p = 0; p < JOB_PRIORITY_COUNT; p++) {
			int64_t *floor = &s->floors[i].due_ms[p];

			if (due_ms < *floor) *floor = due_ms;
		}
	}
}

void store_claim_free(struct store *s, struct store_claim_slot *c)
{
	int64_t due_ms = c->due_ms;

	*c = s->claims[--s->claims_used];
	if (due_ms != STORE_DUE_NEVER) store_job_due(s, due_ms);
}

static void claims_settle(struct store *s, bool committed)
{
	for (size_t i = 0; i < s->claims_used;) {
		struct store_claim_slot *c = &s->claims[i];

		if (committed ? c->ending : c->fresh) {
			store_claim_free(s, c);
			continue;
		}
		c->fresh = c->ending = false;
		c->due_ms = STORE_DUE_ANY;
		i++;
	}
}

/* ---- healing ---- */

/* SQLite takes an empty file for a new database and throws away the WAL beside it. But the database's first page
 * is synced before there is a WAL: without one, somebody has removed or emptied it, and the WAL is what is left. */
static bool is_beheaded(void)
{
	struct hal_file f;

	if (hal_storage_size(STORE_DB) > 0 || hal_storage_size(STORE_DB "-wal") < STORE_PAGE) return false;
	/* For the salvage to set aside. */
	if (hal_file_open(&f, STORE_DB, HAL_FILE_CREATE) == 0) hal_file_close(&f);
	return true;
}

/* Opens what there is, salvages when it must. s->db is set on success. */
static int open_all(struct store *s)
{
	int rc = store_salvage_resume(s);

	if (rc == 0 && is_beheaded()) {
		s->trouble = STORE_TROUBLE_CORRUPT;
		rc = ERR_CORRUPT;
	}
	if (rc == 0) rc = store_db_open(s, STORE_DB);
	if (rc == 0) rc = store_count(s);
	if (rc < 0 && s->trouble == STORE_TROUBLE_CORRUPT) {
		store_db_close(s, false);
		rc = store_salvage(s);
		if (rc == 0) rc = store_count(s);
	}
	if (rc < 0) store_db_close(s, false);
	s->trouble = STORE_TROUBLE_NONE;
	return rc;
}

/* The WAL's tail may be in the kernel's cache only, after a sync that failed: syncing again would say yes and
 * mean nothing. The checkpoint writes every page anew into the database, and syncs that. */
static int write_anew(struct store *s)
{
	if (s->read_only) return 0;
	int rc = store_err(s, sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
	/* That the WAL is empty now is not synced. After a power cut the old one would be there again, without its
	 * tail, and cover the pages that are newer: what begins a new one, synced, ends it. */
	if (rc >= 0) rc = store_meta_set(s, "reopened_ms", hal_clock_wall_ms(NULL));
	return rc < 0 ? rc : store_commit(s);
}

static bool reopen(struct store *s)
{
	int rc = open_all(s);

	if (rc == 0) rc = write_anew(s);
	if (rc < 0) {
		store_db_close(s, false);
		s->trouble = STORE_TROUBLE_NONE;
		int64_t delay = s->retry_delay_ms ? s->retry_delay_ms * 2 : RETRY_FIRST_MS;
		s->retry_delay_ms = delay > RETRY_LAST_MS ? RETRY_LAST_MS : delay;
		s->retry_at_ms = hal_clock_in(s->retry_delay_ms);
		if (s->broken != rc)
			log_error("store", "storage not available -> tried again later", LOG_ERR(rc));
		s->broken = rc;
		return false;
	}
	if (s->tally.last_id < s->answered_id || s->tally.last_seq < s->answered_seq)
		log_error("store", "rows missing after an I/O error -> lost",
			  LOG_INT("last_job", s->tally.last_id), LOG_INT("promised_job", s->answered_id),
			  LOG_INT("last_event", s->tally.last_seq),
			  LOG_INT("promised_event", s->answered_seq));
	if (s->tally.last_id < s->answered_id) s->tally.last_id = s->answered_id;
	if (s->tally.last_seq < s->answered_seq) s->tally.last_seq = s->answered_seq;
	s->broken = 0;
	s->retry_delay_ms = 0;
	log_warn("store", "storage failed -> reopened and verified",
		 LOG_INT("waiting", s->tally.count[JOB_PENDING]));
	return true;
}

/* The reserve is for ending what was accepted, for the clock's step (without it accepted jobs would expire), and
 * for what makes room; a submission that finds no space is refused and leaves it alone. */
static bool may_spend_reserve(const struct store_op *op)
{
	return op && (op->verb == STORE_FINISH || op->verb == STORE_CANCEL || op->verb == STORE_PURGE ||
		      op->verb == STORE_CLOCK_STEPPED);
}

/* After a group failed and was rolled back; op: when it was that one alone. True: the cause is gone, trying
 * again makes sense. */
static bool heal(struct store *s, const struct store_op *op)
{
	enum store_trouble trouble = s->trouble;

	s->trouble = STORE_TROUBLE_NONE;
	switch (trouble) {
	case STORE_TROUBLE_FULL: return may_spend_reserve(op) && store_space_yield(s);
	case STORE_TROUBLE_IO:
		store_db_close(s, false);
		reopen(s);
		return false;
	case STORE_TROUBLE_CORRUPT:
		store_db_close(s, false);
		s->trouble = STORE_TROUBLE_CORRUPT;
		if (store_salvage(s) == 0 && store_count(s) >= 0) {
			s->trouble = STORE_TROUBLE_NONE;
			return true;
		}
		store_db_close(s, false);
		return reopen(s);
	default: return false;
	}
}

/* ---- the WAL ---- */

/* Not SQLite's own automatic checkpoint: that comes before the answers, and hides its errors while the WAL
 * grows. */
static void checkpoint(struct store *s)
{
	if (!s->db || s->wal_frames < STORE_WAL_PAGES) return;
	int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	s->wal_frames = 0;
	if (rc == SQLITE_OK) return;
	store_err(s, rc);
	if (s->trouble == STORE_TROUBLE_FULL)
		log_warn("store", "no space for a checkpoint -> put off");
	else
		log_warn("store", "checkpoint failed -> reopened", LOG_INT("sqlite", rc));
	heal(s, NULL);
}

/* ---- a group ---- */

static int op_run(struct store *s, struct store_op *op)
{
	switch (op->verb) {
	case STORE_ACCEPT: return store_op_accept(s, (struct store_accept *)(void *)op);
	case STORE_CLAIM: return store_op_claim(s, (struct store_claim *)(void *)op);
	case STORE_FINISH: return store_op_finish(s, (struct store_finish *)(void *)op);
	case STORE_RELEASE: return store_op_release(s, (struct store_release *)(void *)op);
	case STORE_SRC_READ: return store_op_src_read(s, (struct store_src_read *)(void *)op);
	case STORE_JOB_GET: return store_op_job_get(s, (struct store_job_get *)(void *)op);
	case STORE_JOB_LIST: return store_op_job_list(s, (struct store_job_list *)(void *)op);
	case STORE_ATTEMPT_LIST: return store_op_attempt_list(s, (struct store_attempt_list *)(void *)op);
	case STORE_RCPT_LIST: return store_op_rcpt_list(s, (struct store_rcpt_list *)(void *)op);
	case STORE_EVENT_LIST: return store_op_event_list(s, (struct store_event_list *)(void *)op);
	case STORE_REQUEUE: return store_op_requeue(s, (struct store_requeue *)(void *)op);
	case STORE_CANCEL: return store_op_cancel(s, (struct store_cancel *)(void *)op);
	case STORE_STATUS: return store_op_status(s, (struct store_status *)(void *)op);
	case STORE_HOLD: return store_op_hold(s, (struct store_hold *)(void *)op);
	case STORE_TICK: return store_op_tick(s, (struct store_tick *)(void *)op);
	case STORE_CLOCK_STEPPED: return store_op_clock_stepped(s, (struct store_clock_stepped *)(void *)op);
	case STORE_PURGE: return store_op_purge(s, (struct store_purge *)(void *)op);
	}
	CHECK(false);
	return ERR_INTERNAL;
}

/* Where an operation that goes on with the next call stands: known only now, for a group that is rolled back
 * runs again. */
static void op_settle(struct store_op *op)
{
	if (op->verb == STORE_REQUEUE) {
		struct store_requeue *r = (struct store_requeue *)(void *)op;
		r->at = r->at_next;
	} else if (op->verb == STORE_PURGE) {
		struct store_purge *p = (struct store_purge *)(void *)op;
		p->at = p->at_next;
	}
}

/* From here on the operation is its owner's again, or waits for another turn. */
static void answer(struct store *s, struct store_op **slot)
{
	struct store_op *op = *slot;

	*slot = NULL;
	if (op->rc != STORE_AGAIN && op->done) {
		op->done(op);
		return;
	}
	hal_mutex_lock(&s->lock);
	if (op->rc == STORE_AGAIN) {
		store_queue_append(s, op);
	} else {
		op->finished = true;
		hal_cond_broadcast(&s->answered);
	}
	hal_mutex_unlock(&s->lock);
}

static void answer_all(struct store *s, struct store_group *g)
{
	bool wake = false;

	hal_mutex_lock(&s->lock);
	for (size_t i = 0; i < g->count; i++) {
		struct store_op *op = g->ops[i];

		if (!op || (op->rc != STORE_AGAIN && op->done)) continue;
		g->ops[i] = NULL;
		if (op->rc == STORE_AGAIN) {
			store_queue_append(s, op);
		} else {
			op->finished = true;
			wake = true;
		}
	}
	if (wake) hal_cond_broadcast(&s->answered);
	hal_mutex_unlock(&s->lock);
	for (size_t i = 0; i < g->count; i++) {
		if (g->ops[i]) answer(s, &g->ops[i]);
	}
}

static void undo(struct store *s, bool unsure)
{
	for (size_t i = 0; i < s->claims_used; i++) {
		s->claims[i].unsure |= unsure && s->claims[i].ending;
		s->claims[i].known = false;
	}
	/* What it had ended waits again. */
	store_job_due(s, STORE_DUE_ANY);
	store_rollback(s);
	claims_settle(s, false);
	s->tally = s->before;
}

/* Runs members from..to in one transaction; on success all are answered. After an error nothing has happened,
 * those that only read may be answered, and *unsure says that the error came from the commit: it may be on
 * flash after all. */
static int run_together(struct store *s, struct store_group *g, size_t from, size_t to, bool *unsure)
{
	int rc = 0;

	*unsure = false;
	s->before = s->tally;
	s->trouble = STORE_TROUBLE_NONE;
	for (size_t i = from; i < to; i++) {
		struct store_op *op = g->ops[i];

		if (!op) continue;
		store_progress(s);
		int64_t changes = sqlite3_total_changes64(s->db);
		rc = op_run(s, op);
		if (rc < 0 && (s->trouble || sqlite3_total_changes64(s->db) != changes)) goto failed;
		op->rc = rc;
		/* What was read before the first write is committed already. */
		if (!s->in_tx) {
			claims_settle(s, true);
			op_settle(op);
			answer(s, &g->ops[i]);
		}
	}
	bool wrote = s->in_tx;
	s->groups += wrote;
	rc = store_commit(s);
	if (rc < 0) {
		*unsure = s->trouble == STORE_TROUBLE_IO;
		goto failed;
	}
	if (wrote) s->stuck = false;
	claims_settle(s, true);
	for (size_t i = from; i < to; i++) {
		if (g->ops[i]) op_settle(g->ops[i]);
	}
	s->answered_id = s->tally.last_id;
	s->answered_seq = s->tally.last_seq;
	return 0;
failed:
	undo(s, *unsure);
	return rc;
}

static void run_alone(struct store *s, struct store_group *g, size_t i)
{
	bool unsure = false, again = true;
	int rc = 0;

	for (int tries = 0; again && tries < TRIES_ALONE; tries++) {
		store_progress(s);
		if (!s->db) {
			rc = s->broken;
			break;
		}
		rc = run_together(s, g, i, i + 1, &unsure);
		if (rc == 0) break;
		again = heal(s, g->ops[i]) && !unsure;
	}
	if (!g->ops[i]) return;
	if (rc < 0) g->ops[i]->rc = rc;
	if (g->ops[i]->verb == STORE_FINISH) s->stuck = rc == ERR_NO_SPACE;
	answer(s, &g->ops[i]);
	checkpoint(s);
}

/* A file system that became read-only is mounted again by somebody, or the reason has gone: looked at now and
 * then, and the database opened anew. */
static bool is_writable_again(struct store *s)
{
	if (!s->read_only) return false;
	s->retry_at_ms = hal_clock_in(RETRY_LAST_MS);
	if (!store_is_writable()) return false;
	store_db_close(s, false);
	return true;
}

/* Only what needs no database. */
static void run_broken(struct store *s, struct store_group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		struct store_op *op = g->ops[i];

		if (op->verb == STORE_STATUS || op->verb == STORE_RELEASE)
			op->rc = op_run(s, op);
		else
			op->rc = s->broken;
	}
}

static void run_group(struct store *s, struct store_group *g)
{
	bool unsure;

	if (hal_clock_mono_ms() >= s->retry_at_ms && (!s->db || is_writable_again(s))) reopen(s);
	s->grouped_ops += (int64_t)g->count;
	if (!s->db) {
		run_broken(s, g);
		answer_all(s, g);
		return;
	}
	int rc = run_together(s, g, 0, g->count, &unsure);
	if (rc == 0) {
		answer_all(s, g);
		return;
	}
	heal(s, NULL);
	for (size_t i = 0; i < g->count; i++) {
		if (!g->ops[i]) continue;
		if (!unsure) {
			run_alone(s, g, i);
		} else {
			g->ops[i]->rc = rc;
			answer(s, &g->ops[i]);
		}
	}
}

static void hint(struct store *s)
{
	if (s->wake && s->work_fn) s->work_fn(s->work_arg);
	s->wake = false;
}

static void thread_main(void *arg)
{
	struct store *s = arg;

	while (true) {
		hal_mutex_lock(&s->lock);
		while (!s->head && !s->stopping)
			hal_cond_wait(&s->more, &s->lock, HAL_FOREVER);
		store_queue_gather(s);
		if (!s->head) break;
		bool fresh_config = s->reconfigured;
		store_queue_take(s, &the_group);
		s->reconfigured = false;
		hal_mutex_unlock(&s->lock);

		if (fresh_config && s->db) {
			store_exec(s, s->config.durability_full ? "PRAGMA synchronous=FULL"
								: "PRAGMA synchronous=NORMAL");
			store_space_limit(s);
		}
		run_group(s, &the_group);
		hint(s);
		checkpoint(s);
		hint(s);
	}
	hal_mutex_unlock(&s->lock);
}

/* ---- from outside ---- */

int store_open(const struct store_config *config, struct store **out)
{
	struct store *s = &the_store;

	*out = NULL;
	memset(s, 0, sizeof *s);
	s->config = *config;
	s->opened_ms = hal_clock_mono_ms();
	sqlite3_hard_heap_limit64(config->heap_bytes ? config->heap_bytes : STORE_HEAP_BYTES);
	int rc = open_all(s);
	/* The last frame of a WAL from before may share a sector with the next one to be written, and a power cut
	 * in the middle of that write would spoil both: nothing is built on it. A full disk can wait. */
	if (rc == 0 && write_anew(s) < 0 && s->trouble != STORE_TROUBLE_FULL) rc = ERR_IO;
	if (s->trouble == STORE_TROUBLE_FULL) store_rollback(s);
	s->trouble = STORE_TROUBLE_NONE;
	if (rc == 0 && !s->read_only) rc = store_continue_clock_step(s);
	if (rc < 0) {
		store_db_close(s, false);
		return rc;
	}
	store_space_tick(s, 0);
	s->answered_id = s->tally.last_id;
	s->answered_seq = s->tally.last_seq;
	hal_mutex_init(&s->lock);
	hal_cond_init(&s->more);
	hal_cond_init(&s->answered);
	rc = hal_thread_start(&s->thread, "store", STORE_STACK_BYTES, thread_main, s);
	if (rc < 0) {
		store_db_close(s, true);
		return rc;
	}
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	hal_mutex_lock(&s->lock);
	s->stopping = true;
	hal_cond_signal(&s->more);
	hal_mutex_unlock(&s->lock);
	hal_thread_join(&s->thread);
	store_db_close(s, true);
	hal_cond_close(&s->answered);
	hal_cond_close(&s->more);
	hal_mutex_close(&s->lock);
}

void store_reconfigure(struct store *s, const struct store_config *config)
{
	hal_mutex_lock(&s->lock);
	s->config_next = *config;
	s->reconfigured = true;
	hal_mutex_unlock(&s->lock);
}

void store_on_work(struct store *s, void (*fn)(void *arg), void *arg)
{
	s->work_arg = arg;
	s->work_fn = fn;
}

/* False: the store is stopping; the operation is the caller's. */
static bool hand_in(struct store *s, struct store_op *op)
{
	op->finished = false;
	op->rc = 0;
	if (s->stopping) {
		op->rc = ERR_STOPPING;
		return false;
	}
	store_queue_append(s, op);
	return true;
}

void store_submit_all(struct store *s, struct store_op *const ops[], size_t count)
{
	size_t taken = 0;

	hal_mutex_lock(&s->lock);
	for (; taken < count && hand_in(s, ops[taken]); taken++)
		ops[taken]->joined = taken > 0;
	hal_cond_signal(&s->more);
	hal_mutex_unlock(&s->lock);
	for (; taken < count; taken++) {
		ops[taken]->rc = ERR_STOPPING;
		if (ops[taken]->done) ops[taken]->done(ops[taken]);
	}
}

void store_submit(struct store *s, struct store_op *op)
{
	hal_mutex_lock(&s->lock);
	bool taken = hand_in(s, op);
	hal_cond_signal(&s->more);
	hal_mutex_unlock(&s->lock);
	if (!taken && op->done) op->done(op);
}

int store_do(struct store *s, struct store_op *op)
{
	op->done = NULL;
	hal_mutex_lock(&s->lock);
	if (hand_in(s, op)) {
		hal_cond_signal(&s->more);
		while (!op->finished)
			hal_cond_wait(&s->answered, &s->lock, HAL_FOREVER);
	}
	hal_mutex_unlock(&s->lock);
	return op->rc;
}

#define INIT(type, op_verb)                                                                                  \
	void store_##type##_init(struct store_##type *x)                                                     \
	{                                                                                                    \
		memset(x, 0, sizeof *x);                                                                     \
		x->op.verb = op_verb;                                                                        \
	}
INIT(accept, STORE_ACCEPT)
INIT(claim, STORE_CLAIM)
INIT(finish, STORE_FINISH)
INIT(release, STORE_RELEASE)
INIT(src_read, STORE_SRC_READ)
INIT(job_get, STORE_JOB_GET)
INIT(job_list, STORE_JOB_LIST)
INIT(attempt_list, STORE_ATTEMPT_LIST)
INIT(rcpt_list, STORE_RCPT_LIST)
INIT(event_list, STORE_EVENT_LIST)
INIT(requeue, STORE_REQUEUE)
INIT(cancel, STORE_CANCEL)
INIT(status, STORE_STATUS)
INIT(hold, STORE_HOLD)
INIT(tick, STORE_TICK)
INIT(clock_stepped, STORE_CLOCK_STEPPED)
INIT(purge, STORE_PURGE)
