/* The Maildir provider: what lands in it, and that no power cut loses, tears or doubles a mail. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "provider_kit.h"
#include "sim/sim.h"

#define INI "[provider.box]\ntype=maildir\npath=%s\nfrom=gw@example.org\n"

static struct provider_kit kit;
static char ini[256];

struct listing {
	const char *dir;
	unsigned count;
	char name[64];
	char content[4096];
};

static int look(void *arg, const char *name)
{
	struct listing *l = arg;
	struct hal_file f;
	char path[256];
	int n;

	l->count++;
	snprintf(l->name, sizeof l->name, "%s", name);
	snprintf(path, sizeof path, "%s/%s", l->dir, name);
	assert_int_equal(hal_file_open(&f, path, HAL_FILE_READ), 0);
	n = hal_file_read(&f, 0, l->content, sizeof l->content - 1);
	assert_true(n >= 0);
	l->content[n] = '\0';
	hal_file_close(&f);
	return 0;
}

static unsigned list(const char *dir, struct listing *l)
{
	*l = (struct listing){.dir = dir};
	assert_true(hal_storage_list(dir, look, l) >= 0);
	return l->count;
}

static void deliver_boot(void *arg)
{
	static struct listing l;
	struct job_problem problem;
	struct store_job job;
	int64_t id;

	(void)arg;
	snprintf(ini, sizeof ini, INI, "./postern-data/mail/box");
	provider_kit_start(&kit, ini);
	id = provider_kit_submit(&kit, "m1", NULL,
				 "\"to\":[\"a@x.org\"],\"cc\":[\"b@x.org\"],\"bcc\":[\"hidden@x.org\"]", 300,
				 &problem);
	job = provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 2000);
	assert_int_equal(list("mail/box/new", &l), 1);
	assert_string_equal(l.name, job.provider_message_id);
	assert_int_equal(
		strncmp(l.content,
			"Return-Path: <gw@example.org>\nDelivered-To: a@x.org\nDelivered-To: b@x.org\n", 74),
		0);
	assert_non_null(strstr(l.content, "\nSubject: Subject of m1\n"));
	assert_null(strchr(l.content, '\r'));
	assert_null(strstr(l.content, "hidden"));
	assert_int_equal(list("mail/box/tmp", &l), 0);
	assert_int_equal(list("mail/box/cur", &l), 0);
	provider_kit_stop(&kit, 1000);
}

static void full_boot(void *arg)
{
	int64_t id;

	(void)arg;
	snprintf(ini, sizeof ini, INI, "postern-data/box");
	provider_kit_start(&kit, ini);
	/* Its directory cannot be made: held, not failed; then it can. */
	sim_faults()->disk.fail_calls = SIM_DISK_MKDIR;
	sim_faults()->disk.fail_at = 1;
	sim_faults()->disk.fail_on = true;
	sim_faults()->disk.fail_err = ERR_DENIED;
	id = provider_kit_mail(&kit, "m1", NULL);
	assert_int_equal(provider_kit_await(&kit, id, JOB_PENDING, JOB_REASON_HELD, 2000).retry_count, 0);
	assert_non_null(strstr(provider_kit_job(&kit, id).error, "box: "));
	sim_faults()->disk.fail_at = 0;
	(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	provider_kit_stop(&kit, 1000);
}

static void one_boot(void (*fn)(void *arg))
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct sim_config c = sim_config_default(seed);
		struct sim_result r;

		sim_reset();
		r = sim_run(&c, fn, NULL);
		if (r.end != SIM_FINISHED) print_message("%s\n", sim_log_text());
		assert_int_equal(r.end, SIM_FINISHED);
	}
}

static void test_deliver(void **state)
{
	(void)state;
	one_boot(deliver_boot);
}

static void test_full(void **state)
{
	(void)state;
	one_boot(full_boot);
}

/* ---- power cuts ---- */

#define JOBS 3

static int *accepted; /* shared: how many jobs were accepted, by the outside's count */

static void first_boot(void *arg)
{
	(void)arg;
	snprintf(ini, sizeof ini, INI, "postern-data/box");
	provider_kit_start(&kit, ini);
	for (int i = 0; i < JOBS; i++) {
		(void)provider_kit_mail(&kit, (char[]){'m', (char)('0' + i), '\0'}, NULL);
		++*accepted;
	}
	for (int64_t id = 1; id <= JOBS; id++)
		(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	provider_kit_stop(&kit, 1000);
}

static int check_one(void *arg, const char *name)
{
	static struct listing l;

	l.dir = "box/new";
	(void)arg;
	assert_int_equal(look(&l, name), 0);
	/* Whole: its body's last bytes are there. */
	assert_int_equal(strncmp(l.content, "Return-Path: ", 13), 0);
	assert_non_null(strstr(l.content, "rstuv\n"));
	return 0;
}

static void second_boot(void *arg)
{
	static struct listing l;
	struct store_status st;

	(void)arg;
	snprintf(ini, sizeof ini, INI, "postern-data/box");
	provider_kit_start(&kit, ini);
	for (int i = 0; i < 600; i++) {
		store_status_init(&st);
		assert_int_equal(store_do(kit.store, &st.op), 0);
		if (st.count[JOB_PENDING] == 0 && st.count[JOB_PROCESSING] == 0) break;
		hal_clock_sleep_until(hal_clock_in(100));
	}
	assert_int_equal(st.count[JOB_FAILED], 0);
	/* One may have been stored whose acceptance was not heard of any more. */
	assert_true(st.count[JOB_COMPLETED] >= *accepted && st.count[JOB_COMPLETED] <= *accepted + 1);
	if (st.count[JOB_COMPLETED] > 0) {
		assert_int_equal(list("box/new", &l), st.count[JOB_COMPLETED]);
		assert_true(hal_storage_list("box/new", check_one, NULL) >= 0);
	}
	provider_kit_stop(&kit, 1000);
}

/* The power goes at every write, sync and rename of the first boot in turn; the second boot finishes the
 * work. */
static void test_power_cut(void **state)
{
	struct sim_config c = sim_config_default(1);
	uint64_t ops = 0;

	(void)state;
	for (uint64_t cut = 0; cut <= ops; cut++) {
		struct sim_result r;

		sim_reset();
		accepted = sim_shared(sizeof *accepted);
		c = sim_config_default(1 + cut % 7);
		c.quiet = true;
		c.faults.disk.cut_at_op = cut;
		c.faults.disk.damage = SIM_DAMAGE_ANY;
		r = sim_run(&c, first_boot, NULL);
		if (cut == 0) {
			assert_int_equal(r.end, SIM_FINISHED);
			ops = r.disk_ops;
			continue;
		}
		assert_true(r.end == SIM_POWER_CUT || r.end == SIM_FINISHED);
		c = sim_config_default(1 + cut % 7);
		r = sim_run(&c, second_boot, NULL);
		if (r.end != SIM_FINISHED)
			print_message("cut at op %u of %u:\n%s\n", (unsigned)cut, (unsigned)ops,
				      sim_log_text());
		assert_int_equal(r.end, SIM_FINISHED);
	}
	print_message("%u cuts\n", (unsigned)ops);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deliver),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_power_cut),
	};

	if (argc > 1) cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
