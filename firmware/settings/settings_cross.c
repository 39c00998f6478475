#include <string.h>

#include "base/err.h"
#include "settings/room.h"

/* What concerns more than one key, or something outside the text: files, other sections, the device. */

#define PROVIDER(key) SETTINGS_KEY_provider_##key
#define MAILBOX(key)  SETTINGS_KEY_mailbox_##key

static bool is_given(struct load *l, size_t key, size_t i)
{
	return *settings_origin(l->s, key, i) != ORIGIN_DEFAULT;
}

/* Given and refused: reported already, and not missing. */
static bool is_bad(struct load *l, size_t key, size_t i)
{
	return l->bad[key] >> i & 1;
}

/* A key without which nothing works. */
static void need(struct load *l, size_t key, size_t i, const char *when)
{
	if (settings_value_empty(&settings_keys[key], settings_member(l->s, key, i)) && !is_bad(l, key, i))
		settings_problem_key(l, key, i, "is needed%s", when);
}

static void need_pair(struct load *l, size_t a, size_t b, size_t i)
{
	bool no_a = settings_value_empty(&settings_keys[a], settings_member(l->s, a, i));
	bool no_b = settings_value_empty(&settings_keys[b], settings_member(l->s, b, i));

	if (no_a == no_b || is_bad(l, a, i) || is_bad(l, b, i)) return;
	settings_problem_key(l, no_a ? a : b, i, "is needed beside %s", settings_keys[no_a ? b : a].key);
}

static bool is_https(const char *url)
{
	return str_starts_nocase(str_from(url), STR("https://"));
}

/* http://localhost:8080/x, http://[::1]/x, but not http://localhost@evil/ */
static bool is_loopback_url(const char *url)
{
	const char *p = strstr(url, "://");
	char host[LIMIT_host + 1];
	size_t n = 0;

	if (!p) return false;
	p += 3;
	if (*p == '[') {
		p++;
		n = strcspn(p, "]");
	} else {
		n = strcspn(p, ":/?#@");
	}
	if (strcspn(p, "@") < strcspn(p, "/?#")) return false;
	return str_copy(host, sizeof(host), (struct str){p, n}) == 0 && settings_host_is_loopback(host);
}

/* A secret goes to that address. */
static void need_private_url(struct load *l, size_t key, size_t i)
{
	const char *url = *(const char *const *)settings_member(l->s, key, i);

	if (*url && !is_https(url) && !is_loopback_url(url))
		settings_problem_key(l, key, i, "must be https, since a secret is sent there");
}

/* ---- providers ---- */

static void check_smtp(struct load *l, size_t i)
{
	const struct settings_provider *p = &l->s->provider[i];
	bool password = settings_secret(&p->password).len > 0, oauth = *p->oauth_client_id;
	bool auth = p->auth != SETTINGS_AUTH_NONE && (*p->username || password);

	need(l, PROVIDER(host), i, " with type = smtp");
	if (password && !*p->username && !is_bad(l, PROVIDER(username), i))
		settings_problem_key(l, PROVIDER(username), i, "is needed beside password");
	if (auth && !password && !oauth && !is_bad(l, PROVIDER(password), i))
		settings_problem_key(l, PROVIDER(password), i, "is needed beside username (or auth = none)");
	if (p->auth != SETTINGS_AUTH_AUTO && p->auth != SETTINGS_AUTH_NONE && !*p->username)
		settings_problem_key(l, PROVIDER(username), i, "is needed with this auth");
	if (p->auth == SETTINGS_AUTH_XOAUTH2 && !oauth && !password)
		settings_problem_key(l, PROVIDER(oauth_client_id), i, "is needed with auth = xoauth2");
	if (p->tls == SETTINGS_TLS_NONE && auth && *p->host && !settings_host_is_loopback(p->host))
		settings_problem_key(
			l, PROVIDER(tls), i,
			"no AUTH in the clear: with none the password could be read on the way to %s",
			p->host);
}

static void check_http(struct load *l, size_t i)
{
	const struct settings_provider *p = &l->s->provider[i];

	if (p->api == SETTINGS_API_GENERIC) need(l, PROVIDER(url), i, " with api = generic");
	if (p->api == SETTINGS_API_GMAIL || p->api == SETTINGS_API_GRAPH)
		need(l, PROVIDER(oauth_client_id), i, " with this api");
	else if (p->api != SETTINGS_API_GENERIC)
		need(l, PROVIDER(api_key), i, " with this api");
	if (settings_secret(&p->api_key).len > 0 || *p->oauth_client_id)
		need_private_url(l, PROVIDER(url), i);
}

/* Goes along the fallbacks from i; a way of more steps than there are providers is a circle. */
static void check_fallback(struct load *l, size_t i)
{
	const struct settings_provider *p = &l->s->provider[i];

	if (!*p->fallback) return;
	if (!settings_find_provider(l->s, str_from(p->fallback))) {
		settings_problem_key(l, PROVIDER(fallback), i, "there is no [provider.%s]", p->fallback);
		return;
	}
	for (size_t steps = 0; p && *p->fallback; steps++) {
		p = settings_find_provider(l->s, str_from(p->fallback));
		if (p == &l->s->provider[i]) {
			settings_problem_key(l, PROVIDER(fallback), i, "the fallbacks go in a circle");
			return;
		}
		if (steps > l->s->provider_count) return; /* a circle further on: reported there */
	}
}

