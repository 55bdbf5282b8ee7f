/* Datagrams from anybody: what decodes encodes to the same bytes, and discovery stays in its bounds
 * whatever it hears. The input is a row of datagrams. */
#include <stdlib.h>

#include "beacon.h"
#include "endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

static void hear(struct discovery *discovery, const struct beacon *beacon, uint64_t now_ms)
{
	struct endpoint source = endpoint_ipv4(beacon->port % 2 ? 0x7f000001 : 0x0a000001, 1);
	const struct discovered *server;
	const struct discovered *other;
	int rc;

	discovery_hear(discovery, beacon, &source, now_ms);
	check(discovery->count <= DISCOVERY_SERVERS_MAX);
	rc = discovery_choose(discovery, now_ms, 3 * BEACON_INTERVAL_MS, &server, &other);
	check(rc < 0 || server);
	check(rc != 0 || beacon_is_nameserver(&server->beacon));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct discovery discovery = { 0 };
	struct beacon beacon;
	uint64_t now_ms = 0;
	uint8_t again[BEACON_SIZE];

	for (; size > 0; now_ms += BEACON_INTERVAL_MS / 2) {
		size_t part = size < BEACON_SIZE ? size : BEACON_SIZE;

		if (beacon_decode(data, part, NULL, &beacon) == 0) {
			beacon_encode(&beacon, NULL, again);
			check(memcmp(again, data, BEACON_SIZE) == 0);
			hear(&discovery, &beacon, now_ms);
		}
		data += part;
		size -= part;
	}
	return 0;
}
