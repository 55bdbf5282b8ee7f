/* The client core alone: without a name server it asks the storage servers who holds what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_stand_in.h"

enum { CHUNK = 700, SIZE = 2 * 1024 * 1024 };

struct reading {
	struct fake fake;
	uint64_t control;
	uint64_t links[FAKE_SERVERS];
};

static struct open_reply open_answer(struct fake *fake, struct node_address *nodes,
				     struct located_chunk *chunk)
{
	for (unsigned int i = 0; i < FAKE_SERVERS; i++)
		nodes[i] = fake_address(fake, i);
	*chunk = (struct located_chunk){ .chunk = CHUNK, .length = SIZE };
	return (struct open_reply){
		.entry = { .inode = 5, .type = ENTRY_FILE, .size = SIZE, .version = 1 },
		.nodes = nodes,
		.nodes_count = FAKE_SERVERS,
		.chunks = chunk,
		.chunks_count = 1,
	};
}

static struct message asked_have(struct fake *fake)
{
	struct message asked = fake_sent(fake, MSG_have, NULL);

	assert_int_equal(((const struct have_request *)asked.body)->chunks_count, 1);
	assert_int_equal(((const struct have_request *)asked.body)->chunks[0].chunk, CHUNK);
	return asked;
}

/* A get, as far as the question who holds what. Everybody is dialled for it, and nobody is asked to
 * dial us. */
static void get_opened(struct reading *reading, struct message have[FAKE_SERVERS])
{
	struct fake *fake = &reading->fake;
	struct client_get get = { .path = slice_of("/f"), .most = UINT64_MAX };
	struct node_address nodes[FAKE_SERVERS];
	struct located_chunk chunk;
	struct client_start start;
	struct open_reply reply;
	const struct client_action *dial;
	uint64_t dialled[FAKE_SERVERS];
	struct message asked;
	unsigned int count = 0;
	int error;

	reading->control = open_degraded(fake);
	reply = open_answer(fake, nodes, &chunk);
	start = fake_start(fake);
	assert_non_null(client_get(fake->client, &start, &get, &error));
	asked = fake_sent(fake, MSG_open, NULL);
	fake_reply_flags(fake, reading->control, &asked, &reply, FRAME_DEGRADED);
	while ((dial = fake_action(fake, CLIENT_DIAL)) != NULL)
		dialled[count++] = dial->connection;
	assert_int_equal(count, FAKE_SERVERS);
	for (unsigned int i = 0; i < FAKE_SERVERS; i++) {
		reading->links[i] = dialled[i];
		hello_answer(fake, dialled[i], ROLE_STORAGE, fake->servers[i]);
		have[i] = asked_have(fake);
	}
}

static void holds(struct reading *reading, unsigned int index, const struct message *have)
{
	struct chunk_id chunk = { CHUNK };

	fake_reply(&reading->fake, reading->links[index], have,
		   &(struct have_reply){ .chunks = &chunk, .chunks_count = 1 });
}

static void holds_nothing(struct reading *reading, unsigned int index, const struct message *have)
{
	fake_reply(&reading->fake, reading->links[index], have, &(struct have_reply){ 0 });
}

/* Server `index` is asked for the chunk, on its lane for large transfers. */
static struct message asked_read(struct reading *reading, unsigned int index)
{
	struct fake *fake = &reading->fake;
	const struct client_action *dial = fake_action(fake, CLIENT_DIAL);
	const struct read_request *read;
	struct message asked;

	assert_non_null(dial);
	reading->links[index] = dial->connection;
	hello_answer(fake, reading->links[index], ROLE_STORAGE, fake->servers[index]);
	asked = fake_sent(fake, MSG_read, NULL);
	read = asked.body;
	assert_int_equal(read->ticket.operation, TICKET_READ);
	assert_int_equal(read->ticket.chunk, CHUNK);
	assert_int_equal(read->ticket.length, SIZE);
	assert_int_equal(read->ticket.epoch, 0);
	assert_int_equal(read->ticket.expiry, UINT32_MAX);
	assert_true(id_equal(&read->ticket.holder, &fake->servers[index]));
	assert_true(id_is_none(&read->ticket.tag));
	return asked;
}

static void deliver(struct reading *reading)
{
	struct fake *fake = &reading->fake;
	const struct client_action *receive = fake_action(fake, CLIENT_RECEIVE);

	assert_non_null(receive);
	fake_step(fake, (struct client_event){ .kind = CLIENT_RECEIVED,
					       .op = receive->op,
					       .token = receive->token,
					       .size = SIZE,
					       .last = true });
}

