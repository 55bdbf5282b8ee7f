/* Removing, and what there is below a name. */
#include "path.h"
#include "rows.h"

static unsigned int depth_of(struct slice path)
{
	unsigned int depth = 0;
	struct slice name;

	while (path_next(&path, &name))
		depth++;
	return depth;
}

/* Entries that are looked at. So renaming takes a few milliseconds at most; what lies deep in a
 * larger tree may come to lie too deep to be named, until something above it moves again. */
enum { FITS_LOOK_MAX = 4096 };

int subtree_fits(struct kv *kv, const struct inode *inode, struct slice from, struct slice to)
{
	unsigned int depth = depth_of(to);
	struct inode below;
	struct walk walk;

	if (inode->type != ENTRY_DIRECTORY || (to.size <= from.size && depth <= depth_of(from)))
		return 0;
	walk_begin(&walk, inode->id);
	for (int i = 0; i < FITS_LOOK_MAX; i++) {
		int rc = walk_next(kv, &walk, &below);

		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? 0 : rc;
		if (depth + walk.depth + 1 > PATH_DEPTH_MAX ||
		    to.size + walk.reach + walk.name_size + 1 > PATH_SIZE_MAX)
			return -ERR_NAME_TOO_LONG;
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

int catalogue_remove(struct kv *kv, struct slice path, unsigned int flags, struct moment when,
		     struct removed *ret)
{
	struct trash_row row = { .since_ms = when.uptime_ms,
				 .removed_ms = when.wall_ms,
				 .path = path };
	struct inode parent, inode;
	struct totals totals;
	struct slice name;
	int rc = catalogue_find_parent(kv, path, &parent, &name);

	if (rc < 0)
		return rc;
	if (name.size == 0)
		return -ERR_BAD_NAME;
	rc = dirent_get(kv, parent.id, name, &row.inode);
	if (rc < 0)
		return rc;
	rc = row_expected(inode_get(kv, row.inode, &inode));
	if (rc == 0)
		rc = remove_check(kv, &inode, flags);
	if (rc == 0)
		rc = totals_get(kv, &totals);
	if (rc == 0)
		rc = subtree_count(kv, &inode, &row.totals);
	if (rc < 0)
		return rc;
	row.type = inode.type;
	*ret = (struct removed){ row.totals.files + row.totals.directories, row.totals.bytes };
	totals_subtract(&totals, &row.totals);
	rc = dirent_remove(kv, parent.id, name, row.inode);
	if (rc == 0)
		rc = trash_put(kv, &row);
	return rc < 0 ? rc : totals_put(kv, &totals);
}
