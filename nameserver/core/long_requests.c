/* Requests that take several turns, so that nobody waits long for them: what of them is done. */
#include "letting_go.h"

enum {
	LONG_REQUESTS_MAX = 64,    /* then the one that was left alone for longest is forgotten, */
	LONG_ALONE_MS = 10 * 1000, /* as are those that nobody asks for any more */
};

static void forget(struct nameserver *ns, struct long_request *known)
{
	TAILQ_REMOVE(&ns->long_requests, known, order);
	ns->long_count--;
	tree_count_free(ns->kv, known->count);
	free(known);
}

static struct long_request *known_find(const struct nameserver *ns, const struct session *from,
				       uint64_t operation)
{
	struct long_request *known;

	TAILQ_FOREACH(known, &ns->long_requests, order) {
		if (known->operation == operation && id_equal(&known->client, &from->self))
			return known;
	}
	return NULL;
}

struct long_request *long_request_get(struct nameserver *ns, const struct session *from,
				      uint64_t operation)
{
	struct long_request *known = known_find(ns, from, operation);

	if (known) {
		TAILQ_REMOVE(&ns->long_requests, known, order);
	} else {
		if (ns->long_count >= LONG_REQUESTS_MAX)
			forget(ns, TAILQ_FIRST(&ns->long_requests));
		known = calloc(1, sizeof(*known));
		if (!known)
			return NULL;
		known->client = from->self;
		known->operation = operation;
		ns->long_count++;
	}
	known->used_ms = ns->now_ms;
	TAILQ_INSERT_TAIL(&ns->long_requests, known, order);
	return known;
}

void long_request_end(struct nameserver *ns, const struct session *from, uint64_t operation)
{
	struct long_request *known = known_find(ns, from, operation);

	if (known)
		forget(ns, known);
}

int long_request_park(struct nameserver *ns)
{
	ns->long_wanted = true;
	return park(ns, PARK_TURN, IN_PROGRESS_AFTER_MS);
}

void long_requests_tick(struct nameserver *ns)
{
	struct long_request *oldest;

	while ((oldest = TAILQ_FIRST(&ns->long_requests)) &&
	       ns->now_ms - oldest->used_ms >= LONG_ALONE_MS)
		forget(ns, oldest);
	if (ns->long_wanted)
		parked_wake(ns, PARK_TURN);
	ns->long_wanted = false;
}

uint64_t long_requests_deadline(const struct nameserver *ns)
{
	return ns->long_wanted ? ns->now_ms : UINT64_MAX;
}

void long_requests_free(struct nameserver *ns)
{
	struct long_request *known;

	while ((known = TAILQ_FIRST(&ns->long_requests)))
		forget(ns, known);
}
