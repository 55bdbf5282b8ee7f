/* The simulated network: ordered streams of bytes that are cut into pieces, delayed, stalled and
 * broken; datagrams that are lost, doubled and late. */
#include <stdlib.h>

#include "error.h"
#include "world.h"

enum { BYTES_PER_US = 100, ACCEPTED_BIT = 63 };

static struct socket *socket_at(struct world *w, uint64_t id)
{
	return id && id <= w->socket_count ? w->sockets[id - 1] : NULL;
}

static struct socket *socket_find(const struct host *host, uint64_t handle)
{
	struct world *w = host->world;

	for (uint64_t i = w->socket_count; i > 0; i--) {
		struct socket *socket = w->sockets[i - 1];

		if (socket && socket->host == host && socket->handle == handle)
			return socket;
	}
	return NULL;
}

static struct socket *socket_new(struct host *host, uint64_t handle)
{
	struct world *w = host->world;
	struct socket *socket = calloc(1, sizeof(*socket));

	if (w->socket_count == w->socket_capacity) {
		w->socket_capacity = w->socket_capacity ? w->socket_capacity * 2 : 256;
		w->sockets = realloc(w->sockets, w->socket_capacity * sizeof(struct socket *));
	}
	if (!socket || !w->sockets)
		abort();
	w->sockets[w->socket_count] = socket;
	socket->id = ++w->socket_count;
	socket->handle = handle ? handle : UINT64_C(1) << ACCEPTED_BIT | socket->id << 1 | 1;
	socket->host = host;
	return socket;
}

static void segments_free(struct socket *socket, uint64_t left_after_us)
{
	struct segment **at = &socket->first;

	socket->last = NULL;
	while (*at) {
		struct segment *segment = *at;

		if (segment->leave_us < left_after_us) {
			socket->last = segment;
			at = &segment->next;
			continue;
		}
		*at = segment->next;
		free(segment);
	}
}

static void socket_free(struct world *w, struct socket *socket)
{
	segments_free(socket, 0);
	buffer_done(&socket->in);
	w->sockets[socket->id - 1] = NULL;
	free(socket);
}

static bool is_cut(const struct world *w, const struct host *from, const struct host *to)
{
	return w->cut[from->index][to->index];
}

static uint64_t latency(struct world *w, const struct host *from, const struct host *to)
{
	return 50 + world_below(w, 300) + from->slow_us + to->slow_us;
}

static struct host *host_at(struct world *w, const struct endpoint *endpoint)
{
	for (unsigned int i = 0; i < w->host_count; i++) {
		struct endpoint own = endpoint_ipv4(w->hosts[i].address, endpoint->port);

		if (endpoint_equal(&own, endpoint))
			return &w->hosts[i];
	}
	return NULL;
}

/* ---- receiving ---- */

static void frame_deliver(struct host *host, uint64_t handle, const struct frame_header *header,
			  const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size);

	if (!copy)
		abort();
	memcpy(copy, bytes, size);
	host->ops->frame(host, handle, header, copy + FRAME_HEADER_SIZE);
	free(copy);
}

/* One frame, if a whole one is there. False: no more for now. */
static bool socket_parse(struct world *w, struct socket *socket)
{
	struct host *host = socket->host;
	uint64_t handle = socket->handle;
	struct frame_header header;
	size_t size;
	uint8_t *copy;
	int rc = frame_next(socket->in.data, socket->in.size, &header, &size);

	if (rc == 0)
		return false;
	if (rc < 0) {
		socket->deaf = true;
		host->ops->malformed(host, handle, &header);
		return false;
	}
	copy = malloc(size);
	if (!copy)
		abort();
	memcpy(copy, socket->in.data, size);
	buffer_consume(&socket->in, size);
	world_fold_bytes(w, handle, copy, size);
	frame_deliver(host, handle, &header, copy, size);
	free(copy);
	return true;
}

