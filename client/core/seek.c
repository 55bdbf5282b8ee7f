/* Finding the name server and opening the session with it. */
#include "client_parts.h"

enum seek_limits {
	WINDOW_MS = 150, /* after the first beacon, for a second cluster to be heard */
	PROBE_MS = 1000,
	FRESH_MS = 3 * BEACON_INTERVAL_MS,
	PORT_TRIES_MAX = 16,
	COPY_AFTER_MS = 1500, /* storage servers wait for 2 s before they stand in */
	COPY_SOON_MS = 300,   /* they did a moment ago */
	/* Another one takes over after 15 s of silence, or is started on an empty disk, and storage
	 * servers follow it after 11 s. */
	SUCCESSOR_MS = 30 * 1000,
};

/* ---- seeking ---- */

static void listen_to_beacons(struct client *client, bool on)
{
	if (client->seek.listening == on)
		return;
	client->seek.listening = on;
	act(client, CLIENT_SEEK)->flag = on;
}

static void seek_stop(struct client *client)
{
	if (!client->seek.active)
		return;
	client->seek.active = false;
	client->seek.resolving = false;
	attempts_close(client);
	listen_to_beacons(client, false);
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
	seek->copy_ms = client->now_ms +
			patience_ms(client, client->config.missed ? COPY_SOON_MS : COPY_AFTER_MS);
	seek->first_ms = 0;
	seek->retry_ms = 0;
	seek->backoff_ms = BACKOFF_FIRST_MS;
	seek->resolving = false;
	seek->error = -ERR_NO_NAMESERVER;
	if (!client->config.fixed)
		listen_to_beacons(client, true);
	if (seek->last.family)
		seek_dial(client, &seek->last, NULL);
	seek_tick(client);
}

void seek_fail(struct client *client, int error)
{
	struct client_op *op;

	client->seek.error = error;
	seek_stop(client);
	if (client->wanted) {
		client->wanted = false;
		act(client, CLIENT_CONNECTED)->error = error;
	}
	while ((op = TAILQ_FIRST(&client->running)) != NULL)
		op_give_up(client, op, error);
	while ((op = TAILQ_FIRST(&client->waiting)) != NULL)
		op_finish(client, op, error, NULL);
}

/* ---- whom to ask ---- */

/* Of the same cluster as `beginner`, which is about to be its name server: the best of those that
 * say that they serve; NULL: none does. */
static const struct discovered *find_serving(const struct client *client,
					     const struct beacon *beginner)
{
	const struct discovery *discovery = &client->discovery;
	const struct discovered *best = NULL;

	for (unsigned int i = 0; i < discovery->count; i++) {
		const struct discovered *server = &discovery->servers[i];

		if (server->beacon.kind != BEACON_NAMESERVER ||
		    !id_equal(&server->beacon.cluster, &beginner->cluster) ||
		    client->now_ms - server->heard_ms > FRESH_MS)
			continue;
		if (!best || server->beacon.epoch > best->beacon.epoch)
			best = server;
	}
	return best;
}

/* While another one says that it serves, who is about to begin may never do so: it sees too few
 * storage servers, stands by, or looks for its cluster. */
static bool may_never_serve(const struct client *client, const struct id *nameserver)
{
	const struct discovery *discovery = &client->discovery;

	for (unsigned int i = 0; i < discovery->count; i++) {
		const struct beacon *beacon = &discovery->servers[i].beacon;

		if (beacon->kind == BEACON_BEGINNER && id_equal(&beacon->server, nameserver))
			return find_serving(client, beacon) != NULL;
	}
	return false;
}

static void seek_choose(struct client *client)
{
	struct seek *seek = &client->seek;
	const struct discovered *found, *other, *serving;
	int rc;

	if (seek->first_ms == 0 ||
	    (id_is_none(&client->discovery.cluster) && client->now_ms - seek->first_ms < WINDOW_MS))
		return;
	rc = discovery_choose(&client->discovery, client->now_ms, FRESH_MS, &found, &other);
	if (rc == -ERR_TWO_CLUSTERS)
		seek_fail(client, rc);
	if (rc < 0 || client->now_ms < seek->retry_ms)
		return;
	seek_dial(client, &found->endpoint, NULL);
	if (found->beacon.kind != BEACON_BEGINNER)
		return;
	serving = find_serving(client, &found->beacon);
	if (serving)
		seek_dial(client, &serving->endpoint, NULL);
}

static void seek_fixed(struct client *client)
{
	struct seek *seek = &client->seek;

	if (seek->resolving || seek_is_trying(client) || client->now_ms < seek->retry_ms)
		return;
	seek->resolving = true;
	act(client, CLIENT_RESOLVE);
}

static void probe_due(struct client *client)
{
	struct seek *seek = &client->seek;

	if (client->now_ms < seek->probe_ms)
		return;
	probe(client);
	seek->probe_ms = client->now_ms + (client->degraded ? LOOK_EVERY_MS : PROBE_MS);
}

