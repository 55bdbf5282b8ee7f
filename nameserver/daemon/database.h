/* The data directory: `lock`, `journal/` (the truth) and `view/` (LMDB, made from it). */
#ifndef MUSTER_NS_DATABASE_H
#define MUSTER_NS_DATABASE_H

#include "disk.h"
#include "journal.h"
#include "view.h"

struct database {
	struct disk *disk;
	int lock;
	struct view *view;
	struct journal *journal;
	bool rebuilt; /* the view was made anew */
	/* The last batches, for which the disk had no room in LMDB: the view has them in memory. */
	struct buffer behind;
	uint64_t applied; /* the batch before them */
};

enum { DATABASE_MESSAGE_MAX = 512 };

/* Locks and opens; what the view lacks is replayed from the journal, and a view that is missing or
 * damaged is rebuilt if the journal still goes back to its first batch. A full disk is no failure,
 * so long as what the view lacks is not large. On failure nothing is held and `message` says in one
 * line what is wrong and how to mend it. */
int database_open(const char *path, struct database *ret, char message[DATABASE_MESSAGE_MAX]);
void database_close(struct database *database);

#endif
