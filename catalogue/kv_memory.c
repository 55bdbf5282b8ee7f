#include <stdlib.h>

#include "batch.h"
#include "error.h"
#include "kv_memory.h"
#include "ordered_map.h"

struct kv_memory {
	struct kv kv; /* first: the operations get a pointer to it */
	struct ordered_map map;
};

static struct ordered_map *map_of(struct kv *kv)
{
	return &((struct kv_memory *)kv)->map;
}

static int memory_get(struct kv *kv, struct slice key, struct slice *ret)
{
	struct map_entry *entry = map_find(map_of(kv), key);

	if (!entry)
		return -ERR_NOT_FOUND;
	*ret = entry->value;
	return 0;
}

static int memory_seek(struct kv *kv, struct slice key, struct slice *ret_key,
		       struct slice *ret_value)
{
	struct map_entry *entry = map_seek(map_of(kv), key);

	if (!entry)
		return -ERR_NOT_FOUND;
	*ret_key = entry->key;
	*ret_value = entry->value;
	return 0;
}

static int memory_put(struct kv *kv, struct slice key, struct slice value)
{
	return map_put(map_of(kv), key, value, false);
}

static int memory_remove(struct kv *kv, struct slice key)
{
	struct map_entry *entry = map_find(map_of(kv), key);

	if (entry)
		map_drop(map_of(kv), entry);
	return 0;
}

int kv_memory_new(struct kv **ret)
{
	static const struct kv_ops ops = { memory_get, memory_seek, memory_put, memory_remove };
	struct kv_memory *memory = calloc(1, sizeof(*memory));

	if (!memory)
		return -ERR_NO_MEMORY;
	memory->kv.ops = &ops;
	map_init(&memory->map);
	*ret = &memory->kv;
	return 0;
}

void kv_memory_free(struct kv *kv)
{
	if (!kv)
		return;
	map_done(map_of(kv));
	buffer_done(&kv->batch);
	free(kv);
}

int kv_memory_apply(struct kv *kv, struct slice changes)
{
	struct change change;
	int rc;

	while ((rc = change_next(&changes, &change)) > 0) {
		rc = change.removed ? memory_remove(kv, change.key)
				    : memory_put(kv, change.key, change.value);
		if (rc < 0)
			return rc;
	}
	return rc;
}
