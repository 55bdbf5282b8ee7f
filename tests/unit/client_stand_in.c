#include "client_stand_in.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

void storage_beacon(struct fake *fake, uint8_t cluster, unsigned int index)
{
	struct node_address address = fake_address(fake, index);
	struct beacon beacon = {
		.kind = BEACON_STORAGE,
		.port = 3503,
		.cluster = { { 'C', cluster } },
		.server = fake->servers[index],
		.epoch = 1,
		.start = 1,
		.counter = fake->now_ms,
		.cluster_name = "test",
	};

	fake_step(fake, (struct client_event){ .kind = CLIENT_HEARD,
					       .beacon = &beacon,
					       .endpoints = address.endpoints,
					       .count = 1 });
}

void hello_say(struct fake *fake, uint64_t connection, const struct message *asked, uint8_t role,
	       struct id self)
{
	struct hello_reply hello = {
		.version = PROTOCOL_VERSION,
		.epoch = 1,
		.role = role,
		.cluster = stand_in_cluster,
		.cluster_name = slice_of("test"),
		.self = self,
	};

	fake_reply(fake, connection, asked, &hello);
}

void hello_answer(struct fake *fake, uint64_t connection, uint8_t role, struct id self)
{
	struct message asked;

	fake_step(fake, (struct client_event){ .kind = CLIENT_OPENED, .connection = connection });
	asked = fake_sent(fake, MSG_hello, NULL);
	hello_say(fake, connection, &asked, role, self);
}

const struct client_action *wait_for(struct fake *fake, enum client_action_kind kind)
{
	const struct client_action *action = fake_action(fake, kind);

	for (int i = 0; !action && i < 100; i++) {
		fake_wait(fake, 100);
		action = fake_action(fake, kind);
	}
	assert_non_null(action);
	return action;
}

/* Server `index` is heard, dialled and greeted. Returns the control connection. */
uint64_t stand_in(struct fake *fake, unsigned int index)
{
	uint64_t connection;

	storage_beacon(fake, 1, index);
	connection = wait_for(fake, CLIENT_DIAL)->connection;
	hello_answer(fake, connection, ROLE_STORAGE, fake->servers[index]);
	return connection;
}

void session_want(struct fake *fake)
{
	struct client_start start = fake_start(fake);

	client_want(fake->client, start.now_ms, start.outbox);
}

uint64_t open_degraded(struct fake *fake)
{
	fake_open(fake, CLIENT_AUTO);
	session_want(fake);
	return stand_in(fake, 0);
}

struct client_state state_of(const struct fake *fake)
{
	struct client_state state;

	client_state(fake->client, &state);
	return state;
}
