/* A storage server's core in this process, as a script's peer: an empty store in memory and virtual
 * time, which passes while the script waits. */
#ifndef MUSTER_TESTS_PEER_STORAGE_H
#define MUSTER_TESTS_PEER_STORAGE_H

#include "script.h"

struct peer_storage;

int peer_storage_new(struct peer_storage **ret);
void peer_storage_free(struct peer_storage *storage);
struct script_peer peer_storage_script(struct peer_storage *storage);

#endif
