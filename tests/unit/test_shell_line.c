#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "error.h"
#include "line.h"

static void check_words(const char *text, const char *const *want)
{
	struct line line;
	unsigned int count = 0;

	assert_int_equal(line_split(text, &line), 0);
	for (; want[count]; count++) {
		assert_true(count < line.count);
		assert_string_equal(line.words[count], want[count]);
	}
	assert_int_equal(line.count, count);
	assert_null(line.words[count]);
	line_done(&line);
}

#define WORDS(text, ...) check_words(text, (const char *const[]){ __VA_ARGS__, NULL })

static void test_words(void **state)
{
	(void)state;
	WORDS("put a b", "put", "a", "b");
	WORDS("  put\ta \r\n", "put", "a");
	WORDS("a#b # the rest", "a#b");
	WORDS("\xc3\xa4 \xff", "\xc3\xa4", "\xff");
	WORDS("][ | a,b;c", "][", "|", "a,b;c");
	check_words("", (const char *const[]){ NULL });
	check_words("   # nothing", (const char *const[]){ NULL });
}

static void test_quotes(void **state)
{
	(void)state;
	WORDS("'a b' \"c d\" e\\ f", "a b", "c d", "e f");
	WORDS("a'b'\"c\"d", "abcd");
	WORDS("'' \"\"", "", "");
	WORDS("'it'\\''s'", "it's");
	WORDS("'a\\b' \"a\\b\" a\\b", "a\\b", "a\\b", "ab");
	WORDS("\"a\\\"b\\\\c\\$d\"", "a\"b\\c$d");
	WORDS("'#' \\# \"#\"", "#", "#", "#");
	WORDS("'a\nb'", "a\nb");
}

/* "" stands for a word that is no pattern. */
static void check_patterns(const char *text, const char *const *want)
{
	struct line line;
	unsigned int count = 0;

	assert_int_equal(line_split(text, &line), 0);
	for (; want[count]; count++) {
		assert_true(count < line.count);
		if (*want[count])
			assert_string_equal(line.patterns[count], want[count]);
		else
			assert_null(line.patterns[count]);
	}
	assert_int_equal(line.count, count);
	line_done(&line);
}

#define PATTERNS(text, ...) check_patterns(text, (const char *const[]){ __VA_ARGS__, NULL })

static void test_patterns(void **state)
{
	(void)state;
	PATTERNS("ls a* b? [c] d", "", "a*", "b?", "[c]", "");
	PATTERNS("'a*' \"b?\" \\[c] \\*", "", "", "", "");
	PATTERNS("'a b'*", "\\a\\ \\b*");
	PATTERNS("\"*\"*", "\\**");
	PATTERNS("a\\**", "a\\**");
	PATTERNS("'/x y/'*/z", "/\\x\\ \\y/*/z");
	PATTERNS("\"a\\b\"*", "\\a\\\\\\b*");
	PATTERNS("'\\'*", "\\\\*");
	PATTERNS("*", "*");
	PATTERNS("] !", "", "");
}

static void test_pattern_is(void **state)
{
	(void)state;
	assert_true(pattern_is("a*"));
	assert_true(pattern_is("\\\\*"));
	assert_true(pattern_is("?"));
	assert_true(pattern_is("x[ab]"));
	assert_false(pattern_is(""));
	assert_false(pattern_is("a\\*"));
	assert_false(pattern_is("a]b"));
	assert_false(pattern_is("\\"));
}

/* No line may write past what was taken for it. */
static void test_long_patterns(void **state)
{
	struct line line;
	char *text = test_malloc(3 * 10000 + 2);

	(void)state;
	text[0] = '"';
	for (unsigned int i = 0; i < 10000; i++)
		memcpy(text + 1 + 2 * i, "\\x", 2);
	memcpy(text + 20001, "\"*", 3);
	assert_int_equal(line_split(text, &line), 0);
	assert_int_equal(strlen(line.words[0]), 20001);
	assert_int_equal(strlen(line.patterns[0]), 40001);
	line_done(&line);
	test_free(text);
}

static void test_unclosed(void **state)
{
	struct line line;

	(void)state;
	assert_int_equal(line_split("'abc", &line), -ERR_USAGE);
	assert_int_equal(line_split("a \"b", &line), -ERR_USAGE);
	assert_int_equal(line_split("a \\", &line), -ERR_USAGE);
	assert_int_equal(line_split("a \\\n", &line), -ERR_USAGE);
	assert_null(line.words);
}

