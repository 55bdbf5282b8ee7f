/* Upkeep in bounded steps: removed files, segments that are mostly dead, the checkpoint. */
#include <assert.h>
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

enum chore_kind { REMOVE, MOVE, CHECKPOINT };

struct store_chore {
	enum chore_kind kind;
	struct disk *disk;
	struct removal removals[BATCH_UNLINKS];
	size_t removal_count;
	struct store_commit *commit; /* MOVE */
	struct segment *from;
	uint8_t *data; /* CHECKPOINT */
	size_t size;
};

/* ---- files to be removed ---- */

int removals_add(struct removals *removals, const struct removal *removal)
{
	if (removals->count == removals->capacity) {
		size_t capacity = removals->capacity ? removals->capacity * 2 : 64;
		struct removal *grown = realloc(removals->list, capacity * sizeof(*grown));

		if (!grown)
			return -ERR_NO_MEMORY;
		removals->list = grown;
		removals->capacity = capacity;
	}
	removals->list[removals->count++] = *removal;
	return 0;
}

/* The chunk comes back: its new file will take the old one's name. */
void removals_cancel(struct store *store, uint64_t chunk)
{
	struct removals *removals = &store->removals;

	for (size_t i = 0; i < removals->count; i++) {
		if (removals->list[i].segment || removals->list[i].bad ||
		    removals->list[i].chunk != chunk)
			continue;
		store->occupied -= removals->list[i].footprint;
		removals->list[i--] = removals->list[--removals->count];
	}
}

static void removal_run(struct disk *disk, const struct removal *removal)
{
	char path[STORE_PATH_MAX];

	if (removal->segment)
		segment_path(removal->segment, path);
	else
		big_path(removal->chunk, removal->bad ? ".bad" : "", path);
	(void)disk_unlink(disk, path); /* what stays is found at the next start */
}

void removals_flush(struct store *store)
{
	for (size_t i = 0; i < store->removals.count; i++)
		removal_run(store->disk, &store->removals.list[i]);
	store->removals.count = 0;
}

static struct store_chore *chore_new(struct store *store, enum chore_kind kind)
{
	struct store_chore *chore = calloc(1, sizeof(*chore));

	if (!chore)
		return NULL;
	chore->kind = kind;
	chore->disk = store->disk;
	store->busy = true;
	return chore;
}

static struct store_chore *remove_next(struct store *store)
{
	struct removals *removals = &store->removals;
	struct store_chore *chore;

	if (!removals->count)
		return NULL;
	chore = chore_new(store, REMOVE);
	if (!chore)
		return NULL;
	while (removals->count && chore->removal_count < BATCH_UNLINKS)
		chore->removals[chore->removal_count++] = removals->list[--removals->count];
	return chore;
}

/* ---- segments that are mostly dead ---- */

static bool is_worth_moving(const struct segment *segment)
{
	return segment->sealed && !segment->stuck && segment->live * 2 < segment->end;
}

/* Its name goes with the next removals; its readers keep the bytes. */
static void segment_drop(struct store *store, struct segment *segment)
{
	struct removal removal = { .segment = segment->number, .footprint = segment->end };

	if (removals_add(&store->removals, &removal) == 0)
		segments_remove(store, segment);
}

static void empty_segments_drop(struct store *store)
{
	for (size_t i = store->segment_count; i-- > 0;) {
		struct segment *segment = store->segments[i];

		if (segment->sealed && !segment->live && segment != store->moving)
			segment_drop(store, segment);
	}
}

struct candidate {
	uint64_t chunk;
	uint32_t offset8;
};

static int by_offset(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->offset8 > y->offset8) - (x->offset8 < y->offset8);
}

/* The living chunks of a segment in the order in which they lie there. */
static bool move_list_make(struct store *store, struct segment *segment)
{
	struct candidate *list = malloc((store->index.good + 1) * sizeof(*list));
	struct place place;
	uint64_t chunk;
	size_t cursor = 0, count = 0;

	if (!list)
		return false;
	while (index_next(&store->index, &cursor, &chunk, &place))
		if (place.segment == segment->number && !place.bad)
			list[count++] = (struct candidate){ chunk, place.offset8 };
	qsort(list, count, sizeof(*list), by_offset);
	store->move_list = malloc((count + 1) * sizeof(*store->move_list));
	for (size_t i = 0; store->move_list && i < count; i++)
		store->move_list[i] = list[i].chunk;
	free(list);
	store->move_count = count;
	store->move_at = 0;
	return store->move_list;
}

static bool moving_choose(struct store *store)
{
	if (store->moving)
		return true;
	for (size_t i = 0; i < store->segment_count; i++) {
		if (!is_worth_moving(store->segments[i]))
			continue;
		if (!move_list_make(store, store->segments[i]))
			return false;
		store->moving = store->segments[i];
		return true;
	}
	return false;
}

static void moving_end(struct store *store)
{
	if (store->moving->live)
		store->moving->stuck = true;
	store->moving = NULL;
	free(store->move_list);
	store->move_list = NULL;
	empty_segments_drop(store);
}

static bool move_add(struct store *store, struct store_chore *chore, uint64_t chunk,
		     uint64_t *bytes)
{
	struct chunk_meta meta = { .chunk = chunk };
	struct store_write *write;
	struct place place;

	if (!index_find(&store->index, chunk, &place) || place.bad ||
	    place.segment != chore->from->number)
		return true;
	meta.length = place.length;
	write = write_alloc(store, &meta);
	if (!write)
		return false;
	write->source = chore->from->file;
	write->source_offset = (uint64_t)place.offset8 * RECORD_ALIGN;
	STAILQ_INSERT_TAIL(&chore->commit->writes, write, link);
	chore->commit->count++;
	*bytes += place.length;
	return true;
}

