/* Connections, kept from mail to mail and from worker to worker. There are as many as workers, and a
 * worker uses one at a time, so that one that is free or idle can always be had. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_link.h"
#include "provider/pool.h"

static uint32_t link_generation(void)
{
	struct hal_link_state link;

	hal_link_get(&link);
	return link.generation;
}

/* The idle one of p (NULL: of anybody) that was used last (first: whose turn to be closed has come
 * longest). */
static struct conn *find_idle(struct provider_pool *pool, const struct provider *p, bool first)
{
	struct conn *found = NULL;

	for (unsigned i = 0; i < pool->worker_cap; i++) {
		struct conn *c = &pool->conns[i];

		if (c->state != CONN_IDLE || (p && c->provider != p)) continue;
		if (!found || (c->idle_since_ms < found->idle_since_ms) == first) found = c;
	}
	return found;
}

static struct conn *find_free(struct provider_pool *pool)
{
	for (unsigned i = 0; i < pool->worker_cap; i++)
		if (pool->conns[i].state == CONN_FREE) return &pool->conns[i];
	return NULL;
}

struct conn *conn_take(struct provider_pool *pool, struct provider *p)
{
	struct conn *c = find_idle(pool, p, false);

	if (c) {
		c->state = CONN_BUSY;
		return c;
	}
	while ((c = find_free(pool)) == NULL) {
		c = find_idle(pool, NULL, true);
		CHECK(c);
		c->state = CONN_BUSY;
		conn_close(pool, c);
	}
	c->state = CONN_BUSY;
	c->provider = p;
	c->mails = 0;
	p->refs++;
	return c;
}

void conn_give(struct provider_pool *pool, struct conn *c)
{
	struct provider *p = c->provider;

	if (!c->open || !smtp_ready(&c->smtp) || !conn_may_go_on(c) || pool->stopping ||
	    p->slot != PROVIDER_SLOT_LIVE || c->link_generation != link_generation()) {
		conn_close(pool, c);
		return;
	}
	c->state = CONN_IDLE;
	c->reused = true;
	c->idle_since_ms = hal_clock_mono_ms();
}

struct conn *conn_expired(struct provider_pool *pool, int64_t now_ms, int64_t *until_ms)
{
	uint32_t generation = link_generation();

	for (unsigned i = 0; i < pool->worker_cap; i++) {
		struct conn *c = &pool->conns[i];

		if (c->state != CONN_IDLE) continue;
		if (now_ms >= c->idle_since_ms + CONN_IDLE_MS || c->provider->slot != PROVIDER_SLOT_LIVE ||
		    c->link_generation != generation) {
			c->state = CONN_BUSY;
			return c;
		}
		if (c->idle_since_ms + CONN_IDLE_MS < *until_ms) *until_ms = c->idle_since_ms + CONN_IDLE_MS;
	}
	return NULL;
}

/* Under the lock, which is given away while smtp says good-bye. */
static void conn_shut(struct provider_pool *pool, struct conn *c)
{
	int64_t until_ms = pool->stopping ? pool->quit_until_ms : HAL_FOREVER;

	if (!c->open) return;
	/* From here on nobody may abort it; its QUIT is bounded. */
	c->open = false;
	c->provider->status.connections--;
	hal_mutex_unlock(&pool->lock);
	smtp_close_by(&c->smtp, until_ms);
	hal_mutex_lock(&pool->lock);
}

void conn_close(struct provider_pool *pool, struct conn *c)
{
	struct provider *p = c->provider;

	conn_shut(pool, c);
	c->provider = NULL;
	c->state = CONN_FREE;
	pool_unref(pool, p);
}

void conn_abort_all(struct provider_pool *pool)
{
	for (unsigned i = 0; i < pool->worker_cap; i++)
		if (pool->conns[i].open) smtp_abort(&pool->conns[i].smtp);
}

/* ---- sending ---- */

static int tls_ready(struct provider *p, struct buf *why)
{
	struct net_tls_settings settings;
	int rc = 0;

	if (p->spec.tls == SMTP_TLS_NONE) return 0;
	spec_tls_settings(&p->spec, &settings);
	hal_mutex_lock(&p->ready_lock);
	if (!p->tls_ready) rc = net_tls_config_init(&p->tls, &settings, why);
	if (rc >= 0) p->tls_ready = true;
	hal_mutex_unlock(&p->ready_lock);
	return rc < 0 ? rc : 0;
}

