#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch.h"
#include "error.h"
#include "hash.h"
#include "kv_memory.h"

static const struct batch_head first = { .epoch = 7, .sequence = 42 };

struct sealed {
	struct kv *kv;
	struct buffer bytes;
	struct digest hash;
};

static int setup(void **state)
{
	struct sealed *sealed = calloc(1, sizeof(*sealed));

	assert_int_equal(kv_memory_new(&sealed->kv), 0);
	assert_int_equal(kv_put(sealed->kv, slice_of("a"), slice_of("one")), 0);
	assert_int_equal(kv_put(sealed->kv, slice_of("b"), slice_of("")), 0);
	assert_int_equal(kv_remove(sealed->kv, slice_of("c")), 0);
	assert_int_equal(batch_seal(sealed->kv, &first, &sealed->bytes, &sealed->hash), 3);
	*state = sealed;
	return 0;
}

static int teardown(void **state)
{
	struct sealed *sealed = *state;

	kv_memory_free(sealed->kv);
	buffer_done(&sealed->bytes);
	free(sealed);
	return 0;
}

static struct slice bytes_of(const struct sealed *sealed)
{
	return (struct slice){ sealed->bytes.data, sealed->bytes.size };
}

static int read_all(struct slice bytes)
{
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	size_t size;

	return batch_read(bytes, &head, &changes, &size, &hash);
}

static void test_a_batch_is_read_back(void **state)
{
	struct sealed *sealed = *state;
	struct batch_head head;
	struct change change;
	struct slice changes;
	struct digest hash;
	size_t size;

	assert_int_equal(batch_read(bytes_of(sealed), &head, &changes, &size, &hash), 1);
	assert_int_equal(size, sealed->bytes.size);
	assert_true(digest_equal(&hash, &sealed->hash));
	assert_int_equal(head.epoch, 7);
	assert_int_equal(head.sequence, 42);
	assert_int_equal(head.shared.count, 3);
	assert_int_equal(head.local.count, 0);
	assert_int_equal(change_next(&changes, &change), 1);
	assert_false(change.removed);
	assert_true(slice_equal(change.key, slice_of("a")));
	assert_true(slice_equal(change.value, slice_of("one")));
	assert_int_equal(change_next(&changes, &change), 1);
	assert_int_equal(change.value.size, 0);
	assert_int_equal(change_next(&changes, &change), 1);
	assert_true(change.removed);
	assert_true(slice_equal(change.key, slice_of("c")));
	assert_int_equal(change_next(&changes, &change), 0);
}

static void test_sealing_empties_the_kv(void **state)
{
	struct sealed *sealed = *state;
	size_t before = sealed->bytes.size;

	assert_int_equal(batch_seal(sealed->kv, &first, &sealed->bytes, &sealed->hash), 0);
	assert_int_equal(sealed->bytes.size, before);
}

static void test_the_hash_covers_the_history(void **state)
{
	struct sealed *sealed = *state;
	struct batch_head other = first;
	struct buffer bytes = { 0 };
	struct digest hash;

	other.previous.bytes[0] = 1;
	kv_put(sealed->kv, slice_of("a"), slice_of("one"));
	kv_put(sealed->kv, slice_of("b"), slice_of(""));
	kv_remove(sealed->kv, slice_of("c"));
	assert_int_equal(batch_seal(sealed->kv, &other, &bytes, &hash), 3);
	assert_false(digest_equal(&hash, &sealed->hash));
	buffer_done(&bytes);
}

static void keys_of(struct slice changes, char ret[16])
{
	struct change change;

	memset(ret, 0, 16);
	while (change_next(&changes, &change) == 1)
		strncat(ret, (const char *)change.key.data, 1);
}

/* As whoever ships the journal would: what is local stays here. */
static void local_cut(struct buffer *batch, size_t shared_size)
{
	batch->size = BATCH_HEADER_SIZE + shared_size;
	memset(batch->data + 8, 0, 8);
	put_u32(batch->data + 4, crc32c(batch->data + 8, batch->size - 8));
}

static void test_local_changes_are_not_part_of_the_history(void **state)
{
	struct sealed *sealed = *state;
	struct buffer mixed = { 0 };
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	char keys[16];
	size_t size;

	kv_put(sealed->kv, slice_of("~x"), slice_of("here"));
	kv_put(sealed->kv, slice_of("a"), slice_of("one"));
	kv_put(sealed->kv, slice_of("b"), slice_of(""));
	kv_remove(sealed->kv, slice_of("~y"));
	kv_remove(sealed->kv, slice_of("c"));
	assert_int_equal(batch_seal(sealed->kv, &first, &mixed, &hash), 5);
	assert_true(digest_equal(&hash, &sealed->hash));
	assert_int_equal(batch_read((struct slice){ mixed.data, mixed.size }, &head, &changes,
				    &size, &hash),
			 1);
	assert_true(digest_equal(&hash, &sealed->hash));
	assert_int_equal(head.shared.count, 3);
	assert_int_equal(head.local.count, 2);
	keys_of(changes, keys);
	assert_string_equal(keys, "abc~~");
	changes.size = head.shared.size;
	keys_of(changes, keys);
	assert_string_equal(keys, "abc");
	local_cut(&mixed, head.shared.size);
	assert_int_equal(mixed.size, sealed->bytes.size);
	assert_memory_equal(mixed.data, sealed->bytes.data, mixed.size);
	buffer_done(&mixed);
}

