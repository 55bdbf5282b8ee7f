/* The only datagram there is, 128 bytes, little-endian:
 *
 *     0 magic "MSTR"      4 u8 version 1   5 u8 kind      6 u16 length 128   8 u32 key id (0: open)
 *    12 u16 TCP port     14 u16 flags     16 cluster id  32 server id
 *    48 u64 epoch        56 u64 start     64 u64 counter 72 u32 interval in ms
 *    76 u32 process      80 cluster name, 32 bytes, zero-filled   112 tag, 16 bytes (zero: open)
 *
 * The tag is HMAC-SHA-256 over what stands before it, cut to 16 bytes. The key id is the first u32
 * of such a tag over "muster beacon key id", 1 where that is 0.
 *
 * Flags: 1 is that of a stand-by which does not begin by itself: others need not wait for it. 2 is
 * that of a name server whom enough storage servers have promised to follow, and which fetches what
 * its catalogue lacks: nobody disturbs it.
 *
 * Two processes that have the same server id differ in `process`, a random number; 0: none.
 *
 * A beacon is a hint where to dial; nobody obeys it. Pure. */
#ifndef MUSTER_PROTOCOL_BEACON_H
#define MUSTER_PROTOCOL_BEACON_H

#include <stdbool.h>

#include "bounds.h"
#include "bytes.h"
#include "hash.h"
#include "message.h"

enum { BEACON_SIZE = 128 };

enum beacon_kind {
	BEACON_NAMESERVER = 1, /* "here I am", every 5 s */
	BEACON_PROBE = 2,      /* "is anybody there?"; port, server id may be zero */
	BEACON_STORAGE = 3,    /* "no name server, but I can read to you" */
	BEACON_BEGINNER = 4,   /* "I am about to be the name server: come"; start is 0 */
};

struct beacon {
	uint8_t kind;
	uint16_t port;
	struct id cluster;
	struct id server;
	uint64_t epoch;
	uint64_t start;
	uint64_t counter;
	uint32_t interval_ms;
	uint32_t process;
	bool waits;   /* a stand-by: see above */
	bool fetches; /* the other flag */
	char cluster_name[CLUSTER_NAME_MAX + 1];
};

/* One that serves, or is about to. */
bool beacon_is_nameserver(const struct beacon *beacon);
void beacon_encode(const struct beacon *beacon, struct hmac *key, uint8_t ret[BEACON_SIZE]);
/* -ERR_BAD_REQUEST: wrong size, magic, version, kind, padding, or a name without end; port or
 * server id missing where the kind needs them. -ERR_DENIED: wrong tag or key id (`key` NULL:
 * open). */
int beacon_decode(const void *datagram, size_t size, struct hmac *key, struct beacon *ret);

/* What to make of beacons: one per storage server and per client. */
enum { DISCOVERY_SERVERS_MAX = 16, DISCOVERY_SILENCE_MS = 30000 };

struct discovered {
	struct beacon beacon;     /* the newest */
	struct endpoint endpoint; /* to dial */
	uint64_t heard_ms;
};

struct discovery {
	struct id cluster;                       /* none: any */
	char cluster_name[CLUSTER_NAME_MAX + 1]; /* empty: any */
	struct discovered servers[DISCOVERY_SERVERS_MAX];
	unsigned int count;
	uint64_t dropped; /* malformed, replayed, of other clusters */
};

/* Takes in a valid beacon. Returns true if it is news: not replayed ((epoch, start, counter) grows
 * per server, until it has been silent for DISCOVERY_SILENCE_MS: it may have been restored from a
 * copy, and one forged beacon must not hide it for ever) and of the cluster wanted: by id if one is
 * set, else by name. A beacon heard through
 * loopback is ignored where the same server was heard through an interface in the last 3 intervals.
 * When the table is full, the server not heard for longest makes room. */
bool discovery_hear(struct discovery *discovery, const struct beacon *beacon,
		    const struct endpoint *source, uint64_t now_ms);
/* Whom to dial: the name server heard of the highest epoch, then the newest, within `fresh_ms`.
 * -ERR_NO_NAMESERVER: none. -ERR_TWO_CLUSTERS: of two clusters (both of the name wanted, if one was
 * given) and no id decides; `ret` and `ret_other` then name two of them. */
int discovery_choose(const struct discovery *discovery, uint64_t now_ms, uint64_t fresh_ms,
		     const struct discovered **ret, const struct discovered **ret_other);

#endif
