/* Sentences in lines of a terminal, broken between words. */
#ifndef MUSTER_BASE_FOLD_H
#define MUSTER_BASE_FOLD_H

#include <stdio.h>

enum { FOLD_HELP_WIDTH = 80 };

/* `indent` columns of the line are taken already, as they will be, by spaces, in those that follow.
 * A word that is longer than a line stays whole. */
struct fold {
	FILE *out;
	unsigned int indent;
	unsigned int width; /* 0: one line */
	unsigned int extra; /* columns behind the indent that are taken, too; 0 at first */
};

/* Goes on where the text before ended. Line ends in it are spaces like any. */
void fold_text(struct fold *fold, const char *text);
void fold_end(struct fold *fold); /* of the line; ready for the next one */

#endif
