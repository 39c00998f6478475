#include "provider_kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "net/net.h"
#include "store_kit.h"

#define SRC_MAX (3u << 20)

static const char *ini_text;
static _Alignas(64) unsigned char memory[64u << 20];

static int ini_read(const char *path, void *bytes, size_t cap, unsigned *mode)
{
	size_t len = strlen(ini_text);

	(void)path;
	*mode = 0600;
	if (len > cap && cap > 0) return ERR_TOO_LARGE;
	if (cap > 0) memcpy(bytes, ini_text, len);
	return cap > 0 ? (int)len : 0;
}

static void report_line(void *arg, const char *text)
{
	(void)arg;
	print_message("%s\n", text);
}

static void load(struct settings *s, const char *ini)
{
	struct settings_source source = {.file = "test.ini", .read = ini_read};
	struct settings_report report = {.line = report_line};

	ini_text = ini;
	assert_int_equal(settings_load(s, &source, &report), 0);
}

void provider_kit_start(struct provider_kit *k, const char *ini)
{
	struct store_config config = kit_config();

	load(&k->settings, ini);
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(net_init(), 0);
	assert_int_equal(store_open(&config, &k->store), 0);
	assert_true(provider_memory_bytes(&k->settings) <= sizeof memory);
	assert_int_equal(provider_start(k->store, &k->settings, memory, sizeof memory, &k->pool), 0);
}

void provider_kit_load(struct provider_kit *k, const char *ini)
{
	load(&k->settings, ini);
}

void provider_kit_reload(struct provider_kit *k, const char *ini)
{
	provider_kit_load(k, ini);
	assert_int_equal(provider_reload(k->pool, &k->settings), 0);
}

void provider_kit_stop(struct provider_kit *k, int64_t ms)
{
	provider_stop(k->pool, hal_clock_in(ms));
	store_close(k->store);
	net_close();
	hal_storage_close();
}

static size_t job_text(char *out, const char *message_id, const char *provider, const char *to,
		       size_t body_bytes)
{
	int n = snprintf(out, SRC_MAX,
			 "{\"message_id\":\"%s\",%s%s%s%s,\"subject\":\"Subject of %s\","
			 "\"body_format\":\"TEXT\",\"body_content\":\"",
			 message_id, provider ? "\"provider_id\":\"" : "", provider ? provider : "",
			 provider ? "\"," : "", to, message_id);
	size_t len = (size_t)n;

	for (size_t i = 0; i < body_bytes; i++)
		out[len++] = i % 70 == 69 ? ' ' : (char)('a' + i % 26);
	memcpy(out + len, "\"}", 3);
	return len + 2;
}

int64_t provider_kit_submit(struct provider_kit *k, const char *message_id, const char *provider,
			    const char *to, size_t body_bytes, struct job_problem *problem)
{
	static char src[SRC_MAX + JSON_PADDING], text[SRC_MAX + JSON_PADDING];
	static _Alignas(16) unsigned char arena_memory[SRC_MAX];
	const struct job_limits limits = {.job_bytes = SRC_MAX, .recipients = 256, .envelope_bytes = 65536};
	size_t len = job_text(src, message_id, provider, to, body_bytes);
	struct provider_choice choice;
	struct store_accept a;
	struct job job;
	struct arena arena;
	int rc;

	memcpy(text, src, len);
	arena_init(&arena, arena_memory, sizeof arena_memory);
	rc = job_decode(&arena, text, len, &limits, &job, problem);
	if (rc < 0) print_message("%s: %s\n", problem->pointer, problem->reason);
	assert_int_equal(rc, 0);
	rc = provider_judge(k->pool, &job, &choice, problem);
	if (rc < 0) return rc;
	store_accept_init(&a);
	a.job = &job;
	a.src = (struct str){src, len};
	a.message_id = job.message_id;
	a.provider = str_from(choice.name);
	a.expire_ms = k->settings.retry.expire;
	assert_int_equal(store_do(k->store, &a.op), 0);
	return a.id;
}

int64_t provider_kit_mail(struct provider_kit *k, const char *message_id, const char *provider)
{
	struct job_problem problem;
	int64_t id =
		provider_kit_submit(k, message_id, provider, "\"to\":[\"r@example.com\"]", 100, &problem);

	if (id <= 0) print_message("%s: %s\n", problem.pointer, problem.reason);
	assert_true(id > 0);
	return id;
}

struct store_job provider_kit_job(struct provider_kit *k, int64_t id)
{
	struct store_job job;

	assert_int_equal(kit_get(k->store, id, &job), 0);
	return job;
}

struct store_job provider_kit_await(struct provider_kit *k, int64_t id, enum job_state state,
				    enum job_reason reason, int64_t ms)
{
	int64_t deadline_ms = hal_clock_in(ms);

	for (;;) {
		struct store_job job = provider_kit_job(k, id);

		if (job.state == state && (reason == JOB_REASON_NONE || job.reason == reason)) return job;
		if (hal_clock_mono_ms() >= deadline_ms) {
			print_message("job %s is %s (%s) %s\n", job.message_id, job_state_name(job.state),
				      job_reason_name(job.reason), job.error);
			fail();
		}
		hal_clock_sleep_until(hal_clock_in(20));
	}
}

struct provider_status provider_kit_status(struct provider_kit *k, const char *name)
{
	static struct provider_status list[PROVIDER_MAX];
	size_t n = provider_status_list(k->pool, list, PROVIDER_MAX);

	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0) return list[i];
	fail();
	return list[0];
}

const char *provider_kit_event(struct provider_kit *k, int64_t id, unsigned n)
{
	static struct store_event events[8];
	static char found[sizeof events->json];
	struct store_event_list l;
	int64_t after = 0;

	do {
		store_event_list_init(&l);
		l.after = after;
		l.events = events;
		l.cap = sizeof events / sizeof *events;
		assert_int_equal(store_do(k->store, &l.op), 0);
		for (size_t i = 0; i < l.count; i++) {
			after = events[i].seq;
			if (events[i].job_id == id && n-- == 0)
				return memcpy(found, events[i].json, sizeof found);
		}
	} while (l.count > 0);
	return "";
}

void provider_kit_expect_in(const char *text, const char *part)
{
	if (!strstr(text, part)) print_message("not in it: %s\n%s\n", part, text);
	assert_non_null(strstr(text, part));
}
