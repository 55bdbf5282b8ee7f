/* The tree of names, over struct kv. Pure: every function is a look-up or a set of puts.
 * A function that changes something does all its checks before its first put.
 *
 * Rows (numbers big-endian so that keys sort by them; values begin with a version byte):
 *   "i" inode                     inode: type, size, version, times, mode/uid/gid (0 for now),
 *                                 copies wanted, chunk size, chunks, digest
 *   "d" parent inode, name        directory entry: inode, type
 *   "n" inode                     where it hangs: parent inode, name; exactly while that entry is
 *   "c" inode, end                chunk of a file: chunk id, length, digest; end: offset in the
 *                                 file of the byte after its last: one seek finds any byte's chunk
 *   "k" chunk, inode              a file that has the chunk (copies share them): end
 *   "t" since (uptime), inode     trash: what was removed and can come back: its path, type, counts
 *   "u" digest of the path, ~since, ~inode  the same by path, the newest first
 *   "b" inode                     a tree that is being copied: what of it there is so far
 *   "g" since (uptime), inode     garbage: an inode that waits to be freed with all below it
 *   "o" client, operation         recorded answer of a changing request
 *   "o" client                    the operation below which answers were forgotten
 *   "m" node                      member: disk id, number, first seen, starts, zone, name, retired,
 *                                 endpoints
 *   "s" name                      settings and counters: cluster id and name, epoch, start number,
 *                                 the root's inode, totals (files, directories, bytes, chunks),
 *                                 the same of the trash, chunks that are garbage, uptime
 *   "~p" chunk                    local: the members (u16 numbers, sorted) that hold the chunk
 * The root directory is INODE_ROOT until the store is emptied: then it is a new one. Of a chunk
 * that several files share, each counts it. Ids are 24 bits of start number, then a 40-bit
 * count. */
#ifndef MUSTER_CATALOGUE_CATALOGUE_H
#define MUSTER_CATALOGUE_CATALOGUE_H

#include "error.h"
#include "kv.h"
#include "message.h"

enum { INODE_ROOT = 1, MEMBERS_MAX = 65535, HOLDERS_MAX = 32, RESULT_SIZE_MAX = 4096 + 512 };

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
	bool garbage; /* it has a row "g", or had: it and what hangs below it will be freed */
	struct digest digest;
};

struct chunk_row {
	uint64_t chunk;
	uint32_t length;
	struct digest digest;
	uint64_t end; /* in the file: offset of the byte after its last */
};

struct totals {
	uint64_t files, directories, bytes, chunks;
};

struct member_space {
	uint64_t capacity, used, free; /* bytes */
	uint64_t chunks;
};

struct member_row {
	struct id node, disk;
	uint16_t number; /* stands for the node in "~p" rows; never reused */
	uint64_t first_seen_ms, last_start_ms, starts, generation;
	bool retired;
	bool draining;             /* to be emptied */
	struct member_space space; /* as it was told now and then, for when it is offline */
	char name[HOST_NAME_MAX_ + 1];
	char zone[ZONE_NAME_MAX + 1];
	struct endpoint endpoints[ENDPOINTS_MAX]; /* as it last registered: for other servers */
	unsigned int endpoint_count;
};

/* Writes the root and the settings into an empty kv. */
int catalogue_format(struct kv *kv, const struct id *cluster, const char *cluster_name);
/* The root's inode, remembered in the kv: who changes rows by other ways than these functions sets
 * kv->root to 0. */
int catalogue_root(struct kv *kv, uint64_t *ret);

#define SETTING_CLUSTER      "cluster" /* 16 bytes, struct id */
#define SETTING_CLUSTER_NAME "cluster-name"
#define SETTING_TOTALS       "totals" /* see totals_get */
#define SETTING_ROOT         "root"
#define SETTING_TRASH        "trash"       /* see trash_state_get */
#define SETTING_GARBAGE      "garbage"     /* see garbage_chunks */
#define SETTING_JOURNAL_SET  "journal-set" /* see journal_set.h */
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
/* The path of what hangs below the root, terminated; returns its size without the end. NOT_FOUND:
 * it does not (it is in the trash, garbage, or still being copied). NAME_TOO_LONG: `size` is too
 * small; PATH_SIZE_MAX + 1 suffices for every path that a request may name. */
int catalogue_path(struct kv *kv, uint64_t inode, char *ret, size_t size);
/* The same of anything: its path below the topmost inode above it ("" if it is that itself), which
 * is the root, or one without a name. */
int catalogue_path_below(struct kv *kv, uint64_t inode, uint64_t *ret_top, char *ret, size_t size);

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
	const struct chunk_row *chunks; /* in order; their ends follow from their lengths */
	uint32_t chunk_count;
};

