/* hal_map over the world's disk: a copy. */
#include <stdlib.h>

#include "base/err.h"
#include "hal_map.h"
#include "hal_storage.h"

#define MAP_BYTES_MAX (64 << 20)

static int read_all(struct hal_file *f, unsigned char *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		int rc = hal_file_read(f, (int64_t)done, bytes + done, len - done);
		if (rc < 0) return rc;
		if (rc == 0) return ERR_IO;
		done += (size_t)rc;
	}
	return 0;
}

static int take(struct hal_map *m, struct hal_file *f, size_t len)
{
	unsigned char *bytes = malloc(len + 1);
	int rc = bytes == NULL ? ERR_NO_MEMORY : read_all(f, bytes, len);

	if (rc < 0) {
		free(bytes);
		return rc;
	}
	m->bytes = bytes;
	m->len = len;
	return 0;
}

int hal_map_open(struct hal_map *m, const char *path)
{
	struct hal_file f;

	*m = (struct hal_map){0};
	int rc = hal_file_open(&f, path, HAL_FILE_READ);
	if (rc < 0) return rc;
	int64_t size = hal_file_size(&f);
	rc = size < 0 ? ERR_IO : size > MAP_BYTES_MAX ? ERR_TOO_LARGE : take(m, &f, (size_t)size);
	hal_file_close(&f);
	return rc;
}

void hal_map_close(struct hal_map *m)
{
	free((void *)(uintptr_t)m->bytes);
	*m = (struct hal_map){0};
}
