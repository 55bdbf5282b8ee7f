#include <assert.h>
#include <stdlib.h>

#include "chunk_index.h"
#include "error.h"
#include "hash.h"

enum { CAPACITY_MIN = 64 };

/* Three words instead of a struct with a u64, which would be padded to 24 bytes. */
struct index_slot {
	uint32_t low, high;
	uint32_t segment;
	uint32_t offset8;
	uint32_t length; /* 0: empty; the upper two bits are flags */
};

static const uint32_t bad_bit = 1u << 31;
static const uint32_t seen_bit = 1u << 30;

static uint64_t slot_chunk(const struct index_slot *slot)
{
	return (uint64_t)slot->high << 32 | slot->low;
}

static uint32_t slot_length(const struct index_slot *slot)
{
	return slot->length & ~(bad_bit | seen_bit);
}

static size_t home_of(const struct chunk_index *index, uint64_t chunk)
{
	uint64_t z = chunk ^ index->seed;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	/* The upper half of a product maps a hash to any range without dividing (Lemire 2016). */
	return (size_t)(((z >> 32) * (uint64_t)index->capacity) >> 32);
}

static size_t after(const struct chunk_index *index, size_t slot)
{
	return slot + 1 == index->capacity ? 0 : slot + 1;
}

/* The chunk's slot, or the empty one where it belongs. */
static size_t probe(const struct chunk_index *index, uint64_t chunk)
{
	size_t at = home_of(index, chunk);

	while (index->slots[at].length && slot_chunk(&index->slots[at]) != chunk)
		at = after(index, at);
	return at;
}

void index_init(struct chunk_index *index, uint64_t seed)
{
	*index = (struct chunk_index){ .seed = seed };
}

void index_done(struct chunk_index *index)
{
	free(index->slots);
	index_init(index, index->seed);
}

static bool fits(size_t count, size_t capacity)
{
	return count <= capacity / 20 * 17;
}

int index_reserve(struct chunk_index *index, size_t more)
{
	struct chunk_index grown = *index;

	if (fits(index->count + more, index->capacity))
		return 0;
	if (!grown.capacity)
		grown.capacity = CAPACITY_MIN;
	while (!fits(index->count + more, grown.capacity))
		grown.capacity += grown.capacity / 2;
	if (grown.capacity > UINT32_MAX)
		return -ERR_NO_MEMORY;
	grown.slots = calloc(grown.capacity, sizeof(*grown.slots));
	if (!grown.slots)
		return -ERR_NO_MEMORY;
	for (size_t i = 0; i < index->capacity; i++)
		if (index->slots[i].length)
			grown.slots[probe(&grown, slot_chunk(&index->slots[i]))] = index->slots[i];
	free(index->slots);
	*index = grown;
	return 0;
}

static struct place place_of(const struct index_slot *slot)
{
	return (struct place){ .segment = slot->segment,
			       .offset8 = slot->offset8,
			       .length = slot_length(slot),
			       .bad = slot->length & bad_bit,
			       .seen = slot->length & seen_bit };
}

bool index_find(const struct chunk_index *index, uint64_t chunk, struct place *ret)
{
	const struct index_slot *slot;

	if (!index->capacity)
		return false;
	slot = &index->slots[probe(index, chunk)];
	if (!slot->length)
		return false;
	*ret = place_of(slot);
	return true;
}

static void uncount(struct chunk_index *index, const struct index_slot *slot)
{
	index->count--;
	if (slot->length & bad_bit)
		return;
	index->good--;
	index->bytes -= slot_length(slot);
	inventory_turn(&index->sum, slot_chunk(slot));
}

void index_put(struct chunk_index *index, uint64_t chunk, const struct place *place)
{
	struct index_slot *slot;

	assert(index->capacity > index->count && place->length);
	slot = &index->slots[probe(index, chunk)];
	if (slot->length)
		uncount(index, slot);
	*slot = (struct index_slot){ .low = (uint32_t)chunk,
				     .high = (uint32_t)(chunk >> 32),
				     .segment = place->segment,
				     .offset8 = place->offset8,
				     .length = place->length | (place->bad ? bad_bit : 0) |
					       (place->seen ? seen_bit : 0) };
	index->count++;
	if (place->bad)
		return;
	index->good++;
	index->bytes += place->length;
	inventory_turn(&index->sum, chunk);
}

