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

#define ID_PART_MAX 64
#define ID_HASH_BYTES 10
#define ID_MAX 250

/* Readable for people who look for an id in a server's log; unique by the hash. */
static void add_id_part(struct buf *b, struct str id, size_t max)
{
	for (size_t i = 0; i < id.len && i < max; i++) {
		char c = id.ptr[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			     c == '_';

		buf_add(b, plain ? &c : "-", 1);
	}
}

void job_message_id(struct buf *b, struct str tenant_id, struct str message_id, struct str from_domain)
{
	struct str domain = from_domain.len > 0 ? from_domain : STR("localhost");
	unsigned char hash[DIGEST_SHA256_BYTES];
	size_t taken = 2 * ID_HASH_BYTES + 2 + domain.len;
	struct digest d;

	digest_init(&d);
	digest_add_field(&d, tenant_id);
	digest_add_field(&d, message_id);
	digest_finish(&d, hash);
	digest_hex(b, hash, ID_HASH_BYTES);
	if (message_id.len > 0 && taken < ID_MAX) {
		buf_puts(b, ".");
		add_id_part(b, message_id, taken + ID_PART_MAX <= ID_MAX ? ID_PART_MAX : ID_MAX - taken);
	}
	buf_puts(b, "@");
	buf_str(b, domain);
}
