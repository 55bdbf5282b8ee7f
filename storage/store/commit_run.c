/* The one place where chunks become durable. Knows the commit alone, so any thread may do it. */
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

enum { PARTS_MAX = 512 };

static int fatal(struct store_commit *commit, int rc)
{
	if (rc < 0 && rc != -ERR_LOCAL_FULL)
		commit->fatal = true;
	return rc;
}

static int segment_create(struct store_commit *commit, struct leg *leg)
{
	char path[STORE_PATH_MAX];
	int rc;

	segment_path(leg->segment->number, path);
	leg->file = disk_open(commit->disk, path, DISK_CREATE | DISK_EXCLUSIVE);
	if (leg->file < 0)
		return leg->file;
	rc = disk_allocate(commit->disk, leg->file, 0, leg->segment->limit);
	return rc == -ERR_UNSUPPORTED ? 0 : rc;
}

static int segments_create(struct store_commit *commit)
{
	int rc = 0;

	for (size_t i = 0; i < commit->leg_count && rc == 0; i++)
		if (commit->legs[i].create)
			rc = segment_create(commit, &commit->legs[i]);
	return rc;
}

static bool is_intact(const struct store_write *write, struct record *found)
{
	const uint8_t *crcs = write->bytes + RECORD_HEADER_SIZE;
	size_t table = 4 * block_count(write->meta.length);

	return record_header_decode(write->bytes, found) && found->chunk == write->meta.chunk &&
	       found->length == write->meta.length && found->offset == write->source_offset &&
	       id_equal(&found->disk, &write->record.disk) &&
	       found->table_crc == crc32c(crcs, table) &&
	       crc32c_blocks_match(crcs + table, write->meta.length, crcs);
}

/* What cannot be moved has a place all the same; it is filled with a void. A read that fails says
 * nothing about the chunk yet, wrong bytes do. */
static void source_check(struct store_write *write)
{
	size_t size = record_size(write->meta.length);
	struct record found;
	int64_t got =
		disk_read(write->disk, write->source, write->bytes, size, write->source_offset);

	write->damaged = got >= 0 && ((size_t)got < size || !is_intact(write, &found));
	if (got < 0 || write->damaged) {
		write->record.type = RECORD_VOID;
		memset(write->bytes, 0, size);
		return;
	}
	write->record.file = found.file;
	write->record.epoch = found.epoch;
	write->record.digest = found.digest;
}

static void header_write(struct store_write *write)
{
	write->record.table_crc =
		crc32c(write->bytes + RECORD_HEADER_SIZE, 4 * block_count(write->meta.length));
	record_header_encode(&write->record, write->bytes);
}

static struct store_write *next_small(struct store_write *write)
{
	do
		write = STAILQ_NEXT(write, link);
	while (write && write->large);
	return write;
}

/* One write for the whole group, unless it has more parts than the system takes at once. */
static int leg_write(struct store_commit *commit, const struct leg *leg)
{
	static const uint8_t padding[STORE_BLOCK];
	struct iovec parts[PARTS_MAX];
	struct store_write *write = leg->first;
	uint64_t at = leg->offset, end = leg->offset;
	int count = 0, rc = 0;

	for (size_t i = 0; i < leg->count && rc == 0; i++, write = next_small(write)) {
		size_t size = record_size(write->meta.length);

		if (write->source >= 0)
			source_check(write);
		header_write(write);
		parts[count++] = (struct iovec){ write->bytes, size };
		end += size;
		if (count < PARTS_MAX - 1)
			continue;
		rc = disk_writev(commit->disk, leg->file, parts, count, at);
		at = end;
		count = 0;
	}
	if (rc < 0)
		return rc;
	if (end < leg->offset + leg->size)
		parts[count++] = (struct iovec){ (void *)(uintptr_t)padding,
						 (size_t)(leg->offset + leg->size - end) };
	return count ? disk_writev(commit->disk, leg->file, parts, count, at) : 0;
}

/* Fills blocks that are still to come, so that later groups find them written. */
static int leg_zero(struct store_commit *commit, const struct leg *leg)
{
	int rc = leg->zeros
			 ? disk_zero(commit->disk, leg->file, leg->offset + leg->size, leg->zeros)
			 : 0;

	return rc == -ERR_LOCAL_FULL ? 0 : rc;
}

static int contents_write(struct store_commit *commit)
{
	struct store_write *write;
	int rc = 0;

	for (size_t i = 0; i < commit->leg_count && rc == 0; i++) {
		rc = leg_write(commit, &commit->legs[i]);
		if (rc == 0)
			rc = leg_zero(commit, &commit->legs[i]);
	}
	STAILQ_FOREACH(write, &commit->writes, link) {
		if (rc < 0)
			break;
		if (!write->large)
			continue;
		header_write(write);
		rc = disk_write(commit->disk, write->file, write->bytes, STORE_BLOCK, 0);
	}
	return fatal(commit, rc);
}

