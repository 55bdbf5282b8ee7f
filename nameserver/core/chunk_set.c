#include "ns_state.h"

void chunk_set_done(struct chunk_set *set)
{
	free(set->ids);
	*set = (struct chunk_set){ 0 };
}

/* Where the id is, or would be. Ids come mostly in ascending order: the end is looked at first. */
static size_t position_of(const struct chunk_set *set, uint64_t chunk)
{
	size_t low = 0, high = set->count;

	if (high == 0 || set->ids[high - 1] < chunk)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->ids[middle] < chunk)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool chunk_set_has(const struct chunk_set *set, uint64_t chunk)
{
	size_t at = position_of(set, chunk);

	return at < set->count && set->ids[at] == chunk;
}

static int chunk_set_room(struct chunk_set *set)
{
	size_t capacity = set->capacity ? set->capacity * 2 : 64;
	uint64_t *ids;

	if (set->count < set->capacity)
		return 0;
	ids = realloc(set->ids, capacity * sizeof(*ids));
	if (!ids)
		return -ERR_NO_MEMORY;
	set->ids = ids;
	set->capacity = capacity;
	return 0;
}

int chunk_set_add(struct chunk_set *set, uint64_t chunk)
{
	size_t at = position_of(set, chunk);

	if (at < set->count && set->ids[at] == chunk)
		return 0;
	if (chunk_set_room(set) < 0)
		return -ERR_NO_MEMORY;
	memmove(set->ids + at + 1, set->ids + at, (set->count - at) * sizeof(*set->ids));
	set->ids[at] = chunk;
	set->count++;
	return 1;
}

bool chunk_set_remove(struct chunk_set *set, uint64_t chunk)
{
	size_t at = position_of(set, chunk);

	if (at == set->count || set->ids[at] != chunk)
		return false;
	set->count--;
	memmove(set->ids + at, set->ids + at + 1, (set->count - at) * sizeof(*set->ids));
	return true;
}

/* Drops the `count` smallest. */
void chunk_set_drop(struct chunk_set *set, size_t count)
{
	set->count -= count;
	if (set->count)
		memmove(set->ids, set->ids + count, set->count * sizeof(*set->ids));
}
