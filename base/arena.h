/* Memory that is handed out in pieces and taken back at once: the lists of a decoded message. */
#ifndef MUSTER_BASE_ARENA_H
#define MUSTER_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used;  /* bytes handed out since the last reset */
	size_t limit; /* 0: no limit but memory */
};

/* Zeroed and aligned for any type; NULL when the limit or memory is exhausted. */
void *arena_alloc(struct arena *arena, size_t size);
void arena_reset(struct arena *arena); /* everything handed out is void; one block is kept */
void arena_done(struct arena *arena);

#endif
