/* sendmail: what cron, smartd and scripts call to send a mail. The message becomes a job with `raw`, which goes to the
 * gateway, over the submit socket where the caller may not use the other, or into the drop directory when none runs. */
#include "cli/sendmail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_clock.h"
#include "hal_process.h"

#define POLL_MS     100
#define STARTING_MS 5000 /* a gateway that has the storage but no socket yet is waited for so long */

/* ---- settings ---- */

/* Secrets are not needed here, and users who may send mail may not read them. */
static int read_no_secrets(const char *path, void *bytes, size_t cap, unsigned *mode)
{
	static const char *ini; /* the first file that is read */
	int rc = settings_read_file(path, bytes, cap, mode);

	if (!ini) ini = path;
	if (rc != ERR_DENIED || path == ini) return rc;
	*mode = 0600;
	if (cap > 0) memcpy(bytes, "-", 1);
	return cap > 0;
}

static void report_problem(void *arg, const char *text)
{
	(void)arg;
	if (!strstr(text, ": note: ")) fprintf(stderr, "%s\n", cli_safe(str_from(text)));
}

static int load(struct cli *c)
{
	static struct settings settings;
	struct settings_source source = {c->file, hal_process_env, read_no_secrets};
	struct settings_report report = {report_problem, NULL, 0, 0};

	if (settings_load(&settings, &source, &report) < 0) return SENDMAIL_CONFIG;
	c->settings = &settings;
	return 0;
}

/* ---- the job ---- */

static int read_message(struct cli *c, const struct sendmail *s, struct str *message,
			struct sendmail_header *header)
{
	size_t cap = (size_t)c->settings->limits.job_bytes, n;
	char *in = hal_process_memory(cap), *out = hal_process_memory(2 * cap);
	struct buf b;

	if (!in || !out) return cli_fail(SENDMAIL_OS, "%s", err_text(ERR_NO_MEMORY));
	n = fread(in, 1, cap, stdin);
	if (ferror(stdin)) return cli_fail(SENDMAIL_OS, "standard input: %s", strerror(errno));
	if (n == cap) return cli_fail(SENDMAIL_DATA, "the message is larger than [limits] job_bytes");
	buf_init(&b, out, 2 * cap);
	sendmail_message((struct str){in, n}, s->dot_is_text, &b, header);
	*message = buf_view(&b);
	return 0;
}

static void put_member(struct buf *b, const char *name, const char *before, struct str s, const char *after)
{
	buf_printf(b, "%s\"%s\":\"", b->len > 1 ? "," : "", name);
	buf_puts(b, before);
	buf_json(b, s);
	buf_puts(b, after);
	buf_puts(b, "\"");
}

/* Whether every provider has a from of its own: that is then whom mail of this device comes from. */
static bool providers_have_from(const struct settings *s)
{
	for (size_t i = 0; i < s->provider_count; i++)
		if (!*s->provider[i].from) return false;
	return s->provider_count > 0;
}

/* The address of a user of this device: of [alias], else the provider's (nothing is written then), else at this
 * host. */
static void put_local(struct cli *c, struct buf *b, struct str name)
{
	const char *alias = settings_find_alias(c->settings, name);

	if (!alias && providers_have_from(c->settings)) return;
	buf_str(b, alias ? str_from(alias) : name);
	if (!alias) buf_printf(b, "@%s", c->settings->gateway.name);
}

/* -f with a domain is judged by the gateway. Without one it is the name of a user here: what is none must not be
 * passed over for the provider's from. */
static int check_sender(const struct sendmail *s)
{
	char memory[2048];
	struct job_address address;
	struct arena a;
	const char *why;

	if (!s->from || !*s->from || strchr(s->from, '@') || strcmp(s->from, "<>") == 0) return 0;
	arena_init(&a, memory, sizeof(memory));
	if (job_address_parse(&a, str_from(s->from), &address, &why) == 0) return 0;
	return cli_fail(SENDMAIL_DATA, "-f %s: not an address: %s", s->from, why);
}

/* Who sends: -f, else the user who calls. */
static struct str sender(struct cli *c, const struct sendmail *s)
{
	static char text[512];
	char user[64] = "";
	struct buf b;

