#include <ini.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "settings/room.h"

/* inih splits and trims lines, but it cuts what is too long, stops at NUL bytes, skips what it does not
 * understand and names only the first such line. So every line is looked at before inih gets it; a bad one is
 * reported and inih gets an empty line instead. Sections are remembered here and not taken from inih: behind
 * a bad section header no key may fall into the section before. */

#define SECTION_BYTES_MAX 49 /* inih's own bound, cut silently there */

struct reader {
	struct load *load;
	struct str rest; /* of the file */
	int line;
	enum section section;
	size_t instance;
};

/* ---- lines ---- */

static struct str take_line(struct reader *r)
{
	const char *end = memchr(r->rest.ptr, '\n', r->rest.len);
	size_t n = end ? (size_t)(end - r->rest.ptr) : r->rest.len;
	struct str line = {r->rest.ptr, n};

	r->rest.ptr += n + (end != NULL);
	r->rest.len -= n + (end != NULL);
	r->line++;
	if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
	return line;
}

static const char *check_section_line(struct str s)
{
	const char *end = memchr(s.ptr, ']', s.len);

	if (!end) return "a section needs a ] at its end";
	if (end != s.ptr + s.len - 1) return "nothing may stand behind the ] of a section";
	if (s.len - 2 > SECTION_BYTES_MAX) return "the name of this section is longer than 49 bytes";
	return NULL;
}

static const char *check_key_line(struct str s)
{
	const char *equals = memchr(s.ptr, '=', s.len);
	const char *colon = memchr(s.ptr, ':', s.len);

	if (!equals) return "neither a [section] nor key = value";
	if (equals == s.ptr) return "no key stands before the =";
	if (colon && colon < equals) return "a key has no : in it, and = stands between key and value";
	return NULL;
}

/* What is wrong with a line, NULL when nothing is. */
static const char *check_line(struct str line, size_t bytes_max)
{
	struct str s = str_trim(line);

	if (line.len > bytes_max) return "this line is too long";
	if (memchr(line.ptr, '\0', line.len)) return "a NUL byte stands in this line";
	if (str_has_ctl(line)) return "control characters stand in this line";
	if (!str_is_utf8(line)) return "this line is not UTF-8";
	if (s.len == 0 || *s.ptr == '#' || *s.ptr == ';') return NULL;
	return *s.ptr == '[' ? check_section_line(s) : check_key_line(s);
}

/* inih's fgets: one line a call. */
static char *read_line(char *out, int cap, void *arg)
{
	struct reader *r = arg;
	struct str line;
	const char *problem;

	if (r->rest.len == 0) return NULL;
	CHECK(cap >= LIMIT_line); /* else inih was built with other bounds, and would cut */
	line = take_line(r);
	problem = check_line(line, LIMIT_line - 2);
	if (problem) {
		settings_problem_line(r->load, r->line, "%s", problem);
		if (str_trim(line).len > 0 && *str_trim(line).ptr == '[') r->section = SECTION_skip;
		line.len = 0;
	}
	if (line.len > 0) memcpy(out, line.ptr, line.len);
	out[line.len] = '\n';
	out[line.len + 1] = '\0';
	return out;
}

static uint16_t line_origin(const struct reader *r)
{
	return (uint16_t)(r->line < ORIGIN_LINE_MAX ? r->line : ORIGIN_LINE_MAX);
}

/* ---- sections ---- */

static void unknown_section(struct reader *r, struct str name)
{
	const char *dot = memchr(name.ptr, '.', name.len);
	const char *near =
		settings_section_near(dot ? (struct str){name.ptr, (size_t)(dot - name.ptr)} : name);

	r->section = SECTION_skip;
	if (near)
		settings_problem_line(r->load, r->line, "unknown section [" STR_FMT "]; did you mean [%s%s]?",
				      STR_ARG(name), near, dot ? dot : "");
	else
		settings_problem_line(r->load, r->line, "unknown section [" STR_FMT "]", STR_ARG(name));
}

static bool is_instance_name(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_' && c != '.')
			return false;
	}
	return s.len > 0;
}

/* [provider.NAME] again is the same section: more keys of it. */
static int find_instance(const struct settings *s, enum section section, struct str name)
{
	for (size_t i = 0; i < settings_instances(s, section); i++)
		if (str_eq(name,
			   str_from(section == SECTION_provider ? s->provider[i].name : s->mailbox[i].name)))
			return (int)i;
	return -1;
}

static void open_instance(struct reader *r, enum section section, struct str name)
{
	int at;

	r->section = SECTION_skip;
	if (!is_instance_name(name)) {
		settings_problem_line(r->load, r->line,
				      "[%s.NAME] needs a NAME of letters, digits, - _ and .",
				      settings_section(section)->name);
		return;
	}
	at = find_instance(r->load->s, section, name);
	if (at < 0) at = settings_instance_add(r->load, section, name, r->line);
	if (at < 0) return;
	r->section = section;
	r->instance = (size_t)at;
}

