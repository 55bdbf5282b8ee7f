/* A line as a shell reads it, and remote paths as users type them. Pure. */
#ifndef MUSTER_SHELL_LINE_H
#define MUSTER_SHELL_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

/* The words of one line. Quoting as in sh: 'all is literal', "\\ and \" are special", \any other
 * byte. # begins a comment where a word could begin. */
struct line {
	char **words; /* NULL-terminated; line_done() frees */
	/* Each word as a pattern, in which a backslash stands before what was quoted; NULL where
	 * nothing unquoted makes it one. */
	char **patterns;
	unsigned int count;
	char *memory;
};

/* 0; -ERR_USAGE: a quote is not closed; -ERR_NO_MEMORY. */
int line_split(const char *text, struct line *ret);
void line_done(struct line *line);

/* Whether a * ? or [ stands in it without a backslash. */
bool pattern_is(const char *text);

/* The word that the cursor stands in, for completion: up to `size` bytes of `text`. */
struct line_word {
	size_t start;       /* where it begins in the text, its quote included */
	unsigned int index; /* how many words stand before it */
	char quote;         /* ' or " if it is open at the cursor, else 0 */
	struct buffer text; /* what it means, not terminated; buffer_done() */
};
int line_word_at(const char *text, size_t size, struct line_word *ret);

/* Appends a name so that line_split() gives it back as part of a word. `quote` is the one that is
 * open, or 0: then special bytes get a backslash. */
int line_quote(struct buffer *buffer, const char *text, size_t size, char quote);

enum { REMOTE_PATH_MAX = 4097 };

/* Joins `text` to `directory`, which is absolute, and resolves "." ".." and doubled slashes.
 * -ERR_BAD_NAME: ".." at the root; -ERR_NAME_TOO_LONG. `text` may be `ret`. */
int remote_resolve(const char *directory, const char *text, char ret[REMOTE_PATH_MAX]);
/* "/a" and "b" -> "/a/b". -ERR_NAME_TOO_LONG. */
int remote_join(const char *directory, const char *name, char ret[REMOTE_PATH_MAX]);
/* The last component; "" for the root. */
const char *remote_name(const char *path);

#endif
