/* Where copies are: inventories, late copies, damage, garbage, the counts of STATUS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hash.h"
#include "ns_driver.h"

static struct ns_driver d;
static struct ns_peer *client, *storages[10];

static void start(unsigned int servers)
{
	driver_start(&d, NULL);
	d.idle = true;
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_clock(&d, 2000);
}

static uint64_t put(const char *path, uint32_t size)
{
	struct put_commit_reply committed;
	struct open_reply opened;

	assert_int_equal(driver_put(client, path, size, &committed), 0);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of(path)), 0);
	POST(client, close, .inode = opened.entry.inode);
	return opened.chunks[0].chunk;
}

static unsigned int copies_of(const char *path)
{
	struct stat_reply stat;

	assert_int_equal(ASK(client, stat, &stat, .path = slice_of(path)), 0);
	return stat.entry.copies;
}

static struct status_reply status_of(void)
{
	struct status_reply status;

	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	return status;
}

static unsigned int deleted_at(struct ns_peer *storage)
{
	const struct delete_request *order;
	unsigned int count = 0;

	while ((order = driver_order(storage, MSG_delete)))
		count += order->chunks_count;
	return count;
}

static void remove_path(const char *path)
{
	struct remove_reply removed;

	client->operation++;
	assert_int_equal(ASK(client, remove, &removed, .operation = client->operation,
			     .outstanding = client->operation, .flags = REMOVE_TREE,
			     .path = slice_of(path)),
			 0);
}

static void test_removed_files_are_deleted(void **state)
{
	struct open_reply opened;

	(void)state;
	start(3);
	put("/a", 100);
	put("/b", 100);
	ASK(client, open, &opened, .path = slice_of("/b"));
	remove_path("/a");
	remove_path("/b");
	driver_clock(&d, 1000);
	assert_int_equal(deleted_at(storages[1]), 1); /* /b is being read */
	assert_int_equal(status_of().files, 0);
	POST(client, close, .inode = opened.entry.inode);
	driver_clock(&d, 1000);
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(deleted_at(storages[i]), i == 1 ? 1 : 2);
	/* Replacing frees the old content; so does a reader that goes away. */
	put("/c", 1);
	ASK(client, open, &opened, .path = slice_of("/c"));
	put("/c", 2);
	driver_clock(&d, 1000);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_close(client);
	driver_beat(&d, 40000);
	assert_int_equal(deleted_at(storages[1]), 1);
	driver_stop(&d);
}

static void test_deletes_wait_for_their_batch(void **state)
{
	(void)state;
	start(1);
	put("/a", 100);
	remove_path("/a");
	d.hold_durable = true;
	driver_clock(&d, 1000);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_durable(&d);
	assert_int_equal(deleted_at(storages[1]), 1);
	driver_stop(&d);
}

static void test_inventory_sets_the_places(void **state)
{
	struct chunk_ref held[2];
	uint64_t a, b;

	(void)state;
	start(2);
	a = put("/a", 100);
	b = put("/b", 200);
	assert_int_equal(copies_of("/a"), 2);
	/* The server comes back without /b, and with a chunk of /a. */
	held[0] = (struct chunk_ref){ a, 100 };
	storages[1] = driver_storage_with(
		&d,
		&(struct ns_storage){ .number = 1, .start = 2, .chunks = held, .chunk_count = 1 });
	assert_true(storages[1]->wanted);
	driver_clock(&d, 2000);
	assert_int_equal(copies_of("/a"), 2);
	assert_int_equal(copies_of("/b"), 1);
	/* What both sides know need not be told again. */
	storages[1] = driver_storage_with(
		&d,
		&(struct ns_storage){ .number = 1, .start = 3, .chunks = held, .chunk_count = 1 });
	assert_false(storages[1]->wanted);
	/* With both, also after the name server's restart; a wrong length does not count. */
	driver_restart(&d);
	held[1] = (struct chunk_ref){ b, 200 };
	storages[1] = driver_storage_with(
		&d,
		&(struct ns_storage){ .number = 1, .start = 3, .chunks = held, .chunk_count = 2 });
	held[0].length = 99;
	storages[2] = driver_storage_with(
		&d,
		&(struct ns_storage){ .number = 2, .start = 3, .chunks = held, .chunk_count = 1 });
	client = driver_client(&d, 1);
	client->operation = 100;
	driver_clock(&d, 3000);
	assert_int_equal(copies_of("/a"), 1);
	assert_int_equal(copies_of("/b"), 1);
	driver_stop(&d);
}

