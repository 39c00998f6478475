/* Any bytes as an address, a phrase, a list: what is let through is fit for SMTP and for a header, means the same
 * when it is read again, and taking a list apart ends. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "job/job.h"

static unsigned char memory[1 << 13], more[1 << 13];

static void check_text(struct str s)
{
	CHECK(str_is_utf8(s) && !str_has_ctl(s));
	CHECK(s.len == 0 || !memchr(s.ptr, '\t', s.len));
}

static void check_domain(struct str d)
{
	size_t label = 0;

	CHECK(d.len > 0);
	if (d.ptr[0] == '[') {
		CHECK(d.ptr[d.len - 1] == ']');
		return;
	}
	for (size_t i = 0; i < d.len; i++) {
		char c = d.ptr[i];

		CHECK((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '.');
		label = c == '.' ? 0 : label + 1;
		CHECK(label <= 63 && (c != '.' || (i > 0 && d.ptr[i - 1] != '.')));
	}
	CHECK(label > 0);
}

static void check_address(struct str text)
{
	struct job_address a, b;
	struct arena arena, again;
	const char *why = NULL;
	int rc;

	arena_init(&arena, memory, sizeof(memory));
	arena_init(&again, more, sizeof(more));
	rc = job_address_parse(&arena, text, &a, &why);
	CHECK(rc == 0 || (rc == ERR_INVALID && why && why[0]));
	if (rc < 0) return;
	CHECK(!why && a.addr.len > 0 && a.addr.len <= JOB_ADDRESS_MAX && a.name.len <= JOB_NAME_MAX);
	check_text(a.addr);
	check_text(a.name);
	/* by itself it is the same address */
	CHECK(job_address_parse(&again, a.addr, &b, NULL) == 0 && str_eq(a.addr, b.addr) && b.name.len == 0);
	if (!a.domain.ptr) return;
	check_domain(a.domain);
	CHECK(a.domain.ptr + a.domain.len == a.addr.ptr + a.addr.len && a.domain.ptr[-1] == '@');
	CHECK((size_t)(a.domain.ptr - a.addr.ptr) - 1 <= JOB_LOCAL_MAX && a.domain.ptr - a.addr.ptr > 1);
}

static void check_list(struct str text)
{
	struct job_address a;
	struct job_list l;
	struct arena arena;
	const char *why;
	struct str item, name;
	bool good = job_list_check(text, &why) == 0;
	size_t at = 0, items = 0;
	int kind;

	CHECK(good == !why);
	job_list_init(&l, text);
	while ((kind = job_list_next(&l, &item)) > JOB_LIST_END) {
		arena_init(&arena, memory, sizeof(memory));
		CHECK(item.ptr >= text.ptr && item.ptr + item.len <= text.ptr + text.len && l.at <= text.len);
		CHECK(l.at >= at && ++items <= 2 * text.len);
		at = l.at;
		CHECK(!good || kind != JOB_LIST_MAILBOX || job_address_parse(&arena, item, &a, NULL) == 0);
		CHECK(!good || kind != JOB_LIST_GROUP || job_phrase_parse(&arena, item, &name, &why) == 0);
	}
	CHECK(kind == JOB_LIST_END || (l.why && !good));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct str text = {(const char *)data, len}, name;
	struct arena arena;
	const char *why;

	if (len == 0 || len > 20000) return 0;
	check_address(text);
	arena_init(&arena, memory, sizeof(memory));
	if (job_phrase_parse(&arena, text, &name, &why) == 0) {
		check_text(name);
		CHECK(name.len > 0 && name.len <= JOB_NAME_MAX);
	}
	check_list(text);
	return 0;
}
