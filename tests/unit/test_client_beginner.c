/* The client core alone: name servers that are about to begin, perhaps for ever, beside one that
 * serves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_stand_in.h"

enum { SERVING = 1, BEGINNER = 2, EPOCH = 1, WANTED = 7 };

static const struct id servers[] = { { { 0 } }, { { 'n', SERVING } }, { { 'n', BEGINNER } } };

static struct endpoint endpoint_of(unsigned int server)
{
	return endpoint_ipv4(0x0a000000u + server, CONTROL_PORT);
}

/* A beginner asks for promises of an epoch above all others, again and again. */
static void beacon(struct fake *fake, unsigned int server, enum beacon_kind kind, uint64_t epoch)
{
	struct beacon beacon = {
		.kind = (uint8_t)kind,
		.port = CONTROL_PORT,
		.cluster = stand_in_cluster,
		.server = servers[server],
		.epoch = epoch,
		.start = kind == BEACON_NAMESERVER,
		.counter = fake->now_ms,
		.interval_ms = BEACON_INTERVAL_MS,
		.cluster_name = "test",
	};
	struct endpoint from = endpoint_of(server);

	fake_step(fake, (struct client_event){ .kind = CLIENT_HEARD,
					       .beacon = &beacon,
					       .endpoints = &from,
					       .count = 1 });
}

/* Of all actions since the last step. */
static uint64_t dialled(struct fake *fake, unsigned int server)
{
	const struct endpoint at = endpoint_of(server);
	const struct client_action *dial;

	fake->seen = 0;
	while ((dial = fake_action(fake, CLIENT_DIAL)) != NULL) {
		if (endpoint_equal(&dial->endpoint, &at))
			return dial->connection;
	}
	return 0;
}

static void status_say(struct fake *fake, uint64_t connection, uint8_t state)
{
	struct message asked = fake_sent(fake, MSG_status, NULL);
	struct status_reply status = { .state = state,
				       .cluster_name = slice_of("test"),
				       .nameserver = endpoint_of(SERVING) };

	fake_reply(fake, connection, &asked, &status);
}

static void hello(struct fake *fake, uint64_t connection, unsigned int server)
{
	hello_answer(fake, connection, ROLE_NAMESERVER, servers[server]);
}

static bool is_with(const struct fake *fake, unsigned int server)
{
	const struct client_state with = state_of(fake);
	const struct endpoint at = endpoint_of(server);

	return with.connected && endpoint_equal(&with.nameserver, &at);
}

/* Both are heard, in either order, and dialled. */
static void hear_both(struct fake *fake, unsigned int first, uint64_t connections[])
{
	connections[SERVING] = connections[BEGINNER] = 0;
	for (unsigned int i = 0; i < 2; i++) {
		unsigned int server = i ? SERVING + BEGINNER - first : first;

		if (server == SERVING)
			beacon(fake, server, BEACON_NAMESERVER, EPOCH);
		else
			beacon(fake, server, BEACON_BEGINNER, WANTED);
		fake->now_ms++;
	}
	for (int i = 0; i < 10 && !connections[BEGINNER]; i++) {
		fake_wait(fake, CLIENT_TICK_MS);
		connections[BEGINNER] = dialled(fake, BEGINNER);
		connections[SERVING] = dialled(fake, SERVING);
	}
	assert_int_not_equal(connections[BEGINNER], 0);
	assert_int_not_equal(connections[SERVING], 0);
}

static void test_the_one_that_serves_wins(void **state)
{
	(void)state;
	for (unsigned int heard = SERVING; heard <= BEGINNER; heard++) {
		for (unsigned int first = SERVING; first <= BEGINNER; first++) {
			uint64_t connections[3];
			struct fake fake;

			fake_open(&fake, CLIENT_PASSIVE);
			session_want(&fake);
			hear_both(&fake, heard, connections);
			if (first == BEGINNER) {
				hello(&fake, connections[BEGINNER], BEGINNER);
				assert_false(state_of(&fake).connected);
				status_say(&fake, connections[BEGINNER], SERVICE_TAKEOVER);
				assert_false(state_of(&fake).connected);
			}
			hello(&fake, connections[SERVING], SERVING);
			assert_true(is_with(&fake, SERVING));
			assert_int_equal(fake_action(&fake, CLIENT_CONNECTED)->error, 0);
			fake_close(&fake);
		}
	}
}

/* The one that said so was lost a moment ago: whoever follows it has the session as soon as it says
 * in its turn that it serves. */
static void test_a_beginner_follows_one_that_is_dead(void **state)
{
	uint64_t connections[3];
	struct fake fake;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	session_want(&fake);
	hear_both(&fake, SERVING, connections);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED,
						.connection = connections[SERVING] });
	hello(&fake, connections[BEGINNER], BEGINNER);
	status_say(&fake, connections[BEGINNER], SERVICE_TAKEOVER);
	assert_false(state_of(&fake).connected);
	fake.now_ms += CLIENT_TICK_MS;
	beacon(&fake, BEGINNER, BEACON_NAMESERVER, WANTED);
	assert_false(state_of(&fake).connected);
	status_say(&fake, connections[BEGINNER], SERVICE_FULL);
	assert_true(is_with(&fake, BEGINNER));
	fake_close(&fake);
}

/* As after every restart: the session waits there for it, and nothing is asked besides. */
static void test_a_beginner_alone_is_waited_for(void **state)
{
	struct fake fake;
	uint64_t connection = 0;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	session_want(&fake);
	beacon(&fake, BEGINNER, BEACON_BEGINNER, WANTED);
	for (int i = 0; i < 10 && !connection; i++) {
		fake_wait(&fake, CLIENT_TICK_MS);
		connection = dialled(&fake, BEGINNER);
	}
	hello(&fake, connection, BEGINNER);
	assert_true(is_with(&fake, BEGINNER));
	assert_false(fake_was_sent(&fake, MSG_status));
	fake_close(&fake);
}

/* The same server begins anew: what it said before is not what another one says. */
static void test_a_beginner_that_served_is_no_other(void **state)
{
	struct fake fake;
	uint64_t connection;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	session_want(&fake);
	beacon(&fake, BEGINNER, BEACON_NAMESERVER, EPOCH);
	fake_wait(&fake, 4 * CLIENT_TICK_MS);
	connection = dialled(&fake, BEGINNER);
	beacon(&fake, BEGINNER, BEACON_BEGINNER, WANTED);
	hello(&fake, connection, BEGINNER);
	assert_true(is_with(&fake, BEGINNER));
	fake_close(&fake);
}

/* Which has not been heard for too long. */
static void test_one_that_served_long_ago_is_not_waited_for(void **state)
{
	uint64_t connection = 0;
	struct fake fake;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	beacon(&fake, SERVING, BEACON_NAMESERVER, EPOCH);
	fake.now_ms += 4 * BEACON_INTERVAL_MS;
	session_want(&fake);
	beacon(&fake, BEGINNER, BEACON_BEGINNER, WANTED);
	for (int i = 0; i < 10 && !connection; i++) {
		fake_wait(&fake, CLIENT_TICK_MS);
		connection = dialled(&fake, BEGINNER);
	}
	assert_int_equal(dialled(&fake, SERVING), 0);
	hello(&fake, connection, BEGINNER);
	assert_true(is_with(&fake, BEGINNER));
	fake_close(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_one_that_serves_wins),
		cmocka_unit_test(test_a_beginner_follows_one_that_is_dead),
		cmocka_unit_test(test_a_beginner_alone_is_waited_for),
		cmocka_unit_test(test_a_beginner_that_served_is_no_other),
		cmocka_unit_test(test_one_that_served_long_ago_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
