/* The client core alone: changes whose answer was lost, and name servers that cannot say yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_stand_in.h"

enum { PATIENCE_MS = 4500 };

static uint64_t open_session(struct fake *fake, enum client_transfer transfer)
{
	fake_open(fake, transfer);
	session_want(fake);
	return fake_connect(fake);
}

static void ask_mkdir(struct fake *fake)
{
	struct client_start start = fake_start(fake);
	struct mkdir_request mkdir = { .path = slice_of("/d") };
	int error;

	assert_non_null(client_request(fake->client, &start, MSG_mkdir, &mkdir, &error));
}

static uint64_t operation_of(const struct message *message)
{
	return ((const struct mkdir_request *)message->body)->operation;
}

/* The connection breaks, and the same name server is there again. */
static uint64_t reconnect(struct fake *fake, uint64_t control)
{
	fake_step(fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = control });
	control = wait_for(fake, CLIENT_DIAL)->connection;
	hello_answer(fake, control, ROLE_NAMESERVER, (struct id){ { 'n', 1 } });
	return control;
}

/* A change is sent, the connection breaks, and it is sent again. */
static uint64_t open_in_doubt(struct fake *fake, struct message *ret)
{
	uint64_t control = open_session(fake, CLIENT_PASSIVE);

	ask_mkdir(fake);
	fake_sent(fake, MSG_mkdir, NULL);
	control = reconnect(fake, control);
	*ret = fake_sent(fake, MSG_mkdir, NULL);
	assert_int_equal(operation_of(ret), 1);
	return control;
}

static struct message asked_again(struct fake *fake, unsigned int code, uint64_t most_ms)
{
	uint64_t end_ms = fake->now_ms + most_ms + CLIENT_TICK_MS;

	while (!fake_was_sent(fake, code) && fake->now_ms < end_ms)
		fake_wait(fake, CLIENT_TICK_MS);
	return fake_sent(fake, code, NULL);
}

static void status_answer(struct fake *fake, uint64_t connection, uint8_t state)
{
	struct message asked = asked_again(fake, MSG_status, 1000);
	struct status_reply status = { .state = state,
				       .cluster_name = slice_of("test"),
				       .nameserver = endpoint_ipv4(0x0a000001u, 6235) };

	fake_reply(fake, connection, &asked, &status);
}

static void expect_done(struct fake *fake, int error, bool in_doubt)
{
	const struct client_action *done = fake_action(fake, CLIENT_DONE);

	assert_non_null(done);
	assert_int_equal(done->error, error);
	assert_int_equal(client_op_in_doubt(done->op), in_doubt);
}

/* ---- without quorum ---- */

static void test_a_first_refusal_is_told_at_once(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control = open_session(&fake, CLIENT_PASSIVE);

	(void)state;
	ask_mkdir(&fake);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	fake_refuse(&fake, control, &asked, -ERR_NO_QUORUM);
	expect_done(&fake, -ERR_NO_QUORUM, false);
	fake_close(&fake);
}

static void test_a_repetition_is_not_refused(void **state)
{
	const uint64_t waits_ms[] = { 200, 400, 800, 1600 };
	struct message asked;
	struct fake fake;
	uint64_t control = open_in_doubt(&fake, &asked);

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		fake_refuse(&fake, control, &asked, -ERR_NO_QUORUM);
		assert_null(fake_action(&fake, CLIENT_DONE));
		fake_wait(&fake, waits_ms[i] - CLIENT_TICK_MS);
		assert_false(fake_was_sent(&fake, MSG_mkdir));
		asked = asked_again(&fake, MSG_mkdir, 2 * CLIENT_TICK_MS);
		assert_int_equal(operation_of(&asked), 1);
	}
	fake_reply(&fake, control, &asked, &(struct mkdir_reply){ 0 });
	expect_done(&fake, 0, false);
	fake_close(&fake);
}

static void test_a_repetition_is_not_asked_for_ever(void **state)
{
	const struct client_action *done = NULL;
	struct message asked;
	struct fake fake;
	uint64_t control = open_in_doubt(&fake, &asked);
	uint64_t began_ms = fake.now_ms;

	(void)state;
	while (!done && fake.now_ms - began_ms < 2 * PATIENCE_MS) {
		fake_refuse(&fake, control, &asked, -ERR_NO_QUORUM);
		while (!done && !fake_was_sent(&fake, MSG_mkdir)) {
			fake_wait(&fake, CLIENT_TICK_MS);
			done = fake_action(&fake, CLIENT_DONE);
		}
		if (!done)
			asked = fake_sent(&fake, MSG_mkdir, NULL);
	}
	assert_non_null(done);
	assert_int_equal(done->error, -ERR_TIMEOUT);
	assert_true(client_op_in_doubt(done->op));
	assert_in_range(fake.now_ms - began_ms, PATIENCE_MS * 8 / 9, PATIENCE_MS);
	fake_close(&fake);
}

