#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "network.h"
#include "peer.h"

/* The name server's connections, without a name server. */
struct fixture {
	uv_loop_t loop;
	struct peers peers;
	int far;
	unsigned int frames;
	int error;
};

static void on_frame(void *context, struct link *link, const struct frame_header *header,
		     const uint8_t *body)
{
	struct peer *peer = context;
	struct fixture *t = peer->peers->context;

	(void)link;
	(void)body;
	t->frames++;
	peer_asked(peer, header);
}

static void on_closed(void *context, struct link *link, int error,
		      const struct frame_header *header)
{
	struct peer *peer = context;
	struct fixture *t = peer->peers->context;

	(void)link;
	(void)header;
	t->error = error;
}

static const struct link_handler handler = { on_frame, on_closed, NULL };

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	uv_loop_init(&t->loop);
	t->peers = (struct peers){
		.socket_end = INT_MAX, .loop = &t->loop, .handler = &handler, .context = t
	};
	t->far = -1;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	peers_free_all(&t->peers);
	if (t->far >= 0)
		close(t->far);
	uv_run(&t->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&t->loop), 0);
	free(t);
	return 0;
}

/* Returns the near end of a new connection. */
static int connect_to(struct fixture *t)
{
	struct address address = { 0x7f000001, 0 };
	struct address from;
	int listener = tcp_listen(&address);
	int near;

	assert_int_equal(socket_local(listener, &address), 0);
	t->far = tcp_connect(&address);
	do
		near = tcp_accept(listener, &from);
	while (near == -ERR_END);
	close(listener);
	return near;
}

static void say(struct fixture *t, struct frame_header header)
{
	uint8_t *frame = calloc(1, FRAME_HEADER_SIZE + header.body_size);

	frame_header_encode(&header, frame);
	assert_int_equal(send(t->far, frame, FRAME_HEADER_SIZE + header.body_size, MSG_NOSIGNAL),
			 FRAME_HEADER_SIZE + header.body_size);
	free(frame);
}

static void run_until_heard(struct fixture *t, unsigned int frames)
{
	while (t->frames < frames && !t->error)
		uv_run(&t->loop, UV_RUN_ONCE);
}

static void test_hello_introduces(void **state)
{
	struct fixture *t = *state;
	struct peer *peer;

	assert_int_equal(peer_new(&t->peers, connect_to(t), &peer), 0);
	say(t, (struct frame_header){ .type = MSG_hello, .id = 1 });
	say(t, (struct frame_header){ .type = MSG_ping, .id = 2, .body_size = 8192 });
	run_until_heard(t, 2);
	assert_int_equal(t->error, 0);
	assert_int_equal(peer->requests, 2);
}

static void test_the_answer_to_a_hello_introduces_nobody(void **state)
{
	struct fixture *t = *state;
	struct peer *peer;

	assert_int_equal(peer_new(&t->peers, connect_to(t), &peer), 0);
	say(t, (struct frame_header){ .type = MSG_hello, .id = 1, .reply = true });
	say(t, (struct frame_header){ .type = MSG_ping, .id = 2, .body_size = 8192 });
	run_until_heard(t, 2);
	assert_int_equal(t->error, -ERR_TOO_LARGE);
	assert_int_equal(t->frames, 1);
	assert_int_equal(peer->requests, 0);
}

/* Strangers must not take the descriptors that the journal needs. */
static void test_the_last_descriptors_are_not_for_peers(void **state)
{
	struct fixture *t = *state;
	int near = connect_to(t);
	struct peer *peer;
	char byte;

	t->peers.socket_end = near;
	assert_int_equal(peer_new(&t->peers, near, &peer), -ERR_UNAVAILABLE);
	assert_null(t->peers.by_conn);
	assert_int_equal(recv(t->far, &byte, 1, 0), 0);
}

static void test_a_choked_peer_is_not_read(void **state)
{
	struct fixture *t = *state;
	struct peer *peer;

	assert_int_equal(peer_new(&t->peers, connect_to(t), &peer), 0);
	peers_choke(&t->peers, true);
	say(t, (struct frame_header){ .type = MSG_hello, .id = 1 });
	for (int i = 0; i < 3; i++)
		uv_run(&t->loop, UV_RUN_NOWAIT);
	assert_int_equal(t->frames, 0);
	peers_choke(&t->peers, false);
	run_until_heard(t, 1);
	assert_int_equal(t->frames, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hello_introduces),
		TEST(test_the_answer_to_a_hello_introduces_nobody),
		TEST(test_the_last_descriptors_are_not_for_peers),
		TEST(test_a_choked_peer_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
