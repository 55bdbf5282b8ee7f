#include <stdio.h>

#include "crash_model.h"
#include "error.h"

enum { LARGE_FROM = 20000, BATCH_MAX = 6 };

int model_open(struct model *model, struct disk *disk, struct store **ret,
	       struct store_report *report)
{
	struct store_options options = driven_options();
	char message[256];
	int rc = store_open(disk, &options, ret, report, message);

	if (rc < 0)
		return rc;
	if (store_identity(*ret)->generation <= model->generation)
		return -ERR_STALE;
	model->generation = store_identity(*ret)->generation;
	return 0;
}

static uint32_t length_choose(struct prng *prng)
{
	switch (prng_below(prng, 8)) {
	case 0: return 1 + (uint32_t)prng_below(prng, 300);
	case 1: return LARGE_FROM + (uint32_t)prng_below(prng, 6000);
	case 2: return 8000 + (uint32_t)prng_below(prng, 11000);
	default: return 1 + (uint32_t)prng_below(prng, 6000);
	}
}

static void put(struct model *model, struct store *store, struct prng *prng)
{
	size_t count = 1 + (size_t)prng_below(prng, BATCH_MAX);
	struct driven *list = model->chunks + model->count;
	size_t first = model->count;

	if (model->count + count > MODEL_CHUNKS_MAX)
		return;
	for (size_t i = 0; i < count; i++)
		/* Spread, so that several directories are needed. */
		list[i] = (struct driven){ .chunk = 1 + (first + i) * 400,
					   .length = length_choose(prng),
					   .result = -ERR_CANCELLED };
	model->count += count;
	driven_put(store, list, count);
	for (size_t i = 0; i < count; i++)
		if (list[i].result == 0)
			model->states[first + i] = CHUNK_ACKED;
}

/* What was removed, or refused, comes back under the same id. */
static void put_again(struct model *model, struct store *store, struct prng *prng)
{
	size_t i = model->count ? (size_t)prng_below(prng, model->count) : 0;

	if (!model->count || model->states[i] == CHUNK_ACKED)
		return;
	model->chunks[i].result = -ERR_CANCELLED;
	driven_put(store, &model->chunks[i], 1);
	if (model->chunks[i].result == 0)
		model->states[i] = CHUNK_ACKED;
}

static void remove_some(struct model *model, struct store *store, struct prng *prng)
{
	size_t count = (size_t)prng_below(prng, 1 + model->count / 2);

	while (count--) {
		size_t i = (size_t)prng_below(prng, model->count);

		if (model->states[i] != CHUNK_ACKED)
			continue;
		model->states[i] = CHUNK_REMOVED;
		store_remove(store, model->chunks[i].chunk);
	}
}

static void abort_one(struct model *model, struct store *store)
{
	struct store_write *write;

	(void)model;
	if (driven_write(store, 999983, LARGE_FROM + 1, &write) == 0)
		store_write_abort(store, write);
}

/* Found bad by mistake, and made anew. */
static void quarantine(struct model *model, struct store *store, struct prng *prng)
{
	size_t i = model->count ? (size_t)prng_below(prng, model->count) : 0;

	if (!model->count || model->states[i] != CHUNK_ACKED)
		return;
	model->states[i] = CHUNK_REMOVED;
	store_quarantine(store, model->chunks[i].chunk);
	put_again(model, store, &(struct prng){ prng_next(prng) });
}

static void reopen(struct model *model, struct disk_sim *sim, struct store **store, bool clean)
{
	struct store_report report;

	if (clean)
		store_close(*store);
	else
		store_abandon(*store);
	*store = NULL;
	if (model_open(model, disk_sim_disk(sim), store, &report) < 0)
		*store = NULL;
}

static void promise(struct model *model, struct store *store)
{
	struct id server = { { 9 } };
	uint64_t epoch = model->promised + 1;

	if (store_promise(store, epoch, &server) == 0)
		model->promised = epoch;
}

static void operate(struct model *model, struct disk_sim *sim, struct store **store,
		    struct prng *prng)
{
	switch (prng_below(prng, 16)) {
	case 0:
	case 1: remove_some(model, *store, prng); break;
	case 2: put_again(model, *store, prng); break;
	case 3: abort_one(model, *store); break;
	case 4: quarantine(model, *store, prng); break;
	case 5: reopen(model, sim, store, true); break;
	case 6: reopen(model, sim, store, false); break;
	case 7: promise(model, *store); break;
	case 8:
	case 9:
		model->now_ms += 5 * 60 * 1000;
		driven_chores(*store, model->now_ms, 100);
		break;
	case 10: driven_chores(*store, model->now_ms, 1); break;
	default: put(model, *store, prng); break;
	}
}

void model_run(struct model *model, struct disk_sim *sim, struct store **store, uint64_t seed,
	       int operations)
{
	struct prng prng = { seed };

	while (operations-- && *store)
		operate(model, sim, store, &prng);
}

static const char *chunk_check(const struct model *model, struct store *store, size_t i)
{
	const struct driven *chunk = &model->chunks[i];
	int rc = driven_read(store, chunk->chunk, chunk->length);

	if (rc == -ERR_STALE)
		return "wrong bytes under right checksums";
	if (rc == 0 || (rc == -ERR_NOT_FOUND && model->states[i] != CHUNK_ACKED) || model->lenient)
		return NULL;
	if (model->states[i] == CHUNK_ACKED)
		return rc == -ERR_NOT_FOUND ? "an acknowledged chunk is gone"
					    : "an acknowledged chunk is damaged";
	return "a chunk that was never acknowledged is there, but damaged";
}

static const char *list_check(struct store *store)
{
	struct store_listed listed[MODEL_CHUNKS_MAX * 2];
	struct store_usage usage;
	size_t count = store_list(store, 0, listed, MODEL_CHUNKS_MAX * 2);

	store_usage(store, &usage);
	if (count != usage.chunks)
		return "the list and the count differ";
	for (size_t i = 0; i < count; i++)
		if (!store_has(store, listed[i].chunk) ||
		    (i && listed[i].chunk <= listed[i - 1].chunk))
			return "the list is wrong";
	return NULL;
}

const char *model_check(const struct model *model, struct store *store)
{
	const char *wrong = list_check(store);

	for (size_t i = 0; i < model->count && !wrong; i++)
		wrong = chunk_check(model, store, i);
	if (!wrong && store_identity(store)->promised_epoch < model->promised)
		wrong = "a promise is forgotten";
	return wrong;
}
