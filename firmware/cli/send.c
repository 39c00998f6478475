/* send: a job from a file, the standard input or flags; to the gateway, or into the drop directory when none
 * runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cli/room.h"
#include "hal_clock.h"
#include "hal_process.h"
#include "hal_storage.h"
#include "store/store.h"

#define POLL_MS 100
/* How long a gateway that has the storage but no socket yet (or no more) is waited for. */
#define STARTING_MS 5000
/* How long --wait goes on without a gateway. */
#define BACK_MS 60000

static void *memory(size_t bytes)
{
	void *p = hal_process_memory(bytes);

	if (!p) cli_fail(CLI_FAILED, "%s", err_text(ERR_NO_MEMORY));
	return p;
}

/* ---- the job's text ---- */

static int read_all(struct cli *c, FILE *f, const char *name, struct str *out)
{
	size_t cap = (size_t)c->settings->limits.job_bytes + 1, n;
	char *input = memory(cap);

	if (!input) return CLI_FAILED;
	n = fread(input, 1, cap, f);
	if (ferror(f)) return cli_fail(CLI_FAILED, "%s: %s", name, strerror(errno));
	if (n == cap) return cli_fail(CLI_FAILED, "%s: larger than [limits] job_bytes", name);
	*out = (struct str){input, n};
	return 0;
}

static int read_job(struct cli *c, const char *name, struct str *job)
{
	FILE *f;
	int code;

	if (strcmp(name, "-") == 0) return read_all(c, stdin, "standard input", job);
	f = fopen(name, "rbe");
	if (!f) return cli_fail(CLI_FAILED, "%s: %s", name, strerror(errno));
	code = read_all(c, f, name, job);
	fclose(f);
	return code;
}

static void put_string(struct buf *b, const char *name, struct str s)
{
	buf_printf(b, "%s\"%s\":\"", b->len > 1 ? "," : "", name);
	buf_json(b, s);
	buf_puts(b, "\"");
}

static void put_option(struct cli *c, struct buf *b, const char *name, const char *option)
{
	const char *value = cli_option(c, option, NULL);

	if (value) put_string(b, name, str_from(value));
}

static void put_list(struct cli *c, struct buf *b, const char *name, const char *option)
{
	const char *value, *comma = "";
	int at = 0;

	if (!cli_option(c, option, NULL)) return;
	buf_printf(b, "%s\"%s\":[", b->len > 1 ? "," : "", name);
	while ((value = cli_option(c, option, &at))) {
		buf_printf(b, "%s\"", comma);
		buf_json(b, str_from(value));
		buf_puts(b, "\"");
		comma = ",";
	}
	buf_puts(b, "]");
}

/* The bodies: --text is the text part, --html the HTML part, both make an alternative. */
static int put_bodies(struct cli *c, struct buf *b)
{
	const char *text = cli_option(c, "--text", NULL), *html = cli_option(c, "--html", NULL);
	struct str body = str_from(text);
	int code;

	if (!text && !html) return cli_fail(CLI_USAGE, "send wants --text or --html");
	if (text && strcmp(text, "-") == 0) {
		code = read_all(c, stdin, "standard input", &body);
		if (code != 0) return code;
	}
	if (!str_is_utf8(body)) return cli_fail(CLI_FAILED, "the text is not UTF-8");
	put_string(b, "body_format", html ? STR("HTML") : STR("TEXT"));
	put_string(b, "body_content", html ? str_from(html) : body);
	if (html && text) put_string(b, "text_content", body);
	return 0;
}

/* Bytes that are no UTF-8 are refused, as everywhere: JSON would have them replaced. */
static int check_options(const struct cli *c)
{
	for (int i = 0; i < c->given_count; i++)
		if (!str_is_utf8(str_from(c->given[i].value)))
			return cli_fail(CLI_FAILED, "%s is not UTF-8", c->given[i].option->name);
	return 0;
}

static int make_job(struct cli *c, struct str *job)
{
	size_t cap = (size_t)c->settings->limits.job_bytes + 1;
	char *text = memory(cap);
	struct buf b;
	int code = check_options(c);

	if (code != 0) return code;
	if (!text) return CLI_FAILED;
	if (cli_flag(c, "--attach")) return cli_fail(CLI_USAGE, "--attach is not built into this version");
	if (!cli_flag(c, "--to") && !cli_flag(c, "--cc") && !cli_flag(c, "--bcc"))
		return cli_fail(CLI_USAGE, "send wants a job, or --to ADDRESS");
	buf_init(&b, text, cap);
	buf_puts(&b, "{");
	put_list(c, &b, "to", "--to");
	put_list(c, &b, "cc", "--cc");
	put_list(c, &b, "bcc", "--bcc");
	put_option(c, &b, "subject", "--subject");
	put_option(c, &b, "from", "--from");
	put_option(c, &b, "provider_id", "--provider");
	put_option(c, &b, "tenant_id", "--tenant");
	put_option(c, &b, "message_id", "--message-id");
	code = put_bodies(c, &b);
	if (code != 0) return code;
	buf_puts(&b, "}");
	*job = buf_view(&b);
	return b.cut ? cli_fail(CLI_FAILED, "larger than [limits] job_bytes") : 0;
}

