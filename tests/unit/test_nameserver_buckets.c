/* What a server holds against the catalogue: buckets, heartbeats, what is compared when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ns_driver.h"
#include "ns_state.h"

enum { FILES = 40 };

static struct ns_driver d;
static struct ns_peer *client, *storages[3];
static struct chunk_ref held[FILES];

static int by_chunk(const void *a, const void *b)
{
	const struct chunk_ref *left = a, *right = b;

	return left->chunk < right->chunk ? -1 : left->chunk > right->chunk;
}

/* Two servers with a copy of each of the files. */
static void start(void)
{
	driver_start(&d, &(struct nameserver_config){ .copies = 2 });
	d.idle = true;
	storages[1] = driver_storage(&d, 1);
	storages[2] = driver_storage(&d, 2);
	client = driver_client(&d, 1);
	for (unsigned int i = 0; i < FILES; i++) {
		struct put_commit_reply committed;
		struct open_reply opened;
		char path[16];

		snprintf(path, sizeof(path), "/f%u", i);
		assert_int_equal(driver_put(client, path, 10 + i, &committed), 0);
		assert_int_equal(ASK(client, open, &opened, .path = slice_of(path)), 0);
		POST(client, close, .inode = opened.entry.inode);
		held[i] = (struct chunk_ref){ opened.chunks[0].chunk, 10 + i };
	}
	qsort(held, FILES, sizeof(held[0]), by_chunk);
	driver_clock(&d, 2000);
}

static struct member *member_of(unsigned int number)
{
	const struct id id = id_of(number);

	return member_find(d.ns, &id);
}

static unsigned int copies_of(const char *path)
{
	struct stat_reply stat;

	assert_int_equal(ASK(client, stat, &stat, .path = slice_of(path)), 0);
	return stat.entry.copies;
}

static struct inventory_sum sum_of(const struct chunk_ref *chunks, unsigned int count)
{
	struct inventory_sum sum = { 0 };

	for (unsigned int i = 0; i < count; i++)
		inventory_turn(&sum, chunks[i].chunk);
	return sum;
}

/* Number of buckets that differ, or an error. */
static int buckets_send(struct ns_peer *peer, const struct chunk_ref *chunks, unsigned int count,
			uint8_t ret[INVENTORY_BITS_SIZE])
{
	const struct inventory_sum sum = sum_of(chunks, count);
	uint8_t digests[INVENTORY_DIGESTS_SIZE];
	struct buckets_reply reply;
	int rc, differ = 0;

	inventory_encode(sum.buckets, digests);
	rc = ASK(peer, buckets, &reply, .digests = { digests, sizeof(digests) });
	if (rc < 0 || reply.differ.size == 0)
		return rc;
	assert_int_equal(reply.differ.size, INVENTORY_BITS_SIZE);
	memcpy(ret, reply.differ.data, INVENTORY_BITS_SIZE);
	for (unsigned int i = 0; i < INVENTORY_BUCKETS; i++)
		differ += inventory_bit(ret, i);
	return differ;
}

/* The chunks of those buckets; returns how many, or an error. */
static int inventory_send(struct ns_peer *peer, const struct chunk_ref *chunks, unsigned int count,
			  const uint8_t differ[INVENTORY_BITS_SIZE])
{
	struct inventory_reply reply;
	struct chunk_ref listed[FILES + 8];
	int rc, size = 0;

	for (unsigned int i = 0; i < count; i++) {
		if (inventory_bit(differ, inventory_bucket(chunks[i].chunk)))
			listed[size++] = chunks[i];
	}
	rc = ASK(peer, inventory, &reply, .last = 1, .chunks = listed,
		 .chunks_count = (uint16_t)size);
	return rc < 0 ? rc : size;
}

static bool beat(struct ns_peer *peer, const struct chunk_ref *chunks, unsigned int count)
{
	const struct inventory_sum sum = sum_of(chunks, count);
	struct heartbeat_reply reply;

	assert_int_equal(ASK(peer, heartbeat, &reply, .free = (uint64_t)1 << 40, .chunks = count,
			     .inventory = sum.whole),
			 0);
	return reply.want_inventory;
}

