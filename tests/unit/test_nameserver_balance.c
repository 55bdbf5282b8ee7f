/* Fuller servers give to emptier ones, and stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ns_driver.h"
#include "ns_state.h"

enum { MIB = 1024 * 1024, SERVERS_MAX = 6, FILES = 150 };

static struct ns_driver d;
static struct ns_peer *client, *storages[SERVERS_MAX];
static uint64_t capacity[SERVERS_MAX];
static unsigned int held[SERVERS_MAX], servers, fetches;

static void start(uint8_t copies)
{
	driver_start(&d, &(struct nameserver_config){ .copies = copies });
	d.free = 1; /* what DELETE says gave no room: the next heartbeat does */
	client = driver_client(&d, 1);
	servers = fetches = 0;
	memset(held, 0, sizeof(held));
}

static void server(uint64_t capacity_mib, const char *zone)
{
	capacity[servers] = capacity_mib * MIB;
	storages[servers] =
		driver_storage_with(&d, &(struct ns_storage){ .number = servers + 1,
							      .capacity = capacity[servers],
							      .zone = zone });
	servers++;
}

/* What they were told since the last time, and what that makes of them. */
static void beat_one(unsigned int i)
{
	struct ns_peer *peer = storages[i];
	const struct delete_request *order;
	struct heartbeat_reply reply;
	unsigned int fetched = driver_orders(peer, MSG_fetch);
	uint64_t used;

	fetches += fetched;
	held[i] += fetched;
	while ((order = driver_order(peer, MSG_delete))) {
		assert_true(held[i] >= order->chunks_count);
		held[i] -= order->chunks_count;
	}
	used = (uint64_t)held[i] * MIB;
	assert_int_equal(ASK(peer, heartbeat, &reply, .used = used, .free = capacity[i] - used,
			     .chunks = held[i], .echo = peer->echo,
			     .inventory = member_find(d.ns, &peer->id)->sum->whole),
			 0);
	peer->echo = reply.now_ms;
}

static void beat(uint64_t seconds)
{
	for (uint64_t i = 0; i < seconds; i += 2) {
		driver_clock(&d, 2000);
		for (unsigned int k = 0; k < servers; k++)
			beat_one(k);
	}
}

static struct open_reply opened(unsigned int file)
{
	struct open_reply reply;
	char path[16];

	snprintf(path, sizeof(path), "/%u", file);
	assert_int_equal(ASK(client, open, &reply, .path = slice_of(path)), 0);
	POST(client, close, .inode = reply.entry.inode);
	return reply;
}

static unsigned int holder(const struct open_reply *reply, unsigned int i)
{
	return reply->chunks[0].holders[i].ticket.holder.bytes[0] - 1U;
}

static void fill(unsigned int files)
{
	for (unsigned int file = 0; file < files; file++) {
		struct put_commit_reply committed;
		struct open_reply reply;
		char path[16];

		snprintf(path, sizeof(path), "/%u", file);
		assert_int_equal(driver_put(client, path, MIB, &committed), 0);
		reply = opened(file);
		for (unsigned int i = 0; i < reply.chunks[0].holders_count; i++)
			held[holder(&reply, i)]++;
	}
	beat(4);
}

static unsigned int percent(unsigned int i)
{
	return (unsigned int)((uint64_t)held[i] * MIB * 100 / capacity[i]);
}

static unsigned int spread(void)
{
	unsigned int lowest = 100, highest = 0;

	for (unsigned int i = 0; i < servers; i++) {
		lowest = percent(i) < lowest ? percent(i) : lowest;
		highest = percent(i) > highest ? percent(i) : highest;
	}
	return highest - lowest;
}

static void assert_copies(unsigned int files, unsigned int copies)
{
	for (unsigned int file = 0; file < files; file++)
		assert_int_equal(opened(file).chunks[0].holders_count, copies);
}

