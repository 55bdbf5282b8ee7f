/* What a storage server tells of its chunks: sums, then lists of the buckets that differ;
 * goodbye. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "error.h"
#include "inventory.h"
#include "storage_fixture.h"

enum { CHUNKS = 40 };

static struct fixture f;

static void start(void)
{
	fixture_init(&f);
	for (unsigned int i = 0; i < CHUNKS; i++)
		f.chunks[i] = (struct fake_chunk){ .chunk = 1000 + i * 7, .length = i + 1 };
	f.chunk_count = CHUNKS;
	fixture_start(&f);
	fixture_register(&f);
}

static const struct message *sent(unsigned int code)
{
	const struct message *message;

	for (unsigned int i = 0; (message = fixture_sent(&f, f.nameserver, i)); i++) {
		if (message->info->code == code && !message->reply)
			return message;
	}
	return NULL;
}

static void beat(bool want)
{
	const struct heartbeat_reply reply = { .epoch = 5, .want_inventory = want };
	const struct message *message;

	fixture_tick(&f, 2000);
	message = sent(MSG_heartbeat);
	assert_non_null(message);
	fixture_reply(&f, f.nameserver, MSG_heartbeat, message->id, &reply);
}

static void test_only_what_differs_is_listed(void **state)
{
	struct inventory_sum sum = { 0 };
	uint8_t digests[INVENTORY_DIGESTS_SIZE], bits[INVENTORY_BITS_SIZE];
	const struct inventory_request *list;
	const struct buckets_request *told;
	const struct message *message;
	struct buckets_reply reply;
	unsigned int listed = 0;

	(void)state;
	start();
	beat(false);
	assert_null(sent(MSG_buckets));
	beat(true);
	message = sent(MSG_buckets);
	assert_non_null(message);
	for (unsigned int i = 0; i < CHUNKS; i++)
		inventory_turn(&sum, f.chunks[i].chunk);
	inventory_encode(sum.buckets, digests);
	told = message->body;
	assert_int_equal(told->digests.size, sizeof(digests));
	assert_memory_equal(told->digests.data, digests, sizeof(digests));
	/* The name server knows of all but two. */
	inventory_turn(&sum, f.chunks[3].chunk);
	inventory_turn(&sum, f.chunks[30].chunk);
	assert_int_equal(inventory_differ(&sum, digests, bits), 2);
	reply = (struct buckets_reply){ .differ = { bits, sizeof(bits) } };
	fixture_reply(&f, f.nameserver, MSG_buckets, message->id, &reply);
	message = sent(MSG_inventory);
	assert_non_null(message);
	list = message->body;
	assert_int_equal(list->position, 0);
	assert_int_equal(list->last, 1);
	for (unsigned int i = 0; i < list->chunks_count; i++)
		listed += list->chunks[i].chunk == f.chunks[3].chunk ||
			  list->chunks[i].chunk == f.chunks[30].chunk;
	assert_int_equal(listed, 2);
	assert_in_range(list->chunks_count, 2, 4);
	fixture_done(&f);
}

static void test_nothing_differs(void **state)
{
	const struct buckets_reply none = { 0 };
	const struct message *message;

	(void)state;
	start();
	beat(true);
	message = sent(MSG_buckets);
	/* Asked again while it waits: once is enough. */
	beat(true);
	assert_null(sent(MSG_buckets));
	fixture_reply(&f, f.nameserver, MSG_buckets, message->id, &none);
	assert_null(sent(MSG_inventory));
	beat(true);
	assert_non_null(sent(MSG_buckets));
	fixture_done(&f);
}

static void test_goodbye(void **state)
{
	struct storage_state said;

	(void)state;
	start();
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_STOP });
	assert_non_null(sent(MSG_goodbye));
	storage_state(f.core, &said);
	assert_true(said.registered);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_CLOSED,
						 .connection = f.nameserver,
						 .error = -ERR_CONNECTION });
	storage_state(f.core, &said);
	assert_false(said.registered);
	/* Nobody is there to be told. */
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_STOP });
	assert_null(fixture_find(&f, ACT_SEND));
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_what_differs_is_listed),
		cmocka_unit_test(test_nothing_differs),
		cmocka_unit_test(test_goodbye),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
