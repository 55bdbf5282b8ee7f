/* Inside the catalogue: how rows are keyed and coded. The list of rows is in catalogue.h. */
#ifndef MUSTER_CATALOGUE_ROWS_H
#define MUSTER_CATALOGUE_ROWS_H

#include "catalogue.h"

enum { ROW_VERSION = 1, ROW_KEY_MAX = 1 + 8 + NAME_SIZE_MAX };

/* Keys are built in the caller's `space` of ROW_KEY_MAX bytes. */
struct slice key_number(uint8_t *space, const char *kind, uint64_t number);
struct slice key_pair(uint8_t *space, const char *kind, uint64_t first, uint64_t second);
struct slice key_dirent(uint8_t *space, uint64_t parent, struct slice name);
struct slice key_id(uint8_t *space, const char *kind, const struct id *id);
bool key_begins(struct slice key, struct slice prefix);

/* A value after its version byte; -ERR_BAD_FORMAT: another version, or not `size` bytes. */
int row_check(struct slice value, size_t size, const uint8_t **ret);
int row_get(struct kv *kv, struct slice key, size_t size, const uint8_t **ret);

/* A row that has to be there because another row names it. */
static inline int row_expected(int rc)
{
	return rc == -ERR_NOT_FOUND ? -ERR_BAD_FORMAT : rc;
}

struct dirent_row {
	uint64_t inode;
	uint8_t type;
};

int dirent_row_get(struct kv *kv, uint64_t parent, struct slice name, struct dirent_row *ret);
int dirent_put(struct kv *kv, uint64_t parent, struct slice name, const struct inode *inode);
int dirent_remove(struct kv *kv, uint64_t parent, struct slice name, uint64_t inode);
/* Where the inode hangs; NOT_FOUND: nowhere. The name borrows from the kv. */
int name_row_get(struct kv *kv, uint64_t inode, uint64_t *ret_parent, struct slice *ret_name);
/* What there is above an inode that hangs nowhere itself. */
int inode_top(struct kv *kv, uint64_t inode, uint64_t *ret);
/* Whether going up from `inode` leads through `above` (or it is that): 1, 0. */
int inode_is_below(struct kv *kv, uint64_t inode, uint64_t above);

/* A walk over all that hangs below a directory, parents first. It remembers no way back (rows "n"
 * know it), so its memory is the same for trees of any depth. */
struct walk {
	uint64_t root, directory;
	unsigned int depth; /* of the directory below the root, which has 0 */
	size_t reach;       /* size of the directory's path below the root, slashes included */
	bool into;          /* the entry that came last is a directory: its entries come next */
	uint64_t inode;     /* that entry */
	size_t name_size;
	uint8_t name[NAME_SIZE_MAX];
};
void walk_begin(struct walk *walk, uint64_t root);
int walk_next(struct kv *kv, struct walk *walk, struct inode *ret); /* NOT_FOUND: the end */

int chunk_put(struct kv *kv, uint64_t inode, const struct chunk_row *chunk);
int chunk_remove(struct kv *kv, uint64_t inode, const struct chunk_row *chunk);
/* Whether others have the file's chunk too: 1, 0. */
int chunk_is_shared(struct kv *kv, uint64_t chunk, uint64_t inode);

/* Whether a change of so many chunks still fits into the batch. */
bool batch_has_room(const struct kv *kv, uint64_t chunks);
/* Gives the inode these chunks from the byte `end` on. */
struct chunk_list {
	const struct chunk_row *rows;
	uint32_t count;
};
int chunks_put(struct kv *kv, uint64_t inode, uint64_t end, struct chunk_list chunks);

int garbage_put(struct kv *kv, uint64_t since_ms, uint64_t inode);

/* Counts chunks that have become garbage, or have gone. */
int garbage_count(struct kv *kv, int64_t change);

/* The trash: see trash.c. `since_ms` of the row may become later, so that the order of removal is
 * the order of the rows. What is put must hang nowhere. */
int trash_put(struct kv *kv, struct trash_row *row);

/* The inode itself and all that hangs below it; what was counted ahead is not counted again. */
int subtree_count(struct kv *kv, const struct inode *inode, struct totals *sum);
/* What hangs below the inode, or the inode itself, changes. */
void tree_touched(struct kv *kv, uint64_t inode);
/* Whether the tree may go from one path to the other: NAME_TOO_LONG where something in it would get
 * a path beyond the bounds. Looks only if the new path is longer, and at a bounded number. */
int subtree_fits(struct kv *kv, const struct inode *inode, struct slice from, struct slice to);

enum { TOTALS_SIZE = 4 * 8 };
void totals_encode(const struct totals *totals, uint8_t *ret);
void totals_decode(const uint8_t *at, struct totals *ret);
void totals_sum(struct totals *totals, const struct totals *more);
int totals_put(struct kv *kv, const struct totals *totals);
void totals_add(struct totals *totals, const struct inode *inode);
void totals_subtract(struct totals *totals, const struct totals *less);

#endif
