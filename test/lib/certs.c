#include "certs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

#define FILES_MAX 96

/* Read once: thousands of worlds have them. */
static struct {
	char path[64];
	char *bytes;
	size_t len;
} files[FILES_MAX];
static size_t file_count;

static void load(const char *folder, const char *name)
{
	static char bytes[512 * 1024];
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "rb");
	if (f == NULL) return;
	size_t len = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	if (file_count == FILES_MAX) abort();
	snprintf(files[file_count].path, sizeof(files[0].path), "/certs/%.50s", name);
	files[file_count].bytes = malloc(len + 1);
	if (files[file_count].bytes == NULL) abort();
	memcpy(files[file_count].bytes, bytes, len);
	files[file_count++].len = len;
}

static void load_all(void)
{
	const char *folder = getenv("POSTERN_CERTS");

	if (folder == NULL) folder = "build/certs";
	DIR *d = opendir(folder);
	if (d == NULL) {
		fprintf(stderr, "no build/certs: run test/lib/make-certs build/certs\n");
		abort();
	}
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.') load(folder, e->d_name);
	closedir(d);
}

void certs_install(void)
{
	if (file_count == 0) load_all();
	for (size_t i = 0; i < file_count; i++)
		sim_disk_write(files[i].path, 0, files[i].bytes, files[i].len);
}
