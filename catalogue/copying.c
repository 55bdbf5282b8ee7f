/* Copying: files and trees, in steps. */
#include <stdlib.h>

#include "moving.h"
#include "path.h"

/* A directory whose entries are to be copied, and where to. */
struct pair {
	uint64_t from, to;
	uint32_t reach; /* size of its path below the source */
	uint32_t depth;
};

/* A file whose chunks are being copied; it may take more than one step. */
struct file_pair {
	uint64_t from, to; /* from 0: none */
	uint64_t offset;
	uint64_t size, version;
};

struct tree_copy {
	struct move how; /* its paths are in `text` */
	next_id_fn *next_id;
	void *context;
	struct inode source;
	uint64_t root; /* of what is made */
	struct totals totals;

	struct file_pair file;
	struct pair directory; /* from 0: none */
	size_t name_size;      /* of its entry that came last */
	uint8_t name[NAME_SIZE_MAX];
	struct pair *waiting; /* the last one is next */
	size_t count, capacity;
	size_t reach; /* the longest path so far, below the source */
	unsigned int depth;
	uint8_t text[];
};

enum { BUILT_SIZE = TOTALS_SIZE };

/* What is there so far, so that it can be counted as garbage after a restart. */
static int built_put(struct kv *kv, const struct tree_copy *copy)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[1 + BUILT_SIZE] = { ROW_VERSION };

	totals_encode(&copy->totals, row + 1);
	return kv_put(kv, key_number(space, "b", copy->root), (struct slice){ row, sizeof(row) });
}

static int built_remove(struct kv *kv, uint64_t root)
{
	uint8_t space[ROW_KEY_MAX];

	return kv_remove(kv, key_number(space, "b", root));
}

/* ---- one entry ---- */

static int pair_push(struct tree_copy *copy, struct pair pair)
{
	if (copy->count == copy->capacity) {
		size_t capacity = copy->capacity ? copy->capacity * 2 : 64;
		struct pair *waiting = realloc(copy->waiting, capacity * sizeof(*waiting));

		if (!waiting)
			return -ERR_NO_MEMORY;
		copy->waiting = waiting;
		copy->capacity = capacity;
	}
	copy->waiting[copy->count++] = pair;
	return 0;
}

/* The same, but new. */
static struct inode twin_of(const struct tree_copy *copy, const struct inode *inode)
{
	struct inode twin = *inode;

	twin.id = copy->next_id(copy->context);
	twin.version = 1;
	twin.created_ms = twin.modified_ms = copy->how.when.wall_ms;
	return twin;
}

/* Chunks are counted as they come. */
static void twin_count(struct tree_copy *copy, const struct inode *twin)
{
	copy->totals.directories += twin->type == ENTRY_DIRECTORY;
	copy->totals.files += twin->type == ENTRY_FILE;
	copy->totals.bytes += twin->size;
}

static int twin_begin(struct tree_copy *copy, const struct inode *inode, const struct inode *twin,
		      struct pair below)
{
	twin_count(copy, twin);
	if (inode->type == ENTRY_DIRECTORY)
		return pair_push(copy, below);
	copy->file = (struct file_pair){
		.from = inode->id,
		.to = twin->id,
		.size = inode->size,
		.version = inode->version,
	};
	return 0;
}

static int entry_begin(struct kv *kv, struct tree_copy *copy, const struct inode *inode,
		       struct slice name)
{
	const struct pair *directory = &copy->directory;
	struct inode twin = twin_of(copy, inode);
	struct pair below = {
		.from = inode->id,
		.to = twin.id,
		.reach = directory->reach + (uint32_t)name.size + 1,
		.depth = directory->depth + 1,
	};
	int rc = inode_put(kv, &twin);

	if (rc == 0)
		rc = dirent_put(kv, directory->to, name, &twin);
	if (rc == 0)
		rc = twin_begin(copy, inode, &twin, below);
	copy->reach = below.reach > copy->reach ? below.reach : copy->reach;
	copy->depth = below.depth > copy->depth ? below.depth : copy->depth;
	return rc;
}

