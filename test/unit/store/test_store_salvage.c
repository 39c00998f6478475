/* Damage in every place of a database: the store starts all the same, and what the damage did not touch is
 * there. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "sim/sim.h"
#include "store_kit.h"

#define JOBS   200
#define PAGE   4096
#define DB_MAX (4 << 20)

static struct store *s;
static struct kit_job job;
static unsigned char db[DB_MAX], wal[DB_MAX], page[PAGE];
static int64_t db_len, wal_len;
static char src[65536];

static void name_of(int n, char *name)
{
	sprintf(name, "mail-%03d", n);
}

static size_t size_of(int n)
{
	return n % 20 == 7 ? 40000 : 400 + 3 * (size_t)n;
}

/* The name over and over: whoever holds bytes of the original holds the name. */
static void make_src(int n, char *out, size_t len)
{
	char name[32];

	name_of(n, name);
	for (size_t i = 0; i < len; i++)
		out[i] = name[i % 8];
}

static enum job_state state_of(int n)
{
	return n % 10 < 5 ? JOB_COMPLETED : n % 10 == 5 ? JOB_FAILED : JOB_PENDING;
}

static void open_store(void)
{
	struct store_config c = kit_config();

	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_open(&c, &s), 0);
}

static void make_boot(void *arg)
{
	bool kill = *(bool *)arg;
	char name[32];

	open_store();
	for (int n = 0; n < JOBS; n++) {
		name_of(n, name);
		kit_job_make(&job, name, n % 8 == 3 ? 3 : 1, size_of(n));
		make_src(n, job.src, job.src_len);
		assert_int_equal(kit_accept_job(s, &job, "p", NULL, NULL), 0);
	}
	struct store_claimed c;
	while (kit_claim(s, "p", &c) == 1) {
		int n = atoi(c.message_id + 5);
		int64_t due = hal_clock_wall_ms(NULL) + 3600000;
		assert_int_equal(kit_finish(s, c.id, state_of(n),
					    n % 10 == 5 ? JOB_REASON_REFUSED : JOB_REASON_RETRY, due),
				 0);
	}
	if (kill) sim_kill();
	store_close(s);
	hal_storage_close();
}

static void make(bool kill)
{
	struct sim_config c = sim_config_default(1);

	sim_reset();
	c.quiet = kill;
	assert_int_equal(sim_run(&c, make_boot, &kill).end, kill ? SIM_KILLED : SIM_FINISHED);
	db_len = sim_disk_read("postern.db", 0, db, sizeof db);
	wal_len = sim_disk_read("postern.db-wal", 0, wal, sizeof wal);
	assert_true(db_len > 0 && (!kill || wal_len > 0));
}

static bool has(const unsigned char *bytes, size_t len, const char *name)
{
	return memmem(bytes, len, name, strlen(name)) != NULL;
}

/* What a boot finds; harmed: the bytes that were lost. Jobs not named there must be as they were. */
struct look {
	const unsigned char *harmed;
	size_t harmed_len;
	bool all_there;       /* every job must at least be shown */
	unsigned seen, right; /* answers */
};

static bool src_right(int64_t id, int n)
{
	static char want[65536];
	struct store_src_read r;

	store_src_read_init(&r);
	r.id = id;
	r.bytes = src;
	r.cap = sizeof src;
	if (store_do(s, &r.op) != 0 || r.len != size_of(n)) return false;
	make_src(n, want, r.len);
	return memcmp(src, want, r.len) == 0;
}

static int now_at;
static const char *now_what;

static void look_boot(void *arg)
{
	struct look *look = arg;
	struct store_job_get g;
	char name[32];

	open_store();
	/* twice: the first round may find the damage */
	for (int round = 0; round < 2; round++) {
		look->seen = look->right = 0;
		for (int n = 0; n < JOBS; n++) {
			name_of(n, name);
			store_job_get_init(&g);
			g.tenant_id = STR("t");
			g.message_id = str_from(name);
			int rc = store_do(s, &g.op);
			bool touched = has(look->harmed, look->harmed_len, name);
			bool right = rc == 0 && g.job.id == n + 1 && g.job.state == state_of(n) &&
				     src_right(n + 1, n);
			look->seen += rc == 0;
			look->right += right;
			if (round == 0) continue;
			if (now_at && !right && !touched) print_message("%s %d: ", now_what, now_at);
			if (rc != 0 && (look->all_there || !touched))
				fail_msg("%s is lost: %s", name, err_text(rc));
			if (!right && !touched)
				fail_msg("%s was not touched: id %d state %d", name, (int)g.job.id,
					 (int)g.job.state);
		}
	}
	/* it goes on */
	snprintf(name, sizeof name, "at-%lld", (long long)hal_clock_wall_ms(NULL) % 10000000);
	assert_int_equal(kit_accept(s, name, "p", NULL), 0);
	struct store_claimed c;
	assert_int_equal(kit_claim(s, "p", &c), 1);
	assert_int_equal(kit_finish(s, c.id, JOB_COMPLETED, JOB_REASON_NONE, 0), 0);
	store_close(s);
	hal_storage_close();
}

static void put(const char *path, const unsigned char *bytes, int64_t len)
{
	sim_disk_remove(path);
	if (len > 0) sim_disk_write(path, 0, bytes, (size_t)len);
}

static void restore(void)
{
	char name[64];

	for (int n = 1; n < 4; n++) {
		sprintf(name, "postern.db.corrupt-%d", n);
		sim_disk_remove(name);
		strcat(name, "-wal");
		sim_disk_remove(name);
	}
	put("postern.db", db, db_len);
	put("postern.db-wal", wal, wal_len);
}

