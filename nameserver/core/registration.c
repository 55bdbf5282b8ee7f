/* REGISTER and HEARTBEAT: who may be a storage server of ours, and what it says of itself. */
#include <stdio.h>

#include "endpoint.h"
#include "error.h"
#include "hold.h"
#include "repair.h"
#include "text.h"

#define MEMBER_NUMBERS "members" /* the highest number given out */

enum {
	ALIVE_BEATS = 2, /* who was heard in so many heartbeats' time surely lives */
};

static void name_copy(char *ret, size_t size, struct slice text)
{
	size_t i;

	for (i = 0; i < text.size && i + 1 < size; i++) {
		uint8_t byte = text.data[i];

		ret[i] =
			byte > ' ' && byte < 0x7f && byte != '"' && byte != '\\' ? (char)byte : '_';
	}
	memset(ret + i, 0, size - i);
}

/* It lives, and answers at the end of another connection: whoever shows the same papers here has a
 * copy of its disk. One whose connection broke unnoticed is silent soon enough. */
static bool is_elsewhere(const struct nameserver *ns, const struct member *member,
			 const struct session *from)
{
	uint64_t alive_ms = ALIVE_BEATS * ns->config.heartbeat_ms;

	if (!member->session || member->session == from)
		return false;
	if (alive_ms > ns->config.suspect_after_ms)
		alive_ms = ns->config.suspect_after_ms;
	return ns->now_ms - member->heard_ms < alive_ms;
}

static int register_check(const struct nameserver *ns, const struct session *from,
			  const struct member *member, const struct register_request *request)
{
	if (request->promised_epoch > ns->epoch)
		return -ERR_STALE;
	if (!member)
		return ns->member_count < NODES_MAX ? 0 : -ERR_BUSY;
	if (member->row.retired)
		return -ERR_DENIED;
	if (!id_equal(&member->row.disk, &request->disk))
		return -ERR_DUPLICATE_NODE;
	if (request->start < member->row.generation)
		return -ERR_OLD_DISK;
	return is_elsewhere(ns, member, from) ? -ERR_DUPLICATE_NODE : 0;
}

static bool name_is_taken(const struct nameserver *ns, const struct member_row *row,
			  const char *name)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member_row *other = &ns->sorted[i]->row;

		if (other != row && strcmp(other->name, name) == 0)
			return true;
	}
	return false;
}

enum { NAME_SUFFIX_MAX = 6 };

/* The host's name, for ever. Of several servers on a host the later ones get "-2", "-3"… */
static void row_name(const struct nameserver *ns, struct member_row *row, struct slice host)
{
	char base[sizeof(row->name)], name[sizeof(row->name) + NAME_SUFFIX_MAX];
	size_t size;

	name_copy(base, sizeof(base), host.size ? host : slice_of("storage"));
	size = strlen(base);
	memcpy(name, base, size + 1);
	for (unsigned int i = 2; name_is_taken(ns, row, name); i++) {
		char suffix[NAME_SUFFIX_MAX];
		size_t more = (size_t)snprintf(suffix, sizeof(suffix), "-%hu", (uint16_t)i);
		size_t kept = size + more < sizeof(row->name) ? size : sizeof(row->name) - 1 - more;

		memcpy(name + kept, suffix, more + 1);
	}
	memcpy(row->name, name, sizeof(row->name));
}

static int row_update(struct nameserver *ns, struct member *member,
		      const struct register_request *request)
{
	struct member_row *row = &member->row;
	struct member_row before = *row;

	if (!row->name[0])
		row_name(ns, row, request->name);
	if (row->starts == 0 || request->start > row->generation) {
		row->starts++;
		row->last_start_ms = ns->wall_ms;
	}
	row->generation = request->start;
	row->space = (struct member_space){
		.capacity = believable(request->capacity),
		.used = believable(request->used),
		.free = believable(request->free),
		.chunks = request->chunks,
	};
	name_copy(row->zone, sizeof(row->zone), request->zone);
	memset(row->endpoints, 0, sizeof(row->endpoints));
	memcpy(row->endpoints, member->endpoints,
	       member->endpoint_count * sizeof(row->endpoints[0]));
	row->endpoint_count = member->endpoint_count;
	return memcmp(&before, row, sizeof(before)) ? member_put(ns->kv, row) : 0;
}

