/* The lists of a job: recipients, attachments (headers: job_headers.c). */
#include <string.h>

#include "base/err.h"
#include "job/job_internal.h"

/* ---- recipients ---- */

/* The domain is compared without case, the part before the @ as it stands (RFC 5321 section 2.4). */
static bool same_address(const struct job_address *a, const struct job_address *b)
{
	size_t local = a->addr.len - a->domain.len;

	return a->addr.len == b->addr.len && str_eq_nocase(a->domain, b->domain) &&
	       memcmp(a->addr.ptr, b->addr.ptr, local) == 0;
}

static bool is_known(const struct job *job, const struct job_address *a)
{
	for (size_t i = 0; i < job->rcpt_count; i++)
		if (same_address(&job->rcpts[i].address, a)) return true;
	return false;
}

int job_add_rcpt(struct job_decode *d, const struct job_rcpt *rcpt)
{
	if (is_known(d->job, &rcpt->address)) return 0;
	if (d->job->rcpt_count == d->limits->recipients)
		return job_refuse(d, ERR_TOO_LARGE, "too many recipients: at most %zu",
				  d->limits->recipients);
	d->job->rcpts[d->job->rcpt_count++] = *rcpt;
	return 0;
}

/* One address, or one member of a group. */
static int take_rcpt(struct job_decode *d, struct str text, enum job_rcpt_kind kind)
{
	struct job_rcpt rcpt = {.kind = kind};
	size_t used = d->arena->used, count = d->job->rcpt_count;
	const char *why = NULL;
	int rc = job_address_parse(d->arena, text, &rcpt.address, &why);

	if (rc == ERR_INVALID) return job_refuse(d, rc, "not an address: %s", why);
	if (rc < 0) return job_refuse(d, rc, "%s", why);
	rc = job_add_rcpt(d, &rcpt);
	if (rc >= 0 && d->job->rcpt_count == count) d->arena->used = used;
	return rc;
}

static int add_group(struct job_decode *d, struct str name, enum job_rcpt_kind kind)
{
	struct job *job = d->job;
	struct job_group *g;
	const char *why = NULL;
	int rc;

	if (!job->groups) job->groups = arena_take(d->arena, JOB_GROUPS_MAX * sizeof(*job->groups));
	if (!job->groups) return job_refuse_memory(d);
	if (job->group_count == JOB_GROUPS_MAX)
		return job_refuse(d, ERR_TOO_LARGE, "too many groups: at most %d", JOB_GROUPS_MAX);
	g = &job->groups[job->group_count];
	*g = (struct job_group){.kind = kind, .first = job->rcpt_count};
	rc = job_phrase_parse(d->arena, name, &g->name, &why);
	if (rc == ERR_TOO_LARGE) return job_refuse_memory(d);
	if (rc < 0) return job_refuse(d, rc, "not a group's name: %s", why);
	job->group_count += kind != JOB_RCPT_BCC;
	return 0;
}

/* "Team: a@b, c@d;" and nothing else. */
static int take_group(struct job_decode *d, struct str text, enum job_rcpt_kind kind)
{
	size_t before = d->job->group_count;
	struct job_list l;
	struct str item;
	int what, rc = 0;

	job_list_init(&l, text);
	for (bool closed = false; (what = job_list_next(&l, &item)) != JOB_LIST_END;
	     closed = what == JOB_LIST_GROUP_END) {
		if (what < 0) return job_refuse(d, what, "not a group: %s", l.why);
		if (closed) return job_refuse(d, ERR_INVALID, "one group only, and nothing behind it");
		if (what == JOB_LIST_GROUP) rc = add_group(d, item, kind);
		if (what == JOB_LIST_MAILBOX) rc = take_rcpt(d, item, kind);
		if (rc < 0) return rc;
	}
	if (d->job->group_count > before)
		d->job->groups[before].count = d->job->rcpt_count - d->job->groups[before].first;
	return 0;
}

