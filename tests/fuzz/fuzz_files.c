/* The small files beside chunks and journal, with any content: `identity`, `scrub` and the
 * superblock. What can be read can be written and is the same again. The first byte says which one,
 * and whether its checksum is made right. */
#include <stdlib.h>

#include "disk_sim.h"
#include "error.h"
#include "hash.h"
#include "identity.h"
#include "record.h"
#include "storage_daemon.h"
#include "superblock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	DISK_SIZE = 1024 * 1024,
	IDENTITY_HEAD = 8,
	IDENTITY_CRC = 4,
	SCRUB_SIZE = 60,
	SCRUB_CRC = 56,
	BLOCKS = 2,
	FILE_MAX = BLOCKS * STORE_BLOCK,
};

static void check(bool condition)
{
	if (!condition)
		abort();
}

static void file_make(struct disk *disk, const char *name, const uint8_t *bytes, size_t size)
{
	int file = disk_open(disk, name, DISK_CREATE);

	check(file >= 0 && disk_truncate(disk, file, 0) == 0);
	check(disk_write(disk, file, bytes, size, 0) == 0);
	disk_close(disk, file);
}

static void try_identity(struct disk *disk, uint8_t *bytes, size_t size, bool mend)
{
	struct identity identity, again;
	bool is_new;

	if (mend && size > IDENTITY_HEAD)
		put_u32(bytes + IDENTITY_CRC, crc32c(bytes + IDENTITY_HEAD, size - IDENTITY_HEAD));
	file_make(disk, "identity", bytes, size);
	check(identity_load(disk, &identity, &is_new) == 0);
	check(identity_write(disk, &identity) == 0 && identity_read(disk, &again) == 0);
	check(id_equal(&identity.server, &again.server) &&
	      identity.asked_epoch == again.asked_epoch && identity.rebuilding == again.rebuilding);
}

static void try_scrub(struct disk *disk, uint8_t *bytes, size_t size, bool mend)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	struct scrub_state state, again;

	check(daemon != NULL);
	daemon->disk = disk;
	if (mend && size >= SCRUB_SIZE)
		put_u32(bytes + SCRUB_CRC, crc32c(bytes, SCRUB_CRC));
	file_make(disk, "scrub", bytes, size);
	scrub_load(daemon, &state);
	scrub_write(disk, &state);
	scrub_load(daemon, &again);
	check(state.cursor == again.cursor && state.elapsed_ms == again.elapsed_ms &&
	      state.chunks == again.chunks && state.bytes == again.bytes &&
	      state.bad == again.bad && state.ended == again.ended);
	free(daemon);
}

static void try_superblock(struct disk *disk, uint8_t *bytes, size_t size, bool mend)
{
	struct store_identity identity, again;
	uint64_t sequence;

	for (size_t end = STORE_BLOCK; mend && end <= size; end += STORE_BLOCK)
		put_u32(bytes + end - 4, crc32c(bytes + end - STORE_BLOCK, STORE_BLOCK - 4));
	file_make(disk, "superblock", bytes, size);
	if (superblock_read(disk, &identity, &sequence) < 0)
		return;
	check(strnlen(identity.cluster_name, CLUSTER_NAME_MAX + 1) <= CLUSTER_NAME_MAX);
	check(superblock_write(disk, &identity, &sequence) == 0);
	check(superblock_read(disk, &again, &sequence) == 0);
	check(identity.generation == again.generation &&
	      identity.promised_epoch == again.promised_epoch &&
	      id_equal(&identity.promised_server, &again.promised_server) &&
	      id_equal(&identity.cluster, &again.cluster));
}

typedef void try_fn(struct disk *disk, uint8_t *bytes, size_t size, bool mend);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static try_fn *const tries[] = { try_identity, try_scrub, try_superblock };
	uint8_t *bytes = calloc(1, FILE_MAX);
	struct disk_sim *sim = disk_sim_new(DISK_SIZE);
	size_t content = size > 0 ? size - 1 : 0;

	check(bytes && sim);
	content = content < FILE_MAX ? content : FILE_MAX;
	if (content > 0)
		memcpy(bytes, data + 1, content);
	if (size > 0)
		tries[data[0] % ARRAY_SIZE(tries)](disk_sim_disk(sim), bytes, content,
						   data[0] >= ARRAY_SIZE(tries));
	disk_free(disk_sim_disk(sim));
	free(bytes);
	return 0;
}
