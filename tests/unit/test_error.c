#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "error.h"

static void test_finds_rows_by_code_of_either_sign_and_by_name(void **state)
{
	(void)state;
	assert_int_equal(error_info(ERR_NOT_FOUND)->os, ENOENT);
	assert_ptr_equal(error_info(-ERR_NOT_FOUND), error_info(ERR_NOT_FOUND));
	assert_ptr_equal(error_find("NOT_FOUND"), error_info(ERR_NOT_FOUND));
	assert_int_equal(error_info(-ERR_NO_SPACE)->http, 507);
	assert_null(error_find("not_found"));
	assert_null(error_info(0));
	assert_null(error_info(9999));
}

static void test_names_and_texts_are_never_null(void **state)
{
	(void)state;
	assert_string_equal(error_name(0), "OK");
	assert_string_equal(error_text(0), "done");
	assert_string_equal(error_name(-ERR_STALE), "STALE");
	assert_string_equal(error_text(-9999), "unknown error");
	assert_string_equal(error_name(-9999), "UNKNOWN");
}

static void test_rows_are_unique_and_wire_errors_fit_a_status_byte(void **state)
{
	unsigned int rows = 0;

	(void)state;
	for (const struct error_info *info; (info = error_at(rows)); rows++) {
		assert_ptr_equal(error_info(info->code), info);
		assert_ptr_equal(error_find(info->name), info);
		assert_in_range((uint64_t)info->code, 1, info->wire ? 63 : 127);
		/* The only one that is no failure: what was asked for has begun. */
		if (info->code == ERR_IN_PROGRESS)
			assert_int_equal(info->http, 202);
		else
			assert_in_range((uint64_t)info->http, 400, 599);
		assert_true(strlen(info->text) > 3);
	}
	assert_true(rows > 30);
}

static void test_every_errno_becomes_an_error(void **state)
{
	(void)state;
	for (int os = 0; os < 200; os++) {
		assert_true(error_from_errno(os) < 0);
		assert_non_null(error_info(error_from_errno(os)));
	}
	assert_int_equal(error_from_errno(ENOENT), -ERR_NOT_FOUND);
	assert_int_equal(error_from_errno(ENOSPC), -ERR_LOCAL_FULL);
	assert_int_equal(error_from_errno(EIO), -ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds_rows_by_code_of_either_sign_and_by_name),
		cmocka_unit_test(test_names_and_texts_are_never_null),
		cmocka_unit_test(test_rows_are_unique_and_wire_errors_fit_a_status_byte),
		cmocka_unit_test(test_every_errno_becomes_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
