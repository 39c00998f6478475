/* The copy of a job that a worker keeps while it streams the long texts from the store. */
#include <stdalign.h>
#include <string.h>

#include "base/err.h"
#include "job/job_internal.h"

struct copy {
	struct arena *arena; /* NULL: only counts */
	size_t bytes;
	bool full;
};

static void copy_str(struct copy *c, struct str *s)
{
	if (!s->ptr) return;
	c->bytes += s->len + 1;
	if (!c->arena) return;
	*s = arena_str(c->arena, *s);
	if (!s->ptr) c->full = true;
}

static void *copy_array(struct copy *c, const void *items, size_t count, size_t item_bytes)
{
	void *to;

	if (count == 0) return NULL;
	c->bytes += count * item_bytes + alignof(max_align_t);
	if (!c->arena) return (void *)(uintptr_t)items;
	to = arena_take(c->arena, count * item_bytes);
	if (to)
		memcpy(to, items, count * item_bytes);
	else
		c->full = true;
	return to;
}

static void copy_address(struct copy *c, struct job_address *a)
{
	size_t domain_at = a->domain.ptr ? a->addr.len - a->domain.len : 0;

	copy_str(c, &a->text);
	copy_str(c, &a->name);
	copy_str(c, &a->addr);
	if (a->domain.ptr && a->addr.ptr) a->domain.ptr = a->addr.ptr + domain_at;
}

/* The elements of the arrays are changed only when they are copies: `counting` works on a copy of each. */
static void copy_rcpts(struct copy *c, struct job *j)
{
	j->rcpts = copy_array(c, j->rcpts, j->rcpt_count, sizeof(*j->rcpts));
	for (size_t i = 0; j->rcpts && i < j->rcpt_count; i++) {
		struct job_address a = j->rcpts[i].address;

		copy_address(c, &a);
		if (c->arena) j->rcpts[i].address = a;
	}
}

static void copy_groups(struct copy *c, struct job *j)
{
	j->groups = copy_array(c, j->groups, j->group_count, sizeof(*j->groups));
	for (size_t i = 0; j->groups && i < j->group_count; i++) {
		struct str name = j->groups[i].name;

		copy_str(c, &name);
		if (c->arena) j->groups[i].name = name;
	}
}

static void copy_headers(struct copy *c, struct job *j)
{
	j->headers = copy_array(c, j->headers, j->header_count, sizeof(*j->headers));
	for (size_t i = 0; j->headers && i < j->header_count; i++) {
		struct job_header h = j->headers[i];

		copy_str(c, &h.name);
		copy_str(c, &h.value);
		if (c->arena) j->headers[i] = h;
	}
}

static void copy_attachments(struct copy *c, struct job *j)
{
	j->attachments = copy_array(c, j->attachments, j->attachment_count, sizeof(*j->attachments));
	for (size_t i = 0; j->attachments && i < j->attachment_count; i++) {
		struct job_attachment a = j->attachments[i];

		copy_str(c, &a.filename);
		copy_str(c, &a.mime_type);
		copy_str(c, &a.content_id);
		copy_str(c, &a.url);
		copy_str(c, &a.path);
		a.content.utf8.ptr = NULL;
		if (c->arena) j->attachments[i] = a;
	}
}

static void copy_job(struct copy *c, struct job *j)
{
	struct str *const labels[] = {
		&j->tenant_id,   &j->provider_id,      &j->user_id,       &j->message_id,    &j->template_id,
		&j->campaign_id, &j->email_type,       &j->source_app,    &j->template_path, &j->subject,
		&j->context,     &j->related_model_id, &j->envelope_from,
	};

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		copy_str(c, labels[i]);
	copy_address(c, &j->from);
	copy_address(c, &j->reply_to);
	copy_rcpts(c, j);
	copy_groups(c, j);
	copy_headers(c, j);
	copy_attachments(c, j);
	j->text.utf8.ptr = j->html.utf8.ptr = j->raw.utf8.ptr = NULL;
}

size_t job_envelope_bytes(const struct job *job)
{
	struct copy c = {0};
	struct job j = *job;

	copy_job(&c, &j);
	return c.bytes;
}

int job_copy_envelope(struct arena *a, const struct job *from, struct job *to)
{
	struct copy c = {.arena = a};

	*to = *from;
	copy_job(&c, to);
	return c.full ? ERR_TOO_LARGE : 0;
}
