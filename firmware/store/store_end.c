/* What becomes of a job: the end of an attempt, cancelling, queueing again, and the events that tell of it.
 */
#include <string.h>

#include "store/store_internal.h"

/* ---- events ---- */

int store_event_add(struct store *s, int64_t job_id, int64_t now_ms, struct str json, int64_t *seq)
{
	*seq = s->tally.last_seq + 1;
	int rc = store_write(s, SQL_EVENT_PUT, "iiis", *seq, job_id, now_ms, json);
	if (rc < 0) return rc;
	s->tally.last_seq = *seq;
	if (!s->tally.first_seq) s->tally.first_seq = *seq;
	return 0;
}

static struct str event_json(struct store *s, const struct job_result *r)
{
	struct buf b;

	buf_init(&b, s->event, sizeof s->event);
	job_result_json(&b, r);
	return buf_view(&b);
}

int store_event_again(struct store *s, int64_t job_id, struct str message_id, enum job_state state)
{
	int64_t now = hal_clock_wall_ms(NULL), seq;
	char provider[64] = "", provider_message_id[128] = "";
	struct job_result r = {.message_id = message_id};
	struct str json = {NULL, 0};
	sqlite3_stmt *st;
	int rc = store_row(s, SQL_EVENT_OF_JOB, &st, "i", job_id);

	if (rc == 1) {
		store_column(st, 0, s->event, sizeof s->event);
		json = str_from(s->event);
		store_column(st, 1, provider, sizeof provider);
		store_column(st, 2, provider_message_id, sizeof provider_message_id);
		r.sent_at_ms = sqlite3_column_int64(st, 3);
	}
	store_end(st);
	if (rc < 0) return rc;
	if (!json.len) {
		r.kind = state == JOB_COMPLETED ? JOB_RESULT_SENT : JOB_RESULT_FAILED;
		r.provider_name = str_from(provider);
		r.provider_message_id = str_from(provider_message_id);
		json = event_json(s, &r);
	}
	return store_event_add(s, job_id, now, json, &seq);
}

/* ---- the end of an attempt ---- */

static int finish_row_read(struct store *s, struct store_claim_slot *c)
{
	sqlite3_stmt *st;

	if (c->known) return 1;
	int rc = store_row(s, SQL_FINISH_JOB, &st, "i", c->id);
	if (rc != 1) return rc;
	c->row = (struct store_try){(enum job_state)sqlite3_column_int(st, 0),
				    sqlite3_column_int64(st, 1),
				    sqlite3_column_int64(st, 2),
				    sqlite3_column_int64(st, 3),
				    sqlite3_column_int64(st, 4),
				    sqlite3_column_int64(st, 5)};
	store_end(st);
	return 1;
}

static int finish_rcpts(struct store *s, const struct store_finish *f, struct store_try *row)
{
	/* One recipient, or all sent: the job's state says it all. */
	if (!f->rcpts || row->rcpt_count < 2 || f->state == JOB_COMPLETED) return 0;
	for (size_t i = 0; i < f->rcpt_count && i < (size_t)row->rcpt_count; i++) {
		const struct store_rcpt_outcome *o = &f->rcpts[i];

		if (o->state == STORE_RCPT_WAITING && !o->text) continue;
		int rc = store_write(s, SQL_RCPT_SET, "iiiz", STORE_RCPT_KEY(f->id, i), I64(o->state),
				     I64(o->code), o->text);
		if (rc < 0) return rc;
		if (o->state != STORE_RCPT_WAITING) row->settled += rc;
	}
	return 0;
}

static int finish_event(struct store *s, const struct store_finish *f, int64_t now, int64_t *seq)
{
	struct job_result r = {0};
	struct str json = f->event;

	*seq = 0;
	if (!f->publish) return 0;
	if (!json.len || json.len >= sizeof s->event) {
		int rc = store_job_read(s, f->id, &s->job);

		if (rc < 0) return rc;
		r.kind = f->state == JOB_COMPLETED      ? JOB_RESULT_SENT
			 : f->reason == JOB_REASON_HELD ? JOB_RESULT_HELD
							: JOB_RESULT_FAILED;
		r.message_id = str_from(s->job.message_id);
		r.provider_name = str_from(s->job.provider);
		r.provider_message_id = str_from(f->provider_message_id);
		r.sent_at_ms = f->ended_ms;
		r.error = str_from(f->text);
		r.retry_count = f->retry_count;
		r.next_retry_at_ms = f->state == JOB_PENDING ? f->due_ms : 0;
		json = event_json(s, &r);
	}
	return store_event_add(s, f->id, now, json, seq);
}

