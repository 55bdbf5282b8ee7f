/* The storage servers: registration, heartbeats, states. */
#include <stdio.h>

#include "endpoint.h"
#include "error.h"
#include "hold.h"
#include "repair.h"
#include "text.h"

#define MEMBER_NUMBERS "members" /* the highest number given out */

enum {
	RETURN_MS = 3000,  /* for the servers to come back after a start */
	RETURN_ENOUGH = 2, /* of them: a put is acknowledged when durable on two */
	ALIVE_BEATS = 2,   /* who was heard in so many heartbeats' time surely lives */
};

struct member *member_find(const struct nameserver *ns, const struct id *node)
{
	struct member *member;

	HASH_FIND(hh, ns->members, node, sizeof(*node), member);
	return member;
}

struct member *member_by_number(const struct nameserver *ns, uint16_t number)
{
	return number < ns->by_number_size ? ns->by_number[number] : NULL;
}

bool member_is_up(const struct member *member)
{
	return member->state == NODE_ONLINE || member->state == NODE_SUSPECT;
}

unsigned int members_online(const struct nameserver *ns)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < ns->member_count; i++)
		count += ns->sorted[i]->state == NODE_ONLINE;
	return count;
}

/* Just started, we do not know yet who is up: servers take a moment to find us. */
bool members_are_coming(const struct nameserver *ns)
{
	if (ns->now_ms - ns->started_ms >= RETURN_MS || members_online(ns) >= RETURN_ENOUGH)
		return false;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		if (!ns->sorted[i]->key && !ns->sorted[i]->row.retired)
			return true;
	}
	return false;
}

/* ---- the table ---- */

static int number_room(struct nameserver *ns, uint16_t number)
{
	size_t size = (size_t)number + 64;
	struct member **table;

	if (number < ns->by_number_size)
		return 0;
	table = realloc(ns->by_number, size * sizeof(struct member *));
	if (!table)
		return -ERR_NO_MEMORY;
	for (size_t i = ns->by_number_size; i < size; i++)
		table[i] = NULL;
	ns->by_number = table;
	ns->by_number_size = size;
	return 0;
}

static int sorted_room(struct nameserver *ns)
{
	struct member **sorted =
		realloc(ns->sorted, (ns->member_count + 1) * sizeof(struct member *));

	if (!sorted)
		return -ERR_NO_MEMORY;
	ns->sorted = sorted;
	return 0;
}

static int member_insert(struct nameserver *ns, const struct member_row *row, struct member **ret)
{
	struct member *member;
	unsigned int at = ns->member_count;

	if (number_room(ns, row->number) < 0 || sorted_room(ns) < 0)
		return -ERR_NO_MEMORY;
	member = calloc(1, sizeof(*member));
	if (member)
		member->sum = calloc(1, sizeof(*member->sum));
	if (!member || !member->sum) {
		free(member);
		return -ERR_NO_MEMORY;
	}
	member->row = *row;
	member->state = NODE_OFFLINE;
	member->heard_ms = member->offline_ms = ns->now_ms;
	space_recall(member);
	HASH_ADD(hh, ns->members, row.node, sizeof(member->row.node), member);
	ns->by_number[row->number] = member;
	for (; at > 0 && memcmp(ns->sorted[at - 1]->row.node.bytes, row->node.bytes, ID_SIZE) > 0;
	     at--)
		ns->sorted[at] = ns->sorted[at - 1];
	ns->sorted[at] = member;
	ns->member_count++;
	*ret = member;
	return 0;
}

int members_load(struct nameserver *ns)
{
	struct member_row row;
	struct member *member;
	int rc = member_next(ns->kv, NULL, &row);

	while (rc == 0) {
		struct id last = row.node;

		rc = member_insert(ns, &row, &member);
		if (rc == 0)
			rc = member_next(ns->kv, &last, &row);
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static void member_free(struct member *member)
{
	hmac_free(member->key);
	free(member->sum);
	chunk_set_done(&member->listed);
	chunk_set_done(&member->fresh);
	chunk_set_done(&member->bad);
	chunk_set_done(&member->away);
	chunk_set_done(&member->doubted);
	chunk_set_done(&member->unknown);
	chunk_set_done(&member->doomed);
	chunk_set_done(&member->ordered);
	free(member);
}

/* It is offline, and nobody else knows it by its address. */
void member_drop(struct nameserver *ns, struct member *member)
{
	unsigned int at = 0;

	while (ns->sorted[at] != member)
		at++;
	ns->member_count--;
	memmove(ns->sorted + at, ns->sorted + at + 1,
		(ns->member_count - at) * sizeof(struct member *));
	ns->by_number[member->row.number] = NULL;
	HASH_DEL(ns->members, member);
	ns->bad_copies -= member->bad.count;
	if (member->bad.count)
		LIST_REMOVE(member, with_bad);
	member_free(member);
}

void members_free(struct nameserver *ns)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		HASH_DEL(ns->members, member);
		member_free(member);
	}
	free(ns->sorted);
	free(ns->by_number);
}

