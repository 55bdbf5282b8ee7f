#include "peer_storage.h"

#include <stdlib.h>

#include "chunks_memory.h"
#include "endpoint.h"
#include "error.h"
#include "hash.h"
#include "replica_memory.h"

enum { PATIENCE_MS = 5000, EVENTS_MAX = 256, OUR_ADDRESS = 0x0a090001 };

struct door {
	struct peer_storage *storage;
	uint16_t port;
	struct door *next;
};

struct connection {
	struct peer_storage *storage;
	uint64_t handle;
	uint16_t place; /* where it was dialled to; 0: the script dialled */
	bool accepted, closed, paused;
	struct buffer sent, received;
	struct connection *next;
};

/* A job of the catalogue's copy. */
struct copy_job {
	struct copy_job *next;
	struct replica_job job;
	struct buffer bytes;
};

/* Something that happens after the step in which it was caused. */
struct later {
	struct storage_event event;
	struct endpoint endpoint;
};

struct peer_storage {
	struct storage *core;
	struct storage_outbox outbox;
	struct chunks_memory chunks;
	struct replica_memory rows;
	struct replica *replica;
	struct copy_job *jobs, **jobs_end;
	uint64_t now_ms, next_handle;
	uint16_t next_port;
	struct connection *connections;
	struct door *places;
	struct later later[EVENTS_MAX];
	unsigned int later_count;
};

static struct connection *connection_of(struct peer_storage *storage, uint64_t handle)
{
	struct connection *connection = storage->connections;

	while (connection && connection->handle != handle)
		connection = connection->next;
	return connection;
}

static struct connection *connection_add(struct peer_storage *storage, uint64_t handle)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		abort();
	connection->storage = storage;
	connection->handle = handle;
	connection->next = storage->connections;
	storage->connections = connection;
	return connection;
}

static void connection_free(struct connection *connection)
{
	struct connection **link = &connection->storage->connections;

	while (*link != connection)
		link = &(*link)->next;
	*link = connection->next;
	buffer_done(&connection->sent);
	buffer_done(&connection->received);
	free(connection);
}

/* ---- what the core wants done ---- */

static struct storage_event *later(struct peer_storage *storage, enum storage_event_kind kind,
				   uint64_t connection)
{
	struct later *later = &storage->later[storage->later_count++];

	if (storage->later_count > EVENTS_MAX)
		abort();
	*later = (struct later){ .event = { .kind = kind, .connection = connection } };
	return &later->event;
}

static void act_dial(struct peer_storage *storage, const struct storage_action *action)
{
	struct door *place = storage->places;
	struct storage_event *event = later(storage, STORAGE_DIALLED, action->connection);

	while (place && place->port != action->endpoints[0].port)
		place = place->next;
	if (!place) {
		event->error = -ERR_CONNECTION;
		return;
	}
	connection_add(storage, action->connection)->place = place->port;
	((struct later *)event)->endpoint = action->endpoints[0];
	event->endpoint_count = 1;
}

static void act_resolve(struct peer_storage *storage)
{
	struct storage_event *event = later(storage, STORAGE_RESOLVED, 0);

	((struct later *)event)->endpoint = endpoint_ipv4(OUR_ADDRESS, CONTROL_PORT);
	event->endpoint_count = 1;
}

static void put_data(struct connection *connection, const struct storage_action *action,
		     const struct store_write *chunk)
{
	uint32_t at = action->offset, end = action->offset + action->length;

	while (at < end) {
		uint8_t head[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX], crcs[DATA_CRCS_SIZE_MAX];
		struct data_head data = { .id = action->id, .offset = at, .length = end - at };
		size_t size;

		if (data.length > DATA_PAYLOAD_MAX)
			data.length = DATA_PAYLOAD_MAX;
		else
			data.flags = FRAME_LAST;
		crc32c_blocks(chunk->bytes.data + at, data.length, crcs);
		size = data_head_encode(&data, crcs, head);
		buffer_append(&connection->received, head, size);
		buffer_append(&connection->received, chunk->bytes.data + at, data.length);
		at += data.length;
	}
}