	buf_init(&b, text, sizeof(text));
	if (s->from && strchr(s->from, '@')) return str_from(s->from);
	hal_process_user(user, sizeof(user));
	put_local(c, &b, str_from(s->from && *s->from ? s->from : *user ? user : "postmaster"));
	return buf_view(&b);
}

static struct str with_name(struct str addr, const char *name)
{
	static char text[1024];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	buf_puts(&b, "\"");
	for (; *name; name++) {
		if (*name == '"' || *name == '\\') buf_puts(&b, "\\");
		buf_add(&b, name, 1);
	}
	buf_puts(&b, "\" <");
	buf_str(&b, addr);
	buf_puts(&b, ">");
	return buf_view(&b);
}

static void put_senders(struct cli *c, const struct sendmail *s, const struct sendmail_header *header,
			struct buf *b)
{
	struct str who = sender(c, s);

	if (s->from && (!*s->from || strcmp(s->from, "<>") == 0))
		put_member(b, "envelope_from", "<>", STR(""), "");
	else if (s->from && who.len > 0)
		put_member(b, "envelope_from", "", who, "");
	if (header->from || who.len == 0) return;
	if (s->name && *s->name && !memchr(who.ptr, '<', who.len)) who = with_name(who, s->name);
	put_member(b, "from", "", who, "");
}

static void put_rcpt(struct buf *b, struct str one)
{
	buf_puts(b, b->ptr[b->len - 1] == '[' ? "\"" : ",\"");
	buf_json(b, one);
	buf_puts(b, "\"");
}

static void put_rcpts(struct buf *b, const struct sendmail *s, const struct job *of_message)
{
	struct str one;

	if (s->rcpt_count == 0) return; /* the gateway takes them from the message */
	buf_puts(b, "\"to\":[");
	for (int i = 0; i < s->rcpt_count; i++)
		for (size_t at = 0; job_mailbox_next(str_from(s->rcpts[i]), &at, &one);)
			put_rcpt(b, one);
	for (size_t i = 0; of_message && i < of_message->rcpt_count; i++)
		put_rcpt(b, of_message->rcpts[i].address.addr);
	buf_puts(b, "]");
}

static int refuse(const struct job_problem *problem)
{
	return cli_fail(SENDMAIL_DATA, "%s: %s", problem->pointer, problem->reason);
}

/* Recipients that the message names, beside those of the command line. */
static int rcpts_of(struct cli *c, struct str message, struct job *job)
{
	size_t cap = message.len / 3 * 4 + 64;
	char *text = hal_process_memory(cap);
	struct job_problem problem;
	struct buf b;
	int rc;

	if (!text) return cli_fail(SENDMAIL_OS, "%s", err_text(ERR_NO_MEMORY));
	buf_init(&b, text, cap);
	buf_puts(&b, "{\"raw\":\"");
	buf_base64(&b, message.ptr, message.len);
	buf_puts(&b, "\"}");
	rc = cli_job_decode(c, buf_view(&b), job, &problem);
	return rc < 0 ? refuse(&problem) : 0;
}

static int make_job(struct cli *c, const struct sendmail *s, struct str *out)
{
	size_t cap = (size_t)c->settings->limits.job_bytes + 1;
	char *text = hal_process_memory(cap);
	struct job of_message = {0};
	struct sendmail_header header;
	struct str message = {0};
	struct buf b;
	int code;

	if (!text) return cli_fail(SENDMAIL_OS, "%s", err_text(ERR_NO_MEMORY));
	code = check_sender(s);
	if (code == 0) code = read_message(c, s, &message, &header);
	if (code == 0 && s->from_header && s->rcpt_count > 0) code = rcpts_of(c, message, &of_message);
	if (code != 0) return code;
	buf_init(&b, text, cap);
	buf_puts(&b, "{");
	put_rcpts(&b, s, &of_message);
	put_senders(c, s, &header, &b);
	buf_puts(&b, b.len > 1 ? ",\"raw\":\"" : "\"raw\":\"");
	buf_base64(&b, message.ptr, message.len);
	buf_puts(&b, "\"}");
	*out = buf_view(&b);
	return b.cut ? cli_fail(SENDMAIL_DATA,
				"the message is larger than [limits] job_bytes, which counts it in base64")
		     : 0;
}

/* ---- handing in ---- */

