/* The store, on a simulated disk and on this machine's. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_sim.h"
#include "error.h"
#include "hash.h"
#include "inventory.h"
#include "store_driver.h"

enum { SIM_SIZE = 64 * 1024 * 1024, SMALL = 1000, LARGE = 30000 };

struct fixture {
	struct disk_sim *sim; /* NULL: a real disk */
	struct disk *disk;
	char root[64];
	struct store_options options;
	struct store *store;
	struct store_report report;
};

static void store_start(struct fixture *fixture)
{
	char message[256];

	assert_int_equal(store_open(fixture->disk, &fixture->options, &fixture->store,
				    &fixture->report, message),
			 0);
}

static void restart(struct fixture *fixture, bool clean)
{
	if (clean)
		store_close(fixture->store);
	else
		store_abandon(fixture->store);
	store_start(fixture);
}

static int setup_sim(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->options = driven_options();
	fixture->sim = disk_sim_new(SIM_SIZE);
	fixture->disk = disk_sim_disk(fixture->sim);
	store_start(fixture);
	*state = fixture;
	return 0;
}

static int setup_posix(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->options = driven_options();
	snprintf(fixture->root, sizeof(fixture->root), "/tmp/muster-test-store-XXXXXX");
	if (!mkdtemp(fixture->root) || disk_posix_new(fixture->root, &fixture->disk) < 0)
		return -1;
	fixture->options.capacity = 1 << 30;
	store_start(fixture);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	char command[128];
	int rc = 0;

	store_close(fixture->store);
	disk_free(fixture->disk);
	if (!fixture->sim) {
		snprintf(command, sizeof(command), "rm -rf %s", fixture->root);
		rc = system(command);
	}
	free(fixture);
	return rc;
}

static void put(struct fixture *fixture, uint64_t chunk, uint32_t length)
{
	struct driven one = { .chunk = chunk, .length = length };

	assert_int_equal(driven_put(fixture->store, &one, 1), 0);
	assert_int_equal(one.result, 0);
}

static void put_many(struct fixture *fixture, uint64_t first, size_t count, uint32_t length)
{
	struct driven list[64];

	assert_true(count <= 64);
	for (size_t i = 0; i < count; i++)
		list[i] = (struct driven){ .chunk = first + i, .length = length };
	assert_int_equal(driven_put(fixture->store, list, count), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(list[i].result, 0);
}

static void assert_reads(struct fixture *fixture, uint64_t chunk, uint32_t length)
{
	assert_int_equal(driven_read(fixture->store, chunk, length), 0);
}

static void test_every_length_comes_back(void **state)
{
	static const uint32_t lengths[] = { 1,     7,     8,     4096,   19999,  20000,
					    65535, 65536, 65537, 131072, 200001, 1048576 };
	struct fixture *fixture = *state;

	for (int pass = 0; pass < 3; pass++) {
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			if (pass == 0)
				put(fixture, 100 + i, lengths[i]);
			assert_reads(fixture, 100 + i, lengths[i]);
		}
		restart(fixture, pass);
		assert_int_equal(fixture->report.chunks, ARRAY_SIZE(lengths));
		assert_int_equal(fixture->report.torn_bytes, 0);
		assert_int_equal(fixture->report.quarantined, 0);
	}
}

static void test_small_chunks_of_several_blocks(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->store);
	fixture->options.large_from = 0;
	store_start(fixture);
	put(fixture, 1, 65536);
	put(fixture, 2, 65537);
	put(fixture, 3, SMALL_CHUNK_MAX);
	put(fixture, 4, SMALL_CHUNK_MAX + 1);
	for (int pass = 0; pass < 3; pass++) {
		assert_reads(fixture, 1, 65536);
		assert_reads(fixture, 2, 65537);
		assert_reads(fixture, 3, SMALL_CHUNK_MAX);
		assert_reads(fixture, 4, SMALL_CHUNK_MAX + 1);
		restart(fixture, pass);
	}
}

