#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "error.h"
#include "fold.h"
#include "patterns.h"

enum {
#define COMMAND_OPTION(name, letter, word, meta, help) name = 1 << CALL_##name,
#include "command_options.def"
#undef COMMAND_OPTION
	MANY = 1 << 30,
};

struct option_info {
	char letter;
	const char *word;
	const char *meta; /* NULL: a flag */
	const char *help;
};

static const struct option_info options[] = {
#define COMMAND_OPTION(name, letter, word, meta, help) { letter, word, meta, help },
#include "command_options.def"
#undef COMMAND_OPTION
};

static const struct command commands[] = {
#define COMMAND(name, aliases, handler, group, mask, min, max, places, synopsis, summary, text, \
		examples)                                                                       \
	{ name, aliases,         handler,  GROUP_##group, mask, min,                            \
	  max,  PLACES_##places, synopsis, summary,       text, examples },
#include "commands.def"
#undef COMMAND
};

static bool alias_is(const char *aliases, const char *name)
{
	size_t size = strlen(name);

	while (*aliases) {
		size_t word = strcspn(aliases, " ");

		if (word == size && memcmp(aliases, name, size) == 0)
			return true;
		aliases += word;
		aliases += strspn(aliases, " ");
	}
	return false;
}

const struct command *command_find(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0 || alias_is(commands[i].aliases, name))
			return &commands[i];
	}
	return NULL;
}

const struct command *command_at(unsigned int position)
{
	return position < ARRAY_SIZE(commands) ? &commands[position] : NULL;
}

static int option_of_letter(const struct command *command, char letter)
{
	for (int i = 0; i < CALL_OPTIONS; i++) {
		if (letter && options[i].letter == letter && command->options & 1u << i)
			return i;
	}
	return -1;
}

static int option_of_word(const struct command *command, const char *word, size_t size)
{
	for (int i = 0; i < CALL_OPTIONS; i++) {
		if (strlen(options[i].word) == size && memcmp(options[i].word, word, size) == 0 &&
		    command->options & 1u << i)
			return i;
	}
	return -1;
}

/* Returns how many words it took, or -STATUS_USAGE. */
static int word_option(struct call *call, char **words)
{
	const char *word = words[0] + 2;
	const char *value = strchr(word, '=');
	size_t size = value ? (size_t)(value - word) : strlen(word);
	int option = option_of_word(call->command, word, size);

	if (option < 0)
		return -call_usage(call, "unknown option %s", words[0]);
	if (!options[option].meta && value)
		return -call_usage(call, "--%s takes no value", options[option].word);
	if (options[option].meta && !value && !words[1])
		return -call_usage(call, "--%s wants %s", options[option].word,
				   options[option].meta);
	call->options[option] = value ? value + 1 : options[option].meta ? words[1] : "";
	return options[option].meta && !value ? 2 : 1;
}

static int letter_options(struct call *call, char **words)
{
	for (const char *at = words[0] + 1; *at; at++) {
		int option = option_of_letter(call->command, *at);
		const char *value = "";

		if (option < 0)
			return -call_usage(call, "unknown option -%c", *at);
		if (options[option].meta)
			value = at[1] ? at + 1 : words[1];
		if (!value)
			return -call_usage(call, "-%c wants %s", *at, options[option].meta);
		call->options[option] = value;
		if (options[option].meta)
			return at[1] ? 1 : 2;
	}
	return 1;
}

/* What is given to a command, before it is told apart. */
struct words {
	char **texts; /* NULL-terminated */
	char **patterns;
};

static void argument_take(struct call *call, const struct words *words, unsigned int i)
{
	call->arguments[call->count] = words->texts[i];
	if (words->patterns)
		call->patterns[call->count] = words->patterns[i];
	call->count++;
}

/* Moves the arguments to the front of `words` and takes the options out. */
static int words_parse(struct call *call, const struct words *words)
{
	bool only_arguments = false;

	call->arguments = words->texts;
	call->patterns = words->patterns;
	for (unsigned int i = 0; words->texts[i];) {
		char **word = &words->texts[i];
		int used = 1;

		if (only_arguments || word[0][0] != '-' || !word[0][1]) {
			argument_take(call, words, i);
			only_arguments |= call->command->places == PLACES_TEXT;
		} else if (strcmp(*word, "--") == 0) {
			only_arguments = true;
		} else {
			used = word[0][1] == '-' ? word_option(call, word)
						 : letter_options(call, word);
		}
		if (used < 0)
			return -used;
		i += (unsigned int)used;
	}
	call->arguments[call->count] = NULL;
	return STATUS_DONE;
}

