/* Opening: what the checkpoint says, what segments say that were written after it, and what large
 * files there are. Afterwards every segment is sealed; new chunks go to a new one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

enum { REWRITE_STEP = 1024 * 1024 };

struct recovery {
	struct store *store;
	struct store_report *report;
	struct checkpoint checkpoint;
	uint32_t *numbers; /* of the segments there are */
	size_t number_count;
	uint64_t generation; /* the highest met anywhere */
	unsigned int dir;    /* the one of big/ that is being read */
	bool unsynced;       /* names in it may not be durable */
};

static int number_add(void *context, const char *name, bool directory)
{
	struct recovery *recovery = context;
	uint32_t *grown;
	uint32_t number;
	int length = 0;

	if (directory || strlen(name) != 8 ||
	    sscanf(name, "%8" SCNx32 "%n", &number, &length) != 1 || length != 8 || !number)
		return 0;
	grown = realloc(recovery->numbers, (recovery->number_count + 1) * sizeof(*grown));
	if (!grown)
		return -ERR_NO_MEMORY;
	recovery->numbers = grown;
	grown[recovery->number_count++] = number;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static const struct covered *covered_find(const struct checkpoint *checkpoint, uint32_t number)
{
	for (size_t i = 0; i < checkpoint->covered_count; i++)
		if (checkpoint->covered[i].number == number)
			return &checkpoint->covered[i];
	return NULL;
}

/* All records a segment has, for its footer: what the checkpoint knows of it and what was found.
 * Dead ones before the checkpoint are left out; that only makes them stay dead. */
static int entries_of(struct store *store, uint32_t number, struct footer_entry **ret,
		      size_t *ret_count)
{
	struct footer_entry *list = NULL;
	struct place place;
	uint64_t chunk;
	size_t count = 0, cursor = 0;

	while (index_next(&store->index, &cursor, &chunk, &place))
		count += place.segment == number;
	list = malloc((count + 1) * sizeof(*list));
	if (!list)
		return -ERR_NO_MEMORY;
	for (count = 0, cursor = 0; index_next(&store->index, &cursor, &chunk, &place);)
		if (place.segment == number)
			list[count++] = (struct footer_entry){ chunk, place.offset8, place.length };
	*ret = list;
	*ret_count = count;
	return 0;
}

/* Writes the last group once more, as it is. If a sync of it failed before this start, the kernel
 * holds pages that it calls clean and the disk does not have: reads show them, a sync passes over
 * them, a power cut loses them. */
static int tail_rewrite(struct store *store, const struct segment *segment, uint64_t from)
{
	uint8_t *copy = from < segment->end ? malloc(REWRITE_STEP) : NULL;
	int rc = copy || from >= segment->end ? 0 : -ERR_NO_MEMORY;

	while (from < segment->end && rc == 0) {
		uint64_t left = segment->end - from;
		size_t part = left < REWRITE_STEP ? (size_t)left : REWRITE_STEP;
		int64_t got = disk_read(store->disk, segment->file, copy, part, from);

		rc = got <= 0 ? (int)got
			      : disk_write(store->disk, segment->file, copy, (size_t)got, from);
		from += got <= 0 ? left : (uint64_t)got;
	}
	free(copy);
	return rc;
}

/* Cuts off what is torn and writes the footer. All of it is synced: this process may have been
 * killed before, and what it left is served from now on. */
static int segment_seal(struct store *store, struct segment *segment, uint64_t mark)
{
	struct footer_entry *entries;
	struct closing closing;
	size_t count;
	int rc = segment_open(store, segment);

	if (rc < 0)
		return rc;
	rc = entries_of(store, segment->number, &entries, &count);
	if (rc < 0)
		return rc;
	closing = closing_of(store, segment, entries, count);
	rc = disk_truncate(store->disk, segment->file, segment->end);
	if (rc == 0)
		rc = tail_rewrite(store, segment, mark);
	if (rc == 0)
		rc = disk_sync_file(store->disk, segment->file);
	/* Not before the records are durable, and it may as well be missing. */
	if (rc == 0 && closing_write(store->disk, &closing) < 0)
		(void)disk_truncate(store->disk, segment->file, segment->end);
	free(entries);
	return rc;
}

static int scan_enter(struct recovery *recovery, const struct segment *segment,
		      const struct scan *scan)
{
	struct store *store = recovery->store;
	int rc = index_reserve(&store->index, scan->count);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < scan->count; i++) {
		const struct footer_entry *entry = &scan->list[i].entry;
		struct place place = { .segment = segment->number,
				       .offset8 = entry->offset8,
				       .length = entry->length };

		index_put(&store->index, entry->chunk, &place);
	}
	recovery->report->torn_bytes += scan->torn_bytes;
	recovery->report->quarantined += scan->damaged;
	if (scan->generation > recovery->generation)
		recovery->generation = scan->generation;
	return 0;
}

