#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "fold.h"
#include "options.h"
#include "text.h"

enum {
	MESSAGE_SIZE = 256,
	NAME_MAX_SIZE = 64,
	FILE_SIZE_MAX = 64 * 1024, /* a settings file is written by hand */
	HELP_COLUMN = 34,
};

struct parser {
	const struct option_table *table;
	uint8_t *settings;
	char *message;
	uint64_t stronger; /* rows that a stronger source has set: bit i is row i */
	uint64_t current;  /* rows that this source has set */
};

/* Who says it, for messages: "--port", "MUSTER_PORT", "/etc/muster:3". */
struct origin {
	const char *name;
	unsigned int line; /* 0: none */
};

__attribute__((format(printf, 3, 4))) static int complain(struct parser *parser,
							  const struct origin *origin,
							  const char *format, ...)
{
	va_list args;
	int used = 0;

	if (origin && origin->line)
		used = snprintf(parser->message, MESSAGE_SIZE, "%s:%u: ", origin->name,
				origin->line);
	else if (origin)
		used = snprintf(parser->message, MESSAGE_SIZE, "%s: ", origin->name);
	if (used < MESSAGE_SIZE) {
		va_start(args, format);
		vsnprintf(parser->message + used, (size_t)(MESSAGE_SIZE - used), format, args);
		va_end(args);
	}
	return -ERR_USAGE;
}

static const struct option_row *row_find(const struct option_table *table, const char *name,
					 size_t size)
{
	for (unsigned int i = 0; i < table->count; i++) {
		const struct option_row *row = &table->rows[i];

		if (strlen(row->name) == size && memcmp(row->name, name, size) == 0)
			return row;
	}
	return NULL;
}

static const struct option_row *row_of_letter(const struct option_table *table, char letter)
{
	for (unsigned int i = 0; i < table->count; i++) {
		if (letter && table->rows[i].letter == letter)
			return &table->rows[i];
	}
	return NULL;
}

/* Memory that stays for as long as the process: settings are read once and nobody owns them. */
static char *memory_keep(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static int flag_parse(const char *text, bool *ret)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*ret = i & 1;
			return 0;
		}
	}
	return -ERR_USAGE;
}

static int list_add(struct option_list *list, const char *item)
{
	if (list->count == OPTION_LIST_MAX)
		return -ERR_TOO_LARGE;
	list->items[list->count++] = item;
	return 0;
}

static int list_split(struct option_list *list, const char *text)
{
	char *rest;
	int rc = 0;

	if (!strchr(text, ','))
		return list_add(list, text);
	rest = memory_keep(strlen(text) + 1);
	if (!rest)
		return -ERR_NO_MEMORY;
	memcpy(rest, text, strlen(text));
	while (rest && rc == 0) {
		char *item = strsep(&rest, ",");

		item += strspn(item, " ");
		if (*item)
			rc = list_add(list, item);
	}
	return rc;
}

static int port_parse(const char *text, uint16_t *ret)
{
	uint64_t port;
	int rc = number_parse(text, 0, UINT16_MAX, &port);

	if (rc == 0)
		*ret = (uint16_t)port;
	return rc;
}

static int ports_parse(const char *text, struct port_range *ret)
{
	return port_range_parse(text, &ret->first, &ret->last);
}

static int text_take(const char *text, const char **ret)
{
	*ret = text;
	return 0;
}

static int member_parse(enum option_kind kind, const char *text, void *member)
{
	switch (kind) {
	case OPTION_FLAG: return flag_parse(text, member);
	case OPTION_NUMBER: return number_parse(text, 0, UINT64_MAX, member);
	case OPTION_PORT: return port_parse(text, member);
	case OPTION_SIZE: return size_parse(text, member);
	case OPTION_DURATION: return duration_parse(text, member);
	case OPTION_TEXT: return text_take(text, member);
	case OPTION_LIST: return list_split(member, text);
	case OPTION_PORTS: return ports_parse(text, member);
	}
	return -ERR_USAGE;
}

