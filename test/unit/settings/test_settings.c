#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "settings/settings.h"

/* ---- a world of texts: files, environment, and what was reported ---- */

#define FILE_NAME "t.ini"

static struct {
	const char *path, *text;
	size_t len;
	unsigned mode;
} files[8];
static size_t file_count;
static const char *environment[16];             /* name, value, ... */
static char said_text[65536], noted_text[8192]; /* problems; notes, which depend on what is built */
static struct buf said, noted;
static struct settings settings;
static struct settings_report report;

static void add_file(const char *path, const char *text, size_t len, unsigned mode)
{
	files[file_count].path = path;
	files[file_count].text = text;
	files[file_count].len = len;
	files[file_count++].mode = mode;
}

static int read_fake(const char *path, void *bytes, size_t cap, unsigned *mode)
{
	for (size_t i = 0; i < file_count; i++) {
		if (strcmp(files[i].path, path) != 0) continue;
		*mode = files[i].mode;
		if (cap == 0) return 0;
		if (files[i].len > cap) return ERR_TOO_LARGE;
		memcpy(bytes, files[i].text, files[i].len);
		return (int)files[i].len;
	}
	return ERR_NOT_FOUND;
}

static const char *getenv_fake(const char *name)
{
	for (size_t i = 0; i + 1 < 16 && environment[i]; i += 2)
		if (strcmp(environment[i], name) == 0) return environment[i + 1];
	return NULL;
}

static void keep_line(void *arg, const char *text)
{
	(void)arg;
	buf_printf(strstr(text, ": note: ") ? &noted : &said, "%s\n", text);
}

static int reset(void **state)
{
	(void)state;
	file_count = 0;
	memset(environment, 0, sizeof(environment));
	buf_init(&said, said_text, sizeof(said_text));
	buf_init(&noted, noted_text, sizeof(noted_text));
	return 0;
}

static int load_file(const char *file)
{
	struct settings_source source = {file, getenv_fake, read_fake};

	report = (struct settings_report){.line = keep_line};
	buf_reset(&said);
	buf_reset(&noted);
	return settings_load(&settings, &source, &report);
}

static int load_bytes(const char *text, size_t len)
{
	size_t before = file_count;
	int rc;

	add_file(FILE_NAME, text, len, 0600);
	rc = load_file(FILE_NAME);
	file_count = before;
	return rc;
}

static int load(const char *text)
{
	return load_bytes(text, strlen(text));
}

/* The text is good. */
static void good(const char *text)
{
	if (load(text) != 0) fail_msg("refused:\n%s\nbecause:\n%s", text, said_text);
}

/* The text is refused with exactly these lines. */
static void refused(const char *text, const char *lines)
{
	assert_int_equal(load(text), ERR_CONFIG);
	assert_string_equal(said_text, lines);
}

/* ---- the table ---- */

/* Another good value of each kind. */
static const char *other_value(const struct settings_key *k, char *text, size_t cap)
{
	static const struct {
		const char *kind, *value;
	} others[] = {
		{"BOOL", "off"},          {"INT", "2"},
		{"PORT", "2525"},         {"PERCENT", "7 %"},
		{"SIZE", "1M"},           {"DURATION", "3m"},
		{"FIRST", "12h"},         {"TIME", "2025-09-19T10:30:00Z"},
		{"STRING", "x"},          {"PATH", "/x/y"},
		{"FILE", "/f"},           {"KEYFILE", "/k"},
		{"HOST", "h.example"},    {"WORDS", "a, b:1"},
		{"URL", "https://h/x"},   {"ADDRESS", "Ops <o@e.org>"},
		{"ADDRESSES", "a@b c@d"}, {"RATE", "5/s"},
		{"DURATIONS", "1s 2m"},   {"LISTEN", "127.0.0.1:1 [::1]:2"},
		{"SECRET", "geheim"},
	};

	if (*k->values) {
		const char *last = strrchr(k->values, '|');

		snprintf(text, cap, "%s", last ? last + 1 : k->values);
		return text;
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(others[i].kind, k->kind) == 0) return others[i].value;
	fail_msg("no value for kind %s", k->kind);
	return NULL;
}

static const char *section_of(const struct settings_key *k)
{
	return strcmp(k->section, "provider") == 0  ? "provider.x"
	       : strcmp(k->section, "mailbox") == 0 ? "mailbox.x"
						    : k->section;
}

/* What else a section must say for any single key of it to be accepted. */
static const char *beside(const char *section, const char *key)
{
	if (strcmp(section, "mailbox") == 0) {
		static char text[128];

		snprintf(text, sizeof(text), "%s%s%s", strcmp(key, "host") ? "host = localhost\n" : "",
			 strcmp(key, "username") ? "username = u\n" : "",
			 strcmp(key, "password") ? "password = p\n" : "");
		return text;
	}
	if (strcmp(section, "provider") == 0) return strcmp(key, "host") ? "host = h\n" : "";
	return "";
}

/* Bad by itself, or with others only: the key that must stand beside it. */
static bool only_beside(const char *lines)
{
	return strstr(lines, "is needed") || strstr(lines, "there is no [provider") ||
	       strstr(lines, "beside url") || strstr(lines, "in a circle") ||
	       strstr(lines, "is not of the form") || strstr(lines, "is more than");
}

static void every_key_reads_its_default_and_another_value(void **state)
{
	(void)state;
	add_file("/f", "", 0, 0644);
	add_file("/k", "", 0, 0600);
	for (unsigned i = 0; i < SETTINGS_KEY_COUNT; i++) {
		char text[1024], value[64];
		struct settings_key k;

		settings_key_get((enum settings_key_index)i, &k);
		assert_true(strlen(k.help) > 10);
		snprintf(text, sizeof(text), "[%s]\n%s%s = %s\n", section_of(&k), beside(k.section, k.key),
			 k.key, k.dflt);
		if (load(text) != 0 && !only_beside(said_text))
			fail_msg("default of [%s] %s: %s", k.section, k.key, said_text);
		snprintf(text, sizeof(text), "[%s]\n%s%s = %s\n", section_of(&k), beside(k.section, k.key),
			 k.key, other_value(&k, value, sizeof(value)));
		if (load(text) != 0 && !only_beside(said_text))
			fail_msg("[%s] %s = %s: %s", k.section, k.key, other_value(&k, value, sizeof(value)),
				 said_text);
	}
}

