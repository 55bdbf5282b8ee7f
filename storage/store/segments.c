/* The segments of a store and their handles. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

struct segment *segment_new(uint32_t number)
{
	struct segment *segment = calloc(1, sizeof(*segment));

	if (segment) {
		segment->number = number;
		segment->file = -1;
	}
	return segment;
}

/* Where `number` is or would be. */
static size_t position(const struct store *store, uint32_t number)
{
	size_t from = 0, to = store->segment_count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (store->segments[middle]->number < number)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

struct segment *segment_find(const struct store *store, uint32_t number)
{
	size_t at = position(store, number);

	if (at == store->segment_count || store->segments[at]->number != number)
		return NULL;
	return store->segments[at];
}

int segments_reserve(struct store *store, size_t more)
{
	size_t capacity = store->segment_count + more;
	struct segment **grown;

	if (capacity <= store->segment_capacity)
		return 0;
	capacity += capacity / 2;
	grown = realloc(store->segments, capacity * sizeof(struct segment *));
	if (!grown)
		return -ERR_NO_MEMORY;
	store->segments = grown;
	store->segment_capacity = capacity;
	return 0;
}

void segments_add(struct store *store, struct segment *segment)
{
	size_t at = position(store, segment->number);

	assert(store->segment_count < store->segment_capacity);
	memmove(store->segments + at + 1, store->segments + at,
		(store->segment_count - at) * sizeof(struct segment *));
	store->segments[at] = segment;
	store->segment_count++;
}

static void segment_close(struct store *store, struct segment *segment)
{
	if (segment->file < 0)
		return;
	DL_DELETE(store->open_segments, segment);
	store->open_count--;
	disk_close(store->disk, segment->file);
	segment->file = -1;
}

void segments_remove(struct store *store, struct segment *segment)
{
	size_t at = position(store, segment->number);

	assert(at < store->segment_count && store->segments[at] == segment);
	store->segment_count--;
	memmove(store->segments + at, store->segments + at + 1,
		(store->segment_count - at) * sizeof(struct segment *));
	segment->dead = true;
	if (segment->pins)
		return;
	segment_close(store, segment);
	free(segment);
}

void segments_done(struct store *store)
{
	for (size_t i = 0; i < store->segment_count; i++) {
		segment_close(store, store->segments[i]);
		free(store->segments[i]);
	}
	free(store->segments);
	/* Unlinked ones that a reader still held. */
	while (store->open_segments) {
		struct segment *segment = store->open_segments;

		segment_close(store, segment);
		free(segment);
	}
}

static void handles_trim(struct store *store)
{
	struct segment *segment = store->open_segments ? store->open_segments->prev : NULL;

	while (segment && store->open_count > OPEN_SEGMENTS_MAX) {
		struct segment *before = segment == store->open_segments ? NULL : segment->prev;

		if (!segment->pins && segment != store->active)
			segment_close(store, segment);
		segment = before;
	}
}

void segment_opened(struct store *store, struct segment *segment, int file)
{
	segment->file = file;
	DL_PREPEND(store->open_segments, segment);
	store->open_count++;
	segment->pins++;
	handles_trim(store);
	segment->pins--;
}

int segment_open(struct store *store, struct segment *segment)
{
	char path[STORE_PATH_MAX];
	int file;

	if (segment->file >= 0) {
		DL_DELETE(store->open_segments, segment);
		DL_PREPEND(store->open_segments, segment);
		return segment->file;
	}
	segment_path(segment->number, path);
	file = disk_open(store->disk, path, 0);
	if (file >= 0)
		segment_opened(store, segment, file);
	return file;
}

void segment_unpin(struct store *store, struct segment *segment)
{
	assert(segment->pins);
	if (--segment->pins || !segment->dead)
		return;
	segment_close(store, segment);
	free(segment);
}

void segment_path(uint32_t number, char ret[STORE_PATH_MAX])
{
	snprintf(ret, STORE_PATH_MAX, "seg/%08" PRIx32, number);
}

unsigned int big_dir_of(uint64_t chunk)
{
	return (unsigned int)(chunk >> BIG_DIR_SHIFT) % BIG_DIRS;
}

void big_dir_path(uint64_t chunk, char ret[STORE_PATH_MAX])
{
	snprintf(ret, STORE_PATH_MAX, "big/%02x", big_dir_of(chunk));
}

void big_path(uint64_t chunk, const char *suffix, char ret[STORE_PATH_MAX])
{
	snprintf(ret, STORE_PATH_MAX, "big/%02x/%016" PRIx64 "%s", big_dir_of(chunk), chunk,
		 suffix);
}
