/* Finding the name server of our cluster, and finding it again. */
#include "storage_inside.h"

/* Half of the time to wait is fixed, half is dice, so that servers do not come all at once. */
static void back_off(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	unsigned int wait_ms = seeker->backoff_ms / 2;

	wait_ms += (unsigned int)prng_below(&s->prng, seeker->backoff_ms / 2 + 1);
	seeker->next_try_ms = s->now_ms + wait_ms;
	seeker->backoff_ms *= 2;
	if (seeker->backoff_ms > BACKOFF_MAX_MS)
		seeker->backoff_ms = BACKOFF_MAX_MS;
}

void storage_seek_failed(struct storage *s, int error)
{
	struct seeker *seeker = &s->seeker;

	if (seeker->state == SEEK_REGISTERED)
		storage_note(s, NOTE_LOST_NAMESERVER)->error = error;
	seeker->state = SEEK_IDLE;
	seeker->conn = NULL;
	seeker->inventory = false;
	/* What waits here is proved with a key that will be void; the inventory says it instead. */
	seeker->late_count = 0;
	back_off(s);
}

static void dial_nameserver(struct storage *s, const struct endpoint *endpoints, unsigned int count,
			    const struct id *expected)
{
	struct seeker *seeker = &s->seeker;

	seeker->last_try_ms = s->now_ms;
	seeker->conn = storage_conn_dial(s, USE_NAMESERVER, endpoints, count);
	if (!seeker->conn)
		return;
	seeker->state = SEEK_CONNECTING;
	if (expected)
		seeker->conn->peer = *expected;
}

/* ---- listening ---- */

void storage_on_beacon(struct storage *s, const struct storage_event *event)
{
	struct seeker *seeker = &s->seeker;
	struct beacon beacon;

	if (event->endpoint_count == 0 ||
	    beacon_decode(event->data.data, event->data.size, NULL, &beacon) < 0 ||
	    beacon.kind != BEACON_NAMESERVER ||
	    !discovery_hear(&seeker->discovery, &beacon, event->endpoints, s->now_ms))
		return;
	if (!seeker->first_heard_ms)
		seeker->first_heard_ms = s->now_ms;
	/* Somebody is there: no need to sit out a long back-off. */
	if (seeker->next_try_ms > seeker->last_try_ms + BACKOFF_MIN_MS)
		seeker->next_try_ms = seeker->last_try_ms + BACKOFF_MIN_MS;
}

static void probe(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	struct beacon beacon = { .kind = BEACON_PROBE,
				 .cluster = s->config.cluster,
				 .server = s->config.self,
				 .start = s->config.start,
				 .counter = ++seeker->probes };
	struct storage_action *action;
	uint8_t datagram[BEACON_SIZE];

	if (s->now_ms < seeker->next_probe_ms)
		return;
	memcpy(beacon.cluster_name, s->config.cluster_name, sizeof(beacon.cluster_name));
	beacon_encode(&beacon, NULL, datagram);
	action = storage_act(s, ACT_PROBE);
	action->size = sizeof(datagram);
	buffer_append(&s->out->bytes, datagram, sizeof(datagram));
	seeker->next_probe_ms = s->now_ms + PROBE_MS;
}

static void say_two_clusters(struct storage *s, const struct discovered *one)
{
	struct storage_action *action;

	if (s->seeker.said_two)
		return;
	s->seeker.said_two = true;
	action = storage_note(s, NOTE_TWO_CLUSTERS);
	action->who = one->beacon.cluster;
	action->name = one->beacon.cluster_name;
}

static void say_none(struct storage *s, int error)
{
	if (!s->seeker.said_none)
		storage_note(s, NOTE_NO_NAMESERVER)->error = error;
	s->seeker.said_none = true;
}

static void seek_by_beacon(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	const struct discovered *found, *other;
	int rc = discovery_choose(&seeker->discovery, s->now_ms, BEACON_FRESH_MS, &found, &other);

	if (rc == 0) {
		dial_nameserver(s, &found->endpoint, 1, &found->beacon.server);
		return;
	}
	if (rc == -ERR_TWO_CLUSTERS) {
		say_two_clusters(s, found);
		seeker->next_try_ms = s->now_ms + BACKOFF_MAX_MS;
		return;
	}
	if (seeker->probes >= QUIET_PROBES)
		say_none(s, rc);
	probe(s);
	if (seeker->known.family)
		dial_nameserver(s, &seeker->known, 1, NULL);
	else
		seeker->next_try_ms = seeker->next_probe_ms;
}