static void test_inventory_in_parts(void **state)
{
	struct inventory_reply reply;
	struct chunk_ref held[3];

	(void)state;
	start(2);
	held[0] = (struct chunk_ref){ put("/a", 1), 1 };
	held[1] = (struct chunk_ref){ put("/b", 1), 1 };
	held[2] = (struct chunk_ref){ put("/c", 1), 1 };
	storages[1] = driver_storage_with(
		&d, &(struct ns_storage){ .number = 1, .start = 2, .no_inventory = true });
	assert_int_equal(ASK(storages[1], inventory, &reply, .chunks = held, .chunks_count = 2), 0);
	/* Not from where the first part ended; not ascending. */
	assert_int_equal(ASK(storages[1], inventory, &reply, .position = 3, .chunks = held + 2,
			     .chunks_count = 1),
			 -ERR_STALE);
	assert_int_equal(ASK(storages[1], inventory, &reply, .position = 2, .chunks = held + 1,
			     .chunks_count = 1),
			 -ERR_BAD_REQUEST);
	/* Between the parts a chunk becomes durable that the inventory cannot know. */
	put("/d", 1);
	assert_int_equal(ASK(storages[1], inventory, &reply, .position = 2, .last = 1,
			     .chunks = held + 2, .chunks_count = 1),
			 0);
	driver_clock(&d, 3000);
	assert_int_equal(copies_of("/a"), 2);
	assert_int_equal(copies_of("/c"), 2);
	assert_int_equal(copies_of("/d"), 2);
	driver_stop(&d);
}

static void test_unknown_chunks_go_after_the_grace(void **state)
{
	struct nameserver_config config = { .unknown_grace_ms = 60000 };
	struct chunk_ref held[] = { { 5, 100 }, { 6, 100 } };
	struct inventory_reply reply;

	(void)state;
	driver_start(&d, &config);
	client = driver_client(&d, 1);
	storages[1] = driver_storage_with(
		&d, &(struct ns_storage){
			    .number = 1, .chunks = held, .chunk_count = 2, .no_inventory = true });
	assert_int_equal(ASK(storages[1], inventory, &reply, .last = 1, .chunks = held,
			     .chunks_count = 2),
			 0);
	assert_int_equal(reply.unknown, 2);
	driver_beat(&d, 58000);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_beat(&d, 4000);
	assert_int_equal(deleted_at(storages[1]), 2);
	driver_stop(&d);
}

static void test_an_old_catalogue_deletes_nothing(void **state)
{
	struct nameserver_config config = { .unknown_grace_ms = 1000 };
	struct chunk_ref held[] = { { 5, 100 }, { (uint64_t)9 << 40 | 1, 100 } };

	(void)state;
	driver_start(&d, &config);
	storages[1] = driver_storage_with(
		&d, &(struct ns_storage){ .number = 1, .chunks = held, .chunk_count = 2 });
	driver_beat(&d, 20000);
	assert_int_equal(deleted_at(storages[1]), 0);
	assert_true(driver_logged(&d, "catalogue_is_old"));
	driver_stop(&d);
}

static void test_stored(void **state)
{
	struct put_begin_reply begun;
	struct put_commit_reply committed;
	struct stored_reply stored;
	struct receipt receipts[3], late;
	uint64_t chunk;

	(void)state;
	start(3);
	ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a"));
	chunk = begun.places[0].chunk;
	for (unsigned int i = 0; i < 3; i++)
		receipts[i] =
			driver_receipt(driver_peer(&d, &begun.places[0].holders[i].ticket.holder),
				       chunk, 9, digest_of("x", 1));
	client->operation++;
	assert_int_equal(ASK(client, put_commit, &committed, .operation = 1, .outstanding = 1,
			     .put = begun.put, .size = 9, .digest = digest_of("x", 1),
			     .path = slice_of("/a"), .receipts = receipts, .receipts_count = 2),
			 0);
	assert_int_equal(copies_of("/a"), 2);
	driver_clock(&d, 2000);
	assert_int_equal(status_of().under_copied, 1);
	storages[0] = driver_peer(&d, &receipts[2].holder);
	late = receipts[2];
	late.tag.bytes[0] ^= 1;
	assert_int_equal(ASK(storages[0], stored, &stored, .receipts = &late, .receipts_count = 1),
			 0);
	assert_int_equal(stored.accepted, 0);
	assert_int_equal(copies_of("/a"), 2);
	/* Of another server, which it passes on; of another content. */
	assert_int_equal(
		ASK(storages[0], stored, &stored, .receipts = receipts, .receipts_count = 1), 0);
	assert_int_equal(stored.accepted, 1);
	assert_int_equal(copies_of("/a"), 2);
	late = driver_receipt(storages[0], chunk, 9, digest_of("y", 1));
	assert_int_equal(ASK(storages[0], stored, &stored, .receipts = &late, .receipts_count = 1),
			 0);
	assert_int_equal(stored.accepted, 0);
	assert_int_equal(ASK(storages[0], stored, &stored, .receipts = receipts + 2,
			     .receipts_count = 1),
			 0);
	assert_int_equal(stored.accepted, 1);
	assert_int_equal(copies_of("/a"), 3);
	driver_clock(&d, 2000);
	assert_int_equal(status_of().under_copied, 0);
	/* A chunk that nobody waits for any more goes away again. */
	late = driver_receipt(storages[0], (uint64_t)1 << 40 | 12345, 9, digest_of("y", 1));
	assert_int_equal(ASK(storages[0], stored, &stored, .receipts = &late, .receipts_count = 1),
			 0);
	assert_int_equal(stored.accepted, 0);
	driver_clock(&d, 100);
	assert_int_equal(deleted_at(storages[0]), 1);
	driver_stop(&d);
}