static void act_send_chunk(struct peer_storage *storage, const struct storage_action *action)
{
	const struct store_write *chunk = chunks_memory_find(&storage->chunks, action->chunk);
	struct connection *connection = connection_of(storage, action->connection);
	struct storage_event *event;
	int error = chunk ? storage->chunks.error : -ERR_NOT_FOUND;

	storage->chunks.error = 0;
	if (error == 0 && action->offset + action->length > chunk->meta.length)
		error = -ERR_RANGE;
	if (error == 0 && connection) {
		put_data(connection, action, chunk);
	} else if (error) {
		event = later(storage, STORAGE_SENT, action->connection);
		event->chunk = action->chunk;
		event->id = action->id;
		event->error = error;
	}
}

/* What was damaged by order is found so; the rest is what it is. */
static void act_inspect(struct peer_storage *storage, const struct storage_action *action)
{
	static const struct digest none;
	const struct store_write *chunk = chunks_memory_find(&storage->chunks, action->chunk);
	struct storage_event *event = later(storage, STORAGE_INSPECTED, 0);

	event->chunk = action->chunk;
	event->error = storage->chunks.error;
	storage->chunks.error = 0;
	event->length = event->error ? 0 : chunk->meta.length;
	event->digest = event->error ? &none : &chunk->meta.digest;
}

static void act(struct peer_storage *storage, const struct storage_action *action)
{
	struct connection *connection = connection_of(storage, action->connection);

	switch (action->kind) {
	case ACT_SEND:
		if (connection)
			buffer_append(&connection->received,
				      storage->outbox.bytes.data + action->at, action->size);
		break;
	case ACT_CLOSE:
		if (connection)
			connection->closed = true;
		break;
	case ACT_PAUSE:
		if (connection)
			connection->paused = action->on;
		break;
	case ACT_DIAL: act_dial(storage, action); break;
	case ACT_RESOLVE: act_resolve(storage); break;
	case ACT_SEND_CHUNK: act_send_chunk(storage, action); break;
	case ACT_INSPECT: act_inspect(storage, action); break;
	case ACT_RECEIVE:
	case ACT_FORWARD: abort(); /* large_size forbids them */
	case ACT_PROBE:
	case ACT_REMEMBER:
	case ACT_NOTE: break;
	}
}

static void step(struct peer_storage *storage, struct storage_event *event)
{
	event->now_ms = storage->now_ms;
	if (storage_step(storage->core, event, &storage->outbox) < 0)
		abort();
	for (unsigned int i = 0; i < storage->outbox.count; i++)
		act(storage, &storage->outbox.actions[i]);
	storage_outbox_clear(&storage->outbox);
	while (storage->chunks.committed) {
		struct digest digest;
		struct storage_event stored = { .kind = STORAGE_STORED, .digest = &digest };

		stored.transfer = storage->chunks.transfer;
		stored.error = chunks_memory_store(&storage->chunks, &digest);
		step(storage, &stored);
	}
}

/* ---- the copy of the catalogue ---- */

static int copy_submit(void *context, const struct replica_job *wanted)
{
	struct peer_storage *storage = context;
	struct copy_job *job = calloc(1, sizeof(*job));

	if (!job || buffer_append(&job->bytes, wanted->bytes.data, wanted->bytes.size) < 0)
		abort();
	job->job = *wanted;
	*storage->jobs_end = job;
	storage->jobs_end = &job->next;
	return 0;
}

static const struct storage_catalogue copy_catalogue = { copy_submit };

static struct copy_job job_take(struct peer_storage *storage)
{
	struct copy_job *first = storage->jobs, job = *first;

	storage->jobs = job.next;
	if (!storage->jobs)
		storage->jobs_end = &storage->jobs;
	free(first);
	return job;
}

