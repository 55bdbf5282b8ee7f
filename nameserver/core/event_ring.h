/* The newest events, in memory that is bounded by number and by bytes: what is too old falls
 * out. */
#ifndef MUSTER_NS_EVENT_RING_H
#define MUSTER_NS_EVENT_RING_H

#include "bytes.h"
#include "log.h"

struct ring_event {
	uint64_t number; /* grows from one to the next */
	uint64_t time_ms;
	enum log_level level;
	const char *name;        /* static */
	struct slice node, text; /* at most 255 and 65535 bytes */
};

struct event_ring {
	size_t events_max, bytes_max;
	struct event_slot *slots; /* all is allocated with the first event */
	uint8_t *bytes;
	size_t first, count;
	size_t end;       /* of the newest event's bytes */
	uint64_t dropped; /* number of the newest event that fell out; 0: none */
};

void event_ring_init(struct event_ring *ring, size_t events_max, size_t bytes_max);
void event_ring_done(struct event_ring *ring);
/* -ERR_NO_MEMORY, -ERR_TOO_LARGE. */
int event_ring_add(struct event_ring *ring, const struct ring_event *event);
/* `index` from 0, the oldest, to count - 1. Borrows; valid until the next event is added. */
struct ring_event event_ring_at(const struct event_ring *ring, size_t index);
/* Index of the first event with a greater number; count: there is none. */
size_t event_ring_after(const struct event_ring *ring, uint64_t number);

#endif
