/* The chunks of one data directory: superblock, segments for small chunks, one file for each large
 * one, an index in memory, recovery. Knows bytes on disk and nothing of networks or names.
 *
 * Threads. The loop thread owns `struct store` and calls everything that takes one. Functions
 * marked [any] take only the job they are given and may run in a worker or the sync thread; a job
 * belongs to one thread at a time. So nothing here is locked.
 *
 * A chunk passes through:  store_write_new → (bytes arrive) → store_commit_add → commit_run [any]
 * → store_commit_finish, and only then is it found, read, listed and acknowledged. */
#ifndef MUSTER_STORAGE_STORE_H
#define MUSTER_STORAGE_STORE_H

#include <stdbool.h>

#include "bounds.h"
#include "bytes.h"
#include "disk.h"

struct store;

struct store_options {
	uint64_t capacity;    /* bytes to give; 0: what the file system has */
	struct id node, disk; /* fresh ids (random), used if the directory is new */
	uint64_t index_seed;
	uint64_t segment_size; /* 0: capacity/64, 16 MiB … 256 MiB */
	uint32_t large_from;   /* chunks from here on get their own file; 0: SMALL_CHUNK_MAX + 1 */
};

/* What the superblock says. Made durable before store_open returns with generation + 1. */
struct store_identity {
	struct id cluster; /* none: has never belonged to one */
	char cluster_name[CLUSTER_NAME_MAX + 1];
	struct id node, disk;
	uint64_t generation; /* +1 at every open */
	uint64_t promised_epoch;
	struct id promised_server;
};

struct store_report {
	uint64_t chunks, bytes;
	uint64_t torn_bytes;  /* cut off at the end: never acknowledged */
	uint64_t quarantined; /* damaged records before it: reported, not served */
};

/* Opens or creates. On failure `message` says in one line what is wrong and how to mend it:
 * -ERR_LOCKED: another process has it; -ERR_BAD_FORMAT: not empty and no superblock, or a version
 * we do not know, or a rolled-back generation; -ERR_LOCAL_FULL; -ERR_NOT_PERMITTED; -ERR_IO. */
int store_open(struct disk *disk, const struct store_options *options, struct store **ret,
	       struct store_report *ret_report, char message[256]);
/* Seals the segment, writes the index checkpoint, aborts writes that are left and frees everything.
 * No commit, chore or reader may be outstanding. NULL-safe. */
void store_close(struct store *store);
/* Frees without writing a byte: what a crash does. Simulation only. */
void store_abandon(struct store *store);

const struct store_identity *store_identity(const struct store *store);
int store_adopt(struct store *store, const struct id *cluster, const char *cluster_name);
/* Durable when it returns 0; -ERR_STALE: a later epoch was promised. */
int store_promise(struct store *store, uint64_t epoch, const struct id *server);

struct store_usage {
	uint64_t capacity; /* given to the cluster */
	uint64_t used;     /* by chunks */
	uint64_t free;     /* that a put may still use: never the reserve */
	uint64_t chunks;
	bool failed; /* a sync failed: reads go on, nothing is written any more */
};
void store_usage(struct store *store, struct store_usage *ret);

/* ---- writing ---- */

struct chunk_meta {
	uint64_t chunk;
	uint64_t file; /* a hint for rebuilding, 0: unknown */
	uint64_t epoch;
	uint32_t length;
	struct digest digest; /* known before store_commit_add */
};

/* A chunk on its way in. Small ones (<= SMALL_CHUNK_MAX) are gathered in memory, large ones go to a
 * file of their own as they arrive. */
struct store_write;

/* Reserves the space; touches no disk. A digest that is not zero must be the one found at the end.
 * A copy that is here serves on until the commit, and must be quarantined by then.
 * -ERR_BAD_REQUEST: id or length 0; -ERR_TOO_LARGE; -ERR_EXISTS: it is on its way; -ERR_NO_SPACE;
 * -ERR_IO: failed disk; -ERR_NO_MEMORY. */
int store_write_new(struct store *store, const struct chunk_meta *meta, struct store_write **ret);
/* [any] Bytes in order, at most what was announced; `crcs`: one per 64 KiB block of them, as they
 * were verified. All but the last piece are whole blocks. -ERR_BAD_REQUEST if not; -ERR_NO_SPACE;
 * others from the disk. After a failure the write can only be aborted. */
int store_write_add(struct store_write *write, const void *data, size_t size, const uint8_t *crcs);
/* [any] What has been added so far, for forwarding: pointer for a small chunk, else NULL and a
 * descriptor + offset for sendfile. */
const uint8_t *store_write_bytes(const struct store_write *write);
int store_write_descriptor(const struct store_write *write, uint64_t *ret_offset);
const uint8_t *store_write_crcs(const struct store_write *write); /* of all blocks so far */
/* [any] XXH3-128 of what has been added. */
struct digest store_write_digest(const struct store_write *write);
/* Gives up: frees space, removes the file. Not for one that is in a commit. */
void store_write_abort(struct store *store, struct store_write *write);

