#include "client_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct id id_make(uint8_t kind, uint8_t number)
{
	return (struct id){ { kind, number } };
}

void fake_open_config(struct fake *fake, const struct client_config *config)
{
	*fake = (struct fake){ .now_ms = 100000, .proof = id_make('p', 1) };
	for (uint8_t i = 0; i < FAKE_SERVERS; i++)
		fake->servers[i] = id_make('s', i);
	fake->client = client_new(config);
	assert_non_null(fake->client);
}

void fake_open_patient(struct fake *fake, enum client_transfer transfer, uint64_t timeout_ms)
{
	struct client_config config = {
		.self = id_make('c', 1),
		.machine = id_make('m', 1),
		.transfer = transfer,
		.timeout_ms = timeout_ms,
		.seed = 1,
	};

	fake_open_config(fake, &config);
}

void fake_open(struct fake *fake, enum client_transfer transfer)
{
	fake_open_patient(fake, transfer, 0);
}

void fake_close(struct fake *fake)
{
	client_free(fake->client);
	client_outbox_done(&fake->outbox);
	arena_done(&fake->arena);
	buffer_done(&fake->reply);
}

void fake_step(struct fake *fake, struct client_event event)
{
	client_outbox_clear(&fake->outbox);
	fake->seen = 0;
	event.now_ms = fake->now_ms;
	client_step(fake->client, &event, &fake->outbox);
	assert_false(fake->outbox.failed);
}

/* Stops at the first tick that wants something done. */
void fake_wait(struct fake *fake, uint64_t ms)
{
	uint64_t end = fake->now_ms + ms;

	client_outbox_clear(&fake->outbox);
	while (fake->now_ms < end && fake->outbox.count == 0) {
		fake->now_ms += CLIENT_TICK_MS;
		fake_step(fake, (struct client_event){ .kind = CLIENT_TICK });
	}
}

void fake_beacon(struct fake *fake, uint8_t cluster, uint8_t server)
{
	struct beacon beacon = {
		.kind = BEACON_NAMESERVER,
		.port = CONTROL_PORT,
		.cluster = id_make('C', cluster),
		.server = id_make('n', server),
		.epoch = 1,
		.start = 1,
		.counter = fake->now_ms,
		.interval_ms = BEACON_INTERVAL_MS,
		.cluster_name = "test",
	};
	struct endpoint from = endpoint_ipv4(0x0a000000u + server, 4000);

	fake_step(fake, (struct client_event){ .kind = CLIENT_HEARD,
					       .beacon = &beacon,
					       .endpoints = &from,
					       .count = 1 });
}

struct client_start fake_start(struct fake *fake)
{
	client_outbox_clear(&fake->outbox);
	fake->seen = 0;
	return (struct client_start){ fake->now_ms, fake, &fake->outbox };
}

const struct client_action *fake_action(struct fake *fake, enum client_action_kind kind)
{
	while (fake->seen < fake->outbox.count) {
		const struct client_action *action = &fake->outbox.actions[fake->seen++];

		if (action->kind == kind)
			return action;
	}
	return NULL;
}

static bool find_in(struct fake *fake, const struct client_action *action, unsigned int code,
		    struct message *ret)
{
	const uint8_t *data = fake->outbox.bytes.data + action->start;
	size_t left = (size_t)action->size;
	struct frame_header header;
	size_t size;

	while (left > 0) {
		assert_int_equal(frame_next(data, left, &header, &size), 1);
		assert_int_equal(
			message_decode(&header, data + FRAME_HEADER_SIZE, &fake->arena, ret), 0);
		if (header.type == code)
			return true;
		data += size;
		left -= size;
	}
	return false;
}

static bool find_sent(struct fake *fake, unsigned int code, struct message *ret,
		      uint64_t *ret_connection)
{
	for (size_t i = 0; i < fake->outbox.count; i++) {
		const struct client_action *action = &fake->outbox.actions[i];

		if (action->kind != CLIENT_SEND || !find_in(fake, action, code, ret))
			continue;
		if (ret_connection)
			*ret_connection = action->connection;
		return true;
	}
	return false;
}

struct message fake_sent(struct fake *fake, unsigned int code, uint64_t *ret_connection)
{
	struct message message;

