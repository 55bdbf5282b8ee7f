/* The counts of STATUS are right at once, whatever happened before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "catalogue.h"
#include "hash.h"
#include "ns_driver.h"
#include "ns_state.h"
#include "random.h"

enum { SERVERS = 4, STEPS = 3000, SEEDS = 6 };

static struct ns_driver d;
static struct ns_peer *client, *storages[SERVERS + 1];
static struct prng prng;

static void start(unsigned int servers)
{
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_clock(&d, 2000);
}

static void expect_counts(uint64_t under_copied, uint64_t lost)
{
	struct status_reply status;

	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	assert_int_equal(status.under_copied, under_copied);
	assert_int_equal(status.lost, lost);
}

/* A put of one chunk with receipts of the first `copies` holders; *ret_late: of the next. */
static int put(const char *path, unsigned int copies, uint64_t *ret_chunk, struct receipt *ret_late)
{
	struct digest digest = digest_of("x", 1);
	struct put_begin_reply begun;
	struct put_commit_reply committed;
	struct receipt receipts[COPIES_MAX];
	const struct place *place;
	int rc = ASK(client, put_begin, &begun, .size = 9, .places = 1, .flags = 1,
		     .path = slice_of(path));

	if (rc < 0)
		return rc;
	place = &begun.places[0];
	for (unsigned int i = 0; i < place->holders_count; i++)
		receipts[i] = driver_receipt(driver_peer(&d, &place->holders[i].ticket.holder),
					     place->chunk, 9, digest);
	if (copies > place->holders_count)
		copies = place->holders_count;
	if (ret_chunk)
		*ret_chunk = place->chunk;
	if (ret_late)
		*ret_late = receipts[copies < place->holders_count ? copies : copies - 1];
	client->operation++;
	return ASK(client, put_commit, &committed, .operation = client->operation,
		   .outstanding = client->operation, .put = begun.put, .size = 9, .digest = digest,
		   .flags = PUT_REPLACE, .path = slice_of(path), .receipts = receipts,
		   .receipts_count = (uint16_t)copies);
}

static int remove_path(const char *path)
{
	struct remove_reply removed;

	client->operation++;
	return ASK(client, remove, &removed, .operation = client->operation,
		   .outstanding = client->operation, .path = slice_of(path));
}

static void test_each_change_counts_at_once(void **state)
{
	struct set_copies_reply set;
	struct corrupt_reply corrupt;
	struct stored_reply stored;
	struct chunk_id chunk;
	struct receipt late;

	(void)state;
	start(3);
	assert_int_equal(put("/a", 3, NULL, NULL), 0);
	expect_counts(0, 0);
	assert_int_equal(put("/b", 2, &chunk.chunk, &late), 0);
	expect_counts(1, 0);
	assert_int_equal(ASK(storages[1], stored, &stored, .receipts = &late, .receipts_count = 1),
			 0);
	assert_int_equal(stored.accepted, 1);
	expect_counts(0, 0);
	assert_int_equal(ASK(storages[1], corrupt, &corrupt, .node = storages[1]->id,
			     .chunks = &chunk, .chunks_count = 1),
			 0);
	expect_counts(1, 0);
	assert_int_equal(ASK(client, corrupt, &corrupt, .node = storages[2]->id, .chunks = &chunk,
			     .chunks_count = 1),
			 0);
	expect_counts(1, 0);
	client->operation++;
	assert_int_equal(ASK(client, set_copies, &set, .operation = client->operation,
			     .outstanding = client->operation, .copies = 5, .path = slice_of("/a")),
			 0);
	expect_counts(2, 0);
	assert_int_equal(remove_path("/b"), 0);
	driver_clock(&d, 100);
	expect_counts(1, 0);
	driver_stop(&d);
}

static void test_servers_that_die_count_at_once(void **state)
{
	(void)state;
	start(3);
	for (unsigned int i = 0; i < 20; i++) {
		char path[8];

		snprintf(path, sizeof(path), "/%u", i);
		assert_int_equal(put(path, 3, NULL, NULL), 0);
	}
	/* A walk has just ended and the next one has to wait; the answer does not. */
	driver_close(storages[1]);
	driver_beat(&d, 8000);
	expect_counts(0, 0);
	driver_close(storages[2]);
	driver_close(storages[3]);
	driver_clock(&d, 1000);
	expect_counts(0, 0);
	driver_clock(&d, 7000);
	expect_counts(20, 0);
	driver_clock(&d, 8000);
	expect_counts(20, 20);
	storages[1] = driver_storage_with(
		&d, &(struct ns_storage){ .number = 1, .start = 2, .no_inventory = true });
	expect_counts(20, 0);
	/* Nobody is back after a restart. */
	driver_restart(&d);
	client = driver_client(&d, 2);
	expect_counts(20, 20);
	driver_stop(&d);
}

/* ---- against a count of everything, after any sequence ---- */

