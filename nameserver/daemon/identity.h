/* Who this server is: an id that is made once for each data directory, in the file `identity`. It
 * is no row of the catalogue, which other servers have as well. */
#ifndef MUSTER_NS_IDENTITY_H
#define MUSTER_NS_IDENTITY_H

#include "bytes.h"
#include "disk.h"

/* Reads it, or makes one where there is none or it is damaged: then *ret_new. */
int identity_load(struct disk *disk, struct id *ret, bool *ret_new);

#endif
