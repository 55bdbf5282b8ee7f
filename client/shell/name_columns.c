#include <stdlib.h>
#include <string.h>

#include "name_columns.h"
#include "output.h"
#include "text.h"

enum { GAP = 2 };

struct name_column_item {
	char *text; /* escaped */
	unsigned int columns;
	bool directory;
};

void name_columns_init(struct name_columns *columns, unsigned int width, bool colour)
{
	memset(columns, 0, sizeof(*columns));
	columns->width = width;
	columns->colour = colour;
	if (width)
		columns->items = calloc(NAME_COLUMNS_BLOCK, sizeof(*columns->items));
}

static char *escaped_copy(const char *name)
{
	struct buffer escaped = { 0 };

	name_escape(&escaped, name, strlen(name));
	buffer_append(&escaped, "", 1);
	if (escaped.error == 0)
		return (char *)escaped.data;
	buffer_done(&escaped);
	return NULL;
}

static void text_print(const char *text, bool directory, bool colour)
{
	tone_print(stdout, directory && colour ? TONE_NAME : TONE_PLAIN, text);
	if (directory && strcmp(text, "/") != 0)
		putchar('/');
}

void name_columns_print(const char *name, bool directory, bool colour)
{
	char *text = escaped_copy(name);

	if (text)
		text_print(text, directory, colour);
	free(text);
}

void name_columns_add(struct name_columns *columns, const char *name, bool directory)
{
	struct name_column_item *item;

	/* Out of memory: the plain way needs none. */
	if (!columns->items) {
		name_columns_print(name, directory, columns->colour);
		putchar('\n');
		return;
	}
	if (columns->count == NAME_COLUMNS_BLOCK)
		name_columns_flush(columns);
	item = &columns->items[columns->count];
	item->text = escaped_copy(name);
	if (!item->text)
		return;
	item->directory = directory;
	item->columns = text_columns(item->text, strlen(item->text)) + directory;
	if (item->columns > columns->widest)
		columns->widest = item->columns;
	columns->count++;
}

static void line_print(const struct name_columns *columns, unsigned int line, unsigned int lines)
{
	for (unsigned int i = line; i < columns->count; i += lines) {
		const struct name_column_item *item = &columns->items[i];

		text_print(item->text, item->directory, columns->colour);
		if (i + lines < columns->count)
			printf("%*s", (int)(columns->widest + GAP - item->columns), "");
	}
	putchar('\n');
}

void name_columns_flush(struct name_columns *columns)
{
	unsigned int across = (columns->width + GAP) / (columns->widest + GAP);
	unsigned int lines;

	if (across == 0)
		across = 1;
	lines = (columns->count + across - 1) / across;
	for (unsigned int i = 0; i < lines; i++)
		line_print(columns, i, lines);
	for (unsigned int i = 0; i < columns->count; i++)
		free(columns->items[i].text);
	columns->count = columns->widest = 0;
}

void name_columns_done(struct name_columns *columns)
{
	name_columns_flush(columns);
	free(columns->items);
}
