/* Inside of room settings: the table as the code sees it, and the state of one load. */
#ifndef POSTERN_SETTINGS_ROOM_H
#define POSTERN_SETTINGS_ROOM_H

#include "base/buf.h"
#include "settings/settings.h"

_Static_assert(LIMIT_providers <= 32 && LIMIT_mailboxes <= 32, "load.bad has 32 bits");

/* ---- the table (settings_table.c) ---- */

enum kind {
	KIND_BOOL,
	KIND_INT,
	KIND_PORT,
	KIND_PERCENT,
	KIND_SIZE,
	KIND_DURATION,
	KIND_FIRST,
	KIND_TIME,
	KIND_ENUM,
	KIND_STRING,
	KIND_PATH,
	KIND_FILE,
	KIND_KEYFILE,
	KIND_HOST,
	KIND_URL,
	KIND_ADDRESS,
	KIND_ADDRESSES,
	KIND_WORDS,
	KIND_DURATIONS,
	KIND_RATE,
	KIND_LISTEN,
	KIND_SECRET
};

enum section {
	SECTION_gateway,
	SECTION_broker,
	SECTION_ring,
	SECTION_store,
	SECTION_retry,
	SECTION_worker,
	SECTION_provider,
	SECTION_mailbox,
	SECTION_api,
	SECTION_attachments,
	SECTION_template,
	SECTION_alert,
	SECTION_limits,
	SECTION_device,
	SECTION_COUNT,
	SECTION_alias = SECTION_COUNT, /* free keys: not in the table */
	SECTION_none,                  /* before the first section */
	SECTION_skip                   /* a bad one: its keys are not looked at */
};

struct key_row {
	enum section section;
	enum kind kind;
	const char *kind_name;
	const char *key;
	const char *const *values; /* of an ENUM, ends with NULL */
	const char *dflt;
	int64_t min, max;
	const char *help;
	size_t offset; /* of the member in the section's struct */
};

struct section_row {
	const char *name;
	bool repeats;
	size_t first, count; /* its keys */
	size_t offset;       /* of the section's (first) struct in struct settings */
	size_t size;         /* of one */
};

extern const struct key_row settings_keys[SETTINGS_KEY_COUNT];
const struct section_row *settings_section(enum section section);

/* Where a value lives. instance counts providers or mailboxes, else 0. */
void *settings_member(struct settings *s, size_t key, size_t instance);
const void *settings_member_const(const struct settings *s, size_t key, size_t instance);
uint16_t *settings_origin(struct settings *s, size_t key, size_t instance);
/* How many there are of a section. */
size_t settings_instances(const struct settings *s, enum section section);
/* "provider.main" */
void settings_section_name(struct buf *b, const struct settings *s, enum section section, size_t instance);

/* The key of that name, or -1. */
int settings_key_find(enum section section, struct str name);
/* The known name that is nearest to a mistyped one, NULL when none is near. */
const char *settings_key_near(enum section section, struct str name);
const char *settings_section_near(struct str name);

/* ---- values (settings_value.c) ---- */

/* Reads text into member. why gets the reason. Errors: ERR_INVALID, ERR_NO_MEMORY (why too). */
int settings_value_parse(struct arena *a, const struct key_row *k, struct str text, void *member,
			 struct buf *why);
void settings_value_format(struct buf *b, const struct key_row *k, const void *member);
/* True for "", no words, no addresses, no secret. */
bool settings_value_empty(const struct key_row *k, const void *member);
bool settings_host_is_loopback(const char *host);
bool settings_is_host(struct str s);

/* ---- one load ---- */

/* Origins beside line numbers. */
#define ORIGIN_DEFAULT     0
#define ORIGIN_LINE_MAX    65500
#define ORIGIN_DERIVED     65534
#define ORIGIN_ENVIRONMENT 65535

struct load {
	struct settings *s;
	const struct settings_source *source;
	struct settings_report *report;
	const char *file; /* name for messages; NULL: built-in settings */
	unsigned file_mode;
	int secret_line;                      /* the first secret that stands in the file itself, 0: none */
	int url_line;                         /* [broker] url, when it stands in the file itself */
	uint16_t section_line[SECTION_COUNT]; /* of the first header of each, 0: none */
	uint32_t bad[SETTINGS_KEY_COUNT];     /* bit n: the value given in instance n was refused */
};

#define LOAD_PRINTF(n) __attribute__((format(printf, n, n + 1)))

/* FILE:LINE: text */
void settings_problem_line(struct load *l, int line, const char *format, ...) LOAD_PRINTF(3);
/* FILE:LINE: [section] key: text, at the place where the value came from, or where it is missing. */
void settings_problem_key(struct load *l, size_t key, size_t instance, const char *format, ...)
	LOAD_PRINTF(4);
/* The same as a note when note is true. */
void settings_say_key(struct load *l, bool note, size_t key, size_t instance, const char *text);

/* Takes over a value: text of the key, or with variant "_file" or "_env" the name of where it is. Problems
 * are reported. */
void settings_take(struct load *l, size_t key, size_t instance, const char *variant, struct str text,
		   uint16_t origin);
/* Begins a provider or mailbox with defaults; its index, or ERR_TOO_LARGE. */
int settings_instance_add(struct load *l, enum section section, struct str name, int line);

/* Parses the text of an INI file (settings_ini.c; the sole includer of inih). Errors: ERR_NO_MEMORY. */
int settings_ini_parse(struct load *l, struct str text);
/* Takes [broker] url apart (settings_broker_url.c). */
void settings_broker_url(struct load *l);
/* What concerns more than one key (settings_cross.c). */
void settings_cross(struct load *l);
/* Notes or, with refuse, problems for parts that are not built. */
void settings_unbuilt(struct load *l, bool refuse);
/* "RABBITMQ_HOST" for a key that the environment may give, else NULL. */
const char *settings_environment_name(size_t key);

#endif