/* What fits, whole lines of it. */
static struct str log_cut(struct str log)
{
	if (log.len <= STORE_LOG_MAX) return log;
	log.len = STORE_LOG_MAX;
	while (log.len && log.ptr[log.len - 1] != '\n')
		log.len--;
	return log;
}

static int finish_log(struct store *s, const struct store_finish *f, const struct store_try *row)
{
	int64_t n = f->counted ? (row->try_n + 1) % STORE_ATTEMPT_KEYS : 0;
	struct str log = log_cut(f->log);

	if (!log.len || !store_space_is_ample(s)) return 0;
	s->tally.used_bytes += (int64_t)log.len + 16;
	return store_write(s, SQL_LOG_PUT, "iis", STORE_ATTEMPT_KEY(f->id, n), f->ended_ms, log);
}

static int finish_job(struct store *s, const struct store_finish *f, const struct store_try *row, int64_t seq)
{
	int64_t first = row->first_failure_ms, due = f->state == JOB_PENDING ? f->due_ms : 0;
	int rc;

	if (!f->counted)
		return store_write(s, SQL_FINISH_HOLD, "iiiiiiiizz", f->id, I64(f->state), I64(f->reason),
				   due, I64(f->retry_count), row->settled, f->ended_ms, seq, f->text,
				   f->provider_message_id);
	if (!first && f->state != JOB_COMPLETED) first = f->ended_ms;
	rc = row->try_n > 0 ? store_write(s, SQL_ATTEMPT_KEEP, "i", f->id) : 0;
	if (rc < 0) return rc;
	return store_write(s, SQL_FINISH_TRY, "iiiiiiiiiiiiiizzz", f->id, I64(f->state), I64(f->reason), due,
			   I64(f->retry_count), row->settled, f->ended_ms, first, seq, row->try_n + 1,
			   f->started_ms, f->ended_ms, due, I64(f->code), f->host, f->text,
			   f->provider_message_id);
}

static void finish_tally(struct store *s, const struct store_finish *f)
{
	if (f->state == JOB_PENDING) return;
	s->tally.count[JOB_PENDING]--;
	s->tally.count[f->state]++;
	if (f->state == JOB_COMPLETED) s->tally.last_success_ms = f->ended_ms;
	if (s->tally.oldest_id == f->id) s->tally.oldest_id = 0;
}

int store_op_finish(struct store *s, struct store_finish *f)
{
	struct store_claim_slot *c = store_claim_find(s, f->id);
	int64_t seq = 0;

	if (!c || c->ending) return ERR_NOT_FOUND;
	int rc = finish_row_read(s, c);
	if (rc < 0) return rc;
	struct store_try row = c->row;
	/* Handed in again after an error that came when the commit was on flash already: nothing is written
	 * twice. */
	bool there = rc == 1 && (row.state != JOB_PENDING || (c->unsure && f->counted && row.try_n &&
							      row.try_started_ms == f->started_ms));
	if (rc == 0 || there) {
		c->ending = true;
		c->due_ms = STORE_DUE_ANY;
		return there ? 0 : ERR_NOT_FOUND;
	}
	rc = store_begin(s);
	if (rc >= 0) rc = finish_rcpts(s, f, &row);
	if (rc >= 0) rc = finish_event(s, f, f->ended_ms, &seq);
	if (rc >= 0) rc = finish_log(s, f, &row);
	if (rc >= 0) rc = finish_job(s, f, &row, seq);
	/* Nothing changed: there is no such row, which is found when this runs again alone and reads it. */
	if (rc == 0) rc = ERR_NOT_FOUND;
	c->known = false;
	if (rc < 0) return rc;
	c->ending = true;
	c->due_ms = f->state == JOB_PENDING ? f->due_ms : STORE_DUE_NEVER;
	finish_tally(s, f);
	return 0;
}

/* ---- ends without an attempt, and beginnings anew ---- */

