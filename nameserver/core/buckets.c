/* What a server holds against what we believe, by buckets: only what differs is listed.
 *
 * Our side is a sum over the places of each member (protocol/inventory.h), 32 KiB each, kept with
 * every change once a walk over all chunks, begun by the first registration after a start, has
 * counted them. Until that walk is over nobody is compared: who registers meanwhile learns with a
 * heartbeat whether its inventory is wanted.
 *
 * Comparing is over when both sums are the same, or when all that is in buckets that differ was
 * listed and sums up, bucket by bucket, to what we believe: what the server holds besides was heard
 * with the lists. Only where it does not does the server lack something, and which chunks these are
 * a walk over all chunks finds, which looks into nothing but those buckets. What gets durable
 * meanwhile is remembered in `fresh`; copies that are too many wait, because `compared` is false so
 * long.
 *
 * Heartbeats carry the server's sum as well. Copies on their way make it differ at any time; only a
 * difference that stands still while nothing is under way there is one: a receipt or an order that
 * was lost. What a comparison leaves, such as chunks that nobody knows and that are not deleted
 * yet, is the same difference again, and is not asked for again. */
#include "repair.h"

enum {
	COUNT_STEP = 2048,         /* some 1 ms, */
	COUNT_STEP_MS = 3,         /* so far apart: trimming waits for it, and it is over soon */
	COUNT_AT_ONCE = 32 * 1024, /* so few are counted in one step: some 0.1 s, once */
	ASK_AGAIN_BEATS = 15,      /* at least so many heartbeats' time apart */
	COMPARE_STEP = 4096,       /* keys: some 2 ms, as far apart as those that count */
	COMPARE_WORK = 64,         /* so many of them does a place take that is not there */
};

/* ---- it is over ---- */

/* Places that were gained while it was told may be too many now that it is believed. */
static void gained_look(struct nameserver *ns, struct member *member)
{
	struct chunk_set gained = member->gained;

	member->gained = (struct chunk_set){ 0 };
	for (size_t i = 0; i < gained.count; i++)
		repair_look(ns, gained.ids[i]);
	chunk_set_done(&gained);
	if (member->gained_more)
		sweep_request(ns, false);
	member->gained_more = false;
}

static void inventory_end(struct nameserver *ns, struct member *member)
{
	member->stage = INVENTORY_NONE;
	member->compared = true;
	chunk_set_done(&member->listed);
	chunk_set_done(&member->fresh);
	gained_look(ns, member);
	repair_interrupted(ns, member);
	repair_server_came(ns);
	ns_event_about(ns, member, LOG_DEBUG, "inventory_level", "chunks=%llu",
		       (unsigned long long)member->chunks);
}

/* ---- our side ---- */

static int count_chunk(struct nameserver *ns, uint64_t chunk)
{
	struct holders holders;
	int rc = holders_get(ns->kv, chunk, &holders);

	for (unsigned int i = 0; rc == 0 && i < holders.count; i++) {
		struct member *member = member_by_number(ns, holders.numbers[i]);

		if (member)
			inventory_turn(member->sum, chunk);
	}
	return rc;
}

/* Who has registered meanwhile need not be asked if it had then what we believe now: what has come
 * or gone since we know of. */
static void count_end(struct nameserver *ns)
{
	ns->count.running = false;
	ns->count.done = true;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		if (member->stage == INVENTORY_COUNTING &&
		    digest_equal(&member->sum->whole, &member->beat.theirs))
			inventory_end(ns, member);
	}
}

static void count_step(struct nameserver *ns, unsigned int most)
{
	struct inventory_count *count = &ns->count;

	for (unsigned int i = 0; i < most; i++) {
		int rc = chunk_next(ns->kv, count->cursor, &count->cursor);

		if (rc == -ERR_NOT_FOUND) {
			count_end(ns);
			return;
		}
		if (rc == 0)
			rc = count_chunk(ns, count->cursor);
		if (rc < 0) {
			ns->failed = true;
			return;
		}
	}
	count->next_ms = ns->now_ms + COUNT_STEP_MS;
}

static void count_begin(struct nameserver *ns)
{
	struct totals totals;

	if (ns->count.running || ns->count.done)
		return;
	ns->count.running = true;
	if (totals_get(ns->kv, &totals) < 0)
		ns->failed = true;
	else if (totals.chunks < COUNT_AT_ONCE)
		count_step(ns, COUNT_AT_ONCE);
	else
		ns->count.next_ms = ns->now_ms;
}

static void count_tick(struct nameserver *ns)
{
	struct inventory_count *count = &ns->count;

	if (count->running && ns->now_ms >= count->next_ms)
		count_step(ns, pace_step(&count->pace, ns->now_ms - count->next_ms, COUNT_STEP));
}

