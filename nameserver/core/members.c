/* The storage servers: the table of them, and their states. */
#include "endpoint.h"
#include "repair.h"
#include "text.h"

enum {
	RETURN_MS = 3000,   /* for the servers to come back after a start */
	RETURN_ENOUGH = 2,  /* of them: a put is acknowledged when durable on two */
	TOGETHER_MS = 1000, /* the first one, and others: they probe once a second */
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

/* Those of a new cluster come together: what somebody puts meanwhile shall not be kept by the first
 * of them only. */
static bool first_are_coming(struct nameserver *ns)
{
	if (ns->member_count == 0) {
		ns->first_awaited = true;
		return true;
	}
	return ns->first_awaited && ns->now_ms - ns->first_ms < TOGETHER_MS;
}

/* Just started, we do not know yet who is up: servers take a moment to find us. */
bool members_are_coming(struct nameserver *ns)
{
	if (ns->now_ms - ns->started_ms >= RETURN_MS)
		return false;
	if (first_are_coming(ns))
		return true;
	if (members_online(ns) >= RETURN_ENOUGH)
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

int member_insert(struct nameserver *ns, const struct member_row *row, struct member **ret)
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
	if (ns->member_count++ == 0)
		ns->first_ms = ns->now_ms;
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
	chunk_set_done(&member->gained);
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

void member_event(struct nameserver *ns, enum log_level level, const char *event,
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
	repair_interrupted(ns, member);
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
