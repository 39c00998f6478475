#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "settings/settings.h"

/* config/postern.ini and settings.def say the same. Run at the top of the tree. */
#define INI "config/postern.ini"

static char original[LIMIT_settings_file], changed[LIMIT_settings_file];
static char said[8192];
static struct settings settings;

static void keep_line(void *arg, const char *text)
{
	(void)arg;
	if (strstr(text, ": note: ")) return;
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", text);
}

static int read_changed(const char *path, void *bytes, size_t cap, unsigned *mode)
{
	*mode = 0600;
	if (strcmp(path, INI) != 0) return ERR_NOT_FOUND;
	memcpy(bytes, changed, strlen(changed) < cap ? strlen(changed) : cap);
	return (int)strlen(changed);
}

static int load(void)
{
	struct settings_source source = {INI, NULL, read_changed};
	struct settings_report report = {.line = keep_line};

	said[0] = '\0';
	return settings_load(&settings, &source, &report);
}

static int read_original(void **state)
{
	FILE *f = fopen(INI, "r");

	(void)state;
	if (!f) return -1;
	original[fread(original, 1, sizeof(original) - 1, f)] = '\0';
	fclose(f);
	return 0;
}

/* "#key =" and "#[section.NAME]" are keys and sections that wait to be made valid; "# text" is text. */
static bool is_waiting(const char *line)
{
	return line[0] == '#' && (line[1] == '[' || (line[1] >= 'a' && line[1] <= 'z'));
}

/* Copies line by line with change applied. */
static void rewrite(void (*change)(const char *line, char *out, size_t cap))
{
	char *copy = strdup(original), *rest = copy, *line;

	changed[0] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		char out[512];

		change(line, out, sizeof(out));
		snprintf(changed + strlen(changed), sizeof(changed) - strlen(changed), "%s\n", out);
	}
	free(copy);
}

static void same(const char *line, char *out, size_t cap)
{
	snprintf(out, cap, "%s", line);
}

static void make_valid(const char *line, char *out, size_t cap)
{
	snprintf(out, cap, "%s", is_waiting(line) ? line + 1 : line);
}

static void make_valid_and_filled(const char *line, char *out, size_t cap)
{
	make_valid(line, out, cap);
	if (strcmp(out, "host =") == 0 || strcmp(out, "username =") == 0 || strcmp(out, "password =") == 0)
		snprintf(out + strlen(out), cap - strlen(out), " localhost");
}

static void it_loads_as_it_is(void **state)
{
	(void)state;
	rewrite(same);
	assert_int_equal(load(), 0);
	assert_string_equal(said, "");
	assert_int_equal(settings.provider_count, 0);
}

static void it_loads_with_every_key_made_valid(void **state)
{
	(void)state;
	rewrite(make_valid);
	assert_int_equal(load(), ERR_CONFIG);
	/* Three things have no default. */
	assert_non_null(strstr(said, "[provider.NAME] host: is needed"));
	assert_non_null(strstr(said, "[mailbox.NAME] host: is needed"));
	assert_null(strstr(said, "unknown"));
	rewrite(make_valid_and_filled);
	if (load() != 0) fail_msg("%s", said);
	assert_int_equal(settings.provider_count, 1);
	assert_int_equal(settings.mailbox_count, 1);
}

/* The same keys in the same order with the same defaults. */
static void it_names_the_keys_of_the_table(void **state)
{
	char *copy = strdup(original), *rest = copy, *line, section[64] = "";
	unsigned i = 0;

	(void)state;
	while ((line = strsep(&rest, "\n"))) {
		struct settings_key k;
		char want[256];

		if (line[0] == '[' || (line[0] == '#' && line[1] == '[')) {
			snprintf(section, sizeof(section), "%.*s", (int)strcspn(strchr(line, '[') + 1, ".]"),
				 strchr(line, '[') + 1);
			continue;
		}
		assert_true(line[0] == '#' || line[0] == '\0'); /* nothing is set */
		if (!is_waiting(line)) continue;
		assert_true(i < SETTINGS_KEY_COUNT);
		settings_key_get((enum settings_key_index)i++, &k);
		snprintf(want, sizeof(want), "#%s =%s%s", k.key, *k.dflt ? " " : "", k.dflt);
		assert_string_equal(section, k.section);
		assert_string_equal(line, want);
	}
	assert_int_equal(i, SETTINGS_KEY_COUNT);
	free(copy);
}

/* ---- the reader of real files ---- */

static void real_files_are_read_with_their_mode(void **state)
{
	char path[] = "/tmp/postern-test-XXXXXX", bytes[8], link[64];
	unsigned mode = 0;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "12345678", 8), 8);
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(settings_read_file(path, bytes, sizeof(bytes), &mode), 8);
	assert_memory_equal(bytes, "12345678", 8);
	assert_int_equal(mode, 0640);
	assert_int_equal(settings_read_file(path, bytes, 7, &mode), ERR_TOO_LARGE);
	mode = 0;
	assert_int_equal(settings_read_file(path, NULL, 0, &mode), 0);
	assert_int_equal(mode, 0640);
	/* Of a link the file counts: certificates are often links. */
	snprintf(link, sizeof(link), "%s.link", path);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(settings_read_file(link, bytes, sizeof(bytes), &mode), 8);
	assert_int_equal(mode, 0640);
	unlink(link);
	close(fd);
	unlink(path);
	assert_int_equal(settings_read_file(path, bytes, sizeof(bytes), &mode), ERR_NOT_FOUND);
	assert_int_equal(settings_read_file("/tmp", bytes, sizeof(bytes), &mode), ERR_INVALID);
	assert_int_equal(settings_read_file("/dev/null", bytes, sizeof(bytes), &mode), ERR_INVALID);
	assert_int_equal(settings_read_file("", bytes, sizeof(bytes), &mode), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_loads_as_it_is),
		cmocka_unit_test(it_loads_with_every_key_made_valid),
		cmocka_unit_test(it_names_the_keys_of_the_table),
		cmocka_unit_test(real_files_are_read_with_their_mode),
	};

	return cmocka_run_group_tests(tests, read_original, NULL);
}
