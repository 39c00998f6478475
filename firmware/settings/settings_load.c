#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "hal_ident.h"
#include "settings/room.h"

/* ---- reporting ---- */

static void say(struct load *l, bool note, const struct buf *b)
{
	if (note)
		l->report->notes++;
	else
		l->report->problems++;
	if (l->report->line) l->report->line(l->report->arg, b->ptr);
}

static void put_file(struct load *l, struct buf *b)
{
	if (l->file)
		buf_escaped(b, str_from(l->file), LIMIT_path);
	else
		buf_puts(b, "built-in settings");
}

void settings_problem_line(struct load *l, int line, const char *format, ...)
{
	char text[LIMIT_log_line], why[LIMIT_log_line / 2];
	struct buf b;
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	buf_init(&b, text, sizeof(text));
	put_file(l, &b);
	if (line > 0) buf_printf(&b, ":%d", line);
	buf_printf(&b, ": %s", why);
	say(l, false, &b);
}

void settings_say_key(struct load *l, bool note, size_t key, size_t instance, const char *why)
{
	const struct key_row *k = &settings_keys[key];
	uint16_t origin = *settings_origin(l->s, key, instance);
	char text[LIMIT_log_line];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	if (origin == ORIGIN_ENVIRONMENT) {
		buf_printf(&b, "environment: %s%s: %s", note ? "note: " : "", settings_environment_name(key),
			   why);
		say(l, note, &b);
		return;
	}
	/* A key that is missing, or follows from others: its section is where it belongs. */
	if (origin > ORIGIN_LINE_MAX || origin == ORIGIN_DEFAULT)
		origin = k->section == SECTION_provider  ? l->s->provider_line[instance]
			 : k->section == SECTION_mailbox ? l->s->mailbox_line[instance]
							 : l->section_line[k->section];
	put_file(l, &b);
	if (origin != ORIGIN_DEFAULT) buf_printf(&b, ":%u", origin);
	buf_printf(&b, ": %s[", note ? "note: " : "");
	settings_section_name(&b, l->s, k->section, instance);
	buf_printf(&b, "] %s: %s", k->key, why);
	say(l, note, &b);
}

