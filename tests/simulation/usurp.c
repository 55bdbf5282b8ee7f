/* Two courses of faults in which one server of the journal set misses the last batches.
 *
 * A name server sleeps, another one begins, and then it wakes up: what tries the rules that keep
 * the two apart. A client has heard of nobody but the sleeper, and asks it as soon as it wakes.
 *
 * A name server loses its directory, and at first meets that one server alone. */
#include <stdlib.h>

#include "faults.h"

enum {
	SLEEP_US = 20 * SECOND, /* longer than a stand-by waits */
	AHEAD_US = 4 * SECOND,
	BEHIND_US = 3 * SECOND,
	MEET_US = 12 * SECOND, /* longer than a server is bound to the one before */
};

struct usurp {
	struct host *sleeper, *successor, *behind;
	uint64_t sleep_us;
	bool alone; /* the successor reaches no other server of the set in this time */
	bool apart; /* nor does the sleeper at first, when it wakes */
};

static bool is_member(const struct usurp *usurp, const struct host *storage)
{
	return storage != usurp->behind && ns_host_in_set(usurp->sleeper, &storage->id);
}

static void client_keep(struct world *w, const struct usurp *usurp)
{
	const struct host *client = world_client(w, 0);

	for (unsigned int i = 0; i < w->host_count; i++) {
		if (&w->hosts[i] != client && &w->hosts[i] != usurp->sleeper)
			fault_cut_both(w, client, &w->hosts[i], usurp->sleep_us + BEHIND_US);
	}
}

static void storage_cut(struct world *w, const struct usurp *usurp, const struct host *storage)
{
	if (usurp->alone && is_member(usurp, storage))
		fault_cut_both(w, storage, usurp->successor, usurp->sleep_us);
	if (usurp->apart)
		fault_cut_both(w, storage, usurp->sleeper, usurp->sleep_us + BEHIND_US);
}

static void sleep_now(struct world *w, const struct due *due)
{
	const struct usurp *usurp = due->context;

	if (w->healed || !usurp->sleeper->up || host_is_paused(usurp->sleeper))
		return;
	for (unsigned int i = 0; i < w->storage_count; i++)
		storage_cut(w, usurp, world_storage(w, i));
	client_keep(w, usurp);
	w->result.tallies[TALLY_SLEPT]++;
	fault_pause(usurp->sleeper, usurp->sleep_us);
}

static struct host *member_choose(struct world *w, const struct host *ns)
{
	unsigned int first = (unsigned int)world_below(w, w->storage_count);

	for (unsigned int i = 0; i < w->storage_count; i++) {
		struct host *storage = world_storage(w, (first + i) % w->storage_count);

		if (ns_host_in_set(ns, &storage->id))
			return storage;
	}
	return NULL;
}

/* It hears of no batch any more. */
static void leave_behind(struct world *w, const struct host *behind, const struct host *but,
			 uint64_t time_us)
{
	for (unsigned int i = 0; i < w->host_count; i++) {
		const struct host *host = &w->hosts[i];

		if (host != behind && host != but && host->kind != HOST_CLIENT)
			fault_cut_both(w, behind, host, time_us);
	}
}

void fault_usurp(struct world *w)
{
	const bool lease = w->config.sabotage == SABOTAGE_NO_LEASE; /* else it hears so at once */
	struct host *sleeper = world_nameserver(w);
	struct usurp *usurp;
	uint64_t ahead_us = SECOND + world_below(w, AHEAD_US);

	if (w->ns_count < 2 || host_is_paused(sleeper) ||
	    ns_host_set_size(sleeper) < JOURNAL_SET_MAX)
		return;
	usurp = malloc(sizeof(*usurp));
	if (!usurp)
		abort();
	*usurp = (struct usurp){ .sleeper = sleeper,
				 .successor = world_ns(w, sleeper->number ? 0 : 1),
				 .behind = member_choose(w, sleeper),
				 .sleep_us = SLEEP_US + world_below(w, 10 * SECOND),
				 .alone = !lease && world_chance(w, 30),
				 .apart = lease || world_chance(w, 50) };
	leave_behind(w, usurp->behind, usurp->successor,
		     ahead_us + usurp->sleep_us + (usurp->apart ? BEHIND_US : 0));
	world_after(w, ahead_us, (struct due){ .run = sleep_now, .context = usurp, .owned = true });
}

/* ---- a directory is lost ---- */

static void meet_now(struct world *w, const struct due *due)
{
	struct host *ns = &w->hosts[due->a], *behind = &w->hosts[due->b];
	uint64_t time_us = MEET_US + world_below(w, MEET_US);

	if (!ns->up || !fault_may_forget(w))
		return;
	for (unsigned int i = 0; i < w->storage_count; i++) {
		struct host *storage = world_storage(w, i);

		if (storage == behind)
			continue;
		fault_cut_both(w, storage, ns, time_us);
		fault_cut_both(w, storage, behind, time_us);
	}
	fault_lose_directory(ns);
}

void fault_relapse(struct world *w)
{
	const struct host *ns = world_nameserver(w);
	const struct host *behind = member_choose(w, ns);
	uint64_t ahead_us = SECOND + world_below(w, AHEAD_US);

	if (!behind)
		return;
	leave_behind(w, behind, NULL, ahead_us);
	world_after(w, ahead_us,
		    (struct due){ .run = meet_now, .a = ns->index, .b = behind->index });
}
