/* Data connections: at most two per storage server, made by whoever gets through first. */
#include "client_parts.h"

#include <stdlib.h>

static void link_ready(struct client *client, struct data_link *link,
		       struct connection *connection);

/* ---- servers ---- */

static struct node *node_get(struct client *client, const struct id *id)
{
	struct node *node = node_find(client, id);

	if (node)
		return node;
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	node->id = *id;
	for (uint8_t lane = 0; lane < 2; lane++) {
		node->links[lane].node = node;
		node->links[lane].lane = lane;
		TAILQ_INIT(&node->links[lane].waiters);
	}
	HASH_ADD(hh, client->nodes, id, sizeof(node->id), node);
	if (!node->hh.tbl) {
		free(node);
		return NULL;
	}
	return node;
}

struct node *node_find(struct client *client, const struct id *id)
{
	struct node *node;

	HASH_FIND(hh, client->nodes, id, sizeof(*id), node);
	return node;
}

/* The catalogue's copy has the addresses that were registered last; where it was heard, it is. */
static void node_heard(const struct client *client, struct node *node)
{
	const struct discovery *discovery = &client->discovery;
	unsigned int kept = node->endpoint_count;

	for (unsigned int i = 0; i < discovery->count; i++) {
		const struct discovered *server = &discovery->servers[i];

		if (server->beacon.kind != BEACON_STORAGE ||
		    !id_equal(&server->beacon.server, &node->id))
			continue;
		if (kept == ENDPOINTS_MAX)
			kept--;
		memmove(node->endpoints + 1, node->endpoints, kept * sizeof(node->endpoints[0]));
		node->endpoints[0] = server->endpoint;
		node->endpoint_count = kept + 1;
		return;
	}
}

struct node *node_learn(struct client *client, const struct node_address *address)
{
	struct node *node = node_get(client, &address->node);

	if (!node)
		return NULL;
	node->machine = address->machine;
	node->endpoint_count = address->endpoints_count;
	if (address->endpoints_count > 0)
		memcpy(node->endpoints, address->endpoints,
		       address->endpoints_count * sizeof(node->endpoints[0]));
	if (client->degraded)
		node_heard(client, node);
	return node;
}

bool node_is_doubtful(const struct client *client, const struct node *node)
{
	return client->now_ms < node->doubt_until_ms;
}

/* ---- connections ---- */

static struct connection *connection_find(struct client *client, uint64_t handle)
{
	struct connection *connection;

	HASH_FIND(hh, client->connections, &handle, sizeof(handle), connection);
	return connection;
}

static struct connection *connection_add(struct client *client, uint64_t handle)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return NULL;
	connection->handle = handle;
	HASH_ADD(hh, client->connections, handle, sizeof(connection->handle), connection);
	if (!connection->hh.tbl) {
		free(connection);
		return NULL;
	}
	return connection;
}

static void connection_remove(struct client *client, struct connection *connection)
{
	if (!connection->link)
		client->strangers--;
	HASH_DEL(client->connections, connection);
	free(connection);
}

static void connection_close(struct client *client, uint64_t handle)
{
	struct connection *connection = connection_find(client, handle);

	act(client, CLIENT_CLOSE)->connection = handle;
	if (connection)
		connection_remove(client, connection);
}

/* ---- making one ---- */

static bool may_be_dialled(const struct client *client)
{
	return client->port != 0 && client->config.transfer != CLIENT_PASSIVE;
}

static void ask_to_dial(struct client *client, struct data_link *link)
{
	struct dial_request dial = { link->lane, link->node->id };

	link->asked = true;
	control_ask(client, &(struct asking){ MSG_dial, &dial, NULL, NULL }, false);
}

static bool is_known_passive(const struct client *client, const struct node *node)
{
	return node->way == WAY_PASSIVE && client->now_ms < node->way_until_ms;
}

static void dial_next(struct client *client, struct data_link *link)
{
	const struct endpoint *endpoint = &link->node->endpoints[link->dialled];
	struct connection *connection = connection_add(client, connection_new(client));
	struct client_action *action;

	if (!connection)
		return;
	connection->link = link;
	connection->passive = true;
	link->dials[link->dialled++] = connection->handle;
	link->dial_ms = client->now_ms + DIAL_STAGGER_MS;
	action = act(client, CLIENT_DIAL);
	action->connection = connection->handle;
	action->endpoint = *endpoint;
}

