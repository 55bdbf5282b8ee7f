/* The scripts that belong to the program, and those that were named. */
#ifndef MUSTER_TESTS_SCRIPTS_H
#define MUSTER_TESTS_SCRIPTS_H

#include <stddef.h>

/* The text of the file, to be freed; NULL: it cannot be read. */
char *script_read(const char *path);

/* Names of the *.mst files of a folder in order, NULL at the end; to be freed as they are. `folder`
 * NULL: share/muster/conformance beside the program's bin, else tests/conformance of a source tree
 * above the program or above the current directory. NULL: there is none. */
char **scripts_find(const char *folder);
void scripts_free(char **scripts); /* NULL-safe */

#endif
