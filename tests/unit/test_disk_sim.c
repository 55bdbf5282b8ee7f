#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "disk_sim.h"
#include "error.h"

enum { SIZE = 1024 * 1024 };

static int setup(void **state)
{
	*state = disk_sim_new(SIZE);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	disk_free(disk_sim_disk(*state));
	return 0;
}

static int file_make(struct disk *disk, const char *path, const char *text)
{
	int file = disk_open(disk, path, DISK_CREATE);

	assert_true(file >= 0);
	assert_int_equal(disk_write(disk, file, text, strlen(text), 0), 0);
	return file;
}

/* "" for an empty file, NULL for none. */
static const char *file_text(struct disk *disk, const char *path, char ret[64])
{
	int file = disk_open(disk, path, DISK_READ_ONLY);
	int64_t size;

	if (file < 0)
		return NULL;
	size = disk_read(disk, file, ret, 63, 0);
	assert_true(size >= 0);
	ret[size] = '\0';
	disk_close(disk, file);
	return ret;
}

static void test_only_what_was_synced_is_left(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	char text[64];
	int named = file_make(disk, "named", "old");

	file_make(disk, "nameless", "x");
	assert_int_equal(disk_sync_file(disk, named), 0);
	assert_int_equal(disk_sync_dir(disk, ""), 0);
	assert_int_equal(disk_write(disk, named, "new", 3, 0), 0);
	assert_string_equal(file_text(disk, "named", text), "new");
	disk_sync_file(disk, file_make(disk, "late", "synced, but nobody knows its name"));
	disk_sim_crash(*state, DISK_SIM_DROP_ALL, 1);
	assert_string_equal(file_text(disk, "named", text), "old");
	assert_string_equal(file_text(disk, "nameless", text), "");
	assert_null(file_text(disk, "late", text));
}

static void test_keep_all_keeps_all(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	char text[64];

	file_make(disk, "a", "text");
	assert_int_equal(disk_rename(disk, "a", "b"), 0);
	disk_sim_crash(*state, DISK_SIM_KEEP_ALL, 1);
	assert_null(file_text(disk, "a", text));
	assert_string_equal(file_text(disk, "b", text), "text");
}

static void test_rename_is_atomic_and_may_be_lost(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	int seen[2] = { 0, 0 };

	disk_sync_file(disk, file_make(disk, "new", "2"));
	disk_sync_file(disk, file_make(disk, "name", "1"));
	disk_sync_dir(disk, "");
	disk_rename(disk, "new", "name");
	for (uint64_t seed = 0; seed < 32; seed++) {
		struct disk_sim *sim = disk_sim_clone(*state);
		char text[64], other[64];

		disk_sim_crash(sim, DISK_SIM_RANDOM, seed);
		assert_non_null(file_text(disk_sim_disk(sim), "name", text));
		seen[text[0] - '1']++;
		if (text[0] == '1')
			assert_string_equal(file_text(disk_sim_disk(sim), "new", other), "2");
		else
			assert_null(file_text(disk_sim_disk(sim), "new", other));
		disk_free(disk_sim_disk(sim));
	}
	assert_true(seen[0] && seen[1]);
}

static void test_sectors_are_lost_one_by_one(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	int file = disk_open(disk, "f", DISK_CREATE);
	uint8_t data[4 * 512];
	int mixed = 0, torn = 0;

	memset(data, 0, sizeof(data));
	disk_write(disk, file, data, sizeof(data), 0);
	disk_sync_file(disk, file);
	disk_sync_dir(disk, "");
	memset(data, 1, sizeof(data));
	disk_write(disk, file, data, sizeof(data), 0);
	for (uint64_t seed = 0; seed < 64; seed++) {
		struct disk_sim *sim = disk_sim_clone(*state);
		int ones = 0;

		disk_sim_crash(sim, seed & 1 ? DISK_SIM_TEAR : DISK_SIM_RANDOM, seed);
		file = disk_open(disk_sim_disk(sim), "f", 0);
		assert_int_equal(disk_read(disk_sim_disk(sim), file, data, sizeof(data), 0),
				 sizeof(data));
		for (size_t i = 0; i < sizeof(data); i++) {
			ones += data[i];
			torn += i % 512 && data[i] != data[i - 1];
			if (!(seed & 1) && i % 512)
				assert_int_equal(data[i], data[i - 1]);
		}
		mixed += ones && ones < (int)sizeof(data);
		disk_free(disk_sim_disk(sim));
	}
	assert_true(mixed > 20 && torn > 5);
}

