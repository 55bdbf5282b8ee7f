/* A name server's core in this process, as a script's peer: empty, with virtual time. */
#ifndef MUSTER_TESTS_PEER_MEMORY_H
#define MUSTER_TESTS_PEER_MEMORY_H

#include "script.h"

struct peer_memory;

int peer_memory_new(struct peer_memory **ret);
void peer_memory_free(struct peer_memory *memory);
struct script_peer peer_memory_script(struct peer_memory *memory);

#endif
