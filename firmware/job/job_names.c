#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "job/job.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const states[JOB_STATE_COUNT] = {
	[JOB_PENDING] = "pending",
	[JOB_PROCESSING] = "processing",
	[JOB_COMPLETED] = "completed",
	[JOB_FAILED] = "failed",
};

static const char *const reasons[] = {
	[JOB_REASON_NONE] = "",
	[JOB_REASON_HELD] = "held",
	[JOB_REASON_RETRY] = "retry",
	[JOB_REASON_UNCERTAIN] = "uncertain",
	[JOB_REASON_REFUSED] = "refused",
	[JOB_REASON_RETRIES] = "retries",
	[JOB_REASON_CANCELLED] = "cancelled",
	[JOB_REASON_EXPIRED] = "expired",
	[JOB_REASON_BAD] = "bad",
};

static const char *const priorities[JOB_PRIORITY_COUNT] = {
	[JOB_PRIORITY_HIGH] = "high",
	[JOB_PRIORITY_NORMAL] = "normal",
	[JOB_PRIORITY_LOW] = "low",
};

const char *job_state_name(enum job_state s)
{
	CHECK((unsigned)s < COUNT(states));
	return states[s];
}

int job_state_parse(struct str s, enum job_state *out)
{
	for (unsigned i = 0; i < COUNT(states); i++)
		if (str_eq(s, str_from(states[i]))) {
			*out = (enum job_state)i;
			return 0;
		}
	return ERR_INVALID;
}

const char *job_reason_name(enum job_reason r)
{
	CHECK((unsigned)r < COUNT(reasons));
	return reasons[r];
}

const char *job_priority_name(enum job_priority p)
{
	CHECK((unsigned)p < COUNT(priorities));
	return priorities[p];
}

#define ID_HASH_BYTES 10
#define ID_PART_MAX   48
#define ID_DOMAIN_MAX 180 /* with the rest below 255 */

/* Readable for people who look for an id in a server's log; unique by the hash. */
static void add_id_part(struct buf *b, struct str id)
{
	for (size_t i = 0; i < id.len && i < ID_PART_MAX; i++) {
		char c = id.ptr[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			     c == '_';

		buf_add(b, plain ? &c : "-", 1);
	}
}

/* The part of a very long domain that its owner still owns: without its first labels. */
static struct str shorten(struct str domain)
{
	while (domain.len > ID_DOMAIN_MAX) {
		const char *dot = memchr(domain.ptr, '.', domain.len);

		if (!dot) return STR("localhost");
		domain.len -= (size_t)(dot + 1 - domain.ptr);
		domain.ptr = dot + 1;
	}
	return domain;
}

void job_message_id(struct buf *b, struct str tenant_id, struct str message_id, struct str from_domain)
{
	unsigned char hash[DIGEST_SHA256_BYTES];
	struct digest d;

	digest_init(&d);
	digest_add_field(&d, tenant_id);
	digest_add_field(&d, message_id);
	digest_finish(&d, hash);
	digest_hex(b, hash, ID_HASH_BYTES);
	if (message_id.len > 0) buf_puts(b, ".");
	add_id_part(b, message_id);
	buf_puts(b, "@");
	buf_str(b, from_domain.len > 0 ? shorten(from_domain) : STR("localhost"));
}
