/* settings: what the user configured: one INI file, the environment over it, checked as a whole.
 *
 * For app (loads, reloads, prints) and every room above (reads the members). A loaded struct
 * settings is one flat block without pointers to outside and is never changed: a reload loads a
 * second one and the app swaps pointers; when that load fails the first is untouched. It must not
 * be copied or moved, its texts live inside. No locks, no threads, nothing from the heap but inih's
 * line buffer while a file is read.
 *
 * settings.def is the one table: key, kind, default, bounds, help; the members of struct settings
 * are made from it. Never: prints or logs a secret, follows a half-good file, stops at the first
 * problem.
 *
 * Files are read through settings_source.read: the INI, and the files that secrets lie in. They
 * live outside the storage root and are wanted before it is open, so hal_storage is not the way;
 * settings_file.c has the reader for systems with a file system (the app passes
 * settings_read_file), tests and the simulator give texts.
 *
 * Kinds, and how their text is read:
 *   BOOL                yes no true false on off 1 0
 *   INT, PORT           decimal; a PORT 0 to 65535
 *   PERCENT             10 or 10%
 *   SIZE                64K 8M 1G or bytes
 *   DURATION            500ms 5s 10m 2h 30d
 *   DURATIONS           several, by comma or space
 *   ENUM                one of its names
 *   STRING              as it stands, trimmed; no quotes, no inline comments
 *   PATH                the same; counted from the working directory
 *   FILE, KEYFILE       PATH of a file that must be readable; a KEYFILE by its owner only
 *   HOST                host name or address
 *   URL                 http[s]://...
 *   ADDRESS             a@b or "Name <a@b>"
 *   ADDRESSES, WORDS    several, by comma or space
 *   LISTEN              addresses with port, by comma or space: 127.0.0.1:8000 [::1]:8000
 *   RATE                30/1m or 30/m
 *   FIRST               all, new or a duration
 *   TIME                RFC 3339
 *   SECRET              KEY = text, KEY_file = path, or KEY_env = name of an environment variable; one of
 *                       the three. A secret file must be its owner's only, its last line end is cut; the
 *                       INI must be so too, when a secret stands in it
 */
#ifndef POSTERN_SETTINGS_SETTINGS_H
#define POSTERN_SETTINGS_SETTINGS_H

#include "base/arena.h"
#include "base/limits.h"
#include "base/str.h"
#include "hal_addr.h"

/* ---- types of members ---- */

/* A text that must not be seen. Nothing but settings_secret looks inside, and no formatter takes one. */
struct secret {
	const char *hidden;
	size_t hidden_len;
};

struct settings_durations {
	size_t count; /* at least 1 */
	int64_t ms[LIMIT_retry_delays];
};

/* At most count mails in any per_ms; count 0: no limit. */
struct settings_rate {
	unsigned count;
	int64_t per_ms;
};

struct settings_listen {
	size_t count; /* 0: do not listen */
	struct hal_addr addr[LIMIT_listen];
};

struct settings_words {
	size_t count;
	const char *const *word;
};

/* Which mails of a mailbox are taken at the first look: SETTINGS_FIRST_ALL, SETTINGS_FIRST_NEW, or
 * the age in ms. */
#define SETTINGS_FIRST_ALL INT64_C(-1)
#define SETTINGS_FIRST_NEW INT64_C(0)

/* The names of each ENUM: V(constant, name in the file). */
#define SETTINGS_VALUES_log_level(V)                                                                         \
	V(LOG_ERROR, "error") V(LOG_WARN, "warn") V(LOG_INFO, "info") V(LOG_DEBUG, "debug")
