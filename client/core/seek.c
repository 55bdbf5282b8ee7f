/* Finding the name server and opening the session with it. */
#include "client_parts.h"

enum seek_limits {
	WINDOW_MS = 150, /* after the first beacon, for a second cluster to be heard */
	PROBE_MS = 1000,
	FRESH_MS = 3 * BEACON_INTERVAL_MS,
	DIAL_MS = 3000,
	BACKOFF_FIRST_MS = 200,
	BACKOFF_MAX_MS = 5000,
	PORT_TRIES_MAX = 16,
};

/* ---- attempts ---- */

static struct attempt *attempt_find(struct client *client, uint64_t connection)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		struct attempt *attempt = &client->seek.attempts[i];

		if (attempt->stage != ATTEMPT_FREE && attempt->connection == connection)
			return attempt;
	}
	return NULL;
}

static bool is_attempted(const struct client *client, const struct endpoint *endpoint)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		const struct attempt *attempt = &client->seek.attempts[i];

		if (attempt->stage != ATTEMPT_FREE && endpoint_equal(&attempt->endpoint, endpoint))
			return true;
	}
	return false;
}

static bool is_trying(const struct client *client)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		if (client->seek.attempts[i].stage != ATTEMPT_FREE)
			return true;
	}
	return false;
}

static void attempt_start(struct client *client, const struct endpoint *endpoint)
{
	struct attempt *attempt = NULL;
	struct client_action *action;

	if (is_attempted(client, endpoint))
		return;
	for (unsigned int i = 0; i < DIALS_MAX && !attempt; i++) {
		if (client->seek.attempts[i].stage == ATTEMPT_FREE)
			attempt = &client->seek.attempts[i];
	}
	if (!attempt)
		return;
	*attempt = (struct attempt){
		.stage = ATTEMPT_DIALLING,
		.connection = connection_new(client),
		.endpoint = *endpoint,
		.deadline_ms = client->now_ms + patience_ms(client, DIAL_MS),
	};
	action = act(client, CLIENT_DIAL);
	action->connection = attempt->connection;
	action->endpoint = *endpoint;
}

static void attempt_close(struct client *client, struct attempt *attempt)
{
	if (attempt->stage == ATTEMPT_FREE)
		return;
	act(client, CLIENT_CLOSE)->connection = attempt->connection;
	attempt->stage = ATTEMPT_FREE;
}

static void attempts_close(struct client *client)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++)
		attempt_close(client, &client->seek.attempts[i]);
}

