/* Directories that must be refused, and the superblock that tells them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "disk_sim.h"
#include "error.h"
#include "store_driver.h"
#include "superblock.h"

static int setup(void **state)
{
	*state = disk_sim_new(64 * 1024 * 1024);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	disk_free(disk_sim_disk(*state));
	return 0;
}

static struct store *open_good(struct disk_sim *sim)
{
	struct store_options options = driven_options();
	struct store *store;
	char message[256];

	assert_int_equal(store_open(disk_sim_disk(sim), &options, &store, NULL, message), 0);
	assert_string_equal(message, "");
	return store;
}

static void open_refused(struct disk_sim *sim, int code, const char *word)
{
	struct store_options options = driven_options();
	struct store *store;
	char message[256];

	assert_int_equal(store_open(disk_sim_disk(sim), &options, &store, NULL, message), code);
	assert_non_null(strstr(message, word));
}

static void test_identity_lasts_and_generation_counts(void **state)
{
	struct store *store = open_good(*state);
	struct id node = driven_options().node, cluster = { { 1 } }, other = { { 2 } };

	assert_int_equal(store_identity(store)->generation, 1);
	assert_true(id_equal(&store_identity(store)->node, &node));
	assert_true(id_is_none(&store_identity(store)->cluster));
	assert_int_equal(store_adopt(store, &cluster, "home"), 0);
	assert_int_equal(store_adopt(store, &other, "away"), -ERR_WRONG_CLUSTER);
	assert_int_equal(store_promise(store, 5, &cluster), 0);
	assert_int_equal(store_promise(store, 4, &cluster), -ERR_STALE);
	assert_int_equal(store_promise(store, 5, &other), 0);
	assert_int_equal(store_promise(store, 5, &cluster), 0);
	store_abandon(store);
	disk_sim_crash(*state, DISK_SIM_DROP_ALL, 1);
	store = open_good(*state);
	assert_int_equal(store_identity(store)->generation, 2);
	assert_string_equal(store_identity(store)->cluster_name, "home");
	assert_true(id_equal(&store_identity(store)->cluster, &cluster));
	assert_int_equal(store_identity(store)->promised_epoch, 5);
	store_close(store);
}

static void test_locked_directory_is_refused(void **state)
{
	struct store *store = open_good(*state);

	open_refused(*state, -ERR_LOCKED, "another process");
	store_close(store);
	store_close(open_good(*state));
}

static void test_foreign_or_unmounted_directory_is_refused(void **state)
{
	struct disk *disk = disk_sim_disk(*state);

	disk_close(disk, disk_open(disk, "holiday.jpg", DISK_CREATE));
	open_refused(*state, -ERR_BAD_FORMAT, "not mounted");
}

static void test_lost_superblock_is_refused(void **state)
{
	store_close(open_good(*state));
	assert_int_equal(disk_unlink(disk_sim_disk(*state), "superblock"), 0);
	open_refused(*state, -ERR_BAD_FORMAT, "no superblock");
}

static void test_fresh_file_system_is_empty(void **state)
{
	assert_int_equal(disk_mkdir(disk_sim_disk(*state), "lost+found"), 0);
	store_close(open_good(*state));
}

static void copy_superblock(struct disk *from, struct disk *to)
{
	uint8_t blocks[8192];
	int file = disk_open(from, "superblock", 0);

	assert_int_equal(disk_read(from, file, blocks, sizeof(blocks), 0), sizeof(blocks));
	disk_close(from, file);
	file = disk_open(to, "superblock", 0);
	assert_int_equal(disk_write(to, file, blocks, sizeof(blocks), 0), 0);
	disk_close(to, file);
}

static void test_rolled_back_superblock_is_refused(void **state)
{
	struct driven chunk = { .chunk = 5, .length = 100 };
	struct disk_sim *old;
	struct store *store;

	store_close(open_good(*state));
	old = disk_sim_clone(*state);
	for (int clean = 0; clean < 2; clean++) {
		store = open_good(*state);
		chunk.chunk++;
		assert_int_equal(driven_put(store, &chunk, 1), 0);
		if (clean)
			store_close(store);
		else
			store_abandon(store);
		struct disk_sim *mixed = disk_sim_clone(*state);

		copy_superblock(disk_sim_disk(old), disk_sim_disk(mixed));
		open_refused(mixed, -ERR_BAD_FORMAT, "restored");
		disk_free(disk_sim_disk(mixed));
	}
	/* Nothing was changed by looking. */
	store_close(open_good(*state));
	disk_free(disk_sim_disk(old));
}

