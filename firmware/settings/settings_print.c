#include "settings/room.h"

#define VALUE_COLUMN 48

struct printer {
	const struct settings *s;
	void (*line)(void *arg, const char *text);
	void *arg;
};

static void put_origin(struct buf *b, const struct settings *s, uint16_t origin)
{
	if (origin == ORIGIN_DEFAULT)
		buf_puts(b, "default");
	else if (origin == ORIGIN_DERIVED)
		buf_puts(b, "derived");
	else if (origin == ORIGIN_ENVIRONMENT)
		buf_puts(b, "environment");
	else
		buf_printf(b, "%s:%u", s->file, origin);
}

static void print_line(const struct printer *p, const char *key, const struct buf *value, uint16_t origin)
{
	char text[768];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	buf_printf(&b, "%s =%s", key, value->len > 0 ? " " : "");
	buf_escaped(&b, buf_view(value), 500);
	buf_puts(&b, value->cut ? "..." : "");
	buf_printf(&b, "%*s  # ", b.len < VALUE_COLUMN ? (int)(VALUE_COLUMN - b.len) : 0, "");
	put_origin(&b, p->s, origin);
	p->line(p->arg, text);
}

static void print_key(const struct printer *p, size_t key, size_t instance)
{
	/* Not written through: the one lookup serves both. */
	struct settings *s = (struct settings *)(uintptr_t)p->s;
	char text[512];
	struct buf value;

	buf_init(&value, text, sizeof(text));
	settings_value_format(&value, &settings_keys[key], settings_member_const(s, key, instance));
	print_line(p, settings_keys[key].key, &value, *settings_origin(s, key, instance));
}

static void print_section(const struct printer *p, enum section section, size_t instance)
{
	const struct section_row *row = settings_section(section);
	char text[128];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	buf_puts(&b, "[");
	settings_section_name(&b, p->s, section, instance);
	buf_puts(&b, "]");
	p->line(p->arg, text);
	for (size_t key = row->first; key < row->first + row->count; key++)
		print_key(p, key, instance);
}

void settings_print(const struct settings *s, void (*line)(void *arg, const char *text), void *arg)
{
	struct printer p = {s, line, arg};

	for (enum section i = 0; i < SECTION_COUNT; i++)
		for (size_t k = 0; k < settings_instances(s, i); k++)
			print_section(&p, i, k);
	if (s->alias_count > 0) line(arg, "[alias]");
	for (size_t i = 0; i < s->alias_count; i++) {
		char text[LIMIT_address + 1];
		struct buf value;

		buf_init(&value, text, sizeof(text));
		buf_puts(&value, s->alias[i].address);
		print_line(&p, s->alias[i].name, &value, s->alias_line[i]);
	}
}
