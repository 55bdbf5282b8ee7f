/* The shapes of muster.h, made from those of the protocol. */
#include "engine.h"

#include "error.h"

/* The public numbers are those of base/error.def. */
#define ERROR(number, name, scope, os, http, text)              \
	_Static_assert((int)MUSTER_E_##name == (int)ERR_##name, \
		       "muster.h keeps step with error.def");
#include "error.def"
#undef ERROR

const char *muster_error_text(int error)
{
	return error_text(error);
}

const char *muster_error_name(int error)
{
	return error_name(error);
}

int muster_error_errno(int error)
{
	const struct error_info *info = error_info(error);

	return info ? info->os : 0;
}

/* Cut to fit; what a peer says may be longer than we know. */
void text_convert(struct slice text, char *ret, size_t size)
{
	size_t length = text.size < size ? text.size : size - 1;

	if (length > 0)
		memcpy(ret, text.data, length);
	ret[length] = '\0';
}

void entry_convert(const struct entry *entry, struct muster_entry *ret)
{
	*ret = (struct muster_entry){
		.type = entry->type == ENTRY_DIRECTORY ? MUSTER_DIRECTORY : MUSTER_FILE,
		.size = entry->size,
		.inode = entry->inode,
		.version = entry->version,
		.created_ms = entry->created_ms,
		.modified_ms = entry->modified_ms,
		.copies = entry->copies,
		.copies_wanted = entry->copies_wanted,
		.chunk_size = entry->chunk_size,
		.chunks = entry->chunks,
		.has_digest = entry->digest_known,
	};
	text_convert(entry->name, ret->name, sizeof(ret->name));
	memcpy(ret->digest, entry->digest.bytes, sizeof(ret->digest));
}

static void address_convert(const struct node_info *node, char ret[64])
{
	_Static_assert(ENDPOINT_TEXT_MAX <= 64, "room for an address");
	ret[0] = '\0';
	if (node->endpoints_count > 0)
		endpoint_format(&node->endpoints[0], ret);
}

void node_convert(const struct node_info *node, struct muster_node *ret)
{
	*ret = (struct muster_node){
		.state = (enum muster_node_state)node->state,
		.capacity = node->capacity,
		.used = node->used,
		.free = node->free,
		.chunks = node->chunks,
		.last_seen_ms = node->last_seen_ms,
		.first_seen_ms = node->first_seen_ms,
		.last_start_ms = node->last_start_ms,
		.starts = node->starts,
		.disk_failed = node->flags & NODE_DISK_FAILED,
		.draining = node->flags & NODE_TO_BE_EMPTIED,
		.catalogue_lag = node->catalogue_lag,
	};
	memcpy(ret->id, node->node.bytes, sizeof(ret->id));
	memcpy(ret->machine, node->machine.bytes, sizeof(ret->machine));
	text_convert(node->name, ret->name, sizeof(ret->name));
	text_convert(node->zone, ret->zone, sizeof(ret->zone));
	address_convert(node, ret->address);
}

void reach_convert(const struct client_reached *reached, struct muster_reach *ret)
{
	*ret = (struct muster_reach){
		.active = reached->active,
		.passive = reached->passive,
		.port = reached->port,
	};
	if (reached->endpoint.family)
		endpoint_format(&reached->endpoint, ret->address);
}

void status_convert(const struct status_reply *status, struct muster_status *ret)
{
	*ret = (struct muster_status){
		.epoch = status->epoch,
		.sequence = status->sequence,
		.nodes_online = status->nodes_online,
		.nodes_total = status->nodes_total,
		.files = status->files,
		.directories = status->directories,
		.bytes = status->bytes,
		.chunks = status->chunks,
		.under_copied = status->under_copied,
		.lost = status->lost,
		.repairing = status->repairing,
		.capacity = status->capacity,
		.used = status->used,
		.free = status->free,
		.catalogue_copies = status->catalogue_copies,
		.writable = status->writable,
		.uptime_ms = status->uptime_ms,
		.corrupt = status->corrupt,
		.trash_entries = status->trash_entries,
		.trash_bytes = status->trash_bytes,
		.freeing = status->freeing,
		.state = (enum muster_state)status->state,
		.journal_set = status->journal_set,
		.journal_needed = status->journal_needed,
		.journal_up = status->journal_up,
		.repair_rate = status->repair_rate,
		.repair_left_ms = status->repair_left_ms,
		.hold = (enum muster_hold)status->hold,
		.hold_left_ms = status->hold_left_ms,
	};
	memcpy(ret->cluster_id, status->cluster.bytes, sizeof(ret->cluster_id));
	text_convert(status->cluster_name, ret->cluster, sizeof(ret->cluster));
	text_convert(status->version, ret->version, sizeof(ret->version));
	text_convert(status->waiting, ret->waiting, sizeof(ret->waiting));
	endpoint_format(&status->nameserver, ret->nameserver);
}