static void test_local_changes_alone_are_a_batch(void **state)
{
	struct sealed *sealed = *state;
	struct buffer bytes = { 0 };
	struct batch_head next = { 7, 43, sealed->hash, { 0 }, { 0 } };
	struct batch_head head;
	struct slice changes;
	struct digest hash, read;
	size_t size;

	kv_remove(sealed->kv, slice_of("~y"));
	assert_int_equal(batch_seal(sealed->kv, &next, &bytes, &hash), 1);
	assert_false(digest_equal(&hash, &sealed->hash));
	assert_int_equal(batch_read((struct slice){ bytes.data, bytes.size }, &head, &changes,
				    &size, &read),
			 1);
	assert_true(digest_equal(&hash, &read));
	assert_int_equal(head.sequence, 43);
	assert_int_equal(head.shared.count + head.shared.size, 0);
	local_cut(&bytes, 0);
	assert_int_equal(read_all((struct slice){ bytes.data, bytes.size }), 1);
	buffer_done(&bytes);
}

/* Sizes that do not fit 32 bits together, with a checksum that is right for what is there. */
static void test_sizes_do_not_overflow(void **state)
{
	struct sealed *sealed = *state;
	uint8_t *at = sealed->bytes.data;

	put_u32(at + 12, UINT32_MAX);
	put_u32(at + 4, crc32c(at + 8, sealed->bytes.size - 8));
	assert_int_equal(read_all(bytes_of(sealed)), -ERR_CORRUPT);
}

static void test_every_cut_is_seen(void **state)
{
	struct sealed *sealed = *state;

	for (size_t size = 0; size < sealed->bytes.size; size++)
		assert_int_equal(read_all((struct slice){ sealed->bytes.data, size }), 0);
}

static void test_every_flipped_bit_is_seen(void **state)
{
	struct sealed *sealed = *state;

	kv_put(sealed->kv, slice_of("d"), slice_of("one"));
	kv_put(sealed->kv, slice_of("~x"), slice_of("here"));
	buffer_clear(&sealed->bytes);
	assert_int_equal(batch_seal(sealed->kv, &first, &sealed->bytes, &sealed->hash), 2);
	for (size_t bit = 0; bit < sealed->bytes.size * 8; bit++) {
		uint8_t *at = &sealed->bytes.data[bit / 8];

		*at = (uint8_t)(*at ^ 1u << bit % 8);
		assert_int_not_equal(read_all(bytes_of(sealed)), 1);
		*at = (uint8_t)(*at ^ 1u << bit % 8);
	}
	assert_int_equal(read_all(bytes_of(sealed)), 1);
}

static void test_malformed_changes_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} bad[] = {
		{ "\3\1\0k", 4 },                 /* no such kind */
		{ "\2\0\0", 3 },                  /* an empty key */
		{ "\2\2\0k", 4 },                 /* a key cut short */
		{ "\2\1", 2 },                    /* a head cut short */
		{ "\2\221\1", 3 },                /* a key too long */
		{ "\1\1\0\1\0\0\0k", 8 },         /* a value cut short */
		{ "\1\1\0\1\0\20\0k", 8 },        /* a value too long */
		{ "\1\1\0\377\377\377\377k", 8 }, /* far too long */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct slice rest = { (const uint8_t *)bad[i].bytes, bad[i].size };
		struct change change;

		assert_int_equal(change_next(&rest, &change), -ERR_CORRUPT);
	}
}

static void test_a_full_batch_refuses_and_stays_whole(void **state)
{
	struct sealed *sealed = *state;
	uint8_t *large = calloc(1, KV_VALUE_SIZE_MAX);
	struct slice value = { large, KV_VALUE_SIZE_MAX };
	struct buffer bytes = { 0 };
	struct slice got;
	int count = 0;
	int rc;

	while ((rc = kv_put(sealed->kv, slice_of("large"), value)) == 0)
		count++;
	assert_int_equal(rc, -ERR_TOO_LARGE);
	assert_int_equal(count, BATCH_SIZE_MAX / KV_VALUE_SIZE_MAX - 1);
	assert_int_equal(kv_put(sealed->kv, slice_of("late"), value), -ERR_TOO_LARGE);
	assert_int_equal(kv_get(sealed->kv, slice_of("late"), &got), -ERR_NOT_FOUND);
	assert_int_equal(kv_put(sealed->kv, slice_of("small"), slice_of("fits")), 0);
	assert_int_equal(batch_seal(sealed->kv, &first, &bytes, &sealed->hash), count + 1);
	assert_int_equal(read_all((struct slice){ bytes.data, bytes.size }), 1);
	buffer_done(&bytes);
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_batch_is_read_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealing_empties_the_kv, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_hash_covers_the_history, setup, teardown),
		cmocka_unit_test_setup_teardown(test_local_changes_are_not_part_of_the_history,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_local_changes_alone_are_a_batch, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_sizes_do_not_overflow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_cut_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_flipped_bit_is_seen, setup, teardown),
		cmocka_unit_test(test_malformed_changes_are_refused),
		cmocka_unit_test_setup_teardown(test_a_full_batch_refuses_and_stays_whole, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