static void test_quote_and_split(void **state)
{
	static const char *const names[] = {
		"plain", "a b", "it's", "say \"hi\"",   "][",    "a|b,c",
		"#x",    "\\",  "~",    "\xc3\xa4\xff", "$x`y`",
	};
	static const char quotes[] = { 0, '\'', '"' };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		for (unsigned int k = 0; k < sizeof(quotes); k++) {
			struct buffer text = { 0 };

			if (quotes[k])
				buffer_append(&text, &quotes[k], 1);
			line_quote(&text, names[i], strlen(names[i]), quotes[k]);
			if (quotes[k])
				buffer_append(&text, &quotes[k], 1);
			buffer_append(&text, "", 1);
			check_words((const char *)text.data,
				    (const char *const[]){ names[i], NULL });
			buffer_done(&text);
		}
	}
}

static void check_at(const char *text, unsigned int index, const char *want, char quote)
{
	struct line_word word;

	assert_int_equal(line_word_at(text, strlen(text), &word), 0);
	assert_int_equal(word.index, index);
	assert_int_equal(word.quote, quote);
	assert_int_equal(word.text.size, strlen(want));
	if (*want)
		assert_memory_equal(word.text.data, want, strlen(want));
	buffer_done(&word.text);
}

static void test_word_at(void **state)
{
	(void)state;
	check_at("", 0, "", 0);
	check_at("pu", 0, "pu", 0);
	check_at("put ", 1, "", 0);
	check_at("put a\\ b", 1, "a b", 0);
	check_at("put 'a b", 1, "a b", '\'');
	check_at("put x \"a b", 2, "a b", '"');
	check_at("put 'a b'/c", 1, "a b/c", 0);
}

static void check_path(const char *directory, const char *text, const char *want)
{
	char path[REMOTE_PATH_MAX];

	assert_int_equal(remote_resolve(directory, text, path), 0);
	assert_string_equal(path, want);
}

static void test_resolve(void **state)
{
	char path[REMOTE_PATH_MAX] = "untouched";

	(void)state;
	check_path("/", "a", "/a");
	check_path("/a/b", "c", "/a/b/c");
	check_path("/a/b", "../c", "/a/c");
	check_path("/a/b", "../..", "/");
	check_path("/a/b", ".", "/a/b");
	check_path("/a", "/x//y/./z/", "/x/y/z");
	check_path("/", "/", "/");
	check_path("/", "...", "/...");
	assert_int_equal(remote_resolve("/", "..", path), -ERR_BAD_NAME);
	assert_int_equal(remote_resolve("/a", "../../b", path), -ERR_BAD_NAME);
	assert_int_equal(remote_resolve("/a", "/../b", path), -ERR_BAD_NAME);
	assert_string_equal(path, "untouched");
}

static void test_long_paths(void **state)
{
	char text[REMOTE_PATH_MAX + 1];
	char path[REMOTE_PATH_MAX];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[0] = '/';
	text[REMOTE_PATH_MAX - 1] = '\0';
	assert_int_equal(remote_resolve("/", text, path), 0);
	assert_int_equal(strlen(path), REMOTE_PATH_MAX - 1);
	assert_int_equal(remote_join("/", text + 1, path), 0);
	assert_int_equal(remote_join("/a", text + 1, path), -ERR_NAME_TOO_LONG);
	text[REMOTE_PATH_MAX - 1] = 'x';
	text[REMOTE_PATH_MAX] = '\0';
	assert_int_equal(remote_resolve("/", text, path), -ERR_NAME_TOO_LONG);
}

static void test_names(void **state)
{
	char path[REMOTE_PATH_MAX];

	(void)state;
	assert_string_equal(remote_name("/a/b"), "b");
	assert_string_equal(remote_name("/"), "");
	assert_int_equal(remote_join("/", "a", path), 0);
	assert_string_equal(path, "/a");
	assert_int_equal(remote_join(path, "b", path), 0);
	assert_string_equal(path, "/a/b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),           cmocka_unit_test(test_quotes),
		cmocka_unit_test(test_patterns),        cmocka_unit_test(test_pattern_is),
		cmocka_unit_test(test_long_patterns),   cmocka_unit_test(test_unclosed),
		cmocka_unit_test(test_quote_and_split), cmocka_unit_test(test_word_at),
		cmocka_unit_test(test_resolve),         cmocka_unit_test(test_long_paths),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
