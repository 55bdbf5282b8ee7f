/* What a registered server owes the name server: reports, and obedience to its orders. */
#include "storage_inside.h"

bool storage_is_registered(const struct storage *s)
{
	return s->seeker.state == SEEK_REGISTERED;
}

static void ask(struct storage *s, unsigned int code, const void *body)
{
	storage_send_request(s, s->seeker.conn, code, ++s->seeker.request, body);
}

static void usage_get(const struct storage *s, struct storage_usage *ret)
{
	s->config.chunks->usage(s->config.chunks_context, ret);
}

/* ---- REGISTER ---- */

void storage_register_send(struct storage *s)
{
	const struct storage_config *config = &s->config;
	const struct journal_head catalogue = storage_follow_known(s);
	struct storage_usage usage;
	struct register_request req;

	usage_get(s, &usage);
	req = (struct register_request){
		.capacity = usage.capacity,
		.free = usage.free,
		.used = usage.used,
		.chunks = usage.chunks,
		.start = config->start,
		.promised_epoch = storage_known_epoch(s),
		.disk = config->disk,
		.name = slice_of(config->host),
		.zone = slice_of(config->zone),
		.version = slice_of(config->version),
		.endpoints = config->endpoints,
		.endpoints_count = (uint16_t)config->endpoint_count,
		.inventory = config->chunks->inventory(config->chunks_context),
		.catalogue_epoch = catalogue.epoch,
		.catalogue_sequence = catalogue.sequence,
		.catalogue_hash = catalogue.hash,
		.disk_failed = usage.failed,
	};
	s->seeker.register_again = false;
	ask(s, MSG_register, &req);
}

/* From now on this server belongs to the cluster, for ever. */
static int join_cluster(struct storage *s)
{
	struct storage_config *config = &s->config;
	struct storage_action *action;
	int rc;

	if (!id_is_none(&config->cluster))
		return 0;
	rc = config->chunks->adopt(config->chunks_context, &s->seeker.offered,
				   s->seeker.offered_name);
	if (rc < 0)
		return rc;
	config->cluster = s->seeker.offered;
	memcpy(config->cluster_name, s->seeker.offered_name, sizeof(config->cluster_name));
	s->seeker.discovery.cluster = config->cluster;
	action = storage_note(s, NOTE_JOINED);
	action->who = config->cluster;
	action->name = config->cluster_name;
	return 0;
}

static int take_key(struct storage *s, const struct register_reply *reply)
{
	struct hmac *key = hmac_new(&reply->key);

	if (!key)
		return -ERR_NO_MEMORY;
	hmac_free(s->key);
	s->key = key;
	s->epoch = reply->epoch;
	s->registered_ms = s->now_ms;
	storage_touched(s, reply->now_ms);
	return 0;
}

static void say_registered(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	struct storage_action *action = storage_note(s, NOTE_REGISTERED);

	action->who = seeker->conn->peer;
	action->number = s->epoch;
	action->endpoints[0] = seeker->conn->endpoint;
	action->endpoint_count = 1;
	if (endpoint_equal(&seeker->known, &seeker->conn->endpoint))
		return;
	seeker->known = seeker->conn->endpoint;
	action = storage_act(s, ACT_REMEMBER);
	action->endpoints[0] = seeker->known;
	action->endpoint_count = 1;
}

void storage_register_reply(struct storage *s, const struct incoming *in)
{
	const struct register_reply *reply = in->message.body;
	struct seeker *seeker = &s->seeker;
	int rc = in->header->status ? -(int)in->header->status : 0;

	/* It has forgotten changes that were made since. */
	if (rc == 0 && reply->epoch < s->follow.head.last.epoch)
		rc = -ERR_STALE;
	if (rc == 0)
		rc = storage_promise_registered(s, &seeker->conn->peer, reply->epoch);
	if (rc == 0)
		rc = join_cluster(s);
	if (rc == 0)
		rc = take_key(s, reply);
	if (rc < 0) {
		storage_seek_refused(s, rc);
		seeker->conn->closing = true;
		return;
	}
	seeker->state = SEEK_REGISTERED;
	seeker->backoff_ms = BACKOFF_MIN_MS;
	seeker->tries = 0;
	seeker->said_none = seeker->said_two = false;
	seeker->heartbeat_ms = reply->heartbeat_ms < 100            ? 100
			       : reply->heartbeat_ms > HEARTBEAT_MS ? HEARTBEAT_MS
								    : reply->heartbeat_ms;
	/* The first one at once: the echo in it lets the name server answer. */
	seeker->next_heartbeat_ms = s->now_ms;
	say_registered(s);
	storage_corrupt_flush(s);
	storage_scrub_registered(s, reply->scrub_s);
	seeker->inventory = INVENTORY_TOLD;
	if (reply->want_inventory)
		storage_buckets_send(s);
	storage_pull_registered(s);
}