/* Jobs name tenant and provider: two that answer to the same pair could not be told apart. */
static void check_ids(struct load *l, size_t i)
{
	const struct settings_provider *p = l->s->provider;

	for (size_t k = 0; k < i; k++) {
		if (strcmp(p[i].provider_id, p[k].provider_id) != 0 ||
		    strcmp(p[i].tenant_id, p[k].tenant_id) != 0)
			continue;
		settings_problem_key(l, PROVIDER(provider_id), i,
				     "is the same as that of [provider.%s], for the same tenant", p[k].name);
		return;
	}
}

static void check_provider(struct load *l, size_t i)
{
	const struct settings_provider *p = &l->s->provider[i];

	if (p->type == SETTINGS_PROVIDER_SMTP)
		check_smtp(l, i);
	else if (p->type == SETTINGS_PROVIDER_HTTP)
		check_http(l, i);
	else
		need(l, PROVIDER(path), i, " with type = maildir");
	if (p->from_override) need(l, PROVIDER(from), i, " with from_override");
	if (*p->oauth_client_id && p->oauth_grant == SETTINGS_OAUTH_CLIENT_CREDENTIALS)
		need(l, PROVIDER(oauth_client_secret), i, " with oauth_grant = client_credentials");
	need_private_url(l, PROVIDER(oauth_token_url), i);
	need_pair(l, PROVIDER(tls_cert), PROVIDER(tls_key), i);
	need_pair(l, PROVIDER(dkim_domain), PROVIDER(dkim_selector), i);
	need_pair(l, PROVIDER(dkim_domain), PROVIDER(dkim_key_file), i);
	check_fallback(l, i);
	check_ids(l, i);
}

static void check_mailbox(struct load *l, size_t i)
{
	const struct settings_mailbox *m = &l->s->mailbox[i];

	need(l, MAILBOX(host), i, "");
	need(l, MAILBOX(username), i, "");
	if (!*m->oauth_client_id) need(l, MAILBOX(password), i, "");
	if (*m->oauth_client_id && m->oauth_grant == SETTINGS_OAUTH_CLIENT_CREDENTIALS)
		need(l, MAILBOX(oauth_client_secret), i, " with oauth_grant = client_credentials");
	need_private_url(l, MAILBOX(oauth_token_url), i);
	if (m->tls == SETTINGS_TLS_NONE && *m->host && !settings_host_is_loopback(m->host))
		settings_problem_key(
			l, MAILBOX(tls), i,
			"no login in the clear: with none the password could be read on the way to %s",
			m->host);
}

/* ---- one-off sections ---- */

static void check_queues(struct load *l)
{
	static const size_t queues[] = {SETTINGS_KEY_broker_send_queue,
					SETTINGS_KEY_broker_notification_queue,
					SETTINGS_KEY_broker_sync_queue, SETTINGS_KEY_broker_inbound_queue,
					SETTINGS_KEY_broker_result_queue};

	for (size_t i = 1; i < sizeof(queues) / sizeof(queues[0]); i++) {
		const char *a = *(const char *const *)settings_member(l->s, queues[i], 0);

		for (size_t k = 0; k < i; k++) {
			if (strcmp(a, *(const char *const *)settings_member(l->s, queues[k], 0)) != 0)
				continue;
			settings_problem_key(l, queues[i], 0,
					     "is the same queue as %s: messages would go in a circle",
					     settings_keys[queues[k]].key);
			break;
		}
	}
}

static void check_broker(struct load *l)
{
	const struct settings_broker *b = &l->s->broker;
	bool credentials =
		is_given(l, SETTINGS_KEY_broker_username, 0) && is_given(l, SETTINGS_KEY_broker_password, 0);

	need_pair(l, SETTINGS_KEY_broker_tls_cert, SETTINGS_KEY_broker_tls_key, 0);
	if (b->encrypt) need(l, SETTINGS_KEY_broker_encryption_key_file, 0, " with encrypt = yes");
	if (is_given(l, SETTINGS_KEY_broker_url, 0) && (*b->tls_ca || *b->tls_cert) &&
	    str_starts_nocase(settings_secret(&b->url), STR("amqp://")))
		settings_problem_key(l,
				     *b->tls_ca ? SETTINGS_KEY_broker_tls_ca : SETTINGS_KEY_broker_tls_cert,
				     0, "means TLS, but url says amqp:// and not amqps://");
	if (b->mode == SETTINGS_BROKER_AMQP && b->listen.count > 0)
		settings_problem_key(l, SETTINGS_KEY_broker_listen, 0, "is for mode = none only");
	for (size_t i = 0; i < b->listen.count && !credentials; i++) {
		if (hal_addr_is_loopback(&b->listen.addr[i])) continue;
		settings_problem_key(
			l, SETTINGS_KEY_broker_listen, 0,
			"an address other than loopback needs username and password of its own, not guest");
		break;
	}
	check_queues(l);
}

