/* A worker: waits for a provider that has due mail, and serves it until nothing more is due: a session, over one
 * connection after another, many mails in flight. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "log/log.h"
#include "provider/maildir.h"
#include "provider/pool.h"

/* ---- attempts that end ---- */

static void attempt_end(struct attempt *a)
{
	attempt_composed(a);
	batch_submit(a, !ending_make(a));
}

static bool has_class(const struct attempt *a, enum smtp_class class)
{
	const struct smtp_mail *e = &a->envelope;

	for (size_t i = 0; i < e->rcpt_count; i++)
		if (!e->rcpts[i].skip && e->rcpts[i].verdict.class == class) return true;
	return false;
}

/* Nothing became of it and nobody is to blame: the connection had died before it began, or the server breaks an
 * extension. It goes again as it is. When some recipients were settled, that is an end, to be stored. */
static bool goes_again(const struct attempt *a)
{
	return a->envelope.verdict.class == SMTP_AGAIN && !has_class(a, SMTP_SENT) &&
	       !has_class(a, SMTP_FAIL);
}

/* So often at most: for each quirk that a server may have, and for connections that had died. */
#define ROUNDS_MAX 6

static void again(struct attempt *a)
{
	struct smtp_verdict v = {.class = SMTP_TRY, .err = ERR_PROTOCOL};

	attempt_composed(a);
	if (a->rounds < ROUNDS_MAX) {
		batch_again(a);
		return;
	}
	snprintf(v.reply.text, sizeof v.reply.text, "%s", err_text(v.err));
	attempt_fail(a, &v);
	attempt_end(a);
}

/* ---- what the client asks for ---- */

/* The next one that a mail could be made of; those of which none can be made end here. NULL: none now. */
static struct attempt *take_next(struct worker *w)
{
	struct provider_pool *pool = w->pool;

	while (attempt_has_composer(w)) {
		struct attempt *a;
		int rc;

		hal_mutex_lock(&pool->lock);
		a = pool_is_over(pool, w) ? NULL : batch_next(w);
		if (a) batch_refill(w);
		hal_mutex_unlock(&pool->lock);
		if (!a) return NULL;
		rc = attempt_prepare(a);
		if (rc == 0) return a;
		if (rc > 0) return NULL;
		attempt_end(a);
	}
	return NULL;
}

/* From now on a is the provider's; its transcript begins with what was said when the connection was made. */
static void begin(struct worker *w, struct attempt *a, const char *host)
{
	batch_fly(a);
	snprintf(a->memory->host, sizeof a->memory->host, "%.127s", host);
	if (!w->conn || w->conn->log_len == 0) return;
	attempt_note(a, (struct str){w->conn->log, w->conn->log_len - 1});
	w->conn->log_len = 0;
}

static struct smtp_mail *supply_next(void *arg)
{
	struct worker *w = arg;
	struct attempt *a;

	if (!conn_may_go_on(w->conn)) return NULL;
	a = take_next(w);
	if (!a) return NULL;
	begin(w, a, w->conn->smtp.peer.text);
	a->reused = w->conn->mails > 0 || w->conn->reused;
	w->conn->mails++;
	return &a->envelope;
}

static void supply_written(void *arg, struct smtp_mail *mail)
{
	(void)arg;
	attempt_composed(mail->owner);
}

static void supply_done(void *arg, struct smtp_mail *mail)
{
	struct attempt *a = mail->owner;

	(void)arg;
	if (mail->verdict.class == SMTP_SENT) a->sent_reply = mail->verdict.reply;
	if (goes_again(a))
		again(a);
	else
		attempt_end(a);
}

/* ---- sending ---- */

/* There is no connection to be had: that is the first mail's outcome, and perhaps the others' in their turn. */
static void fail_first(struct worker *w, const struct smtp_verdict *v)
{
	struct attempt *a = take_next(w);

	if (!a) return;
	begin(w, a, w->conn->smtp.peer.text);
	a->reused = false;
	attempt_fail(a, v);
	attempt_end(a);
}

static void send_smtp(struct worker *w)
{
	const struct smtp_supply supply = {supply_next, supply_done, supply_written, w};
	struct provider_pool *pool = w->pool;
	struct smtp_verdict v;

	if (!w->conn) {
		hal_mutex_lock(&pool->lock);
		w->conn = conn_take(pool, w->provider);
		hal_mutex_unlock(&pool->lock);
	}
	if (conn_ready(w, &v) < 0) {
		fail_first(w, &v);
		return;
	}
	(void)smtp_run(&w->conn->smtp, &supply, w->conn->opened_ms + CONN_AGE_MS + CONN_RUN_MS);
	hal_mutex_lock(&pool->lock);
	if (w->conn->smtp.proven && !w->provider->proven)
		w->provider->proven_until_ms = hal_clock_in(QUIRKS_MS);
	/* Neither trusted before nor shown now says nothing. */
	if (w->conn->smtp.proven || w->conn->smtp.config.proven) w->provider->proven = w->conn->smtp.proven;
	if ((w->conn->smtp.quirks & ~w->provider->quirks) != 0) {
		w->provider->quirks |= w->conn->smtp.quirks;
		w->provider->quirks_until_ms = hal_clock_in(QUIRKS_MS);
	}
	hal_mutex_unlock(&pool->lock);
}