/* Kinds that have bounds refuse the value outside. */
static void every_key_refuses_what_is_out_of_range(void **state)
{
	unsigned checked = 0;

	(void)state;
	for (unsigned i = 0; i < SETTINGS_KEY_COUNT; i++) {
		bool number, amount;
		char text[8192];
		struct settings_key k;

		settings_key_get((enum settings_key_index)i, &k);
		number = !strcmp(k.kind, "INT") || !strcmp(k.kind, "PORT") || !strcmp(k.kind, "PERCENT");
		amount = !strcmp(k.kind, "SIZE") || !strcmp(k.kind, "DURATION");
		if (number || amount)
			snprintf(text, sizeof(text), "[%s]\n%s = %lld%s\n", section_of(&k), k.key,
				 (long long)k.max + 1, strcmp(k.kind, "DURATION") ? "" : "ms");
		else if (!strcmp(k.kind, "BOOL") || !strcmp(k.kind, "ENUM"))
			snprintf(text, sizeof(text), "[%s]\n%s = maybe\n", section_of(&k), k.key);
		else if (k.max > 0 && k.max < 4000 && strcmp(k.kind, "FIRST") && strcmp(k.kind, "WORDS") &&
			 strcmp(k.kind, "ADDRESSES"))
			snprintf(text, sizeof(text), "[%s]\n%s = %0*d\n", section_of(&k), k.key,
				 (int)k.max + 1, 0);
		else
			continue;
		assert_int_equal(load(text), ERR_CONFIG);
		if (!strstr(said_text, "is not between") && !strstr(said_text, "is longer than") &&
		    !strstr(said_text, "neither yes nor no") && !strstr(said_text, "is none of"))
			fail_msg("%s", said_text);
		assert_memory_equal(said_text, FILE_NAME ":2: [", strlen(FILE_NAME ":2: ["));
		checked++;
	}
	assert_true(checked > 100);
}

/* ---- values ---- */

static void values_arrive(void **state)
{
	(void)state;
	good("[gateway]\ndata_dir=/var/lib/postern\nlog_format = JSON\n"
	     "[retry]\ndelays = 500ms, 5s ,1m\njitter=0%\nhold = none\n"
	     "[provider.main]\nhost = [2001:db8::1]\nrate = 30/1m\nfrom = Shop <shop@example.com>\n"
	     "[provider.second]\ntype = maildir\npath = /mail\nprovider_id = two\n"
	     "[alias]\nroot = ops@example.com\n"
	     "[api]\nlisten = 127.0.0.1:8000 [::1]:8001,localhost:8002\n"
	     "[attachments]\nallow_urls = files.example.com 192.0.2.0/24, h:8080\n"
	     "[device]\nclock_floor = 2025-01-01T00:00:00Z\n");
	assert_string_equal(settings.gateway.data_dir, "/var/lib/postern");
	assert_int_equal(settings.gateway.log_format, SETTINGS_LOG_JSON);
	assert_int_equal(settings.retry.delays.count, 3);
	assert_int_equal(settings.retry.delays.ms[0], 500);
	assert_int_equal(settings.retry.delays.ms[2], 60000);
	assert_int_equal(settings.retry.jitter, 0);
	assert_int_equal(settings.retry.hold, SETTINGS_HOLD_NONE);
	assert_int_equal(settings.provider_count, 2);
	assert_string_equal(settings.provider[0].host, "2001:db8::1");
	assert_int_equal(settings.provider[0].port, 587);
	assert_int_equal(settings.provider[0].rate.count, 30);
	assert_int_equal(settings.provider[0].rate.per_ms, 60000);
	assert_string_equal(settings.provider[0].provider_id, "main");
	assert_string_equal(settings.provider[1].provider_id, "two");
	assert_string_equal(settings.provider[1].display_name, "second");
	assert_ptr_equal(settings_find_provider(&settings, STR("second")), &settings.provider[1]);
	assert_null(settings_find_provider(&settings, STR("two")));
	assert_string_equal(settings_find_alias(&settings, STR("ROOT")), "ops@example.com");
	assert_null(settings_find_alias(&settings, STR("nobody")));
	assert_int_equal(settings.api.listen.count, 3);
	assert_int_equal(settings.api.listen.addr[1].port, 8001);
	assert_false(settings_api_is_public(&settings));
	assert_string_equal(settings.api.socket, "/var/lib/postern/postern.sock");
	assert_int_equal(settings.attachments.allow_urls.count, 3);
	assert_string_equal(settings.attachments.allow_urls.word[2], "h:8080");
	assert_true(settings.device.clock_floor == INT64_C(1735689600000));
	assert_string_equal(settings.file, FILE_NAME);
	assert_string_not_equal(settings.gateway.name, "");
}

static void ports_follow_tls(void **state)
{
	(void)state;
	good("[provider.a]\nhost=h\ntls=implicit\n[provider.b]\nhost=h\ntls=none\n[provider.c]\nhost=h\ntls="
	     "none\nport=2525\n"
	     "[mailbox.a]\nhost=h\nusername=u\npassword=p\n"
	     "[mailbox.b]\nhost=h\nusername=u\npassword=p\ntls=starttls\n"
	     "[mailbox.c]\nhost=h\nusername=u\npassword=p\nprotocol=pop3\n"
	     "[mailbox.d]\nhost=h\nusername=u\npassword=p\nprotocol=pop3\ntls=starttls\nfirst=new\n");
	assert_int_equal(settings.provider[0].port, 465);
	assert_int_equal(settings.provider[1].port, 25);
	assert_int_equal(settings.provider[2].port, 2525);
	assert_int_equal(settings.mailbox[0].port, 993);
	assert_int_equal(settings.mailbox[1].port, 143);
	assert_int_equal(settings.mailbox[2].port, 995);
	assert_int_equal(settings.mailbox[3].port, 110);
	assert_true(settings.mailbox[0].first == SETTINGS_FIRST_ALL);
	assert_true(settings.mailbox[3].first == SETTINGS_FIRST_NEW);
}

