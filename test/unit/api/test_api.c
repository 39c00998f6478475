/* The routes, in a booted gateway: every status code, refusals, identity, lists, requeue and cancel, who may
 * ask. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_front.h"
#include "gateway_kit.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "hal_thread.h"
#include "store_kit.h"

#define JOB "\"to\":[\"user@example.com\"],\"subject\":\"s\",\"body_content\":\"x\""

/* One wanted answer: status, and a piece of the reply. */
struct want {
	const char *method, *path, *body;
	int status;
	const char *piece;
};

static void check(const struct want *w)
{
	int status = gateway_kit_http(w->method, w->path, w->body);

	if (status != w->status || !strstr(gateway_kit_reply, w->piece))
		fail_msg("%s %s %.80s: %d %s, wanted %d %s", w->method, w->path, w->body ? w->body : "",
			 status, gateway_kit_reply, w->status, w->piece);
}

static void codes(void *arg)
{
	static const struct want wants[] = {
		{"GET", "/healthz", NULL, 200, "alive"},
		{"HEAD", "/healthz", NULL, 200, ""},
		{"GET", "/readyz", NULL, 200, "ready"},
		{"GET", "/api/health", NULL, 200, "\"store\":{\"status\":\"ok\""},
		{"GET", "/api/status", NULL, 200, "\"jobs\":{\"pending\":0"},
		{"GET", "/api/rabbitmq/status", NULL, 200, "\"connection_status\":\"embedded\""},
		{"GET", "/api/rabbitmq/status", NULL, 200,
		 "\"email.send\":{\"message_count\":0,\"consumer_count\":"},
		{"GET", "/api/emails", NULL, 200, "{\"success\":true,\"items\":[],\"next\":null}"},
		{"GET", "/api/results", NULL, 200, "\"items\":[]"},
		{"GET", "/nothing", NULL, 404, "\"success\":false"},
		{"GET", "/", NULL, 404, ""},
		{"GET", "", NULL, 404, ""},
		{"GET", "/healthz/", NULL, 404, ""},
		{"GET", "/%2e%2e/etc/passwd", NULL, 404, ""},
		{"GET", "/api/emails/", NULL, 404, ""},
		{"GET", "/api/emails/x", NULL, 404, ""},
		{"GET", "/api/emails/0", NULL, 404, ""},
		{"GET", "/api/emails/1", NULL, 404, "not found"},
		{"GET", "/api/emails/999999999999999999", NULL, 404, ""},
		{"GET", "/api/emails/9999999999999999999", NULL, 404, ""},
		{"GET", "/api/emails/-1", NULL, 404, ""},
		{"POST", "/api/emails/1/requeue", NULL, 404, ""},
		{"POST", "/api/emails/1/cancel", NULL, 404, ""},
		{"POST", "/api/emails/1/explode", NULL, 404, ""},
		{"POST", "/healthz", NULL, 405, ""},
		{"DELETE", "/api/emails/1", NULL, 405, ""},
		{"PUT", "/api/emails", NULL, 405, ""},
		{"BREW", "/api/emails", NULL, 405, ""},
		{"GET", "/api/emails?state=lost", NULL, 400, "state"},
		{"GET", "/api/emails?limit=0", NULL, 400, "limit"},
		{"GET", "/api/emails?limit=-1", NULL, 400, "limit"},
		{"GET", "/api/emails?limit=1001", NULL, 400, "limit"},
		{"GET", "/api/emails?cursor=x", NULL, 400, "cursor"},
		{"GET", "/api/emails?colour=red", NULL, 400, "colour"},
		{"GET", "/api/emails?q=a&q=b", NULL, 400, "twice"},
		{"GET", "/api/emails?q=%", NULL, 400, "decode"},
		{"GET", "/api/emails?q=%4", NULL, 400, "decode"},
		{"GET", "/api/emails?q=%zz", NULL, 400, "decode"},
		{"GET", "/api/emails?q=%00", NULL, 400, "decode"},
		{"GET", "/api/emails?q=%ff", NULL, 400, "decode"},
		{"GET", "/api/emails?q=%C3%BC&state=&to=", NULL, 200, "items"},
		{"GET", "/api/results?after=x", NULL, 400, "after"},
		{"POST", "/api/emails/requeue", "{}", 400, "ids and state"},
		{"POST", "/api/emails/requeue", "nonsense", 400, ""},
		{"POST", "/api/emails/requeue", "{\"ids\":5}", 400, "ids"},
		{"POST", "/api/emails/requeue", "{\"ids\":[0]}", 400, "ids"},
		{"POST", "/api/emails/requeue", "{\"state\":\"completed\"}", 400, "failed"},
		{"POST", "/api/emails/requeue", "{\"ids\":[7]}", 200,
		 "\"refused\":[{\"id\":7,\"error\":\"not found\"}]"},
		{"POST", "/api/emails/requeue", "{\"state\":\"failed\"}", 200, "\"requeued\":0"},
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++)
		check(&wants[i]);
}

