/* Wall time: the world's, and what the device believes. The monotonic clock is the scheduler's. */
#include "sim_world.h"

/* 2025-01-01, in the place of a build time. */
#define BUILD_MS INT64_C(1735689600000)

int64_t hal_clock_in(int64_t ms)
{
	int64_t now = hal_clock_mono_ms();

	return ms > HAL_FOREVER - now ? HAL_FOREVER : now + ms;
}

int64_t hal_clock_wall_ms(bool *set)
{
	sim_enter();
	int64_t device = sim_world.true_base_ms + sim_world.now_ms + sim_world.wall_offset_ms;
	bool raised = sim_world.wall_floor_ms > BUILD_MS;
	int64_t floor = raised ? sim_world.wall_floor_ms : BUILD_MS;
	int64_t running = floor + sim_world.now_ms - (raised ? sim_world.wall_floor_at_ms : 0);

	if (set != NULL) *set = device >= floor;
	return device >= floor ? device : running;
}

void hal_clock_floor_raise(int64_t unix_ms)
{
	sim_enter();
	if (unix_ms > sim_world.wall_floor_ms) {
		sim_world.wall_floor_ms = unix_ms;
		sim_world.wall_floor_at_ms = sim_world.now_ms;
	}
}

int64_t sim_true_ms(void)
{
	return sim_world.up ? sim_world.true_base_ms + sim_world.now_ms : sim_lasting()->true_ms;
}

void sim_clock_set(void)
{
	sim_enter();
	sim_world.wall_offset_ms = 0;
}

void sim_clock_jump(int64_t ms)
{
	sim_enter();
	sim_world.wall_offset_ms += ms;
}
