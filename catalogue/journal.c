#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "journal.h"
#include "journal_format.h"

enum {
	FILE_SIZE_MAX = 64 * 1024 * 1024, /* then the next file is first */
	/* Bytes behind a group that are written before they are needed, at most; in such steps. */
	ZERO_AHEAD = 4 * 1024 * 1024,
	ZERO_STEP = 1024 * 1024,
	ZERO_PART = 16, /* of the disk */
};

struct journal_file {
	uint32_t number;
	uint64_t last; /* sequence of its last batch; 0: it has none */
};

struct journal {
	struct disk *disk;
	struct journal_file *files; /* by number; the last one is written to */
	unsigned int count;
	int file;        /* handle of the last one, or -1 */
	uint64_t offset; /* where its next group begins */
	uint64_t zeroed; /* up to here it has been filled */
	uint64_t ahead;  /* so far it shall be, behind `offset` */
	bool tight;      /* but there was no room */
	struct journal_head head;
	int poison; /* the failure after which nothing is believed, or 0 */
};

static struct journal_file *last_file(struct journal *journal)
{
	return &journal->files[journal->count - 1];
}

static int file_add(struct journal *journal, uint32_t number)
{
	struct journal_file *files =
		realloc(journal->files, (journal->count + 1) * sizeof(*journal->files));

	if (!files)
		return -ERR_NO_MEMORY;
	journal->files = files;
	files[journal->count++] = (struct journal_file){ .number = number };
	return 0;
}

/* ---- the chain ---- */

static bool continues(const struct journal_head *head, const struct batch_head *batch)
{
	if (head->sequence == 0)
		return batch->sequence > 0;
	return batch->sequence == head->sequence + 1 && batch->epoch >= head->epoch &&
	       digest_equal(&batch->previous, &head->hash);
}

/* Takes the first batch off `rest` and moves the head on to it: 1; 0: none is left. */
static int chain_next(struct journal_head *head, struct slice *rest, struct batch_head *ret,
		      struct slice *ret_changes)
{
	struct digest hash;
	size_t size;
	int rc;

	if (rest->size == 0)
		return 0;
	rc = batch_read(*rest, ret, ret_changes, &size, &hash);
	if (rc <= 0 || !continues(head, ret))
		return -ERR_CORRUPT;
	*rest = (struct slice){ rest->data + size, rest->size - size };
	*head = (struct journal_head){ ret->epoch, ret->sequence, hash };
	return 1;
}

/* ---- reading ---- */

struct recovery {
	struct journal *journal;
	uint64_t after;
	journal_batch_fn *each;
	void *context;
	struct journal_file *file; /* being read */
	uint64_t size;             /* of it */
	uint64_t last_group;       /* where its last whole group begins; UINT64_MAX: it has none */
	struct buffer group;       /* the group just read */
};

