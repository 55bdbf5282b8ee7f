#include "path.h"
#include "rows.h"

/* How far a walk has come in one directory. */
struct level {
	uint64_t directory;
	size_t name_size;
	uint8_t name[NAME_SIZE_MAX];
};

/* Counts what hangs below a directory. Bounded memory: one name for each level of depth. */
static int subtree_count(struct kv *kv, uint64_t root, struct totals *sum)
{
	struct level levels[PATH_DEPTH_MAX];
	unsigned int depth = 1;

	levels[0] = (struct level){ .directory = root };
	while (depth > 0) {
		struct level *level = &levels[depth - 1];
		struct slice name = { level->name, level->name_size };
		struct inode inode;
		int rc = dirent_next(kv, level->directory, name, &name, &inode);

		if (rc == -ERR_NOT_FOUND) {
			depth--;
			continue;
		}
		if (rc < 0)
			return rc;
		memcpy(level->name, name.data, name.size);
		level->name_size = name.size;
		totals_add(sum, &inode);
		if (inode.type != ENTRY_DIRECTORY)
			continue;
		if (depth == PATH_DEPTH_MAX)
			return -ERR_BAD_FORMAT;
		levels[depth].directory = inode.id;
		levels[depth++].name_size = 0;
	}
	return 0;
}

static int remove_check(struct kv *kv, const struct inode *inode, unsigned int flags)
{
	if (inode->type != ENTRY_DIRECTORY)
		return flags & REMOVE_DIRECTORY ? -ERR_NOT_DIR : 0;
	if (!(flags & REMOVE_TREE) && !directory_is_empty(kv, inode->id))
		return -ERR_NOT_EMPTY;
	return 0;
}

int catalogue_remove(struct kv *kv, struct slice path, unsigned int flags, uint64_t uptime_ms,
		     struct removed *ret)
{
	struct totals totals, gone = { 0 };
	struct inode parent, inode;
	struct slice name;
	uint64_t id;
	int rc = catalogue_find_parent(kv, path, &parent, &name);

	if (rc < 0)
		return rc;
	if (name.size == 0)
		return -ERR_BAD_NAME;
	rc = dirent_get(kv, parent.id, name, &id);
	if (rc < 0)
		return rc;
	rc = row_expected(inode_get(kv, id, &inode));
	if (rc == 0)
		rc = remove_check(kv, &inode, flags);
	if (rc == 0)
		rc = totals_get(kv, &totals);
	if (rc == 0 && inode.type == ENTRY_DIRECTORY)
		rc = subtree_count(kv, id, &gone);
	if (rc < 0)
		return rc;
	totals_add(&gone, &inode);
	totals_subtract(&totals, &gone);
	*ret = (struct removed){ gone.files + gone.directories, gone.bytes };
	rc = dirent_remove(kv, parent.id, name);
	if (rc == 0)
		rc = garbage_put(kv, uptime_ms, id);
	return rc < 0 ? rc : totals_put(kv, &totals);
}
