#include "store_kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_storage.h"

struct store_config kit_config(void)
{
	return (struct store_config){.durability_full = true,
				     .max_bytes = 32 << 20,
				     .reserve_bytes = 1 << 20,
				     .keep_completed_ms = 30 * KIT_DAY_MS,
				     .keep_failed_ms = 90 * KIT_DAY_MS,
				     .keep_ids_ms = 90 * KIT_DAY_MS,
				     .keep_results_ms = 7 * KIT_DAY_MS};
}

void kit_store_open(const struct store_config *config, struct store **s)
{
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_open(config, s), 0);
}

void kit_store_close(struct store **s)
{
	if (*s) store_close(*s);
	*s = NULL;
	hal_storage_close();
}

void kit_store_reopen(const struct store_config *config, struct store **s)
{
	if (*s) store_close(*s);
	assert_int_equal(store_open(config, s), 0);
}

void kit_store_sql(const char *sql)
{
	char path[512];
	sqlite3 *db;

	assert_int_equal(hal_storage_path("postern.db", path, sizeof path), 0);
	assert_int_equal(
		sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, hal_storage_vfs()),
		SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void fill(const char *message_id, char *out, size_t at, size_t len)
{
	size_t n = strlen(message_id);

	for (size_t i = 0; i < len; i++)
		out[i] = (char)(message_id[(at + i) % n] ^ (char)(((at + i) / n) % 7));
}

bool kit_src_is(const char *message_id, const char *bytes, size_t len)
{
	char chunk[256];

	for (size_t at = 0; at < len; at += sizeof chunk) {
		size_t n = len - at < sizeof chunk ? len - at : sizeof chunk;

		fill(message_id, chunk, at, n);
		if (memcmp(chunk, bytes + at, n) != 0) return false;
	}
	return true;
}

void kit_job_make(struct kit_job *k, const char *message_id, size_t rcpts, size_t src_len)
{
	memset(&k->job, 0, sizeof k->job);
	snprintf(k->message_id, sizeof k->message_id, "%s", message_id);
	k->job.format = JOB_FORMAT_1;
	k->job.tenant_id = STR("t");
	k->job.message_id = str_from(k->message_id);
	k->job.subject = str_from(k->message_id);
	k->job.priority = JOB_PRIORITY_NORMAL;
	k->job.rcpts = k->rcpts;
	k->job.rcpt_count = rcpts;
	for (size_t i = 0; i < rcpts; i++) {
		snprintf(k->addresses[i], sizeof k->addresses[i], "r%zu@example.com", i);
		k->rcpts[i].kind = JOB_RCPT_TO;
		k->rcpts[i].address.addr = k->rcpts[i].address.text = str_from(k->addresses[i]);
	}
	snprintf((char *)k->job.digest, sizeof k->job.digest, "%.31s", message_id);
	k->src_len = src_len;
	fill(message_id, k->src, 0, src_len);
}

int kit_accept_job(struct store *s, struct kit_job *k, const char *provider, int64_t *id, bool *known)
{
	struct store_accept a;

	store_accept_init(&a);
	a.job = &k->job;
	a.src = (struct str){k->src, k->src_len};
	a.message_id = k->job.message_id;
	a.provider = str_from(provider);
	a.expire_ms = 5 * KIT_DAY_MS;
	int rc = store_do(s, &a.op);
	if (id) *id = a.id;
	if (known) *known = a.known;
	return rc;
}

int kit_accept(struct store *s, const char *message_id, const char *provider, int64_t *id)
{
	static struct kit_job k;

	kit_job_make(&k, message_id, 1, 700);
	return kit_accept_job(s, &k, provider, id, NULL);
}

int kit_claim(struct store *s, const char *provider, struct store_claimed *c)
{
	static char src[65536];
	struct store_claim op;

	store_claim_init(&op);
	op.provider = str_from(provider);
	op.jobs = c;
	op.cap = 1;
	op.src = src;
	op.src_cap = sizeof src;
	int rc = store_do(s, &op.op);
	return rc < 0 ? rc : (int)op.count;
}

int kit_finish(struct store *s, int64_t id, enum job_state state, enum job_reason reason, int64_t due_ms)
{
	struct store_finish f;

	store_finish_init(&f);
	f.id = id;
	f.state = state;
	f.reason = reason;
	f.counted = f.publish = true;
	f.due_ms = due_ms;
	f.retry_count = state == JOB_PENDING ? 1 : 0;
	f.host = "mx.example.com [192.0.2.1]:25";
	f.code = state == JOB_COMPLETED ? 250 : 450;
	f.text = state == JOB_COMPLETED ? "2.0.0 Ok: queued as 4711" : "4.2.0 try later";
	f.provider_message_id = state == JOB_COMPLETED ? "4711" : NULL;
	f.event = STR("{\"success\":true}");
	f.started_ms = f.ended_ms = hal_clock_wall_ms(NULL);
	return store_do(s, &f.op);
}

int kit_get(struct store *s, int64_t id, struct store_job *job)
{
	struct store_job_get g;

	store_job_get_init(&g);
	g.id = id;
	int rc = store_do(s, &g.op);
	*job = g.job;
	return rc;
}

struct store_status kit_status(struct store *s)
{
	struct store_status st;

	store_status_init(&st);
	store_do(s, &st.op);
	return st;
}

int kit_tick(struct store *s, unsigned batch)
{
	struct store_tick t;

	store_tick_init(&t);
	t.batch = batch;
	int rc = store_do(s, &t.op);
	return rc < 0 ? rc : (int)(t.expired + t.removed);
}