static void send_maildir(struct worker *w)
{
	struct provider *p = w->provider;
	struct attempt *a;
	bool made;

	while ((a = take_next(w)) != NULL) {
		struct composer *c = a->composer;
		struct maildir_mail m = {
			.mail = &a->envelope, .job = &c->job, .message_id = c->input.message_id};

		begin(w, a, p->spec.path);
		hal_mutex_lock(&p->ready_lock);
		made = p->maildir_made;
		hal_mutex_unlock(&p->ready_lock);
		(void)maildir_deliver(p->spec.path, &made, &m);
		hal_mutex_lock(&p->ready_lock);
		p->maildir_made = made;
		hal_mutex_unlock(&p->ready_lock);
		if (m.verdict.class == SMTP_SENT) a->sent_reply = m.verdict.reply;
		attempt_fail(a, &m.verdict);
		attempt_end(a);
	}
}

/* ---- a session ---- */

/* Under the lock, which is given away: until there is something to send (true), or nothing to wait for. */
static bool wait_for_jobs(struct worker *w)
{
	struct provider_pool *pool = w->pool;

	for (;;) {
		int64_t until_ms = HAL_FOREVER;

		if (pool_is_over(pool, w)) batch_release(w);
		if (batch_next(w)) return true;
		batch_refill(w);
		if (batch_repeat(w, hal_clock_mono_ms(), &until_ms)) continue;
		if (!batch_waits(w)) return false;
		(void)hal_cond_wait(&w->answered, &pool->lock, until_ms);
	}
}

/* Under the lock, which is given away. */
static void session(struct worker *w)
{
	struct provider_pool *pool = w->pool;

	w->begun = false;
	w->more = true;
	w->want = 1;
	w->conn = NULL;
	while (wait_for_jobs(w)) {
		hal_mutex_unlock(&pool->lock);
		if (w->provider->spec.type == SETTINGS_PROVIDER_MAILDIR)
			send_maildir(w);
		else
			send_smtp(w);
		hal_mutex_lock(&pool->lock);
	}
	if (w->conn) conn_give(pool, w->conn);
	w->conn = NULL;
}

/* ---- telling the jobs that wait ---- */

/* Under the lock, which is given away: what a hold of p means for the jobs that wait for it is written to
 * them. */
static void show(struct provider_pool *pool, struct provider *p)
{
	char reason[sizeof p->status.reason];
	bool down = p->show_down;
	struct store_hold h;
	int rc;

	p->show_down = p->show_up = false;
	p->showing = true;
	p->refs++;
	memcpy(reason, p->status.reason, sizeof reason);
	hal_mutex_unlock(&pool->lock);
	do {
		store_hold_init(&h);
		h.provider = str_from(p->spec.name);
		h.down = down;
		h.text = reason;
		h.batch = 100;
		rc = store_do(pool->store, &h.op);
	} while (rc >= 0 && h.count > 0);
	hal_mutex_lock(&pool->lock);
	p->showing = false;
	p->due = true;
	pool->work_generation++;
	pool_unref(pool, p);
}

static bool show_next(struct provider_pool *pool)
{
	for (size_t i = 0; i < pool->live_count; i++) {
		struct provider *p = pool->live[i];

		if (!p->showing && (p->show_down || p->show_up)) {
			show(pool, p);
			return true;
		}
	}
	return false;
}

/* ---- the thread ---- */

/* Under the lock: whether one worker less would do. */
static bool is_spare(const struct provider_pool *pool)
{
	return pool->running - pool->leaving > pool->worker_min && pool->idle > 0;
}

/* Under the lock, which is given away while it waits: until there is work (w->provider) or the end
 * (false). */
static bool wait_for_work(struct worker *w)
{
	struct provider_pool *pool = w->pool;
	for (;;) {
		int64_t now_ms = hal_clock_mono_ms();
		int64_t until_ms = now_ms + POOL_POLL_MS;
		struct conn *c;

		if (pool->stopping || pool->running - pool->leaving > pool->worker_max) return false;
		if (batch_repeat(w, now_ms, &until_ms) || show_next(pool)) continue;
		w->provider = pool_take(pool, w, &until_ms);
		if (w->provider) return true;
		c = conn_expired(pool, now_ms, &until_ms);
		if (c) {
			conn_close(pool, c);
			continue;
		}
		if (is_spare(pool)) {
			if (now_ms >= w->worked_ms + WORKER_IDLE_MS) return false;
			if (w->worked_ms + WORKER_IDLE_MS < until_ms)
				until_ms = w->worked_ms + WORKER_IDLE_MS;
		}
		pool->idle++;
		(void)hal_cond_wait(&pool->wake, &pool->lock, until_ms);
		pool->idle--;
	}
}

void worker_main(void *arg)
{
	struct worker *w = arg;
	struct provider_pool *pool = w->pool;

	hal_mutex_lock(&pool->lock);
	while (wait_for_work(w)) {
		session(w);
		pool_give(pool, w);
	}
	pool->leaving++;
	batch_drain(w);
	w->state = WORKER_ENDED;
	pool->leaving--;
	pool->running--;
	pool->ended_count++;
	/* The time that it was waiting for is another's now. */
	hal_cond_signal(&pool->wake);
	hal_cond_broadcast(&pool->ended);
	hal_mutex_unlock(&pool->lock);
}