static void bad_values_are_named(void **state)
{
	(void)state;
	refused("[retry]\nmax = three\ndelays = 1s,x\njitter = 101\n[store]\nmax_bytes = 8X\nkeep_ids = 5\n"
		"[provider.a]\nhost = a b\nrate = fast\nfrom = nobody\nurl = ftp://x\nport = "
		"65536\n[api]\nlisten = 8000\n"
		"[device]\nclock_floor = now\n[mailbox.m]\nhost=h\nusername=u\npassword=p\nfirst = some\n",
		"t.ini:2: [retry] max: \"three\" is not a number\n"
		"t.ini:3: [retry] delays: \"x\" is not a duration such as 5s, 10m, 2h or 30d\n"
		"t.ini:4: [retry] jitter: \"101\" is not between 0 and 100\n"
		"t.ini:6: [store] max_bytes: \"8X\" is not a size such as 64K, 8M or 1G\n"
		"t.ini:7: [store] keep_ids: \"5\" is not a duration such as 5s, 10m, 2h or 30d\n"
		"t.ini:9: [provider.a] host: \"a b\" is neither a host name nor an IP address\n"
		"t.ini:10: [provider.a] rate: \"fast\" is not a rate such as 30/1m\n"
		"t.ini:11: [provider.a] from: \"nobody\" is not a mail address\n"
		"t.ini:12: [provider.a] url: \"ftp://x\" is not an address such as https://host/path\n"
		"t.ini:13: [provider.a] port: \"65536\" is not between 0 and 65535\n"
		"t.ini:15: [api] listen: \"8000\" is not an address with a port such as 127.0.0.1:8000 or "
		"[::1]:8000\n"
		"t.ini:17: [device] clock_floor: \"now\" is not a time such as 2025-09-19T10:30:00Z\n"
		"t.ini:22: [mailbox.m] first: \"some\" is none of all, new and a duration such as 30d\n");
	refused("[gateway]\nlog_level =\n[retry]\nexpire =\nmax =\n[broker]\ndeclare =\n[gateway]\ndata_dir "
		"=\n",
		"t.ini:2: [gateway] log_level: \"\" is none of error, warn, info, debug\n"
		"t.ini:4: [retry] expire: \"\" is not a duration such as 5s, 10m, 2h or 30d\n"
		"t.ini:5: [retry] max: \"\" is not a number\n"
		"t.ini:7: [broker] declare: \"\" is neither yes nor no\n"
		"t.ini:9: [gateway] data_dir: needs a value\n");
	refused("[api]\nlisten = ::1:8000\n",
		"t.ini:2: [api] listen: \"::1:8000\" is not an address with a port such as "
		"127.0.0.1:8000 or [::1]:8000\n");
	refused("[api]\nlisten = 127.0.0.1:0\n",
		"t.ini:2: [api] listen: \"127.0.0.1:0\" is not an address with a port such as "
		"127.0.0.1:8000 or [::1]:8000\n");
	refused("[retry]\ndelays = 1s,1s,1s,1s,1s,1s,1s,1s,1s\n",
		"t.ini:2: [retry] delays: \"1s,1s,1s,1s,1s,1s,1s,1s,1s\" has too many durations: at most "
		"8\n");
	refused("[retry]\nmax = 3 ; three\n", "t.ini:2: [retry] max: \"3 ; three\" is not a number\n");
}

/* ---- the shape of the file ---- */

static void all_problems_with_their_lines(void **state)
{
	(void)state;
	refused("key = value\n[gatway]\nname = x\n[gateway]\nlog-format = json\nnmae = x\nuser = a\nuser = "
		"b\n[store\n"
		"max_bytes = 1\n[retry] x\n[provider]\nhost = h\n[provider.a "
		"b]\n[mailbox.]\n[whatever]\njust text\n= x\nuse: = y\n"
		"[device]\nsomething = 1\nled_file = x\n",
		"t.ini:1: a key before the first [section]\n"
		"t.ini:2: unknown section [gatway]; did you mean [gateway]?\n"
		"t.ini:5: [gateway] log-format: unknown key; did you mean log_format?\n"
		"t.ini:6: [gateway] nmae: unknown key; did you mean name?\n"
		"t.ini:8: [gateway] user: is given twice, first in line 7\n"
		"t.ini:9: a section needs a ] at its end\n"
		"t.ini:11: nothing may stand behind the ] of a section\n"
		"t.ini:12: [provider.NAME] needs a NAME of letters, digits, - _ and .\n"
		"t.ini:14: [provider.NAME] needs a NAME of letters, digits, - _ and .\n"
		"t.ini:15: [mailbox.NAME] needs a NAME of letters, digits, - _ and .\n"
		"t.ini:16: unknown section [whatever]\n"
		"t.ini:17: neither a [section] nor key = value\n"
		"t.ini:18: no key stands before the =\n"
		"t.ini:19: a key has no : in it, and = stands between key and value\n"
		"t.ini:21: [device] something: unknown key\n"
		"t.ini:22: [device] led_file: unknown key\n");
	assert_int_equal(report.problems, 16);
}

static void comments_blanks_and_line_ends(void **state)
{
	(void)state;
	good("\xEF\xBB\xBF# comment\r\n; another = one\r\n\r\n  [worker]  \r\n\t max\t=\t4 \r\n   # max = "
	     "5\r\n[gateway]\nuser = a;b #c");
	assert_int_equal(settings.worker.max, 4);
	assert_string_equal(settings.gateway.user, "a;b #c");
	good("[provider.a]\nhost = h\n[worker]\nmin = 2\n[provider.a]\nport = 26\n"); /* a section may come
											 again */
	assert_int_equal(settings.provider_count, 1);
	assert_int_equal(settings.provider[0].port, 26);
	good("");
	assert_int_equal(settings.provider_count, 0);
	good("\n\n\n");
}

