#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "completion.h"
#include "error.h"
#include "line.h"
#include "text.h"

/* What is looked for: names in `directory` that begin with `prefix`. */
struct search {
	struct shell *shell;
	struct completion *found;
	char directory[REMOTE_PATH_MAX];
	const char *prefix;
	size_t prefix_size;
};

/* Names that cannot be typed are not offered: a line break would end the line. */
static bool typable(const char *name)
{
	while (*name) {
		size_t size = text_printable(name, strlen(name));

		if (size == 0)
			return false;
		name += size;
	}
	return true;
}

static void match_add(struct search *search, const char *name, bool directory)
{
	struct completion *found = search->found;
	struct completion_match *match;

	if (strncmp(name, search->prefix, search->prefix_size) != 0 || !typable(name))
		return;
	if (name[0] == '.' && search->prefix[0] != '.')
		return;
	if (!found->matches)
		found->matches = calloc(COMPLETION_MAX, sizeof(*found->matches));
	if (!found->matches || found->count == COMPLETION_MAX)
		return;
	match = &found->matches[found->count];
	match->name = strdup(name);
	match->directory = directory;
	found->count += match->name != NULL;
}

static void commands_search(struct search *search)
{
	const struct command *command;

	for (unsigned int i = 0; (command = command_at(i)); i++)
		match_add(search, command->name, false);
}

static void remote_search(struct search *search)
{
	struct muster *session = search->shell->session;
	char path[REMOTE_PATH_MAX];
	struct muster_info info;
	struct muster_entry entry;
	struct muster_list *list;

	if (!session || remote_resolve(search->shell->directory, search->directory, path) < 0)
		return;
	muster_info(session, &info);
	if (!info.connected || muster_list_open(session, path, &list) < 0)
		return;
	while (muster_list_next(list, &entry) == 1 && search->found->count < COMPLETION_MAX)
		match_add(search, entry.name, entry.type == MUSTER_DIRECTORY);
	muster_list_close(list);
}

static void local_search(struct search *search)
{
	DIR *stream = opendir(*search->directory ? search->directory : ".");
	struct dirent *entry;
	struct stat st;

	while (stream && (entry = readdir(stream))) {
		bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;

		if (!dots && strncmp(entry->d_name, search->prefix, search->prefix_size) == 0)
			match_add(search, entry->d_name,
				  fstatat(dirfd(stream), entry->d_name, &st, 0) == 0 &&
					  S_ISDIR(st.st_mode));
	}
	if (stream)
		closedir(stream);
}

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1];
}

/* Which argument of which command stands at the cursor; options do not count. */
static const struct command *command_before(const char *text, size_t size,
					    unsigned int *ret_argument)
{
	const struct command *command = NULL;
	char *front = strndup(text, size);
	struct line line;

	*ret_argument = 0;
	if (front && line_split(front, &line) == 0) {
		command = line.count ? command_find(line.words[0]) : NULL;
		for (unsigned int i = 1; i < line.count; i++)
			*ret_argument += !is_option(line.words[i]);
		line_done(&line);
	}
	free(front);
	return command;
}

static void argument_search(struct search *search, const struct command *command,
			    unsigned int argument)
{
	switch (command->places) {
	case PLACES_REMOTE: remote_search(search); break;
	case PLACES_TEXT: remote_search(search); break;
	case PLACES_LOCAL: local_search(search); break;
	case PLACES_COMMANDS: commands_search(search); break;
	case PLACES_NOTHING: break;
	/* The last one is of the other kind, and nobody knows yet which will be last. */
	case PLACES_UP:
		if (argument > 0)
			remote_search(search);
		if (search->found->count == 0)
			local_search(search);
		break;
	case PLACES_DOWN:
		if (argument > 0)
			local_search(search);
		if (search->found->count == 0)
			remote_search(search);
		break;
	}
}

static int match_compare(const void *a, const void *b)
{
	const struct completion_match *left = a;
	const struct completion_match *right = b;

	return strcmp(left->name, right->name);
}

/* Bytes that all matches begin with, in whole characters. */
static size_t common_size(const struct completion *found)
{
	const char *name = found->matches[0].name;
	size_t most = strlen(name);
	size_t whole = 0;

	for (unsigned int i = 1; i < found->count; i++) {
		size_t same = 0;

		while (same < most && found->matches[i].name[same] == name[same])
			same++;
		most = same;
	}
	while (whole < most) {
		size_t size = text_printable(name + whole, strlen(name + whole));

		if (size == 0 || whole + size > most)
			break;
		whole += size;
	}
	return whole;
}

static int insert_make(struct completion *found, size_t typed, char quote)
{
	const struct completion_match *first = &found->matches[0];
	size_t common = common_size(found);

	if (common > typed)
		line_quote(&found->insert, first->name + typed, common - typed, quote);
	if (found->count > 1)
		return found->insert.error;
	if (first->directory)
		return buffer_append(&found->insert, "/", 1);
	if (quote)
		buffer_append(&found->insert, &quote, 1);
	return buffer_append(&found->insert, " ", 1);
}

static int search_run(struct search *search, const char *text, const struct line_word *word)
{
	unsigned int argument;
	const struct command *command = command_before(text, word->start, &argument);

	if (word->index == 0)
		commands_search(search);
	else if (command)
		argument_search(search, command, argument);
	if (search->found->count == 0)
		return 0;
	qsort(search->found->matches, search->found->count, sizeof(*search->found->matches),
	      match_compare);
	return insert_make(search->found, search->prefix_size, word->quote);
}

int completion_find(struct shell *shell, const char *text, size_t size, struct completion *ret)
{
	struct search search = { .shell = shell, .found = ret };
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
		search.prefix = slash ? slash + 1 : typed;
		search.prefix_size = strlen(search.prefix);
		if ((size_t)(search.prefix - typed) < sizeof(search.directory)) {
			memcpy(search.directory, typed, (size_t)(search.prefix - typed));
			rc = search_run(&search, text, &word);
		}
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