static void test_codes(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, codes, NULL, 0);
}

static void bad_jobs(void *arg)
{
	static const struct want wants[] = {
		{"POST", "/api/emails", NULL, 400, "\"pointer\":\"\""},
		{"POST", "/api/emails", "nonsense", 400, "\"pointer\":\"\""},
		{"POST", "/api/emails", "{}", 400, "\"pointer\""},
		{"POST", "/api/emails", "5", 400, "\"pointer\":\"\""},
		{"POST", "/api/emails", "[]", 400, "no job"},
		{"POST", "/api/emails", "[", 400, "not JSON"},
		{"POST", "/api/emails", "[{" JOB "}", 400, "not JSON"},
		{"POST", "/api/emails", "[{" JOB "},]", 400, ""},
		{"POST", "/api/emails", "[{" JOB "}] x", 400, "not JSON"},
		{"POST", "/api/emails", "[,]", 400, "not JSON"},
		{"POST", "/api/emails", "[{" JOB "},{\"to\":[\"bad\"],\"body_content\":\"x\"}]", 400,
		 "\"pointer\":\"/1/to/0\""},
		{"POST", "/api/emails", "{" JOB ",\"provider_id\":\"nobody\"}", 400,
		 "\"pointer\":\"/provider_id\""},
		{"POST", "/api/emails", "{" JOB ",\"headers\":{\"Bcc\":\"a@b.c\"}}", 400,
		 "\"pointer\":\"/headers/Bcc\""},
		{"GET", "/api/emails", NULL, 200, "\"items\":[]"},
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++)
		check(&wants[i]);
}

static void test_bad_jobs(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, bad_jobs, NULL, 0);
}

static void identity(void *arg)
{
	(void)arg;
	check(&(struct want){"POST", "/api/emails", "{" JOB ",\"message_id\":\"m\"}", 202,
			     "\"message_id\":\"m\",\"status\":\"p"});
	check(&(struct want){"POST", "/api/emails", "{\"message_id\":\"m\", " JOB "}", 200, "\"id\":1,"});
	check(&(struct want){"POST", "/api/emails", "{" JOB "2\",\"message_id\":\"m\"}", 400, ""});
	check(&(struct want){"POST", "/api/emails",
			     "{\"to\":[\"a@b.cd\"],\"body_content\":\"y\",\"message_id\":\"m\"}", 409,
			     "false"});
	check(&(struct want){"POST", "/api/emails", "[{" JOB ",\"message_id\":\"n\"},{" JOB "}]", 202,
			     "\"items\":[{\"id\":2,"});
	check(&(struct want){
		"POST", "/api/emails",
		"[{" JOB
		",\"message_id\":\"o\"},{\"to\":[\"a@b.cd\"],\"body_content\":\"y\",\"message_id\":\"m\"}]",
		409, "\"pointer\":\"/1\""});
	check(&(struct want){"GET", "/api/emails?q=o&to=nobody@example.com", NULL, 200, "\"items\":[]"});
	check(&(struct want){"GET", "/api/emails?limit=1", NULL, 200, "\"id\":3,"});
}

