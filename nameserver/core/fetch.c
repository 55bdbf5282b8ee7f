/* FETCH: a server is ordered to get itself a copy from another, for repair and for balance. */
#include "orders.h"
#include "repair.h"

enum {
	FETCH_MS = 30 * 1000, /* and 1 s for each MiB */
	REST_PART = 3, /* a server that clients use rests so many times as long as one took */
	REST_MAX_MS = 10 * 1000,
};

/* Where clients read or write they have most of the disk and of the wire: of what is written
 * meanwhile their syncs wait for all. */
unsigned int fetches_most(const struct nameserver *ns, const struct member *member)
{
	if (!member->load)
		return FETCHES_OF_SERVER;
	return ns->now_ms < member->fetch_rest_ms ? 0 : 1;
}

uint64_t fetches_rested_ms(const struct nameserver *ns)
{
	uint64_t at = UINT64_MAX;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		if (member->load && member->fetch_rest_ms > ns->now_ms &&
		    member->fetch_rest_ms < at)
			at = member->fetch_rest_ms;
	}
	return at;
}

static void rest(const struct nameserver *ns, struct member *member, uint64_t begun_ms)
{
	uint64_t rest_ms = (ns->now_ms - begun_ms) * REST_PART;

	member->fetch_rest_ms = ns->now_ms + (rest_ms < REST_MAX_MS ? rest_ms : REST_MAX_MS);
}

int fetch_begin(struct nameserver *ns, const struct fetch_plan *plan, order_done_fn *done)
{
	struct member *source = plan->source, *target = plan->target;
	const struct chunk_row *row = plan->row;
	struct endpoint endpoints[ENDPOINTS_MAX];
	struct fetch_request order = {
		.epoch = ns->epoch,
		.chunk = { row->chunk, row->length, row->digest },
		.ticket = { .operation = TICKET_READ, .chunk = row->chunk, .length = row->length },
		.endpoints = endpoints,
	};
	const struct order_how how = {
		.subject = row->chunk,
		.timeout_ms = FETCH_MS + (uint64_t)row->length / 1024,
		.done = done,
	};
	uint64_t end;
	int rc = chunk_owner(ns->kv, row->chunk, 0, &order.file, &end);

	if (rc < 0)
		return rc;
	ticket_for(ns, source, &target->row.node, &order.ticket);
	order.endpoints_count = (uint16_t)member_endpoints(target->session, source, endpoints);
	rc = member_order(ns, target, MSG_fetch, &order, &how);
	if (rc < 0)
		return rc;
	source->fetched_from++;
	target->fetching++;
	target->leased += row->length;
	return 0;
}

void fetch_end(struct nameserver *ns, const struct fetch_ends *ends)
{
	struct member *source = member_by_number(ns, ends->source);
	struct member *target = member_by_number(ns, ends->target);

	if (source) {
		source->fetched_from--;
		rest(ns, source, ends->begun_ms);
	}
	if (!target)
		return;
	rest(ns, target, ends->begun_ms);
	target->fetching--;
	target->leased -= ends->length;
}

/* Its receipt speaks for itself. */
int fetch_receipt(struct nameserver *ns, struct member *member, const struct receipt *receipt,
		  uint64_t chunk)
{
	struct member *holder;
	int rc = receipt_check(ns, receipt, &holder);

	if (rc <= 0 || holder != member || (chunk && receipt->chunk != chunk))
		return -ERR_BAD_RECEIPT;
	rc = place_fetched(ns, member, receipt);
	if (rc < 0)
		ns->failed = true;
	return rc > 0 ? 0 : -ERR_STALE;
}

void fetch_answered_late(struct nameserver *ns, struct member *member,
			 const struct fetch_reply *reply)
{
	if (fetch_receipt(ns, member, &reply->receipt, 0) == 0)
		repair_look(ns, reply->receipt.chunk);
}

void fetch_doubt(struct nameserver *ns, uint16_t source, uint64_t chunk, int error)
{
	struct member *member = member_by_number(ns, source);

	if ((error == -ERR_CORRUPT || error == -ERR_NOT_FOUND) && member)
		copy_doubt(ns, member, chunk);
}