static void dial_due(struct client *client, struct data_link *link)
{
	if (client->now_ms >= link->dial_ms && link->dialled < link->node->endpoint_count)
		dial_next(client, link);
}

/* The name server tells a storage server by itself when it first hands out a place or a chunk
 * there; for more than that it is asked. */
static void link_begin(struct client *client, struct data_link *link)
{
	bool active = may_be_dialled(client) && !is_known_passive(client, link->node);
	bool passive = client->config.transfer != CLIENT_ACTIVE || client->degraded;

	link->state = LINK_WAITING;
	link->since_ms = client->now_ms;
	link->dialled = 0;
	memset(link->dials, 0, sizeof(link->dials));
	link->asked = !active;
	if (!active)
		link->dial_ms = passive ? client->now_ms : UINT64_MAX;
	else
		link->dial_ms = passive ? client->now_ms + PASSIVE_AFTER_MS : UINT64_MAX;
	if (active && link->node->told & 1u << link->lane)
		ask_to_dial(client, link);
	link->node->told |= (uint8_t)(1u << link->lane);
	dial_due(client, link);
}

struct data_link *link_use(struct client *client, struct node *node, uint8_t lane,
			   struct waiter *waiter)
{
	struct data_link *link = &node->links[lane];

	if (link->state == LINK_READY)
		return link;
	if (!waiter->queued) {
		waiter->queued = true;
		waiter->since_ms = client->now_ms;
		TAILQ_INSERT_TAIL(&link->waiters, waiter, entry);
	}
	if (link->state == LINK_NONE)
		link_begin(client, link);
	return NULL;
}

void link_unwait(struct data_link *link, struct waiter *waiter)
{
	if (!waiter->queued)
		return;
	waiter->queued = false;
	TAILQ_REMOVE(&link->waiters, waiter, entry);
}

static void close_dials(struct client *client, struct data_link *link)
{
	for (unsigned int i = 0; i < link->dialled; i++) {
		if (link->dials[i] && link->dials[i] != link->connection)
			connection_close(client, link->dials[i]);
	}
	link->dialled = 0;
}

static void link_ready(struct client *client, struct data_link *link, struct connection *connection)
{
	struct waiter *waiter;

	connection->link = link;
	connection->ready = true;
	link->state = LINK_READY;
	link->connection = connection->handle;
	link->passive = connection->passive;
	link->moved_ms = client->now_ms;
	link->node->way = link->passive ? WAY_PASSIVE : WAY_ACTIVE;
	link->node->way_until_ms = client->now_ms + WAY_MS;
	link->node->doubt_until_ms = 0;
	close_dials(client, link);
	while (link->state == LINK_READY && (waiter = TAILQ_FIRST(&link->waiters)) != NULL) {
		link_unwait(link, waiter);
		if (waiter->kind == WAITER_PIECE)
			piece_link_ready(client, (struct piece *)waiter);
		else if (waiter->kind == WAITER_HAVE)
			search_link_ready(client, waiter);
		else
			part_link_ready(client, (struct part *)waiter);
	}
}

/* ---- losing one ---- */

static void fail_users(struct client *client, const struct data_link *link)
{
	for (uint32_t i = 0; i < PENDING_MAX; i++) {
		struct pending *pending = &client->pending[i];

		if (pending->kind == PENDING_PIECE) {
			struct piece *piece = pending->owner;

			if (piece->link == link)
				piece_hop_dead(client, piece);
		} else if (pending->kind == PENDING_PART) {
			struct part *part = pending->owner;

			if (part->link == link)
				part_failed(client, part, -ERR_UNREACHABLE);
		} else if (pending->kind == PENDING_HAVE && search_uses(pending->owner, link)) {
			search_failed(client, pending->owner);
		}
	}
}

/* Those who wait now; whoever queues up again meanwhile belongs to the next try. */
static void fail_waiters(struct client *client, struct data_link *link)
{
	struct waiter *last = TAILQ_LAST(&link->waiters, waiter_list);
	struct waiter *waiter = TAILQ_FIRST(&link->waiters);

	while (waiter) {
		bool end = waiter == last;

		link_unwait(link, waiter);
		if (waiter->kind == WAITER_PIECE)
			piece_hop_dead(client, (struct piece *)waiter);
		else if (waiter->kind == WAITER_HAVE)
			search_failed(client, waiter);
		else
			part_failed(client, (struct part *)waiter, -ERR_UNREACHABLE);
		waiter = end ? NULL : TAILQ_FIRST(&link->waiters);
	}
}

