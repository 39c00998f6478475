/* Settings to specs, and what is judged by them at submission. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_process.h"
#include "provider/pool.h"

static enum smtp_tls tls_of(enum settings_tls tls)
{
	switch (tls) {
	case SETTINGS_TLS_IMPLICIT: return SMTP_TLS_IMPLICIT;
	case SETTINGS_TLS_STARTTLS: return SMTP_TLS_STARTTLS;
	case SETTINGS_TLS_NONE: return SMTP_TLS_NONE;
	}
	return SMTP_TLS_STARTTLS;
}

static enum smtp_auth auth_of(enum settings_auth auth)
{
	switch (auth) {
	case SETTINGS_AUTH_AUTO: return SMTP_AUTH_AUTO;
	case SETTINGS_AUTH_NONE: return SMTP_AUTH_NONE;
	case SETTINGS_AUTH_PLAIN: return SMTP_AUTH_PLAIN;
	case SETTINGS_AUTH_LOGIN: return SMTP_AUTH_LOGIN;
	case SETTINGS_AUTH_CRAM_MD5: return SMTP_AUTH_CRAM_MD5;
	case SETTINGS_AUTH_SCRAM_SHA_256: return SMTP_AUTH_SCRAM_SHA_256;
	case SETTINGS_AUTH_XOAUTH2: return SMTP_AUTH_XOAUTH2;
	}
	return SMTP_AUTH_AUTO;
}

/* The storage's spelling of a path: no ".", no empty parts. */
static int path_clean(char *out, size_t cap, const char *path)
{
	size_t len = 0;

	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		bool slash = len > 0 || (p == path && n == 0);

		if (n == 0 || (n == 1 && p[0] == '.')) {
			if (n == 0 && p == path && cap > 1) out[len++] = '/';
		} else {
			slash = slash && out[len - 1] != '/';
			if (len + slash + n >= cap) return ERR_TOO_LARGE;
			if (slash) out[len++] = '/';
			memcpy(out + len, p, n);
			len += n;
		}
		p += n + (p[n] == '/');
	}
	out[len] = '\0';
	return 0;
}

/* The full path in the storage's spelling. */
static int path_whole(char *out, size_t cap, const char *path)
{
	char full[LIMIT_path + 1];
	int rc = hal_process_full_path(path, full, sizeof full);

	return rc < 0 ? rc : path_clean(out, cap, full);
}

/* A path of the settings, which counts from the working directory, for hal_storage: what lies below the data
 * directory is relative to that, whatever way both were written, all else absolute. */
static int path_of(char *out, size_t cap, const char *data_dir, const char *path)
{
	char dir[LIMIT_path + 1], whole[LIMIT_path + 1];
	size_t n;
	int rc;

	if (!path[0]) return str_copy(out, cap, STR(""));
	rc = path_whole(whole, sizeof whole, path);
	if (rc == 0) rc = path_whole(dir, sizeof dir, data_dir);
	if (rc < 0) return rc;
	n = strlen(dir);
	return str_copy(out, cap,
			str_from(strncmp(whole, dir, n) == 0 && whole[n] == '/' ? whole + n + 1 : whole));
}

static int spec_copy_paths(struct spec *s, const struct settings *settings,
			   const struct settings_provider *from)
{
	const struct {
		char *to;
		size_t cap;
		const char *path;
	} paths[] = {
		{s->path, sizeof s->path, from->path},
		{s->tls_ca, sizeof s->tls_ca, from->tls_ca},
		{s->tls_cert, sizeof s->tls_cert, from->tls_cert},
		{s->tls_key, sizeof s->tls_key, from->tls_key},
	};

	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		int rc = path_of(paths[i].to, paths[i].cap, settings->gateway.data_dir, paths[i].path);

		if (rc < 0) return rc;
	}
	return 0;
}

