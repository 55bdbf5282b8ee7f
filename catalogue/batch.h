/* A batch: the changes that one turn of the name server makes, all or nothing, in two sections.
 * Shared changes make up the catalogue, which every name server has alike. Local ones (their keys
 * begin with KEY_LOCAL) are what this server alone knows: where copies are. No key is both, so the
 * order between the sections does not matter.
 *
 * Encoded change: u8 1 put, 2 remove; u16 key size; u32 value size (put only); key; value.
 *
 * Encoded batch (little-endian):
 *   0 magic "MJB2"  4 u32 CRC32C of byte 8 to the end  8 u32 number of local changes
 *  12 u32 size of the local changes  16 u64 epoch  24 u64 sequence  32 previous batch's hash, 16
 *  48 u32 number of shared changes  52 u32 size of the shared changes
 *  56 shared changes, then local changes
 * The hash of a batch is XXH3-128 of byte 16 to the end of the shared changes. It covers the hash
 * before it, so it names the whole history of the catalogue; and it is the same where the local
 * section has been cut off (its number and size set to zero, the checksum renewed). A batch may
 * have an empty section, but not two. */
#ifndef MUSTER_CATALOGUE_BATCH_H
#define MUSTER_CATALOGUE_BATCH_H

#include "kv.h"

enum { BATCH_HEADER_SIZE = 56, BATCH_SIZE_MAX = 64 * 1024 * 1024 };
enum { CHANGE_PUT = 1, CHANGE_REMOVE = 2 };
enum { CHANGE_PUT_SIZE = 7, CHANGE_REMOVE_SIZE = 3 }; /* of a change, before its key */
#define KEY_LOCAL '~'

struct batch_section {
	uint32_t count; /* of changes */
	uint32_t size;  /* bytes that they take */
};

struct batch_head {
	uint64_t epoch;
	uint64_t sequence;
	struct digest previous;
	struct batch_section shared, local;
};

struct change {
	bool removed;
	struct slice key;
	struct slice value;
};

/* Seals what kv has gathered: appends the encoded batch to `ret`, empties kv's, and computes the
 * hash for the next one. `head` gives epoch, sequence and previous. Returns the number of changes,
 * 0 if there was nothing (and no batch). Local changes alone make a batch of their own number. */
int batch_seal(struct kv *kv, const struct batch_head *head, struct buffer *ret,
	       struct digest *ret_hash);

/* 1: a whole valid batch is at the start of `data`, *ret_size its length; 0: it is cut short;
 * -ERR_CORRUPT: it does not verify. `ret_changes` has both sections; its first ret->shared.size
 * bytes are the shared one. */
int batch_read(struct slice data, struct batch_head *ret, struct slice *ret_changes,
	       size_t *ret_size, struct digest *ret_hash);
/* Appends the batch again as it was read, from `head` and both sections, and computes its hash. */
int batch_encode(const struct batch_head *head, struct slice changes, struct buffer *ret,
		 struct digest *ret_hash);
/* The head of the batch at the start of `data`, and the length that it claims, unverified: 1, 0 or
 * -ERR_CORRUPT as above. */
int batch_peek(struct slice data, struct batch_head *ret, size_t *ret_size);
/* Appends a whole valid batch without its local section: as it leaves for other servers. */
int batch_share(struct slice batch, struct buffer *ret);
/* The same for a row of batches: those behind `after`, until they are `most` bytes; at least one if
 * there is one. -ERR_STALE: the row begins too late. */
int batches_share(struct slice batches, uint64_t after, size_t most, struct buffer *ret);
/* Takes the first change off `rest`: 1, 0 at the end, -ERR_CORRUPT. */
int change_next(struct slice *rest, struct change *ret);

#endif
