/* When a change counts: the journal set, who is in it, and what happens without enough of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "quorum_rig.h"

/* ---- the set ---- */

static void test_the_set_grows_to_three(void **state)
{
	(void)state;
	start(0);
	assert_int_equal(status().journal_set, 0);
	assert_serves();
	for (unsigned int i = 1; i <= SERVERS; i++) {
		unsigned int count = i < JOURNAL_SET_MAX ? i : JOURNAL_SET_MAX;

		server_comes(i);
		driver_beat(&d, SOON_MS);
		assert_int_equal(set_row().now.count, count);
		assert_false(set_row().changing);
		assert_int_equal(status().journal_set, count);
		assert_int_equal(status().journal_needed, journal_needs(JOURNAL_COMMIT, count));
		assert_int_equal(status().journal_up, count);
		assert_serves();
	}
	assert_false(driver_logged(&d, "quorum_lost"));
	driver_stop(&d);
}

static void test_different_machines_are_preferred(void **state)
{
	(void)state;
	start(3);
	driver_storage_with(&d, &(struct ns_storage){ .number = 4, .machine = 0x2001 });
	driver_storage_with(&d, &(struct ns_storage){ .number = 5 });
	driver_beat(&d, SOON_MS);
	drain(2, true);
	driver_beat(&d, SOON_MS);
	assert_true(is_in_set(5));
	driver_stop(&d);
}

static void test_it_waits_for_the_only_one(void **state)
{
	uint32_t id;

	(void)state;
	start(1);
	silence(servers[1]);
	id = mkdir_post("/a");
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	assert_true(nameserver_info(d.ns).committed < nameserver_info(d.ns).durable);
	acknowledge(servers[1]);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	driver_stop(&d);
}

static void test_either_of_two_is_enough(void **state)
{
	uint32_t id;

	(void)state;
	start(2);
	silence(servers[1]);
	assert_int_equal(mkdir_("/a"), 0);
	acknowledge(servers[1]);
	silence(servers[2]);
	assert_int_equal(mkdir_("/b"), 0);
	silence(servers[1]);
	id = mkdir_post("/c");
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	acknowledge(servers[2]);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	driver_stop(&d);
}

static void test_two_of_three_must_have_it(void **state)
{
	uint32_t id;

	(void)state;
	start(3);
	silence(servers[3]);
	assert_int_equal(mkdir_("/a"), 0);
	silence(servers[1]);
	id = mkdir_post("/b");
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	acknowledge(servers[3]);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	driver_stop(&d);
}

/* The own disk counts, too; and the others do not wait for it. */
static void test_the_own_disk_is_needed(void **state)
{
	uint32_t id;

	(void)state;
	start(1);
	d.hold_durable = true;
	id = mkdir_post("/a");
	assert_int_equal(servers[1]->sequence, d.sealed);
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	d.hold_durable = false;
	driver_durable(&d);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	driver_stop(&d);
}

/* As long as it changes both sets are asked. */
static void test_a_change_needs_both_sets(void **state)
{
	(void)state;
	start(1);
	silence(servers[1]);
	server_comes(2);
	assert_int_equal(set_row().now.count, 2);
	driver_heartbeat(servers[2]);
	assert_true(set_row().changing);
	assert_true(servers[2]->sequence == d.sealed);
	assert_true(nameserver_info(d.ns).committed < d.sealed);
	acknowledge(servers[1]);
	driver_beat(&d, SOON_MS);
	assert_int_equal(set_row().now.count, 2);
	assert_false(set_row().changing);
	assert_serves();
	driver_stop(&d);
}

static void test_who_stays_away_is_replaced(void **state)
{
	(void)state;
	start(SERVERS);
	assert_false(is_in_set(4));
	driver_close(servers[2]);
	driver_beat(&d, PATIENCE_MS);
	assert_true(is_in_set(2)); /* offline for less than that */
	driver_beat(&d, 2 * PATIENCE_MS);
	assert_false(is_in_set(2));
	assert_true(is_in_set(4));
	assert_false(set_row().changing);
	assert_serves();
	server_comes(2);
	driver_beat(&d, SOON_MS);
	assert_false(is_in_set(2));
	driver_stop(&d);
}

