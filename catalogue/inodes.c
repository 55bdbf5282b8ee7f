#include "rows.h"

/* ---- "i": inodes ---- */

enum { INODE_SIZE = 71 };

int inode_get(struct kv *kv, uint64_t id, struct inode *ret)
{
	uint8_t space[ROW_KEY_MAX];
	const uint8_t *at;
	int rc = row_get(kv, key_number(space, "i", id), INODE_SIZE, &at);

	if (rc < 0)
		return rc;
	*ret = (struct inode){
		.id = id,
		.type = at[0],
		.copies = at[1],
		.digest_known = at[2],
		.size = get_u64(at + 3),
		.version = get_u64(at + 11),
		.created_ms = get_u64(at + 19),
		.modified_ms = get_u64(at + 27),
		.mode = get_u32(at + 35),
		.uid = get_u32(at + 39),
		.gid = get_u32(at + 43),
		.chunk_size = get_u32(at + 47),
		.chunks = get_u32(at + 51),
	};
	memcpy(ret->digest.bytes, at + 55, DIGEST_SIZE);
	return 0;
}

int inode_put(struct kv *kv, const struct inode *inode)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[1 + INODE_SIZE] = { ROW_VERSION };
	uint8_t *at = row + 1;

	at[0] = inode->type;
	at[1] = inode->copies;
	at[2] = inode->digest_known;
	put_u64(at + 3, inode->size);
	put_u64(at + 11, inode->version);
	put_u64(at + 19, inode->created_ms);
	put_u64(at + 27, inode->modified_ms);
	put_u32(at + 35, inode->mode);
	put_u32(at + 39, inode->uid);
	put_u32(at + 43, inode->gid);
	put_u32(at + 47, inode->chunk_size);
	put_u32(at + 51, inode->chunks);
	memcpy(at + 55, inode->digest.bytes, DIGEST_SIZE);
	return kv_put(kv, key_number(space, "i", inode->id), (struct slice){ row, sizeof(row) });
}

/* ---- "d": directory entries ---- */

enum { DIRENT_SIZE = 9 };

int dirent_row_get(struct kv *kv, uint64_t parent, struct slice name, struct dirent_row *ret)
{
	uint8_t space[ROW_KEY_MAX];
	const uint8_t *at;
	int rc = row_get(kv, key_dirent(space, parent, name), DIRENT_SIZE, &at);

	if (rc < 0)
		return rc;
	ret->inode = get_u64(at);
	ret->type = at[8];
	return 0;
}

int dirent_get(struct kv *kv, uint64_t parent, struct slice name, uint64_t *ret_inode)
{
	struct dirent_row row;
	int rc = dirent_row_get(kv, parent, name, &row);

	if (rc == 0)
		*ret_inode = row.inode;
	return rc;
}

int dirent_put(struct kv *kv, uint64_t parent, struct slice name, const struct inode *inode)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[1 + DIRENT_SIZE] = { ROW_VERSION };

	put_u64(row + 1, inode->id);
	row[9] = inode->type;
	return kv_put(kv, key_dirent(space, parent, name), (struct slice){ row, sizeof(row) });
}

int dirent_remove(struct kv *kv, uint64_t parent, struct slice name)
{
	uint8_t space[ROW_KEY_MAX];

	return kv_remove(kv, key_dirent(space, parent, name));
}

/* The first row of the directory after the name; no name is empty, so "" comes before all. */
static int dirent_seek(struct kv *kv, uint64_t parent, struct slice after, struct slice *ret_name,
		       struct slice *ret_value)
{
	uint8_t space[ROW_KEY_MAX], next[KV_KEY_SIZE_MAX + 1];
	struct slice key = key_dirent(space, parent, after);
	struct slice prefix = { key.data, key.size - after.size };
	struct slice found;
	int rc = kv_seek(kv, kv_after(key, next), &found, ret_value);

