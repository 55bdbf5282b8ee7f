/* Puts chunks into a store and compares what comes out: for tests of the store. A chunk's content
 * follows from its id and length, so nothing has to be remembered. */
#ifndef MUSTER_TESTS_STORE_DRIVER_H
#define MUSTER_TESTS_STORE_DRIVER_H

#include "store.h"

struct driven {
	uint64_t chunk;
	uint32_t length;
	int result; /* set by driven_put */
};

void driven_content(uint64_t chunk, uint32_t length, uint8_t *ret);

/* A whole chunk, in pieces of 64 KiB, ready for a commit. */
int driven_write(struct store *store, uint64_t chunk, uint32_t length, struct store_write **ret);
/* All of them in one commit; chunks refused on the way have their code as result. Returns what the
 * commit returned. */
int driven_put(struct store *store, struct driven *list, size_t count);

/* 0: the chunk is there, its CRCs and digest hold and every byte is the expected one. -ERR_CORRUPT:
 * checksums say that it is damaged. -ERR_STALE: wrong bytes under right checksums, which must never
 * be. Others as the store returned them. */
int driven_read(struct store *store, uint64_t chunk, uint32_t length);

/* Chores until none is due, at most `most`; returns how many were run. */
int driven_chores(struct store *store, uint64_t now_ms, int most);

/* Options for small disks: segments of 64 KiB, files of their own from 20 000 bytes on. */
struct store_options driven_options(void);

#endif