/* True if `home` lies cyclically in (hole, at]: then the slot at `at` may not move to `hole`. */
static bool stays(size_t hole, size_t home, size_t at)
{
	return hole < at ? hole < home && home <= at : hole < home || home <= at;
}

bool index_remove(struct chunk_index *index, uint64_t chunk)
{
	size_t hole, at;

	if (!index->capacity)
		return false;
	hole = probe(index, chunk);
	if (!index->slots[hole].length)
		return false;
	uncount(index, &index->slots[hole]);
	for (at = after(index, hole); index->slots[at].length; at = after(index, at)) {
		if (stays(hole, home_of(index, slot_chunk(&index->slots[at])), at))
			continue;
		index->slots[hole] = index->slots[at];
		hole = at;
	}
	index->slots[hole].length = 0;
	return true;
}

bool index_next(const struct chunk_index *index, size_t *cursor, uint64_t *ret_chunk,
		struct place *ret)
{
	while (*cursor < index->capacity) {
		const struct index_slot *slot = &index->slots[(*cursor)++];

		if (!slot->length)
			continue;
		*ret_chunk = slot_chunk(slot);
		*ret = place_of(slot);
		return true;
	}
	return false;
}

/* Moves the `most` smallest to the front (Hoare's FIND). */
static void select_smallest(struct store_listed *list, size_t count, size_t most)
{
	size_t from = 0, to = count - 1;

	while (from < to) {
		uint64_t pivot = list[from + (to - from) / 2].chunk;
		size_t i = from, j = to;

		for (;;) {
			while (list[i].chunk < pivot)
				i++;
			while (list[j].chunk > pivot)
				j--;
			if (i >= j)
				break;
			struct store_listed swap = list[i];

			list[i++] = list[j];
			list[j--] = swap;
		}
		if (most <= j)
			to = j;
		else
			from = j + 1;
	}
}

static int by_chunk(const void *a, const void *b)
{
	uint64_t x = ((const struct store_listed *)a)->chunk;
	uint64_t y = ((const struct store_listed *)b)->chunk;

	return (x > y) - (x < y);
}

static uint64_t highest(const struct store_listed *list, size_t count)
{
	uint64_t max = 0;

	for (size_t i = 0; i < count; i++)
		if (list[i].chunk > max)
			max = list[i].chunk;
	return max;
}

/* One pass; candidates gather in twice the room asked for and are halved when it is full, so that
 * most ids are dismissed by one comparison. */
int64_t index_list(const struct chunk_index *index, const uint8_t *buckets, uint64_t above,
		   struct store_listed *ret, size_t most)
{
	struct store_listed *list = most ? malloc(2 * most * sizeof(*list)) : NULL;
	uint64_t limit = UINT64_MAX;
	size_t count = 0;

	if (!list)
		return most ? -ERR_NO_MEMORY : 0;
	for (size_t i = 0; i < index->capacity; i++) {
		const struct index_slot *slot = &index->slots[i];
		uint64_t chunk = slot_chunk(slot);

		if (!slot->length || slot->length & bad_bit || chunk <= above || chunk > limit)
			continue;
		if (buckets && !inventory_bit(buckets, inventory_bucket(chunk)))
			continue;
		list[count++] = (struct store_listed){ chunk, slot_length(slot) };
		if (count < 2 * most)
			continue;
		select_smallest(list, count, most);
		count = most;
		limit = highest(list, count);
	}
	qsort(list, count, sizeof(*list), by_chunk);
	if (count > most)
		count = most;
	memcpy(ret, list, count * sizeof(*list));
	free(list);
	return (int64_t)count;
}

size_t index_bytes(const struct chunk_index *index)
{
	return index->capacity * sizeof(*index->slots);
}
