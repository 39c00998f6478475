/* Housekeeping in small steps: expiry, retention, purges, the clock that was set, and providers that hold. */
#include <string.h>

#include "store/store_internal.h"

#define EXPIRY_AGAIN_MS  10000   /* between two looks through very many waiting jobs */
#define IDENT_AGAIN_MS   3600000 /* between two walks through all identities */
#define SEEN_AGAIN_MS    3600000 /* the time is noted once an hour */
#define WALK_PIECE       256     /* index entries looked at in a step */
#define CLOCK_PIECE      512     /* rows moved in one transaction, or somewhat more */
#define CLOCK_SMALL_MS   3600000 /* smaller steps do not touch how long a job may wait */
#define CLOCK_NOTICED_MS 10000   /* how late at most it is noticed that the clock was set */

/* ---- removing ---- */

/* Ids are never given twice: the last one is noted before its row goes. */
static int keep_last_ids(struct store *s, int64_t id, int64_t seq)
{
	int rc = 0;

	if (id >= s->tally.last_id) rc = store_meta_set(s, "last_id", s->tally.last_id);
	if (rc >= 0 && seq >= s->tally.last_seq) rc = store_meta_set(s, "last_seq", s->tally.last_seq);
	return rc;
}

int store_job_remove(struct store *s, int64_t id, enum job_state state)
{
	char tenant[128], message[256];
	sqlite3_stmt *st;
	int rc = store_row(s, SQL_REMOVE_JOB_GET, &st, "i", id);

	if (rc != 1) return rc;
	store_column(st, 0, tenant, sizeof tenant);
	store_column(st, 1, message, sizeof message);
	bool rcpts = sqlite3_column_int(st, 2) > 1, attempts = sqlite3_column_int(st, 3) > 1;
	store_end(st);
	rc = keep_last_ids(s, id, 0);
	if (rc >= 0) rc = store_write(s, SQL_REMOVE_JOB, "i", id);
	if (rc >= 0) rc = store_write(s, SQL_REMOVE_SRC, "i", STORE_SRC_KEY(id, 0));
	if (rc >= 0 && rcpts) rc = store_write(s, SQL_REMOVE_RCPT, "i", STORE_RCPT_KEY(id, 0));
	if (rc >= 0) rc = store_write(s, SQL_REMOVE_LOG, "i", STORE_ATTEMPT_KEY(id, 0));
	if (rc >= 0 && attempts) rc = store_write(s, SQL_REMOVE_ATTEMPT, "i", STORE_ATTEMPT_KEY(id, 0));
	if (rc >= 0)
		rc = store_write(s, SQL_IDENT_GONE, "zziii", tenant, message, id, hal_clock_wall_ms(NULL),
				 I64(state));
	if (rc < 0) return rc;
	s->tally.count[state]--;
	if (s->tally.oldest_id == id) s->tally.oldest_id = 0;
	return 1;
}

/* Ended jobs of one state that ended before a time, oldest ids first; *at is where the walk stands. It looks
 * at no more than a piece of the index, and starts again from the beginning when it has come to the end. */
static int remove_ended(struct store *s, enum job_state state, int64_t before_ms, int64_t *at, unsigned batch,
			unsigned *removed, bool *end)
{
	int64_t ids[WALK_PIECE];
	unsigned count = 0, seen = 0;
	sqlite3_stmt *st;
	int rc = store_query(s, SQL_ENDED_WALK, &st, "iii", I64(state), *at, I64(WALK_PIECE));

	while (rc >= 0 && count < batch && count < WALK_PIECE && (rc = store_step(s, st)) == 1) {
		seen++;
		*at = sqlite3_column_int64(st, 0);
		if (sqlite3_column_int64(st, 1) < before_ms) ids[count++] = *at;
	}
	*end = rc == 0 && seen < WALK_PIECE;
	store_end(st);
	for (unsigned i = 0; rc >= 0 && i < count; i++) {
		rc = store_job_remove(s, ids[i], state);
		*removed += rc == 1;
	}
	return rc < 0 ? rc : 0;
}

