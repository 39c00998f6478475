#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"

/* Arena and text in blocks of their exact size from the heap, so that the sanitizers see a step over the
 * edge. */
struct doc {
	unsigned char *memory;
	char *text;
	size_t len;
	struct arena arena;
	const struct json *root;
	struct json_error error;
};

static int parse_in(struct doc *d, const char *text, size_t len, size_t arena_bytes)
{
	d->memory = malloc(arena_bytes);
	d->text = malloc(len + JSON_PADDING);
	d->len = len;
	memcpy(d->text, text, len);
	memset(d->text + len, 'x', JSON_PADDING);
	d->error = (struct json_error){.at = 0};
	arena_init(&d->arena, d->memory, arena_bytes);
	return json_parse(&d->arena, d->text, len, &d->root, &d->error);
}

static int parse(struct doc *d, const char *text)
{
	return parse_in(d, text, strlen(text), 128 + 16 * (strlen(text) + 2));
}

static void done(struct doc *d)
{
	free(d->memory);
	free(d->text);
}

static void types_and_values(void **state)
{
	struct doc d;
	int64_t n;

	(void)state;
	assert_int_equal(parse(&d, " {\"s\":\"a\\u00e4\\n\\u0000b\",\"n\":-12,\"f\":1.5,\"t\":true,\"z\":"
				   "null,\"a\":[1,2,[]],"
				   "\"o\":{}} "),
			 0);
	assert_int_equal(json_type(d.root), JSON_OBJECT);
	assert_int_equal(json_count(d.root), 7);
	assert_true(str_eq(json_str(json_get(d.root, "s")), (struct str){"a\xC3\xA4\n\0b", 6}));
	assert_true(json_int(json_get(d.root, "n"), &n) && n == -12);
	assert_false(json_int(json_get(d.root, "f"), &n));
	assert_false(json_int(json_get(d.root, "s"), &n));
	assert_true(json_number(json_get(d.root, "f")) > 1.49 && json_number(json_get(d.root, "f")) < 1.51);
	assert_int_equal(json_type(json_get(d.root, "t")), JSON_BOOL);
	assert_true(json_bool(json_get(d.root, "t")));
	assert_int_equal(json_type(json_get(d.root, "z")), JSON_NULL);
	assert_int_equal(json_count(json_get(d.root, "a")), 3);
	assert_int_equal(json_count(json_get(d.root, "t")), 0);
	assert_null(json_str(json_get(d.root, "n")).ptr);
	assert_null(json_get(d.root, "absent"));
	assert_null(json_get(json_get(d.root, "a"), "s"));
	done(&d);
}

static void integers_are_exact(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t n;
	} cases[] = {
		{"0", true, 0},
		{"-0", true, 0},
		{"9223372036854775807", true, INT64_MAX},
		{"-9223372036854775808", true, INT64_MIN},
		{"9223372036854775808", false, 0},
		{"-9223372036854775809", false, 0},
		{"1e3", false, 0},
		{"1.0", false, 0},
		{"123456789012345678901234567890", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct doc d;
		int64_t n = 0;

		assert_int_equal(parse(&d, cases[i].text), 0);
		assert_int_equal(json_int(d.root, &n), cases[i].ok);
		assert_true(n == cases[i].n);
		done(&d);
	}
}

static void iterating(void **state)
{
	const struct json *v;
	struct json_iter it;
	struct str key;
	struct doc d;
	int64_t n, sum = 0;

	(void)state;
	assert_int_equal(parse(&d, "{\"a\":[1,[5],2],\"b\":{\"x\":[]},\"a\":7}"), 0);
	json_iter_init(&it, d.root);
	assert_true(json_iter_next(&it, &key, &v) && str_eq(key, STR("a")) && json_type(v) == JSON_ARRAY);
	assert_true(json_iter_next(&it, &key, &v) && str_eq(key, STR("b")) && json_type(v) == JSON_OBJECT);
	assert_true(json_iter_next(&it, &key, &v) && str_eq(key, STR("a")) && json_type(v) == JSON_NUMBER);
	assert_false(json_iter_next(&it, &key, &v));
	assert_false(json_iter_next(&it, &key, &v));
	json_iter_init(&it, json_get(d.root, "a"));
	while (json_iter_next(&it, NULL, &v))
		sum += json_int(v, &n) ? n : 100;
	assert_true(sum == 103);
	json_iter_init(&it, json_get(json_get(d.root, "b"), "x"));
	assert_false(json_iter_next(&it, NULL, &v));
	done(&d);
}

