#include "provider/outcome.h"

#include "base/check.h"
#include "base/err.h"

/* Whose fault an error before the mail is. */
static enum outcome_fault hold_fault(int err, enum retry_hold hold, bool link_up)
{
	enum outcome_fault fault;

	switch (err) {
	case ERR_STOPPING: return OUTCOME_STOPPED;
	case ERR_IO:
	case ERR_NO_SPACE:
	case ERR_READ_ONLY:
	case ERR_FULL:
	case ERR_NO_MEMORY: return OUTCOME_HELD_LOCAL;
	case ERR_LINK_DOWN:
	case ERR_UNREACHABLE:
	case ERR_DNS: fault = OUTCOME_HELD_LINK; break;
	case ERR_AUTH: fault = OUTCOME_HELD_AUTH; break;
	default: fault = link_up ? OUTCOME_HELD_DOWN : OUTCOME_HELD_LINK; break;
	}
	if (hold == RETRY_HOLD_NONE || (hold == RETRY_HOLD_LINK && fault != OUTCOME_HELD_LINK))
		return OUTCOME_TRY;
	return fault;
}

enum outcome_fault outcome_fault(enum smtp_class cls, int err, enum retry_hold hold, bool link_up)
{
	switch (cls) {
	case SMTP_SENT: return OUTCOME_SENT;
	case SMTP_AGAIN: return OUTCOME_AGAIN;
	case SMTP_FAIL: return OUTCOME_FAIL;
	case SMTP_TRY: return err == ERR_STOPPING ? OUTCOME_STOPPED : OUTCOME_TRY;
	case SMTP_UNCERTAIN:
		/* When it was us who hung up, the server may still be taking it: as with a late reply. */
		if (err == ERR_STOPPING) return OUTCOME_STOPPED_LATE;
		return err == ERR_TIMEOUT ? OUTCOME_LATE : OUTCOME_UNCERTAIN;
	case SMTP_HOLD: return hold_fault(err, hold, link_up);
	case SMTP_NONE: return OUTCOME_AGAIN;
	}
	CHECK(false);
	return OUTCOME_TRY;
}

enum breaker_event outcome_breaker(enum outcome_fault fault, int code)
{
	switch (fault) {
	case OUTCOME_SENT: return BREAKER_OK;
	case OUTCOME_TRY:
	case OUTCOME_FAIL:
		/* It answered about the mail itself, so it is there; a cut or a mail of ours that is wrong
		 * says nothing. */
		return code ? BREAKER_OK : BREAKER_SILENT;
	case OUTCOME_HELD_LINK:
	case OUTCOME_HELD_DOWN: return BREAKER_DOWN;
	case OUTCOME_HELD_AUTH: return BREAKER_AUTH;
	case OUTCOME_AGAIN:
	case OUTCOME_UNCERTAIN:
	case OUTCOME_LATE:
	case OUTCOME_HELD_LOCAL:
	case OUTCOME_STOPPED:
	case OUTCOME_STOPPED_LATE: return BREAKER_SILENT;
	}
	return BREAKER_SILENT;
}

void outcome_count(struct outcome_tally *t, enum outcome_fault fault)
{
	switch (fault) {
	case OUTCOME_SENT:
		t->sent++;
		t->changed = true;
		return;
	case OUTCOME_FAIL:
		t->failed++;
		t->changed = true;
		return;
	case OUTCOME_LATE:
		t->late = true;
		t->uncertain = true;
		t->counts = true;
		break;
	case OUTCOME_UNCERTAIN:
		t->uncertain = true;
		t->counts = true;
		break;
	case OUTCOME_TRY: t->counts = true; break;
	case OUTCOME_HELD_LOCAL: t->local = true; break;
	case OUTCOME_STOPPED_LATE:
		t->uncertain = true;
		t->late = true;
		t->stopped = true;
		break;
	case OUTCOME_STOPPED: t->stopped = true; break;
	case OUTCOME_AGAIN: t->again = true; break;
	case OUTCOME_HELD_LINK:
	case OUTCOME_HELD_DOWN:
	case OUTCOME_HELD_AUTH: break;
	}
	t->waiting++;
}

/* Nobody waits any more. */
static void decide_end(const struct outcome_in *in, struct outcome *out)
{
	bool failed = in->tally.failed > 0 || out->fail_waiting;

	out->state = failed ? JOB_FAILED : JOB_COMPLETED;
	out->kind = failed ? JOB_RESULT_FAILED : JOB_RESULT_SENT;
	if (out->fail_waiting)
		out->reason = JOB_REASON_RETRIES;
	else if (failed)
		out->reason = in->bad ? JOB_REASON_BAD : JOB_REASON_REFUSED;
	out->counted = true;
	out->publish = true;
	out->retry_count = in->retry_count;
}

/* A try was spent. */
static void decide_retry(const struct outcome_in *in, struct outcome *out)
{
	int64_t delay = retry_delay_ms(in->policy, in->retry_count, in->random);

	if (in->retry_count >= in->policy->max) {
		out->fail_waiting = true;
		decide_end(in, out);
		return;
	}
	if (in->tally.late && delay < OUTCOME_UNCERTAIN_MS) delay = OUTCOME_UNCERTAIN_MS;
	out->state = JOB_PENDING;
	out->reason = in->tally.uncertain ? JOB_REASON_UNCERTAIN : JOB_REASON_RETRY;
	out->counted = true;
	out->publish = true;
	out->kind = JOB_RESULT_FAILED;
	out->retry_count = in->retry_count + 1;
	out->due_ms = in->now_ms + delay;
}

/* It waits without a try spent. */
static void decide_hold(const struct outcome_in *in, struct outcome *out)
{
	out->state = JOB_PENDING;
	out->reason = JOB_REASON_HELD;
	out->publish = !in->told;
	out->kind = JOB_RESULT_HELD;
	out->retry_count = in->retry_count;
	out->due_ms = in->now_ms + (in->tally.local ? OUTCOME_LOCAL_MS : in->hold_ms);
}

/* We broke it off ourselves. */
static void decide_stopped(const struct outcome_in *in, struct outcome *out)
{
	out->release = !in->tally.changed && !in->tally.uncertain;
	out->state = JOB_PENDING;
	out->reason = in->tally.uncertain ? JOB_REASON_UNCERTAIN : JOB_REASON_NONE;
	out->kind = JOB_RESULT_HELD;
	out->retry_count = in->retry_count;
	out->due_ms = in->now_ms + (in->tally.late ? OUTCOME_UNCERTAIN_MS : 0);
}

/* The server took some of the recipients and wants the others in another mail. What has been settled is written
 * before anything else is sent: a power cut in between must not have anybody get the mail twice. */
static void decide_shared(const struct outcome_in *in, struct outcome *out)
{
	out->shared = true;
	out->state = JOB_PENDING;
	out->kind = JOB_RESULT_HELD;
	out->retry_count = in->retry_count;
	out->due_ms = in->now_ms;
}

void outcome_decide(const struct outcome_in *in, struct outcome *out)
{
	*out = (struct outcome){.state = JOB_PENDING, .retries_made = in->retry_count};
	if (in->tally.waiting == 0)
		decide_end(in, out);
	else if (in->tally.stopped)
		decide_stopped(in, out);
	else if (in->tally.counts)
		decide_retry(in, out);
	else if (in->tally.again && in->tally.changed)
		decide_shared(in, out);
	else
		decide_hold(in, out);
}
