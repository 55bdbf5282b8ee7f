/* The client core against a name server that tells nonsense, says nothing, or goes away all the
 * time: no wrong byte, no loop, and an end in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fake.h"
#include "random.h"

enum {
	MIB = 1024 * 1024,
	LAYOUT_MAX = 200,
	ROUNDS = 3000,
	QUESTIONS_ENOUGH = 400, /* OPENs of one get */
	PATIENCE_MS = CLIENT_PATIENCE_MS + 500,
};

/* A content, and what the name server says of it. */
struct content_told {
	uint64_t size;
	uint64_t inode;
	unsigned int count;
	struct located_chunk chunks[LAYOUT_MAX];
};

static struct fake fake;
static struct prng prng;
static uint64_t control, link;
static struct holder holder = { .node = 0 };
static struct content_told layout;

static void begin(uint8_t lane)
{
	struct client_start start;
	struct message asked;

	fake_open(&fake, CLIENT_AUTO);
	start = fake_start(&fake);
	client_want(fake.client, start.now_ms, start.outbox);
	control = fake_connect(&fake);
	asked = fake_sent(&fake, MSG_port, NULL);
	fake_reply(&fake, control, &asked,
		   &(struct port_reply){ .port = 3504, .proof = fake.proof });
	fake_step(&fake, (struct client_event){ .kind = CLIENT_LISTENED });
	link = fake_dialled(&fake, 0, lane);
}

static struct client_op *start_get(const struct client_get *get)
{
	struct client_start start = fake_start(&fake);
	struct client_op *op;
	int error;

	op = client_get(fake.client, &start, get, &error);
	assert_non_null(op);
	return op;
}

static void expect_done(int error)
{
	const struct client_action *done = fake_action(&fake, CLIENT_DONE);

	assert_non_null(done);
	assert_int_equal(done->error, error);
}

static struct client_op *start_stat(void)
{
	struct client_start start = fake_start(&fake);
	struct stat_request stat = { .path = slice_of("/f") };
	int error;

	return client_request(fake.client, &start, MSG_stat, &stat, &error);
}

static struct open_reply reply_of(const struct content_told *told, unsigned int first,
				  unsigned int count)
{
	static struct node_address node;

	node = fake_address(&fake, 0);
	return (struct open_reply){
		.entry = { .inode = told->inode,
			   .type = ENTRY_FILE,
			   .size = told->size,
			   .chunks = told->count,
			   .chunk_size = CHUNK_SIZE_DEFAULT },
		.nodes = &node,
		.nodes_count = 1,
		.chunks = told->chunks + first,
		.chunks_count = (uint16_t)count,
	};
}

/* ---- places that cannot be ---- */

static void layout_two(uint64_t offset, uint32_t length)
{
	layout = (struct content_told){ .size = 2 * MIB, .inode = 5, .count = 2 };
	layout.chunks[0] = (struct located_chunk){
		.chunk = 1, .length = MIB, .holders = &holder, .holders_count = 1
	};
	layout.chunks[1] = (struct located_chunk){ .chunk = 2,
						   .offset = offset,
						   .length = length,
						   .holders = &holder,
						   .holders_count = 1 };
}

static void expect_refused(uint64_t offset, uint32_t length)
{
	struct open_reply reply;
	struct message asked;

	begin(LANE_SMALL);
	layout_two(offset, length);
	reply = reply_of(&layout, 0, 2);
	start_get(&(struct client_get){ .path = slice_of("/f"), .most = UINT64_MAX });
	asked = fake_sent(&fake, MSG_open, NULL);
	fake_reply(&fake, control, &asked, &reply);
	assert_int_equal(fake_action(&fake, CLIENT_EXPECT)->size, 2 * MIB);
	expect_done(-ERR_BAD_REQUEST);
	fake_close(&fake);
}

static void test_impossible_places(void **state)
{
	(void)state;
	expect_refused(MIB + 1, MIB - 1); /* a hole */
	expect_refused(MIB - 1, MIB + 1); /* an overlap */
	expect_refused(0, MIB);           /* out of order */
	expect_refused(MIB, MIB + 1);     /* behind the end */
	expect_refused(MIB, 0);
	expect_refused(UINT64_MAX, 2);
	expect_refused(UINT64_MAX - 1, 1);
}

