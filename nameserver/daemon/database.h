/* The data directory: `lock`, `identity`, `journal/` (the truth) and `view/` (LMDB, made from it).
 *
 * A catalogue that came in pages from a storage server (replica.h) has a journal from there on
 * only. One that was not completed is no catalogue: `unfinished`. */
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
	bool rebuilt;    /* the view was made anew */
	bool unfinished; /* it was being copied when the server stopped: rows are nothing */
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

/* The last batch; zeros: none. */
struct journal_head database_head(const struct database *database);
/* Lets go of the catalogue, for a replica or a new beginning, and opens it again; the directory
 * stays locked. After a failure it is closed but for the lock. */
void database_release(struct database *database);
int database_reopen(const char *path, struct database *database,
		    char message[DATABASE_MESSAGE_MAX]);
/* Renames what database_open cannot open (-ERR_CORRUPT, -ERR_STALE) to journal.damaged-N and
 * view.damaged-N, so that the directory has no catalogue: for somebody who has said that the
 * storage servers' copies are to be believed. `message` says where it is, or why not. */
int database_set_aside(const char *path, char message[DATABASE_MESSAGE_MAX]);

/* After database_release: the catalogue, in which there is nothing, becomes journal.unused-N and
 * view.unused-N. */
int database_put_away(const char *path, struct database *database,
		      char message[DATABASE_MESSAGE_MAX]);

#endif
