/* Which ways for bulk data work between us and a storage server. Both are tried with connections of
 * their own: those that exist already say what worked once, not what works. */
#include "client_parts.h"

enum { REACH_MS = 3000 };

/* ---- the end ---- */

static void reach_settle(struct client *client, struct client_op *op)
{
	struct reach_state *reach = &op->reach;

	if (reach->active_known && reach->passive_known)
		op_finish(client, op, 0, &reach->result);
}

static void active_known(struct client *client, struct client_op *op, int result)
{
	if (op->reach.active_known)
		return;
	op->reach.active_known = true;
	op->reach.result.active = result;
	reach_settle(client, op);
}

static void dials_close(struct client *client, struct reach_state *reach)
{
	for (unsigned int i = 0; i < reach->dialled; i++) {
		if (reach->dials[i])
			act(client, CLIENT_CLOSE)->connection = reach->dials[i];
		reach->dials[i] = 0;
	}
}

static void passive_known(struct client *client, struct client_op *op, int result)
{
	if (op->reach.passive_known)
		return;
	dials_close(client, &op->reach);
	op->reach.passive_known = true;
	op->reach.result.passive = result;
	reach_settle(client, op);
}

void reach_drop(struct client *client, struct client_op *op)
{
	dials_close(client, &op->reach);
}

/* ---- it dials us ---- */

static void dial_answered(struct client *client, void *owner, int error, const void *body)
{
	(void)body;
	if (error < 0)
		active_known(client, owner, error);
}

static void active_begin(struct client *client, struct client_op *op)
{
	struct dial_request dial = { LANE_SMALL, op->reach.node };
	int rc = -ERR_NO_PORT;

	op->reach.result.port = client->port;
	if (client->port)
		rc = control_ask(client, &(struct asking){ MSG_dial, &dial, dial_answered, op },
				 false);
	if (rc < 0)
		active_known(client, op, rc);
}

void reach_heard(struct client *client, const struct id *node)
{
	struct client_op *op, *next;

	TAILQ_FOREACH_SAFE(op, &client->running, entry, next) {
		if (op->kind == OP_REACH && op->reach.deadline_ms &&
		    id_equal(&op->reach.node, node))
			active_known(client, op, 0);
	}
}

/* ---- we dial it ---- */

static void dial_next(struct client *client, struct reach_state *reach)
{
	struct client_action *action = act(client, CLIENT_DIAL);

	action->connection = connection_new(client);
	action->endpoint = reach->result.endpoint = reach->endpoints[reach->dialled];
	reach->dials[reach->dialled++] = action->connection;
	reach->dial_ms = client->now_ms + DIAL_STAGGER_MS;
}

static struct client_op *dial_find(struct client *client, uint64_t connection, unsigned int *ret)
{
	struct client_op *op;

	TAILQ_FOREACH(op, &client->running, entry) {
		for (*ret = 0; op->kind == OP_REACH && *ret < op->reach.dialled; ++*ret) {
			if (op->reach.dials[*ret] == connection)
				return op;
		}
	}
	return NULL;
}

/* The others may still get through. */
static void dial_ended(struct client *client, struct client_op *op, unsigned int dial, int error)
{
	struct reach_state *reach = &op->reach;

	reach->dials[dial] = 0;
	reach->dial_ms = client->now_ms;
	reach->result.passive = error;
	for (unsigned int i = 0; i < reach->dialled; i++) {
		if (reach->dials[i])
			return;
	}
	if (reach->dialled == reach->endpoint_count)
		passive_known(client, op, error);
}

bool reach_opened(struct client *client, uint64_t connection)
{
	unsigned int dial;
	struct client_op *op = dial_find(client, connection, &dial);

	if (op)
		seek_hello(client, connection,
			   &(struct hello_request){ .expected = op->reach.node,
						    .lane = LANE_SMALL });
	return op != NULL;
}

bool reach_closed(struct client *client, uint64_t connection, int error)
{
	unsigned int dial;
	struct client_op *op = dial_find(client, connection, &dial);

	if (op)
		dial_ended(client, op, dial, error ? error : -ERR_CONNECTION);
	return op != NULL;
}

/* What the answer to our HELLO says of who is there. */
static int greeted(struct client *client, const struct client_event *event, const struct id *node)
{
	const struct hello_reply *reply;
	struct message message;

	if (message_decode(event->header, event->body, &client->arena, &message) < 0 ||
	    !message.reply || message.info->code != MSG_hello)
		return -ERR_BAD_REQUEST;
	if (message.status)
		return -(int)message.status;
	reply = message.body;
	return id_equal(&reply->self, node) ? 0 : -ERR_WRONG_NODE;
}

bool reach_frame(struct client *client, const struct client_event *event)
{
	unsigned int dial;
	struct client_op *op = dial_find(client, event->connection, &dial);
	int rc;

	if (!op)
		return false;
	op->reach.result.endpoint = op->reach.endpoints[dial];
	rc = greeted(client, event, &op->reach.node);
	if (rc == 0) {
		passive_known(client, op, 0);
	} else {
		act(client, CLIENT_CLOSE)->connection = event->connection;
		dial_ended(client, op, dial, rc);
	}
	return true;
}

/* ---- the beginning ---- */

static void endpoints_take(struct reach_state *reach, const struct node_info *node)
{
	reach->endpoint_count = node->endpoints_count;
	if (reach->endpoint_count > 0)
		memcpy(reach->endpoints, node->endpoints,
		       reach->endpoint_count * sizeof(reach->endpoints[0]));
}

static void node_answered(struct client *client, void *owner, int error, const void *body)
{
	const struct nodes_reply *reply = body;
	struct client_op *op = owner;
	struct reach_state *reach = &op->reach;

	if (error == 0 &&
	    (reply->nodes_count == 0 || !id_equal(&reply->nodes[0].node, &reach->node)))
		error = -ERR_NOT_FOUND;
	if (error < 0) {
		op_finish(client, op, error, NULL);
		return;
	}
	endpoints_take(reach, &reply->nodes[0]);
	reach->deadline_ms = client->now_ms + patience_ms(client, REACH_MS);
	if (reach->endpoint_count == 0)
		passive_known(client, op, -ERR_UNREACHABLE);
	else
		dial_next(client, reach);
	active_begin(client, op);
}

/* The greatest id before this one: a page of servers behind that begins with it. */
static struct id id_before(struct id id)
{
	for (unsigned int i = ID_SIZE; i-- > 0 && id.bytes[i]-- == 0;)
		continue;
	return id;
}

void reach_start(struct client *client, struct client_op *op)
{
	struct nodes_request nodes = { .after = id_before(op->reach.node) };
	int rc = id_is_none(&op->reach.node) ? -ERR_NOT_FOUND : 0;

	if (rc == 0)
		rc = control_ask(client, &(struct asking){ MSG_nodes, &nodes, node_answered, op },
				 false);
	if (rc < 0)
		op_finish(client, op, rc, NULL);
}

void reach_tick(struct client *client, struct client_op *op)
{
	struct reach_state *reach = &op->reach;

	if (reach->deadline_ms == 0)
		return;
	if (client->now_ms < reach->deadline_ms) {
		if (!reach->passive_known && client->now_ms >= reach->dial_ms &&
		    reach->dialled < reach->endpoint_count)
			dial_next(client, reach);
		return;
	}
	if (!reach->passive_known)
		passive_known(client, op, -ERR_TIMEOUT);
	if (op->running)
		active_known(client, op, -ERR_TIMEOUT);
}
