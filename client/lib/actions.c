/* What the core wants done. */
#include "engine.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "error.h"

static void on_send(struct muster *session, const struct client_action *action)
{
	struct channel *channel = channel_find(session, action->connection);

	if (channel && channel_send(session, channel, session->outbox.bytes.data + action->start,
				    (size_t)action->size) < 0)
		channel_lost(session, channel, -ERR_NO_MEMORY);
}

static void dial_failed(struct muster *session, uint64_t connection, int error)
{
	engine_later(session, &(struct client_event){ .kind = CLIENT_CLOSED,
						      .connection = connection,
						      .error = error });
}

static void on_dial(struct muster *session, const struct client_action *action)
{
	const uint8_t *ip = action->endpoint.address.bytes;
	struct address address = { (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 |
					   (uint32_t)ip[2] << 8 | ip[3],
				   action->endpoint.port };
	int fd = action->endpoint.family == 4 ? tcp_connect(&address) : -ERR_UNSUPPORTED;
	struct channel *channel;

	if (fd < 0) {
		dial_failed(session, action->connection, fd);
		return;
	}
	channel = channel_new(session, action->connection, fd);
	if (!channel) {
		close(fd);
		dial_failed(session, action->connection, -ERR_NO_MEMORY);
		return;
	}
	channel->connecting = true;
	channel_interest(session, channel);
}

static void on_close(struct muster *session, const struct client_action *action)
{
	struct channel *channel = channel_find(session, action->connection);

	if (!channel)
		return;
	if (TAILQ_EMPTY(&channel->outputs) || !TAILQ_FIRST(&channel->outputs)->has_payload)
		channel_flush(session, channel); /* a refusal may be on its way */
	channel_close(session, channel);
}

static void on_resolve(struct muster *session, const struct client_action *action)
{
	struct address addresses[DISCOVERY_SERVERS_MAX];
	struct endpoint endpoints[DISCOVERY_SERVERS_MAX];
	struct client_event event = { .kind = CLIENT_RESOLVED, .endpoints = endpoints };
	int count = address_resolve(session->nameserver, CONTROL_PORT, addresses,
				    DISCOVERY_SERVERS_MAX);

	(void)action;
	for (int i = 0; i < count; i++)
		endpoints[i] = endpoint_ipv4(addresses[i].ip, addresses[i].port);
	event.count = count > 0 ? (unsigned int)count : 0;
	event.error = count < 0 ? count : 0;
	event.now_ms = engine_now();
	client_step(session->core, &event, &session->outbox);
}

static void on_listen(struct muster *session, const struct client_action *action)
{
	struct address any = { 0, (uint16_t)action->size };
	int rc = 0;

	if (session->listener >= 0)
		close(session->listener);
	session->listener = -1;
	if (action->size == 0)
		return;
	session->listener = tcp_listen(&any);
	if (session->listener < 0)
		rc = session->listener;
	else
		rc = engine_watch(session, session->listener, EPOLLIN, &session->listener_watch);
	engine_later(session, &(struct client_event){ .kind = CLIENT_LISTENED, .error = rc });
}

static void on_payload(struct muster *session, const struct client_action *action)
{
	struct channel *channel = channel_find(session, action->connection);
	struct payload payload = {
		.op = action->user,
		.token = action->token,
		.offset = action->offset,
		.size = action->size,
	};

	if (channel && channel_payload(session, channel, &payload) < 0)
		channel_lost(session, channel, -ERR_NO_MEMORY);
}

static void on_expect(struct muster *session, const struct client_action *action)
{
	struct muster_op *op = action->user;

	(void)session;
	op->total = action->size;
	op->sink.base = action->offset;
	op->whole = action->flag;
	if (!op->whole || op->total <= BLOCK_SIZE)
		return;
	op->hash = digest_stream_new();
	if (!op->hash) {
		op->cancelled = -ERR_NO_MEMORY;
		session->cancels = true;
	}
}

static void on_receive(struct muster *session, const struct client_action *action)
{
	struct channel *channel = channel_find(session, action->connection);

	if (channel)
		channel_expect(session, channel, action);
}

static void on_abort(struct muster *session, const struct client_action *action)
{
	struct channel *channel = channel_find(session, action->connection);

	if (channel)
		channel_abort(session, channel, action->token);
}

static void on_rewind(struct muster_op *op)
{
	source_rewind(op);
	op->hashed = 0;
	if (op->hash)
		digest_stream_reset(op->hash);
}

static void on_connected(struct muster *session, const struct client_action *action)
{
	session->connect_known = true;
	session->connect_error = action->error;
	if (action->error < 0)
		session_describe(session, action->error);
}

static void carry_out(struct muster *session, const struct client_action *action)
{
	switch (action->kind) {
	case CLIENT_SEND: on_send(session, action); break;
	case CLIENT_DIAL: on_dial(session, action); break;
	case CLIENT_CLOSE: on_close(session, action); break;
	case CLIENT_SEEK: beacons_listen(session, action->flag); break;
	case CLIENT_PROBE:
		beacons_probe(session, session->outbox.bytes.data + action->start);
		break;
	case CLIENT_RESOLVE: on_resolve(session, action); break;
	case CLIENT_LISTEN: on_listen(session, action); break;
	case CLIENT_FILL: source_fill(session, action->user, action->offset, action->size); break;
	case CLIENT_DROP: source_drop(action->user, action->offset); break;
	case CLIENT_REWIND: on_rewind(action->user); break;
	case CLIENT_PAYLOAD: on_payload(session, action); break;
	case CLIENT_ABORT: on_abort(session, action); break;
	case CLIENT_EXPECT: on_expect(session, action); break;
	case CLIENT_RECEIVE: on_receive(session, action); break;
	case CLIENT_DONE: op_ended(session, action); break;
	case CLIENT_CONNECTED: on_connected(session, action); break;
	}
}

/* A name server's name is looked up in the midst of this, and a caller's function may start
 * something: the core then adds to the outbox, so its array may move and an action is copied before
 * it is carried out. */
void actions_carry_out(struct muster *session)
{
	if (session->acting)
		return;
	session->acting = true;
	for (size_t i = 0; i < session->outbox.count; i++) {
		struct client_action action = session->outbox.actions[i];

		carry_out(session, &action);
	}
	session->acting = false;
	if (session->outbox.failed)
		session->broken = true;
	client_outbox_clear(&session->outbox);
}
