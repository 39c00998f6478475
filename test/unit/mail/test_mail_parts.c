/* The MIME tree: roles, file names, messages inside, and that every content comes out as it went in. */
#include "unit/mail/mail_kit.h"

#define PARTS_MAX 12
#define HUNDRED                                                                                              \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aa"
#define UUML "\xc3\xbc"

static struct mail_part tree[PARTS_MAX];
static struct mail_memory texts[PARTS_MAX];
static struct str originals[PARTS_MAX];

static void tree_begin(void)
{
	assert_int_equal(open_job("{\"to\":[\"a@b.c\"],\"body_content\":\"\"}", "gw@example.com", NULL), 0);
	input.parts = tree;
	input.part_count = 0;
	input.date_known = false;
}

static struct mail_part *add(enum mail_role role, const char *type, struct str content, const char *name)
{
	struct mail_part *p = &tree[input.part_count];

	originals[input.part_count] = content;
	*p = (struct mail_part){.role = role,
				.type = type,
				.source = mail_source_memory(&texts[input.part_count], content),
				.name = str_from(name)};
	input.part_count++;
	return p;
}

/* The content: all behind MIME-Version. Boundaries are made readable: their 32 digits go. */
static const char *tree_end(void)
{
	static char out[40000];
	size_t len;
	char *at;

	if (mail_open(&mail, &input) < 0) fail_msg("%s", mail.why);
	rules_check(&mail, originals);
	assert_int_equal(mail_rewind(&mail), 0);
	len = rules_read(&mail, bytes, 777);
	assert_int_equal(len, mail.info.bytes);
	bytes[len] = '\0';
	snprintf(out, sizeof(out), "%s", strstr(bytes, "MIME-Version: 1.0\r\n") + 19);
	while ((at = strstr(out, mail.boundary)) != NULL)
		memmove(at, at + 32, strlen(at + 32) + 1);
	return out;
}

static void nests_related_in_alternative_in_mixed(void **state)
{
	(void)state;
	tree_begin();
	add(MAIL_BODY, "text/plain", STR("plain"), NULL);
	add(MAIL_BODY, "text/html", STR("<img src=cid:a@b>"), NULL);
	add(MAIL_INLINE, "image/png", STR("\x89PNG"), "a.png")->content_id = STR("a@b");
	add(MAIL_ATTACHED, "text/csv", STR("a;b\r\n"), "t.csv");
	add(MAIL_ATTACHED, NULL, STR(""), "");
	assert_string_equal(tree_end(), "Content-Type: multipart/mixed;\r\n"
					" boundary=\"=_m\"\r\n"
					"\r\n"
					"--=_m\r\n"
					"Content-Type: multipart/alternative;\r\n"
					" boundary=\"=_a\"\r\n"
					"\r\n"
					"--=_a\r\n"
					"Content-Type: text/plain; charset=us-ascii\r\n"
					"Content-Transfer-Encoding: 7bit\r\n"
					"\r\n"
					"plain\r\n"
					"\r\n"
					"--=_a\r\n"
					"Content-Type: multipart/related;\r\n"
					" type=\"text/html\";\r\n"
					" boundary=\"=_r\"\r\n"
					"\r\n"
					"--=_r\r\n"
					"Content-Type: text/html; charset=us-ascii\r\n"
					"Content-Transfer-Encoding: 7bit\r\n"
					"\r\n"
					"<img src=cid:a@b>\r\n"
					"\r\n"
					"--=_r\r\n"
					"Content-Type: image/png;\r\n"
					" name=\"a.png\"\r\n"
					"Content-Transfer-Encoding: base64\r\n"
					"Content-ID: <a@b>\r\n"
					"Content-Disposition: inline;\r\n"
					" filename=\"a.png\"\r\n"
					"\r\n"
					"iVBORw==\r\n"
					"\r\n"
					"--=_r--\r\n"
					"\r\n"
					"--=_a--\r\n"
					"\r\n"
					"--=_m\r\n"
					"Content-Type: text/csv; charset=us-ascii;\r\n"
					" name=\"t.csv\"\r\n"
					"Content-Transfer-Encoding: 7bit\r\n"
					"Content-Disposition: attachment;\r\n"
					" filename=\"t.csv\"\r\n"
					"\r\n"
					"a;b\r\n"
					"\r\n"
					"--=_m\r\n"
					"Content-Type: application/octet-stream\r\n"
					"Content-Transfer-Encoding: base64\r\n"
					"Content-Disposition: attachment\r\n"
					"\r\n"
					"\r\n"
					"--=_m--\r\n");
	/* a part alone needs no multipart; inline parts without a body are files among files */
	tree_begin();
	add(MAIL_ATTACHED, "application/pdf", STR("%PDF"), "a.pdf");
	assert_string_equal(tree_end(), "Content-Type: application/pdf;\r\n"
					" name=\"a.pdf\"\r\n"
					"Content-Transfer-Encoding: base64\r\n"
					"Content-Disposition: attachment;\r\n"
					" filename=\"a.pdf\"\r\n"
					"\r\n"
					"JVBERg==\r\n");
	tree_begin();
	add(MAIL_INLINE, "image/png", STR("a"), "");
	add(MAIL_INLINE, "image/png", STR("b"), "");
	assert_null(strstr(tree_end(), "related"));
	assert_non_null(strstr(bytes, "multipart/mixed"));
}

