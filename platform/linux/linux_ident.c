#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hal_ident.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char host[65];

static void host_read(void)
{
	if (gethostname(host, sizeof host - 1) < 0 || host[0] == '\0') strcpy(host, "localhost");
}

const char *hal_ident_host(void)
{
	pthread_once(&once, host_read);
	return host;
}

int64_t hal_ident_rss_bytes(void)
{
	long long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL) return 0;
	if (fscanf(f, "%lld %lld", &size, &resident) != 2) resident = 0;
	fclose(f);
	return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

int64_t hal_ident_rss_peak_bytes(void)
{
	long long kb = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	if (f == NULL) return 0;
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "VmHWM: %lld kB", &kb) == 1) break;
	fclose(f);
	return (int64_t)kb * 1024;
}
