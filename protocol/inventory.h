/* What a server holds, summed up, so that two sides can tell where they differ without listing it.
 *
 * Every sum is an xor: a chunk that comes and one that goes are the same operation, in any order.
 * A chunk's part is XXH3-128 of its id as u64; its bucket follows from the last two bytes, so one
 * bucket holds some 250 of a million chunks whatever their ids are. */
#ifndef MUSTER_INVENTORY_H
#define MUSTER_INVENTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "hash.h"

struct inventory_sum {
	struct digest whole;
	uint64_t buckets[INVENTORY_BUCKETS]; /* the first 8 bytes of the digests, little endian */
};

enum {
	INVENTORY_DIGESTS_SIZE = INVENTORY_BUCKETS * 8, /* as they travel */
	INVENTORY_BITS_SIZE = INVENTORY_BUCKETS / 8,    /* a bit for each, lowest first */
};

/* The chunk comes, or goes. */
void inventory_turn(struct inventory_sum *sum, uint64_t chunk);
unsigned int inventory_bucket(uint64_t chunk);
static inline bool inventory_bit(const uint8_t bits[INVENTORY_BITS_SIZE], unsigned int bucket)
{
	return bits[bucket / 8] >> bucket % 8 & 1;
}

void inventory_encode(const uint64_t buckets[INVENTORY_BUCKETS],
		      uint8_t ret[INVENTORY_DIGESTS_SIZE]);
/* Which buckets are not what the other side says; returns how many. */
unsigned int inventory_differ(const struct inventory_sum *sum,
			      const uint8_t theirs[INVENTORY_DIGESTS_SIZE],
			      uint8_t ret[INVENTORY_BITS_SIZE]);

#endif
