#include "path.h"
#include "rows.h"

static int resolve(struct kv *kv, struct slice path, struct dirent_row *ret)
{
	struct slice name;
	int rc = catalogue_root(kv, &ret->inode);

	ret->type = ENTRY_DIRECTORY;
	while (rc == 0 && path_next(&path, &name)) {
		if (ret->type != ENTRY_DIRECTORY)
			return -ERR_NOT_DIR;
		rc = dirent_row_get(kv, ret->inode, name, ret);
	}
	return rc;
}

int catalogue_find(struct kv *kv, struct slice path, struct inode *ret)
{
	struct dirent_row row;
	int rc = resolve(kv, path, &row);

	return rc < 0 ? rc : row_expected(inode_get(kv, row.inode, ret));
}

int catalogue_find_parent(struct kv *kv, struct slice path, struct inode *ret,
			  struct slice *ret_name)
{
	struct slice parent;
	int rc;

	path_split(path, &parent, ret_name);
	rc = catalogue_find(kv, parent, ret);
	if (rc < 0)
		return rc;
	return ret->type == ENTRY_DIRECTORY ? 0 : -ERR_NOT_DIR;
}

/* ---- directories ---- */

/* Follows the path as far as it exists. *ret: the last that does; *ret_missing: the first name that
 * does not, or empty; `path`: what comes after it. */
static int descend(struct kv *kv, struct slice *path, struct dirent_row *ret,
		   struct slice *ret_missing)
{
	int rc = catalogue_root(kv, &ret->inode);

	ret->type = ENTRY_DIRECTORY;
	while (rc == 0 && path_next(path, ret_missing)) {
		if (ret->type != ENTRY_DIRECTORY)
			return -ERR_NOT_DIR;
		rc = dirent_row_get(kv, ret->inode, *ret_missing, ret);
		if (rc == -ERR_NOT_FOUND)
			return 0;
	}
	return rc;
}

static int directory_put(struct kv *kv, uint64_t parent, struct slice name,
			 const struct inode *directory)
{
	int rc = dirent_put(kv, parent, name, directory);

	return rc < 0 ? rc : inode_put(kv, directory);
}

int catalogue_mkdir(struct kv *kv, struct slice path, const struct new_entry *how,
		    next_id_fn *next_id, void *context)
{
	struct slice name, next;
	struct dirent_row at;
	struct inode inode;
	struct totals totals;
	int rc = descend(kv, &path, &at, &name);

	if (rc < 0)
		return rc;
	if (name.size == 0)
		return how->parents && at.type == ENTRY_DIRECTORY ? 0 : -ERR_EXISTS;
	if (path.size > 0 && !how->parents)
		return -ERR_NOT_FOUND;
	rc = row_expected(inode_get(kv, at.inode, &inode));
	if (rc == 0)
		rc = totals_get(kv, &totals);
	for (bool last = false; rc == 0 && !last; name = next) {
		uint64_t parent = inode.id;

		last = !path_next(&path, &next);
		inode = (struct inode){
			.id = last ? how->inode : next_id(context),
			.type = ENTRY_DIRECTORY,
			.version = 1,
			.created_ms = how->now_ms,
			.modified_ms = how->now_ms,
			.copies = last && how->copies ? how->copies : inode.copies,
		};
		rc = directory_put(kv, parent, name, &inode);
		totals_add(&totals, &inode);
	}
	return rc < 0 ? rc : totals_put(kv, &totals);
}

/* ---- files ---- */

/* Where a file is to be put, and what is there now. */
struct target {
	struct inode parent;
	struct slice name;
	bool occupied;
	struct inode old;
};

static int target_find(struct kv *kv, struct slice path, bool replace, struct target *ret)
{
	struct dirent_row row;
	int rc = catalogue_find_parent(kv, path, &ret->parent, &ret->name);

	if (rc < 0)
		return rc;
	if (ret->name.size == 0)
		return -ERR_IS_DIR;
	rc = dirent_row_get(kv, ret->parent.id, ret->name, &row);
	ret->occupied = rc == 0;
	if (rc == -ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	if (row.type == ENTRY_DIRECTORY)
		return -ERR_IS_DIR;
	if (!replace)
		return -ERR_EXISTS;
	return row_expected(inode_get(kv, row.inode, &ret->old));
}

int catalogue_check_file(struct kv *kv, struct slice path, bool replace, uint8_t *ret_copies)
{
	struct target target;
	int rc = target_find(kv, path, replace, &target);

	if (rc == 0)
		*ret_copies = target.parent.copies;
	return rc;
}

static void file_inode(const struct new_file *file, const struct target *target, struct inode *ret)
{
	*ret = (struct inode){
		.id = file->entry.inode,
		.type = ENTRY_FILE,
		.size = file->size,
		.version = target->occupied ? target->old.version + 1 : 1,
		.created_ms = target->occupied ? target->old.created_ms : file->entry.now_ms,
		.modified_ms = file->entry.now_ms,
		.copies = file->entry.copies ? file->entry.copies : target->parent.copies,
		.chunk_size = file->chunk_size,
		.chunks = file->chunk_count,
		.digest_known = true,
		.digest = file->digest,
	};
}

static int target_retire(struct kv *kv, const struct target *target, struct slice path,
			 struct moment when, struct totals *totals)
{
	struct trash_row row = {
		.since_ms = when.uptime_ms,
		.inode = target->old.id,
		.removed_ms = when.wall_ms,
		.type = ENTRY_FILE,
		.path = path,
	};
	int rc;

	if (!target->occupied)
		return 0;
	totals_add(&row.totals, &target->old);
	totals_subtract(totals, &row.totals);
	rc = dirent_remove(kv, target->parent.id, target->name, row.inode);
	return rc < 0 ? rc : trash_put(kv, &row);
}

int catalogue_put_file(struct kv *kv, struct slice path, const struct new_file *file,
		       uint64_t uptime_ms, struct inode *ret)
{
	struct target target;
	struct totals totals;
	int rc = target_find(kv, path, file->entry.replace, &target);

	if (rc < 0)
		return rc;
	if (!batch_has_room(kv, file->chunk_count))
		return -ERR_TOO_LARGE;
	rc = totals_get(kv, &totals);
	if (rc < 0)
		return rc;
	file_inode(file, &target, ret);
	totals_add(&totals, ret);
	rc = target_retire(kv, &target, path, (struct moment){ uptime_ms, file->entry.now_ms },
			   &totals);
	if (rc == 0)
		rc = dirent_put(kv, target.parent.id, target.name, ret);
	if (rc == 0)
		rc = inode_put(kv, ret);
	if (rc == 0)
		rc = chunks_put(kv, ret->id, 0,
				(struct chunk_list){ file->chunks, file->chunk_count });
	return rc < 0 ? rc : totals_put(kv, &totals);
}

int catalogue_set_copies(struct kv *kv, struct slice path, uint8_t copies, struct inode *ret)
{
	int rc = catalogue_find(kv, path, ret);

	if (rc < 0)
		return rc;
	ret->copies = copies;
	return inode_put(kv, ret);
}
