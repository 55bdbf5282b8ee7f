#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"
#include "network.h"
#include "transport.h"

enum { GUARD_MS = 5000, FRAMES_MAX = 64 };

/* One link under test, and the plain socket at its other end. */
struct fixture {
	uv_loop_t loop;
	uv_timer_t guard;
	bool late;
	int peer;
	struct link *link;
	unsigned int frames;
	uint32_t ids[FRAMES_MAX];
	size_t sizes[FRAMES_MAX];
	bool intact; /* every body was what frame_make wrote */
	unsigned int closed;
	int error;
	uint32_t malformed_id;
	unsigned int drained;
	unsigned int released;
	unsigned int pause_after; /* frames; 0: never */
	unsigned int detach_after;
	struct buffer leftover;
};

static uint8_t body_byte(uint32_t id, size_t i)
{
	return (uint8_t)(id * 31 + i * 7);
}

static void frame_make(struct buffer *out, uint32_t id, uint32_t size)
{
	struct frame_header header = { .type = MSG_ping, .id = id, .body_size = size };
	uint8_t *at = buffer_extend(out, FRAME_HEADER_SIZE + size);

	assert_non_null(at);
	frame_header_encode(&header, at);
	for (size_t i = 0; i < size; i++)
		at[FRAME_HEADER_SIZE + i] = body_byte(id, i);
}

static void on_frame(void *context, struct link *link, const struct frame_header *header,
		     const uint8_t *body)
{
	struct fixture *t = context;

	assert_in_range(t->frames, 0, FRAMES_MAX - 1);
	for (size_t i = 0; i < header->body_size; i++)
		t->intact = t->intact && body[i] == body_byte(header->id, i);
	t->ids[t->frames] = header->id;
	t->sizes[t->frames++] = header->body_size;
	if (t->frames == t->pause_after)
		link_pause(link, true);
	if (t->frames == t->detach_after)
		assert_in_range(link_detach_input(link, &t->leftover), 0, INT32_MAX);
}

static void on_closed(void *context, struct link *link, int error,
		      const struct frame_header *header)
{
	struct fixture *t = context;

	(void)link;
	t->closed++;
	t->error = error;
	t->malformed_id = header ? header->id : 0;
}

static void on_drained(void *context, struct link *link)
{
	struct fixture *t = context;

	(void)link;
	t->drained++;
}

static const struct link_handler handler = { on_frame, on_closed, on_drained };

