/* What a catalogue's view holds, for comparing copies: `catalogue_dump [--rows] DIRECTORY`, where
 * DIRECTORY is view/ of a name server or catalogue/view/ of a storage server. Servers may run.
 *
 * Prints `epoch sequence hash whole|partial count digest`: of the last batch, and of the rows that
 * all servers share. With --rows also each of them, in order, in hexadecimal. */
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "pages.h"
#include "view.h"

struct dump {
	bool rows;
	unsigned long long count;
};

static void print_hex(struct slice bytes)
{
	for (size_t i = 0; i < bytes.size; i++)
		printf("%02x", bytes.data[i]);
}

static int row_dump(void *context, struct slice key, struct slice value)
{
	struct dump *dump = context;

	dump->count++;
	if (!dump->rows)
		return 0;
	print_hex(key);
	putchar(' ');
	print_hex(value);
	putchar('\n');
	return 0;
}

static int dump_view(struct view *view, bool rows)
{
	const struct view_mark mark = view_mark(view);
	const bool whole = !mark.building && mark.head.sequence >= mark.whole.sequence;
	struct dump dump = { .rows = rows };
	struct digest digest;
	int rc = rows_walk(view_kv(view), row_dump, &dump);

	if (rc == 0)
		rc = rows_digest(view_kv(view), &digest);
	if (rc < 0)
		return rc;
	printf("%llu %llu ", (unsigned long long)mark.head.epoch,
	       (unsigned long long)mark.head.sequence);
	print_hex((struct slice){ mark.head.hash.bytes, DIGEST_SIZE });
	printf(" %s %llu ", whole ? "whole" : "partial", dump.count);
	print_hex((struct slice){ digest.bytes, DIGEST_SIZE });
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	const bool rows = argc == 3 && strcmp(argv[1], "--rows") == 0;
	struct view *view;
	uint64_t applied;
	int rc;

	if (argc != 2 + rows) {
		fprintf(stderr, "catalogue_dump [--rows] DIRECTORY\n");
		return 2;
	}
	rc = view_open(argv[1 + rows], &view, &applied);
	if (rc == 0) {
		rc = dump_view(view, rows);
		view_close(view);
	}
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", argv[1 + rows], error_text(rc));
	return rc < 0;
}
