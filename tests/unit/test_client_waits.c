/* The client core alone: how long it waits, and requests that are still being worked on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_stand_in.h"

/* Connected, without a port. */
static uint64_t open_session(struct fake *fake, uint64_t timeout_ms)
{
	struct client_start start;

	fake_open_patient(fake, CLIENT_PASSIVE, timeout_ms);
	start = fake_start(fake);
	client_want(fake->client, start.now_ms, start.outbox);
	return fake_connect(fake);
}

static struct client_op *copy_tree(struct fake *fake)
{
	struct client_start start = fake_start(fake);
	struct copy_request copy = { .path = slice_of("/a"), .to = slice_of("/b") };
	int error;

	return client_request(fake->client, &start, MSG_copy, &copy, &error);
}

static void make_directory(struct fake *fake)
{
	struct client_start start = fake_start(fake);
	struct mkdir_request mkdir = { .path = slice_of("/a") };
	int error;

	client_request(fake->client, &start, MSG_mkdir, &mkdir, &error);
}

static uint64_t wait_for_end(struct fake *fake, int error)
{
	const struct client_action *done = NULL;
	uint64_t start_ms = fake->now_ms;

	while (!done && fake->now_ms - start_ms < 60000) {
		fake_wait(fake, 1000);
		done = fake_action(fake, CLIENT_DONE);
	}
	assert_non_null(done);
	assert_int_equal(done->error, error);
	return fake->now_ms - start_ms;
}

static void test_work_in_progress_is_asked_for_again(void **state)
{
	const struct client_action *done;
	const struct copy_request *copy;
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	control = open_session(&fake, 0);
	copy_tree(&fake);
	asked = fake_sent(&fake, MSG_copy, NULL);
	for (int i = 0; i < 20; i++) {
		fake_wait(&fake, 2000);
		assert_null(fake_action(&fake, CLIENT_DONE));
		fake_refuse(&fake, control, &asked, -ERR_IN_PROGRESS);
		assert_null(fake_action(&fake, CLIENT_DONE));
		asked = fake_sent(&fake, MSG_copy, NULL);
		copy = asked.body;
		assert_int_equal(copy->operation, 1);
		assert_int_equal(copy->outstanding, 1);
		assert_true(slice_equal(copy->to, slice_of("/b")));
	}
	fake_reply(&fake, control, &asked, &(struct copy_reply){ .entries = 7 });
	done = fake_action(&fake, CLIENT_DONE);
	assert_int_equal(done->error, 0);
	assert_int_equal(((const struct copy_reply *)done->reply)->entries, 7);
	fake_close(&fake);
}

static void test_work_in_progress_is_progress(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	control = open_session(&fake, 0);
	copy_tree(&fake);
	asked = fake_sent(&fake, MSG_copy, NULL);
	fake_wait(&fake, 3900);
	fake_refuse(&fake, control, &asked, -ERR_IN_PROGRESS);
	assert_in_range(wait_for_end(&fake, -ERR_TIMEOUT), 4000, 4100);
	fake_close(&fake);
}

static void test_work_that_nobody_wants_is_not_asked_for_again(void **state)
{
	struct client_op *op;
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	control = open_session(&fake, 0);
	op = copy_tree(&fake);
	asked = fake_sent(&fake, MSG_copy, NULL);
	client_cancel(fake.client, op, fake.now_ms, &fake.outbox);
	fake_refuse(&fake, control, &asked, -ERR_IN_PROGRESS);
	assert_false(fake_was_sent(&fake, MSG_copy));
	assert_true(client_deadline(fake.client) == UINT64_MAX);
	copy_tree(&fake);
	assert_int_equal(
		((const struct copy_request *)fake_sent(&fake, MSG_copy, NULL).body)->outstanding,
		2);
	fake_close(&fake);
}

static void test_waits_follow_from_the_timeout(void **state)
{
	const uint64_t timeouts_ms[] = { 450, 900, 4500, 45000 };
	struct fake fake;

	(void)state;
	for (size_t i = 0; i < sizeof(timeouts_ms) / sizeof(timeouts_ms[0]); i++) {
		uint64_t whole_ms = timeouts_ms[i];

		open_session(&fake, whole_ms);
		make_directory(&fake);
		assert_in_range(wait_for_end(&fake, -ERR_TIMEOUT), whole_ms * 8 / 9,
				whole_ms * 8 / 9 + 2 * CLIENT_TICK_MS);
		fake_close(&fake);
		fake_open_patient(&fake, CLIENT_PASSIVE, whole_ms);
		copy_tree(&fake);
		assert_in_range(wait_for_end(&fake, -ERR_NO_NAMESERVER), whole_ms,
				whole_ms + 2 * CLIENT_TICK_MS);
		fake_close(&fake);
	}
}

