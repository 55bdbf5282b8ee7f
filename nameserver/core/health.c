/* What there is of a chunk, what it needs, and of which server. */
#include "hold.h"
#include "orders.h"
#include "repair.h"

static int owner_wants(struct nameserver *ns, uint64_t owner, struct wanted_memory *memory,
		       uint8_t *ret)
{
	struct inode inode;
	int rc;

	if (owner != memory->inode) {
		rc = inode_get(ns->kv, owner, &inode);
		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? -ERR_IO : rc;
		*memory = (struct wanted_memory){ owner, copies_wanted(ns, &inode) };
	}
	*ret = memory->copies > *ret ? memory->copies : *ret;
	return 0;
}

int chunk_wanted_next(struct nameserver *ns, struct chunk_owner *at, struct wanted_memory *memory,
		      uint8_t *ret)
{
	const uint64_t chunk = at->chunk;
	int rc = 0;

	*ret = 0;
	while (rc == 0 && at->chunk == chunk) {
		rc = owner_wants(ns, at->inode, memory, ret);
		if (rc == 0)
			rc = chunk_owner_next(ns->kv, at);
		if (rc == -ERR_NOT_FOUND)
			*at = (struct chunk_owner){ 0 };
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

int chunk_wanted(struct nameserver *ns, uint64_t chunk, struct wanted_memory *memory, uint8_t *ret)
{
	uint64_t owner = 0, end;
	int rc = chunk_owner(ns->kv, chunk, owner, &owner, &end);
	struct chunk_owner at = { chunk, owner };

	*ret = 0;
	return rc == 0 ? chunk_wanted_next(ns, &at, memory, ret) : rc;
}

bool holders_have(const struct holders *holders, uint16_t number)
{
	for (unsigned int i = 0; i < holders->count; i++) {
		if (holders->numbers[i] == number)
			return true;
	}
	return false;
}

bool copy_is_bad(const struct member *member, uint64_t chunk)
{
	return member->bad.count && chunk_set_has(&member->bad, chunk);
}

static bool stays(const struct member *member)
{
	return member_is_up(member) && !member->disk_failed && !member->row.draining;
}

/* Whether it has a chunk is known from itself: since it registered it has told what it holds, and
 * that was compared with the catalogue. */
static bool is_listed(const struct member *member)
{
	return member->stage == INVENTORY_NONE && member->compared &&
	       member->state == NODE_ONLINE && member->session && member->key;
}

/* A disk that failed deletes nothing, and what it has may still be of use. */
static bool can_trim(const struct nameserver *ns, const struct member *member)
{
	return is_listed(member) && !member->disk_failed && brake_lets_trim(ns, member);
}

bool copy_is_firm(const struct member *member, uint64_t chunk)
{
	return stays(member) && is_listed(member) && !copy_is_bad(member, chunk);
}

bool member_may_take(const struct member *member, uint64_t length)
{
	return member->state == NODE_ONLINE && member->session && !member->disk_failed &&
	       !member->row.draining && member_room(member) >= length;
}

/* Until when its copies are only away: a server that is offline may come back. 0: no longer. */
static uint64_t expected_until(const struct nameserver *ns, const struct member *member)
{
	uint64_t until_ms = member->offline_ms + ns->config.repair_delay_ms;

	return until_ms > ns->now_ms ? until_ms : 0;
}

/* Some server's copy is bad, be it on the books or not. */
static bool has_bad_copy(const struct nameserver *ns, uint64_t chunk)
{
	const struct member *member;

	LIST_FOREACH(member, &ns->with_bad, with_bad) {
		if (copy_is_bad(member, chunk))
			return true;
	}
	return false;
}

/* Just put, and copies are still on their way. 0: they are not. */
static uint64_t coming_until(const struct nameserver *ns, const struct chunk_health *health)
{
	if (health->holders.count >= health->wanted || has_bad_copy(ns, health->chunk))
		return 0;
	return repair_awaited_ms(ns, health->chunk);
}

/* Copies of the catalogue say nothing of places: after a start from one, servers that come within
 * the delay may bring what seems to lack. 0: nothing of that kind. */
static uint64_t unheard_until(const struct nameserver *ns, const struct chunk_health *health)
{
	uint64_t until_ms = ns->started_ms + ns->config.repair_delay_ms;

	return ns->unheard && until_ms > ns->now_ms && !has_bad_copy(ns, health->chunk) ? until_ms
											: 0;
}

static uint64_t missed_ms(const struct nameserver *ns, const struct chunk_health *health)
{
	const uint64_t unheard_ms = unheard_until(ns, health);
	unsigned int expected = 0;
	uint64_t soonest_ms = UINT64_MAX;
	bool awaited = false;

	if (unheard_ms)
		return unheard_ms;
	for (unsigned int i = 0; i < health->holders.count; i++) {
		const struct member *member = member_by_number(ns, health->holders.numbers[i]);
		uint64_t until_ms;

		if (!member || member_is_up(member) || copy_is_bad(member, health->chunk))
			continue;
		until_ms = expected_until(ns, member);
		if (until_ms == 0)
			continue;
		expected++;
		awaited = awaited || !member->key || member->stopped;
		soonest_ms = until_ms < soonest_ms ? until_ms : soonest_ms;
	}
	if (health->copies.sound == 1 && health->wanted > 1 && expected && !awaited)
		return 0;
	if (health->planned + expected >= health->wanted)
		return soonest_ms;
	return coming_until(ns, health);
}

static void holder_count(const struct nameserver *ns, struct chunk_health *health,
			 const struct member *member)
{
	bool bad = copy_is_bad(member, health->chunk);

	if (!member_is_up(member))
		return;
	health->copies.up++;
	health->copies.sound += !bad && !member->disk_failed;
	health->planned += !bad && stays(member);
	health->doubted = health->doubted ||
			  (member->doubted.count && chunk_set_has(&member->doubted, health->chunk));
	health->firm += copy_is_firm(member, health->chunk);
	health->sources += !bad && member->session && member->key;
	health->targets -= !bad && member_may_take(member, 0) && health->targets;
	health->surplus =
		health->surplus || ((bad || member->row.draining) && can_trim(ns, member));
}

void health_fill(const struct nameserver *ns, struct chunk_health *health)
{
	health->copies = (struct copies){ 0 };
	health->planned = health->firm = health->sources = 0;
	health->targets = ns->takers;
	health->surplus = health->doubted = false;
	for (unsigned int i = 0; i < health->holders.count; i++) {
		const struct member *member = member_by_number(ns, health->holders.numbers[i]);

		if (member)
			holder_count(ns, health, member);
	}
	health->surplus = health->surplus || health->firm > health->wanted;
	health->missed_ms = health->planned < health->wanted ? missed_ms(ns, health) : UINT64_MAX;
}

static bool is_unheard(const struct member *member)
{
	if (!member->key)
		return !member->row.retired;
	return member->stage == INVENTORY_COUNTING || member->stage == INVENTORY_COMING;
}

void takers_count(struct nameserver *ns)
{
	ns->takers = 0;
	ns->unheard = false;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		ns->takers += member_may_take(ns->sorted[i], 0);
		ns->unheard = ns->unheard || is_unheard(ns->sorted[i]);
	}
}

int health_get(struct nameserver *ns, uint64_t chunk, struct chunk_health *ret)
{
	struct wanted_memory memory = { 0 };
	int rc;

	*ret = (struct chunk_health){ .chunk = chunk };
	rc = chunk_wanted(ns, chunk, &memory, &ret->wanted);
	if (rc == 0)
		rc = holders_get(ns->kv, chunk, &ret->holders);
	if (rc == 0)
		health_fill(ns, ret);
	return rc;
}

enum need health_need(const struct nameserver *ns, const struct chunk_health *health)
{
	if (health->doubted)
		return NEED_NOTHING;
	if (health->planned < health->wanted) {
		if (!health->sources || !health->targets)
			return NEED_SERVERS;
		return health->missed_ms > ns->now_ms ? NEED_COPY_LATER : NEED_COPY;
	}
	if (!health->surplus && health->planned == health->wanted &&
	    !has_bad_copy(ns, health->chunk))
		return NEED_NOTHING;
	return health->firm < health->wanted || deletes_are_held(ns) ? NEED_SERVERS : NEED_TRIM;
}

/* ---- which copy is read, and which goes first ---- */

struct member *source_choose(const struct nameserver *ns, const struct chunk_health *health,
			     uint16_t failed)
{
	struct member *best = NULL;
	unsigned int best_cost = 0;

	for (unsigned int i = 0; i < health->holders.count; i++) {
		struct member *member = member_by_number(ns, health->holders.numbers[i]);
		unsigned int cost;

		if (!member || !member->session || !member->key ||
		    member->fetched_from >= fetches_most(ns, member) ||
		    copy_is_bad(member, health->chunk))
			continue;
		cost = member->fetched_from + (member->state != NODE_ONLINE ? 100u : 0) +
		       (member->disk_failed ? 200u : 0) + (failed == member->row.number ? 50u : 0);
		if (!best || cost < best_cost) {
			best = member;
			best_cost = cost;
		}
	}
	return best;
}

static bool same_place(const struct member *a, const struct member *b, bool zone)
{
	if (zone)
		return strcmp(a->row.zone, b->row.zone) == 0;
	return !id_is_none(&a->machine) && id_equal(&a->machine, &b->machine);
}

static unsigned int neighbours(const struct nameserver *ns, const struct chunk_health *health,
			       const struct member *member, bool zone)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < health->holders.count; i++) {
		const struct member *other = member_by_number(ns, health->holders.numbers[i]);

		if (other && other != member && copy_is_firm(other, health->chunk))
			count += same_place(member, other, zone);
	}
	return count;
}

