/* The table of commands, and what is made from it: help, usage, parsing. */
#include <stdio.h>
#include <string.h>

#include "cli/room.h"

static const struct cli_option send_options[] = {
	{"--to", "ADDRESS", "a recipient; may be given again"},
	{"--cc", "ADDRESS", "likewise"},
	{"--bcc", "ADDRESS", "likewise"},
	{"--subject", "TEXT", "the subject"},
	{"--from", "ADDRESS", "the sender; default: the provider's"},
	{"--text", "TEXT", "the text; - reads it from the standard input"},
	{"--html", "HTML", "the HTML part"},
	{"--attach", "PATH", "not built into this version"},
	{"--provider", "ID", "the provider; default: see the manual"},
	{"--tenant", "ID", "the tenant"},
	{"--message-id", "ID", "the job's identity: the same one again is not sent again"},
	{"--wait", NULL, "wait until it is sent; exit 1 when it failed"},
	{NULL, NULL, NULL},
};
static const struct cli_option list_options[] = {
	{"--state", "STATE", "pending, processing, completed or failed"},
	{"--limit", "N", "at most so many (50)"},
	{"--tenant", "ID", "of that tenant only"},
	{"--recipient", "ADDRESS", "to that address only"},
	{"--search", "TEXT", "text in subject, recipient or Message-ID"},
	{NULL, NULL, NULL},
};
static const struct cli_option requeue_options[] = {
	{"--all-failed", NULL, "every failed job"},
	{NULL, NULL, NULL},
};
static const struct cli_option version_options[] = {
	{"--deps", NULL, "also the libraries inside"},
	{NULL, NULL, NULL},
};

#define NOT_BUILT NULL, 0, CLI_GIVEN_MAX, NULL, true, false

const struct cli_command cli_commands[] = {
	{"run", "", "the gateway, in the foreground; SIGHUP reloads, SIGTERM ends it", cli_run, 0, 0, NULL,
	 true, false},
	{"check", "", "every problem of the configuration; exit 0 or 2", cli_check, 0, 0, NULL, true, false},
	{"send", "[JOB.json | -]", "hand in a job; prints its id", cli_send, 0, 1, send_options, false,
	 false},
	{"status", "", "how the gateway is, on one screen", cli_status, 0, 0, NULL, false, false},
	{"list", "", "the newest jobs", cli_list, 0, 0, list_options, false, false},
	{"show", "ID", "one job with every attempt", cli_show, 1, 1, NULL, false, false},
	{"requeue", "ID...", "send failed jobs again", cli_requeue, 0, CLI_GIVEN_MAX, requeue_options, false,
	 false},
	{"cancel", "ID", "a waiting job shall not be sent", cli_cancel, 1, 1, NULL, false, false},
	{"purge", "", "remove finished jobs, or a person's data", NOT_BUILT},
	{"sync", "", "fetch inbound mail now", NOT_BUILT},
	{"provider", "", "list, show, add, remove, test providers", NOT_BUILT},
	{"template", "", "list, add, remove, render templates", NOT_BUILT},
	{"mailbox", "", "list, add, remove, test mailboxes", NOT_BUILT},
	{"token", "", "add, list, remove API tokens", NOT_BUILT},
	{"passwd", "", "set the admin page's password", NOT_BUILT},
	{"backup", "FILE", "a consistent copy while running", NOT_BUILT},
	{"restore", "FILE", "put a copy back", NOT_BUILT},
	{"support", "FILE", "a bundle for a bug report", NOT_BUILT},
	{"selftest", "", "whether this device can run postern, one step a line", cli_selftest, 0, 0, NULL,
	 true, false},
	{"version", "", "the version", cli_version, 0, 0, version_options, true, false},
	{"sendmail", "[TO]...", "hand in the message on standard input; options as sendmail's", cli_sendmail,
	 0, CLI_GIVEN_MAX, NULL, true, true},
	{"help", "[COMMAND]", "this list, or one command's options", cli_help, 0, 1, NULL, true, false},
	{NULL, NULL, NULL, NULL, 0, 0, NULL, true, false},
};

/* ---- parsing ---- */

static const struct cli_command *find_command(const char *name)
{
	for (const struct cli_command *k = cli_commands; k->name; k++)
		if (strcmp(k->name, name) == 0) return k;
	return NULL;
}

static const struct cli_option *find_option(const struct cli_command *k, const char *arg, size_t len)
{
	for (const struct cli_option *o = k ? k->options : NULL; o && o->name; o++)
		if (strlen(o->name) == len && memcmp(o->name, arg, len) == 0) return o;
	return NULL;
}

/* The command's own option at argv[*i]; moves *i over its value. */
static int take_option(int argc, char **argv, int *i, struct cli *c, struct buf *why)
{
	const char *arg = argv[*i], *eq = strchr(arg, '=');
	const struct cli_option *o = find_option(c->command, arg, eq ? (size_t)(eq - arg) : strlen(arg));
	const char *value = eq ? eq + 1 : NULL;

	if (!o) {
		buf_printf(why, "unknown option %s", arg);
		return CLI_USAGE;
	}
	if (o->value && !value) {
		if (*i + 1 >= argc) {
			buf_printf(why, "%s wants a value: %s", o->name, o->value);
			return CLI_USAGE;
		}
		value = argv[++*i];
	} else if (!o->value && eq) {
		buf_printf(why, "%s takes no value", o->name);
		return CLI_USAGE;
	}
	c->given[c->given_count].option = o;
	c->given[c->given_count++].value = value;
	return 0;
}