int store_job_give_up(struct store *s, int64_t id, enum job_reason reason, const char *why, struct str event)
{
	int64_t now = hal_clock_wall_ms(NULL), seq;
	struct job_result r = {.kind = JOB_RESULT_FAILED, .error = str_from(why)};
	int rc;

	if (!event.len || event.len >= sizeof s->event) {
		rc = store_job_read(s, id, &s->job);
		if (rc < 0) return rc;
		r.message_id = str_from(s->job.message_id);
		r.retry_count = s->job.retry_count;
		event = event_json(s, &r);
	}
	rc = store_event_add(s, id, now, event, &seq);
	if (rc >= 0) rc = store_write(s, SQL_GIVE_UP, "iiiiz", id, I64(reason), now, seq, why);
	if (rc < 0) return rc;
	s->tally.count[JOB_PENDING]--;
	s->tally.count[JOB_FAILED]++;
	if (s->tally.oldest_id == id) s->tally.oldest_id = 0;
	return 0;
}

struct end_row {
	enum job_state state;
	int64_t created_ms, expires_ms, rcpt_count, due_ms, src_len;
};

static int end_row_read(struct store *s, int64_t id, struct end_row *row)
{
	sqlite3_stmt *st;
	int rc = store_row(s, SQL_END_JOB, &st, "i", id);

	if (rc != 1) return rc < 0 ? rc : ERR_NOT_FOUND;
	*row = (struct end_row){(enum job_state)sqlite3_column_int(st, 0),
				sqlite3_column_int64(st, 3),
				sqlite3_column_int64(st, 4),
				sqlite3_column_int64(st, 5),
				sqlite3_column_int64(st, 6),
				sqlite3_column_int64(st, 7)};
	store_end(st);
	return 0;
}

int store_op_cancel(struct store *s, struct store_cancel *c)
{
	struct end_row row = {0};
	int rc = end_row_read(s, c->id, &row);

	if (rc < 0) return rc;
	if (row.state != JOB_PENDING) return ERR_STATE;
	if (store_claim_find(s, c->id)) return ERR_BUSY;
	return store_job_give_up(s, c->id, JOB_REASON_CANCELLED, "cancelled", c->event);
}

/* A failed job. It may wait as long again as it was allowed to at first. */
int store_job_requeue(struct store *s, int64_t id)
{
	int64_t now = hal_clock_wall_ms(NULL), sent = 0;
	struct end_row row = {0};
	int rc = end_row_read(s, id, &row);

	if (rc == 0 && !row.src_len) return ERR_STATE; /* its original was lost: there is nothing to send */
	if (rc == 0 && row.rcpt_count > 1) {
		rc = store_write(s, SQL_RCPT_AGAIN, "i", STORE_RCPT_KEY(id, 0));
		if (rc >= 0) rc = store_number(s, SQL_RCPT_COUNT_SENT, &sent, "i", STORE_RCPT_KEY(id, 0));
	}
	if (rc < 0) return rc;
	int64_t expires = row.expires_ms;
	if (expires != INT64_MAX)
		expires = now + (row.expires_ms > row.created_ms ? row.expires_ms - row.created_ms : 0);
	if (expires < now + 3600000) expires = now + 3600000;
	rc = store_write(s, SQL_REQUEUE, "iiii", id, now, expires, sent);
	if (rc < 0) return rc;
	s->tally.count[JOB_FAILED]--;
	s->tally.count[JOB_PENDING]++;
	if (expires < s->tally.next_expiry_ms) s->tally.next_expiry_ms = expires;
	s->tally.oldest_id = 0;
	store_job_due(s, now);
	return 0;
}

static int requeue_one(struct store *s, int64_t id)
{
	int64_t now = hal_clock_wall_ms(NULL);
	struct end_row row = {0};
	int rc = end_row_read(s, id, &row);

	if (rc < 0) return rc;
	if (row.state == JOB_FAILED) return store_job_requeue(s, id);
	if (row.state != JOB_PENDING || store_claim_find(s, id)) return ERR_STATE;
	if (row.due_ms <= now) return 0;
	store_job_due(s, now);
	rc = store_write(s, SQL_DUE_NOW, "ii", id, now);
	return rc < 0 ? rc : 0;
}

int store_op_requeue(struct store *s, struct store_requeue *r)
{
	int rc = 0;

	r->at_next = r->at;
	r->count = 0;
	if (r->id) {
		rc = requeue_one(s, r->id);
		r->count = rc == 0;
		return rc;
	}
	while (r->count < r->batch) {
		int64_t id;

		rc = store_number(s, SQL_FAILED_AFTER, &id, "ii", r->at_next, I64(1));
		if (rc != 1) break;
		rc = store_job_requeue(s, id);
		if (rc < 0 && rc != ERR_STATE) return rc;
		r->at_next = id;
		r->count++;
	}
	return rc < 0 ? rc : 0;
}
