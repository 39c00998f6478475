/* The digest that tells whether two submissions are the same job. */
#include <string.h>

#include "job/job_internal.h"

static void add_number(struct digest *d, int64_t n)
{
	unsigned char bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
	digest_add(d, bytes, sizeof(bytes));
}

/* Absent and empty are different. */
static void add_str(struct digest *d, struct str s)
{
	add_number(d, s.ptr != NULL);
	digest_add_field(d, s);
}

static void add_text(struct digest *d, const struct job_text *t)
{
	add_number(d, t->present);
	digest_add_field(d, t->utf8);
}

static void add_address(struct digest *d, const struct job_address *a)
{
	add_str(d, a->name);
	add_str(d, a->addr);
}

/* The sum of the members' digests: their order does not matter. */
struct sum {
	unsigned char bytes[DIGEST_SHA256_BYTES];
};

static void sum_add(struct sum *s, struct digest *d)
{
	unsigned char more[DIGEST_SHA256_BYTES];
	unsigned carry = 0;

	digest_finish(d, more);
	for (size_t i = 0; i < sizeof(more); i++) {
		carry += (unsigned)s->bytes[i] + more[i];
		s->bytes[i] = (unsigned char)carry;
		carry >>= 8;
	}
}

static void add_json(struct digest *d, const struct json *v);

static void add_object(struct digest *d, const struct json *v)
{
	struct json_iter it;
	const struct json *member;
	struct sum sum = {{0}};
	struct digest one;
	struct str key;

	json_iter_init(&it, v);
	while (json_iter_next(&it, &key, &member)) {
		digest_init(&one);
		digest_add_field(&one, key);
		add_json(&one, member); /* at most JSON_DEPTH_MAX deep */
		sum_add(&sum, &one);
	}
	digest_add(d, sum.bytes, sizeof(sum.bytes));
}

static void add_scalar(struct digest *d, const struct json *v)
{
	char bytes[512];
	struct buf b;

	buf_init(&b, bytes, sizeof(bytes));
	json_write(&b, v);
	digest_add_field(d, buf_view(&b));
}

static void add_json(struct digest *d, const struct json *v)
{
	struct json_iter it;
	const struct json *item;

	add_number(d, json_type(v));
	switch (json_type(v)) {
	case JSON_OBJECT:
		add_number(d, (int64_t)json_count(v));
		add_object(d, v);
		break;
	case JSON_ARRAY:
		add_number(d, (int64_t)json_count(v));
		json_iter_init(&it, v);
		while (json_iter_next(&it, NULL, &item))
			add_json(d, item);
		break;
	case JSON_STRING: digest_add_field(d, json_str(v)); break;
	default: add_scalar(d, v);
	}
}

static void add_headers(struct digest *d, const struct job *job)
{
	struct sum sum = {{0}};
	struct digest one;
	int64_t repeated = 0;

	for (size_t i = 0; i < job->header_count; i++) {
		const struct job_header *h = &job->headers[i];

		/* Several values of one name lie behind one another, and their order matters. */
		repeated = i > 0 && str_eq(h[-1].name, h->name) ? repeated + 1 : 0;
		digest_init(&one);
		digest_add_field(&one, h->name);
		add_number(&one, repeated);
		digest_add_field(&one, h->value);
		sum_add(&sum, &one);
	}
	add_number(d, (int64_t)job->header_count);
	digest_add(d, sum.bytes, sizeof(sum.bytes));
}

static void add_attachments(struct digest *d, const struct job *job)
{
	add_number(d, (int64_t)job->attachment_count);
	for (size_t i = 0; i < job->attachment_count; i++) {
		const struct job_attachment *a = &job->attachments[i];

		add_str(d, a->filename);
		add_str(d, a->mime_type);
		add_str(d, a->content_id);
		add_str(d, a->url);
		add_str(d, a->path);
		add_text(d, &a->content);
	}
}

static void add_rcpts(struct digest *d, const struct job *job)
{
	add_number(d, (int64_t)job->rcpt_count);
	for (size_t i = 0; i < job->rcpt_count; i++) {
		add_number(d, job->rcpts[i].kind);
		add_address(d, &job->rcpts[i].address);
	}
}

/* Jobs without groups have the digest that they had before there were any. */
static void add_groups(struct digest *d, const struct job *job)
{
	if (job->group_count > 0) add_number(d, (int64_t)job->group_count);
	for (size_t i = 0; i < job->group_count; i++) {
		const struct job_group *g = &job->groups[i];

		add_number(d, g->kind);
		add_str(d, g->name);
		add_number(d, (int64_t)g->first);
		add_number(d, (int64_t)g->count);
	}
}

void job_digest(struct job *job, const struct json *context)
{
	const struct str labels[] = {
		job->tenant_id,   job->provider_id,      job->user_id,       job->message_id,
		job->template_id, job->template_path,    job->campaign_id,   job->email_type,
		job->source_app,  job->related_model_id, job->envelope_from, job->subject,
	};
	struct digest d;

	digest_init(&d);
	add_number(&d, job->format);
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		add_str(&d, labels[i]);
	add_address(&d, &job->from);
	add_address(&d, &job->reply_to);
	add_rcpts(&d, job);
	add_groups(&d, job);
	add_headers(&d, job);
	add_text(&d, &job->text);
	add_text(&d, &job->html);
	add_text(&d, &job->raw);
	add_number(&d, job->context.ptr != NULL);
	if (job->context.ptr) add_json(&d, context);
	add_attachments(&d, job);
	add_number(&d, job->priority);
	add_number(&d, job->send_at_ms);
	add_number(&d, job->expires_at_ms);
	digest_finish(&d, job->digest);
}
