/* One attempt, up to where it can be sent: the stored original becomes a mail, and its recipients an envelope. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "provider/pool.h"

/* Room for what an end says, by the number of recipients: one fits what job_result_json writes of one, with long
 * ids and texts; with many it leaves texts out. */
#define EVENT_BYTES_ONE 1536
#define EVENT_BYTES_MAX 4096
#define TEXTS_BYTES_ONE 224
#define TEXTS_BYTES_MAX 8192
#define LOG_BYTES       900

/* ---- memory ---- */

static void *take(struct attempt *a, size_t bytes)
{
	return arena_take(&a->batch->arena, bytes);
}

static bool memory_take(struct attempt *a, size_t rcpts)
{
	struct attempt_memory *m = take(a, sizeof *m);
	size_t n = rcpts > 0 ? rcpts : 1;

	a->envelope.rcpts = take(a, n * sizeof *a->envelope.rcpts);
	a->before = take(a, n * sizeof *a->before);
	if (!m || !a->envelope.rcpts || !a->before) return false;
	m->event_cap = n == 1 ? EVENT_BYTES_ONE : EVENT_BYTES_MAX;
	m->texts_cap = n * TEXTS_BYTES_ONE < TEXTS_BYTES_MAX ? n * TEXTS_BYTES_ONE : TEXTS_BYTES_MAX;
	m->log_cap = LOG_BYTES + (a->worker->conn ? a->worker->conn->log_len : 0);
	m->outcomes = take(a, n * sizeof *m->outcomes);
	m->event = take(a, m->event_cap);
	m->texts = take(a, m->texts_cap);
	m->log = take(a, m->log_cap);
	if (!m->outcomes || !m->event || !m->texts || !m->log) return false;
	a->memory = m;
	return true;
}

/* The addresses outlive the decoded job. */
static bool addresses_take(struct attempt *a, const struct job *job)
{
	for (size_t i = 0; i < job->rcpt_count; i++) {
		struct str addr = arena_str(&a->batch->arena, job->rcpts[i].address.addr);

		if (!addr.ptr) return false;
		a->envelope.rcpts[i].addr = addr;
	}
	a->envelope.rcpt_count = job->rcpt_count;
	return true;
}

/* All that an end is written into. ATTEMPT_NOT_NOW: when others of the batch have ended. */
static int reserve(struct attempt *a, const struct job *job)
{
	struct arena *arena = &a->batch->arena;
	size_t used = arena->used;

	if (memory_take(a, job->rcpt_count) && addresses_take(a, job)) return 0;
	a->memory = NULL;
	arena->used = used;
	if (batch_wants_room(a->batch)) return ATTEMPT_NOT_NOW;
	/* Those before are done with; what is still too small is too small for this job alone. */
	arena_reset(arena);
	if (memory_take(a, job->rcpt_count) && addresses_take(a, job)) return 0;
	a->memory = NULL;
	arena_reset(arena);
	return ERR_TOO_LARGE;
}

/* ---- the mail ---- */

static int resolve(struct composer *c, struct job_address *address)
{
	struct provider_pool *pool = c->attempt->worker->pool;
	char text[sizeof pool->alias->address];
	const char *alias;
	struct str kept;

	if (address->addr.len == 0 || address->domain.len > 0) return 0;
	hal_mutex_lock(&pool->lock);
	alias = spec_alias(pool, address->addr);
	snprintf(text, sizeof text, "%s", alias ? alias : "");
	hal_mutex_unlock(&pool->lock);
	kept = arena_str(&c->arena, str_from(text));
	if (kept.len > 0 && job_address_parse(&c->arena, kept, address, NULL) == 0 && address->domain.len > 0)
		return 0;
	snprintf(c->why, sizeof c->why, "not an address, and no alias: %.*s",
		 address->addr.len < 64 ? (int)address->addr.len : 64, address->addr.ptr);
	return ERR_INVALID;
}

static int resolve_all(struct composer *c)
{
	struct job *job = &c->job;
	int rc = resolve(c, &job->from);

	if (rc >= 0) rc = resolve(c, &job->reply_to);
	for (size_t i = 0; rc >= 0 && i < job->rcpt_count; i++)
		rc = resolve(c, &job->rcpts[i].address);
	return rc;
}

static void part_add(struct composer *c, const struct job_text *text, const char *type)
{
	size_t n = c->input.part_count;

	if (!text->present) return;
	c->parts[n] = (struct mail_part){.role = MAIL_BODY, .type = type};
	if (c->streamed) {
		job_text_reader_init(&c->reader[n], original_fetch, c, text->src_at);
		c->parts[n].source = mail_source_job_text(&c->reader[n]);
	} else {
		c->parts[n].source = mail_source_memory(&c->text[n], text->utf8);
	}
	c->input.part_count++;
}

