/* A store in memory for the storage server's core: struct storage_chunks without a disk. */
#ifndef MUSTER_TESTS_CHUNKS_MEMORY_H
#define MUSTER_TESTS_CHUNKS_MEMORY_H

#include "storage.h"

enum { CHUNKS_MEMORY_CAPACITY = 8 * 1024 * 1024 };

struct store_write {
	struct storage_meta meta;
	struct buffer bytes;
	struct store_write *next;
};

struct chunks_memory {
	struct store_write *first; /* chunks, ascending */
	struct store_write *begun;
	uint64_t used;
	/* What write_commit took over; the caller finishes it. */
	struct store_write *committed;
	uint32_t transfer;
	int error; /* of the next commit or read */
	uint64_t promised_epoch;
	struct id promised_server;
};

extern const struct storage_chunks chunks_memory;

const struct store_write *chunks_memory_find(const struct chunks_memory *chunks, uint64_t chunk);
/* Makes the committed write a chunk, or drops it: returns 0 or the error that was ordered. */
int chunks_memory_store(struct chunks_memory *chunks, struct digest *ret_digest);
void chunks_memory_done(struct chunks_memory *chunks);

#endif
