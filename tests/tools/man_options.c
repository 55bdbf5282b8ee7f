/* Prints a manual page with its options renewed from the table of its program:
 * `man_options muster-storage docs/man/muster-storage.8`. Two places are renewed, each between a
 * line of its begin mark and a line of its end mark: the synopsis and the list of options. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"

enum { LINE_MAX = 4096 };

struct option {
	const char *name;
	char letter;
	const char *kind;
	const char *preset;
	const char *meta;
	const char *help;
};

#define OPTION(name, kind, field, preset, meta, help) { name, 0, #kind, preset, meta, help },
static const struct option nameserver_options[] = {
#include "../../nameserver/daemon/options.def"
};

#define OPTION(name, kind, field, preset, meta, help) { name, 0, #kind, preset, meta, help },
static const struct option storage_options[] = {
#include "../../storage/daemon/options.def"
};

#define OPTION(name, kind, field, preset, meta, help) { name, 0, #kind, preset, meta, help },
static const struct option conformance_options[] = {
#include "../conformance/options.def"
};

#define OPTION(name, letter, kind, field, preset, meta, help) \
	{ name, letter, #kind, preset, meta, help },
static const struct option muster_options[] = {
#include "../../client/shell/options.def"
};

static const struct program {
	const char *name;
	const struct option *options;
	size_t count;
} programs[] = {
	{ "muster", muster_options, ARRAY_SIZE(muster_options) },
	{ "muster-nameserver", nameserver_options, ARRAY_SIZE(nameserver_options) },
	{ "muster-storage", storage_options, ARRAY_SIZE(storage_options) },
	{ "muster-conformance", conformance_options, ARRAY_SIZE(conformance_options) },
};

static const struct program *program_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		if (strcmp(programs[i].name, name) == 0)
			return &programs[i];
	}
	return NULL;
}

/* ---- mdoc ---- */

/* HOST[:PORT] becomes "Ar host Ns Oo \&: Ns Ar port Oc". */
static void meta_print(const char *meta)
{
	const char *join = "";

	while (*meta) {
		if (isalpha((unsigned char)*meta)) {
			printf("%s Ar ", join);
			while (isalpha((unsigned char)*meta))
				putchar(tolower((unsigned char)*meta++));
			join = " Ns";
			continue;
		}
		switch (*meta) {
		case '[': fputs(" Ns Oo", stdout); break;
		case ']': fputs(" Oc", stdout); break;
		case '|': fputs(" |", stdout); break;
		default: printf("%s \\&%c", meta[-1] == '[' ? "" : " Ns", *meta); break;
		}
		join = *meta == '|' ? "" : " Ns";
		meta++;
	}
}

static void synopsis_print(const struct program *program)
{
	for (size_t i = 0; i < program->count; i++) {
		const struct option *option = &program->options[i];

		if (option->letter)
			printf(".Op Fl %c", option->letter);
		else
			printf(".Op Fl -%s", option->name);
		if (option->meta)
			meta_print(option->meta);
		putchar('\n');
	}
}

static void option_print(const struct option *option)
{
	fputs(".It", stdout);
	if (option->letter)
		printf(" Fl %c ,", option->letter);
	printf(" Fl -%s", option->name);
	if (option->meta)
		meta_print(option->meta);
	printf("\n%c%s", toupper((unsigned char)option->help[0]), option->help + 1);
	if (strcmp(option->kind, "LIST") == 0)
		fputs("; may be repeated", stdout);
	if (option->preset)
		printf("; %s by default", option->preset);
	puts(".");
}

static void options_print(const struct program *program)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < program->count; i++)
		option_print(&program->options[i]);
	puts(".It Fl h , Fl -help\nWhat the options are, in short.\n"
	     ".It Fl -version\nThe version.\n.El");
}

/* ---- the page ---- */

static const struct section {
	const char *begin, *end;
	void (*print)(const struct program *program);
} sections[] = {
	{ ".\\\" begin synopsis\n", ".\\\" end synopsis\n", synopsis_print },
	{ ".\\\" begin options\n", ".\\\" end options\n", options_print },
};

/* Copies the page, what stands between marks replaced. 0: all marks were there. */
static int page_print(FILE *page, const struct program *program)
{
	const struct section *inside = NULL;
	char line[LINE_MAX];
	unsigned int renewed = 0;

	while (fgets(line, sizeof(line), page)) {
		if (inside && strcmp(line, inside->end) == 0) {
			inside = NULL;
			renewed++;
		}
		if (inside)
			continue;
		fputs(line, stdout);
		for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
			if (strcmp(line, sections[i].begin) != 0)
				continue;
			inside = &sections[i];
			inside->print(program);
		}
	}
	return renewed == ARRAY_SIZE(sections) ? 0 : -1;
}

int main(int argc, char **argv)
{
	const struct program *program = argc == 3 ? program_find(argv[1]) : NULL;
	FILE *page = program ? fopen(argv[2], "r") : NULL;
	int rc;

	if (!page) {
		fputs("usage: man_options PROGRAM PAGE\n", stderr);
		return 2;
	}
	rc = page_print(page, program);
	fclose(page);
	if (rc < 0)
		fputs("man_options: the page lacks a mark\n", stderr);
	return rc < 0 || fflush(stdout) != 0 ? 1 : 0;
}