static int parts_read(void *arg, char *bytes, size_t cap)
{
	struct composer *c = arg;

	return mail_read(&c->mail, bytes, cap);
}

static int parts_rewind(void *arg)
{
	struct composer *c = arg;

	return mail_rewind(&c->mail);
}

static int raw_read(void *arg, char *bytes, size_t cap)
{
	struct composer *c = arg;

	return mail_raw_read(&c->raw, bytes, cap);
}

static int raw_rewind(void *arg)
{
	struct composer *c = arg;

	return mail_raw_rewind(&c->raw);
}

/* What was made, as the envelope wants to know it. */
static int made(struct composer *c, int rc, const char *why, struct str from, const struct mail_info *info)
{
	struct smtp_mail *e = &c->attempt->envelope;

	if (rc < 0) {
		snprintf(c->why, sizeof c->why, "%s", why ? why : err_text(rc));
		return rc;
	}
	e->from = from;
	e->size = info->bytes;
	e->body_8bit = info->eight_bit;
	e->smtputf8 = info->smtputf8;
	return 0;
}

static int compose_parts(struct composer *c)
{
	struct mail *m = &c->mail;
	int rc;

	part_add(c, &c->job.text, "text/plain");
	part_add(c, &c->job.html, "text/html");
	rc = mail_open(m, &c->input);
	if (rc >= 0) rc = mail_measure(m);
	c->attempt->envelope.body = (struct smtp_body){parts_read, parts_rewind, c};
	return made(c, rc, m->why, m->sender.envelope, &m->info);
}

static int compose_raw(struct composer *c)
{
	struct mail_raw *m = &c->raw;
	int rc;

	if (c->streamed) job_text_reader_init(&c->reader[0], original_fetch, c, c->job.raw.src_at);
	rc = mail_raw_open(m, &c->input, c->streamed ? &c->reader[0] : NULL);
	c->attempt->envelope.body = (struct smtp_body){raw_read, raw_rewind, c};
	return made(c, rc, m->why, m->sender.envelope, &m->info);
}

static int compose(struct composer *c)
{
	const struct attempt *a = c->attempt;
	const struct provider *p = a->worker->provider;
	struct mail_input *in = &c->input;
	struct mail_sender sender;
	struct buf b;
	bool clock_set;
	int rc;

	(void)hal_clock_wall_ms(&clock_set);
	*in = (struct mail_input){.job = &c->job, .parts = c->parts};
	in->provider_from = p->has_from ? &p->from : NULL;
	in->from_override = p->has_from && p->spec.from_override ? &p->from : NULL;
	in->date_known = clock_set;
	in->date_ms = a->claimed->created_ms;
	rc = mail_sender_choose(&c->job, in->provider_from, in->from_override, &sender);
	if (rc < 0) {
		snprintf(c->why, sizeof c->why, "no from: neither the job nor the provider names one");
		return rc;
	}
	buf_init(&b, c->message_id, sizeof c->message_id);
	job_message_id(&b, c->job.tenant_id, str_from(a->claimed->message_id), sender.domain);
	in->message_id = buf_view(&b);
	return c->job.raw.present ? compose_raw(c) : compose_parts(c);
}

static int check_size(struct composer *c)
{
	struct provider_pool *pool = c->attempt->worker->pool;
	size_t bytes_max;

	hal_mutex_lock(&pool->lock);
	bytes_max = pool->message_bytes_max;
	hal_mutex_unlock(&pool->lock);
	if (c->attempt->envelope.size <= 0 || (uint64_t)c->attempt->envelope.size <= bytes_max) return 0;
	snprintf(c->why, sizeof c->why, "the mail is larger than [limits] message_bytes");
	return ERR_TOO_LARGE;
}

/* ---- the envelope ---- */

/* What became of the recipients that are settled: the claim says only that they are. */
static int before_read(struct attempt *a)
{
	const uint64_t *done = a->claimed->rcpt_done;
	struct store_rcpt page[8];
	struct store_rcpt_list l;
	size_t have = 0;
	int rc;

	if (!(done[0] | done[1] | done[2] | done[3])) return 0;
	while (have < a->envelope.rcpt_count) {
		store_rcpt_list_init(&l);
		l.id = a->claimed->id;
		l.from = (unsigned)have;
		l.rcpts = page;
		l.cap = sizeof page / sizeof *page;
		rc = store_do(a->worker->pool->store, &l.op);
		if (rc < 0 || l.count == 0) return rc < 0 ? rc : ERR_CORRUPT;
		for (size_t i = 0; i < l.count && have < a->envelope.rcpt_count; i++)
			a->before[have++] = page[i].state;
	}
	return 0;
}

