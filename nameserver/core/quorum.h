/* When a change counts: it is durable on the own disk and acknowledged by enough servers of the
 * journal set. The set chooses itself (catalogue/journal_set.h says what its sizes mean): it grows
 * to three of the servers whose copies are level, and those that will not come back are replaced.
 * The newest row governs all that is not committed yet; the next change of it is begun only when
 * that row is.
 *
 * In touch: enough servers of the set have shown that they heard us within LEASE_OF_SERVER_MS. None
 * of them follows another name server that soon, so what we answer is the newest there is.
 *
 * Lost: not in touch, or too few servers are connected, or they acknowledge nothing. Then changes
 * are refused, questions are answered with the flag DEGRADED, and work that can wait writes
 * nothing. It ends by itself. */
#ifndef MUSTER_NS_QUORUM_H
#define MUSTER_NS_QUORUM_H

#include "journal_set.h"

struct quorum {
	struct journal_set set; /* the newest row of it, in the batch */
	uint64_t set_sequence;
	bool lost;
	bool had; /* since the start it was complete at least once */
	uint64_t lost_ms;
	bool good;         /* enough are connected and in touch; else not */
	bool apart;        /* they are not even connected: changes wait for a moment */
	uint64_t bad_ms;   /* since then */
	uint64_t moved_ms; /* when something was committed last, or nothing waited for it */
	bool choose;       /* perhaps the set can change now; else look at */
	uint64_t choose_ms;
};

struct nameserver;
struct member;
struct status_reply;

int quorum_load(struct nameserver *ns);
/* The disk or a copy may have got further. */
void quorum_commit(struct nameserver *ns);
void quorum_durable(struct nameserver *ns, uint64_t sequence); /* on the own disk */
void quorum_acknowledged(struct nameserver *ns, struct member *member);
/* The turn ends: before it is sealed, so that the set may change with it, */
void quorum_choose(struct nameserver *ns);
/* and after: whether there still is one. */
void quorum_look(struct nameserver *ns);
uint64_t quorum_deadline(const struct nameserver *ns);
void quorum_excuse(struct nameserver *ns, uint64_t ms);
/* Answers may leave that tell of the present. */
bool quorum_in_touch(const struct nameserver *ns);
/* For a request that would change something: 0, 1: it is parked for a moment, -ERR_NO_QUORUM. */
int quorum_admits(struct nameserver *ns, unsigned int code, const void *request);
void quorum_status(const struct nameserver *ns, struct status_reply *reply);
/* A storage server of ours has promised a later epoch than this one to somebody. */
void quorum_deposed(struct nameserver *ns, const struct id *node, uint64_t epoch);

#endif
