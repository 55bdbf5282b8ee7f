/* libmuster against servers that lie, callers that do what they like, and readers that do not
 * read. One thread per connection plays the name server and two storage servers: the first one
 * lies, the second one does not. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "codec.h"
#include "endpoint.h"
#include "error.h"
#include "hash.h"
#include "library_world.h"

enum {
	SIZE = 5 * DATA_PAYLOAD_MAX / 2,
	CHUNK = 7,
};

enum lie {
	LIE_NONE,
	LIE_LENGTH,     /* more than was asked for */
	LIE_OFFSET,     /* from somewhere else */
	LIE_ID,         /* of a READ that nobody sent */
	LIE_NO_LAST,    /* all of it, but no end */
	LIE_EARLY_LAST, /* an end, but not all of it */
	LIE_TWICE,      /* and all of it once more */
	LIE_CRC,
	LIE_ABORT,
	LIE_REFUSAL,
	LIE_ANSWER, /* a READ has no answer but DATA */
	LIE_HANG_UP,
	LIE_COUNT,
};

struct server {
	struct world world;
	enum lie lie;
	uint8_t *content;
	const char *second; /* name that is listed */
	unsigned int commits;
};

static struct server *server_of(const struct world_peer *peer)
{
	return peer->world->context;
}

/* ---- the servers ---- */

static void on_open(struct world_peer *peer, const struct message *message)
{
	struct endpoint endpoint = endpoint_ipv4(0x7f000001, peer->world->port);
	struct node_address nodes[2] = {
		{ .node = world_id('s', 0), .endpoints = &endpoint, .endpoints_count = 1 },
		{ .node = world_id('s', 1), .endpoints = &endpoint, .endpoints_count = 1 },
	};
	struct holder holders[2] = { { .node = 0 }, { .node = 1 } };
	struct located_chunk chunk = {
		.chunk = CHUNK, .length = SIZE, .holders = holders, .holders_count = 2
	};
	struct open_reply reply = {
		.entry = { .inode = 5,
			   .type = ENTRY_FILE,
			   .size = SIZE,
			   .chunks = 1,
			   .chunk_size = CHUNK_SIZE_DEFAULT,
			   .digest_known = 1,
			   .digest = digest_of(server_of(peer)->content, SIZE) },
		.nodes = nodes,
		.nodes_count = 2,
		.chunks = &chunk,
		.chunks_count = 1,
	};

	reply_encode(&peer->out, MSG_open, message->id, &reply);
}

static void on_list(struct world_peer *peer, const struct message *message)
{
	struct entry entries[2] = {
		{ .name = slice_of("a"), .inode = 2, .type = ENTRY_FILE },
		{ .name = slice_of(server_of(peer)->second), .inode = 3, .type = ENTRY_FILE },
	};

	reply_encode(&peer->out, MSG_list, message->id,
		     &(struct list_reply){ .more = 1, .entries = entries, .entries_count = 2 });
}

static void frame_add(struct world_peer *peer, const struct data_head *head, const uint8_t *data,
		      bool damaged)
{
	uint8_t bytes[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX];
	uint8_t crcs[DATA_CRCS_SIZE_MAX];

	crc32c_blocks(data, head->length, crcs);
	crcs[0] ^= damaged;
	buffer_append(&peer->out, bytes, data_head_encode(head, crcs, bytes));
	buffer_append(&peer->out, data, head->length);
}

static void data_add(struct world_peer *peer, uint32_t id, const struct read_request *read,
		     enum lie lie)
{
	const uint8_t *content = server_of(peer)->content;
	uint64_t length = read->length;
	uint64_t shift = lie == LIE_OFFSET ? BLOCK_SIZE : 0;

	if (lie == LIE_EARLY_LAST)
		length = DATA_PAYLOAD_MAX;
	for (uint64_t at = 0; at < length; at += DATA_PAYLOAD_MAX) {
		uint64_t left = length - at;
		struct data_head head = {
			.id = lie == LIE_ID ? id + 1 : id,
			.offset = read->offset + at + shift,
			.length = (uint32_t)(left < DATA_PAYLOAD_MAX ? left : DATA_PAYLOAD_MAX),
		};

		if (head.length == left && lie == LIE_LENGTH)
			head.length = DATA_PAYLOAD_MAX;
		if (at + DATA_PAYLOAD_MAX >= length && lie != LIE_NO_LAST)
			head.flags = FRAME_LAST;
		frame_add(peer, &head, content + read->offset + at, lie == LIE_CRC);
	}
}

