#include "certs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim.h"

static void install(const char *folder, const char *name)
{
	static char bytes[512 * 1024];
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "rb");
	if (f == NULL) return;
	size_t len = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	snprintf(path, sizeof(path), "/certs/%s", name);
	sim_disk_write(path, 0, bytes, len);
}

void certs_install(void)
{
	const char *folder = getenv("POSTERN_CERTS");
	DIR *d = opendir(folder != NULL ? folder : "build/certs");

	if (d == NULL) {
		fprintf(stderr, "no build/certs: run test/lib/make-certs build/certs\n");
		abort();
	}
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.') install(folder != NULL ? folder : "build/certs", e->d_name);
	closedir(d);
}