static void seek_beacons(struct client *client)
{
	struct seek *seek = &client->seek;

	probe_due(client);
	if (seek->last.family && seek->retry_ms && client->now_ms >= seek->retry_ms)
		seek_dial(client, &seek->last, NULL);
	seek_choose(client);
}

/* The name server that was named comes first, and no other. But for reading, storage servers are
 * looked for. */
static void seek_copies(struct client *client)
{
	struct seek *seek = &client->seek;

	if (client->now_ms < seek->copy_ms || client->degraded || !degraded_is_possible(client))
		return;
	if (client->config.fixed) {
		listen_to_beacons(client, true);
		probe_due(client);
	}
	degraded_choose(client);
}

void seek_look(struct client *client)
{
	struct seek *seek = &client->seek;

	seek->backoff_ms = BACKOFF_FIRST_MS;
	seek->retry_ms = 0;
	seek->probe_ms = client->now_ms;
	if (client->config.fixed) {
		seek_fixed(client);
		return;
	}
	probe_due(client);
	if (seek->last.family)
		seek_dial_anew(client, &seek->last);
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

static bool was_under_way(const struct client *client, const struct client_op *op)
{
	return op->kind == OP_PUT && client->lost_ms && op->start_ms <= client->lost_ms;
}

bool seek_puts_wait(const struct client *client)
{
	const struct client_op *op;

	TAILQ_FOREACH(op, &client->running, entry) {
		if (was_under_way(client, op))
			return true;
	}
	return false;
}

static uint64_t limit_ms(const struct client *client, const struct client_op *op)
{
	uint64_t successor_ms = patience_ms(client, SUCCESSOR_MS);
	uint64_t usual_ms = client->config.timeout_ms;

	return was_under_way(client, op) && successor_ms > usual_ms ? successor_ms : usual_ms;
}

static void ops_time_out(struct client *client, struct op_list *list)
{
	int error = client->seek.error ? client->seek.error : -ERR_TIMEOUT;
	struct client_op *op, *next;

	TAILQ_FOREACH_SAFE(op, list, entry, next) {
		if (client->degraded && op->reads)
			continue;
		if (client->now_ms - waits_since(client, op) >= limit_ms(client, op))
			op_give_up(client, op, error);
	}
}

/* Somebody waits for the name server; or contents are held open, and it may have forgotten that. */
static bool is_needed(const struct client *client)
{
	if (client->wanted || client->degraded || !TAILQ_EMPTY(&client->running) ||
	    !TAILQ_EMPTY(&client->waiting))
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
	attempts_tick(client);
	if (client->config.fixed)
		seek_fixed(client);
	else
		seek_beacons(client);
	seek_copies(client);
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
	    !seek->active)
		return;
	if (event->beacon->kind == BEACON_STORAGE)
		seek_copies(client);
	if (event->beacon->kind == BEACON_NAMESERVER)
		attempts_hurry(client, &event->beacon->server);
	if (!beacon_is_nameserver(event->beacon) || client->config.fixed)
		return;
	if (seek->first_ms == 0)
		seek->first_ms = client->now_ms ? client->now_ms : 1;
	/* Whoever speaks again may have been started a moment ago. */
	if (client->degraded)
		seek->retry_ms = 0;
	seek_choose(client);
}

