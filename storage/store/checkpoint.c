/* The file `index`: what was in memory, so that a start need not look at every segment. */
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

enum {
	MAGIC = 0x7849754d, /* "MuIx" */
	VERSION = 1,
	HEAD_SIZE = 64,
	AT_VERSION = 4,
	AT_NEXT_SEGMENT = 8,
	AT_SEGMENTS = 12,
	AT_CHUNKS = 16,
	AT_GENERATION = 24,
	AT_DISK = 32,
	SEGMENT_SIZE = 16,
	CHUNK_SIZE = 20,
	FLAG_SEALED = 1,
};

static const uint32_t flag_bad = 1u << 31;

static uint8_t *head_encode(const struct store *store, uint8_t *at)
{
	memset(at, 0, HEAD_SIZE);
	put_u32(at, MAGIC);
	put_u32(at + AT_VERSION, VERSION);
	put_u32(at + AT_NEXT_SEGMENT, store->next_segment);
	put_u32(at + AT_SEGMENTS, (uint32_t)store->segment_count);
	put_u64(at + AT_CHUNKS, store->index.count);
	put_u64(at + AT_GENERATION, store->identity.generation);
	memcpy(at + AT_DISK, store->identity.disk.bytes, ID_SIZE);
	return at + HEAD_SIZE;
}

static uint8_t *segments_encode(const struct store *store, uint8_t *at)
{
	for (size_t i = 0; i < store->segment_count; i++, at += SEGMENT_SIZE) {
		const struct segment *segment = store->segments[i];

		put_u32(at, segment->number);
		put_u32(at + 4, segment->sealed ? FLAG_SEALED : 0);
		put_u64(at + 8, segment->end);
	}
	return at;
}

static uint8_t *chunks_encode(const struct store *store, uint8_t *at)
{
	struct place place;
	uint64_t chunk;
	size_t cursor = 0;

	for (; index_next(&store->index, &cursor, &chunk, &place); at += CHUNK_SIZE) {
		put_u64(at, chunk);
		put_u32(at + 8, place.segment);
		put_u32(at + 12, place.offset8);
		put_u32(at + 16, place.length | (place.bad ? flag_bad : 0));
	}
	return at;
}

int checkpoint_encode(const struct store *store, uint8_t **ret, size_t *ret_size)
{
	size_t size = HEAD_SIZE + store->segment_count * SEGMENT_SIZE +
		      store->index.count * CHUNK_SIZE + DIGEST_SIZE;
	uint8_t *data = malloc(size);
	struct digest digest;
	uint8_t *at;

	if (!data)
		return -ERR_NO_MEMORY;
	at = chunks_encode(store, segments_encode(store, head_encode(store, data)));
	digest = digest_of(data, (size_t)(at - data));
	memcpy(at, digest.bytes, DIGEST_SIZE);
	*ret = data;
	*ret_size = size;
	return 0;
}

int checkpoint_write(struct disk *disk, const uint8_t *data, size_t size)
{
	int file = disk_open(disk, "index.new", DISK_CREATE);
	int rc;

	if (file < 0)
		return file;
	rc = disk_truncate(disk, file, 0);
	if (rc == 0)
		rc = disk_write(disk, file, data, size, 0);
	if (rc == 0)
		rc = disk_sync_file(disk, file);
	disk_close(disk, file);
	if (rc == 0)
		rc = disk_rename(disk, "index.new", "index");
	return rc < 0 ? rc : disk_sync_dir(disk, "");
}

static int file_load(struct disk *disk, uint8_t **ret, size_t *ret_size)
{
	int file = disk_open(disk, "index", DISK_READ_ONLY);
	uint8_t *data = NULL;
	int64_t size;

	if (file < 0)
		return file;
	size = disk_size(disk, file);
	if (size > 0) {
		data = malloc((size_t)size);
		size = data ? disk_read(disk, file, data, (size_t)size, 0) : -ERR_NO_MEMORY;
	}
	disk_close(disk, file);
	if (size < 0) {
		free(data);
		return (int)size;
	}
	*ret = data;
	*ret_size = (size_t)size;
	return 0;
}

static bool is_whole(const struct store *store, const uint8_t *data, size_t size)
{
	struct digest digest;

	if (size < HEAD_SIZE + DIGEST_SIZE || get_u32(data) != MAGIC ||
	    get_u32(data + AT_VERSION) != VERSION)
		return false;
	size -= DIGEST_SIZE;
	digest = digest_of(data, size);
	return memcmp(digest.bytes, data + size, DIGEST_SIZE) == 0 &&
	       memcmp(store->identity.disk.bytes, data + AT_DISK, ID_SIZE) == 0 &&
	       get_u64(data + AT_CHUNKS) <= size / CHUNK_SIZE &&
	       size == HEAD_SIZE + (size_t)get_u32(data + AT_SEGMENTS) * SEGMENT_SIZE +
			       (size_t)get_u64(data + AT_CHUNKS) * CHUNK_SIZE;
}

static void chunks_decode(struct store *store, const uint8_t *at, uint64_t count)
{
	for (; count; count--, at += CHUNK_SIZE) {
		uint32_t length = get_u32(at + 16);
		struct place place = { .segment = get_u32(at + 8),
				       .offset8 = get_u32(at + 12),
				       .length = length & ~flag_bad,
				       .bad = length & flag_bad };

		if (place.length && place.length <= CHUNK_SIZE_MAX)
			index_put(&store->index, get_u64(at), &place);
	}
}

static int decode(struct store *store, const uint8_t *data, struct checkpoint *ret)
{
	const uint8_t *at = data + HEAD_SIZE;
	uint64_t chunks = get_u64(data + AT_CHUNKS);
	int rc;

	ret->generation = get_u64(data + AT_GENERATION);
	ret->next_segment = get_u32(data + AT_NEXT_SEGMENT);
	ret->covered_count = get_u32(data + AT_SEGMENTS);
	ret->covered = calloc(ret->covered_count + 1, sizeof(*ret->covered));
	if (!ret->covered)
		return -ERR_NO_MEMORY;
	for (size_t i = 0; i < ret->covered_count; i++, at += SEGMENT_SIZE)
		ret->covered[i] = (struct covered){ get_u32(at), get_u32(at + 4) & FLAG_SEALED,
						    get_u64(at + 8) };
	rc = index_reserve(&store->index, (size_t)chunks);
	if (rc == 0)
		chunks_decode(store, at, chunks);
	return rc;
}

int checkpoint_load(struct store *store, struct checkpoint *ret)
{
	uint8_t *data = NULL;
	size_t size = 0;
	int rc = file_load(store->disk, &data, &size);

	*ret = (struct checkpoint){ 0 };
	if (rc < 0)
		return rc;
	rc = is_whole(store, data, size) ? decode(store, data, ret) : -ERR_NOT_FOUND;
	free(data);
	return rc;
}

void checkpoint_done(struct checkpoint *checkpoint)
{
	free(checkpoint->covered);
}
