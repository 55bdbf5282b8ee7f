/* Storage servers at the name server: registration, states, addresses, ports of clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ns_driver.h"

static struct ns_driver d;

static struct ns_peer *raw_storage(unsigned int number)
{
	struct ns_peer *peer = driver_connect(&d, "10.2.0.77", "10.0.0.1");
	struct hello_reply hello;

	peer->id = id_of(number);
	peer->machine = id_of(number + 900);
	assert_int_equal(ASK(peer, hello, &hello, .versions = 1 << 16 | 1, .role = ROLE_STORAGE,
			     .self = peer->id, .machine = peer->machine),
			 0);
	return peer;
}

static void test_register(void **state)
{
	struct register_reply first, second;
	struct heartbeat_reply beat;
	struct ns_peer *old, *peer;
	struct nodes_reply nodes;

	(void)state;
	driver_start(&d, NULL);
	old = raw_storage(1);
	assert_int_equal(ASK(old, heartbeat, &beat, .used = 1), -ERR_STALE);
	assert_int_equal(
		driver_register(old, &(struct ns_storage){ .number = 1, .start = 5 }, &first), 0);
	assert_int_equal(first.epoch, 1);
	assert_int_equal(first.heartbeat_ms, HEARTBEAT_MS);
	assert_int_equal(first.want_inventory, 0); /* neither side knows of anything */
	assert_int_equal(ASK(old, heartbeat, &beat, .used = 1), 0);
	assert_int_equal(beat.epoch, 1);
	/* A rolled-back disk, another disk under the same id. */
	peer = raw_storage(1);
	assert_int_equal(driver_register(peer, &(struct ns_storage){ .number = 1, .start = 4 },
					 &second),
			 -ERR_OLD_DISK);
	assert_int_equal(driver_register(peer,
					 &(struct ns_storage){ .number = 1, .start = 6, .disk = 9 },
					 &second),
			 -ERR_DUPLICATE_NODE);
	assert_false(old->closed);
	/* The same start: it replaces the older connection, which is silent, and gets another
	 * key. */
	driver_clock(&d, 5000);
	assert_int_equal(
		driver_register(peer, &(struct ns_storage){ .number = 1, .start = 5 }, &second), 0);
	assert_true(old->closed);
	assert_memory_not_equal(&first.key, &second.key, KEY_SIZE);
	assert_int_equal(ASK(peer, nodes, &nodes, .after = { { 0 } }), 0);
	assert_int_equal(nodes.nodes_count, 1);
	assert_int_equal(nodes.nodes[0].starts, 1);
	assert_int_equal(nodes.nodes[0].state, NODE_ONLINE);
	assert_true(slice_equal(nodes.nodes[0].name, slice_of("host1")));
	/* Advertised 10.2.0.1, seen at 10.2.0.77. */
	assert_int_equal(nodes.nodes[0].endpoints_count, 2);
	assert_int_equal(nodes.nodes[0].endpoints[0].flags, ENDPOINT_ADVERTISED);
	assert_int_equal(nodes.nodes[0].endpoints[1].flags, ENDPOINT_SEEN);
	assert_int_equal(nodes.nodes[0].endpoints[1].port, 3503);
	assert_true(driver_logged(&d, "node_joined node=host1 "));
	driver_stop(&d);
}

static uint8_t state_of(struct ns_peer *client, unsigned int number)
{
	struct nodes_reply nodes;

	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	for (unsigned int i = 0; i < nodes.nodes_count; i++) {
		if (id_equal(&nodes.nodes[i].node, &(struct id[]){ id_of(number) }[0]))
			return nodes.nodes[i].state;
	}
	return 0;
}

static void test_states(void **state)
{
	struct ns_peer *client, *storage;
	struct heartbeat_reply beat;
	struct status_reply status;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	storage = driver_storage(&d, 1);
	driver_beat(&d, 60000);
	assert_int_equal(state_of(client, 1), NODE_ONLINE);
	/* Silence. */
	driver_clock(&d, 5999);
	assert_int_equal(state_of(client, 1), NODE_ONLINE);
	driver_clock(&d, 1);
	assert_int_equal(state_of(client, 1), NODE_SUSPECT);
	assert_int_equal(ASK(storage, heartbeat, &beat, .free = 5), 0);
	assert_int_equal(state_of(client, 1), NODE_ONLINE);
	driver_clock(&d, 15000);
	assert_int_equal(state_of(client, 1), NODE_OFFLINE);
	assert_true(storage->closed);
	/* A broken connection: suspect at once. */
	storage = driver_storage(&d, 1);
	assert_int_equal(state_of(client, 1), NODE_ONLINE);
	driver_close(storage);
	assert_int_equal(state_of(client, 1), NODE_SUSPECT);
	driver_clock(&d, 15000);
	assert_int_equal(state_of(client, 1), NODE_OFFLINE);
	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	assert_int_equal(status.nodes_total, 1);
	assert_int_equal(status.nodes_online, 0);
	assert_int_equal(status.capacity, 0);
	/* It is still known after a restart. */
	driver_restart(&d);
	client = driver_client(&d, 1);
	assert_int_equal(state_of(client, 1), NODE_OFFLINE);
	driver_storage(&d, 1);
	assert_int_equal(state_of(client, 1), NODE_ONLINE);
	driver_stop(&d);
}

