/* What the commands that move bytes share. */
#ifndef MUSTER_SHELL_TRANSFER_H
#define MUSTER_SHELL_TRANSFER_H

#include "command.h"
#include "progress.h"

/* The last component of a local path as a name for the other side; "" where it has none: "/", "."
 * and "..", which stand for what is in them. */
void local_name(const char *path, char ret[256]);

/* Options of put, checked once. */
unsigned int transfer_copies(const struct call *call); /* 0: not given */

/* " in 2.1 s (11.2 MiB/s)", of a transfer that one had to wait for. */
void transfer_rate_print(uint64_t bytes, const struct progress *progress);

/* Where things go: what the last argument names. */
struct destination {
	char path[REMOTE_PATH_MAX];
	bool directory;
};
/* Several things, or a name that ends in '/', need a directory; a tree may be what makes it.
 * Returns a status. */
int transfer_destination(struct call *call, struct destination *ret);

/* A whole tree, many files in flight. They report what failed and a summary. `remote` need not
 * exist; `local` of a get neither. */
int tree_put(struct call *call, const char *local, const char *remote);
int tree_get(struct call *call, const char *remote, const char *local);

#endif
