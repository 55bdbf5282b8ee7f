/* A remote tree, entry by entry: each directory before what is in it, names in byte order. However
 * deep and wide the tree is, only a few pages of names are held. */
#ifndef MUSTER_SHELL_REMOTE_WALK_H
#define MUSTER_SHELL_REMOTE_WALK_H

#include <stdbool.h>

#include "line.h"
#include "muster.h"

/* Listings that stay open while one goes down; what lies deeper is asked for again on the way
 * up. */
enum { WALK_OPEN_MAX = 8 };

/* One directory: what is to come next in it. */
struct remote_walk_level {
	struct muster_list *list;
	struct muster_entry ahead;
	bool has_ahead;
};

struct remote_walk {
	struct muster *session;
	char path[REMOTE_PATH_MAX]; /* of the entry that was handed out last */
	unsigned int depth;         /* of that entry: 1 stands in the root of the walk */
	bool last;                  /* no other entry of its directory follows it */
	bool descends;              /* into that entry */
	unsigned int level;         /* of the directory that is being listed; the root's is 1 */
	/* The last one is of whatever lies deeper. */
	struct remote_walk_level levels[WALK_OPEN_MAX + 1];
};

/* Begins with what is in the directory `path`. remote_walk_done() in any case. */
int remote_walk_start(struct remote_walk *walk, struct muster *session, const char *path);
/* 1: *ret is the next entry, walk->path names it; 0: that was all; or an error. Directories that
 * were removed meanwhile are left out. */
int remote_walk_next(struct remote_walk *walk, struct muster_entry *ret);
/* Leaves out what is in the directory that was handed out last. */
void remote_walk_skip(struct remote_walk *walk);
void remote_walk_done(struct remote_walk *walk);

#endif