static void test_a_chunk_is_taken_once(void **state)
{
	struct fixture *fixture = *state;
	struct store_write *write, *twin;

	assert_int_equal(driven_write(fixture->store, 5, SMALL, &write), 0);
	assert_int_equal(driven_write(fixture->store, 5, SMALL, &twin), -ERR_EXISTS);
	store_write_abort(fixture->store, write);
	put(fixture, 5, SMALL);
	assert_int_equal(store_remove(fixture->store, 5), 0);
	assert_int_equal(store_remove(fixture->store, 5), -ERR_NOT_FOUND);
	assert_int_equal(driven_read(fixture->store, 5, SMALL), -ERR_NOT_FOUND);
	put(fixture, 5, SMALL);
	assert_reads(fixture, 5, SMALL);
}

/* Another copy may be on its way while one is here; it takes its place, also over a restart. */
static void test_a_copy_is_replaced(void **state)
{
	static const uint32_t lengths[] = { SMALL, 30000 };
	struct fixture *fixture = *state;
	struct store_write *write;

	for (uint64_t i = 0; i < 2; i++) {
		put(fixture, 5 + i, lengths[i]);
		assert_int_equal(driven_write(fixture->store, 5 + i, lengths[i], &write), 0);
		assert_reads(fixture, 5 + i, lengths[i]);
		store_write_abort(fixture->store, write);
		assert_reads(fixture, 5 + i, lengths[i]);
		assert_int_equal(store_quarantine(fixture->store, 5 + i), 0);
		put(fixture, 5 + i, lengths[i]);
	}
	for (int pass = 0; pass < 2; pass++) {
		for (uint64_t i = 0; i < 2; i++)
			assert_reads(fixture, 5 + i, lengths[i]);
		restart(fixture, pass);
	}
}

static void test_incomplete_or_wrong_writes_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct chunk_meta meta = { .chunk = 5, .length = 100, .digest = { { 1 } } };
	struct store_commit *commit;
	struct store_write *write;
	uint8_t data[101] = { 0 }, crc[4];

	assert_int_equal(store_commit_new(fixture->store, &commit), 0);
	assert_int_equal(store_write_new(fixture->store, &meta, &write), 0);
	assert_int_equal(store_commit_add(commit, write, NULL), -ERR_BAD_REQUEST);
	crc32c_blocks(data, 100, crc);
	assert_int_equal(store_write_add(write, data, 101, crc), -ERR_BAD_REQUEST);
	assert_int_equal(store_write_add(write, data, 100, crc), 0);
	assert_int_equal(store_commit_add(commit, write, NULL), -ERR_CORRUPT);
	store_write_abort(fixture->store, write);
	store_commit_finish(fixture->store, commit, -ERR_CANCELLED, NULL, NULL);
	meta.length = CHUNK_SIZE_MAX + 1;
	assert_int_equal(store_write_new(fixture->store, &meta, &write), -ERR_TOO_LARGE);
	meta.length = 0;
	assert_int_equal(store_write_new(fixture->store, &meta, &write), -ERR_BAD_REQUEST);
}

static void test_bytes_can_be_forwarded_while_they_arrive(void **state)
{
	struct fixture *fixture = *state;
	struct store_write *small, *large;
	uint8_t expected[SMALL];
	uint64_t offset = 0;

	assert_int_equal(driven_write(fixture->store, 5, SMALL, &small), 0);
	assert_int_equal(driven_write(fixture->store, 6, LARGE, &large), 0);
	driven_content(5, SMALL, expected);
	assert_memory_equal(store_write_bytes(small), expected, SMALL);
	assert_true(crc32c_blocks_match(expected, SMALL, store_write_crcs(small)));
	assert_null(store_write_bytes(large));
	if (fixture->sim) {
		assert_int_equal(store_write_descriptor(large, &offset), -ERR_UNSUPPORTED);
	} else {
		int fd = store_write_descriptor(large, &offset);

		driven_content(6, LARGE, (uint8_t[LARGE]){ 0 });
		assert_int_equal(pread(fd, expected, 1, (off_t)offset), 1);
	}
	store_write_abort(fixture->store, small);
	store_write_abort(fixture->store, large);
}

