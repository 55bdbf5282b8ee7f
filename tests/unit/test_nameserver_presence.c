/* Whether a storage server is still there: broken connections, refused dials, goodbyes; and who may
 * not come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ns_driver.h"

static struct ns_driver d;
static struct ns_peer *client, *storages[4];

static void start(unsigned int servers, const struct nameserver_config *config)
{
	driver_start(&d, config);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
}

static uint8_t state_of(unsigned int number)
{
	const struct id id = id_of(number);
	struct nodes_reply nodes;

	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	for (unsigned int i = 0; i < nodes.nodes_count; i++) {
		if (id_equal(&nodes.nodes[i].node, &id))
			return nodes.nodes[i].state;
	}
	return 0;
}

static void test_two_refusals_are_death(void **state)
{
	struct endpoint seen;

	(void)state;
	start(2, NULL);
	assert_int_equal(d.dials, 0);
	driver_close(storages[1]);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	driver_clock(&d, 0);
	assert_int_equal(d.dials, 1);
	endpoint_parse("10.2.0.1:3503", 0, &seen);
	assert_true(endpoint_equal(&d.dialled, &seen));
	driver_dialled(&d, -ERR_CONNECTION);
	driver_clock(&d, 99);
	assert_int_equal(d.dials, 1);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	driver_clock(&d, 1);
	assert_int_equal(d.dials, 2);
	driver_dialled(&d, -ERR_CONNECTION);
	assert_int_equal(state_of(1), NODE_OFFLINE);
	assert_true(driver_logged(&d, "node_offline node=host1 "));
	assert_true(driver_logged(&d, "cause=refused"));
	driver_clock(&d, 1000);
	assert_int_equal(d.dials, 2);
	driver_stop(&d);
}

static void test_a_timeout_proves_nothing(void **state)
{
	(void)state;
	start(1, NULL);
	driver_close(storages[1]);
	driver_clock(&d, 0);
	driver_dialled(&d, -ERR_CONNECTION);
	driver_clock(&d, 100);
	driver_dialled(&d, -ERR_TIMEOUT);
	driver_clock(&d, 14000);
	assert_int_equal(d.dials, 2);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	driver_clock(&d, 1000);
	assert_int_equal(state_of(1), NODE_OFFLINE);
	assert_true(driver_logged(&d, "cause=silent"));
	driver_stop(&d);
}

/* A process that ends closes one socket after the other. */
static void test_it_may_still_listen_for_a_moment(void **state)
{
	(void)state;
	start(1, NULL);
	driver_close(storages[1]);
	driver_clock(&d, 0);
	driver_dialled(&d, -ERR_CONNECTION);
	driver_clock(&d, 100);
	driver_dialled(&d, 0);
	driver_clock(&d, 100);
	driver_dialled(&d, -ERR_CONNECTION);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	driver_clock(&d, 100);
	driver_dialled(&d, -ERR_CONNECTION);
	assert_int_equal(state_of(1), NODE_OFFLINE);
	assert_int_equal(d.dials, 4);
	driver_stop(&d);
}

static void test_dials_come_to_an_end(void **state)
{
	(void)state;
	start(1, NULL);
	driver_close(storages[1]);
	for (unsigned int i = 0; i < 20; i++) {
		driver_clock(&d, 100);
		driver_dialled(&d, 0);
	}
	assert_int_equal(d.dials, 5);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	driver_stop(&d);
}

/* The answer to a dial of before its return says nothing of now. */
static void test_a_return_ends_it(void **state)
{
	uint64_t old;

	(void)state;
	start(1, NULL);
	driver_close(storages[1]);
	driver_clock(&d, 0);
	driver_dialled(&d, -ERR_CONNECTION);
	driver_clock(&d, 100);
	old = d.dial;
	storages[1] = driver_storage_with(&d, &(struct ns_storage){ .number = 1, .start = 2 });
	driver_dialled(&d, -ERR_CONNECTION);
	assert_int_equal(state_of(1), NODE_ONLINE);
	assert_int_equal(d.dials, 2);
	/* Nor is it one of the two of the next time. */
	driver_close(storages[1]);
	driver_clock(&d, 0);
	assert_int_equal(d.dials, 3);
	assert_int_not_equal(d.dial, old);
	d.dial = old;
	driver_dialled(&d, -ERR_CONNECTION);
	driver_clock(&d, 200);
	assert_int_equal(d.dials, 3);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	driver_stop(&d);
}

static void test_silence_is_not_dialled(void **state)
{
	(void)state;
	start(1, NULL);
	driver_clock(&d, 6000);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	assert_int_equal(d.dials, 0);
	/* Until its connection breaks. */
	driver_close(storages[1]);
	driver_clock(&d, 0);
	assert_int_equal(d.dials, 1);
	driver_stop(&d);
}