/* It is online, but its disk is full: the next one that goes must not end everything. */
static void test_who_acknowledges_nothing_is_replaced(void **state)
{
	(void)state;
	start(SERVERS);
	silence(servers[2]);
	for (uint64_t ms = 0; ms < PATIENCE_MS; ms += SOON_MS) {
		assert_true(is_in_set(2));
		assert_serves();
		driver_beat(&d, SOON_MS);
	}
	driver_beat(&d, 6 * SOON_MS);
	assert_false(is_in_set(2));
	assert_true(is_in_set(4));
	assert_false(set_row().changing);
	driver_close(servers[1]);
	driver_beat(&d, PATIENCE_MS / 2);
	assert_serves();
	driver_stop(&d);
}

static void test_who_is_to_be_emptied_is_replaced(void **state)
{
	(void)state;
	start(SERVERS);
	drain(1, true);
	driver_beat(&d, SOON_MS);
	assert_false(is_in_set(1));
	servers[3]->flags = HEARTBEAT_DISK_FAILED;
	driver_beat(&d, 2 * SOON_MS);
	assert_true(is_in_set(3)); /* there is no other */
	servers[1]->flags = 0;
	drain(1, false);
	driver_beat(&d, SOON_MS);
	assert_false(is_in_set(3));
	assert_true(is_in_set(1));
	driver_stop(&d);
}

/* Who does not acknowledge does not get in. */
static void test_only_level_copies_count(void **state)
{
	(void)state;
	start(0);
	d.follow = false;
	server_comes(1);
	driver_beat(&d, 2 * SOON_MS);
	assert_int_equal(set_row().now.count, 0);
	assert_serves();
	driver_stop(&d);
}

/* ---- without ---- */

/* They may be back at once: so long nothing is refused, and nothing is done. */
static void test_a_moment_without(void **state)
{
	bool degraded = true;
	uint64_t sealed;
	uint32_t id;

	(void)state;
	start(1);
	driver_close(servers[1]);
	sealed = d.sealed;
	id = mkdir_post("/a");
	assert_int_equal(stat_root(&degraded), 0);
	assert_false(degraded);
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	assert_int_equal(d.sealed, sealed);
	server_comes(1);
	driver_clock(&d, 1);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	driver_close(servers[1]);
	id = mkdir_post("/b");
	driver_clock(&d, SOON_MS + 1);
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_NO_QUORUM);
	assert_read_only();
	assert_true(driver_logged(&d, "quorum_lost missing=\"host1\" set=1 needed=1 up=0"));
	assert_false(driver_logged(&d, "quorum_back"));
	server_comes(1);
	driver_beat(&d, SOON_MS);
	assert_serves();
	assert_true(driver_logged(&d, "quorum_back set=1 up=1"));
	driver_stop(&d);
}

static void test_one_of_three_is_not_enough(void **state)
{
	(void)state;
	start(3);
	driver_close(servers[1]);
	assert_serves();
	driver_close(servers[3]);
	driver_beat(&d, SOON_MS);
	assert_read_only();
	server_comes(1);
	assert_serves();
	driver_stop(&d);
}

/* It is connected, but has not told for too long that it hears us. */
static void test_the_lease_runs_out(void **state)
{
	uint32_t id;

	(void)state;
	start(1);
	driver_clock(&d, LEASE_OF_SERVER_MS - HEARTBEAT_MS + 1);
	id = POST(client, stat, .path = slice_of("/"));
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	driver_clock(&d, SOON_MS);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	assert_read_only();
	driver_heartbeat(servers[1]); /* what it heard last is long ago */
	assert_read_only();
	driver_heartbeat(servers[1]);
	assert_serves();
	driver_stop(&d);
}

