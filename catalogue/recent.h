/* The last batches of the catalogue as servers exchange them, without local sections, in memory: a
 * ring of bounded size, for those who lack a few. Pure; one thread. */
#ifndef MUSTER_CATALOGUE_RECENT_H
#define MUSTER_CATALOGUE_RECENT_H

#include "batch.h"
#include "journal.h"

/* A zeroed struct with `max` set is an empty ring. Its batches follow each other. */
struct recent {
	size_t max; /* bytes of batches; the last one is kept whatever its size */
	struct recent_batch **slots;
	size_t first, count, capacity;
	size_t bytes;
};

/* Takes a copy of a whole sealed batch, which must follow the last one; else the ring is emptied
 * first. -ERR_CORRUPT: it is none; -ERR_NO_MEMORY: the ring is empty then. */
int recent_add(struct recent *recent, struct slice batch);
void recent_clear(struct recent *recent);
void recent_done(struct recent *recent);

/* The whole batch, until the next change of the ring; -ERR_NOT_FOUND. */
int recent_get(const struct recent *recent, uint64_t sequence, struct slice *ret);
/* The hash of a batch in the ring, or of the one before the first. -ERR_NOT_FOUND. */
int recent_hash(const struct recent *recent, uint64_t sequence, struct digest *ret);

/* What an asker has: batches up to this one, and bytes of the one after it. */
struct history_point {
	uint64_t sequence;
	struct digest hash;
	uint64_t offset;
};

/* Appends what comes after `from`: whole batches, *ret_size 0; or a part of one that is too large
 * for a message or was begun before, *ret_size its length. At most CATALOGUE_PART_MAX bytes.
 * 1: something was appended; 0: nothing newer is here; -ERR_NOT_FOUND: it is no longer in the ring;
 * -ERR_STALE: the asker's history is another; -ERR_RANGE: that batch is not so long. */
int recent_read(const struct recent *recent, const struct history_point *from, struct buffer *ret,
		uint32_t *ret_size);

#endif
