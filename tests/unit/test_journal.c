#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "disk_sim.h"
#include "error.h"
#include "journal.h"
#include "kv_memory.h"
#include "temporary.h"

enum { BLOCK = 4096, DISK_SIZE = 512 * 1024 * 1024, VERSION_AT = 3 };
#define FIRST_FILE "journal/00000001"

/* A writer of batches, and what it knows to be durable. */
struct rig {
	struct disk_sim *sim;
	struct disk *disk;
	struct journal *journal;
	struct kv *kv;
	struct batch_head next;
	uint64_t durable; /* the last batch that an append has promised */
};

struct replayed {
	uint64_t first, last, count;
};

static int on_batch(void *context, const struct batch_head *head, struct slice changes)
{
	struct replayed *replayed = context;
	struct change change;

	if (replayed->count++ == 0)
		replayed->first = head->sequence;
	else
		assert_int_equal(head->sequence, replayed->last + 1);
	replayed->last = head->sequence;
	assert_int_equal(change_next(&changes, &change), 1);
	assert_int_equal(get_u64(change.value.data), head->sequence);
	return 0;
}

static int open_at(struct disk *disk, uint64_t after, struct journal **ret,
		   struct replayed *ret_replayed)
{
	*ret_replayed = (struct replayed){ 0 };
	return journal_open(disk, after, on_batch, ret_replayed, ret);
}

static void rig_open(struct rig *rig)
{
	struct replayed replayed;

	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), 0);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->sim = disk_sim_new(DISK_SIZE);
	rig->disk = disk_sim_disk(rig->sim);
	rig->next = (struct batch_head){ .epoch = 1, .sequence = 1 };
	assert_int_equal(kv_memory_new(&rig->kv), 0);
	rig_open(rig);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	journal_close(rig->journal);
	kv_memory_free(rig->kv);
	disk_free(rig->disk);
	free(rig);
	return 0;
}

/* A batch whose first value begins with its number. */
static void seal(struct rig *rig, size_t size, struct buffer *ret)
{
	uint8_t *value = calloc(1, size);

	put_u64(value, rig->next.sequence);
	assert_int_equal(kv_put(rig->kv, slice_of("key"), (struct slice){ value, size }), 0);
	assert_int_equal(batch_seal(rig->kv, &rig->next, ret, &rig->next.previous), 1);
	rig->next.sequence++;
	free(value);
}

/* Appends `count` batches with one sync. */
static int append(struct rig *rig, int count, size_t size)
{
	struct buffer batches = { 0 };
	int rc;

	for (int i = 0; i < count; i++)
		seal(rig, size, &batches);
	rc = journal_append(rig->journal, (struct slice){ batches.data, batches.size });
	if (rc == 0)
		rig->durable = rig->next.sequence - 1;
	buffer_done(&batches);
	return rc;
}

static int64_t size_of(struct disk *disk, const char *path)
{
	int file = disk_open(disk, path, DISK_READ_ONLY);
	int64_t size = disk_size(disk, file);

	disk_close(disk, file);
	return size;
}

static void cut(struct disk *disk, const char *path, uint64_t size)
{
	int file = disk_open(disk, path, 0);

	assert_int_equal(disk_truncate(disk, file, size), 0);
	disk_close(disk, file);
}

static void test_batches_come_back_in_order(void **state)
{
	struct rig *rig = *state;
	struct journal_head head = journal_head(rig->journal), again;
	struct replayed replayed;

	assert_int_equal(head.sequence, 0);
	assert_int_equal(append(rig, 1, 100), 0);
	assert_int_equal(append(rig, 3, 5000), 0);
	assert_int_equal(append(rig, 1, 8), 0);
	head = journal_head(rig->journal);
	assert_int_equal(head.sequence, 5);
	assert_true(digest_equal(&head.hash, &rig->next.previous));
	journal_close(rig->journal);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.count, 5);
	assert_int_equal(replayed.first, 1);
	again = journal_head(rig->journal);
	assert_int_equal(again.sequence, 5);
	assert_true(digest_equal(&again.hash, &head.hash));
	assert_int_equal(append(rig, 1, 8), 0);
	journal_close(rig->journal);
	assert_int_equal(open_at(rig->disk, 4, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.first, 5);
	assert_int_equal(replayed.last, 6);
}