static void open_section(struct reader *r, struct str name)
{
	r->instance = 0;
	if (str_eq(name, STR("alias"))) {
		r->section = SECTION_alias;
		return;
	}
	for (enum section i = 0; i < SECTION_COUNT; i++) {
		const struct section_row *row = settings_section(i);
		size_t n = strlen(row->name);

		if (!row->repeats && str_eq(name, str_from(row->name))) {
			r->section = i;
			if (r->load->section_line[i] == 0) r->load->section_line[i] = line_origin(r);
			return;
		}
		if (row->repeats && name.len >= n && memcmp(name.ptr, row->name, n) == 0 &&
		    (name.len == n || name.ptr[n] == '.')) {
			n += name.len > n;
			open_instance(r, i, (struct str){name.ptr + n, name.len - n});
			return;
		}
	}
	unknown_section(r, name);
}

/* ---- keys ---- */

static void take_alias(struct reader *r, struct str name, struct str address)
{
	static const struct key_row row = {.kind = KIND_ADDRESS, .min = 1, .max = LIMIT_address};
	struct settings *s = r->load->s;
	struct settings_alias *alias = &s->alias[s->alias_count];
	char text[256];
	struct buf why;

	for (size_t i = 0; i < s->alias_count; i++) {
		if (!str_eq_nocase(name, str_from(s->alias[i].name))) continue;
		settings_problem_line(r->load, r->line,
				      "[alias] " STR_FMT ": is given twice, first in line %u", STR_ARG(name),
				      s->alias_line[i]);
		return;
	}
	if (s->alias_count == LIMIT_aliases) {
		settings_problem_line(r->load, r->line, "[alias] more than %d names", LIMIT_aliases);
		return;
	}
	buf_init(&why, text, sizeof(text));
	alias->name = arena_str(&s->arena, name).ptr;
	if (!is_instance_name(name))
		buf_puts(&why, "is not a local name");
	else if (!alias->name)
		buf_puts(&why, "there is no room for it");
	else if (settings_value_parse(&s->arena, &row, address, &alias->address, &why) == 0)
		s->alias_line[s->alias_count++] =
			(uint16_t)(r->line < ORIGIN_LINE_MAX ? r->line : ORIGIN_LINE_MAX);
	if (why.len > 0)
		settings_problem_line(r->load, r->line, "[alias] " STR_FMT ": %s", STR_ARG(name), why.ptr);
}

static void unknown_key(struct reader *r, struct str name)
{
	const char *near = settings_key_near(r->section, name);
	char shown[64], section[80];
	struct buf b, sb;

	buf_init(&b, shown, sizeof(shown));
	buf_escaped(&b, name, sizeof(shown) - 1);
	buf_init(&sb, section, sizeof(section));
	settings_section_name(&sb, r->load->s, r->section, r->instance);
	if (near)
		settings_problem_line(r->load, r->line, "[%s] %s: unknown key; did you mean %s?", section,
				      shown, near);
	else
		settings_problem_line(r->load, r->line, "[%s] %s: unknown key", section, shown);
}

/* password_file and password_env belong to password, when that is a secret. */
static int find_variant(enum section section, struct str name, const char **variant)
{
	static const char *const variants[] = {"_file", "_env"};

	for (size_t i = 0; i < 2; i++) {
		struct str end = str_from(variants[i]);
		int key;

		if (name.len <= end.len || memcmp(name.ptr + name.len - end.len, end.ptr, end.len) != 0)
			continue;
		key = settings_key_find(section, (struct str){name.ptr, name.len - end.len});
		*variant = variants[i];
		return key >= 0 && settings_keys[key].kind == KIND_SECRET ? key : -1;
	}
	return -1;
}

static void take_key(struct reader *r, struct str name, struct str value)
{
	uint16_t origin = line_origin(r);
	const char *variant = "";
	int key;

	if (r->section == SECTION_skip) return;
	if (r->section == SECTION_none) {
		settings_problem_line(r->load, r->line, "a key before the first [section]");
		return;
	}
	if (r->section == SECTION_alias) {
		take_alias(r, name, value);
		return;
	}
	key = settings_key_find(r->section, name);
	if (key < 0) key = find_variant(r->section, name, &variant);
	if (key < 0)
		unknown_key(r, name);
	else
		settings_take(r->load, (size_t)key, r->instance, variant, value, origin);
}

static int handle(void *arg, const char *section, const char *name, const char *value, int line)
{
	struct reader *r = arg;

	CHECK(line == r->line);
	if (!name)
		open_section(r, str_from(section));
	else
		take_key(r, str_from(name), str_from(value));
	return 1;
}

int settings_ini_parse(struct load *l, struct str text)
{
	struct reader r = {.load = l, .rest = text, .section = SECTION_none};

	/* inih skips a byte order mark itself, but the line is judged before. */
	if (text.len >= 3 && memcmp(text.ptr, "\xEF\xBB\xBF", 3) == 0)
		r.rest = (struct str){text.ptr + 3, text.len - 3};
	return ini_parse_stream(read_line, &r, handle, &r) == -2 ? ERR_NO_MEMORY : 0;
}
