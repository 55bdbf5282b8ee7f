/* The client core alone: appends, and contents that are held open or grow while they are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fake.h"

enum { CHUNK = 700, SIZE = 2 * 1024 * 1024, TAIL = 100000 };

static struct fake fake;
static uint64_t control, links[FAKE_SERVERS];
static const struct client_action *receive; /* of the last READ */

/* A session with a leased port, and all servers connected on that lane. */
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
	for (unsigned int i = 0; i < FAKE_SERVERS; i++)
		links[i] = fake_dialled(&fake, i, lane);
}

/* ---- appends ---- */

static void append_to_its_commit(void)
{
	struct client_put put = {
		.path = slice_of("/f"),
		.size = SIZE,
		.rewindable = true,
		.append = true,
		.rebase = true,
		.base_inode = 5,
		.base_version = 2,
		.base_size = 1000,
	};
	struct node_address node = fake_address(&fake, 0);
	struct holder holder = { .node = 0 };
	struct place place = { .chunk = CHUNK, .holders = &holder, .holders_count = 1 };
	struct client_start start = fake_start(&fake);
	const struct client_action *payload;
	struct receipt receipt = fake_receipt(&fake, 0, CHUNK, SIZE);
	struct message asked;
	int error;

	assert_non_null(client_put(fake.client, &start, &put, &error));
	asked = fake_sent(&fake, MSG_put_begin, NULL);
	assert_int_equal(((const struct put_begin_request *)asked.body)->flags, PUT_APPEND);
	fake_reply(&fake, control, &asked,
		   &(struct put_begin_reply){ .put = 9,
					      .chunk_size = CHUNK_SIZE_DEFAULT,
					      .copies_wanted = 1,
					      .nodes = &node,
					      .nodes_count = 1,
					      .places = &place,
					      .places_count = 1 });
	asked = fake_sent(&fake, MSG_write, NULL);
	payload = fake_action(&fake, CLIENT_PAYLOAD);
	fake_step(&fake, (struct client_event){
				 .kind = CLIENT_SENT, .op = payload->op, .token = payload->token });
	fake_reply(&fake, links[0], &asked,
		   &(struct write_reply){ .receipts = &receipt, .receipts_count = 1 });
}

static void test_append_follows_a_content_that_has_grown(void **state)
{
	const struct put_commit_request *commit;
	const struct client_action *done;
	struct message asked;

	(void)state;
	begin(LANE_LARGE);
	append_to_its_commit();
	asked = fake_sent(&fake, MSG_put_commit, NULL);
	commit = asked.body;
	assert_int_equal(commit->flags, PUT_APPEND);
	assert_int_equal(commit->base_inode, 5);
	assert_int_equal(commit->base_version, 2);
	assert_int_equal(commit->base_size, 1000);
	fake_refuse(&fake, control, &asked, -ERR_STALE);
	asked = fake_sent(&fake, MSG_stat, NULL);
	fake_reply(&fake, control, &asked,
		   &(struct stat_reply){ .entry = { .inode = 5, .version = 3, .size = 1500 } });
	asked = fake_sent(&fake, MSG_put_commit, NULL);
	commit = asked.body;
	assert_int_equal(commit->put, 9);
	assert_int_equal(commit->base_version, 3);
	assert_int_equal(commit->base_size, 1500);
	assert_int_equal(commit->receipts_count, 1);
	fake_reply(&fake, control, &asked,
		   &(struct put_commit_reply){ .inode = 5, .version = 4, .copies = 1 });
	done = fake_action(&fake, CLIENT_DONE);
	assert_int_equal(done->error, 0);
	assert_int_equal(client_op_stored(done->op)->size, 1500 + SIZE);
	assert_int_equal(client_op_stored(done->op)->added, SIZE);
	fake_close(&fake);
}

static void test_append_ends_where_the_file_is_gone(void **state)
{
	struct message asked;

	(void)state;
	begin(LANE_LARGE);
	append_to_its_commit();
	asked = fake_sent(&fake, MSG_put_commit, NULL);
	fake_refuse(&fake, control, &asked, -ERR_STALE);
	asked = fake_sent(&fake, MSG_stat, NULL);
	fake_refuse(&fake, control, &asked, -ERR_NOT_FOUND);
	assert_int_equal(fake_action(&fake, CLIENT_DONE)->error, -ERR_NOT_FOUND);
	assert_true(fake_was_sent(&fake, MSG_put_abort));
	fake_close(&fake);
}

/* ---- reads ---- */

/* Two chunks, the first of SIZE bytes; the second of `tail`, with that id. */
static void answer_open(uint64_t tail, uint64_t chunk)
{
	struct node_address nodes[2] = { fake_address(&fake, 0), fake_address(&fake, 1) };
	struct holder holders[2] = { { .node = 0 }, { .node = 1 } };
	struct located_chunk chunks[2] = {
		{ .chunk = CHUNK, .length = SIZE, .holders = holders, .holders_count = 1 },
		{ .chunk = chunk,
		  .offset = SIZE,
		  .length = (uint32_t)tail,
		  .holders = holders,
		  .holders_count = 2 },
	};
	struct message asked = fake_sent(&fake, MSG_open, NULL);
	uint64_t offset = ((const struct open_request *)asked.body)->offset;
	unsigned int first = offset >= SIZE;

	fake_reply(&fake, control, &asked,
		   &(struct open_reply){ .entry = { .inode = 5,
						    .type = ENTRY_FILE,
						    .size = SIZE + tail,
						    .chunks = 2,
						    .chunk_size = CHUNK_SIZE_DEFAULT },
					 .nodes = nodes,
					 .nodes_count = 2,
					 .chunks = chunks + first,
					 .chunks_count = (uint16_t)(2 - first) });
}

