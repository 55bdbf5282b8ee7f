/* The client core alone: puts and gets, and what they do about servers that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fake.h"

enum { CHUNK = 700, SIZE = 2 * 1024 * 1024 };

/* A session with a leased port, and all servers connected on the large lane. */
static uint64_t session_open(struct fake *fake, uint64_t links[FAKE_SERVERS])
{
	struct client_start start;
	struct message asked;
	uint64_t control;

	fake_open(fake, CLIENT_AUTO);
	start = fake_start(fake);
	client_want(fake->client, start.now_ms, start.outbox);
	control = fake_connect(fake);
	asked = fake_sent(fake, MSG_port, NULL);
	fake_reply(fake, control, &asked,
		   &(struct port_reply){ .port = 3504, .proof = fake->proof });
	fake_step(fake, (struct client_event){ .kind = CLIENT_LISTENED });
	for (unsigned int i = 0; i < FAKE_SERVERS; i++)
		links[i] = fake_dialled(fake, i, LANE_LARGE);
	return control;
}

/* A chain of the servers 0, 1 and so on. */
static void begin_chain(struct fake *fake, uint64_t control, uint16_t count)
{
	struct client_put put = { .path = slice_of("/f"), .size = SIZE, .rewindable = true };
	struct client_start start = fake_start(fake);
	struct node_address nodes[] = { fake_address(fake, 0), fake_address(fake, 1),
					fake_address(fake, 2) };
	struct holder holders[] = { { .node = 0 }, { .node = 1 }, { .node = 2 } };
	struct place place = { .chunk = CHUNK, .holders = holders, .holders_count = count };
	struct put_begin_reply reply = {
		.put = 9,
		.chunk_size = CHUNK_SIZE_DEFAULT,
		.copies_wanted = (uint8_t)count,
		.nodes = nodes,
		.nodes_count = count,
		.places = &place,
		.places_count = 1,
	};
	struct message asked;
	int error;

	assert_non_null(client_put(fake->client, &start, &put, &error));
	asked = fake_sent(fake, MSG_put_begin, NULL);
	fake_reply(fake, control, &asked, &reply);
}

static void begin_put(struct fake *fake, uint64_t control)
{
	begin_chain(fake, control, 2);
}

static void payload_sent(struct fake *fake)
{
	const struct client_action *payload = fake_action(fake, CLIENT_PAYLOAD);

	assert_non_null(payload);
	assert_int_equal(payload->size, SIZE);
	fake_step(fake, (struct client_event){
				.kind = CLIENT_SENT, .op = payload->op, .token = payload->token });
}

static void expect_commit(struct fake *fake, uint64_t control, unsigned int receipts)
{
	struct message asked = fake_sent(fake, MSG_put_commit, NULL);
	const struct put_commit_request *commit = asked.body;
	const struct client_action *done;

	assert_int_equal(commit->put, 9);
	assert_int_equal(commit->size, SIZE);
	assert_int_equal(commit->receipts_count, receipts);
	fake_reply(fake, control, &asked,
		   &(struct put_commit_reply){ .version = 1, .copies = (uint8_t)receipts });
	done = fake_action(fake, CLIENT_DONE);
	assert_non_null(done);
	assert_int_equal(done->error, 0);
	assert_int_equal(client_op_stored(done->op)->commit.copies, receipts);
}

static void test_put(void **state)
{
	uint64_t links[FAKE_SERVERS], connection;
	struct receipt receipts[2];
	struct message write;
	struct fake fake;
	uint64_t control;

	(void)state;
	control = session_open(&fake, links);
	begin_put(&fake, control);
	write = fake_sent(&fake, MSG_write, &connection);
	assert_int_equal(connection, links[0]);
	assert_int_equal(((const struct write_request *)write.body)->hops_count, 1);
	payload_sent(&fake);
	receipts[0] = fake_receipt(&fake, 0, CHUNK, SIZE);
	receipts[1] = fake_receipt(&fake, 1, CHUNK, SIZE);
	fake_reply_flags(&fake, links[0], &write,
			 &(struct write_reply){ .receipts = receipts, .receipts_count = 1 },
			 FRAME_MORE);
	assert_false(fake_was_sent(&fake, MSG_put_commit));
	fake_reply(&fake, links[0], &write,
		   &(struct write_reply){ .receipts = receipts + 1, .receipts_count = 1 });
	expect_commit(&fake, control, 2);
	fake_close(&fake);
}

