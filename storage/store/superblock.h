/* Who this directory is: two copies of one 4 KiB block in the file `superblock`, written and synced
 * one after the other, so that at any moment one is whole, and damage to either is survived. */
#ifndef MUSTER_STORAGE_SUPERBLOCK_H
#define MUSTER_STORAGE_SUPERBLOCK_H

#include "disk.h"
#include "store.h"

/* -ERR_NOT_FOUND: there is none; -ERR_BAD_FORMAT: no copy is whole; -ERR_WRONG_VERSION: written by
 * a later version of this program; -ERR_IO … Of two whole copies the later one counts.
 * *ret_sequence is for superblock_write. */
int superblock_read(struct disk *disk, struct store_identity *ret, uint64_t *ret_sequence);
/* Writes both copies; durable when it returns. *sequence goes up; where it has not after a failure,
 * nothing was touched. */
int superblock_write(struct disk *disk, const struct store_identity *identity, uint64_t *sequence);
/* The first one ever: appears whole or not at all. */
int superblock_create(struct disk *disk, const struct store_identity *identity, uint64_t *sequence);

#endif