/* Two copies of one directory cannot be told apart on one machine, but the one that is started
 * later never has a higher generation than the other had: the name server sees that. */
static void test_clone_shows_a_generation_already_used(void **state)
{
	struct disk_sim *clone;
	struct store *first, *second;

	store_close(open_good(*state));
	clone = disk_sim_clone(*state);
	first = open_good(*state);
	second = open_good(clone);
	assert_true(id_equal(&store_identity(first)->node, &store_identity(second)->node));
	assert_int_equal(store_identity(first)->generation, store_identity(second)->generation);
	store_close(first);
	store_close(second);
	disk_free(disk_sim_disk(clone));
}

static void test_segment_of_another_disk_is_not_served(void **state)
{
	struct driven chunk = { .chunk = 5, .length = 100 };
	struct disk_sim *other = disk_sim_new(64 * 1024 * 1024);
	struct store_options options = driven_options();
	struct store *store = open_good(*state);
	uint8_t block[8192];
	char message[256];
	int file;
	int64_t size;

	assert_int_equal(driven_put(store, &chunk, 1), 0);
	store_close(store);
	file = disk_open(disk_sim_disk(*state), "seg/00000001", 0);
	size = disk_read(disk_sim_disk(*state), file, block, sizeof(block), 0);
	assert_int_equal(size, sizeof(block));
	options.disk.bytes[0]++;
	assert_int_equal(store_open(disk_sim_disk(other), &options, &store, NULL, message), 0);
	store_close(store);
	file = disk_open(disk_sim_disk(other), "seg/00000001", DISK_CREATE);
	disk_write(disk_sim_disk(other), file, block, (size_t)size, 0);
	assert_int_equal(store_open(disk_sim_disk(other), &options, &store, NULL, message), 0);
	assert_false(store_has(store, 5));
	store_close(store);
	disk_free(disk_sim_disk(other));
}

static void test_either_copy_may_be_damaged(void **state)
{
	store_close(open_good(*state));
	for (uint64_t copy = 0; copy < 2; copy++) {
		struct disk_sim *sim = disk_sim_clone(*state);
		struct store *store;

		assert_int_equal(disk_sim_flip(sim, "superblock", copy * 4096 + 30, 4), 0);
		store = open_good(sim);
		assert_int_equal(store_identity(store)->generation, 2);
		store_close(store);
		assert_int_equal(disk_sim_flip(sim, "superblock", 30, 4), 0);
		assert_int_equal(disk_sim_flip(sim, "superblock", 4096 + 30, 4), 0);
		open_refused(sim, -ERR_BAD_FORMAT, "damaged");
		disk_free(disk_sim_disk(sim));
	}
}

static void test_failed_promise_is_not_believed(void **state)
{
	struct store *store = open_good(*state);
	struct id server = { { 1 } };
	struct store_usage usage;

	disk_sim_fail(*state, &(struct disk_sim_fault){ DISK_SIM_SYNC_FILE, 1, -ERR_IO, false });
	assert_int_equal(store_promise(store, 5, &server), -ERR_IO);
	assert_int_equal(store_identity(store)->promised_epoch, 0);
	assert_int_equal(store_promise(store, 5, &server), -ERR_IO);
	store_usage(store, &usage);
	assert_true(usage.failed);
	store_close(store);
}

/* Who is short of descriptors for a moment has no broken disk. */
static void test_promise_that_touched_nothing(void **state)
{
	struct store *store = open_good(*state);
	struct id server = { { 1 } };
	struct store_usage usage;

	disk_sim_fail(*state,
		      &(struct disk_sim_fault){ DISK_SIM_OPEN, 1, -ERR_UNAVAILABLE, false });
	assert_int_equal(store_promise(store, 5, &server), -ERR_UNAVAILABLE);
	assert_int_equal(store_identity(store)->promised_epoch, 0);
	store_usage(store, &usage);
	assert_false(usage.failed);
	assert_int_equal(store_promise(store, 5, &server), 0);
	store_close(store);
	store = open_good(*state);
	assert_int_equal(store_identity(store)->promised_epoch, 5);
	store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_identity_lasts_and_generation_counts),
		TEST(test_locked_directory_is_refused),
		TEST(test_foreign_or_unmounted_directory_is_refused),
		TEST(test_lost_superblock_is_refused),
		TEST(test_fresh_file_system_is_empty),
		TEST(test_rolled_back_superblock_is_refused),
		TEST(test_clone_shows_a_generation_already_used),
		TEST(test_segment_of_another_disk_is_not_served),
		TEST(test_either_copy_may_be_damaged),
		TEST(test_failed_promise_is_not_believed),
		TEST(test_promise_that_touched_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
