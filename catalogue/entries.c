#include "entries.h"

#include "path.h"

int entry_find(struct kv *kv, struct slice path, struct inode *ret_inode, struct entry *ret)
{
	struct slice parent;
	int rc = path_check(path);

	if (rc == 0)
		rc = catalogue_find(kv, path, ret_inode);
	if (rc < 0)
		return rc;
	path_split(path, &parent, &ret->name);
	return 0;
}

void entry_fill(const struct inode *inode, uint8_t copies_wanted, struct entry *ret)
{
	*ret = (struct entry){
		.name = ret->name,
		.inode = inode->id,
		.type = inode->type,
		.size = inode->size,
		.version = inode->version,
		.created_ms = inode->created_ms,
		.modified_ms = inode->modified_ms,
		.copies_wanted = copies_wanted,
		.chunk_size = inode->chunk_size,
		.chunks = inode->chunks,
		.digest_known = inode->digest_known,
		.digest = inode->digest,
	};
}