static void test_identity(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, identity, NULL, 0);
}

static char large[1100 * 1024];

static void fill_job(size_t body_bytes)
{
	size_t n = (size_t)sprintf(large, "{\"to\":[\"a@example.com\"],\"body_content\":\"");

	memset(large + n, 'x', body_bytes);
	strcpy(large + n + body_bytes, "\"}");
}

static void sizes(void *arg)
{
	static const size_t good[] = {1, 3000, 11900, 12288, 20000, 60000, 1000 * 1000};

	(void)arg;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		fill_job(good[i]);
		gateway_kit_await(gateway_kit_post(large), "completed", 60000);
	}
	fill_job(1024 * 1024);
	check(&(struct want){"POST", "/api/emails", large, 413, "larger"});
	memset(large, '[', 100000);
	large[100000] = '\0';
	check(&(struct want){"POST", "/api/emails", large, 400, "\"pointer\":\"\""});
	memset(large, ' ', 70 * 1024);
	large[70 * 1024] = '\0';
	check(&(struct want){"POST", "/api/emails/requeue", large, 413, "larger"});
}

/* count jobs of so many recipients; every fourth has no message_id. */
static void fill_array(unsigned count, unsigned rcpts, unsigned body_bytes)
{
	size_t n = (size_t)sprintf(large, "[");

	for (unsigned i = 0; i < count; i++) {
		n += (size_t)sprintf(large + n, "%s{\"subject\":\"S%u\",", i ? "," : "", i);
		if (i % 4)
			n += (size_t)sprintf(large + n, "\"message_id\":\"%u-%u-%u-%u\",", count, rcpts,
					     body_bytes, i);
		n += (size_t)sprintf(large + n, "\"to\":[");
		for (unsigned k = 0; k < rcpts; k++)
			n += (size_t)sprintf(large + n, "%s\"r%u-%u@example.com\"", k ? "," : "", i, k);
		n += (size_t)sprintf(large + n, "],\"headers\":{\"X-A\":\"b\"},\"body_content\":\"%0*u\"}",
				     (int)body_bytes, i);
		assert_true(n < sizeof(large) - 8000);
	}
	strcpy(large + n, "]");
}

/* A size is no mistake of form, wherever the memory ends: it says how to go on. */
static void arrays(void *arg)
{
	static const struct {
		unsigned count, rcpts, body_bytes;
	} good[] = {{1000, 1, 1}, {1000, 1, 800}, {1000, 3, 50}, {1000, 3, 400}, {1000, 8, 50}, {40, 10, 3}};

	(void)arg;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		fill_array(good[i].count, good[i].rcpts, good[i].body_bytes);
		check(&(struct want){"POST", "/api/emails", large, 202, "\"success\":true"});
	}
	assert_int_equal(gateway_kit_http("GET", "/api/emails?limit=2&q=S39", NULL), 200);
	assert_non_null(strstr(gateway_kit_reply, "\"message_id\":\"40-10-3-39\""));
	assert_non_null(strstr(gateway_kit_reply, "\"to\":\"r39-0@example.com, r39-1@example.com"));
	assert_non_null(strstr(gateway_kit_reply, "\"recipient_count\":10"));
	fill_array(1000, 40, 1);
	check(&(struct want){"POST", "/api/emails", large, 413, "hand in fewer jobs at a time"});
	/* Where the bound lies depends on a pointer's size; what is over it is told as a size, never as a fault. */
	for (unsigned rcpts = 20; rcpts < 40; rcpts++) {
		int status;

		fill_array(1000, rcpts, 1);
		status = gateway_kit_http("POST", "/api/emails", large);
		assert_true(status == 202 || status == 413);
	}
}

static void test_arrays(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI "[store]\nmax_bytes = 256M\n", arrays, NULL, 0);
}

static void test_sizes(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, sizes, NULL, 0);
}

