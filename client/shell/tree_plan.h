/* The plan of a tree transfer: every directory and file below a root, parents before children and
 * levels one after the other, so that a level of directories can be made at once. */
#ifndef MUSTER_SHELL_TREE_PLAN_H
#define MUSTER_SHELL_TREE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "muster.h"

struct plan_item {
	const char *path; /* below the root, "a/b"; "" is the root itself */
	uint64_t size;
	unsigned int depth;
	bool directory;
};

struct plan {
	struct arena arena;
	struct plan_item *items;
	uint64_t count;
	uint64_t room;
	uint64_t files;
	uint64_t directories;
	uint64_t bytes;
	/* Told of what is left out, by its path below the root. May be called many times. */
	void (*skip)(void *context, const char *path, int error, const char *why);
	void *context;
	bool (*stop)(void *context); /* asked often */
};

/* A local tree. Links to files count as files, links to directories and what is neither file nor
 * directory are skipped. What cannot be read is skipped with its error. */
int plan_local(struct plan *plan, const char *root);
/* A remote tree. Names that could lead out of a local directory are skipped. */
int plan_remote(struct plan *plan, struct muster *session, const char *root);
void plan_done(struct plan *plan);

#endif
