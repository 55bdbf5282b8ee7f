/* A name server's core in this process, as a script's peer: empty, with virtual time. */
#ifndef MUSTER_TESTS_PEER_NAMESERVER_H
#define MUSTER_TESTS_PEER_NAMESERVER_H

#include "script.h"

struct peer_nameserver;

int peer_nameserver_new(struct peer_nameserver **ret);
void peer_nameserver_free(struct peer_nameserver *memory);
struct script_peer peer_nameserver_script(struct peer_nameserver *memory);

#endif
