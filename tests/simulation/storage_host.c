/* The glue around a storage server's core: its steps, its life, what it hears. */
#include "storage_host.h"

#include <stdlib.h>

#include "codec.h"
#include "error.h"

enum { STORAGE_PORT = 3503 };

/* ---- steps ---- */

static void dial(struct host *host, const struct storage_action *action)
{
	struct dial dial = { .handle = action->connection,
			     .count = action->endpoint_count,
			     .timeout_us = (uint64_t)action->timeout_ms * MS };

	memcpy(dial.endpoints, action->endpoints,
	       action->endpoint_count * sizeof(*action->endpoints));
	net_dial(host, &dial);
}

static void note(struct host *host, const struct storage_action *action)
{
	world_trace(host->world, "%s: note %d chunk %llx number %llu error %d", host->name,
		    (int)action->note, (unsigned long long)action->chunk,
		    (unsigned long long)action->number, action->error);
}

/* Looks at an answer to PROMISE. One that tells of another is a refusal. */
static void promise_see(struct host *host, const uint8_t *frame)
{
	const struct storage_host *storage = storage_of(host);
	struct arena arena = { 0 };
	struct frame_header header;
	struct message message;

	if (frame_header_decode(frame, &header) < 0 || header.type != MSG_promise ||
	    !header.reply || header.status)
		return;
	if (message_decode(&header, frame + FRAME_HEADER_SIZE, &arena, &message) == 0) {
		const struct promise_reply *reply = message.body;

		if (reply->epoch == storage->asked_epoch &&
		    id_equal(&reply->server, &storage->asked_server))
			history_promised(host, reply->epoch, &reply->server);
	}
	arena_done(&arena);
}

/* Of what is told without a name server it is noted how old it is; of several answers on one
 * connection, that of the first. */
static void past_see(struct host *host, uint64_t conn, const uint8_t *frame)
{
	struct world *w = host->world;
	uint64_t socket = net_socket(host, conn);
	uint64_t peer = socket ? w->sockets[socket - 1]->peer : 0;
	struct frame_header header;

	if (frame_header_decode(frame, &header) == 0 && header.reply &&
	    header.flags & FRAME_DEGRADED && peer && w->sockets[peer - 1]->past.sequence == 0)
		w->sockets[peer - 1]->past = storage_host_catalogue(host).last;
}

/* Frames are only taken apart where one may be changed. */
static void send(struct host *host, uint64_t conn, struct slice bytes)
{
	struct buffer frame = { 0 };

	buffer_append(&frame, bytes.data, bytes.size);
	if (storage_sabotage_sends(host, &frame)) {
		promise_see(host, frame.data);
		past_see(host, conn, frame.data);
		net_send(host, conn, frame.data, frame.size);
	}
	buffer_done(&frame);
}

static void act(struct host *host, const struct storage_action *action)
{
	const uint8_t *bytes = storage_of(host)->outbox.bytes.data + action->at;

	switch (action->kind) {
	case ACT_SEND: send(host, action->connection, (struct slice){ bytes, action->size }); break;
	case ACT_CLOSE:
		if (!storage_sabotage_closes(host, action->connection))
			net_close(host, action->connection, false);
		break;
	case ACT_PAUSE: net_pause(host, action->connection, action->on); break;
	case ACT_DIAL: dial(host, action); break;
	case ACT_PROBE: net_broadcast(host, bytes); break;
	case ACT_REMEMBER: host->remembered = action->endpoints[0]; break;
	case ACT_SEND_CHUNK: storage_read(host, action); break;
	case ACT_INSPECT: storage_inspect(host, action); break;
	case ACT_NOTE: note(host, action); break;
	case ACT_RESOLVE:
	case ACT_RECEIVE:
	case ACT_FORWARD: world_fail(host->world, "%s: an action nobody asked for", host->name);
	}
}

static void tick(struct world *w, const struct due *due);

static void arm(struct host *host)
{
	struct storage_host *storage = storage_of(host);
	uint64_t deadline_ms = storage_deadline(storage->core);

	if (deadline_ms >= storage->armed_ms)
		return;
	storage->armed_ms = deadline_ms;
	world_after(host->world, host_until(host, deadline_ms),
		    (struct due){ .run = tick, .host = host, .a = deadline_ms });
}