static struct client_file *open_file(void)
{
	struct client_file *file = client_file_new(fake.client, slice_of("/f"));
	struct open_reply reply;
	struct message asked;

	layout_two(MIB, MIB);
	reply = reply_of(&layout, 0, 2);
	start_get(&(struct client_get){ .file = file, .open_only = true, .most = MIB });
	asked = fake_sent(&fake, MSG_open, NULL);
	fake_reply(&fake, control, &asked, &reply);
	expect_done(0);
	return file;
}

/* Whose places are in doubt, so that the next one asks. */
static struct message asked_again(struct client_file *file)
{
	struct message asked;

	start_get(&(struct client_get){ .file = file, .length = 10, .most = MIB });
	asked = fake_sent(&fake, MSG_read, NULL);
	fake_refuse(&fake, link, &asked, -ERR_IO);
	fake_wait(&fake, 100);
	return fake_sent(&fake, MSG_open, NULL);
}

static void test_no_places_at_all(void **state)
{
	struct client_file *file;
	struct open_reply reply;
	struct message asked;

	(void)state;
	begin(LANE_SMALL);
	file = open_file();
	asked = asked_again(file);
	reply = reply_of(&layout, 0, 0);
	fake_reply(&fake, control, &asked, &reply);
	assert_false(fake_was_sent(&fake, MSG_open));
	expect_done(-ERR_BAD_REQUEST);
	client_file_free(fake.client, file, fake.now_ms, &fake.outbox);
	fake_close(&fake);
}

static void test_places_of_another_content(void **state)
{
	struct client_file *file;
	struct open_reply reply;
	struct message asked;

	(void)state;
	begin(LANE_SMALL);
	file = open_file();
	asked = asked_again(file);
	layout.inode = 6;
	reply = reply_of(&layout, 0, 2);
	fake_reply(&fake, control, &asked, &reply);
	expect_done(-ERR_STALE);
	client_file_free(fake.client, file, fake.now_ms, &fake.outbox);
	fake_close(&fake);
}

/* One chunk per answer: what is asked for ahead is what is missing, once. */
static void test_places_come_one_by_one(void **state)
{
	const struct client_action *receive;
	struct open_reply reply;
	struct message asked;

	(void)state;
	begin(LANE_LARGE);
	layout_two(MIB, MIB);
	layout.chunks[0].length = layout.chunks[1].length = 2 * MIB;
	layout.chunks[1].offset = 2 * MIB;
	layout.size = 4 * MIB;
	start_get(&(struct client_get){ .path = slice_of("/f"), .most = UINT64_MAX });
	asked = fake_sent(&fake, MSG_open, NULL);
	reply = reply_of(&layout, 0, 1);
	fake_reply(&fake, control, &asked, &reply);
	receive = fake_action(&fake, CLIENT_RECEIVE);
	assert_non_null(receive);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_RECEIVED,
						.op = receive->op,
						.token = receive->token,
						.size = BLOCK_SIZE });
	asked = fake_sent(&fake, MSG_open, NULL);
	assert_int_equal(((const struct open_request *)asked.body)->offset, 2 * MIB);
	reply = reply_of(&layout, 1, 1);
	fake_reply(&fake, control, &asked, &reply);
	assert_false(fake_was_sent(&fake, MSG_open));
	receive = fake_action(&fake, CLIENT_RECEIVE);
	assert_non_null(receive);
	assert_int_equal(receive->from, 2 * MIB);
	fake_close(&fake);
}

/* ---- places of any kind ---- */

static void layout_random(void)
{
	unsigned int most = prng_below(&prng, 4) ? 5 : LAYOUT_MAX;

	layout = (struct content_told){ .inode = 5,
					.count = 1 + (unsigned int)prng_below(&prng, most) };
	for (unsigned int i = 0; i < layout.count; i++) {
		uint32_t length = 1 + (uint32_t)prng_below(&prng, 2) * BLOCK_SIZE +
				  (uint32_t)prng_below(&prng, prng_below(&prng, 2) ? 4 : MIB);

		layout.chunks[i] = (struct located_chunk){ .chunk = 1 + i,
							   .offset = layout.size,
							   .length = length,
							   .holders = &holder,
							   .holders_count = 1 };
		layout.size += length;
	}
}