/* A stranger to all clusters listens for a while after the first beacon. */
static bool is_listening(const struct storage *s)
{
	const struct seeker *seeker = &s->seeker;

	return id_is_none(&s->config.cluster) && seeker->first_heard_ms &&
	       s->now_ms < seeker->first_heard_ms + LISTEN_MS;
}

static void seek(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	unsigned int count = s->config.nameserver_count;

	if (count) {
		seeker->state = SEEK_RESOLVING;
		storage_act(s, ACT_RESOLVE)->name = s->config.nameservers[seeker->tries++ % count];
		return;
	}
	/* Where it was last comes first and then every other time. */
	if (seeker->known.family && seeker->tries++ % 2 == 0)
		dial_nameserver(s, &seeker->known, 1, NULL);
	else if (is_listening(s))
		seeker->next_try_ms = seeker->first_heard_ms + LISTEN_MS;
	else
		seek_by_beacon(s);
}

void storage_on_resolved(struct storage *s, const struct storage_event *event)
{
	struct seeker *seeker = &s->seeker;

	if (seeker->state != SEEK_RESOLVING)
		return;
	seeker->state = SEEK_IDLE;
	if (event->error == 0 && event->endpoint_count) {
		dial_nameserver(s, event->endpoints, event->endpoint_count, NULL);
		return;
	}
	say_none(s, event->error ? event->error : -ERR_NO_NAMESERVER);
	back_off(s);
}

/* ---- talking to it ---- */

void storage_seek_refused(struct storage *s, int error)
{
	struct storage_action *action = storage_note(s, NOTE_REFUSED);

	action->error = error;
	action->endpoints[0] = s->seeker.conn->endpoint;
	action->endpoint_count = 1;
}

void storage_seek_greeted(struct storage *s, const struct hello_reply *reply)
{
	const struct storage_config *config = &s->config;
	struct slice name = slice_of(config->cluster_name);
	bool wrong = id_is_none(&reply->cluster);

	if (!id_is_none(&config->cluster))
		wrong = wrong || !id_equal(&config->cluster, &reply->cluster);
	else if (name.size)
		wrong = wrong || !slice_equal(name, reply->cluster_name);
	if (wrong) {
		storage_seek_refused(s, -ERR_WRONG_CLUSTER);
		s->seeker.conn->closing = true;
		return;
	}
	if (id_is_none(&config->cluster)) {
		s->seeker.offered = reply->cluster;
		memset(s->seeker.offered_name, 0, sizeof(s->seeker.offered_name));
		memcpy(s->seeker.offered_name, reply->cluster_name.data, reply->cluster_name.size);
	}
	s->seeker.state = SEEK_REGISTERING;
	storage_register_send(s);
}

void storage_seek_reply(struct storage *s, const struct incoming *in)
{
	struct seeker *seeker = &s->seeker;

	if (in->header->type == MSG_register) {
		storage_register_reply(s, in);
	} else if (in->header->status && in->header->type != MSG_corrupt) {
		/* It does not know us any more: begin again. */
		seeker->conn->closing = true;
	} else if (in->header->type == MSG_inventory && seeker->inventory) {
		storage_inventory_send(s);
	}
}

/* ---- time ---- */

void storage_seek_tick(struct storage *s)
{
	struct seeker *seeker = &s->seeker;

	if (seeker->state == SEEK_IDLE && s->now_ms >= seeker->next_try_ms) {
		seek(s);
	} else if (seeker->state == SEEK_REGISTERING &&
		   s->now_ms >= seeker->conn->since_ms + NAMESERVER_SILENCE_MS) {
		storage_conn_drop(s, seeker->conn, -ERR_TIMEOUT, true);
	} else if (seeker->state == SEEK_REGISTERED) {
		if (s->now_ms >= seeker->conn->heard_ms + NAMESERVER_SILENCE_MS)
			storage_conn_drop(s, seeker->conn, -ERR_TIMEOUT, true);
		else if (s->now_ms >= seeker->next_heartbeat_ms)
			storage_heartbeat_send(s);
	}
	storage_late_send(s);
}

uint64_t storage_seek_deadline(const struct storage *s)
{
	const struct seeker *seeker = &s->seeker;

	switch (seeker->state) {
	case SEEK_IDLE: return seeker->next_try_ms;
	case SEEK_REGISTERING: return seeker->conn->since_ms + NAMESERVER_SILENCE_MS;
	case SEEK_REGISTERED:
		if (seeker->late_count && s->next_watch_ms < seeker->next_heartbeat_ms)
			return s->next_watch_ms;
		return seeker->next_heartbeat_ms;
	case SEEK_RESOLVING:
	case SEEK_CONNECTING: break;
	}
	return UINT64_MAX;
}