/* What stands between the type and the transfer encoding, and behind the disposition. */
static const char *named(const char *name)
{
	static char out[4000];
	const char *got, *a, *b, *c, *d;

	tree_begin();
	add(MAIL_ATTACHED, "a/b", STR("x"), name);
	got = tree_end();
	a = got + strlen("Content-Type: a/b");
	b = strstr(got, "\r\nContent-Transfer");
	c = strstr(got, "Content-Disposition: attachment") + 31;
	d = strstr(got, "\r\n\r\n");
	snprintf(out, sizeof(out), "%.*s|%.*s", (int)(b - a), a, (int)(d - c), c);
	return out;
}

static void writes_file_names(void **state)
{
	(void)state;
	assert_string_equal(named("a \"b\"\\c.pdf"), ";\r\n name=\"a \\\"b\\\"\\\\c.pdf\"|;\r\n"
						     " filename=\"a \\\"b\\\"\\\\c.pdf\"");
	assert_string_equal(named("b" UUML ".pdf"), ";\r\n name=\"=?UTF-8?B?YsO8LnBkZg==?=\"|;\r\n"
						    " filename*=UTF-8''b%C3%BC.pdf");
	assert_string_equal(named("=?x?q?y?="), ";\r\n name=\"=?UTF-8?B?PT94P3E/eT89?=\"|;\r\n"
						" filename*=UTF-8''%3D%3Fx%3Fq%3Fy%3F%3D");
	assert_string_equal(named(HUNDRED),
			    ";\r\n name=\"" HUNDRED "\"|;\r\n"
			    " filename*0*=UTF-8''aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;\r\n"
			    " filename*1*=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;\r\n"
			    " filename*2*=aaaa");
	assert_string_equal(
		named("\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		      "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		      "\xf0\x9f\x98\x80"),
		";\r\n name=\"=?UTF-8?B?8J+YgPCfmIDwn5iA8J+YgPCfmIDwn5iA8J+YgPCfmIDwn5iA8J+YgA==?=\r\n"
		" =?UTF-8?B?8J+YgA==?=\"|;\r\n"
		" filename*0*=UTF-8''%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80;\r\n"
		" filename*1*=%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80;\r\n"
		" filename*2*=%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80");
	/* a character is not split between two lines, wherever it begins */
	assert_non_null(strstr(
		named("aaa\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"),
		"\r\n filename*0*=UTF-8''aaa%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80;\r\n"
		" filename*1*=%F0%9F%98%80"));
}

