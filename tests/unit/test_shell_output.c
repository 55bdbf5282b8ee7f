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

#include <locale.h>

#include "name_columns.h"
#include "output.h"
#include "progress.h"

static const struct table_column columns[] = {
	{ "NAME", false, false },
	{ "SIZE", true, false },
	{ "SEEN", false, true },
};

static struct table table_fill(void)
{
	struct table table;

	table_init(&table, columns, ARRAY_SIZE(columns));
	table_cell(&table, TONE_PLAIN, "a");
	table_cell(&table, TONE_PLAIN, "%d", 12345);
	table_cell(&table, TONE_GOOD, "now");
	table_cell(&table, TONE_PLAIN, "\xc3\xa4\xc3\xb6\xc3\xbc");
	table_cell(&table, TONE_PLAIN, "1");
	table_cell(&table, TONE_BAD, "never");
	return table;
}

static void check_table(unsigned int width, bool colour, const char *want)
{
	struct table table = table_fill();
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	table_print(&table, out, width, colour);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

static void test_table(void **state)
{
	(void)state;
	check_table(0, false,
		    "NAME   SIZE  SEEN\n"
		    "a     12345  now\n"
		    "\xc3\xa4\xc3\xb6\xc3\xbc       1  never\n");
}

static void test_table_narrow(void **state)
{
	(void)state;
	check_table(12, false, "NAME   SIZE\na     12345\n\xc3\xa4\xc3\xb6\xc3\xbc       1\n");
}

static void test_table_colour(void **state)
{
	(void)state;
	check_table(0, true,
		    "NAME   SIZE  SEEN\n"
		    "a     12345  \033[32mnow\033[0m\n"
		    "\xc3\xa4\xc3\xb6\xc3\xbc       1  \033[1;31mnever\033[0m\n");
}

static void check_json(const char *text, const char *want)
{
	cJSON *object = cJSON_CreateObject();
	char *printed = NULL;
	size_t size;
	FILE *out = open_memstream(&printed, &size);

	json_text(object, "t", text);
	assert_int_equal(json_print(out, object), 0);
	fclose(out);
	assert_string_equal(printed, want);
	free(printed);
}

static void test_json_text(void **state)
{
	(void)state;
	check_json("plain", "{\"t\":\"plain\"}\n");
	check_json("", "{\"t\":\"\"}\n");
	check_json("a\"b\\c\n\x7f", "{\"t\":\"a\\\"b\\\\c\\u000a\\u007f\"}\n");
	check_json("\xc3\xa4\xf0\x9f\x98\x80", "{\"t\":\"\xc3\xa4\xf0\x9f\x98\x80\"}\n");
	/* Well-formed although no terminal should get it: U+202E. */
	check_json("\xe2\x80\xae", "{\"t\":\"\xe2\x80\xae\"}\n");
	/* Bytes that are no UTF-8: alone, cut off, over-long, a surrogate, beyond the last. */
	check_json("\xff", "{\"t\":\"\\udcff\"}\n");
	check_json("\xc3", "{\"t\":\"\\udcc3\"}\n");
	check_json("\xc0\xaf", "{\"t\":\"\\udcc0\\udcaf\"}\n");
	check_json("\xed\xa0\x80", "{\"t\":\"\\udced\\udca0\\udc80\"}\n");
	check_json("\xf4\x90\x80\x80", "{\"t\":\"\\udcf4\\udc90\\udc80\\udc80\"}\n");
}

static void test_json_numbers(void **state)
{
	cJSON *object = cJSON_CreateObject();
	char *printed = NULL;
	size_t size;
	FILE *out = open_memstream(&printed, &size);

	(void)state;
	json_number(object, "n", UINT64_MAX);
	json_number(object, "m", ((uint64_t)1 << 53) + 1);
	json_null(object, "z");
	assert_int_equal(json_print(out, object), 0);
	fclose(out);
	assert_string_equal(printed,
			    "{\"n\":18446744073709551615,\"m\":9007199254740993,\"z\":null}\n");
	free(printed);
}

static void test_progress(void **state)
{
	struct progress progress = { .name = "put", .bytes = 50 << 20, .bytes_total = 100 << 20 };
	char line[512];

	(void)state;
	progress_format(&progress, 5000, 100, line, sizeof(line));
	assert_non_null(strstr(line, "put  [###"));
	assert_non_null(strstr(line, " 50%  50.0 MiB of 100.0 MiB  10.0 MiB/s  0:05 left"));
	for (unsigned int width = 0; width < 120; width++)
		assert_true(progress_format(&progress, 5000, width, line, sizeof(line)) <= width);
	progress.files = 3;
	progress.files_total = 9;
	progress_format(&progress, 5000, 100, line, sizeof(line));
	assert_non_null(strstr(line, "3/9 files  50.0 MiB of"));
	progress.bytes_total = UINT64_MAX;
	progress_format(&progress, 0, 100, line, sizeof(line));
	assert_null(strchr(line, '%'));
	assert_null(strstr(line, "left"));
}

/* On the narrowest terminal the percentage is what stays; without a total, the amount. */
static void test_progress_narrow(void **state)
{
	struct progress progress = { .name = "verify",
				     .bytes = 50 << 20,
				     .bytes_total = 100 << 20 };
	char line[512];

	(void)state;
	progress_format(&progress, 5000, 39, line, sizeof(line));
	assert_string_equal(line, "verify   50%  10.0 MiB/s  0:05 left");
	progress_format(&progress, 5000, 19, line, sizeof(line));
	assert_string_equal(line, " 50%  0:05 left");
	progress_format(&progress, 5000, 4, line, sizeof(line));
	assert_string_equal(line, " 50%");
	progress.bytes_total = UINT64_MAX;
	progress_format(&progress, 5000, 10, line, sizeof(line));
	assert_string_equal(line, "50.0 MiB");
}

static void test_progress_without_bytes(void **state)
{
	struct progress progress = {
		.name = "check",
		.bytes_total = UINT64_MAX,
		.files = 250,
		.files_total = 1000,
		.unit = "chunks",
	};
	char line[512];

	(void)state;
	progress_format(&progress, 1000, 60, line, sizeof(line));
	assert_string_equal(line, "check  [##--------]   25%  250/1000 chunks  250/s  0:03 left");
}

static int set_locale(void **state)
{
	(void)state;
	return setlocale(LC_ALL, "C.UTF-8") ? 0 : -1;
}

static void test_sizes_in_sentences(void **state)
{
	char size[SIZE_TEXT_MAX];
	char rate[RATE_MAX];

	(void)state;
	assert_string_equal(bytes_format(0, size), "0 bytes");
	assert_string_equal(bytes_format(1, size), "1 byte");
	assert_string_equal(bytes_format(1023, size), "1023 bytes");
	assert_string_equal(bytes_format(1024, size), "1.0 KiB");
	assert_string_equal(rate_format(50, 1000, rate), "50 B/s");
	assert_string_equal(rate_format(102400, 1000, rate), "100 KiB/s");
	assert_string_equal(rate_format(102399 - 52, 1000, rate), "99.9 KiB/s");
	assert_string_equal(rate_format((uint64_t)1023 << 21, 2000, rate), "1023 MiB/s");
}

static void check_text(const char *text, const char *want)
{
	char *printed = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&printed, &size);

	assert_non_null(out);
	words_print(out, text);
	fclose(out);
	assert_string_equal(printed, want);
	free(printed);
}

/* Backslashes stay, and nothing gets at the terminal. */
static void test_text(void **state)
{
	(void)state;
	check_text("", "");
	check_text("a=\"\\u001b\\\\\"", "a=\"\\u001b\\\\\"");
	check_text("\\\033[31m\\", "\\\\x1b[31m\\");
	check_text("\xc3\xa4\\\xff\n", "\xc3\xa4\\\\xff\\n");
	assert_int_equal(name_width("a\n\xc3\xa4"), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_narrow),
		cmocka_unit_test(test_table_colour),
		cmocka_unit_test(test_json_text),
		cmocka_unit_test(test_json_numbers),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_progress_narrow),
		cmocka_unit_test(test_progress_without_bytes),
		cmocka_unit_test(test_sizes_in_sentences),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, set_locale, NULL);
}
