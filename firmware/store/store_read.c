/* What people and the API see: one job, lists, attempts, recipients, events, numbers. */
#include <string.h>

#include "store/store_internal.h"

#define LIST_PIECE 512 /* rows a list looks at before others get their turn */

static const struct store_hold_slot *hold_of(const struct store *s, const char *provider)
{
	for (int i = 0; i < STORE_HOLDS; i++) {
		if (s->holds[i].provider[0] && strcmp(s->holds[i].provider, provider) == 0)
			return &s->holds[i];
	}
	return NULL;
}

static void job_strings(sqlite3_stmt *st, struct store_job *j)
{
	store_column(st, 4, j->provider, sizeof j->provider);
	store_column(st, 14, j->provider_message_id, sizeof j->provider_message_id);
	store_column(st, 16, j->tenant_id, sizeof j->tenant_id);
	store_column(st, 17, j->message_id, sizeof j->message_id);
	store_column(st, 18, j->to, sizeof j->to);
	store_column(st, 19, j->subject, sizeof j->subject);
	store_column(st, 20, j->user_id, sizeof j->user_id);
	store_column(st, 21, j->template_id, sizeof j->template_id);
	store_column(st, 22, j->campaign_id, sizeof j->campaign_id);
	store_column(st, 23, j->email_type, sizeof j->email_type);
	store_column(st, 24, j->source_app, sizeof j->source_app);
	store_column(st, 25, j->related_model_id, sizeof j->related_model_id);
	if (j->rcpt_count == 1 && sqlite3_column_int(st, 26) == JOB_RCPT_TO)
		store_column(st, 27, j->to, sizeof j->to);
	/* The last try's text is kept once; what stands in error came without a try. */
	if (sqlite3_column_type(st, 13) != SQLITE_NULL)
		store_column(st, 13, j->error, sizeof j->error);
	else if (j->state != JOB_COMPLETED && sqlite3_column_int(st, 11) &&
		 (j->reason || j->state == JOB_FAILED))
		store_column(st, 12, j->error, sizeof j->error);
}

int store_job_read(struct store *s, int64_t id, struct store_job *j)
{
	sqlite3_stmt *st;
	int rc = store_row(s, SQL_JOB_GET, &st, "i", id);

	if (rc != 1) return rc;
	memset(j, 0, sizeof *j);
	j->id = id;
	j->state = (enum job_state)sqlite3_column_int(st, 1);
	j->reason = (enum job_reason)sqlite3_column_int(st, 2);
	j->priority = (enum job_priority)sqlite3_column_int(st, 3);
	j->due_ms = sqlite3_column_int64(st, 5);
	j->expires_ms = sqlite3_column_int64(st, 6);
	j->retry_count = (unsigned)sqlite3_column_int(st, 7);
	j->rcpt_count = (unsigned)sqlite3_column_int(st, 8);
	j->created_ms = sqlite3_column_int64(st, 9);
	j->updated_ms = sqlite3_column_int64(st, 10);
	j->src_len = (size_t)sqlite3_column_int64(st, 15);
	job_strings(st, j);
	store_end(st);
	if (j->state != JOB_PENDING) return 1;
	const struct store_hold_slot *h = hold_of(s, j->provider);
	if (store_claim_find(s, id)) {
		j->state = JOB_PROCESSING;
	} else if (h) {
		j->reason = JOB_REASON_HELD;
		str_copy(j->error, sizeof j->error, str_from(h->text));
	}
	return 1;
}

int store_op_job_get(struct store *s, struct store_job_get *g)
{
	int64_t id = g->id;
	bool lives = false;
	sqlite3_stmt *st;
	int rc = 1;

	if (!id) {
		rc = store_row(s, SQL_IDENT_GET, &st, "ss", g->tenant_id, g->message_id);
		if (rc == 1) {
			id = sqlite3_column_int64(st, 0);
			lives = sqlite3_column_int64(st, 2) == 0;
		}
		store_end(st);
	}
	if (rc == 1) rc = store_job_read(s, id, &g->job);
	if (rc == 0 && lives) return store_missing(s);
	return rc < 0 ? rc : rc == 0 ? ERR_NOT_FOUND : 0;
}

/* ---- lists ---- */

