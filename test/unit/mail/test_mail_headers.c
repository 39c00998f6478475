/* Groups, structured headers, names of every kind: how they stand in the header, and what is refused. */
#include "unit/mail/mail_kit.h"

#define BODY      "\"body_content\":\"\""
#define TO(list)  field("{\"to\":[" list "]," BODY "}", "To")
#define WITH(map) "{\"to\":[\"a@b.c\"]," BODY ",\"headers\":{" map "}}"
#define TEN       "aaaaaaaaaa"
#define FIFTY     TEN TEN TEN TEN TEN
#define UUML      "\xc3\xbc"

static void writes_groups(void **state)
{
	(void)state;
	assert_string_equal(TO("\"Team: a@b.c, Bob <d@e.f>;\""), "To: Team: a@b.c, Bob <d@e.f>;");
	assert_int_equal(job.rcpt_count, 2);
	assert_string_equal(TO("\"x@y.z\",\"Team: a@b.c;\",\"Gr" UUML "n: d@e.f, g@h.i;\",\"j@k.l\""),
			    "To: x@y.z, Team: a@b.c;, =?UTF-8?B?R3LDvG4=?= : d@e.f, g@h.i;, j@k.l");
	/* what was named before stands where it was named first */
	assert_string_equal(TO("\"a@b.c\",\"\\\"A, B: C\\\": a@b.c, d@e.f;\",\"d@e.f\""),
			    "To: a@b.c, \"A, B: C\": d@e.f;");
	assert_int_equal(job.rcpt_count, 2);
	assert_string_equal(TO("\"Nobody:;\",\"a@b.c\""), "To: Nobody:;, a@b.c");
	assert_string_equal(TO("\"a@b.c\",\"Nobody: ;\""), "To: a@b.c, Nobody:;");
	assert_string_equal(field("{\"to\":[\"T: a@b.c;\",\"T2:;\"],\"cc\":[\"N:;\",\"C: "
				  "d@e.f;\",\"g@h.i\"],\"bcc\":[\"B: "
				  "j@k.l;\"]," BODY "}",
				  "Cc"),
			    "Cc: N:;, C: d@e.f;, g@h.i");
	assert_non_null(strstr(bytes, "\r\nTo: T: a@b.c;, T2:;\r\n"));
	assert_null(strstr(bytes, "j@k.l"));
	assert_int_equal(job.rcpt_count, 4);
	/* the envelope's copy has them too */
	static char copy_memory[4096];
	static struct job copy;
	struct arena a;

	arena_init(&a, copy_memory, sizeof(copy_memory));
	assert_int_equal(job_copy_envelope(&a, &job, &copy), 0);
	memset(text, 'Z', sizeof(text));
	memset(memory, 'Z', sizeof(memory));
	assert_int_equal(copy.group_count, 4);
	assert_true(str_eq(copy.groups[3].name, STR("C")) && copy.groups[3].count == 1);
	/* only a hidden recipient, but a group to show for it */
	assert_string_equal(
		field("{\"to\":[\"undisclosed-recipients:;\"],\"bcc\":[\"a@b.c\"]," BODY "}", "To"),
		"To: undisclosed-recipients:;");
	assert_string_equal(field("{\"bcc\":[\"Team: a@b.c;\"]," BODY "}", "To"),
			    "To: undisclosed-recipients:;");
}

/* The same recipients, another header: another job. */
static void tells_jobs_apart_by_their_groups(void **state)
{
	unsigned char without[DIGEST_SHA256_BYTES], with[DIGEST_SHA256_BYTES];

	(void)state;
	TO("\"a@b.c\",\"d@e.f\"");
	memcpy(without, job.digest, sizeof(without));
	TO("\"T: a@b.c;\",\"d@e.f\"");
	memcpy(with, job.digest, sizeof(with));
	assert_memory_not_equal(with, without, sizeof(with));
	TO("\"T: a@b.c, d@e.f;\"");
	assert_memory_not_equal(with, job.digest, sizeof(with));
	TO("\"U: a@b.c;\",\"d@e.f\"");
	assert_memory_not_equal(with, job.digest, sizeof(with));
	TO("\"T : a@b.c;\",\"d@e.f\"");
	assert_memory_equal(with, job.digest, sizeof(with));
}

