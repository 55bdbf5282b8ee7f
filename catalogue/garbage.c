#include "rows.h"

/* The garbage row being worked on; what is moved out of it waits since the same time. */
struct garbage {
	uint64_t since_ms;
	uint64_t inode;
};

struct collector {
	struct kv *kv;
	const struct garbage_how *how;
	unsigned int steps;
	int64_t chunks; /* that went */
	uint64_t moved; /* the lowest inode that became garbage of its own */
};

int garbage_put(struct kv *kv, uint64_t since_ms, uint64_t inode)
{
	const uint8_t row[] = { ROW_VERSION };
	uint8_t space[ROW_KEY_MAX];
	struct inode flagged;
	int rc = row_expected(inode_get(kv, inode, &flagged));

	flagged.garbage = true;
	if (rc == 0)
		rc = inode_put(kv, &flagged);
	return rc < 0 ? rc
		      : kv_put(kv, key_pair(space, "g", since_ms, inode),
			       (struct slice){ row, sizeof(row) });
}

/* What hangs below garbage is garbage. */
static int inode_is_garbage(struct kv *kv, uint64_t inode)
{
	struct inode top;
	int rc = inode_top(kv, inode, &inode);

	if (rc == 0)
		rc = row_expected(inode_get(kv, inode, &top));
	return rc < 0 ? rc : top.garbage;
}

int chunk_is_garbage(struct kv *kv, uint64_t chunk)
{
	uint64_t owner = 0, end;
	int rc = chunk_owner(kv, chunk, owner, &owner, &end), garbage = 1;

	if (rc < 0)
		return rc;
	for (; rc == 0 && garbage == 1; rc = chunk_owner(kv, chunk, owner, &owner, &end))
		garbage = inode_is_garbage(kv, owner);
	return rc < 0 && rc != -ERR_NOT_FOUND ? rc : garbage;
}

static int garbage_remove(struct kv *kv, const struct garbage *garbage)
{
	uint8_t space[ROW_KEY_MAX];

	return kv_remove(kv, key_pair(space, "g", garbage->since_ms, garbage->inode));
}

/* The first row at or after the one given. */
static int garbage_seek(struct kv *kv, const struct garbage *from, struct garbage *ret)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice start = key_pair(space, "g", from->since_ms, from->inode);
	struct slice key, value;
	int rc = kv_seek(kv, start, &key, &value);

	if (rc < 0)
		return rc;
	if (key.size != start.size || key.data[0] != 'g')
		return -ERR_NOT_FOUND;
	ret->since_ms = get_be64(key.data + 1);
	ret->inode = get_be64(key.data + 9);
	return 0;
}

bool catalogue_has_garbage(struct kv *kv)
{
	struct garbage garbage = { 0 };

	return garbage_seek(kv, &garbage, &garbage) == 0;
}

static bool exhausted(const struct collector *collector)
{
	return collector->steps >= collector->how->most;
}

static bool held(const struct collector *collector, uint64_t inode)
{
	return collector->how->held && collector->how->held(collector->how->context, inode);
}

static int inode_remove(struct collector *collector, uint64_t inode)
{
	uint8_t space[ROW_KEY_MAX];

	collector->steps++;
	return kv_remove(collector->kv, key_number(space, "i", inode));
}

/* What cannot be looked up may be shared: nothing is said to be free then. */
static int chunk_free(struct collector *collector, uint64_t inode, const struct chunk_row *chunk)
{
	int rc = chunk_is_shared(collector->kv, chunk->chunk, inode);

	if (rc < 0)
		return rc;
	collector->steps++;
	collector->chunks++;
	if (rc == 0)
		collector->how->each(collector->how->context, chunk->chunk);
	return chunk_remove(collector->kv, inode, chunk);
}

/* 1: all of it is gone, 0: the steps ran out before. */
static int file_free(struct collector *collector, uint64_t inode)
{
	struct chunk_row chunk = { 0 };
	int rc = 0;

	while (rc == 0 && !exhausted(collector)) {
		rc = catalogue_chunk_at(collector->kv, inode, chunk.end, &chunk);
		if (rc == -ERR_NOT_FOUND) {
			rc = inode_remove(collector, inode);
			return rc < 0 ? rc : 1;
		}
		if (rc == 0)
			rc = chunk_free(collector, inode, &chunk);
	}
	return rc;
}

/* Files in a directory are freed where they are; directories and files that are being read become
 * garbage of their own. So nothing recurses, and a tree of any size goes in small steps. */
static int child_free(struct collector *collector, const struct garbage *garbage,
		      const struct inode *child)
{
	int rc;

	if (child->type == ENTRY_FILE && !held(collector, child->id))
		return file_free(collector, child->id);
	collector->steps++;
	if (child->id < collector->moved)
		collector->moved = child->id;
	rc = garbage_put(collector->kv, garbage->since_ms, child->id);
	return rc < 0 ? rc : 1;
}

static int directory_free(struct collector *collector, const struct garbage *garbage)
{
	uint8_t last[NAME_SIZE_MAX];
	struct slice name = { 0 };
	struct inode child;
	int rc;

	while (!exhausted(collector)) {
		rc = dirent_next(collector->kv, garbage->inode, name, &name, &child);
		if (rc == -ERR_NOT_FOUND) {
			rc = inode_remove(collector, garbage->inode);
			return rc < 0 ? rc : 1;
		}
		if (rc < 0)
			return rc;
		memcpy(last, name.data, name.size);
		name.data = last;
		rc = child_free(collector, garbage, &child);
		if (rc <= 0)
			return rc;
		rc = dirent_remove(collector->kv, garbage->inode, name, child.id);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int garbage_free(struct collector *collector, const struct garbage *garbage)
{
	struct inode inode;
	int rc = inode_get(collector->kv, garbage->inode, &inode);

	if (rc == 0)
		rc = inode.type == ENTRY_DIRECTORY ? directory_free(collector, garbage)
						   : file_free(collector, inode.id);
	if (rc == 1)
		rc = garbage_remove(collector->kv, garbage);
	return row_expected(rc);
}

static int collect(struct collector *collector)
{
	const struct garbage_how *how = collector->how;
	struct garbage garbage = { 0 };

	while (!exhausted(collector)) {
		int rc = garbage_seek(collector->kv, &garbage, &garbage);

		collector->moved = UINT64_MAX;
		if (rc == -ERR_NOT_FOUND || (rc == 0 && garbage.since_ms >= how->before_ms))
			break;
		if (rc == 0 && !held(collector, garbage.inode))
			rc = garbage_free(collector, &garbage);
		if (rc < 0)
			return rc;
		garbage.inode =
			collector->moved < garbage.inode ? collector->moved : garbage.inode + 1;
	}
	return 0;
}

int catalogue_collect(struct kv *kv, const struct garbage_how *how)
{
	struct collector collector = { .kv = kv, .how = how };
	int rc = collect(&collector);

	if (rc == 0)
		rc = garbage_count(kv, -collector.chunks);
	return rc < 0 ? rc : (int)collector.steps;
}