/* The disk that was ordered to fail may fail here, too. */
static bool one_job(struct peer_storage *storage)
{
	struct storage_event event = { .kind = STORAGE_REPLICA };
	struct replica_result result;
	struct copy_job job;

	if (!storage->jobs)
		return false;
	job = job_take(storage);
	job.job.bytes = (struct slice){ job.bytes.data, job.bytes.size };
	replica_run(storage->replica, &job.job, &result);
	if (storage->chunks.error)
		result.error = storage->chunks.error;
	storage->chunks.error = 0;
	event.replica = &result;
	step(storage, &event);
	buffer_done(&job.bytes);
	return true;
}

static int catalogue_new(struct peer_storage *storage)
{
	int rc = replica_memory_init(&storage->rows, NULL);

	storage->jobs_end = &storage->jobs;
	return rc < 0 ? rc
		      : replica_new(NULL, &storage->rows.rows, &replica_limits, &storage->replica);
}

static void catalogue_free(struct peer_storage *storage)
{
	while (storage->jobs) {
		struct copy_job job = job_take(storage);

		buffer_done(&job.bytes);
	}
	replica_free(storage->replica);
	replica_memory_done(&storage->rows);
}

/* ---- what happens to it ---- */

static bool deliver(struct peer_storage *storage, struct connection *connection)
{
	struct storage_event event = { .kind = STORAGE_FRAME, .connection = connection->handle };
	struct frame_header header;
	size_t size = connection->sent.size;
	int rc = connection->closed || connection->paused
			 ? 0
			 : frame_next(connection->sent.data, connection->sent.size, &header, &size);

	if (rc == 0)
		return false;
	event.header = &header;
	event.body = connection->sent.data + FRAME_HEADER_SIZE;
	if (rc < 0) {
		event.kind = STORAGE_CLOSED;
		event.error = rc;
		size = connection->sent.size;
	}
	step(storage, &event);
	buffer_consume(&connection->sent, size);
	connection->closed |= rc < 0;
	return true;
}

static bool one_later(struct peer_storage *storage)
{
	struct later first = storage->later[0];

	if (storage->later_count == 0)
		return false;
	storage->later_count--;
	memmove(storage->later, storage->later + 1, storage->later_count * sizeof(first));
	first.event.endpoints = &first.endpoint;
	step(storage, &first.event);
	return true;
}

static void run(struct peer_storage *storage)
{
	bool moved;

	do {
		moved = one_later(storage) || one_job(storage);
		for (struct connection *at = storage->connections; at && !moved; at = at->next)
			moved = deliver(storage, at);
	} while (moved);
}

/* Time goes on to the next thing that is due, at most to `limit`. False: it was reached. */
static bool wait(struct peer_storage *storage, uint64_t limit_ms)
{
	struct storage_event tick = { .kind = STORAGE_TICK };
	uint64_t due = storage_deadline(storage->core);

	if (due > limit_ms) {
		storage->now_ms = limit_ms;
		return false;
	}
	if (due > storage->now_ms)
		storage->now_ms = due;
	step(storage, &tick);
	run(storage);
	return true;
}

/* ---- the script's side ---- */

static void *storage_open(void *context, bool is_storage, unsigned int number)
{
	struct peer_storage *storage = context;
	struct connection *connection =
		connection_add(storage, STORAGE_ACCEPTED | ++storage->next_handle);
	struct endpoint endpoint =
		endpoint_ipv4((is_storage ? 0x0a020000u : 0x0a010000u) + number, 40000);
	struct storage_event event = { .kind = STORAGE_OPENED,
				       .connection = connection->handle,
				       .endpoints = &endpoint,
				       .endpoint_count = 1 };

	step(storage, &event);
	return connection;
}

static int storage_send(void *context, const void *bytes, size_t size)
{
	struct connection *connection = context;

	if (connection->closed)
		return -ERR_CONNECTION;
	buffer_append(&connection->sent, bytes, size);
	run(connection->storage);
	return 0;
}

static int storage_receive(void *context, bool patient, struct buffer *ret)
{
	struct connection *connection = context;
	struct peer_storage *storage = connection->storage;
	uint64_t limit = storage->now_ms + (patient ? PATIENCE_MS : 0);
	struct frame_header header;
	size_t size;
	int rc;

	do {
		rc = frame_next(connection->received.data, connection->received.size, &header,
				&size);
		if (rc == 0 && connection->closed)
			return -ERR_CONNECTION;
	} while (rc == 0 && wait(storage, limit));
	if (rc != 1)
		return rc;
	buffer_append(ret, connection->received.data, size);
	buffer_consume(&connection->received, size);
	return 1;
}