static void boot(struct look *look, const char *what, int64_t where)
{
	struct sim_config c = sim_config_default(1);

	struct sim_result r = sim_run(&c, look_boot, look);
	if (r.end != SIM_FINISHED) fail_msg("%s at %lld: %s", what, (long long)where, sim_end_text(r.end));
}

enum kind { ZERO, RANDOM, FLIP };

static void spoil(enum kind kind, unsigned char *p, uint32_t seed)
{
	for (int i = 0; i < PAGE; i++) {
		seed = seed * 1664525u + 1013904223u;
		if (kind == ZERO)
			p[i] = 0;
		else if (kind == RANDOM)
			p[i] = (unsigned char)(seed >> 24);
	}
	for (int i = 0; kind == FLIP && i < 3; i++) {
		seed = seed * 1664525u + 1013904223u;
		/* where it hurts: the page's head and its pointers */
		p[(seed >> 16) % (i < 2 ? 40 : PAGE)] ^= (unsigned char)(1u << ((seed >> 10) & 7));
	}
}

/* In this process: hundreds of boots of their own would take too long. STORE_PAGE=n takes page n only. */
static void each_page(enum kind kind, const char *what)
{
	const char *only = getenv("STORE_PAGE");

	make(false);
	for (int64_t at = only ? atoi(only) * PAGE - PAGE : 0; at < (only ? atoi(only) * PAGE : db_len);
	     at += PAGE) {
		struct look look = {.harmed = db + at, .harmed_len = PAGE, .all_there = kind != FLIP};

		restore();
		memcpy(page, db + at, PAGE);
		spoil(kind, page, (uint32_t)at + 7);
		sim_disk_write("postern.db", at, page, PAGE);
		now_at = (int)(at / PAGE) + 1;
		now_what = what;
		look_boot(&look);
	}
	now_at = 0;
	print_message("%lld pages\n", (long long)(db_len / PAGE));
}

static void test_page_zeroed(void **state)
{
	(void)state;
	each_page(ZERO, "page zeroed");
}

static void test_page_random(void **state)
{
	(void)state;
	each_page(RANDOM, "page of random bytes");
}

static void test_page_flipped(void **state)
{
	(void)state;
	each_page(FLIP, "bits flipped on page");
}

static void test_truncated(void **state)
{
	(void)state;
	make(false);
	for (int64_t len = 512; len < db_len; len += 11 * PAGE + 512) {
		struct look look = {.harmed = db + len / PAGE * PAGE,
				    .harmed_len = (size_t)(db_len - len / PAGE * PAGE)};

		restore();
		put("postern.db", db, len);
		boot(&look, "cut off", len);
	}
}

static void test_empty_or_garbage(void **state)
{
	(void)state;
	make(false);
	struct look all = {.harmed = db, .harmed_len = (size_t)db_len};
	restore();
	memset(page, 'x', PAGE);
	put("postern.db", page, PAGE);
	boot(&all, "garbage", 0);
	restore();
	put("postern.db", page, 7);
	boot(&all, "garbage of 7 bytes", 0);
}

/* The last state is in the WAL; the header of the database, then pieces of the WAL are lost. */
static void test_with_wal(void **state)
{
	(void)state;
	make(true);
	struct look look = {.harmed = db, .harmed_len = 0, .all_there = true};
	restore();
	memset(page, 0, PAGE);
	sim_disk_write("postern.db", 0, page, PAGE);
	boot(&look, "header zeroed, with a WAL", 0);
	for (int64_t at = 0; at + PAGE <= wal_len; at += 5 * PAGE + 1000) {
		/* what lay in the WAL behind the damage is lost in SQLite's eyes: nothing is said about that
		 */
		struct look any = {.harmed = wal, .harmed_len = (size_t)wal_len};
		restore();
		spoil(RANDOM, page, (uint32_t)at);
		sim_disk_write("postern.db-wal", at, page, PAGE);
		boot(&any, "WAL spoilt", at);
	}
}

/* Power cuts in the middle of a salvage. */
/* Somebody has removed the database and left the WAL: it is set aside and searched, not thrown away. */
static void test_beheaded(void **state)
{
	(void)state;
	make(true);
	struct look look = {.harmed = db, .harmed_len = (size_t)db_len};
	restore();
	sim_disk_remove("postern.db");
	boot(&look, "no database beside the WAL", 0);
	assert_non_null(strstr(sim_log_text(), "set aside, rows saved"));
	assert_int_equal(sim_disk_size("postern.db.corrupt-1-wal"), wal_len);
}

static void test_salvage_cut(void **state)
{
	struct look look = {.harmed = db + 4 * PAGE, .harmed_len = PAGE, .all_there = true};
	struct sim_config c = sim_config_default(1);

	(void)state;
	make(false);
	memset(page, 0, PAGE);
	for (uint64_t op = 1; op < 200; op += op < 20 ? 1 : 7) {
		restore();
		sim_disk_write("postern.db", 0, page, PAGE);
		sim_disk_write("postern.db", 4 * PAGE, page, PAGE);
		c.quiet = true;
		c.faults.disk.cut_at_op = op;
		c.faults.disk.damage = SIM_DAMAGE_ANY;
		c.seed = op;
		sim_run(&c, look_boot, &look);
		boot(&look, "salvage cut at op", (int64_t)op);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_zeroed),      cmocka_unit_test(test_page_random),
		cmocka_unit_test(test_page_flipped),     cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_empty_or_garbage), cmocka_unit_test(test_with_wal),
		cmocka_unit_test(test_beheaded),         cmocka_unit_test(test_salvage_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
