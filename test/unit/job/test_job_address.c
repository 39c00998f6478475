/* Addresses one by one: what RFC 5321, 5322 and 6532 allow, domains beyond ASCII, phrases and lists. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "job/job.h"

#define TEN   "aaaaaaaaaa"
#define FIFTY TEN TEN TEN TEN TEN
#define L63   FIFTY TEN "aaa"

static unsigned char memory[4096];
static struct arena arena;
static struct job_address address;

/* The addr-spec, or the reason in parentheses. */
static const char *parse(const char *text)
{
	static char out[1200];
	const char *why = NULL;

	arena_init(&arena, memory, sizeof(memory));
	if (job_address_parse(&arena, str_from(text), &address, &why) < 0)
		snprintf(out, sizeof(out), "(%s)", why);
	else
		snprintf(out, sizeof(out), STR_FMT, STR_ARG(address.addr));
	return out;
}

struct both {
	const char *given, *expected;
};

static void check(const struct both *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *got = parse(cases[i].given);

		if (strcmp(got, cases[i].expected) != 0)
			fail_msg("%s\n  expected %s\n  got      %s", cases[i].given, cases[i].expected, got);
	}
}
#define CHECK_ALL(cases) check(cases, sizeof(cases) / sizeof((cases)[0]))

static void takes_what_the_standards_have(void **state)
{
	static const struct both cases[] = {
		{"!#$%&'*+-/=?^_`{|}~@b.c", "!#$%&'*+-/=?^_`{|}~@b.c"},
		{"\"a b\\\"c\\\\\"@b.c", "\"a b\\\"c\\\\\"@b.c"},
		{"\"@\"@b.c", "\"@\"@b.c"},
		{"\"\"@b.c", "\"\"@b.c"},
		{"a@[192.0.2.1]", "a@[192.0.2.1]"},
		{"a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"},
		{"a@b", "a@b"},
		{"j\xc3\xb6@b.c", "j\xc3\xb6@b.c"},
		{" (c) a@b.c (d (e) \\) f) ", "a@b.c"},
		{"A (x) B <(y)a@b.c(z)>", "a@b.c"},
		{L63 "a@b.c", L63 "a@b.c"},
		{L63 "aa@b.c", "(the part before the @ is longer than 64 bytes)"},
		{"a@" L63 ".b", "a@" L63 ".b"},
		{"a@" L63 "a.b", "(a label of the domain is longer than 63 bytes)"},
		{"a@" L63 "." L63 "." L63 "." FIFTY TEN, "a@" L63 "." L63 "." L63 "." FIFTY TEN},
		{"a@" L63 "." L63 "." L63 "." FIFTY TEN "aa", "(longer than 254 bytes)"},
		{"a@b.c.", "(the domain has an empty label)"},
		{"a@.b", "(the domain has an empty label)"},
		{"a@b..c", "(the domain has an empty label)"},
		{"a@-b.c", "(a label of the domain begins or ends with a hyphen)"},
		{"a@b-.c", "(a label of the domain begins or ends with a hyphen)"},
		{"a@b_c.d", "(a character that a domain cannot have)"},
		{"a@192.0.2.1", "(the domain ends in a number (an IP address wants brackets))"},
		{".a@b.c", "(a dot at the beginning, or two in a row, before the @)"},
		{"a.@b.c", "(a dot right before the @)"},
		{"a..b@b.c", "(a dot at the beginning, or two in a row, before the @)"},
		{"a@b.c (d", "(a comment is not closed)"},
		{"a@b.c\\", "(a character that a domain cannot have)"},
		{"<a@b.c", "(a bracket is not closed)"},
		{"<<a@b.c>>", "(a bracket in the wrong place)"},
		{"<>", "(empty)"},
		{"a@b.c\r\nX: y", "(a line break in it)"},
		{"\"a\n\"@b.c", "(a line break in it)"},
		{"a\x01@b.c", "(a control character in it)"},
		{"a\xff@b.c", "(not UTF-8)"},
	};
	char nul[] = "a\0@b.c";
	const char *why;

	(void)state;
	CHECK_ALL(cases);
	assert_int_equal(job_address_parse(&arena, (struct str){nul, 6}, &address, &why), ERR_INVALID);
	assert_string_equal(why, "a NUL in it");
}

