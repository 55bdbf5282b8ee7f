/* Who this server is: an id that is made once for each data directory, in the file `identity`. It
 * is no row of the catalogue, which other servers have as well. And what the takeover keeps there
 * (TAKEOVER_KEEP in takeover.h). */
#ifndef MUSTER_NS_IDENTITY_H
#define MUSTER_NS_IDENTITY_H

#include "bytes.h"
#include "disk.h"

struct identity {
	struct id server;
	uint64_t asked_epoch; /* 0: none */
	bool rebuilding;
};

/* Reads it, or makes one where there is none or it is damaged: then *ret_new. */
int identity_load(struct disk *disk, struct identity *ret, bool *ret_new);
/* -ERR_NOT_FOUND; -ERR_CORRUPT. */
int identity_read(struct disk *disk, struct identity *ret);
/* Durable when it returns 0; else what was there before is there, or this is. */
int identity_write(struct disk *disk, const struct identity *identity);

#endif