static bool label_is(struct str wanted, const char *have)
{
	return !wanted.len || str_eq(wanted, str_from(have));
}

static bool contains(const char *text, struct str q)
{
	for (struct str t = str_from(text); t.len >= q.len; t.ptr++, t.len--) {
		if (str_eq_nocase((struct str){t.ptr, q.len}, q)) return true;
	}
	return false;
}

int store_rcpt_matches(struct store *s, int64_t id, struct str wanted, bool part)
{
	sqlite3_stmt *st;
	bool found = false;
	int rc = store_row(s, SQL_JOB_RCPT, &st, "i", id);

	if (rc != 1) return rc;
	struct str one = store_column_str(st, 3);
	if (sqlite3_column_int(st, 1) == 1)
		found = part ? contains(one.ptr ? one.ptr : "", wanted) : str_eq_nocase(one, wanted);
	bool more = sqlite3_column_int(st, 1) > 1;
	store_end(st);
	if (!more) return found;
	rc = store_query(s, SQL_RCPT_LIKE, &st, "i", STORE_RCPT_KEY(id, 0));
	while (rc >= 0 && !found && (rc = store_step(s, st)) == 1) {
		one = store_column_str(st, 0);
		found = part ? contains(one.ptr ? one.ptr : "", wanted) : str_eq_nocase(one, wanted);
	}
	store_end(st);
	return rc < 0 ? rc : found;
}

/* 1: belongs on the list. */
static int list_matches(struct store *s, const struct store_job_list *l, const struct store_job *j)
{
	int rc = 1;

	if (l->by_state && j->state != l->state) return 0;
	if (!label_is(l->tenant_id, j->tenant_id) || !label_is(l->provider, j->provider) ||
	    !label_is(l->user_id, j->user_id) || !label_is(l->template_id, j->template_id) ||
	    !label_is(l->campaign_id, j->campaign_id) || !label_is(l->email_type, j->email_type) ||
	    !label_is(l->source_app, j->source_app) || !label_is(l->related_model_id, j->related_model_id))
		return 0;
	if (l->to.len) rc = store_rcpt_matches(s, j->id, l->to, false);
	if (rc == 1 && l->q.len && !contains(j->subject, l->q) && !contains(j->message_id, l->q))
		rc = store_rcpt_matches(s, j->id, l->q, true);
	return rc;
}

static bool list_is_narrow(const struct store_job_list *l)
{
	return l->tenant_id.len || l->to.len || l->q.len || l->provider.len || l->user_id.len ||
	       l->template_id.len || l->campaign_id.len || l->email_type.len || l->source_app.len ||
	       l->related_model_id.len;
}

/* The highest claimed id below one; 0: none. */
static int64_t claimed_below(const struct store *s, int64_t id)
{
	int64_t best = 0;

	for (size_t i = 0; i < s->claims_used; i++) {
		if (s->claims[i].id < id && s->claims[i].id > best) best = s->claims[i].id;
	}
	return best;
}

/* Ids in their order, by the way that skips most of what does not belong there. */
static int list_query(struct store *s, const struct store_job_list *l, int64_t at, sqlite3_stmt **st)
{
	if (l->by_state && l->state >= JOB_COMPLETED)
		return store_query(s, SQL_LIST_ENDED, st, "iii", at, I64(LIST_PIECE), I64(l->state));
	if (l->by_state && !list_is_narrow(l))
		return store_query(s, SQL_LIST_PENDING, st, "ii", at, I64(l->cap + s->claims_used + 1));
	return store_query(s, SQL_LIST_ALL, st, "ii", at, I64(LIST_PIECE));
}

/* 1: goes on; 0: nothing more. */
static int list_piece(struct store *s, struct store_job_list *l)
{
	sqlite3_stmt *st;
	struct store_job *j = &s->job;
	int seen = 0, rc = list_query(s, l, l->at, &st);

	while (rc >= 0 && (rc = store_step(s, st)) == 1) {
		seen++;
		int64_t id = sqlite3_column_int64(st, 0);
		rc = store_job_read(s, id, j);
		if (rc == 1) rc = list_matches(s, l, j);
		if (rc < 0) break;
		if (rc == 1 && l->count == l->cap) {
			l->more = true;
			seen = 0;
			break;
		}
		l->at = id;
		if (rc == 1) l->jobs[l->count++] = *j;
	}
	store_end(st);
	return rc < 0 ? rc : seen > 0;
}