/* Higher goes first: bad, on a server that goes, beside another copy, on a fuller server. */
static uint64_t trim_order(const struct nameserver *ns, const struct chunk_health *health,
			   const struct member *member)
{
	uint64_t full = member->capacity ? member->used / (member->capacity / 1000 + 1) : 0;
	uint64_t order = full < 1000 ? full : 1000;

	order += (uint64_t)(neighbours(ns, health, member, true) != 0) << 10;
	order += (uint64_t)(neighbours(ns, health, member, false) != 0) << 11;
	order += (uint64_t)(member->row.draining) << 12;
	order += (uint64_t)(copy_is_bad(member, health->chunk)) << 13;
	return order;
}

struct member *surplus_choose(const struct nameserver *ns, const struct chunk_health *health)
{
	struct member *chosen = NULL;
	uint64_t highest = 0;

	for (unsigned int i = 0; i < health->holders.count; i++) {
		struct member *member = member_by_number(ns, health->holders.numbers[i]);
		uint64_t order;

		if (!member || !can_trim(ns, member))
			continue;
		if (health->firm - copy_is_firm(member, health->chunk) < health->wanted)
			continue;
		order = trim_order(ns, health, member);
		if (!chosen || order > highest) {
			chosen = member;
			highest = order;
		}
	}
	return chosen;
}

