/* The client core alone: puts of what comes only once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_stand_in.h"

enum { SIZE = 1000 }; /* of a chunk */

struct stream {
	struct fake fake;
	uint64_t control, link;
	struct client_op *op;
	uint64_t chunk;        /* the last that was leased */
	bool wanted;           /* the source is asked to go on, */
	uint64_t from;         /* here */
	struct message places; /* the last question for some; info NULL: none */
};

/* What was asked is remembered until it is answered. */
static void look(struct stream *s)
{
	const struct client_action *fill;

	s->fake.seen = 0;
	while ((fill = fake_action(&s->fake, CLIENT_FILL)) != NULL) {
		assert_false(s->wanted);
		s->wanted = true;
		s->from = fill->offset;
		assert_int_equal(fill->size, SIZE);
	}
	s->fake.seen = 0;
	if (fake_was_sent(&s->fake, MSG_put_chunks))
		s->places = fake_sent(&s->fake, MSG_put_chunks, NULL);
}

static void step(struct stream *s, const struct client_event *event)
{
	fake_step(&s->fake, *event);
	look(s);
}

static void stream_open(struct stream *s)
{
	struct client_put put = { .path = slice_of("/f"), .size = SIZE_UNKNOWN };
	struct client_start start;
	struct message asked;
	int error;

	*s = (struct stream){ .chunk = 0 };
	fake_open(&s->fake, CLIENT_AUTO);
	session_want(&s->fake);
	s->control = fake_connect(&s->fake);
	asked = fake_sent(&s->fake, MSG_port, NULL);
	fake_reply(&s->fake, s->control, &asked,
		   &(struct port_reply){ .port = 3504, .proof = s->fake.proof });
	fake_step(&s->fake, (struct client_event){ .kind = CLIENT_LISTENED });
	s->link = fake_dialled(&s->fake, 0, LANE_SMALL);
	start = fake_start(&s->fake);
	s->op = client_put(s->fake.client, &start, &put, &error);
	assert_non_null(s->op);
}

static void begin(struct stream *s, uint32_t chunk_size)
{
	struct message asked = fake_sent(&s->fake, MSG_put_begin, NULL);
	struct node_address node = fake_address(&s->fake, 0);
	struct holder holder = { .node = 0 };
	struct place place = { .chunk = ++s->chunk, .holders = &holder, .holders_count = 1 };

	fake_reply(&s->fake, s->control, &asked,
		   &(struct put_begin_reply){ .put = 9,
					      .chunk_size = chunk_size,
					      .copies_wanted = 1,
					      .nodes = &node,
					      .nodes_count = 1,
					      .places = &place,
					      .places_count = 1 });
	look(s);
}

static void place_give(struct stream *s)
{
	const struct message asked = s->places;
	struct node_address node = fake_address(&s->fake, 0);
	struct holder holder = { .node = 0 };
	struct place place = { .chunk = ++s->chunk, .holders = &holder, .holders_count = 1 };

	assert_non_null(asked.info);
	s->places.info = NULL;
	fake_reply(&s->fake, s->control, &asked,
		   &(struct put_chunks_reply){
			   .nodes = &node, .nodes_count = 1, .places = &place, .places_count = 1 });
	look(s);
}

static void fill(struct stream *s, uint64_t offset, uint64_t size)
{
	assert_true(s->wanted);
	assert_int_equal(s->from, offset);
	s->wanted = false;
	step(s, &(struct client_event){
			.kind = CLIENT_FILLED, .op = s->op, .size = size, .last = size < SIZE });
}

/* The chunk at `offset` leaves and arrives. */
static void store(struct stream *s, uint64_t offset, uint64_t size)
{
	struct message write = fake_sent(&s->fake, MSG_write, NULL);
	const struct client_action *payload = fake_action(&s->fake, CLIENT_PAYLOAD);
	struct receipt receipt = fake_receipt(&s->fake, 0, s->chunk, size);

	assert_int_equal(payload->offset, offset);
	assert_int_equal(payload->size, size);
	fake_step(&s->fake, (struct client_event){ .kind = CLIENT_SENT,
						   .op = payload->op,
						   .token = payload->token });
	fake_reply(&s->fake, s->link, &write,
		   &(struct write_reply){ .receipts = &receipt, .receipts_count = 1 });
}