/* Whatever a sync says went wrong, nothing about the file is certain any more. */
static int contents_sync(struct store_commit *commit)
{
	struct store_write *write;
	int rc = 0;

	for (size_t i = 0; i < commit->leg_count && rc == 0; i++)
		rc = disk_sync_file(commit->disk, commit->legs[i].file);
	STAILQ_FOREACH(write, &commit->writes, link)
		if (write->large && rc == 0)
			rc = disk_sync_file(commit->disk, write->file);
	if (rc < 0)
		commit->fatal = true;
	return rc < 0 ? -ERR_IO : 0;
}

static int large_name(struct store_commit *commit, struct store_write *write)
{
	char from[STORE_PATH_MAX], to[STORE_PATH_MAX];

	big_path(write->meta.chunk, ".new", from);
	big_path(write->meta.chunk, "", to);
	return disk_rename(commit->disk, from, to);
}

/* Each directory once. */
static int big_dirs_sync(struct store_commit *commit)
{
	uint8_t done[BIG_DIRS / 8] = { 0 };
	struct store_write *write;
	int rc = commit->new_big_dir ? disk_sync_dir(commit->disk, "big") : 0;

	STAILQ_FOREACH(write, &commit->writes, link) {
		unsigned int dir = big_dir_of(write->meta.chunk);
		char path[STORE_PATH_MAX];

		if (!write->large || rc < 0 || done[dir / 8] >> dir % 8 & 1)
			continue;
		done[dir / 8] = (uint8_t)(done[dir / 8] | 1u << dir % 8);
		big_dir_path(write->meta.chunk, path);
		rc = disk_sync_dir(commit->disk, path);
	}
	return rc;
}

static int names_sync(struct store_commit *commit)
{
	struct store_write *write;
	bool created = false;
	int rc = 0;

	for (size_t i = 0; i < commit->leg_count; i++)
		created |= commit->legs[i].create;
	if (created)
		rc = disk_sync_dir(commit->disk, "seg");
	STAILQ_FOREACH(write, &commit->writes, link)
		if (write->large && rc == 0)
			rc = large_name(commit, write);
	if (rc == 0)
		rc = big_dirs_sync(commit);
	if (rc < 0)
		commit->fatal = true;
	return rc;
}

int closing_write(struct disk *disk, struct closing *closing)
{
	size_t size = footer_size(closing->footer.count);
	uint8_t *data = malloc(size);
	int rc;

	if (!data)
		return -ERR_NO_MEMORY;
	footer_encode(&closing->footer, closing->entries, data);
	rc = disk_write(disk, closing->file, data, size, closing->footer.start);
	free(data);
	return rc < 0 ? rc : disk_truncate(disk, closing->file, closing->footer.start + size);
}

static void entries_strike(struct footer_entry *entries, size_t count,
			   const struct store_write *write)
{
	for (size_t i = 0; i < count; i++)
		if (entries[i].chunk == write->meta.chunk &&
		    (uint64_t)entries[i].offset8 * RECORD_ALIGN == write->record.offset)
			entries[i].length = 0;
}

/* A void is no copy of the chunk. */
static void voids_strike(struct store_commit *commit)
{
	const struct store_write *write;

	STAILQ_FOREACH(write, &commit->writes, link) {
		if (write->record.type != RECORD_VOID)
			continue;
		for (size_t i = 0; i < commit->closing_count; i++)
			if (commit->closings[i].footer.segment == write->record.segment)
				entries_strike(commit->closings[i].entries,
					       commit->closings[i].footer.count, write);
		entries_strike(commit->entries, commit->entry_count, write);
	}
}

/* Footers need no sync: a segment without one is walked through at the next start. */
static void footers_write(struct store_commit *commit)
{
	voids_strike(commit);
	for (size_t i = 0; i < commit->closing_count; i++) {
		struct closing *closing = &commit->closings[i];

		if (closing->leg)
			closing->file = closing->leg->file;
		(void)closing_write(commit->disk, closing);
	}
}

int store_commit_run(struct store_commit *commit)
{
	int rc = segments_create(commit);

	if (rc == 0)
		rc = contents_write(commit);
	if (rc == 0)
		rc = contents_sync(commit);
	if (rc == 0)
		rc = names_sync(commit);
	if (rc == 0)
		footers_write(commit);
	return rc;
}