static unsigned count_of(const char *piece)
{
	unsigned n = 0;

	for (const char *p = gateway_kit_reply; (p = strstr(p, piece)); p++)
		n++;
	return n;
}

static void pages(void *arg)
{
	unsigned seen = 0;
	char path[128] = "/api/emails?limit=7";

	(void)arg;
	for (unsigned i = 0; i < 6; i++) {
		size_t n = (size_t)sprintf(large, "[");

		for (unsigned k = 0; k < 50; k++)
			n += (size_t)sprintf(large + n, "%s{%s,\"message_id\":\"%u-%u\"}", k ? "," : "", JOB,
					     i, k);
		strcpy(large + n, "]");
		check(&(struct want){"POST", "/api/emails", large, 202, "items"});
	}
	for (;;) {
		const char *next;

		assert_int_equal(gateway_kit_http("GET", path, NULL), 200);
		seen += count_of("\"message_id\":");
		next = strstr(gateway_kit_reply, "\"next\":");
		if (strncmp(next + 7, "null", 4) == 0) break;
		sprintf(path, "/api/emails?limit=7&cursor=%lld", strtoll(next + 7, NULL, 10));
	}

	assert_int_equal(seen, 300);
	/* More than small memory holds: large memory is taken without anybody noticing. */
	assert_int_equal(gateway_kit_http("GET", "/api/emails?limit=1000", NULL), 200);
	assert_int_equal(count_of("\"message_id\":"), 300);
	assert_non_null(strstr(gateway_kit_reply, "\"next\":null"));
	hal_clock_sleep_until(hal_clock_in(60000));
	assert_int_equal(gateway_kit_http("GET", "/api/results?after=0&limit=1000", NULL), 200);
	assert_int_equal(count_of("\"seq\":"), 300);
	assert_int_equal(gateway_kit_http("GET", "/api/results?after=290", NULL), 200);
	assert_int_equal(count_of("\"seq\":"), 10);
	assert_int_equal(gateway_kit_http("GET", "/api/results?limit=3", NULL), 200);
	assert_non_null(strstr(gateway_kit_reply, "\"next\":3}"));
}

static void test_pages(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, pages, NULL, 0);
}

/* ---- transcripts ---- */

#define TRIES 60

/* What an earlier boot left: a job that was tried very often, with a long transcript each time; the last time did
 * not count. */
static void leave_transcripts(void *arg)
{
	struct store_config config = kit_config();
	struct store_claimed claimed;
	struct store_finish f;
	struct store *store;
	char log[STORE_LOG_MAX + 1];

	(void)arg;
	assert_int_equal(hal_storage_open("data"), 0);
	assert_int_equal(store_open(&config, &store), 0);
	assert_int_equal(kit_accept(store, "m1", "default", NULL), 0);
	for (unsigned i = 0; i <= TRIES; i++) {
		int n = sprintf(log, "C: MAIL\nS: 450 try %u \"later\"\n", i + 1);

		sprintf(log + n, "%01500d\n", 0);
		assert_int_equal(kit_claim(store, "default", &claimed), 1);
		store_finish_init(&f);
		f.id = claimed.id;
		f.counted = i < TRIES;
		f.reason = JOB_REASON_RETRY; /* a job that is held becomes due at the start */
		f.due_ms = hal_clock_wall_ms(NULL) + (i < TRIES ? 0 : 86400000);
		f.text = "450 later";
		f.log = str_from(log);
		f.started_ms = f.ended_ms = hal_clock_wall_ms(NULL);
		assert_int_equal(store_do(store, &f.op), 0);
	}
	store_close(store);
	hal_storage_close();
}

static void read_transcripts(void *arg)
{
	char piece[64];

	(void)arg;
	assert_int_equal(gateway_kit_http("GET", "/api/emails/1", NULL), 200);
	assert_int_equal(count_of("\"transcript\":"), TRIES + 1);
	for (unsigned i = 1; i <= TRIES + 1; i++) {
		sprintf(piece, "C: MAIL\\nS: 450 try %u \\\"later\\\"\\n", i);
		assert_int_equal(count_of(piece), 1);
	}
	assert_int_equal(count_of("\"counted\":false"), 1);
}

