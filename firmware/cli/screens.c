/* status, list, show, requeue, cancel: the gateway's answers for people. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/timefmt.h"
#include "cli/room.h"

#define PAGE 200

/* Prints the reply as it came. */
static int print_json(const struct cli_reply *reply)
{
	fwrite(reply->text, 1, reply->len, stdout);
	cli_print("\n");
	return reply->status < 300                            ? CLI_DONE
	       : reply->status == 503 || reply->status == 507 ? CLI_TRY_LATER
							      : CLI_FAILED;
}

/* A GET whose answer is one screen: 0 with the parsed reply, or the command's end in *code. */
static bool get(struct cli *c, const char *path, struct cli_reply *reply, int *code)
{
	*code = cli_request(c, "GET", path, (struct str){0}, false, !c->json, reply);
	if (*code != 0) return false;
	if (c->json) {
		*code = print_json(reply);
		return false;
	}
	return cli_reply_ok(reply, code);
}

/* "2h" of 7300 s: the largest unit, rounded down. */
static const char *age(int64_t s)
{
	static char texts[4][32];
	static unsigned turn;
	char *text = texts[turn++ % 4];

	if (s < 120)
		snprintf(text, sizeof(texts[0]), "%llds", (long long)s);
	else if (s < 7200)
		snprintf(text, sizeof(texts[0]), "%lldm", (long long)(s / 60));
	else if (s < 48 * 3600)
		snprintf(text, sizeof(texts[0]), "%lldh", (long long)(s / 3600));
	else
		snprintf(text, sizeof(texts[0]), "%lldd", (long long)(s / 86400));
	return text;
}

static const char *size(int64_t bytes)
{
	static char texts[4][32];
	static unsigned turn;
	char *text = texts[turn++ % 4];

	if (bytes < 10 * 1024)
		snprintf(text, sizeof(texts[0]), "%lld bytes", (long long)bytes);
	else if (bytes < 10 * 1024 * 1024)
		snprintf(text, sizeof(texts[0]), "%lld KB", (long long)(bytes / 1024));
	else
		snprintf(text, sizeof(texts[0]), "%lld MB", (long long)(bytes / (1024 * 1024)));
	return text;
}

static const char *or_never(const char *text)
{
	return *text ? text : "never";
}

/* ---- status ---- */

static void print_gateway(const struct json *o)
{
	const struct json *health = cli_get(o, "health"), *clock = cli_get(o, "clock");
	static const char *const parts[] = {"queue", "connection", "worker", "store",
					    "clock", "link",       "memory"};

	cli_print("gateway    %s, postern %s, up %s\n", cli_text(o, "name"), cli_text(o, "version"),
		  age(cli_int(o, "uptime_s")));
	cli_print("mode       %s\n",
		  str_eq(cli_str(o, "mode"), STR("amqp")) ? "amqp" : "none (RabbitMQ-free)");
	cli_print("health     %s\n", cli_text(health, "status"));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const struct json *part = cli_get(health, parts[i]);

		if (!str_eq(cli_str(part, "status"), STR("ok")))
			cli_print("           %s %s: %s\n", parts[i], cli_text(part, "status"),
				  cli_text(part, "reason"));
	}
	cli_print("link       %s\n", cli_bool(cli_get(o, "link"), "up") ? "up" : "down");
	cli_print("clock      %s%s\n", cli_text(clock, "now"), cli_bool(clock, "set") ? "" : " (not set)");
}

static void print_queues(const struct json *o)
{
	const struct json *jobs = cli_get(o, "jobs"), *workers = cli_get(o, "workers");
	int64_t oldest = cli_int(o, "oldest_waiting_s");

	cli_print("jobs       %lld pending, %lld processing, %lld completed, %lld failed\n",
		  (long long)cli_int(jobs, "pending"), (long long)cli_int(jobs, "processing"),
		  (long long)cli_int(jobs, "completed"), (long long)cli_int(jobs, "failed"));
	cli_print("oldest     %s\n", cli_str(o, "oldest_waiting_at").len > 0 ? age(oldest) : "nothing waits");
	cli_print("last sent  %s\n", or_never(cli_text(o, "last_success_at")));
	cli_print("workers    %lld of %lld, %lld busy\n", (long long)cli_int(workers, "running"),
		  (long long)cli_int(workers, "max"), (long long)cli_int(workers, "busy"));
}