/* The options that go with every command. Returns whether argv[*i] was one. */
static bool take_common(int argc, char **argv, int *i, struct cli *c, struct buf *why)
{
	const char *arg = argv[*i];

	if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
		c->help = true;
	} else if (strcmp(arg, "--json") == 0) {
		c->json = true;
	} else if (strcmp(arg, "-c") == 0) {
		if (*i + 1 < argc)
			c->file = argv[++*i];
		else
			buf_puts(why, "-c wants a value: FILE");
	} else {
		return false;
	}
	return true;
}

static int check_operands(struct cli *c, struct buf *why)
{
	const struct cli_command *k = c->command;

	if (!k && !c->help)
		buf_puts(why, "no command given");
	else if (k && !c->help && k->act && c->operand_count < k->operands_min)
		buf_printf(why, "%s wants %s", k->name, k->operands);
	else if (k && k->act && c->operand_count > k->operands_max)
		buf_printf(why, "%s: too many words: %s", k->name, c->operands[k->operands_max]);
	return why->len > 0 ? CLI_USAGE : 0;
}

/* A link of that name is how other programs find it. */
static bool is_sendmail(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strcmp(slash ? slash + 1 : program, "sendmail") == 0;
}

int cli_parse(int argc, char **argv, struct cli *c, struct buf *why)
{
	bool only_operands = false;

	memset(c, 0, sizeof(*c));
	if (argc > 0 && is_sendmail(argv[0])) {
		c->called_sendmail = true;
		c->command = find_command("sendmail");
	}
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (c->given_count == CLI_GIVEN_MAX || c->operand_count == CLI_GIVEN_MAX) {
			buf_puts(why, "too many words");
			return CLI_USAGE;
		}
		if (c->command && c->command->verbatim &&
		    !(c->operand_count == 0 && strcmp(arg, "--help") == 0)) {
			c->operands[c->operand_count++] = arg;
		} else if (!only_operands && strcmp(arg, "--") == 0) {
			only_operands = true;
		} else if (!only_operands && take_common(argc, argv, &i, c, why)) {
			if (why->len > 0) return CLI_USAGE;
		} else if (!c->command && (only_operands || arg[0] != '-')) {
			c->command = find_command(arg);
			if (!c->command) {
				buf_printf(why, "unknown command %s", arg);
				return CLI_USAGE;
			}
		} else if (!only_operands && arg[0] == '-' && arg[1] && c->command && c->command->act) {
			if (take_option(argc, argv, &i, c, why) != 0) return CLI_USAGE;
		} else if (!c->command) {
			buf_printf(why, "unknown option %s", arg);
			return CLI_USAGE;
		} else {
			c->operands[c->operand_count++] = arg;
		}
	}
	return check_operands(c, why);
}

const char *cli_option(const struct cli *c, const char *name, int *at)
{
	const char *found = NULL;

	for (int i = at ? *at : 0; i < c->given_count; i++) {
		if (strcmp(c->given[i].option->name, name) != 0) continue;
		found = c->given[i].value;
		if (at) {
			*at = i + 1;
			return found;
		}
	}
	return at ? NULL : found;
}

bool cli_flag(const struct cli *c, const char *name)
{
	for (int i = 0; i < c->given_count; i++)
		if (strcmp(c->given[i].option->name, name) == 0) return true;
	return false;
}

/* ---- help ---- */

static void help_all(void)
{
	cli_print("postern, an e-mail gateway for small devices\n\n");
	for (const struct cli_command *k = cli_commands; k->name; k++) {
		char words[40];

		snprintf(words, sizeof(words), "%s %s", k->name, k->operands);
		cli_print("  postern %-24s %s%s\n", words, k->help,
			  k->act ? "" : " (not built into this version)");
	}
	cli_print("\n  -c FILE  the configuration (default " SETTINGS_DEFAULT_FILE " if it exists)\n"
		  "  --json   one JSON document instead of text\n"
		  "\nExit codes: 0 done; 1 failed; 2 usage or configuration; 3 no gateway answers; 75 try "
		  "later.\n"
		  "`postern COMMAND --help` shows a command's options.\n");
}

static void help_one(const struct cli_command *k)
{
	cli_print("postern %s%s%s%s\n\n%s%s\n", k->name, k->options ? " [OPTION...]" : "",
		  k->operands[0] ? " " : "", k->operands, k->help,
		  k->act ? "" : " (not built into this version)");
	for (const struct cli_option *o = k->options; o && o->name; o++) {
		char words[40];

		snprintf(words, sizeof(words), "%s %s", o->name, o->value ? o->value : "");
		cli_print("  %-22s %s\n", words, o->help);
	}
}

int cli_help(struct cli *c)
{
	const struct cli_command *k = c->command;

	if (k && k->act == cli_help) k = c->operand_count > 0 ? find_command(c->operands[0]) : NULL;
	if (!k && c->operand_count > 0) return cli_fail(CLI_USAGE, "unknown command %s", c->operands[0]);
	if (k)
		help_one(k);
	else
		help_all();
	return CLI_DONE;
}
