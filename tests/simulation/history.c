/* There is one history: what a name server calls committed is so for every other one. */
#include <stdlib.h>

#include "world.h"

static struct committed *committed_at(struct history *history, uint64_t sequence)
{
	if (sequence > history->capacity) {
		uint64_t capacity = 2 * sequence;

		history->batches = realloc(history->batches, capacity * sizeof(struct committed));
		if (!history->batches)
			abort();
		memset(history->batches + history->capacity, 0,
		       (capacity - history->capacity) * sizeof(struct committed));
		history->capacity = capacity;
	}
	if (sequence > history->count)
		history->count = sequence;
	return &history->batches[sequence - 1];
}

void history_committed(struct world *w, const struct host *host, const struct journal_head *head)
{
	struct committed *there = committed_at(&w->history, head->sequence);

	if (there->epoch == 0) {
		*there = (struct committed){ head->epoch, head->hash };
		return;
	}
	if (there->epoch != head->epoch || !digest_equal(&there->hash, &head->hash))
		world_fail(w,
			   "%s commits batch %llu of epoch %llu, but another one of epoch %llu has "
			   "been committed as that",
			   host->name, (unsigned long long)head->sequence,
			   (unsigned long long)head->epoch, (unsigned long long)there->epoch);
}

void history_answered(struct world *w, const struct host *host, uint64_t epoch)
{
	if (epoch < w->epoch)
		world_fail(w, "%s of epoch %llu answers although epoch %llu has begun", host->name,
			   (unsigned long long)epoch, (unsigned long long)w->epoch);
}