void storage_host_step(struct host *host, struct storage_event *event)
{
	struct storage_host *storage = storage_of(host);

	event->now_ms = host_ms(host);
	if (storage_step(storage->core, event, &storage->outbox) < 0)
		abort();
	for (unsigned int i = 0; i < storage->outbox.count; i++)
		act(host, &storage->outbox.actions[i]);
	storage_outbox_clear(&storage->outbox);
	arm(host);
}

static void tick(struct world *w, const struct due *due)
{
	(void)w;
	if (due->a != storage_of(due->host)->armed_ms)
		return;
	storage_of(due->host)->armed_ms = UINT64_MAX;
	storage_host_step(due->host, &(struct storage_event){ .kind = STORAGE_TICK });
}

/* ---- life ---- */

static int store_start(struct host *host, struct storage_host *storage)
{
	struct store_options options = { .node = host->id,
					 .disk = host->disk_id,
					 .index_seed = host->index + 1,
					 .segment_size = 1024 * 1024,
					 .large_from = host->world->large_from };
	struct store_report report;
	char message[256] = "";
	int rc = store_open(disk_sim_disk(host->disk), &options, &storage->store, &report, message);

	if (rc < 0)
		world_trace(host->world, "%s: cannot start: %s", host->name, message);
	if (rc < 0 && host->world->healed)
		world_fail(host->world, "%s: cannot start: %s", host->name, message);
	if (rc == 0 && report.quarantined)
		world_fail(host->world, "%s: %llu damaged records after a crash", host->name,
			   (unsigned long long)report.quarantined);
	return rc;
}

static int core_start(struct host *host, struct storage_host *storage)
{
	const struct store_identity *identity = store_identity(storage->store);
	struct storage_config config = {
		.seed = prng_next(&host->world->prng),
		.self = identity->node,
		.disk = identity->disk,
		.machine = host->machine,
		.cluster = identity->cluster,
		.start = identity->generation,
		.promised_epoch = identity->promised_epoch,
		.promised_server = identity->promised_server,
		.host = host->name,
		.zone = "",
		.version = "simulated",
		.endpoint_count = 1,
		.remembered = host->remembered,
		.large_size = UINT32_MAX,
		.chunks = &storage->chunks.calls,
		.chunks_context = &storage->chunks,
		.catalogue = &copy_host_catalogue,
	};

	history_remembers(host, identity->promised_epoch);
	storage_jobs_init(storage);
	storage_sabotage_init(storage);
	memcpy(config.cluster_name, identity->cluster_name, sizeof(config.cluster_name));
	config.endpoints[0] = endpoint_ipv4(host->address, STORAGE_PORT);
	config.endpoints[0].flags = ENDPOINT_ADVERTISED;
	config.catalogue_context = storage->copy = copy_host_new(host, storage_host_step);
	return storage_new(&config, &storage->core);
}

static bool storage_start(struct host *host)
{
	struct storage_host *storage = calloc(1, sizeof(*storage));

	if (!storage)
		abort();
	storage->host = host;
	storage->armed_ms = UINT64_MAX;
	if (store_start(host, storage) < 0 || core_start(host, storage) < 0) {
		free(storage);
		return false;
	}
	host->process = storage;
	host_listen(host, STORAGE_PORT);
	host->hears = true;
	storage_jobs_start(host);
	storage_host_step(host, &(struct storage_event){ .kind = STORAGE_TICK });
	return true;
}

static void storage_stop(struct host *host, bool crash)
{
	struct storage_host *storage = storage_of(host);

	storage_jobs_stop(host, crash);
	copy_host_free(storage->copy, crash);
	storage_reads_stop(storage);
	storage_free(storage->core);
	if (crash)
		store_abandon(storage->store);
	else
		store_close(storage->store);
	storage_outbox_done(&storage->outbox);
	free(storage);
}

/* ---- events ---- */

static void storage_accepted(struct host *host, const struct socket *socket)
{
	storage_host_step(host, &(struct storage_event){ .kind = STORAGE_OPENED,
							 .connection = socket->handle,
							 .endpoints = &socket->remote,
							 .endpoint_count = 1 });
}