static int segment_remove(struct store *store, struct segment *segment)
{
	char path[STORE_PATH_MAX];

	segment_path(segment->number, path);
	segments_remove(store, segment);
	return disk_unlink(store->disk, path);
}

/* What the checkpoint does not cover of a segment. */
static int segment_recover(struct recovery *recovery, struct segment *segment, uint64_t from)
{
	struct store *store = recovery->store;
	struct scan scan;
	int rc = segment_scan(store, segment, from, &scan);

	if (rc == 0)
		rc = scan_enter(recovery, segment, &scan);
	if (rc == 0) {
		segment->end = scan.end;
		if (!scan.sealed && recovery->generation <= store->identity.generation)
			rc = scan.end ? segment_seal(store, segment, scan.mark)
				      : segment_remove(store, segment);
		else if (scan.sealed && segment_open(store, segment) >= 0)
			rc = disk_sync_file(store->disk, segment->file);
	}
	scan_done(&scan);
	return rc;
}

static int segment_load(struct recovery *recovery, uint32_t number)
{
	const struct covered *covered = covered_find(&recovery->checkpoint, number);
	struct store *store = recovery->store;
	struct segment *segment = segment_new(number);
	int rc = segment ? segments_reserve(store, 1) : -ERR_NO_MEMORY;

	if (rc < 0) {
		free(segment);
		return rc;
	}
	segment->sealed = true;
	segments_add(store, segment);
	if (number >= store->next_segment)
		store->next_segment = number + 1;
	if (!covered || !covered->sealed)
		return segment_recover(recovery, segment, covered ? covered->end : 0);
	segment->end = covered->end;
	return 0;
}

static int segments_load(struct recovery *recovery)
{
	struct store *store = recovery->store;
	int rc = disk_list(store->disk, "seg", number_add, recovery);

	if (rc < 0)
		return rc;
	if (recovery->number_count)
		qsort(recovery->numbers, recovery->number_count, sizeof(*recovery->numbers),
		      by_number);
	/* Ascending, so that of two copies of a chunk the one written last counts. */
	for (size_t i = 0; i < recovery->number_count && rc == 0; i++)
		rc = segment_load(recovery, recovery->numbers[i]);
	return rc < 0 ? rc : disk_sync_dir(store->disk, "seg");
}

/* ---- large chunks ---- */

static int large_length(struct store *store, const char *path, uint32_t *ret)
{
	int file = disk_open(store->disk, path, DISK_READ_ONLY);
	int64_t size;

	if (file < 0)
		return file;
	size = disk_size(store->disk, file);
	disk_close(store->disk, file);
	if (size < 0)
		return (int)size;
	*ret = size > STORE_BLOCK && size <= STORE_BLOCK + CHUNK_SIZE_MAX
		       ? (uint32_t)(size - STORE_BLOCK)
		       : 0;
	return 0;
}

/* Not in the checkpoint: written, put aside or revived after it. */
static int large_found(struct recovery *recovery, uint64_t chunk, bool bad)
{
	struct store *store = recovery->store;
	struct place place = { .bad = bad, .seen = true };
	char path[STORE_PATH_MAX];
	int rc;

	big_path(chunk, bad ? ".bad" : "", path);
	rc = large_length(store, path, &place.length);
	if (rc < 0)
		return rc;
	recovery->unsynced = true;
	if (!place.length) {
		recovery->report->quarantined++;
		return 0;
	}
	rc = index_reserve(&store->index, 1);
	if (rc == 0)
		index_put(&store->index, chunk, &place);
	return rc;
}

static int large_enter(struct recovery *recovery, uint64_t chunk, bool bad)
{
	struct store *store = recovery->store;
	struct place place;
	bool known = index_find(&store->index, chunk, &place);

	if (known && place.segment == 0 && place.bad == bad) {
		place.seen = true;
		index_put(&store->index, chunk, &place);
		return 0;
	}
	/* A good one beside it makes a bad one superfluous. */
	if (bad && known && place.seen)
		return removals_add(&store->removals,
				    &(struct removal){ .chunk = chunk, .bad = true });
	if (!bad && known && place.seen) {
		int rc = removals_add(&store->removals,
				      &(struct removal){ .chunk = chunk, .bad = true });

		if (rc < 0)
			return rc;
	}
	return large_found(recovery, chunk, bad);
}

