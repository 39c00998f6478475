/* Composes jobs for test_mail_parse.py: each line of the input is a job in JSON, the output its mail, "BYTES why\n" and
 * then so many bytes (0 with a reason: refused). Attachments with content become inline (content_id) or attached. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/err.h"
#include "base/json.h"
#include "mail/mail.h"

enum { LINE = 1 << 20, PARTS = 64 };

static char line[LINE], contents[LINE];
static unsigned char memory[8 * LINE];
static struct mail mail;
static struct mail_part parts[PARTS];
static struct mail_memory texts[PARTS];

static struct mail_part *add(struct mail_input *in, enum mail_role role, const char *type, struct str content)
{
	struct mail_part *p = &parts[in->part_count];

	CHECK(in->part_count < PARTS);
	*p = (struct mail_part){
		.role = role, .type = type, .source = mail_source_memory(&texts[in->part_count], content)};
	in->part_count++;
	return p;
}

static void add_attachments(struct mail_input *in, const struct job *job, enum mail_role role, size_t *used)
{
	for (size_t i = 0; i < job->attachment_count; i++) {
		const struct job_attachment *a = &job->attachments[i];
		struct mail_part *p;
		int len;

		if ((role == MAIL_INLINE) != (a->content_id.len > 0)) continue;
		len = base64_decode(a->content.utf8, contents + *used, sizeof(contents) - *used);
		CHECK(len >= 0);
		p = add(in, role, a->mime_type.ptr, (struct str){contents + *used, (size_t)len});
		p->name = a->filename;
		p->content_id = a->content_id;
		*used += (size_t)len;
	}
}

static void give(const struct mail_input *in)
{
	char bytes[1000];
	int64_t sum = 0;
	int rc;

	if (mail_open(&mail, in) < 0) {
		printf("0 %s\n", mail.why ? mail.why : "an error");
		return;
	}
	CHECK(mail_measure(&mail) == 0);
	printf("%lld\n", (long long)mail.info.bytes);
	while ((rc = mail_read(&mail, bytes, sizeof(bytes))) > 0) {
		fwrite(bytes, 1, (size_t)rc, stdout);
		sum += rc;
	}
	CHECK(rc == 0 && sum == mail.info.bytes);
}

static void compose(size_t len)
{
	const struct job_limits limits = {
		.job_bytes = LINE, .recipients = 100, .envelope_bytes = LINE, .attachments = true};
	struct mail_input in = {.parts = parts, .message_id = STR("id@example.com")};
	struct job_address gateway;
	struct job_problem problem;
	struct arena a;
	struct job job;
	size_t used = 0;

	arena_init(&a, memory, sizeof(memory));
	CHECK(job_address_parse(&a, STR("gw@example.com"), &gateway, NULL) == 0);
	if (job_decode(&a, line, len, &limits, &job, &problem) < 0) {
		printf("0 %s: %s\n", problem.pointer, problem.reason);
		return;
	}
	in.job = &job;
	in.provider_from = &gateway;
	if (job.text.present) add(&in, MAIL_BODY, "text/plain", job.text.utf8);
	if (job.html.present) add(&in, MAIL_BODY, "text/html", job.html.utf8);
	add_attachments(&in, &job, MAIL_INLINE, &used);
	add_attachments(&in, &job, MAIL_ATTACHED, &used);
	give(&in);
}

int main(void)
{
	while (fgets(line, sizeof(line) - JSON_PADDING, stdin)) {
		size_t len = strlen(line);

		if (len > 0 && line[len - 1] == '\n') line[--len] = '\0';
		compose(len);
	}
	return ferror(stdin) || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