/* Claims are in memory: the list of those in work needs no search. */
static int list_claimed(struct store *s, struct store_job_list *l)
{
	int rc = 0;

	for (int64_t id = claimed_below(s, l->at); id && rc >= 0; id = claimed_below(s, id)) {
		rc = store_job_read(s, id, &s->job);
		if (rc == 1) rc = list_matches(s, l, &s->job);
		if (rc != 1) continue;
		l->more = l->count == l->cap;
		if (l->more) break;
		l->jobs[l->count++] = s->job;
	}
	return rc < 0 ? rc : 0;
}

int store_op_job_list(struct store *s, struct store_job_list *l)
{
	if (!l->at) {
		l->at = l->cursor > 0 ? l->cursor : INT64_MAX;
		l->count = 0;
		l->more = false;
	}
	int rc = l->by_state && l->state == JOB_PROCESSING ? list_claimed(s, l) : list_piece(s, l);
	if (rc == 1) return STORE_AGAIN;
	l->at = 0;
	return rc;
}

static void attempt_add(struct store_attempt_list *l, sqlite3_stmt *st, bool counted)
{
	if (l->count == l->cap || sqlite3_column_int64(st, 0) <= l->after) return;
	struct store_attempt *a = &l->attempts[l->count++];
	a->n = (unsigned)sqlite3_column_int(st, 0);
	a->started_ms = sqlite3_column_int64(st, 1);
	a->ended_ms = sqlite3_column_int64(st, 2);
	a->next_ms = sqlite3_column_int64(st, 3);
	a->counted = counted;
	a->code = sqlite3_column_int(st, 4);
	store_column(st, 5, a->host, sizeof a->host);
	store_column(st, 6, a->text, sizeof a->text);
	store_column(st, 7, a->log, sizeof a->log);
}

/* The earlier ones have a row each, the last one that counted is in the job's row, and a hold behind it only in
 * its transcript. */
int store_op_attempt_list(struct store *s, struct store_attempt_list *l)
{
	sqlite3_stmt *st;
	int rc = store_query(s, SQL_ATTEMPT_LIST, &st, "ii", STORE_ATTEMPT_KEY(l->id, l->after + 1),
			     STORE_ATTEMPT_KEY(l->id, STORE_ATTEMPT_KEYS - 1));

	l->count = 0;
	while (rc >= 0 && l->count < l->cap && (rc = store_step(s, st)) == 1)
		attempt_add(l, st, true);
	store_end(st);
	if (rc >= 0) rc = store_row(s, SQL_ATTEMPT_LAST, &st, "i", l->id);
	if (rc != 1) return rc < 0 ? rc : ERR_NOT_FOUND;
	attempt_add(l, st, true);
	store_end(st);
	rc = store_row(s, SQL_HOLD_LAST, &st, "i", l->id);
	if (rc == 1) attempt_add(l, st, false);
	store_end(st);
	return rc < 0 ? rc : 0;
}

/* The state of a recipient that has none of its own. */
static enum store_rcpt_state rcpt_state(enum job_state job, enum store_rcpt_state own)
{
	if (own != STORE_RCPT_WAITING || job == JOB_PENDING) return own;
	return job == JOB_COMPLETED ? STORE_RCPT_SENT : STORE_RCPT_FAILED;
}

