#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "beacon.h"
#include "endpoint.h"
#include "error.h"

enum { LAN = 0x0a000001, LOCALHOST = 0x7f000001, FRESH_MS = 15000 };

static struct beacon beacon_of(char server, char cluster, uint64_t epoch, uint64_t counter)
{
	struct beacon beacon = {
		.kind = BEACON_NAMESERVER,
		.port = CONTROL_PORT,
		.cluster = { .bytes = { (uint8_t)cluster } },
		.server = { .bytes = { (uint8_t)server } },
		.epoch = epoch,
		.start = 1,
		.counter = counter,
		.interval_ms = BEACON_INTERVAL_MS,
	};

	beacon.cluster_name[0] = cluster;
	return beacon;
}

static bool hear_at(struct discovery *discovery, struct beacon beacon, uint32_t address,
		    uint64_t now_ms)
{
	struct endpoint source = endpoint_ipv4(address, BEACON_PORT);

	return discovery_hear(discovery, &beacon, &source, now_ms);
}

static char chosen(const struct discovery *discovery, uint64_t now_ms)
{
	const struct discovered *server;
	const struct discovered *other;
	int rc = discovery_choose(discovery, now_ms, FRESH_MS, &server, &other);

	if (rc < 0)
		return rc == -ERR_TWO_CLUSTERS ? '2' : '0';
	assert_null(other);
	return (char)server->beacon.server.bytes[0];
}

static void test_one_server(void **state)
{
	struct discovery discovery = { 0 };
	struct endpoint expected = endpoint_ipv4(LAN, CONTROL_PORT);

	(void)state;
	assert_int_equal(chosen(&discovery, 0), '0');
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 1, 1), LAN, 1000));
	assert_int_equal(chosen(&discovery, 1000), 'a');
	assert_true(endpoint_equal(&discovery.servers[0].endpoint, &expected));
	assert_int_equal(chosen(&discovery, 1000 + FRESH_MS), 'a');
	assert_int_equal(chosen(&discovery, 1001 + FRESH_MS), '0');
}

static void test_replays_are_dropped(void **state)
{
	struct discovery discovery = { 0 };
	struct beacon restarted = beacon_of('a', 'X', 2, 1);

	(void)state;
	restarted.start = 2;
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 2, 5), LAN, 0));
	assert_false(hear_at(&discovery, beacon_of('a', 'X', 2, 5), LAN, 1));
	assert_false(hear_at(&discovery, beacon_of('a', 'X', 2, 4), LAN, 2));
	assert_false(hear_at(&discovery, beacon_of('a', 'X', 1, 9), LAN, 3));
	assert_int_equal(discovery.dropped, 3);
	assert_int_equal(discovery.servers[0].heard_ms, 0);
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 2, 6), LAN, 4));
	assert_true(hear_at(&discovery, restarted, LAN, 5));
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 3, 0), LAN, 6));
	assert_int_equal(discovery.count, 1);
}

/* A name server restored from a copy counts from further back, and anybody can forge a beacon that
 * no real one surpasses: neither may hide it for ever. */
static void test_silence_makes_room_for_older_beacons(void **state)
{
	struct discovery discovery = { 0 };
	const uint64_t late_ms = 1000 + DISCOVERY_SILENCE_MS;

	(void)state;
	assert_true(hear_at(&discovery, beacon_of('a', 'X', UINT64_MAX, UINT64_MAX), LAN, 1000));
	assert_false(hear_at(&discovery, beacon_of('a', 'X', 1, 7), LAN + 1, late_ms));
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 1, 8), LAN + 1, late_ms + 1));
	assert_false(hear_at(&discovery, beacon_of('a', 'X', 1, 7), LAN + 1, late_ms + 2));
	assert_int_equal(discovery.servers[0].beacon.epoch, 1);
	assert_int_equal(discovery.count, 1);
}

static void test_two_clusters(void **state)
{
	struct discovery discovery = { 0 };
	const struct discovered *server;
	const struct discovered *other;

	(void)state;
	hear_at(&discovery, beacon_of('a', 'X', 1, 1), LAN, 0);
	hear_at(&discovery, beacon_of('b', 'Y', 9, 1), LAN + 1, 10000);
	assert_int_equal(discovery_choose(&discovery, 10000, FRESH_MS, &server, &other),
			 -ERR_TWO_CLUSTERS);
	assert_string_equal(server->beacon.cluster_name, "X");
	assert_string_equal(other->beacon.cluster_name, "Y");
	/* The one that fell silent no longer counts. */
	assert_int_equal(chosen(&discovery, FRESH_MS + 1), 'b');
}

