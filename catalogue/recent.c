#include <stdlib.h>

#include "bounds.h"
#include "error.h"
#include "recent.h"

struct recent_batch {
	uint64_t sequence;
	struct digest previous, hash;
	uint32_t size;
	uint8_t bytes[];
};

static struct recent_batch *at(const struct recent *recent, size_t position)
{
	return recent->slots[(recent->first + position) % recent->capacity];
}

static void drop_first(struct recent *recent)
{
	struct recent_batch *batch = at(recent, 0);

	recent->bytes -= batch->size;
	recent->first = (recent->first + 1) % recent->capacity;
	recent->count--;
	free(batch);
}

void recent_clear(struct recent *recent)
{
	while (recent->count > 0)
		drop_first(recent);
}

void recent_done(struct recent *recent)
{
	recent_clear(recent);
	free(recent->slots);
	*recent = (struct recent){ .max = recent->max };
}

/* ---- adding ---- */

static int grow(struct recent *recent)
{
	size_t capacity = recent->capacity ? 2 * recent->capacity : 64;
	struct recent_batch **slots = calloc(capacity, sizeof(struct recent_batch *));

	if (!slots)
		return -ERR_NO_MEMORY;
	for (size_t i = 0; i < recent->count; i++)
		slots[i] = at(recent, i);
	free(recent->slots);
	recent->slots = slots;
	recent->capacity = capacity;
	recent->first = 0;
	return 0;
}

static bool follows(const struct recent *recent, const struct batch_head *head)
{
	const struct recent_batch *last;

	if (recent->count == 0)
		return true;
	last = at(recent, recent->count - 1);
	return head->sequence == last->sequence + 1 && digest_equal(&head->previous, &last->hash);
}

static int put_last(struct recent *recent, struct slice bytes, struct recent_batch **ret)
{
	struct recent_batch *batch = malloc(sizeof(*batch) + bytes.size);
	int rc = batch ? 0 : -ERR_NO_MEMORY;

	if (rc == 0 && recent->count == recent->capacity)
		rc = grow(recent);
	if (rc < 0) {
		free(batch);
		return rc;
	}
	memcpy(batch->bytes, bytes.data, bytes.size);
	batch->size = (uint32_t)bytes.size;
	recent->bytes += bytes.size;
	recent->slots[(recent->first + recent->count++) % recent->capacity] = batch;
	*ret = batch;
	return 0;
}

int recent_add(struct recent *recent, struct slice bytes)
{
	struct recent_batch *batch;
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	size_t size;
	int rc;

	if (batch_read(bytes, &head, &changes, &size, &hash) != 1 || size != bytes.size)
		return -ERR_CORRUPT;
	if (!follows(recent, &head))
		recent_clear(recent);
	rc = put_last(recent, bytes, &batch);
	if (rc < 0) {
		recent_clear(recent);
		return rc;
	}
	batch->sequence = head.sequence;
	batch->previous = head.previous;
	batch->hash = hash;
	while (recent->count > 1 && recent->bytes > recent->max)
		drop_first(recent);
	return 0;
}

/* ---- reading ---- */

static const struct recent_batch *find(const struct recent *recent, uint64_t sequence)
{
	uint64_t first = recent->count ? at(recent, 0)->sequence : 0;

	if (recent->count == 0 || sequence < first || sequence - first >= recent->count)
		return NULL;
	return at(recent, (size_t)(sequence - first));
}

int recent_get(const struct recent *recent, uint64_t sequence, struct slice *ret)
{
	const struct recent_batch *batch = find(recent, sequence);

	if (!batch)
		return -ERR_NOT_FOUND;
	*ret = (struct slice){ batch->bytes, batch->size };
	return 0;
}

int recent_hash(const struct recent *recent, uint64_t sequence, struct digest *ret)
{
	const struct recent_batch *batch = find(recent, sequence);
	const struct recent_batch *next = find(recent, sequence + 1);

	if (!batch && !next)
		return -ERR_NOT_FOUND;
	*ret = batch ? batch->hash : next->previous;
	return 0;
}

static int read_part(const struct recent_batch *batch, uint64_t offset, struct buffer *ret,
		     uint32_t *ret_size)
{
	uint64_t left = batch->size - offset;

	*ret_size = batch->size;
	if (offset >= batch->size)
		return -ERR_RANGE;
	if (left > CATALOGUE_PART_MAX)
		left = CATALOGUE_PART_MAX;
	return buffer_append(ret, batch->bytes + offset, (size_t)left) < 0 ? ret->error : 1;
}

static int read_whole(const struct recent *recent, size_t position, struct buffer *ret)
{
	size_t size = 0;

	for (; position < recent->count; position++) {
		const struct recent_batch *batch = at(recent, position);

		size += batch->size;
		if (size > CATALOGUE_PART_MAX)
			break;
		buffer_append(ret, batch->bytes, batch->size);
	}
	return ret->error ? ret->error : 1;
}

int recent_read(const struct recent *recent, const struct history_point *from, struct buffer *ret,
		uint32_t *ret_size)
{
	const struct recent_batch *first = recent->count ? at(recent, 0) : NULL, *batch;
	uint64_t last = first ? first->sequence + recent->count - 1 : 0;
	size_t position;

	*ret_size = 0;
	if (first && from->sequence == last)
		return digest_equal(&from->hash, &at(recent, recent->count - 1)->hash) ? 0
										       : -ERR_STALE;
	if (from->sequence >= last)
		return 0;
	if (from->sequence + 1 < first->sequence)
		return -ERR_NOT_FOUND;
	position = (size_t)(from->sequence + 1 - first->sequence);
	batch = at(recent, position);
	if (!digest_equal(&batch->previous, &from->hash))
		return -ERR_STALE;
	if (from->offset > 0 || batch->size > CATALOGUE_PART_MAX)
		return read_part(batch, from->offset, ret, ret_size);
	return read_whole(recent, position, ret);
}