/* The first hop dies; another server takes its place and passes on to the one that was kept
 * waiting. */
static void test_put_replaces_a_dead_hop(void **state)
{
	uint64_t links[FAKE_SERVERS], connection, control;
	const struct put_replace_request *replace;
	struct holder holder = { .node = 0 };
	struct node_address node;
	struct put_replace_reply reply = {
		.nodes = &node,
		.nodes_count = 1,
		.place = { .chunk = CHUNK, .holders = &holder, .holders_count = 1 },
	};
	struct receipt receipts[2];
	struct message asked;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	node = fake_address(&fake, 2);
	begin_put(&fake, control);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = links[0] });
	asked = fake_sent(&fake, MSG_put_replace, NULL);
	replace = asked.body;
	assert_true(id_equal(&replace->dead, &fake.servers[0]));
	fake_reply(&fake, control, &asked, &reply);
	asked = fake_sent(&fake, MSG_write, &connection);
	assert_int_equal(connection, links[2]);
	assert_int_equal(((const struct write_request *)asked.body)->hops_count, 1);
	payload_sent(&fake);
	receipts[0] = fake_receipt(&fake, 2, CHUNK, SIZE);
	receipts[1] = fake_receipt(&fake, 1, CHUNK, SIZE);
	fake_reply(&fake, links[2], &asked,
		   &(struct write_reply){ .receipts = receipts, .receipts_count = 2 });
	expect_commit(&fake, control, 2);
	fake_close(&fake);
}

/* Receipts of servers 0 and 1 only. */
static void end_with_two(struct fake *fake, uint64_t control, uint64_t link)
{
	struct message write = fake_sent(fake, MSG_write, NULL);
	struct receipt receipts[2];

	payload_sent(fake);
	receipts[0] = fake_receipt(fake, 0, CHUNK, SIZE);
	receipts[1] = fake_receipt(fake, 1, CHUNK, SIZE);
	fake_reply(fake, link, &write,
		   &(struct write_reply){ .receipts = receipts, .receipts_count = 2 });
	expect_commit(fake, control, 2);
}

static unsigned int hops_sent(struct fake *fake)
{
	return ((const struct write_request *)fake_sent(fake, MSG_write, NULL).body)->hops_count;
}

/* Whom a put has waited for the next ones try to do without, for half a minute. */
static void test_puts_go_round_a_slow_hop(void **state)
{
	uint64_t links[FAKE_SERVERS], control;
	const struct put_replace_request *replace;
	struct message asked;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_chain(&fake, control, 3);
	assert_int_equal(hops_sent(&fake), 2);
	end_with_two(&fake, control, links[0]);
	begin_chain(&fake, control, 3);
	assert_false(fake_was_sent(&fake, MSG_write));
	asked = fake_sent(&fake, MSG_put_replace, NULL);
	replace = asked.body;
	assert_true(id_equal(&replace->dead, &fake.servers[2]));
	assert_int_equal(replace->have_count, 0);
	fake_reply(&fake, control, &asked,
		   &(struct put_replace_reply){ .place = { .chunk = CHUNK } });
	assert_int_equal(hops_sent(&fake), 1);
	end_with_two(&fake, control, links[0]);
	/* Later it is tried again. */
	fake_wait(&fake, 31 * 1000);
	begin_chain(&fake, control, 3);
	assert_int_equal(hops_sent(&fake), 2);
	fake_close(&fake);
}

static uint64_t until_replaced(struct fake *fake)
{
	uint64_t since_ms = fake->now_ms;

	while (fake->now_ms - since_ms < 5000 && !fake_was_sent(fake, MSG_put_replace))
		fake_wait(fake, 50);
	return fake->now_ms - since_ms;
}

/* With two slow ones of three the chunk would be safe with neither of them left out. */
static void test_puts_wait_for_slow_hops(void **state)
{
	uint64_t links[FAKE_SERVERS], control, connection;
	struct message asked;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_chain(&fake, control, 3);
	end_with_two(&fake, control, links[0]);
	begin_put(&fake, control);
	until_replaced(&fake);
	begin_chain(&fake, control, 3);
	asked = fake_sent(&fake, MSG_write, &connection);
	assert_int_equal(connection, links[1]);
	assert_int_equal(((const struct write_request *)asked.body)->hops_count, 2);
	fake_close(&fake);
}