static int spec_copy_texts(struct spec *s, const struct settings *settings,
			   const struct settings_provider *from)
{
	const struct {
		char *to;
		size_t cap;
		struct str text;
	} texts[] = {
		{s->name, sizeof s->name, str_from(from->name)},
		{s->tenant_id, sizeof s->tenant_id, str_from(from->tenant_id)},
		{s->provider_id, sizeof s->provider_id, str_from(from->provider_id)},
		{s->display_name, sizeof s->display_name, str_from(from->display_name)},
		{s->host, sizeof s->host, str_from(from->host)},
		{s->helo, sizeof s->helo, str_from(settings->gateway.name)},
		{s->username, sizeof s->username, str_from(from->username)},
		{s->password, sizeof s->password, settings_secret(&from->password)},
		{s->from, sizeof s->from, str_from(from->from)},
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (str_copy(texts[i].to, texts[i].cap, texts[i].text) < 0) return ERR_TOO_LARGE;
	return spec_copy_paths(s, settings, from);
}

int spec_make(struct spec *out, const struct settings *settings, const struct settings_provider *from)
{
	/* All bytes are set, padding too: specs are compared as memory. */
	memset(out, 0, sizeof *out);
	if (from->type != SETTINGS_PROVIDER_SMTP && from->type != SETTINGS_PROVIDER_MAILDIR)
		return ERR_CONFIG;
	out->type = from->type;
	out->port = (uint16_t)from->port;
	out->tls = tls_of(from->tls);
	out->tls_verify = from->tls_verify;
	out->auth = auth_of(from->auth);
	out->from_override = from->from_override;
	out->connections = (unsigned)from->connections;
	out->messages_per_connection = (unsigned)from->messages_per_connection;
	out->rate.count = from->rate.count;
	out->rate.per_ms = from->rate.per_ms;
	return spec_copy_texts(out, settings, from);
}

void spec_tls_settings(const struct spec *s, struct net_tls_settings *out)
{
	*out = (struct net_tls_settings){
		.side = NET_TLS_CLIENT,
		.insecure = !s->tls_verify,
		.ca_path = s->tls_ca,
		.cert_path = s->tls_cert,
		.key_path = s->tls_key,
	};
}

void spec_tls_files(const struct spec *s, unsigned char out[DIGEST_SHA256_BYTES])
{
	struct net_tls_settings settings;

	memset(out, 0, DIGEST_SHA256_BYTES);
	if (s->type != SETTINGS_PROVIDER_SMTP || s->tls == SMTP_TLS_NONE) return;
	spec_tls_settings(s, &settings);
	net_tls_files_digest(&settings, out);
}

/* ---- choosing ---- */

static bool is_of(const struct provider *p, struct str tenant_id)
{
	return str_eq(str_from(p->spec.tenant_id), tenant_id);
}

/* The provider of exactly this tenant (empty: of any) with this id. */
static struct provider *find_id(struct provider_pool *pool, struct str tenant_id, struct str provider_id)
{
	for (size_t i = 0; i < pool->live_count; i++) {
		struct provider *p = pool->live[i];

		if (is_of(p, tenant_id) && str_eq(str_from(p->spec.provider_id), provider_id)) return p;
	}
	return NULL;
}

/* The only provider that this tenant may use, its own alone if own is set. */
static struct provider *find_only(struct provider_pool *pool, struct str tenant_id, bool own)
{
	struct provider *found = NULL;

	for (size_t i = 0; i < pool->live_count; i++) {
		struct provider *p = pool->live[i];

		if (!is_of(p, tenant_id) && (own || p->spec.tenant_id[0])) continue;
		if (found) return NULL;
		found = p;
	}
	return found;
}

static struct provider *find_named(struct provider_pool *pool, struct str tenant_id, struct str provider_id)
{
	struct provider *p = tenant_id.len > 0 ? find_id(pool, tenant_id, provider_id) : NULL;

	return p ? p : find_id(pool, (struct str){NULL, 0}, provider_id);
}

struct provider *spec_choose(struct provider_pool *pool, struct str tenant_id, struct str provider_id,
			     char *why, size_t why_cap)
{
	struct provider *p = NULL;
	struct buf b;

	buf_init(&b, why, why_cap);
	if (provider_id.len > 0) {
		p = find_named(pool, tenant_id, provider_id);
		if (p) return p;
		buf_puts(&b, "no provider ");
		buf_escaped(&b, provider_id, 64);
		if (tenant_id.len > 0) {
			buf_puts(&b, " for tenant ");
			buf_escaped(&b, tenant_id, 64);
		}
		return NULL;
	}
	if (tenant_id.len > 0) p = find_only(pool, tenant_id, true);
	if (!p) p = find_named(pool, tenant_id, STR("default"));
	if (!p) p = find_only(pool, tenant_id, false);
	if (!p)
		buf_puts(&b, pool->live_count == 0
				     ? "there is no provider"
				     : "no provider named, and none is the only one or called default");
	return p;
}

int provider_choose(struct provider_pool *pool, struct str tenant_id, struct str provider_id,
		    char name[PROVIDER_NAME_CAP], char *why, size_t why_cap)
{
	struct provider *p;

	hal_mutex_lock(&pool->lock);
	p = spec_choose(pool, tenant_id, provider_id, why, why_cap);
	if (p) memcpy(name, p->spec.name, PROVIDER_NAME_CAP);
	hal_mutex_unlock(&pool->lock);
	return p ? 0 : ERR_NOT_FOUND;
}

/* ---- judging ---- */

const char *spec_alias(const struct provider_pool *pool, struct str name)
{
	for (size_t i = 0; i < pool->alias_count; i++)
		if (str_eq_nocase(str_from(pool->alias[i].name), name)) return pool->alias[i].address;
	return NULL;
}

static int problem_set(struct job_problem *problem, int rc, const char *pointer, const char *reason,
		       struct str what)
{
	struct buf b;

	snprintf(problem->pointer, sizeof problem->pointer, "%s", pointer);
	buf_init(&b, problem->reason, sizeof problem->reason);
	buf_puts(&b, reason);
	if (what.len > 0) {
		buf_puts(&b, ": ");
		buf_escaped(&b, what, 128);
	}
	return rc;
}

static bool is_bare(const struct job_address *a)
{
	return a->addr.len > 0 && a->domain.len == 0;
}

/* From as it will be written: the provider's when it insists or the job has none. */
static int judge_from(struct provider_pool *pool, const struct provider *p, const struct job *job, char *from,
		      size_t cap, struct job_problem *problem)
{
	struct str addr = job->from.addr;
	const char *alias;
	char memory[1024];
	struct job_address parsed;
	struct arena a;

	if (p->has_from && (p->spec.from_override || addr.len == 0)) return str_copy(from, cap, p->from.addr);
	if (addr.len == 0)
		return problem_set(problem, ERR_INVALID, "/from", "needed, because this provider has no from",
				   str_from(p->spec.name));
	if (!is_bare(&job->from)) return str_copy(from, cap, addr);
	alias = spec_alias(pool, addr);
	arena_init(&a, memory, sizeof memory);
	if (!alias || job_address_parse(&a, str_from(alias), &parsed, NULL) < 0)
		return problem_set(problem, ERR_INVALID, "/from", "not an address, and no alias", addr);
	return str_copy(from, cap, parsed.addr);
}

static int judge_rcpts(struct provider_pool *pool, const struct job *job, struct job_problem *problem)
{
	static const char *const members[] = {"to", "cc", "bcc"};
	char pointer[40];
	size_t first = 0;

	for (size_t i = 0; i < job->rcpt_count; i++) {
		const struct job_rcpt *r = &job->rcpts[i];

		if (i > 0 && r->kind != job->rcpts[i - 1].kind) first = i;
		if (!is_bare(&r->address) || spec_alias(pool, r->address.addr)) continue;
		snprintf(pointer, sizeof pointer, "/%s/%zu",
			 job->format == JOB_FORMAT_0 ? "recipients" : members[r->kind], i - first);
		return problem_set(problem, ERR_INVALID, pointer, "not an address, and no alias",
				   r->address.addr);
	}
	if (is_bare(&job->reply_to) && !spec_alias(pool, job->reply_to.addr))
		return problem_set(problem, ERR_INVALID, "/reply_to", "not an address, and no alias",
				   job->reply_to.addr);
	return 0;
}

static int judge(struct provider_pool *pool, const struct job *job, struct provider_choice *choice,
		 struct job_problem *problem)
{
	char why[200];
	struct provider *p = spec_choose(pool, job->tenant_id, job->provider_id, why, sizeof why);
	int rc;

	if (!p) return problem_set(problem, ERR_NOT_FOUND, "/provider_id", why, (struct str){NULL, 0});
	memcpy(choice->name, p->spec.name, sizeof choice->name);
	rc = judge_from(pool, p, job, choice->from, sizeof choice->from, problem);
	if (rc < 0) return rc;
	if (job->rcpt_count > STORE_RCPT_MAX)
		return problem_set(problem, ERR_TOO_LARGE, "", "too many recipients", (struct str){NULL, 0});
	rc = judge_rcpts(pool, job, problem);
	if (rc < 0) return rc;
	if (job->text.utf8.len + job->html.utf8.len > pool->message_bytes_max)
		return problem_set(problem, ERR_TOO_LARGE, "",
				   "the mail is larger than [limits] message_bytes", (struct str){NULL, 0});
	return 0;
}

int provider_judge(struct provider_pool *pool, const struct job *job, struct provider_choice *choice,
		   struct job_problem *problem)
{
	int rc;

	hal_mutex_lock(&pool->lock);
	rc = judge(pool, job, choice, problem);
	hal_mutex_unlock(&pool->lock);
	return rc;
}