	if (rc < 0)
		return rc;
	if (!key_begins(found, prefix))
		return -ERR_NOT_FOUND;
	*ret_name = (struct slice){ found.data + prefix.size, found.size - prefix.size };
	return 0;
}

int dirent_next(struct kv *kv, uint64_t parent, struct slice after, struct slice *ret_name,
		struct inode *ret)
{
	const uint8_t *at;
	struct slice value;
	int rc = dirent_seek(kv, parent, after, ret_name, &value);

	if (rc == 0)
		rc = row_check(value, DIRENT_SIZE, &at);
	if (rc < 0)
		return rc;
	return row_expected(inode_get(kv, get_u64(at), ret));
}

bool directory_is_empty(struct kv *kv, uint64_t inode)
{
	struct slice name, value;

	return dirent_seek(kv, inode, (struct slice){ 0 }, &name, &value) == -ERR_NOT_FOUND;
}

/* ---- "c" and "k": chunks of files ---- */

enum { CHUNK_SIZE = 8 + 4 + DIGEST_SIZE, OWNER_SIZE = 8 + 4 };

static void chunk_decode(const uint8_t *at, struct chunk_row *ret)
{
	ret->chunk = get_u64(at);
	ret->length = get_u32(at + 8);
	memcpy(ret->digest.bytes, at + 12, DIGEST_SIZE);
}

int catalogue_chunk(struct kv *kv, uint64_t inode, uint32_t index, struct chunk_row *ret)
{
	uint8_t space[ROW_KEY_MAX];
	const uint8_t *at;
	int rc = row_get(kv, key_pair(space, "c", inode, index), CHUNK_SIZE, &at);

	if (rc == 0)
		chunk_decode(at, ret);
	return rc;
}

int chunk_first(struct kv *kv, uint64_t inode, uint32_t *ret_index, struct chunk_row *ret)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice prefix = key_number(space, "c", inode);
	struct slice key, value;
	const uint8_t *at;
	int rc = kv_seek(kv, prefix, &key, &value);

	if (rc < 0)
		return rc;
	if (key.size != prefix.size + 8 || !key_begins(key, prefix))
		return -ERR_NOT_FOUND;
	rc = row_check(value, CHUNK_SIZE, &at);
	if (rc < 0)
		return rc;
	*ret_index = (uint32_t)get_be64(key.data + prefix.size);
	chunk_decode(at, ret);
	return 0;
}

int chunk_put(struct kv *kv, uint64_t inode, uint32_t index, const struct chunk_row *chunk)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[1 + CHUNK_SIZE] = { ROW_VERSION };
	uint8_t owner[1 + OWNER_SIZE] = { ROW_VERSION };
	int rc;

	put_u64(row + 1, chunk->chunk);
	put_u32(row + 9, chunk->length);
	memcpy(row + 13, chunk->digest.bytes, DIGEST_SIZE);
	rc = kv_put(kv, key_pair(space, "c", inode, index), (struct slice){ row, sizeof(row) });
	if (rc < 0)
		return rc;
	put_u64(owner + 1, inode);
	put_u32(owner + 9, index);
	return kv_put(kv, key_number(space, "k", chunk->chunk),
		      (struct slice){ owner, sizeof(owner) });
}

int chunk_remove(struct kv *kv, uint64_t inode, uint32_t index, uint64_t chunk)
{
	uint8_t space[ROW_KEY_MAX];
	int rc = kv_remove(kv, key_pair(space, "c", inode, index));

	return rc < 0 ? rc : kv_remove(kv, key_number(space, "k", chunk));
}

int chunk_owner(struct kv *kv, uint64_t chunk, uint64_t *ret_inode, uint32_t *ret_index)
{
	uint8_t space[ROW_KEY_MAX];
	const uint8_t *at;
	int rc = row_get(kv, key_number(space, "k", chunk), OWNER_SIZE, &at);

	if (rc < 0)
		return rc;
	*ret_inode = get_u64(at);
	*ret_index = get_u32(at + 8);
	return 0;
}