static void on_guard(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static void tcp_pair(int ret[2])
{
	struct address address = { 0x7f000001, 0 };
	struct address peer;
	int listener = tcp_listen(&address);

	assert_in_range(listener, 0, INT32_MAX);
	assert_int_equal(socket_local(listener, &address), 0);
	ret[0] = tcp_connect(&address);
	do
		ret[1] = tcp_accept(listener, &peer);
	while (ret[1] == -ERR_END);
	assert_in_range(ret[1], 0, INT32_MAX);
	assert_int_equal(tcp_connected(ret[0]), 0);
	close(listener);
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	int pair[2];

	uv_loop_init(&t->loop);
	uv_timer_init(&t->loop, &t->guard);
	t->guard.data = &t->late;
	uv_timer_start(&t->guard, on_guard, GUARD_MS, 0);
	tcp_pair(pair);
	t->peer = pair[0];
	t->intact = true;
	assert_int_equal(link_new(&t->loop, pair[1], &handler, t, &t->link), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	if (t->link)
		link_close(t->link);
	if (t->peer >= 0)
		close(t->peer);
	uv_close((uv_handle_t *)&t->guard, NULL);
	uv_run(&t->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&t->loop), 0);
	buffer_done(&t->leftover);
	free(t);
	return 0;
}

#define RUN_UNTIL(t, condition)                          \
	do {                                             \
		while (!(condition) && !(t)->late)       \
			uv_run(&(t)->loop, UV_RUN_ONCE); \
		assert_true(condition);                  \
	} while (0)

/* Writes all from the plain end, running the loop while the socket is full. */
static void peer_write(struct fixture *t, const uint8_t *data, size_t size)
{
	while (size > 0 && !t->late) {
		ssize_t put = send(t->peer, data, size, MSG_NOSIGNAL);

		if (put < 0) {
			assert_int_equal(errno, EAGAIN);
			uv_run(&t->loop, UV_RUN_ONCE);
			continue;
		}
		data += put;
		size -= (size_t)put;
	}
}

static void turn(struct fixture *t)
{
	uv_run(&t->loop, UV_RUN_NOWAIT);
	uv_run(&t->loop, UV_RUN_NOWAIT);
}

static void test_split_at_every_byte(void **state)
{
	struct fixture *t = *state;
	struct buffer bytes = { 0 };

	frame_make(&bytes, 1, 0);
	frame_make(&bytes, 2, 5);
	frame_make(&bytes, 3, 40);
	for (size_t split = 0; split <= bytes.size; split++) {
		t->frames = 0;
		peer_write(t, bytes.data, split);
		turn(t);
		peer_write(t, bytes.data + split, bytes.size - split);
		RUN_UNTIL(t, t->frames == 3);
		assert_int_equal(t->ids[2], 3);
	}
	assert_true(t->intact);
	buffer_done(&bytes);
}

static void test_byte_by_byte(void **state)
{
	struct fixture *t = *state;
	struct buffer bytes = { 0 };

	frame_make(&bytes, 9, 70);
	frame_make(&bytes, 10, 3);
	for (size_t i = 0; i < bytes.size; i++) {
		peer_write(t, bytes.data + i, 1);
		turn(t);
	}
	RUN_UNTIL(t, t->frames == 2);
	assert_true(t->intact);
	buffer_done(&bytes);
}

static void test_coalesced_small_and_large(void **state)
{
	static const uint32_t sizes[] = { 0, 10, 1000000, 31, 32, 300000, 1, 1048576, 262112, 7 };
	struct fixture *t = *state;
	struct buffer bytes = { 0 };

	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++)
		frame_make(&bytes, i + 1, sizes[i]);
	peer_write(t, bytes.data, bytes.size);
	RUN_UNTIL(t, t->frames == ARRAY_SIZE(sizes));
	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(t->ids[i], i + 1);
		assert_int_equal(t->sizes[i], sizes[i]);
	}
	assert_true(t->intact);
	buffer_done(&bytes);
}

static void test_malformed_is_reported_and_can_be_answered(void **state)
{
	struct fixture *t = *state;
	uint8_t answer[FRAME_HEADER_SIZE + 1];
	struct buffer bytes = { 0 };
	ssize_t got;

	frame_make(&bytes, 1, 4);
	frame_make(&bytes, 77, 0);
	frame_make(&bytes, 78, 0);
	bytes.data[FRAME_HEADER_SIZE + 4 + 28] = 1; /* padding of the second */
	peer_write(t, bytes.data, bytes.size);
	RUN_UNTIL(t, t->closed);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->error, -ERR_BAD_REQUEST);
	assert_int_equal(t->malformed_id, 77);

	/* What we say last arrives, although the peer's bytes were not all read. */
	peer_write(t, bytes.data, bytes.size);
	assert_int_equal(link_send(t->link, bytes.data, FRAME_HEADER_SIZE), 0);
	link_close(t->link);
	t->link = NULL;
	turn(t);
	got = recv(t->peer, answer, sizeof(answer), 0);
	assert_int_equal(got, FRAME_HEADER_SIZE);
	assert_int_equal(recv(t->peer, answer, sizeof(answer), 0), 0);
	assert_int_equal(t->closed, 1);
	buffer_done(&bytes);
}

static void test_frame_too_long_for_a_stranger(void **state)
{
	struct fixture *t = *state;
	struct buffer bytes = { 0 };

	link_set_frame_max(t->link, 100);
	frame_make(&bytes, 5, 100 - FRAME_HEADER_SIZE);
	frame_make(&bytes, 6, 101 - FRAME_HEADER_SIZE);
	peer_write(t, bytes.data, 100 + FRAME_HEADER_SIZE);
	RUN_UNTIL(t, t->closed);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->error, -ERR_TOO_LARGE);
	assert_int_equal(t->malformed_id, 6);
	buffer_done(&bytes);
}

