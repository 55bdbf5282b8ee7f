/* Without a name server: a storage server answers from its copy of the catalogue. It is found by
 * its beacon, like a name server, and the session with it stands until a name server serves. */
#include "client_parts.h"

enum {
	FRESH_MS = 5000, /* storage servers speak only when somebody probes */
	LOOKED_MS = 200,
	LOOK_MS = 400, /* for a name server to be found that was not there a while ago */
};

/* Not of the only cluster that happens to have lost its name server, if that is another one. */
static const struct id *wanted_cluster(const struct client *client)
{
	return id_is_none(&client->discovery.cluster) ? &client->config.remembered_cluster
						      : &client->discovery.cluster;
}

bool degraded_is_possible(const struct client *client)
{
	const struct id *cluster = wanted_cluster(client);

	return !client->config.fixed || !id_is_none(cluster) ||
	       client->config.cluster_name[0] != '\0';
}

static bool is_wanted(const struct client *client, const struct discovered *server)
{
	const struct id *cluster = wanted_cluster(client);
	const struct seek *seek = &client->seek;

	if (server->beacon.kind != BEACON_STORAGE || client->now_ms - server->heard_ms > FRESH_MS)
		return false;
	if (server->heard_ms <= seek->failed_ms && endpoint_equal(&server->endpoint, &seek->failed))
		return false;
	return id_is_none(cluster) || id_equal(cluster, &server->beacon.cluster);
}

/* Whose copy is of the highest epoch; -ERR_TWO_CLUSTERS: nothing decides between them. */
static int choose(const struct client *client, const struct discovered **ret)
{
	const struct discovery *discovery = &client->discovery;

	*ret = NULL;
	for (unsigned int i = 0; i < discovery->count; i++) {
		const struct discovered *server = &discovery->servers[i];

		if (!is_wanted(client, server))
			continue;
		if (*ret && !id_equal(&(*ret)->beacon.cluster, &server->beacon.cluster))
			return -ERR_TWO_CLUSTERS;
		if (!*ret || server->beacon.epoch > (*ret)->beacon.epoch)
			*ret = server;
	}
	return 0;
}

static bool is_asked(const struct client *client)
{
	for (unsigned int i = 0; i < DIALS_MAX; i++) {
		const struct attempt *attempt = &client->seek.attempts[i];

		if (attempt->stage != ATTEMPT_FREE && !id_is_none(&attempt->storage))
			return true;
	}
	return false;
}

void degraded_choose(struct client *client)
{
	const struct discovered *found;
	int rc;

	if (is_asked(client))
		return;
	rc = choose(client, &found);
	if (rc < 0)
		seek_fail(client, rc);
	else if (found)
		seek_dial(client, &found->endpoint, &found->beacon.server);
}

void degraded_begin(struct client *client, const struct attempt *attempt,
		    const struct greeted *greeted)
{
	client->degraded = true;
	client->storage = greeted->self;
	client->storage_endpoint = attempt->endpoint;
	client->port_settled = true; /* none: nobody could tell servers to dial us */
	/* Who has hardly looked does so before anything is refused. */
	if (!client->config.missed && !client->seek.wary)
		client->seek.looked_ms = client->now_ms;
	seek_stands(client, attempt, greeted);
	control_connected(client);
}

void client_look_anew(struct client *client)
{
	client->seek.looked_ms = 0;
}

bool degraded_serves(unsigned int code)
{
	return message_info(code)->to == TO_CATALOGUE;
}

/* Whoever was not looked for lately may be back. */
uint64_t degraded_refuse_ms(struct client *client)
{
	struct seek *seek = &client->seek;

	if (seek->looked_ms + LOOKED_MS <= client->now_ms) {
		seek_look(client);
		seek->looked_ms = client->now_ms + LOOK_MS;
	}
	return seek->looked_ms > client->now_ms ? seek->looked_ms : client->now_ms;
}
