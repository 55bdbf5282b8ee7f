#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "buffer.h"
#include "error.h"

static void test_grows_and_keeps_content(void **state)
{
	struct buffer buffer = { 0 };

	(void)state;
	for (unsigned int i = 0; i < 10000; i++)
		assert_int_equal(buffer_append(&buffer, &(uint8_t){ (uint8_t)i }, 1), 0);
	assert_int_equal(buffer.size, 10000);
	for (unsigned int i = 0; i < 10000; i++)
		assert_int_equal(buffer.data[i], (uint8_t)i);
	buffer_done(&buffer);
	assert_null(buffer.data);
	assert_int_equal(buffer_append(&buffer, "again", 5), 0);
	buffer_done(&buffer);
}

static void test_maximum_is_exact_and_failure_sticks(void **state)
{
	struct buffer buffer = { .max = 100 };
	uint8_t block[100] = { 0 };

	(void)state;
	assert_int_equal(buffer_append(&buffer, block, 60), 0);
	assert_int_equal(buffer_append(&buffer, block, 40), 0);
	assert_int_equal(buffer.size, 100);
	assert_true(buffer.capacity <= 100);
	assert_int_equal(buffer_append(&buffer, block, 1), -ERR_TOO_LARGE);
	assert_int_equal(buffer_append(&buffer, block, 0), -ERR_TOO_LARGE);
	assert_null(buffer_extend(&buffer, 0));
	assert_int_equal(buffer_printf(&buffer, "x"), -ERR_TOO_LARGE);
	assert_int_equal(buffer.size, 100);
	buffer_clear(&buffer);
	assert_int_equal(buffer.error, 0);
	assert_int_equal(buffer_append(&buffer, block, 100), 0);
	buffer_done(&buffer);
	assert_int_equal(buffer.max, 100);
}

static void test_sizes_that_overflow_are_refused(void **state)
{
	struct buffer buffer = { 0 };

	(void)state;
	assert_int_equal(buffer_append(&buffer, "abc", 3), 0);
	assert_null(buffer_extend(&buffer, SIZE_MAX));
	assert_int_equal(buffer.error, -ERR_TOO_LARGE);
	buffer_done(&buffer);
}

static void test_empty_appends_are_no_failure(void **state)
{
	struct buffer buffer = { 0 };

	(void)state;
	assert_int_equal(buffer_append(&buffer, NULL, 0), 0);
	assert_non_null(buffer_extend(&buffer, 0));
	assert_int_equal(buffer_printf(&buffer, "%s", ""), 0);
	assert_int_equal(buffer.size, 0);
	buffer_done(&buffer);
}

static void test_printf_up_to_the_very_maximum(void **state)
{
	struct buffer buffer = { .max = 10 };

	(void)state;
	assert_int_equal(buffer_printf(&buffer, "%d-%s", 12, "ab"), 0);
	assert_int_equal(buffer_printf(&buffer, "%s", "cdefg"), 0);
	assert_int_equal(buffer.size, 10);
	assert_memory_equal(buffer.data, "12-abcdefg", 10);
	assert_int_equal(buffer_printf(&buffer, "h"), -ERR_TOO_LARGE);
	buffer_done(&buffer);
}

static void test_printf_longer_than_what_is_left(void **state)
{
	struct buffer buffer = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(buffer_printf(&buffer, "%0*d", i, 0), 0);
	/* %00d still prints its one digit. */
	assert_int_equal(buffer.size, 99 * 100 / 2 + 1);
	buffer_done(&buffer);
}

static void test_consume_drops_the_front(void **state)
{
	struct buffer buffer = { 0 };

	(void)state;
	buffer_append(&buffer, "abcdef", 6);
	buffer_consume(&buffer, 2);
	assert_int_equal(buffer.size, 4);
	assert_memory_equal(buffer.data, "cdef", 4);
	buffer_consume(&buffer, 99);
	assert_int_equal(buffer.size, 0);
	buffer_done(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows_and_keeps_content),
		cmocka_unit_test(test_maximum_is_exact_and_failure_sticks),
		cmocka_unit_test(test_sizes_that_overflow_are_refused),
		cmocka_unit_test(test_empty_appends_are_no_failure),
		cmocka_unit_test(test_printf_up_to_the_very_maximum),
		cmocka_unit_test(test_printf_longer_than_what_is_left),
		cmocka_unit_test(test_consume_drops_the_front),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