static void storage_close(void *context)
{
	struct connection *connection = context;
	struct peer_storage *storage = connection->storage;
	struct storage_event event = { .kind = STORAGE_CLOSED,
				       .connection = connection->handle,
				       .error = -ERR_CONNECTION };

	if (!connection->closed)
		step(storage, &event);
	connection_free(connection);
	run(storage);
}

static void storage_clock(void *context, uint64_t ms)
{
	struct peer_storage *storage = context;
	uint64_t limit = storage->now_ms + ms;

	while (wait(storage, limit))
		;
}

static void *storage_listen(void *context, bool nameserver, struct endpoint *ret)
{
	struct peer_storage *storage = context;
	struct door *place = calloc(1, sizeof(*place));

	if (!place)
		return NULL;
	place->storage = storage;
	place->port = nameserver ? CONTROL_PORT : ++storage->next_port;
	place->next = storage->places;
	storage->places = place;
	*ret = endpoint_ipv4(OUR_ADDRESS, place->port);
	return place;
}

static void *storage_accept(void *context)
{
	const struct door *place = context;
	struct peer_storage *storage = place->storage;
	uint64_t limit = storage->now_ms + 2 * PATIENCE_MS;

	do {
		struct connection *at = storage->connections;

		while (at && (at->place != place->port || at->accepted || at->closed))
			at = at->next;
		if (at) {
			at->accepted = true;
			return at;
		}
	} while (wait(storage, limit));
	return NULL;
}

static void storage_unlisten(void *context)
{
	struct door *place = context, **link = &place->storage->places;

	while (*link != place)
		link = &(*link)->next;
	*link = place->next;
	free(place);
}

static void storage_disk(void *context, int error)
{
	struct peer_storage *storage = context;

	storage->chunks.error = error;
}

/* ---- life ---- */

int peer_storage_new(struct peer_storage **ret)
{
	struct peer_storage *storage = calloc(1, sizeof(*storage));
	struct storage_config config = { .seed = 1,
					 .start = 1,
					 .host = "host",
					 .zone = "",
					 .version = "conformance",
					 .endpoint_count = 1,
					 .nameservers = { "nameserver" },
					 .nameserver_count = 1,
					 .large_size = UINT32_MAX,
					 .chunks = &chunks_memory,
					 .catalogue = &copy_catalogue };
	int rc = storage ? 0 : -ERR_NO_MEMORY;

	config.self.bytes[0] = config.disk.bytes[1] = config.machine.bytes[2] = 1;
	config.endpoints[0] = endpoint_ipv4(0x0a000001, DATA_PORT);
	if (rc == 0)
		rc = catalogue_new(storage);
	if (rc == 0) {
		config.catalogue_context = storage;
		config.chunks_context = &storage->chunks;
		storage->next_port = 7000;
		rc = storage_new(&config, &storage->core);
	}
	if (rc < 0) {
		peer_storage_free(storage);
		return rc;
	}
	*ret = storage;
	return 0;
}

void peer_storage_free(struct peer_storage *storage)
{
	if (!storage)
		return;
	while (storage->connections)
		connection_free(storage->connections);
	while (storage->places)
		storage_unlisten(storage->places);
	storage_free(storage->core);
	catalogue_free(storage);
	storage_outbox_done(&storage->outbox);
	chunks_memory_done(&storage->chunks);
	free(storage);
}

struct script_peer peer_storage_script(struct peer_storage *storage)
{
	return (struct script_peer){
		.context = storage,
		.storage = true,
		.memory = true,
		.open = storage_open,
		.send = storage_send,
		.receive = storage_receive,
		.close = storage_close,
		.clock = storage_clock,
		.listen = storage_listen,
		.accept = storage_accept,
		.unlisten = storage_unlisten,
		.disk = storage_disk,
	};
}
