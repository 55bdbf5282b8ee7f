/* Orders to storage servers whose answers matter: INSPECT, FETCH, DELETE. Each ends exactly once,
 * by a call of its `done`: with the answer, or with an error when the server refused, was silent
 * for too long, or its connection broke. `done` may send further orders. */
#ifndef MUSTER_NS_ORDERS_H
#define MUSTER_NS_ORDERS_H

#include "ns_state.h"

struct order_result {
	struct member *member;
	uint64_t subject;
	int error; /* 0, or why there is no reply; -ERR_TIMEOUT, -ERR_UNAVAILABLE: our own */
	const void *reply; /* struct …_reply; borrows from the step's arena */
};
typedef void order_done_fn(struct nameserver *ns, const struct order_result *result);

struct order_how {
	uint64_t subject;    /* for `done` to know what it was about */
	uint64_t timeout_ms; /* in all */
	uint64_t silence_ms; /* without a sign of life, also before that; 0: the same */
	order_done_fn *done;
};
/* The member must have a session. -ERR_NO_MEMORY: nothing was sent, `done` is not called. */
int member_order(struct nameserver *ns, struct member *member, unsigned int code,
		 const void *request, const struct order_how *how);
/* The one that `done` waits for never left: it ends with CANCELLED. */
void order_withdraw(struct nameserver *ns, const struct member *member, order_done_fn *done);

/* ---- fetch.c ---- */

struct fetch_plan {
	struct member *source, *target;
	const struct chunk_row *row;
};
struct fetch_ends {
	uint16_t source, target; /* numbers of the members */
	uint32_t length;
	uint64_t begun_ms;
};
/* How many of them a server may take part in now, as source and as target. */
unsigned int fetches_most(const struct nameserver *ns, const struct member *member);
/* When the first of the servers that rest may take part in one again; UINT64_MAX: none rests. */
uint64_t fetches_rested_ms(const struct nameserver *ns);
/* Both have sessions. `done`, which is called with the chunk as subject, calls fetch_end first. */
int fetch_begin(struct nameserver *ns, const struct fetch_plan *plan, order_done_fn *done);
void fetch_end(struct nameserver *ns, const struct fetch_ends *ends);
/* Brings the copy onto the books; `chunk` 0: any. -ERR_BAD_RECEIPT; -ERR_STALE. */
int fetch_receipt(struct nameserver *ns, struct member *member, const struct receipt *receipt,
		  uint64_t chunk);
/* It failed: perhaps the source's copy is bad. */
void fetch_doubt(struct nameserver *ns, uint16_t source, uint64_t chunk, int error);

#endif
