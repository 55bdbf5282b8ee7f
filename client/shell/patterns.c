#include <fnmatch.h>
#include <glob.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "patterns.h"

/* Room for a name in which each byte has a backslash. */
enum { COMPONENT_MAX = 2 * 255 + 1 };

enum side { SIDE_NONE, SIDE_LOCAL, SIDE_REMOTE };

/* What an argument names. */
struct place {
	enum side side;
	bool target; /* what the command makes or fills: one name */
};

/* Of argument `i` of `count`. */
static struct place place_of(const struct command *command, unsigned int i, unsigned int count)
{
	bool last = i + 1 == count && count > 1;
	bool first = i == 0;

	switch (command->places) {
	case PLACES_REMOTE: return (struct place){ SIDE_REMOTE, false };
	case PLACES_NEW: return (struct place){ SIDE_REMOTE, true };
	case PLACES_LOCAL: return (struct place){ SIDE_LOCAL, false };
	case PLACES_UP: return (struct place){ last ? SIDE_REMOTE : SIDE_LOCAL, last };
	case PLACES_DOWN: return (struct place){ last ? SIDE_LOCAL : SIDE_REMOTE, last };
	case PLACES_ACROSS: return (struct place){ SIDE_REMOTE, last };
	case PLACES_TEXT: return (struct place){ first ? SIDE_REMOTE : SIDE_NONE, true };
	case PLACES_COUNT: return (struct place){ first ? SIDE_NONE : SIDE_REMOTE, false };
	case PLACES_NOTHING:
	case PLACES_COMMANDS:
	case PLACES_NODES:
	case PLACES_TRASH: break;
	}
	return (struct place){ SIDE_NONE, false };
}

/* ---- what comes out ---- */

static int argument_add(struct expansion *expansion, const char *text)
{
	char *copy = arena_alloc(&expansion->arena, strlen(text) + 1);

	if (!copy)
		return -ERR_NO_MEMORY;
	if (expansion->count + 1 >= expansion->room) {
		unsigned int room = expansion->room ? expansion->room * 2 : 64;
		char **arguments = reallocarray(expansion->arguments, room, sizeof(*arguments));

		if (!arguments)
			return -ERR_NO_MEMORY;
		expansion->arguments = arguments;
		expansion->room = room;
	}
	memcpy(copy, text, strlen(text) + 1);
	expansion->arguments[expansion->count++] = copy;
	expansion->arguments[expansion->count] = NULL;
	return 0;
}

void expansion_done(struct expansion *expansion)
{
	arena_done(&expansion->arena);
	free(expansion->arguments);
	memset(expansion, 0, sizeof(*expansion));
}

/* ---- remote names ---- */

/* Goes through the components of a pattern; `path` is the name so far, absolute. */
struct matcher {
	struct call *call;
	struct expansion *expansion;
	char path[REMOTE_PATH_MAX];
	unsigned int levels; /* listings that are open */
	bool leads_back;     /* ".." may stand behind a pattern */
	void *seen;          /* then: which rest was matched where, of tsearch() */
};

static int match_rest(struct matcher *matcher, const char *rest);

static bool is_gone(int rc)
{
	return rc == -ERR_NOT_FOUND || rc == -ERR_NOT_DIR;
}

/* A component of a pattern as a name: without its backslashes. */
static void name_plain(char *component)
{
	char *to = component;

	while (*component) {
		if (*component == '\\' && component[1])
			component++;
		*to++ = *component++;
	}
	*to = '\0';
}

static int seen_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void seen_free(void *key)
{
	free(key);
}

/* 1: this rest of the pattern was matched here before. Many ways lead to a directory where ".."
 * stands behind a pattern, and what follows would be gone through for each of them. */
static int match_seen(struct matcher *matcher, const char *rest)
{
	char *key = NULL;
	char **found;

	if (!matcher->leads_back)
		return 0;
	if (asprintf(&key, "%zu %s", strlen(rest), matcher->path) < 0)
		return -ERR_NO_MEMORY;
	found = tsearch(key, &matcher->seen, seen_compare);
	if (found && *found == key)
		return 0;
	free(key);
	return found ? 1 : -ERR_NO_MEMORY;
}

/* The pattern is used up, and its last component was a plain name. */
static int match_end(struct matcher *matcher, bool slash)
{
	struct muster_entry entry;
	int rc = match_seen(matcher, "");

	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = muster_stat(matcher->call->session, matcher->path, &entry);
	if (rc < 0)
		return is_gone(rc) ? 0 : rc;
	if (slash && entry.type != MUSTER_DIRECTORY)
		return 0;
	return argument_add(matcher->expansion, matcher->path);
}

/* An entry whose name matches. What follows may lead up again, so the path is kept whole. */
static int match_found(struct matcher *matcher, const struct muster_entry *entry, const char *rest)
{
	char path[REMOTE_PATH_MAX];
	int rc;

	if (*rest && entry->type != MUSTER_DIRECTORY)
		return 0;
	memcpy(path, matcher->path, strlen(matcher->path) + 1);
	rc = remote_join(path, entry->name, matcher->path);
	if (rc == 0 && *rest)
		rc = match_rest(matcher, rest);
	else if (rc == 0)
		rc = argument_add(matcher->expansion, matcher->path);
	memcpy(matcher->path, path, strlen(path) + 1);
	return rc;
}