static int take_item(struct job_decode *d, const struct json *v, enum job_rcpt_kind kind)
{
	struct str text = json_type(v) == JSON_STRING ? json_str(v) : STR("");
	struct job_address address;
	struct job_list l;
	struct str item;
	int rc;

	if (text.len > 0 && memchr(text.ptr, ':', text.len) && !job_text_unfit(text)) {
		job_list_init(&l, text);
		rc = job_list_next(&l, &item);
		if (rc == JOB_LIST_GROUP) return take_group(d, text, kind);
	}
	if (json_type(v) == JSON_STRING) return take_rcpt(d, text, kind);
	return job_take_address(d, v, true, &address); /* says what it must be */
}

static int take_list(struct job_decode *d, const struct json *list, const char *member,
		     enum job_rcpt_kind kind)
{
	struct json_iter it;
	const struct json *v;

	job_point(d, member);
	if (json_type(list) != JSON_ARRAY) return job_refuse(d, ERR_INVALID, "must be an array of addresses");
	json_iter_init(&it, list);
	for (size_t i = 0; json_iter_next(&it, NULL, &v); i++) {
		int rc;

		job_point(d, member);
		job_point_index(d, i);
		rc = take_item(d, v, kind);
		if (rc < 0) return rc;
	}
	return 0;
}

/* There cannot be more of them: every member of a group but the last has a comma behind it. */
static size_t most_rcpts(const struct json *list)
{
	size_t count = json_count(list);
	const struct json *v;
	struct json_iter it;

	if (json_type(list) != JSON_ARRAY) return count;
	json_iter_init(&it, list);
	while (json_iter_next(&it, NULL, &v)) {
		struct str s = json_type(v) == JSON_STRING ? json_str(v) : STR("");

		for (size_t i = 0; i < s.len; i++)
			count += s.ptr[i] == ',';
	}
	return count;
}

int job_take_rcpts(struct job_decode *d)
{
	const struct {
		enum job_member m;
		const char *name;
		enum job_rcpt_kind kind;
	} lists[] = {
		{JOB_M_to, "to", JOB_RCPT_TO},
		{JOB_M_cc, "cc", JOB_RCPT_CC},
		{JOB_M_bcc, "bcc", JOB_RCPT_BCC},
		{JOB_M_recipients, "recipients", JOB_RCPT_TO},
	};
	const char *first = NULL;
	size_t count = 0;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (d->members[lists[i].m]) {
			count += most_rcpts(d->members[lists[i].m]);
			first = first ? first : lists[i].name;
		}
	/* a finished message may name them */
	if (!first && d->members[JOB_M_raw]) return 0;
	if (count > d->limits->recipients) count = d->limits->recipients;
	d->job->rcpts = arena_take(d->arena, count * sizeof(*d->job->rcpts));
	job_point(d, first);
	if (!d->job->rcpts) return job_refuse_memory(d);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		const struct json *list = d->members[lists[i].m];
		int rc = list ? take_list(d, list, lists[i].name, lists[i].kind) : 0;

		if (rc < 0) return rc;
	}
	job_point(d, first);
	return d->job->rcpt_count > 0 ? 0 : job_refuse(d, ERR_INVALID, "no recipient in it");
}

/* ---- attachments ---- */

/* type/subtype of RFC 2045 section 5.1, without parameters. */
static bool is_mime_type(struct str s)
{
	const char *slash = memchr(s.ptr, '/', s.len);

	if (!slash || slash == s.ptr || slash == s.ptr + s.len - 1) return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr + i == slash) continue;
		if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?=", s.ptr[i]))
			return false;
	}
	return true;
}

/* What stands between the brackets of a Content-ID (RFC 2392). */
static bool is_content_id(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || strchr("<>()\\\",;:[]", s.ptr[i])) return false;
	return s.len > 0;
}

static bool is_url(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f) return false;
	return (str_starts_nocase(s, STR("https://")) && s.len > 8) ||
	       (str_starts_nocase(s, STR("http://")) && s.len > 7);
}