static void on_read(struct world_peer *peer, const struct message *message)
{
	struct id liar = world_id('s', 0);
	enum lie lie = id_equal(&peer->self, &liar) ? server_of(peer)->lie : LIE_NONE;
	uint8_t head[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX];

	switch (lie) {
	case LIE_ABORT:
		buffer_append(&peer->out, head,
			      data_head_encode(&(struct data_head){ .id = message->id,
								    .flags = FRAME_ABORT },
					       NULL, head));
		break;
	case LIE_REFUSAL: refusal_encode(&peer->out, MSG_read, message->id, -ERR_IO); break;
	case LIE_ANSWER:
		reply_encode(&peer->out, MSG_read, message->id, &(struct read_reply){ 0 });
		break;
	case LIE_HANG_UP: shutdown(peer->socket, SHUT_RDWR); break;
	case LIE_TWICE: data_add(peer, message->id, message->body, lie); /* fall through */
	default: data_add(peer, message->id, message->body, lie);
	}
}

/* ---- an append to a file that is empty when it is looked at, and no more when it is made ---- */

enum { GROWN = 1000 };

static void on_open_empty(struct world_peer *peer, const struct message *message)
{
	reply_encode(&peer->out, MSG_open, message->id,
		     &(struct open_reply){ .entry = { .inode = 5, .type = ENTRY_FILE } });
}

static void on_put_begin(struct world_peer *peer, const struct message *message)
{
	struct endpoint endpoint = endpoint_ipv4(0x7f000001, peer->world->port);
	struct node_address node = { .node = world_id('s', 1),
				     .endpoints = &endpoint,
				     .endpoints_count = 1 };
	struct holder holder = { .node = 0 };
	struct place place = { .chunk = CHUNK, .holders = &holder, .holders_count = 1 };

	reply_encode(&peer->out, MSG_put_begin, message->id,
		     &(struct put_begin_reply){ .put = 9,
						.chunk_size = CHUNK_SIZE_DEFAULT,
						.copies_wanted = 1,
						.nodes = &node,
						.nodes_count = 1,
						.places = &place,
						.places_count = 1 });
}

static void on_write(struct world_peer *peer, const struct message *message)
{
	const struct write_request *write = message->body;
	struct receipt receipt = { .chunk = CHUNK, .length = write->length, .holder = peer->self };

	reply_encode(&peer->out, MSG_write, message->id,
		     &(struct write_reply){ .receipts = &receipt, .receipts_count = 1 });
}

static void on_put_commit(struct world_peer *peer, const struct message *message)
{
	if (server_of(peer)->commits++ == 0)
		refusal_encode(&peer->out, MSG_put_commit, message->id, -ERR_STALE);
	else
		reply_encode(&peer->out, MSG_put_commit, message->id,
			     &(struct put_commit_reply){ .inode = 5, .version = 3, .copies = 1 });
}

static void serve_append(struct world_peer *peer, const struct message *message)
{
	switch (message->info->code) {
	case MSG_open: on_open_empty(peer, message); break;
	case MSG_put_begin: on_put_begin(peer, message); break;
	case MSG_write: on_write(peer, message); break;
	case MSG_put_commit: on_put_commit(peer, message); break;
	case MSG_stat:
		reply_encode(&peer->out, MSG_stat, message->id,
			     &(struct stat_reply){
				     .entry = { .inode = 5, .type = ENTRY_FILE, .size = GROWN } });
		break;
	case MSG_data:
	case MSG_close: break;
	default: refusal_encode(&peer->out, message->info->code, message->id, -ERR_UNSUPPORTED);
	}
}

static void serve(struct world_peer *peer, const struct message *message)
{
	switch (message->info->code) {
	case MSG_open: on_open(peer, message); break;
	case MSG_read: on_read(peer, message); break;
	case MSG_list: on_list(peer, message); break;
	case MSG_close: break;
	case MSG_stat:
		reply_encode(&peer->out, MSG_stat, message->id,
			     &(struct stat_reply){ .entry = { .type = ENTRY_FILE } });
		break;
	default: refusal_encode(&peer->out, message->info->code, message->id, -ERR_UNSUPPORTED);
	}
}

static struct muster *server_open(struct server *server, enum lie lie)
{
	*server = (struct server){
		.world = { .serve = serve, .context = server },
		.lie = lie,
		.second = "b",
		.content = malloc(SIZE + DATA_PAYLOAD_MAX),
	};
	for (size_t i = 0; i < SIZE + DATA_PAYLOAD_MAX; i++)
		server->content[i] = (uint8_t)(i * 2654435761u >> 13);
	return world_open(&server->world);
}

static void server_close(struct server *server, struct muster *session)
{
	world_close(&server->world, session);
	free(server->content);
}

/* ---- servers that lie ---- */

