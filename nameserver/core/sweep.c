/* How many chunks have too few copies. Every change to one chunk's places changes the counts at
 * once. What changes the copies of many chunks (a server goes or comes) starts a walk over all of
 * them, in small steps. What happens while it runs makes it run again.
 *
 * Chunks of removed files count until the collector has freed them. */
#include "repair.h"

enum {
	SWEEP_STEP = 1024,
	SWEEP_PAUSE_MS = 500,
	SWEEP_AT_ONCE = 64 * 1024, /* so few STATUS looks at before it answers: some 0.2 s */
	PACE_FIRST = 64,
	PACE_LEAST = 16,
};

unsigned int pace_step(unsigned int *count, uint64_t late_ms, unsigned int most)
{
	if (*count == 0)
		*count = PACE_FIRST;
	else if (late_ms >= STEP_MS && *count > PACE_LEAST)
		*count /= 2;
	else if (late_ms < STEP_MS / 4)
		*count *= 2;
	*count = *count < most ? *count : most;
	return *count;
}

void sweep_request(struct nameserver *ns, bool worse)
{
	ns->sweep.again = true;
	ns->worse = ns->worse || worse;
}

/* ---- one chunk ---- */

struct copies copies_count(const struct nameserver *ns, uint64_t chunk,
			   const struct holders *holders)
{
	struct copies copies = { 0 };

	for (unsigned int i = 0; i < holders->count; i++) {
		const struct member *member = member_by_number(ns, holders->numbers[i]);

		if (!member || !member_is_up(member))
			continue;
		copies.up++;
		copies.sound += !member->disk_failed && !copy_is_bad(member, chunk);
	}
	return copies;
}

struct standing standing_of(struct copies copies, unsigned int wanted)
{
	return (struct standing){ .under = copies.sound < wanted, .lost = copies.up == 0 };
}

int standing_get(struct nameserver *ns, uint64_t chunk, struct standing *ret)
{
	struct holders holders;
	struct wanted_memory memory = { 0 };
	uint8_t wanted = 0;
	int rc = chunk_wanted(ns, chunk, &memory, &wanted);

	*ret = (struct standing){ 0 };
	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? 0 : rc;
	rc = holders_get(ns->kv, chunk, &holders);
	if (rc == 0)
		*ret = standing_of(copies_count(ns, chunk, &holders), wanted);
	return rc;
}

/* While a walk is due the counts may be off: they must not run below zero meanwhile. */
static void count_change(uint64_t *count, bool before, bool after)
{
	if (after && !before)
		++*count;
	else if (before && !after && *count)
		--*count;
}

void standing_change(struct nameserver *ns, uint64_t chunk, struct standing before,
		     struct standing after)
{
	count_change(&ns->under_copied, before.under, after.under);
	count_change(&ns->lost, before.lost, after.lost);
	if (!ns->sweep.running || chunk > ns->sweep.cursor)
		return;
	count_change(&ns->sweep.under, before.under, after.under);
	count_change(&ns->sweep.lost, before.lost, after.lost);
}

/* ---- all of them ---- */

static void sweep_begin(struct nameserver *ns)
{
	ns->sweep = (struct sweep){ .running = true, .pace = ns->sweep.pace };
}

static void sweep_end(struct nameserver *ns)
{
	ns->under_copied = ns->sweep.under;
	ns->lost = ns->sweep.lost;
	ns->worse = ns->worse && ns->sweep.again;
	ns->sweep.running = false;
	ns->sweep.next_ms = ns->now_ms + SWEEP_PAUSE_MS;
}

/* `at` then is the next one. */
static int sweep_chunk(struct nameserver *ns, struct chunk_owner *at)
{
	struct sweep *sweep = &ns->sweep;
	struct chunk_health health = { .chunk = at->chunk };
	struct standing standing;
	int rc = holders_get(ns->kv, health.chunk, &health.holders);

	if (rc == 0)
		rc = chunk_wanted_next(ns, at, &sweep->memory, &health.wanted);
	if (rc == 0)
		rc = place_sweep(ns, health.chunk, &health.holders);
	if (rc < 0)
		return rc;
	health_fill(ns, &health);
	standing = standing_of(health.copies, health.wanted);
	sweep->under += standing.under;
	sweep->lost += standing.lost;
	sweep->seen++;
	repair_found(ns, &health);
	return 0;
}

/* Ends the walk, or goes on by `most` chunks. */
static void sweep_step(struct nameserver *ns, unsigned int most)
{
	struct chunk_owner at;
	int rc;

	if (!ns->sweep.running)
		sweep_begin(ns);
	takers_count(ns);
	at = (struct chunk_owner){ ns->sweep.cursor, UINT64_MAX };
	rc = chunk_owner_next(ns->kv, &at);
	for (unsigned int i = 0; rc == 0 && i < most; i++) {
		ns->sweep.cursor = at.chunk;
		rc = sweep_chunk(ns, &at);
		if (rc == 0 && at.chunk == 0)
			rc = -ERR_NOT_FOUND;
	}
	if (rc == -ERR_NOT_FOUND)
		sweep_end(ns);
	else if (rc < 0)
		ns->failed = true;
	else
		ns->sweep.next_ms = ns->now_ms + STEP_MS;
}

void sweep_tick(struct nameserver *ns)
{
	struct sweep *sweep = &ns->sweep;

	if (ns->now_ms < sweep_deadline(ns))
		return;
	if (!sweep->running)
		sweep->pace = 0;
	sweep_step(ns, pace_step(&sweep->pace, ns->now_ms - sweep->next_ms, SWEEP_STEP));
}

uint64_t sweep_deadline(const struct nameserver *ns)
{
	return ns->sweep.running || ns->sweep.again ? ns->sweep.next_ms : UINT64_MAX;
}

/* Never too few: what has not been counted since things became worse counts as under-copied. */
uint64_t sweep_under_copied(struct nameserver *ns, uint64_t chunks)
{
	struct sweep *sweep = &ns->sweep;
	uint64_t seen;

	/* The walk that runs, and the one after it. */
	for (int i = 0; i < 2 && chunks <= SWEEP_AT_ONCE; i++) {
		if (sweep->running || sweep->again)
			sweep_step(ns, SWEEP_AT_ONCE);
	}
	if (!ns->worse || !(sweep->running || sweep->again))
		return ns->under_copied;
	seen = sweep->again ? 0 : sweep->seen;
	return chunks > seen ? sweep->under + chunks - seen : sweep->under;
}