static size_t member_size(enum option_kind kind)
{
	switch (kind) {
	case OPTION_FLAG: return sizeof(bool);
	case OPTION_PORT: return sizeof(uint16_t);
	case OPTION_TEXT: return sizeof(const char *);
	case OPTION_LIST: return sizeof(struct option_list);
	case OPTION_PORTS: return sizeof(struct port_range);
	case OPTION_NUMBER:
	case OPTION_SIZE:
	case OPTION_DURATION: break;
	}
	return sizeof(uint64_t);
}

static const char *kind_wants(enum option_kind kind)
{
	static const char *const wants[] = {
		[OPTION_FLAG] = "yes or no",
		[OPTION_NUMBER] = "a whole number",
		[OPTION_PORT] = "a port, 0 to 65535",
		[OPTION_SIZE] = "a size such as 512M or 1.5G",
		[OPTION_DURATION] = "a time such as 90, 5m or 2h",
		[OPTION_TEXT] = "a text",
		[OPTION_LIST] = "at most 16 words",
		[OPTION_PORTS] = "ports such as 3504-3600",
	};

	return wants[kind];
}

/* Of one that stands there without a value. */
static int value_lacks(struct parser *parser, const struct option_row *row,
		       const struct origin *origin)
{
	bool named = row->kind == OPTION_TEXT && row->meta;

	return complain(parser, origin, "wants %s", named ? row->meta : kind_wants(row->kind));
}

static int row_set(struct parser *parser, const struct option_row *row, const char *text,
		   const struct origin *origin)
{
	uint64_t bit = (uint64_t)1 << (row - parser->table->rows);
	uint8_t *member = parser->settings + row->offset;

	if (parser->stronger & bit)
		return 0;
	if (!(parser->current & bit))
		memset(member, 0, member_size(row->kind));
	parser->current |= bit;
	if (member_parse(row->kind, text, member) == 0)
		return 0;
	return complain(parser, origin, "wants %s, not '%s'", kind_wants(row->kind), text);
}

static void source_done(struct parser *parser)
{
	parser->stronger |= parser->current;
	parser->current = 0;
}

/* The two words that are no rows; a table may have rows of these names. */
static bool asks_program(struct parser *parser, const char *word)
{
	const char *answer = NULL;

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		answer = "help";
	else if (strcmp(word, "--version") == 0)
		answer = "version";
	if (answer)
		snprintf(parser->message, MESSAGE_SIZE, "%s", answer);
	return answer;
}

/* Returns how many words of argv it used. */
static int long_parse(struct parser *parser, char *const argv[])
{
	const char *word = argv[0] + 2;
	const char *value = strchr(word, '=');
	size_t size = value ? (size_t)(value - word) : strlen(word);
	const struct option_row *row = row_find(parser->table, word, size);
	char name[NAME_MAX_SIZE];
	struct origin origin = { .name = name };
	bool separate = false;
	int rc;

	if (!row && asks_program(parser, argv[0]))
		return -ERR_END;
	if (!row)
		return complain(parser, NULL, "unknown option %s", argv[0]);
	snprintf(name, sizeof(name), "--%s", row->name);
	if (value) {
		value++;
	} else if (row->kind == OPTION_FLAG) {
		value = "yes";
	} else {
		value = argv[1];
		separate = true;
	}
	if (!value)
		return value_lacks(parser, row, &origin);
	rc = row_set(parser, row, value, &origin);
	return rc < 0 ? rc : 1 + separate;
}

static int letters_parse(struct parser *parser, char *const argv[])
{
	for (const char *at = argv[0] + 1; *at; at++) {
		const struct option_row *row = row_of_letter(parser->table, *at);
		char name[] = { '-', *at, '\0' };
		struct origin origin = { .name = name };
		const char *value = "yes";
		int rc;

		if (!row && asks_program(parser, name))
			return -ERR_END;
		if (!row)
			return complain(parser, NULL, "unknown option %s", name);
		if (row->kind != OPTION_FLAG)
			value = at[1] ? at + 1 : argv[1];
		if (!value)
			return value_lacks(parser, row, &origin);
		rc = row_set(parser, row, value, &origin);
		if (rc < 0)
			return rc;
		if (row->kind != OPTION_FLAG)
			return at[1] ? 1 : 2;
	}
	return 1;
}

