/* The shared rows of a catalogue, in order: in pages for another server, or all for comparing. */
#ifndef MUSTER_CATALOGUE_PAGES_H
#define MUSTER_CATALOGUE_PAGES_H

#include "batch.h"

/* Appends the rows behind the key `after` (empty: from the first on) as put changes, at most `most`
 * bytes (CATALOGUE_PART_MAX fit into a message), but one row at least. 1: there are others behind
 * them; 0: that was all. -ERR_TOO_LARGE: a row by itself is too large for a message. */
int page_read(struct kv *kv, struct slice after, size_t most, struct buffer *ret);
/* Looks at a page that came: put changes of shared rows, keys ascending from `after` on. *ret_last:
 * the last key, `after` if there are no rows. -ERR_CORRUPT. */
int page_check(struct slice rows, struct slice after, struct slice *ret_last);

/* Called for every shared row; a negative return ends the walk with it. */
typedef int row_fn(void *context, struct slice key, struct slice value);
int rows_walk(struct kv *kv, row_fn *each, void *context);
/* XXH3-128 of all of them: two catalogues with the same digest are the same. */
int rows_digest(struct kv *kv, struct digest *ret);

#endif
