#include <string.h>

#include "error.h"
#include "store_output.h"
#include "text.h"

void text_cell(struct table *table, const char *text)
{
	struct buffer escaped = { 0 };

	name_escape(&escaped, text, strlen(text));
	buffer_append(&escaped, "", 1);
	table_cell(table, TONE_PLAIN, "%s", escaped.error ? "?" : (const char *)escaped.data);
	buffer_done(&escaped);
}

void size_cell(struct table *table, uint64_t bytes)
{
	char text[SIZE_TEXT_MAX];

	table_cell(table, TONE_PLAIN, "%s", size_format(bytes, text));
}

int table_finish(struct call *call, struct table *table)
{
	bool failed = table->failed;

	table_print(table, stdout, call->shell->width, call->shell->colour);
	return failed ? call_fail(call, NULL, -ERR_NO_MEMORY, NULL) : STATUS_DONE;
}
