/* What the core asks of the store, answered by the real one. Without libuv: the daemon uses it, and
 * the simulation. */
#ifndef MUSTER_STORAGE_STORE_CHUNKS_H
#define MUSTER_STORAGE_STORE_CHUNKS_H

#include "storage.h"
#include "store.h"

struct store_chunks {
	struct store *store;
	struct store_commit *gathering; /* by write_commit; the owner takes it out and runs it */
	void *owner;
	struct storage_chunks calls; /* for the core; their context is this struct */
};

/* For `calls`. The owner may put functions of its own there, which hand on to these. */
extern const struct storage_chunks store_chunks_calls;

#endif
