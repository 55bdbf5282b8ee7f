#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "catalogue.h"
#include "kv_memory.h"

static int setup(void **state)
{
	struct kv *kv;

	assert_int_equal(kv_memory_new(&kv), 0);
	assert_int_equal(catalogue_format(kv, &(struct id){ { 1 } }, "home"), 0);
	*state = kv;
	return 0;
}

static int teardown(void **state)
{
	kv_memory_free(*state);
	return 0;
}

static uint64_t rows_of(struct kv *kv, char kind)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	struct slice key = { (const uint8_t *)&kind, 1 }, value;
	uint64_t count = 0;

	while (kv_seek(kv, key, &key, &value) == 0 && key.data[0] == (uint8_t)kind) {
		count++;
		key = kv_after(key, space);
	}
	return count;
}

static void test_answers_are_kept_until_trimmed(void **state)
{
	struct kv *kv = *state;
	const struct id one = { "one" }, two = { "two" };
	struct slice answer;
	char text[16];

	for (uint64_t i = 1; i <= 10; i++) {
		snprintf(text, sizeof(text), "answer %d", (int)i);
		assert_int_equal(result_put(kv, &one, i, slice_of(text)), 0);
		assert_int_equal(result_put(kv, &two, i, slice_of("")), 0);
	}
	assert_int_equal(result_get(kv, &one, 4, &answer), 0);
	assert_true(slice_equal(answer, slice_of("answer 4")));
	assert_int_equal(result_get(kv, &two, 4, &answer), 0);
	assert_int_equal(answer.size, 0);
	assert_int_equal(result_get(kv, &one, 11, &answer), -ERR_NOT_FOUND);
	assert_int_equal(result_trim(kv, &one, 5, 3), 3);
	assert_int_equal(result_get(kv, &one, 3, &answer), -ERR_EXPIRED);
	assert_int_equal(result_get(kv, &one, 4, &answer), 0);
	assert_int_equal(result_trim(kv, &one, 5, 3), 1);
	assert_int_equal(result_trim(kv, &one, 5, 3), 0);
	assert_int_equal(result_get(kv, &one, 4, &answer), -ERR_EXPIRED);
	assert_int_equal(result_get(kv, &one, 5, &answer), 0);
	assert_int_equal(result_get(kv, &two, 1, &answer), 0);
	assert_int_equal(result_trim(kv, &one, UINT64_MAX, 4), 4);
	assert_int_equal(result_trim(kv, &one, UINT64_MAX, 4), 2);
	assert_int_equal(rows_of(kv, 'o'), 10);
	assert_int_equal(result_put(kv, &one, 1,
				    (struct slice){ kv->batch.data, RESULT_SIZE_MAX + 1 }),
			 -ERR_TOO_LARGE);
}

static void test_members_are_kept_in_order(void **state)
{
	struct kv *kv = *state;
	struct member_row row = { .number = 65535,
				  .first_seen_ms = 1ull << 40,
				  .last_start_ms = 2ull << 40,
				  .starts = 3,
				  .generation = 4,
				  .disk = { "disk" } };
	struct member_row back;
	struct id after;

	assert_int_equal(member_next(kv, NULL, &back), -ERR_NOT_FOUND);
	memset(row.name, 'n', HOST_NAME_MAX_);
	memset(row.zone, 'z', ZONE_NAME_MAX);
	for (uint8_t i = 3; i > 0; i--) {
		row.node.bytes[0] = i;
		row.retired = i == 2;
		assert_int_equal(member_put(kv, &row), 0);
	}
	assert_int_equal(member_get(kv, &row.node, &back), 0);
	assert_true(id_equal(&back.disk, &row.disk));
	assert_int_equal(back.number, row.number);
	assert_int_equal(back.first_seen_ms, row.first_seen_ms);
	assert_int_equal(back.last_start_ms, row.last_start_ms);
	assert_int_equal(back.starts, 3);
	assert_int_equal(back.generation, 4);
	assert_string_equal(back.name, row.name);
	assert_string_equal(back.zone, row.zone);
	assert_int_equal(member_next(kv, NULL, &back), 0);
	for (uint8_t i = 1; i <= 3; i++) {
		assert_int_equal(back.node.bytes[0], i);
		assert_int_equal(back.retired, i == 2);
		after = back.node;
		assert_int_equal(member_next(kv, &after, &back), i < 3 ? 0 : -ERR_NOT_FOUND);
	}
	row.node.bytes[0] = 9;
	assert_int_equal(member_get(kv, &row.node, &back), -ERR_NOT_FOUND);
}

static void test_holders_are_sorted_sets(void **state)
{
	struct kv *kv = *state;
	struct holders holders;

	assert_int_equal(holders_get(kv, 7, &holders), 0);
	assert_int_equal(holders.count, 0);
	assert_int_equal(holders_add(kv, 7, 300), 1);
	assert_int_equal(holders_add(kv, 7, 2), 1);
	assert_int_equal(holders_add(kv, 7, 65535), 1);
	assert_int_equal(holders_add(kv, 7, 300), 0);
	assert_int_equal(holders_add(kv, 1ull << 50, 1), 1);
	assert_int_equal(holders_get(kv, 7, &holders), 0);
	assert_int_equal(holders.count, 3);
	assert_int_equal(holders.numbers[0], 2);
	assert_int_equal(holders.numbers[1], 300);
	assert_int_equal(holders.numbers[2], 65535);
	assert_int_equal(holders_remove(kv, 7, 5), 0);
	assert_int_equal(holders_remove(kv, 7, 300), 1);
	assert_int_equal(holders_remove(kv, 7, 2), 1);
	assert_int_equal(holders_remove(kv, 7, 65535), 1);
	assert_int_equal(rows_of(kv, '~'), 1);
	for (uint16_t i = 0; i < HOLDERS_MAX; i++)
		assert_int_equal(holders_add(kv, 8, i), 1);
	assert_int_equal(holders_add(kv, 8, HOLDERS_MAX), -ERR_TOO_LARGE);
}

static void test_settings_are_kept(void **state)
{
	struct kv *kv = *state;
	struct slice value;

	assert_int_equal(setting_get_u64(kv, "epoch", 3), 3);
	assert_int_equal(setting_put_u64(kv, "epoch", 1ull << 63), 0);
	assert_int_equal(setting_get_u64(kv, "epoch", 3), 1ull << 63);
	assert_int_equal(setting_put(kv, "text", slice_of("")), 0);
	assert_int_equal(setting_get(kv, "text", &value), 0);
	assert_int_equal(value.size, 0);
	assert_int_equal(setting_get_u64(kv, "text", 3), 3);
	assert_int_equal(setting_get(kv, "absent", &value), -ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_answers_are_kept_until_trimmed),
		TEST(test_members_are_kept_in_order),
		TEST(test_holders_are_sorted_sets),
		TEST(test_settings_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