static void writes_long_names_and_addresses(void **state)
{
	const char *to;

	(void)state;
	/* each line at most 78 columns where that can be: the longest address there is cannot */
	to = TO("\"" FIFTY " <" FIFTY "@" FIFTY "." FIFTY "." FIFTY ".example>\"");
	assert_string_equal(to, "To: " FIFTY "\r\n <" FIFTY "@" FIFTY "." FIFTY "." FIFTY ".example>");
	assert_string_equal(TO("\"\\\"" TEN "\\\\\\\"" TEN "\\\\\\\"" TEN "\\\\\\\"" TEN "\\\\\\\"" TEN
			       "\\\\\\\"\\\\\\\"\\\" <a@b.c>\""),
			    "To: =?UTF-8?Q?aaaaaaaaaa=22aaaaaaaaaa=22aaaaaaaaaa=22aaaaaaaaaa=22aaaaa?=\r\n"
			    " =?UTF-8?Q?aaaaa=22=22?= <a@b.c>");
	assert_string_equal(TO("\"\\\"\\\" <a@b.c>\""), "To: a@b.c");
	assert_string_equal(TO("\"\\\" a\\\" <a@b.c>\""), "To: \" a\" <a@b.c>");
	assert_string_equal(TO("\"J. Doe <a@b.c>\""), "To: \"J. Doe\" <a@b.c>");
	assert_string_equal(TO("\"a@b.c (J. Doe)\""), "To: \"J. Doe\" <a@b.c>");
	/* right to left, joined emoji, a combining accent: whole characters, whatever they look like */
	assert_string_equal(TO("\"\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d <a@b.c>\""),
			    "To: =?UTF-8?B?16nXnNeV150=?= <a@b.c>");
	assert_string_equal(TO("\"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb e\xcc\x81 <a@b.c>\""),
			    "To: =?UTF-8?B?8J+RqeKAjfCfkrsgZcyB?= <a@b.c>");
}

static const char *header(const char *name, const char *value)
{
	char json[3000];

	snprintf(json, sizeof(json), WITH("\"%s\":\"%s\""), name, value);
	return field(json, name);
}

static void writes_structured_headers(void **state)
{
	(void)state;
	assert_string_equal(
		header("Reply-To", "J" UUML "rgen <j@b" UUML "cher.example>, Team: a@b.c;, d@e.f"),
		"Reply-To: =?UTF-8?Q?J=C3=BCrgen?= <j@xn--bcher-kva.example>, Team: a@b.c;,\r\n"
		" d@e.f");
	assert_false(mail.info.smtputf8);
	assert_string_equal(header("Disposition-Notification-To", "j" UUML "@b.c"),
			    "Disposition-Notification-To: j" UUML "@b.c");
	assert_true(mail.info.smtputf8 && mail.info.eight_bit);
	/* message ids are never encoded, and folded between */
	assert_string_equal(header("References", "<" FIFTY "@b.c>  <" FIFTY "@d.e>\\t<f@g>"),
			    "References: <" FIFTY "@b.c>\r\n <" FIFTY "@d.e> <f@g>");
	assert_string_equal(header("In-Reply-To", " <=?x?q?y?=@b.c> "), "In-Reply-To: <=?x?q?y?=@b.c>");
	/* an URI is never broken, at whatever length */
	assert_string_equal(header("List-Unsubscribe",
				   "<mailto:" FIFTY "@b.c?subject=a b>,<https://b.c/" FIFTY FIFTY ">"),
			    "List-Unsubscribe: <mailto:" FIFTY
			    "@b.c?subject=a b>,\r\n <https://b.c/" FIFTY FIFTY ">");
	assert_string_equal(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
			    "List-Unsubscribe-Post: List-Unsubscribe=One-Click");
	assert_string_equal(header("List-ID", "Gr" UUML UUML "ne <a.b.c>"),
			    "List-ID: =?UTF-8?B?R3LDvMO8bmU=?= <a.b.c>");
	assert_string_equal(header("Keywords", "a b, \\\"c\\\""), "Keywords: a b, \"c\"");
	assert_string_equal(header("Keywords", "\xc3\xa4, \\\"b\\\" ,c"),
			    "Keywords: =?UTF-8?B?w6Q=?= , =?UTF-8?Q?b?= , =?UTF-8?Q?c?=");
}

