/* What is read: READ is answered from the real store, and so is INSPECT, in their time. */
#include <stdlib.h>

#include "error.h"
#include "storage_host.h"

struct reading {
	struct store_reader *reader; /* NULL: it could not be opened */
	int error;
	uint64_t conn, chunk;
	uint32_t id, offset, length;
};

/* ---- READ ---- */

static void reading_free(struct storage_host *storage, struct reading *reading)
{
	for (unsigned int i = 0; i < READERS_MAX; i++) {
		if (storage->readings[i] == reading)
			storage->readings[i] = NULL;
	}
	if (reading->reader)
		store_reader_close(storage->store, reading->reader);
	free(reading);
}

static int data_send(struct host *host, const struct reading *reading, uint32_t offset)
{
	uint32_t left = reading->offset + reading->length - offset;
	uint32_t size = left < DATA_PAYLOAD_MAX ? left : DATA_PAYLOAD_MAX;
	uint32_t blocks = (uint32_t)block_count(size);
	uint8_t *frame = malloc(FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX + size);
	uint8_t crcs[DATA_CRCS_SIZE_MAX];
	struct data_head head = { .id = reading->id,
				  .flags = size == left ? FRAME_LAST : 0,
				  .offset = offset,
				  .length = size };
	size_t used;
	int64_t rc;

	if (!frame)
		abort();
	rc = store_reader_crcs(reading->reader, offset / BLOCK_SIZE, blocks, crcs);
	used = data_head_encode(&head, crcs, frame);
	if (rc >= 0)
		rc = store_reader_read(reading->reader, frame + used, size, offset);
	if (rc >= 0)
		net_send(host, reading->conn, frame, used + size);
	free(frame);
	return rc < 0 ? (int)rc : 0;
}

static int reading_run(struct host *host, struct reading *reading)
{
	struct chunk_meta meta;
	int rc = reading->error;

	if (rc == 0)
		rc = store_reader_check(reading->reader, &meta);
	for (uint32_t sent = 0; rc == 0 && sent < reading->length; sent += DATA_PAYLOAD_MAX)
		rc = data_send(host, reading, reading->offset + sent);
	return rc;
}

static void reading_done(struct world *w, const struct due *due)
{
	struct reading *reading = due->context;
	struct host *host = due->host;
	struct storage_event event = { .kind = STORAGE_SENT,
				       .connection = reading->conn,
				       .chunk = reading->chunk,
				       .id = reading->id,
				       .error = reading_run(host, reading) };

	(void)w;
	reading_free(storage_of(host), reading);
	if (event.error < 0)
		storage_host_step(host, &event);
}

void storage_read(struct host *host, const struct storage_action *action)
{
	struct storage_host *storage = storage_of(host);
	struct reading *reading = calloc(1, sizeof(*reading));
	unsigned int slot = 0;

	if (!reading)
		abort();
	*reading = (struct reading){ .conn = action->connection,
				     .chunk = action->chunk,
				     .id = action->id,
				     .offset = action->offset,
				     .length = action->length };
	reading->error = store_reader_open(storage->store, action->chunk, &reading->reader);
	while (slot < READERS_MAX && storage->readings[slot])
		slot++;
	if (slot == READERS_MAX)
		abort();
	storage->readings[slot] = reading;
	world_after(host->world, 20 + world_below(host->world, 2 * MS),
		    (struct due){ .run = reading_done, .host = host, .context = reading });
}

/* ---- INSPECT ---- */

static void inspect_done(struct world *w, const struct due *due)
{
	struct storage_host *storage = storage_of(due->host);
	struct chunk_meta meta = { 0 };
	int rc = -(int)due->b;

	if (rc == 0) {
		rc = store_reader_inspect(storage->inspected, &meta);
		store_reader_close(storage->store, storage->inspected);
	}
	storage->inspected = NULL;
	world_trace(w, "%s: inspected chunk %llx: %d", due->host->name, (unsigned long long)due->a,
		    rc);
	storage_host_step(due->host, &(struct storage_event){ .kind = STORAGE_INSPECTED,
							      .chunk = due->a,
							      .error = rc,
							      .length = meta.length,
							      .digest = &meta.digest });
}

void storage_inspect(struct host *host, const struct storage_action *action)
{
	struct storage_host *storage = storage_of(host);
	struct due due = { .run = inspect_done, .host = host, .a = action->chunk };
	int rc = store_reader_open(storage->store, action->chunk, &storage->inspected);

	if (rc < 0)
		due.b = rc == -ERR_CORRUPT ? ERR_NOT_FOUND : (uint64_t)-rc;
	world_after(host->world, 20 + world_below(host->world, 20 * MS), due);
}

void storage_reads_stop(struct storage_host *storage)
{
	for (unsigned int i = 0; i < READERS_MAX; i++) {
		if (storage->readings[i])
			reading_free(storage, storage->readings[i]);
	}
	if (storage->inspected)
		store_reader_close(storage->store, storage->inspected);
}
