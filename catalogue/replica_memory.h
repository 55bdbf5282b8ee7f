/* Rows of a copy in memory: for tests and simulation. They outlive copies, as a database's files
 * outlive processes. `disk` may be NULL; else each change is noted there first, in the file `rows`,
 * so that a disk which fails or is full refuses it. */
#ifndef MUSTER_CATALOGUE_REPLICA_MEMORY_H
#define MUSTER_CATALOGUE_REPLICA_MEMORY_H

#include "replica.h"

struct replica_memory {
	struct replica_rows rows; /* first */
	struct kv *kv;
	struct view_mark mark;
	struct disk *disk;
};

int replica_memory_init(struct replica_memory *memory, struct disk *disk);
void replica_memory_done(struct replica_memory *memory);

#endif
