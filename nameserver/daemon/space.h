/* Is there still room on the disk? While there is not, the name server changes nothing but what it
 * must. Enough must be left for all that is on its way into the journal by then. */
#ifndef MUSTER_NS_SPACE_H
#define MUSTER_NS_SPACE_H

#include "disk.h"

/* Less than 64 MiB, or a tenth of a small disk, is none. `was_full`: then a quarter more is asked
 * for. A disk that does not say has room. Any thread. */
bool space_is_full(struct disk *disk, bool was_full);

#endif
