/* Who is connected: one per connection, with what it has asked for and not been told yet. */
#ifndef MUSTER_NS_PEER_H
#define MUSTER_NS_PEER_H

#include <stdlib.h>

#define uthash_fatal(text) abort()
#include <uthash.h>

#include "transport.h"

struct peer;
struct peers {
	struct peer *by_conn;
	uint64_t last; /* conn handed out last */
	bool choked;   /* nobody is read: the catalogue must catch up first */
	/* Descriptors from here on are not given to peers: whoever opens all the connections there
	 * can be must not keep the journal from opening its next file. */
	int socket_end;
	uv_loop_t *loop;
	const struct link_handler *handler;
	void *context;
};

/* What the link's handler gets as context. */
struct peer {
	struct peers *peers;
	uint64_t conn;
	struct link *link;
	unsigned int requests; /* unanswered */
	size_t request_bytes;  /* of those, roughly */
	bool paused;
	bool introduced; /* its HELLO has been seen */
	UT_hash_handle hh;
};

/* Takes over the socket, also on failure. -ERR_UNAVAILABLE: too many peers. */
int peer_new(struct peers *peers, int socket, struct peer **ret);
struct peer *peer_find(const struct peers *peers, uint64_t conn); /* NULL: gone */
void peer_free(struct peer *peer);                                /* closes the link */
void peers_free_all(struct peers *peers);

/* A frame came from it: counts it, if it wants an answer. */
void peer_asked(struct peer *peer, const struct frame_header *header);
/* Sends frames to it and counts the answers among them. */
void peer_send(struct peer *peer, struct slice frames);
/* Pauses or resumes reading as the limits say: 64 requests or 4 MiB unanswered, or 4 MiB unread. */
void peer_regulate(struct peer *peer);
void peers_choke(struct peers *peers, bool choked);

#endif
