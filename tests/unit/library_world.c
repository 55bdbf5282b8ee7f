#include "library_world.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "network.h"

struct id world_id(uint8_t kind, uint8_t number)
{
	return (struct id){ { kind, number } };
}

static void send_all(struct world_peer *peer)
{
	size_t sent = 0;

	while (sent < peer->out.size) {
		ssize_t now = send(peer->socket, peer->out.data + sent, peer->out.size - sent,
				   MSG_NOSIGNAL);

		if (now <= 0)
			break;
		sent += (size_t)now;
	}
	buffer_clear(&peer->out);
}

static void on_hello(struct world_peer *peer, const struct message *message)
{
	const struct hello_request *hello = message->body;
	bool control = id_is_none(&hello->expected);

	peer->self = control ? world_id('n', 1) : hello->expected;
	reply_encode(&peer->out, MSG_hello, message->id,
		     &(struct hello_reply){
			     .version = PROTOCOL_VERSION,
			     .epoch = 1,
			     .role = control ? ROLE_NAMESERVER : ROLE_STORAGE,
			     .cluster = world_id('C', 1),
			     .cluster_name = slice_of("test"),
			     .self = peer->self,
		     });
}

static void serve(struct world_peer *peer, const struct message *message)
{
	if (message->info->code == MSG_hello)
		on_hello(peer, message);
	else
		peer->world->serve(peer, message);
	send_all(peer);
}

static size_t take(struct world_peer *peer, const struct buffer *in, size_t at, struct arena *arena)
{
	struct frame_header header;
	struct message message;
	size_t size;

	if (frame_next(in->data + at, in->size - at, &header, &size) != 1)
		return 0;
	arena_reset(arena);
	if (message_decode(&header, in->data + at + FRAME_HEADER_SIZE, arena, &message) == 0 &&
	    !message.reply)
		serve(peer, &message);
	return size;
}

static void *peer_run(void *context)
{
	struct world_peer *peer = context;
	struct arena arena = { 0 };
	struct buffer in = { 0 };
	uint8_t bytes[4096];
	ssize_t got;

	while ((got = recv(peer->socket, bytes, sizeof(bytes), 0)) > 0) {
		size_t at = 0, size;

		buffer_append(&in, bytes, (size_t)got);
		while ((size = take(peer, &in, at, &arena)) > 0)
			at += size;
		memmove(in.data, in.data + at, in.size - at);
		in.size -= at;
	}
	buffer_done(&in);
	buffer_done(&peer->out);
	arena_done(&arena);
	free(peer);
	return NULL;
}

static void *accept_run(void *context)
{
	struct world *world = context;
	int socket;

	while (world->threads < WORLD_THREADS_MAX &&
	       (socket = accept(world->listener, NULL, NULL)) >= 0) {
		struct world_peer *peer = calloc(1, sizeof(*peer));

		*peer = (struct world_peer){ .world = world, .socket = socket };
		world->sockets[world->threads] = socket;
		pthread_create(&world->thread[world->threads++], NULL, peer_run, peer);
	}
	return NULL;
}

struct muster *world_open(struct world *world)
{
	struct address any = { 0x7f000001, 0 };
	struct muster_options options = { .timeout_ms = 3000, .transfer = world->transfer };
	struct muster *session;
	char name[64];

	world->listener = tcp_listen(&any);
	assert_true(world->listener >= 0);
	fcntl(world->listener, F_SETFL, 0);
	assert_int_equal(socket_local(world->listener, &any), 0);
	world->port = any.port;
	pthread_create(&world->acceptor, NULL, accept_run, world);
	snprintf(name, sizeof(name), "127.0.0.1:%u", world->port);
	options.nameserver = name;
	assert_int_equal(muster_open(&options, &session), 0);
	return session;
}

void world_close(struct world *world, struct muster *session)
{
	muster_close(session);
	shutdown(world->listener, SHUT_RDWR);
	pthread_join(world->acceptor, NULL);
	for (unsigned int i = 0; i < world->threads; i++) {
		shutdown(world->sockets[i], SHUT_RDWR);
		pthread_join(world->thread[i], NULL);
		close(world->sockets[i]);
	}
	close(world->listener);
}
