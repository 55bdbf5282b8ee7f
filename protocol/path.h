/* Names and paths. Any byte but NUL and '/' may stand in a name; "." and ".." are no names.
 * Pure. */
#ifndef MUSTER_PROTOCOL_PATH_H
#define MUSTER_PROTOCOL_PATH_H

#include "bounds.h"
#include "buffer.h"
#include "bytes.h"

/* What a server accepts: "/" or "/a/b": absolute, no empty, "." or ".." component, within the
 * limits. -ERR_BAD_NAME, -ERR_NAME_TOO_LONG. */
int path_check(struct slice path);
int name_check(struct slice name);

/* What a user types: joins `text` to `directory` (absolute), resolves "." ".." and doubled slashes.
 * ".." at the root is refused: -ERR_BAD_NAME. Appends to `ret`, not terminated. */
int path_resolve(struct slice directory, struct slice text, struct buffer *ret);

/* Takes the first component off `rest`; false when none is left. */
bool path_next(struct slice *rest, struct slice *ret_name);
/* Splits "/a/b" into "/a" and "b"; the root gives "/" and "". */
void path_split(struct slice path, struct slice *ret_parent, struct slice *ret_name);

#endif
