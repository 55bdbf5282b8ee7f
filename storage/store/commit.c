/* Commits before and after they run: who takes part, which places they get, what the index
 * learns. */
#include <assert.h>
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

int store_commit_new(struct store *store, struct store_commit **ret)
{
	struct store_commit *commit = calloc(1, sizeof(*commit));

	if (!commit)
		return -ERR_NO_MEMORY;
	commit->disk = store->disk;
	STAILQ_INIT(&commit->writes);
	*ret = commit;
	return 0;
}

int store_commit_add(struct store_commit *commit, struct store_write *write, void *tag)
{
	static const struct digest none;
	struct digest digest;

	if (write->filled != write->meta.length || commit->sealed)
		return -ERR_BAD_REQUEST;
	digest = store_write_digest(write);
	if (!digest_equal(&write->meta.digest, &none) &&
	    !digest_equal(&write->meta.digest, &digest))
		return -ERR_CORRUPT;
	write->meta.digest = digest;
	write->record.digest = digest;
	write->tag = tag;
	STAILQ_INSERT_TAIL(&commit->writes, write, link);
	commit->count++;
	return 0;
}

/* ---- places ---- */

/* What is known while places are given out. */
struct planner {
	struct store *store;
	struct store_commit *commit;
	struct segment *segment;
	uint64_t tail; /* of the segment, with the group so far */
	struct leg *leg;
};

struct closing closing_of(const struct store *store, const struct segment *segment,
			  struct footer_entry *entries, size_t count)
{
	return (struct closing){ .file = segment->file,
				 .footer = { .disk = store->identity.disk,
					     .segment = segment->number,
					     .count = (uint32_t)count,
					     .start = segment->end,
					     .generation = store->identity.generation },
				 .entries = entries };
}

static uint64_t zeros_wanted(const struct leg *leg)
{
	const struct segment *segment = leg->segment;
	uint64_t end = leg->offset + leg->size;

	if (end <= segment->zeroed || end >= segment->limit || leg->size > ZERO_GROUP_MAX)
		return 0;
	return segment->limit - end < ZERO_AHEAD ? segment->limit - end : ZERO_AHEAD;
}

static void leg_end(struct planner *planner)
{
	struct leg *leg = planner->leg;

	if (!leg)
		return;
	planner->tail = align_up(planner->tail, STORE_BLOCK);
	leg->size = planner->tail - leg->offset;
	leg->zeros = zeros_wanted(leg);
	planner->leg = NULL;
}

/* The footer of the segment that is full now, as it will be after this commit. */
static int segment_finish(struct planner *planner)
{
	struct store *store = planner->store;
	struct store_commit *commit = planner->commit;
	bool created = planner->segment != store->active;
	size_t before = created ? 0 : store->entry_count;
	struct closing *closing = &commit->closings[commit->closing_count];
	struct segment after = *planner->segment;
	struct footer_entry *all = malloc((before + commit->entry_count + 1) * sizeof(*all));

	if (!all)
		return -ERR_NO_MEMORY;
	leg_end(planner);
	after.end = planner->tail;
	if (before)
		memcpy(all, store->entries, before * sizeof(*all));
	memcpy(all + before, commit->entries, commit->entry_count * sizeof(*all));
	*closing = closing_of(store, &after, all, before + commit->entry_count);
	/* One that is still to be created has no handle yet. */
	closing->leg = created ? &commit->legs[commit->leg_count - 1] : NULL;
	commit->closing_count++;
	commit->entry_count = 0;
	return 0;
}

static int segment_start(struct planner *planner, uint32_t length)
{
	struct store *store = planner->store;
	uint64_t least = align_up(record_size(length), STORE_BLOCK);
	struct segment *segment = segment_new(store->next_segment);

	if (!segment)
		return -ERR_NO_MEMORY;
	store->next_segment++;
	segment->limit = least > store->segment_size ? least : store->segment_size;
	planner->segment = segment;
	planner->tail = 0;
	return 0;
}

