#include "event_ring.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

struct event_slot {
	uint64_t number, time_ms;
	const char *name;
	uint32_t offset;
	uint16_t text_size;
	uint8_t node_size, level;
};

void event_ring_init(struct event_ring *ring, size_t events_max, size_t bytes_max)
{
	*ring = (struct event_ring){ .events_max = events_max, .bytes_max = bytes_max };
}

void event_ring_done(struct event_ring *ring)
{
	free(ring->slots);
	free(ring->bytes);
	event_ring_init(ring, ring->events_max, ring->bytes_max);
}

/* At least one byte each, so that places tell the order. */
static size_t bytes_of(size_t node_size, size_t text_size)
{
	return node_size + text_size ? node_size + text_size : 1;
}

static struct event_slot *slot_at(const struct event_ring *ring, size_t index)
{
	return &ring->slots[(ring->first + index) % ring->events_max];
}

static void drop_oldest(struct event_ring *ring)
{
	ring->dropped = slot_at(ring, 0)->number;
	ring->first = (ring->first + 1) % ring->events_max;
	if (--ring->count == 0)
		ring->end = 0;
}

static bool oldest_is_within(const struct event_ring *ring, size_t offset, size_t size)
{
	const struct event_slot *slot = slot_at(ring, 0);
	size_t end = slot->offset + bytes_of(slot->node_size, slot->text_size);

	return slot->offset < offset + size && end > offset;
}

/* Room for that many bytes in one piece; what lies behind `end` is the oldest then. */
static size_t room_make(struct event_ring *ring, size_t size)
{
	size_t offset = ring->end;

	if (offset + size > ring->bytes_max) {
		while (ring->count && slot_at(ring, 0)->offset >= ring->end)
			drop_oldest(ring);
		offset = 0;
	}
	while (ring->count &&
	       (ring->count == ring->events_max || oldest_is_within(ring, offset, size)))
		drop_oldest(ring);
	return offset;
}

static int ring_allocate(struct event_ring *ring)
{
	if (!ring->slots)
		ring->slots = malloc(ring->events_max * sizeof(*ring->slots));
	if (!ring->bytes)
		ring->bytes = malloc(ring->bytes_max);
	return ring->slots && ring->bytes ? 0 : -ERR_NO_MEMORY;
}

int event_ring_add(struct event_ring *ring, const struct ring_event *event)
{
	size_t size = bytes_of(event->node.size, event->text.size);
	size_t offset;

	if (event->node.size > UINT8_MAX || event->text.size > UINT16_MAX || size > ring->bytes_max)
		return -ERR_TOO_LARGE;
	if (ring_allocate(ring) < 0)
		return -ERR_NO_MEMORY;
	offset = room_make(ring, size);
	*slot_at(ring, ring->count++) = (struct event_slot){
		.number = event->number,
		.time_ms = event->time_ms,
		.name = event->name,
		.offset = (uint32_t)offset,
		.text_size = (uint16_t)event->text.size,
		.node_size = (uint8_t)event->node.size,
		.level = (uint8_t)event->level,
	};
	if (event->node.size)
		memcpy(ring->bytes + offset, event->node.data, event->node.size);
	if (event->text.size)
		memcpy(ring->bytes + offset + event->node.size, event->text.data, event->text.size);
	ring->end = offset + size;
	return 0;
}

struct ring_event event_ring_at(const struct event_ring *ring, size_t index)
{
	const struct event_slot *slot = slot_at(ring, index);
	const uint8_t *bytes = ring->bytes + slot->offset;

	return (struct ring_event){
		.number = slot->number,
		.time_ms = slot->time_ms,
		.level = (enum log_level)slot->level,
		.name = slot->name,
		.node = { bytes, slot->node_size },
		.text = { bytes + slot->node_size, slot->text_size },
	};
}

size_t event_ring_after(const struct event_ring *ring, uint64_t number)
{
	size_t low = 0, high = ring->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (slot_at(ring, middle)->number > number)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}