static void test_corrupt(void **state)
{
	struct corrupt_reply reply;
	struct chunk_id chunk;
	struct chunk_ref held;

	(void)state;
	start(3);
	chunk.chunk = put("/a", 9);
	assert_int_equal(ASK(storages[1], corrupt, &reply, .node = storages[2]->id,
			     .chunks = &chunk, .chunks_count = 1),
			 -ERR_DENIED);
	assert_int_equal(ASK(client, corrupt, &reply, .node = id_of(99), .chunks = &chunk,
			     .chunks_count = 1),
			 -ERR_NOT_FOUND);
	assert_int_equal(ASK(storages[1], corrupt, &reply, .node = storages[1]->id,
			     .chunks = &chunk, .chunks_count = 1),
			 0);
	assert_int_equal(copies_of("/a"), 2);
	assert_int_equal(ASK(client, corrupt, &reply, .node = storages[2]->id, .chunks = &chunk,
			     .chunks_count = 1),
			 0);
	assert_int_equal(copies_of("/a"), 1);
	/* The last one stays. */
	assert_int_equal(ASK(client, corrupt, &reply, .node = storages[3]->id, .chunks = &chunk,
			     .chunks_count = 1),
			 0);
	assert_int_equal(copies_of("/a"), 1);
	driver_clock(&d, 2000);
	assert_int_equal(status_of().under_copied, 1);
	/* An inventory does not bring the bad copy back. */
	held = (struct chunk_ref){ chunk.chunk, 9 };
	storages[1] = driver_storage_with(
		&d,
		&(struct ns_storage){ .number = 1, .start = 2, .chunks = &held, .chunk_count = 1 });
	driver_clock(&d, 2000);
	assert_int_equal(copies_of("/a"), 1);
	driver_stop(&d);
}

static void test_counts_follow_the_members(void **state)
{
	char path[16];
	(void)state;
	start(3);
	for (int i = 0; i < 3000; i++) {
		snprintf(path, sizeof(path), "/f%d", i);
		put(path, 10);
	}
	driver_clock(&d, 3000);
	assert_int_equal(status_of().chunks, 3000);
	assert_int_equal(status_of().under_copied, 0);
	driver_close(storages[1]);
	driver_clock(&d, 2000);
	assert_int_equal(status_of().under_copied, 0); /* suspect is still up */
	driver_close(storages[2]);
	driver_close(storages[3]);
	driver_clock(&d, 20000);
	assert_int_equal(status_of().under_copied, 3000);
	assert_int_equal(status_of().lost, 3000);
	storages[1] = driver_storage_with(
		&d, &(struct ns_storage){ .number = 1, .start = 2, .no_inventory = true });
	driver_clock(&d, 3000);
	assert_int_equal(status_of().lost, 0);
	assert_int_equal(status_of().under_copied, 3000);
	driver_stop(&d);
}

/* Readers get the online ones first, then the suspect ones; none that is offline. */
static void test_holders_best_first(void **state)
{
	struct open_reply opened;

	(void)state;
	start(3);
	put("/a", 9);
	driver_close(storages[2]);
	for (int i = 0; i < 5; i++) {
		ASK(client, open, &opened, .path = slice_of("/a"));
		assert_int_equal(opened.chunks[0].holders_count, 3);
		assert_true(id_equal(&opened.chunks[0].holders[2].ticket.holder,
				     &(struct id[]){ id_of(2) }[0]));
	}
	driver_beat(&d, 16000);
	ASK(client, open, &opened, .path = slice_of("/a"));
	assert_int_equal(opened.chunks[0].holders_count, 2);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_removed_files_are_deleted),
		cmocka_unit_test(test_deletes_wait_for_their_batch),
		cmocka_unit_test(test_inventory_sets_the_places),
		cmocka_unit_test(test_inventory_in_parts),
		cmocka_unit_test(test_unknown_chunks_go_after_the_grace),
		cmocka_unit_test(test_an_old_catalogue_deletes_nothing),
		cmocka_unit_test(test_stored),
		cmocka_unit_test(test_corrupt),
		cmocka_unit_test(test_counts_follow_the_members),
		cmocka_unit_test(test_holders_best_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