static int tick_ended(struct store *s, enum job_state state, int64_t keep_ms, int64_t now,
		      struct store_tick *t)
{
	bool end;

	if (keep_ms <= 0 || t->removed >= t->batch || s->tally.count[state] == 0) return 0;
	int rc = remove_ended(s, state, now - keep_ms, &s->ended_at[state], t->batch - t->removed,
			      &t->removed, &end);
	if (end) s->ended_at[state] = 0;
	return rc;
}

static int tick_events(struct store *s, int64_t now, struct store_tick *t)
{
	int64_t last = 0;
	sqlite3_stmt *st;

	if (s->config.keep_results_ms <= 0 || t->removed >= t->batch || !s->tally.first_seq) return 0;
	int rc = store_query(s, SQL_EVENT_WALK, &st, "i", I64(t->batch - t->removed));
	while (rc >= 0 && (rc = store_step(s, st)) == 1) {
		if (sqlite3_column_int64(st, 1) >= now - s->config.keep_results_ms) break;
		last = sqlite3_column_int64(st, 0);
	}
	store_end(st);
	if (rc < 0 || last == 0) return rc < 0 ? rc : 0;
	rc = keep_last_ids(s, 0, last);
	if (rc >= 0) rc = store_write(s, SQL_EVENT_DROP, "i", last);
	if (rc < 0) return rc;
	t->removed += (unsigned)rc;
	return store_number(s, SQL_EVENT_FIRST, &s->tally.first_seq, "");
}

/* Identities of jobs that are gone. There is no index by age: now and then all are walked through. */
static int tick_idents(struct store *s, int64_t now, struct store_tick *t)
{
	char tenant[128], message[256];
	sqlite3_stmt *st;
	int rc, seen = 0;

	if (s->config.keep_ids_ms <= 0 || hal_clock_mono_ms() < s->ident_again_ms) return 0;
	rc = store_query(s, SQL_IDENT_WALK, &st, "zzi", s->ident_tenant, s->ident_message, I64(t->batch));
	while (rc >= 0 && t->removed < t->batch && (rc = store_step(s, st)) == 1) {
		seen++;
		store_column(st, 0, tenant, sizeof tenant);
		store_column(st, 1, message, sizeof message);
		int64_t gone = sqlite3_column_int64(st, 2);
		if (gone && gone < now - s->config.keep_ids_ms) {
			rc = store_write(s, SQL_IDENT_FORGET, "zz", tenant, message);
			t->removed++;
		}
		memcpy(s->ident_tenant, tenant, sizeof tenant);
		memcpy(s->ident_message, message, sizeof message);
	}
	store_end(st);
	if (seen || rc < 0) return rc < 0 ? rc : 0;
	s->ident_tenant[0] = s->ident_message[0] = '\0';
	s->ident_again_ms = hal_clock_in(IDENT_AGAIN_MS);
	return 0;
}

/* ---- expiry ---- */

static int tick_expiry(struct store *s, int64_t now, struct store_tick *t)
{
	int64_t ids[WALK_PIECE], next;
	unsigned count = 0, batch = t->batch < WALK_PIECE ? t->batch : WALK_PIECE;
	sqlite3_stmt *st;
	bool claimed = false;

	if (now < s->tally.next_expiry_ms || hal_clock_mono_ms() < s->expiry_again_ms) return 0;
	int rc = store_query(s, SQL_EXPIRED, &st, "ii", now, I64(batch + s->claims_used));
	while (rc >= 0 && count < batch && (rc = store_step(s, st)) == 1) {
		int64_t id = sqlite3_column_int64(st, 0);
		/* One that is being sent may yet succeed; it is looked at again when it is given back. */
		if (store_claim_find(s, id))
			claimed = true;
		else
			ids[count++] = id;
	}
	store_end(st);
	for (unsigned i = 0; rc >= 0 && i < count; i++)
		rc = store_job_give_up(s, ids[i], JOB_REASON_EXPIRED, "expired before it could be sent",
				       (struct str){NULL, 0});
	if (rc < 0) return rc;
	t->expired += count;
	if (count == batch) return 0;
	rc = store_number(s, SQL_NEXT_EXPIRY, &next, "");
	if (rc < 0) return rc;
	s->tally.next_expiry_ms = claimed ? now : next ? next : INT64_MAX;
	if (s->tally.count[JOB_PENDING] > 5000 || claimed) s->expiry_again_ms = hal_clock_in(EXPIRY_AGAIN_MS);
	return 0;
}

