/* Two threads behind the loop: one makes batches durable in the journal, all that wait with one
 * sync; the other takes durable batches into the view. The loop queues and is told; it never waits.
 * The view may fall behind while the disk is full: its thread tries again once a second.
 *
 *     loop ──queue──▶ sync thread (journal) ──▶ view thread (LMDB)
 *       ◀──notify──────────┘◀──────notify───────────┘ */
#ifndef MUSTER_NS_COMMITTER_H
#define MUSTER_NS_COMMITTER_H

#include "journal.h"
#include "view.h"

struct committer;

struct committer_how {
	struct journal *journal; /* the sync thread's alone until committer_free */
	struct view *view;
	struct disk *disk;             /* that the view is on; NULL: it is never full */
	uint64_t sequence;             /* durable already */
	struct slice behind;           /* the last of these batches, which the view lacks */
	uint64_t applied;              /* in the view already */
	void (*notify)(void *context); /* out of either thread: the state has changed */
	void *context;
};

struct committer_state {
	uint64_t durable; /* all batches up to this one */
	uint64_t applied;
	int error;        /* a thread has failed and stopped: commit no more, stop */
	const char *what; /* did: "journal" or "view" */
};

int committer_new(const struct committer_how *how, struct committer **ret);
/* Copies the batch. -ERR_NO_MEMORY: the caller must stop. */
int committer_queue(struct committer *committer, struct slice batch, uint64_t sequence);
struct committer_state committer_state(struct committer *committer);
/* Waits until all that was queued is durable and, unless the disk is full, in the view, and both
 * threads have ended. */
void committer_stop(struct committer *committer);
void committer_free(struct committer *committer); /* NULL-safe; stops first */

#endif