static void test_removed_chunks_stay_readable_for_who_has_them(void **state)
{
	struct fixture *fixture = *state;
	struct store_reader *readers[2];
	uint8_t data[LARGE], expected[LARGE];

	put(fixture, 1, SMALL);
	put(fixture, 2, LARGE);
	restart(fixture, true);
	for (uint64_t i = 0; i < 2; i++)
		assert_int_equal(store_reader_open(fixture->store, 1 + i, &readers[i]), 0);
	assert_int_equal(store_remove(fixture->store, 1), 0);
	assert_int_equal(store_remove(fixture->store, 2), 0);
	assert_true(driven_chores(fixture->store, 0, 100) > 0);
	for (uint64_t i = 0; i < 2; i++) {
		struct chunk_meta meta;

		assert_int_equal(store_reader_check(readers[i], &meta), 0);
		assert_int_equal(meta.file, meta.chunk + 1);
		assert_int_equal(meta.epoch, 7);
		driven_content(meta.chunk, meta.length, expected);
		assert_int_equal(store_reader_read(readers[i], data, LARGE, 0), meta.length);
		assert_memory_equal(data, expected, meta.length);
		assert_int_equal(store_reader_read(readers[i], data, 10, 100), 10);
		assert_memory_equal(data, expected + 100, 10);
		assert_int_equal(store_reader_read(readers[i], data, 1, meta.length + 1),
				 -ERR_RANGE);
		store_reader_close(fixture->store, readers[i]);
	}
}

static void test_removed_large_chunk_may_come_back_at_once(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, 2, LARGE);
	assert_int_equal(store_remove(fixture->store, 2), 0);
	put(fixture, 2, LARGE);
	driven_chores(fixture->store, 0, 100);
	assert_reads(fixture, 2, LARGE);
	restart(fixture, false);
	assert_reads(fixture, 2, LARGE);
}

static void test_quarantined_chunks_wait_for_a_good_copy(void **state)
{
	struct fixture *fixture = *state;
	struct digest before;

	put(fixture, 1, SMALL);
	put(fixture, 2, LARGE);
	before = store_inventory_digest(fixture->store);
	for (uint64_t chunk = 1; chunk <= 2; chunk++) {
		uint32_t length = chunk == 1 ? SMALL : LARGE;

		assert_int_equal(store_quarantine(fixture->store, chunk), 0);
		assert_int_equal(store_quarantine(fixture->store, chunk), -ERR_NOT_FOUND);
		assert_false(store_has(fixture->store, chunk));
		restart(fixture, true);
		assert_int_equal(driven_read(fixture->store, chunk, length), -ERR_NOT_FOUND);
		put(fixture, chunk, length);
		assert_reads(fixture, chunk, length);
		driven_chores(fixture->store, 0, 100);
		restart(fixture, false);
		assert_reads(fixture, chunk, length);
	}
	struct digest after = store_inventory_digest(fixture->store);

	assert_true(digest_equal(&before, &after));
}

static void test_dead_space_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct store_usage before, after;

	for (uint64_t i = 0; i < 10; i++)
		put_many(fixture, 1 + i * 50, 50, SMALL);
	store_usage(fixture->store, &before);
	for (uint64_t chunk = 1; chunk <= 500; chunk++)
		if (chunk % 5)
			assert_int_equal(store_remove(fixture->store, chunk), 0);
	driven_chores(fixture->store, 0, 1000);
	store_usage(fixture->store, &after);
	assert_true(after.free > before.free + 300 * SMALL);
	assert_int_equal(after.used, 100 * SMALL);
	for (int pass = 0; pass < 3; pass++) {
		for (uint64_t chunk = 5; chunk <= 500; chunk += 5)
			assert_reads(fixture, chunk, SMALL);
		restart(fixture, pass);
		assert_int_equal(fixture->report.quarantined, 0);
	}
}

static void test_list_is_ascending_and_complete(void **state)
{
	struct fixture *fixture = *state;
	struct store_listed page[7];
	uint64_t after = 0;
	size_t got, seen = 0;

	put_many(fixture, 10, 60, 10);
	while ((got = store_list(fixture->store, after, page, 7)) > 0) {
		for (size_t i = 0; i < got; i++, seen++) {
			assert_int_equal(page[i].chunk, seen < 30 ? 10 + seen : 11 + seen);
			assert_int_equal(page[i].length, 10);
			after = page[i].chunk;
		}
		if (after == 37)
			store_remove(fixture->store, 40);
	}
	assert_int_equal(seen, 59);
}