/* The name server's machine slept for a minute: the others are not to blame. */
static void test_own_pause_is_excused(void **state)
{
	struct ns_event tick = { .kind = NS_TICK };
	struct ns_peer *client;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	driver_storage(&d, 1);
	driver_beat(&d, 10000);
	d.now_ms += 60000;
	tick.now_ms = d.now_ms;
	nameserver_step(d.ns, &tick, &d.outbox);
	ns_outbox_clear(&d.outbox);
	assert_int_equal(state_of(client, 1), NODE_ONLINE);
	driver_clock(&d, 6000);
	assert_int_equal(state_of(client, 1), NODE_SUSPECT);
	driver_stop(&d);
}

/* Nor is one whose connection had just broken: it may have come back meanwhile, unheard. */
static void test_own_pause_is_excused_to_who_was_away(void **state)
{
	struct ns_event tick = { .kind = NS_TICK };
	struct ns_peer *client, *stranger;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	driver_storage(&d, 1);
	driver_close(driver_storage(&d, 2));
	assert_int_equal(state_of(client, 2), NODE_SUSPECT);
	driver_dialled(&d, 0);
	stranger = driver_connect(&d, "10.3.0.1", "10.0.0.1");
	d.now_ms += 60000;
	tick.now_ms = d.now_ms;
	nameserver_step(d.ns, &tick, &d.outbox);
	ns_outbox_clear(&d.outbox);
	assert_int_equal(state_of(client, 2), NODE_SUSPECT);
	assert_false(stranger->closed);
	driver_beat(&d, 8000);
	assert_int_equal(state_of(client, 2), NODE_SUSPECT);
	driver_beat(&d, 10000);
	assert_int_equal(state_of(client, 1), NODE_ONLINE);
	assert_int_equal(state_of(client, 2), NODE_OFFLINE);
	driver_stop(&d);
}

static void test_nodes_are_paged(void **state)
{
	struct ns_peer *client;
	struct nodes_reply nodes;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	for (unsigned int i = 1; i <= 300; i++)
		driver_storage(&d, i);
	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	assert_int_equal(nodes.nodes_count, 256);
	assert_int_equal(nodes.more, 1);
	for (unsigned int i = 1; i < 256; i++)
		assert_true(memcmp(&nodes.nodes[i - 1].node, &nodes.nodes[i].node, ID_SIZE) < 0);
	assert_int_equal(ASK(client, nodes, &nodes, .after = nodes.nodes[255].node), 0);
	assert_int_equal(nodes.nodes_count, 44);
	assert_int_equal(nodes.more, 0);
	driver_stop(&d);
}

static void test_status(void **state)
{
	struct put_commit_reply committed;
	struct ns_peer *client;
	struct status_reply status;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	for (unsigned int i = 1; i <= 3; i++)
		driver_storage(&d, i);
	assert_int_equal(driver_put(client, "/a", 1000, &committed), 0);
	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	assert_int_equal(status.epoch, 1);
	assert_int_equal(status.sequence, d.sealed);
	assert_int_equal(status.files, 1);
	assert_int_equal(status.bytes, 1000);
	assert_int_equal(status.chunks, 1);
	assert_int_equal(status.nodes_online, 3);
	assert_int_equal(status.capacity, (uint64_t)3 << 40);
	assert_int_equal(status.writable, 1);
	assert_true(slice_equal(status.version, slice_of("1.2.3")));
	assert_int_equal(status.nameserver.port, CONTROL_PORT);
	driver_stop(&d);
}

static struct node_info first_node(struct ns_peer *client)
{
	struct nodes_reply nodes;

	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	return nodes.nodes[0];
}