static unsigned int chunk_at(uint64_t offset)
{
	unsigned int at = 0;

	while (at + 1 < layout.count && layout.chunks[at + 1].offset <= offset)
		at++;
	return at;
}

/* A byte at the border of a chunk, or next to it. */
static uint64_t near_border(void)
{
	const struct located_chunk *chunk = &layout.chunks[prng_below(&prng, layout.count)];
	uint64_t at = chunk->offset + prng_below(&prng, 3);

	at = at > 0 ? at - 1 : 0;
	return at < layout.size ? at : layout.size - 1;
}

static void spoil_number(uint64_t *number)
{
	switch (prng_below(&prng, 5)) {
	case 0: *number = 0; break;
	case 1: *number = UINT64_MAX - prng_below(&prng, 3); break;
	case 2: *number += prng_below(&prng, 3) - 1; break;
	case 3: *number ^= (uint64_t)1 << prng_below(&prng, 64); break;
	default: *number = prng_below(&prng, layout.size * 2);
	}
}

static void spoil_chunk(struct located_chunk *chunk)
{
	uint64_t length = chunk->length;

	switch (prng_below(&prng, 4)) {
	case 0:
		spoil_number(&length);
		chunk->length = (uint32_t)(length % (CHUNK_SIZE_MAX + 1u));
		break;
	case 1: spoil_number(&chunk->offset); break;
	case 2: chunk->holders_count = 0; break;
	default: chunk->chunk++;
	}
}

struct answer {
	bool spoilt;
	unsigned int questions;
};

static void serve_open(struct answer *answer, const struct message *asked)
{
	struct content_told told = layout;
	unsigned int first = chunk_at(((const struct open_request *)asked->body)->offset);
	unsigned int most = told.count - first < CHUNKS_MAX ? told.count - first : CHUNKS_MAX;
	unsigned int count = 1 + (unsigned int)prng_below(&prng, most);
	struct open_reply reply;

	assert_true(++answer->questions < QUESTIONS_ENOUGH);
	if (answer->spoilt && prng_below(&prng, 2))
		spoil_chunk(&told.chunks[first + prng_below(&prng, count)]);
	if (answer->spoilt && prng_below(&prng, 8) == 0)
		spoil_number(&told.size);
	if (answer->spoilt && prng_below(&prng, 8) == 0)
		first = (unsigned int)prng_below(&prng, told.count - count + 1);
	if (answer->spoilt && prng_below(&prng, 8) == 0)
		count = 0;
	reply = reply_of(&told, first, count);
	fake_reply(&fake, control, asked, &reply);
}

/* What the core has just asked for: the places, or bytes. */
struct wanted {
	bool open, read;
	struct message asked;
	struct client_action receive;
	const struct client_action *done;
};

static void look(struct wanted *wanted)
{
	const struct client_action *action;

	fake.seen = 0;
	action = fake_action(&fake, CLIENT_DONE);
	wanted->done = action;
	if (fake_was_sent(&fake, MSG_open)) {
		wanted->asked = fake_sent(&fake, MSG_open, NULL);
		wanted->open = true;
	}
	fake.seen = 0;
	while ((action = fake_action(&fake, CLIENT_RECEIVE)) != NULL) {
		/* One that is asked for ahead is asked for again when its turn comes. */
		if (wanted->read)
			continue;
		wanted->receive = *action;
		wanted->read = true;
	}
}

/* The next bytes of the file, and they lie in their chunk. */
static void check_receive(const struct client_action *receive, uint64_t next)
{
	const struct located_chunk *chunk = &layout.chunks[chunk_at(next)];

	assert_int_equal(receive->from, next);
	assert_true(receive->to > receive->from);
	assert_true(receive->to <= chunk->offset + chunk->length);
	assert_int_equal(receive->offset - receive->start, chunk->offset);
	assert_true(receive->offset <= receive->from);
	assert_true(receive->offset + receive->size >= receive->to);
	assert_true(receive->start % BLOCK_SIZE == 0);
	assert_true(receive->start + receive->size <= chunk->length);
}

