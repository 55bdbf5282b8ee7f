/* A local file that appears whole or not at all: written beside its name, then renamed. */
#ifndef MUSTER_SHELL_LOCAL_TARGET_H
#define MUSTER_SHELL_LOCAL_TARGET_H

#include <stdbool.h>

enum { LOCAL_NAME_MAX = 256, LOCAL_TEMPORARY_MAX = 32 };

struct local_target {
	int fd;        /* to write to; -1: nothing is open */
	int directory; /* owned */
	bool replace;
	char name[LOCAL_NAME_MAX];
	char temporary[LOCAL_TEMPORARY_MAX]; /* "": written directly, to a device or a pipe */
};

/* Whether a name that somebody else chose may become one of ours: a single component, neither "."
 * nor "..". */
bool local_name_safe(const char *name);

/* Opens the directory `path` below `root` step by step, following no link: it cannot lead out.
 * "" is root itself. Returns a descriptor, or an error. */
int local_directory_open(int root, const char *path);
/* Makes it; an existing directory is no error. Its parent exists. */
int local_directory_make(int root, const char *path);

/* Takes `directory` over, also on failure. -ERR_EXISTS without `replace`, -ERR_IS_DIR. */
int local_target_open(struct local_target *target, int directory, const char *name, bool replace);
/* The same for a path that the user gave, where links are followed and devices written to. */
int local_target_open_path(struct local_target *target, const char *path, bool replace);
int local_target_keep(struct local_target *target);  /* gives it its name; closes it in any case */
void local_target_drop(struct local_target *target); /* as if it had never been */

#endif
