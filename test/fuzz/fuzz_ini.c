/* Any bytes as the INI file: never a crash, and refused exactly when a problem is said. The first byte
 * chooses the file's mode and whether the environment has something to say. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "settings/settings.h"

static const uint8_t *bytes;
static size_t len;
static unsigned mode;
static struct settings settings;

static int read_bytes(const char *path, void *out, size_t cap, unsigned *file_mode)
{
	*file_mode = mode;
	if (strcmp(path, "fuzz.ini") != 0) return *path == '/' ? 0 : ERR_NOT_FOUND;
	if (len > cap) return ERR_TOO_LARGE;
	memcpy(out, bytes, len);
	return (int)len;
}

static const char *get(const char *name)
{
	return strcmp(name, "RABBITMQ_HOST") == 0 ? "mq" : NULL;
}

static void ignore(void *arg, const char *text)
{
	*(size_t *)arg += strlen(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings_source source = {"fuzz.ini", NULL, read_bytes};
	size_t count = 0;
	struct settings_report report = {.line = ignore, .arg = &count};

	if (size == 0) return 0;
	mode = data[0] & 1 ? 0600 : 0644;
	source.getenv = data[0] & 2 ? get : NULL;
	bytes = data + 1;
	len = size - 1;
	if ((settings_load(&settings, &source, &report) == 0) != (report.problems == 0)) abort();
	if (report.problems == 0) settings_print(&settings, ignore, &count);
	return 0;
}