static void attempt_failed(struct client *client, struct attempt *attempt)
{
	struct seek *seek = &client->seek;

	attempt->stage = ATTEMPT_FREE;
	seek->retry_ms =
		client->now_ms + seek->backoff_ms / 2 + prng_below(&client->prng, seek->backoff_ms);
	seek->backoff_ms =
		seek->backoff_ms * 2 < BACKOFF_MAX_MS ? seek->backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* ---- seeking ---- */

static void seek_stop(struct client *client)
{
	if (!client->seek.active)
		return;
	client->seek.active = false;
	client->seek.resolving = false;
	attempts_close(client);
	if (!client->config.fixed)
		act(client, CLIENT_SEEK)->flag = false;
}

static void probe(struct client *client)
{
	struct beacon beacon = { .kind = BEACON_PROBE, .cluster = client->cluster };
	struct buffer *bytes = send_begin(client);
	struct client_action *action;
	size_t start = bytes->size;
	uint8_t *datagram = buffer_extend(bytes, BEACON_SIZE);

	if (!datagram)
		return;
	memcpy(beacon.cluster_name, client->config.cluster_name, sizeof(beacon.cluster_name));
	beacon_encode(&beacon, NULL, datagram);
	action = act(client, CLIENT_PROBE);
	action->start = start;
	action->size = BEACON_SIZE;
}

void seek_start(struct client *client)
{
	struct seek *seek = &client->seek;

	if (seek->active || client->control)
		return;
	seek->active = true;
	seek->since_ms = client->now_ms;
	seek->probe_ms = client->now_ms;
	seek->first_ms = 0;
	seek->retry_ms = 0;
	seek->backoff_ms = BACKOFF_FIRST_MS;
	seek->resolving = false;
	seek->error = -ERR_NO_NAMESERVER;
	if (!client->config.fixed)
		act(client, CLIENT_SEEK)->flag = true;
	if (seek->last.family)
		attempt_start(client, &seek->last);
	seek_tick(client);
}

/* Everybody who waits for the name server learns that there is none. */
static void seek_fail(struct client *client, int error)
{
	struct client_op *op;

	client->seek.error = error;
	seek_stop(client);
	if (client->wanted) {
		client->wanted = false;
		act(client, CLIENT_CONNECTED)->error = error;
	}
	while ((op = TAILQ_FIRST(&client->running)) != NULL)
		op_finish(client, op, error, NULL);
	while ((op = TAILQ_FIRST(&client->waiting)) != NULL)
		op_finish(client, op, error, NULL);
}

static void seek_choose(struct client *client)
{
	struct seek *seek = &client->seek;
	const struct discovered *found, *other;
	int rc;

	if (seek->first_ms == 0 ||
	    (id_is_none(&client->discovery.cluster) && client->now_ms - seek->first_ms < WINDOW_MS))
		return;
	rc = discovery_choose(&client->discovery, client->now_ms, FRESH_MS, &found, &other);
	if (rc == -ERR_TWO_CLUSTERS)
		seek_fail(client, rc);
	else if (rc == 0 && client->now_ms >= seek->retry_ms)
		attempt_start(client, &found->endpoint);
}

static void seek_fixed(struct client *client)
{
	struct seek *seek = &client->seek;

	if (seek->resolving || is_trying(client) || client->now_ms < seek->retry_ms)
		return;
	seek->resolving = true;
	act(client, CLIENT_RESOLVE);
}

static void seek_beacons(struct client *client)
{
	struct seek *seek = &client->seek;

	if (client->now_ms >= seek->probe_ms) {
		probe(client);
		seek->probe_ms = client->now_ms + PROBE_MS;
	}
	if (seek->last.family && seek->retry_ms && client->now_ms >= seek->retry_ms)
		attempt_start(client, &seek->last);
	seek_choose(client);
}

/* Transfers go on without a name server as far as they can. */
static uint64_t waits_since(const struct client *client, const struct client_op *op)
{
	uint64_t since_ms = op->start_ms > client->lost_ms ? op->start_ms : client->lost_ms;
	uint64_t moved_ms = 0;

	if (op->running && op->kind == OP_PUT)
		moved_ms = put_moved_ms(op);
	else if (op->running && op->kind == OP_GET)
		moved_ms = op->progress_ms;
	return moved_ms > since_ms ? moved_ms : since_ms;
}

static void ops_time_out(struct client *client, struct op_list *list)
{
	int error = client->seek.error ? client->seek.error : -ERR_TIMEOUT;
	struct client_op *op, *next;

	TAILQ_FOREACH_SAFE(op, list, entry, next) {
		if (client->now_ms - waits_since(client, op) >= client->config.timeout_ms)
			op_finish(client, op, error, NULL);
	}
}

/* Somebody waits for the name server; or contents are held open, and it may have forgotten that. */
static bool is_needed(const struct client *client)
{
	if (client->wanted || !TAILQ_EMPTY(&client->running) || !TAILQ_EMPTY(&client->waiting))
		return true;
	return !TAILQ_EMPTY(&client->files) &&
	       client->now_ms - client->seek.since_ms < client->config.timeout_ms;
}

void seek_tick(struct client *client)
{
	struct seek *seek = &client->seek;

	if (!client_is_ready(client))
		ops_time_out(client, &client->waiting);
	if (!seek->active)
		return;
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		struct attempt *attempt = &seek->attempts[i];

		if (attempt->stage != ATTEMPT_FREE && client->now_ms >= attempt->deadline_ms) {
			attempt_close(client, attempt);
			attempt_failed(client, attempt);
		}
	}
	if (client->config.fixed)
		seek_fixed(client);
	else
		seek_beacons(client);
	ops_time_out(client, &client->running);
	if (client->wanted && client->now_ms - client->wanted_ms >= client->config.timeout_ms) {
		client->wanted = false;
		act(client, CLIENT_CONNECTED)->error = seek->error;
	}
	if (!is_needed(client))
		seek_stop(client);
}

void seek_heard(struct client *client, const struct client_event *event)
{
	struct seek *seek = &client->seek;

	if (!discovery_hear(&client->discovery, event->beacon, event->endpoints, client->now_ms) ||
	    event->beacon->kind != BEACON_NAMESERVER)
		return;
	if (!seek->active)
		return;
	if (seek->first_ms == 0)
		seek->first_ms = client->now_ms ? client->now_ms : 1;
	seek_choose(client);
}

void seek_resolved(struct client *client, const struct client_event *event)
{
	struct seek *seek = &client->seek;

	if (!seek->active || !seek->resolving)
		return;
	seek->resolving = false;
	for (unsigned int i = 0; i < event->count; i++)
		attempt_start(client, &event->endpoints[i]);
	if (event->count == 0)
		attempt_failed(client, &(struct attempt){ 0 });
}

/* ---- HELLO ---- */

