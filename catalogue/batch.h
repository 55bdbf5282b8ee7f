/* A batch: the changes that one turn of the name server makes, all or nothing.
 *
 * Encoded change: u8 1 put, 2 remove; u16 key size; u32 value size (put only); key; value.
 * Keys that begin with KEY_LOCAL ('~') are this server's own knowledge (where copies are): they are
 * in the batch for the view, but a journal that is shipped leaves them out.
 *
 * Encoded batch (little-endian):
 *   0 magic "MJB1"  4 u32 CRC32C of byte 8 to the end  8 u64 epoch  16 u64 sequence
 *  24 previous batch's hash, 16  40 u32 number of changes  44 u32 size of the changes
 *  48 changes
 * The hash of a batch is XXH3-128 of byte 8 to the end: it names the whole history, because it
 * covers the hash before it. */
#ifndef MUSTER_CATALOGUE_BATCH_H
#define MUSTER_CATALOGUE_BATCH_H

#include "kv.h"

enum { BATCH_HEADER_SIZE = 48, BATCH_SIZE_MAX = 64 * 1024 * 1024 };
enum { CHANGE_PUT = 1, CHANGE_REMOVE = 2 };
enum { CHANGE_PUT_SIZE = 7, CHANGE_REMOVE_SIZE = 3 }; /* of a change, before its key */
#define KEY_LOCAL '~'

struct batch_head {
	uint64_t epoch;
	uint64_t sequence;
	struct digest previous;
	uint32_t count;
	uint32_t size; /* of the changes */
};

struct change {
	bool removed;
	struct slice key;
	struct slice value;
};

/* Seals what kv has gathered: appends the encoded batch to `ret`, empties kv's, and computes the
 * hash for the next one. `head` gives epoch, sequence and previous. Returns the number of changes,
 * 0 if there was nothing (and no batch). */
int batch_seal(struct kv *kv, const struct batch_head *head, struct buffer *ret,
	       struct digest *ret_hash);

/* 1: a whole valid batch is at the start of `data`, *ret_size its length; 0: it is cut short;
 * -ERR_CORRUPT: it does not verify. */
int batch_read(struct slice data, struct batch_head *ret, struct slice *ret_changes,
	       size_t *ret_size, struct digest *ret_hash);
/* Takes the first change off `rest`: 1, 0 at the end, -ERR_CORRUPT. */
int change_next(struct slice *rest, struct change *ret);

#endif
