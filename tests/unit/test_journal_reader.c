/* Batches read back out of a journal that is being written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "disk_sim.h"
#include "error.h"
#include "journal.h"
#include "journal_reader.h"
#include "kv_memory.h"
#include "random.h"

enum { DISK_SIZE = 512 * 1024 * 1024, LARGE = 1024 * 1024, ROUNDS = 300 };

struct rig {
	struct disk_sim *sim;
	struct journal *journal;
	struct journal_reader *reader;
	struct kv *kv;
	struct batch_head next;
	struct buffer all; /* batches as they were appended */
};

static int ignore(void *context, const struct batch_head *head, struct slice changes)
{
	(void)context;
	(void)head;
	(void)changes;
	return 0;
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct disk *disk;

	rig->sim = disk_sim_new(DISK_SIZE);
	disk = disk_sim_disk(rig->sim);
	rig->next = (struct batch_head){ .epoch = 1, .sequence = 1 };
	assert_int_equal(kv_memory_new(&rig->kv), 0);
	assert_int_equal(journal_open(disk, 0, ignore, NULL, &rig->journal), 0);
	assert_int_equal(journal_reader_new(disk, &rig->reader), 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	journal_reader_free(rig->reader);
	journal_close(rig->journal);
	kv_memory_free(rig->kv);
	disk_free(disk_sim_disk(rig->sim));
	buffer_done(&rig->all);
	free(rig);
	return 0;
}

/* One sync with so many batches; each has a local section, too. */
static void append(struct rig *rig, unsigned int count, size_t size)
{
	size_t before = rig->all.size;
	uint8_t *value = calloc(1, size);

	for (unsigned int i = 0; i < count; i++) {
		assert_int_equal(kv_put(rig->kv, slice_of("key"), (struct slice){ value, size }),
				 0);
		assert_int_equal(kv_put(rig->kv, slice_of("~p"), (struct slice){ value, 8 }), 0);
		assert_int_equal(batch_seal(rig->kv, &rig->next, &rig->all, &rig->next.previous),
				 2);
		rig->next.sequence++;
	}
	assert_int_equal(journal_append(rig->journal, (struct slice){ rig->all.data + before,
								      rig->all.size - before }),
			 0);
	free(value);
}

static uint64_t last(const struct rig *rig)
{
	return rig->next.sequence - 1;
}

/* What is read is what was appended, cut to what other servers get; returns how far it goes. */
static uint64_t assert_read(struct rig *rig, const struct journal_range *range)
{
	struct buffer expected = { 0 }, actual = { 0 };
	uint64_t reached = range->after;
	struct slice rest;
	struct batch_head head;
	size_t size;

	assert_int_equal(journal_read(rig->reader, range, &actual), 0);
	assert_int_equal(batches_share((struct slice){ rig->all.data, rig->all.size }, range->after,
				       range->most, &expected),
			 0);
	rest = (struct slice){ actual.data, actual.size };
	while (batch_peek(rest, &head, &size) == 1) {
		reached++;
		assert_int_equal(head.sequence, reached);
		assert_int_equal(head.local.size, 0);
		rest = (struct slice){ rest.data + size, rest.size - size };
	}
	assert_true(reached > range->after && reached <= range->through);
	assert_true(actual.size <= expected.size);
	assert_memory_equal(actual.data, expected.data, actual.size);
	/* It ended because it was enough, or all. */
	assert_true(actual.size == expected.size || reached == range->through);
	buffer_done(&expected);
	buffer_done(&actual);
	return reached;
}

static void test_what_is_appended_is_read(void **state)
{
	struct rig *rig = *state;
	struct prng prng = { 1 };
	uint64_t at = 0;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct journal_range range;

		append(rig, 1 + (unsigned int)prng_below(&prng, 4),
		       8 + (size_t)prng_below(&prng, 9000));
		range.most = 1 + (size_t)prng_below(&prng, 40000);
		/* On from where it was, or from anywhere; and not always to the end. */
		range.after = prng_below(&prng, 3) ? at : prng_below(&prng, last(rig));
		range.through = last(rig) - prng_below(&prng, last(rig) - range.after);
		at = assert_read(rig, &range);
		at = at == last(rig) ? at - 1 : at;
	}
}

static void test_files_follow_each_other_and_are_trimmed(void **state)
{
	struct rig *rig = *state;
	struct buffer out = { 0 };
	struct journal_range range = { .most = 5 * LARGE };

	for (int i = 0; i < 150; i++)
		append(rig, 1, LARGE - 64);
	range.through = last(rig);
	while (range.after < range.through)
		range.after = assert_read(rig, &range);
	range.after = 0;
	range.after = assert_read(rig, &range);
	/* The file that is being read goes: it is read to its end, then comes the next. */
	assert_int_equal(journal_trim(rig->journal, 70), 0);
	while (range.after < range.through)
		range.after = assert_read(rig, &range);
	range.after = 3;
	assert_int_equal(journal_read(rig->reader, &range, &out), -ERR_STALE);
	assert_int_equal(out.size, 0);
	range.after = 80;
	assert_read(rig, &range);
}

static void test_damage_is_told(void **state)
{
	struct rig *rig = *state;
	struct journal_range range = { .most = 1 };
	struct buffer out = { 0 };

	for (int i = 0; i < 5; i++)
		append(rig, 1, 5000);
	range.through = last(rig);
	assert_int_equal(disk_sim_flip(rig->sim, "journal/00000001", 8192 + 300, 1), 0);
	assert_read(rig, &range);
	range.after = 1;
	assert_int_equal(journal_read(rig->reader, &range, &out), -ERR_CORRUPT);
	assert_int_equal(out.size, 0);
	range.after = 2;
	assert_read(rig, &range);
	/* What was never written. */
	range = (struct journal_range){ .after = last(rig), .through = last(rig) + 1, .most = 1 };
	assert_int_equal(journal_read(rig->reader, &range, &out), -ERR_CORRUPT);
}

static void test_a_journal_without_files(void **state)
{
	struct rig *rig = *state;
	struct buffer out = { 0 };

	assert_int_equal(journal_read(rig->reader,
				      &(struct journal_range){ .through = 1, .most = 1 }, &out),
			 -ERR_STALE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_appended_is_read),
		TEST(test_files_follow_each_other_and_are_trimmed),
		TEST(test_damage_is_told),
		TEST(test_a_journal_without_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