/* The first hop says nothing: it is given up before two seconds are over. */
static void test_put_leaves_a_silent_hop(void **state)
{
	uint64_t links[FAKE_SERVERS], control;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_chain(&fake, control, 3);
	assert_in_range(until_replaced(&fake), SLOW_HOP_MS + 200, 1800);
	fake_close(&fake);
}

/* Who was given up may only have been slow, as all are on one busy disk: if there are too few
 * without it, the put begins again, and waits for longer. */
static void test_put_has_more_patience_again(void **state)
{
	const struct put_replace_reply nobody = { .place = { .chunk = CHUNK } };
	uint64_t links[FAKE_SERVERS], control;
	struct message asked, write;
	struct receipt receipt;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_put(&fake, control);
	assert_in_range(until_replaced(&fake), SLOW_HOP_MS, 1800);
	asked = fake_sent(&fake, MSG_put_replace, NULL);
	fake_reply(&fake, control, &asked, &nobody);
	write = fake_sent(&fake, MSG_write, NULL);
	payload_sent(&fake);
	receipt = fake_receipt(&fake, 1, CHUNK, SIZE);
	fake_reply(&fake, links[1], &write,
		   &(struct write_reply){ .receipts = &receipt, .receipts_count = 1 });
	asked = fake_sent(&fake, MSG_put_commit, NULL);
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	assert_non_null(fake_action(&fake, CLIENT_REWIND));
	assert_true(fake_was_sent(&fake, MSG_put_begin));
	fake_close(&fake);
}

/* The name server only sees that there are too few copies; who refused one knows why. */
static void test_put_says_that_a_later_hop_is_full(void **state)
{
	uint64_t links[FAKE_SERVERS], control;
	const struct client_action *done;
	struct receipt receipt;
	struct message asked;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_put(&fake, control);
	asked = fake_sent(&fake, MSG_write, NULL);
	payload_sent(&fake);
	receipt = fake_receipt(&fake, 0, CHUNK, SIZE);
	fake_reply(&fake, links[0], &asked,
		   &(struct write_reply){ .failed = 1,
					  .reason = ERR_NO_SPACE,
					  .receipts = &receipt,
					  .receipts_count = 1 });
	asked = fake_sent(&fake, MSG_put_replace, NULL);
	fake_reply(&fake, control, &asked,
		   &(struct put_replace_reply){ .place = { .chunk = CHUNK } });
	asked = fake_sent(&fake, MSG_put_commit, NULL);
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	done = fake_action(&fake, CLIENT_DONE);
	assert_non_null(done);
	assert_int_equal(done->error, -ERR_NO_SPACE);
	fake_close(&fake);
}

/* Its lease ran out: all of it again, as often as is sensible. */
static void test_put_begins_again(void **state)
{
	uint64_t links[FAKE_SERVERS], control;
	struct message asked;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_put(&fake, control);
	asked = fake_sent(&fake, MSG_write, NULL);
	payload_sent(&fake);
	fake_refuse(&fake, links[0], &asked, -ERR_EXPIRED);
	assert_non_null(fake_action(&fake, CLIENT_REWIND));
	assert_true(fake_was_sent(&fake, MSG_put_begin));
	assert_true(fake_was_sent(&fake, MSG_put_abort));
	fake_close(&fake);
}

/* Replies without a receipt are no progress, however many come. */
static void test_put_leaves_a_babbler(void **state)
{
	uint64_t links[FAKE_SERVERS], control, since_ms;
	struct message write;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_put(&fake, control);
	write = fake_sent(&fake, MSG_write, NULL);
	payload_sent(&fake);
	since_ms = fake.now_ms;
	while (fake.now_ms - since_ms < 10000) {
		fake_wait(&fake, 500);
		if (fake_was_sent(&fake, MSG_put_replace))
			break;
		fake_reply_flags(&fake, links[0], &write, &(struct write_reply){ 0 }, FRAME_MORE);
	}
	assert_in_range(fake.now_ms - since_ms, 1000, 5000);
	fake_close(&fake);
}

