/* Private to the room cli. */
#ifndef POSTERN_CLI_ROOM_H
#define POSTERN_CLI_ROOM_H

#include <stdbool.h>

#include "base/json.h"
#include "cli/cli.h"
#include "job/job.h"
#include "settings/settings.h"

#define CLI_GIVEN_MAX 512

struct cli;

struct cli_option {
	const char *name;  /* "--to"; NULL ends the list */
	const char *value; /* how its value is called in help; NULL: it takes none */
	const char *help;
};

struct cli_command {
	const char *name;
	const char *operands;      /* for help, "" when there are none */
	const char *help;          /* one sentence */
	int (*act)(struct cli *c); /* NULL: not built into this version */
	int operands_min, operands_max;
	const struct cli_option *options; /* NULL: none */
	bool plain;                       /* needs no settings */
	bool verbatim; /* takes the words behind its name apart by itself: all are operands */
};

/* A command line, taken apart. */
struct cli {
	const char *file; /* of -c; NULL: none given */
	bool json, help;
	const struct cli_command *command; /* NULL: none given */
	struct {
		const struct cli_option *option;
		const char *value;
	} given[CLI_GIVEN_MAX];
	int given_count;
	const char *operands[CLI_GIVEN_MAX];
	int operand_count;
	bool called_sendmail; /* by that name, as other programs do */
	int (*run)(const char *file);
	const struct settings *settings; /* loaded before act, unless plain */
};

extern const struct cli_command cli_commands[];

/* Takes the arguments apart (argv[0] is the program's name). 0, or CLI_USAGE with a sentence in why. Pure. */
int cli_parse(int argc, char **argv, struct cli *c, struct buf *why);

/* The value of an option, NULL when it was not given; the first one after *at (pass NULL for the last one
 * given). */
const char *cli_option(const struct cli *c, const char *name, int *at);
bool cli_flag(const struct cli *c, const char *name);

/* "postern: " and the sentence, escaped, to stderr. Returns code. */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* To stdout; %s are taken as they are: escape with cli_safe. */
void cli_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* How far long work has come, over the line of the last call; when the standard error is a terminal. NULL: the
 * work is over, the line is cleared. */
void cli_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* s escaped, in one of a few static buffers that are used in turn. */
const char *cli_safe(struct str s);

/* ---- the gateway (client.c) ---- */

struct cli_reply {
	bool connected; /* there was a gateway, whether it answered or not */
	int status;
	char *text; /* static; json_parse changes it: take `raw` before */
	size_t len;
	const struct json *json; /* the body; NULL when it was not asked for */
};

/* One request over the gateway's socket; submit: the submit socket will do, when the other may not be used.
 * parse: reply->json is filled in, text is spoilt. Only the last reply is valid.
 * Returns 0, or the exit code, and has said why: CLI_NO_GATEWAY, CLI_TRY_LATER (the gateway closed the
 * connection without an answer), CLI_FAILED. */
int cli_request(struct cli *c, const char *method, const char *path, struct str body, bool submit, bool parse,
		struct cli_reply *reply);
/* The same without a word. Returns 0 or an error: ERR_NO_GATEWAY, ERR_PROTOCOL (no answer, or no JSON), those of
 * hal_local_connect and hal_stream. */
int cli_ask(struct cli *c, const char *method, const char *path, struct str body, bool submit, bool parse,
	    struct cli_reply *reply);
/* As cli_request but says nothing when no gateway answers. */
int cli_request_quietly(struct cli *c, const char *method, const char *path, struct str body, bool submit,
			bool parse, struct cli_reply *reply);
/* Whether the reply asks to try later. */
bool cli_reply_busy(const struct cli_reply *reply);
/* Whether the reply is a success; if not, says why and sets *code. */
bool cli_reply_ok(const struct cli_reply *reply, int *code);

/* Members of an object: absent ones are empty, 0, false. */
struct str cli_str(const struct json *o, const char *name);
const char *cli_text(const struct json *o, const char *name); /* escaped, static buffers in turn */
int64_t cli_int(const struct json *o, const char *name);
bool cli_bool(const struct json *o, const char *name);
const struct json *cli_get(const struct json *o, const char *name); /* NULL o is fine */

/* ---- the commands ---- */

int cli_run(struct cli *c);
int cli_check(struct cli *c);
int cli_send(struct cli *c);
int cli_status(struct cli *c);
int cli_list(struct cli *c);
int cli_show(struct cli *c);
int cli_requeue(struct cli *c);
int cli_cancel(struct cli *c);
int cli_selftest(struct cli *c);
int cli_sendmail(struct cli *c);
int cli_version(struct cli *c);
int cli_help(struct cli *c);

/* A job decoded as at submission, in memory of its own that stays. Errors: ERR_NO_MEMORY, those of job_decode with
 * *problem filled in. */
int cli_job_decode(struct cli *c, struct str job, struct job *out, struct job_problem *problem);
/* Judges the job as far as that is possible without a gateway and puts it, synced, into the drop directory; name gets
 * the file's. Errors: those of job_decode and ERR_NOT_FOUND (the provider) with *problem filled in, else those of
 * hal_storage (ERR_BUSY: a gateway holds it) and store_drop_put. */
int cli_drop(struct cli *c, struct str job, char *name, size_t name_cap, struct job_problem *problem);

/* Reads the settings; problems go to stderr. 0 or CLI_USAGE. */
int cli_settings(struct cli *c);

#endif
