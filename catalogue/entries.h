/* The entry of a path, as STAT, LIST and OPEN have it, by the name server and by copies. */
#ifndef MUSTER_CATALOGUE_ENTRIES_H
#define MUSTER_CATALOGUE_ENTRIES_H

#include "catalogue.h"
#include "message.h"

/* The inode of a path, and the name of its entry, which points into the path. */
int entry_find(struct kv *kv, struct slice path, struct inode *ret_inode, struct entry *ret);
/* All of the entry that the catalogue knows; its name stays, and `copies` is 0. */
void entry_fill(const struct inode *inode, uint8_t copies_wanted, struct entry *ret);

#endif
