#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "disk_image.h"
#include "error.h"

struct sim_page {
	atomic_uint refs;
	uint8_t data[SIM_PAGE];
};

static struct sim_page *page_share(struct sim_page *page)
{
	if (page)
		atomic_fetch_add(&page->refs, 1);
	return page;
}

static void page_drop(struct sim_page *page)
{
	if (page && atomic_fetch_sub(&page->refs, 1) == 1)
		free(page);
}

static void page_set(struct sim_page **at, struct sim_page *page)
{
	page_share(page);
	page_drop(*at);
	*at = page;
}

/* The page alone, to be written to. Running out of memory is not what is tested with this. */
static uint8_t *page_own(struct sim_page **at)
{
	struct sim_page *page = *at;

	if (page && atomic_load(&page->refs) == 1)
		return page->data;
	page = malloc(sizeof(*page));
	assert(page);
	atomic_init(&page->refs, 1);
	if (*at)
		memcpy(page->data, (*at)->data, SIM_PAGE);
	else
		memset(page->data, 0, SIM_PAGE);
	page_drop(*at);
	*at = page;
	return page->data;
}

struct sim_file *sim_file_new(bool directory)
{
	struct sim_file *file = calloc(1, sizeof(*file));

	assert(file);
	file->directory = directory;
	return file;
}

void sim_file_free(struct sim_file *file)
{
	for (size_t i = 0; i < file->count; i++) {
		page_drop(file->slots[i].now);
		page_drop(file->slots[i].durable);
	}
	free(file->slots);
	free(file);
}

struct sim_file *sim_file_copy(const struct sim_file *file)
{
	struct sim_file *copy = sim_file_new(file->directory);

	copy->size = file->size;
	copy->durable_size = file->durable_size;
	copy->allocated = file->allocated;
	copy->count = file->count;
	if (!file->count)
		return copy;
	copy->slots = malloc(file->count * sizeof(*copy->slots));
	assert(copy->slots);
	for (size_t i = 0; i < file->count; i++) {
		copy->slots[i] = file->slots[i];
		page_share(copy->slots[i].now);
		page_share(copy->slots[i].durable);
	}
	return copy;
}

uint64_t sim_file_charge(const struct sim_file *file)
{
	uint64_t end = file->size > file->allocated ? file->size : file->allocated;

	return (end + SIM_PAGE - 1) / SIM_PAGE * SIM_PAGE;
}

size_t sim_file_read(const struct sim_file *file, void *data, size_t size, uint64_t offset)
{
	uint8_t *at = data;
	size_t done = 0;

	if (offset >= file->size)
		return 0;
	if (size > file->size - offset)
		size = (size_t)(file->size - offset);
	while (done < size) {
		size_t slot = (size_t)((offset + done) / SIM_PAGE);
		size_t skip = (size_t)((offset + done) % SIM_PAGE);
		size_t part = SIM_PAGE - skip;

		if (part > size - done)
			part = size - done;
		if (slot < file->count && file->slots[slot].now)
			memcpy(at + done, file->slots[slot].now->data + skip, part);
		else
			memset(at + done, 0, part);
		done += part;
	}
	return size;
}

static void slots_grow(struct sim_file *file, uint64_t end)
{
	size_t count = (size_t)((end + SIM_PAGE - 1) / SIM_PAGE);
	struct sim_slot *slots;

	if (count <= file->count)
		return;
	slots = realloc(file->slots, count * sizeof(*slots));
	assert(slots);
	memset(slots + file->count, 0, (count - file->count) * sizeof(*slots));
	file->slots = slots;
	file->count = count;
}

static uint8_t sector_bits(size_t skip, size_t part)
{
	size_t first = skip / SIM_SECTOR;
	size_t last = (skip + part - 1) / SIM_SECTOR;
	unsigned int bits = 0;

	for (size_t i = first; i <= last; i++)
		bits |= 1u << i;
	return (uint8_t)bits;
}

int sim_file_write(struct sim_file *file, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *at = data;

	slots_grow(file, offset + size);
	for (size_t done = 0; done < size;) {
		struct sim_slot *slot = &file->slots[(offset + done) / SIM_PAGE];
		size_t skip = (size_t)((offset + done) % SIM_PAGE);
		size_t part = SIM_PAGE - skip < size - done ? SIM_PAGE - skip : size - done;

		memcpy(page_own(&slot->now) + skip, at + done, part);
		slot->dirty |= sector_bits(skip, part);
		done += part;
	}
	if (offset + size > file->size)
		file->size = offset + size;
	return 0;
}