/* `count` whole chunks are stored; the next one is filled, and wants a place. */
static void stream_many(struct stream *s, unsigned int count)
{
	stream_open(s);
	begin(s, SIZE);
	for (unsigned int i = 0; i < count; i++) {
		fill(s, (uint64_t)i * SIZE, SIZE);
		if (i)
			place_give(s);
		store(s, (uint64_t)i * SIZE, SIZE);
	}
	fill(s, (uint64_t)count * SIZE, SIZE / 2);
}

static void forget(struct stream *s)
{
	const struct message asked = s->places;

	assert_non_null(asked.info);
	s->places.info = NULL;
	fake_refuse(&s->fake, s->control, &asked, -ERR_EXPIRED);
}

static void commit(struct stream *s, uint64_t size)
{
	struct message asked = fake_sent(&s->fake, MSG_put_commit, NULL);
	const struct put_commit_request *commit = asked.body;

	assert_int_equal(commit->size, size);
	fake_reply(&s->fake, s->control, &asked,
		   &(struct put_commit_reply){ .version = 1, .copies = 1 });
	assert_int_equal(fake_action(&s->fake, CLIENT_DONE)->error, 0);
}

/* The name server has forgotten the put: all of it leaves once more. */
static void test_what_is_in_memory_is_put_again(void **state)
{
	struct stream s;

	(void)state;
	stream_many(&s, 2);
	forget(&s);
	assert_non_null(fake_action(&s.fake, CLIENT_REWIND));
	begin(&s, SIZE);
	store(&s, 0, SIZE);
	place_give(&s);
	store(&s, SIZE, SIZE);
	place_give(&s);
	store(&s, 2 * SIZE, SIZE / 2);
	assert_false(s.wanted);
	commit(&s, 2 * SIZE + SIZE / 2);
	fake_close(&s.fake);
}

/* While the source still fills the next chunk, too: it is not asked for anything twice. */
static void test_what_still_comes_is_awaited(void **state)
{
	const struct client_action *payload;
	struct message asked;
	struct stream s;

	(void)state;
	stream_open(&s);
	begin(&s, SIZE);
	fill(&s, 0, SIZE);
	asked = fake_sent(&s.fake, MSG_write, NULL);
	payload = fake_action(&s.fake, CLIENT_PAYLOAD);
	step(&s, &(struct client_event){
			 .kind = CLIENT_SENT, .op = payload->op, .token = payload->token });
	assert_true(s.wanted);
	fake_refuse(&s.fake, s.link, &asked, -ERR_EXPIRED);
	assert_non_null(fake_action(&s.fake, CLIENT_REWIND));
	begin(&s, SIZE);
	store(&s, 0, SIZE);
	fill(&s, SIZE, 1);
	place_give(&s);
	store(&s, SIZE, 1);
	commit(&s, SIZE + 1);
	fake_close(&s.fake);
}

/* The fourth chunk took the place of one that was stored. */
static void test_what_is_gone_cannot_be_put_again(void **state)
{
	struct stream s;

	(void)state;
	stream_many(&s, 3);
	forget(&s);
	assert_int_equal(fake_action(&s.fake, CLIENT_DONE)->error, -ERR_EXPIRED);
	fake_close(&s.fake);
}

/* What is in memory is cut as it was. */
static void test_another_size_of_chunks(void **state)
{
	struct stream s;

	(void)state;
	stream_many(&s, 1);
	forget(&s);
	begin(&s, 2 * SIZE);
	assert_int_equal(fake_action(&s.fake, CLIENT_DONE)->error, -ERR_EXPIRED);
	fake_close(&s.fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_in_memory_is_put_again),
		cmocka_unit_test(test_what_still_comes_is_awaited),
		cmocka_unit_test(test_what_is_gone_cannot_be_put_again),
		cmocka_unit_test(test_another_size_of_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