#define SETTINGS_VALUES_log_format(V)  V(LOG_TEXT, "text") V(LOG_JSON, "json")
#define SETTINGS_VALUES_log_target(V)  V(LOG_STDERR, "stderr") V(LOG_SYSLOG, "syslog")
#define SETTINGS_VALUES_broker_mode(V) V(BROKER_NONE, "none") V(BROKER_AMQP, "amqp")
#define SETTINGS_VALUES_ack_on(V)      V(ACK_ON_STORED, "stored") V(ACK_ON_SENT, "sent")
#define SETTINGS_VALUES_durability(V)  V(DURABILITY_FULL, "full") V(DURABILITY_NORMAL, "normal")
#define SETTINGS_VALUES_hold(V)        V(HOLD_NONE, "none") V(HOLD_LINK, "link") V(HOLD_PROVIDER, "provider")
#define SETTINGS_VALUES_provider_type(V)                                                                     \
	V(PROVIDER_SMTP, "smtp") V(PROVIDER_HTTP, "http") V(PROVIDER_MAILDIR, "maildir")
#define SETTINGS_VALUES_tls(V) V(TLS_IMPLICIT, "implicit") V(TLS_STARTTLS, "starttls") V(TLS_NONE, "none")
#define SETTINGS_VALUES_auth(V)                                                                              \
	V(AUTH_AUTO, "auto")                                                                                 \
	V(AUTH_NONE, "none")                                                                                 \
	V(AUTH_PLAIN, "plain") V(AUTH_LOGIN, "login") V(AUTH_CRAM_MD5, "cram-md5")                           \
		V(AUTH_SCRAM_SHA_256, "scram-sha-256") V(AUTH_XOAUTH2, "xoauth2")
#define SETTINGS_VALUES_provider_api(V)                                                                      \
	V(API_SENDGRID, "sendgrid")                                                                          \
	V(API_POSTMARK, "postmark")                                                                          \
	V(API_MAILGUN, "mailgun") V(API_RESEND, "resend") V(API_GMAIL, "gmail") V(API_GRAPH, "graph")        \
		V(API_GENERIC, "generic")
#define SETTINGS_VALUES_oauth_grant(V)                                                                       \
	V(OAUTH_REFRESH_TOKEN, "refresh_token") V(OAUTH_CLIENT_CREDENTIALS, "client_credentials")
#define SETTINGS_VALUES_mailbox_protocol(V) V(MAILBOX_IMAP, "imap") V(MAILBOX_POP3, "pop3")
#define SETTINGS_VALUES_mailbox_after(V)    V(AFTER_KEEP, "keep") V(AFTER_SEEN, "seen") V(AFTER_DELETE, "delete")
#define SETTINGS_VALUES_socket_mode(V)      V(SOCKET_0600, "0600") V(SOCKET_0660, "0660") V(SOCKET_0666, "0666")

#define SETTINGS_CONSTANT(constant, name) SETTINGS_##constant,
enum settings_log_level { SETTINGS_VALUES_log_level(SETTINGS_CONSTANT) };
enum settings_log_format { SETTINGS_VALUES_log_format(SETTINGS_CONSTANT) };
enum settings_log_target { SETTINGS_VALUES_log_target(SETTINGS_CONSTANT) };
enum settings_broker_mode { SETTINGS_VALUES_broker_mode(SETTINGS_CONSTANT) };
enum settings_ack_on { SETTINGS_VALUES_ack_on(SETTINGS_CONSTANT) };
enum settings_durability { SETTINGS_VALUES_durability(SETTINGS_CONSTANT) };
enum settings_hold { SETTINGS_VALUES_hold(SETTINGS_CONSTANT) };
enum settings_provider_type { SETTINGS_VALUES_provider_type(SETTINGS_CONSTANT) };
enum settings_tls { SETTINGS_VALUES_tls(SETTINGS_CONSTANT) };
enum settings_auth { SETTINGS_VALUES_auth(SETTINGS_CONSTANT) };
enum settings_provider_api { SETTINGS_VALUES_provider_api(SETTINGS_CONSTANT) };
enum settings_oauth_grant { SETTINGS_VALUES_oauth_grant(SETTINGS_CONSTANT) };
enum settings_mailbox_protocol { SETTINGS_VALUES_mailbox_protocol(SETTINGS_CONSTANT) };
enum settings_mailbox_after { SETTINGS_VALUES_mailbox_after(SETTINGS_CONSTANT) };
enum settings_socket_mode { SETTINGS_VALUES_socket_mode(SETTINGS_CONSTANT) };

