/* Which servers get a new chunk. Copies go to different zones, then different machines, then
 * different servers. Within such a class the server with the least *pressure* is next: each choice
 * adds to it what the chunk costs there, its length over the room left. So servers fill evenly in
 * proportion to their room, and a busy one is passed over for a while (stride scheduling,
 * Waldspurger 1995). The head of the chain, which takes the client's bytes, is shared out by the
 * same rule.
 *
 * A server that is nearly full is left alone as long as another will do, even a worse one: what
 * room it has is for chunks that are on their way, and for copies that nobody else can take. */
#include "repair.h"

/* A small chunk costs as much as this one: it is a write and a place all the same. */
enum { COST_MIN = 64 * 1024, LOAD_COST = 1024 * 1024, LOAD_MAX = 1000 };

/* Nearly full is who has room for so many chunks only, or, if it is small, this part of it. */
enum { ROOM_CHUNKS = 4, ROOM_PART = 20 };

static uint64_t cost_of(const struct member *member, uint64_t length)
{
	return ((length + COST_MIN) << 20) / ((member_room(member) >> 20) + 1);
}

/* A server that comes (back) does not get everything until it has caught up. */
void placement_join(struct nameserver *ns, struct member *member)
{
	if (member->pressure < ns->floor)
		member->pressure = ns->floor;
	if (member->head_pressure < ns->head_floor)
		member->head_pressure = ns->head_floor;
}

enum rank { RANK_NEW_ZONE, RANK_NEW_MACHINE, RANK_SAME_MACHINE, RANK_NONE };

struct choice {
	const struct placement *wanted;
	struct member **chosen;
	unsigned int count;
};

static bool same_machine(const struct member *a, const struct member *b)
{
	return !id_is_none(&a->machine) && id_equal(&a->machine, &b->machine);
}

static enum rank rank_beside(const struct member *member, const struct member *other)
{
	if (member == other)
		return RANK_NONE;
	if (same_machine(member, other))
		return RANK_SAME_MACHINE;
	return strcmp(member->row.zone, other->row.zone) == 0 ? RANK_NEW_MACHINE : RANK_NEW_ZONE;
}

static enum rank rank_of(const struct choice *choice, const struct member *member)
{
	const struct placement *wanted = choice->wanted;
	enum rank rank = RANK_NEW_ZONE, one;

	for (unsigned int i = 0; i < wanted->avoid_count; i++) {
		if (wanted->avoid[i] == member)
			return RANK_NONE;
	}
	for (unsigned int i = 0; i < wanted->near_count; i++) {
		one = rank_beside(member, wanted->near[i]);
		rank = one > rank ? one : rank;
	}
	for (unsigned int i = 0; i < choice->count; i++) {
		one = rank_beside(member, choice->chosen[i]);
		rank = one > rank ? one : rank;
	}
	return rank;
}

static uint64_t weight_of(const struct member *member)
{
	uint64_t load = member->load < LOAD_MAX ? member->load : LOAD_MAX;

	return member->pressure + load * cost_of(member, LOAD_COST);
}

static uint64_t room_kept(const struct nameserver *ns, const struct member *member)
{
	uint64_t chunks = (uint64_t)ROOM_CHUNKS * ns->config.chunk_size;
	uint64_t part = member->capacity / ROOM_PART;

	return chunks < part ? chunks : part;
}

/* Who keeps some room, or just anybody. */
static struct member *best_of(const struct nameserver *ns, const struct choice *choice, bool roomy)
{
	struct member *best = NULL;
	enum rank best_rank = RANK_NONE;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];
		enum rank rank;

		if (!member_may_take(member,
				     choice->wanted->length + (roomy ? room_kept(ns, member) : 0)))
			continue;
		rank = rank_of(choice, member);
		if (rank == RANK_NONE || rank > best_rank)
			continue;
		if (rank < best_rank || weight_of(member) < weight_of(best)) {
			best = member;
			best_rank = rank;
		}
	}
	return best;
}

static void head_first(struct nameserver *ns, const struct choice *choice)
{
	struct member *head;
	unsigned int at = 0;

	for (unsigned int i = 1; i < choice->count; i++) {
		if (choice->chosen[i]->head_pressure < choice->chosen[at]->head_pressure)
			at = i;
	}
	head = choice->chosen[at];
	if (head->head_pressure > ns->head_floor)
		ns->head_floor = head->head_pressure;
	head->head_pressure += cost_of(head, choice->wanted->length);
	memmove(choice->chosen + 1, choice->chosen, at * sizeof(struct member *));
	choice->chosen[0] = head;
}

int placement_choose(struct nameserver *ns, const struct placement *wanted,
		     struct member *ret[COPIES_MAX])
{
	struct choice choice = { .wanted = wanted, .chosen = ret };

	while (choice.count < wanted->copies && choice.count < COPIES_MAX) {
		struct member *best = best_of(ns, &choice, true);

		if (!best)
			best = best_of(ns, &choice, false);
		if (!best)
			break;
		if (choice.count == 0 && wanted->near_count == 0 && best->pressure > ns->floor)
			ns->floor = best->pressure;
		best->pressure += cost_of(best, wanted->length);
		ret[choice.count++] = best;
	}
	if (choice.count == 0)
		return members_online(ns) && !wanted->avoid_count ? -ERR_NO_SPACE : -ERR_NO_NODES;
	head_first(ns, &choice);
	return (int)choice.count;
}
