/* Inside the name server's core: names that move, and what was removed. */
#ifndef MUSTER_LETTING_GO_H
#define MUSTER_LETTING_GO_H

#include "ns_state.h"

/* ---- letting_go.c: what the trash lets go of ---- */

/* Entries that are older than this (running time) are not there any more. */
uint64_t trash_from_ms(const struct nameserver *ns);
void trash_tick(struct nameserver *ns);
uint64_t trash_deadline(const struct nameserver *ns);
/* For a put that was refused with NO_SPACE and wants `bytes` (SIZE_UNKNOWN: a chunk): waits while
 * there may come room, the oldest of the trash being let go if need be; else NO_SPACE. As park()
 * does. */
int room_wait(struct nameserver *ns, uint64_t bytes);
/* Chunks that are yet to be deleted. */
int freeing_count(struct nameserver *ns, uint64_t *ret);

/* ---- long_requests.c ---- */

/* What has been done of a request that takes several turns. */
struct long_request {
	struct id client;
	uint64_t operation;
	uint64_t used_ms;
	struct tree_count *count; /* REMOVE */
	struct removed gone;      /* TRASH_PURGE */
	TAILQ_ENTRY(long_request) order;
};
/* Of that client's operation, new if it is; NULL: no memory. */
struct long_request *long_request_get(struct nameserver *ns, const struct session *from,
				      uint64_t operation);
void long_request_end(struct nameserver *ns, const struct session *from, uint64_t operation);
int long_request_park(struct nameserver *ns); /* until the next tick; as park() does */
void long_requests_tick(struct nameserver *ns);
uint64_t long_requests_deadline(const struct nameserver *ns);
void long_requests_free(struct nameserver *ns);

/* ---- moves.c ---- */

enum { COPY_STEP = 512 }; /* files, directories and chunks: some milliseconds */

void copies_tick(struct nameserver *ns);
uint64_t copies_deadline(const struct nameserver *ns);
void copies_free(struct nameserver *ns);

uint64_t next_inode(void *ns); /* a next_id_fn */

#endif