/* In pages, those of all others between them. */
static void test_buckets_are_listed_alone(void **state)
{
	struct fixture *fixture = *state;
	uint8_t buckets[INVENTORY_BITS_SIZE] = { 0 };
	struct store_listed page[3], all[3];
	uint64_t after = 0;
	size_t got, seen = 0;

	put_many(fixture, 10, 60, 10);
	for (uint64_t chunk = 10; chunk < 70; chunk += 6) {
		unsigned int bucket = inventory_bucket(chunk);

		buckets[bucket / 8] = (uint8_t)(buckets[bucket / 8] | 1u << bucket % 8);
	}
	while ((got = store_list_buckets(fixture->store, buckets, after, page, 3)) > 0) {
		for (size_t i = 0; i < got; i++) {
			assert_true(page[i].chunk > after);
			assert_true(inventory_bit(buckets, inventory_bucket(page[i].chunk)));
			after = page[i].chunk;
			seen += after % 6 == 4;
		}
		assert_int_equal(store_list(fixture->store, 0, all, 3), 3);
		assert_int_equal(all[1].chunk, 11);
	}
	assert_int_equal(seen, 10);
}

static void test_full_store_reads_and_deletes(void **state)
{
	struct fixture *fixture = *state;
	struct store_usage usage;
	struct store_write *write;
	uint64_t chunk = 1;
	int rc;

	store_close(fixture->store);
	fixture->options.capacity = 2 * 1024 * 1024;
	store_start(fixture);
	while ((rc = driven_write(fixture->store, chunk, SMALL, &write)) == 0) {
		store_write_abort(fixture->store, write);
		put(fixture, chunk++, SMALL);
	}
	assert_int_equal(rc, -ERR_NO_SPACE);
	store_usage(fixture->store, &usage);
	assert_true(usage.free < 8192 && !usage.failed);
	assert_reads(fixture, 1, SMALL);
	for (uint64_t i = 1; i < chunk; i++)
		if (i % 4)
			assert_int_equal(store_remove(fixture->store, i), 0);
	driven_chores(fixture->store, 0, 1000);
	for (uint64_t i = 4; i < chunk; i += 4)
		assert_reads(fixture, i, SMALL);
	put(fixture, chunk, SMALL);
}

static void test_one_sync_for_all_who_wait(void **state)
{
	struct fixture *fixture = *state;
	struct disk_sim_costs before, after;

	put_many(fixture, 1, 2, 100);
	disk_sim_costs(fixture->sim, &before);
	put_many(fixture, 100, 10, 100);
	disk_sim_costs(fixture->sim, &after);
	assert_int_equal(after.syncs - before.syncs, 1);
	assert_int_equal(after.dir_syncs - before.dir_syncs, 0);
	assert_int_equal(after.writes - before.writes, 1);
	put_many(fixture, 200, 3, LARGE);
	disk_sim_costs(fixture->sim, &before);
	assert_int_equal(before.syncs - after.syncs, 3);
	assert_true(before.dir_syncs - after.dir_syncs <= 2);
	assert_reads(fixture, 100, 100);
	disk_sim_costs(fixture->sim, &after);
	assert_int_equal(after.reads - before.reads, 1);
}

static void test_failed_sync_takes_the_disk_out_of_service(void **state)
{
	struct fixture *fixture = *state;
	struct driven chunk = { .chunk = 9, .length = SMALL };
	struct store_usage usage;
	struct store_write *write;

	put(fixture, 1, SMALL);
	disk_sim_fail(fixture->sim,
		      &(struct disk_sim_fault){ DISK_SIM_SYNC_FILE, 1, -ERR_IO, false });
	assert_int_equal(driven_put(fixture->store, &chunk, 1), -ERR_IO);
	assert_int_equal(chunk.result, -ERR_IO);
	store_usage(fixture->store, &usage);
	assert_true(usage.failed);
	assert_false(store_has(fixture->store, 9));
	assert_int_equal(driven_write(fixture->store, 10, SMALL, &write), -ERR_IO);
	assert_null(store_chore_next(fixture->store, 1 << 30));
	assert_reads(fixture, 1, SMALL);
}