static void socket_process(struct world *w, uint64_t id)
{
	struct socket *socket = socket_at(w, id);

	while (socket && !socket->paused && !socket->deaf && socket_parse(w, socket))
		socket = socket_at(w, id);
	socket = socket_at(w, id);
	if (socket && socket->ended && !socket->paused) {
		struct host *host = socket->host;
		uint64_t handle = socket->handle;

		socket_free(w, socket);
		host->ops->closed(host, handle, -ERR_CONNECTION);
	}
}

static void segments_arrive(struct world *w, const struct due *due)
{
	struct socket *socket = socket_at(w, due->a);
	struct segment *segment;
	struct socket *peer;

	if (!socket)
		return;
	if (socket->state != SOCKET_OPEN) {
		world_after(w, MS, *due);
		return;
	}
	peer = socket_at(w, socket->peer);
	if (peer && is_cut(w, peer->host, socket->host))
		return; /* net_resume() looks again */
	while ((segment = socket->first) != NULL && segment->arrive_us <= w->now_us) {
		socket->first = segment->next;
		if (!socket->first)
			socket->last = NULL;
		buffer_append(&socket->in, segment->data, segment->size);
		socket->ended |= segment->end;
		free(segment);
	}
	socket_process(w, due->a);
}

static void arrival_at(struct world *w, struct socket *socket, uint64_t at_us)
{
	world_after(w, at_us > w->now_us ? at_us - w->now_us : 0,
		    (struct due){ .run = segments_arrive, .host = socket->host, .a = socket->id });
}

/* ---- sending ---- */

static void segment_add(struct world *w, struct socket *to, struct slice data, uint64_t leave_us)
{
	struct segment *segment = malloc(sizeof(*segment) + data.size);

	if (!segment)
		abort();
	*segment = (struct segment){ .leave_us = leave_us, .end = !data.data, .size = data.size };
	if (data.size)
		memcpy(segment->data, data.data, data.size);
	segment->arrive_us = leave_us + latency(w, to->host, to->host);
	if (segment->arrive_us < to->arrive_us)
		segment->arrive_us = to->arrive_us;
	to->arrive_us = segment->arrive_us;
	if (to->last)
		to->last->next = segment;
	else
		to->first = segment;
	to->last = segment;
	arrival_at(w, to, segment->arrive_us);
}

static void segments_add(struct socket *from, struct socket *to, const uint8_t *data, size_t size)
{
	struct world *w = from->host->world;

	while (size) {
		size_t piece = world_chance(w, 70) ? size : 1 + (size_t)world_below(w, size);
		uint64_t cost = piece / BYTES_PER_US * (1 + from->host->slow_us / 1000);

		from->busy_us = (from->busy_us > w->now_us ? from->busy_us : w->now_us) + cost;
		segment_add(w, to, (struct slice){ data, piece }, from->busy_us);
		data += piece;
		size -= piece;
	}
}

/* An end of whose other end nothing is known any more. */
static void socket_lost(struct world *w, const struct due *due)
{
	struct socket *socket = socket_at(w, due->a);
	struct host *host = due->host;
	uint64_t handle;

	if (!socket || socket->peer)
		return;
	handle = socket->handle;
	world_trace(w, "%s: connection %llx is lost", host->name, (unsigned long long)handle);
	if (socket->state == SOCKET_PENDING) {
		socket_free(w, socket);
		return;
	}
	if (socket->state == SOCKET_DIALLING) {
		socket_free(w, socket);
		host->ops->dialled(host, handle, -ERR_CONNECTION, NULL);
		return;
	}
	socket_free(w, socket);
	host->ops->closed(host, handle, -ERR_CONNECTION);
}

static void lose_after(struct world *w, struct socket *socket, uint64_t delay_us)
{
	world_after(w, delay_us,
		    (struct due){ .run = socket_lost, .host = socket->host, .a = socket->id });
}

uint64_t net_send(struct host *host, uint64_t handle, const void *data, size_t size)
{
	struct world *w = host->world;
	struct socket *socket = socket_find(host, handle);
	struct socket *peer;
	struct host *remote;

	if (!socket || socket->state != SOCKET_OPEN)
		return 0;
	world_trace_frames(w, host, socket, data, size);
	peer = socket_at(w, socket->peer);
	if (peer) {
		segments_add(socket, peer, data, size);
		return socket->busy_us;
	}
	remote = host_at(w, &socket->remote);
	if (remote && remote->up && !is_cut(w, host, remote))
		lose_after(w, socket, latency(w, host, remote));
	return w->now_us;
}

