#include "peer_live.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "endpoint.h"
#include "error.h"
#include "network.h"

enum { HARDLY_MS = 60, LOOPBACK = 0x7f000001 };

struct peer_live {
	struct live_how how;
	struct address server;
	uint32_t own_ip; /* by which the server reaches us */
	int control;     /* listens; -1: none */
};

struct door {
	struct peer_live *live;
	int socket;
};

struct connection {
	struct peer_live *live;
	int socket;
	bool ended;
	struct buffer received;
};

/* ---- sockets ---- */

/* 1: ready; 0: not within that time. */
static int await(int socket, short events, unsigned int ms)
{
	struct pollfd poll_ = { .fd = socket, .events = events };
	uint64_t end = clock_monotonic_ms() + ms;
	int rc;

	do {
		uint64_t now = clock_monotonic_ms();

		rc = poll(&poll_, 1, now < end ? (int)(end - now) : 0);
	} while (rc < 0 && errno == EINTR);
	return rc > 0;
}

static struct connection *connection_new(struct peer_live *live, int socket)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct address own;
	int on = 1;

	if (!connection) {
		close(socket);
		return NULL;
	}
	setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (socket_local(socket, &own) == 0)
		live->own_ip = own.ip;
	connection->live = live;
	connection->socket = socket;
	return connection;
}

static void *live_open(void *context, bool storage, unsigned int number)
{
	struct peer_live *live = context;
	int socket = tcp_connect(&live->server);

	(void)storage;
	(void)number;
	if (socket < 0)
		return NULL;
	if (!await(socket, POLLOUT, live->how.patience_ms) || tcp_connected(socket) < 0) {
		close(socket);
		return NULL;
	}
	return connection_new(live, socket);
}

static void live_close(void *context)
{
	struct connection *connection = context;

	close(connection->socket);
	buffer_done(&connection->received);
	free(connection);
}

/* ---- bytes ---- */

/* Takes what is there. */
static void take(struct connection *connection)
{
	uint8_t bytes[65536];
	ssize_t got = recv(connection->socket, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got > 0)
		buffer_append(&connection->received, bytes, (size_t)got);
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		connection->ended = true;
}

/* Goes on reading, so that two sides that both only send do not wait for each other. */
static int live_send(void *context, const void *bytes, size_t size)
{
	struct connection *connection = context;
	const uint8_t *at = bytes;

	while (size > 0) {
		ssize_t sent = send(connection->socket, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			at += sent;
			size -= (size_t)sent;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -ERR_CONNECTION;
		if (!await(connection->socket, POLLOUT | POLLIN, connection->live->how.patience_ms))
			return -ERR_TIMEOUT;
		if (!connection->ended)
			take(connection);
	}
	return 0;
}

static int live_receive(void *context, bool patient, struct buffer *ret)
{
	struct connection *connection = context;
	struct buffer *received = &connection->received;
	uint64_t now = clock_monotonic_ms();
	uint64_t end = now + (patient ? connection->live->how.patience_ms : HARDLY_MS);
	struct frame_header header;
	size_t size;
	int rc;

	while ((rc = frame_next(received->data, received->size, &header, &size)) == 0) {
		now = clock_monotonic_ms();
		if (connection->ended)
			return -ERR_CONNECTION;
		if (now >= end || !await(connection->socket, POLLIN, (unsigned int)(end - now)))
			return 0;
		take(connection);
	}
	if (rc != 1)
		return rc;
	buffer_append(ret, received->data, size);
	buffer_consume(received, size);
	return 1;
}

static void live_clock(void *context, uint64_t ms)
{
	(void)context;
	poll(NULL, 0, (int)ms);
}

/* ---- being dialled ---- */

static void *live_listen(void *context, bool nameserver, struct endpoint *ret)
{
	struct peer_live *live = context;
	struct door *place = calloc(1, sizeof(*place));
	struct address any = { .ip = 0 };

	if (!place)
		return NULL;
	place->live = live;
	place->socket = nameserver ? live->control : tcp_listen(&any);
	if (place->socket < 0 || socket_local(place->socket, &any) < 0) {
		free(place);
		return NULL;
	}
	*ret = endpoint_ipv4(live->own_ip, any.port);
	return place;
}

/* One that was given up while nobody listened to it is passed over. */
static bool is_alive(int socket)
{
	struct pollfd poll_ = { .fd = socket, .events = POLLRDHUP };

	return poll(&poll_, 1, 0) == 0;
}

static void *live_accept(void *context)
{
	const struct door *place = context;
	struct address peer;

	/* A storage server backs off for up to 5 s between two tries. */
	while (await(place->socket, POLLIN, 2 * place->live->how.patience_ms)) {
		int socket = tcp_accept(place->socket, &peer);

		if (socket < 0)
			continue;
		if (is_alive(socket))
			return connection_new(place->live, socket);
		close(socket);
	}
	return NULL;
}

/* The control port stays open: the server comes back there. */
static void live_unlisten(void *context)
{
	struct door *place = context;

	if (place->socket != place->live->control)
		close(place->socket);
	free(place);
}

/* ---- life ---- */

int peer_live_new(const struct live_how *how, struct peer_live **ret)
{
	struct peer_live *live = calloc(1, sizeof(*live));
	struct address control = { .port = how->listen_port };
	int rc = 0;

	if (!live)
		return -ERR_NO_MEMORY;
	live->how = *how;
	live->control = -1;
	live->own_ip = LOOPBACK;
	if (address_resolve(how->address, how->storage ? DATA_PORT : CONTROL_PORT, &live->server,
			    1) < 1)
		rc = -ERR_UNREACHABLE;
	if (rc == 0 && how->storage) {
		live->control = tcp_listen(&control);
		rc = live->control < 0 ? live->control : 0;
	}
	if (rc < 0) {
		peer_live_free(live);
		return rc;
	}
	*ret = live;
	return 0;
}

void peer_live_free(struct peer_live *live)
{
	if (!live)
		return;
	if (live->control >= 0)
		close(live->control);
	free(live);
}

struct script_peer peer_live_script(struct peer_live *live)
{
	return (struct script_peer){
		.context = live,
		.storage = live->how.storage,
		.open = live_open,
		.send = live_send,
		.receive = live_receive,
		.close = live_close,
		.clock = live_clock,
		.listen = live->how.storage ? live_listen : NULL,
		.accept = live_accept,
		.unlisten = live_unlisten,
	};
}