/* The transcript: a command by its name, and what was answered. What belongs to no mail is kept for the first. */
static void on_note(void *arg, const struct smtp_mail *mail, enum smtp_note kind, enum smtp_command command,
		    struct str text)
{
	struct conn *c = arg;
	char line[256];
	struct buf b;

	if (kind == SMTP_NOTE_SENT) return;
	buf_init(&b, line, sizeof line);
	if (kind == SMTP_NOTE_RECEIVED) {
		buf_puts(&b, smtp_command_name(command));
		buf_puts(&b, ": ");
	}
	buf_escaped(&b, text, 200);
	if (mail)
		attempt_note(mail->owner, buf_view(&b));
	else if (b.len + 1 <= sizeof c->log - c->log_len) {
		memcpy(c->log + c->log_len, line, b.len);
		c->log_len += b.len;
		c->log[c->log_len++] = '\n';
	}
}

static void conn_init(struct worker *w, struct conn *c)
{
	struct provider_pool *pool = w->pool;
	struct provider *p = c->provider;
	struct smtp_config config = {
		.host = p->spec.host,
		.port = p->spec.port,
		.tls = p->spec.tls,
		.tls_config = p->spec.tls == SMTP_TLS_NONE ? NULL : &p->tls,
		.auth = p->spec.auth,
		.username = p->spec.username,
		.password = p->spec.password,
		.helo = p->spec.helo,
		.note = on_note,
		.note_arg = c,
	};

	hal_mutex_lock(&pool->lock);
	config.depth = pool->pipeline_depth;
	if (hal_clock_mono_ms() >= p->quirks_until_ms) p->quirks = 0;
	config.quirks = p->quirks;
	if (hal_clock_mono_ms() >= p->proven_until_ms) p->proven = false;
	config.proven = p->proven;
	smtp_init(&c->smtp, &config);
	c->open = true;
	c->mails = 0;
	c->reused = false;
	c->opened_ms = hal_clock_mono_ms();
	c->log_len = 0;
	c->link_generation = link_generation();
	p->status.connections++;
	p->status.connects++;
	if (pool->aborting) smtp_abort(&c->smtp);
	hal_mutex_unlock(&pool->lock);
}

bool conn_may_go_on(const struct conn *c)
{
	return c->mails < c->provider->spec.messages_per_connection &&
	       hal_clock_mono_ms() < c->opened_ms + CONN_AGE_MS;
}

static int64_t open_ms(struct provider_pool *pool)
{
	hal_mutex_lock(&pool->lock);
	bool scarce = pool->busy >= pool->worker_max && pool->live_count > 1;
	hal_mutex_unlock(&pool->lock);
	return scarce ? CONN_OPEN_BUSY_MS : CONN_OPEN_MS;
}

int conn_ready(struct worker *w, struct smtp_verdict *v)
{
	struct provider_pool *pool = w->pool;
	struct conn *c = w->conn;
	struct buf why;
	int rc;

	if (c->open && smtp_ready(&c->smtp) && conn_may_go_on(c)) return 0;
	hal_mutex_lock(&pool->lock);
	conn_shut(pool, c);
	hal_mutex_unlock(&pool->lock);
	/* Nothing of the last one is told of this one. */
	c->log_len = 0;
	c->smtp.peer.text[0] = '\0';
	*v = (struct smtp_verdict){.class = SMTP_HOLD};
	buf_init(&why, v->reply.text, sizeof v->reply.text);
	rc = tls_ready(c->provider, &why);
	if (rc < 0) {
		/* Files that cannot be had are the provider's trouble, not the storage's: others must go
		 * on. */
		v->err = rc == ERR_NO_MEMORY ? rc : ERR_TLS;
		return v->err;
	}
	conn_init(w, c);
	rc = smtp_open(&c->smtp, hal_clock_in(open_ms(pool)));
	*v = c->smtp.verdict;
	return rc;
}
