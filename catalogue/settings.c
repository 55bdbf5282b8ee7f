#include "rows.h"

static int setting_key(const char *name, uint8_t *space, struct slice *ret)
{
	size_t size = strlen(name);

	if (size > SETTING_NAME_MAX)
		return -ERR_TOO_LARGE;
	space[0] = 's';
	memcpy(space + 1, name, size);
	*ret = (struct slice){ space, size + 1 };
	return 0;
}

int setting_get(struct kv *kv, const char *name, struct slice *ret)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice key, value;
	int rc = setting_key(name, space, &key);

	if (rc == 0)
		rc = kv_get(kv, key, &value);
	if (rc < 0)
		return rc;
	if (value.size == 0 || value.data[0] != ROW_VERSION)
		return -ERR_BAD_FORMAT;
	*ret = (struct slice){ value.data + 1, value.size - 1 };
	return 0;
}

enum { SETTING_VALUE_MAX = 1024 };

int setting_put(struct kv *kv, const char *name, struct slice value)
{
	uint8_t row[1 + SETTING_VALUE_MAX] = { ROW_VERSION };
	uint8_t space[ROW_KEY_MAX];
	struct slice key;
	int rc = setting_key(name, space, &key);

	if (rc < 0)
		return rc;
	if (value.size > SETTING_VALUE_MAX)
		return -ERR_TOO_LARGE;
	if (value.size)
		memcpy(row + 1, value.data, value.size);
	return kv_put(kv, key, (struct slice){ row, value.size + 1 });
}

int setting_find_u64(struct kv *kv, const char *name, uint64_t *ret)
{
	struct slice value;
	int rc = setting_get(kv, name, &value);

	if (rc == 0 && value.size != 8)
		rc = -ERR_BAD_FORMAT;
	if (rc == 0)
		*ret = get_u64(value.data);
	return rc;
}

uint64_t setting_get_u64(struct kv *kv, const char *name, uint64_t absent)
{
	uint64_t value;

	return setting_find_u64(kv, name, &value) == 0 ? value : absent;
}

int setting_put_u64(struct kv *kv, const char *name, uint64_t value)
{
	uint8_t bytes[8];

	put_u64(bytes, value);
	return setting_put(kv, name, (struct slice){ bytes, sizeof(bytes) });
}

/* ---- counts ---- */

void totals_encode(const struct totals *totals, uint8_t *ret)
{
	put_u64(ret, totals->files);
	put_u64(ret + 8, totals->directories);
	put_u64(ret + 16, totals->bytes);
	put_u64(ret + 24, totals->chunks);
}

void totals_decode(const uint8_t *at, struct totals *ret)
{
	ret->files = get_u64(at);
	ret->directories = get_u64(at + 8);
	ret->bytes = get_u64(at + 16);
	ret->chunks = get_u64(at + 24);
}

int totals_get(struct kv *kv, struct totals *ret)
{
	struct slice value;
	int rc = setting_get(kv, SETTING_TOTALS, &value);

	if (rc < 0)
		return row_expected(rc);
	if (value.size != TOTALS_SIZE)
		return -ERR_BAD_FORMAT;
	totals_decode(value.data, ret);
	return 0;
}

int totals_put(struct kv *kv, const struct totals *totals)
{
	uint8_t bytes[TOTALS_SIZE];

	totals_encode(totals, bytes);
	return setting_put(kv, SETTING_TOTALS, (struct slice){ bytes, sizeof(bytes) });
}

void totals_add(struct totals *totals, const struct inode *inode)
{
	if (inode->type == ENTRY_DIRECTORY) {
		totals->directories++;
		return;
	}
	totals->files++;
	totals->bytes += inode->size;
	totals->chunks += inode->chunks;
}

void totals_sum(struct totals *totals, const struct totals *more)
{
	totals->files += more->files;
	totals->directories += more->directories;
	totals->bytes += more->bytes;
	totals->chunks += more->chunks;
}

void totals_subtract(struct totals *totals, const struct totals *less)
{
	totals->files -= less->files;
	totals->directories -= less->directories;
	totals->bytes -= less->bytes;
	totals->chunks -= less->chunks;
}

int garbage_chunks(struct kv *kv, uint64_t *ret)
{
	int rc = setting_find_u64(kv, SETTING_GARBAGE, ret);

	if (rc == -ERR_NOT_FOUND)
		*ret = 0;
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

int garbage_count(struct kv *kv, int64_t change)
{
	uint64_t chunks;
	int rc = change ? garbage_chunks(kv, &chunks) : 0;

	if (rc < 0 || change == 0)
		return rc;
	return setting_put_u64(kv, SETTING_GARBAGE, chunks + (uint64_t)change);
}

/* ---- the root ---- */

int catalogue_root(struct kv *kv, uint64_t *ret)
{
	int rc = kv->root ? 0 : setting_find_u64(kv, SETTING_ROOT, &kv->root);

	*ret = kv->root;
	return row_expected(rc);
}

static int root_put(struct kv *kv, const struct inode *root)
{
	const struct totals nothing = { 0 };
	int rc = inode_put(kv, root);

	if (rc == 0)
		rc = setting_put_u64(kv, SETTING_ROOT, root->id);
	if (rc == 0)
		rc = totals_put(kv, &nothing);
	kv->root = root->id;
	return rc;
}

int catalogue_format(struct kv *kv, const struct id *cluster, const char *cluster_name)
{
	const struct inode root = { .id = INODE_ROOT, .type = ENTRY_DIRECTORY, .version = 1 };
	int rc = root_put(kv, &root);

	if (rc == 0)
		rc = setting_put(kv, SETTING_CLUSTER, (struct slice){ cluster->bytes, ID_SIZE });
	if (rc == 0)
		rc = setting_put(kv, SETTING_CLUSTER_NAME, slice_of(cluster_name));
	return rc;
}

int catalogue_empty(struct kv *kv, uint64_t root, struct moment when, struct removed *ret)
{
	struct totals totals;
	struct inode inode;
	uint64_t old = 0;
	int rc = totals_get(kv, &totals);

	if (rc == 0)
		rc = catalogue_root(kv, &old);
	if (rc == 0)
		rc = row_expected(inode_get(kv, old, &inode));
	if (rc == 0)
		rc = catalogue_purge_all(kv, ret);
	if (rc < 0)
		return rc;
	ret->entries += totals.files + totals.directories;
	ret->bytes += totals.bytes;
	inode.id = root;
	inode.modified_ms = when.wall_ms;
	rc = garbage_put(kv, when.uptime_ms, old);
	if (rc == 0)
		rc = garbage_count(kv, (int64_t)totals.chunks);
	return rc < 0 ? rc : root_put(kv, &inode);
}