/* ---- time ---- */

/* A lower bound of what time it is, for the next boot of a device without a clock. It follows the wall clock
 * only as fast as time passed while running, so that a clock that once jumped to 2038 cannot set it. */
static int note_time(struct store *s, int64_t now, bool set)
{
	int64_t mono = hal_clock_mono_ms();

	if (!set || (s->seen_mono_ms && mono - s->seen_mono_ms < SEEN_AGAIN_MS)) return 0;
	int64_t seen = s->seen_ms + (s->seen_mono_ms ? mono - s->seen_mono_ms : 0);
	if (!s->seen_ms || seen > now) seen = now;
	bool first = !s->seen_mono_ms;
	s->seen_mono_ms = mono;
	if (first && s->seen_ms) return 0;
	s->seen_ms = seen;
	return store_meta_set(s, "seen_ms", seen);
}

/* Moving times is done in pieces. Where it stands is written with each: after a power cut or an error it goes on
 * from there, and nothing moves twice. */
enum clock_phase { CLOCK_PENDING, CLOCK_COMPLETED, CLOCK_FAILED, CLOCK_EVENTS, CLOCK_IDENTS, CLOCK_DONE };

struct clock_move {
	int64_t delta;       /* 0: nothing moves */
	int64_t above, last; /* due times that are later, of jobs up to this one */
	int64_t from, until; /* times of what has ended */
	int64_t phase, at;
	int64_t serial; /* of the operation */
};

#define CLOCK_FIELDS 8
static const char *const clock_names[CLOCK_FIELDS] = {"clock_delta", "clock_above", "clock_last",
						      "clock_from",  "clock_until", "clock_phase",
						      "clock_at",    "clock_serial"};

static int64_t *clock_field(struct clock_move *m, int i)
{
	int64_t *const fields[CLOCK_FIELDS] = {&m->delta, &m->above, &m->last, &m->from,
					       &m->until, &m->phase, &m->at,   &m->serial};

	return fields[i];
}

static int clock_load(struct store *s, struct clock_move *m)
{
	int rc = 0;

	for (int i = 0; rc >= 0 && i < CLOCK_FIELDS; i++)
		rc = store_number(s, SQL_META_GET, clock_field(m, i), "z", clock_names[i]);
	return rc < 0 ? rc : 0;
}

static int clock_save(struct store *s, struct clock_move *m)
{
	int rc = 0;

	for (int i = 0; rc >= 0 && i < CLOCK_FIELDS; i++)
		rc = store_meta_set(s, clock_names[i], *clock_field(m, i));
	return rc;
}

static bool is_far(int64_t delta)
{
	return delta > CLOCK_SMALL_MS || delta < -CLOCK_SMALL_MS;
}

static int clock_query(struct store *s, const struct clock_move *m, sqlite3_stmt **st)
{
	switch (m->phase) {
	case CLOCK_PENDING:
		return store_query(s, SQL_CLOCK_WALK, st, "iiii", m->at, m->above, I64(is_far(m->delta)),
				   I64(CLOCK_PIECE));
	case CLOCK_EVENTS:
		return store_query(s, SQL_CLOCK_EVENT, st, "iiii", m->at, m->from, m->until,
				   I64(CLOCK_PIECE));
	default:
		return store_query(s, SQL_CLOCK_ENDED, st, "iiiii",
				   I64(m->phase == CLOCK_COMPLETED ? JOB_COMPLETED : JOB_FAILED), m->at,
				   m->from, m->until, I64(CLOCK_PIECE));
	}
}

