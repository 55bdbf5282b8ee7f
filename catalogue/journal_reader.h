/* Reads batches back out of a journal that somebody else is appending to and trimming, through file
 * handles of its own: for servers that lack more than is in memory. One thread at a time, any. Only
 * batches that are durable already may be asked for: of the group that is being written nothing is
 * looked at. */
#ifndef MUSTER_CATALOGUE_JOURNAL_READER_H
#define MUSTER_CATALOGUE_JOURNAL_READER_H

#include "batch.h"
#include "disk.h"

struct journal_reader;

int journal_reader_new(struct disk *disk, struct journal_reader **ret);
void journal_reader_free(struct journal_reader *reader); /* NULL-safe */

struct journal_range {
	uint64_t after;   /* batches behind this one */
	uint64_t through; /* up to and with this one, which is durable */
	size_t most;      /* bytes, though at least one batch */
};
/* Appends them without their local sections. Asking on from where the last call ended costs no
 * search. -ERR_STALE: the first of them has been trimmed; -ERR_CORRUPT: it is not there, or does
 * not verify. */
int journal_read(struct journal_reader *reader, const struct journal_range *range,
		 struct buffer *ret);

#endif
