/* Whether a storage server whose connection is gone is still there.
 *
 * A process that ends takes its port with it: two dials that are both refused, some time apart,
 * prove that it is dead, long before its silence would. A machine that is off, or a cable that is
 * out, refuses nothing: then silence decides as ever. */
#include "ns_state.h"

#include "endpoint.h"

enum {
	REFUSALS = 2,  /* a server that is just being started again may be missed once */
	DIALS_MAX = 5, /* one that is just ending may still seem to listen */
	DIAL_GAP_MS = 100,
};

void presence_ask(struct nameserver *ns, struct member *member)
{
	member->presence = (struct presence){ .dial_ms = ns->now_ms };
}

void presence_known(struct member *member)
{
	member->presence = (struct presence){ 0 };
}

/* Where we saw it speak from rather than where it says that it is. */
static const struct endpoint *endpoint_seen(const struct member *member)
{
	for (unsigned int i = 0; i < member->endpoint_count; i++) {
		if (member->endpoints[i].flags & ENDPOINT_SEEN)
			return &member->endpoints[i];
	}
	return member->endpoint_count ? &member->endpoints[0] : NULL;
}

void presence_tick(struct nameserver *ns, struct member *member)
{
	struct presence *presence = &member->presence;
	const struct endpoint *endpoint = endpoint_seen(member);
	struct ns_action *action;

	if (!presence->dial_ms || ns->now_ms < presence->dial_ms || !endpoint)
		return;
	action = outbox_add(ns->outbox, NS_DIAL);
	if (!action)
		return;
	presence->dial_ms = 0;
	presence->dials++;
	presence->number = ++ns->dials;
	action->sequence = presence->number;
	action->endpoint = *endpoint;
}

uint64_t presence_deadline(const struct member *member)
{
	return member->presence.dial_ms && member->endpoint_count ? member->presence.dial_ms
								  : UINT64_MAX;
}

static struct member *dialled_member(const struct nameserver *ns, uint64_t number)
{
	for (unsigned int i = 0; number && i < ns->member_count; i++) {
		if (ns->sorted[i]->presence.number == number)
			return ns->sorted[i];
	}
	return NULL;
}

void member_dialled(struct nameserver *ns, const struct ns_event *event)
{
	struct member *member = dialled_member(ns, event->sequence);
	struct presence *presence;

	if (!member)
		return;
	presence = &member->presence;
	presence->number = 0;
	if (event->error && event->error != -ERR_CONNECTION)
		return;
	presence->refused = event->error ? presence->refused + 1 : 0;
	if (presence->refused == REFUSALS)
		member_offline(ns, member, "node_offline", "refused");
	else if (presence->dials < DIALS_MAX)
		presence->dial_ms = ns->now_ms + DIAL_GAP_MS;
}

int on_goodbye(struct nameserver *ns, struct session *from, const struct goodbye_request *request,
	       struct goodbye_reply *reply)
{
	struct member *member = from->member;

	(void)request;
	(void)reply;
	if (!member)
		return -ERR_STALE;
	member->stopped = true;
	member_offline(ns, member, "node_stopped", "goodbye");
	return 0;
}
