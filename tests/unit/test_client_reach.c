/* The client core alone: which ways to a storage server work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fake.h"

enum { PORT = 3504 };

struct trial {
	struct fake fake;
	uint64_t control;
	uint64_t dialled; /* connection, to the server's only address */
	struct message dial;
};

static void session_open(struct trial *trial, enum client_transfer transfer)
{
	struct fake *fake = &trial->fake;
	struct client_start start;
	struct message asked;

	fake_open(fake, transfer);
	start = fake_start(fake);
	client_want(fake->client, start.now_ms, start.outbox);
	trial->control = fake_connect(fake);
	if (transfer == CLIENT_PASSIVE)
		return;
	asked = fake_sent(fake, MSG_port, NULL);
	fake_reply(fake, trial->control, &asked,
		   &(struct port_reply){ .port = PORT, .proof = fake->proof });
	fake_step(fake, (struct client_event){ .kind = CLIENT_LISTENED });
}

/* Up to where both ways are being tried. `known`: the name server has the server. */
static void reach_begin(struct trial *trial, bool known)
{
	struct node_address address = fake_address(&trial->fake, 1);
	struct node_info node = {
		.node = address.node,
		.state = 1,
		.endpoints = address.endpoints,
		.endpoints_count = address.endpoints_count,
	};
	struct client_start start = fake_start(&trial->fake);
	const struct nodes_request *nodes;
	struct message asked;
	int error = 0;

	assert_non_null(client_reach(trial->fake.client, &start, &address.node, &error));
	asked = fake_sent(&trial->fake, MSG_nodes, NULL);
	nodes = asked.body;
	assert_true(memcmp(nodes->after.bytes, address.node.bytes, ID_SIZE) < 0);
	fake_reply(&trial->fake, trial->control, &asked,
		   &(struct nodes_reply){ .nodes = &node, .nodes_count = known });
	if (!known)
		return;
	trial->dialled = fake_action(&trial->fake, CLIENT_DIAL)->connection;
	if (trial->fake.client && fake_was_sent(&trial->fake, MSG_dial))
		trial->dial = fake_sent(&trial->fake, MSG_dial, NULL);
}

static void we_get_through(struct trial *trial, unsigned int as)
{
	struct hello_reply hello = {
		.version = PROTOCOL_VERSION,
		.role = ROLE_STORAGE,
		.self = trial->fake.servers[as],
	};
	const struct hello_request *asked;
	struct message message;

	fake_step(&trial->fake,
		  (struct client_event){ .kind = CLIENT_OPENED, .connection = trial->dialled });
	message = fake_sent(&trial->fake, MSG_hello, NULL);
	asked = message.body;
	assert_true(id_equal(&asked->expected, &trial->fake.servers[1]));
	fake_reply(&trial->fake, trial->dialled, &message, &hello);
}

static const struct client_reached *ended(struct trial *trial, int error)
{
	const struct client_action *done = fake_action(&trial->fake, CLIENT_DONE);

	assert_non_null(done);
	assert_int_equal(done->error, error);
	return done->reply;
}

static void test_both_ways(void **state)
{
	const struct client_reached *reached;
	struct trial trial = { 0 };

	(void)state;
	session_open(&trial, CLIENT_AUTO);
	reach_begin(&trial, true);
	we_get_through(&trial, 1);
	assert_int_equal(fake_action(&trial.fake, CLIENT_CLOSE)->connection, trial.dialled);
	assert_null(fake_action(&trial.fake, CLIENT_DONE));
	fake_dialled(&trial.fake, 1, LANE_SMALL);
	reached = ended(&trial, 0);
	assert_int_equal(reached->active, 0);
	assert_int_equal(reached->passive, 0);
	assert_int_equal(reached->port, PORT);
	assert_int_equal(reached->endpoint.port, 3503);
	fake_close(&trial.fake);
}

/* What is there already proves nothing; what comes from another server neither. */
static void test_connections_that_exist_do_not_count(void **state)
{
	const struct client_reached *reached;
	struct trial trial = { 0 };

	(void)state;
	session_open(&trial, CLIENT_AUTO);
	fake_dialled(&trial.fake, 1, LANE_SMALL);
	reach_begin(&trial, true);
	we_get_through(&trial, 1);
	fake_dialled(&trial.fake, 2, LANE_SMALL);
	assert_null(fake_action(&trial.fake, CLIENT_DONE));
	fake_wait(&trial.fake, 10000);
	reached = ended(&trial, 0);
	assert_int_equal(reached->active, -ERR_TIMEOUT);
	assert_int_equal(reached->passive, 0);
	fake_close(&trial.fake);
}