/* ---- to the gateway ---- */

/* A gateway that ends or starts just now; anything else will not get better. */
static bool may_come_back(int rc, const struct cli_reply *reply)
{
	if (rc == 0) return reply->status == 503;
	return rc == ERR_NO_GATEWAY || reply->connected;
}

static int wait_final(struct cli *c, int64_t id)
{
	int64_t gone_ms = 0; /* since when no gateway answers; 0: one does */
	struct cli_reply reply;
	char path[64];
	int code;

	snprintf(path, sizeof(path), "/api/emails/%lld", (long long)id);
	for (;;) {
		int rc = cli_ask(c, "GET", path, (struct str){0}, false, true, &reply);
		int64_t now_ms = hal_clock_mono_ms();
		struct str state;

		if (may_come_back(rc, &reply)) {
			if (gone_ms == 0) {
				gone_ms = now_ms;
				cli_fail(0,
					 "no gateway answers; job %lld is accepted and will be sent -> "
					 "waiting for the gateway",
					 (long long)id);
			}
			if (now_ms >= gone_ms + BACK_MS)
				return cli_fail(CLI_NO_GATEWAY,
						"the gateway did not come back; job %lld is accepted all the "
						"same, do not send it again",
						(long long)id);
			hal_clock_sleep_until(hal_clock_in(POLL_MS));
			continue;
		}
		gone_ms = 0;
		if (rc < 0)
			return cli_fail(CLI_FAILED, "job %lld is accepted, but cannot be watched: %s: %s",
					(long long)id, c->settings->api.socket, err_text(rc));
		if (!cli_reply_ok(&reply, &code)) return code;
		state = cli_str(reply.json, "state");
		if (str_eq(state, STR("completed"))) return CLI_DONE;
		if (str_eq(state, STR("failed")))
			return cli_fail(CLI_FAILED, "not sent: %s", cli_text(reply.json, "error"));
		hal_clock_sleep_until(hal_clock_in(POLL_MS));
	}
}

/* The ids of what was accepted, one a line. */
static int64_t print_ids(const struct json *answer)
{
	const struct json *items = cli_get(answer, "items"), *item;
	struct json_iter it;
	int64_t id = cli_int(answer, "id");

	if (!items) {
		cli_print("%lld\n", (long long)id);
		return id;
	}
	json_iter_init(&it, items);
	while (json_iter_next(&it, NULL, &item))
		cli_print("%lld\n", (long long)cli_int(item, "id"));
	return 0;
}

/* *id: of the one job that was accepted. */
static int submit(struct cli *c, struct str job, int64_t *id)
{
	struct cli_reply reply;
	bool wait = cli_flag(c, "--wait");
	int code = cli_request_quietly(c, "POST", "/api/emails", job, true, !c->json || wait, &reply);

	if (code != 0) return code;
	if (c->json && !wait) {
		fwrite(reply.text, 1, reply.len, stdout);
		cli_print("\n");
		if (reply.status < 300) return CLI_DONE;
		return cli_reply_busy(&reply) ? CLI_TRY_LATER : CLI_FAILED;
	}
	if (!cli_reply_ok(&reply, &code)) return code;
	*id = print_ids(reply.json);
	fflush(stdout);
	return CLI_DONE;
}

/* ---- into the drop directory ---- */

int cli_job_decode(struct cli *c, struct str job, struct job *out, struct job_problem *problem)
{
	size_t arena_bytes = job_decode_arena_bytes(job.len);
	char *text = hal_process_memory(job.len + JSON_PADDING);
	void *values = hal_process_memory(arena_bytes);
	struct job_limits limits = {.job_bytes = (size_t)c->settings->limits.job_bytes,
				    .recipients = (size_t)c->settings->limits.recipients,
				    .envelope_bytes = LIMIT_job_header_bytes,
				    .message_bytes = (size_t)c->settings->limits.message_bytes};
	struct arena a;

	*problem = (struct job_problem){.reason = ""};
	if (!text || !values) return ERR_NO_MEMORY;
	if (job.len > 0) memcpy(text, job.ptr, job.len);
	arena_init(&a, values, arena_bytes);
	return job_decode(&a, text, job.len, &limits, out, problem);
}

