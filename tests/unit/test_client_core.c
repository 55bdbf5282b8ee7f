/* The client core alone: discovery, the session, questions, strangers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fake.h"

static void port_give(struct fake *fake, uint64_t control, const struct message *asked,
		      uint16_t port)
{
	fake_reply(fake, control, asked,
		   &(struct port_reply){ .port = port, .proof = fake->proof });
}

static void wanted(struct fake *fake)
{
	struct client_start start = fake_start(fake);

	client_want(fake->client, start.now_ms, start.outbox);
}

static void test_probes_at_once(void **state)
{
	struct fake fake;

	(void)state;
	fake_open(&fake, CLIENT_AUTO);
	wanted(&fake);
	assert_true(fake_action(&fake, CLIENT_SEEK)->flag);
	assert_non_null(fake_action(&fake, CLIENT_PROBE));
	fake_wait(&fake, 1000);
	assert_non_null(fake_action(&fake, CLIENT_PROBE));
	fake_close(&fake);
}

static void test_waits_for_a_second_cluster(void **state)
{
	struct fake fake;
	uint64_t heard_ms;

	(void)state;
	fake_open(&fake, CLIENT_AUTO);
	wanted(&fake);
	fake_beacon(&fake, 1, 1);
	heard_ms = fake.now_ms;
	assert_null(fake_action(&fake, CLIENT_DIAL));
	fake_wait(&fake, 500);
	assert_non_null(fake_action(&fake, CLIENT_DIAL));
	assert_in_range(fake.now_ms - heard_ms, 150, 200);
	fake_close(&fake);
}

static void test_two_clusters(void **state)
{
	const struct client_action *action;
	struct fake fake;

	(void)state;
	fake_open(&fake, CLIENT_AUTO);
	wanted(&fake);
	fake_beacon(&fake, 1, 1);
	fake_beacon(&fake, 2, 2);
	fake_wait(&fake, 500);
	action = fake_action(&fake, CLIENT_CONNECTED);
	assert_non_null(action);
	assert_int_equal(action->error, -ERR_TWO_CLUSTERS);
	fake_close(&fake);
}

static void test_nobody_there(void **state)
{
	const struct client_action *action = NULL;
	struct fake fake;
	uint64_t start_ms;

	(void)state;
	fake_open(&fake, CLIENT_AUTO);
	wanted(&fake);
	start_ms = fake.now_ms;
	for (int i = 0; !action && i < 10; i++) {
		fake_wait(&fake, 10000);
		action = fake_action(&fake, CLIENT_CONNECTED);
	}
	assert_non_null(action);
	assert_int_equal(action->error, -ERR_NO_NAMESERVER);
	assert_in_range(fake.now_ms - start_ms, 4500, 4600);
	assert_true(client_deadline(fake.client) == UINT64_MAX);
	fake_close(&fake);
}

static void test_port_is_leased_again(void **state)
{
	struct client_state session;
	const struct port_request *port;
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	fake_open(&fake, CLIENT_AUTO);
	wanted(&fake);
	control = fake_connect(&fake);
	asked = fake_sent(&fake, MSG_port, NULL);
	port_give(&fake, control, &asked, 3504);
	assert_int_equal(fake_action(&fake, CLIENT_LISTEN)->size, 3504);
	fake_step(&fake,
		  (struct client_event){ .kind = CLIENT_LISTENED, .error = -ERR_ADDRESS_IN_USE });
	asked = fake_sent(&fake, MSG_port, NULL);
	port = asked.body;
	assert_int_equal(port->rejected, 3504);
	port_give(&fake, control, &asked, 3505);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_LISTENED });
	client_state(fake.client, &session);
	assert_int_equal(session.port, 3505);
	fake_close(&fake);
}

static struct client_op *make_directory(struct fake *fake)
{
	struct client_start start = fake_start(fake);
	struct mkdir_request mkdir = { .path = slice_of("/a") };
	int error;

	return client_request(fake->client, &start, MSG_mkdir, &mkdir, &error);
}

static void test_changes_are_sent_again(void **state)
{
	const struct mkdir_request *mkdir;
	const struct client_action *done;
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	wanted(&fake);
	control = fake_connect(&fake);
	make_directory(&fake);
	make_directory(&fake);
	mkdir = fake_sent(&fake, MSG_mkdir, NULL).body;
	assert_int_equal(mkdir->operation, 2);
	assert_int_equal(mkdir->outstanding, 1);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = control });
	control = fake_connect(&fake);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	mkdir = asked.body;
	assert_int_equal(mkdir->operation, 1);
	assert_int_equal(mkdir->outstanding, 1);
	fake_reply(&fake, control, &asked, &(struct mkdir_reply){ 5 });
	done = fake_action(&fake, CLIENT_DONE);
	assert_int_equal(done->error, 0);
	assert_int_equal(((const struct mkdir_reply *)done->reply)->inode, 5);
	make_directory(&fake);
	mkdir = fake_sent(&fake, MSG_mkdir, NULL).body;
	assert_int_equal(mkdir->operation, 3);
	assert_int_equal(mkdir->outstanding, 2);
	fake_close(&fake);
}

static void test_silent_nameserver(void **state)
{
	const struct client_action *done;
	struct fake fake;
	uint64_t start_ms;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	wanted(&fake);
	fake_connect(&fake);
	make_directory(&fake);
	start_ms = fake.now_ms;
	fake_wait(&fake, 10000);
	done = fake_action(&fake, CLIENT_DONE);
	assert_non_null(done);
	assert_int_equal(done->error, -ERR_TIMEOUT);
	assert_in_range(fake.now_ms - start_ms, 4000, 4100);
	fake_close(&fake);
}

static void test_strangers_are_refused(void **state)
{
	struct message answer;
	struct message asked;
	struct fake fake;
	struct id proof;
	uint64_t control;

	(void)state;
	fake_open(&fake, CLIENT_AUTO);
	wanted(&fake);
	control = fake_connect(&fake);
	asked = fake_sent(&fake, MSG_port, NULL);
	port_give(&fake, control, &asked, 3504);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_LISTENED });
	proof = fake.proof;
	fake.proof.bytes[1] ^= 1;
	fake_dialled(&fake, 0, LANE_SMALL);
	answer = fake_sent(&fake, MSG_hello, NULL);
	assert_int_equal(answer.status, ERR_DENIED);
	assert_non_null(fake_action(&fake, CLIENT_CLOSE));
	fake.proof = proof;
	fake_dialled(&fake, 1, LANE_SMALL);
	answer = fake_sent(&fake, MSG_hello, NULL);
	assert_int_equal(answer.status, 0);
	fake_close(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probes_at_once),
		cmocka_unit_test(test_waits_for_a_second_cluster),
		cmocka_unit_test(test_two_clusters),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_port_is_leased_again),
		cmocka_unit_test(test_changes_are_sent_again),
		cmocka_unit_test(test_silent_nameserver),
		cmocka_unit_test(test_strangers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