static void test_a_commit_is_repeated_like_any_change(void **state)
{
	struct client_put put = { .path = slice_of("/f"), .rewindable = true };
	struct put_begin_reply begun = { .put = 9, .chunk_size = CHUNK_SIZE_DEFAULT };
	struct client_start start;
	struct message asked;
	struct fake fake;
	uint64_t control = open_session(&fake, CLIENT_PASSIVE);
	int error;

	(void)state;
	start = fake_start(&fake);
	assert_non_null(client_put(fake.client, &start, &put, &error));
	asked = fake_sent(&fake, MSG_put_begin, NULL);
	fake_reply(&fake, control, &asked, &begun);
	fake_sent(&fake, MSG_put_commit, NULL);
	control = reconnect(&fake, control);
	asked = fake_sent(&fake, MSG_put_commit, NULL);
	fake_refuse(&fake, control, &asked, -ERR_NO_QUORUM);
	assert_null(fake_action(&fake, CLIENT_DONE));
	asked = asked_again(&fake, MSG_put_commit, 200);
	fake_reply(&fake, control, &asked, &(struct put_commit_reply){ .version = 1 });
	expect_done(&fake, 0, false);
	fake_close(&fake);
}

/* ---- without an answer ---- */

static void test_a_change_without_an_answer_is_in_doubt(void **state)
{
	struct fake fake;
	uint64_t control = open_session(&fake, CLIENT_PASSIVE);

	(void)state;
	ask_mkdir(&fake);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = control });
	wait_for(&fake, CLIENT_DONE);
	fake.seen = 0;
	expect_done(&fake, -ERR_TIMEOUT, true);
	fake_close(&fake);

	open_session(&fake, CLIENT_PASSIVE);
	ask_mkdir(&fake);
	wait_for(&fake, CLIENT_DONE);
	fake.seen = 0;
	expect_done(&fake, -ERR_TIMEOUT, true);
	fake_close(&fake);
}

static void test_what_was_never_sent_is_not_in_doubt(void **state)
{
	struct fake fake;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	ask_mkdir(&fake);
	wait_for(&fake, CLIENT_DONE);
	fake.seen = 0;
	expect_done(&fake, -ERR_NO_NAMESERVER, false);
	fake_close(&fake);
}

/* ---- a name server that takes over ---- */

static void test_who_takes_over_is_waited_for(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control = open_in_doubt(&fake, &asked);

	(void)state;
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	assert_null(fake_action(&fake, CLIENT_DONE));
	assert_false(state_of(&fake).connected);
	control = wait_for(&fake, CLIENT_DIAL)->connection;
	hello_answer(&fake, control, ROLE_NAMESERVER, (struct id){ { 'n', 1 } });
	status_answer(&fake, control, SERVICE_TAKEOVER);
	assert_false(fake_was_sent(&fake, MSG_mkdir));
	status_answer(&fake, control, SERVICE_FULL);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	assert_int_equal(operation_of(&asked), 1);
	fake_reply(&fake, control, &asked, &(struct mkdir_reply){ 0 });
	expect_done(&fake, 0, false);
	fake_close(&fake);
}

/* It says itself that it has done nothing. */
static void test_a_first_answer_of_who_takes_over_is_no_doubt(void **state)
{
	const struct client_action *done = NULL;
	struct message asked;
	struct fake fake;
	uint64_t control = open_session(&fake, CLIENT_PASSIVE);

	(void)state;
	ask_mkdir(&fake);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	control = wait_for(&fake, CLIENT_DIAL)->connection;
	hello_answer(&fake, control, ROLE_NAMESERVER, (struct id){ { 'n', 1 } });
	while (!done) {
		if (fake_was_sent(&fake, MSG_status))
			status_answer(&fake, control, SERVICE_TAKEOVER);
		fake_wait(&fake, CLIENT_TICK_MS);
		done = fake_action(&fake, CLIENT_DONE);
	}
	assert_int_equal(done->error, -ERR_UNAVAILABLE);
	assert_false(client_op_in_doubt(done->op));
	fake_close(&fake);
}

/* Such as one for a commit with too few copies. */
static void test_a_refusal_of_who_serves_is_one(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control = open_session(&fake, CLIENT_PASSIVE);

	(void)state;
	ask_mkdir(&fake);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	fake_reply(&fake, control, &asked, &(struct mkdir_reply){ 0 });
	ask_mkdir(&fake);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	expect_done(&fake, -ERR_UNAVAILABLE, false);
	fake_close(&fake);
}

static void test_a_port_is_asked_for_again(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control = open_session(&fake, CLIENT_AUTO);

	(void)state;
	asked = fake_sent(&fake, MSG_port, NULL);
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	session_want(&fake);
	control = wait_for(&fake, CLIENT_DIAL)->connection;
	hello_answer(&fake, control, ROLE_NAMESERVER, (struct id){ { 'n', 1 } });
	status_answer(&fake, control, SERVICE_FULL);
	asked = fake_sent(&fake, MSG_port, NULL);
	fake_reply(&fake, control, &asked,
		   &(struct port_reply){ .port = 3504, .proof = fake.proof });
	assert_int_equal(fake_action(&fake, CLIENT_LISTEN)->size, 3504);
	fake_close(&fake);
}