static void test_full_disk_costs_only_the_commit(void **state)
{
	struct fixture *fixture = *state;
	struct driven chunks[2] = { { .chunk = 9, .length = SMALL }, { 10, LARGE, 0 } };
	struct store_usage usage;

	put(fixture, 1, SMALL);
	disk_sim_fail(fixture->sim,
		      &(struct disk_sim_fault){ DISK_SIM_WRITE, 2, -ERR_LOCAL_FULL, true });
	assert_int_equal(driven_put(fixture->store, chunks, 2), -ERR_LOCAL_FULL);
	assert_int_equal(chunks[0].result, -ERR_NO_SPACE);
	assert_int_equal(chunks[1].result, -ERR_NO_SPACE);
	disk_sim_fail(fixture->sim, &(struct disk_sim_fault){ 0 });
	store_usage(fixture->store, &usage);
	assert_false(usage.failed);
	assert_int_equal(driven_put(fixture->store, chunks, 2), 0);
	restart(fixture, false);
	assert_reads(fixture, 1, SMALL);
	assert_reads(fixture, 9, SMALL);
	assert_reads(fixture, 10, LARGE);
}

/* Moves the bytes of one chunk to where another was: both checksums are right, the place is not. */
static void test_misdirected_write_is_noticed(void **state)
{
	struct fixture *fixture = *state;
	uint8_t record[4096];
	struct iovec part = { record, sizeof(record) };
	int file;

	put(fixture, 1, SMALL);
	put(fixture, 2, SMALL);
	file = disk_open(fixture->disk, "seg/00000001", 0);
	assert_int_equal(disk_read(fixture->disk, file, record, sizeof(record), 0), 4096);
	disk_close(fixture->disk, file);
	assert_int_equal(disk_sim_patch(fixture->sim, "seg/00000001", &part, 4096), 0);
	assert_int_equal(driven_read(fixture->store, 2, SMALL), -ERR_CORRUPT);
	assert_reads(fixture, 1, SMALL);
}

static void test_damage_before_the_mark_is_told_from_a_torn_tail(void **state)
{
	struct fixture *fixture = *state;

	for (uint64_t chunk = 1; chunk <= 4; chunk++)
		put(fixture, chunk, SMALL);
	store_abandon(fixture->store);
	assert_int_equal(disk_sim_flip(fixture->sim, "seg/00000001", 4096 + 20, 1), 0);
	assert_int_equal(disk_sim_flip(fixture->sim, "seg/00000001", 3 * 4096 + 500, 1), 0);
	store_start(fixture);
	assert_int_equal(fixture->report.quarantined, 1);
	assert_true(fixture->report.torn_bytes > SMALL);
	assert_reads(fixture, 1, SMALL);
	assert_int_equal(driven_read(fixture->store, 2, SMALL), -ERR_NOT_FOUND);
	assert_reads(fixture, 3, SMALL);
	assert_int_equal(driven_read(fixture->store, 4, SMALL), -ERR_NOT_FOUND);
}

static void test_damaged_chunk_is_not_moved_but_kept_aside(void **state)
{
	struct fixture *fixture = *state;

	put_many(fixture, 1, 50, SMALL);
	put_many(fixture, 51, 50, SMALL);
	for (uint64_t chunk = 3; chunk <= 50; chunk++)
		store_remove(fixture->store, chunk);
	assert_int_equal(disk_sim_flip(fixture->sim, "seg/00000001", 300, 1), 0);
	driven_chores(fixture->store, 0, 100);
	assert_false(store_has(fixture->store, 1));
	assert_reads(fixture, 2, SMALL);
	assert_true(disk_open(fixture->disk, "seg/00000001", DISK_READ_ONLY) >= 0);
	put(fixture, 1, SMALL);
	driven_chores(fixture->store, 0, 100);
	assert_int_equal(disk_open(fixture->disk, "seg/00000001", DISK_READ_ONLY), -ERR_NOT_FOUND);
	assert_reads(fixture, 1, SMALL);
}

static void test_checkpoint_keeps_removals(void **state)
{
	struct fixture *fixture = *state;

	put_many(fixture, 1, 10, SMALL);
	store_remove(fixture->store, 3);
	assert_null(store_chore_next(fixture->store, 1000));
	assert_int_equal(driven_chores(fixture->store, 1000 + 11 * 60 * 1000, 10), 1);
	put(fixture, 20, SMALL);
	store_abandon(fixture->store);
	disk_sim_crash(fixture->sim, DISK_SIM_DROP_ALL, 1);
	store_start(fixture);
	assert_false(store_has(fixture->store, 3));
	assert_reads(fixture, 20, SMALL);
	assert_int_equal(fixture->report.chunks, 10);
}

