#include <stdlib.h>

#include "error.h"
#include "ordered_map.h"

int slice_compare(struct slice a, struct slice b)
{
	size_t shorter = a.size < b.size ? a.size : b.size;
	int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

	return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int entry_compare(struct map_entry *a, struct map_entry *b)
{
	return slice_compare(a->key, b->key);
}

/* RB_GENERATE_STATIC wants a macro __unused that glibc does not have. */
RB_GENERATE_INTERNAL(map_tree, map_entry, by_key, entry_compare, static __attribute__((unused)))

static size_t entry_bytes(const struct map_entry *entry)
{
	return sizeof(*entry) + entry->key.size + entry->value.size;
}

void map_init(struct ordered_map *map)
{
	RB_INIT(&map->tree);
	TAILQ_INIT(&map->ages);
	map->bytes = 0;
}

void map_done(struct ordered_map *map)
{
	struct map_entry *entry;

	while ((entry = TAILQ_FIRST(&map->ages)))
		map_drop(map, entry);
}

struct map_entry *map_find(struct ordered_map *map, struct slice key)
{
	struct map_entry wanted = { .key = key };

	return RB_FIND(map_tree, &map->tree, &wanted);
}

struct map_entry *map_seek(struct ordered_map *map, struct slice key)
{
	struct map_entry wanted = { .key = key };

	return RB_NFIND(map_tree, &map->tree, &wanted);
}

struct map_entry *map_next(struct map_entry *entry)
{
	return RB_NEXT(map_tree, NULL, entry);
}

static struct map_entry *entry_new(struct ordered_map *map, struct slice key)
{
	struct map_entry *entry = calloc(1, sizeof(*entry) + key.size);

	if (!entry)
		return NULL;
	memcpy(entry->key_bytes, key.data, key.size);
	entry->key = (struct slice){ entry->key_bytes, key.size };
	RB_INSERT(map_tree, &map->tree, entry);
	TAILQ_INSERT_TAIL(&map->ages, entry, by_age);
	map->bytes += entry_bytes(entry);
	return entry;
}

int map_put(struct ordered_map *map, struct slice key, struct slice value, bool removed)
{
	struct map_entry *entry = map_find(map, key);
	uint8_t *copy = NULL;

	if (value.size > 0) {
		copy = malloc(value.size);
		if (!copy)
			return -ERR_NO_MEMORY;
		memcpy(copy, value.data, value.size);
	}
	if (!entry)
		entry = entry_new(map, key);
	if (!entry) {
		free(copy);
		return -ERR_NO_MEMORY;
	}
	TAILQ_REMOVE(&map->ages, entry, by_age);
	TAILQ_INSERT_TAIL(&map->ages, entry, by_age);
	map->bytes += value.size - entry->value.size;
	free((void *)(uintptr_t)entry->value.data);
	entry->value = (struct slice){ copy, value.size };
	entry->removed = removed;
	entry->sequence = MAP_UNSEALED;
	return 0;
}

void map_drop(struct ordered_map *map, struct map_entry *entry)
{
	RB_REMOVE(map_tree, &map->tree, entry);
	TAILQ_REMOVE(&map->ages, entry, by_age);
	map->bytes -= entry_bytes(entry);
	free((void *)(uintptr_t)entry->value.data);
	free(entry);
}