/* A receipt of somebody who was not asked for one. */
static void test_put_ignores_strange_receipts(void **state)
{
	uint64_t links[FAKE_SERVERS], control;
	struct receipt receipts[2];
	struct message write;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_put(&fake, control);
	write = fake_sent(&fake, MSG_write, NULL);
	payload_sent(&fake);
	receipts[0] = fake_receipt(&fake, 0, CHUNK, SIZE);
	receipts[1] = fake_receipt(&fake, 2, CHUNK, SIZE);
	fake_reply(&fake, links[0], &write,
		   &(struct write_reply){ .receipts = receipts, .receipts_count = 2 });
	assert_false(fake_was_sent(&fake, MSG_put_commit));
	fake_close(&fake);
}

/* A name server lets one client have 64 open puts; whoever wants more has them wait in line. */
static void test_open_puts_are_bounded(void **state)
{
	struct client_put put = { .path = slice_of("/f"), .size = SIZE, .rewindable = true };
	uint64_t links[FAKE_SERVERS];
	unsigned int begun = 0;
	struct fake fake;

	(void)state;
	session_open(&fake, links);
	for (unsigned int i = 0; i < 200; i++) {
		struct client_start start = fake_start(&fake);
		int error;

		assert_non_null(client_put(fake.client, &start, &put, &error));
		begun += fake_was_sent(&fake, MSG_put_begin);
	}
	assert_in_range(begun, 4, 64);
	fake_close(&fake);
}

static void begin_get(struct fake *fake, uint64_t control)
{
	struct client_get get = { .path = slice_of("/f"), .most = UINT64_MAX };
	struct client_start start = fake_start(fake);
	struct node_address nodes[2] = { fake_address(fake, 0), fake_address(fake, 1) };
	struct holder holders[2] = { { .node = 0 }, { .node = 1 } };
	struct located_chunk chunk = {
		.chunk = CHUNK, .length = SIZE, .holders = holders, .holders_count = 2
	};
	struct open_reply reply = {
		.entry = { .inode = 5,
			   .type = ENTRY_FILE,
			   .size = SIZE,
			   .chunks = 1,
			   .chunk_size = CHUNK_SIZE_DEFAULT },
		.nodes = nodes,
		.nodes_count = 2,
		.chunks = &chunk,
		.chunks_count = 1,
	};
	struct message asked;
	int error;

	assert_non_null(client_get(fake->client, &start, &get, &error));
	asked = fake_sent(fake, MSG_open, NULL);
	fake_reply(fake, control, &asked, &reply);
}

static void got(struct fake *fake, uint64_t size, int error, bool last)
{
	const struct client_action *receive = fake_action(fake, CLIENT_RECEIVE);

	assert_non_null(receive);
	fake_step(fake, (struct client_event){ .kind = CLIENT_RECEIVED,
					       .op = receive->op,
					       .token = receive->token,
					       .size = size,
					       .error = error,
					       .last = last });
}

static void expect_second_holder(struct fake *fake, uint64_t second)
{
	const struct read_request *read;
	uint64_t connection;

	read = fake_sent(fake, MSG_read, &connection).body;
	assert_int_equal(connection, second);
	assert_int_equal(read->offset, BLOCK_SIZE);
	assert_int_equal(read->length, SIZE - BLOCK_SIZE);
	got(fake, SIZE - BLOCK_SIZE, 0, true);
	assert_int_equal(fake_action(fake, CLIENT_DONE)->error, 0);
	assert_true(fake_was_sent(fake, MSG_close));
}

static void test_get_goes_on_elsewhere(void **state)
{
	uint64_t links[FAKE_SERVERS], control;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_get(&fake, control);
	got(&fake, BLOCK_SIZE, 0, false);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = links[0] });
	expect_second_holder(&fake, links[1]);
	fake_close(&fake);
}

static void test_get_leaves_a_silent_holder(void **state)
{
	uint64_t links[FAKE_SERVERS], control, since_ms;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_get(&fake, control);
	got(&fake, BLOCK_SIZE, 0, false);
	since_ms = fake.now_ms;
	fake_wait(&fake, 3000);
	assert_in_range(fake.now_ms - since_ms, READ_SILENCE_MS, READ_SILENCE_MS + 100);
	expect_second_holder(&fake, links[1]);
	fake_close(&fake);
}

static void test_get_reports_a_bad_copy(void **state)
{
	const struct corrupt_request *corrupt;
	uint64_t links[FAKE_SERVERS], control;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_get(&fake, control);
	got(&fake, BLOCK_SIZE, -ERR_CORRUPT, false);
	corrupt = fake_sent(&fake, MSG_corrupt, NULL).body;
	assert_true(id_equal(&corrupt->node, &fake.servers[0]));
	assert_int_equal(corrupt->chunks[0].chunk, CHUNK);
	expect_second_holder(&fake, links[1]);
	fake_close(&fake);
}