/* Returns the number of steps taken. */
static int directory_next(struct kv *kv, struct tree_copy *copy)
{
	struct slice name = { copy->name, copy->name_size };
	struct inode inode;
	int rc;

	rc = dirent_next(kv, copy->directory.from, name, &name, &inode);
	if (rc == -ERR_NOT_FOUND) {
		copy->directory.from = 0;
		return 1;
	}
	if (rc < 0)
		return rc;
	memcpy(copy->name, name.data, name.size);
	copy->name_size = name.size;
	name.data = copy->name;
	rc = entry_begin(kv, copy, &inode, name);
	return rc < 0 ? rc : 1;
}

static int file_next(struct kv *kv, struct tree_copy *copy, unsigned int most)
{
	struct file_pair *file = &copy->file;
	int count = chunks_copy(kv, file->from, file->to, most, &file->offset);

	if (count < 0)
		return count;
	copy->totals.chunks += (uint64_t)count;
	if ((unsigned int)count < most)
		file->from = 0;
	return count;
}

/* ---- steps ---- */

/* What was reachable when the last step ended need not be any more. */
static int source_check(struct kv *kv, const struct tree_copy *copy)
{
	uint64_t at = copy->file.from ? copy->file.from : copy->directory.from;
	struct inode inode;
	uint64_t root;
	int rc = catalogue_root(kv, &root);

	if (rc == 0)
		rc = inode_is_below(kv, copy->source.id, root);
	if (rc == 1 && at)
		rc = inode_is_below(kv, at, copy->source.id);
	if (rc <= 0)
		return rc < 0 ? rc : -ERR_STALE;
	if (!copy->file.from)
		return 0;
	rc = inode_get(kv, at, &inode);
	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? -ERR_STALE : rc;
	return inode.version == copy->file.version && inode.size == copy->file.size ? 0
										    : -ERR_STALE;
}

static int directory_begin(struct kv *kv, struct tree_copy *copy)
{
	int rc;

	copy->directory = copy->waiting[--copy->count];
	copy->name_size = 0;
	rc = inode_is_below(kv, copy->directory.from, copy->source.id);
	return rc == 0 ? -ERR_STALE : rc;
}

int copy_step(struct kv *kv, struct tree_copy *copy, unsigned int most)
{
	unsigned int steps = 0;
	int rc = source_check(kv, copy);

	while (rc >= 0 && steps < most) {
		if (copy->file.from)
			rc = file_next(kv, copy, most - steps);
		else if (copy->directory.from)
			rc = directory_next(kv, copy);
		else if (copy->count)
			rc = directory_begin(kv, copy);
		else
			break;
		steps += rc > 0 ? (unsigned int)rc : 0;
	}
	if (rc >= 0)
		rc = built_put(kv, copy);
	if (rc < 0)
		return rc;
	return !copy->file.from && !copy->directory.from && !copy->count;
}

/* ---- beginning and end ---- */

static struct tree_copy *copy_new(const struct move *how)
{
	struct tree_copy *copy = calloc(1, sizeof(*copy) + how->path.size + how->to.size);

	if (!copy)
		return NULL;
	copy->how = *how;
	memcpy(copy->text, how->path.data, how->path.size);
	memcpy(copy->text + how->path.size, how->to.data, how->to.size);
	copy->how.path.data = copy->text;
	copy->how.to.data = copy->text + how->path.size;
	return copy;
}

static int copy_destination(struct kv *kv, const struct tree_copy *copy, struct destination *ret)
{
	struct slice above, name;
	int rc;

	path_split(copy->how.path, &above, &name);
	rc = destination_find(kv, &copy->how, &copy->source, name, ret);
	if (rc == 0)
		rc = destination_check(kv, ret, &copy->source, copy->how.flags & COPY_REPLACE);
	/* Nothing is gained by replacing a file with itself. */
	if (rc == 0 && ret->occupied && ret->old.id == copy->source.id)
		rc = -ERR_EXISTS;
	return rc;
}

static int copy_check(struct kv *kv, struct tree_copy *copy)
{
	struct destination destination;
	int rc = catalogue_find(kv, copy->how.path, &copy->source);

	if (rc < 0)
		return rc;
	if (copy->source.type == ENTRY_DIRECTORY && !(copy->how.flags & COPY_TREE))
		return -ERR_IS_DIR;
	rc = copy_destination(kv, copy, &destination);
	if (rc == 0)
		rc = subtree_fits(kv, &copy->source, copy->how.path,
				  destination_path(&destination));
	return rc;
}