void settings_problem_key(struct load *l, size_t key, size_t instance, const char *format, ...)
{
	char why[LIMIT_log_line / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	settings_say_key(l, false, key, instance, why);
}

/* ---- defaults ---- */

static void set_default(struct settings *s, size_t key, size_t instance)
{
	const struct key_row *k = &settings_keys[key];
	char text[128];
	struct buf why;

	buf_init(&why, text, sizeof(text));
	/* No arena: texts of defaults are static and need no copy. An empty list needs none either. */
	switch (k->kind) {
	case KIND_STRING:
	case KIND_PATH:
	case KIND_FILE:
	case KIND_KEYFILE:
	case KIND_HOST:
	case KIND_URL:
	case KIND_ADDRESS: *(const char **)settings_member(s, key, instance) = k->dflt; break;
	case KIND_SECRET:
		*(struct secret *)settings_member(s, key, instance) = settings_secret_of(str_from(k->dflt));
		break;
	default:
		CHECK(settings_value_parse(&s->arena, k, str_from(k->dflt), settings_member(s, key, instance),
					   &why) == 0);
		break;
	}
}

static void set_defaults(struct settings *s, enum section section, size_t instance)
{
	const struct section_row *row = settings_section(section);

	for (size_t key = row->first; key < row->first + row->count; key++)
		set_default(s, key, instance);
}

int settings_instance_add(struct load *l, enum section section, struct str name, int line)
{
	struct settings *s = l->s;
	bool provider = section == SECTION_provider;
	size_t *count = provider ? &s->provider_count : &s->mailbox_count;
	size_t max = provider ? LIMIT_providers : LIMIT_mailboxes, at = *count;
	uint16_t origin = (uint16_t)(line < ORIGIN_LINE_MAX ? line : ORIGIN_LINE_MAX);
	struct str copy;

	if (at == max) {
		settings_problem_line(l, line, "[%s." STR_FMT "] is one too many: there may be %zu",
				      settings_section(section)->name, STR_ARG(name), max);
		return ERR_TOO_LARGE;
	}
	copy = arena_str(&s->arena, name);
	if (!copy.ptr) {
		settings_problem_line(l, line, "there is no room for so many values");
		return ERR_TOO_LARGE;
	}
	if (provider) {
		s->provider[at].name = copy.ptr;
		s->provider_line[at] = origin;
	} else {
		s->mailbox[at].name = copy.ptr;
		s->mailbox_line[at] = origin;
	}
	(*count)++;
	set_defaults(s, section, at);
	return (int)at;
}

/* ---- values ---- */

/* A value that was given and is not good. */
static void refuse(struct load *l, size_t key, size_t instance, const char *format, ...) LOAD_PRINTF(4);
static void refuse(struct load *l, size_t key, size_t instance, const char *format, ...)
{
	char why[LIMIT_log_line / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	l->bad[key] |= UINT32_C(1) << instance;
	settings_say_key(l, false, key, instance, why);
}

static void set_value(struct load *l, size_t key, size_t instance, struct str text)
{
	const struct key_row *k = &settings_keys[key];
	char reason[LIMIT_log_line / 2];
	struct buf why;

	buf_init(&why, reason, sizeof(reason));
	if (settings_value_parse(&l->s->arena, k, text, settings_member(l->s, key, instance), &why) < 0) {
		set_default(l->s, key, instance);
		refuse(l, key, instance, "%s", why.ptr);
	}
}

/* The first line of a secret file, or all of it when there are more: keys in PEM have many. */
static void take_secret_file(struct load *l, size_t key, size_t instance, struct str path)
{
	struct arena *a = &l->s->arena;
	size_t left = a->cap - a->used;
	char *text = (char *)a->ptr + a->used, name[LIMIT_path + 1];
	unsigned mode = 0;
	int n;

	if (str_copy(name, sizeof(name), path) < 0 || path.len == 0) {
		refuse(l, key, instance, "%s_file needs a path of at most %d bytes", settings_keys[key].key,
		       LIMIT_path);
		return;
	}
	n = l->source->read(name, text, left < LIMIT_secret_file ? left : LIMIT_secret_file, &mode);
	if (n < 0) {
		refuse(l, key, instance, "%s cannot be read: %s", name, err_text(n));
		return;
	}
	if (mode & 066) {
		refuse(l, key, instance, "%s can be read by others (mode %04o): chmod 600 it", name, mode);
	} else {
		if (n > 0 && text[n - 1] == '\n') n--;
		if (n > 0 && text[n - 1] == '\r') n--;
		set_value(l, key, instance, (struct str){text, (size_t)n});
	}
}

static void take_secret_env(struct load *l, size_t key, size_t instance, struct str variable)
{
	char name[128];
	const char *value = NULL;

	if (str_copy(name, sizeof(name), variable) == 0 && variable.len > 0 && l->source->getenv)
		value = l->source->getenv(name);
	if (value)
		set_value(l, key, instance, str_from(value));
	else
		refuse(l, key, instance, "there is no environment variable " STR_FMT, STR_ARG(variable));
}

void settings_take(struct load *l, size_t key, size_t instance, const char *variant, struct str text,
		   uint16_t origin)
{
	uint16_t *from = settings_origin(l->s, key, instance);
	uint16_t first = *from;

	if (origin <= ORIGIN_LINE_MAX && first != ORIGIN_DEFAULT) {
		*from = origin; /* for the message */
		settings_problem_key(l, key, instance, "is given twice, first in line %u", first);
		*from = first;
		return;
	}
	*from = origin;
	if (strcmp(variant, "_file") == 0) {
		take_secret_file(l, key, instance, text);
	} else if (strcmp(variant, "_env") == 0) {
		take_secret_env(l, key, instance, text);
	} else {
		set_value(l, key, instance, text);
		if (origin > ORIGIN_LINE_MAX || text.len == 0 || settings_keys[key].kind != KIND_SECRET)
			return;
		/* The url of a broker is a secret only when a password stands in it: settings_broker_url
		 * looks. */
		if (key == SETTINGS_KEY_broker_url)
			l->url_line = origin;
		else if (l->secret_line == 0)
			l->secret_line = origin;
	}
}

/* ---- the environment ---- */

static const struct {
	const char *name;
	size_t key;
} variables[] = {
	{"RABBITMQ_HOST", SETTINGS_KEY_broker_host},
	{"RABBITMQ_PORT", SETTINGS_KEY_broker_port},
	{"RABBITMQ_USERNAME", SETTINGS_KEY_broker_username},
	{"RABBITMQ_USER", SETTINGS_KEY_broker_username},
	{"RABBITMQ_PASSWORD", SETTINGS_KEY_broker_password},
	{"RABBITMQ_VHOST", SETTINGS_KEY_broker_vhost},
	{"RABBITMQ_EMAIL_SEND_QUEUE", SETTINGS_KEY_broker_send_queue},
	{"RABBITMQ_EMAIL_INBOUND_QUEUE", SETTINGS_KEY_broker_inbound_queue},
	{"RABBITMQ_EMAIL_SYNC_USER_QUEUE", SETTINGS_KEY_broker_sync_queue},
};
#define VARIABLES (sizeof(variables) / sizeof(variables[0]))

const char *settings_environment_name(size_t key)
{
	if (key == SETTINGS_KEY_broker_mode) return "RABBITMQ_HOST";
	for (size_t i = 0; i < VARIABLES; i++)
		if (variables[i].key == key) return variables[i].name;
	return NULL;
}

/* Set and not empty: an empty variable is how compose files and units say "not given". */
static const char *variable(const struct load *l, const char *name)
{
	const char *value = l->source->getenv ? l->source->getenv(name) : NULL;

	return value && *value ? value : NULL;
}

static void take_environment(struct load *l)
{
	const char *user = variable(l, "RABBITMQ_USER"), *username = variable(l, "RABBITMQ_USERNAME");
	struct buf b;

	for (size_t i = 0; i < VARIABLES; i++) {
		const char *value = variable(l, variables[i].name);

		if (!value || (username && strcmp(variables[i].name, "RABBITMQ_USER") == 0)) continue;
		settings_take(l, variables[i].key, 0, "", str_from(value), ORIGIN_ENVIRONMENT);
	}
	if (variable(l, "RABBITMQ_HOST"))
		settings_take(l, SETTINGS_KEY_broker_mode, 0, "", STR("amqp"), ORIGIN_ENVIRONMENT);
	if (user && username && strcmp(user, username) != 0) {
		char text[128];

		buf_init(&b, text, sizeof(text));
		buf_puts(&b,
			 "environment: RABBITMQ_USER: RABBITMQ_USERNAME is set too and says something else");
		say(l, false, &b);
	}
}

/* ---- what follows from other values ---- */

static void derive(struct settings *s, size_t key, size_t instance, const char *text)
{
	*(const char **)settings_member(s, key, instance) = text;
	*settings_origin(s, key, instance) = ORIGIN_DERIVED;
}

static void derive_port(struct settings *s, size_t key, size_t instance, int port)
{
	int *member = settings_member(s, key, instance);

	if (*member != 0) return;
	*member = port;
	*settings_origin(s, key, instance) = ORIGIN_DERIVED;
}

static const char *below_data_dir(struct load *l, const char *name)
{
	char path[LIMIT_path + 1];
	struct buf b;
	struct str copy;

	buf_init(&b, path, sizeof(path));
	buf_printf(&b, "%s/%s", l->s->gateway.data_dir, name);
	copy = arena_str(&l->s->arena, buf_view(&b));
	if (copy.ptr) return copy.ptr;
	settings_problem_line(l, 0, "there is no room for so many values");
	return "";
}

static void complete_provider(struct settings *s, size_t i)
{
	static const int ports[] = {
		[SETTINGS_TLS_IMPLICIT] = 465, [SETTINGS_TLS_STARTTLS] = 587, [SETTINGS_TLS_NONE] = 25};
	struct settings_provider *p = &s->provider[i];

	if (!*p->provider_id) derive(s, SETTINGS_KEY_provider_provider_id, i, p->name);
	if (!*p->display_name) derive(s, SETTINGS_KEY_provider_display_name, i, p->name);
	derive_port(s, SETTINGS_KEY_provider_port, i, ports[p->tls]);
}

static void complete_mailbox(struct settings *s, size_t i)
{
	struct settings_mailbox *m = &s->mailbox[i];
	bool imap = m->protocol == SETTINGS_MAILBOX_IMAP, implicit = m->tls == SETTINGS_TLS_IMPLICIT;

	if (!*m->provider_id) derive(s, SETTINGS_KEY_mailbox_provider_id, i, m->name);
	derive_port(s, SETTINGS_KEY_mailbox_port, i, imap ? (implicit ? 993 : 143) : (implicit ? 995 : 110));
}

static void complete(struct load *l)
{
	struct settings *s = l->s;

	if (!*s->gateway.name) derive(s, SETTINGS_KEY_gateway_name, 0, hal_ident_host());
	if (!*s->api.socket) derive(s, SETTINGS_KEY_api_socket, 0, below_data_dir(l, "postern.sock"));
	if (!*s->api.submit_socket)
		derive(s, SETTINGS_KEY_api_submit_socket, 0, below_data_dir(l, "submit.sock"));
	/* A small store without a word about its reserve: not all of it may be reserve. */
	if (s->store.reserve_bytes > s->store.max_bytes / 4 && !s->origin[SETTINGS_KEY_store_reserve_bytes]) {
		s->store.reserve_bytes = s->store.max_bytes / 4;
		s->origin[SETTINGS_KEY_store_reserve_bytes] = ORIGIN_DERIVED;
	}
	s->broker.tls = s->broker.tls || *s->broker.tls_ca || *s->broker.tls_cert;
	derive_port(s, SETTINGS_KEY_broker_port, 0, s->broker.tls ? 5671 : 5672);
	for (size_t i = 0; i < s->provider_count; i++)
		complete_provider(s, i);
	for (size_t i = 0; i < s->mailbox_count; i++)
		complete_mailbox(s, i);
}

/* No file at all: somebody tries postern. Mail is taken and shown, and none leaves the device. */
static void add_built_in_provider(struct load *l)
{
	int at = settings_instance_add(l, SECTION_provider, STR("default"), 0);

	CHECK(at >= 0);
	settings_take(l, SETTINGS_KEY_provider_type, (size_t)at, "", STR("maildir"), ORIGIN_DERIVED);
	derive(l->s, SETTINGS_KEY_provider_path, (size_t)at, below_data_dir(l, "maildir"));
}

/* ---- loading ---- */

/* The file is read into the end of the memory; what is in front serves for values meanwhile. */
static int read_ini(struct load *l, const char *path)
{
	struct arena *a = &l->s->arena;
	char *text = (char *)l->s->memory + LIMIT_settings_memory - LIMIT_settings_file;
	int n = l->source->read(path, text, LIMIT_settings_file, &l->file_mode);
	int rc = n;

	if (n >= 0) {
		a->cap = LIMIT_settings_memory - LIMIT_settings_file;
		rc = settings_ini_parse(l, (struct str){text, (size_t)n});
		explicit_bzero(text, (size_t)n);
		a->cap = LIMIT_settings_memory;
	}
	if (rc == ERR_TOO_LARGE)
		settings_problem_line(l, 0, "is larger than %d bytes", LIMIT_settings_file);
	else if (rc < 0)
		settings_problem_line(l, 0, "cannot be read: %s", err_text(rc));
	return rc;
}

static int load_file(struct load *l)
{
	const char *path = l->source->file ? l->source->file : SETTINGS_DEFAULT_FILE;
	unsigned mode = 0;
	struct str copy = arena_str(&l->s->arena, str_from(path));

	if (!l->source->file && l->source->read(path, NULL, 0, &mode) == ERR_NOT_FOUND) {
		add_built_in_provider(l);
		return 0;
	}
	CHECK(copy.ptr); /* it is the first to be taken, and a path is not that long */
	l->file = copy.ptr;
	l->s->file = copy.ptr;
	return read_ini(l, path);
}

int settings_load(struct settings *out, const struct settings_source *source, struct settings_report *report)
{
	struct load l = {.s = out, .source = source, .report = report};
	int rc;

	memset(out, 0, sizeof(*out));
	arena_init(&out->arena, out->memory, sizeof(out->memory));
	out->file = "";
	report->problems = 0;
	report->notes = 0;
	for (enum section i = 0; i < SECTION_COUNT; i++)
		if (!settings_section(i)->repeats) set_defaults(out, i, 0);
	rc = load_file(&l);
	if (rc == 0) {
		settings_broker_url(&l);
		take_environment(&l);
		complete(&l);
		settings_cross(&l);
		settings_unbuilt(&l, false);
	}
	if (rc == 0 && report->problems == 0) return 0;
	settings_wipe(out);
	return rc == ERR_NOT_FOUND ? rc : ERR_CONFIG;
}

int settings_check_built(const struct settings *s, struct settings_report *report)
{
	unsigned before = report->problems;
	/* Looks only: the load's pointer is not const because loading writes through it. */
	struct load l = {
		.s = (struct settings *)(uintptr_t)s, .report = report, .file = *s->file ? s->file : NULL};

	settings_unbuilt(&l, true);
	return report->problems > before ? ERR_UNSUPPORTED : 0;
}

void settings_wipe(struct settings *s)
{
	explicit_bzero(s, sizeof(*s));
}

/* ---- looking ---- */

const struct settings_provider *settings_find_provider(const struct settings *s, struct str name)
{
	for (size_t i = 0; i < s->provider_count; i++)
		if (str_eq(name, str_from(s->provider[i].name))) return &s->provider[i];
	return NULL;
}

const struct settings_mailbox *settings_find_mailbox(const struct settings *s, struct str name)
{
	for (size_t i = 0; i < s->mailbox_count; i++)
		if (str_eq(name, str_from(s->mailbox[i].name))) return &s->mailbox[i];
	return NULL;
}

const char *settings_find_alias(const struct settings *s, struct str name)
{
	for (size_t i = 0; i < s->alias_count; i++)
		if (str_eq_nocase(name, str_from(s->alias[i].name))) return s->alias[i].address;
	return NULL;
}

struct str settings_secret(const struct secret *secret)
{
	return secret->hidden ? (struct str){secret->hidden, secret->hidden_len} : STR("");
}

struct secret settings_secret_of(struct str text)
{
	return (struct secret){text.ptr, text.len};
}

bool settings_api_is_public(const struct settings *s)
{
	for (size_t i = 0; i < s->api.listen.count; i++)
		if (!hal_addr_is_loopback(&s->api.listen.addr[i])) return true;
	return false;
}
