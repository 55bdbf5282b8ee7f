/* What commands print: tables and JSON. */
#ifndef MUSTER_SHELL_OUTPUT_H
#define MUSTER_SHELL_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <cJSON.h>

#include "buffer.h"
#include "text.h"

enum tone { TONE_PLAIN, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_NAME };

/* Columns of a terminal; 0 where it is none. */
unsigned int terminal_width(int fd);
/* Columns that a text takes up. */
unsigned int text_columns(const char *text, size_t size);
/* What stands between "\033[" and "m" for it. */
const char *tone_code(enum tone tone);
/* `text` in a colour, or plainly. */
void tone_print(FILE *out, enum tone tone, const char *text);
void tone_begin(FILE *out, enum tone tone); /* until tone_end */
void tone_end(FILE *out, enum tone tone);
/* A name, escaped; returns the columns it took. */
unsigned int name_print(FILE *out, const char *name);
unsigned int name_width(const char *name); /* columns that it would take */
/* What somebody else has put together, in which names are escaped already. */
void words_print(FILE *out, const char *text);
const char *plural(uint64_t count); /* "s" or "" */
/* "1 byte", "11 bytes", "2.9 MiB": as part of a sentence. */
const char *bytes_format(uint64_t bytes, char ret[SIZE_TEXT_MAX]);

/* A table is collected, then printed with aligned columns. Cells are given row by row. */
struct table_column {
	const char *title;
	bool right;
	bool optional; /* left out, the rightmost first, where the terminal is too narrow */
};

enum { TABLE_COLUMNS_MAX = 12 };

struct table {
	const struct table_column *columns;
	unsigned int count;
	struct table_cell *cells;
	unsigned int used;
	unsigned int room;
	bool failed; /* out of memory */
};

void table_init(struct table *table, const struct table_column *columns, unsigned int count);
__attribute__((format(printf, 3, 4))) void table_cell(struct table *table, enum tone tone,
						      const char *format, ...);
/* `width` 0: as wide as it gets. Frees the table. */
void table_print(struct table *table, FILE *out, unsigned int width, bool colour);

/* JSON. Names may hold bytes that are no UTF-8: those become \udcXX, as Python's surrogateescape
 * has it, so that nothing is lost. */
void json_text(cJSON *object, const char *key, const char *text);
void json_number(cJSON *object, const char *key, uint64_t number);
void json_null(cJSON *object, const char *key);
/* One line. Frees the object; NULL, or memory that ran out: -ERR_NO_MEMORY. */
int json_print(FILE *out, cJSON *object);
/* The same without the line's end. */
int json_write(FILE *out, cJSON *object);
/* Ends a line with an object that was begun by hand: its other members, at least one. */
int json_finish(FILE *out, cJSON *rest);

#endif
