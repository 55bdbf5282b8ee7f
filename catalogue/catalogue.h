/* The tree of names, over struct kv. Pure: every function is a look-up or a set of puts.
 * A function that changes something does all its checks before its first put.
 *
 * Rows (numbers big-endian so that keys sort by them; values begin with a version byte):
 *   "i" inode                     inode: type, size, version, times, mode/uid/gid (0 for now),
 *                                 copies wanted, chunk size, chunks, digest
 *   "d" parent inode, name        directory entry: inode, type
 *   "c" inode, index              chunk of a file: chunk id, length, digest
 *   "k" chunk                     whose chunk it is: inode, index
 *   "g" since (uptime), inode     garbage: an inode that waits to be freed with all below it
 *   "o" client, operation         recorded answer of a changing request
 *   "o" client                    the operation below which answers were forgotten
 *   "m" node                      member: disk id, number, first seen, starts, zone, name, retired
 *   "s" name                      settings and counters: cluster id and name, epoch, start number,
 *                                 ids in use, totals (files, directories, bytes, chunks), uptime
 *   "~p" chunk                    local: the members (u16 numbers, sorted) that hold the chunk
 * The root directory is inode 1. Ids are 24 bits of start number, then a 40-bit count. */
#ifndef MUSTER_CATALOGUE_CATALOGUE_H
#define MUSTER_CATALOGUE_CATALOGUE_H

#include "error.h"
#include "kv.h"
#include "message.h"

enum { INODE_ROOT = 1, MEMBERS_MAX = 65535, HOLDERS_MAX = 32, RESULT_SIZE_MAX = 4096 };

struct inode {
	uint64_t id;
	uint8_t type; /* enum entry_type */
	uint64_t size;
	uint64_t version;
	uint64_t created_ms, modified_ms; /* wall clock; shown, never decided by */
	uint32_t mode, uid, gid;          /* for a mount */
	uint8_t copies;                   /* wanted; of a directory: for new files in it */
	uint32_t chunk_size;
	uint32_t chunks;
	bool digest_known;
	struct digest digest;
};

struct chunk_row {
	uint64_t chunk;
	uint32_t length;
	struct digest digest;
};

struct totals {
	uint64_t files, directories, bytes, chunks;
};

struct member_row {
	struct id node, disk;
	uint16_t number; /* stands for the node in "~p" rows; never reused */
	uint64_t first_seen_ms, last_start_ms, starts, generation;
	bool retired;
	char name[HOST_NAME_MAX_ + 1];
	char zone[ZONE_NAME_MAX + 1];
};

/* Writes the root and the settings into an empty kv. */
int catalogue_format(struct kv *kv, const struct id *cluster, const char *cluster_name);

#define SETTING_CLUSTER      "cluster" /* 16 bytes, struct id */
#define SETTING_CLUSTER_NAME "cluster-name"
#define SETTING_TOTALS       "totals" /* see totals_get */
enum { SETTING_NAME_MAX = 64 };

int setting_get(struct kv *kv, const char *name, struct slice *ret);
int setting_put(struct kv *kv, const char *name, struct slice value);
/* `absent` also where it cannot be read. */
uint64_t setting_get_u64(struct kv *kv, const char *name, uint64_t absent);
/* -ERR_NOT_FOUND; -ERR_BAD_FORMAT: not a number; or why it cannot be read. */
int setting_find_u64(struct kv *kv, const char *name, uint64_t *ret);
int setting_put_u64(struct kv *kv, const char *name, uint64_t value);

/* Names. `path` must have passed path_check(). */
int catalogue_find(struct kv *kv, struct slice path, struct inode *ret);
/* The directory that holds the last component: NOT_FOUND, NOT_DIR. */
int catalogue_find_parent(struct kv *kv, struct slice path, struct inode *ret,
			  struct slice *ret_name);
int inode_get(struct kv *kv, uint64_t id, struct inode *ret);
int inode_put(struct kv *kv, const struct inode *inode);
int dirent_get(struct kv *kv, uint64_t parent, struct slice name, uint64_t *ret_inode);
/* The first entry after `after` (empty: the first at all): the name borrows from the kv. */
int dirent_next(struct kv *kv, uint64_t parent, struct slice after, struct slice *ret_name,
		struct inode *ret);
bool directory_is_empty(struct kv *kv, uint64_t inode);

struct new_entry {
	uint64_t inode; /* fresh id */
	uint64_t now_ms;
	uint8_t copies; /* 0: as the parent says */
	bool replace;
	bool parents; /* mkdir -p */
};