int copy_begin(struct kv *kv, const struct move *how, next_id_fn *next_id, void *context,
	       struct tree_copy **ret)
{
	struct tree_copy *copy = copy_new(how);
	struct inode twin;
	int rc = copy ? 0 : -ERR_NO_MEMORY;

	if (rc < 0)
		return rc;
	copy->next_id = next_id;
	copy->context = context;
	rc = copy_check(kv, copy);
	if (rc < 0)
		goto out;
	twin = twin_of(copy, &copy->source);
	copy->root = twin.id;
	rc = twin_begin(copy, &copy->source, &twin,
			(struct pair){ .from = copy->source.id, .to = twin.id });
	if (rc == 0)
		rc = inode_put(kv, &twin);
	if (rc == 0)
		rc = built_put(kv, copy);
out:
	if (rc < 0)
		copy_free(copy);
	else
		*ret = copy;
	return rc;
}

static bool copy_fits(const struct tree_copy *copy, const struct destination *destination)
{
	struct slice rest = destination_path(destination), name;
	unsigned int depth = copy->depth;

	while (path_next(&rest, &name))
		depth++;
	return depth <= PATH_DEPTH_MAX && destination->path_size + copy->reach <= PATH_SIZE_MAX;
}

static int link_apply(struct kv *kv, const struct tree_copy *copy,
		      const struct destination *destination, struct inode *inode)
{
	struct totals totals;
	int rc = totals_get(kv, &totals);

	if (rc < 0)
		return rc;
	if (destination->occupied) {
		inode->version = destination->old.version + 1;
		inode->created_ms = destination->old.created_ms;
	}
	rc = destination_clear(kv, destination, copy->how.when, &totals);
	if (rc == 0)
		rc = inode_put(kv, inode);
	if (rc == 0)
		rc = dirent_put(kv, destination->parent.id, destination->name, inode);
	if (rc == 0)
		rc = built_remove(kv, copy->root);
	totals_sum(&totals, &copy->totals);
	return rc < 0 ? rc : totals_put(kv, &totals);
}

int copy_link(struct kv *kv, struct tree_copy *copy, struct moment when, struct moved *ret)
{
	struct destination destination;
	struct inode inode;
	int rc = copy_destination(kv, copy, &destination);

	if (rc == 0 && !copy_fits(copy, &destination))
		rc = -ERR_NAME_TOO_LONG;
	if (rc == 0)
		rc = row_expected(inode_get(kv, copy->root, &inode));
	if (rc < 0)
		return rc;
	copy->how.when = when;
	rc = link_apply(kv, copy, &destination, &inode);
	moved_fill(&destination, &inode, ret);
	return rc;
}

static int built_drop(struct kv *kv, uint64_t root, uint64_t chunks, uint64_t uptime_ms)
{
	int rc = built_remove(kv, root);

	if (rc == 0)
		rc = garbage_put(kv, uptime_ms, root);
	return rc < 0 ? rc : garbage_count(kv, (int64_t)chunks);
}

int copy_drop(struct kv *kv, struct tree_copy *copy, uint64_t uptime_ms)
{
	return built_drop(kv, copy->root, copy->totals.chunks, uptime_ms);
}

int copies_drop(struct kv *kv, uint64_t uptime_ms)
{
	struct slice key, value;
	int count = 0;

	for (;;) {
		struct totals totals;
		const uint8_t *at;
		int rc = kv_seek(kv, slice_of("b"), &key, &value);

		if (rc == -ERR_NOT_FOUND || (rc == 0 && key.data[0] != 'b'))
			return count;
		if (rc == 0)
			rc = key.size == 9 ? row_check(value, BUILT_SIZE, &at) : -ERR_BAD_FORMAT;
		if (rc < 0)
			return rc;
		totals_decode(at, &totals);
		rc = built_drop(kv, get_be64(key.data + 1), totals.chunks, uptime_ms);
		if (rc < 0)
			return rc;
		count++;
	}
}

const struct totals *copy_totals(const struct tree_copy *copy)
{
	return &copy->totals;
}

struct slice copy_source(const struct tree_copy *copy)
{
	return copy->how.path;
}

void copy_free(struct tree_copy *copy)
{
	if (!copy)
		return;
	free(copy->waiting);
	free(copy);
}