static void check_api(struct load *l)
{
	const struct settings_api *a = &l->s->api;

	need_pair(l, SETTINGS_KEY_api_tls_cert, SETTINGS_KEY_api_tls_key, 0);
	if (settings_api_is_public(l->s) && !*a->tls_cert)
		settings_problem_key(l, SETTINGS_KEY_api_listen, 0,
				     "an address other than loopback needs tls_cert and tls_key");
	if (strlen(a->socket) > 100 || strlen(a->submit_socket) > 100)
		settings_problem_key(l, SETTINGS_KEY_gateway_data_dir, 0,
				     "is too long for the sockets in it: set [api] socket and submit_socket");
	if (strcmp(a->socket, a->submit_socket) == 0)
		settings_problem_key(l, SETTINGS_KEY_api_submit_socket, 0, "is the same as socket");
}

static void check_numbers(struct load *l)
{
	const struct settings *s = l->s;

	if (s->worker.min > s->worker.max && !is_bad(l, SETTINGS_KEY_worker_min, 0) &&
	    !is_bad(l, SETTINGS_KEY_worker_max, 0))
		settings_problem_key(l, SETTINGS_KEY_worker_min, 0, "%d is more than max, %d", s->worker.min,
				     s->worker.max);
	if (s->store.reserve_bytes > s->store.max_bytes / 2)
		settings_problem_key(l, SETTINGS_KEY_store_reserve_bytes, 0,
				     "is more than half of max_bytes");
}

/* ---- files ---- */

static void check_file(struct load *l, size_t key, size_t i)
{
	const char *path = *(const char *const *)settings_member(l->s, key, i);
	unsigned mode = 0;
	int rc;

	if (!*path) return;
	rc = l->source->read(path, NULL, 0, &mode);
	if (rc < 0)
		settings_problem_key(l, key, i, "%s cannot be read: %s", path, err_text(rc));
	else if (settings_keys[key].kind == KIND_KEYFILE && (mode & 066))
		settings_problem_key(l, key, i, "%s can be read by others (mode %04o): chmod 600 it", path,
				     mode);
}

static void check_files(struct load *l)
{
	for (size_t key = 0; key < SETTINGS_KEY_COUNT; key++) {
		const struct key_row *k = &settings_keys[key];

		if (k->kind != KIND_FILE && k->kind != KIND_KEYFILE) continue;
		for (size_t i = 0; i < settings_instances(l->s, k->section); i++)
			check_file(l, key, i);
	}
	if (l->secret_line > 0 && (l->file_mode & 066))
		settings_problem_line(
			l, l->secret_line,
			"a secret stands in this file, and others can read it (mode %04o): chmod 600 it, or "
			"put the secret into a file of its own with ..._file",
			l->file_mode);
}

void settings_cross(struct load *l)
{
	for (size_t i = 0; i < l->s->provider_count; i++)
		check_provider(l, i);
	for (size_t i = 0; i < l->s->mailbox_count; i++)
		check_mailbox(l, i);
	check_broker(l);
	check_api(l);
	check_numbers(l);
	check_files(l);
}

/* ---- parts that are not built ---- */

static const struct {
	size_t key;
	const char *value;
	bool relied;
	const char *text;
} unbuilt[] = {
#define UNBUILT(section, key, value, relied, text) {SETTINGS_KEY_##section##_##key, value, relied, text},
#include "settings/unbuilt.def"
#undef UNBUILT
};

static void unbuilt_key(struct load *l, bool refuse, size_t row, size_t i)
{
	size_t key = unbuilt[row].key;
	char shown[64], text[256];
	struct buf value, b;

	buf_init(&value, shown, sizeof(shown));
	settings_value_format(&value, &settings_keys[key], settings_member(l->s, key, i));
	if (value.len == 0) return;
	if (*unbuilt[row].value ? strcmp(shown, unbuilt[row].value) != 0
				: strcmp(shown, settings_keys[key].dflt) == 0)
		return;
	buf_init(&b, text, sizeof(text));
	buf_printf(&b, "%s is not built into this version yet: %s", shown, unbuilt[row].text);
	if (unbuilt[row].relied)
		buf_puts(&b, refuse ? ", so postern does not run with it" : "; `postern run` will refuse it");
	settings_say_key(l, !refuse, key, i, text);
}

void settings_unbuilt(struct load *l, bool refuse)
{
	for (size_t row = 0; row < sizeof(unbuilt) / sizeof(unbuilt[0]); row++) {
		enum section section = settings_keys[unbuilt[row].key].section;

		for (size_t i = 0; i < settings_instances(l->s, section); i++)
			if (unbuilt[row].relied || !refuse) unbuilt_key(l, refuse, row, i);
	}
}