void net_close(struct host *host, uint64_t handle, bool drop)
{
	struct world *w = host->world;
	struct socket *socket = socket_find(host, handle);
	struct socket *peer;

	if (!socket)
		return;
	world_trace(w, "%s: closes %llx", host->name, (unsigned long long)handle);
	peer = socket_at(w, socket->peer);
	if (peer) {
		uint64_t leave_us = socket->busy_us > w->now_us ? socket->busy_us : w->now_us;

		if (drop) {
			segments_free(peer, w->now_us + 1);
			leave_us = w->now_us;
		}
		segment_add(w, peer, (struct slice){ 0 }, leave_us);
		peer->peer = 0;
	}
	socket_free(w, socket);
}

static void pause_ended(struct world *w, const struct due *due)
{
	socket_process(w, due->a);
}

void net_pause(struct host *host, uint64_t handle, bool on)
{
	struct socket *socket = socket_find(host, handle);

	if (!socket)
		return;
	socket->paused = on;
	if (!on)
		world_after(host->world, 1,
			    (struct due){ .run = pause_ended, .host = host, .a = socket->id });
}

uint64_t net_socket(const struct host *host, uint64_t handle)
{
	const struct socket *socket = socket_find(host, handle);

	return socket ? socket->id : 0;
}

/* ---- dialling ---- */

static void socket_accepted(struct world *w, const struct due *due)
{
	struct socket *socket = socket_at(w, due->a);

	if (!socket)
		return;
	socket->state = SOCKET_OPEN;
	world_trace(w, "%s: accepts %llx", socket->host->name, (unsigned long long)socket->handle);
	socket->host->ops->accepted(socket->host, socket);
}

static void socket_dialled(struct world *w, const struct due *due)
{
	struct socket *socket = socket_at(w, due->a);
	struct host *host = due->host;
	uint64_t handle;

	if (!socket || socket->state != SOCKET_DIALLING)
		return;
	handle = socket->handle;
	if (due->b) {
		socket_free(w, socket);
		host->ops->dialled(host, handle, -(int)due->b, NULL);
		return;
	}
	socket->state = SOCKET_OPEN;
	host->ops->dialled(host, handle, 0, &socket->remote);
}

static void dialled_after(struct world *w, struct socket *socket, uint64_t delay_us, int error)
{
	world_after(w, delay_us,
		    (struct due){ .run = socket_dialled,
				  .host = socket->host,
				  .a = socket->id,
				  .b = (uint64_t)-error });
}

static bool is_listening(const struct host *host, uint16_t port)
{
	for (unsigned int i = 0; i < PORTS_MAX; i++) {
		if (port && host->ports[i] == port)
			return true;
	}
	return false;
}

static void dial_succeed(struct world *w, struct socket *socket, struct host *target,
			 const struct endpoint *endpoint)
{
	struct socket *other = socket_new(target, 0);
	uint64_t delay = latency(w, target, socket->host);

	socket->peer = other->id;
	other->peer = socket->id;
	other->state = SOCKET_PENDING;
	other->local = socket->remote = *endpoint;
	socket->local = other->remote =
		endpoint_ipv4(socket->host->address, (uint16_t)(20000 + socket->id % 40000));
	socket->arrive_us = w->now_us + delay;
	world_after(w, 1, (struct due){ .run = socket_accepted, .host = target, .a = other->id });
	dialled_after(w, socket, delay, 0);
}

