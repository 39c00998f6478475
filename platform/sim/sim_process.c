/* hal_process: there are no users and no limits here. */
#include "hal_process.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "hal_local.h"

int hal_process_harden(void)
{
	return 0;
}

int hal_process_become(const char *user)
{
	(void)user;
	return 0;
}

int hal_process_own_dir(const char *path, const char *user)
{
	(void)path;
	(void)user;
	return 0;
}

int hal_process_let_pass(const char *path)
{
	(void)path;
	return 0;
}

int hal_process_full_path(const char *path, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%s%s", path[0] == '/' ? "" : "/sim/", path);

	return n >= 0 && (size_t)n < cap ? 0 : ERR_TOO_LARGE;
}

bool hal_process_on_terminal(void)
{
	return false;
}

void hal_process_user(char *name, size_t cap)
{
	snprintf(name, cap, "sim");
}

const char *hal_process_env(const char *name)
{
	(void)name;
	return NULL;
}

void *hal_process_memory(size_t bytes)
{
	return calloc(1, bytes);
}

int hal_local_connect(struct hal_socket *s, const char *path, int64_t deadline_ms)
{
	(void)s;
	(void)path;
	(void)deadline_ms;
	return ERR_NO_GATEWAY;
}
