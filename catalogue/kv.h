/* An ordered map from byte strings to byte strings: all that the cores know of the catalogue's
 * store. Two implementations: kv_memory.h (tests, scripts, simulation) and view.h (LMDB under an
 * overlay of recent changes). One thread. Keys sort as memcmp does, shorter first.
 *
 * Changes made between two calls of batch_seal() form one batch; reads see them at once. A failed
 * change leaves view and batch in doubt about each other: stop and start again from the journal. */
#ifndef MUSTER_CATALOGUE_KV_H
#define MUSTER_CATALOGUE_KV_H

#include "buffer.h"
#include "bytes.h"

enum { KV_KEY_SIZE_MAX = 400, KV_VALUE_SIZE_MAX = 1024 * 1024 };

struct kv;
struct tree_count;

struct kv_ops {
	int (*get)(struct kv *kv, struct slice key, struct slice *ret);
	int (*seek)(struct kv *kv, struct slice key, struct slice *ret_key,
		    struct slice *ret_value);
	int (*put)(struct kv *kv, struct slice key, struct slice value);
	int (*remove)(struct kv *kv, struct slice key);
};

struct kv {
	const struct kv_ops *ops;
	struct buffer batch;       /* encoded changes since the last take, see batch.h */
	uint32_t batch_count;      /* how many */
	uint64_t root;             /* the catalogue's, remembered: 0 after changes from elsewhere */
	struct tree_count *counts; /* the catalogue's, under way */
};

/* The value; it lives until the next change or the end of the event being handled, whichever comes
 * first. -ERR_NOT_FOUND. */
int kv_get(struct kv *kv, struct slice key, struct slice *ret);

/* The first pair whose key is >= `key`; -ERR_NOT_FOUND when there is none. Lives as above. To walk:
 * seek again with the found key and a zero byte appended (kv_after). */
int kv_seek(struct kv *kv, struct slice key, struct slice *ret_key, struct slice *ret_value);

/* Applies the change to what reads see and notes it in the batch. Put replaces; removing a missing
 * key is no error. Both copy their arguments, which may be what kv_get or kv_seek returned.
 * -ERR_TOO_LARGE: an empty or long key, a long value, a full batch; nothing has changed then. */
int kv_put(struct kv *kv, struct slice key, struct slice value);
int kv_remove(struct kv *kv, struct slice key);

/* The successor of `key` in `space` (KV_KEY_SIZE_MAX + 1 bytes). */
struct slice kv_after(struct slice key, uint8_t *space);

#endif