static void test_only_what_differs_is_listed(void **state)
{
	const struct ns_storage back = { .number = 1,
					 .start = 2,
					 .chunks = held,
					 .chunk_count = FILES - 1,
					 .no_inventory = true };
	uint8_t differ[INVENTORY_BITS_SIZE], all[INVENTORY_BITS_SIZE];

	(void)state;
	start();
	memset(all, 0xff, sizeof(all));
	/* It comes back without the last one. */
	storages[1] = driver_storage_with(&d, &back);
	assert_true(storages[1]->wanted);
	assert_false(member_of(1)->compared);
	assert_int_equal(buckets_send(storages[1], held, FILES - 1, differ), 1);
	assert_int_equal(inventory_send(storages[1], held, FILES - 1, all), -ERR_BAD_REQUEST);
	assert_in_range(inventory_send(storages[1], held, FILES - 1, differ), 0, 3);
	driver_clock(&d, 2000);
	assert_true(member_of(1)->compared);
	assert_int_equal(copies_of("/f39"), 1);
	assert_int_equal(copies_of("/f38"), 2);
	/* Nothing differs any more: nothing is asked for, then nor after another restart of it. */
	assert_false(beat(storages[1], held, FILES - 1));
	storages[1] = driver_storage_with(&d, &back);
	assert_false(storages[1]->wanted);
	assert_true(member_of(1)->compared);
	/* It was asked for nothing. */
	assert_int_equal(buckets_send(storages[1], held, FILES - 1, differ), -ERR_STALE);
	assert_int_equal(buckets_send(client, held, FILES - 1, differ), -ERR_STALE);
	driver_stop(&d);
}

static uint64_t under_copied(void)
{
	struct status_reply status;

	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	return status.under_copied;
}

/* Places that are left of a chunk that no file has: who still holds it is to be heard. */
static void test_places_of_no_file_do_not_count(void **state)
{
	const struct ns_storage back = {
		.number = 1, .start = 2, .chunks = held, .chunk_count = FILES, .no_inventory = true
	};

	(void)state;
	start();
	assert_int_equal(holders_add(d.kv, 7, member_of(1)->row.number), 1);
	driver_restart(&d);
	storages[1] = driver_storage_with(&d, &back);
	assert_false(storages[1]->wanted);
	assert_true(member_of(1)->compared);
	driver_stop(&d);
}

/* It has all that it should have, and more: the list itself shows that. */
static void test_what_it_has_besides_needs_no_walk(void **state)
{
	struct chunk_ref more[FILES + 1];
	uint8_t differ[INVENTORY_BITS_SIZE];

	(void)state;
	start();
	more[0] = (struct chunk_ref){ 1, 10 }; /* of nobody */
	memcpy(more + 1, held, sizeof(held));
	storages[1] = driver_storage_with(&d, &(struct ns_storage){ .number = 1,
								    .start = 2,
								    .chunks = more,
								    .chunk_count = FILES + 1,
								    .no_inventory = true });
	assert_true(storages[1]->wanted);
	assert_int_equal(buckets_send(storages[1], more, FILES + 1, differ), 1);
	assert_false(member_of(1)->compared);
	assert_true(inventory_send(storages[1], more, FILES + 1, differ) > 0);
	assert_true(member_of(1)->compared);
	assert_int_equal(under_copied(), 0);
	driver_stop(&d);
}

/* What it lacks counts as lacking, and nothing else does, whatever walk there still is to come. */
static void test_what_it_lacks_is_known_at_once(void **state)
{
	uint8_t differ[INVENTORY_BITS_SIZE];

	(void)state;
	start();
	storages[1] = driver_storage_with(&d, &(struct ns_storage){ .number = 1,
								    .start = 2,
								    .chunks = held + 3,
								    .chunk_count = FILES - 3,
								    .no_inventory = true });
	driver_clock(&d, 2000);
	assert_in_range(buckets_send(storages[1], held + 3, FILES - 3, differ), 1, 3);
	assert_true(inventory_send(storages[1], held + 3, FILES - 3, differ) >= 0);
	assert_false(member_of(1)->compared);
	driver_clock(&d, 100);
	assert_true(member_of(1)->compared);
	assert_false(d.ns->worse);
	assert_int_equal(d.ns->under_copied, 3);
	driver_stop(&d);
}