static int refused(struct job_problem *problem, int rc, const char *pointer, const char *reason,
		   struct str what)
{
	snprintf(problem->pointer, sizeof(problem->pointer), "%s", pointer);
	snprintf(problem->reason, sizeof(problem->reason), "%s" STR_FMT, reason, STR_ARG(what));
	return rc;
}

/* Whether the job would have a sender: its own, or that of the provider which it names, or of any. */
static int judge_from(struct cli *c, const struct job *job, struct job_problem *problem)
{
	bool known = job->provider_id.len == 0, has_from = job->from.addr.ptr || job->raw.present;

	for (size_t i = 0; i < c->settings->provider_count; i++) {
		const struct settings_provider *p = &c->settings->provider[i];

		if (job->provider_id.len > 0 && !str_eq(job->provider_id, str_from(p->provider_id))) continue;
		known = true;
		has_from = has_from || *p->from;
	}
	if (!known)
		return refused(problem, ERR_NOT_FOUND, "/provider_id", "there is no provider ",
			       job->provider_id);
	if (!has_from)
		return refused(problem, ERR_INVALID, "/from", "needed: no provider has a from", STR(""));
	return 0;
}

/* The judgement that is possible without a gateway: format, aliases, provider, sender. */
static int judge(struct cli *c, struct str job, struct job_problem *problem)
{
	struct job decoded;
	int rc = cli_job_decode(c, job, &decoded, problem);
	char pointer[32];

	for (size_t i = 0; rc >= 0 && i < decoded.rcpt_count; i++) {
		const struct job_address *a = &decoded.rcpts[i].address;

		if (a->domain.ptr || settings_find_alias(c->settings, a->addr)) continue;
		snprintf(pointer, sizeof(pointer), "/to/%zu", i);
		rc = refused(problem, ERR_INVALID, pointer, "not an address, and no alias: ", a->addr);
	}
	return rc < 0 ? rc : judge_from(c, &decoded, problem);
}

int cli_drop(struct cli *c, struct str job, char *name, size_t name_cap, struct job_problem *problem)
{
	const char *user = c->settings->gateway.user;
	int rc = judge(c, job, problem);

	if (rc < 0) return rc;
	/* As root: what root wrote, the gateway's user could not read. Not as root this fails, and the
	 * storage says so. */
	if (*user && hal_process_own_dir(c->settings->gateway.data_dir, user) == 0) hal_process_become(user);
	rc = hal_storage_open(c->settings->gateway.data_dir);
	if (rc < 0) return rc;
	rc = store_drop_put(job, name, name_cap);
	hal_storage_close();
	return rc;
}

/* ERR_BUSY is the caller's to deal with. */
static int drop(struct cli *c, struct str job)
{
	struct job_problem problem;
	char name[HAL_PATH_MAX];
	int rc = cli_drop(c, job, name, sizeof(name), &problem);

	if (rc == ERR_BUSY) return rc;
	if (rc < 0 && problem.reason[0])
		return cli_fail(CLI_FAILED, "%s: %s", problem.pointer, problem.reason);
	if (rc < 0)
		return cli_fail(rc == ERR_NO_SPACE ? CLI_TRY_LATER : CLI_FAILED, "%s: %s",
				c->settings->gateway.data_dir, err_text(rc));
	if (c->json)
		cli_print("{\"success\":true,\"status\":\"dropped\",\"file\":\"%s\"}\n", name);
	else
		cli_print("%s: no gateway runs, the job is taken in when one starts\n", name);
	return CLI_DONE;
}

int cli_send(struct cli *c)
{
	int64_t end = hal_clock_in(STARTING_MS);
	struct str job = {0};
	bool wait = cli_flag(c, "--wait");
	int64_t id = 0;
	int code = c->operand_count > 0 ? read_job(c, c->operands[0], &job) : make_job(c, &job);

	if (code == 0 && c->operand_count > 0 && c->given_count > (wait ? 1 : 0))
		code = cli_fail(CLI_USAGE, "a job or flags, not both");
	if (code != 0) return code;
	for (;;) {
		code = submit(c, job, &id);
		if (code == CLI_DONE && wait && id > 0) return wait_final(c, id);
		if (code != CLI_NO_GATEWAY) return code;
		if (wait && hal_clock_mono_ms() >= end)
			return cli_fail(
				CLI_NO_GATEWAY,
				"%s: no gateway answers, so --wait would wait for nobody; nothing was "
				"handed in",
				c->settings->api.socket);
		code = wait ? ERR_BUSY : drop(c, job);
		if (code != ERR_BUSY) return code;
		/* A gateway holds the storage: it is starting, or stopping. */
		if (hal_clock_mono_ms() >= end)
			return cli_fail(CLI_TRY_LATER, "a gateway is starting or stopping");
		hal_clock_sleep_until(hal_clock_in(POLL_MS));
	}
}