/* ---- states ---- */

static const char *member_address(const struct member *member, char ret[ENDPOINT_TEXT_MAX])
{
	if (!member->endpoint_count)
		return "none";
	return endpoint_format(&member->endpoints[0], ret);
}

static void member_event(struct nameserver *ns, enum log_level level, const char *event,
			 const struct member *member)
{
	char node[ID_TEXT_MAX], address[ENDPOINT_TEXT_MAX];

	ns_event_about(ns, member, level, event, "id=%s address=%s silent_ms=%llu",
		       id_format(&member->row.node, node), member_address(member, address),
		       (unsigned long long)(ns->now_ms - member->heard_ms));
}

static void member_set_state(struct nameserver *ns, struct member *member, uint8_t state)
{
	bool was_up = member_is_up(member);

	if (member->state == state)
		return;
	member->state = state;
	member->offline_ms = ns->now_ms;
	if (state == NODE_ONLINE)
		member_event(ns, LOG_INFO, "node_online", member);
	if (state == NODE_SUSPECT)
		member_event(ns, LOG_WARN, "node_suspect", member);
	if (was_up != member_is_up(member))
		sweep_request(ns, was_up);
	if (state == NODE_ONLINE)
		repair_server_came(ns);
}

void member_offline(struct nameserver *ns, struct member *member, const char *event,
		    const char *cause)
{
	char node[ID_TEXT_MAX], address[ENDPOINT_TEXT_MAX];

	presence_known(member);
	ns_event_about(ns, member, member->stopped ? LOG_INFO : LOG_WARN, event,
		       "id=%s address=%s cause=%s silent_ms=%llu",
		       id_format(&member->row.node, node), member_address(member, address), cause,
		       (unsigned long long)(ns->now_ms - member->heard_ms));
	member_set_state(ns, member, NODE_OFFLINE);
	if (member->session)
		session_close(ns, member->session);
	space_keep(ns, member);
}

void member_heard(struct nameserver *ns, struct member *member)
{
	presence_known(member);
	member_set_state(ns, member, NODE_ONLINE);
	member->heard_ms = ns->now_ms;
}

void member_lost(struct nameserver *ns, struct member *member)
{
	member->session = NULL;
	member->deleting = false;
	shipping_left(member);
	inventory_lost(member);
	if (member_is_up(member)) {
		member_set_state(ns, member, NODE_SUSPECT);
		presence_ask(ns, member);
	}
	orders_lost(ns, member);
}

void members_tick(struct nameserver *ns)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];
		uint64_t silent_ms = ns->now_ms - member->heard_ms;

		if (!member_is_up(member))
			continue;
		presence_tick(ns, member);
		if (silent_ms >= ns->config.dead_after_ms)
			member_offline(ns, member, "node_offline", "silent");
		else if (silent_ms >= ns->config.suspect_after_ms)
			member_set_state(ns, member, NODE_SUSPECT);
	}
	inventory_tick(ns);
}

void members_excuse(struct nameserver *ns, uint64_t ms)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		if (member_is_up(member))
			member->heard_ms = excused(ns, member->heard_ms, ms);
	}
}

uint64_t members_deadline(const struct nameserver *ns)
{
	uint64_t at = inventory_deadline(ns);

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];
		uint64_t due = member->heard_ms + (member->state == NODE_ONLINE
							   ? ns->config.suspect_after_ms
							   : ns->config.dead_after_ms);

		due = presence_deadline(member) < due ? presence_deadline(member) : due;
		if (member_is_up(member) && due < at)
			at = due;
	}
	return at;
}

/* ---- REGISTER ---- */

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
	held_orders_drop(ns, from->conn);
	member->session = from;
	from->member = member;
	member->machine = from->machine;
	member->capacity = believable(request->capacity);
	member->free = believable(request->free);
	member->used = believable(request->used);
	member->chunks = request->chunks;
	member->load = 0;
	disk_set(ns, member, false);
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