/* A chunk that gets durable while the lists are on their way is not looked for among them. */
static void test_what_comes_meanwhile_is_not_missing(void **state)
{
	struct put_commit_reply committed;
	uint8_t differ[INVENTORY_BITS_SIZE];

	(void)state;
	start();
	storages[1] = driver_storage_with(&d, &(struct ns_storage){ .number = 1,
								    .start = 2,
								    .chunks = held,
								    .chunk_count = FILES - 1,
								    .no_inventory = true });
	assert_int_equal(buckets_send(storages[1], held, FILES - 1, differ), 1);
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(driver_put(client, "/new", 10 + i, &committed), 0);
	assert_in_range(inventory_send(storages[1], held, FILES - 1, differ), 0, 3);
	assert_int_equal(driver_put(client, "/late", 10, &committed), 0);
	driver_clock(&d, 100);
	assert_true(member_of(1)->compared);
	assert_int_equal(copies_of("/f39"), 1);
	assert_int_equal(copies_of("/new"), 2);
	assert_int_equal(copies_of("/late"), 2);
	driver_stop(&d);
}

/* What was different when it registered is so no more when the sums are there. */
static void test_nothing_differs_after_all(void **state)
{
	uint8_t differ[INVENTORY_BITS_SIZE];

	(void)state;
	start();
	storages[1] = driver_storage_with(
		&d, &(struct ns_storage){ .number = 1, .start = 2, .no_inventory = true });
	assert_true(storages[1]->wanted);
	assert_int_equal(buckets_send(storages[1], held, FILES, differ), 0);
	assert_true(member_of(1)->compared);
	driver_clock(&d, 2000);
	assert_int_equal(copies_of("/f0"), 2);
	driver_stop(&d);
}

/* The sums are kept with every change, and counted anew after a restart. */
static void test_sums_follow_the_books(void **state)
{
	struct put_commit_reply committed;
	struct inventory_sum before;
	struct remove_reply removed;

	(void)state;
	start();
	before = sum_of(held, FILES);
	assert_memory_equal(member_of(1)->sum, &before, sizeof(before));
	assert_int_equal(driver_put(client, "/more", 10, &committed), 0);
	assert_memory_not_equal(member_of(1)->sum, &before, sizeof(before));
	client->operation++;
	assert_int_equal(ASK(client, remove, &removed, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of("/more")),
			 0);
	driver_clock(&d, 1000);
	assert_memory_equal(member_of(1)->sum, &before, sizeof(before));
	driver_restart(&d);
	storages[2] = driver_storage_with(
		&d, &(struct ns_storage){
			    .number = 2, .start = 2, .chunks = held, .chunk_count = FILES });
	assert_false(storages[2]->wanted);
	assert_true(member_of(2)->compared);
	assert_memory_equal(member_of(1)->sum, &before, sizeof(before));
	driver_stop(&d);
}

/* A receipt was lost, or a delete: two heartbeats say so, and nothing is under way. */
static void test_heartbeats_find_what_was_lost(void **state)
{
	uint8_t differ[INVENTORY_BITS_SIZE];

	(void)state;
	start();
	assert_false(beat(storages[1], held, FILES));
	assert_false(beat(storages[1], held, FILES - 1));
	driver_clock(&d, 2000);
	assert_true(beat(storages[1], held, FILES - 1));
	assert_false(member_of(1)->compared);
	assert_int_equal(buckets_send(storages[1], held, FILES - 1, differ), 1);
	assert_true(inventory_send(storages[1], held, FILES - 1, differ) >= 0);
	/* While it is being compared nothing more is asked for. */
	assert_false(beat(storages[1], held, FILES - 1));
	driver_clock(&d, 2000);
	assert_true(member_of(1)->compared);
	assert_int_equal(copies_of("/f39"), 1);
	/* And back: the copy was there all the time. */
	driver_clock(&d, 60000);
	storages[1] = driver_storage_with(
		&d, &(struct ns_storage){
			    .number = 1, .start = 2, .chunks = held, .chunk_count = FILES - 1 });
	assert_false(storages[1]->wanted);
	assert_false(beat(storages[1], held, FILES));
	assert_true(beat(storages[1], held, FILES));
	assert_int_equal(buckets_send(storages[1], held, FILES, differ), 1);
	assert_true(inventory_send(storages[1], held, FILES, differ) > 0);
	driver_clock(&d, 2000);
	assert_int_equal(copies_of("/f39"), 1 + (member_of(2)->state == NODE_ONLINE));
	driver_stop(&d);
}

