/* A job's JSON composed, and its fields looked at, for the unit tests of this room. */
#ifndef POSTERN_TEST_MAIL_KIT_H
#define POSTERN_TEST_MAIL_KIT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "unit/mail/mail_rules.h"

static char memory[1 << 18], text[1 << 16], bytes[RULES_BYTES_MAX];
static struct mail mail;
static struct mail_memory contents[2];
static struct mail_part parts[2];
static struct str bodies[2];
static struct mail_input input;
static struct job job;
static struct job_address provider, override;
static struct arena arena;

/* Decodes and opens; the provider's from and from_override may be NULL. */
static inline int open_job(const char *json, const char *from, const char *over)
{
	static const struct job_limits limits = {
		.job_bytes = 60000, .recipients = 100, .envelope_bytes = 60000};
	struct job_problem problem;

	memcpy(text, json, strlen(json));
	arena_init(&arena, memory, sizeof(memory));
	if (job_decode(&arena, text, strlen(json), &limits, &job, &problem) < 0)
		fail_msg("%s\n  %s: %s", json, problem.pointer, problem.reason);
	if (from) assert_int_equal(job_address_parse(&arena, str_from(from), &provider, NULL), 0);
	if (over) assert_int_equal(job_address_parse(&arena, str_from(over), &override, NULL), 0);
	input = (struct mail_input){.job = &job,
				    .provider_from = from ? &provider : NULL,
				    .from_override = over ? &override : NULL,
				    .date_known = true,
				    .date_ms = 1758277805000,
				    .message_id = STR("id@example.com"),
				    .parts = parts};
	for (int html = 0; html < 2; html++) {
		const struct job_text *t = html ? &job.html : &job.text;

		if (!t->present) continue;
		bodies[input.part_count] = t->utf8;
		parts[input.part_count] = (struct mail_part){
			.role = MAIL_BODY,
			.type = html ? "text/html" : "text/plain",
			.source = mail_source_memory(&contents[input.part_count], t->utf8)};
		input.part_count++;
	}
	return mail_open(&mail, &input);
}

static inline const char *compose(const char *json, const char *from, const char *over)
{
	if (open_job(json, from, over) < 0) fail_msg("%s\n  %s", json, mail.why);
	rules_check(&mail, bodies);
	assert_int_equal(mail_rewind(&mail), 0);
	bytes[rules_read(&mail, bytes, 100)] = '\0';
	return bytes;
}

/* The field of that name, up to the end of its last line. */
static inline const char *field(const char *json, const char *name)
{
	static char out[40000];
	const char *at, *end;
	char begin[100];

	at = compose(json, "gw@example.com", NULL);
	snprintf(begin, sizeof(begin), "\r\n%s:", name);
	at = strstr(at, begin);
	if (!at) return "";
	for (end = at + 2; (end = strstr(end, "\r\n")) != NULL; end += 2)
		if (end[2] != ' ' && end[2] != '\t') break;
	assert_non_null(end);
	snprintf(out, sizeof(out), "%.*s", (int)(end - at - 2), at + 2);
	return out;
}

#endif