static void test_transcripts(void **state)
{
	struct sim_config config = sim_config_default(7);

	(void)state;
	assert_int_equal(sim_run(&config, leave_transcripts, NULL).end, SIM_FINISHED);
	gateway_kit_run(GATEWAY_KIT_INI, read_transcripts, NULL, 0);
}

static void cancel(void *arg)
{
	int64_t id;

	(void)arg;
	id = gateway_kit_post("{" JOB ",\"send_at\":\"2199-01-01T00:00:00Z\"}");
	assert_int_equal(id, 1);
	check(&(struct want){"POST", "/api/emails/1/cancel", NULL, 200, "\"status\":\"failed\""});
	check(&(struct want){"GET", "/api/emails/1", NULL, 200, "\"reason\":\"cancelled\""});
	check(&(struct want){"POST", "/api/emails/1/cancel", NULL, 409, ""});
	check(&(struct want){"GET", "/api/results", NULL, 200,
			     "\"error\":\"cancelled\",\"retry_count\":0,\"max_retries\":3"});
	check(&(struct want){"POST", "/api/emails/1/requeue", NULL, 200, "\"status\":\"pending\""});
	check(&(struct want){"GET", "/api/emails?state=failed", NULL, 200, "\"items\":[]"});
}

static void test_cancel(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, cancel, NULL, 0);
}

/* More refusals than the answer has room for: counted, and all is told that was done. */
static void requeue_refused(void *arg)
{
	size_t n = (size_t)sprintf(large, "{\"ids\":[");

	(void)arg;
	assert_int_equal(gateway_kit_post("{" JOB ",\"send_at\":\"2199-01-01T00:00:00Z\"}"), 1);
	check(&(struct want){"POST", "/api/emails/1/cancel", NULL, 200, "failed"});
	for (unsigned i = 0; i < 999; i++)
		n += (size_t)sprintf(large + n, "%u,", 100000000 + i);
	strcpy(large + n, "1]}");
	check(&(struct want){"POST", "/api/emails/requeue", large, 200, "\"requeued\":1"});
	assert_non_null(strstr(gateway_kit_reply, "\"refused_count\":999"));
	assert_non_null(strstr(gateway_kit_reply, "{\"id\":100000000,\"error\":\"not found\"}"));
	check(&(struct want){"GET", "/api/emails?state=failed", NULL, 200, "\"items\":[]"});
}

static void test_requeue_refused(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, requeue_refused, NULL, 0);
}

static void post_failed(unsigned count)
{
	size_t n = (size_t)sprintf(large, "[");
	char path[64];

	for (unsigned k = 0; k < count; k++)
		n += (size_t)sprintf(large + n, "%s{%s,\"send_at\":\"2199-01-01T00:00:00Z\"}", k ? "," : "",
				     JOB);
	strcpy(large + n, "]");
	check(&(struct want){"POST", "/api/emails", large, 202, "items"});
	for (unsigned k = 1; k <= count; k++) {
		sprintf(path, "/api/emails/%u/cancel", k);
		assert_int_equal(gateway_kit_http("POST", path, NULL), 200);
	}
}

static void requeue_pieces(void *arg)
{
	(void)arg;
	post_failed(250);
	check(&(struct want){"POST", "/api/emails/requeue", "{\"state\":\"failed\",\"limit\":120}", 200,
			     "\"requeued\":120,\"next\":120}"});
	check(&(struct want){"POST", "/api/emails/requeue",
			     "{\"state\":\"failed\",\"limit\":120,\"after\":120}", 200,
			     "\"requeued\":120,\"next\":240}"});
	check(&(struct want){"POST", "/api/emails/requeue", "{\"state\":\"failed\",\"after\":240}", 200,
			     "\"requeued\":10,\"next\":null}"});
	check(&(struct want){"POST", "/api/emails/requeue", "{\"state\":\"failed\",\"limit\":0}", 400,
			     "limit"});
	check(&(struct want){"POST", "/api/emails/requeue", "{\"state\":\"failed\",\"after\":-1}", 400,
			     "after"});
	check(&(struct want){"POST", "/api/emails/requeue", "{\"ids\":[1],\"limit\":1}", 400, "limit"});
}