/* Or else a copy could not be waited for with a short timeout. */
static void test_long_work_is_always_waited_for(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	control = open_session(&fake, 450);
	copy_tree(&fake);
	asked = fake_sent(&fake, MSG_copy, NULL);
	fake_wait(&fake, IN_PROGRESS_AFTER_MS + 200);
	assert_null(fake_action(&fake, CLIENT_DONE));
	fake_refuse(&fake, control, &asked, -ERR_IN_PROGRESS);
	assert_in_range(wait_for_end(&fake, -ERR_TIMEOUT), 2500, 2600);
	fake_close(&fake);
}

/* ---- who is waited for ---- */

static enum client_waits waits_after(struct fake *fake, uint64_t ms)
{
	fake_wait(fake, ms);
	return state_of(fake).waits;
}

static void test_a_name_server_is_waited_for(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	assert_int_equal(waits_after(&fake, CLIENT_TICK_MS), CLIENT_WAITS_NOT);
	session_want(&fake);
	assert_int_equal(waits_after(&fake, 1000), CLIENT_WAITS_NAMESERVER);
	assert_in_range(state_of(&fake).waits_ms, 900, 1000);
	/* It takes the call, and keeps what it is asked. */
	control = fake_connect(&fake);
	copy_tree(&fake);
	asked = fake_sent(&fake, MSG_copy, NULL);
	assert_int_equal(waits_after(&fake, CLIENT_TICK_MS), CLIENT_WAITS_ANSWER);
	assert_true(state_of(&fake).waits_ms > 1000);
	/* What is known to be worked on is not waited for. */
	fake_refuse(&fake, control, &asked, -ERR_IN_PROGRESS);
	assert_int_equal(waits_after(&fake, 1000), CLIENT_WAITS_NOT);
	fake_close(&fake);
}

/* Then it is asked, and says for whom it waits itself. */
static void test_one_that_takes_over_is_waited_for(void **state)
{
	struct status_reply status = { .state = SERVICE_TAKEOVER,
				       .cluster_name = slice_of("test"),
				       .waiting = slice_of("attic,cellar") };
	struct message asked;
	struct fake fake;
	uint64_t control = open_session(&fake, 0);

	(void)state;
	copy_tree(&fake);
	asked = fake_sent(&fake, MSG_copy, NULL);
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	control = wait_for(&fake, CLIENT_DIAL)->connection;
	hello_answer(&fake, control, ROLE_NAMESERVER, (struct id){ { 'n', 1 } });
	asked = fake_sent(&fake, MSG_status, NULL);
	fake_reply(&fake, control, &asked, &status);
	assert_int_equal(waits_after(&fake, CLIENT_TICK_MS), CLIENT_WAITS_TAKEOVER);
	assert_string_equal(state_of(&fake).waiting, "attic,cellar");
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_UNAVAILABLE);
	fake_close(&fake);
}

static void begin_refuse(struct fake *fake, uint64_t control, int error)
{
	struct message asked = fake_sent(fake, MSG_put_begin, NULL);

	fake_refuse(fake, control, &asked, error);
}

static bool begin_was_sent(struct fake *fake)
{
	for (int i = 0; i < 3 && !fake_was_sent(fake, MSG_put_begin); i++)
		fake_wait(fake, CLIENT_TICK_MS);
	return fake_was_sent(fake, MSG_put_begin);
}

/* BUSY as the first answer to a put says that they are coming; there are none when it says so, and
 * else the time is up. */
static void test_storage_servers_are_waited_for(void **state)
{
	static const int errors[] = { -ERR_NO_NODES, -ERR_UNAVAILABLE };

	(void)state;
	for (unsigned int way = 0; way < 2; way++) {
		struct client_put put = { .path = slice_of("/f"), .size = 1, .rewindable = true };
		struct client_start start;
		struct fake fake;
		uint64_t control = open_session(&fake, 0), began_ms;
		int error;

		start = fake_start(&fake);
		began_ms = fake.now_ms;
		assert_non_null(client_put(fake.client, &start, &put, &error));
		while (fake.now_ms - began_ms < (way ? 4500 : 2000)) {
			assert_true(begin_was_sent(&fake));
			begin_refuse(&fake, control, -ERR_BUSY);
			assert_null(fake_action(&fake, CLIENT_DONE));
			assert_int_equal(waits_after(&fake, CLIENT_TICK_MS), CLIENT_WAITS_SERVERS);
		}
		if (!fake_was_sent(&fake, MSG_put_begin))
			assert_true(begin_was_sent(&fake));
		begin_refuse(&fake, control, way ? -ERR_BUSY : -ERR_NO_NODES);
		assert_int_equal(fake_action(&fake, CLIENT_DONE)->error, errors[way]);
		fake_close(&fake);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_work_in_progress_is_asked_for_again),
		cmocka_unit_test(test_work_in_progress_is_progress),
		cmocka_unit_test(test_work_that_nobody_wants_is_not_asked_for_again),
		cmocka_unit_test(test_waits_follow_from_the_timeout),
		cmocka_unit_test(test_long_work_is_always_waited_for),
		cmocka_unit_test(test_a_name_server_is_waited_for),
		cmocka_unit_test(test_one_that_takes_over_is_waited_for),
		cmocka_unit_test(test_storage_servers_are_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