static void test_drop_one_loses_exactly_one(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	int file = disk_open(disk, "f", DISK_CREATE);
	uint8_t data[8 * 512];

	disk_sync_dir(disk, "");
	memset(data, 1, sizeof(data));
	disk_write(disk, file, data, sizeof(data), 0);
	for (uint64_t seed = 0; seed < 16; seed++) {
		struct disk_sim *sim = disk_sim_clone(*state);
		int ones = 0;

		disk_sim_crash(sim, DISK_SIM_DROP_ONE, seed);
		file = disk_open(disk_sim_disk(sim), "f", 0);
		assert_int_equal(disk_read(disk_sim_disk(sim), file, data, sizeof(data), 0),
				 sizeof(data));
		for (size_t i = 0; i < sizeof(data); i++)
			ones += data[i];
		assert_int_equal(ones, 7 * 512);
		disk_free(disk_sim_disk(sim));
	}
}

static void test_same_seed_same_crash(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	uint8_t data[2][64 * 512];
	int file = disk_open(disk, "f", DISK_CREATE);

	disk_sync_dir(disk, "");
	memset(data[0], 7, sizeof(data[0]));
	disk_write(disk, file, data[0], sizeof(data[0]), 0);
	for (int i = 0; i < 2; i++) {
		struct disk_sim *sim = disk_sim_clone(*state);

		memset(data[i], 0, sizeof(data[i]));
		disk_sim_crash(sim, DISK_SIM_TEAR, 5);
		file = disk_open(disk_sim_disk(sim), "f", 0);
		disk_read(disk_sim_disk(sim), file, data[i], sizeof(data[i]), 0);
		disk_free(disk_sim_disk(sim));
	}
	assert_memory_equal(data[0], data[1], sizeof(data[0]));
}

static void test_failed_sync_loses_what_reads_still_show(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	char text[64];
	int file = file_make(disk, "f", "old");

	disk_sync_file(disk, file);
	disk_sync_dir(disk, "");
	disk_write(disk, file, "new", 3, 0);
	disk_sim_fail(*state, &(struct disk_sim_fault){ DISK_SIM_SYNC_FILE, 1, -ERR_IO, false });
	assert_int_equal(disk_sync_file(disk, file), -ERR_IO);
	assert_int_equal(disk_sync_file(disk, file), 0);
	assert_string_equal(file_text(disk, "f", text), "new");
	disk_sim_crash(*state, DISK_SIM_KEEP_ALL, 1);
	assert_string_equal(file_text(disk, "f", text), "old");
}

static void test_faults_hit_the_nth_and_those_after_it(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	int file = disk_open(disk, "f", DISK_CREATE);

	disk_sim_fail(*state, &(struct disk_sim_fault){ DISK_SIM_WRITE, 2, -ERR_LOCAL_FULL, true });
	assert_int_equal(disk_write(disk, file, "a", 1, 0), 0);
	assert_int_equal(disk_write(disk, file, "b", 1, 0), -ERR_LOCAL_FULL);
	assert_int_equal(disk_write(disk, file, "c", 1, 0), -ERR_LOCAL_FULL);
	assert_int_equal(disk_sim_failed(*state), 2);
	disk_sim_fail(*state, &(struct disk_sim_fault){ DISK_SIM_SYNC_FILE, 1, 0, true });
	assert_int_equal(disk_sync_file(disk, file), 0);
	disk_sync_dir(disk, "");
	disk_sim_crash(*state, DISK_SIM_DROP_ALL, 1);
	file = disk_open(disk, "f", 0);
	assert_int_equal(disk_size(disk, file), 0);
}

