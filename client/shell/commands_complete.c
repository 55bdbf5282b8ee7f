/* complete: what Tab finds, for the completion of other shells. */
#include <string.h>

#include "command.h"
#include "completion.h"
#include "error.h"

/* The words as a line of our own shell, with the cursor at its end. */
static int line_of(const struct call *call, struct buffer *ret)
{
	for (unsigned int i = 0; i < call->count; i++) {
		const char *word = call->arguments[i];

		if (i > 0)
			buffer_append(ret, " ", 1);
		line_quote(ret, word, strlen(word), 0);
	}
	return ret->error;
}

/* Whole words, so that a shell can put one in the place of what was typed. */
static void matches_print(const struct completion *found, const char *typed)
{
	const char *slash = strrchr(typed, '/');
	int directory_size = slash ? (int)(slash - typed + 1) : 0;

	for (unsigned int i = 0; i < found->count; i++) {
		const struct completion_match *match = &found->matches[i];

		printf("%.*s%s%s\n", directory_size, typed, match->name,
		       match->directory ? "/" : "");
	}
}

int command_complete(struct call *call)
{
	struct buffer line = { 0 };
	struct completion found = { 0 };
	int rc = line_of(call, &line);

	if (rc == 0)
		rc = completion_find(call->shell, (const char *)line.data, line.size, &found);
	if (rc == 0)
		matches_print(&found, call->arguments[call->count - 1]);
	completion_done(&found);
	buffer_done(&line);
	return rc < 0 ? call_fail(call, NULL, rc, NULL) : STATUS_DONE;
}
