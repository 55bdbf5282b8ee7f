/* Answers to READ. What is read often is in the page cache and answered right here; the disk is
 * waited for by a worker of libuv's, one READ of a connection at a time. */
#include <stdlib.h>

#include "error.h"
#include "hash.h"
#include "storage_daemon.h"

struct reading {
	uv_work_t work;
	struct daemon *daemon;
	uint64_t connection;
	struct waiting_read read;
	struct store_reader *reader;
	int64_t result;
	uint8_t frame[];
};

void read_failed(struct wire *wire, const struct waiting_read *read, int error)
{
	struct storage_event event = { .kind = STORAGE_SENT,
				       .connection = wire->handle,
				       .chunk = read->chunk,
				       .id = read->id,
				       .error = error };

	daemon_step(wire->daemon, &event);
}

/* ---- short: one DATA frame ---- */

static size_t head_size(const struct waiting_read *read)
{
	return FRAME_HEADER_SIZE + block_count(read->length) * 4;
}

static int fill(struct store_reader *reader, const struct waiting_read *read, uint8_t *payload,
		uint8_t *crcs)
{
	uint32_t first = read->offset / BLOCK_SIZE;
	struct chunk_meta meta;
	int rc = store_reader_check(reader, &meta);
	int64_t got;

	if (rc < 0)
		return rc;
	if (read->offset + read->length > meta.length)
		return -ERR_RANGE;
	rc = store_reader_crcs(reader, first, (uint32_t)block_count(read->length), crcs);
	if (rc < 0)
		return rc;
	got = store_reader_read(reader, payload, read->length, read->offset);
	if (got < 0)
		return (int)got;
	return got == read->length ? 0 : -ERR_CORRUPT;
}

/* [any] The frame's size, or an error. */
static int64_t frame_make(struct store_reader *reader, const struct waiting_read *read,
			  uint8_t *frame)
{
	struct data_head head = {
		.id = read->id, .flags = FRAME_LAST, .offset = read->offset, .length = read->length
	};
	uint8_t crcs[DATA_CRCS_SIZE_MAX];
	int rc = fill(reader, read, frame + head_size(read), crcs);

	if (rc < 0)
		return rc;
	data_head_encode(&head, crcs, frame);
	return (int64_t)(head_size(read) + read->length);
}

static int send_short(struct wire *wire, const struct waiting_read *read,
		      struct store_reader *reader)
{
	struct daemon *daemon = wire->daemon;
	int64_t size = frame_make(reader, read, daemon->scratch);

	store_reader_close(daemon->store, reader);
	if (size < 0)
		return (int)size;
	wire_send(wire, daemon->scratch, (size_t)size);
	return 0;
}

/* ---- long: a flow ---- */

static int send_long(struct wire *wire, const struct waiting_read *read,
		     struct store_reader *reader)
{
	struct flow_order order = { .id = read->id,
				    .offset = read->offset,
				    .length = read->length };
	int rc = source_of_reader(wire->daemon, reader, read->offset + read->length, &order.source);

	if (rc < 0)
		return rc;
	rc = flow_start(wire, &order);
	if (rc < 0)
		source_release(order.source);
	return rc;
}

static bool is_long(const struct waiting_read *read)
{
	return read->length >= LARGE_SIZE;
}

static int answer(struct wire *wire, const struct waiting_read *read)
{
	struct store_reader *reader;
	int rc = store_reader_open(wire->daemon->store, read->chunk, &reader);

	if (rc < 0)
		return rc;
	store_reader_wait(reader, read->wait);
	return is_long(read) ? send_long(wire, read, reader) : send_short(wire, read, reader);
}

/* ---- waiting for the disk ---- */

static void reading_run(uv_work_t *work)
{
	struct reading *reading = work->data;
	struct chunk_meta meta;

	if (is_long(&reading->read))
		reading->result = store_reader_check(reading->reader, &meta);
	else
		reading->result = frame_make(reading->reader, &reading->read, reading->frame);
}

/* Of a long one the header is in the page cache now. What has failed is looked at again on the
 * loop, where nobody stores the chunk anew meanwhile. */
static void reading_end(struct reading *reading, struct wire *wire)
{
	wire->reading = false;
	if (reading->result >= 0 && !is_long(&reading->read)) {
		wire_send(wire, reading->frame, (size_t)reading->result);
	} else {
		reading->read.wait = true;
		wire_read_again(wire, &reading->read);
	}
	wire_next(wire);
}

static void reading_done(uv_work_t *work, int status)
{
	struct reading *reading = work->data;
	struct daemon *daemon = reading->daemon;
	struct wire *wire = wire_find(daemon, reading->connection);

	(void)status;
	store_reader_close(daemon->store, reading->reader);
	if (wire && !wire->gone)
		reading_end(reading, wire);
	free(reading);
}

static int reading_start(struct wire *wire, const struct waiting_read *read)
{
	struct daemon *daemon = wire->daemon;
	size_t size = is_long(read) ? 0 : head_size(read) + read->length;
	struct reading *reading = malloc(sizeof(*reading) + size);
	int rc;

	if (!reading)
		return -ERR_NO_MEMORY;
	*reading = (struct reading){
		.work.data = reading, .daemon = daemon, .connection = wire->handle, .read = *read
	};
	rc = store_reader_open(daemon->store, read->chunk, &reading->reader);
	if (rc < 0) {
		free(reading);
		return rc;
	}
	if (uv_queue_work(&daemon->loop, &reading->work, reading_run, reading_done) < 0) {
		store_reader_close(daemon->store, reading->reader);
		free(reading);
		return -ERR_NO_MEMORY;
	}
	wire->reading = true;
	return 0;
}

void read_answer(struct wire *wire, const struct waiting_read *read)
{
	int rc = answer(wire, read);

	if (rc == -ERR_BUSY && !read->wait)
		rc = reading_start(wire, read);
	if (rc < 0)
		read_failed(wire, read, rc);
}