static bool batches_verify(struct slice batches)
{
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	size_t size;

	while (batches.size > 0) {
		if (batch_read(batches, &head, &changes, &size, &hash) <= 0)
			return false;
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
	return true;
}

/* Of the batches in the group at `offset`; 0: there is no group, since none is ever empty. */
static int64_t group_size(struct recovery *recovery, uint64_t offset)
{
	uint8_t header[GROUP_HEADER_SIZE];
	struct journal *journal = recovery->journal;
	int64_t got = disk_read(journal->disk, journal->file, header, sizeof(header), offset);
	uint32_t size;

	if (got < 0)
		return got;
	if (got < GROUP_HEADER_SIZE || memcmp(header, journal_magic, sizeof(journal_magic)) != 0)
		return 0;
	size = get_u32(header + 4);
	return size > recovery->size - offset - GROUP_HEADER_SIZE ? 0 : (int64_t)size;
}

/* 1: there is a whole valid group at `offset`, now in recovery->group; 0: there is none. */
static int group_read(struct recovery *recovery, uint64_t offset)
{
	struct journal *journal = recovery->journal;
	int64_t size = group_size(recovery, offset);
	uint8_t *at;

	if (size <= 0)
		return (int)size;
	buffer_clear(&recovery->group);
	at = buffer_extend(&recovery->group, (size_t)size);
	if (!at)
		return recovery->group.error;
	size = disk_read(journal->disk, journal->file, at, (size_t)size,
			 offset + GROUP_HEADER_SIZE);
	if (size < 0)
		return (int)size;
	return (size_t)size == recovery->group.size &&
	       batches_verify((struct slice){ at, (size_t)size });
}

static int group_replay(struct recovery *recovery)
{
	struct journal *journal = recovery->journal;
	struct slice rest = { recovery->group.data, recovery->group.size };
	struct batch_head head;
	struct slice changes;
	bool first = journal->head.sequence == 0;
	int rc;

	while ((rc = chain_next(&journal->head, &rest, &head, &changes)) > 0) {
		if (first && head.sequence - 1 > recovery->after)
			return -ERR_STALE;
		first = false;
		recovery->file->last = head.sequence;
		if (head.sequence <= recovery->after && recovery->after != JOURNAL_WHOLE)
			continue;
		rc = recovery->each(recovery->context, &head, changes);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* The group at `offset` is bad. Was it being written when the power went? */
static int tail_check(struct recovery *recovery, uint64_t offset)
{
	for (uint64_t at = offset + ALIGNMENT; at < recovery->size; at += ALIGNMENT) {
		int rc = group_read(recovery, at);

		if (rc < 0)
			return rc;
		if (rc == 1)
			return -ERR_CORRUPT;
	}
	return 0;
}

/* What another version wrote must not pass for a torn write and be cut off. */
static int version_check(struct recovery *recovery, uint64_t offset)
{
	struct journal *journal = recovery->journal;
	uint8_t magic[sizeof(journal_magic)];
	int64_t got = disk_read(journal->disk, journal->file, magic, sizeof(magic), offset);

	if (got < 0)
		return (int)got;
	if (got < (int64_t)sizeof(magic) || memcmp(magic, journal_magic, sizeof(magic) - 1) != 0)
		return 0;
	return magic[sizeof(magic) - 1] == journal_magic[sizeof(magic) - 1] ? 0 : -ERR_BAD_FORMAT;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* 1: nothing but zeros written ahead. */
static int tail_is_zero(struct recovery *recovery, uint64_t offset)
{
	struct journal *journal = recovery->journal;
	uint8_t bytes[16 * ALIGNMENT];

	while (offset < recovery->size) {
		int64_t got = disk_read(journal->disk, journal->file, bytes, sizeof(bytes), offset);

		if (got <= 0 || !is_zero(bytes, (size_t)got))
			return got < 0 ? (int)got : got == 0;
		offset += (uint64_t)got;
	}
	return 1;
}

static int tail_cut(struct recovery *recovery, uint64_t offset)
{
	struct journal *journal = recovery->journal;
	int rc = tail_is_zero(recovery, offset);

	if (rc == 1)
		journal->zeroed = recovery->size;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = tail_check(recovery, offset);

	if (rc == 0)
		rc = disk_truncate(journal->disk, journal->file, offset);
	if (rc == 0)
		rc = disk_sync_file(journal->disk, journal->file);
	return rc;
}

/* Whoever wrote the last group may have died before its sync, or been told that it failed: then it
 * is only in memory, and reading it proves nothing. */
static int last_group_secure(struct recovery *recovery)
{
	struct journal *journal = recovery->journal;
	uint64_t at = recovery->last_group;
	int rc;

	if (at == UINT64_MAX)
		return 0;
	rc = group_read(recovery, at);
	if (rc == 0)
		return -ERR_IO;
	if (rc == 1)
		rc = disk_write(journal->disk, journal->file, recovery->group.data,
				recovery->group.size, at + GROUP_HEADER_SIZE);
	if (rc == 0)
		rc = disk_sync_file(journal->disk, journal->file);
	return rc;
}

static int file_replay(struct recovery *recovery, bool last)
{
	struct journal *journal = recovery->journal;
	int64_t size = disk_size(journal->disk, journal->file);
	uint64_t offset = 0;
	int rc = 1;

	if (size < 0)
		return (int)size;
	recovery->size = (uint64_t)size;
	recovery->last_group = UINT64_MAX;
	while (offset < recovery->size) {
		rc = group_read(recovery, offset);
		if (rc <= 0)
			break;
		recovery->last_group = offset;
		offset = align(offset + GROUP_HEADER_SIZE + recovery->group.size);
		rc = group_replay(recovery);
		if (rc < 0)
			return rc;
	}
	journal->offset = offset;
	if (rc < 0)
		return rc;
	rc = 0;
	if (offset < recovery->size)
		rc = version_check(recovery, offset);
	if (rc == 0 && offset < recovery->size)
		rc = last ? tail_cut(recovery, offset) : -ERR_CORRUPT;
	return rc == 0 && last ? last_group_secure(recovery) : rc;
}

static int file_open(struct journal *journal, uint32_t number, int flags)
{
	char name[FILE_NAME_MAX];

	if (journal->file >= 0)
		disk_close(journal->disk, journal->file);
	file_name(number, name);
	journal->file = disk_open(journal->disk, name, flags);
	return journal->file < 0 ? journal->file : 0;
}

static int file_found(void *context, const char *name, bool directory)
{
	struct journal *journal = context;
	uint32_t number;

	return !directory && file_number(name, &number) ? file_add(journal, number) : 0;
}

static int by_number(const void *a, const void *b)
{
	const struct journal_file *first = a, *second = b;

	return (first->number > second->number) - (first->number < second->number);
}

static int files_find(struct journal *journal)
{
	int rc = disk_mkdir(journal->disk, JOURNAL_DIRECTORY);

	if (rc == 0)
		rc = disk_sync_dir(journal->disk, "");
	if (rc == 0)
		rc = disk_list(journal->disk, JOURNAL_DIRECTORY, file_found, journal);
	if (rc == 0)
		rc = disk_sync_dir(journal->disk, JOURNAL_DIRECTORY);
	if (journal->count > 0)
		qsort(journal->files, journal->count, sizeof(*journal->files), by_number);
	return rc;
}

static uint64_t within(uint64_t least, uint64_t value, uint64_t most)
{
	return value > most ? most : value < least ? least : value;
}

static uint64_t ahead_of(struct disk *disk)
{
	struct disk_space space;

	if (disk_space(disk, &space) < 0)
		return ZERO_STEP;
	return within(ALIGNMENT, space.capacity / ZERO_PART, ZERO_AHEAD) / ALIGNMENT * ALIGNMENT;
}

static int files_replay(struct recovery *recovery)
{
	struct journal *journal = recovery->journal;
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < journal->count; i++) {
		recovery->file = &journal->files[i];
		rc = file_open(journal, recovery->file->number, 0);
		if (rc == 0)
			rc = file_replay(recovery, i + 1 == journal->count);
	}
	return rc;
}

int journal_open(struct disk *disk, uint64_t after, journal_batch_fn *each, void *context,
		 struct journal **ret)
{
	struct recovery recovery = { .after = after, .each = each, .context = context };
	struct journal *journal = calloc(1, sizeof(*journal));
	int rc;

	if (!journal)
		return -ERR_NO_MEMORY;
	journal->disk = disk;
	journal->file = -1;
	journal->ahead = ahead_of(disk);
	recovery.journal = journal;
	rc = files_find(journal);
	if (rc == 0)
		rc = files_replay(&recovery);
	buffer_done(&recovery.group);
	if (rc < 0) {
		journal_close(journal);
		return rc;
	}
	*ret = journal;
	return 0;
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	if (journal->file >= 0)
		disk_close(journal->disk, journal->file);
	free(journal->files);
	free(journal);
}

bool journal_is_later(const struct journal_head *a, const struct journal_head *b)
{
	return a->epoch != b->epoch ? a->epoch > b->epoch : a->sequence > b->sequence;
}

struct journal_head journal_head(const struct journal *journal)
{
	return journal->head;
}

/* ---- writing ---- */

/* Only the last file may have zeros behind its groups. */
static int file_end(struct journal *journal)
{
	int rc = disk_truncate(journal->disk, journal->file, journal->offset);

	return rc < 0 ? rc : disk_sync_file(journal->disk, journal->file);
}

static int file_begin(struct journal *journal)
{
	uint32_t number = journal->count ? last_file(journal)->number + 1 : 1;
	int rc = journal->file >= 0 ? file_end(journal) : 0;

	if (rc == 0)
		rc = file_add(journal, number);
	if (rc == 0)
		rc = file_open(journal, number, DISK_CREATE | DISK_EXCLUSIVE);
	journal->offset = journal->zeroed = 0;
	return rc;
}

/* Zeros ahead of the groups: see disk_zero. Larger groups use them up faster. A full disk, or
 * a limit to the size of files, does without. */
static int zeros_write(struct journal *journal, uint64_t begin, uint64_t end)
{
	uint64_t size = within(within(0, ZERO_STEP, journal->ahead), end - begin, journal->ahead);
	int rc;

	if (journal->zeroed < end)
		journal->zeroed = end;
	if (journal->zeroed - end >= journal->ahead)
		return 0;
	rc = disk_zero(journal->disk, journal->file, journal->zeroed, size);
	journal->tight = rc == -ERR_LOCAL_FULL || rc == -ERR_TOO_LARGE;
	if (rc == 0)
		journal->zeroed += size;
	return journal->tight ? 0 : rc;
}

static int group_write(struct journal *journal, struct slice batches)
{
	static const uint8_t zeros[ALIGNMENT];
	uint64_t end = journal->offset + GROUP_HEADER_SIZE + batches.size;
	uint8_t header[GROUP_HEADER_SIZE];
	const struct iovec parts[] = {
		{ header, sizeof(header) },
		{ (void *)(uintptr_t)batches.data, batches.size },
		{ (void *)(uintptr_t)zeros, (size_t)(align(end) - end) },
	};
	int rc;

	memcpy(header, journal_magic, sizeof(journal_magic));
	put_u32(header + 4, (uint32_t)batches.size);
	rc = disk_writev(journal->disk, journal->file, parts, ARRAY_SIZE(parts), journal->offset);
	if (rc == 0)
		rc = zeros_write(journal, journal->offset, align(end));
	if (rc == 0)
		rc = disk_sync_file(journal->disk, journal->file);
	if (rc == 0 && journal->offset == 0)
		rc = disk_sync_dir(journal->disk, JOURNAL_DIRECTORY);
	journal->offset = align(end);
	return rc;
}

static int chain_check(struct journal_head *head, struct slice batches)
{
	struct batch_head batch;
	struct slice changes;
	int rc;

	while ((rc = chain_next(head, &batches, &batch, &changes)) > 0)
		;
	return rc < 0 ? -ERR_BAD_REQUEST : 0;
}

int journal_append(struct journal *journal, struct slice batches)
{
	struct journal_head head = journal->head;
	int rc = journal->poison;

	if (rc < 0 || batches.size == 0)
		return rc;
	if (batches.size > UINT32_MAX || chain_check(&head, batches) < 0)
		return -ERR_BAD_REQUEST;
	/* Without room for another file, what has been kept in this one is used up first. */
	if (journal->count == 0 || (journal->offset > 0 && !journal->tight &&
				    journal->offset + batches.size > FILE_SIZE_MAX))
		rc = file_begin(journal);
	if (rc == 0)
		rc = group_write(journal, batches);
	if (rc < 0)
		return journal->poison = rc;
	journal->head = head;
	last_file(journal)->last = head.sequence;
	return 0;
}

int journal_drop(struct disk *disk)
{
	struct journal journal = { .disk = disk, .file = -1 };
	int rc = files_find(&journal);

	while (rc == 0 && journal.count > 0) {
		char name[FILE_NAME_MAX];

		file_name(journal.files[--journal.count].number, name);
		rc = disk_unlink(disk, name);
	}
	if (rc == 0)
		rc = disk_sync_dir(disk, JOURNAL_DIRECTORY);
	free(journal.files);
	return rc;
}

/* One after the other: a power cut must not leave a hole in the row of files. */
int journal_trim(struct journal *journal, uint64_t sequence)
{
	int rc = journal->poison;

	while (rc == 0 && journal->count > 1 && journal->files[0].last <= sequence) {
		char name[FILE_NAME_MAX];

		file_name(journal->files[0].number, name);
		rc = disk_unlink(journal->disk, name);
		if (rc == 0)
			rc = disk_sync_dir(journal->disk, JOURNAL_DIRECTORY);
		if (rc == 0)
			memmove(journal->files, journal->files + 1,
				--journal->count * sizeof(*journal->files));
	}
	return rc;
}
