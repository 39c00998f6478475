/* hal_map: a file's bytes, read-only, as memory: for what is large, read rarely and in few places (CA
 * bundles).
 *
 * Any thread. The bytes stay until hal_map_close, also when the file is replaced by rename meanwhile; a file
 * that is cut short in place is the one thing that must not happen, so what others may edit is mapped briefly
 * only.
 */
#ifndef POSTERN_HAL_MAP_H
#define POSTERN_HAL_MAP_H

#include <stddef.h>
#include <stdint.h>

struct hal_map {
	const unsigned char *bytes; /* not NUL-terminated; never NULL after success, also when len is 0 */
	size_t len;
	uint64_t opaque[2];
};

/* path: absolute, or below the storage root. Errors: ERR_NOT_FOUND, ERR_DENIED, ERR_INVALID (path, or no
 * regular file), ERR_TOO_LARGE (over 64 MB), ERR_NO_MEMORY, ERR_IO. */
int hal_map_open(struct hal_map *m, const char *path);
void hal_map_close(struct hal_map *m);

#endif