static bool member_is_online(const struct nodes_reply *nodes, uint16_t number)
{
	for (unsigned int i = 0; i < nodes->nodes_count; i++) {
		struct member_row row;

		if (member_get(d.kv, &nodes->nodes[i].node, &row) == 0 && row.number == number)
			return nodes->nodes[i].state != NODE_OFFLINE;
	}
	return false;
}

static void recount(uint64_t *ret_under, uint64_t *ret_lost)
{
	uint64_t chunk = 0, inode_id, end;
	struct nodes_reply nodes;

	*ret_under = *ret_lost = 0;
	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	for (;;) {
		struct holders holders;
		struct inode inode;
		unsigned int up = 0;

		if (chunk_next(d.kv, chunk, &chunk) < 0)
			return;
		assert_int_equal(chunk_owner(d.kv, chunk, 0, &inode_id, &end), 0);
		assert_int_equal(inode_get(d.kv, inode_id, &inode), 0);
		assert_int_equal(holders_get(d.kv, chunk, &holders), 0);
		for (unsigned int i = 0; i < holders.count; i++)
			up += member_is_online(&nodes, holders.numbers[i]);
		*ret_under += up < inode.copies;
		*ret_lost += up == 0;
	}
}

static void random_step(void)
{
	unsigned int number = (unsigned int)prng_below(&prng, SERVERS) + 1;
	struct ns_storage storage = { .number = number,
				      .start = 2,
				      .no_inventory = prng_below(&prng, 2) };
	char path[3] = { '/', (char)('a' + prng_below(&prng, 20)), '\0' };
	struct corrupt_reply corrupt;
	struct stored_reply stored;
	struct chunk_id chunk = { 0 };
	struct receipt late = { 0 };

	switch (prng_below(&prng, 8)) {
	case 0:
		put(path, 1 + (unsigned int)prng_below(&prng, 3), &chunk.chunk, &late);
		if (prng_below(&prng, 2))
			ASK(storages[1], stored, &stored, .receipts = &late, .receipts_count = 1);
		if (prng_below(&prng, 2))
			ASK(storages[number], corrupt, &corrupt, .node = storages[number]->id,
			    .chunks = &chunk, .chunks_count = 1);
		break;
	case 1:
	case 2: put(path, 3, NULL, NULL); break;
	case 3: remove_path(path); break;
	case 4: driver_clock(&d, prng_below(&prng, 100)); break;
	case 5: driver_beat(&d, prng_below(&prng, 8000)); break;
	case 6:
		if (!storages[number]->closed && prng_below(&prng, 4) == 0)
			driver_close(storages[number]);
		break;
	default:
		if (storages[number]->closed || prng_below(&prng, 8) == 0)
			storages[number] = driver_storage_with(&d, &storage);
	}
}

static void test_counts_are_those_of_a_recount(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct status_reply status;
		uint64_t under, lost;

		prng.state = seed;
		start(SERVERS);
		for (int i = 0; i < STEPS && d.peer_count + 4 < DRIVER_PEERS_MAX; i++) {
			random_step();
			if (prng_below(&prng, 3))
				continue;
			/* STATUS may itself end a walk that drops places: only then compare. */
			ASK(client, status, &status, .nothing = 0);
			recount(&under, &lost);
			expect_counts(under, lost);
		}
		driver_stop(&d);
	}
}

/* A disk that is slow shows in ticks that come late; then the walk does less at a time. */
static void test_a_walk_keeps_its_pace(void **state)
{
	unsigned int count = 0;

	(void)state;
	assert_int_equal(pace_step(&count, 12345, 1024), 64);
	for (unsigned int most = 128; most <= 1024; most *= 2)
		assert_int_equal(pace_step(&count, 0, 1024), most);
	assert_int_equal(pace_step(&count, 0, 1024), 1024);
	assert_int_equal(pace_step(&count, STEP_MS / 2, 1024), 1024);
	assert_int_equal(pace_step(&count, 400, 1024), 512);
	for (unsigned int i = 0; i < 10; i++)
		pace_step(&count, STEP_MS, 1024);
	assert_in_range(count, 1, 32);
	start(2);
	for (unsigned int i = 0; i < 500; i++) {
		char path[8];

		snprintf(path, sizeof(path), "/%u", i);
		assert_int_equal(put(path, 2, NULL, NULL), 0);
	}
	driver_clock(&d, 2000);
	sweep_request(d.ns, false);
	driver_clock(&d, 0);
	assert_int_equal(d.ns->sweep.seen, 64);
	driver_clock(&d, STEP_MS);
	assert_int_equal(d.ns->sweep.seen, 64 + 128);
	d.now_ms += 300;
	driver_clock(&d, 0);
	assert_int_equal(d.ns->sweep.seen, 64 + 128 + 64);
	driver_clock(&d, 200);
	assert_false(d.ns->sweep.running);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_change_counts_at_once),
		cmocka_unit_test(test_servers_that_die_count_at_once),
		cmocka_unit_test(test_counts_are_those_of_a_recount),
		cmocka_unit_test(test_a_walk_keeps_its_pace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