static int count_check(const struct call *call)
{
	const struct command *command = call->command;

	if (command->max == 0 && call->count > 0)
		return call_usage(call, "takes no arguments");
	if (call->count > command->max)
		return call_usage(call, "takes at most %u argument%s", command->max,
				  plural(command->max));
	if (call->count < command->min)
		return call_usage(call, "wants %s%u argument%s",
				  command->max > command->min ? "at least " : "", command->min,
				  plural(command->min));
	return STATUS_DONE;
}

static int call_run(struct call *call, const struct words *words)
{
	struct expansion expansion = { 0 };
	int status = words_parse(call, words);

	call_begin(call);
	if (status == STATUS_DONE)
		status = count_check(call);
	if (status == STATUS_DONE)
		status = call_expand(call, &expansion);
	if (status == STATUS_DONE)
		status = count_check(call);
	if (status == STATUS_DONE)
		status = call->command->handler(call);
	expansion_done(&expansion);
	call_end(call, status);
	shell_missed_remember(call->shell);
	return status;
}

static bool asks_help(char *const *words)
{
	for (; *words && strcmp(*words, "--") != 0; words++) {
		if (strcmp(*words, "--help") == 0)
			return true;
	}
	return false;
}

/* `name` and what follows it. */
static int command_call(struct shell *shell, const char *name, const struct words *words)
{
	struct call call = { .shell = shell, .command = command_find(name) };

	if (!call.command)
		return call_usage(&call, "no such command: %s", name);
	if (!asks_help(words->texts))
		return call_run(&call, words);
	command_help_print(stdout, call.command);
	return STATUS_DONE;
}

int command_run(struct shell *shell, char **words)
{
	return command_call(shell, words[0], &(struct words){ .texts = words + 1 });
}

int command_run_line(struct shell *shell, const struct line *line)
{
	struct words words = { .texts = line->words + 1, .patterns = line->patterns + 1 };

	return command_call(shell, line->words[0], &words);
}

void commands_help(FILE *out)
{
	static const char *const titles[] = {
		[GROUP_FILES] = "Files",
		[GROUP_TREE] = "Directories",
		[GROUP_STORE] = "The store",
		[GROUP_SHELL] = "The shell",
	};

	for (unsigned int group = 0; group < ARRAY_SIZE(titles); group++) {
		fprintf(out, "%s%s\n", group ? "\n" : "", titles[group]);
		for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
			if (commands[i].group == group)
				fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
		}
	}
	fputs("\n`help COMMAND` says more.\n", out);
}

static void lines_print(FILE *out, const char *lines)
{
	while (*lines) {
		size_t size = strcspn(lines, "\n");

		fprintf(out, "  %.*s\n", (int)size, lines);
		lines += size;
		lines += *lines == '\n';
	}
}

static void option_help(FILE *out, const struct option_info *option)
{
	struct fold fold = { .out = out, .indent = 31, .width = FOLD_HELP_WIDTH };
	char names[64];

	if (option->letter)
		snprintf(names, sizeof(names), "-%c, --%s %s", option->letter, option->word,
			 option->meta ? option->meta : "");
	else
		snprintf(names, sizeof(names), "    --%s %s", option->word,
			 option->meta ? option->meta : "");
	fprintf(out, "  %-28s ", names);
	fold_text(&fold, option->help);
	fold_end(&fold);
}

static void usage_help(FILE *out, const struct command *command)
{
	struct fold fold = { .out = out, .width = FOLD_HELP_WIDTH };

	fold.indent = (unsigned int)fprintf(out, "usage: %s", command->name);
	if (*command->synopsis)
		fold.indent += (unsigned int)fprintf(out, " ");
	fold_text(&fold, command->synopsis);
	fold_end(&fold);
}

void command_help_print(FILE *out, const struct command *command)
{
	struct fold fold = { .out = out, .width = FOLD_HELP_WIDTH };

	usage_help(out, command);
	fprintf(out, "\n%s", command->summary);
	if (*command->aliases)
		fprintf(out, " (also: %s)", command->aliases);
	fputs("\n", out);
	fold_text(&fold, command->text);
	if (*command->text)
		fold_end(&fold);
	if (command->options)
		fputs("\n", out);
	for (int i = 0; i < CALL_OPTIONS; i++) {
		if (command->options & 1u << i)
			option_help(out, &options[i]);
	}
	fputs("\nexamples\n", out);
	lines_print(out, command->examples);
}