static void test_a_new_server_gets_its_share(void **state)
{
	unsigned int moved;

	(void)state;
	start(2);
	server(200, "");
	server(250, "");
	server(300, "");
	fill(FILES);
	beat(60);
	assert_false(driver_logged(&d, "balance_started"));
	server(150, "");
	for (int i = 0; i < 60 && !driver_logged(&d, "balance_ended"); i++) {
		beat(10);
		for (unsigned int file = 0; file < FILES; file++)
			assert_true(opened(file).chunks[0].holders_count >= 2);
	}
	assert_true(driver_logged(&d, "balance_started"));
	assert_true(driver_logged(&d, "balance_ended"));
	beat(10);
	assert_in_range(spread(), 0, 8);
	assert_copies(FILES, 2);
	/* No more than its share, and then it is quiet. */
	assert_in_range(fetches, 40, 70);
	moved = fetches;
	beat(1200);
	assert_int_equal(fetches, moved);
	assert_int_equal(held[0] + held[1] + held[2] + held[3], 2 * FILES);
	driver_stop(&d);
}

/* One server in the attic, and all others in the cellar: its copies stay. */
static void test_zones_come_first(void **state)
{
	(void)state;
	start(2);
	server(200, "cellar");
	server(200, "cellar");
	server(200, "attic");
	fill(FILES);
	server(200, "cellar");
	beat(600);
	assert_true(driver_logged(&d, "balance_ended"));
	assert_int_equal(held[2], FILES);
	assert_in_range(percent(3), 20, 32);
	assert_copies(FILES, 2);
	driver_stop(&d);
}

static void test_small_differences_stay(void **state)
{
	(void)state;
	start(1);
	server(1000, "");
	fill(90);
	server(1000, "");
	beat(600);
	assert_int_equal(fetches, 0);
	assert_false(driver_logged(&d, "balance_started"));
	driver_stop(&d);
}

static void test_not_to_a_server_that_is_to_be_emptied(void **state)
{
	struct drain_reply reply;

	(void)state;
	start(1);
	server(200, "");
	fill(100);
	server(200, "");
	client->operation++;
	assert_int_equal(ASK(client, drain, &reply, .operation = client->operation,
			     .outstanding = client->operation, .on = 1, .node = storages[1]->id),
			 0);
	beat(600);
	assert_int_equal(held[1], 0);
	/* What cannot be moved is not tried for ever, and is when that has changed. */
	client->operation++;
	assert_int_equal(ASK(client, drain, &reply, .operation = client->operation,
			     .outstanding = client->operation, .on = 0, .node = storages[1]->id),
			 0);
	beat(700);
	assert_in_range(held[1], 40, 60);
	driver_stop(&d);
}

/* A copy that is missing comes before. */
static void test_repair_goes_first(void **state)
{
	(void)state;
	start(2);
	server(200, "");
	server(200, "");
	server(200, "");
	fill(FILES);
	driver_close(storages[0]);
	storages[0] = storages[--servers];
	capacity[0] = capacity[2];
	held[0] = held[2];
	storages[2] = NULL;
	beat(120);
	assert_false(driver_logged(&d, "balance_started"));
	assert_copies(FILES, 2);
	driver_stop(&d);
}

/* Two servers that do not reach each other: it is not tried for ever. */
static void test_what_always_fails_ends(void **state)
{
	unsigned int tried = 0;

	(void)state;
	start(1);
	server(200, "");
	fill(100);
	server(200, "");
	storages[1]->idle = true;
	for (unsigned int i = 0; i < 3000; i++) {
		const struct message *order;

		driver_clock(&d, 200);
		while ((order = driver_next(storages[1], MSG_fetch))) {
			driver_refuse(storages[1], order, -ERR_UNAVAILABLE);
			tried++;
		}
		if (i % 10 == 0) {
			beat_one(0);
			beat_one(1);
		}
	}
	assert_in_range(tried, 1, 200);
	assert_true(driver_logged(&d, "balance_ended"));
	/* Perhaps later. */
	storages[1]->idle = false;
	beat(900);
	assert_in_range(held[1], 40, 60);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_server_gets_its_share),
		cmocka_unit_test(test_zones_come_first),
		cmocka_unit_test(test_small_differences_stay),
		cmocka_unit_test(test_not_to_a_server_that_is_to_be_emptied),
		cmocka_unit_test(test_repair_goes_first),
		cmocka_unit_test(test_what_always_fails_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
