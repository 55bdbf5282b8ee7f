/* What nobody can do to others: lies, late repeats, absurd figures, restarts at a bad moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "catalogue.h"
#include "ns_driver.h"

static struct ns_driver d;
static struct ns_peer *client, *storages[10];

static void start(unsigned int servers)
{
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_clock(&d, 2000);
}

static struct located_chunk look(const char *path)
{
	struct open_reply opened;

	assert_int_equal(ASK(client, open, &opened, .path = slice_of(path)), 0);
	POST(client, close, .inode = opened.entry.inode);
	return opened.chunks[0];
}

static uint64_t put(const char *path)
{
	struct put_commit_reply committed;

	assert_int_equal(driver_put(client, path, 9, &committed), 0);
	return look(path).chunk;
}

static int remove_path(const char *path)
{
	struct remove_reply removed;

	client->operation++;
	return ASK(client, remove, &removed, .operation = client->operation,
		   .outstanding = client->operation, .path = slice_of(path));
}

static unsigned int deleted_at(struct ns_peer *storage)
{
	const struct delete_request *order;
	unsigned int count = 0;

	while ((order = driver_order(storage, MSG_delete)))
		count += order->chunks_count;
	return count;
}

static void test_a_liar_makes_nobody_forget(void **state)
{
	struct corrupt_reply reply;
	struct located_chunk chunk;
	struct chunk_id lie;
	struct chunk_ref held;
	struct stat_reply stat;

	(void)state;
	start(3);
	held = (struct chunk_ref){ lie.chunk = put("/a"), 9 };
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(ASK(client, corrupt, &reply, .node = storages[i]->id,
				     .chunks = &lie, .chunks_count = 1),
				 0);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/a")), 0);
	assert_int_equal(stat.entry.copies, 1);
	/* All are still there; the one that nobody doubts is read first. */
	chunk = look("/a");
	assert_int_equal(chunk.holders_count, 3);
	assert_true(id_equal(&chunk.holders[0].ticket.holder, &storages[3]->id));
	/* Nor does a new registration lose them. */
	storages[1] = driver_storage_with(
		&d,
		&(struct ns_storage){ .number = 1, .start = 2, .chunks = &held, .chunk_count = 1 });
	driver_clock(&d, 2000);
	assert_int_equal(look("/a").holders_count, 3);
	/* Whoever reports itself must have registered, not just said a name. */
	driver_close(storages[2]);
	storages[0] = driver_connect(&d, "10.9.9.9", "10.0.0.1");
	assert_int_equal(ASK(storages[0], hello, &(struct hello_reply){ 0 },
			     .versions = 1 << 16 | PROTOCOL_VERSION, .role = ROLE_STORAGE,
			     .self = storages[2]->id),
			 0);
	assert_int_equal(ASK(storages[0], corrupt, &reply, .node = storages[2]->id, .chunks = &lie,
			     .chunks_count = 1),
			 -ERR_DENIED);
	driver_stop(&d);
}

static void test_an_inventory_is_sent_when_asked_for(void **state)
{
	struct inventory_reply reply;

	(void)state;
	start(2);
	/* Said before /a was stored, come after: it must not take /a away. */
	put("/a");
	assert_int_equal(ASK(storages[1], inventory, &reply, .last = 1), -ERR_STALE);
	assert_int_equal(ASK(storages[1], inventory, &reply, .position = 3, .last = 1), -ERR_STALE);
	driver_clock(&d, 2000);
	assert_int_equal(look("/a").holders_count, 2);
	driver_stop(&d);
}

/* An id of this very start that was never given out comes from another history. */
static void test_a_copied_catalogue_deletes_nothing(void **state)
{
	struct nameserver_config config = { .unknown_grace_ms = 1000 };
	struct chunk_ref held[] = { { (uint64_t)1 << 40 | 1000, 100 } };

	(void)state;
	driver_start(&d, &config);
	storages[1] = driver_storage(&d, 1);
	client = driver_client(&d, 1);
	put("/a");
	storages[2] = driver_storage_with(
		&d, &(struct ns_storage){ .number = 2, .chunks = held, .chunk_count = 1 });
	assert_int_equal(remove_path("/a"), 0);
	driver_beat(&d, 20000);
	assert_int_equal(deleted_at(storages[1]), 0);
	assert_int_equal(deleted_at(storages[2]), 0);
	assert_true(driver_logged(&d, "catalogue_is_old"));
	driver_stop(&d);
}

