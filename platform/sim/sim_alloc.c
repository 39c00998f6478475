/* SQLite's allocator with a fault in it (struct sim_alloc_faults). */
#include <sqlite3.h>

#include "sim_world.h"

static sqlite3_mem_methods real;

static bool fails(void)
{
	struct sim_world *w = &sim_world;
	const struct sim_alloc_faults *f = &w->faults.alloc;

	if (!w->up) return false;
	w->allocs++;
	return f->fail_at != 0 && (f->fail_on ? w->allocs >= f->fail_at : w->allocs == f->fail_at);
}

static void *mem_malloc(int n)
{
	return fails() ? NULL : real.xMalloc(n);
}

static void *mem_realloc(void *p, int n)
{
	return fails() ? NULL : real.xRealloc(p, n);
}

/* Once a process and before SQLite is initialised; when that is past, or the store has configured memory
 * of its own, allocations do not fail. */
void sim_alloc_install(void)
{
	static bool done;
	sqlite3_mem_methods ours;

	if (done || sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real) != SQLITE_OK) return;
	ours = real;
	ours.xMalloc = mem_malloc;
	ours.xRealloc = mem_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) == SQLITE_OK) done = true;
}