static int clock_one(struct store *s, const struct clock_move *m, int64_t id)
{
	int64_t now = m->above + m->delta; /* when it moves what has ended, the clock went ahead */

	if (m->phase == CLOCK_PENDING)
		return store_write(s, SQL_CLOCK_STEP, "iiiii", id, m->delta, m->above, I64(is_far(m->delta)),
				   m->above - CLOCK_NOTICED_MS);
	return store_write(s, m->phase == CLOCK_EVENTS ? SQL_CLOCK_EVENT_STEP : SQL_CLOCK_ENDED_STEP, "iii",
			   id, m->delta, now);
}

/* A piece of one phase; *rows counts what it has changed. */
static int clock_piece(struct store *s, struct clock_move *m, unsigned *rows)
{
	int64_t ids[CLOCK_PIECE];
	unsigned count = 0;
	sqlite3_stmt *st;
	int rc;

	if (m->phase == CLOCK_IDENTS) {
		rc = store_write(s, SQL_CLOCK_IDENT, "iiii", m->delta, m->above + m->delta, m->from,
				 m->until);
		m->phase = CLOCK_DONE;
		return rc;
	}
	rc = clock_query(s, m, &st);
	while (rc >= 0 && count < CLOCK_PIECE && (rc = store_step(s, st)) == 1)
		ids[count++] = sqlite3_column_int64(st, 0);
	store_end(st);
	unsigned i = 0;
	for (; rc >= 0 && i < count && (m->phase != CLOCK_PENDING || ids[i] <= m->last); i++) {
		rc = clock_one(s, m, ids[i]);
		m->at = ids[i];
	}
	*rows += i;
	if (i == CLOCK_PIECE) return rc;
	m->at = 0;
	m->phase++;
	if (m->phase > CLOCK_PENDING && m->delta <= CLOCK_SMALL_MS) m->phase = CLOCK_DONE;
	return rc;
}

/* The last piece is left to be committed. */
static int clock_move(struct store *s, struct clock_move *m)
{
	int64_t delta = m->delta;
	unsigned rows = 0;
	int rc = 0;

	while (rc >= 0 && m->phase != CLOCK_DONE) {
		rc = clock_piece(s, m, &rows);
		if (rc < 0 || m->phase == CLOCK_DONE || rows < CLOCK_PIECE) continue;
		rows = 0;
		rc = clock_save(s, m);
		if (rc >= 0) rc = store_commit(s);
		if (rc < 0) return rc;
		s->before = s->tally;
		rc = store_progress(s);
	}
	m->delta = 0;
	if (rc >= 0) rc = clock_save(s, m);
	m->delta = delta;
	return rc < 0 ? rc : 0;
}

/* Since when times were written that are not those of a clock that was set: noted when a start finds it so, for
 * the power may go before it is set. */
static int clock_unset(struct store *s)
{
	bool set;
	int64_t now = hal_clock_wall_ms(&set), since;
	int rc = store_number(s, SQL_META_GET, &since, "z", "unset_ms");

	if (rc < 0 || (!set && since) || (set && !since)) return rc < 0 ? rc : 0;
	if (set && now - since > CLOCK_SMALL_MS) {
		/* It was set while nobody looked. How long the power was off is not known: what was written
		 * before is taken for as young as it can be. */
		struct clock_move m = {.delta = now - since,
				       .above = since,
				       .last = s->tally.last_id,
				       .from = since,
				       .until = now - CLOCK_NOTICED_MS};
		rc = clock_move(s, &m);
	}
	if (rc >= 0) rc = store_meta_set(s, "unset_ms", set ? 0 : now);
	return rc < 0 ? rc : store_commit(s);
}

int store_continue_clock_step(struct store *s)
{
	struct clock_move m;
	int rc = store_number(s, SQL_META_GET, &s->seen_ms, "z", "seen_ms");

	if (rc >= 0 && s->seen_ms) hal_clock_floor_raise(s->seen_ms);
	if (rc >= 0) rc = clock_load(s, &m);
	if (rc >= 0 && m.delta) {
		rc = clock_move(s, &m);
		if (rc >= 0) rc = store_commit(s);
	}
	return rc < 0 ? rc : clock_unset(s);
}

