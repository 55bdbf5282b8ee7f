/* A whole cluster for libmuster that a test plays: one thread per connection answers as the test
 * says. All connections lead to one port: HELLO tells for which server the client takes us. */
#ifndef MUSTER_TESTS_LIBRARY_WORLD_H
#define MUSTER_TESTS_LIBRARY_WORLD_H

#include <pthread.h>

#include "codec.h"
#include "muster.h"

enum { WORLD_THREADS_MAX = 64 };

struct world;
struct world_peer {
	struct world *world;
	int socket;
	struct id self;    /* what the other side took us for */
	struct buffer out; /* sent when the message is served */
};

/* Every message but HELLO. Runs in the connection's thread. */
typedef void world_serve_fn(struct world_peer *peer, const struct message *message);

struct world {
	world_serve_fn *serve;
	void *context; /* the test's */
	enum muster_transfer transfer;
	uint16_t port;
	int listener;
	pthread_t acceptor;
	unsigned int threads;
	pthread_t thread[WORLD_THREADS_MAX];
	int sockets[WORLD_THREADS_MAX];
};

struct id world_id(uint8_t kind, uint8_t number);
/* `serve` and `context` are set. Returns a session that is connected. */
struct muster *world_open(struct world *world);
void world_close(struct world *world, struct muster *session);

#endif
