/* The result event: the integration guide's "Expected Response" and "Error Response Format", and more. */
#include "base/timefmt.h"
#include "job/job.h"

#define CLOSE_BYTES 48 /* of `],"recipients_left_out":18446744073709551615}` */

static void add_text(struct buf *b, const char *before, struct str s)
{
	buf_puts(b, before);
	buf_puts(b, "\"");
	buf_json(b, s);
	buf_puts(b, "\"");
}

static void add_time(struct buf *b, const char *before, int64_t ms)
{
	buf_puts(b, before);
	if (ms == 0) {
		buf_puts(b, "null");
		return;
	}
	buf_puts(b, "\"");
	timefmt_rfc3339(b, ms, false);
	buf_puts(b, "\"");
}

static void add_head(struct buf *b, const struct job_result *r)
{
	if (r->kind == JOB_RESULT_SENT) {
		add_text(b, "{\"success\":true,\"message_id\":", r->message_id);
		buf_puts(b, ",\"status\":\"sent\"");
		add_text(b, ",\"provider_response\":{\"provider_name\":", r->provider_name);
		add_text(b, ",\"provider_message_id\":", r->provider_message_id);
		add_time(b, ",\"sent_at\":", r->sent_at_ms);
		buf_puts(b, "}");
		return;
	}
	buf_puts(b, "{\"success\":false");
	if (r->kind == JOB_RESULT_HELD) buf_puts(b, ",\"status\":\"held\"");
	add_text(b, ",\"error\":", r->error);
	buf_printf(b, ",\"retry_count\":%u,\"max_retries\":%u", r->retry_count, r->max_retries);
	add_time(b, ",\"next_retry_at\":", r->next_retry_at_ms);
	add_text(b, ",\"message_id\":", r->message_id);
}

static void add_rcpt(struct buf *b, const struct job_result_rcpt *rcpt, bool first, bool with_text)
{
	static const char *const names[] = {
		[JOB_RESULT_SENT] = "sent", [JOB_RESULT_FAILED] = "failed", [JOB_RESULT_HELD] = "pending"};

	add_text(b, first ? "{\"address\":" : ",{\"address\":", rcpt->address);
	buf_printf(b, ",\"status\":\"%s\"", names[rcpt->kind]);
	if (with_text && rcpt->text.len > 0)
		add_text(b, rcpt->kind == JOB_RESULT_SENT ? ",\"response\":" : ",\"error\":", rcpt->text);
	buf_puts(b, "}");
}

static void cut_back(struct buf *b, size_t len)
{
	b->len = len;
	b->ptr[len] = '\0';
	b->cut = false;
}

/* As many as fit, those that were not sent to first. */
static size_t add_some(struct buf *b, const struct job_result *r)
{
	size_t added = 0, mark;

	for (int sent = 0; sent <= 1; sent++)
		for (size_t i = 0; i < r->rcpt_count; i++) {
			if ((r->rcpts[i].kind == JOB_RESULT_SENT) != sent) continue;
			mark = b->len;
			add_rcpt(b, &r->rcpts[i], added == 0, false);
			if (b->cut || b->cap - b->len <= CLOSE_BYTES) {
				cut_back(b, mark);
				return added;
			}
			added++;
		}
	return added;
}

void job_result_json(struct buf *b, const struct job_result *r)
{
	size_t mark, added;

	add_head(b, r);
	if (r->rcpt_count < 2 || b->cut) {
		buf_puts(b, "}");
		return;
	}
	mark = b->len;
	buf_puts(b, ",\"recipients\":[");
	for (size_t i = 0; i < r->rcpt_count; i++)
		add_rcpt(b, &r->rcpts[i], i == 0, true);
	buf_puts(b, "]}");
	if (!b->cut) return;
	cut_back(b, mark);
	buf_puts(b, ",\"recipients\":[");
	added = add_some(b, r);
	buf_puts(b, "]");
	if (added < r->rcpt_count) buf_printf(b, ",\"recipients_left_out\":%zu", r->rcpt_count - added);
	buf_puts(b, "}");
}
