/* "Here I am": on a schedule, and a few times more when somebody asks. */
#include "beacon.h"
#include "ns_state.h"

bool is_serving(const struct nameserver *ns)
{
	return ns->committed >= ns->first_sequence;
}

/* The epoch is ours once the first batch is durable. Servers of the journal set, who decide whether
 * it counts, have to find us before it does. */
static bool is_here(const struct nameserver *ns)
{
	return ns->durable >= ns->first_sequence;
}

static void beacon_send(struct nameserver *ns)
{
	struct beacon beacon = {
		.kind = BEACON_NAMESERVER,
		.port = ns->config.port,
		.cluster = ns->cluster,
		.server = ns->config.self,
		.epoch = ns->epoch,
		.start = ns->start,
		.counter = ++ns->beacon_counter,
		.interval_ms = (uint32_t)ns->config.beacon_interval_ms,
		.process = ns->config.process,
	};
	struct ns_action *action = outbox_add(ns->outbox, NS_BEACON);
	uint8_t bytes[BEACON_SIZE];

	if (!action)
		return;
	memcpy(beacon.cluster_name, ns->cluster_name, sizeof(beacon.cluster_name));
	beacon_encode(&beacon, NULL, bytes);
	action->size = sizeof(bytes);
	if (buffer_append(&ns->outbox->bytes, bytes, sizeof(bytes)) < 0)
		ns->outbox->error = -ERR_NO_MEMORY;
}

void beacons_tick(struct nameserver *ns)
{
	uint64_t jitter;

	if (!is_here(ns) || ns->now_ms < ns->next_beacon_ms)
		return;
	beacon_send(ns);
	jitter = prng_below(&ns->prng, 2 * BEACON_JITTER_MS + 1);
	ns->next_beacon_ms = ns->now_ms + ns->config.beacon_interval_ms + jitter;
	ns->next_beacon_ms -=
		ns->config.beacon_interval_ms > BEACON_JITTER_MS ? BEACON_JITTER_MS : jitter;
}

uint64_t beacons_deadline(const struct nameserver *ns)
{
	return is_here(ns) ? ns->next_beacon_ms : UINT64_MAX;
}

/* Never more than five within a second; the schedule does not move. */
void beacon_probed(struct nameserver *ns)
{
	uint64_t *oldest = &ns->probes_ms[ns->probe % PROBE_ANSWERS_PER_S];

	if (!is_here(ns) || (ns->probe >= PROBE_ANSWERS_PER_S && ns->now_ms - *oldest < 1000))
		return;
	*oldest = ns->now_ms;
	ns->probe++;
	beacon_send(ns);
}

uint64_t fresh_id(const struct nameserver *ns, uint64_t *counter)
{
	return ns->start << ID_BITS_OF_COUNT | ++*counter;
}
