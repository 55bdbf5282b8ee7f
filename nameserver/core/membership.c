/* DRAIN and FORGET: which servers belong to the cluster for how long. */
#include "repair.h"

void drain_look(struct nameserver *ns, struct member *member)
{
	bool empty = member->row.draining && member->chunks == 0;

	if (empty && !member->empty_told)
		ns_event_about(ns, member, LOG_INFO, "drained", "chunks=0");
	member->empty_told = empty;
}

int on_drain(struct nameserver *ns, struct session *from, const struct drain_request *request,
	     struct drain_reply *reply)
{
	struct member *member = member_find(ns, &request->node);
	int rc;

	(void)from;
	if (!member)
		return -ERR_NOT_FOUND;
	reply->chunks = member->chunks;
	if (member->row.draining == request->on)
		return 0;
	member->row.draining = request->on;
	rc = member_put(ns->kv, &member->row);
	if (rc < 0)
		return rc;
	ns_event_about(ns, member, LOG_INFO, request->on ? "drain_started" : "drain_ended",
		       "chunks=%llu", (unsigned long long)member->chunks);
	sweep_request(ns, false);
	if (member_is_up(member))
		drain_look(ns, member);
	return 0;
}

/* Puts that are under way had places there. */
static void leases_forget(struct nameserver *ns, uint16_t number)
{
	struct lease *lease, *next;

	HASH_ITER(hh, ns->leases, lease, next) {
		for (unsigned int i = lease->count; i-- > 0;) {
			unsigned int below = (1u << i) - 1;

			if (lease->holders[i] != number)
				continue;
			lease->count--;
			memmove(lease->holders + i, lease->holders + i + 1,
				(lease->count - i) * sizeof(lease->holders[0]));
			lease->durable = (uint16_t)((lease->durable & below) |
						    (lease->durable >> 1 & ~below));
		}
	}
}

int on_forget(struct nameserver *ns, struct session *from, const struct forget_request *request,
	      struct forget_reply *reply)
{
	struct member *member = member_find(ns, &request->node);
	int rc;

	(void)from;
	(void)reply;
	if (!member)
		return -ERR_NOT_FOUND;
	if (member_is_up(member))
		return -ERR_ONLINE;
	rc = member_remove(ns->kv, &member->row.node);
	if (rc < 0)
		return rc;
	ns_event_about(ns, member, LOG_INFO, "forgotten", "chunks=%llu",
		       (unsigned long long)member->chunks);
	leases_forget(ns, member->row.number);
	member_drop(ns, member);
	sweep_request(ns, true);
	return 0;
}
