/* Options from one table: command line, environment twin, settings file, --help and man page.
 *
 * Each program keeps its table in options.def, rows OPTION(name, KIND, field, default, meta, help):
 *   name     "beacon-port": --beacon-port, MUSTER_BEACON_PORT, `beacon-port = …`
 *   KIND     FLAG bool | NUMBER uint64_t | PORT uint16_t | SIZE uint64_t | DURATION uint64_t ms |
 *            TEXT const char * | LIST struct option_list (repeatable) | PORTS struct port_range
 *   field    member of the program's settings struct
 *   default  as text, or NULL
 * A flag wins over the environment, that over the settings file, that over the default. */
#ifndef MUSTER_BASE_OPTIONS_H
#define MUSTER_BASE_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { OPTION_LIST_MAX = 16, OPTION_ROWS_MAX = 64 };

struct option_list {
	const char *items[OPTION_LIST_MAX];
	unsigned int count;
};

struct port_range {
	uint16_t first, last;
};

enum option_kind {
	OPTION_FLAG,
	OPTION_NUMBER,
	OPTION_PORT,
	OPTION_SIZE,
	OPTION_DURATION,
	OPTION_TEXT,
	OPTION_LIST,
	OPTION_PORTS,
};

struct option_row {
	const char *name;
	char letter; /* short form, or 0 */
	enum option_kind kind;
	size_t offset; /* of the member in the settings struct */
	const char *preset;
	const char *meta; /* what --help calls the value */
	const char *help;
};

/* A row for a member of `settings_`, from what options.def says of it. */
#define OPTION_ROW(settings_, name_, letter_, kind_, field_, preset_, meta_, help_)          \
	{                                                                                    \
		.name = (name_), .letter = (letter_), .kind = OPTION_##kind_,                \
		.offset = offsetof(settings_, field_), .preset = (preset_), .meta = (meta_), \
		.help = (help_),                                                             \
	}

struct option_table {
	const char *program;
	const char *synopsis; /* after the program's name */
	const char *about;
	const struct option_row *rows;
	unsigned int count;
};

/* Fills `settings` from argv (without argv[0]), the environment, the settings file (NULL: none; a
 * missing one is no error) and the defaults; a member that none of them sets is zeroed. Takes argv
 * up to the first word that is no option, or "--", and returns the index in argv of the word after
 * the options. A flag is `--name`, `--name=VALUE` (yes no true false on off 1 0), `-l` or `-abc`;
 * else `--name VALUE`, `--name=VALUE`, `-l VALUE`, `-lVALUE`. Lists are repeated, or split at
 * commas; a stronger source replaces a list as a whole. Empty environment variables count as unset.
 * On error -ERR_USAGE (or why the file cannot be read), with one line in `message`. `--help`, `-h`
 * and `--version` are left to the caller: -ERR_END with the message "help" or "version".
 * Strings borrow from argv, the environment or memory that lives as long as the process. */
int options_parse(const struct option_table *table, void *settings, const char *file,
		  char *const argv[], char message[256]);
void options_help(const struct option_table *table, FILE *out);

/* Where a daemon keeps its data unless told otherwise: /var/lib/muster/ROLE for root, else
 * ~/.local/share/muster/ROLE. -ERR_USAGE with a line in `message`: there is no usable HOME. */
int data_default(const char *role, char *ret, size_t size, char message[256]);

#endif
