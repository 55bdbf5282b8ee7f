/* Finding the records of a segment again: from its footer, else by walking from header to header.
 *
 * The walk goes on at the next valid header wherever one is damaged. What lies before the highest
 * sync mark met was durable, so damage there is corruption. What lies behind it is the last group:
 * it may have reached the disk in part, so each of its records is checked whole, and what is not
 * whole was torn off by the crash. */
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

enum { WINDOW_MIN = 256 * 1024 };

struct walk {
	const struct store *store;
	const struct segment *segment;
	int file;
	uint64_t size;
	uint8_t *window;
	uint64_t window_start;
	size_t window_size, window_capacity;
	uint64_t mark;
	struct scan *scan;
};

/* `size` bytes at `offset`, or NULL with *error set (0: the file is shorter). Valid until the next
 * call. */
static const uint8_t *peek(struct walk *walk, uint64_t offset, size_t size, int *error)
{
	size_t want = size > WINDOW_MIN ? size : WINDOW_MIN;
	int64_t got;

	*error = 0;
	if (offset + size > walk->size)
		return NULL;
	if (offset >= walk->window_start && offset + size <= walk->window_start + walk->window_size)
		return walk->window + (offset - walk->window_start);
	if (want > walk->window_capacity) {
		uint8_t *grown = realloc(walk->window, want);

		if (!grown) {
			*error = -ERR_NO_MEMORY;
			return NULL;
		}
		walk->window = grown;
		walk->window_capacity = want;
	}
	got = disk_read(walk->store->disk, walk->file, walk->window, want, offset);
	walk->window_start = offset;
	walk->window_size = got < 0 ? 0 : (size_t)got;
	if (got < 0)
		*error = (int)got;
	return got < 0 || (size_t)got < size ? NULL : walk->window;
}

/* 1: a header that belongs here. */
static int header_at(struct walk *walk, uint64_t offset, struct record *ret)
{
	int error;
	const uint8_t *at = peek(walk, offset, RECORD_HEADER_SIZE, &error);

	if (!at)
		return error;
	if (get_u32(at) != record_magic() || !record_header_decode(at, ret) ||
	    ret->segment != walk->segment->number || ret->offset != offset ||
	    !id_equal(&ret->disk, &walk->store->identity.disk))
		return 0;
	return offset + record_size(ret->length) <= walk->size;
}

/* 1: all of the record is as it was written. */
static int record_is_whole(struct walk *walk, uint64_t offset)
{
	struct record record;
	const uint8_t *at;
	size_t table;
	int rc = header_at(walk, offset, &record);

	if (rc <= 0)
		return rc;
	at = peek(walk, offset, record_size(record.length), &rc);
	if (!at)
		return rc;
	table = 4 * block_count(record.length);
	at += RECORD_HEADER_SIZE;
	return crc32c(at, table) == record.table_crc &&
	       crc32c_blocks_match(at + table, record.length, at);
}

static int scan_add(struct scan *scan, const struct record *record)
{
	if (scan->count == scan->capacity) {
		size_t capacity = scan->capacity ? scan->capacity * 2 : 256;
		struct scanned *grown = realloc(scan->list, capacity * sizeof(*grown));

		if (!grown)
			return -ERR_NO_MEMORY;
		scan->list = grown;
		scan->capacity = capacity;
	}
	scan->list[scan->count++] = (struct scanned){
		.entry = { record->chunk, (uint32_t)(record->offset / RECORD_ALIGN),
			   record->length },
		.type = record->type,
	};
	if (record->generation > scan->generation)
		scan->generation = record->generation;
	return 0;
}

/* The end of a group is filled up with zeros. 1: they are there; *offset moves behind them. */
static int padding_skip(struct walk *walk, uint64_t *offset)
{
	size_t size = (size_t)(align_up(*offset, STORE_BLOCK) - *offset);
	const uint8_t *at;
	int error;

	if (!size)
		return 0;
	at = peek(walk, *offset, size, &error);
	if (!at)
		return error;
	for (size_t i = 0; i < size; i++)
		if (at[i])
			return 0;
	*offset += size;
	return 1;
}

/* How many bytes are zero from `at` on in the window. A segment that was being written ends in many
 * megabytes of them. */
static size_t zeros_ahead(const struct walk *walk, const uint8_t *at)
{
	static const uint8_t block[STORE_BLOCK];
	size_t left = walk->window_size - (size_t)(at - walk->window), zeros = 0;

	while (left - zeros >= STORE_BLOCK && memcmp(at + zeros, block, STORE_BLOCK) == 0)
		zeros += STORE_BLOCK;
	while (left - zeros >= RECORD_ALIGN && !get_u64(at + zeros))
		zeros += RECORD_ALIGN;
	return zeros;
}

/* From a place where no header is to the next one that is valid, or to the end of the file. Counts
 * bytes up to the last that is not zero: an allocated tail is no damage. */
static int resync(struct walk *walk, uint64_t *offset, uint64_t *ret_damaged)
{
	uint64_t start = *offset, last = *offset;
	struct record record;

	while (*offset + RECORD_ALIGN <= walk->size) {
		int rc;
		const uint8_t *at = peek(walk, *offset, RECORD_ALIGN, &rc);
		uint64_t zeros;

		if (!at)
			return rc;
		zeros = zeros_ahead(walk, at);
		*offset += zeros;
		if (zeros)
			continue;
		rc = *offset > start && get_u32(at) == record_magic()
			     ? header_at(walk, *offset, &record)
			     : 0;
		if (rc < 0)
			return rc;
		if (rc)
			break;
		*offset += RECORD_ALIGN;
		last = *offset;
	}
	*ret_damaged = last - start;
	if (*offset + RECORD_ALIGN > walk->size)
		*offset = walk->size;
	return 0;
}

