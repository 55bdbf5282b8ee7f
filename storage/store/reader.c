/* Chunks on their way out. */
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

struct store_reader {
	struct disk *disk;
	struct segment *segment; /* NULL: the file is the reader's own */
	int file;
	uint64_t chunk;
	struct id disk_id;
	struct place place;
	uint64_t start; /* of the header in the file */
	uint8_t *bytes; /* header and CRCs; the payload too if it is one block */
	size_t size;
	bool checked;
	bool cached_only;
};

static int64_t read_file(const struct store_reader *reader, void *data, size_t size,
			 uint64_t offset)
{
	return reader->cached_only
		       ? disk_read_cached(reader->disk, reader->file, data, size, offset)
		       : disk_read(reader->disk, reader->file, data, size, offset);
}

static uint64_t payload_start(const struct store_reader *reader)
{
	return reader->segment ? reader->start + record_head_size(reader->place.length)
			       : STORE_BLOCK;
}

/* Chunks of one block are fetched by one read; of others only header and CRCs. */
static bool is_whole(const struct store_reader *reader)
{
	return reader->segment && reader->place.length <= BLOCK_SIZE;
}

static int file_open(struct store *store, struct store_reader *reader)
{
	char path[STORE_PATH_MAX];

	if (!reader->place.segment) {
		big_path(reader->chunk, "", path);
		return disk_open(store->disk, path, DISK_READ_ONLY);
	}
	reader->segment = segment_find(store, reader->place.segment);
	return reader->segment ? segment_open(store, reader->segment) : -ERR_NOT_FOUND;
}

int store_reader_open(struct store *store, uint64_t chunk, struct store_reader **ret)
{
	struct store_reader *reader;
	struct place place;

	if (!index_find(&store->index, chunk, &place) || place.bad)
		return -ERR_NOT_FOUND;
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ERR_NO_MEMORY;
	reader->disk = store->disk;
	reader->chunk = chunk;
	reader->place = place;
	reader->disk_id = store->identity.disk;
	reader->start = (uint64_t)place.offset8 * RECORD_ALIGN;
	reader->file = file_open(store, reader);
	if (reader->file < 0) {
		int rc = reader->file;

		free(reader);
		/* The index says we have it: what is missing is damaged. */
		return rc == -ERR_NOT_FOUND ? -ERR_CORRUPT : rc;
	}
	if (reader->segment)
		reader->segment->pins++;
	*ret = reader;
	return 0;
}

static bool matches(const struct store_reader *reader, const struct record *record)
{
	uint32_t length = reader->place.length;

	return record->type == (reader->segment ? RECORD_SMALL : RECORD_LARGE) &&
	       record->chunk == reader->chunk && record->length == length &&
	       id_equal(&record->disk, &reader->disk_id) &&
	       record->segment == reader->place.segment && record->offset == reader->start &&
	       record->table_crc ==
		       crc32c(reader->bytes + RECORD_HEADER_SIZE, 4 * block_count(length));
}

void store_reader_wait(struct store_reader *reader, bool wait)
{
	reader->cached_only = !wait;
}

int store_reader_check(struct store_reader *reader, struct chunk_meta *ret)
{
	uint32_t length = reader->place.length;
	struct record record;
	int64_t got;

	reader->size = is_whole(reader) ? record_size(length) : record_head_size(length);
	if (!reader->bytes)
		reader->bytes = malloc(reader->size);
	if (!reader->bytes)
		return -ERR_NO_MEMORY;
	got = read_file(reader, reader->bytes, reader->size, reader->start);
	if (got < 0)
		return (int)got;
	if ((size_t)got < reader->size || !record_header_decode(reader->bytes, &record) ||
	    !matches(reader, &record))
		return -ERR_CORRUPT;
	reader->checked = true;
	*ret = (struct chunk_meta){ .chunk = record.chunk,
				    .file = record.file,
				    .epoch = record.epoch,
				    .length = record.length,
				    .digest = record.digest };
	return 0;
}

int store_reader_crcs(struct store_reader *reader, uint32_t first, uint32_t count, uint8_t *ret)
{
	if (!reader->checked)
		return -ERR_BAD_REQUEST;
	if ((uint64_t)first + count > block_count(reader->place.length))
		return -ERR_RANGE;
	memcpy(ret, reader->bytes + RECORD_HEADER_SIZE + 4 * (size_t)first, 4 * (size_t)count);
	return 0;
}

int64_t store_reader_read(struct store_reader *reader, void *data, size_t size, uint64_t offset)
{
	uint32_t length = reader->place.length;
	int64_t got;

	if (!reader->checked)
		return -ERR_BAD_REQUEST;
	if (offset > length)
		return -ERR_RANGE;
	if (size > length - offset)
		size = (size_t)(length - offset);
	if (is_whole(reader)) {
		memcpy(data, reader->bytes + record_head_size(length) + offset, size);
		return (int64_t)size;
	}
	got = read_file(reader, data, size, payload_start(reader) + offset);
	return got >= 0 && (size_t)got < size ? -ERR_CORRUPT : got;
}

int store_reader_descriptor(struct store_reader *reader, uint64_t *ret_offset)
{
	*ret_offset = payload_start(reader);
	return disk_descriptor(reader->disk, reader->file);
}

void store_reader_close(struct store *store, struct store_reader *reader)
{
	if (reader->segment)
		segment_unpin(store, reader->segment);
	else
		disk_close(store->disk, reader->file);
	free(reader->bytes);
	free(reader);
}