static void test_the_wanted_cluster(void **state)
{
	struct discovery by_name = { .cluster_name = "Y" };
	struct discovery by_id = { .cluster = { .bytes = { 'X' } }, .cluster_name = "Y" };
	struct beacon impostor = beacon_of('c', 'Z', 1, 1);

	(void)state;
	impostor.cluster_name[0] = 'Y';
	assert_false(hear_at(&by_name, beacon_of('a', 'X', 9, 1), LAN, 0));
	assert_true(hear_at(&by_name, beacon_of('b', 'Y', 1, 1), LAN, 0));
	assert_int_equal(by_name.dropped, 1);
	assert_int_equal(chosen(&by_name, 0), 'b');
	assert_true(hear_at(&by_id, beacon_of('a', 'X', 1, 1), LAN, 0));
	assert_false(hear_at(&by_id, beacon_of('b', 'Y', 1, 1), LAN, 0));
	assert_int_equal(chosen(&by_id, 0), 'a');
	/* Two clusters of one name: it takes an id to tell them apart. */
	assert_true(hear_at(&by_name, impostor, LAN, 0));
	assert_int_equal(chosen(&by_name, 0), '2');
	by_name.cluster.bytes[0] = 'Z';
	assert_int_equal(chosen(&by_name, 0), 'c');
}

static void test_the_highest_epoch_then_the_newest(void **state)
{
	struct discovery discovery = { 0 };

	(void)state;
	hear_at(&discovery, beacon_of('a', 'X', 2, 1), LAN, 0);
	hear_at(&discovery, beacon_of('b', 'X', 1, 9), LAN + 1, 100);
	assert_int_equal(chosen(&discovery, 100), 'a');
	hear_at(&discovery, beacon_of('c', 'X', 2, 1), LAN + 2, 200);
	assert_int_equal(chosen(&discovery, 200), 'c');
	hear_at(&discovery, beacon_of('b', 'X', 3, 1), LAN + 1, 300);
	assert_int_equal(chosen(&discovery, 300), 'b');
}

static void test_an_interface_is_better_than_loopback(void **state)
{
	struct discovery discovery = { 0 };

	(void)state;
	/* The same beacon on both ways, loopback first. */
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 1, 1), LOCALHOST, 0));
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 1, 1), LAN, 0));
	assert_false(endpoint_is_loopback(&discovery.servers[0].endpoint));
	assert_false(hear_at(&discovery, beacon_of('a', 'X', 1, 2), LOCALHOST, 5000));
	assert_false(hear_at(&discovery, beacon_of('a', 'X', 1, 3), LOCALHOST, 15000));
	assert_int_equal(discovery.dropped, 0);
	/* The interface is gone for three intervals: loopback has to do. */
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 1, 4), LOCALHOST, 15001));
	assert_true(endpoint_is_loopback(&discovery.servers[0].endpoint));
	assert_true(hear_at(&discovery, beacon_of('a', 'X', 1, 5), LAN, 20000));
	assert_false(endpoint_is_loopback(&discovery.servers[0].endpoint));
}

static void test_other_kinds_are_not_dialled(void **state)
{
	struct discovery discovery = { 0 };
	struct beacon probe = beacon_of('p', 'X', 9, 9);
	struct beacon storage = beacon_of('s', 'X', 9, 9);

	(void)state;
	probe.kind = BEACON_PROBE;
	storage.kind = BEACON_STORAGE;
	assert_false(hear_at(&discovery, probe, LAN, 0));
	assert_true(hear_at(&discovery, storage, LAN, 0));
	assert_int_equal(chosen(&discovery, 0), '0');
	assert_int_equal(discovery.dropped, 0);
}

static void test_a_full_table_forgets_the_oldest(void **state)
{
	struct discovery discovery = { 0 };

	(void)state;
	for (int i = 0; i < DISCOVERY_SERVERS_MAX; i++)
		hear_at(&discovery, beacon_of((char)('a' + i), 'X', 1, 1), LAN,
			(uint64_t)(i == 5 ? 0 : 100 + i));
	assert_true(hear_at(&discovery, beacon_of('!', 'X', 2, 1), LAN, 500));
	assert_int_equal(discovery.count, DISCOVERY_SERVERS_MAX);
	assert_int_equal(discovery.servers[5].beacon.server.bytes[0], '!');
	assert_int_equal(chosen(&discovery, 500), '!');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_server),
		cmocka_unit_test(test_replays_are_dropped),
		cmocka_unit_test(test_silence_makes_room_for_older_beacons),
		cmocka_unit_test(test_two_clusters),
		cmocka_unit_test(test_the_wanted_cluster),
		cmocka_unit_test(test_the_highest_epoch_then_the_newest),
		cmocka_unit_test(test_an_interface_is_better_than_loopback),
		cmocka_unit_test(test_other_kinds_are_not_dialled),
		cmocka_unit_test(test_a_full_table_forgets_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
