#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "line.h"

/* A reader that takes one byte at a time. */
struct scanner {
	char quote;   /* ' or " while open */
	bool escaped; /* the byte before was a backslash */
	bool word;    /* inside a word */
	bool comment;
};

/* ESCAPED: quoted, and so is the backslash before it, which stood for itself. */
enum scan { SCAN_NOTHING, SCAN_BYTE, SCAN_QUOTED, SCAN_ESCAPED, SCAN_END };

static bool blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* In double quotes a backslash only quotes these; before others it stands for itself. */
static bool special_in_quotes(char byte)
{
	return byte == '"' || byte == '\\' || byte == '$' || byte == '`';
}

static enum scan scan_plain(struct scanner *scanner, char byte)
{
	if (blank(byte)) {
		bool ended = scanner->word;

		scanner->word = false;
		return ended ? SCAN_END : SCAN_NOTHING;
	}
	if (byte == '#' && !scanner->word) {
		scanner->comment = true;
		return SCAN_NOTHING;
	}
	scanner->word = true;
	if (byte == '\'' || byte == '"') {
		scanner->quote = byte;
		return SCAN_NOTHING;
	}
	if (byte == '\\') {
		scanner->escaped = true;
		return SCAN_NOTHING;
	}
	return SCAN_BYTE;
}

static enum scan scan(struct scanner *scanner, char byte)
{
	if (scanner->comment)
		return SCAN_NOTHING;
	if (scanner->escaped) {
		scanner->escaped = false;
		return scanner->quote && !special_in_quotes(byte) ? SCAN_ESCAPED : SCAN_QUOTED;
	}
	if (!scanner->quote)
		return scan_plain(scanner, byte);
	if (byte == scanner->quote) {
		scanner->quote = 0;
		return SCAN_NOTHING;
	}
	if (scanner->quote == '"' && byte == '\\') {
		scanner->escaped = true;
		return SCAN_NOTHING;
	}
	return SCAN_QUOTED;
}

bool pattern_is(const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' && text[1])
			text++;
		else if (*text == '*' || *text == '?' || *text == '[')
			return true;
	}
	return false;
}

/* `patterns`: as many texts as there are words. */
static int words_point(struct line *ret, char *patterns)
{
	char *at = ret->memory;

	ret->words = calloc(ret->count + 1, sizeof(*ret->words));
	ret->patterns = calloc(ret->count + 1, sizeof(*ret->patterns));
	if (!ret->words || !ret->patterns)
		return -ERR_NO_MEMORY;
	for (unsigned int i = 0; i < ret->count; i++) {
		ret->words[i] = at;
		ret->patterns[i] = pattern_is(patterns) ? patterns : NULL;
		at += strlen(at) + 1;
		patterns += strlen(patterns) + 1;
	}
	return 0;
}

/* Adds what one byte of the line makes to a word and to its pattern. */
static void byte_add(enum scan found, char byte, char **word, char **pattern)
{
	if (found == SCAN_ESCAPED) {
		*(*word)++ = '\\';
		*(*pattern)++ = '\\';
		*(*pattern)++ = '\\';
	}
	/* A slash is never part of a pattern. */
	if ((found == SCAN_QUOTED || found == SCAN_ESCAPED) && byte != '/')
		*(*pattern)++ = '\\';
	if (found != SCAN_NOTHING) {
		*(*word)++ = found == SCAN_END ? '\0' : byte;
		*(*pattern)++ = found == SCAN_END ? '\0' : byte;
	}
}

int line_split(const char *text, struct line *ret)
{
	struct scanner scanner = { 0 };
	size_t room = strlen(text) + 2;
	char *word, *patterns, *pattern;
	int rc;

	memset(ret, 0, sizeof(*ret));
	/* No byte makes more than itself, and twice that in a pattern; each word ends in one more
	 * than its blank. */
	ret->memory = malloc(3 * room);
	if (!ret->memory)
		return -ERR_NO_MEMORY;
	word = ret->memory;
	patterns = pattern = ret->memory + room;
	/* The line's end is no part of it: nothing can quote it. */
	for (; *text && strcmp(text, "\n") != 0; text++) {
		enum scan found = scan(&scanner, *text);

		byte_add(found, *text, &word, &pattern);
		ret->count += found == SCAN_END;
	}
	ret->count += scanner.word;
	*word = *pattern = '\0';
	rc = scanner.quote || scanner.escaped ? -ERR_USAGE : words_point(ret, patterns);
	if (rc < 0)
		line_done(ret);
	return rc;
}

