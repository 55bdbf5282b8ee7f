#include "inventory.h"

#include <string.h>

#include "bytes.h"

static struct digest part_of(uint64_t chunk)
{
	uint8_t bytes[8];

	put_u64(bytes, chunk);
	return digest_of(bytes, sizeof(bytes));
}

static unsigned int bucket_of(const struct digest *part)
{
	return get_u16(part->bytes + DIGEST_SIZE - 2) % INVENTORY_BUCKETS;
}

void inventory_turn(struct inventory_sum *sum, uint64_t chunk)
{
	const struct digest part = part_of(chunk);

	for (int i = 0; i < DIGEST_SIZE; i++)
		sum->whole.bytes[i] ^= part.bytes[i];
	sum->buckets[bucket_of(&part)] ^= get_u64(part.bytes);
}

unsigned int inventory_bucket(uint64_t chunk)
{
	const struct digest part = part_of(chunk);

	return bucket_of(&part);
}

void inventory_encode(const uint64_t buckets[INVENTORY_BUCKETS],
		      uint8_t ret[INVENTORY_DIGESTS_SIZE])
{
	for (unsigned int i = 0; i < INVENTORY_BUCKETS; i++)
		put_u64(ret + i * 8, buckets[i]);
}

unsigned int inventory_differ(const struct inventory_sum *sum,
			      const uint8_t theirs[INVENTORY_DIGESTS_SIZE],
			      uint8_t ret[INVENTORY_BITS_SIZE])
{
	unsigned int count = 0;

	memset(ret, 0, INVENTORY_BITS_SIZE);
	for (unsigned int i = 0; i < INVENTORY_BUCKETS; i++) {
		if (get_u64(theirs + i * 8) == sum->buckets[i])
			continue;
		ret[i / 8] = (uint8_t)(ret[i / 8] | 1u << i % 8);
		count++;
	}
	return count;
}
