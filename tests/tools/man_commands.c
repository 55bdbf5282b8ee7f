/* Prints a manual page with its COMMANDS section renewed from the tables of the shell: what stands
 * between the lines of markers. `man_commands docs/man/muster.1` */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"

enum { LINE_MAX = 4096 };

static const char begin_mark[] = ".\\\" begin commands (make man)\n";
static const char end_mark[] = ".\\\" end commands\n";

enum option {
#define COMMAND_OPTION(name, letter, word, meta, help) OPTION_##name,
#include "command_options.def"
#undef COMMAND_OPTION
	OPTIONS
};

enum {
#define COMMAND_OPTION(name, letter, word, meta, help) name = 1 << OPTION_##name,
#include "command_options.def"
#undef COMMAND_OPTION
	MANY = 0,
};

enum group { GROUP_FILES, GROUP_TREE, GROUP_STORE, GROUP_SHELL, GROUPS };

static const char *const group_titles[GROUPS] = {
	[GROUP_FILES] = "Files",
	[GROUP_TREE] = "Directories",
	[GROUP_STORE] = "The store",
	[GROUP_SHELL] = "The shell",
};

static const struct {
	char letter;
	const char *word;
	const char *meta;
	const char *help;
} options[] = {
#define COMMAND_OPTION(name, letter, word, meta, help) { letter, word, meta, help },
#include "command_options.def"
#undef COMMAND_OPTION
};

struct command {
	const char *name;
	const char *aliases;
	enum group group;
	unsigned int options;
	const char *synopsis;
	const char *summary;
	const char *text;
};

static const struct command commands[] = {
#define COMMAND(name, aliases, handler, group, mask, min, max, places, synopsis, summary, text, \
		examples)                                                                       \
	{ name, aliases, GROUP_##group, mask, synopsis, summary, text },
#include "commands.def"
#undef COMMAND
};

/* ---- mdoc ---- */

static void text_byte(char byte)
{
	if (byte == '\\')
		fputs("\\e", stdout);
	else
		putchar(byte);
}

/* A line of running text. At its start a dot or an apostrophe would be a request. */
static void text_line(const char *text, size_t size)
{
	if (size && (*text == '.' || *text == '\''))
		fputs("\\&", stdout);
	for (size_t i = 0; i < size; i++) {
		/* A sentence begins on a line of its own. */
		bool ends = i > 0 && i + 1 < size && text[i] == ' ' && text[i - 1] == '.';

		text_byte(ends ? '\n' : text[i]);
	}
	putchar('\n');
}

static void text_lines(const char *text)
{
	while (*text) {
		size_t size = strcspn(text, "\n");

		text_line(text, size);
		text += size;
		text += *text == '\n';
	}
}

/* One word of a synopsis: -f, --range, LOCAL, OFFSET:LENGTH, ls. */
static void word_print(const char *word, size_t size)
{
	bool name = isupper((unsigned char)*word);

	if (*word == '-' && size > 1) {
		printf(" Fl %.*s", (int)size - 1, word + 1);
		return;
	}
	fputs(name ? " Ar " : " Cm ", stdout);
	for (size_t i = 0; i < size; i++)
		putchar(name ? tolower((unsigned char)word[i]) : word[i]);
}

static void synopsis_print(const char *text)
{
	static const char dots[] = "…";

	while (*text) {
		size_t size = strcspn(text, " []|\xe2");

		if (size > 0)
			word_print(text, size);
		text += size;
		size = 1;
		if (*text == '[')
			fputs(" Oo", stdout);
		else if (*text == ']')
			fputs(" Oc", stdout);
		else if (*text == '|')
			fputs(" |", stdout);
		if (strncmp(text, dots, sizeof(dots) - 1) == 0) {
			fputs(" ...", stdout);
			size = sizeof(dots) - 1;
		}
		text += *text ? size : 0;
	}
}

static void option_print(unsigned int i)
{
	fputs(".It", stdout);
	if (options[i].letter)
		printf(" Fl %c ,", options[i].letter);
	printf(" Fl -%s", options[i].word);
	if (options[i].meta)
		word_print(options[i].meta, strlen(options[i].meta));
	putchar('\n');
	printf("%c", toupper((unsigned char)options[i].help[0]));
	text_line(options[i].help + 1, strlen(options[i].help + 1));
}

static void options_print(const struct command *command)
{
	puts(".Bl -tag -width Ds -compact");
	for (unsigned int i = 0; i < OPTIONS; i++) {
		if (command->options & 1u << i)
			option_print(i);
	}
	puts(".El");
}

static void command_print(const struct command *command)
{
	printf(".It Ic %s", command->name);
	synopsis_print(command->synopsis);
	printf("\n%c%s.\n", toupper((unsigned char)command->summary[0]), command->summary + 1);
	text_lines(command->text);
	if (*command->aliases)
		printf("Also\n.Ic \\&%s .\n", command->aliases);
	if (command->options)
		options_print(command);
}

static void commands_print(void)
{
	for (unsigned int group = 0; group < GROUPS; group++) {
		printf(".Ss %s\n.Bl -tag -width Ds\n", group_titles[group]);
		for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
			if (commands[i].group == group)
				command_print(&commands[i]);
		}
		puts(".El");
	}
}

/* Copies the page, what stands between the marks replaced. 0: both marks were there. */
static int page_print(FILE *page)
{
	char line[LINE_MAX];
	bool inside = false;
	int marks = 0;

	while (fgets(line, sizeof(line), page)) {
		if (strcmp(line, end_mark) == 0 && inside) {
			inside = false;
			marks++;
		}
		if (!inside)
			fputs(line, stdout);
		if (strcmp(line, begin_mark) == 0) {
			inside = true;
			marks++;
			commands_print();
		}
	}
	return marks == 2 ? 0 : -1;
}

int main(int argc, char **argv)
{
	FILE *page = argc == 2 ? fopen(argv[1], "r") : NULL;
	int rc;

	if (!page) {
		fputs("usage: man_commands PAGE\n", stderr);
		return 2;
	}
	rc = page_print(page);
	fclose(page);
	if (rc < 0)
		fputs("man_commands: the page lacks a mark\n", stderr);
	return rc < 0 || fflush(stdout) != 0 ? 1 : 0;
}