static void test_one_job_at_a_time(void **state)
{
	struct fixture *fixture = *state;
	struct store_commit *first, *second;

	assert_int_equal(store_commit_new(fixture->store, &first), 0);
	assert_int_equal(store_commit_new(fixture->store, &second), 0);
	assert_int_equal(store_commit_seal(fixture->store, first), 0);
	assert_int_equal(store_commit_seal(fixture->store, second), -ERR_BUSY);
	assert_null(store_chore_next(fixture->store, 0));
	store_commit_finish(fixture->store, first, store_commit_run(first), NULL, NULL);
	assert_int_equal(store_commit_seal(fixture->store, second), 0);
	store_commit_finish(fixture->store, second, store_commit_run(second), NULL, NULL);
}

static void *commit_thread(void *context)
{
	return (void *)(intptr_t)store_commit_run(context);
}

/* While one thread makes a commit durable, this one reads, gathers and lists. */
static void test_commit_runs_beside_the_loop(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, 1, SMALL);
	for (uint64_t round = 0; round < 20; round++) {
		struct store_write *write, *next;
		struct store_commit *commit;
		struct store_listed page[4];
		pthread_t thread;
		void *result;

		store_commit_new(fixture->store, &commit);
		for (uint64_t i = 0; i < 20; i++) {
			uint64_t chunk = 100 + round * 20 + i;

			assert_int_equal(driven_write(fixture->store, chunk, i == 3 ? LARGE : SMALL,
						      &write),
					 0);
			assert_int_equal(store_commit_add(commit, write, NULL), 0);
		}
		assert_int_equal(store_commit_seal(fixture->store, commit), 0);
		assert_int_equal(pthread_create(&thread, NULL, commit_thread, commit), 0);
		assert_reads(fixture, 1, SMALL);
		assert_true(store_list(fixture->store, 0, page, 4) >= 1);
		assert_int_equal(driven_write(fixture->store, 100000, SMALL, &next), 0);
		pthread_join(thread, &result);
		store_commit_finish(fixture->store, commit, (int)(intptr_t)result, NULL, NULL);
		store_write_abort(fixture->store, next);
		assert_reads(fixture, 100 + round * 20, SMALL);
		assert_reads(fixture, 103 + round * 20, LARGE);
	}
}

#define ON_BOTH(name)                                                   \
	{ #name " (simulated disk)", name, setup_sim, teardown, NULL }, \
	{                                                               \
#name " (real disk)", name, setup_posix, teardown, NULL \
	}
#define SIMULATED(name) cmocka_unit_test_setup_teardown(name, setup_sim, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_every_length_comes_back),
		ON_BOTH(test_small_chunks_of_several_blocks),
		ON_BOTH(test_a_chunk_is_taken_once),
		ON_BOTH(test_a_copy_is_replaced),
		ON_BOTH(test_incomplete_or_wrong_writes_are_refused),
		ON_BOTH(test_bytes_can_be_forwarded_while_they_arrive),
		ON_BOTH(test_removed_chunks_stay_readable_for_who_has_them),
		ON_BOTH(test_removed_large_chunk_may_come_back_at_once),
		ON_BOTH(test_quarantined_chunks_wait_for_a_good_copy),
		ON_BOTH(test_dead_space_comes_back),
		ON_BOTH(test_list_is_ascending_and_complete),
		ON_BOTH(test_buckets_are_listed_alone),
		ON_BOTH(test_full_store_reads_and_deletes),
		ON_BOTH(test_one_job_at_a_time),
		ON_BOTH(test_commit_runs_beside_the_loop),
		SIMULATED(test_one_sync_for_all_who_wait),
		SIMULATED(test_failed_sync_takes_the_disk_out_of_service),
		SIMULATED(test_full_disk_costs_only_the_commit),
		SIMULATED(test_misdirected_write_is_noticed),
		SIMULATED(test_damage_before_the_mark_is_told_from_a_torn_tail),
		SIMULATED(test_damaged_chunk_is_not_moved_but_kept_aside),
		SIMULATED(test_checkpoint_keeps_removals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