static void long_lines(void **state)
{
	static char text[9000];
	size_t head = strlen("[provider.a]\nhost = h\noauth_refresh_token = ");

	(void)state;
	/* 4094 bytes are a line, one more is an error with its number, and the lines behind are read on. */
	memset(text, 'x', sizeof(text));
	memcpy(text, "[provider.a]\nhost = h\noauth_refresh_token = ", head);
	strcpy(text + 22 + 4094, "\nnonsense = 1\n");
	refused(text, "t.ini:4: [provider.a] nonsense: unknown key\n");
	memset(text + 22 + 4094, 'x', 20);
	strcpy(text + 22 + 4095, "\nnonsense = 1\n");
	refused(text, "t.ini:3: this line is too long\nt.ini:4: [provider.a] nonsense: unknown key\n");
	/* Much longer than inih's buffer. */
	memset(text + 22 + 4095, 'x', 20);
	strcpy(text + 8000, "\nnonsense = 1\n");
	refused(text, "t.ini:3: this line is too long\nt.ini:4: [provider.a] nonsense: unknown key\n");
	memset(text, 'a', sizeof(text));
	text[0] = '[';
	strcpy(text + 60, "]\nhost = h\n");
	refused(text, "t.ini:1: the name of this section is longer than 49 bytes\n");
}

static void bytes_that_are_no_text(void **state)
{
	(void)state;
	assert_int_equal(load_bytes("[gateway]\nuser = a\0b\nname = h\n# \0\n", 34), ERR_CONFIG);
	assert_string_equal(
		said_text,
		"t.ini:2: a NUL byte stands in this line\nt.ini:4: a NUL byte stands in this line\n");
	refused("[gateway]\nuser = a\x1b[2J\n", "t.ini:2: control characters stand in this line\n");
	refused("[gateway]\nuser = \xFF\n", "t.ini:2: this line is not UTF-8\n");
	refused("[gateway]\rname = x\n", "t.ini:1: control characters stand in this line\n");
	good("[gateway]\nuser = \xC3\xA4\n");
}

static void too_large_files_and_too_many_sections(void **state)
{
	static char text[LIMIT_settings_file + 2];
	struct buf b;

	(void)state;
	memset(text, '\n', sizeof(text) - 1);
	refused(text, "t.ini: is larger than 65536 bytes\n");
	text[LIMIT_settings_file] = '\0';
	good(text);
	buf_init(&b, text, sizeof(text));
	for (int i = 0; i < 32; i++)
		buf_printf(&b,
			   "[provider.p%d]\nhost = h%d\nusername = u\npassword = "
			   "secret%d\n[mailbox.m%d]\nhost = h\n"
			   "username = u\npassword = p\n",
			   i, i, i, i);
	good(text);
	assert_int_equal(settings.provider_count, 32);
	assert_string_equal(settings_find_provider(&settings, STR("p31"))->host, "h31");
	assert_string_equal(settings_secret(&settings_find_provider(&settings, STR("p31"))->password).ptr,
			    "secret31");
	buf_puts(&b, "[provider.more]\nhost = h\n[mailbox.more]\n[provider.p3]\nport = "
		     "3\n[provider.again]\nhots = h\n");
	refused(text, "t.ini:257: [provider.more] is one too many: there may be 32\n"
		      "t.ini:259: [mailbox.more] is one too many: there may be 32\n"
		      "t.ini:262: [provider.again] is one too many: there may be 32\n");
}

/* Values that together are more than the memory: said, not cut. */
static void too_much_text_in_all(void **state)
{
	static char text[LIMIT_settings_file];
	struct buf b;

	(void)state;
	buf_init(&b, text, sizeof(text));
	for (int i = 0; i < 32; i++)
		buf_printf(&b, "[provider.p%d]\nhost = h\noauth_refresh_token = %01800d\n", i, 0);
	assert_int_equal(load(text), ERR_CONFIG);
	assert_non_null(strstr(
		said_text,
		"oauth_refresh_token: there is no room for it: the values of this configuration are too "
		"long in all\n"));
}

/* ---- cross checks ---- */

static void what_providers_need(void **state)
{
	(void)state;
	refused("[provider.a]\n[provider.b]\ntype=maildir\n[provider.c]\nhost=h\npassword=p\n[provider.d]"
		"\nhost=h\nusername=u\n"
		"[provider.e]\nhost=h\nauth=xoauth2\nusername=u\n[provider.f]\ntype=http\n[provider.g]\ntype="
		"http\napi=postmark\n"
		"[provider.h]\ntype=http\napi=graph\n[provider.i]\nhost=h\nfrom_override=yes\n[provider.j]"
		"\nhost=h\n"
		"oauth_client_id=x\noauth_grant=client_credentials\n[provider.k]\nhost=h\ndkim_domain=d."
		"org\n[provider.l]\nhost=h\n"
		"auth=plain\n[provider.m]\ntype=http\nurl=http://h/"
		"\napi_key=k\n[provider.n]\ntype=http\nurl=http://localhost:80/\n"
		"api_key=k\n[provider.o]\ntype=http\nurl=http://localhost@evil/\napi_key=k\n",
		"t.ini:1: [provider.a] host: is needed with type = smtp\n"
		"t.ini:2: [provider.b] path: is needed with type = maildir\n"
		"t.ini:4: [provider.c] username: is needed beside password\n"
		"t.ini:7: [provider.d] password: is needed beside username (or auth = none)\n"
		"t.ini:10: [provider.e] password: is needed beside username (or auth = none)\n"
		"t.ini:10: [provider.e] oauth_client_id: is needed with auth = xoauth2\n"
		"t.ini:14: [provider.f] url: is needed with api = generic\n"
		"t.ini:16: [provider.g] api_key: is needed with this api\n"
		"t.ini:19: [provider.h] oauth_client_id: is needed with this api\n"
		"t.ini:22: [provider.i] from: is needed with from_override\n"
		"t.ini:25: [provider.j] oauth_client_secret: is needed with oauth_grant = "
		"client_credentials\n"
		"t.ini:29: [provider.k] dkim_selector: is needed beside dkim_domain\n"
		"t.ini:29: [provider.k] dkim_key_file: is needed beside dkim_domain\n"
		"t.ini:32: [provider.l] username: is needed with this auth\n"
		"t.ini:37: [provider.m] url: must be https, since a secret is sent there\n"
		"t.ini:45: [provider.o] url: must be https, since a secret is sent there\n");
}