static void move_free(struct store_chore *chore)
{
	while (chore->commit && !STAILQ_EMPTY(&chore->commit->writes)) {
		struct store_write *write = STAILQ_FIRST(&chore->commit->writes);

		STAILQ_REMOVE_HEAD(&chore->commit->writes, link);
		write_free(write);
	}
	if (chore->commit)
		commit_free(chore->commit);
}

static size_t move_gather(struct store *store, struct store_chore *chore)
{
	size_t taken = store->move_at;
	uint64_t bytes = 0;

	while (taken < store->move_count && chore->commit->count < BATCH_MOVES &&
	       bytes < BATCH_MOVE_BYTES) {
		if (!move_add(store, chore, store->move_list[taken], &bytes))
			break;
		taken++;
	}
	return taken;
}

static struct store_chore *chore_drop(struct store *store, struct store_chore *chore)
{
	move_free(chore);
	free(chore);
	store->busy = false;
	return NULL;
}

static struct store_chore *move_next(struct store *store)
{
	struct store_chore *chore;
	size_t taken;

	if (!moving_choose(store)) {
		store->upkeep = false;
		return NULL;
	}
	chore = chore_new(store, MOVE);
	if (!chore)
		return NULL;
	chore->from = store->moving;
	if (segment_open(store, chore->from) < 0 || store_commit_new(store, &chore->commit) < 0)
		return chore_drop(store, chore);
	taken = move_gather(store, chore);
	store->busy = false;
	if (!chore->commit->count || store_commit_seal(store, chore->commit) < 0) {
		bool done = taken == store->move_count && !chore->commit->count;

		commit_settle(store, chore->commit, -ERR_CANCELLED);
		chore_drop(store, chore);
		if (done)
			moving_end(store);
		return NULL;
	}
	store->move_at = taken;
	chore->from->pins++;
	return chore;
}

/* Meanwhile the chunk may have been removed, or have come anew. */
static void move_settle(struct store *store, struct segment *from, const struct store_write *write)
{
	struct place place;

	if (!index_find(&store->index, write->meta.chunk, &place) ||
	    place.segment != from->number ||
	    (uint64_t)place.offset8 * RECORD_ALIGN != write->source_offset)
		return;
	if (write->damaged) {
		place.bad = true;
	} else if (write->record.type == RECORD_VOID) {
		return;
	} else {
		place.segment = write->record.segment;
		place.offset8 = (uint32_t)(write->record.offset / RECORD_ALIGN);
	}
	index_enter(store, write->meta.chunk, &place);
}

static void move_finish(struct store *store, struct store_chore *chore, int result)
{
	struct store_write *write;

	if (result == 0 && store->failed)
		result = -ERR_IO;
	commit_settle(store, chore->commit, result);
	if (result == 0)
		STAILQ_FOREACH(write, &chore->commit->writes, link)
			move_settle(store, chore->from, write);
	segment_unpin(store, chore->from);
	/* After a failure the rest of the list waits for a better time and is made anew. */
	if (result < 0 || store->move_at == store->move_count)
		moving_end(store);
	if (result < 0) {
		chore->from->stuck = false;
		store->resume_ms = store->checked_ms + BACK_OFF_MS;
	}
	move_free(chore);
}

/* ---- the checkpoint ---- */

static struct store_chore *checkpoint_next(struct store *store, uint64_t now_ms)
{
	struct store_chore *chore;

	if (!store->clocked) {
		store->clocked = true;
		store->checkpoint_ms = now_ms;
	}
	if (!store->changed || now_ms < store->checkpoint_ms + CHECKPOINT_MS)
		return NULL;
	chore = chore_new(store, CHECKPOINT);
	if (!chore)
		return NULL;
	if (checkpoint_encode(store, &chore->data, &chore->size) < 0)
		return chore_drop(store, chore);
	store->changed = false;
	store->checkpoint_ms = now_ms;
	return chore;
}

/* ---- all of them ---- */

struct store_chore *store_chore_next(struct store *store, uint64_t now_ms)
{
	struct store_chore *chore;

	if (store->busy || store->failed)
		return NULL;
	store->checked_ms = now_ms;
	if (store->upkeep && !store->moving)
		empty_segments_drop(store);
	chore = remove_next(store);
	if (!chore && store->upkeep && now_ms >= store->resume_ms)
		chore = move_next(store);
	return chore ? chore : checkpoint_next(store, now_ms);
}

int store_chore_run(struct store_chore *chore)
{
	switch (chore->kind) {
	case REMOVE:
		for (size_t i = 0; i < chore->removal_count; i++)
			removal_run(chore->disk, &chore->removals[i]);
		return 0;
	case MOVE: return store_commit_run(chore->commit);
	case CHECKPOINT: return checkpoint_write(chore->disk, chore->data, chore->size);
	}
	return 0;
}

void store_chore_finish(struct store *store, struct store_chore *chore, int result)
{
	store->busy = false;
	switch (chore->kind) {
	case REMOVE:
		for (size_t i = 0; i < chore->removal_count; i++)
			store->occupied -= chore->removals[i].footprint;
		break;
	case MOVE: move_finish(store, chore, result); break;
	case CHECKPOINT:
		/* The old one is still good; the new one was never believed. */
		if (result < 0)
			store->changed = true;
		break;
	}
	free(chore->data);
	free(chore);
}