static void storage_dialled(struct host *host, uint64_t handle, int error,
			    const struct endpoint *peer)
{
	storage_host_step(host, &(struct storage_event){ .kind = STORAGE_DIALLED,
							 .connection = handle,
							 .error = error,
							 .endpoints = peer,
							 .endpoint_count = peer ? 1 : 0 });
}

static void promise_asked(struct storage_host *storage, const struct frame_header *header,
			  const uint8_t *body)
{
	struct arena arena = { 0 };
	struct message message;

	storage->asked_epoch = header->arg1;
	storage->asked_server = (struct id){ 0 };
	if (message_decode(header, body, &arena, &message) == 0)
		storage->asked_server = ((const struct promise_request *)message.body)->server;
	arena_done(&arena);
}

static void storage_frame(struct host *host, uint64_t handle, const struct frame_header *header,
			  const uint8_t *body)
{
	if (storage_sabotage_hears(host, handle, header, body))
		return;
	if (header->type == MSG_promise && !header->reply)
		promise_asked(storage_of(host), header, body);
	storage_host_step(host, &(struct storage_event){ .kind = STORAGE_FRAME,
							 .connection = handle,
							 .header = header,
							 .body = body });
}

static void storage_malformed(struct host *host, uint64_t handle, const struct frame_header *header)
{
	net_close(host, handle, false);
	storage_host_step(host, &(struct storage_event){ .kind = STORAGE_CLOSED,
							 .connection = handle,
							 .error = -ERR_BAD_REQUEST,
							 .header = header });
}

static void storage_closed(struct host *host, uint64_t handle, int error)
{
	if (storage_sabotage_lost(host, handle))
		return;
	storage_host_step(host, &(struct storage_event){ .kind = STORAGE_CLOSED,
							 .connection = handle,
							 .error = error });
}

static void storage_datagram(struct host *host, const struct endpoint *source, const uint8_t *data)
{
	storage_host_step(host, &(struct storage_event){ .kind = STORAGE_BEACON,
							 .data = { data, BEACON_SIZE },
							 .endpoints = source,
							 .endpoint_count = 1 });
}

const struct process_ops storage_process = {
	.start = storage_start,
	.stop = storage_stop,
	.accepted = storage_accepted,
	.dialled = storage_dialled,
	.frame = storage_frame,
	.malformed = storage_malformed,
	.closed = storage_closed,
	.datagram = storage_datagram,
};

uint64_t storage_host_epoch(const struct host *host)
{
	struct storage_state state;

	if (!host->process)
		return 0;
	storage_state(storage_of(host)->core, &state);
	return state.registered ? state.epoch : 0;
}

void storage_host_ends(struct host *host)
{
	if (host->process)
		storage_host_step(host, &(struct storage_event){ .kind = STORAGE_STOP });
}

unsigned int storage_host_transfers(const struct host *host)
{
	struct storage_state state;

	if (!host->process)
		return 0;
	storage_state(storage_of(host)->core, &state);
	return state.transfers;
}

size_t storage_host_list(const struct host *host, uint64_t after, uint64_t *ret, size_t most)
{
	struct store_listed listed[64];
	size_t count;

	if (!host->process)
		return 0;
	count = store_list(storage_of(host)->store, after, listed, most < 64 ? most : 64);
	for (size_t i = 0; i < count; i++)
		ret[i] = listed[i].chunk;
	return count;
}

bool storage_host_has(const struct host *host, const struct chunk_row *row)
{
	struct store_reader *reader;
	struct chunk_meta meta;
	int rc;

	if (!host->process || store_reader_open(storage_of(host)->store, row->chunk, &reader) < 0)
		return false;
	rc = store_reader_check(reader, &meta);
	store_reader_close(storage_of(host)->store, reader);
	return rc == 0 && meta.length == row->length && digest_equal(&meta.digest, &row->digest);
}

struct replica_head storage_host_catalogue(const struct host *host)
{
	struct storage_state state;

	if (!host->process)
		return (struct replica_head){ 0 };
	storage_state(storage_of(host)->core, &state);
	return state.catalogue;
}
