#include <string.h>

#include "base/check.h"
#include "settings/room.h"

#define VALUE_NAME(constant, name) name,
#define ENUM_NAMES(of)             static const char *const values_##of[] = {SETTINGS_VALUES_##of(VALUE_NAME) NULL};
ENUM_NAMES(log_level)
ENUM_NAMES(log_format)
ENUM_NAMES(log_target)
ENUM_NAMES(broker_mode)
ENUM_NAMES(ack_on)
ENUM_NAMES(durability)
ENUM_NAMES(hold)
ENUM_NAMES(provider_type)
ENUM_NAMES(tls)
ENUM_NAMES(auth)
ENUM_NAMES(provider_api)
ENUM_NAMES(oauth_grant)
ENUM_NAMES(mailbox_protocol)
ENUM_NAMES(mailbox_after)
ENUM_NAMES(socket_mode)
#define values_none NULL

const struct key_row settings_keys[SETTINGS_KEY_COUNT] = {
#define SETTINGS_KEY(section, key, kind, of, dflt, min, max, help)                                           \
	{SECTION_##section,                                                                                  \
	 KIND_##kind,                                                                                        \
	 #kind,                                                                                              \
	 #key,                                                                                               \
	 values_##of,                                                                                        \
	 dflt,                                                                                               \
	 min,                                                                                                \
	 max,                                                                                                \
	 help,                                                                                               \
	 offsetof(struct settings_##section, key)},
#include "settings/settings.def"
};

/* From its first key to the first of the next section: settings.def is in the order of enum section. */
#define SECTION(name, first, end)                                                                            \
	[SECTION_##name] = {#name,                                                                           \
			    sizeof(((struct settings *)0)->name) > sizeof(struct settings_##name),           \
			    SETTINGS_KEY_##name##_##first,                                                   \
			    end - SETTINGS_KEY_##name##_##first,                                             \
			    offsetof(struct settings, name),                                                 \
			    sizeof(struct settings_##name)}
static const struct section_row sections[SECTION_COUNT] = {
	SECTION(gateway, name, SETTINGS_KEY_broker_mode),
	SECTION(broker, mode, SETTINGS_KEY_ring_bytes),
	SECTION(ring, bytes, SETTINGS_KEY_store_durability),
	SECTION(store, durability, SETTINGS_KEY_retry_max),
	SECTION(retry, max, SETTINGS_KEY_worker_min),
	SECTION(worker, min, SETTINGS_KEY_provider_tenant_id),
	SECTION(provider, tenant_id, SETTINGS_KEY_mailbox_tenant_id),
	SECTION(mailbox, tenant_id, SETTINGS_KEY_api_listen),
	SECTION(api, listen, SETTINGS_KEY_attachments_root),
	SECTION(attachments, root, SETTINGS_KEY_template_dir),
	SECTION(template, dir, SETTINGS_KEY_alert_to),
	SECTION(alert, to, SETTINGS_KEY_limits_job_bytes),
	SECTION(limits, job_bytes, SETTINGS_KEY_device_watchdog),
	SECTION(device, watchdog, SETTINGS_KEY_COUNT),
};

const struct section_row *settings_section(enum section section)
{
	CHECK(section < SECTION_COUNT);
	return &sections[section];
}

const void *settings_member_const(const struct settings *s, size_t key, size_t instance)
{
	const struct key_row *k = &settings_keys[key];
	const struct section_row *row = settings_section(k->section);

	return (const char *)s + row->offset + instance * row->size + k->offset;
}

void *settings_member(struct settings *s, size_t key, size_t instance)
{
	return (void *)(uintptr_t)settings_member_const(s, key, instance);
}

uint16_t *settings_origin(struct settings *s, size_t key, size_t instance)
{
	switch (settings_keys[key].section) {
	case SECTION_provider: return &s->provider_origin[instance][key - sections[SECTION_provider].first];
	case SECTION_mailbox: return &s->mailbox_origin[instance][key - sections[SECTION_mailbox].first];
	default: return &s->origin[key];
	}
}

size_t settings_instances(const struct settings *s, enum section section)
{
	return section == SECTION_provider  ? s->provider_count
	       : section == SECTION_mailbox ? s->mailbox_count
					    : 1;
}

void settings_section_name(struct buf *b, const struct settings *s, enum section section, size_t instance)
{
	buf_puts(b, settings_section(section)->name);
	if (section == SECTION_provider)
		buf_printf(b, ".%s", s->provider[instance].name);
	else if (section == SECTION_mailbox)
		buf_printf(b, ".%s", s->mailbox[instance].name);
}

int settings_key_find(enum section section, struct str name)
{
	const struct section_row *row = settings_section(section);

	for (size_t i = row->first; i < row->first + row->count; i++)
		if (str_eq(name, str_from(settings_keys[i].key))) return (int)i;
	return -1;
}

/* ---- what a mistyped name may have meant ---- */

#define NAME_MAX_COMPARED 32

/* Levenshtein's distance, one row at a time; 99 for names too long to be any of ours. */
static unsigned distance(struct str a, struct str b)
{
	unsigned row[NAME_MAX_COMPARED + 1];

	if (a.len > NAME_MAX_COMPARED || b.len > NAME_MAX_COMPARED) return 99;
	for (unsigned j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned change = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
			unsigned insert = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

			diagonal = row[j];
			row[j] = change < insert ? change : insert;
		}
	}
	return row[b.len];
}

/* Near enough to be a slip of the fingers: two letters, in a short name one. */
static void consider(struct str name, const char *candidate, unsigned *best, const char **near)
{
	unsigned d = distance(name, str_from(candidate));

	if (d < *best && d <= (name.len < 4 ? 1U : 2U)) {
		*best = d;
		*near = candidate;
	}
}

const char *settings_key_near(enum section section, struct str name)
{
	const struct section_row *row = settings_section(section);
	const char *near = NULL;
	unsigned best = 99;

	for (size_t i = row->first; i < row->first + row->count; i++)
		consider(name, settings_keys[i].key, &best, &near);
	return near;
}

const char *settings_section_near(struct str name)
{
	const char *near = NULL;
	unsigned best = 99;

	for (size_t i = 0; i < SECTION_COUNT; i++)
		consider(name, sections[i].name, &best, &near);
	consider(name, "alias", &best, &near);
	return near;
}

/* ---- for others ---- */

static const char *const enum_texts[SETTINGS_KEY_COUNT] = {
#define JOIN(constant, name)                      "|" name
#define TEXT_ENUM(of)                             SETTINGS_VALUES_##of(JOIN)
#define SETTINGS_KEY(section, key, kind, of, ...) ENUM_TEXT_##kind(of),
#define ENUM_TEXT_ENUM(of)                        &TEXT_ENUM(of)[1]
#define ENUM_TEXT_BOOL(of)                        ""
#define ENUM_TEXT_INT(of)                         ""
#define ENUM_TEXT_PORT(of)                        ""
#define ENUM_TEXT_PERCENT(of)                     ""
#define ENUM_TEXT_SIZE(of)                        ""
#define ENUM_TEXT_DURATION(of)                    ""
#define ENUM_TEXT_FIRST(of)                       ""
#define ENUM_TEXT_TIME(of)                        ""
#define ENUM_TEXT_STRING(of)                      ""
#define ENUM_TEXT_PATH(of)                        ""
#define ENUM_TEXT_FILE(of)                        ""
#define ENUM_TEXT_KEYFILE(of)                     ""
#define ENUM_TEXT_HOST(of)                        ""
#define ENUM_TEXT_URL(of)                         ""
#define ENUM_TEXT_ADDRESS(of)                     ""
#define ENUM_TEXT_ADDRESSES(of)                   ""
#define ENUM_TEXT_WORDS(of)                       ""
#define ENUM_TEXT_DURATIONS(of)                   ""
#define ENUM_TEXT_RATE(of)                        ""
#define ENUM_TEXT_LISTEN(of)                      ""
#define ENUM_TEXT_SECRET(of)                      ""
#include "settings/settings.def"
};

void settings_key_get(enum settings_key_index index, struct settings_key *out)
{
	const struct key_row *k = &settings_keys[index];

	*out = (struct settings_key){settings_section(k->section)->name,
				     k->key,
				     k->kind_name,
				     enum_texts[index],
				     k->dflt,
				     k->help,
				     k->min,
				     k->max};
}