/* Whether catalogue_put_file would be refused: EXISTS, IS_DIR, NOT_FOUND, NOT_DIR. */
int catalogue_check_file(struct kv *kv, struct slice path, bool replace, uint8_t *ret_copies);
/* Makes the file visible; what it replaces goes to the trash and passes on its creation time and
 * its version + 1. Chunk ids must be fresh. *ret: the new inode. Errors as above; TOO_LARGE: the
 * rows do not fit into what is left of the batch. */
int catalogue_put_file(struct kv *kv, struct slice path, const struct new_file *file,
		       uint64_t uptime_ms, struct inode *ret);

/* An append: the file keeps its inode, and the first `base_size` bytes of it their chunks. What is
 * behind them is in the new chunks once more, followed by what is added; its old chunks become
 * garbage. So a content, once it has an inode, only ever grows. */
struct new_tail {
	uint64_t inode;     /* fresh id, for the garbage */
	uint64_t base_size; /* ends a chunk, or 0 */
	uint64_t size;      /* of the new chunks */
	struct digest digest;
	uint64_t now_ms;
	uint32_t chunk_size;
	uint32_t chunks_max;            /* that a file may have */
	const struct chunk_row *chunks; /* as in struct new_file */
	uint32_t chunk_count;
};
/* `file` as it is now, and as it will be. BAD_REQUEST: base_size is inside a chunk or beyond the
 * end, or the file would shrink. TOO_LARGE: too many chunks, for a file or for the batch. Adding
 * nothing changes nothing, nor the version. */
int catalogue_append(struct kv *kv, struct inode *file, const struct new_tail *tail,
		     uint64_t uptime_ms);

/* Chunks of files. The one that holds the byte at `offset`; -ERR_NOT_FOUND: beyond the last. The
 * next one: at ret->end. */
int catalogue_chunk_at(struct kv *kv, uint64_t inode, uint64_t offset, struct chunk_row *ret);
/* Gives `to` the chunks of `from` too, beginning with the one that holds *offset, at most `most`.
 * Returns how many, fewer than `most`: these were all; *offset: where to go on. Between two calls
 * `from` must not change: look at its version. Counts and sizes are the caller's business. */
int chunks_copy(struct kv *kv, uint64_t from, uint64_t to, unsigned int most, uint64_t *offset);
/* The first file after the inode `after` (0: the first at all) that has the chunk, and the chunk's
 * end in it. -ERR_NOT_FOUND: no other has it (garbage that is yet to be collected counts). */
int chunk_owner(struct kv *kv, uint64_t chunk, uint64_t after, uint64_t *ret_inode,
		uint64_t *ret_end);
/* The next pair of a chunk and a file that has it, by chunk and then by file. */
struct chunk_owner {
	uint64_t chunk, inode;
};
int chunk_owner_next(struct kv *kv, struct chunk_owner *at);
/* The first chunk of any file after `after`. */
int chunk_next(struct kv *kv, uint64_t after, uint64_t *ret);
/* The chunk as its first owner has it. */
int chunk_find(struct kv *kv, uint64_t chunk, struct chunk_row *ret);

/* When something is removed: running time decides, wall clock is shown. */
struct moment {
	uint64_t uptime_ms, wall_ms;
};

struct removed {
	uint64_t entries; /* files and directories */
	uint64_t bytes;
};
/* flags: enum remove_flags. The name goes at once; what hung below it goes to the trash. NOT_FOUND,
 * NOT_DIR, NOT_EMPTY; BAD_NAME: the root. Takes time with the number of entries below. */
int catalogue_remove(struct kv *kv, struct slice path, unsigned int flags, struct moment when,
		     struct removed *ret);
/* What a tree holds, counted in steps ahead of catalogue_remove or catalogue_restore, which then
 * take no time while the count lives; if something in the tree changes, it begins anew. Counts end
 * before their kv does. */
struct tree_count;
int tree_count_new(struct kv *kv, struct slice path, struct tree_count **ret);   /* NOT_DIR */
int tree_count_step(struct kv *kv, struct tree_count *count, unsigned int most); /* 1: the end */
void tree_count_free(struct kv *kv, struct tree_count *count);                   /* NULL-safe */
/* Empties the store: `root`, a fresh id, becomes the root; all there was, the trash too, becomes
 * garbage. *ret: what that was. */
int catalogue_empty(struct kv *kv, uint64_t root, struct moment when, struct removed *ret);
int catalogue_set_copies(struct kv *kv, struct slice path, uint8_t copies, struct inode *ret);

/* Moving and copying. Both paths must have passed path_check(). */
struct move {
	struct slice path, to;
	unsigned int flags; /* enum rename_flags or copy_flags */
	struct moment when;
};
struct moved {
	struct inode inode;
	bool replaced; /* something went to the trash for it */
	size_t path_size;
	uint8_t path[PATH_SIZE_MAX]; /* where it is now */
};
/* O(1) in what hangs below, but for a bounded look when paths grow. NOT_FOUND, NOT_DIR, EXISTS,
 * IS_DIR, NAME_TOO_LONG; BAD_NAME: the root; INTO_ITSELF. To where it is already: nothing
 * changes. */
