/* Rows "c" and "k": the chunks of files, and the files of chunks. */
#include "batch.h"
#include "rows.h"

enum {
	CHUNK_SIZE = 8 + 4 + DIGEST_SIZE,
	OWNER_SIZE = 8,
	/* What a change writes for one chunk, and at most for everything else, in bytes of the
	 * batch. */
	BATCH_BYTES_PER_CHUNK = 128,
	BATCH_BYTES_PER_FILE = 2048,
};

bool batch_has_room(const struct kv *kv, uint64_t chunks)
{
	uint64_t needed = chunks * BATCH_BYTES_PER_CHUNK + BATCH_BYTES_PER_FILE;

	return needed <= BATCH_SIZE_MAX - BATCH_HEADER_SIZE - kv->batch.size;
}

/* The first row at or after the pair, as long as its first number is the same. */
static int pair_seek(struct kv *kv, const char *kind, uint64_t first, uint64_t second,
		     struct slice *ret_value, uint64_t *ret_second)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice start = key_pair(space, kind, first, second);
	struct slice key;
	int rc = kv_seek(kv, start, &key, ret_value);

	if (rc < 0)
		return rc;
	if (key.size != start.size || memcmp(key.data, start.data, start.size - 8) != 0)
		return -ERR_NOT_FOUND;
	*ret_second = get_be64(key.data + start.size - 8);
	return 0;
}

int catalogue_chunk_at(struct kv *kv, uint64_t inode, uint64_t offset, struct chunk_row *ret)
{
	struct slice value;
	const uint8_t *at;
	int rc;

	if (offset == UINT64_MAX)
		return -ERR_NOT_FOUND;
	rc = pair_seek(kv, "c", inode, offset + 1, &value, &ret->end);
	if (rc == 0)
		rc = row_check(value, CHUNK_SIZE, &at);
	if (rc < 0)
		return rc;
	ret->chunk = get_u64(at);
	ret->length = get_u32(at + 8);
	memcpy(ret->digest.bytes, at + 12, DIGEST_SIZE);
	return 0;
}

int chunk_put(struct kv *kv, uint64_t inode, const struct chunk_row *chunk)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[1 + CHUNK_SIZE] = { ROW_VERSION };
	uint8_t owner[1 + OWNER_SIZE] = { ROW_VERSION };
	int rc;

	put_u64(row + 1, chunk->chunk);
	put_u32(row + 9, chunk->length);
	memcpy(row + 13, chunk->digest.bytes, DIGEST_SIZE);
	rc = kv_put(kv, key_pair(space, "c", inode, chunk->end),
		    (struct slice){ row, sizeof(row) });
	if (rc < 0)
		return rc;
	put_u64(owner + 1, chunk->end);
	return kv_put(kv, key_pair(space, "k", chunk->chunk, inode),
		      (struct slice){ owner, sizeof(owner) });
}

int chunks_put(struct kv *kv, uint64_t inode, uint64_t end, struct chunk_list chunks)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < chunks.count; i++) {
		struct chunk_row row = chunks.rows[i];

		end += row.length;
		row.end = end;
		rc = chunk_put(kv, inode, &row);
	}
	return rc;
}

int chunk_remove(struct kv *kv, uint64_t inode, const struct chunk_row *chunk)
{
	uint8_t space[ROW_KEY_MAX];
	int rc = kv_remove(kv, key_pair(space, "c", inode, chunk->end));

	return rc < 0 ? rc : kv_remove(kv, key_pair(space, "k", chunk->chunk, inode));
}

int chunks_copy(struct kv *kv, uint64_t from, uint64_t to, unsigned int most, uint64_t *offset)
{
	struct chunk_row chunk;
	unsigned int count = 0;

	for (; count < most; count++) {
		int rc = catalogue_chunk_at(kv, from, *offset, &chunk);

		if (rc == -ERR_NOT_FOUND)
			break;
		if (rc == 0)
			rc = chunk_put(kv, to, &chunk);
		if (rc < 0)
			return rc;
		*offset = chunk.end;
	}
	return (int)count;
}

int chunk_owner(struct kv *kv, uint64_t chunk, uint64_t after, uint64_t *ret_inode,
		uint64_t *ret_end)
{
	struct slice value;
	const uint8_t *at;
	int rc = pair_seek(kv, "k", chunk, after + 1, &value, ret_inode);

	if (rc == 0)
		rc = row_check(value, OWNER_SIZE, &at);
	if (rc == 0)
		*ret_end = get_u64(at);
	return rc;
}

int chunk_is_shared(struct kv *kv, uint64_t chunk, uint64_t inode)
{
	uint64_t owner, end;
	int rc = row_expected(chunk_owner(kv, chunk, 0, &owner, &end));

	if (rc == 0 && owner == inode)
		rc = chunk_owner(kv, chunk, inode, &owner, &end);
	return rc == -ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 1;
}

int chunk_owner_next(struct kv *kv, struct chunk_owner *at)
{
	uint8_t space[ROW_KEY_MAX];
	uint64_t inode = at->inode + 1; /* 0: of the next chunk */
	struct slice start = key_pair(space, "k", at->chunk + (inode == 0), inode);
	struct slice key, value;
	int rc = kv_seek(kv, start, &key, &value);

	if (rc < 0)
		return rc;
	if (key.size != start.size || key.data[0] != 'k')
		return -ERR_NOT_FOUND;
	at->chunk = get_be64(key.data + 1);
	at->inode = get_be64(key.data + 9);
	return 0;
}

int chunk_next(struct kv *kv, uint64_t after, uint64_t *ret)
{
	struct chunk_owner at = { after, UINT64_MAX };
	int rc = chunk_owner_next(kv, &at);

	if (rc == 0)
		*ret = at.chunk;
	return rc;
}

int chunk_find(struct kv *kv, uint64_t chunk, struct chunk_row *ret)
{
	uint64_t inode, end;
	int rc = chunk_owner(kv, chunk, 0, &inode, &end);

	return rc < 0 ? rc : row_expected(catalogue_chunk_at(kv, inode, end - 1, ret));
}
