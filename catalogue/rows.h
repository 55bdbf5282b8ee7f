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
int dirent_remove(struct kv *kv, uint64_t parent, struct slice name);

int chunk_put(struct kv *kv, uint64_t inode, uint32_t index, const struct chunk_row *chunk);
/* The first chunk that the file still has: *ret_index; -ERR_NOT_FOUND. */
int chunk_first(struct kv *kv, uint64_t inode, uint32_t *ret_index, struct chunk_row *ret);
int chunk_remove(struct kv *kv, uint64_t inode, uint32_t index, uint64_t chunk);

int garbage_put(struct kv *kv, uint64_t since_ms, uint64_t inode);

int totals_put(struct kv *kv, const struct totals *totals);
void totals_add(struct totals *totals, const struct inode *inode);
void totals_subtract(struct totals *totals, const struct totals *less);

#endif