/* What lies ahead of the walk it will meet. */
void inventory_changed(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	if (ns->count.done || chunk <= ns->count.cursor)
		inventory_turn(member->sum, chunk);
}

/* ---- comparing ---- */

bool inventory_lists(const struct member *member, uint64_t chunk)
{
	return inventory_bit(member->differ, inventory_bucket(chunk));
}

/* From the start: all buckets, until BUCKETS says better. */
static void inventory_await(struct member *member)
{
	chunk_set_done(&member->gained);
	chunk_set_done(&member->unknown);
	chunk_set_done(&member->listed);
	chunk_set_done(&member->fresh);
	member->inventory_position = member->inventory_last = 0;
	memset(member->differ, 0xff, sizeof(member->differ));
	member->stage = INVENTORY_COMING;
	member->compared = false;
}

bool inventory_begin(struct nameserver *ns, struct member *member, const struct digest *digest)
{
	count_begin(ns);
	chunk_set_done(&member->away); /* the key is another: old receipts are void */
	member->beat = (struct inventory_beat){ .theirs = *digest };
	inventory_await(member);
	if (!ns->count.done)
		member->stage = INVENTORY_COUNTING;
	else if (digest_equal(&member->sum->whole, digest))
		inventory_end(ns, member);
	return member->stage == INVENTORY_COMING;
}

void inventory_lost(struct member *member)
{
	if (member->stage != INVENTORY_COMING && member->stage != INVENTORY_COUNTING)
		return;
	member->stage = INVENTORY_NONE;
	chunk_set_done(&member->listed);
	chunk_set_done(&member->fresh);
}

int on_buckets(struct nameserver *ns, struct session *from, const struct buckets_request *request,
	       struct buckets_reply *reply)
{
	struct member *member = from->member;
	unsigned int count;

	if (request->digests.size != INVENTORY_DIGESTS_SIZE)
		return -ERR_BAD_REQUEST;
	if (!member || member->stage != INVENTORY_COMING || member->inventory_position)
		return -ERR_STALE;
	count = inventory_differ(member->sum, request->digests.data, member->differ);
	ns_event_about(ns, member, LOG_DEBUG, "inventory_compared", "differ=%u buckets=%u", count,
		       (unsigned int)INVENTORY_BUCKETS);
	if (count)
		reply->differ = (struct slice){ member->differ, sizeof(member->differ) };
	else
		inventory_end(ns, member);
	return 0;
}

/* ---- what is not there any more ---- */

static void heard_sum(const struct member *member, struct inventory_sum *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < member->listed.count; i++)
		inventory_turn(ret, member->listed.ids[i]);
	for (size_t i = 0; i < member->fresh.count; i++) {
		if (!chunk_set_has(&member->listed, member->fresh.ids[i]))
			inventory_turn(ret, member->fresh.ids[i]);
	}
}

/* Of the buckets that were listed those stay in `differ` in which places of ours were not named. */
static unsigned int lacking(struct nameserver *ns, struct member *member)
{
	struct inventory_sum *heard = arena_alloc(&ns->arena, sizeof(*heard));
	unsigned int count = 0;

	if (!heard)
		return INVENTORY_BUCKETS;
	heard_sum(member, heard);
	for (unsigned int i = 0; i < INVENTORY_BUCKETS; i++) {
		uint8_t bit = (uint8_t)(1u << i % 8);

		if (!inventory_bit(member->differ, i))
			continue;
		if (heard->buckets[i] == member->sum->buckets[i])
			member->differ[i / 8] = (uint8_t)(member->differ[i / 8] & ~bit);
		else
			count++;
	}
	return count;
}

void inventory_told(struct nameserver *ns, struct member *member)
{
	if (lacking(ns, member) == 0) {
		inventory_end(ns, member);
		return;
	}
	member->stage = INVENTORY_WAITING;
	ns->compare.wanted = true;
}

static void compare_begin(struct nameserver *ns)
{
	struct inventory_compare *compare = &ns->compare;

	*compare = (struct inventory_compare){ .running = true };
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		if (member->stage != INVENTORY_WAITING)
			continue;
		member->stage = INVENTORY_COMPARING;
		for (unsigned int k = 0; k < INVENTORY_BITS_SIZE; k++)
			compare->differ[k] |= member->differ[k];
	}
}

static void compare_end(struct nameserver *ns)
{
	ns->compare.running = false;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		if (member->stage == INVENTORY_COMPARING)
			inventory_end(ns, member);
	}
}

static bool is_missing(const struct member *member, uint64_t chunk, unsigned int bucket)
{
	return member && member->stage == INVENTORY_COMPARING &&
	       inventory_bit(member->differ, bucket) && !chunk_set_has(&member->listed, chunk) &&
	       !chunk_set_has(&member->fresh, chunk);
}