/* Delivers it, or half of it, or nothing. Returns how many bytes. */
static uint64_t serve_read(const struct client_action *receive)
{
	uint64_t size = receive->to - receive->from;
	bool fails = prng_below(&prng, 6) == 0;

	size = fails ? prng_below(&prng, size) : size;
	fake_step(&fake, (struct client_event){ .kind = CLIENT_RECEIVED,
						.op = receive->op,
						.token = receive->token,
						.size = size,
						.error = fails ? -ERR_UNREACHABLE : 0,
						.last = !fails });
	return size;
}

static int run_get(struct answer *answer, uint64_t from, uint64_t to)
{
	struct wanted wanted;
	uint64_t next = from;

	start_get(&(struct client_get){
		.path = slice_of("/f"), .offset = from, .length = to - from, .most = UINT64_MAX });
	for (unsigned int step = 0; step < 10000; step++) {
		wanted = (struct wanted){ 0 };
		look(&wanted);
		if (wanted.done && wanted.done->error == 0 && !answer->spoilt)
			assert_int_equal(next, to);
		if (wanted.done)
			return wanted.done->error;
		if (wanted.read && !answer->spoilt)
			check_receive(&wanted.receive, next);
		if (wanted.open)
			serve_open(answer, &wanted.asked);
		else if (wanted.read)
			next += serve_read(&wanted.receive);
		else
			fake_wait(&fake, 1000);
	}
	fail_msg("no end");
	return 0;
}

/* Large gets ask for two parts at once, which this server does not follow. */
static void random_gets(bool spoilt)
{
	unsigned int ended_well = 0;

	prng.state = 7;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct answer answer = { .spoilt = spoilt };
		uint64_t from, to;
		int error;

		begin(LANE_SMALL);
		layout_random();
		from = near_border();
		to = near_border() + 1;
		if (to <= from)
			to = from + 1;
		if (to - from > MIB)
			to = from + MIB;
		error = run_get(&answer, from, to);
		ended_well += error == 0;
		if (!spoilt && error != 0 && error != -ERR_UNREACHABLE)
			fail_msg("round %u: %s", i, error_name(error));
		fake_close(&fake);
	}
	assert_true(ended_well > ROUNDS / 10);
}

static void test_any_range_of_any_layout(void **state)
{
	(void)state;
	random_gets(false);
}

static void test_any_nonsense(void **state)
{
	(void)state;
	random_gets(true);
}

/* ---- name servers that are of no use ---- */

/* Answers HELLO, and then what the test does. Returns when the operation ended. */
typedef void misbehave_fn(void);

static void silent(void)
{
}

static void hang_up(void)
{
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = control });
}

static void nonsense(void)
{
	struct frame_header header = { .type = MSG_stat, .reply = true };

	fake_step(&fake, (struct client_event){ .kind = CLIENT_FRAME,
						.connection = control,
						.header = &header,
						.body = (const uint8_t *)"" });
}

static bool is_done(const struct client_op *op)
{
	const struct client_action *done;

	fake.seen = 0;
	while ((done = fake_action(&fake, CLIENT_DONE)) != NULL) {
		if (done->op == op)
			return true;
	}
	return false;
}

/* Dials succeed, HELLO is answered; nothing else is. */
static uint64_t time_of_end(const struct client_op *op, misbehave_fn *misbehave)
{
	uint64_t start_ms = fake.now_ms;

	while (!is_done(op)) {
		const struct client_action *dial;

		assert_true(fake.now_ms - start_ms < 60000);
		fake.seen = 0;
		dial = fake_action(&fake, CLIENT_DIAL);
		fake.seen = 0;
		if (dial) {
			control = fake_connect(&fake);
			if (is_done(op))
				break;
			misbehave();
			fake.now_ms += CLIENT_TICK_MS;
		} else {
			fake_wait(&fake, CLIENT_TICK_MS);
		}
	}
	return fake.now_ms - start_ms;
}

