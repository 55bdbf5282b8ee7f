#include <assert.h>

#include "rows.h"

static size_t kind_put(uint8_t *space, const char *kind)
{
	size_t size = strlen(kind);

	memcpy(space, kind, size);
	return size;
}

struct slice key_number(uint8_t *space, const char *kind, uint64_t number)
{
	size_t at = kind_put(space, kind);

	put_be64(space + at, number);
	return (struct slice){ space, at + 8 };
}

struct slice key_pair(uint8_t *space, const char *kind, uint64_t first, uint64_t second)
{
	size_t at = kind_put(space, kind);

	put_be64(space + at, first);
	put_be64(space + at + 8, second);
	return (struct slice){ space, at + 16 };
}

struct slice key_dirent(uint8_t *space, uint64_t parent, struct slice name)
{
	struct slice key = key_number(space, "d", parent);

	assert(name.size <= NAME_SIZE_MAX);
	if (name.size)
		memcpy(space + key.size, name.data, name.size);
	key.size += name.size;
	return key;
}

struct slice key_id(uint8_t *space, const char *kind, const struct id *id)
{
	size_t at = kind_put(space, kind);

	memcpy(space + at, id->bytes, ID_SIZE);
	return (struct slice){ space, at + ID_SIZE };
}

bool key_begins(struct slice key, struct slice prefix)
{
	return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

int row_check(struct slice value, size_t size, const uint8_t **ret)
{
	if (value.size != size + 1 || value.data[0] != ROW_VERSION)
		return -ERR_BAD_FORMAT;
	*ret = value.data + 1;
	return 0;
}

int row_get(struct kv *kv, struct slice key, size_t size, const uint8_t **ret)
{
	struct slice value;
	int rc = kv_get(kv, key, &value);

	return rc < 0 ? rc : row_check(value, size, ret);
}