/* The move that this operation asks for. */
static int clock_begin(struct store *s, const struct store_clock_stepped *c, int64_t now,
		       struct clock_move *m)
{
	int64_t before = now - c->delta_ms, unset;
	int rc = store_number(s, SQL_META_GET, &unset, "z", "unset_ms");

	/* What is due stays due: only times after both the old and the new now, or the old one, move. */
	*m = (struct clock_move){.delta = c->delta_ms,
				 .above = before < now ? before : now,
				 .last = s->tally.last_id,
				 .from = before - (hal_clock_mono_ms() - s->opened_ms) - CLOCK_NOTICED_MS,
				 .until = before,
				 .serial = c->serial};
	if (unset) {
		if (unset < m->from) m->from = unset;
		m->until = now - CLOCK_NOTICED_MS;
	}
	if (m->from < 1) m->from = 1;
	return rc < 0 ? rc : 0;
}

int store_op_clock_stepped(struct store *s, struct store_clock_stepped *c)
{
	struct clock_move m;
	bool set;
	int64_t now = hal_clock_wall_ms(&set);
	int rc = clock_load(s, &m);

	if (c->now_ms) now = c->now_ms;
	store_job_due(s, STORE_DUE_ANY);
	/* One that failed on its way, this one or another, goes on. */
	if (rc >= 0 && m.delta) rc = clock_move(s, &m);
	if (rc >= 0 && c->delta_ms && (!c->serial || m.serial != c->serial)) {
		c->serial = m.serial + 1;
		rc = clock_begin(s, c, now, &m);
		if (rc >= 0) rc = clock_move(s, &m);
	}
	if (rc >= 0 && set) rc = store_meta_set(s, "unset_ms", 0);
	if (rc >= 0 && set && now < s->seen_ms) {
		s->seen_ms = now;
		rc = store_meta_set(s, "seen_ms", now);
	}
	if (rc < 0) return rc;
	int64_t *success = &s->tally.last_success_ms;
	if (c->delta_ms > CLOCK_SMALL_MS && *success >= m.from && *success <= m.until)
		*success = *success + c->delta_ms < now ? *success + c->delta_ms : now;
	s->tally.next_expiry_ms = now;
	s->expiry_again_ms = 0;
	return 0;
}

/* ---- providers that hold ---- */

/* That a provider is down is kept in memory and shown with each of its jobs: the reason for a wait that ends
 * with the process need not be on flash, and 100,000 rows are not rewritten for it. */
static void hold_note(struct store *s, const struct store_hold *h)
{
	struct store_hold_slot *slot = NULL;

	for (int i = 0; i < STORE_HOLDS; i++) {
		struct store_hold_slot *one = &s->holds[i];

		if (str_eq(str_from(one->provider), h->provider))
			slot = one;
		else if (!slot && !one->provider[0])
			slot = one;
		if (slot == one && one->provider[0]) break;
	}
	if (!slot || (!h->down && !slot->provider[0])) return;
	memset(slot, 0, sizeof *slot);
	if (!h->down || str_copy(slot->provider, sizeof slot->provider, h->provider) < 0) return;
	struct buf b;
	buf_init(&b, slot->text, sizeof slot->text);
	buf_puts(&b, h->text ? h->text : "");
}

int store_op_hold(struct store *s, struct store_hold *h)
{
	int64_t now = hal_clock_wall_ms(NULL), ids[WALK_PIECE];
	unsigned batch = h->batch < WALK_PIECE ? h->batch : WALK_PIECE;
	int rc = 0;

	h->count = 0;
	hold_note(s, h);
	if (h->down) return 0;
	for (int p = 0; rc >= 0 && p < JOB_PRIORITY_COUNT && h->count < batch; p++) {
		sqlite3_stmt *st;
		unsigned n = 0;

		rc = store_query(s, SQL_HOLD_DUE, &st, "siii", h->provider, I64(p), now,
				 I64(batch - h->count));
		while (rc >= 0 && (rc = store_step(s, st)) == 1)
			ids[n++] = sqlite3_column_int64(st, 0);
		store_end(st);
		for (unsigned i = 0; rc >= 0 && i < n; i++)
			rc = store_write(s, SQL_DUE_NOW, "ii", ids[i], now);
		if (n) store_job_due(s, now);
		h->count += n;
	}
	return rc < 0 ? rc : 0;
}

