#include "journal_reader.h"

#include "error.h"
#include "journal_format.h"

struct journal_reader {
	struct disk *disk;
	int file; /* handle, or -1 */
	uint32_t number;
	uint64_t offset; /* of the group that has the batch `next`, or of the one after it */
	uint64_t next;
	struct buffer group;
};

static void file_close(struct journal_reader *reader)
{
	if (reader->file >= 0)
		disk_close(reader->disk, reader->file);
	reader->file = -1;
}

static int file_open(struct journal_reader *reader, uint32_t number)
{
	char name[FILE_NAME_MAX];

	file_close(reader);
	file_name(number, name);
	reader->file = disk_open(reader->disk, name, DISK_READ_ONLY);
	reader->number = number;
	reader->offset = 0;
	return reader->file < 0 ? reader->file : 0;
}

/* What stands at the beginning of a group. */
struct group {
	uint32_t size;  /* of its batches */
	uint64_t first; /* sequence */
};

/* 1; 0: there is none at reader->offset. */
static int group_look(struct journal_reader *reader, struct group *ret)
{
	uint8_t bytes[GROUP_HEADER_SIZE + BATCH_HEADER_SIZE];
	struct slice batch = { bytes + GROUP_HEADER_SIZE, BATCH_HEADER_SIZE };
	int64_t got = disk_read(reader->disk, reader->file, bytes, sizeof(bytes), reader->offset);
	struct batch_head head;
	size_t size;

	if (got < 0)
		return (int)got;
	if (got < (int64_t)sizeof(bytes) ||
	    memcmp(bytes, journal_magic, sizeof(journal_magic)) != 0 ||
	    batch_peek(batch, &head, &size) != 1)
		return 0;
	*ret = (struct group){ get_u32(bytes + 4), head.sequence };
	return 1;
}

static uint64_t group_end(const struct journal_reader *reader, const struct group *group)
{
	return align(reader->offset + GROUP_HEADER_SIZE + group->size);
}

/* ---- finding ---- */

struct numbers {
	uint32_t *items;
	unsigned int count;
};

static int number_found(void *context, const char *name, bool directory)
{
	struct numbers *numbers = context;
	uint32_t *items, number;

	if (directory || !file_number(name, &number))
		return 0;
	items = realloc(numbers->items, (numbers->count + 1) * sizeof(*items));
	if (!items)
		return -ERR_NO_MEMORY;
	numbers->items = items;
	items[numbers->count++] = number;
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;

	return (first < second) - (first > second);
}

/* Opens the newest file that begins at or before the batch. */
static int file_find(struct journal_reader *reader, uint64_t sequence)
{
	struct numbers numbers = { 0 };
	int rc = disk_list(reader->disk, JOURNAL_DIRECTORY, number_found, &numbers);
	bool found = false;

	if (numbers.count)
		qsort(numbers.items, numbers.count, sizeof(*numbers.items), newest_first);
	for (unsigned int i = 0; rc >= 0 && !found && i < numbers.count; i++) {
		struct group group = { 0 };

		rc = file_open(reader, numbers.items[i]);
		if (rc == 0)
			rc = group_look(reader, &group);
		found = rc == 1 && group.first <= sequence;
	}
	free(numbers.items);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return rc;
	return found ? 0 : -ERR_STALE;
}

/* Goes to the last group of the file that begins at or before the batch. */
static int place_find(struct journal_reader *reader, uint64_t sequence)
{
	int rc = file_find(reader, sequence);
	struct group group;
	uint64_t found = 0;

	if (rc < 0)
		return rc;
	while ((rc = group_look(reader, &group)) == 1 && group.first <= sequence) {
		found = reader->offset;
		reader->offset = group_end(reader, &group);
	}
	reader->offset = found;
	reader->next = sequence;
	return rc < 0 ? rc : 0;
}

/* ---- reading ---- */

/* Appends what is wanted of the batches in reader->group: 1: all of them are done with. */
static int group_take(struct journal_reader *reader, const struct journal_range *range,
		      struct buffer *ret)
{
	struct slice rest = { reader->group.data, reader->group.size };
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	size_t size;
	int rc = 0;

	for (; rest.size > 0; rest = (struct slice){ rest.data + size, rest.size - size }) {
		if (batch_read(rest, &head, &changes, &size, &hash) != 1)
			return -ERR_CORRUPT;
		if (head.sequence < reader->next)
			continue;
		if (head.sequence > range->through || ret->size >= range->most)
			return 0;
		if (head.sequence > reader->next)
			return -ERR_CORRUPT;
		rc = batch_share(rest, ret);
		if (rc < 0)
			return rc;
		reader->next++;
	}
	return 1;
}

static int group_read(struct journal_reader *reader, const struct group *group)
{
	uint8_t *at;
	int64_t got;

	buffer_clear(&reader->group);
	at = buffer_extend(&reader->group, group->size);
	if (!at)
		return reader->group.error;
	got = disk_read(reader->disk, reader->file, at, group->size,
			reader->offset + GROUP_HEADER_SIZE);
	return got < 0 ? (int)got : (uint64_t)got < group->size ? -ERR_CORRUPT : 0;
}

/* The group at the place, then on to the next: in the next file if this one has no more. */
static int step(struct journal_reader *reader, const struct journal_range *range,
		struct buffer *ret)
{
	struct group group;
	int rc = group_look(reader, &group);

	if (rc == 0)
		rc = file_open(reader, reader->number + 1);
	if (rc == 0)
		rc = group_look(reader, &group);
	if (rc == 1)
		rc = group_read(reader, &group);
	else if (rc == 0 || rc == -ERR_NOT_FOUND)
		return -ERR_CORRUPT;
	if (rc == 0)
		rc = group_take(reader, range, ret);
	if (rc == 1)
		reader->offset = group_end(reader, &group);
	return rc < 0 ? rc : 0;
}

int journal_read(struct journal_reader *reader, const struct journal_range *range,
		 struct buffer *ret)
{
	const struct journal_range left = { range->after, range->through,
					    ret->size + (range->most ? range->most : 1) };
	int rc = 0;

	if (reader->file < 0 || reader->next != range->after + 1)
		rc = place_find(reader, range->after + 1);
	while (rc == 0 && reader->next <= left.through && ret->size < left.most)
		rc = step(reader, &left, ret);
	buffer_done(&reader->group);
	/* A file that is trimmed takes its room until it is closed. */
	if (rc < 0 || reader->next > left.through)
		file_close(reader);
	return rc;
}

/* ---- life ---- */

int journal_reader_new(struct disk *disk, struct journal_reader **ret)
{
	struct journal_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return -ERR_NO_MEMORY;
	reader->disk = disk;
	reader->file = -1;
	*ret = reader;
	return 0;
}

void journal_reader_free(struct journal_reader *reader)
{
	if (!reader)
		return;
	file_close(reader);
	buffer_done(&reader->group);
	free(reader);
}
