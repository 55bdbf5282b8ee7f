/* What stands before the cursor: where one is, and whether the store is well. */
#ifndef MUSTER_SHELL_PROMPT_H
#define MUSTER_SHELL_PROMPT_H

#include "shell.h"

struct health {
	char text[48]; /* "" while all is well: "2/3 servers" */
	enum tone tone;
};

/* Asks the name server, but not for long. */
struct health health_find(struct shell *shell);

enum { PROMPT_MAX = 1024 };
/* "muster:/papers [2/3 servers]> ", shortened to leave room on a narrow terminal. `width` 0: as
 * wide as it gets. In colour, PROMPT_HIDDEN stands around what takes no room on the screen. */
#define PROMPT_HIDDEN '\1'
void prompt_format(const char *directory, const struct health *health, unsigned int width,
		   bool colour, char ret[PROMPT_MAX]);

#endif
