/* Reads old batches back from the journal for the core (NS_JOURNAL_READ), in a thread of libuv's
 * pool: the loop does not wait for the disk, and the sync thread goes on appending. */
#ifndef MUSTER_NS_HISTORY_H
#define MUSTER_NS_HISTORY_H

#include <uv.h>

#include "journal_reader.h"

struct history;

/* In the loop; `batches` until it returns. */
typedef void history_done_fn(void *context, uint64_t after, struct slice batches, int error);

struct history_how {
	uv_loop_t *loop;
	struct disk *disk;
	history_done_fn *done;
	void *context;
};

int history_new(const struct history_how *how, struct history **ret);
/* One at a time. `done` is always called, later, also when that fails. */
void history_read(struct history *history, const struct journal_range *range);
void history_stop(struct history *history); /* NULL-safe; `done` is not called any more */
void history_free(struct history *history); /* NULL-safe; once the loop has run dry */
/* Stops and frees, now or when the read that is under way has ended: while the loop and the disk
 * last. NULL-safe. */
void history_abandon(struct history *history);

#endif
