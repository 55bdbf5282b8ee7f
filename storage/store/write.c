/* Chunks on their way in. */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

/* Dirty pages are pushed out early in steps of this, so that the final sync finds little to do. */
enum { FLUSH_STEP = 2 * 1024 * 1024 };

static uint8_t *crcs_of(const struct store_write *write)
{
	return write->bytes + RECORD_HEADER_SIZE;
}

static uint8_t *payload_of(const struct store_write *write)
{
	return write->bytes + record_head_size(write->meta.length);
}

/* An upper bound: each record might have a group of its own. */
uint64_t chunk_footprint(const struct store *store, uint32_t length)
{
	if (length >= store->large_from)
		return STORE_BLOCK + align_up(length, STORE_BLOCK);
	return align_up(record_size(length) + FOOTER_ENTRY_SIZE, STORE_BLOCK);
}

struct store_write *write_alloc(struct store *store, const struct chunk_meta *meta)
{
	struct store_write *write = calloc(1, sizeof(*write));
	size_t size;

	if (!write)
		return NULL;
	write->disk = store->disk;
	write->meta = *meta;
	write->large = meta->length >= store->large_from;
	write->file = -1;
	write->source = -1;
	write->footprint = chunk_footprint(store, meta->length);
	size = write->large ? STORE_BLOCK : record_size(meta->length);
	write->bytes = write->large ? calloc(1, size) : malloc(size);
	if (write->large)
		write->stream = digest_stream_new();
	if (!write->bytes || (write->large && !write->stream)) {
		write_free(write);
		return NULL;
	}
	if (!write->large) /* The gap behind the payload goes to the disk too. */
		memset(write->bytes + size - RECORD_ALIGN, 0, RECORD_ALIGN);
	write->record = (struct record){ .type = write->large ? RECORD_LARGE : RECORD_SMALL,
					 .chunk = meta->chunk,
					 .file = meta->file,
					 .epoch = meta->epoch,
					 .length = meta->length,
					 .disk = store->identity.disk,
					 .generation = store->identity.generation };
	return write;
}

void write_free(struct store_write *write)
{
	if (write->file >= 0)
		disk_close(write->disk, write->file);
	digest_stream_free(write->stream);
	free(write->bytes);
	free(write);
}

void write_forget(struct store *store, struct store_write *write)
{
	HASH_DEL(store->writes, write);
	store->write_count--;
	store->reserved -= write->footprint;
	write_free(write);
}

static bool is_on_its_way(const struct store *store, uint64_t chunk)
{
	struct store_write *write;

	HASH_FIND(hh, store->writes, &chunk, sizeof(chunk), write);
	return write;
}

int store_write_new(struct store *store, const struct chunk_meta *meta, struct store_write **ret)
{
	struct store_write *write;
	int rc;

	if (!meta->chunk || !meta->length)
		return -ERR_BAD_REQUEST;
	if (meta->length > CHUNK_SIZE_MAX)
		return -ERR_TOO_LARGE;
	if (is_on_its_way(store, meta->chunk))
		return -ERR_EXISTS;
	rc = space_check(store, meta->length);
	if (rc < 0)
		return rc;
	rc = index_reserve(&store->index, store->write_count + 1);
	if (rc < 0)
		return rc;
	write = write_alloc(store, meta);
	if (!write)
		return -ERR_NO_MEMORY;
	if (write->large)
		removals_cancel(store, meta->chunk);
	HASH_ADD(hh, store->writes, meta.chunk, sizeof(write->meta.chunk), write);
	store->write_count++;
	store->reserved += write->footprint;
	*ret = write;
	return 0;
}

/* The file of a large chunk. One that is left over from before is emptied. */
static int file_create(struct store_write *write)
{
	struct disk *disk = write->disk;
	char path[STORE_PATH_MAX];
	int rc;

	big_dir_path(write->meta.chunk, path);
	rc = disk_mkdir(disk, path);
	if (rc < 0)
		return rc;
	big_path(write->meta.chunk, ".new", path);
	rc = disk_open(disk, path, DISK_CREATE);
	if (rc < 0)
		return rc;
	write->file = rc;
	rc = disk_truncate(disk, write->file, 0);
	if (rc == 0)
		rc = disk_allocate(disk, write->file, 0,
				   (uint64_t)STORE_BLOCK + write->meta.length);
	return rc == -ERR_UNSUPPORTED ? 0 : rc;
}

static void flush_early(struct store_write *write)
{
	int fd = disk_descriptor(write->disk, write->file);

	if (fd >= 0)
		(void)sync_file_range(fd, (off_t)STORE_BLOCK + write->flushed,
				      (off_t)(write->filled - write->flushed),
				      SYNC_FILE_RANGE_WRITE);
	write->flushed = write->filled;
}

static int large_add(struct store_write *write, const void *data, size_t size)
{
	int rc = write->file < 0 ? file_create(write) : 0;

	if (rc < 0)
		return rc;
	rc = disk_write(write->disk, write->file, data, size,
			(uint64_t)STORE_BLOCK + write->filled);
	if (rc < 0)
		return rc;
	digest_stream_add(write->stream, data, size);
	return 0;
}

int store_write_add(struct store_write *write, const void *data, size_t size, const uint8_t *crcs)
{
	int rc = 0;

	if (size > write->meta.length - write->filled || write->filled % BLOCK_SIZE)
		return -ERR_BAD_REQUEST;
	if (write->large)
		rc = large_add(write, data, size);
	else
		memcpy(payload_of(write) + write->filled, data, size);
	if (rc < 0)
		return rc == -ERR_LOCAL_FULL ? -ERR_NO_SPACE : rc;
	memcpy(crcs_of(write) + 4 * block_count(write->filled), crcs, 4 * block_count(size));
	write->filled += (uint32_t)size;
	if (write->large && write->filled - write->flushed >= FLUSH_STEP)
		flush_early(write);
	return 0;
}

const uint8_t *store_write_bytes(const struct store_write *write)
{
	return write->large ? NULL : payload_of(write);
}

int store_write_descriptor(const struct store_write *write, uint64_t *ret_offset)
{
	if (!write->large || write->file < 0)
		return -ERR_UNSUPPORTED;
	*ret_offset = STORE_BLOCK;
	return disk_descriptor(write->disk, write->file);
}

const uint8_t *store_write_crcs(const struct store_write *write)
{
	return crcs_of(write);
}

struct digest store_write_digest(const struct store_write *write)
{
	return write->large ? digest_stream_value(write->stream)
			    : digest_of(payload_of(write), write->filled);
}

void store_write_abort(struct store *store, struct store_write *write)
{
	char path[STORE_PATH_MAX];

	if (write->file >= 0) {
		big_path(write->meta.chunk, ".new", path);
		(void)disk_unlink(store->disk, path); /* else the next start does it */
	}
	write_forget(store, write);
}