static void envelope_prepare(struct composer *c)
{
	struct attempt *a = c->attempt;
	struct smtp_mail *e = &a->envelope;

	e->owner = a;
	e->envid = c->input.message_id;
	e->ret = SMTP_RET_HDRS;
	/* A mail that made a server hang up is not to take its neighbours with it again and again. */
	e->alone = a->claimed->retry_count > 0 || a->rounds > 0;
}

/* ---- both ---- */

void attempt_fail(struct attempt *a, const struct smtp_verdict *v)
{
	struct smtp_mail *e = &a->envelope;

	e->verdict = *v;
	for (size_t i = 0; i < e->rcpt_count; i++)
		if (!e->rcpts[i].skip) e->rcpts[i].verdict = *v;
}

/* The mail cannot be made: the same for all recipients. */
static void fail_unmade(struct attempt *a, int err, const char *why)
{
	struct smtp_verdict v = {.class = a->bad ? SMTP_FAIL : SMTP_HOLD, .err = err};

	snprintf(v.reply.text, sizeof v.reply.text, "%.190s", why[0] ? why : err_text(err));
	attempt_fail(a, &v);
}

static int prepare_first(struct composer *c)
{
	struct attempt *a = c->attempt;
	int rc, reserved;

	store_finish_init(&a->op);
	a->op.started_ms = hal_clock_wall_ms(NULL);
	c->job.rcpt_count = 0;
	rc = original_open(c);
	reserved = reserve(a, &c->job);
	if (reserved > 0) return reserved;
	if (reserved < 0) {
		/* Without its recipients: there is memory for how it ends in any case. */
		c->job.rcpt_count = 0;
		(void)reserve(a, &c->job);
		snprintf(c->why, sizeof c->why, "its recipients take more memory than a worker has");
		return reserved;
	}
	if (rc >= 0) rc = before_read(a);
	for (size_t i = 0; i < a->envelope.rcpt_count; i++)
		a->envelope.rcpts[i].skip = attempt_is_done(a, i);
	return rc;
}

static struct composer *composer_take(struct attempt *a)
{
	for (size_t i = 0; i < 2; i++) {
		struct composer *c = &a->worker->composers[i];

		if (c->attempt) continue;
		c->attempt = a;
		c->why[0] = '\0';
		a->composer = c;
		return c;
	}
	return NULL;
}

bool attempt_has_composer(const struct worker *w)
{
	return !w->composers[0].attempt || !w->composers[1].attempt;
}

void attempt_composed(struct attempt *a)
{
	if (!a->composer) return;
	a->composer->attempt = NULL;
	a->composer = NULL;
}

/* The aliases may add addresses to the header only; the envelope's were copied before. */
static int resolve_envelope(struct composer *c)
{
	struct attempt *a = c->attempt;
	int rc = resolve_all(c);

	for (size_t i = 0; rc >= 0 && a->rounds == 0 && i < a->envelope.rcpt_count; i++) {
		struct str addr = c->job.rcpts[i].address.addr;

		if (str_eq(addr, a->envelope.rcpts[i].addr)) continue;
		a->envelope.rcpts[i].addr = arena_str(&a->batch->arena, addr);
		if (!a->envelope.rcpts[i].addr.ptr) return ERR_TOO_LARGE;
	}
	return rc;
}

int attempt_prepare(struct attempt *a)
{
	struct composer *c = composer_take(a);
	int rc;

	if (!c) return ATTEMPT_NOT_NOW;
	rc = a->rounds == 0 ? prepare_first(c) : original_open(c);
	if (rc > 0) {
		attempt_composed(a);
		return rc;
	}
	if (rc >= 0) rc = resolve_envelope(c);
	if (rc >= 0) rc = compose(c);
	if (rc >= 0) rc = check_size(c);
	if (rc >= 0) {
		envelope_prepare(c);
		return 0;
	}
	a->bad = err_class(rc) == ERR_CLASS_GIVE_UP || err_class(rc) == ERR_CLASS_RESTART;
	fail_unmade(a, rc, c->why);
	attempt_composed(a);
	return rc;
}

void attempt_note(struct attempt *a, struct str text)
{
	struct attempt_memory *m = a->memory;

	if (!m || m->log_cut) return;
	if (text.len + 1 > m->log_cap - m->log_len) {
		m->log_cut = true;
		return;
	}
	memcpy(m->log + m->log_len, text.ptr, text.len);
	m->log_len += text.len;
	m->log[m->log_len++] = '\n';
}
