#include "rows.h"

/* ---- "i": inodes ---- */

enum { INODE_SIZE = 71, FLAG_DIGEST = 1, FLAG_GARBAGE = 2 };

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
		.digest_known = at[2] & FLAG_DIGEST,
		.garbage = at[2] & FLAG_GARBAGE,
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
	at[2] = (uint8_t)((inode->digest_known ? FLAG_DIGEST : 0) |
			  (inode->garbage ? FLAG_GARBAGE : 0));
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