/* The limit holds also for a frame whose beginning was read before a pause. */
static void test_frame_too_long_after_a_pause(void **state)
{
	struct fixture *t = *state;
	struct buffer bytes = { 0 };

	link_set_frame_max(t->link, 100);
	frame_make(&bytes, 5, 0);
	frame_make(&bytes, 6, 5000);
	t->pause_after = 1;
	peer_write(t, bytes.data, 2 * FRAME_HEADER_SIZE + 10);
	RUN_UNTIL(t, t->frames == 1);
	link_pause(t->link, false);
	peer_write(t, bytes.data + 2 * FRAME_HEADER_SIZE + 10,
		   bytes.size - 2 * FRAME_HEADER_SIZE - 10);
	RUN_UNTIL(t, t->closed || t->frames == 2);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->error, -ERR_TOO_LARGE);
	buffer_done(&bytes);
}

static void test_close_by_the_peer(void **state)
{
	struct fixture *t = *state;
	struct buffer bytes = { 0 };

	frame_make(&bytes, 1, 2);
	peer_write(t, bytes.data, bytes.size);
	close(t->peer);
	t->peer = -1;
	RUN_UNTIL(t, t->closed);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->error, -ERR_CONNECTION);
	turn(t);
	assert_int_equal(t->closed, 1);
	buffer_done(&bytes);
}

static void test_pause_keeps_what_was_read(void **state)
{
	struct fixture *t = *state;
	struct buffer bytes = { 0 };

	for (uint32_t i = 1; i <= 5; i++)
		frame_make(&bytes, i, 100);
	t->pause_after = 2;
	peer_write(t, bytes.data, bytes.size - 1);
	RUN_UNTIL(t, t->frames == 2);
	turn(t);
	assert_int_equal(t->frames, 2);
	link_pause(t->link, false);
	RUN_UNTIL(t, t->frames == 4);
	peer_write(t, bytes.data + bytes.size - 1, 1);
	RUN_UNTIL(t, t->frames == 5);
	assert_true(t->intact);
	buffer_done(&bytes);
}

/* A worker takes the socket with the leftover, reads on, and gives both back. */
static void test_detach_and_attach(void **state)
{
	struct fixture *t = *state;
	struct buffer bytes = { 0 };
	size_t first = FRAME_HEADER_SIZE + 50;

	for (uint32_t i = 1; i <= 4; i++)
		frame_make(&bytes, i, 50);
	t->detach_after = 1;
	peer_write(t, bytes.data, 2 * first + 10);
	RUN_UNTIL(t, t->frames == 1);
	assert_int_equal(t->leftover.size, first + 10);
	assert_memory_equal(t->leftover.data, bytes.data + first, first + 10);
	peer_write(t, bytes.data + 2 * first + 10, bytes.size - 2 * first - 10);
	turn(t);
	assert_int_equal(t->frames, 1);

	/* The second frame was the worker's; it gives back the beginning of the third. */
	buffer_consume(&t->leftover, first);
	assert_int_equal(link_attach(t->link, &t->leftover), 0);
	RUN_UNTIL(t, t->frames == 3);
	assert_int_equal(t->ids[1], 3);
	assert_int_equal(t->ids[2], 4);
	assert_true(t->intact);
	buffer_done(&bytes);
}

static void test_detached_input_may_send(void **state)
{
	struct fixture *t = *state;
	uint8_t bytes[8];
	int fd = link_detach_input(t->link, &t->leftover);

	assert_in_range(fd, 0, INT32_MAX);
	peer_write(t, (const uint8_t *)"worker", 6);
	assert_int_equal(link_send(t->link, "loop", 4), 0);
	RUN_UNTIL(t, t->drained);
	assert_int_equal(recv(t->peer, bytes, sizeof(bytes), 0), 4);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 6);
	assert_int_equal(link_attach(t->link, NULL), 0);
}