static void no_password_in_the_clear(void **state)
{
	(void)state;
	refused("[provider.a]\nhost=mx.example.com\ntls=none\nusername=u\npassword=p\n",
		"t.ini:3: [provider.a] tls: no AUTH in the clear: with none the password could be read on "
		"the way to "
		"mx.example.com\n");
	refused("[provider.a]\nhost=127.0.0.1.example.com\ntls=none\nusername=u\npassword=p\n",
		"t.ini:3: [provider.a] tls: no AUTH in the clear: with none the password could be read on "
		"the way to "
		"127.0.0.1.example.com\n");
	good("[provider.a]\nhost=localhost\ntls=none\nusername=u\npassword=p\n");
	good("[provider.a]\nhost=127.1.2.3\ntls=none\nusername=u\npassword=p\n");
	good("[provider.a]\nhost=::1\ntls=none\nusername=u\npassword=p\n");
	good("[provider.a]\nhost=mx.example.com\ntls=none\n");
	good("[provider.a]\nhost=mx.example.com\ntls=none\nauth=none\nusername=u\npassword=p\n");
	refused("[mailbox.a]\nhost=mx.example.com\ntls=none\nusername=u\npassword=p\n",
		"t.ini:3: [mailbox.a] tls: no login in the clear: with none the password could be read on "
		"the way to "
		"mx.example.com\n");
}

static void fallbacks(void **state)
{
	(void)state;
	good("[provider.a]\nhost=h\nfallback=b\n[provider.b]\nhost=h\nfallback=c\n[provider.c]\nhost=h\n");
	refused("[provider.a]\nhost=h\nfallback=x\n[provider.b]\nhost=h\nfallback=b\n",
		"t.ini:3: [provider.a] fallback: there is no [provider.x]\n"
		"t.ini:6: [provider.b] fallback: the fallbacks go in a circle\n");
	/* b and c go in a circle; a only leads into it. */
	refused("[provider.a]\nhost=h\nfallback=b\n[provider.b]\nhost=h\nfallback=c\n[provider.c]\nhost="
		"h\nfallback=b\n",
		"t.ini:6: [provider.b] fallback: the fallbacks go in a circle\n"
		"t.ini:9: [provider.c] fallback: the fallbacks go in a circle\n");
	refused("[provider.a]\nhost=h\nprovider_id=b\n[provider.b]\nhost=h\n[provider.c]\nhost=h\nprovider_"
		"id=b\ntenant_id=t\n",
		"t.ini:4: [provider.b] provider_id: is the same as that of [provider.a], for the same "
		"tenant\n");
}

static void who_may_listen(void **state)
{
	(void)state;
	refused("[api]\nlisten = 0.0.0.0:8000\n[broker]\nlisten = 0.0.0.0:5672\n",
		"t.ini:4: [broker] listen: an address other than loopback needs username and password of its "
		"own, not guest\n"
		"t.ini:2: [api] listen: an address other than loopback needs tls_cert and tls_key\n");
	refused("[api]\nlisten = [::]:8000 127.0.0.1:8001\n",
		"t.ini:2: [api] listen: an address other than loopback needs tls_cert and tls_key\n");
	good("[broker]\nlisten = 127.0.0.1:5672 [::1]:5672\n");
	good("[broker]\nlisten = 0.0.0.0:5672\nusername = me\npassword = mine\n");
	add_file("c.pem", "", 0, 0644);
	add_file("k.pem", "", 0, 0600);
	good("[api]\nlisten = 0.0.0.0:8000\ntls_cert = c.pem\ntls_key = k.pem\n");
	assert_true(settings_api_is_public(&settings));
	good("[api]\nlisten =\n");
	assert_int_equal(settings.api.listen.count, 0);
	assert_false(settings_api_is_public(&settings));
	refused("[api]\nsocket = x\nsubmit_socket = x\ntls_cert = c.pem\n",
		"t.ini:1: [api] tls_key: is needed beside tls_cert\n"
		"t.ini:3: [api] submit_socket: is the same as socket\n");
}

static void numbers_that_belong_together(void **state)
{
	(void)state;
	refused("[worker]\nmin = 9\n[store]\nmax_bytes = 3M\nreserve_bytes = 2M\n[broker]\nencrypt = yes\n"
		"result_queue = email.send\n",
		"t.ini:6: [broker] encryption_key_file: is needed with encrypt = yes\n"
		"t.ini:8: [broker] result_queue: is the same queue as send_queue: messages would go in a "
		"circle\n"
		"t.ini:2: [worker] min: 9 is more than max, 8\n"
		"t.ini:5: [store] reserve_bytes: is more than half of max_bytes\n");
	good("[store]\nmax_bytes = 2M\n");
	assert_true(settings.store.reserve_bytes == 512 * 1024);
	refused("[broker]\nmode = amqp\nlisten = 127.0.0.1:5672\n",
		"t.ini:3: [broker] listen: is for mode = none only\n");
}

/* ---- secrets ---- */

static void secrets_three_ways(void **state)
{
	(void)state;
	add_file("/s/pw", "from file\n", 10, 0600);
	add_file("/s/two", "a\r\n", 3, 0400);
	environment[0] = "PW";
	environment[1] = "from env";
	good("[provider.a]\nhost=h\nusername=u\npassword=in "
	     "line\n[provider.b]\nhost=h\nusername=u\npassword_file=/s/pw\n"
	     "[provider.c]\nhost=h\nusername=u\npassword_env=PW\n[provider.d]\nhost=h\nusername=u\npassword_"
	     "file=/s/two\n"
	     "[broker]\npassword_env=PW\n[api]\nadmin_password_hash_file=/s/pw\n");
	assert_string_equal(settings_secret(&settings.provider[0].password).ptr, "in line");
	assert_string_equal(settings_secret(&settings.provider[1].password).ptr, "from file");
	assert_string_equal(settings_secret(&settings.provider[2].password).ptr, "from env");
	assert_string_equal(settings_secret(&settings.provider[3].password).ptr, "a");
	assert_string_equal(settings_secret(&settings.broker.password).ptr, "from env");
	assert_string_equal(settings_secret(&settings.api.admin_password_hash).ptr, "from file");
	assert_int_equal(settings_secret(&settings.provider[0].api_key).len, 0);
}