static int match_names(struct matcher *matcher, const char *pattern, const char *rest)
{
	struct muster_entry entry;
	struct muster_list *list;
	int rc = match_seen(matcher, rest);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (matcher->levels == PATTERN_LEVELS_MAX)
		return -ERR_TOO_LARGE;
	/* A file would list itself. */
	rc = muster_stat(matcher->call->session, matcher->path, &entry);
	if (rc == 0 && entry.type != MUSTER_DIRECTORY)
		return 0;
	if (rc == 0)
		rc = muster_list_open(matcher->call->session, matcher->path, &list);
	if (rc < 0)
		return is_gone(rc) ? 0 : rc;
	matcher->levels++;
	while ((rc = muster_list_next(list, &entry)) == 1) {
		rc = call_interrupted(matcher->call) ? -ERR_CANCELLED : 0;
		if (rc == 0 && fnmatch(pattern, entry.name, FNM_PERIOD) == 0)
			rc = match_found(matcher, &entry, rest);
		if (rc < 0)
			break;
	}
	matcher->levels--;
	muster_list_close(list);
	return rc < 0 && !is_gone(rc) ? rc : 0;
}

static int match_rest(struct matcher *matcher, const char *rest)
{
	char component[COMPONENT_MAX];
	bool slash = false;
	int rc = 0;

	while (*rest && rc == 0) {
		size_t size = strcspn(rest, "/");

		if (size >= sizeof(component))
			return -ERR_NAME_TOO_LONG;
		memcpy(component, rest, size);
		component[size] = '\0';
		rest += size;
		if (pattern_is(component))
			return match_names(matcher, component, rest);
		name_plain(component);
		rc = remote_resolve(matcher->path, component, matcher->path);
		slash = *rest == '/';
		rest += slash;
	}
	return rc < 0 ? rc : match_end(matcher, slash);
}

/* Whether there is something with just this name. */
static int remote_exists(struct call *call, const char *text)
{
	char path[REMOTE_PATH_MAX];
	struct muster_entry entry;
	int rc = remote_resolve(call->shell->directory, text, path);

	if (rc == 0)
		rc = muster_stat(call->session, path, &entry);
	if (is_gone(rc) || rc == -ERR_NAME_TOO_LONG || rc == -ERR_BAD_NAME)
		return 0;
	return rc < 0 ? rc : 1;
}

static int remote_match(struct call *call, struct expansion *expansion, const char *pattern)
{
	struct matcher matcher = {
		.call = call,
		.expansion = expansion,
		.leads_back = strstr(pattern, "..") != NULL,
	};
	int rc;

	snprintf(matcher.path, sizeof(matcher.path), "%s",
		 *pattern == '/' ? "/" : call->shell->directory);
	rc = match_rest(&matcher, pattern);
	tdestroy(matcher.seen, seen_free);
	return rc;
}

/* ---- local names ---- */

static int local_match(struct expansion *expansion, const char *pattern)
{
	glob_t found = { 0 };
	int rc = 0;

	switch (glob(pattern, 0, NULL, &found)) {
	case 0: break;
	case GLOB_NOSPACE: rc = -ERR_NO_MEMORY; break;
	default: break;
	}
	for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
		rc = argument_add(expansion, found.gl_pathv[i]);
	globfree(&found);
	return rc;
}

static bool local_exists(const char *text)
{
	struct stat st;

	return lstat(text, &st) == 0;
}

/* ---- arguments ---- */

/* The pattern that argument `i` may be; NULL: it is none. */
static const char *pattern_of(const struct call *call, unsigned int i)
{
	struct place place = place_of(call->command, i, call->count);
	const char *text = call->arguments[i];

	if (place.side == SIDE_NONE)
		return NULL;
	if (call->patterns)
		return call->patterns[i];
	/* The user's own shell has been over local names, and quotes for it say nothing to us. */
	if (place.side == SIDE_LOCAL || place.target)
		return NULL;
	return strpbrk(text, "*?[") ? text : NULL;
}

static int match_fail(const struct call *call, const char *text, int rc)
{
	if (rc == -ERR_BAD_NAME)
		return call_fail(call, text, rc, "there is nothing above the root");
	if (rc == -ERR_TOO_LARGE)
		return call_fail_text(call, text, rc, "too many components are patterns");
	return call_fail_last(call, text, rc);
}

static int argument_expand(struct call *call, struct expansion *expansion, unsigned int i)
{
	struct place place = place_of(call->command, i, call->count);
	const char *pattern = pattern_of(call, i);
	const char *text = call->arguments[i];
	unsigned int before = expansion->count;
	int rc = 1;

	if (pattern && place.side == SIDE_REMOTE)
		rc = remote_exists(call, text);
	else if (pattern)
		rc = local_exists(text);
	if (rc == 1)
		rc = argument_add(expansion, text);
	else if (rc == 0)
		rc = place.side == SIDE_REMOTE ? remote_match(call, expansion, pattern)
					       : local_match(expansion, pattern);
	if (rc < 0)
		return match_fail(call, text, rc);
	if (expansion->count == before)
		return call_fail_text(call, text, -ERR_NOT_FOUND, "no match");
	if (place.target && expansion->count > before + 1)
		return call_usage(call, "'%s' matches %u names where one is wanted", text,
				  expansion->count - before);
	return STATUS_DONE;
}

int call_expand(struct call *call, struct expansion *expansion)
{
	int status = STATUS_DONE;
	bool any = false;
	bool remote = false;

	for (unsigned int i = 0; i < call->count; i++) {
		bool found = pattern_of(call, i) != NULL;

		any |= found;
		remote |= found && place_of(call->command, i, call->count).side == SIDE_REMOTE;
	}
	if (!any)
		return STATUS_DONE;
	if (remote)
		status = call_session(call);
	for (unsigned int i = 0; i < call->count && status == STATUS_DONE; i++)
		status = argument_expand(call, expansion, i);
	if (status != STATUS_DONE)
		return status;
	call->arguments = expansion->arguments;
	call->count = expansion->count;
	return STATUS_DONE;
}
