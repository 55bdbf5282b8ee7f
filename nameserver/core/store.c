/* NODES and STATUS. */
#include "hold.h"
#include "letting_go.h"
#include "repair.h"

static void node_fill(const struct nameserver *ns, const struct member *member,
		      struct node_info *ret)
{
	const struct member_row *row = &member->row;

	*ret = (struct node_info){
		.catalogue_lag = copy_lag(ns, member),
		.node = row->node,
		.machine = member->machine,
		.name = slice_of(row->name),
		.zone = slice_of(row->zone),
		.endpoints = member->endpoints,
		.endpoints_count = (uint16_t)member->endpoint_count,
		.state = row->draining && member->state == NODE_ONLINE ? NODE_DRAINING
								       : member->state,
		.capacity = member->capacity,
		.used = member->used,
		.free = member_room(member),
		.chunks = member->chunks,
		.last_seen_ms = ns->now_ms - member->heard_ms,
		.first_seen_ms = row->first_seen_ms,
		.last_start_ms = row->last_start_ms,
		.starts = row->starts,
		.flags = (uint8_t)((member->disk_failed ? NODE_DISK_FAILED : 0) |
				   (row->draining ? NODE_TO_BE_EMPTIED : 0)),
	};
}

int on_nodes(struct nameserver *ns, struct session *from, const struct nodes_request *request,
	     struct nodes_reply *reply)
{
	struct node_info *nodes = arena_alloc(&ns->arena, NODES_PAGE_MAX * sizeof(*nodes));

	(void)from;
	if (!nodes)
		return -ERR_NO_MEMORY;
	reply->nodes = nodes;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		if (memcmp(member->row.node.bytes, request->after.bytes, ID_SIZE) <= 0)
			continue;
		if (reply->nodes_count == NODES_PAGE_MAX) {
			reply->more = 1;
			break;
		}
		node_fill(ns, member, &nodes[reply->nodes_count++]);
	}
	return 0;
}

static void status_members(const struct nameserver *ns, struct status_reply *reply)
{
	reply->nodes_total = ns->member_count;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		reply->nodes_online += member->state == NODE_ONLINE;
		if (!member_is_up(member))
			continue;
		reply->capacity += member->capacity;
		reply->used += member->used;
		reply->free += member_room(member);
	}
}

int on_status(struct nameserver *ns, struct session *from, const struct status_request *request,
	      struct status_reply *reply)
{
	struct trash_state trash;
	uint64_t freeing = 0;
	struct totals totals;
	int rc = totals_get(ns->kv, &totals);

	(void)request;
	if (rc == 0)
		rc = trash_state_get(ns->kv, &trash);
	if (rc == 0)
		rc = freeing_count(ns, &freeing);
	if (rc < 0)
		return rc;
	*reply = (struct status_reply){
		.epoch = ns->epoch,
		.cluster = ns->cluster,
		.cluster_name = slice_of(ns->cluster_name),
		.version = slice_of(ns->config.version),
		.nameserver = from->local,
		.files = totals.files,
		.directories = totals.directories,
		.bytes = totals.bytes,
		.chunks = totals.chunks,
		.under_copied = sweep_under_copied(ns, totals.chunks),
		.lost = ns->lost,
		.repairing = repair_count(ns),
		.repair_rate = repair_rate(ns),
		.repair_left_ms = repair_left_ms(ns),
		.corrupt = ns->bad_copies,
		.catalogue_copies = copies_of_catalogue(ns),
		.uptime_ms = ns->now_ms - ns->started_ms,
		.trash_entries = trash.totals.files + trash.totals.directories,
		.trash_bytes = trash.totals.bytes,
		.freeing = freeing,
		.hold = (uint8_t)hold_of(ns),
		.hold_left_ms = hold_left_ms(ns),
	};
	status_members(ns, reply);
	quorum_status(ns, reply);
	return 0;
}
