/* struct kv in memory: an ordered tree. For scripts, simulation and unit tests. */
#ifndef MUSTER_CATALOGUE_KV_MEMORY_H
#define MUSTER_CATALOGUE_KV_MEMORY_H

#include "kv.h"

int kv_memory_new(struct kv **ret);
void kv_memory_free(struct kv *kv); /* NULL-safe */
/* Applies the changes of a batch without noting them again: replay. */
int kv_memory_apply(struct kv *kv, struct slice changes);

#endif