static void strings_stand_where_they_stood(void **state)
{
	static const char text[] = "{ \"from\" : \"a\" ,\n\"k\\u00e4\":[\"\",\"x\\ty\",\"\xE2\x82\xAC\"], "
				   "\"body\":\"\\n\\nlong\"}";
	const char *wanted[] = {"a\" ,", "\",\"x", "x\\ty\"", "\xE2\x82\xAC\"]", "\\n\\nlong"};
	const struct json *list;
	struct json_iter it;
	const struct json *v;
	struct doc d;
	size_t i = 1;

	(void)state;
	assert_int_equal(parse(&d, text), 0);
#define AT(v) ((size_t)(json_str(v).ptr - d.text))
	assert_memory_equal(text + AT(json_get(d.root, "from")), wanted[0], strlen(wanted[0]));
	list = json_get(d.root, "k\xC3\xA4");
	assert_non_null(list);
	json_iter_init(&it, list);
	for (; json_iter_next(&it, NULL, &v); i++)
		assert_memory_equal(text + AT(v), wanted[i], strlen(wanted[i]));
	assert_int_equal(i, 4);
	assert_memory_equal(text + AT(json_get(d.root, "body")), wanted[4], strlen(wanted[4]));
	assert_int_equal(json_str(json_get(d.root, "body")).ptr[json_str(json_get(d.root, "body")).len],
			 '\0');
	done(&d);
}

static void what_is_not_json(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"}",
		"[1,]",
		"{\"a\":1,}",
		"{\"a\"}",
		"{a:1}",
		"{'a':1}",
		"[1 2]",
		"01",
		"+1",
		".5",
		"1.",
		"1e",
		"-",
		"0x10",
		"NaN",
		"Infinity",
		"-Infinity",
		"nul",
		"truex",
		"True",
		"\"a",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\ud800\"",
		"\"\\udc00\"",
		"\"\\ud800\\u0041\"",
		"\"a\nb\"",
		"\"a\tb\"",
		"// c\n1",
		"/* c */1",
		"1 1",
		"{}{}",
		"[]]",
		"]]]]",
		"\xEF\xBB\xBF{}",
		"\"\xFF\"",
		"\"\xC0\x80\"",
		"\"\xED\xA0\x80\"",
		"\"\xE2\x82\"",
		"{\"a\":1 \"b\":2}",
		"\\",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct doc d;

		assert_int_equal(parse(&d, bad[i]), ERR_SYNTAX);
		assert_non_null(d.error.why);
		assert_true(d.error.at <= d.len);
		assert_int_equal(d.arena.used, 0);
		done(&d);
	}
}

static void a_nul_byte_is_not_white_space(void **state)
{
	struct doc d;

	(void)state;
	assert_int_equal(parse_in(&d, "{}\0", 3, 512), ERR_SYNTAX);
	done(&d);
	assert_int_equal(parse_in(&d, "\"a\0b\"", 5, 512), ERR_SYNTAX);
	done(&d);
	assert_int_equal(parse_in(&d, "1\0", 2, 512), ERR_SYNTAX);
	done(&d);
}

static void the_error_is_located(void **state)
{
	struct doc d;

	(void)state;
	assert_int_equal(parse(&d, "{\"a\": tru}"), ERR_SYNTAX);
	assert_int_equal(d.error.at, 6);
	done(&d);
}

