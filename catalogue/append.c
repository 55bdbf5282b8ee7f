/* Appending to a file: new chunks take the place of its last ones. */
#include "rows.h"

/* The chunks of the file from the byte `base` on: how many. Its bytes before that must be whole
 * chunks. */
static int tail_count(struct kv *kv, const struct inode *file, uint64_t base, uint32_t *ret)
{
	struct chunk_row chunk;
	uint64_t at = base;

	*ret = 0;
	if (base > file->size)
		return -ERR_BAD_REQUEST;
	while (at < file->size) {
		int rc = row_expected(catalogue_chunk_at(kv, file->id, at, &chunk));

		if (rc < 0)
			return rc;
		if (chunk.end - chunk.length != at)
			return -ERR_BAD_REQUEST;
		at = chunk.end;
		++*ret;
	}
	return 0;
}

static int tail_check(struct kv *kv, const struct inode *file, const struct new_tail *tail,
		      uint32_t replaced)
{
	if (tail->size > UINT64_MAX - tail->base_size || tail->base_size + tail->size < file->size)
		return -ERR_BAD_REQUEST;
	if ((uint64_t)(file->chunks - replaced) + tail->chunk_count > tail->chunks_max ||
	    !batch_has_room(kv, (uint64_t)tail->chunk_count + replaced))
		return -ERR_TOO_LARGE;
	return 0;
}

/* What is replaced becomes a file without a name, which the collector frees as any other. */
static int tail_retire(struct kv *kv, const struct inode *file, const struct new_tail *tail,
		       uint64_t uptime_ms)
{
	struct inode garbage = {
		.id = tail->inode,
		.type = ENTRY_FILE,
		.size = file->size - tail->base_size,
		.version = 1,
		.created_ms = tail->now_ms,
		.modified_ms = tail->now_ms,
		.copies = file->copies,
		.chunk_size = file->chunk_size,
	};
	struct chunk_row chunk;
	int rc = 0;

	for (uint64_t at = tail->base_size; rc >= 0 && at < file->size; at = chunk.end) {
		rc = row_expected(catalogue_chunk_at(kv, file->id, at, &chunk));
		if (rc == 0)
			rc = chunk_put(kv, garbage.id, &chunk);
		if (rc == 0)
			rc = chunk_remove(kv, file->id, &chunk);
		garbage.chunks++;
	}
	if (rc >= 0 && garbage.chunks)
		rc = inode_put(kv, &garbage);
	if (rc >= 0 && garbage.chunks)
		rc = garbage_put(kv, uptime_ms, garbage.id);
	if (rc >= 0)
		rc = garbage_count(kv, garbage.chunks);
	return rc < 0 ? rc : 0;
}

static void inode_grow(struct inode *file, const struct new_tail *tail, uint32_t replaced)
{
	file->size = tail->base_size + tail->size;
	file->version++;
	file->modified_ms = tail->now_ms;
	file->chunks += tail->chunk_count - replaced;
	if (file->chunk_size == 0)
		file->chunk_size = tail->chunk_size;
	file->digest_known = tail->base_size == 0;
	file->digest = tail->base_size ? (struct digest){ { 0 } } : tail->digest;
}

int catalogue_append(struct kv *kv, struct inode *file, const struct new_tail *tail,
		     uint64_t uptime_ms)
{
	struct totals totals, before = { 0 };
	uint32_t replaced;
	int rc = tail_count(kv, file, tail->base_size, &replaced);

	if (rc == 0)
		rc = tail_check(kv, file, tail, replaced);
	if (rc == 0)
		rc = totals_get(kv, &totals);
	if (rc < 0 || (tail->size == 0 && replaced == 0))
		return rc;
	tree_touched(kv, file->id);
	totals_add(&before, file);
	totals_subtract(&totals, &before);
	rc = tail_retire(kv, file, tail, uptime_ms);
	inode_grow(file, tail, replaced);
	totals_add(&totals, file);
	if (rc == 0)
		rc = inode_put(kv, file);
	if (rc == 0)
		rc = chunks_put(kv, file->id, tail->base_size,
				(struct chunk_list){ tail->chunks, tail->chunk_count });
	return rc < 0 ? rc : totals_put(kv, &totals);
}
