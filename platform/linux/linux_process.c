/* hal_process for Linux. */
#include "hal_process.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

int hal_process_harden(void)
{
	struct rlimit none = {0, 0};

	umask(077);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return 0;
}

int hal_process_become(const char *user)
{
	const struct passwd *pw = getpwnam(user);

	if (!pw) return ERR_NOT_FOUND;
	if (geteuid() == pw->pw_uid && getuid() == pw->pw_uid) return 0;
	if (initgroups(user, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return ERR_DENIED;
	/* Changing the user makes the process dumpable again on some kernels. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return 0;
}

int hal_process_own_dir(const char *path, const char *user)
{
	const struct passwd *pw = getpwnam(user);

	if (!pw) return ERR_NOT_FOUND;
	if (geteuid() != 0) return 0;
	if (mkdir(path, 0700) < 0 && errno != EEXIST) return ERR_DENIED;
	return lchown(path, pw->pw_uid, pw->pw_gid) == 0 ? 0 : ERR_DENIED;
}

int hal_process_let_pass(const char *path)
{
	return chmod(path, 0711) == 0 ? 0 : ERR_DENIED;
}

int hal_process_full_path(const char *path, char *out, size_t cap)
{
	char dir[PATH_MAX];
	int n;

	if (path[0] == '/') {
		n = snprintf(out, cap, "%s", path);
	} else {
		if (!getcwd(dir, sizeof(dir))) return ERR_DENIED;
		n = snprintf(out, cap, "%s/%s", dir, path);
	}
	return n >= 0 && (size_t)n < cap ? 0 : ERR_TOO_LARGE;
}

bool hal_process_on_terminal(void)
{
	return isatty(STDERR_FILENO) == 1;
}

void hal_process_user(char *name, size_t cap)
{
	const struct passwd *pw = getpwuid(getuid());

	snprintf(name, cap, "%s", pw && pw->pw_name ? pw->pw_name : "");
}

const char *hal_process_env(const char *name)
{
	return getenv(name);
}

void *hal_process_memory(size_t bytes)
{
	void *p =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}