static void expect_end_in_time(misbehave_fn *misbehave, bool question)
{
	struct client_op *op;

	fake_open(&fake, CLIENT_AUTO);
	op = question ? start_stat()
		      : start_get(&(struct client_get){ .path = slice_of("/f"), .most = MIB });
	fake_beacon(&fake, 1, 1);
	assert_in_range(time_of_end(op, misbehave), 0, PATIENCE_MS);
	fake_close(&fake);
}

static void test_only_hello_is_answered(void **state)
{
	misbehave_fn *const all[] = { silent, hang_up, nonsense };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		expect_end_in_time(all[i], true);
		expect_end_in_time(all[i], false);
	}
}

/* It is not asked for ever what it breaks at, even if all else goes well. */
static void test_a_question_it_breaks_at(void **state)
{
	struct client_op *op;
	unsigned int times = 0;

	(void)state;
	begin(LANE_SMALL);
	op = start_stat();
	do {
		struct message asked;

		assert_true(times++ < 100);
		hang_up();
		for (int i = 0; i < 10 && !is_done(op); i++) {
			fake.seen = 0;
			if (fake_action(&fake, CLIENT_DIAL))
				break;
			fake_wait(&fake, CLIENT_TICK_MS);
		}
		if (is_done(op))
			break;
		fake.seen = 0;
		control = fake_connect(&fake);
		asked = fake_sent(&fake, MSG_port, NULL);
		fake_reply(&fake, control, &asked, &(struct port_reply){ .port = 0 });
		fake_wait(&fake, CLIENT_TICK_MS);
	} while (!is_done(op));
	fake_close(&fake);
}

/* What was asked while it was silent already does not wait twice as long. */
static void test_silence_counts_from_its_start(void **state)
{
	struct client_op *second;
	uint64_t start_ms, asked_ms;

	(void)state;
	begin(LANE_SMALL);
	fake.now_ms += 1000;
	start_stat();
	start_ms = fake.now_ms;
	while (fake.now_ms - start_ms < 1000)
		fake_wait(&fake, 100);
	second = start_stat();
	asked_ms = fake.now_ms;
	while (!is_done(second)) {
		assert_in_range(fake.now_ms - asked_ms, 0, PATIENCE_MS);
		fake_wait(&fake, CLIENT_TICK_MS);
	}
	fake_close(&fake);
}

/* Bytes that come are progress, whoever is away. */
static void test_gets_go_on_without_a_name_server(void **state)
{
	const struct client_action *receive;
	struct client_action asked_for;
	struct open_reply reply;
	struct message asked;

	(void)state;
	begin(LANE_LARGE);
	layout_two(MIB, MIB);
	layout.chunks[0].length = 2 * MIB;
	layout.chunks[1].offset = 2 * MIB;
	layout.size = 3 * MIB;
	start_get(
		&(struct client_get){ .path = slice_of("/f"), .length = 2 * MIB, .most = 2 * MIB });
	asked = fake_sent(&fake, MSG_open, NULL);
	reply = reply_of(&layout, 0, 2);
	fake_reply(&fake, control, &asked, &reply);
	receive = fake_action(&fake, CLIENT_RECEIVE);
	assert_non_null(receive);
	asked_for = *receive;
	hang_up();
	for (unsigned int i = 0; i < 31; i++) {
		uint64_t until_ms = fake.now_ms + 500;

		while (fake.now_ms < until_ms) {
			fake_wait(&fake, CLIENT_TICK_MS);
			fake.seen = 0;
			assert_null(fake_action(&fake, CLIENT_DONE));
		}
		fake_step(&fake, (struct client_event){ .kind = CLIENT_RECEIVED,
							.op = asked_for.op,
							.token = asked_for.token,
							.size = BLOCK_SIZE,
							.last = i == 31 });
	}
	fake_close(&fake);
}