static void test_goodbye(void **state)
{
	struct heartbeat_reply beat;

	(void)state;
	start(2, NULL);
	POST(storages[1], goodbye, .nothing = 0);
	assert_int_equal(state_of(1), NODE_OFFLINE);
	assert_true(storages[1]->closed);
	assert_true(driver_logged(&d, "node_stopped node=host1 "));
	assert_false(driver_logged(&d, "node_suspect"));
	driver_clock(&d, 1000);
	assert_int_equal(d.dials, 0);
	storages[1] = driver_storage_with(&d, &(struct ns_storage){ .number = 1, .start = 2 });
	assert_int_equal(state_of(1), NODE_ONLINE);
	/* The next time without a word. */
	driver_close(storages[1]);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	/* A client has nothing to say goodbye to. */
	POST(client, goodbye, .nothing = 0);
	assert_false(client->closed);
	assert_int_equal(ASK(storages[2], heartbeat, &beat, .free = 1), 0);
	driver_stop(&d);
}

/* Of one chunk on two servers one copy is left: how soon does another server fetch it? */
static uint64_t fetched_after_ms(bool says_goodbye)
{
	const struct nameserver_config config = { .copies = 2 };
	struct put_commit_reply committed;
	struct open_reply opened;
	struct ns_peer *gone;
	uint64_t begun_ms;

	start(3, &config);
	d.idle = true;
	assert_int_equal(driver_put(client, "/a", 100, &committed), 0);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/a")), 0);
	gone = driver_peer(&d, &opened.nodes[opened.chunks[0].holders[0].node].node);
	begun_ms = d.now_ms;
	if (says_goodbye) {
		POST(gone, goodbye, .nothing = 0);
	} else {
		driver_close(gone);
		driver_clock(&d, 0);
		driver_dialled(&d, -ERR_CONNECTION);
		driver_clock(&d, 100);
		driver_dialled(&d, -ERR_CONNECTION);
	}
	while (d.now_ms < begun_ms + 60000) {
		driver_beat(&d, 1000);
		for (unsigned int i = 1; i <= 3; i++) {
			if (driver_orders(storages[i], MSG_fetch))
				begun_ms = d.now_ms - begun_ms;
			else
				continue;
			driver_stop(&d);
			return begun_ms;
		}
	}
	driver_stop(&d);
	return UINT64_MAX;
}

static void test_a_goodbye_has_the_whole_delay(void **state)
{
	uint64_t dead_ms = fetched_after_ms(false), stopped_ms = fetched_after_ms(true);

	(void)state;
	assert_in_range(dead_ms, 0, 3000);
	assert_in_range(stopped_ms, REPAIR_DELAY_MS, REPAIR_DELAY_MS + 3000);
}

static struct ns_peer *stranger(unsigned int number, const char *address)
{
	struct ns_peer *peer = driver_connect(&d, address, "10.0.0.1");
	struct hello_reply hello;

	peer->id = id_of(number);
	assert_int_equal(ASK(peer, hello, &hello, .versions = 1 << 16 | 1, .role = ROLE_STORAGE,
			     .self = peer->id),
			 0);
	return peer;
}

/* The same papers, and their owner lives: a copy of its disk. */
static void test_a_cloned_disk_is_refused(void **state)
{
	struct register_reply reply;
	struct ns_peer *clone;

	(void)state;
	start(1, NULL);
	clone = stranger(1, "10.2.0.9");
	for (uint64_t start = 1; start <= 2; start++) {
		const struct ns_storage papers = { .number = 1, .start = start };

		assert_int_equal(driver_register(clone, &papers, &reply), -ERR_DUPLICATE_NODE);
	}
	assert_false(storages[1]->closed);
	assert_true(driver_logged(&d, "node_refused node=host1 "));
	assert_true(driver_logged(&d, "error=DUPLICATE_NODE"));
	/* Owners whose machine went away without a word are silent soon. */
	driver_clock(&d, 3999);
	assert_int_equal(driver_register(clone, &(struct ns_storage){ .number = 1, .start = 2 },
					 &reply),
			 -ERR_DUPLICATE_NODE);
	driver_clock(&d, 1);
	assert_int_equal(
		driver_register(clone, &(struct ns_storage){ .number = 1, .start = 2 }, &reply), 0);
	assert_true(storages[1]->closed);
	assert_int_equal(state_of(1), NODE_ONLINE);
	driver_clock(&d, 0);
	assert_int_equal(d.dials, 0);
	driver_stop(&d);
}

static void test_a_rolled_back_disk_is_refused(void **state)
{
	struct register_reply reply;

	(void)state;
	start(0, NULL);
	storages[1] = driver_storage_with(&d, &(struct ns_storage){ .number = 1, .start = 5 });
	driver_close(storages[1]);
	assert_int_equal(driver_register(stranger(1, "10.2.0.1"),
					 &(struct ns_storage){ .number = 1, .start = 4 }, &reply),
			 -ERR_OLD_DISK);
	assert_true(driver_logged(&d, "error=OLD_DISK"));
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_refusals_are_death),
		cmocka_unit_test(test_a_timeout_proves_nothing),
		cmocka_unit_test(test_it_may_still_listen_for_a_moment),
		cmocka_unit_test(test_dials_come_to_an_end),
		cmocka_unit_test(test_a_return_ends_it),
		cmocka_unit_test(test_silence_is_not_dialled),
		cmocka_unit_test(test_goodbye),
		cmocka_unit_test(test_a_goodbye_has_the_whole_delay),
		cmocka_unit_test(test_a_cloned_disk_is_refused),
		cmocka_unit_test(test_a_rolled_back_disk_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
