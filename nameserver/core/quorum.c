/* Who decides with us, what they have decided, and what happens when they are not there. */
#include "quorum.h"

#include "endpoint.h"
#include "ns_state.h"
#include "text.h"

enum {
	CHOOSE_MS = 100,    /* between two looks at who should be in the set */
	PATIENCE_MS = 2000, /* for too few of them to come back, or to acknowledge something */
	TOUCH_PATIENCE_MS = 1000, /* the same when it is long since they heard us anyway */
};

int quorum_load(struct nameserver *ns)
{
	struct quorum *quorum = &ns->quorum;

	quorum->set_sequence = ns->first_sequence;
	quorum->bad_ms = quorum->moved_ms = ns->now_ms;
	quorum->choose = true;
	return journal_set_get(ns->kv, &quorum->set);
}

/* ---- what the servers of the set say ---- */

/* A proof of an earlier millisecond than the first is none: 0 stands for never. */
static bool member_in_touch(const struct nameserver *ns, const struct member *member)
{
	return member->echo_ms && ns->now_ms - member->echo_ms <= LEASE_OF_SERVER_MS;
}

static bool has_touch(void *context, const struct id *node)
{
	const struct nameserver *ns = context;
	const struct member *member = member_find(ns, node);

	return member && member_in_touch(ns, member);
}

static bool has_connection(void *context, const struct id *node)
{
	const struct member *member = member_find(context, node);

	return member && member->session;
}

static bool agrees(const struct nameserver *ns, enum journal_act act, journal_has_fn *has)
{
	return journal_agrees(&ns->quorum.set, act, has, (void *)ns);
}

bool quorum_in_touch(const struct nameserver *ns)
{
	return agrees(ns, JOURNAL_RETURN, has_touch);
}

/* ---- what is committed ---- */

