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

/* ---- moves.c ---- */

enum { COPY_STEP = 512 }; /* files, directories and chunks: some milliseconds */

void copies_tick(struct nameserver *ns);
uint64_t copies_deadline(const struct nameserver *ns);
void copies_free(struct nameserver *ns);

uint64_t next_inode(void *ns); /* a next_id_fn */

#endif