static void leg_start(struct planner *planner, struct store_write *first, bool create)
{
	struct store_commit *commit = planner->commit;

	planner->leg = &commit->legs[commit->leg_count++];
	*planner->leg = (struct leg){ .segment = planner->segment,
				      .file = planner->segment->file,
				      .create = create,
				      .offset = planner->tail,
				      .first = first };
}

static bool fits(const struct planner *planner, size_t size)
{
	return planner->segment &&
	       align_up(planner->tail + size, STORE_BLOCK) <= planner->segment->limit;
}

static int segment_change(struct planner *planner, uint32_t length)
{
	int rc = planner->segment ? segment_finish(planner) : 0;

	return rc < 0 ? rc : segment_start(planner, length);
}

static int write_place(struct planner *planner, struct store_write *write)
{
	struct store_commit *commit = planner->commit;
	size_t size = record_size(write->meta.length);
	bool create = !fits(planner, size);
	int rc = create ? segment_change(planner, write->meta.length) : 0;

	if (rc < 0)
		return rc;
	if (!planner->leg)
		leg_start(planner, write, create);
	planner->leg->count++;
	write->record.segment = planner->segment->number;
	write->record.offset = planner->tail;
	write->record.mark = planner->leg->offset;
	commit->entries[commit->entry_count++] =
		(struct footer_entry){ write->meta.chunk, (uint32_t)(planner->tail / RECORD_ALIGN),
				       write->meta.length };
	planner->tail += size;
	return 0;
}

static size_t small_count(const struct store_commit *commit)
{
	const struct store_write *write;
	size_t count = 0;

	STAILQ_FOREACH(write, &commit->writes, link)
		count += !write->large;
	return count;
}

/* All memory that finishing will need. */
static int room_make(struct store *store, struct store_commit *commit, size_t small)
{
	size_t entries = store->entry_count + small;
	int rc = index_reserve(&store->index, store->write_count);

	if (rc == 0)
		rc = segments_reserve(store, small);
	if (rc < 0)
		return rc;
	if (entries > store->entry_capacity) {
		size_t capacity = entries + entries / 2;
		struct footer_entry *grown =
			realloc(store->entries, capacity * sizeof(*store->entries));

		if (!grown)
			return -ERR_NO_MEMORY;
		store->entries = grown;
		store->entry_capacity = capacity;
	}
	/* At worst each write fills one segment up, and the active one before it. */
	commit->legs = calloc(small + 1, sizeof(*commit->legs));
	commit->closings = calloc(small + 1, sizeof(*commit->closings));
	commit->entries = malloc((small + 1) * sizeof(*commit->entries));
	return commit->legs && commit->closings && commit->entries ? 0 : -ERR_NO_MEMORY;
}

static int places_give(struct store *store, struct store_commit *commit)
{
	struct planner planner = { .store = store, .commit = commit, .segment = store->active };
	struct store_write *write;
	int rc = room_make(store, commit, small_count(commit));

	if (rc < 0)
		return rc;
	planner.tail = store->active ? store->active->end : 0;
	STAILQ_FOREACH(write, &commit->writes, link) {
		if (write->large) {
			commit->new_big_dir |= !big_dir_known(store, big_dir_of(write->meta.chunk));
			continue;
		}
		rc = write_place(&planner, write);
		if (rc < 0)
			return rc;
	}
	leg_end(&planner);
	return 0;
}

int store_commit_seal(struct store *store, struct store_commit *commit)
{
	if (store->busy)
		return -ERR_BUSY;
	if (store->failed)
		return -ERR_IO;
	store->busy = true;
	commit->sealed = true;
	return places_give(store, commit);
}

/* ---- afterwards ---- */

void index_enter(struct store *store, uint64_t chunk, const struct place *place)
{
	struct segment *segment = place->segment ? segment_find(store, place->segment) : NULL;
	struct place old;

	if (index_find(&store->index, chunk, &old))
		index_leave(store, chunk, &old);
	index_put(&store->index, chunk, place);
	if (segment)
		segment->live += record_size(place->length);
	store->changed = true;
	store->version++;
}

