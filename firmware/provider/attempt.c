/* One attempt: the stored original becomes a mail, and the mail goes out. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_link.h"
#include "provider/maildir.h"
#include "provider/pool.h"

/* ---- the mail ---- */

static int resolve(struct worker *w, struct job_address *a)
{
	char text[sizeof w->pool->alias->address];
	const char *alias;
	struct str kept;

	if (a->addr.len == 0 || a->domain.len > 0) return 0;
	hal_mutex_lock(&w->pool->lock);
	alias = spec_alias(w->pool, a->addr);
	snprintf(text, sizeof text, "%s", alias ? alias : "");
	hal_mutex_unlock(&w->pool->lock);
	kept = arena_str(&w->arena, str_from(text));
	if (kept.len > 0 && job_address_parse(&w->arena, kept, a, NULL) == 0 && a->domain.len > 0) return 0;
	snprintf(w->why, sizeof w->why, "not an address, and no alias: %.*s",
		 a->addr.len < 64 ? (int)a->addr.len : 64, a->addr.ptr);
	return ERR_INVALID;
}

static int resolve_all(struct worker *w)
{
	struct job *job = &w->job;
	int rc = resolve(w, &job->from);

	if (rc >= 0) rc = resolve(w, &job->reply_to);
	for (size_t i = 0; rc >= 0 && i < job->rcpt_count; i++)
		rc = resolve(w, &job->rcpts[i].address);
	return rc;
}

static void part_add(struct worker *w, const struct job_text *text, const char *type)
{
	size_t n = w->input.part_count;

	if (!text->present) return;
	w->parts[n] = (struct mail_part){.role = MAIL_BODY, .type = type};
	if (w->streamed) {
		job_text_reader_init(&w->reader[n], original_fetch, w, text->src_at);
		w->parts[n].source = mail_source_job_text(&w->reader[n]);
	} else {
		w->parts[n].source = mail_source_memory(&w->memory[n], text->utf8);
	}
	w->input.part_count++;
}

static int mail_prepare(struct worker *w)
{
	const struct provider *p = w->provider;
	struct mail_input *in = &w->input;
	struct mail_sender sender;
	struct buf b;
	bool clock_set;
	size_t bytes_max;
	int rc;

	(void)hal_clock_wall_ms(&clock_set);
	*in = (struct mail_input){.job = &w->job, .parts = w->parts};
	in->provider_from = p->has_from ? &p->from : NULL;
	in->from_override = p->has_from && p->spec.from_override ? &p->from : NULL;
	in->date_known = clock_set;
	in->date_ms = w->claimed.created_ms;
	rc = mail_sender_choose(&w->job, in->provider_from, in->from_override, &sender);
	if (rc < 0) {
		snprintf(w->why, sizeof w->why, "no from: neither the job nor the provider names one");
		return rc;
	}
	buf_init(&b, w->message_id, sizeof w->message_id);
	job_message_id(&b, w->job.tenant_id, str_from(w->claimed.message_id), sender.domain);
	in->message_id = buf_view(&b);
	part_add(w, &w->job.text, "text/plain");
	part_add(w, &w->job.html, "text/html");
	rc = mail_open(&w->mail, in);
	if (rc >= 0) rc = mail_measure(&w->mail);
	if (rc < 0) {
		snprintf(w->why, sizeof w->why, "%s", w->mail.why ? w->mail.why : err_text(rc));
		return rc;
	}
	hal_mutex_lock(&w->pool->lock);
	bytes_max = w->pool->message_bytes_max;
	hal_mutex_unlock(&w->pool->lock);
	if (w->mail.info.bytes > 0 && (uint64_t)w->mail.info.bytes > bytes_max) {
		snprintf(w->why, sizeof w->why, "the mail is larger than [limits] message_bytes");
		return ERR_TOO_LARGE;
	}
	return 0;
}

static int body_read(void *arg, char *bytes, size_t cap)
{
	return mail_read(arg, bytes, cap);
}

static int body_rewind(void *arg)
{
	return mail_rewind(arg);
}

static void envelope_prepare(struct worker *w)
{
	struct smtp_mail *e = &w->envelope;

	*e = (struct smtp_mail){
		.from = w->mail.sender.envelope,
		.rcpts = w->rcpts,
		.rcpt_count = w->job.rcpt_count,
		.size = w->mail.info.bytes,
		.body_8bit = w->mail.info.eight_bit,
		.smtputf8 = w->mail.info.smtputf8,
		.body = {body_read, body_rewind, &w->mail},
	};
	for (size_t i = 0; i < w->job.rcpt_count; i++) {
		memset(&w->rcpts[i], 0, sizeof w->rcpts[i]);
		w->rcpts[i].addr = w->job.rcpts[i].address.addr;
		w->rcpts[i].skip = worker_is_done(w, i);
	}
}