void link_fail(struct client *client, struct data_link *link)
{
	if (link->state == LINK_READY)
		connection_close(client, link->connection);
	link->connection = 0;
	close_dials(client, link);
	link->state = LINK_NONE;
	link->doomed = false;
	link->node->way = WAY_UNKNOWN;
	link->node->doubt_until_ms = client->now_ms + DOUBT_MS;
	fail_users(client, link);
	fail_waiters(client, link);
}

void links_new_port(struct client *client)
{
	for (struct node *node = client->nodes; node; node = node->hh.next)
		node->told = 0;
}

static void link_tick(struct client *client, struct data_link *link)
{
	if (link->state != LINK_WAITING)
		return;
	if (!link->asked && client->now_ms - link->since_ms >= DIAL_AFTER_MS)
		ask_to_dial(client, link);
	dial_due(client, link);
	if (client->now_ms - link->since_ms >= patience_ms(client, LINK_MS))
		link_fail(client, link);
}

void links_tick(struct client *client)
{
	struct connection *connection, *next;

	HASH_ITER(hh, client->connections, connection, next) {
		if (!connection->link && client->now_ms >= connection->deadline_ms)
			connection_close(client, connection->handle);
	}
	for (struct node *node = client->nodes; node; node = node->hh.next) {
		link_tick(client, &node->links[0]);
		link_tick(client, &node->links[1]);
	}
}

void links_reap(struct client *client)
{
	for (struct node *node = client->nodes; node; node = node->hh.next) {
		if (node->links[0].doomed)
			link_fail(client, &node->links[0]);
		if (node->links[1].doomed)
			link_fail(client, &node->links[1]);
	}
}

/* ---- events ---- */

void links_accepted(struct client *client, const struct client_event *event)
{
	struct connection *connection;

	connection = client->strangers < STRANGERS_MAX ? connection_add(client, event->connection)
						       : NULL;
	if (!connection) {
		act(client, CLIENT_CLOSE)->connection = event->connection;
		return;
	}
	connection->deadline_ms = client->now_ms + HELLO_TIMEOUT_MS;
	if (event->endpoints)
		connection->peer = *event->endpoints;
	client->strangers++;
}

void links_opened(struct client *client, uint64_t handle)
{
	struct connection *connection = connection_find(client, handle);

	if (connection && connection->link)
		seek_hello(client, handle,
			   &(struct hello_request){ .expected = connection->link->node->id,
						    .lane = connection->link->lane });
}

static void dial_failed(struct client *client, struct connection *connection)
{
	struct data_link *link = connection->link;

	for (unsigned int i = 0; link && i < link->dialled; i++) {
		if (link->dials[i] == connection->handle)
			link->dials[i] = 0;
	}
	connection_remove(client, connection);
}

void links_closed(struct client *client, uint64_t handle)
{
	struct connection *connection = connection_find(client, handle);
	struct data_link *link;

	if (!connection)
		return;
	link = connection->link;
	if (!connection->ready) {
		dial_failed(client, connection);
		return;
	}
	connection_remove(client, connection);
	link->connection = 0;
	link->state = LINK_NONE;
	link_fail(client, link);
}

static void refuse_stranger(struct client *client, struct connection *connection,
			    const struct frame_header *header, int error)
{
	refusal_encode(send_begin(client), header->type, header->id, error);
	send_end(client, connection->handle);
	connection_close(client, connection->handle);
}

static void welcome(struct client *client, struct connection *connection, uint32_t id,
		    struct data_link *link)
{
	struct hello_reply reply = {
		.version = PROTOCOL_VERSION,
		.epoch = client->epoch,
		.role = ROLE_CLIENT,
		.cluster = client->cluster,
		.cluster_name = slice_of(client->cluster_name),
		.self = client->config.self,
		.machine = client->config.machine,
		.seen = connection->peer,
	};

	if (reply_encode(send_begin(client), MSG_hello, id, &reply) == 0)
		send_end(client, connection->handle);
	client->strangers--;
	link_ready(client, link, connection);
}