static void test_firewall_on_both_sides(void **state)
{
	const struct client_reached *reached;
	struct trial trial = { 0 };
	uint64_t start_ms;

	(void)state;
	session_open(&trial, CLIENT_AUTO);
	reach_begin(&trial, true);
	start_ms = trial.fake.now_ms;
	fake_wait(&trial.fake, 10000);
	assert_in_range(trial.fake.now_ms - start_ms, 3000, 3100);
	assert_int_equal(fake_action(&trial.fake, CLIENT_CLOSE)->connection, trial.dialled);
	reached = ended(&trial, 0);
	assert_int_equal(reached->active, -ERR_TIMEOUT);
	assert_int_equal(reached->passive, -ERR_TIMEOUT);
	fake_close(&trial.fake);
}

static void test_refused(void **state)
{
	const struct client_reached *reached;
	struct trial trial = { 0 };

	(void)state;
	session_open(&trial, CLIENT_AUTO);
	reach_begin(&trial, true);
	fake_refuse(&trial.fake, trial.control, &trial.dial, -ERR_UNAVAILABLE);
	fake_step(&trial.fake, (struct client_event){ .kind = CLIENT_CLOSED,
						      .connection = trial.dialled,
						      .error = -ERR_CONNECTION });
	reached = ended(&trial, 0);
	assert_int_equal(reached->active, -ERR_UNAVAILABLE);
	assert_int_equal(reached->passive, -ERR_CONNECTION);
	fake_close(&trial.fake);
}

static void test_no_port_and_somebody_else(void **state)
{
	const struct client_reached *reached;
	struct trial trial = { 0 };

	(void)state;
	session_open(&trial, CLIENT_PASSIVE);
	reach_begin(&trial, true);
	assert_false(fake_was_sent(&trial.fake, MSG_dial));
	we_get_through(&trial, 2);
	reached = ended(&trial, 0);
	assert_int_equal(reached->active, -ERR_NO_PORT);
	assert_int_equal(reached->passive, -ERR_WRONG_NODE);
	assert_int_equal(reached->port, 0);
	fake_close(&trial.fake);
}

static void test_unknown_server(void **state)
{
	struct trial trial = { 0 };

	(void)state;
	session_open(&trial, CLIENT_AUTO);
	reach_begin(&trial, false);
	ended(&trial, -ERR_NOT_FOUND);
	fake_close(&trial.fake);
}

static void test_cancelled(void **state)
{
	struct trial trial = { 0 };
	struct client_start start;
	struct client_op *op;
	struct message asked;
	struct node_address address;
	struct node_info node;
	int error = 0;

	(void)state;
	session_open(&trial, CLIENT_AUTO);
	address = fake_address(&trial.fake, 0);
	node = (struct node_info){ .node = address.node,
				   .state = 1,
				   .endpoints = address.endpoints,
				   .endpoints_count = 1 };
	start = fake_start(&trial.fake);
	op = client_reach(trial.fake.client, &start, &address.node, &error);
	asked = fake_sent(&trial.fake, MSG_nodes, NULL);
	fake_reply(&trial.fake, trial.control, &asked,
		   &(struct nodes_reply){ .nodes = &node, .nodes_count = 1 });
	trial.dialled = fake_action(&trial.fake, CLIENT_DIAL)->connection;
	fake_start(&trial.fake);
	client_cancel(trial.fake.client, op, trial.fake.now_ms, &trial.fake.outbox);
	assert_int_equal(fake_action(&trial.fake, CLIENT_CLOSE)->connection, trial.dialled);
	fake_dialled(&trial.fake, 0, LANE_SMALL);
	assert_null(fake_action(&trial.fake, CLIENT_DONE));
	fake_close(&trial.fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_connections_that_exist_do_not_count),
		cmocka_unit_test(test_firewall_on_both_sides),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_port_and_somebody_else),
		cmocka_unit_test(test_unknown_server),
		cmocka_unit_test(test_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
