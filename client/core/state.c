/* How the session is, and who is waited for while nothing moves: for people to be told. */
#include "client_parts.h"

enum { PAUSE_MS = 10 * CLIENT_TICK_MS }; /* without a tick nobody was waiting */

static bool is_anybody_waiting(const struct client *client)
{
	return client->wanted || !TAILQ_EMPTY(&client->running) || !TAILQ_EMPTY(&client->waiting);
}

static enum client_waits waits_unconnected(const struct client *client)
{
	if (client->seek.error == -ERR_UNAVAILABLE)
		return CLIENT_WAITS_TAKEOVER;
	/* One that refuses HELLO, since it cannot greet anybody yet, is called again. */
	if (seek_sees_nameserver(client) || client->waits.what == CLIENT_WAITS_ANSWER)
		return CLIENT_WAITS_ANSWER;
	return CLIENT_WAITS_NAMESERVER;
}

/* Reading goes on. */
static enum client_waits waits_degraded(const struct client *client)
{
	const struct request *request;

	TAILQ_FOREACH(request, &client->requests, entry) {
		if (!request->sent)
			return waits_unconnected(client);
	}
	return CLIENT_WAITS_NOT;
}

/* Whoever asks for events wants it to take its time. */
static enum client_waits waits_unproven(const struct client *client)
{
	const struct request *request;

	TAILQ_FOREACH(request, &client->requests, entry) {
		if (request->sent && request->code != MSG_events)
			return CLIENT_WAITS_ANSWER;
	}
	return CLIENT_WAITS_NOT;
}

static enum client_waits waits_connected(const struct client *client)
{
	const struct request *request;
	const struct client_op *op;

	TAILQ_FOREACH(request, &client->requests, entry) {
		if (request->again_ms)
			return CLIENT_WAITS_QUORUM;
	}
	if (client->bulk.busy && !TAILQ_EMPTY(&client->bulk.waiting))
		return CLIENT_WAITS_SERVERS;
	TAILQ_FOREACH(op, &client->running, entry) {
		if (op->kind == OP_PUT && !op->put.begun && op->put.busy)
			return CLIENT_WAITS_SERVERS;
	}
	return CLIENT_WAITS_NOT;
}

static enum client_waits waits_now(const struct client *client)
{
	if (!is_anybody_waiting(client))
		return CLIENT_WAITS_NOT;
	if (!client->control)
		return waits_unconnected(client);
	if (client->degraded)
		return waits_degraded(client);
	return client->proven ? waits_connected(client) : waits_unproven(client);
}

void waits_tick(struct client *client)
{
	struct waits *waits = &client->waits;
	const enum client_waits now = waits_now(client);

	if (waits->what == CLIENT_WAITS_NOT || client->now_ms - waits->seen_ms > PAUSE_MS)
		waits->since_ms = client->now_ms;
	waits->seen_ms = client->now_ms;
	waits->what = now;
}

static void count_links(const struct client *client, struct client_state *ret)
{
	const struct connection *connection;

	for (connection = client->connections; connection; connection = connection->hh.next) {
		if (!connection->ready || !connection->link)
			continue;
		if (connection->link->passive)
			ret->passive++;
		else
			ret->active++;
	}
}

void client_state(const struct client *client, struct client_state *ret)
{
	*ret = (struct client_state){
		.connected = client->control != 0,
		.error = client->seek.error,
		.waits = client->waits.what,
		.waits_ms = client->waits.seen_ms - client->waits.since_ms,
		.waiting = client->seek.waiting,
		.nameserver = client->nameserver_endpoint,
		.cluster = client->cluster,
		.epoch = client->epoch,
		.port = client->port,
		.degraded = client->degraded,
		.degraded_answers = client->degraded_answers,
		.storage = client->storage,
		.storage_endpoint = client->storage_endpoint,
	};
	memcpy(ret->cluster_name, client->cluster_name, sizeof(ret->cluster_name));
	count_links(client, ret);
}
