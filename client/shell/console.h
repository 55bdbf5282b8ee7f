/* The administrator's console: beside the usual commands it takes some in upper case, with their
 * arguments between commas. */
#ifndef MUSTER_SHELL_CONSOLE_H
#define MUSTER_SHELL_CONSOLE_H

#include "shell.h"

/* Runs `text` if it is such a command; false: it is none, and nothing was done. */
bool console_line(struct shell *shell, const char *text, int *ret_status);
void console_help(FILE *out);

#endif