void line_done(struct line *line)
{
	free(line->words);
	free(line->patterns);
	free(line->memory);
	memset(line, 0, sizeof(*line));
}

int line_word_at(const char *text, size_t size, struct line_word *ret)
{
	struct scanner scanner = { 0 };

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < size; i++) {
		bool before = scanner.word;
		enum scan found = scan(&scanner, text[i]);

		if (!before && scanner.word) {
			ret->start = i;
			buffer_clear(&ret->text);
		}
		if (found == SCAN_ESCAPED)
			buffer_append(&ret->text, "\\", 1);
		if (found == SCAN_BYTE || found == SCAN_QUOTED || found == SCAN_ESCAPED)
			buffer_append(&ret->text, text + i, 1);
		if (found == SCAN_END)
			ret->index++;
	}
	if (!scanner.word) {
		ret->start = size;
		buffer_clear(&ret->text);
	}
	ret->quote = scanner.quote;
	return ret->text.error;
}

int line_quote(struct buffer *buffer, const char *text, size_t size, char quote)
{
	static const char plain[] = " \t\r\n'\"\\#$`;&|<>()*?[]{}~!";

	for (size_t i = 0; i < size; i++) {
		if (quote == '\'' && text[i] == '\'')
			buffer_append(buffer, "'\\'", 3);
		else if (quote == '"' && special_in_quotes(text[i]))
			buffer_append(buffer, "\\", 1);
		else if (!quote && strchr(plain, text[i]) && text[i])
			buffer_append(buffer, "\\", 1);
		buffer_append(buffer, text + i, 1);
	}
	return buffer->error;
}

/* Appends one component to the path of `used` bytes; returns the new size. */
static int component_add(char *path, size_t used, const char *name, size_t size)
{
	if (size == 0 || (size == 1 && name[0] == '.'))
		return (int)used;
	if (size == 2 && name[0] == '.' && name[1] == '.') {
		if (used == 0)
			return -ERR_BAD_NAME;
		while (path[--used] != '/')
			;
		return (int)used;
	}
	if (used + 1 + size >= REMOTE_PATH_MAX)
		return -ERR_NAME_TOO_LONG;
	path[used] = '/';
	memcpy(path + used + 1, name, size);
	return (int)(used + 1 + size);
}

static int components_add(char *path, size_t used, const char *text)
{
	int rc = (int)used;

	while (*text && rc >= 0) {
		size_t size = strcspn(text, "/");

		rc = component_add(path, (size_t)rc, text, size);
		text += size;
		text += *text == '/';
	}
	return rc;
}

int remote_resolve(const char *directory, const char *text, char ret[REMOTE_PATH_MAX])
{
	char path[REMOTE_PATH_MAX];
	int size = 0;

	if (*text != '/')
		size = components_add(path, 0, directory);
	if (size >= 0)
		size = components_add(path, (size_t)size, text);
	if (size < 0)
		return size;
	if (size == 0)
		path[size++] = '/';
	memcpy(ret, path, (size_t)size);
	ret[size] = '\0';
	return 0;
}

int remote_join(const char *directory, const char *name, char ret[REMOTE_PATH_MAX])
{
	size_t front = strcmp(directory, "/") == 0 ? 0 : strlen(directory);
	size_t size = strlen(name);

	if (front + 1 + size >= REMOTE_PATH_MAX)
		return -ERR_NAME_TOO_LONG;
	memmove(ret, directory, front);
	ret[front] = '/';
	memmove(ret + front + 1, name, size + 1);
	return 0;
}

const char *remote_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
