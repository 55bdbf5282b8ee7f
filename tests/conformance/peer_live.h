/* A server over TCP as a script's peer. For a storage server we listen where it looks for its name
 * server, and on free ports wherever else it is to dial us. */
#ifndef MUSTER_TESTS_PEER_LIVE_H
#define MUSTER_TESTS_PEER_LIVE_H

#include "script.h"

struct peer_live;

struct live_how {
	const char *address; /* HOST[:PORT] of the server */
	bool storage;
	uint16_t listen_port;     /* for the storage server's control connection */
	unsigned int patience_ms; /* until what does not come counts as missing */
};

/* -ERR_UNREACHABLE: no such host; -ERR_ADDRESS_IN_USE. */
int peer_live_new(const struct live_how *how, struct peer_live **ret);
void peer_live_free(struct peer_live *live);
struct script_peer peer_live_script(struct peer_live *live);

#endif