struct span {
	uint64_t start, damaged;
	bool inside; /* a valid header follows */
};

static int spans_add(struct span **spans, size_t *count, const struct span *span)
{
	struct span *grown;

	if (!span->damaged && !span->inside)
		return 0;
	grown = realloc(*spans, (*count + 1) * sizeof(*grown));
	if (!grown)
		return -ERR_NO_MEMORY;
	*spans = grown;
	grown[(*count)++] = *span;
	return 0;
}

static int headers_walk(struct walk *walk, uint64_t offset, struct span **spans, size_t *count)
{
	int rc = 0;

	while (offset < walk->size && rc >= 0) {
		struct span span = { .start = offset };
		struct record record;

		rc = header_at(walk, offset, &record);
		if (rc > 0) {
			rc = scan_add(walk->scan, &record);
			if (record.mark > walk->mark)
				walk->mark = record.mark;
			offset += record_size(record.length);
			continue;
		}
		if (rc == 0)
			rc = padding_skip(walk, &offset);
		if (rc)
			continue;
		rc = resync(walk, &offset, &span.damaged);
		span.inside = offset < walk->size;
		if (rc == 0)
			rc = spans_add(spans, count, &span);
	}
	return rc < 0 ? rc : 0;
}

/* Drops records of the last group that are not whole; finds the end. */
static int tail_check(struct walk *walk)
{
	struct scan *scan = walk->scan;
	size_t kept = 0;

	for (size_t i = 0; i < scan->count; i++) {
		struct scanned *one = &scan->list[i];
		uint64_t offset = (uint64_t)one->entry.offset8 * RECORD_ALIGN;
		int rc = offset < walk->mark ? 1 : record_is_whole(walk, offset);

		if (rc < 0)
			return rc;
		if (rc == 0) {
			scan->torn_bytes += record_size(one->entry.length);
			continue;
		}
		scan->end = align_up(offset + record_size(one->entry.length), STORE_BLOCK);
		scan->list[kept++] = *one;
	}
	scan->count = kept;
	return 0;
}

static void voids_drop(struct scan *scan)
{
	size_t kept = 0;

	for (size_t i = 0; i < scan->count; i++)
		if (scan->list[i].type == RECORD_SMALL)
			scan->list[kept++] = scan->list[i];
	scan->count = kept;
}

static int segment_walk(struct walk *walk, uint64_t from)
{
	struct span *spans = NULL;
	size_t count = 0;
	int rc;

	walk->mark = from;
	walk->scan->end = from;
	rc = headers_walk(walk, from, &spans, &count);
	for (size_t i = 0; i < count && rc == 0; i++) {
		if (spans[i].start < walk->mark)
			walk->scan->damaged++;
		else
			walk->scan->torn_bytes += spans[i].damaged;
	}
	free(spans);
	if (rc == 0)
		rc = tail_check(walk);
	voids_drop(walk->scan);
	walk->scan->mark = walk->mark;
	return rc;
}

/* 1: the footer is whole and its records from `from` on are in the list. */
static int footer_scan(struct walk *walk, uint64_t from)
{
	struct footer footer;
	const uint8_t *at;
	size_t size;
	int rc;

	if (walk->size < STORE_BLOCK)
		return 0;
	at = peek(walk, walk->size - FOOTER_TRAILER_SIZE, FOOTER_TRAILER_SIZE, &rc);
	if (!at)
		return rc;
	if (!footer_decode(at, &footer) || footer.segment != walk->segment->number ||
	    !id_equal(&footer.disk, &walk->store->identity.disk) ||
	    footer.start + footer_size(footer.count) != walk->size || footer.start < from)
		return 0;
	size = (size_t)footer.count * FOOTER_ENTRY_SIZE;
	at = peek(walk, footer.start, size, &rc);
	if (!at || crc32c(at, size) != footer.entries_crc)
		return at ? 0 : rc;
	for (uint32_t i = 0; i < footer.count && rc == 0; i++) {
		struct footer_entry entry = footer_entry_decode(at + i * FOOTER_ENTRY_SIZE);
		struct record record = { .chunk = entry.chunk,
					 .offset = (uint64_t)entry.offset8 * RECORD_ALIGN,
					 .length = entry.length,
					 .type = RECORD_SMALL,
					 .generation = footer.generation };

		if (record.offset >= from && entry.length && entry.length <= CHUNK_SIZE_MAX)
			rc = scan_add(walk->scan, &record);
	}
	walk->scan->end = footer.start;
	walk->scan->sealed = true;
	return rc < 0 ? rc : 1;
}

int segment_scan(struct store *store, const struct segment *segment, uint64_t from,
		 struct scan *ret)
{
	struct walk walk = { .store = store, .segment = segment, .scan = ret };
	char path[STORE_PATH_MAX];
	int64_t size;
	int rc;

	*ret = (struct scan){ 0 };
	segment_path(segment->number, path);
	walk.file = disk_open(store->disk, path, DISK_READ_ONLY);
	if (walk.file < 0)
		return walk.file;
	size = disk_size(store->disk, walk.file);
	walk.size = size < 0 ? 0 : (uint64_t)size;
	rc = size < 0 ? (int)size : footer_scan(&walk, from);
	if (rc == 0)
		rc = segment_walk(&walk, from);
	free(walk.window);
	disk_close(store->disk, walk.file);
	return rc < 0 ? rc : 0;
}

void scan_done(struct scan *scan)
{
	free(scan->list);
}