/* What became of the recipients that are settled: the claim says only that they are. */
static int before_read(struct worker *w)
{
	const uint64_t *done = w->claimed.rcpt_done;
	struct store_rcpt page[8];
	struct store_rcpt_list l;
	size_t have = 0;
	int rc;

	if (!(done[0] | done[1] | done[2] | done[3])) return 0;
	while (have < w->job.rcpt_count) {
		store_rcpt_list_init(&l);
		l.id = w->claimed.id;
		l.from = (unsigned)have;
		l.rcpts = page;
		l.cap = sizeof page / sizeof *page;
		rc = store_do(w->pool->store, &l.op);
		if (rc < 0 || l.count == 0) return rc < 0 ? rc : ERR_CORRUPT;
		for (size_t i = 0; i < l.count && have < w->job.rcpt_count; i++)
			w->before[have++] = page[i].state;
	}
	return 0;
}

static int prepare(struct worker *w)
{
	int rc;

	w->bad = false;
	w->why[0] = '\0';
	w->host[0] = '\0';
	w->sent_reply.code = 0;
	w->sent_reply.text[0] = '\0';
	w->job.rcpt_count = 0;
	rc = original_open(w);
	if (rc >= 0) rc = before_read(w);
	if (rc >= 0) rc = resolve_all(w);
	if (rc >= 0) rc = mail_prepare(w);
	if (rc >= 0)
		envelope_prepare(w);
	else
		w->bad = err_class(rc) == ERR_CLASS_GIVE_UP || err_class(rc) == ERR_CLASS_RESTART;
	return rc < 0 ? rc : 0;
}

/* ---- sending ---- */

static void send_smtp(struct worker *w)
{
	struct conn *c;

	hal_mutex_lock(&w->pool->lock);
	c = conn_take(w->pool, w->provider);
	hal_mutex_unlock(&w->pool->lock);
	conn_send(w, c);
	hal_mutex_lock(&w->pool->lock);
	conn_give(w->pool, c);
	hal_mutex_unlock(&w->pool->lock);
}

static void send_maildir(struct worker *w)
{
	struct provider *p = w->provider;
	struct maildir_mail m = {.mail = &w->mail, .job = &w->job, .message_id = w->input.message_id};
	bool made;

	hal_mutex_lock(&p->ready_lock);
	made = p->maildir_made;
	hal_mutex_unlock(&p->ready_lock);
	(void)maildir_deliver(p->spec.path, &made, &m);
	hal_mutex_lock(&p->ready_lock);
	p->maildir_made = made;
	hal_mutex_unlock(&p->ready_lock);
	snprintf(w->host, sizeof w->host, "%s", p->spec.path);
	w->reused = false;
	w->envelope.verdict = m.verdict;
	if (m.verdict.class == SMTP_SENT) w->sent_reply = m.verdict.reply;
	for (size_t i = 0; i < w->job.rcpt_count; i++)
		if (!w->rcpts[i].skip) w->rcpts[i].verdict = m.verdict;
}

/* The mail cannot be made: the same for all recipients. */
static void send_nothing(struct worker *w, int err)
{
	struct smtp_verdict v = {.class = w->bad ? SMTP_FAIL : SMTP_HOLD, .err = err};

	snprintf(v.reply.text, sizeof v.reply.text, "%.190s", w->why[0] ? w->why : err_text(err));
	w->reused = false;
	w->envelope.verdict = v;
	if (w->job.rcpt_count == 0) w->rcpts[0].verdict = v;
	for (size_t i = 0; i < w->job.rcpt_count; i++) {
		w->rcpts[i].skip = worker_is_done(w, i);
		w->rcpts[i].verdict = v;
	}
}

void attempt_run(struct worker *w, struct finish *f, bool *release)
{
	int rc;

	store_finish_init(&f->op);
	f->texts_used = 0;
	f->op.started_ms = hal_clock_wall_ms(NULL);
	rc = prepare(w);
	if (rc < 0)
		send_nothing(w, rc);
	else if (w->provider->spec.type == SETTINGS_PROVIDER_MAILDIR)
		send_maildir(w);
	else
		send_smtp(w);
	*release = !ending_make(w, f);
}