void seek_hello(struct client *client, uint64_t connection, struct hello_request *hello)
{
	hello->versions = (uint64_t)PROTOCOL_VERSION << 16 | PROTOCOL_VERSION;
	hello->epoch = client->epoch;
	hello->role = ROLE_CLIENT;
	hello->cluster = client->cluster;
	hello->cluster_name = slice_of(client->config.cluster_name);
	hello->self = client->config.self;
	hello->machine = client->config.machine;
	if (request_encode(send_begin(client), MSG_hello, 0, hello) == 0)
		send_end(client, connection);
}

bool seek_opened(struct client *client, uint64_t connection)
{
	struct attempt *attempt = attempt_find(client, connection);

	if (!attempt)
		return false;
	attempt->stage = ATTEMPT_HELLO;
	seek_hello(client, connection, &(struct hello_request){ 0 });
	return true;
}

bool seek_closed(struct client *client, uint64_t connection, int error)
{
	struct attempt *attempt = attempt_find(client, connection);

	(void)error;
	if (!attempt)
		return false;
	attempt_failed(client, attempt);
	return true;
}

/* ---- the port on which storage servers reach us ---- */

static void port_answered(struct client *client, void *owner, int error, const void *body)
{
	const struct port_reply *reply = body;
	struct client_action *action;

	(void)owner;
	if (error < 0 || reply->port == 0 || reply->port > UINT16_MAX) {
		client->port_settled = true;
		return;
	}
	client->proof = reply->proof;
	client->wanted_port = (uint16_t)reply->port;
	action = act(client, CLIENT_LISTEN);
	action->size = reply->port;
}

static void port_ask(struct client *client, uint64_t rejected)
{
	struct port_request port = { rejected };

	if (client->config.transfer == CLIENT_PASSIVE || client->port_tries++ >= PORT_TRIES_MAX ||
	    control_ask(client, &(struct asking){ MSG_port, &port, port_answered, client }, false) <
		    0)
		client->port_settled = true;
}

void seek_port_taken(struct client *client)
{
	if (client->control)
		port_ask(client, client->wanted_port);
}

/* ---- the session stands, or falls ---- */

static void session_begin(struct client *client, struct attempt *attempt,
			  const struct hello_reply *reply)
{
	size_t size = reply->cluster_name.size;

	client->control = attempt->connection;
	client->nameserver = reply->self;
	client->nameserver_endpoint = attempt->endpoint;
	client->seek.last = attempt->endpoint;
	client->cluster = client->discovery.cluster = reply->cluster;
	memcpy(client->cluster_name, reply->cluster_name.data, size);
	client->cluster_name[size] = '\0';
	client->epoch = reply->epoch;
	client->connected_ms = client->now_ms;
	client->seek.error = 0;
	attempt->stage = ATTEMPT_FREE;
	seek_stop(client);
	if (client->wanted) {
		client->wanted = false;
		act(client, CLIENT_CONNECTED)->error = 0;
	}
	client->port_tries = 0;
	port_ask(client, 0);
	control_connected(client);
	files_renew(client);
}

static void hello_refused(struct client *client, struct attempt *attempt, int error)
{
	attempt_close(client, attempt);
	attempt_failed(client, attempt);
	if (error == -ERR_WRONG_CLUSTER || error == -ERR_WRONG_VERSION) {
		client->seek.error = error;
		if (client->config.fixed)
			seek_fail(client, error);
	}
}

bool seek_frame(struct client *client, const struct client_event *event)
{
	struct attempt *attempt = attempt_find(client, event->connection);
	const struct hello_reply *reply;
	struct message message;

	if (!attempt)
		return false;
	if (event->header->type != MSG_hello || !event->header->reply ||
	    message_decode(event->header, event->body, &client->arena, &message) < 0) {
		hello_refused(client, attempt, -ERR_BAD_REQUEST);
		return true;
	}
	reply = message.body;
	if (message.status)
		hello_refused(client, attempt, -(int)message.status);
	else if (reply->role != ROLE_NAMESERVER)
		hello_refused(client, attempt, -ERR_WRONG_NODE);
	else
		session_begin(client, attempt, reply);
	return true;
}

void seek_lost(struct client *client, bool served)
{
	client->control = 0;
	/* Else nobody's time begins anew. */
	if (served)
		client->lost_ms = client->now_ms;
	else if (client->heard_ms > client->lost_ms)
		client->lost_ms = client->heard_ms;
	client->port_settled = false;
	client->port = 0;
	client->proof = (struct id){ 0 };
	act(client, CLIENT_LISTEN)->size = 0;
	control_forget(client, client);
	control_lost(client, served);
	links_new_port(client);
	bulk_reset(client);
	client->seek.since_ms = client->now_ms;
	if (is_needed(client))
		seek_start(client);
}