/* The C type of each kind. Texts are never NULL; "" is not set. */
#define SETTINGS_C_BOOL(of)      bool
#define SETTINGS_C_INT(of)       int
#define SETTINGS_C_PORT(of)      int
#define SETTINGS_C_PERCENT(of)   int
#define SETTINGS_C_SIZE(of)      int64_t /* bytes */
#define SETTINGS_C_DURATION(of)  int64_t /* ms */
#define SETTINGS_C_FIRST(of)     int64_t
#define SETTINGS_C_TIME(of)      int64_t /* unix ms, 0: not set */
#define SETTINGS_C_ENUM(of)      enum settings_##of
#define SETTINGS_C_STRING(of)    const char *
#define SETTINGS_C_PATH(of)      const char *
#define SETTINGS_C_FILE(of)      const char *
#define SETTINGS_C_KEYFILE(of)   const char *
#define SETTINGS_C_HOST(of)      const char *
#define SETTINGS_C_URL(of)       const char *
#define SETTINGS_C_ADDRESS(of)   const char *
#define SETTINGS_C_ADDRESSES(of) struct settings_words
#define SETTINGS_C_WORDS(of)     struct settings_words
#define SETTINGS_C_DURATIONS(of) struct settings_durations
#define SETTINGS_C_RATE(of)      struct settings_rate
#define SETTINGS_C_LISTEN(of)    struct settings_listen
#define SETTINGS_C_SECRET(of)    struct secret

/* ---- the sections ---- */

#define SETTINGS_MEMBER(key, kind, of, ...) SETTINGS_C_##kind(of) key;

struct settings_gateway {
#define GATEWAY SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_broker { /* a url is taken apart: host, port, username, password, vhost are always good */
#define BROKER SETTINGS_MEMBER
#include "settings/settings.def"
	bool tls;
};
struct settings_ring {
#define RING SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_store {
#define STORE SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_retry {
#define RETRY SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_worker {
#define WORKER SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_provider { /* port is never 0; provider_id and display_name are never empty */
	const char *name;
#define PROVIDER SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_mailbox { /* likewise */
	const char *name;
#define MAILBOX SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_api { /* socket and submit_socket are never empty */
#define API SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_attachments {
#define ATTACHMENTS SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_template {
#define TEMPLATE SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_alias {
	const char *name;
	const char *address;
};
struct settings_alert {
#define ALERT SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_limits {
#define LIMITS SETTINGS_MEMBER
#include "settings/settings.def"
};
struct settings_device {
#define DEVICE SETTINGS_MEMBER
#include "settings/settings.def"
};

/* Index of each key in settings_keys(): SETTINGS_KEY_broker_host. */
enum settings_key_index {
#define SETTINGS_KEY(section, key, ...) SETTINGS_KEY_##section##_##key,
#include "settings/settings.def"
	SETTINGS_KEY_COUNT
};
#define SETTINGS_PROVIDER_KEYS (SETTINGS_KEY_mailbox_tenant_id - SETTINGS_KEY_provider_tenant_id)
#define SETTINGS_MAILBOX_KEYS  (SETTINGS_KEY_api_listen - SETTINGS_KEY_mailbox_tenant_id)

struct settings {
	struct settings_gateway gateway; /* name is never empty */
	struct settings_broker broker;
	struct settings_ring ring;
	struct settings_store store;
	struct settings_retry retry;
	struct settings_worker worker;
	struct settings_api api;
	struct settings_attachments attachments;
	struct settings_template template;
	struct settings_alert alert;
	struct settings_limits limits;
	struct settings_device device;
	struct settings_provider provider[LIMIT_providers];
	struct settings_mailbox mailbox[LIMIT_mailboxes];
	struct settings_alias alias[LIMIT_aliases];
	size_t provider_count, mailbox_count, alias_count;
	const char *file; /* the INI that was read; "" when there is none */

