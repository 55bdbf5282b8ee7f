/* An ordered map in memory: a red-black tree whose entries also hang in a row by their last change,
 * oldest first. It is the whole of kv_memory.h, and the overlay of view.h, which needs the rest:
 * entries that say "removed", and the batch that each was last changed in. */
#ifndef MUSTER_CATALOGUE_ORDERED_MAP_H
#define MUSTER_CATALOGUE_ORDERED_MAP_H

#include <bsd/sys/tree.h>
#include <sys/queue.h>

#include "bytes.h"

struct map_entry {
	RB_ENTRY(map_entry) by_key;
	TAILQ_ENTRY(map_entry) by_age;
	uint64_t sequence; /* the caller's; MAP_UNSEALED after each change */
	bool removed;
	struct slice value;
	struct slice key;
	uint8_t key_bytes[];
};

#define MAP_UNSEALED UINT64_MAX

struct ordered_map {
	RB_HEAD(map_tree, map_entry) tree;
	TAILQ_HEAD(map_ages, map_entry) ages;
	size_t bytes; /* of memory that the entries take, roughly */
};

int slice_compare(struct slice a, struct slice b); /* as memcmp, shorter first */

void map_init(struct ordered_map *map);
void map_done(struct ordered_map *map);

struct map_entry *map_find(struct ordered_map *map, struct slice key); /* NULL: none */
struct map_entry *map_seek(struct ordered_map *map, struct slice key); /* first with key >= `key` */
struct map_entry *map_next(struct map_entry *entry);

/* Puts a copy of the value, or the mark that the key is removed, and makes the entry the youngest.
 * `value` may lie in the map. -ERR_NO_MEMORY. */
int map_put(struct ordered_map *map, struct slice key, struct slice value, bool removed);
void map_drop(struct ordered_map *map, struct map_entry *entry);

#endif