static int stranger_check(const struct client *client, const struct message *message)
{
	const struct hello_request *hello = message->body;

	if (message->reply || message->info->code != MSG_hello)
		return -ERR_BAD_REQUEST;
	if (hello->versions >> 16 > PROTOCOL_VERSION ||
	    (hello->versions & 0xffff) < PROTOCOL_VERSION)
		return -ERR_WRONG_VERSION;
	if (!id_equal(&hello->expected, &client->config.self))
		return -ERR_WRONG_NODE;
	if (hello->role != ROLE_STORAGE || id_is_none(&client->proof) ||
	    !id_equal(&hello->proof, &client->proof))
		return -ERR_DENIED;
	return 0;
}

static void stranger_frame(struct client *client, struct connection *connection,
			   const struct client_event *event)
{
	const struct hello_request *hello;
	struct message message;
	struct node *node;
	int rc = message_decode(event->header, event->body, &client->arena, &message);

	rc = rc < 0 ? -ERR_BAD_REQUEST : stranger_check(client, &message);
	if (rc < 0) {
		refuse_stranger(client, connection, event->header, rc);
		return;
	}
	hello = message.body;
	reach_heard(client, &hello->self);
	node = node_get(client, &hello->self);
	if (node && node->links[hello->lane].state != LINK_READY)
		welcome(client, connection, event->header->id, &node->links[hello->lane]);
	else
		connection_close(client, connection->handle);
}

/* The answer to our HELLO. */
static void dialled_frame(struct client *client, struct connection *connection,
			  const struct client_event *event)
{
	const struct hello_reply *reply;
	struct message message;
	int rc = message_decode(event->header, event->body, &client->arena, &message);

	reply = message.body;
	if (rc < 0 || !message.reply || message.info->code != MSG_hello || message.status ||
	    !id_equal(&reply->self, &connection->link->node->id)) {
		act(client, CLIENT_CLOSE)->connection = connection->handle;
		dial_failed(client, connection);
		return;
	}
	link_ready(client, connection->link, connection);
}

static void serve(struct client *client, uint64_t handle, const struct message *message)
{
	struct buffer *out = send_begin(client);

	if (message->info->code == MSG_ping)
		reply_encode(out, MSG_ping, message->id,
			     &(struct ping_reply){
				     ((const struct ping_request *)message->body)->cookie });
	else
		refusal_encode(out, message->info->code, message->id, -ERR_UNSUPPORTED);
	send_end(client, handle);
}

static void transfer_frame(struct client *client, struct data_link *link,
			   const struct client_event *event)
{
	struct pending *pending;
	struct message message;

	link->moved_ms = client->now_ms;
	if (message_decode(event->header, event->body, &client->arena, &message) < 0) {
		link_fail(client, link);
		return;
	}
	if (!message.reply) {
		serve(client, link->connection, &message);
		return;
	}
	pending = pending_find(client, message.id);
	if (!pending)
		return;
	if (pending->kind == PENDING_PIECE && message.info->code == MSG_write &&
	    ((struct piece *)pending->owner)->link == link)
		piece_reply(client, pending->owner, &message);
	else if (pending->kind == PENDING_PART && message.info->code == MSG_read &&
		 message.status && ((struct part *)pending->owner)->link == link)
		part_refused(client, pending->owner, &message);
	else if (pending->kind == PENDING_HAVE && message.info->code == MSG_have &&
		 search_uses(pending->owner, link))
		search_reply(client, pending->owner, &message);
}

void links_frame(struct client *client, const struct client_event *event)
{
	struct connection *connection = connection_find(client, event->connection);

	if (!connection)
		return;
	if (!connection->link)
		stranger_frame(client, connection, event);
	else if (!connection->ready)
		dialled_frame(client, connection, event);
	else
		transfer_frame(client, connection->link, event);
}

void links_done(struct client *client)
{
	struct connection *connection, *next_connection;
	struct node *node, *next_node;

	HASH_ITER(hh, client->connections, connection, next_connection) {
		HASH_DEL(client->connections, connection);
		free(connection);
	}
	HASH_ITER(hh, client->nodes, node, next_node) {
		HASH_DEL(client->nodes, node);
		free(node);
	}
}