int sim_file_patch(struct sim_file *file, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *at = data;

	if (offset + size > file->size)
		return -ERR_RANGE;
	slots_grow(file, offset + size);
	for (size_t done = 0; done < size;) {
		struct sim_slot *slot = &file->slots[(offset + done) / SIM_PAGE];
		size_t skip = (size_t)((offset + done) % SIM_PAGE);
		size_t part = SIM_PAGE - skip < size - done ? SIM_PAGE - skip : size - done;

		memcpy(page_own(&slot->now) + skip, at + done, part);
		memcpy(page_own(&slot->durable) + skip, at + done, part);
		done += part;
	}
	return 0;
}

/* Zeroes what lies past the end. */
static void image_cut(struct sim_page **page, size_t slot, uint64_t size)
{
	uint64_t start = (uint64_t)slot * SIM_PAGE;

	if (!*page || start + SIM_PAGE <= size)
		return;
	if (start >= size)
		page_set(page, NULL);
	else
		memset(page_own(page) + (size - start), 0, (size_t)(start + SIM_PAGE - size));
}

void sim_file_truncate(struct sim_file *file, uint64_t size)
{
	if (size < file->size)
		for (size_t i = (size_t)(size / SIM_PAGE); i < file->count; i++) {
			image_cut(&file->slots[i].now, i, size);
			file->slots[i].dirty = file->slots[i].durable ? 0xff : 0;
		}
	file->size = size;
	if (file->allocated > size)
		file->allocated = size;
}

void sim_file_sync(struct sim_file *file)
{
	for (size_t i = 0; i < file->count; i++) {
		struct sim_slot *slot = &file->slots[i];

		if (slot->dirty == 0xff)
			page_set(&slot->durable, slot->now);
		for (size_t s = 0; slot->dirty && slot->dirty != 0xff && s < SIM_SECTORS; s++) {
			static const uint8_t zeros[SIM_SECTOR];
			const uint8_t *from = slot->now ? slot->now->data + s * SIM_SECTOR : zeros;

			if (slot->dirty >> s & 1)
				memcpy(page_own(&slot->durable) + s * SIM_SECTOR, from, SIM_SECTOR);
		}
		slot->dirty = 0;
	}
	file->durable_size = file->size;
}

void sim_file_lose(struct sim_file *file)
{
	for (size_t i = 0; i < file->count; i++)
		file->slots[i].dirty = 0;
}

uint64_t sim_file_dirty(const struct sim_file *file)
{
	uint64_t count = 0;

	for (size_t i = 0; i < file->count; i++)
		count += (uint64_t)__builtin_popcount(file->slots[i].dirty);
	return count;
}

void sim_file_forget(struct sim_file *file, uint64_t nth)
{
	for (size_t i = 0; i < file->count; i++)
		for (unsigned int s = 0; s < SIM_SECTORS; s++)
			if (file->slots[i].dirty >> s & 1 && nth-- == 0) {
				file->slots[i].dirty &= (uint8_t) ~(1u << s);
				return;
			}
}

static bool chance(struct prng *prng, unsigned int of_256)
{
	return of_256 >= 256 || (of_256 && prng_below(prng, 256) < of_256);
}

/* Moves to the durable image what of a slot's dirty sectors made it. */
static void slot_crash(struct sim_slot *slot, const struct sim_fate *fate)
{
	static const uint8_t zeros[SIM_PAGE];

	for (size_t s = 0; s < SIM_SECTORS; s++) {
		const uint8_t *from = (slot->now ? slot->now->data : zeros) + s * SIM_SECTOR;
		size_t part = SIM_SECTOR;

		if (!(slot->dirty >> s & 1) || !chance(fate->prng, fate->keep_of_256))
			continue;
		if (chance(fate->prng, fate->tear_of_256))
			part = 1 + (size_t)prng_below(fate->prng, SIM_SECTOR - 1);
		memcpy(page_own(&slot->durable) + s * SIM_SECTOR, from, part);
	}
}

void sim_file_crash(struct sim_file *file, const struct sim_fate *fate)
{
	uint64_t size = fate->keep_size ? file->size : file->durable_size;

	for (size_t i = 0; i < file->count; i++) {
		struct sim_slot *slot = &file->slots[i];

		if (slot->dirty)
			slot_crash(slot, fate);
		image_cut(&slot->durable, i, size);
		page_set(&slot->now, slot->durable);
		slot->dirty = 0;
	}
	file->size = size;
	file->durable_size = size;
	file->allocated = size;
}