void seek_resolved(struct client *client, const struct client_event *event)
{
	struct seek *seek = &client->seek;

	if (!seek->active || !seek->resolving)
		return;
	seek->resolving = false;
	for (unsigned int i = 0; i < event->count; i++)
		seek_dial(client, &event->endpoints[i], NULL);
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
	seek_hello(client, connection, &(struct hello_request){ .expected = attempt->storage });
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

void seek_stands(struct client *client, const struct attempt *attempt,
		 const struct greeted *greeted)
{
	client->control = attempt->connection;
	client->cluster = client->discovery.cluster = greeted->cluster;
	memcpy(client->cluster_name, greeted->cluster_name, sizeof(client->cluster_name));
	client->epoch = greeted->epoch;
	client->connected_ms = client->now_ms;
	if (client->wanted) {
		client->wanted = false;
		act(client, CLIENT_CONNECTED)->error = 0;
	}
}

static void session_begin(struct client *client, struct attempt *attempt,
			  const struct greeted *greeted)
{
	if (client->degraded) {
		act(client, CLIENT_CLOSE)->connection = client->control;
		client->degraded = false;
		control_lost(client, true);
		contents_doubt(client);
	}
	client->nameserver = greeted->self;
	client->nameserver_endpoint = client->seek.last = attempt->endpoint;
	client->seek.error = 0;
	client->seek.wary = false;
	client->seek.waiting[0] = '\0';
	client->config.missed = false;
	client->port_settled = false;
	client->port_tries = 0;
	client->proven = attempt->stage == ATTEMPT_STATUS;
	attempt->stage = ATTEMPT_FREE;
	seek_stop(client);
	seek_stands(client, attempt, greeted);
	port_ask(client, 0);
	control_connected(client);
	files_renew(client);
}

static void hello_refused(struct client *client, struct attempt *attempt, int error)
{
	attempt_close(client, attempt);
	attempt_failed(client, attempt);
	if (!id_is_none(&attempt->storage))
		return;
	if (error == -ERR_WRONG_CLUSTER || error == -ERR_WRONG_VERSION) {
		client->seek.error = error;
		if (client->config.fixed && !client->degraded)
			seek_fail(client, error);
	}
}

static void greeted_take(struct greeted *greeted, const struct hello_reply *reply)
{
	*greeted = (struct greeted){
		.self = reply->self,
		.cluster = reply->cluster,
		.epoch = reply->epoch,
	};
	memcpy(greeted->cluster_name, reply->cluster_name.data, reply->cluster_name.size);
}

static void hello_answered(struct client *client, struct attempt *attempt,
			   const struct message *message)
{
	const struct hello_reply *reply = message->body;
	bool storage = !id_is_none(&attempt->storage);

	if (message->status) {
		hello_refused(client, attempt, -(int)message->status);
		return;
	}
	if (reply->role != (storage ? ROLE_STORAGE : ROLE_NAMESERVER)) {
		hello_refused(client, attempt, -ERR_WRONG_NODE);
		return;
	}
	greeted_take(&attempt->greeted, reply);
	if (storage && !client->degraded) {
		degraded_begin(client, attempt, &attempt->greeted);
		attempt->stage = ATTEMPT_FREE;
	} else if (storage) {
		attempt_close(client, attempt);
	} else if (client->degraded || client->seek.wary || client->config.missed ||
		   may_never_serve(client, &reply->self)) {
		attempt->stage = ATTEMPT_STATUS;
		attempt_ask(client, attempt);
	} else {
		session_begin(client, attempt, &attempt->greeted);
	}
}

static void takeover_told(struct client *client, const struct status_reply *status)
{
	const struct slice waiting = status->waiting;

	if (waiting.size)
		memcpy(client->seek.waiting, waiting.data, waiting.size);
	client->seek.waiting[waiting.size] = '\0';
	control_told(client, status);
}

/* What cannot be said better counts as serving: requests will tell. */
static void status_answered(struct client *client, struct attempt *attempt,
			    const struct message *message)
{
	const struct status_reply *status = message->body;

	if (message->status == ERR_UNAVAILABLE ||
	    (message->status == 0 && status->state == SERVICE_TAKEOVER)) {
		attempt->ask_ms = client->now_ms + STATUS_EVERY_MS;
		client->seek.error = -ERR_UNAVAILABLE;
		if (client->config.missed)
			client->seek.copy_ms = client->now_ms;
		if (message->status == 0)
			takeover_told(client, status);
	} else {
		session_begin(client, attempt, &attempt->greeted);
	}
}

bool seek_frame(struct client *client, const struct client_event *event)
{
	struct attempt *attempt = attempt_find(client, event->connection);
	unsigned int wanted;
	struct message message;

	if (!attempt)
		return false;
	wanted = attempt->stage == ATTEMPT_STATUS ? MSG_status : MSG_hello;
	if (event->header->type != wanted || !event->header->reply ||
	    message_decode(event->header, event->body, &client->arena, &message) < 0)
		hello_refused(client, attempt, -ERR_BAD_REQUEST);
	else if (wanted == MSG_status)
		status_answered(client, attempt, &message);
	else
		hello_answered(client, attempt, &message);
	return true;
}

/* Who stood in is replaced at once. */
static void storage_lost(struct client *client)
{
	struct seek *seek = &client->seek;

	client->degraded = false;
	seek->failed = client->storage_endpoint;
	seek->failed_ms = client->now_ms;
	seek->copy_ms = seek->probe_ms = client->now_ms;
}

void seek_lost(struct client *client, bool served)
{
	bool degraded = client->degraded;

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
	if (degraded)
		storage_lost(client);
	if (client->seek.active)
		seek_tick(client);
	else if (is_needed(client))
		seek_start(client);
}

/* A name server that takes over says so once it is asked; a storage server, when it has one
 * again. */
void seek_unserved(struct client *client)
{
	const bool degraded = client->degraded;

	act(client, CLIENT_CLOSE)->connection = client->control;
	client->seek.wary = true;
	if (degraded) {
		storage_lost(client);
		client->seek.copy_ms = client->now_ms + patience_ms(client, COPY_AFTER_MS);
		client->config.missed = false;
	}
	seek_lost(client, false);
	/* It has let us wait for long enough. */
	if (!degraded)
		client->seek.copy_ms = client->now_ms;
}