/* The last batch that enough of these servers have. */
static uint64_t members_have(const struct nameserver *ns, const struct journal_members *members)
{
	unsigned int needed = journal_needs(JOURNAL_COMMIT, members->count);
	uint64_t most[JOURNAL_SET_MAX] = { 0 }; /* the highest first */

	for (unsigned int i = 0; i < members->count; i++) {
		const struct member *member = member_find(ns, &members->nodes[i]);
		uint64_t has = member ? member->copy.proven : 0;

		for (unsigned int j = 0; j <= i; j++) {
			uint64_t less = most[j];

			if (has > less) {
				most[j] = has;
				has = less;
			}
		}
	}
	return needed ? most[needed - 1] : UINT64_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void quorum_commit(struct nameserver *ns)
{
	const struct journal_set *set = &ns->quorum.set;
	uint64_t has = least(ns->durable, members_have(ns, &set->now));

	if (set->changing)
		has = least(has, members_have(ns, &set->before));
	if (has <= ns->committed)
		return;
	ns->committed = has;
	ns->quorum.moved_ms = ns->now_ms;
	ns->quorum.choose = true;
	shipping_committed(ns);
}

void quorum_durable(struct nameserver *ns, uint64_t sequence)
{
	if (ns->committed == ns->durable)
		ns->quorum.moved_ms = ns->now_ms;
	ns->durable = sequence;
	quorum_commit(ns);
}

void quorum_acknowledged(struct nameserver *ns, struct member *member)
{
	/* Batches follow the answer to REGISTER on its connection: it was heard. */
	if (member->echo_ms < member->registered_ms)
		member->echo_ms = member->registered_ms;
	if (ns->quorum.set.now.count < JOURNAL_SET_MAX)
		ns->quorum.choose = true;
	quorum_commit(ns);
}

/* ---- who is in the set ---- */

static void set_change(struct nameserver *ns, const struct journal_set *set)
{
	ns->quorum.set = *set;
	ns->quorum.set_sequence = ns->sequence + 1;
	if (journal_set_put(ns->kv, set) < 0)
		ns->failed = true;
}

static void members_drop(struct journal_members *members, unsigned int at)
{
	members->count--;
	memmove(&members->nodes[at], &members->nodes[at + 1],
		(members->count - at) * sizeof(members->nodes[0]));
	memset(&members->nodes[members->count], 0, sizeof(members->nodes[0]));
}

static bool is_forgotten(const struct nameserver *ns, const struct id *node)
{
	const struct member *member = member_find(ns, node);

	return !member || member->row.retired;
}

static bool forgotten_drop(const struct nameserver *ns, struct journal_members *members)
{
	const unsigned int count = members->count;

	for (unsigned int i = count; i-- > 0;) {
		if (is_forgotten(ns, &members->nodes[i]))
			members_drop(members, i);
	}
	return members->count < count;
}

/* Nobody of them is forgotten, or enough others are there. */
static bool can_agree(const struct nameserver *ns, const struct journal_members *members)
{
	struct journal_members rest = *members;
	unsigned int up = 0;

	if (!forgotten_drop(ns, &rest))
		return true;
	for (unsigned int i = 0; i < rest.count; i++)
		up += member_is_up(member_find(ns, &rest.nodes[i]));
	return up >= journal_needs(JOURNAL_COMMIT, members->count);
}

/* The operator has said that they never return, so nobody waits for them. Their leaving is a change
 * like any other as long as the set as it was can agree without them: one that returns all the same
 * could otherwise make up that set, together with another that knows too little. Only where too few
 * are there to agree the old set is not asked. */
static bool forgotten_leave(struct nameserver *ns)
{
	const struct quorum *quorum = &ns->quorum;
	struct journal_set set = quorum->set;
	bool dropped = forgotten_drop(ns, &set.now);

	if (!set.changing)
		set.before = quorum->set.now;
	set.changing = can_agree(ns, &set.before);
	if (!dropped && set.changing >= quorum->set.changing)
		return false;
	if (!set.changing)
		set.before = (struct journal_members){ .count = 0 };
	set_change(ns, &set);
	return true;
}

static bool is_usable(const struct member *member)
{
	return !member->row.draining && !member->disk_failed;
}

static bool is_candidate(const struct nameserver *ns, const struct member *member)
{
	const struct member_copy *copy = &member->copy;

	return member->session && member->state == NODE_ONLINE && is_usable(member) &&
	       copy->level && copy->proven >= ns->first_sequence &&
	       copy->proven >= copies_settled(ns) && member_in_touch(ns, member) &&
	       !journal_members_have(&ns->quorum.set.now, &member->row.node);
}

/* How much of what may fail at once it has in common with those that stay. */
static unsigned int nearness(const struct nameserver *ns, const struct journal_members *stay,
			     const struct member *member)
{
	unsigned int near = 0;

	for (unsigned int i = 0; i < stay->count; i++) {
		const struct member *other = member_find(ns, &stay->nodes[i]);

		if (!other)
			continue;
		if (id_equal(&other->machine, &member->machine) && !id_is_none(&member->machine))
			near += 2;
		near += member->row.zone[0] && strcmp(other->row.zone, member->row.zone) == 0;
	}
	return near;
}

static const struct member *candidate_choose(const struct nameserver *ns,
					     const struct journal_members *stay)
{
	const struct member *best = NULL;
	unsigned int best_near = 0;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];
		unsigned int near;

		if (!is_candidate(ns, member))
			continue;
		near = nearness(ns, stay, member);
		if (!best || near < best_near) {
			best = member;
			best_near = near;
		}
	}
	return best;
}

/* It is there, but acknowledges nothing: its disk is full, or its copy damaged. */
static bool is_late(const struct nameserver *ns, const struct member *member)
{
	uint64_t since_ms =
		member->level_ms > member->registered_ms ? member->level_ms : member->registered_ms;

	return member->session && ns->now_ms - since_ms >= ns->config.journal_patience_ms;
}

static void lateness_look(struct nameserver *ns)
{
	const struct journal_members *now = &ns->quorum.set.now;

	for (unsigned int i = 0; i < now->count; i++) {
		struct member *member = member_find(ns, &now->nodes[i]);

		if (member && member->copy.proven >= copies_settled(ns))
			member->level_ms = ns->now_ms;
	}
}

static bool must_go(const struct nameserver *ns, const struct member *member)
{
	return !is_usable(member) || is_late(ns, member) ||
	       (member->state == NODE_OFFLINE &&
		ns->now_ms - member->offline_ms >= ns->config.journal_patience_ms);
}

