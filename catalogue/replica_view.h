/* Rows of a copy in LMDB: view.h, used by one thread for everything. */
#ifndef MUSTER_CATALOGUE_REPLICA_VIEW_H
#define MUSTER_CATALOGUE_REPLICA_VIEW_H

#include "replica.h"

/* `path`: the directory, whose parent exists; it is "view" on `disk`. Both are borrowed. */
int replica_view_new(const char *path, struct disk *disk, struct replica_rows **ret);
void replica_view_free(struct replica_rows *rows); /* NULL-safe; after the copy is freed */

#endif