static void print_providers(const struct json *o)
{
	const struct json *list = cli_get(o, "providers"), *p;
	struct json_iter it;

	if (!list || json_type(list) != JSON_ARRAY) return;
	json_iter_init(&it, list);
	while (json_iter_next(&it, NULL, &p)) {
		struct str reason = cli_str(p, "reason");

		cli_print("provider   %s (%s %s): %s, %lld sent, %lld failed%s%s\n", cli_text(p, "name"),
			  cli_text(p, "type"), cli_text(p, "address"),
			  str_eq(cli_str(p, "state"), STR("closed")) ? "ok" : "held",
			  (long long)cli_int(p, "sent"), (long long)cli_int(p, "failed"),
			  reason.len > 0 ? "; " : "", cli_safe(reason));
	}
}

static void print_store(const struct json *o)
{
	const struct json *store = cli_get(o, "store"), *flash = cli_get(o, "flash");

	cli_print("store      %s of %s used%s%s\n", size(cli_int(store, "used_bytes")),
		  size(cli_int(store, "max_bytes")), cli_bool(store, "full") ? ", FULL" : "",
		  cli_bool(store, "read_only") ? ", READ-ONLY" : "");
	if (cli_int(store, "quarantined") > 0)
		cli_print("           %lld damaged databases set aside, %lld rows lost the last time\n",
			  (long long)cli_int(store, "quarantined"), (long long)cli_int(store, "lost_rows"));
	cli_print("flash      %s written in %lld syncs since start\n", size(cli_int(flash, "written_bytes")),
		  (long long)cli_int(flash, "syncs"));
	cli_print("memory     %s, %s at most\n", size(cli_int(cli_get(o, "memory"), "rss_bytes")),
		  size(cli_int(cli_get(o, "memory"), "rss_peak_bytes")));
}

int cli_status(struct cli *c)
{
	struct cli_reply reply;
	int code;

	if (!get(c, "/api/status", &reply, &code)) return code;
	print_gateway(reply.json);
	print_queues(reply.json);
	print_providers(reply.json);
	print_store(reply.json);
	return CLI_DONE;
}

/* ---- list ---- */

/* "&name=value", encoded. */
static void add_query(struct buf *b, const char *name, const char *value)
{
	if (!value) return;
	buf_printf(b, "&%s=", name);
	for (; *value; value++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", *value))
			buf_add(b, value, 1);
		else
			buf_printf(b, "%%%02X", (unsigned)(unsigned char)*value);
	}
}

static void print_row(struct cli *c, const struct json *job, bool first)
{
	static char text[64 * 1024];
	struct str error = cli_str(job, "error");
	struct buf b;

	if (c->json) {
		buf_init(&b, text, sizeof(text));
		json_write(&b, job);
		cli_print("%s%s", first ? "" : ",", b.ptr);
		return;
	}
	cli_print("%-6lld %-10s %.19s  %s  %s%s%s\n", (long long)cli_int(job, "id"), cli_text(job, "state"),
		  cli_text(job, "created_at"), cli_text(job, "to"), cli_text(job, "subject"),
		  error.len > 0 ? "  # " : "", cli_safe(error));
}

