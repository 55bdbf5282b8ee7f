/* Names one per line, or on a terminal in columns that run downwards. */
#ifndef MUSTER_SHELL_NAME_COLUMNS_H
#define MUSTER_SHELL_NAME_COLUMNS_H

#include <stdbool.h>

/* More names than this come in blocks, so that memory stays small and the first appear soon. */
enum { NAME_COLUMNS_BLOCK = 4096 };

struct name_columns {
	unsigned int width; /* 0: one per line, at once */
	bool colour;
	struct name_column_item *items;
	unsigned int count;
	unsigned int widest;
};

void name_columns_init(struct name_columns *columns, unsigned int width, bool colour);
void name_columns_add(struct name_columns *columns, const char *name, bool directory);
void name_columns_flush(struct name_columns *columns);
void name_columns_done(struct name_columns *columns);

/* One name, escaped; a directory ends in '/'. To standard output. */
void name_columns_print(const char *name, bool directory, bool colour);

#endif
