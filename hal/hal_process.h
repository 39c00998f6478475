/* hal_process: what the process gives up and asks for before it starts. Main thread only, before any thread
 * starts.
 *
 * A platform without users and limits does nothing and returns 0.
 */
#ifndef POSTERN_HAL_PROCESS_H
#define POSTERN_HAL_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

/* Files are ours only (umask), no core dumps (secrets), no new privileges by exec. Never fails for lack of
 * support. */
int hal_process_harden(void);

/* Goes on as this user, with its groups, for good; nothing when already that user.
 * Errors: ERR_NOT_FOUND (no such user), ERR_DENIED (not started as root). */
int hal_process_become(const char *user);

/* Before hal_process_become, as root: makes the directory when it is missing (mode 0700) and gives it to that
 * user. Errors: ERR_NOT_FOUND (no such user), ERR_DENIED. */
int hal_process_own_dir(const char *path, const char *user);

/* Lets other users go through a directory of ours to a name that they know; not list it (linux: 0711).
 * Errors: ERR_DENIED. */
int hal_process_let_pass(const char *path);

/* The full path of one that counts from the working directory; an absolute one as it is. Any thread. Errors:
 * ERR_TOO_LARGE, ERR_DENIED (the working directory cannot be told). */
int hal_process_full_path(const char *path, char *out, size_t cap);

/* Whether somebody sees the standard error as it is written: it is a terminal. Any thread. */
bool hal_process_on_terminal(void);

/* The name of the user who started the process, empty when it has none. Any thread. */
void hal_process_user(char *name, size_t cap);

/* A variable of the environment, NULL when it is not set. Any thread. */
const char *hal_process_env(const char *name);

/* Memory for the whole life of the process, zeroed, not in RAM before it is touched. NULL when there is none.
 */
void *hal_process_memory(size_t bytes);

#endif