/* ---- purge ---- */

static int purge_person(struct store *s, struct store_purge *p, int64_t id)
{
	char tenant[128], message[256];
	sqlite3_stmt *st;

	if (store_claim_find(s, id)) {
		p->busy++;
		return 0;
	}
	int rc = store_job_read(s, id, &s->job);
	if (rc != 1) return rc;
	memcpy(tenant, s->job.tenant_id, sizeof tenant);
	memcpy(message, s->job.message_id, sizeof message);
	enum job_state state = s->job.state;
	rc = keep_last_ids(s, id, s->tally.last_seq);
	if (rc >= 0) rc = store_write(s, SQL_REMOVE_EVENTS, "i", id);
	if (rc >= 0) rc = store_job_remove(s, id, state);
	if (rc >= 0) rc = store_write(s, SQL_IDENT_FORGET, "zz", tenant, message);
	if (rc < 0) return rc;
	p->count++;
	rc = store_row(s, SQL_EVENT_FIRST, &st, "");
	if (rc == 1) s->tally.first_seq = sqlite3_column_int64(st, 0);
	store_end(st);
	return rc < 0 ? rc : 0;
}

static int purge_recipient(struct store *s, struct store_purge *p)
{
	int64_t ids[WALK_PIECE];
	int rc;

	do {
		sqlite3_stmt *st;
		unsigned n = 0;

		rc = store_query(s, SQL_LIST_ALL, &st, "ii", p->at_next ? p->at_next : INT64_MAX,
				 I64(WALK_PIECE));
		while (rc >= 0 && (rc = store_step(s, st)) == 1)
			ids[n++] = sqlite3_column_int64(st, 0);
		store_end(st);
		for (unsigned i = 0; rc >= 0 && i < n && p->count < p->batch; i++) {
			p->at_next = ids[i];
			rc = store_rcpt_matches(s, ids[i], p->recipient, false);
			if (rc == 1) rc = purge_person(s, p, ids[i]);
		}
		if (n == 0) break;
	} while (rc >= 0 && p->count < p->batch);
	return rc < 0 ? rc : 0;
}

int store_op_purge(struct store *s, struct store_purge *p)
{
	bool end = false;
	int rc = 0;

	p->count = p->busy = 0;
	p->at_next = p->at;
	if (p->recipient.len) return purge_recipient(s, p);
	if (p->state != JOB_COMPLETED && p->state != JOB_FAILED) return ERR_INVALID;
	while (rc >= 0 && !end && p->count < p->batch)
		rc = remove_ended(s, p->state, p->older_than_ms, &p->at_next, p->batch - p->count, &p->count,
				  &end);
	return rc;
}

/* ---- tick ---- */

int store_op_tick(struct store *s, struct store_tick *t)
{
	bool set;
	int64_t now = hal_clock_wall_ms(&set);
	int rc = 0;

	/* The clock may have been set since the caller looked; then it has not handed in the step yet, and what
	 * waits would expire. */
	if (t->now_ms) {
		now = t->now_ms;
		set = t->clock_set;
	}
	t->expired = t->removed = 0;
	if (s->read_only) return 0;
	/* While the time is not known nothing is old. */
	if (set) rc = tick_expiry(s, now, t);
	if (rc >= 0 && set) rc = tick_ended(s, JOB_COMPLETED, s->config.keep_completed_ms, now, t);
	if (rc >= 0 && set) rc = tick_ended(s, JOB_FAILED, s->config.keep_failed_ms, now, t);
	if (rc >= 0 && set) rc = tick_events(s, now, t);
	if (rc >= 0 && set) rc = tick_idents(s, now, t);
	if (rc >= 0) rc = note_time(s, now, set);
	if (rc >= 0) rc = store_space_tick(s, t->batch);
	return rc;
}
