/* A remote tree, entry by entry: each directory before what is in it, names in byte order. However
 * deep and wide the tree is, only a few pages of names are held. */
#ifndef MUSTER_SHELL_WALK_H
#define MUSTER_SHELL_WALK_H

#include <stdbool.h>

#include "line.h"
#include "muster.h"

/* Listings that stay open while one goes down; what lies deeper is asked for again on the way up. */
enum { WALK_OPEN_MAX = 8 };

/* One directory: what is to come next in it. */
struct walk_level {
	struct muster_list *list;
	struct muster_entry ahead;
	bool has_ahead;
};

struct walk {
	struct muster *session;
	char path[REMOTE_PATH_MAX]; /* of the entry that was handed out last */
	unsigned int depth;         /* of that entry: 1 stands in the root of the walk */
	bool last;                  /* no other entry of its directory follows it */
	bool descends;              /* into that entry */
	unsigned int level;         /* of the directory that is being listed; the root's is 1 */
	struct walk_level levels[WALK_OPEN_MAX + 1]; /* the last one is of whatever lies deeper */
};

/* Begins with what is in the directory `path`. walk_done() in any case. */
int walk_start(struct walk *walk, struct muster *session, const char *path);
/* 1: *ret is the next entry, walk->path names it; 0: that was all; or an error. Directories that
 * were removed meanwhile are left out. */
int walk_next(struct walk *walk, struct muster_entry *ret);
/* Leaves out what is in the directory that was handed out last. */
void walk_skip(struct walk *walk);
void walk_done(struct walk *walk);

#endif
