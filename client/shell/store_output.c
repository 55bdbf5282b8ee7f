#include <inttypes.h>
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

void trash_print(const struct muster_status *status)
{
	char size[SIZE_TEXT_MAX];

	printf("trash        %" PRIu64 " %s, %s", status->trash_entries,
	       status->trash_entries == 1 ? "entry" : "entries",
	       bytes_format(status->trash_bytes, size));
	if (status->freeing)
		printf("; %" PRIu64 " chunk%s still to be deleted", status->freeing,
		       plural(status->freeing));
	putchar('\n');
}

const char *left_format(uint64_t ms, char ret[LEFT_MAX])
{
	uint64_t seconds = ms / 1000;

	if (seconds < 120)
		snprintf(ret, LEFT_MAX, "%" PRIu64 " s", seconds);
	else if (seconds < 7200)
		snprintf(ret, LEFT_MAX, "%" PRIu64 " min", seconds / 60);
	else if (seconds < 2 * 86400)
		snprintf(ret, LEFT_MAX, "%" PRIu64 " h", seconds / 3600);
	else
		snprintf(ret, LEFT_MAX, "%" PRIu64 " days", seconds / 86400);
	return ret;
}
