/* The administrator's console: beside the usual commands it takes some in upper case, with their
 * arguments between commas. */
#ifndef MUSTER_SHELL_CONSOLE_H
#define MUSTER_SHELL_CONSOLE_H

#include <sys/types.h>

#include "shell.h"

/* Runs `text` if it is such a command; false: it is none, and nothing was done. */
bool console_line(struct shell *shell, const char *text, int *ret_status);
void console_help(FILE *out);

/* Before the first prompt: nobody could resume this shell, and it shall not outlive its name
 * server. Returns the process that started it, for console_is_orphan(). */
pid_t console_begin(void);
bool console_is_orphan(pid_t parent);

#endif