/* EXISTS, NOT_FOUND (parent), NOT_DIR. With parents an existing directory is no error and changes
 * nothing; the ids of missing parents come from `next_id` (NULL without parents). */
typedef uint64_t next_id_fn(void *context);
int catalogue_mkdir(struct kv *kv, struct slice path, const struct new_entry *how,
		    next_id_fn *next_id, void *context);

struct new_file {
	struct new_entry entry;
	uint64_t size;
	struct digest digest;
	uint32_t chunk_size;
	const struct chunk_row *chunks;
	uint32_t chunk_count;
};

/* Whether catalogue_put_file would be refused: EXISTS, IS_DIR, NOT_FOUND, NOT_DIR. */
int catalogue_check_file(struct kv *kv, struct slice path, bool replace, uint8_t *ret_copies);
/* Makes the file visible; what it replaces becomes garbage and passes on its creation time and its
 * version + 1. Chunk ids must be fresh. *ret: the new inode. Errors as above; TOO_LARGE: the rows
 * do not fit into what is left of the batch. */
int catalogue_put_file(struct kv *kv, struct slice path, const struct new_file *file,
		       uint64_t uptime_ms, struct inode *ret);
int catalogue_chunk(struct kv *kv, uint64_t inode, uint32_t index, struct chunk_row *ret);

struct removed {
	uint64_t entries; /* files and directories */
	uint64_t bytes;
};
/* flags: enum remove_flags. The name goes at once; what hung below it becomes garbage. NOT_FOUND,
 * NOT_DIR, NOT_EMPTY; BAD_NAME: the root. Takes time with the number of entries below. */
int catalogue_remove(struct kv *kv, struct slice path, unsigned int flags, uint64_t uptime_ms,
		     struct removed *ret);
int catalogue_set_copies(struct kv *kv, struct slice path, uint8_t copies, struct inode *ret);

/* Garbage. Frees what has waited since before `before_ms` (uptime), in at most `most` steps (a
 * chunk, a file or a directory each), and calls `each` for every chunk right before its rows go;
 * inodes for which `held` says yes wait on. Returns the number of steps made: below `most`
 * when nothing is left to do for now. */
typedef bool garbage_held_fn(void *context, uint64_t inode);
typedef void garbage_chunk_fn(void *context, uint64_t chunk);
struct garbage_how {
	uint64_t before_ms;
	unsigned int most;
	garbage_held_fn *held;
	garbage_chunk_fn *each;
	void *context;
};
int catalogue_collect(struct kv *kv, const struct garbage_how *how);
bool catalogue_has_garbage(struct kv *kv);

/* Is the chunk part of a file (or of garbage that has not been collected)? O(1): from the row
 * "k" chunk -> inode, index that catalogue_put_file keeps. */
int chunk_owner(struct kv *kv, uint64_t chunk, uint64_t *ret_inode, uint32_t *ret_index);

/* Recorded answers, at most RESULT_SIZE_MAX bytes each. result_get: -ERR_EXPIRED for an operation
 * that has been forgotten, -ERR_NOT_FOUND for one that is new. */
int result_get(struct kv *kv, const struct id *client, uint64_t operation, struct slice *ret);
int result_put(struct kv *kv, const struct id *client, uint64_t operation, struct slice answer);
/* Forgets those of the client below `outstanding`, at most `most`; UINT64_MAX: all of them, and the
 * client with the last. Returns how many. */
int result_trim(struct kv *kv, const struct id *client, uint64_t outstanding, unsigned int most);

/* Of what has a name; the root does not count. Kept up to date by the functions above. */
int totals_get(struct kv *kv, struct totals *ret);

int member_get(struct kv *kv, const struct id *node, struct member_row *ret);
int member_put(struct kv *kv, const struct member_row *member);
int member_next(struct kv *kv, const struct id *after, struct member_row *ret); /* NULL: first */

/* Where copies are (local rows). Sets are sorted arrays of member numbers. */
struct holders {
	uint16_t numbers[HOLDERS_MAX];
	unsigned int count;
};
int holders_get(struct kv *kv, uint64_t chunk, struct holders *ret); /* none: count 0, no error */
int holders_set(struct kv *kv, uint64_t chunk, const struct holders *holders); /* sorted */
/* 1: it was new, or was there; else 0. -ERR_TOO_LARGE: the set is full. */
int holders_add(struct kv *kv, uint64_t chunk, uint16_t number);
int holders_remove(struct kv *kv, uint64_t chunk, uint16_t number);
/* The first chunk after `after` of which a place is known. */
int holders_next(struct kv *kv, uint64_t after, uint64_t *ret_chunk, struct holders *ret);

#endif