/* One of the set that another should stand in for: its place; or the number of places. */
static unsigned int place_to_fill(const struct nameserver *ns)
{
	const struct journal_members *now = &ns->quorum.set.now;

	for (unsigned int i = 0; i < now->count; i++) {
		const struct member *member = member_find(ns, &now->nodes[i]);

		if (member && must_go(ns, member))
			return i;
	}
	return now->count;
}

static void change_begin(struct nameserver *ns)
{
	struct journal_set set = { .now = ns->quorum.set.now,
				   .before = ns->quorum.set.now,
				   .changing = true };
	unsigned int at = place_to_fill(ns);
	const struct member *member;

	if (at == JOURNAL_SET_MAX)
		return;
	if (at < set.now.count)
		members_drop(&set.now, at);
	member = candidate_choose(ns, &set.now);
	if (!member)
		return;
	set.now.nodes[set.now.count++] = member->row.node;
	set_change(ns, &set);
}

void quorum_choose(struct nameserver *ns)
{
	struct quorum *quorum = &ns->quorum;
	struct journal_set set = { .now = quorum->set.now };

	if (ns->failed || forgotten_leave(ns))
		return;
	lateness_look(ns);
	if (!quorum->choose && ns->now_ms < quorum->choose_ms)
		return;
	quorum->choose = false;
	quorum->choose_ms = ns->now_ms + CHOOSE_MS;
	if (ns->committed < quorum->set_sequence)
		return;
	if (quorum->set.changing)
		set_change(ns, &set);
	else if (!quorum->lost && quorum_in_touch(ns))
		change_begin(ns);
}

/* ---- lost and found ---- */

/* In touch, and has all that counts; and, if that is not all there is, what comes next. */
static bool is_present(const struct nameserver *ns, const struct id *node)
{
	const struct member *member = member_find(ns, node);
	bool waits = ns->quorum.lost && ns->committed < ns->durable;

	return member && member->session && member_in_touch(ns, member) &&
	       member->copy.proven >= ns->committed + waits;
}

static unsigned int present_count(const struct nameserver *ns)
{
	const struct journal_members *now = &ns->quorum.set.now;
	unsigned int count = 0;

	for (unsigned int i = 0; i < now->count; i++)
		count += is_present(ns, &now->nodes[i]);
	return count;
}

static void absent_add(struct nameserver *ns, const struct id *node, struct buffer *names)
{
	const struct member *member = member_find(ns, node);

	if (member && !is_present(ns, node))
		buffer_printf(names, "%s%s", names->size ? "," : "", member->row.name);
}

/* Names of those that are not there. */
static void absent_list(struct nameserver *ns, struct buffer *names)
{
	const struct journal_set *set = &ns->quorum.set;

	for (unsigned int i = 0; i < set->now.count; i++)
		absent_add(ns, &set->now.nodes[i], names);
	for (unsigned int i = 0; i < set->before.count; i++) {
		if (!journal_members_have(&set->now, &set->before.nodes[i]))
			absent_add(ns, &set->before.nodes[i], names);
	}
}

static void lost_tell(struct nameserver *ns)
{
	const struct journal_members *now = &ns->quorum.set.now;
	struct buffer names = { 0 };

	absent_list(ns, &names);
	ns_event(ns, LOG_ERROR, "quorum_lost", "missing=%s set=%u needed=%u up=%u",
		 quoted(ns, (struct slice){ names.data, names.size }), now->count,
		 journal_needs(JOURNAL_COMMIT, now->count), present_count(ns));
	buffer_done(&names);
}

static void lost_set(struct nameserver *ns, bool lost)
{
	struct quorum *quorum = &ns->quorum;

	if (quorum->lost == lost)
		return;
	quorum->lost = lost;
	parked_wake(ns, PARK_QUORUM);
	if (lost) {
		quorum->lost_ms = ns->now_ms;
		deletes_withdraw(ns);
		lost_tell(ns);
		return;
	}
	quorum->choose = true;
	sweep_request(ns, false);
	ns_event(ns, LOG_INFO, "quorum_back", "set=%u up=%u ms=%llu", quorum->set.now.count,
		 present_count(ns), (unsigned long long)(ns->now_ms - quorum->lost_ms));
}

static uint64_t patience(const struct quorum *quorum)
{
	return quorum->had && !quorum->apart ? TOUCH_PATIENCE_MS : PATIENCE_MS;
}

