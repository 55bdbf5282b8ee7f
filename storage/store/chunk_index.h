/* Which chunks there are and where: a hash table with open addressing in one array, 20 bytes a
 * slot.
 *
 * Linear probing, at most 85 % full, grown by half: 24 … 36 bytes a chunk. Removal moves the
 * followers up (Knuth, TAOCP 3, 6.4, algorithm R), so there are no tombstones. */
#ifndef MUSTER_STORAGE_CHUNK_INDEX_H
#define MUSTER_STORAGE_CHUNK_INDEX_H

#include "inventory.h"
#include "store.h"

struct place {
	uint32_t segment; /* 0: in a file of its own */
	uint32_t offset8; /* of the record in the segment, in units of 8 bytes */
	uint32_t length;  /* of the chunk; at least 1, below 2^30 */
	bool bad;         /* known, but not to be served */
	bool seen;        /* scratch, for recovery */
};

struct index_slot;

struct chunk_index {
	struct index_slot *slots;
	size_t capacity;
	size_t count;   /* good and bad */
	size_t good;    /* those that are served */
	uint64_t bytes; /* lengths of the good ones */
	uint64_t seed;
	struct inventory_sum sum; /* of the good ones */
};

void index_init(struct chunk_index *index, uint64_t seed);
void index_done(struct chunk_index *index);
/* Makes room for `more` chunks, which can then be put without failing. -ERR_NO_MEMORY. */
int index_reserve(struct chunk_index *index, size_t more);
bool index_find(const struct chunk_index *index, uint64_t chunk, struct place *ret);
/* Adds or replaces; room must have been reserved. */
void index_put(struct chunk_index *index, uint64_t chunk, const struct place *place);
bool index_remove(struct chunk_index *index, uint64_t chunk);
/* Walks over all; start with *cursor = 0. Of all changes only one is allowed on the way: to remove
 * the chunk just returned and to lower *cursor by 1, since another may have moved there. */
bool index_next(const struct chunk_index *index, size_t *cursor, uint64_t *ret_chunk,
		struct place *ret);
/* The `most` smallest good ids above `after` in those buckets (NULL: in all), ascending, with
 * lengths. -ERR_NO_MEMORY. */
int64_t index_list(const struct chunk_index *index, const uint8_t *buckets, uint64_t after,
		   struct store_listed *ret, size_t most);
size_t index_bytes(const struct chunk_index *index);

#endif