static void keeps_files_byte_by_byte(void **state)
{
	const struct {
		struct str content;
		const char *type, *encoding;
	} cases[] = {
		{STR("a\r\nb\r\n"), "text/plain", "text/plain; charset=us-ascii 7bit"},
		{STR(UUML "\r\nbbbbbbbbbbbbbb\r\n"), "text/plain",
		 "text/plain; charset=utf-8 quoted-printable"},
		/* a line end that text does not keep */
		{STR("a\nb\n"), "text/plain", "text/plain; charset=us-ascii base64"},
		{STR("a\r\nb"), "text/plain", "text/plain; charset=us-ascii base64"},
		{STR("a\rb\r\n"), "text/plain", "text/plain; charset=us-ascii base64"},
		/* not UTF-8: whatever the file is in */
		{STR("\xfc bbbbbbbbbbbbbbbbbbb\r\n"), "text/plain", "text/plain quoted-printable"},
		{STR("\xed\xa0\x80 bbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n"), "text/plain",
		 "text/plain quoted-printable"},
		{STR("bbbbbbbbbbbbbbbbbbbbbbbbbbbbb \xc3\r\n"), "text/plain", "text/plain quoted-printable"},
		{STR("a"), "TEXT/x-y", "TEXT/x-y; charset=us-ascii base64"},
		{STR("a\r\n"), "application/json", "application/json base64"},
		/* messages are not encoded */
		{STR("A: b\r\n\r\nFrom c \n.\n--=_\n"), "message/rfc822", "message/rfc822 7bit"},
		{STR("A: " UUML "\n\n" UUML), "message/rfc822", "message/rfc822 8bit"},
		{STR("A: b\n\n\0"), "message/rfc822", "application/octet-stream base64"},
	};
	char got[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *out, *end;

		tree_begin();
		add(MAIL_ATTACHED, cases[i].type, cases[i].content, "");
		out = tree_end() + strlen("Content-Type: ");
		end = strstr(out, "\r\n");
		snprintf(got, sizeof(got), "%.*s ", (int)(end - out), out);
		out = end + strlen("\r\nContent-Transfer-Encoding: ");
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s", (int)strcspn(out, "\r"), out);
		assert_string_equal(got, cases[i].encoding);
		assert_int_equal(mail.info.eight_bit, strstr(got, "8bit") != NULL);
	}
	/* a message with our own delimiter in it */
	tree_begin();
	add(MAIL_BODY, "text/plain", STR("a"), NULL);
	add(MAIL_ATTACHED, "message/rfc822", STR("a\r\n"), "");
	tree_end();
	char evil[200];

	snprintf(evil, sizeof(evil), "A: b\r\n\r\n--=_m%s--\r\n", mail.boundary);
	texts[1].text = originals[1] = str_from(evil);
	tree_end();
	assert_non_null(strstr(bytes, "Content-Type: application/octet-stream"));
}

static void refuses_parts(void **state)
{
	static const char *const types[] = {
		"text", "text/", "/plain", "text/plain; charset=x", "text/pl ain", "text/plain\r\nX: y"};
	static char name[300];

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		tree_begin();
		add(MAIL_ATTACHED, types[i], STR(""), "");
		assert_int_equal(mail_open(&mail, &input), ERR_INVALID);
		assert_string_equal(mail.why, "a part's type that is none");
	}
	tree_begin();
	add(MAIL_BODY, "image/png", STR(""), NULL);
	assert_int_equal(mail_open(&mail, &input), ERR_INVALID);
	assert_string_equal(mail.why, "a body that is not text");
	memset(name, 'a', 256);
	const struct {
		const char *name, *id, *why;
	} bad[] = {
		{name, "", "a file name of more than 255 bytes"},
		{"a\r\nb", "", "a character that a file name cannot have"},
		{"a\tb", "", "a character that a file name cannot have"},
		{"\xff", "", "a character that a file name cannot have"},
		{"a", "a b", "a character that a Content-ID cannot have"},
		{"a", "a>\r\n", "a character that a Content-ID cannot have"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tree_begin();
		add(MAIL_ATTACHED, "a/b", STR(""), bad[i].name)->content_id = str_from(bad[i].id);
		assert_int_equal(mail_open(&mail, &input), ERR_INVALID);
		assert_string_equal(mail.why, bad[i].why);
	}
	tree_begin();
	add(MAIL_ATTACHED, "a/b", STR(""), "");
	add(MAIL_BODY, "text/plain", STR(""), NULL);
	assert_int_equal(mail_open(&mail, &input), ERR_INVALID);
	assert_string_equal(mail.why, "parts in another order than bodies, inline, attached");
}

static uint32_t seed;

static uint32_t dice(uint32_t sides)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % sides;
}

/* Sources that give a few bytes at a time: how the content is cut must not be seen. */
struct slow {
	struct mail_memory memory;
	size_t most;
};