static void test_a_real_disk_will_do(void **state)
{
	struct rig *rig = *state;
	char path[TEMPORARY_PATH_MAX];
	struct replayed replayed;
	struct disk *disk;

	assert_non_null(temporary_make(path));
	assert_int_equal(disk_posix_new(path, &disk), 0);
	journal_close(rig->journal);
	assert_int_equal(open_at(disk, 0, &rig->journal, &replayed), 0);
	assert_int_equal(append(rig, 3, 100), 0);
	assert_int_equal(append(rig, 1, 100), 0);
	journal_close(rig->journal);
	cut(disk, FIRST_FILE, BLOCK + 50);
	assert_int_equal(open_at(disk, 0, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.last, 3);
	journal_close(rig->journal);
	rig->journal = NULL;
	disk_free(disk);
	temporary_remove(path);
}

static void test_a_broken_chain_is_not_appended(void **state)
{
	struct rig *rig = *state;
	struct batch_head before;

	assert_int_equal(append(rig, 2, 8), 0);
	before = rig->next;
	rig->next.sequence++;
	assert_int_equal(append(rig, 1, 8), -ERR_BAD_REQUEST);
	rig->next = before;
	rig->next.previous.bytes[0] ^= 1;
	assert_int_equal(append(rig, 1, 8), -ERR_BAD_REQUEST);
	rig->next = before;
	rig->next.epoch = 0;
	assert_int_equal(append(rig, 1, 8), -ERR_BAD_REQUEST);
	assert_int_equal(journal_append(rig->journal, slice_of("nonsense")), -ERR_BAD_REQUEST);
	rig->next = before;
	rig->next.epoch = 2;
	assert_int_equal(append(rig, 1, 8), 0);
}

static void test_the_last_file_may_be_torn_anywhere(void **state)
{
	struct rig *rig = *state;
	const int64_t size = 3 * BLOCK + 64; /* the rest are zeros written ahead */

	assert_int_equal(append(rig, 1, 100), 0);
	assert_int_equal(append(rig, 2, 3000), 0);
	assert_true(size_of(rig->disk, FIRST_FILE) > size);
	for (int64_t at = size; at >= 0; at -= at > 2 * BLOCK + 2100 ? 64 : 1) {
		struct disk_sim *clone = disk_sim_clone(rig->sim);
		struct disk *disk = disk_sim_disk(clone);
		uint64_t expected = at >= BLOCK + 8 + 2 * (BATCH_HEADER_SIZE + 7 + 3 + 3000) ? 3
				    : at >= 8 + BATCH_HEADER_SIZE + 7 + 3 + 100              ? 1
											     : 0;
		struct replayed replayed;
		struct journal *journal;

		cut(disk, FIRST_FILE, (uint64_t)at);
		assert_int_equal(open_at(disk, 0, &journal, &replayed), 0);
		assert_int_equal(replayed.last, expected);
		assert_int_equal(journal_head(journal).sequence, expected);
		journal_close(journal);
		assert_true(size_of(disk, FIRST_FILE) <= at);
		disk_free(disk);
	}
}

static void test_writing_goes_on_after_a_torn_tail(void **state)
{
	struct rig *rig = *state;
	struct replayed replayed;
	struct batch_head before;

	assert_int_equal(append(rig, 1, 100), 0);
	before = rig->next;
	assert_int_equal(append(rig, 2, 6000), 0);
	journal_close(rig->journal);
	cut(rig->disk, FIRST_FILE, 3 * BLOCK);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.last, 1);
	rig->next = before;
	assert_int_equal(append(rig, 1, 10), 0);
	journal_close(rig->journal);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.last, 2);
}