/* Every secret key has the two others, and no other key has. */
static void every_secret_has_its_variants(void **state)
{
	(void)state;
	add_file("/s", "geheim\n", 7, 0600);
	for (unsigned i = 0; i < SETTINGS_KEY_COUNT; i++) {
		char text[512], want[512];
		struct settings_key k;
		bool secret;

		settings_key_get((enum settings_key_index)i, &k);
		secret = strcmp(k.kind, "SECRET") == 0;
		snprintf(text, sizeof(text), "[%s]\n%s_file = /s\n", section_of(&k), k.key);
		load(text);
		snprintf(want, sizeof(want), "%s_file: unknown key", k.key);
		if (strcmp(k.key, "dkim_key") != 0) assert_int_equal(strstr(said_text, want) == NULL, secret);
		snprintf(text, sizeof(text), "[%s]\n%s_env = NOT_THERE\n", section_of(&k), k.key);
		assert_int_equal(load(text), ERR_CONFIG);
		assert_int_equal(strstr(said_text, "there is no environment variable NOT_THERE") != NULL,
				 secret);
	}
}

static void secrets_that_others_can_read(void **state)
{
	(void)state;
	add_file("open", "x", 1, 0644);
	add_file("group", "x", 1, 0640);
	add_file("key", "x", 1, 0604);
	refused("[provider.a]\nhost=h\nusername=u\npassword_file=open\n[provider.b]\nhost=h\nusername="
		"u\npassword_file=group\n"
		"[provider.c]\nhost=h\nusername=u\npassword_file=gone\n[provider.d]\nhost=h\nusername="
		"u\npassword_file=\n"
		"[broker]\ntls_ca = gone.pem\ntls_cert = open\ntls_key = key\n",
		"t.ini:4: [provider.a] password: open can be read by others (mode 0644): chmod 600 it\n"
		"t.ini:8: [provider.b] password: group can be read by others (mode 0640): chmod 600 it\n"
		"t.ini:12: [provider.c] password: gone cannot be read: not found\n"
		"t.ini:16: [provider.d] password: password_file needs a path of at most 255 bytes\n"
		"t.ini:18: [broker] tls_ca: gone.pem cannot be read: not found\n"
		"t.ini:20: [broker] tls_key: key can be read by others (mode 0604): chmod 600 it\n");
}

static void a_file_with_a_secret_is_private(void **state)
{
	static const char with[] = "[gateway]\n[provider.a]\nhost=h\nusername=u\npassword=p\n";
	static const char url[] = "[broker]\nurl=amqp://u:p@h/\n";
	static const char url_without[] = "[broker]\nurl=amqp://h/\n";
	static const char without[] = "[provider.a]\nhost=h\nusername=u\npassword_file=pw\n";

	(void)state;
	add_file("pw", "p", 1, 0600);
	add_file("with", with, strlen(with), 0640);
	add_file("without", without, strlen(without), 0644);
	add_file("url", url, strlen(url), 0644);
	add_file("url_without", url_without, strlen(url_without), 0644);
	assert_int_equal(load_file("with"), ERR_CONFIG);
	assert_string_equal(
		said_text,
		"with:5: a secret stands in this file, and others can read it (mode 0640): chmod 600 it, "
		"or put the secret into a file of its own with ..._file\n");
	assert_int_equal(load_file("url"), ERR_CONFIG);
	assert_memory_equal(said_text, "url:2: a secret stands in this file", 35);
	assert_int_equal(load_file("without"), 0);
	assert_int_equal(load_file("url_without"), 0);
}

static void secrets_are_not_repeated(void **state)
{
	(void)state;
	refused("[provider.a]\nhost=h\nusername=u\npassword=hunter2\npassword_file=/x\n",
		"t.ini:5: [provider.a] password: is given twice, first in line 4\n");
	assert_int_equal(load("[broker]\nurl=amqp://hunter2:hunter2@hun "
			      "ter2:hunter2/hunter2%\n[provider.a]\nhost=h\nusername=u\n"
			      "password=hunter2\n[worker]\nmin=x\n"),
			 ERR_CONFIG);
	assert_null(strstr(said_text, "hunter2"));
	/* Not in what is printed either, nor in memory after a refusal. */
	good("[provider.a]\nhost=h\nusername=u\npassword=hunter2\n[broker]\nurl=amqp://u:hunter2@h\n[alert]\n"
	     "webhook=https://user:hunter2@h/x?token=hunter2\n");
	buf_reset(&said);
	settings_print(&settings, keep_line, NULL);
	assert_null(strstr(said_text, "hunter2"));
	assert_non_null(strstr(said_text, "password = (set)"));
	assert_non_null(strstr(said_text, "webhook = https://...@h/x?..."));
	assert_int_equal(load("[provider.a]\nhost=h\nusername=u\npassword=hunter2\n[x]\n"), ERR_CONFIG);
	assert_null(memmem(&settings, sizeof(settings), "hunter2", 7));
}

/* ---- the broker's url and the environment ---- */