static void test_requeue_pieces(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, requeue_pieces, NULL, 0);
}

static char requeue_reply[1000];

static void requeue_all(void *arg)
{
	struct sim_http_request q = {.method = "POST",
				     .path = "/api/emails/requeue",
				     .body = "{\"state\":\"failed\"}",
				     .body_len = strlen("{\"state\":\"failed\"}")};

	(void)arg;
	assert_int_equal(sim_http_full(&q, requeue_reply, sizeof(requeue_reply)), 200);
}

/* A stop does not wait until all are requeued: the answer says how far it came. */
static void requeue_stops(void *arg)
{
	struct hal_thread thread;

	(void)arg;
	post_failed(1000);
	assert_int_equal(hal_thread_start(&thread, "client", 64 * 1024, requeue_all, NULL), 0);
	do
		assert_int_equal(gateway_kit_http("GET", "/api/emails/1", NULL), 200);
	while (strstr(gateway_kit_reply, "\"state\":\"failed\""));
	api_stopping();
	hal_thread_join(&thread);
	assert_non_null(strstr(requeue_reply, "\"next\":"));
	assert_null(strstr(requeue_reply, "\"next\":null"));
}

static void test_requeue_stops(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, requeue_stops, NULL, 0);
}

static int ask(int peer, const char *method, const char *path, const char *host, const char *origin,
	       const char *site)
{
	struct sim_http_request q = {.method = method,
				     .path = path,
				     .host = host,
				     .origin = origin,
				     .fetch_site = site,
				     .body = "{" JOB "}",
				     .body_len = sizeof("{" JOB "}") - 1,
				     .peer = peer};

	if (strcmp(method, "GET") == 0) q.body_len = 0;
	return sim_http_full(&q, gateway_kit_reply, sizeof(gateway_kit_reply));
}

static void peers(void *arg)
{
	static const struct {
		const char *host, *origin, *site;
		int status;
	} tcp[] = {
		{"127.0.0.1:8000", NULL, NULL, 202},
		{"localhost", NULL, NULL, 202},
		{"LOCALHOST:8000", NULL, NULL, 202},
		{"[::1]:8000", NULL, NULL, 202},
		{"127.9.9.9", NULL, NULL, 202},
		{NULL, NULL, NULL, 202},
		{"127.0.0.1:8000", "http://127.0.0.1:8000", "same-origin", 202},
		{"127.0.0.1:8000", NULL, "none", 202},
		{"evil.example", NULL, NULL, 403},
		{"localhost.evil.example", NULL, NULL, 403},
		{"127.0.0.1.evil.example:8000", NULL, NULL, 403},
		{"192.0.2.1", NULL, NULL, 403},
		{"[::1", NULL, NULL, 403},
		{"[::1]x", NULL, NULL, 403},
		{"[127.0.0.1]", NULL, NULL, 403},
		{"[", NULL, NULL, 403},
		{":80", NULL, NULL, 403},
		{"localhost:80@evil.example", NULL, NULL, 403},
		{"[::1]:80@evil.example", NULL, NULL, 403},
		{"localhost:", NULL, NULL, 403},
		{"localhost:65536", NULL, NULL, 403},
		{"", NULL, NULL, 403},
		{"127.0.0.1:8000", "https://evil.example", NULL, 403},
		{"127.0.0.1:8000", "null", NULL, 403},
		{"127.0.0.1:8000", "http://127.0.0.1:9999", NULL, 403},
		{"127.0.0.1:8000", NULL, "cross-site", 403},
		{"127.0.0.1:8000", NULL, "same-site", 403},
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(tcp) / sizeof(tcp[0]); i++)
		if (ask(API_PEER_TCP, "POST", "/api/emails", tcp[i].host, tcp[i].origin, tcp[i].site) !=
		    tcp[i].status)
			fail_msg("case %zu: %s", i, gateway_kit_reply);
	assert_int_equal(ask(API_PEER_SUBMIT, "POST", "/api/emails", NULL, NULL, NULL), 202);
	assert_int_equal(ask(API_PEER_SUBMIT, "GET", "/healthz", NULL, NULL, NULL), 200);
	assert_int_equal(ask(API_PEER_SUBMIT, "GET", "/api/emails", NULL, NULL, NULL), 403);
	assert_int_equal(ask(API_PEER_SUBMIT, "GET", "/api/emails/1", NULL, NULL, NULL), 403);
	assert_int_equal(ask(API_PEER_SUBMIT, "POST", "/api/emails/1/cancel", NULL, NULL, NULL), 403);
	assert_int_equal(ask(API_PEER_SOCKET, "GET", "/api/emails", "evil.example", NULL, NULL), 200);
}

