/* The lines typed so far, kept between runs. Shells that run at the same time add to the same file.
 * A file that cannot be used is said once, and history is kept for this run only. */
#ifndef MUSTER_SHELL_HISTORY_FILE_H
#define MUSTER_SHELL_HISTORY_FILE_H

#include <histedit.h>
#include <stdbool.h>

#include "state.h"

struct history_file {
	History *history; /* NULL: no memory for one */
	char path[STATE_PATH_MAX];
	bool kept; /* in the file, too */
};

/* Says what is wrong, if anything is, in one line on standard error. */
void history_file_open(struct history_file *file);
void history_file_add(struct history_file *file, const char *line);
void history_file_close(struct history_file *file);

#endif
