/* The way from the arguments to a command, and the few commands that need no gateway. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "build_info.h"
#include "cli/room.h"
#include "hal_process.h"

/* ---- words for people ---- */

/* Bytes of the character at s when it must not reach a terminal as it is; 0 when it may. */
static size_t is_unsafe(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	size_t n = str_utf8_len(s);

	if (n == 0) return 1;
	if (p[0] < 0x20 || p[0] == 0x7f) return 1;
	if (p[0] == 0xc2 && p[1] < 0xa0) return 2; /* C1 */
	/* U+200E U+200F, U+202A..U+202E, U+2066..U+2069 */
	if (n == 3 && p[0] == 0xe2 &&
	    ((p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xaa && p[2] <= 0xae))) ||
	     (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)))
		return 3;
	return 0;
}

void cli_escape(struct buf *b, struct str s)
{
	while (s.len > 0) {
		size_t bad = is_unsafe(s), n = bad ? bad : str_utf8_len(s);

		for (size_t i = 0; i < bad; i++)
			buf_printf(b, "\\x%02x", (unsigned)(unsigned char)s.ptr[i]);
		if (!bad) buf_add(b, s.ptr, n);
		s.ptr += n;
		s.len -= n;
	}
}

const char *cli_safe(struct str s)
{
	static char texts[8][2048];
	static unsigned turn;
	struct buf b;

	buf_init(&b, texts[turn], sizeof(texts[0]));
	turn = (turn + 1) % 8;
	cli_escape(&b, s);
	return b.ptr;
}

int cli_fail(int code, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	fflush(stdout);
	fprintf(stderr, "postern: %s\n", cli_safe(str_from(text)));
	return code;
}

void cli_print(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
}

void cli_progress(const char *format, ...)
{
	char text[200] = "";
	va_list ap;

	if (!hal_process_on_terminal()) return;
	if (format) {
		va_start(ap, format);
		vsnprintf(text, sizeof(text), format, ap);
		va_end(ap);
	}
	/* Back to the line's begin, and what was there before away. */
	fprintf(stderr, "\r\033[K%s", cli_safe(str_from(text)));
	fflush(stderr);
}

/* ---- settings ---- */

static void report_line(void *arg, const char *text)
{
	fprintf(arg, "%s\n", cli_safe(str_from(text)));
}

/* Notes are for `check` and for the gateway's log. */
static void report_problem(void *arg, const char *text)
{
	if (!strstr(text, ": note: ")) report_line(arg, text);
}

static int load(struct cli *c, struct settings_report *report)
{
	static struct settings settings;
	struct settings_source source = {c->file, hal_process_env, settings_read_file};
	int rc = settings_load(&settings, &source, report);

	if (rc == 0) c->settings = &settings;
	return rc < 0 ? CLI_USAGE : 0;
}

int cli_settings(struct cli *c)
{
	struct settings_report report = {report_problem, stderr, 0, 0};

	return load(c, &report);
}

int cli_check(struct cli *c)
{
	struct settings_report report = {report_line, stdout, 0, 0};
	int rc = load(c, &report);

	if (rc == 0 && report.notes == 0 && !c->json)
		cli_print("note: no problems%s%s\n",
			  *c->settings->file ? " in " : ", the built-in settings are used",
			  cli_safe(str_from(c->settings->file)));
	return rc;
}

/* ---- the rest ---- */

int cli_run(struct cli *c)
{
	return c->run(c->file);
}

int cli_version(struct cli *c)
{
	bool deps = cli_flag(c, "--deps");

	if (c->json) {
		cli_print("{\"version\":\"%s\",\"target\":\"%s\"", POSTERN_VERSION, POSTERN_TARGET);
		if (deps) {
			const char *comma = "";

			cli_print(",\"deps\":{");
#define X(name, version) cli_print("%s\"%s\":\"%s\"", comma, name, version), comma = ",";
			POSTERN_DEPS
#undef X
			cli_print("}");
		}
		cli_print("}\n");
		return CLI_DONE;
	}
	cli_print("postern %s (%s)\n", POSTERN_VERSION, POSTERN_TARGET);
	if (deps) {
#define X(name, version) cli_print("  %s %s\n", name, version);
		POSTERN_DEPS
#undef X
	}
	return CLI_DONE;
}

static int finish(int code)
{
	if (fflush(stdout) != 0 && code == CLI_DONE)
		return cli_fail(CLI_FAILED, "the output could not be written");
	return code;
}

int cli_main(int argc, char **argv, int (*run)(const char *file))
{
	static struct cli c;
	char text[256];
	struct buf why;
	int code;

	buf_init(&why, text, sizeof(text));
	code = cli_parse(argc, argv, &c, &why);
	c.run = run;
	if (code != 0) {
		cli_fail(code, "%s", why.ptr);
		fprintf(stderr, "postern help lists the commands\n");
		return code;
	}
	if (c.help) return finish(cli_help(&c));
	if (!c.command->act)
		return cli_fail(CLI_USAGE, "'%s' is not built into this version", c.command->name);
	if (!c.command->plain) {
		code = cli_settings(&c);
		if (code != 0) return code;
	}
	return finish(c.command->act(&c));
}