static void test_holders_are_asked_for(void **state)
{
	struct message have[FAKE_SERVERS];
	const struct client_action *done;
	struct reading reading;

	(void)state;
	get_opened(&reading, have);
	holds_nothing(&reading, 0, &have[0]);
	assert_null(fake_action(&reading.fake, CLIENT_DIAL));
	holds(&reading, 1, &have[1]);
	asked_read(&reading, 1);
	deliver(&reading);
	done = fake_action(&reading.fake, CLIENT_DONE);
	assert_non_null(done);
	assert_int_equal(done->error, 0);
	assert_true(done->flag);
	assert_false(fake_was_sent(&reading.fake, MSG_close));
	fake_close(&reading.fake);
}

static void test_who_answers_later_takes_over(void **state)
{
	struct message have[FAKE_SERVERS];
	struct reading reading;
	struct message asked;

	(void)state;
	get_opened(&reading, have);
	holds(&reading, 1, &have[1]);
	asked = asked_read(&reading, 1);
	holds(&reading, 2, &have[2]);
	fake_refuse(&reading.fake, reading.links[1], &asked, -ERR_NOT_FOUND);
	asked_read(&reading, 2);
	deliver(&reading);
	assert_int_equal(fake_action(&reading.fake, CLIENT_DONE)->error, 0);
	fake_close(&reading.fake);
}

/* It was started anew since it registered: where it was heard comes first. */
static void test_where_it_was_heard_comes_first(void **state)
{
	struct client_get get = { .path = slice_of("/f"), .most = UINT64_MAX };
	struct node_address nodes[FAKE_SERVERS];
	const struct client_action *dial;
	struct located_chunk chunk;
	struct client_start start;
	struct open_reply reply;
	struct message asked;
	struct endpoint old;
	struct fake fake;
	uint64_t control = open_degraded(&fake);
	unsigned int heard = 0;
	int error;

	(void)state;
	reply = open_answer(&fake, nodes, &chunk);
	old = nodes[0].endpoints[0];
	old.port = 4444;
	nodes[0].endpoints = &old;
	nodes[0].endpoints_count = 1;
	start = fake_start(&fake);
	assert_non_null(client_get(fake.client, &start, &get, &error));
	asked = fake_sent(&fake, MSG_open, NULL);
	fake_reply_flags(&fake, control, &asked, &reply, FRAME_DEGRADED);
	while ((dial = fake_action(&fake, CLIENT_DIAL)) != NULL) {
		assert_int_not_equal(dial->endpoint.port, 4444);
		heard += dial->endpoint.port == 3503 &&
			 dial->endpoint.address.bytes[3] == old.address.bytes[3];
	}
	assert_int_equal(heard, 1);
	fake_close(&fake);
}

/* It is looked for again, but not for ever. */
static void test_nobody_has_it(void **state)
{
	struct message have[FAKE_SERVERS];
	struct node_address nodes[FAKE_SERVERS];
	struct located_chunk chunk;
	struct reading reading;
	struct fake *fake = &reading.fake;

	(void)state;
	get_opened(&reading, have);
	for (unsigned int i = 0; i < FAKE_SERVERS; i++)
		holds_nothing(&reading, i, &have[i]);
	for (int i = 0; i < 2; i++) {
		struct open_reply reply = open_answer(fake, nodes, &chunk);
		struct message asked;

		for (int k = 0; k < 20 && !fake_was_sent(fake, MSG_open); k++)
			fake_wait(fake, CLIENT_TICK_MS);
		asked = fake_sent(fake, MSG_open, NULL);
		fake_reply_flags(fake, reading.control, &asked, &reply, FRAME_DEGRADED);
		for (unsigned int k = 0; k < FAKE_SERVERS; k++)
			fake_step(fake, (struct client_event){ .kind = CLIENT_CLOSED,
							       .connection = reading.links[k] });
	}
	assert_int_equal(wait_for(fake, CLIENT_DONE)->error, -ERR_UNREACHABLE);
	fake_close(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holders_are_asked_for),
		cmocka_unit_test(test_who_answers_later_takes_over),
		cmocka_unit_test(test_where_it_was_heard_comes_first),
		cmocka_unit_test(test_nobody_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