/* Expected values as of Python's idna 3 with uts46 (non-transitional), but for what it needs Unicode's tables for. */
static void maps_domains(void **state)
{
	static const struct both cases[] = {
		{"a@b\xc3\xbc"
		 "cher.example",
		 "a@xn--bcher-kva.example"},
		{"a@B\xc3\x9c"
		 "CHER.Example",
		 "a@xn--bcher-kva.Example"},
		/* decomposed, as a Mac writes it: u and diaeresis; e, dot below and circumflex */
		{"a@bu\xcc\x88"
		 "cher.example",
		 "a@xn--bcher-kva.example"},
		{"a@vie\xcc\xa3\xcc\x82t.vn", "a@xn--vit-5kz.vn"},
		{"a@fa\xc3\x9f.de", "a@xn--fa-hia.de"},
		{"a@FA\xe1\xba\x9e.de", "a@xn--fa-hia.de"},
		{"a@\xce\xb2\xcf\x8c\xce\xbb\xce\xbf\xcf\x82.gr", "a@xn--nxasmm1c.gr"},
		{"a@\xce\x92\xce\x9f\xcc\x81\xce\x9b\xce\x9f\xce\xa3.gr", "a@xn--nxasmq6b.gr"},
		{"a@\xd0\xb8\xcc\x86.ru", "a@xn--i1a.ru"},
		{"a@\xd4\xb1\xd4\xb2.am", "a@xn--y9ac.am"},
		/* Korean, composed and not; Japanese with its voicing mark apart */
		{"a@\xed\x95\x9c\xea\xb5\xad.kr", "a@xn--3e0b707e.kr"},
		{"a@\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab\xe1\x84\x80\xe1\x85\xae\xe1\x86\xa8.kr",
		 "a@xn--3e0b707e.kr"},
		{"a@\xe3\x81\x8b\xe3\x82\x99.jp", "a@xn--v8j.jp"},
		{"a@\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d.il", "a@xn--9dbne9b.il"},
		/* characters that are good in their place */
		{"a@l\xc2\xb7l.cat", "a@xn--ll-0ea.cat"},
		{"a@a\xc2\xb7l.cat", "(a character where a domain cannot have it)"},
		{"a@\xe3\x82\xa2\xe3\x83\xbb.jp", "a@xn--cckzj.jp"},
		{"a@a\xe3\x83\xbb.jp", "(a character where a domain cannot have it)"},
		{"a@\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d\xe0\xa4\xb7.in", "a@xn--11b2ezcw70k.in"},
		{"a@a\xe2\x80\x8d"
		 "b.in",
		 "(a character where a domain cannot have it)"},
		{"a@a\xe2\x80\x8c"
		 "b.in",
		 "(a character where a domain cannot have it)"},
		/* from right to left: nothing else in the label, and no digit in front */
		{"a@\xd7\x90"
		 "1.il",
		 "a@xn--1-zhc.il"},
		{"a@1\xd7\x90.il", "(a label of the domain in two directions of writing)"},
		{"a@a\xd7\x90.il", "(a label of the domain in two directions of writing)"},
		{"a@\xd7\x90\xc3\xa4.il", "(a label of the domain in two directions of writing)"},
		{"a@\xd8\xa7"
		 "1\xd9\xa1.sa",
		 "(a label of the domain in two directions of writing)"},
		{"a@xn--\xc3\xbc.de", "(a label of the domain with hyphens at 3 and 4)"},
		{"a@x\xcc\x88x.de", "a@xn--x-vtm.de"},
		{"a@q\xcc\x88.de", "(a character that a domain cannot have (write it in its xn-- form))"},
		{"a@\xe1\x84\x92.kr", "(a character that a domain cannot have (write it in its xn-- form))"},
		{"a@\xcc\x88.de", "(a character that a domain cannot have (write it in its xn-- form))"},
		{"a@\xf0\x9f\x98\x80.de", "a@xn--e28h.de"},
		{"a@\xef\xbc\xa1.de", "(a character that a domain cannot have (write it in its xn-- form))"},
	};

	(void)state;
	CHECK_ALL(cases);
	parse("j\xc3\xb6@b\xc3\xbc"
	      "cher.example");
	assert_true(str_eq(address.domain, STR("xn--bcher-kva.example")));
}

static void takes_lists_apart(void **state)
{
	static const struct {
		int kind;
		const char *item;
	} expected[] = {
		{JOB_LIST_MAILBOX, "\"a,b;c:\" <a@b.c>"},
		{JOB_LIST_GROUP, "T (x,y:z)"},
		{JOB_LIST_MAILBOX, "d@[IPv6:::1]"},
		{JOB_LIST_MAILBOX, "<e@f>"},
		{JOB_LIST_GROUP_END, ""},
		{JOB_LIST_GROUP, "U"},
		{JOB_LIST_GROUP_END, ""},
		{JOB_LIST_MAILBOX, "g@h"},
		{JOB_LIST_END, ""},
	};
	struct job_list l;
	struct str item, name;
	const char *why;

	(void)state;
	job_list_init(&l, STR("\"a,b;c:\" <a@b.c>, T (x,y:z): d@[IPv6:::1] ,<e@f>; ,U:;,g@h"));
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_int_equal(job_list_next(&l, &item), expected[i].kind);
		if (!str_eq(item, str_from(expected[i].item))) fail_msg("%zu: " STR_FMT, i, STR_ARG(item));
	}
	assert_int_equal(job_list_check(STR("T: a@b.c, d@e.f;, g@h.i"), &why), 0);
	assert_int_equal(job_list_check(STR("T@: a@b.c;"), &why), ERR_INVALID);
	assert_string_equal(why, "an @ too many (a name with an @ wants quotes)");
	assert_int_equal(job_list_check(STR("a@b.c,,d@e.f"), &why), ERR_INVALID);
	assert_string_equal(why, "nothing behind a comma");
	arena_init(&arena, memory, sizeof(memory));
	assert_int_equal(job_phrase_parse(&arena, STR(" A  \"B \\\" C\" (d) E. "), &name, &why), 0);
	assert_true(str_eq(name, STR("A B \" C E.")));
	assert_int_equal(job_phrase_parse(&arena, STR("a\rb"), &name, &why), ERR_INVALID);
	assert_string_equal(why, "a line break in it");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_the_standards_have),
		cmocka_unit_test(maps_domains),
		cmocka_unit_test(takes_lists_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
