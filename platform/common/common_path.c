#include <string.h>

#include "common.h"
#include "hal_storage.h"

bool common_path_is_root(const char *path)
{
	return path[0] == '\0' || strcmp(path, ".") == 0;
}

bool common_path_valid(const char *path)
{
	if (path[0] == '\0' || strlen(path) >= HAL_PATH_MAX) return false;
	for (const char *p = path[0] == '/' ? path + 1 : path;;) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) return false;
		if (p[n] == '\0') return true;
		p += n + 1;
	}
}

void common_path_dir(const char *path, char *out)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);

	memcpy(out, path, n);
	out[n] = '\0';
}