static int take_member(struct job_decode *d, struct job_attachment *a, struct str key, const struct json *v)
{
	if (str_eq(key, STR("content")))
		return a->content.present ? job_refuse(d, ERR_INVALID, "given twice")
					  : job_take_base64(d, v, &a->content);
	const struct {
		struct str key;
		struct str *out;
		bool (*check)(struct str);
		const char *wanted;
		size_t max;
	} members[] = {
		{STR("filename"), &a->filename, NULL, NULL, 255},
		{STR("mime_type"), &a->mime_type, is_mime_type, "not a type like application/pdf", 127},
		{STR("content_id"), &a->content_id, is_content_id, "not an id like logo@example.com", 127},
		{STR("url"), &a->url, is_url, "not an http or https URL", 2000},
		{STR("path"), &a->path, NULL, NULL, 1000},
	};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		int rc;

		if (!str_eq(key, members[i].key)) continue;
		if (members[i].out->ptr) return job_refuse(d, ERR_INVALID, "given twice");
		rc = job_take_string(d, v, members[i].max, members[i].out);
		if (rc < 0) return rc;
		if (members[i].out->len == 0) return job_refuse(d, ERR_INVALID, "empty");
		if (members[i].check && !members[i].check(*members[i].out))
			return job_refuse(d, ERR_INVALID, "%s", members[i].wanted);
	}
	return 0;
}

static void point_attachment(struct job_decode *d, size_t index)
{
	job_point(d, "attachments");
	job_point_index(d, index);
}

static int take_attachment(struct job_decode *d, size_t index, const struct json *v, struct job_attachment *a)
{
	const struct json *member;
	struct json_iter it;
	struct str key;
	int rc;

	point_attachment(d, index);
	if (d->job->format == JOB_FORMAT_0 && json_type(v) == JSON_STRING) {
		rc = job_take_string(d, v, 1000, &a->path);
		return rc == 0 && a->path.len == 0 ? job_refuse(d, ERR_INVALID, "empty") : rc;
	}
	if (json_type(v) != JSON_OBJECT)
		return job_refuse(d, ERR_INVALID, "must be %s",
				  d->job->format == JOB_FORMAT_0 ? "a path" : "an object");
	json_iter_init(&it, v);
	while (json_iter_next(&it, &key, &member)) {
		if (json_type(member) == JSON_NULL) continue;
		point_attachment(d, index);
		job_point_key(d, key);
		rc = take_member(d, a, key, member);
		if (rc < 0) return rc;
	}
	point_attachment(d, index);
	if (!!a->url.ptr + !!a->path.ptr + a->content.present != 1)
		return job_refuse(d, ERR_INVALID, "needs one of url, path and content");
	if (a->content.present && !a->filename.ptr && !a->content_id.ptr)
		return job_refuse(d, ERR_INVALID, "needs a filename or a content_id beside content");
	return 0;
}

int job_take_attachments(struct job_decode *d)
{
	const struct json *list = d->members[JOB_M_attachments], *v;
	struct json_iter it;
	size_t count;

	if (!list) return 0;
	job_point(d, "attachments");
	if (json_type(list) != JSON_ARRAY) return job_refuse(d, ERR_INVALID, "must be an array");
	count = json_count(list);
	if (count == 0) return 0;
	if (!d->limits->attachments)
		return job_refuse(d, ERR_UNSUPPORTED, "this version cannot send attachments yet");
	if (count > JOB_ATTACHMENTS_MAX)
		return job_refuse(d, ERR_TOO_LARGE, "too many attachments: at most %d", JOB_ATTACHMENTS_MAX);
	d->job->attachments = arena_take(d->arena, count * sizeof(*d->job->attachments));
	if (!d->job->attachments) return job_refuse_memory(d);
	json_iter_init(&it, list);
	for (size_t i = 0; json_iter_next(&it, NULL, &v); i++) {
		int rc = take_attachment(d, i, v, &d->job->attachments[i]);

		if (rc < 0) return rc;
	}
	d->job->attachment_count = count;
	return 0;
}
