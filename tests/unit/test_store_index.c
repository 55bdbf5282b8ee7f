#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "chunk_index.h"
#include "random.h"

enum { IDS = 3000 };

static struct place place_for(uint64_t chunk)
{
	return (struct place){ .segment = (uint32_t)(chunk % 7),
			       .offset8 = (uint32_t)chunk,
			       .length = (uint32_t)(1 + chunk % 1000) };
}

static void test_behaves_like_an_array(void **state)
{
	struct chunk_index index;
	struct prng prng = { 1 };
	bool there[IDS] = { 0 };
	size_t count = 0;

	(void)state;
	index_init(&index, 99);
	for (int i = 0; i < 60000; i++) {
		uint64_t chunk = prng_below(&prng, IDS);
		struct place place = place_for(chunk), found;

		assert_int_equal(index_find(&index, chunk, &found), there[chunk]);
		if (there[chunk])
			assert_int_equal(found.length, place.length);
		if (prng_next(&prng) & 1) {
			assert_int_equal(index_reserve(&index, 1), 0);
			index_put(&index, chunk, &place);
			count += !there[chunk];
			there[chunk] = true;
		} else {
			assert_int_equal(index_remove(&index, chunk), there[chunk]);
			count -= there[chunk];
			there[chunk] = false;
		}
		assert_int_equal(index.count, count);
	}
	for (uint64_t chunk = 0; chunk < IDS; chunk++) {
		struct place found;

		assert_int_equal(index_find(&index, chunk, &found), there[chunk]);
	}
	index_done(&index);
}

static void test_sum_depends_on_content_only(void **state)
{
	struct chunk_index a, b;
	struct place bad = { .length = 5, .bad = true };
	const struct inventory_sum none = { 0 };

	(void)state;
	index_init(&a, 1);
	index_init(&b, 2);
	index_reserve(&a, 100);
	index_reserve(&b, 1000);
	for (uint64_t i = 1; i <= 100; i++) {
		struct place first = place_for(i), second = place_for(101 - i);

		index_put(&a, i, &first);
		index_put(&b, 101 - i, &second);
	}
	assert_memory_equal(&a.sum, &b.sum, sizeof(a.sum));
	index_put(&a, 7, &bad);
	index_remove(&b, 7);
	assert_memory_equal(&a.sum, &b.sum, sizeof(a.sum));
	assert_int_equal(a.good, 99);
	assert_int_equal(a.count, 100);
	assert_int_equal(a.bytes, b.bytes);
	for (uint64_t i = 1; i <= 100; i++)
		index_remove(&b, i);
	assert_memory_equal(&b.sum, &none, sizeof(none));
	index_done(&a);
	index_done(&b);
}

static void test_lists_in_order_page_by_page(void **state)
{
	struct chunk_index index;
	struct prng prng = { 3 };
	struct store_listed page[37];
	uint64_t after = 0, seen = 0;
	int64_t got;

	(void)state;
	index_init(&index, 5);
	index_reserve(&index, 1000);
	for (uint64_t i = 1; i <= 1000; i++) {
		struct place place = place_for(i);

		index_put(&index, prng_next(&prng) >> 1 | 1, &place);
	}
	while ((got = index_list(&index, NULL, after, page, 37)) > 0)
		for (int64_t i = 0; i < got; i++, seen++) {
			assert_true(page[i].chunk > after);
			after = page[i].chunk;
		}
	assert_int_equal(seen, index.count);
	index_done(&index);
}

static void test_walk_survives_removals(void **state)
{
	struct chunk_index index;
	struct place place;
	uint64_t chunk;
	size_t cursor = 0, odd = 0;

	(void)state;
	index_init(&index, 5);
	index_reserve(&index, 1000);
	for (uint64_t i = 1; i <= 1000; i++) {
		place = place_for(i);
		index_put(&index, i, &place);
	}
	while (index_next(&index, &cursor, &chunk, &place))
		if (chunk & 1) {
			index_remove(&index, chunk);
			cursor--;
		}
	for (cursor = 0; index_next(&index, &cursor, &chunk, &place);)
		odd += chunk & 1;
	assert_int_equal(odd, 0);
	assert_int_equal(index.count, 500);
	index_done(&index);
}

static void test_at_most_48_bytes_a_chunk(void **state)
{
	struct chunk_index index;

	(void)state;
	index_init(&index, 5);
	for (uint64_t i = 1; i <= 200000; i++) {
		struct place place = place_for(i);

		assert_int_equal(index_reserve(&index, 1), 0);
		index_put(&index, i, &place);
		if (i > 1000)
			assert_true(index_bytes(&index) <= 48 * i);
	}
	index_done(&index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_behaves_like_an_array),
		cmocka_unit_test(test_sum_depends_on_content_only),
		cmocka_unit_test(test_lists_in_order_page_by_page),
		cmocka_unit_test(test_walk_survives_removals),
		cmocka_unit_test(test_at_most_48_bytes_a_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
