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

/* It was there for a while: perhaps it only restarts, and is back in a moment. */
static void lost(struct storage *s, int error)
{
	struct seeker *seeker = &s->seeker;

	storage_note(s, NOTE_LOST_NAMESERVER)->error = error;
	seeker->lost_ms = error == -ERR_TIMEOUT ? seeker->conn->heard_ms : s->now_ms;
	if (s->now_ms >= s->registered_ms + QUICK_AFTER_MS)
		seeker->quick = QUICK_TRIES;
}

/* What it said before it was lost is no reason to prefer it to others that speak now. */
static void forget_target(struct seeker *seeker)
{
	struct discovery *discovery = &seeker->discovery;

	for (unsigned int i = 0; i < discovery->count;) {
		if (endpoint_equal(&discovery->servers[i].endpoint, &seeker->target))
			discovery->servers[i] = discovery->servers[--discovery->count];
		else
			i++;
	}
}

void storage_seek_failed(struct storage *s, int error)
{
	struct seeker *seeker = &s->seeker;
	bool at_once = seeker->state == SEEK_REGISTERED;

	forget_target(seeker);
	if (at_once)
		lost(s, error);
	seeker->state = SEEK_IDLE;
	seeker->conn = NULL;
	seeker->inventory = INVENTORY_TOLD;
	/* What waits here is proved with a key that will be void; the inventory says it instead. */
	seeker->late_count = 0;
	if (seeker->quick)
		seeker->next_try_ms = s->now_ms + (at_once ? 0 : QUICK_MS);
	else
		back_off(s);
}

static void dial_nameserver(struct storage *s, const struct endpoint *endpoints, unsigned int count,
			    const struct id *expected)
{
	struct seeker *seeker = &s->seeker;

	seeker->last_try_ms = s->now_ms;
	seeker->target = endpoints[0];
	seeker->conn = storage_conn_dial(s, USE_NAMESERVER, endpoints, count);
	if (!seeker->conn)
		return;
	seeker->state = SEEK_CONNECTING;
	if (expected)
		seeker->conn->peer = *expected;
}

/* ---- listening ---- */

/* Who has refused us lately is not asked again because it is heard. */
static bool is_refusing(const struct storage *s, const struct endpoint *endpoint)
{
	const struct seeker *seeker = &s->seeker;

	return seeker->refusing.family && endpoint_equal(&seeker->refusing, endpoint) &&
	       s->now_ms < seeker->refused_ms + REFUSED_MS;
}

/* A name server without a catalogue looks for its cluster, by name: that may be ours. */
static bool is_for_us(const struct storage *s, struct beacon *beacon)
{
	const struct storage_config *config = &s->config;

	if (!id_is_none(&beacon->cluster))
		return true;
	if (id_is_none(&config->cluster) || strcmp(beacon->cluster_name, config->cluster_name) != 0)
		return false;
	beacon->cluster = config->cluster;
	return true;
}

/* Somebody is there: no need to sit out a long back-off, or a call that nobody takes. */
static void hurry(struct storage *s, const struct endpoint *endpoint)
{
	struct seeker *seeker = &s->seeker;

	if (is_refusing(s, endpoint))
		return;
	if (seeker->state == SEEK_CONNECTING && seeker->conn->state == CONN_DIALLING &&
	    !endpoint_equal(endpoint, &seeker->target)) {
		storage_conn_drop(s, seeker->conn, -ERR_CANCELLED, true);
		seeker->next_try_ms = s->now_ms;
	}
	if (seeker->state != SEEK_IDLE)
		return;
	seeker->heard_now = true;
	if (seeker->next_try_ms > seeker->last_try_ms + QUICK_MS)
		seeker->next_try_ms = seeker->last_try_ms + QUICK_MS;
}

void storage_on_beacon(struct storage *s, const struct storage_event *event)
{
	struct seeker *seeker = &s->seeker;
	struct endpoint endpoint;
	struct beacon beacon;

	if (event->endpoint_count == 0 ||
	    beacon_decode(event->data.data, event->data.size, NULL, &beacon) < 0)
		return;
	if (!beacon_is_nameserver(&beacon)) {
		storage_degraded_heard(s, &beacon);
		return;
	}
	/* Those that were named are asked, and no other. */
	if (s->config.nameserver_count || !is_for_us(s, &beacon) ||
	    !discovery_hear(&seeker->discovery, &beacon, event->endpoints, s->now_ms))
		return;
	if (!seeker->first_heard_ms)
		seeker->first_heard_ms = s->now_ms;
	endpoint = event->endpoints[0];
	endpoint.port = beacon.port;
	hurry(s, &endpoint);
}

