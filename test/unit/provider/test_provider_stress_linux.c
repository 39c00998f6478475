/* The workers on real threads: many mails, reloads and questions at once. For ThreadSanitizer above all. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hal_clock.h"
#include "hal_storage.h"
#include "provider_kit.h"

#define JOBS 60
#define A    "[gateway]\ndata_dir=data\n[provider.a]\ntype=maildir\npath=a\nfrom=gw@example.org\n"
#define B    "[provider.b]\ntype=maildir\npath=b\nfrom=gw@example.org\n"

static struct provider_kit kit;

static int count_one(void *arg, const char *name)
{
	(void)name;
	++*(int *)arg;
	return 0;
}

/* Relative paths count from the working directory: the Maildirs lie beside the storage root. */
static int count(const char *dir, const char *below)
{
	char path[64];
	int n = 0;

	snprintf(path, sizeof path, "%s/%s", dir, below);
	assert_true(hal_storage_list(path, count_one, &n) >= 0);
	return n;
}

static void test_stress(void **state)
{
	char dir[] = "/tmp/provider-stress-XXXXXX", name[32], command[64];
	struct provider_workers workers;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	provider_kit_start(&kit, A B);
	for (int i = 0; i < JOBS; i++) {
		snprintf(name, sizeof name, "m%d", i);
		(void)provider_kit_mail(&kit, name, i % 2 ? "a" : "b");
		if (i % 5 == 0) provider_kit_reload(&kit, i % 10 ? A B "rate=100000/1s\n" : A B);
		(void)provider_kit_status(&kit, "a");
		provider_workers_get(kit.pool, &workers);
		assert_true(workers.running <= workers.max);
	}
	for (int64_t id = 1; id <= JOBS; id++)
		(void)provider_kit_await(&kit, id, JOB_COMPLETED, JOB_REASON_NONE, 60000);
	assert_int_equal(count(dir, "a/new"), JOBS / 2);
	assert_int_equal(count(dir, "b/new"), JOBS / 2);
	provider_kit_stop(&kit, 5000);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_stress)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
