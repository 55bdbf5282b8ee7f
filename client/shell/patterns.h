/* Patterns in arguments: * ? [...] and \ as in sh, against remote names and, for a line of the
 * shell, local ones. */
#ifndef MUSTER_SHELL_PATTERNS_H
#define MUSTER_SHELL_PATTERNS_H

#include "arena.h"
#include "command.h"

enum { PATTERN_LEVELS_MAX = 64 }; /* components of a path that are patterns */

/* The arguments of one command after all patterns were replaced by what they match. */
struct expansion {
	struct arena arena;
	char **arguments; /* NULL-terminated */
	unsigned int count;
	unsigned int room;
};

/* Replaces the patterns among the arguments of `call`, as its command's places say, in the order of
 * the names. From a line (call->patterns) only what was not quoted is a pattern; words that come
 * from elsewhere are what they say where a name is spelt so, else a pattern. Where a command names
 * what it makes, a pattern of a line has to match one name; words from elsewhere are no patterns.
 * Returns a status; a failure has been reported. expansion_done() when the command has ended. */
int call_expand(struct call *call, struct expansion *expansion);
void expansion_done(struct expansion *expansion);

#endif