/* Those who hold the chunks, and who were reading them, are to be back first. Nor does it matter
 * that the restarted server's running time begins before the removal. */
static void test_garbage_waits_after_a_restart(void **state)
{
	struct chunk_ref held;

	(void)state;
	start(1);
	held = (struct chunk_ref){ put("/a"), 9 };
	d.hold_durable = true;
	client->operation++;
	POST(client, remove, .operation = client->operation, .outstanding = client->operation,
	     .path = slice_of("/a"));
	d.hold_durable = false;
	driver_restart(&d);
	driver_clock(&d, 1000);
	storages[1] = driver_storage_with(
		&d,
		&(struct ns_storage){ .number = 1, .start = 2, .chunks = &held, .chunk_count = 1 });
	driver_beat(&d, 26000);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_beat(&d, 6000);
	assert_int_equal(deleted_at(storages[1]), 1);
	driver_stop(&d);
}

static void test_a_late_repeat_does_nothing(void **state)
{
	struct create_reply created;
	struct remove_reply removed;
	struct stat_reply stat;

	(void)state;
	start(0);
	assert_int_equal(ASK(client, create, &created, .operation = 1, .outstanding = 1,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(ASK(client, remove, &removed, .operation = 2, .outstanding = 2,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(ASK(client, create, &created, .operation = 3, .outstanding = 3,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(ASK(client, remove, &removed, .operation = 2, .outstanding = 2,
			     .path = slice_of("/a")),
			 -ERR_EXPIRED);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/a")), 0);
	/* What is remembered of a client has an end. */
	assert_int_equal(ASK(client, remove, &removed, .operation = 3 + OPERATIONS_MAX,
			     .outstanding = 3, .path = slice_of("/a")),
			 -ERR_BUSY);
	assert_int_equal(ASK(client, remove, &removed, .operation = UINT64_MAX,
			     .outstanding = UINT64_MAX, .path = slice_of("/a")),
			 -ERR_BAD_REQUEST);
	driver_stop(&d);
}

/* However often a holder registers during a put, its older receipts only do not count. */
static void test_a_holder_registers_twice_in_a_put(void **state)
{
	struct digest digest = { "x" };
	struct put_begin_reply begun;
	struct put_commit_reply committed;
	struct receipt receipts[3];

	(void)state;
	start(3);
	assert_int_equal(
		ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a")), 0);
	for (unsigned int i = 0; i < 3; i++)
		receipts[i] = driver_receipt(storages[i + 1], begun.places[0].chunk, 9, digest);
	driver_storage_with(&d, &(struct ns_storage){ .number = 1, .start = 2 });
	driver_storage_with(&d, &(struct ns_storage){ .number = 1, .start = 3 });
	client->operation++;
	assert_int_equal(ASK(client, put_commit, &committed, .operation = 1, .outstanding = 1,
			     .put = begun.put, .size = 9, .digest = digest, .path = slice_of("/a"),
			     .receipts = receipts, .receipts_count = 3),
			 0);
	assert_int_equal(committed.copies, 2);
	driver_stop(&d);
}

static void test_absurd_sizes(void **state)
{
	struct put_begin_reply begun;
	struct heartbeat_reply beat;
	struct status_reply status;

	(void)state;
	start(2);
	for (unsigned int i = 1; i <= 2; i++)
		assert_int_equal(ASK(storages[i], heartbeat, &beat, .free = UINT64_MAX / 2 + 1,
				     .used = UINT64_MAX, .load = i == 1 ? UINT32_MAX : 0),
				 0);
	assert_int_equal(ASK(client, put_begin, &begun, .size = 1000, .places = 1, .copies = 2,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(begun.places[0].holders_count, 2);
	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	assert_true(status.used > UINT32_MAX && status.free > UINT32_MAX);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(ASK(client, put_begin, &begun, .size = SIZE_UNKNOWN - 1 - i,
				     .places = 1, .path = slice_of("/a")),
				 -ERR_TOO_LARGE);
	driver_stop(&d);
}

/* However many clients come, a storage server finds a place. */
static void test_clients_leave_room_for_servers(void **state)
{
	struct ns_event event = { .kind = NS_OPENED };
	struct hello_reply hello;

	(void)state;
	start(0);
	for (unsigned int i = nameserver_info(d.ns).sessions; i < SESSIONS_MAX - SESSIONS_KEPT;
	     i++) {
		event.now_ms = d.now_ms;
		event.conn = 100000 + i;
		nameserver_step(d.ns, &event, &d.outbox);
		ns_outbox_clear(&d.outbox);
	}
	storages[0] = driver_connect(&d, "10.9.9.9", "10.0.0.1");
	assert_int_equal(ASK(storages[0], hello, &hello, .versions = 1 << 16 | PROTOCOL_VERSION,
			     .role = ROLE_CLIENT, .self = id_of(50)),
			 -ERR_BUSY);
	driver_storage(&d, 1);
	driver_stop(&d);
}

/* ---- names of servers ---- */

static void register_as(unsigned int number, const char *host)
{
	const struct ns_storage storage = { .number = number, .start = 2, .no_inventory = true };
	struct ns_peer *peer = driver_storage_with(&d, &storage);
	struct register_reply reply;

	storages[number] = peer;
	/* Once more on the same connection, under another name if it had one already. */
	assert_int_equal(ASK(peer, register, &reply, .start = 2, .capacity = 1, .free = 1,
			     .disk = id_of(0x8000 + number), .name = slice_of(host)),
			 0);
}

static void new_server(unsigned int number, const char *host)
{
	struct ns_peer *peer = driver_connect(&d, "10.2.0.77", "10.0.0.1");
	struct register_reply reply;
	struct hello_reply hello;

	peer->id = id_of(number);
	assert_int_equal(ASK(peer, hello, &hello, .versions = 1 << 16 | PROTOCOL_VERSION,
			     .role = ROLE_STORAGE, .self = peer->id),
			 0);
	assert_int_equal(ASK(peer, register, &reply, .start = 1, .capacity = 1, .free = 1,
			     .disk = id_of(0x8000 + number), .name = slice_of(host)),
			 0);
}

static void is_called(unsigned int number, const char *name)
{
	struct nodes_reply nodes;
	struct id id = id_of(number);

	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	for (unsigned int i = 0; i < nodes.nodes_count; i++) {
		if (id_equal(&nodes.nodes[i].node, &id)) {
			assert_int_equal(nodes.nodes[i].name.size, strlen(name));
			assert_memory_equal(nodes.nodes[i].name.data, name, strlen(name));
			return;
		}
	}
	fail();
}

static void test_servers_have_names_of_their_own(void **state)
{
	char host[HOST_NAME_MAX_ + 1], second[HOST_NAME_MAX_ + 1];

	(void)state;
	start(0);
	memset(host, 'h', HOST_NAME_MAX_);
	host[HOST_NAME_MAX_] = '\0';
	memcpy(second, host, sizeof(host));
	memcpy(second + HOST_NAME_MAX_ - 2, "-2", 3);
	new_server(1, "box");
	new_server(2, "box");
	new_server(3, "box-2");
	new_server(4, "box");
	new_server(5, host);
	new_server(6, host);
	new_server(7, "");
	is_called(1, "box");
	is_called(2, "box-2");
	is_called(3, "box-2-2");
	is_called(4, "box-3");
	is_called(5, host);
	is_called(6, second);
	is_called(7, "storage");
	/* For ever. */
	driver_restart(&d);
	client = driver_client(&d, 1);
	register_as(4, "renamed");
	register_as(2, "box");
	is_called(4, "box-3");
	is_called(2, "box-2");
	is_called(1, "box");
	driver_stop(&d);
}

static void set_copies(const char *path, uint8_t copies)
{
	client->operation++;
	assert_int_equal(ASK(client, set_copies, NULL, .operation = client->operation,
			     .outstanding = client->operation, .copies = copies,
			     .path = slice_of(path)),
			 0);
}

static void acknowledge(unsigned int number, bool on)
{
	const struct message *order;

	storages[number]->follows = on;
	while (on && (order = driver_next(storages[number], MSG_batch)))
		driver_obey(storages[number], order);
}

/* A copy is too many and is ordered away; but the change that it goes with does not count as long
 * as nobody acknowledges it. `*ret_gone`: whose it was. */
static void trimmed_without_quorum(unsigned int *ret_gone)
{
	struct located_chunk chunk;

	driver_start(&d, &(struct nameserver_config){ .copies = 3 });
	d.follow = true;
	for (unsigned int i = 1; i <= 3; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_beat(&d, 4000);
	put("/a");
	set_copies("/a", 2);
	for (unsigned int i = 1; i <= 3; i++) {
		driver_orders(storages[i], MSG_batch);
		acknowledge(i, false);
	}
	driver_beat(&d, 12000);
	assert_true(driver_logged(&d, "quorum_lost"));
	chunk = look("/a");
	assert_int_equal(chunk.holders_count, 2);
	*ret_gone = 1 + 2 + 3;
	for (unsigned int i = 0; i < 2; i++)
		*ret_gone -= chunk.holders[i].ticket.holder.bytes[0];
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(deleted_at(storages[i]), 0);
}

static void test_deletes_are_decided_anew_when_the_quorum_is_back(void **state)
{
	unsigned int gone, dead;

	(void)state;
	trimmed_without_quorum(&gone);
	dead = gone % 3 + 1;
	driver_close(storages[dead]);
	driver_beat(&d, 20000);
	acknowledge(gone, true);
	acknowledge(dead % 3 + 1, true);
	driver_beat(&d, 10000);
	assert_true(driver_logged(&d, "quorum_back"));
	/* One of the two that were to stay is dead. */
	assert_int_equal(deleted_at(storages[gone]), 0);
	driver_beat(&d, 10 * 60 * 1000);
	assert_int_equal(deleted_at(storages[gone]), 0);
	assert_int_equal(look("/a").holders_count, 2); /* that can be read */
	driver_stop(&d);
}

static void test_deletes_go_on_when_the_quorum_is_back(void **state)
{
	unsigned int gone, sum = 0;

	(void)state;
	trimmed_without_quorum(&gone);
	for (unsigned int i = 1; i <= 3; i++)
		acknowledge(i, true);
	driver_beat(&d, 30 * 1000);
	assert_true(driver_logged(&d, "quorum_back"));
	for (unsigned int i = 1; i <= 3; i++)
		sum += deleted_at(storages[i]);
	assert_int_equal(sum, 1);
	assert_int_equal(look("/a").holders_count, 2);
	driver_stop(&d);
}

/* An order that waits is taken back when it shows that the catalogue is an old one. */
static void test_no_delete_leaves_once_the_catalogue_is_old(void **state)
{
	struct chunk_ref held = { (uint64_t)99 << 40 | 1, 100 };
	unsigned int gone;

	(void)state;
	trimmed_without_quorum(&gone);
	driver_storage_with(&d,
			    &(struct ns_storage){ .number = 4, .chunks = &held, .chunk_count = 1 });
	assert_true(driver_logged(&d, "catalogue_is_old"));
	for (unsigned int i = 1; i <= 3; i++)
		acknowledge(i, true);
	driver_beat(&d, 10 * 60 * 1000);
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(deleted_at(storages[i]), 0);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_liar_makes_nobody_forget),
		cmocka_unit_test(test_an_inventory_is_sent_when_asked_for),
		cmocka_unit_test(test_a_copied_catalogue_deletes_nothing),
		cmocka_unit_test(test_garbage_waits_after_a_restart),
		cmocka_unit_test(test_a_late_repeat_does_nothing),
		cmocka_unit_test(test_a_holder_registers_twice_in_a_put),
		cmocka_unit_test(test_absurd_sizes),
		cmocka_unit_test(test_clients_leave_room_for_servers),
		cmocka_unit_test(test_servers_have_names_of_their_own),
		cmocka_unit_test(test_deletes_are_decided_anew_when_the_quorum_is_back),
		cmocka_unit_test(test_deletes_go_on_when_the_quorum_is_back),
		cmocka_unit_test(test_no_delete_leaves_once_the_catalogue_is_old),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