static int member_create(struct nameserver *ns, const struct id *node,
			 const struct register_request *request, struct member **ret)
{
	struct member_row row;
	uint16_t number = 1;
	uint64_t used = 0;
	int rc;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		if (ns->sorted[i]->row.number >= number)
			number = (uint16_t)(ns->sorted[i]->row.number + 1);
	}
	rc = setting_find_u64(ns->kv, MEMBER_NUMBERS, &used);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return rc;
	if (rc == 0 && used >= number)
		number = (uint16_t)(used + 1);
	if (number == 0)
		return -ERR_BUSY;
	rc = setting_put_u64(ns->kv, MEMBER_NUMBERS, number);
	if (rc < 0)
		return rc;
	memset(&row, 0, sizeof(row));
	row.node = *node;
	row.disk = request->disk;
	row.number = number;
	row.first_seen_ms = ns->wall_ms;
	return member_insert(ns, &row, ret);
}

/* A key that no earlier registration had. */
static int member_rekey(struct nameserver *ns, struct member *member, struct key *ret)
{
	uint8_t label[4 + ID_SIZE + 3 * 8] = "node";
	struct hmac *key;

	memcpy(label + 4, member->row.node.bytes, ID_SIZE);
	put_u64(label + 4 + ID_SIZE, ns->start);
	put_u64(label + 12 + ID_SIZE, ns->epoch);
	put_u64(label + 20 + ID_SIZE, ++ns->registrations);
	key_derive(&ns->config.secret, label, sizeof(label), ret);
	key = hmac_new(ret);
	if (!key)
		return -ERR_NO_MEMORY;
	member->rekeyed = member->key != NULL;
	hmac_free(member->key);
	member->key = key;
	return 0;
}

static void endpoint_add(struct member *member, struct endpoint endpoint)
{
	for (unsigned int i = 0; i < member->endpoint_count; i++) {
		if (endpoint_equal(&member->endpoints[i], &endpoint)) {
			member->endpoints[i].flags |= endpoint.flags;
			return;
		}
	}
	if (member->endpoint_count < ENDPOINTS_MAX)
		member->endpoints[member->endpoint_count++] = endpoint;
}

/* What it advertises, and the address that we see, with its data port; loopback, which is of use to
 * its own machine only, comes last. */
static void endpoints_update(struct member *member, const struct session *from,
			     const struct register_request *request)
{
	struct endpoint all[ENDPOINTS_MAX + 1];
	unsigned int count = 0;

	for (unsigned int i = 0; i < request->endpoints_count; i++) {
		all[count] = request->endpoints[i];
		all[count].flags = ENDPOINT_ADVERTISED;
		if (all[count].family && all[count].port)
			count++;
	}
	all[count] = from->peer;
	all[count].port = request->endpoints_count ? request->endpoints[0].port : DATA_PORT;
	all[count++].flags = ENDPOINT_SEEN;
	member->endpoint_count = 0;
	for (int loopback = 0; loopback <= 1; loopback++) {
		for (unsigned int i = 0; i < count; i++) {
			if (endpoint_is_loopback(&all[i]) != (loopback == 1))
				continue;
			if (loopback)
				all[i].flags |= ENDPOINT_LOOPBACK;
			endpoint_add(member, all[i]);
		}
	}
}

static void disk_set(struct nameserver *ns, struct member *member, bool failed)
{
	if (failed == member->disk_failed)
		return;
	member->disk_failed = failed;
	if (failed)
		member_event(ns, LOG_ERROR, "disk_failed", member);
	sweep_request(ns, failed);
}