/* The next page; *cursor is moved, 0 at the end. */
static int list_page(struct cli *c, uint64_t left, int64_t *cursor, uint64_t *printed)
{
	char path[2048];
	struct cli_reply reply;
	struct json_iter it;
	const struct json *items, *job;
	struct buf b;
	int code;

	buf_init(&b, path, sizeof(path));
	buf_printf(&b, "/api/emails?limit=%u", left < PAGE ? (unsigned)left : PAGE);
	if (*cursor > 0) buf_printf(&b, "&cursor=%lld", (long long)*cursor);
	add_query(&b, "state", cli_option(c, "--state", NULL));
	add_query(&b, "tenant_id", cli_option(c, "--tenant", NULL));
	add_query(&b, "to", cli_option(c, "--recipient", NULL));
	add_query(&b, "q", cli_option(c, "--search", NULL));
	if (b.cut) return cli_fail(CLI_USAGE, "the options are too long");
	code = cli_request(c, "GET", path, (struct str){0}, false, true, &reply);
	if (code != 0 || !cli_reply_ok(&reply, &code)) return code;
	items = cli_get(reply.json, "items");
	if (!items || json_type(items) != JSON_ARRAY)
		return cli_fail(CLI_FAILED, "the gateway's answer has no items");
	if (c->json && *printed == 0) cli_print("{\"success\":true,\"items\":[");
	json_iter_init(&it, items);
	while (json_iter_next(&it, NULL, &job))
		print_row(c, job, (*printed)++ == 0);
	*cursor = cli_int(reply.json, "next");
	return 0;
}

int cli_list(struct cli *c)
{
	const char *limit_text = cli_option(c, "--limit", NULL), *state = cli_option(c, "--state", NULL);
	uint64_t limit = 50, printed = 0;
	int64_t cursor = 0;
	int code;

	if (limit_text && (str_to_u64(str_from(limit_text), 1000000, &limit) < 0 || limit == 0))
		return cli_fail(CLI_USAGE, "--limit is a number from 1 on");
	if (state && strcmp(state, "pending") != 0 && strcmp(state, "processing") != 0 &&
	    strcmp(state, "completed") != 0 && strcmp(state, "failed") != 0)
		return cli_fail(CLI_USAGE, "--state is one of pending, processing, completed, failed");
	do {
		code = list_page(c, limit - printed, &cursor, &printed);
		if (code != 0) return code;
	} while (cursor > 0 && printed < limit);
	if (c->json && cursor > 0)
		cli_print("],\"next\":%lld}\n", (long long)cursor);
	else if (c->json)
		cli_print("],\"next\":null}\n");
	return CLI_DONE;
}

/* ---- show ---- */

static void print_member(const struct json *job, const char *name)
{
	struct str s = cli_str(job, name);

	if (s.len > 0) cli_print("  %-20s %s\n", name, cli_safe(s));
}

static void print_rcpts(const struct json *job)
{
	const struct json *list = cli_get(job, "recipients"), *r;
	struct json_iter it;

	if (!list || json_type(list) != JSON_ARRAY) return;
	cli_print("recipients\n");
	json_iter_init(&it, list);
	while (json_iter_next(&it, NULL, &r))
		cli_print("  %-4s %s  %s  %s\n", cli_text(r, "kind"), cli_text(r, "address"),
			  cli_text(r, "state"), cli_text(r, "text"));
}

/* Line by line, below its attempt. */
static void print_transcript(struct str text)
{
	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;

		cli_print("       %s\n", cli_safe((struct str){text.ptr, len}));
		len += end != NULL;
		text.ptr += len;
		text.len -= len;
	}
}

static void print_attempts(const struct json *job)
{
	const struct json *list = cli_get(job, "attempts"), *a;
	struct json_iter it;

	if (!list || json_type(list) != JSON_ARRAY || json_count(list) == 0) return;
	cli_print("attempts\n");
	json_iter_init(&it, list);
	while (json_iter_next(&it, NULL, &a)) {
		int64_t code = cli_int(a, "code");
		char digits[24] = "";

		if (code > 0) snprintf(digits, sizeof(digits), "%lld  ", (long long)code);
		cli_print("  %lld  %s  %s  %s%s%s\n", (long long)cli_int(a, "n"), cli_text(a, "ended_at"),
			  cli_text(a, "host"), digits, cli_text(a, "text"),
			  cli_bool(a, "counted") ? "" : "  (not counted)");
		if (cli_str(a, "next_try_at").len > 0)
			cli_print("     next try %s\n", cli_text(a, "next_try_at"));
		print_transcript(cli_str(a, "transcript"));
	}
}

static bool is_id(const char *text)
{
	uint64_t id;

	return str_to_u64(str_from(text), INT64_MAX, &id) == 0 && strlen(text) <= 18;
}