static void on_release(void *context)
{
	((struct fixture *)context)->released++;
}

/* Copied and borrowed bytes arrive in order, far more than a socket takes at once. */
static void test_borrowed_send(void **state)
{
	enum { BIG = 6 * 1024 * 1024 };
	struct fixture *t = *state;
	uint8_t *big = malloc(BIG);
	uint8_t *got = malloc(BIG + 12);
	size_t size = 0;

	for (size_t i = 0; i < BIG; i++)
		big[i] = body_byte(3, i);
	assert_int_equal(link_send(t->link, "before", 6), 0);
	assert_int_equal(link_send_borrowed(t->link, big, BIG, on_release, t), 0);
	assert_int_equal(link_send(t->link, "after!", 6), 0);
	assert_int_equal(link_unsent(t->link), BIG + 12);
	turn(t);
	assert_int_equal(t->released, 0);
	assert_in_range(link_unsent(t->link), 1, BIG);
	while (size < BIG + 12 && !t->late) {
		ssize_t part = recv(t->peer, got + size, BIG + 12 - size, 0);

		if (part > 0)
			size += (size_t)part;
		else
			uv_run(&t->loop, UV_RUN_ONCE);
	}
	RUN_UNTIL(t, t->drained == 1);
	assert_int_equal(t->released, 1);
	assert_memory_equal(got, "before", 6);
	assert_memory_equal(got + 6, big, BIG);
	assert_memory_equal(got + 6 + BIG, "after!", 6);
	free(big);
	free(got);
}

static void test_one_send_per_turn(void **state)
{
	struct fixture *t = *state;
	uint8_t bytes[256];

	for (int i = 0; i < 100; i++)
		assert_int_equal(link_send(t->link, "ab", 2), 0);
	assert_int_equal(recv(t->peer, bytes, sizeof(bytes), 0), -1);
	turn(t);
	assert_int_equal(recv(t->peer, bytes, sizeof(bytes), 0), 200);
}

static void test_peer_that_does_not_read_is_dropped(void **state)
{
	enum { PART = 1024 * 1024 };
	struct fixture *t = *state;
	uint8_t *part = calloc(1, PART);
	int rc = 0;

	for (int i = 0; i < 128 && rc == 0; i++) {
		rc = link_send(t->link, part, PART);
		assert_int_equal(t->closed, 0);
	}
	assert_int_equal(rc, -ERR_CONNECTION);
	RUN_UNTIL(t, t->closed == 1);
	assert_int_equal(t->error, -ERR_CONNECTION);
	assert_int_equal(link_unsent(t->link), 0);
	assert_int_equal(link_send(t->link, part, 1), -ERR_CONNECTION);
	free(part);
}

/* What is queued still leaves when the link is closed; a peer that never reads costs 1 s. */
static void test_close_sends_what_is_queued(void **state)
{
	enum { BIG = 8 * 1024 * 1024 };
	struct fixture *t = *state;
	uint8_t *big = calloc(1, BIG);
	uint64_t began = clock_monotonic_ms();

	assert_int_equal(link_send_borrowed(t->link, big, BIG, on_release, t), 0);
	link_close(t->link);
	t->link = NULL;
	RUN_UNTIL(t, t->released == 1);
	assert_in_range(clock_monotonic_ms() - began, 900, 3000);
	assert_int_equal(t->closed, 0);
	free(big);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_split_at_every_byte),
		TEST(test_byte_by_byte),
		TEST(test_coalesced_small_and_large),
		TEST(test_malformed_is_reported_and_can_be_answered),
		TEST(test_frame_too_long_for_a_stranger),
		TEST(test_frame_too_long_after_a_pause),
		TEST(test_close_by_the_peer),
		TEST(test_pause_keeps_what_was_read),
		TEST(test_detach_and_attach),
		TEST(test_detached_input_may_send),
		TEST(test_borrowed_send),
		TEST(test_one_send_per_turn),
		TEST(test_peer_that_does_not_read_is_dropped),
		TEST(test_close_sends_what_is_queued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