static void get(const struct client_get *get)
{
	struct client_start start = fake_start(&fake);
	int error;

	assert_non_null(client_get(fake.client, &start, get, &error));
}

static const struct read_request *sent_read(uint64_t link)
{
	uint64_t connection;
	const struct read_request *read = fake_sent(&fake, MSG_read, &connection).body;

	assert_int_equal(connection, link);
	receive = fake_action(&fake, CLIENT_RECEIVE);
	assert_non_null(receive);
	return read;
}

static void got(uint64_t size, int error, bool last)
{
	fake_step(&fake, (struct client_event){ .kind = CLIENT_RECEIVED,
						.op = receive->op,
						.token = receive->token,
						.size = size,
						.error = error,
						.last = last });
}

/* The chunk that is wanted has been replaced by a longer one. */
static void test_get_reads_on_in_what_has_grown(void **state)
{
	const struct read_request *read;

	(void)state;
	begin(LANE_SMALL);
	get(&(struct client_get){ .path = slice_of("/f"), .offset = SIZE + 70000, .most = SIZE });
	answer_open(TAIL, CHUNK + 1);
	read = sent_read(links[0]);
	assert_int_equal(read->offset, BLOCK_SIZE);
	assert_int_equal(read->length, TAIL - BLOCK_SIZE);
	assert_int_equal(receive->from, SIZE + 70000);
	assert_int_equal(receive->to, SIZE + TAIL);
	got(0, -ERR_NOT_FOUND, false);
	sent_read(links[1]);
	got(0, -ERR_NOT_FOUND, false);
	fake_wait(&fake, 100);
	answer_open(3 * TAIL, CHUNK + 2);
	read = sent_read(links[0]);
	assert_int_equal(read->offset, BLOCK_SIZE);
	assert_int_equal(read->length, BLOCK_SIZE);
	assert_int_equal(receive->to, SIZE + TAIL);
	got(TAIL - 70000, 0, true);
	assert_int_equal(fake_action(&fake, CLIENT_DONE)->error, 0);
	fake_close(&fake);
}

static struct client_file *file_open(void)
{
	struct client_file *file = client_file_new(fake.client, slice_of("/f"));

	assert_non_null(file);
	get(&(struct client_get){ .file = file, .open_only = true, .most = SIZE });
	answer_open(TAIL, CHUNK + 1);
	assert_int_equal(fake_action(&fake, CLIENT_DONE)->error, 0);
	assert_false(fake_was_sent(&fake, MSG_close));
	assert_int_equal(client_file_entry(file)->size, SIZE + TAIL);
	assert_int_equal(client_file_tail(file), SIZE);
	return file;
}

static void file_close(struct client_file *file)
{
	struct client_start start = fake_start(&fake);

	client_file_free(fake.client, file, start.now_ms, start.outbox);
}

static void test_reads_in_a_file_ask_no_name_server(void **state)
{
	struct client_file *file;

	(void)state;
	begin(LANE_SMALL);
	file = file_open();
	for (unsigned int i = 0; i < 3; i++) {
		get(&(struct client_get){
			.file = file, .offset = 5, .length = 4096, .most = SIZE });
		assert_false(fake_was_sent(&fake, MSG_open));
		assert_int_equal(sent_read(links[0])->length, BLOCK_SIZE);
		got(4096, 0, true);
		assert_int_equal(fake_action(&fake, CLIENT_DONE)->error, 0);
		assert_false(fake_was_sent(&fake, MSG_close));
	}
	file_close(file);
	assert_true(fake_was_sent(&fake, MSG_close));
	fake_close(&fake);
}

/* What did not work is asked for anew, by the next one that wants it. */
static void test_doubtful_places_are_asked_for_anew(void **state)
{
	struct client_file *file;

	(void)state;
	begin(LANE_SMALL);
	file = file_open();
	get(&(struct client_get){ .file = file, .offset = SIZE, .length = 10, .most = SIZE });
	sent_read(links[0]);
	got(0, -ERR_NOT_FOUND, false);
	sent_read(links[1]);
	got(10, 0, true);
	get(&(struct client_get){ .file = file, .offset = SIZE, .length = 10, .most = SIZE });
	assert_int_equal(
		((const struct open_request *)fake_sent(&fake, MSG_open, NULL).body)->inode, 5);
	answer_open(TAIL, CHUNK + 1);
	sent_read(links[0]);
	got(10, 0, true);
	file_close(file);
	fake_close(&fake);
}

/* A get by name of the same content does not end what is held open; the file does. */
static void test_contents_are_closed_once(void **state)
{
	struct client_file *file;

	(void)state;
	begin(LANE_SMALL);
	file = file_open();
	get(&(struct client_get){ .path = slice_of("/f"), .length = 10, .most = SIZE });
	answer_open(TAIL, CHUNK + 1);
	sent_read(links[0]);
	got(10, 0, true);
	assert_false(fake_was_sent(&fake, MSG_close));
	get(&(struct client_get){ .path = slice_of("/f"), .length = 10, .most = SIZE });
	answer_open(TAIL, CHUNK + 1);
	file_close(file);
	assert_false(fake_was_sent(&fake, MSG_close));
	fake_close(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_follows_a_content_that_has_grown),
		cmocka_unit_test(test_append_ends_where_the_file_is_gone),
		cmocka_unit_test(test_get_reads_on_in_what_has_grown),
		cmocka_unit_test(test_reads_in_a_file_ask_no_name_server),
		cmocka_unit_test(test_doubtful_places_are_asked_for_anew),
		cmocka_unit_test(test_contents_are_closed_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