/* Else what is held open would be lost with a name server that is back in a moment. */
static void test_files_are_held_again(void **state)
{
	struct client_file *file;
	const struct client_action *dial = NULL;

	(void)state;
	begin(LANE_SMALL);
	file = open_file();
	hang_up();
	for (int i = 0; i < 40 && !dial; i++) {
		fake.seen = 0;
		dial = fake_action(&fake, CLIENT_DIAL);
		if (!dial)
			fake_wait(&fake, CLIENT_TICK_MS);
	}
	assert_non_null(dial);
	fake.seen = 0;
	fake_wait(&fake, CLIENT_TICK_MS);
	fake_step(&fake,
		  (struct client_event){ .kind = CLIENT_OPENED, .connection = dial->connection });
	assert_true(fake_was_sent(&fake, MSG_hello));
	/* But not for ever. */
	for (int i = 0; i < 200; i++)
		fake_wait(&fake, CLIENT_TICK_MS);
	assert_true(client_deadline(fake.client) == UINT64_MAX);
	client_file_free(fake.client, file, fake.now_ms, &fake.outbox);
	fake_close(&fake);
}

/* ---- operations and what is left of them ---- */

/* A caller's function may start something while the ends of others are still to be told. */
static void test_what_has_ended_stays_until_it_is_told(void **state)
{
	struct client_op *first, *again;
	struct stat_request stat = { .path = slice_of("/f") };
	struct client_start start;
	struct message asked;
	int error;

	(void)state;
	begin(LANE_SMALL);
	first = start_stat();
	asked = fake_sent(&fake, MSG_stat, NULL);
	fake_refuse(&fake, control, &asked, -ERR_NOT_FOUND);
	start = (struct client_start){ fake.now_ms, &fake, &fake.outbox };
	again = client_request(fake.client, &start, MSG_stat, &stat, &error);
	assert_ptr_not_equal(first, again);
	assert_ptr_equal(fake_action(&fake, CLIENT_DONE)->op, first);
	assert_ptr_equal(start_stat(), first);
	fake_close(&fake);
}

static unsigned int closed_inodes(struct client_file **files, unsigned int count)
{
	unsigned int closed = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct client_start start = fake_start(&fake);

		client_file_free(fake.client, files[i], start.now_ms, start.outbox);
		closed += fake_was_sent(&fake, MSG_close);
	}
	return closed;
}

/* Every content that was opened is closed, whatever is being asked meanwhile. */
static void test_every_content_is_closed(void **state)
{
	struct client_file *files[3];
	struct open_reply reply;
	struct message asked;
	struct message open;
	unsigned int closed;

	(void)state;
	begin(LANE_SMALL);
	for (unsigned int i = 0; i < 3; i++) {
		files[i] = client_file_new(fake.client, slice_of("/f"));
		layout_two(MIB, MIB);
		layout.inode = 10 + i;
		reply = reply_of(&layout, 0, 2);
		start_get(&(struct client_get){ .file = files[i], .open_only = true, .most = MIB });
		asked = fake_sent(&fake, MSG_open, NULL);
		fake_reply(&fake, control, &asked, &reply);
	}
	start_get(&(struct client_get){ .path = slice_of("/g"), .length = 1, .most = MIB });
	open = fake_sent(&fake, MSG_open, NULL);
	closed = closed_inodes(files, 3);
	fake_refuse(&fake, control, &open, -ERR_NOT_FOUND);
	closed += fake_was_sent(&fake, MSG_close);
	assert_int_equal(closed, 3);
	fake_close(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_impossible_places),
		cmocka_unit_test(test_no_places_at_all),
		cmocka_unit_test(test_places_of_another_content),
		cmocka_unit_test(test_places_come_one_by_one),
		cmocka_unit_test(test_any_range_of_any_layout),
		cmocka_unit_test(test_any_nonsense),
		cmocka_unit_test(test_only_hello_is_answered),
		cmocka_unit_test(test_a_question_it_breaks_at),
		cmocka_unit_test(test_silence_counts_from_its_start),
		cmocka_unit_test(test_gets_go_on_without_a_name_server),
		cmocka_unit_test(test_files_are_held_again),
		cmocka_unit_test(test_what_has_ended_stays_until_it_is_told),
		cmocka_unit_test(test_every_content_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
