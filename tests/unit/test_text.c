#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "error.h"
#include "text.h"

static uint64_t size_of(const char *text)
{
	uint64_t value = 12345;

	return size_parse(text, &value) < 0 ? UINT64_MAX : value;
}

static uint64_t duration_of(const char *text)
{
	uint64_t value = 12345;

	return duration_parse(text, &value) < 0 ? UINT64_MAX : value;
}

static void test_sizes(void **state)
{
	static const char *const bad[] = {
		"",    "M",   "-1",  "1.", ".5",  "1X",        "1MM",
		"1iB", "1 M", "1Mi", "+1", "0x1", "16777216T", "18446744073709551616"
	};

	(void)state;
	assert_int_equal(size_of("0"), 0);
	assert_int_equal(size_of("16M"), 16777216);
	assert_int_equal(size_of("16MiB"), 16777216);
	assert_int_equal(size_of("16mB"), 16777216);
	assert_int_equal(size_of("11B"), 11);
	assert_int_equal(size_of("1.5K"), 1536);
	assert_int_equal(size_of("0.25T"), (uint64_t)1 << 38);
	assert_int_equal(size_of("3G"), (uint64_t)3 << 30);
	assert_int_equal(size_of("18446744073709551614"), UINT64_MAX - 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(size_of(bad[i]), UINT64_MAX);
}

static void test_durations(void **state)
{
	static const char *const bad[] = { "", "s", "1x", "1ms", "-1", "1 s", "999999999999999d" };

	(void)state;
	assert_int_equal(duration_of("90"), 90000);
	assert_int_equal(duration_of("90s"), 90000);
	assert_int_equal(duration_of("0.5"), 500);
	assert_int_equal(duration_of("0.0015s"), 1);
	assert_int_equal(duration_of("5m"), 300000);
	assert_int_equal(duration_of("2h"), 7200000);
	assert_int_equal(duration_of("1.5d"), 129600000);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(duration_of(bad[i]), UINT64_MAX);
}

static void test_numbers_and_ports(void **state)
{
	uint64_t number = 7;
	uint16_t first = 7;
	uint16_t last = 8;

	(void)state;
	assert_int_equal(number_parse("42", 1, 42, &number), 0);
	assert_int_equal(number, 42);
	assert_int_equal(number_parse("43", 1, 42, &number), -ERR_USAGE);
	assert_int_equal(number_parse("0", 1, 42, &number), -ERR_USAGE);
	assert_int_equal(number_parse("4 ", 1, 42, &number), -ERR_USAGE);
	assert_int_equal(number, 42);
	assert_int_equal(port_range_parse("3504-3600", &first, &last), 0);
	assert_int_equal(first, 3504);
	assert_int_equal(last, 3600);
	assert_int_equal(port_range_parse("80", &first, &last), 0);
	assert_int_equal(last, 80);
	assert_int_equal(port_range_parse("0-5", &first, &last), -ERR_USAGE);
	assert_int_equal(port_range_parse("6-5", &first, &last), -ERR_USAGE);
	assert_int_equal(port_range_parse("6-", &first, &last), -ERR_USAGE);
	assert_int_equal(port_range_parse("6-65536", &first, &last), -ERR_USAGE);
	assert_int_equal(first, 80);
}

static void test_sizes_as_people_read_them(void **state)
{
	char text[SIZE_TEXT_MAX];

	(void)state;
	assert_string_equal(size_format(0, text), "0 B");
	assert_string_equal(size_format(11, text), "11 B");
	assert_string_equal(size_format(1023, text), "1023 B");
	assert_string_equal(size_format(1024, text), "1.0 KiB");
	assert_string_equal(size_format((uint64_t)3 << 29, text), "1.5 GiB");
	assert_string_equal(size_format(1024 * 1024 - 1, text), "1.0 MiB");
	assert_string_equal(size_format(UINT64_MAX, text), "16.0 EiB");
}

static void test_ids(void **state)
{
	struct id id;
	struct id back;
	char text[ID_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ID_SIZE; i++)
		id.bytes[i] = (uint8_t)(i * 17 + 1);
	assert_int_equal(id_parse(id_format(&id, text), &back), 0);
	assert_true(id_equal(&id, &back));
	assert_int_equal(id_parse("0123456789ABCDEFabcdef0123456789", &back), 0);
	assert_int_equal(back.bytes[5], 0xab);
	assert_int_equal(id_parse("0123456789abcdef0123456789abcde", &back), -ERR_USAGE);
	assert_int_equal(id_parse("0123456789abcdef0123456789abcdef0", &back), -ERR_USAGE);
	assert_int_equal(id_parse("0123456789abcdef0123456789abcdeg", &back), -ERR_USAGE);
	assert_int_equal(id_parse("", &back), -ERR_USAGE);
}

static void test_local_time(void **state)
{
	char text[TIME_TEXT_MAX];

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	assert_string_equal(time_format(1795170667000, text), "2026-11-20 10:31:07");
	assert_non_null(time_format(UINT64_MAX, text));
}

static const char *escaped(const char *name, size_t size, char ret[64])
{
	struct buffer buffer = { .max = 63 };

	assert_int_equal(name_escape(&buffer, name, size), 0);
	memcpy(ret, buffer.data, buffer.size);
	ret[buffer.size] = '\0';
	buffer_done(&buffer);
	return ret;
}

static void test_names_cannot_act_on_a_terminal(void **state)
{
	static const struct {
		const char *name;
		const char *shown;
	} cases[] = {
		{ "plain name", "plain name" },
		{ "a\nb\tc\rd\\e", "a\\nb\\tc\\rd\\\\e" },
		{ "\033[2J\177", "\\x1b[2J\\x7f" },
		{ "gr\303\274\303\237e \342\202\254 \360\237\230\200",
		  "gr\303\274\303\237e \342\202\254 \360\237\230\200" },
		{ "\302\233", "\\xc2\\x9b" },                   /* C1: CSI */
		{ "\342\200\256", "\\xe2\\x80\\xae" },          /* turns the direction */
		{ "\300\257", "\\xc0\\xaf" },                   /* overlong */
		{ "\340\200\257", "\\xe0\\x80\\xaf" },          /* overlong */
		{ "\355\240\200", "\\xed\\xa0\\x80" },          /* surrogate */
		{ "\364\220\200\200", "\\xf4\\x90\\x80\\x80" }, /* above U+10FFFF */
		{ "\377x\303", "\\xffx\\xc3" },
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(escaped(cases[i].name, strlen(cases[i].name), text),
				    cases[i].shown);
	assert_string_equal(escaped("a\0b", 3, text), "a\\x00b");
}

static void test_escaping_respects_the_maximum(void **state)
{
	struct buffer buffer = { .max = 5 };

	(void)state;
	assert_int_equal(name_escape(&buffer, "\001\002", 2), -ERR_TOO_LARGE);
	buffer_done(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_numbers_and_ports),
		cmocka_unit_test(test_sizes_as_people_read_them),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_local_time),
		cmocka_unit_test(test_names_cannot_act_on_a_terminal),
		cmocka_unit_test(test_escaping_respects_the_maximum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
