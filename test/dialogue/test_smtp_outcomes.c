/* The table of outcomes, outcomes.def: at each state each kind of reply, for a mail alone and for the second of
 * three in flight, on a server without extensions, with PIPELINING, with CHUNKING, and with that and an earlier
 * connection's proof that it is sound. Every row is run, and no combination may lack its row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "sim/sim.h"
#include "smtp_kit.h"

enum kind { OK, GO, TEMP, FULL, BYE, PERM, AUTH, BIG, WHAT, MIXED, NUL, EIGHT, LF, SILENT, GONE, KIND_COUNT };

static const struct {
	const char *name, *reply;
} kinds[] = {
	[OK] = {"OK", "251 2.0.0 fine"},
	[GO] = {"GO", "354 go on"},
	[TEMP] = {"TEMP", "451 4.3.0 later"},
	[FULL] = {"FULL", "452 4.3.1 no room"},
	[BYE] = {"BYE", "421 4.3.2 bye"},
	[PERM] = {"PERM", "550 5.7.1 not you"},
	[AUTH] = {"AUTH", "530 5.7.0 authentication required"},
	[BIG] = {"BIG", "552 5.3.4 too big"},
	[WHAT] = {"WHAT", "What?"},
	[MIXED] = {"MIXED", "250-one\r\n550 two"},
	[NUL] = {"NUL", "250 a" PEER_NUL "b"},
	[EIGHT] = {"EIGHT", "250 f\xc3\xa4in\xff"},
	[LF] = {"LF", "250 fine\n"},
	[SILENT] = {"SILENT", PEER_SILENT},
	[GONE] = {"GONE", PEER_HANG_UP},
};

enum mode { ANY, PLAIN, PIPE, CHUNK, PROVEN, MODE_COUNT };

static const char *const mode_names[] = {"ANY", "PLAIN", "PIPE", "CHUNK", "PROVEN"};
static const char *const mode_caps[] = {"", "SIZE", "PIPELINING", "PIPELINING,CHUNKING",
					"PIPELINING,CHUNKING"};

static const struct {
	enum smtp_peer_at at;
	const char *name;
	unsigned modes; /* 1u << enum mode */
	bool single;    /* met by a mail alone */
} states[] = {
	{PEER_GREETING, "GREETING", 1u << ANY, true},
	{PEER_EHLO, "EHLO", 1u << ANY, true},
	{PEER_HELO, "HELO", 1u << ANY, true},
	{PEER_STARTTLS, "STARTTLS", 1u << ANY, true},
	{PEER_AUTH, "AUTH", 1u << ANY, true},
	{PEER_RSET, "RSET", 1u << PLAIN | 1u << PIPE | 1u << CHUNK | 1u << PROVEN, false},
	{PEER_MAIL, "MAIL", 1u << PLAIN | 1u << PIPE | 1u << CHUNK | 1u << PROVEN, true},
	{PEER_RCPT, "RCPT", 1u << PLAIN | 1u << PIPE | 1u << CHUNK | 1u << PROVEN, true},
	{PEER_DATA, "DATA", 1u << PLAIN | 1u << PIPE, true},
	{PEER_CONTENT, "CONTENT", 1u << PLAIN | 1u << PIPE, true},
	{PEER_DOT, "DOT", 1u << PLAIN | 1u << PIPE, true},
	{PEER_BDAT, "BDAT", 1u << CHUNK | 1u << PROVEN, true},
	{PEER_LAST, "LAST", 1u << CHUNK | 1u << PROVEN, true},
	{PEER_QUIT, "QUIT", 1u << PLAIN | 1u << CHUNK, true},
};

#define STATE_COUNT (sizeof(states) / sizeof(states[0]))

static const struct row {
	const char *state, *kind, *mode, *single, *three;
	int line;
} rows[] = {
#define OUTCOME(state, kind, mode, single, three) {#state, #kind, #mode, single, three, __LINE__},
#include "outcomes.def"
#undef OUTCOME
};

static char large[300000];

static void begin(enum smtp_peer_at at, enum mode mode, const char *reply)
{
	if (at == PEER_STARTTLS)
		kit_tls("good", "ca.pem", SMTP_TLS_STARTTLS);
	else
		kit_plain();
	if (at != PEER_STARTTLS) kit.peer.caps = mode_caps[mode];
	if (at == PEER_HELO) kit.peer.replies[PEER_EHLO] = "502 5.5.1 never heard of it";
	if (at == PEER_AUTH) {
		kit.peer.caps = "AUTH PLAIN";
		kit.config.host = KIT_LOOPBACK;
		kit.config.auth = SMTP_AUTH_PLAIN;
		kit.config.username = "user";
		kit.config.password = "password";
	}
	kit.config.depth = 8;
	kit.config.proven = mode == PROVEN;
	if (at < PEER_RSET || at == PEER_QUIT) kit.peer.replies[at] = reply;
}