static void member_up(struct nameserver *ns, struct member *member, struct session *from,
		      const struct register_request *request)
{
	orders_lost(ns, member); /* of the registration before, on the same connection */
	leases_void(ns, member);
	held_orders_drop(ns, from->conn);
	member->session = from;
	from->member = member;
	member->machine = from->machine;
	member->capacity = believable(request->capacity);
	member->free = believable(request->free);
	member->used = believable(request->used);
	member->chunks = request->chunks;
	member->load = 0;
	disk_set(ns, member, request->disk_failed);
	member->deleting = member->stopped = false;
	member->registered_ms = ns->now_ms;
	clients_untell(ns, member);
	placement_join(ns, member);
	shipping_joined(ns, member, request);
	member_event(ns, LOG_DEBUG, "node_registered", member);
	member_heard(ns, member);
	if (member->bad.count)
		sweep_request(ns, false);
}

enum { REFUSED_AGAIN_MS = 10 * 60 * 1000 };

void member_refused(struct nameserver *ns, const struct session *from, struct slice name, int error)
{
	struct events *events = &ns->events;
	char id[ID_TEXT_MAX], address[ENDPOINT_TEXT_MAX];

	if (id_equal(&events->refused, &from->self) && events->refused_error == error &&
	    ns->now_ms - events->refused_ms < REFUSED_AGAIN_MS)
		return;
	events->refused = from->self;
	events->refused_error = error;
	events->refused_ms = ns->now_ms;
	ns_event_about(ns, member_find(ns, &from->self), LOG_WARN, "node_refused",
		       "id=%s name=%s address=%s error=%s", id_format(&from->self, id),
		       quoted(ns, name), endpoint_format(&from->peer, address), error_name(error));
}

int on_register(struct nameserver *ns, struct session *from, const struct register_request *request,
		struct register_reply *reply)
{
	struct member *member = member_find(ns, &from->self);
	bool joins = !member;
	int rc = register_check(ns, from, member, request);

	hold_register_heard(ns, from, request);
	if (rc < 0) {
		if (member && request->promised_epoch > ns->epoch)
			quorum_deposed(ns, &from->self, request->promised_epoch);
		member_refused(ns, from, request->name, rc);
		return rc;
	}
	if (!member) {
		rc = member_create(ns, &from->self, request, &member);
		if (rc < 0)
			return rc;
	}
	rc = member_rekey(ns, member, &reply->key);
	endpoints_update(member, from, request);
	if (rc == 0)
		rc = row_update(ns, member, request);
	if (rc < 0)
		return rc;
	if (member->session && member->session != from)
		session_close(ns, member->session);
	if (joins)
		ns_event_about(ns, member, LOG_INFO, "node_joined", "zone=%s capacity=%llu",
			       quoted(ns, slice_of(member->row.zone)),
			       (unsigned long long)believable(request->capacity));
	member_up(ns, member, from, request);
	reply->epoch = ns->epoch;
	reply->heartbeat_ms = ns->config.heartbeat_ms;
	reply->want_inventory = inventory_begin(ns, member, &request->inventory);
	reply->now_ms = ns->now_ms;
	reply->scrub_s = ns->config.scrub_s;
	return 0;
}

int on_heartbeat(struct nameserver *ns, struct session *from,
		 const struct heartbeat_request *request, struct heartbeat_reply *reply)
{
	struct member *member = from->member;

	if (!member)
		return -ERR_STALE;
	member->load = request->load;
	disk_set(ns, member, request->flags & HEARTBEAT_DISK_FAILED);
	space_heard(ns, member, request);
	drain_look(ns, member);
	/* Never beyond now: what comes back is what a peer says. */
	if (request->echo <= ns->now_ms && request->echo > member->echo_ms)
		member->echo_ms = request->echo;
	reply->epoch = ns->epoch;
	reply->now_ms = ns->now_ms;
	reply->want_inventory = inventory_heard(ns, member, &request->inventory);
	return 0;
}
