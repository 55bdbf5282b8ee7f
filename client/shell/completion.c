#include <stdlib.h>
#include <string.h>

#include "candidates.h"
#include "error.h"
#include "text.h"

/* What stands before the cursor's word. */
struct before {
	const struct command *command;
	unsigned int argument; /* options do not count */
	const char *value;     /* what the option before wants; NULL: nothing */
	bool only_arguments;   /* after -- */
	struct line line;
};

static void before_read(struct before *before, const char *text, size_t size)
{
	char *front = strndup(text, size);
	const struct line *line = &before->line;

	memset(before, 0, sizeof(*before));
	if (front && line_split(front, &before->line) == 0 && line->count)
		before->command = command_find(line->words[0]);
	free(front);
	for (unsigned int i = 1; before->command && i < line->count; i++) {
		const char *word = line->words[i];

		if (before->value) {
			before->value = NULL;
		} else if (before->only_arguments || word[0] != '-' || !word[1]) {
			before->argument++;
		} else if (strcmp(word, "--") == 0) {
			before->only_arguments = true;
		} else {
			before->value = option_value_of(before->command, word);
		}
	}
}

static void value_search(struct candidates *candidates, const char *value)
{
	if (strcmp(value, "NODE") == 0)
		candidates_nodes(candidates);
	else if (strcmp(value, "LEVEL") == 0)
		candidates_words(candidates, level_names);
	else if (strcmp(value, "DIR") == 0)
		candidates_local(candidates);
}

static void trash_search(struct candidates *candidates, unsigned int argument)
{
	if (argument == 0)
		candidates_words(candidates, trash_verbs);
	else if (argument == 1)
		candidates_trash(candidates);
	else
		candidates_remote(candidates);
}

/* The last one is of the other kind, and nobody knows yet which will be last. */
static void either_search(struct candidates *candidates, bool remote_first)
{
	if (remote_first)
		candidates_remote(candidates);
	else
		candidates_local(candidates);
	if (candidates->found->count > 0)
		return;
	if (remote_first)
		candidates_local(candidates);
	else
		candidates_remote(candidates);
}

static void argument_search(struct candidates *candidates, const struct before *before)
{
	unsigned int argument = before->argument;

	switch (before->command->places) {
	case PLACES_NOTHING: break;
	case PLACES_REMOTE:
	case PLACES_NEW:
	case PLACES_ACROSS: candidates_remote(candidates); break;
	case PLACES_TEXT:
		if (argument == 0)
			candidates_remote(candidates);
		break;
	case PLACES_COUNT:
		if (argument > 0)
			candidates_remote(candidates);
		break;
	case PLACES_LOCAL: candidates_local(candidates); break;
	case PLACES_UP: either_search(candidates, argument > 0); break;
	case PLACES_DOWN: either_search(candidates, argument == 0); break;
	case PLACES_COMMANDS: candidates_commands(candidates); break;
	case PLACES_NODES: candidates_nodes(candidates); break;
	case PLACES_TRASH: trash_search(candidates, argument); break;
	}
}

static int match_compare(const void *a, const void *b)
{
	const struct completion_match *left = a;
	const struct completion_match *right = b;

	return strcmp(left->name, right->name);
}

/* Bytes that all matches begin with, in whole characters. */
static size_t common_size(const struct candidates *candidates)
{
	const char *name = candidates->common;
	size_t whole = 0;

	while (whole < candidates->common_size) {
		size_t size = text_printable(name + whole, candidates->common_size - whole);

		if (size == 0)
			break;
		whole += size;
	}
	return whole;
}

static int insert_make(const struct candidates *candidates, char quote)
{
	struct completion *found = candidates->found;
	size_t common = common_size(candidates);
	size_t typed = candidates->prefix_size;

	if (common > typed)
		line_quote(&found->insert, candidates->common + typed, common - typed, quote);
	if (found->count > 1 || found->more)
		return found->insert.error;
	if (found->matches[0].directory)
		return buffer_append(&found->insert, "/", 1);
	if (quote)
		buffer_append(&found->insert, &quote, 1);
	return buffer_append(&found->insert, " ", 1);
}

static void search_run(struct candidates *candidates, const struct before *before,
		       const struct line_word *word, const char *typed)
{
	if (word->index == 0)
		candidates_commands(candidates);
	else if (!before->command)
		return;
	else if (before->value)
		value_search(candidates, before->value);
	else if (typed[0] == '-' && typed[1] == '-' && !before->only_arguments)
		candidates_options(candidates, before->command);
	else
		argument_search(candidates, before);
	/* A lone - may begin an option or a name. */
	if (candidates->found->count == 0 && word->index > 0 && strcmp(typed, "-") == 0 &&
	    !before->only_arguments)
		candidates_options(candidates, before->command);
}

static int candidates_use(struct candidates *candidates, char quote)
{
	struct completion *found = candidates->found;

	if (found->count == 0)
		return 0;
	qsort(found->matches, found->count, sizeof(*found->matches), match_compare);
	return insert_make(candidates, quote);
}

int completion_find(struct shell *shell, const char *text, size_t size, struct completion *ret)
{
	struct candidates candidates = { .shell = shell, .found = ret };
	struct before before = { 0 };
	struct line_word word;
	const char *typed;
	const char *slash;
	int rc = line_word_at(text, size, &word);

	memset(ret, 0, sizeof(*ret));
	if (rc == 0)
		rc = buffer_append(&word.text, "", 1);
	typed = (const char *)word.text.data;
	if (rc == 0) {
		slash = strrchr(typed, '/');
		candidates.prefix = slash ? slash + 1 : typed;
		candidates.prefix_size = strlen(candidates.prefix);
	}
	if (rc == 0 && (size_t)(candidates.prefix - typed) < sizeof(candidates.directory)) {
		memcpy(candidates.directory, typed, (size_t)(candidates.prefix - typed));
		before_read(&before, text, word.start);
		search_run(&candidates, &before, &word, typed);
		rc = candidates_use(&candidates, word.quote);
		line_done(&before.line);
	}
	buffer_done(&word.text);
	return rc;
}

void completion_done(struct completion *completion)
{
	for (unsigned int i = 0; i < completion->count; i++)
		free(completion->matches[i].name);
	free(completion->matches);
	buffer_done(&completion->insert);
	memset(completion, 0, sizeof(*completion));
}