/* Bytes that carry meaning: a group's header and batches, not the zeros after them. */
static void test_a_flipped_bit_before_the_end_is_damage(void **state)
{
	struct rig *rig = *state;
	const uint64_t used = 8 + BATCH_HEADER_SIZE + 7 + 3 + 100;
	int64_t size;

	assert_int_equal(append(rig, 1, 100), 0);
	assert_int_equal(append(rig, 1, 100), 0);
	size = size_of(rig->disk, FIRST_FILE);
	for (uint64_t bit = 0; bit < used * 8; bit++) {
		struct disk_sim *clone = disk_sim_clone(rig->sim);
		struct disk *disk = disk_sim_disk(clone);
		struct replayed replayed;
		struct journal *journal;

		disk_sim_flip(clone, FIRST_FILE, bit / 8, (uint8_t)(1 << bit % 8));
		assert_int_equal(open_at(disk, 0, &journal, &replayed),
				 bit / 8 == VERSION_AT ? -ERR_BAD_FORMAT : -ERR_CORRUPT);
		assert_int_equal(size_of(disk, FIRST_FILE), size);
		disk_free(disk);
	}
}

/* What we cannot read somebody else may: it is no torn tail. */
static void test_another_version_is_left_alone(void **state)
{
	struct rig *rig = *state;
	struct replayed replayed;
	int64_t size;

	assert_int_equal(append(rig, 1, 100), 0);
	assert_int_equal(append(rig, 1, 100), 0);
	size = size_of(rig->disk, FIRST_FILE);
	journal_close(rig->journal);
	rig->journal = NULL;
	disk_sim_flip(rig->sim, FIRST_FILE, VERSION_AT, 1);
	disk_sim_flip(rig->sim, FIRST_FILE, BLOCK + VERSION_AT, 1);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), -ERR_BAD_FORMAT);
	assert_int_equal(size_of(rig->disk, FIRST_FILE), size);
}

/* Only names that we would write ourselves are ours. */
static void test_other_files_are_no_journal(void **state)
{
	static const char *const names[] = { "journal/0x000002", "journal/0000000A",
					     "journal/+0000003", "journal/00000001~" };
	struct rig *rig = *state;
	struct replayed replayed;

	assert_int_equal(append(rig, 1, 100), 0);
	journal_close(rig->journal);
	rig->journal = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int file = disk_open(rig->disk, names[i], DISK_CREATE);

		assert_true(file >= 0);
		disk_close(rig->disk, file);
	}
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.count, 1);
}

/* One append that was torn in its first half is no damage, though its second half is whole. */
static void test_a_group_is_torn_as_a_whole(void **state)
{
	struct rig *rig = *state;
	struct replayed replayed;

	assert_int_equal(append(rig, 1, 100), 0);
	assert_int_equal(append(rig, 3, 5000), 0);
	journal_close(rig->journal);
	disk_sim_flip(rig->sim, FIRST_FILE, BLOCK + 100, 1);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.last, 1);
	assert_int_equal(size_of(rig->disk, FIRST_FILE), BLOCK);
}

static void test_a_failed_sync_poisons(void **state)
{
	static const unsigned int kinds[] = { DISK_SIM_SYNC_FILE, DISK_SIM_WRITE };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig *rig;

		if (i > 0) {
			teardown(state);
			setup(state);
		}
		rig = *state;
		assert_int_equal(append(rig, 1, 100), 0);
		disk_sim_fail(rig->sim, &(struct disk_sim_fault){ kinds[i], 1, -ERR_IO, false });
		assert_int_equal(append(rig, 1, 100), -ERR_IO);
		assert_int_equal(journal_head(rig->journal).sequence, 1);
		rig->next.sequence = 2;
		rig->next.previous = journal_head(rig->journal).hash;
		assert_int_equal(append(rig, 1, 100), -ERR_IO);
		assert_int_equal(journal_trim(rig->journal, 1), -ERR_IO);
	}
}