static int slow_read(void *arg, char *to, size_t cap)
{
	struct slow *s = arg;
	size_t left = s->memory.text.len - s->memory.at, len = s->most < cap ? s->most : cap;

	len = len < left ? len : left;
	if (len > 0) memcpy(to, s->memory.text.ptr + s->memory.at, len);
	s->memory.at += len;
	return (int)len;
}

static int slow_rewind(void *arg)
{
	((struct slow *)arg)->memory.at = 0;
	return 0;
}

static struct str random_content(char *to, size_t cap)
{
	static const char *const words[] = {
		"a",     "\r\n",    "\n",   "\r", " \r\n", ".",    "\r\n.\r\n",           "=",      "\t",
		"From ", "\nFrom ", "--=_", UUML, "\xff",  "\x01", "wwwwwwwwwwwwwwwwwww", "b c d ", "-"};
	size_t len = 0, count = dice((uint32_t)cap / 30), from = dice(18),
	       span = 1 + dice(18 - (uint32_t)from);

	for (size_t i = 0; i < count; i++) {
		const char *w = words[from + dice((uint32_t)span)];

		memcpy(to + len, w, strlen(w));
		len += strlen(w);
	}
	return (struct str){to, len};
}

static void keeps_the_rules_over_random_trees(void **state)
{
	static const char *const types[] = {"text/plain", "application/x", "message/rfc822", "text/html",
					    NULL};
	static char contents_of[PARTS_MAX][3000], again[RULES_BYTES_MAX];
	static struct slow slow[PARTS_MAX];
	size_t len, at, parts_seen = 0;
	int rc;

	(void)state;
	for (unsigned run = 0; run < 1500; run++) {
		unsigned role = 0;

		seed = run;
		tree_begin();
		for (unsigned n = 1 + dice(6); n > 0; n--) {
			size_t i = input.part_count;
			struct mail_part *p;

			role = role + dice(4) / 2 < MAIL_ATTACHED ? role + dice(2) : MAIL_ATTACHED;
			p = add((enum mail_role)role, types[role == MAIL_BODY ? dice(2) * 3 : dice(5)],
				random_content(contents_of[i], sizeof(contents_of[i])), "f.x");
			slow[i] = (struct slow){{originals[i], 0}, 1 + dice(200)};
			p->source = (struct mail_source){slow_read, slow_rewind, &slow[i]};
			parts_seen++;
		}
		if (mail_open(&mail, &input) < 0) fail_msg("run %u: %s", run, mail.why);
		rules_check(&mail, originals);
		len = (size_t)mail.info.bytes;
		for (size_t i = 0; i < input.part_count; i++)
			slow[i].most = 1 + dice(2000);
		assert_int_equal(mail_rewind(&mail), 0);
		assert_int_equal(rules_read(&mail, bytes, 1 + run % 300), len);
		assert_int_equal(mail_open(&mail, &input), 0);
		for (at = 0; (rc = mail_read(&mail, again + at, 5000)) > 0; at += (size_t)rc)
			;
		assert_int_equal(rc, 0);
		assert_int_equal(at, len);
		assert_memory_equal(bytes, again, len);
	}
	assert_true(parts_seen > 4000);
}

/* The size was promised to the server: another one must not go out. */
static void notices_another_size(void **state)
{
	static const char *const types[] = {"text/plain", "a/b", "message/rfc822"};
	static const char *const others[] = {"abc", "abcdef\r\ngh\r\n", ""};
	int rc;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 3; k++) {
			tree_begin();
			add(MAIL_ATTACHED, types[i], STR("abcdef\r\n"), "");
			assert_int_equal(mail_open(&mail, &input), 0);
			texts[0].text = str_from(others[k]);
			while ((rc = mail_read(&mail, bytes, 100)) > 0)
				;
			assert_int_equal(rc, ERR_CORRUPT);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nests_related_in_alternative_in_mixed),
		cmocka_unit_test(writes_file_names),
		cmocka_unit_test(keeps_files_byte_by_byte),
		cmocka_unit_test(refuses_parts),
		cmocka_unit_test(keeps_the_rules_over_random_trees),
		cmocka_unit_test(notices_another_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