/* ---- reports ---- */

void storage_heartbeat_send(struct storage *s)
{
	struct storage_usage usage;
	struct heartbeat_request req;

	s->seeker.next_heartbeat_ms = s->now_ms + s->seeker.heartbeat_ms;
	if (s->seeker.register_again) {
		storage_register_send(s);
		return;
	}
	usage_get(s, &usage);
	if (usage.failed && !s->disk_failed)
		storage_note(s, NOTE_DISK_FAILED)->error = -ERR_IO;
	s->disk_failed = usage.failed;
	req = (struct heartbeat_request){
		.used = usage.used,
		.free = usage.free,
		.chunks = usage.chunks,
		.load = storage_load_take(s),
		.flags = usage.failed ? HEARTBEAT_DISK_FAILED : 0,
		.echo = s->echo,
		.inventory = s->config.chunks->inventory(s->config.chunks_context),
	};
	ask(s, MSG_heartbeat, &req);
}

/* Receipts that nobody waits for any more. They are sent with the next tick, some together. */
void storage_late_add(struct storage *s, const struct receipt *receipts, unsigned int count)
{
	struct seeker *seeker = &s->seeker;

	if (!storage_is_registered(s)) {
		/* A REGISTER that is on its way counts the chunks without it. */
		seeker->register_again |= count > 0;
		return;
	}
	for (unsigned int i = 0; i < count; i++) {
		if (seeker->late_count == RECEIPTS_MAX)
			storage_late_send(s);
		if (seeker->late_count == 0)
			s->next_watch_ms = s->now_ms + WATCH_MS;
		seeker->late[seeker->late_count++] = receipts[i];
	}
}

void storage_late_send(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	struct stored_request req = { .receipts = seeker->late,
				      .receipts_count = (uint16_t)seeker->late_count };

	if (seeker->late_count && storage_is_registered(s))
		ask(s, MSG_stored, &req);
	seeker->late_count = 0;
}

void storage_corrupt_tell(struct storage *s, const struct chunk_id *chunks, unsigned int count)
{
	struct corrupt_request req = { .node = s->config.self,
				       .chunks = chunks,
				       .chunks_count = (uint16_t)count };

	ask(s, MSG_corrupt, &req);
}

void storage_corrupt_send(struct storage *s, uint64_t chunk, int error)
{
	struct chunk_id id = { .chunk = chunk };
	struct storage_action *action = storage_note(s, NOTE_CORRUPT);

	action->chunk = chunk;
	action->error = error;
	if (storage_is_registered(s))
		storage_corrupt_tell(s, &id, 1);
	else
		storage_corrupt_keep(s, chunk);
}

/* ---- orders ---- */

/* True if it was here. A chunk on its way in goes as soon as it has arrived; what it was to take
 * the place of goes now. */
static bool delete_one(struct storage *s, uint64_t chunk)
{
	struct transfer *transfer = storage_transfer_of_chunk(s, chunk);
	bool here = s->config.chunks->remove(s->config.chunks_context, chunk) == 0;

	if (!transfer)
		return here;
	transfer->doomed = true;
	if (transfer->fetch)
		storage_fetch_end(s, transfer, -ERR_EXPIRED);
	return true;
}

int storage_on_delete(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct delete_request *req = in->message.body;
	struct delete_reply reply = { 0 };
	struct storage_usage usage;

	if (conn != s->seeker.conn || !storage_is_followed(s, req->epoch))
		return -ERR_STALE;
	for (unsigned int i = 0; i < req->chunks_count; i++)
		reply.deleted += delete_one(s, req->chunks[i].chunk);
	usage_get(s, &usage);
	reply.free = usage.free;
	reply.used = usage.used;
	storage_note(s, NOTE_DELETED)->number = reply.deleted;
	storage_send_reply(s, conn, in, &reply);
	return 0;
}
