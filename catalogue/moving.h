/* Inside the catalogue: where something is to go. */
#ifndef MUSTER_CATALOGUE_MOVING_H
#define MUSTER_CATALOGUE_MOVING_H

#include "rows.h"

struct destination {
	struct inode parent;
	struct slice name; /* the end of `path` */
	size_t path_size;
	uint8_t path[PATH_SIZE_MAX];
	bool occupied;
	struct inode old; /* what is there */
};

/* Finds where `what`, now called `name`, goes by how->to: `flags` are enum copy_flags. Whether what
 * is there may be replaced is not looked at. NOT_FOUND, NOT_DIR, NAME_TOO_LONG. */
int destination_find(struct kv *kv, const struct move *how, const struct inode *what,
		     struct slice name, struct destination *ret);
/* Whether it may go there: EXISTS, IS_DIR, INTO_ITSELF. */
int destination_check(struct kv *kv, const struct destination *destination,
		      const struct inode *what, bool replace);
static inline struct slice destination_path(const struct destination *destination)
{
	return (struct slice){ destination->path, destination->path_size };
}
/* What is there goes to the trash and is subtracted from `totals`. */
int destination_clear(struct kv *kv, const struct destination *destination, struct moment when,
		      struct totals *totals);
void moved_fill(const struct destination *destination, const struct inode *inode,
		struct moved *ret);

#endif
