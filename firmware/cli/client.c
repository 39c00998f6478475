/* The gateway's socket: one HTTP/1.1 request, one reply, one connection. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cli/room.h"
#include "hal_clock.h"
#include "hal_local.h"
#include "hal_process.h"

#define TIMEOUT_MS 60000
#define REPLY_MAX  (1024 * 1024)

/* Taken at the first request. */
static char *reply_memory;
static unsigned char *json_memory;
#define JSON_BYTES (4 * (size_t)REPLY_MAX)

static int send_all(struct hal_stream *s, const char *bytes, size_t len, int64_t deadline)
{
	while (len > 0) {
		int n = hal_stream_send(s, bytes, len, deadline);

		if (n < 0) return n;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* All until the gateway closes. A longer reply is ERR_TOO_LARGE. */
static int recv_all(struct hal_stream *s, size_t *len, int64_t deadline)
{
	*len = 0;
	for (;;) {
		int n;

		if (*len == REPLY_MAX) return ERR_TOO_LARGE;
		n = hal_stream_recv(s, reply_memory + *len, REPLY_MAX - *len, deadline);
		if (n == ERR_CLOSED) return 0;
		if (n < 0) return n;
		*len += (size_t)n;
	}
}

/* Head and body of what came. The gateway always sends Content-Length; a shorter body was cut on its way. */
static int split_reply(size_t len, struct cli_reply *reply)
{
	char *end, *field;
	unsigned long long body = 0;

	if (len == 0) return ERR_CLOSED;
	reply_memory[len] = '\0';
	end = strstr(reply_memory, "\r\n\r\n");
	if (!end || sscanf(reply_memory, "HTTP/1.1 %d", &reply->status) != 1) return ERR_PROTOCOL;
	*end = '\0';
	field = strcasestr(reply_memory, "\r\nContent-Length:");
	if (!field || sscanf(field + 17, "%llu", &body) != 1) return ERR_PROTOCOL;
	reply->text = end + 4;
	reply->len = len - (size_t)(reply->text - reply_memory);
	return reply->len == body ? 0 : ERR_CLOSED;
}

static int connect_any(struct cli *c, struct hal_socket *s, bool submit, int64_t deadline)
{
	int rc = hal_local_connect(s, c->settings->api.socket, deadline);

	if ((rc == ERR_DENIED || rc == ERR_NO_GATEWAY) && submit)
		if (hal_local_connect(s, c->settings->api.submit_socket, deadline) == 0) rc = 0;
	return rc;
}

static int exchange(struct hal_stream *s, const char *method, const char *path, struct str body,
		    struct cli_reply *reply, int64_t deadline)
{
	char head[1024];
	struct buf b;
	size_t len;
	int rc;

	buf_init(&b, head, sizeof(head));
	buf_printf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path);
	if (body.ptr) buf_printf(&b, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
	buf_puts(&b, "\r\n");
	if (b.cut) return ERR_TOO_LARGE;
	rc = send_all(s, b.ptr, b.len, deadline);
	if (rc == 0 && body.len > 0) rc = send_all(s, body.ptr, body.len, deadline);
	/* A gateway that refuses early may close before all was sent: its answer is there nevertheless. */
	if (rc < 0 && rc != ERR_RESET && rc != ERR_CLOSED) return rc;
	rc = recv_all(s, &len, deadline);
	return rc < 0 ? rc : split_reply(len, reply);
}

static int parse_reply(struct cli_reply *reply)
{
	struct json_error error;
	struct arena a;

	arena_init(&a, json_memory, JSON_BYTES);
	return json_parse(&a, reply->text, reply->len, &reply->json, &error);
}

int cli_ask(struct cli *c, const char *method, const char *path, struct str body, bool submit, bool parse,
	    struct cli_reply *reply)
{
	int64_t deadline = hal_clock_in(TIMEOUT_MS);
	struct hal_socket s;
	int rc;

	memset(reply, 0, sizeof(*reply));
	if (!json_memory) {
		reply_memory = hal_process_memory(REPLY_MAX + JSON_PADDING);
		json_memory = hal_process_memory(JSON_BYTES);
	}
	if (!reply_memory || !json_memory) return ERR_NO_MEMORY;
	rc = connect_any(c, &s, submit, deadline);
	if (rc < 0) return rc;
	reply->connected = true;
	rc = exchange(&s.stream, method, path, body, reply, deadline);
	hal_stream_close(&s.stream);
	if (rc == 0 && parse && parse_reply(reply) < 0) rc = ERR_PROTOCOL;
	return rc;
}

int cli_request_quietly(struct cli *c, const char *method, const char *path, struct str body, bool submit,
			bool parse, struct cli_reply *reply)
{
	int rc = cli_ask(c, method, path, body, submit, parse, reply);

	if (rc == ERR_NO_GATEWAY) return CLI_NO_GATEWAY;
	if (rc < 0 && !reply->connected)
		return cli_fail(CLI_FAILED, "%s: %s", c->settings->api.socket, err_text(rc));
	/* It has as many connections as it takes, or ended meanwhile: neither is the request's fault. */
	if (rc == ERR_RESET || rc == ERR_CLOSED)
		return cli_fail(CLI_TRY_LATER, "the gateway is busy or ended: %s", err_text(rc));
	return rc < 0 ? cli_fail(CLI_FAILED, "the gateway did not answer: %s", err_text(rc)) : 0;
}

bool cli_reply_busy(const struct cli_reply *reply)
{
	return reply->status == 507 || reply->status == 503 || reply->status == 429;
}

int cli_request(struct cli *c, const char *method, const char *path, struct str body, bool submit, bool parse,
		struct cli_reply *reply)
{
	int rc = cli_request_quietly(c, method, path, body, submit, parse, reply);

	if (rc == CLI_NO_GATEWAY) cli_fail(rc, "no gateway answers at %s", c->settings->api.socket);
	return rc;
}

bool cli_reply_ok(const struct cli_reply *reply, int *code)
{
	struct str error = cli_str(reply->json, "error"), pointer = cli_str(reply->json, "pointer");

	if (reply->status >= 200 && reply->status < 300) return true;
	*code = cli_reply_busy(reply) ? CLI_TRY_LATER : CLI_FAILED;
	if (pointer.len > 0)
		cli_fail(*code, STR_FMT ": " STR_FMT, STR_ARG(pointer), STR_ARG(error));
	else
		cli_fail(*code, STR_FMT, STR_ARG(error));
	return false;
}

/* ---- members ---- */

const struct json *cli_get(const struct json *o, const char *name)
{
	return o && json_type(o) == JSON_OBJECT ? json_get(o, name) : NULL;
}

struct str cli_str(const struct json *o, const char *name)
{
	const struct json *v = cli_get(o, name);

	return v && json_type(v) == JSON_STRING ? json_str(v) : STR("");
}

const char *cli_text(const struct json *o, const char *name)
{
	return cli_safe(cli_str(o, name));
}

int64_t cli_int(const struct json *o, const char *name)
{
	const struct json *v = cli_get(o, name);
	int64_t n = 0;

	if (v && json_type(v) == JSON_NUMBER) json_int(v, &n);
	return n;
}

bool cli_bool(const struct json *o, const char *name)
{
	const struct json *v = cli_get(o, name);

	return v && json_type(v) == JSON_BOOL && json_bool(v);
}
