/* A random workload on a store, and what it has been promised so far. */
#ifndef MUSTER_TESTS_CRASH_MODEL_H
#define MUSTER_TESTS_CRASH_MODEL_H

#include "disk_sim.h"
#include "random.h"
#include "store_driver.h"

enum { MODEL_CHUNKS_MAX = 256 };

enum chunk_state {
	CHUNK_OPEN,   /* never acknowledged: absent or exact */
	CHUNK_ACKED,  /* must be there, exact */
	CHUNK_REMOVED /* absent or exact: removals are lazy */
};

struct model {
	struct driven chunks[MODEL_CHUNKS_MAX];
	enum chunk_state states[MODEL_CHUNKS_MAX];
	size_t count;
	uint64_t generation; /* the highest that was reported */
	uint64_t promised;
	uint64_t now_ms;
	bool lenient; /* damage is expected: an acknowledged chunk may be reported as damaged */
};

/* Opens; notes the generation. */
int model_open(struct model *model, struct disk *disk, struct store **ret,
	       struct store_report *report);
/* `operations` random ones; the store may be closed and opened in between and is NULL if that
 * failed. Errors are taken as they come: what was not acknowledged is not expected later. */
void model_run(struct model *model, struct disk_sim *sim, struct store **store, uint64_t seed,
	       int operations);
/* NULL, or what is wrong with this store. */
const char *model_check(const struct model *model, struct store *store);

#endif
