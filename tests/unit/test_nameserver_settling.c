/* How soon there are as many copies as there should be, when servers come, go and begin anew while
 * something is on its way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hash.h"
#include "ns_driver.h"
#include "ns_state.h"

enum { LENGTH = 100, DELAY_MS = 30000, COPIES = 3, SOON_MS = 1000 };

static struct ns_driver d;
static struct ns_peer *client, *storages[8];
static unsigned int servers;

/* A put of one chunk, its chain in the order in which it goes through. */
static struct put_begin_reply begun;
static unsigned int chain[COPIES];

static unsigned int number_of(const struct id *node)
{
	for (unsigned int i = 1; i <= servers; i++) {
		if (id_equal(node, &storages[i]->id))
			return i;
	}
	return 0;
}

static void start(unsigned int count)
{
	servers = count;
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_beat(&d, 4000);
	assert_int_equal(ASK(client, put_begin, &begun, .size = LENGTH, .places = 1, .flags = 1,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(begun.places[0].holders_count, COPIES);
	for (unsigned int i = 0; i < COPIES; i++)
		chain[i] = number_of(&begun.places[0].holders[i].ticket.holder);
}

/* With receipts of so many of the chain. */
static void commit(unsigned int durable)
{
	const struct digest digest = digest_of("x", 1);
	struct receipt receipts[COPIES];
	struct put_commit_reply committed;

	for (unsigned int i = 0; i < durable; i++)
		receipts[i] =
			driver_receipt(storages[chain[i]], begun.places[0].chunk, LENGTH, digest);
	client->operation++;
	assert_int_equal(ASK(client, put_commit, &committed, .operation = client->operation,
			     .outstanding = client->operation, .put = begun.put, .size = LENGTH,
			     .digest = digest, .flags = PUT_REPLACE, .path = slice_of("/a"),
			     .receipts = receipts, .receipts_count = (uint16_t)durable),
			 0);
	assert_int_equal(committed.copies, durable);
}

static unsigned int fetched(void)
{
	unsigned int count = 0;

	for (unsigned int i = 1; i <= servers; i++)
		count += driver_orders(storages[i], MSG_fetch);
	return count;
}

static unsigned int deleted(void)
{
	unsigned int count = 0;

	for (unsigned int i = 1; i <= servers; i++)
		count += driver_orders(storages[i], MSG_delete);
	return count;
}

static void anew(unsigned int server, bool holds)
{
	const struct chunk_ref chunk = { begun.places[0].chunk, LENGTH };

	storages[server] = driver_storage_with(
		&d, &(struct ns_storage){
			    .number = server, .start = 2, .chunks = &chunk, .chunk_count = holds });
}

static uint64_t under_copied(void)
{
	struct status_reply status;

	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	return status.under_copied;
}

static void test_a_copy_on_its_way_is_awaited(void **state)
{
	(void)state;
	start(4);
	commit(2);
	driver_beat(&d, DELAY_MS - 2 * SOON_MS);
	assert_int_equal(fetched(), 0);
	driver_beat(&d, 4 * SOON_MS);
	assert_int_equal(fetched(), 1);
	assert_int_equal(under_copied(), 0);
	driver_stop(&d);
}

static void test_one_that_has_come_is_waited_for_no_more(void **state)
{
	struct stored_reply stored;
	struct receipt receipt;

	(void)state;
	start(4);
	commit(2);
	receipt = driver_receipt(storages[chain[2]], begun.places[0].chunk, LENGTH,
				 digest_of("x", 1));
	assert_int_equal(ASK(storages[chain[2]], stored, &stored, .receipts = &receipt,
			     .receipts_count = 1),
			 0);
	assert_int_equal(under_copied(), 0);
	driver_beat(&d, 2 * DELAY_MS);
	assert_int_equal(fetched(), 0);
	driver_stop(&d);
}

/* Who was to get it has begun anew, without it. */
static void test_not_by_one_that_has_begun_anew(void **state)
{
	(void)state;
	start(4);
	commit(2);
	anew(chain[2], false);
	driver_clock(&d, SOON_MS);
	assert_int_equal(fetched(), 1);
	assert_int_equal(under_copied(), 0);
	driver_stop(&d);
}

/* It was there already when that one began anew, only the receipt was lost. */
static void test_one_that_brings_it_is_asked_nothing(void **state)
{
	(void)state;
	start(4);
	commit(2);
	anew(chain[2], true);
	driver_beat(&d, 2 * DELAY_MS);
	assert_int_equal(fetched(), 0);
	assert_int_equal(under_copied(), 0);
	driver_stop(&d);
}

/* Who was to pass it on has begun anew. */
static void test_not_by_way_of_one_that_has_begun_anew(void **state)
{
	(void)state;
	start(4);
	commit(2);
	anew(chain[1], true);
	driver_clock(&d, SOON_MS);
	assert_int_equal(fetched(), 1);
	assert_int_equal(under_copied(), 0);
	driver_stop(&d);
}

static void test_not_by_one_that_is_dead(void **state)
{
	(void)state;
	start(4);
	commit(2);
	driver_close(storages[chain[2]]);
	for (int i = 0; i < 2; i++) {
		driver_clock(&d, 200);
		driver_dialled(&d, -ERR_CONNECTION);
	}
	driver_clock(&d, SOON_MS);
	assert_int_equal(fetched(), 1);
	assert_int_equal(under_copied(), 0);
	driver_stop(&d);
}

static void test_not_by_one_that_began_anew_before_the_commit(void **state)
{
	(void)state;
	start(4);
	anew(chain[2], false);
	commit(2);
	driver_clock(&d, SOON_MS);
	assert_int_equal(fetched(), 1);
	driver_stop(&d);
}

/* There was no other: what the put lacks is copied by the servers themselves. */
static void test_not_by_one_that_the_client_gave_up(void **state)
{
	struct put_replace_reply replaced;

	(void)state;
	start(3);
	assert_int_equal(ASK(client, put_replace, &replaced, .put = begun.put,
			     .chunk = begun.places[0].chunk,
			     .dead = begun.places[0].holders[2].ticket.holder),
			 -ERR_NO_NODES);
	commit(2);
	driver_clock(&d, SOON_MS);
	assert_int_equal(fetched(), 1);
	assert_int_equal(under_copied(), 0);
	driver_stop(&d);
}

/* Files wait for those who have them open; copies too many do not. */
static void test_copies_too_many_go_soon_after_a_restart(void **state)
{
	(void)state;
	start(4);
	commit(3);
	driver_beat(&d, 4000);
	driver_restart(&d);
	for (unsigned int i = 1; i <= servers; i++)
		anew(i, true);
	client = driver_client(&d, 2);
	driver_beat(&d, 4000);
	assert_int_equal(deleted(), 1);
	assert_int_equal(under_copied(), 0);
	driver_stop(&d);
}

/* The first time it may only have come a moment too soon. */
static void test_how_soon_it_is_tried_again(void **state)
{
	static const uint64_t waits_ms[] = { 1000, 5000, 5000 };
	const struct message *order = NULL;

	(void)state;
	start(3);
	d.idle = true;
	for (unsigned int i = 1; i <= servers; i++)
		storages[i]->idle = true;
	commit(2);
	anew(chain[2], false);
	storages[chain[2]]->idle = true;
	driver_clock(&d, 200);
	for (unsigned int i = 0; i < 3; i++) {
		order = driver_next(storages[chain[2]], MSG_fetch);
		assert_non_null(order);
		driver_refuse(storages[chain[2]], order, -ERR_UNAVAILABLE);
		driver_beat(&d, waits_ms[i] - 100);
		assert_null(driver_next(storages[chain[2]], MSG_fetch));
		driver_beat(&d, 200);
	}
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_copy_on_its_way_is_awaited),
		cmocka_unit_test(test_one_that_has_come_is_waited_for_no_more),
		cmocka_unit_test(test_not_by_one_that_has_begun_anew),
		cmocka_unit_test(test_one_that_brings_it_is_asked_nothing),
		cmocka_unit_test(test_not_by_way_of_one_that_has_begun_anew),
		cmocka_unit_test(test_not_by_one_that_is_dead),
		cmocka_unit_test(test_not_by_one_that_began_anew_before_the_commit),
		cmocka_unit_test(test_not_by_one_that_the_client_gave_up),
		cmocka_unit_test(test_copies_too_many_go_soon_after_a_restart),
		cmocka_unit_test(test_how_soon_it_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
