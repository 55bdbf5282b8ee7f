/* Requests that wait for their answer. */
#include <assert.h>

#include "ns_state.h"

enum { PARKED_MAX = 4096 };

int park(struct nameserver *ns, enum park_cause cause, uint64_t wait_ms)
{
	ns->park.wanted = true;
	ns->park.cause = cause;
	ns->park.until_ms = ns->park.since_ms + wait_ms;
	return 0;
}

uint64_t park_age_ms(const struct nameserver *ns)
{
	return ns->now_ms - ns->park.since_ms;
}

int parked_keep(struct nameserver *ns, const struct session *from,
		const struct frame_header *header, const uint8_t *body)
{
	struct parked *parked;

	assert(ns->park.cause == PARK_EVENTS || ns->park.cause == PARK_QUORUM ||
	       message_info(header->type)->flags & MESSAGE_SLOW);
	if (ns->park.last || ns->park.until_ms <= ns->now_ms)
		return -ERR_IN_PROGRESS;
	if (ns->parked_count >= PARKED_MAX)
		return -ERR_BUSY;
	parked = calloc(1, sizeof(*parked) + header->body_size);
	if (!parked)
		return -ERR_NO_MEMORY;
	*parked = (struct parked){
		.conn = from->conn,
		.since_ms = ns->park.since_ms,
		.until_ms = ns->park.until_ms,
		.cause = ns->park.cause,
		.header = *header,
		.body = (uint8_t *)(parked + 1),
	};
	if (header->body_size)
		memcpy(parked->body, body, header->body_size);
	TAILQ_INSERT_TAIL(&ns->parked, parked, order);
	ns->parked_count++;
	if (parked->until_ms < ns->parked_next_ms)
		ns->parked_next_ms = parked->until_ms;
	return 0;
}

static void parked_drop(struct nameserver *ns, struct parked *parked)
{
	TAILQ_REMOVE(&ns->parked, parked, order);
	ns->parked_count--;
	free(parked);
}

void parked_wake(struct nameserver *ns, enum park_cause cause)
{
	struct parked *parked;

	TAILQ_FOREACH(parked, &ns->parked, order) {
		parked->due = parked->due || parked->cause == cause;
		ns->parked_due = ns->parked_due || parked->due;
	}
}

void parked_forget(struct nameserver *ns, uint64_t conn)
{
	struct parked *parked, *next;

	for (parked = TAILQ_FIRST(&ns->parked); parked; parked = next) {
		next = TAILQ_NEXT(parked, order);
		if (parked->conn == conn)
			parked_drop(ns, parked);
	}
}

/* Out of the list while it is handled: it may be parked anew, at the end. */
static void parked_handle(struct nameserver *ns, struct parked *parked)
{
	struct session *from = session_find(ns, parked->conn);

	TAILQ_REMOVE(&ns->parked, parked, order);
	ns->parked_count--;
	ns->park.since_ms = parked->since_ms;
	ns->park.last = parked->until_ms <= ns->now_ms;
	if (from && !from->closing)
		request_handle(ns, from, &parked->header, parked->body);
	free(parked);
}

static struct parked *parked_first_due(const struct nameserver *ns)
{
	struct parked *parked;

	TAILQ_FOREACH(parked, &ns->parked, order) {
		if (parked->due || parked->until_ms <= ns->now_ms)
			return parked;
	}
	return NULL;
}

static void next_find(struct nameserver *ns)
{
	const struct parked *parked;

	ns->parked_next_ms = UINT64_MAX;
	TAILQ_FOREACH(parked, &ns->parked, order) {
		if (parked->until_ms < ns->parked_next_ms)
			ns->parked_next_ms = parked->until_ms;
	}
}

/* After every step: mostly there is nothing to do. */
void parked_run(struct nameserver *ns)
{
	unsigned int most = ns->parked_count;
	struct parked *parked;

	if (!ns->parked_due && ns->now_ms < ns->parked_next_ms)
		return;
	ns->parked_due = false;
	while (most-- && !ns->failed && (parked = parked_first_due(ns)))
		parked_handle(ns, parked);
	next_find(ns);
}

/* Nothing has changed since the turn was sealed, and nothing does. */
void parked_sealed(struct nameserver *ns)
{
	struct parked *parked, *next;

	for (parked = TAILQ_FIRST(&ns->parked); parked; parked = next) {
		next = TAILQ_NEXT(parked, order);
		if (parked->cause == PARK_SEALED)
			parked_handle(ns, parked);
	}
}

uint64_t parked_deadline(const struct nameserver *ns)
{
	return ns->parked_due ? ns->now_ms : ns->parked_next_ms;
}

void parked_free(struct nameserver *ns)
{
	struct parked *parked;

	while ((parked = TAILQ_FIRST(&ns->parked)))
		parked_drop(ns, parked);
}
