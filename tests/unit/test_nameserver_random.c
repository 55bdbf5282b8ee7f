/* Any sequence of messages, sensible or not: the name server stays up and its catalogue sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "message_random.h"
#include "ns_driver.h"

enum { STEPS = 4000, SEEDS = 4, SERVERS = 4, CLIENTS = 3 };

static struct ns_driver d;
static struct prng prng;
static struct arena arena;
static struct ns_peer *clients[CLIENTS + 1], *storages[SERVERS + 1];

static const char *some_path(void)
{
	static const char *const paths[] = { "/a", "/b", "/c", "/d", "/e", "/f" };

	return paths[prng_below(&prng, ARRAY_SIZE(paths))];
}

static struct ns_peer *some_client(void)
{
	unsigned int number = (unsigned int)prng_below(&prng, CLIENTS) + 1;

	if (!clients[number] || clients[number]->closed) {
		uint64_t operation = clients[number] ? clients[number]->operation : 0;

		clients[number] = driver_client(&d, number);
		clients[number]->operation = operation + 1000;
	}
	return clients[number];
}

static struct ns_peer *some_storage(void)
{
	unsigned int number = (unsigned int)prng_below(&prng, SERVERS) + 1;

	if (!storages[number] || storages[number]->closed)
		storages[number] = driver_storage(&d, number);
	return storages[number];
}

/* Any message, any fields; often with a byte changed. */
static void send_anything(struct ns_peer *peer)
{
	struct message_random from = { prng, &arena, 20, 5 };
	const struct message_info *info = NULL;
	struct buffer frame = { 0 };
	struct message message;

	for (uint64_t i = prng_below(&prng, 40); !info; i = prng_below(&prng, 40))
		info = message_at((unsigned int)i);
	if (info->code == MSG_data)
		return;
	message = message_random(&from, info, prng_below(&prng, 8) == 0);
	prng = from.prng;
	if (message_encode(&message, &frame) == 0) {
		if (prng_below(&prng, 4) == 0 && frame.size > FRAME_HEADER_SIZE)
			frame.data[FRAME_HEADER_SIZE +
				   prng_below(&prng, frame.size - FRAME_HEADER_SIZE)] ^= 1;
		driver_bytes(peer, frame.data, frame.size);
	}
	buffer_done(&frame);
	arena_reset(&arena);
}

static void random_step(void)
{
	struct put_commit_reply committed;
	struct remove_reply removed;
	struct open_reply opened;
	struct ns_peer *client;

	switch (prng_below(&prng, 10)) {
	case 0: driver_put(some_client(), some_path(), 100, &committed); break;
	case 1:
		client = some_client();
		client->operation++;
		ASK(client, remove, &removed, .operation = client->operation,
		    .outstanding = client->operation, .path = slice_of(some_path()));
		break;
	case 2: ASK(some_client(), open, &opened, .path = slice_of(some_path())); break;
	case 3: driver_clock(&d, prng_below(&prng, 3000)); break;
	case 4:
		if (prng_below(&prng, 10) == 0)
			driver_close(prng_below(&prng, 2) ? some_client() : some_storage());
		break;
	case 5:
	case 6: send_anything(some_storage()); break;
	case 7: send_anything(driver_connect(&d, "10.9.0.1", "10.0.0.1")); break;
	default: send_anything(some_client()); break;
	}
}

/* A peer that was closed is of no use any more, and the harness has room for so many only; and who
 * was told of a later epoch begins anew. */
static void forget_closed(void)
{
	if (d.peer_count + 8 < DRIVER_PEERS_MAX && !d.deposed)
		return;
	driver_restart(&d);
	memset(clients, 0, sizeof(clients));
	memset(storages, 0, sizeof(storages));
}

static void check(void)
{
	struct totals totals;
	struct list_reply list;
	struct ns_peer *client = driver_client(&d, 77);
	uint64_t files = 0;

	assert_false(d.failed);
	assert_int_equal(totals_get(d.kv, &totals), 0);
	assert_int_equal(ASK(client, list, &list, .path = slice_of("/")), 0);
	assert_int_equal(list.more, 0);
	for (unsigned int i = 0; i < list.entries_count; i++)
		files += list.entries[i].type == ENTRY_FILE;
	assert_int_equal(totals.files, files);
}

static void test_random_messages(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		prng.state = seed;
		driver_start(&d, NULL);
		memset(clients, 0, sizeof(clients));
		memset(storages, 0, sizeof(storages));
		for (int i = 0; i < STEPS; i++) {
			random_step();
			forget_closed();
		}
		check();
		driver_stop(&d);
	}
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
