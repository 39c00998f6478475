/* provider/outcome: what the end of an attempt means for the job and for the provider (CONTRACT "jobs
 * out"). Pure.
 *
 * Two steps. outcome_fault says of one verdict whose fault it is, which is where [retry] hold comes in.
 * outcome_decide looks at all recipients of the job together and says what the store is told.
 */
#ifndef POSTERN_PROVIDER_OUTCOME_H
#define POSTERN_PROVIDER_OUTCOME_H

#include "job/job.h"
#include "provider/breaker.h"
#include "provider/retry.h"
#include "smtp/smtp.h"

/* When only the reply timed out the server may still be at it: so long no second copy is sent. */
#define OUTCOME_UNCERTAIN_MS (10 * 60 * 1000)
/* What this device itself could not do now (its storage) is tried again after this. */
#define OUTCOME_LOCAL_MS 10000

enum outcome_fault {
	OUTCOME_SENT,
	OUTCOME_AGAIN,       /* nobody's: goes out at once, in another mail or over another connection */
	OUTCOME_TRY,         /* the mail's: counts */
	OUTCOME_FAIL,        /* the mail's, for good */
	OUTCOME_UNCERTAIN,   /* the connection was lost behind the final dot: counts */
	OUTCOME_LATE,        /* likewise, but the reply timed out: counts, and waits long */
	OUTCOME_HELD_LINK,   /* no link, route or name service: counts nothing */
	OUTCOME_HELD_DOWN,   /* the provider's: counts nothing */
	OUTCOME_HELD_AUTH,   /* likewise: it does not know us */
	OUTCOME_HELD_LOCAL,  /* ours: the storage */
	OUTCOME_STOPPED,     /* ours: we are stopping; nothing went out */
	OUTCOME_STOPPED_LATE /* likewise, but the final dot had gone out */
};

/* err and cls are of a verdict of smtp (or of maildir, in the same terms). link_up: as hal_link says. */
enum outcome_fault outcome_fault(enum smtp_class cls, int err, enum retry_hold hold, bool link_up);

/* What one verdict says about the provider. code: of the reply, 0 without one. */
enum breaker_event outcome_breaker(enum outcome_fault fault, int code);

/* All recipients of a job after an attempt, counted by what became of them. */
struct outcome_tally {
	size_t sent;    /* in this attempt or before */
	size_t failed;  /* likewise */
	size_t waiting; /* none of the two; the flags below are about these */
	bool changed;   /* something became sent or failed in this attempt */
	bool counts;    /* a TRY, UNCERTAIN or LATE */
	bool uncertain; /* an UNCERTAIN, LATE or STOPPED_LATE */
	bool late;      /* a LATE or STOPPED_LATE */
	bool local;     /* a HELD_LOCAL */
	bool again;     /* an AGAIN */
	bool stopped;   /* a STOPPED or STOPPED_LATE */
};

/* Adds one recipient that took part in the attempt. */
void outcome_count(struct outcome_tally *t, enum outcome_fault fault);

struct outcome_in {
	const struct retry_policy *policy;
	struct outcome_tally tally;
	unsigned retry_count; /* of the claim: retries made, this attempt among them if it is one */
	bool bad;             /* what failed could not be composed */
	bool told;            /* this hold of the job was published already */
	int64_t now_ms;       /* wall */
	int64_t hold_ms;      /* how long the breaker stays open from now */
	uint32_t random;
};

struct outcome {
	bool release; /* give the claim back and write nothing; the rest is then unset */
	bool shared;  /* some recipients were settled, and the others go at once, in another mail */
	enum job_state state;
	enum job_reason reason;
	bool counted;
	bool publish;
	enum job_result_kind kind;
	unsigned retry_count;  /* for the store: the number that the next attempt bears */
	unsigned retries_made; /* for the event */
	int64_t due_ms;        /* wall; 0: never again */
	bool fail_waiting;     /* the recipients that wait have failed: the retries are used up */
};

void outcome_decide(const struct outcome_in *in, struct outcome *out);

#endif
