/* The journal: the truth of the catalogue, an append-only row of hash-chained batches in files
 * journal/NNNNNNNN of at most 64 MiB each, over struct disk.
 *
 * Recovery reads from the oldest file on. A batch that does not verify at the end of the last file
 * is a torn write and is cut off; anywhere else it is damage and opening fails. Not thread-safe: the
 * sync thread owns it after opening. */
#ifndef MUSTER_CATALOGUE_JOURNAL_H
#define MUSTER_CATALOGUE_JOURNAL_H

#include "batch.h"
#include "disk.h"

struct journal;

struct journal_head {
	uint64_t epoch;
	uint64_t sequence; /* of the last batch; 0: none yet */
	struct digest hash;
};

/* Called for each batch in order; a negative return ends the opening with it. */
typedef int journal_batch_fn(void *context, const struct batch_head *head, struct slice changes);

/* Opens or creates; replays batches with sequence > `after` into `each`.
 * -ERR_CORRUPT: damage before the end. */
int journal_open(struct disk *disk, uint64_t after, journal_batch_fn *each, void *context,
		 struct journal **ret);
void journal_close(struct journal *journal);
struct journal_head journal_head(const struct journal *journal);

/* Appends whole sealed batches, one after the other in `batches`, and makes them durable with one
 * sync. After a failure the journal refuses everything: the process must stop and recover. */
int journal_append(struct journal *journal, struct slice batches);
/* Files whose batches are all <= sequence are no longer needed. Keeps at least the last file. */
int journal_trim(struct journal *journal, uint64_t sequence);

#endif