/* Returns how many places of the chunk are gone. */
static int compare_chunk(struct nameserver *ns, uint64_t chunk)
{
	const unsigned int bucket = inventory_bucket(chunk);
	struct holders holders;
	int count = 0, rc;

	if (!inventory_bit(ns->compare.differ, bucket))
		return 0;
	rc = holders_get(ns->kv, chunk, &holders);
	for (unsigned int i = 0; rc == 0 && i < holders.count; i++) {
		struct member *member = member_by_number(ns, holders.numbers[i]);

		if (!is_missing(member, chunk, bucket))
			continue;
		rc = place_missing(ns, member, chunk);
		count++;
	}
	return rc < 0 ? rc : count;
}

static void compare_step(struct nameserver *ns, unsigned int most)
{
	struct inventory_compare *compare = &ns->compare;
	int rc = 0;

	if (!compare->running)
		compare_begin(ns);
	for (unsigned int done = 0; rc >= 0 && done < most; done++) {
		rc = chunk_next(ns->kv, compare->cursor, &compare->cursor);
		if (rc == 0)
			rc = compare_chunk(ns, compare->cursor);
		if (rc > 0)
			done += COMPARE_WORK * (unsigned int)rc;
	}
	compare->next_ms = ns->now_ms + COUNT_STEP_MS;
	if (rc == -ERR_NOT_FOUND)
		compare_end(ns);
	else if (rc < 0)
		ns->failed = true;
}

static bool compare_is_due(const struct nameserver *ns)
{
	return (ns->compare.running || ns->compare.wanted) && !must_spare(ns);
}

static void compare_tick(struct nameserver *ns)
{
	struct inventory_compare *compare = &ns->compare;

	if (compare_is_due(ns) && ns->now_ms >= compare->next_ms)
		compare_step(ns, pace_step(&compare->pace, ns->now_ms - compare->next_ms,
					   COMPARE_STEP));
}

/* ---- time ---- */

void inventory_tick(struct nameserver *ns)
{
	count_tick(ns);
	compare_tick(ns);
}

uint64_t inventory_deadline(const struct nameserver *ns)
{
	uint64_t at = ns->count.running ? ns->count.next_ms : UINT64_MAX;

	return compare_is_due(ns) && ns->compare.next_ms < at ? ns->compare.next_ms : at;
}

/* ---- HEARTBEAT ---- */

/* Nothing that we know of can change what it holds, or what we believe of it. */
static bool is_quiet(const struct member *member)
{
	return !member->doomed.count && !member->ordered.count && !member->deleting &&
	       !member->leased && !member->fetching && !member->bad.count &&
	       !member->doubted.count && !member->looking;
}

static struct digest difference(const struct digest *a, const struct digest *b)
{
	struct digest digest;

	for (int i = 0; i < DIGEST_SIZE; i++)
		digest.bytes[i] = a->bytes[i] ^ b->bytes[i];
	return digest;
}

/* The same as with the heartbeat before, and nothing was under way then or now. */
static bool stands_still(struct member *member, const struct digest *theirs)
{
	struct inventory_beat *beat = &member->beat;
	const struct digest *ours = &member->sum->whole;
	bool still = beat->quiet && is_quiet(member) && digest_equal(&beat->theirs, theirs) &&
		     digest_equal(&beat->ours, ours);

	beat->quiet = is_quiet(member);
	beat->theirs = *theirs;
	beat->ours = *ours;
	return still;
}

static bool was_asked(const struct nameserver *ns, const struct inventory_beat *beat,
		      const struct digest *differs)
{
	return beat->asked_ms &&
	       (digest_equal(&beat->asked, differs) ||
		ns->now_ms - beat->asked_ms < ASK_AGAIN_BEATS * ns->config.heartbeat_ms);
}

bool inventory_heard(struct nameserver *ns, struct member *member, const struct digest *digest)
{
	bool first = member->stage == INVENTORY_COUNTING;
	struct inventory_beat *beat = &member->beat;
	struct digest differs;
	bool still;

	if (!ns->count.done || member->stage > INVENTORY_COUNTING)
		return false;
	still = stands_still(member, digest);
	differs = difference(&member->sum->whole, digest);
	if (digest_equal(&member->sum->whole, digest)) {
		if (first)
			inventory_end(ns, member);
		return false;
	}
	if (!first && (!still || was_asked(ns, beat, &differs)))
		return false;
	if (!first) {
		beat->asked = differs;
		beat->asked_ms = ns->now_ms;
	}
	beat->quiet = false;
	inventory_await(member);
	return true;
}