static void urls_of_brokers(void **state)
{
	static const struct {
		const char *url, *user, *password, *host, *vhost;
		int port;
		bool tls;
	} cases[] = {
		{"amqp://username:password@mq.example.com:1234/prod", "username", "password",
		 "mq.example.com", "prod", 1234, false},
		{"amqp://", "guest", "guest", "localhost", "/", 5672, false},
		{"amqp://h", "guest", "guest", "h", "/", 5672, false},
		{"amqp://h/", "guest", "guest", "h", "/", 5672, false},
		{"amqp://h/%2F", "guest", "guest", "h", "/", 5672, false},
		{"amqp://h/%2fa%2Fb", "guest", "guest", "h", "/a/b", 5672, false},
		{"amqps://h", "guest", "guest", "h", "/", 5671, true},
		{"AMQPS://h:1", "guest", "guest", "h", "/", 1, true},
		{"amqp://u%40d:p%3A%2F%25@h", "u@d", "p:/%", "h", "/", 5672, false},
		{"amqp://u:a:b@h", "u", "a:b", "h", "/", 5672, false},
		{"amqp://u@h", "u", "guest", "h", "/", 5672, false},
		{"amqp://[::1]:77/v", "guest", "guest", "::1", "v", 77, false},
		{"amqp://:@/", "guest", "guest", "localhost", "/", 5672, false},
		{"amqp://u:p@h:/v", "u", "p", "h", "v", 5672, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), "[broker]\nurl = %s\n", cases[i].url);
		good(text);
		assert_string_equal(settings.broker.username, cases[i].user);
		assert_string_equal(settings_secret(&settings.broker.password).ptr, cases[i].password);
		assert_string_equal(settings.broker.host, cases[i].host);
		assert_string_equal(settings.broker.vhost, cases[i].vhost);
		assert_int_equal(settings.broker.port, cases[i].port);
		assert_int_equal(settings.broker.tls, cases[i].tls);
	}
}

static void bad_urls_of_brokers(void **state)
{
	static const char *const cases[][2] = {
		{"http://h", "is not of the form amqp[s]://user:password@host:port/vhost"},
		{"mq.example.com", "is not of the form amqp[s]://user:password@host:port/vhost"},
		{"amqp://h/a/b", "has a / in its vhost: it is written %2F there"},
		{"amqp://h?heartbeat=5", "has parameters (?...), use the keys of this section; a ? or # in a "
					 "password is written %3F, %23"},
		{"amqp://u:p@q@h", "has two @: in a password it is written %40"},
		{"amqp://u:p%4@h", "has a % in its password that is not %XX"},
		{"amqp://u:p%zz@h", "has a % in its password that is not %XX"},
		{"amqp://h/%", "has a % in its vhost that is not %XX"},
		{"amqp://h:port", "has a bad port"},
		{"amqp://h:70000", "has a bad port"},
		{"amqp://h h", "has a bad host"},
		{"amqp://u%00x@h", "has a bad username"},
		{"amqp://[::1]x:5", "has something between ] and the port"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256], want[256];

		snprintf(text, sizeof(text), "[broker]\nurl = %s\n", cases[i][0]);
		snprintf(want, sizeof(want), "t.ini:2: [broker] url: %s\n", cases[i][1]);
		refused(text, want);
	}
	refused("[broker]\nurl = amqp://h\nhost = i\nport = 1\nvhost = v\n",
		"t.ini:3: [broker] host: stands beside url, which says it already: keep one of them\n"
		"t.ini:4: [broker] port: stands beside url, which says it already: keep one of them\n"
		"t.ini:5: [broker] vhost: stands beside url, which says it already: keep one of them\n");
}

static void the_environment_wins(void **state)
{
	static const char *const all[] = {
		"RABBITMQ_HOST",
		"mq",
		"RABBITMQ_PORT",
		"5673",
		"RABBITMQ_USERNAME",
		"me",
		"RABBITMQ_PASSWORD",
		"mine",
		"RABBITMQ_VHOST",
		"/v",
		"RABBITMQ_EMAIL_SEND_QUEUE",
		"s",
		"RABBITMQ_EMAIL_INBOUND_QUEUE",
		"i",
		"RABBITMQ_EMAIL_SYNC_USER_QUEUE",
		"u",
	};

	(void)state;
	memcpy(environment, all, sizeof(all));
	good("[broker]\nurl = amqps://a:b@c:1/d\nmode = none\nsend_queue = x\nresult_queue = r\n");
	assert_int_equal(settings.broker.mode, SETTINGS_BROKER_AMQP);
	assert_string_equal(settings.broker.host, "mq");
	assert_int_equal(settings.broker.port, 5673);
	assert_string_equal(settings.broker.username, "me");
	assert_string_equal(settings_secret(&settings.broker.password).ptr, "mine");
	assert_string_equal(settings.broker.vhost, "/v");
	assert_string_equal(settings.broker.send_queue, "s");
	assert_string_equal(settings.broker.inbound_queue, "i");
	assert_string_equal(settings.broker.sync_queue, "u");
	assert_string_equal(settings.broker.result_queue, "r");
	assert_true(settings.broker.tls);
	buf_reset(&said);
	settings_print(&settings, keep_line, NULL);
	assert_non_null(
		strstr(said_text, "host = mq                                         # environment\n"));
}

static void the_environment_can_be_wrong(void **state)
{
	(void)state;
	environment[0] = "RABBITMQ_PORT";
	environment[1] = "http";
	environment[2] = "RABBITMQ_USER";
	environment[3] = "a";
	environment[4] = "RABBITMQ_USERNAME";
	environment[5] = "b";
	refused("[broker]\nmode = none\n",
		"environment: RABBITMQ_PORT: \"http\" is not a number\n"
		"environment: RABBITMQ_USER: RABBITMQ_USERNAME is set too and says something else\n");
	environment[0] = "RABBITMQ_USER";
	environment[1] = "seed";
	environment[2] = "RABBITMQ_HOST"; /* empty is the same as not there */
	environment[3] = "";
	environment[4] = NULL;
	good("");
	assert_string_equal(settings.broker.username, "seed");
	assert_int_equal(settings.broker.mode, SETTINGS_BROKER_NONE);
	environment[0] = "RABBITMQ_VHOST";
	environment[1] = "a\nb";
	refused("",
		"environment: RABBITMQ_VHOST: \"a\\x0Ab\" has control characters in it or is not UTF-8\n");
}

/* ---- which file ---- */

