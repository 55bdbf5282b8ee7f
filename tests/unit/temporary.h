/* Temporary directories of tests. */
#ifndef MUSTER_TESTS_TEMPORARY_H
#define MUSTER_TESTS_TEMPORARY_H

enum { TEMPORARY_PATH_MAX = 64 };

/* Makes a new directory and puts its path into `ret`; returns ret, or NULL. */
char *temporary_make(char ret[TEMPORARY_PATH_MAX]);
void temporary_remove(const char *path); /* with all that is in it */

#endif
