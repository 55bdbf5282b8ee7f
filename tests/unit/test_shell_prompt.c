/* The shell's prompt: what it shows, and that it leaves room to type. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "prompt.h"

static const struct health well = { .text = "", .tone = TONE_GOOD };
static const struct health hurt = { .text = "2/3 servers", .tone = TONE_WARN };

static void check(const char *directory, const struct health *health, unsigned int width,
		  const char *want)
{
	char prompt[PROMPT_MAX];

	prompt_format(directory, health, width, false, prompt);
	assert_string_equal(prompt, want);
}

static void test_plain(void **state)
{
	(void)state;
	check("/", &well, 0, "muster:/> ");
	check("/papers", &well, 80, "muster:/papers> ");
	check("/papers", &hurt, 80, "muster:/papers [2/3 servers]> ");
}

static void test_narrow(void **state)
{
	(void)state;
	check("/papers", &hurt, 39, "muster:/papers [!]> ");
	check("/papers", &hurt, 29, "/papers [!]> ");
	check("/papers/old/letters", &well, 29, ".../old/letters> ");
	check("/papers/old/letters", &well, 1, "...s> ");
}

static void test_escaped(void **state)
{
	(void)state;
	check("/a\nb\033[1m", &well, 80, "muster:/a\\nb\\x1b[1m> ");
	check("/\xc3\xa4\xe6\x97\xa5", &well, 80, "muster:/\xc3\xa4\xe6\x97\xa5> ");
}

/* Between the marks stands only what takes no room, and something visible follows each. */
static void test_colour(void **state)
{
	char prompt[PROMPT_MAX];

	(void)state;
	prompt_format("/d", &hurt, 80, true, prompt);
	assert_string_equal(prompt, "muster:\1\033[0;34m\1/d\1\033[0;33m\1 [2/3 servers]"
				    "\1\033[0;33m\1>\1\033[0;0m\1 ");
}

/* However long the directory and narrow the terminal: never longer than it may be. */
static void test_any_width(void **state)
{
	char directory[3000];
	char prompt[PROMPT_MAX];

	(void)state;
	for (size_t size = 1; size < sizeof(directory) - 3; size += 97) {
		directory[0] = '/';
		for (size_t i = 1; i + 3 <= size; i += 3)
			memcpy(directory + i, "\xe6\x97\xa5", 4);
		directory[size < 4 ? 1 : 1 + (size - 1) / 3 * 3] = '\0';
		for (unsigned int width = 20; width < 200; width++) {
			prompt_format(directory, &hurt, width, false, prompt);
			assert_true(text_columns(prompt, strlen(prompt)) + 10 <= width);
		}
	}
}

static int set_locale(void **state)
{
	(void)state;
	return setlocale(LC_ALL, "C.UTF-8") ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),     cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_escaped),   cmocka_unit_test(test_colour),
		cmocka_unit_test(test_any_width),
	};

	return cmocka_run_group_tests(tests, set_locale, NULL);
}
