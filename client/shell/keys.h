/* Where the line editor's keys come from: the terminal, while the session goes on and signals are
 * dealt with. */
#ifndef MUSTER_SHELL_KEYS_H
#define MUSTER_SHELL_KEYS_H

#include <histedit.h>
#include <wchar.h>

#include "shell.h"

struct keys {
	struct shell *shell;
	EditLine *editor;
	mbstate_t partial; /* of a character that has not come whole */
	bool begun;        /* the first key of a line has been asked for */
	int ahead;         /* bytes still to come that were typed while a command ran */
};

void keys_init(struct keys *keys, struct shell *shell, EditLine *editor);
/* Before every line. */
void keys_line(struct keys *keys);
/* As libedit wants it: 1, 0 at the end, -1 with EINTR where a signal ends the line. */
int keys_read(struct keys *keys, wchar_t *ret);

#endif