	if (!find_sent(fake, code, &message, ret_connection))
		fail_msg("no %s was sent", message_info(code)->name);
	return message;
}

bool fake_was_sent(struct fake *fake, unsigned int code)
{
	struct message message;

	return find_sent(fake, code, &message, NULL);
}

static void deliver(struct fake *fake, uint64_t connection)
{
	struct frame_header header;
	size_t size;

	assert_int_equal(frame_next(fake->reply.data, fake->reply.size, &header, &size), 1);
	fake_step(fake, (struct client_event){ .kind = CLIENT_FRAME,
					       .connection = connection,
					       .header = &header,
					       .body = fake->reply.data + FRAME_HEADER_SIZE });
}

void fake_reply_flags(struct fake *fake, uint64_t connection, const struct message *to,
		      const void *body, uint8_t flags)
{
	struct message reply = {
		.info = to->info, .reply = true, .id = to->id, .body = body, .flags = flags
	};

	buffer_clear(&fake->reply);
	assert_int_equal(message_encode(&reply, &fake->reply), 0);
	deliver(fake, connection);
}

void fake_reply(struct fake *fake, uint64_t connection, const struct message *to, const void *body)
{
	fake_reply_flags(fake, connection, to, body, 0);
}

void fake_refuse(struct fake *fake, uint64_t connection, const struct message *to, int error)
{
	buffer_clear(&fake->reply);
	assert_int_equal(refusal_encode(&fake->reply, to->info->code, to->id, error), 0);
	deliver(fake, connection);
}

void fake_request(struct fake *fake, uint64_t connection, unsigned int code, const void *body)
{
	buffer_clear(&fake->reply);
	assert_int_equal(request_encode(&fake->reply, code, 77, body), 0);
	deliver(fake, connection);
}

uint64_t fake_connect(struct fake *fake)
{
	struct hello_reply hello = {
		.version = PROTOCOL_VERSION,
		.epoch = 1,
		.role = ROLE_NAMESERVER,
		.cluster = id_make('C', 1),
		.cluster_name = slice_of("test"),
		.self = id_make('n', 1),
	};
	const struct client_action *dial;
	struct message message;
	uint64_t control;

	dial = fake_action(fake, CLIENT_DIAL); /* an address that worked before */
	if (!dial)
		fake_beacon(fake, 1, 1);
	for (int i = 0; !dial && i < 10; i++) {
		fake_wait(fake, 1000);
		dial = fake_action(fake, CLIENT_DIAL);
	}
	assert_non_null(dial);
	control = dial->connection;
	fake_step(fake, (struct client_event){ .kind = CLIENT_OPENED, .connection = control });
	message = fake_sent(fake, MSG_hello, NULL);
	fake_reply(fake, control, &message, &hello);
	return control;
}

uint64_t fake_dialled(struct fake *fake, unsigned int index, uint8_t lane)
{
	struct hello_request hello = {
		.versions = (uint64_t)PROTOCOL_VERSION << 16 | PROTOCOL_VERSION,
		.role = ROLE_STORAGE,
		.self = fake->servers[index],
		.expected = id_make('c', 1),
		.proof = fake->proof,
		.lane = lane,
	};
	uint64_t connection = 1001 + index * 4 + lane * 2u;

	fake_step(fake, (struct client_event){ .kind = CLIENT_ACCEPTED, .connection = connection });
	fake_request(fake, connection, MSG_hello, &hello);
	return connection;
}

struct node_address fake_address(const struct fake *fake, unsigned int index)
{
	static const struct endpoint endpoints[FAKE_SERVERS] = {
		{ .family = 4, .address = { { 10, 0, 1, 0 } }, .port = 3503 },
		{ .family = 4, .address = { { 10, 0, 1, 1 } }, .port = 3503 },
		{ .family = 4, .address = { { 10, 0, 1, 2 } }, .port = 3503 },
	};

	return (struct node_address){
		.node = fake->servers[index],
		.machine = fake->servers[index],
		.endpoints = &endpoints[index],
		.endpoints_count = 1,
	};
}

struct receipt fake_receipt(const struct fake *fake, unsigned int index, uint64_t chunk,
			    uint64_t length)
{
	return (struct receipt){ .chunk = chunk, .length = length, .holder = fake->servers[index] };
}