static void depth_is_limited(void **state)
{
	char text[4096];
	struct doc d;

	(void)state;
	for (size_t depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		text[2 * depth] = '\0';
		assert_int_equal(parse(&d, text), depth <= JSON_DEPTH_MAX ? 0 : ERR_TOO_LARGE);
		if (depth > JSON_DEPTH_MAX) assert_int_equal(d.error.at, JSON_DEPTH_MAX);
		done(&d);
	}
	/* Brackets in strings do not count, quotes in strings do not end them. */
	assert_int_equal(parse(&d, "\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\\\""),
			 0);
	done(&d);
	memset(text, '{', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(parse(&d, text), ERR_TOO_LARGE);
	done(&d);
}

static void memory_follows_the_values(void **state)
{
	static char body[200000];
	struct doc d;

	(void)state;
	/* One long string costs one value. */
	memset(body, 'x', sizeof(body));
	memcpy(body, "{\"a\":\"", 6);
	memcpy(body + sizeof(body) - 2, "\"}", 2);
	assert_int_equal(parse_in(&d, body, sizeof(body), 16 * 3 + 128), 0);
	assert_int_equal(json_str(json_get(d.root, "a")).len, sizeof(body) - 8);
	done(&d);
	/* Many values cost 16 bytes each: the next byte less is refused, and the arena is as before. */
	for (size_t n = 1; n < 300; n++) {
		size_t len = 2 * n + 1, need = 0;

		for (size_t i = 0; i < n; i++)
			memcpy(body + 1 + 2 * i, "0,", 2);
		body[0] = '[';
		body[len - 1] = ']';
		assert_int_equal(parse_in(&d, body, len, 16 * (n + 2) + 128), 0);
		need = d.arena.used;
		done(&d);
		assert_true(need <= 16 * (n + 1) + 128);
		assert_int_equal(parse_in(&d, body, len, need + 15),
				 0); /* 15: the arena may start anywhere */
		done(&d);
		assert_int_equal(parse_in(&d, body, len, need - 1), ERR_TOO_LARGE);
		assert_int_equal(d.arena.used, 0);
		done(&d);
	}
}

static void written_back_as_it_came(void **state)
{
	static const char text[] = " { \"n\" : [ 1 , 1.0 , 1e999 , 12345678901234567890123 , -0.10 ] , \"s\" "
				   ": \"\\u0041\\\"\\n\\u0000\" ,"
				   " \"e\" : [ ] , \"f\" : { } , \"x\" : [ null , true , false ] } ";
	char out[256];
	struct doc d;
	struct buf b;

	(void)state;
	assert_int_equal(parse(&d, text), 0);
	buf_init(&b, out, sizeof(out));
	json_write(&b, d.root);
	assert_string_equal(out, "{\"n\":[1,1.0,1e999,12345678901234567890123,-0.10],\"s\":"
				 "\"A\\\"\\n\\u0000\",\"e\":[],\"f\":{},"
				 "\"x\":[null,true,false]}");
	assert_true(isinf(json_number(d.root)) == 0);
	buf_init(&b, out, 20);
	json_write(&b, d.root);
	assert_true(b.cut);
	done(&d);
}

/* Good text with bytes changed, cut and repeated: never a step over an edge, never an endless loop. */
static void changed_text_is_survived(void **state)
{
	static const char text[] = "{\"to\":[\"a@b\",\"c \\u00e4\\\" "
				   "d\"],\"n\":[-1.5e3,0,true,null],\"o\":{\"k\":{\"l\":[[],{}]}}}";
	static const char bytes[] = "\"\\{}[]:,0-e.tu \xFF\n";
	uint32_t seed = 12345;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char changed[sizeof(text)];
		char out[512];
		struct doc d;
		struct buf b;
		size_t len;

		memcpy(changed, text, sizeof(text));
		for (int i = 0; i < 1 + round % 4; i++) {
			seed = seed * 1664525 + 1013904223;
			changed[(seed >> 8) % (sizeof(text) - 1)] = bytes[(seed >> 24) % (sizeof(bytes) - 1)];
		}
		len = round % 3 ? sizeof(text) - 1 : (seed >> 4) % sizeof(text);
		if (parse_in(&d, changed, len, 128 + 16 * (len + 2)) == 0) {
			buf_init(&b, out, sizeof(out));
			json_write(&b, d.root);
		}
		done(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_and_values),
		cmocka_unit_test(integers_are_exact),
		cmocka_unit_test(iterating),
		cmocka_unit_test(strings_stand_where_they_stood),
		cmocka_unit_test(what_is_not_json),
		cmocka_unit_test(a_nul_byte_is_not_white_space),
		cmocka_unit_test(the_error_is_located),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(memory_follows_the_values),
		cmocka_unit_test(written_back_as_it_came),
		cmocka_unit_test(changed_text_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