/* Or else it would be in doubt for nothing. */
static void test_answers_to_changes_are_waited_for(void **state)
{
	struct message port, asked;
	struct fake fake;
	uint64_t control = open_session(&fake, CLIENT_AUTO);

	(void)state;
	port = fake_sent(&fake, MSG_port, NULL);
	ask_mkdir(&fake);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	fake_refuse(&fake, control, &port, -ERR_UNAVAILABLE);
	assert_true(state_of(&fake).connected);
	fake_reply(&fake, control, &asked, &(struct mkdir_reply){ 0 });
	expect_done(&fake, 0, false);
	assert_true(state_of(&fake).connected);
	fake.seen = 0;
	fake_sent(&fake, MSG_port, NULL);
	fake_close(&fake);

	control = open_session(&fake, CLIENT_AUTO);
	port = fake_sent(&fake, MSG_port, NULL);
	ask_mkdir(&fake);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	fake_refuse(&fake, control, &port, -ERR_UNAVAILABLE);
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	assert_false(state_of(&fake).connected);
	assert_null(fake_action(&fake, CLIENT_DONE));
	fake_close(&fake);
}

/* ---- while a storage server stands in ---- */

static uint64_t takeover_seen(struct fake *fake)
{
	uint64_t connection;

	open_degraded(fake);
	fake_beacon(fake, 1, 1);
	connection = wait_for(fake, CLIENT_DIAL)->connection;
	hello_answer(fake, connection, ROLE_NAMESERVER, (struct id){ { 'n', 1 } });
	status_answer(fake, connection, SERVICE_TAKEOVER);
	return connection;
}

static void test_a_change_waits_for_who_takes_over(void **state)
{
	struct fake fake;
	uint64_t connection = takeover_seen(&fake);

	(void)state;
	ask_mkdir(&fake);
	fake_wait(&fake, CLIENT_TICK_MS);
	assert_null(fake_action(&fake, CLIENT_DONE));
	status_answer(&fake, connection, SERVICE_TAKEOVER);
	status_answer(&fake, connection, SERVICE_TAKEOVER);
	assert_null(fake_action(&fake, CLIENT_DONE));
	status_answer(&fake, connection, SERVICE_FULL);
	fake_sent(&fake, MSG_mkdir, NULL);
	fake_close(&fake);
}

static void test_a_change_does_not_wait_for_ever(void **state)
{
	const struct client_action *done = NULL;
	struct fake fake;
	uint64_t connection = takeover_seen(&fake);
	uint64_t began_ms = fake.now_ms;

	(void)state;
	ask_mkdir(&fake);
	while (!done && fake.now_ms - began_ms < 2 * PATIENCE_MS) {
		if (fake_was_sent(&fake, MSG_status))
			status_answer(&fake, connection, SERVICE_TAKEOVER);
		fake_wait(&fake, CLIENT_TICK_MS);
		done = fake_action(&fake, CLIENT_DONE);
	}
	assert_non_null(done);
	assert_int_equal(done->error, -ERR_UNAVAILABLE);
	assert_in_range(fake.now_ms - began_ms, PATIENCE_MS, PATIENCE_MS + 2 * CLIENT_TICK_MS);
	assert_true(state_of(&fake).degraded);
	fake_close(&fake);
}

static void test_its_status_is_told(void **state)
{
	struct status_request status = { 0 };
	const struct client_action *done;
	struct client_start start;
	struct fake fake;
	uint64_t connection = takeover_seen(&fake);
	int error;

	(void)state;
	start = fake_start(&fake);
	assert_non_null(client_request(fake.client, &start, MSG_status, &status, &error));
	status_answer(&fake, connection, SERVICE_TAKEOVER);
	done = fake_action(&fake, CLIENT_DONE);
	assert_int_equal(done->error, 0);
	assert_int_equal(((const struct status_reply *)done->reply)->state, SERVICE_TAKEOVER);
	fake_close(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_first_refusal_is_told_at_once),
		cmocka_unit_test(test_a_repetition_is_not_refused),
		cmocka_unit_test(test_a_repetition_is_not_asked_for_ever),
		cmocka_unit_test(test_a_commit_is_repeated_like_any_change),
		cmocka_unit_test(test_a_change_without_an_answer_is_in_doubt),
		cmocka_unit_test(test_what_was_never_sent_is_not_in_doubt),
		cmocka_unit_test(test_who_takes_over_is_waited_for),
		cmocka_unit_test(test_a_first_answer_of_who_takes_over_is_no_doubt),
		cmocka_unit_test(test_a_refusal_of_who_serves_is_one),
		cmocka_unit_test(test_a_port_is_asked_for_again),
		cmocka_unit_test(test_answers_to_changes_are_waited_for),
		cmocka_unit_test(test_a_change_waits_for_who_takes_over),
		cmocka_unit_test(test_a_change_does_not_wait_for_ever),
		cmocka_unit_test(test_its_status_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