static void test_peers(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, peers, NULL, 0);
}

static void types(void *arg)
{
	static const struct {
		const char *type;
		int status;
	} cases[] = {{"application/json", 202},
		     {"application/json; charset=utf-8", 202},
		     {"APPLICATION/JSON", 202},
		     {"application/x-www-form-urlencoded", 202},
		     {"application/vnd.x+json", 202},
		     {"message/rfc822", 400},
		     {"text/plain", 415},
		     {"multipart/form-data; boundary=x", 415}};

	(void)arg;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sim_http_request q = {.method = "POST",
					     .path = "/api/emails",
					     .content_type = cases[i].type,
					     .body = "{" JOB "}",
					     .body_len = sizeof("{" JOB "}") - 1};

		assert_int_equal(sim_http_full(&q, gateway_kit_reply, sizeof(gateway_kit_reply)),
				 cases[i].status);
	}
	struct sim_http_request q = {.method = "DELETE", .path = "/api/emails"};

	assert_int_equal(sim_http_full(&q, gateway_kit_reply, sizeof(gateway_kit_reply)), 405);
	assert_string_equal(q.allow, "GET, HEAD, POST");
}

static void test_types(void **state)
{
	(void)state;
	gateway_kit_run(GATEWAY_KIT_INI, types, NULL, 0);
}

/* A store that has no room: 507 now, and 202 for what was known before. */
static void full(void *arg)
{
	unsigned accepted = 0;
	int status;

	(void)arg;
	fill_job(200 * 1000);
	while ((status = gateway_kit_http("POST", "/api/emails", large)) == 202)
		assert_true(++accepted < 1000);
	assert_int_equal(status, 507);
	assert_true(accepted > 0);
	assert_int_equal(gateway_kit_http("GET", "/healthz", NULL), 200);
	assert_int_equal(gateway_kit_http("GET", "/readyz", NULL), 503);
}

static void test_full(void **state)
{
	(void)state;
	gateway_kit_run("[store]\nmax_bytes = 4M\nreserve_bytes = 256K\n" GATEWAY_KIT_INI, full, NULL, 0);
}

static int setup(void **state)
{
	(void)state;
	sim_reset();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_codes, setup),
		cmocka_unit_test_setup(test_bad_jobs, setup),
		cmocka_unit_test_setup(test_identity, setup),
		cmocka_unit_test_setup(test_arrays, setup),
		cmocka_unit_test_setup(test_sizes, setup),
		cmocka_unit_test_setup(test_pages, setup),
		cmocka_unit_test_setup(test_transcripts, setup),
		cmocka_unit_test_setup(test_cancel, setup),
		cmocka_unit_test_setup(test_peers, setup),
		cmocka_unit_test_setup(test_types, setup),
		cmocka_unit_test_setup(test_full, setup),
		cmocka_unit_test_setup(test_requeue_refused, setup),
		cmocka_unit_test_setup(test_requeue_pieces, setup),
		cmocka_unit_test_setup(test_requeue_stops, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