/* "0123456789abcdef" and perhaps ".new" or ".bad". */
static int large_name(void *context, const char *name, bool directory)
{
	struct recovery *recovery = context;
	uint64_t chunk;
	int length = 0;

	if (directory || strlen(name) < 16 ||
	    sscanf(name, "%16" SCNx64 "%n", &chunk, &length) != 1 || length != 16 ||
	    big_dir_of(chunk) != recovery->dir)
		return 0;
	if (strcmp(name + 16, ".new") == 0) {
		char path[STORE_PATH_MAX];

		big_path(chunk, ".new", path);
		return disk_unlink(recovery->store->disk, path);
	}
	if (name[16] && strcmp(name + 16, ".bad") != 0)
		return 0;
	return large_enter(recovery, chunk, name[16] != '\0');
}

/* The names are gathered first: unlinking while a directory is read may hide others. */
struct names {
	char (*list)[24];
	size_t count, capacity;
};

static int name_add(void *context, const char *name, bool directory)
{
	struct names *names = context;

	if (directory || strlen(name) >= sizeof(*names->list))
		return 0;
	if (names->count == names->capacity) {
		size_t capacity = names->capacity ? names->capacity * 2 : 64;
		void *grown = realloc(names->list, capacity * sizeof(*names->list));

		if (!grown)
			return -ERR_NO_MEMORY;
		names->list = grown;
		names->capacity = capacity;
	}
	memcpy(names->list[names->count++], name, strlen(name) + 1);
	return 0;
}

static int big_dir_load(void *context, const char *name, bool directory)
{
	struct recovery *recovery = context;
	struct store *store = recovery->store;
	struct names names = { 0 };
	char path[STORE_PATH_MAX];
	int length = 0;
	int rc;

	if (!directory || sscanf(name, "%2x%n", &recovery->dir, &length) != 1 || length != 2 ||
	    name[2])
		return 0;
	snprintf(path, sizeof(path), "big/%02x", recovery->dir);
	recovery->unsynced = false;
	rc = disk_list(store->disk, path, name_add, &names);
	for (size_t i = 0; i < names.count && rc == 0; i++)
		rc = large_name(recovery, names.list[i], false);
	free(names.list);
	if (rc == 0 && recovery->unsynced)
		rc = disk_sync_dir(store->disk, path);
	big_dir_learn(store, recovery->dir);
	return rc;
}

static int dirs_add(void *context, const char *name, bool directory)
{
	return directory ? name_add(context, name, false) : 0;
}

static int large_load(struct recovery *recovery)
{
	struct store *store = recovery->store;
	struct names dirs = { 0 };
	int rc = disk_list(store->disk, "big", dirs_add, &dirs);

	for (size_t i = 0; i < dirs.count && rc == 0; i++)
		rc = big_dir_load(recovery, dirs.list[i], true);
	free(dirs.list);
	return rc < 0 ? rc : disk_sync_dir(store->disk, "big");
}

/* ---- all together ---- */

static bool is_there(const struct store *store, const struct place *place)
{
	const struct segment *segment;

	if (!place->segment)
		return place->seen;
	segment = segment_find(store, place->segment);
	return segment &&
	       (uint64_t)place->offset8 * RECORD_ALIGN + record_size(place->length) <= segment->end;
}

/* Forgets what the checkpoint names but no file holds any more. */
static void missing_drop(struct store *store)
{
	struct place place;
	uint64_t chunk;
	size_t cursor = 0;

	while (index_next(&store->index, &cursor, &chunk, &place)) {
		if (is_there(store, &place))
			continue;
		index_remove(&store->index, chunk);
		cursor--;
	}
}

static void space_count(struct store *store)
{
	struct place place;
	uint64_t chunk;
	size_t cursor = 0;

	for (size_t i = 0; i < store->segment_count; i++)
		store->occupied += store->segments[i]->end;
	while (index_next(&store->index, &cursor, &chunk, &place)) {
		if (place.segment)
			segment_find(store, place.segment)->live += record_size(place.length);
		else
			store->occupied += STORE_BLOCK + align_up(place.length, STORE_BLOCK);
	}
}

int store_recover(struct store *store, struct store_report *report)
{
	struct recovery recovery = { .store = store, .report = report };
	int rc = checkpoint_load(store, &recovery.checkpoint);

	store->changed = rc < 0;
	if (rc == -ERR_NOT_FOUND)
		rc = 0;
	recovery.generation = recovery.checkpoint.generation;
	store->next_segment = recovery.checkpoint.next_segment;
	if (!store->next_segment)
		store->next_segment = 1;
	if (rc == 0)
		rc = segments_load(&recovery);
	if (rc == 0)
		rc = large_load(&recovery);
	if (rc == 0 && recovery.generation > store->identity.generation)
		rc = -ERR_STALE;
	checkpoint_done(&recovery.checkpoint);
	free(recovery.numbers);
	if (rc < 0)
		return rc;
	missing_drop(store);
	space_count(store);
	store->upkeep = true;
	report->chunks = store->index.good;
	report->bytes = store->index.bytes;
	return 0;
}
