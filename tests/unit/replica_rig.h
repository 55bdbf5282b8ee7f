/* Batches of a made-up catalogue: number n puts the row "s" "n" and removes an older one. */
#ifndef MUSTER_REPLICA_RIG_H
#define MUSTER_REPLICA_RIG_H

#include "disk_sim.h"
#include "replica_memory.h"

enum { RIG_BATCHES_MAX = 64 };

struct replica_rig {
	struct kv *kv; /* the catalogue after all batches */
	struct buffer batches[RIG_BATCHES_MAX];
	struct journal_head heads[RIG_BATCHES_MAX + 1]; /* [n]: after n batches */
	unsigned int count;
};

void rig_init(struct replica_rig *rig, unsigned int batches);
void rig_done(struct replica_rig *rig);
struct slice rig_batch(const struct replica_rig *rig, unsigned int number); /* from 1 */
/* Adds one, in that epoch, with a value of `size` bytes. */
void rig_add(struct replica_rig *rig, uint64_t epoch, size_t size);
/* The rows after that many batches, as a page. */
void rig_page(const struct replica_rig *rig, unsigned int number, struct buffer *ret);
struct digest rig_digest(const struct replica_rig *rig, unsigned int number);

#endif