/* The kernel calls pages clean whose sync has failed. What recovery has shown must last. */
static void test_what_recovery_has_read_is_durable(void **state)
{
	struct rig *rig = *state;
	struct replayed first, second;

	assert_int_equal(append(rig, 1, 100), 0);
	disk_sim_fail(rig->sim, &(struct disk_sim_fault){ DISK_SIM_SYNC_FILE, 1, -ERR_IO, false });
	assert_int_equal(append(rig, 2, 5000), -ERR_IO);
	journal_close(rig->journal);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &first), 0);
	journal_close(rig->journal);
	disk_sim_crash(rig->sim, DISK_SIM_DROP_ALL, 1);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &second), 0);
	assert_int_equal(second.last, first.last);
}

static void crash_everywhere(void *context, struct disk_sim *sim)
{
	const struct rig *rig = context;

	for (int i = 0; i < 2 * DISK_SIM_CRASH_MODES; i++) {
		struct disk_sim *clone = disk_sim_clone(sim);
		struct disk *disk = disk_sim_disk(clone);
		struct replayed replayed;
		struct journal *journal;

		disk_sim_crash(clone, (enum disk_sim_crash_mode)(i % DISK_SIM_CRASH_MODES),
			       rig->next.sequence * 100 + (uint64_t)i);
		assert_int_equal(open_at(disk, 0, &journal, &replayed), 0);
		assert_true(replayed.last >= rig->durable);
		assert_true(replayed.last < rig->next.sequence);
		journal_close(journal);
		disk_sim_crash(clone, DISK_SIM_DROP_ALL, 1);
		assert_int_equal(open_at(disk, replayed.last, &journal, &replayed), 0);
		assert_int_equal(replayed.count, 0);
		journal_close(journal);
		disk_free(disk);
	}
}

/* At each step of the disk, in each way: all that was promised is there, and no more than was sent,
 * and it is still there after the next crash. */
static void test_power_may_go_at_any_step(void **state)
{
	struct rig *rig = *state;

	disk_sim_watch(rig->sim, crash_everywhere, rig);
	for (int i = 0; i < 20; i++)
		assert_int_equal(append(rig, 1 + i % 3, 10 + (size_t)i * 977 % 6000), 0);
}

/* What others leave of the disk: nothing. */
static void disk_fill(struct rig *rig)
{
	int file = disk_open(rig->disk, "filler", DISK_CREATE);
	struct disk_space space;

	assert_true(file >= 0);
	assert_int_equal(disk_space(rig->disk, &space), 0);
	assert_int_equal(disk_allocate(rig->disk, file, 0, space.free), 0);
	disk_close(rig->disk, file);
}

static void test_a_full_disk_leaves_what_was_kept(void **state)
{
	struct rig *rig = *state;
	struct replayed replayed;

	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(append(rig, 1, 10), 0);
	assert_true(size_of(rig->disk, FIRST_FILE) >= 4 * 1024 * 1024);
	disk_fill(rig);
	for (unsigned int i = 0; i < 300; i++)
		assert_int_equal(append(rig, 1, 10), 0);
	/* Also over starts. */
	journal_close(rig->journal);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.last, 308);
	for (unsigned int i = 0; i < 300; i++)
		assert_int_equal(append(rig, 1, 10), 0);
	assert_int_equal(disk_unlink(rig->disk, "filler"), 0);
	for (unsigned int i = 0; i < 2000; i++)
		assert_int_equal(append(rig, 1, 10), 0);
}

enum { LARGE = 1024 * 1024 - 64, LARGE_COUNT = 40 };

static void on_name(void *context, const char *path, uint64_t size)
{
	(void)size;
	if (strncmp(path, "journal/", 8) == 0)
		++*(unsigned int *)context;
}

static unsigned int files_of(struct disk_sim *sim)
{
	unsigned int count = 0;

	disk_sim_each_file(sim, on_name, &count);
	return count;
}

struct trimming {
	uint64_t oldest; /* batch that must still be there or not, but with all after it */
	uint64_t last;
};