static int arguments_parse(struct parser *parser, char *const argv[])
{
	int at = argv[0] ? 1 : 0;

	while (argv[at] && argv[at][0] == '-' && argv[at][1]) {
		int used;

		if (strcmp(argv[at], "--") == 0)
			return at + 1;
		if (argv[at][1] == '-')
			used = long_parse(parser, argv + at);
		else
			used = letters_parse(parser, argv + at);
		if (used < 0)
			return used;
		at += used;
	}
	return at;
}

static const char *twin_name(const struct option_row *row, char ret[NAME_MAX_SIZE])
{
	snprintf(ret, NAME_MAX_SIZE, "MUSTER_%s", row->name);
	for (char *at = ret; *at; at++)
		*at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
	return ret;
}

static int environment_parse(struct parser *parser)
{
	for (unsigned int i = 0; i < parser->table->count; i++) {
		const struct option_row *row = &parser->table->rows[i];
		char name[NAME_MAX_SIZE];
		struct origin origin = { .name = twin_name(row, name) };
		const char *value = getenv(name);
		int rc;

		if (!value || !*value)
			continue;
		rc = row_set(parser, row, value, &origin);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static char *trim(char *text)
{
	char *end;

	text += strspn(text, " \t");
	end = text + strlen(text);
	while (end > text && strchr(" \t\r", end[-1]))
		end--;
	*end = '\0';
	return text;
}

static int line_parse(struct parser *parser, char *line, const struct origin *origin)
{
	const struct option_row *row;
	const char *name;
	char *value;

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	value = strchr(line, '=');
	if (value)
		*value++ = '\0';
	name = trim(line);
	row = row_find(parser->table, name, strlen(name));
	if (!row)
		return complain(parser, origin, "unknown setting '%s'", name);
	if (!value && row->kind != OPTION_FLAG)
		return complain(parser, origin, "%s wants %s", name, kind_wants(row->kind));
	return row_set(parser, row, value ? trim(value) : "yes", origin);
}

static int descriptor_read(int fd, char **ret)
{
	struct stat st;
	size_t used = 0;
	ssize_t got;

	if (fstat(fd, &st) < 0)
		return error_from_errno(errno);
	if (st.st_size > FILE_SIZE_MAX)
		return -ERR_TOO_LARGE;
	*ret = memory_keep((size_t)st.st_size + 1);
	if (!*ret)
		return -ERR_NO_MEMORY;
	while (used < (size_t)st.st_size) {
		got = read(fd, *ret + used, (size_t)st.st_size - used);
		if (got < 0)
			return error_from_errno(errno);
		if (got == 0)
			break;
		used += (size_t)got;
	}
	return 0;
}

static int file_read(const char *file, char **ret)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return error_from_errno(errno);
	rc = descriptor_read(fd, ret);
	close(fd);
	return rc;
}

static int file_parse(struct parser *parser, const char *file)
{
	struct origin origin = { .name = file };
	char *text;
	int rc = file_read(file, &text);

	if (rc == -ERR_NOT_FOUND)
		return 0;
	if (rc < 0) {
		complain(parser, &origin, "%s", error_text(rc));
		return rc;
	}
	while (text && rc == 0) {
		origin.line++;
		rc = line_parse(parser, strsep(&text, "\n"), &origin);
	}
	return rc;
}

static int presets_parse(struct parser *parser)
{
	for (unsigned int i = 0; i < parser->table->count; i++) {
		const struct option_row *row = &parser->table->rows[i];
		struct origin origin = { .name = row->name };
		int rc = 0;

		if (row->preset)
			rc = row_set(parser, row, row->preset, &origin);
		else if (!(parser->stronger >> i & 1))
			memset(parser->settings + row->offset, 0, member_size(row->kind));
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The strongest source comes first, so that --help answers however broken the others are. */
int options_parse(const struct option_table *table, void *settings, const char *file,
		  char *const argv[], char message[MESSAGE_SIZE])
{
	struct parser parser = { .table = table, .settings = settings, .message = message };
	int words;
	int rc;

	assert(table->count <= OPTION_ROWS_MAX);
	message[0] = '\0';
	words = arguments_parse(&parser, argv);
	if (words < 0)
		return words;
	source_done(&parser);
	rc = environment_parse(&parser);
	source_done(&parser);
	if (rc == 0 && file)
		rc = file_parse(&parser, file);
	source_done(&parser);
	if (rc == 0)
		rc = presets_parse(&parser);
	return rc < 0 ? rc : words;
}

static void row_help(const struct option_row *row, FILE *out)
{
	struct fold fold = { .out = out, .indent = HELP_COLUMN, .width = FOLD_HELP_WIDTH };
	char preset[NAME_MAX_SIZE];
	int used = row->letter ? fprintf(out, "  -%c, --%s", row->letter, row->name)
			       : fprintf(out, "      --%s", row->name);

	if (row->kind != OPTION_FLAG)
		used += fprintf(out, " %s", row->meta ? row->meta : "VALUE");
	if (used + 2 > HELP_COLUMN) {
		fputc('\n', out);
		used = 0;
	}
	fprintf(out, "%*s", HELP_COLUMN - used, "");
	fold_text(&fold, row->help);
	if (row->preset && *row->preset && row->kind != OPTION_FLAG) {
		snprintf(preset, sizeof(preset), " (%s)", row->preset);
		fold_text(&fold, preset);
	}
	if (row->kind == OPTION_LIST)
		fold_text(&fold, "; may be repeated");
	fold_end(&fold);
}

static void twin_help(const struct option_row *row, FILE *out)
{
	struct fold fold = { .out = out, .width = FOLD_HELP_WIDTH };
	char twin[NAME_MAX_SIZE], text[2 * NAME_MAX_SIZE + 64];

	snprintf(text, sizeof(text), "Every option has an environment twin, such as %s for --%s.",
		 twin_name(row, twin), row->name);
	fputc('\n', out);
	fold_text(&fold, text);
	fold_end(&fold);
}

void options_help(const struct option_table *table, FILE *out)
{
	const struct option_row *example = NULL;

	fprintf(out, "usage: %s %s\n", table->program, table->synopsis ? table->synopsis : "");
	if (table->about)
		fprintf(out, "\n%s\n", table->about);
	fputc('\n', out);
	for (unsigned int i = 0; i < table->count; i++) {
		row_help(&table->rows[i], out);
		if (!example || strchr(table->rows[i].name, '-'))
			example = &table->rows[i];
	}
	if (!row_find(table, "help", 4))
		fprintf(out, "  -h, --help%*s%s\n", HELP_COLUMN - 12, "", "this text");
	if (!row_find(table, "version", 7))
		fprintf(out, "      --version%*s%s\n", HELP_COLUMN - 15, "", "the version");
	if (example)
		twin_help(example, out);
}

int data_default(const char *role, char *ret, size_t size, char message[256])
{
	const char *home = getenv("HOME");
	int length;

	if (geteuid() == 0) {
		length = snprintf(ret, size, "/var/lib/muster/%s", role);
	} else if (home && *home) {
		length = snprintf(ret, size, "%s/.local/share/muster/%s", home, role);
	} else {
		snprintf(message, 256, "there is no HOME: say where with --data DIR");
		return -ERR_USAGE;
	}
	if ((size_t)length < size)
		return 0;
	snprintf(message, 256, "HOME is too long: say where with --data DIR");
	return -ERR_USAGE;
}
