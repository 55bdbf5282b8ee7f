/* Commands: the table (commands.def), their arguments, and how they report. */
#ifndef MUSTER_SHELL_COMMAND_H
#define MUSTER_SHELL_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "muster.h"
#include "shell.h"

enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_NO_NAMESERVER = 3,
};

enum call_option {
#define COMMAND_OPTION(name, letter, word, meta, help) CALL_##name,
#include "command_options.def"
#undef COMMAND_OPTION
	CALL_OPTIONS
};

/* What a command's arguments name. */
enum places {
	PLACES_NOTHING,
	PLACES_REMOTE,
	PLACES_LOCAL,
	PLACES_NEW,    /* remote ones that are to be made */
	PLACES_UP,     /* local ones, then a remote one */
	PLACES_DOWN,   /* remote ones, then a local one */
	PLACES_ACROSS, /* remote ones, then a remote one */
	PLACES_COMMANDS,
	PLACES_TEXT,  /* a remote one to be made, then words */
	PLACES_COUNT, /* a number, then remote ones */
	PLACES_NODES, /* storage servers */
	PLACES_TRASH, /* what to do, then remote ones that are gone */
};

enum group { GROUP_FILES, GROUP_TREE, GROUP_STORE, GROUP_SHELL };

struct command;

/* One command that runs. */
struct call {
	struct shell *shell;
	const struct command *command;
	struct muster *session; /* set by call_session() */
	char **arguments;
	char **patterns; /* of a line: the arguments as patterns, NULL for those that are none */
	unsigned int count;
	unsigned int seen;                 /* for handlers: arguments shown so far */
	void *context;                     /* for handlers */
	uint64_t degraded_answers;         /* of the session, before it */
	const char *options[CALL_OPTIONS]; /* "" for a flag that is set; NULL: not given */
};

/* Returns one of enum status. */
typedef int command_fn(struct call *call);

struct command {
	const char *name;
	const char *aliases; /* separated by spaces */
	command_fn *handler;
	enum group group;
	unsigned int options; /* bits of enum call_option */
	unsigned int min;
	unsigned int max;
	enum places places;
	const char *synopsis;
	const char *summary;
	const char *text;
	const char *examples;
};

#define COMMAND(name, aliases, handler, ...) command_fn handler;
#include "commands.def"
#undef COMMAND

const struct command *command_find(const char *name); /* also by an alias */
const struct command *command_at(unsigned int position);
/* Finds the command, checks what it was given, runs it. `words` is NULL-terminated, and
 * rearranged. */
int command_run(struct shell *shell, char **words);
/* The same for a line, in which quotes tell what is a pattern. */
int command_run_line(struct shell *shell, const struct line *line);
void commands_help(FILE *out); /* one line each */
void command_help_print(FILE *out, const struct command *command);

/* Opens the session where none is open. 0, or the status to return: it has been reported. */
int call_session(struct call *call);
/* Before and after it runs: says once whether answers were what a server knew last. */
void call_begin(struct call *call);
void call_end(const struct call *call, int status);
/* Runs `each` for every argument from `first` on, as a resolved remote path; opens the session. */
typedef int call_path_fn(struct call *call, const char *path);
int call_each_path(struct call *call, unsigned int first, call_path_fn *each);
/* 0, or the status to return. */
int call_resolve(const struct call *call, const char *text, char ret[REMOTE_PATH_MAX]);

/* Each prints one error line and returns the status that goes with it. `path` and `hint` may be
 * NULL; without a hint the usual one for this error stands in parentheses, if there is one. */
int call_fail(const struct call *call, const char *path, int error, const char *hint);
/* Of the session's last blocking call, with what the library says about it. */
int call_fail_last(const struct call *call, const char *path, int error);
int call_fail_detail(const struct call *call, const char *path, int error, const char *detail);
/* Of a call to this machine's system, with its own words where our table has none. */
int call_fail_errno(const struct call *call, const char *path, int os);
/* With words of its own instead of the error's. */
int call_fail_text(const struct call *call, const char *path, int error, const char *message);
__attribute__((format(printf, 2, 3))) int call_usage(const struct call *call, const char *format,
						     ...);
/* A remark on standard error, but not with --quiet or --json. */
__attribute__((format(printf, 2, 3))) void call_note(const struct call *call, const char *format,
						     ...);
/* Whether confirmations ("stored …") and progress are wanted as text. */
bool call_confirms(const struct call *call);
/* Whether somebody is there to be asked. */
bool call_can_ask(void);
/* Asks "BEFORE NAME AFTER", the last two may be NULL; true for a yes. */
bool call_ask(const struct call *call, const char *before, const char *name, const char *after);
bool call_interrupted(const struct call *call);
/* True once nobody reads standard output any more. */
bool call_unheard(const struct call *call);
/* After one of several arguments: whether the `left` others stay undone. Says so if nothing did. */
bool call_ends(const struct call *call, unsigned int left, int *status);
/* Prints the object, reports failure. */
int call_json(const struct call *call, cJSON *object);

int status_worse(int a, int b);

/* Words that stand for something as arguments, each list ended by NULL. */
extern const char *const level_names[]; /* of --level, by enum muster_level */
extern const char *const trash_verbs[]; /* what `trash` does */

#endif
