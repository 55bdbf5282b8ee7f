/* What the Tab key does: completes commands and their options, remote and local paths, servers. */
#ifndef MUSTER_SHELL_COMPLETION_H
#define MUSTER_SHELL_COMPLETION_H

#include "shell.h"

struct completion_match {
	char *name;
	bool directory;
};

enum { COMPLETION_MAX = 2000 };

struct completion {
	struct completion_match *matches; /* sorted */
	unsigned int count;
	bool more;            /* there are others; what is inserted suits them, too */
	struct buffer insert; /* what to put in at the cursor, quoted; not terminated */
};

/* For the cursor after `size` bytes of `text`. A name server that does not answer is not waited for
 * for long: then nothing matches. */
int completion_find(struct shell *shell, const char *text, size_t size, struct completion *ret);
void completion_done(struct completion *completion);

#endif
