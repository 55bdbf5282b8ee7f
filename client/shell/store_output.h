/* Cells and tables that commands about the store share. */
#ifndef MUSTER_SHELL_STORE_OUTPUT_H
#define MUSTER_SHELL_STORE_OUTPUT_H

#include "command.h"

void text_cell(struct table *table, const char *text); /* escaped */
void size_cell(struct table *table, uint64_t bytes);
/* Prints it. Returns a status. */
int table_finish(struct call *call, struct table *table);
enum { LEFT_MAX = 32 };
/* "3 h", "2 days" */
const char *left_format(uint64_t ms, char ret[LEFT_MAX]);
void trash_print(const struct muster_status *status); /* of `status` and of `df` */

#endif