void index_leave(struct store *store, uint64_t chunk, const struct place *place)
{
	struct segment *segment = place->segment ? segment_find(store, place->segment) : NULL;

	index_remove(&store->index, chunk);
	if (segment) {
		segment->live -= record_size(place->length);
		store->upkeep = true;
	}
	store->changed = true;
}

/* The segments as they are after a commit that went well. */
static void legs_adopt(struct store *store, struct store_commit *commit)
{
	for (size_t i = 0; i < commit->leg_count; i++) {
		struct leg *leg = &commit->legs[i];

		if (leg->create) {
			if (store->active)
				store->active->sealed = true;
			store->active = leg->segment;
			store->entry_count = 0;
			/* Room for it was made when the commit was sealed. */
			segments_add(store, leg->segment);
			segment_opened(store, leg->segment, leg->file);
			store->upkeep = true;
			store->unseen = UINT64_MAX;
		}
		if (leg->zeros)
			leg->segment->zeroed = leg->offset + leg->size + leg->zeros;
		store->occupied += leg->offset + leg->size - leg->segment->end;
		leg->segment->end = leg->offset + leg->size;
		leg->create = false;
	}
	if (commit->entry_count)
		memcpy(store->entries + store->entry_count, commit->entries,
		       commit->entry_count * sizeof(*store->entries));
	store->entry_count += commit->entry_count;
}

static void legs_drop(struct store_commit *commit)
{
	for (size_t i = 0; i < commit->leg_count; i++) {
		struct leg *leg = &commit->legs[i];
		char path[STORE_PATH_MAX];

		if (!leg->create)
			continue;
		if (leg->file >= 0) {
			disk_close(commit->disk, leg->file);
			segment_path(leg->segment->number, path);
			if (!commit->fatal)
				(void)disk_unlink(commit->disk, path);
		}
		free(leg->segment);
		leg->create = false;
	}
}

void commit_settle(struct store *store, struct store_commit *commit, int result)
{
	if (commit->fatal)
		store->failed = true;
	if (result == 0)
		legs_adopt(store, commit);
	else
		legs_drop(commit);
	if (commit->sealed)
		store->busy = false;
}

void commit_free(struct store_commit *commit)
{
	for (size_t i = 0; i < commit->closing_count; i++)
		free(commit->closings[i].entries);
	free(commit->legs);
	free(commit->closings);
	free(commit->entries);
	free(commit);
}

static void large_adopt(struct store *store, struct store_write *write)
{
	struct place old;

	store->occupied += write->footprint;
	big_dir_learn(store, big_dir_of(write->meta.chunk));
	/* A damaged copy that was put aside has served its purpose. */
	if (index_find(&store->index, write->meta.chunk, &old) && old.bad)
		(void)removals_add(&store->removals,
				   &(struct removal){ .chunk = write->meta.chunk,
						      .bad = true,
						      .footprint = write->footprint });
}

static void write_drop(struct store *store, struct store_write *write)
{
	char path[STORE_PATH_MAX];

	if (write->file < 0 || store->failed)
		return;
	big_path(write->meta.chunk, ".new", path);
	(void)disk_unlink(store->disk, path);
}

static void write_settle(struct store *store, struct store_write *write, int result)
{
	struct place place = { .segment = write->record.segment,
			       .offset8 = (uint32_t)(write->record.offset / RECORD_ALIGN),
			       .length = write->meta.length };

	if (result < 0) {
		write_drop(store, write);
		return;
	}
	if (write->large)
		large_adopt(store, write);
	index_enter(store, write->meta.chunk, &place);
}

void store_commit_finish(struct store *store, struct store_commit *commit, int result,
			 store_done_fn *each, void *context)
{
	if (result == 0 && store->failed)
		result = -ERR_IO;
	commit_settle(store, commit, result);
	if (result == -ERR_LOCAL_FULL)
		result = -ERR_NO_SPACE;
	while (!STAILQ_EMPTY(&commit->writes)) {
		struct store_write *write = STAILQ_FIRST(&commit->writes);

		STAILQ_REMOVE_HEAD(&commit->writes, link);
		write_settle(store, write, result);
		if (each)
			each(context, write->tag, &write->meta, result);
		write_forget(store, write);
	}
	commit_free(commit);
}
