/* Numbers that look random. Cores take a seeded `struct prng` so that a run can be repeated;
 * `random_bytes` asks the system and belongs to glue only. */
#ifndef MUSTER_BASE_RANDOM_H
#define MUSTER_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* SplitMix64 (Steele, Lea, Flood 2014): not for secrets. */
struct prng {
	uint64_t state;
};

static inline uint64_t prng_next(struct prng *prng)
{
	uint64_t z = prng->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Uniform in [0, bound); 0 where bound is 0. */
static inline uint64_t prng_below(struct prng *prng, uint64_t bound)
{
	return bound ? prng_next(prng) % bound : 0;
}

int random_bytes(void *ret, size_t size); /* getrandom(2) */

#endif