/* Nobody says anything any more. Returns when the operation ended, in ms from now. */
static uint64_t until_done(struct fake *fake)
{
	uint64_t since_ms = fake->now_ms;

	while (fake->now_ms - since_ms < 20000) {
		const struct client_action *done;

		fake_wait(fake, 1000);
		done = fake_action(fake, CLIENT_DONE);
		if (done) {
			assert_true(done->error < 0);
			break;
		}
	}
	return fake->now_ms - since_ms;
}

static void test_all_are_silent(void **state)
{
	uint64_t links[FAKE_SERVERS];
	struct fake fake;

	(void)state;
	begin_put(&fake, session_open(&fake, links));
	assert_in_range(until_done(&fake), 1000, 4600);
	fake_close(&fake);
	begin_get(&fake, session_open(&fake, links));
	got(&fake, BLOCK_SIZE, 0, false);
	assert_in_range(until_done(&fake), 1000, 4600);
	fake_close(&fake);
}

/* However long each try takes: a server that stays busy is given up after a second. */
static void test_put_leaves_a_busy_hop(void **state)
{
	uint64_t links[FAKE_SERVERS], connection, control;
	struct message write;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_put(&fake, control);
	for (int tries = 0; tries < 4; tries++) {
		const struct client_action *payload;
		struct client_event sent = { .kind = CLIENT_SENT };

		write = fake_sent(&fake, MSG_write, &connection);
		assert_int_equal(connection, links[0]);
		payload = fake_action(&fake, CLIENT_PAYLOAD);
		assert_non_null(payload);
		sent.op = payload->op;
		sent.token = payload->token;
		fake_refuse(&fake, links[0], &write, -ERR_BUSY);
		fake.now_ms += 300;
		fake_step(&fake, sent);
		if (tries < 3)
			fake_wait(&fake, 200);
	}
	assert_true(fake_was_sent(&fake, MSG_put_replace));
	fake_close(&fake);
}

/* The name server keeps a content for a client, not for each of its gets. */
static void test_the_last_get_closes(void **state)
{
	const struct client_action *first, *second;
	uint64_t links[FAKE_SERVERS], control;
	struct fake fake;

	(void)state;
	control = session_open(&fake, links);
	begin_get(&fake, control);
	first = fake_action(&fake, CLIENT_RECEIVE);
	assert_non_null(first);
	struct client_event end = { .kind = CLIENT_RECEIVED,
				    .op = first->op,
				    .token = first->token,
				    .size = SIZE,
				    .last = true };

	begin_get(&fake, control);
	second = fake_action(&fake, CLIENT_RECEIVE);
	assert_non_null(second);
	struct client_event other_end = end;

	other_end.op = second->op;
	other_end.token = second->token;
	fake_step(&fake, end);
	assert_int_equal(fake_action(&fake, CLIENT_DONE)->error, 0);
	assert_false(fake_was_sent(&fake, MSG_close));
	fake_step(&fake, other_end);
	assert_int_equal(fake_action(&fake, CLIENT_DONE)->error, 0);
	assert_true(fake_was_sent(&fake, MSG_close));
	fake_close(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_put_replaces_a_dead_hop),
		cmocka_unit_test(test_puts_go_round_a_slow_hop),
		cmocka_unit_test(test_puts_wait_for_slow_hops),
		cmocka_unit_test(test_put_leaves_a_silent_hop),
		cmocka_unit_test(test_put_has_more_patience_again),
		cmocka_unit_test(test_put_says_that_a_later_hop_is_full),
		cmocka_unit_test(test_put_begins_again),
		cmocka_unit_test(test_put_leaves_a_babbler),
		cmocka_unit_test(test_put_ignores_strange_receipts),
		cmocka_unit_test(test_open_puts_are_bounded),
		cmocka_unit_test(test_get_goes_on_elsewhere),
		cmocka_unit_test(test_get_leaves_a_silent_holder),
		cmocka_unit_test(test_get_reports_a_bad_copy),
		cmocka_unit_test(test_all_are_silent),
		cmocka_unit_test(test_put_leaves_a_busy_hop),
		cmocka_unit_test(test_the_last_get_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
