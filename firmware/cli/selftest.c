/* selftest: whether this device can run postern. One step a line; the store works in a directory of its own.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/timefmt.h"
#include "cli/room.h"
#include "hal_clock.h"
#include "hal_entropy.h"
#include "hal_ident.h"
#include "hal_link.h"
#include "hal_process.h"
#include "hal_storage.h"
#include "hal_thread.h"
#include "net/net.h"
#include "store/store.h"

struct test {
	bool json;
	unsigned failed;
	const char *comma;
};

static void said(struct test *t, const char *step, int rc, const char *text)
{
	if (rc < 0) t->failed++;
	if (t->json)
		cli_print("%s{\"step\":\"%s\",\"ok\":%s,\"text\":\"%s\"}", t->comma, step,
			  rc < 0 ? "false" : "true", rc < 0 ? err_text(rc) : text);
	else
		cli_print("%-10s %s%s%s\n", step, rc < 0 ? "FAILED: " : "ok",
			  rc < 0  ? err_text(rc)
			  : *text ? ", "
				  : "",
			  rc < 0 ? "" : text);
	t->comma = ",";
	fflush(stdout);
}

static void test_clock(struct test *t)
{
	int64_t before = hal_clock_mono_ms();
	char text[64] = "";
	struct buf b;
	bool set;

	hal_clock_sleep_until(before + 10);
	buf_init(&b, text, sizeof(text));
	timefmt_rfc3339(&b, hal_clock_wall_ms(&set), false);
	if (!set) buf_puts(&b, " (not set)");
	said(t, "clock", hal_clock_mono_ms() >= before + 10 ? 0 : ERR_INTERNAL, text);
}

static void set_flag(void *arg)
{
	*(int *)arg = 1;
}

static void test_thread(struct test *t)
{
	struct hal_thread thread;
	int flag = 0;
	int rc = hal_thread_start(&thread, "selftest", 64 * 1024, set_flag, &flag);

	if (rc == 0) {
		hal_thread_join(&thread);
		rc = flag ? 0 : ERR_INTERNAL;
	}
	said(t, "threads", rc, "");
}

static void test_entropy(struct test *t)
{
	unsigned char a[16], b[16];
	int rc = hal_entropy_fill(a, sizeof(a));

	if (rc == 0) rc = hal_entropy_fill(b, sizeof(b));
	if (rc == 0 && memcmp(a, b, sizeof(a)) == 0) rc = ERR_ENTROPY;
	said(t, "entropy", rc, "");
}

/* ---- the store ---- */

static int accept_one(struct store *s)
{
	static char src[] =
		"{\"to\":[\"selftest@example.com\"],\"subject\":\"selftest\",\"body_content\":\"x\"}";
	static char text[sizeof(src) + JSON_PADDING];
	static unsigned char memory[64 * 1024];
	struct job_limits limits = {.job_bytes = sizeof(src), .recipients = 1, .envelope_bytes = 4096};
	struct job_problem problem;
	struct store_accept accept;
	struct store_job_get get;
	struct job job;
	struct arena a;
	int rc;

	arena_init(&a, memory, sizeof(memory));
	memcpy(text, src, sizeof(src));
	rc = job_decode(&a, text, sizeof(src) - 1, &limits, &job, &problem);
	if (rc < 0) return rc;
	store_accept_init(&accept);
	accept.job = &job;
	accept.src = (struct str){src, sizeof(src) - 1};
	accept.message_id = STR("selftest");
	accept.provider = STR("selftest");
	accept.expire_ms = 60000;
	rc = store_do(s, &accept.op);
	if (rc < 0) return rc;
	store_job_get_init(&get);
	get.id = accept.id;
	rc = store_do(s, &get.op);
	return rc < 0 ? rc : strcmp(get.job.subject, "selftest") == 0 ? 0 : ERR_CORRUPT;
}

static int remove_entry(void *arg, const char *name)
{
	char path[HAL_PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name) < (int)sizeof(path)) {
		hal_storage_list(path, remove_entry, path);
		if (hal_storage_remove(path) < 0) remove(path);
	}
	return 0;
}

static int store_works(void)
{
	struct store_config config = {.durability_full = true,
				      .max_bytes = 16 << 20,
				      .reserve_bytes = 64 << 10,
				      .keep_completed_ms = 60000,
				      .keep_failed_ms = 60000,
				      .keep_ids_ms = 60000,
				      .keep_results_ms = 60000};
	struct store *s;
	int rc = store_open(&config, &s);

	if (rc < 0) return rc;
	rc = accept_one(s);
	store_close(s);
	if (rc == 0) rc = store_open(&config, &s);
	if (rc == 0) store_close(s);
	return rc;
}

static void test_store(struct test *t)
{
	const char *tmp = hal_process_env("TMPDIR");
	char dir[128];
	int rc;

	if (!tmp || !*tmp || strlen(tmp) > 80) tmp = "/tmp";
	snprintf(dir, sizeof(dir), "%s/postern-selftest-%llx", tmp, (unsigned long long)hal_clock_mono_ms());
	rc = hal_storage_open(dir);
	if (rc == 0) {
		rc = store_works();
		hal_storage_list(".", remove_entry, dir);
		hal_storage_close();
		remove(dir);
	}
	said(t, "store", rc, "");
}

/* ---- the rest ---- */

static void test_tls(struct test *t)
{
	struct net_tls_settings settings = {.side = NET_TLS_CLIENT, .insecure = true};
	static struct net_tls_config config;
	char text[256] = "";
	struct buf why;
	int rc = net_init();

	buf_init(&why, text, sizeof(text));
	if (rc == 0) {
		rc = net_tls_config_init(&config, &settings, &why);
		if (rc == 0) net_tls_config_close(&config);
		net_close();
	}
	said(t, "tls", rc, "");
}

static void test_link(struct test *t)
{
	struct hal_link_state link;

	hal_link_get(&link);
	said(t, "link", 0, link.up ? "up" : "down");
}

int cli_selftest(struct cli *c)
{
	struct test t = {c->json, 0, ""};

	if (t.json) cli_print("{\"steps\":[");
	said(&t, "device", 0, hal_ident_host());
	test_clock(&t);
	test_thread(&t);
	test_entropy(&t);
	test_store(&t);
	test_tls(&t);
	test_link(&t);
	if (t.json) cli_print("],\"success\":%s}\n", t.failed ? "false" : "true");
	return t.failed ? CLI_FAILED : CLI_DONE;
}