/* ---- where a copy is made ---- */

/* Not where a copy is; where a bad one is only if no other server is left; not again, if it can be
 * helped, where it failed the last time. */
enum strictness { AVOID_FAILED, AVOID_BAD, AVOID_HOLDERS, STRICTNESSES };

static bool must_avoid(const struct nameserver *ns, const struct chunk_health *health,
		       uint16_t failed, const struct member *member, enum strictness strictness)
{
	bool bad = copy_is_bad(member, health->chunk);

	if (member->fetching >= fetches_most(ns, member))
		return true;
	if (chunk_set_has(&member->doomed, health->chunk) ||
	    chunk_set_has(&member->ordered, health->chunk))
		return true;
	if (holders_have(&health->holders, member->row.number) && !bad)
		return true;
	if (bad)
		return strictness < AVOID_HOLDERS;
	return strictness == AVOID_FAILED && member->row.number == failed;
}

struct member *target_choose(struct nameserver *ns, const struct chunk_health *health,
			     uint16_t failed, uint32_t length)
{
	const struct member **avoid = arena_alloc(&ns->arena, ns->member_count * sizeof(*avoid));
	const struct member *near[HOLDERS_MAX];
	struct placement wanted = { .length = length, .copies = 1, .avoid = avoid, .near = near };
	struct member *chosen[COPIES_MAX];

	if (!avoid)
		return NULL;
	for (unsigned int i = 0; i < health->holders.count; i++) {
		const struct member *member = member_by_number(ns, health->holders.numbers[i]);

		if (member && !member->row.draining && !copy_is_bad(member, health->chunk))
			near[wanted.near_count++] = member;
	}
	for (int strictness = 0; strictness < STRICTNESSES; strictness++) {
		wanted.avoid_count = 0;
		for (unsigned int i = 0; i < ns->member_count; i++) {
			const struct member *member = ns->sorted[i];

			if (must_avoid(ns, health, failed, member, (enum strictness)strictness))
				avoid[wanted.avoid_count++] = member;
		}
		if (placement_choose(ns, &wanted, chosen) > 0)
			return chosen[0];
	}
	return NULL;
}