int catalogue_rename(struct kv *kv, const struct move *how, struct moved *ret);

/* A copy under way. What it makes hangs below an inode that nobody sees (row "b") until it is
 * linked. In one go for a file (most: UINT_MAX), else in steps, one after the other in batches of
 * their own; what changes in the source meanwhile may or may not be copied.
 *
 *     copy_begin(kv, &how, next_id, context, &copy);
 *     while ((rc = copy_step(kv, copy, most)) == 0)
 *             …
 *     rc == 1: copy_link(kv, copy, when, &moved); rc < 0: copy_drop(kv, copy, uptime_ms);
 *     copy_free(copy);
 *
 * copy_link() checks all before it changes anything; where it refuses copy_drop() follows. */
struct tree_copy;
/* IS_DIR: a directory without COPY_TREE; else as catalogue_rename. `how` need not live on, but
 * what `context` is does. */
int copy_begin(struct kv *kv, const struct move *how, next_id_fn *next_id, void *context,
	       struct tree_copy **ret);
/* 1: all is there; 0: more is to be done. `most`: files, directories and chunks. STALE: the source
 * or a directory of it is gone. */
int copy_step(struct kv *kv, struct tree_copy *copy, unsigned int most);
int copy_link(struct kv *kv, struct tree_copy *copy, struct moment when, struct moved *ret);
int copy_drop(struct kv *kv, struct tree_copy *copy, uint64_t uptime_ms);
const struct totals *copy_totals(const struct tree_copy *copy);
struct slice copy_source(const struct tree_copy *copy); /* its path */
void copy_free(struct tree_copy *copy);                 /* NULL-safe */
/* After a restart: what was being copied becomes garbage. Returns how many. */
int copies_drop(struct kv *kv, uint64_t uptime_ms);

/* The trash. Entries whose `since_ms` is below what has been let go (first_ms) or below the
 * caller's from_ms (too old) are not there any more, even if their rows still are. */
struct trash_state {
	struct totals totals;
	uint64_t last_ms;  /* since when the newest is there */
	uint64_t first_ms; /* older ones have been let go */
};
struct trash_row {
	uint64_t since_ms;
	uint64_t inode;
	uint64_t removed_ms; /* wall clock */
	uint8_t type;
	struct totals totals; /* itself included */
	struct slice path;    /* borrows from the kv */
};
int trash_state_get(struct kv *kv, struct trash_state *ret);
/* The first after that one, in the order of removal; -ERR_NOT_FOUND. */
int trash_next(struct kv *kv, uint64_t since_ms, uint64_t inode, struct trash_row *ret);

struct restore {
	struct slice path, to; /* `to` empty: where it was */
	uint64_t id;           /* of the entry; 0: the newest that has the path */
	uint64_t from_ms;
	uint64_t now_ms; /* for directories that are made again */
};
/* The path may lie inside a removed directory: only that part comes back then. NOT_FOUND, EXISTS,
 * NOT_DIR, NAME_TOO_LONG. */
int catalogue_restore(struct kv *kv, const struct restore *how, next_id_fn *next_id, void *context,
		      struct removed *ret);

struct purge {
	struct slice path;
	uint64_t id; /* 0: all of that path */
	uint64_t from_ms;
	struct moment when;
	unsigned int most; /* entries in one go, the newest first */
};
/* 1: there may be more. NOT_FOUND. */
int catalogue_purge(struct kv *kv, const struct purge *how, struct removed *ret);
int catalogue_purge_all(struct kv *kv, struct removed *ret); /* O(1) */

/* Makes garbage of the oldest entries: of those that were let go or are older than before_ms, at
 * most `most`, and no more once they have `bytes`. Returns how many; *ret: what they had. */
struct trash_limit {
	uint64_t before_ms;
	unsigned int most;
	uint64_t bytes;
};
int trash_collect(struct kv *kv, const struct trash_limit *limit, struct moment when,
		  struct removed *ret);

/* Garbage. Frees what has waited since before `before_ms` (uptime), in at most `most` steps (a
 * chunk, a file or a directory each), and calls `each` for every chunk that no other file has,
 * right before its rows go; inodes for which `held` says yes wait on. Returns the number of steps
 * made: below `most` when nothing is left to do for now. */
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
/* Whether only garbage has the chunk: 1, 0. -ERR_NOT_FOUND: nothing has it. */
int chunk_is_garbage(struct kv *kv, uint64_t chunk);
/* Chunks of all garbage, not counting those that are ordered away already. */
int garbage_chunks(struct kv *kv, uint64_t *ret);

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
int member_remove(struct kv *kv, const struct id *node);
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

#endif