static void crash_while_trimming(void *context, struct disk_sim *sim)
{
	const struct trimming *trimming = context;

	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct disk_sim *clone = disk_sim_clone(sim);
		struct disk *disk = disk_sim_disk(clone);
		struct replayed replayed;
		struct journal *journal;

		disk_sim_crash(clone, DISK_SIM_RANDOM, seed);
		assert_int_equal(open_at(disk, trimming->oldest, &journal, &replayed), 0);
		assert_int_equal(replayed.last, trimming->last);
		journal_close(journal);
		disk_free(disk);
	}
}

static void test_files_follow_each_other_and_are_trimmed(void **state)
{
	struct rig *rig = *state;
	struct trimming trimming = { 2 * LARGE_COUNT, 3 * LARGE_COUNT };
	struct replayed replayed;

	for (int i = 0; i < 3; i++)
		assert_int_equal(append(rig, LARGE_COUNT, LARGE), 0);
	assert_int_equal(files_of(rig->sim), 3);
	assert_int_equal(journal_trim(rig->journal, LARGE_COUNT - 1), 0);
	assert_int_equal(files_of(rig->sim), 3);
	disk_sim_watch(rig->sim, crash_while_trimming, &trimming);
	assert_int_equal(journal_trim(rig->journal, 2 * LARGE_COUNT), 0);
	disk_sim_watch(rig->sim, NULL, NULL);
	crash_while_trimming(&trimming, rig->sim);
	assert_int_equal(files_of(rig->sim), 1);
	assert_int_equal(journal_trim(rig->journal, UINT64_MAX), 0);
	assert_int_equal(files_of(rig->sim), 1);
	journal_close(rig->journal);
	rig->journal = NULL;
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), -ERR_STALE);
	assert_int_equal(open_at(rig->disk, 2 * LARGE_COUNT, &rig->journal, &replayed), 0);
	assert_int_equal(replayed.first, 2 * LARGE_COUNT + 1);
	assert_int_equal(append(rig, 1, 8), 0);
}

static void test_damage_in_an_older_file_is_damage(void **state)
{
	struct rig *rig = *state;
	struct replayed replayed;

	for (int i = 0; i < 2; i++)
		assert_int_equal(append(rig, LARGE_COUNT, LARGE), 0);
	journal_close(rig->journal);
	rig->journal = NULL;
	disk_sim_flip(rig->sim, FIRST_FILE, 1000000, 4);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), -ERR_CORRUPT);
	disk_sim_flip(rig->sim, FIRST_FILE, 1000000, 4);
	cut(rig->disk, FIRST_FILE, 0);
	assert_int_equal(open_at(rig->disk, 0, &rig->journal, &replayed), -ERR_STALE);
}

static int refuse(void *context, const struct batch_head *head, struct slice changes)
{
	(void)context;
	(void)head;
	(void)changes;
	return -ERR_NO_MEMORY;
}

static void test_a_refusal_ends_the_opening(void **state)
{
	struct rig *rig = *state;
	struct journal *other;

	assert_int_equal(append(rig, 1, 8), 0);
	assert_int_equal(journal_open(rig->disk, 0, refuse, NULL, &other), -ERR_NO_MEMORY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_batches_come_back_in_order),
		TEST(test_a_real_disk_will_do),
		TEST(test_a_broken_chain_is_not_appended),
		TEST(test_the_last_file_may_be_torn_anywhere),
		TEST(test_writing_goes_on_after_a_torn_tail),
		TEST(test_a_flipped_bit_before_the_end_is_damage),
		TEST(test_another_version_is_left_alone),
		TEST(test_other_files_are_no_journal),
		TEST(test_a_group_is_torn_as_a_whole),
		TEST(test_a_failed_sync_poisons),
		TEST(test_what_recovery_has_read_is_durable),
		TEST(test_power_may_go_at_any_step),
		TEST(test_a_full_disk_leaves_what_was_kept),
		TEST(test_files_follow_each_other_and_are_trimmed),
		TEST(test_damage_in_an_older_file_is_damage),
		TEST(test_a_refusal_ends_the_opening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