/* Not only with the next heartbeat. */
static void test_space_follows_at_once(void **state)
{
	struct put_commit_reply committed;
	struct remove_reply removed;
	struct ns_peer *client, *storage;
	struct node_info node;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	storage = driver_storage(&d, 1);
	assert_int_equal(driver_put(client, "/a", 1000, &committed), 0);
	assert_int_equal(driver_put(client, "/b", 500, &committed), 0);
	node = first_node(client);
	assert_int_equal(node.used, 1500);
	assert_int_equal(node.chunks, 2);
	assert_int_equal(node.free, ((uint64_t)1 << 40) - 1500);
	client->operation++;
	assert_int_equal(ASK(client, remove, &removed, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of("/a")),
			 0);
	d.free = (uint64_t)1 << 40; /* somebody else has freed room there, too */
	d.left = 500;
	driver_clock(&d, 100);
	assert_int_equal(driver_orders(storage, MSG_delete), 1);
	node = first_node(client);
	assert_int_equal(node.used, 500);
	assert_int_equal(node.chunks, 1);
	assert_int_equal(node.free, (uint64_t)1 << 40);
	driver_stop(&d);
}

/* Of one that is offline it is known what it held, also after a restart. */
static void test_space_of_one_that_is_gone(void **state)
{
	struct put_commit_reply committed;
	struct ns_peer *client, *storage;
	struct node_info node;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	storage = driver_storage(&d, 1);
	assert_int_equal(driver_put(client, "/a", 1000, &committed), 0);
	driver_close(storage);
	driver_clock(&d, 60000);
	driver_restart(&d);
	client = driver_client(&d, 1);
	node = first_node(client);
	assert_int_equal(node.state, NODE_OFFLINE);
	assert_int_equal(node.used, 1000);
	assert_int_equal(node.chunks, 1);
	assert_int_equal(node.capacity, (uint64_t)1 << 40);
	driver_stop(&d);
}

static void test_ports(void **state)
{
	struct nameserver_config config = { .client_port_first = 4000, .client_port_last = 4003 };
	struct ns_peer *client, *other, *crowd[5];
	struct port_reply port, again;
	bool seen[4] = { false };

	(void)state;
	driver_start(&d, &config);
	client = driver_client(&d, 1);
	assert_int_equal(ASK(client, port, &port, .rejected = 0), 0);
	assert_in_range(port.port, 4000, 4003);
	assert_false(id_is_none(&port.proof));
	/* Another machine may have the same one; a client of the same address may not. */
	other = driver_client(&d, 2);
	assert_int_equal(ASK(other, port, &again, .rejected = 0), 0);
	assert_memory_not_equal(&port.proof, &again.proof, ID_SIZE);
	/* Those that cannot be bound come no more; none left. */
	for (int i = 0; i < 4; i++) {
		assert_false(seen[port.port - 4000]);
		seen[port.port - 4000] = true;
		assert_int_equal(ASK(client, port, &port, .rejected = port.port),
				 i < 3 ? 0 : -ERR_NO_PORT);
	}
	assert_int_equal(ASK(client, port, &port, .rejected = 80), -ERR_BAD_REQUEST);
	/* Five clients at one address, four ports; one that goes gives its port back. */
	for (unsigned int i = 0; i < 5; i++) {
		struct hello_reply hello;

		crowd[i] = driver_connect(&d, "10.9.9.9", "10.0.0.1");
		assert_int_equal(ASK(crowd[i], hello, &hello, .versions = 1 << 16 | 1,
				     .role = ROLE_CLIENT, .self = id_of(700 + i)),
				 0);
		assert_int_equal(ASK(crowd[i], port, &port, .rejected = 0),
				 i < 4 ? 0 : -ERR_NO_PORT);
	}
	driver_close(crowd[2]);
	assert_int_equal(ASK(crowd[4], port, &port, .rejected = 0), 0);
	driver_stop(&d);
}