/* What was begun waits for as long as it takes; what is only asked does not. */
static void test_nobody_acknowledges(void **state)
{
	bool degraded = false;
	uint32_t change, question;

	(void)state;
	start(1);
	silence(servers[1]);
	change = mkdir_post("/a");
	question = POST(client, stat, .path = slice_of("/a"));
	driver_beat(&d, 2 * SOON_MS);
	assert_int_equal(driver_answer(client, question, NULL, 0), 0);
	assert_int_equal(driver_answer(client, change, NULL, 0), -ERR_TIMEOUT);
	assert_read_only();
	assert_int_equal(status().journal_up, 0);
	/* Asked again in the same words: that is no change. */
	question = POST(client, mkdir, .operation = client->operation - 1,
			.outstanding = client->operation - 1, .path = slice_of("/a"));
	assert_int_equal(driver_answer(client, question, NULL, 0), -ERR_TIMEOUT);
	acknowledge(servers[1]);
	assert_int_equal(driver_answer(client, change, NULL, 0), 0);
	assert_int_equal(driver_answer(client, question, NULL, 0), 0);
	assert_int_equal(stat_root(&degraded), 0);
	assert_false(degraded);
	assert_serves();
	driver_stop(&d);
}

/* The own disk is slow: that is not the others' fault. */
static void test_a_slow_disk_is_no_lost_quorum(void **state)
{
	(void)state;
	start(1);
	d.hold_durable = true;
	mkdir_post("/a");
	driver_beat(&d, 4 * SOON_MS);
	assert_false(driver_logged(&d, "quorum_lost"));
	d.hold_durable = false;
	driver_durable(&d);
	assert_serves();
	driver_stop(&d);
}

/* A core that begins does not serve before its first batch counts. */
static void test_the_first_batch(void **state)
{
	uint32_t id;

	(void)state;
	start(1);
	driver_restart(&d);
	assert_false(nameserver_info(d.ns).serving);
	client = greet(ROLE_CLIENT, 0x77, 0);
	id = client->next_id;
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	server_comes(1);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	assert_true(nameserver_info(d.ns).serving);
	client->operation = 100;
	assert_serves();
	driver_stop(&d);
}

/* Whoever has a batch of an epoch, the own disk has one, too: so a name server that dies among its
 * first ones does not begin in that epoch again, with others of the same numbers. */
static void test_no_batch_of_an_epoch_goes_ahead(void **state)
{
	const struct ns_received *last;
	struct ns_peer *peer;

	(void)state;
	start(1);
	d.hold_durable = true;
	driver_restart(&d);
	peer = greet(ROLE_STORAGE, 1, 0);
	POST(peer, register, .capacity = 1, .start = 9, .disk = id_of(0x8001));
	driver_clock(&d, SOON_MS);
	assert_true(nameserver_info(d.ns).sequence > nameserver_info(d.ns).durable);
	assert_int_equal(peer->count, 0);
	d.hold_durable = false;
	driver_durable(&d);
	assert_true(peer->count > 2);
	last = &peer->received[1];
	assert_true(last->message.reply && last->message.info->code == MSG_register);
	assert_int_equal(last->message.status, 0);
	driver_stop(&d);
}

/* ---- others ---- */

static void test_a_later_promise_deposes(void **state)
{
	struct register_reply reply;
	struct ns_peer *peer;

	(void)state;
	start(1);
	peer = greet(ROLE_STORAGE, 1, 0);
	assert_int_equal(ASK(peer, register, &reply, .capacity = 1, .start = 1,
			     .disk = id_of(0x8001),
			     .promised_epoch = nameserver_info(d.ns).epoch + 1),
			 -ERR_TIMEOUT);
	assert_true(d.deposed);
	assert_int_equal(mkdir_("/a"), -ERR_TIMEOUT);
	driver_stop(&d);
}

