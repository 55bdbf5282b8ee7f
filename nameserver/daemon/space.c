#include "space.h"

enum { SPACE_KEPT = 64 * 1024 * 1024, SPACE_PART = 10 };

bool space_is_full(struct disk *disk, bool was_full)
{
	struct disk_space space;
	uint64_t kept;

	if (disk_space(disk, &space) < 0)
		return was_full;
	kept = space.capacity / SPACE_PART;
	if (kept > SPACE_KEPT)
		kept = SPACE_KEPT;
	return space.free < (was_full ? kept + kept / 4 : kept);
}
