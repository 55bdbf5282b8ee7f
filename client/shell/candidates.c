#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "candidates.h"
#include "text.h"

enum { ASK_MS = 800, NAME_MAX_SIZE = 255 };

static const struct {
	char letter;
	const char *word;
	const char *meta;
} options[] = {
#define COMMAND_OPTION(name, letter, word, meta, help) { letter, word, meta },
#include "command_options.def"
#undef COMMAND_OPTION
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

static bool fits(const struct candidates *candidates, const char *name)
{
	if (strncmp(name, candidates->prefix, candidates->prefix_size) != 0 || !typable(name))
		return false;
	return name[0] != '.' || candidates->prefix[0] == '.';
}

static void common_note(struct candidates *candidates, const char *name)
{
	size_t same = 0;

	if (!candidates->any) {
		candidates->common_size = strnlen(name, sizeof(candidates->common) - 1);
		memcpy(candidates->common, name, candidates->common_size);
	}
	candidates->any = true;
	while (same < candidates->common_size && name[same] == candidates->common[same])
		same++;
	candidates->common_size = same;
}

static void candidate(struct candidates *candidates, const char *name, bool directory)
{
	struct completion *found = candidates->found;
	struct completion_match *match;

	if (!fits(candidates, name))
		return;
	common_note(candidates, name);
	if (!found->matches)
		found->matches = calloc(COMPLETION_MAX, sizeof(*found->matches));
	if (!found->matches || found->count == COMPLETION_MAX) {
		found->more = true;
		return;
	}
	match = &found->matches[found->count];
	match->name = strdup(name);
	match->directory = directory;
	found->count += match->name != NULL;
}

/* ---- commands ---- */

void candidates_commands(struct candidates *candidates)
{
	const struct command *command;

	for (unsigned int i = 0; (command = command_at(i)); i++)
		candidate(candidates, command->name, false);
}

void candidates_words(struct candidates *candidates, const char *const *words)
{
	for (; *words; words++)
		candidate(candidates, *words, false);
}

void candidates_options(struct candidates *candidates, const struct command *command)
{
	char word[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(options); i++) {
		snprintf(word, sizeof(word), "--%s", options[i].word);
		if (command->options & 1u << i)
			candidate(candidates, word, false);
	}
	candidate(candidates, "--help", false);
}

const char *option_value_of(const struct command *command, const char *word)
{
	size_t size = strlen(word);

	for (unsigned int i = 0; i < ARRAY_SIZE(options); i++) {
		bool named =
			word[0] == '-' && word[1] == '-' && strcmp(word + 2, options[i].word) == 0;
		/* -fc N: the last of several letters. */
		bool lettered = options[i].letter && word[0] == '-' && size > 1 && word[1] != '-' &&
				word[size - 1] == options[i].letter;

		if (options[i].meta && command->options & 1u << i && (named || lettered))
			return options[i].meta;
	}
	return NULL;
}

/* ---- the store ---- */

/* A name that sorts right before all that begin with the `size` bytes of `text`. */
static void name_before(const char *text, size_t size, char ret[NAME_MAX_SIZE + 1])
{
	ret[0] = '\0';
	if (size == 0)
		return;
	memcpy(ret, text, size);
	ret[size] = '\0';
	if (ret[size - 1] == 1) {
		ret[size - 1] = '\0';
		return;
	}
	ret[size - 1]--;
	if (ret[size - 1] == '/')
		ret[size - 1]--;
	memset(ret + size, 0xff, NAME_MAX_SIZE - size);
	ret[NAME_MAX_SIZE] = '\0';
}

/* One that sorts right behind them. */
static void name_behind(const char *text, size_t size, char ret[NAME_MAX_SIZE + 1])
{
	memcpy(ret, text, size);
	memset(ret + size, 0xff, NAME_MAX_SIZE - size);
	ret[NAME_MAX_SIZE] = '\0';
}

static struct muster_list *list_from(const struct candidates *candidates, const char *path,
				     const char *after)
{
	struct muster *session = candidates->shell->session;
	struct muster_list *list;
	int rc = *after ? muster_list_open_after(session, path, after, &list)
			: muster_list_open(session, path, &list);

	return rc < 0 ? NULL : list;
}

static void names_list(struct candidates *candidates, const char *path)
{
	char after[NAME_MAX_SIZE + 1];
	struct muster_entry entry;
	struct muster_list *list;

	name_before(candidates->prefix, candidates->prefix_size, after);
	list = list_from(candidates, path, after);
	if (!list)
		return;
	while (!candidates->found->more && muster_list_next(list, &entry) == 1) {
		if (strncmp(entry.name, candidates->prefix, candidates->prefix_size) > 0)
			break;
		candidate(candidates, entry.name, entry.type == MUSTER_DIRECTORY);
	}
	muster_list_close(list);
}

/* More match than are kept: looks, in leaps, for one that begins differently. */
static void common_check(struct candidates *candidates, const char *path)
{
	while (candidates->common_size > candidates->prefix_size) {
		size_t before = candidates->common_size;
		char after[NAME_MAX_SIZE + 1];
		struct muster_entry entry;
		struct muster_list *list;
		int rc;

		name_behind(candidates->common, before, after);
		list = list_from(candidates, path, after);
		if (!list)
			return;
		rc = muster_list_next(list, &entry);
		muster_list_close(list);
		if (rc != 1 ||
		    strncmp(entry.name, candidates->prefix, candidates->prefix_size) != 0)
			return;
		common_note(candidates, entry.name);
		if (candidates->common_size == before)
			candidates->common_size = candidates->prefix_size;
	}
}

void candidates_remote(struct candidates *candidates)
{
	struct shell *shell = candidates->shell;
	char path[REMOTE_PATH_MAX];

	if (candidates->prefix_size > NAME_MAX_SIZE ||
	    remote_resolve(shell->directory, candidates->directory, path) < 0)
		return;
	shell_hurry(ASK_MS);
	if (shell_connect(shell) == 0)
		names_list(candidates, path);
	if (candidates->found->more)
		common_check(candidates, path);
	shell_relax(shell);
}

static bool is_known(const struct candidates *candidates, const char *name)
{
	for (unsigned int i = 0; i < candidates->found->count; i++) {
		if (strcmp(candidates->found->matches[i].name, name) == 0)
			return true;
	}
	return false;
}

/* The next component of a path that was removed, if it lies below `directory`. */
static void trashed_add(struct candidates *candidates, const char *directory,
			const struct muster_trashed *gone)
{
	size_t size = strcmp(directory, "/") == 0 ? 0 : strlen(directory);
	char name[NAME_MAX_SIZE + 1];
	size_t length;

	if (strncmp(gone->path, directory, size) != 0 || gone->path[size] != '/')
		return;
	length = strcspn(gone->path + size + 1, "/");
	snprintf(name, sizeof(name), "%.*s", (int)length, gone->path + size + 1);
	if (!is_known(candidates, name))
		candidate(candidates, name, gone->path[size + 1 + length] == '/');
}

void candidates_trash(struct candidates *candidates)
{
	struct shell *shell = candidates->shell;
	char path[REMOTE_PATH_MAX];
	struct muster_trashed gone;
	struct muster_trash *trash = NULL;

	if (remote_resolve(shell->directory, candidates->directory, path) < 0)
		return;
	shell_hurry(ASK_MS);
	if (shell_connect(shell) == 0 && muster_trash_open(shell->session, NULL, &trash) == 0) {
		while (!candidates->found->more && muster_trash_next(trash, &gone) == 1)
			trashed_add(candidates, path, &gone);
	}
	muster_trash_close(trash);
	shell_relax(shell);
}

void candidates_nodes(struct candidates *candidates)
{
	struct shell *shell = candidates->shell;
	struct muster_node *nodes = NULL;
	int count = 0;

	shell_hurry(ASK_MS);
	if (shell_connect(shell) == 0)
		count = muster_nodes(shell->session, &nodes);
	shell_relax(shell);
	for (int i = 0; i < count; i++)
		candidate(candidates, nodes[i].name, false);
	muster_nodes_free(nodes);
}

/* ---- this machine ---- */

void candidates_local(struct candidates *candidates)
{
	DIR *stream = opendir(*candidates->directory ? candidates->directory : ".");
	struct dirent *entry;
	struct stat st;

	while (stream && (entry = readdir(stream))) {
		bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;

		if (dots || !fits(candidates, entry->d_name))
			continue;
		candidate(candidates, entry->d_name,
			  fstatat(dirfd(stream), entry->d_name, &st, 0) == 0 &&
				  S_ISDIR(st.st_mode));
	}
	if (stream)
		closedir(stream);
}