static int answered(const struct sendmail *s, const struct cli_reply *reply)
{
	struct str error = cli_str(reply->json, "error"), pointer = cli_str(reply->json, "pointer");
	int code = SENDMAIL_DATA;

	if (reply->status < 300) {
		if (s->verbose) cli_print("accepted as job %lld\n", (long long)cli_int(reply->json, "id"));
		return SENDMAIL_OK;
	}
	if (reply->status >= 500 || reply->status == 429) code = SENDMAIL_TRY_LATER;
	if (reply->status == 401 || reply->status == 403) code = SENDMAIL_NO_PERMISSION;
	if (pointer.len > 0) return cli_fail(code, STR_FMT ": " STR_FMT, STR_ARG(pointer), STR_ARG(error));
	return cli_fail(code, STR_FMT, STR_ARG(error));
}

/* The gateway was there, or its socket was, but the job was not taken. */
static int not_answered(struct cli *c, int rc, const struct cli_reply *reply)
{
	if (reply->connected)
		return cli_fail(SENDMAIL_TRY_LATER, "the gateway did not answer: %s", err_text(rc));
	if (rc == ERR_DENIED)
		return cli_fail(SENDMAIL_NO_PERMISSION, "%s: %s ([api] submit_socket is for other users)",
				c->settings->api.socket, err_text(rc));
	return cli_fail(rc == ERR_NO_MEMORY ? SENDMAIL_OS : SENDMAIL_UNAVAILABLE, "%s: %s",
			c->settings->api.socket, err_text(rc));
}

/* ERR_BUSY: a gateway holds the storage. */
static int drop(struct cli *c, const struct sendmail *s, struct str job)
{
	const char *dir = c->settings->gateway.data_dir;
	struct job_problem problem;
	char name[LIMIT_path + 1];
	int rc;

	/* Without a file the data would lie in the working directory, of cron or whoever calls: no gateway looks
	 * there. */
	if (!*c->settings->file)
		return cli_fail(SENDMAIL_CONFIG,
				"no gateway answers at %s, and there is no " SETTINGS_DEFAULT_FILE
				" that says where the mail could wait: write one, or name yours by -C FILE",
				c->settings->api.socket);
	rc = cli_drop(c, job, name, sizeof(name), &problem);

	if (rc == ERR_BUSY) return rc;
	if (rc < 0 && problem.reason[0]) return refuse(&problem);
	if (rc == ERR_DENIED || rc == ERR_NO_SPACE)
		return cli_fail(SENDMAIL_TRY_LATER,
				"no gateway runs, and its drop directory takes nothing now: %s: %s", dir,
				err_text(rc));
	if (rc < 0) return cli_fail(SENDMAIL_CANNOT_WRITE, "no gateway runs, and %s: %s", dir, err_text(rc));
	if (s->verbose) cli_print("no gateway runs: it takes the message when it starts\n");
	return SENDMAIL_OK;
}

static int hand_in(struct cli *c, const struct sendmail *s, struct str job)
{
	int64_t end = hal_clock_in(STARTING_MS);
	struct cli_reply reply;

	for (;;) {
		int rc = cli_ask(c, "POST", "/api/emails", job, true, true, &reply);

		if (rc == 0) return answered(s, &reply);
		if (rc != ERR_NO_GATEWAY) return not_answered(c, rc, &reply);
		rc = drop(c, s, job);
		if (rc >= 0) return rc;
		if (hal_clock_mono_ms() >= end)
			return cli_fail(SENDMAIL_TRY_LATER, "a gateway is starting or stopping");
		hal_clock_sleep_until(hal_clock_in(POLL_MS));
	}
}

int cli_sendmail(struct cli *c)
{
	static struct sendmail s;
	struct str job = {0};
	char text[256];
	struct buf why;
	int code;

	buf_init(&why, text, sizeof(text));
	code = sendmail_parse(c->operands, c->operand_count, !c->called_sendmail, &s, &why);
	if (code != 0) return cli_fail(code, "sendmail: %s", why.ptr);
	if (s.nothing) return SENDMAIL_OK;
	if (s.file) c->file = s.file;
	code = load(c);
	if (code == 0) code = make_job(c, &s, &job);
	return code == 0 ? hand_in(c, &s, job) : code;
}
