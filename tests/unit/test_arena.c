#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arena.h"

static void test_pieces_are_zeroed_aligned_and_apart(void **state)
{
	struct arena arena = { 0 };
	uint8_t *last = NULL;

	(void)state;
	for (size_t size = 0; size < 500; size++) {
		uint8_t *at = arena_alloc(&arena, size);

		assert_non_null(at);
		assert_int_equal((uintptr_t)at % alignof(max_align_t), 0);
		assert_ptr_not_equal(at, last);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(at[i], 0);
		memset(at, 0xff, size);
		last = at;
	}
	arena_done(&arena);
}

static void test_limit_holds_until_reset(void **state)
{
	struct arena arena = { .limit = 1000 };

	(void)state;
	assert_non_null(arena_alloc(&arena, 900));
	assert_null(arena_alloc(&arena, 200));
	assert_non_null(arena_alloc(&arena, 64));
	assert_null(arena_alloc(&arena, SIZE_MAX));
	arena_reset(&arena);
	assert_int_equal(arena.used, 0);
	assert_non_null(arena_alloc(&arena, 900));
	arena_done(&arena);
}

static void test_reused_memory_is_zeroed_again(void **state)
{
	struct arena arena = { 0 };
	uint8_t *at;

	(void)state;
	memset(arena_alloc(&arena, 100), 0xff, 100);
	assert_non_null(arena_alloc(&arena, 100000));
	arena_reset(&arena);
	at = arena_alloc(&arena, 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(at[i], 0);
	arena_done(&arena);
	arena_done(&arena);
}

static void test_absurd_sizes_fail(void **state)
{
	struct arena arena = { 0 };

	(void)state;
	assert_null(arena_alloc(&arena, SIZE_MAX));
	assert_null(arena_alloc(&arena, SIZE_MAX - 16));
	arena_reset(&arena);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_are_zeroed_aligned_and_apart),
		cmocka_unit_test(test_limit_holds_until_reset),
		cmocka_unit_test(test_reused_memory_is_zeroed_again),
		cmocka_unit_test(test_absurd_sizes_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