static void test_a_later_epoch_deposes(void **state)
{
	const uint64_t later = 99;

	(void)state;
	start(1);
	/* Strangers and clients do not. */
	assert_true(greet(ROLE_STORAGE, 7, later)->closed);
	assert_true(greet(ROLE_CLIENT, 1, later)->closed);
	assert_false(d.deposed);
	/* Nor does a new server that looks for another cluster. */
	POST(driver_connect(&d, "10.2.0.9", "10.0.0.1"), hello,
	     .versions = 1 << 16 | PROTOCOL_VERSION, .role = ROLE_STORAGE,
	     .cluster_name = slice_of("elsewhere"), .self = id_of(8), .epoch = later);
	assert_false(d.deposed);
	greet(ROLE_STORAGE, 1, later);
	assert_true(d.deposed);
	driver_stop(&d);
}

/* Perhaps it follows another name server: when it registers it has to say. */
static void test_a_stale_batch_closes(void **state)
{
	(void)state;
	start(1);
	silence(servers[1]);
	mkdir_post("/a");
	driver_refuse(servers[1], driver_next(servers[1], MSG_batch), -ERR_STALE);
	assert_true(servers[1]->closed);
	assert_false(d.deposed);
	driver_clock(&d, SOON_MS);
	assert_read_only();
	server_comes(1);
	assert_serves();
	driver_stop(&d);
}

static void test_the_promised_epoch_is_taken(void **state)
{
	struct nameserver *ns;

	(void)state;
	start(0);
	d.config.epoch = 17;
	driver_restart(&d);
	assert_int_equal(nameserver_info(d.ns).epoch, 17);
	assert_int_equal(nameserver_new(&d.config, d.kv, d.now_ms, &ns), -ERR_STALE);
	driver_stop(&d);
}

static void test_who_was_greeted_by_another(void **state)
{
	struct hello_request hello = { .versions = 1 << 16 | PROTOCOL_VERSION,
				       .role = ROLE_CLIENT,
				       .self = id_of(0x55) };
	struct ns_peer *peer;

	(void)state;
	start(0);
	peer = driver_greeted(&d, &hello);
	assert_int_equal(peer->count, 0);
	assert_int_equal(ASK(peer, stat, NULL, .path = slice_of("/")), 0);
	hello.versions = 0;
	peer = driver_greeted(&d, &hello);
	assert_true(peer->closed);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_set_grows_to_three),
		cmocka_unit_test(test_different_machines_are_preferred),
		cmocka_unit_test(test_it_waits_for_the_only_one),
		cmocka_unit_test(test_either_of_two_is_enough),
		cmocka_unit_test(test_two_of_three_must_have_it),
		cmocka_unit_test(test_the_own_disk_is_needed),
		cmocka_unit_test(test_a_change_needs_both_sets),
		cmocka_unit_test(test_who_stays_away_is_replaced),
		cmocka_unit_test(test_who_acknowledges_nothing_is_replaced),
		cmocka_unit_test(test_who_is_to_be_emptied_is_replaced),
		cmocka_unit_test(test_only_level_copies_count),
		cmocka_unit_test(test_a_moment_without),
		cmocka_unit_test(test_one_of_three_is_not_enough),
		cmocka_unit_test(test_the_lease_runs_out),
		cmocka_unit_test(test_nobody_acknowledges),
		cmocka_unit_test(test_a_slow_disk_is_no_lost_quorum),
		cmocka_unit_test(test_the_first_batch),
		cmocka_unit_test(test_no_batch_of_an_epoch_goes_ahead),
		cmocka_unit_test(test_a_later_promise_deposes),
		cmocka_unit_test(test_a_later_epoch_deposes),
		cmocka_unit_test(test_a_stale_batch_closes),
		cmocka_unit_test(test_the_promised_epoch_is_taken),
		cmocka_unit_test(test_who_was_greeted_by_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