static void test_lies(void **state)
{
	(void)state;
	for (unsigned int lie = LIE_NONE; lie < LIE_COUNT; lie++) {
		uint8_t *data = calloc(1, SIZE);
		struct muster_get_args get = {
			.path = "/f",
			.sink = { .data = data, .size = SIZE },
		};
		struct server server;
		struct muster *session = server_open(&server, (enum lie)lie);
		uint64_t start_ms = clock_monotonic_ms();
		int rc = muster_get(session, &get, NULL);

		if (rc < 0 || clock_monotonic_ms() - start_ms > 1800)
			fail_msg("lie %u: %s after %u ms", lie, muster_error_name(rc),
				 (unsigned int)(clock_monotonic_ms() - start_ms));
		assert_memory_equal(data, server.content, SIZE);
		server_close(&server, session);
		free(data);
	}
}

static void expect_listing_ends(const char *second)
{
	struct muster_entry entry;
	struct muster_list *list;
	struct server server;
	struct muster *session;
	unsigned int count = 0;
	int rc;

	session = server_open(&server, LIE_NONE);
	server.second = second;
	rc = muster_list_open(session, "/", &list);
	while (rc == 0 && (rc = muster_list_next(list, &entry)) == 1 && count++ < 100)
		rc = 0;
	assert_int_equal(rc, -MUSTER_E_BAD_REQUEST);
	muster_list_close(list);
	server_close(&server, session);
}

/* The same page again and again. */
static void test_endless_listing(void **state)
{
	(void)state;
	expect_listing_ends("b");
	expect_listing_ends("M");
	expect_listing_ends("a");
	expect_listing_ends("");
}

/* The digest of what was added is not that of the file. */
static void test_append_to_what_was_empty(void **state)
{
	static const uint8_t zero[16];
	struct muster_put_result stored;
	struct muster_put_args put = { .path = "/f", .source = { .data = "more", .size = 4 } };
	struct server server = { .world = { .transfer = MUSTER_TRANSFER_PASSIVE } };
	struct muster *session;

	(void)state;
	server.world.serve = serve_append;
	server.world.context = &server;
	session = world_open(&server.world);
	assert_int_equal(muster_append(session, &put, &stored), 0);
	assert_int_equal(stored.size, GROWN + 4);
	assert_memory_equal(stored.digest, zero, sizeof(zero));
	world_close(&server.world, session);
}

/* ---- callers that do what they like ---- */

/* Also when another call has seen it first, as the wake-up that it is. */
static void test_interrupt_before_a_wait(void **state)
{
	struct server server;
	struct muster *session = server_open(&server, LIE_NONE);

	(void)state;
	while (muster_wait(session, 200) > 0 || muster_timeout(session) >= 0)
		continue;
	muster_interrupt(session);
	muster_process(session);
	alarm(20); /* the end of a wait that does not end */
	assert_int_equal(muster_wait(session, -1), -MUSTER_E_CANCELLED);
	alarm(0);
	assert_int_equal(muster_wait(session, 0), 0);
	server_close(&server, session);
}

static void take_late(void *context, struct muster_op *op, int result)
{
	(void)result;
	*(struct muster_file **)context = muster_op_take_file(op);
}

/* What is not open yet cannot be taken. */
static void test_file_is_taken_when_it_is_open(void **state)
{
	struct muster_file *file = NULL;
	struct server server;
	struct muster *session = server_open(&server, LIE_NONE);
	struct muster_op *op;

	(void)state;
	assert_int_equal(
		muster_start_open(session, "/f", (struct muster_then){ take_late, &file }, &op), 0);
	assert_null(muster_op_take_file(op));
	while (muster_process(session) > 0)
		muster_wait(session, 100);
	assert_non_null(file);
	assert_int_equal(muster_file_entry(file)->size, SIZE);
	muster_file_close(file);
	server_close(&server, session);
}

struct busy {
	struct muster *session;
	unsigned int started;
	unsigned int ended;
	int result;
	struct muster_op *get;
};

static void on_stat(void *context, struct muster_op *op, int result)
{
	struct busy *busy = context;

	(void)op;
	assert_int_equal(result, 0);
	busy->ended++;
}

static int write_and_start(void *context, const void *data, size_t size)
{
	struct busy *busy = context;

	(void)data;
	(void)size;
	assert_int_equal(muster_start_stat(busy->session, "/f",
					   (struct muster_then){ on_stat, busy }, NULL),
			 0);
	busy->started++;
	return 1; /* not what the manual says */
}

static void test_starts_inside_callbacks(void **state)
{
	struct busy busy = { 0 };
	struct muster_get_args get = {
		.path = "/f",
		.sink = { .fd = -1, .write = write_and_start, .context = &busy },
	};
	struct server server;

	(void)state;
	busy.session = server_open(&server, LIE_NONE);
	assert_int_equal(muster_get(busy.session, &get, NULL), 0);
	while (muster_process(busy.session) > 0)
		muster_wait(busy.session, 100);
	assert_true(busy.started > 0);
	assert_int_equal(busy.started, busy.ended);
	server_close(&server, busy.session);
}