int cli_show(struct cli *c)
{
	static const char *const members[] = {"message_id",
					      "tenant_id",
					      "provider",
					      "subject",
					      "reason",
					      "error",
					      "provider_message_id",
					      "priority",
					      "user_id",
					      "template_id",
					      "campaign_id",
					      "email_type",
					      "source_app",
					      "related_model_id",
					      "created_at",
					      "updated_at",
					      "due_at",
					      "expires_at"};
	struct cli_reply reply;
	char path[64];
	int code;

	if (!is_id(c->operands[0])) return cli_fail(CLI_USAGE, "not a job's id: %s", c->operands[0]);
	snprintf(path, sizeof(path), "/api/emails/%s", c->operands[0]);
	if (!get(c, path, &reply, &code)) return code;
	cli_print("job %lld  %s, %lld retries\n", (long long)cli_int(reply.json, "id"),
		  cli_text(reply.json, "state"), (long long)cli_int(reply.json, "retry_count"));
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		print_member(reply.json, members[i]);
	print_rcpts(reply.json);
	print_attempts(reply.json);
	return CLI_DONE;
}

/* ---- requeue, cancel ---- */

static int change(struct cli *c, const char *id, const char *verb, const char *done)
{
	struct cli_reply reply;
	char path[64];
	int code;

	if (!is_id(id)) return cli_fail(CLI_USAGE, "not a job's id: %s", id);
	snprintf(path, sizeof(path), "/api/emails/%s/%s", id, verb);
	code = cli_request(c, "POST", path, STR(""), false, !c->json, &reply);
	if (code != 0) return code;
	if (c->json) return print_json(&reply);
	if (cli_reply_ok(&reply, &code)) cli_print("%s %s\n", id, done);
	return code;
}

/* Jobs a request: each is answered long before its time is over. */
#define REQUEUE_PIECE 500

/* One piece, from behind *after on; *after is 0 when it was the last. */
static int requeue_piece(struct cli *c, int64_t *after, int64_t *requeued)
{
	struct cli_reply reply;
	char body[96];
	int code;

	snprintf(body, sizeof(body), "{\"state\":\"failed\",\"limit\":%d,\"after\":%lld}", REQUEUE_PIECE,
		 (long long)*after);
	code = cli_request(c, "POST", "/api/emails/requeue", str_from(body), false, true, &reply);
	if (code != 0 || !cli_reply_ok(&reply, &code)) return code;
	*requeued += cli_int(reply.json, "requeued");
	*after = cli_int(reply.json, "next");
	return 0;
}

static int requeue_all(struct cli *c)
{
	int64_t after = 0, requeued = 0;
	int code;

	do {
		code = requeue_piece(c, &after, &requeued);
		if (code == 0 && after > 0) cli_progress("%lld jobs are queued again", (long long)requeued);
	} while (code == 0 && after > 0);
	cli_progress(NULL);
	if (c->json)
		cli_print("{\"success\":%s,\"requeued\":%lld}\n", code == 0 ? "true" : "false",
			  (long long)requeued);
	else if (code == 0 || requeued > 0)
		cli_print("%lld jobs are queued again%s\n", (long long)requeued,
			  code == 0 ? "" : ", not all that had failed");
	return code;
}

int cli_requeue(struct cli *c)
{
	int worst = CLI_DONE;

	if (cli_flag(c, "--all-failed"))
		return c->operand_count > 0 ? cli_fail(CLI_USAGE, "IDs or --all-failed, not both")
					    : requeue_all(c);
	if (c->operand_count == 0) return cli_fail(CLI_USAGE, "requeue wants ID... or --all-failed");
	if (c->json && c->operand_count > 1) return cli_fail(CLI_USAGE, "with --json one ID at a time");
	for (int i = 0; i < c->operand_count; i++) {
		int code = change(c, c->operands[i], "requeue", "is queued again");

		worst = code != CLI_DONE ? code : worst;
	}
	return worst;
}

int cli_cancel(struct cli *c)
{
	return change(c, c->operands[0], "cancel", "is cancelled");
}
