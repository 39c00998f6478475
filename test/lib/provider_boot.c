/* The worlds of provider_kit's tests. Apart, because a test on the real platform has none. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "provider_kit.h"
#include "sim/sim.h"

void provider_kit_boot(void (*fn)(void *arg))
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct sim_config c = sim_config_default(seed);
		struct sim_result r;

		c.preempt_percent = (unsigned)(seed % 4) * 15;
		c.spurious_percent = 10;
		c.time_ms_max = 48 * 3600 * INT64_C(1000);
		sim_reset();
		r = sim_run(&c, fn, NULL);
		if (r.end != SIM_FINISHED)
			print_message("seed %u: %s\n%.20000s\n", (unsigned)seed, sim_end_text(r.end),
				      sim_log_text());
		assert_int_equal(r.end, SIM_FINISHED);
	}
}