int store_op_rcpt_list(struct store *s, struct store_rcpt_list *l)
{
	sqlite3_stmt *st;
	struct store_rcpt ends = {0}; /* code and text as the job's last try or end has them */
	int rc = store_row(s, SQL_JOB_RCPT, &st, "i", l->id);

	l->count = 0;
	if (rc != 1) return rc < 0 ? rc : ERR_NOT_FOUND;
	enum job_state state = (enum job_state)sqlite3_column_int(st, 0);
	bool one = sqlite3_column_int(st, 1) == 1, gave_up = sqlite3_column_type(st, 6) != SQLITE_NULL;
	ends.kind = (enum job_rcpt_kind)sqlite3_column_int(st, 2);
	ends.state = rcpt_state(state, STORE_RCPT_WAITING);
	ends.code = gave_up ? 0 : sqlite3_column_int(st, 4);
	store_column(st, 3, ends.address, sizeof ends.address);
	store_column(st, gave_up ? 6 : 5, ends.text, sizeof ends.text);
	store_end(st);
	if (one && l->from == 0 && l->cap) l->rcpts[l->count++] = ends;
	if (one) return 0;

	rc = store_query(s, SQL_RCPT_LIST, &st, "ii", STORE_RCPT_KEY(l->id, l->from),
			 STORE_RCPT_KEY(l->id, 255));
	while (rc >= 0 && l->count < l->cap && (rc = store_step(s, st)) == 1) {
		struct store_rcpt *r = &l->rcpts[l->count++];
		enum store_rcpt_state own = (enum store_rcpt_state)sqlite3_column_int(st, 2);

		*r = ends;
		r->n = (unsigned)sqlite3_column_int(st, 0);
		r->kind = (enum job_rcpt_kind)sqlite3_column_int(st, 1);
		r->state = rcpt_state(state, own);
		store_column(st, 4, r->address, sizeof r->address);
		if (own == STORE_RCPT_WAITING && state != JOB_PENDING) continue;
		r->code = sqlite3_column_int(st, 3);
		store_column(st, 5, r->text, sizeof r->text);
	}
	store_end(st);
	return rc < 0 ? rc : 0;
}

int store_op_event_list(struct store *s, struct store_event_list *l)
{
	sqlite3_stmt *st;
	int rc = store_query(s, SQL_EVENT_LIST, &st, "ii", l->after, I64(l->cap));

	l->count = 0;
	while (rc >= 0 && l->count < l->cap && (rc = store_step(s, st)) == 1) {
		struct store_event *e = &l->events[l->count++];

		e->seq = sqlite3_column_int64(st, 0);
		e->job_id = sqlite3_column_int64(st, 1);
		e->at_ms = sqlite3_column_int64(st, 2);
		store_column(st, 3, e->json, sizeof e->json);
		e->len = strlen(e->json);
	}
	store_end(st);
	return rc < 0 ? rc : 0;
}

/* ---- numbers ---- */

static int oldest(struct store *s)
{
	int rc = 0;

	if (s->tally.oldest_id == 0) {
		rc = store_number(s, SQL_OLDEST, &s->tally.oldest_id, "");
		if (rc >= 0 && s->tally.oldest_id)
			rc = store_number(s, SQL_CREATED, &s->tally.oldest_ms, "i", s->tally.oldest_id);
		if (rc >= 0 && !s->tally.oldest_id) s->tally.oldest_id = -1;
	}
	return rc;
}

int store_op_status(struct store *s, struct store_status *st)
{
	struct hal_storage_info info = {0};
	struct store_op op = st->op;

	int rc = s->db ? oldest(s) : 0;
	if (rc < 0) return rc;
	if (s->db) store_space_measure(s);
	hal_storage_info(&info);
	store_status_init(st);
	st->op = op;
	memcpy(st->count, s->tally.count, sizeof st->count);
	st->count[JOB_PROCESSING] = (int64_t)s->claims_used;
	st->count[JOB_PENDING] -= st->count[JOB_PROCESSING];
	if (st->count[JOB_PENDING] < 0) st->count[JOB_PENDING] = 0;
	st->oldest_waiting_ms = s->tally.oldest_id > 0 ? s->tally.oldest_ms : 0;
	st->last_success_ms = s->tally.last_success_ms;
	st->first_event_seq = s->tally.first_seq;
	st->last_event_seq = s->tally.last_seq;
	st->events_waiting = s->tally.first_seq ? s->tally.last_seq - s->tally.first_seq + 1 : 0;
	st->used_bytes = s->tally.used_bytes;
	st->max_bytes = s->config.max_bytes;
	st->free_bytes = info.free_bytes;
	st->full = s->full;
	st->reserve_used = !s->reserve_there;
	st->read_only = s->read_only;
	st->broken = s->db ? 0 : s->broken;
	st->quarantined = s->quarantined;
	st->salvaged_rows = s->salvaged_rows;
	st->lost_rows = s->lost_rows;
	st->groups = s->groups;
	st->grouped_ops = s->grouped_ops;
	st->syncs = info.syncs;
	st->written_bytes = info.written_bytes;
	return 0;
}