/* Many chunks and removals made durable by as few syncs as possible. */
struct store_commit;
int store_commit_new(struct store *store, struct store_commit **ret);
/* Takes the write over; -ERR_BAD_REQUEST if bytes are missing, -ERR_CORRUPT if the digest is not
 * the one announced (then it stays the caller's). `tag` comes back. Fixes the digest in the
 * header. */
int store_commit_add(struct store_commit *commit, struct store_write *write, void *tag);
/* Assigns places in segments; after this the commit may run. From here to its finish no other
 * commit is sealed and no chore given out: -ERR_BUSY, and the commit is as before. After any other
 * failure (-ERR_IO: disk out of service; -ERR_NO_MEMORY) finish it with that result, without a
 * run. */
int store_commit_seal(struct store *store, struct store_commit *commit);
/* [any] Writes and syncs. The one place where chunks become durable. -ERR_LOCAL_FULL and failures
 * to open a file cost only this commit; any other failure the disk. */
int store_commit_run(struct store_commit *commit);
/* Enters the chunks into the index, or, after a run that cannot be trusted, takes the disk out of
 * service. Calls `each` (may be NULL) for every write: result 0 or a negative code, -ERR_NO_SPACE
 * for a full disk. Frees the commit and its writes. */
typedef void store_done_fn(void *context, void *tag, const struct chunk_meta *meta, int result);
void store_commit_finish(struct store *store, struct store_commit *commit, int result,
			 store_done_fn *each, void *context);

/* ---- reading ---- */

bool store_has(const struct store *store, uint64_t chunk);

/* A chunk held open; it stays readable even if it is deleted meanwhile. */
struct store_reader;
/* -ERR_NOT_FOUND; -ERR_CORRUPT: we should have it, but its file is gone. */
int store_reader_open(struct store *store, uint64_t chunk, struct store_reader **ret);
/* [any] Whether the calls below wait for the disk, which they do unless this says no: then they
 * fail with -ERR_BUSY, and may be called again. */
void store_reader_wait(struct store_reader *reader, bool wait);
/* [any] -ERR_CORRUPT: the header is not this chunk's. Call once before the rest. Chunks of one
 * block in a segment are read whole by this call. */
int store_reader_check(struct store_reader *reader, struct chunk_meta *ret);
/* [any] The stored CRCs of `count` blocks from `first` on, 4 bytes each. */
int store_reader_crcs(struct store_reader *reader, uint32_t first, uint32_t count, uint8_t *ret);
/* [any] Bytes of the payload; not verified here: the CRCs go along to whoever asked. */
int64_t store_reader_read(struct store_reader *reader, void *data, size_t size, uint64_t offset);
/* [any] Reads the whole of it and checks it against its CRCs and its digest; instead of
 * store_reader_check. Also after -ERR_CORRUPT `ret` says, if that could be read, what there is: its
 * length and its true digest; else it is zeroed. */
int store_reader_inspect(struct store_reader *reader, struct chunk_meta *ret);
/* [any] For sendfile: descriptor and the payload's position in it; -ERR_UNSUPPORTED. */
int store_reader_descriptor(struct store_reader *reader, uint64_t *ret_offset);
void store_reader_close(struct store *store, struct store_reader *reader);

/* ---- removing, listing, upkeep ---- */

/* Gone from the index at once; the bytes go with later commits and compaction. -ERR_NOT_FOUND. */
int store_remove(struct store *store, uint64_t chunk);
/* A copy that proved bad: no longer served or listed; its bytes are kept aside until the chunk is
 * written anew or removed. */
int store_quarantine(struct store *store, uint64_t chunk);
/* Chunks in ascending order after `after`; returns how many were written to `ret`: fewer than
 * `most` only at the end. */
struct store_listed {
	uint64_t chunk;
	uint32_t length;
};
size_t store_list(struct store *store, uint64_t after, struct store_listed *ret, size_t most);
/* Of those buckets only (INVENTORY_BITS_SIZE), each for a bit: protocol/inventory.h. */
size_t store_list_buckets(struct store *store, const uint8_t *buckets, uint64_t after,
			  struct store_listed *ret, size_t most);
/* xor over all chunks of XXH3-128(chunk id as little-endian u64). */
struct digest store_inventory_digest(const struct store *store);
/* All sums; they change with the store. */
const struct inventory_sum *store_inventory(const struct store *store);

/* Work that is due: unlinks of removed large chunks, compaction of segments that are less than half
 * alive, the 10-minute checkpoint. Prepares at most one bounded step; NULL when nothing is due, or
 * while a commit is sealed. */
struct store_chore;
struct store_chore *store_chore_next(struct store *store, uint64_t now_ms);
int store_chore_run(struct store_chore *chore); /* [any], not while a commit runs */
void store_chore_finish(struct store *store, struct store_chore *chore, int result);

size_t store_index_bytes(const struct store *store); /* for the figure "bytes per chunk" */

#endif
