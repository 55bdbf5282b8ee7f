#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "command.h"
#include "console.h"
#include "error.h"
#include "text.h"

enum { FIELDS_MAX = 3, WORDS_MAX = 8 };

/* Each is one of the usual commands, in other words. */
static const struct console_command {
	const char *name;
	unsigned int fields; /* after the name; the last one takes the rest of the line */
	const char *synopsis;
	const char *numbers;          /* which fields are: "23" */
	const char *words[WORDS_MAX]; /* $1 stands for the first field */
	const char *help;
} commands[] = {
	{ "WRITE",
	  2,
	  "NAME,TEXT",
	  "",
	  { "write", "--", "$1", "$2" },
	  "store a text in a new file" },
	{ "APPEND",
	  2,
	  "NAME,TEXT",
	  "",
	  { "append", "--text=$2", "--", "$1" },
	  "add a text to a file" },
	{ "READ", 1, "NAME", "", { "cat", "--", "$1" }, "print a file" },
	{ "READB",
	  3,
	  "NAME,POSITION,COUNT",
	  "23",
	  { "get", "--range=$2:$3", "--", "$1", "-" },
	  "print COUNT bytes from POSITION on" },
	{ "DELETE", 1, "NAME", "", { "rm", "--", "$1" }, "remove a file" },
	{ "LS", 0, "", "", { "ls" }, "list the current directory" },
	{ "SYNCH", 0, "", "", { "verify", "/" }, "read and compare every copy of every file" },
	{ "FORMAT", 0, "", "", { "format" }, "empty the whole store; asks first" },
	{ "QUIT", 0, "", "", { "exit" }, "leave; ends the name server if this is its console" },
};

struct fields {
	char *memory;
	char *texts[FIELDS_MAX];
	unsigned int count;
};

static const struct console_command *command_of(const char *text, size_t size)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strlen(commands[i].name) == size && memcmp(commands[i].name, text, size) == 0)
			return &commands[i];
	}
	return NULL;
}

static int usage(struct shell *shell, const struct console_command *command, const char *what)
{
	struct call call = { .shell = shell };

	return call_usage(&call, "%s%s%s: wants %s%s%s", command->name, what ? ": " : "",
			  what ? what : "", command->name, command->fields ? "," : "",
			  command->synopsis);
}

static void fields_split(struct fields *fields, char *text, const struct console_command *command)
{
	while (text && fields->count < FIELDS_MAX) {
		bool last = fields->count + 1 >= command->fields;

		fields->texts[fields->count++] = last ? text : strsep(&text, ",");
		if (last)
			break;
	}
}

static bool is_number(const char *text)
{
	uint64_t number;

	return number_parse(text, 0, INT64_MAX, &number) == 0;
}

/* 0, or the status to return. */
static int fields_check(struct shell *shell, const struct console_command *command,
			const struct fields *fields)
{
	char what[128];

	if (fields->count != command->fields || (fields->count && !*fields->texts[0]))
		return usage(shell, command, NULL);
	for (const char *at = command->numbers; *at; at++) {
		const char *text = fields->texts[*at - '1'];

		if (is_number(text))
			continue;
		snprintf(what, sizeof(what), "'%s' is no number", text);
		return usage(shell, command, what);
	}
	return STATUS_DONE;
}

static int word_make(struct buffer *buffer, const char *pattern, const struct fields *fields)
{
	for (; *pattern; pattern++) {
		if (*pattern == '$') {
			const char *text = fields->texts[*++pattern - '1'];

			buffer_append(buffer, text, strlen(text));
		} else {
			buffer_append(buffer, pattern, 1);
		}
	}
	return buffer_append(buffer, "", 1);
}

/* What a field holds is never a pattern. */
static int words_run(struct shell *shell, const struct console_command *command,
		     const struct fields *fields)
{
	struct buffer made[WORDS_MAX] = { 0 };
	char *words[WORDS_MAX + 1] = { NULL };
	char *patterns[WORDS_MAX + 1] = { NULL };
	struct line line = { .words = words, .patterns = patterns };
	struct call call = { .shell = shell };
	int rc = 0;
	int status;

	for (; line.count < WORDS_MAX && command->words[line.count] && rc == 0; line.count++) {
		rc = word_make(&made[line.count], command->words[line.count], fields);
		words[line.count] = (char *)made[line.count].data;
	}
	status = rc < 0 ? call_fail(&call, NULL, rc, NULL) : shell_words(shell, &line);
	for (unsigned int i = 0; i < WORDS_MAX; i++)
		buffer_done(&made[i]);
	return status;
}

static int command_do(struct shell *shell, const struct console_command *command, const char *rest)
{
	struct fields fields = { 0 };
	struct call call = { .shell = shell };
	int status;

	if (*rest && *rest != ',')
		return usage(shell, command, NULL);
	fields.memory = strdup(*rest ? rest + 1 : "");
	if (!fields.memory)
		return call_fail(&call, NULL, -ERR_NO_MEMORY, NULL);
	if (*rest)
		fields_split(&fields, fields.memory, command);
	status = fields_check(shell, command, &fields);
	if (status == STATUS_DONE)
		status = words_run(shell, command, &fields);
	free(fields.memory);
	return status;
}

bool console_line(struct shell *shell, const char *text, int *ret_status)
{
	const struct console_command *command;
	char *line;
	size_t end;

	text += strspn(text, " \t");
	command = command_of(text, strcspn(text, ", \t\r\n"));
	if (!command)
		return false;
	line = strdup(text + strlen(command->name));
	if (!line)
		return false;
	end = strcspn(line, "\r\n");
	while (command->fields == 0 && end > 0 && strchr(" \t", line[end - 1]))
		end--;
	line[end] = '\0';
	*ret_status = command_do(shell, command, line);
	free(line);
	return true;
}

void console_help(FILE *out)
{
	fputs("\nThe console also takes\n", out);
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		char shown[64];

		snprintf(shown, sizeof(shown), "%s%s%s", commands[i].name,
			 commands[i].fields ? "," : "", commands[i].synopsis);
		fprintf(out, "  %-26s %s\n", shown, commands[i].help);
	}
}

pid_t console_begin(void)
{
	pid_t parent = getppid();

	signal(SIGTSTP, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGHUP);
	return parent;
}

bool console_is_orphan(pid_t parent)
{
	return getppid() != parent;
}
