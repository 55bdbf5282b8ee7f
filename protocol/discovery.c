/* What a storage server or a client makes of the beacons it hears. */
#include "beacon.h"
#include "endpoint.h"
#include "error.h"

static bool is_wanted(const struct discovery *discovery, const struct beacon *beacon)
{
	if (!id_is_none(&discovery->cluster))
		return id_equal(&discovery->cluster, &beacon->cluster);
	return discovery->cluster_name[0] == '\0' ||
	       strcmp(discovery->cluster_name, beacon->cluster_name) == 0;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* Orders the beacons of one server: by (epoch, start, counter). */
static int beacon_compare(const struct beacon *a, const struct beacon *b)
{
	int order = compare(a->epoch, b->epoch);

	if (order == 0)
		order = compare(a->start, b->start);
	return order ? order : compare(a->counter, b->counter);
}

static struct discovered *find_server(struct discovery *discovery, const struct id *server)
{
	for (unsigned int i = 0; i < discovery->count; i++) {
		if (id_equal(&discovery->servers[i].beacon.server, server))
			return &discovery->servers[i];
	}
	return NULL;
}

static struct discovered *add_server(struct discovery *discovery)
{
	struct discovered *oldest = &discovery->servers[0];

	if (discovery->count < DISCOVERY_SERVERS_MAX)
		return &discovery->servers[discovery->count++];
	for (unsigned int i = 1; i < discovery->count; i++) {
		if (discovery->servers[i].heard_ms < oldest->heard_ms)
			oldest = &discovery->servers[i];
	}
	return oldest;
}

/* An interface, where the server can be heard through one, is the better way to it. */
static bool is_worse_way(const struct discovered *known, const struct endpoint *source,
			 uint64_t now_ms)
{
	uint64_t interval_ms = known->beacon.interval_ms;

	if (!endpoint_is_loopback(source) || endpoint_is_loopback(&known->endpoint))
		return false;
	return now_ms - known->heard_ms <= 3 * (interval_ms ? interval_ms : BEACON_INTERVAL_MS);
}

/* One beacon goes out on every interface; the copy on loopback may be the first to arrive. */
static bool is_better_way(const struct discovered *known, const struct endpoint *source)
{
	return endpoint_is_loopback(&known->endpoint) && !endpoint_is_loopback(source);
}

bool discovery_hear(struct discovery *discovery, const struct beacon *beacon,
		    const struct endpoint *source, uint64_t now_ms)
{
	struct discovered *known = find_server(discovery, &beacon->server);
	bool silent = known && now_ms - known->heard_ms > DISCOVERY_SILENCE_MS;
	int order = known && !silent ? beacon_compare(beacon, &known->beacon) : 1;

	if (beacon->kind == BEACON_PROBE)
		return false;
	if (!is_wanted(discovery, beacon) || order < 0) {
		discovery->dropped++;
		return false;
	}
	if (known && is_worse_way(known, source, now_ms))
		return false;
	if (order == 0 && !is_better_way(known, source)) {
		discovery->dropped++;
		return false;
	}
	if (!known)
		known = add_server(discovery);
	*known = (struct discovered){ .beacon = *beacon, .endpoint = *source, .heard_ms = now_ms };
	known->endpoint.port = beacon->port;
	return true;
}

static bool is_candidate(const struct discovery *discovery, const struct discovered *server,
			 uint64_t now_ms, uint64_t fresh_ms)
{
	return beacon_is_nameserver(&server->beacon) && now_ms - server->heard_ms <= fresh_ms &&
	       is_wanted(discovery, &server->beacon);
}

static bool is_better(const struct discovered *a, const struct discovered *b)
{
	int order = compare(a->beacon.epoch, b->beacon.epoch);

	return order ? order > 0 : a->heard_ms > b->heard_ms;
}

/* Else it looks for its own, and is no cluster besides others. */
static bool has_cluster(const struct discovered *server)
{
	return !id_is_none(&server->beacon.cluster);
}

int discovery_choose(const struct discovery *discovery, uint64_t now_ms, uint64_t fresh_ms,
		     const struct discovered **ret, const struct discovered **ret_other)
{
	*ret = NULL;
	*ret_other = NULL;
	for (unsigned int i = 0; i < discovery->count; i++) {
		const struct discovered *server = &discovery->servers[i];

		if (!is_candidate(discovery, server, now_ms, fresh_ms))
			continue;
		if (*ret && has_cluster(*ret) != has_cluster(server)) {
			if (has_cluster(server))
				*ret = server;
			continue;
		}
		if (*ret && !id_equal(&(*ret)->beacon.cluster, &server->beacon.cluster)) {
			*ret_other = server;
			return -ERR_TWO_CLUSTERS;
		}
		if (!*ret || is_better(server, *ret))
			*ret = server;
	}
	return *ret ? 0 : -ERR_NO_NAMESERVER;
}