static void without_any_file(void **state)
{
	(void)state;
	assert_int_equal(load_file(NULL), 0);
	assert_string_equal(settings.file, "");
	assert_int_equal(settings.broker.mode, SETTINGS_BROKER_NONE);
	assert_string_equal(settings.gateway.data_dir, "./postern-data");
	assert_int_equal(settings.provider_count, 1);
	assert_string_equal(settings.provider[0].name, "default");
	assert_int_equal(settings.provider[0].type, SETTINGS_PROVIDER_MAILDIR);
	assert_string_equal(settings.provider[0].path, "./postern-data/maildir");
	assert_int_equal(report.problems + report.notes, 0);
}

static void the_default_file_and_a_named_one(void **state)
{
	(void)state;
	add_file(SETTINGS_DEFAULT_FILE, "[worker]\nmax = 3\n", 17, 0644);
	assert_int_equal(load_file(NULL), 0);
	assert_int_equal(settings.worker.max, 3);
	assert_int_equal(settings.provider_count, 0);
	assert_string_equal(settings.file, SETTINGS_DEFAULT_FILE);
	assert_int_equal(load_file("gone.ini"), ERR_NOT_FOUND);
	assert_string_equal(said_text, "gone.ini: cannot be read: not found\n");
}

static void a_refused_reload_leaves_the_old_one(void **state)
{
	static struct settings second;
	struct settings_source source = {"bad", getenv_fake, read_fake};

	(void)state;
	good("[provider.a]\nhost = old.example.com\n");
	add_file("bad", "[provider.a]\nhsot = new\n", 24, 0600);
	assert_int_equal(settings_load(&second, &source, &report), ERR_CONFIG);
	assert_string_equal(settings.provider[0].host, "old.example.com");
	assert_string_equal(settings_find_provider(&settings, STR("a"))->host, "old.example.com");
	assert_int_equal(second.provider_count, 0);
}

/* ---- parts that are not built ---- */

static void what_is_not_built_is_said(void **state)
{
	static const char *const keys[] = {
		"none",
#define UNBUILT(section, key, value, relied, text) #section "." #key,
#include "settings/unbuilt.def"
#undef UNBUILT
	};
	bool amqp = true;

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		amqp = amqp && strcmp(keys[i], "broker.mode") != 0;
	good("[broker]\nmode = amqp\n");
	assert_int_equal(report.notes, amqp ? 0 : 1);
	assert_int_equal(settings_check_built(&settings, &report), amqp ? 0 : ERR_UNSUPPORTED);
	if (!amqp)
		assert_string_equal(
			said_text,
			"t.ini:2: [broker] mode: amqp is not built into this version yet: no job would be "
			"fetched from a broker, so postern does not run with it\n");
	/* What a mail would wait for in vain is not run with; what only has no effect yet is said. */
	good("[provider.a]\ntype = http\nurl = https://h.example.com/\napi_key = k\n");
	assert_int_equal(report.notes, 1);
	assert_int_equal(settings_check_built(&settings, &report), ERR_UNSUPPORTED);
	/* An access token that somebody else gets. */
	good("[provider.a]\nhost = mx.example.com\nauth = xoauth2\nusername = u\npassword = token\n");
	assert_int_equal(report.notes, 0);
	assert_int_equal(settings_check_built(&settings, &report), 0);
	good("[worker]\npipeline_depth = 4\n[ring]\nbytes = 64K\n");
	assert_int_equal(report.notes, 1);
	assert_int_equal(settings_check_built(&settings, &report), 0);
	/* A default is no wish. */
	good("[worker]\npipeline_depth = 8\n");
	assert_int_equal(report.notes, 0);
	assert_int_equal(settings_check_built(&settings, &report), 0);
}

/* ---- bytes by chance ---- */

static void random_bytes_are_survived(void **state)
{
	static const char *const pieces[] = {"[provider.a]\n",
					     "[broker]\n",
					     "url = amqp://",
					     "host = ",
					     "\n",
					     "=",
					     "[",
					     "]",
					     "%",
					     "@",
					     ":",
					     "/",
					     "password_file = /s\n",
					     "rate = 30/",
					     "1m",
					     "listen = [::",
					     "delays = 1s,,",
					     "\0",
					     "\xFF",
					     "[alias]\n",
					     "fallback = a\n",
					     " ",
					     "\r\n",
					     "999999999999999999999"};
	uint32_t seed = 1;

	(void)state;
	add_file("/s", "x", 1, 0600);
	for (int round = 0; round < 3000; round++) {
		char text[512];
		size_t len = 0;

		while (len < 300 + (seed >> 24)) {
			const char *piece;
			size_t n;

			seed = seed * 1664525 + 1013904223;
			piece = pieces[(seed >> 8) % (sizeof(pieces) / sizeof(pieces[0]))];
			n = *piece ? strlen(piece) : 1;
			if (seed >> 29 == 0) {
				text[len++] = (char)(seed >> 16);
				continue;
			}
			if (len + n > sizeof(text)) break;
			memcpy(text + len, piece, n);
			len += n;
		}
		if ((load_bytes(text, len) == 0) != (report.problems == 0))
			fail_msg("%d: %s", round, said_text);
	}
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_key_reads_its_default_and_another_value),
		TEST(every_key_refuses_what_is_out_of_range),
		TEST(values_arrive),
		TEST(ports_follow_tls),
		TEST(bad_values_are_named),
		TEST(all_problems_with_their_lines),
		TEST(comments_blanks_and_line_ends),
		TEST(long_lines),
		TEST(bytes_that_are_no_text),
		TEST(too_large_files_and_too_many_sections),
		TEST(too_much_text_in_all),
		TEST(what_providers_need),
		TEST(no_password_in_the_clear),
		TEST(fallbacks),
		TEST(who_may_listen),
		TEST(numbers_that_belong_together),
		TEST(secrets_three_ways),
		TEST(every_secret_has_its_variants),
		TEST(secrets_that_others_can_read),
		TEST(a_file_with_a_secret_is_private),
		TEST(secrets_are_not_repeated),
		TEST(urls_of_brokers),
		TEST(bad_urls_of_brokers),
		TEST(the_environment_wins),
		TEST(the_environment_can_be_wrong),
		TEST(without_any_file),
		TEST(the_default_file_and_a_named_one),
		TEST(a_refused_reload_leaves_the_old_one),
		TEST(what_is_not_built_is_said),
		TEST(random_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
