/* The journal: the truth of the catalogue, an append-only row of hash-chained batches in files
 * journal/NNNNNNNN (a count, 8 hex digits) of about 64 MiB each, over struct disk.
 *
 * What one sync made durable is a group: it begins at a multiple of 4096 with "MJG3" and u32 the
 * size of its batches (little-endian), then the batches one after the other, zeros to the next
 * multiple. So a block that holds acknowledged bytes is never written again. Zeros are written
 * ahead, 4 MiB of them or a sixteenth of the disk, and stay there over a start: room for what must
 * be noted even when somebody else has filled the disk.
 *
 * Recovery reads from the oldest file on. A group that does not verify at the end of the last file
 * is a torn write and is cut off. If a whole group follows it, or another file, it had been synced:
 * that is damage, and opening fails; so does a break in the chain of hashes. The last whole group
 * is written and synced once more, since nobody knows whether its first sync had come to an end.
 * Not thread-safe: the sync thread owns it after opening. */
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
/* Of a higher epoch, or further in the same one. */
bool journal_is_later(const struct journal_head *a, const struct journal_head *b);

/* Called for each batch in order; a negative return ends the opening with it. */
typedef int journal_batch_fn(void *context, const struct batch_head *head, struct slice changes);

/* As `after`: all that there is, wherever it begins. */
#define JOURNAL_WHOLE UINT64_MAX

/* Opens or creates; replays batches with sequence > `after` into `each`. -ERR_CORRUPT: damage
 * before the end. -ERR_STALE: batches right after `after` have been trimmed. -ERR_BAD_FORMAT:
 * another version wrote it; nothing has been touched. */
int journal_open(struct disk *disk, uint64_t after, journal_batch_fn *each, void *context,
		 struct journal **ret);
void journal_close(struct journal *journal);
struct journal_head journal_head(const struct journal *journal);

/* Appends whole sealed batches, one after the other in `batches`, and makes them durable with one
 * sync. The first one ever may have any sequence; each other must continue the chain:
 * -ERR_BAD_REQUEST, and nothing is written. After any other failure the journal refuses everything
 * with that same error: the process must stop and recover. */
int journal_append(struct journal *journal, struct slice batches);
/* Files whose batches are all <= sequence are no longer needed. Keeps at least the last file. */
int journal_trim(struct journal *journal, uint64_t sequence);
/* Removes all its files; it must not be open. Cut short, it may be repeated, and must be. */
int journal_drop(struct disk *disk);

#endif
