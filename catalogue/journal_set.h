/* The journal set: the storage servers whose copies of the catalogue decide, with the name server's
 * own disk, what has been committed; and by whose promises a name server may begin. It is a row of
 * the catalogue, so it changes by a batch like everything else, one step at a time: as long as
 * `changing` says so a decision needs both what the old set asks for and what the new one does.
 * Then a batch that was committed so ends the change (joint consensus: Ongaro, "Consensus: Bridging
 * Theory and Practice", 4.3). Pure. */
#ifndef MUSTER_CATALOGUE_JOURNAL_SET_H
#define MUSTER_CATALOGUE_JOURNAL_SET_H

#include "kv.h"
#include "message.h"

struct journal_members {
	struct id nodes[JOURNAL_SET_MAX];
	unsigned int count;
};

struct journal_set {
	struct journal_members now;
	struct journal_members before; /* while it changes */
	bool changing;
};

/* How many of a set's servers must agree. Sets that may commit and sets that may let somebody take
 * over always have one server in common. */
enum journal_act {
	JOURNAL_COMMIT, /* besides the name server's own disk: 0, 1, 1, 2 of 0, 1, 2, 3 */
	JOURNAL_TAKE,   /* to take over from what the servers have: 0, 1, 2, 2 */
	/* To go on with the own disk, which has all that was ever committed by it, as long as
	 * nobody else has taken over: 0, 1, 1, 2. So many in touch prove just that. */
	JOURNAL_RETURN,
};
unsigned int journal_needs(enum journal_act act, unsigned int count);

typedef bool journal_has_fn(void *context, const struct id *node);
/* Whether enough servers of the set, and of the one before if it changes, have it. */
bool journal_agrees(const struct journal_set *set, enum journal_act act, journal_has_fn *has,
		    void *context);
bool journal_members_have(const struct journal_members *members, const struct id *node);

/* An empty set where there is no row. -ERR_BAD_FORMAT. */
int journal_set_get(struct kv *kv, struct journal_set *ret);
int journal_set_put(struct kv *kv, const struct journal_set *set);

#endif