static void test_power_goes_at_a_step(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	int file = disk_open(disk, "f", DISK_CREATE);
	char byte;

	assert_int_equal(disk_sim_steps(*state), 1);
	disk_sim_power_off_at(*state, 2);
	assert_int_equal(disk_write(disk, file, "a", 1, 0), 0);
	assert_int_equal(disk_sync_file(disk, file), -ERR_IO);
	assert_true(disk_sim_power_is_off(*state));
	assert_int_equal(disk_read(disk, file, &byte, 1, 0), -ERR_IO);
	disk_sim_crash(*state, DISK_SIM_KEEP_ALL, 1);
	assert_false(disk_sim_power_is_off(*state));
	assert_true(disk_open(disk, "f", 0) >= 0);
}

static void test_space_is_bounded_and_comes_back(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	int file = disk_open(disk, "f", DISK_CREATE);
	struct disk_space space;

	assert_int_equal(disk_allocate(disk, file, 0, SIZE - 8192), 0);
	assert_int_equal(disk_space(disk, &space), 0);
	assert_int_equal(space.free, 8192);
	assert_int_equal(disk_write(disk, file, "x", 1, SIZE), -ERR_LOCAL_FULL);
	assert_int_equal(disk_unlink(disk, "f"), 0);
	disk_space(disk, &space);
	assert_int_equal(space.free, 8192); /* still open */
	disk_close(disk, file);
	disk_space(disk, &space);
	assert_int_equal(space.free, SIZE);
}

static void test_lock_is_exclusive_until_closed(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	int lock = disk_lock(disk, "lock");

	assert_true(lock >= 0);
	assert_int_equal(disk_lock(disk, "lock"), -ERR_LOCKED);
	disk_close(disk, lock);
	lock = disk_lock(disk, "lock");
	assert_true(lock >= 0);
	disk_sim_crash(*state, DISK_SIM_KILL, 1);
	assert_true(disk_lock(disk, "lock") >= 0);
}

static void test_lost_directory_takes_its_files_along(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	char text[64];

	assert_int_equal(disk_mkdir(disk, "d"), 0);
	assert_int_equal(disk_mkdir(disk, "d"), 0);
	disk_sync_file(disk, file_make(disk, "d/f", "x"));
	disk_sync_dir(disk, "d");
	disk_sim_crash(*state, DISK_SIM_DROP_ALL, 1);
	assert_null(file_text(disk, "d/f", text));
	assert_int_equal(disk_open(disk, "d/f", DISK_CREATE), -ERR_NOT_FOUND);
}

static void test_flip_is_seen_and_durable(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	char text[64];

	disk_sync_file(disk, file_make(disk, "f", "abc"));
	disk_sync_dir(disk, "");
	assert_int_equal(disk_sim_flip(*state, "f", 1, 1), 0);
	assert_int_equal(disk_sim_flip(*state, "f", 3, 1), -ERR_RANGE);
	assert_int_equal(disk_sim_flip(*state, "g", 0, 1), -ERR_NOT_FOUND);
	disk_sim_crash(*state, DISK_SIM_DROP_ALL, 1);
	assert_string_equal(file_text(disk, "f", text), "acc");
}

static void count_step(void *context, struct disk_sim *sim)
{
	struct disk_sim *clone = disk_sim_clone(sim);

	++*(int *)context;
	disk_sim_crash(clone, DISK_SIM_RANDOM, 1);
	disk_free(disk_sim_disk(clone));
}

static void test_watcher_sees_every_step(void **state)
{
	struct disk *disk = disk_sim_disk(*state);
	int steps = 0;

	disk_sim_watch(*state, count_step, &steps);
	disk_sync_file(disk, file_make(disk, "f", "abc"));
	disk_open(disk, "f", 0);
	assert_int_equal(steps, 3);
	assert_int_equal(disk_sim_steps(*state), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_only_what_was_synced_is_left),
		TEST(test_keep_all_keeps_all),
		TEST(test_rename_is_atomic_and_may_be_lost),
		TEST(test_sectors_are_lost_one_by_one),
		TEST(test_drop_one_loses_exactly_one),
		TEST(test_same_seed_same_crash),
		TEST(test_failed_sync_loses_what_reads_still_show),
		TEST(test_faults_hit_the_nth_and_those_after_it),
		TEST(test_power_goes_at_a_step),
		TEST(test_space_is_bounded_and_comes_back),
		TEST(test_lock_is_exclusive_until_closed),
		TEST(test_lost_directory_takes_its_files_along),
		TEST(test_flip_is_seen_and_durable),
		TEST(test_watcher_sees_every_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
