/* DRAIN and FORGET. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hash.h"
#include "ns_driver.h"

enum { LENGTH = 100, FILES = 12, DELAY_MS = 30000 };

static struct ns_driver d;
static struct ns_peer *client, *storages[8];

static void start(unsigned int servers)
{
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_beat(&d, 4000);
}

static int drain(struct id node, uint8_t on, struct drain_reply *ret)
{
	client->operation++;
	return ASK(client, drain, ret, .operation = client->operation,
		   .outstanding = client->operation, .on = on, .node = node);
}

static int forget(struct id node)
{
	struct forget_reply reply;

	client->operation++;
	return ASK(client, forget, &reply, .operation = client->operation,
		   .outstanding = client->operation, .node = node);
}

static struct node_info node_of(const struct ns_peer *storage)
{
	struct nodes_reply nodes;

	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	for (unsigned int i = 0; i < nodes.nodes_count; i++) {
		if (id_equal(&nodes.nodes[i].node, &storage->id))
			return nodes.nodes[i];
	}
	return (struct node_info){ 0 };
}

static void put(int number)
{
	struct put_commit_reply committed;
	char path[16];

	snprintf(path, sizeof(path), "/f%d", number);
	assert_int_equal(driver_put(client, path, LENGTH, &committed), 0);
}

/* How many of the files that server has a copy of; `copies`: of all of them. */
static unsigned int held_by(const struct ns_peer *storage, unsigned int *copies)
{
	unsigned int count = 0;

	*copies = 0;
	for (int i = 0; i < FILES; i++) {
		struct open_reply reply;
		char path[16];

		snprintf(path, sizeof(path), "/f%d", i);
		assert_int_equal(ASK(client, open, &reply, .path = slice_of(path)), 0);
		for (unsigned int j = 0; j < reply.chunks[0].holders_count; j++) {
			const struct holder *holder = &reply.chunks[0].holders[j];

			++*copies;
			count += id_equal(&holder->ticket.holder, &storage->id);
		}
	}
	return count;
}

static void test_drain_empties_a_server_while_it_serves(void **state)
{
	struct heartbeat_reply beaten;
	struct drain_reply reply;
	unsigned int copies;

	(void)state;
	start(4);
	for (int i = 0; i < FILES; i++)
		put(i);
	assert_true(held_by(storages[1], &copies) > 0);
	assert_int_equal(copies, 3 * FILES);
	assert_int_equal(drain(storages[1]->id, 1, &reply), 0);
	assert_int_equal(node_of(storages[1]).state, NODE_DRAINING);
	assert_int_equal(node_of(storages[1]).flags, NODE_TO_BE_EMPTIED);
	driver_beat(&d, 20000);
	assert_int_equal(held_by(storages[1], &copies), 0);
	assert_int_equal(copies, 3 * FILES);
	for (int i = 0; i < FILES; i++)
		put(100 + i);
	assert_int_equal(driver_orders(storages[1], MSG_fetch), 0);
	assert_int_equal(ASK(storages[1], heartbeat, &beaten, .free = 1 << 20, .chunks = 0), 0);
	assert_true(driver_logged(&d, "drained"));
	/* It is remembered. */
	driver_restart(&d);
	storages[1] = driver_storage(&d, 1);
	client = driver_client(&d, 1);
	assert_int_equal(node_of(storages[1]).state, NODE_DRAINING);
	client->operation = 1000;
	assert_int_equal(drain(storages[1]->id, 0, &reply), 0);
	assert_int_equal(node_of(storages[1]).state, NODE_ONLINE);
	assert_int_equal(node_of(storages[1]).flags, 0);
	driver_stop(&d);
}

/* Three copies, three servers: none may go. */
static void test_drain_never_goes_below_the_wanted_copies(void **state)
{
	struct drain_reply reply;
	unsigned int copies;

	(void)state;
	start(3);
	for (int i = 0; i < FILES; i++)
		put(i);
	assert_int_equal(drain(storages[2]->id, 1, &reply), 0);
	driver_beat(&d, 60000);
	assert_int_equal(held_by(storages[2], &copies), FILES);
	assert_int_equal(copies, 3 * FILES);
	driver_stop(&d);
}

static void test_refusals(void **state)
{
	struct drain_reply reply;

	(void)state;
	start(2);
	assert_int_equal(drain(id_of(77), 1, &reply), -ERR_NOT_FOUND);
	assert_int_equal(forget(id_of(77)), -ERR_NOT_FOUND);
	assert_int_equal(forget(storages[1]->id), -ERR_ONLINE);
	driver_close(storages[1]); /* suspect */
	assert_int_equal(forget(storages[1]->id), -ERR_ONLINE);
	driver_stop(&d);
}

static void test_who_was_forgotten_comes_back_as_a_stranger(void **state)
{
	struct chunk_ref held[FILES];
	struct put_begin_reply begun;
	unsigned int copies, count = 0;

	(void)state;
	start(4);
	for (int i = 0; i < FILES; i++)
		put(i);
	for (int i = 0; i < FILES; i++) {
		struct open_reply opened;
		char path[16];

		snprintf(path, sizeof(path), "/f%d", i);
		assert_int_equal(ASK(client, open, &opened, .path = slice_of(path)), 0);
		for (unsigned int j = 0; j < opened.chunks[0].holders_count; j++) {
			if (id_equal(&opened.chunks[0].holders[j].ticket.holder, &storages[4]->id))
				held[count++] =
					(struct chunk_ref){ opened.chunks[0].chunk, LENGTH };
		}
	}
	assert_true(count > 0);
	/* A put under way has a place there. */
	assert_int_equal(ASK(client, put_begin, &begun, .size = LENGTH, .copies = 4, .places = 1,
			     .path = slice_of("/open")),
			 0);
	driver_close(storages[4]);
	driver_beat(&d, DEAD_AFTER_MS + 2000);
	assert_int_equal(forget(storages[4]->id), 0);
	assert_int_equal(node_of(storages[4]).state, 0);
	POST(client, put_abort, .put = begun.put);
	driver_beat(&d, 2 * DELAY_MS + 4000);
	assert_int_equal(held_by(storages[4], &copies), 0);
	assert_int_equal(copies, 3 * FILES);
	storages[4] = driver_storage_with(
		&d, &(struct ns_storage){
			    .number = 4, .start = 2, .chunks = held, .chunk_count = count });
	assert_int_equal(node_of(storages[4]).starts, 1);
	held_by(storages[4], &copies);
	assert_int_equal(copies, 3 * FILES + count);
	driver_beat(&d, 10000);
	held_by(storages[4], &copies);
	assert_int_equal(copies, 3 * FILES);
	driver_stop(&d);
}

static void test_numbers_are_not_given_out_again(void **state)
{
	struct status_reply status;
	unsigned int copies;

	(void)state;
	start(3);
	for (int i = 0; i < FILES; i++)
		put(i);
	driver_close(storages[3]);
	driver_beat(&d, DEAD_AFTER_MS + 2000);
	assert_int_equal(forget(storages[3]->id), 0);
	/* The next one must not be taken for who had the copies. */
	d.idle = true;
	storages[4] = driver_storage(&d, 4);
	assert_int_equal(held_by(storages[4], &copies), 0);
	assert_int_equal(copies, 2 * FILES);
	driver_beat(&d, 4000);
	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	assert_int_equal(status.under_copied, FILES);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain_empties_a_server_while_it_serves),
		cmocka_unit_test(test_drain_never_goes_below_the_wanted_copies),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_who_was_forgotten_comes_back_as_a_stranger),
		cmocka_unit_test(test_numbers_are_not_given_out_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
