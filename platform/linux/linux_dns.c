/* getaddrinfo cannot be interrupted, so each question has a short-lived thread of its own. Whoever asks
 * waits for it until his deadline and then goes; the thread finds out when it comes back. A new thread
 * has new resolver state in glibc, and musl has none: either way resolv.conf is read as it is now. */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "common/common.h"
#include "hal_clock.h"
#include "hal_dns.h"
#include "hal_thread.h"
#include "linux/linux.h"

/* Questions at a time, those included whose asker has gone: a resolver that hangs holds them for some
 * seconds. */
#define QUESTIONS_MAX 8
#define STACK_BYTES   (256u << 10) /* glibc's resolver lives on the stack */

enum question_state { QUESTION_FREE, QUESTION_ASKED, QUESTION_ANSWERED };

struct question {
	enum question_state state;
	bool deserted;
	char host[256];
	struct hal_dns_answer answer;
	int result; /* 0, or an error */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_cond_t changed; /* a question was answered or became free */
static struct question questions[QUESTIONS_MAX];

static void cond_make(void)
{
	linux_cond_init(&changed);
}

static int err_of(int eai)
{
	switch (eai) {
	case EAI_NONAME:
#if defined(EAI_NODATA) && EAI_NODATA != EAI_NONAME
	case EAI_NODATA:
#endif
		return ERR_DNS_NO_NAME;
	case EAI_MEMORY: return ERR_NO_MEMORY;
	default: return ERR_DNS;
	}
}

static int answer_from(const struct addrinfo *list, struct hal_dns_answer *out)
{
	memset(out, 0, sizeof *out);
	for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
		struct hal_addr o = {.family = HAL_FAMILY_NONE};

		if (a->ai_family == AF_INET) {
			const struct sockaddr_in *ip4 = (const void *)a->ai_addr;
			o.family = HAL_FAMILY_IP4;
			memcpy(o.bytes, &ip4->sin_addr, 4);
		} else if (a->ai_family == AF_INET6) {
			const struct sockaddr_in6 *ip6 = (const void *)a->ai_addr;
			o.family = HAL_FAMILY_IP6;
			o.scope = ip6->sin6_scope_id;
			memcpy(o.bytes, &ip6->sin6_addr, 16);
		}
		if (o.family != HAL_FAMILY_NONE) common_dns_add(out, &o);
	}
	return out->count > 0 ? 0 : ERR_DNS_NO_NAME;
}

static void *resolver_main(void *arg)
{
	struct question *q = arg;
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	struct hal_dns_answer answer;

	/* host is not changed while the question is asked. */
	int rc = getaddrinfo(q->host, NULL, &hints, &list);
	int result = rc == 0 ? answer_from(list, &answer) : err_of(rc);
	if (rc == 0) freeaddrinfo(list);

	pthread_mutex_lock(&mutex);
	if (result == 0) q->answer = answer;
	q->result = result;
	q->state = q->deserted ? QUESTION_FREE : QUESTION_ANSWERED;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static int resolver_start(struct question *q)
{
	pthread_attr_t attr;
	pthread_t t;

	if (pthread_attr_init(&attr) != 0) return ERR_NO_MEMORY;
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int rc = pthread_create(&t, &attr, resolver_main, q);
	pthread_attr_destroy(&attr);
	return rc == 0 ? 0 : ERR_NO_MEMORY;
}

void linux_dns_wake(void)
{
	pthread_once(&once, cond_make);
	pthread_mutex_lock(&mutex);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

/* Waits for a change. Under the mutex. */
static int changed_wait(const struct hal_cancel *cancel, int64_t deadline_ms)
{
	if (cancel != NULL && hal_cancel_is_set(cancel)) return ERR_STOPPING;
	int rc = linux_cond_wait(&changed, &mutex, deadline_ms);
	return cancel != NULL && hal_cancel_is_set(cancel) ? ERR_STOPPING : rc;
}

/* A free place. Under the mutex. */
static int question_take(struct question **out, const struct hal_cancel *cancel, int64_t deadline_ms)
{
	for (;;) {
		for (size_t i = 0; i < QUESTIONS_MAX; i++) {
			*out = &questions[i];
			if (questions[i].state == QUESTION_FREE) return 0;
		}
		int rc = changed_wait(cancel, deadline_ms);
		if (rc < 0) return rc;
	}
}

/* Under the mutex. */
static int question_ask(struct question *q, const char *host, struct hal_dns_answer *out,
			const struct hal_cancel *cancel, int64_t deadline_ms)
{
	int rc = 0;

	q->deserted = false;
	snprintf(q->host, sizeof q->host, "%s", host);
	q->state = QUESTION_ASKED;
	if (resolver_start(q) < 0) {
		q->state = QUESTION_FREE;
		return ERR_NO_MEMORY;
	}
	while (q->state == QUESTION_ASKED && rc == 0)
		rc = changed_wait(cancel, deadline_ms);
	if (q->state == QUESTION_ASKED) {
		q->deserted = true;
		return rc;
	}
	if (q->result == 0) *out = q->answer;
	q->state = QUESTION_FREE;
	pthread_cond_broadcast(&changed);
	return q->result;
}

int hal_dns_resolve(const char *host, uint16_t port, struct hal_dns_answer *out, struct hal_cancel *cancel,
		    int64_t deadline_ms)
{
	struct question *q;
	int rc = common_dns_local(host, port, out);

	if (rc != 0) return rc < 0 ? rc : 0;
	if (cancel != NULL && hal_cancel_is_set(cancel)) return ERR_STOPPING;
	pthread_once(&once, cond_make);
	pthread_mutex_lock(&mutex);
	rc = question_take(&q, cancel, deadline_ms);
	if (rc == 0) rc = question_ask(q, host, out, cancel, deadline_ms);
	pthread_mutex_unlock(&mutex);
	for (unsigned i = 0; rc == 0 && i < out->count; i++)
		out->addrs[i].port = port;
	return rc;
}