/* Content that is still on its way when the server speaks, or is more than a chunk. */
static void enlarge(struct kit_one *one, size_t len)
{
	one->body.bytes = large;
	one->body.len = len;
	one->mail.size = (int64_t)len;
}

/* "class ERROR", the error without 0. */
static void append(char *out, const struct smtp_verdict *v)
{
	sprintf(out + strlen(out), "%s%s%s%s", out[0] == '\0' ? "" : ", ", smtp_class_name(v->class),
		v->err == 0 ? "" : " ", v->err == 0 ? "" : err_name(v->err));
}

/* What holds in every row: nothing lost, nothing made up, the wire kept to. */
static const char *wrong(void)
{
	const char *text = kit_many_wrong();

	for (unsigned i = 0; i < kit.many_given && text == NULL; i++) {
		enum smtp_class class = kit.many[i].mail.verdict.class;
		const struct smtp_peer_taken *t = kit_taken(i);

		if (class == SMTP_SENT && (t == NULL || !t->said))
			text = "called sent, but was not";
		else if (class != SMTP_SENT && class != SMTP_UNCERTAIN && t != NULL)
			text = "was taken, but is called unsent";
		else if (class == SMTP_AGAIN && i == 0 && kit.smtp.quirks == 0)
			text = "the first mail of a connection is free of charge without a reason";
	}
	return text != NULL ? text : kit.peer.violations > 0 ? kit.peer.violation : NULL;
}

/* One mail, or three of which the second is met, over one connection; *out says what became of each. */
static void play(size_t state, enum kind kind, enum mode mode, unsigned count, char *out)
{
	enum smtp_peer_at at = states[state].at;
	unsigned met = count == 1 ? 1 : 2;

	out[0] = '\0';
	begin(at, mode, kinds[kind].reply);
	kit_many(count, 1, 500);
	if (at == PEER_CONTENT) enlarge(&kit.many[met - 1], sizeof(large) - 1);
	if (at == PEER_BDAT) enlarge(&kit.many[met - 1], 20000);
	if (at >= PEER_MAIL && at != PEER_QUIT)
		kit.peer.scripts[0] = (struct smtp_peer_script){met, at, kinds[kind].reply};
	if (at == PEER_RSET) {
		/* The one before is refused, so that there is something to clear. */
		kit.peer.scripts[0] = (struct smtp_peer_script){1, PEER_RSET, kinds[kind].reply};
		if (mode < CHUNK) kit.peer.scripts[1] = (struct smtp_peer_script){1, PEER_RCPT, "550 no"};
	}
	if (kit_open() < 0) {
		append(out, &kit.smtp.verdict);
	} else {
		(void)kit_run();
		for (unsigned i = 0; i < kit.many_given; i++)
			append(out, &kit.many[i].mail.verdict);
		for (unsigned i = kit.many_given; i < kit.many_count; i++)
			strcat(out, ", -");
	}
	kit_close();
	const char *text = wrong();
	if (text != NULL)
		fail_msg("%s %s %s, %u: %s (%s)\n%s", states[state].name, kinds[kind].name, mode_names[mode],
			 count, text, out, kit.notes);
	kit_end();
}

static const struct row *find(size_t state, enum kind kind, enum mode mode)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].state, states[state].name) == 0 &&
		    strcmp(rows[i].kind, kinds[kind].name) == 0 &&
		    strcmp(rows[i].mode, mode_names[mode]) == 0)
			return &rows[i];
	return NULL;
}

static unsigned check(size_t state, enum kind kind, enum mode mode)
{
	char single[128] = "", three[256] = "";
	const struct row *row = find(state, kind, mode);

	if (states[state].single) play(state, kind, mode, 1, single);
	if (states[state].at >= PEER_RSET) play(state, kind, mode, 3, three);
	if (row != NULL && strcmp(row->single, single) == 0 && strcmp(row->three, three) == 0) return 0;
	print_message("outcomes.def:%d is:\nOUTCOME(%s, %s, %s, \"%s\", \"%s\")\n",
		      row != NULL ? row->line : 0, states[state].name, kinds[kind].name, mode_names[mode],
		      single, three);
	return 1;
}

static void test_outcomes(void **state)
{
	unsigned run = 0, differ = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(large) - 1; i++)
		large[i] = "line of text\r\n"[i % 14];
	for (size_t i = 0; i < STATE_COUNT; i++)
		for (enum kind kind = 0; kind < KIND_COUNT; kind++)
			for (enum mode mode = 0; mode < MODE_COUNT; mode++) {
				if ((states[i].modes & 1u << mode) == 0) continue;
				differ += check(i, kind, mode);
				run++;
			}
	print_message("%u rows\n", run);
	if (differ > 0) fail_msg("%u rows are not as in outcomes.def", differ);
	assert_int_equal(run, sizeof(rows) / sizeof(rows[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_outcomes)};

	return cmocka_run_group_tests_name("smtp outcomes", tests, NULL, NULL);
}
