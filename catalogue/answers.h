/* What a copy of the catalogue answers while there is no name server: STAT, LIST and OPEN, by the
 * name server's rules for paths, pages and errors. Of where chunks are a copy knows nothing: STAT
 * lists no holders, `copies` is 0, and OPEN gives chunks without holders but all storage servers
 * that are not retired, as far as they fit. Pure. */
#ifndef MUSTER_CATALOGUE_ANSWERS_H
#define MUSTER_CATALOGUE_ANSWERS_H

#include "kv.h"

/* `request`: one whole frame. Appends one to `ret`: the reply or a refusal, with FRAME_DEGRADED.
 * `local`: the asker is on the same machine as the copy, so loopback addresses may be of use.
 * -ERR_UNSUPPORTED, -ERR_BAD_REQUEST: it is no such request; -ERR_NO_MEMORY. Nothing has been
 * appended then. */
int catalogue_answer(struct kv *kv, struct slice request, bool local, struct buffer *ret);

#endif