/* What the own disk has not got to yet is not the others' fault. */
void quorum_look(struct nameserver *ns)
{
	struct quorum *quorum = &ns->quorum;
	bool apart = !agrees(ns, JOURNAL_COMMIT, has_connection);
	bool good = !apart && quorum_in_touch(ns);
	bool stuck = ns->committed < ns->durable && ns->now_ms - quorum->moved_ms >= PATIENCE_MS;

	if (ns->deaf || ns->failed)
		return;
	if (quorum->good && !good)
		quorum->bad_ms = ns->now_ms;
	if (quorum->apart && !apart)
		parked_wake(ns, PARK_QUORUM);
	quorum->good = good;
	quorum->apart = apart;
	quorum->had |= good;
	lost_set(ns, stuck || (!good && ns->now_ms - quorum->bad_ms >= patience(quorum)));
}

/* When what it told is too old, or it has been away for too long. */
static uint64_t member_deadline(const struct nameserver *ns, const struct id *node)
{
	const struct member *member = member_find(ns, node);
	uint64_t at = UINT64_MAX, due;

	if (!member)
		return at;
	due = member->echo_ms + LEASE_OF_SERVER_MS + 1;
	if (due > ns->now_ms)
		at = due;
	due = member->offline_ms + ns->config.journal_patience_ms;
	if (member->state == NODE_OFFLINE && due > ns->now_ms)
		at = least(at, due);
	return at;
}

uint64_t quorum_deadline(const struct nameserver *ns)
{
	const struct quorum *quorum = &ns->quorum;
	const struct journal_set *set = &quorum->set;
	uint64_t at = UINT64_MAX, due = quorum->bad_ms + patience(quorum);

	for (unsigned int i = 0; i < set->now.count; i++)
		at = least(at, member_deadline(ns, &set->now.nodes[i]));
	for (unsigned int i = 0; i < set->before.count; i++)
		at = least(at, member_deadline(ns, &set->before.nodes[i]));
	if (quorum->lost || ns->deaf)
		return at;
	if (!quorum->good && due > ns->now_ms)
		at = least(at, due);
	due = quorum->moved_ms + PATIENCE_MS;
	return ns->committed < ns->durable && due > ns->now_ms ? least(at, due) : at;
}

void quorum_excuse(struct nameserver *ns, uint64_t ms)
{
	struct quorum *quorum = &ns->quorum;

	quorum->bad_ms = excused(ns, quorum->bad_ms, ms);
	quorum->moved_ms = excused(ns, quorum->moved_ms, ms);
}

/* To forget a server of the set may be the only way out. */
int quorum_admits(struct nameserver *ns, unsigned int code, const void *request)
{
	const struct journal_set *set = &ns->quorum.set;
	const struct forget_request *forget = code == MSG_forget ? request : NULL;

	if (!ns->quorum.lost && !ns->quorum.apart)
		return 0;
	if (forget && (journal_members_have(&set->now, &forget->node) ||
		       journal_members_have(&set->before, &forget->node)))
		return 0;
	if (ns->quorum.lost || ns->park.last)
		return -ERR_NO_QUORUM;
	park(ns, PARK_QUORUM, PATIENCE_MS + 1);
	return 1;
}

void quorum_status(const struct nameserver *ns, struct status_reply *reply)
{
	const struct journal_members *now = &ns->quorum.set.now;

	reply->sequence = ns->committed;
	reply->state = ns->quorum.lost ? SERVICE_READ_ONLY : SERVICE_FULL;
	reply->writable = !must_spare(ns);
	reply->journal_set = now->count;
	reply->journal_needed = journal_needs(JOURNAL_COMMIT, now->count);
	reply->journal_up = present_count(ns);
}

/* ---- the end ---- */

void quorum_deposed(struct nameserver *ns, const struct id *node, uint64_t epoch)
{
	char id[ID_TEXT_MAX];

	if (ns->deposed)
		return;
	ns_event_about(ns, member_find(ns, node), LOG_WARN, "deposed",
		       "id=%s epoch=%llu promised=%llu", id_format(node, id),
		       (unsigned long long)ns->epoch, (unsigned long long)epoch);
	ns->deposed = ns->failed = true;
}