static void start_again(void *context, struct muster_op *op, int result)
{
	struct busy *busy = context;

	(void)op;
	assert_int_equal(result, -MUSTER_E_CANCELLED);
	busy->ended++;
	busy->result = muster_start_stat(busy->session, "/f",
					 (struct muster_then){ start_again, busy }, NULL);
	busy->started += busy->result == 0;
}

/* Nothing starts any more in a session that ends, and all that was started is told. */
static void test_close_with_work(void **state)
{
	struct busy busy = { 0 };
	struct server server;

	(void)state;
	busy.session = server_open(&server, LIE_NONE);
	for (unsigned int i = 0; i < 3000; i++) {
		assert_int_equal(muster_start_stat(busy.session, "/f",
						   (struct muster_then){ start_again, &busy },
						   NULL),
				 0);
		busy.started++;
	}
	server_close(&server, busy.session);
	assert_int_equal(busy.started, 3000);
	assert_int_equal(busy.ended, 3000);
	assert_int_equal(busy.result, -MUSTER_E_CANCELLED);
}

/* Questions wait in line like everything else. */
static void test_very_many_at_once(void **state)
{
	struct busy busy = { 0 };
	struct server server;

	(void)state;
	busy.session = server_open(&server, LIE_NONE);
	while (busy.started < 10000) {
		assert_int_equal(muster_start_stat(busy.session, "/f",
						   (struct muster_then){ on_stat, &busy }, NULL),
				 0);
		busy.started++;
	}
	while (muster_wait(busy.session, 1000) > 0)
		;
	assert_int_equal(busy.ended, 10000);
	server_close(&server, busy.session);
}

static void on_cancelled(void *context, struct muster_op *op, int result)
{
	struct busy *busy = context;

	(void)op;
	busy->ended++;
	busy->result = result;
}

/* At whatever moment it comes. */
static void test_cancel_any_time(void **state)
{
	(void)state;
	for (unsigned int turns = 0; turns < 24; turns++) {
		struct busy busy = { 0 };
		uint8_t *data = malloc(SIZE);
		struct muster_get_args get = { .path = "/f",
					       .sink = { .data = data, .size = SIZE } };
		struct server server;

		busy.session = server_open(&server, LIE_NONE);
		assert_int_equal(muster_start_get(busy.session, &get,
						  (struct muster_then){ on_cancelled, &busy },
						  &busy.get),
				 0);
		for (unsigned int i = 0; i < turns && !busy.ended; i++)
			muster_wait(busy.session, 1);
		if (!busy.ended) {
			muster_cancel(busy.get);
			muster_process(busy.session);
			assert_int_equal(busy.result, -MUSTER_E_CANCELLED);
		}
		assert_int_equal(busy.ended, 1);
		/* The connections are of use to others. */
		get.path = "/g";
		assert_int_equal(muster_get(busy.session, &get, NULL), 0);
		assert_memory_equal(data, server.content, SIZE);
		server_close(&server, busy.session);
		free(data);
	}
}

/* ---- readers that do not read ---- */

static struct muster *volatile interrupted;

static void on_alarm(int number)
{
	(void)number;
	muster_interrupt(interrupted);
}

static void expect_interruptible(int flags)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = { { 0, 200000 }, { 0, 300000 } };
	struct muster_get_args get = { .path = "/f" };
	struct server server;
	uint64_t start_ms;
	int ends[2];

	interrupted = server_open(&server, LIE_NONE);
	assert_int_equal(pipe2(ends, flags), 0);
	get.sink.fd = ends[1];
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	start_ms = clock_monotonic_ms();
	assert_int_equal(muster_get(interrupted, &get, NULL), -MUSTER_E_CANCELLED);
	assert_in_range(clock_monotonic_ms() - start_ms, 100, 2000);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	close(ends[0]);
	close(ends[1]);
	server_close(&server, interrupted);
}

static void test_stuck_pipe(void **state)
{
	(void)state;
	expect_interruptible(0);
	expect_interruptible(O_NONBLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_endless_listing),
		cmocka_unit_test(test_append_to_what_was_empty),
		cmocka_unit_test(test_interrupt_before_a_wait),
		cmocka_unit_test(test_file_is_taken_when_it_is_open),
		cmocka_unit_test(test_starts_inside_callbacks),
		cmocka_unit_test(test_close_with_work),
		cmocka_unit_test(test_very_many_at_once),
		cmocka_unit_test(test_cancel_any_time),
		cmocka_unit_test(test_stuck_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
