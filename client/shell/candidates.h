/* What could stand at the cursor: names that begin with what was typed so far. */
#ifndef MUSTER_SHELL_CANDIDATES_H
#define MUSTER_SHELL_CANDIDATES_H

#include "command.h"
#include "completion.h"

struct candidates {
	struct shell *shell;
	struct completion *found;
	char directory[REMOTE_PATH_MAX]; /* as typed; "" or up to its last '/' */
	const char *prefix;
	size_t prefix_size;
	char common[256]; /* what all that match begin with, also those beyond what is kept */
	size_t common_size;
	bool any;
};

void candidates_commands(struct candidates *candidates);
void candidates_options(struct candidates *candidates, const struct command *command);
void candidates_words(struct candidates *candidates, const char *const *words);
/* These ask the name server, about as long as a hand waits. */
void candidates_remote(struct candidates *candidates);
void candidates_trash(struct candidates *candidates); /* what was removed */
void candidates_nodes(struct candidates *candidates);
void candidates_local(struct candidates *candidates);

/* The option whose value follows `word`: what that value is called; NULL: none follows. */
const char *option_value_of(const struct command *command, const char *word);

#endif
