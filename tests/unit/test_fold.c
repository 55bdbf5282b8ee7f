/* Sentences in lines, broken between words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fold.h"

static char *shown;
static size_t shown_size;

static struct fold begin(unsigned int indent, unsigned int width)
{
	return (struct fold){
		.out = open_memstream(&shown, &shown_size),
		.indent = indent,
		.width = width,
	};
}

static void assert_shown(struct fold *fold, const char *expected)
{
	fold_end(fold);
	fclose(fold->out);
	assert_string_equal(shown, expected);
	free(shown);
}

static void test_lines_end_between_words(void **state)
{
	struct fold fold = begin(2, 10);

	(void)state;
	fold_text(&fold, "a line of ten and more");
	assert_shown(&fold, "a line\n  of ten\n  and more\n");
}

static void test_line_ends_are_spaces(void **state)
{
	struct fold fold = begin(0, 80);

	(void)state;
	fold_text(&fold, "one\ntwo  three\n");
	assert_shown(&fold, "one two three\n");
}

static void test_texts_go_on(void **state)
{
	struct fold fold = begin(0, 9);

	(void)state;
	fold_text(&fold, "one");
	fold_text(&fold, "; two");
	fold_text(&fold, " three");
	assert_shown(&fold, "one; two\nthree\n");
}

static void test_what_fits_exactly_fits(void **state)
{
	struct fold fold = begin(0, 7);

	(void)state;
	fold_text(&fold, "ab\xe2\x80\xa6 def ghi");
	assert_shown(&fold, "ab\xe2\x80\xa6 def\nghi\n");
}

static void test_a_long_word_stays_whole(void **state)
{
	struct fold fold = begin(1, 4);

	(void)state;
	fold_text(&fold, "a longer b");
	assert_shown(&fold, "a\n longer\n b\n");
}

static void test_without_a_width_it_is_one_line(void **state)
{
	struct fold fold = begin(5, 0);

	(void)state;
	fold_text(&fold, "however long it may be");
	assert_shown(&fold, "however long it may be\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_end_between_words),
		cmocka_unit_test(test_line_ends_are_spaces),
		cmocka_unit_test(test_texts_go_on),
		cmocka_unit_test(test_what_fits_exactly_fits),
		cmocka_unit_test(test_a_long_word_stays_whole),
		cmocka_unit_test(test_without_a_width_it_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