void storage_broadcast(struct storage *s, const struct beacon *beacon)
{
	struct storage_action *action = storage_act(s, ACT_PROBE);
	uint8_t datagram[BEACON_SIZE];

	beacon_encode(beacon, NULL, datagram);
	action->size = sizeof(datagram);
	buffer_append(&s->out->bytes, datagram, sizeof(datagram));
}

static void probe(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	struct beacon beacon = { .kind = BEACON_PROBE,
				 .cluster = s->config.cluster,
				 .server = s->config.self,
				 .start = s->config.start,
				 .counter = ++seeker->probes };

	if (s->now_ms < seeker->next_probe_ms)
		return;
	memcpy(beacon.cluster_name, s->config.cluster_name, sizeof(beacon.cluster_name));
	storage_broadcast(s, &beacon);
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

/* The best of those that are heard, but for the one at `except`; of those that serve, if only they
 * will do. */
static int choose(const struct storage *s, const struct endpoint *except, bool serving,
		  struct discovered *ret)
{
	struct discovery others = s->seeker.discovery;
	const struct discovered *found, *other;
	int rc;

	for (unsigned int i = 0; i < others.count;) {
		if (endpoint_equal(&others.servers[i].endpoint, except) ||
		    (serving && others.servers[i].beacon.kind != BEACON_NAMESERVER))
			others.servers[i] = others.servers[--others.count];
		else
			i++;
	}
	rc = discovery_choose(&others, s->now_ms, BEACON_FRESH_MS, &found, &other);
	if (found)
		*ret = *found;
	return rc;
}

static void seek_by_beacon(struct storage *s)
{
	static const struct endpoint nobody;
	struct seeker *seeker = &s->seeker;
	bool refused = is_refusing(s, &seeker->refusing);
	struct discovered found;
	int rc = choose(s, refused ? &seeker->refusing : &nobody, false, &found);

	if (refused && rc == -ERR_NO_NAMESERVER) {
		probe(s);
		rc = choose(s, &nobody, false, &found);
	}
	if (rc == 0) {
		dial_nameserver(s, &found.endpoint, 1, &found.beacon.server);
		return;
	}
	if (rc == -ERR_TWO_CLUSTERS) {
		say_two_clusters(s, &found);
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

/* Where it was last comes first and then every other time, unless we know better. */
static bool is_known_next(struct storage *s, bool quick)
{
	struct seeker *seeker = &s->seeker;
	bool heard = seeker->heard_now;

	seeker->heard_now = false;
	if (!seeker->known.family || heard || is_refusing(s, &seeker->known))
		return false;
	return quick || seeker->tries++ % 2 == 0;
}

static void seek(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	unsigned int count = s->config.nameserver_count;
	bool quick = seeker->quick > 0;

	seeker->quick -= quick;
	if (count) {
		seeker->state = SEEK_RESOLVING;
		storage_act(s, ACT_RESOLVE)->name = s->config.nameservers[seeker->tries++ % count];
		return;
	}
	if (is_known_next(s, quick))
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
	struct seeker *seeker = &s->seeker;

	action->error = error;
	action->endpoints[0] = seeker->conn->endpoint;
	action->endpoint_count = 1;
	seeker->refusing = seeker->conn->endpoint;
	seeker->refused_ms = s->now_ms;
	seeker->quick = 0;
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
	s->seeker.offered_epoch = reply->epoch;
	s->seeker.next_ping_ms = s->now_ms + HEARTBEAT_MS;
	storage_register_send(s);
}

static void heartbeat_reply(struct storage *s, const struct heartbeat_reply *reply)
{
	storage_touched(s, reply->now_ms);
	if (reply->want_inventory && s->seeker.inventory == INVENTORY_TOLD)
		storage_buckets_send(s);
}

void storage_seek_reply(struct storage *s, const struct incoming *in)
{
	struct seeker *seeker = &s->seeker;

	if (in->header->type == MSG_register) {
		storage_register_reply(s, in);
	} else if (in->header->status && in->header->type != MSG_corrupt) {
		/* It does not know us any more: begin again. */
		seeker->conn->closing = true;
	} else if (in->header->type == MSG_heartbeat) {
		heartbeat_reply(s, in->message.body);
	} else if (in->header->type == MSG_buckets) {
		storage_buckets_reply(s, in);
	} else if (in->header->type == MSG_inventory && seeker->inventory == INVENTORY_LISTED) {
		storage_inventory_send(s);
	}
}

/* ---- time ---- */

static uint64_t waited_ms(const struct storage *s)
{
	return s->now_ms - s->seeker.conn->since_ms;
}

/* Another is further than the one that we have been waiting for. */
static bool is_outdone(const struct storage *s)
{
	const struct seeker *seeker = &s->seeker;
	struct discovered found;
	uint64_t epoch = seeker->offered_epoch;

	if (id_equal(&seeker->conn->peer, &s->config.promised_server) &&
	    s->config.promised_epoch > epoch)
		epoch = s->config.promised_epoch;
	return waited_ms(s) >= REGISTERING_MS &&
	       choose(s, &seeker->conn->endpoint, false, &found) == 0 && found.beacon.epoch > epoch;
}

static bool is_said_to_serve(const struct storage *s, const struct id *server)
{
	const struct discovery *discovery = &s->seeker.discovery;

	for (unsigned int i = 0; i < discovery->count; i++) {
		if (id_equal(&discovery->servers[i].beacon.server, server))
			return discovery->servers[i].beacon.kind == BEACON_NAMESERVER;
	}
	return false;
}

/* Who waits for others may never begin, whatever epoch it speaks of, and another one serves. That
 * one may have died just now, or be beyond our reach: it is not tried all the time. Nor is it at
 * once where a later epoch was promised: it would have to begin anew for us. */
static bool is_wasted(const struct storage *s)
{
	const struct seeker *seeker = &s->seeker;
	uint64_t least_ms = REGISTERING_MS;
	struct discovered found;

	if ((seeker->left_ms && s->now_ms < seeker->left_ms + LEAVE_AGAIN_MS) ||
	    is_said_to_serve(s, &seeker->conn->peer) ||
	    choose(s, &seeker->conn->endpoint, true, &found) < 0)
		return false;
	if (found.beacon.epoch < storage_known_epoch(s))
		least_ms = LEAVE_AGAIN_MS;
	return waited_ms(s) >= least_ms;
}

/* Of those that were named one may serve that is not heard. */
static bool is_next_due(const struct storage *s)
{
	return s->config.nameserver_count > 1 && waited_ms(s) >= LEAVE_AGAIN_MS;
}

/* The one that we wait for is passed over for a while. */
static void leave(struct storage *s)
{
	struct seeker *seeker = &s->seeker;

	seeker->refusing = seeker->conn->endpoint;
	seeker->refused_ms = s->now_ms;
	seeker->heard_now = true;
	storage_conn_drop(s, seeker->conn, -ERR_TIMEOUT, true);
	seeker->next_try_ms = s->now_ms;
}

/* A name server that takes over answers REGISTER when it has found what it needs, however long that
 * takes; PING tells that it lives. */
static void registering_tick(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	struct ping_request ping = { .cookie = s->now_ms };
	bool wasted = is_wasted(s);

	if (s->now_ms >= seeker->conn->heard_ms + NAMESERVER_SILENCE_MS) {
		storage_conn_drop(s, seeker->conn, -ERR_TIMEOUT, true);
	} else if (wasted || is_outdone(s) || is_next_due(s)) {
		seeker->left_ms = wasted ? s->now_ms : seeker->left_ms;
		leave(s);
	} else if (s->now_ms >= seeker->next_ping_ms) {
		seeker->next_ping_ms = s->now_ms + HEARTBEAT_MS;
		storage_send_request(s, seeker->conn, MSG_ping, ++seeker->request, &ping);
	}
}

void storage_seek_tick(struct storage *s)
{
	struct seeker *seeker = &s->seeker;

	if (seeker->state == SEEK_IDLE && s->now_ms >= seeker->next_try_ms) {
		seek(s);
	} else if (seeker->state == SEEK_REGISTERING) {
		registering_tick(s);
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
	uint64_t silent_ms;

	switch (seeker->state) {
	case SEEK_IDLE: return seeker->next_try_ms;
	case SEEK_REGISTERING:
		silent_ms = seeker->conn->heard_ms + NAMESERVER_SILENCE_MS;
		return silent_ms < seeker->next_ping_ms ? silent_ms : seeker->next_ping_ms;
	case SEEK_REGISTERED:
		if (seeker->late_count && s->next_watch_ms < seeker->next_heartbeat_ms)
			return s->next_watch_ms;
		return seeker->next_heartbeat_ms;
	case SEEK_RESOLVING:
	case SEEK_CONNECTING: break;
	}
	return UINT64_MAX;
}