static void dial_arrives(struct world *w, const struct due *due)
{
	const struct dial *dial = due->context;
	struct socket *socket = socket_at(w, due->a);
	bool refused = false;

	if (!socket)
		return;
	for (unsigned int i = 0; i < dial->count; i++) {
		struct host *target = host_at(w, &dial->endpoints[i]);

		if (!target || !target->up || is_cut(w, socket->host, target) ||
		    is_cut(w, target, socket->host))
			continue;
		if (!is_listening(target, dial->endpoints[i].port) ||
		    world_chance(w, w->refuse_percent)) {
			refused = true;
			continue;
		}
		dial_succeed(w, socket, target, &dial->endpoints[i]);
		return;
	}
	dialled_after(w, socket, refused ? 200 : dial->timeout_us,
		      refused ? -ERR_CONNECTION : -ERR_TIMEOUT);
}

void net_dial(struct host *host, const struct dial *dial)
{
	struct world *w = host->world;
	struct socket *socket = socket_new(host, dial->handle);
	struct dial *copy = malloc(sizeof(*copy));

	if (!copy)
		abort();
	*copy = *dial;
	socket->state = SOCKET_DIALLING;
	world_after(w, latency(w, host, host),
		    (struct due){ .run = dial_arrives,
				  .host = host,
				  .context = copy,
				  .a = socket->id,
				  .owned = true });
}

/* ---- datagrams ---- */

static void datagram_arrives(struct world *w, const struct due *due)
{
	struct endpoint source = endpoint_ipv4((uint32_t)due->a, 3501);

	(void)w;
	if (due->host->hears)
		due->host->ops->datagram(due->host, &source, due->context);
}

static void datagram_send(struct host *from, struct host *to, const uint8_t *data)
{
	struct world *w = from->world;
	uint64_t delay = latency(w, from, to);
	uint8_t *copy = malloc(128);

	if (!copy)
		abort();
	memcpy(copy, data, 128);
	if (world_chance(w, w->late_percent))
		delay += world_below(w, 12 * SECOND);
	world_after(w, delay,
		    (struct due){ .run = datagram_arrives,
				  .host = to,
				  .context = copy,
				  .a = from->address,
				  .owned = true });
}

void net_broadcast(struct host *host, const uint8_t *data)
{
	struct world *w = host->world;

	world_trace(w, "%s: broadcasts", host->name);
	for (unsigned int i = 0; i < w->host_count; i++) {
		struct host *to = &w->hosts[i];

		if (to == host || is_cut(w, host, to) || world_chance(w, w->loss_percent))
			continue;
		datagram_send(host, to, data);
		if (world_chance(w, w->twice_percent))
			datagram_send(host, to, data);
	}
}

/* ---- faults ---- */

void net_reset(struct world *w, uint64_t id)
{
	struct socket *socket = socket_at(w, id);
	struct socket *peer;

	if (!socket || !socket->peer)
		return;
	peer = socket_at(w, socket->peer);
	segments_free(socket, 0);
	socket->peer = 0;
	lose_after(w, socket, world_below(w, 2 * MS));
	if (!peer)
		return;
	segments_free(peer, 0);
	peer->peer = 0;
	lose_after(w, peer, world_below(w, 2 * MS));
}

void net_host_gone(struct host *host, bool silent)
{
	struct world *w = host->world;

	for (uint64_t i = 0; i < w->socket_count; i++) {
		struct socket *socket = w->sockets[i];
		struct socket *peer;

		if (!socket || socket->host != host)
			continue;
		peer = socket_at(w, socket->peer);
		if (peer) {
			segments_free(peer, w->now_us + 1);
			peer->peer = 0;
			lose_after(w, peer,
				   silent                        ? (5 + world_below(w, 20)) * SECOND
				   : peer->arrive_us > w->now_us ? peer->arrive_us - w->now_us
								 : 100);
		}
		socket_free(w, socket);
	}
}

void net_resume(struct world *w)
{
	for (uint64_t i = 0; i < w->socket_count; i++) {
		struct socket *socket = w->sockets[i];

		if (socket && socket->first)
			arrival_at(w, socket, w->now_us + world_below(w, 300 * MS));
	}
}

void net_done(struct world *w)
{
	for (uint64_t i = 0; i < w->socket_count; i++) {
		if (w->sockets[i])
			socket_free(w, w->sockets[i]);
	}
	free(w->sockets);
}