static void test_what_moves_is_no_difference(void **state)
{
	struct put_begin_reply begun;

	(void)state;
	start();
	/* Another one each time. */
	for (unsigned int i = 1; i < 10; i++) {
		driver_clock(&d, 1000);
		assert_false(beat(storages[1], held, FILES - i));
	}
	/* A put is under way there. */
	assert_false(beat(storages[1], held, FILES));
	assert_int_equal(ASK(client, put_begin, &begun, .size = 9, .places = 1,
			     .path = slice_of("/new")),
			 0);
	for (unsigned int i = 1; i < 10; i++)
		assert_false(beat(storages[1], held, FILES - 1));
	POST(client, put_abort, .put = begun.put);
	driver_clock(&d, 1000);
	/* The beat before it ended counts no more. */
	assert_false(beat(storages[1], held, FILES - 1));
	assert_true(beat(storages[1], held, FILES - 1));
	driver_stop(&d);
}

/* A chunk that nobody knows stays for a while: that difference is known. */
static void test_what_comparing_leaves_is_not_asked_again(void **state)
{
	uint8_t differ[INVENTORY_BITS_SIZE];
	struct chunk_ref more[FILES + 1];
	unsigned int asked = 0;

	(void)state;
	start();
	memcpy(more + 1, held, sizeof(held));
	more[0] = (struct chunk_ref){ 5, 100 };
	for (unsigned int i = 0; i < 200; i++) {
		driver_clock(&d, 2000);
		beat(storages[2], held, FILES);
		if (!beat(storages[1], more, FILES + 1))
			continue;
		asked++;
		assert_int_equal(buckets_send(storages[1], more, FILES + 1, differ), 1);
		assert_true(inventory_send(storages[1], more, FILES + 1, differ) > 0);
	}
	assert_int_equal(asked, 1);
	assert_true(member_of(1)->compared);
	assert_int_equal(member_of(1)->unknown.count, 1);
	driver_stop(&d);
}

/* Chunks are many: our side is counted in steps, and a heartbeat tells what came of it. */
static void test_counting_takes_its_time(void **state)
{
	(void)state;
	start();
	driver_restart(&d);
	d.ns->count.running = true; /* as after the first step of a long walk */
	d.ns->count.next_ms = d.now_ms + 10000;
	for (unsigned int i = 1; i <= 2; i++) {
		storages[i] = driver_storage_with(
			&d, &(struct ns_storage){ .number = i, .start = 2, .no_inventory = true });
		assert_false(storages[i]->wanted);
		assert_false(beat(storages[i], held, FILES));
	}
	assert_false(member_of(1)->compared);
	for (unsigned int i = 0; i < 6; i++) {
		driver_clock(&d, 2000);
		POST(storages[1], ping, .cookie = 1);
		POST(storages[2], ping, .cookie = 1);
	}
	assert_true(d.ns->count.done);
	assert_false(beat(storages[1], held, FILES));
	assert_true(member_of(1)->compared);
	assert_true(beat(storages[2], held, FILES - 1));
	assert_false(member_of(2)->compared);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_what_differs_is_listed),
		cmocka_unit_test(test_places_of_no_file_do_not_count),
		cmocka_unit_test(test_what_it_has_besides_needs_no_walk),
		cmocka_unit_test(test_what_it_lacks_is_known_at_once),
		cmocka_unit_test(test_what_comes_meanwhile_is_not_missing),
		cmocka_unit_test(test_nothing_differs_after_all),
		cmocka_unit_test(test_sums_follow_the_books),
		cmocka_unit_test(test_heartbeats_find_what_was_lost),
		cmocka_unit_test(test_what_moves_is_no_difference),
		cmocka_unit_test(test_what_comparing_leaves_is_not_asked_again),
		cmocka_unit_test(test_counting_takes_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
