/* There is one history: what a name server calls committed is so for every other one. */
#include <stdlib.h>

#include "journal_set.h"
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

struct holding {
	struct world *w;
	uint64_t sequence;
};

static bool may_have(void *context, const struct id *node)
{
	const struct holding *holding = context;
	struct world *w = holding->w;

	for (unsigned int i = 0; i < w->storage_count; i++) {
		const struct host *host = world_storage(w, i);

		if (id_equal(&host->id, node))
			return !host->up || host->copy_lost ||
			       !storage_host_catalogue(host).whole ||
			       storage_host_catalogue(host).last.sequence >= holding->sequence;
	}
	return true;
}

/* As many of the journal set have it as must. What those that are down had, and
 * those whose directory is gone, nobody can see. */
static void set_check(struct world *w, const struct host *host, uint64_t sequence)
{
	struct holding holding = { w, sequence };
	struct kv *kv = ns_host_kv(host);
	struct journal_set set;

	if (!kv || journal_set_get(kv, &set) < 0 || set.changing)
		return;
	if (!journal_agrees(&set, JOURNAL_COMMIT, may_have, &holding))
		world_fail(w, "%s commits batch %llu, which too few of the journal set have",
			   host->name, (unsigned long long)sequence);
}

void history_committed(struct world *w, const struct host *host, const struct journal_head *head)
{
	struct committed *there;

	if (w->old_serves)
		return;
	there = committed_at(&w->history, head->sequence);
	set_check(w, host, head->sequence);
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

static uint64_t running_ms(const struct world *w)
{
	return w->now_us / MS + w->skipped_ms;
}

void history_rebuilt(struct world *w)
{
	w->rebuilt = true;
	w->rebuilt_ms = running_ms(w);
}

void history_deletes(struct world *w, const struct host *host)
{
	uint64_t held_ms = (uint64_t)WORLD_DAYS_HELD * 24 * 3600 * 1000;

	if (w->rebuilt && running_ms(w) < w->rebuilt_ms + held_ms)
		world_fail(w, "%s has chunks deleted right after a rebuild", host->name);
}

void history_promised(struct host *host, uint64_t epoch, const struct id *server)
{
	if (epoch == host->promised && !id_equal(server, &host->promised_to))
		world_fail(host->world, "%s promises epoch %llu to another one, too", host->name,
			   (unsigned long long)epoch);
	if (epoch < host->promised)
		world_fail(host->world, "%s promises epoch %llu after epoch %llu", host->name,
			   (unsigned long long)epoch, (unsigned long long)host->promised);
	host->promised = epoch;
	host->promised_to = *server;
}

void history_remembers(const struct host *host, uint64_t epoch)
{
	if (epoch < host->promised)
		world_fail(host->world, "%s has forgotten that it promised epoch %llu", host->name,
			   (unsigned long long)host->promised);
}
