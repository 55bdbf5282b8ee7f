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

enum { TOTALS_SIZE = 4 * 8 };

int totals_get(struct kv *kv, struct totals *ret)
{
	struct slice value;
	int rc = setting_get(kv, SETTING_TOTALS, &value);

	if (rc < 0)
		return row_expected(rc);
	if (value.size != TOTALS_SIZE)
		return -ERR_BAD_FORMAT;
	ret->files = get_u64(value.data);
	ret->directories = get_u64(value.data + 8);
	ret->bytes = get_u64(value.data + 16);
	ret->chunks = get_u64(value.data + 24);
	return 0;
}

int totals_put(struct kv *kv, const struct totals *totals)
{
	uint8_t bytes[TOTALS_SIZE];

	put_u64(bytes, totals->files);
	put_u64(bytes + 8, totals->directories);
	put_u64(bytes + 16, totals->bytes);
	put_u64(bytes + 24, totals->chunks);
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

void totals_subtract(struct totals *totals, const struct totals *less)
{
	totals->files -= less->files;
	totals->directories -= less->directories;
	totals->bytes -= less->bytes;
	totals->chunks -= less->chunks;
}

int catalogue_format(struct kv *kv, const struct id *cluster, const char *cluster_name)
{
	const struct inode root = {
		.id = INODE_ROOT, .type = ENTRY_DIRECTORY, .version = 1, .copies = COPIES_DEFAULT
	};
	const struct totals nothing = { 0 };
	int rc = inode_put(kv, &root);

	if (rc == 0)
		rc = totals_put(kv, &nothing);
	if (rc == 0)
		rc = setting_put(kv, SETTING_CLUSTER, (struct slice){ cluster->bytes, ID_SIZE });
	if (rc == 0)
		rc = setting_put(kv, SETTING_CLUSTER_NAME, slice_of(cluster_name));
	return rc;
}
