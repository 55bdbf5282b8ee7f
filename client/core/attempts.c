/* Attempts at a session: with name servers, and with storage servers that stand in for one. A name
 * server that may not serve yet is asked for its STATUS before the session begins. */
#include "client_parts.h"

enum {
	DIAL_MS = 3000,
	BACKOFF_MAX_MS = 5000,
	HELLO_SOON_MS = 1000, /* a busy machine takes that long to answer */
};

struct attempt *attempt_find(struct client *client, uint64_t connection)
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

bool seek_is_trying(const struct client *client)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		if (client->seek.attempts[i].stage != ATTEMPT_FREE)
			return true;
	}
	return false;
}

static bool is_answering(const struct client *client, const struct attempt *attempt)
{
	if (attempt->stage == ATTEMPT_HELLO)
		return id_is_none(&attempt->storage) &&
		       client->now_ms - attempt->since_ms < patience_ms(client, HELLO_SOON_MS);
	return attempt->stage == ATTEMPT_STATUS;
}

bool seek_sees_nameserver(const struct client *client)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		if (is_answering(client, &client->seek.attempts[i]))
			return true;
	}
	return false;
}

void seek_dial(struct client *client, const struct endpoint *endpoint, const struct id *storage)
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
		.since_ms = client->now_ms,
		.deadline_ms = client->now_ms + patience_ms(client, DIAL_MS),
	};
	if (storage)
		attempt->storage = *storage;
	action = act(client, CLIENT_DIAL);
	action->connection = attempt->connection;
	action->endpoint = *endpoint;
}

void attempt_close(struct client *client, struct attempt *attempt)
{
	if (attempt->stage == ATTEMPT_FREE)
		return;
	act(client, CLIENT_CLOSE)->connection = attempt->connection;
	attempt->stage = ATTEMPT_FREE;
}

void seek_dial_anew(struct client *client, const struct endpoint *endpoint)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		struct attempt *attempt = &client->seek.attempts[i];

		if (attempt->stage == ATTEMPT_DIALLING &&
		    endpoint_equal(&attempt->endpoint, endpoint))
			attempt_close(client, attempt);
	}
	seek_dial(client, endpoint, NULL);
}

void attempts_close(struct client *client)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++)
		attempt_close(client, &client->seek.attempts[i]);
}

void attempt_failed(struct client *client, struct attempt *attempt)
{
	struct seek *seek = &client->seek;
	uint32_t most_ms = client->degraded ? LOOK_EVERY_MS : BACKOFF_MAX_MS;

	attempt->stage = ATTEMPT_FREE;
	if (!id_is_none(&attempt->storage)) {
		seek->failed = attempt->endpoint;
		seek->failed_ms = client->now_ms;
		return;
	}
	seek->retry_ms =
		client->now_ms + seek->backoff_ms / 2 + prng_below(&client->prng, seek->backoff_ms);
	seek->backoff_ms = seek->backoff_ms * 2 < most_ms ? seek->backoff_ms * 2 : most_ms;
}

void attempt_ask(struct client *client, struct attempt *attempt)
{
	struct status_request status = { 0 };

	attempt->ask_ms = 0;
	attempt->deadline_ms = client->now_ms + patience_ms(client, DIAL_MS);
	if (request_encode(send_begin(client), MSG_status, 0, &status) == 0)
		send_end(client, attempt->connection);
}

void attempts_hurry(struct client *client, const struct id *nameserver)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		struct attempt *attempt = &client->seek.attempts[i];

		if (attempt->stage == ATTEMPT_STATUS && attempt->ask_ms &&
		    id_equal(&attempt->greeted.self, nameserver))
			attempt_ask(client, attempt);
	}
}

void attempts_tick(struct client *client)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		struct attempt *attempt = &client->seek.attempts[i];

		if (attempt->stage == ATTEMPT_STATUS && attempt->ask_ms) {
			if (client->now_ms >= attempt->ask_ms)
				attempt_ask(client, attempt);
		} else if (attempt->stage != ATTEMPT_FREE &&
			   client->now_ms >= attempt->deadline_ms) {
			attempt_close(client, attempt);
			attempt_failed(client, attempt);
		}
	}
}