	/* The room's own: where each value comes from, and the memory of all texts. */
	uint16_t origin[SETTINGS_KEY_COUNT];
	uint16_t provider_origin[LIMIT_providers][SETTINGS_PROVIDER_KEYS];
	uint16_t mailbox_origin[LIMIT_mailboxes][SETTINGS_MAILBOX_KEYS];
	uint16_t provider_line[LIMIT_providers], mailbox_line[LIMIT_mailboxes], alias_line[LIMIT_aliases];
	struct arena arena;
	unsigned char memory[LIMIT_settings_memory];
};

/* ---- loading ---- */

#define SETTINGS_DEFAULT_FILE "/etc/postern/postern.ini"

struct settings_source {
	const char *file; /* of -c; NULL: SETTINGS_DEFAULT_FILE if it exists, else the built-in settings */
	const char *(*getenv)(const char *name); /* NULL: no environment */
	/* Reads a whole file of at most cap bytes; *mode gets its permission bits (with cap 0 nothing is read
	 * and only they count). Returns the length. Errors: ERR_NOT_FOUND, ERR_DENIED, ERR_TOO_LARGE, ERR_IO,
	 * ERR_INVALID (not a file). */
	int (*read)(const char *path, void *bytes, size_t cap, unsigned *mode);
};

/* Gets each problem and note as one finished line without a line feed: "FILE:LINE: [section] key:
 * reason", or "environment: NAME: reason". A note ("...: note: ...") does not make a configuration
 * bad. */
struct settings_report {
	void (*line)(void *arg, const char *text); /* may be NULL */
	void *arg;
	unsigned problems;
	unsigned notes;
};

/* Reads, checks, completes. Every problem is reported, not only the first. With no file at all:
 * RabbitMQ-free, data in ./postern-data, one provider named default that writes a Maildir in
 * data_dir/maildir. report's counters are set to 0 first.
 * Errors: ERR_CONFIG (there were problems; out is wiped and of no use), ERR_NOT_FOUND (a file that
 * was named does not exist; reported too). */
int settings_load(struct settings *out, const struct settings_source *source, struct settings_report *report);

/* What `run` must not start with, because it relies on a part that is not built into this version:
 * keys whose absence would change what the user was promised (mode = amqp: jobs would never be
 * fetched). settings_load gives notes for these and for harmless ones, so that `check` of a
 * configuration for a fuller build still succeeds; `run` and a reload call this and refuse.
 * Reported as problems. Errors: ERR_UNSUPPORTED. */
int settings_check_built(const struct settings *s, struct settings_report *report);

/* The reader for settings_source.read on systems with files. */
int settings_read_file(const char *path, void *bytes, size_t cap, unsigned *mode);

/* Zeroes all of it, before its memory serves anything else. */
void settings_wipe(struct settings *s);

/* ---- looking ---- */

/* By the section's NAME. NULL when there is none. */
const struct settings_provider *settings_find_provider(const struct settings *s, struct str name);
const struct settings_mailbox *settings_find_mailbox(const struct settings *s, struct str name);

/* The address that a local name stands for; NULL when there is none. Names are compared without
 * case. */
const char *settings_find_alias(const struct settings *s, struct str name);

/* The one look inside. The text is NUL-terminated and lives as long as its struct settings (or what
 * it was made of); empty when not set. */
struct str settings_secret(const struct secret *secret);
/* A secret that came another way (a provider added by API), borrowed from text, which must be
 * NUL-terminated. */
struct secret settings_secret_of(struct str text);

/* True when an address of [api] listen is not loopback: the api room must then refuse to start
 * without a token or an admin password. (That TLS is there is already checked.) */
bool settings_api_is_public(const struct settings *s);

/* Every effective value as a line of an INI file with its origin behind it: "port = 587   #
 * default", "# FILE:12", "# environment", "# derived". Secrets are only said to be set or not. Long
 * values are cut. */
void settings_print(const struct settings *s, void (*line)(void *arg, const char *text), void *arg);

/* The table, for help and tests: in the order of settings.def. */
struct settings_key {
	const char *section;
	const char *key;
	const char *kind;   /* "DURATION" */
	const char *values; /* ENUM: "implicit|starttls|none", else "" */
	const char *dflt;
	const char *help;
	int64_t min, max;
};
void settings_key_get(enum settings_key_index index, struct settings_key *out);

#endif
