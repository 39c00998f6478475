/* test/contract: each sentence of hal/ that can be tested, tested the same way against every platform.
 *
 * One source gives test_x.linux and test_x.sim. A test's body runs in a process of its own, on the sim
 * inside a boot, on linux in a plain child: so that hal_storage_open and hal_lifecycle_init can be had
 * "once" by each, and no test sees another's threads. cmocka's assertions work in it; on linux only on its
 * main thread. CONTRACT_SEEDS: on the sim each body runs once with each of so many schedules.
 */
#ifndef POSTERN_TEST_CONTRACT_H
#define POSTERN_TEST_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_thread.h"
#include "sim/sim.h"

#define CONTRACT_SEEDS      10
#define CONTRACT_REAL_S_MAX 60

/* There when the program was linked with the sim. */
#pragma weak sim_run
#pragma weak sim_reset
#pragma weak sim_config_default

static inline bool contract_is_sim(void)
{
	return sim_run != NULL;
}

static inline void contract_on_linux(void (*body)(void *arg))
{
	char dir[] = "/tmp/postern-contract-XXXXXX";
	char command[64];
	int status = 0;

	assert_non_null(mkdtemp(dir));
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* A failed assertion prints and aborts, so that cmocka does not go on in the child. */
		setenv("CMOCKA_TEST_ABORT", "1", 1);
		alarm(CONTRACT_REAL_S_MAX);
		if (chdir(dir) < 0) _exit(1);
		body(NULL);
		exit(0);
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
	if (status != 0) fail_msg("the test's process ended with status 0x%x", (unsigned)status);
}

static inline void contract_on_sim(void (*body)(void *arg))
{
	for (uint64_t seed = 1; seed <= CONTRACT_SEEDS; seed++) {
		sim_reset();
		struct sim_config c = sim_config_default(seed);
		assert_int_equal(sim_run(&c, body, NULL).end, SIM_FINISHED);
	}
}

static inline void contract_run(void (*body)(void *arg))
{
	if (contract_is_sim())
		contract_on_sim(body);
	else
		contract_on_linux(body);
}

/* TEST(name) { body } defines test_name for cmocka's table. */
#define TEST(name)                                                                                           \
	static void body_##name(void *arg);                                                                  \
	static void test_##name(void **state)                                                                \
	{                                                                                                    \
		(void)state;                                                                                 \
		contract_run(body_##name);                                                                   \
	}                                                                                                    \
	static void body_##name(void *arg __attribute__((unused)))

#endif