static void refuses_what_cannot_be_written(void **state)
{
	static const struct {
		const char *name, *value, *reason;
	} cases[] = {
		{"Reply-To", "", "empty"},
		{"Reply-To", "root", "no @ in it"},
		{"Reply-To", "a@b.c,", "nothing behind a comma"},
		{"Reply-To", ",a@b.c", "nothing in front of a comma"},
		{"Reply-To", "a@b.c d@e.f",
		 "a character in the wrong place (a name with special characters wants "
		 "quotes)"},
		{"Reply-To", "T: a@b.c; d@e.f", "no comma behind a group"},
		{"Reply-To", "T: U: a@b.c;;", "a group inside of a group"},
		{"Reply-To", "T: a@b.c", "a group is not closed by ; (a name with a colon wants quotes)"},
		{"Reply-To", "a@b.c;", "a semicolon that ends no group"},
		{"Reply-To", ": a@b.c;", "a group without a name"},
		{"Reply-To", "\\\"a <a@b.c>", "a quote, bracket or comment is not closed"},
		{"References", "", "empty (null leaves it out)"},
		{"References", "<" UUML "@b.c>", "must be ASCII here"},
		{"In-Reply-To", "<a@b.c", "a bracket is not closed"},
		{"In-Reply-To", "a@b.c>", "a bracket in the wrong place"},
		{"List-Unsubscribe", "<https://b.c/" UUML ">", "must be ASCII here"},
		{"List-ID", UUML " <" UUML ">", "must be ASCII here"},
		{"Keywords", " ", "empty (null leaves it out)"},
		{"Resent-Bcc", "a@b.c", "the gateway writes this header itself"},
		{"X-A", "a\\r\\nBcc: d@e.f", "a line break in it"},
		{"X-A", "a\\u0000", "a NUL in it"},
		{"Reply-To", "a@b.c,\\n d@e.f", "a line break in it"},
		{"References", "<a@b>\\r<c@d>", "a line break in it"},
	};
	static const struct job_limits limits = {
		.job_bytes = 60000, .recipients = 100, .envelope_bytes = 60000};
	struct job_problem problem;
	char json[1000], pointer[100];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(json, sizeof(json), WITH("\"%s\":\"%s\""), cases[i].name, cases[i].value);
		snprintf(pointer, sizeof(pointer), "/headers/%s", cases[i].name);
		arena_init(&arena, memory, sizeof(memory));
		memcpy(text, json, strlen(json));
		assert_int_equal(job_decode(&arena, text, strlen(json), &limits, &job, &problem),
				 ERR_INVALID);
		assert_string_equal(problem.reason, cases[i].reason);
		assert_string_equal(problem.pointer, pointer);
	}
	/* the last place before the wire, should a job come by another way than decoding */
	assert_int_equal(open_job(WITH("\"X-A\":\"abc\""), "gw@example.com", NULL), 0);
	memcpy((char *)(uintptr_t)job.headers[0].value.ptr, "a\n", 2);
	assert_int_equal(mail_open(&mail, &input), ERR_INVALID);
	assert_string_equal(mail.why, "a line break or control character in an address or header");
}

static void puts_finished_fields_in_front(void **state)
{
	static const struct str front = {"DKIM-Signature: v=1;\r\n b=abc\r\n", 30};
	size_t len, again;

	(void)state;
	compose(WITH("\"X-A\":\"b\""), "gw@example.com", NULL);
	len = strlen(bytes);
	input.front = front;
	assert_int_equal(mail_measure(&mail), 0);
	assert_int_equal(mail.info.bytes, len + front.len);
	again = rules_read(&mail, text, 100);
	assert_int_equal(again, len + front.len);
	assert_memory_equal(text, front.ptr, front.len);
	assert_memory_equal(text + front.len, bytes, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_groups),
		cmocka_unit_test(tells_jobs_apart_by_their_groups),
		cmocka_unit_test(writes_long_names_and_addresses),
		cmocka_unit_test(writes_structured_headers),
		cmocka_unit_test(refuses_what_cannot_be_written),
		cmocka_unit_test(puts_finished_fields_in_front),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