static void test_dial(void **state)
{
	struct ns_peer *client, *storage;
	const struct connect_request *order;
	struct port_reply port;
	struct dial_reply dialled;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	storage = driver_storage(&d, 1);
	assert_int_equal(ASK(client, dial, &dialled, .node = storage->id), -ERR_NO_PORT);
	ASK(client, port, &port, .rejected = 0);
	assert_int_equal(ASK(client, dial, &dialled, .lane = 1, .node = id_of(9)), -ERR_NOT_FOUND);
	assert_int_equal(ASK(client, dial, &dialled, .lane = 2, .node = storage->id),
			 -ERR_BAD_REQUEST);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ASK(client, dial, &dialled, .lane = 1, .node = storage->id), 0);
		order = driver_order(storage, MSG_connect);
		assert_non_null(order);
		assert_int_equal(order->lane, 1);
		assert_true(id_equal(&order->client, &client->id));
		assert_true(id_equal(&order->proof, &port.proof));
		assert_int_equal(order->endpoint.port, port.port);
		assert_int_equal(order->endpoint.address.bytes[1], 1); /* 10.1.0.1 */
	}
	driver_close(storage);
	assert_int_equal(ASK(client, dial, &dialled, .lane = 1, .node = storage->id),
			 -ERR_UNAVAILABLE);
	driver_stop(&d);
}

static void test_connect_once_per_server_and_lane(void **state)
{
	struct put_commit_reply committed;
	struct ns_peer *client, *storage;
	struct port_reply port;
	struct open_reply opened;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	storage = driver_storage(&d, 1);
	driver_put(client, "/a", 10, &committed);
	assert_int_equal(driver_orders(storage, MSG_connect), 0); /* passive: no port */
	ASK(client, port, &port, .rejected = 0);
	driver_put(client, "/b", 10, &committed);
	driver_put(client, "/c", 10, &committed);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/a")), 0);
	assert_int_equal(driver_orders(storage, MSG_connect), 1);
	driver_put(client, "/d", 2 << 20, &committed);
	assert_int_equal(driver_orders(storage, MSG_connect), 1); /* lane 1 */
	/* The server comes anew: its connections are gone. */
	storage = driver_storage_with(&d, &(struct ns_storage){ .number = 1, .start = 2 });
	driver_put(client, "/e", 10, &committed);
	assert_int_equal(driver_orders(storage, MSG_connect), 1);
	driver_stop(&d);
}

/* On the name server's own machine everybody is seen at 127.0.0.1. */
static void test_loopback_is_for_the_same_machine(void **state)
{
	struct ns_peer *far, *near, *storage, *client;
	const struct connect_request *order;
	struct put_commit_reply committed;
	struct hello_reply hello;
	struct port_reply port;
	struct dial_reply dialled;
	struct open_reply opened;

	(void)state;
	driver_start(&d, NULL);
	storage = driver_storage_with(
		&d, &(struct ns_storage){ .number = 1, .machine = 1, .address = "127.0.0.1" });
	far = driver_storage(&d, 2);
	near = driver_connect(&d, "127.0.0.1", "127.0.0.1");
	assert_int_equal(ASK(near, hello, &hello, .versions = 1 << 16 | 1, .role = ROLE_CLIENT,
			     .self = id_of(800), .machine = storage->machine),
			 0);
	near->id = id_of(800);
	ASK(near, port, &port, .rejected = 0);
	ASK(near, dial, &dialled, .node = storage->id);
	order = driver_order(storage, MSG_connect);
	assert_int_equal(order->endpoint.address.bytes[0], 127);
	/* The other server finds it where it found the name server. */
	ASK(near, dial, &dialled, .node = far->id);
	order = driver_order(far, MSG_connect);
	assert_int_equal(order->endpoint.address.bytes[0], 10);
	assert_int_equal(order->endpoint.address.bytes[3], 1);
	assert_int_equal(order->endpoint.port, port.port);
	/* A client elsewhere gets no loopback address of the near server, but ours. */
	client = driver_client(&d, 1);
	assert_int_equal(driver_put(client, "/a", 10, &committed), 0);
	ASK(client, open, &opened, .path = slice_of("/a"));
	for (unsigned int i = 0; i < opened.nodes_count; i++) {
		assert_true(opened.nodes[i].endpoints_count > 0);
		assert_int_equal(opened.nodes[i].endpoints[0].address.bytes[0], 10);
	}
	ASK(near, open, &opened, .path = slice_of("/a"));
	for (unsigned int i = 0; i < opened.nodes_count; i++) {
		if (id_equal(&opened.nodes[i].node, &storage->id))
			assert_int_equal(opened.nodes[i].endpoints[0].address.bytes[0], 127);
	}
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_register),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_own_pause_is_excused),
		cmocka_unit_test(test_own_pause_is_excused_to_who_was_away),
		cmocka_unit_test(test_nodes_are_paged),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_space_follows_at_once),
		cmocka_unit_test(test_space_of_one_that_is_gone),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_dial),
		cmocka_unit_test(test_connect_once_per_server_and_lane),
		cmocka_unit_test(test_loopback_is_for_the_same_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
